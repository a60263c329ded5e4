/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/etcd/frame.h"

#include "common/base/cursor.h"

#include <ctype.h>
#include <errno.h>

#define HEADER 5

void frame_reader_done(struct frame_reader *reader)
{
	buf_done(&reader->data);
}

/* The header at `pos`, where it is all there. */
static bool peek(const struct frame_reader *reader, uint8_t *ret_compressed, size_t *ret_len)
{
	struct cursor c = cursor_of(reader->data.data + reader->pos, reader->data.len - reader->pos);

	if (cursor_left(&c) < HEADER)
		return false;
	*ret_compressed = cursor_u8(&c);
	*ret_len = cursor_be32(&c);
	return true;
}

int frame_reader_add(struct frame_reader *reader, const void *data, size_t len)
{
	uint8_t compressed = 0;
	size_t message = 0;

	if (reader->pos == reader->data.len) {
		buf_reset(&reader->data);
		reader->pos = 0;
	} else if (reader->pos > 0) {
		buf_consume(&reader->data, reader->pos);
		reader->pos = 0;
	}
	buf_append(&reader->data, data, len);
	if (buf_failed(&reader->data))
		return -EBADMSG;
	if (peek(reader, &compressed, &message)) {
		if (compressed || message > reader->data.max - HEADER)
			return -EBADMSG;
	}
	return 0;
}

bool frame_reader_next(struct frame_reader *reader, const void **ret_data, size_t *ret_len)
{
	uint8_t compressed = 0;
	size_t len = 0;

	if (!reader->data.data || !peek(reader, &compressed, &len) || compressed || reader->data.len - reader->pos - HEADER < len)
		return false;
	*ret_data = reader->data.data + reader->pos + HEADER;
	*ret_len = len;
	reader->pos += HEADER + len;
	return true;
}

int frame_reader_message(struct frame_reader *reader, const void **ret_data, size_t *ret_len)
{
	if (!frame_reader_next(reader, ret_data, ret_len) || reader->pos != reader->data.len)
		return -EBADMSG;
	return 0;
}

static int hex(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10 : -1;
}

void frame_unescape(const char *text, size_t len, char *out, size_t out_size)
{
	size_t n = 0;

	for (size_t i = 0; i < len && n + 1 < out_size; i++) {
		if (text[i] == '%' && i + 2 < len && hex(text[i + 1]) >= 0 && hex(text[i + 2]) >= 0) {
			out[n++] = (char)(hex(text[i + 1]) << 4 | hex(text[i + 2]));
			i += 2;
		} else {
			out[n++] = text[i];
		}
	}
	out[n] = '\0';
}
