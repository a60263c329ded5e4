/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/timers.h"
#include "common/base/loop.h"

#include <pthread.h>

struct timers {
	struct loop *loop;
	pthread_t thread;
};

struct timer {
	struct timers *timers;
	struct loop_timer *timer; /* made on the loop's thread */
	int64_t ns;
	bool repeat;
	void (*fn)(void *arg);
	void (*done)(void *arg);
	void *arg;
};

static void *run(void *arg) {
	struct timers *timers = arg;
	loop_run(timers->loop);
	return NULL;
}

int timers_start(struct timers **ret, struct error *err) {
	struct timers *timers = xnew(struct timers);
	timers->loop = loop_new();
	int rc = pthread_create(&timers->thread, NULL, run, timers);
	if (rc) {
		loop_free(timers->loop);
		free(timers);
		return error_set_errno(err, rc, "start the timers' thread");
	}
	*ret = timers;
	return 0;
}

static void stop(void *arg) {
	loop_stop(((struct timers *)arg)->loop);
}

void timers_stop(struct timers *timers) {
	if (!timers)
		return;
	loop_post(timers->loop, stop, timers);
	pthread_join(timers->thread, NULL);
	loop_free(timers->loop);
	free(timers);
}

struct loop *timers_loop(struct timers *timers) {
	return timers->loop;
}

static void fire(void *arg) {
	struct timer *timer = arg;
	if (timer->repeat)
		loop_timer_arm(timer->timer, timer->ns);
	timer->fn(timer->arg);
}

static void arm(void *arg) {
	struct timer *timer = arg;
	timer->timer = loop_timer_new(timer->timers->loop, fire, timer);
	loop_timer_arm(timer->timer, timer->ns);
}

static void cancel(void *arg) {
	struct timer *timer = arg;
	loop_timer_free(timer->timer);
	if (timer->done)
		timer->done(timer->arg);
	free(timer);
}

struct timer *timer_start(struct timers *timers, int64_t ns, bool repeat, void (*fn)(void *arg), void *arg) {
	struct timer *timer = xnew(struct timer);
	*timer = (struct timer){.timers = timers, .ns = ns, .repeat = repeat, .fn = fn, .arg = arg};
	loop_post(timers->loop, arm, timer);
	return timer;
}

void timer_cancel(struct timer *timer, void (*done)(void *arg)) {
	if (!timer)
		return;
	timer->done = done;
	loop_post(timer->timers->loop, cancel, timer);
}
