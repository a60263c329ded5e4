/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gRPC over one HTTP/2 connection by libnghttp2: many calls at once, each a stream. Belongs to one loop's thread; what is sent
 * while a batch of events is handled leaves in one write.
 */
#ifndef CORACLE_APISERVER_ETCD_GRPC_H
#define CORACLE_APISERVER_ETCD_GRPC_H

#include "apiserver/etcd/transport.h"
#include "common/base/buf.h"

/* Statuses of gRPC that are looked at. */
enum grpc_status {
	GRPC_OK = 0,
	GRPC_CANCELLED = 1,
	GRPC_UNKNOWN = 2,
	GRPC_INVALID_ARGUMENT = 3,
	GRPC_DEADLINE_EXCEEDED = 4,
	GRPC_NOT_FOUND = 5,
	GRPC_PERMISSION_DENIED = 7,
	GRPC_RESOURCE_EXHAUSTED = 8,
	GRPC_FAILED_PRECONDITION = 9,
	GRPC_OUT_OF_RANGE = 11,
	GRPC_UNIMPLEMENTED = 12,
	GRPC_INTERNAL = 13,
	GRPC_UNAVAILABLE = 14,
	GRPC_UNAUTHENTICATED = 16,
};

/* "OK", "Unavailable", ... as Go's library names them. */
const char *grpc_status_name(int status);

struct grpc_connection;
struct grpc_call;

struct grpc_connection_events {
	void (*ready)(void *arg);
	/* Once: the connection is gone; calls that were open end without a callback of their own. Free it. */
	void (*closed)(const char *why, void *arg);
};
/* `endpoint` and `tls` must outlive the connection. */
int grpc_connect(struct loop *loop, const struct endpoint *endpoint, struct transport_tls *tls, const struct grpc_connection_events *events, void *arg,
	struct grpc_connection **ret, struct error *err);
/* Takes NULL. Safe inside callbacks. No callback comes afterwards. */
void grpc_connection_free(struct grpc_connection *connection);
/* When anything was last received, monotonic. */
int64_t grpc_last_received(const struct grpc_connection *connection);
/* Asks for a sign of life, which moves grpc_last_received(). */
void grpc_ping(struct grpc_connection *connection);

struct grpc_call_events {
	/* Streams: each message as it comes, valid within the call. NULL: unary, the message is handed to `ended`. */
	void (*message)(const void *data, size_t len, void *arg);
	/* Once. data is the answer of a unary call, or NULL. Not after grpc_cancel() or once the connection is gone. */
	void (*ended)(int status, const char *text, const void *data, size_t len, void *arg);
};
/*
 * Starts a call. `message` (frame header included) is borrowed until the call has ended, unless it is a stream's: then it is copied, and more may
 * follow by grpc_send(). timeout_ms goes to the server; 0: none. Returns NULL where the connection takes no more calls.
 */
struct grpc_call *grpc_start(struct grpc_connection *connection, const char *path, const struct buf *message, int timeout_ms, const struct grpc_call_events *events, void *arg);
/* One more message of a stream; copied. -ENOBUFS where the server does not take what was sent before. */
int grpc_send(struct grpc_call *call, const struct buf *message);
/* Resets the stream; the call is gone afterwards. Safe inside its callbacks. */
void grpc_cancel(struct grpc_call *call);

#endif
