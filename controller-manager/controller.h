/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A controller is one file: its reconcile function, its watches, and one const row at the end, listed in table.c.
 *
 * reconcile(key) brings the world closer to what the object named by the key says, reading only the cache and writing only
 * through the world. It may be called at any time, for any key, also for objects that are gone, and never for one key twice
 * at once. It returns 0, a negative errno (logged, counted, tried again after a back-off), or the milliseconds after which to
 * look again.
 */
#ifndef CORACLE_CONTROLLER_MANAGER_CONTROLLER_H
#define CORACLE_CONTROLLER_MANAGER_CONTROLLER_H

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/map.h"
#include "common/base/metrics.h"
#include "common/client/workqueue.h"
#include "controller-manager/settings.h"
#include "controller-manager/world.h"

struct reconciler;

/* One cache whose changes wake a controller. */
struct controller_watch {
	enum cached what;
	/* Adds the keys that a change of this object concerns, by reconciler_add. NULL: the object's own key. Called for the old and the
	 * new state. */
	void (*wake)(struct reconciler *r, const void *object);
	/* Called besides, when an object has gone; NULL: as a change. */
	void (*gone)(struct reconciler *r, const void *object);
	/* Whether a change from one state to the next is any of the controller's concern; NULL: every change is. */
	bool (*matters)(const void *old_object, const void *object);
	bool latest_only; /* wake is called for the new state alone, not for the old one as well */
	bool read_only; /* only kept in the cache for reading, wakes nothing */
};

struct controller {
	const char *name;             /* as --controllers names it */
	const char *alias;            /* the short name that --controllers takes as well; NULL: none */
	const char *queue;            /* what Kubernetes calls the queue in the workqueue_* metrics; NULL: the name */
	const char *component;        /* source of its Events; NULL: the name */
	const char *account;          /* the ServiceAccount of kube-system it acts as with --use-service-account-credentials; NULL: the manager's own identity */
	const char *concurrency_flag; /* "concurrent-deployment-syncs"; NULL: none */
	unsigned workers;             /* unless the flag says otherwise; 0: no queue */
	int retry_first_ms, retry_most_ms; /* of the back-off of what failed, which doubles; 0: 5 and 1,000,000 */
	bool off_by_default;
	const char *gate;             /* the feature gate that --feature-gates may close on it; NULL: it is for good */
	bool (*enabled)(const struct settings *settings); /* NULL: always; false: what it needs is not set */
	int (*check)(const struct settings *settings, struct error *err); /* NULL: whatever is set will do; an error: the manager does not start */
	const struct controller_watch *watches; /* ended by CACHED_NONE */
	int (*reconcile)(struct reconciler *r, const char *ns, const char *name, struct error *err);
	/* What it counts besides its queue. NULL: nothing. */
	struct metric *metrics;
	size_t metric_count;
	void (*collect)(void *reconciler); /* before each scrape, while it works; NULL: nothing to bring up to date */
	/* State of its own, shared by its workers; both NULL where it has none. */
	void *(*state_new)(void);
	void (*state_free)(void *state);
	/* After the caches are filled, before workers start: for keys that no object stands for. NULL: nothing. */
	void (*started)(struct reconciler *r);
	/* Before the client goes away: joins threads that `started` made. NULL: nothing. */
	void (*stopping)(struct reconciler *r);
};

struct reconciler {
	const struct controller *controller;
	struct world *world;
	struct workqueue *queue;
	void *state;
	struct client *client; /* NULL in tests; for those that watch by themselves */
};

/* One that works in this world, with its state (state_free) and its metrics, and without a queue yet. client may be NULL. */
struct reconciler reconciler_make(const struct controller *controller, struct world *world, struct client *client);

extern const struct controller *const controllers[];
extern const size_t controller_count;

/* Queues a key. ns NULL: cluster-scoped. */
void reconciler_add(struct reconciler *r, const char *ns, const char *name);
void reconciler_add_after(struct reconciler *r, const char *ns, const char *name, int64_t after_ns);
/* The key of an object's controlling owner, where it is of this kind. */
void reconciler_add_owner(struct reconciler *r, const void *object, const char *kind);
/* Tells one watch of the controller of a change in its cache: object NULL: gone, old_object NULL: new. */
void reconciler_observe(struct reconciler *r, const struct controller_watch *watch, const void *old_object, const void *object);
/*
 * What a worker does with a key: splits it, reconciles, and turns a lost race into a quick second look, for it is no error that somebody else
 * wrote first. Answers as reconcile does.
 */
int reconciler_run(struct reconciler *r, const char *key, struct error *err);
const char *reconciler_component(const struct reconciler *r);
/* An Event about `object` from this controller. */
#define reconciler_event(r, object, type, reason, ...) world_event((r)->world, reconciler_component(r), (object), (type), (reason), __VA_ARGS__)

/* Milliseconds until `then`, at least 1; what a reconcile returns to be called again. INT32_MAX at most. */
int milliseconds_until(struct wall_time then);
/* t + seconds; the end of time where there is no such moment */
struct wall_time time_after(struct wall_time t, int64_t seconds);

#endif
