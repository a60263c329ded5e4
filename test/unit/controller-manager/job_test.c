/* SPDX-License-Identifier: Apache-2.0 */
#include "test/unit/controller-manager/fake_world.h"

#include "controller-manager/job/job.h"

extern const struct controller job_controller;

static struct reconciler jobs;

static int setup(void **state)
{
	fake_setup(state);
	jobs = fake_reconciler(&job_controller);
	return 0;
}

static int teardown(void **state)
{
	fake_reconciler_done(&jobs);
	return fake_teardown(state);
}

#define JOB(spec)                                                                                                                                  \
	"{\"apiVersion\":\"batch/v1\",\"kind\":\"Job\",\"metadata\":{\"name\":\"work\",\"namespace\":\"default\"},\"spec\":{\"selector\":{\"matchLabels\":{" \
	"\"controller-uid\":\"x\"}},\"template\":{\"metadata\":{\"labels\":{\"controller-uid\":\"x\"}},\"spec\":{\"restartPolicy\":\"Never\","          \
	"\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}," spec "}}"

static struct batch_v1_job *work(void)
{
	return fake_live(CACHED_JOBS, "default", "work");
}

static void finish_pod(struct core_v1_pod *pod, const char *phase, int exit_code)
{
	autounref struct core_v1_pod *copy = api_copy(pod);
	copy->status.phase = phase;
	struct core_v1_container_status *status = api_list_add(api_arena(copy), &copy->status.container_statuses);
	status->name = "c";
	status->image = status->image_id = "i";
	status->state.terminated = arena_new_type(api_arena(copy), struct core_v1_container_state_terminated);
	status->state.terminated->exit_code = exit_code;
	assert_int_equal(world_update_status(&fake.world, CACHED_PODS, copy, NULL, NULL), 0);
}

static size_t finish_all(const char *phase, int exit_code)
{
	size_t count = 0;
	for (size_t i = 0; i < fake.count; i++) {
		struct core_v1_pod *pod = fake.objects[i].live;
		if (fake.objects[i].what == CACHED_PODS && pod && pod_is_active(pod)) {
			finish_pod(pod, phase, exit_code);
			count++;
		}
	}
	return count;
}

static void run(int rounds)
{
	for (int i = 0; i < rounds; i++)
		fake_reconcile_all(&jobs, CACHED_JOBS);
}

static bool is_true(const char *type)
{
	const struct batch_v1_job_condition *condition = job_condition(work(), type);
	return condition && str_equal(condition->status, "True");
}

static size_t finalizers_left(void)
{
	size_t count = 0;
	for (size_t i = 0; i < fake.count; i++)
		if (fake.objects[i].what == CACHED_PODS && fake.objects[i].live)
			count += api_string_list_has(&meta_of(fake.objects[i].live)->finalizers, JOB_FINALIZER);
	return count;
}

static void completions_are_counted_exactly(void **state)
{
	fake_add(JOB("\"completions\":5,\"parallelism\":2"));
	run(2);
	assert_int_equal(work()->status.active, 2);
	size_t finished = 0;
	for (int i = 0; i < 30 && !is_true("Complete"); i++) {
		finished += finish_all("Succeeded", 0);
		run(1);
	}
	assert_true(is_true("Complete") && is_true("SuccessCriteriaMet"));
	assert_int_equal(work()->status.succeeded, 5);
	assert_int_equal(finished, 5);
	run(1);
	assert_int_equal(finalizers_left(), 0);
}

static int fail_at;

/* Lets the n-th write from now fail, as if the process had died there. */
static int fail_once(struct fake_world *w, const struct write *write, struct error *err)
{
	return fail_at && --fail_at == 0 ? error_status(err, 500, "InternalError", "the write was lost") : 0;
}

static void counts_stay_exact_whatever_write_is_lost(void **state)
{
	for (int at = 1; at < 40; at++) {
		teardown(state);
		setup(state);
		fake_add(JOB("\"completions\":6,\"parallelism\":3"));
		fake.fault = fail_once;
		fail_at = at;
		for (int i = 0; i < 60 && !is_true("Complete"); i++) {
			int kept = fail_at;
			fail_at = 0; /* the kubelet's writes do not fail */
			finish_all("Succeeded", 0);
			fail_at = kept;
			run(1);
		}
		assert_true(is_true("Complete"));
		assert_in_range(work()->status.succeeded, 6, 8);
		assert_int_equal(work()->status.failed, 0);
		size_t pods_done = 0;
		for (size_t i = 0; i < fake.count; i++)
			pods_done += fake.objects[i].what == CACHED_PODS && fake.objects[i].live &&
				     str_equal(((struct core_v1_pod *)fake.objects[i].live)->status.phase, "Succeeded");
		assert_int_equal(work()->status.succeeded, pods_done);
	}
}

static void failures_pass_the_limit_after_back_off(void **state)
{
	fake_add(JOB("\"backoffLimit\":2"));
	for (int i = 0; i < 40 && !is_true("Failed"); i++) {
		run(1);
		finish_all("Failed", 1);
		clock_advance_test(100 * NSEC_PER_SEC);
	}
	assert_true(is_true("Failed") && is_true("FailureTarget"));
	assert_string_equal(job_condition(work(), "Failed")->reason, "BackoffLimitExceeded");
	assert_int_equal(work()->status.failed, 3);
	assert_non_null(strstr(fake.log.data, "Warning BackoffLimitExceeded: Job has reached the specified backoff limit"));
}

static void a_failed_pod_is_not_replaced_at_once(void **state)
{
	fake_add(JOB("\"backoffLimit\":6"));
	run(2);
	finish_all("Failed", 1);
	run(3);
	assert_int_equal(work()->status.active, 0);
	clock_advance_test(11 * NSEC_PER_SEC);
	run(2);
	assert_int_equal(work()->status.active, 1);
}

/* Whoever removes the failed pod: the pause goes on. */
static void a_pause_outlives_its_pod(void **state)
{
	fake_add(JOB("\"backoffLimit\":6"));
	run(2);
	finish_all("Failed", 1);
	run(2);
	assert_int_equal(work()->status.failed, 1);
	for (size_t i = 0; i < fake.count; i++)
		if (fake.objects[i].what == CACHED_PODS && fake.objects[i].live)
			fake_remove(&fake.objects[i]);
	assert_int_equal(fake_count(CACHED_PODS), 0);
	run(3);
	assert_int_equal(fake_count(CACHED_PODS), 0);
	clock_advance_test(11 * NSEC_PER_SEC);
	run(2);
	assert_int_equal(fake_count(CACHED_PODS), 1);
}

static void indexes_are_each_done_once(void **state)
{
	fake_add(JOB("\"completionMode\":\"Indexed\",\"completions\":4,\"parallelism\":4"));
	run(2);
	assert_int_equal(fake_count(CACHED_PODS), 4);
	uint8_t seen = 0;
	for (size_t i = 0; i < fake.count; i++)
		if (fake.objects[i].what == CACHED_PODS && fake.objects[i].live)
			seen |= (uint8_t)(1 << job_pod_index(fake.objects[i].live));
	assert_int_equal(seen, 15);
	finish_all("Succeeded", 0);
	run(4);
	assert_true(is_true("Complete"));
	assert_string_equal(work()->status.completed_indexes, "0-3");
}

static void the_failure_policy_ends_the_job(void **state)
{
	fake_add(JOB("\"backoffLimit\":6,\"podFailurePolicy\":{\"rules\":[{\"action\":\"Ignore\",\"onPodConditions\":[{\"type\":\"DisruptionTarget\",\"status\":\"True\"}]},"
		     "{\"action\":\"FailJob\",\"onExitCodes\":{\"operator\":\"In\",\"values\":[42]}}]}"));
	run(2);
	finish_all("Failed", 42);
	run(4);
	assert_true(is_true("Failed"));
	assert_string_equal(job_condition(work(), "Failed")->reason, "PodFailurePolicy");
	assert_non_null(strstr(job_condition(work(), "Failed")->message, "failed with exit code 42 matching FailJob rule at index 1"));
}

static void a_suspended_job_has_no_pods(void **state)
{
	fake_add(JOB("\"completions\":3,\"parallelism\":3"));
	run(2);
	fake_edit(CACHED_JOBS, "default", "work", NULL, "{\"spec\":{\"suspend\":true}}");
	run(4);
	fake_finish_pods();
	run(2);
	assert_int_equal(fake_count(CACHED_PODS), 0);
	assert_true(is_true("Suspended"));
	assert_false(work()->status.start_time.set);
	assert_int_equal(work()->status.failed, 0);
	fake_edit(CACHED_JOBS, "default", "work", NULL, "{\"spec\":{\"suspend\":false}}");
	run(3);
	assert_int_equal(work()->status.active, 3);
	assert_false(is_true("Suspended"));
}

static void the_deadline_ends_the_job(void **state)
{
	fake_add(JOB("\"activeDeadlineSeconds\":30"));
	run(2);
	clock_advance_test(31 * NSEC_PER_SEC);
	run(2);
	fake_finish_pods();
	run(4);
	assert_true(is_true("FailureTarget"));
	assert_string_equal(job_condition(work(), "FailureTarget")->reason, "DeadlineExceeded");
}

static void index_sets_round_trip(void **state)
{
	static const char *const rows[][2] = {{"", NULL}, {"0", "0"}, {"1,2", "1,2"}, {"1-3", "1-3"}, {"0,2-5,9", "0,2-5,9"}, {"3,1,2,x,99,-", "1-3"}};
	autoarena struct arena *arena = arena_new();
	for (size_t i = 0; i < array_len(rows); i++) {
		struct index_set set;
		index_set_init(&set, 10);
		index_set_parse(&set, rows[i][0]);
		const char *text = index_set_format(&set, arena);
		assert_true(str_equal(text, rows[i][1]));
		index_set_done(&set);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(completions_are_counted_exactly),
		TEST(counts_stay_exact_whatever_write_is_lost),
		TEST(failures_pass_the_limit_after_back_off),
		TEST(a_failed_pod_is_not_replaced_at_once),
		TEST(a_pause_outlives_its_pod),
		TEST(indexes_are_each_done_once),
		TEST(the_failure_policy_ends_the_job),
		TEST(a_suspended_job_has_no_pods),
		TEST(the_deadline_ends_the_job),
		TEST(index_sets_round_trip),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
