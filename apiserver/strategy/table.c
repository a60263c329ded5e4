/* SPDX-License-Identifier: Apache-2.0 */
/* Every kind's strategy. Each list is one file's rows. */
#include "apiserver/strategy/table.h"

static const struct strategy strategy_default = {0};

static const struct strategy *const *const lists[] = {
	strategies_core, strategies_workloads, strategies_pods, strategies_policy, strategies_other, strategies_claims,
};

const struct strategy *strategy_find(const char *group, const char *plural) {
	for (size_t i = 0; i < array_len(lists); i++)
		for (const struct strategy *const *row = lists[i]; *row; row++)
			if (strcmp((*row)->plural, plural) == 0 && strcmp((*row)->group, group) == 0)
				return *row;
	return &strategy_default;
}
