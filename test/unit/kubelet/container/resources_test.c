/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/container/resources.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

static struct core_v1_pod *pod_of(const char *json) {
	void *pod = NULL;
	autoerror struct error err = {0};
	if (api_decode_json(&core_v1_pod_type, json, strlen(json), NULL, &pod, &err) < 0)
		fail_msg("%s", error_message(&err));
	return pod;
}

static void test_qos(void **state) {
	static const struct {
		const char *json, *name;
	} rows[] = {
		{"{\"spec\":{\"containers\":[{\"name\":\"a\"}]}}", "BestEffort"},
		{"{\"spec\":{\"containers\":[{\"name\":\"a\",\"resources\":{\"requests\":{\"cpu\":\"1\"}}}]}}", "Burstable"},
		{"{\"spec\":{\"containers\":[{\"name\":\"a\",\"resources\":{\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"}}}]}}", "Guaranteed"},
		{"{\"spec\":{\"containers\":[{\"name\":\"a\",\"resources\":{\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"},\"requests\":{\"cpu\":\"500m\",\"memory\":\"1Gi\"}}}]}}", "Burstable"},
		{"{\"spec\":{\"containers\":[{\"name\":\"a\",\"resources\":{\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"}}},{\"name\":\"b\"}]}}", "Burstable"},
		{"{\"spec\":{\"containers\":[{\"name\":\"a\"}]},\"status\":{\"qosClass\":\"Guaranteed\"}}", "Guaranteed"},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		autounref struct core_v1_pod *pod = pod_of(rows[i].json);
		assert_string_equal(resources_qos_name(pod), rows[i].name);
	}
}

static void test_requests_with_init_and_sidecars(void **state) {
	autounref struct core_v1_pod *pod = pod_of(
		"{\"spec\":{\"overhead\":{\"cpu\":\"10m\"},\"initContainers\":["
		"{\"name\":\"s\",\"restartPolicy\":\"Always\",\"resources\":{\"requests\":{\"cpu\":\"100m\"}}},"
		"{\"name\":\"i\",\"resources\":{\"requests\":{\"cpu\":\"2\",\"memory\":\"1Mi\"}}}],"
		"\"containers\":[{\"name\":\"a\",\"resources\":{\"requests\":{\"cpu\":\"300m\",\"memory\":\"5Mi\"}}}]}}");
	struct api_quantity_map requests;
	pod_requests(pod, api_arena(pod), &requests);
	assert_int_equal(quantity_milli_value(api_quantity_get(&requests, "cpu")), 2110);
	assert_int_equal(quantity_value(api_quantity_get(&requests, "memory")), 5 << 20);
}

static void test_cgroup_values(void **state) {
	autounref struct core_v1_pod *pod = pod_of("{\"spec\":{\"containers\":[{\"name\":\"a\",\"resources\":{\"requests\":{\"cpu\":\"250m\",\"memory\":\"64Mi\"},\"limits\":{\"cpu\":\"500m\",\"memory\":\"128Mi\"}}},{\"name\":\"b\"}]}}");
	struct cgroup_resources r;
	resources_container_cgroup(pod, &pod->spec.containers.items[0], &r);
	assert_int_equal(r.cpu_shares, 256);
	assert_int_equal(r.cpu_quota_us, 50000);
	assert_int_equal(r.memory_limit, 128 << 20);
	resources_container_cgroup(pod, &pod->spec.containers.items[1], &r);
	assert_int_equal(r.cpu_shares, 2);
	assert_int_equal(r.cpu_quota_us, -1);
	assert_int_equal(r.memory_limit, -1);
	/* One container without a limit: the pod has none. */
	resources_pod_cgroup(pod, &r);
	assert_int_equal(r.memory_limit, -1);
	assert_int_equal(r.cpu_shares, 256);
	assert_int_equal(resources_oom_score_adj(pod, &pod->spec.containers.items[0], 1LL << 30), 938);
	assert_int_equal(resources_oom_score_adj(pod, &pod->spec.containers.items[1], 1LL << 30), 999);
}

/* In measure of the memory that is asked for; none for who asks for none, or may have no more than that. */
static void test_swap(void **state) {
	static const struct {
		const char *resources;
		int64_t want;
	} rows[] = {
		{"{\"requests\":{\"memory\":\"256Mi\"}}", 512 << 20},
		{"{\"requests\":{\"memory\":\"256Mi\"},\"limits\":{\"memory\":\"512Mi\"}}", 512 << 20},
		{"{\"requests\":{\"memory\":\"256Mi\",\"cpu\":\"1\"},\"limits\":{\"memory\":\"256Mi\"}}", 0},
		{"{\"requests\":{\"memory\":\"256Mi\",\"cpu\":\"1\"},\"limits\":{\"memory\":\"256Mi\",\"cpu\":\"1\"}}", 0},
		{"{\"requests\":{\"cpu\":\"1\"}}", 0},
		{"{}", 0},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		autofree char *text = xprintf("{\"spec\":{\"containers\":[{\"name\":\"a\",\"resources\":%s}]}}", rows[i].resources);
		autounref struct core_v1_pod *pod = pod_of(text);
		assert_int_equal(resources_swap(pod, &pod->spec.containers.items[0], 1LL << 30, 2LL << 30), rows[i].want);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_qos), cmocka_unit_test(test_requests_with_init_and_sidecars), cmocka_unit_test(test_cgroup_values), cmocka_unit_test(test_swap)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
