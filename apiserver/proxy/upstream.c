/* SPDX-License-Identifier: Apache-2.0 */
/* A request to another server and its answer; past 800 lines because all its states share one connection. */
#include "apiserver/proxy/upstream.h"
#include "apiserver/request/steps.h"
#include "apiserver/tls.h"
#include "common/base/clock.h"
#include "common/base/loop.h"
#include "common/http/websocket.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <unistd.h>

#define MAX_HEAD (64u << 10)
#define MAX_ERROR_TEXT (16u << 10)
#define CHUNK (32u << 10)
#define MAX_CHUNK_LINE 1024
#define STREAM_HIGH (1u << 20)   /* stop reading past this much that the client has not taken */
#define STREAM_MAX (8u << 20)
#define SPLICE_MAX (256u << 10)
#define COLLECT_MAX (128u << 10) /* of an answer that is told whole: its connection may go on */
#define CONNECT_NS (10 * NSEC_PER_SEC)

enum state { CONNECTING, HANDSHAKE, SENDING, HEAD, BODY, COLLECT, ERROR_TEXT, WAIT_UPGRADE, SPLICE, WAIT_MESSAGES, LAST_MESSAGES, OVER };
enum framing { UNTIL_CLOSE, LENGTH, CHUNKED, NONE };

struct upstream {
	unsigned refs; /* atomic: the loop's, the stream's callbacks', posted work's */
	struct loop *loop;
	struct request *r; /* NULL once answered */
	struct upstream_options options;
	char *address, *method, *target, *location_prefix, *reached, *server_name, *headers;
	struct loop_timer *timer;

	int fd;
	struct loop_fd *watch;
	gnutls_session_t tls;
	enum state state;
	struct buf out, in;   /* to and from the server, not yet sent or read */
	bool closed_by_server;

	int status;
	enum framing framing;
	bool whole, broken;   /* the body has come to its end; it is framed as none may be */
	int64_t left;         /* of the body, or of the current chunk (-1: a size comes next) */
	char *upgrade;        /* protocol of a 101 */
	char *content_type;
	bool redirects;

	struct http_stream *stream;
	struct websocket *messages; /* takes the body in the stream's place */
	bool paused;

	int client;
	struct loop_fd *client_watch;
	struct buf to_client;
	bool client_closed;
};

static void on_server(uint32_t events, void *arg);
static void update_events(struct upstream *u);

static struct upstream *up_ref(struct upstream *u) {
	__atomic_add_fetch(&u->refs, 1, __ATOMIC_RELAXED);
	return u;
}

static void up_unref(struct upstream *u) {
	if (__atomic_sub_fetch(&u->refs, 1, __ATOMIC_ACQ_REL))
		return;
	buf_done(&u->out);
	buf_done(&u->in);
	buf_done(&u->to_client);
	http_stream_unref(u->stream);
	free(u->address);
	free(u->method);
	free(u->target);
	free(u->location_prefix);
	free(u->reached);
	free(u->server_name);
	free(u->headers);
	free(u->upgrade);
	free(u->content_type);
	if (u->options.release)
		u->options.release(u->options.release_arg);
	free(u);
}

/* Closes what is open. The last references may still be with the stream's callbacks. */
static void over(struct upstream *u) {
	if (u->state == OVER)
		return;
	u->state = OVER;
	loop_timer_free(u->timer);
	loop_fd_remove(u->watch);
	loop_fd_remove(u->client_watch);
	u->watch = u->client_watch = NULL;
	if (u->tls) {
		gnutls_bye(u->tls, GNUTLS_SHUT_WR);
		gnutls_deinit(u->tls);
	}
	if (u->fd >= 0)
		close(u->fd);
	if (u->client >= 0)
		close(u->client);
	websocket_free(u->messages);
	u->messages = NULL;
	u->fd = u->client = -1;
	if (u->stream)
		(u->whole ? http_stream_end : http_stream_tear)(u->stream);
	up_unref(u);
}

/* Answers with why there is no answer, and ends. */
static void fail(struct upstream *u, const char *fmt, ...) printf_like(2, 3);
static void fail(struct upstream *u, const char *fmt, ...) {
	struct request *r = take_ptr(u->r);
	if (r) {
		autoerror struct error err = {0};
		autobuf struct buf why = BUF_INIT(MAX_ERROR_TEXT);
		int code = u->options.unreachable_code;
		va_list args;
		va_start(args, fmt);
		buf_vprintf(&why, fmt, args);
		va_end(args);
		if (u->options.plain_errors) {
			autofree char *line = xprintf("%s%s\n", u->reached, str_or(why.data, ""));
			http_add_header(r->http, "X-Content-Type-Options", "nosniff");
			request_respond_text(r, code, line);
		} else {
			error_status(&err, code, code == 503 ? "ServiceUnavailable" : "InternalError", "%s%s", u->reached, str_or(why.data, ""));
			request_fail(r, &err);
		}
	}
	over(u);
}

static void unreachable(struct upstream *u, const char *why) {
	bool six = strchr(u->address, ':') != NULL;
	fail(u, "dial tcp %s%s%s:%u: %s", six ? "[" : "", u->address, six ? "]" : "", u->options.port, why);
}

/* ---- bytes to and from the server ---- */

static ssize_t server_send(struct upstream *u, const void *data, size_t len) {
	if (!u->tls) {
		ssize_t n = send(u->fd, data, len, MSG_NOSIGNAL);
		return n < 0 ? -errno : n;
	}
	ssize_t n = gnutls_record_send(u->tls, data, len);
	return n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED ? -EAGAIN : n < 0 ? -EIO : n;
}

static ssize_t server_recv(struct upstream *u, void *data, size_t len) {
	if (!u->tls) {
		ssize_t n = recv(u->fd, data, len, 0);
		return n < 0 ? -errno : n;
	}
	ssize_t n = gnutls_record_recv(u->tls, data, len);
	if (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED || n == GNUTLS_E_REHANDSHAKE)
		return -EAGAIN;
	return n < 0 ? (n == GNUTLS_E_PREMATURE_TERMINATION ? 0 : -EIO) : n;
}

/* Returns false where the connection broke. */
static bool flush_out(struct upstream *u) {
	while (u->out.len) {
		ssize_t n = server_send(u, u->out.data, u->out.len);
		if (n == -EAGAIN || n == -EINTR)
			return true;
		if (n <= 0)
			return false;
		buf_consume(&u->out, (size_t)n);
	}
	return true;
}

/* ---- the request ---- */

struct copying {
	struct upstream *u;
	bool upgrade;
};

static void copy_header(const char *name, const char *value, void *arg) {
	static const char *const dropped[] = {"Host", "Authorization", "Content-Length", "Transfer-Encoding", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "X-Remote-User", "X-Remote-Uid", "X-Remote-Group", "Accept-Encoding"};
	struct copying *c = arg;
	for (size_t i = 0; i < array_len(dropped); i++)
		if (strcasecmp(name, dropped[i]) == 0)
			return;
	if (!c->upgrade && (strcasecmp(name, "Connection") == 0 || strcasecmp(name, "Upgrade") == 0))
		return;
	if (strncasecmp(name, "Impersonate-", 12) == 0 || strncasecmp(name, "X-Remote-Extra-", 15) == 0 || strpbrk(value, "\r\n"))
		return;
	if (c->u->headers && (strcasecmp(name, "Via") == 0 || strcasecmp(name, "Audit-ID") == 0))
		return; /* they are told anew */
	buf_printf(&c->u->out, "%s: %s\r\n", name, value);
}

static void write_request(struct upstream *u) {
	struct request *r = u->r;
	size_t len;
	const char *body = http_body(r->http, &len);
	struct copying copying = {u, !u->options.messages && http_header(r->http, "Upgrade") != NULL};
	bool six = strchr(u->address, ':') != NULL;
	buf_printf(&u->out, "%s %s HTTP/1.1\r\nHost: %s%s%s:%u\r\n", u->method, u->target, six ? "[" : "", u->address, six ? "]" : "", u->options.port);
	http_header_each(r->http, copy_header, &copying);
	buf_append_str(&u->out, str_or(u->headers, ""));
	if (!copying.upgrade)
		buf_append_str(&u->out, "Connection: close\r\n");
	if (len || strcmp(u->method, "POST") == 0 || strcmp(u->method, "PUT") == 0 || strcmp(u->method, "PATCH") == 0)
		buf_printf(&u->out, "Content-Length: %zu\r\n", len);
	buf_append_str(&u->out, "\r\n");
	buf_append(&u->out, body ? body : "", len);
}

/* ---- the answer's head ---- */

static bool header_is(const char *line, size_t len, const char *name, const char **value, size_t *value_len) {
	size_t n = strlen(name);
	if (len <= n || line[n] != ':' || strncasecmp(line, name, n) != 0)
		return false;
	const char *v = line + n + 1, *end = line + len;
	while (v < end && (*v == ' ' || *v == '\t'))
		v++;
	*value = v;
	*value_len = (size_t)(end - v);
	return true;
}

static void add_location(struct upstream *u, const char *value) {
	/* Paths of the server behind appear below ours. */
	const char *path = value;
	if (u->location_prefix && (str_starts_with(value, "http://") || str_starts_with(value, "https://"))) {
		path = strchr(strstr(value, "//") + 2, '/');
		autofree char *host = xprintf("%s:%u", u->address, u->options.port);
		if (!path || !strstr(value, host))
			path = NULL;
	}
	if (u->location_prefix && path && *path == '/') {
		autofree char *moved = xprintf("%s%s", u->location_prefix, path);
		http_add_header(u->r->http, "Location", moved);
	} else {
		http_add_header(u->r->http, "Location", value);
	}
}

static void take_header(struct upstream *u, const char *line, size_t len, char **content_type) {
	const char *v;
	size_t n;
	if (header_is(line, len, "Content-Length", &v, &n)) {
		autofree char *text = xstrndup(v, n);
		if (str_to_int64(text, 0, INT64_MAX, &u->left) && u->framing == UNTIL_CLOSE)
			u->framing = LENGTH;
	} else if (header_is(line, len, "Transfer-Encoding", &v, &n)) {
		if (n >= 7 && strncasecmp(v + n - 7, "chunked", 7) == 0) {
			u->framing = CHUNKED;
			u->left = -1;
		}
	} else if (header_is(line, len, "Content-Type", &v, &n)) {
		free(*content_type);
		*content_type = xstrndup(v, n);
	} else if (header_is(line, len, "Upgrade", &v, &n)) {
		free(u->upgrade);
		u->upgrade = xstrndup(v, n);
	} else if (header_is(line, len, "Connection", &v, &n) || header_is(line, len, "Keep-Alive", &v, &n) || header_is(line, len, "Date", &v, &n)) {
		return;
	} else if (header_is(line, len, "Location", &v, &n)) {
		autofree char *text = xstrndup(v, n);
		u->redirects = u->options.reject_redirects && u->status >= 300 && u->status < 400;
		if (!u->redirects)
			add_location(u, text);
	} else {
		const char *colon = memchr(line, ':', len);
		if (!colon)
			return;
		autofree char *name = xstrndup(line, (size_t)(colon - line));
		if (header_is(line, len, name, &v, &n)) {
			autofree char *value = xstrndup(v, n);
			http_add_header(u->r->http, name, value);
		}
	}
}

static void closed_posted(void *arg) {
	struct upstream *u = arg;
	over(u);
	up_unref(u);
}

static void on_stream_close(void *arg) {
	struct upstream *u = arg;
	loop_post(u->loop, closed_posted, u); /* the reference goes along */
}

static void drained_posted(void *arg) {
	struct upstream *u = arg;
	if (u->state == BODY && u->paused) {
		u->paused = false;
		update_events(u);
		on_server(EPOLLIN, u);
	}
	up_unref(u);
}

static void on_stream_drain(void *arg) {
	struct upstream *u = arg;
	loop_post(u->loop, drained_posted, up_ref(u));
}

static void on_client(uint32_t events, void *arg);
static void process_in(struct upstream *u);

struct upgraded {
	struct upstream *u;
	int fd;
	void *extra;
	size_t extra_len;
};

static void on_message_client(uint32_t events, void *arg);

static void upgraded_posted(void *arg) {
	struct upgraded *up = arg;
	struct upstream *u = up->u;
	if (u->state == WAIT_MESSAGES && up->fd >= 0) {
		const struct websocket_options options = {.max_queued = STREAM_MAX, .extra = up->extra, .extra_len = up->extra_len};
		u->messages = websocket_new(up->fd, &options);
		u->client_watch = loop_add_fd(u->loop, up->fd, EPOLLIN, on_message_client, u);
		u->state = BODY;
		/* An empty message tells the client that it is on its way, before the first line is written. */
		websocket_send(u->messages, WEBSOCKET_BINARY, NULL, 0, "", 0);
		process_in(u);
		on_server(EPOLLIN, u);
	} else if (u->state != WAIT_UPGRADE || up->fd < 0) {
		if (up->fd >= 0)
			close(up->fd);
		over(u);
	} else {
		u->state = SPLICE;
		u->client = up->fd;
		buf_append(&u->out, up->extra, up->extra_len);
		buf_append(&u->to_client, u->in.data ? u->in.data : "", u->in.len);
		buf_reset(&u->in);
		u->client_watch = loop_add_fd(u->loop, u->client, EPOLLIN, on_client, u);
		on_server(EPOLLIN | EPOLLOUT, u);
	}
	free(up->extra);
	free(up);
	up_unref(u);
}

static void on_upgrade(int fd, const void *extra, size_t extra_len, void *arg) {
	struct upstream *u = arg;
	struct upgraded *up = xnew(struct upgraded);
	*up = (struct upgraded){.u = u, .fd = fd, .extra = extra_len ? xmemdup(extra, extra_len) : NULL, .extra_len = extra_len};
	loop_post(u->loop, upgraded_posted, up);
}

/* All of it has come. */
static void answer_collected(struct upstream *u) {
	struct request *r = take_ptr(u->r);
	request_finished(r, u->status);
	if (u->framing == LENGTH)
		http_keep_length(r->http);
	http_respond(r->http, u->status, u->content_type, u->to_client.len ? u->to_client.data : "", u->to_client.len);
	over(u);
}

static void start_stream(struct upstream *u) {
	struct request *r = take_ptr(u->r);
	u->state = BODY;
	request_finished(r, u->status);
	u->stream = http_stream_start(r->http, u->status, u->content_type, STREAM_MAX, on_stream_close, up_ref(u));
	http_stream_on_drain(u->stream, on_stream_drain, u);
}

static void answer_head(struct upstream *u, const char *content_type) {
	struct request *r = u->r;
	if (u->status == 101 && u->upgrade) {
		u->state = WAIT_UPGRADE;
		u->r = NULL;
		loop_timer_disarm(u->timer);
		update_events(u);
		request_finished(r, 101);
		http_upgrade(r->http, u->upgrade, on_upgrade, up_ref(u));
		return;
	}
	if (u->options.errors_as_status && u->status >= 400) {
		u->state = ERROR_TEXT;
		return;
	}
	if (u->options.messages) {
		u->state = WAIT_MESSAGES;
		u->r = NULL;
		update_events(u);
		request_finished(r, 101);
		websocket_upgrade(r->http, u->options.messages, on_upgrade, up_ref(u));
		return;
	}
	u->content_type = xstrdup(content_type);
	if (u->redirects) {
		u->r = NULL;
		request_respond_text(r, 502, "the backend attempted to redirect this request, which is not permitted");
		over(u);
		return;
	}
	bool empty = u->status == 204 || u->status == 304 || strcmp(u->method, "HEAD") == 0 || (u->framing == LENGTH && u->left == 0);
	if (empty) {
		answer_collected(u);
		return;
	}
	/* What may go on for long is told as it comes. */
	if (!u->options.deadline_ns || (u->framing == LENGTH && u->left > COLLECT_MAX))
		start_stream(u);
	else
		u->state = COLLECT;
}

/* Returns false where more bytes are needed or the answer is broken (then it is over). */
static bool parse_head(struct upstream *u) {
	char *end = u->in.len ? memmem(u->in.data, u->in.len, "\r\n\r\n", 4) : NULL;
	if (!end) {
		if (u->in.len > MAX_HEAD)
			fail(u, "malformed HTTP response");
		return false;
	}
	if (u->in.len < 12 || strncmp(u->in.data, "HTTP/1.", 7) != 0) {
		fail(u, "malformed HTTP response");
		return false;
	}
	u->status = (int)strtol(u->in.data + 9, NULL, 10);
	size_t head = (size_t)(end - u->in.data) + 4;
	if (u->status == 100) {
		buf_consume(&u->in, head);
		return parse_head(u);
	}
	autofree char *content_type = NULL;
	u->framing = UNTIL_CLOSE;
	const char *p = memchr(u->in.data, '\n', head);
	while (p && ++p < u->in.data + head - 2) {
		const char *eol = memchr(p, '\r', (size_t)(u->in.data + head - p));
		if (!eol || eol == p)
			break;
		take_header(u, p, (size_t)(eol - p), &content_type);
		p = memchr(eol, '\n', (size_t)(u->in.data + head - eol));
	}
	buf_consume(&u->in, head);
	answer_head(u, content_type ? content_type : "text/plain");
	return u->state != OVER;
}

/* ---- the body ---- */

const char *const upstream_message_protocols[] = {"binary.k8s.io", "base64.binary.k8s.io", "", NULL};

static void deliver_message(struct upstream *u, const char *data, size_t len) {
	autobuf struct buf text = BUF_INIT(STREAM_MAX);
	if (str_starts_with(u->options.messages, "base64.")) {
		buf_append_base64(&text, data, len);
		websocket_send(u->messages, WEBSOCKET_TEXT, NULL, 0, text.data, text.len);
	} else {
		websocket_send(u->messages, WEBSOCKET_BINARY, NULL, 0, data, len);
	}
	u->paused = websocket_queued(u->messages) > STREAM_HIGH;
}

static void deliver(struct upstream *u, const char *data, size_t len) {
	if (!len)
		return;
	if (u->messages) {
		deliver_message(u, data, len);
		return;
	}
	autobytes struct bytes *bytes = bytes_new(data, len);
	http_stream_send(u->stream, bytes);
	if (http_stream_queued(u->stream) > STREAM_HIGH)
		u->paused = true;
}

/* Until it is more than is told whole. */
static void collect_body(struct upstream *u, const char *data, size_t len) {
	if (u->state == COLLECT && u->to_client.len + len <= COLLECT_MAX) {
		buf_append(&u->to_client, data, len);
		return;
	}
	if (u->state == COLLECT) {
		start_stream(u);
		deliver(u, u->to_client.data, u->to_client.len);
		buf_done(&u->to_client);
		u->to_client = BUF_INIT(1u << 20);
	}
	deliver(u, data, len);
}

/* RFC 9112, 7.1: hexadecimal digits, and extensions that nobody needs. */
static bool chunk_size(const char *text, const char *end, int64_t *ret) {
	const char *p = text;
	int64_t size = 0;
	for (; p < end && isxdigit((unsigned char)*p); p++) {
		if (size > INT64_MAX >> 4)
			return false;
		size = size << 4 | (isdigit((unsigned char)*p) ? *p - '0' : tolower((unsigned char)*p) - 'a' + 10);
	}
	*ret = size;
	return p > text && (p == end || *p == ';' || *p == ' ' || *p == '\t');
}

/* Hands on what the framing says is body. Returns true at its end, and where it is framed wrongly. */
static bool consume_body(struct upstream *u, void (*sink)(struct upstream *, const char *, size_t)) {
	while (u->in.len) {
		if (u->framing == UNTIL_CLOSE) {
			sink(u, u->in.data, u->in.len);
			buf_reset(&u->in);
			return false;
		}
		if (u->framing == CHUNKED && u->left == -1) {
			char *eol = memmem(u->in.data, u->in.len, "\r\n", 2);
			if (!eol)
				return u->broken = u->in.len > MAX_CHUNK_LINE;
			if (eol == u->in.data) { /* what ends the chunk before */
				buf_consume(&u->in, 2);
				continue;
			}
			if (!chunk_size(u->in.data, eol, &u->left))
				return u->broken = true;
			buf_consume(&u->in, (size_t)(eol - u->in.data) + 2);
			if (!u->left)
				return true;
			continue;
		}
		size_t len = min_of((uint64_t)u->left, (uint64_t)u->in.len);
		sink(u, u->in.data, len);
		buf_consume(&u->in, len);
		u->left -= (int64_t)len;
		if (u->left == 0) {
			if (u->framing == LENGTH)
				return true;
			u->left = -1;
		}
	}
	return u->framing == LENGTH && u->left == 0;
}

static void collect_text(struct upstream *u, const char *data, size_t len) {
	size_t room = MAX_ERROR_TEXT - min_of(u->to_client.len, (size_t)MAX_ERROR_TEXT);
	buf_append(&u->to_client, data, min_of(len, room));
}

static void answer_error(struct upstream *u) {
	struct request *r = take_ptr(u->r);
	if (r) {
		autoerror struct error err = {0};
		const char *reason = u->status == 400 ? "BadRequest" : u->status == 401 ? "Unauthorized" : u->status == 403 ? "Forbidden" : u->status == 404 ? "NotFound" : u->status == 500 ? "InternalError" : "Unknown";
		const char *text = u->to_client.len ? u->to_client.data : "the server answered with an error";
		error_status(&err, u->status, reason, "%s", text);
		request_fail(r, &err);
	}
	over(u);
}

/* The body has ended, or has broken off: then the client's connection does. A WebSocket is closed as its protocol asks, once the client has taken what is queued. */
static void body_over(struct upstream *u) {
	if (!u->messages || !u->whole) {
		over(u);
		return;
	}
	u->state = LAST_MESSAGES;
	websocket_close(u->messages, WEBSOCKET_CLOSE_NORMAL, "");
	on_message_client(EPOLLOUT, u);
}

/* The client of a WebSocket: takes what is queued; what it says is not for anybody. */
static void on_message_client(uint32_t events, void *arg) {
	struct upstream *u = up_ref(arg);
	struct websocket_message message;
	int r = 0;
	while (u->state != OVER && (r = websocket_receive(u->messages, &message)) > 0)
		;
	if (u->state != OVER && ((r < 0 && r != -EAGAIN) || websocket_flush(u->messages) == -EPIPE))
		over(u);
	if (u->state == LAST_MESSAGES && !websocket_wants_write(u->messages))
		over(u);
	if (u->state == BODY && u->paused && websocket_queued(u->messages) <= STREAM_HIGH) {
		u->paused = false;
		on_server(EPOLLIN, u);
	}
	update_events(u);
	up_unref(u);
}

static void process_in(struct upstream *u) {
	if (u->state == HEAD && !parse_head(u))
		return;
	if (u->state == COLLECT && consume_body(u, collect_body)) {
		u->whole = !u->broken;
		if (u->state != COLLECT)
			body_over(u);
		else if (u->whole)
			answer_collected(u);
		else
			fail(u, "malformed chunked encoding");
	} else if (u->state == BODY && consume_body(u, deliver)) {
		u->whole = !u->broken;
		body_over(u);
	} else if (u->state == ERROR_TEXT && consume_body(u, collect_text)) {
		answer_error(u);
	}
}

/* ---- splicing ---- */

static bool flush_client(struct upstream *u) {
	while (u->to_client.len) {
		ssize_t n = send(u->client, u->to_client.data, u->to_client.len, MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		buf_consume(&u->to_client, (size_t)n);
	}
	return true;
}

static void serve_client(struct upstream *u) {
	char data[CHUNK];
	if (!flush_client(u)) {
		over(u);
		return;
	}
	while (!u->client_closed && u->out.len < SPLICE_MAX) {
		ssize_t n = recv(u->client, data, sizeof(data), 0);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n <= 0) {
			u->client_closed = true;
			break;
		}
		buf_append(&u->out, data, (size_t)n);
		if (!flush_out(u)) {
			over(u);
			return;
		}
	}
	if ((u->client_closed && !u->out.len) || (u->closed_by_server && !u->to_client.len)) {
		over(u);
		return;
	}
	update_events(u);
}

static void on_client(uint32_t events, void *arg) {
	struct upstream *u = up_ref(arg);
	serve_client(u);
	up_unref(u);
}

/* ---- the server's side ---- */

/* Whether what the server says now is for a client connection that is not there yet, or for nobody. */
static bool is_waiting(const struct upstream *u) {
	return u->state == WAIT_UPGRADE || u->state == WAIT_MESSAGES || u->state == LAST_MESSAGES;
}

static void read_server(struct upstream *u) {
	char data[CHUNK];
	while (u->state != OVER && !is_waiting(u) && !u->paused) {
		if (u->state == SPLICE && u->to_client.len >= SPLICE_MAX)
			break;
		ssize_t n = server_recv(u, data, sizeof(data));
		if (n == -EAGAIN || n == -EINTR)
			break;
		if (n <= 0) {
			u->closed_by_server = true;
			break;
		}
		buf_append(u->state == SPLICE ? &u->to_client : &u->in, data, (size_t)n);
		if (u->state == SPLICE) {
			if (!flush_client(u)) {
				over(u);
				return;
			}
		} else {
			process_in(u);
		}
	}
	if (u->state == OVER || !u->closed_by_server)
		return;
	if (u->state == HEAD || u->state == SENDING)
		fail(u, "EOF");
	else if (u->state == COLLECT && u->framing != UNTIL_CLOSE)
		fail(u, "unexpected EOF");
	else if (u->state == COLLECT)
		answer_collected(u);
	else if (u->state == ERROR_TEXT)
		answer_error(u);
	else if (u->state == BODY) {
		u->whole = u->framing == UNTIL_CLOSE;
		body_over(u);
	} else if (u->state == SPLICE && !u->to_client.len)
		over(u);
}

static void update_events(struct upstream *u) {
	if (u->state == OVER || !u->watch)
		return;
	uint32_t events = 0;
	if (u->state == CONNECTING || u->out.len)
		events |= EPOLLOUT;
	if (u->state == HANDSHAKE)
		events |= gnutls_record_get_direction(u->tls) ? EPOLLOUT : EPOLLIN;
	else if (u->state != CONNECTING && !u->paused && !is_waiting(u) && !u->closed_by_server && u->to_client.len < SPLICE_MAX)
		events |= EPOLLIN;
	loop_fd_set_events(u->watch, events);
	if (u->messages)
		loop_fd_set_events(u->client_watch, EPOLLIN | (websocket_wants_write(u->messages) ? EPOLLOUT : 0));
	else if (u->client_watch)
		loop_fd_set_events(u->client_watch, (u->to_client.len ? EPOLLOUT : 0) | (u->out.len < SPLICE_MAX && !u->client_closed ? EPOLLIN : 0));
}

/* Returns false while it goes on (or is over). */
static bool handshake(struct upstream *u) {
	int rc = gnutls_handshake(u->tls);
	if (rc == GNUTLS_E_SUCCESS)
		return true;
	if (rc == GNUTLS_E_AGAIN || rc == GNUTLS_E_INTERRUPTED) {
		update_events(u);
		return false;
	}
	if (gnutls_error_is_fatal(rc))
		fail(u, "%s", tls_trouble(u->tls, rc));
	return false;
}

static void start_tls(struct upstream *u) {
	gnutls_init(&u->tls, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);
	gnutls_set_default_priority(u->tls);
	gnutls_credentials_set(u->tls, GNUTLS_CRD_CERTIFICATE, u->options.credentials);
	if (u->server_name)
		gnutls_server_name_set(u->tls, GNUTLS_NAME_DNS, u->server_name, strlen(u->server_name));
	if (u->options.verify)
		gnutls_session_set_verify_cert(u->tls, u->server_name ? u->server_name : u->address, 0);
	gnutls_transport_set_int(u->tls, u->fd);
	u->state = HANDSHAKE;
}

/* Once it is connected. */
static void set_deadline(struct upstream *u) {
	if (u->options.deadline_ns)
		loop_timer_arm(u->timer, max_of(u->options.deadline_ns - clock_monotonic_ns(), (int64_t)1));
	else
		loop_timer_disarm(u->timer);
}

static void serve_server(struct upstream *u) {
	if (u->state == CONNECTING) {
		int errnum = 0;
		socklen_t len = sizeof(errnum);
		getsockopt(u->fd, SOL_SOCKET, SO_ERROR, &errnum, &len);
		if (errnum) {
			autofree char *text = xprintf("connect: %s", strerror(errnum));
			text[9] = (char)tolower((unsigned char)text[9]);
			unreachable(u, text);
			return;
		}
		if (u->options.credentials)
			start_tls(u);
		else
			u->state = SENDING;
	}
	if (u->state == HANDSHAKE) {
		if (!handshake(u))
			return;
		u->state = SENDING;
	}
	if (u->state == SENDING && !u->out.len) {
		set_deadline(u);
		write_request(u);
		u->state = HEAD;
	}
	if (u->state == OVER)
		return;
	if (!flush_out(u)) {
		if (u->state == HEAD)
			fail(u, "write: broken pipe");
		else
			over(u);
		return;
	}
	read_server(u);
	if (u->state != OVER)
		update_events(u);
}

/* Held while it runs: its end may come inside. */
static void on_server(uint32_t events, void *arg) {
	struct upstream *u = up_ref(arg);
	serve_server(u);
	up_unref(u);
}

/* The time that the request itself has is over. */
static void out_of_time(struct upstream *u) {
	struct request *r = take_ptr(u->r);
	autoerror struct error err = {0};
	error_status(&err, 504, "Timeout", "Timeout: request did not complete within the allotted timeout");
	err.empty_details = true;
	request_fail(r, &err);
	over(u);
}

static void on_timeout(void *arg) {
	struct upstream *u = arg;
	if (u->state == CONNECTING || u->state == HANDSHAKE)
		unreachable(u, "i/o timeout");
	else if (u->r && u->r->deadline_ns && u->r->deadline_ns == u->options.deadline_ns)
		out_of_time(u);
	else
		fail(u, "context deadline exceeded");
}

static void begin(void *arg) {
	struct upstream *u = arg;
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(u->options.port)};
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(u->options.port)};
	bool is_six = inet_pton(AF_INET6, u->address, &six.sin6_addr) == 1;
	u->timer = loop_timer_new(u->loop, on_timeout, u);
	if (!is_six && inet_pton(AF_INET, u->address, &four.sin_addr) != 1) {
		unreachable(u, "no such host");
		return;
	}
	u->fd = socket(is_six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (u->fd < 0) {
		unreachable(u, strerror(errno));
		return;
	}
	/* Keystrokes and frames are passed on as they come: none waits for the last one's acknowledgement. */
	setsockopt(u->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	int rc = is_six ? connect(u->fd, (struct sockaddr *)&six, sizeof(six)) : connect(u->fd, (struct sockaddr *)&four, sizeof(four));
	if (rc < 0 && errno != EINPROGRESS) {
		unreachable(u, strerror(errno));
		return;
	}
	loop_timer_arm(u->timer, CONNECT_NS);
	u->watch = loop_add_fd(u->loop, u->fd, EPOLLOUT, on_server, u);
}

void upstream_start(struct loop *loop, struct request *r, const struct upstream_options *options) {
	struct upstream *u = xnew(struct upstream);
	u->refs = 1;
	u->loop = loop;
	u->r = r;
	u->options = *options;
	u->address = xstrdup(options->address);
	u->method = xstrdup(options->method);
	u->target = xstrdup(options->target);
	u->location_prefix = options->location_prefix ? xstrdup(options->location_prefix) : NULL;
	u->reached = xstrdup(str_or(options->reached, ""));
	u->server_name = options->server_name ? xstrdup(options->server_name) : NULL;
	u->headers = options->headers ? xstrdup(options->headers) : NULL;
	u->fd = u->client = -1;
	u->out = BUF_INIT(16u << 20);
	u->in = BUF_INIT(1u << 20);
	u->to_client = BUF_INIT(1u << 20);
	loop_post(loop, begin, u);
}
