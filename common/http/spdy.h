/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's side of SPDY/3.1 as kubectl's exec, attach and port-forward speak it, after http_upgrade("SPDY/3.1") or inside the messages of a
 * WebSocket. A pure state machine: bytes are fed in, events come out, bytes to be sent collect in a buffer. One thread at a time.
 *
 * Sending is not held back by the peer's windows: the library of all Kubernetes clients (spdystream) neither opens nor reads them. It is
 * held back by the transport: stop producing while spdy_output() is long. Windows towards the peer are opened as data is taken.
 */
#ifndef CORACLE_HTTP_SPDY_H
#define CORACLE_HTTP_SPDY_H

#include "common/base/buf.h"

struct spdy;
struct spdy_stream;

struct spdy_header {
	const char *name, *value; /* names in lower case; several values stand apart by '\0' on the wire, of which the first is given */
};

enum spdy_reset { SPDY_PROTOCOL_ERROR = 1, SPDY_INVALID_STREAM = 2, SPDY_REFUSED_STREAM = 3, SPDY_UNSUPPORTED_VERSION = 4, SPDY_CANCEL = 5, SPDY_INTERNAL_ERROR = 6,
	SPDY_FLOW_CONTROL_ERROR = 7, SPDY_STREAM_IN_USE = 8, SPDY_STREAM_ALREADY_CLOSED = 9 };

struct spdy_callbacks {
	/* The peer opened a stream: answer by spdy_reply() or spdy_reset(), now or later. Headers are valid during the call. */
	void (*on_stream)(struct spdy_stream *stream, const struct spdy_header *headers, size_t count, void *arg);
	void (*on_data)(struct spdy_stream *stream, const void *data, size_t len, void *arg);
	/* The peer sends no more on it. */
	void (*on_end)(struct spdy_stream *stream, void *arg);
	/* The stream is over: both sides ended it, it was reset, or the session ends. Last event of a stream; it is freed afterwards. */
	void (*on_close)(struct spdy_stream *stream, void *arg);
};

#define SPDY_MAX_STREAMS 1024 /* at once; kubectl port-forward opens two for each connection */

struct spdy *spdy_new(const struct spdy_callbacks *callbacks, void *arg);
/* Closes all streams (on_close). Takes NULL. */
void spdy_free(struct spdy *spdy);
/* 0; -EPROTO where the peer broke the protocol or -EMSGSIZE where a frame is beyond the bounds: send what spdy_output() holds and close. */
int spdy_feed(struct spdy *spdy, const void *data, size_t len);
/* What is to be sent; the caller takes from its front with buf_consume(). */
struct buf *spdy_output(struct spdy *spdy);
/* The peer is going away: it opens no more streams. */
bool spdy_is_going_away(const struct spdy *spdy);
/* Tells the peer that no stream is taken any more. */
void spdy_go_away(struct spdy *spdy);

uint32_t spdy_stream_id(const struct spdy_stream *stream);
void spdy_stream_set_data(struct spdy_stream *stream, void *data);
void *spdy_stream_data(const struct spdy_stream *stream);
/* Accepts the stream. */
void spdy_reply(struct spdy_stream *stream, const struct spdy_header *headers, size_t count);
/* Nothing after spdy_end(). */
void spdy_send(struct spdy_stream *stream, const void *data, size_t len);
/* Sends no more on it. May close the stream: do not use it after, unless on_close has not come. */
void spdy_end(struct spdy_stream *stream);
/* Closes the stream at once. */
void spdy_reset(struct spdy_stream *stream, enum spdy_reset status);

#endif
