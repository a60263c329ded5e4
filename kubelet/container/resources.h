/* SPDX-License-Identifier: Apache-2.0 */
/* What a pod and its containers may use, and the cgroup values that Kubernetes makes of it. */
#ifndef CORACLE_KUBELET_RESOURCES_H
#define CORACLE_KUBELET_RESOURCES_H

#include "api/core_v1.h"
#include "kubelet/cgroup/cgroup.h"

enum cgroup_qos resources_qos(const struct core_v1_pod *pod);
/* "Guaranteed", "Burstable", "BestEffort": the class in the status, or else the one the spec gives. */
const char *resources_qos_name(const struct core_v1_pod *pod);

bool resources_is_sidecar(const struct core_v1_container *init_container);

/*
 * What all containers of a pod need together, sidecars and the largest init container considered, pod-level resources and overhead
 * included. Memory from `arena`.
 */
void resources_pod_requests(const struct core_v1_pod *pod, struct arena *arena, struct api_quantity_map *ret);
/* Limits; a resource that some container does not limit is left out where `all_only`. */
void resources_pod_limits(const struct core_v1_pod *pod, bool all_only, struct arena *arena, struct api_quantity_map *ret);

void resources_container_cgroup(const struct core_v1_pod *pod, const struct core_v1_container *container, struct cgroup_resources *ret);
void resources_pod_cgroup(const struct core_v1_pod *pod, struct cgroup_resources *ret);
/* memory_capacity of the machine in bytes. */
int resources_oom_score_adj(const struct core_v1_pod *pod, const struct core_v1_container *container, int64_t memory_capacity);

#endif
