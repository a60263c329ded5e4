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
	size_t start = pos + 1;
	for (const char *quote; start <= len && (quote = memchr(json + pos + 1, '"', len - pos - 1)); pos = (size_t)(quote - json)) {
		size_t escapes = 0, at = (size_t)(quote - json);
		while (at - escapes > start && json[at - escapes - 1] == '\\')
			escapes++;
		if (escapes % 2 == 0)
			return at + 1;
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

int json_scan_next_key(const char *json, size_t len, size_t *pos, struct json_slice *ret)
{
	size_t at = skip_space(json, len, *pos);
	if (at >= len || (*pos == 0 && json[at] != '{'))
		return -EINVAL;
	if (*pos == 0 || json[at] == ',')
		at = skip_space(json, len, at + 1);
	if (at < len && json[at] == '}') {
		*pos = at + 1;
		return 0;
	}
	if (at >= len || json[at] != '"')
		return -EINVAL;
	size_t key = at + 1;
	at = skip_string(json, len, at);
	if (!at)
		return -EINVAL;
	*ret = (struct json_slice){.data = json + key, .len = at - 1 - key};
	at = skip_space(json, len, at);
	if (at >= len || json[at] != ':')
		return -EINVAL;
	*pos = skip_space(json, len, at + 1);
	return 1;
}

bool json_scan_value(const char *json, size_t len, size_t *pos, struct json_slice *ret)
{
	size_t end = skip_value(json, len, *pos);
	if (!end)
		return false;
	*ret = (struct json_slice){.data = json + *pos, .len = end - *pos};
	*pos = end;
	return true;
}

int json_scan_member(const char *json, size_t len, const char *name, struct json_slice *ret)
{
	struct json_slice key, value;
	size_t name_len = strlen(name), pos = 0;
	int more;
	*ret = (struct json_slice){0};
	while ((more = json_scan_next_key(json, len, &pos, &key)) == 1) {
		if (!json_scan_value(json, len, &pos, &value))
			return -EINVAL;
		if (key.len != name_len || memcmp(key.data, name, name_len) != 0)
			continue;
		*ret = value;
		return 0;
	}
	return more;
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
