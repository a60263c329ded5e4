/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/volume/plugins.h"

const struct volume_plugin *const volume_plugins[] = {
	&volume_empty_dir,
	&volume_host_path,
	&volume_config_map,
	&volume_secret,
	&volume_downward_api,
	&volume_projected,
	&volume_image,
};
const size_t volume_plugin_count = array_len(volume_plugins);
