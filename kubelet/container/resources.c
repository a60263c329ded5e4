/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/container/resources.h"

#define CPU_PERIOD_US 100000
#define MIN_SHARES 2
#define SYSTEM_CRITICAL_PRIORITY 2000000000
#define HUGEPAGES_PREFIX "hugepages-"

bool resources_is_sidecar(const struct core_v1_container *container) {
	return str_equal(container->restart_policy, CORE_V1_CONTAINER_RESTART_POLICY_ALWAYS);
}

static void add(struct arena *arena, struct api_quantity_map *to, const char *key, const struct quantity *value) {
	struct quantity *have = api_quantity_get(to, key);
	if (have)
		quantity_add(have, value);
	else
		api_quantity_set(arena, to, key, *value);
}

static void add_all(struct arena *arena, struct api_quantity_map *to, const struct api_quantity_map *from) {
	for api_list_each (e, from)
		add(arena, to, e->key, &e->value);
}

static void raise_all(struct arena *arena, struct api_quantity_map *to, const struct api_quantity_map *from) {
	for api_list_each (e, from) {
		struct quantity *have = api_quantity_get(to, e->key);
		if (!have)
			api_quantity_set(arena, to, e->key, e->value);
		else if (quantity_compare(have, &e->value) < 0)
			*have = e->value;
	}
}

typedef const struct api_quantity_map *(*pick_fn)(const struct core_v1_resource_requirements *);
static const struct api_quantity_map *pick_requests(const struct core_v1_resource_requirements *r) {
	return &r->requests;
}
static const struct api_quantity_map *pick_limits(const struct core_v1_resource_requirements *r) {
	return &r->limits;
}

/* Containers run together with all sidecars; an init container runs with the sidecars before it. */
static void pod_total(const struct core_v1_pod *pod, pick_fn pick, struct arena *arena, struct api_quantity_map *ret) {
	struct api_quantity_map total = {0}, sidecars = {0}, init_peak = {0};
	for api_list_each (c, &pod->spec.containers)
		add_all(arena, &total, pick(&c->resources));
	for api_list_each (c, &pod->spec.init_containers) {
		struct api_quantity_map now = {0};
		add_all(arena, &now, pick(&c->resources));
		if (resources_is_sidecar(c)) {
			add_all(arena, &total, pick(&c->resources));
			add_all(arena, &sidecars, pick(&c->resources));
			now = (struct api_quantity_map){0};
			add_all(arena, &now, &sidecars);
		} else {
			add_all(arena, &now, &sidecars);
		}
		raise_all(arena, &init_peak, &now);
	}
	raise_all(arena, &total, &init_peak);
	if (pod->spec.resources)
		for api_list_each (e, pick(pod->spec.resources))
			api_quantity_set(arena, &total, e->key, e->value);
	*ret = total;
}

void resources_pod_requests(const struct core_v1_pod *pod, struct arena *arena, struct api_quantity_map *ret) {
	pod_total(pod, pick_requests, arena, ret);
	add_all(arena, ret, &pod->spec.overhead);
}

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

void resources_pod_limits(const struct core_v1_pod *pod, bool all_only, struct arena *arena, struct api_quantity_map *ret) {
	struct api_quantity_map total = {0}, out = {0};
	pod_total(pod, pick_limits, arena, &total);
	for api_list_each (e, &total) {
		if (all_only && !all_limit(pod, e->key))
			continue;
		struct quantity value = e->value;
		struct quantity *overhead = api_quantity_get(&pod->spec.overhead, e->key);
		if (overhead)
			quantity_add(&value, overhead);
		api_quantity_set(arena, &out, e->key, value);
	}
	*ret = out;
}

static const struct quantity *positive(const struct api_quantity_map *map, const char *key) {
	const struct quantity *q = api_quantity_get(map, key);
	return q && q->nano > 0 ? q : NULL;
}

/* Looks at one set of requirements: notes whether any is set, and whether limits equal requests for cpu and memory. */
static void qos_look(const struct core_v1_resource_requirements *r, bool *any, bool *guaranteed) {
	static const char *const names[] = {"cpu", "memory"};
	for (size_t i = 0; i < array_len(names); i++) {
		const struct quantity *request = positive(&r->requests, names[i]), *limit = positive(&r->limits, names[i]);
		if (request || limit)
			*any = true;
		if (!limit || (request && quantity_compare(request, limit) != 0))
			*guaranteed = false;
	}
}

enum cgroup_qos resources_qos(const struct core_v1_pod *pod) {
	const char *known = pod->status.qos_class;
	bool any = false, guaranteed = true;
	if (str_equal(known, CORE_V1_POD_QOS_CLASS_GUARANTEED))
		return CGROUP_GUARANTEED;
	if (str_equal(known, CORE_V1_POD_QOS_CLASS_BURSTABLE))
		return CGROUP_BURSTABLE;
	if (str_equal(known, CORE_V1_POD_QOS_CLASS_BEST_EFFORT))
		return CGROUP_BESTEFFORT;
	if (pod->spec.resources && (pod->spec.resources->limits.len || pod->spec.resources->requests.len)) {
		qos_look(pod->spec.resources, &any, &guaranteed);
	} else {
		for api_list_each (c, &pod->spec.containers)
			qos_look(&c->resources, &any, &guaranteed);
		for api_list_each (c, &pod->spec.init_containers)
			qos_look(&c->resources, &any, &guaranteed);
	}
	return !any ? CGROUP_BESTEFFORT : guaranteed ? CGROUP_GUARANTEED : CGROUP_BURSTABLE;
}

const char *resources_qos_name(const struct core_v1_pod *pod) {
	static const char *const names[] = {
		[CGROUP_GUARANTEED] = CORE_V1_POD_QOS_CLASS_GUARANTEED,
		[CGROUP_BURSTABLE] = CORE_V1_POD_QOS_CLASS_BURSTABLE,
		[CGROUP_BESTEFFORT] = CORE_V1_POD_QOS_CLASS_BEST_EFFORT,
	};
	return names[resources_qos(pod)];
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
	resources_pod_requests(pod, arena, &requests);
	resources_pod_limits(pod, true, arena, &limits);
	*ret = (struct cgroup_resources){0};
	fill(&requests, &limits, ret);
	set_hugepages(&limits, ret);
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
