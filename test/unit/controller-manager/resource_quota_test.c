/* SPDX-License-Identifier: Apache-2.0 */
#include "test/unit/controller-manager/scenario.h"

extern const struct controller resource_quota_controller;

#define QUOTA(hard, more, status) "{\"apiVersion\":\"v1\",\"kind\":\"ResourceQuota\",\"metadata\":{\"name\":\"q\",\"namespace\":\"default\"},\"spec\":{\"hard\":{" hard "}" more "},\"status\":{" status "}}"
#define SERVICE "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"s\",\"namespace\":\"default\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80}]}}"
#define STATUS "update resourcequotas/status default/q\n"

static const struct scenario rows[] = {
	{.name = "pods are counted, ended ones are not", .owner = QUOTA("\"pods\":\"5\"", "", ""), .pods = "a Running\nb Pending\nc Failed\nd Succeeded", .writes = STATUS, .status = "{\"hard\":{\"pods\":\"5\"},\"used\":{\"pods\":\"2\"}}"},
	{.name = "what has a name of its own", .owner = QUOTA("\"services\":\"3\",\"count/services\":\"4\",\"services.nodeports\":\"2\"", "", ""), .objects = {SERVICE}, .status = "{\"used\":{\"services\":\"1\",\"count/services\":\"1\",\"services.nodeports\":\"1\"}}"},
	{.name = "scopes choose", .owner = QUOTA("\"pods\":\"5\"", ",\"scopes\":[\"BestEffort\"]", ""), .pods = "a Running", .status = "{\"used\":{\"pods\":\"1\"}}"},
	{.name = "and leave out", .owner = QUOTA("\"pods\":\"5\"", ",\"scopes\":[\"NotBestEffort\"]", ""), .pods = "a Running", .status = "{\"used\":{\"pods\":\"0\"}}"},
	{.name = "one in force is not counted at once: admission may have charged it for what does not show yet", .owner = QUOTA("\"pods\":\"5\"", "", "\"hard\":{\"pods\":\"5\"},\"used\":{\"pods\":\"3\"}"), .pods = "a Running", .writes = "", .after_s = 1},
	{.name = "a limit that is new is", .owner = QUOTA("\"pods\":\"5\",\"secrets\":\"1\"", "", "\"hard\":{\"pods\":\"5\"},\"used\":{\"pods\":\"1\"}"), .pods = "a Running", .writes = STATUS, .status = "{\"used\":{\"pods\":\"1\",\"secrets\":\"0\"}}"},
};

static void counts(void **state)
{
	scenario_play_all(rows, array_len(rows), &resource_quota_controller);
}

static void a_quota_left_alone_is_counted_and_a_charged_one_waits(void **state)
{
	fake_setup(state);
	struct reconciler r = fake_reconciler(&resource_quota_controller);
	scenario_put(QUOTA("\"pods\":\"5\"", "", "\"hard\":{\"pods\":\"5\"},\"used\":{\"pods\":\"3\"}"));
	scenario_pods("a Running");
	assert_true(r.controller->reconcile(&r, "default", "q", NULL) > 0);
	clock_advance_test(NSEC_PER_SEC / 2);
	fake_edit(CACHED_RESOURCE_QUOTAS, "default", "q", "status", "{\"status\":{\"used\":{\"pods\":\"4\"}}}");
	r.controller->reconcile(&r, "default", "q", NULL);
	clock_advance_test(NSEC_PER_SEC * 3 / 4);
	r.controller->reconcile(&r, "default", "q", NULL);
	const struct core_v1_resource_quota *quota = fake_live(CACHED_RESOURCE_QUOTAS, "default", "q");
	assert_int_equal(quantity_value(api_quantity_get(&quota->status.used, "pods")), 4);
	clock_advance_test(NSEC_PER_SEC);
	r.controller->reconcile(&r, "default", "q", NULL);
	quota = fake_live(CACHED_RESOURCE_QUOTAS, "default", "q");
	assert_int_equal(quantity_value(api_quantity_get(&quota->status.used, "pods")), 1);
	fake_reconciler_done(&r);
	fake_teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts),
		cmocka_unit_test(a_quota_left_alone_is_counted_and_a_charged_one_waits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
