/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/pod/status_manager.h"

#include "kubelet/pod/pod.h"
#include "kubelet/probe/probe.h"

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

/* What is told outlives the object it was made from: nothing in it may point there. The sanitizer would say. */
static void test_a_status_outlives_its_object(void **state) {
	static const char json[] =
		"{\"metadata\":{\"name\":\"p\",\"namespace\":\"n\",\"uid\":\"u\",\"annotations\":{\"kubernetes.io/config.source\":\"api\"}},"
		"\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"resources\":{\"requests\":{\"cpu\":\"1\"}},\"volumeMounts\":[{\"name\":\"v\",\"mountPath\":\"/v\",\"readOnly\":true}]}],"
		"\"initContainers\":[{\"name\":\"i\",\"image\":\"i\"}],\"resources\":{\"requests\":{\"cpu\":\"2\"}},\"readinessGates\":[{\"conditionType\":\"example.com/x\"}]},"
		"\"status\":{\"phase\":\"Running\",\"qosClass\":\"Burstable\",\"reason\":\"r\",\"message\":\"m\",\"startTime\":\"2026-01-01T00:00:00Z\",\"conditions\":[" FOREIGN "],"
		"\"containerStatuses\":[{\"name\":\"c\",\"image\":\"i\",\"imageID\":\"d\",\"restartCount\":1,\"state\":{\"running\":{}}}]}}";
	for (int stage = POD_SYNCING; stage <= POD_ENDED; stage++) {
		void *decoded = NULL;
		assert_int_equal(api_decode_json(&core_v1_pod_type, json, sizeof(json) - 1, NULL, &decoded, NULL), 0);
		struct core_v1_pod *object = decoded;
		char address[] = "192.0.2.1", uid[] = "u";
		struct kubelet kubelet = {.node_ips = {address}, .node_ip_count = 1};
		struct pod_view view = {0};
		struct pod pod = {.kubelet = &kubelet, .uid = uid, .stage = (enum pod_stage)stage, .admitted = true};
		pthread_mutex_init(&pod.lock, NULL);
		kubelet.status = status_manager_new(&kubelet);
		kubelet.probes = probe_manager_new(&kubelet);
		pod_slots_update(&pod, object, &view);
		pod_status_update(&pod, object, &view);
		for (size_t i = 0; i < pod.slot_count; i++)
			free(pod.slots[i].name);
		free(pod.slots);
		api_unref(object);
		autofree char *told = status_patch(pod.told, pod.told);
		assert_null(told);
		assert_string_equal(pod.told->status.qos_class, "Burstable");
		probe_manager_free(kubelet.probes);
		status_manager_free(kubelet.status);
		api_unref(pod.told);
		pthread_mutex_destroy(&pod.lock);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_patches), cmocka_unit_test(test_a_status_outlives_its_object)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
