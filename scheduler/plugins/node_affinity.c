/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plugins/plugins.h"

static void filter(struct attempt *attempt) {
	const struct core_v1_pod *pod = attempt->pod->pod;
	if (!pod->spec.node_selector.len && !(pod->spec.affinity && pod->spec.affinity->node_affinity))
		return;
	attempt_each_row (row, attempt)
		if (!pod_wants_node(pod, attempt->cluster->rows[row].node))
			attempt_reject(attempt, row, "node(s) didn't match Pod's node affinity/selector");
}

static bool score(struct attempt *attempt, int64_t *points) {
	const struct core_v1_affinity *affinity = attempt->pod->pod->spec.affinity;
	if (!affinity || !affinity->node_affinity || !affinity->node_affinity->preferred_during_scheduling_ignored_during_execution.len)
		return false;
	attempt_each_row (row, attempt)
		for api_list_each (term, &affinity->node_affinity->preferred_during_scheduling_ignored_during_execution)
			if (node_selector_term_matches(&term->preference, attempt->cluster->rows[row].node))
				points[row] += term->weight;
	return true;
}

const struct plugin node_affinity_plugin = {
	.name = "NodeAffinity",
	.events = EVENT_NODE_LABEL,
	.filter = filter,
	.score = score,
	.normalize = NORMALIZE_MAX,
	.weight = 2,
};
