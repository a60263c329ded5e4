/* SPDX-License-Identifier: Apache-2.0 */
/* JSON Merge Patch (RFC 7396), and making one. */
#include "common/api/patch/patch.h"

#include <errno.h>

/* Returns a new reference. `target` may be NULL. Depth is bounded by the parser that made the trees. */
static json_t *merge(json_t *target, json_t *patch) {
	if (!json_is_object(patch))
		return json_deep_copy(patch);
	json_t *out = json_is_object(target) ? json_deep_copy(target) : json_object();
	const char *key;
	json_t *value;
	json_object_foreach(patch, key, value) {
		if (json_is_null(value))
			json_object_del(out, key);
		else
			json_object_set_new(out, key, merge(json_object_get(out, key), value));
	}
	return out;
}

int patch_merge(json_t *target, json_t *patch, json_t **ret, struct error *err) {
	if (!json_is_object(patch))
		return error_status(err, 400, "BadRequest", "error decoding patch: a merge patch is an object");
	*ret = merge(target, patch);
	return 0;
}

enum { WITHOUT_DELETIONS = 1, ONLY_DELETIONS = 2 };

static json_t *diff(json_t *original, json_t *modified, int flags) {
	json_t *out = json_object();
	const char *key;
	json_t *value;
	json_object_foreach(modified, key, value) {
		json_t *old = json_object_get(original, key);
		if (json_is_object(value) && json_is_object(old)) {
			json_t *inner = diff(old, value, flags);
			if (json_object_size(inner))
				json_object_set_new(out, key, inner);
			else
				json_decref(inner);
		} else if (!(flags & ONLY_DELETIONS) && (!old || !patch_values_equal(old, value))) {
			json_object_set(out, key, value);
		}
	}
	if (flags & WITHOUT_DELETIONS)
		return out;
	json_object_foreach(original, key, value)
		if (!json_object_get(modified, key))
			json_object_set_new(out, key, json_null());
	return out;
}

int patch_merge_diff(json_t *original, json_t *modified, json_t **ret, struct error *err) {
	if (!json_is_object(original) || !json_is_object(modified))
		return error_set(err, EINVAL, "only objects have a merge patch between them");
	*ret = diff(original, modified, 0);
	return 0;
}

/* Both say what to change; where they meet in objects they go together, else the second wins. */
static json_t *unite(json_t *a, json_t *b) {
	json_t *out = json_copy(a);
	const char *key;
	json_t *value;
	json_object_foreach(b, key, value) {
		json_t *have = json_object_get(out, key);
		if (json_is_object(have) && json_is_object(value))
			json_object_set_new(out, key, unite(have, value));
		else
			json_object_set(out, key, value);
	}
	return out;
}

int patch_merge_three_way(json_t *original, json_t *modified, json_t *current, json_t **ret, struct error *err) {
	if (!json_is_object(original) || !json_is_object(modified) || !json_is_object(current))
		return error_set(err, EINVAL, "only objects have a merge patch between them");
	json_t *changes = diff(current, modified, WITHOUT_DELETIONS);
	json_t *deletions = diff(original, modified, ONLY_DELETIONS);
	*ret = unite(deletions, changes);
	json_decref(changes);
	json_decref(deletions);
	return 0;
}
