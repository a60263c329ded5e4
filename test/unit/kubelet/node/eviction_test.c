/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/node/eviction.h"
#include "kubelet/node/node.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

/* ---- thresholds ---- */

static int parse(const char *config, struct threshold *ret, struct error *err) {
	struct kubelet_options options = {0};
	char name[] = "kubelet", *argv[] = {name, NULL};
	assert_int_equal(kubelet_options_load(1, argv, &options, NULL), 0);
	autofree char *text = xprintf("kind: KubeletConfiguration\n%s", config);
	assert_int_equal(kubelet_options_apply_config(&options, text, strlen(text), err), 0);
	int count = thresholds_parse(&options, ret, err);
	kubelet_options_done(&options);
	return count;
}

static void test_defaults(void **state) {
	struct threshold t[MAX_THRESHOLDS];
	int count = parse("", t, NULL);
	assert_int_equal(count, 6); /* memory counts twice: of the node and of all pods */
	assert_int_equal(t[0].signal, SIGNAL_MEMORY);
	assert_int_equal(t[1].signal, SIGNAL_ALLOCATABLE_MEMORY);
	assert_true(t[0].hard);
	const struct observation seen = {true, 1, 1000};
	assert_int_equal(threshold_quantity(&t[2], &seen, false), 100); /* 10 % of nodefs */
	thresholds_done(t, count);
}

static void test_soft_with_reclaim(void **state) {
	struct threshold t[MAX_THRESHOLDS];
	int count = parse("evictionHard: {}\nevictionSoft: {nodefs.available: '20%'}\nevictionSoftGracePeriod: {nodefs.available: 90s}\nevictionMinimumReclaim: {nodefs.available: 1Ki}\n", t, NULL);
	assert_int_equal(count, 1);
	assert_false(t[0].hard);
	assert_int_equal(t[0].grace_ns, 90000000000LL);
	const struct observation seen = {true, 1, 10000};
	assert_int_equal(threshold_quantity(&t[0], &seen, false), 2000);
	assert_int_equal(threshold_quantity(&t[0], &seen, true), 3024);
	thresholds_done(t, count);
}

static void test_bad_thresholds(void **state) {
	static const char *const rows[][2] = {
		{"evictionHard: {memory.free: 1Gi}", "unknown signal"},
		{"evictionHard: {memory.available: '-1'}", "neither"},
		{"evictionHard: {memory.available: '101%'}", "neither"},
		{"evictionHard: {memory.available: ''}", "want signal<quantity"},
		{"evictionSoft: {memory.available: 1Gi}", "grace period must be specified"},
		{"evictionSoft: {memory.available: 1Gi}\nevictionSoftGracePeriod: {memory.available: soon}", "no duration"},
		{"evictionMinimumReclaim: {memory.available: some}", "neither"},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		struct threshold t[MAX_THRESHOLDS];
		autoerror struct error err = {0};
		assert_int_equal(parse(rows[i][0], t, &err), -EINVAL);
		assert_non_null(strstr(error_message(&err), rows[i][1]));
	}
	struct threshold t[MAX_THRESHOLDS];
	assert_int_equal(parse("evictionHard: {memory.available: '0%', pid.available: '100%'}", t, NULL), 0); /* both say off */
}

/* ---- the order ---- */

static struct core_v1_pod *pod_of(const char *name, int priority, const char *resource, const char *request) {
	void *pod = NULL;
	autofree char *json = xprintf("{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"priority\":%d,\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"%s\":\"%s\"}}}]}}", name, priority, resource, request);
	assert_int_equal(api_decode_json(&core_v1_pod_type, json, strlen(json), NULL, &pod, NULL), 0);
	return pod;
}

struct row {
	const char *name;
	int priority;
	const char *request;
	int64_t used;
};

static void expect_order(enum signal_kind signal, const struct row *rows, size_t count, const char *want) {
	struct core_v1_pod *owned[8];
	const struct core_v1_pod *pods[8];
	struct rank_usage usage[8];
	const char *resource = str_equal(signal_rows[signal].resource, "inodes") || signal == SIGNAL_PIDS ? "memory" : signal_rows[signal].resource;
	for (size_t i = 0; i < count; i++) {
		pods[i] = owned[i] = pod_of(rows[i].name, rows[i].priority, resource, rows[i].request);
		usage[i] = (struct rank_usage){rows[i].used, rows[i].used, rows[i].used, rows[i].used};
	}
	rank_pods(pods, usage, count, signal);
	autobuf struct buf order = BUF_INIT(1024);
	for (size_t i = 0; i < count; i++)
		buf_printf(&order, "%s%s", i ? " " : "", pods[i]->metadata.name);
	assert_string_equal(order.data, want);
	for (size_t i = 0; i < count; i++)
		api_unref(owned[i]);
}

static void test_order(void **state) {
	static const struct row rows[] = {
		{"within-low", -5, "100", 90},
		{"beyond-high", 100, "10", 50},
		{"beyond-most", 0, "10", 80},
		{"beyond-less", 0, "10", 40},
		{"within", 0, "100", 100},
	};
	expect_order(SIGNAL_MEMORY, rows, array_len(rows), "beyond-most beyond-less beyond-high within-low within");
	expect_order(SIGNAL_NODEFS, rows, array_len(rows), "beyond-most beyond-less beyond-high within-low within");
	/* Nobody asks for inodes: all are beyond. */
	expect_order(SIGNAL_NODEFS_INODES, rows, array_len(rows), "within-low within beyond-most beyond-less beyond-high");
	/* Nor for processes: priority, then their number. */
	expect_order(SIGNAL_PIDS, rows, array_len(rows), "within-low within beyond-most beyond-less beyond-high");
}

static void test_critical(void **state) {
	autounref struct core_v1_pod *pod = pod_of("p", 2000000000, "cpu", "1"), *plain = pod_of("q", 1999999999, "cpu", "1");
	assert_true(eviction_is_critical(pod));
	assert_false(eviction_is_critical(plain));
	api_map_set(api_arena(plain), &plain->metadata.annotations, "kubernetes.io/config.source", "file");
	assert_true(eviction_is_critical(plain));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults), cmocka_unit_test(test_soft_with_reclaim), cmocka_unit_test(test_bad_thresholds), cmocka_unit_test(test_order), cmocka_unit_test(test_critical),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
