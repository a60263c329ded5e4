/* SPDX-License-Identifier: Apache-2.0 */
/* From a pod's spec to what the runtime is told of its sandbox and containers. Results live in the given arena. */
#ifndef CORACLE_KUBELET_BUILD_H
#define CORACLE_KUBELET_BUILD_H

#include "common/base/map.h"
#include "kubelet/container/fieldref.h"
#include "kubelet/kubelet.h"

/* Labels kept with each container by the runtime. */
#define LABEL_KIND "coracle.io/kind"                      /* init, sidecar, main, ephemeral */
#define LABEL_TERMINATION_FILE "coracle.io/termination"   /* host path of the termination message */
#define LABEL_TERMINATION_POLICY "coracle.io/termination-policy"
#define LABEL_RESTARTED "coracle.io/restarted"            /* there: of a run of the pod that ended with RestartAllContainers */
#define LABEL_SOURCE "coracle.io/source"                  /* api, file, http */

char *build_pod_dir(struct kubelet *kubelet, const char *uid);
/* /var/log/pods/<ns>_<name>_<uid>; the caller frees. */
char *build_log_dir(struct kubelet *kubelet, const struct core_v1_pod *pod);
/* What the pod calls itself; domain is "" without subdomain. Arena memory. */
void build_hostname(struct kubelet *kubelet, const struct core_v1_pod *pod, struct arena *arena, const char **ret_hostname, const char **ret_domain);

/* As the runtime takes it; NULL for NULL. */
const struct container_selinux *build_selinux(const struct core_v1_se_linux_options *options, struct arena *arena);
int build_sandbox(struct kubelet *kubelet, const struct core_v1_pod *pod, uint32_t attempt, const char *cgroup_parent, struct arena *arena, struct sandbox_config *ret, struct error *err);
/* Writes <pod dir>/etc-hosts. */
int build_hosts_file(struct kubelet *kubelet, const struct core_v1_pod *pod, const struct pod_facts *facts, struct error *err);

struct build_container_input {
	struct kubelet *kubelet;
	const struct core_v1_pod *pod;
	const struct core_v1_container *container;
	const char *kind; /* init, sidecar, main, ephemeral */
	uint32_t attempt;
	const struct pod_facts *facts;
	const struct map *volume_paths; /* volumes_setup()'s */
	const char *target_id; /* container whose processes it sees; NULL: its own alone */
	const char *image_id;
};
/*
 * Also makes the termination message's file and binds sub paths. Errors are those of a container's configuration: the status shows them under
 * CreateContainerConfigError.
 */
int build_container(const struct build_container_input *input, struct arena *arena, struct container_config *ret, struct error *err);

#endif
