/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PodDisruptionBudgets: how many of the selected pods are healthy, how many have to be, and so how many may be evicted. The expected number
 * comes from the scale of the pods' controllers where the budget is a percentage or counts what may be missing.
 */
#include "common/api/selector.h"
#include "controller-manager/controller.h"
#include "controller-manager/shared/owners.h"
#include "controller-manager/shared/pods.h"

#include "api/apps_v1.h"
#include "api/policy_v1.h"

#include <errno.h>

#define DISRUPTION_TIMEOUT_S 120 /* a pod whose eviction was granted is gone by then, or stays */
#define CONDITION_ALLOWED "DisruptionAllowed"

/* The replicas that the controller of a pod wants, once for each controller. Returns false where its kind has no scale. */
static bool expected_of(struct reconciler *r, const struct core_v1_pod *pod, struct map *seen, int32_t *ret_more)
{
	const struct meta_v1_owner_reference *owner = owner_controller(&pod->metadata);
	const char *ns = pod->metadata.namespace;
	*ret_more = 0;
	if (!owner)
		return false;
	autounref struct apps_v1_replica_set *rs = str_equal(owner->kind, "ReplicaSet") ? world_find(r->world, CACHED_REPLICA_SETS, ns, owner->name) : NULL;
	const struct meta_v1_owner_reference *top = rs ? owner_controller(&rs->metadata) : NULL;
	const char *uid = top ? top->uid : owner->uid;
	if (map_has(seen, uid))
		return true;
	set_add(seen, uid);
	if (top && str_equal(top->kind, "Deployment")) {
		autounref struct apps_v1_deployment *d = world_find(r->world, CACHED_DEPLOYMENTS, ns, top->name);
		*ret_more = d && d->spec.replicas ? *d->spec.replicas : d ? 1 : 0;
		return d != NULL;
	}
	if (rs) {
		*ret_more = rs->spec.replicas ? *rs->spec.replicas : 1;
		return true;
	}
	if (str_equal(owner->kind, "StatefulSet")) {
		autounref struct apps_v1_stateful_set *set = world_find(r->world, CACHED_STATEFUL_SETS, ns, owner->name);
		*ret_more = set && set->spec.replicas ? *set->spec.replicas : set ? 1 : 0;
		return set != NULL;
	}
	if (str_equal(owner->kind, "ReplicationController")) {
		autounref struct core_v1_replication_controller *rc = world_find(r->world, CACHED_REPLICATION_CONTROLLERS, ns, owner->name);
		*ret_more = rc && rc->spec.replicas ? *rc->spec.replicas : rc ? 1 : 0;
		return rc != NULL;
	}
	return false;
}

static int expected_by_scale(struct reconciler *r, const struct informer_list *pods, int32_t *ret, struct error *err)
{
	automap struct map seen = MAP_INIT(NULL);
	int32_t total = 0;
	for (size_t i = 0; i < pods->len; i++) {
		int32_t more;
		if (!expected_of(r, pods->items[i], &seen, &more))
			return error_set(err, EINVAL, "found no controllers for pod \"%s\"", api_metadata(pods->items[i])->name);
		total += more;
	}
	*ret = total;
	return 0;
}

/* Expected pods, and how many of them have to be healthy. */
static int count_needed(struct reconciler *r, const struct policy_v1_pod_disruption_budget *pdb, const struct informer_list *pods, int32_t *ret_expected,
	int32_t *ret_needed, struct error *err)
{
	int n = 0, result;
	if (pdb->spec.max_unavailable) {
		result = expected_by_scale(r, pods, ret_expected, err);
		if (result || int_or_string_scaled(pdb->spec.max_unavailable, *ret_expected, true, &n) < 0)
			return result ? result : error_set(err, EINVAL, "maxUnavailable is neither a number nor a percentage");
		*ret_needed = max_of(*ret_expected - n, 0);
		return 0;
	}
	*ret_expected = (int32_t)pods->len;
	*ret_needed = 0;
	if (!pdb->spec.min_available)
		return 0;
	if (pdb->spec.min_available->str) {
		result = expected_by_scale(r, pods, ret_expected, err);
		if (result)
			return result;
	}
	if (int_or_string_scaled(pdb->spec.min_available, *ret_expected, true, &n) < 0)
		return error_set(err, EINVAL, "minAvailable is neither a number nor a percentage");
	*ret_needed = n;
	return 0;
}

static const struct core_v1_pod *pod_named(const struct informer_list *pods, const char *name)
{
	for (size_t i = 0; i < pods->len; i++)
		if (str_equal(api_metadata(pods->items[i])->name, name))
			return pods->items[i];
	return NULL;
}

/* Forgets evictions that have come true or did not within the time. Returns milliseconds until the next is forgotten. */
static int clean_disrupted(struct policy_v1_pod_disruption_budget *pdb, const struct informer_list *pods)
{
	int soonest = 0;
	for (uint32_t i = 0; i < pdb->status.disrupted_pods.len;) {
		const struct core_v1_pod *pod = pod_named(pods, pdb->status.disrupted_pods.items[i].key);
		struct wall_time due = time_after(pdb->status.disrupted_pods.items[i].value.t, DISRUPTION_TIMEOUT_S);
		if (!pod || pod->metadata.deletion_timestamp.set || time_diff_ns(due, clock_wall()) <= 0) {
			api_list_remove(&pdb->status.disrupted_pods, i);
			continue;
		}
		int wait = milliseconds_until(due);
		soonest = soonest ? min_of(soonest, wait) : wait;
		i++;
	}
	return soonest;
}

static bool is_disrupted(const struct policy_v1_pod_disruption_budget *pdb, const struct core_v1_pod *pod)
{
	for (uint32_t i = 0; i < pdb->status.disrupted_pods.len; i++)
		if (str_equal(pdb->status.disrupted_pods.items[i].key, pod->metadata.name))
			return true;
	return false;
}

static void set_condition(struct policy_v1_pod_disruption_budget *pdb, const char *status, const char *reason, const char *message)
{
	struct arena *arena = api_arena(pdb);
	struct meta_v1_condition *condition = NULL;
	for (uint32_t i = 0; i < pdb->status.conditions.len && !condition; i++)
		if (str_equal(pdb->status.conditions.items[i].type, CONDITION_ALLOWED))
			condition = &pdb->status.conditions.items[i];
	if (!condition)
		condition = api_list_add(arena, &pdb->status.conditions);
	if (!str_equal(condition->status, status))
		condition->last_transition_time = api_time_now();
	condition->type = CONDITION_ALLOWED;
	condition->status = status;
	condition->reason = reason;
	condition->message = arena_strdup(arena, message);
	condition->observed_generation = pdb->metadata.generation;
}

static int list_pods(struct reconciler *r, const struct policy_v1_pod_disruption_budget *pdb, struct informer_list *ret, struct error *err)
{
	struct selector *selector = NULL;
	autolist struct informer_list all = INFORMER_LIST_INIT;
	int result = label_selector_from(pdb->spec.selector, &selector, err);
	if (!result) {
		world_list_namespace(r->world, CACHED_PODS, pdb->metadata.namespace, &all);
		for (size_t i = 0; i < all.len; i++)
			if (!pod_is_terminal(all.items[i]) && selector_matches_labels(selector, &api_metadata(all.items[i])->labels))
				informer_list_add(ret, api_ref(all.items[i]));
	}
	selector_free(selector);
	return result;
}

static int reconcile(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	autounref struct policy_v1_pod_disruption_budget *cached = world_find(r->world, CACHED_POD_DISRUPTION_BUDGETS, ns, name);
	if (!cached)
		return 0;
	autounref struct policy_v1_pod_disruption_budget *pdb = api_copy(cached);
	autolist struct informer_list pods = INFORMER_LIST_INIT;
	autoerror struct error failed = {0};
	int result = list_pods(r, cached, &pods, err);
	if (result)
		return result;
	int32_t expected = 0, needed = 0, healthy = 0;
	if (!pods.len)
		reconciler_event(r, cached, EVENT_NORMAL, "NoPods", "No matching pods found");
	int wait = clean_disrupted(pdb, &pods);
	result = count_needed(r, cached, &pods, &expected, &needed, &failed);
	if (result) {
		reconciler_event(r, cached, EVENT_WARNING, "CalculateExpectedPodCountFailed", "Failed to calculate the number of expected pods: %s",
			error_message(&failed));
		pdb->status.disruptions_allowed = 0;
		set_condition(pdb, "False", "SyncFailed", error_message(&failed));
	} else {
		for (size_t i = 0; i < pods.len; i++)
			healthy += !api_metadata(pods.items[i])->deletion_timestamp.set && !is_disrupted(pdb, pods.items[i]) && pod_is_ready(pods.items[i]);
		pdb->status.disruptions_allowed = expected > 0 ? max_of(healthy - needed, 0) : 0;
		pdb->status.current_healthy = healthy;
		pdb->status.desired_healthy = needed;
		pdb->status.expected_pods = expected;
		set_condition(pdb, pdb->status.disruptions_allowed ? "True" : "False", pdb->status.disruptions_allowed ? "SufficientPods" : "InsufficientPods", "");
	}
	pdb->status.observed_generation = pdb->metadata.generation;
	if (!api_equal(&policy_v1_pod_disruption_budget_status_type, &pdb->status, &cached->status)) {
		result = world_update_status(r->world, CACHED_POD_DISRUPTION_BUDGETS, pdb, NULL, err);
		if (result)
			return result;
	}
	return wait;
}

static void wake_by_pod(struct reconciler *r, const void *object)
{
	const struct core_v1_pod *pod = object;
	autolist struct informer_list all = INFORMER_LIST_INIT;
	world_list_namespace(r->world, CACHED_POD_DISRUPTION_BUDGETS, pod->metadata.namespace, &all);
	for (size_t i = 0; i < all.len; i++) {
		const struct policy_v1_pod_disruption_budget *pdb = all.items[i];
		struct selector *selector = NULL;
		if (label_selector_from(pdb->spec.selector, &selector, NULL) == 0 && selector_matches_labels(selector, &pod->metadata.labels))
			reconciler_add(r, pdb->metadata.namespace, pdb->metadata.name);
		selector_free(selector);
	}
}

const struct controller disruption_controller = {
	.name = "disruption-controller",
	.alias = "disruption",
	.component = "controllermanager",
	.workers = 1,
	.watches = (const struct controller_watch[]){{.what = CACHED_POD_DISRUPTION_BUDGETS},
		{.what = CACHED_PODS, .wake = wake_by_pod},
		{.what = CACHED_REPLICA_SETS, .read_only = true},
		{.what = CACHED_DEPLOYMENTS, .read_only = true},
		{.what = CACHED_STATEFUL_SETS, .read_only = true},
		{.what = CACHED_REPLICATION_CONTROLLERS, .read_only = true},
		{.what = CACHED_NONE}},
	.reconcile = reconcile,
};
