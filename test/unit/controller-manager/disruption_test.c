/* SPDX-License-Identifier: Apache-2.0 */
#include "test/unit/controller-manager/scenario.h"

extern const struct controller disruption_controller;

#define PDB_WITH(spec, status) \
	"{\"apiVersion\":\"policy/v1\",\"kind\":\"PodDisruptionBudget\",\"metadata\":{\"name\":\"web\",\"namespace\":\"default\"},\"spec\":{\"selector\":{\"matchLabels\":{\"app\":\"web\"}}," spec "},\"status\":{\"disruptionsAllowed\":0,\"currentHealthy\":0,\"desiredHealthy\":0,\"expectedPods\":0" status "}}"
#define PDB(spec) PDB_WITH(spec, "")
#define SCALED(kind, group, name, replicas, owners) \
	"{\"apiVersion\":\"" group "\",\"kind\":\"" kind "\",\"metadata\":{\"name\":\"" name "\",\"namespace\":\"default\",\"ownerReferences\":[" owners "]},\"spec\":{\"replicas\":" replicas ",\"selector\":{\"matchLabels\":{\"app\":\"web\"}},\"template\":{\"metadata\":{\"labels\":{\"app\":\"web\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}"
#define RS SCALED("ReplicaSet", "apps/v1", "rs", "4", "")
#define BY_DEPLOYMENT "{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"name\":\"d\",\"uid\":\"u-d\",\"controller\":true}"
#define STATUS "update poddisruptionbudgets/status default/web\n"
#define W(more) " Running " more " label=app:web "
#define OF " of=ReplicaSet/rs "
#define SAYS(allowed, healthy, desired, expected) "{\"disruptionsAllowed\":" allowed ",\"currentHealthy\":" healthy ",\"desiredHealthy\":" desired ",\"expectedPods\":" expected ",\"observedGeneration\":1}"

static const struct scenario rows[] = {
	{.name = "a number that is to be there", .owner = PDB("\"minAvailable\":1"), .pods = "a" W("ready") "\nb" W("ready") "\nc" W("unready"), .writes = STATUS, .status = SAYS("1", "2", "1", "3")},
	{.name = "too few", .owner = PDB("\"minAvailable\":2"), .pods = "a" W("ready") "\nb" W("unready"), .status = SAYS("0", "1", "2", "2")},
	{.name = "no pods", .owner = PDB("\"minAvailable\":1"), .status = SAYS("0", "0", "1", "0"), .event = "event web Normal NoPods"},
	{.name = "pods of others do not count", .owner = PDB("\"minAvailable\":1"), .pods = "a" W("ready") "\nb Running ready label=app:mail", .status = SAYS("0", "1", "1", "1")},
	{.name = "what goes is not healthy", .owner = PDB("\"minAvailable\":1"), .pods = "a" W("ready") "\nb" W("ready going"), .status = SAYS("0", "1", "1", "2")},
	{.name = "a part of what its controllers want", .owner = PDB("\"minAvailable\":\"50%\""), .objects = {RS}, .pods = "a" W("ready") OF "\nb" W("ready") OF "\nc" W("ready") OF, .status = SAYS("1", "3", "2", "4")},
	{.name = "parts are rounded up", .owner = PDB("\"minAvailable\":\"30%\""), .objects = {RS}, .pods = "a" W("ready") OF "\nb" W("ready") OF "\nc" W("ready") OF, .status = SAYS("1", "3", "2", "4")},
	{.name = "how many may be away", .owner = PDB("\"maxUnavailable\":1"), .objects = {RS}, .pods = "a" W("ready") OF "\nb" W("ready") OF "\nc" W("ready") OF "\nd" W("ready") OF, .status = SAYS("1", "4", "3", "4")},
	{.name = "none may", .owner = PDB("\"maxUnavailable\":0"), .objects = {RS}, .pods = "a" W("ready") OF, .status = SAYS("0", "1", "4", "4")},
	{.name = "a deployment counts once, whatever its sets", .owner = PDB("\"maxUnavailable\":1"),
		.objects = {SCALED("Deployment", "apps/v1", "d", "3", ""), SCALED("ReplicaSet", "apps/v1", "rs", "3", BY_DEPLOYMENT), SCALED("ReplicaSet", "apps/v1", "old", "1", BY_DEPLOYMENT)},
		.pods = "a" W("ready") OF "\nb" W("ready of=ReplicaSet/old") "\nc" W("ready") OF, .status = SAYS("1", "3", "2", "3")},
	{.name = "stateful sets have a scale", .owner = PDB("\"maxUnavailable\":1"), .objects = {SCALED("StatefulSet", "apps/v1", "s", "2", "")}, .pods = "a" W("ready of=StatefulSet/s") "\nb" W("ready of=StatefulSet/s"), .status = SAYS("1", "2", "1", "2")},
	{.name = "pods of nobody do not count for it", .owner = PDB("\"maxUnavailable\":1"), .objects = {RS}, .pods = "a" W("ready") OF "\nb" W("ready"), .status = "{\"expectedPods\":4}", .event = "event web Warning UnmanagedPods"},
	{.name = "a controller that is not there", .owner = PDB("\"maxUnavailable\":1"), .pods = "a" W("ready") OF, .status = "{\"disruptionsAllowed\":0}", .event = "event web Warning CalculateExpectedPodCountFailed: Failed to calculate the number of expected pods: found no controllers for pod \"a\""},
	{.name = "a granted eviction counts as gone", .owner = PDB_WITH("\"minAvailable\":1", ",\"disruptedPods\":{\"a\":\"2027-01-15T07:59:30Z\"}"), .pods = "a" W("ready") "\nb" W("ready"), .status = SAYS("0", "1", "1", "2"), .after_s = 90},
	{.name = "one that did not come true is forgotten", .owner = PDB_WITH("\"minAvailable\":1", ",\"disruptedPods\":{\"a\":\"2027-01-15T07:50:00Z\"}"), .pods = "a" W("ready") "\nb" W("ready"), .status = "{\"disruptionsAllowed\":1,\"disruptedPods\":null}",
		.event = "event a Warning NotDeleted: Pod was expected by PDB default/web to be deleted but it wasn't"},
	{.name = "one that came true too", .owner = PDB_WITH("\"minAvailable\":1", ",\"disruptedPods\":{\"z\":\"2027-01-15T07:59:30Z\"}"), .pods = "a" W("ready") "\nb" W("ready"), .status = "{\"disruptionsAllowed\":1,\"disruptedPods\":null}", .event = "!NotDeleted"},
	{.name = "conditions of others stay", .owner = PDB_WITH("\"minAvailable\":1", ",\"conditions\":[{\"type\":\"Mine\",\"status\":\"True\",\"reason\":\"r\",\"message\":\"\",\"lastTransitionTime\":\"2027-01-15T07:00:00Z\"}]"), .pods = "a" W("ready") "\nb" W("ready"),
		.status = "{\"conditions\":[{\"type\":\"Mine\",\"status\":\"True\",\"reason\":\"r\",\"message\":\"\",\"lastTransitionTime\":\"2027-01-15T07:00:00Z\"},{\"type\":\"DisruptionAllowed\",\"status\":\"True\",\"reason\":\"SufficientPods\",\"message\":\"\",\"observedGeneration\":1,\"lastTransitionTime\":\"2027-01-15T08:00:00Z\"}]}"},
};

/* Who looks at a pod that cannot be evicted is told why. */
static void a_pod_of_two_budgets_says_so(void **state)
{
	fake_setup(state);
	struct reconciler r = fake_reconciler(&disruption_controller);
	scenario_put(PDB("\"minAvailable\":1"));
	scenario_pods("a" W("ready"));
	const void *pod = fake_live(CACHED_PODS, "default", "a");
	disruption_controller.watches[1].wake(&r, pod);
	assert_null(strstr(str_or(fake.log.data, ""), "MultiplePodDisruptionBudgets"));
	scenario_put("{\"apiVersion\":\"policy/v1\",\"kind\":\"PodDisruptionBudget\",\"metadata\":{\"name\":\"second\",\"namespace\":\"default\"},\"spec\":{\"minAvailable\":1,\"selector\":{\"matchLabels\":{\"app\":\"web\"}}}}");
	disruption_controller.watches[1].wake(&r, pod);
	assert_non_null(strstr(fake.log.data, "event a Warning MultiplePodDisruptionBudgets: Pod \"default\"/\"a\" matches multiple PodDisruptionBudgets, \"web\" and \"second\""));
	fake_reconciler_done(&r);
	fake_teardown(state);
}

static void budgets(void **state)
{
	scenario_play_all(rows, array_len(rows), &disruption_controller);
}

static void a_disruption_that_does_not_come_is_taken_back(void **state)
{
	fake_setup(state);
	struct reconciler r = fake_reconciler(&disruption_controller);
	scenario_pods("a Running ready");
	fake_edit(CACHED_PODS, "default", "a", "status", "{\"status\":{\"conditions\":[{\"type\":\"DisruptionTarget\",\"status\":\"True\",\"reason\":\"EvictionByEvictionAPI\",\"lastTransitionTime\":\"2027-01-15T08:00:00Z\"}]}}");
	assert_in_range(r.controller->reconcile(&r, "default", "pod:a", NULL), 119000, 121000);
	clock_advance_test(121 * NSEC_PER_SEC);
	assert_int_equal(r.controller->reconcile(&r, "default", "pod:a", NULL), 0);
	assert_string_equal(pod_condition(fake_live(CACHED_PODS, "default", "a"), "DisruptionTarget")->status, "False");
	fake_reconciler_done(&r);
	fake_teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(budgets), cmocka_unit_test(a_pod_of_two_budgets_says_so),
		cmocka_unit_test(a_disruption_that_does_not_come_is_taken_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
