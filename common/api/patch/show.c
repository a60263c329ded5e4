/* SPDX-License-Identifier: Apache-2.0 */
#include "common/api/patch/patch.h"
#include "common/base/buf.h"

#include <stdlib.h>

static int compare_keys(const void *a, const void *b) {
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void patch_append_go_value(struct buf *out, json_t *value) {
	const char *key;
	json_t *member;
	switch (json_typeof(value)) {
	case JSON_OBJECT: {
		buf_append_str(out, "map[");
		size_t count = 0, n = json_object_size(value);
		const char **keys = xcalloc(n, sizeof(*keys));
		json_object_foreach(value, key, member)
			keys[count++] = key;
		qsort(keys, count, sizeof(*keys), compare_keys);
		for (size_t i = 0; i < count; i++) {
			buf_printf(out, "%s%s:", i ? " " : "", keys[i]);
			patch_append_go_value(out, json_object_get(value, keys[i]));
		}
		free(keys);
		buf_append_char(out, ']');
		break;
	}
	case JSON_ARRAY:
		buf_append_char(out, '[');
		for (size_t i = 0; i < json_array_size(value); i++) {
			buf_append_str(out, i ? " " : "");
			patch_append_go_value(out, json_array_get(value, i));
		}
		buf_append_char(out, ']');
		break;
	case JSON_STRING:
		buf_append(out, json_string_value(value), json_string_length(value));
		break;
	case JSON_INTEGER:
		buf_append_int(out, json_integer_value(value));
		break;
	case JSON_REAL:
		buf_printf(out, "%g", json_real_value(value));
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		buf_append_str(out, json_is_true(value) ? "true" : "false");
		break;
	case JSON_NULL:
		buf_append_str(out, "<nil>");
		break;
	}
}
