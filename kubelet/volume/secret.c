/* SPDX-License-Identifier: Apache-2.0 */
/* secret: keys of a Secret as files in memory. */
#include "kubelet/volume/payload.h"
#include "kubelet/volume/plugins.h"

static bool handles(const struct core_v1_volume *volume) {
	return volume->secret;
}

static int setup(struct volume_pod *pod, const struct core_v1_volume *volume, const char *dir, char **ret_path, struct error *err) {
	const struct core_v1_secret_volume_source *source = volume->secret;
	autopayload struct payload payload;
	payload_init(&payload, pod, source->default_mode);
	int r = payload_add_secret(&payload, pod, source->secret_name, &source->items, source->optional && *source->optional, err);
	return r < 0 ? r : payload_write(&payload, pod, dir, true, ret_path, err);
}

const struct volume_plugin volume_secret = {.name = "kubernetes.io/secret", .handles = handles, .setup = setup, .read_only = true, .relabel = true, .live = true};
