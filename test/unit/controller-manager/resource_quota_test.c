/* SPDX-License-Identifier: Apache-2.0 */
#include "test/unit/controller-manager/scenario.h"

extern const struct controller resource_quota_controller;

#define QUOTA(hard, more, status) "{\"apiVersion\":\"v1\",\"kind\":\"ResourceQuota\",\"metadata\":{\"name\":\"q\",\"namespace\":\"default\"},\"spec\":{\"hard\":{" hard "}" more "},\"status\":{" status "}}"
#define SERVICE "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"s\",\"namespace\":\"default\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80}]}}"
#define DEVICES "{\"apiVersion\":\"resource.k8s.io/v1\",\"kind\":\"ResourceClaim\",\"metadata\":{\"name\":\"k\",\"namespace\":\"default\"},\"spec\":{\"devices\":{\"requests\":[{\"name\":\"r\",\"exactly\":{\"deviceClassName\":\"gpu\",\"count\":3}}]}}}"
#define STATUS "update resourcequotas/status default/q\n"

static const struct scenario rows[] = {
	{.name = "pods are counted, ended ones are not", .owner = QUOTA("\"pods\":\"5\"", "", ""), .pods = "a Running\nb Pending\nc Failed\nd Succeeded", .writes = STATUS, .status = "{\"hard\":{\"pods\":\"5\"},\"used\":{\"pods\":\"2\"}}"},
	{.name = "what has a name of its own", .owner = QUOTA("\"services\":\"3\",\"count/services\":\"4\",\"services.nodeports\":\"2\"", "", ""), .objects = {SERVICE}, .status = "{\"used\":{\"services\":\"1\",\"count/services\":\"1\",\"services.nodeports\":\"1\"}}"},
	{.name = "devices by their class", .owner = QUOTA("\"gpu.deviceclass.resource.k8s.io/devices\":\"9\",\"count/resourceclaims.resource.k8s.io\":\"9\"", "", ""), .objects = {DEVICES},
		.status = "{\"used\":{\"gpu.deviceclass.resource.k8s.io/devices\":\"3\",\"count/resourceclaims.resource.k8s.io\":\"1\"}}"},
	{.name = "scopes choose", .owner = QUOTA("\"pods\":\"5\"", ",\"scopes\":[\"BestEffort\"]", ""), .pods = "a Running", .status = "{\"used\":{\"pods\":\"1\"}}"},
	{.name = "and leave out", .owner = QUOTA("\"pods\":\"5\"", ",\"scopes\":[\"NotBestEffort\"]", ""), .pods = "a Running", .status = "{\"used\":{\"pods\":\"0\"}}"},
	{.name = "one in force is not counted at once: admission may have charged it for what does not show yet", .owner = QUOTA("\"pods\":\"5\"", "", "\"hard\":{\"pods\":\"5\"},\"used\":{\"pods\":\"3\"}"), .pods = "a Running", .writes = "", .after_s = 61},
	{.name = "a limit that is new is", .owner = QUOTA("\"pods\":\"5\",\"secrets\":\"1\"", "", "\"hard\":{\"pods\":\"5\"},\"used\":{\"pods\":\"1\"}"), .pods = "a Running", .writes = STATUS, .status = "{\"used\":{\"pods\":\"1\",\"secrets\":\"0\"}}"},
};

static void counts(void **state)
{
	scenario_play_all(rows, array_len(rows), &resource_quota_controller);
}

static int64_t used_pods(void)
{
	const struct core_v1_resource_quota *quota = fake_live(CACHED_RESOURCE_QUOTAS, "default", "q");
	return quantity_value(api_quantity_get(&quota->status.used, "pods"));
}

/* Somebody was charged whose pod never came: that is found out once no request can be under way any more. */
static void a_quota_left_alone_is_counted_and_a_charged_one_waits(void **state)
{
	fake_setup(state);
	struct reconciler r = fake_reconciler(&resource_quota_controller);
	scenario_put(QUOTA("\"pods\":\"5\"", "", "\"hard\":{\"pods\":\"5\"},\"used\":{\"pods\":\"3\"}"));
	scenario_pods("a Running");
	assert_true(r.controller->reconcile(&r, "default", "q", NULL) > 0);
	clock_advance_test(40 * NSEC_PER_SEC);
	fake_edit(CACHED_RESOURCE_QUOTAS, "default", "q", "status", "{\"status\":{\"used\":{\"pods\":\"4\"}}}");
	r.controller->reconcile(&r, "default", "q", NULL);
	clock_advance_test(40 * NSEC_PER_SEC);
	r.controller->reconcile(&r, "default", "q", NULL);
	assert_int_equal(used_pods(), 4);
	clock_advance_test(21 * NSEC_PER_SEC);
	r.controller->reconcile(&r, "default", "q", NULL);
	assert_int_equal(used_pods(), 1);
	fake_reconciler_done(&r);
	fake_teardown(state);
}

static void a_stale_cache_makes_no_room(void **state)
{
	fake_setup(state);
	struct reconciler r = fake_reconciler(&resource_quota_controller);
	scenario_put(QUOTA("\"pods\":\"5\"", "", "\"hard\":{\"pods\":\"5\"},\"used\":{\"pods\":\"2\"}"));
	scenario_pods("a Running");
	fake.stale = true;
	scenario_pods("b Running");
	assert_true(r.controller->reconcile(&r, "default", "q", NULL) > 0);
	clock_advance_test(600 * NSEC_PER_SEC);
	assert_true(r.controller->reconcile(&r, "default", "q", NULL) > 0);
	assert_int_equal(used_pods(), 2);
	fake_reconciler_done(&r);
	fake_teardown(state);
}

/* What was seen to go makes room at once, also while somebody else is charged. */
static void what_goes_is_given_back_at_once(void **state)
{
	fake_setup(state);
	struct reconciler r = fake_reconciler(&resource_quota_controller);
	scenario_put(QUOTA("\"pods\":\"5\"", "", "\"hard\":{\"pods\":\"5\"},\"used\":{\"pods\":\"4\"}"));
	scenario_pods("a Running\nb Running\nc Running");
	r.controller->reconcile(&r, "default", "q", NULL);
	assert_int_equal(used_pods(), 4); /* three are there, and one is on its way */
	autounref void *gone = api_ref(fake_live(CACHED_PODS, "default", "b"));
	assert_int_equal(world_delete(&fake.world, CACHED_PODS, gone, NULL, NULL), 0);
	r.controller->reconcile(&r, "default", "q", NULL);
	assert_int_equal(used_pods(), 3);
	r.controller->reconcile(&r, "default", "q", NULL);
	assert_int_equal(used_pods(), 3);
	fake_reconciler_done(&r);
	fake_teardown(state);
}

/* What is wanted and what is charged wakes it; what a client makes of the status otherwise does not. */
static void wakes_for_charges_and_limits_alone(void **state)
{
	static const struct {
		const char *subresource, *patch;
		bool matters;
	} edits[] = {
		{"status", "{\"status\":{\"hard\":{\"pods\":\"9\"}}}", false},
		{"status", "{\"status\":{\"used\":{\"pods\":\"2\"}}}", true},
		{"status", "{\"status\":{\"used\":{\"pods\":\"2\",\"secrets\":\"1\"}}}", true},
		{"status", "{\"status\":{\"used\":null}}", false},
		{NULL, "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}", false},
		{NULL, "{\"spec\":{\"hard\":{\"pods\":\"6\"}}}", true},
	};
	fake_setup(state);
	const struct controller_watch *own = resource_quota_controller.watches;
	assert_int_equal(own->what, CACHED_RESOURCE_QUOTAS);
	scenario_put(QUOTA("\"pods\":\"5\"", "", "\"hard\":{\"pods\":\"5\"},\"used\":{\"pods\":\"1\"}"));
	for (size_t i = 0; i < array_len(edits); i++) {
		autounref void *before = api_ref(fake_live(CACHED_RESOURCE_QUOTAS, "default", "q"));
		fake_edit(CACHED_RESOURCE_QUOTAS, "default", "q", edits[i].subresource, edits[i].patch);
		assert_int_equal(own->matters(before, fake_live(CACHED_RESOURCE_QUOTAS, "default", "q")), edits[i].matters);
	}
	fake_teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts),
		cmocka_unit_test(a_quota_left_alone_is_counted_and_a_charged_one_waits),
		cmocka_unit_test(a_stale_cache_makes_no_room),
		cmocka_unit_test(what_goes_is_given_back_at_once),
		cmocka_unit_test(wakes_for_charges_and_limits_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
