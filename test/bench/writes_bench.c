/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bare writes, as many at a time as there are connections: what any program that does them needs at least.
 *
 *	writes_bench KUBECONFIG CONNECTIONS COUNT [METHOD PATH CONTENT_TYPE BODY]...
 *
 * Sends COUNT times each request of the list, all of the first before the second begins. "{i}" in path and body is the number, "{n}" the number
 * modulo 1000. Prints the seconds of each request's round on a line of its own, and how many failed.
 */
#include "common/base/clock.h"
#include "common/client/client.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define MAX_CONNECTIONS 256
#define WORDS 4 /* of one request */

struct bench {
	struct client *client;
	char *const *words;
	int count;
	atomic_int next, failures;
	pthread_mutex_t lock;
	bool told;
};

static void fill(const char *template, int number, struct buf *out)
{
	for (const char *p = template; *p;) {
		if (str_starts_with(p, "{i}") || str_starts_with(p, "{n}")) {
			buf_append_int(out, p[1] == 'i' ? number : number % 1000);
			p += 3;
		} else {
			buf_append_char(out, *p++);
		}
	}
}

static void tell_once(struct bench *bench, const struct error *err)
{
	pthread_mutex_lock(&bench->lock);
	if (!bench->told)
		fprintf(stderr, "writes_bench: %s\n", error_message(err));
	bench->told = true;
	pthread_mutex_unlock(&bench->lock);
}

static void *work(void *arg)
{
	struct bench *bench = arg;
	autobuf struct buf path = BUF_INIT(1 << 16), body = BUF_INIT(1 << 20), answer = BUF_INIT(1 << 24);
	for (int number; (number = atomic_fetch_add(&bench->next, 1)) < bench->count;) {
		autoerror struct error err = {0};
		buf_reset(&path);
		buf_reset(&body);
		buf_reset(&answer);
		fill(bench->words[1], number, &path);
		fill(bench->words[3], number, &body);
		struct client_request request = {.method = bench->words[0], .path = path.data, .content_type = bench->words[2], .body = body.data, .body_len = body.len};
		if (client_do(bench->client, &request, &answer, NULL, &err)) {
			atomic_fetch_add(&bench->failures, 1);
			tell_once(bench, &err);
		}
	}
	return NULL;
}

int main(int argc, char **argv)
{
	struct client_config config = {0};
	struct error err = {0};
	struct bench bench = {.lock = PTHREAD_MUTEX_INITIALIZER};
	int64_t connections;
	int64_t count;
	if (argc < 8 || (argc - 4) % WORDS || !str_to_int64(argv[2], 1, MAX_CONNECTIONS, &connections) || !str_to_int64(argv[3], 1, INT32_MAX, &count)) {
		fprintf(stderr, "usage: writes_bench KUBECONFIG CONNECTIONS COUNT [METHOD PATH CONTENT_TYPE BODY]...\n");
		return 2;
	}
	if (client_config_load(argv[1], NULL, &config, &err) || client_new(&config, &bench.client, &err)) {
		fprintf(stderr, "writes_bench: %s\n", error_message(&err));
		return 1;
	}
	client_config_done(&config);
	bench.count = (int)count;
	for (int at = 4; at < argc; at += WORDS) {
		pthread_t threads[MAX_CONNECTIONS];
		int64_t begun = clock_monotonic_ns();
		bench.words = argv + at;
		bench.next = bench.failures = 0;
		for (int64_t i = 0; i < connections; i++)
			pthread_create(&threads[i], NULL, work, &bench);
		for (int64_t i = 0; i < connections; i++)
			pthread_join(threads[i], NULL);
		printf("%.3f %d\n", (double)(clock_monotonic_ns() - begun) / NSEC_PER_SEC, bench.failures);
		fflush(stdout);
	}
	client_free(bench.client);
	return 0;
}
