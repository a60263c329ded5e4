/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Informers: a watched, indexed, typed copy of what the API server holds. One thread per informer lists, then
 * watches, and re-lists when the server says 410. Stored objects are immutable and counted: get a reference, read, unref.
 * To change one: api_copy, edit, write through the client.
 */
#ifndef CORACLE_CLIENT_INFORMER_H
#define CORACLE_CLIENT_INFORMER_H

#include "common/base/clock.h"
#include "common/client/client.h"

struct informer;
struct informer_set;

struct informer_options {
	const char *ns;             /* NULL: all */
	const char *label_selector, *field_selector;
	/* Trims a freshly decoded object before it is stored (drop managedFields, ...); NULL: drops managedFields. */
	void (*transform)(void *object);
	/*
	 * Fields nobody reads, "core/v1.Container.env", which are left out wherever they stand; NULL terminated, NULL: none. What such a store gives is a part
	 * of the object: never write it back whole. Annotations cannot be among them: one of them ends a streamed list.
	 */
	const char *const *skip;
	/* Keep objects packed, and as structs only while they are asked for (informer_store.h): for what is many and seldom looked at. */
	bool packed;
	/*
	 * Once the first list is there, changes are left to gather for so many milliseconds: for what changes all the time and is no hurry, where each change
	 * by itself would cost more than it says. They gather in an API server of ours, else in the connection. 0: each is taken as it comes.
	 */
	int lull_ms;
	/*
	 * The field, as "spec.renewTime", a time, in which these objects change all day long: where nothing else has changed, no handler is told, and the store keeps
	 * the object as it was, its resourceVersion among it. informer_last_beat tells. NULL: none.
	 */
	const char *beat;
	/* Keep objects in blocks of just their size, at the price of copying each once: for what stays long and changes seldom. */
	bool compact;
};
struct informer_handler {
	/* On the informer's thread, in order; must not block. `object` is borrowed. on_update gets old and new. */
	void (*on_add)(void *object, bool is_initial, void *arg);
	void (*on_update)(void *old_object, void *object, void *arg);
	void (*on_delete)(void *object, void *arg);
	void *arg;
};

/* A set shares one informer per (resource, options). */
struct informer_set *informer_set_new(struct client *client);
/* Stops all threads: no handler is called any more; what is known can still be read. Takes NULL, and a set that was stopped. */
void informer_set_stop(struct informer_set *set);
/* Stops all threads, frees. Takes NULL. */
void informer_set_free(struct informer_set *set);
/* options NULL: everything. Handlers and indexes are added before informer_set_start, or later (then the store is replayed to them). */
struct informer *informer_get(struct informer_set *set, const struct api_resource *resource, const struct informer_options *options);
void informer_add_handler(struct informer *informer, const struct informer_handler *handler);
/* Several at once: each object is looked at once for all of them. */
void informer_add_handlers(struct informer *informer, const struct informer_handler *handlers, size_t count);
/* fn appends the index values of an object by calling emit(value, emit_arg) for each. */
typedef void (*informer_index_fn)(const void *object, void (*emit)(const char *value, void *emit_arg), void *emit_arg);
void informer_add_index(struct informer *informer, const char *name, informer_index_fn fn);
#define INFORMER_INDEX_NAMESPACE "namespace" /* always there */
/* metadata.ownerReferences[controller].uid */
void informer_index_controller_uid(const void *object, void (*emit)(const char *value, void *emit_arg), void *emit_arg);
/* spec.nodeName of pods */
void informer_index_pod_node(const void *object, void (*emit)(const char *value, void *emit_arg), void *emit_arg);

void informer_set_start(struct informer_set *set);
/* Waits until every informer has its first list. Returns false where cancel_fd (or -1) became readable first. */
bool informer_set_wait_synced(struct informer_set *set, int cancel_fd);
bool informer_synced(const struct informer *informer);
/* The highest resourceVersion seen. */
uint64_t informer_resource_version(const struct informer *informer);

/* A reference to the object, or NULL. ns NULL for cluster-scoped. */
void *informer_find(struct informer *informer, const char *ns, const char *name);
void *informer_find_key(struct informer *informer, const char *key);
struct informer_list {
	void **items; /* references */
	size_t len;
};
#define INFORMER_LIST_INIT {0}
void informer_list_done(struct informer_list *list);
#define autolist cleanup(informer_list_done)
/* All, all of one namespace, or all under one index value. The list is a snapshot. */
void informer_list_all(struct informer *informer, struct informer_list *ret);
void informer_list_namespace(struct informer *informer, const char *ns, struct informer_list *ret);
void informer_list_index(struct informer *informer, const char *index, const char *value, struct informer_list *ret);
/* A change of nothing but the field that options.beat names. */
struct informer_beat {
	struct wall_time time; /* as the field has it */
	int64_t seen_ns;       /* monotonic: when it came to be so */
};
/* False: none since the object came to the store as it is there. */
bool informer_last_beat(struct informer *informer, const char *ns, const char *name, struct informer_beat *ret);
size_t informer_count(struct informer *informer);

#endif
