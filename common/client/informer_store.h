/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The indexed copy behind an informer. All functions lock for themselves; objects handed in are consumed, objects handed out are references.
 *
 * A packed store keeps each object in its protobuf form, told by what it has in common with its siblings (common/base/delta.h): a tenth of what the structs
 * take. Some are kept as structs besides, for as long as somebody asks for them now and then.
 */
#ifndef CORACLE_CLIENT_INFORMER_STORE_H
#define CORACLE_CLIENT_INFORMER_STORE_H

#include "common/base/map.h"
#include "common/client/informer.h"

#include <pthread.h>
#include <stdatomic.h>

#define STORE_MAX_INDEXES 16
#define STORE_IDLE_S 10 /* a packed store keeps the structs of an object so long after it was last asked for */

struct stored;
/* A set of pointers. */
struct stored_set {
	struct stored **slots;
	size_t len, cap;
};

struct store_index {
	const char *name;
	informer_index_fn fn;
	struct map values; /* value -> struct stored_set */
};

struct informer_store {
	pthread_rwlock_t lock;
	struct stored_set objects; /* by key */
	struct store_index indexes[STORE_MAX_INDEXES];
	size_t index_count;
	const struct api_type *packed; /* NULL: a plain store */
	struct map models;             /* struct model by group; what it holds is counted by its users */
	_Atomic size_t unpacked;       /* objects that are held as structs */
	int64_t swept_ns;              /* atomic */
	/* Which of a packed store those are, so that nobody has to look for them among all. */
	pthread_mutex_t noted_lock;
	struct stored **noted;
	size_t noted_len, noted_cap;
};

/* packed: the type of all its objects, of a packed store; NULL: a plain one. */
void informer_store_init(struct informer_store *store, const struct api_type *packed);
void informer_store_done(struct informer_store *store);
void informer_store_add_index(struct informer_store *store, const char *name, informer_index_fn fn);
/* Returns the object that was there before (the caller unrefs), or NULL. */
void *informer_store_put(struct informer_store *store, void *take_object);
void *informer_store_remove(struct informer_store *store, const char *key);
void *informer_store_get(struct informer_store *store, const char *key);
/* Appends references. index NULL: all. */
void informer_store_list(struct informer_store *store, const char *index, const char *value, struct informer_list *ret);
size_t informer_store_count(struct informer_store *store);
/*
 * Every object once, none of them kept as structs for it. What is put or removed meanwhile may be missed or seen twice: the caller sees to it that nothing
 * is.
 */
void informer_store_each(struct informer_store *store, void (*fn)(void *object, void *arg), void *arg);
/* Lets go of structs that nobody asked for lately, where it is time to look. Cheap otherwise. */
void informer_store_tidy(struct informer_store *store);
/* Lets go of all structs of a packed store, as after a list of everything. */
void informer_store_pack(struct informer_store *store);
/* How many objects are there as structs, for tests. */
size_t informer_store_unpacked(struct informer_store *store);
/* What packed objects take, with their models, for tests. */
size_t informer_store_packed_bytes(struct informer_store *store);

/*
 * What is to replace everything, such as a new list: packed as it comes in. First what it lacks is asked for until there is none, then what it brings;
 * both change the store step by step. The store must not be changed by others meanwhile.
 */
struct informer_batch {
	struct informer_store *store;
	struct stored_set fresh;
	size_t at, put_at;
};
void informer_batch_init(struct informer_batch *batch, struct informer_store *store);
void informer_batch_done(struct informer_batch *batch);
/* The later of two of one key is taken. */
void informer_batch_add(struct informer_batch *batch, void *take_object);
/* Removes one object that the batch lacks; the caller unrefs it. False: there is none (any more). */
bool informer_batch_next_gone(struct informer_batch *batch, void **ret_old);
/* Puts one that is new or has another version than the one that was there (the caller unrefs both; *ret_old may be NULL). False: all are there. */
bool informer_batch_next_put(struct informer_batch *batch, void **ret_old, void **ret_object);

#endif
