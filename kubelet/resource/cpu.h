/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cpu manager: which cpus are whose. Kept in cpu_manager_state as Kubernetes keeps it, so that either kubelet can go on where the other was.
 * Not thread safe: managers.c holds a lock around it.
 */
#ifndef CORACLE_KUBELET_CPU_H
#define CORACLE_KUBELET_CPU_H

#include "api/core_v1.h"
#include "common/base/flags.h"
#include "kubelet/resource/cpu_assign.h"
#include "kubelet/resource/hints.h"

/* What a container has for its own. */
struct cpu_holding {
	char *pod_uid, *container;
	struct cpuset cpus;
};

struct cpu_manager;
/* A policy is one file and one row of cpu.c. */
struct cpu_policy {
	const char *name;
	/* Reads its options ("name=value"), and settles what is reserved. */
	int (*init)(struct cpu_manager *cpu, const struct flag_list *options, struct error *err);
	/* Of the state that was read, or is empty: whether it fits the machine. */
	int (*check)(struct cpu_manager *cpu, struct error *err);
	/* How many cpus of its own a container is to have; of the whole pod where container is NULL. */
	size_t (*wants)(const struct cpu_manager *cpu, const struct core_v1_pod *pod, const struct core_v1_container *container);
	void (*hints)(const struct cpu_manager *cpu, const struct core_v1_pod *pod, const struct core_v1_container *container, struct arena *arena, struct hint_set *set);
	/* nodes: where they should lie; 0: anywhere. The error has a reason where that is not UnexpectedAdmissionError. */
	int (*allocate)(struct cpu_manager *cpu, const struct core_v1_pod *pod, const struct core_v1_container *container, uint64_t nodes, struct error *err);
	/* What may be given at all. */
	struct cpuset (*allocatable)(const struct cpu_manager *cpu);
};
extern const struct cpu_policy cpu_policy_none, cpu_policy_static;

struct cpu_options {
	const char *policy;
	const struct flag_list *policy_options; /* "name=value" */
	const char *topology_policy;            /* some options do not go with some of them */
	const char *reserved_cpus;              /* empty: as many as reserved_milli says */
	int64_t reserved_milli;
	bool alpha, beta;                       /* options of that age may be used */
	const char *state_path;
};

struct cpu_manager {
	const struct cpu_policy *policy;
	const struct machine *machine;
	const struct cpu_options *options; /* while it is being made */
	char *state_path;
	struct cpuset shared; /* those of all containers that have none of their own; empty: the policy does not care */
	struct cpu_holding *holdings;
	size_t holding_count;

	/* the static policy's */
	struct cpuset reserved, reserved_cores; /* kept for the system; and all cpus of their cores */
	struct cpu_assign_options assign;
	bool whole_cores, by_socket, strict_reservation;
	struct {
		char *pod_uid; /* the one admitted last */
		struct cpuset cpus;
	} lent; /* by its init containers, to those after them */
};

/* machine is borrowed; state_path is read. -EBADMSG where that does not fit. */
int cpu_manager_init(struct cpu_manager *cpu, const struct machine *machine, const struct cpu_options *options, struct error *err);
void cpu_manager_done(struct cpu_manager *cpu);
int cpu_manager_save(const struct cpu_manager *cpu, struct error *err);

/* NULL: none of its own. Good until the next change. */
const struct cpu_holding *cpu_manager_find(const struct cpu_manager *cpu, const char *pod_uid, const char *container);
void cpu_manager_hold(struct cpu_manager *cpu, const char *pod_uid, const char *container, const struct cpuset *cpus);
/* Gives back what a pod has. True where it had anything. */
bool cpu_manager_release(struct cpu_manager *cpu, const char *pod_uid);
/* What all containers have for their own. */
struct cpuset cpu_manager_exclusive(const struct cpu_manager *cpu);
/* An init container that ends before those after it start. */
bool resource_is_lender(const struct core_v1_pod *pod, const struct core_v1_container *container);
/* A pod whose resources are given as a whole has no part in what the managers give to containers. */
bool resource_is_of_pod(const struct core_v1_pod *pod);

#endif
