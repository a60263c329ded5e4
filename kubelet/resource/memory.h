/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory manager: on which NUMA nodes whose memory and huge pages are. Kept in memory_manager_state as Kubernetes keeps it. Not thread safe:
 * managers.c holds a lock around it.
 */
#ifndef CORACLE_KUBELET_MEMORY_H
#define CORACLE_KUBELET_MEMORY_H

#include "api/core_v1.h"
#include "common/base/flags.h"
#include "kubelet/resource/hints.h"

#define MEMORY_MAX_TYPES (1 + MACHINE_MAX_PAGE_SIZES) /* "memory" and "hugepages-<size>" */

/* One type of memory on one NUMA node, in bytes. */
struct memory_table {
	char *type;
	uint64_t total, system_reserved, allocatable, reserved, free_bytes; /* reserved: given to containers */
};
struct memory_node {
	int id;
	int64_t assignments; /* of one type to one container, in which it has a part */
	uint64_t cells;      /* the NUMA nodes that containers have together with this one; else itself */
	struct memory_table tables[MEMORY_MAX_TYPES];
	size_t table_count;
};
/* So much of one type, on these NUMA nodes together. */
struct memory_block {
	uint64_t nodes;
	char *type;
	uint64_t size;
};
struct memory_holding {
	char *pod_uid, *container;
	struct memory_block *blocks;
	size_t count;
};

struct memory_manager;
/* A policy is one file and one row of memory.c. */
struct memory_policy {
	const char *name;
	int (*init)(struct memory_manager *memory, struct error *err);
	int (*check)(struct memory_manager *memory, struct error *err);
	/* False where the pod has no part in it. */
	bool (*wants)(const struct memory_manager *memory, const struct core_v1_pod *pod);
	void (*hints)(const struct memory_manager *memory, const struct core_v1_pod *pod, const struct core_v1_container *container, struct arena *arena, struct hint_set *set);
	/* hint: where it should lie; without nodes, anywhere. */
	int (*allocate)(struct memory_manager *memory, const struct core_v1_pod *pod, const struct core_v1_container *container, const struct hint *hint, struct error *err);
};
extern const struct memory_policy memory_policy_none, memory_policy_static;

/* What the system is kept of one type on one NUMA node. */
struct memory_reservation {
	int node;
	char *type;
	uint64_t size;
};
struct memory_reservations {
	struct memory_reservation *items;
	size_t len;
};
/* "0:memory=1Gi,hugepages-2Mi=4Mi;1:memory=1Gi", each item; -EINVAL. */
int memory_reservations_parse(const struct flag_list *list, struct memory_reservations *ret, struct error *err);
void memory_reservations_done(struct memory_reservations *reservations);

struct memory_options {
	const char *policy;
	const struct memory_reservations *reserved;
	const struct api_quantity_map *node_reserved; /* what the node keeps from pods: both must be the same in sum */
	const char *state_path;
};

struct memory_manager {
	const struct memory_policy *policy;
	const struct machine *machine;
	const struct memory_options *options; /* while it is being made */
	char *state_path;
	struct memory_node *nodes; /* ascending; none: the policy does not care */
	size_t node_count;
	struct memory_holding *holdings;
	size_t holding_count;
	/* what init containers of the pod that was admitted last lend to those after them */
	char *lender;
	struct memory_block *lent;
	size_t lent_count;
};

int memory_manager_init(struct memory_manager *memory, const struct machine *machine, const struct memory_options *options, struct error *err);
void memory_manager_done(struct memory_manager *memory);
int memory_manager_save(const struct memory_manager *memory, struct error *err);

struct memory_holding *memory_manager_find(const struct memory_manager *memory, const char *pod_uid, const char *container);
/* Takes the blocks' names, copies nothing else. */
void memory_manager_hold(struct memory_manager *memory, const char *pod_uid, const char *container, struct memory_block *take_blocks, size_t count);
/* Gives back what a container has, or with NULL all of the pod. True where there was any. */
bool memory_manager_release(struct memory_manager *memory, const char *pod_uid, const char *container);
/* The NUMA nodes of what a container has; 0: none. */
uint64_t memory_manager_nodes(const struct memory_manager *memory, const char *pod_uid, const char *container);

struct memory_node *memory_node_of(const struct memory_node *nodes, size_t count, int id);
struct memory_table *memory_table_of(struct memory_node *node, const char *type);
/* Books so much on these nodes, as far as each has it. */
void memory_book(struct memory_node *nodes, size_t count, uint64_t on, const char *type, uint64_t size);
void memory_nodes_free(struct memory_node *nodes, size_t count);
bool memory_is_type(const char *name);

#endif
