// lib: apiserver
/* SPDX-License-Identifier: Apache-2.0 */
/* What an aggregated server answers: whatever it is, what we make of it is JSON of the form that is ours to tell. */
#include "apiserver/aggregator/told.h"

#include <jansson.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void take(char *text, bool array) {
	json_t *tree = text ? json_loads(text, 0, NULL) : NULL;
	if (text && (array ? !json_is_array(tree) : !json_is_object(json_object_get(tree, "paths")) || !json_is_object(json_object_get(tree, "definitions"))))
		abort();
	json_decref(tree);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	const char *json = (const char *)data;
	struct map documents = MAP_INIT(free);
	take(told_resources_of_groups(json, size, "g", "v1"), true);
	take(told_resources_of_version(json, size), true);
	take(told_swagger(json, size, "g", "v1"), false);
	told_documents(json, size, "g", "v1", &documents);
	if (documents.len > 2)
		abort();
	map_done(&documents);
	return 0;
}
