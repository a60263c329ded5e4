/* SPDX-License-Identifier: Apache-2.0 */
#include "common/pod/quota.h"

#include "common/pod/resources.h"

void quota_add_count(struct arena *arena, struct api_quantity_map *usage, const char *name, int64_t n) {
	struct quantity q = quantity_of(n, QUANTITY_DECIMAL_SI);
	api_quantity_add(arena, usage, name, &q);
}

/* ---- usage ---- */

bool quota_pod_has_ended(const struct core_v1_pod *pod) {
	return str_equal(pod->status.phase, CORE_V1_POD_PHASE_FAILED) || str_equal(pod->status.phase, CORE_V1_POD_PHASE_SUCCEEDED);
}

static bool is_compute(const char *name) {
	return !strcmp(name, "cpu") || !strcmp(name, "memory") || !strcmp(name, "ephemeral-storage") || str_starts_with(name, "hugepages-");
}

void quota_pod_usage(struct arena *arena, const struct core_v1_pod *pod, struct api_quantity_map *usage) {
	struct api_quantity_map requests, limits;
	quota_add_count(arena, usage, "pods", 1);
	pod_requests(pod, arena, &requests);
	pod_limits(pod, arena, &limits);
	for api_list_each (e, &requests) {
		if (is_compute(e->key))
			api_quantity_add(arena, usage, e->key, &e->value);
		api_quantity_add(arena, usage, arena_printf(arena, "requests.%s", e->key), &e->value);
	}
	for api_list_each (e, &limits)
		if (is_compute(e->key))
			api_quantity_add(arena, usage, arena_printf(arena, "limits.%s", e->key), &e->value);
}

void quota_service_usage(struct arena *arena, const struct core_v1_service *service, struct api_quantity_map *usage) {
	bool balancer = str_equal(service->spec.type, CORE_V1_SERVICE_TYPE_LOAD_BALANCER);
	bool all = str_equal(service->spec.type, CORE_V1_SERVICE_TYPE_NODE_PORT) ||
		   (balancer && (!service->spec.allocate_load_balancer_node_ports || *service->spec.allocate_load_balancer_node_ports));
	int64_t ports = 0;
	for api_list_each (port, &service->spec.ports)
		ports += all || (balancer && port->node_port);
	quota_add_count(arena, usage, "count/services", 1);
	quota_add_count(arena, usage, "services", 1);
	quota_add_count(arena, usage, "services.loadbalancers", balancer);
	quota_add_count(arena, usage, "services.nodeports", ports);
}

void quota_claim_usage(struct arena *arena, const struct core_v1_persistent_volume_claim *claim, struct api_quantity_map *usage) {
	const struct quantity *storage = api_quantity_get(&claim->spec.resources.requests, "storage");
	const char *class = claim->spec.storage_class_name;
	quota_add_count(arena, usage, "count/persistentvolumeclaims", 1);
	quota_add_count(arena, usage, "persistentvolumeclaims", 1);
	if (!str_empty(class))
		quota_add_count(arena, usage, arena_printf(arena, "%s.storageclass.storage.k8s.io/persistentvolumeclaims", class), 1);
	if (!storage)
		return;
	api_quantity_add(arena, usage, "requests.storage", storage);
	if (!str_empty(class))
		api_quantity_add(arena, usage, arena_printf(arena, "%s.storageclass.storage.k8s.io/requests.storage", class), storage);
}

/* As many as an allocation holds. */
#define ALL_DEVICES 32

static int64_t device_count(const char *mode, int64_t count) {
	if (str_equal(mode, "All"))
		return ALL_DEVICES;
	return str_empty(mode) || str_equal(mode, "ExactCount") ? count : 0;
}

static const char *devices_of(struct arena *arena, const char *class) {
	return arena_printf(arena, "%s" QUOTA_DEVICES, str_or(class, ""));
}

/* Of alternatives the most that any asks for of its class. */
static void add_alternatives(struct arena *arena, const struct resource_v1_device_request *request, struct api_quantity_map *usage) {
	struct api_quantity_map most = {0};
	for api_list_each (one, &request->first_available) {
		const char *name = devices_of(arena, one->device_class_name);
		struct quantity q = quantity_of(device_count(one->allocation_mode, one->count), QUANTITY_DECIMAL_SI);
		const struct quantity *before = api_quantity_get(&most, name);
		if (!before || quantity_compare(&q, before) > 0)
			api_quantity_set(arena, &most, name, q);
	}
	for api_list_each (e, &most)
		api_quantity_add(arena, usage, e->key, &e->value);
}

void quota_resource_claim_usage(struct arena *arena, const struct resource_v1_resource_claim *claim, struct api_quantity_map *usage) {
	quota_add_count(arena, usage, QUOTA_RESOURCE_CLAIMS, 1);
	for api_list_each (request, &claim->spec.devices.requests) {
		if (request->first_available.len)
			add_alternatives(arena, request, usage);
		else if (request->exactly)
			quota_add_count(arena, usage, devices_of(arena, request->exactly->device_class_name), device_count(request->exactly->allocation_mode, request->exactly->count));
	}
}

/* ---- scopes ---- */

static bool terms_cross(const struct core_v1_pod_affinity_term_array *required, const struct core_v1_weighted_pod_affinity_term_array *preferred) {
	for api_list_each (term, required)
		if (term->namespaces.len || term->namespace_selector)
			return true;
	for api_list_each (weighted, preferred)
		if (weighted->pod_affinity_term.namespaces.len || weighted->pod_affinity_term.namespace_selector)
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

/* An operator over a set of values of which the object has some (in: one that is listed). */
static bool holds(const char *operator, bool any, bool in) {
	if (str_equal(operator, "In"))
		return in;
	if (str_equal(operator, "NotIn"))
		return !in;
	return str_equal(operator, "DoesNotExist") ? !any : any;
}

static bool pod_in_scope(const void *object, const char *scope, const char *operator, const struct api_string_list *values) {
	const struct core_v1_pod *pod = object;
	bool terminating = pod->spec.active_deadline_seconds != NULL;
	if (str_equal(scope, "Terminating"))
		return terminating;
	if (str_equal(scope, "NotTerminating"))
		return !terminating;
	bool best_effort = str_equal(pod_qos_class(&pod->spec), CORE_V1_POD_QOS_CLASS_BEST_EFFORT);
	if (str_equal(scope, "BestEffort"))
		return best_effort;
	if (str_equal(scope, "NotBestEffort"))
		return !best_effort;
	if (str_equal(scope, "CrossNamespacePodAffinity"))
		return has_cross_affinity(pod);
	const char *class = pod->spec.priority_class_name;
	return str_equal(scope, "PriorityClass") && holds(operator, !str_empty(class), !str_empty(class) && api_string_list_has(values, class));
}

/* Claims have one scope: the attributes that they ask for, have, or are about to have. */
static bool claim_in_scope(const void *object, const char *scope, const char *operator, const struct api_string_list *values) {
	const struct core_v1_persistent_volume_claim *claim = object;
	const char *classes[] = {claim->spec.volume_attributes_class_name, claim->status.current_volume_attributes_class_name,
				 claim->status.modify_volume_status ? claim->status.modify_volume_status->target_volume_attributes_class_name : NULL};
	bool any = false, in = false;
	for (size_t i = 0; i < array_len(classes); i++) {
		any |= !str_empty(classes[i]);
		in |= !str_empty(classes[i]) && api_string_list_has(values, classes[i]);
	}
	return str_equal(scope, "VolumeAttributesClass") && holds(operator, any, in);
}

bool quota_has_scopes(const struct core_v1_resource_quota *quota) {
	return quota->spec.scopes.len || (quota->spec.scope_selector && quota->spec.scope_selector->match_expressions.len);
}

typedef bool (*in_scope_fn)(const void *object, const char *scope, const char *operator, const struct api_string_list *values);

static bool takes(const struct core_v1_resource_quota *quota, const void *object, in_scope_fn in_scope) {
	for api_list_each (scope, &quota->spec.scopes)
		if (!in_scope(object, *scope, "Exists", NULL))
			return false;
	if (quota->spec.scope_selector)
		for api_list_each (e, &quota->spec.scope_selector->match_expressions)
			if (!in_scope(object, e->scope_name, e->operator, &e->values))
				return false;
	return true;
}

bool quota_takes_pod(const struct core_v1_resource_quota *quota, const struct core_v1_pod *pod) {
	return takes(quota, pod, pod_in_scope);
}

bool quota_takes_claim(const struct core_v1_resource_quota *quota, const struct core_v1_persistent_volume_claim *claim) {
	return takes(quota, claim, claim_in_scope);
}

bool quota_pod_in_scope(const struct core_v1_pod *pod, const char *scope, const char *operator, const struct api_string_list *values) {
	return pod_in_scope(pod, scope, operator, values);
}

bool quota_claim_in_scope(const struct core_v1_persistent_volume_claim *claim, const char *scope, const char *operator, const struct api_string_list *values) {
	return claim_in_scope(claim, scope, operator, values);
}
