/* SPDX-License-Identifier: Apache-2.0 */
/* Objects to jansson trees and back, by their text: patches are rare beside reads, and the text is the one truth. */
#include "common/api/codec.h"

json_t *api_to_json(const struct api_type *type, const void *value) {
	autobuf struct buf text = BUF_INIT(BUF_MAX_DEFAULT);
	api_encode_json(type, value, &text);
	return text.data ? json_loadb(text.data, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : NULL;
}

int api_from_json(const struct api_type *type, json_t *tree, const struct api_decode_options *options, void **ret_object, struct error *err) {
	autofree char *text = json_dumps(tree, JSON_COMPACT | JSON_ENCODE_ANY);
	if (!text)
		return error_status(err, 400, "BadRequest", "the object is no valid JSON");
	return api_decode_json(type, text, strlen(text), options, ret_object, err);
}
