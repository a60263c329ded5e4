/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a pod can run on this node at all: what the scheduler saw may be outdated, and static pods have no scheduler. */
#include "kubelet/container/resources.h"
#include "kubelet/device/device.h"
#include "kubelet/node/eviction.h"
#include "kubelet/node/node.h"
#include "kubelet/pod/pod.h"
#include "kubelet/runtime/apparmor.h"
#include "kubelet/container/sysctl.h"

#include <errno.h>

static int reject(struct error *err, const char *reason, const char *message) {
	error_set(err, EPERM, "%s", message);
	free(err->reason);
	err->reason = xstrdup(reason);
	return -EPERM;
}

/* ---- labels ---- */

static bool match_requirement(const struct core_v1_node_selector_requirement *r, const char *have) {
	bool in = have && api_string_list_has(&r->values, have);
	int64_t a, b;
	if (str_equal(r->operator, CORE_V1_NODE_SELECTOR_OPERATOR_IN))
		return in;
	if (str_equal(r->operator, CORE_V1_NODE_SELECTOR_OPERATOR_NOT_IN))
		return !in;
	if (str_equal(r->operator, CORE_V1_NODE_SELECTOR_OPERATOR_EXISTS))
		return have;
	if (str_equal(r->operator, CORE_V1_NODE_SELECTOR_OPERATOR_DOES_NOT_EXIST))
		return !have;
	if (!have || r->values.len != 1 || !str_to_int64(have, INT64_MIN, INT64_MAX, &a) || !str_to_int64(r->values.items[0], INT64_MIN, INT64_MAX, &b))
		return false;
	return str_equal(r->operator, CORE_V1_NODE_SELECTOR_OPERATOR_GT) ? a > b : str_equal(r->operator, CORE_V1_NODE_SELECTOR_OPERATOR_LT) ? a < b : false;
}

static bool match_term(const struct core_v1_node_selector_term *term, const struct core_v1_node *node) {
	if (!term->match_expressions.len && !term->match_fields.len)
		return false;
	for api_list_each (r, &term->match_expressions)
		if (!match_requirement(r, api_map_get(&node->metadata.labels, r->key)))
			return false;
	for api_list_each (r, &term->match_fields)
		if (!str_equal(r->key, "metadata.name") || !match_requirement(r, node->metadata.name))
			return false;
	return true;
}

static bool match_affinity(const struct core_v1_pod *pod, const struct core_v1_node *node) {
	if (!api_map_contains(&node->metadata.labels, &pod->spec.node_selector))
		return false;
	const struct core_v1_affinity *affinity = pod->spec.affinity;
	const struct core_v1_node_selector *required = affinity && affinity->node_affinity ? affinity->node_affinity->required_during_scheduling_ignored_during_execution : NULL;
	if (!required)
		return true;
	for api_list_each (term, &required->node_selector_terms)
		if (match_term(term, node))
			return true;
	return false;
}

static bool tolerates(const struct core_v1_pod *pod, const struct core_v1_taint *taint) {
	for api_list_each (t, &pod->spec.tolerations) {
		bool exists = str_equal(t->operator, CORE_V1_TOLERATION_OPERATOR_EXISTS);
		if (!str_empty(t->effect) && !str_equal(t->effect, taint->effect))
			continue;
		if (str_empty(t->key) ? exists : (str_equal(t->key, taint->key) && (exists || str_equal(t->value, taint->value))))
			return true;
	}
	return false;
}

/* ---- what others use ---- */

struct usage {
	const struct core_v1_pod *pod;
	struct arena *arena;
	struct api_quantity_map used;
	int64_t pods;
	bool port_taken;
};

static bool ports_clash(const struct core_v1_container_port *a, const struct core_v1_container_port *b) {
	bool any_a = str_empty(a->host_ip) || str_equal(a->host_ip, "0.0.0.0"), any_b = str_empty(b->host_ip) || str_equal(b->host_ip, "0.0.0.0");
	return a->host_port && a->host_port == b->host_port && str_equal(str_or(a->protocol, "TCP"), str_or(b->protocol, "TCP")) && (any_a || any_b || str_equal(a->host_ip, b->host_ip));
}

static bool pods_clash(const struct core_v1_pod *a, const struct core_v1_pod *b) {
	for api_list_each (ca, &a->spec.containers)
		for api_list_each (pa, &ca->ports)
			for api_list_each (cb, &b->spec.containers)
				for api_list_each (pb, &cb->ports)
					if (ports_clash(pa, pb))
						return true;
	return false;
}

static void count(struct pod *pod, const struct core_v1_pod *object, void *arg) {
	struct usage *usage = arg;
	struct api_quantity_map requests;
	if (str_equal(object->metadata.uid, usage->pod->metadata.uid))
		return;
	usage->pods++;
	usage->port_taken = usage->port_taken || pods_clash(usage->pod, object);
	pod_requests(object, usage->arena, &requests);
	for api_list_each (e, &requests) {
		struct quantity *have = api_quantity_get(&usage->used, e->key);
		if (have)
			quantity_add(have, &e->value);
		else
			api_quantity_set(usage->arena, &usage->used, e->key, e->value);
	}
}

static int check_resources(const struct core_v1_pod *object, const struct core_v1_node *node, struct usage *usage, struct error *err) {
	struct api_quantity_map requests;
	const struct quantity *max_pods = api_quantity_get(&node->status.allocatable, "pods");
	autofree char *message = NULL, *reason = NULL;
	if (max_pods && usage->pods + 1 > quantity_value(max_pods)) {
		message = xprintf("Node didn't have enough resource: pods, requested: 1, used: %lld, capacity: %lld", (long long)usage->pods, (long long)quantity_value(max_pods));
		return reject(err, "OutOfpods", message);
	}
	pod_requests(object, usage->arena, &requests);
	for api_list_each (e, &requests) {
		const struct quantity *capacity = api_quantity_get(&node->status.allocatable, e->key), *used = api_quantity_get(&usage->used, e->key);
		bool milli = str_equal(e->key, "cpu");
		int64_t want = milli ? quantity_milli_value(&e->value) : quantity_value(&e->value), have = !capacity ? 0 : milli ? quantity_milli_value(capacity) : quantity_value(capacity);
		int64_t taken = !used ? 0 : milli ? quantity_milli_value(used) : quantity_value(used);
		/* An extended resource that the node does not name at all is not the kubelet's business. */
		if (want == 0 || want + taken <= have || (!capacity && strchr(e->key, '/')))
			continue;
		reason = xprintf("OutOf%s", e->key);
		message = xprintf("Node didn't have enough resource: %s, requested: %lld, used: %lld, capacity: %lld", e->key, (long long)want, (long long)taken, (long long)have);
		return reject(err, reason, message);
	}
	return 0;
}

static bool asks_for_apparmor(const struct core_v1_app_armor_profile *profile) {
	return profile && !str_equal(profile->type, CORE_V1_APP_ARMOR_PROFILE_TYPE_UNCONFINED);
}

/* Whether it insists on a profile; a pod that says nothing runs without, where there is no AppArmor. */
static bool wants_apparmor(const struct core_v1_pod *object) {
	const struct core_v1_container_array *lists[] = {&object->spec.init_containers, &object->spec.containers};
	if (object->spec.security_context && asks_for_apparmor(object->spec.security_context->app_armor_profile))
		return true;
	for (size_t i = 0; i < array_len(lists); i++)
		for api_list_each (c, lists[i])
			if (c->security_context && asks_for_apparmor(c->security_context->app_armor_profile))
				return true;
	return false;
}

/* Whether there is room for it beside the others. */
static int fits(struct pod *pod, const struct core_v1_pod *object, const struct core_v1_node *node, struct error *err) {
	bool is_static = !str_equal(pod->source, "api");
	autoarena struct arena *arena = arena_new();
	struct usage usage = {.pod = object, .arena = arena};
	/* One at a time, so that two pods do not both take the last of something. */
	pthread_mutex_t *lock = pod_manager_admission_lock(pod->manager);
	pthread_mutex_lock(lock);
	pod_manager_each_active(pod->manager, count, &usage);
	int r = check_resources(object, node, &usage, err);
	if (r == 0 && !match_affinity(object, node))
		r = reject(err, "NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector");
	if (r == 0 && usage.port_taken)
		r = reject(err, "NodePorts", "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports");
	for (uint32_t i = 0; r == 0 && !is_static && i < node->spec.taints.len; i++)
		if (str_equal(node->spec.taints.items[i].effect, CORE_V1_TAINT_EFFECT_NO_EXECUTE) && !tolerates(object, &node->spec.taints.items[i]))
			r = reject(err, "TaintToleration", "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate");
	/* From here it counts, for those that come next. */
	pod->admitted = r == 0;
	pthread_mutex_unlock(lock);
	return r;
}

/* After all else, and without the lock: a plugin may take its time. */
static int take_devices(struct pod *pod, const struct core_v1_pod *object, struct error *err) {
	autoerror struct error problem = {0};
	if (device_manager_allocate(pod->kubelet->devices, object, &problem) == 0)
		return 0;
	pthread_mutex_t *lock = pod_manager_admission_lock(pod->manager);
	pthread_mutex_lock(lock);
	pod->admitted = false;
	pthread_mutex_unlock(lock);
	autofree char *message = xprintf("Allocate failed due to %s, which is unexpected", error_message(&problem));
	return reject(err, "UnexpectedAdmissionError", message);
}

int pod_admit(struct pod *pod, const struct core_v1_pod *object, struct error *err) {
	struct kubelet *kubelet = pod->kubelet;
	autounref struct core_v1_node *node = kubelet->node_informer ? informer_find(kubelet->node_informer, NULL, kubelet->node_name) : NULL;
	if (object->spec.os && str_equal(object->spec.os->name, "windows"))
		return reject(err, "PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS");
	autoerror struct error forbidden = {0};
	if (sysctl_check(object, &kubelet->options.allowed_unsafe_sysctls, &forbidden) < 0)
		return reject(err, "SysctlForbidden", error_message(&forbidden));
	if (!apparmor_is_enabled() && wants_apparmor(object))
		return reject(err, "AppArmor", "Cannot enforce AppArmor: AppArmor is not enabled on the host");
	if (node_shuts_down(kubelet))
		return reject(err, "NodeShutdown", "Pod was rejected as the node is shutting down.");
	if (eviction_admit(kubelet->eviction, object, err) < 0)
		return -EPERM;
	int r = node ? fits(pod, object, node, err) : 0;
	return r < 0 ? r : take_devices(pod, object, err);
}
