/* SPDX-License-Identifier: Apache-2.0 */
/* Field sets of a value, and of the difference between two. */
#include "common/api/patch/patch.h"
#include "common/api/patch/typed.h"

#include <errno.h>

void typed_difference_done(struct typed_difference *d) {
	json_decref(d->added);
	json_decref(d->modified);
	json_decref(d->removed);
}

json_t *typed_index(struct field_schema s, json_t *list) {
	json_t *index = json_object(), *item;
	size_t i;
	json_array_foreach(list, i, item) {
		autofree char *element = field_schema_element(s, item);
		if (element && !json_object_get(index, element))
			json_object_set_new(index, element, json_integer((json_int_t)i));
	}
	return index;
}

/* ---- check ---- */

/* What is wrong, a line each. */
struct mistakes {
	struct buf lines;
	unsigned count;
};
enum { MAX_MISTAKES = 64 };

static void mistake(struct mistakes *m, const struct buf *path, const char *fmt, ...) printf_like(3, 4);
static void mistake(struct mistakes *m, const struct buf *path, const char *fmt, ...) {
	va_list args;
	if (m->count++ >= MAX_MISTAKES)
		return;
	buf_printf(&m->lines, "%s%s: ", m->count > 1 ? "\n  " : "", path->data ? path->data : "");
	va_start(args, fmt);
	buf_vprintf(&m->lines, fmt, args);
	va_end(args);
}

static void cut(struct buf *path, size_t len) {
	path->len = len;
	if (path->data)
		path->data[len] = 0;
}

static void check_value(struct field_schema s, json_t *value, struct buf *path, struct mistakes *m);

static void check_members(struct field_schema s, json_t *value, struct buf *path, struct mistakes *m) {
	size_t len = path->len;
	const char *key;
	json_t *member;
	json_object_foreach(value, key, member) {
		struct field_schema inner;
		bool named, known = field_schema_member(s, key, &inner, &named);
		buf_printf(path, ".%s", key);
		if (known)
			check_value(inner, member, path, m);
		else
			mistake(m, path, "field not declared in schema");
		cut(path, len);
		if (!known)
			return; /* as Kubernetes does: the members behind it are not looked at */
	}
}

static void check_items(struct field_schema s, json_t *value, struct buf *path, struct mistakes *m) {
	size_t len = path->len, i;
	json_t *item, *seen = json_object();
	json_array_foreach(value, i, item) {
		if (s.form == FORM_KEYED && !json_is_object(item)) {
			mistake(m, path, "element %zu: associative list with keys may not have %s", i, json_is_null(item) ? "a null element" : "non-map elements");
			break;
		}
		autofree char *element = field_schema_element(s, item);
		if (!element) {
			autobuf struct buf keys = BUF_INIT(64 << 10);
			field_schema_key_names(s, &keys);
			mistake(m, path, "element %zu: associative list with keys has an element that omits all key fields [%s] (and doesn't have default values for any key fields)", i, keys.data ? keys.data : "");
			break;
		}
		autobuf struct buf spelled = BUF_INIT(64 << 10);
		field_set_append_element(&spelled, element);
		if (json_object_get(seen, element))
			mistake(m, path, "duplicate entries for key %s", spelled.data);
		else
			json_object_set_new(seen, element, json_true());
		buf_append_str(path, spelled.data ? spelled.data : "");
		check_value(field_schema_item(s), item, path, m);
		cut(path, len);
	}
	json_decref(seen);
}

static void check_value(struct field_schema s, json_t *value, struct buf *path, struct mistakes *m) {
	enum field_form form = field_schema_form(s, value);
	bool list = s.form == FORM_SET || s.form == FORM_KEYED, map = s.form == FORM_STRUCT || s.form == FORM_MAP;
	if (form == FORM_LEAF && !json_is_null(value) && (list || map)) {
		autobuf struct buf shown = BUF_INIT(BUF_MAX_DEFAULT);
		patch_append_go_value(&shown, value);
		mistake(m, path, "expected %s, got &{%s}", list ? "list" : "map", shown.data ? shown.data : "");
		return;
	}
	switch (form) {
	case FORM_STRUCT:
	case FORM_MAP:
		check_members(s, value, path, m);
		return;
	case FORM_SET:
	case FORM_KEYED:
		check_items(s, value, path, m);
		return;
	default:
		return;
	}
}

int typed_check(struct field_schema s, json_t *value, struct error *err) {
	autobuf struct buf path = BUF_INIT((size_t)1 << 20);
	struct mistakes found = {.lines = BUF_INIT((size_t)1 << 20)};
	check_value(s, value, &path, &found);
	int r = found.count ? error_set(err, EINVAL, "%s%s", found.count > 1 ? "errors:\n  " : "", found.lines.data ? found.lines.data : "") : 0;
	buf_done(&found.lines);
	return r;
}

/* ---- the set of one value ---- */

static void collect(struct field_schema s, json_t *value, json_t *set);

static void collect_members(struct field_schema s, json_t *value, json_t *set) {
	const char *key;
	json_t *member;
	json_object_foreach(value, key, member) {
		struct field_schema inner;
		bool named;
		if (!field_schema_member(s, key, &inner, &named))
			continue;
		autofree char *element = xprintf("f:%s", key);
		json_t *child = json_object();
		collect(inner, member, child);
		/* An entry of a map is claimed itself, a declared field only by what is in it. */
		if (!named || json_is_null(member) || (json_is_object(member) && !json_object_size(member)))
			field_set_add_self(child);
		field_set_attach(set, element, child);
	}
}

static void collect(struct field_schema s, json_t *value, json_t *set) {
	size_t i;
	json_t *item;
	switch (field_schema_form(s, value)) {
	case FORM_STRUCT:
	case FORM_MAP:
		collect_members(s, value, set);
		return;
	case FORM_SET:
	case FORM_KEYED:
		json_array_foreach(value, i, item) {
			autofree char *element = field_schema_element(s, item);
			if (!element)
				continue;
			json_t *child = json_object();
			collect(field_schema_item(s), item, child);
			field_set_add_self(child);
			field_set_attach(set, element, child);
		}
		return;
	default:
		field_set_add_self(set);
	}
}

json_t *typed_field_set(struct field_schema s, json_t *value) {
	json_t *set = json_object();
	collect(s, value, set);
	json_object_del(set, "."); /* the root is nobody's */
	return set;
}

/* ---- the difference of two ---- */

static void compare(struct field_schema s, json_t *old, json_t *new, struct typed_difference *d);

static struct typed_difference open_difference(void) {
	return (struct typed_difference){json_object(), json_object(), json_object()};
}

static void attach_difference(struct typed_difference *d, const char *element, struct typed_difference inner) {
	field_set_attach(d->added, element, inner.added);
	field_set_attach(d->modified, element, inner.modified);
	field_set_attach(d->removed, element, inner.removed);
}

static void compare_member(struct field_schema s, const char *key, json_t *old, json_t *new, struct typed_difference *d) {
	struct field_schema inner_schema;
	bool named;
	if (!field_schema_member(s, key, &inner_schema, &named))
		inner_schema = (struct field_schema){.form = FORM_ANY};
	autofree char *element = xprintf("f:%s", key);
	struct typed_difference inner = open_difference();
	compare(inner_schema, old, new, &inner);
	attach_difference(d, element, inner);
}

static void compare_members(struct field_schema s, json_t *old, json_t *new, struct typed_difference *d) {
	const char *key;
	json_t *value;
	json_object_foreach(old, key, value) {
		compare_member(s, key, value, json_object_get(new, key), d);
	}
	json_object_foreach(new, key, value) {
		if (!json_object_get(old, key))
			compare_member(s, key, NULL, value, d);
	}
}

static json_t *indexed(json_t *list, json_t *index, const char *element) {
	json_t *at = json_object_get(index, element);
	return at ? json_array_get(list, (size_t)json_integer_value(at)) : NULL;
}

static void compare_items(struct field_schema s, json_t *old, json_t *new, struct typed_difference *d) {
	json_t *old_index = typed_index(s, old), *new_index = typed_index(s, new), *all = json_object(), *at;
	const char *element;
	json_object_update(all, old_index);
	json_object_update(all, new_index);
	json_object_foreach(all, element, at) {
		struct typed_difference inner = open_difference();
		compare(field_schema_item(s), indexed(old, old_index, element), indexed(new, new_index, element), &inner);
		attach_difference(d, element, inner);
	}
	json_decref(old_index);
	json_decref(new_index);
	json_decref(all);
}

static bool is_hollow(json_t *value) {
	return !value || json_is_null(value) || (json_is_object(value) && !json_object_size(value)) || (json_is_array(value) && !json_array_size(value));
}

static void compare(struct field_schema s, json_t *old, json_t *new, struct typed_difference *d) {
	/* Null takes whatever form the other side has; so does what is not there. */
	enum field_form form = field_schema_form(s, is_hollow(new) ? old : new);
	bool fits = is_hollow(old) || is_hollow(new) || field_schema_form(s, old) == form;
	if (form == FORM_LEAF || !fits || (is_hollow(old) && is_hollow(new))) {
		if (!old)
			field_set_add_self(d->added);
		else if (!new)
			field_set_add_self(d->removed);
		else if (!patch_values_equal(old, new))
			field_set_add_self(d->modified);
		return;
	}
	if (form == FORM_STRUCT || form == FORM_MAP)
		compare_members(s, old, new, d);
	else
		compare_items(s, old, new, d);
	if (!old)
		field_set_add_self(d->added);
	else if (!new)
		field_set_add_self(d->removed);
}

void typed_compare(struct field_schema s, json_t *old, json_t *new, struct typed_difference *ret) {
	*ret = open_difference();
	compare(s, old, new, ret);
	json_object_del(ret->added, ".");
	json_object_del(ret->modified, ".");
	json_object_del(ret->removed, ".");
}
