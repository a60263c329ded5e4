/* SPDX-License-Identifier: Apache-2.0 */
/* The server as a whole: its listener, its threads, its budget, its start and end. */
#include "common/http/internal.h"

#include "common/base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
	DEFAULT_HEADER_BYTES = 32 * 1024,
	MIN_HEADER_BYTES = 4 * 1024,
	MAX_HEADER_BYTES = 1 << 20,
	DEFAULT_CONNECTIONS = 20000,
	BACKLOG = 4096,
	ACCEPTS_A_ROUND = 64,
};
#define DEFAULT_MEMORY ((size_t)256 << 20)

bool server_account(struct http_server *server, size_t len)
{
	if (atomic_fetch_add(&server->memory, len) + len <= server->options.memory_limit)
		return true;
	atomic_fetch_sub(&server->memory, len);
	return false;
}

void server_unaccount(struct http_server *server, size_t len)
{
	atomic_fetch_sub(&server->memory, len);
}

void server_request_begin(struct http_server *server)
{
	pthread_mutex_lock(&server->lock);
	server->open_requests++;
	pthread_mutex_unlock(&server->lock);
}

void server_request_end(struct http_server *server)
{
	pthread_mutex_lock(&server->lock);
	if (!--server->open_requests)
		pthread_cond_broadcast(&server->idle);
	pthread_mutex_unlock(&server->lock);
}

void server_warn(struct http_server *server, const char *message)
{
	if (server->options.on_warning)
		server->options.on_warning(message, server->options.arg);
}

void server_unref(struct http_server *server)
{
	if (!server || atomic_fetch_sub(&server->refs, 1) != 1)
		return;
	for (unsigned i = 0; i < server->thread_count; i++)
		thread_free(&server->threads[i]);
	free(server->threads);
	tls_free(server->tls);
	if (server->listen_fd >= 0)
		close(server->listen_fd);
	if (server->spare_fd >= 0)
		close(server->spare_fd);
	if (server->options.free_arg)
		server->options.free_arg(server->options.arg);
	pthread_cond_destroy(&server->idle);
	pthread_mutex_destroy(&server->lock);
	free(server);
}

static void take_connection(struct http_server *server, int fd, const struct sockaddr_storage *peer)
{
	if (atomic_fetch_add(&server->connections, 1) >= server->options.max_connections) {
		atomic_fetch_sub(&server->connections, 1);
		close(fd);
		return;
	}
	conn_start(&server->threads[server->next_thread++ % server->thread_count], fd, peer);
}

/* Out of descriptors: accept with the spare one and close, or the listener would wake us for ever. */
static void refuse_one(struct http_server *server)
{
	if (server->spare_fd >= 0)
		close(server->spare_fd);
	int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		close(fd);
	server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void on_listener(struct source *source, uint32_t events)
{
	struct http_server *server = container_of(source, struct io_thread, listener)->server;
	for (int i = 0; i < ACCEPTS_A_ROUND && server->listen_fd >= 0; i++) {
		struct sockaddr_storage peer = {0};
		socklen_t len = sizeof(peer);
		int fd = accept4(server->listen_fd, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0) {
			take_connection(server, fd, &peer);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE)
			refuse_one(server);
		if (errno != EINTR && errno != ECONNABORTED)
			return;
	}
}

static int bind_address(const struct http_server_options *options, const char *text, uint16_t port, int *ret_fd, struct error *err)
{
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_ANY_INIT};
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
	bool v4 = text && inet_pton(AF_INET, text, &in.sin_addr) == 1;
	if (text && !v4 && inet_pton(AF_INET6, text, &in6.sin6_addr) != 1)
		return error_set(err, EINVAL, "not an IP address: %s", text);
	autoclose int fd = socket(v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_set_errno(err, errno, "socket");
	int on = 1, off = 0;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (!v4)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	struct sockaddr *address = v4 ? (struct sockaddr *)&in : (struct sockaddr *)&in6;
	if (bind(fd, address, v4 ? sizeof(in) : sizeof(in6)) < 0 || listen(fd, BACKLOG) < 0)
		return error_set_errno(err, errno, "listen on %s port %u", text ? text : "all addresses", port);
	*ret_fd = take_fd(fd);
	return 0;
}

static int open_listener(struct http_server *server, struct error *err)
{
	struct http_server_options *options = &server->options;
	int rc = 0;
	if (options->listen_fd >= 0) {
		server->listen_fd = options->listen_fd;
		fcntl(server->listen_fd, F_SETFL, fcntl(server->listen_fd, F_GETFL) | O_NONBLOCK);
	} else if (options->bind_address) {
		rc = bind_address(options, options->bind_address, options->port, &server->listen_fd, err);
	} else if (bind_address(options, NULL, options->port, &server->listen_fd, NULL) < 0) {
		/* A machine without IPv6. */
		rc = bind_address(options, "0.0.0.0", options->port, &server->listen_fd, err);
	}
	if (rc < 0)
		return rc;
	struct sockaddr_storage bound = {0};
	socklen_t len = sizeof(bound);
	getsockname(server->listen_fd, (struct sockaddr *)&bound, &len);
	server->port = ntohs(bound.ss_family == AF_INET ? ((struct sockaddr_in *)&bound)->sin_port : ((struct sockaddr_in6 *)&bound)->sin6_port);
	return 0;
}

static void fill_defaults(struct http_server_options *options)
{
	if (!options->threads)
		options->threads = (unsigned)max_of(sysconf(_SC_NPROCESSORS_ONLN), 1L);
	options->threads = min_of(options->threads, (unsigned)HTTP_MAX_THREADS);
	if (!options->max_header_bytes)
		options->max_header_bytes = DEFAULT_HEADER_BYTES;
	options->max_header_bytes = min_of(options->max_header_bytes, (size_t)MAX_HEADER_BYTES);
	options->max_header_bytes = max_of(options->max_header_bytes, (size_t)MIN_HEADER_BYTES);
	if (!options->max_connections)
		options->max_connections = DEFAULT_CONNECTIONS;
	if (!options->memory_limit)
		options->memory_limit = DEFAULT_MEMORY;
}

static struct http_server *server_new(const struct http_server_options *options)
{
	struct http_server *server = xnew(struct http_server);
	server->refs = 1;
	server->options = *options;
	fill_defaults(&server->options);
	server->listen_fd = -1;
	server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	pthread_mutex_init(&server->lock, NULL);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&server->idle, &attr);
	pthread_condattr_destroy(&attr);
	server->thread_count = server->options.threads;
	server->threads = xcalloc(server->thread_count, sizeof(*server->threads));
	for (unsigned i = 0; i < server->thread_count; i++) {
		struct io_thread *thread = &server->threads[i];
		thread->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
		thread->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		pthread_mutex_init(&thread->lock, NULL);
		pthread_mutex_init(&thread->resume_lock, NULL);
		list_init(&thread->posts);
		list_init(&thread->conns);
		list_init(&thread->active);
		list_init(&thread->answers);
		list_init(&thread->expecting);
		list_init(&thread->freed);
		list_init(&thread->requests);
	}
	return server;
}

struct order {
	struct post post;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;
};

static void order_done(struct order *order)
{
	pthread_mutex_lock(&order->lock);
	order->done = true;
	pthread_cond_signal(&order->cond);
	pthread_mutex_unlock(&order->lock);
}

/* Runs fn on the thread and waits for it. */
static void order_run(struct io_thread *thread, void (*fn)(struct io_thread *, struct post *))
{
	struct order order = {.post.fn = fn, .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
	list_init(&order.post.link);
	thread_post(thread, &order.post);
	pthread_mutex_lock(&order.lock);
	while (!order.done)
		pthread_cond_wait(&order.cond, &order.lock);
	pthread_mutex_unlock(&order.lock);
	pthread_mutex_destroy(&order.lock);
	pthread_cond_destroy(&order.cond);
}

static void stop_order(struct io_thread *thread, struct post *post)
{
	thread_stop(thread);
	order_done(container_of(post, struct order, post));
}

static void stop_threads(struct http_server *server, unsigned started)
{
	/* The accepting thread first: it hands connections to the others. */
	for (unsigned i = 0; i < started; i++) {
		order_run(&server->threads[i], stop_order);
		pthread_join(server->threads[i].id, NULL);
	}
}

int http_server_start(const struct http_server_options *options, struct http_server **ret, struct error *err)
{
	struct http_server *server = server_new(options);
	int rc = 0;
	if (options->tls)
		rc = tls_new(server, &server->tls, err);
	if (!rc)
		rc = open_listener(server, err);
	unsigned started = 0;
	/* Backwards: once thread 0 accepts, all others run. */
	for (unsigned i = server->thread_count; !rc && i-- > 0;) {
		struct io_thread *thread = &server->threads[i];
		thread->listener.fn = on_listener;
		if (i == 0 && server->tls)
			tls_watch(server->tls, thread);
		rc = thread_start(thread, server, err);
		if (!rc)
			started++;
		if (!rc && i == 0)
			rc = thread_watch(thread, server->listen_fd, EPOLLIN, &thread->listener);
	}
	if (rc < 0) {
		for (unsigned i = server->thread_count - started; i < server->thread_count; i++) {
			order_run(&server->threads[i], stop_order);
			pthread_join(server->threads[i].id, NULL);
		}
		if (options->listen_fd >= 0)
			server->listen_fd = -1; /* stays the caller's */
		server_unref(server);
		return rc;
	}
	server->options.cert_file = server->options.key_file = server->options.tls_policy = server->options.client_ca_file = server->options.client_ca_file_too = server->options.bind_address = NULL;
	server->options.sni = NULL;
	*ret = server;
	return 0;
}

uint16_t http_server_port(const struct http_server *server)
{
	return server->port;
}

/* Connections between two requests are closed at once; the others learn it from "Connection: close". */
static void drain_order(struct io_thread *thread, struct post *post)
{
	struct http_server *server = thread->server;
	if (thread == &server->threads[0] && server->listen_fd >= 0) {
		epoll_ctl(thread->epoll_fd, EPOLL_CTL_DEL, server->listen_fd, NULL);
		close(take_fd(server->listen_fd));
	}
	struct http_conn *conn;
	list_for_each(conn, &thread->conns, link) {
		if (conn->deadline_kind == DEADLINE_IDLE && conn->request == REQUEST_NONE && !conn->stream && !conn->upgraded && list_empty(&conn->injects) && pending_empty(&conn->out) && !conn->readable)
			conn_close(conn);
	}
	order_done(container_of(post, struct order, post));
}

void http_server_close_answered(struct http_server *server)
{
	atomic_store(&server->closing, true);
}

void http_server_drain(struct http_server *server)
{
	http_server_close_answered(server);
	if (atomic_exchange(&server->draining, true))
		return;
	for (unsigned i = 0; i < server->thread_count; i++)
		order_run(&server->threads[i], drain_order);
}

void http_server_stop(struct http_server *server, int grace_ms)
{
	if (!server)
		return;
	http_server_drain(server);
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += grace_ms / 1000;
	until.tv_nsec += (grace_ms % 1000) * NSEC_PER_MSEC;
	if (until.tv_nsec >= NSEC_PER_SEC) {
		until.tv_nsec -= NSEC_PER_SEC;
		until.tv_sec++;
	}
	pthread_mutex_lock(&server->lock);
	while (server->open_requests && pthread_cond_timedwait(&server->idle, &server->lock, &until) == 0)
		;
	pthread_mutex_unlock(&server->lock);
	stop_threads(server, server->thread_count);
	server_unref(server);
}
