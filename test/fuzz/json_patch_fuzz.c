/* SPDX-License-Identifier: Apache-2.0 */
/* JSON Patch and merge patch: the target on the first line, the patch on the second. */
#include "common/api/patch/patch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	const uint8_t *line = memchr(data, '\n', size);
	if (!line)
		return 0;
	json_t *target = json_loadb((const char *)data, (size_t)(line - data), JSON_DECODE_ANY, NULL);
	json_t *patch = json_loadb((const char *)line + 1, (size_t)(data + size - line - 1), JSON_DECODE_ANY, NULL);
	json_t *ret = NULL, *before = json_deep_copy(target);
	if (target && patch) {
		autoerror struct error err = {0};
		if (patch_json(target, patch, &ret, &err) == 0)
			json_decref(ret);
		ret = NULL;
		if (patch_merge(target, patch, &ret, NULL) == 0)
			json_decref(ret);
		if (!patch_values_equal(before, target))
			abort();
	}
	json_decref(before);
	json_decref(target);
	json_decref(patch);
	return 0;
}
