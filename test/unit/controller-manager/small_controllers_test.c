/* SPDX-License-Identifier: Apache-2.0 */
/* Controllers of a few lines: aggregated roles, default accounts, Jobs whose time is over, the status of policies, pods nobody will remove. */
#include "test/unit/controller-manager/scenario.h"

extern const struct controller cluster_role_aggregation_controller, service_account_controller, ttl_after_finished_controller, policy_status_controller, pod_gc_controller;

/* ---- ClusterRoles ---- */

#define ROLE(name, labels, rules) "{\"apiVersion\":\"rbac.authorization.k8s.io/v1\",\"kind\":\"ClusterRole\",\"metadata\":{\"name\":\"" name "\",\"labels\":{" labels "}},\"rules\":[" rules "]}"
#define SUM(selectors, rules) \
	"{\"apiVersion\":\"rbac.authorization.k8s.io/v1\",\"kind\":\"ClusterRole\",\"metadata\":{\"name\":\"sum\",\"labels\":{\"part\":\"yes\"}},\"aggregationRule\":{\"clusterRoleSelectors\":[" selectors "]},\"rules\":[" rules "]}"
#define RULE(resource) "{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"" resource "\"]}"
#define PART "{\"matchLabels\":{\"part\":\"yes\"}}"
#define OTHER "{\"matchLabels\":{\"part\":\"other\"}}"
#define WRITE "update clusterroles sum\n"

static const struct scenario roles[] = {
	{.name = "rules of those that match come together", .owner = SUM(PART, ""), .objects = {ROLE("a", "\"part\":\"yes\"", RULE("pods")), ROLE("b", "\"part\":\"no\"", RULE("secrets"))}, .writes = WRITE},
	{.name = "once", .owner = SUM(PART "," PART, RULE("pods")), .objects = {ROLE("a", "\"part\":\"yes\"", RULE("pods")), ROLE("b", "\"part\":\"yes\"", RULE("pods"))}, .writes = ""},
	{.name = "by name, selector after selector", .owner = SUM(PART "," OTHER, RULE("pods") "," RULE("nodes")), .objects = {ROLE("z", "\"part\":\"yes\"", RULE("pods")), ROLE("a", "\"part\":\"other\"", RULE("nodes"))}, .writes = ""},
	{.name = "its own count for nothing", .owner = SUM(PART, RULE("secrets")), .writes = WRITE},
	{.name = "a role of its own rules is left", .owner = ROLE("plain", "\"part\":\"yes\"", RULE("pods")), .objects = {ROLE("a", "\"part\":\"yes\"", RULE("nodes"))}, .writes = ""},
	{.name = "one that is gone", .key = "sum", .writes = ""},
};

/* ---- accounts ---- */

#define SPACE(phase) "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"space\"},\"status\":{\"phase\":\"" phase "\"}}"
#define ACCOUNT(name) "{\"apiVersion\":\"v1\",\"kind\":\"ServiceAccount\",\"metadata\":{\"name\":\"" name "\",\"namespace\":\"space\"}}"

static const struct scenario accounts[] = {
	{.name = "a namespace gets its account", .owner = SPACE("Active"), .writes = "create serviceaccounts space/default\n"},
	{.name = "once", .owner = SPACE("Active"), .objects = {ACCOUNT("default")}, .writes = ""},
	{.name = "others do not stand for it", .owner = SPACE("Active"), .objects = {ACCOUNT("builder")}, .writes = "create serviceaccounts space/default\n"},
	{.name = "one that goes gets none", .owner = SPACE("Terminating"), .writes = ""},
	{.name = "one that is gone", .key = "space", .writes = ""},
};

/* ---- Jobs whose time is over; it is 2027-01-15T08:00:00Z ---- */

#define JOB(spec, status) \
	"{\"apiVersion\":\"batch/v1\",\"kind\":\"Job\",\"metadata\":{\"name\":\"old\",\"namespace\":\"default\"},\"spec\":{" spec "\"template\":{\"spec\":{\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}},\"status\":{" status "}}"
#define ENDED(type, when) "\"conditions\":[{\"type\":\"" type "\",\"status\":\"True\",\"lastTransitionTime\":\"2027-01-15T" when "Z\"}]"
#define TTL "\"ttlSecondsAfterFinished\":600,"

static const struct scenario old_jobs[] = {
	{.name = "its time is over", .owner = JOB(TTL, ENDED("Complete", "07:49:00")), .writes = "delete jobs default/old\n"},
	{.name = "also where it failed", .owner = JOB(TTL, ENDED("Failed", "07:49:00")), .writes = "delete jobs default/old\n"},
	{.name = "not yet", .owner = JOB(TTL, ENDED("Complete", "07:55:00")), .writes = "", .after_s = 300},
	{.name = "at once", .owner = JOB("\"ttlSecondsAfterFinished\":0,", ENDED("Complete", "08:00:00")), .writes = "delete jobs default/old\n"},
	{.name = "one without a time stays", .owner = JOB("", ENDED("Complete", "01:00:00")), .writes = "", .after_s = -1},
	{.name = "one that runs stays", .owner = JOB(TTL, ENDED("Suspended", "01:00:00")), .writes = "", .after_s = -1},
};

/* ---- policies ---- */

#define POLICY(status) "{\"apiVersion\":\"admissionregistration.k8s.io/v1\",\"kind\":\"ValidatingAdmissionPolicy\",\"metadata\":{\"name\":\"p\",\"generation\":3},\"spec\":{\"validations\":[{\"expression\":\"true\"}]},\"status\":{" status "}}"

static const struct scenario policies[] = {
	{.name = "a new one is looked at", .owner = POLICY(""), .writes = "patch validatingadmissionpolicies/status p\n"},
	{.name = "and a changed one", .owner = POLICY("\"observedGeneration\":2,\"typeChecking\":{}"), .writes = "patch validatingadmissionpolicies/status p\n"},
	{.name = "not twice", .owner = POLICY("\"observedGeneration\":3,\"typeChecking\":{}"), .writes = ""},
};

static void each_look_does_what_it_should(void **state)
{
	scenario_play_all(roles, array_len(roles), &cluster_role_aggregation_controller);
	scenario_play_all(accounts, array_len(accounts), &service_account_controller);
	scenario_play_all(old_jobs, array_len(old_jobs), &ttl_after_finished_controller);
	scenario_play_all(policies, array_len(policies), &policy_status_controller);
}

/* ---- pods that nobody will remove ---- */

#define NODE(name, taints, ready) \
	"{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"" name "\"},\"spec\":{\"taints\":[" taints "]},\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"" ready "\"}]}}"
#define OUT "{\"key\":\"node.kubernetes.io/out-of-service\",\"effect\":\"NoExecute\"}"

static void pods_are_collected(void **state)
{
	static const struct {
		const char *name, *node, *pods;
		int64_t keep;
		int rounds; /* a minute apart */
		const char *left;
	} rows[] = {
		{"of nodes that are there", NODE("n", "", "True"), "a Running node=n\nb Running going node=n\nc Pending", 100, 2, "a b c"},
		{"of a node that is gone, after a while", NODE("n", "", "True"), "a Running node=gone\nb Running node=n", 100, 2, "b"},
		{"not at once", NODE("n", "", "True"), "a Running node=gone", 100, 1, "a"},
		{"that were to go before they had a node", NODE("n", "", "True"), "a Pending going\nb Pending", 100, 1, "b"},
		{"that go on a node out of service", NODE("n", OUT, "False"), "a Running going node=n\nb Running node=n", 100, 1, "b"},
		{"not while it is ready all the same", NODE("n", OUT, "True"), "a Running going node=n", 100, 1, "a"},
		{"the oldest of too many that have ended", NODE("n", "", "True"), "a Succeeded node=n age=10\nb Failed node=n age=30\nc Succeeded node=n age=20\nd Running node=n age=99", 2, 1, "a c d"},
		{"of which the evicted go first", NODE("n", "", "True"), "a Succeeded node=n age=30\nb Failed node=n age=10 reason=Evicted\nc Succeeded node=n age=20", 2, 1, "a c"},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		fake_setup(state);
		print_message("  %s\n", rows[i].name);
		fake.settings.terminated_pod_gc_threshold = rows[i].keep;
		struct reconciler r = fake_reconciler(&pod_gc_controller);
		scenario_put(rows[i].node);
		scenario_pods(rows[i].pods);
		for (size_t j = 0; j < fake.count; j++)
			if (fake.objects[j].what == CACHED_PODS)
				pod_gc_controller.watches[0].wake(&r, fake.objects[j].live);
		for (int round = 0; round < rows[i].rounds; round++) {
			assert_in_range(pod_gc_controller.reconcile(&r, NULL, "", NULL), 0, INT32_MAX);
			clock_advance_test(60 * NSEC_PER_SEC);
		}
		autobuf struct buf left = BUF_INIT(BUF_MAX_DEFAULT);
		for (size_t j = 0; j < fake.count; j++)
			if (fake.objects[j].what == CACHED_PODS && fake.objects[j].live)
				buf_printf(&left, "%s%s", left.len ? " " : "", meta_of(fake.objects[j].live)->name);
		assert_string_equal(str_or(left.data, ""), rows[i].left);
		fake_reconciler_done(&r);
		fake_teardown(state);
	}
}

/* That a node was missing before is no reason to collect at once what comes to it later. */
static void pods_that_come_later_wait_too(void **state)
{
	fake_setup(state);
	struct reconciler r = fake_reconciler(&pod_gc_controller);
	scenario_put(NODE("n", "", "True"));
	static const char *const pods[] = {"a Running node=gone", "b Running node=gone"};
	for (size_t i = 0; i < array_len(pods); i++) {
		scenario_pods(pods[i]);
		size_t at = fake.count - 1;
		pod_gc_controller.watches[0].wake(&r, fake.objects[at].live);
		assert_in_range(pod_gc_controller.reconcile(&r, NULL, "", NULL), 0, INT32_MAX);
		assert_non_null(fake.objects[at].live);
		clock_advance_test(60 * NSEC_PER_SEC);
		assert_in_range(pod_gc_controller.reconcile(&r, NULL, "", NULL), 0, INT32_MAX);
		assert_null(fake.objects[at].live);
		clock_advance_test(600 * NSEC_PER_SEC);
	}
	fake_reconciler_done(&r);
	fake_teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(each_look_does_what_it_should), cmocka_unit_test(pods_are_collected), cmocka_unit_test(pods_that_come_later_wait_too)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
