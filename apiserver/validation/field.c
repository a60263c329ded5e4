/* SPDX-License-Identifier: Apache-2.0 */
/* Causes in Kubernetes' words, and the small checks that others are made of. */
#include "apiserver/request/render.h"
#include "apiserver/validation/validation.h"

#define MAX_TEXT (64u << 10)

void path_write(const struct path *path, struct buf *out) {
	if (!path)
		return;
	path_write(path->parent, out);
	if (path->name) {
		if (out->len)
			buf_append_char(out, '.');
		buf_append_str(out, path->name);
	}
	if (path->index >= 0)
		buf_printf(out, "[%d]", path->index);
	if (path->key)
		buf_printf(out, "[%s]", path->key);
}

const void *path_above(const struct path *at, const struct api_type *type) {
	for (; at; at = at->parent)
		if (at->type == type)
			return at->value;
	return NULL;
}

/* As Go's %q. */
static void append_quoted(struct buf *out, const char *text) {
	buf_append_char(out, '"');
	for (const char *p = text ? text : ""; *p; p++) {
		static const char from[] = "\"\\\n\t\r", to[] = "\"\\ntr";
		const char *plain = strchr(from, *p);
		if (plain)
			buf_printf(out, "\\%c", to[plain - from]);
		else if ((unsigned char)*p < 0x20 || *p == 0x7f)
			buf_printf(out, "\\x%02x", (unsigned char)*p);
		else
			buf_append_char(out, *p);
	}
	buf_append_char(out, '"');
}

/* "Invalid value: <value>: <text>", the text formatted. */
static void add(struct error *err, const char *reason, const char *what, const struct path *path, const char *value, const char *fmt, va_list args) {
	autobuf struct buf where = BUF_INIT(MAX_TEXT), text = BUF_INIT(1u << 20);
	path_write(path, &where);
	buf_append_str(&text, what);
	if (value)
		buf_printf(&text, ": %s", value);
	if (fmt && *fmt) {
		buf_append_str(&text, ": ");
		buf_vprintf(&text, fmt, args);
	}
	error_cause(err, reason, where.data ? where.data : "", "%s", text.data ? text.data : what);
}

static void cause(struct error *err, const char *reason, const char *what, const struct path *path, const char *value, const char *fmt, ...) printf_like(6, 7);
static void cause(struct error *err, const char *reason, const char *what, const struct path *path, const char *value, const char *fmt, ...) {
	va_list args;
	va_start(args, fmt);
	add(err, reason, what, path, value, fmt, args);
	va_end(args);
}

#define ADD_INVALID(value_) \
	do { \
		va_list args; \
		va_start(args, fmt); \
		add(err, "FieldValueInvalid", "Invalid value", path, (value_), fmt, args); \
		va_end(args); \
	} while (0)

void invalid(struct error *err, const struct path *path, const char *value, const char *fmt, ...) {
	autobuf struct buf quoted = BUF_INIT(1u << 20);
	append_quoted(&quoted, value);
	ADD_INVALID(quoted.data ? quoted.data : "\"\"");
}

void invalid_int(struct error *err, const struct path *path, int64_t value, const char *fmt, ...) {
	char text[32];
	snprintf(text, sizeof(text), "%lld", (long long)value);
	ADD_INVALID(text);
}

void invalid_bool(struct error *err, const struct path *path, bool value, const char *text) {
	cause(err, "FieldValueInvalid", "Invalid value", path, value ? "true" : "false", "%s", text);
}

void invalid_quantity(struct error *err, const struct path *path, const struct quantity *value, const char *fmt, ...) {
	char text[64], quoted[70];
	quantity_format(value, text);
	snprintf(quoted, sizeof(quoted), "\"%s\"", text);
	ADD_INVALID(quoted);
}

void invalid_struct(struct error *err, const struct path *path, const struct api_type *type, const void *value, const char *fmt, ...) {
	autobuf struct buf json = BUF_INIT(1u << 20);
	if (type && value)
		api_encode_json(type, value, &json);
	else
		buf_append_str(&json, value ? value : "null");
	ADD_INVALID(json.data ? json.data : "null");
}

void invalid_int_or_string(struct error *err, const struct path *path, const struct int_or_string *value, const char *fmt, ...) {
	autobuf struct buf text = BUF_INIT(MAX_TEXT);
	if (value->str)
		append_quoted(&text, value->str);
	else
		buf_append_int(&text, value->num);
	ADD_INVALID(text.data);
}

void invalid_plain(struct error *err, const struct path *path, const char *fmt, ...) {
	ADD_INVALID(NULL);
}

void invalid_list(struct error *err, const struct path *path, const struct api_string_list *list, const char *fmt, ...) {
	autobuf struct buf json = BUF_INIT(1u << 20);
	buf_append_str(&json, list->items ? "[" : "null");
	for (uint32_t i = 0; i < list->len; i++) {
		buf_append_str(&json, i ? "," : "");
		buf_append_json_string(&json, list->items[i], strlen(list->items[i]));
	}
	buf_append_str(&json, list->items ? "]" : "");
	ADD_INVALID(json.data ? json.data : "null");
}

void invalid_map(struct error *err, const struct path *path, const struct api_string_map *map, const char *text) {
	autobuf struct buf json = BUF_INIT(1u << 20);
	buf_append_str(&json, map->items ? "{" : "null");
	for (uint32_t i = 0; i < map->len; i++) {
		buf_append_str(&json, i ? "," : "");
		buf_append_json_string(&json, map->items[i].key, strlen(map->items[i].key));
		buf_append_char(&json, ':');
		buf_append_json_string(&json, str_or(map->items[i].value, ""), strlen(str_or(map->items[i].value, "")));
	}
	buf_append_str(&json, map->items ? "}" : "");
	invalid_struct(err, path, NULL, json.data, "%s", text);
}

void invalid_member(struct error *err, const struct path *at, const struct api_type *type, const void *value, const char *field, const char *text) {
	autobuf struct buf json = BUF_INIT(BUF_MAX_DEFAULT);
	api_encode_json(type, value, &json);
	size_t len = 0;
	const char *member = json.data ? json_text_find(json.data, json.len, field, &len) : NULL;
	autofree char *own = member ? xstrndup(member, len) : NULL;
	invalid_struct(err, AT(field), NULL, str_or(own, "null"), "%s", text);
}

void cause_internal(struct error *err, const struct path *path, const char *fmt, ...) {
	va_list args;
	va_start(args, fmt);
	add(err, "InternalError", "Internal error", path, NULL, fmt, args);
	va_end(args);
}

void required(struct error *err, const struct path *path, const char *text) {
	cause(err, "FieldValueRequired", "Required value", path, NULL, str_empty(text) ? NULL : "%s", text);
}

void forbidden(struct error *err, const struct path *path, const char *fmt, ...) {
	va_list args;
	va_start(args, fmt);
	add(err, "FieldValueForbidden", "Forbidden", path, NULL, fmt, args);
	va_end(args);
}

static void quoted_cause(struct error *err, const char *reason, const char *what, const struct path *path, const char *value) {
	autobuf struct buf quoted = BUF_INIT(MAX_TEXT);
	append_quoted(&quoted, value);
	cause(err, reason, what, path, quoted.data, NULL);
}

void duplicate(struct error *err, const struct path *path, const char *value) {
	quoted_cause(err, "FieldValueDuplicate", "Duplicate value", path, value);
}

void duplicate_struct(struct error *err, const struct path *path, const struct api_type *type, const void *value, const char *text) {
	autobuf struct buf json = BUF_INIT(1u << 20);
	api_encode_json(type, value, &json);
	cause(err, "FieldValueDuplicate", "Duplicate value", path, json.data, text ? "%s" : NULL, text);
}

void duplicate_json(struct error *err, const struct path *path, const char *json) {
	cause(err, "FieldValueDuplicate", "Duplicate value", path, json, NULL);
}

void not_found(struct error *err, const struct path *path, const char *value, const char *fmt, ...) {
	autobuf struct buf quoted = BUF_INIT(MAX_TEXT);
	append_quoted(&quoted, value);
	va_list args;
	va_start(args, fmt);
	add(err, "FieldValueNotFound", "Not found", path, quoted.data, fmt, args);
	va_end(args);
}

void too_long(struct error *err, const struct path *path, size_t max) {
	cause(err, "FieldValueTooLong", "Too long", path, NULL, "may not be more than %zu bytes", max);
}

void too_many(struct error *err, const struct path *path, size_t count, size_t max) {
	char text[24];
	snprintf(text, sizeof(text), "%zu", count);
	cause(err, "FieldValueTooMany", "Too many", path, text, "must have at most %zu %s", max, max == 1 ? "item" : "items");
}

void not_supported_json(struct error *err, const struct path *path, const char *json, const char *const *supported) {
	autobuf struct buf list = BUF_INIT(MAX_TEXT);
	for (const char *const *s = supported; *s; s++) {
		buf_append_str(&list, s == supported ? "" : ", ");
		append_quoted(&list, *s);
	}
	cause(err, "FieldValueNotSupported", "Unsupported value", path, json, "supported values: %s", list.data ? list.data : "");
}

void not_supported(struct error *err, const struct path *path, const char *value, const char *const *supported) {
	autobuf struct buf quoted = BUF_INIT(MAX_TEXT);
	append_quoted(&quoted, value);
	not_supported_json(err, path, quoted.data, supported);
}

void warn(struct error *err, const struct path *path, const char *fmt, ...) {
	autobuf struct buf where = BUF_INIT(64 << 10), text = BUF_INIT(64 << 10);
	va_list args;
	va_start(args, fmt);
	buf_vprintf(&text, fmt, args);
	va_end(args);
	path_write(path, &where);
	error_cause(err, "Warning", str_or(where.data, ""), "%s", str_or(text.data, ""));
}

/* ---- small checks ---- */

void check_format(format_check *format, const char *text, const struct path *path, struct error *err) {
	struct format_messages messages = {0};
	format(text ? text : "", &messages);
	for (unsigned i = 0; i < messages.len; i++)
		invalid(err, path, text, "%s", messages.items[i]);
}

void check_needed(format_check *format, const char *text, const struct path *path, struct error *err) {
	if (str_empty(text))
		required(err, path, NULL);
	else if (format)
		check_format(format, text, path, err);
}

void check_enum(const char *value, const char *const *supported, const struct path *path, struct error *err) {
	if (str_empty(value)) {
		required(err, path, NULL);
		return;
	}
	for (const char *const *s = supported; *s; s++)
		if (strcmp(value, *s) == 0)
			return;
	not_supported(err, path, value, supported);
}

void check_non_negative(int64_t value, const struct path *path, struct error *err) {
	if (value < 0)
		invalid_int(err, path, value, "must be greater than or equal to 0");
}

void check_range(int64_t value, int64_t min, int64_t max, const struct path *path, struct error *err) {
	if (value < min || value > max)
		invalid_int(err, path, value, "must be between %lld and %lld, inclusive", (long long)min, (long long)max);
}

void check_port_number(int64_t port, const struct path *path, struct error *err) {
	check_range(port, 1, 65535, path, err);
}

void check_port(const struct int_or_string *port, const struct path *path, struct error *err) {
	if (port->str)
		check_format(format_port_name, port->str, path, err);
	else
		check_port_number(port->num, path, err);
}

static bool is_named(const char *const *names, const char *name) {
	for (; names && *names; names++)
		if (strcmp(*names, name) == 0)
			return true;
	return false;
}

void drop_beneath(const struct path *path, struct error *err) {
	autobuf struct buf text = BUF_INIT(MAX_TEXT);
	path_write(path, &text);
	error_drop_causes(err, text.data, false);
}

void drop_judgement(const struct path *path, struct error *err) {
	autobuf struct buf text = BUF_INIT(MAX_TEXT);
	path_write(path, &text);
	error_drop_causes(err, text.data, true);
}

void tell_at(const struct path *place, size_t from, struct error *err) {
	autobuf struct buf text = BUF_INIT(MAX_TEXT);
	if (err->cause_count == from)
		return;
	path_write(place, &text);
	error_place_causes(err, from, str_or(text.data, ""));
}

void tell_field_at(const struct path *field, const struct path *place, struct error *err) {
	autobuf struct buf from = BUF_INIT(MAX_TEXT), to = BUF_INIT(MAX_TEXT);
	path_write(field, &from);
	path_write(place, &to);
	for (size_t i = 0; i < err->cause_count; i++) {
		struct error_cause *cause = &err->causes[i];
		if (!cause->place && str_starts_with(cause->field, from.data) && (!cause->field[from.len] || strchr(".[", cause->field[from.len])))
			cause->place = xprintf("%s%s", to.data, cause->field + from.len);
	}
}

void move_causes(const struct path *from, const struct path *to, struct error *err) {
	autobuf struct buf here = BUF_INIT(MAX_TEXT), there = BUF_INIT(MAX_TEXT);
	path_write(from, &here);
	path_write(to, &there);
	error_move_causes(err, here.data, there.data);
}

static void check_member(const struct union_member *m, bool surplus, const char *what, const struct path *at, struct error *err) {
	if (surplus) {
		/* What is forbidden is not judged as well. */
		drop_judgement(AT(m->field), err);
		forbidden(err, AT(m->surplus ? m->surplus : m->field), "may not specify more than 1 %s", what);
	} else if (m->inside) {
		move_causes(AT(m->field), AT(m->inside), err);
	}
}

void check_union(const struct api_type *type, const void *value, const struct union_member *members, const char *what, const struct path *at, struct error *err) {
	unsigned count = 0;
	for (size_t i = 0; members ? members[i].field != NULL : i < type->field_count; i++) {
		struct union_member own = {.field = members ? NULL : type->fields[i].name};
		const struct union_member *m = members ? &members[i] : &own;
		size_t offset;
		const struct api_field *f = members ? api_field_find(type, m->field, strlen(m->field), &offset) : &type->fields[i];
		if (f && !(f->flags & API_FIELD_INLINE) && api_field_is_set(f, value))
			check_member(m, count++ && !m->beside, what, at, err);
	}
	if (!count) {
		autofree char *text = xprintf("must specify a %s", what);
		required(err, at, text);
	}
}

/* As a program in Go sees it: an empty list is there, and so is what holds one. */
static bool is_present(const struct api_field *f, const void *value) {
	const void *at = api_field_at_const(f, value);
	if (f->shape != API_SINGLE)
		return ((const struct api_any_list *)at)->items;
	if (f->kind != API_STRUCT || api_field_indirect(f))
		return api_field_is_set(f, value);
	for (size_t i = 0; i < f->type->field_count; i++)
		if (is_present(&f->type->fields[i], at))
			return true;
	return false;
}

void forbid_fields(const struct api_type *type, const void *value, const char *const *names, bool except, const char *text, const struct path *at, struct error *err) {
	/* Those named in the order of their names. */
	for (; !except && *names; names++) {
		size_t offset;
		const struct api_field *f = api_field_find(type, *names, strlen(*names), &offset);
		if (f && api_field_is_set(f, (const char *)value + offset))
			forbidden(err, AT(f->name), "%s", text);
	}
	for (size_t i = 0; except && i < type->field_count; i++) {
		const struct api_field *f = &type->fields[i];
		if (f->flags & API_FIELD_INLINE)
			forbid_fields(f->type, api_field_at_const(f, value), names, except, text, at, err);
		else if (!is_named(names, f->name) && is_present(f, value))
			forbidden(err, AT(f->name), "%s", text);
	}
}

void check_fixed(const struct api_type *type, const void *value, const void *old, const char *field, const struct path *at, struct error *err) {
	size_t offset;
	const struct api_field *f = api_field_find(type, field, strlen(field), &offset);
	if (!f || !old || api_field_same(f, (const char *)value + offset, (const char *)old + offset))
		return;
	autobuf struct buf json = BUF_INIT(1u << 20);
	const void *now = api_field_value(f, (const char *)value + offset);
	bool text = f->shape == API_SINGLE && f->kind == API_STRING && !(f->flags & API_FIELD_POINTER);
	if (f->shape == API_SINGLE && now && !(f->kind == API_STRING && !*(const char *const *)now))
		api_encode_json_element(f, now, &json);
	else if (text)
		buf_append_str(&json, "\"\"");
	invalid_struct(err, AT(field), NULL, json.data ? json.data : "null", IMMUTABLE_TEXT);
}

bool seen_before(struct map *seen, const char *key) {
	if (map_has(seen, str_or(key, "")))
		return true;
	set_add(seen, str_or(key, ""));
	return false;
}

void check_distinct(const struct api_string_list *list, const char *name, const struct path *at, struct error *err) {
	automap struct map seen = MAP_INIT(NULL);
	for (uint32_t i = 0; i < list->len; i++)
		if (seen_before(&seen, list->items[i]))
			duplicate(err, AT_INDEX(name, i), list->items[i]);
}
