/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The deterministic simulator: one process, one thread, a clock of its own. All controllers of the table run as fibers against an API server in memory,
 * through delayed, lost and refused answers, caches that lag, and crashes; users, a scheduler and kubelets live beside them. Everything that happens
 * follows from one seed. README.md has the tour.
 */
#ifndef CORACLE_TEST_SIM_H
#define CORACLE_TEST_SIM_H

#include "controller-manager/controller.h"
#include "controller-manager/shared/owners.h"
#include "controller-manager/shared/pods.h"

#include "api/apps_v1.h"
#include "api/batch_v1.h"
#include "api/core_v1.h"
#include "api/policy_v1.h"

/* ---- chance and the log (sim.c) ---- */

uint64_t sim_random(uint64_t bound);
/* True `per_mille` times in a thousand. */
bool sim_chance(unsigned per_mille);
/* One line of the history that a failing run prints the end of. */
void sim_log(const char *fmt, ...) printf_like(1, 2);
/* Prints seed, step and history, and ends the process. */
noreturn void sim_fail(const char *fmt, ...) printf_like(1, 2);

/* ---- objects by key, sorted: the order of iteration must not depend on a hash (table.c) ---- */

struct table_entry {
	char *key; /* "namespace/name" or "name" */
	void *object;
};
struct table {
	struct table_entry *items;
	size_t len, cap;
};
void *table_get(const struct table *table, const char *key);
/* Takes a reference of its own; NULL removes. */
void table_set(struct table *table, const char *key, void *object);
void table_done(struct table *table);
/* "ns/name" into out. */
#define KEY_SIZE 600
const char *key_of(const char *ns, const char *name, char out[KEY_SIZE]);

/* ---- the API server (server.c): its state is the truth ---- */

enum actor { ACTOR_USER, ACTOR_SCHEDULER, ACTOR_KUBELET, ACTOR_MANAGER };

enum { CHANGE_ADDED, CHANGE_MODIFIED, CHANGE_DELETED };
struct change {
	uint64_t version;
	int type;
	void *object; /* as it is after the change; of a deletion: as it was, with the deletion's version */
};
struct collection {
	enum cached what; /* the cache that shows all of it */
	const struct api_resource *resource;
	struct table objects;
	struct change *changes; /* what watches read; the oldest has number `first` */
	size_t first, len, cap;
};

struct server {
	struct collection collections[CACHED_COUNT];
	size_t count;
	uint64_t version, uids;
	enum actor actor;             /* who is writing */
	const char *controller;       /* of ACTOR_MANAGER: which */
	/* Asked once a create has been charged to its quotas and before it is stored; false: the server has died in between. NULL: at once. */
	bool (*between)(void);
};
extern struct server server;

struct collection *collection_of(const struct api_resource *resource);
struct collection *collection_for(enum cached what);
void server_start(void);
void server_done(void);
/* Drops changes that no watch needs any more. */
void collection_trim(struct collection *collection, size_t before);
/* All take and give whole objects; ret may be NULL, or gets a reference. */
int server_create(struct collection *c, const char *ns, const void *object, void **ret, struct error *err);
int server_update(struct collection *c, const char *ns, const char *name, const char *subresource, const void *object, void **ret, struct error *err);
int server_patch(struct collection *c, const char *ns, const char *name, const char *subresource, json_t *patch, void **ret, struct error *err);
int server_delete(struct collection *c, const char *ns, const char *name, const struct client_delete_options *options, struct error *err);
int server_get(struct collection *c, const char *ns, const char *name, void **ret, struct error *err);
/* Eviction of a pod: refused (429) where a budget forbids it. */
int server_evict(const char *ns, const char *name, struct error *err);
/* Anything by path: discovery, lists of metadata, patches, deletions (rest.c). */
int server_request(const struct client_request *request, struct buf *body, struct error *err);
/* Borrowed, until the next write. */
void *server_find(enum cached what, const char *ns, const char *name);

/* ---- the manager under test (manager.c, world.c) ---- */

void manager_sim_start(void);
/* Ends the process at this very moment: what is under way may or may not reach the server, nothing is remembered. */
void manager_sim_crash(void);
/* Each does one thing of its kind; false: there was nothing to do. */
bool manager_sim_begin_work(void);   /* a worker takes a key */
bool manager_sim_continue_work(void);/* a request arrives at the server, or its answer at the worker */
bool manager_sim_deliver(void);      /* a watch says something */
void manager_sim_weather(void);      /* now and then: watches freeze and thaw */
void manager_sim_trim(void);         /* forgets changes that every watch has told */
void manager_sim_calm(void);         /* nothing is frozen any more */
/* Monotonic time of the next delayed key; INT64_MAX: none. */
int64_t manager_sim_next_due(void);
bool manager_sim_is_idle(void);
/* The version that the cache of this kind has reached. */
uint64_t manager_sim_cache_version(enum cached what);
/* The oldest step at which a worker that still runs began; SIZE_MAX: none runs. */
size_t manager_sim_oldest_work(const char *controller);

struct faults {
	unsigned refused;  /* per mille: error before the write took effect */
	unsigned lost;     /* the write takes effect, its answer is lost */
	unsigned conflict; /* an update is refused as a lost race */
	unsigned reads;    /* a read fails */
};
struct simulation {
	uint64_t seed;
	size_t step, steps;
	struct faults faults;
	bool steady;   /* pods and nodes never fail by themselves, and users let go of nothing: availability can be held against the manager */
	bool settling; /* faults and users have gone */
	size_t crashes, writes;
};
extern struct simulation sim;

/* ---- the rest of the world ---- */

void users_start(void);
void users_act(void);
/* Users leave: crons are suspended, jobs may run on. */
void users_leave(void);
/* What only a user can mend: pods that stand in the way of others. */
void users_mend(void);
void cluster_start(void);
void cluster_done(void);
bool scheduler_act(void);
/* One step of one pod or node. */
bool kubelets_act(void);
void nodes_tick(void); /* leases, as time passes */
void nodes_revive(void);

/* ---- what must hold (checks.c) ---- */

void checks_start(void);
void checks_done(void);
/* Told of each change in the server's state. old NULL: created; object NULL: gone. */
void checks_on_change(enum cached what, const void *old_object, const void *object);
void checks_on_delete_request(enum cached what, const void *object, const struct client_delete_options *options);
/* After each step. */
void checks_on_step(void);
/* A process of this pod starts on its node, or ends. */
void checks_on_process(const struct core_v1_pod *pod, bool runs);
/* Once everything has settled. */
void checks_settled(void);

/* Runs `steps` steps from this seed, lets the world settle, and checks it. Ends the process where something does not hold. */
void simulate(uint64_t seed, size_t steps);

#endif
