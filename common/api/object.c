/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Root objects: a hidden header, then the generated struct.
 *
 *	arena: [ object_header | struct core_v1_pod ... ] strings, lists, ...
 *	                       ^ what callers hold
 */
#include "api/meta_v1.h"
#include "common/api/codec.h"
#include "common/base/map.h"

#include <stdatomic.h>

/* The key text; replaced ones stay until the object goes, since callers may still hold them. */
struct key_text {
	struct key_text *older;
	char text[];
};

struct object_header {
	const struct api_type *type;
	struct arena *arena;
	_Atomic(struct key_text *) key;
	atomic_uint refs;
	unsigned magic;
} __attribute__((aligned(16)));

#define OBJECT_MAGIC 0x0b1ec7u

static struct object_header *header_of(const void *object) {
	struct object_header *header = (struct object_header *)(uintptr_t)object - 1;
	if (header->magic != OBJECT_MAGIC)
		abort(); /* not a root object */
	return header;
}

static void *new_in(struct arena *arena, const struct api_type *type) {
	struct object_header *header = arena_alloc(arena, sizeof(*header) + type->size);
	header->type = type;
	header->arena = arena;
	header->magic = OBJECT_MAGIC;
	atomic_init(&header->refs, 1);
	return header + 1;
}

void *api_new_bare(const struct api_type *type) {
	return new_in(arena_new(), type);
}

void *api_new_bare_sized(const struct api_type *type, size_t content) {
	return new_in(arena_new_sized(sizeof(struct object_header) + type->size + content), type);
}

void *api_new(const struct api_type *type) {
	void *object = api_new_bare(type);
	if (type->is_kind && type->kind) {
		struct arena *arena = api_arena(object);
		const char **head = object; /* kind, apiVersion */
		head[0] = type->kind;
		head[1] = str_empty(type->group) ? type->version : arena_printf(arena, "%s/%s", type->group, type->version);
	}
	return object;
}

void *api_ref(const void *object) {
	struct object_header *header = header_of(object);
	atomic_fetch_add_explicit(&header->refs, 1, memory_order_relaxed);
	return header + 1;
}

void api_unref(const void *object) {
	if (!object)
		return;
	struct object_header *header = header_of(object);
	if (atomic_fetch_sub_explicit(&header->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (struct key_text *key = atomic_load(&header->key), *older; key; key = older) {
		older = key->older;
		free(key);
	}
	header->magic = 0;
	arena_free(header->arena);
}

struct arena *api_arena(const void *object) {
	return header_of(object)->arena;
}

const struct api_type *api_type_of(const void *object) {
	return header_of(object)->type;
}

struct meta_v1_object_meta *api_metadata(const void *object) {
	const struct api_type *type = api_type_of(object);
	if (!type->is_kind || type->field_count < 3 || type->fields[2].type != &meta_v1_object_meta_type)
		return NULL;
	return (struct meta_v1_object_meta *)((char *)(uintptr_t)object + type->fields[2].offset);
}

void *api_copy(const void *object) {
	const struct api_type *type = api_type_of(object);
	void *copy = api_new_bare(type);
	api_copy_value(type, copy, object, api_arena(copy));
	return copy;
}

void *api_copy_compact(const void *object) {
	const struct api_type *type = api_type_of(object);
	/* In another order, texts and what must be aligned leave other gaps. */
	size_t used = arena_used(api_arena(object)), gaps = used / 32 + 64;
	void *copy = new_in(arena_new_sized(used + gaps), type);
	api_copy_value(type, copy, object, api_arena(copy));
	return copy;
}

static bool key_is(const struct key_text *key, const char *ns, const char *name) {
	const char *text = key->text;
	size_t ns_len = ns ? strlen(ns) : 0;
	if (ns_len) {
		if (strncmp(text, ns, ns_len) || text[ns_len] != '/')
			return false;
		text += ns_len + 1;
	}
	return !strcmp(text, name);
}

const char *api_key(const void *object) {
	struct object_header *header = header_of(object);
	const struct meta_v1_object_meta *meta = api_metadata(object);
	if (!meta)
		return "";
	const char *ns = str_or(meta->namespace, ""), *name = str_or(meta->name, "");
	struct key_text *have = atomic_load_explicit(&header->key, memory_order_acquire);
	if (have && key_is(have, ns, name))
		return have->text;
	size_t ns_len = strlen(ns), name_len = strlen(name);
	struct key_text *key = xcalloc(1, sizeof(*key) + ns_len + name_len + 2);
	if (ns_len) {
		memcpy(key->text, ns, ns_len);
		key->text[ns_len++] = '/';
	}
	memcpy(key->text + ns_len, name, name_len);
	/* Threads that share the object make the same text; whoever loses the race leaves it as an older one. */
	do
		key->older = have;
	while (!atomic_compare_exchange_weak(&header->key, &have, key));
	return key->text;
}
