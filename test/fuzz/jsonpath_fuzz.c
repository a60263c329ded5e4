// lib: cli
/* SPDX-License-Identifier: Apache-2.0 */
/* Templates over one small object. */
#include "cli/jsonpath.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char object[] = "{\"items\":[{\"a\":1,\"b\":\"x\",\"c\":[1,2,{\"d\":null}]},{\"a\":2.5,\"b\":\"y\"}],\"m\":{\"k.l\":true}}";
	if (size > 4096)
		return 0;
	json_t *root = json_loads(object, 0, NULL);
	autofree char *template = xstrndup((const char *)data, size);
	autobuf struct buf out = BUF_INIT(1 << 20);
	autoerror struct error err = {0};
	struct jsonpath_values values = {0};
	jsonpath_render(template, root, &out, &err);
	jsonpath_find(template, root, &values, &err);
	free(values.items);
	json_decref(root);
	return 0;
}
