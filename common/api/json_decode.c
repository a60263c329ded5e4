/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON in: one pass straight into the structs, without a tree between. Fields are looked for where the encoder would write
 * them, after the last one found, so a text that Kubernetes wrote needs one comparison a field.
 *
 * Semantics are those of sigs.k8s.io/json: names are case sensitive, null leaves a value alone or clears a pointer, a
 * later duplicate wins, integers take no fraction or exponent.
 */
#include "common/api/json_reader.h"
#include "common/base/map.h"
#include "common/base/random.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#define MAX_ELEMENTS (16u << 20)
#define MAX_BYTES ((size_t)64 << 20)

static int decode_struct(struct json_reader *r, const struct api_type *type, void *value, const struct json_path *path);
static int decode_element(struct json_reader *r, const struct api_field *f, void *at, const struct json_path *path);

/* ---- errors of type ---- */

static const char *go_version_of(const struct api_type *type) {
	const char *slash = strchr(type->id, '/');
	return slash ? slash + 1 : type->id; /* v1.PodSpec */
}

static void append_go_element(struct buf *out, const struct api_field *f) {
	static const char *const names[] = {
		[API_STRING] = "string", [API_BOOL] = "bool", [API_INT32] = "int32", [API_INT64] = "int64", [API_DOUBLE] = "float64",
		[API_BYTES] = "[]uint8", [API_QUANTITY] = "resource.Quantity", [API_INT_OR_STRING] = "intstr.IntOrString", [API_TIME] = "v1.Time",
		[API_MICRO_TIME] = "v1.MicroTime", [API_DURATION] = "v1.Duration", [API_RAW_EXTENSION] = "runtime.RawExtension",
		[API_FIELDS_V1] = "v1.FieldsV1", [API_JSON] = "v1.JSON",
	};
	buf_append_str(out, f->kind == API_STRUCT ? go_version_of(f->type) : f->go_type && f->kind == API_STRING ? f->go_type : names[f->kind]);
}

static char *go_type_of(const struct api_field *f, bool element) {
	struct buf out = BUF_INIT(256);
	if (!element)
		buf_append_str(&out, f->shape == API_LIST ? "[]" : f->shape == API_MAP ? "map[string]" : "");
	append_go_element(&out, f);
	return buf_take(&out);
}

/* What Go calls the value the reader stands at. */
static char *go_value_at(struct json_reader *r, bool with_number) {
	int c = json_peek(r);
	const char *text;
	size_t len;
	if (c == '"')
		return xstrdup("string");
	if (c == '{')
		return xstrdup("object");
	if (c == '[')
		return xstrdup("array");
	if (c == 't' || c == 'f')
		return xstrdup("bool");
	if (!with_number || json_read_number(r, &text, &len) < 0)
		return xstrdup("number");
	return xprintf("number %.*s", (int)min_of(len, (size_t)64), text);
}

static const struct api_type *holder_of(const struct json_path *path) {
	for (; path; path = path->up)
		if (path->type)
			return path->type;
	return NULL;
}

static int fail_type(struct json_reader *r, const struct api_field *f, bool element, const struct json_path *path) {
	/* A text that is no JSON is reported as such first. */
	const char *at = r->p;
	if (json_skip(r) < 0)
		return -EINVAL;
	r->p = at;
	bool numeric = !element && f->shape != API_SINGLE ? false : f->kind == API_INT32 || f->kind == API_INT64 || f->kind == API_DOUBLE;
	autofree char *value = go_value_at(r, numeric);
	autofree char *type = go_type_of(f, element);
	autofree char *field = json_path_text(path, false);
	const struct api_type *holder = holder_of(path);
	const char *name = holder ? strrchr(holder->id, '.') : NULL;
	if (!holder)
		return json_fail(r, "json: cannot unmarshal %s into Go value of type %s", value, type);
	return json_fail(r, "json: cannot unmarshal %s into Go struct field %s.%s of type %s", value, name ? name + 1 : holder->id, field, type);
}

/* ---- scalars ---- */

static int decode_integer(struct json_reader *r, const struct api_field *f, void *at, const struct json_path *path, int64_t min, int64_t max, int64_t *ret) {
	int c = json_peek(r);
	const char *text, *start = r->p;
	size_t len;
	char digits[24];
	if (c != '-' && !isdigit(c))
		return fail_type(r, f, true, path);
	if (json_read_number(r, &text, &len) < 0)
		return -EINVAL;
	if (len < sizeof(digits)) {
		memcpy(digits, text, len);
		digits[len] = 0;
		if (str_to_int64(strcmp(digits, "-0") ? digits : "0", min, max, ret))
			return 0;
	}
	r->p = start;
	return fail_type(r, f, true, path);
}

static int decode_double(struct json_reader *r, const struct api_field *f, double *at, const struct json_path *path) {
	int c = json_peek(r);
	const char *text;
	size_t len;
	char digits[512];
	if (c != '-' && !isdigit(c))
		return fail_type(r, f, true, path);
	if (json_read_number(r, &text, &len) < 0)
		return -EINVAL;
	if (len >= sizeof(digits))
		return json_fail(r, "number is too long");
	memcpy(digits, text, len);
	digits[len] = 0;
	*at = strtod(digits, NULL);
	return 0;
}

static int decode_string(struct json_reader *r, const struct api_field *f, const char **at, const struct json_path *path) {
	const char *text;
	size_t len;
	if (json_peek(r) != '"')
		return fail_type(r, f, true, path);
	if (json_read_string(r, &text, &len) < 0)
		return -EINVAL;
	*at = arena_strndup(r->arena, text, len);
	return 0;
}

static size_t skip_breaks(const char *text, size_t len, size_t at) {
	while (at < len && (text[at] == '\n' || text[at] == '\r'))
		at++;
	return at;
}

/* Padded, of the standard alphabet; line breaks do not count and are left out of `clean`. Else false, and where Go says that it is wrong. */
static bool base64_check(const char *text, size_t len, char *clean, size_t *ret_len, size_t *ret_bad) {
	size_t at = 0, count = 0, in = 0;
	*ret_bad = 0;
	for (; (at = skip_breaks(text, len, at)) < len && text[at] != '='; at++, in = (in + 1) % 4) {
		*ret_bad = at;
		if (!isalnum((unsigned char)text[at]) && text[at] != '+' && text[at] != '/')
			return false;
		clean[count++] = text[at];
	}
	*ret_len = count;
	*ret_bad = at - in;
	if (at == len)
		return in == 0;
	*ret_bad = at++;
	if (in < 2)
		return false;
	if (in == 2) {
		at = skip_breaks(text, len, at);
		*ret_bad = at == len ? len : at - 1;
		if (at == len || text[at++] != '=')
			return false;
	}
	*ret_bad = at = skip_breaks(text, len, at);
	return at == len;
}

static int decode_bytes(struct json_reader *r, const struct api_field *f, struct api_bytes *at, const struct json_path *path) {
	const char *text;
	size_t len, decoded_len;
	autofree uint8_t *decoded = NULL;
	if (json_peek(r) != '"')
		return fail_type(r, f, true, path);
	if (json_read_string(r, &text, &len) < 0)
		return -EINVAL;
	autofree char *clean = xmalloc(len + 1);
	size_t clean_len, bad;
	if (!base64_check(text, len, clean, &clean_len, &bad) || base64_decode(clean, clean_len, MAX_BYTES, &decoded, &decoded_len) < 0)
		return json_fail(r, "illegal base64 data at input byte %zu", bad);
	at->data = arena_memdup(r->arena, decoded, decoded_len);
	at->len = (uint32_t)decoded_len;
	return 0;
}

/* The text of a scalar whose type reads itself: a string's content, or a number or literal as it stands. */
static int read_loose(struct json_reader *r, const char **ret, size_t *ret_len) {
	if (json_peek(r) == '"')
		return json_read_string(r, ret, ret_len);
	const char *start = r->p;
	if (json_skip(r) < 0)
		return -EINVAL;
	*ret = start;
	*ret_len = (size_t)(r->p - start);
	return 0;
}

static int decode_quantity(struct json_reader *r, struct quantity *at) {
	const char *text;
	size_t len;
	if (read_loose(r, &text, &len) < 0)
		return -EINVAL;
	while (len && isspace((unsigned char)*text))
		text++, len--;
	while (len && isspace((unsigned char)text[len - 1]))
		len--;
	int ret = api_quantity_parse(text, len, at);
	if (ret == -ENOTSUP)
		return json_fail(r, "unable to parse quantity's suffix");
	if (ret < 0)
		return json_fail(r, "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
	return 0;
}

static int decode_int_or_string(struct json_reader *r, struct int_or_string *at) {
	const char *text;
	size_t len;
	int c = json_peek(r);
	bool string = c == '"';
	if (read_loose(r, &text, &len) < 0)
		return -EINVAL;
	if (string) {
		*at = (struct int_or_string){.str = arena_strndup(r->arena, text, len)};
		return 0;
	}
	char digits[16] = "";
	int64_t number;
	if (len < sizeof(digits)) {
		memcpy(digits, text, len);
		digits[len] = 0;
	}
	if (!str_to_int64(digits, INT32_MIN, INT32_MAX, &number)) {
		const char *what = c == '{' ? "object" : c == '[' ? "array" : c == 't' || c == 'f' ? "bool" : NULL;
		if (what)
			return json_fail(r, "json: cannot unmarshal %s into Go value of type int32", what);
		return json_fail(r, "json: cannot unmarshal number %.*s into Go value of type int32", (int)min_of(len, (size_t)64), text);
	}
	*at = (struct int_or_string){.num = (int32_t)number};
	return 0;
}

static int decode_time(struct json_reader *r, const struct api_field *f, struct api_time *at, const struct json_path *path) {
	const char *text;
	size_t len;
	bool micro = f->kind == API_MICRO_TIME;
	if (json_peek(r) != '"')
		return fail_type(r, &(struct api_field){.kind = API_STRING}, true, path);
	if (json_read_string(r, &text, &len) < 0)
		return -EINVAL;
	if (time_parse_rfc3339(text, len, &at->t) < 0 || (micro && !time_text_is_micro(text, len))) {
		autobuf struct buf why = BUF_INIT(1024);
		time_text_explain(text, len, micro, &why);
		return json_fail(r, "%.*s", (int)why.len, (const char *)why.data);
	}
	/* What storage would keep. */
	at->t.nsec = micro ? at->t.nsec - at->t.nsec % 1000 : 0;
	/* The year 1 is Go's zero time, which is written as null. */
	at->set = at->t.sec != -62135596800LL || at->t.nsec;
	return 0;
}

static int decode_duration(struct json_reader *r, struct api_duration *at) {
	const char *text;
	size_t len;
	if (json_peek(r) != '"')
		return json_skip(r) < 0 ? -EINVAL : json_fail(r, "json: cannot unmarshal number into Go value of type string");
	if (json_read_string(r, &text, &len) < 0)
		return -EINVAL;
	if (duration_parse(text, len, &at->ns) < 0)
		return json_fail(r, "time: invalid duration \"%.*s\"", (int)min_of(len, (size_t)64), text);
	return 0;
}

static int decode_element(struct json_reader *r, const struct api_field *f, void *at, const struct json_path *path) {
	int64_t number;
	switch ((enum api_kind)f->kind) {
	case API_STRING:
		return decode_string(r, f, at, path);
	case API_BOOL: {
		int c = json_peek(r);
		if (c != 't' && c != 'f')
			return fail_type(r, f, true, path);
		*(bool *)at = c == 't';
		return json_read_literal(r, c == 't' ? "true" : "false");
	}
	case API_INT32:
		if (decode_integer(r, f, at, path, INT32_MIN, INT32_MAX, &number) < 0)
			return -EINVAL;
		*(int32_t *)at = (int32_t)number;
		return 0;
	case API_INT64:
		if (decode_integer(r, f, at, path, INT64_MIN, INT64_MAX, &number) < 0)
			return -EINVAL;
		*(int64_t *)at = number;
		return 0;
	case API_DOUBLE:
		return decode_double(r, f, at, path);
	case API_BYTES:
		return decode_bytes(r, f, at, path);
	case API_QUANTITY:
		return decode_quantity(r, at);
	case API_INT_OR_STRING:
		return decode_int_or_string(r, at);
	case API_TIME:
	case API_MICRO_TIME:
		return decode_time(r, f, at, path);
	case API_DURATION:
		return decode_duration(r, at);
	case API_RAW_EXTENSION:
	case API_FIELDS_V1:
	case API_JSON:
		return json_read_raw(r, at);
	case API_STRUCT:
		return decode_struct(r, f->type, at, path);
	}
	return -EINVAL;
}

/* ---- lists and maps ---- */

/* Moves the elements that were pushed since `base` from the scratch stack into the arena, exactly sized. */
static void take_scratch(struct json_reader *r, size_t base, size_t stride, struct api_any_list *list) {
	size_t size = r->scratch.len - base;
	list->len = list->cap = (uint32_t)(size / stride);
	list->items = arena_alloc(r->arena, size);
	if (size)
		memcpy(list->items, r->scratch.data + base, size);
	r->scratch.len = base;
}

static int push_scratch(struct json_reader *r, size_t base, const void *element, size_t size) {
	buf_append(&r->scratch, element, size);
	if (buf_failed(&r->scratch) || (r->scratch.len - base) / size > MAX_ELEMENTS)
		return json_fail(r, "list is too long");
	return 0;
}

/* One value of a list or map. Where it is null it stays what an absent one is, but a text, which readers of lists take to be there, is empty. */
static int decode_member(struct json_reader *r, const struct api_field *f, void *at, const struct json_path *path) {
	if (json_peek(r) != 'n')
		return decode_element(r, f, at, path);
	if (f->kind == API_STRING)
		*(const char **)at = "";
	return json_read_literal(r, "null");
}

static int decode_list(struct json_reader *r, const struct api_field *f, void *at, const struct json_path *path) {
	size_t base = r->scratch.len;
	if (json_peek(r) != '[')
		return fail_type(r, f, false, path);
	if (json_enter(r) < 0)
		return -EINVAL;
	autofree void *element = xmalloc(f->element_size);
	struct json_path here = {.up = path};
	for (int c = json_peek(r); c != ']'; here.index++) {
		memset(element, 0, f->element_size);
		int ret = decode_member(r, f, element, &here);
		if (ret < 0 || push_scratch(r, base, element, f->element_size) < 0)
			return -EINVAL;
		c = json_peek(r);
		if (c == ']')
			break;
		if (c != ',')
			return json_fail_at(r, "after array element");
		r->p++;
		c = json_peek(r);
		if (c == ']')
			return json_fail_at(r, "looking for beginning of value");
	}
	r->p++;
	json_leave(r);
	take_scratch(r, base, f->element_size, at);
	return 0;
}

static int order_entries(const void *a, const void *b) {
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorts by key. The later of two equal keys wins: both are found side by side, in order, since the sort is stable here. */
static void sort_map(struct json_reader *r, struct api_any_list *map, size_t stride, const struct json_path *path) {
	bool sorted = true;
	for (uint32_t i = 1; i < map->len && sorted; i++)
		sorted = order_entries(map->items + (i - 1) * stride, map->items + i * stride) < 0;
	if (sorted)
		return;
	/* Insertion keeps equal keys in their order; large unsorted maps are rare, so they take the long way round. */
	autofree char *entry = xmalloc(stride);
	for (uint32_t i = 1; i < map->len; i++) {
		uint32_t low = 0, high = i;
		memcpy(entry, map->items + i * stride, stride);
		while (low < high) {
			uint32_t mid = low + (high - low) / 2;
			if (order_entries(map->items + mid * stride, entry) <= 0)
				low = mid + 1;
			else
				high = mid;
		}
		memmove(map->items + (low + 1) * stride, map->items + low * stride, (i - low) * stride);
		memcpy(map->items + low * stride, entry, stride);
	}
	uint32_t kept = 0;
	for (uint32_t i = 0; i < map->len; i++) {
		bool last = i + 1 == map->len || order_entries(map->items + i * stride, map->items + (i + 1) * stride);
		if (last) {
			memmove(map->items + kept++ * stride, map->items + i * stride, stride);
		} else {
			const char *key = *(const char *const *)(map->items + i * stride);
			json_found(r, "duplicate", &(struct json_path){.up = path, .key = key, .key_len = strlen(key)});
		}
	}
	map->len = kept;
}

/* What follows a member: the quote that begins the next one's key, '}', or -EINVAL. */
static inline int next_member(struct json_reader *r) {
	int c = json_peek(r);
	if (c == '}')
		return c;
	if (c != ',')
		return json_fail_at(r, "after object key:value pair");
	r->p++;
	c = json_peek(r);
	return c == '"' ? c : json_fail_at(r, "looking for beginning of object key string");
}

static int decode_map(struct json_reader *r, const struct api_field *f, void *at, const struct json_path *path) {
	size_t base = r->scratch.len;
	if (json_peek(r) != '{')
		return fail_type(r, f, false, path);
	if (json_enter(r) < 0)
		return -EINVAL;
	autofree char *entry = xmalloc(f->entry_size);
	for (int c = json_peek(r); c != '}';) {
		const char *text;
		size_t len;
		if (c != '"')
			return json_fail_at(r, "looking for beginning of object key string");
		if (json_read_string(r, &text, &len) < 0)
			return -EINVAL;
		char *key = arena_strndup(r->arena, text, len);
		struct json_path here = {.up = path, .key = key, .key_len = len};
		memset(entry, 0, f->entry_size);
		*(const char **)entry = key;
		if (json_expect(r, ':', "after object key") < 0)
			return -EINVAL;
		int ret = decode_member(r, f, entry + f->value_offset, &here);
		if (ret < 0 || push_scratch(r, base, entry, f->entry_size) < 0 || (c = next_member(r)) < 0)
			return -EINVAL;
	}
	r->p++;
	json_leave(r);
	take_scratch(r, base, f->entry_size, at);
	sort_map(r, at, f->entry_size, path);
	return 0;
}

/* ---- structs ---- */

/* The field of this name; *ret_index is its place among the type's own fields (an embedded type's field has none). */
static const struct api_field *find_own(const struct api_type *type, const char *name, size_t len, size_t hint, size_t *ret_index) {
	for (size_t i = hint; i < type->field_count && i < hint + 2; i++) {
		const struct api_field *f = &type->fields[i];
		if (f->name_len == len && !memcmp(f->name, name, len) && len) {
			*ret_index = i;
			return f;
		}
	}
	size_t low = 0, high = type->field_count;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct api_field *f = &type->fields[type->by_name[mid]];
		int order = memcmp(f->name, name, min_of((size_t)f->name_len, len));
		if (!order && f->name_len == len && len) {
			*ret_index = type->by_name[mid];
			return f;
		}
		if (order < 0 || (!order && f->name_len < len))
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

const struct api_field *api_field_find(const struct api_type *type, const char *name, size_t len, size_t *ret_offset) {
	size_t index;
	const struct api_field *f = find_own(type, name, len, 0, &index);
	if (f) {
		*ret_offset = 0;
		return f;
	}
	for (size_t i = 0; i < type->field_count; i++) {
		const struct api_field *embedded = &type->fields[i];
		if (!(embedded->flags & API_FIELD_INLINE))
			continue;
		size_t offset;
		f = api_field_find(embedded->type, name, len, &offset);
		if (f) {
			*ret_offset = embedded->offset + offset;
			return f;
		}
	}
	return NULL;
}

static int decode_null(struct json_reader *r, const struct api_field *f, void *at) {
	/* Null clears what can be absent and leaves the rest alone. */
	if (api_field_indirect(f))
		*(void **)at = NULL;
	else if (f->shape != API_SINGLE)
		memset(at, 0, sizeof(struct api_any_list));
	else if (f->kind != API_STRUCT && ((f->flags & API_FIELD_POINTER) || f->kind >= API_BYTES))
		memset(at, 0, f->element_size);
	return json_read_literal(r, "null");
}

static int decode_field(struct json_reader *r, const struct api_field *f, void *at, const struct json_path *path) {
	if (api_field_is_closed(f) || (f->flags & API_FIELD_WIRE_ONLY))
		return json_skip(r);
	for (const struct api_field *const *skip = r->skip; skip && *skip; skip++)
		if (*skip == f)
			return json_skip(r);
	if (json_peek(r) == 'n')
		return decode_null(r, f, at);
	if (f->shape == API_LIST)
		return decode_list(r, f, at, path);
	if (f->shape == API_MAP)
		return decode_map(r, f, at, path);
	if (!api_field_indirect(f))
		return decode_element(r, f, at, path);
	if (!*(void **)at)
		*(void **)at = arena_alloc(r->arena, f->element_size);
	return decode_element(r, f, *(void **)at, path);
}

static int decode_custom(struct json_reader *r, const struct api_type *type, void *value, const struct json_path *path) {
	const struct api_field *a = &type->fields[0], *b = type->field_count > 1 ? &type->fields[1] : NULL;
	int c = json_peek(r);
	switch ((enum api_custom)type->custom_json) {
	case API_CUSTOM_SELF:
		return decode_list(r, a, api_field_at(a, value), path);
	case API_CUSTOM_SCHEMA_OR_BOOL:
		if (c == '{') {
			*(bool *)api_field_at(a, value) = true;
			return decode_field(r, b, api_field_at(b, value), path);
		}
		if (c != 't' && c != 'f')
			return json_skip(r) < 0 ? -EINVAL : json_fail(r, "boolean or JSON schema expected");
		return decode_element(r, a, api_field_at(a, value), path);
	default:
		if (c == '[')
			return decode_list(r, b, api_field_at(b, value), path);
		if (c != '{')
			return json_skip(r);
		return decode_field(r, a, api_field_at(a, value), path);
	}
}

static int decode_rest(struct json_reader *r, const struct api_field *f, void *map, const struct json_path *path) {
	struct api_raw raw = {0};
	if (((struct api_any_list *)map)->len >= API_MAX_REST)
		return json_fail(r, "object has too many fields");
	autofree char *key = xstrndup(path->key, path->key_len);
	if (json_read_raw(r, &raw) < 0)
		return -EINVAL;
	if (api_map_find(map, f->entry_size, key))
		json_found(r, "duplicate", &(struct json_path){.up = path->up, .key = key, .key_len = path->key_len});
	*(struct api_raw *)((char *)api_map_insert(r->arena, map, f->entry_size, key) + f->value_offset) = raw;
	return 0;
}

static int decode_named(struct json_reader *r, const struct api_type *type, void *value, size_t *hint, uint64_t *seen, const struct json_path *path) {
	const char *text;
	size_t len, index = 0, offset = 0;
	if (json_read_string(r, &text, &len) < 0)
		return -EINVAL;
	/* The name is needed after the next token where it was unescaped; a field's own name is stable. */
	const struct api_field *f = find_own(type, text, len, *hint, &index);
	bool own = f != NULL;
	if (!f)
		f = api_field_find(type, text, len, &offset);
	bool copied = !f && text == r->text.data;
	autofree char *copy = copied ? xstrndup(text, len) : NULL;
	struct json_path here = {.up = path, .key = f ? f->name : copied ? copy : text, .key_len = len, .type = type};
	if (json_expect(r, ':', "after object key") < 0)
		return -EINVAL;
	const struct api_field *rest = f || !type->field_count ? NULL : &type->fields[type->field_count - 1];
	if (rest && rest->flags & API_FIELD_REST)
		return decode_rest(r, rest, api_field_at(rest, value), &here);
	if (!f || f->flags & API_FIELD_NO_JSON) {
		json_found(r, "unknown", &here);
		return json_skip(r);
	}
	if (own) {
		*hint = index + 1;
		if (seen[index / 64] >> index % 64 & 1)
			json_found(r, "duplicate", &here);
		seen[index / 64] |= (uint64_t)1 << index % 64;
	}
	return decode_field(r, f, (char *)api_field_at(f, value) + offset, &here);
}

static int decode_struct(struct json_reader *r, const struct api_type *type, void *value, const struct json_path *path) {
	size_t hint = 0;
	uint64_t seen[2] = {0};
	if (type->custom_json)
		return decode_custom(r, type, value, path);
	if (json_peek(r) != '{') {
		struct api_field self = {.kind = API_STRUCT, .type = type};
		return fail_type(r, &self, true, path);
	}
	if (r->depth >= API_MAX_DEPTH) {
		r->syntax = true;
		return json_fail(r, "invalid character '{' exceeded max depth");
	}
	if (json_enter(r) < 0)
		return -EINVAL;
	for (int c = json_peek(r); c != '}';) {
		if (c != '"')
			return json_fail_at(r, "looking for beginning of object key string");
		if (decode_named(r, type, value, &hint, seen, path) < 0 || (c = next_member(r)) < 0)
			return -EINVAL;
	}
	r->p++;
	json_leave(r);
	return 0;
}

/* ---- the whole ---- */

void api_summarize(const char *data, size_t len, struct buf *out) {
	size_t shown = min_of(len, (size_t)30);
	if (!len)
		buf_append_str(out, "<empty>");
	else if (*data == '{')
		buf_append(out, data, shown);
	else
		for (size_t i = 0; i < shown; i++)
			buf_printf(out, "%02x", (unsigned char)data[i]);
	if (len > shown)
		buf_append_str(out, " ...");
}

/* "Pod in version "v1" cannot be handled as a Pod: ..." */
static int wrap_error(const struct api_type *type, const char *json, size_t len, const struct api_decode_options *options, const char *message, bool syntax, struct error *err) {
	autofree char *api_version = NULL, *kind = NULL, *peek_message = NULL;
	const char *name = type->kind ? type->kind : strrchr(type->id, '.') ? strrchr(type->id, '.') + 1 : type->id;
	const char *quoted = options && options->source ? options->source : json;
	size_t quoted_len = options && options->source ? options->source_len : len;
	if (options && options->bare && !syntax)
		return error_status(err, 400, "BadRequest", "%s", message);
	if (!syntax && json_peek_kind(json, len, &api_version, &kind, &peek_message) == 0 && (!str_empty(kind) || type->kind)) {
		const char *slash = api_version ? strrchr(api_version, '/') : NULL;
		const char *version = str_or(slash ? slash + 1 : api_version, type->version);
		return error_status(err, 400, "BadRequest", "%s in version \"%s\" cannot be handled as a %s: %s", str_or(kind, type->kind), version, name, message);
	}
	if (options && options->bare)
		return error_status(err, 400, "BadRequest", "couldn't get version/kind; json parse error: %s", message);
	autobuf struct buf summary = BUF_INIT(4096);
	api_summarize(quoted, quoted_len, &summary);
	return error_status(err, 400, "BadRequest", "the object provided is unrecognized (must be of type %s): couldn't get version/kind; json parse error: %s (%.*s)",
			    name, peek_message ? peek_message : message, (int)summary.len, (const char *)summary.data);
}

/* Strict findings: into the error, or handed to the caller. */
static int judge(struct json_reader *r, const struct api_type *type, const struct api_decode_options *options, struct error *err) {
	if (!r->found.len)
		return 0;
	if (options->validation == API_WARN) {
		if (options->warnings) {
			struct api_warning_list *all = options->warnings;
			all->items = xreallocarray(all->items, all->len + r->found.len, sizeof(*all->items));
			memcpy(all->items + all->len, r->found.items, r->found.len * sizeof(*all->items));
			all->len += r->found.len;
			r->found.len = 0;
		}
		return 0;
	}
	autobuf struct buf text = BUF_INIT((size_t)1 << 20);
	buf_append_str(&text, "strict decoding error: ");
	automap struct map told = MAP_INIT(NULL);
	for (size_t i = 0; i < r->found.len; i++)
		if (!map_has(&told, r->found.items[i])) {
			buf_printf(&text, "%s%s", i ? ", " : "", r->found.items[i]);
			set_add(&told, r->found.items[i]);
		}
	return wrap_error(type, r->start, (size_t)(r->end - r->start), options, text.data, false, err);
}

static int decode_all(struct json_reader *r, const struct api_type *type, void *value) {
	if (json_peek(r) == 'n')
		return json_read_literal(r, "null");
	if (decode_struct(r, type, value, NULL) < 0)
		return -EINVAL;
	return json_peek(r) >= 0 ? json_fail_at(r, "after top-level value") : 0;
}

int api_decode_json(const struct api_type *type, const char *json, size_t len, const struct api_decode_options *options, void **ret_object, struct error *err) {
	struct json_reader r;
	void *object = api_new_bare(type);
	json_reader_init(&r, json, len, api_arena(object));
	if (options) {
		r.strict = options->validation != API_IGNORE;
		r.skip = options->skip;
		if (options->max_depth)
			r.max_depth = options->max_depth;
		if (r.strict && options->found) {
			r.found = *options->found;
			*options->found = (struct api_warning_list){0};
		}
	}
	int ret = decode_all(&r, type, object);
	if (ret < 0)
		ret = wrap_error(type, json, len, options, r.message ? r.message : "malformed JSON", r.syntax, err);
	else if (r.strict)
		ret = judge(&r, type, options, err);
	json_reader_done(&r);
	if (ret < 0) {
		api_unref(object);
		return ret;
	}
	*ret_object = object;
	return 0;
}

int api_decode_json_any(const char *json, size_t len, const struct api_decode_options *options, void **ret_object, struct error *err) {
	autofree char *api_version = NULL, *kind = NULL, *message = NULL;
	const char *group, *version;
	if (json_peek_kind(json, len, &api_version, &kind, &message) < 0)
		return error_status(err, 400, "BadRequest", "couldn't get version/kind; json parse error: %s", message);
	if (str_empty(kind))
		return error_status(err, 400, "BadRequest", "Object 'Kind' is missing in '%.*s'", (int)min_of(len, (size_t)256), json);
	if (str_empty(api_version))
		return error_status(err, 400, "BadRequest", "Object 'apiVersion' is missing in '%.*s'", (int)min_of(len, (size_t)256), json);
	autoarena struct arena *arena = arena_new();
	api_split_group_version(arena, api_version, &group, &version);
	const struct api_type *type = api_type_by_kind(group, version, kind);
	if (!type)
		return error_set(err, ENOENT, "no kind \"%s\" is registered for version \"%s\"", kind, api_version);
	return api_decode_json(type, json, len, options, ret_object, err);
}

int api_decode_json_value(const struct api_type *type, const char *json, size_t len, void *value, struct arena *arena, struct error *err) {
	struct json_reader r;
	json_reader_init(&r, json, len, arena);
	int ret = decode_all(&r, type, value);
	if (ret < 0)
		ret = error_status(err, 400, "BadRequest", "%s", r.message ? r.message : "malformed JSON");
	json_reader_done(&r);
	return ret;
}

/* One field's JSON text into the field (not the whole value): defaults are written this way. */
int api_decode_json_field(const struct api_field *f, const char *json, void *value, struct arena *arena) {
	struct json_reader r;
	json_reader_init(&r, json, strlen(json), arena);
	int ret = decode_field(&r, f, api_field_at(f, value), NULL);
	json_reader_done(&r);
	return ret;
}
