/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/server/usage.h"

#include "kubelet/container/resources.h"

void usage_each(struct kubelet *kubelet, const struct core_v1_pod *pod, unsigned parts, void (*fn)(const struct usage_visit *v, void *arg), void *arg) {
	struct container_status **list = NULL;
	size_t count = 0;
	runtime_container_list(kubelet->runtime, NULL, pod->metadata.uid, &list, &count, NULL);
	for (size_t i = 0; i < count; i++) {
		struct container_usage usage = {0};
		if (list[i]->state == CONTAINER_RUNNING && runtime_container_usage(kubelet->runtime, list[i]->id, parts, &usage, NULL) == 0)
			fn(&(struct usage_visit){pod, list[i], &usage}, arg);
		container_status_free(list[i]);
	}
	free(list);
}

bool usage_of_pod(struct kubelet *kubelet, const struct core_v1_pod *pod, struct cgroup_stats *ret) {
	autofree char *path = cgroup_pod_path(kubelet->cgroups, resources_qos(pod), pod->metadata.uid);
	return cgroup_stats_read(kubelet->cgroups, path, ret, NULL) == 0;
}

int usage_interfaces(struct kubelet *kubelet, const char *uid, struct netns_interface *out) {
	struct sandbox_status **list = NULL;
	size_t count = 0;
	int found = 0;
	runtime_sandbox_list(kubelet->runtime, uid, &list, &count, NULL);
	for (size_t i = 0; i < count; i++) {
		if (found <= 0 && list[i]->state == SANDBOX_READY && list[i]->netns)
			found = netns_interfaces(list[i]->netns, out, USAGE_MAX_INTERFACES, NULL);
		sandbox_status_free(list[i]);
	}
	free(list);
	return found > 0 ? found : 0;
}
