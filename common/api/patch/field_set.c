/* SPDX-License-Identifier: Apache-2.0 */
#include "common/api/patch/field_set.h"

#include "common/api/codec.h"

void field_set_attach(json_t *set, const char *element, json_t *child) {
	if (field_set_empty(child))
		json_decref(child);
	else
		json_object_set_new(set, element, child);
}

json_t *field_set_union(json_t *a, json_t *b) {
	json_t *out = json_object(), *child;
	const char *key;
	json_object_foreach(a, key, child) {
		json_t *other = json_object_get(b, key);
		json_object_set_new(out, key, other ? field_set_union(child, other) : json_incref(child));
	}
	json_object_foreach(b, key, child) {
		if (!json_object_get(a, key))
			json_object_set_new(out, key, json_incref(child));
	}
	return out;
}

json_t *field_set_difference(json_t *a, json_t *b) {
	json_t *out = json_object(), *child;
	const char *key;
	json_object_foreach(a, key, child) {
		json_t *other = json_object_get(b, key);
		if (!other)
			json_object_set_new(out, key, json_incref(child));
		else if (strcmp(key, "."))
			field_set_attach(out, key, field_set_difference(child, other));
	}
	return out;
}

json_t *field_set_intersection(json_t *a, json_t *b) {
	json_t *out = json_object(), *child;
	const char *key;
	json_object_foreach(a, key, child) {
		json_t *other = json_object_get(b, key);
		if (!other)
			continue;
		if (!strcmp(key, "."))
			field_set_add_self(out);
		else
			field_set_attach(out, key, field_set_intersection(child, other));
	}
	return out;
}

void field_set_remove_tree(json_t *set, const char *const *names, size_t count) {
	if (!count)
		return;
	autofree char *element = xprintf("f:%s", names[0]);
	json_t *child = json_object_get(set, element);
	if (!child)
		return;
	if (count > 1)
		field_set_remove_tree(child, names + 1, count - 1);
	if (count == 1 || field_set_empty(child))
		json_object_del(set, element);
}

static json_t *read_node(json_t *node, bool root) {
	json_t *out = json_object(), *child;
	const char *key;
	json_object_foreach(node, key, child) {
		if (!strcmp(key, "."))
			field_set_add_self(out);
		else if (json_is_object(child))
			json_object_set_new(out, key, read_node(child, false));
	}
	if (!root && !json_object_size(node))
		field_set_add_self(out);
	return out;
}

json_t *field_set_read(json_t *fields_v1) {
	return read_node(fields_v1, true);
}

bool field_set_covers(json_t *set, json_t *part) {
	const char *key;
	json_t *child;
	json_object_foreach(part, key, child) {
		json_t *own = json_object_get(set, key);
		if (!own || (strcmp(key, ".") && !field_set_covers(own, child)))
			return false;
	}
	return true;
}

int field_set_order(const char *a, const char *b) {
	bool may_count = *a == 'k' || *a == 'v', quoted = false;
	for (; *a && *a == *b; a++, b++) {
		if (*a == '"')
			quoted = !quoted;
		if (*a == '\\' && a[1] && a[1] == b[1])
			a++, b++;
	}
	static const char digits[] = "0123456789";
	size_t x = strspn(a, digits), y = strspn(b, digits);
	if (may_count && !quoted && x != y)
		return x < y ? -1 : 1;
	return strcmp(a, b);
}

static int order_keys(const void *a, const void *b) {
	return field_set_order(*(const char *const *)a, *(const char *const *)b);
}

/* The keys in order; the caller frees the list. */
static const char **sorted_keys(json_t *set, size_t *ret_count) {
	const char **keys = xcalloc(json_object_size(set) + 1, sizeof(*keys)), *key;
	size_t n = 0;
	json_t *child;
	json_object_foreach(set, key, child) {
		keys[n++] = key;
	}
	qsort(keys, n, sizeof(*keys), order_keys);
	*ret_count = n;
	return keys;
}

/* In order: clients compare the text. */
json_t *field_set_write(json_t *set) {
	json_t *out = json_object();
	size_t count;
	autofree const char **keys = sorted_keys(set, &count);
	for (size_t i = 0; i < count; i++) {
		if (strcmp(keys[i], "."))
			json_object_set_new(out, keys[i], field_set_write(json_object_get(set, keys[i])));
		else if (count > 1)
			json_object_set_new(out, keys[i], json_object());
	}
	return out;
}

void field_set_append(json_t *set, struct buf *out) {
	size_t count, written = 0;
	autofree const char **keys = sorted_keys(set, &count);
	buf_append_char(out, '{');
	for (size_t i = 0; i < count; i++) {
		bool self = !strcmp(keys[i], ".");
		if (self && count == 1)
			continue;
		if (written++)
			buf_append_char(out, ',');
		api_append_json_string(out, keys[i], strlen(keys[i]));
		buf_append_char(out, ':');
		if (self)
			buf_append(out, "{}", 2);
		else
			field_set_append(json_object_get(set, keys[i]), out);
	}
	buf_append_char(out, '}');
}

static void append_keys(struct buf *path, const char *text) {
	json_t *keys = json_loads(text, JSON_DECODE_ANY, NULL), *value;
	const char *key;
	size_t n = 0;
	buf_append_char(path, '[');
	json_object_foreach(keys, key, value) {
		buf_printf(path, "%s%s=", n++ ? "," : "", key);
		api_append_json_tree(path, value, 0);
	}
	buf_append_char(path, ']');
	json_decref(keys);
}

void field_set_append_element(struct buf *path, const char *element) {
	const char *rest = element + 2;
	if (*element == 'f')
		buf_printf(path, ".%s", rest);
	else if (*element == 'k')
		append_keys(path, rest);
	else if (*element == 'v')
		buf_printf(path, "[=%s]", rest);
	else
		buf_printf(path, "[%s]", rest);
}

static void shorten(struct buf *path, size_t len) {
	path->len = len;
	if (path->data)
		path->data[len] = 0;
}

/* What is in the set comes before what stands beneath its siblings. */
static void each(json_t *set, struct buf *path, void (*fn)(const char *path, void *arg), void *arg) {
	size_t n, len = path->len;
	autofree const char **keys = sorted_keys(set, &n);
	for (int beneath = 0; beneath < 2; beneath++)
		for (size_t i = 0; i < n; i++) {
			json_t *child = json_object_get(set, keys[i]);
			if (strlen(keys[i]) < 2 || (!beneath && !field_set_has_self(child)))
				continue;
			field_set_append_element(path, keys[i]);
			if (beneath)
				each(child, path, fn, arg);
			else
				fn(path->data, arg);
			shorten(path, len);
		}
}

void field_set_each(json_t *set, void (*fn)(const char *path, void *arg), void *arg) {
	autobuf struct buf path = BUF_INIT((size_t)1 << 20);
	if (field_set_has_self(set))
		fn("", arg);
	each(set, &path, fn, arg);
}
