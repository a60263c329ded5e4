// lib: apiserver
/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the store costs over bare etcd. Starts an etcd of its own (or uses the URL given) and measures:
 *   raw puts through the gRPC client, the same through the store, the memory of an object in the cache, GETs, and snapshots under writes.
 *
 *	etcd_bench [objects] [in flight] [object size] [url]
 *	etcd_bench raw URL PREFIX COUNT [in flight] [object size]	only raw puts, below a prefix: prints "rate_per_second us_of_processor_each"
 */
#include "apiserver/etcd/client.h"
#include "apiserver/storage/store.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "test/support/etcd.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>

struct run {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	int free_places, left, failed;
};

static void run_init(struct run *run, int in_flight, int count)
{
	*run = (struct run){.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER, .free_places = in_flight, .left = count};
}

static void run_enter(struct run *run)
{
	pthread_mutex_lock(&run->lock);
	while (run->free_places == 0)
		pthread_cond_wait(&run->cond, &run->lock);
	run->free_places--;
	pthread_mutex_unlock(&run->lock);
}

static void run_done(struct run *run, bool failed)
{
	pthread_mutex_lock(&run->lock);
	run->free_places++;
	run->left--;
	run->failed += failed;
	pthread_cond_signal(&run->cond);
	pthread_mutex_unlock(&run->lock);
}

static void run_await(struct run *run)
{
	pthread_mutex_lock(&run->lock);
	while (run->left)
		pthread_cond_wait(&run->cond, &run->lock);
	pthread_mutex_unlock(&run->lock);
}

static double cpu_seconds(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static double resident_mb(void)
{
	unsigned long size = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (!f || fscanf(f, "%lu %lu", &size, &resident) != 2)
		resident = 0;
	if (f)
		fclose(f);
	return (double)resident * (double)sysconf(_SC_PAGESIZE) / 1e6;
}

static char *make_object(int i, size_t size)
{
	struct buf b = BUF_INIT(1 << 20);

	buf_printf(&b,
		"{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"pod-%07d\",\"namespace\":\"bench-%d\",\"uid\":\"%08x-2222-3333-4444-555555555555\",\"creationTimestamp\":"
		"\"2026-01-01T00:00:00Z\",\"labels\":{\"app\":\"web\",\"tier\":\"front\",\"pod-template-hash\":\"6d4cf56db6\"}},\"spec\":{\"nodeName\":\"node-%d\",\"containers\":[{\"name\":"
		"\"main\",\"image\":\"registry.example/app:v1\",\"resources\":{\"requests\":{\"cpu\":\"100m\"}}}],\"text\":\"",
		i, i % 100, (unsigned)i, i % 1000);
	while (b.len + 24 < size)
		buf_append_char(&b, 'x');
	buf_append_str(&b, "\"},\"status\":{}}");
	return buf_take(&b);
}

static void key_of(int i, char *out)
{
	snprintf(out, 64, "bench-%d/pod-%07d", i % 100, i);
}

/* What of a rate is not told in words. */
struct rate {
	double per_second, cpu_us;
};

static void report(const char *what, int count, double seconds, double cpu)
{
	printf("%-34s %8.0f /s   %5.1f us CPU each, %3.0f %% of a core\n", what, count / seconds, cpu * 1e6 / count, cpu / seconds * 100);
}

static void on_raw(int errnum, const char *text, const void *data, size_t len, void *arg)
{
	run_done(arg, errnum != 0);
}

static struct rate raw_rate(const char *const *endpoints, const char *prefix, int count, int in_flight, size_t size)
{
	struct etcd_client *client;
	struct run run;
	autoerror struct error err = {0};
	autofree char *value = make_object(1, size);

	if (etcd_client_new(&(struct etcd_client_options){.endpoints = endpoints}, &client, &err) < 0) {
		fprintf(stderr, "%s\n", error_message(&err));
		exit(1);
	}
	run_init(&run, in_flight, count);
	double cpu = cpu_seconds();
	int64_t start = clock_monotonic_ns();
	for (int i = 0; i < count; i++) {
		struct buf request = BUF_INIT(1 << 20);
		char key[96], name[64];
		key_of(i, name);
		snprintf(key, sizeof(key), "%s%s", prefix, name);
		etcd_message_begin(&request);
		etcd_write_txn(&request, &(struct etcd_txn){.key = ETCD_SLICE(key), .target = ETCD_COMPARE_MOD_REVISION, .then = ETCD_PUT, .otherwise = ETCD_GET, .value = ETCD_SLICE(value)});
		etcd_message_end(&request);
		run_enter(&run);
		if (etcd_call(client, &(struct etcd_call_options){.method = ETCD_TXN, .timeout_ms = 30000}, &request, on_raw, &run) < 0)
			run_done(&run, true);
	}
	run_await(&run);
	struct rate rate = {count / ((double)(clock_monotonic_ns() - start) / 1e9), (cpu_seconds() - cpu) * 1e6 / count};
	if (run.failed)
		printf("   %d failed\n", run.failed);
	etcd_client_free(client);
	return rate;
}

static void bench_raw(struct test_etcd *etcd, const char *what, const char *prefix, int count, int in_flight, size_t size)
{
	struct rate rate = raw_rate(etcd->endpoints, prefix, count, in_flight, size);
	report(what, count, count / rate.per_second, rate.cpu_us * count / 1e6);
}

/* etcd_bench raw URL PREFIX COUNT [in flight] [object size] */
static int only_raw(int argc, char **argv)
{
	if (argc < 5) {
		fprintf(stderr, "usage: etcd_bench raw URL PREFIX COUNT [in flight] [object size]\n");
		return 2;
	}
	struct rate rate = raw_rate((const char *const[]){argv[2], NULL}, argv[3], atoi(argv[4]), argc > 5 ? atoi(argv[5]) : 64, argc > 6 ? (size_t)atoi(argv[6]) : 1500);
	printf("%.1f %.1f\n", rate.per_second, rate.cpu_us);
	return 0;
}

static void on_put(int errnum, struct entry *entry, void *arg)
{
	run_done(arg, errnum != 0);
}

static void bench_puts(struct collection *pods, int count, int in_flight, size_t size)
{
	struct run run;

	run_init(&run, in_flight, count);
	double cpu = cpu_seconds();
	int64_t start = clock_monotonic_ns();
	for (int i = 0; i < count; i++) {
		char key[64];
		autofree char *value = make_object(i, size);
		key_of(i, key);
		run_enter(&run);
		collection_put(pods, key, value, strlen(value), 0, 0, on_put, &run);
	}
	run_await(&run);
	report("creates through the store", count, (double)(clock_monotonic_ns() - start) / 1e9, cpu_seconds() - cpu);
	if (run.failed)
		printf("   %d failed\n", run.failed);
}

static void bench_reads(struct collection *pods, int count)
{
	double cpu = cpu_seconds();
	int64_t start = clock_monotonic_ns();
	size_t bytes = 0;
	int gets = 500000;

	for (int i = 0; i < gets; i++) {
		char key[64];
		key_of((int)((unsigned)i * 7919u % (unsigned)count), key);
		entry_unref(collection_get(pods, key));
	}
	report("gets", gets, (double)(clock_monotonic_ns() - start) / 1e9, cpu_seconds() - cpu);
	cpu = cpu_seconds();
	start = clock_monotonic_ns();
	struct snapshot *snapshot = collection_snapshot(pods);
	for (size_t i = 0; i < snapshot->len; i++)
		bytes += snapshot_entry(snapshot, i)->json->len;
	printf("%-34s %8.2f ms for %zu objects, %.1f MB\n", "walk of a snapshot", (double)(clock_monotonic_ns() - start) / 1e6, snapshot->len, (double)bytes / 1e6);
	snapshot_unref(snapshot);
}

int main(int argc, char **argv)
{
	int count = argc > 1 ? atoi(argv[1]) : 100000, in_flight = argc > 2 ? atoi(argv[2]) : 64;
	size_t size = argc > 3 ? (size_t)atoi(argv[3]) : 1500;
	struct test_etcd etcd;
	struct store *store;
	autoerror struct error err = {0};
	double before, after;
	int64_t start;

	if (argc > 1 && str_equal(argv[1], "raw"))
		return only_raw(argc, argv);
	log_init(2, LOG_FORMAT_TEXT, 0);
	test_etcd_prepare(&etcd);
	if (argc > 4)
		etcd.endpoints[0] = argv[4];
	else
		test_etcd_launch(&etcd);
	bench_raw(&etcd, "raw transactions, cold", "/cold/", count / 5, in_flight, size);
	bench_raw(&etcd, "raw transactions", "/raw/", count / 2, in_flight, size);
	before = resident_mb();
	if (store_open(&(struct store_options){.endpoints = etcd.endpoints, .prefix = "/registry"}, 60000, &store, &err) < 0) {
		fprintf(stderr, "%s\n", error_message(&err));
		return 1;
	}
	struct collection *pods = store_collection(store, "pods", true, NULL, NULL);
	bench_raw(&etcd, "raw, watched by the store", "/registry/watched/", count / 2, in_flight, size);
	bench_puts(pods, count, in_flight, size);
	bench_reads(pods, count);
	store_close(store);
	malloc_trim(0);
	before = resident_mb();
	start = clock_monotonic_ns();
	if (store_open(&(struct store_options){.endpoints = etcd.endpoints, .prefix = "/registry"}, 60000, &store, &err) < 0) {
		fprintf(stderr, "%s\n", error_message(&err));
		return 1;
	}
	pods = store_collection(store, "pods", true, NULL, NULL);
	printf("%-34s %8.0f ms\n", "load of all", (double)(clock_monotonic_ns() - start) / 1e6);
	malloc_trim(0);
	after = resident_mb();
	/* Those that were written past the store lie in it too. */
	printf("%-34s %8.0f bytes (JSON %zu), resident %.1f MB\n", "memory of an object", (after - before) * 1e6 / (count + count / 2), size, after);
	store_close(store);
	test_etcd_stop(&etcd);
	return 0;
}
