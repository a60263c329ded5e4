/* SPDX-License-Identifier: Apache-2.0 */
/* Does the node have what the pod asks for? Points for the emptier one (LeastAllocated). */
#include "scheduler/plugins/plugins.h"

static const char *lacking(struct attempt *attempt, uint16_t id) {
	return arena_printf(attempt->arena, "Insufficient %s", attempt->cluster->columns[id].name);
}

/* One pass over memory for each resource asked for. A node that lacks several is counted under each, as users know it from Kubernetes. */
static void filter(struct attempt *attempt) {
	const struct cluster *cluster = attempt->cluster;
	const struct resource_column *pods = &cluster->columns[RESOURCE_PODS];
	attempt_each_row (row, attempt)
		if (pods->requested[row] + 1 > pods->allocatable[row])
			attempt_reject(attempt, row, "Too many pods");
	for (size_t i = 0; i < attempt->pod->request_count; i++) {
		const struct resource_request *request = &attempt->pod->requests[i];
		const struct resource_column *column = &cluster->columns[request->id];
		const char *reason = NULL;
		attempt_each_row (row, attempt) {
			if (column->requested[row] + request->amount <= column->allocatable[row])
				continue;
			if (!reason)
				reason = lacking(attempt, request->id);
			attempt_reject(attempt, row, reason);
		}
	}
}

static int64_t free_share(int64_t requested, int64_t capacity) {
	return capacity <= 0 || requested > capacity ? 0 : (capacity - requested) * SCORE_MAX / capacity;
}

static bool score(struct attempt *attempt, int64_t *points) {
	const struct cluster *cluster = attempt->cluster;
	const int64_t *cpu = cluster->columns[RESOURCE_CPU].allocatable, *memory = cluster->columns[RESOURCE_MEMORY].allocatable;
	attempt_each_row (row, attempt)
		points[row] = (free_share(cluster->score_cpu[row] + attempt->pod->score_cpu, cpu[row]) +
			free_share(cluster->score_memory[row] + attempt->pod->score_memory, memory[row])) / 2;
	return true;
}

const struct plugin node_resources_fit_plugin = {
	.name = "NodeResourcesFit",
	.events = EVENT_NODE_ALLOCATABLE | EVENT_POD_DELETE,
	.filter = filter,
	.score = score,
	.weight = 1,
};
