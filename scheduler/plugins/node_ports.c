/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plugins/plugins.h"

static bool conflict(const struct host_port *a, const struct host_port *b) {
	if (a->port != b->port || !str_equal(a->protocol, b->protocol))
		return false;
	return str_equal(a->ip, b->ip) || str_equal(a->ip, "0.0.0.0") || str_equal(b->ip, "0.0.0.0") || str_equal(a->ip, "::") || str_equal(b->ip, "::");
}

static bool taken(const struct node_row *row, const struct pod_facts *pod) {
	struct pod_info *other;
	list_for_each (other, &row->pods, on_node)
		for (size_t i = 0; i < other->facts->port_count; i++)
			for (size_t k = 0; k < pod->port_count; k++)
				if (conflict(&other->facts->ports[i], &pod->ports[k]))
					return true;
	return false;
}

static void filter(struct attempt *attempt) {
	if (!attempt->pod->port_count)
		return;
	attempt_each_row (row, attempt)
		if (taken(&attempt->cluster->rows[row], attempt->pod))
			attempt_reject(attempt, row, "node(s) didn't have free ports for the requested pod ports");
}

const struct plugin node_ports_plugin = {
	.name = "NodePorts",
	.events = EVENT_POD_DELETE,
	.filter = filter,
};
