/* SPDX-License-Identifier: Apache-2.0 */
/* Where what a container asks for could lie: sets of NUMA nodes, one list for each resource. All in an arena. */
#ifndef CORACLE_KUBELET_HINTS_H
#define CORACLE_KUBELET_HINTS_H

#include "common/base/arena.h"
#include "kubelet/resource/machine.h"

struct hint {
	uint64_t nodes; /* NUMA nodes, by id; 0: any */
	bool preferred; /* no smaller set would do, even on an idle machine */
};
struct hint_list { /* none: nowhere */
	struct hint *items;
	size_t len;
};
/* What all providers say of all resources; one that has no wish says nothing. */
struct hint_set {
	struct hint_list *items;
	size_t len;
};

/* A new, empty list. */
struct hint_list *hint_set_add(struct hint_set *set, struct arena *arena);
void hint_list_add(struct hint_list *list, struct arena *arena, uint64_t nodes, bool preferred);
/* Marks those with so few nodes, and no others. */
void hint_list_prefer(struct hint_list *list, size_t nodes);
static inline size_t hint_count(uint64_t nodes) {
	return (size_t)__builtin_popcountll(nodes);
}
/* Fewer nodes; or as many, of lower ids. */
bool hint_is_narrower(uint64_t a, uint64_t b);
/* All sets of the nodes but the empty one: for (uint64_t s = hint_next(all, 0); s; s = hint_next(all, s)). */
static inline uint64_t hint_next(uint64_t all, uint64_t set) {
	return (set - all) & all;
}

#endif
