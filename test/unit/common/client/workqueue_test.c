/* SPDX-License-Identifier: Apache-2.0 */
#include "common/client/workqueue.h"

#include "common/base/clock.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>

static void expect_key(struct workqueue *queue, const char *key)
{
	char *got = workqueue_get(queue);
	assert_string_equal(got, key);
	free(got);
}

static void test_a_key_is_queued_once(void **state)
{
	struct workqueue *queue = workqueue_new(NULL);
	workqueue_add(queue, "a");
	workqueue_add(queue, "b");
	workqueue_add(queue, "a");
	assert_int_equal(workqueue_length(queue), 2);
	expect_key(queue, "a");
	expect_key(queue, "b");
	workqueue_done(queue, "a");
	workqueue_done(queue, "b");
	assert_int_equal(workqueue_length(queue), 0);
	workqueue_free(queue);
}

static void test_a_key_added_while_worked_on_comes_again_after_done(void **state)
{
	struct workqueue *queue = workqueue_new(NULL);
	workqueue_add(queue, "a");
	expect_key(queue, "a");
	workqueue_add(queue, "a");
	workqueue_add(queue, "a");
	assert_int_equal(workqueue_length(queue), 0);
	workqueue_done(queue, "a");
	assert_int_equal(workqueue_length(queue), 1);
	expect_key(queue, "a");
	workqueue_done(queue, "a");
	assert_int_equal(workqueue_length(queue), 0);
	workqueue_free(queue);
}

static void test_the_earliest_delay_wins(void **state)
{
	struct workqueue *queue = workqueue_new(NULL);
	workqueue_add_after(queue, "late", 60 * NSEC_PER_SEC);
	workqueue_add_after(queue, "soon", 60 * NSEC_PER_SEC);
	workqueue_add_after(queue, "soon", 20 * NSEC_PER_MSEC);
	workqueue_add_after(queue, "first", 5 * NSEC_PER_MSEC);
	expect_key(queue, "first");
	expect_key(queue, "soon");
	workqueue_done(queue, "soon");
	workqueue_done(queue, "first");
	workqueue_shutdown(queue);
	assert_null(workqueue_get(queue));
	workqueue_free(queue);
}

/* In the order of when they are due, as far as that can be known from here: the machine may stop between any two lines. */
static void test_many_delays_come_in_order(void **state)
{
	struct workqueue *queue = workqueue_new(NULL);
	int64_t not_before[50], not_after[50], latest = 0;
	bool came[50] = {false};
	for (int i = 0; i < 50; i++) {
		char key[16];
		int n = (i * 37) % 50;
		snprintf(key, sizeof(key), "%02d", n);
		not_before[n] = clock_monotonic_ns() + (10 + n) * NSEC_PER_MSEC;
		workqueue_add_after(queue, key, (10 + n) * NSEC_PER_MSEC);
		not_after[n] = clock_monotonic_ns() + (10 + n) * NSEC_PER_MSEC;
	}
	for (int i = 0; i < 50; i++) {
		char *key = workqueue_get(queue);
		int n = atoi(key);
		assert_true(n >= 0 && n < 50 && !came[n]);
		came[n] = true;
		assert_true(clock_monotonic_ns() >= not_before[n]);
		assert_true(not_after[n] >= latest); /* else an earlier one was due after it for certain */
		latest = max_of(latest, not_before[n]);
		workqueue_done(queue, key);
		free(key);
	}
	workqueue_free(queue);
}

static void test_back_off_doubles_until_forgotten(void **state)
{
	struct workqueue *queue = workqueue_new(&(struct workqueue_options){.name = "test", .base_delay_ns = NSEC_PER_MSEC, .max_delay_ns = 4 * NSEC_PER_MSEC});
	for (unsigned i = 1; i <= 6; i++) {
		workqueue_add_rate_limited(queue, "a");
		assert_int_equal(workqueue_retries(queue, "a"), i);
		expect_key(queue, "a");
		workqueue_done(queue, "a");
	}
	workqueue_forget(queue, "a");
	assert_int_equal(workqueue_retries(queue, "a"), 0);
	workqueue_free(queue);
}

/* The queue of a worker that is no thread: nothing blocks, and time is asked for. Delays are far off, so the real clock does not matter. */
static void test_try_get_does_not_wait(void **state)
{
	struct workqueue *queue = workqueue_new(NULL);
	assert_null(workqueue_try_get(queue));
	assert_true(workqueue_next_due(queue) == INT64_MAX);
	workqueue_add_after(queue, "later", 3600 * NSEC_PER_SEC);
	assert_null(workqueue_try_get(queue));
	int64_t left = workqueue_next_due(queue) - clock_monotonic_ns();
	assert_true(left > 3000 * NSEC_PER_SEC && left <= 3600 * NSEC_PER_SEC);
	workqueue_add(queue, "now");
	assert_true(workqueue_next_due(queue) <= clock_monotonic_ns());
	char *key = workqueue_try_get(queue);
	assert_string_equal(key, "now");
	assert_null(workqueue_try_get(queue));
	workqueue_settle(queue, key, -EIO);
	assert_int_equal(workqueue_retries(queue, key), 1);
	workqueue_settle(queue, key, 0);
	assert_int_equal(workqueue_retries(queue, key), 0);
	workqueue_done(queue, key);
	free(key);
	workqueue_free(queue);
}

static void test_shutdown_drains(void **state)
{
	struct workqueue *queue = workqueue_new(NULL);
	workqueue_add(queue, "a");
	workqueue_shutdown(queue);
	workqueue_add(queue, "b");
	expect_key(queue, "a");
	workqueue_done(queue, "a");
	assert_null(workqueue_get(queue));
	workqueue_free(queue);
}

struct counting {
	_Atomic int calls, running, overlaps, failures_left, done;
	pthread_mutex_t lock;
	pthread_cond_t wake;
};

static int count_reconcile(const char *key, void *arg, struct error *err)
{
	struct counting *c = arg;
	if (atomic_fetch_add(&c->running, 1) && strcmp(key, "same") == 0)
		atomic_fetch_add(&c->overlaps, 1);
	atomic_fetch_add(&c->calls, 1);
	atomic_fetch_sub(&c->running, 1);
	if (atomic_load(&c->failures_left) > 0) {
		atomic_fetch_sub(&c->failures_left, 1);
		return error_status(err, 409, "Conflict", "again");
	}
	if (strcmp(key, "later") == 0 && atomic_load(&c->calls) == 1)
		return 1;
	pthread_mutex_lock(&c->lock);
	atomic_fetch_add(&c->done, 1);
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
	return 0;
}

static void wait_done(struct counting *c, int n)
{
	pthread_mutex_lock(&c->lock);
	while (atomic_load(&c->done) < n)
		pthread_cond_wait(&c->wake, &c->lock);
	pthread_mutex_unlock(&c->lock);
}

static void test_workers_retry_failures(void **state)
{
	struct counting c = {.failures_left = 3, .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};
	struct workqueue *queue = workqueue_new(NULL);
	struct workers *workers = workers_start(queue, 2, count_reconcile, &c);
	workqueue_add(queue, "a");
	wait_done(&c, 1);
	assert_int_equal(atomic_load(&c.calls), 4);
	workers_stop(workers);
	workqueue_free(queue);
}

static void test_workers_work_again_after_a_positive_result(void **state)
{
	struct counting c = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};
	struct workqueue *queue = workqueue_new(NULL);
	struct workers *workers = workers_start(queue, 1, count_reconcile, &c);
	workqueue_add(queue, "later");
	wait_done(&c, 1);
	assert_int_equal(atomic_load(&c.calls), 2);
	workers_stop(workers);
	workqueue_free(queue);
}

/* Four keys under work at once take four threads, though each key comes when the others are under work already. */
struct meeting {
	pthread_barrier_t all;
	atomic_int met;
};

static int meet(const char *key, void *arg, struct error *err)
{
	struct meeting *m = arg;
	pthread_barrier_wait(&m->all);
	atomic_fetch_add(&m->met, 1);
	return 0;
}

static void test_workers_grow_with_the_work(void **state)
{
	struct meeting m = {0};
	pthread_barrier_init(&m.all, NULL, 4);
	struct workqueue *queue = workqueue_new(NULL);
	struct workers *workers = workers_start(queue, 4, meet, &m);
	for (int round = 0; round < 50; round++) {
		for (int i = 0; i < 4; i++)
			workqueue_add(queue, (char[]){(char)('a' + i), 0});
		while (atomic_load(&m.met) < 4 * (round + 1))
			sched_yield();
	}
	workers_stop(workers);
	workqueue_free(queue);
	pthread_barrier_destroy(&m.all);
}

static void *add_same(void *arg)
{
	for (int i = 0; i < 2000; i++)
		workqueue_add(arg, "same");
	return NULL;
}

static void test_one_worker_a_key(void **state)
{
	struct counting c = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};
	struct workqueue *queue = workqueue_new(NULL);
	struct workers *workers = workers_start(queue, 4, count_reconcile, &c);
	pthread_t threads[3];
	for (int i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, add_same, queue);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	wait_done(&c, 1);
	workers_stop(workers);
	assert_int_equal(atomic_load(&c.overlaps), 0);
	workqueue_free(queue);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_key_is_queued_once),
		cmocka_unit_test(test_a_key_added_while_worked_on_comes_again_after_done),
		cmocka_unit_test(test_the_earliest_delay_wins),
		cmocka_unit_test(test_many_delays_come_in_order),
		cmocka_unit_test(test_back_off_doubles_until_forgotten),
		cmocka_unit_test(test_try_get_does_not_wait),
		cmocka_unit_test(test_shutdown_drains),
		cmocka_unit_test(test_workers_retry_failures),
		cmocka_unit_test(test_workers_work_again_after_a_positive_result),
		cmocka_unit_test(test_workers_grow_with_the_work), cmocka_unit_test(test_one_worker_a_key),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
