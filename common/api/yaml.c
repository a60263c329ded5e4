/* SPDX-License-Identifier: Apache-2.0 */
#include "common/api/yaml.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>

#include <yaml.h>

/* ---- scalars of YAML 1.1, as Go's yaml.v2 resolves them ---- */

static bool in_list(const char *s, const char *const *list) {
	for (; *list; list++)
		if (strcmp(s, *list) == 0)
			return true;
	return false;
}

static json_t *resolve_int(const char *text) {
	char clean[80];
	size_t n = 0;
	for (const char *p = text; *p && n + 1 < sizeof(clean); p++)
		if (*p != '_')
			clean[n++] = *p;
	clean[n] = '\0';
	const char *digits = clean + (*clean == '-' || *clean == '+');
	int base = 10;
	if (str_starts_with(digits, "0x"))
		base = 16;
	else if (str_starts_with(digits, "0b"))
		base = 2;
	else if (digits[0] == '0' && (digits[1] == 'o' || isdigit((uint8_t)digits[1])))
		base = 8;
	const char *start = digits + (base == 16 || base == 2 || (base == 8 && digits[1] == 'o') ? 2 : 0);
	char *end;
	if (!isxdigit((uint8_t)*start) || (base == 10 && !isdigit((uint8_t)*start)))
		return NULL;
	errno = 0;
	unsigned long long value = strtoull(start, &end, base);
	bool negative = *clean == '-';
	if (*end || errno || value > (unsigned long long)INT64_MAX + negative)
		return NULL;
	return json_integer(negative ? (json_int_t)(0 - value) : (json_int_t)value);
}

static json_t *resolve_float(const char *text) {
	const char *p = text + (*text == '-' || *text == '+');
	bool digits = false;
	for (; isdigit((uint8_t)*p); p++)
		digits = true;
	if (*p == '.')
		for (p++; isdigit((uint8_t)*p); p++)
			digits = true;
	if (digits && (*p == 'e' || *p == 'E')) {
		p++;
		p += *p == '-' || *p == '+';
		if (!isdigit((uint8_t)*p))
			return NULL;
		while (isdigit((uint8_t)*p))
			p++;
	}
	if (!digits || *p)
		return NULL;
	double value = strtod(text, NULL);
	return isfinite(value) ? json_real(value) : NULL;
}

static json_t *string_value(const char *text, size_t len) {
	return json_stringn(text, len); /* NULL where it is not UTF-8 */
}

static json_t *resolve_plain(const char *text, size_t len) {
	static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
	static const char *const trues[] = {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y", NULL};
	static const char *const falses[] = {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N", NULL};
	if (in_list(text, nulls))
		return json_null();
	/* y and n alone stay strings: yaml.v2 gave that part of 1.1 up. */
	if (len > 1 && in_list(text, trues))
		return json_true();
	if (len > 1 && in_list(text, falses))
		return json_false();
	json_t *value = NULL;
	if (isdigit((uint8_t)*text) || *text == '-' || *text == '+' || *text == '.') {
		value = resolve_int(text);
		if (!value)
			value = resolve_float(text);
	}
	return value ? value : string_value(text, len);
}

/* ---- nodes ---- */

struct load {
	yaml_document_t document;
	size_t nodes;
	struct error *err;
};

static int node_error(struct load *load, const yaml_node_t *node, const char *what) {
	return error_set(load->err, EINVAL, "yaml: line %zu: %s", node->start_mark.line + 1, what);
}

static int convert(struct load *load, int index, unsigned depth, json_t **ret);

static json_t *convert_scalar(const yaml_node_t *node) {
	const char *text = (const char *)node->data.scalar.value;
	size_t len = node->data.scalar.length;
	const char *tag = (const char *)node->tag;
	bool plain = node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	if (strlen(text) != len) /* a NUL inside: no number, no word */
		return string_value(text, len);
	if (tag && str_equal(tag, YAML_STR_TAG) && !plain)
		return string_value(text, len);
	if (tag && (str_equal(tag, YAML_INT_TAG) || str_equal(tag, YAML_FLOAT_TAG) || str_equal(tag, YAML_BOOL_TAG) || str_equal(tag, YAML_NULL_TAG)))
		return resolve_plain(text, len);
	return plain ? resolve_plain(text, len) : string_value(text, len);
}

/* A key is a string in JSON: numbers and booleans are spelled out. NULL where it is a list or map. */
static char *key_text(struct load *load, const yaml_node_t *node) {
	if (node->type != YAML_SCALAR_NODE)
		return NULL;
	json_t *value = convert_scalar(node);
	char *text = NULL;
	if (json_is_string(value))
		text = xstrdup(json_string_value(value));
	else if (json_is_boolean(value))
		text = xstrdup(json_is_true(value) ? "true" : "false");
	else if (json_is_integer(value))
		text = xprintf("%lld", (long long)json_integer_value(value));
	else if (value)
		text = xstrdup((const char *)node->data.scalar.value);
	json_decref(value);
	return text;
}

/* "<<: *base": keys that the map itself lacks come from there. */
static int merge_base(struct load *load, const yaml_node_t *node, int value_index, unsigned depth, json_t *out) {
	json_t *base = NULL;
	int r = convert(load, value_index, depth + 1, &base);
	if (r < 0)
		return r;
	if (json_is_array(base)) {
		for (size_t i = 0; i < json_array_size(base); i++)
			json_object_update_missing(out, json_array_get(base, i));
	} else if (json_object_update_missing(out, base) < 0) {
		r = node_error(load, node, "map merge requires map or sequence of maps as the value");
	}
	json_decref(base);
	return r;
}

static int convert_mapping(struct load *load, const yaml_node_t *node, unsigned depth, json_t **ret) {
	json_t *out = json_object();
	int r = 0;
	const yaml_node_pair_t *pair = node->data.mapping.pairs.start, *end = node->data.mapping.pairs.top;
	for (; r == 0 && pair < end; pair++) {
		const yaml_node_t *key_node = yaml_document_get_node(&load->document, pair->key);
		autofree char *key = key_text(load, key_node);
		json_t *value = NULL;
		if (!key) {
			r = node_error(load, key_node, "a key must be a scalar");
		} else if (str_equal(key, "<<") && key_node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
			continue;
		} else if (json_object_get(out, key)) {
			autofree char *what = xprintf("key \"%s\" already set in map", key);
			r = node_error(load, key_node, what);
		} else {
			r = convert(load, pair->value, depth + 1, &value);
			if (r == 0)
				json_object_set_new(out, key, value);
		}
	}
	for (pair = node->data.mapping.pairs.start; r == 0 && pair < end; pair++) {
		const yaml_node_t *key_node = yaml_document_get_node(&load->document, pair->key);
		if (key_node->type == YAML_SCALAR_NODE && key_node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && str_equal((const char *)key_node->data.scalar.value, "<<"))
			r = merge_base(load, key_node, pair->value, depth, out);
	}
	if (r < 0) {
		json_decref(out);
		return r;
	}
	*ret = out;
	return 0;
}

static int convert(struct load *load, int index, unsigned depth, json_t **ret) {
	const yaml_node_t *node = yaml_document_get_node(&load->document, index);
	if (!node) {
		*ret = json_null();
		return 0;
	}
	if (depth > YAML_MAX_DEPTH)
		return node_error(load, node, "nested too deeply");
	/* Aliases are expanded: without a bound a few lines of them would fill any memory. */
	if (++load->nodes > YAML_MAX_NODES)
		return node_error(load, node, "document contains excessive aliasing");
	if (node->type == YAML_MAPPING_NODE)
		return convert_mapping(load, node, depth, ret);
	if (node->type == YAML_SCALAR_NODE) {
		json_t *value = convert_scalar(node);
		if (!value)
			return node_error(load, node, "invalid UTF-8 in a string");
		*ret = value;
		return 0;
	}
	json_t *out = json_array();
	for (const yaml_node_item_t *item = node->data.sequence.items.start; item < node->data.sequence.items.top; item++) {
		json_t *value = NULL;
		int r = convert(load, *item, depth + 1, &value);
		if (r < 0) {
			json_decref(out);
			return r;
		}
		json_array_append_new(out, value);
	}
	*ret = out;
	return 0;
}

/* Calls fn with the tree of each document that is not empty. */
static int each_document(const char *text, size_t len, int (*fn)(json_t *value, void *arg), void *arg, struct error *err) {
	yaml_parser_t parser;
	if (!yaml_parser_initialize(&parser))
		return error_set(err, ENOMEM, "yaml: no memory");
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	int r = 0;
	while (r == 0) {
		struct load load = {.err = err};
		if (!yaml_parser_load(&parser, &load.document)) {
			size_t line = max_of(parser.problem_mark.line, parser.context_mark.line) + 1;
			r = error_set(err, EINVAL, "yaml: line %zu: %s", line, str_or(parser.problem, "syntax error"));
			break;
		}
		yaml_node_t *root = yaml_document_get_root_node(&load.document);
		if (!root) {
			yaml_document_delete(&load.document);
			break;
		}
		json_t *value = NULL;
		r = convert(&load, 1, 0, &value);
		yaml_document_delete(&load.document);
		if (r == 0 && !json_is_null(value))
			r = fn(value, arg);
		json_decref(value);
	}
	yaml_parser_delete(&parser);
	return r;
}

struct to_text {
	int (*fn)(const char *json, size_t len, void *arg);
	void *arg;
};

static int document_to_text(json_t *value, void *arg) {
	const struct to_text *to = arg;
	char *json = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	if (!json)
		return -ENOMEM;
	int r = to->fn(json, strlen(json), to->arg);
	free(json);
	return r;
}

int yaml_to_json(const char *text, size_t len, int (*fn)(const char *json, size_t len, void *arg), void *arg, struct error *err) {
	struct to_text to = {fn, arg};
	return each_document(text, len, document_to_text, &to, err);
}

struct one {
	json_t *value;
	struct error *err;
};

static int keep_one(json_t *value, void *arg) {
	struct one *one = arg;
	if (one->value)
		return error_set(one->err, EINVAL, "yaml: one document was expected, there are more");
	one->value = json_incref(value);
	return 0;
}

int yaml_load(const char *text, size_t len, json_t **ret, struct error *err) {
	struct one one = {.err = err};
	int r = each_document(text, len, keep_one, &one, err);
	if (r < 0) {
		json_decref(one.value);
		return r;
	}
	*ret = one.value ? one.value : json_null();
	return 0;
}

int yaml_to_json_one(const char *text, size_t len, struct buf *ret, struct error *err) {
	json_t *value = NULL;
	int r = yaml_load(text, len, &value, err);
	if (r < 0)
		return r;
	char *json = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	json_decref(value);
	buf_append_str(ret, str_or(json, ""));
	free(json);
	return 0;
}

/* ---- printing ---- */

/* True where the text, written plain, would be read back as the same string. */
static bool plain_is_safe(const char *s, size_t len) {
	static const char *const words[] = {"y", "Y", "n", "N", "=", "<<", NULL};
	if (!len || in_list(s, words) || strchr("-?:,[]{}#&*!|>'\"%@` ", *s) || s[len - 1] == ' ' || s[len - 1] == ':')
		return false;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];
		if (c < ' ' || c == 0x7f || (c == ':' && (s[i + 1] == ' ' || !s[i + 1])) || (c == '#' && s[i - 1] == ' '))
			return false;
	}
	/* Times look like another type to other readers: 2001-01-01. */
	if (len >= 8 && isdigit((uint8_t)s[0]) && isdigit((uint8_t)s[1]) && isdigit((uint8_t)s[2]) && isdigit((uint8_t)s[3]) && s[4] == '-')
		return false;
	json_t *value = resolve_plain(s, len);
	bool safe = json_is_string(value);
	json_decref(value);
	return safe;
}

static bool fits_block(const char *s, size_t len) {
	if (!strchr(s, '\n') || *s == ' ' || *s == '\n')
		return false;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];
		if ((c < ' ' && c != '\n' && c != '\t') || c == 0x7f || ((c == ' ' || c == '\t') && (s[i + 1] == '\n' || !s[i + 1])))
			return false;
	}
	return true;
}

static void dump_block(const char *s, size_t len, unsigned indent, struct buf *out) {
	bool ends = len && s[len - 1] == '\n', more = len > 1 && ends && s[len - 2] == '\n';
	buf_append_str(out, more ? "|+\n" : ends ? "|\n" : "|-\n");
	const char *end = s + len;
	while (s < end) {
		const char *line_end = memchr(s, '\n', (size_t)(end - s));
		size_t n = line_end ? (size_t)(line_end - s) : (size_t)(end - s);
		for (unsigned i = 0; n && i < indent; i++)
			buf_append_char(out, ' ');
		buf_append(out, s, n);
		buf_append_char(out, '\n');
		s += n + 1;
	}
}

static void dump_string(const char *s, size_t len, unsigned indent, struct buf *out) {
	if (fits_block(s, len)) {
		dump_block(s, len, indent, out);
		return;
	}
	bool printable = true;
	for (size_t i = 0; i < len; i++)
		printable &= (unsigned char)s[i] >= ' ' && s[i] != 0x7f;
	if (plain_is_safe(s, len)) {
		buf_append(out, s, len);
	} else if (!printable) {
		buf_append_json_string(out, s, len);
	} else {
		json_t *other = resolve_plain(s, len);
		bool string = json_is_string(other);
		json_decref(other);
		if (!string) { /* "true", "1": as Go's printer quotes what another type would take */
			buf_append_json_string(out, s, len);
		} else {
			buf_append_char(out, '\'');
			for (size_t i = 0; i < len; i++) {
				buf_append_char(out, s[i]);
				if (s[i] == '\'')
					buf_append_char(out, '\'');
			}
			buf_append_char(out, '\'');
		}
	}
	buf_append_char(out, '\n');
}

static int compare_keys(const void *a, const void *b) {
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void dump(json_t *value, unsigned indent, bool in_list_item, struct buf *out);

static void put_indent(unsigned indent, struct buf *out) {
	for (unsigned i = 0; i < indent; i++)
		buf_append_char(out, ' ');
}

static void dump_object(json_t *value, unsigned indent, bool in_list_item, struct buf *out) {
	size_t count = json_object_size(value), n = 0;
	autofree const char **keys = xcalloc(count + 1, sizeof(*keys));
	const char *key;
	json_t *item;
	json_object_foreach(value, key, item)
		keys[n++] = key;
	qsort(keys, count, sizeof(*keys), compare_keys);
	for (size_t i = 0; i < count; i++) {
		item = json_object_get(value, keys[i]);
		if (i || !in_list_item)
			put_indent(indent, out);
		struct buf name = BUF_INIT(BUF_MAX_DEFAULT);
		dump_string(keys[i], strlen(keys[i]), indent, &name);
		buf_append(out, name.data, name.len - 1);
		buf_done(&name);
		buf_append_char(out, ':');
		bool nested = (json_is_object(item) && json_object_size(item)) || (json_is_array(item) && json_array_size(item));
		if (nested) {
			buf_append_char(out, '\n');
			dump(item, json_is_array(item) ? indent : indent + 2, false, out);
		} else {
			buf_append_char(out, ' ');
			dump(item, indent + 2, false, out);
		}
	}
}

static void dump_array(json_t *value, unsigned indent, bool in_list_item, struct buf *out) {
	for (size_t i = 0; i < json_array_size(value); i++) {
		if (i || !in_list_item)
			put_indent(indent, out);
		buf_append_str(out, "- ");
		dump(json_array_get(value, i), indent + 2, true, out);
	}
}

static void dump(json_t *value, unsigned indent, bool in_list_item, struct buf *out) {
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		if (json_object_size(value))
			dump_object(value, indent, in_list_item, out);
		else
			buf_append_str(out, "{}\n");
		return;
	case JSON_ARRAY:
		if (json_array_size(value))
			dump_array(value, indent, in_list_item, out);
		else
			buf_append_str(out, "[]\n");
		return;
	case JSON_STRING:
		dump_string(json_string_value(value), json_string_length(value), indent, out);
		return;
	case JSON_INTEGER:
		buf_append_int(out, json_integer_value(value));
		buf_append_char(out, '\n');
		return;
	case JSON_REAL: {
		char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
		buf_append_str(out, str_or(text, "0"));
		buf_append_char(out, '\n');
		free(text);
		return;
	}
	case JSON_TRUE:
	case JSON_FALSE:
		buf_append_str(out, json_is_true(value) ? "true\n" : "false\n");
		return;
	case JSON_NULL:
		buf_append_str(out, "null\n");
	}
}

void yaml_dump(json_t *value, struct buf *out) {
	dump(value, 0, false, out);
}

int yaml_from_json(const char *json, size_t len, struct buf *out, struct error *err) {
	json_error_t where;
	json_t *value = json_loadb(json, len, JSON_DECODE_ANY, &where);
	if (!value)
		return error_set(err, EINVAL, "json: line %d: %s", where.line, where.text);
	yaml_dump(value, out);
	json_decref(value);
	return 0;
}
