/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/cursor.h"

const uint8_t *cursor_take(struct cursor *c, size_t len)
{
	if (c->failed || len > cursor_left(c)) {
		c->failed = true;
		c->pos = c->end;
		return NULL;
	}
	const uint8_t *p = c->pos;
	c->pos += len;
	return p;
}

uint8_t cursor_u8(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 1);
	return p ? *p : 0;
}

uint16_t cursor_be16(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 2);
	return p ? (uint16_t)(p[0] << 8 | p[1]) : 0;
}

uint32_t cursor_be32(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 4);
	return p ? (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3] : 0;
}

uint32_t cursor_le32(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 4);
	return p ? (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0] : 0;
}

uint64_t cursor_le64(struct cursor *c)
{
	uint64_t low = cursor_le32(c);
	uint64_t high = cursor_le32(c);
	return c->failed ? 0 : high << 32 | low;
}

uint64_t cursor_varint(struct cursor *c)
{
	uint64_t value = 0;
	for (int shift = 0; shift < 70; shift += 7) {
		uint8_t byte = cursor_u8(c);
		if (c->failed)
			return 0;
		if (shift == 63 && byte > 1)
			break; /* does not fit 64 bits */
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return value;
	}
	c->failed = true;
	c->pos = c->end;
	return 0;
}
