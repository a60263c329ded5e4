/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long one event takes to many watchers of an API server, over TLS, each with a connection of its own, all read by one thread:
 *
 *	watch_bench https://127.0.0.1:6443 TOKEN [watchers]
 *
 * Opens the watches, makes labelled pods in the namespace "default" one after the other, and says when the middle and the last watcher got each,
 * counted from before the create was sent: the median of all rounds.
 */
#include "test/bench/client.h"

enum { ROUNDS = 15 };

static char host[256], port[16];
static const char *token;
static gnutls_certificate_credentials_t credentials;

static void request(struct client *c, const char *method, const char *path, const char *body)
{
	autofree char *text = body ? xprintf("%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nAccept: application/json\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
						   method, path, host, token, strlen(body), body)
				   : xprintf("%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nAccept: application/json\r\n\r\n", method, path, host, token);
	client_send(c, text, strlen(text));
}

/* Bytes of a watch that have come; 0: none yet. */
static size_t read_some(struct client *c)
{
	static char buffer[64 << 10];
	size_t total = 0;
	for (;;) {
		ssize_t n = gnutls_record_recv(c->tls, buffer, sizeof(buffer));
		if (client_has_no_more(c, n))
			return total;
		if (n < 0 && !gnutls_error_is_fatal((int)n))
			continue;
		if (n <= 0)
			client_die("watch", n ? gnutls_strerror((int)n) : "closed");
		total += (size_t)n;
	}
}

static int order(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return x < y ? -1 : x > y;
}

/* One event: the time of the middle and of the last watcher. */
static void round_trip(int poller, struct client *maker, const char *label, int64_t count, int64_t *latencies, int64_t *ret_middle, int64_t *ret_last)
{
	autofree char *body = xprintf("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"generateName\":\"watched-\",\"labels\":{\"bench\":\"%s\"}},"
				      "\"spec\":{\"containers\":[{\"name\":\"main\",\"image\":\"registry.example/app:v1\"}]}}", label);
	int64_t began = clock_monotonic_ns(), got = 0;
	bool answered = false;
	request(maker, "POST", "/api/v1/namespaces/default/pods", body);
	while (got < count || !answered) {
		struct epoll_event events[256];
		int n = epoll_wait(poller, events, 256, 10000);
		if (n <= 0)
			client_die("watch", "an event did not come within 10 s");
		for (int i = 0; i < n; i++) {
			struct client *c = events[i].data.ptr;
			if (c == maker)
				answered |= client_receive(c) == 1;
			else if (read_some(c))
				latencies[got++] = clock_monotonic_ns() - began;
			if (got > count)
				client_die("watch", "more events than were made");
		}
	}
	if (maker->status != 201)
		client_die("create", maker->line);
	qsort(latencies, (size_t)count, sizeof(*latencies), order);
	*ret_middle = latencies[count / 2];
	*ret_last = latencies[count - 1];
}

int main(int argc, char **argv)
{
	int64_t count = 100, middle[ROUNDS], last[ROUNDS];
	const char *at = argc > 1 && strstr(argv[1], "://") ? strstr(argv[1], "://") + 3 : NULL, *colon = at ? strrchr(at, ':') : NULL;
	if (argc < 3 || !colon || (size_t)(colon - at) >= sizeof(host) || (argc > 3 && !str_to_int64(argv[3], 1, 10000, &count))) {
		fprintf(stderr, "usage: watch_bench https://host:port TOKEN [watchers]\n");
		return 2;
	}
	memcpy(host, at, (size_t)(colon - at));
	snprintf(port, sizeof(port), "%s", colon + 1);
	token = argv[2];
	gnutls_certificate_allocate_credentials(&credentials);
	int poller = epoll_create1(EPOLL_CLOEXEC);
	struct client *watchers = xcalloc((size_t)count, sizeof(*watchers)), maker;
	int64_t *latencies = xcalloc((size_t)count, sizeof(*latencies));
	autofree char *label = xprintf("%d", (int)getpid());
	autofree char *path = xprintf("/api/v1/namespaces/default/pods?watch=true&labelSelector=bench%%3D%s", label);
	for (int64_t i = 0; i < count; i++) {
		struct client *c = &watchers[i];
		client_connect(c, host, port, credentials);
		request(c, "GET", path, NULL);
		epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = c});
		/* The head of the answer says that the watch stands. */
		while (!read_some(c)) {
			struct epoll_event event;
			epoll_wait(poller, &event, 1, 1000);
		}
	}
	client_connect(&maker, host, port, credentials);
	epoll_ctl(poller, EPOLL_CTL_ADD, maker.fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = &maker});
	for (int i = 0; i < ROUNDS; i++)
		round_trip(poller, &maker, label, count, latencies, &middle[i], &last[i]);
	qsort(middle, ROUNDS, sizeof(*middle), order);
	qsort(last, ROUNDS, sizeof(*last), order);
	printf("%d watchers, from sending the create: median %.2f ms, last %.2f ms\n", (int)count, (double)middle[ROUNDS / 2] / 1e6, (double)last[ROUNDS / 2] / 1e6);
	for (int64_t i = 0; i < count; i++)
		client_close(&watchers[i]);
	client_close(&maker);
	close(poller);
	free(watchers);
	free(latencies);
	gnutls_certificate_free_credentials(credentials);
	return 0;
}
