/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strategic merge patch. Objects merge field by field; a list whose field says so merges by its merge key (or as a set of
 * scalars), any other list is replaced. Directives in the patch: $patch (replace, delete, merge) in objects and in elements
 * of lists, $retainKeys, $setElementOrder/<list>, $deleteFromPrimitiveList/<list>.
 */
#include "common/api/patch/strategic.h"

#include "common/api/codec.h"

#include <errno.h>

static int bad_request(struct error *err, const char *message) {
	return error_status(err, 400, "BadRequest", "%s", message);
}

static int unprocessable(struct error *err, const char *message) {
	return error_status(err, 422, "Invalid", "%s", message);
}

static int lacks_key(struct error *err, json_t *item, const char *key) {
	autobuf struct buf shown = BUF_INIT(BUF_MAX_DEFAULT);
	patch_append_go_value(&shown, item);
	return error_status(err, 500, "", "map: %s does not contain declared merge key: %s", shown.data, key);
}

static int unknown_directive(struct error *err, const char *what, json_t *patch) {
	autobuf struct buf shown = BUF_INIT(BUF_MAX_DEFAULT);
	patch_append_go_value(&shown, patch);
	return error_status(err, 500, "", "unknown patch type: %s in map: %s", what ? what : "", shown.data);
}

static int misordered(struct error *err, json_t *list, json_t *order) {
	autobuf struct buf given = BUF_INIT(BUF_MAX_DEFAULT), wanted = BUF_INIT(BUF_MAX_DEFAULT);
	patch_append_go_value(&given, list);
	patch_append_go_value(&wanted, order);
	return error_status(err, 500, "", "The order in patch list:\n%s\n doesn't match $setElementOrder list:\n%s\n", given.data, wanted.data);
}

struct strategy strategy_of(struct place place, const char *field) {
	struct strategy s = {0};
	size_t offset;
	if (!place.type)
		return s;
	if (place.map) {
		s.inner.type = place.type;
		return s;
	}
	const struct api_field *f = api_field_find(place.type, field, strlen(field), &offset);
	if (!f)
		return s;
	if (f->kind == API_STRUCT && !f->type->custom_json)
		s.inner.type = f->type;
	s.inner.map = f->shape == API_MAP;
	s.merge = f->flags & API_FIELD_MERGE;
	s.retain_keys = f->flags & API_FIELD_RETAIN_KEYS;
	s.replace = f->flags & API_FIELD_REPLACE;
	s.key = f->merge_key;
	return s;
}

int64_t keyed_index(json_t *list, const char *key, json_t *value) {
	size_t i;
	json_t *item;
	json_array_foreach(list, i, item) {
		json_t *have = json_object_get(item, key);
		if (have && patch_values_equal(have, value))
			return (int64_t)i;
	}
	return -1;
}

int64_t element_index(json_t *list, const char *key, json_t *element) {
	size_t i;
	json_t *item;
	if (key) {
		json_t *value = json_object_get(element, key);
		return value ? keyed_index(list, key, value) : -1;
	}
	json_array_foreach(list, i, item) {
		if (patch_values_equal(item, element))
			return (int64_t)i;
	}
	return -1;
}

static bool has_key_of(json_t *item, const char *key, json_t *element) {
	json_t *value = key ? json_object_get(element, key) : element, *have = key ? json_object_get(item, key) : item;
	return value && have && patch_values_equal(have, value);
}

json_t *order_by(json_t *items, json_t *order, const char *key) {
	json_t *sorted = json_array(), *item;
	size_t i;
	json_array_foreach(order, i, item) {
		/* An order that names an element twice does not double it, and elements that share a key (ports of one number) stay together. */
		if (element_index(sorted, key, item) >= 0)
			continue;
		size_t n;
		json_t *same;
		json_array_foreach(items, n, same) {
			if (has_key_of(same, key, item))
				json_array_append(sorted, same);
		}
	}
	json_array_foreach(items, i, item) {
		if (element_index(order, key, item) < 0)
			json_array_append(sorted, item);
	}
	return sorted;
}

/* Merges two lists without common elements: where both heads stand in `server`, its order decides, else `right` goes first. */
static json_t *interleave(json_t *left, json_t *right, json_t *server, const char *key) {
	json_t *out = json_array();
	size_t i = 0, k = 0, left_len = json_array_size(left), right_len = json_array_size(right);
	while (i < left_len || k < right_len) {
		json_t *l = json_array_get(left, i), *r = json_array_get(right, k);
		bool left_first = !r;
		if (l && r) {
			int64_t l_at = element_index(server, key, l), r_at = element_index(server, key, r);
			left_first = l_at >= 0 && r_at >= 0 && l_at < r_at;
		}
		json_array_append(out, left_first ? l : r);
		left_first ? i++ : k++;
	}
	return out;
}

/* What the patch ordered comes in its order, what only the server knows keeps its place among that. Takes `merged`. */
static json_t *enforce_order(json_t *merged, json_t *order, json_t *server, const char *key) {
	json_t *ordered = json_array(), *rest = json_array(), *item;
	size_t i;
	json_array_foreach(merged, i, item) {
		json_array_append(element_index(order, key, item) >= 0 ? ordered : rest, item);
	}
	json_t *left = order_by(rest, server, key), *right = order_by(ordered, order, key);
	json_t *out = interleave(left, right, server, key);
	json_decref(left);
	json_decref(right);
	json_decref(ordered);
	json_decref(rest);
	json_decref(merged);
	return out;
}

/* ---- values taken over as they are ---- */

/* A copy without directives and nulls: what a patch says where the object has nothing. *ret_keep is false where it said delete. */
static json_t *clean(json_t *value, bool *ret_keep) {
	const char *key;
	json_t *item, *out;
	size_t i;
	bool keep = true;
	*ret_keep = true;
	if (json_is_array(value)) {
		out = json_array();
		json_array_foreach(value, i, item) {
			json_t *cleaned = clean(item, &keep);
			if (keep)
				json_array_append_new(out, cleaned);
			else
				json_decref(cleaned);
		}
		return out;
	}
	if (!json_is_object(value))
		return json_deep_copy(value);
	const char *directive = json_string_value(json_object_get(value, DIRECTIVE));
	if (directive && !strcmp(directive, "delete"))
		*ret_keep = false;
	out = json_object();
	json_object_foreach(value, key, item) {
		bool special = !strcmp(key, DIRECTIVE) || !strcmp(key, RETAIN_KEYS) || str_starts_with(key, SET_ORDER_PREFIX) || str_starts_with(key, DELETE_PREFIX);
		if (special || json_is_null(item))
			continue;
		json_t *cleaned = clean(item, &keep);
		if (keep)
			json_object_set_new(out, key, cleaned);
		else
			json_decref(cleaned);
	}
	return out;
}

static void take_over(json_t *original, const char *key, json_t *value, bool keep_directives) {
	bool keep = true;
	json_t *copy = keep_directives ? json_deep_copy(value) : clean(value, &keep);
	if (keep)
		json_object_set_new(original, key, copy);
	else
		json_decref(copy);
}

/* ---- lists ---- */

static int merge_scalars(json_t *original, json_t *patch, bool deletes, json_t **ret) {
	json_t *out = json_array(), *item;
	size_t i;
	json_array_foreach(original, i, item) {
		bool gone = deletes && element_index(patch, NULL, item) >= 0;
		if (!gone && (deletes || element_index(out, NULL, item) < 0))
			json_array_append(out, item);
	}
	if (!deletes)
		json_array_foreach(patch, i, item) {
			if (element_index(out, NULL, item) < 0)
				json_array_append(out, item);
		}
	*ret = out;
	return 0;
}

/* Applies the elements that carry $patch to `list`; the others are collected in `plain`. */
static int apply_special(json_t *list, json_t *patch, const char *key, json_t *plain, bool *ret_replace, struct error *err) {
	size_t i;
	json_t *item;
	json_array_foreach(patch, i, item) {
		json_t *directive = json_object_get(item, DIRECTIVE);
		const char *what = json_string_value(directive);
		if (!directive) {
			json_array_append(plain, item);
		} else if (what && !strcmp(what, "delete")) {
			json_t *value = json_object_get(item, key);
			if (!value)
				return lacks_key(err, item, key);
			for (int64_t at; (at = keyed_index(list, key, value)) >= 0;)
				json_array_remove(list, (size_t)at);
		} else if (what && !strcmp(what, "replace")) {
			*ret_replace = true;
		} else if (what && !strcmp(what, "merge")) {
			return unprocessable(err, "merging lists cannot yet be specified in the patch");
		} else {
			return unknown_directive(err, what, item);
		}
	}
	return 0;
}

static int merge_element(struct place place, json_t *list, json_t *item, const char *key, bool keep, struct error *err) {
	json_t *value = json_object_get(item, key);
	if (!value)
		return lacks_key(err, item, key);
	int64_t at = keyed_index(list, key, value);
	if (at >= 0) {
		json_t *merged = json_deep_copy(json_array_get(list, (size_t)at));
		int r = strategic_merge_object(place, merged, item, keep, err);
		if (r < 0)
			json_decref(merged);
		else
			json_array_set_new(list, (size_t)at, merged);
		return r;
	}
	bool kept = true;
	json_t *copy = keep ? json_deep_copy(item) : clean(item, &kept);
	json_array_append_new(list, copy);
	return 0;
}

static int merge_keyed(struct place place, json_t *original, json_t *patch, const char *key, bool keep, json_t **ret, struct error *err) {
	json_t *list = json_copy(original), *plain = json_array(), *item;
	bool replace = false;
	size_t i;
	int r = keep ? 0 : apply_special(list, patch, key, plain, &replace, err);
	if (keep)
		json_array_extend(plain, patch);
	if (!r && replace) {
		bool kept;
		*ret = clean(plain, &kept);
	} else if (!r) {
		json_array_foreach(plain, i, item) {
			if ((r = merge_element(place, list, item, key, keep, err)) < 0)
				break;
		}
		if (!r)
			*ret = enforce_order(json_incref(list), plain, original, key);
	}
	json_decref(list);
	json_decref(plain);
	return r;
}

static bool all_objects(json_t *list) {
	size_t i;
	json_t *item;
	json_array_foreach(list, i, item) {
		if (!json_is_object(item))
			return false;
	}
	return true;
}

static bool no_containers(json_t *list) {
	size_t i;
	json_t *item;
	json_array_foreach(list, i, item) {
		if (json_is_object(item) || json_is_array(item))
			return false;
	}
	return true;
}

static int merge_list(const struct strategy *s, json_t *original, json_t *patch, bool deletes, bool keep, json_t **ret, struct error *err) {
	if (!s->merge && !deletes) {
		bool kept;
		*ret = keep ? json_deep_copy(patch) : clean(patch, &kept);
		return 0;
	}
	if (s->key && all_objects(original) && all_objects(patch))
		return merge_keyed(s->inner, original, patch, s->key, keep, ret, err);
	if (s->key || !no_containers(original) || !no_containers(patch))
		return bad_request(err, "list element types are not identical");
	json_t *merged;
	merge_scalars(original, patch, deletes, &merged);
	*ret = deletes ? merged : enforce_order(merged, patch, original, NULL);
	return 0;
}

/* ---- objects ---- */

static int apply_retain_keys(json_t *original, json_t *patch, struct error *err) {
	json_t *keys = json_object_get(patch, RETAIN_KEYS), *value;
	const char *key;
	void *next;
	if (!keys)
		return 0;
	if (!json_is_array(keys))
		return bad_request(err, "The format of $retainKeys is not correct");
	json_object_foreach(patch, key, value) {
		json_t *name = json_string(key);
		bool known = element_index(keys, NULL, name) >= 0;
		json_decref(name);
		if (!known && !json_is_null(value) && strcmp(key, RETAIN_KEYS) && !str_starts_with(key, SET_ORDER_PREFIX) && !str_starts_with(key, DELETE_PREFIX))
			return unprocessable(err, "The format of $retainKeys is not correct");
	}
	json_object_foreach_safe(original, next, key, value) {
		json_t *name = json_string(key);
		if (element_index(keys, NULL, name) < 0)
			json_object_del(original, key);
		json_decref(name);
	}
	return 0;
}

/* The order list may hold more than the patch, never less. */
static bool order_covers(json_t *patch_list, json_t *order, const char *key) {
	size_t i;
	json_t *item;
	json_array_foreach(patch_list, i, item) {
		const char *directive = json_string_value(json_object_get(item, DIRECTIVE));
		bool deletes = directive && !strcmp(directive, "delete");
		if (!deletes && element_index(order, key, item) < 0)
			return false;
	}
	return true;
}

static int merge_ordered(struct place place, json_t *original, json_t *patch, const char *field, json_t *order, struct error *err) {
	struct strategy s = strategy_of(place, field);
	json_t *server = json_object_get(original, field), *list = json_object_get(patch, field), *merged = NULL;
	if (!json_is_array(order))
		return bad_request(err, "The format of $setElementOrder is not correct");
	if (json_is_null(list) || (!json_is_array(server) && !json_is_array(list)))
		return 0;
	const char *key = all_objects(order) ? s.key : NULL;
	if (list && !order_covers(list, order, key))
		return misordered(err, list, order);
	int r = 0;
	bool kept;
	if (!json_is_array(list))
		merged = json_copy(server);
	else if (!json_is_array(server))
		merged = clean(list, &kept);
	else
		r = merge_list(&s, server, list, false, false, &merged, err);
	if (r < 0)
		return r;
	json_t *none = json_array();
	json_t *ordered = enforce_order(merged, order, json_is_array(server) ? server : none, key);
	json_decref(none);
	json_object_set_new(original, field, ordered);
	return 0;
}

/* Lists whose order the patch sets. They are done first, and not again with the other fields. */
static int merge_ordered_lists(struct place place, json_t *original, json_t *patch, json_t *done, struct error *err) {
	const char *key;
	json_t *value;
	json_object_foreach(patch, key, value) {
		if (!str_starts_with(key, SET_ORDER_PREFIX))
			continue;
		const char *field = key + strlen(SET_ORDER_PREFIX);
		autofree char *delete_key = xprintf("%s%s", DELETE_PREFIX, field);
		json_t *deleted = json_object_get(patch, delete_key), *have = json_object_get(original, field);
		if (json_is_array(deleted) && json_is_array(have)) {
			json_t *left;
			merge_scalars(have, deleted, true, &left);
			json_object_set_new(original, field, left);
		}
		int r = merge_ordered(place, original, patch, field, value, err);
		if (r < 0)
			return r;
		json_object_set_new(done, key, json_true());
		json_object_set_new(done, delete_key, json_true());
		if (json_is_array(json_object_get(patch, field)))
			json_object_set_new(done, field, json_true());
	}
	return 0;
}

static int merge_field(struct place place, json_t *original, const char *key, json_t *value, bool keep, struct error *err) {
	bool deletes = !keep && str_starts_with(key, DELETE_PREFIX);
	if (deletes)
		key += strlen(DELETE_PREFIX);
	if (json_is_null(value)) {
		if (keep)
			json_object_set_new(original, key, json_null());
		else
			json_object_del(original, key);
		return 0;
	}
	json_t *have = json_object_get(original, key);
	bool objects = json_is_object(have) && json_is_object(value), lists = json_is_array(have) && json_is_array(value);
	if (deletes && !lists)
		return 0;
	if (!objects && !lists) {
		take_over(original, key, value, keep);
		return 0;
	}
	struct strategy s = strategy_of(place, key);
	if (objects) {
		if (s.replace) {
			take_over(original, key, value, keep);
			return 0;
		}
		json_t *merged = json_deep_copy(have);
		int r = strategic_merge_object(s.inner, merged, value, keep, err);
		if (r < 0)
			json_decref(merged);
		else
			json_object_set_new(original, key, merged);
		return r;
	}
	json_t *merged;
	int r = merge_list(&s, have, value, deletes, keep, &merged, err);
	if (!r)
		json_object_set_new(original, key, merged);
	return r;
}

/* $patch of an object itself. Returns 1 where it settles everything. */
static int apply_directive(json_t *original, json_t *patch, struct error *err) {
	json_t *directive = json_object_get(patch, DIRECTIVE);
	const char *what = json_string_value(directive);
	if (!directive)
		return 0;
	if (what && !strcmp(what, "merge"))
		return 0;
	if (!what || (strcmp(what, "replace") && strcmp(what, "delete")))
		return unknown_directive(err, what, patch);
	json_object_clear(original);
	if (!strcmp(what, "replace")) {
		bool kept;
		json_t *copy = clean(patch, &kept);
		json_object_update(original, copy);
		json_decref(copy);
	}
	return 1;
}

int strategic_merge_object(struct place place, json_t *original, json_t *patch, bool keep, struct error *err) {
	const char *key;
	json_t *value;
	int r = keep ? 0 : apply_directive(original, patch, err);
	if (r)
		return r < 0 ? r : 0;
	json_t *done = json_object();
	if (!keep) {
		r = apply_retain_keys(original, patch, err);
		if (!r)
			r = merge_ordered_lists(place, original, patch, done, err);
	}
	if (!r)
		json_object_foreach(patch, key, value) {
			bool special = !keep && (!strcmp(key, DIRECTIVE) || !strcmp(key, RETAIN_KEYS));
			if (special || json_object_get(done, key))
				continue;
			if ((r = merge_field(place, original, key, value, keep, err)) < 0)
				break;
		}
	json_decref(done);
	return r;
}

int patch_strategic(const struct api_type *type, json_t *target, json_t *patch, json_t **ret, struct error *err) {
	if (!json_is_object(patch) || !json_is_object(target))
		return bad_request(err, "invalid JSON document");
	json_t *result = json_deep_copy(target);
	int r = strategic_merge_object((struct place){.type = type}, result, patch, false, err);
	if (r < 0) {
		json_decref(result);
		return r;
	}
	*ret = result;
	return 0;
}
