/* SPDX-License-Identifier: Apache-2.0 */
/* Protobuf messages by hand, and the frame that gRPC puts before each: a flag and four bytes of length. */
#ifndef CORACLE_KUBELET_GRPC_MESSAGE_H
#define CORACLE_KUBELET_GRPC_MESSAGE_H

#include "common/base/buf.h"
#include "common/base/cursor.h"

#define GRPC_MAX_MESSAGE (16u << 20)
#define GRPC_FRAME 5

enum grpc_code {
	GRPC_OK,
	GRPC_CANCELED,
	GRPC_UNKNOWN,
	GRPC_INVALID_ARGUMENT,
	GRPC_DEADLINE_EXCEEDED,
	GRPC_NOT_FOUND,
	GRPC_ALREADY_EXISTS,
	GRPC_PERMISSION_DENIED,
	GRPC_RESOURCE_EXHAUSTED,
	GRPC_FAILED_PRECONDITION,
	GRPC_ABORTED,
	GRPC_OUT_OF_RANGE,
	GRPC_UNIMPLEMENTED,
	GRPC_INTERNAL,
	GRPC_UNAVAILABLE,
	GRPC_DATA_LOSS,
	GRPC_UNAUTHENTICATED,
};

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

/* Zero, false and empty text are left out, as proto3 has it. */
void proto_put_number(struct buf *out, uint32_t field, uint64_t value);
void proto_put_text(struct buf *out, uint32_t field, const char *text);
/* A message, or one element of a list of texts: empty ones too. */
void proto_put_bytes(struct buf *out, uint32_t field, const void *data, size_t len);

/* Puts the message into its frame. */
void grpc_frame(struct buf *out, const void *message, size_t len);
/*
 * Looks for a whole frame at the beginning of data: its message's length, and where it begins is data + GRPC_FRAME. -EAGAIN: not whole yet; -EMSGSIZE, -ENOTSUP
 * (compressed): never.
 */
int grpc_unframe(const void *data, size_t len, size_t *ret_message);

#endif
