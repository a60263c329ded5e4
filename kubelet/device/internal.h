/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share of the device manager. */
#ifndef CORACLE_KUBELET_DEVICE_INTERNAL_H
#define CORACLE_KUBELET_DEVICE_INTERNAL_H

#include "common/base/map.h"
#include "kubelet/device/plugin.h"

#include <pthread.h>

/* What a plugin offers; stays known, with nothing, once it is gone. */
struct resource {
	char *name;
	struct plugin *plugin; /* NULL: not connected */
	struct device_list devices;
	int64_t ended_at; /* monotonic */
};

/* Devices of one resource that one container has. */
struct holding {
	char *pod_uid, *container, *resource;
	char **ids; /* NULL terminated */
	size_t count;
	bool lent;  /* an init container's: those after it may have them too */
	char *answer; /* the plugin's, in base64 */
};

struct device_manager {
	struct kubelet *kubelet;
	char *state_path;
	struct grpc_server *registration, *pod_resources;
	pthread_mutex_t lock;
	struct map resources; /* name -> struct resource */
	struct holding **holdings;
	size_t holding_count;
	bool shut;
};

/* All with the manager locked. */
bool device_is_among(char *const *ids, const char *id);
/* Whether some container has it; of `pod`'s init containers those that lend do not count. */
bool device_is_taken(const struct device_manager *manager, const char *resource, const char *id, const char *pod);

/* topology.c: whether any of the resource's devices says where it is. */
bool device_has_place(const struct resource *resource);
/* 0: it is on one of the NUMA nodes, or any will do; 1: it is on others; 2: it does not say. */
int device_distance(const struct device *device, uint64_t nodes);

#endif
