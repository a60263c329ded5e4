/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/pod/resize.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct core_v1_pod *pod_of(const char *text) {
	autoerror struct error err = {0};
	void *pod = NULL;
	if (api_decode_json(&core_v1_pod_type, text, strlen(text), NULL, &pod, &err) < 0)
		fail_msg("%s", error_message(&err));
	return pod;
}

#define CONTAINER(name, cpu, memory) "{\"name\":\"" name "\",\"resources\":{\"requests\":{\"cpu\":\"" cpu "\"},\"limits\":{\"memory\":\"" memory "\"}}}"
#define SPEC(containers) "\"spec\":{\"containers\":[" containers "]}"
#define POD(rest) "{\"metadata\":{\"name\":\"p\",\"uid\":\"u\"}," rest "}"

static void test_same(void **state) {
	static const struct { const char *a, *b; bool same; } rows[] = {
		{SPEC(CONTAINER("c", "1", "1Gi")), SPEC(CONTAINER("c", "1000m", "1024Mi")), true},
		{SPEC(CONTAINER("c", "1", "1Gi")), SPEC(CONTAINER("c", "2", "1Gi")), false},
		{SPEC(CONTAINER("c", "1", "1Gi")), SPEC(CONTAINER("c", "1", "2Gi")), false},
		{SPEC(CONTAINER("c", "1", "1Gi")), SPEC("{\"name\":\"c\"}"), false},
		{SPEC(CONTAINER("c", "1", "1Gi") "," CONTAINER("d", "1", "1Gi")), SPEC(CONTAINER("c", "1", "1Gi") "," CONTAINER("d", "1", "3Gi")), false},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		autofree char *x = xprintf(POD("%s"), rows[i].a), *y = xprintf(POD("%s"), rows[i].b);
		autounref struct core_v1_pod *a = pod_of(x), *b = pod_of(y);
		assert_int_equal(resize_same(a, b), rows[i].same);
	}
}

static void test_with_what_was_given(void **state) {
	autounref struct core_v1_pod *asked = pod_of(POD("\"spec\":{\"hostname\":\"new\",\"resources\":{\"requests\":{\"cpu\":\"4\"}},\"initContainers\":[" CONTAINER("i", "2", "2Gi") "],\"containers\":[" CONTAINER("c", "2", "2Gi") "]}"));
	autounref struct core_v1_pod *given = pod_of(POD("\"spec\":{\"initContainers\":[" CONTAINER("i", "1", "1Gi") "],\"containers\":[" CONTAINER("c", "1", "1Gi") "]}"));
	autounref struct core_v1_pod *both = resize_with(asked, given), *same = resize_with(asked, NULL);
	assert_ptr_equal(same, asked);
	assert_string_equal(both->spec.hostname, "new");
	assert_true(resize_same(both, given));
	assert_null(both->spec.resources);
	assert_int_equal(quantity_milli_value(api_quantity_get(&asked->spec.containers.items[0].resources.requests, "cpu")), 2000);
}

#define HAS POD(SPEC(CONTAINER("c", "2", "2Gi")) ",\"status\":{\"containerStatuses\":[{\"name\":\"c\",\"allocatedResources\":{\"cpu\":\"%s\"},\"resources\":{\"limits\":{\"memory\":\"2Gi\"}}}]}")

/* A kubelet that starts anew reads from the status what the pod has. */
static void test_from_status(void **state) {
	autofree char *pending = xprintf(HAS, "1"), *done = xprintf(HAS, "2");
	autounref struct core_v1_pod *waits = pod_of(pending), *has = pod_of(done);
	autounref struct core_v1_pod *given = resize_from_status(waits);
	assert_non_null(given);
	assert_int_equal(quantity_milli_value(api_quantity_get(&given->spec.containers.items[0].resources.requests, "cpu")), 1000);
	assert_int_equal(quantity_value(api_quantity_get(&given->spec.containers.items[0].resources.limits, "memory")), 2LL << 30);
	assert_null(resize_from_status(has));
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_same), cmocka_unit_test(test_with_what_was_given), cmocka_unit_test(test_from_status)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
