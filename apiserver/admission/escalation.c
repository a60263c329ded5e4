/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nobody hands out more than they hold: who writes a role must hold its rules (or may "escalate"), who writes a binding must hold
 * the rules of its role (or may "bind").
 */
#include "apiserver/admission/admission.h"
#include "apiserver/authz/authz.h"
#include "api/rbac_v1.h"

#include <errno.h>

#define RBAC "rbac.authorization.k8s.io"
#define MAX_CHECKS 20000

struct check {
	struct write *w;
	const char *ns;
	unsigned checks;
	struct buf missing;
	size_t missing_count;
};

static bool allowed(struct check *c, const struct authz_attributes *a) {
	const char *reason;
	return !asks_lacking(&c->w->asks) && ++c->checks <= MAX_CHECKS && authz_decide(c->w->r->server->authz, a, &c->w->asks, c->w->arena, &reason) == AUTHZ_ALLOW;
}

static void note(struct check *c, const struct rbac_v1_policy_rule *rule) {
	autobuf struct buf text = BUF_INIT(64 << 10);
	const struct { const char *name; const struct api_string_list *list; } parts[] = {
		{"APIGroups", &rule->api_groups}, {"Resources", &rule->resources}, {"ResourceNames", &rule->resource_names}, {"NonResourceURLs", &rule->non_resource_urls}, {"Verbs", &rule->verbs},
	};
	for (size_t i = 0; i < array_len(parts); i++) {
		if (!parts[i].list->len)
			continue;
		buf_printf(&text, "%s%s:[", text.len ? ", " : "", parts[i].name);
		for (uint32_t n = 0; n < parts[i].list->len; n++)
			buf_printf(&text, "%s\"%s\"", n ? " " : "", parts[i].list->items[n]);
		buf_append_char(&text, ']');
	}
	buf_printf(&c->missing, "%s{%s}", c->missing_count++ ? "\n" : "", text.data ? text.data : "");
}

/* "pods/log" is resource and subresource; "*" stands for itself, so that only who holds "*" passes. */
static bool holds_resource(struct check *c, const char *verb, const char *group, const char *resource, const char *name) {
	const char *slash = strchr(resource, '/');
	struct authz_attributes a = {.user = c->w->r->user, .verb = verb, .is_resource = true, .group = group, .version = "*", .ns = c->ns, .name = name};
	a.resource = slash ? arena_strndup(c->w->arena, resource, (size_t)(slash - resource)) : resource;
	a.subresource = slash ? slash + 1 : NULL;
	return allowed(c, &a);
}

static bool holds(struct check *c, const struct rbac_v1_policy_rule *rule) {
	for (uint32_t v = 0; v < rule->verbs.len; v++) {
		const char *verb = rule->verbs.items[v];
		for (uint32_t i = 0; i < rule->non_resource_urls.len; i++)
			if (!allowed(c, &(struct authz_attributes){.user = c->w->r->user, .verb = verb, .path = rule->non_resource_urls.items[i]}))
				return false;
		for (uint32_t g = 0; g < rule->api_groups.len; g++)
			for (uint32_t i = 0; i < rule->resources.len; i++) {
				if (!rule->resource_names.len && !holds_resource(c, verb, rule->api_groups.items[g], rule->resources.items[i], ""))
					return false;
				for (uint32_t n = 0; n < rule->resource_names.len; n++)
					if (!holds_resource(c, verb, rule->api_groups.items[g], rule->resources.items[i], rule->resource_names.items[n]))
						return false;
			}
	}
	return true;
}

static bool may(struct check *c, const char *verb, const char *resource, const char *name) {
	return allowed(c, &(struct authz_attributes){.user = c->w->r->user, .verb = verb, .is_resource = true, .group = RBAC, .version = "v1", .ns = c->ns, .resource = resource, .name = name});
}

static int verdict(struct check *c, struct error *err) {
	int rc = 0;
	if (c->missing_count)
		rc = error_forbidden(err, c->w->resource, admission_name(c->w), "user \"%s\" (groups=%s) is attempting to grant RBAC permissions not currently held:\n%s", c->w->r->user->name, c->w->r->user->groups && c->w->r->user->groups[0] ? c->w->r->user->groups[0] : "", c->missing.data);
	buf_done(&c->missing);
	return rc;
}

static int check_rules(struct check *c, const struct rbac_v1_policy_rule *rules, uint32_t len, struct error *err) {
	for (uint32_t i = 0; i < len; i++)
		if (!holds(c, &rules[i]))
			note(c, &rules[i]);
	return verdict(c, err);
}

static int check_role(struct check *c, struct error *err) {
	const char *plural = c->w->resource->api->plural, *name = api_metadata(c->w->object)->name;
	bool cluster = strcmp(plural, "clusterroles") == 0;
	if (may(c, "escalate", plural, str_or(name, "")))
		return 0;
	if (c->w->old && !c->w->created && api_field_equal(c->w->object, c->w->old, "rules") && (!cluster || api_field_equal(c->w->object, c->w->old, "aggregationRule")))
		return 0;
	if (!cluster) {
		const struct rbac_v1_role *role = c->w->object;
		return check_rules(c, role->rules.items, role->rules.len, err);
	}
	const struct rbac_v1_cluster_role *role = c->w->object;
	if (role->aggregation_rule) {
		/* What it will grant is open: only who holds everything may. */
		static const char *const all_items[] = {"*"};
		struct api_string_list all = {.items = (const char **)all_items, .len = 1};
		struct rbac_v1_policy_rule everything = {.verbs = all, .api_groups = all, .resources = all};
		return check_rules(c, &everything, 1, err);
	}
	return check_rules(c, role->rules.items, role->rules.len, err);
}

static int check_binding(struct check *c, struct error *err) {
	/* RoleBinding and ClusterRoleBinding are laid out alike. */
	const struct rbac_v1_role_binding *binding = c->w->object;
	if (c->w->old && !c->w->created && api_field_equal(c->w->object, c->w->old, "roleRef") && api_field_equal(c->w->object, c->w->old, "subjects"))
		return 0;
	bool cluster = str_equal(binding->role_ref.kind, "ClusterRole");
	const char *plural = cluster ? "clusterroles" : "roles";
	if (may(c, "bind", plural, str_or(binding->role_ref.name, "")))
		return 0;
	void *role = registry_read(c->w->r->server->registry, RBAC, plural, c->w->ns, binding->role_ref.name);
	if (!role)
		return error_not_found(err, registry_find(c->w->r->server->registry, RBAC, "v1", plural), str_or(binding->role_ref.name, ""));
	int rc;
	if (cluster)
		rc = check_rules(c, ((struct rbac_v1_cluster_role *)role)->rules.items, ((struct rbac_v1_cluster_role *)role)->rules.len, err);
	else
		rc = check_rules(c, ((struct rbac_v1_role *)role)->rules.items, ((struct rbac_v1_role *)role)->rules.len, err);
	api_unref(role);
	return rc;
}

static int validate(struct write *w, struct error *err) {
	if (strcmp(resource_group(w->resource), RBAC) != 0 || !authz_rbac(w->r->server->authz) || user_in_group(w->r->user, "system:masters"))
		return 0;
	struct check c = {.w = w, .ns = w->resource->api->namespaced ? w->ns : "", .missing = BUF_INIT(256 << 10)};
	bool role = strcmp(w->resource->api->plural, "roles") == 0 || strcmp(w->resource->api->plural, "clusterroles") == 0;
	return role ? check_role(&c, err) : check_binding(&c, err);
}

const struct admission_plugin admission_escalation = {
	.name = "RBACEscalation",
	.operations = WRITE_CREATE | WRITE_UPDATE,
	.validate = validate,
};
