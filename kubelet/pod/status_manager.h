/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries pods' statuses to the API server: the newest of each pod, by patches of the status alone that leave conditions of others be. A
 * pod that has ended and is being deleted is then deleted for good. Thread safe.
 */
#ifndef CORACLE_KUBELET_STATUS_MANAGER_H
#define CORACLE_KUBELET_STATUS_MANAGER_H

#include "api/core_v1.h"
#include "kubelet/kubelet.h"

struct status_manager *status_manager_new(struct kubelet *kubelet);
/* Sends what is left, for a bounded time. Takes NULL. */
void status_manager_free(struct status_manager *manager);
/* `object` carries the new status (a mutable object given away). finished: nothing of the pod is left on the node; it may be deleted. */
void status_manager_set(struct status_manager *manager, struct core_v1_pod *take_object, bool finished);
/* Looks again (the API's copy changed). */
void status_manager_wake(struct status_manager *manager, const char *uid);
/* Sends all that is not told yet, now, on the caller's thread: before the process ends. */
void status_manager_flush(struct status_manager *manager);
void status_manager_forget(struct status_manager *manager, const char *uid);

/* Types of conditions that the kubelet alone writes; DisruptionTarget it shares with others. */
bool status_owns_condition(const char *type);
/* The strategic merge patch from the status the API has to ours; NULL where there is nothing to say. The caller frees. Open to tests. */
char *status_patch(const struct core_v1_pod *have, const struct core_v1_pod *want);

#endif
