/* SPDX-License-Identifier: Apache-2.0 */
/* projected: several sources in one folder. */
#include "kubelet/volume/payload.h"
#include "kubelet/volume/plugins.h"

#include <errno.h>

static bool handles(const struct core_v1_volume *volume) {
	return volume->projected;
}

static int add_source(struct payload *payload, struct volume_pod *pod, const struct core_v1_volume_projection *source, struct error *err) {
	if (source->secret)
		return payload_add_secret(payload, pod, source->secret->name, &source->secret->items, source->secret->optional && *source->secret->optional, err);
	if (source->config_map)
		return payload_add_config_map(payload, pod, source->config_map->name, &source->config_map->items, source->config_map->optional && *source->config_map->optional, err);
	if (source->downward_api)
		return payload_add_downward(payload, pod, &source->downward_api->items, err);
	if (source->service_account_token)
		return payload_add_token(payload, pod, source->service_account_token, err);
	return error_set(err, ENOTSUP, "projected volume source is not supported by this kubelet");
}

static int setup(struct volume_pod *pod, const struct core_v1_volume *volume, const char *dir, char **ret_path, struct error *err) {
	autopayload struct payload payload;
	payload_init(&payload, pod, volume->projected->default_mode);
	for api_list_each (source, &volume->projected->sources) {
		int r = add_source(&payload, pod, source, err);
		if (r < 0)
			return r;
	}
	return payload_write(&payload, pod, dir, true, ret_path, err);
}

const struct volume_plugin volume_projected = {.name = "kubernetes.io/projected", .handles = handles, .setup = setup, .read_only = true, .relabel = true, .live = true};
