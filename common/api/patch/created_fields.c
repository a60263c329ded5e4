/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fieldsV1 of a new object, straight from its struct. A new object is compared with an empty one of its type: what that shows too (parts that
 * Go writes even when empty) counts as having been there before. `before` says so of the value at hand.
 */
#include "common/api/codec.h"
#include "common/api/patch/apply.h"
#include "common/api/patch/field_set.h"
#include "common/api/patch/typed.h"

#include <errno.h>

/* Lists longer than this go the general way, which finds elements with the same key by hashing. */
#define ITEMS_MAX 128
/* Fields that one struct may show at a time. */
#define MEMBERS_MAX 64

struct created {
	struct buf *out;
	const char *const *reset_fields;
	bool unsupported;
};

static void write_members(struct created *c, const struct api_type *type, const void *value, bool before, int level);

/* ---- one set: "{" ".":{} members "}" ---- */

static size_t set_open(struct created *c, bool self) {
	size_t start = c->out->len;
	buf_append_str(c->out, self ? "{\".\":{}" : "{");
	return start;
}

/* An element that has no other member is written {}; one that holds nothing is not in the set at all: false. */
static bool set_close(struct created *c, size_t start, bool self) {
	size_t bare = self ? strlen("{\".\":{}") : 1;
	if (c->out->len == start + bare) {
		c->out->len = start;
		if (!self)
			return false;
		buf_append_char(c->out, '{');
	}
	buf_append_char(c->out, '}');
	return true;
}

static void comma(struct created *c) {
	if (c->out->len && c->out->data[c->out->len - 1] != '{')
		buf_append_char(c->out, ',');
}

static void leaf(struct created *c) {
	buf_append_str(c->out, "{}");
}

/* ---- lists and maps ---- */

/* An element of a map or a keyed list: it is there itself, with what a struct holds. */
static void write_element_value(struct created *c, const struct api_field *f, const void *value) {
	size_t start = set_open(c, true);
	if (field_element_is_granular(f))
		write_members(c, f->type, value, false, 2);
	set_close(c, start, true);
}

static bool append_key(const struct api_type *type, const void *item, const char *key, bool first, struct buf *out) {
	size_t offset;
	const struct api_field *f = api_field_find(type, key, strlen(key), &offset);
	if (!f)
		return false;
	const void *at = api_field_at_const(f, (const char *)item + offset);
	enum api_presence presence = api_field_presence(f, at);
	if (presence == API_LEFT_OUT && !f->default_json)
		return false;
	buf_append_str(out, first ? "\"" : ",\"");
	buf_append_str(out, key);
	buf_append(out, "\":", 2);
	if (presence == API_LEFT_OUT)
		buf_append_str(out, f->default_json);
	else if (presence == API_NULL)
		buf_append_str(out, "null");
	else
		api_encode_json_element(f, api_field_value(f, (const char *)item + offset), out);
	return true;
}

/* k:{"a":1,"b":"x"} with the keys in order. Empty where the item has none of them. */
static void append_keys(const struct api_field *f, const void *item, struct buf *out) {
	const char *last = "";
	size_t count = 0;
	bool any = false;
	while (f->list_keys[count])
		count++;
	buf_append_str(out, "k:{");
	for (size_t n = 0; n < count; n++) {
		const char *next = NULL;
		for (size_t i = 0; i < count; i++)
			if (strcmp(f->list_keys[i], last) > 0 && (!next || strcmp(f->list_keys[i], next) < 0))
				next = f->list_keys[i];
		if (!next)
			break;
		any |= append_key(f->type, item, next, !any, out);
		last = next;
	}
	buf_append_char(out, '}');
	if (!any)
		buf_reset(out);
}

void typed_append_element(const struct api_field *f, const void *item, struct buf *out) {
	if (f->list_type == API_LIST_MAP) {
		append_keys(f, item, out);
	} else {
		buf_append_str(out, "v:");
		api_encode_json_element(f, item, out);
	}
}

/* An element of a keyed list: where its text starts, and what it is. */
struct element {
	size_t start;
	const char *item;
};

/* Texts end with a NUL. Few and mostly in order: insertion. */
static void sort_elements(struct element *elements, size_t count, const char *texts) {
	for (size_t i = 1; i < count; i++) {
		struct element moved = elements[i];
		size_t at = i;
		for (; at && field_set_order(texts + elements[at - 1].start, texts + moved.start) > 0; at--)
			elements[at] = elements[at - 1];
		elements[at] = moved;
	}
}

static void write_list(struct created *c, const struct api_field *f, const struct api_any_list *list, bool keyed) {
	autobuf struct buf texts = BUF_INIT(BUF_MAX_DEFAULT), element = BUF_INIT(BUF_MAX_DEFAULT);
	struct element elements[ITEMS_MAX];
	if (list->len > ITEMS_MAX || (keyed && (f->kind != API_STRUCT || f->type->custom_json))) {
		c->unsupported = true;
		return;
	}
	size_t count = 0;
	for (uint32_t i = 0; i < list->len; i++) {
		const char *item = list->items + (size_t)i * f->element_size;
		buf_reset(&element);
		typed_append_element(f, item, &element);
		if (!element.len)
			continue;
		/* Of several with the same key the first one counts. */
		bool seen = false;
		for (size_t k = 0; k < count && !seen; k++)
			seen = !strcmp(texts.data + elements[k].start, element.data);
		if (seen)
			continue;
		elements[count++] = (struct element){texts.len, item};
		buf_append(&texts, element.data, element.len);
		buf_append_char(&texts, '\0');
	}
	sort_elements(elements, count, texts.data);
	for (size_t i = 0; i < count; i++) {
		const char *text = texts.data + elements[i].start;
		comma(c);
		api_append_json_string(c->out, text, strlen(text));
		buf_append_char(c->out, ':');
		write_element_value(c, f, elements[i].item);
	}
}

static void write_map(struct created *c, const struct api_field *f, const struct api_any_list *map) {
	autobuf struct buf element = BUF_INIT(BUF_MAX_DEFAULT);
	for (uint32_t i = 0; i < map->len; i++) {
		const char *entry = map->items + (size_t)i * f->entry_size;
		buf_reset(&element);
		buf_append_str(&element, "f:");
		buf_append_str(&element, *(const char *const *)entry);
		comma(c);
		api_append_json_string(c->out, element.data, element.len);
		buf_append_char(c->out, ':');
		write_element_value(c, f, entry + f->value_offset);
	}
}

/* ---- structs ---- */

/* What an empty object of the type shows of the field. */
static enum api_presence presence_when_empty(struct created *c, const struct api_field *f) {
	static const char zeros[16384];
	if (f->shape == API_SINGLE && !api_field_indirect(f) && f->element_size > sizeof(zeros))
		c->unsupported = true;
	return c->unsupported ? API_LEFT_OUT : api_field_presence(f, zeros);
}

/* Writes what is owned of one field, {} at least; false where nothing is. */
static bool write_value(struct created *c, const struct api_field *f, const void *at, bool before) {
	enum field_form form = field_form_of(f);
	if (field_needs_tree(f))
		c->unsupported = true;
	if (api_field_presence(f, at) == API_NULL || (f->shape != API_SINGLE && !((const struct api_any_list *)at)->len)) {
		/* Hollow: owned where an empty object would not show it, or would show it otherwise (null where this is []). */
		const struct api_any_list *list = at;
		bool differs = !before || (f->shape != API_SINGLE && list->items);
		if (differs)
			leaf(c);
		return differs;
	}
	const void *value = api_field_indirect(f) ? *(const void *const *)at : at;
	if (form == FORM_LEAF) {
		bool differs = !before || api_field_indirect(f) || !api_value_is_zero(f, value);
		if (differs)
			leaf(c);
		return differs;
	}
	size_t start = set_open(c, !before);
	if (form == FORM_STRUCT)
		write_members(c, f->type, value, before && !api_field_indirect(f), 2);
	else if (form == FORM_MAP)
		write_map(c, f, value);
	else
		write_list(c, f, value, form == FORM_KEYED);
	return set_close(c, start, !before);
}

/* What identifies an object or is kept by the server is nobody's. Level 0 is the object, 1 its metadata. */
static bool nobodys(const struct created *c, const struct api_field *f, int level) {
	static const char *const roots[] = {"kind", "apiVersion"};
	static const char *const metas[] = {"name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields", "resourceVersion"};
	for (size_t i = 0; level == 0 && i < array_len(roots); i++)
		if (!strcmp(f->name, roots[i]))
			return true;
	for (size_t i = 0; level == 1 && i < array_len(metas); i++)
		if (!strcmp(f->name, metas[i]))
			return true;
	for (const char *const *reset = c->reset_fields; level == 0 && reset && *reset; reset++)
		if (str_starts_with(*reset, "f:") && !strcmp(*reset + 2, f->name))
			return true;
	return false;
}

/* A field that says something, and where in the struct it lies. */
struct member {
	const struct api_field *field;
	const void *at;
};

/* Those of a struct and of structs that are written as part of it. False where there is no room. */
static bool find_members(const struct created *c, const struct api_type *type, const void *value, int level, struct member *ret, size_t *count) {
	for (size_t i = 0; i < type->field_count; i++) {
		const struct api_field *f = &type->fields[type->by_name[i]];
		const void *at = api_field_at_const(f, value);
		if (f->flags & (API_FIELD_WIRE_ONLY | API_FIELD_NO_JSON))
			continue;
		if (f->flags & API_FIELD_INLINE) {
			if (!find_members(c, f->type, at, level, ret, count))
				return false;
			continue;
		}
		if (api_field_presence(f, at) == API_LEFT_OUT || nobodys(c, f, level))
			continue;
		if (*count == MEMBERS_MAX)
			return false;
		/* In order but for those of parts. */
		size_t place = (*count)++;
		for (; place && strcmp(ret[place - 1].field->name, f->name) > 0; place--)
			ret[place] = ret[place - 1];
		ret[place] = (struct member){f, at};
	}
	return true;
}

static void write_members(struct created *c, const struct api_type *type, const void *value, bool before, int level) {
	struct member members[MEMBERS_MAX];
	size_t count = 0;
	c->unsupported |= !find_members(c, type, value, level, members, &count);
	for (size_t i = 0; i < count && !c->unsupported; i++) {
		const struct api_field *f = members[i].field;
		const void *at = members[i].at;
		size_t undo = c->out->len;
		bool shown = before && presence_when_empty(c, f) != API_LEFT_OUT, owned;
		comma(c);
		buf_append_str(c->out, "\"f:");
		buf_append(c->out, f->name, f->name_len);
		buf_append_str(c->out, "\":");
		if (level == 0 && !strcmp(f->name, "metadata")) {
			size_t start = set_open(c, false);
			write_members(c, f->type, at, true, 1);
			owned = set_close(c, start, false);
		} else {
			owned = write_value(c, f, at, shown);
		}
		if (!owned)
			c->out->len = undo;
	}
}

int managed_created_fields(const struct api_type *type, const void *object, const char *const *reset_fields, struct buf *out) {
	struct created c = {.out = out, .reset_fields = reset_fields};
	size_t start = out->len;
	for (const char *const *reset = reset_fields; reset && *reset; reset++)
		if (strpbrk(*reset, "./"))
			return -ENOTSUP;
	if (type->custom_json || !type->is_kind)
		return -ENOTSUP;
	buf_append_char(out, '{');
	write_members(&c, type, object, true, 0);
	buf_append_char(out, '}');
	if (!c.unsupported && !buf_failed(out))
		return 0;
	out->len = start;
	return -ENOTSUP;
}
