/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load on any Kubernetes API server, over TLS, with many connections: each is a thread that writes a request and reads the answer.
 *
 *	api_bench URL CA.pem [CERT.pem KEY.pem | -] [TOKEN | -] OPERATION CONNECTIONS COUNT [NAMESPACE]
 *
 * OPERATION: create (COUNT pods of about 1 KB in all), get (COUNT GETs of one pod), list (COUNT LISTs of all pods), delete (deletecollection).
 * Prints "OPERATION rate_per_second megabytes_per_second p50_ms p99_ms".
 */
#include "common/base/base.h"
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

#define READ_BYTES (256u << 10)

struct bench {
	char host[256], port[16];
	gnutls_certificate_credentials_t credentials;
	const char *token, *operation, *ns;
	int count;
	atomic_int next;
	atomic_ullong bytes;
	atomic_int failures;
	int64_t *latencies;
};

struct connection {
	gnutls_session_t tls;
	int fd;
	char *buffer;
	size_t have;
};

static void die(const char *what, const char *detail) {
	fprintf(stderr, "api_bench: %s: %s\n", what, detail);
	exit(1);
}

static void connect_to(struct bench *bench, struct connection *c) {
	struct addrinfo *list, hints = {.ai_socktype = SOCK_STREAM};
	if (getaddrinfo(bench->host, bench->port, &hints, &list) != 0)
		die("resolve", bench->host);
	c->fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1;
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(c->fd, list->ai_addr, list->ai_addrlen) < 0)
		die("connect", strerror(errno));
	freeaddrinfo(list);
	gnutls_init(&c->tls, GNUTLS_CLIENT);
	gnutls_set_default_priority(c->tls);
	gnutls_credentials_set(c->tls, GNUTLS_CRD_CERTIFICATE, bench->credentials);
	gnutls_transport_set_int(c->tls, c->fd);
	int r;
	while ((r = gnutls_handshake(c->tls)) == GNUTLS_E_AGAIN || r == GNUTLS_E_INTERRUPTED)
		;
	if (r < 0)
		die("handshake", gnutls_strerror(r));
	c->buffer = xmalloc(READ_BYTES + 1);
	c->have = 0;
}

static void send_all(struct connection *c, const char *data, size_t len) {
	while (len) {
		ssize_t n = gnutls_record_send(c->tls, data, len);
		if (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED)
			continue;
		if (n < 0)
			die("send", gnutls_strerror((int)n));
		data += n;
		len -= (size_t)n;
	}
}

static size_t receive(struct connection *c) {
	for (;;) {
		ssize_t n = gnutls_record_recv(c->tls, c->buffer + c->have, READ_BYTES - c->have);
		if (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED)
			continue;
		if (n <= 0)
			die("receive", n ? gnutls_strerror((int)n) : "closed");
		c->have += (size_t)n;
		c->buffer[c->have] = '\0';
		return (size_t)n;
	}
}

static void drop(struct connection *c, size_t len) {
	memmove(c->buffer, c->buffer + len, c->have - len);
	c->have -= len;
	c->buffer[c->have] = '\0';
}

/* Reads a chunked body; returns its bytes. */
static size_t read_chunks(struct connection *c) {
	size_t total = 0;
	for (;;) {
		char *end;
		while (!(end = strstr(c->buffer, "\r\n")))
			receive(c);
		size_t left = strtoul(c->buffer, NULL, 16);
		bool last = left == 0;
		drop(c, (size_t)(end - c->buffer) + 2);
		left += 2;
		total += left;
		while (left) {
			if (!c->have)
				receive(c);
			size_t part = min_of(left, c->have);
			drop(c, part);
			left -= part;
		}
		if (last)
			return total;
	}
}

/* Returns the status. */
static int read_answer(struct bench *bench, struct connection *c) {
	char *end;
	while (!(end = strstr(c->buffer, "\r\n\r\n")))
		receive(c);
	int status = (int)strtol(c->buffer + 9, NULL, 10);
	*end = '\0';
	char *length = strcasestr(c->buffer, "\r\ncontent-length:");
	bool chunked = strcasestr(c->buffer, "\r\ntransfer-encoding: chunked") != NULL;
	size_t left = length ? strtoul(length + 17, NULL, 10) : 0, total = left;
	drop(c, (size_t)(end - c->buffer) + 4);
	if (chunked)
		total = read_chunks(c);
	while (left && !chunked) {
		size_t part = min_of(left, c->have);
		drop(c, part);
		left -= part;
		if (left)
			receive(c);
	}
	atomic_fetch_add(&bench->bytes, total);
	return status;
}

static const char pod_body[] =
	"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"bench-%d\",\"labels\":{\"app\":\"bench\",\"tier\":\"backend\"},\"annotations\":{\"example.com/owner\":\"bench\"}},"
	"\"spec\":{\"schedulerName\":\"nobody\",\"automountServiceAccountToken\":false,\"containers\":[{\"name\":\"main\",\"image\":\"registry.example/app:1\",\"command\":[\"/app\",\"--serve\"],"
	"\"env\":[{\"name\":\"A\",\"value\":\"1\"},{\"name\":\"B\",\"value\":\"2\"}],\"ports\":[{\"containerPort\":8080}],\"resources\":{\"requests\":{\"cpu\":\"100m\",\"memory\":\"64Mi\"}}}]}}";

static size_t make_request(const struct bench *bench, int n, char *out, size_t size) {
	char body[2048], authorization[4096] = "";
	if (bench->token)
		snprintf(authorization, sizeof(authorization), "Authorization: Bearer %s\r\n", bench->token);
	int len = 0;
	if (str_equal(bench->operation, "create")) {
		len = snprintf(body, sizeof(body), pod_body, n);
		return (size_t)snprintf(out, size, "POST /api/v1/namespaces/%s/pods HTTP/1.1\r\nHost: %s\r\n%sContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", bench->ns,
			bench->host, authorization, len, body);
	}
	if (str_equal(bench->operation, "get"))
		return (size_t)snprintf(out, size, "GET /api/v1/namespaces/%s/pods/bench-0 HTTP/1.1\r\nHost: %s\r\n%s\r\n", bench->ns, bench->host, authorization);
	if (str_equal(bench->operation, "list"))
		return (size_t)snprintf(out, size, "GET /api/v1/namespaces/%s/pods?resourceVersion=0 HTTP/1.1\r\nHost: %s\r\n%s\r\n", bench->ns, bench->host, authorization);
	if (str_equal(bench->operation, "nothing")) /* a consistent LIST that matches nothing */
		return (size_t)snprintf(out, size, "GET /api/v1/namespaces/%s/pods?labelSelector=absent%%3Dtrue HTTP/1.1\r\nHost: %s\r\n%s\r\n", bench->ns, bench->host, authorization);
	return (size_t)snprintf(out, size, "DELETE /api/v1/namespaces/%s/pods?gracePeriodSeconds=0 HTTP/1.1\r\nHost: %s\r\n%sContent-Length: 0\r\n\r\n", bench->ns, bench->host, authorization);
}

static void *run(void *arg) {
	struct bench *bench = arg;
	struct connection c;
	char request[8192];
	connect_to(bench, &c);
	int n;
	while ((n = atomic_fetch_add(&bench->next, 1)) < bench->count) {
		size_t len = make_request(bench, n, request, sizeof(request));
		int64_t began = clock_monotonic_ns();
		send_all(&c, request, len);
		int status = read_answer(bench, &c);
		bench->latencies[n] = clock_monotonic_ns() - began;
		if (status < 200 || status > 299)
			atomic_fetch_add(&bench->failures, 1);
	}
	gnutls_deinit(c.tls);
	close(c.fd);
	free(c.buffer);
	return NULL;
}

static int compare(const void *a, const void *b) {
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return x < y ? -1 : x > y;
}

int main(int argc, char **argv) {
	if (argc < 8) {
		fprintf(stderr, "usage: api_bench URL CA [CERT KEY | - -] [TOKEN | -] OPERATION CONNECTIONS COUNT [NAMESPACE]\n");
		return 2;
	}
	static struct bench bench;
	const char *at = strstr(argv[1], "://") ? strstr(argv[1], "://") + 3 : argv[1], *colon = strrchr(at, ':');
	if (!colon || (size_t)(colon - at) >= sizeof(bench.host))
		die("URL must be https://host:port", argv[1]);
	memcpy(bench.host, at, (size_t)(colon - at));
	snprintf(bench.port, sizeof(bench.port), "%s", colon + 1);
	gnutls_certificate_allocate_credentials(&bench.credentials);
	if (!str_equal(argv[3], "-") && gnutls_certificate_set_x509_key_file(bench.credentials, argv[3], argv[4], GNUTLS_X509_FMT_PEM) < 0)
		die("client certificate", argv[3]);
	bench.token = str_equal(argv[5], "-") ? NULL : argv[5];
	bench.operation = argv[6];
	int64_t connections = 1, count = 1;
	if (!str_to_int64(argv[7], 1, 4096, &connections) || argc < 9 || !str_to_int64(argv[8], 1, 100000000, &count))
		die("CONNECTIONS and COUNT are numbers", argv[7]);
	bench.count = (int)count;
	bench.ns = argc > 9 ? argv[9] : "default";
	bench.latencies = xcalloc((size_t)count, sizeof(*bench.latencies));
	pthread_t threads[4096];
	int64_t began = clock_monotonic_ns();
	for (int64_t i = 0; i < connections; i++)
		if (pthread_create(&threads[i], NULL, run, &bench) != 0)
			die("thread", strerror(errno));
	for (int64_t i = 0; i < connections; i++)
		pthread_join(threads[i], NULL);
	double seconds = (double)(clock_monotonic_ns() - began) / 1e9;
	qsort(bench.latencies, (size_t)count, sizeof(*bench.latencies), compare);
	printf("%s %.1f %.1f %.3f %.3f %d\n", bench.operation, (double)count / seconds, (double)bench.bytes / seconds / 1e6, (double)bench.latencies[count / 2] / 1e6,
		(double)bench.latencies[count * 99 / 100] / 1e6, (int)bench.failures);
	return bench.failures ? 1 : 0;
}
