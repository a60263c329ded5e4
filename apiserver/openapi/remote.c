/* SPDX-License-Identifier: Apache-2.0 */
/* Documents of aggregated servers beside ours. Two servers may mean two things by one name: the later then gets another, wherever it is referred to. */
#include "apiserver/openapi/openapi.h"
#include "apiserver/aggregator/aggregator.h"

#include <jansson.h>

#define PREFIX "#/definitions/"
#define MAX_DEPTH 200

struct remote_parts {
	json_t *paths, *definitions; /* of all */
	json_t **each;               /* as told, in order of group and version */
	size_t len;
};

static void take(const char *group, const char *version, const char *json, size_t len, void *arg) {
	struct remote_parts *parts = arg;
	json_t *tree = json_loadb(json, len, 0, NULL);
	if (!tree)
		return;
	parts->each = xreallocarray(parts->each, parts->len + 1, sizeof(*parts->each));
	parts->each[parts->len++] = tree;
}

struct remote_parts *remote_parts_new(struct aggregator *aggregator) {
	struct remote_parts *parts = xnew(struct remote_parts);
	*parts = (struct remote_parts){.paths = json_object(), .definitions = json_object()};
	aggregator_each_swagger(aggregator, take, parts);
	return parts;
}

void remote_parts_free(struct remote_parts *parts) {
	if (!parts)
		return;
	for (size_t i = 0; i < parts->len; i++)
		json_decref(parts->each[i]);
	json_decref(parts->paths);
	json_decref(parts->definitions);
	free(parts->each);
	free(parts);
}

/* The name under which the definition goes into the document; the caller frees. */
static char *choose_name(const struct remote_parts *parts, const struct schema_set *set, const char *name, const json_t *definition) {
	char *chosen = xstrdup(name);
	for (unsigned n = 2;; n++) {
		json_t *there = json_object_get(parts->definitions, chosen);
		if (!schema_set_has(set, chosen) && (!there || json_equal(there, definition)))
			return chosen;
		free(chosen);
		chosen = xprintf("%s_v%u", name, n);
	}
}

static void rename_references(json_t *value, const struct map *names, unsigned depth) {
	const char *key;
	json_t *inner;
	void *next;
	size_t i;
	if (depth > MAX_DEPTH)
		return;
	if (json_is_array(value)) {
		json_array_foreach(value, i, inner)
			rename_references(inner, names, depth + 1);
		return;
	}
	json_object_foreach_safe(value, next, key, inner) {
		const char *ref = strcmp(key, "$ref") == 0 ? json_string_value(inner) : NULL;
		const char *name = ref && str_starts_with(ref, PREFIX) ? map_get(names, ref + strlen(PREFIX)) : NULL;
		if (!name) {
			rename_references(inner, names, depth + 1);
			continue;
		}
		autofree char *changed = xprintf(PREFIX "%s", name);
		json_object_set_new(value, key, json_string(changed));
	}
}

static void merge(struct remote_parts *parts, const struct schema_set *set, json_t *tree) {
	json_t *paths = json_object_get(tree, "paths"), *definitions = json_object_get(tree, "definitions"), *value;
	struct map names = MAP_INIT(free);
	const char *key;
	json_object_foreach(definitions, key, value)
		map_set(&names, key, choose_name(parts, set, key, value));
	rename_references(tree, &names, 0);
	json_object_foreach(definitions, key, value)
		json_object_set(parts->definitions, map_get(&names, key), value);
	json_object_update_missing(parts->paths, paths);
	map_done(&names);
}

static void write_members(json_t *object, bool *first, struct buf *out) {
	const char *key;
	json_t *value;
	json_object_foreach(object, key, value) {
		char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
		buf_append_str(out, *first ? "" : ",");
		buf_append_json_string(out, key, strlen(key));
		buf_append_char(out, ':');
		buf_append_str(out, text ? text : "{}");
		*first = false;
		free(text);
	}
}

void remote_paths_write(struct remote_parts *parts, const struct schema_set *set, bool *first, struct buf *out) {
	if (!parts)
		return;
	for (size_t i = 0; i < parts->len; i++)
		merge(parts, set, parts->each[i]);
	write_members(parts->paths, first, out);
}

void remote_definitions_write(struct remote_parts *parts, struct buf *out) {
	bool first = false;
	if (parts)
		write_members(parts->definitions, &first, out);
}
