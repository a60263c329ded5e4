/* SPDX-License-Identifier: Apache-2.0 */
/* Points for nodes whose cpu and memory would be used to a like degree: the one left over is of no use alone. */
#include "scheduler/plugins/plugins.h"

#include <math.h>

static bool score(struct attempt *attempt, int64_t *points) {
	const struct cluster *cluster = attempt->cluster;
	const struct pod_facts *pod = attempt->pod;
	bool asks = false;
	for (size_t i = 0; i < pod->request_count; i++)
		asks |= pod->requests[i].id <= RESOURCE_MEMORY;
	if (!asks)
		return false; /* a pod that asks for nothing balances nothing */
	const struct resource_column *cpu = &cluster->columns[RESOURCE_CPU], *memory = &cluster->columns[RESOURCE_MEMORY];
	attempt_each_row (row, attempt) {
		if (cpu->allocatable[row] <= 0 || memory->allocatable[row] <= 0)
			continue;
		double a = fmin(1, (double)(cluster->score_cpu[row] + pod->score_cpu) / (double)cpu->allocatable[row]);
		double b = fmin(1, (double)(cluster->score_memory[row] + pod->score_memory) / (double)memory->allocatable[row]);
		points[row] = (int64_t)((1 - fabs(a - b) / 2) * SCORE_MAX);
	}
	return true;
}

const struct plugin node_resources_balanced_allocation_plugin = {
	.name = "NodeResourcesBalancedAllocation",
	.score = score,
	.weight = 1,
};
