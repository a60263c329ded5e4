/* SPDX-License-Identifier: Apache-2.0 */
/* In-place resize of a pod's cpu and memory. Internal to kubelet/pod. */
#ifndef CORACLE_KUBELET_RESIZE_H
#define CORACLE_KUBELET_RESIZE_H

#include "kubelet/pod/pod.h"

/* Whether both ask for the same cpu and memory, in every container and for the pod. */
bool resize_same(const struct core_v1_pod *a, const struct core_v1_pod *b);
/* `object` with the resources of `given` (NULL: its own), as a reference of the caller's. */
struct core_v1_pod *resize_with(struct core_v1_pod *object, const struct core_v1_pod *given);
/* What the status says it was given, where that is not what the spec asks for; else NULL. For pods that ran under an earlier kubelet. */
struct core_v1_pod *resize_from_status(const struct core_v1_pod *object);

/* Before pod->object becomes `newer`; pod locked. */
void pod_resize_note(struct pod *pod, const struct core_v1_pod *newer);
/* Decides for every pod of the node that asks for something else than it has, and wakes those that got it, but `self` (may be NULL). No lock held. */
void pod_resize_decide(struct pod_manager *manager, struct kubelet *kubelet, const struct pod *self);
/* The worker's look: decides where it must, tells. True where the pod was given something else. ret_retry_ns: untouched, or when to look again. */
bool pod_resize_look(struct pod *pod, struct core_v1_pod *object, int64_t *ret_retry_ns);
/* Tells the control groups what `object` (as given) asks for. -EAGAIN where that failed. ret_ended: containers were ended, to start anew. */
int pod_resize_do(struct pod *pod, struct core_v1_pod *object, const char *cgroup, bool *ret_ended);
/* Once all containers had their turn: whether the resize is complete. */
void pod_resize_finish(struct pod *pod, const struct core_v1_pod *object);
/* Notes with what a container was started. */
void pod_resize_started(struct pod *pod, const struct core_v1_pod *object, struct slot *slot, const char *id);
/* What a container has, as opposed to what it is given. */
const struct core_v1_resource_requirements *slot_actual(const struct slot *slot);
void slot_resize_done(struct slot *slot);
void pod_resize_free(struct pod *pod);

#endif
