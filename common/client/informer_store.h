/* SPDX-License-Identifier: Apache-2.0 */
/* The indexed copy behind an informer. All functions lock for themselves; objects handed in are consumed, objects handed out are references. */
#ifndef CORACLE_CLIENT_INFORMER_STORE_H
#define CORACLE_CLIENT_INFORMER_STORE_H

#include "common/base/map.h"
#include "common/client/informer.h"

#include <pthread.h>

#define STORE_MAX_INDEXES 16

struct store_index {
	const char *name;
	informer_index_fn fn;
	struct map values; /* value -> struct map of key -> object (borrowed from `objects`) */
};

struct informer_store {
	pthread_rwlock_t lock;
	struct map objects; /* key -> object, each one reference */
	struct store_index indexes[STORE_MAX_INDEXES];
	size_t index_count;
};

void informer_store_init(struct informer_store *store);
void informer_store_done(struct informer_store *store);
void informer_store_add_index(struct informer_store *store, const char *name, informer_index_fn fn);
/* Returns the object that was there before (the caller unrefs), or NULL. */
void *informer_store_put(struct informer_store *store, void *take_object);
void *informer_store_remove(struct informer_store *store, const char *key);
void *informer_store_get(struct informer_store *store, const char *key);
/* Appends references. index NULL: all. */
void informer_store_list(struct informer_store *store, const char *index, const char *value, struct informer_list *ret);
size_t informer_store_count(struct informer_store *store);

#endif
