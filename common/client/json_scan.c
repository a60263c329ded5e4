/* SPDX-License-Identifier: Apache-2.0 */
#include "common/client/internal.h"

#include <errno.h>

static size_t skip_space(const char *json, size_t len, size_t pos)
{
	while (pos < len && (json[pos] == ' ' || json[pos] == '\n' || json[pos] == '\t' || json[pos] == '\r'))
		pos++;
	return pos;
}

/* json[pos] is the opening quote. Returns the position behind the closing one, or 0. */
static size_t skip_string(const char *json, size_t len, size_t pos)
{
	for (pos++; pos < len; pos++) {
		if (json[pos] == '\\')
			pos++;
		else if (json[pos] == '"')
			return pos + 1;
	}
	return 0;
}

/* Returns the position behind the value that starts at pos, or 0. */
static size_t skip_value(const char *json, size_t len, size_t pos)
{
	size_t depth = 0;
	size_t start = pos;
	while (pos < len) {
		char c = json[pos];
		if (c == '"') {
			pos = skip_string(json, len, pos);
			if (!pos)
				return 0;
			if (!depth)
				return pos;
			continue;
		}
		if (c == '{' || c == '[') {
			depth++;
		} else if (c == '}' || c == ']') {
			if (!depth)
				return pos > start ? pos : 0;
			if (--depth == 0)
				return pos + 1;
		} else if (!depth && (c == ',' || c == ' ' || c == '\n' || c == '\r' || c == '\t')) {
			return pos > start ? pos : 0;
		}
		pos++;
	}
	return depth || pos == start ? 0 : pos;
}

int json_scan_member(const char *json, size_t len, const char *name, struct json_slice *ret)
{
	size_t name_len = strlen(name);
	size_t pos = skip_space(json, len, 0);
	*ret = (struct json_slice){0};
	if (pos >= len || json[pos] != '{')
		return -EINVAL;
	pos = skip_space(json, len, pos + 1);
	while (pos < len && json[pos] != '}') {
		if (json[pos] != '"')
			return -EINVAL;
		size_t key = pos + 1;
		pos = skip_string(json, len, pos);
		if (!pos)
			return -EINVAL;
		size_t key_len = pos - 1 - key;
		pos = skip_space(json, len, pos);
		if (pos >= len || json[pos] != ':')
			return -EINVAL;
		size_t value = skip_space(json, len, pos + 1);
		pos = skip_value(json, len, value);
		if (!pos)
			return -EINVAL;
		if (key_len == name_len && memcmp(json + key, name, name_len) == 0) {
			*ret = (struct json_slice){.data = json + value, .len = pos - value};
			return 0;
		}
		pos = skip_space(json, len, pos);
		if (pos < len && json[pos] == ',')
			pos = skip_space(json, len, pos + 1);
	}
	return pos < len ? 0 : -EINVAL;
}

int json_scan_next(const char *json, size_t len, size_t *pos, struct json_slice *ret)
{
	size_t at = skip_space(json, len, *pos);
	if (at >= len || (*pos == 0 && json[at] != '['))
		return -EINVAL;
	if (*pos == 0 || json[at] == ',')
		at = skip_space(json, len, at + 1);
	if (at < len && json[at] == ']')
		return 0;
	size_t end = skip_value(json, len, at);
	if (!end)
		return -EINVAL;
	*ret = (struct json_slice){.data = json + at, .len = end - at};
	*pos = end;
	return 1;
}

char *json_scan_string(const struct json_slice *slice)
{
	if (!slice->data || slice->len < 2 || slice->data[0] != '"' || memchr(slice->data, '\\', slice->len))
		return NULL;
	return xstrndup(slice->data + 1, slice->len - 2);
}
