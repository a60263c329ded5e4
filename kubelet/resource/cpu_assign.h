/* SPDX-License-Identifier: Apache-2.0 */
/* Which cpus a container gets for its own: those that lie close together, and leave whole what is whole. A pure function. */
#ifndef CORACLE_KUBELET_CPU_ASSIGN_H
#define CORACLE_KUBELET_CPU_ASSIGN_H

#include "kubelet/resource/machine.h"

struct cpu_assign_options {
	bool across_nodes; /* where one NUMA node is too small, as evenly over several as can be */
	bool across_cores; /* one thread of each core rather than whole cores */
	bool by_cache;     /* within as few shared caches as can be; without effect beside across_nodes */
	size_t group;      /* across_nodes gives so many at a time, all threads of a core, say; at least 1 */
};

/* `count` of the free cpus. -ENOSPC where there are too few. */
int cpu_assign(const struct machine *machine, const struct cpuset *free_cpus, size_t count, const struct cpu_assign_options *options, struct cpuset *ret, struct error *err);

#endif
