/* SPDX-License-Identifier: Apache-2.0 */
#include "test/sim/sim.h"

#include <stdio.h>

const char *key_of(const char *ns, const char *name, char out[KEY_SIZE])
{
	snprintf(out, KEY_SIZE, "%s%s%s", str_or(ns, ""), str_empty(ns) ? "" : "/", str_or(name, ""));
	return out;
}

/* Where the key is, or would be. */
static size_t position(const struct table *table, const char *key, bool *ret_found)
{
	size_t low = 0, high = table->len;
	while (low < high) {
		size_t middle = (low + high) / 2;
		int order = strcmp(table->items[middle].key, key);
		if (order == 0) {
			*ret_found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*ret_found = false;
	return low;
}

void *table_get(const struct table *table, const char *key)
{
	bool found;
	size_t at = position(table, key, &found);
	return found ? table->items[at].object : NULL;
}

void table_set(struct table *table, const char *key, void *object)
{
	bool found;
	size_t at = position(table, key, &found);
	if (found && object) {
		void *old = table->items[at].object;
		table->items[at].object = api_ref(object);
		api_unref(old);
	} else if (found) {
		free(table->items[at].key);
		api_unref(table->items[at].object);
		memmove(&table->items[at], &table->items[at + 1], (--table->len - at) * sizeof(table->items[0]));
	} else if (object) {
		if (table->len == table->cap) {
			table->cap = max_of(table->cap * 2, (size_t)32);
			table->items = xreallocarray(table->items, table->cap, sizeof(table->items[0]));
		}
		memmove(&table->items[at + 1], &table->items[at], (table->len++ - at) * sizeof(table->items[0]));
		table->items[at] = (struct table_entry){xstrdup(key), api_ref(object)};
	}
}

void table_done(struct table *table)
{
	for (size_t i = 0; i < table->len; i++) {
		free(table->items[i].key);
		api_unref(table->items[i].object);
	}
	free(table->items);
	*table = (struct table){0};
}
