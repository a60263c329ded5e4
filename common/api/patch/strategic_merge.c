/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strategic merge patch, as Kubernetes documents it: lists of objects merge by their merge key, and directives say the rest:
 *
 *	$patch: replace | delete | merge       in an object, or in an element of a merged list
 *	$retainKeys: [a, b]                    drop all other keys of the target
 *	$setElementOrder/list: [...]           the order of a merged list afterwards
 *	$deleteFromPrimitiveList/list: [...]   take values out of a merged list of scalars
 */
#include "common/api/patch/fields.h"
#include "common/api/patch/patch.h"

#include <errno.h>

#define DIRECTIVE "$patch"
#define RETAIN_KEYS "$retainKeys"
#define ELEMENT_ORDER "$setElementOrder/"
#define DELETE_PRIMITIVE "$deleteFromPrimitiveList/"

static int merge_object(const struct api_type *type, json_t *target, json_t *patch, json_t **ret, struct error *err);

static int bad_patch(struct error *err, const char *what, const char *detail) {
	return error_status(err, 400, "BadRequest", "unable to apply the strategic merge patch: %s: %s", what, detail);
}

static bool is_directive(const char *key) {
	return str_equal(key, DIRECTIVE) || str_equal(key, RETAIN_KEYS) || str_starts_with(key, ELEMENT_ORDER) || str_starts_with(key, DELETE_PRIMITIVE);
}

/* ---- lists ---- */

static bool same_element(json_t *a, json_t *b, const char *merge_key) {
	if (!merge_key)
		return patch_values_equal(a, b);
	json_t *x = json_object_get(a, merge_key), *y = json_object_get(b, merge_key);
	return x && y && patch_values_equal(x, y);
}

/* The index of the element of `list` that is the same as `element`, or -1. */
static ssize_t index_of(json_t *list, json_t *element, const char *merge_key) {
	for (size_t i = 0; i < json_array_size(list); i++)
		if (same_element(json_array_get(list, i), element, merge_key))
			return (ssize_t)i;
	return -1;
}

/*
 * Lays `merged` out: what `order` names comes in that order; what only the server has keeps its place among the elements it stood before. Takes
 * `merged`, returns a new list. Elements that the order names but the list has not are skipped.
 */
static json_t *lay_out(json_t *merged, json_t *order, json_t *server, const char *merge_key) {
	json_t *named = json_array(), *others = json_array(), *out = json_array();
	for (size_t i = 0; i < json_array_size(order); i++) {
		ssize_t at = index_of(merged, json_array_get(order, i), merge_key);
		if (at >= 0 && index_of(named, json_array_get(order, i), merge_key) < 0)
			json_array_append(named, json_array_get(merged, (size_t)at));
	}
	for (size_t i = 0; i < json_array_size(merged); i++)
		if (index_of(order, json_array_get(merged, i), merge_key) < 0)
			json_array_append(others, json_array_get(merged, i));
	size_t n = 0, o = 0;
	while (n < json_array_size(named) || o < json_array_size(others)) {
		bool take_other = n == json_array_size(named);
		if (!take_other && o < json_array_size(others)) {
			ssize_t named_at = index_of(server, json_array_get(named, n), merge_key), other_at = index_of(server, json_array_get(others, o), merge_key);
			take_other = named_at >= 0 && other_at >= 0 && other_at < named_at;
		}
		json_array_append(out, take_other ? json_array_get(others, o++) : json_array_get(named, n++));
	}
	json_decref(named);
	json_decref(others);
	json_decref(merged);
	return out;
}

static json_t *merge_scalars(json_t *target, json_t *patch) {
	json_t *out = json_copy(target);
	for (size_t i = 0; i < json_array_size(patch); i++)
		if (index_of(out, json_array_get(patch, i), NULL) < 0)
			json_array_append(out, json_array_get(patch, i));
	return out;
}

/* One element of the patch into `out`. */
static int merge_element(const struct api_field *field, json_t *out, json_t *element, struct error *err) {
	const char *merge_key = field->merge_key;
	if (!json_is_object(element))
		return bad_patch(err, "an element of a merged list is no object", field->name);
	if (!json_object_get(element, merge_key))
		return bad_patch(err, "map: an element does not contain declared merge key", merge_key);
	ssize_t at = index_of(out, element, merge_key);
	const char *directive = json_string_value(json_object_get(element, DIRECTIVE));
	if (directive && str_equal(directive, "delete")) {
		for (; at >= 0; at = index_of(out, element, merge_key))
			json_array_remove(out, (size_t)at);
		return 0;
	}
	json_t *merged = NULL;
	int r = merge_object(field->type, at >= 0 ? json_array_get(out, (size_t)at) : NULL, element, &merged, err);
	if (r < 0)
		return r;
	if (at >= 0)
		json_array_set_new(out, (size_t)at, merged);
	else
		json_array_append_new(out, merged);
	return 0;
}

/* An element {"$patch": "replace"} means: the rest of the patch is the list. */
static bool takes_all(json_t *patch) {
	for (size_t i = 0; i < json_array_size(patch); i++) {
		json_t *element = json_array_get(patch, i);
		if (json_object_size(element) == 1 && str_equal(json_string_value(json_object_get(element, DIRECTIVE)), "replace"))
			return true;
	}
	return false;
}

static int merge_objects_list(const struct api_field *field, json_t *target, json_t *patch, json_t **ret, struct error *err) {
	bool replace = takes_all(patch);
	json_t *out = replace || !json_is_array(target) ? json_array() : json_copy(target);
	for (size_t i = 0; i < json_array_size(patch); i++) {
		json_t *element = json_array_get(patch, i);
		if (replace && json_object_get(element, DIRECTIVE))
			continue;
		int r = merge_element(field, out, element, err);
		if (r < 0) {
			json_decref(out);
			return r;
		}
	}
	*ret = out;
	return 0;
}

static bool is_merged_list(const struct api_field *field) {
	return field && field->shape == API_LIST && (field->flags & API_FIELD_MERGE);
}

static const char *list_key(const struct api_field *field) {
	return field->kind == API_STRUCT ? field->merge_key : NULL;
}

/* `patch` may be NULL where only an order was sent. */
static int merge_list(const struct api_field *field, json_t *target, json_t *patch, json_t *order, json_t *deletions, json_t **ret, struct error *err) {
	json_t *old = json_is_array(target) ? json_incref(target) : json_array(), *start = json_copy(old), *out = NULL;
	int r = 0;
	for (size_t i = 0; i < json_array_size(deletions); i++) {
		ssize_t at;
		while ((at = index_of(start, json_array_get(deletions, i), NULL)) >= 0)
			json_array_remove(start, (size_t)at);
	}
	if (list_key(field))
		r = merge_objects_list(field, start, patch, &out, err);
	else
		out = merge_scalars(start, patch);
	if (r == 0)
		*ret = json_is_array(order) ? lay_out(out, order, old, list_key(field)) : out;
	json_decref(start);
	json_decref(old);
	return r;
}

/* ---- objects ---- */

static int retain_keys(json_t *out, json_t *patch, struct error *err) {
	json_t *keys = json_object_get(patch, RETAIN_KEYS);
	if (!keys)
		return 0;
	if (!json_is_array(keys))
		return bad_patch(err, "a list of keys was expected", RETAIN_KEYS);
	const char *key;
	json_t *value;
	void *next;
	json_object_foreach(patch, key, value) {
		json_t *name = json_string(key);
		bool known = is_directive(key) || json_is_null(value) || index_of(keys, name, NULL) >= 0;
		json_decref(name);
		if (!known)
			return bad_patch(err, "a key of the patch is not in its $retainKeys", key);
	}
	json_object_foreach_safe(out, next, key, value) {
		json_t *name = json_string(key);
		if (index_of(keys, name, NULL) < 0)
			json_object_del(out, key);
		json_decref(name);
	}
	return 0;
}

/* The parts of one list field that may stand in a patch under three keys. */
static int merge_list_key(const struct api_type *type, json_t *out, json_t *patch, const char *name, struct error *err) {
	const struct api_field *field = patch_field(type, name);
	if (!is_merged_list(field))
		return bad_patch(err, "a directive for a list that is not merged", name);
	autofree char *order_key = xprintf(ELEMENT_ORDER "%s", name), *delete_key = xprintf(DELETE_PRIMITIVE "%s", name);
	json_t *merged = NULL, *value = json_object_get(patch, name), *target = json_object_get(out, name);
	if (value && !json_is_array(value))
		return bad_patch(err, "a list was expected", name);
	if (!target && !value)
		return 0; /* an order of what is not there */
	int r = merge_list(field, target, value, json_object_get(patch, order_key), json_object_get(patch, delete_key), &merged, err);
	if (r < 0)
		return r;
	json_object_set_new(out, name, merged);
	return 0;
}

static int merge_value(const struct api_type *type, json_t *out, json_t *patch, const char *key, json_t *value, struct error *err) {
	const struct api_field *field = patch_field(type, key);
	json_t *target = json_object_get(out, key), *merged = NULL;
	if (json_is_null(value)) {
		json_object_del(out, key);
		return 0;
	}
	if (json_is_array(value) && is_merged_list(field))
		return merge_list_key(type, out, patch, key, err);
	if (!json_is_object(value) || (field && (field->flags & API_FIELD_REPLACE))) {
		json_object_set_new(out, key, json_deep_copy(value));
		return 0;
	}
	/* The values of a map of structs have the field's type; those of a map of scalars none. */
	const struct api_type *inner = patch_field_type(field);
	if (field && field->shape == API_MAP && inner) {
		json_t *map = json_is_object(target) ? json_copy(target) : json_object();
		const char *name;
		json_t *item;
		int r = 0;
		json_object_foreach(value, name, item) {
			if (json_is_null(item)) {
				json_object_del(map, name);
				continue;
			}
			r = merge_object(inner, json_object_get(map, name), item, &merged, err);
			if (r < 0)
				break;
			json_object_set_new(map, name, merged);
		}
		if (r == 0)
			json_object_set(out, key, map);
		json_decref(map);
		return r;
	}
	int r = merge_object(inner, target, value, &merged, err);
	if (r == 0)
		json_object_set_new(out, key, merged);
	return r;
}

/* `target` may be NULL or no object: then the patch, without its directives and nulls, is the result. */
static int merge_object(const struct api_type *type, json_t *target, json_t *patch, json_t **ret, struct error *err) {
	if (!json_is_object(patch)) {
		*ret = json_deep_copy(patch);
		return 0;
	}
	json_t *directive = json_object_get(patch, DIRECTIVE);
	const char *word = json_string_value(directive);
	if (directive && !(word && (str_equal(word, "replace") || str_equal(word, "delete") || str_equal(word, "merge"))))
		return bad_patch(err, "unknown patch type found", word ? word : "not a string");
	if (word && str_equal(word, "delete")) {
		*ret = json_object();
		return 0;
	}
	bool keep = json_is_object(target) && !(word && str_equal(word, "replace"));
	json_t *out = keep ? json_copy(target) : json_object();
	int r = retain_keys(out, patch, err);
	const char *key;
	json_t *value;
	if (r == 0) {
		json_object_foreach(patch, key, value) {
			const char *list = str_starts_with(key, ELEMENT_ORDER) ? key + strlen(ELEMENT_ORDER)
				: str_starts_with(key, DELETE_PRIMITIVE)       ? key + strlen(DELETE_PRIMITIVE)
									       : NULL;
			if (list && !json_object_get(patch, list))
				r = merge_list_key(type, out, patch, list, err);
			else if (!is_directive(key))
				r = merge_value(type, out, patch, key, value, err);
			if (r < 0)
				break;
		}
	}
	if (r < 0) {
		json_decref(out);
		return r;
	}
	*ret = out;
	return 0;
}

int patch_strategic(const struct api_type *type, json_t *target, json_t *patch, json_t **ret, struct error *err) {
	if (!json_is_object(patch))
		return error_status(err, 400, "BadRequest", "error decoding patch: a strategic merge patch is an object");
	json_t *copy = json_deep_copy(target); /* merging edits what it reaches */
	int r = merge_object(type, copy, patch, ret, err);
	json_decref(copy);
	return r;
}
