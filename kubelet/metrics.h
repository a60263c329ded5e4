/* SPDX-License-Identifier: Apache-2.0 */
/* What the kubelet counts of its own work, under the names Kubernetes' kubelet gives. Thread safe. */
#ifndef CORACLE_KUBELET_METRICS_H
#define CORACLE_KUBELET_METRICS_H

#include "kubelet/kubelet.h"

/* Once, before anything is counted. */
void kubelet_metrics_init(struct kubelet *kubelet);
/* One call of the runtime: "run_podsandbox", "create_container", "start_container"; its time, and whether it failed. */
void kubelet_metrics_operation(const char *operation, int64_t ns, bool failed);
/* A container of that kind ("init_container", "container", ...) was started, or was not with that reason. */
void kubelet_metrics_container(const char *kind, const char *failure);
void kubelet_metrics_sandbox(bool failed, bool user_namespace);
/* A container of a pod with a user namespace could not be started. */
void kubelet_metrics_user_namespace_failed(void);
/* A container has ended. */
void kubelet_metrics_ended(const struct container_status *status);
/* A look of a pod's worker: "sync", "terminating", "terminated". */
void kubelet_metrics_look(const char *kind, int64_t ns);
/* From the first sight of a pod to its first Running. */
void kubelet_metrics_pod_started(int64_t ns);
/* A pod was ended to make room for a critical one that lacked this. */
void kubelet_metrics_preempted(const char *resource);
void kubelet_metrics_request(const char *method, const char *path, bool long_running);

#endif
