/* SPDX-License-Identifier: Apache-2.0 */
/* A pod that names its node (a daemon's, before it is bound) goes there or nowhere. */
#include "scheduler/plugins/plugins.h"

static void filter(struct attempt *attempt) {
	const char *name = attempt->pod->pod->spec.node_name;
	if (str_empty(name))
		return;
	attempt_each_row (row, attempt)
		if (!str_equal(attempt->cluster->rows[row].node->metadata.name, name))
			attempt_reject(attempt, row, "node(s) didn't match the requested node name");
}

const struct plugin node_name_plugin = {
	.name = "NodeName",
	.filter = filter,
};
