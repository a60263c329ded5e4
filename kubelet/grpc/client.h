/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORACLE_KUBELET_GRPC_CLIENT_H
#define CORACLE_KUBELET_GRPC_CLIENT_H

#include "common/base/buf.h"
#include "common/base/error.h"

struct grpc_status {
	int code; /* enum grpc_code; -1: not told */
	char message[512];
};

struct grpc_call {
	const char *socket;   /* path of a unix socket; NULL: */
	const char *address;  /* "10.0.0.1:8080", without encryption */
	const char *user_agent; /* NULL: none */
	const char *method;   /* "/v1beta1.DevicePlugin/Allocate" */
	const struct buf *request; /* the message; NULL: an empty one */
	int64_t timeout_ms;   /* 0: as long as it takes */
	int cancel_fd;        /* the call ends with -ECANCELED once it is readable; -1: none */
	/* Each message of the answer, in order; false ends the call with -EBADMSG. */
	bool (*on_message)(const void *data, size_t len, void *arg);
	void *arg;
	struct grpc_status *ret_status; /* what the peer said of the call; may be NULL */
};
/* On the caller's thread, to its end. -ECONNREFUSED (not reached, in time), -ETIMEDOUT, -ECANCELED, -EBADMSG, or -EREMOTEIO with the words of the peer. */
int grpc_call(const struct grpc_call *call, struct error *err);
/* The same for calls whose answer is one message. */
int grpc_call_unary(const char *socket, const char *method, const struct buf *request, int64_t timeout_ms, struct buf *ret, struct error *err);

#endif
