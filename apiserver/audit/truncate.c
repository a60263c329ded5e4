/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/audit/truncate.h"

#include <jansson.h>

#define TRUNCATED "audit.k8s.io/truncated"

struct bytes *audit_truncate(struct bytes *event) {
	json_t *tree = json_loadb((const char *)event->data, event->len, 0, NULL);
	const char *level = json_string_value(json_object_get(tree, "level"));
	struct bytes *rest = NULL;
	if (level && (strcmp(level, "Request") == 0 || strcmp(level, "RequestResponse") == 0)) {
		json_object_del(tree, "requestObject");
		json_object_del(tree, "responseObject");
		json_t *annotations = json_object_get(tree, "annotations");
		if (!annotations)
			json_object_set_new(tree, "annotations", annotations = json_object());
		json_object_set_new(annotations, TRUNCATED, json_string("true"));
		char *text = json_dumps(tree, JSON_COMPACT);
		rest = bytes_new(text, strlen(text));
		free(text);
	}
	json_decref(tree);
	return rest ? rest : bytes_ref(event);
}
