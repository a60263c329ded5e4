/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/container/resources.h"

#define CPU_PERIOD_US 100000
#define MIN_SHARES 2
#define SYSTEM_CRITICAL_PRIORITY 2000000000
#define HUGEPAGES_PREFIX "hugepages-"

static bool all_limit(const struct core_v1_pod *pod, const char *resource) {
	if (pod->spec.resources && api_quantity_get(&pod->spec.resources->limits, resource))
		return true;
	for api_list_each (c, &pod->spec.containers)
		if (!api_quantity_get(&c->resources.limits, resource))
			return false;
	for api_list_each (c, &pod->spec.init_containers)
		if (!api_quantity_get(&c->resources.limits, resource))
			return false;
	return true;
}

void resources_pod_limits(const struct core_v1_pod *pod, struct arena *arena, struct api_quantity_map *ret) {
	struct api_quantity_map all;
	pod_limits(pod, arena, &all);
	*ret = (struct api_quantity_map){0};
	for api_list_each (e, &all)
		if (all_limit(pod, e->key))
			api_quantity_set(arena, ret, e->key, e->value);
}

const char *resources_qos_name(const struct core_v1_pod *pod) {
	return str_empty(pod->status.qos_class) ? pod_qos_class(&pod->spec) : pod->status.qos_class;
}

enum cgroup_qos resources_qos(const struct core_v1_pod *pod) {
	const char *name = resources_qos_name(pod);
	return str_equal(name, CORE_V1_POD_QOS_CLASS_GUARANTEED) ? CGROUP_GUARANTEED : str_equal(name, CORE_V1_POD_QOS_CLASS_BURSTABLE) ? CGROUP_BURSTABLE : CGROUP_BESTEFFORT;
}

static const struct quantity *positive(const struct api_quantity_map *map, const char *key) {
	const struct quantity *q = api_quantity_get(map, key);
	return q && q->nano > 0 ? q : NULL;
}

static void set_hugepages(const struct api_quantity_map *limits, struct cgroup_resources *ret) {
	uint64_t sizes[CGROUP_MAX_HUGEPAGE_SIZES];
	size_t count = cgroup_hugepage_sizes(sizes, array_len(sizes));
	for (size_t i = 0; i < count; i++) {
		/* Without a limit a container gets none. */
		int64_t limit = 0;
		for api_list_each (e, limits) {
			struct quantity size;
			if (str_starts_with(e->key, HUGEPAGES_PREFIX) &&
			    quantity_parse(e->key + strlen(HUGEPAGES_PREFIX), strlen(e->key) - strlen(HUGEPAGES_PREFIX), &size) == 0 && (uint64_t)quantity_value(&size) == sizes[i])
				limit = quantity_value(&e->value);
		}
		ret->hugepages[ret->hugepage_count++] = (struct cgroup_hugepage_limit){.page_size = sizes[i], .limit = limit};
	}
}

static void fill(const struct api_quantity_map *requests, const struct api_quantity_map *limits, struct cgroup_resources *ret) {
	const struct quantity *cpu_request = positive(requests, "cpu"), *cpu_limit = positive(limits, "cpu"), *memory_limit = positive(limits, "memory");
	const struct quantity *share = api_quantity_get(requests, "cpu") ? cpu_request : cpu_limit;
	ret->cpu_shares = share ? cgroup_milli_cpu_to_shares(quantity_milli_value(share)) : MIN_SHARES;
	ret->cpu_period_us = CPU_PERIOD_US;
	ret->cpu_quota_us = cpu_limit ? cgroup_milli_cpu_to_quota_us(quantity_milli_value(cpu_limit), CPU_PERIOD_US) : -1;
	if (ret->cpu_quota_us == 0)
		ret->cpu_quota_us = -1;
	ret->memory_limit = memory_limit ? quantity_value(memory_limit) : -1;
}

void resources_container_cgroup(const struct core_v1_pod *pod, const struct core_v1_container *container, struct cgroup_resources *ret) {
	*ret = (struct cgroup_resources){0};
	fill(&container->resources.requests, &container->resources.limits, ret);
	set_hugepages(&container->resources.limits, ret);
}

void resources_pod_cgroup(const struct core_v1_pod *pod, struct cgroup_resources *ret) {
	autoarena struct arena *arena = arena_new();
	struct api_quantity_map requests, limits;
	pod_requests(pod, arena, &requests);
	resources_pod_limits(pod, arena, &limits);
	*ret = (struct cgroup_resources){0};
	fill(&requests, &limits, ret);
	set_hugepages(&limits, ret);
}

int64_t resources_swap(const struct core_v1_pod *pod, const struct core_v1_container *container, int64_t memory_capacity, int64_t swap_capacity) {
	const struct quantity *request = positive(&container->resources.requests, "memory"), *limit = positive(&container->resources.limits, "memory");
	if (resources_qos(pod) != CGROUP_BURSTABLE || !request || memory_capacity <= 0 || (limit && quantity_value(limit) == quantity_value(request)))
		return 0;
	return (int64_t)((double)quantity_value(request) / (double)memory_capacity * (double)swap_capacity);
}

int resources_oom_score_adj(const struct core_v1_pod *pod, const struct core_v1_container *container, int64_t memory_capacity) {
	if (pod->spec.priority && *pod->spec.priority >= SYSTEM_CRITICAL_PRIORITY)
		return -997;
	switch (resources_qos(pod)) {
	case CGROUP_GUARANTEED:
		return -997;
	case CGROUP_BESTEFFORT:
		return 1000;
	case CGROUP_BURSTABLE:
		break;
	}
	const struct quantity *request = positive(&container->resources.requests, "memory");
	int64_t wanted = request ? quantity_value(request) : 0;
	int64_t score = memory_capacity > 0 ? 1000 - (int64_t)((__int128)1000 * wanted / memory_capacity) : 1000;
	/* 1000 is for best effort alone, and 2 or less for guaranteed. */
	return (int)max_of((int64_t)3, min_of(score, (int64_t)999));
}
