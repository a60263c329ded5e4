/* SPDX-License-Identifier: Apache-2.0 */
/* Pods. */
#include "apiserver/rest/write.h"
#include "apiserver/strategy/table.h"
#include "api/core_v1.h"
#include "common/api/codec.h"
#include "common/pod/resources.h"

/* A negative one, which once asked for an end at once, is taken as the shortest. */
static void pod_set_grace(struct core_v1_pod *pod) {
	if (pod->spec.termination_grace_period_seconds && *pod->spec.termination_grace_period_seconds < 0)
		*pod->spec.termination_grace_period_seconds = 1;
}

static void pod_prepare_update(struct request *r, void *object, const void *old) {
	pod_set_grace(object);
}

/* ---- labels that a selector takes over from the pod ---- */

static void add_keys(struct arena *arena, struct meta_v1_label_selector *selector, const struct api_string_list *keys, const char *operator, const struct api_string_map *labels) {
	for (uint32_t i = 0; i < keys->len; i++) {
		const char *value = api_map_get(labels, keys->items[i]);
		if (!value)
			continue;
		struct meta_v1_label_selector_requirement *requirement = api_list_add(arena, &selector->match_expressions);
		requirement->key = keys->items[i];
		requirement->operator = operator;
		api_string_list_add(arena, &requirement->values, value);
	}
}

static void complete_term(struct arena *arena, struct core_v1_pod_affinity_term *term, const struct api_string_map *labels) {
	if (!term->label_selector)
		return;
	add_keys(arena, term->label_selector, &term->match_label_keys, "In", labels);
	add_keys(arena, term->label_selector, &term->mismatch_label_keys, "NotIn", labels);
}

static void complete_selectors(struct core_v1_pod *pod) {
	struct arena *arena = api_arena(pod);
	const struct api_string_map *labels = &pod->metadata.labels;
	const struct core_v1_affinity *affinity = pod->spec.affinity;
	if (affinity && affinity->pod_affinity) {
		for api_list_each (weighted, &affinity->pod_affinity->preferred_during_scheduling_ignored_during_execution)
			complete_term(arena, &weighted->pod_affinity_term, labels);
		for api_list_each (term, &affinity->pod_affinity->required_during_scheduling_ignored_during_execution)
			complete_term(arena, term, labels);
	}
	if (affinity && affinity->pod_anti_affinity) {
		for api_list_each (weighted, &affinity->pod_anti_affinity->preferred_during_scheduling_ignored_during_execution)
			complete_term(arena, &weighted->pod_affinity_term, labels);
		for api_list_each (term, &affinity->pod_anti_affinity->required_during_scheduling_ignored_during_execution)
			complete_term(arena, term, labels);
	}
	for api_list_each (spread, &pod->spec.topology_spread_constraints)
		if (spread->label_selector)
			add_keys(arena, spread->label_selector, &spread->match_label_keys, "In", labels);
}

/* ---- profiles of AppArmor, which once were annotations ---- */

#define APPARMOR "container.apparmor.security.beta.kubernetes.io/"

/* False where an annotation's profile cannot be told in the field. */
static bool profile_of(const char *annotation, struct core_v1_app_armor_profile *ret) {
	const char *local = str_starts_with(annotation, "localhost/") ? annotation + strlen("localhost/") : NULL;
	*ret = (struct core_v1_app_armor_profile){0};
	if (strcmp(annotation, "unconfined") == 0)
		ret->type = CORE_V1_APP_ARMOR_PROFILE_TYPE_UNCONFINED;
	else if (strcmp(annotation, "runtime/default") == 0)
		ret->type = CORE_V1_APP_ARMOR_PROFILE_TYPE_RUNTIME_DEFAULT;
	else if (local && *local && !strchr(" \t\r\n", *local) && !strchr(" \t\r\n", local[strlen(local) - 1]) && strlen(local) <= 4095)
		*ret = (struct core_v1_app_armor_profile){.type = CORE_V1_APP_ARMOR_PROFILE_TYPE_LOCALHOST, .localhost_profile = local};
	return ret->type;
}

static void follow_annotation(struct request *r, struct core_v1_pod *pod, const char *name, struct core_v1_security_context **sc) {
	struct arena *arena = api_arena(pod);
	autofree char *key = xprintf(APPARMOR "%s", str_or(name, ""));
	const char *annotation = api_map_get(&pod->metadata.annotations, key);
	if (!annotation || (*sc && (*sc)->app_armor_profile))
		return;
	const struct core_v1_app_armor_profile *whole = pod->spec.security_context ? pod->spec.security_context->app_armor_profile : NULL;
	struct core_v1_app_armor_profile profile;
	bool known = profile_of(annotation, &profile);
	if (known && whole && api_equal(&core_v1_app_armor_profile_type, &profile, whole))
		return;
	if (known) {
		if (!*sc)
			*sc = arena_new_type(arena, struct core_v1_security_context);
		(*sc)->app_armor_profile = arena_new_type(arena, struct core_v1_app_armor_profile);
		*(*sc)->app_armor_profile = profile;
	}
	request_warn(r, "metadata.annotations[%s]: deprecated since v1.30; use the \"appArmorProfile\" field instead", key);
}

static void follow_annotations(struct request *r, struct core_v1_pod *pod) {
	if (!pod->metadata.annotations.len || (pod->spec.os && str_equal(pod->spec.os->name, "windows")))
		return;
	for api_list_each (c, &pod->spec.init_containers)
		follow_annotation(r, pod, c->name, &c->security_context);
	for api_list_each (c, &pod->spec.containers)
		follow_annotation(r, pod, c->name, &c->security_context);
	for api_list_each (c, &pod->spec.ephemeral_containers)
		follow_annotation(r, pod, c->name, &c->security_context);
}

/* ---- writes ---- */

static void pod_prepare_create(struct request *r, void *object) {
	struct core_v1_pod *pod = object;
	pod->status = (struct core_v1_pod_status){.phase = "Pending", .qos_class = pod_qos_class(&pod->spec)};
	pod_set_grace(pod);
	complete_selectors(pod);
	follow_annotations(r, pod);
	if (pod->spec.scheduling_gates.len) {
		struct core_v1_pod_condition *condition = api_list_add(api_arena(object), &pod->status.conditions);
		condition->type = "PodScheduled";
		condition->status = "False";
		condition->reason = "SchedulingGated";
		condition->last_transition_time = api_time_now();
		condition->message = "Scheduling is blocked due to non-empty scheduling gates";
	}
}

/* How long a pod gets to end: as asked, else its own; at once where it never ran or has ended. */
static bool pod_graceful_delete(const void *object, int64_t *grace) {
	const struct core_v1_pod *pod = object;
	int64_t period = *grace;
	if (period < 0)
		period = pod->spec.termination_grace_period_seconds ? *pod->spec.termination_grace_period_seconds : 30;
	if (str_empty(pod->spec.node_name) || str_equal(pod->status.phase, "Failed") || str_equal(pod->status.phase, "Succeeded"))
		period = 0;
	if (period < 0)
		period = 1;
	*grace = period;
	return true;
}

/* podIP is the first of podIPs; where they differ the older field wins. */
static void pod_follow_address(struct core_v1_pod *pod) {
	struct core_v1_pod_status *status = &pod->status;
	if (str_empty(status->pod_ip)) {
		status->pod_ip = status->pod_ips.len ? status->pod_ips.items[0].ip : NULL;
	} else if (!status->pod_ips.len || !str_equal(status->pod_ips.items[0].ip, status->pod_ip)) {
		memset(&status->pod_ips, 0, sizeof(status->pod_ips));
		*api_list_add(api_arena(pod), &status->pod_ips) = (struct core_v1_pod_ip){.ip = status->pod_ip};
	}
}

static void pod_normalize(void *object) {
	pod_follow_address(object);
}

/* A writer that does not know of observed generations does not take them away: conditions of one type keep theirs one by one. */
static void keep_generations(struct core_v1_pod_status *status, const struct core_v1_pod_status *was) {
	if (!status->observed_generation)
		status->observed_generation = was->observed_generation;
	for (uint32_t i = 0; i < status->conditions.len; i++) {
		struct core_v1_pod_condition *condition = &status->conditions.items[i];
		uint32_t before = 0, n = 0;
		for (uint32_t k = 0; k < i; k++)
			before += str_equal(status->conditions.items[k].type, condition->type);
		for (; n < was->conditions.len; n++)
			if (str_equal(was->conditions.items[n].type, condition->type) && !before--)
				break;
		if (!condition->observed_generation && n < was->conditions.len)
			condition->observed_generation = was->conditions.items[n].observed_generation;
	}
}

/* A writer of status that does not know of the class does not take it away. */
static void pod_after_status(struct request *r, void *object, const void *old) {
	struct core_v1_pod *pod = object;
	pod_follow_address(pod);
	keep_generations(&pod->status, &((const struct core_v1_pod *)old)->status);
	if (str_empty(pod->status.qos_class))
		pod->status.qos_class = ((const struct core_v1_pod *)old)->status.qos_class;
}

static const struct strategy pods = {
	.group = "", .plural = "pods",
	.generation = true,
	.status_keeps = STATUS_KEEPS_OWNERS,
	.normalize = pod_normalize,
	.prepare_create = pod_prepare_create,
	.prepare_update = pod_prepare_update,
	.after_status = pod_after_status,
	.graceful_delete = pod_graceful_delete,
};

const struct strategy *const strategies_pods[] = {&pods, NULL};
