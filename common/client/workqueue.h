/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A keyed work queue: a key is queued once however often it is added, is worked on by one worker at a time, and is queued
 * again when added meanwhile. With delays and per-key exponential back-off. Thread safe.
 */
#ifndef CORACLE_CLIENT_WORKQUEUE_H
#define CORACLE_CLIENT_WORKQUEUE_H

#include "common/base/error.h"

struct workqueue;

struct workqueue_options {
	const char *name;            /* label of the workqueue_* metrics */
	int64_t base_delay_ns;       /* of the back-off; 0: 5 ms */
	int64_t max_delay_ns;        /* 0: 1000 s */
};
struct workqueue *workqueue_new(const struct workqueue_options *options);
void workqueue_free(struct workqueue *queue);
void workqueue_add(struct workqueue *queue, const char *key);
/* The earliest of several delays of one key wins. */
void workqueue_add_after(struct workqueue *queue, const char *key, int64_t after_ns);
/* After a back-off that doubles with each call until workqueue_forget. */
void workqueue_add_rate_limited(struct workqueue *queue, const char *key);
void workqueue_forget(struct workqueue *queue, const char *key);
unsigned workqueue_retries(struct workqueue *queue, const char *key);
/* Blocks for a key (the caller frees it, after workqueue_done); NULL once shut down and drained. */
char *workqueue_get(struct workqueue *queue);
/* The same, for so long at most: NULL also where none was due until then. */
char *workqueue_get_within(struct workqueue *queue, int64_t most_ns);
/* The same without waiting: NULL where no key is due. For workers that are not threads (a simulator's). */
char *workqueue_try_get(struct workqueue *queue);
/* Monotonic time at which the next key is due, in the past where one waits already; INT64_MAX: none. */
int64_t workqueue_next_due(struct workqueue *queue);
void workqueue_done(struct workqueue *queue, const char *key);
void workqueue_shutdown(struct workqueue *queue);
size_t workqueue_length(struct workqueue *queue);
/* For how long the key that has been worked on longest has been. */
int64_t workqueue_longest_running_ns(struct workqueue *queue);

/*
 * Workers: up to `count` threads (as many as there are keys under work, and one that waits) that take keys and call reconcile(key, arg, err). 0: forgotten; negative: logged, counted, retried with
 * back-off; positive: worked on again after that many milliseconds.
 */
struct workers;
/* What a worker does with the answer of a reconcile, before workqueue_done. */
void workqueue_settle(struct workqueue *queue, const char *key, int result);
struct workers *workers_start(struct workqueue *queue, unsigned count, int (*reconcile)(const char *key, void *arg, struct error *err), void *arg);
/* Shuts the queue down, joins the threads, frees them (not the queue). */
void workers_stop(struct workers *workers);

#endif
