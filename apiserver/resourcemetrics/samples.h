/* SPDX-License-Identifier: Apache-2.0 */
/* From what a kubelet counts (two answers) to what its node and pods use. */
#ifndef CORACLE_APISERVER_SAMPLES_H
#define CORACLE_APISERVER_SAMPLES_H

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/map.h"

#define SAMPLES_MAX_CONTAINERS 20000 /* of one node; more are left out */

/* One answer of a kubelet: counters as they stood. */
struct sample_set;
/* at: when it was read, for samples without a time of their own. */
struct sample_set *sample_set_parse(const char *text, size_t len, struct wall_time at);
void sample_set_free(struct sample_set *set);

struct usage {
	uint64_t cpu_nano;   /* billionths of a core */
	uint64_t memory;     /* bytes of the working set */
	struct wall_time at;
	int64_t window_ns;   /* over which cpu was counted */
};
struct container_usage {
	const char *name;
	struct usage usage;
};
struct pod_usage {
	size_t count;
	struct container_usage *containers;
};
/* Immutable, counted; thread safe. */
struct node_usage;
/* prev may be NULL. Containers younger than prev count from their start; others that prev does not know are left out, with their pod. */
struct node_usage *node_usage_new(const struct sample_set *prev, const struct sample_set *now);
struct node_usage *node_usage_ref(struct node_usage *usage);
/* Takes NULL. */
void node_usage_unref(struct node_usage *usage);
static inline void cleanup_node_usage(struct node_usage **usage) {
	node_usage_unref(*usage);
}
#define autousage cleanup(cleanup_node_usage)
/* NULL where not known (yet). */
const struct usage *node_usage_node(const struct node_usage *usage);
const struct pod_usage *node_usage_pod(const struct node_usage *usage, const char *ns, const char *name);

#endif
