/* SPDX-License-Identifier: Apache-2.0 */
#include "controller-manager/shared/pods.h"

#include "controller-manager/shared/owners.h"

#include "common/base/random.h"

#include <math.h>
#include <stdio.h>

#define ANNOTATION_DELETION_COST "controller.kubernetes.io/pod-deletion-cost"

struct core_v1_pod_condition *pod_condition(const struct core_v1_pod *pod, const char *type)
{
	for (uint32_t i = 0; i < pod->status.conditions.len; i++)
		if (str_equal(pod->status.conditions.items[i].type, type))
			return &pod->status.conditions.items[i];
	return NULL;
}

bool pod_is_ready(const struct core_v1_pod *pod)
{
	const struct core_v1_pod_condition *ready = pod_condition(pod, CORE_V1_POD_CONDITION_TYPE_READY);
	return ready && str_equal(ready->status, "True");
}

bool pod_available_at(const struct core_v1_pod *pod, int32_t min_ready_seconds, struct wall_time *ret)
{
	const struct core_v1_pod_condition *ready = pod_condition(pod, CORE_V1_POD_CONDITION_TYPE_READY);
	if (!ready || !str_equal(ready->status, "True"))
		return false;
	*ret = time_after(ready->last_transition_time.t, min_ready_seconds);
	return min_ready_seconds == 0 || ready->last_transition_time.set;
}

bool pod_is_available(const struct core_v1_pod *pod, int32_t min_ready_seconds, struct wall_time now)
{
	struct wall_time then;
	return pod_available_at(pod, min_ready_seconds, &then) && (min_ready_seconds == 0 || time_diff_ns(now, then) >= 0);
}

bool pod_is_terminal(const struct core_v1_pod *pod)
{
	return str_equal(pod->status.phase, CORE_V1_POD_PHASE_SUCCEEDED) || str_equal(pod->status.phase, CORE_V1_POD_PHASE_FAILED);
}

bool pod_is_active(const struct core_v1_pod *pod)
{
	return !pod_is_terminal(pod) && !pod->metadata.deletion_timestamp.set;
}

bool pod_is_terminating(const struct core_v1_pod *pod)
{
	return !pod_is_terminal(pod) && pod->metadata.deletion_timestamp.set;
}

int32_t pod_restarts(const struct core_v1_pod *pod)
{
	int32_t most = 0;
	for (uint32_t i = 0; i < pod->status.container_statuses.len; i++)
		most = max_of(most, pod->status.container_statuses.items[i].restart_count);
	for (uint32_t i = 0; i < pod->status.init_container_statuses.len; i++)
		most = max_of(most, pod->status.init_container_statuses.items[i].restart_count);
	return most;
}

bool pod_set_condition(struct arena *arena, struct core_v1_pod *pod, const char *type, const char *status, const char *reason, const char *message)
{
	struct core_v1_pod_condition *condition = pod_condition(pod, type);
	if (condition && str_equal(condition->status, status) && str_equal(condition->reason, reason) && str_equal(condition->message, message))
		return false;
	if (!condition)
		condition = api_list_add(arena, &pod->status.conditions);
	if (!str_equal(condition->status, status))
		condition->last_transition_time = api_time_now();
	condition->type = arena_strdup(arena, type);
	condition->status = arena_strdup(arena, status);
	condition->reason = arena_strdup(arena, reason);
	condition->message = arena_strdup(arena, message);
	return true;
}

/* What decides which pod goes first, worked out once for each. */
struct victim {
	const struct core_v1_pod *pod;
	int rank;
	int phase; /* Pending 0, Unknown 1, Running 2 */
	bool assigned, ready;
	int64_t cost;
	bool has_ready_time;
	int64_t ready_age, age; /* buckets of the logarithm of seconds */
	int32_t restarts;
};

/* Pods of about one age count as equally old, so that not always the youngest node loses its pods. */
static int64_t age_bucket(struct wall_time since, struct wall_time now)
{
	int64_t seconds = time_diff_ns(now, since) / NSEC_PER_SEC;
	return seconds <= 0 ? -1 : (int64_t)floor(log2((double)seconds));
}

static struct victim victim_of(const struct core_v1_pod *pod, int rank, struct wall_time now)
{
	const struct core_v1_pod_condition *ready = pod_condition(pod, CORE_V1_POD_CONDITION_TYPE_READY);
	struct victim v = {
		.pod = pod,
		.rank = rank,
		.assigned = !str_empty(pod->spec.node_name),
		.phase = str_equal(pod->status.phase, CORE_V1_POD_PHASE_RUNNING)   ? 2
			 : str_equal(pod->status.phase, CORE_V1_POD_PHASE_UNKNOWN) ? 1
										   : 0,
		.ready = pod_is_ready(pod),
		.restarts = pod_restarts(pod),
		.age = age_bucket(pod->metadata.creation_timestamp.t, now),
	};
	if (v.ready && ready->last_transition_time.set) {
		v.has_ready_time = true;
		v.ready_age = age_bucket(ready->last_transition_time.t, now);
	}
	str_to_int64(api_map_get(&pod->metadata.annotations, ANNOTATION_DELETION_COST), INT32_MIN, INT32_MAX, &v.cost);
	return v;
}

#define LESS(a, b) \
	if ((a) != (b)) \
		return (a) < (b) ? -1 : 1

static int compare_victims(const void *left, const void *right)
{
	const struct victim *a = left, *b = right;
	LESS(a->assigned, b->assigned);
	LESS(a->phase, b->phase);
	LESS(a->ready, b->ready);
	LESS(a->cost, b->cost);
	LESS(b->rank, a->rank); /* more of its kind on the node: first */
	if (a->ready && b->ready) {
		LESS(a->has_ready_time, b->has_ready_time);
		LESS(a->ready_age, b->ready_age); /* ready for less time: first */
	}
	LESS(b->restarts, a->restarts);
	LESS(a->age, b->age);
	return strcmp(str_or(a->pod->metadata.uid, ""), str_or(b->pod->metadata.uid, ""));
}

void pods_rank_for_deletion(const struct core_v1_pod **pods, const int *ranks, size_t count, struct wall_time now)
{
	autofree struct victim *victims = xcalloc(count, sizeof(*victims));
	for (size_t i = 0; i < count; i++)
		victims[i] = victim_of(pods[i], ranks ? ranks[i] : 0, now);
	qsort(victims, count, sizeof(*victims), compare_victims);
	for (size_t i = 0; i < count; i++)
		pods[i] = victims[i].pod;
}

struct core_v1_pod *pod_from_template(const struct core_v1_pod_template_spec *template, const void *owner, const char *prefix)
{
	struct core_v1_pod *pod = api_new_of(core_v1_pod);
	struct arena *arena = api_arena(pod);
	const struct meta_v1_object_meta *owner_meta = api_metadata(owner);
	struct core_v1_pod_template_spec copy = {0};
	api_copy_value(&core_v1_pod_template_spec_type, &copy, template, arena);
	pod->spec = copy.spec;
	pod->metadata.labels = copy.metadata.labels;
	pod->metadata.annotations = copy.metadata.annotations;
	pod->metadata.finalizers = copy.metadata.finalizers;
	pod->metadata.namespace = arena_strdup(arena, owner_meta->namespace);
	if (prefix)
		pod->metadata.generate_name = arena_printf(arena, "%s-", prefix);
	owner_set_controller(arena, &pod->metadata, owner);
	return pod;
}

void template_hash(const struct core_v1_pod_template_spec *template, const int32_t *collision_count, char *out)
{
	uint64_t hash = api_hash(&core_v1_pod_template_spec_type, template);
	if (collision_count) {
		struct {
			uint64_t hash;
			int64_t count;
		} both = {hash, *collision_count};
		hash = hash_fnv64(&both, sizeof(both));
	}
	name_safe_hash((uint32_t)(hash ^ hash >> 32), out);
}

bool template_is_selected(const struct selector *selector, const struct core_v1_pod_template_spec *template)
{
	return !selector_is_empty(selector) && selector_matches_labels(selector, &template->metadata.labels);
}

bool selector_mismatches(struct reconciler *r, void *object, struct apps_v1_daemon_set_condition_array *conditions, const struct selector *selector,
	const struct core_v1_pod_template_spec *template)
{
	bool selected = template_is_selected(selector, template);
	for (uint32_t i = 0; i < conditions->len; i++) {
		if (!str_equal(conditions->items[i].type, REASON_SELECTOR_MISMATCH))
			continue;
		if (selected)
			api_list_remove(conditions, i);
		return !selected;
	}
	if (selected)
		return false;
	struct apps_v1_daemon_set_condition *condition = api_list_add(api_arena(object), conditions);
	*condition = (struct apps_v1_daemon_set_condition){.type = REASON_SELECTOR_MISMATCH, .status = "True", .last_transition_time = api_time_now(), .reason = REASON_SELECTOR_MISMATCH,
		.message = MESSAGE_SELECTOR_MISMATCH};
	reconciler_event(r, object, EVENT_WARNING, REASON_SELECTOR_MISMATCH, MESSAGE_SELECTOR_MISMATCH);
	return true;
}
