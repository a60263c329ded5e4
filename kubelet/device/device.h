/* SPDX-License-Identifier: Apache-2.0 */
/* Devices that plugins offer: capacity of the node, given to pods at admission, laid into their containers. */
#ifndef CORACLE_KUBELET_DEVICE_H
#define CORACLE_KUBELET_DEVICE_H

#include "kubelet/kubelet.h"
#include "kubelet/resource/hints.h"

struct device_manager;

/* Reads who had what. */
int device_manager_new(struct kubelet *kubelet, struct device_manager **ret, struct error *err);
/* Opens the sockets: plugins and monitors may come. */
int device_manager_open(struct device_manager *manager, struct error *err);
/* Lets go of plugins and sockets; what was given stays known. Takes NULL. */
void device_manager_shut(struct device_manager *manager);
/* Takes NULL. */
void device_manager_free(struct device_manager *manager);

/* Adds what the plugins offer: all devices as capacity, healthy ones as allocatable; zero of what was offered once. manager may be NULL. */
void device_manager_capacity(struct device_manager *manager, struct arena *arena, struct api_quantity_map *capacity, struct api_quantity_map *allocatable);
/*
 * Gives one container of the pod what it asks for, as far as it has not got it: where that goes, on these NUMA nodes (0: on any). lends: to the containers
 * after it. *changed is set where anything was tried. One pod at a time, which the caller sees to; nothing counts before device_manager_keep(), and where that
 * or one container fails, the caller releases the pod. manager may be NULL. Blocks.
 */
int device_manager_allocate(struct device_manager *manager, const struct core_v1_pod *pod, const struct core_v1_container *container, bool lends, uint64_t nodes, bool *changed, struct error *err);
/* Writes down who has what. */
int device_manager_keep(struct device_manager *manager, struct error *err);
/* Where the devices that a container asks for could be given; with container NULL, all of the pod's. known: the machine's NUMA nodes. manager may be NULL. */
void device_manager_hints(struct device_manager *manager, const struct core_v1_pod *pod, const struct core_v1_container *container, uint64_t known, struct arena *arena, struct hint_set *set);
/* Gives back what a pod has, that ended. */
void device_manager_release(struct device_manager *manager, const char *pod_uid);
/* Gives back what pods have that nobody knows. Once all sources of pods have spoken. */
void device_manager_tidy(struct device_manager *manager);

/* What a container is started with besides its spec. In the arena. */
struct device_grant {
	struct runtime_label *envs;
	size_t env_count;
	struct container_mount *mounts;
	size_t mount_count;
	struct container_device *devices;
	size_t device_count;
	const char **cdi_devices; /* names; see runtime.h */
	size_t cdi_count;
};
/* Also tells plugins that want to know that the container starts. Blocks. */
int device_manager_grant(struct device_manager *manager, const struct core_v1_pod *pod, const char *container, struct arena *arena, struct device_grant *ret, struct error *err);

/* For monitors: who has what; or, with pod_uid NULL, all that is healthy. Under the manager's lock. */
struct device_seen {
	const char *resource, *id;
	const int64_t *nodes; /* NUMA nodes */
	size_t node_count;
	bool unhealthy; /* as its plugin says, or because that is gone */
};
void device_manager_each(struct device_manager *manager, const char *pod_uid, const char *container, void (*fn)(const struct device_seen *seen, void *arg), void *arg);

#endif
