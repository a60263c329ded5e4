/* SPDX-License-Identifier: Apache-2.0 */
/* downwardAPI: fields of the pod as files. */
#include "kubelet/volume/payload.h"
#include "kubelet/volume/plugins.h"

static bool handles(const struct core_v1_volume *volume) {
	return volume->downward_api;
}

static int setup(struct volume_pod *pod, const struct core_v1_volume *volume, const char *dir, char **ret_path, struct error *err) {
	const struct core_v1_downward_api_volume_source *source = volume->downward_api;
	autopayload struct payload payload;
	payload_init(&payload, pod, source->default_mode);
	int r = payload_add_downward(&payload, pod, &source->items, err);
	return r < 0 ? r : payload_write(&payload, pod, dir, false, ret_path, err);
}

const struct volume_plugin volume_downward_api = {.name = "kubernetes.io/downward-api", .handles = handles, .setup = setup, .read_only = true, .relabel = true, .live = true};
