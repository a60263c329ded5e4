// lib: kubelet
/* SPDX-License-Identifier: Apache-2.0 */
/* What plugins answer ('r'), network configurations ('n'), and the state files of sandboxes ('s') and containers ('c'). */
#include "kubelet/network/internal.h"
#include "kubelet/runtime/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	const char *text = (const char *)data + 1;
	struct network_result result = {0};
	struct sandbox *sandbox;
	struct container *container;
	json_t *conf;
	switch (data[0]) {
	case 'r':
		if (network_result_parse(text, size - 1, &result, NULL) == 0)
			must(result.ip_count <= NETWORK_MAX_IPS);
		network_result_done(&result);
		break;
	case 'n':
		if (conf_parse(text, size - 1, &conf, NULL) == 0) {
			must(json_array_size(json_object_get(conf, "plugins")) > 0 && json_is_string(json_object_get(conf, "cniVersion")));
			json_decref(conf);
		}
		break;
	case 's':
		if (sandbox_parse(text, size - 1, &sandbox, NULL) == 0) {
			must(id_valid(sandbox->id));
			sandbox_free(sandbox);
		}
		break;
	case 'c':
		if (container_parse(text, size - 1, &container, NULL) == 0) {
			must(id_valid(container->id));
			container_free(container);
		}
		break;
	default:
		break;
	}
	return 0;
}
