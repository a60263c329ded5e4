/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/storage/internal.h"

#include "common/base/random.h"

#include <errno.h>

#define REPLAY_BATCH 256
#define BOOKMARK_NS (60 * NSEC_PER_SEC)

struct store_watch {
	struct list link; /* in collection->watches once it is live; under apply_lock */
	struct collection *collection;
	void (*on_event)(const struct store_event *event, void *arg);
	void *arg;
	_Atomic uint64_t position; /* the last revision it got */
	_Atomic bool live;
	bool exact;      /* it ends at a gap */
	bool ended;      /* it has; under apply_lock */
	uint64_t joined; /* the position at which it became live */
	_Atomic bool dead; /* set under replay_lock */
	int64_t bookmark_due;
	pthread_mutex_t replay_lock; /* recursive; held over a call of on_event from history */
	unsigned refs;               /* the caller's, and the replay's; under replay_lock */
};

static void watch_put(struct store_watch *watch)
{
	unsigned left;

	pthread_mutex_lock(&watch->replay_lock);
	left = --watch->refs;
	pthread_mutex_unlock(&watch->replay_lock);
	if (left)
		return;
	pthread_mutex_destroy(&watch->replay_lock);
	free(watch);
}

static struct store_watch *watch_new(struct collection *collection, uint64_t position, void (*on_event)(const struct store_event *event, void *arg), void *arg)
{
	struct store_watch *watch = xnew(struct store_watch);
	pthread_mutexattr_t attributes;

	*watch = (struct store_watch){.collection = collection, .on_event = on_event, .arg = arg, .refs = 2};
	atomic_store(&watch->position, position);
	list_init(&watch->link);
	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&watch->replay_lock, &attributes);
	pthread_mutexattr_destroy(&attributes);
	watch->bookmark_due = clock_monotonic_ns() + BOOKMARK_NS / 2 + (int64_t)random_below(BOOKMARK_NS / 2);
	return watch;
}

/* Some events after the watch's position, with references. Where there are none the watch becomes live. -ESTALE where they are gone. */
static ssize_t take_batch(struct store_watch *watch, struct history_event *out)
{
	struct collection *c = watch->collection;
	uint64_t position = atomic_load(&watch->position);
	ssize_t count = 0;

	pthread_mutex_lock(&c->store->apply_lock);
	pthread_mutex_lock(&c->lock);
	if (position < c->history.floor || (watch->exact && position < c->history.exact_floor)) {
		count = -ESTALE;
	} else {
		size_t i = history_after(&c->history, position);
		for (; i < c->history.len && count < REPLAY_BATCH; i++) {
			out[count] = *history_at(&c->history, i);
			entry_ref(out[count].entry);
			entry_ref(out[count++].previous);
		}
	}
	pthread_mutex_unlock(&c->lock);
	/* Whoever cancels sets `dead` before it asks for apply_lock: either it is seen here, or `live` is seen there. */
	if (count == 0 && !watch->dead) {
		watch->joined = position;
		atomic_store(&watch->live, true);
		list_push_back(&c->watches, &watch->link);
	}
	pthread_mutex_unlock(&c->store->apply_lock);
	return count;
}

static void replay(struct store_watch *watch, struct history_event *events, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct history_event *e = &events[i];
		pthread_mutex_lock(&watch->replay_lock);
		if (!watch->dead) {
			watch->on_event(&(struct store_event){.type = e->type, .revision = e->revision, .entry = e->entry, .previous = e->previous, .marks = UINT64_MAX}, watch->arg);
			atomic_store(&watch->position, e->revision);
		}
		pthread_mutex_unlock(&watch->replay_lock);
		entry_unref(e->entry);
		entry_unref(e->previous);
	}
}

static int begin_watch(struct collection *c, uint64_t revision, bool exact, void (*on_event)(const struct store_event *event, void *arg), void *arg, struct store_watch **ret)
{
	struct history_event events[REPLAY_BATCH];
	struct store_watch *watch;
	ssize_t count;
	int r = 0;

	pthread_mutex_lock(&c->store->apply_lock);
	if (revision == 0)
		revision = max_of(c->last_revision, atomic_load(&c->store->revision));
	if (revision < c->history.floor || (exact && revision < c->history.exact_floor))
		r = -ESTALE;
	pthread_mutex_unlock(&c->store->apply_lock);
	if (r < 0)
		return r;
	watch = watch_new(c, revision, on_event, arg);
	watch->exact = exact;
	*ret = watch;
	while (!watch->dead && (count = take_batch(watch, events)) != 0) {
		if (count < 0) {
			*ret = NULL;
			r = (int)count;
			watch_put(watch); /* the caller has none then */
			break;
		}
		replay(watch, events, (size_t)count);
	}
	watch_put(watch);
	return r;
}

int collection_watch(struct collection *c, uint64_t revision, void (*on_event)(const struct store_event *event, void *arg), void *arg, struct store_watch **ret)
{
	return begin_watch(c, revision, false, on_event, arg, ret);
}

int collection_watch_exact(struct collection *c, uint64_t revision, void (*on_event)(const struct store_event *event, void *arg), void *arg, struct store_watch **ret)
{
	return begin_watch(c, revision, true, on_event, arg, ret);
}

uint64_t store_watch_revision(struct store_watch *watch)
{
	uint64_t position = atomic_load(&watch->position);

	if (!atomic_load(&watch->live))
		return position;
	/* A revision is published once its event was handed out. */
	return max_of(position, atomic_load(&watch->collection->store->revision));
}

void store_watch_cancel(struct store_watch *watch)
{
	struct collection *c = watch->collection;
	struct store *store = c->store;
	bool put = true;

	pthread_mutex_lock(&watch->replay_lock);
	watch->dead = true;
	pthread_mutex_unlock(&watch->replay_lock);
	pthread_mutex_lock(&store->apply_lock);
	if (atomic_load(&watch->live)) {
		if (c->dispatching) {
			c->has_dead = true; /* we are inside a callback: the list is being walked */
			put = false;
		} else {
			list_remove(&watch->link);
		}
	}
	pthread_mutex_unlock(&store->apply_lock);
	if (put)
		watch_put(watch);
}

static void walk(struct collection *c, void (*fn)(struct store_watch *watch, const void *arg), const void *arg)
{
	struct store_watch *watch;

	c->dispatching++;
	list_for_each (watch, &c->watches, link) {
		if (!watch->dead)
			fn(watch, arg);
	}
	if (--c->dispatching || !c->has_dead)
		return;
	c->has_dead = false;
	list_for_each (watch, &c->watches, link) {
		if (watch->dead) {
			list_remove(&watch->link);
			watch_put(watch);
		}
	}
}

struct sending {
	const struct store_event *event;
	size_t *count;
};

static void send_event(struct store_watch *watch, const void *arg)
{
	const struct sending *sending = arg;
	const struct store_event *event = sending->event;

	if (event->revision <= watch->joined || watch->ended)
		return; /* it was replayed, or lies before where the watch begins */
	atomic_store(&watch->position, event->revision);
	++*sending->count;
	watch->on_event(event, watch->arg);
}

void watch_dispatch(struct collection *c, const struct store_event *event)
{
	if (list_empty(&c->watches))
		return;
	struct store_event marked = *event;
	marked.marks = entry_marks(event->entry) | (event->previous ? entry_marks(event->previous) : 0);
	size_t count = 0;
	walk(c, send_event, &(struct sending){&marked, &count});
	metrics_dispatched(c, count);
}

static void send_bookmark(struct store_watch *watch, const void *arg)
{
	int64_t now = *(const int64_t *)arg;
	struct store_event event = {.type = STORE_BOOKMARK};

	if (watch->bookmark_due > now || watch->ended)
		return;
	watch->bookmark_due = now + BOOKMARK_NS - (int64_t)random_below(BOOKMARK_NS / 8);
	event.revision = store_watch_revision(watch);
	watch->on_event(&event, watch->arg);
}

void watch_tick(struct collection *c)
{
	int64_t now = clock_monotonic_ns();

	if (!list_empty(&c->watches))
		walk(c, send_bookmark, &now);
}

/* The last event of an exact watch. */
static void send_last(struct store_watch *watch, const void *arg)
{
	if (!watch->exact || watch->ended)
		return;
	watch->ended = true;
	watch->on_event(arg, watch->arg);
}

void watch_gap(struct collection *c, uint64_t revision)
{
	if (!list_empty(&c->watches))
		walk(c, send_last, &(struct store_event){.type = STORE_GAP, .revision = revision});
}

void collection_end_watches(struct collection *c)
{
	pthread_mutex_lock(&c->store->apply_lock);
	if (!list_empty(&c->watches))
		walk(c, send_last, &(struct store_event){.type = STORE_END, .revision = c->last_revision});
	pthread_mutex_unlock(&c->store->apply_lock);
}
