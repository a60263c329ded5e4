/* SPDX-License-Identifier: Apache-2.0 */
#include "common/http/http.h"

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static char *decode(struct arena *arena, const char *s, size_t len, bool plus_is_space, bool nul_too)
{
	char *out = arena_alloc(arena, len + 1); /* what is decoded is shorter by two at least */
	size_t n = 0;
	for (size_t i = 0; i < len; i++) {
		char c = s[i];
		if (c == '+' && plus_is_space) {
			c = ' ';
		} else if (c == '%') {
			if (len - i < 3)
				return NULL;
			int high = hex_value(s[i + 1]), low = hex_value(s[i + 2]);
			if (high < 0 || low < 0)
				return NULL;
			c = (char)(high << 4 | low);
			i += 2;
		}
		if (!c && !nul_too)
			return NULL;
		if (!c) {
			out[n++] = (char)0xc0;
			c = (char)0x80;
		}
		out[n++] = c;
	}
	out[n] = 0;
	return out;
}

char *http_url_decode(struct arena *arena, const char *s, size_t len, bool plus_is_space)
{
	return decode(arena, s, len, plus_is_space, false);
}

char *http_url_decode_any(struct arena *arena, const char *s, size_t len, bool plus_is_space)
{
	return decode(arena, s, len, plus_is_space, true);
}

void http_url_encode(struct buf *out, const char *s)
{
	static const char digits[] = "0123456789ABCDEF";
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-_.~", c)) {
			buf_append_char(out, (char)c);
		} else {
			buf_append_char(out, '%');
			buf_append_char(out, digits[c >> 4]);
			buf_append_char(out, digits[c & 15]);
		}
	}
}
