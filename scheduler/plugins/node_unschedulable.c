/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plugins/plugins.h"

static const struct core_v1_taint unschedulable = {.key = "node.kubernetes.io/unschedulable", .effect = "NoSchedule"};

static void filter(struct attempt *attempt) {
	bool tolerated = false;
	for api_list_each (toleration, &attempt->pod->pod->spec.tolerations)
		tolerated = tolerated || toleration_tolerates(toleration, &unschedulable);
	if (tolerated)
		return;
	attempt_each_row (row, attempt)
		if (attempt->cluster->rows[row].node->spec.unschedulable)
			attempt_reject(attempt, row, "node(s) were unschedulable");
}

const struct plugin node_unschedulable_plugin = {
	.name = "NodeUnschedulable",
	.events = EVENT_NODE_TAINT,
	.filter = filter,
};
