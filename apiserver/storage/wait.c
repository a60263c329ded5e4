/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Consistent reads, where the cache is not known to be fresh (store_fresh()): etcd is asked for its revision by one tiny read that all share who came before it
 * was sent, of the keys by which API servers know each other; then they wait until the cache has reached it. Where the watch is silent though etcd's
 * revision has moved (somebody wrote outside our prefix), progress is asked for; an etcd that tells progress wrongly gets a write to a key of ours
 * instead, whose event moves the cache.
 *
 * Who has waited goes on on a few threads of ours: what it does then may be long (a LIST with a selector walks all objects), and the
 * store's thread has events to hand out.
 */
#include "apiserver/storage/internal.h"

#include <errno.h>
#include <unistd.h>

#define READ_TIMEOUT_MS 2000
#define SILENCE_NS (3 * NSEC_PER_MSEC)        /* an event on its way takes less */
#define PROGRESS_AGAIN_NS (50 * NSEC_PER_MSEC)
#define READ_AGAIN_NS (100 * NSEC_PER_MSEC)
#define MAX_WAITS 65536
#define MAX_RUNNERS 4
/*
 * Under load reads come in bunches: where the last one served so many, the next is not sent sooner than this after it, which saves etcd more than it costs;
 * unless so many wait again that a share of it is little, when to wait longer would only leave the processor idle.
 */
#define BUNCH 8
#define BUNCH_APART_NS NSEC_PER_MSEC
#define BUNCH_FULL 32
#define RUN_AT_ONCE 8

struct wait {
	struct list link;
	uint64_t revision; /* 0: etcd has not told it yet */
	int64_t deadline;
	void (*done)(int errnum, void *arg);
	void *arg;
	int errnum; /* what it ends with */
	bool consistent, quick;
};
struct waits {
	struct store *store;
	pthread_mutex_t lock;
	struct list posted; /* under lock */
	size_t count;       /* under lock */
	bool wake_posted;   /* under lock */

	/* Those that are done, for the runners; under lock. */
	struct list ended;
	pthread_cond_t ended_cond;
	bool stopping;
	pthread_t runners[MAX_RUNNERS];
	size_t runner_count;

	/* The store's thread: */
	struct list unread;  /* for the next read */
	struct list reading; /* for the one on its way */
	struct list waiting; /* for the cache */
	bool read_sent, touch_sent, read_wanted;
	int64_t read_sent_at; /* boot time */
	size_t last_bunch;
	int64_t last_read_ns;
	int last_errnum;
	struct loop_timer *timer;
	int64_t due; /* of the timer; 0: not armed */
};

static void move_all(struct list *from, struct list *to)
{
	while (!list_empty(from)) {
		struct list *link = from->next;
		list_remove(link);
		list_push_back(to, link);
	}
}

static void end(struct wait *wait, int errnum, struct list *ended)
{
	list_remove(&wait->link);
	wait->errnum = errnum;
	list_push_back(ended, &wait->link);
}

/* Hands over those that have ended; one runner wakes the next while there is more to do. */
static void hand_over(struct waits *waits, struct list *ended)
{
	size_t done = 0;
	struct wait *wait;

	list_for_each (wait, ended, link) {
		if (!wait->quick)
			continue;
		list_remove(&wait->link);
		wait->done(wait->errnum, wait->arg);
		free(wait);
		done++;
	}
	if (!done && list_empty(ended))
		return;
	pthread_mutex_lock(&waits->lock);
	waits->count -= done;
	if (!list_empty(ended))
		pthread_cond_signal(&waits->ended_cond);
	move_all(ended, &waits->ended);
	pthread_mutex_unlock(&waits->lock);
}

static void *run(void *arg)
{
	struct waits *waits = arg;
	struct wait *wait;

	pthread_setname_np(pthread_self(), "store-reader");
	pthread_mutex_lock(&waits->lock);
	for (;;) {
		wait = list_first(&waits->ended, struct wait, link);
		if (!wait && waits->stopping)
			break;
		if (!wait) {
			pthread_cond_wait(&waits->ended_cond, &waits->lock);
			continue;
		}
		struct list mine = LIST_INIT(mine);
		for (int i = 0; wait && i < RUN_AT_ONCE; i++, wait = list_first(&waits->ended, struct wait, link)) {
			list_remove(&wait->link);
			list_push_back(&mine, &wait->link);
			waits->count--;
		}
		if (wait)
			pthread_cond_signal(&waits->ended_cond);
		pthread_mutex_unlock(&waits->lock);
		while ((wait = list_first(&mine, struct wait, link))) {
			list_remove(&wait->link);
			wait->done(wait->errnum, wait->arg);
			free(wait);
		}
		pthread_mutex_lock(&waits->lock);
	}
	pthread_mutex_unlock(&waits->lock);
	return NULL;
}

/* At the latest then: a stream of new waits must not put off the old ones'. */
static void arm(struct waits *waits, int64_t after_ns)
{
	int64_t due = clock_monotonic_ns() + after_ns;

	if (waits->store->closing || (waits->due && waits->due <= due))
		return;
	waits->due = due;
	loop_timer_arm(waits->timer, after_ns);
}

static void start_read(struct waits *waits);

void waits_revision(struct waits *waits)
{
	uint64_t revision = atomic_load(&waits->store->revision);
	struct list ended = LIST_INIT(ended);
	struct wait *wait;

	if (list_empty(&waits->waiting))
		return;
	bool inside = members_inside(waits->store->members);
	list_for_each (wait, &waits->waiting, link) {
		if (wait->revision <= revision && (inside || !wait->consistent))
			end(wait, 0, &ended);
	}
	hand_over(waits, &ended);
}

static void on_read(int errnum, const char *text, const void *data, size_t len, void *arg)
{
	struct waits *waits = arg;
	struct etcd_range_response response;
	struct wait *wait;

	(void)text;
	waits->read_sent = false;
	if (errnum == 0 && etcd_read_range(data, len, &response) < 0)
		errnum = -EIO;
	waits->last_errnum = errnum;
	if (!waits->store->closing)
		members_read(waits->store->members, waits->read_sent_at, errnum ? NULL : &response);
	if (errnum) {
		/* They wait on, as long as each may. */
		move_all(&waits->reading, &waits->unread);
		return arm(waits, READ_AGAIN_NS);
	}
	list_for_each (wait, &waits->reading, link)
		wait->revision = (uint64_t)response.revision;
	move_all(&waits->reading, &waits->waiting);
	waits_revision(waits);
	if (!list_empty(&waits->waiting))
		arm(waits, SILENCE_NS);
	start_read(waits);
}

static void start_read(struct waits *waits)
{
	struct buf request = BUF_INIT(4096);
	int64_t since = clock_monotonic_ns() - waits->last_read_ns;
	size_t bunch = 0;
	struct wait *wait;

	if (waits->read_sent || (list_empty(&waits->unread) && !waits->read_wanted) || waits->store->closing)
		return;
	list_for_each (wait, &waits->unread, link)
		bunch++;
	if (waits->last_bunch >= BUNCH && since < BUNCH_APART_NS && bunch < BUNCH_FULL)
		return arm(waits, BUNCH_APART_NS - since);
	waits->last_bunch = bunch;
	waits->last_read_ns += since;
	move_all(&waits->unread, &waits->reading);
	waits->read_sent = true;
	waits->read_wanted = false;
	waits->read_sent_at = clock_boottime_ns();
	etcd_message_begin(&request);
	members_write_range(waits->store, &request);
	etcd_message_end(&request);
	if (etcd_call(waits->store->etcd, &(struct etcd_call_options){.method = ETCD_RANGE, .timeout_ms = READ_TIMEOUT_MS, .idempotent = true}, &request, on_read, waits) < 0)
		on_read(-EBUSY, "", NULL, 0, waits);
}

void waits_read(struct waits *waits)
{
	waits->read_wanted = true;
	start_read(waits);
}

static void on_touched(int errnum, const char *text, const void *data, size_t len, void *arg)
{
	((struct waits *)arg)->touch_sent = false;
}

static void ask_progress(struct waits *waits)
{
	struct store *store = waits->store;
	struct buf request = BUF_INIT(4096);
	autofree char *key = NULL;

	if (!atomic_load(&store->watching))
		return;
	if (etcd_client_progress_reliable(store->etcd))
		return etcd_watch_request_progress(store->watch);
	if (waits->touch_sent)
		return;
	key = store_key(store, KEY_PROGRESS);
	etcd_message_begin(&request);
	etcd_write_txn(&request, &(struct etcd_txn){.key = ETCD_SLICE(key), .always = true, .then = ETCD_PUT});
	etcd_message_end(&request);
	waits->touch_sent = etcd_call(store->etcd, &(struct etcd_call_options){.method = ETCD_TXN, .timeout_ms = READ_TIMEOUT_MS}, &request, on_touched, waits) == 0;
}

static int64_t expire(struct waits *waits, struct list *list, int64_t next)
{
	int64_t now = clock_monotonic_ns();
	struct list ended = LIST_INIT(ended);
	struct wait *wait;

	list_for_each (wait, list, link) {
		if (wait->deadline <= now)
			end(wait, waits->last_errnum && waits->last_errnum != -ETIMEDOUT ? -EIO : -ETIMEDOUT, &ended);
		else
			next = min_of(next, wait->deadline - now);
	}
	hand_over(waits, &ended);
	return next;
}

static void on_timer(void *arg)
{
	struct waits *waits = arg;
	int64_t next = INT64_MAX;

	waits->due = 0;
	next = expire(waits, &waits->unread, next);
	next = expire(waits, &waits->reading, next);
	next = expire(waits, &waits->waiting, next);
	waits_revision(waits);
	start_read(waits);
	if (!list_empty(&waits->waiting)) {
		ask_progress(waits);
		next = min_of(next, PROGRESS_AGAIN_NS);
	}
	if (next != INT64_MAX)
		arm(waits, next);
}

static void take_posted(void *arg)
{
	struct waits *waits = arg;
	struct list batch = LIST_INIT(batch), ended = LIST_INIT(ended);
	uint64_t revision = atomic_load(&waits->store->revision);
	struct wait *wait;
	bool wait_for_event = false, fresh = store_fresh(waits->store);

	pthread_mutex_lock(&waits->lock);
	waits->wake_posted = false;
	move_all(&waits->posted, &batch);
	pthread_mutex_unlock(&waits->lock);
	list_for_each (wait, &batch, link) {
		if (wait->errnum || waits->store->closing) {
			end(wait, wait->errnum ? wait->errnum : -EIO, &ended);
		} else if (wait->consistent ? fresh : wait->revision <= revision) {
			end(wait, 0, &ended);
		} else {
			wait_for_event = true;
			list_remove(&wait->link);
			list_push_back(wait->revision ? &waits->waiting : &waits->unread, &wait->link);
		}
	}
	hand_over(waits, &ended);
	start_read(waits);
	if (wait_for_event)
		arm(waits, SILENCE_NS);
}

static void wait_add(struct store *store, uint64_t min_revision, int timeout_ms, bool quick, void (*done)(int errnum, void *arg), void *arg)
{
	struct waits *waits = store->waits;
	struct wait *wait = xnew(struct wait);
	bool wake, fresh = !min_revision && !quick && store_fresh(store);

	*wait = (struct wait){
		.revision = min_revision,
		.consistent = !min_revision,
		.deadline = clock_monotonic_ns() + timeout_ms * NSEC_PER_MSEC,
		.done = done,
		.arg = arg,
		.quick = quick,
	};
	pthread_mutex_lock(&waits->lock);
	if (waits->count++ >= MAX_WAITS)
		wait->errnum = -EBUSY;
	list_push_back(fresh ? &waits->ended : &waits->posted, &wait->link);
	wake = !fresh && !waits->wake_posted;
	waits->wake_posted = waits->wake_posted || !fresh;
	if (fresh)
		pthread_cond_signal(&waits->ended_cond);
	pthread_mutex_unlock(&waits->lock);
	if (wake)
		loop_post(store->loop, take_posted, waits);
}

void store_wait(struct store *store, uint64_t min_revision, int timeout_ms, void (*done)(int errnum, void *arg), void *arg)
{
	wait_add(store, min_revision, timeout_ms, false, done, arg);
}

void store_wait_quick(struct store *store, uint64_t min_revision, int timeout_ms, void (*done)(int errnum, void *arg), void *arg)
{
	wait_add(store, min_revision, timeout_ms, true, done, arg);
}

struct waits *waits_new(struct store *store)
{
	struct waits *waits = xnew(struct waits);

	waits->store = store;
	pthread_mutex_init(&waits->lock, NULL);
	pthread_cond_init(&waits->ended_cond, NULL);
	list_init(&waits->posted);
	list_init(&waits->ended);
	list_init(&waits->unread);
	list_init(&waits->reading);
	list_init(&waits->waiting);
	waits->timer = loop_timer_new(store->loop, on_timer, waits);
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	size_t wanted = cores < 2 ? 1 : cores < MAX_RUNNERS ? (size_t)cores : MAX_RUNNERS;
	while (waits->runner_count < wanted && pthread_create(&waits->runners[waits->runner_count], NULL, run, waits) == 0)
		waits->runner_count++;
	if (waits->runner_count == 0)
		abort(); /* a machine without a thread to spare */
	return waits;
}

void waits_abort(struct waits *waits)
{
	struct list *lists[] = {&waits->posted, &waits->unread, &waits->reading, &waits->waiting}, ended = LIST_INIT(ended);
	struct wait *wait;

	for (size_t i = 0; i < array_len(lists); i++) {
		while ((wait = list_first(lists[i], struct wait, link)))
			end(wait, -EIO, &ended);
	}
	hand_over(waits, &ended);
	loop_timer_free(take_ptr(waits->timer));
}

void waits_stop(struct waits *waits)
{
	pthread_mutex_lock(&waits->lock);
	waits->stopping = true;
	pthread_cond_broadcast(&waits->ended_cond);
	pthread_mutex_unlock(&waits->lock);
	for (size_t i = 0; i < waits->runner_count; i++)
		pthread_join(waits->runners[i], NULL);
}

void waits_free(struct waits *waits)
{
	struct wait *wait;

	if (!waits)
		return;
	while ((wait = list_first(&waits->ended, struct wait, link))) {
		list_remove(&wait->link);
		wait->done(wait->errnum, wait->arg);
		free(wait);
	}
	pthread_cond_destroy(&waits->ended_cond);
	pthread_mutex_destroy(&waits->lock);
	free(waits);
}
