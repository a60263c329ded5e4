/* SPDX-License-Identifier: Apache-2.0 */
/* What every workload controller asks of pods, and how it makes and removes them. */
#ifndef CORACLE_CONTROLLER_MANAGER_PODS_H
#define CORACLE_CONTROLLER_MANAGER_PODS_H

#include "common/api/selector.h"
#include "controller-manager/controller.h"

#include "api/apps_v1.h"
#include "api/core_v1.h"

struct core_v1_pod_condition *pod_condition(const struct core_v1_pod *pod, const char *type);
bool pod_is_ready(const struct core_v1_pod *pod);
/* Ready for at least min_ready_seconds. */
bool pod_is_available(const struct core_v1_pod *pod, int32_t min_ready_seconds, struct wall_time now);
/* When a ready pod becomes available; false where it is not ready. */
bool pod_available_at(const struct core_v1_pod *pod, int32_t min_ready_seconds, struct wall_time *ret);
bool pod_is_terminal(const struct core_v1_pod *pod); /* Succeeded or Failed */
bool pod_is_terminating(const struct core_v1_pod *pod); /* being deleted, and not yet terminal */
/* Neither terminal nor being deleted. */
bool pod_is_active(const struct core_v1_pod *pod);
int32_t pod_restarts(const struct core_v1_pod *pod); /* the most of any container */
/* Sets (or replaces) one condition; returns true where anything changed. */
bool pod_set_condition(struct arena *arena, struct core_v1_pod *pod, const char *type, const char *status, const char *reason, const char *message);

/* Sorts the pods to delete first to the front; ranks[i] is the number of related pods on the node of pods[i]. ranks may be NULL. */
void pods_rank_for_deletion(const struct core_v1_pod **pods, const int *ranks, size_t count, struct wall_time now);

/*
 * A pod of this template, owned by `owner`, named by prefix (generateName) or not at all where prefix is NULL. Mutable.
 */
struct core_v1_pod *pod_from_template(const struct core_v1_pod_template_spec *template, const void *owner, const char *prefix);

/*
 * Whether a set's selector finds the pods of its own template. Where it does not, pods would be made without end: the API server refuses such a set,
 * unless an older one let it in. Then none is made, and a condition SelectorMismatch and an Event say so.
 */
bool template_is_selected(const struct selector *selector, const struct core_v1_pod_template_spec *template);
/* The same for a set whose conditions are these: also keeps its condition, and records the Event. Returns whether it does not. */
bool selector_mismatches(struct reconciler *r, void *object, struct apps_v1_daemon_set_condition_array *conditions, const struct selector *selector,
	const struct core_v1_pod_template_spec *template);
#define REASON_SELECTOR_MISMATCH "SelectorMismatch"
#define MESSAGE_SELECTOR_MISMATCH "the selector does not match the labels of the template: no pod is made"

/*
 * Guards against a stale cache: what a controller has created or deleted and its cache does not show yet. While anything is missing, counting pods would
 * make too many or delete too many. A write of which nobody knows whether it was done is looked up on the server first. Thread safe; one worker a key.
 */
struct expectations;
struct expectations *expectations_new(void);
void expectations_free(struct expectations *expectations);
/* The cache must have reached this object's resourceVersion before the key is acted on again: it was created or changed. */
void expectations_created(struct expectations *expectations, const char *key, const void *created);
void expectations_deleted(struct expectations *expectations, const char *key, const void *deleted);
/* The write of this object failed with err: where it may have been done all the same, the next check asks the server. Call it after expectations_deleted
 * where it was a deletion. */
void expectations_failed(struct expectations *expectations, const char *key, const void *object, const struct error *err);
/*
 * 1 where the cache of `what` shows all of it, or after five minutes; 0: not yet; or an error of asking the server. The cache wakes who waits, but not with what
 * came and went while its watch was broken: whoever waits looks again by itself after EXPECTATIONS_LOOK_MS.
 */
#define EXPECTATIONS_LOOK_MS 5000
int expectations_check(struct expectations *expectations, struct world *world, enum cached what, const char *key, struct error *err);
void expectations_forget(struct expectations *expectations, const char *key);

/*
 * Creates the pod, records SuccessfulCreate or FailedCreate on `owner`, and remembers it in `expectations` (may be NULL). Where it has only a generateName
 * its name is made here, not by the server: so that a create whose answer was lost can be looked up, and is not done twice.
 */
int pod_create(struct reconciler *r, const void *owner, const struct core_v1_pod *pod, struct expectations *expectations, const char *key,
	struct error *err);
/* The same for any other object with a generateName: its name is made here. */
void object_choose_name(struct world *world, void *object);
/* After a create of such a name was refused (AlreadyExists): whether it is there because the client sent it a second time, the first answer being lost. Gives it. */
bool object_is_own(struct world *world, enum cached what, const void *object, void **ret);
int pod_delete(struct reconciler *r, const void *owner, const struct core_v1_pod *pod, struct expectations *expectations, const char *key,
	struct error *err);

/* Writes phase and conditions of a changed copy, and nothing else: what the cache holds of a pod may be a part of it. One that is gone is no error. */
int pod_write_conditions(struct reconciler *r, const struct core_v1_pod *changed, struct error *err);
/* Tells in the pod's condition DisruptionTarget why it goes, where it does not say so yet, then deletes it. */
int pod_disrupt(struct reconciler *r, const struct core_v1_pod *pod, const char *reason, const char *message, struct error *err);

#define BURST_REPLICAS 500
/*
 * Calls fn(index) for 0..count-1 in batches of 1, 2, 4, ...: stops after the first batch with a failure, so that a template the server refuses costs
 * one request, not thousands. fn runs on several threads where the world allows it. Returns how many succeeded; err is the first failure.
 */
size_t slow_start(const struct world *world, size_t count, int (*fn)(size_t index, void *arg, struct error *err), void *arg, struct error *err);

/* 32-bit hash of a template and the collision count, in the alphabet of names; out >= 16 bytes. */
void template_hash(const struct core_v1_pod_template_spec *template, const int32_t *collision_count, char *out);

#endif
