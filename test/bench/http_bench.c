/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/http against libmicrohttpd's own TLS, on one machine and with the same client: small answers, big bodies, upgraded
 * bytes, and one event to many streams. Usage: http_bench [seconds a measurement]
 */
#include "common/base/clock.h"
#include "common/http/http.h"
#include "test/unit/common/http/peer.h"
#include "test/unit/common/http/pki.h"

#include <microhttpd.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>

enum { CLIENTS = 2, CONNECTIONS = 32, SMALL = 1024, BIG = 8 << 20, WATCHERS = 1000, EVENTS = 20 };

static struct pki pki;
static char small_body[SMALL];
static struct bytes *big_body;
static double seconds = 2;
static struct http_stream *streams[WATCHERS];
static atomic_int stream_count;

static int64_t now(void)
{
	return clock_monotonic_ns();
}

/* ---- the two servers ---- */

static void *swallow(void *arg)
{
	int fd = (int)(intptr_t)arg;
	static __thread char buf[1 << 16];
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	while (send(fd, buf, sizeof(buf), MSG_NOSIGNAL) > 0)
		;
	close(fd);
	return NULL;
}

static void on_upgrade(int fd, const void *extra, size_t len, void *arg)
{
	pthread_t thread;
	pthread_create(&thread, NULL, swallow, (void *)(intptr_t)fd);
	pthread_detach(thread);
}

static void handler(struct http_request *req, void *arg)
{
	const char *path = http_path(req);
	if (!strcmp(path, "/small")) {
		http_respond(req, 200, "application/json", small_body, sizeof(small_body));
	} else if (!strcmp(path, "/big")) {
		struct bytes *part = bytes_ref(big_body);
		http_respond_bytes(req, 200, "application/json", &part, 1);
	} else if (!strcmp(path, "/upgrade")) {
		http_upgrade(req, "bytes", on_upgrade, NULL);
	} else {
		streams[atomic_load(&stream_count)] = http_stream_start(req, 200, "application/json", 1 << 20, NULL, NULL);
		atomic_fetch_add(&stream_count, 1);
	}
}

static enum MHD_Result bare_handler(void *cls, struct MHD_Connection *connection, const char *url, const char *method, const char *version, const char *upload,
	size_t *upload_len, void **state)
{
	static int seen;
	if (!*state) {
		*state = &seen;
		return MHD_YES;
	}
	bool big = !strcmp(url, "/big");
	struct MHD_Response *response = big ? MHD_create_response_from_buffer(big_body->len, big_body->data, MHD_RESPMEM_PERSISTENT) :
		MHD_create_response_from_buffer(SMALL, small_body, MHD_RESPMEM_MUST_COPY);
	MHD_add_response_header(response, "Content-Type", "application/json");
	enum MHD_Result rc = MHD_queue_response(connection, 200, response);
	MHD_destroy_response(response);
	return rc;
}

static char *slurp(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text = calloc(1, 65536);
	if (!f || !fread(text, 1, 65535, f))
		abort();
	fclose(f);
	return text;
}

/* ---- the client ---- */

struct load {
	uint16_t port;
	const char *path;
	int connections;
	bool big;
	int64_t answers, bytes;
};

/* Reads one answer by its Content-Length, through a buffer of its own. Returns the body's bytes. */
static int64_t read_answer(struct peer *peer)
{
	static __thread char buf[65536];
	size_t n = 0;
	char *end = NULL;
	while (!end) {
		ssize_t got = peer_recv(peer, buf + n, sizeof(buf) - 1 - n);
		if (got <= 0)
			abort();
		n += (size_t)got;
		buf[n] = 0;
		end = strstr(buf, "\r\n\r\n");
	}
	const char *length = strstr(buf, "Content-Length: ");
	int64_t total = length ? atoll(length + 16) : 0, got_body = (int64_t)(n - (size_t)(end + 4 - buf));
	/* Chunked: the bodies here hold no line ends, so the last chunk is known by its look. */
	char tail[5] = "";
	while (length ? got_body < total : memcmp(tail, "0\r\n\r\n", 5) != 0) {
		ssize_t got = peer_recv(peer, buf, sizeof(buf));
		if (got <= 0)
			abort();
		got_body += got;
		if (got >= 5) {
			memcpy(tail, buf + got - 5, 5);
		} else {
			memmove(tail, tail + got, (size_t)(5 - got));
			memcpy(tail + 5 - got, buf, (size_t)got);
		}
	}
	return got_body;
}

static void *run_load(void *arg)
{
	struct load *load = arg;
	struct peer_options options = {.tls = true};
	struct peer peers[CONNECTIONS];
	char request[128];
	snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\nUser-Agent: bench\r\nAccept: application/json\r\n\r\n", load->path);
	for (int i = 0; i < load->connections; i++)
		peers[i] = peer_connect(load->port, &options);
	int64_t until = now() + (int64_t)(seconds * 1e9);
	while (now() < until) {
		for (int i = 0; i < load->connections; i++)
			peer_say(&peers[i], request);
		for (int i = 0; i < load->connections; i++) {
			load->bytes += read_answer(&peers[i]);
			load->answers++;
		}
	}
	for (int i = 0; i < load->connections; i++)
		peer_close(&peers[i]);
	return NULL;
}

static double cpu_seconds(void)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void measure(const char *name, uint16_t port, const char *path, int connections)
{
	struct load loads[CLIENTS] = {0};
	pthread_t threads[CLIENTS];
	int64_t start = now();
	double cpu = cpu_seconds();
	for (int i = 0; i < CLIENTS; i++) {
		loads[i] = (struct load){.port = port, .path = path, .connections = connections};
		pthread_create(&threads[i], NULL, run_load, &loads[i]);
	}
	int64_t answers = 0, total = 0;
	for (int i = 0; i < CLIENTS; i++) {
		pthread_join(threads[i], NULL);
		answers += loads[i].answers;
		total += loads[i].bytes;
	}
	double took = (double)(now() - start) / 1e9;
	/* On a busy machine the processor time, client included, says more than the clock. */
	printf("%-34s %10.0f responses/s %8.0f MB/s %10.1f us of processor a response\n", name, (double)answers / took, (double)total / took / 1e6,
		(cpu_seconds() - cpu) * 1e6 / (double)answers);
	fflush(stdout);
}

static void measure_upgrade(uint16_t port)
{
	struct peer_options options = {.tls = true};
	struct peer peer = peer_connect(port, &options);
	struct answer a = {0};
	static char buf[65536];
	peer_say(&peer, "GET /upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: bytes\r\n\r\n");
	if (!peer_head(&peer, &a) || a.status != 101)
		abort();
	int64_t start = now(), until = start + (int64_t)(seconds * 1e9), total = 0;
	while (now() < until)
		total += peer_recv(&peer, buf, sizeof(buf));
	printf("%-34s %31.0f MB/s\n", "ours, upgraded", (double)total / ((double)(now() - start) / 1e9) / 1e6);
	peer_close(&peer);
}

static int64_t resident_kb(void)
{
	long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");
	if (!f || fscanf(f, "%*d %ld", &pages) != 1)
		abort();
	fclose(f);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* One event of 2 KB to all watchers: how long until each has it. The client's sessions live in this process too. */
static void measure_watch(uint16_t port)
{
	struct peer_options options = {.tls = true};
	struct peer *peers = calloc(WATCHERS, sizeof(*peers));
	struct pollfd *fds = calloc(WATCHERS, sizeof(*fds));
	double *waits = calloc((size_t)WATCHERS * EVENTS, sizeof(*waits));
	struct bytes *event = bytes_alloc(2048);
	memset(event->data, 'e', event->len);
	int64_t before = resident_kb();
	for (int i = 0; i < WATCHERS; i++) {
		struct answer a = {0};
		peers[i] = peer_connect(port, &options);
		peer_say(&peers[i], "GET /watch HTTP/1.1\r\nHost: x\r\n\r\n");
		if (!peer_head(&peers[i], &a))
			abort();
		fds[i] = (struct pollfd){.fd = peers[i].fd, .events = POLLIN};
	}
	int64_t each = (resident_kb() - before) / WATCHERS;
	size_t count = 0;
	for (int e = 0; e < EVENTS; e++) {
		int64_t start = now();
		for (int i = 0; i < WATCHERS; i++)
			http_stream_send(streams[i], event);
		for (int left = WATCHERS; left;) {
			poll(fds, WATCHERS, -1);
			for (int i = 0; i < WATCHERS; i++) {
				char buf[4096];
				if (!(fds[i].revents & POLLIN))
					continue;
				if (peer_recv(&peers[i], buf, sizeof(buf)) <= 0)
					abort();
				waits[count++] = (double)(now() - start) / 1e6;
				fds[i].fd = -1;
				left--;
			}
		}
		for (int i = 0; i < WATCHERS; i++)
			fds[i].fd = peers[i].fd;
	}
	qsort(waits, count, sizeof(*waits), compare);
	printf("%-34s %10.1f ms median %9.1f ms p99, %lld KB a watcher with its client\n", "ours, one event to 1000 watchers", waits[count / 2], waits[count * 99 / 100],
		(long long)each);
	for (int i = 0; i < WATCHERS; i++) {
		peer_close(&peers[i]);
		http_stream_unref(streams[i]);
	}
	bytes_unref(event);
	free(peers);
	free(fds);
	free(waits);
}

int main(int argc, char **argv)
{
	struct rlimit files;
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	if (argc > 1)
		seconds = atof(argv[1]);
	pki_make(&pki);
	memset(small_body, 's', sizeof(small_body));
	big_body = bytes_alloc(BIG);
	memset(big_body->data, 'b', BIG);
	char *cert = slurp(pki.cert), *key = slurp(pki.key);
	uint16_t port = 0;
	struct MHD_Daemon *bare = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_TLS | MHD_USE_TURBO, 0, NULL, NULL, bare_handler, NULL,
		MHD_OPTION_THREAD_POOL_SIZE, (unsigned)sysconf(_SC_NPROCESSORS_ONLN), MHD_OPTION_HTTPS_MEM_CERT, cert, MHD_OPTION_HTTPS_MEM_KEY, key, MHD_OPTION_END);
	if (!bare)
		abort();
	port = MHD_get_daemon_info(bare, MHD_DAEMON_INFO_BIND_PORT)->port;
	measure("libmicrohttpd, 1 KB", port, "/small", CONNECTIONS);
	measure("libmicrohttpd, 8 MB", port, "/big", 2);
	MHD_stop_daemon(bare);
	struct http_server_options options = HTTP_SERVER_OPTIONS_INIT;
	options.tls = true;
	options.cert_file = pki.cert;
	options.key_file = pki.key;
	options.handler = handler;
	struct http_server *server;
	autoerror struct error err = {0};
	if (http_server_start(&options, &server, &err) < 0) {
		fprintf(stderr, "%s\n", error_message(&err));
		return 1;
	}
	port = http_server_port(server);
	measure("ours, 1 KB", port, "/small", CONNECTIONS);
	measure("ours, 8 MB", port, "/big", 2);
	measure_upgrade(port);
	measure_watch(port);
	http_server_stop(server, 100);
	pki_remove(&pki);
	bytes_unref(big_body);
	free(cert);
	free(key);
	return 0;
}
