/* SPDX-License-Identifier: Apache-2.0 */
/* Files made of API objects: what configMap, secret, downwardAPI and projected volumes have in common. */
#ifndef CORACLE_KUBELET_PAYLOAD_H
#define CORACLE_KUBELET_PAYLOAD_H

#include "kubelet/volume/atomic_writer.h"
#include "kubelet/volume/volume.h"

struct payload {
	struct arena *arena;
	struct volume_file *files;
	size_t len, cap;
	int32_t default_mode;
	gid_t gid;
};
/* default_mode NULL: 0644. */
void payload_init(struct payload *payload, struct volume_pod *pod, const int32_t *default_mode);
void payload_done(struct payload *payload);
#define autopayload cleanup(payload_done)

/* A later file of the same path replaces an earlier one. mode < 0: the default; uid -1: root. */
void payload_add(struct payload *payload, const char *path, const void *data, size_t len, int32_t mode, uid_t uid);
int payload_add_config_map(struct payload *payload, struct volume_pod *pod, const char *name, const struct core_v1_key_to_path_array *items, bool optional, struct error *err);
int payload_add_secret(struct payload *payload, struct volume_pod *pod, const char *name, const struct core_v1_key_to_path_array *items, bool optional, struct error *err);
int payload_add_downward(struct payload *payload, struct volume_pod *pod, const struct core_v1_downward_api_volume_file_array *items, struct error *err);
int payload_add_token(struct payload *payload, struct volume_pod *pod, const struct core_v1_service_account_token_projection *source, struct error *err);
/* Writes all below `dir` at once, memory-backed where `in_memory` (secrets never reach the disk). */
int payload_write(struct payload *payload, struct volume_pod *pod, const char *dir, bool in_memory, char **ret_path, struct error *err);

#endif
