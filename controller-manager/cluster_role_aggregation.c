/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ClusterRoles with an aggregation rule hold the rules of all roles that its selectors match: so that admin, edit and view grow with what
 * is installed.
 */
#include "common/api/selector.h"
#include "controller-manager/controller.h"

#include "api/rbac_v1.h"

static int compare_names(const void *a, const void *b)
{
	return strcmp(api_metadata(*(void *const *)a)->name, api_metadata(*(void *const *)b)->name);
}

static bool has_rule(const struct rbac_v1_policy_rule_array *rules, const struct rbac_v1_policy_rule *rule)
{
	for (uint32_t i = 0; i < rules->len; i++)
		if (api_equal(&rbac_v1_policy_rule_type, &rules->items[i], rule))
			return true;
	return false;
}

static int collect(const struct rbac_v1_cluster_role *role, const struct informer_list *all, const struct meta_v1_label_selector *from, struct arena *arena,
	struct rbac_v1_policy_rule_array *ret, struct error *err)
{
	struct selector *selector = NULL;
	int result = label_selector_from(from, &selector, err);
	for (size_t i = 0; i < all->len && !result; i++) {
		const struct rbac_v1_cluster_role *other = all->items[i];
		if (str_equal(other->metadata.name, role->metadata.name) || !selector_matches_labels(selector, &other->metadata.labels))
			continue;
		for (uint32_t j = 0; j < other->rules.len; j++)
			if (!has_rule(ret, &other->rules.items[j]))
				api_copy_value(&rbac_v1_policy_rule_type, api_list_add(arena, ret), &other->rules.items[j], arena);
	}
	selector_free(selector);
	return result;
}

static bool same_rules(const struct rbac_v1_policy_rule_array *a, const struct rbac_v1_policy_rule_array *b)
{
	if (a->len != b->len)
		return false;
	for (uint32_t i = 0; i < a->len; i++)
		if (!api_equal(&rbac_v1_policy_rule_type, &a->items[i], &b->items[i]))
			return false;
	return true;
}

static int reconcile(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	autounref struct rbac_v1_cluster_role *role = world_find(r->world, CACHED_CLUSTER_ROLES, NULL, name);
	if (!role || !role->aggregation_rule)
		return 0;
	autolist struct informer_list all = INFORMER_LIST_INIT;
	autounref struct rbac_v1_cluster_role *copy = api_copy(role);
	world_list_all(r->world, CACHED_CLUSTER_ROLES, &all);
	qsort(all.items, all.len, sizeof(void *), compare_names);
	copy->rules = (struct rbac_v1_policy_rule_array){0};
	for (uint32_t i = 0; i < role->aggregation_rule->cluster_role_selectors.len; i++) {
		int result = collect(role, &all, &role->aggregation_rule->cluster_role_selectors.items[i], api_arena(copy), &copy->rules, err);
		if (result)
			return result;
	}
	return same_rules(&copy->rules, &role->rules) ? 0 : world_update(r->world, CACHED_CLUSTER_ROLES, copy, NULL, err);
}

/* Any role may be part of any aggregate. */
static void wake(struct reconciler *r, const void *object)
{
	autolist struct informer_list all = INFORMER_LIST_INIT;
	world_list_all(r->world, CACHED_CLUSTER_ROLES, &all);
	for (size_t i = 0; i < all.len; i++)
		if (((const struct rbac_v1_cluster_role *)all.items[i])->aggregation_rule)
			reconciler_add(r, NULL, api_metadata(all.items[i])->name);
}

const struct controller cluster_role_aggregation_controller = {
	.name = "clusterrole-aggregation-controller",
	.queue = "ClusterRoleAggregator",
	.account = "clusterrole-aggregation-controller",
	.alias = "clusterrole-aggregation",
	.workers = 1,
	.watches = (const struct controller_watch[]){{.what = CACHED_CLUSTER_ROLES, .wake = wake}, {.what = CACHED_NONE}},
	.reconcile = reconcile,
};
