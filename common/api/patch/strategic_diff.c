/* SPDX-License-Identifier: Apache-2.0 */
/* Makes strategic merge patches: between two objects, and for apply between what was applied, what is to be applied and what is live. */
#include "common/api/patch/fields.h"
#include "common/api/patch/patch.h"

#include <errno.h>

#define ELEMENT_ORDER "$setElementOrder/"
#define DELETE_PRIMITIVE "$deleteFromPrimitiveList/"

enum { WITHOUT_DELETIONS = 1, ONLY_DELETIONS = 2 };

static json_t *diff_object(const struct api_type *type, json_t *original, json_t *modified, int flags);

static json_t *find_element(json_t *list, json_t *element, const char *merge_key) {
	for (size_t i = 0; i < json_array_size(list); i++) {
		json_t *item = json_array_get(list, i);
		json_t *a = merge_key ? json_object_get(item, merge_key) : item, *b = merge_key ? json_object_get(element, merge_key) : element;
		if (a && b && patch_values_equal(a, b))
			return item;
	}
	return NULL;
}

/* What names the elements of a list: their merge keys, or the scalars themselves. */
static json_t *order_of(json_t *list, const char *merge_key) {
	json_t *out = json_array();
	for (size_t i = 0; i < json_array_size(list); i++) {
		json_t *item = json_array_get(list, i), *key = merge_key ? json_object_get(item, merge_key) : NULL;
		if (!merge_key) {
			json_array_append(out, item);
		} else if (key) {
			json_t *named = json_object();
			json_object_set(named, merge_key, key);
			json_array_append_new(out, named);
		}
	}
	return out;
}

/* True where the elements that both have stand in another order. */
static bool order_differs(json_t *original, json_t *modified, const char *merge_key) {
	size_t at = 0;
	for (size_t i = 0; i < json_array_size(modified); i++) {
		json_t *element = json_array_get(modified, i);
		if (!find_element(original, element, merge_key))
			continue;
		while (at < json_array_size(original) && !find_element(modified, json_array_get(original, at), merge_key))
			at++;
		json_t *one = json_array_get(original, at++);
		json_t *pair = json_array();
		json_array_append(pair, one ? one : element);
		bool same = one && find_element(pair, element, merge_key);
		json_decref(pair);
		if (!same)
			return true;
	}
	return false;
}

static void set_prefixed(json_t *out, const char *prefix, const char *name, json_t *take_value) {
	autofree char *key = xprintf("%s%s", prefix, name);
	json_object_set_new(out, key, take_value);
}

static void diff_objects_list(const struct api_field *field, json_t *original, json_t *modified, int flags, json_t *out) {
	const char *merge_key = field->merge_key;
	json_t *changes = json_array();
	for (size_t i = 0; i < json_array_size(modified); i++) {
		json_t *element = json_array_get(modified, i), *old = find_element(original, element, merge_key);
		if (!old) {
			if (!(flags & ONLY_DELETIONS))
				json_array_append(changes, element);
			continue;
		}
		json_t *inner = diff_object(field->type, old, element, flags);
		if (json_object_size(inner)) {
			json_object_set(inner, merge_key, json_object_get(element, merge_key));
			json_array_append(changes, inner);
		}
		json_decref(inner);
	}
	for (size_t i = 0; i < json_array_size(original) && !(flags & WITHOUT_DELETIONS); i++) {
		json_t *element = json_array_get(original, i), *key = json_object_get(element, merge_key);
		if (!key || find_element(modified, element, merge_key))
			continue;
		json_t *deletion = json_object();
		json_object_set_new(deletion, "$patch", json_string("delete"));
		json_object_set(deletion, merge_key, key);
		json_array_append_new(changes, deletion);
	}
	if (json_array_size(changes) || (!(flags & ONLY_DELETIONS) && order_differs(original, modified, merge_key)))
		set_prefixed(out, ELEMENT_ORDER, field->name, order_of(modified, merge_key));
	if (json_array_size(changes))
		json_object_set(out, field->name, changes);
	json_decref(changes);
}

static void diff_scalars_list(const struct api_field *field, json_t *original, json_t *modified, int flags, json_t *out) {
	json_t *added = json_array(), *removed = json_array();
	for (size_t i = 0; i < json_array_size(modified) && !(flags & ONLY_DELETIONS); i++)
		if (!find_element(original, json_array_get(modified, i), NULL))
			json_array_append(added, json_array_get(modified, i));
	for (size_t i = 0; i < json_array_size(original) && !(flags & WITHOUT_DELETIONS); i++)
		if (!find_element(modified, json_array_get(original, i), NULL))
			json_array_append(removed, json_array_get(original, i));
	if (json_array_size(added) || json_array_size(removed) || (!(flags & ONLY_DELETIONS) && order_differs(original, modified, NULL)))
		set_prefixed(out, ELEMENT_ORDER, field->name, json_incref(modified));
	if (json_array_size(added))
		json_object_set(out, field->name, added);
	if (json_array_size(removed))
		set_prefixed(out, DELETE_PRIMITIVE, field->name, json_incref(removed));
	json_decref(added);
	json_decref(removed);
}

static bool keyed_list(const struct api_field *field, json_t *a, json_t *b) {
	if (!field || field->shape != API_LIST || !(field->flags & API_FIELD_MERGE) || !json_is_array(a) || !json_is_array(b))
		return false;
	if (field->kind != API_STRUCT)
		return true;
	for (size_t i = 0; i < json_array_size(b); i++)
		if (!json_object_get(json_array_get(b, i), field->merge_key))
			return false;
	return field->merge_key != NULL;
}

/* One of several sources may be set (strategy retainKeys): the patch says which keys stay. */
static void add_retain_keys(const struct api_field *field, json_t *modified, json_t *inner) {
	if (!field || !(field->flags & API_FIELD_RETAIN_KEYS) || !json_object_size(inner))
		return;
	json_t *keys = json_array();
	const char *key;
	json_t *value;
	json_object_foreach(modified, key, value)
		json_array_append_new(keys, json_string(key));
	json_object_set_new(inner, "$retainKeys", keys);
}

static void diff_value(const struct api_field *field, const char *key, json_t *old, json_t *value, int flags, json_t *out) {
	if (keyed_list(field, old, value)) {
		if (field->kind == API_STRUCT)
			diff_objects_list(field, old, value, flags, out);
		else
			diff_scalars_list(field, old, value, flags, out);
		return;
	}
	bool whole = field && (field->flags & API_FIELD_REPLACE);
	if (json_is_object(old) && json_is_object(value) && !whole) {
		/* A map of structs has no described keys: its values are compared whole-wise by name. */
		const struct api_type *type = field && field->shape == API_SINGLE ? patch_field_type(field) : NULL;
		json_t *inner = diff_object(type, old, value, flags);
		if (!(flags & ONLY_DELETIONS))
			add_retain_keys(field && field->shape == API_SINGLE ? field : NULL, value, inner);
		if (json_object_size(inner))
			json_object_set(out, key, inner);
		json_decref(inner);
		return;
	}
	if (!(flags & ONLY_DELETIONS) && !patch_values_equal(old, value))
		json_object_set(out, key, value);
}

static json_t *diff_object(const struct api_type *type, json_t *original, json_t *modified, int flags) {
	json_t *out = json_object();
	const char *key;
	json_t *value;
	json_object_foreach(modified, key, value) {
		json_t *old = json_object_get(original, key);
		if (old)
			diff_value(patch_field(type, key), key, old, value, flags, out);
		else if (!(flags & ONLY_DELETIONS))
			json_object_set(out, key, value);
	}
	if (flags & WITHOUT_DELETIONS)
		return out;
	json_object_foreach(original, key, value)
		if (!json_object_get(modified, key))
			json_object_set_new(out, key, json_null());
	return out;
}

int patch_strategic_diff(const struct api_type *type, json_t *original, json_t *modified, json_t **ret, struct error *err) {
	if (!json_is_object(original) || !json_is_object(modified))
		return error_set(err, EINVAL, "only objects have a patch between them");
	*ret = diff_object(type, original, modified, 0);
	return 0;
}

/* Puts the changes over the deletions: both are patches of the same object. */
static json_t *unite(const struct api_type *type, json_t *deletions, json_t *changes) {
	json_t *out = json_copy(deletions);
	const char *key;
	json_t *value;
	json_object_foreach(changes, key, value) {
		json_t *have = json_object_get(out, key);
		const struct api_field *field = patch_field(type, key);
		if (json_is_object(have) && json_is_object(value)) {
			json_object_set_new(out, key, unite(field && field->shape == API_SINGLE ? patch_field_type(field) : NULL, have, value));
			continue;
		}
		if (!json_is_array(have) || !json_is_array(value) || !field || !(field->flags & API_FIELD_MERGE) || field->kind != API_STRUCT) {
			json_object_set(out, key, value);
			continue;
		}
		json_t *list = json_copy(have);
		for (size_t i = 0; i < json_array_size(value); i++) {
			json_t *element = json_array_get(value, i), *same = find_element(list, element, field->merge_key);
			if (!same) {
				json_array_append(list, element);
				continue;
			}
			for (size_t k = 0; k < json_array_size(list); k++)
				if (json_array_get(list, k) == same)
					json_array_set_new(list, k, unite(field->type, same, element));
		}
		json_object_set_new(out, key, list);
	}
	return out;
}

int patch_strategic_three_way(const struct api_type *type, json_t *original, json_t *modified, json_t *current, json_t **ret, struct error *err) {
	if (!json_is_object(original) || !json_is_object(modified) || !json_is_object(current))
		return error_set(err, EINVAL, "only objects have a patch between them");
	json_t *changes = diff_object(type, current, modified, WITHOUT_DELETIONS);
	json_t *deletions = diff_object(type, original, modified, ONLY_DELETIONS);
	*ret = unite(type, deletions, changes);
	json_decref(changes);
	json_decref(deletions);
	return 0;
}
