// lib: apiserver
/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load on an API server over TLS: clients with a connection each, one request after the other.
 *
 *	apiserver_bench https://127.0.0.1:6443 TOKEN create|get|list|watch [count] [clients]
 *
 * create makes pods bench-<i> in the namespace "default"; get reads them one by one; list reads them all `count` times; watch opens `clients`
 * watches and says how long an event (a labelled pod made meanwhile) takes to reach the middle and the last one of them.
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
static const char *token, *mode;
static int count = 1000, clients = 64;
static atomic_int next_request, failures, ready_watches;
static atomic_llong bytes_read;
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
	atomic_fetch_add(&bytes_read, n);
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

/* Reads one answer whole, by its length or its chunks; gives the status. */
static int read_answer(struct connection *c)
{
	char *end;
	size_t head, want;
	int status;

	while (!c->in.data || !(end = memmem(c->in.data, c->in.len, "\r\n\r\n", 4))) {
		if (!read_more(c))
			return -1;
	}
	head = (size_t)(end - c->in.data) + 4;
	status = atoi(c->in.data + 9);
	end[2] = '\0';
	const char *length = strcasestr(c->in.data, "\r\nContent-Length:");
	if (length) {
		want = head + (size_t)atoll(length + 17);
		while (c->in.len < want) {
			if (!read_more(c))
				return -1;
		}
		buf_consume(&c->in, want);
		return status;
	}
	buf_consume(&c->in, head);
	for (;;) {
		while (!c->in.len || !(end = memmem(c->in.data, c->in.len, "\r\n", 2))) {
			if (!read_more(c))
				return -1;
		}
		size_t size = strtoul(c->in.data, NULL, 16);
		want = (size_t)(end - c->in.data) + 2 + size + 2;
		while (c->in.len < want) {
			if (!read_more(c))
				return -1;
		}
		buf_consume(&c->in, want);
		if (size == 0)
			return status;
	}
}

static char *pod(const char *name)
{
	return xprintf("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\",\"namespace\":\"default\",\"labels\":{\"app\":\"bench\"}},"
		       "\"spec\":{\"containers\":[{\"name\":\"main\",\"image\":\"registry.example/app:v1\",\"env\":[{\"name\":\"A\",\"value\":\"1\"}],"
		       "\"resources\":{\"requests\":{\"cpu\":\"100m\",\"memory\":\"64Mi\"}},\"ports\":[{\"containerPort\":80}]}]}}",
		name);
}

static int one_request(struct connection *c, int i)
{
	char path[128], name[64];
	autofree char *body = NULL;

	snprintf(name, sizeof(name), "bench-%d", i);
	if (strcmp(mode, "create") == 0) {
		body = pod(name);
		send_request(c, "POST", "/api/v1/namespaces/default/pods", body);
	} else if (strcmp(mode, "get") == 0) {
		snprintf(path, sizeof(path), "/api/v1/namespaces/default/pods/%s?resourceVersion=0", name);
		send_request(c, "GET", path, NULL);
	} else {
		send_request(c, "GET", "/api/v1/pods?resourceVersion=0", NULL);
	}
	return read_answer(c);
}

static void *client(void *arg)
{
	struct connection c;
	int i;

	open_connection(&c);
	while ((i = atomic_fetch_add(&next_request, 1)) < count) {
		int status = one_request(&c, i);
		if (status < 200 || status > 299)
			atomic_fetch_add(&failures, 1);
		if (status < 0) {
			close_connection(&c);
			open_connection(&c);
		}
	}
	close_connection(&c);
	return NULL;
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

static void start_threads(pthread_t *threads, void *(*fn)(void *))
{
	pthread_attr_t attributes;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 256 << 10);
	for (intptr_t i = 0; i < clients; i++) {
		if (pthread_create(&threads[i], &attributes, fn, (void *)i) != 0)
			die("thread");
	}
	pthread_attr_destroy(&attributes);
}

static void bench_watch(pthread_t *threads)
{
	struct connection c;

	latencies = xcalloc((size_t)clients, sizeof(*latencies));
	start_threads(threads, watcher);
	open_connection(&c);
	while (ready_watches < clients)
		usleep(10000);
	autofree char *body = xprintf("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"generateName\":\"watched-\",\"labels\":{\"bench\":\"%d\"}},"
				      "\"spec\":{\"containers\":[{\"name\":\"main\",\"image\":\"registry.example/app:v1\"}]}}",
		(int)getpid());
	event_sent = clock_monotonic_ns();
	send_request(&c, "POST", "/api/v1/namespaces/default/pods", body);
	printf("status %d\n", read_answer(&c));
	for (int i = 0; i < clients; i++)
		pthread_join(threads[i], NULL);
	qsort(latencies, (size_t)clients, sizeof(*latencies), compare);
	printf("watch: %d watchers, from sending the create: median %.2f ms, last %.2f ms\n", clients, (double)latencies[clients / 2] / 1e6, (double)latencies[clients - 1] / 1e6);
	close_connection(&c);
	free(latencies);
}

int main(int argc, char **argv)
{
	autoerror struct error err = {0};

	if (argc < 4 || endpoint_parse(argv[1], &server, &err) < 0) {
		fprintf(stderr, "usage: apiserver_bench https://host:port TOKEN create|get|list|watch [count] [clients]\n");
		return 2;
	}
	token = argv[2];
	mode = argv[3];
	count = argc > 4 ? atoi(argv[4]) : count;
	clients = argc > 5 ? atoi(argv[5]) : clients;
	gnutls_certificate_allocate_credentials(&credentials);
	pthread_t *threads = xcalloc((size_t)clients, sizeof(*threads));
	if (strcmp(mode, "watch") == 0) {
		bench_watch(threads);
	} else {
		int64_t start = clock_monotonic_ns();
		start_threads(threads, client);
		for (int i = 0; i < clients; i++)
			pthread_join(threads[i], NULL);
		double seconds = (double)(clock_monotonic_ns() - start) / 1e9;
		printf("%s: %d requests, %d failed, %.0f /s, %.1f MB/s\n", mode, count, (int)failures, count / seconds, (double)bytes_read / 1e6 / seconds);
	}
	free(threads);
	gnutls_certificate_free_credentials(credentials);
	endpoint_done(&server);
	return 0;
}
