/* SPDX-License-Identifier: Apache-2.0 */
/* The frame that gRPC puts before each message, a flag and four bytes of length, and its codes. */
#ifndef CORACLE_KUBELET_GRPC_MESSAGE_H
#define CORACLE_KUBELET_GRPC_MESSAGE_H

#include "common/base/proto.h"

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

/* Puts the message into its frame. */
void grpc_frame(struct buf *out, const void *message, size_t len);
/*
 * Looks for a whole frame at the beginning of data: its message's length, and where it begins is data + GRPC_FRAME. -EAGAIN: not whole yet; -EMSGSIZE, -ENOTSUP
 * (compressed): never.
 */
int grpc_unframe(const void *data, size_t len, size_t *ret_message);

#endif
