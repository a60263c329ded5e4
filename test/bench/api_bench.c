/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load on any Kubernetes API server, over TLS, with many connections, each with one request under way.
 *
 *	api_bench URL CA.pem [CERT.pem KEY.pem | - -] [TOKEN | -] OPERATION CONNECTIONS COUNT [NAMESPACE] [FIRST]
 *
 * OPERATION: create (COUNT pods of about 1 KB in all, numbered from FIRST), status (a strategic merge patch of each one's status), get (COUNT GETs of one pod), list (COUNT LISTs of all pods), nothing (a consistent LIST
 * that matches none by label), nowhere (the same by field), delete (deletecollection). Prints "OPERATION rate_per_second megabytes_per_second p50_ms p99_ms failures".
 */
#include "test/bench/client.h"

#include <pthread.h>
#include <stdatomic.h>

enum { THREADS = 2, CONNECTIONS_MAX = 4096 };

struct bench {
	char host[256], port[16];
	gnutls_certificate_credentials_t credentials;
	const char *token, *operation, *ns;
	int count, connections, first;
	atomic_int next, seat;
	pthread_barrier_t connected; /* the clock starts here: shaking hands is no part of a request */
	int64_t began_ns;
	atomic_ullong bytes;
	atomic_int failures;
	int64_t *latencies;
};

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
	if (str_equal(bench->operation, "status")) { /* what a node agent writes of a pod */
		len = snprintf(body, sizeof(body), "{\"status\":{\"phase\":\"Running\",\"podIP\":\"10.0.%d.%d\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\",\"message\":\"%d\"}]}}", n >> 8 & 255, n & 255, n);
		return (size_t)snprintf(out, size, "PATCH /api/v1/namespaces/%s/pods/bench-%d/status HTTP/1.1\r\nHost: %s\r\n%sContent-Type: application/strategic-merge-patch+json\r\nContent-Length: %d\r\n\r\n%s",
			bench->ns, n, bench->host, authorization, len, body);
	}
	if (str_equal(bench->operation, "get"))
		return (size_t)snprintf(out, size, "GET /api/v1/namespaces/%s/pods/bench-0 HTTP/1.1\r\nHost: %s\r\n%s\r\n", bench->ns, bench->host, authorization);
	if (str_equal(bench->operation, "list"))
		return (size_t)snprintf(out, size, "GET /api/v1/namespaces/%s/pods?resourceVersion=0 HTTP/1.1\r\nHost: %s\r\n%s\r\n", bench->ns, bench->host, authorization);
	if (str_equal(bench->operation, "nowhere"))
		return (size_t)snprintf(out, size, "GET /api/v1/namespaces/%s/pods?fieldSelector=spec.nodeName%%3Dabsent HTTP/1.1\r\nHost: %s\r\n%s\r\n", bench->ns, bench->host, authorization);
	if (str_equal(bench->operation, "nothing")) /* a consistent LIST that matches nothing */
		return (size_t)snprintf(out, size, "GET /api/v1/namespaces/%s/pods?labelSelector=absent%%3Dtrue HTTP/1.1\r\nHost: %s\r\n%s\r\n", bench->ns, bench->host, authorization);
	return (size_t)snprintf(out, size, "DELETE /api/v1/namespaces/%s/pods?gracePeriodSeconds=0 HTTP/1.1\r\nHost: %s\r\n%sContent-Length: 0\r\n\r\n", bench->ns, bench->host, authorization);
}

static bool send_next(struct bench *bench, struct client *c)
{
	char request[8192];
	c->number = atomic_fetch_add(&bench->next, 1);
	if (c->number >= bench->count)
		return false;
	client_send(c, request, make_request(bench, bench->first + c->number, request, sizeof(request)));
	return true;
}

/* Every THREADS-th connection. */
static void *run(void *arg)
{
	struct bench *bench = arg;
	int seat = atomic_fetch_add(&bench->seat, 1), busy = 0, poller = epoll_create1(EPOLL_CLOEXEC), mine = 0;
	struct client *clients = xcalloc((size_t)bench->connections, sizeof(*clients));
	for (int i = seat; i < bench->connections; i += THREADS, mine++) {
		struct client *c = &clients[mine];
		client_connect(c, bench->host, bench->port, bench->credentials);
		epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = c});
	}
	if (pthread_barrier_wait(&bench->connected) == PTHREAD_BARRIER_SERIAL_THREAD)
		bench->began_ns = clock_monotonic_ns();
	pthread_barrier_wait(&bench->connected);
	for (int i = 0; i < mine; i++)
		busy += send_next(bench, &clients[i]);
	while (busy) {
		struct epoll_event events[64];
		int n = epoll_wait(poller, events, 64, -1);
		for (int i = 0; i < n; i++) {
			struct client *c = events[i].data.ptr;
			if (!client_receive(c) || c->number >= bench->count)
				continue;
			bench->latencies[c->number] = clock_monotonic_ns() - c->began_ns;
			atomic_fetch_add(&bench->bytes, c->body);
			if (c->status < 200 || c->status > 299)
				atomic_fetch_add(&bench->failures, 1);
			busy -= !send_next(bench, c);
		}
	}
	for (int i = 0; i < mine; i++)
		client_close(&clients[i]);
	free(clients);
	close(poller);
	return NULL;
}

static int compare(const void *a, const void *b) {
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return x < y ? -1 : x > y;
}

int main(int argc, char **argv) {
	if (argc < 8) {
		fprintf(stderr, "usage: api_bench URL CA [CERT KEY | - -] [TOKEN | -] OPERATION CONNECTIONS COUNT [NAMESPACE] [FIRST]\n");
		return 2;
	}
	static struct bench bench;
	const char *at = strstr(argv[1], "://") ? strstr(argv[1], "://") + 3 : argv[1], *colon = strrchr(at, ':');
	if (!colon || (size_t)(colon - at) >= sizeof(bench.host))
		client_die("URL must be https://host:port", argv[1]);
	memcpy(bench.host, at, (size_t)(colon - at));
	snprintf(bench.port, sizeof(bench.port), "%s", colon + 1);
	gnutls_certificate_allocate_credentials(&bench.credentials);
	if (!str_equal(argv[3], "-") && gnutls_certificate_set_x509_key_file(bench.credentials, argv[3], argv[4], GNUTLS_X509_FMT_PEM) < 0)
		client_die("client certificate", argv[3]);
	bench.token = str_equal(argv[5], "-") ? NULL : argv[5];
	bench.operation = argv[6];
	int64_t connections = 1, count = 1;
	if (!str_to_int64(argv[7], 1, CONNECTIONS_MAX, &connections) || argc < 9 || !str_to_int64(argv[8], 1, 100000000, &count))
		client_die("CONNECTIONS and COUNT are numbers", argv[7]);
	bench.count = (int)count;
	bench.connections = (int)connections;
	bench.ns = argc > 9 ? argv[9] : "default";
	bench.first = argc > 10 ? atoi(argv[10]) : 0;
	bench.latencies = xcalloc((size_t)count, sizeof(*bench.latencies));
	pthread_t threads[THREADS];
	pthread_barrier_init(&bench.connected, NULL, THREADS);
	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, run, &bench) != 0)
			client_die("thread", strerror(errno));
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	double seconds = (double)(clock_monotonic_ns() - bench.began_ns) / 1e9;
	qsort(bench.latencies, (size_t)count, sizeof(*bench.latencies), compare);
	printf("%s %.1f %.1f %.3f %.3f %d\n", bench.operation, (double)count / seconds, (double)bench.bytes / seconds / 1e6, (double)bench.latencies[count / 2] / 1e6,
		(double)bench.latencies[count * 99 / 100] / 1e6, (int)bench.failures);
	return bench.failures ? 1 : 0;
}
