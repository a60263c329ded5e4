/* SPDX-License-Identifier: Apache-2.0 */
/* The status of a Deployment: counts from its sets, and conditions that say how the rollout goes. */
#include "controller-manager/deployment/deployment.h"

#include "controller-manager/shared/pods.h"

#define NO_DEADLINE INT32_MAX

struct apps_v1_deployment_condition *deployment_condition(const struct apps_v1_deployment_status *status, const char *type)
{
	for (uint32_t i = 0; i < status->conditions.len; i++)
		if (str_equal(status->conditions.items[i].type, type))
			return &status->conditions.items[i];
	return NULL;
}

static void remove_condition(struct apps_v1_deployment_status *status, const char *type)
{
	struct apps_v1_deployment_condition *condition = deployment_condition(status, type);
	if (condition)
		api_list_remove(&status->conditions, condition - status->conditions.items);
}

void deployment_set_condition(struct arena *arena, struct apps_v1_deployment_status *status, const char *type, const char *value, const char *reason,
	const char *message)
{
	struct api_time now = api_time_now(), since = now;
	const struct apps_v1_deployment_condition *old = deployment_condition(status, type);
	if (old && str_equal(old->status, value) && str_equal(old->reason, reason))
		return;
	if (old && str_equal(old->status, value))
		since = old->last_transition_time;
	remove_condition(status, type);
	struct apps_v1_deployment_condition *condition = api_list_add(arena, &status->conditions);
	condition->type = arena_strdup(arena, type);
	condition->status = arena_strdup(arena, value);
	condition->reason = arena_strdup(arena, reason);
	condition->message = arena_strdup(arena, message);
	condition->last_update_time = now;
	condition->last_transition_time = since;
}

bool deployment_has_deadline(const struct apps_v1_deployment *d)
{
	return d->spec.progress_deadline_seconds && *d->spec.progress_deadline_seconds != NO_DEADLINE;
}

bool deployment_is_complete(const struct apps_v1_deployment *d, const struct apps_v1_deployment_status *status)
{
	int32_t wanted = deployment_replicas(d);
	return status->updated_replicas == wanted && status->replicas == wanted && status->available_replicas == wanted &&
	       status->observed_generation >= d->metadata.generation;
}

static void count_sets(const struct rollout *rollout, struct apps_v1_deployment_status *status)
{
	struct arena *arena = api_arena(rollout->d);
	int32_t wanted = -rollout->resized, terminating = 0; /* what was asked for a moment ago is not missing yet */
	bool knows_terminating = true;
	status->replicas = status->ready_replicas = status->available_replicas = status->updated_replicas = 0;
	for (size_t i = 0; i < rollout->count; i++) {
		const struct apps_v1_replica_set *rs = rollout->sets[i];
		wanted += set_replicas(rs);
		status->replicas += rs->status.replicas;
		status->ready_replicas += rs->status.ready_replicas;
		status->available_replicas += rs->status.available_replicas;
		/* A set that was never looked after has no pods; one that was, but does not tell, leaves the sum unknown. */
		if (rs->status.terminating_replicas)
			terminating += *rs->status.terminating_replicas;
		else if (rs->status.observed_generation)
			knows_terminating = false;
	}
	if (rollout->fresh >= 0)
		status->updated_replicas = rollout->sets[rollout->fresh]->status.replicas;
	status->unavailable_replicas = max_of(wanted - status->available_replicas, 0);
	status->terminating_replicas = knows_terminating ? api_int32(arena, terminating) : NULL;
	status->observed_generation = rollout->d->metadata.generation;
	if (status->available_replicas >= deployment_replicas(rollout->d) - deployment_max_unavailable(rollout->d))
		deployment_set_condition(arena, status, AVAILABLE, "True", "MinimumReplicasAvailable", "Deployment has minimum availability.");
	else
		deployment_set_condition(arena, status, AVAILABLE, "False", "MinimumReplicasUnavailable",
			"Deployment does not have minimum availability.");
}

static bool has_progressed(const struct apps_v1_deployment_status *before, const struct apps_v1_deployment_status *now)
{
	return now->updated_replicas > before->updated_replicas ||
	       now->replicas - now->updated_replicas < before->replicas - before->updated_replicas ||
	       now->ready_replicas > before->ready_replicas || now->available_replicas > before->available_replicas;
}

static bool has_timed_out(const struct apps_v1_deployment *d, const struct apps_v1_deployment_status *status)
{
	const struct apps_v1_deployment_condition *condition = deployment_condition(status, PROGRESSING);
	if (!condition || str_equal(condition->reason, "NewReplicaSetAvailable"))
		return false;
	if (str_equal(condition->reason, "ProgressDeadlineExceeded"))
		return true;
	struct wall_time deadline = time_after(condition->last_update_time.t, *d->spec.progress_deadline_seconds);
	return time_diff_ns(clock_wall(), deadline) > 0;
}

static void set_progress(struct rollout *rollout, struct apps_v1_deployment_status *status, const char *value, const char *reason, const char *set_text,
	const char *text)
{
	const struct apps_v1_deployment *d = rollout->d;
	const char *name = rollout->fresh >= 0 ? rollout->sets[rollout->fresh]->metadata.name : d->metadata.name;
	autofree char *message = xprintf("%s \"%s\" %s", rollout->fresh >= 0 ? set_text : "Deployment", name, text);
	deployment_set_condition(api_arena(d), status, PROGRESSING, value, reason, message);
}

/* A step forward starts the deadline anew, but is no transition. */
static void note_step(struct rollout *rollout, struct apps_v1_deployment_status *status)
{
	struct apps_v1_deployment_condition *old = deployment_condition(status, PROGRESSING);
	struct api_time since = {0};
	if (old && str_equal(old->status, "True"))
		since = old->last_transition_time;
	remove_condition(status, PROGRESSING);
	set_progress(rollout, status, "True", "ReplicaSetUpdated", "ReplicaSet", "is progressing.");
	if (since.set)
		deployment_condition(status, PROGRESSING)->last_transition_time = since;
}

static void copy_replica_failure(struct rollout *rollout, struct apps_v1_deployment_status *status)
{
	const struct apps_v1_replica_set_condition *found = NULL;
	for (size_t i = rollout->count; i-- && !found;) {
		size_t index = rollout->fresh >= 0 ? (i + 1 == rollout->count ? (size_t)rollout->fresh : i) : i;
		const struct apps_v1_replica_set *rs = rollout->sets[index];
		for (uint32_t j = 0; j < rs->status.conditions.len && !found; j++)
			if (str_equal(rs->status.conditions.items[j].type, REPLICA_FAILURE))
				found = &rs->status.conditions.items[j];
	}
	if (found)
		deployment_set_condition(api_arena(rollout->d), status, REPLICA_FAILURE, found->status, found->reason, found->message);
	else
		remove_condition(status, REPLICA_FAILURE);
}

static void work_out_progress(struct rollout *rollout, struct apps_v1_deployment_status *status)
{
	const struct apps_v1_deployment *d = rollout->d;
	const struct apps_v1_deployment_condition *current = deployment_condition(status, PROGRESSING);
	bool was_complete = status->replicas == status->updated_replicas && current && str_equal(current->reason, "NewReplicaSetAvailable");
	if (!deployment_has_deadline(d)) {
		remove_condition(status, PROGRESSING);
	} else if (!was_complete) {
		if (deployment_is_complete(d, status))
			set_progress(rollout, status, "True", "NewReplicaSetAvailable", "ReplicaSet", "has successfully progressed.");
		else if (has_progressed(&rollout->cached->status, status))
			note_step(rollout, status);
		else if (has_timed_out(d, status))
			set_progress(rollout, status, "False", "ProgressDeadlineExceeded", "ReplicaSet", "has timed out progressing.");
	}
	copy_replica_failure(rollout, status);
}

/* Milliseconds until the rollout would pass its deadline; 0 where there is nothing to wait for. */
static int until_deadline(const struct apps_v1_deployment *d, const struct apps_v1_deployment_status *status)
{
	const struct apps_v1_deployment_condition *condition = deployment_condition(status, PROGRESSING);
	if (!deployment_has_deadline(d) || !condition || deployment_is_complete(d, status) ||
		str_equal(condition->reason, "ProgressDeadlineExceeded") || str_equal(condition->reason, "NewReplicaSetAvailable"))
		return 0;
	return milliseconds_until(time_after(condition->last_update_time.t, *d->spec.progress_deadline_seconds + 1));
}

int rollout_update_status(struct rollout *rollout, bool progress, struct error *err)
{
	struct apps_v1_deployment *d = rollout->d;
	count_sets(rollout, &d->status);
	if (progress)
		work_out_progress(rollout, &d->status);
	if (!api_equal(&apps_v1_deployment_status_type, &rollout->cached->status, &d->status) || !api_map_equal(&rollout->cached->metadata.annotations, &d->metadata.annotations)) {
		int r = world_update_status(rollout->r->world, CACHED_DEPLOYMENTS, d, NULL, err);
		if (r)
			return r;
	}
	return progress ? until_deadline(d, &d->status) : 0;
}
