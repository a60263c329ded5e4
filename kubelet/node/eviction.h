/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Eviction under node pressure, by Kubernetes' rules: thresholds hard and soft, conditions that outlast them by the transition period, disk
 * reclaimed from dead containers and unused images before any pod is touched, one pod at a time in the order of eviction.
 */
#ifndef CORACLE_KUBELET_EVICTION_H
#define CORACLE_KUBELET_EVICTION_H

#include "kubelet/node/signals.h"

struct eviction;

/* Fails where a threshold cannot be read. */
int eviction_new(struct kubelet *kubelet, struct eviction **ret, struct error *err);
/* Takes NULL. */
void eviction_free(struct eviction *eviction);
/* One look at the node: conditions, reclaim, at most one eviction. By one thread. True where a condition changed. */
bool eviction_sync(struct eviction *eviction);
/* Thread safe. */
bool eviction_pressure(struct eviction *eviction, enum pressure_kind kind);
/* -EPERM with reason Evicted where this pod must not start under the pressure of this moment. Thread safe. */
int eviction_admit(struct eviction *eviction, const struct core_v1_pod *pod, struct error *err);
/* A static pod, its mirror, or one of a system's priority: neither evicted nor turned away. */
bool eviction_is_critical(const struct core_v1_pod *pod);

/* rank.c: what a running pod uses of what is short. */
struct rank_usage {
	int64_t memory, disk, inodes, pids;
};
void rank_usage_of(struct kubelet *kubelet, const struct core_v1_pod *pod, enum signal_kind signal, struct rank_usage *ret);
/* Sorts pods: the first is evicted first. `pods` and `usage` run together. Pure. */
void rank_pods(const struct core_v1_pod **pods, struct rank_usage *usage, size_t count, enum signal_kind signal);
/* "Container x was using 3Mi, request is 1Mi, has larger consumption of memory. " for each that does; the caller frees. */
char *rank_blame(struct kubelet *kubelet, const struct core_v1_pod *pod, const char *resource);

#endif
