/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is kept for the system is kept by cgroups: all pods together get the machine less what is reserved, burstable pods together the
 * cpu shares they asked for, best-effort ones the least there is.
 */
#include "common/base/log.h"
#include "kubelet/container/resources.h"
#include "kubelet/node/node.h"
#include "kubelet/pod/pod.h"

static bool enforces(struct kubelet *kubelet, const char *level) {
	const struct flag_list *list = &kubelet->options.enforce_node_allocatable;
	for (size_t i = 0; i < list->len; i++)
		if (str_equal(list->items[i], level))
			return true;
	return false;
}

static void limits_of(const struct api_quantity_map *map, struct cgroup_resources *ret) {
	const struct quantity *cpu = api_quantity_get(map, "cpu"), *memory = api_quantity_get(map, "memory"), *pids = api_quantity_get(map, "pid");
	*ret = (struct cgroup_resources){0};
	if (cpu)
		ret->cpu_shares = cgroup_milli_cpu_to_shares(quantity_milli_value(cpu));
	if (memory)
		ret->memory_limit = quantity_value(memory);
	if (pids)
		ret->pids_limit = quantity_value(pids);
}

static void apply(struct kubelet *kubelet, const char *path, const struct cgroup_resources *limits, bool make, const char *what) {
	autoerror struct error err = {0};
	int r = make ? cgroup_create(kubelet->cgroups, path, limits, &err) : cgroup_update(kubelet->cgroups, path, limits, &err);
	if (r < 0)
		log_warning("limits of the node are not enforced", LOG_STR("level", what), LOG_STR("cgroup", path), LOG_ERR(&err));
}

/* A group that others made for their daemons. */
static void enforce_reserved(struct kubelet *kubelet, const char *level, const char *path, const struct flag_list *reserved) {
	autoarena struct arena *arena = arena_new();
	struct api_quantity_map map = {0};
	struct cgroup_resources limits;
	if (!enforces(kubelet, level) || str_empty(path))
		return;
	for (size_t i = 0; i < reserved->len; i++) {
		const char *equal = strchr(reserved->items[i], '=');
		struct quantity q;
		if (equal && quantity_parse(equal + 1, strlen(equal + 1), &q) == 0)
			api_quantity_set(arena, &map, arena_strndup(arena, reserved->items[i], (size_t)(equal - reserved->items[i])), q);
	}
	limits_of(&map, &limits);
	apply(kubelet, path, &limits, false, level);
}

void node_allocatable_enforce(struct kubelet *kubelet) {
	const struct kubelet_options *o = &kubelet->options;
	autoarena struct arena *arena = arena_new();
	struct api_quantity_map capacity, free_for_pods;
	struct cgroup_resources limits;
	autofree char *pods = cgroup_qos_path(kubelet->cgroups, CGROUP_GUARANTEED), *least = cgroup_qos_path(kubelet->cgroups, CGROUP_BESTEFFORT);
	node_info_capacity(kubelet, arena, &capacity);
	node_info_reserved(kubelet, &capacity, arena, &free_for_pods);
	if (enforces(kubelet, "pods")) {
		limits_of(&free_for_pods, &limits);
		apply(kubelet, pods, &limits, true, "pods");
	}
	apply(kubelet, least, &(struct cgroup_resources){.cpu_shares = 2}, true, "best-effort pods");
	enforce_reserved(kubelet, "kube-reserved", o->kube_reserved_cgroup, &o->kube_reserved);
	enforce_reserved(kubelet, "system-reserved", o->system_reserved_cgroup, &o->system_reserved);
	node_qos_update(kubelet);
}

struct sum {
	struct arena *arena;
	int64_t milli;
};

static void add(struct pod *pod, const struct core_v1_pod *object, void *arg) {
	struct sum *sum = arg;
	struct api_quantity_map requests;
	if (resources_qos(object) != CGROUP_BURSTABLE)
		return;
	pod_requests(object, sum->arena, &requests);
	const struct quantity *cpu = api_quantity_get(&requests, "cpu");
	sum->milli += cpu ? quantity_milli_value(cpu) : 0;
}

void node_qos_update(struct kubelet *kubelet) {
	autoarena struct arena *arena = arena_new();
	struct sum sum = {.arena = arena};
	pod_manager_each_active(kubelet->pods, add, &sum);
	int64_t shares = cgroup_milli_cpu_to_shares(sum.milli);
	if (__atomic_exchange_n(&kubelet->burstable_shares, shares, __ATOMIC_ACQ_REL) == shares)
		return;
	autofree char *path = cgroup_qos_path(kubelet->cgroups, CGROUP_BURSTABLE);
	apply(kubelet, path, &(struct cgroup_resources){.cpu_shares = shares}, true, "burstable pods");
}
