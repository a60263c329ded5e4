// lib: kubelet
/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests of static pods ('m': YAML or JSON, a Pod, a PodList, several documents) and KubeletConfiguration files ('k'). */
#include "common/base/map.h"
#include "kubelet/node/signals.h"
#include "kubelet/source/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void unref(void *object) {
	api_unref(object);
}

static void read_manifest(const char *text, size_t len) {
	char name[] = "node";
	struct kubelet kubelet = {.node_name = name};
	struct map pods = MAP_INIT(unref), again = MAP_INIT(unref);
	struct map_entry *e;
	int r = source_decode(&kubelet, text, len, "/origin", "file", &pods, NULL);
	/* What became a pod has what the kubelet finds it by; and the same text gives the same pods. */
	for (size_t i = 0; (e = map_next(&pods, &i));) {
		const struct core_v1_pod *pod = e->value;
		if (str_empty(pod->metadata.name) || str_empty(pod->metadata.namespace) || !str_equal(pod->metadata.uid, e->key))
			abort();
	}
	if (r == 0 && (source_decode(&kubelet, text, len, "/origin", "file", &again, NULL) != 0 || again.len != pods.len))
		abort();
	map_done(&again);
	map_done(&pods);
}

static void read_configuration(const char *text, size_t len) {
	struct kubelet_options options = {0};
	struct threshold thresholds[MAX_THRESHOLDS];
	char name[] = "kubelet", *argv[] = {name, NULL};
	if (kubelet_options_load(1, argv, &options, NULL) < 0)
		abort();
	if (kubelet_options_apply_config(&options, text, len, NULL) == 0) {
		int count = thresholds_parse(&options, thresholds, NULL);
		thresholds_done(thresholds, count > 0 ? count : 0);
	}
	kubelet_options_done(&options);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	if (size < 1)
		return 0;
	if (data[0] == 'm')
		read_manifest((const char *)data + 1, size - 1);
	else if (data[0] == 'k')
		read_configuration((const char *)data + 1, size - 1);
	return 0;
}
