/* SPDX-License-Identifier: Apache-2.0 */
/* Copy, equality and hash of any described value. */
#include "common/api/codec.h"
#include "common/base/map.h"

static void copy_element(const struct api_field *f, void *dst, const void *src, struct arena *arena);

static void copy_raw(struct api_raw *dst, const struct api_raw *src, struct arena *arena) {
	dst->json = src->json ? arena_strndup(arena, src->json, src->len) : NULL;
	dst->len = src->len;
}

/* One value that is no list or map, in place. */
static void copy_element(const struct api_field *f, void *dst, const void *src, struct arena *arena) {
	switch ((enum api_kind)f->kind) {
	case API_STRING:
		*(const char **)dst = arena_strdup(arena, *(const char *const *)src);
		break;
	case API_BYTES: {
		const struct api_bytes *from = src;
		struct api_bytes *to = dst;
		to->data = from->data ? arena_memdup(arena, from->data, from->len) : NULL;
		to->len = from->len;
		break;
	}
	case API_INT_OR_STRING: {
		const struct int_or_string *from = src;
		*(struct int_or_string *)dst = (struct int_or_string){.str = arena_strdup(arena, from->str), .num = from->num};
		break;
	}
	case API_RAW_EXTENSION:
	case API_FIELDS_V1:
	case API_JSON:
		copy_raw(dst, src, arena);
		break;
	case API_STRUCT:
		api_copy_value(f->type, dst, src, arena);
		break;
	default:
		memcpy(dst, src, f->element_size);
	}
}

static void copy_items(const struct api_field *f, void *dst, const void *src, struct arena *arena) {
	const struct api_any_list *from = src;
	struct api_any_list *to = dst;
	size_t stride = f->shape == API_MAP ? f->entry_size : f->element_size;
	to->len = to->cap = from->len;
	to->items = from->items ? arena_calloc(arena, from->len, stride) : NULL;
	for (uint32_t i = 0; i < from->len; i++) {
		char *to_item = to->items + i * stride;
		const char *from_item = from->items + i * stride;
		if (f->shape == API_MAP)
			*(const char **)to_item = arena_strdup(arena, *(const char *const *)from_item);
		copy_element(f, to_item + f->value_offset, from_item + f->value_offset, arena);
	}
}

static void drop_empty(const struct api_type *type, void *value) {
	for (size_t i = 0; i < type->field_count; i++) {
		const struct api_field *f = &type->fields[i];
		void *at = api_field_at(f, value);
		if (f->shape == API_SINGLE) {
			void *inner = f->kind != API_STRUCT ? NULL : api_field_indirect(f) ? *(void **)at : at;
			if (inner)
				drop_empty(f->type, inner);
			continue;
		}
		struct api_any_list *list = at;
		size_t stride = f->shape == API_MAP ? f->entry_size : f->element_size;
		if (!list->len)
			list->items = NULL;
		for (uint32_t n = 0; f->kind == API_STRUCT && n < list->len; n++)
			drop_empty(f->type, list->items + n * stride + f->value_offset);
	}
}

void api_drop_empty(void *object) {
	drop_empty(api_type_of(object), object);
}

void api_copy_value(const struct api_type *type, void *dst, const void *src, struct arena *arena) {
	for (size_t i = 0; i < type->field_count; i++) {
		const struct api_field *f = &type->fields[i];
		void *to = api_field_at(f, dst);
		const void *from = api_field_at_const(f, src);
		if (f->shape != API_SINGLE) {
			copy_items(f, to, from, arena);
		} else if (api_field_indirect(f)) {
			const void *value = *(const void *const *)from;
			void *copy = value ? arena_alloc(arena, f->element_size) : NULL;
			if (copy)
				copy_element(f, copy, value, arena);
			*(void **)to = copy;
		} else {
			copy_element(f, to, from, arena);
		}
	}
}

bool api_element_equal(const struct api_field *f, const void *a, const void *b) {
	switch ((enum api_kind)f->kind) {
	case API_STRING: {
		const char *x = *(const char *const *)a, *y = *(const char *const *)b;
		if (f->shape == API_SINGLE && (f->flags & API_FIELD_POINTER) && !x != !y)
			return false;
		return str_equal(x, y);
	}
	case API_QUANTITY: {
		const struct quantity *x = a, *y = b;
		bool absence = f->shape == API_SINGLE && (f->flags & API_FIELD_POINTER);
		return x->nano == y->nano && (!absence || x->set == y->set);
	}
	case API_TIME:
	case API_MICRO_TIME: {
		const struct api_time *x = a, *y = b;
		return x->set == y->set && (!x->set || (x->t.sec == y->t.sec && x->t.nsec == y->t.nsec));
	}
	case API_BYTES: {
		const struct api_bytes *x = a, *y = b;
		return x->len == y->len && (!x->len || !memcmp(x->data, y->data, x->len));
	}
	case API_INT_OR_STRING: {
		const struct int_or_string *x = a, *y = b;
		return !x->str == !y->str && (x->str ? !strcmp(x->str, y->str) : x->num == y->num);
	}
	case API_RAW_EXTENSION:
	case API_FIELDS_V1:
	case API_JSON: {
		const struct api_raw *x = a, *y = b;
		return !x->json == !y->json && x->len == y->len && (!x->len || !memcmp(x->json, y->json, x->len));
	}
	case API_BOOL:
		return *(const bool *)a == *(const bool *)b;
	case API_INT32:
		return *(const int32_t *)a == *(const int32_t *)b;
	case API_INT64:
	case API_DURATION:
		return *(const int64_t *)a == *(const int64_t *)b;
	case API_DOUBLE:
		return *(const double *)a == *(const double *)b;
	case API_STRUCT:
		return api_equal(f->type, a, b);
	}
	return false;
}

bool api_items_equal(const struct api_field *f, const void *a, const void *b) {
	const struct api_any_list *x = a, *y = b;
	size_t stride = f->shape == API_MAP ? f->entry_size : f->element_size;
	if (x->len != y->len)
		return false;
	for (uint32_t i = 0; i < x->len; i++) {
		const char *p = x->items + i * stride, *q = y->items + i * stride;
		if (f->shape == API_MAP && !str_equal(*(const char *const *)p, *(const char *const *)q))
			return false;
		if (!api_element_equal(f, p + f->value_offset, q + f->value_offset))
			return false;
	}
	return true;
}

bool api_field_same(const struct api_field *f, const void *a, const void *b) {
	const void *x = api_field_at_const(f, a), *y = api_field_at_const(f, b);
	if (f->shape != API_SINGLE)
		return api_items_equal(f, x, y);
	if (api_field_indirect(f)) {
		x = *(const void *const *)x;
		y = *(const void *const *)y;
		if (!x || !y)
			return x == y;
	}
	return api_element_equal(f, x, y);
}

bool api_equal(const struct api_type *type, const void *a, const void *b) {
	for (size_t i = 0; i < type->field_count; i++)
		if (!api_field_same(&type->fields[i], a, b))
			return false;
	return true;
}

bool api_field_is_set(const struct api_field *f, const void *value) {
	const void *at = api_field_at_const(f, value);
	if (api_field_indirect(f))
		return *(const void *const *)at;
	if (f->shape == API_SINGLE && (f->flags & API_FIELD_POINTER) && f->kind == API_STRING)
		return *(const char *const *)at;
	if (f->shape == API_SINGLE && f->kind == API_QUANTITY)
		return ((const struct quantity *)at)->set;
	return !api_value_is_zero(f, at);
}

bool api_value_is_zero(const struct api_field *f, const void *at) {
	if (f->shape != API_SINGLE)
		return !((const struct api_any_list *)at)->len;
	switch ((enum api_kind)f->kind) {
	case API_STRING:
		return str_empty(*(const char *const *)at);
	case API_BOOL:
		return !*(const bool *)at;
	case API_INT32:
		return !*(const int32_t *)at;
	case API_INT64:
	case API_DURATION:
		return !*(const int64_t *)at;
	case API_DOUBLE:
		return *(const double *)at == 0;
	case API_BYTES:
		return !((const struct api_bytes *)at)->len;
	case API_QUANTITY:
		return !((const struct quantity *)at)->nano;
	case API_INT_OR_STRING:
		return !((const struct int_or_string *)at)->str && !((const struct int_or_string *)at)->num;
	case API_TIME:
	case API_MICRO_TIME:
		return !((const struct api_time *)at)->set;
	case API_RAW_EXTENSION:
	case API_FIELDS_V1:
	case API_JSON:
		return !((const struct api_raw *)at)->json;
	case API_STRUCT:
		for (size_t i = 0; i < f->type->field_count; i++) {
			const struct api_field *inner = &f->type->fields[i];
			const void *value = api_field_value(inner, at);
			if (api_field_indirect(inner) ? value != NULL : !api_value_is_zero(inner, value))
				return false;
		}
		return true;
	}
	return false;
}

bool api_value_is_absent(const struct api_field *f, const void *at) {
	if (!(f->flags & API_FIELD_POINTER))
		return false;
	switch ((enum api_kind)f->kind) {
	case API_STRING:
		return !*(const char *const *)at;
	case API_QUANTITY:
		return !((const struct quantity *)at)->set;
	case API_TIME:
	case API_MICRO_TIME:
		return !((const struct api_time *)at)->set;
	case API_BYTES:
		return !((const struct api_bytes *)at)->data;
	case API_RAW_EXTENSION:
	case API_FIELDS_V1:
	case API_JSON:
		return !((const struct api_raw *)at)->json;
	default:
		return false;
	}
}

/*
 * The hash is of the JSON form: it depends on names and values only, not on the layout of a struct or the order of fields
 * that are not set, and so it outlives releases that add fields.
 */
uint64_t api_hash(const struct api_type *type, const void *value) {
	autobuf struct buf json = BUF_INIT(BUF_MAX_DEFAULT);
	api_encode_json(type, value, &json);
	return hash_fnv64(json.data, json.len);
}
