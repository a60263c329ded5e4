/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: etcd behind, a cache of encoded objects in front. One watch on the whole prefix feeds every collection in
 * revision order, so one number says how fresh all of them are. Reads are answered from the cache and never block; a consistent
 * read first waits (by callback) until the cache has reached etcd's revision. Writes are etcd transactions and end in a
 * callback, called when the write's own event has reached the cache (so the writer reads its write).
 *
 * Callbacks run on the store's thread, those of store_wait() on a few threads beside it: on the former they must be short; all may call any
 * function here.
 */
#ifndef CORACLE_APISERVER_STORE_H
#define CORACLE_APISERVER_STORE_H

#include "common/api/api.h"
#include "common/base/buf.h"
#include "common/base/error.h"

struct store;
struct collection; /* the objects of one resource, all versions, keyed by the etcd prefix */

/*
 * What stands between objects and what etcd keeps of them. `about` is the whole key in etcd. seal and open: 1 where ret holds what is to be stored, or was meant; 0: the
 * value itself; negative: it cannot be had, for the reason in err. The mark tells how it was stored: is_stale, whether it would be stored otherwise now. Any thread.
 */
struct store_transform {
	int (*seal)(void *arg, const char *group, const char *resource, const char *about, const void *value, size_t len, struct buf *ret, struct error *err);
	int (*open)(void *arg, const char *group, const char *resource, const char *about, const void *value, size_t len, struct buf *ret, uint32_t *ret_mark, struct error *err);
	bool (*is_stale)(void *arg, const char *group, const char *resource, uint32_t mark);
	void *arg;
};

struct store_options {
	const char *const *endpoints; /* http(s)://host:port, NULL terminated */
	const char *prefix;           /* "/registry" */
	const char *ca_file, *cert_file, *key_file;
	int write_timeout_ms;           /* of one write; 0, and at most: 10 seconds */
	int64_t compaction_interval_ns; /* 0: 5 minutes; negative: never */
	/* Called before anything is read: collections that are opened in it get their objects at once, those opened later only after all were read. May be NULL. */
	void (*opening)(struct store *store, void *arg);
	void *arg;
	int64_t lease_reuse_seconds;    /* for how long keys of one life time share a lease; 0: 60; negative: they do not */
	bool ask_always;              /* consistent reads ask etcd even where no other API server is */
	struct store_transform transform; /* all NULL: values are stored as they are */
	/* Makes of a value in another form what would be stored here: 1 where ret holds that, 0 where it is that already. May be NULL. Any thread. */
	int (*translate)(const void *value, size_t len, struct buf *ret, struct error *err);
	size_t history_events;        /* watch history kept per collection; 0: as much as grows with load, within bounds */
};
/* Connects, loads everything under the prefix, starts the watch. Blocks until the first load is done or fails past timeout_ms; afterwards reconnects by itself for ever. */
int store_open(const struct store_options *options, int timeout_ms, struct store **ret, struct error *err);
void store_close(struct store *store);
/* Memory runs short: lets go of history, older views and other encodings, but for a rest. Any thread. */
void store_shrink(struct store *store);
/* True while etcd answers and the watch is live. */
bool store_healthy(struct store *store, struct error *err);

/*
 * One object in the cache: immutable, counted. `json` is what clients get, metadata.resourceVersion included; it stays
 * valid as long as a reference to the entry, or to the bytes themselves, is held. Thread safe.
 */
struct entry {
	unsigned refs;             /* atomic */
	uint64_t resource_version; /* mod_revision; of a deleted one, the revision of the deletion */
	uint64_t create_revision;
	struct bytes *json;
	const char *key;           /* "ns/name" or "name" */
	const char *ns, *name;     /* ns is "" where not namespaced */
	const char *uid;           /* "" where there is none */
	struct api_string_map labels; /* sorted by key */
	struct api_string_map fields; /* selectable fields, as the collection's index function gave them, sorted by key */
};
struct entry *entry_ref(struct entry *entry);
/* Takes NULL. */
void entry_unref(struct entry *entry);
static inline void cleanup_entry(struct entry **entry) {
	entry_unref(*entry);
}
#define autoentry cleanup(cleanup_entry)
/*
 * Marks: one bit of 64 for each label's key, each label and each field with its value (an empty one has none). An entry without the bits of what a selector demands
 * cannot match it; one that has them may. An array of marks is read in a thousandth of the time that its entries take.
 */
uint64_t entry_label_mark(const char *key, const char *value /* NULL: any */);
uint64_t entry_field_mark(const char *key, const char *value);
uint64_t entry_marks(const struct entry *entry);
/*
 * Another encoding of the object (slot: the caller's own number below ENTRY_ENCODINGS, such as 0 for protobuf), made by `make` on
 * first demand and kept beside the JSON; one that nobody asked for during some minutes is dropped. Gives a reference; NULL where make gave NULL.
 */
#define ENTRY_ENCODINGS 4
struct bytes *entry_encoding(struct entry *entry, unsigned slot, struct bytes *(*make)(const struct entry *entry, void *arg), void *arg);

/*
 * Opens (or finds) the collection of an etcd prefix such as "pods" or "example.com/widgets". index() reads the object's JSON once, when
 * its event arrives, and adds its selectable fields (metadata.name and metadata.namespace are added by the store).
 */
typedef void (*collection_index_fn)(const char *json, size_t len, struct arena *arena, struct api_string_map *ret_fields, void *arg);
struct collection *store_collection(struct store *store, const char *etcd_prefix, bool namespaced, collection_index_fn index, void *arg);

/* Under which names its metrics go; without it there are none. The first call holds. */
void collection_set_names(struct collection *collection, const char *group, const char *resource);
/* For the metrics: a list was answered that looked at so many objects; a read has waited for the cache to be fresh. Any thread. */
void collection_count_list(struct collection *collection, size_t read, size_t returned);
void collection_count_wait(struct collection *collection, int64_t ns);

/* ---- reads: at once, from the cache ---- */

/* The revision the cache has reached: every event up to it was applied and handed to the watches. */
uint64_t store_revision(struct store *store);
/* True where a consistent read may be answered from the cache at once: no other API server serves this etcd (members.c), and the cache holds whatever was told a client. Any thread; some 30 ns. */
bool store_fresh(struct store *store);
/* Calls done, on one of the store's reader threads, when the cache is at least as fresh as etcd was at the time of the call (min_revision 0), or has reached min_revision. errnum -ETIMEDOUT past the timeout, -EIO when etcd is away. Shares one etcd read among all that wait, and needs none where store_fresh(). */
void store_wait(struct store *store, uint64_t min_revision, int timeout_ms, void (*done)(int errnum, void *arg), void *arg);
/* The same, but done is called on the store's thread, which saves a hop: for what is done in a few microseconds. */
void store_wait_quick(struct store *store, uint64_t min_revision, int timeout_ms, void (*done)(int errnum, void *arg), void *arg);
/* A reference, or NULL. key is "ns/name" or "name". */
struct entry *collection_get(struct collection *collection, const char *key);
/*
 * A sorted, immutable view of the whole collection at one revision. Costs nothing to take, whatever its size: it shares the
 * cache's tree, of which a write copies only the path it changes. Entries are in byte order of their keys, as etcd sorts them.
 */
struct snapshot {
	uint64_t revision;
	size_t len;
};
struct snapshot *collection_snapshot(struct collection *collection);
/* The view at an older revision (continue tokens, resourceVersionMatch=Exact). -ESTALE where history no longer reaches it, -EAGAIN where the cache has not reached it yet. */
int collection_snapshot_at(struct collection *collection, uint64_t revision, struct snapshot **ret);
struct snapshot *snapshot_ref(struct snapshot *snapshot);
/* Takes NULL. */
void snapshot_unref(struct snapshot *snapshot);
static inline void cleanup_snapshot(struct snapshot **snapshot) {
	snapshot_unref(*snapshot);
}
#define autosnapshot cleanup(cleanup_snapshot)
/* The entry at a position below len, borrowed from the snapshot. */
struct entry *snapshot_entry(const struct snapshot *snapshot, size_t position);
/* A walk over the positions from first to end, all of them (marks 0) or those that have these marks. Much cheaper than one position after the other. */
struct snapshot_scan {
	const struct snapshot *snapshot;
	size_t next, end; /* next: behind the entry given last */
	uint64_t marks;
	const struct tree *leaf; /* where it stands; NULL: not in one */
	size_t leaf_at;
};
static inline struct snapshot_scan snapshot_scan_over(const struct snapshot *snapshot, size_t first, size_t end, uint64_t marks) {
	return (struct snapshot_scan){.snapshot = snapshot, .next = first, .end = end, .marks = marks};
}
/* Borrowed from the snapshot; NULL at the end. */
struct entry *snapshot_scan_next(struct snapshot_scan *scan);
/* The first position whose key is not less than `key`; len where there is none. */
size_t snapshot_lower_bound(const struct snapshot *snapshot, const char *key);
/* The entry of exactly this key, borrowed; NULL where absent. */
struct entry *snapshot_get(const struct snapshot *snapshot, const char *key);
/* [*ret_first, *ret_end) of the entries whose key starts with prefix ("ns/"). */
void snapshot_range(const struct snapshot *snapshot, const char *prefix, size_t *ret_first, size_t *ret_end);

/* The same for a namespace; cheap where there are none at all. */
void snapshot_namespace(const struct snapshot *snapshot, const char *ns, size_t *ret_first, size_t *ret_end);

/* Bytes of JSON that are in it now, and how many objects. */
size_t collection_size(struct collection *collection, size_t *ret_count);

/* Whether the entry, though it says the same, would be stored otherwise than it is (encrypted, with another key). */
bool collection_is_stale(const struct collection *collection, const struct entry *entry);

/* ---- what cannot be read ---- */

/*
 * A value in etcd that was sealed with a key which is lost, or that is no object, is in no view, and collection_get() does not find it. It is there all the same: nobody
 * may be told that it is not. These fail with a 500 for the client, in Kubernetes' words, where one is in the way: of this key; of those from `from` on (NULL: the first) to
 * `last` (NULL: all) that begin with prefix.
 */
int collection_check_key(struct collection *collection, const char *key, struct error *err);
int collection_check_range(struct collection *collection, const char *prefix, const char *from, const char *last, struct error *err);
/* Whether there is any. */
bool collection_has_unreadable(const struct collection *collection);
/* What could not be read may be readable now: it is tried again. Any thread. */
void store_read_again(struct store *store);

/* ---- writes ---- */

/*
 * value: the object's JSON without resourceVersion (copied). expected: 0 = must not exist, else mod_revision that must be current. lease_seconds > 0: the
 * key goes away by itself (events). done is called once, on the store's thread, with errnum 0 and the new entry (borrowed), or
 *   -EEXIST     expected was 0 and it exists: `current` is what is there, NULL where it cannot be read
 *   -EAGAIN     changed meanwhile: `current` is what is there now, NULL where it is gone or cannot be read
 *   -EFBIG      larger than etcd takes        -ENOSPC  etcd is full
 *   -EBUSY      too many writes are in flight already; nothing was sent
 *   -EIO, -ETIMEDOUT   etcd is away; the outcome may be unknown
 */
typedef void (*store_write_done)(int errnum, struct entry *current, void *arg);
void collection_put(struct collection *collection, const char *key, const char *value, size_t len, uint64_t expected, int64_t lease_seconds, store_write_done done, void *arg);
/*
 * The same, where besides other objects must still be as they were: what was claimed for this object before it is stored. -ESTALE where one
 * is not; `current` is then the object itself as it is, NULL where it is not there. At most STORE_MAX_GUARDS; they are copied. timeout_ms: shorter than that of
 * all writes; 0: that.
 */
#define STORE_MAX_GUARDS 128
struct store_guard {
	struct collection *collection;
	const char *key;
	uint64_t revision;
};
void collection_put_guarded(struct collection *collection, const char *key, const char *value, size_t len, uint64_t expected, const struct store_guard *guards, size_t count,
	int timeout_ms, store_write_done done, void *arg);
/* expected 0: whatever is there (-ENOENT where nothing is). `current` on success is the last state, with the revision of its deletion as resource_version. */
void collection_delete(struct collection *collection, const char *key, uint64_t expected, store_write_done done, void *arg);
/* With guards, as collection_put_guarded; expected is not 0. */
void collection_delete_guarded(struct collection *collection, const char *key, uint64_t expected, const struct store_guard *guards, size_t count, int timeout_ms, store_write_done done, void *arg);

/* ---- watch ---- */

enum store_event_type { STORE_ADDED, STORE_MODIFIED, STORE_DELETED, STORE_BOOKMARK, STORE_GAP, STORE_END };
struct store_event {
	enum store_event_type type;
	uint64_t revision;
	struct entry *entry;    /* the new state; for DELETED the last state with the deletion's resourceVersion; NULL for a bookmark */
	struct entry *previous; /* the state before; NULL for ADDED: lets selectors tell transitions */
	uint64_t marks;         /* entry_marks() of both, or all of them */
};
struct store_watch;
/*
 * Delivers every event after `revision` (0: from now), in order, each once: first those from history, on the caller's thread before this
 * returns, then live ones on the store's thread; never both at once. *ret is set before the first call of on_event. -ESTALE where history no
 * longer reaches `revision`; the caller says 410 (and drops what it may have got). A STORE_BOOKMARK comes about once a minute.
 * Hold no lock that on_event takes.
 */
int collection_watch(struct collection *collection, uint64_t revision, void (*on_event)(const struct store_event *event, void *arg), void *arg, struct store_watch **ret);
/*
 * The same for who must see each state, not only the newest. Where etcd has compacted what the cache had not been told yet, states in between
 * are lost for ever: such a watch then gets STORE_GAP (without entry) as its last event, and begins no earlier than after the gap (-ESTALE).
 * Other watches see the difference as events.
 */
int collection_watch_exact(struct collection *collection, uint64_t revision, void (*on_event)(const struct store_event *event, void *arg), void *arg, struct store_watch **ret);
/* Gives each exact watch that is live STORE_END (without entry) as its last event: what it follows is not what it was. Nothing is lost; it may be begun anew. */
void collection_end_watches(struct collection *collection);
/* Every event up to this revision was handed to on_event: what a bookmark may say. */
uint64_t store_watch_revision(struct store_watch *watch);
/* After it returns on_event is not called again. May be called from inside its own on_event; elsewhere hold no lock that on_event takes. */
void store_watch_cancel(struct store_watch *watch);

#endif
