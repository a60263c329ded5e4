/* SPDX-License-Identifier: Apache-2.0 */
/* JSON Patch (RFC 6902) with JSON Pointers (RFC 6901). */
#include "common/api/patch/patch.h"

#include <errno.h>
#include <math.h>

#define POINTER_TOKEN_MAX 4096
#define COPIED_VALUES_MAX 3000000 /* nodes that copy operations may add in all: a few copies of copies would fill any memory */

bool patch_values_equal(json_t *a, json_t *b) {
	if (json_is_number(a) && json_is_number(b)) {
		if (json_is_integer(a) && json_is_integer(b))
			return json_integer_value(a) == json_integer_value(b);
		return !islessgreater(json_number_value(a), json_number_value(b));
	}
	if (json_typeof(a) != json_typeof(b))
		return false;
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
	if (json_is_array(a)) {
		if (json_array_size(a) != json_array_size(b))
			return false;
		for (size_t i = 0; i < json_array_size(a); i++)
			if (!patch_values_equal(json_array_get(a, i), json_array_get(b, i)))
				return false;
		return true;
	}
	return json_equal(a, b);
}

struct run {
	json_t *root; /* owned */
	const char *op;
	size_t copied;
	struct error *err;
};

static int malformed(struct run *run, const char *what, const char *detail) {
	return error_status(run->err, 400, "BadRequest", "error decoding patch: %s%s%s", what, detail ? ": " : "", str_or(detail, ""));
}

static int does_not_apply(struct run *run, const char *path, const char *why) {
	return error_status(run->err, 422, "Invalid", "the server rejected our request due to an error in our request: %s operation does not apply: %s: %s", run->op, path, why);
}

/* The next reference token of a pointer, unescaped; *pointer moves behind it. */
static bool next_token(const char **pointer, char out[POINTER_TOKEN_MAX]) {
	const char *p = *pointer + 1; /* past the slash */
	size_t n = 0;
	for (; *p && *p != '/'; p++) {
		char c = *p;
		if (c == '~') {
			p++;
			if (*p != '0' && *p != '1')
				return false;
			c = *p == '0' ? '~' : '/';
		}
		if (n + 1 >= POINTER_TOKEN_MAX)
			return false;
		out[n++] = c;
	}
	out[n] = '\0';
	*pointer = p;
	return true;
}

/* An index of an array: no sign, no leading zero; "-" is one past the end, where `may_append`. Negative ones count from the end, as Kubernetes' library takes them. */
static bool array_index(const char *token, size_t size, bool may_append, size_t *ret) {
	int64_t index;
	if (str_equal(token, "-")) {
		*ret = size;
		return may_append;
	}
	if ((token[0] == '0' && token[1]) || !str_to_int64(token, -(int64_t)size, INT32_MAX, &index))
		return false;
	if (index < 0)
		index += (int64_t)size;
	*ret = (size_t)index;
	return *ret < size + (may_append ? 1 : 0);
}

static json_t *child(json_t *value, const char *token) {
	size_t index;
	if (json_is_object(value))
		return json_object_get(value, token);
	if (json_is_array(value) && array_index(token, json_array_size(value), false, &index))
		return json_array_get(value, index);
	return NULL;
}

/* Borrowed value at `pointer`, or NULL. */
static json_t *find(json_t *root, const char *pointer) {
	char token[POINTER_TOKEN_MAX];
	json_t *at = root;
	while (at && *pointer) {
		if (*pointer != '/' || !next_token(&pointer, token))
			return NULL;
		at = child(at, token);
	}
	return at;
}

/* Splits off the last token: the value that holds it (borrowed), or NULL. */
static json_t *find_parent(json_t *root, const char *pointer, char last[POINTER_TOKEN_MAX]) {
	json_t *at = root;
	while (*pointer == '/') {
		if (!next_token(&pointer, last))
			return NULL;
		if (!*pointer)
			return at;
		at = child(at, last);
		if (!at)
			return NULL;
	}
	return NULL;
}

/* Takes `value`. */
static int add_at(struct run *run, const char *path, json_t *value, bool replace) {
	char last[POINTER_TOKEN_MAX];
	if (!*path) {
		json_decref(run->root);
		run->root = value;
		return 0;
	}
	json_t *parent = find_parent(run->root, path, last);
	size_t index;
	if (json_is_object(parent) && (!replace || json_object_get(parent, last))) {
		json_object_set_new(parent, last, value);
		return 0;
	}
	if (json_is_array(parent) && array_index(last, json_array_size(parent), !replace, &index)) {
		if (replace)
			json_array_set_new(parent, index, value);
		else
			json_array_insert_new(parent, index, value);
		return 0;
	}
	json_decref(value);
	return does_not_apply(run, path, replace ? "missing value" : "missing container or bad index");
}

static int remove_at(struct run *run, const char *path) {
	char last[POINTER_TOKEN_MAX];
	json_t *parent = find_parent(run->root, path, last);
	size_t index;
	if (json_is_object(parent) && json_object_del(parent, last) == 0)
		return 0;
	if (json_is_array(parent) && array_index(last, json_array_size(parent), false, &index) && json_array_remove(parent, index) == 0)
		return 0;
	return does_not_apply(run, path, "missing value");
}

static size_t count_values(json_t *value) {
	size_t n = 1;
	const char *key;
	json_t *item;
	if (json_is_array(value))
		for (size_t i = 0; i < json_array_size(value); i++)
			n += count_values(json_array_get(value, i));
	json_object_foreach(value, key, item)
		n += count_values(item);
	return n;
}

static int copy_or_move(struct run *run, const char *from, const char *path, bool move) {
	json_t *source = find(run->root, from);
	if (!source)
		return does_not_apply(run, from, "missing value");
	if (!move) {
		run->copied += count_values(source);
		if (run->copied > COPIED_VALUES_MAX)
			return error_status(run->err, 413, "RequestEntityTooLarge", "the copy operations of the patch add too much");
	}
	size_t len = strlen(from);
	if (move && strncmp(path, from, len) == 0 && path[len] == '/')
		return does_not_apply(run, path, "a value cannot be moved into itself");
	json_t *value = move ? json_incref(source) : json_deep_copy(source);
	int r = move ? remove_at(run, from) : 0;
	if (r < 0) {
		json_decref(value);
		return r;
	}
	return add_at(run, path, value, false);
}

static int apply_operation(struct run *run, json_t *operation) {
	const char *op = json_string_value(json_object_get(operation, "op"));
	const char *path = json_string_value(json_object_get(operation, "path"));
	const char *from = json_string_value(json_object_get(operation, "from"));
	json_t *value = json_object_get(operation, "value");
	if (!op || !path)
		return malformed(run, "an operation needs \"op\" and \"path\"", NULL);
	run->op = op;
	if (*path && *path != '/')
		return malformed(run, "a path begins with a slash", path);
	bool copy = str_equal(op, "copy"), move = str_equal(op, "move");
	if (copy || move)
		return from ? copy_or_move(run, from, path, move) : malformed(run, "an operation lacks \"from\"", op);
	if (str_equal(op, "remove"))
		return remove_at(run, path);
	if (!str_equal(op, "add") && !str_equal(op, "replace") && !str_equal(op, "test"))
		return malformed(run, "unexpected kind", op);
	if (!value)
		return malformed(run, "an operation lacks \"value\"", op);
	if (!str_equal(op, "test"))
		return add_at(run, path, json_deep_copy(value), str_equal(op, "replace"));
	json_t *have = find(run->root, path);
	if (!have ? !json_is_null(value) : !patch_values_equal(have, value))
		return does_not_apply(run, path, "the test failed");
	return 0;
}

int patch_json(json_t *target, json_t *patch, json_t **ret, struct error *err) {
	struct run run = {.err = err};
	if (!json_is_array(patch))
		return malformed(&run, "a JSON patch is an array of operations", NULL);
	if (json_array_size(patch) > PATCH_MAX_OPERATIONS)
		return error_status(err, 413, "RequestEntityTooLarge", "The allowed maximum operations in a JSON patch is %d, got %zu", PATCH_MAX_OPERATIONS, json_array_size(patch));
	run.root = json_deep_copy(target);
	for (size_t i = 0; i < json_array_size(patch); i++) {
		int r = apply_operation(&run, json_array_get(patch, i));
		if (r < 0) {
			json_decref(run.root);
			return r;
		}
	}
	*ret = run.root;
	return 0;
}
