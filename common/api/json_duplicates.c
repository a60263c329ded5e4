/* SPDX-License-Identifier: Apache-2.0 */
#include "common/api/json_reader.h"
#include "common/base/map.h"

#include <errno.h>

#define MAX_DEPTH 2048 /* each level is one on the stack; trees go no deeper */

struct search {
	struct json_reader *reader;
	const char *const *known;
};

static int search_value(struct search *s, const struct json_path *path);

static bool is_known(const struct search *s, const struct json_path *list, const char *key) {
	/* Only members of the list's own elements have names that are told. */
	if (!s->known || !list || list->key || list->up)
		return true;
	for (const char *const *known = s->known; *known; known++)
		if (strcmp(*known, key) == 0)
			return true;
	return false;
}

static int search_member(struct search *s, const struct json_path *path, struct map *seen) {
	const char *text;
	size_t len;
	if (json_peek(s->reader) != '"')
		return json_fail_at(s->reader, "looking for beginning of object key string");
	if (json_read_string(s->reader, &text, &len) < 0)
		return -EINVAL;
	autofree char *key = xstrndup(text, len);
	struct json_path here = {.up = path, .key = key, .key_len = len};
	if (map_has(seen, key))
		json_found(s->reader, "duplicate", &here);
	else if (!is_known(s, path, key))
		json_found(s->reader, "unknown", &here);
	set_add(seen, key);
	int rc = json_expect(s->reader, ':', "after object key");
	return rc < 0 ? rc : search_value(s, &here);
}

/* What is in an object or a list, up to its end. */
static int search_items(struct search *s, const struct json_path *path, char end) {
	automap struct map seen = MAP_INIT(NULL);
	if (json_peek(s->reader) == end) {
		s->reader->p++;
		return 0;
	}
	for (size_t index = 0;; index++) {
		struct json_path item = {.up = path, .index = index};
		int rc = end == '}' ? search_member(s, path, &seen) : search_value(s, &item);
		if (rc < 0)
			return rc;
		int c = json_peek(s->reader);
		if (c != ',' && c != end)
			return json_fail_at(s->reader, end == '}' ? "after object key:value pair" : "after array element");
		s->reader->p++;
		if (c == end)
			return 0;
	}
}

static int search_value(struct search *s, const struct json_path *path) {
	int c = json_peek(s->reader);
	if (c != '{' && c != '[')
		return json_skip(s->reader);
	int rc = json_enter(s->reader);
	if (rc == 0)
		rc = search_items(s, path, c == '{' ? '}' : ']');
	json_leave(s->reader);
	return rc;
}

void json_find_duplicates(const char *json, size_t len, const char *const *known, struct api_warning_list *ret) {
	struct json_reader reader;
	json_reader_init(&reader, json, len, NULL);
	reader.strict = true;
	reader.max_depth = MAX_DEPTH;
	search_value(&(struct search){&reader, known}, NULL);
	*ret = reader.found;
	reader.found = (struct api_warning_list){0};
	json_reader_done(&reader);
}
