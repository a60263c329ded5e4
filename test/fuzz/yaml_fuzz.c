/* SPDX-License-Identifier: Apache-2.0 */
/* YAML in: what it is as JSON can be printed and read again, with the same meaning. */
#include "common/api/patch/patch.h"
#include "common/api/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int take(const char *json, size_t len, void *arg) {
	json_t *value = json_loadb(json, len, JSON_DECODE_ANY, NULL);
	if (!value)
		return 0; /* a number or a nesting that jansson does not hold */
	autobuf struct buf yaml = BUF_INIT((size_t)64 << 20);
	yaml_dump(value, &yaml);
	json_t *again = NULL;
	if (!buf_failed(&yaml) && yaml_load(yaml.data, yaml.len, &again, NULL) == 0 && !patch_values_equal(value, again))
		abort();
	json_decref(again);
	json_decref(value);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	autoerror struct error err = {0};
	yaml_to_json((const char *)data, size, take, NULL, &err);
	return 0;
}
