/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a pod can run on this node at all: what the scheduler saw may be outdated, and static pods have no scheduler. */
#include "kubelet/container/resources.h"
#include "kubelet/node/eviction.h"
#include "kubelet/node/node.h"
#include "kubelet/pod/pod.h"
#include "kubelet/pod/preempt.h"
#include "kubelet/resource/managers.h"
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

/* What the node has too little of. */
struct shortage {
	const char *resource;
	int64_t want, used, capacity; /* in the units of preempt_want */
};

static size_t find_shortages(const struct core_v1_pod *object, const struct core_v1_node *node, struct usage *usage, struct shortage *out, size_t max) {
	struct api_quantity_map requests;
	size_t count = 0;
	const struct quantity *max_pods = api_quantity_get(&node->status.allocatable, "pods");
	if (max_pods && usage->pods + 1 > quantity_value(max_pods))
		out[count++] = (struct shortage){"pods", 1, usage->pods, quantity_value(max_pods)};
	pod_requests(object, usage->arena, &requests);
	for api_list_each (e, &requests) {
		const struct quantity *capacity = api_quantity_get(&node->status.allocatable, e->key);
		int64_t want = preempt_request(&requests, e->key), used = preempt_request(&usage->used, e->key), have = capacity ? preempt_request(&node->status.allocatable, e->key) : 0;
		/* An extended resource that the node does not name at all is not the kubelet's business. */
		if (want == 0 || want + used <= have || (!capacity && strchr(e->key, '/')) || count == max)
			continue;
		out[count++] = (struct shortage){e->key, want, used, have};
	}
	return count;
}

static int reject_short(const struct shortage *s, struct error *err) {
	autofree char *reason = xprintf("OutOf%s", s->resource);
	autofree char *message = xprintf("Node didn't have enough resource: %s, requested: %lld, used: %lld, capacity: %lld", s->resource, (long long)s->want, (long long)s->used, (long long)s->capacity);
	return reject(err, reason, message);
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

/* One that counted already. */
static int unadmit(struct pod *pod, const char *reason, const char *message, struct error *err) {
	pthread_mutex_t *lock = pod_manager_admission_lock(pod->manager);
	pthread_mutex_lock(lock);
	pod->admitted = false;
	pthread_mutex_unlock(lock);
	return reject(err, reason, message);
}

/* Whether there is room for it beside the others; a critical one makes itself room. */
static int fits(struct pod *pod, const struct core_v1_pod *object, const struct core_v1_node *node, struct error *err) {
	bool is_static = !str_equal(pod->source, "api");
	autoarena struct arena *arena = arena_new();
	struct usage usage = {.pod = object, .arena = arena};
	/* One at a time, so that two pods do not both take the last of something. */
	pthread_mutex_t *lock = pod_manager_admission_lock(pod->manager);
	pthread_mutex_lock(lock);
	pod_manager_each_active(pod->manager, count, &usage);
	struct shortage shortages[PREEMPT_MAX_WANTS];
	struct preempt_want wants[PREEMPT_MAX_WANTS];
	size_t count_short = find_shortages(object, node, &usage, shortages, array_len(shortages));
	bool preempts = count_short && eviction_is_critical(object);
	int r = count_short && !preempts ? reject_short(&shortages[0], err) : 0;
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
	if (r < 0 || !preempts)
		return r;
	for (size_t i = 0; i < count_short; i++)
		wants[i] = (struct preempt_want){shortages[i].resource, shortages[i].want + shortages[i].used - shortages[i].capacity};
	autoerror struct error problem = {0};
	if (preempt_for(pod->kubelet, object, wants, count_short, &problem) == 0)
		return 0;
	autofree char *message = xprintf("Unexpected error while attempting to recover from admission failure: %s", error_message(&problem));
	return unadmit(pod, "UnexpectedAdmissionError", message, err);
}

/* After all else, and without the lock: a plugin may take its time. */
static int take_resources(struct pod *pod, const struct core_v1_pod *object, struct error *err) {
	autoerror struct error problem = {0};
	if (resource_managers_admit(pod->kubelet->managers, object, &problem) == 0)
		return 0;
	return unadmit(pod, problem.reason, error_message(&problem), err);
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
	return r < 0 ? r : take_resources(pod, object, err);
}
