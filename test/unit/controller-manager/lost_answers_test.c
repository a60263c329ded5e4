/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes whose answer is lost: the server may have done them or not, and the cache does not tell yet. What is not to happen is done by a second try. Each row is
 * one controller, what it has, which write goes wrong, and what must be there once all has been tried again.
 */
#include "test/unit/controller-manager/scenario.h"

extern const struct controller replica_set_controller, deployment_controller, job_controller, daemon_set_controller, node_ipam_controller;

#define TEMPLATE "\"template\":{\"metadata\":{\"labels\":{\"app\":\"web\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}"
#define SELECTOR "\"selector\":{\"matchLabels\":{\"app\":\"web\"}}"
#define META "\"metadata\":{\"name\":\"web\",\"namespace\":\"default\"}"
#define REPLICA_SET(n) "{\"apiVersion\":\"apps/v1\",\"kind\":\"ReplicaSet\"," META ",\"spec\":{\"replicas\":" n "," SELECTOR "," TEMPLATE "}}"
#define DEPLOYMENT "{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\"," META ",\"spec\":{\"replicas\":4," SELECTOR "," TEMPLATE "}}"
#define JOB "{\"apiVersion\":\"batch/v1\",\"kind\":\"Job\"," META ",\"spec\":{\"completions\":2,\"parallelism\":2," SELECTOR "," TEMPLATE "}}"
#define MINE(kind) " of=" kind "/web label=app:web\n"

static struct {
	enum write_verb verb;
	const char *plural;
	size_t left;   /* such writes whose answer is still to be lost */
	bool done;     /* they are done all the same */
} loss;

static int lose(struct fake_world *w, const struct write *write, struct error *err)
{
	if (write->verb != loss.verb || !str_equal(write->resource->plural, loss.plural) || !loss.left)
		return 0;
	loss.left--;
	if (loss.done) {
		void *ignored = NULL;
		int r = write->verb == WRITE_CREATE ? fake_create(write, &ignored, NULL) : fake_delete(write, NULL);
		api_unref(ignored);
		assert_int_equal(r, 0);
	}
	return error_set(err, ECONNRESET, "connection lost");
}

static const struct row {
	const char *name;
	const struct controller *controller;
	const char *owner, *pods, *edit;
	enum cached what;
	enum write_verb verb;
	const char *plural;
	bool done;
	enum cached counted;
	size_t want;
} rows[] = {
	{"a pod was made", &replica_set_controller, REPLICA_SET("3"), NULL, NULL, CACHED_REPLICA_SETS, WRITE_CREATE, "pods", true, CACHED_PODS, 3},
	{"a pod was not made", &replica_set_controller, REPLICA_SET("3"), NULL, NULL, CACHED_REPLICA_SETS, WRITE_CREATE, "pods", false, CACHED_PODS, 3},
	{"a pod was deleted", &replica_set_controller, REPLICA_SET("1"), "a Running ready" MINE("ReplicaSet") "b Running ready" MINE("ReplicaSet") "c Running ready" MINE("ReplicaSet"), NULL, CACHED_REPLICA_SETS, WRITE_DELETE, "pods", true, CACHED_PODS, 1},
	{"a pod was not deleted", &replica_set_controller, REPLICA_SET("1"), "a Running ready" MINE("ReplicaSet") "b Running ready" MINE("ReplicaSet") "c Running ready" MINE("ReplicaSet"), NULL, CACHED_REPLICA_SETS, WRITE_DELETE, "pods", false, CACHED_PODS, 1},
	{"a Job's pod was made", &job_controller, JOB, NULL, NULL, CACHED_JOBS, WRITE_CREATE, "pods", true, CACHED_PODS, 2},
	{"a set was made, and the template is another by now", &deployment_controller, DEPLOYMENT, NULL, "{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"other\"}]}}}}", CACHED_DEPLOYMENTS, WRITE_CREATE, "replicasets", true, CACHED_REPLICA_SETS, 1},
};

/* Tries with a cache that stands still, then with one that has caught up: never more than is wanted, and in the end as many. */
static void play(const struct row *row)
{
	fake_setup(NULL);
	struct reconciler r = fake_reconciler(row->controller);
	print_message("  %s\n", row->name);
	scenario_put(row->owner);
	if (row->pods)
		scenario_pods(row->pods);
	fake_catch_up();
	fake.stale = true;
	loss.verb = row->verb;
	loss.plural = row->plural;
	loss.left = 1;
	loss.done = row->done;
	fake.fault = lose;
	r.controller->reconcile(&r, "default", "web", NULL);
	assert_int_equal(loss.left, 0);
	if (row->edit)
		fake_edit(row->what, "default", "web", NULL, row->edit);
	for (size_t i = 0; i < fake.count; i++)
		if (fake.objects[i].what == row->what)
			fake_show(&fake.objects[i]);
	for (int i = 0; i < 4; i++) {
		r.controller->reconcile(&r, "default", "web", NULL);
		if (row->verb == WRITE_CREATE && fake_count(row->counted) > row->want)
			fail_msg("%s: %zu, wanted %zu", row->name, fake_count(row->counted), row->want);
		if (row->verb == WRITE_DELETE && fake_count(row->counted) < row->want)
			fail_msg("%s: %zu, wanted %zu", row->name, fake_count(row->counted), row->want);
	}
	if (!row->edit) {
		for (int i = 0; i < 4; i++) {
			fake_catch_up();
			r.controller->reconcile(&r, "default", "web", NULL);
		}
	}
	if (fake_count(row->counted) != row->want)
		fail_msg("%s: %zu in the end, wanted %zu", row->name, fake_count(row->counted), row->want);
	fake_reconciler_done(&r);
	fake_teardown(NULL);
}

static void nothing_is_done_twice(void **state)
{
	for (size_t i = 0; i < array_len(rows); i++)
		play(&rows[i]);
}

#define SET(name, image) "{\"apiVersion\":\"apps/v1\",\"kind\":\"ReplicaSet\",\"metadata\":{\"name\":\"" name "\",\"namespace\":\"default\",\"labels\":{\"app\":\"web\"}," \
	"\"annotations\":{\"deployment.kubernetes.io/desired-replicas\":\"5\"},\"ownerReferences\":[{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"name\":\"web\",\"uid\":\"u-web\",\"controller\":true}]}," \
	"\"spec\":{\"replicas\":5," SELECTOR ",\"template\":{\"metadata\":{\"labels\":{\"app\":\"web\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"" image "\"}]}}}}"

/* Two sets in use, and another size wanted: the strategy has to go on, where scaling could not tell which set to size. */
static void a_recreate_of_another_size_goes_on(void **state)
{
	fake_setup(state);
	struct reconciler r = fake_reconciler(&deployment_controller);
	scenario_put("{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\"," META ",\"spec\":{\"replicas\":4,\"strategy\":{\"type\":\"Recreate\"}," SELECTOR "," TEMPLATE "}}");
	scenario_put(SET("web-old", "old"));
	scenario_put(SET("web-new", "i"));
	for (int i = 0; i < 4; i++)
		r.controller->reconcile(&r, "default", "web", NULL);
	const struct apps_v1_replica_set *old = fake_live(CACHED_REPLICA_SETS, "default", "web-old"), *new = fake_live(CACHED_REPLICA_SETS, "default", "web-new");
	assert_int_equal(*old->spec.replicas, 0);
	assert_int_equal(*new->spec.replicas, 4);
	fake_reconciler_done(&r);
	fake_teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_done_twice),
		cmocka_unit_test(a_recreate_of_another_size_goes_on),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
