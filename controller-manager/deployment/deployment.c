/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Deployment controller: one ReplicaSet for each template, sized step by step. The order of a reconcile: pause conditions, scaling
 * alone, or else the strategy.
 */
#include "controller-manager/deployment/deployment.h"

#include "controller-manager/shared/owners.h"
#include "controller-manager/shared/pods.h"

/* Pausing stops the clock of the progress deadline. */
static void note_pause(struct rollout *rollout)
{
	struct apps_v1_deployment *d = rollout->d;
	const struct apps_v1_deployment_condition *progressing = deployment_condition(&d->status, PROGRESSING);
	if (!deployment_has_deadline(d) || (progressing && str_equal(progressing->reason, "ProgressDeadlineExceeded")))
		return;
	bool noted = progressing && str_equal(progressing->reason, "DeploymentPaused");
	if (d->spec.paused && !noted)
		deployment_set_condition(api_arena(d), &d->status, PROGRESSING, "Unknown", "DeploymentPaused", "Deployment is paused");
	else if (!d->spec.paused && noted)
		deployment_set_condition(api_arena(d), &d->status, PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed");
}

static int refuse_empty_selector(struct reconciler *r, struct apps_v1_deployment *d, struct error *err)
{
	reconciler_event(r, d, EVENT_WARNING, "SelectingAll", "This deployment is selecting all pods. A non-empty selector is required.");
	if (d->status.observed_generation >= d->metadata.generation)
		return 0;
	d->status.observed_generation = d->metadata.generation;
	return world_update_status(r->world, CACHED_DEPLOYMENTS, d, NULL, err);
}

static int sync_rollout(struct rollout *rollout, struct error *err)
{
	struct apps_v1_deployment *d = rollout->d;
	int r = rollout_load(rollout, err);
	if (r)
		return r;
	if (d->metadata.deletion_timestamp.set) {
		r = rollout_find_new(rollout, false, err);
		return r ? r : rollout_update_status(rollout, false, err);
	}
	note_pause(rollout);
	int64_t revision;
	if (!d->spec.paused && deployment_rollback_wanted(d, &revision)) {
		r = rollout_find_new(rollout, true, err);
		return r ? r : rollout_go_back(rollout, revision, err);
	}
	if (d->spec.paused || rollout_is_scaling(rollout)) {
		r = rollout_find_new(rollout, false, err);
		r = r ? r : rollout_scale(rollout, err);
		if (!r && d->spec.paused)
			r = rollout_clean_up(rollout, err);
		return r ? r : rollout_update_status(rollout, false, err);
	}
	return deployment_is_rolling(d) ? rollout_rolling(rollout, err) : rollout_recreate(rollout, err);
}

static int reconcile(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	autofree char *key = xprintf("%s/%s", ns, name);
	autounref struct apps_v1_deployment *cached = world_find(r->world, CACHED_DEPLOYMENTS, ns, name);
	if (!cached) {
		expectations_forget(r->state, key);
		return 0;
	}
	/* What the cache of sets does not show yet wakes us when it comes. */
	int may_act = expectations_check(r->state, r->world, CACHED_REPLICA_SETS, key, err);
	if (may_act <= 0)
		return may_act < 0 ? may_act : EXPECTATIONS_LOOK_MS;
	autounref struct apps_v1_deployment *copy = api_copy(cached);
	const struct meta_v1_label_selector *selector = copy->spec.selector;
	if (!selector || (!selector->match_labels.len && !selector->match_expressions.len))
		return refuse_empty_selector(r, copy, err);
	cleanup(rollout_done) struct rollout rollout = {.r = r, .cached = cached, .d = copy, .fresh = -1};
	int result = sync_rollout(&rollout, err);
	return result;
}

static void wake_by_set(struct reconciler *r, const void *object)
{
	const struct apps_v1_replica_set *rs = object;
	if (owner_controller(&rs->metadata)) {
		reconciler_add_owner(r, object, "Deployment");
		return;
	}
	autolist struct informer_list all = INFORMER_LIST_INIT;
	world_list_namespace(r->world, CACHED_DEPLOYMENTS, rs->metadata.namespace, &all);
	for (size_t i = 0; i < all.len; i++) {
		const struct apps_v1_deployment *d = all.items[i];
		struct selector *selector = NULL;
		if (d->spec.selector && label_selector_from(d->spec.selector, &selector, NULL) == 0 && !selector_is_empty(selector) &&
			selector_matches_labels(selector, &rs->metadata.labels))
			reconciler_add(r, d->metadata.namespace, d->metadata.name);
		selector_free(selector);
	}
}

static void wake_by_nothing(struct reconciler *r, const void *object)
{
}

/* Recreate waits until the last old pod has gone. */
static void wake_by_gone_pod(struct reconciler *r, const void *object)
{
	const struct core_v1_pod *pod = object;
	const struct meta_v1_owner_reference *owner = owner_controller(&pod->metadata);
	if (!owner || !str_equal(owner->kind, "ReplicaSet"))
		return;
	autounref struct apps_v1_replica_set *rs = world_find(r->world, CACHED_REPLICA_SETS, pod->metadata.namespace, owner->name);
	const struct meta_v1_owner_reference *of_set = rs ? owner_controller(&rs->metadata) : NULL;
	if (!of_set || !str_equal(of_set->kind, "Deployment"))
		return;
	autounref struct apps_v1_deployment *d = world_find(r->world, CACHED_DEPLOYMENTS, pod->metadata.namespace, of_set->name);
	if (d && !deployment_is_rolling(d))
		reconciler_add(r, d->metadata.namespace, d->metadata.name);
}

static void *state_new(void)
{
	return expectations_new();
}

static void state_free(void *state)
{
	expectations_free(state);
}

const struct controller deployment_controller = {
	.name = "deployment-controller",
	.queue = "deployment",
	.account = "deployment-controller",
	.alias = "deployment",
	.concurrency_flag = "concurrent-deployment-syncs",
	.workers = 5,
	.watches = (const struct controller_watch[]){{.what = CACHED_DEPLOYMENTS},
		{.what = CACHED_REPLICA_SETS, .wake = wake_by_set},
		{.what = CACHED_PODS, .wake = wake_by_nothing, .gone = wake_by_gone_pod},
		{.what = CACHED_NONE}},
	.reconcile = reconcile,
	.state_new = state_new,
	.state_free = state_free,
};
