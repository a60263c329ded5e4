/* SPDX-License-Identifier: Apache-2.0 */
/* What pods and their containers use, for those who tell of it. */
#ifndef CORACLE_KUBELET_SERVER_USAGE_H
#define CORACLE_KUBELET_SERVER_USAGE_H

#include "kubelet/kubelet.h"
#include "kubelet/network/network.h"

#define USAGE_MAX_INTERFACES 8

struct usage_visit {
	const struct core_v1_pod *pod;
	const struct container_status *container;
	const struct container_usage *usage;
};
/* Calls fn for each running container of the pod; parts: CONTAINER_USAGE_*. */
void usage_each(struct kubelet *kubelet, const struct core_v1_pod *pod, unsigned parts, void (*fn)(const struct usage_visit *v, void *arg), void *arg);
/* False where the pod has no cgroup. */
bool usage_of_pod(struct kubelet *kubelet, const struct core_v1_pod *pod, struct cgroup_stats *ret);
/* The interfaces of a pod that has a network of its own; `out` has room for USAGE_MAX_INTERFACES. Returns how many. */
int usage_interfaces(struct kubelet *kubelet, const char *uid, struct netns_interface *out);

#endif
