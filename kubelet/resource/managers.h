/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The resource managers: which cpus, which memory and which devices a pod's containers get, so that they lie together where the topology manager wants
 * that. One for a kubelet. Thread safe; where a kubelet has none (a test), all calls take NULL.
 */
#ifndef CORACLE_KUBELET_RESOURCE_MANAGERS_H
#define CORACLE_KUBELET_RESOURCE_MANAGERS_H

#include "kubelet/kubelet.h"
#include "kubelet/resource/cpuset.h"

/* From the kubelet's options and its machine: reads the state files, refuses where they or the options do not fit. Devices are the kubelet's. */
int resource_managers_open(struct kubelet *kubelet, struct resource_managers **ret, struct error *err);
/* Starts to bring containers that run to the cpus that are theirs by now. */
void resource_managers_start(struct resource_managers *managers);
void resource_managers_stop(struct resource_managers *managers);
/* Takes NULL. */
void resource_managers_free(struct resource_managers *managers);

/* Gives all containers of a pod what they ask for, and keeps that in mind. All or nothing: then an error as a pod is rejected with, with its reason. Blocks. */
int resource_managers_admit(struct resource_managers *managers, const struct core_v1_pod *pod, struct error *err);
/* The same for a pod that ran before this kubelet did: what cannot be given it does without. */
void resource_managers_adopt(struct resource_managers *managers, const struct core_v1_pod *pod);
/* Gives back what a pod has, that ended. */
void resource_managers_release(struct resource_managers *managers, const char *pod_uid);
/* Gives back what pods have that nobody knows. Once all sources of pods have spoken. */
void resource_managers_tidy(struct resource_managers *managers);

/* Adds to what a container (NULL: the pod as a whole) may use: its cpus and NUMA nodes; and it has no quota beside cpus of its own. Texts are in the arena. */
void resource_managers_fill(struct resource_managers *managers, const struct core_v1_pod *pod, const struct core_v1_container *container, struct arena *arena, struct cgroup_resources *ret);
/* The last alone. */
void resource_managers_unlimit(struct resource_managers *managers, const struct core_v1_pod *pod, const struct core_v1_container *container, struct cgroup_resources *ret);
/* A container was started with these cpus: they may be others by now, and what init containers before it had of memory is free. */
void resource_managers_started(struct resource_managers *managers, const struct core_v1_pod *pod, const struct core_v1_container *container, const char *cpus);
/* The policy that binds a Guaranteed pod to what it has of "cpu" or "memory"; NULL: none does. */
const char *resource_managers_binds(struct resource_managers *managers, const char *resource);

/* For monitors. */
struct cpuset resource_managers_cpus(struct resource_managers *managers, const char *pod_uid, const char *container);
struct cpuset resource_managers_allocatable_cpus(struct resource_managers *managers);
struct memory_seen {
	const char *type;
	uint64_t size, nodes;
};
/* What a container has, or with pod_uid NULL all that may be given. Under the managers' lock. */
void resource_managers_each_memory(struct resource_managers *managers, const char *pod_uid, const char *container, void (*fn)(const struct memory_seen *seen, void *arg), void *arg);

#endif
