/* SPDX-License-Identifier: Apache-2.0 */
/* OpenAPI v2 of a remote server, cut down to what is ours to tell of it. */
#include "apiserver/aggregator/told.h"

#include <jansson.h>

#define PREFIX "#/definitions/"
#define MAX_DEPTH 200

/* Adds to `out` what the value refers to, and what that does. */
static void take_references(const json_t *value, const json_t *definitions, json_t *out, unsigned depth) {
	const char *key;
	json_t *inner;
	size_t i;
	if (depth > MAX_DEPTH)
		return;
	if (json_is_array(value)) {
		json_array_foreach(value, i, inner)
			take_references(inner, definitions, out, depth + 1);
		return;
	}
	json_object_foreach((json_t *)value, key, inner) {
		const char *ref = strcmp(key, "$ref") == 0 ? json_string_value(inner) : NULL;
		if (!ref || !str_starts_with(ref, PREFIX)) {
			take_references(inner, definitions, out, depth + 1);
			continue;
		}
		json_t *definition = json_object_get(definitions, ref + strlen(PREFIX));
		if (!definition || json_object_get(out, ref + strlen(PREFIX)))
			continue;
		json_object_set(out, ref + strlen(PREFIX), definition);
		take_references(definition, definitions, out, depth + 1);
	}
}

/* Kinds of the group and version that no path speaks of belong to it all the same. */
static bool is_kind_of(const json_t *definition, const char *group, const char *version) {
	json_t *kinds = json_object_get(definition, "x-kubernetes-group-version-kind"), *kind;
	size_t i;
	json_array_foreach(kinds, i, kind)
		if (str_equal(json_string_value(json_object_get(kind, "group")), group) && str_equal(json_string_value(json_object_get(kind, "version")), version))
			return true;
	return false;
}

char *told_swagger(const char *json, size_t len, const char *group, const char *version) {
	json_t *tree = json_loadb(json, len, 0, NULL), *definitions = json_object_get(tree, "definitions"), *value;
	json_t *paths = json_object(), *kept = json_object();
	autofree char *prefix = *group ? xprintf("/apis/%s/%s/", group, version) : xprintf("/api/%s/", version);
	const char *key;
	json_object_foreach(json_object_get(tree, "paths"), key, value)
		if (str_starts_with(key, prefix) && json_is_object(value)) {
			json_object_set(paths, key, value);
			take_references(value, definitions, kept, 0);
		}
	json_object_foreach(definitions, key, value)
		if (json_object_size(paths) && is_kind_of(value, group, version) && !json_object_get(kept, key)) {
			json_object_set(kept, key, value);
			take_references(value, definitions, kept, 0);
		}
	char *text = NULL;
	if (json_object_size(paths)) {
		json_t *both = json_pack("{s:O,s:O}", "paths", paths, "definitions", kept);
		text = json_dumps(both, JSON_COMPACT | JSON_SORT_KEYS);
		json_decref(both);
	}
	json_decref(paths);
	json_decref(kept);
	json_decref(tree);
	return text;
}
