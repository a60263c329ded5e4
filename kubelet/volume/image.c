/* SPDX-License-Identifier: Apache-2.0 */
/* Image volumes: the runtime mounts them; they are pulled with the containers' images. */
#include "kubelet/volume/plugins.h"

static bool handles(const struct core_v1_volume *volume) {
	return volume->image;
}

static int setup(struct volume_pod *pod, const struct core_v1_volume *volume, const char *dir, char **ret_path, struct error *err) {
	return 0;
}

const struct volume_plugin volume_image = {.name = "kubernetes.io/image", .handles = handles, .setup = setup, .read_only = true, .without_dir = true};
