/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/loop.h"

#include "common/base/clock.h"
#include "common/base/list.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_PER_WAIT 64
#define POST_ROUNDS 4 /* posts that posts make are run before descriptors are looked at again, so often */
#define MAX_SIGNAL 65
#define NOT_ARMED SIZE_MAX

struct loop_fd {
	struct loop *loop;
	struct list item; /* in loop->watches, or in loop->removed until the round ends: an event of it may still be in hand */
	int fd;
	bool dead;
	void (*fn)(uint32_t events, void *arg);
	void *arg;
};

struct loop_timer {
	struct loop *loop;
	struct list item; /* in loop->timers */
	size_t heap_at;   /* NOT_ARMED, or the place in loop->heap */
	int64_t due_ns;
	void (*fn)(void *arg);
	void *arg;
};

struct post {
	struct post *next;
	void (*fn)(void *arg);
	void *arg;
};

struct signal_handler {
	void (*fn)(int signo, void *arg);
	void *arg;
};

struct loop {
	int epoll_fd, wake_fd, timer_fd, signal_fd;
	struct list watches, removed, timers;
	struct loop_timer **heap; /* binary heap by due_ns */
	size_t heap_len, heap_cap;
	int64_t timer_set_ns; /* what timer_fd is set to; 0: not */
	sigset_t signals;
	struct signal_handler handlers[MAX_SIGNAL];
	bool stopped; /* atomic */
	pthread_mutex_t lock; /* guards what follows */
	struct post *posts, **posts_end;
	bool awake; /* it looks at the posts before it sleeps: nobody need wake it */
};

/* Timers measure real time even where a test has replaced the clock: they wake a real epoll. */
static int64_t now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

static void heap_place(struct loop *loop, size_t at, struct loop_timer *timer)
{
	loop->heap[at] = timer;
	timer->heap_at = at;
}

static void heap_sift(struct loop *loop, size_t at)
{
	struct loop_timer *timer = loop->heap[at];
	while (at && loop->heap[(at - 1) / 2]->due_ns > timer->due_ns) {
		heap_place(loop, at, loop->heap[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	for (;;) {
		size_t child = 2 * at + 1;
		if (child + 1 < loop->heap_len && loop->heap[child + 1]->due_ns < loop->heap[child]->due_ns)
			child++;
		if (child >= loop->heap_len || loop->heap[child]->due_ns >= timer->due_ns)
			break;
		heap_place(loop, at, loop->heap[child]);
		at = child;
	}
	heap_place(loop, at, timer);
}

static void heap_remove(struct loop *loop, struct loop_timer *timer)
{
	size_t at = timer->heap_at;
	timer->heap_at = NOT_ARMED;
	struct loop_timer *last = loop->heap[--loop->heap_len];
	if (last == timer)
		return;
	heap_place(loop, at, last);
	heap_sift(loop, at);
}

/* Keeps timer_fd at the earliest timer. */
static void set_timer_fd(struct loop *loop)
{
	int64_t due = loop->heap_len ? max_of(loop->heap[0]->due_ns, (int64_t)1) : 0;
	if (due == loop->timer_set_ns)
		return;
	struct itimerspec spec = {.it_value = {.tv_sec = due / NSEC_PER_SEC, .tv_nsec = due % NSEC_PER_SEC}};
	timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
	loop->timer_set_ns = due;
}

static void on_timer_fd(uint32_t events, void *arg)
{
	struct loop *loop = arg;
	uint64_t ticks;
	if (read(loop->timer_fd, &ticks, sizeof(ticks)) == sizeof(ticks))
		loop->timer_set_ns = 0;
	int64_t now = now_ns();
	while (loop->heap_len && loop->heap[0]->due_ns <= now) {
		struct loop_timer *timer = loop->heap[0];
		heap_remove(loop, timer);
		timer->fn(timer->arg); /* may free it */
	}
	set_timer_fd(loop);
}

/* It only ends the wait. */
static void on_wake_fd(uint32_t events, void *arg)
{
}

/* False where there were none. */
static bool run_posts(struct loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	struct post *post = loop->posts;
	loop->posts = NULL;
	loop->posts_end = &loop->posts;
	loop->awake = true;
	pthread_mutex_unlock(&loop->lock);
	bool any = post != NULL;
	for (struct post *next; post; post = next) {
		next = post->next;
		post->fn(post->arg);
		free(post);
	}
	return any;
}

static bool may_sleep(struct loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	bool may = !loop->posts;
	loop->awake = !may;
	pthread_mutex_unlock(&loop->lock);
	return may;
}

static void on_signal_fd(uint32_t events, void *arg)
{
	struct loop *loop = arg;
	struct signalfd_siginfo info;
	while (read(loop->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		struct signal_handler *handler = info.ssi_signo < MAX_SIGNAL ? &loop->handlers[info.ssi_signo] : NULL;
		if (handler && handler->fn)
			handler->fn((int)info.ssi_signo, handler->arg);
	}
}

struct loop *loop_new(void)
{
	struct loop *loop = xnew(struct loop);
	list_init(&loop->watches);
	list_init(&loop->removed);
	list_init(&loop->timers);
	sigemptyset(&loop->signals);
	pthread_mutex_init(&loop->lock, NULL);
	loop->posts_end = &loop->posts;
	loop->signal_fd = -1;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	loop->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (loop->epoll_fd < 0 || loop->wake_fd < 0 || loop->timer_fd < 0)
		abort(); /* out of descriptors at the start: nothing can run */
	loop_add_fd(loop, loop->wake_fd, EPOLLIN | EPOLLET, on_wake_fd, loop); /* by its edges, so that the counter need not be read */
	loop_add_fd(loop, loop->timer_fd, EPOLLIN, on_timer_fd, loop);
	return loop;
}

static void free_removed(struct loop *loop)
{
	struct loop_fd *watch;
	list_for_each (watch, &loop->removed, item) {
		list_remove(&watch->item);
		free(watch);
	}
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	struct loop_fd *watch;
	struct loop_timer *timer;
	list_for_each (watch, &loop->watches, item)
		loop_fd_remove(watch);
	free_removed(loop);
	list_for_each (timer, &loop->timers, item)
		loop_timer_free(timer);
	for (struct post *post = loop->posts, *next; post; post = next) {
		next = post->next;
		free(post);
	}
	cleanup_close(&loop->epoll_fd);
	cleanup_close(&loop->wake_fd);
	cleanup_close(&loop->timer_fd);
	cleanup_close(&loop->signal_fd);
	pthread_mutex_destroy(&loop->lock);
	free(loop->heap);
	free(loop);
}

void loop_run(struct loop *loop)
{
	struct epoll_event events[EVENTS_PER_WAIT];
	while (!__atomic_load_n(&loop->stopped, __ATOMIC_ACQUIRE)) {
		int n = epoll_wait(loop->epoll_fd, events, array_len(events), may_sleep(loop) ? -1 : 0);
		for (int i = 0; i < n; i++) {
			struct loop_fd *watch = events[i].data.ptr;
			if (!watch->dead)
				watch->fn(events[i].events, watch->arg);
		}
		for (int i = 0; i < POST_ROUNDS && run_posts(loop); i++)
			;
		free_removed(loop);
	}
	__atomic_store_n(&loop->stopped, false, __ATOMIC_RELEASE);
}

static void wake(struct loop *loop)
{
	ssize_t ignored = write(loop->wake_fd, &(uint64_t){1}, sizeof(uint64_t)); /* full means it will wake anyway */
	(void)ignored;
}

void loop_stop(struct loop *loop)
{
	__atomic_store_n(&loop->stopped, true, __ATOMIC_RELEASE);
	wake(loop);
}

struct loop_fd *loop_add_fd(struct loop *loop, int fd, uint32_t events, void (*fn)(uint32_t events, void *arg), void *arg)
{
	struct loop_fd *watch = xnew(struct loop_fd);
	*watch = (struct loop_fd){.loop = loop, .fd = fd, .fn = fn, .arg = arg};
	list_push_back(&loop->watches, &watch->item);
	struct epoll_event event = {.events = events, .data.ptr = watch};
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event);
	return watch;
}

void loop_fd_set_events(struct loop_fd *watch, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = watch};
	if (!watch->dead)
		epoll_ctl(watch->loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event);
}

void loop_fd_remove(struct loop_fd *watch)
{
	if (!watch || watch->dead)
		return;
	epoll_ctl(watch->loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
	watch->dead = true;
	list_remove(&watch->item);
	list_push_back(&watch->loop->removed, &watch->item);
}

struct loop_timer *loop_timer_new(struct loop *loop, void (*fn)(void *arg), void *arg)
{
	struct loop_timer *timer = xnew(struct loop_timer);
	*timer = (struct loop_timer){.loop = loop, .heap_at = NOT_ARMED, .fn = fn, .arg = arg};
	list_push_back(&loop->timers, &timer->item);
	return timer;
}

void loop_timer_arm(struct loop_timer *timer, int64_t after_ns)
{
	struct loop *loop = timer->loop;
	int64_t now = now_ns();
	if (after_ns < 0)
		after_ns = 0;
	timer->due_ns = after_ns > INT64_MAX - now ? INT64_MAX : now + after_ns;
	if (timer->heap_at == NOT_ARMED) {
		if (loop->heap_len == loop->heap_cap) {
			loop->heap_cap = max_of(loop->heap_cap * 2, (size_t)16);
			loop->heap = xreallocarray(loop->heap, loop->heap_cap, sizeof(struct loop_timer *));
		}
		heap_place(loop, loop->heap_len++, timer);
	}
	heap_sift(loop, timer->heap_at);
	set_timer_fd(loop);
}

void loop_timer_disarm(struct loop_timer *timer)
{
	if (!timer || timer->heap_at == NOT_ARMED)
		return;
	heap_remove(timer->loop, timer);
	set_timer_fd(timer->loop);
}

void loop_timer_free(struct loop_timer *timer)
{
	if (!timer)
		return;
	loop_timer_disarm(timer);
	list_remove(&timer->item);
	free(timer);
}

void loop_add_signal(struct loop *loop, int signo, void (*fn)(int signo, void *arg), void *arg)
{
	if (signo <= 0 || signo >= MAX_SIGNAL)
		return;
	loop->handlers[signo] = (struct signal_handler){.fn = fn, .arg = arg};
	sigaddset(&loop->signals, signo);
	pthread_sigmask(SIG_BLOCK, &loop->signals, NULL);
	bool first = loop->signal_fd < 0;
	int fd = signalfd(loop->signal_fd, &loop->signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		abort(); /* a daemon that cannot hear SIGTERM must not start */
	loop->signal_fd = fd;
	if (first)
		loop_add_fd(loop, fd, EPOLLIN, on_signal_fd, loop);
}

void loop_post(struct loop *loop, void (*fn)(void *arg), void *arg)
{
	struct post *post = xnew(struct post);
	*post = (struct post){.fn = fn, .arg = arg};
	pthread_mutex_lock(&loop->lock);
	*loop->posts_end = post;
	loop->posts_end = &post->next;
	bool asleep = !loop->awake;
	loop->awake = true;
	pthread_mutex_unlock(&loop->lock);
	if (asleep)
		wake(loop);
}

struct waited {
	void (*fn)(void *arg);
	void *arg;
	sem_t done;
};

static void run_waited(void *arg)
{
	struct waited *waited = arg;
	waited->fn(waited->arg);
	sem_post(&waited->done);
}

void loop_call(struct loop *loop, void (*fn)(void *arg), void *arg)
{
	struct waited waited = {.fn = fn, .arg = arg};
	sem_init(&waited.done, 0, 0);
	loop_post(loop, run_waited, &waited);
	while (sem_wait(&waited.done) < 0 && errno == EINTR)
		;
	sem_destroy(&waited.done);
}
