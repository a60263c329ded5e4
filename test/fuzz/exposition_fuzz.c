// lib: apiserver
/* SPDX-License-Identifier: Apache-2.0 */
/* What a kubelet answers: any bytes make some set of samples, and two of them some usage. */
#include "apiserver/resourcemetrics/samples.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	size_t half = size / 2;
	struct sample_set *first = sample_set_parse((const char *)data, half, (struct wall_time){1000, 0});
	struct sample_set *second = sample_set_parse((const char *)data + half, size - half, (struct wall_time){1015, 0});
	struct node_usage *usage = node_usage_new(first, second);
	const struct pod_usage *pod = node_usage_pod(usage, "n", "p");
	for (size_t i = 0; pod && i < pod->count; i++)
		if (!pod->containers[i].name || pod->containers[i].usage.window_ns <= 0)
			abort();
	node_usage_unref(usage);
	sample_set_free(first);
	sample_set_free(second);
	return 0;
}
