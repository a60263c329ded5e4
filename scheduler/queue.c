/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/queue.h"

#include "common/base/clock.h"

static void free_pod(void *value) {
	struct queued_pod *pod = value;
	api_unref(pod->pod);
	free(pod->key);
	free(pod->last_message);
	free(pod);
}

void queue_init(struct queue *queue) {
	*queue = (struct queue){.pods = MAP_INIT(free_pod)};
}

void queue_done(struct queue *queue) {
	map_done(&queue->pods);
	free(queue->active);
}

/* ---- the heap: highest priority first, then the longest waiting ---- */

static bool before(const struct queued_pod *a, const struct queued_pod *b) {
	if (a->priority != b->priority)
		return a->priority > b->priority;
	return a->since_ns < b->since_ns;
}

static void heap_put(struct queue *queue, size_t index, struct queued_pod *pod) {
	queue->active[index] = pod;
	pod->heap_index = index;
}

static void heap_up(struct queue *queue, size_t index) {
	struct queued_pod *pod = queue->active[index];
	while (index && before(pod, queue->active[(index - 1) / 2])) {
		heap_put(queue, index, queue->active[(index - 1) / 2]);
		index = (index - 1) / 2;
	}
	heap_put(queue, index, pod);
}

static void heap_down(struct queue *queue, size_t index) {
	struct queued_pod *pod = queue->active[index];
	for (;;) {
		size_t child = 2 * index + 1;
		if (child >= queue->active_len)
			break;
		if (child + 1 < queue->active_len && before(queue->active[child + 1], queue->active[child]))
			child++;
		if (!before(queue->active[child], pod))
			break;
		heap_put(queue, index, queue->active[child]);
		index = child;
	}
	heap_put(queue, index, pod);
}

static void activate(struct queue *queue, struct queued_pod *pod) {
	if (queue->active_len == queue->active_cap) {
		queue->active_cap = queue->active_cap ? queue->active_cap * 2 : 64;
		queue->active = xreallocarray(queue->active, queue->active_cap, sizeof(struct queued_pod *));
	}
	pod->state = POD_ACTIVE;
	heap_put(queue, queue->active_len++, pod);
	heap_up(queue, pod->heap_index);
}

static void deactivate(struct queue *queue, struct queued_pod *pod) {
	size_t index = pod->heap_index;
	struct queued_pod *last = queue->active[--queue->active_len];
	if (last == pod)
		return;
	heap_put(queue, index, last);
	heap_up(queue, index);
	heap_down(queue, last->heap_index);
}

/* ---- states ---- */

static int64_t backoff_ns(const struct queued_pod *pod) {
	int64_t wait = QUEUE_BACKOFF_MIN_NS;
	for (unsigned i = 1; i < pod->attempts && wait < QUEUE_BACKOFF_MAX_NS; i++)
		wait *= 2;
	return min_of(wait, QUEUE_BACKOFF_MAX_NS);
}

static void back_off_or_activate(struct queue *queue, struct queued_pod *pod) {
	if (clock_monotonic_ns() >= pod->ready_ns)
		activate(queue, pod);
	else
		pod->state = POD_BACKING_OFF;
}

void queue_set(struct queue *queue, struct core_v1_pod *object, bool changed) {
	const char *key = api_key(object);
	struct queued_pod *pod = map_get(&queue->pods, key);
	int32_t priority = object->spec.priority ? *object->spec.priority : 0;
	if (!pod) {
		pod = xnew(struct queued_pod);
		*pod = (struct queued_pod){.key = xstrdup(key), .pod = api_ref(object), .priority = priority, .since_ns = clock_monotonic_ns()};
		map_set(&queue->pods, key, pod);
		activate(queue, pod);
		return;
	}
	api_ref(object);
	api_unref(pod->pod);
	pod->pod = object;
	if (pod->state == POD_ACTIVE && pod->priority != priority) {
		deactivate(queue, pod); /* its place in the heap follows from its priority */
		pod->priority = priority;
		activate(queue, pod);
	}
	pod->priority = priority;
	if (pod->state == POD_UNSCHEDULABLE && changed)
		back_off_or_activate(queue, pod);
	else if (pod->state == POD_IN_FLIGHT && changed)
		pod->missed_events = UINT32_MAX;
}

void queue_add_backing_off(struct queue *queue, struct core_v1_pod *object) {
	queue_set(queue, object, false);
	struct queued_pod *pod = map_get(&queue->pods, api_key(object));
	if (pod->state == POD_ACTIVE)
		deactivate(queue, pod);
	pod->attempts++;
	pod->ready_ns = clock_monotonic_ns() + backoff_ns(pod);
	pod->state = POD_BACKING_OFF;
}

void queue_remove(struct queue *queue, const char *key) {
	struct queued_pod *pod = map_get(&queue->pods, key);
	if (pod && pod->state == POD_ACTIVE)
		deactivate(queue, pod);
	map_remove(&queue->pods, key);
}

struct queued_pod *queue_find(const struct queue *queue, const char *key) {
	return map_get(&queue->pods, key);
}

struct queued_pod *queue_pop(struct queue *queue) {
	if (!queue->active_len)
		return NULL;
	struct queued_pod *pod = queue->active[0];
	deactivate(queue, pod);
	pod->state = POD_IN_FLIGHT;
	pod->attempts++;
	pod->missed_events = 0;
	return pod;
}

void queue_park(struct queue *queue, struct queued_pod *pod, uint32_t events) {
	int64_t now = clock_monotonic_ns();
	pod->helping_events = events;
	pod->parked_ns = now;
	pod->ready_ns = now + backoff_ns(pod);
	if (pod->missed_events & events)
		back_off_or_activate(queue, pod);
	else
		pod->state = POD_UNSCHEDULABLE;
}

void queue_retry(struct queue *queue, struct queued_pod *pod) {
	pod->ready_ns = clock_monotonic_ns() + backoff_ns(pod);
	back_off_or_activate(queue, pod);
}

void queue_event(struct queue *queue, uint32_t events) {
	struct map_entry *e;
	for (size_t i = 0; (e = map_next(&queue->pods, &i));) {
		struct queued_pod *pod = e->value;
		if (pod->state == POD_IN_FLIGHT)
			pod->missed_events |= events;
		else if (pod->state == POD_UNSCHEDULABLE && pod->helping_events & events)
			back_off_or_activate(queue, pod);
	}
}

int64_t queue_tick(struct queue *queue) {
	int64_t now = clock_monotonic_ns(), next = INT64_MAX;
	struct map_entry *e;
	for (size_t i = 0; (e = map_next(&queue->pods, &i));) {
		struct queued_pod *pod = e->value;
		if (pod->state != POD_BACKING_OFF && pod->state != POD_UNSCHEDULABLE)
			continue;
		int64_t at = pod->state == POD_BACKING_OFF ? pod->ready_ns : pod->parked_ns + QUEUE_PARKED_MAX_NS;
		if (at <= now)
			activate(queue, pod);
		else
			next = min_of(next, at);
	}
	return next == INT64_MAX ? -1 : next - now;
}

size_t queue_count(const struct queue *queue, int state) {
	size_t n = 0;
	struct map_entry *e;
	for (size_t i = 0; (e = map_next(&queue->pods, &i));)
		n += (int)((struct queued_pod *)e->value)->state == state;
	return n;
}
