/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An entry is one block of memory: the struct, its strings, its labels and fields; and the object's bytes, which it shares with
 * whoever sends them. Names of fields are shared by all entries of a collection.
 */
#include "apiserver/storage/internal.h"

#include "common/base/arena.h"

#include <errno.h>

#define ENCODING_LOCKS 64

struct encodings {
	struct bytes *bytes[ENTRY_ENCODINGS];
	bool used[ENTRY_ENCODINGS]; /* since the last sweep */
};

/*
 *  stored | label pairs | field pairs | path NUL | ns NUL | uid NUL | label texts | field values
 */
struct stored {
	struct entry entry;
	struct encodings *encodings; /* under its encoding_lock */
	uint32_t load_mark;
	uint32_t path_offset;
	uint32_t mark; /* of the store's transform */
	bool foreign;  /* was translated */
};

static pthread_mutex_t encoding_locks[ENCODING_LOCKS] = {[0 ... ENCODING_LOCKS - 1] = PTHREAD_MUTEX_INITIALIZER};

static pthread_mutex_t *encoding_lock(const struct entry *entry)
{
	return &encoding_locks[((uintptr_t)entry >> 6) % ENCODING_LOCKS];
}

struct entry *entry_ref(struct entry *entry)
{
	if (entry)
		__atomic_add_fetch(&entry->refs, 1, __ATOMIC_RELAXED);
	return entry;
}

void entry_unref(struct entry *entry)
{
	struct stored *stored = (struct stored *)entry;

	if (!entry || __atomic_sub_fetch(&entry->refs, 1, __ATOMIC_ACQ_REL) != 0)
		return;
	if (stored->encodings) {
		for (size_t i = 0; i < ENTRY_ENCODINGS; i++)
			bytes_unref(stored->encodings->bytes[i]);
		free(stored->encodings);
	}
	bytes_unref(entry->json);
	free(stored);
}

const char *entry_path(const struct entry *entry)
{
	return (const char *)entry + ((const struct stored *)entry)->path_offset;
}

uint32_t entry_mark(const struct entry *entry)
{
	return ((const struct stored *)entry)->mark;
}

bool entry_is_foreign(const struct entry *entry)
{
	return ((const struct stored *)entry)->foreign;
}

uint32_t entry_load_mark(const struct entry *entry)
{
	return ((const struct stored *)entry)->load_mark;
}

void entry_set_load_mark(struct entry *entry, uint32_t mark)
{
	((struct stored *)entry)->load_mark = mark;
}

/* ---- marks ---- */

static uint64_t hash_text(uint64_t hash, const char *text)
{
	while (*text)
		hash = (hash ^ (unsigned char)*text++) * 0x100000001b3ull;
	return hash;
}

/* The upper bits of the product depend on all of the text. */
static uint64_t mark_of(uint64_t hash)
{
	return 1ull << (hash * 0x9e3779b97f4a7c15ull >> 58);
}

uint64_t entry_label_mark(const char *key, const char *value)
{
	uint64_t hash = hash_text(0xcbf29ce484222325ull, key);

	return mark_of(hash) | (value ? mark_of(hash_text((hash ^ '=') * 0x100000001b3ull, value)) : 0);
}

uint64_t entry_field_mark(const char *key, const char *value)
{
	/* Names and namespaces are looked up by the key. */
	return *value && !str_starts_with(key, "metadata.") ? mark_of(hash_text(hash_text(0x84222325cbf29ce4ull, key) * 0x100000001b3ull, value)) : 0;
}

uint64_t entry_marks(const struct entry *entry)
{
	uint64_t marks = 0;

	for (uint32_t i = 0; i < entry->labels.len; i++)
		marks |= entry_label_mark(entry->labels.items[i].key, entry->labels.items[i].value);
	for (uint32_t i = 0; i < entry->fields.len; i++)
		marks |= entry_field_mark(entry->fields.items[i].key, entry->fields.items[i].value);
	return marks;
}

/* ---- building ---- */

struct pair {
	const char *key, *value; /* NUL terminated, in the scratch arena or static */
	bool key_shared, value_shared; /* need no place in the block */
};
struct pairs {
	struct pair *items;
	size_t len, cap;
};

static void pairs_add(struct arena *arena, struct pairs *pairs, const char *key, const char *value)
{
	if (pairs->len == pairs->cap) {
		size_t cap = pairs->cap ? pairs->cap * 2 : 16;
		struct pair *items = arena_calloc(arena, cap, sizeof(*items));
		if (pairs->len)
			memcpy(items, pairs->items, pairs->len * sizeof(*items));
		pairs->items = items;
		pairs->cap = cap;
	}
	pairs->items[pairs->len++] = (struct pair){.key = key, .value = value};
}

static int compare_pairs(const void *a, const void *b)
{
	return strcmp(((const struct pair *)a)->key, ((const struct pair *)b)->key);
}

static void pairs_sort(struct pairs *pairs)
{
	if (pairs->len > 1)
		qsort(pairs->items, pairs->len, sizeof(*pairs->items), compare_pairs);
}

static const char *unescape(struct arena *arena, struct scan_string string)
{
	char *out = arena_alloc(arena, string.len + 1);

	scan_unescape(string, out);
	return out;
}

static void collect_labels(struct arena *arena, const char *labels, const char *end, struct pairs *ret)
{
	struct scan_string key, value;

	while (labels && scan_next_label(&labels, end, &key, &value))
		pairs_add(arena, ret, unescape(arena, key), unescape(arena, value));
	pairs_sort(ret);
}

/* Place of the collection's own copy of a field's name; COLLECTION_FIELD_KEYS where it has too many already. */
static size_t shared_field_key(struct collection *collection, const char *key)
{
	for (size_t i = 0; i < collection->field_key_count; i++) {
		if (strcmp(collection->field_keys[i], key) == 0)
			return i;
	}
	if (collection->field_key_count == COLLECTION_FIELD_KEYS)
		return COLLECTION_FIELD_KEYS;
	collection->field_keys[collection->field_key_count] = xstrdup(key);
	return collection->field_key_count++;
}

/* Many fields have a handful of values ("Always", "false", "default-scheduler"): the first few of each are kept once. NULL where this is none of them. */
static const char *shared_field_value(struct collection *collection, size_t key, const char *value)
{
	char **values = collection->field_values[key];

	for (size_t i = 0; i < COLLECTION_FIELD_VALUES; i++) {
		if (!values[i])
			return values[i] = xstrdup(value);
		if (strcmp(values[i], value) == 0)
			return values[i];
	}
	return NULL;
}

static void collect_fields(struct collection *collection, const struct bytes *json, const char *ns, const char *name, struct arena *arena, struct pairs *ret)
{
	struct api_string_map map = {0};

	pairs_add(arena, ret, "metadata.name", name);
	if (collection->namespaced)
		pairs_add(arena, ret, "metadata.namespace", ns);
	if (collection->index)
		collection->index(json->data, json->len, arena, &map, collection->index_arg);
	for (uint32_t i = 0; i < map.len; i++) {
		if (!str_equal(map.items[i].key, "metadata.name") && !str_equal(map.items[i].key, "metadata.namespace"))
			pairs_add(arena, ret, map.items[i].key, map.items[i].value ? map.items[i].value : "");
	}
	for (size_t i = 0; i < ret->len; i++) {
		struct pair *pair = &ret->items[i];
		size_t place = shared_field_key(collection, pair->key);
		pair->key_shared = place < COLLECTION_FIELD_KEYS;
		pair->key = pair->key_shared ? collection->field_keys[place] : pair->key;
		pair->value_shared = pair->value == name || pair->value == ns || !*pair->value;
		const char *value = pair->key_shared && !pair->value_shared ? shared_field_value(collection, place, pair->value) : NULL;
		if (value) {
			pair->value = value;
			pair->value_shared = true;
		}
	}
	pairs_sort(ret);
}

/* Hands out pieces of the block behind the struct. */
static char *put_text(char **at, const char *text, size_t len)
{
	char *start = *at;

	memcpy(start, text, len);
	start[len] = '\0';
	*at += len + 1;
	return start;
}

static size_t pairs_size(const struct pairs *pairs)
{
	size_t size = pairs->len * sizeof(struct api_string_map_entry);

	for (size_t i = 0; i < pairs->len; i++) {
		const struct pair *pair = &pairs->items[i];
		size += (pair->value_shared ? 0 : strlen(pair->value) + 1) + (pair->key_shared ? 0 : strlen(pair->key) + 1);
	}
	return size;
}

static struct entry *build(struct collection *collection, const char *path, size_t path_len, struct bytes *take_json, uint64_t revision, uint64_t create_revision,
	const struct scan_object *object, const char *scanned, size_t scanned_len)
{
	autoarena struct arena *arena = arena_new();
	const char *key = path + collection->prefix_len;
	size_t key_len = path_len - collection->prefix_len;
	const char *slash = collection->namespaced ? memchr(key, '/', key_len) : NULL;
	const char *ns = slash ? arena_strndup(arena, key, (size_t)(slash - key)) : "";
	const char *name = slash ? arena_strndup(arena, slash + 1, (size_t)(key + key_len - slash - 1)) : arena_strndup(arena, key, key_len);
	const char *uid = object->uid.data ? unescape(arena, object->uid) : "";
	struct pairs labels = {0}, fields = {0};

	if (!collection->is_root) {
		collect_labels(arena, object->labels, scanned + scanned_len, &labels);
		collect_fields(collection, take_json, ns, name, arena, &fields);
	}
	size_t size = sizeof(struct stored) + pairs_size(&labels) + pairs_size(&fields) + path_len + 1 + (slash ? strlen(ns) + 1 : 0) + (*uid ? strlen(uid) + 1 : 0);
	struct stored *stored = xmalloc(size);
	*stored = (struct stored){.entry = {.refs = 1, .resource_version = revision, .create_revision = create_revision, .json = take_json}};
	struct entry *entry = &stored->entry;
	struct api_string_map_entry *pairs = (struct api_string_map_entry *)(stored + 1);
	char *at = (char *)(pairs + labels.len + fields.len), *path_copy;

	entry->labels = (struct api_string_map){pairs, (uint32_t)labels.len, (uint32_t)labels.len};
	entry->fields = (struct api_string_map){pairs + labels.len, (uint32_t)fields.len, (uint32_t)fields.len};
	path_copy = put_text(&at, path, path_len);
	stored->path_offset = (uint32_t)(path_copy - (char *)stored);
	entry->key = path_copy + collection->prefix_len;
	entry->ns = slash ? put_text(&at, ns, strlen(ns)) : "";
	entry->name = slash ? entry->key + (slash - key) + 1 : entry->key;
	entry->uid = *uid ? put_text(&at, uid, strlen(uid)) : "";
	for (size_t i = 0; i < labels.len; i++)
		pairs[i] = (struct api_string_map_entry){put_text(&at, labels.items[i].key, strlen(labels.items[i].key)), put_text(&at, labels.items[i].value, strlen(labels.items[i].value))};
	pairs += labels.len;
	for (size_t i = 0; i < fields.len; i++) {
		const struct pair *pair = &fields.items[i];
		pairs[i].key = pair->key_shared ? pair->key : put_text(&at, pair->key, strlen(pair->key));
		pairs[i].value = pair->value == name ? entry->name : pair->value == ns ? entry->ns : !*pair->value ? "" : pair->value_shared ? pair->value : put_text(&at, pair->value, strlen(pair->value));
	}
	return entry;
}

/*
 * glibc grows the heap of a thread by what the request at hand needs, with a system call for every few kilobytes: asked for more at once, and given back, it keeps
 * the pages for what comes next.
 */
static void grow_heap(size_t bytes)
{
	enum { STEP = 64 << 10 };
	static _Thread_local size_t since;

	since += bytes;
	if (since < STEP / 2)
		return;
	since = 0;
	free(xmalloc(STEP));
}

/* Makes the value at hand what was meant by it: unsealed, and JSON. Both buffers may be used. */
static int read_value(struct collection *collection, const char *path, size_t path_len, const char **value, size_t *len, struct buf *opened, struct buf *translated, uint32_t *ret_mark,
	struct error *err)
{
	int r = transform_open(collection, path, path_len, *value, *len, opened, ret_mark, err);

	if (r == 1) {
		*value = opened->data;
		*len = opened->len;
	}
	if (r < 0 || !collection->store->translate)
		return r;
	r = collection->store->translate(*value, *len, translated, err);
	if (r == 1) {
		*value = translated->data;
		*len = translated->len;
	}
	return r;
}

struct entry *entry_from_value(struct collection *collection, const char *path, size_t path_len, const char *value, size_t len, uint64_t revision, uint64_t create_revision, struct error *err)
{
	struct scan_object object;
	autobuf struct buf opened = BUF_INIT(ETCD_MAX_REQUEST), translated = BUF_INIT(ETCD_MAX_REQUEST);
	uint32_t mark = 0;

	if (path_len > UINT32_MAX / 2 || len > UINT32_MAX / 2 || read_value(collection, path, path_len, &value, &len, &opened, &translated, &mark, err) < 0)
		return NULL;
	if (scan_object(value, len, &object) < 0) {
		error_set(err, EINVAL, "the value is no object in JSON");
		return NULL;
	}
	grow_heap(len);
	struct entry *entry = build(collection, path, path_len, scan_splice(value, &object, revision), revision, create_revision, &object, value, len);
	((struct stored *)entry)->mark = mark;
	((struct stored *)entry)->foreign = translated.len > 0;
	return entry;
}

struct entry *entry_copy(struct collection *collection, const struct entry *entry, uint64_t revision)
{
	const struct bytes *json = entry->json;
	const char *path = entry_path(entry);
	struct scan_object object;

	if (scan_object(json->data, json->len, &object) < 0)
		return NULL; /* not reached: it was taken once */
	struct entry *copy = build(collection, path, strlen(path), revision ? scan_splice(json->data, &object, revision) : bytes_ref(entry->json), revision ? revision : entry->resource_version,
		entry->create_revision, &object, json->data, json->len);
	((struct stored *)copy)->mark = entry_mark(entry);
	((struct stored *)copy)->foreign = entry_is_foreign(entry);
	return copy;
}

/* ---- other encodings ---- */

struct bytes *entry_encoding(struct entry *entry, unsigned slot, struct bytes *(*make)(const struct entry *entry, void *arg), void *arg)
{
	struct stored *stored = (struct stored *)entry;
	pthread_mutex_t *lock = encoding_lock(entry);
	struct bytes *made, *found = NULL;

	if (slot >= ENTRY_ENCODINGS)
		return NULL;
	pthread_mutex_lock(lock);
	if (stored->encodings && stored->encodings->bytes[slot]) {
		stored->encodings->used[slot] = true;
		found = bytes_ref(stored->encodings->bytes[slot]);
	}
	pthread_mutex_unlock(lock);
	if (found)
		return found;
	made = make(entry, arg);
	if (!made)
		return NULL;
	pthread_mutex_lock(lock);
	if (!stored->encodings)
		stored->encodings = xnew(struct encodings);
	/* Somebody else may have been as fast; then theirs stays. */
	if (!stored->encodings->bytes[slot])
		stored->encodings->bytes[slot] = bytes_ref(made);
	stored->encodings->used[slot] = true;
	pthread_mutex_unlock(lock);
	return made;
}

void entry_sweep_encodings(struct entry *entry)
{
	struct stored *stored = (struct stored *)entry;
	pthread_mutex_t *lock = encoding_lock(entry);
	bool any = false;

	pthread_mutex_lock(lock);
	for (size_t i = 0; stored->encodings && i < ENTRY_ENCODINGS; i++) {
		if (!stored->encodings->used[i])
			stored->encodings->bytes[i] = bytes_unref(stored->encodings->bytes[i]);
		stored->encodings->used[i] = false;
		any = any || stored->encodings->bytes[i];
	}
	if (!any) {
		free(stored->encodings);
		stored->encodings = NULL;
	}
	pthread_mutex_unlock(lock);
}
