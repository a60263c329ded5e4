/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plugins/plugins.h"

static bool keeps_out(const char *effect) {
	return str_equal(effect, "NoSchedule") || str_equal(effect, "NoExecute");
}

static bool discourages(const char *effect) {
	return str_equal(effect, "PreferNoSchedule");
}

static void filter(struct attempt *attempt) {
	attempt_each_row (row, attempt) {
		const struct core_v1_taint *taint = untolerated_taint(attempt->pod->pod, attempt->cluster->rows[row].node, keeps_out);
		if (taint)
			attempt_reject(attempt, row, arena_printf(attempt->arena, "node(s) had untolerated taint {%s: %s}", taint->key, str_or(taint->value, "")));
	}
}

static bool score(struct attempt *attempt, int64_t *points) {
	bool any = false;
	attempt_each_row (row, attempt) {
		for api_list_each (taint, &attempt->cluster->rows[row].node->spec.taints) {
			bool tolerated = !discourages(taint->effect);
			for api_list_each (toleration, &attempt->pod->pod->spec.tolerations)
				tolerated = tolerated || toleration_tolerates(toleration, taint);
			points[row] += !tolerated;
			any |= !tolerated;
		}
	}
	return any;
}

const struct plugin taint_toleration_plugin = {
	.name = "TaintToleration",
	.events = EVENT_NODE_TAINT,
	.filter = filter,
	.score = score,
	.normalize = NORMALIZE_REVERSE,
	.weight = 3,
};
