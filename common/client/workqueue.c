/* SPDX-License-Identifier: Apache-2.0 */
#include "common/client/workqueue.h"

#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/map.h"
#include "common/base/metrics.h"

#include <pthread.h>
#include <time.h>

#define BASE_DELAY_DEFAULT (5 * NSEC_PER_MSEC)
#define MAX_DELAY_DEFAULT (1000 * NSEC_PER_SEC)
#define NOT_DELAYED SIZE_MAX

/* One key, as long as it is queued, worked on, delayed or has failures to remember. */
struct item {
	struct list ready;    /* in queue->ready while `queued` */
	bool dirty;           /* wants work that no worker has begun */
	bool queued;
	bool processing;
	unsigned retries;
	size_t delay_index;   /* in queue->delayed, or NOT_DELAYED */
	int64_t delay_until;
	int64_t queued_at;
	int64_t started_at;
	char key[];
};

struct workqueue {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct map items;
	struct list ready;
	size_t ready_len;
	struct item **delayed; /* binary heap, the earliest first */
	size_t delayed_len;
	size_t delayed_cap;
	int64_t timed_until; /* for which delayed item a worker waits; INT64_MAX: none does */
	bool shutdown;
	int64_t base_delay;
	int64_t max_delay;
	struct list all; /* in all_queues */
	struct metric_series *depth, *adds, *retries, *queue_seconds, *work_seconds, *unfinished, *longest;
};

static const char *const name_label[] = {"name", NULL};
static const double seconds_buckets[] = {1e-8, 1e-7, 1e-6, 9.999999999999999e-06, 9.999999999999999e-05, 0.001, 0.01, 0.1, 1, 10, 0};

enum { M_DEPTH, M_ADDS, M_QUEUE, M_WORK, M_UNFINISHED, M_LONGEST, M_RETRIES };
static struct metric metrics[] = {
	[M_DEPTH] = {"workqueue_depth", "Current depth of workqueue", METRIC_GAUGE, name_label, NULL, NULL},
	[M_ADDS] = {"workqueue_adds_total", "Total number of adds handled by workqueue", METRIC_COUNTER, name_label, NULL, NULL},
	[M_QUEUE] = {"workqueue_queue_duration_seconds", "How long in seconds an item stays in workqueue before being requested.", METRIC_HISTOGRAM, name_label, seconds_buckets, NULL},
	[M_WORK] = {"workqueue_work_duration_seconds", "How long in seconds processing an item from workqueue takes.", METRIC_HISTOGRAM, name_label, seconds_buckets, NULL},
	[M_UNFINISHED] = {"workqueue_unfinished_work_seconds", "How many seconds of work has been done that is in progress.", METRIC_GAUGE, name_label, NULL, NULL},
	[M_LONGEST] = {"workqueue_longest_running_processor_seconds", "How many seconds has the longest running processor for workqueue been running.", METRIC_GAUGE, name_label, NULL, NULL},
	[M_RETRIES] = {"workqueue_retries_total", "Total number of retries handled by workqueue", METRIC_COUNTER, name_label, NULL, NULL},
};
static pthread_once_t metrics_once = PTHREAD_ONCE_INIT;
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list all_queues = LIST_INIT(all_queues);

static double seconds_since(int64_t then)
{
	return (double)(clock_monotonic_ns() - then) / NSEC_PER_SEC;
}

static void queue_collect(struct workqueue *queue)
{
	double sum = 0, longest = 0;
	pthread_mutex_lock(&queue->lock);
	size_t pos = 0;
	for (struct map_entry *e; (e = map_next(&queue->items, &pos));) {
		struct item *item = e->value;
		if (!item->processing)
			continue;
		double running = seconds_since(item->started_at);
		sum += running;
		longest = max_of(longest, running);
	}
	pthread_mutex_unlock(&queue->lock);
	metric_set(queue->unfinished, sum);
	metric_set(queue->longest, longest);
}

int64_t workqueue_longest_running_ns(struct workqueue *queue)
{
	int64_t longest = 0, now = clock_monotonic_ns();
	pthread_mutex_lock(&queue->lock);
	size_t pos = 0;
	for (struct map_entry *e; (e = map_next(&queue->items, &pos));) {
		const struct item *item = e->value;
		if (item->processing)
			longest = max_of(longest, now - item->started_at);
	}
	pthread_mutex_unlock(&queue->lock);
	return longest;
}

static void collect_all(void *arg)
{
	pthread_mutex_lock(&all_lock);
	struct workqueue *queue;
	list_for_each (queue, &all_queues, all)
		queue_collect(queue);
	pthread_mutex_unlock(&all_lock);
}

static void register_metrics(void)
{
	metrics_register(metrics, array_len(metrics));
	metrics_on_collect(collect_all, NULL);
}

struct workqueue *workqueue_new(const struct workqueue_options *options)
{
	pthread_once(&metrics_once, register_metrics);
	struct workqueue *queue = xnew(struct workqueue);
	queue->timed_until = INT64_MAX;
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&queue->wake, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&queue->lock, NULL);
	list_init(&queue->ready);
	queue->base_delay = options && options->base_delay_ns ? options->base_delay_ns : BASE_DELAY_DEFAULT;
	queue->max_delay = options && options->max_delay_ns ? options->max_delay_ns : MAX_DELAY_DEFAULT;
	const char *name = str_or(options ? options->name : NULL, "unnamed");
	queue->depth = metric_label(&metrics[M_DEPTH], name);
	queue->adds = metric_label(&metrics[M_ADDS], name);
	queue->queue_seconds = metric_label(&metrics[M_QUEUE], name);
	queue->work_seconds = metric_label(&metrics[M_WORK], name);
	queue->unfinished = metric_label(&metrics[M_UNFINISHED], name);
	queue->longest = metric_label(&metrics[M_LONGEST], name);
	queue->retries = metric_label(&metrics[M_RETRIES], name);
	pthread_mutex_lock(&all_lock);
	list_push_back(&all_queues, &queue->all);
	pthread_mutex_unlock(&all_lock);
	return queue;
}

void workqueue_free(struct workqueue *queue)
{
	if (!queue)
		return;
	pthread_mutex_lock(&all_lock);
	list_remove(&queue->all);
	pthread_mutex_unlock(&all_lock);
	size_t pos = 0;
	for (struct map_entry *e; (e = map_next(&queue->items, &pos));)
		free(e->value);
	map_done(&queue->items);
	free(queue->delayed);
	pthread_cond_destroy(&queue->wake);
	pthread_mutex_destroy(&queue->lock);
	free(queue);
}

/* ---- the heap of delayed items; all below runs with the lock held ---- */

static void heap_place(struct workqueue *queue, size_t index, struct item *item)
{
	queue->delayed[index] = item;
	item->delay_index = index;
}

static void heap_up(struct workqueue *queue, size_t index)
{
	struct item *item = queue->delayed[index];
	while (index && queue->delayed[(index - 1) / 2]->delay_until > item->delay_until) {
		heap_place(queue, index, queue->delayed[(index - 1) / 2]);
		index = (index - 1) / 2;
	}
	heap_place(queue, index, item);
}

static void heap_down(struct workqueue *queue, size_t index)
{
	struct item *item = queue->delayed[index];
	for (;;) {
		size_t child = 2 * index + 1;
		if (child >= queue->delayed_len)
			break;
		if (child + 1 < queue->delayed_len && queue->delayed[child + 1]->delay_until < queue->delayed[child]->delay_until)
			child++;
		if (queue->delayed[child]->delay_until >= item->delay_until)
			break;
		heap_place(queue, index, queue->delayed[child]);
		index = child;
	}
	heap_place(queue, index, item);
}

static void heap_push(struct workqueue *queue, struct item *item)
{
	if (queue->delayed_len == queue->delayed_cap) {
		queue->delayed_cap = queue->delayed_cap ? queue->delayed_cap * 2 : 16;
		queue->delayed = xreallocarray(queue->delayed, queue->delayed_cap, sizeof(*queue->delayed));
	}
	heap_place(queue, queue->delayed_len++, item);
	heap_up(queue, item->delay_index);
}

static void heap_remove(struct workqueue *queue, struct item *item)
{
	size_t index = item->delay_index;
	if (index == NOT_DELAYED)
		return;
	item->delay_index = NOT_DELAYED;
	struct item *last = queue->delayed[--queue->delayed_len];
	if (last == item)
		return;
	heap_place(queue, index, last);
	heap_up(queue, index);
	heap_down(queue, last->delay_index);
}

/* ---- items ---- */

static struct item *item_get(struct workqueue *queue, const char *key)
{
	struct item *item = map_get(&queue->items, key);
	if (item)
		return item;
	size_t len = strlen(key);
	item = xcalloc(1, sizeof(*item) + len + 1);
	memcpy(item->key, key, len + 1);
	item->delay_index = NOT_DELAYED;
	list_init(&item->ready);
	map_set(&queue->items, key, item);
	return item;
}

static void item_drop_if_idle(struct workqueue *queue, struct item *item)
{
	if (item->dirty || item->queued || item->processing || item->retries || item->delay_index != NOT_DELAYED)
		return;
	map_remove(&queue->items, item->key);
	free(item);
}

static void item_queue(struct workqueue *queue, struct item *item)
{
	item->queued = true;
	item->queued_at = clock_monotonic_ns();
	list_push_back(&queue->ready, &item->ready);
	metric_set(queue->depth, (double)++queue->ready_len);
	pthread_cond_signal(&queue->wake);
}

static void item_add(struct workqueue *queue, struct item *item)
{
	if (item->dirty)
		return;
	item->dirty = true;
	metric_add(queue->adds, 1);
	if (!item->processing)
		item_queue(queue, item);
}

static void add_after_locked(struct workqueue *queue, struct item *item, int64_t after_ns)
{
	if (after_ns <= 0) {
		item_add(queue, item);
		return;
	}
	int64_t until = clock_monotonic_ns() + after_ns;
	if (item->delay_index != NOT_DELAYED) {
		if (until >= item->delay_until)
			return;
		item->delay_until = until;
		heap_up(queue, item->delay_index);
	} else {
		item->delay_until = until;
		heap_push(queue, item);
	}
	/* A worker has to wake earlier than any thinks: whoever hears of it keeps that time. */
	if (item->delay_index == 0 && until < queue->timed_until)
		pthread_cond_signal(&queue->wake);
}

static void move_due(struct workqueue *queue)
{
	int64_t now = clock_monotonic_ns();
	while (queue->delayed_len && queue->delayed[0]->delay_until <= now) {
		struct item *item = queue->delayed[0];
		heap_remove(queue, item);
		item_add(queue, item);
	}
}

/* ---- the public side ---- */

void workqueue_add(struct workqueue *queue, const char *key)
{
	pthread_mutex_lock(&queue->lock);
	if (!queue->shutdown)
		item_add(queue, item_get(queue, key));
	pthread_mutex_unlock(&queue->lock);
}

void workqueue_add_after(struct workqueue *queue, const char *key, int64_t after_ns)
{
	pthread_mutex_lock(&queue->lock);
	if (!queue->shutdown)
		add_after_locked(queue, item_get(queue, key), after_ns);
	pthread_mutex_unlock(&queue->lock);
}

void workqueue_add_rate_limited(struct workqueue *queue, const char *key)
{
	pthread_mutex_lock(&queue->lock);
	if (!queue->shutdown) {
		struct item *item = item_get(queue, key);
		int64_t delay = queue->base_delay;
		for (unsigned i = 0; i < item->retries && delay < queue->max_delay; i++)
			delay *= 2;
		item->retries++;
		metric_add(queue->retries, 1);
		add_after_locked(queue, item, min_of(delay, queue->max_delay));
	}
	pthread_mutex_unlock(&queue->lock);
}

void workqueue_forget(struct workqueue *queue, const char *key)
{
	pthread_mutex_lock(&queue->lock);
	struct item *item = map_get(&queue->items, key);
	if (item) {
		item->retries = 0;
		item_drop_if_idle(queue, item);
	}
	pthread_mutex_unlock(&queue->lock);
}

unsigned workqueue_retries(struct workqueue *queue, const char *key)
{
	pthread_mutex_lock(&queue->lock);
	struct item *item = map_get(&queue->items, key);
	unsigned retries = item ? item->retries : 0;
	pthread_mutex_unlock(&queue->lock);
	return retries;
}

/* Waits for a signal, or for so long at most; one of those who wait keeps the time of the next delayed item. */
static void wait_for_work(struct workqueue *queue, int64_t most_ns)
{
	int64_t due = queue->delayed_len ? queue->delayed[0]->delay_until : INT64_MAX, left = most_ns;
	bool keeps_time = due < queue->timed_until;
	if (keeps_time) {
		queue->timed_until = due;
		left = min_of(due - clock_monotonic_ns(), most_ns);
	}
	if (left == INT64_MAX) {
		pthread_cond_wait(&queue->wake, &queue->lock);
		return;
	}
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	int64_t at = (int64_t)until.tv_sec * NSEC_PER_SEC + until.tv_nsec + max_of(left, (int64_t)0);
	until = (struct timespec){.tv_sec = at / NSEC_PER_SEC, .tv_nsec = at % NSEC_PER_SEC};
	pthread_cond_timedwait(&queue->wake, &queue->lock, &until);
	if (keeps_time && queue->timed_until == due)
		queue->timed_until = INT64_MAX;
}

/* Hands the first ready key to a worker; NULL: none is ready. */
static char *take_ready(struct workqueue *queue)
{
	struct item *item = list_first(&queue->ready, struct item, ready);
	if (!item)
		return NULL;
	list_remove(&item->ready);
	item->queued = item->dirty = false;
	item->processing = true;
	item->started_at = clock_monotonic_ns();
	metric_set(queue->depth, (double)--queue->ready_len);
	metric_observe(queue->queue_seconds, seconds_since(item->queued_at));
	return xstrdup(item->key);
}

char *workqueue_get_within(struct workqueue *queue, int64_t most_ns)
{
	int64_t end = most_ns == INT64_MAX ? INT64_MAX : clock_monotonic_ns() + most_ns, left = most_ns;
	pthread_mutex_lock(&queue->lock);
	char *key;
	for (;;) {
		if (!queue->shutdown)
			move_due(queue);
		key = take_ready(queue);
		if (key || queue->shutdown || left <= 0)
			break;
		wait_for_work(queue, left);
		if (end != INT64_MAX)
			left = end - clock_monotonic_ns();
	}
	/* This one is busy from here on: another keeps the time. */
	if (queue->delayed_len && queue->timed_until == INT64_MAX)
		pthread_cond_signal(&queue->wake);
	pthread_mutex_unlock(&queue->lock);
	return key;
}

char *workqueue_get(struct workqueue *queue)
{
	return workqueue_get_within(queue, INT64_MAX);
}

char *workqueue_try_get(struct workqueue *queue)
{
	pthread_mutex_lock(&queue->lock);
	if (!queue->shutdown)
		move_due(queue);
	char *key = take_ready(queue);
	pthread_mutex_unlock(&queue->lock);
	return key;
}

int64_t workqueue_next_due(struct workqueue *queue)
{
	pthread_mutex_lock(&queue->lock);
	int64_t due = queue->ready_len ? 0 : queue->delayed_len ? queue->delayed[0]->delay_until : INT64_MAX;
	pthread_mutex_unlock(&queue->lock);
	return due;
}

void workqueue_done(struct workqueue *queue, const char *key)
{
	pthread_mutex_lock(&queue->lock);
	struct item *item = map_get(&queue->items, key);
	if (item && item->processing) {
		item->processing = false;
		metric_observe(queue->work_seconds, seconds_since(item->started_at));
		if (item->dirty)
			item_queue(queue, item);
		else
			item_drop_if_idle(queue, item);
	}
	pthread_mutex_unlock(&queue->lock);
}

void workqueue_shutdown(struct workqueue *queue)
{
	pthread_mutex_lock(&queue->lock);
	queue->shutdown = true;
	pthread_cond_broadcast(&queue->wake);
	pthread_mutex_unlock(&queue->lock);
}

size_t workqueue_length(struct workqueue *queue)
{
	pthread_mutex_lock(&queue->lock);
	size_t len = queue->ready_len;
	pthread_mutex_unlock(&queue->lock);
	return len;
}
