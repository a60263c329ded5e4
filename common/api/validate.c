/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Validation of form: closed enums and required texts, as far as tables know them. A Go struct cannot tell an absent field
 * from an empty one, and Kubernetes does not refuse every empty field that OpenAPI calls required; so only strings that
 * name something are demanded, and status, which machines write, is not judged.
 */
#include "common/api/codec.h"

#include <errno.h>

struct place {
	const struct place *up;
	const char *key;   /* a field or a map's key; NULL: an index */
	uint32_t index;
	bool map;
};

static void append_place(struct buf *out, const struct place *place) {
	if (!place)
		return;
	append_place(out, place->up);
	if (!place->key)
		buf_printf(out, "[%u]", place->index);
	else if (place->map)
		buf_printf(out, "[%s]", place->key);
	else
		buf_printf(out, "%s%s", out->len ? "." : "", place->key);
}

static void add_cause(struct error *err, const struct place *place, const char *reason, const char *message) {
	autobuf struct buf path = BUF_INIT((size_t)64 * 1024);
	append_place(&path, place);
	error_cause(err, reason, path.data ? path.data : "", "%s", message);
}

/* Required strings that may be empty all the same. */
static bool may_be_empty(const struct api_type *type, const struct api_field *f) {
	static const struct {
		const char *type, *field; /* field NULL: all */
	} rows[] = {
		{"core/v1.HTTPHeader", "value"}, {"core/v1.Sysctl", "value"}, {"core/v1.ObjectFieldSelector", NULL},
		{"meta/v1.ManagedFieldsEntry", NULL}, {"meta/v1.OwnerReference", NULL}, {"core/v1.Taint", "effect"},
		{"core/v1.LocalObjectReference", NULL}, {"rbac/v1.RoleRef", NULL}, {"rbac/v1.Subject", NULL},
		{"core/v1.ObjectReference", NULL}, {"core/v1.SecretReference", NULL}, {"core/v1.TypedLocalObjectReference", NULL},
		{"core/v1.TypedObjectReference", NULL}, {"autoscaling/v2.CrossVersionObjectReference", NULL},
		{"core/v1.ResourceFieldSelector", NULL}, {"core/v1.EndpointAddress", NULL}, {"core/v1.Event", NULL}, {"events/v1.Event", NULL},
	};
	for (size_t i = 0; i < array_len(rows); i++)
		if (!strcmp(rows[i].type, type->id) && (!rows[i].field || !strcmp(rows[i].field, f->name)))
			return true;
	return false;
}

static int order_strings(const void *a, const void *b) {
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void check_enum(const struct api_field *f, const char *value, const struct place *place, struct error *err) {
	const char *sorted[64];
	size_t count = 0;
	for (; f->enum_values[count] && count < array_len(sorted); count++) {
		sorted[count] = f->enum_values[count];
		if (!strcmp(value, sorted[count]))
			return;
	}
	for (size_t i = count; f->enum_values[i]; i++)
		if (!strcmp(value, f->enum_values[i]))
			return;
	qsort(sorted, count, sizeof(*sorted), order_strings);
	autobuf struct buf text = BUF_INIT((size_t)16 * 1024);
	buf_append_str(&text, "Unsupported value: ");
	buf_append_json_string(&text, value, strlen(value));
	buf_append_str(&text, ": supported values: ");
	for (size_t i = 0; i < count; i++)
		buf_printf(&text, "%s\"%s\"", i ? ", " : "", sorted[i]);
	add_cause(err, place, "FieldValueNotSupported", text.data ? text.data : "");
}

static void check_struct(const struct api_type *type, const void *value, const struct place *place, struct error *err);

static void check_element(const struct api_field *f, const void *at, const struct place *place, struct error *err) {
	if (f->kind == API_STRUCT)
		check_struct(f->type, at, place, err);
	else if (f->kind == API_STRING && f->enum_values) {
		const char *value = *(const char *const *)at;
		if (!str_empty(value))
			check_enum(f, value, place, err);
	}
}

static void check_field(const struct api_type *type, const struct api_field *f, const void *value, const struct place *up, struct error *err) {
	struct place here = {.up = up, .key = f->name};
	const struct place *place = f->flags & API_FIELD_INLINE ? up : &here;
	const void *at = api_field_at_const(f, value);
	if (f->shape != API_SINGLE) {
		const struct api_any_list *list = at;
		size_t stride = f->shape == API_MAP ? f->entry_size : f->element_size;
		for (uint32_t i = 0; i < list->len; i++) {
			const char *item = list->items + i * stride;
			struct place inner = {.up = place, .index = i};
			if (f->shape == API_MAP) {
				inner.key = *(const char *const *)item;
				inner.map = true;
			}
			check_element(f, item + f->value_offset, &inner, err);
		}
		return;
	}
	at = api_field_value(f, value);
	if (!at)
		return;
	bool text = f->kind == API_STRING && !(f->flags & API_FIELD_POINTER);
	if (text && (f->flags & API_FIELD_REQUIRED) && str_empty(*(const char *const *)at) && !may_be_empty(type, f))
		add_cause(err, place, "FieldValueRequired", "Required value");
	check_element(f, at, place, err);
}

static void check_struct(const struct api_type *type, const void *value, const struct place *place, struct error *err) {
	for (size_t i = 0; i < type->field_count; i++) {
		const struct api_field *f = &type->fields[i];
		bool walks = f->kind == API_STRUCT || f->kind == API_STRING;
		bool judged = !f->gate && !(!place && type->is_kind && !strcmp(f->name, "status"));
		if (walks && judged)
			check_field(type, f, value, place, err);
	}
}

int api_validate_form(const void *object, struct error *err) {
	autoerror struct error own = {0};
	struct error *to = err ? err : &own;
	size_t before = to->cause_count;
	const struct api_type *type = api_type_of(object);
	check_struct(type, object, NULL, to);
	return to->cause_count > before ? -EINVAL : 0;
}
