/* SPDX-License-Identifier: Apache-2.0 */
/* What goes wrong: etcd killed, stopped, compacted; many writers on few keys; watches coming and going meanwhile. */
#include "store_fixture.h"

#define PREFIX "/registry/"
#define EMPTY "{\"metadata\":{}}"

static int setup(void **state)
{
	struct test_etcd *etcd = xnew(struct test_etcd);

	test_etcd_start(etcd);
	*state = etcd;
	return 0;
}

static int teardown(void **state)
{
	test_etcd_stop(*state);
	free(*state);
	return 0;
}

static void await_unhealthy(struct store *store)
{
	for (int i = 0; i < 1000 && store_healthy(store, NULL); i++)
		usleep(10000);
	assert_false(store_healthy(store, NULL));
}

static void test_restart(void **state)
{
	struct test_etcd *etcd = *state;
	struct store *store = open_store(etcd, 0);
	struct collection *pods = store_collection(store, "pods", true, NULL, NULL);
	struct seen seen = SEEN_INIT;
	struct store_watch *watch;
	struct answer answer = ANSWER_INIT;

	assert_int_equal(collection_watch(pods, 0, see, &seen, &watch), 0);
	assert_int_equal(put(pods, "default/a", EMPTY, 0, NULL), 0);
	for (int round = 0; round < 3; round++) {
		char key[32];
		snprintf(key, sizeof(key), "default/r%d", round);
		test_etcd_kill(etcd);
		await_unhealthy(store);
		/* Reads go on; a consistent one cannot; a write waits for the connection. */
		struct entry *entry = collection_get(pods, "default/a");
		assert_non_null(entry);
		entry_unref(entry);
		assert_true(await_fresh(store, 0, 100) < 0);
		answer = (struct answer)ANSWER_INIT;
		collection_put(pods, key, EMPTY, strlen(EMPTY), 0, 0, answer_done, &answer);
		test_etcd_launch(etcd);
		assert_int_equal(answer_await(&answer, NULL), 0);
		assert_int_equal(await_fresh(store, 0, 10000), 0);
		assert_true(store_healthy(store, NULL));
	}
	seen_await(&seen, 4);
	assert_false(seen.disordered);
	assert_string_equal(seen.events[3].key, "default/r2");
	store_watch_cancel(watch);
	store_close(store);
	free(seen.events);
}

static void test_pause(void **state)
{
	struct test_etcd *etcd = *state;
	struct store *store = open_store(etcd, 0);
	struct collection *pods = store_collection(store, "pods", true, NULL, NULL);
	struct answer answer = ANSWER_INIT;

	test_etcd_pause(etcd);
	assert_int_equal(await_fresh(store, 0, 200), -ETIMEDOUT);
	collection_put(pods, "default/a", EMPTY, strlen(EMPTY), 0, 0, answer_done, &answer);
	await_unhealthy(store);
	test_etcd_resume(etcd);
	assert_int_equal(answer_await(&answer, NULL), 0);
	assert_int_equal(await_fresh(store, 0, 10000), 0);
	assert_true(store_healthy(store, NULL));
	/* Closing while etcd hangs ends what waits. */
	test_etcd_pause(etcd);
	answer = (struct answer)ANSWER_INIT;
	collection_put(pods, "default/b", EMPTY, strlen(EMPTY), 0, 0, answer_done, &answer);
	struct answer waiting = ANSWER_INIT;
	store_wait(store, 0, 60000, answer_waited, &waiting);
	usleep(50000);
	store_close(store);
	assert_int_equal(answer_await(&answer, NULL), -EIO);
	assert_int_equal(answer_await(&waiting, NULL), -EIO);
}

/* Changes etcd where the store cannot see it, and compacts them away. */
static void change_unseen(struct test_etcd *etcd, char *ret_revision)
{
	char url[64];
	struct buf out = BUF_INIT(65536);

	test_etcd_kill(etcd);
	memcpy(url, etcd->url, sizeof(url));
	snprintf(etcd->url, sizeof(etcd->url), "http://127.0.0.1:%d", test_free_port());
	etcd->client_port = atoi(strrchr(etcd->url, ':') + 1);
	test_etcd_launch(etcd);
	test_etcdctl_run(etcd, "del", PREFIX "pods/default/deleted");
	test_etcdctl_run(etcd, "put", PREFIX "pods/default/changed", "{\"metadata\":{},\"v\":2}");
	test_etcdctl_run(etcd, "del", PREFIX "pods/default/replaced");
	test_etcdctl_run(etcd, "put", PREFIX "pods/default/replaced", "{\"metadata\":{},\"v\":3}");
	test_etcdctl_run(etcd, "put", PREFIX "pods/default/added", EMPTY);
	test_etcdctl_run(etcd, "del", PREFIX "pods/default/deleted2");
	test_etcdctl(etcd, (const char *const[]){"put", PREFIX "pods/default/zz", EMPTY, "-w", "json", NULL}, &out);
	const char *revision = strstr(out.data, "\"revision\":");
	assert_non_null(revision);
	snprintf(ret_revision, 32, "%d", atoi(revision + 11));
	test_etcdctl_run(etcd, "compaction", ret_revision);
	test_etcd_kill(etcd);
	memcpy(etcd->url, url, sizeof(url));
	etcd->client_port = atoi(strrchr(etcd->url, ':') + 1);
	test_etcd_launch(etcd);
	buf_done(&out);
}

/* What an exact watch got: how many events, and whether a gap was the last. */
struct exact {
	size_t len;
	bool gap;
};

static void see_exact(const struct store_event *event, void *arg)
{
	struct exact *exact = arg;

	if (event->type == STORE_BOOKMARK)
		return;
	assert_false(exact->gap);
	exact->gap = event->type == STORE_GAP;
	exact->len++;
}

static void test_compaction(void **state)
{
	struct test_etcd *etcd = *state;
	static const char *const keys[] = {"default/kept", "default/deleted", "default/changed", "default/replaced", "default/deleted2"};
	static const struct {
		enum store_event_type type;
		const char *key;
	} expected[] = {
		{STORE_DELETED, "default/replaced"},
		{STORE_MODIFIED, "default/changed"},
		{STORE_DELETED, "default/deleted"},
		{STORE_ADDED, "default/replaced"},
		{STORE_ADDED, "default/added"},
		{STORE_DELETED, "default/deleted2"},
		{STORE_ADDED, "default/zz"},
	};
	struct store *store = open_store(etcd, 0);
	struct collection *pods = store_collection(store, "pods", true, NULL, NULL);
	struct seen seen = SEEN_INIT;
	struct store_watch *watch, *late;
	struct snapshot *snapshot;
	char revision[32];
	bool found[array_len(expected)] = {0};
	uint64_t before;

	for (size_t i = 0; i < array_len(keys); i++)
		assert_int_equal(put(pods, keys[i], EMPTY, 0, NULL), 0);
	before = store_revision(store);
	struct exact exact = {0}, after = {0};
	struct store_watch *exact_watch, *after_watch, *none;
	assert_int_equal(collection_watch(pods, 0, see, &seen, &watch), 0);
	assert_int_equal(collection_watch_exact(pods, 0, see_exact, &exact, &exact_watch), 0);
	change_unseen(etcd, revision);
	seen_await(&seen, array_len(expected));
	assert_int_equal(await_fresh(store, 0, 10000), 0);
	assert_false(seen.disordered);
	assert_int_equal(seen.len, array_len(expected));
	/* Deletions may stand anywhere that could have been; the rest where it was. */
	for (size_t i = 0; i < seen.len; i++) {
		for (size_t j = 0; j < array_len(expected); j++)
			found[j] = found[j] || (seen.events[i].type == expected[j].type && strcmp(seen.events[i].key, expected[j].key) == 0);
		assert_true(seen.events[i].revision > before && seen.events[i].revision <= (uint64_t)atoi(revision));
	}
	for (size_t j = 0; j < array_len(expected); j++)
		assert_true(found[j]);
	/* Who must see each state is told that he cannot. */
	assert_true(exact.gap);
	assert_int_equal(exact.len, 1);
	assert_int_equal(collection_watch_exact(pods, before, see_exact, &after, &none), -ESTALE);
	assert_int_equal(collection_watch_exact(pods, (uint64_t)atoi(revision), see_exact, &after, &after_watch), 0);
	assert_int_equal(collection_snapshot_at(pods, before + 1, &snapshot), -ESTALE);
	/* A late comer gets the same from history. */
	struct seen again = SEEN_INIT;
	assert_int_equal(collection_watch(pods, before, see, &again, &late), 0);
	assert_int_equal(again.len, seen.len);
	for (size_t i = 0; i < seen.len; i++)
		assert_int_equal(again.events[i].revision, seen.events[i].revision);
	snapshot = collection_snapshot(pods);
	assert_int_equal(snapshot->len, 5);
	snapshot_unref(snapshot);
	assert_int_equal(collection_snapshot_at(pods, before, &snapshot), 0);
	assert_int_equal(snapshot->len, 5);
	assert_string_equal(snapshot_entry(snapshot, 1)->key, "default/deleted");
	snapshot_unref(snapshot);
	assert_int_equal(put(pods, "default/after", EMPTY, 0, NULL), 0);
	seen_await(&seen, array_len(expected) + 1);
	assert_int_equal(exact.len, 1);
	assert_int_equal(after.len, 1);
	assert_false(after.gap);
	store_watch_cancel(exact_watch);
	store_watch_cancel(after_watch);
	store_watch_cancel(watch);
	store_watch_cancel(late);
	store_close(store);
	free(seen.events);
	free(again.events);
}

/* The job itself: two stores share the work, and one's compaction hurts nobody. */
static void test_compaction_job(void **state)
{
	struct test_etcd *etcd = *state;
	struct store *stores[2];
	struct collection *pods;
	struct buf out = BUF_INIT(65536);
	int64_t until = clock_monotonic_ns() + 20 * NSEC_PER_SEC;

	for (int i = 0; i < 2; i++)
		assert_int_equal(store_open(&(struct store_options){.endpoints = etcd->endpoints, .prefix = "/registry", .compaction_interval_ns = 300 * NSEC_PER_MSEC}, 10000, &stores[i], NULL), 0);
	pods = store_collection(stores[0], "pods", true, NULL, NULL);
	/* By the object's own version: the compactor's writes move the store's revision too. */
	uint64_t version = 0;
	for (int i = 0; i < 50; i++) {
		struct entry *entry;
		assert_int_equal(put(pods, "default/a", EMPTY, version, &entry), 0);
		version = entry->resource_version;
		entry_unref(entry);
	}
	/* Revision 2 is gone some intervals later. */
	for (bool gone = false; !gone;) {
		const char *argv[] = {"etcdctl", "--endpoints", etcd->url, "get", "--rev=2", "/registry/pods/default/a", NULL};
		struct buf errors = BUF_INIT(65536);
		struct process_options options = PROCESS_OPTIONS_INIT;
		int exit_code = 0;
		assert_true(clock_monotonic_ns() < until);
		usleep(100000);
		setenv("ETCDCTL_API", "3", 1);
		options.argv = argv;
		buf_reset(&out);
		(void)process_run(&options, NULL, 0, &out, &errors, 10000, &exit_code, NULL);
		gone = exit_code != 0 && errors.data && strstr(errors.data, "compacted");
		buf_done(&errors);
	}
	for (int i = 0; i < 2; i++) {
		assert_int_equal(await_fresh(stores[i], 0, 10000), 0);
		assert_true(store_healthy(stores[i], NULL));
		store_close(stores[i]);
	}
	buf_done(&out);
}

/* ---- many writers ---- */

#define WRITERS 6
#define ROUNDS 60
#define KEYS 3

struct writer {
	struct store *store;
	struct collection *collection;
	pthread_t thread;
	unsigned seed;
};

static void *increment(void *arg)
{
	struct writer *writer = arg;

	for (int i = 0; i < ROUNDS; i++) {
		char key[32], value[128];
		struct entry *entry;
		int r;
		snprintf(key, sizeof(key), "default/k%d", rand_r(&writer->seed) % KEYS);
		entry = collection_get(writer->collection, key);
		do {
			const char *text = entry ? strstr(entry->json->data, "\"count\":") : NULL;
			uint64_t revision = entry ? entry->resource_version : 0;
			snprintf(value, sizeof(value), "{\"metadata\":{},\"count\":%d}", text ? atoi(text + 8) + 1 : 1);
			entry_unref(entry);
			r = put(writer->collection, key, value, revision, &entry);
		} while (r == -EAGAIN || r == -EEXIST);
		assert_int_equal(r, 0);
		/* It reads its write, or something newer. */
		struct entry *now = collection_get(writer->collection, key);
		assert_true(now->resource_version >= entry->resource_version);
		assert_true(store_revision(writer->store) >= entry->resource_version);
		entry_unref(now);
		entry_unref(entry);
		struct snapshot *snapshot = collection_snapshot(writer->collection);
		for (size_t j = 0; j < snapshot->len; j++)
			assert_true(snapshot_entry(snapshot, j)->resource_version <= snapshot->revision);
		snapshot_unref(snapshot);
	}
	return NULL;
}

/* Begins watches where the last one ended, for ever: nothing may be missed or come twice. */
static void *come_and_go(void *arg)
{
	struct writer *writer = arg;
	uint64_t position = writer->seed;
	struct seen seen = SEEN_INIT;

	seen.last = position;
	while (seen.len < WRITERS * ROUNDS) {
		struct store_watch *watch;
		assert_int_equal(collection_watch(writer->collection, seen.last, see, &seen, &watch), 0);
		usleep(1000);
		store_watch_cancel(watch);
	}
	assert_false(seen.disordered);
	assert_int_equal(seen.len, WRITERS * ROUNDS);
	free(seen.events);
	return NULL;
}

static void test_writers(void **state)
{
	struct store *store = open_store(*state, 0);
	struct collection *c = store_collection(store, "pods", true, NULL, NULL);
	struct writer writers[WRITERS], watcher = {.store = store, .collection = c, .seed = (unsigned)store_revision(store)};
	int sum = 0;

	pthread_create(&watcher.thread, NULL, come_and_go, &watcher);
	for (unsigned i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer){.store = store, .collection = c, .seed = i};
		pthread_create(&writers[i].thread, NULL, increment, &writers[i]);
	}
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(writers[i].thread, NULL);
	pthread_join(watcher.thread, NULL);
	struct snapshot *snapshot = collection_snapshot(c);
	for (size_t i = 0; i < snapshot->len; i++)
		sum += atoi(strstr(snapshot_entry(snapshot, i)->json->data, "\"count\":") + 8);
	snapshot_unref(snapshot);
	assert_int_equal(sum, WRITERS * ROUNDS);
	store_close(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_restart, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pause, setup, teardown),
		cmocka_unit_test_setup_teardown(test_compaction, setup, teardown),
		cmocka_unit_test_setup_teardown(test_compaction_job, setup, teardown),
		cmocka_unit_test_setup_teardown(test_writers, setup, teardown),
	};

	log_init(2, LOG_FORMAT_TEXT, getenv("V") ? atoi(getenv("V")) : 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
