/* SPDX-License-Identifier: Apache-2.0 */
/* What the answers of remote servers mean: JSON of foreign hands, read with care. */
#include "apiserver/aggregator/told.h"

#include <jansson.h>

#define JSON_FLAGS JSON_REJECT_DUPLICATES

static const char *text(const json_t *object, const char *key) {
	return str_or(json_string_value(json_object_get(object, key)), "");
}

/* Clients of some age go wrong where there is none. */
static void need_kind(json_t *resource) {
	if (!json_is_object(json_object_get(resource, "responseKind")))
		json_object_set_new(resource, "responseKind", json_pack("{s:s,s:s,s:s}", "group", "", "version", "", "kind", ""));
}

static char *dump(json_t *resources) {
	return json_is_array(resources) ? json_dumps(resources, JSON_COMPACT) : NULL;
}

char *told_resources_of_groups(const char *json, size_t len, const char *group, const char *version) {
	json_t *tree = json_loadb(json, len, JSON_FLAGS, NULL), *item, *v;
	char *found = NULL;
	size_t i, n, m;
	json_array_foreach(json_object_get(tree, "items"), i, item) {
		if (strcmp(text(json_object_get(item, "metadata"), "name"), group) != 0)
			continue;
		json_array_foreach(json_object_get(item, "versions"), n, v) {
			json_t *resources = json_object_get(v, "resources"), *resource, *sub;
			if (found || strcmp(text(v, "version"), version) != 0)
				continue;
			json_array_foreach(resources, m, resource) {
				size_t s;
				need_kind(resource);
				json_array_foreach(json_object_get(resource, "subresources"), s, sub)
					need_kind(sub);
			}
			found = resources ? dump(resources) : xstrdup("[]");
		}
	}
	json_decref(tree);
	return found;
}

/* ---- the older form: one list, subresources as "plural/name" ---- */

static json_t *kind_of(const json_t *resource) {
	return json_pack("{s:s,s:s,s:s}", "group", text(resource, "group"), "version", text(resource, "version"), "kind", text(resource, "kind"));
}

static void copy_list(json_t *to, const json_t *from, const char *key) {
	json_t *list = json_object_get(from, key);
	if (json_array_size(list))
		json_object_set(to, key, list);
}

static json_t *new_resource(const char *name, bool namespaced) {
	json_t *made = json_object();
	json_object_set_new(made, "resource", json_string(name));
	json_object_set_new(made, "scope", json_string(namespaced ? "Namespaced" : "Cluster"));
	return made;
}

static json_t *find_resource(json_t *made, const char *name) {
	json_t *resource;
	size_t i;
	json_array_foreach(made, i, resource)
		if (strcmp(text(resource, "resource"), name) == 0)
			return resource;
	return NULL;
}

static void add_subresource(json_t *made, json_t *given, const char *name, const char *slash) {
	autofree char *plural = xstrndup(name, (size_t)(slash - name));
	json_t *parent = find_resource(made, plural), *sub = json_object();
	if (!parent) {
		parent = new_resource(plural, json_is_true(json_object_get(given, "namespaced")));
		need_kind(parent);
		json_object_set_new(parent, "verbs", json_array());
		json_object_set_new(parent, "singularResource", json_string(""));
		json_array_append_new(made, parent);
	}
	json_object_set_new(sub, "subresource", json_string(slash + 1));
	json_object_set_new(sub, "responseKind", kind_of(given));
	json_object_set(sub, "verbs", json_object_get(given, "verbs"));
	if (!json_object_get(parent, "subresources"))
		json_object_set_new(parent, "subresources", json_array());
	json_array_append_new(json_object_get(parent, "subresources"), sub);
}

char *told_resources_of_version(const char *json, size_t len) {
	json_t *tree = json_loadb(json, len, JSON_FLAGS, NULL), *given, *list = json_object_get(tree, "resources");
	if (!json_is_array(list) || strcmp(text(tree, "kind"), "APIResourceList") != 0) {
		json_decref(tree);
		return NULL;
	}
	json_t *made = json_array();
	size_t i;
	json_array_foreach(list, i, given) {
		const char *name = text(given, "name");
		if (!*name || strchr(name, '/'))
			continue;
		json_t *resource = new_resource(name, json_is_true(json_object_get(given, "namespaced")));
		json_object_set_new(resource, "responseKind", kind_of(given));
		json_object_set_new(resource, "singularResource", json_string(text(given, "singularName")));
		json_object_set_new(resource, "verbs", json_is_array(json_object_get(given, "verbs")) ? json_incref(json_object_get(given, "verbs")) : json_array());
		copy_list(resource, given, "shortNames");
		copy_list(resource, given, "categories");
		json_array_append_new(made, resource);
	}
	json_array_foreach(list, i, given) {
		const char *name = text(given, "name"), *slash = strchr(name, '/');
		if (slash && slash != name)
			add_subresource(made, given, name, slash);
	}
	char *found = dump(made);
	json_decref(made);
	json_decref(tree);
	return found;
}

/* ---- the index of OpenAPI v3 ---- */

void told_documents(const char *json, size_t len, const char *group, const char *version, struct map *ret) {
	json_t *tree = json_loadb(json, len, JSON_FLAGS, NULL), *paths = json_object_get(tree, "paths");
	autofree char *of_version = xprintf("apis/%s/%s", group, version), *of_group = xprintf("apis/%s", group);
	const char *keys[] = {of_version, of_group};
	for (size_t i = 0; i < array_len(keys); i++) {
		const char *url = text(json_object_get(paths, keys[i]), "serverRelativeURL");
		if (str_starts_with(url, "/openapi/v3/"))
			map_set(ret, keys[i], xstrdup(url));
	}
	json_decref(tree);
}
