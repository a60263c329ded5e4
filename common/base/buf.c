/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/buf.h"

#include <stdio.h>

#define FIRST_CAPACITY 256

void buf_done(struct buf *buf)
{
	free(buf->data);
	buf->data = NULL;
	buf->len = buf->cap = 0;
}

void buf_reset(struct buf *buf)
{
	buf->len = 0;
	buf->overflow = false;
	if (buf->data)
		buf->data[0] = '\0';
}

bool buf_reserve(struct buf *buf, size_t extra)
{
	if (buf->overflow || extra > buf->max - min_of(buf->len, buf->max)) {
		buf->overflow = true;
		return false;
	}
	size_t need = buf->len + extra + 1;
	if (need <= buf->cap)
		return true;
	size_t cap = max_of(buf->cap * 2, (size_t)FIRST_CAPACITY);
	cap = max_of(min_of(cap, buf->max + 1), need);
	buf->data = xrealloc(buf->data, cap);
	buf->cap = cap;
	return true;
}

void buf_append(struct buf *buf, const void *data, size_t len)
{
	if (!buf_reserve(buf, len))
		return;
	if (len)
		memcpy(buf->data + buf->len, data, len);
	buf->len += len;
	buf->data[buf->len] = '\0';
}

void buf_append_str(struct buf *buf, const char *s)
{
	if (s)
		buf_append(buf, s, strlen(s));
}

void buf_append_char(struct buf *buf, char c)
{
	if (!buf_reserve(buf, 1))
		return;
	buf->data[buf->len++] = c;
	buf->data[buf->len] = '\0';
}

void buf_append_uint(struct buf *buf, uint64_t value)
{
	char text[20];
	size_t at = sizeof(text);
	do {
		text[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	buf_append(buf, text + at, sizeof(text) - at);
}

void buf_append_int(struct buf *buf, int64_t value)
{
	uint64_t magnitude = (uint64_t)value;
	if (value < 0) {
		buf_append_char(buf, '-');
		magnitude = 0 - magnitude;
	}
	buf_append_uint(buf, magnitude);
}

void buf_vprintf(struct buf *buf, const char *fmt, va_list args)
{
	va_list again;
	va_copy(again, args);
	int n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n < 0 || !buf_reserve(buf, (size_t)n))
		return;
	vsnprintf(buf->data + buf->len, (size_t)n + 1, fmt, args);
	buf->len += (size_t)n;
}

void buf_printf(struct buf *buf, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	buf_vprintf(buf, fmt, args);
	va_end(args);
}

/* Length of the well-formed UTF-8 sequence at s, or 0. Overlong forms, surrogates and what is past U+10FFFF are not well formed. */
static size_t utf8_sequence(const unsigned char *s, size_t left)
{
	unsigned char c = s[0];
	size_t len = c < 0x80 ? 1 : c >= 0xc2 && c <= 0xdf ? 2 : (c & 0xf0) == 0xe0 ? 3 : c >= 0xf0 && c <= 0xf4 ? 4 : 0;
	if (!len || len > left)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((c == 0xe0 && s[1] < 0xa0) || (c == 0xed && s[1] > 0x9f) || (c == 0xf0 && s[1] < 0x90) || (c == 0xf4 && s[1] > 0x8f))
		return 0;
	return len;
}

/* What stands after the backslash for c; 0: \u00XX; -1: needs no escape. */
static int json_escape_of(unsigned char c)
{
	switch (c) {
	case '"':
	case '\\':
		return c;
	case '\b':
		return 'b';
	case '\f':
		return 'f';
	case '\n':
		return 'n';
	case '\r':
		return 'r';
	case '\t':
		return 't';
	default:
		return c < 0x20 ? 0 : -1;
	}
}

void buf_append_json_string(struct buf *buf, const char *s, size_t len)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t plain = 0; /* start of the run that needs no escape */
	buf_append_char(buf, '"');
	for (size_t i = 0; i < len;) {
		size_t step = 1;
		if (p[i] < 0x80) {
			int escape = json_escape_of(p[i]);
			if (escape < 0) {
				i++;
				continue;
			}
			buf_append(buf, s + plain, i - plain);
			if (escape)
				buf_append(buf, (char[]){'\\', (char)escape}, 2);
			else
				buf_printf(buf, "\\u%04x", p[i]);
		} else {
			step = utf8_sequence(p + i, len - i);
			bool separator = step == 3 && p[i] == 0xe2 && p[i + 1] == 0x80 && (p[i + 2] & 0xfe) == 0xa8;
			if (step && !separator) {
				i += step;
				continue;
			}
			buf_append(buf, s + plain, i - plain);
			buf_append_str(buf, !step ? "\\ufffd" : p[i + 2] == 0xa8 ? "\\u2028" : "\\u2029");
			step = max_of(step, (size_t)1);
		}
		i += step;
		plain = i;
	}
	buf_append(buf, s + plain, len - plain);
	buf_append_char(buf, '"');
}

void buf_append_base64(struct buf *buf, const void *data, size_t len)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *p = data;
	if (len > SIZE_MAX / 2 || !buf_reserve(buf, (len + 2) / 3 * 4))
		return;
	char *out = buf->data + buf->len;
	for (; len >= 3; len -= 3, p += 3) {
		*out++ = alphabet[p[0] >> 2];
		*out++ = alphabet[(p[0] & 3) << 4 | p[1] >> 4];
		*out++ = alphabet[(p[1] & 15) << 2 | p[2] >> 6];
		*out++ = alphabet[p[2] & 63];
	}
	if (len) {
		unsigned char second = len == 2 ? p[1] : 0;
		*out++ = alphabet[p[0] >> 2];
		*out++ = alphabet[(p[0] & 3) << 4 | second >> 4];
		*out++ = len == 2 ? alphabet[(second & 15) << 2] : '=';
		*out++ = '=';
	}
	*out = '\0';
	buf->len = (size_t)(out - buf->data);
}

void buf_consume(struct buf *buf, size_t len)
{
	len = min_of(len, buf->len);
	if (!len)
		return;
	buf->len -= len;
	memmove(buf->data, buf->data + len, buf->len + 1);
}

char *buf_take(struct buf *buf)
{
	char *data = buf->data ? buf->data : xstrdup("");
	buf->data = NULL;
	buf->len = buf->cap = 0;
	return data;
}

struct bytes *bytes_alloc(size_t len)
{
	if (len > SIZE_MAX - sizeof(struct bytes) - 1)
		len = SIZE_MAX - sizeof(struct bytes) - 1; /* xmalloc aborts */
	struct bytes *bytes = xmalloc(sizeof(*bytes) + len + 1);
	bytes->refs = 1;
	bytes->len = len;
	bytes->data[len] = '\0';
	return bytes;
}

struct bytes *bytes_new(const void *data, size_t len)
{
	struct bytes *bytes = bytes_alloc(len);
	if (len)
		memcpy(bytes->data, data, len);
	return bytes;
}

struct bytes *bytes_ref(struct bytes *bytes)
{
	if (bytes)
		__atomic_add_fetch(&bytes->refs, 1, __ATOMIC_RELAXED);
	return bytes;
}

struct bytes *bytes_unref(struct bytes *bytes)
{
	if (bytes && __atomic_sub_fetch(&bytes->refs, 1, __ATOMIC_ACQ_REL) == 0)
		free(bytes);
	return NULL;
}

struct bytes *buf_to_bytes(const struct buf *buf)
{
	return bytes_new(buf->data, buf->len);
}
