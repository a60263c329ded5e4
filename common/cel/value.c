/* SPDX-License-Identifier: Apache-2.0 */
/* Values: making them within the bounds of a run, their types, equality and order. */
#include "common/cel/internal.h"
#include "common/base/clock.h"

#include <math.h>

/* ---- memory of a run ---- */

bool run_reserve(struct cel_run *run, size_t size) {
	if (size > CEL_MAX_MEMORY || run->taken + size > CEL_MAX_MEMORY)
		run->over_memory = true;
	else
		run->taken += size;
	return !run->over_memory;
}

void *run_alloc(struct cel_run *run, size_t size) {
	if (!run_reserve(run, size + 16) && size > 4096)
		return NULL;
	return arena_alloc(run->arena, size);
}

bool run_goes_on(struct cel_run *run) {
	if (!(++run->ticks & 0x3ff) && clock_monotonic_ns() > run->deadline)
		run->exceeded = true;
	return !run->exceeded && !run->over_memory;
}

struct cel_value cel_fail(struct cel_run *run, const char *fmt, ...) {
	va_list args;
	va_start(args, fmt);
	const char *message = arena_vprintf(run->arena, fmt, args);
	va_end(args);
	run_reserve(run, strlen(message) + 17);
	return (struct cel_value){.kind = CEL_ERROR, .message = message};
}

struct cel_value no_overload(void) {
	return (struct cel_value){.kind = CEL_ERROR, .message = "no such overload"};
}

struct cel_value exceeded(struct cel_run *run) {
	run->exceeded = true;
	return (struct cel_value){.kind = CEL_ERROR, .message = "operation cancelled: actual cost limit exceeded"};
}

struct cel_value cel_from_string(struct cel_run *run, const char *text, size_t len) {
	char *copy = len > MAX_STRING ? NULL : run_alloc(run, len + 1);
	if (!copy)
		return exceeded(run);
	memcpy(copy, text, len);
	return VALUE_STRING(copy, len);
}

struct cel_value value_text(struct cel_run *run, const char *text) {
	return cel_from_string(run, text, strlen(text));
}

const char *value_cstr(struct cel_run *run, const struct cel_value *string) {
	char *copy = run_alloc(run, string->len + 1);
	if (!copy)
		return "";
	memcpy(copy, string->s, string->len);
	return copy;
}

struct cel_value value_some(struct cel_run *run, struct cel_value inner) {
	struct cel_value *copy = run_alloc(run, sizeof(*copy));
	*copy = inner;
	return (struct cel_value){.kind = CEL_OPTIONAL, .some = copy};
}

struct cel_value cel_optional(struct cel_run *run, const struct cel_value *inner) {
	return inner ? value_some(run, *inner) : VALUE_NONE;
}

struct cel_value value_opaque(struct cel_run *run, const struct cel_opaque *opaque) {
	struct cel_opaque *copy = run_alloc(run, sizeof(*copy));
	*copy = *opaque;
	return (struct cel_value){.kind = CEL_OPAQUE, .opaque = copy};
}

bool is_opaque(const struct cel_value *v, enum opaque_kind kind) {
	return v->kind == CEL_OPAQUE && v->opaque->kind == kind;
}

/* ---- UTF-8 ---- */

size_t utf8_count(const char *s, size_t len) {
	size_t count = 0;
	for (size_t i = 0; i < len; i++)
		count += (s[i] & 0xc0) != 0x80;
	return count;
}

size_t utf8_offset(const char *s, size_t len, size_t count) {
	size_t i = 0;
	for (; i < len; i++)
		if ((s[i] & 0xc0) != 0x80 && !count--)
			break;
	return i;
}

/* ---- types ---- */

const struct cel_type *value_type(const struct cel_value *v) {
	static const struct cel_type *const kinds[] = {
		[CEL_ERROR] = &type_error, [CEL_DYN] = &cel_dyn, [CEL_NULL] = &cel_null, [CEL_BOOL] = &cel_bool, [CEL_INT] = &cel_int, [CEL_UINT] = &cel_uint, [CEL_DOUBLE] = &cel_double, [CEL_STRING] = &cel_string, [CEL_BYTES] = &cel_bytes,
		[CEL_LIST] = &type_list_dyn, [CEL_MAP] = &type_map_dyn, [CEL_TIMESTAMP] = &cel_timestamp, [CEL_DURATION] = &cel_duration, [CEL_TYPE] = &type_type,
	};
	static const struct cel_type *const opaques[] = {
		[OPAQUE_QUANTITY] = &type_quantity, [OPAQUE_SEMVER] = &type_semver, [OPAQUE_URL] = &type_url, [OPAQUE_IP] = &type_ip, [OPAQUE_CIDR] = &type_cidr, [OPAQUE_FORMAT] = &type_format, [OPAQUE_AUTHORIZER] = &cel_authorizer_type,
		[OPAQUE_PATH] = &type_path_check, [OPAQUE_GROUP] = &type_group_check, [OPAQUE_RESOURCE] = &cel_resource_check_type, [OPAQUE_DECISION] = &type_decision,
	};
	static const struct cel_type object = {.kind = CEL_OBJECT, .name = "Object"};
	if (v->kind == CEL_OPAQUE)
		return opaques[v->opaque->kind];
	if (v->kind == CEL_OPTIONAL)
		return type_named("optional_type");
	if (v->kind == CEL_OBJECT)
		return v->map->type ? v->map->type : &object;
	if (v->kind == CEL_MAP && v->map->type && v->map->type->kind == CEL_OBJECT)
		return v->map->type;
	return kinds[v->kind];
}

bool value_fits(const struct cel_value *v, const struct cel_type *type) {
	if (type->kind == CEL_DYN || type->kind == CEL_PARAM)
		return true;
	const struct cel_type *is = value_type(v);
	return is->kind == type->kind && (!type->name || str_equal(type->name, is->name));
}

/* ---- equality and order ---- */

static int order(double a, double b) {
	return a < b ? -1 : a > b;
}

static int order_int(int64_t a, int64_t b) {
	return a < b ? -1 : a > b;
}

static int order_uint(uint64_t a, uint64_t b) {
	return a < b ? -1 : a > b;
}

static bool is_number(const struct cel_value *v) {
	return v->kind == CEL_INT || v->kind == CEL_UINT || v->kind == CEL_DOUBLE;
}

static int order_double_int(double d, int64_t i) {
	return d < -0x1p63 ? -1 : d >= 0x1p63 ? 1 : order(d, (double)i);
}

static int order_double_uint(double d, uint64_t u) {
	return d < 0 ? -1 : d >= 0x1p64 ? 1 : order(d, (double)u);
}

/* Of numbers of any type, none of them NaN. */
static int order_numbers(const struct cel_value *a, const struct cel_value *b) {
	if (a->kind == CEL_DOUBLE)
		return b->kind == CEL_DOUBLE ? order(a->d, b->d) : b->kind == CEL_INT ? order_double_int(a->d, b->i) : order_double_uint(a->d, b->u);
	if (b->kind == CEL_DOUBLE)
		return -order_numbers(b, a);
	if (a->kind == b->kind)
		return a->kind == CEL_INT ? order_int(a->i, b->i) : order_uint(a->u, b->u);
	if (a->kind == CEL_UINT)
		return -order_numbers(b, a);
	return a->i < 0 ? -1 : order_uint((uint64_t)a->i, b->u);
}

static bool is_nan(const struct cel_value *v) {
	return v->kind == CEL_DOUBLE && isnan(v->d);
}

static int order_bytes(const struct cel_value *a, const struct cel_value *b) {
	int c = memcmp(a->s, b->s, min_of(a->len, b->len));
	return c ? (c < 0 ? -1 : 1) : order_uint(a->len, b->len);
}

bool value_compare(struct cel_run *run, const struct cel_value *a, const struct cel_value *b, int *ret, struct cel_value *why) {
	if (is_number(a) && is_number(b)) {
		if (is_nan(a) || is_nan(b)) {
			*why = cel_fail(run, "NaN values cannot be ordered");
			return false;
		}
		*ret = order_numbers(a, b);
		return true;
	}
	*why = no_overload();
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case CEL_BOOL:
		*ret = a->b - b->b;
		return true;
	case CEL_STRING:
	case CEL_BYTES:
		*ret = order_bytes(a, b);
		return true;
	case CEL_DURATION:
		*ret = order_int(a->i, b->i);
		return true;
	case CEL_TIMESTAMP:
		*ret = a->sec != b->sec ? order_int(a->sec, b->sec) : order_int(a->nsec, b->nsec);
		return true;
	default:
		return false;
	}
}

static bool equal_unordered(struct cel_run *run, const struct cel_list *a, const struct cel_list *b) {
	const struct cel_type *type = a->type;
	for (size_t i = 0; i < a->len; i++) {
		struct cel_value x = list_get(run, a, i);
		bool found = false;
		for (size_t k = 0; k < b->len && !found; k++) {
			struct cel_value y = list_get(run, b, (i + k) % b->len);
			found = value_equal(run, &x, &y);
		}
		if (!found || (run && run->exceeded))
			return false;
	}
	return type != NULL;
}

static bool equal_lists(struct cel_run *run, const struct cel_list *a, const struct cel_list *b) {
	if (a->len != b->len)
		return false;
	if (a->type && a->type->list_type != CEL_LIST_PLAIN && run)
		return equal_unordered(run, a, b);
	for (size_t i = 0; i < a->len; i++) {
		struct cel_value x = list_get(run, a, i), y = list_get(run, b, i);
		if (!value_equal(run, &x, &y))
			return false;
	}
	return true;
}

static bool equal_maps(struct cel_run *run, const struct cel_map *a, const struct cel_map *b) {
	if (a->get || b->get)
		return a == b;
	if (map_size(a) != map_size(b))
		return false;
	struct cel_value keys = map_keys(run, a);
	for (size_t i = 0; i < keys.list->len; i++) {
		struct cel_value key = list_get(run, keys.list, i), x, y;
		if (!map_find(run, a, &key, &x) || !map_find(run, b, &key, &y) || !value_equal(run, &x, &y))
			return false;
	}
	return true;
}

static bool same_access(const struct cel_opaque *a, const struct cel_opaque *b) {
	const struct cel_access *x = &a->auth.access, *y = &b->auth.access;
	return str_equal(x->user_namespace, y->user_namespace) && str_equal(x->user_name, y->user_name) && str_equal(x->path, y->path) && str_equal(x->group, y->group) && str_equal(x->resource, y->resource) &&
	       str_equal(x->subresource, y->subresource) && str_equal(x->namespace, y->namespace) && str_equal(x->name, y->name);
}

static bool equal_opaque(const struct cel_opaque *a, const struct cel_opaque *b) {
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case OPAQUE_QUANTITY:
		return quantity_compare(&a->quantity, &b->quantity) == 0;
	case OPAQUE_SEMVER:
		return memcmp(a->semver.part, b->semver.part, sizeof(a->semver.part)) == 0 && strcmp(a->semver.pre, b->semver.pre) == 0;
	case OPAQUE_URL:
		return strcmp(a->url.text, b->url.text) == 0;
	case OPAQUE_IP:
	case OPAQUE_CIDR:
		return a->ip.len == b->ip.len && memcmp(a->ip.bytes, b->ip.bytes, a->ip.len) == 0 && a->ip.bits == b->ip.bits;
	case OPAQUE_FORMAT:
		return a->format == b->format;
	case OPAQUE_DECISION:
		return a->decision.allowed == b->decision.allowed;
	default:
		return same_access(a, b);
	}
}

bool value_equal(struct cel_run *run, const struct cel_value *a, const struct cel_value *b) {
	if (is_number(a) && is_number(b))
		return !is_nan(a) && !is_nan(b) && order_numbers(a, b) == 0;
	bool maps = (a->kind == CEL_MAP || a->kind == CEL_OBJECT) && (b->kind == CEL_MAP || b->kind == CEL_OBJECT);
	if (a->kind != b->kind && !maps)
		return false;
	if (run && !run_goes_on(run))
		return false;
	switch (a->kind) {
	case CEL_NULL:
		return true;
	case CEL_BOOL:
		return a->b == b->b;
	case CEL_STRING:
	case CEL_BYTES:
		return a->len == b->len && memcmp(a->s, b->s, a->len) == 0;
	case CEL_DURATION:
		return a->i == b->i;
	case CEL_TIMESTAMP:
		return a->sec == b->sec && a->nsec == b->nsec;
	case CEL_TYPE:
		return a->type->kind == b->type->kind && str_equal(a->type->name, b->type->name);
	case CEL_LIST:
		return equal_lists(run, a->list, b->list);
	case CEL_MAP:
	case CEL_OBJECT:
		return equal_maps(run, a->map, b->map);
	case CEL_OPTIONAL:
		return a->some && b->some ? value_equal(run, a->some, b->some) : a->some == b->some;
	case CEL_OPAQUE:
		return equal_opaque(a->opaque, b->opaque);
	default:
		return false;
	}
}

bool value_is_zero(const struct cel_value *v) {
	switch (v->kind) {
	case CEL_NULL:
		return true;
	case CEL_BOOL:
		return !v->b;
	case CEL_INT:
	case CEL_UINT:
	case CEL_DURATION:
		return v->i == 0;
	case CEL_DOUBLE:
		return v->d == 0;
	case CEL_STRING:
	case CEL_BYTES:
		return v->len == 0;
	case CEL_LIST:
		return v->list->len == 0;
	case CEL_MAP:
		return map_size(v->map) == 0;
	case CEL_OBJECT:
		return !v->map->get && map_size(v->map) == 0;
	case CEL_TIMESTAMP:
		return v->sec == -62135596800 && v->nsec == 0;
	case CEL_OPTIONAL:
		return !v->some;
	default:
		return false;
	}
}

uint64_t value_size(const struct cel_value *v) {
	switch (v->kind) {
	case CEL_STRING:
		return utf8_count(v->s, v->len);
	case CEL_BYTES:
		return v->len;
	case CEL_LIST:
		return v->list->len;
	case CEL_MAP:
		return map_size(v->map);
	case CEL_OPTIONAL:
		return v->some ? value_size(v->some) : 1;
	case CEL_OPAQUE:
		return v->opaque->kind == OPAQUE_IP ? v->opaque->ip.len : v->opaque->kind == OPAQUE_CIDR ? (v->opaque->ip.bits + 7u) / 8 : 1;
	default:
		return 1;
	}
}
