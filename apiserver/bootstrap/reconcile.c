/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects of an earlier version, or that somebody has changed, at the start of a server: RBAC's get back the permissions and subjects that are
 * missing, never lose any; flow control's get their spec back; both only where their annotations let us.
 */
#include "apiserver/authz/authz.h"
#include "apiserver/bootstrap/internal.h"
#include "api/flowcontrol_v1.h"
#include "api/meta_v1.h"
#include "api/networking_v1.h"
#include "api/rbac_v1.h"
#include "common/base/log.h"

#include <errno.h>

#define RBAC_AUTOUPDATE "rbac.authorization.kubernetes.io/autoupdate"
#define FLOW_AUTOUPDATE "apf.kubernetes.io/autoupdate-spec"

/* ---- RBAC ---- */

/* Labels and annotations that are missing; those there keep their values. */
static bool add_metadata(struct meta_v1_object_meta *meta, const struct meta_v1_object_meta *wanted, struct arena *arena) {
	bool changed = false;
	struct { struct api_string_map *to; const struct api_string_map *from; } maps[] = {{&meta->labels, &wanted->labels}, {&meta->annotations, &wanted->annotations}};
	for (size_t m = 0; m < array_len(maps); m++)
		for (uint32_t i = 0; i < maps[m].from->len; i++)
			if (!api_map_get(maps[m].to, maps[m].from->items[i].key)) {
				api_map_set(arena, maps[m].to, arena_strdup(arena, maps[m].from->items[i].key), arena_strdup(arena, maps[m].from->items[i].value));
				changed = true;
			}
	return changed;
}

static bool any_allows(const struct rbac_v1_policy_rule_array *rules, const struct authz_attributes *a) {
	for (uint32_t i = 0; i < rules->len; i++)
		if (rbac_rule_allows(&rules->items[i], a))
			return true;
	return false;
}

static bool resource_is_covered(const struct rbac_v1_policy_rule_array *rules, const struct rbac_v1_policy_rule *rule, const char *verb, const char *group, const char *resource) {
	const char *slash = strchr(resource, '/');
	autofree char *plural = slash ? xstrndup(resource, (size_t)(slash - resource)) : xstrdup(resource);
	struct authz_attributes a = {.verb = verb, .is_resource = true, .group = group, .version = "*", .resource = plural, .subresource = slash ? slash + 1 : NULL};
	for (uint32_t n = 0; n < rule->resource_names.len; n++) {
		a.name = rule->resource_names.items[n];
		if (!any_allows(rules, &a))
			return false;
	}
	return rule->resource_names.len || any_allows(rules, &a);
}

/* True where `rules` together allow all that the rule does. */
static bool is_covered(const struct rbac_v1_policy_rule_array *rules, const struct rbac_v1_policy_rule *rule) {
	for (uint32_t v = 0; v < rule->verbs.len; v++) {
		for (uint32_t i = 0; i < rule->non_resource_urls.len; i++)
			if (!any_allows(rules, &(struct authz_attributes){.verb = rule->verbs.items[v], .path = rule->non_resource_urls.items[i]}))
				return false;
		for (uint32_t g = 0; g < rule->api_groups.len; g++)
			for (uint32_t i = 0; i < rule->resources.len; i++)
				if (!resource_is_covered(rules, rule, rule->verbs.items[v], rule->api_groups.items[g], rule->resources.items[i]))
					return false;
	}
	return true;
}

static bool add_rules(struct rbac_v1_policy_rule_array *rules, const struct rbac_v1_policy_rule_array *wanted, struct arena *arena) {
	bool changed = false;
	for (uint32_t i = 0; i < wanted->len; i++) {
		if (is_covered(rules, &wanted->items[i]))
			continue;
		api_copy_value(&rbac_v1_policy_rule_type, api_list_add(arena, rules), &wanted->items[i], arena);
		changed = true;
	}
	return changed;
}

static bool add_selectors(struct rbac_v1_cluster_role *role, const struct rbac_v1_cluster_role *wanted, struct arena *arena) {
	bool changed = false;
	if (!wanted->aggregation_rule)
		return false;
	if (!role->aggregation_rule) {
		role->aggregation_rule = arena_new_type(arena, __typeof__(*role->aggregation_rule));
		changed = true;
	}
	for (uint32_t i = 0; i < wanted->aggregation_rule->cluster_role_selectors.len; i++) {
		const struct meta_v1_label_selector *selector = &wanted->aggregation_rule->cluster_role_selectors.items[i];
		bool found = false;
		for (uint32_t n = 0; n < role->aggregation_rule->cluster_role_selectors.len && !found; n++)
			found = api_equal(&meta_v1_label_selector_type, selector, &role->aggregation_rule->cluster_role_selectors.items[n]);
		if (found)
			continue;
		api_copy_value(&meta_v1_label_selector_type, api_list_add(arena, &role->aggregation_rule->cluster_role_selectors), selector, arena);
		changed = true;
	}
	return changed;
}

static bool add_subjects(struct rbac_v1_subject_array *subjects, const struct rbac_v1_subject_array *wanted, struct arena *arena) {
	bool changed = false;
	for (uint32_t i = 0; i < wanted->len; i++) {
		bool found = false;
		for (uint32_t n = 0; n < subjects->len && !found; n++)
			found = api_equal(&rbac_v1_subject_type, &wanted->items[i], &subjects->items[n]);
		if (found)
			continue;
		api_copy_value(&rbac_v1_subject_type, api_list_add(arena, subjects), &wanted->items[i], arena);
		changed = true;
	}
	return changed;
}

static bool change_cluster_role(void *object, const void *wanted, struct arena *arena) {
	struct rbac_v1_cluster_role *role = object;
	const struct rbac_v1_cluster_role *model = wanted;
	bool changed = add_metadata(&role->metadata, &model->metadata, arena);
	/* The rules of one that aggregates are its controller's. */
	if (!model->aggregation_rule && !role->aggregation_rule)
		changed |= add_rules(&role->rules, &model->rules, arena);
	return add_selectors(role, model, arena) || changed;
}

static bool change_role(void *object, const void *wanted, struct arena *arena) {
	struct rbac_v1_role *role = object;
	const struct rbac_v1_role *model = wanted;
	bool changed = add_metadata(&role->metadata, &model->metadata, arena);
	return add_rules(&role->rules, &model->rules, arena) || changed;
}

/* Both kinds of binding have the same shape. */
static bool change_binding(void *object, const void *wanted, struct arena *arena) {
	struct rbac_v1_cluster_role_binding *binding = object;
	const struct rbac_v1_cluster_role_binding *model = wanted;
	bool changed = add_metadata(&binding->metadata, &model->metadata, arena);
	return add_subjects(&binding->subjects, &model->subjects, arena) || changed;
}
_Static_assert(offsetof(struct rbac_v1_cluster_role_binding, subjects) == offsetof(struct rbac_v1_role_binding, subjects), "a binding is a binding");
_Static_assert(offsetof(struct rbac_v1_cluster_role_binding, role_ref) == offsetof(struct rbac_v1_role_binding, role_ref), "a binding is a binding");

/* A binding's role cannot be changed: where it names another, it is made anew. */
static int replace_binding(struct worker *worker, const struct resource *resource, void *wanted, const void *there) {
	const struct meta_v1_object_meta *meta = api_metadata(there);
	autofree char *key = resource->api->namespaced ? xprintf("%s/%s", meta->namespace, meta->name) : xstrdup(meta->name);
	int rc = worker_delete(worker, resource->collection, key, worker_revision(there));
	return rc < 0 ? rc : bootstrap_put(worker, resource, wanted);
}

/* ---- flow control ---- */

/* "true" or "false" as its owner has said; unsaid, one that nobody has changed is ours. */
static bool keeps_itself(const struct meta_v1_object_meta *meta) {
	const char *said = api_map_get(&meta->annotations, FLOW_AUTOUPDATE);
	return said ? str_equal(said, "true") : meta->generation == 1;
}

static bool is_mandatory(const char *name) {
	return str_equal(name, "exempt") || str_equal(name, "catch-all");
}

static bool change_flow(void *object, const void *wanted, struct arena *arena) {
	struct meta_v1_object_meta *meta = api_metadata(object);
	const char *annotation = is_mandatory(meta->name) || keeps_itself(meta) ? "true" : "false";
	bool changed = false;
	if (!str_equal(api_map_get(&meta->annotations, FLOW_AUTOUPDATE), annotation)) {
		api_map_set(arena, &meta->annotations, FLOW_AUTOUPDATE, annotation);
		changed = true;
	}
	bool exempt_level = api_type_of(object) == &flowcontrol_v1_priority_level_configuration_type && str_equal(meta->name, "exempt");
	bool tuned = exempt_level && str_equal(((struct flowcontrol_v1_priority_level_configuration *)object)->spec.type, "Exempt"); /* its shares are the operator's */
	if (strcmp(annotation, "true") == 0 && !tuned && !api_field_equal(object, wanted, "spec")) {
		api_field_copy(object, wanted, "spec");
		meta->generation++;
		changed = true;
	}
	return changed;
}

/* ---- the default ServiceCIDR ---- */

/* In Kubernetes a controller says that it is ready, by an apply; others look for it under that name. */
#define READY_FIELDS "{\"f:status\":{\"f:conditions\":{\"k:{\\\"type\\\":\\\"Ready\\\"}\":{\".\":{},\"f:lastTransitionTime\":{},\"f:message\":{},\"f:status\":{},\"f:type\":{}}}}}"

static bool change_service_cidr(void *object, const void *wanted, struct arena *arena) {
	struct networking_v1_service_cidr *cidr = object;
	const struct networking_v1_service_cidr *model = wanted;
	bool changed = false;
	if (cidr->metadata.deletion_timestamp.set)
		return false;
	if (model->spec.cidrs.len == 2 && cidr->spec.cidrs.len == 1 && strcmp(model->spec.cidrs.items[0], cidr->spec.cidrs.items[0]) == 0) {
		/* The cluster has got a second stack. */
		api_string_list_add(arena, &cidr->spec.cidrs, arena_strdup(arena, model->spec.cidrs.items[1]));
		changed = true;
	}
	if (!api_field_equal(object, wanted, "spec")) {
		log_warning("the default ServiceCIDR is not what --service-cluster-ip-range says", LOG_STR("given", model->spec.cidrs.len ? model->spec.cidrs.items[0] : ""));
		return changed;
	}
	for (uint32_t i = 0; i < cidr->status.conditions.len; i++)
		if (str_equal(cidr->status.conditions.items[i].type, "Ready") && !str_equal(cidr->status.conditions.items[i].status, "Unknown"))
			return changed;
	struct meta_v1_condition *ready = NULL;
	for (uint32_t i = 0; i < cidr->status.conditions.len; i++)
		if (str_equal(cidr->status.conditions.items[i].type, "Ready"))
			ready = &cidr->status.conditions.items[i];
	if (!ready)
		ready = api_list_add(arena, &cidr->status.conditions);
	*ready = (struct meta_v1_condition){.type = "Ready", .status = "True", .message = "Kubernetes default Service CIDR is ready", .reason = "", .last_transition_time = api_time_now()};
	worker_own_status(object, "kubernetes-service-cidr-controller", "Apply", "networking.k8s.io/v1", READY_FIELDS);
	return true;
}

/* ---- rows ---- */

static const struct reconcile_row {
	const struct api_type *type;
	const char *veto; /* annotation that says "false" where the object is to be left alone */
	bool (*change)(void *object, const void *wanted, struct arena *arena); /* true where it changed something */
	bool binding;
} rows[] = {
	{&rbac_v1_cluster_role_type, RBAC_AUTOUPDATE, change_cluster_role, false},
	{&rbac_v1_role_type, RBAC_AUTOUPDATE, change_role, false},
	{&rbac_v1_cluster_role_binding_type, RBAC_AUTOUPDATE, change_binding, true},
	{&rbac_v1_role_binding_type, RBAC_AUTOUPDATE, change_binding, true},
	{&flowcontrol_v1_flow_schema_type, NULL, change_flow, false},
	{&flowcontrol_v1_priority_level_configuration_type, NULL, change_flow, false},
	{&networking_v1_service_cidr_type, NULL, change_service_cidr, false},
};

int bootstrap_reconcile(struct worker *worker, const struct resource *resource, void *wanted, const void *there) {
	for (size_t i = 0; i < array_len(rows); i++) {
		const struct reconcile_row *row = &rows[i];
		if (row->type != api_type_of(there))
			continue;
		const struct meta_v1_object_meta *meta = api_metadata(there);
		if (row->veto && str_equal(api_map_get(&meta->annotations, row->veto), "false"))
			return 0;
		if (row->binding && !api_field_equal(wanted, there, "roleRef"))
			return replace_binding(worker, resource, wanted, there);
		api_default(wanted);
		autounref void *copy = api_copy(there);
		if (!row->change(copy, wanted, api_arena(copy)))
			return 0;
		return worker_put_object(worker, resource, copy, worker_revision(there));
	}
	return 0;
}
