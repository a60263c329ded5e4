/* SPDX-License-Identifier: Apache-2.0 */
/* JSON Patch, RFC 6902. */
#include "common/api/patch/patch.h"

#include <errno.h>

bool patch_values_equal(json_t *a, json_t *b) {
	if (json_is_number(a) && json_is_number(b) && json_typeof(a) != json_typeof(b))
		return json_number_value(a) == json_number_value(b);
	if (!a || !b || json_typeof(a) != json_typeof(b))
		return a == b;
	if (json_is_array(a)) {
		if (json_array_size(a) != json_array_size(b))
			return false;
		for (size_t i = 0; i < json_array_size(a); i++)
			if (!patch_values_equal(json_array_get(a, i), json_array_get(b, i)))
				return false;
		return true;
	}
	if (json_is_object(a)) {
		const char *key;
		json_t *value;
		if (json_object_size(a) != json_object_size(b))
			return false;
		json_object_foreach(a, key, value) {
			json_t *other = json_object_get(b, key);
			if (!other || !patch_values_equal(value, other))
				return false;
		}
		return true;
	}
	return json_equal(a, b);
}

/* One part of a pointer, unescaped: ~1 is /, ~0 is ~. Advances *path past it. */
static char *next_token(const char **path) {
	const char *start = ++*path;
	size_t len = strcspn(start, "/"), n = 0;
	char *token = xmalloc(len + 1);
	for (size_t i = 0; i < len; i++) {
		if (start[i] == '~' && i + 1 < len && (start[i + 1] == '0' || start[i + 1] == '1'))
			token[n++] = start[++i] == '1' ? '/' : '~';
		else
			token[n++] = start[i];
	}
	token[n] = 0;
	*path = start + len;
	return token;
}

/* An index into `array`, which may be its length where `end` allows; -1 where it is none. */
static int64_t array_index(json_t *array, const char *token, bool end) {
	int64_t size = (int64_t)json_array_size(array), index;
	if (end && !strcmp(token, "-"))
		return size;
	if (!str_to_int64(token, -size, size - !end, &index))
		return -1;
	return index < 0 ? index + size : index;
}

static json_t *step(json_t *value, const char *token) {
	if (json_is_object(value))
		return json_object_get(value, token);
	if (!json_is_array(value))
		return NULL;
	int64_t index = array_index(value, token, false);
	return index < 0 ? NULL : json_array_get(value, (size_t)index);
}

/* The holder of what `path` names and the last token (malloc); borrowed. NULL where a part before the last is missing. */
static json_t *find_holder(json_t *root, const char *path, char **ret_token) {
	json_t *value = root;
	if (*path != '/')
		return NULL;
	for (;;) {
		char *token = next_token(&path);
		if (!*path) {
			*ret_token = token;
			return value;
		}
		value = step(value, token);
		free(token);
		if (!value)
			return NULL;
	}
}

static json_t *find(json_t *root, const char *path) {
	autofree char *token = NULL;
	if (!*path)
		return root;
	json_t *holder = find_holder(root, path, &token);
	return holder ? step(holder, token) : NULL;
}

struct patching {
	json_t *root; /* owned; what operations change */
};

/* Takes `value`. */
static int put(struct patching *p, const char *path, json_t *value, bool replace) {
	autofree char *token = NULL;
	if (!*path) {
		json_decref(p->root);
		p->root = value;
		return 0;
	}
	json_t *holder = find_holder(p->root, path, &token);
	/* As Kubernetes has it, a member that is not there is replaced as well. */
	if (json_is_object(holder))
		return json_object_set_new(holder, token, value) ? -EINVAL : 0;
	int64_t index = json_is_array(holder) ? array_index(holder, token, !replace) : -1;
	if (index < 0) {
		json_decref(value);
		return -EINVAL;
	}
	if (replace)
		return json_array_set_new(holder, (size_t)index, value) ? -EINVAL : 0;
	return json_array_insert_new(holder, (size_t)index, value) ? -EINVAL : 0;
}

static int take_away(struct patching *p, const char *path) {
	autofree char *token = NULL;
	json_t *holder = *path ? find_holder(p->root, path, &token) : NULL;
	if (json_is_object(holder))
		return json_object_del(holder, token) ? -EINVAL : 0;
	int64_t index = json_is_array(holder) ? array_index(holder, token, false) : -1;
	return index < 0 || json_array_remove(holder, (size_t)index) ? -EINVAL : 0;
}

static int apply_add(struct patching *p, const char *path, const char *from, json_t *value) {
	return put(p, path, json_deep_copy(value), false);
}

static int apply_replace(struct patching *p, const char *path, const char *from, json_t *value) {
	return put(p, path, json_deep_copy(value), true);
}

static int apply_remove(struct patching *p, const char *path, const char *from, json_t *value) {
	return take_away(p, path);
}

static int apply_move(struct patching *p, const char *path, const char *from, json_t *value) {
	size_t len = strlen(from);
	/* Nothing moves into itself. */
	if (str_starts_with(path, from) && path[len] == '/')
		return -EINVAL;
	json_t *moved = find(p->root, from);
	if (!moved || !len)
		return -EINVAL;
	json_incref(moved);
	if (take_away(p, from) < 0) {
		json_decref(moved);
		return -EINVAL;
	}
	return put(p, path, moved, false);
}

static int apply_copy(struct patching *p, const char *path, const char *from, json_t *value) {
	autofree char *token = NULL;
	json_t *holder = *from ? find_holder(p->root, from, &token) : NULL, *copied = holder ? step(holder, token) : find(p->root, from);
	/* Likewise a member that is not there is copied as null. */
	if (!copied && !json_is_object(holder))
		return -EINVAL;
	return put(p, path, copied ? json_deep_copy(copied) : json_null(), false);
}

static int apply_test(struct patching *p, const char *path, const char *from, json_t *value) {
	json_t *have = find(p->root, path);
	if (!have)
		return json_is_null(value) ? 0 : -EINVAL;
	return patch_values_equal(have, value) ? 0 : -EINVAL;
}

static const struct operation {
	const char *name;
	bool needs_from;
	int (*apply)(struct patching *p, const char *path, const char *from, json_t *value);
} operations[] = {
	{"add", false, apply_add}, {"remove", false, apply_remove}, {"replace", false, apply_replace},
	{"move", true, apply_move}, {"copy", true, apply_copy}, {"test", false, apply_test},
};

static int refuse(const char *name, const char *path, struct error *err) {
	if (str_equal(name, "test"))
		return error_status(err, 422, "Invalid", "testing value %s failed: test failed", path);
	return error_status(err, 422, "Invalid", "%s operation does not apply: doc is missing path: \"%s\": missing value", name, path);
}

static int apply_operation(struct patching *p, json_t *step_json, struct error *err) {
	const char *name = json_string_value(json_object_get(step_json, "op"));
	const char *path = json_string_value(json_object_get(step_json, "path"));
	const char *from = json_string_value(json_object_get(step_json, "from"));
	json_t *value = json_object_get(step_json, "value");
	for (size_t i = 0; i < array_len(operations); i++) {
		const struct operation *op = &operations[i];
		if (!name || strcmp(op->name, name))
			continue;
		if (!path || (op->needs_from && !from))
			break;
		/* Left out, it is null. */
		json_t *null = json_null();
		return op->apply(p, path, from, value ? value : null) < 0 ? refuse(name, path, err) : 0;
	}
	return error_status(err, 422, "Invalid", "Unexpected kind: %s", str_or(name, "unknown"));
}

static const char *type_name(const json_t *value) {
	return json_is_object(value) ? "object" : json_is_array(value) ? "array" : json_is_string(value) ? "string" : json_is_number(value) ? "number" : "bool";
}

int patch_json(json_t *target, json_t *patch, json_t **ret, struct error *err) {
	size_t i;
	json_t *item;
	if (!json_is_array(patch) && !json_is_null(patch))
		return error_status(err, 400, "BadRequest", "error decoding patch: json: cannot unmarshal %s into Go value of type []handlers.jsonPatchOp", type_name(patch));
	if (json_array_size(patch) > PATCH_MAX_OPERATIONS)
		return error_status(err, 413, "RequestEntityTooLarge", "The allowed maximum operations in a JSON patch is %d, got %zu", PATCH_MAX_OPERATIONS, json_array_size(patch));
	json_array_foreach(patch, i, item) {
		static const char *const texts[] = {"op", "from", "path"};
		if (!json_is_object(item) && !json_is_null(item))
			return error_status(err, 400, "BadRequest", "error decoding patch: json: cannot unmarshal %s into Go value of type handlers.jsonPatchOp", type_name(item));
		for (size_t t = 0; t < array_len(texts); t++) {
			json_t *text = json_object_get(item, texts[t]);
			if (text && !json_is_string(text) && !json_is_null(text))
				return error_status(err, 400, "BadRequest", "error decoding patch: json: cannot unmarshal %s into Go struct field jsonPatchOp.%s of type string", type_name(text), texts[t]);
		}
	}
	struct patching p = {.root = json_deep_copy(target)};
	json_array_foreach(patch, i, item) {
		int r = apply_operation(&p, item, err);
		if (r < 0) {
			json_decref(p.root);
			return r;
		}
	}
	*ret = p.root;
	return 0;
}
