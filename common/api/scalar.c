/* SPDX-License-Identifier: Apache-2.0 */
/* Times, int-or-string, and the maps and lists of strings. */
#include "common/api/codec.h"

#include <errno.h>

struct api_time api_time_now(void) {
	struct wall_time now = clock_wall();
	now.nsec = 0;
	return (struct api_time){.t = now, .set = true};
}

struct api_time api_time_now_micro(void) {
	struct wall_time now = clock_wall();
	now.nsec -= now.nsec % 1000;
	return (struct api_time){.t = now, .set = true};
}

int int_or_string_scaled(const struct int_or_string *v, int total, bool round_up, int *ret) {
	if (!v->str) {
		*ret = v->num;
		return 0;
	}
	size_t len = strlen(v->str);
	int64_t percent;
	if (len < 2 || len > 11 || v->str[len - 1] != '%')
		return -EINVAL;
	autofree char *digits = xstrndup(v->str, len - 1);
	if (!str_to_int64(digits, INT32_MIN, INT32_MAX, &percent))
		return -EINVAL;
	int64_t product = percent * total;
	int64_t value = product / 100;
	if (round_up && product % 100 > 0)
		value++;
	if (!round_up && product % 100 < 0)
		value--;
	*ret = (int)max_of(min_of(value, (int64_t)INT32_MAX), (int64_t)INT32_MIN);
	return 0;
}

void api_list_reserve(struct arena *arena, void *list, size_t element_size, uint32_t count) {
	struct api_any_list *l = list;
	if (l->items || !count)
		return;
	l->items = arena_calloc(arena, count, element_size);
	l->cap = count;
}

/* Grows a list's memory to hold one more; elements never move within an arena that others read. */
void *api_list_grow(struct arena *arena, void *list, size_t element_size) {
	struct api_any_list *l = list;
	if (l->len == l->cap || !l->items) {
		uint32_t cap = l->cap ? l->cap * 2 : 4;
		if (cap < l->cap)
			abort(); /* four thousand million elements */
		char *items = arena_calloc(arena, cap, element_size);
		if (l->len)
			memcpy(items, l->items, l->len * element_size);
		l->items = items;
		l->cap = cap;
	}
	char *element = l->items + (size_t)l->len++ * element_size;
	memset(element, 0, element_size);
	return element;
}

/* Where `key` is or belongs in a sorted map of any entries; entries begin with the key. */
static uint32_t map_position(const void *map, size_t entry_size, const char *key, bool *ret_found) {
	const struct api_any_list *m = map;
	uint32_t low = 0, high = m->len;
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		int order = strcmp(*(const char *const *)(m->items + mid * entry_size), key);
		if (!order) {
			*ret_found = true;
			return mid;
		}
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	*ret_found = false;
	return low;
}

void *api_map_find(const void *map, size_t entry_size, const char *key) {
	const struct api_any_list *m = map;
	bool found;
	uint32_t at = map_position(map, entry_size, key, &found);
	return found ? m->items + at * entry_size : NULL;
}

void *api_map_insert(struct arena *arena, void *map, size_t entry_size, const char *key) {
	struct api_any_list *m = map;
	bool found;
	uint32_t at = map_position(map, entry_size, key, &found);
	if (!found) {
		api_list_grow(arena, map, entry_size);
		char *entry = m->items + at * entry_size;
		memmove(entry + entry_size, entry, (m->len - 1 - at) * entry_size);
		memset(entry, 0, entry_size);
		*(const char **)entry = arena_strdup(arena, key);
	}
	return m->items + at * entry_size;
}

const char *api_map_get(const struct api_string_map *map, const char *key) {
	const struct api_string_map_entry *entry = map ? api_map_find(map, sizeof(*entry), key) : NULL;
	return entry ? (entry->value ? entry->value : "") : NULL;
}

void api_map_set(struct arena *arena, struct api_string_map *map, const char *key, const char *value) {
	struct api_string_map_entry *entry = api_map_insert(arena, map, sizeof(*entry), key);
	entry->value = arena_strdup(arena, value);
}

void api_copy_string_map(struct arena *arena, struct api_string_map *to, const struct api_string_map *from) {
	for (uint32_t i = 0; i < from->len; i++)
		api_map_set(arena, to, from->items[i].key, from->items[i].value);
}

bool api_map_remove(struct api_string_map *map, const char *key) {
	bool found;
	uint32_t at = map_position(map, sizeof(*map->items), key, &found);
	if (found)
		api_list_remove(map, at);
	return found;
}

bool api_map_equal(const struct api_string_map *a, const struct api_string_map *b) {
	uint32_t a_len = a ? a->len : 0, b_len = b ? b->len : 0;
	if (a_len != b_len)
		return false;
	for (uint32_t i = 0; i < a_len; i++)
		if (!str_equal(a->items[i].key, b->items[i].key) || !str_equal(a->items[i].value, b->items[i].value))
			return false;
	return true;
}

bool api_map_contains(const struct api_string_map *labels, const struct api_string_map *selector) {
	for (uint32_t i = 0; selector && i < selector->len; i++) {
		const char *value = api_map_get(labels, selector->items[i].key);
		if (!value || !str_equal(value, selector->items[i].value))
			return false;
	}
	return true;
}

void api_string_list_add(struct arena *arena, struct api_string_list *list, const char *s) {
	const char **item = api_list_grow(arena, list, sizeof(*item));
	*item = arena_strdup(arena, s);
}

bool api_string_list_has(const struct api_string_list *list, const char *s) {
	for (uint32_t i = 0; list && i < list->len; i++)
		if (str_equal(list->items[i], s))
			return true;
	return false;
}

struct quantity *api_quantity_get(const struct api_quantity_map *map, const char *key) {
	struct api_quantity_map_entry *entry = map ? api_map_find(map, sizeof(*entry), key) : NULL;
	return entry ? &entry->value : NULL;
}

void api_quantity_set(struct arena *arena, struct api_quantity_map *map, const char *key, struct quantity value) {
	struct api_quantity_map_entry *entry = api_map_insert(arena, map, sizeof(*entry), key);
	entry->value = value;
	entry->value.set = true;
}

void api_quantity_add(struct arena *arena, struct api_quantity_map *map, const char *key, const struct quantity *more) {
	struct quantity *sum = api_quantity_get(map, key);
	if (sum)
		quantity_add(sum, more);
	else
		api_quantity_set(arena, map, key, *more);
}

int32_t *api_int32(struct arena *arena, int32_t value) {
	return arena_memdup(arena, &value, sizeof(value));
}

int64_t *api_int64(struct arena *arena, int64_t value) {
	return arena_memdup(arena, &value, sizeof(value));
}

bool *api_bool(struct arena *arena, bool value) {
	return arena_memdup(arena, &value, sizeof(value));
}
