/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/clock.h"
#include "common/client/informer_store.h"

#include "api/core_v1.h"

#include <stdio.h>

#define PODS 300

static struct core_v1_pod *pod_of(int number, int node, int version)
{
	struct core_v1_pod *pod = api_new_of(core_v1_pod);
	struct arena *arena = api_arena(pod);
	pod->metadata.namespace = arena_printf(arena, "ns%d", number % 5);
	pod->metadata.name = arena_printf(arena, "pod-%d", number);
	pod->metadata.resource_version = arena_printf(arena, "%d", version);
	pod->metadata.creation_timestamp = api_time_now();
	pod->spec.node_name = arena_printf(arena, "node-%d", node);
	((struct core_v1_container *)api_list_add(arena, &pod->spec.containers))->name = "c";
	pod->status.phase = "Running";
	return pod;
}

static size_t count_of(struct informer_store *store, const char *index, const char *value)
{
	struct informer_list list = INFORMER_LIST_INIT;
	informer_store_list(store, index, value, &list);
	size_t count = list.len;
	informer_list_done(&list);
	return count;
}

/* Both kinds of store against a plain table, through many changes; the packed one is told to let go in between. */
static void stores_hold_what_was_put(void **state)
{
	clock_set_test((struct wall_time){1800000000, 0});
	for (int packed = 0; packed < 2; packed++) {
		struct informer_store store;
		int nodes[PODS], versions[PODS];
		uint64_t random = 88172645463325252ULL;
		memset(nodes, -1, sizeof(nodes));
		informer_store_init(&store, packed ? &core_v1_pod_type : NULL);
		informer_store_add_index(&store, "node", informer_index_pod_node);
		for (int step = 1; step < 5000; step++) {
			random ^= random << 13, random ^= random >> 7, random ^= random << 17;
			int i = (int)(random % PODS), node = (int)((random >> 32) % 7);
			char key[32];
			snprintf(key, sizeof(key), "ns%d/pod-%d", i % 5, i);
			autounref struct core_v1_pod *old = NULL;
			bool there = nodes[i] >= 0;
			if (there && step % 3 == 0) {
				old = informer_store_remove(&store, key);
				nodes[i] = -1;
			} else {
				old = informer_store_put(&store, pod_of(i, node, step));
				nodes[i] = node;
			}
			assert_int_equal(old != NULL, there);
			if (old)
				assert_int_equal(strtol(old->metadata.resource_version, NULL, 10), versions[i]);
			versions[i] = step;
			autounref struct core_v1_pod *got = informer_store_get(&store, key);
			assert_int_equal(got != NULL, nodes[i] >= 0);
			if (got) {
				assert_string_equal(got->kind, "Pod");
				assert_string_equal(got->api_version, "v1");
				assert_string_equal(got->status.phase, "Running");
				assert_string_equal(got->spec.containers.items[0].name, "c");
			}
			if (step % 500)
				continue;
			clock_advance_test(20 * NSEC_PER_SEC);
			informer_store_tidy(&store);
			assert_int_equal(informer_store_unpacked(&store), packed ? 0 : informer_store_count(&store));
			size_t total = 0;
			for (int n = 0; n < 7; n++) {
				char value[24];
				size_t expected = 0;
				snprintf(value, sizeof(value), "node-%d", n);
				for (int p = 0; p < PODS; p++)
					expected += nodes[p] == n;
				assert_int_equal(count_of(&store, "node", value), expected);
				total += expected;
			}
			assert_int_equal(count_of(&store, NULL, NULL), total);
			assert_int_equal(informer_store_count(&store), total);
		}
		informer_store_done(&store);
	}
}

static void what_is_asked_for_stays_unpacked(void **state)
{
	clock_set_test((struct wall_time){1800000000, 0});
	struct informer_store store;
	informer_store_init(&store, &core_v1_pod_type);
	for (int i = 0; i < 10; i++)
		api_unref(informer_store_put(&store, pod_of(i, 0, 1)));
	for (int i = 0; i < 4; i++) {
		clock_advance_test(6 * NSEC_PER_SEC);
		autounref void *first = informer_store_get(&store, "ns0/pod-0"), *again = informer_store_get(&store, "ns0/pod-0");
		assert_ptr_equal(first, again);
		informer_store_tidy(&store);
	}
	assert_int_equal(informer_store_unpacked(&store), 1);
	informer_store_pack(&store);
	assert_int_equal(informer_store_unpacked(&store), 0);
	assert_int_equal(informer_store_count(&store), 10);
	informer_store_done(&store);
}

/* What replaces everything: what it lacks goes, what is new or changed is told, what is the same is not. */
static void batches_replace_everything(void **state)
{
	for (int packed = 0; packed < 2; packed++) {
		struct informer_store store;
		informer_store_init(&store, packed ? &core_v1_pod_type : NULL);
		informer_store_add_index(&store, "node", informer_index_pod_node);
		for (int i = 0; i < 200; i++)
			api_unref(informer_store_put(&store, pod_of(i, 0, 1)));
		struct informer_batch batch;
		void *old, *object;
		informer_batch_init(&batch, &store);
		for (int i = 150; i < 400; i++) {
			informer_batch_add(&batch, pod_of(i, 6, 99)); /* overtaken by what follows */
			informer_batch_add(&batch, pod_of(i, i < 175 ? 0 : 1, i < 175 ? 1 : 2));
		}
		size_t gone = 0, added = 0, changed = 0;
		for (; informer_batch_next_gone(&batch, &old); gone++)
			api_unref(old);
		while (informer_batch_next_put(&batch, &old, &object)) {
			const struct core_v1_pod *pod = object;
			assert_string_equal(pod->spec.node_name, "node-1");
			added += !old;
			changed += old != NULL;
			api_unref(old);
			api_unref(object);
		}
		informer_batch_done(&batch);
		assert_int_equal(gone, 150);
		assert_int_equal(changed, 25);
		assert_int_equal(added, 200);
		assert_int_equal(informer_store_count(&store), 250);
		assert_int_equal(count_of(&store, "node", "node-0"), 25);
		assert_int_equal(count_of(&store, "node", "node-1"), 225);
		assert_int_equal(count_of(&store, "node", "node-6"), 0);
		informer_store_done(&store);
	}
}

/* A batch that is given up half way leaves nothing behind. */
static void batches_can_be_dropped(void **state)
{
	struct informer_store store;
	informer_store_init(&store, &core_v1_pod_type);
	struct informer_batch batch;
	void *old, *object;
	informer_batch_init(&batch, &store);
	for (int i = 0; i < 100; i++)
		informer_batch_add(&batch, pod_of(i, 0, 1));
	assert_false(informer_batch_next_gone(&batch, &old));
	for (int i = 0; i < 10; i++) {
		assert_true(informer_batch_next_put(&batch, &old, &object));
		assert_null(old);
		api_unref(object);
	}
	informer_batch_done(&batch);
	assert_int_equal(informer_store_count(&store), 10);
	informer_store_done(&store);
}

static void count_one(void *object, void *arg)
{
	const struct core_v1_pod *pod = object;
	assert_string_equal(pod->spec.containers.items[0].name, "c");
	++*(size_t *)arg;
}

/* More than are kept as structs: all are seen, and few of them stay. */
static void many_are_looked_at_one_by_one(void **state)
{
	struct informer_store store;
	size_t seen = 0;
	informer_store_init(&store, &core_v1_pod_type);
	for (int i = 0; i < 5000; i++)
		api_unref(informer_store_put(&store, pod_of(i, i % 3, i)));
	assert_true(informer_store_unpacked(&store) < 5000);
	informer_store_pack(&store);
	informer_store_each(&store, count_one, &seen);
	assert_int_equal(seen, 5000);
	assert_int_equal(informer_store_unpacked(&store), 0);
	assert_int_equal(count_of(&store, NULL, NULL), 5000);
	assert_true(informer_store_unpacked(&store) < 5000);
	informer_store_done(&store);
}

/* A pod of a set: as it is born, or once it runs. */
static struct core_v1_pod *member(int number, bool runs)
{
	struct core_v1_pod *pod = pod_of(number, number % 9, number + (runs ? 10000 : 0));
	struct arena *arena = api_arena(pod);
	pod->metadata.namespace = "default";
	for (int i = 0; i < 20; i++)
		api_map_set(arena, &pod->metadata.labels, arena_printf(arena, "example.com/label-%d", i), "value");
	pod->status.phase = runs ? "Running" : "Pending";
	for (int i = 0; runs && i < 8; i++) {
		struct core_v1_pod_condition *condition = api_list_add(arena, &pod->status.conditions);
		condition->type = arena_printf(arena, "Condition%d", i);
		condition->status = "True";
		condition->message = "all is as it should be with it";
	}
	return pod;
}

/* Objects that were born small take no more than those that were there as they are. */
static void what_grows_takes_no_more(void **state)
{
	enum { MEMBERS = 400 };
	size_t taken[2];
	for (int grown = 0; grown < 2; grown++) {
		struct informer_store store;
		informer_store_init(&store, &core_v1_pod_type);
		for (int i = 0; i < MEMBERS && grown; i++)
			api_unref(informer_store_put(&store, member(i, false)));
		for (int i = 0; i < MEMBERS; i++)
			api_unref(informer_store_put(&store, member(i, true)));
		taken[grown] = informer_store_packed_bytes(&store);
		informer_store_pack(&store);
		for (int i = 0; i < MEMBERS; i++) {
			char key[32];
			snprintf(key, sizeof(key), "default/pod-%d", i);
			autounref struct core_v1_pod *got = informer_store_get(&store, key), *expected = member(i, true);
			expected->kind = got->kind;
			expected->api_version = got->api_version;
			expected->metadata.creation_timestamp = got->metadata.creation_timestamp;
			assert_true(api_equal(&core_v1_pod_type, got, expected));
		}
		informer_store_done(&store);
	}
	assert_true(taken[1] < taken[0] * 5 / 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stores_hold_what_was_put),
		cmocka_unit_test(what_is_asked_for_stays_unpacked),
		cmocka_unit_test(what_grows_takes_no_more),
		cmocka_unit_test(batches_replace_everything),
		cmocka_unit_test(batches_can_be_dropped),
		cmocka_unit_test(many_are_looked_at_one_by_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
