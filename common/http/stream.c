/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams: answers that are fed as things happen, in chunks that the connection writes itself. A direct connection goes on with
 * the next request after the last chunk. Elsewhere libmicrohttpd writes the head of the answer; the moment it asks for the body
 * (stream_take_over) it is told to close. So ten thousand idle watches cost libmicrohttpd nothing, neither memory nor a walk over
 * its suspended connections at every event.
 */
#include "common/http/direct.h"

#include <errno.h>
#include <stdio.h>

struct http_stream {
	pthread_mutex_t lock; /* guards all down to the line */
	struct bytes **queue; /* a ring */
	size_t head, len, cap;
	size_t head_pos;      /* what of the first is gone already */
	size_t queued;        /* bytes */
	bool posted;          /* a visit of the I/O thread is due */
	bool attached;        /* the connection is ours to write to */
	bool ended, torn, cut, closed; /* torn: ended too */
	void (*on_drain)(void *arg);
	void *drain_arg;
	/* ---- */
	atomic_uint refs;
	struct post post;
	struct http_server *server;
	struct http_conn *conn;
	size_t max;
	bool chunked;
	void (*on_close)(void *arg);
	void *arg;
};

enum { CHUNK_HEAD = 8, CHUNK_TAIL = 2, LAST_CHUNK = 5 };

static void on_post(struct io_thread *thread, struct post *post)
{
	struct http_stream *stream = container_of(post, struct http_stream, post);
	struct http_conn *conn = stream->conn;
	pthread_mutex_lock(&stream->lock);
	stream->posted = false;
	bool cut = stream->cut;
	pthread_mutex_unlock(&stream->lock);
	if (conn->stream == stream) {
		if (cut)
			conn_close(conn);
		else
			conn_run(conn);
	}
	http_stream_unref(stream);
}

/* Has the I/O thread look; the lock is held. A closed stream has nothing to look at, and its thread may be gone with its server. */
static void notify(struct http_stream *stream)
{
	if (!stream->attached || stream->closed || stream->posted)
		return;
	stream->posted = true;
	atomic_fetch_add(&stream->refs, 1);
	thread_post(stream->conn->thread, &stream->post);
}

void stream_attach(struct http_stream *stream)
{
	stream->conn->stream = stream;
	thread_activate(stream->conn->thread, stream->conn);
	pthread_mutex_lock(&stream->lock);
	stream->attached = true;
	pthread_mutex_unlock(&stream->lock);
}

static ssize_t stream_take_over(void *cls, uint64_t pos, char *buf, size_t max)
{
	struct http_request *req = cls;
	struct http_stream *stream = req->stream;
	if (stream && !stream->conn->dead) {
		req->stream = NULL;
		stream->conn->pair_readable = true;
		stream_attach(stream);
	}
	return MHD_CONTENT_READER_END_WITH_ERROR;
}

struct http_stream *http_stream_start(struct http_request *req, int status, const char *content_type, size_t max_buffered, void (*on_close)(void *arg), void *arg)
{
	struct http_stream *stream = xnew(struct http_stream);
	pthread_mutex_init(&stream->lock, NULL);
	stream->refs = 2; /* the starter's, and the connection's until on_close */
	stream->post.fn = on_post;
	list_init(&stream->post.link);
	stream->server = req->server;
	atomic_fetch_add(&req->server->refs, 1);
	stream->conn = conn_ref(req->conn);
	stream->max = max_buffered;
	stream->chunked = req->http11;
	stream->on_close = on_close;
	stream->arg = arg;
	if (!req->mhd) {
		req->stream = stream;
		direct_respond(req, status, content_type, NULL, 0);
		return stream;
	}
	struct MHD_Response *response = respond_unsized(req, 1024, stream_take_over, req, NULL);
	MHD_add_response_header(response, "Connection", "close");
	req->stream = stream;
	respond_with(req, status, content_type, response);
	return stream;
}

static void push(struct http_stream *stream, struct bytes *bytes)
{
	if (stream->len == stream->cap) {
		size_t cap = stream->cap ? stream->cap * 2 : 8;
		struct bytes **queue = xcalloc(cap, sizeof(*queue));
		for (size_t i = 0; i < stream->len; i++)
			queue[i] = stream->queue[(stream->head + i) % stream->cap];
		free(stream->queue);
		stream->queue = queue;
		stream->cap = cap;
		stream->head = 0;
	}
	stream->queue[(stream->head + stream->len++) % stream->cap] = bytes_ref(bytes);
	stream->queued += bytes->len;
}

static void pop(struct http_stream *stream)
{
	bytes_unref(stream->queue[stream->head]);
	stream->head = (stream->head + 1) % stream->cap;
	stream->len--;
	stream->head_pos = 0;
	/* A burst long past is no reason to keep its ring: watches wait for hours. */
	if (!stream->len) {
		free(stream->queue);
		stream->queue = NULL;
		stream->head = stream->cap = 0;
	}
}

bool http_stream_send(struct http_stream *stream, struct bytes *bytes)
{
	pthread_mutex_lock(&stream->lock);
	bool ok = !stream->closed && !stream->ended && !stream->cut;
	if (ok && bytes->len) {
		/* One piece is always taken by an empty queue, or an object above the bound could never be sent. */
		if ((stream->queued && bytes->len > stream->max - min_of(stream->queued, stream->max)) || !server_account(stream->server, bytes->len)) {
			stream->cut = true;
			ok = false;
		} else {
			push(stream, bytes);
		}
		notify(stream);
	}
	pthread_mutex_unlock(&stream->lock);
	return ok;
}

size_t http_stream_queued(struct http_stream *stream)
{
	pthread_mutex_lock(&stream->lock);
	size_t queued = stream->queued;
	pthread_mutex_unlock(&stream->lock);
	return queued;
}

void http_stream_on_drain(struct http_stream *stream, void (*fn)(void *arg), void *arg)
{
	pthread_mutex_lock(&stream->lock);
	stream->on_drain = fn;
	stream->drain_arg = arg;
	pthread_mutex_unlock(&stream->lock);
}

void http_stream_end(struct http_stream *stream)
{
	pthread_mutex_lock(&stream->lock);
	stream->ended = true;
	notify(stream);
	pthread_mutex_unlock(&stream->lock);
}

void http_stream_tear(struct http_stream *stream)
{
	pthread_mutex_lock(&stream->lock);
	stream->ended = stream->torn = true;
	notify(stream);
	pthread_mutex_unlock(&stream->lock);
}

void http_stream_unref(struct http_stream *stream)
{
	if (!stream || atomic_fetch_sub(&stream->refs, 1) != 1)
		return;
	conn_unref(stream->conn);
	server_unref(stream->server);
	pthread_mutex_destroy(&stream->lock);
	free(stream);
}

void stream_closed(struct http_stream *stream)
{
	pthread_mutex_lock(&stream->lock);
	bool first = !stream->closed;
	stream->closed = true;
	server_unaccount(stream->server, stream->queued);
	stream->queued = 0;
	while (stream->len)
		pop(stream);
	pthread_mutex_unlock(&stream->lock);
	if (!first)
		return;
	if (stream->on_close)
		stream->on_close(stream->arg);
	http_stream_unref(stream);
}

/* Fills one chunk from the queue; several events of a burst share it. Returns its whole length, *ret_at where it starts. *ret_torn: nothing is left, and no end is to come. */
static size_t gather(struct http_stream *stream, char *buffer, char **ret_at, bool *ret_finished, bool *ret_torn, bool *ret_drained)
{
	size_t room = HTTP_IO_BUFFER - CHUNK_HEAD - CHUNK_TAIL - LAST_CHUNK - 1, n = 0;
	char *body = buffer + CHUNK_HEAD;
	pthread_mutex_lock(&stream->lock);
	bool had = stream->len > 0;
	while (stream->len && n < room) {
		struct bytes *first = stream->queue[stream->head];
		size_t take = min_of(room - n, first->len - stream->head_pos);
		memcpy(body + n, first->data + stream->head_pos, take);
		n += take;
		stream->head_pos += take;
		if (stream->head_pos == first->len)
			pop(stream);
	}
	stream->queued -= n;
	*ret_drained = had && !stream->len;
	*ret_torn = stream->torn && !stream->len && !n;
	*ret_finished = stream->ended && !stream->torn && !stream->len;
	pthread_mutex_unlock(&stream->lock);
	server_unaccount(stream->server, n);
	char *at = body, *end = body + n;
	if (n && stream->chunked) {
		char head[CHUNK_HEAD + 1];
		int len = snprintf(head, sizeof(head), "%zx\r\n", n);
		at -= len;
		memcpy(at, head, (size_t)len);
		memcpy(end, "\r\n", CHUNK_TAIL);
		end += CHUNK_TAIL;
	}
	if (*ret_finished && stream->chunked) {
		memcpy(end, "0\r\n\r\n", LAST_CHUNK);
		end += LAST_CHUNK;
	}
	*ret_at = at;
	return (size_t)(end - at);
}

/* The end has been written: a direct connection is ready for the next request, any other goes on as one that is to close. */
static void finish(struct http_stream *stream, struct http_conn *conn)
{
	conn->stream = NULL;
	conn->streaming = false;
	conn->closing |= !conn->direct || atomic_load(&conn->thread->server->draining);
	if (conn->closing) {
		conn->pair_eof = conn->pair_gone = true;
		conn_set_deadline(conn, DEADLINE_STALL, HTTP_STALL_SECONDS);
	} else {
		conn_written(conn);
		thread_activate(conn->thread, conn);
	}
	stream_closed(stream);
}

bool stream_pump(struct http_stream *stream, struct http_conn *conn)
{
	while (conn->writable && pending_empty(&conn->out)) {
		char *at;
		bool finished, torn, drained;
		size_t len = gather(stream, (char *)conn->thread->buffer, &at, &finished, &torn, &drained);
		/* What went before has been taken by the kernel. */
		if (torn || !conn_write(conn, at, len))
			return false;
		if (finished) {
			finish(stream, conn);
			return true;
		}
		if (!len)
			return true;
		void (*fn)(void *) = NULL;
		void *arg = NULL;
		if (drained) {
			pthread_mutex_lock(&stream->lock);
			fn = stream->on_drain;
			arg = stream->drain_arg;
			pthread_mutex_unlock(&stream->lock);
		}
		if (fn)
			fn(arg);
	}
	return true;
}
