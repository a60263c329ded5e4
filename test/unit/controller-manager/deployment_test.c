/* SPDX-License-Identifier: Apache-2.0 */
#include "test/unit/controller-manager/fake_world.h"

#include "controller-manager/deployment/deployment.h"

extern const struct controller deployment_controller, replica_set_controller;

static struct reconciler deployments, sets;

/* The first status that was written */
static struct {
	int writes;
	uint32_t conditions;
	int64_t observed;
	bool begun;
} heard;

static int setup(void **state)
{
	fake_setup(state);
	deployments = fake_reconciler(&deployment_controller);
	sets = fake_reconciler(&replica_set_controller);
	return 0;
}

static int teardown(void **state)
{
	fake_reconciler_done(&deployments);
	fake_reconciler_done(&sets);
	return fake_teardown(state);
}

#define DEPLOYMENT(replicas, strategy)                                                                                                              \
	"{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"web\",\"namespace\":\"default\"},\"spec\":{\"replicas\":" replicas \
	",\"selector\":{\"matchLabels\":{\"app\":\"web\"}},\"strategy\":" strategy                                                                   \
	",\"template\":{\"metadata\":{\"labels\":{\"app\":\"web\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"one\"}]}}}}"
#define ROLLING "{\"type\":\"RollingUpdate\",\"rollingUpdate\":{\"maxSurge\":\"25%\",\"maxUnavailable\":\"25%\"}}"

static struct apps_v1_deployment *web(void)
{
	return fake_live(CACHED_DEPLOYMENTS, "default", "web");
}

static void set_image(const char *image)
{
	char patch[256];
	snprintf(patch, sizeof(patch), "{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"%s\",\"resources\":{},"
				       "\"terminationMessagePath\":\"/dev/termination-log\",\"terminationMessagePolicy\":\"File\",\"imagePullPolicy\":\"Always\"}]}}}}",
		image);
	fake_edit(CACHED_DEPLOYMENTS, "default", "web", NULL, patch);
}

static void round_of_all(void)
{
	fake_reconcile_all(&deployments, CACHED_DEPLOYMENTS);
	fake_reconcile_all(&sets, CACHED_REPLICA_SETS);
}

/* Until nothing is written any more. */
static void settle(bool run_pods)
{
	for (int i = 0; i < 200; i++) {
		size_t before = fake.writes;
		round_of_all();
		if (run_pods)
			fake_run_all_pods();
		fake_finish_pods();
		if (fake.writes == before)
			return;
	}
	fail_msg("does not settle:\n%s", fake.log.data + fake.log.len - min_of(fake.log.len, (size_t)2000));
}

static struct apps_v1_replica_set *set_with_revision(int64_t revision)
{
	for (size_t i = 0; i < fake.count; i++)
		if (fake.objects[i].what == CACHED_REPLICA_SETS && fake.objects[i].live && revision_of(meta_of(fake.objects[i].live)) == revision)
			return fake.objects[i].live;
	return NULL;
}

static const struct apps_v1_deployment_condition *condition(const char *type)
{
	return deployment_condition(&web()->status, type);
}

static void a_new_deployment_becomes_available(void **state)
{
	fake_add(DEPLOYMENT("3", ROLLING));
	settle(true);
	assert_int_equal(fake_count(CACHED_REPLICA_SETS), 1);
	assert_int_equal(fake_count(CACHED_PODS), 3);
	assert_int_equal(web()->status.available_replicas, 3);
	assert_int_equal(web()->status.updated_replicas, 3);
	assert_string_equal(api_map_get(&web()->metadata.annotations, ANNOTATION_REVISION), "1");
	assert_string_equal(condition(PROGRESSING)->reason, "NewReplicaSetAvailable");
	assert_string_equal(condition(AVAILABLE)->status, "True");
	const struct apps_v1_replica_set *rs = set_with_revision(1);
	assert_string_equal(api_map_get(&rs->metadata.annotations, ANNOTATION_MAX_REPLICAS), "4");
	assert_non_null(api_map_get(&rs->spec.selector->match_labels, LABEL_TEMPLATE_HASH));
	assert_non_null(strstr(fake.log.data, "event web Normal ScalingReplicaSet: Scaled up replica set web-"));
	size_t before = fake.writes;
	round_of_all();
	assert_int_equal(fake.writes, before);
}

static int hear_beginning(struct fake_world *world, const struct write *write, struct error *err)
{
	if (write->verb == WRITE_UPDATE && str_equal(write->subresource, "status") && !heard.writes++) {
		const struct apps_v1_deployment *d = write->object;
		heard.conditions = d->status.conditions.len;
		heard.observed = d->status.observed_generation;
		heard.begun = heard.conditions && str_equal(d->status.conditions.items[0].reason, "NewReplicaSetCreated");
	}
	return 0;
}

static void its_beginning_is_told_before_anything_is_counted(void **state)
{
	memset(&heard, 0, sizeof(heard));
	fake.fault = hear_beginning;
	fake_add(DEPLOYMENT("2", ROLLING));
	fake_reconcile_all(&deployments, CACHED_DEPLOYMENTS);
	fake.fault = NULL;
	assert_true(heard.begun);
	assert_int_equal(heard.conditions, 1);
	assert_int_equal(heard.observed, 0);
	assert_int_equal(heard.writes, 2);
	assert_int_equal(web()->status.observed_generation, 1);
	assert_int_equal(web()->status.unavailable_replicas, 2);
	assert_non_null(web()->status.terminating_replicas);
	assert_int_equal(*web()->status.terminating_replicas, 0);
}

/* Pods that were asked for in the same look are not told as unavailable before the next. */
static void a_new_size_is_missed_from_the_next_look_on(void **state)
{
	fake_add(DEPLOYMENT("2", ROLLING));
	settle(true);
	fake_edit(CACHED_DEPLOYMENTS, "default", "web", NULL, "{\"spec\":{\"replicas\":5}}");
	fake_reconcile_all(&deployments, CACHED_DEPLOYMENTS);
	assert_int_equal(set_replicas(set_with_revision(1)), 5);
	assert_int_equal(web()->status.observed_generation, web()->metadata.generation);
	assert_int_equal(web()->status.unavailable_replicas, 0);
	fake_reconcile_all(&deployments, CACHED_DEPLOYMENTS);
	assert_int_equal(web()->status.unavailable_replicas, 3);
}

/* A set that nobody has looked after yet counts as none; one that is looked after, but does not tell, leaves the sum unknown. */
static void pods_on_their_way_out_are_summed_while_all_sets_tell(void **state)
{
	fake_add(DEPLOYMENT("2", ROLLING));
	settle(true);
	autofree char *name = xstrdup(set_with_revision(1)->metadata.name);
	fake_edit(CACHED_REPLICA_SETS, "default", name, "status", "{\"status\":{\"terminatingReplicas\":3}}");
	set_image("two");
	fake_reconcile_all(&deployments, CACHED_DEPLOYMENTS); /* makes the second set, which has no status */
	assert_int_equal(set_with_revision(2)->status.observed_generation, 0);
	assert_non_null(web()->status.terminating_replicas);
	assert_int_equal(*web()->status.terminating_replicas, 3);
	fake_edit(CACHED_REPLICA_SETS, "default", name, "status", "{\"status\":{\"terminatingReplicas\":null}}");
	fake_reconcile_all(&deployments, CACHED_DEPLOYMENTS);
	assert_null(web()->status.terminating_replicas);
}

static void undo_brings_the_old_set_back_under_a_new_number(void **state)
{
	fake_add(DEPLOYMENT("3", ROLLING));
	settle(true);
	autofree char *first = xstrdup(set_with_revision(1)->metadata.name);
	set_image("two");
	settle(true);
	assert_int_equal(fake_count(CACHED_REPLICA_SETS), 2);
	assert_string_equal(api_map_get(&web()->metadata.annotations, ANNOTATION_REVISION), "2");
	set_image("one");
	fake_edit(CACHED_DEPLOYMENTS, "default", "web", NULL, "{\"spec\":{\"template\":{\"spec\":{\"containers\":null}}}}");
	/* exactly the first template again */
	autounref struct apps_v1_deployment *copy = api_copy(web());
	copy->spec.template.spec.containers = set_with_revision(1)->spec.template.spec.containers;
	assert_int_equal(world_update(&fake.world, CACHED_DEPLOYMENTS, copy, NULL, NULL), 0);
	settle(true);
	assert_int_equal(fake_count(CACHED_REPLICA_SETS), 2);
	assert_string_equal(api_map_get(&web()->metadata.annotations, ANNOTATION_REVISION), "3");
	assert_string_equal(set_with_revision(3)->metadata.name, first);
	assert_string_equal(api_map_get(&set_with_revision(3)->metadata.annotations, ANNOTATION_REVISION_HISTORY), "1");
	assert_int_equal(set_replicas(set_with_revision(3)), 3);
	assert_int_equal(set_replicas(set_with_revision(2)), 0);
}

static void ask_back(const char *revision)
{
	autofree char *patch = xprintf("{\"metadata\":{\"annotations\":{\"" ANNOTATION_ROLLBACK_TO "\":\"%s\"}}}", revision);
	fake_edit(CACHED_DEPLOYMENTS, "default", "web", NULL, patch);
	settle(true);
}

/* An annotation of old clients; what it asks for is done once, or told why not. */
static void an_annotation_rolls_back(void **state)
{
	fake_add(DEPLOYMENT("2", ROLLING));
	fake_edit(CACHED_DEPLOYMENTS, "default", "web", NULL, "{\"metadata\":{\"annotations\":{\"kubernetes.io/change-cause\":\"first\"}}}");
	settle(true);
	ask_back("0");
	assert_non_null(strstr(fake.log.data, "DeploymentRollbackRevisionNotFound: Unable to find last revision."));
	fake_edit(CACHED_DEPLOYMENTS, "default", "web", NULL, "{\"metadata\":{\"annotations\":{\"kubernetes.io/change-cause\":\"second\"}}}");
	set_image("two");
	settle(true);
	ask_back("7");
	assert_non_null(strstr(fake.log.data, "DeploymentRollbackRevisionNotFound: Unable to find the revision to rollback to."));
	ask_back("2");
	assert_non_null(strstr(fake.log.data, "DeploymentRollbackTemplateUnchanged: "));
	assert_string_equal(web()->spec.template.spec.containers.items[0].image, "two");
	ask_back("1");
	assert_non_null(strstr(fake.log.data, "DeploymentRollback: Rolled back deployment \"web\" to revision 1"));
	assert_string_equal(web()->spec.template.spec.containers.items[0].image, "one");
	assert_null(api_map_get(&web()->spec.template.metadata.labels, LABEL_TEMPLATE_HASH));
	assert_string_equal(api_map_get(&web()->metadata.annotations, "kubernetes.io/change-cause"), "first");
	assert_string_equal(api_map_get(&web()->metadata.annotations, ANNOTATION_REVISION), "3");
	ask_back("0");
	assert_string_equal(web()->spec.template.spec.containers.items[0].image, "two");
	assert_null(api_map_get(&web()->metadata.annotations, ANNOTATION_ROLLBACK_TO));
	assert_string_equal(api_map_get(&web()->metadata.annotations, ANNOTATION_REVISION), "4");
	assert_int_equal(fake_count(CACHED_REPLICA_SETS), 2);
	ask_back("many"); /* is no number: left alone */
	assert_string_equal(api_map_get(&web()->metadata.annotations, ANNOTATION_REVISION), "4");
}

static int32_t count_pods(bool only_available)
{
	int32_t count = 0;
	for (size_t i = 0; i < fake.count; i++) {
		const struct core_v1_pod *pod = fake.objects[i].live;
		if (fake.objects[i].what == CACHED_PODS && pod && pod_is_active(pod))
			count += !only_available || pod_is_ready(pod);
	}
	return count;
}

static void a_rolling_update_keeps_its_bounds(void **state)
{
	static const struct {
		const char *json;
		int32_t replicas, surge, unavailable;
	} rows[] = {
		{DEPLOYMENT("10", ROLLING), 10, 3, 2},
		{DEPLOYMENT("4", "{\"type\":\"RollingUpdate\",\"rollingUpdate\":{\"maxSurge\":1,\"maxUnavailable\":0}}"), 4, 1, 0},
		{DEPLOYMENT("4", "{\"type\":\"RollingUpdate\",\"rollingUpdate\":{\"maxSurge\":0,\"maxUnavailable\":1}}"), 4, 0, 1},
		{DEPLOYMENT("7", "{\"type\":\"RollingUpdate\",\"rollingUpdate\":{\"maxSurge\":\"100%\",\"maxUnavailable\":\"50%\"}}"), 7, 7, 3},
		{DEPLOYMENT("1", ROLLING), 1, 1, 0},
	};
	for (size_t row = 0; row < array_len(rows); row++) {
		for (int seed = 1; seed <= 5; seed++) {
			teardown(state);
			setup(state);
			fake.random = (uint64_t)seed * 7919;
			fake.graceful_pods = true;
			fake_add(rows[row].json);
			settle(true);
			set_image("two");
			bool done = false;
			for (int step = 0; step < 2000 && !done; step++) {
				if (fake_random(2))
					fake_reconcile_all(&deployments, CACHED_DEPLOYMENTS);
				if (fake_random(2))
					fake_reconcile_all(&sets, CACHED_REPLICA_SETS);
				if (fake_random(3) == 0)
					fake_finish_pods();
				for (size_t i = 0; i < fake.count; i++) {
					struct core_v1_pod *pod = fake.objects[i].live;
					if (fake.objects[i].what == CACHED_PODS && pod && pod_is_active(pod) && !pod_is_ready(pod) && !fake_random(5))
						fake_run_pod(pod, true);
				}
				assert_true(count_pods(false) <= rows[row].replicas + rows[row].surge);
				assert_true(count_pods(true) >= rows[row].replicas - rows[row].unavailable);
				done = deployment_is_complete(web(), &web()->status);
			}
			assert_true(done);
		}
	}
}

static void recreate_never_has_both(void **state)
{
	fake.graceful_pods = true;
	fake_add(DEPLOYMENT("3", "{\"type\":\"Recreate\"}"));
	settle(true);
	set_image("two");
	for (int i = 0; i < 5; i++)
		round_of_all();
	assert_int_equal(fake_count(CACHED_REPLICA_SETS), 1); /* the old ones still run: no new set */
	assert_int_equal(count_pods(false), 0);
	settle(true);
	assert_int_equal(set_replicas(set_with_revision(2)), 3);
	assert_int_equal(web()->status.available_replicas, 3);
}

static void scaling_in_the_middle_keeps_the_proportions(void **state)
{
	fake_add(DEPLOYMENT("10", ROLLING));
	settle(true);
	set_image("two");
	settle(false); /* the new pods never become ready */
	int32_t old_size = set_replicas(set_with_revision(1)), new_size = set_replicas(set_with_revision(2));
	assert_int_equal(old_size, 8);
	assert_int_equal(new_size, 5);
	fake_edit(CACHED_DEPLOYMENTS, "default", "web", NULL, "{\"spec\":{\"replicas\":20}}");
	fake_reconcile_all(&deployments, CACHED_DEPLOYMENTS);
	old_size = set_replicas(set_with_revision(1));
	new_size = set_replicas(set_with_revision(2));
	assert_int_equal(old_size + new_size, 25);
	assert_in_range(old_size, 14, 16);
	fake_edit(CACHED_DEPLOYMENTS, "default", "web", NULL, "{\"spec\":{\"replicas\":0}}");
	settle(true);
	assert_int_equal(count_pods(false), 0);
}

/* Makes a set look as it does in the middle of a rollout. max: what it was told last of how many there may be in all. */
static void shape_set(int64_t revision, int32_t replicas, int32_t available, int32_t max)
{
	const struct apps_v1_replica_set *rs = set_with_revision(revision);
	autofree char *name = xstrdup(rs->metadata.name);
	char patch[512];
	snprintf(patch, sizeof(patch), "{\"metadata\":{\"annotations\":{\"deployment.kubernetes.io/max-replicas\":\"%d\"}},\"spec\":{\"replicas\":%d}}", max, replicas);
	fake_edit(CACHED_REPLICA_SETS, "default", name, NULL, patch);
	rs = set_with_revision(revision);
	snprintf(patch, sizeof(patch), "{\"status\":{\"replicas\":%d,\"readyReplicas\":%d,\"availableReplicas\":%d,\"observedGeneration\":%lld}}", replicas, available, available,
		(long long)rs->metadata.generation);
	fake_edit(CACHED_REPLICA_SETS, "default", name, "status", patch);
}

static void make_stale(const struct apps_v1_replica_set *rs)
{
	autofree char *name = xstrdup(rs->metadata.name), *patch = xprintf("{\"status\":{\"observedGeneration\":%lld}}", (long long)rs->metadata.generation - 1);
	fake_edit(CACHED_REPLICA_SETS, "default", name, "status", patch);
}

/* The rolled-out set and the one that rolls share a new size; surge and unavailable are both 25 % of it. */
static void scaling_shares_what_changes(void **state)
{
	static const struct {
		const char *name;
		struct {
			int32_t replicas, available, max;
		} old, fresh;
		int32_t to, old_size, fresh_size;
		bool stale; /* the old set's status has not seen its size yet */
	} rows[] = {
		{"larger: each by its share", {8, 8, 13}, {5, 0, 13}, 20, 15, 10, false},
		{"smaller: each by its share", {8, 8, 13}, {5, 5, 13}, 5, 4, 3, false},
		{"smaller: the available ones of the small set stay", {2, 2, 13}, {11, 0, 13}, 2, 2, 1, false},
		{"smaller: no more than must be stay", {4, 4, 13}, {9, 0, 13}, 4, 3, 2, false},
		{"smaller: none available, nothing to keep", {2, 0, 13}, {11, 0, 13}, 2, 0, 3, false},
		{"smaller: what is likely to be available stays as well", {2, 4, 13}, {11, 0, 13}, 2, 2, 1, true},
		{"to none", {8, 8, 13}, {5, 0, 13}, 0, 0, 0, false},
		/* It missed a scaling: by its own count it would have to grow. */
		{"smaller: a set that knows an old size does not grow", {3, 0, 2}, {10, 0, 13}, 8, 3, 7, false},
		{"larger: a set that knows an old size does not shrink", {3, 0, 40}, {5, 0, 10}, 12, 3, 12, false},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		print_message("%s\n", rows[i].name);
		fake_add(DEPLOYMENT("10", ROLLING));
		settle(true);
		set_image("two");
		fake_reconcile_all(&deployments, CACHED_DEPLOYMENTS);
		shape_set(1, rows[i].old.replicas, rows[i].old.available, rows[i].old.max);
		shape_set(2, rows[i].fresh.replicas, rows[i].fresh.available, rows[i].fresh.max);
		if (rows[i].stale)
			make_stale(set_with_revision(1));
		char patch[64];
		snprintf(patch, sizeof(patch), "{\"spec\":{\"replicas\":%d}}", rows[i].to);
		fake_edit(CACHED_DEPLOYMENTS, "default", "web", NULL, patch);
		fake_reconcile_all(&deployments, CACHED_DEPLOYMENTS);
		assert_int_equal(set_replicas(set_with_revision(1)), rows[i].old_size);
		assert_int_equal(set_replicas(set_with_revision(2)), rows[i].fresh_size);
		teardown(state);
		setup(state);
	}
}

/* Made smaller and larger again, a set tells of pods that have gone, until it has seen its new size. */
static void a_status_of_another_size_keeps_nobody(void **state)
{
	fake_add(DEPLOYMENT("4", "{\"type\":\"RollingUpdate\",\"rollingUpdate\":{\"maxSurge\":\"50%\",\"maxUnavailable\":\"50%\"}}"));
	settle(true);
	set_image("two");
	fake_reconcile_all(&deployments, CACHED_DEPLOYMENTS);
	shape_set(1, 4, 4, 6);
	shape_set(2, 2, 2, 6);
	make_stale(set_with_revision(2));
	fake_reconcile_all(&deployments, CACHED_DEPLOYMENTS);
	assert_true(set_replicas(set_with_revision(1)) >= 2); /* they alone are sure to be there */
}

static void a_stuck_rollout_passes_its_deadline(void **state)
{
	fake_add(DEPLOYMENT("2", ROLLING));
	settle(true);
	set_image("broken");
	settle(false);
	assert_string_equal(condition(PROGRESSING)->reason, "ReplicaSetUpdated");
	int wait = fake_reconcile_all(&deployments, CACHED_DEPLOYMENTS);
	assert_in_range(wait, 1, 601000);
	clock_advance_test(602 * NSEC_PER_SEC);
	settle(false);
	assert_string_equal(condition(PROGRESSING)->status, "False");
	assert_string_equal(condition(PROGRESSING)->reason, "ProgressDeadlineExceeded");
	assert_true(count_pods(true) >= 2);
}

static void a_paused_deployment_scales_but_does_not_roll(void **state)
{
	fake_add(DEPLOYMENT("2", ROLLING));
	settle(true);
	fake_edit(CACHED_DEPLOYMENTS, "default", "web", NULL, "{\"spec\":{\"paused\":true,\"replicas\":5}}");
	set_image("two");
	settle(true);
	assert_int_equal(fake_count(CACHED_REPLICA_SETS), 1);
	assert_int_equal(count_pods(true), 5);
	assert_string_equal(condition(PROGRESSING)->reason, "DeploymentPaused");
	fake_edit(CACHED_DEPLOYMENTS, "default", "web", NULL, "{\"spec\":{\"paused\":false}}");
	settle(true);
	assert_int_equal(set_replicas(set_with_revision(2)), 5);
}

static void history_is_limited(void **state)
{
	fake_add(DEPLOYMENT("1", ROLLING));
	fake_edit(CACHED_DEPLOYMENTS, "default", "web", NULL, "{\"spec\":{\"revisionHistoryLimit\":2}}");
	char image[16];
	for (int i = 0; i < 6; i++) {
		snprintf(image, sizeof(image), "v%d", i);
		set_image(image);
		settle(true);
		clock_advance_test(NSEC_PER_SEC);
	}
	assert_int_equal(fake_count(CACHED_REPLICA_SETS), 3);
	assert_null(set_with_revision(1));
}

static void orphans_that_match_are_adopted(void **state)
{
	fake_add(DEPLOYMENT("3", ROLLING));
	settle(true);
	autofree char *name = xstrdup(set_with_revision(1)->metadata.name);
	fake_edit(CACHED_REPLICA_SETS, "default", name, NULL, "{\"metadata\":{\"ownerReferences\":null}}");
	settle(true);
	assert_int_equal(fake_count(CACHED_REPLICA_SETS), 1);
	assert_true(owner_is_controller(meta_of(fake_live(CACHED_REPLICA_SETS, "default", name)), web()->metadata.uid));
}

static void a_taken_name_counts_as_a_collision(void **state)
{
	char hash[16];
	autounref struct apps_v1_deployment *d = api_copy(fake_add(DEPLOYMENT("1", ROLLING)));
	template_hash(&d->spec.template, NULL, hash);
	char json[512];
	snprintf(json, sizeof(json), "{\"apiVersion\":\"apps/v1\",\"kind\":\"ReplicaSet\",\"metadata\":{\"name\":\"web-%s\",\"namespace\":\"default\"},\"spec\":{"
				     "\"replicas\":0,\"selector\":{\"matchLabels\":{\"x\":\"y\"}},\"template\":{\"metadata\":{\"labels\":{\"x\":\"y\"}}}}}",
		hash);
	fake_add(json);
	settle(true);
	assert_int_equal(*web()->status.collision_count, 1);
	assert_int_equal(web()->status.available_replicas, 1);
}

static void a_stale_cache_makes_no_pod_twice(void **state)
{
	fake_add(DEPLOYMENT("5", ROLLING));
	fake.stale = true;
	fake_catch_up();
	for (int i = 0; i < 4; i++) {
		round_of_all();
		round_of_all();
		fake_catch_up();
	}
	assert_int_equal(fake_count(CACHED_PODS), 5);
	fake_edit(CACHED_DEPLOYMENTS, "default", "web", NULL, "{\"spec\":{\"replicas\":2}}");
	for (int i = 0; i < 6; i++) {
		fake_catch_up();
		round_of_all();
		round_of_all();
	}
	assert_int_equal(fake_count(CACHED_PODS), 2);
}

static int refuse_pods(struct fake_world *w, const struct write *write, struct error *err)
{
	return write->verb == WRITE_CREATE && str_equal(write->resource->plural, "pods") ?
		       error_status(err, 403, "Forbidden", "pods is forbidden: exceeded quota") : 0;
}

static void refused_pods_show_as_replica_failure(void **state)
{
	fake_add(DEPLOYMENT("50", ROLLING));
	fake.fault = refuse_pods;
	round_of_all();
	round_of_all();
	assert_non_null(condition(REPLICA_FAILURE));
	assert_string_equal(condition(REPLICA_FAILURE)->reason, "FailedCreate");
	assert_non_null(strstr(fake.log.data, "Warning FailedCreate: Error creating: pods is forbidden: exceeded quota"));
	fake.fault = NULL;
	settle(true);
	assert_null(condition(REPLICA_FAILURE));
	assert_int_equal(count_pods(true), 50);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_new_deployment_becomes_available),
		TEST(its_beginning_is_told_before_anything_is_counted),
		TEST(a_new_size_is_missed_from_the_next_look_on),
		TEST(pods_on_their_way_out_are_summed_while_all_sets_tell),
		TEST(undo_brings_the_old_set_back_under_a_new_number),
		TEST(an_annotation_rolls_back),
		TEST(a_rolling_update_keeps_its_bounds),
		TEST(recreate_never_has_both),
		TEST(scaling_in_the_middle_keeps_the_proportions),
		TEST(scaling_shares_what_changes),
		TEST(a_status_of_another_size_keeps_nobody),
		TEST(a_stuck_rollout_passes_its_deadline),
		TEST(a_paused_deployment_scales_but_does_not_roll),
		TEST(history_is_limited),
		TEST(orphans_that_match_are_adopted),
		TEST(a_taken_name_counts_as_a_collision),
		TEST(a_stale_cache_makes_no_pod_twice),
		TEST(refused_pods_show_as_replica_failure),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
