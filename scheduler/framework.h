/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One attempt to place one pod, and the plugins that judge it. A plugin looks at all nodes in one pass: a filter strikes nodes out, with a reason;
 * a score adds points to those left. What it computes once per attempt it keeps in the attempt's arena.
 */
#ifndef CORACLE_SCHEDULER_FRAMEWORK_H
#define CORACLE_SCHEDULER_FRAMEWORK_H

#include "scheduler/cluster.h"

#define SCORE_MAX 100

/* What happens in the cluster that may let a pod fit that did not. */
#define EVENT_NODE_ADD (1u << 0)
#define EVENT_NODE_ALLOCATABLE (1u << 1)
#define EVENT_NODE_LABEL (1u << 2)
#define EVENT_NODE_TAINT (1u << 3)
#define EVENT_POD_ADD (1u << 4)    /* a pod got a node */
#define EVENT_POD_DELETE (1u << 5) /* a pod left a node */
#define EVENT_POD_LABEL (1u << 6)
#define EVENT_NAMESPACE (1u << 7)
#define EVENT_ALL UINT32_MAX

struct attempt {
	const struct cluster *cluster;
	const struct pod_facts *pod;
	struct arena *arena;
	const char **reasons; /* by row; NULL: the node is still in */
	int64_t *scores;      /* by row: sum of what plugins gave, times their weights */
	uint32_t rejected_by; /* bit n: plugin n of the table struck a node out */
	unsigned current;     /* index of the plugin that runs */
};

/* Strikes a node out. `reason` is a constant or in the attempt's arena; it is counted in the event ("3 Insufficient cpu"). */
static inline void attempt_reject(struct attempt *attempt, uint32_t row, const char *reason) {
	attempt->reasons[row] = reason;
	attempt->rejected_by |= 1u << attempt->current;
}
/* The rows still in the race. */
#define attempt_each_row(row, attempt) cluster_each_row (row, (attempt)->cluster) if (!(attempt)->reasons[row])

enum normalize {
	NORMALIZE_NONE,    /* the plugin gives 0..100 */
	NORMALIZE_MAX,     /* the best gets 100 */
	NORMALIZE_REVERSE, /* the smallest gets 100, the largest 0 */
};

struct plugin {
	const char *name;
	uint32_t events; /* EVENT_*: what may help a pod this plugin rejected */
	/* Strikes out the nodes that cannot take the pod. NULL: none. */
	void (*filter)(struct attempt *attempt);
	/* Writes points for each row still in (others are ignored). Returns false where it has no opinion. NULL: none. */
	bool (*score)(struct attempt *attempt, int64_t *points);
	enum normalize normalize;
	int weight;
};

extern const struct plugin *const plugins[]; /* in the order they run: cheap and decisive ones first */
extern const unsigned plugin_count;

/* Runs all filters and scores. Returns the row with most points (one of the best at random), or NO_NODE. */
uint32_t attempt_run(struct attempt *attempt);
/* "0/5 nodes are available: 2 Insufficient cpu, 3 node(s) had untolerated taint(s)."; in the attempt's arena. */
const char *attempt_explain(const struct attempt *attempt);
/* The EVENT_* bits that may help. */
uint32_t attempt_helping_events(const struct attempt *attempt);

/* Shared by plugins: does a node satisfy a node selector term list (nodeAffinity), a pod's nodeSelector? */
bool node_selector_matches(const struct core_v1_node_selector *selector, const struct core_v1_node *node);
bool node_selector_term_matches(const struct core_v1_node_selector_term *term, const struct core_v1_node *node);
bool pod_wants_node(const struct core_v1_pod *pod, const struct core_v1_node *node);
/* The first taint of the node, of one of the effects, that the pod does not tolerate; NULL: none. */
const struct core_v1_taint *untolerated_taint(const struct core_v1_pod *pod, const struct core_v1_node *node, bool (*effect)(const char *effect));
bool toleration_tolerates(const struct core_v1_toleration *toleration, const struct core_v1_taint *taint);

#endif
