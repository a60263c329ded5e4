/* SPDX-License-Identifier: Apache-2.0 */
#include "test/unit/controller-manager/scenario.h"

extern const struct controller daemon_set_controller;

#define DS(pod_spec, more)                                                                                                                    \
	"{\"apiVersion\":\"apps/v1\",\"kind\":\"DaemonSet\",\"metadata\":{\"name\":\"agent\",\"namespace\":\"default\"},\"spec\":{\"selector\":{" \
	"\"matchLabels\":{\"app\":\"agent\"}},\"template\":{\"metadata\":{\"labels\":{\"app\":\"agent\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]" pod_spec "}}" more "}}"
#define NODE(name, labels, spec) "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"" name "\",\"labels\":{" labels "}},\"spec\":{" spec "}}"
#define TAINT(key, effect) "\"taints\":[{\"key\":\"" key "\",\"effect\":\"" effect "\"}]"
#define MINE " of=DaemonSet/agent label=app:agent "
#define MAKE "create pods default/agent-\n"
#define STATUS "update daemonsets/status default/agent\n"
#define TWO {NODE("n1", "", ""), NODE("n2", "\"disk\":\"ssd\"", "")}
#define ROW(title) .name = title, .skip = "create controllerrevisions"

static const struct scenario rows[] = {
	{ROW("every node gets one"), .owner = DS("", ""), .objects = TWO, .writes = MAKE MAKE STATUS, .status = "{\"desiredNumberScheduled\":2,\"currentNumberScheduled\":2,\"updatedNumberScheduled\":2,\"numberUnavailable\":2}"},
	{ROW("no node, no pod"), .owner = DS("", ""), .writes = STATUS},
	{ROW("those that have one are left"), .owner = DS("", ""), .objects = TWO, .pods = "a Running ready node=n1" MINE, .writes = MAKE STATUS},
	{ROW("a node selector chooses"), .owner = DS(",\"nodeSelector\":{\"disk\":\"ssd\"}", ""), .objects = TWO, .writes = MAKE STATUS, .status = "{\"desiredNumberScheduled\":1}"},
	{ROW("a pod where none is wanted goes"), .owner = DS(",\"nodeSelector\":{\"disk\":\"ssd\"}", ""), .objects = TWO, .pods = "a Running ready node=n1" MINE "\nb Running ready node=n2" MINE, .writes = "delete pods default/a\n" STATUS,
		.status = "{\"numberMisscheduled\":0,\"desiredNumberScheduled\":1}"},
	{ROW("a taint keeps it away"), .owner = DS("", ""), .objects = {NODE("n1", "", TAINT("special", "NoSchedule"))}, .writes = STATUS},
	{ROW("but does not drive it out"), .owner = DS("", ""), .objects = {NODE("n1", "", TAINT("special", "NoSchedule"))}, .pods = "a Running ready node=n1" MINE, .writes = STATUS, .status = "{\"numberMisscheduled\":1}"},
	{ROW("NoExecute does"), .owner = DS("", ""), .objects = {NODE("n1", "", TAINT("special", "NoExecute"))}, .pods = "a Running ready node=n1" MINE, .writes = "delete pods default/a\n" STATUS},
	{ROW("tolerated taints are none"), .owner = DS(",\"tolerations\":[{\"key\":\"special\",\"operator\":\"Exists\"}]", ""), .objects = {NODE("n1", "", TAINT("special", "NoExecute"))}, .writes = MAKE STATUS},
	{ROW("a node that is not ready gets its pod"), .owner = DS("", ""), .objects = {NODE("n1", "", TAINT("node.kubernetes.io/not-ready", "NoExecute"))}, .writes = MAKE STATUS},
	{ROW("a cordoned one too"), .owner = DS("", ""), .objects = {NODE("n1", "", "\"unschedulable\":true," TAINT("node.kubernetes.io/unschedulable", "NoSchedule"))}, .writes = MAKE STATUS},
	{ROW("without a network only host-network pods"), .owner = DS("", ""), .objects = {NODE("n1", "", TAINT("node.kubernetes.io/network-unavailable", "NoSchedule"))}, .writes = STATUS},
	{ROW("those do"), .owner = DS(",\"hostNetwork\":true", ""), .objects = {NODE("n1", "", TAINT("node.kubernetes.io/network-unavailable", "NoSchedule"))}, .writes = MAKE STATUS},
	{ROW("a second pod of a node goes, the younger"), .owner = DS("", ""), .objects = {NODE("n1", "", "")}, .pods = "a Running ready node=n1 age=10" MINE "\nb Running ready node=n1 age=90" MINE, .writes = "delete pods default/a\n" STATUS},
	{ROW("one that is going is not replaced yet"), .owner = DS("", ""), .objects = {NODE("n1", "", "")}, .pods = "a Running ready going node=n1" MINE, .writes = STATUS, .status = "{\"currentNumberScheduled\":1,\"numberReady\":1}"},
	{ROW("unless it has ended, and only something else holds it"), .owner = DS("", ""), .objects = {NODE("n1", "", "")}, .pods = "a Failed going node=n1" MINE, .writes = MAKE STATUS, .status = "{\"currentNumberScheduled\":1}"},
	{ROW("or the set may surge"), .owner = DS("", ",\"updateStrategy\":{\"type\":\"RollingUpdate\",\"rollingUpdate\":{\"maxSurge\":1,\"maxUnavailable\":0}}"), .objects = {NODE("n1", "", "")}, .pods = "a Running ready going node=n1" MINE, .writes = MAKE STATUS},
	{ROW("a failed one is deleted first"), .owner = DS("", ""), .objects = {NODE("n1", "", "")}, .pods = "a Failed node=n1" MINE, .writes = "delete pods default/a\n" STATUS, .event = "event agent Warning FailedDaemonPod"},
	{ROW("a succeeded one too"), .owner = DS("", ""), .objects = {NODE("n1", "", "")}, .pods = "a Succeeded node=n1" MINE, .writes = "delete pods default/a\n" STATUS, .event = "event agent Normal SucceededDaemonPod"},
	{ROW("an orphan is adopted"), .owner = DS("", ",\"updateStrategy\":{\"type\":\"OnDelete\"}"), .objects = {NODE("n1", "", "")}, .pods = "a Running ready node=n1 label=app:agent", .writes = "patch pods default/a\n" STATUS},
	{ROW("an old pod waits for its user"), .owner = DS("", ",\"updateStrategy\":{\"type\":\"OnDelete\"}"), .objects = {NODE("n1", "", "")}, .pods = "a Running ready node=n1" MINE, .writes = STATUS,
		.status = "{\"numberAvailable\":1,\"updatedNumberScheduled\":null}"},
	{ROW("rolling takes one at a time"), .owner = DS("", ""), .objects = TWO, .pods = "a Running ready node=n1" MINE "\nb Running ready node=n2" MINE, .writes = "delete pods default/a\n" STATUS},
	{ROW("one that tells the template's generation is up to date"), .owner = "{\"apiVersion\":\"apps/v1\",\"kind\":\"DaemonSet\",\"metadata\":{\"name\":\"agent\",\"namespace\":\"default\",\"annotations\":{"
		"\"deprecated.daemonset.template.generation\":\"7\"}},\"spec\":{\"selector\":{\"matchLabels\":{\"app\":\"agent\"}},\"template\":{\"metadata\":{\"labels\":{\"app\":\"agent\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}",
		.objects = TWO, .pods = "a Running ready node=n1 label=pod-template-generation:7" MINE "\nb Running ready node=n2 label=pod-template-generation:6" MINE, .writes = "delete pods default/b\n" STATUS,
		.status = "{\"updatedNumberScheduled\":1}"},
	{ROW("or as many as may be away"), .owner = DS("", ",\"updateStrategy\":{\"type\":\"RollingUpdate\",\"rollingUpdate\":{\"maxUnavailable\":\"100%\"}}"), .objects = TWO, .pods = "a Running ready node=n1" MINE "\nb Running ready node=n2" MINE,
		.writes = "delete pods default/a\ndelete pods default/b\n" STATUS},
	{ROW("old pods that serve nobody go at once"), .owner = DS("", ""), .objects = TWO, .pods = "a Running ready node=n1" MINE "\nb Running unready node=n2" MINE, .writes = "delete pods default/b\n" STATUS},
	{ROW("a surge makes the new one first"), .owner = DS("", ",\"updateStrategy\":{\"type\":\"RollingUpdate\",\"rollingUpdate\":{\"maxSurge\":1,\"maxUnavailable\":0}}"), .objects = TWO, .pods = "a Running ready node=n1" MINE "\nb Running ready node=n2" MINE,
		.writes = MAKE STATUS},
	{ROW("a surge does not count nodes whose pod serves nobody"), .owner = DS("", ",\"updateStrategy\":{\"type\":\"RollingUpdate\",\"rollingUpdate\":{\"maxSurge\":1,\"maxUnavailable\":0}}"), .objects = TWO,
		.pods = "a Running ready node=n1" MINE "\nb Running unready node=n2" MINE, .writes = MAKE MAKE STATUS},
	{ROW("minReadySeconds are waited for"), .owner = DS("", ",\"minReadySeconds\":100,\"updateStrategy\":{\"type\":\"OnDelete\"}"), .objects = {NODE("n1", "", "")}, .pods = "a Running ready age=60 node=n1" MINE, .status = "{\"numberReady\":1,\"numberAvailable\":null,\"numberUnavailable\":1}", .after_s = 40},
	{ROW("a selector that does not match makes nothing"), .owner = "{\"apiVersion\":\"apps/v1\",\"kind\":\"DaemonSet\",\"metadata\":{\"name\":\"agent\",\"namespace\":\"default\"},\"spec\":{\"selector\":{\"matchLabels\":{\"app\":\"mail\"}},"
		"\"template\":{\"metadata\":{\"labels\":{\"app\":\"agent\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}", .objects = TWO, .rounds = 2, .writes = STATUS, .event = "event agent Warning SelectorMismatch"},
	{ROW("a set that goes makes nothing"), .owner = "{\"apiVersion\":\"apps/v1\",\"kind\":\"DaemonSet\",\"metadata\":{\"name\":\"agent\",\"namespace\":\"default\",\"deletionTimestamp\":\"2027-01-15T08:00:00Z\",\"finalizers\":[\"foregroundDeletion\"]},"
		"\"spec\":{\"selector\":{\"matchLabels\":{\"app\":\"agent\"}},\"template\":{\"metadata\":{\"labels\":{\"app\":\"agent\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}", .objects = TWO, .writes = STATUS},
};

static void one_round(void **state)
{
	scenario_play_all(rows, array_len(rows), &daemon_set_controller);
}

static struct reconciler sets;

static int setup(void **state)
{
	fake_setup(state);
	sets = fake_reconciler(&daemon_set_controller);
	return 0;
}

static int teardown(void **state)
{
	fake_reconciler_done(&sets);
	return fake_teardown(state);
}

/* The scheduler and the kubelets: pods go where they are pinned. */
static void bind_all(void)
{
	for (size_t i = 0; i < fake.count; i++) {
		struct core_v1_pod *pod = fake.objects[i].live;
		if (fake.objects[i].what != CACHED_PODS || !pod || !str_empty(pod->spec.node_name))
			continue;
		const struct core_v1_node_selector_term *term = &pod->spec.affinity->node_affinity->required_during_scheduling_ignored_during_execution->node_selector_terms.items[0];
		autounref struct core_v1_pod *copy = api_copy(pod);
		copy->spec.node_name = term->match_fields.items[0].values.items[0];
		assert_int_equal(world_update(&fake.world, CACHED_PODS, copy, NULL, NULL), 0);
	}
}

static void settle(void)
{
	for (int i = 0; i < 100; i++) {
		size_t before = fake.writes;
		fake_reconcile_all(&sets, CACHED_DAEMON_SETS);
		bind_all();
		fake_run_all_pods();
		fake_finish_pods();
		if (fake.writes == before)
			return;
	}
	fail_msg("does not settle");
}

static const struct apps_v1_daemon_set_status *agent(void)
{
	return &((const struct apps_v1_daemon_set *)fake_live(CACHED_DAEMON_SETS, "default", "agent"))->status;
}

static void roll(const char *strategy, int most_away, int most_pods)
{
	autofree char *set = xprintf(DS("", ",\"updateStrategy\":{\"type\":\"RollingUpdate\",\"rollingUpdate\":%s}"), strategy);
	scenario_put(set);
	for (int i = 0; i < 8; i++) {
		autofree char *node = xprintf("{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"n%d\"}}", i);
		scenario_put(node);
	}
	settle();
	assert_int_equal(agent()->number_available, 8);
	fake_edit(CACHED_DAEMON_SETS, "default", "agent", NULL, "{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"two\"}]}}}}");
	for (int i = 0; i < 100 && !(agent()->updated_number_scheduled == 8 && agent()->number_available == 8); i++) {
		fake_reconcile_all(&sets, CACHED_DAEMON_SETS);
		int ready = 0, pods = 0;
		for (size_t j = 0; j < fake.count; j++) {
			const struct core_v1_pod *pod = fake.objects[j].live;
			if (fake.objects[j].what != CACHED_PODS || !pod)
				continue;
			pods += pod_is_active(pod);
			ready += pod_is_active(pod) && pod_is_ready(pod);
		}
		assert_true(8 - ready <= most_away);
		assert_true(pods <= most_pods);
		bind_all();
		fake_run_all_pods();
	}
	assert_int_equal(agent()->updated_number_scheduled, 8);
	settle();
	assert_int_equal(fake_count(CACHED_PODS), 8);
}

static void a_rollout_keeps_within_max_unavailable(void **state)
{
	roll("{\"maxUnavailable\":2}", 2, 8);
}

static void a_surge_never_goes_below(void **state)
{
	roll("{\"maxSurge\":2,\"maxUnavailable\":0}", 0, 10);
}

static void a_node_that_fails_its_pods_is_tried_ever_later(void **state)
{
	scenario_put(DS("", ""));
	scenario_put(NODE("n1", "", ""));
	int64_t waited[6] = {0};
	for (size_t i = 0; i < array_len(waited); i++) {
		for (int j = 0; j < 3; j++)
			fake_reconcile_all(&sets, CACHED_DAEMON_SETS);
		bind_all();
		assert_int_equal(fake_count(CACHED_PODS), 1);
		for (size_t j = 0; j < fake.count; j++)
			if (fake.objects[j].what == CACHED_PODS && fake.objects[j].live)
				fake_edit(CACHED_PODS, "default", meta_of(fake.objects[j].live)->name, "status", "{\"status\":{\"phase\":\"Failed\"}}");
		int wait = fake_reconcile_all(&sets, CACHED_DAEMON_SETS);
		while (wait) {
			waited[i] += wait;
			clock_advance_test(wait * NSEC_PER_MSEC);
			wait = fake_reconcile_all(&sets, CACHED_DAEMON_SETS);
		}
	}
	assert_int_equal(waited[0], 0);
	for (size_t i = 2; i < array_len(waited); i++)
		assert_true(waited[i] > waited[i - 1]);
}

static bool wakes(const char *from, const char *to)
{
	const struct controller_watch *watch = daemon_set_controller.watches;
	while (watch->what != CACHED_NODES)
		watch++;
	autounref void *a = NULL, *b = NULL;
	assert_int_equal(api_decode_json_any(from, strlen(from), NULL, &a, NULL), 0);
	assert_int_equal(api_decode_json_any(to, strlen(to), NULL, &b, NULL), 0);
	return watch->matters(a, b);
}

static void heartbeats_wake_no_set(void **state)
{
	assert_false(wakes(NODE("n1", "", ""), "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"n1\",\"resourceVersion\":\"7\"},\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}"));
	assert_true(wakes(NODE("n1", "", ""), NODE("n1", "\"a\":\"b\"", "")));
	assert_true(wakes(NODE("n1", "", ""), NODE("n1", "", TAINT("k", "NoSchedule"))));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_round),
		cmocka_unit_test_setup_teardown(a_rollout_keeps_within_max_unavailable, setup, teardown),
		cmocka_unit_test_setup_teardown(a_surge_never_goes_below, setup, teardown),
		cmocka_unit_test_setup_teardown(a_node_that_fails_its_pods_is_tried_ever_later, setup, teardown),
		cmocka_unit_test(heartbeats_wake_no_set),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
