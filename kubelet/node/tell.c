/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of the node, as Events of it: what `kubectl describe node` shows of its last hour. */
#include "kubelet/node/node.h"

static const struct {
	const char *type, *when_true, *when_false;
} rows[NODE_TOLD_CONDITIONS] = {
	{"MemoryPressure", "NodeHasInsufficientMemory", "NodeHasSufficientMemory"},
	{"DiskPressure", "NodeHasDiskPressure", "NodeHasNoDiskPressure"},
	{"PIDPressure", "NodeHasInsufficientPID", "NodeHasSufficientPID"},
	{"Ready", "NodeReady", "NodeNotReady"},
};

static const char *status_of(const struct core_v1_node *node, const char *type) {
	for api_list_each (c, &node->status.conditions)
		if (str_equal(c->type, type))
			return str_or(c->status, "");
	return "";
}

static void tell_status(struct kubelet *kubelet, const struct core_v1_node *node, const char *reason) {
	kubelet_event(kubelet, node, NULL, "Normal", reason, "Node %s status is now: %s", kubelet->node_name, reason);
}

static void tell_start(struct kubelet *kubelet, const struct core_v1_node *have, const struct core_v1_node *now) {
	const char *before = have->status.node_info.boot_id, *boot = now->status.node_info.boot_id;
	kubelet_event(kubelet, have, NULL, "Normal", "Starting", "Starting kubelet.");
	if (kubelet->options.enforce_node_allocatable.len)
		kubelet_event(kubelet, have, NULL, "Normal", "NodeAllocatableEnforced", "Updated Node Allocatable limit across pods");
	if (!str_empty(before) && !str_equal(before, boot))
		kubelet_event(kubelet, have, NULL, "Warning", "Rebooted", "Node %s has been rebooted, boot id: %s", kubelet->node_name, boot);
}

void node_tell(struct kubelet *kubelet, struct node_told *told, const struct core_v1_node *have, const struct core_v1_node *now) {
	if (!told->started)
		tell_start(kubelet, have, now);
	for (size_t i = 0; i < NODE_TOLD_CONDITIONS; i++) {
		bool is = str_equal(status_of(now, rows[i].type), CORE_V1_CONDITION_STATUS_TRUE);
		/* Before the first time the API knows how it was; nobody does of a node that was made just now. */
		bool known = told->started || (!told->is_new && *status_of(have, rows[i].type));
		bool was = told->started ? told->conditions[i] : str_equal(status_of(have, rows[i].type), CORE_V1_CONDITION_STATUS_TRUE);
		if (!known || was != is)
			tell_status(kubelet, have, is ? rows[i].when_true : rows[i].when_false);
		told->conditions[i] = is;
	}
	bool unschedulable = have->spec.unschedulable;
	if (unschedulable != told->unschedulable)
		tell_status(kubelet, have, unschedulable ? "NodeNotSchedulable" : "NodeSchedulable");
	told->unschedulable = unschedulable;
	told->started = true;
}
