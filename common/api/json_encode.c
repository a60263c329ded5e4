/* SPDX-License-Identifier: Apache-2.0 */
/* JSON out: byte for byte what encoding/json writes for the Go structs. */
#include "common/api/codec.h"

#include <math.h>
#include <stdio.h>

/* Bytes that cannot stand in a string as they are: controls, quote, backslash, <, >, &, and all that is not ASCII. */
static bool is_plain(unsigned char c) {
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&';
}

/* Length of the valid UTF-8 sequence at p, 0 where there is none. */
size_t api_utf8_length(const unsigned char *p, size_t left) {
	static const struct {
		unsigned char first, last, low, high;
		size_t len;
	} rows[] = {
		{0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3},
		{0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
	};
	if (left && p[0] < 0x80)
		return 1;
	for (size_t i = 0; i < array_len(rows); i++) {
		if (p[0] < rows[i].first || p[0] > rows[i].last)
			continue;
		if (left < rows[i].len || p[1] < rows[i].low || p[1] > rows[i].high)
			return 0;
		for (size_t k = 2; k < rows[i].len; k++)
			if ((p[k] & 0xc0) != 0x80)
				return 0;
		return rows[i].len;
	}
	return 0;
}

static size_t append_escaped(struct buf *out, const unsigned char *p, size_t left) {
	static const char short_escapes[][2] = {{'"', '"'}, {'\\', '\\'}, {'\b', 'b'}, {'\f', 'f'}, {'\n', 'n'}, {'\r', 'r'}, {'\t', 't'}};
	if (*p < 0x80) {
		for (size_t i = 0; i < array_len(short_escapes); i++)
			if (*p == (unsigned char)short_escapes[i][0]) {
				buf_append(out, (char[]){'\\', short_escapes[i][1]}, 2);
				return 1;
			}
		buf_printf(out, "\\u%04x", *p);
		return 1;
	}
	size_t len = api_utf8_length(p, left);
	if (!len) {
		buf_append(out, "\\ufffd", 6);
		return 1;
	}
	if (len == 3 && p[0] == 0xe2 && p[1] == 0x80 && (p[2] == 0xa8 || p[2] == 0xa9))
		buf_append(out, p[2] == 0xa8 ? "\\u2028" : "\\u2029", 6);
	else
		buf_append(out, p, len);
	return len;
}

void api_append_json_string(struct buf *out, const char *s, size_t len) {
	const unsigned char *p = (const unsigned char *)s, *end = p + len;
	if (!buf_reserve(out, len + 2))
		return;
	buf_append_char(out, '"');
	while (p < end) {
		const unsigned char *start = p;
		while (p < end && is_plain(*p))
			p++;
		buf_append(out, start, (size_t)(p - start));
		if (p < end)
			p += append_escaped(out, p, (size_t)(end - p));
	}
	buf_append_char(out, '"');
}

void api_append_double(struct buf *out, double value) {
	char text[40];
	if (!isfinite(value)) {
		buf_append_str(out, "null"); /* cannot come from JSON */
		return;
	}
	int digits = 1;
	for (; digits < 17; digits++) {
		snprintf(text, sizeof(text), "%.*e", digits - 1, value);
		if (strtod(text, NULL) == value)
			break;
	}
	double magnitude = fabs(value);
	if (magnitude != 0 && (magnitude < 1e-6 || magnitude >= 1e21)) {
		snprintf(text, sizeof(text), "%.*e", digits - 1, value);
		/* e-09 is written e-9 */
		char *e = strchr(text, 'e');
		if (e && e[2] == '0')
			memmove(e + 2, e + 3, strlen(e + 3) + 1);
		buf_append_str(out, text);
		return;
	}
	int exponent = magnitude != 0 ? (int)floor(log10(magnitude)) : 0;
	char plain[64];
	for (int places = max_of(digits - 1 - exponent - 1, 0);; places++) {
		snprintf(plain, sizeof(plain), "%.*f", places, value);
		if (strtod(plain, NULL) == value)
			break;
	}
	buf_append_str(out, plain);
}

/* Raw JSON is compact already; strings in it may hold what HTML must not see. */
static void append_raw(struct buf *out, const struct api_raw *raw) {
	if (!raw->json) {
		buf_append_str(out, "null");
		return;
	}
	const char *p = raw->json, *end = p + raw->len;
	while (p < end) {
		const char *start = p;
		while (p < end && *p != '<' && *p != '>' && *p != '&' && (unsigned char)*p != 0xe2)
			p++;
		buf_append(out, start, (size_t)(p - start));
		if (p >= end)
			break;
		if ((unsigned char)*p != 0xe2) {
			buf_printf(out, "\\u%04x", (unsigned char)*p++);
		} else if (end - p >= 3 && (unsigned char)p[1] == 0x80 && ((unsigned char)p[2] == 0xa8 || (unsigned char)p[2] == 0xa9)) {
			buf_append_str(out, (unsigned char)p[2] == 0xa8 ? "\\u2028" : "\\u2029");
			p += 3;
		} else {
			buf_append_char(out, *p++);
		}
	}
}

static void append_time(struct buf *out, const struct api_time *t, bool micro) {
	char text[40];
	if (!t->set) {
		buf_append_str(out, "null");
		return;
	}
	if (micro)
		time_format_rfc3339_micro(t->t, text);
	else
		time_format_rfc3339(t->t, text);
	buf_append_char(out, '"');
	buf_append_str(out, text);
	buf_append_char(out, '"');
}

static void append_quoted(struct buf *out, const char *text, size_t len) {
	buf_append_char(out, '"');
	buf_append(out, text, len);
	buf_append_char(out, '"');
}

void api_encode_json_element(const struct api_field *f, const void *at, struct buf *out) {
	char text[64];
	switch ((enum api_kind)f->kind) {
	case API_STRING: {
		const char *s = *(const char *const *)at;
		api_append_json_string(out, s ? s : "", s ? strlen(s) : 0);
		break;
	}
	case API_BOOL:
		buf_append_str(out, *(const bool *)at ? "true" : "false");
		break;
	case API_INT32:
		buf_append_int(out, *(const int32_t *)at);
		break;
	case API_INT64:
		buf_append_int(out, *(const int64_t *)at);
		break;
	case API_DOUBLE:
		api_append_double(out, *(const double *)at);
		break;
	case API_BYTES: {
		const struct api_bytes *bytes = at;
		if (!bytes->data) {
			buf_append_str(out, "null");
			break;
		}
		buf_append_char(out, '"');
		buf_append_base64(out, bytes->data, bytes->len);
		buf_append_char(out, '"');
		break;
	}
	case API_QUANTITY:
		append_quoted(out, text, quantity_format(at, text));
		break;
	case API_INT_OR_STRING: {
		const struct int_or_string *v = at;
		if (v->str)
			api_append_json_string(out, v->str, strlen(v->str));
		else
			buf_append_int(out, v->num);
		break;
	}
	case API_TIME:
	case API_MICRO_TIME:
		append_time(out, at, f->kind == API_MICRO_TIME);
		break;
	case API_DURATION:
		duration_format(((const struct api_duration *)at)->ns, text);
		append_quoted(out, text, strlen(text));
		break;
	case API_RAW_EXTENSION:
	case API_FIELDS_V1:
	case API_JSON:
		append_raw(out, at);
		break;
	case API_STRUCT:
		api_encode_json(f->type, at, out);
		break;
	}
}

/* Of the object that this thread encodes: no difference is made between lists that are empty and none. */
static _Thread_local bool empty_is_null;

static void encode_items(const struct api_field *f, const struct api_any_list *list, struct buf *out) {
	bool map = f->shape == API_MAP;
	size_t stride = map ? f->entry_size : f->element_size;
	if (!list->items || (!list->len && empty_is_null)) {
		buf_append_str(out, "null");
		return;
	}
	buf_append_char(out, map ? '{' : '[');
	for (uint32_t i = 0; i < list->len; i++) {
		const char *item = list->items + i * stride;
		if (i)
			buf_append_char(out, ',');
		if (map) {
			const char *key = *(const char *const *)item;
			api_append_json_string(out, key, strlen(key));
			buf_append_char(out, ':');
		}
		api_encode_json_element(f, item + f->value_offset, out);
	}
	buf_append_char(out, map ? '}' : ']');
}

/* omitempty looks at strings, numbers, booleans, lists, maps and pointers, never into a struct or a type with its own form. */
static bool is_omitted(const struct api_field *f, const void *at, bool pointer) {
	if ((f->flags & API_FIELD_OMIT_ZERO) && !pointer && api_value_is_zero(f, at))
		return true;
	if (!(f->flags & API_FIELD_OMIT_EMPTY) || pointer)
		return false;
	if (f->shape != API_SINGLE)
		return !((const struct api_any_list *)at)->len;
	switch ((enum api_kind)f->kind) {
	case API_STRING:
	case API_BOOL:
	case API_INT32:
	case API_INT64:
	case API_DOUBLE:
	case API_BYTES:
		return api_value_is_zero(f, at);
	default:
		return false;
	}
}

enum api_presence api_field_presence(const struct api_field *f, const void *at) {
	if (f->flags & (API_FIELD_WIRE_ONLY | API_FIELD_NO_JSON))
		return API_LEFT_OUT;
	bool absent = api_field_indirect(f) ? !*(const void *const *)at : api_value_is_absent(f, at);
	if (absent)
		return f->flags & (API_FIELD_OMIT_EMPTY | API_FIELD_OMIT_ZERO) ? API_LEFT_OUT : API_NULL;
	return is_omitted(f, at, f->flags & API_FIELD_POINTER) ? API_LEFT_OUT : API_WRITTEN;
}

static void encode_rest(const struct api_field *f, const struct api_any_list *map, struct buf *out, bool *first) {
	for (uint32_t i = 0; i < map->len; i++) {
		const char *entry = map->items + i * f->entry_size, *key = *(const char *const *)entry;
		if (!*first)
			buf_append_char(out, ',');
		*first = false;
		api_append_json_string(out, key, strlen(key));
		buf_append_char(out, ':');
		api_encode_json_element(f, entry + f->value_offset, out);
	}
}

static void encode_fields(const struct api_type *type, const void *value, struct buf *out, bool *first) {
	for (size_t i = 0; i < type->field_count; i++) {
		const struct api_field *f = &type->fields[i];
		const void *at = api_field_at_const(f, value);
		if (f->flags & API_FIELD_INLINE && !(f->flags & (API_FIELD_WIRE_ONLY | API_FIELD_NO_JSON))) {
			encode_fields(f->type, at, out, first);
			continue;
		}
		if (f->flags & API_FIELD_REST) {
			encode_rest(f, at, out, first);
			continue;
		}
		enum api_presence presence = api_field_presence(f, at);
		if (presence == API_LEFT_OUT)
			continue;
		if (!*first)
			buf_append_char(out, ',');
		*first = false;
		/* Names of fields are plain. */
		buf_append_char(out, '"');
		buf_append(out, f->name, f->name_len);
		buf_append(out, "\":", 2);
		if (presence == API_NULL)
			buf_append_str(out, "null");
		else if (f->shape != API_SINGLE)
			encode_items(f, at, out);
		else
			api_encode_json_element(f, api_field_indirect(f) ? *(const void *const *)at : at, out);
	}
}

/* The types of apiextensions that are one thing or another: fields are (schema, list) or (allows, schema). */
static void encode_custom(const struct api_type *type, const void *value, struct buf *out) {
	const struct api_field *a = &type->fields[0], *b = type->field_count > 1 ? &type->fields[1] : NULL;
	switch ((enum api_custom)type->custom_json) {
	case API_CUSTOM_SELF:
		encode_items(a, api_field_at_const(a, value), out);
		return;
	case API_CUSTOM_SCHEMA_OR_BOOL: {
		const void *schema = api_field_value(b, value);
		if (schema)
			api_encode_json(b->type, schema, out);
		else
			api_encode_json_element(a, api_field_at_const(a, value), out);
		return;
	}
	default: {
		const struct api_any_list *list = api_field_at_const(b, value);
		const void *schema = api_field_value(a, value);
		if (list->len)
			encode_items(b, list, out);
		else if (schema)
			api_encode_json(a->type, schema, out);
		else
			buf_append_str(out, "null");
	}
	}
}

void api_encode_json(const struct api_type *type, const void *value, struct buf *out) {
	bool first = true;
	if (type->custom_json) {
		encode_custom(type, value, out);
		return;
	}
	buf_append_char(out, '{');
	encode_fields(type, value, out, &first);
	buf_append_char(out, '}');
}

void api_encode_json_stored(const struct api_type *type, const void *value, struct buf *out) {
	empty_is_null = true;
	api_encode_json(type, value, out);
	empty_is_null = false;
}
