/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/etcd/grpc.h"

#include "apiserver/etcd/frame.h"
#include "apiserver/etcd/message.h"
#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/metrics.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <pthread.h>
#include <stdio.h>

#define STREAM_WINDOW (8 << 20)
#define CONNECTION_WINDOW (32 << 20)
#define READ_SIZE (64 << 10)
#define WRITE_SIZE (128 << 10)
/* What a stream of ours may hold unsent: its messages are a few bytes each. */
#define STREAM_SEND_MAX (64 << 10)

/* ---- metrics ---- */

#define METHODS_MAX 16
#define CODES 17 /* of grpc-status */

static const char *const method_labels[] = {"grpc_method", "grpc_service", "grpc_type", NULL};
enum { STARTED, SENT, RECEIVED, HANDLED };
static struct metric metrics[] = {
	[STARTED] = {.name = "grpc_client_started_total", .help = "Total number of RPCs started on the client.", .kind = METRIC_COUNTER, .labels = method_labels},
	[SENT] = {.name = "grpc_client_msg_sent_total", .help = "Total number of gRPC messages sent by the client.", .kind = METRIC_COUNTER, .labels = method_labels},
	[RECEIVED] = {.name = "grpc_client_msg_received_total", .help = "Total number of gRPC messages received by the client.", .kind = METRIC_COUNTER, .labels = method_labels},
	[HANDLED] = {.name = "grpc_client_handled_total", .help = "Total number of RPCs completed by the client, regardless of success or failure.", .kind = METRIC_COUNTER, .labels = (const char *const[]){"grpc_code", "grpc_method", "grpc_service", "grpc_type", NULL}},
};

__attribute__((constructor)) static void register_metrics(void)
{
	metrics_register(metrics, array_len(metrics));
}

/* What is counted. */
#define COUNTED "/etcdserverpb."

/* The series of a method, found by the address of its path: those are few, and constants. */
struct method {
	const char *path;
	struct metric_series *counts[HANDLED], *handled[CODES]; /* of the latter those that were needed; atomic */
	char service[64], name[64];
	bool is_stream;
};
static pthread_mutex_t methods_lock = PTHREAD_MUTEX_INITIALIZER;
static struct method methods[METHODS_MAX];
static size_t method_count; /* atomic; grows under the lock */

static struct method *find_method(const char *path, bool is_stream)
{
	size_t count = __atomic_load_n(&method_count, __ATOMIC_ACQUIRE);
	if (!str_starts_with(path, COUNTED))
		return NULL;
	for (size_t i = 0; i < count; i++)
		if (methods[i].path == path && methods[i].is_stream == is_stream)
			return &methods[i];
	pthread_mutex_lock(&methods_lock);
	struct method *m = NULL;
	for (size_t i = 0; i < method_count && !m; i++)
		m = methods[i].path == path && methods[i].is_stream == is_stream ? &methods[i] : NULL;
	if (!m && method_count < METHODS_MAX) {
		const char *slash = strrchr(path, '/');
		m = &methods[method_count];
		*m = (struct method){.path = path, .is_stream = is_stream};
		snprintf(m->service, sizeof(m->service), "%.*s", (int)(slash - path) - 1, path + 1);
		snprintf(m->name, sizeof(m->name), "%s", slash + 1);
		for (size_t i = 0; i < HANDLED; i++)
			m->counts[i] = metric_label(&metrics[i], m->name, m->service, is_stream ? "bidi_stream" : "unary");
		__atomic_store_n(&method_count, method_count + 1, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&methods_lock);
	return m;
}

static void tally(struct method *m, unsigned which)
{
	if (m)
		metric_add(m->counts[which], 1);
}

static unsigned code_of(int status)
{
	return status >= 0 && status < CODES ? (unsigned)status : GRPC_UNKNOWN;
}

const char *grpc_status_name(int status)
{
	static const char *const names[CODES] = {"OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists", "PermissionDenied", "ResourceExhausted",
		"FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented", "Internal", "Unavailable", "DataLoss", "Unauthenticated"};
	return names[code_of(status)];
}

static void count_handled(struct method *m, int status)
{
	unsigned code = code_of(status);
	if (!m)
		return;
	struct metric_series *series = __atomic_load_n(&m->handled[code], __ATOMIC_ACQUIRE);
	if (!series) {
		series = metric_label(&metrics[HANDLED], grpc_status_name(status), m->name, m->service, m->is_stream ? "bidi_stream" : "unary");
		__atomic_store_n(&m->handled[code], series, __ATOMIC_RELEASE);
	}
	metric_add(series, 1);
}

struct grpc_call {
	struct list link; /* in connection->calls */
	struct grpc_connection *connection;
	int32_t stream_id;
	struct grpc_call_events events;
	void *arg;
	struct method *method; /* NULL: not counted */

	const char *out; /* a unary request, borrowed */
	size_t out_len, out_pos;
	struct buf stream_out; /* a stream's */
	bool stalled;          /* nghttp2 was told that there is nothing to send */

	struct frame_reader in;
	int http_status;
	int status; /* grpc-status; -1: not seen */
	char text[256];
	bool failed; /* answered nonsense */
};

struct grpc_connection {
	struct loop *loop;
	const struct endpoint *endpoint;
	struct transport *transport;
	nghttp2_session *session;
	struct grpc_connection_events events;
	void *arg;
	struct list calls;
	struct buf out;
	size_t out_pos;
	bool ready, closed, blocked, flush_posted;
	unsigned depth; /* of callbacks running: freeing waits for them */
	bool dead;
	int64_t last_received;
};

/* ---- calls ---- */

static void call_free(struct grpc_call *call)
{
	list_remove(&call->link);
	frame_reader_done(&call->in);
	buf_done(&call->stream_out);
	free(call);
}

/* An ended call's fields as the caller gets them. */
static void call_end(struct grpc_call *call, int status, const char *text)
{
	struct grpc_call_events events = call->events;
	void *arg = call->arg;
	const void *data = NULL;
	size_t len = 0;

	list_remove(&call->link);
	if (status == GRPC_OK && !events.message) {
		if (frame_reader_message(&call->in, &data, &len) == 0)
			tally(call->method, RECEIVED);
		else {
			status = GRPC_INTERNAL;
			text = "answer without a message";
		}
	}
	count_handled(call->method, status);
	events.ended(status, text, data, len, arg);
	call_free(call);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
	struct grpc_call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	int64_t number;
	char digits[12];

	(void)flags;
	(void)arg;
	if (!call)
		return 0;
	if (name_len == strlen("grpc-message") && memcmp(name, "grpc-message", name_len) == 0) {
		frame_unescape((const char *)value, value_len, call->text, sizeof(call->text));
		return 0;
	}
	if (value_len >= sizeof(digits))
		return 0;
	memcpy(digits, value, value_len);
	digits[value_len] = '\0';
	if (name_len == strlen(":status") && memcmp(name, ":status", name_len) == 0)
		call->http_status = str_to_int64(digits, 100, 999, &number) ? (int)number : 0;
	else if (name_len == strlen("grpc-status") && memcmp(name, "grpc-status", name_len) == 0)
		call->status = str_to_int64(digits, 0, 99, &number) ? (int)number : GRPC_UNKNOWN;
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data, size_t len, void *arg)
{
	struct grpc_call *call = nghttp2_session_get_stream_user_data(session, stream_id);
	const struct grpc_connection *c = arg;
	const void *message;
	size_t message_len;

	(void)flags;
	if (!call || call->failed || c->dead)
		return 0;
	if (frame_reader_add(&call->in, data, len) < 0) {
		call->failed = true;
		nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream_id, NGHTTP2_PROTOCOL_ERROR);
		return 0;
	}
	/* A message's callback may cancel the call, which makes the stream forget it. */
	while (call->events.message && frame_reader_next(&call->in, &message, &message_len)) {
		tally(call->method, RECEIVED);
		call->events.message(message, message_len, call->arg);
		if (c->dead || nghttp2_session_get_stream_user_data(session, stream_id) != call)
			return 0;
	}
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error_code, void *arg)
{
	struct grpc_call *call = nghttp2_session_get_stream_user_data(session, stream_id);
	char text[64];

	if (!call || ((struct grpc_connection *)arg)->dead)
		return 0;
	nghttp2_session_set_stream_user_data(session, stream_id, NULL);
	if (call->failed) {
		call_end(call, GRPC_INTERNAL, "malformed or too large a message");
	} else if (call->status >= 0) {
		call_end(call, call->status, call->text);
	} else if (call->http_status && call->http_status != 200) {
		snprintf(text, sizeof(text), "HTTP status %d", call->http_status);
		call_end(call, GRPC_UNAVAILABLE, text);
	} else {
		snprintf(text, sizeof(text), "stream closed: %s", nghttp2_http2_strerror(error_code));
		call_end(call, GRPC_UNAVAILABLE, text);
	}
	return 0;
}

static ssize_t on_read_body(nghttp2_session *session, int32_t stream_id, uint8_t *out, size_t len, uint32_t *flags, nghttp2_data_source *source, void *arg)
{
	/* By the stream, not by source->ptr: a call that was cancelled is gone before its reset is sent. */
	struct grpc_call *call = nghttp2_session_get_stream_user_data(session, stream_id);
	size_t n;

	(void)source;
	(void)arg;
	if (!call)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	if (call->events.message) {
		n = min_of(len, call->stream_out.len);
		if (n == 0) {
			call->stalled = true;
			return NGHTTP2_ERR_DEFERRED;
		}
		memcpy(out, call->stream_out.data, n);
		buf_consume(&call->stream_out, n);
		return (ssize_t)n;
	}
	n = min_of(len, call->out_len - call->out_pos);
	memcpy(out, call->out + call->out_pos, n);
	call->out_pos += n;
	if (call->out_pos == call->out_len)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

/* ---- the connection ---- */

static void connection_destroy(struct grpc_connection *c)
{
	struct grpc_call *call;

	list_for_each (call, &c->calls, link)
		call_free(call);
	if (c->session)
		nghttp2_session_del(c->session);
	transport_free(c->transport);
	buf_done(&c->out);
	free(c);
}

static void enter(struct grpc_connection *c)
{
	c->depth++;
}

static void leave(struct grpc_connection *c)
{
	if (--c->depth == 0 && c->dead && !c->flush_posted)
		connection_destroy(c);
}

static void connection_close(struct grpc_connection *c, const char *why)
{
	struct grpc_call *call;

	if (c->closed)
		return;
	c->closed = true;
	/* The owner of the calls learns it from `closed`, and by then their memory must not be used. */
	while ((call = list_first(&c->calls, struct grpc_call, link))) {
		nghttp2_session_set_stream_user_data(c->session, call->stream_id, NULL);
		call_free(call);
	}
	if (!c->dead)
		c->events.closed(why, c->arg);
}

/* Sends what nghttp2 has to say, until there is no more or the socket takes no more. */
static void flush(struct grpc_connection *c)
{
	while (c->ready && !c->closed && !c->dead) {
		while (c->out_pos < c->out.len) {
			ssize_t n = transport_write(c->transport, c->out.data + c->out_pos, c->out.len - c->out_pos);
			if (n == -EAGAIN)
				return;
			if (n <= 0)
				return connection_close(c, n < 0 ? transport_why(c->transport, (int)n) : "connection closed");
			c->out_pos += (size_t)n;
		}
		buf_reset(&c->out);
		c->out_pos = 0;
		while (c->out.len < WRITE_SIZE) {
			const uint8_t *data;
			ssize_t n = nghttp2_session_mem_send(c->session, &data);
			if (n < 0)
				return connection_close(c, nghttp2_strerror((int)n));
			if (n == 0)
				break;
			buf_append(&c->out, data, (size_t)n);
		}
		if (c->out.len == 0)
			break;
	}
	if (c->ready && !c->closed && !nghttp2_session_want_read(c->session) && !nghttp2_session_want_write(c->session))
		connection_close(c, "the server closes the connection");
}

static void flush_posted(void *arg)
{
	struct grpc_connection *c = arg;

	enter(c);
	c->flush_posted = false;
	flush(c);
	leave(c);
}

/* All that one round of the loop submits leaves in one write. */
static void schedule_flush(struct grpc_connection *c)
{
	if (c->flush_posted || c->depth)
		return;
	c->flush_posted = true;
	loop_post(c->loop, flush_posted, c);
}

static void on_ready(void *arg)
{
	struct grpc_connection *c = arg;
	const nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
	};

	enter(c);
	c->ready = true;
	c->last_received = clock_monotonic_ns();
	nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, array_len(settings));
	nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW);
	c->events.ready(c->arg);
	flush(c);
	leave(c);
}

static void on_readable(void *arg)
{
	struct grpc_connection *c = arg;
	static _Thread_local uint8_t data[READ_SIZE];

	enter(c);
	while (!c->closed && !c->dead) {
		ssize_t n = transport_read(c->transport, data, sizeof(data));
		if (n == -EAGAIN)
			break;
		if (n <= 0) {
			connection_close(c, n < 0 ? transport_why(c->transport, (int)n) : "the server has closed the connection");
			break;
		}
		c->last_received = clock_monotonic_ns();
		n = nghttp2_session_mem_recv(c->session, data, (size_t)n);
		if (n < 0) {
			connection_close(c, nghttp2_strerror((int)n));
			break;
		}
		flush(c);
	}
	leave(c);
}

static void on_writable(void *arg)
{
	struct grpc_connection *c = arg;

	enter(c);
	flush(c);
	leave(c);
}

static void on_failed(const char *why, void *arg)
{
	struct grpc_connection *c = arg;

	enter(c);
	connection_close(c, why);
	leave(c);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct grpc_connection *c = arg;
	struct grpc_call *call;

	if (frame->hd.type == NGHTTP2_GOAWAY) {
		connection_close(c, "the server goes away");
		return 0;
	}
	/* An answer may close the stream by its trailers alone, while our side of a watch is still open: end it. */
	if (frame->hd.stream_id && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
		call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
		if (call && (call->events.message || call->out_pos < call->out_len))
			nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
	}
	return 0;
}

static int session_new(struct grpc_connection *c, struct error *err)
{
	nghttp2_session_callbacks *callbacks;
	int r = nghttp2_session_callbacks_new(&callbacks);

	if (r != 0)
		return error_set(err, ENOMEM, "HTTP/2: %s", nghttp2_strerror(r));
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	r = nghttp2_session_client_new(&c->session, callbacks, c);
	nghttp2_session_callbacks_del(callbacks);
	return r == 0 ? 0 : error_set(err, ENOMEM, "HTTP/2: %s", nghttp2_strerror(r));
}

int grpc_connect(struct loop *loop, const struct endpoint *endpoint, struct transport_tls *tls, const struct grpc_connection_events *events, void *arg,
	struct grpc_connection **ret, struct error *err)
{
	static const struct transport_events transport_events = {.ready = on_ready, .readable = on_readable, .writable = on_writable, .failed = on_failed};
	struct grpc_connection *c = xnew(struct grpc_connection);
	int r;

	*c = (struct grpc_connection){.loop = loop, .endpoint = endpoint, .events = *events, .arg = arg, .out = BUF_INIT(4 * WRITE_SIZE)};
	list_init(&c->calls);
	r = session_new(c, err);
	if (r == 0)
		r = transport_open(loop, endpoint, tls, &transport_events, c, &c->transport, err);
	if (r < 0) {
		connection_destroy(c);
		return r;
	}
	*ret = c;
	return 0;
}

void grpc_connection_free(struct grpc_connection *c)
{
	if (!c)
		return;
	c->dead = true;
	c->closed = true;
	enter(c);
	leave(c);
}

int64_t grpc_last_received(const struct grpc_connection *c)
{
	return c->last_received;
}

void grpc_ping(struct grpc_connection *c)
{
	nghttp2_submit_ping(c->session, NGHTTP2_FLAG_NONE, NULL);
	schedule_flush(c);
}

#define HEADER(n, v, l) {(uint8_t *)(uintptr_t)(n), (uint8_t *)(uintptr_t)(v), sizeof(n) - 1, (l), NGHTTP2_NV_FLAG_NO_COPY_NAME}

struct grpc_call *grpc_start(struct grpc_connection *c, const char *path, const struct buf *message, int timeout_ms, const struct grpc_call_events *events, void *arg)
{
	struct grpc_call *call;
	char timeout[16];
	nghttp2_data_provider body = {.read_callback = on_read_body};
	nghttp2_nv headers[9] = {
		HEADER(":method", "POST", 4),
		HEADER(":scheme", c->endpoint->tls ? "https" : "http", c->endpoint->tls ? 5 : 4),
		HEADER(":path", path, strlen(path)),
		HEADER(":authority", c->endpoint->authority, strlen(c->endpoint->authority)),
		HEADER("content-type", "application/grpc", 16),
		HEADER("te", "trailers", 8),
		HEADER("user-agent", "coracle/" CORACLE_VERSION, strlen("coracle/" CORACLE_VERSION)),
	};
	size_t count = 7;

	if (c->closed || c->dead || !c->ready)
		return NULL;
	if (timeout_ms > 0) {
		char *digit = timeout + sizeof(timeout);
		*--digit = 'm';
		for (int left = timeout_ms; left; left /= 10)
			*--digit = (char)('0' + left % 10);
		headers[count++] = (nghttp2_nv)HEADER("grpc-timeout", digit, (size_t)(timeout + sizeof(timeout) - digit));
	}
	if (events->message) /* etcd then ends a watch on a member that has lost its leader */
		headers[count++] = (nghttp2_nv)HEADER("hasleader", "true", 4);
	call = xnew(struct grpc_call);
	*call = (struct grpc_call){.connection = c, .events = *events, .arg = arg, .status = -1, .in = FRAME_READER_INIT(ETCD_MAX_MESSAGE), .stream_out = BUF_INIT(STREAM_SEND_MAX)};
	if (events->message) {
		buf_append(&call->stream_out, message->data, message->len);
	} else {
		call->out = message->data;
		call->out_len = message->len;
	}
	call->stream_id = nghttp2_submit_request(c->session, NULL, headers, count, &body, call);
	list_init(&call->link);
	if (call->stream_id < 0) {
		call_free(call);
		return NULL;
	}
	list_push_back(&c->calls, &call->link);
	call->method = find_method(path, events->message != NULL);
	tally(call->method, STARTED);
	tally(call->method, SENT);
	schedule_flush(c);
	return call;
}

int grpc_send(struct grpc_call *call, const struct buf *message)
{
	struct grpc_connection *c = call->connection;

	buf_append(&call->stream_out, message->data, message->len);
	if (buf_failed(&call->stream_out))
		return -ENOBUFS;
	tally(call->method, SENT);
	if (call->stalled) {
		call->stalled = false;
		nghttp2_session_resume_data(c->session, call->stream_id);
	}
	schedule_flush(c);
	return 0;
}

void grpc_cancel(struct grpc_call *call)
{
	struct grpc_connection *c = call->connection;

	nghttp2_session_set_stream_user_data(c->session, call->stream_id, NULL);
	nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, call->stream_id, NGHTTP2_CANCEL);
	schedule_flush(c);
	count_handled(call->method, GRPC_CANCELLED);
	call_free(call);
}
