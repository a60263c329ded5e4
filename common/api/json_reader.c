/* SPDX-License-Identifier: Apache-2.0 */
#include "common/api/json_reader.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

void json_reader_init(struct json_reader *r, const char *json, size_t len, struct arena *arena) {
	*r = (struct json_reader){.start = json, .p = json, .end = json + len, .arena = arena, .max_depth = 10000};
	r->scratch.max = r->text.max = BUF_MAX_DEFAULT;
}

void json_reader_done(struct json_reader *r) {
	buf_done(&r->scratch);
	buf_done(&r->text);
	api_warning_list_done(&r->found);
	free(r->message);
}

int json_fail(struct json_reader *r, const char *fmt, ...) {
	if (!r->message) {
		va_list args;
		va_start(args, fmt);
		if (vasprintf(&r->message, fmt, args) < 0)
			abort();
		va_end(args);
	}
	return -EINVAL;
}

int json_fail_at(struct json_reader *r, const char *where) {
	r->syntax = true;
	if (r->p >= r->end)
		return json_fail(r, "unexpected end of JSON input");
	unsigned char c = (unsigned char)*r->p;
	if (c == '\'')
		return json_fail(r, "invalid character '\\'' %s", where);
	if (c >= 0x20 && c < 0x7f)
		return json_fail(r, "invalid character '%c' %s", c, where);
	if (c == '\n' || c == '\r' || c == '\t')
		return json_fail(r, "invalid character '\\%c' %s", c == '\n' ? 'n' : c == '\r' ? 'r' : 't', where);
	if (c > 0xa0 && c != 0xad)
		return json_fail(r, "invalid character '%c%c' %s", 0xc0 | c >> 6, 0x80 | (c & 0x3f), where); /* a byte as a letter, as Go has it */
	return json_fail(r, c < 0x80 ? "invalid character '\\x%02x' %s" : "invalid character '\\u%04x' %s", c, where);
}

int json_peek(struct json_reader *r) {
	while (r->p < r->end && (*r->p == ' ' || *r->p == '\n' || *r->p == '\t' || *r->p == '\r'))
		r->p++;
	return r->p < r->end ? (unsigned char)*r->p : -1;
}

int json_expect(struct json_reader *r, char c, const char *where) {
	if (json_peek(r) != c)
		return json_fail_at(r, where);
	r->p++;
	return 0;
}

int json_enter(struct json_reader *r) {
	if (++r->depth > r->max_depth) {
		r->syntax = true;
		return json_fail(r, "invalid character '%c' exceeded max depth", *r->p);
	}
	r->p++;
	return 0;
}

static int read_hex4(struct json_reader *r, uint32_t *ret) {
	uint32_t value = 0;
	for (int i = 0; i < 4; i++, r->p++) {
		int c = r->p < r->end ? (unsigned char)*r->p : -1;
		int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
		if (digit < 0)
			return json_fail_at(r, "in \\u hexadecimal character escape");
		value = value << 4 | (uint32_t)digit;
	}
	*ret = value;
	return 0;
}

static void append_utf8(struct buf *out, uint32_t c) {
	if (c < 0x80) {
		buf_append_char(out, (char)c);
	} else if (c < 0x800) {
		buf_append(out, (char[]){(char)(0xc0 | c >> 6), (char)(0x80 | (c & 0x3f))}, 2);
	} else if (c < 0x10000) {
		buf_append(out, (char[]){(char)(0xe0 | c >> 12), (char)(0x80 | (c >> 6 & 0x3f)), (char)(0x80 | (c & 0x3f))}, 3);
	} else {
		buf_append(out, (char[]){(char)(0xf0 | c >> 18), (char)(0x80 | (c >> 12 & 0x3f)), (char)(0x80 | (c >> 6 & 0x3f)), (char)(0x80 | (c & 0x3f))}, 4);
	}
}

static int read_unicode_escape(struct json_reader *r) {
	uint32_t c, low;
	if (read_hex4(r, &c) < 0)
		return -EINVAL;
	if (c >= 0xd800 && c < 0xdc00 && r->end - r->p >= 6 && r->p[0] == '\\' && r->p[1] == 'u') {
		const char *again = r->p;
		r->p += 2;
		if (read_hex4(r, &low) < 0)
			return -EINVAL;
		if (low >= 0xdc00 && low < 0xe000)
			c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
		else
			r->p = again;
	}
	/* A C string cannot hold NUL. */
	append_utf8(&r->text, !c || (c >= 0xd800 && c < 0xe000) ? 0xfffd : c);
	return 0;
}

static int read_escape(struct json_reader *r) {
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	r->p++;
	const char *at = r->p < r->end && *r->p ? strchr(from, *r->p) : NULL;
	if (at) {
		buf_append_char(&r->text, to[at - from]);
		r->p++;
		return 0;
	}
	if (r->p < r->end && *r->p == 'u') {
		r->p++;
		return read_unicode_escape(r);
	}
	return json_fail_at(r, "in string escape code");
}

int json_read_string(struct json_reader *r, const char **ret, size_t *ret_len) {
	const char *start = ++r->p;
	/* The common case: plain ASCII until the quote. */
	while (r->p < r->end && (unsigned char)*r->p >= 0x20 && (unsigned char)*r->p < 0x80 && *r->p != '"' && *r->p != '\\')
		r->p++;
	if (r->p < r->end && *r->p == '"') {
		*ret = start;
		*ret_len = (size_t)(r->p++ - start);
		return 0;
	}
	buf_reset(&r->text);
	while (r->p < r->end && *r->p != '"') {
		unsigned char c = (unsigned char)*r->p;
		buf_append(&r->text, start, (size_t)(r->p - start));
		if (c < 0x20) {
			return json_fail_at(r, "in string literal");
		} else if (c == '\\') {
			if (read_escape(r) < 0)
				return -EINVAL;
		} else {
			size_t len = api_utf8_length((const unsigned char *)r->p, (size_t)(r->end - r->p));
			if (len)
				buf_append(&r->text, r->p, len);
			else
				append_utf8(&r->text, 0xfffd);
			r->p += max_of(len, (size_t)1);
		}
		start = r->p;
		while (r->p < r->end && (unsigned char)*r->p >= 0x20 && (unsigned char)*r->p < 0x80 && *r->p != '"' && *r->p != '\\')
			r->p++;
	}
	if (r->p >= r->end)
		return json_fail_at(r, "in string literal");
	buf_append(&r->text, start, (size_t)(r->p - start));
	r->p++;
	*ret = r->text.data ? r->text.data : "";
	*ret_len = r->text.len;
	return 0;
}

static bool take_digits(struct json_reader *r) {
	const char *start = r->p;
	while (r->p < r->end && isdigit((unsigned char)*r->p))
		r->p++;
	return r->p > start;
}

int json_read_number(struct json_reader *r, const char **ret, size_t *ret_len) {
	const char *start = r->p;
	if (*r->p == '-')
		r->p++;
	if (r->p < r->end && *r->p == '0')
		r->p++;
	else if (!take_digits(r))
		return json_fail_at(r, "in numeric literal");
	if (r->p < r->end && *r->p == '.') {
		r->p++;
		if (!take_digits(r))
			return json_fail_at(r, "after decimal point in numeric literal");
	}
	if (r->p < r->end && (*r->p == 'e' || *r->p == 'E')) {
		r->p++;
		if (r->p < r->end && (*r->p == '+' || *r->p == '-'))
			r->p++;
		if (!take_digits(r))
			return json_fail_at(r, "in exponent of numeric literal");
	}
	*ret = start;
	*ret_len = (size_t)(r->p - start);
	return 0;
}

int json_read_literal(struct json_reader *r, const char *literal) {
	for (const char *c = literal; *c; c++, r->p++)
		if (r->p >= r->end || *r->p != *c) {
			char where[64];
			snprintf(where, sizeof(where), "in literal %s (expecting '%c')", literal, *c);
			return json_fail_at(r, where);
		}
	return 0;
}

/* Skips a scalar; with `out` copies its text. */
static int skip_scalar(struct json_reader *r, int c, struct buf *out) {
	const char *text;
	size_t len;
	const char *start = r->p;
	int ret;
	if (c == '"') {
		ret = json_read_string(r, &text, &len);
		/* Text that is bad UTF-8 is carried in its repaired form. */
		if (!ret && out && text == r->text.data && len) {
			api_append_json_string(out, text, len);
			return 0;
		}
	} else if (c == '-' || isdigit(c)) {
		ret = json_read_number(r, &text, &len);
	} else if (c == 't' || c == 'f' || c == 'n') {
		ret = json_read_literal(r, c == 't' ? "true" : c == 'f' ? "false" : "null");
	} else {
		return json_fail_at(r, "looking for beginning of value");
	}
	if (!ret && out)
		buf_append(out, start, (size_t)(r->p - start));
	return ret;
}

static int read_key(struct json_reader *r, struct buf *out, const char *where) {
	if (json_peek(r) != '"')
		return json_fail_at(r, where);
	if (skip_scalar(r, '"', out) < 0 || json_expect(r, ':', "after object key") < 0)
		return -EINVAL;
	if (out)
		buf_append_char(out, ':');
	return 0;
}

/* Walks any value with a stack of one byte a level, copying it without white space where `out` is given. */
static int walk(struct json_reader *r, struct buf *out) {
	autobuf struct buf open = BUF_INIT((size_t)1 << 20);
	uint32_t base = r->depth;
	for (;;) {
		int c = json_peek(r);
		if (c == '{' || c == '[') {
			if (json_enter(r) < 0)
				return -EINVAL;
			if (out)
				buf_append_char(out, (char)c);
			char close = c == '{' ? '}' : ']';
			if (json_peek(r) != close) {
				buf_append_char(&open, close);
				if (c == '{' && read_key(r, out, "looking for beginning of object key string") < 0)
					return -EINVAL;
				continue;
			}
			r->p++;
			r->depth--;
			if (out)
				buf_append_char(out, close);
		} else if (skip_scalar(r, c, out) < 0) {
			return -EINVAL;
		}
		/* A value is complete: close what ends here. */
		for (;;) {
			if (r->depth == base)
				return 0;
			char close = open.data[open.len - 1];
			c = json_peek(r);
			if (c != ',' && c != close)
				return json_fail_at(r, close == '}' ? "after object key:value pair" : "after array element");
			r->p++;
			if (out)
				buf_append_char(out, (char)c);
			if (c == ',')
				break;
			open.len--;
			r->depth--;
		}
		if (open.data[open.len - 1] == '}' && read_key(r, out, "looking for beginning of object key string") < 0)
			return -EINVAL;
	}
}

int json_skip(struct json_reader *r) {
	return walk(r, NULL);
}

int json_read_raw(struct json_reader *r, struct api_raw *ret) {
	autobuf struct buf out = BUF_INIT(BUF_MAX_DEFAULT);
	if (walk(r, &out) < 0)
		return -EINVAL;
	if (buf_failed(&out) || out.len > UINT32_MAX)
		return json_fail(r, "value is too large");
	ret->json = arena_strndup(r->arena, out.data, out.len);
	ret->len = (uint32_t)out.len;
	return 0;
}

/* Go names the structs whose fields stand in another as if they were its own. */
static void append_inlined(struct buf *out, const struct api_type *type, const char *key, size_t len) {
	size_t offset;
	for (uint16_t i = 0; i < type->field_count; i++)
		if (!(type->fields[i].flags & API_FIELD_INLINE) && type->fields[i].name_len == len && memcmp(type->fields[i].name, key, len) == 0)
			return;
	for (uint16_t i = 0; i < type->field_count; i++) {
		const struct api_field *inlined = &type->fields[i];
		if (!(inlined->flags & API_FIELD_INLINE) || !api_field_find(inlined->type, key, len, &offset))
			continue;
		const char *name = strrchr(inlined->type->id, '.');
		buf_printf(out, "%s%s", out->len ? "." : "", name ? name + 1 : inlined->type->id);
		append_inlined(out, inlined->type, key, len);
		return;
	}
}

static void append_path(struct buf *out, const struct json_path *path, bool with_index) {
	if (!path)
		return;
	append_path(out, path->up, with_index);
	if (path->key) {
		if (!with_index && !path->type)
			return; /* a map's */
		if (!with_index)
			append_inlined(out, path->type, path->key, path->key_len);
		if (out->len)
			buf_append_char(out, '.');
		buf_append(out, path->key, path->key_len);
	} else if (with_index) {
		buf_printf(out, "[%zu]", path->index);
	}
}

char *json_path_text(const struct json_path *path, bool with_index) {
	struct buf out = BUF_INIT((size_t)64 * 1024);
	append_path(&out, path, with_index);
	if (!out.data)
		return xstrdup("");
	return buf_take(&out);
}

void json_found(struct json_reader *r, const char *what, const struct json_path *path) {
	if (!r->strict || r->found.len >= JSON_MAX_WARNINGS)
		return;
	autofree char *text = json_path_text(path, true);
	r->found.items = xreallocarray(r->found.items, r->found.len + 1, sizeof(*r->found.items));
	r->found.items[r->found.len++] = xprintf("%s field \"%s\"", what, text);
}

void api_warning_list_done(struct api_warning_list *list) {
	for (size_t i = 0; i < list->len; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct api_warning_list){0};
}

static int peek_field(struct json_reader *r, char **ret_api_version, char **ret_kind) {
	const char *text;
	size_t len;
	char **ret = NULL;
	const char *name = NULL;
	if (json_peek(r) != '"')
		return json_fail_at(r, "looking for beginning of object key string");
	if (json_read_string(r, &text, &len) < 0)
		return -EINVAL;
	/* In any case, as Go reads these. */
	if (len == 4 && !strncasecmp(text, "kind", 4))
		ret = ret_kind, name = "kind";
	else if (len == 10 && !strncasecmp(text, "apiVersion", 10))
		ret = ret_api_version, name = "apiVersion";
	if (json_expect(r, ':', "after object key") < 0)
		return -EINVAL;
	int c = json_peek(r);
	if (!ret || c == 'n')
		return json_skip(r);
	if (c != '"') {
		const char *got = c == '{' ? "object" : c == '[' ? "array" : c == 't' || c == 'f' ? "bool" : "number";
		if (json_skip(r) < 0)
			return -EINVAL;
		return json_fail(r, "json: cannot unmarshal %s into Go struct field .%s of type string", got, name);
	}
	if (json_read_string(r, &text, &len) < 0)
		return -EINVAL;
	free(*ret);
	*ret = xstrndup(text, len);
	return 0;
}

int json_peek_kind(const char *json, size_t len, char **ret_api_version, char **ret_kind, char **ret_message) {
	struct json_reader r;
	autofree char *api_version = NULL, *kind = NULL;
	int ret = 0;
	json_reader_init(&r, json, len, NULL);
	int c = json_peek(&r);
	if (c != '{') {
		ret = json_skip(&r);
		if (!ret)
			ret = json_fail(&r, "json: cannot unmarshal %s into Go value of type struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }",
					c == '[' ? "array" : c == '"' ? "string" : c == 't' || c == 'f' ? "bool" : "number");
	} else {
		json_enter(&r);
		if (json_peek(&r) == '}')
			r.p++;
		else
			for (;;) {
				if ((ret = peek_field(&r, &api_version, &kind)) < 0)
					break;
				c = json_peek(&r);
				if (c != ',' && c != '}') {
					ret = json_fail_at(&r, "after object key:value pair");
					break;
				}
				r.p++;
				if (c == '}')
					break;
			}
		if (!ret && json_peek(&r) >= 0)
			ret = json_fail_at(&r, "after top-level value");
	}
	if (ret < 0) {
		*ret_message = take_ptr(r.message);
	} else {
		*ret_api_version = take_ptr(api_version);
		*ret_kind = take_ptr(kind);
	}
	json_reader_done(&r);
	return ret;
}
