/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/admission/usage.h"
#include "apiserver/admission/admission.h"
#include "apiserver/rest/partial.h"

#include <errno.h>

static void add(struct arena *arena, struct api_quantity_map *map, const char *name, const struct quantity *q) {
	struct quantity *sum = api_quantity_get(map, name);
	if (sum)
		quantity_add(sum, q);
	else
		api_quantity_set(arena, map, name, *q);
}

static void add_count(struct arena *arena, struct api_quantity_map *map, const char *name, int64_t count) {
	struct quantity q = quantity_of(count, QUANTITY_DECIMAL_SI);
	add(arena, map, name, &q);
}

/* ---- pods ---- */

static bool is_done(const struct core_v1_pod *pod) {
	return str_equal(pod->status.phase, "Failed") || str_equal(pod->status.phase, "Succeeded");
}

static void max_map(struct arena *arena, struct api_quantity_map *to, const struct api_quantity_map *from) {
	for (uint32_t i = 0; i < from->len; i++) {
		const struct quantity *there = api_quantity_get(to, from->items[i].key);
		if (!there || quantity_compare(&from->items[i].value, there) > 0)
			api_quantity_set(arena, to, from->items[i].key, from->items[i].value);
	}
}

static void sum_map(struct arena *arena, struct api_quantity_map *to, const struct api_quantity_map *from) {
	for (uint32_t i = 0; i < from->len; i++)
		add(arena, to, from->items[i].key, &from->items[i].value);
}

/* Containers together, or the largest init container where that is more; sidecars run beside all that follow them. */
static void pod_total(struct arena *arena, const struct core_v1_pod *pod, bool limits, struct api_quantity_map *total) {
	for (uint32_t i = 0; i < pod->spec.containers.len; i++) {
		const struct core_v1_resource_requirements *r = &pod->spec.containers.items[i].resources;
		sum_map(arena, total, limits ? &r->limits : &r->requests);
	}
	struct api_quantity_map sidecars = {0}, largest = {0};
	for (uint32_t i = 0; i < pod->spec.init_containers.len; i++) {
		const struct core_v1_container *c = &pod->spec.init_containers.items[i];
		const struct api_quantity_map *map = limits ? &c->resources.limits : &c->resources.requests;
		if (str_equal(c->restart_policy, "Always")) {
			sum_map(arena, total, map);
			sum_map(arena, &sidecars, map);
			max_map(arena, &largest, &sidecars);
		} else {
			struct api_quantity_map with = {0};
			sum_map(arena, &with, &sidecars);
			sum_map(arena, &with, map);
			max_map(arena, &largest, &with);
		}
	}
	max_map(arena, total, &largest);
	/* What the pod asks for as a whole goes before the sum of its containers. */
	const struct api_quantity_map *whole = !pod->spec.resources ? NULL : limits ? &pod->spec.resources->limits : &pod->spec.resources->requests;
	for (uint32_t i = 0; whole && i < whole->len; i++)
		api_quantity_set(arena, total, whole->items[i].key, whole->items[i].value);
	sum_map(arena, total, &pod->spec.overhead);
}

void usage_pod_requests(struct arena *arena, const struct core_v1_pod *pod, struct api_quantity_map *ret) {
	*ret = (struct api_quantity_map){0};
	pod_total(arena, pod, false, ret);
}

static bool is_compute(const char *name) {
	return strcmp(name, "cpu") == 0 || strcmp(name, "memory") == 0 || strcmp(name, "ephemeral-storage") == 0 || str_starts_with(name, "hugepages-");
}

static void pod_usage(struct arena *arena, const struct core_v1_pod *pod, struct api_quantity_map *usage) {
	add_count(arena, usage, "count/pods", 1);
	if (is_done(pod))
		return;
	struct api_quantity_map requests = {0}, limits = {0};
	add_count(arena, usage, "pods", 1);
	pod_total(arena, pod, false, &requests);
	pod_total(arena, pod, true, &limits);
	for (uint32_t i = 0; i < requests.len; i++) {
		const char *name = requests.items[i].key;
		if (is_compute(name))
			add(arena, usage, name, &requests.items[i].value);
		add(arena, usage, arena_printf(arena, "requests.%s", name), &requests.items[i].value);
	}
	for (uint32_t i = 0; i < limits.len; i++)
		if (is_compute(limits.items[i].key))
			add(arena, usage, arena_printf(arena, "limits.%s", limits.items[i].key), &limits.items[i].value);
}

/* ---- others ---- */

static void service_usage(struct arena *arena, const struct core_v1_service *service, struct api_quantity_map *usage) {
	add_count(arena, usage, "count/services", 1);
	add_count(arena, usage, "services", 1);
	bool balancer = str_equal(service->spec.type, "LoadBalancer");
	int64_t ports = 0;
	if (str_equal(service->spec.type, "NodePort") || (balancer && (!service->spec.allocate_load_balancer_node_ports || *service->spec.allocate_load_balancer_node_ports)))
		ports = service->spec.ports.len;
	else if (balancer)
		for (uint32_t i = 0; i < service->spec.ports.len; i++)
			ports += service->spec.ports.items[i].node_port != 0;
	add_count(arena, usage, "services.loadbalancers", balancer ? 1 : 0);
	add_count(arena, usage, "services.nodeports", ports);
}

static void claim_usage(struct arena *arena, const struct core_v1_persistent_volume_claim *claim, struct api_quantity_map *usage) {
	add_count(arena, usage, "count/persistentvolumeclaims", 1);
	add_count(arena, usage, "persistentvolumeclaims", 1);
	const struct quantity *storage = api_quantity_get(&claim->spec.resources.requests, "storage");
	const char *class = claim->spec.storage_class_name;
	if (!str_empty(class))
		add_count(arena, usage, arena_printf(arena, "%s.storageclass.storage.k8s.io/persistentvolumeclaims", class), 1);
	if (!storage)
		return;
	add(arena, usage, "requests.storage", storage);
	if (!str_empty(class))
		add(arena, usage, arena_printf(arena, "%s.storageclass.storage.k8s.io/requests.storage", class), storage);
}

static void object_usage(struct write *w, const void *object, struct api_quantity_map *usage) {
	static const char *const plain[] = {"replicationcontrollers", "resourcequotas", "secrets", "configmaps"};
	struct arena *arena = w->arena;
	const char *plural = w->resource->api->plural, *group = resource_group(w->resource);
	if (!*group && strcmp(plural, "pods") == 0) {
		pod_usage(arena, object, usage);
	} else if (!*group && strcmp(plural, "services") == 0) {
		service_usage(arena, object, usage);
	} else if (!*group && strcmp(plural, "persistentvolumeclaims") == 0) {
		claim_usage(arena, object, usage);
	} else {
		add_count(arena, usage, *group ? arena_printf(arena, "count/%s.%s", plural, group) : arena_printf(arena, "count/%s", plural), 1);
		for (size_t i = 0; !*group && i < array_len(plain); i++)
			if (strcmp(plain[i], plural) == 0)
				add_count(arena, usage, plural, 1);
	}
}

void usage_delta(struct write *w, struct api_quantity_map *ret) {
	struct api_quantity_map now = {0}, before = {0}, delta = {0};
	object_usage(w, w->object, &now);
	if (!w->created && w->old)
		object_usage(w, w->old, &before);
	for (uint32_t i = 0; i < now.len; i++) {
		struct quantity q = now.items[i].value;
		const struct quantity *was = api_quantity_get(&before, now.items[i].key);
		if (was)
			quantity_sub(&q, was);
		if (!quantity_is_zero(&q))
			api_quantity_set(w->arena, &delta, now.items[i].key, q);
	}
	/* An update that takes less is left to the controller, which knows when it really has. */
	if (!w->created)
		for (uint32_t i = delta.len; i-- > 0;)
			if (delta.items[i].value.nano < 0)
				api_list_remove(&delta, i);
	*ret = delta;
}

/* ---- scopes ---- */

static bool term_crosses(const struct core_v1_pod_affinity_term *term) {
	return term->namespaces.len || term->namespace_selector;
}

static bool terms_cross(const struct core_v1_pod_affinity_term_array *required, const struct core_v1_weighted_pod_affinity_term_array *preferred) {
	for (uint32_t i = 0; i < required->len; i++)
		if (term_crosses(&required->items[i]))
			return true;
	for (uint32_t i = 0; i < preferred->len; i++)
		if (term_crosses(&preferred->items[i].pod_affinity_term))
			return true;
	return false;
}

/* Whether it asks about pods of other namespaces. */
static bool has_cross_affinity(const struct core_v1_pod *pod) {
	const struct core_v1_pod_affinity *with = pod->spec.affinity ? pod->spec.affinity->pod_affinity : NULL;
	const struct core_v1_pod_anti_affinity *without = pod->spec.affinity ? pod->spec.affinity->pod_anti_affinity : NULL;
	return (with && terms_cross(&with->required_during_scheduling_ignored_during_execution, &with->preferred_during_scheduling_ignored_during_execution)) ||
	       (without && terms_cross(&without->required_during_scheduling_ignored_during_execution, &without->preferred_during_scheduling_ignored_during_execution));
}

static bool one_scope(const struct core_v1_pod *pod, const char *scope) {
	bool best_effort = strcmp(pod_qos_class(&pod->spec), "BestEffort") == 0;
	if (strcmp(scope, "BestEffort") == 0)
		return best_effort;
	if (strcmp(scope, "NotBestEffort") == 0)
		return !best_effort;
	if (strcmp(scope, "Terminating") == 0)
		return pod->spec.active_deadline_seconds != NULL;
	if (strcmp(scope, "NotTerminating") == 0)
		return pod->spec.active_deadline_seconds == NULL;
	if (strcmp(scope, "CrossNamespacePodAffinity") == 0)
		return has_cross_affinity(pod);
	return strcmp(scope, "PriorityClass") == 0 && !str_empty(pod->spec.priority_class_name);
}

static bool matches_expression(const struct core_v1_pod *pod, const struct core_v1_scoped_resource_selector_requirement *r) {
	if (!str_equal(r->scope_name, "PriorityClass"))
		return one_scope(pod, str_or(r->scope_name, ""));
	const char *class = str_or(pod->spec.priority_class_name, "");
	bool in = *class && api_string_list_has(&r->values, class);
	if (str_equal(r->operator, "In"))
		return in;
	if (str_equal(r->operator, "NotIn"))
		return !in;
	return str_equal(r->operator, "Exists") ? *class != '\0' : *class == '\0';
}

/* Claims have one scope of their own. */
static bool claim_in_scope(const struct core_v1_persistent_volume_claim *claim, const struct core_v1_resource_quota *quota) {
	const char *classes[] = {claim->spec.volume_attributes_class_name, claim->status.current_volume_attributes_class_name, claim->status.modify_volume_status ? claim->status.modify_volume_status->target_volume_attributes_class_name : NULL};
	const struct core_v1_scope_selector *selector = quota->spec.scope_selector;
	bool any = false;
	for (size_t i = 0; i < array_len(classes); i++)
		any |= !str_empty(classes[i]);
	for (uint32_t i = 0; i < quota->spec.scopes.len; i++)
		if (strcmp(quota->spec.scopes.items[i], "VolumeAttributesClass") != 0 || !any)
			return false;
	for (uint32_t i = 0; selector && i < selector->match_expressions.len; i++) {
		const struct core_v1_scoped_resource_selector_requirement *e = &selector->match_expressions.items[i];
		bool in = false;
		for (size_t c = 0; c < array_len(classes); c++)
			in |= !str_empty(classes[c]) && api_string_list_has(&e->values, classes[c]);
		bool holds = str_equal(e->operator, "In") ? in : str_equal(e->operator, "NotIn") ? !in : str_equal(e->operator, "DoesNotExist") ? !any : any;
		if (!str_equal(e->scope_name, "VolumeAttributesClass") || !holds)
			return false;
	}
	return true;
}

bool usage_in_scope(struct write *w, const struct core_v1_resource_quota *quota) {
	bool pods = admission_is(w, "", "pods", NULL);
	if (admission_is(w, "", "persistentvolumeclaims", NULL))
		return claim_in_scope(w->object, quota);
	bool scoped = quota->spec.scopes.len || quota->spec.scope_selector;
	if (!scoped || !pods)
		return !scoped;
	for (uint32_t i = 0; i < quota->spec.scopes.len; i++)
		if (!one_scope(w->object, quota->spec.scopes.items[i]))
			return false;
	const struct core_v1_scope_selector *selector = quota->spec.scope_selector;
	for (uint32_t i = 0; selector && i < selector->match_expressions.len; i++)
		if (!matches_expression(w->object, &selector->match_expressions.items[i]))
			return false;
	return true;
}

int usage_check_required(struct write *w, const struct core_v1_resource_quota *quota, struct error *err) {
	static const struct { const char *hard, *name; bool limit; } rules[] = {
		{"cpu", "cpu", false}, {"memory", "memory", false}, {"requests.cpu", "cpu", false}, {"requests.memory", "memory", false}, {"limits.cpu", "cpu", true}, {"limits.memory", "memory", true},
	};
	if (!admission_is(w, "", "pods", NULL) || !w->created)
		return 0;
	const struct core_v1_pod *pod = w->object;
	autobuf struct buf missing = BUF_INIT(64 << 10);
	for (size_t i = 0; i < array_len(rules); i++) {
		if (!api_quantity_get(&quota->spec.hard, rules[i].hard))
			continue;
		for (uint32_t c = 0; c < pod->spec.containers.len; c++) {
			const struct core_v1_resource_requirements *r = &pod->spec.containers.items[c].resources;
			if (!api_quantity_get(rules[i].limit ? &r->limits : &r->requests, rules[i].name))
				buf_printf(&missing, "%s%s for: %s", missing.len ? "; " : "", rules[i].hard, pod->spec.containers.items[c].name);
		}
	}
	if (!missing.len)
		return 0;
	return error_forbidden(err, w->resource, admission_name(w), "failed quota: %s: must specify %s", quota->metadata.name, missing.data);
}
