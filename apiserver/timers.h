/* SPDX-License-Identifier: Apache-2.0 */
/* One thread with an event loop, for what is to happen at a time: ends of watches, bookmarks. */
#ifndef CORACLE_APISERVER_TIMERS_H
#define CORACLE_APISERVER_TIMERS_H

#include "common/base/error.h"

struct timers;
struct timer;

int timers_start(struct timers **ret, struct error *err);
/* Joins the thread; timers left do not fire. Takes NULL. */
void timers_stop(struct timers *timers);
/*
 * fn(arg) runs on the timers' thread after `ns`, and every `ns` again where `repeat`. Thread safe.
 * The caller owns the timer and must call timer_cancel once.
 */
struct timer *timer_start(struct timers *timers, int64_t ns, bool repeat, void (*fn)(void *arg), void *arg);
/*
 * Frees it. fn may be running on the timers' thread at that moment, never start after. done(arg), where given, runs on the timers' thread
 * once fn can run no more: the place to give up what arg points at. Thread safe.
 */
void timer_cancel(struct timer *timer, void (*done)(void *arg));
struct loop *timers_loop(struct timers *timers);

#endif
