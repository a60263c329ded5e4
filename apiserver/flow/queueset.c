/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/flow/queueset.h"

#include "common/base/clock.h"

/* ---- dealing ---- */

void shuffle_deal(uint64_t hash, unsigned deck, unsigned hand, unsigned *ret) {
	unsigned taken[QUEUESET_MAX_HAND]; /* ascending */
	for (unsigned i = 0; i < hand; i++) {
		unsigned left = deck - i, card = (unsigned)(hash % left), at = 0;
		hash /= left;
		/* The card-th of those not taken yet. */
		for (; at < i && card >= taken[at]; at++)
			card++;
		memmove(&taken[at + 1], &taken[at], (i - at) * sizeof(*taken));
		taken[at] = card;
		ret[i] = card;
	}
}

/* ---- dividing ---- */

static double bounded(const struct seat_class *class, double fair) {
	double target = max_of(class->target, 0.001), part = fair * target;
	part = min_of(class->upper, part);
	return max_of(class->lower, part);
}

static double sum_of(const struct seat_class *classes, size_t count, double fair) {
	double sum = 0;
	for (size_t i = 0; i < count; i++)
		sum += bounded(&classes[i], fair);
	return sum;
}

void seats_divide(double total, const struct seat_class *classes, size_t count, double *ret, double *ret_fair) {
	/* The sum grows with the fair share: the share that fits is found by halving. */
	double low = 0, high = 1;
	for (unsigned i = 0; i < 64 && sum_of(classes, count, high) < total; i++)
		high *= 2;
	for (unsigned i = 0; i < 100; i++) {
		double middle = (low + high) / 2;
		*(sum_of(classes, count, middle) < total ? &low : &high) = middle;
	}
	for (size_t i = 0; i < count; i++)
		ret[i] = bounded(&classes[i], high);
	*ret_fair = high;
}

/* ---- the set ---- */

void queueset_init(struct queueset *set, int64_t now) {
	*set = (struct queueset){.updated = now};
}

void queueset_done(struct queueset *set) {
	for (size_t i = 0; i < set->queue_count; i++)
		free(set->queues[i]);
	free(set->queues);
	*set = (struct queueset){0};
}

void queueset_configure(struct queueset *set, const struct queueset_config *config) {
	set->config = *config;
	if (config->mode != QUEUESET_QUEUE || config->queues <= set->queue_count)
		return;
	set->queues = xreallocarray(set->queues, config->queues, sizeof(*set->queues));
	while (set->queue_count < config->queues) {
		struct queue *queue = xnew(struct queue);
		list_init(&queue->waiting);
		set->queues[set->queue_count++] = queue;
	}
}

static bool has_work(const struct queue *queue) {
	return queue->length || queue->executing;
}

/* Brings the progress up to now: each queue with work has got its part of the seats in use. */
static void advance(struct queueset *set, int64_t now) {
	if (set->active && now > set->updated)
		set->progress += (double)min_of(set->seats_in_use + set->seats_waiting, set->limit) / set->active * (double)(now - set->updated) / NSEC_PER_SEC;
	set->updated = now;
}

static double work_of(const struct queued *request) {
	return request->seats * QUEUESET_GUESSED_SECONDS;
}

/* Nobody is served before he came: a queue that did not use its share has not saved it up. */
static void bound_dispatch(struct queue *queue) {
	const struct queued *oldest = list_first(&queue->waiting, struct queued, link);
	if (oldest && queue->next_dispatch < oldest->arrived_at)
		queue->next_dispatch = oldest->arrived_at;
}

static bool fits(const struct queueset *set, unsigned seats) {
	if (set->config.mode == QUEUESET_EXEMPT)
		return true;
	if (seats > set->limit)
		return set->executing == 0; /* wider than the level: alone */
	return set->seats_in_use + seats <= set->limit;
}

static void execute(struct queueset *set, struct queued *request, int64_t now) {
	request->state = QUEUED_EXECUTING;
	request->started = now;
	set->executing++;
	set->seats_in_use += request->seats;
	if (request->queue) {
		set->active += !has_work(request->queue);
		request->queue->executing++;
		request->queue->seats_in_use += request->seats;
	}
}

static struct queue *choose_queue(struct queueset *set, uint64_t hash) {
	unsigned hand[QUEUESET_MAX_HAND], count = min_of(set->config.hand_size, set->config.queues);
	count = min_of(count, (unsigned)QUEUESET_MAX_HAND);
	count = max_of(count, 1u);
	shuffle_deal(hash, set->config.queues, count, hand);
	/* Hands that overlap must not all begin with the same queue. */
	size_t offset = (size_t)(set->enqueued++ % count);
	struct queue *best = NULL;
	for (unsigned i = 0; i < count; i++) {
		struct queue *queue = set->queues[hand[(offset + i) % count]];
		if (!best || queue->seats_waiting < best->seats_waiting)
			best = queue;
	}
	return best;
}

enum queueset_verdict queueset_arrive(struct queueset *set, struct queued *request, uint64_t hash, unsigned seats, int64_t now, unsigned *ret_length) {
	advance(set, now);
	*request = (struct queued){.seats = seats, .arrived = now, .arrived_at = set->progress};
	list_init(&request->link);
	*ret_length = 0;
	if (set->config.mode != QUEUESET_QUEUE) {
		if (!fits(set, seats))
			return QUEUESET_BUSY;
		execute(set, request, now);
		return QUEUESET_RUN;
	}
	struct queue *queue = choose_queue(set, hash);
	*ret_length = queue->length;
	if (set->seats_in_use >= set->limit && queue->length >= set->config.queue_length)
		return QUEUESET_FULL;
	if (!has_work(queue))
		queue->next_dispatch = set->progress;
	request->queue = queue;
	if (!set->waiting && fits(set, seats)) {
		/* Nobody waits, so nobody is passed over. */
		queue->next_dispatch += work_of(request);
		execute(set, request, now);
		return QUEUESET_RUN;
	}
	request->state = QUEUED_WAITING;
	set->active += !has_work(queue);
	list_push_back(&queue->waiting, &request->link);
	queue->length++;
	queue->seats_waiting += seats;
	set->waiting++;
	set->seats_waiting += seats;
	*ret_length = queue->length;
	bound_dispatch(queue);
	return QUEUESET_WAIT;
}

static void take_out(struct queueset *set, struct queued *request) {
	struct queue *queue = request->queue;
	list_remove(&request->link);
	queue->length--;
	queue->seats_waiting -= request->seats;
	set->waiting--;
	set->seats_waiting -= request->seats;
	set->active -= !has_work(queue);
}

/* The queue whose oldest request would be done first; of equals, the one after the last served. */
static struct queue *next_queue(struct queueset *set, size_t *ret_index) {
	struct queue *best = NULL;
	double best_end = 0;
	for (size_t i = 1; i <= set->queue_count; i++) {
		size_t at = (set->robin + i) % set->queue_count;
		struct queue *queue = set->queues[at];
		const struct queued *oldest = list_first(&queue->waiting, struct queued, link);
		if (!oldest)
			continue;
		double end = queue->next_dispatch + work_of(oldest);
		if (best && end >= best_end)
			continue;
		best = queue;
		best_end = end;
		*ret_index = at;
	}
	return best;
}

void queueset_dispatch(struct queueset *set, int64_t now, struct list *ready) {
	advance(set, now);
	while (set->waiting && set->seats_in_use < max_of(set->limit, 1u)) {
		size_t index = set->robin;
		struct queue *queue = next_queue(set, &index);
		struct queued *request = list_first(&queue->waiting, struct queued, link);
		if (!fits(set, request->seats))
			return; /* it is its turn: narrower ones behind it wait, or it would for ever */
		set->robin = index;
		take_out(set, request);
		queue->next_dispatch += work_of(request);
		execute(set, request, now);
		bound_dispatch(queue);
		list_push_back(ready, &request->link);
	}
}

/* Of more queues than configured, one that has nothing to do. */
static void drop_idle(struct queueset *set, struct queue *queue) {
	if (set->queue_count <= set->config.queues || has_work(queue))
		return;
	for (size_t i = set->config.queues; i < set->queue_count; i++) {
		if (set->queues[i] != queue)
			continue;
		free(queue);
		set->queues[i] = set->queues[--set->queue_count];
		set->robin = 0;
		return;
	}
}

void queueset_finish(struct queueset *set, struct queued *request, int64_t now) {
	struct queue *queue = request->queue;
	advance(set, now);
	request->state = QUEUED_OVER;
	set->executing--;
	set->seats_in_use -= request->seats;
	if (!queue)
		return;
	queue->executing--;
	queue->seats_in_use -= request->seats;
	set->active -= !has_work(queue);
	/* It was charged what was guessed: now what it took. */
	queue->next_dispatch -= request->seats * (QUEUESET_GUESSED_SECONDS - (double)(now - request->started) / NSEC_PER_SEC);
	bound_dispatch(queue);
	drop_idle(set, queue);
}

void queueset_withdraw(struct queueset *set, struct queued *request, int64_t now) {
	struct queue *queue = request->queue;
	advance(set, now);
	take_out(set, request);
	request->state = QUEUED_OVER;
	bound_dispatch(queue);
	drop_idle(set, queue);
}
