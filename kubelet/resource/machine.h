/* SPDX-License-Identifier: Apache-2.0 */
/* How the machine is built: which cpus share a core, a cache, a NUMA node, a socket; what memory is where. Read once from sysfs. */
#ifndef CORACLE_KUBELET_MACHINE_H
#define CORACLE_KUBELET_MACHINE_H

#include "kubelet/resource/cpuset.h"

#define MACHINE_MAX_NODES 64 /* NUMA nodes; ids lie below it, so that a word can hold a set of them */
#define MACHINE_MAX_PAGE_SIZES 8

/* What cpus share, from the least on. A core's id is that of its first cpu; a cache that a whole NUMA node shares counts as the socket's. */
enum machine_level { MACHINE_CORE, MACHINE_CACHE, MACHINE_NODE, MACHINE_SOCKET, MACHINE_LEVELS };

struct machine_cpu {
	int id;
	int of[MACHINE_LEVELS];
};
struct machine_pages {
	uint64_t size, count; /* bytes of one; how many */
};
struct machine_node {
	int id;
	uint64_t memory; /* bytes; 0: not known */
	struct machine_pages pages[MACHINE_MAX_PAGE_SIZES];
	size_t page_sizes;
	uint64_t distances[MACHINE_MAX_NODES]; /* to the nodes in their order */
	size_t distance_count;
};
struct machine {
	struct machine_cpu *cpus; /* online ones, ascending */
	size_t cpu_count;
	struct machine_node *nodes; /* ascending; those without cpus too */
	size_t node_count;
	struct cpuset all;
	size_t counts[MACHINE_LEVELS]; /* of those that have cpus */
};

/* sys: "/sys", or what a test plays it with. */
int machine_read(const char *sys, struct machine *ret, struct error *err);
void machine_done(struct machine *machine);
/* Sorts, and fills `all` and `counts`: for those who fill in the rest themselves. */
void machine_settle(struct machine *machine);

/* NULL where there is none. */
const struct machine_cpu *machine_cpu(const struct machine *machine, int id);
const struct machine_node *machine_node(const struct machine *machine, int id);
/* The cpus of one core, cache, node or socket; none where it is not known. */
struct cpuset machine_cpus(const struct machine *machine, enum machine_level level, int id);
/* Of a set of NUMA nodes. */
struct cpuset machine_cpus_of_nodes(const struct machine *machine, uint64_t nodes);
/* The set of NUMA nodes that have cpus, and that of all. */
uint64_t machine_cpu_nodes(const struct machine *machine);
uint64_t machine_all_nodes(const struct machine *machine);
/* Cpus for each core, cache, node or socket; 0 where there are none. */
size_t machine_cpus_each(const struct machine *machine, enum machine_level level);

#endif
