/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/clock.h"
#include "scheduler/framework.h"
#include "scheduler/queue.h"

#include <stdio.h>

static struct queue queue;

static int setup(void **state)
{
	clock_set_test((struct wall_time){1800000000, 0});
	queue_init(&queue);
	return 0;
}

static int teardown(void **state)
{
	queue_done(&queue);
	return 0;
}

static void set_pod(const char *name, int priority, bool changed)
{
	autounref struct core_v1_pod *pod = api_new_of(core_v1_pod);
	pod->metadata.namespace = "default";
	pod->metadata.name = arena_strdup(api_arena(pod), name);
	pod->spec.priority = api_int32(api_arena(pod), priority);
	queue_set(&queue, pod, changed);
	clock_advance_test(NSEC_PER_MSEC);
}

static void put(const char *name, int priority)
{
	set_pod(name, priority, false);
}

static struct queued_pod *pop(const char *expected)
{
	struct queued_pod *pod = queue_pop(&queue);
	if (!expected) {
		assert_null(pod);
		return NULL;
	}
	assert_non_null(pod);
	assert_string_equal(pod->pod->metadata.name, expected);
	assert_int_equal(pod->state, POD_IN_FLIGHT);
	return pod;
}

static void the_important_go_first_then_the_old(void **state)
{
	static const struct {
		const char *name;
		int priority;
	} in[] = {{"a", 0}, {"b", 5}, {"c", 0}, {"d", 9}, {"e", 5}, {"f", -1}};
	for (size_t i = 0; i < array_len(in); i++)
		put(in[i].name, in[i].priority);
	static const char *const out[] = {"d", "b", "e", "a", "c", "f"};
	for (size_t i = 0; i < array_len(out); i++)
		pop(out[i]);
	pop(NULL);
}

static void many_come_out_in_order(void **state)
{
	uint64_t random = 88172645463325252ULL;
	char name[16];
	for (int i = 0; i < 500; i++) {
		random ^= random << 13, random ^= random >> 7, random ^= random << 17;
		snprintf(name, sizeof(name), "p%d", i);
		put(name, (int)(random % 20));
		if (i % 7 == 3) {
			snprintf(name, sizeof(name), "default/p%d", i / 2);
			queue_remove(&queue, name);
		}
	}
	int32_t last = INT32_MAX;
	int64_t since = 0;
	size_t count = 0;
	for (struct queued_pod *pod; (pod = queue_pop(&queue)); count++) {
		assert_true(pod->priority < last || (pod->priority == last && pod->since_ns > since));
		last = pod->priority;
		since = pod->since_ns;
	}
	assert_true(count > 300);
}

static void one_that_fits_nowhere_waits_for_what_may_help(void **state)
{
	put("a", 0);
	queue_park(&queue, pop("a"), EVENT_NODE_LABEL);
	queue_event(&queue, EVENT_POD_DELETE);
	clock_advance_test(60 * NSEC_PER_SEC);
	queue_tick(&queue);
	pop(NULL);
	assert_int_equal(queue_count(&queue, POD_UNSCHEDULABLE), 1);
	queue_event(&queue, EVENT_NODE_LABEL | EVENT_NODE_TAINT);
	pop("a");
}

static void what_happened_meanwhile_counts(void **state)
{
	put("a", 0);
	struct queued_pod *pod = pop("a");
	queue_event(&queue, EVENT_NODE_LABEL);
	queue_park(&queue, pod, EVENT_NODE_LABEL);
	assert_int_equal(queue_count(&queue, POD_BACKING_OFF), 1);
	assert_true(queue_tick(&queue) > 0);
	clock_advance_test(QUEUE_BACKOFF_MIN_NS);
	queue_tick(&queue);
	pop("a");
}

static void attempts_come_ever_later_up_to_a_bound(void **state)
{
	static const int seconds[] = {1, 2, 4, 8, 10, 10};
	put("a", 0);
	for (size_t i = 0; i < array_len(seconds); i++) {
		queue_park(&queue, pop("a"), EVENT_NODE_ADD);
		queue_event(&queue, EVENT_NODE_ADD);
		pop(NULL);
		int64_t wait = queue_tick(&queue);
		assert_int_equal(wait, seconds[i] * NSEC_PER_SEC);
		clock_advance_test(wait - 1);
		queue_tick(&queue);
		pop(NULL);
		clock_advance_test(1);
		queue_tick(&queue);
	}
	pop("a");
}

static void none_waits_for_ever(void **state)
{
	put("a", 0);
	queue_park(&queue, pop("a"), 0);
	assert_int_equal(queue_tick(&queue), QUEUE_PARKED_MAX_NS);
	clock_advance_test(QUEUE_PARKED_MAX_NS);
	queue_tick(&queue);
	pop("a");
}

static void a_change_of_the_pod_itself_helps(void **state)
{
	put("a", 0);
	queue_park(&queue, pop("a"), EVENT_NODE_ADD);
	clock_advance_test(10 * NSEC_PER_SEC);
	set_pod("a", 0, false);
	pop(NULL);
	set_pod("a", 0, true);
	struct queued_pod *pod = pop("a");
	set_pod("a", 0, true); /* while it is being tried */
	queue_park(&queue, pod, EVENT_NODE_ADD);
	assert_int_equal(queue_count(&queue, POD_UNSCHEDULABLE), 0);
}

static void a_failed_binding_backs_off(void **state)
{
	put("a", 0);
	struct queued_pod *pod = pop("a");
	autounref struct core_v1_pod *object = (struct core_v1_pod *)api_ref(pod->pod);
	queue_remove(&queue, "default/a");
	assert_null(queue_find(&queue, "default/a"));
	queue_add_backing_off(&queue, object);
	pop(NULL);
	clock_advance_test(queue_tick(&queue));
	queue_tick(&queue);
	pop("a");
}

static void priority_may_change_while_it_waits(void **state)
{
	put("a", 0);
	put("b", 1);
	set_pod("a", 9, true);
	pop("a");
	pop("b");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_important_go_first_then_the_old),
		TEST(many_come_out_in_order),
		TEST(one_that_fits_nowhere_waits_for_what_may_help),
		TEST(what_happened_meanwhile_counts),
		TEST(attempts_come_ever_later_up_to_a_bound),
		TEST(none_waits_for_ever),
		TEST(a_change_of_the_pod_itself_helps),
		TEST(a_failed_binding_backs_off),
		TEST(priority_may_change_while_it_waits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
