/* SPDX-License-Identifier: Apache-2.0 */
/* JSON Merge Patch, RFC 7396, and the patches a client makes of two or three objects. */
#include "common/api/patch/patch.h"

#include <errno.h>

/* Both new references come from here: `target` is taken, `patch` borrowed. */
static json_t *merge(json_t *target, json_t *patch) {
	const char *key;
	json_t *value;
	if (!json_is_object(patch)) {
		json_decref(target);
		return json_deep_copy(patch);
	}
	if (!json_is_object(target)) {
		json_decref(target);
		target = json_object();
	}
	json_object_foreach(patch, key, value) {
		if (json_is_null(value)) {
			json_object_del(target, key);
			continue;
		}
		json_t *have = json_object_get(target, key);
		json_object_set_new(target, key, merge(json_incref(have), value));
	}
	return target;
}

int patch_merge(json_t *target, json_t *patch, json_t **ret, struct error *err) {
	if (!json_is_object(patch))
		return error_status(err, 400, "BadRequest", "Invalid JSON Patch");
	*ret = merge(json_deep_copy(target), patch);
	return 0;
}

/* What to say to turn `original` into `modified`: with or without the deletions, with or without the rest. */
static json_t *diff(json_t *original, json_t *modified, bool deletions, bool changes) {
	json_t *patch = json_object(), *value;
	const char *key;
	json_object_foreach(modified, key, value) {
		json_t *old = json_object_get(original, key);
		if (json_is_object(old) && json_is_object(value)) {
			json_t *inner = diff(old, value, deletions, changes);
			if (json_object_size(inner))
				json_object_set(patch, key, inner);
			json_decref(inner);
		} else if (changes && (!old || !patch_values_equal(old, value))) {
			json_object_set_new(patch, key, json_deep_copy(value));
		}
	}
	if (deletions)
		json_object_foreach(original, key, value) {
			if (!json_object_get(modified, key))
				json_object_set_new(patch, key, json_null());
		}
	return patch;
}

int patch_merge_diff(json_t *original, json_t *modified, json_t **ret, struct error *err) {
	if (!json_is_object(original) || !json_is_object(modified))
		return error_set(err, EINVAL, "only objects can be compared");
	*ret = diff(original, modified, true, true);
	return 0;
}

/* `from` on top of `to`, nulls included. */
static void overlay(json_t *to, json_t *from) {
	const char *key;
	json_t *value;
	json_object_foreach(from, key, value) {
		json_t *have = json_object_get(to, key);
		if (json_is_object(have) && json_is_object(value))
			overlay(have, value);
		else
			json_object_set(to, key, value);
	}
}

int patch_merge_three_way(json_t *original, json_t *modified, json_t *current, json_t **ret, struct error *err) {
	json_t *empty = json_object();
	json_t *before = json_is_object(original) ? original : empty;
	if (!json_is_object(modified) || !json_is_object(current)) {
		json_decref(empty);
		return error_set(err, EINVAL, "only objects can be compared");
	}
	json_t *additions = diff(current, modified, false, true);
	json_t *patch = diff(before, modified, true, false);
	overlay(patch, additions);
	json_decref(additions);
	json_decref(empty);
	*ret = patch;
	return 0;
}
