/* SPDX-License-Identifier: Apache-2.0 */
#include "common/client/informer_store.h"

#include "api/core_v1.h"
#include "api/meta_v1.h"

static void bucket_free(void *bucket)
{
	map_done(bucket);
	free(bucket);
}

static void index_by_namespace(const void *object, void (*emit)(const char *value, void *emit_arg), void *emit_arg)
{
	const struct meta_v1_object_meta *meta = api_metadata(object);
	emit(meta ? str_or(meta->namespace, "") : "", emit_arg);
}

void informer_index_controller_uid(const void *object, void (*emit)(const char *value, void *emit_arg), void *emit_arg)
{
	const struct meta_v1_object_meta *meta = api_metadata(object);
	for (uint32_t i = 0; meta && i < meta->owner_references.len; i++) {
		const struct meta_v1_owner_reference *owner = &meta->owner_references.items[i];
		if (owner->controller && *owner->controller)
			emit(str_or(owner->uid, ""), emit_arg);
	}
}

void informer_index_pod_node(const void *object, void (*emit)(const char *value, void *emit_arg), void *emit_arg)
{
	const struct core_v1_pod *pod = object;
	if (api_type_of(object) == &core_v1_pod_type && !str_empty(pod->spec.node_name))
		emit(pod->spec.node_name, emit_arg);
}

void informer_store_init(struct informer_store *store)
{
	*store = (struct informer_store){.objects = MAP_INIT(NULL)};
	pthread_rwlock_init(&store->lock, NULL);
	informer_store_add_index(store, INFORMER_INDEX_NAMESPACE, index_by_namespace);
}

void informer_store_done(struct informer_store *store)
{
	for (size_t i = 0; i < store->index_count; i++)
		map_done(&store->indexes[i].values);
	size_t pos = 0;
	for (struct map_entry *e; (e = map_next(&store->objects, &pos));)
		api_unref(e->value);
	map_done(&store->objects);
	pthread_rwlock_destroy(&store->lock);
}

/* ---- indexes; the lock is held for writing ---- */

struct emit {
	struct store_index *index;
	const char *key;
	void *object; /* NULL: take out */
};

static void emit_value(const char *value, void *arg)
{
	struct emit *emit = arg;
	struct map *bucket = map_get(&emit->index->values, value);
	if (emit->object) {
		if (!bucket) {
			bucket = xnew(struct map);
			map_set(&emit->index->values, value, bucket);
		}
		map_set(bucket, emit->key, emit->object);
	} else if (bucket) {
		map_remove(bucket, emit->key);
		if (!bucket->len)
			map_remove(&emit->index->values, value);
	}
}

static void index_update(struct store_index *index, const char *key, const void *old, void *object)
{
	if (old)
		index->fn(old, emit_value, &(struct emit){.index = index, .key = key});
	if (object)
		index->fn(object, emit_value, &(struct emit){.index = index, .key = key, .object = object});
}

void informer_store_add_index(struct informer_store *store, const char *name, informer_index_fn fn)
{
	pthread_rwlock_wrlock(&store->lock);
	bool known = false;
	for (size_t i = 0; i < store->index_count; i++)
		known |= str_equal(store->indexes[i].name, name);
	if (!known) {
		/* Indexes are named in code: too many is a mistake of the programmer. */
		if (store->index_count == STORE_MAX_INDEXES)
			abort();
		struct store_index *index = &store->indexes[store->index_count++];
		*index = (struct store_index){.name = name, .fn = fn, .values = MAP_INIT(bucket_free)};
		size_t pos = 0;
		for (struct map_entry *e; (e = map_next(&store->objects, &pos));)
			index_update(index, e->key, NULL, e->value);
	}
	pthread_rwlock_unlock(&store->lock);
}

void *informer_store_put(struct informer_store *store, void *take_object)
{
	/* The object is not shared yet: its key may be made in its own arena. */
	const char *key = api_key(take_object);
	pthread_rwlock_wrlock(&store->lock);
	void *old = map_get(&store->objects, key);
	map_set(&store->objects, key, take_object);
	for (size_t i = 0; i < store->index_count; i++)
		index_update(&store->indexes[i], key, old, take_object);
	pthread_rwlock_unlock(&store->lock);
	return old;
}

void *informer_store_remove(struct informer_store *store, const char *key)
{
	pthread_rwlock_wrlock(&store->lock);
	void *old = map_get(&store->objects, key);
	for (size_t i = 0; old && i < store->index_count; i++)
		index_update(&store->indexes[i], key, old, NULL);
	if (old)
		map_take(&store->objects, key);
	pthread_rwlock_unlock(&store->lock);
	return old;
}

void *informer_store_get(struct informer_store *store, const char *key)
{
	pthread_rwlock_rdlock(&store->lock);
	void *object = map_get(&store->objects, key);
	if (object)
		api_ref(object);
	pthread_rwlock_unlock(&store->lock);
	return object;
}

static const struct map *members(struct informer_store *store, const char *index, const char *value)
{
	if (!index)
		return &store->objects;
	for (size_t i = 0; i < store->index_count; i++)
		if (str_equal(store->indexes[i].name, index))
			return map_get(&store->indexes[i].values, value);
	return NULL;
}

void informer_store_list(struct informer_store *store, const char *index, const char *value, struct informer_list *ret)
{
	pthread_rwlock_rdlock(&store->lock);
	const struct map *from = members(store, index, value);
	if (from && from->len) {
		ret->items = xreallocarray(ret->items, ret->len + from->len, sizeof(void *));
		size_t pos = 0;
		for (struct map_entry *e; (e = map_next(from, &pos));)
			ret->items[ret->len++] = api_ref(e->value);
	}
	pthread_rwlock_unlock(&store->lock);
}

size_t informer_store_count(struct informer_store *store)
{
	pthread_rwlock_rdlock(&store->lock);
	size_t count = store->objects.len;
	pthread_rwlock_unlock(&store->lock);
	return count;
}

void informer_list_done(struct informer_list *list)
{
	for (size_t i = 0; i < list->len; i++)
		api_unref(list->items[i]);
	free(list->items);
	*list = (struct informer_list){0};
}
