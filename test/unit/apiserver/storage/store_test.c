/* SPDX-License-Identifier: Apache-2.0 */
#include "store_fixture.h"

#define PREFIX "/registry/"

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

static void test_writes(void **state)
{
	struct store *store = open_store(*state, 0);
	struct collection *pods = store_collection(store, "pods", true, NULL, NULL);
	struct entry *entry, *found;
	uint64_t first;
	char expected[512];
	autofree char *one = object("a", 1, 0), *two = object("a", 2, 0);

	assert_true(store_healthy(store, NULL));
	assert_int_equal(put(pods, "default/a", one, 0, &entry), 0);
	first = entry->resource_version;
	assert_string_equal(entry->key, "default/a");
	assert_string_equal(entry->ns, "default");
	assert_string_equal(entry->name, "a");
	assert_string_equal(entry->uid, "11111111-2222-3333-4444-555555555555");
	assert_int_equal(entry->labels.len, 2);
	assert_string_equal(entry->labels.items[0].key, "app");
	assert_string_equal(entry->labels.items[1].value, "front");
	assert_int_equal(entry->fields.len, 2);
	assert_string_equal(entry->fields.items[1].key, "metadata.namespace");
	assert_string_equal(entry->fields.items[1].value, "default");
	snprintf(expected, sizeof(expected),
		"{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"a\",\"namespace\":\"default\",\"uid\":\"11111111-2222-3333-4444-555555555555\",\"resourceVersion\":\"%llu\","
		"\"generation\":1,\"labels\":{\"app\":\"web\",\"tier\":\"front\"}},\"spec\":{\"text\":\"\"}}",
		(unsigned long long)first);
	assert_string_equal(entry->json->data, expected);
	/* The writer reads its write. */
	found = collection_get(pods, "default/a");
	assert_ptr_equal(found, entry);
	entry_unref(found);
	entry_unref(entry);

	assert_int_equal(put(pods, "default/a", one, 0, &entry), -EEXIST);
	assert_int_equal(entry->resource_version, first);
	entry_unref(entry);
	assert_int_equal(put(pods, "default/a", two, first + 7, &entry), -EAGAIN);
	assert_int_equal(entry->resource_version, first);
	entry_unref(entry);
	assert_int_equal(put(pods, "default/b", two, first, &entry), -EAGAIN);
	assert_null(entry);
	assert_int_equal(put(pods, "default/a", two, first, &entry), 0);
	assert_true(entry->resource_version > first);
	assert_int_equal(entry->create_revision, first);

	assert_int_equal(del(pods, "default/a", first, &found), -EAGAIN);
	entry_unref(found);
	first = entry->resource_version;
	entry_unref(entry);
	assert_int_equal(del(pods, "default/a", first, &entry), 0);
	assert_true(entry->resource_version > first);
	assert_non_null(strstr(entry->json->data, "\"generation\":2"));
	entry_unref(entry);
	assert_null(collection_get(pods, "default/a"));
	assert_int_equal(del(pods, "default/a", 0, NULL), -ENOENT);
	assert_int_equal(put(pods, "default/a", one, 0, NULL), 0);
	assert_int_equal(del(pods, "default/a", 0, &entry), 0);
	entry_unref(entry);
	assert_int_equal(put(pods, "no-namespace", one, 0, NULL), -EINVAL);

	autofree char *huge = xcalloc(1, (3 << 20) + 1);
	memset(huge, ' ', 3 << 20);
	huge[0] = '{';
	assert_int_equal(put(pods, "default/huge", huge, 0, NULL), -EFBIG);
	assert_true(store_healthy(store, NULL));
	store_close(store);
}

/* What others wrote before we came, and what is no object of ours. */
static void test_first_load(void **state)
{
	struct test_etcd *etcd = *state;
	struct store *store;
	struct collection *pods, *endpoints;
	struct snapshot *snapshot;
	size_t first, end;

	test_etcdctl_run(etcd, "put", PREFIX "pods/kube-system/one", "{\"metadata\":{\"name\":\"one\"}}\n");
	test_etcdctl_run(etcd, "put", PREFIX "pods/default/two", "{\"metadata\":{}}");
	test_etcdctl_run(etcd, "put", PREFIX "pods/default/proto", "k8s\x01rest");
	test_etcdctl_run(etcd, "put", PREFIX "pods/default/broken", "{\"metadata\":{\"name\":\"x}");
	test_etcdctl_run(etcd, "put", PREFIX "pods/strange", "{\"metadata\":{}}");
	test_etcdctl_run(etcd, "put", PREFIX "services/endpoints/default/e", "{\"metadata\":{\"resourceVersion\":\"\"}}");
	test_etcdctl_run(etcd, "put", "/elsewhere/x", "y");
	store = open_store(etcd, 0);
	pods = store_collection(store, "pods", true, NULL, NULL);
	assert_ptr_equal(pods, store_collection(store, "pods", true, NULL, NULL));
	endpoints = store_collection(store, "services/endpoints", true, NULL, NULL);
	snapshot = collection_snapshot(pods);
	assert_int_equal(snapshot->len, 2);
	assert_string_equal(snapshot_entry(snapshot, 0)->key, "default/two");
	assert_string_equal(snapshot_entry(snapshot, 1)->key, "kube-system/one");
	assert_non_null(strstr(snapshot_entry(snapshot, 0)->json->data, "{\"metadata\":{\"resourceVersion\":\""));
	snapshot_range(snapshot, "kube-system/", &first, &end);
	assert_int_equal(first, 1);
	assert_int_equal(end, 2);
	snapshot_range(snapshot, "kube/", &first, &end);
	assert_int_equal(first, end);
	snapshot_unref(snapshot);
	snapshot = collection_snapshot(endpoints);
	assert_int_equal(snapshot->len, 1);
	snapshot_unref(snapshot);

	/* Consistent, though the writes were others', and outside. */
	test_etcdctl_run(etcd, "put", PREFIX "pods/default/three", "{\"metadata\":{}}");
	test_etcdctl_run(etcd, "put", "/elsewhere/x", "z");
	assert_int_equal(await_fresh(store, 0, 5000), 0);
	snapshot = collection_snapshot(pods);
	assert_int_equal(snapshot->len, 3);
	snapshot_unref(snapshot);
	assert_int_equal(await_fresh(store, store_revision(store) + 1000, 100), -ETIMEDOUT);
	/* One that stops being JSON is gone. */
	test_etcdctl_run(etcd, "put", PREFIX "pods/default/three", "k8s");
	assert_int_equal(await_fresh(store, 0, 5000), 0);
	assert_null(collection_get(pods, "default/three"));
	store_close(store);
}

static void test_watch(void **state)
{
	struct store *store = open_store(*state, 16);
	struct collection *pods = store_collection(store, "pods", true, NULL, NULL);
	struct seen all = SEEN_INIT, later = SEEN_INIT;
	struct store_watch *watch, *second;
	struct entry *entry;
	uint64_t start = store_revision(store), middle;
	struct snapshot *now, *old;

	assert_int_equal(collection_watch(pods, start, see, &all, &watch), 0);
	assert_int_equal(put(pods, "default/a", "{\"metadata\":{}}", 0, &entry), 0);
	middle = entry->resource_version;
	assert_int_equal(put(pods, "default/a", "{\"metadata\":{},\"x\":1}", middle, NULL), 0);
	entry_unref(entry);
	assert_int_equal(put(pods, "default/b", "{\"metadata\":{}}", 0, NULL), 0);
	assert_int_equal(del(pods, "default/a", 0, NULL), 0);
	seen_await(&all, 4);
	assert_int_equal(all.events[0].type, STORE_ADDED);
	assert_false(all.events[0].has_previous);
	assert_int_equal(all.events[1].type, STORE_MODIFIED);
	assert_true(all.events[1].has_previous);
	assert_int_equal(all.events[2].type, STORE_ADDED);
	assert_int_equal(all.events[3].type, STORE_DELETED);
	assert_false(all.disordered);

	/* Resume in the middle: the rest from history. */
	assert_int_equal(collection_watch(pods, middle, see, &later, &second), 0);
	assert_int_equal(later.len, 3);
	assert_int_equal(later.events[0].revision, all.events[1].revision);
	assert_int_equal(store_watch_revision(second), store_revision(store));

	now = collection_snapshot(pods);
	assert_int_equal(now->len, 1);
	assert_int_equal(collection_snapshot_at(pods, middle, &old), 0);
	assert_int_equal(old->len, 1);
	assert_string_equal(snapshot_entry(old, 0)->key, "default/a");
	assert_int_equal(snapshot_entry(old, 0)->resource_version, middle);
	snapshot_unref(old);
	assert_int_equal(collection_snapshot_at(pods, all.events[2].revision, &old), 0);
	assert_int_equal(old->len, 2);
	snapshot_unref(old);
	assert_int_equal(collection_snapshot_at(pods, start, &old), 0);
	assert_int_equal(old->len, 0);
	snapshot_unref(old);
	assert_int_equal(collection_snapshot_at(pods, store_revision(store) + 5, &old), -EAGAIN);
	snapshot_unref(now);

	/* The history holds 16 events. */
	for (int i = 0; i < 20; i++) {
		char key[32];
		snprintf(key, sizeof(key), "default/n%d", i);
		assert_int_equal(put(pods, key, "{\"metadata\":{}}", 0, NULL), 0);
	}
	seen_await(&all, 24);
	seen_await(&later, 23);
	assert_false(all.disordered || later.disordered);
	store_watch_cancel(second);
	second = NULL;
	assert_int_equal(collection_watch(pods, middle, see, &later, &second), -ESTALE);
	assert_int_equal(collection_snapshot_at(pods, middle, &old), -ESTALE);
	store_watch_cancel(watch);
	assert_int_equal(put(pods, "default/last", "{\"metadata\":{}}", 0, NULL), 0);
	assert_int_equal(all.len, 24);
	store_close(store);
	free(all.events);
	free(later.events);
}

/* Clients that follow are told that it is over, and nothing after that; whoever follows within the server goes on. */
static void test_end_of_watches(void **state)
{
	struct store *store = open_store(*state, 16);
	struct collection *pods = store_collection(store, "pods", true, NULL, NULL), *others = store_collection(store, "others", true, NULL, NULL);
	struct seen exact = SEEN_INIT, inner = SEEN_INIT, other = SEEN_INIT, again = SEEN_INIT;
	struct store_watch *watches[4];

	assert_int_equal(collection_watch_exact(pods, 0, see, &exact, &watches[0]), 0);
	assert_int_equal(collection_watch(pods, 0, see, &inner, &watches[1]), 0);
	assert_int_equal(collection_watch_exact(others, 0, see, &other, &watches[2]), 0);
	assert_int_equal(put(pods, "default/a", "{\"metadata\":{}}", 0, NULL), 0);
	seen_await(&exact, 1);
	collection_end_watches(pods);
	assert_int_equal(exact.len, 2);
	assert_int_equal(exact.events[1].type, STORE_END);
	assert_int_equal(collection_watch_exact(pods, exact.events[0].revision, see, &again, &watches[3]), 0);
	assert_int_equal(put(pods, "default/b", "{\"metadata\":{}}", 0, NULL), 0);
	seen_await(&inner, 2);
	seen_await(&again, 1);
	collection_end_watches(pods);
	assert_int_equal(exact.len, 2);
	assert_int_equal(inner.len, 2);
	assert_int_equal(again.len, 2);
	assert_int_equal(other.len, 0);
	for (size_t i = 0; i < array_len(watches); i++)
		store_watch_cancel(watches[i]);
	free(exact.events);
	free(inner.events);
	free(again.events);
	store_close(store);
}

static void test_lease(void **state)
{
	struct test_etcd *etcd = *state;
	struct store *store = open_store(etcd, 0);
	struct collection *events = store_collection(store, "events", true, NULL, NULL);
	struct seen seen = SEEN_INIT;
	struct store_watch *watch;
	struct buf out = BUF_INIT(65536);
	struct answer answers[30];

	assert_int_equal(collection_watch(events, 0, see, &seen, &watch), 0);
	for (int i = 0; i < 30; i++) {
		char key[32];
		answers[i] = (struct answer)ANSWER_INIT;
		snprintf(key, sizeof(key), "default/e%d", i);
		collection_put(events, key, "{\"metadata\":{}}", 15, 0, i < 20 ? 3600 : 1, answer_done, &answers[i]);
	}
	for (int i = 0; i < 30; i++)
		assert_int_equal(answer_await(&answers[i], NULL), 0);
	/* Twenty share one. The ten others share one too, or few. */
	test_etcdctl(etcd, (const char *const[]){"lease", "list", NULL}, &out);
	size_t lines = 0;
	for (const char *p = out.data; (p = strchr(p, '\n')); p++)
		lines++;
	assert_in_range(lines, 3, 6);
	buf_done(&out);
	seen_await(&seen, 40); /* those of one second go by themselves */
	assert_int_equal(seen.events[39].type, STORE_DELETED);
	store_watch_cancel(watch);
	store_close(store);
	free(seen.events);
}

/* A write that other objects must still stand for. */
static int put_guarded(struct collection *c, const char *key, const char *value, uint64_t expected, const struct store_guard *guards, size_t count, struct entry **ret)
{
	struct answer answer = ANSWER_INIT;

	collection_put_guarded(c, key, value, strlen(value), expected, guards, count, 0, answer_done, &answer);
	return answer_await(&answer, ret);
}

static void test_guards(void **state)
{
	struct store *store = open_store(*state, 0);
	struct collection *pods = store_collection(store, "pods", true, NULL, NULL);
	struct collection *claims = store_collection(store, "claims", false, NULL, NULL);
	autofree char *one = object("a", 1, 300), *two = object("a", 2, 300);
	struct entry *claim, *other, *stored, *now, *changed;

	assert_int_equal(put(claims, "x", one, 0, &claim), 0);
	assert_int_equal(put(claims, "y", one, 0, &other), 0);
	struct store_guard guards[] = {{claims, "x", claim->resource_version}, {claims, "y", other->resource_version}};
	assert_int_equal(put_guarded(pods, "default/a", one, 0, guards, 2, &stored), 0);
	assert_int_equal(put_guarded(pods, "default/a", one, 0, guards, 2, NULL), -EEXIST);
	assert_int_equal(put_guarded(pods, "default/a", two, stored->resource_version + 1, guards, 2, NULL), -EAGAIN);
	/* Somebody else has what the second claim stood for. */
	assert_int_equal(put(claims, "y", two, other->resource_version, &changed), 0);
	assert_int_equal(put_guarded(pods, "default/b", one, 0, guards, 2, NULL), -ESTALE);
	assert_int_equal(put_guarded(pods, "default/a", two, stored->resource_version, guards, 2, &now), -ESTALE);
	assert_true(now && now->resource_version == stored->resource_version);
	assert_null(collection_get(pods, "default/b"));
	guards[1].revision = changed->resource_version;
	assert_int_equal(put_guarded(pods, "default/b", one, 0, guards, 2, NULL), 0);
	assert_int_equal(del(claims, "x", 0, NULL), 0);
	assert_int_equal(put_guarded(pods, "default/c", one, 0, guards, 2, NULL), -ESTALE);
	struct entry *entries[] = {claim, other, stored, now, changed};
	for (size_t i = 0; i < array_len(entries); i++)
		entry_unref(entries[i]);
	store_close(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_writes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_first_load, setup, teardown),
		cmocka_unit_test_setup_teardown(test_watch, setup, teardown),
		cmocka_unit_test_setup_teardown(test_end_of_watches, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lease, setup, teardown),
		cmocka_unit_test_setup_teardown(test_guards, setup, teardown),
	};

	log_init(2, LOG_FORMAT_TEXT, getenv("V") ? atoi(getenv("V")) : 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
