/* SPDX-License-Identifier: Apache-2.0 */
/* JSON trees as YAML, laid out as kubectl prints them: block style, sorted keys, quotes only where a word would mean something else. */
#include "common/api/codec.h"
#include "common/api/yaml.h"
#include "common/api/yaml_scalar.h"

#include <ctype.h>
#include <errno.h>
#include <yaml.h>

static int append_output(void *arg, unsigned char *data, size_t size) {
	buf_append(arg, data, size);
	return !buf_failed(arg);
}

/* 1:30 was a number to base 60 once; it is quoted so that old readers see a string. */
static bool is_base_60(const char *s) {
	if (!strchr(s, ':') || (!isdigit((unsigned char)*s) && !strchr("+-", *s)))
		return false;
	s += *s == '-' || *s == '+';
	if (!isdigit((unsigned char)*s))
		return false;
	s += strspn(s, "0123456789_");
	size_t parts = 0;
	for (; *s == ':'; parts++) {
		s++;
		if (*s >= '0' && *s <= '5' && isdigit((unsigned char)s[1]))
			s += 2;
		else if (isdigit((unsigned char)*s))
			s++;
		else
			return false;
	}
	if (*s == '.')
		s += 1 + strspn(s + 1, "0123456789_");
	return parts && !*s;
}

/* One or two digits of at most `max`. */
static bool take_number(const char **s, int max) {
	int value = 0, digits = 0;
	for (; digits < 2 && isdigit((unsigned char)**s); digits++)
		value = value * 10 + (*(*s)++ - '0');
	return digits && value <= max;
}

static bool take_clock(const char **s) {
	if (!take_number(s, 23) || *(*s)++ != ':' || !take_number(s, 59) || *(*s)++ != ':' || !take_number(s, 59))
		return false;
	if (**s == '.')
		*s += 1 + strspn(*s + 1, "0123456789");
	return true;
}

/* 2006-1-2, with a time behind T or a blank: a date to YAML. */
static bool is_timestamp(const char *s) {
	if (strspn(s, "0123456789") != 4 || s[4] != '-')
		return false;
	s += 5;
	if (!take_number(&s, 12) || *s++ != '-' || !take_number(&s, 31))
		return false;
	if (!*s)
		return true;
	char separator = *s++;
	if (!strchr("Tt ", separator) || !take_clock(&s))
		return false;
	if (separator == ' ')
		return !*s;
	if (*s == 'Z')
		return !s[1];
	if (*s != '+' && *s != '-')
		return false;
	s++;
	return take_number(&s, 23) && *s++ == ':' && take_number(&s, 59) && !*s;
}

static bool emit_scalar(yaml_emitter_t *e, const char *text, size_t len, yaml_scalar_style_t style) {
	yaml_event_t event;
	return yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)text, (int)len, 1, 1, style) && yaml_emitter_emit(e, &event);
}

static bool emit_text(yaml_emitter_t *e, const char *text, size_t len) {
	yaml_scalar_style_t style = YAML_PLAIN_SCALAR_STYLE;
	if (yaml_scalar_meaning(text, NULL) != YAML_TEXT || is_base_60(text) || is_timestamp(text))
		style = YAML_DOUBLE_QUOTED_SCALAR_STYLE;
	else if (strchr(text, '\n'))
		style = YAML_LITERAL_SCALAR_STYLE;
	return emit_scalar(e, text, len, style);
}

/* Words by letters, numbers inside them by value: a2 before a10. */
static int order_keys(const void *a, const void *b) {
	const unsigned char *x = *(const unsigned char *const *)a, *y = *(const unsigned char *const *)b;
	const unsigned char *start = x;
	bool digits = false;
	for (; *x && *y; x++, y++) {
		if (*x == *y) {
			digits = isdigit(*x);
			continue;
		}
		bool x_letter = isalpha(*x) || *x >= 0x80, y_letter = isalpha(*y) || *y >= 0x80;
		if (x_letter && y_letter)
			return *x - *y;
		if (x_letter || y_letter)
			return (digits ? x_letter : y_letter) ? -1 : 1;
		/* Leading zeros count only inside a number that has begun. */
		uint64_t x_number = 0, y_number = 0;
		if (*x == '0' || *y == '0')
			for (const unsigned char *c = x; c > start && isdigit(c[-1]); c--)
				if (c[-1] != '0') {
					x_number = y_number = 1;
					break;
				}
		const unsigned char *p = x, *q = y;
		for (; isdigit(*p); p++)
			x_number = x_number * 10 + (*p - '0');
		for (; isdigit(*q); q++)
			y_number = y_number * 10 + (*q - '0');
		if (x_number != y_number)
			return x_number < y_number ? -1 : 1;
		if (p - x != q - y)
			return p - x < q - y ? -1 : 1;
		return *x - *y;
	}
	return *x ? 1 : *y ? -1 : 0;
}

static bool emit_value(yaml_emitter_t *e, json_t *value, unsigned depth);

static bool emit_object(yaml_emitter_t *e, json_t *object, unsigned depth) {
	size_t n = 0;
	autofree const char **keys = xcalloc(json_object_size(object) + 1, sizeof(*keys));
	const char *key;
	json_t *value;
	yaml_event_t event;
	json_object_foreach(object, key, value) {
		keys[n++] = key;
	}
	qsort(keys, n, sizeof(*keys), order_keys);
	if (!yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE) || !yaml_emitter_emit(e, &event))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!emit_text(e, keys[i], strlen(keys[i])) || !emit_value(e, json_object_get(object, keys[i]), depth + 1))
			return false;
	return yaml_mapping_end_event_initialize(&event) && yaml_emitter_emit(e, &event);
}

static bool emit_array(yaml_emitter_t *e, json_t *array, unsigned depth) {
	size_t i;
	json_t *item;
	yaml_event_t event;
	if (!yaml_sequence_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_SEQUENCE_STYLE) || !yaml_emitter_emit(e, &event))
		return false;
	json_array_foreach(array, i, item) {
		if (!emit_value(e, item, depth + 1))
			return false;
	}
	return yaml_sequence_end_event_initialize(&event) && yaml_emitter_emit(e, &event);
}

static bool emit_value(yaml_emitter_t *e, json_t *value, unsigned depth) {
	if (depth > 2048)
		return false;
	if (json_is_object(value))
		return emit_object(e, value, depth);
	if (json_is_array(value))
		return emit_array(e, value, depth);
	if (json_is_string(value))
		return emit_text(e, json_string_value(value), json_string_length(value));
	autobuf struct buf text = BUF_INIT(512);
	api_append_json_tree(&text, value, 0);
	return emit_scalar(e, text.data, text.len, YAML_PLAIN_SCALAR_STYLE);
}

void yaml_dump(json_t *value, struct buf *out) {
	yaml_emitter_t e;
	yaml_event_t event;
	if (!yaml_emitter_initialize(&e))
		abort();
	yaml_emitter_set_output(&e, append_output, out);
	yaml_emitter_set_unicode(&e, 1);
	bool ok = yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING) && yaml_emitter_emit(&e, &event) &&
		  yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1) && yaml_emitter_emit(&e, &event) && emit_value(&e, value, 0) &&
		  yaml_document_end_event_initialize(&event, 1) && yaml_emitter_emit(&e, &event) && yaml_stream_end_event_initialize(&event) && yaml_emitter_emit(&e, &event);
	/* Only the buffer's bound, or text that is no UTF-8, can stop it. */
	if (!ok)
		out->overflow = true;
	yaml_emitter_delete(&e);
}

int yaml_from_json(const char *json, size_t len, struct buf *out, struct error *err) {
	json_error_t error;
	json_t *value = json_loadb(json, len, JSON_DECODE_ANY, &error);
	if (!value)
		value = json_loadb(json, len, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, &error);
	if (!value)
		return error_set(err, EINVAL, "%s", error.text);
	yaml_dump(value, out);
	json_decref(value);
	return 0;
}
