/* SPDX-License-Identifier: Apache-2.0 */
/* The wire of protobuf, for messages that are read and written by hand: fields in place, nothing allocated but texts. */
#ifndef CORACLE_BASE_PROTO_H
#define CORACLE_BASE_PROTO_H

#include "common/base/buf.h"
#include "common/base/cursor.h"

enum proto_wire { PROTO_VARINT = 0, PROTO_FIXED64 = 1, PROTO_BYTES = 2, PROTO_FIXED32 = 5 };

/* One field of a message, in place. */
struct proto_field {
	uint32_t number;
	enum proto_wire wire;
	uint64_t value;      /* of a number */
	struct cursor bytes; /* of text, bytes and messages */
};
/* The next field; false at the end, or where the bytes are no message (c->failed). */
bool proto_next(struct cursor *c, struct proto_field *ret);
/* A copy of a field's bytes as text; NULL where it holds a zero byte. The caller frees. */
char *proto_text(const struct proto_field *field);

/* The parts of a field, for who writes it piece by piece: its tag is number << 3 | wire. */
void proto_put_varint(struct buf *out, uint64_t value);
/* Zero, false and empty text are left out, as proto3 has it. */
void proto_put_number(struct buf *out, uint32_t field, uint64_t value);
void proto_put_text(struct buf *out, uint32_t field, const char *text);
/* A message, or one element of a list of texts: empty ones too. */
void proto_put_bytes(struct buf *out, uint32_t field, const void *data, size_t len);

#endif
