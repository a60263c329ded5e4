/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bounds-checked reader over a peer's bytes with a sticky error: read all fields, test `failed` once. Past the end
 * every read gives zero or an empty slice.
 */
#ifndef CORACLE_BASE_CURSOR_H
#define CORACLE_BASE_CURSOR_H

#include "common/base/base.h"

struct cursor {
	const uint8_t *pos;
	const uint8_t *end;
	bool failed;
};

static inline struct cursor cursor_of(const void *data, size_t len) {
	return (struct cursor){.pos = data, .end = len ? (const uint8_t *)data + len : data}; /* nothing may be NULL, to which nothing may be added */
}
static inline size_t cursor_left(const struct cursor *c) {
	return (size_t)(c->end - c->pos);
}
/* `len` bytes in place, or NULL with `failed` set. */
const uint8_t *cursor_take(struct cursor *c, size_t len);
uint8_t cursor_u8(struct cursor *c);
uint16_t cursor_be16(struct cursor *c);
uint32_t cursor_be32(struct cursor *c);
uint32_t cursor_le32(struct cursor *c);
uint64_t cursor_le64(struct cursor *c);
/* Protobuf's base 128 varint, ten bytes at most. */
uint64_t cursor_varint(struct cursor *c);

#endif
