/* SPDX-License-Identifier: Apache-2.0 */
/* Tools over JSON text: find, skip, indent. Where it is malformed, as a body may be that nobody has judged yet, they find less and read nothing beyond it. */
#include "apiserver/request/render.h"
#include "apiserver/storage/scan.h"

static const char *skip_space(const char *p, const char *end) {
	while (p < end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r'))
		p++;
	return p;
}

static const char *skip_string(const char *p, const char *end) {
	for (p++; (p = scan_skip_plain(p, end)) < end; p++) {
		if (*p == '"')
			return p + 1;
		if (*p == '\\' && ++p == end)
			break;
	}
	return end;
}

static bool ends_token(char c) {
	return c == ',' || c == ']' || c == '}' || c == ':' || c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\0';
}

const char *json_text_skip(const char *p, const char *end) {
	p = skip_space(p, end);
	if (p >= end)
		return end;
	if (*p == '"')
		return skip_string(p, end);
	if (*p == '{' || *p == '[') {
		const char *behind = scan_skip_value(p, end);
		return behind ? behind : end;
	}
	if (*p == '}' || *p == ']' || ends_token(*p))
		return p + 1;
	do
		p++;
	while (p < end && !ends_token(*p));
	return p;
}

const char *json_text_find(const char *json, size_t len, const char *path, size_t *ret_len) {
	const char *end = json + len;
	const char *p = skip_space(json, end);
	for (;;) {
		size_t key_len = strcspn(path, ".");
		if (p >= end || *p != '{')
			return NULL;
		p++;
		const char *value = NULL;
		for (;;) {
			p = skip_space(p, end);
			if (p >= end || *p != '"')
				return NULL;
			const char *key = p + 1;
			p = skip_string(p, end);
			bool found = (size_t)(p - 1 - key) == key_len && memcmp(key, path, key_len) == 0;
			p = skip_space(p, end);
			if (p >= end || *p != ':')
				return NULL;
			p = skip_space(p + 1, end);
			if (found) {
				value = p;
				break;
			}
			p = skip_space(json_text_skip(p, end), end);
			if (p >= end || *p != ',')
				return NULL;
			p++;
		}
		p = value;
		path += key_len;
		if (!*path)
			break;
		path++;
	}
	*ret_len = (size_t)(json_text_skip(p, end) - p);
	return p;
}

/* p at a brace. rest[i]: what is left of the path; NULL where it leads elsewhere. Returns behind the object, or end where it is malformed. */
static const char *find_below(const char *p, const char *end, const char *const *rest, size_t count, struct json_text *ret) {
	for (;;) {
		p = skip_space(p + 1, end); /* behind the brace or a comma */
		if (p >= end || *p != '"')
			return p < end && *p == '}' ? p + 1 : end;
		const char *key = p + 1;
		p = skip_string(p, end);
		size_t key_len = (size_t)(p - 1 - key);
		p = skip_space(p, end);
		if (p >= end || *p != ':')
			return end;
		p = skip_space(p + 1, end);
		if (p >= end)
			return end;
		const char *below[JSON_TEXT_MAX_PATHS], *value = p;
		bool descend = false;
		for (size_t i = 0; i < count; i++) {
			bool here = rest[i] && rest[i][0] == *key && strnlen(rest[i], key_len) == key_len && memcmp(rest[i], key, key_len) == 0;
			below[i] = here && rest[i][key_len] == '.' ? rest[i] + key_len + 1 : NULL;
			descend = descend || below[i];
			if (here && rest[i][key_len] == '\0')
				ret[i].data = value;
		}
		p = descend && *p == '{' ? find_below(p, end, below, count, ret) : json_text_skip(p, end);
		for (size_t i = 0; i < count; i++)
			if (ret[i].data == value)
				ret[i].len = (size_t)(p - value);
		p = skip_space(p, end);
		if (p >= end || *p != ',')
			return p < end && *p == '}' ? p + 1 : end;
	}
}

void json_text_find_all(const char *json, size_t len, const char *const *paths, size_t count, struct json_text *ret) {
	const char *p = skip_space(json, json + len);
	memset(ret, 0, count * sizeof(*ret));
	if (count <= JSON_TEXT_MAX_PATHS && p < json + len && *p == '{')
		find_below(p, json + len, paths, count, ret);
}

char *json_text_string(struct arena *arena, const char *json, size_t len, const char *path) {
	size_t value_len;
	const char *value = json_text_find(json, len, path, &value_len);
	return json_text_value(arena, value, value_len);
}

char *json_text_value(struct arena *arena, const char *value, size_t value_len) {
	if (!value || value_len == 0 || (value_len == 4 && memcmp(value, "null", 4) == 0))
		return NULL;
	if (*value != '"')
		return arena_strndup(arena, value, value_len);
	if (value_len < 2 || value[value_len - 1] != '"')
		return NULL; /* has no end */
	if (!memchr(value, '\\', value_len))
		return arena_strndup(arena, value + 1, value_len - 2);
	json_t *decoded = json_loadb(value, value_len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	char *copy = decoded ? arena_strdup(arena, json_string_value(decoded)) : NULL;
	json_decref(decoded);
	return copy;
}

static void newline(struct buf *out, int depth) {
	buf_append_char(out, '\n');
	for (int i = 0; i < depth; i++)
		buf_append(out, "  ", 2);
}

void json_text_pretty(const char *json, size_t len, struct buf *out) {
	const char *end = json + len;
	int depth = 0;
	for (const char *p = skip_space(json, end); p < end; p = skip_space(p, end)) {
		if (*p == '"') {
			const char *stop = skip_string(p, end);
			buf_append(out, p, (size_t)(stop - p));
			p = stop;
			continue;
		}
		char c = *p++;
		if (c == '{' || c == '[') {
			const char *inner = skip_space(p, end);
			buf_append_char(out, c);
			if (inner < end && (*inner == '}' || *inner == ']')) {
				buf_append_char(out, *inner);
				p = inner + 1;
			} else {
				newline(out, ++depth);
			}
		} else if (c == '}' || c == ']') {
			newline(out, --depth);
			buf_append_char(out, c);
		} else if (c == ',') {
			buf_append_char(out, c);
			newline(out, depth);
		} else if (c == ':') {
			buf_append(out, ": ", 2);
		} else {
			buf_append_char(out, c);
		}
	}
}
