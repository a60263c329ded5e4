/* SPDX-License-Identifier: Apache-2.0 */
/* Structural schemas over jansson trees: pruning, defaulting; validation is in validate.c. */
#include "apiserver/custom/custom.h"

json_t *schema_member(json_t *schema, const char *key) {
	json_t *known = json_object_get(json_object_get(schema, "properties"), key);
	if (known)
		return known;
	json_t *more = json_object_get(schema, "additionalProperties");
	return json_is_object(more) ? more : NULL;
}

bool schema_flag(json_t *schema, const char *name) {
	return json_is_true(json_object_get(schema, name));
}

/* ---- pruning ---- */

struct pruning {
	void (*unknown)(const char *path, void *arg);
	void *arg;
};

/* The metadata of an embedded resource has what all metadata has. */
static void prune_metadata(json_t *metadata, const char *path, const struct pruning *p) {
	const char *key;
	json_t *member;
	void *next;
	json_object_foreach_safe(metadata, next, key, member) {
		bool known = false;
		for (size_t i = 0; i < meta_v1_object_meta_type.field_count && !known; i++)
			known = str_equal(meta_v1_object_meta_type.fields[i].name, key);
		if (known)
			continue;
		autofree char *inner = xprintf("%s.%s", path, key);
		if (p->unknown)
			p->unknown(inner, p->arg);
		json_object_del(metadata, key);
	}
}

static void prune(json_t *schema, json_t *value, const char *path, bool resource, const struct pruning *p) {
	if (json_is_array(value)) {
		/* Of items that no schema speaks of nothing is known, unless all may stay. */
		json_t *items = json_object_get(schema, "items");
		bool keep = !items && schema_flag(schema, "x-kubernetes-preserve-unknown-fields");
		for (size_t i = 0; !keep && i < json_array_size(value); i++) {
			autofree char *inner = xprintf("%s[%zu]", path, i);
			prune(items, json_array_get(value, i), inner, schema_flag(items, "x-kubernetes-embedded-resource"), p);
		}
		return;
	}
	if (!json_is_object(value))
		return;
	bool keep = schema_flag(schema, "x-kubernetes-preserve-unknown-fields") || json_is_true(json_object_get(schema, "additionalProperties"));
	const char *key;
	json_t *member;
	void *next;
	json_object_foreach_safe(value, next, key, member) {
		json_t *inner_schema = schema_member(schema, key);
		autofree char *inner = *path ? xprintf("%s.%s", path, key) : xstrdup(key);
		if (resource && (strcmp(key, "apiVersion") == 0 || strcmp(key, "kind") == 0 || strcmp(key, "metadata") == 0)) {
			if (*path && *key == 'm')
				prune_metadata(member, inner, p);
			continue;
		}
		if (inner_schema) {
			prune(inner_schema, member, inner, schema_flag(inner_schema, "x-kubernetes-embedded-resource"), p);
		} else if (!keep) {
			if (p->unknown)
				p->unknown(inner, p->arg);
			json_object_del(value, key);
		}
	}
}

void schema_prune(json_t *schema, json_t *value, bool root, void (*unknown)(const char *path, void *arg), void *arg) {
	prune(schema, value, "", root, &(struct pruning){unknown, arg});
}

/* ---- defaults ---- */

/* Null where the schema does not allow it is as good as nothing; what has a default got it before. */
void schema_drop_nulls(json_t *schema, json_t *value) {
	if (json_is_array(value)) {
		json_t *items = json_object_get(schema, "items");
		for (size_t i = 0; items && i < json_array_size(value); i++)
			schema_drop_nulls(items, json_array_get(value, i));
		return;
	}
	if (!json_is_object(value))
		return;
	const char *key;
	json_t *member;
	void *next;
	json_object_foreach_safe(value, next, key, member) {
		json_t *inner = schema_member(schema, key);
		if (inner && json_is_null(member) && !schema_flag(inner, "nullable"))
			json_object_del(value, key);
		else if (inner)
			schema_drop_nulls(inner, member);
	}
}

void schema_default(json_t *schema, json_t *value) {
	if (json_is_array(value)) {
		json_t *items = json_object_get(schema, "items");
		for (size_t i = 0; items && i < json_array_size(value); i++)
			schema_default(items, json_array_get(value, i));
		return;
	}
	if (!json_is_object(value))
		return;
	const char *key;
	json_t *inner;
	json_object_foreach(json_object_get(schema, "properties"), key, inner) {
		json_t *fallback = json_object_get(inner, "default");
		json_t *member = json_object_get(value, key);
		bool missing = !member || (json_is_null(member) && !schema_flag(inner, "nullable"));
		if (missing && fallback)
			json_object_set_new(value, key, json_deep_copy(fallback));
		member = json_object_get(value, key);
		if (member)
			schema_default(inner, member);
	}
	json_t *more = json_object_get(schema, "additionalProperties"), *member;
	if (json_is_object(more))
		json_object_foreach(value, key, member)
			if (!json_object_get(json_object_get(schema, "properties"), key))
				schema_default(more, member);
}

bool schema_has_defaults(json_t *schema) {
	if (!json_is_object(schema))
		return false;
	if (json_object_get(schema, "default"))
		return true;
	const char *key;
	json_t *inner;
	json_object_foreach(json_object_get(schema, "properties"), key, inner)
		if (schema_has_defaults(inner))
			return true;
	return schema_has_defaults(json_object_get(schema, "items")) || schema_has_defaults(json_object_get(schema, "additionalProperties"));
}

/* ---- paths ---- */

json_t *json_path(json_t *value, const char *path) {
	while (value && *path) {
		if (*path == '.') {
			path++;
			continue;
		}
		if (*path == '[') {
			path++;
			char quote = *path == '\'' || *path == '"' ? *path++ : 0;
			size_t len = quote ? strcspn(path, quote == '\'' ? "'" : "\"") : strcspn(path, "]");
			autofree char *key = xstrndup(path, len);
			path += len;
			path += strcspn(path, "]");
			if (*path)
				path++;
			value = json_is_array(value) ? json_array_get(value, (size_t)strtoul(key, NULL, 10)) : json_object_get(value, key);
			continue;
		}
		size_t len = 0;
		while (path[len] && path[len] != '.' && path[len] != '[')
			len += path[len] == '\\' && path[len + 1] ? 2 : 1;
		char *key = xstrndup(path, len), *to = key;
		for (char *from = key; *from; from++)
			if (*from != '\\')
				*to++ = *from;
		*to = '\0';
		value = json_object_get(value, key);
		free(key);
		path += len;
	}
	return value;
}
