/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pods of this node. Sources say what should be; each pod has a worker that brings it about. A worker is a thread that lives only while
 * its pod has something to do, so that a quiet pod costs no thread. Thread safe.
 */
#ifndef CORACLE_KUBELET_POD_MANAGER_H
#define CORACLE_KUBELET_POD_MANAGER_H

#include "api/core_v1.h"
#include "kubelet/kubelet.h"

struct pod;

struct pod_manager *pod_manager_new(struct kubelet *kubelet);
/* Stops starting work and waits for workers that run (a bounded time); pods run on. Takes NULL. */
void pod_manager_free(struct pod_manager *manager);

/* A source's word: this pod should be, as this object says (referenced). One that was removed and is still ending ends first. source: "api", "file", "http". */
void pod_manager_set(struct pod_manager *manager, struct core_v1_pod *object, const char *source);
/* The same object, newer in its status alone: taken without waking the worker. */
void pod_manager_refresh(struct pod_manager *manager, struct core_v1_pod *object);
/* A source no longer has it: it is ended, cleaned, forgotten. */
void pod_manager_remove(struct pod_manager *manager, const char *uid);
/* All first lists of the sources are in: what the runtime holds beyond them is orphaned, and ended. */
void pod_manager_sources_ready(struct pod_manager *manager);
/*
 * Removes cgroups of pods that nobody knows, once that can be told. For every now and then: a runc that outlived its killed
 * kubelet, or its own time, may make one when the pod is gone already. Where pods did not move it looks whether there are as many as it left, which *seen
 * (0 at first) keeps.
 */
void pod_manager_tidy(struct pod_manager *manager, bool pods_moved, uint64_t *seen);

/* Something about it may have changed. */
void pod_manager_wake(struct pod_manager *manager, const char *uid);
/* Wakes the static pods of this name: what the API has under it came, changed or went. */
void pod_manager_wake_static(struct pod_manager *manager, const char *ns, const char *name);
/* Wakes the pods of a namespace that refer to this ConfigMap or Secret. */
void pod_manager_object_changed(struct pod_manager *manager, const struct api_resource *resource, const char *ns, const char *name);
/* True where some pod's spec names it, in volumes, environment or pull secrets. */
bool pod_manager_refers(struct pod_manager *manager, const struct api_resource *resource, const char *ns, const char *name);
/* Wakes all (the network became ready, ...). */
void pod_manager_wake_all(struct pod_manager *manager);
/* The runtime's events. */
void pod_manager_on_runtime_event(const struct runtime_event *event, void *manager);
bool pod_manager_container_running(struct pod_manager *manager, const char *uid, const char *container_id);

/* All pods with the status of this moment, for /pods and accounting. Free with informer_list_done(). */
void pod_manager_list(struct pod_manager *manager, struct informer_list *ret);
/* The same without a copy: as the sources gave them, their status as old as that. */
void pod_manager_objects(struct pod_manager *manager, struct informer_list *ret);
/* The object with the status of this moment, or NULL. */
struct core_v1_pod *pod_manager_find(struct pod_manager *manager, const char *ns, const char *name);
struct core_v1_pod *pod_manager_find_uid(struct pod_manager *manager, const char *uid);
/* Ends a pod for good with phase Failed, reason and message (Evicted). grace_seconds < 0: its own. disruption: what its condition DisruptionTarget says; NULL: it has none. */
void pod_manager_evict(struct pod_manager *manager, const char *uid, const char *reason, const char *message, int64_t grace_seconds, const char *disruption);
/* Waits until none of these pods has anything running any more; false past the deadline (monotonic). */
bool pod_manager_wait_ended(struct pod_manager *manager, const char *const *uids, size_t count, int64_t deadline);
/* True where no pod's worker runs. ret_events (may be NULL): grows with all that ever happened. */
bool pod_manager_idle(struct pod_manager *manager, uint64_t *ret_events);
size_t pod_manager_count(struct pod_manager *manager);

#endif
