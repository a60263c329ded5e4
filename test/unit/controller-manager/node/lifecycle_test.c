/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes that fall silent, by zone, and what becomes of their pods. */
#include "../fake_world.h"

extern const struct controller node_lifecycle_controller, taint_eviction_controller;

#define GRACE_S 50

static void add_node(const char *name, const char *zone, const char *ready)
{
	autofree char *json = xprintf(
		"{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"%s\",\"labels\":{\"topology.kubernetes.io/zone\":\"%s\"}},\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"%s\"}]}}",
		name, zone, ready);
	autofree char *lease = xprintf("{\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\",\"metadata\":{\"name\":\"%s\",\"namespace\":\"kube-node-lease\"},\"spec\":{\"renewTime\":\"2027-01-15T08:00:00.000000Z\"}}",
		name);
	fake_add(json);
	fake_add(lease);
}

static void renew(const char *name)
{
	char now[40];
	time_format_rfc3339_micro(clock_wall(), now);
	autofree char *patch = xprintf("{\"spec\":{\"renewTime\":\"%s\"}}", now);
	fake_edit(CACHED_LEASES, "kube-node-lease", name, NULL, patch);
}

static bool tainted(const char *name, const char *key, const char *effect)
{
	const struct core_v1_node *node = fake_live(CACHED_NODES, NULL, name);
	for (uint32_t i = 0; i < node->spec.taints.len; i++)
		if (str_equal(node->spec.taints.items[i].key, key) && str_equal(node->spec.taints.items[i].effect, effect))
			return true;
	return false;
}

static const char *ready_of(const char *name)
{
	const struct core_v1_node *node = fake_live(CACHED_NODES, NULL, name);
	for (uint32_t i = 0; i < node->status.conditions.len; i++)
		if (str_equal(node->status.conditions.items[i].type, "Ready"))
			return node->status.conditions.items[i].status;
	return "";
}

static size_t count_evicting(size_t first, size_t count)
{
	size_t sum = 0;
	for (size_t i = first; i < first + count; i++) {
		autofree char *name = xprintf("n%zu", i);
		sum += tainted(name, "node.kubernetes.io/unreachable", "NoExecute");
	}
	return sum;
}

#define UNREACHABLE "node.kubernetes.io/unreachable"

static void test_silent_node_becomes_unknown(void **state)
{
	struct reconciler r = fake_reconciler(&node_lifecycle_controller);
	add_node("n0", "a", "True");
	add_node("n1", "a", "True");
	fake_add("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\",\"namespace\":\"n\"},\"spec\":{\"nodeName\":\"n0\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]},\"status\":{\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}");
	fake_reconcile_all(&r, CACHED_NODES);
	clock_advance_test((GRACE_S - 1) * NSEC_PER_SEC);
	renew("n1");
	fake_reconcile_all(&r, CACHED_NODES);
	assert_string_equal(ready_of("n0"), "True");
	clock_advance_test(2 * NSEC_PER_SEC);
	fake_reconcile_all(&r, CACHED_NODES);
	assert_string_equal(ready_of("n0"), "Unknown");
	assert_string_equal(ready_of("n1"), "True");
	fake_reconcile_all(&r, CACHED_NODES);
	assert_true(tainted("n0", UNREACHABLE, "NoSchedule"));
	assert_true(tainted("n0", UNREACHABLE, "NoExecute"));
	assert_false(pod_is_ready(fake_live(CACHED_PODS, "n", "p")));
	/* It speaks again: everything is taken back. */
	renew("n0");
	fake_edit(CACHED_NODES, NULL, "n0", "status", "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}");
	fake_reconcile_all(&r, CACHED_NODES);
	assert_false(tainted("n0", UNREACHABLE, "NoSchedule"));
	assert_false(tainted("n0", UNREACHABLE, "NoExecute"));
	fake_reconciler_done(&r);
}

/* What a kubelet says of its own node is no silence: it shows its pods as they are. Silence that another leader found is not told again, and pods it did not come to are shown. */
static void test_only_silence_is_shown_of_pods(void **state)
{
	struct reconciler r = fake_reconciler(&node_lifecycle_controller);
	add_node("n0", "a", "True");
	add_node("n1", "a", "Unknown");
	for (int i = 0; i < 2; i++) {
		autofree char *pod = xprintf("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p%d\",\"namespace\":\"n\"},\"spec\":{\"nodeName\":\"n%d\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]},"
					     "\"status\":{\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}", i, i);
		fake_add(pod);
	}
	fake_reconcile_all(&r, CACHED_NODES);
	fake_edit(CACHED_NODES, NULL, "n0", "status", "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\"}]}}");
	fake_reconcile_all(&r, CACHED_NODES);
	assert_true(tainted("n0", "node.kubernetes.io/not-ready", "NoSchedule"));
	assert_true(pod_is_ready(fake_live(CACHED_PODS, "n", "p0")));
	assert_false(pod_is_ready(fake_live(CACHED_PODS, "n", "p1")));
	assert_null(strstr(fake.log.data, "status is now: NodeNotReady"));
	fake_reconciler_done(&r);
}

/* A row: nodes of a zone, so many silent; how many may be evicted at once and after ten and a hundred seconds. */
static void test_eviction_rates(void **state)
{
	static const struct {
		const char *name;
		size_t all, silent, at_once, after_10, after_100;
	} rows[] = {
		{"a healthy zone: one in ten seconds", 10, 3, 1, 2, 3},
		{"a small zone that is mostly down: none", 10, 8, 0, 0, 0},
		{"a large zone that is mostly down: one in a hundred seconds", 60, 40, 1, 1, 2},
		{"everything is down: it is us who cannot hear", 10, 10, 0, 0, 0},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		fake_teardown(state);
		fake_setup(state);
		struct reconciler r = fake_reconciler(&node_lifecycle_controller);
		for (size_t n = 0; n < rows[i].all; n++) {
			autofree char *name = xprintf("n%zu", n);
			add_node(name, "a", n < rows[i].silent ? "Unknown" : "True");
		}
		fake_reconcile_all(&r, CACHED_NODES);
		size_t at_once = count_evicting(0, rows[i].all);
		for (int s = 0; s < 10; s++) {
			clock_advance_test(NSEC_PER_SEC);
			fake_reconcile_all(&r, CACHED_NODES);
		}
		size_t after_10 = count_evicting(0, rows[i].all);
		for (int s = 10; s < 100; s += 3) {
			clock_advance_test(3 * NSEC_PER_SEC);
			for (size_t n = rows[i].silent; n < rows[i].all; n++) {
				autofree char *name = xprintf("n%zu", n);
				renew(name);
			}
			fake_reconcile_all(&r, CACHED_NODES);
		}
		size_t after_100 = count_evicting(0, rows[i].all);
		if (at_once != rows[i].at_once || after_10 != rows[i].after_10 || after_100 != rows[i].after_100)
			fail_msg("%s: %zu %zu %zu", rows[i].name, at_once, after_10, after_100);
		fake_reconciler_done(&r);
	}
}

/* The last node that was heard of falls silent as well: it is us who cannot hear, and what was begun is called off. */
static void test_evictions_end_when_all_is_silent(void **state)
{
	struct reconciler r = fake_reconciler(&node_lifecycle_controller);
	for (size_t i = 0; i < 4; i++) {
		autofree char *name = xprintf("n%zu", i);
		add_node(name, "a", i ? "True" : "Unknown");
	}
	fake_reconcile_all(&r, CACHED_NODES);
	assert_int_equal(count_evicting(0, 4), 1);
	for (size_t i = 1; i < 4; i++) {
		autofree char *name = xprintf("n%zu", i);
		fake_edit(CACHED_NODES, NULL, name, "status", "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"Unknown\"}]}}");
	}
	/* It is the last one that shows it; the first is told to look again. */
	r.queue = workqueue_new(&(struct workqueue_options){.name = "nodes"});
	autoerror struct error err = {0};
	r.controller->reconcile(&r, NULL, "n3", &err);
	assert_int_equal(workqueue_length(r.queue), 1);
	workqueue_shutdown(r.queue);
	workqueue_free(r.queue);
	r.queue = NULL;
	fake_reconcile_all(&r, CACHED_NODES);
	assert_int_equal(count_evicting(0, 4), 0);
	assert_true(tainted("n0", UNREACHABLE, "NoSchedule"));
	/* One that does not count says nothing about the others. */
	fake_edit(CACHED_NODES, NULL, "n3", NULL, "{\"metadata\":{\"labels\":{\"node.kubernetes.io/exclude-disruption\":\"\"}}}");
	fake_edit(CACHED_NODES, NULL, "n3", "status", "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}");
	fake_reconcile_all(&r, CACHED_NODES);
	assert_int_equal(count_evicting(0, 4), 0);
	fake_reconciler_done(&r);
}

/* One zone is lost, the other evicts nothing of its own and is not slowed. */
static void test_zones_are_apart(void **state)
{
	struct reconciler r = fake_reconciler(&node_lifecycle_controller);
	for (size_t i = 0; i < 12; i++) {
		autofree char *name = xprintf("n%zu", i);
		add_node(name, i < 6 ? "a" : "b", i < 5 || i == 6 ? "Unknown" : "True");
	}
	fake_reconcile_all(&r, CACHED_NODES);
	assert_int_equal(count_evicting(0, 6), 0); /* small and mostly down */
	assert_int_equal(count_evicting(6, 6), 1);
	fake_reconciler_done(&r);
}

/* ---- pods on tainted nodes ---- */

#define TAINTED "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"t\"},\"spec\":{\"taints\":[{\"key\":\"k\",\"value\":\"v\",\"effect\":\"NoExecute\"}]}}"

static void add_pod(const char *name, const char *tolerations)
{
	autofree char *json = xprintf(
		"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\",\"namespace\":\"n\"},\"spec\":{\"nodeName\":\"t\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}],\"tolerations\":[%s]}}", name, tolerations);
	fake_add(json);
}

static void test_toleration_seconds(void **state)
{
	struct reconciler r = fake_reconciler(&taint_eviction_controller);
	fake_add(TAINTED);
	add_pod("none", "");
	add_pod("ever", "{\"key\":\"k\",\"operator\":\"Exists\",\"effect\":\"NoExecute\"}");
	add_pod("other", "{\"key\":\"k\",\"operator\":\"Equal\",\"value\":\"w\",\"effect\":\"NoExecute\"}");
	add_pod("ten", "{\"key\":\"k\",\"operator\":\"Exists\",\"tolerationSeconds\":10},{\"operator\":\"Exists\",\"tolerationSeconds\":20}");
	add_pod("zero", "{\"key\":\"k\",\"operator\":\"Exists\",\"tolerationSeconds\":0}");
	add_pod("first", "{\"operator\":\"Exists\"},{\"key\":\"k\",\"operator\":\"Exists\",\"tolerationSeconds\":1}");
	add_pod("ages", "{\"key\":\"k\",\"operator\":\"Exists\",\"tolerationSeconds\":9223372036854775806}");
	assert_int_equal(fake_reconcile_all(&r, CACHED_PODS), 10000);
	assert_null(fake_live(CACHED_PODS, "n", "none"));
	assert_non_null(fake_live(CACHED_PODS, "n", "ages"));
	assert_null(fake_live(CACHED_PODS, "n", "other"));
	assert_null(fake_live(CACHED_PODS, "n", "zero"));
	assert_non_null(fake_live(CACHED_PODS, "n", "ever"));
	assert_non_null(strstr(fake.log.data, "event none Normal TaintManagerEviction"));
	clock_advance_test(9 * NSEC_PER_SEC);
	fake_reconcile_all(&r, CACHED_PODS);
	assert_non_null(fake_live(CACHED_PODS, "n", "ten"));
	clock_advance_test(NSEC_PER_SEC);
	fake_reconcile_all(&r, CACHED_PODS);
	assert_null(fake_live(CACHED_PODS, "n", "ten"));
	assert_non_null(fake_live(CACHED_PODS, "n", "first"));
	fake_reconciler_done(&r);
}

/* The taint goes in time: the pod stays, and a later taint gives it its whole time again. */
static void test_eviction_is_called_off(void **state)
{
	struct reconciler r = fake_reconciler(&taint_eviction_controller);
	fake_add(TAINTED);
	add_pod("ten", "{\"key\":\"k\",\"operator\":\"Exists\",\"tolerationSeconds\":10}");
	fake_reconcile_all(&r, CACHED_PODS);
	clock_advance_test(9 * NSEC_PER_SEC);
	fake_edit(CACHED_NODES, NULL, "t", NULL, "{\"spec\":{\"taints\":null}}");
	assert_int_equal(fake_reconcile_all(&r, CACHED_PODS), 0);
	assert_non_null(strstr(fake.log.data, "Cancelling deletion"));
	fake_edit(CACHED_NODES, NULL, "t", NULL, "{\"spec\":{\"taints\":[{\"key\":\"k\",\"effect\":\"NoExecute\"}]}}");
	assert_int_equal(fake_reconcile_all(&r, CACHED_PODS), 10000);
	fake_reconciler_done(&r);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

/* What a lease says is noted when it says it, not when somebody looks: silence begins there. */
/* Only a change of NoExecute taints wakes the pods of a node. */
static void test_heartbeats_wake_no_pods(void **state)
{
#define BEATING(taints, time) \
	"{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"n\"},\"spec\":{\"taints\":[" taints "]},\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\",\"lastHeartbeatTime\":\"2027-01-15T08:00:0" time "Z\"}]}}"
#define GONE "{\"key\":\"gone\",\"effect\":\"NoExecute\"}"
#define FULL "{\"key\":\"full\",\"effect\":\"NoSchedule\"}"
	static const struct {
		const char *before, *after;
		bool matters;
	} rows[] = {
		{BEATING("", "0"), BEATING("", "1"), false},
		{BEATING(GONE, "0"), BEATING(GONE, "1"), false},
		{BEATING(GONE, "0"), BEATING(GONE "," FULL, "0"), false},
		{BEATING("", "0"), BEATING(GONE, "0"), true},
		{BEATING(GONE, "0"), BEATING("", "0"), true},
		{BEATING(GONE, "0"), BEATING("{\"key\":\"gone\",\"value\":\"v\",\"effect\":\"NoExecute\"}", "0"), true},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		autounref void *before = NULL, *after = NULL;
		assert_int_equal(api_decode_json_any(rows[i].before, strlen(rows[i].before), NULL, &before, NULL), 0);
		assert_int_equal(api_decode_json_any(rows[i].after, strlen(rows[i].after), NULL, &after, NULL), 0);
		assert_int_equal(taint_eviction_controller.watches[1].matters(before, after), rows[i].matters);
	}
}

static void test_leases_are_noted_as_they_come(void **state)
{
	struct reconciler r = fake_reconciler(&node_lifecycle_controller);
	const struct controller_watch *leases = node_lifecycle_controller.watches;
	while (leases->what != CACHED_LEASES)
		leases++;
	add_node("n0", "a", "True");
	fake_reconcile_all(&r, CACHED_NODES);
	clock_advance_test(30 * NSEC_PER_SEC);
	renew("n0");
	reconciler_observe(&r, leases, NULL, fake_live(CACHED_LEASES, "kube-node-lease", "n0"));
	clock_advance_test(30 * NSEC_PER_SEC);
	fake_reconcile_all(&r, CACHED_NODES);
	assert_string_equal(ready_of("n0"), "True");
	clock_advance_test(21 * NSEC_PER_SEC);
	fake_reconcile_all(&r, CACHED_NODES);
	assert_string_equal(ready_of("n0"), "Unknown");
	fake_reconciler_done(&r);
}

/* Runs the key that is due next, when it is; the key, which the caller frees. */
static char *run_next(struct reconciler *r)
{
	int64_t due = workqueue_next_due(r->queue), now = clock_monotonic_ns();
	assert_true(due != INT64_MAX);
	clock_advance_test(max_of(due - now, (int64_t)0));
	char *key = workqueue_try_get(r->queue);
	workqueue_settle(r->queue, key, reconciler_run(r, key, NULL));
	workqueue_done(r->queue, key);
	return key;
}

static struct informer_beat last_beat;
static bool tell_last_beat(struct world *world, enum cached what, const char *ns, const char *name, struct informer_beat *ret)
{
	assert_true(what == CACHED_LEASES && str_equal(ns, "kube-node-lease"));
	*ret = last_beat;
	return last_beat.seen_ns && str_equal(name, "n0");
}

/* Renewals of which the cache shows nothing: it keeps the lease as it was. */
static void test_beats_keep_nodes_alive(void **state)
{
	struct reconciler r = fake_reconciler(&node_lifecycle_controller);
	const struct world_ops *ops = r.world->ops;
	struct world_ops beating = *ops;
	beating.last_beat = tell_last_beat;
	r.world->ops = &beating;
	r.queue = workqueue_new(NULL);
	last_beat = (struct informer_beat){0};
	add_node("n0", "a", "True");
	renew("n0");
	fake_reconcile_all(&r, CACHED_NODES);
	int64_t heard = clock_monotonic_ns();
	for (int64_t i = 1; i <= 3; i++) {
		/* What was seen is seen at its own time, whenever somebody asks. The timer asks once it is over. */
		last_beat = (struct informer_beat){.time = {.sec = 1800000000 + i}, .seen_ns = heard += 10 * NSEC_PER_SEC};
		autofree char *timer = run_next(&r);
		assert_non_null(strstr(timer, "silences/"));
		assert_int_equal(workqueue_next_due(r.queue) - heard, GRACE_S * NSEC_PER_SEC + NSEC_PER_MSEC);
	}
	/* No more: the timer, and then the node. */
	autofree char *timer = run_next(&r), *node = run_next(&r);
	assert_non_null(strstr(timer, "silences/"));
	assert_string_equal(node, "n0");
	assert_string_equal(ready_of("n0"), "Unknown");
	fake_reconcile_all(&r, CACHED_NODES);
	assert_string_equal(ready_of("n0"), "Unknown");
	workqueue_free(r.queue);
	r.queue = NULL;
	r.world->ops = ops;
	fake_reconciler_done(&r);
}

/* Nodes that are well have one timer together, that of the one that was heard of first. */
static void test_well_nodes_share_a_timer(void **state)
{
	struct reconciler r = fake_reconciler(&node_lifecycle_controller);
	r.queue = workqueue_new(NULL);
	for (int i = 0; i < 5; i++) {
		autofree char *name = xprintf("n%d", i);
		add_node(name, "a", "True");
		autofree char *key = (reconciler_add(&r, NULL, name), run_next(&r));
		assert_string_equal(key, name);
		clock_advance_test(NSEC_PER_SEC);
	}
	int64_t heard_last = clock_monotonic_ns() - NSEC_PER_SEC;
	for (int i = 0; i < 4; i++) {
		autofree char *name = xprintf("n%d", i);
		renew(name);
		reconciler_observe(&r, &node_lifecycle_controller.watches[1], NULL, fake_live(CACHED_LEASES, "kube-node-lease", name));
	}
	autofree char *first = run_next(&r), *second = run_next(&r), *lost = run_next(&r);
	assert_string_equal(first, second); /* it was set for n0, which has been heard of since */
	assert_string_equal(lost, "n4");
	assert_int_equal((clock_monotonic_ns() - heard_last) / NSEC_PER_SEC, GRACE_S);
	assert_string_equal(ready_of("n4"), "Unknown");
	for (int i = 0; i < 4; i++) {
		autofree char *name = xprintf("n%d", i);
		assert_string_equal(ready_of(name), "True");
	}
	workqueue_free(r.queue);
	r.queue = NULL;
	fake_reconciler_done(&r);
}

static void test_a_new_node_is_told_and_labelled(void **state)
{
	struct reconciler r = fake_reconciler(&node_lifecycle_controller);
	fake_add("{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"n0\",\"labels\":{\"kubernetes.io/os\":\"linux\",\"kubernetes.io/arch\":\"arm64\",\"beta.kubernetes.io/arch\":\"amd64\"}},"
		 "\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}");
	for (int i = 0; i < 3; i++)
		fake_reconcile_all(&r, CACHED_NODES);
	const struct core_v1_node *node = fake_live(CACHED_NODES, NULL, "n0");
	assert_string_equal(api_map_get(&node->metadata.labels, "beta.kubernetes.io/os"), "linux");
	assert_string_equal(api_map_get(&node->metadata.labels, "beta.kubernetes.io/arch"), "arm64");
	const char *told = strstr(fake.log.data, "Normal RegisteredNode: Node n0 event: Registered Node n0 in Controller");
	assert_non_null(told);
	assert_null(strstr(told + 30, "RegisteredNode:"));
	fake_reconciler_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_silent_node_becomes_unknown),
		TEST(test_heartbeats_wake_no_pods),
		TEST(test_leases_are_noted_as_they_come),
		TEST(test_beats_keep_nodes_alive),
		TEST(test_only_silence_is_shown_of_pods),
		TEST(test_well_nodes_share_a_timer),
		TEST(test_a_new_node_is_told_and_labelled),
		TEST(test_eviction_rates),
		TEST(test_evictions_end_when_all_is_silent),
		TEST(test_zones_are_apart),
		TEST(test_toleration_seconds),
		TEST(test_eviction_is_called_off),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
