/* SPDX-License-Identifier: Apache-2.0 */
/* Every volume type there is; see table.c. */
#ifndef CORACLE_KUBELET_VOLUME_PLUGINS_H
#define CORACLE_KUBELET_VOLUME_PLUGINS_H

#include "kubelet/volume/volume.h"

extern const struct volume_plugin volume_empty_dir, volume_host_path, volume_config_map, volume_secret, volume_downward_api, volume_projected, volume_image;

#endif
