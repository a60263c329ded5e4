/* SPDX-License-Identifier: Apache-2.0 */
#include "common/client/informer_store.h"

#include "common/api/codec.h"
#include "common/base/clock.h"

#include <malloc.h>
#include <stdatomic.h>

#include "api/core_v1.h"
#include "api/meta_v1.h"

#define FIRST_CAPACITY 8
#define PACKED_MAX ((size_t)16 << 20)
#define TRIM_AFTER 1000 /* so many let go of at once are worth giving their memory back to the system */

struct stored {
	_Atomic(void *) object; /* one reference; NULL: only packed. Set and cleared under the lock for writing */
	struct bytes *packed;   /* NULL in a plain store */
	_Atomic uint32_t used_s; /* when it was last asked for */
	uint32_t hash;          /* of the key */
	char key[];
};

static uint32_t now_s(void)
{
	return (uint32_t)(clock_monotonic_ns() / NSEC_PER_SEC);
}

/* ---- sets of stored objects: linear probing, removal closes the gap ---- */

static size_t home_of(const struct stored_set *set, const struct stored *stored, bool by_key)
{
	uint64_t hash = by_key ? stored->hash : (uintptr_t)stored * 0x9e3779b97f4a7c15ULL >> 32;
	return (size_t)hash & (set->cap - 1);
}

static void set_place(struct stored_set *set, struct stored *stored, bool by_key)
{
	size_t at = home_of(set, stored, by_key);
	while (set->slots[at])
		at = (at + 1) & (set->cap - 1);
	set->slots[at] = stored;
}

static void set_resize(struct stored_set *set, size_t cap, bool by_key)
{
	struct stored_set old = *set;
	set->cap = cap;
	set->slots = xcalloc(cap, sizeof(*set->slots));
	for (size_t i = 0; i < old.cap; i++)
		if (old.slots[i])
			set_place(set, old.slots[i], by_key);
	free(old.slots);
}

static void set_put(struct stored_set *set, struct stored *stored, bool by_key)
{
	if ((set->len + 1) * 4 > set->cap * 3)
		set_resize(set, set->cap ? set->cap * 2 : FIRST_CAPACITY, by_key);
	set_place(set, stored, by_key);
	set->len++;
}

/* Where the pointer stands; cap: nowhere. */
static size_t set_find(const struct stored_set *set, const struct stored *stored, bool by_key)
{
	if (!set->cap)
		return 0;
	for (size_t at = home_of(set, stored, by_key); set->slots[at]; at = (at + 1) & (set->cap - 1))
		if (set->slots[at] == stored)
			return at;
	return set->cap;
}

static void set_remove(struct stored_set *set, const struct stored *stored, bool by_key)
{
	size_t hole = set_find(set, stored, by_key), mask = set->cap - 1;
	if (hole == set->cap)
		return;
	set->slots[hole] = NULL;
	set->len--;
	for (size_t at = (hole + 1) & mask; set->slots[at]; at = (at + 1) & mask) {
		size_t home = home_of(set, set->slots[at], by_key);
		if (((at - home) & mask) < ((at - hole) & mask))
			continue;
		set->slots[hole] = set->slots[at];
		set->slots[at] = NULL;
		hole = at;
	}
	if (set->cap > FIRST_CAPACITY && set->len * 8 < set->cap)
		set_resize(set, set->cap / 2, by_key);
}

static struct stored *find(const struct informer_store *store, const char *key)
{
	const struct stored_set *set = &store->objects;
	uint32_t hash = (uint32_t)hash_bytes(key, strlen(key));
	if (!set->cap)
		return NULL;
	for (size_t at = hash & (set->cap - 1); set->slots[at]; at = (at + 1) & (set->cap - 1))
		if (set->slots[at]->hash == hash && str_equal(set->slots[at]->key, key))
			return set->slots[at];
	return NULL;
}

/* ---- packing ---- */

static struct bytes *pack(const struct informer_store *store, const void *object)
{
	autobuf struct buf out = BUF_INIT(PACKED_MAX);
	if (!store->packed)
		return NULL;
	api_encode_protobuf_message(store->packed, object, &out);
	return buf_failed(&out) ? NULL : buf_to_bytes(&out);
}

/* A reference to the object of an entry, made where it is not there. The lock is held. */
static void *unpack(const struct informer_store *store, struct stored *stored)
{
	void *object = atomic_load(&stored->object);
	if (object)
		return (void *)api_ref(object);
	/* Our own bytes: they can be read, or memory is broken. */
	if (api_decode_protobuf_message(store->packed, stored->packed->data, stored->packed->len, &object, NULL))
		abort();
	struct {
		const char *kind, *api_version;
	} *head = object;
	head->kind = store->packed->kind;
	head->api_version = str_empty(store->packed->group) ? store->packed->version : arena_printf(api_arena(object), "%s/%s", store->packed->group, store->packed->version);
	return object;
}

static struct stored *stored_new(const struct informer_store *store, void *take_object)
{
	const char *key = api_key(take_object);
	size_t size = strlen(key) + 1;
	struct stored *stored = xcalloc(1, sizeof(*stored) + size);
	memcpy(stored->key, key, size);
	stored->hash = (uint32_t)hash_bytes(key, size - 1);
	stored->packed = pack(store, take_object);
	stored->used_s = now_s();
	atomic_store(&stored->object, take_object);
	return stored;
}

static void stored_free(struct stored *stored)
{
	api_unref(atomic_load(&stored->object));
	bytes_unref(stored->packed);
	free(stored);
}

/* ---- the store ---- */

static void bucket_free(void *bucket)
{
	free(((struct stored_set *)bucket)->slots);
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

void informer_store_init(struct informer_store *store, const struct api_type *packed)
{
	*store = (struct informer_store){.packed = packed, .swept_ns = clock_monotonic_ns()};
	pthread_rwlock_init(&store->lock, NULL);
	informer_store_add_index(store, INFORMER_INDEX_NAMESPACE, index_by_namespace);
}

void informer_store_done(struct informer_store *store)
{
	for (size_t i = 0; i < store->index_count; i++)
		map_done(&store->indexes[i].values);
	for (size_t i = 0; i < store->objects.cap; i++)
		if (store->objects.slots[i])
			stored_free(store->objects.slots[i]);
	free(store->objects.slots);
	pthread_rwlock_destroy(&store->lock);
}

/* ---- indexes; the lock is held for writing ---- */

struct emit {
	struct store_index *index;
	struct stored *stored;
	bool remove;
};

static void emit_value(const char *value, void *arg)
{
	struct emit *emit = arg;
	struct stored_set *bucket = map_get(&emit->index->values, value);
	if (emit->remove) {
		if (!bucket)
			return;
		set_remove(bucket, emit->stored, false);
		if (!bucket->len)
			map_remove(&emit->index->values, value);
		return;
	}
	if (!bucket) {
		bucket = xnew(struct stored_set);
		map_set(&emit->index->values, value, bucket);
	}
	if (!bucket->cap || set_find(bucket, emit->stored, false) == bucket->cap)
		set_put(bucket, emit->stored, false);
}

static void index_update(struct informer_store *store, struct stored *stored, const void *object, bool remove)
{
	for (size_t i = 0; i < store->index_count; i++)
		store->indexes[i].fn(object, emit_value, &(struct emit){.index = &store->indexes[i], .stored = stored, .remove = remove});
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
		for (size_t i = 0; i < store->objects.cap; i++) {
			struct stored *stored = store->objects.slots[i];
			autounref void *object = stored ? unpack(store, stored) : NULL;
			if (object)
				fn(object, emit_value, &(struct emit){.index = index, .stored = stored});
		}
	}
	pthread_rwlock_unlock(&store->lock);
}

/* The lock is held for writing. Returns the object it held. */
static void *take_out(struct informer_store *store, struct stored *stored)
{
	void *old = unpack(store, stored);
	index_update(store, stored, old, true);
	set_remove(&store->objects, stored, true);
	stored_free(stored);
	return old;
}

void *informer_store_put(struct informer_store *store, void *take_object)
{
	/* The object is not shared yet: its key may be made in its own arena, and it may be packed without a lock. */
	struct stored *fresh = stored_new(store, take_object);
	pthread_rwlock_wrlock(&store->lock);
	struct stored *there = find(store, fresh->key);
	void *old = there ? take_out(store, there) : NULL;
	set_put(&store->objects, fresh, true);
	index_update(store, fresh, take_object, false);
	pthread_rwlock_unlock(&store->lock);
	return old;
}

void *informer_store_remove(struct informer_store *store, const char *key)
{
	pthread_rwlock_wrlock(&store->lock);
	struct stored *there = find(store, key);
	void *old = there ? take_out(store, there) : NULL;
	pthread_rwlock_unlock(&store->lock);
	return old;
}

/* A reference, for somebody who asked; what had to be unpacked stays so for a while. The lock is held for reading. */
static void *hand_out(struct informer_store *store, struct stored *stored, uint32_t now)
{
	atomic_store_explicit(&stored->used_s, now, memory_order_relaxed);
	void *object = unpack(store, stored), *none = NULL;
	if (store->packed && !atomic_load(&stored->object)) {
		/* Of several who unpack at once the first one's is kept; nobody clears it while we hold the lock. */
		if (atomic_compare_exchange_strong(&stored->object, &none, object))
			api_ref(object);
	}
	return object;
}

void *informer_store_get(struct informer_store *store, const char *key)
{
	pthread_rwlock_rdlock(&store->lock);
	struct stored *stored = find(store, key);
	void *object = stored ? hand_out(store, stored, now_s()) : NULL;
	pthread_rwlock_unlock(&store->lock);
	return object;
}

static const struct stored_set *members(struct informer_store *store, const char *index, const char *value)
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
	uint32_t now = now_s();
	pthread_rwlock_rdlock(&store->lock);
	const struct stored_set *from = members(store, index, value);
	if (from && from->len) {
		ret->items = xreallocarray(ret->items, ret->len + from->len, sizeof(void *));
		for (size_t i = 0; i < from->cap; i++)
			if (from->slots[i])
				ret->items[ret->len++] = hand_out(store, from->slots[i], now);
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

static void let_go(struct informer_store *store, uint32_t idle_s)
{
	int64_t now = clock_monotonic_ns();
	size_t count = 0;
	pthread_rwlock_wrlock(&store->lock);
	__atomic_store_n(&store->swept_ns, now, __ATOMIC_RELAXED);
	for (size_t i = 0; i < store->objects.cap; i++) {
		struct stored *stored = store->objects.slots[i];
		if (!stored || !stored->packed || !atomic_load(&stored->object) || now_s() - stored->used_s < idle_s)
			continue;
		api_unref(atomic_exchange(&stored->object, NULL));
		count++;
	}
	pthread_rwlock_unlock(&store->lock);
	if (count >= TRIM_AFTER)
		malloc_trim(0);
}

void informer_store_tidy(struct informer_store *store)
{
	if (store->packed && clock_monotonic_ns() - __atomic_load_n(&store->swept_ns, __ATOMIC_RELAXED) >= STORE_IDLE_S * NSEC_PER_SEC / 2)
		let_go(store, STORE_IDLE_S);
}

void informer_store_pack(struct informer_store *store)
{
	if (store->packed)
		let_go(store, 0);
}

size_t informer_store_unpacked(struct informer_store *store)
{
	size_t count = 0;
	pthread_rwlock_rdlock(&store->lock);
	for (size_t i = 0; i < store->objects.cap; i++)
		count += store->objects.slots[i] && atomic_load(&store->objects.slots[i]->object);
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
