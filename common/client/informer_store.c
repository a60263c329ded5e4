/* SPDX-License-Identifier: Apache-2.0 */
#include "common/client/informer_store.h"

#include "common/api/codec.h"
#include "common/base/clock.h"
#include "common/base/delta.h"
#include "common/base/trim.h"

#include <stdatomic.h>

#include "api/core_v1.h"
#include "api/meta_v1.h"

#define FIRST_CAPACITY 8
#define PACKED_MAX ((size_t)16 << 20)
#define TRIM_AFTER 1000    /* so many let go of at once are worth giving their memory back to the system */
#define UNPACKED_MAX 1024  /* what is asked for beyond that is unpacked each time */
#define EACH_AT_ONCE 64

/*
 * Packed objects that are alike (pods of one owner) are told by a model that they share, as deltas. The first of them is the model; one of which a delta
 * takes more than half of its bytes becomes the model of those that come after it. So does one of which it takes more than a quarter, now and then: objects
 * are born small, and their status would be told by each of them anew.
 */
#define TOLD_ENOUGH 16
struct model {
	size_t users, told; /* guarded by the store's lock for writing */
	size_t group_size; /* with its NUL */
	size_t len;
	char text[];       /* group, NUL, bytes */
};

struct stored {
	_Atomic(void *) object;  /* one reference; NULL: only packed. Cleared under the lock for writing */
	struct model *model;     /* of a packed store */
	uint64_t version;        /* 0: unknown */
	_Atomic uint32_t used_s; /* when it was last asked for */
	uint32_t hash;           /* of the key */
	uint32_t delta_at, delta_len;
	char text[];             /* key, NUL, delta */
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

static struct stored *find_in(const struct stored_set *set, const char *key)
{
	uint32_t hash = (uint32_t)hash_bytes(key, strlen(key));
	if (!set->cap)
		return NULL;
	for (size_t at = hash & (set->cap - 1); set->slots[at]; at = (at + 1) & (set->cap - 1))
		if (set->slots[at]->hash == hash && str_equal(set->slots[at]->text, key))
			return set->slots[at];
	return NULL;
}

static struct stored *find(const struct informer_store *store, const char *key)
{
	return find_in(&store->objects, key);
}

/* ---- packing ---- */

static const char *model_bytes(const struct model *model)
{
	return model->text + model->group_size;
}

/* The lock is held for writing. */
static void model_unref(struct informer_store *store, struct model *model)
{
	if (!model || --model->users)
		return;
	if (map_get(&store->models, model->text) == model)
		map_take(&store->models, model->text);
	free(model);
}

static struct model *model_new(struct informer_store *store, const char *group, const struct buf *packed)
{
	size_t group_size = strlen(group) + 1;
	struct model *model = xmalloc(sizeof(*model) + group_size + packed->len);
	*model = (struct model){.users = 1, .group_size = group_size, .len = packed->len};
	memcpy(model->text, group, group_size);
	memcpy(model->text + group_size, packed->data, packed->len);
	map_set(&store->models, group, model);
	return model;
}

/* What is alike: the pods of an owner, or those of a namespace that have none. */
static const char *group_of(const void *object)
{
	const struct meta_v1_object_meta *meta = api_metadata(object);
	for (uint32_t i = 0; i < meta->owner_references.len; i++) {
		const struct meta_v1_owner_reference *owner = &meta->owner_references.items[i];
		if (owner->controller && *owner->controller)
			return str_or(owner->uid, "");
	}
	return str_or(meta->namespace, "");
}

/* The lock is held for writing. Returns the model, with a reference, by which the delta is told. */
static struct model *tell_by_model(struct informer_store *store, const char *group, const struct buf *packed, struct buf *delta)
{
	struct model *model = map_get(&store->models, group);
	if (model) {
		delta_encode(model_bytes(model), model->len, packed->data, packed->len, delta);
		if (delta->len <= packed->len / 4 || (delta->len <= packed->len / 2 && model->told < TOLD_ENOUGH)) {
			model->users++;
			model->told++;
			return model;
		}
	}
	model = model_new(store, group, packed);
	buf_reset(delta);
	delta_encode(model_bytes(model), model->len, packed->data, packed->len, delta);
	return model;
}

/* The object itself, from its packed form. The lock is held. */
static void *unpack_fresh(const struct informer_store *store, const struct stored *stored)
{
	autobuf struct buf packed = BUF_INIT(PACKED_MAX);
	void *object;
	/* Our own bytes: they can be read, or memory is broken. */
	if (delta_decode(model_bytes(stored->model), stored->model->len, stored->text + stored->delta_at, stored->delta_len, &packed) ||
		api_decode_protobuf_message(store->packed, packed.data, packed.len, &object, NULL))
		abort();
	struct {
		const char *kind, *api_version;
	} *head = object;
	head->kind = store->packed->kind;
	head->api_version = str_empty(store->packed->group) ? store->packed->version : arena_printf(api_arena(object), "%s/%s", store->packed->group, store->packed->version);
	return object;
}

/* A reference to the object of an entry, made where it is not there. The lock is held. */
static void *unpack(const struct informer_store *store, const struct stored *stored)
{
	void *object = atomic_load(&stored->object);
	return object ? (void *)api_ref(object) : unpack_fresh(store, stored);
}

static uint64_t version_of(const void *object)
{
	const struct meta_v1_object_meta *meta = api_metadata(object);
	return strtoull(meta ? str_or(meta->resource_version, "") : "", NULL, 10);
}

/* Borrows the object. The lock is not held. */
static struct stored *stored_new(struct informer_store *store, const void *object)
{
	const char *key = api_key(object);
	size_t key_size = strlen(key) + 1;
	autobuf struct buf packed = BUF_INIT(PACKED_MAX), delta = BUF_INIT(2 * PACKED_MAX);
	struct model *model = NULL;
	if (store->packed) {
		api_encode_protobuf_message(store->packed, object, &packed);
		if (!buf_failed(&packed) && packed.len) {
			pthread_rwlock_wrlock(&store->lock);
			model = tell_by_model(store, group_of(object), &packed, &delta);
			pthread_rwlock_unlock(&store->lock);
		}
	}
	struct stored *stored = xmalloc(sizeof(*stored) + key_size + delta.len);
	*stored = (struct stored){.model = model, .version = version_of(object), .used_s = now_s(), .hash = (uint32_t)hash_bytes(key, key_size - 1),
		.delta_at = (uint32_t)key_size, .delta_len = (uint32_t)delta.len};
	memcpy(stored->text, key, key_size);
	if (delta.len)
		memcpy(stored->text + key_size, delta.data, delta.len);
	return stored;
}

/* Notes an entry that is held as structs, and packed besides: those that are let go of again. */
static void note_unpacked(struct informer_store *store, struct stored *stored)
{
	pthread_mutex_lock(&store->noted_lock);
	if (store->noted_len == store->noted_cap) {
		store->noted_cap = store->noted_cap ? store->noted_cap * 2 : FIRST_CAPACITY;
		store->noted = xreallocarray(store->noted, store->noted_cap, sizeof(*store->noted));
	}
	store->noted[store->noted_len++] = stored;
	pthread_mutex_unlock(&store->noted_lock);
}

static void forget_unpacked(struct informer_store *store, const struct stored *stored)
{
	pthread_mutex_lock(&store->noted_lock);
	for (size_t i = store->noted_len; i--;)
		if (store->noted[i] == stored) {
			store->noted[i] = store->noted[--store->noted_len];
			break;
		}
	pthread_mutex_unlock(&store->noted_lock);
}

/* Keeps the object as structs, where there is room; a store that packs nothing always has. Takes a reference of its own. */
static void keep(struct informer_store *store, struct stored *stored, const void *object)
{
	void *none = NULL;
	if (stored->model && atomic_load(&store->unpacked) >= UNPACKED_MAX)
		return;
	if (atomic_compare_exchange_strong(&stored->object, &none, api_ref(object))) {
		atomic_fetch_add(&store->unpacked, 1);
		if (stored->model)
			note_unpacked(store, stored);
	} else {
		api_unref(object);
	}
}

/* Returns whether it held any. */
static bool let_go_of(struct informer_store *store, struct stored *stored)
{
	void *object = atomic_exchange(&stored->object, NULL);
	if (object)
		atomic_fetch_sub(&store->unpacked, 1);
	api_unref(object);
	return object;
}

/* The lock is held for writing, unless nobody else knows of it. */
static void stored_free(struct informer_store *store, struct stored *stored)
{
	if (let_go_of(store, stored) && stored->model)
		forget_unpacked(store, stored);
	model_unref(store, stored->model);
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
	*store = (struct informer_store){.packed = packed, .models = MAP_INIT(NULL), .swept_ns = clock_monotonic_ns()};
	pthread_rwlock_init(&store->lock, NULL);
	pthread_mutex_init(&store->noted_lock, NULL);
	informer_store_add_index(store, INFORMER_INDEX_NAMESPACE, index_by_namespace);
}

void informer_store_done(struct informer_store *store)
{
	for (size_t i = 0; i < store->index_count; i++)
		map_done(&store->indexes[i].values);
	for (size_t i = 0; i < store->objects.cap; i++)
		if (store->objects.slots[i])
			stored_free(store, store->objects.slots[i]);
	free(store->objects.slots);
	map_done(&store->models);
	free(store->noted);
	pthread_mutex_destroy(&store->noted_lock);
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
	stored_free(store, stored);
	return old;
}

/* Nothing but the object changes: the entry stays where it is, and in the index of its namespace. Frees the fresh one. Returns the object it held. */
static void *exchange(struct informer_store *store, struct stored *there, struct stored *fresh)
{
	void *old = atomic_load(&there->object), *object = atomic_load(&fresh->object);
	for (size_t i = 1; i < store->index_count; i++) {
		struct emit emit = {.index = &store->indexes[i], .stored = there, .remove = true};
		store->indexes[i].fn(old, emit_value, &emit);
		emit.remove = false;
		store->indexes[i].fn(object, emit_value, &emit);
	}
	atomic_store(&there->object, object);
	atomic_store(&fresh->object, old);
	there->version = fresh->version;
	atomic_store(&there->used_s, fresh->used_s);
	old = api_ref(old);
	stored_free(store, fresh);
	return old;
}

static void *put(struct informer_store *store, struct stored *fresh, const void *object)
{
	pthread_rwlock_wrlock(&store->lock);
	struct stored *there = find(store, fresh->text);
	void *old = NULL;
	if (there && !there->model && !fresh->model) {
		old = exchange(store, there, fresh);
	} else {
		old = there ? take_out(store, there) : NULL;
		set_put(&store->objects, fresh, true);
		index_update(store, fresh, object, false);
	}
	pthread_rwlock_unlock(&store->lock);
	return old;
}

void *informer_store_put(struct informer_store *store, void *take_object)
{
	struct stored *fresh = stored_new(store, take_object);
	keep(store, fresh, take_object);
	void *old = put(store, fresh, take_object);
	api_unref(take_object);
	return old;
}

/* ---- what is to replace everything ---- */

void informer_batch_init(struct informer_batch *batch, struct informer_store *store)
{
	*batch = (struct informer_batch){.store = store};
}

void informer_batch_done(struct informer_batch *batch)
{
	pthread_rwlock_wrlock(&batch->store->lock);
	for (size_t i = 0; i < batch->fresh.cap; i++)
		if (batch->fresh.slots[i])
			stored_free(batch->store, batch->fresh.slots[i]);
	pthread_rwlock_unlock(&batch->store->lock);
	free(batch->fresh.slots);
	batch->fresh = (struct stored_set){0};
}

void informer_batch_add(struct informer_batch *batch, void *take_object)
{
	struct stored *fresh = stored_new(batch->store, take_object), *before = find_in(&batch->fresh, fresh->text);
	if (before) {
		set_remove(&batch->fresh, before, true);
		pthread_rwlock_wrlock(&batch->store->lock);
		stored_free(batch->store, before);
		pthread_rwlock_unlock(&batch->store->lock);
	}
	if (!fresh->model)
		keep(batch->store, fresh, take_object);
	set_put(&batch->fresh, fresh, true);
	api_unref(take_object);
}

bool informer_batch_next_gone(struct informer_batch *batch, void **ret_old)
{
	struct informer_store *store = batch->store;
	pthread_rwlock_wrlock(&store->lock);
	struct stored *gone = NULL;
	while (!gone && batch->at < store->objects.cap) {
		struct stored *stored = store->objects.slots[batch->at];
		if (stored && !find_in(&batch->fresh, stored->text))
			gone = stored; /* another may take its place here: the same place is looked at again */
		else
			batch->at++;
	}
	size_t cap = store->objects.cap;
	if (gone)
		*ret_old = take_out(store, gone);
	if (store->objects.cap != cap)
		batch->at = 0;
	pthread_rwlock_unlock(&store->lock);
	return gone;
}

bool informer_batch_next_put(struct informer_batch *batch, void **ret_old, void **ret_object)
{
	struct informer_store *store = batch->store;
	while (batch->put_at < batch->fresh.cap) {
		/* Its place is left empty: the set is only walked from here on. */
		struct stored **slot = &batch->fresh.slots[batch->put_at++], *fresh = take_ptr(*slot);
		if (!fresh)
			continue;
		pthread_rwlock_wrlock(&store->lock);
		struct stored *there = find(store, fresh->text);
		bool same = there && there->version && there->version == fresh->version;
		if (same)
			stored_free(store, fresh);
		pthread_rwlock_unlock(&store->lock);
		if (same)
			continue;
		*ret_object = unpack(store, fresh);
		*ret_old = put(store, fresh, *ret_object);
		return true;
	}
	return false;
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
	void *object = unpack(store, stored);
	/* Of several who unpack at once the first one's is kept; nobody clears it while we hold the lock. */
	if (!atomic_load(&stored->object))
		keep(store, stored, object);
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

void informer_store_each(struct informer_store *store, void (*fn)(void *object, void *arg), void *arg)
{
	void *some[EACH_AT_ONCE];
	for (size_t at = 0, len = 1; len;) {
		len = 0;
		pthread_rwlock_rdlock(&store->lock);
		for (; at < store->objects.cap && len < EACH_AT_ONCE; at++)
			if (store->objects.slots[at])
				some[len++] = unpack(store, store->objects.slots[at]);
		pthread_rwlock_unlock(&store->lock);
		for (size_t i = 0; i < len; i++) {
			fn(some[i], arg);
			api_unref(some[i]);
		}
	}
}

static void let_go(struct informer_store *store, uint32_t idle_s)
{
	uint32_t now = now_s();
	size_t count = 0;
	pthread_rwlock_wrlock(&store->lock);
	__atomic_store_n(&store->swept_ns, clock_monotonic_ns(), __ATOMIC_RELAXED);
	pthread_mutex_lock(&store->noted_lock);
	for (size_t i = store->noted_len; i--;) {
		struct stored *stored = store->noted[i];
		if (now - stored->used_s < idle_s)
			continue;
		store->noted[i] = store->noted[--store->noted_len];
		let_go_of(store, stored);
		count++;
	}
	pthread_mutex_unlock(&store->noted_lock);
	pthread_rwlock_unlock(&store->lock);
	if (count >= TRIM_AFTER)
		heap_trim();
}

void informer_store_tidy(struct informer_store *store)
{
	if (store->packed && atomic_load(&store->unpacked) && clock_monotonic_ns() - __atomic_load_n(&store->swept_ns, __ATOMIC_RELAXED) >= STORE_IDLE_S * NSEC_PER_SEC / 2)
		let_go(store, STORE_IDLE_S);
}

void informer_store_pack(struct informer_store *store)
{
	if (!store->packed)
		return;
	let_go(store, 0);
	heap_trim();
}

size_t informer_store_unpacked(struct informer_store *store)
{
	return atomic_load(&store->unpacked);
}

size_t informer_store_packed_bytes(struct informer_store *store)
{
	size_t sum = 0;
	pthread_rwlock_rdlock(&store->lock);
	for (size_t i = 0; i < store->objects.cap; i++) {
		const struct stored *stored = store->objects.slots[i];
		if (stored && stored->model)
			sum += stored->delta_len + stored->model->len / stored->model->users;
	}
	pthread_rwlock_unlock(&store->lock);
	return sum;
}

void informer_list_done(struct informer_list *list)
{
	for (size_t i = 0; i < list->len; i++)
		api_unref(list->items[i]);
	free(list->items);
	*list = (struct informer_list){0};
}
