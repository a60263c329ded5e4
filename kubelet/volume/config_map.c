/* SPDX-License-Identifier: Apache-2.0 */
/* configMap: keys of a ConfigMap as files. */
#include "kubelet/volume/payload.h"
#include "kubelet/volume/plugins.h"

static bool handles(const struct core_v1_volume *volume) {
	return volume->config_map;
}

static int setup(struct volume_pod *pod, const struct core_v1_volume *volume, const char *dir, char **ret_path, struct error *err) {
	const struct core_v1_config_map_volume_source *source = volume->config_map;
	autopayload struct payload payload;
	payload_init(&payload, pod, source->default_mode);
	int r = payload_add_config_map(&payload, pod, source->name, &source->items, source->optional && *source->optional, err);
	return r < 0 ? r : payload_write(&payload, pod, dir, false, ret_path, err);
}

const struct volume_plugin volume_config_map = {.name = "kubernetes.io/configmap", .handles = handles, .setup = setup, .read_only = true, .relabel = true, .live = true};
