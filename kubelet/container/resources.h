/* SPDX-License-Identifier: Apache-2.0 */
/* What a pod and its containers may use, and the cgroup values that Kubernetes makes of it. */
#ifndef CORACLE_KUBELET_RESOURCES_H
#define CORACLE_KUBELET_RESOURCES_H

#include "api/core_v1.h"
#include "common/pod/resources.h"
#include "kubelet/cgroup/cgroup.h"

enum cgroup_qos resources_qos(const struct core_v1_pod *pod);
/* "Guaranteed", "Burstable", "BestEffort": the class in the status, or else the one the spec gives. */
const char *resources_qos_name(const struct core_v1_pod *pod);

/* pod_limits(), less what some container does not limit: the pod does not then either. */
void resources_pod_limits(const struct core_v1_pod *pod, struct arena *arena, struct api_quantity_map *ret);

void resources_container_cgroup(const struct core_v1_pod *pod, const struct core_v1_container *container, struct cgroup_resources *ret);
void resources_pod_cgroup(const struct core_v1_pod *pod, struct cgroup_resources *ret);
/* Bytes of swap that a container may use where swap is limited (LimitedSwap); 0: none. Critical pods are the caller's to leave out. */
int64_t resources_swap(const struct core_v1_pod *pod, const struct core_v1_container *container, int64_t memory_capacity, int64_t swap_capacity);
/* memory_capacity of the machine in bytes. */
int resources_oom_score_adj(const struct core_v1_pod *pod, const struct core_v1_container *container, int64_t memory_capacity);

#endif
