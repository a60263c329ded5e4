/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/loop.h"

#include "common/base/clock.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

struct world {
	struct loop *loop;
	struct loop_timer *timers[4];
	struct loop_fd *watch;
	int order[16], count, posts, signals, bytes;
	int fds[2];
};

struct slot {
	struct world *world;
	int number;
};

static void on_timer(void *arg)
{
	struct slot *slot = arg;
	slot->world->order[slot->world->count++] = slot->number;
	if (slot->number == 3)
		loop_stop(slot->world->loop);
}

static void timers_fire_in_order_of_time(void **state)
{
	struct world w = {.loop = loop_new()};
	struct slot slots[4];
	static const int ms[] = {15, 5, 10, 30};
	for (int i = 0; i < 4; i++) {
		slots[i] = (struct slot){&w, i};
		w.timers[i] = loop_timer_new(w.loop, on_timer, &slots[i]);
		loop_timer_arm(w.timers[i], 1000 * NSEC_PER_SEC);
		loop_timer_arm(w.timers[i], ms[i] * NSEC_PER_MSEC);
	}
	loop_timer_disarm(w.timers[2]);
	loop_run(w.loop);
	assert_int_equal(w.count, 3);
	assert_int_equal(w.order[0], 1);
	assert_int_equal(w.order[1], 0);
	assert_int_equal(w.order[2], 3);
	loop_timer_free(w.timers[0]);
	loop_free(w.loop);
}

static void on_post(void *arg)
{
	struct world *w = arg;
	if (++w->posts == 4000)
		loop_stop(w->loop);
}

static void *poster(void *arg)
{
	struct world *w = arg;
	for (int i = 0; i < 1000; i++)
		loop_post(w->loop, on_post, w);
	return NULL;
}

static void posts_from_other_threads_all_arrive(void **state)
{
	struct world w = {.loop = loop_new()};
	pthread_t threads[4];
	for (size_t i = 0; i < array_len(threads); i++)
		pthread_create(&threads[i], NULL, poster, &w);
	loop_run(w.loop);
	for (size_t i = 0; i < array_len(threads); i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(w.posts, 4000);
	loop_post(w.loop, on_post, &w);
	loop_free(w.loop);
}

static void on_readable(uint32_t events, void *arg)
{
	struct world *w = arg;
	char c;
	assert_int_equal(read(w->fds[0], &c, 1), 1);
	if (++w->bytes == 3) {
		loop_fd_remove(w->watch);
		kill(getpid(), SIGUSR1);
	}
}

static void on_signal(int signo, void *arg)
{
	struct world *w = arg;
	w->signals += signo == SIGUSR1;
	loop_stop(w->loop);
}

static void descriptors_and_signals_are_heard(void **state)
{
	struct world w = {.loop = loop_new()};
	assert_int_equal(pipe(w.fds), 0);
	loop_add_signal(w.loop, SIGUSR1, on_signal, &w);
	w.watch = loop_add_fd(w.loop, w.fds[0], EPOLLIN, on_readable, &w);
	loop_fd_set_events(w.watch, EPOLLIN);
	assert_int_equal(write(w.fds[1], "abc", 3), 3);
	loop_run(w.loop);
	assert_int_equal(w.bytes, 3);
	assert_int_equal(w.signals, 1);
	loop_free(w.loop);
	close(w.fds[0]);
	close(w.fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timers_fire_in_order_of_time),
		cmocka_unit_test(posts_from_other_threads_all_arrive),
		cmocka_unit_test(descriptors_and_signals_are_heard),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
