/* SPDX-License-Identifier: Apache-2.0 */
/* Strategic merge patch and server-side apply of a pod: the live object on the first line, patch or configuration on the second. */
#include "api/core_v1.h"
#include "common/api/patch/apply.h"
#include "common/api/patch/patch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_apply(json_t *live, json_t *config) {
	struct managed_options options = {.type = &core_v1_pod_type, .api_version = "v1", .manager = "fuzz", .force = true};
	json_t *first = NULL, *second = NULL;
	if (managed_apply(&options, live, config, &first, NULL) < 0)
		return;
	/* Applying the same again finds nothing to do. */
	if (managed_apply(&options, first, config, &second, NULL) == 0 && !patch_values_equal(first, second))
		abort();
	json_decref(first);
	json_decref(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	const uint8_t *line = memchr(data, '\n', size);
	if (!line)
		return 0;
	json_t *target = json_loadb((const char *)data, (size_t)(line - data), 0, NULL);
	json_t *patch = json_loadb((const char *)line + 1, (size_t)(data + size - line - 1), 0, NULL);
	if (json_is_object(target) && json_is_object(patch)) {
		json_t *ret = NULL, *before = json_deep_copy(target);
		if (patch_strategic(&core_v1_pod_type, target, patch, &ret, NULL) == 0)
			json_decref(ret);
		ret = NULL;
		if (patch_strategic_diff(&core_v1_pod_type, target, patch, &ret, NULL) == 0)
			json_decref(ret);
		ret = NULL;
		if (patch_strategic_three_way(&core_v1_pod_type, target, patch, target, &ret, NULL) == 0)
			json_decref(ret);
		check_apply(target, patch);
		if (!patch_values_equal(before, target))
			abort();
		json_decref(before);
	}
	json_decref(target);
	json_decref(patch);
	return 0;
}
