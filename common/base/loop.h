/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An event loop on epoll: file descriptors, timers, signals, and work posted from other threads. One thread runs a
 * loop; only loop_post() and loop_stop() may be called from others.
 */
#ifndef CORACLE_BASE_LOOP_H
#define CORACLE_BASE_LOOP_H

#include "common/base/error.h"

#include <sys/epoll.h>

struct loop;
struct loop_fd;
struct loop_timer;

struct loop *loop_new(void);
/* Takes NULL; frees watches and timers that are left. */
void loop_free(struct loop *loop);
/* Runs until loop_stop(). */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

/* Calls fn(events, arg) when fd is ready for `events` (EPOLLIN, ...). The fd stays the caller's. */
struct loop_fd *loop_add_fd(struct loop *loop, int fd, uint32_t events, void (*fn)(uint32_t events, void *arg), void *arg);
void loop_fd_set_events(struct loop_fd *watch, uint32_t events);
/* Safe inside any callback; takes NULL. */
void loop_fd_remove(struct loop_fd *watch);

/* Calls fn once after `ns` nanoseconds; may be re-armed from inside. */
struct loop_timer *loop_timer_new(struct loop *loop, void (*fn)(void *arg), void *arg);
/* Arms or re-arms. */
void loop_timer_arm(struct loop_timer *timer, int64_t after_ns);
void loop_timer_disarm(struct loop_timer *timer);
void loop_timer_free(struct loop_timer *timer);

/* Calls fn(signo, arg) in the loop. Blocks the signal for the calling thread: call before other threads start. */
void loop_add_signal(struct loop *loop, int signo, void (*fn)(int signo, void *arg), void *arg);

/* Runs fn(arg) on the loop's thread, in order. Thread safe. */
void loop_post(struct loop *loop, void (*fn)(void *arg), void *arg);
/* The same, and waits until fn has returned. Not on the loop's thread, which must run. */
void loop_call(struct loop *loop, void (*fn)(void *arg), void *arg);

#endif
