/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The indexed copy behind an informer. All functions lock for themselves; objects handed in are consumed, objects handed out are references.
 *
 * A packed store keeps each object in its protobuf form, a fraction of what the structs take, and besides as structs for as long as somebody asks for
 * it now and then.
 */
#ifndef CORACLE_CLIENT_INFORMER_STORE_H
#define CORACLE_CLIENT_INFORMER_STORE_H

#include "common/base/map.h"
#include "common/client/informer.h"

#include <pthread.h>

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
	int64_t swept_ns;              /* atomic */
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
/* Lets go of structs that nobody asked for lately, where it is time to look. Cheap otherwise. */
void informer_store_tidy(struct informer_store *store);
/* Lets go of all structs of a packed store, as after a list of everything. */
void informer_store_pack(struct informer_store *store);
/* How many objects are there as structs, for tests. */
size_t informer_store_unpacked(struct informer_store *store);

#endif
