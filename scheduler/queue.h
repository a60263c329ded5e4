/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pods that wait for a node: active (to be tried now, by priority, then age), backing off (tried too often of late), unschedulable (until something
 * happens that may help). Not thread safe: the scheduler's lock is held.
 */
#ifndef CORACLE_SCHEDULER_QUEUE_H
#define CORACLE_SCHEDULER_QUEUE_H

#include "common/base/map.h"

#include "api/core_v1.h"

struct queued_pod {
	char *key;
	struct core_v1_pod *pod; /* a reference */
	int32_t priority;
	int64_t since_ns;   /* first queued */
	int64_t ready_ns;   /* backing off until then */
	int64_t parked_ns;  /* unschedulable since */
	unsigned attempts;
	uint32_t helping_events;
	enum { POD_ACTIVE, POD_BACKING_OFF, POD_UNSCHEDULABLE, POD_IN_FLIGHT } state;
	size_t heap_index;
	uint32_t missed_events; /* happened while it was in flight */
	char *last_message;     /* of its last failure, to not say the same again and again */
};

struct queue {
	struct map pods; /* key -> struct queued_pod */
	struct queued_pod **active; /* a heap */
	size_t active_len, active_cap;
};

#define QUEUE_BACKOFF_MIN_NS (1 * NSEC_PER_SEC)
#define QUEUE_BACKOFF_MAX_NS (10 * NSEC_PER_SEC)
#define QUEUE_PARKED_MAX_NS (300 * NSEC_PER_SEC) /* tried again after that, whatever happened */

void queue_init(struct queue *queue);
void queue_done(struct queue *queue);
/* Adds the pod, or takes its newer object. `changed`: what would change a verdict did: try again. Takes its own reference. */
void queue_set(struct queue *queue, struct core_v1_pod *pod, bool changed);
/* Adds a pod whose binding failed: tried again after a back-off. */
void queue_add_backing_off(struct queue *queue, struct core_v1_pod *pod);
void queue_remove(struct queue *queue, const char *key);
struct queued_pod *queue_find(const struct queue *queue, const char *key);
/* The next pod to try, now in flight; NULL where none is ready. It stays the queue's. */
struct queued_pod *queue_pop(struct queue *queue);
/* After a failed attempt: parks it until one of `events`, or backs off where one happened meanwhile. */
void queue_park(struct queue *queue, struct queued_pod *pod, uint32_t events);
/* After an error that has nothing to do with fitting: tries again after a back-off. */
void queue_retry(struct queue *queue, struct queued_pod *pod);
/* Something happened: pods it may help are moved on. */
void queue_event(struct queue *queue, uint32_t events);
/* Moves on what has waited long enough. Returns the nanoseconds until it is worth calling again, -1: nothing waits. */
int64_t queue_tick(struct queue *queue);
size_t queue_count(const struct queue *queue, int state);

#endif
