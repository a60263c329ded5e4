/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the store's files share.
 *
 * Threads and locks. The client's thread, here "the store's", applies events, calls back, and owns whatever is not named below.
 *   apply_lock  (recursive) held while an event is applied and handed out, so that a watch begins between two events and a collection
 *               is opened between two. First in order.
 *   collection->lock  guards tree, history and views of one collection: held shortly, never over a callback. Second.
 *   wait_lock, lease_lock  guard hand-over lists; leaves.
 */
#ifndef CORACLE_APISERVER_STORAGE_INTERNAL_H
#define CORACLE_APISERVER_STORAGE_INTERNAL_H

#include "apiserver/etcd/client.h"
#include "apiserver/storage/scan.h"
#include "apiserver/storage/store.h"
#include "apiserver/storage/tree.h"
#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/map.h"

#include <pthread.h>
#include <stdatomic.h>

/* ---- history.c ---- */

struct history_event {
	uint64_t revision;
	struct entry *entry, *previous;
	uint32_t seconds; /* monotonic, when it came */
	uint8_t type;
};
/* A ring of the newest events, ascending by revision. */
struct history {
	struct history_event *ring;
	size_t cap, head, len; /* cap is a power of two */
	size_t bytes;          /* of the objects that only history still needs */
	size_t max_events;
	uint64_t floor;        /* every event after this revision is here */
	uint64_t exact_floor;  /* after this one, with every state: none was lost to a compaction */
	uint64_t gap_start;    /* between this one and exact_floor states are unknown */
};
void history_done(struct history *history);
/* Takes references of its own. */
void history_append(struct history *history, enum store_event_type type, uint64_t revision, struct entry *entry, struct entry *previous);
/* Drops what is too old for anybody to ask for. */
void history_trim(struct history *history);
/* Keeps no more than a rest of it, whatever its age. */
void history_shrink(struct history *history);
struct history_event *history_at(const struct history *history, size_t i);
/* Index of the first event after `revision`; len where there is none. */
size_t history_after(const struct history *history, uint64_t revision);

/* ---- collection.c ---- */

#define COLLECTION_VIEWS 4
#define COLLECTION_FIELD_KEYS 32
#define COLLECTION_FIELD_VALUES 6 /* of each, kept once for all entries */

struct collection_metrics;
struct collection {
	struct store *store;
	char *prefix; /* "pods/"; "" for the root, which holds what nobody has opened */
	size_t prefix_len;
	bool namespaced, is_root;
	collection_index_fn index;
	void *index_arg;
	char *field_keys[COLLECTION_FIELD_KEYS]; /* shared by its entries; under apply_lock */
	char *field_values[COLLECTION_FIELD_KEYS][COLLECTION_FIELD_VALUES];
	size_t field_key_count;

	pthread_mutex_t lock;
	struct tree *tree;
	size_t json_bytes;      /* of all that is in the tree */
	uint64_t last_revision; /* of the newest event in it */
	struct history history;
	struct map unreadable; /* by key */
	atomic_size_t unreadable_count; /* of them */
	/* Older states that were asked for lately: a paged LIST asks for the same one again and again. */
	struct {
		uint64_t revision;
		struct tree *tree;
	} views[COLLECTION_VIEWS];
	size_t view_next;

	struct list watches; /* live ones; under apply_lock */
	unsigned dispatching;
	bool has_dead;
	_Atomic(struct collection_metrics *) metrics; /* NULL until its names are known */
};
struct collection *collection_new(struct store *store, const char *prefix, bool namespaced, collection_index_fn index, void *arg);
void collection_free(struct collection *collection);
/* True where the key has the shape that this collection's objects have. */
bool collection_owns(const struct collection *collection, const char *key, size_t len);
/* One event: changes the cache, keeps it in history, tells watches and writers. Takes `entry` (the new state, or the last for a deletion). apply_lock is held. */
void collection_apply(struct collection *collection, enum store_event_type type, uint64_t revision, struct entry *take_entry);

/* Lets go of what can be done without. apply_lock is held. */
void collection_shrink(struct collection *collection);

/* ---- transform.c ---- */

/* As struct store_transform has them, for a path below the store's prefix. */
/* -ENOKEY: there is nothing to seal it with. */
int transform_seal(const struct collection *collection, const char *path, const void *value, size_t len, struct buf *ret);
int transform_open(const struct collection *collection, const char *path, size_t path_len, const void *value, size_t len, struct buf *ret, uint32_t *ret_mark, struct error *err);

/* ---- entry.c ---- */

/* How it was stored: of struct store_transform. */
uint32_t entry_mark(const struct entry *entry);

/* An object from its bytes in etcd, or NULL where they cannot be read: err, which may be NULL, says why. path is its key below the store's prefix. apply_lock is held. */
struct entry *entry_from_value(struct collection *collection, const char *path, size_t path_len, const char *value, size_t len, uint64_t revision, uint64_t create_revision, struct error *err);
/* It was stored in another form than it would be now, whatever the transform says. */
bool entry_is_foreign(const struct entry *entry);
/* The same object with another resourceVersion (a deletion's), or (revision 0) in another collection. */
struct entry *entry_copy(struct collection *collection, const struct entry *entry, uint64_t revision);
/* The key below the store's prefix. */
const char *entry_path(const struct entry *entry);
/* A mark of the last load that has seen it; the store's thread. */
uint32_t entry_load_mark(const struct entry *entry);
void entry_set_load_mark(struct entry *entry, uint32_t mark);
/* Drops encodings that were not asked for since the last time. */
void entry_sweep_encodings(struct entry *entry);

/* ---- unreadable.c ---- */

/* Of one collection; c->lock is not held, apply_lock is. */
void unreadable_note(struct collection *c, const char *key, uint64_t revision, uint32_t load_mark, const struct error *why);
void unreadable_forget(struct collection *c, const char *key);
/* Those that a load has not seen are gone. */
void unreadable_sweep(struct collection *c, uint32_t load_mark);
/* Notes of the root that are the collection's. */
void unreadable_inherit(struct collection *c, struct collection *root);
/* What followed a state that is no longer known has to be asked for anew: exact watches end, and none begins before this revision. */
void unreadable_gap(struct collection *c, uint64_t revision);

/* ---- watch.c ---- */

void watch_dispatch(struct collection *collection, const struct store_event *event);
/* Exact watches end here: states up to this revision were lost. apply_lock is held. */
void watch_gap(struct collection *collection, uint64_t revision);
/* Sends bookmarks that are due. */
void watch_tick(struct collection *collection);

/* ---- write.c ---- */

struct write;
/* The event of this revision was applied; NULL where a load has brought the cache to it instead. apply_lock is held. */
void write_event(struct store *store, uint64_t revision, struct entry *entry);
void write_expire(struct store *store);
/* What has waited to be told by a member is told. The store's thread. */
void write_release(struct store *store);
/* Calls back all that wait for events: the store closes. */
void write_abort(struct store *store);
/* Sends a write with its lease; or ends it where errnum is not 0. Any thread. */
void write_send(struct write *write, int errnum, int64_t lease);
struct list *write_lease_link(struct write *write);
struct write *write_of_lease_link(struct list *link);

/* ---- lease.c ---- */

struct leases;
struct leases *leases_new(struct store *store, int64_t reuse_seconds);
void leases_free(struct leases *leases);
/* Sends the write once a lease of about `seconds` is at hand. */
void leases_send(struct leases *leases, int64_t seconds, struct write *write);
/* etcd knows the lease no more. */
void leases_forget(struct leases *leases, int64_t lease);

/* ---- wait.c ---- */

struct waits;
struct waits *waits_new(struct store *store);
void waits_free(struct waits *waits);
/* The cache has moved on. The store's thread. */
void waits_revision(struct waits *waits);
/* Sends the read that all share, though nobody waits for one. The store's thread. */
void waits_read(struct waits *waits);
/* Ends all with -EIO: the store closes. */
void waits_abort(struct waits *waits);
/* Its threads have ended when this returns; they have called all that was done. */
void waits_stop(struct waits *waits);

/* ---- members.c ---- */

struct members;
struct members *members_new(struct store *store, bool never_alone);
/* The store's thread, as all that says nothing else. */
void members_start(struct members *members);
/* No timer is left, and etcd is told; the rest stays until members_free(), which comes after the etcd client's end. */
void members_stop(struct members *members);
/* Waits a moment for etcd's answer to that, so that who comes next need not wait for the lease. Not the store's thread. */
void members_await_left(struct members *members);
void members_free(struct members *members);
/* Whether a client may be told what etcd has answered. Any thread. */
bool members_inside(const struct members *members);
/* Whether no other server has told a client anything that etcd's answers to us do not cover. Any thread; some 30 ns. */
bool members_alone(struct members *members);
/* The read by which the keys of all are seen, and its answer (NULL: it failed); sent: by clock_boottime_ns(), before it was. */
void members_write_range(struct store *store, struct buf *request);
void members_read(struct members *members, int64_t sent, const struct etcd_range_response *response);
/* A key below KEY_SERVERS was written or has gone. */
void members_event(struct members *members, const char *path, size_t len, bool deleted);
/* An object was written that none of our writes can have written. */
void members_stranger(struct members *members);

/* ---- load.c ---- */

/* Reads everything under the prefix at one revision, then starts the watch after it. Later ones turn the difference into events. */
void load_start(struct store *store);
/* No timer is left; what a call points at stays until load_free(). */
void load_stop(struct store *store);
void load_free(struct store *store);

/* ---- compact.c ---- */

struct compaction;
struct compaction *compaction_new(struct store *store, int64_t interval_ns);
void compaction_stop(struct compaction *compaction);
void compaction_free(struct compaction *compaction);

/* ---- metrics.c ---- */

enum metrics_operation { METRICS_CREATE, METRICS_UPDATE, METRICS_DELETE, METRICS_OPERATIONS };
/* While a store is open its collections' sizes are shown. */
void metrics_open(struct store *store);
void metrics_close(struct store *store);
/* Takes NULL. */
void metrics_free(struct collection_metrics *metrics);
/* The names the collection was given; false: none yet. */
bool metrics_names(const struct collection *collection, const char **ret_group, const char **ret_resource);
void metrics_request(struct collection *collection, enum metrics_operation operation, int64_t started, bool failed);
bool store_is_loaded(struct store *store);
void metrics_event(struct collection *collection);
/* The event went to so many watches. */
void metrics_dispatched(struct collection *collection, size_t watches);
/* It holds what etcd has: at the start, or at once where it came later. */
void metrics_filled(struct collection *collection);
void metrics_undecodable(struct collection *collection);
void metrics_lease(unsigned keys);
/* Asks etcd for the size of its database. */
void metrics_ask_size(struct store *store);

/* ---- store.c ---- */

/* Our own keys below the prefix, so that their writes are seen by the watch: never objects. */
#define KEY_COMPACT "compact_rev_key"
#define KEY_PROGRESS "coracle.progress"
#define KEY_SERVERS "coracle.servers/" /* one below it for each API server */

struct load;
struct store {
	char *prefix; /* "/registry/" */
	size_t prefix_len;
	char *prefix_end; /* "/registry0" */
	size_t history_events;
	int64_t compaction_interval_ns;
	int write_timeout_ms;
	struct store_transform transform;
	int (*translate)(const void *value, size_t len, struct buf *ret, struct error *err);
	struct etcd_client *etcd;
	struct loop *loop;

	pthread_mutex_t apply_lock;
	struct map collections; /* by prefix without its last slash; under apply_lock */
	struct collection *root;
	struct etcd_watch *watch;
	struct load *load;
	uint32_t load_mark;
	_Atomic uint64_t revision; /* published: applied and handed out */
	_Atomic uint64_t told; /* a client may have learnt of etcd at this revision though the cache has not reached it */
	_Atomic uint64_t compacted; /* what etcd no longer tells, the cache does not either: all API servers forget alike */
	_Atomic bool watching, loaded, closing;
	bool again; /* what could not be read is to be tried again; the store's thread */

	struct waits *waits;
	struct members *members;
	struct leases *leases;
	struct compaction *compaction;
	struct loop_timer *tick; /* each second: bookmarks; each half minute: housekeeping */
	unsigned ticks;

	/* Writes whose event has not come yet, by revision; the store's thread. */
	struct list written[256];
	size_t written_count;
	struct list held; /* etcd has answered; to be told once this server is a member */
	atomic_uint writes; /* all that are not called back yet */

	pthread_mutex_t open_lock;
	pthread_cond_t open_cond;
	struct list open_link; /* metrics.c */
	char load_trouble[256];
	bool shut;
};
/* The collection that a path below the prefix belongs to, and where the object's key begins in it. NULL: not in our key space. apply_lock is held. */
struct collection *store_route(struct store *store, const char *path, size_t len);
/* One changed or deleted key, as an event. apply_lock is held. */
void store_apply(struct store *store, const char *path, size_t len, const struct etcd_kv *kv, bool deleted);
/* Every event up to this one was applied. */
void store_publish(struct store *store, uint64_t revision);
/* A client is about to learn of etcd at this revision: a consistent read that begins later must not see less. */
void store_told(struct store *store, uint64_t revision);
/* The full etcd key of a path: prefix + path; the caller frees. */
char *store_key(const struct store *store, const char *path);
void store_start_watch(struct store *store, uint64_t after_revision);

#endif
