// lib: apiserver
/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long one event takes to many watchers of an API server, over TLS, each with a connection of its own:
 *
 *	watch_bench https://127.0.0.1:6443 TOKEN [watchers]
 *
 * Opens the watches, makes a labelled pod in the namespace "default", and says when the middle and the last one of them got it, counted from
 * before the create was sent.
 */
#include "apiserver/etcd/transport.h"
#include "common/base/buf.h"
#include "common/base/clock.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

struct connection {
	int fd;
	gnutls_session_t session;
	struct buf in;
};

static struct endpoint server;
static const char *token;
static int64_t clients = 100;
static atomic_int ready_watches;
static gnutls_certificate_credentials_t credentials;
static int64_t *latencies;
static _Atomic int64_t event_sent;

static void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static void open_connection(struct connection *c)
{
	struct addrinfo *address, hints = {.ai_socktype = SOCK_STREAM};
	int one = 1;

	*c = (struct connection){.in = BUF_INIT((size_t)1 << 30)};
	if (getaddrinfo(server.host, server.port, &hints, &address) != 0)
		die("getaddrinfo");
	c->fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || connect(c->fd, address->ai_addr, address->ai_addrlen) < 0)
		die("connect");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	freeaddrinfo(address);
	gnutls_init(&c->session, GNUTLS_CLIENT);
	gnutls_set_default_priority(c->session);
	gnutls_credentials_set(c->session, GNUTLS_CRD_CERTIFICATE, credentials);
	gnutls_transport_set_int(c->session, c->fd);
	int r;
	do {
		r = gnutls_handshake(c->session);
	} while (r < 0 && !gnutls_error_is_fatal(r));
	if (r < 0) {
		fprintf(stderr, "TLS: %s\n", gnutls_strerror(r));
		exit(1);
	}
}

static void close_connection(struct connection *c)
{
	gnutls_deinit(c->session);
	close(c->fd);
	buf_done(&c->in);
}

static bool read_more(struct connection *c)
{
	static _Thread_local char data[65536];
	ssize_t n;

	do {
		n = gnutls_record_recv(c->session, data, sizeof(data));
	} while (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED);
	if (n <= 0)
		return false;
	buf_append(&c->in, data, (size_t)n);
	return true;
}

static void send_request(struct connection *c, const char *method, const char *path, const char *body)
{
	struct buf b = BUF_INIT(1 << 20);

	buf_printf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nAccept: application/json\r\n", method, path, server.authority, token);
	if (body)
		buf_printf(&b, "Content-Type: application/json\r\nContent-Length: %zu\r\n", strlen(body));
	buf_append_str(&b, "\r\n");
	if (body)
		buf_append_str(&b, body);
	for (size_t at = 0; at < b.len;) {
		ssize_t n = gnutls_record_send(c->session, b.data + at, b.len - at);
		if (n < 0 && n != GNUTLS_E_AGAIN && n != GNUTLS_E_INTERRUPTED)
			die("send");
		at += n > 0 ? (size_t)n : 0;
	}
	buf_done(&b);
}

static void *watcher(void *arg)
{
	struct connection c;

	open_connection(&c);
	autofree char *path = xprintf("/api/v1/namespaces/default/pods?watch=true&labelSelector=bench%%3D%d", (int)getpid());
	send_request(&c, "GET", path, NULL);
	while (!c.in.data || !memmem(c.in.data, c.in.len, "\r\n\r\n", 4)) {
		if (!read_more(&c))
			die("watch");
	}
	atomic_fetch_add(&ready_watches, 1);
	while (!memmem(c.in.data, c.in.len, "\"ADDED\"", 7)) {
		if (!read_more(&c))
			die("watch");
	}
	latencies[(intptr_t)arg] = clock_monotonic_ns() - event_sent;
	close_connection(&c);
	return NULL;
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static void start_watchers(pthread_t *threads)
{
	pthread_attr_t attributes;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 256 << 10);
	for (intptr_t i = 0; i < clients; i++) {
		if (pthread_create(&threads[i], &attributes, watcher, (void *)i) != 0)
			die("thread");
	}
	pthread_attr_destroy(&attributes);
}

static void bench_watch(pthread_t *threads)
{
	struct connection c;

	latencies = xcalloc((size_t)clients, sizeof(*latencies));
	start_watchers(threads);
	open_connection(&c);
	while (ready_watches < clients)
		usleep(10000);
	autofree char *body = xprintf("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"generateName\":\"watched-\",\"labels\":{\"bench\":\"%d\"}},"
				      "\"spec\":{\"containers\":[{\"name\":\"main\",\"image\":\"registry.example/app:v1\"}]}}",
		(int)getpid());
	event_sent = clock_monotonic_ns();
	send_request(&c, "POST", "/api/v1/namespaces/default/pods", body);
	for (int i = 0; i < clients; i++)
		pthread_join(threads[i], NULL);
	qsort(latencies, (size_t)clients, sizeof(*latencies), compare);
	printf("%d watchers, from sending the create: median %.2f ms, last %.2f ms\n", (int)clients, (double)latencies[clients / 2] / 1e6, (double)latencies[clients - 1] / 1e6);
	close_connection(&c);
	free(latencies);
}

int main(int argc, char **argv)
{
	autoerror struct error err = {0};

	if (argc < 3 || endpoint_parse(argv[1], &server, &err) < 0 || (argc > 3 && !str_to_int64(argv[3], 1, 10000, &clients))) {
		fprintf(stderr, "usage: watch_bench https://host:port TOKEN [watchers]\n");
		return 2;
	}
	token = argv[2];
	gnutls_certificate_allocate_credentials(&credentials);
	pthread_t *threads = xcalloc((size_t)clients, sizeof(*threads));
	bench_watch(threads);
	free(threads);
	gnutls_certificate_free_credentials(credentials);
	endpoint_done(&server);
	return 0;
}
