/* SPDX-License-Identifier: Apache-2.0 */
/* Objects to jansson trees and back, by their text: patches are rare beside reads, and the text is the one truth. */
#include "common/api/codec.h"

#include <errno.h>

json_t *api_to_json(const struct api_type *type, const void *value) {
	autobuf struct buf text = BUF_INIT(BUF_MAX_DEFAULT);
	api_encode_json(type, value, &text);
	if (!text.data)
		return NULL;
	json_t *tree = json_loadb(text.data, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	/* An integer past 64 bits is a real, for all of them then. */
	return tree ? tree : json_loadb(text.data, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);
}

static int order_keys(const void *a, const void *b) {
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void append_object(struct buf *out, json_t *object, unsigned depth) {
	size_t count = json_object_size(object), n = 0;
	autofree const char **keys = xcalloc(count + 1, sizeof(*keys));
	const char *key;
	json_t *value;
	json_object_foreach(object, key, value) {
		keys[n++] = key;
	}
	qsort(keys, n, sizeof(*keys), order_keys);
	buf_append_char(out, '{');
	for (size_t i = 0; i < n; i++) {
		if (i)
			buf_append_char(out, ',');
		api_append_json_string(out, keys[i], strlen(keys[i]));
		buf_append_char(out, ':');
		api_append_json_tree(out, json_object_get(object, keys[i]), depth + 1);
	}
	buf_append_char(out, '}');
}

void api_append_json_tree(struct buf *out, json_t *value, unsigned depth) {
	size_t i;
	json_t *item;
	if (depth > 2048) { /* jansson's own bound on what it reads */
		out->overflow = true;
		return;
	}
	switch (value ? json_typeof(value) : JSON_NULL) {
	case JSON_OBJECT:
		append_object(out, value, depth);
		break;
	case JSON_ARRAY:
		buf_append_char(out, '[');
		json_array_foreach(value, i, item) {
			if (i)
				buf_append_char(out, ',');
			api_append_json_tree(out, item, depth + 1);
		}
		buf_append_char(out, ']');
		break;
	case JSON_STRING:
		api_append_json_string(out, json_string_value(value), json_string_length(value));
		break;
	case JSON_INTEGER:
		buf_append_int(out, json_integer_value(value));
		break;
	case JSON_REAL:
		api_append_double(out, json_real_value(value));
		break;
	case JSON_TRUE:
		buf_append_str(out, "true");
		break;
	case JSON_FALSE:
		buf_append_str(out, "false");
		break;
	case JSON_NULL:
		buf_append_str(out, "null");
		break;
	}
}

int api_from_json(const struct api_type *type, json_t *tree, const struct api_decode_options *options, void **ret_object, struct error *err) {
	autobuf struct buf text = BUF_INIT(BUF_MAX_DEFAULT);
	api_append_json_tree(&text, tree, 0);
	if (buf_failed(&text))
		return error_status(err, 400, "BadRequest", "the object is too large or too deep");
	return api_decode_json(type, text.data, text.len, options, ret_object, err);
}
