/* SPDX-License-Identifier: Apache-2.0 */
#include "common/http/direct.h"
#include "common/http/inject.h"

#include "common/base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

enum {
	OUT_KEPT = 256 * 1024,
	BEHIND_STREAM_MAX = 64 * 1024, /* of the next requests, kept for as long as a stream lasts */
};

/* ---- reading ---- */

static void drop_held(struct http_conn *conn)
{
	server_unaccount(conn->thread->server, conn->held.len);
	buf_done(&conn->held);
	conn->held = BUF_INIT(DIRECT_MAX);
	conn->held_seen = conn->held_need = 0;
}

static bool hold(struct http_conn *conn, const char *data, size_t len)
{
	if (len > DIRECT_MAX - conn->held.len || !server_account(conn->thread->server, len))
		return false;
	buf_append(&conn->held, data, len);
	return true;
}

void direct_close(struct http_conn *conn)
{
	drop_held(conn);
}

/* libmicrohttpd takes over, beginning with these bytes, which may lie in what is held. */
static bool leave(struct http_conn *conn, const char *data, size_t len)
{
	pending_keep(&conn->in, data, len);
	drop_held(conn);
	conn->direct = false;
	conn->request = REQUEST_NONE;
	if (conn_open_pair(conn) < 0)
		conn_close(conn);
	return !conn->dead;
}

enum found { FOUND_MORE, FOUND_WHOLE, FOUND_OTHER };

/* Looks for a request at the start of the bytes; makes it where it is whole. */
static enum found find(struct http_conn *conn, const char *data, size_t len, struct http_request **ret, size_t *ret_taken)
{
	if (conn->held_need > len)
		return FOUND_MORE;
	size_t head_len = plain_head_len(data, len, conn->held_seen);
	if (!head_len) {
		conn->held_seen = len;
		return len < DIRECT_HEAD_MAX && plain_may_begin(data, len) ? FOUND_MORE : FOUND_OTHER;
	}
	if (head_len > DIRECT_HEAD_MAX)
		return FOUND_OTHER;
	struct http_request *req = request_new(conn, NULL);
	struct plain_head head;
	enum found found = FOUND_OTHER;
	if (plain_parse(arena_strndup(req->arena, data, head_len), head_len, &head) && head.body_len <= req->body.max && head.body_len <= DIRECT_BODY_MAX) {
		found = head_len + head.body_len <= len ? FOUND_WHOLE : FOUND_MORE;
		conn->held_seen = head_len - 4;
		conn->held_need = head_len + head.body_len;
	}
	if (found == FOUND_WHOLE && head.body_len) {
		if (server_account(req->server, head.body_len)) {
			req->accounted = head.body_len;
			buf_append(&req->body, data + head_len, head.body_len);
		} else {
			found = FOUND_OTHER;
		}
	}
	if (found != FOUND_WHOLE) {
		request_unref(req);
		return found;
	}
	req->method = head.method;
	req->path = head.path;
	req->query = head.query;
	req->headers = arena_memdup(req->arena, head.headers, head.header_count * sizeof(head.headers[0]));
	req->header_count = head.header_count;
	req->http11 = req->started = req->handed = true;
	*ret = req;
	*ret_taken = head_len + head.body_len;
	conn->held_seen = conn->held_need = 0;
	return FOUND_WHOLE;
}

static void finish(struct http_request *req);

void direct_settle(struct http_request *req)
{
	for (;;) {
		int state = STATE_RUNNING;
		if (atomic_compare_exchange_strong(&req->state, &state, STATE_SUSPENDED))
			return;
		if (state != STATE_CONTINUED)
			return finish(req);
		atomic_store(&req->state, STATE_RUNNING);
		req->next(req->next_arg);
	}
}

static void run(struct http_request *req)
{
	struct http_conn *conn = req->conn;
	struct http_server *server = req->server;
	conn->current = req;
	conn->request = REQUEST_HANDLED;
	list_push_back(&conn->thread->requests, &req->link);
	req->counted = true;
	server_request_begin(server);
	atomic_fetch_add(&req->refs, 1);
	server->options.handler(req, server->options.arg);
	direct_settle(req);
}

/* A request begun and not whole: what bounds its time. */
static void await(struct http_conn *conn, size_t held)
{
	if (conn->held_need && conn->request == REQUEST_NONE) {
		conn->request = REQUEST_BODY;
		conn->body_seen = conn->body_checked = 0;
	}
	if (conn->request == REQUEST_BODY)
		conn->body_seen = held - (conn->held_seen + 4);
	if (conn->deadline_kind == DEADLINE_IDLE)
		conn_set_deadline(conn, DEADLINE_HEADER, HTTP_HEADER_SECONDS);
}

static bool take_held(struct http_conn *conn)
{
	struct http_request *req;
	size_t taken;
	switch (find(conn, conn->held.data, conn->held.len, &req, &taken)) {
	case FOUND_OTHER:
		return leave(conn, conn->held.data, conn->held.len);
	case FOUND_MORE:
		await(conn, conn->held.len);
		return false;
	case FOUND_WHOLE:
		break;
	}
	if (taken == conn->held.len) {
		drop_held(conn);
	} else {
		buf_consume(&conn->held, taken);
		server_unaccount(conn->thread->server, taken);
	}
	run(req);
	return true;
}

static bool take(struct http_conn *conn, const char *data, size_t len)
{
	struct http_request *req;
	size_t taken;
	if (conn->held.len) {
		if (hold(conn, data, len))
			return take_held(conn) || !conn->dead;
		autobuf struct buf all = BUF_INIT(conn->held.len + len);
		buf_append(&all, conn->held.data, conn->held.len);
		buf_append(&all, data, len);
		return leave(conn, all.data, all.len);
	}
	enum found found = find(conn, data, len, &req, &taken);
	if (found == FOUND_OTHER)
		return leave(conn, data, len);
	if (found == FOUND_MORE) {
		if (!hold(conn, data, len))
			return leave(conn, data, len);
		await(conn, len);
		return true;
	}
	/* At most one read: it fits. Where the budget has no room for what is behind, the connection goes. */
	if (taken < len && !hold(conn, data + taken, len - taken))
		conn->closing = true;
	run(req);
	return true;
}

/* Nothing has come that was not read: no system call and no look into GnuTLS needs to tell. */
static bool is_read_out(struct http_conn *conn)
{
	return conn->drained && pending_empty(&conn->ahead) && (!conn->tls || !gnutls_record_check_pending(conn->tls));
}

/* A stream is under way: what comes waits for its end. Where that would be too much, it is dropped, and the connection ends with the stream. */
static bool hold_behind_stream(struct http_conn *conn)
{
	ssize_t n = conn_receive(conn);
	if (n <= 0)
		return n == 0;
	if ((size_t)n > BEHIND_STREAM_MAX - min_of(conn->held.len, (size_t)BEHIND_STREAM_MAX) || !hold(conn, (const char *)conn->thread->buffer, (size_t)n)) {
		conn->closing = conn->pair_gone = true;
		drop_held(conn);
	}
	return true;
}

bool direct_pump(struct http_conn *conn)
{
	if (conn->streaming)
		return hold_behind_stream(conn);
	if (conn->current || inject_first(conn) || !pending_empty(&conn->out))
		return false; /* first its answer */
	if (conn->closing) {
		conn->pair_eof = conn->pair_gone = true;
		return true;
	}
	if (conn->held.len && take_held(conn))
		return true;
	if (conn->dead || !conn->direct)
		return false;
	if (conn->client_eof) {
		conn->pair_eof = conn->pair_gone = true;
		return true;
	}
	ssize_t n = conn_receive(conn);
	if (n <= 0)
		return n == 0;
	if (is_read_out(conn))
		conn->readable = false;
	return take(conn, (const char *)conn->thread->buffer, (size_t)n);
}

/* ---- answering ---- */

void direct_respond(struct http_request *req, int status, const char *content_type, struct bytes **parts, size_t count)
{
	req->status = status;
	req->content_type = content_type ? arena_strdup(req->arena, content_type) : NULL;
	req->parts = arena_memdup(req->arena, parts, count * sizeof(struct bytes *));
	req->part_count = count;
	respond_publish(req);
}

static void append_date(struct io_thread *thread)
{
	int64_t now = clock_wall().sec;
	if (now != thread->date_second || !thread->date[0]) {
		/* Not strftime's names of days and months: those follow the locale. */
		static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
		struct tm tm;
		time_t t = (time_t)now;
		gmtime_r(&t, &tm);
		snprintf(thread->date, sizeof(thread->date), "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT", days + tm.tm_wday * 3, (unsigned)tm.tm_mday % 100, months + tm.tm_mon * 3,
			(unsigned)(tm.tm_year + 1900) % 10000, (unsigned)tm.tm_hour % 100, (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
		thread->date_second = now;
	}
	buf_append_str(&thread->out, "Date: ");
	buf_append_str(&thread->out, thread->date);
}

static void append_header(struct buf *out, const char *name, const char *value)
{
	/* What would break the line is left out, as libmicrohttpd does. */
	if (!*name || !*value || strpbrk(name, "\t\r\n") || strpbrk(value, "\r\n"))
		return;
	buf_append_str(out, name);
	buf_append(out, ": ", 2);
	buf_append_str(out, value);
	buf_append(out, "\r\n", 2);
}

/* As Go's servers say it: libmicrohttpd has the words of a later RFC. */
static const char *reason_of(int status)
{
	switch (status) {
	case 413:
		return "Request Entity Too Large";
	case 416:
		return "Requested Range Not Satisfiable";
	case 422:
		return "Unprocessable Entity";
	default:
		break;
	}
	const char *reason = MHD_get_reason_phrase_for((unsigned)status);
	return str_equal(reason, "Unknown") ? "Non-Standard Status" : reason;
}

/* In the order that libmicrohttpd gives it: the way of a request shows in nothing. */
static void append_head(struct io_thread *thread, struct http_request *req, bool close, size_t len, bool chunk)
{
	struct buf *out = &thread->out;
	buf_append_str(out, "HTTP/1.1 ");
	buf_append_uint(out, (uint64_t)req->status);
	buf_append_char(out, ' ');
	buf_append_str(out, reason_of(req->status));
	buf_append(out, "\r\n", 2);
	append_date(thread);
	buf_append_str(out, close ? "\r\nConnection: close\r\n" : "\r\n");
	if (req->inject || chunk)
		buf_append_str(out, "Transfer-Encoding: chunked\r\n");
	if (req->content_type)
		append_header(out, "Content-Type", req->content_type);
	for (struct out_header *h = req->out_headers; h; h = h->next)
		append_header(out, h->name, h->value);
	if (req->stream) {
		buf_append_str(out, "Transfer-Encoding: chunked\r\n");
	} else if (!req->inject && !chunk && req->status >= 200 && req->status != 204) {
		buf_append_str(out, "Content-Length: ");
		buf_append_uint(out, len);
		buf_append(out, "\r\n", 2);
	}
	buf_append(out, "\r\n", 2);
}

/* Brings a body that is pulled, and small, whole. False where it is less than was promised. */
static bool pull_whole(struct http_request *req)
{
	struct inject *inject = req->inject;
	struct buf body = BUF_INIT(BUF_MAX_DEFAULT);
	while (inject->next(inject->arg, &inject->part) > 0) {
		buf_append(&body, inject->part->data, inject->part->len);
		inject->part = bytes_unref(inject->part);
	}
	inject->part = NULL;
	bool whole = inject->left < 0 || body.len == (size_t)inject->left;
	req->parts = arena_new_type(req->arena, struct bytes *);
	req->parts[0] = buf_to_bytes(&body);
	req->part_count = 1;
	buf_done(&body);
	inject_free(take_ptr(req->inject));
	return whole;
}

/* False where the connection is to be closed. */
static bool write_answer(struct http_request *req, struct http_conn *conn)
{
	struct io_thread *thread = conn->thread;
	/* A switch of protocols that was not asked for in its headers, or libmicrohttpd would have this. */
	if (req->upgrade) {
		const char *text = respond_error_text(400);
		struct bytes *part = bytes_new(text, strlen(text));
		req->status = 400;
		req->content_type = "text/plain; charset=utf-8";
		req->parts = arena_memdup(req->arena, &part, sizeof(part));
		req->part_count = 1;
	}
	if (req->inject && !respond_may_chunk(req, req->status, req->inject->left) && !pull_whole(req))
		return false;
	bool bare = req->status < 200 || req->status == 204 || req->status == 304;
	size_t len = 0;
	for (size_t i = 0; i < req->part_count; i++)
		len += req->parts[i]->len;
	conn->closing |= atomic_load(&req->server->closing);
	buf_reset(&thread->out);
	bool chunk = !req->inject && !req->stream && respond_is_chunk(req, req->status, len);
	append_head(thread, req, conn->closing, len, chunk);
	if (chunk)
		buf_printf(&thread->out, "%zx\r\n", len);
	for (size_t i = 0; i < req->part_count && !bare; i++)
		buf_append(&thread->out, req->parts[i]->data, req->parts[i]->len);
	if (chunk)
		buf_append_str(&thread->out, "\r\n0\r\n\r\n");
	bool ok = conn_write(conn, thread->out.data, thread->out.len);
	if (thread->out.cap > OUT_KEPT)
		buf_done(&thread->out);
	if (!ok)
		return false;
	if (req->stream) {
		struct http_stream *stream = take_ptr(req->stream);
		conn->streaming = true;
		conn->pair_gone = conn->closing;
		conn_set_deadline(conn, DEADLINE_NONE, 0);
		stream_attach(stream);
		return true;
	}
	if (req->inject) {
		struct inject *inject = take_ptr(req->inject);
		inject->started = true;
		list_push_back(&conn->injects, &inject->link);
	}
	conn_written(conn);
	return true;
}

/* Writes the answer, and gives up the I/O thread's reference. */
static void finish(struct http_request *req)
{
	struct http_conn *conn = req->conn;
	request_leave(req);
	if (!conn->dead && !write_answer(req, conn))
		conn_close(conn);
	if (!conn->dead && (conn->readable || conn->client_eof || conn->closing || conn->held.len || conn->streaming || inject_first(conn)))
		thread_activate(conn->thread, conn);
	request_end(req);
}

void direct_cancel(struct http_request *req)
{
	struct io_thread *thread = req->conn->thread;
	pthread_mutex_lock(&thread->resume_lock);
	int expected = STATE_SUSPENDED;
	bool ours = atomic_compare_exchange_strong(&req->state, &expected, STATE_CANCELLED);
	pthread_mutex_unlock(&thread->resume_lock);
	if (!ours)
		return; /* it is in the thread's list */
	request_leave(req);
	request_unref(req);
}
