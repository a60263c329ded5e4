/* SPDX-License-Identifier: Apache-2.0 */
/* Cpus are nobody's: the kernel's scheduler alone says who runs where. */
#include "kubelet/resource/cpu.h"

#include <errno.h>

static int init(struct cpu_manager *cpu, const struct flag_list *options, struct error *err) {
	return options->len ? error_set(err, EINVAL, "cpu-manager-policy-options: the policy none has no \"%s\"", options->items[0]) : 0;
}

static int check(struct cpu_manager *cpu, struct error *err) {
	return 0;
}

static size_t wants(const struct cpu_manager *cpu, const struct core_v1_pod *pod, const struct core_v1_container *container) {
	return 0;
}

static void hints(const struct cpu_manager *cpu, const struct core_v1_pod *pod, const struct core_v1_container *container, struct arena *arena, struct hint_set *set) {
}

static int allocate(struct cpu_manager *cpu, const struct core_v1_pod *pod, const struct core_v1_container *container, uint64_t nodes, struct error *err) {
	return 0;
}

static struct cpuset allocatable(const struct cpu_manager *cpu) {
	return (struct cpuset){{0}};
}

const struct cpu_policy cpu_policy_none = {.name = "none", .init = init, .check = check, .wants = wants, .hints = hints, .allocate = allocate, .allocatable = allocatable};
