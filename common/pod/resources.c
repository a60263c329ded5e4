/* SPDX-License-Identifier: Apache-2.0 */
#include "common/pod/resources.h"

bool pod_is_sidecar(const struct core_v1_container *init_container) {
	return str_equal(init_container->restart_policy, CORE_V1_CONTAINER_RESTART_POLICY_ALWAYS);
}

static void add_all(struct arena *arena, struct api_quantity_map *to, const struct api_quantity_map *from) {
	for api_list_each (e, from)
		api_quantity_add(arena, to, e->key, &e->value);
}

static void raise_all(struct arena *arena, struct api_quantity_map *to, const struct api_quantity_map *from) {
	for api_list_each (e, from) {
		const struct quantity *have = api_quantity_get(to, e->key);
		if (!have || quantity_compare(have, &e->value) < 0)
			api_quantity_set(arena, to, e->key, e->value);
	}
}

static const struct api_quantity_map *pick(const struct core_v1_resource_requirements *r, bool limits) {
	return limits ? &r->limits : &r->requests;
}

/* Without the overhead. */
static struct api_quantity_map total_of(const struct core_v1_pod *pod, bool limits, struct arena *arena) {
	struct api_quantity_map total = {0}, sidecars = {0}, peak = {0};
	for api_list_each (c, &pod->spec.containers)
		add_all(arena, &total, pick(&c->resources, limits));
	for api_list_each (c, &pod->spec.init_containers) {
		struct api_quantity_map step = {0};
		add_all(arena, &step, &sidecars);
		add_all(arena, &step, pick(&c->resources, limits));
		raise_all(arena, &peak, &step);
		if (pod_is_sidecar(c))
			add_all(arena, &sidecars, pick(&c->resources, limits));
	}
	add_all(arena, &total, &sidecars);
	raise_all(arena, &total, &peak);
	if (pod->spec.resources)
		for api_list_each (e, pick(pod->spec.resources, limits))
			api_quantity_set(arena, &total, e->key, e->value);
	return total;
}

void pod_requests(const struct core_v1_pod *pod, struct arena *arena, struct api_quantity_map *ret) {
	*ret = total_of(pod, false, arena);
	add_all(arena, ret, &pod->spec.overhead);
}

void pod_limits(const struct core_v1_pod *pod, struct arena *arena, struct api_quantity_map *ret) {
	*ret = total_of(pod, true, arena);
	for api_list_each (e, &pod->spec.overhead) {
		struct quantity *limit = api_quantity_get(ret, e->key);
		if (limit && !quantity_is_zero(limit))
			quantity_add(limit, &e->value);
	}
}

/* ---- class of service ---- */

struct qos {
	bool any, guaranteed;
};

static bool is_set(const struct quantity *q) {
	return q && !quantity_is_zero(q);
}

static void look(struct qos *qos, const struct core_v1_resource_requirements *resources) {
	static const char *const names[] = {"cpu", "memory"};
	for (size_t i = 0; i < array_len(names); i++) {
		const struct quantity *limit = api_quantity_get(&resources->limits, names[i]), *request = api_quantity_get(&resources->requests, names[i]);
		qos->any |= is_set(limit) || is_set(request);
		if (!is_set(limit) || (request && quantity_compare(limit, request) != 0))
			qos->guaranteed = false;
	}
}

const char *pod_qos_class(const struct core_v1_pod_spec *spec) {
	struct qos qos = {.guaranteed = true};
	if (spec->resources && (spec->resources->limits.len || spec->resources->requests.len)) {
		look(&qos, spec->resources);
	} else {
		for api_list_each (c, &spec->containers)
			look(&qos, &c->resources);
		for api_list_each (c, &spec->init_containers)
			look(&qos, &c->resources);
	}
	return !qos.any ? CORE_V1_POD_QOS_CLASS_BEST_EFFORT : qos.guaranteed ? CORE_V1_POD_QOS_CLASS_GUARANTEED : CORE_V1_POD_QOS_CLASS_BURSTABLE;
}
