/* SPDX-License-Identifier: Apache-2.0 */
/* The strategic patch that makes one object of another, and the three-way patch of `apply`. */
#include "common/api/patch/strategic.h"

#include <errno.h>

struct diffing {
	bool deletions; /* say what is gone */
	bool changes;   /* say what is new or different */
	struct error *err;
};

static int diff_objects(const struct diffing *d, struct place place, bool retain_keys, json_t *original, json_t *modified, json_t **ret);

static bool same_order(json_t *a, json_t *b, const char *key) {
	if (json_array_size(a) != json_array_size(b))
		return false;
	for (size_t i = 0; i < json_array_size(a); i++) {
		json_t *x = json_array_get(a, i), *y = json_array_get(b, i);
		if (!patch_values_equal(key ? json_object_get(x, key) : x, key ? json_object_get(y, key) : y))
			return false;
	}
	return true;
}

/* {key: value} of each element, or the scalars themselves. */
static json_t *order_list(json_t *list, const char *key) {
	json_t *order = json_array(), *item;
	size_t i;
	json_array_foreach(list, i, item) {
		json_array_append_new(order, key ? json_pack("{s:O}", key, json_object_get(item, key)) : json_incref(item));
	}
	return order;
}

static bool all_keyed(json_t *list, const char *key) {
	size_t i;
	json_t *item;
	json_array_foreach(list, i, item) {
		if (key ? !json_object_get(item, key) : json_is_object(item) || json_is_array(item))
			return false;
	}
	return true;
}

/*
 * The element of `list` that `item`, at place `at` of its own list `from`, is to be compared with. Two elements may share a merge key (ports
 * 53 of UDP and TCP in a Service): the second is compared with the second, else an unchanged list would look changed. -1: none.
 */
static int64_t counterpart(json_t *list, json_t *from, size_t at, const char *key, json_t *item) {
	int64_t first = element_index(list, key, item);
	if (!key || first < 0)
		return first;
	json_t *value = json_object_get(item, key);
	size_t nth = 0;
	for (size_t i = 0; i < at; i++)
		nth += patch_values_equal(json_object_get(json_array_get(from, i), key), value);
	for (size_t i = (size_t)first; i < json_array_size(list); i++)
		if (patch_values_equal(json_object_get(json_array_get(list, i), key), value) && nth-- == 0)
			return (int64_t)i;
	return first;
}

static int diff_elements(const struct diffing *d, const struct strategy *s, json_t *original, json_t *modified, json_t *add, json_t *gone) {
	size_t i;
	json_t *item;
	json_array_foreach(modified, i, item) {
		int64_t at = counterpart(original, modified, i, s->key, item);
		if (at < 0) {
			if (d->changes)
				json_array_append(add, item);
			continue;
		}
		if (!s->key)
			continue;
		json_t *inner;
		int r = diff_objects(d, s->inner, s->retain_keys, json_array_get(original, (size_t)at), item, &inner);
		if (r < 0)
			return r;
		if (json_object_size(inner)) {
			json_object_set(inner, s->key, json_object_get(item, s->key));
			json_array_append(add, inner);
		}
		json_decref(inner);
	}
	if (d->deletions)
		json_array_foreach(original, i, item) {
			if (element_index(modified, s->key, item) >= 0)
				continue;
			if (s->key)
				json_array_append_new(add, json_pack("{s:O,s:s}", s->key, json_object_get(item, s->key), DIRECTIVE, "delete"));
			else
				json_array_append(gone, item);
		}
	return 0;
}

static int diff_merged_list(const struct diffing *d, const struct strategy *s, const char *field, json_t *original, json_t *modified, json_t *patch) {
	if (!json_array_size(original)) {
		if (json_array_size(modified) && d->changes)
			json_object_set(patch, field, modified);
		return 0;
	}
	if (!all_keyed(original, s->key) || !all_keyed(modified, s->key))
		return error_status(d->err, 422, "Invalid", "elements of %s do not contain declared merge key: %s", field, s->key ? s->key : "");
	json_t *add = json_array(), *gone = json_array();
	int r = diff_elements(d, s, original, modified, add, gone);
	bool differs = json_array_size(add) || json_array_size(gone);
	if (!r && json_array_size(add))
		json_object_set(patch, field, add);
	if (!r && json_array_size(gone)) {
		autofree char *name = xprintf("%s%s", DELETE_PREFIX, field);
		json_object_set(patch, name, gone);
	}
	if (!r && (differs || !same_order(original, modified, s->key)) && json_array_size(modified)) {
		autofree char *name = xprintf("%s%s", SET_ORDER_PREFIX, field);
		json_object_set_new(patch, name, order_list(modified, s->key));
	}
	json_decref(add);
	json_decref(gone);
	return r;
}

static int diff_field(const struct diffing *d, struct place place, const char *key, json_t *old, json_t *value, json_t *patch) {
	struct strategy s = strategy_of(place, key);
	if (json_is_object(old) && json_is_object(value) && !s.replace) {
		json_t *inner;
		int r = diff_objects(d, s.inner, s.retain_keys, old, value, &inner);
		if (r < 0)
			return r;
		if (json_object_size(inner))
			json_object_set(patch, key, inner);
		json_decref(inner);
		return 0;
	}
	if (json_is_array(old) && json_is_array(value) && s.merge)
		return diff_merged_list(d, &s, key, old, value, patch);
	if (d->changes && !patch_values_equal(old, value))
		json_object_set(patch, key, value);
	return 0;
}

static int diff_objects(const struct diffing *d, struct place place, bool retain_keys, json_t *original, json_t *modified, json_t **ret) {
	json_t *patch = json_object(), *keep = json_array(), *value;
	const char *key;
	bool added = false;
	int r = 0;
	json_object_foreach(modified, key, value) {
		json_t *old = json_object_get(original, key);
		if (!json_is_null(value))
			json_array_append_new(keep, json_string(key));
		added |= !old;
		if (!old) {
			if (d->changes)
				json_object_set(patch, key, value);
		} else if ((r = diff_field(d, place, key, old, value, patch)) < 0) {
			break;
		}
	}
	if (d->deletions)
		json_object_foreach(original, key, value) {
			if (!json_object_get(modified, key))
				json_object_set_new(patch, key, json_null());
		}
	if (retain_keys && json_array_size(keep) && (json_object_size(patch) || added))
		json_object_set(patch, RETAIN_KEYS, keep);
	json_decref(keep);
	if (r < 0) {
		json_decref(patch);
		return r;
	}
	*ret = patch;
	return 0;
}

/* Copies: what was borrowed from the inputs must not be shared with what a caller may change. */
static int compare(const struct diffing *d, const struct api_type *type, json_t *original, json_t *modified, json_t **ret) {
	if (!json_is_object(original) || !json_is_object(modified))
		return error_set(d->err, EINVAL, "only objects can be compared");
	json_t *patch;
	int r = diff_objects(d, (struct place){.type = type}, false, original, modified, &patch);
	if (r < 0)
		return r;
	*ret = json_deep_copy(patch);
	json_decref(patch);
	return 0;
}

int patch_strategic_diff(const struct api_type *type, json_t *original, json_t *modified, json_t **ret, struct error *err) {
	return compare(&(struct diffing){.deletions = true, .changes = true, .err = err}, type, original, modified, ret);
}

int patch_strategic_three_way(const struct api_type *type, json_t *original, json_t *modified, json_t *current, json_t **ret, struct error *err) {
	json_t *empty = json_object(), *changes = NULL, *deletions = NULL;
	json_t *before = json_is_object(original) ? original : empty;
	int r = compare(&(struct diffing){.changes = true, .err = err}, type, current, modified, &changes);
	if (!r)
		r = compare(&(struct diffing){.deletions = true, .err = err}, type, before, modified, &deletions);
	if (!r)
		r = strategic_merge_object((struct place){.type = type}, deletions, changes, true, err);
	json_decref(changes);
	json_decref(empty);
	if (r < 0) {
		json_decref(deletions);
		return r;
	}
	*ret = deletions;
	return 0;
}
