/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Defaulting: every part of an object is visited, the outer before the inner. At each struct the `fill` rows of its
 * fields are applied, then its function in defaults/, where it has one.
 */
#include "common/api/codec.h"

struct visit {
	struct arena *arena;
	const void *root;
};

static void visit_struct(const struct visit *v, const struct api_type *type, void *value);

static bool is_unset(const struct api_field *f, void *at) {
	if (api_field_indirect(f))
		return !*(void **)at;
	if (f->kind == API_STRING && f->shape == API_SINGLE && (f->flags & API_FIELD_POINTER))
		return !*(const char **)at;
	if (f->kind == API_QUANTITY && f->shape == API_SINGLE)
		return !((struct quantity *)at)->set;
	return api_value_is_zero(f, at);
}

static void fill(const struct visit *v, const struct api_field *f, void *value) {
	void *at = api_field_at(f, value);
	if (!is_unset(f, at))
		return;
	if (f->kind == API_STRING && f->shape == API_SINGLE) {
		/* Rows hold plain strings; the text is constant, so only its end must be cut. */
		*(const char **)at = arena_strndup(v->arena, f->fill_json + 1, strlen(f->fill_json) - 2);
		return;
	}
	api_decode_json_field(f, f->fill_json, value, v->arena);
}

/* What is finer than a thousandth is not kept in the resource lists of core. */
static void round_resources(struct api_quantity_map *map) {
	static const __int128 milli = 1000000;
	for (uint32_t i = 0; i < map->len; i++) {
		struct quantity *q = &map->items[i].value;
		__int128 rest = q->nano % milli;
		if (rest)
			q->nano += rest > 0 ? milli - rest : -(milli + rest);
	}
}

static void visit_field(const struct visit *v, const struct api_field *f, void *value) {
	void *at = api_field_at(f, value);
	if (f->shape == API_SINGLE) {
		void *inner = api_field_indirect(f) ? *(void **)at : at;
		if (inner)
			visit_struct(v, f->type, inner);
		return;
	}
	struct api_any_list *list = at;
	size_t stride = f->shape == API_MAP ? f->entry_size : f->element_size;
	for (uint32_t i = 0; i < list->len; i++)
		visit_struct(v, f->type, list->items + i * stride + f->value_offset);
}

static void visit_struct(const struct visit *v, const struct api_type *type, void *value) {
	for (size_t i = 0; i < type->field_count; i++)
		if (type->fields[i].fill_json && !api_field_is_closed(&type->fields[i]))
			fill(v, &type->fields[i], value);
	if (type->defaults)
		type->defaults(value, v->arena, v->root);
	bool core = str_starts_with(type->id, "core/v1.");
	for (size_t i = 0; i < type->field_count; i++) {
		const struct api_field *f = &type->fields[i];
		if (f->kind == API_STRUCT)
			visit_field(v, f, value);
		else if (core && f->kind == API_QUANTITY && f->shape == API_MAP)
			round_resources(api_field_at(f, value));
	}
}

void api_default(void *object) {
	struct visit v = {.arena = api_arena(object), .root = object};
	visit_struct(&v, api_type_of(object), object);
}
