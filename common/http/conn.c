/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pump between a client and libmicrohttpd's end of a socketpair, both ways, with half closes. All descriptors are edge
 * triggered; conn_run() goes on until nothing moves, a bounded number of rounds at a time.
 *
 * The life of a connection: handshake, then pumping. Then either the client ends (told on by shutting the pair), or the server
 * side ends: what it wrote is sent, the end is sent, and the client is read out for a while (linger), so that no reset destroys
 * the answer on its way. Or a stream takes the connection over from libmicrohttpd.
 */
#include "common/http/direct.h"
#include "common/http/inject.h"

#include "common/base/clock.h"
#include "common/base/metrics.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROUNDS = 8, PAIR_FULL = 8 * 1024 };

struct http_conn *conn_ref(struct http_conn *conn)
{
	atomic_fetch_add(&conn->refs, 1);
	return conn;
}

void conn_unref(struct http_conn *conn)
{
	if (!conn || atomic_fetch_sub(&conn->refs, 1) != 1)
		return;
	if (conn->certificate) {
		const struct http_peer_cert *cert = conn->certificate;
		for (const char *const *o = cert->organizations; o && *o; o++)
			free((char *)*o);
		free((void *)cert->organizations);
		free((char *)cert->common_name);
		free((uint8_t *)cert->der);
		free(conn->certificate);
	}
	free(conn);
}

void conn_set_deadline(struct http_conn *conn, enum conn_deadline kind, int seconds)
{
	conn->deadline_kind = kind;
	if (kind == DEADLINE_NONE)
		return;
	conn->deadline = clock_monotonic_ns() + seconds * NSEC_PER_SEC;
	if (conn->deadline < conn->thread->sweep_at)
		conn->thread->sweep_at = conn->deadline;
}

void conn_close(struct http_conn *conn)
{
	if (conn->dead)
		return;
	conn->dead = true;
	struct io_thread *thread = conn->thread;
	/* The descriptors go first: closing the pair is what libmicrohttpd's side learns it by. */
	if (conn->tls) {
		gnutls_deinit(conn->tls);
		conn->tls = NULL;
		tls_creds_unref(conn->creds);
	}
	thread_unwatch(thread, conn->sock);
	conn->sock = -1;
	if (conn->pair >= 0) {
		thread_unwatch(thread, conn->pair);
		conn->pair = -1;
		thread->mhd_pending = true;
	}
	pending_clear(&conn->in);
	pending_clear(&conn->out);
	pending_clear(&conn->ahead);
	pending_clear(&conn->rest);
	direct_close(conn);
	while (inject_first(conn))
		inject_free(inject_first(conn));
	struct http_stream *stream = take_ptr(conn->stream);
	if (stream)
		stream_closed(stream);
	if (conn->active)
		list_remove(&conn->active_link);
	conn->active = false;
	list_remove(&conn->expecting_link);
	list_remove(&conn->link);
	list_push_back(&thread->freed, &conn->link);
	atomic_fetch_sub(&thread->server->connections, 1);
}

static void on_sock(struct source *source, uint32_t events)
{
	struct http_conn *conn = container_of(source, struct http_conn, sock_source);
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
		conn->readable = true;
		conn->drained = false;
	}
	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		conn->sock_ending = true;
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) {
		conn->writable = true;
		/* Reading may have stopped because GnuTLS had something of its own to say first. */
		conn->readable |= conn->tls != NULL;
	}
	thread_activate(conn->thread, conn);
}

static void on_pair(struct source *source, uint32_t events)
{
	struct http_conn *conn = container_of(source, struct http_conn, pair_source);
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		conn->pair_readable = true;
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		conn->pair_writable = true;
	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		conn->pair_ending = true;
	if (events & EPOLLHUP)
		conn->pair_gone = true;
	thread_activate(conn->thread, conn);
}

int conn_open_pair(struct http_conn *conn)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	struct io_thread *thread = conn->thread;
	/* libmicrohttpd would try TCP options on any other family, and log each failure. */
	struct sockaddr_un {
		sa_family_t family;
		char path[2];
	} address = {.family = AF_UNIX};
	conn->pair = pair[0];
	conn->pair_writable = true;
	if (thread_watch(thread, conn->pair, EPOLLIN | EPOLLRDHUP | EPOLLET, &conn->pair_source) < 0) {
		close(pair[1]);
		return -ENOMEM;
	}
	thread->adding = conn;
	enum MHD_Result added = MHD_add_connection(thread->mhd, pair[1], (struct sockaddr *)&address, sizeof(address));
	thread->adding = NULL;
	thread->mhd_pending = true;
	return added == MHD_YES ? 0 : -ENOMEM; /* the descriptor is closed by then */
}

static void start_on_thread(struct io_thread *thread, struct post *post)
{
	struct http_conn *conn = container_of(post, struct http_conn, post);
	list_push_back(&thread->conns, &conn->link);
	struct http_server *server = thread->server;
	if (thread->stopping || (server->tls && tls_session_start(server->tls, conn) < 0) ||
		thread_watch(thread, conn->sock, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, &conn->sock_source) < 0) {
		conn_close(conn);
		return;
	}
	conn->handshaking = server->tls != NULL;
	if (conn->handshaking)
		conn_set_deadline(conn, DEADLINE_HANDSHAKE, HTTP_HANDSHAKE_SECONDS);
	else
		conn_set_deadline(conn, DEADLINE_IDLE, HTTP_IDLE_SECONDS);
	conn->readable = conn->writable = true;
	thread_activate(thread, conn);
}

void conn_start(struct io_thread *thread, int sock, const struct sockaddr_storage *peer)
{
	struct http_conn *conn = xnew(struct http_conn);
	conn->refs = 1;
	conn->thread = thread;
	conn->sock = sock;
	conn->pair = -1;
	conn->direct = true;
	conn->held = BUF_INIT(DIRECT_MAX);
	conn->peer = *peer;
	conn->sock_source.fn = on_sock;
	conn->pair_source.fn = on_pair;
	list_init(&conn->link);
	list_init(&conn->active_link);
	list_init(&conn->expecting_link);
	list_init(&conn->injects);
	/* A peer that vanished without a word is noticed within about a minute and a half, as client-go's and Go's servers do. */
	int on = 1, idle = 30, interval = 15, count = 4, timeout_ms = 90000;
	setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(sock, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(sock, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(sock, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(sock, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	setsockopt(sock, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms));
	conn->post.fn = start_on_thread;
	thread_post(thread, &conn->post);
}

static struct metric metrics[] = {
	{.name = "apiserver_tls_handshake_errors_total", .help = "Number of requests dropped with a TLS handshake error", .kind = METRIC_COUNTER},
};

__attribute__((constructor)) static void register_metrics(void)
{
	metrics_register(metrics, array_len(metrics));
}

/* True once it is over and well. */
static bool handshake(struct http_conn *conn)
{
	int rc;
	do
		rc = gnutls_handshake(conn->tls);
	while (rc < 0 && rc != GNUTLS_E_AGAIN && !gnutls_error_is_fatal(rc));
	if (rc == GNUTLS_E_AGAIN) {
		if (gnutls_record_get_direction(conn->tls))
			conn->writable = false;
		else
			conn->readable = false;
		return false;
	}
	if (rc < 0) {
		int level, alert = gnutls_error_to_alert(rc, &level);
		if (alert >= 0)
			gnutls_alert_send(conn->tls, level, alert);
		metric_add(metric_label(&metrics[0]), 1);
		conn_close(conn);
		return false;
	}
	conn->handshaking = false;
	tls_read_certificate(conn);
	conn_set_deadline(conn, DEADLINE_IDLE, HTTP_IDLE_SECONDS);
	return true;
}

static void want_pair_write(struct http_conn *conn, bool want)
{
	if (conn->want_pair_write == want)
		return;
	conn->want_pair_write = want;
	struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET | (want ? EPOLLOUT : 0), .data.ptr = &conn->pair_source};
	epoll_ctl(conn->thread->epoll_fd, EPOLL_CTL_MOD, conn->pair, &event);
}

/* Puts bytes before the server side; returns how many were taken, all of them once nobody reads there. */
static size_t pair_send(struct http_conn *conn, const uint8_t *data, size_t len)
{
	if (conn->pair_gone || conn->pair < 0) {
		conn->lingered += len;
		return len;
	}
	size_t sent = 0;
	while (sent < len) {
		ssize_t n = send(conn->pair, data + sent, len - sent, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			conn->pair_writable = false;
			want_pair_write(conn, true);
			return sent;
		}
		if (n < 0) {
			conn->pair_gone = true;
			return len;
		}
		sent += (size_t)n;
		if (!conn->upgraded) {
			conn->thread->mhd_pending = true;
			if (list_empty(&conn->expecting_link))
				list_push_back(&conn->thread->expecting, &conn->expecting_link);
		}
	}
	return sent;
}

ssize_t conn_receive(struct http_conn *conn)
{
	if (!conn->readable)
		return -EAGAIN;
	ssize_t n = transport_recv(conn, conn->thread->buffer, HTTP_IO_BUFFER);
	if (n == -EAGAIN)
		conn->readable = false;
	else if (n < 0)
		conn_close(conn);
	else if (n == 0)
		conn->client_eof = true;
	return n;
}

/* One step from the client to the server side. Returns true where something moved. */
static bool pump_in(struct http_conn *conn)
{
	if (conn->direct && !conn->pair_gone)
		return direct_pump(conn);
	if (!pending_empty(&conn->in)) {
		if (!conn->pair_writable)
			return false;
		conn->in.pos += pair_send(conn, conn->in.data + conn->in.pos, conn->in.len - conn->in.pos);
		if (!pending_empty(&conn->in))
			return false;
		pending_clear(&conn->in);
		want_pair_write(conn, false);
	}
	if (conn->client_eof) {
		/* Told together with the last bytes, libmicrohttpd takes those and misses the end. It is told once it has run: run_expecting() comes back here. */
		if (!list_empty(&conn->expecting_link))
			return false;
		if (!conn->pair_shut && conn->pair >= 0) {
			conn->pair_shut = true;
			shutdown(conn->pair, SHUT_WR);
			conn->thread->mhd_pending = true;
			return true;
		}
		return false;
	}
	uint8_t *buffer = conn->thread->buffer;
	ssize_t n = conn_receive(conn);
	if (n <= 0)
		return n == 0;
	if (conn->deadline_kind == DEADLINE_IDLE)
		conn_set_deadline(conn, DEADLINE_HEADER, HTTP_HEADER_SECONDS);
	size_t taken = pair_send(conn, buffer, (size_t)n);
	if (taken < (size_t)n)
		pending_keep(&conn->in, buffer + taken, (size_t)n - taken);
	return true;
}

static bool flush_out(struct http_conn *conn)
{
	while (!pending_empty(&conn->out)) {
		ssize_t n = transport_send(conn, conn->out.data + conn->out.pos, conn->out.len - conn->out.pos);
		if (n == -EAGAIN) {
			conn->writable = false;
			return false;
		}
		if (n < 0) {
			conn_close(conn);
			return false;
		}
		conn->out.pos += (size_t)n;
	}
	pending_clear(&conn->out);
	if (conn->deadline_kind == DEADLINE_STALL)
		conn_set_deadline(conn, DEADLINE_IDLE, HTTP_IDLE_SECONDS);
	return true;
}

void conn_written(struct http_conn *conn)
{
	if (!conn->upgraded && pending_empty(&conn->out))
		conn_set_deadline(conn, DEADLINE_IDLE, HTTP_IDLE_SECONDS);
	else if (!conn->upgraded)
		conn_set_deadline(conn, DEADLINE_STALL, HTTP_STALL_SECONDS);
}

/* Bytes went to the client, or (not ok) the connection is lost. Returns ok. */
static bool after_write(struct http_conn *conn, bool ok)
{
	if (ok)
		conn_written(conn);
	else
		conn_close(conn);
	return ok;
}

/* One step from the server side to the client. Returns true where something moved. */
static bool pump_out(struct http_conn *conn)
{
	/* That it is out is a step too: what waits for it, the next request or the end, is looked at after it. */
	if (!pending_empty(&conn->out))
		return conn->writable && flush_out(conn);
	if (conn->streaming) {
		if (conn->stream && !conn->write_shut && !stream_pump(conn->stream, conn))
			conn_close(conn);
		return false;
	}
	struct inject *inject = inject_first(conn);
	if (inject && inject->started)
		return after_write(conn, inject_pump(conn));
	if (!pending_empty(&conn->rest)) {
		struct pending rest = conn->rest;
		conn->rest = (struct pending){0};
		bool ok = inject_deliver(conn, rest.data + rest.pos, rest.len - rest.pos);
		pending_clear(&rest);
		return after_write(conn, ok);
	}
	if (!conn->pair_readable || conn->pair_eof || conn->direct)
		return false;
	uint8_t *buffer = conn->thread->buffer;
	ssize_t n = recv(conn->pair, buffer, HTTP_IO_BUFFER, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		conn->pair_readable = errno == EINTR;
		/* The stream took over once the head of its answer was written: that was the last of it. */
		conn->pair_eof = errno == EAGAIN && conn->stream;
		return conn->pair_eof;
	}
	if (n <= 0) {
		/* ECONNRESET: it closed without reading all; what it wrote was read before this. */
		if (n < 0)
			conn->pair_gone = true;
		conn->pair_eof = true;
		return true;
	}
	/*
	 * libmicrohttpd may be waiting for room. It does only where the pair is full, and then it holds more than this: each send takes up
	 * its bytes and a fixed cost of the kernel's 208 KB.
	 */
	if (n >= PAIR_FULL && !conn->upgraded)
		conn->thread->mhd_pending = true;
	/* Less than asked for: empty until the next event. */
	if (n < HTTP_IO_BUFFER && !conn->stream && !conn->pair_ending)
		conn->pair_readable = false;
	return after_write(conn, inject_deliver(conn, buffer, (size_t)n));
}

/*
 * libmicrohttpd has written the head of the answer; from here on the client is fed by the stream. Closing the pair is what makes
 * 0.9.75 let go: a connection it closes itself because the body failed stays until some other event.
 */
static void become_stream(struct http_conn *conn)
{
	close(take_fd(conn->pair));
	conn->thread->mhd_pending = true;
	pending_clear(&conn->in);
	conn->streaming = true;
	conn->pair_gone = true;
	conn_set_deadline(conn, DEADLINE_NONE, 0);
	if (!stream_pump(conn->stream, conn))
		conn_close(conn);
}

/* What follows from the ends reached; true where there is more to pump. */
static bool settle(struct http_conn *conn)
{
	if (conn->streaming && conn->client_eof) {
		conn_close(conn);
		return false;
	}
	if (!pending_empty(&conn->out))
		return false;
	if (conn->pair_eof && conn->stream && !conn->streaming) {
		become_stream(conn);
		return !conn->dead;
	}
	if (conn->pair_eof && !conn->streaming && !conn->write_shut) {
		conn->write_shut = true;
		transport_shutdown_write(conn);
	}
	/* A server side that only shut its direction goes on reading (an upgraded connection); one that is gone does not. */
	if (conn->write_shut && conn->pair_gone && conn->deadline_kind != DEADLINE_LINGER)
		conn_set_deadline(conn, DEADLINE_LINGER, HTTP_LINGER_SECONDS);
	if (conn->write_shut && (conn->client_eof || conn->lingered > HTTP_LINGER_BYTES))
		conn_close(conn);
	return false;
}

void conn_run(struct http_conn *conn)
{
	if (conn->aborted)
		conn_close(conn);
	if (conn->dead || (conn->handshaking && !handshake(conn)))
		return;
	bool moved = true;
	for (int i = 0; moved && i < ROUNDS && !conn->dead; i++) {
		moved = pump_in(conn);
		if (!conn->dead)
			moved = pump_out(conn) || moved;
		if (!conn->dead)
			moved = settle(conn) || moved;
	}
	if (moved && !conn->dead)
		thread_activate(conn->thread, conn);
}

void conn_check_deadline(struct http_conn *conn, int64_t now)
{
	if (conn->deadline_kind == DEADLINE_NONE || now < conn->deadline)
		return;
	if (conn->upgraded && conn->deadline_kind != DEADLINE_LINGER) {
		conn_set_deadline(conn, DEADLINE_NONE, 0);
		return;
	}
	bool waiting = conn->deadline_kind == DEADLINE_HEADER || conn->deadline_kind == DEADLINE_BODY || conn->deadline_kind == DEADLINE_IDLE;
	if (waiting && conn->request == REQUEST_HANDLED) {
		/* The handler may take as long as it likes. */
		conn_set_deadline(conn, DEADLINE_IDLE, HTTP_IDLE_SECONDS);
		return;
	}
	if (waiting && conn->request == REQUEST_BODY) {
		bool enough = conn->deadline_kind != DEADLINE_BODY || conn->body_seen - conn->body_checked >= HTTP_BODY_MIN_BYTES;
		conn->body_checked = conn->body_seen;
		if (enough) {
			conn_set_deadline(conn, DEADLINE_BODY, HTTP_BODY_SECONDS);
			return;
		}
	}
	conn_close(conn);
}
