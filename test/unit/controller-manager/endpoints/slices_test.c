/* SPDX-License-Identifier: Apache-2.0 */
#include "test/unit/controller-manager/scenario.h"

#include "api/discovery_v1.h"

extern const struct controller endpoint_slice_controller;

#define SERVICE(more)                                                                                                                                 \
	"{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"web\",\"namespace\":\"default\"},\"spec\":{\"selector\":{\"app\":\"web\"},\"ipFamilies\":[\"IPv4\"]," \
	"\"ports\":[{\"port\":80,\"targetPort\":8080" more "}]}}"
#define NAMED "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"web\",\"namespace\":\"default\"},\"spec\":{\"selector\":{\"app\":\"web\"},\"ports\":[{\"port\":80,\"targetPort\":\"absent\"}]}}"
#define SLICE(labels, ports)                                                                                                                          \
	"{\"apiVersion\":\"discovery.k8s.io/v1\",\"kind\":\"EndpointSlice\",\"metadata\":{\"name\":\"web-1\",\"namespace\":\"default\",\"labels\":{" labels "}}," \
	"\"addressType\":\"IPv4\",\"endpoints\":[],\"ports\":[" ports "]}"
#define OURS "\"kubernetes.io/service-name\":\"web\",\"endpointslice.kubernetes.io/managed-by\":\"endpointslice-controller.k8s.io\""
#define MADE "create endpointslices default/web-\n"

static const struct scenario rows[] = {
	{.name = "nobody behind it still is a slice", .owner = SERVICE(""), .writes = MADE},
	{.name = "a pod is one endpoint", .owner = SERVICE(""), .pods = "a Running ready label=app:web", .writes = MADE},
	{.name = "others' slices are left alone", .owner = SERVICE(""), .objects = {SLICE("\"kubernetes.io/service-name\":\"web\"", "")}, .writes = MADE},
	{.name = "a slice that is right is left", .owner = SERVICE(""), .objects = {SLICE(OURS, "")}, .writes = ""},
	{.name = "one of ports that nobody has becomes what is wanted", .owner = SERVICE(""), .objects = {SLICE(OURS, "{\"name\":\"\",\"port\":9,\"protocol\":\"TCP\"}")}, .writes = "update endpointslices default/web-1\n"},
	{.name = "a port that no container names", .owner = NAMED, .pods = "a Running ready label=app:web", .writes = MADE},
	{.name = "a service that goes is nobody's", .key = "web", .writes = ""},
};

static void one_round(void **state)
{
	scenario_play_all(rows, array_len(rows), &endpoint_slice_controller);
}

static const struct discovery_v1_endpoint_slice *only_slice(void)
{
	const struct discovery_v1_endpoint_slice *found = NULL;
	for (size_t i = 0; i < fake.count; i++)
		if (fake.objects[i].what == CACHED_ENDPOINT_SLICES && fake.objects[i].live) {
			assert_null(found);
			found = fake.objects[i].live;
		}
	assert_non_null(found);
	return found;
}

static const char *trigger(void)
{
	return api_map_get(&only_slice()->metadata.annotations, "endpoints.kubernetes.io/last-change-trigger-time");
}

#define POD(name, second)                                                                                                                             \
	"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"" name "\",\"namespace\":\"default\",\"uid\":\"u-" name "\",\"labels\":{\"app\":\"web\"}}," \
	"\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]},\"status\":{\"phase\":\"Running\",\"podIP\":\"10.0.0." second "\",\"podIPs\":[{\"ip\":\"10.0.0." second "\"}],"  \
	"\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\",\"lastTransitionTime\":\"2027-01-15T08:00:" second "Z\"}]}}"

/* A slice says when the earliest of the changes that it tells of happened. */
static void a_slice_tells_what_set_it_off(void **state)
{
	struct reconciler r = fake_reconciler(&endpoint_slice_controller);
	fake_add("{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"web\",\"namespace\":\"default\",\"uid\":\"u\"},\"spec\":{\"selector\":{\"app\":\"web\"},"
		 "\"ports\":[{\"port\":80,\"targetPort\":8080}]}}");
	fake_add(POD("a", "10"));
	fake_reconcile_all(&r, CACHED_SERVICES);
	assert_string_equal(trigger(), "2027-01-15T08:00:00Z"); /* its first: since the service is there */
	fake_add(POD("b", "21"));
	fake_add(POD("c", "20"));
	fake_reconcile_all(&r, CACHED_SERVICES);
	assert_int_equal(only_slice()->endpoints.len, 3);
	assert_string_equal(trigger(), "2027-01-15T08:00:20Z");
	fake_edit(CACHED_PODS, "default", "a", NULL, "{\"metadata\":{\"labels\":{\"app\":\"other\"}}}");
	fake_reconcile_all(&r, CACHED_SERVICES);
	assert_int_equal(only_slice()->endpoints.len, 2);
	assert_null(trigger()); /* nothing that happened to the pods that are left */
	fake_reconciler_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_round),
		cmocka_unit_test_setup_teardown(a_slice_tells_what_set_it_off, fake_setup, fake_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
