/* SPDX-License-Identifier: Apache-2.0 */
/* From the kubelet's options to its managers. */
#include "common/base/file.h"
#include "kubelet/node/node.h"
#include "kubelet/resource/internal.h"

#include <errno.h>

/* What the node keeps from pods: what it has less what it gives. */
static void node_reserved(struct kubelet *kubelet, struct arena *arena, struct api_quantity_map *ret) {
	struct api_quantity_map capacity, allocatable;
	node_info_capacity(kubelet, arena, &capacity);
	node_info_allocatable(kubelet, &capacity, arena, &allocatable);
	*ret = (struct api_quantity_map){0};
	for api_list_each (e, &capacity) {
		struct quantity kept = e->value;
		const struct quantity *given = api_quantity_get(&allocatable, e->key);
		if (given)
			quantity_sub(&kept, given);
		if (kept.nano > 0)
			api_quantity_set(arena, ret, e->key, kept);
	}
}

static bool gate(const struct flag_list *gates, const char *name, bool fallback) {
	bool value = fallback;
	for (size_t i = 0; i < gates->len; i++) {
		const char *equal = strchr(gates->items[i], '=');
		if (equal && strlen(name) == (size_t)(equal - gates->items[i]) && strncmp(gates->items[i], name, strlen(name)) == 0)
			option_bool(equal + 1, &value);
	}
	return value;
}

int resource_managers_open(struct kubelet *kubelet, struct resource_managers **ret, struct error *err) {
	const struct kubelet_options *o = &kubelet->options;
	autofree char *cpu_state = path_join(o->root_dir, "cpu_manager_state", NULL), *memory_state = path_join(o->root_dir, "memory_manager_state", NULL);
	autoarena struct arena *arena = arena_new();
	struct memory_reservations reserved = {0};
	struct api_quantity_map kept;
	int r = memory_reservations_parse(&o->reserved_memory, &reserved, err);
	if (r < 0)
		return r;
	node_reserved(kubelet, arena, &kept);
	const struct quantity *cpu = api_quantity_get(&kept, "cpu");
	const struct resource_options options = {
		.sys = "/sys",
		.topology_policy = o->topology_policy,
		.topology_scope = o->topology_scope,
		.topology_options = &o->topology_options,
		.cpu = {
			.policy = o->cpu_policy,
			.policy_options = &o->cpu_policy_options,
			.topology_policy = o->topology_policy,
			.reserved_cpus = o->reserved_cpus,
			.reserved_milli = cpu ? quantity_milli_value(cpu) : 0,
			.alpha = gate(&o->feature_gates, "CPUManagerPolicyAlphaOptions", false),
			.beta = gate(&o->feature_gates, "CPUManagerPolicyBetaOptions", true),
			.state_path = cpu_state,
		},
		.memory = {.policy = o->memory_policy, .reserved = &reserved, .node_reserved = &kept, .state_path = memory_state},
	};
	r = resource_managers_new(&options, ret, err);
	memory_reservations_done(&reserved);
	if (r < 0)
		return r;
	(*ret)->kubelet = kubelet;
	(*ret)->keeps_quota = !gate(&o->feature_gates, "DisableCPUQuotaWithExclusiveCPUs", true);
	return 0;
}
