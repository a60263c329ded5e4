/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/pod/status_manager.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

static struct core_v1_pod *pod_of(const char *status) {
	void *pod = NULL;
	autofree char *json = xprintf("{\"metadata\":{\"name\":\"p\",\"uid\":\"u\"},\"status\":%s}", status);
	assert_int_equal(api_decode_json(&core_v1_pod_type, json, strlen(json), NULL, &pod, NULL), 0);
	return pod;
}

static void expect(const char *have_status, const char *want_status, const char *patch) {
	autounref struct core_v1_pod *have = pod_of(have_status), *want = pod_of(want_status);
	autofree char *text = status_patch(have, want);
	if (!patch) {
		assert_null(text);
		return;
	}
	assert_non_null(text);
	assert_string_equal(text, patch);
}

#define READY "{\"type\":\"Ready\",\"status\":\"True\",\"lastProbeTime\":null,\"lastTransitionTime\":\"2026-01-01T00:00:00Z\"}"
#define NOT_READY "{\"type\":\"Ready\",\"status\":\"False\",\"lastProbeTime\":null,\"lastTransitionTime\":\"2026-01-01T00:00:00Z\",\"message\":\"m\"}"
#define FOREIGN "{\"type\":\"example.com/x\",\"status\":\"True\",\"lastProbeTime\":null,\"lastTransitionTime\":null}"

static void test_patches(void **state) {
	expect("{\"phase\":\"Running\"}", "{\"phase\":\"Running\"}", NULL);
	expect("{\"phase\":\"Pending\"}", "{\"phase\":\"Running\"}", "{\"metadata\":{\"uid\":\"u\"},\"status\":{\"phase\":\"Running\"}}");
	/* What we do not know of stays out of the patch: the conditions of others, and fields that are not ours. */
	expect("{\"conditions\":[" READY "," FOREIGN "],\"nominatedNodeName\":\"n\"}", "{\"conditions\":[" READY "]}", NULL);
	/* Nor is another's condition put back as it was when the status was made. */
	expect("{\"conditions\":[" READY ",{\"type\":\"example.com/x\",\"status\":\"False\",\"lastProbeTime\":null,\"lastTransitionTime\":null}]}", "{\"conditions\":[" READY "," FOREIGN "]}", NULL);
	/* A field that is gone is taken away by name. */
	expect("{\"conditions\":[" NOT_READY "]}", "{\"conditions\":[" READY "]}",
	       "{\"metadata\":{\"uid\":\"u\"},\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\",\"lastProbeTime\":null,\"lastTransitionTime\":\"2026-01-01T00:00:00Z\",\"message\":null}]}}");
	/* A condition that says by being there is taken away; only that, and by its type. */
	expect("{\"conditions\":[" READY ",{\"type\":\"PodResizePending\",\"status\":\"True\",\"lastProbeTime\":null,\"lastTransitionTime\":null}," FOREIGN "]}", "{\"conditions\":[" READY "]}",
	       "{\"metadata\":{\"uid\":\"u\"},\"status\":{\"conditions\":[{\"$patch\":\"delete\",\"type\":\"PodResizePending\"}]}}");
	expect("{\"reason\":\"x\",\"podIPs\":[{\"ip\":\"1.1.1.1\"}]}", "{\"podIPs\":[{\"ip\":\"2.2.2.2\"}]}", "{\"metadata\":{\"uid\":\"u\"},\"status\":{\"podIPs\":[{\"$patch\":\"replace\"},{\"ip\":\"2.2.2.2\"}],\"reason\":null}}");
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_patches)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
