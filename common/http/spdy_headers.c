/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks of names and values: 32-bit counts and lengths, compressed as one stream per direction. */
#include "common/http/spdy_internal.h"

#include "common/base/cursor.h"

#include <ctype.h>
#include <errno.h>

enum { INFLATE_STEP = 4096 };

void spdy_inflate_init(struct spdy_inflate *in)
{
	*in = (struct spdy_inflate){.block = BUF_INIT(SPDY_HEADER_BLOCK_MAX)};
	if (inflateInit(&in->z) != Z_OK)
		abort();
}

void spdy_inflate_done(struct spdy_inflate *in)
{
	inflateEnd(&in->z);
	buf_done(&in->block);
}

static int inflate_all(struct spdy_inflate *in, const uint8_t *data, size_t len)
{
	uint8_t step[INFLATE_STEP];
	in->z.next_in = (uint8_t *)data;
	in->z.avail_in = (uInt)len;
	for (;;) {
		in->z.next_out = step;
		in->z.avail_out = sizeof(step);
		int rc = inflate(&in->z, Z_SYNC_FLUSH);
		if (rc == Z_NEED_DICT && inflateSetDictionary(&in->z, spdy_dictionary(), SPDY_DICTIONARY_LEN) == Z_OK)
			continue;
		if (rc != Z_OK && rc != Z_BUF_ERROR)
			return -EPROTO;
		size_t made = sizeof(step) - in->z.avail_out;
		if (made)
			buf_append(&in->block, step, made);
		if (buf_failed(&in->block))
			return -EMSGSIZE;
		if (!made)
			return in->z.avail_in ? -EPROTO : 0;
	}
}

/*
 * A length and as many bytes, made a string in place: the byte after them is the first of the next length, which is 0 in any block
 * within the bounds, or the NUL of the buffer.
 */
static char *take_string(struct cursor *c)
{
	uint32_t len = cursor_be32(c);
	char *s = (char *)cursor_take(c, len);
	if (s)
		s[len] = 0;
	return s;
}

int spdy_inflate_block(struct spdy_inflate *in, const uint8_t *data, size_t len)
{
	buf_reset(&in->block);
	in->count = 0;
	int rc = inflate_all(in, data, len);
	if (rc < 0)
		return rc;
	if (in->block.len < 4)
		return -EPROTO; /* not even the count */
	struct cursor c = cursor_of(in->block.data, in->block.len);
	uint32_t count = cursor_be32(&c);
	if (count > SPDY_HEADERS_MAX)
		return -EMSGSIZE;
	for (uint32_t i = 0; i < count; i++) {
		char *name = take_string(&c), *value = take_string(&c);
		if (c.failed)
			return -EPROTO;
		for (char *p = name; *p; p++)
			*p = (char)tolower((unsigned char)*p);
		in->headers[in->count++] = (struct spdy_header){.name = name, .value = value};
	}
	return c.failed ? -EPROTO : 0;
}

void spdy_deflate_init(z_stream *z)
{
	*z = (z_stream){0};
	/* A small window: few headers go out, and many sessions may be open. */
	if (deflateInit2(z, Z_BEST_SPEED, Z_DEFLATED, 11, 1, Z_DEFAULT_STRATEGY) != Z_OK || deflateSetDictionary(z, spdy_dictionary(), SPDY_DICTIONARY_LEN) != Z_OK)
		abort();
}

static void append_be32(struct buf *out, uint32_t value)
{
	uint8_t raw[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};
	buf_append(out, raw, sizeof(raw));
}

void spdy_deflate_block(z_stream *z, const struct spdy_header *headers, size_t count, struct buf *out)
{
	autobuf struct buf plain = BUF_INIT(SPDY_HEADER_BLOCK_MAX);
	append_be32(&plain, (uint32_t)count);
	for (size_t i = 0; i < count; i++) {
		append_be32(&plain, (uint32_t)strlen(headers[i].name));
		buf_append_str(&plain, headers[i].name);
		append_be32(&plain, (uint32_t)strlen(headers[i].value));
		buf_append_str(&plain, headers[i].value);
	}
	uint8_t step[INFLATE_STEP];
	z->next_in = (uint8_t *)plain.data;
	z->avail_in = (uInt)plain.len;
	do {
		z->next_out = step;
		z->avail_out = sizeof(step);
		deflate(z, Z_SYNC_FLUSH);
		buf_append(out, step, sizeof(step) - z->avail_out);
	} while (!z->avail_out);
}
