/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of the Deployment controller: the sets of one rollout, and the arithmetic over them. */
#ifndef CORACLE_CONTROLLER_MANAGER_DEPLOYMENT_H
#define CORACLE_CONTROLLER_MANAGER_DEPLOYMENT_H

#include "controller-manager/controller.h"

#include "api/apps_v1.h"

#define ANNOTATION_REVISION "deployment.kubernetes.io/revision"
#define ANNOTATION_REVISION_HISTORY "deployment.kubernetes.io/revision-history"
#define ANNOTATION_DESIRED_REPLICAS "deployment.kubernetes.io/desired-replicas"
#define ANNOTATION_MAX_REPLICAS "deployment.kubernetes.io/max-replicas"
#define ANNOTATION_ROLLBACK_TO "deprecated.deployment.rollback.to"
#define LABEL_TEMPLATE_HASH "pod-template-hash"

#define PROGRESSING "Progressing"
#define AVAILABLE "Available"
#define REPLICA_FAILURE "ReplicaFailure"

/* One reconcile: the deployment (a private copy whose status and annotations change) and its sets, which are replaced as they are written. */
struct rollout {
	struct reconciler *r;
	const struct apps_v1_deployment *cached;
	struct apps_v1_deployment *d;
	struct apps_v1_replica_set **sets; /* references, oldest first */
	size_t count;
	ptrdiff_t fresh; /* index of the set of the current template; -1: none yet */
	int32_t resized; /* pods that this look has asked for beyond what sets had when they were read */
};

/* ---- numbers (rolling.c); pure ---- */
int32_t set_replicas(const struct apps_v1_replica_set *rs);
int32_t deployment_replicas(const struct apps_v1_deployment *d);
bool deployment_is_rolling(const struct apps_v1_deployment *d);
/* maxSurge and maxUnavailable in pods; never both 0. */
void deployment_fenceposts(const struct apps_v1_deployment *d, int32_t *ret_surge, int32_t *ret_unavailable);
int32_t deployment_max_surge(const struct apps_v1_deployment *d);
int32_t deployment_max_unavailable(const struct apps_v1_deployment *d);
/* Replicas the newest set is to have next. `total` is the sum over all sets, the newest (with `current`) included. */
int32_t rolling_new_replicas(const struct apps_v1_deployment *d, int32_t total, int32_t current);
/* Share of `to_add` (may be negative) that a set gets while `added` have been given out. */
int32_t proportion_of(const struct apps_v1_deployment *d, const struct apps_v1_replica_set *rs, int32_t to_add, int32_t added);
int64_t revision_of(const struct meta_v1_object_meta *meta);
bool templates_equal(const struct core_v1_pod_template_spec *a, const struct core_v1_pod_template_spec *b);

/* ---- sets (sets.c) ---- */
/* Finds the sets, claims orphans, brings revisions up to date; makes the newest set where `create` is set. */
int rollout_load(struct rollout *rollout, struct error *err);
int rollout_find_new(struct rollout *rollout, bool create, struct error *err);
void rollout_done(struct rollout *rollout);
/* Writes one set's size (and annotations); records ScalingReplicaSet. *ret_scaled (may be NULL): whether the size changed. */
int rollout_scale_set(struct rollout *rollout, size_t index, int32_t replicas, bool *ret_scaled, struct error *err);
int rollout_clean_up(struct rollout *rollout, struct error *err);
int32_t rollout_total(const struct rollout *rollout, bool with_new);
/* What says something of this object alone, and is not copied between a deployment and its sets. */
bool deployment_owns_annotation(const char *key);

/* ---- going back (rollback.c) ---- */
/* Whether an annotation asks for an earlier revision; *ret_revision 0: the one before. */
bool deployment_rollback_wanted(const struct apps_v1_deployment *d, int64_t *ret_revision);
/* Writes the deployment with that revision's template, or says in an Event why not; without the annotation, in any case. Its revisions are up to date. */
int rollout_go_back(struct rollout *rollout, int64_t revision, struct error *err);

/* ---- strategies (rolling.c) ---- */
int rollout_rolling(struct rollout *rollout, struct error *err);
int rollout_recreate(struct rollout *rollout, struct error *err);
/* While paused, or when only the size has changed: keep the proportions. */
int rollout_scale(struct rollout *rollout, struct error *err);
bool rollout_is_scaling(const struct rollout *rollout);

/* ---- status (status.c) ---- */
struct apps_v1_deployment_condition *deployment_condition(const struct apps_v1_deployment_status *status, const char *type);
/* Does nothing where the condition already has this status and reason. */
void deployment_set_condition(struct arena *arena, struct apps_v1_deployment_status *status, const char *type, const char *value, const char *reason,
	const char *message);
bool deployment_has_deadline(const struct apps_v1_deployment *d);
bool deployment_is_complete(const struct apps_v1_deployment *d, const struct apps_v1_deployment_status *status);
/* Works out the status from the sets and writes it where it differs. progress: conditions of a running rollout as well. Returns milliseconds until the deadline, 0, or an error. */
int rollout_update_status(struct rollout *rollout, bool progress, struct error *err);

#endif
