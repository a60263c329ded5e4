/* SPDX-License-Identifier: Apache-2.0 */
#include "test/unit/controller-manager/scenario.h"

extern const struct controller replica_set_controller, replication_controller_controller;

#define TEMPLATE "\"template\":{\"metadata\":{\"labels\":{\"app\":\"web\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}"
#define RS(replicas, more, status)                                                                                                                    \
	"{\"apiVersion\":\"apps/v1\",\"kind\":\"ReplicaSet\",\"metadata\":{\"name\":\"web\",\"namespace\":\"default\"" more "},\"spec\":{\"replicas\":" replicas \
	",\"selector\":{\"matchLabels\":{\"app\":\"web\"}}," TEMPLATE "},\"status\":{" status "}}"
#define SETTLED(n) "\"replicas\":" n ",\"fullyLabeledReplicas\":" n ",\"readyReplicas\":" n ",\"availableReplicas\":" n ",\"terminatingReplicas\":0,\"observedGeneration\":1"
#define MINE " of=ReplicaSet/web label=app:web "
#define STATUS "update replicasets/status default/web\n"

static const struct scenario sets[] = {
	{.name = "pods that lack are made", .owner = RS("3", "", ""), .writes = "create pods default/web-\ncreate pods default/web-\ncreate pods default/web-\n" STATUS,
		.event = "event web Normal SuccessfulCreate: Created pod: web-"},
	{.name = "only those that lack", .owner = RS("2", "", ""), .pods = "a Running ready" MINE, .writes = "create pods default/web-\n" STATUS,
		.status = "{\"replicas\":2,\"fullyLabeledReplicas\":2,\"readyReplicas\":1,\"observedGeneration\":1}"},
	{.name = "nothing is written where all is well", .owner = RS("2", "", SETTLED("2")), .pods = "a Running ready" MINE "\nb Running ready" MINE, .writes = ""},
	{.name = "ended and going pods do not count", .owner = RS("2", "", ""), .pods = "a Running ready" MINE "\nb Failed" MINE "\nc Running going" MINE,
		.writes = "create pods default/web-\n" STATUS, .status = "{\"replicas\":2,\"terminatingReplicas\":1}"},
	{.name = "one without a node goes first", .owner = RS("1", "", ""), .pods = "a Running ready node=n" MINE "\nb Pending" MINE, .writes = "delete pods default/b\n" STATUS,
		.status = "{\"replicas\":1,\"terminatingReplicas\":0}", .event = "event web Normal SuccessfulDelete: Deleted pod: b"},
	{.name = "one without a grace period is gone at once", .owner = RS("1", "", ""), .pods = "a Running ready node=n" MINE "\nb Running unready node=n grace=0" MINE, .writes = "delete pods default/b\n" STATUS,
		.status = "{\"replicas\":1,\"terminatingReplicas\":0}"},
	{.name = "unless something holds it", .owner = RS("1", "", ""), .pods = "a Running ready node=n" MINE "\nb Running unready node=n grace=0 finalizer=a.b/c" MINE, .writes = "delete pods default/b\n" STATUS,
		.status = "{\"replicas\":1,\"terminatingReplicas\":1}"},
	{.name = "then one that is pending", .owner = RS("1", "", ""), .pods = "a Running ready node=n" MINE "\nb Pending node=n" MINE, .writes = "delete pods default/b\n" STATUS},
	{.name = "then one that is not ready", .owner = RS("1", "", ""), .pods = "a Running ready node=n" MINE "\nb Running node=n age=6000" MINE, .writes = "delete pods default/b\n" STATUS},
	{.name = "then the cheaper one", .owner = RS("1", "", ""),
		.pods = "a Running ready node=n note=controller.kubernetes.io/pod-deletion-cost:10" MINE "\nb Running ready node=n note=controller.kubernetes.io/pod-deletion-cost:-5" MINE "\nc Running ready node=n" MINE,
		.writes = "delete pods default/b\ndelete pods default/c\n" STATUS},
	{.name = "a cost that is no number is none", .owner = RS("1", "", ""), .pods = "a Running ready node=n note=controller.kubernetes.io/pod-deletion-cost:x" MINE "\nb Running ready node=n note=controller.kubernetes.io/pod-deletion-cost:-1" MINE,
		.writes = "delete pods default/b\n" STATUS},
	{.name = "then one of those that stand together", .owner = RS("2", "", ""), .pods = "a Running ready node=n" MINE "\nb Running ready node=m" MINE "\nc Running ready node=m" MINE,
		.writes = "delete pods default/b\n" STATUS, .status = "{\"replicas\":2,\"readyReplicas\":2,\"availableReplicas\":2,\"terminatingReplicas\":1,\"observedGeneration\":1}"},
	{.name = "then the one ready for less time", .owner = RS("1", "", ""), .pods = "a Running ready node=n age=8000" MINE "\nb Running ready node=n age=10" MINE, .writes = "delete pods default/b\n" STATUS},
	{.name = "then the one that restarts", .owner = RS("1", "", ""), .pods = "a Running ready node=n restarts=3" MINE "\nb Running ready node=n restarts=1" MINE, .writes = "delete pods default/a\n" STATUS},
	{.name = "all go at zero", .owner = RS("0", "", ""), .pods = "a Running ready" MINE "\nb Pending" MINE, .writes = "delete pods default/a\ndelete pods default/b\n" STATUS},
	{.name = "an orphan that matches is adopted", .owner = RS("1", "", ""), .pods = "a Running ready label=app:web", .writes = "patch pods default/a\n" STATUS, .status = "{\"replicas\":1}"},
	{.name = "an orphan that is going is not", .owner = RS("1", "", ""), .pods = "a Running going label=app:web", .writes = "create pods default/web-\n" STATUS},
	{.name = "another's pod is not", .owner = RS("1", "", ""), .pods = "a Running of=ReplicaSet/other label=app:web", .writes = "create pods default/web-\n" STATUS},
	{.name = "one that matches no longer is let go", .owner = RS("1", "", ""), .pods = "a Running of=ReplicaSet/web label=app:mail", .writes = "patch pods default/a\ncreate pods default/web-\n" STATUS},
	{.name = "a set that goes adopts and makes nothing", .owner = RS("2", ",\"deletionTimestamp\":\"2027-01-15T08:00:00Z\",\"finalizers\":[\"foregroundDeletion\"]", ""),
		.pods = "a Running label=app:web\nb Running ready" MINE, .writes = STATUS, .status = "{\"replicas\":1}"},
	{.name = "availability waits for its seconds", .owner = "{\"apiVersion\":\"apps/v1\",\"kind\":\"ReplicaSet\",\"metadata\":{\"name\":\"web\",\"namespace\":\"default\"},\"spec\":{\"replicas\":1,\"minReadySeconds\":100,"
		"\"selector\":{\"matchLabels\":{\"app\":\"web\"}}," TEMPLATE "}}", .pods = "a Running ready age=60" MINE, .status = "{\"readyReplicas\":1,\"availableReplicas\":null}", .after_s = 40},
	{.name = "a failure that is over is taken back", .owner = RS("1", "", "\"conditions\":[{\"type\":\"ReplicaFailure\",\"status\":\"True\",\"reason\":\"FailedCreate\"}]"), .pods = "a Running ready" MINE,
		.status = "{\"conditions\":null}"},
	{.name = "conditions of others stay", .owner = RS("1", "", "\"conditions\":[{\"type\":\"Mine\",\"status\":\"True\"}]"), .pods = "a Running ready" MINE,
		.status = "{\"conditions\":[{\"type\":\"Mine\",\"status\":\"True\",\"lastTransitionTime\":null}]}"},
	{.name = "a set that is gone is nothing", .key = "web", .writes = "", .after_s = -1},
	{.name = "a selector that does not match its template makes nothing", .owner = "{\"apiVersion\":\"apps/v1\",\"kind\":\"ReplicaSet\",\"metadata\":{\"name\":\"web\",\"namespace\":\"default\"},\"spec\":{\"replicas\":3,"
		"\"selector\":{\"matchLabels\":{\"app\":\"mail\"}}," TEMPLATE "}}", .rounds = 2, .writes = STATUS, .event = "event web Warning SelectorMismatch"},
};

#define RC(replicas) \
	"{\"apiVersion\":\"v1\",\"kind\":\"ReplicationController\",\"metadata\":{\"name\":\"web\",\"namespace\":\"default\"},\"spec\":{\"replicas\":" replicas ",\"selector\":{\"app\":\"web\"}," TEMPLATE "}}"
#define RC_STATUS "update replicationcontrollers/status default/web\n"

static const struct scenario controllers_[] = {
	{.name = "pods that lack are made", .owner = RC("2"), .writes = "create pods default/web-\ncreate pods default/web-\n" RC_STATUS},
	{.name = "orphans are adopted", .owner = RC("1"), .pods = "a Running ready label=app:web", .writes = "patch pods default/a\n" RC_STATUS, .status = "{\"replicas\":1,\"readyReplicas\":1}"},
	{.name = "surplus goes", .owner = RC("1"), .pods = "a Running ready node=n of=ReplicationController/web label=app:web\nb Pending of=ReplicationController/web label=app:web",
		.writes = "delete pods default/b\n" RC_STATUS},
};

static void replica_sets(void **state)
{
	scenario_play_all(sets, array_len(sets), &replica_set_controller);
}

static void replication_controllers(void **state)
{
	scenario_play_all(controllers_, array_len(controllers_), &replication_controller_controller);
}

static int refuse_pods(struct fake_world *w, const struct write *write, struct error *err)
{
	if (write->verb == WRITE_CREATE && str_equal(write->resource->plural, "pods"))
		return error_status(err, 403, "Forbidden", "exceeded quota: q");
	return 0;
}

static void a_refusal_becomes_a_condition(void **state)
{
	fake_setup(state);
	struct reconciler r = fake_reconciler(&replica_set_controller);
	autoerror struct error err = {0};
	scenario_put(RS("500", "", ""));
	fake.fault = refuse_pods;
	assert_true(r.controller->reconcile(&r, "default", "web", &err) < 0);
	const struct apps_v1_replica_set *rs = fake_live(CACHED_REPLICA_SETS, "default", "web");
	assert_int_equal(rs->status.conditions.len, 1);
	assert_string_equal(rs->status.conditions.items[0].type, "ReplicaFailure");
	assert_string_equal(rs->status.conditions.items[0].reason, "FailedCreate");
	assert_non_null(strstr(rs->status.conditions.items[0].message, "exceeded quota"));
	/* Slow start: one try, not five hundred. */
	const char *first = strstr(fake.log.data, "FailedCreate");
	assert_non_null(first);
	assert_null(strstr(first + 1, "event web Warning FailedCreate"));
	fake_reconciler_done(&r);
	fake_teardown(state);
}

static void a_stale_cache_makes_no_second_pod(void **state)
{
	fake_setup(state);
	struct reconciler r = fake_reconciler(&replica_set_controller);
	scenario_put(RS("3", "", ""));
	fake_catch_up();
	fake.stale = true;
	for (int i = 0; i < 3; i++)
		assert_int_equal(r.controller->reconcile(&r, "default", "web", NULL), i ? EXPECTATIONS_LOOK_MS : 0); /* pods may come and go unseen */
	assert_int_equal(fake_count(CACHED_PODS), 3);
	fake_catch_up();
	fake_edit(CACHED_REPLICA_SETS, "default", "web", NULL, "{\"spec\":{\"replicas\":1}}");
	fake_catch_up();
	for (int i = 0; i < 3; i++)
		r.controller->reconcile(&r, "default", "web", NULL);
	assert_int_equal(fake_count(CACHED_PODS), 1);
	fake_reconciler_done(&r);
	fake_teardown(state);
}

static size_t status_writes(void)
{
	size_t count = 0;
	for (const char *p = fake.log.data; (p = strstr(p, STATUS)); p++)
		count++;
	return count;
}

static void a_crowd_is_counted_now_and_then(void **state)
{
	fake_setup(state);
	struct reconciler r = fake_reconciler(&replica_set_controller);
	scenario_put(RS("200", "", ""));
	fake_reconcile_all(&r, CACHED_REPLICA_SETS);
	fake_reconcile_all(&r, CACHED_REPLICA_SETS);
	size_t before = status_writes();
	int wait = 0;
	for (size_t i = 0; i < fake.count; i++) {
		if (fake.objects[i].what != CACHED_PODS)
			continue;
		fake_run_pod(fake.objects[i].live, true);
		wait = fake_reconcile_all(&r, CACHED_REPLICA_SETS);
		assert_true(wait > 0 || status_writes() > before);
		clock_advance_test(NSEC_PER_MSEC);
	}
	assert_in_range(status_writes() - before, 1, 4);
	/* The last is seen when it is time for the next look, which the queue is told. */
	assert_in_range(wait, 1, 101);
	clock_advance_test(wait * NSEC_PER_MSEC);
	assert_int_equal(fake_reconcile_all(&r, CACHED_REPLICA_SETS), 0);
	assert_int_equal(((const struct apps_v1_replica_set *)fake_live(CACHED_REPLICA_SETS, "default", "web"))->status.available_replicas, 200);
	/* Another size is no matter of counting: at once. */
	fake_edit(CACHED_REPLICA_SETS, "default", "web", NULL, "{\"spec\":{\"replicas\":150}}");
	assert_int_equal(fake_reconcile_all(&r, CACHED_REPLICA_SETS), 0);
	assert_int_equal(fake_count(CACHED_PODS), 150);
	fake_reconciler_done(&r);
	fake_teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replica_sets),
		cmocka_unit_test(replication_controllers),
		cmocka_unit_test(a_refusal_becomes_a_condition),
		cmocka_unit_test(a_stale_cache_makes_no_second_pod),
		cmocka_unit_test(a_crowd_is_counted_now_and_then),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
