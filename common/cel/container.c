/* SPDX-License-Identifier: Apache-2.0 */
/* Lists and maps: built ones, which share what they begin with, and JSON, which is looked at only where it is asked for. */
#include "common/cel/internal.h"
#include "common/base/clock.h"
#include "common/base/map.h"
#include "common/base/random.h"

#include <math.h>

/* ---- lists ---- */

static struct cel_value list_value(struct cel_run *run, struct list_store *store, size_t len) {
	struct cel_list *list = run_alloc(run, sizeof(*list));
	list->store = store;
	list->len = len;
	return (struct cel_value){.kind = CEL_LIST, .list = list};
}

struct cel_value list_new(struct cel_run *run, size_t cap) {
	struct list_store *store = run_alloc(run, sizeof(*store));
	store->items = cap && cap <= MAX_ELEMENTS ? run_alloc(run, cap * sizeof(*store->items)) : NULL;
	store->cap = store->items ? cap : 0;
	return list_value(run, store, 0);
}

static bool store_push(struct cel_run *run, struct list_store *store, struct cel_value item) {
	if (store->used == store->cap) {
		size_t cap = store->cap ? store->cap * 2 : 4;
		struct cel_value *items = cap > MAX_ELEMENTS * 2 ? NULL : run_alloc(run, cap * sizeof(*items));
		if (!items) {
			exceeded(run);
			return false;
		}
		if (store->used)
			memcpy(items, store->items, store->used * sizeof(*items));
		store->items = items;
		store->cap = cap;
	}
	store->items[store->used++] = item;
	return true;
}

void list_push(struct cel_run *run, struct cel_value *list, struct cel_value item) {
	struct cel_list *l = (struct cel_list *)list->list;
	if (store_push(run, l->store, item))
		l->len++;
}

struct cel_value list_get(struct cel_run *run, const struct cel_list *list, size_t i) {
	if (list->store)
		return list->store->items[i];
	return cel_from_json(run, json_array_get(list->json, i), list->type ? list->type->params[0] : NULL);
}

/* Those that begin with all that a store holds go on in it, so that a fold that adds one item at a time is linear. */
static struct cel_value append(struct cel_run *run, const struct cel_list *a, const struct cel_list *b) {
	struct cel_value ret;
	if (a->len + b->len > MAX_ELEMENTS)
		return exceeded(run);
	if (a->store && a->store->used == a->len) {
		ret = list_value(run, a->store, a->len);
	} else {
		ret = list_new(run, a->len + b->len);
		for (size_t i = 0; i < a->len; i++)
			list_push(run, &ret, list_get(run, a, i));
	}
	for (size_t i = 0, len = b->len; i < len && !run->exceeded; i++)
		list_push(run, &ret, list_get(run, b, i));
	return ret;
}

/* The members of b that are in a already by their keys take their place; all others follow. */
static struct cel_value merge(struct cel_run *run, const struct cel_list *a, const struct cel_list *b) {
	const struct cel_type *type = a->type;
	struct cel_value ret = list_new(run, a->len + b->len);
	for (size_t i = 0; i < a->len; i++)
		list_push(run, &ret, list_get(run, a, i));
	for (size_t k = 0; k < b->len; k++) {
		struct cel_value item = list_get(run, b, k);
		bool placed = false;
		for (size_t i = 0; i < ret.list->len && !placed; i++) {
			struct cel_value *have = &ret.list->store->items[i];
			if (type->list_type == CEL_LIST_SET) {
				placed = value_equal(run, have, &item);
				continue;
			}
			bool same = have->kind == CEL_MAP && item.kind == CEL_MAP && have->map->json && item.map->json;
			for (const char *const *key = type->list_keys; same && key && *key; key++) {
				json_t *x = json_object_get(have->map->json, *key), *y = json_object_get(item.map->json, *key);
				same = x && y ? json_equal(x, y) : x == y;
			}
			if (same) {
				*have = item;
				placed = true;
			}
		}
		if (!placed)
			list_push(run, &ret, item);
	}
	return ret;
}

struct cel_value list_concat(struct cel_run *run, const struct cel_value *a, const struct cel_value *b) {
	const struct cel_type *type = a->list->type;
	if (type && type->list_type != CEL_LIST_PLAIN) {
		/* Compares each with each. */
		uint64_t pairs = (uint64_t)a->list->len * b->list->len / 10;
		if (pairs > run->limit - min_of(run->cost, run->limit))
			return exceeded(run);
		return merge(run, a->list, b->list);
	}
	if (!b->list->len)
		return *a;
	if (!a->list->len)
		return *b;
	return append(run, a->list, b->list);
}

/* ---- maps ---- */

static bool is_key(const struct cel_value *v) {
	return v->kind == CEL_STRING || v->kind == CEL_INT || v->kind == CEL_UINT || v->kind == CEL_BOOL || v->kind == CEL_DOUBLE;
}

/* Keys that are equal hash alike: whole numbers of any type. */
static uint64_t key_hash(const struct cel_value *v) {
	int64_t i = v->i;
	switch (v->kind) {
	case CEL_STRING:
		return hash_bytes(v->s, v->len);
	case CEL_BOOL:
		return hash_bytes(&v->b, sizeof(v->b));
	case CEL_DOUBLE:
		i = fabs(v->d) < 0x1p63 ? (int64_t)v->d : 0;
		break;
	default:
		break;
	}
	return hash_bytes(&i, sizeof(i));
}

static bool same_key(const struct cel_value *a, const struct cel_value *b) {
	if (a->kind == CEL_STRING || b->kind == CEL_STRING)
		return a->kind == b->kind && a->len == b->len && memcmp(a->s, b->s, a->len) == 0;
	return value_equal(NULL, a, b);
}

#define INDEX_FROM 8u

static void store_index(struct cel_run *run, struct map_store *store) {
	size_t cap = 32;
	while (cap < store->cap * 2)
		cap *= 2;
	uint32_t *index = run_alloc(run, cap * sizeof(*index));
	store->index = index;
	store->index_cap = index ? cap : 0;
	for (size_t i = 0; index && i < store->used; i++) {
		size_t slot = key_hash(&store->keys[i]) & (cap - 1);
		while (index[slot])
			slot = (slot + 1) & (cap - 1);
		index[slot] = (uint32_t)i + 1;
	}
}

static bool store_find(const struct map_store *store, size_t len, const struct cel_value *key, size_t *ret) {
	if (!store->index) {
		for (size_t i = 0; i < len; i++)
			if (same_key(&store->keys[i], key)) {
				*ret = i;
				return true;
			}
		return false;
	}
	for (size_t slot = key_hash(key) & (store->index_cap - 1); store->index[slot]; slot = (slot + 1) & (store->index_cap - 1)) {
		size_t i = store->index[slot] - 1;
		if (i < len && same_key(&store->keys[i], key)) {
			*ret = i;
			return true;
		}
	}
	return false;
}

static struct cel_value map_value(struct cel_run *run, struct map_store *store, size_t len) {
	struct cel_map *map = run_alloc(run, sizeof(*map));
	map->store = store;
	map->len = len;
	return (struct cel_value){.kind = CEL_MAP, .map = map};
}

struct cel_value map_new(struct cel_run *run) {
	return map_value(run, run_alloc(run, sizeof(struct map_store)), 0);
}

static bool store_add(struct cel_run *run, struct map_store *store, struct cel_value key, struct cel_value value) {
	if (store->used == store->cap) {
		size_t cap = store->cap ? store->cap * 2 : 4;
		struct cel_value *keys = cap > MAX_ELEMENTS ? NULL : run_alloc(run, 2 * cap * sizeof(*keys));
		if (!keys) {
			exceeded(run);
			return false;
		}
		struct cel_value *values = keys + cap;
		if (store->used) {
			memcpy(keys, store->keys, store->used * sizeof(*keys));
			memcpy(values, store->values, store->used * sizeof(*values));
		}
		store->keys = keys;
		store->values = values;
		store->cap = cap;
		store->index = NULL;
	}
	store->keys[store->used] = key;
	store->values[store->used++] = value;
	if (store->used <= INDEX_FROM)
		return true;
	if (!store->index) {
		store_index(run, store);
		return true;
	}
	size_t slot = key_hash(&key) & (store->index_cap - 1);
	while (store->index[slot])
		slot = (slot + 1) & (store->index_cap - 1);
	store->index[slot] = (uint32_t)store->used;
	return true;
}

bool map_put(struct cel_run *run, struct cel_value *map, struct cel_value key, struct cel_value value) {
	struct cel_map *m = (struct cel_map *)map->map;
	size_t i;
	if (!is_key(&key))
		return false;
	if (store_find(m->store, m->len, &key, &i))
		m->store->values[i] = value;
	else if (store_add(run, m->store, key, value))
		m->len++;
	return true;
}

struct cel_value map_with(struct cel_run *run, const struct cel_value *map, struct cel_value key, struct cel_value value) {
	const struct cel_map *m = map->map;
	struct cel_value found;
	if (!is_key(&key)) {
		autobuf struct buf text = BUF_INIT(BUF_MAX_DEFAULT);
		cel_type_append(value_type(&key), &text);
		return cel_fail(run, "unsupported key type: %s", text.data);
	}
	if (map_find(run, m, &key, &found)) {
		autobuf struct buf text = BUF_INIT(BUF_MAX_DEFAULT);
		value_append(run, &key, &text);
		return cel_fail(run, "insert failed: key %s already exists", text.data ? text.data : "");
	}
	struct map_store *store = m->store;
	if (!store || store->used != m->len) {
		/* Another map goes on where this one ends, or it is JSON. */
		struct cel_value keys = map_keys(run, m);
		store = run_alloc(run, sizeof(*store));
		for (size_t i = 0; i < keys.list->len; i++) {
			struct cel_value k = list_get(run, keys.list, i);
			map_find(run, m, &k, &found);
			if (!store_add(run, store, k, found))
				return exceeded(run);
		}
	}
	if (!store_add(run, store, key, value))
		return exceeded(run);
	return map_value(run, store, store->used);
}

static const struct cel_type *member_type(const struct cel_type *type, const char *key) {
	if (!type)
		return NULL;
	if (type->kind == CEL_MAP)
		return type->params[1];
	for (unsigned i = 0; i < type->field_count; i++)
		if (strcmp(type->fields[i].key, key) == 0)
			return type->fields[i].type;
	return NULL;
}

static bool json_find(struct cel_run *run, const struct cel_map *map, const struct cel_value *key, struct cel_value *ret) {
	char text[256];
	if (key->kind != CEL_STRING || memchr(key->s, 0, key->len))
		return false;
	const struct cel_type *type = NULL;
	autofree char *heap = key->len < sizeof(text) ? NULL : xstrndup(key->s, key->len);
	const char *name = heap ? heap : text;
	if (!heap) {
		memcpy(text, key->s, key->len);
		text[key->len] = '\0';
	}
	if (map->type && map->type->kind == CEL_OBJECT) {
		/* Names of an expression and of JSON may differ: some are escaped. */
		const struct cel_field *field;
		if (!field_of(map->type, name, &field) || !field)
			return false;
		type = field->type;
		json_t *value = json_object_get(map->json, field->key);
		if (!value)
			return false;
		*ret = cel_from_json(run, value, type);
		return true;
	}
	json_t *value = json_object_get(map->json, name);
	if (!value)
		return false;
	*ret = cel_from_json(run, value, member_type(map->type, name));
	return true;
}

bool map_find(struct cel_run *run, const struct cel_map *map, const struct cel_value *key, struct cel_value *ret) {
	size_t i;
	if (map->get) {
		const char *field = key->kind == CEL_STRING ? value_cstr(run, key) : NULL;
		return field && map->get(run, map->arg, field, ret);
	}
	if (!map->store)
		return json_find(run, map, key, ret);
	if (!is_key(key) || !store_find(map->store, map->len, key, &i))
		return false;
	*ret = map->store->values[i];
	return true;
}

size_t map_size(const struct cel_map *map) {
	return map->store ? map->len : json_object_size(map->json);
}

struct cel_value map_keys(struct cel_run *run, const struct cel_map *map) {
	struct cel_value keys = list_new(run, map_size(map));
	const char *key;
	json_t *member;
	for (size_t i = 0; map->store && i < map->len; i++)
		list_push(run, &keys, map->store->keys[i]);
	if (map->json)
		json_object_foreach(map->json, key, member)
			list_push(run, &keys, VALUE_STRING(key, strlen(key)));
	return keys;
}

struct cel_value cel_lazy(struct cel_run *run, cel_lazy_get *get, void *arg) {
	struct cel_map *map = run_alloc(run, sizeof(*map));
	map->get = get;
	map->arg = arg;
	return (struct cel_value){.kind = CEL_OBJECT, .map = map};
}

/* ---- JSON ---- */

static struct cel_value bytes_from(struct cel_run *run, json_t *json) {
	uint8_t *data = NULL;
	size_t len = 0;
	if (base64_decode(json_string_value(json), json_string_length(json), MAX_STRING, &data, &len) < 0)
		return cel_fail(run, "illegal base64 data");
	struct cel_value value = cel_from_string(run, (const char *)data, len);
	free(data);
	if (value.kind == CEL_STRING)
		value.kind = CEL_BYTES;
	return value;
}

static struct cel_value string_from(struct cel_run *run, json_t *json, const struct cel_type *type) {
	const char *s = json_string_value(json);
	size_t len = json_string_length(json);
	struct cel_value value = VALUE_STRING(s, len);
	int64_t ns;
	if (!type)
		return value;
	if (type->kind == CEL_TIMESTAMP) {
		autofree char *text = type->date_only ? xprintf("%.*sT00:00:00Z", (int)min_of(len, (size_t)10), s) : xstrndup(s, len);
		return time_parse(text, strlen(text), &value) ? value : cel_fail(run, "Invalid timestamp %s", text);
	}
	if (type->kind == CEL_DURATION)
		return duration_parse(s, len, &ns) == 0 ? VALUE_DURATION(ns) : cel_fail(run, "Invalid duration %.*s", (int)len, s);
	return type->kind == CEL_BYTES ? bytes_from(run, json) : value;
}

struct cel_value cel_from_json(struct cel_run *run, json_t *json, const struct cel_type *type) {
	struct cel_list *list;
	struct cel_map *map;
	switch (json ? json_typeof(json) : JSON_NULL) {
	case JSON_OBJECT:
		map = run_alloc(run, sizeof(*map));
		map->json = json;
		map->type = type && (type->kind == CEL_MAP || (type->kind == CEL_OBJECT && !type->any_field)) ? type : NULL;
		map->len = json_object_size(json);
		return (struct cel_value){.kind = CEL_MAP, .map = map};
	case JSON_ARRAY:
		list = run_alloc(run, sizeof(*list));
		list->json = json;
		list->type = type && type->kind == CEL_LIST ? type : NULL;
		list->len = json_array_size(json);
		return (struct cel_value){.kind = CEL_LIST, .list = list};
	case JSON_STRING:
		return string_from(run, json, type);
	case JSON_INTEGER:
		return type && type->kind == CEL_DOUBLE ? VALUE_DOUBLE((double)json_integer_value(json)) : VALUE_INT(json_integer_value(json));
	case JSON_REAL:
		if (type && type->kind == CEL_INT && fabs(json_real_value(json)) < 0x1p63 && floor(json_real_value(json)) == json_real_value(json))
			return VALUE_INT((int64_t)json_real_value(json));
		return VALUE_DOUBLE(json_real_value(json));
	case JSON_TRUE:
	case JSON_FALSE:
		return VALUE_BOOL(json_is_true(json));
	default:
		return VALUE_NULL;
	}
}

#define MAX_JSON_DEPTH 500u

static json_t *to_json(const struct cel_value *v, unsigned depth);

static json_t *list_to_json(const struct cel_value *v, unsigned depth) {
	if (v->list->json)
		return json_deep_copy(v->list->json);
	json_t *array = json_array();
	for (size_t i = 0; array && i < v->list->len; i++) {
		json_t *item = to_json(&v->list->store->items[i], depth + 1);
		if (!item || json_array_append_new(array, item) < 0) {
			json_decref(array);
			array = NULL;
		}
	}
	return array;
}

static json_t *map_to_json(const struct cel_value *v, unsigned depth) {
	const struct cel_map *map = v->map;
	if (map->get)
		return NULL;
	if (!map->store)
		return json_deep_copy(map->json);
	json_t *object = json_object();
	for (size_t i = 0; object && i < map->len; i++) {
		const struct cel_value *key = &map->store->keys[i];
		json_t *item = key->kind == CEL_STRING && !memchr(key->s, 0, key->len) ? to_json(&map->store->values[i], depth + 1) : NULL;
		autofree char *name = key->kind == CEL_STRING ? xstrndup(key->s, key->len) : NULL;
		if (!item || json_object_set_new(object, name, item) < 0) {
			json_decref(object);
			object = NULL;
		}
	}
	return object;
}

static json_t *to_json(const struct cel_value *v, unsigned depth) {
	autobuf struct buf text = BUF_INIT(BUF_MAX_DEFAULT);
	char time[64];
	if (depth > MAX_JSON_DEPTH)
		return NULL;
	switch (v->kind) {
	case CEL_NULL:
		return json_null();
	case CEL_BOOL:
		return json_boolean(v->b);
	case CEL_INT:
		return json_integer(v->i);
	case CEL_UINT:
		return v->u > INT64_MAX ? NULL : json_integer((json_int_t)v->u);
	case CEL_DOUBLE:
		return json_real(v->d);
	case CEL_STRING:
		return json_stringn(v->s, v->len);
	case CEL_BYTES:
		buf_append_base64(&text, v->s, v->len);
		return json_string(text.data ? text.data : "");
	case CEL_TIMESTAMP:
		time_format_rfc3339_nano((struct wall_time){v->sec, v->nsec}, time);
		return json_string(time);
	case CEL_DURATION:
		duration_format(v->i, time);
		return json_string(time);
	case CEL_LIST:
		return list_to_json(v, depth);
	case CEL_MAP:
	case CEL_OBJECT:
		return map_to_json(v, depth);
	case CEL_OPTIONAL:
		return v->some ? to_json(v->some, depth + 1) : NULL;
	default:
		return NULL;
	}
}

json_t *cel_to_json(const struct cel_value *value) {
	return to_json(value, 0);
}
