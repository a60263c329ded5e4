// lib: apiserver
/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever can be decoded can be judged: as something new, as what it was before, and through status. Two objects stand a line each. */
#include "apiserver/validation/validation.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge(const void *object, const void *old, const char *subresource) {
	autoerror struct error causes = {0}, warnings = {0};
	validate_object(object, old, subresource, &causes);
	object_warnings(object, old, subresource != NULL, &warnings);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	const char *text = (const char *)data, *line = size ? memchr(text, '\n', size) : NULL;
	size_t first = line ? (size_t)(line - text) : size, rest = line ? size - first - 1 : 0;
	autounref void *object = NULL, *other = NULL;
	autoerror struct error err = {0}, ignored = {0};
	if (api_decode_json_any(text, first, NULL, &object, &err) < 0)
		return 0;
	api_default(object);
	judge(object, NULL, "");
	judge(object, object, "");
	judge(object, object, "status");
	if (rest && api_decode_json(api_type_of(object), line + 1, rest, NULL, &other, &ignored) == 0) {
		api_default(other);
		judge(object, other, "");
		judge(other, object, "status");
	}
	return 0;
}
