// lib: apiserver
/* SPDX-License-Identifier: Apache-2.0 */
/* What looks into a body before anybody has judged it: any bytes do. */
#include "apiserver/request/render.h"
#include "common/api/json_reader.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const paths[] = {"kind", "apiVersion", "metadata.name", "metadata.labels.a", "spec.nodeName"};
	struct json_text found[array_len(paths)];
	autoarena struct arena *arena = arena_new();
	/* A copy without a NUL behind it, so that reading too far is seen. */
	autofree char *json = size ? xmemdup(data, size) : xmalloc(1);

	json_text_find_all(json, size, paths, array_len(paths), found);
	for (size_t i = 0; i < array_len(paths); i++) {
		assert(!found[i].data || (found[i].data >= json && found[i].data + found[i].len <= json + size));
		json_text_value(arena, found[i].data, found[i].len);
		json_text_string(arena, json, size, paths[i]);
	}
	assert(json_text_skip(json, json + size) <= json + size);
	struct api_warning_list twice;
	json_find_duplicates(json, size, NULL, &twice);
	assert(twice.len <= JSON_MAX_WARNINGS);
	api_warning_list_done(&twice);
	return 0;
}
