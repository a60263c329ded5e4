/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes workloads that ask for it (README.md) back to their last good revision when a rollout fails: it passes its deadline, or its new pods crash. Everything
 * it must know later stands in annotations, so that a crash between two writes, or another leader, goes on where this one was.
 */
#include "controller-manager/rollout/workload.h"
#include "controller-manager/shared/owners.h"

#include "controller-manager/shared/pods.h"

#include <errno.h>
#include <pthread.h>

#define DEFAULT_RESTARTS 3

/* How the running rollout of a workload without a deadline of its own goes on. */
struct progress {
	char *id;      /* of its revision */
	int32_t ready; /* pods that were ready */
	int64_t since; /* monotonic */
};
struct state {
	pthread_mutex_t lock;
	struct map progress; /* struct progress by "ns/kind/name" */
};

static void progress_free(void *arg)
{
	struct progress *progress = arg;
	free(progress->id);
	free(progress);
}

static void *state_new(void)
{
	struct state *state = xnew(struct state);
	pthread_mutex_init(&state->lock, NULL);
	state->progress = MAP_INIT(progress_free);
	return state;
}

static void state_free(void *arg)
{
	struct state *state = arg;
	map_done(&state->progress);
	pthread_mutex_destroy(&state->lock);
	free(state);
}

/* ---- one look ---- */

struct looked_at {
	struct reconciler *r;
	const struct workload_kind *kind;
	const void *object; /* as cached */
	const char *ns, *key;
	struct arena *arena;
	struct rollout_goal goal;
	struct revisions revisions;
	struct informer_list pods;
};

static void looked_done(struct looked_at *l)
{
	revisions_done(&l->revisions);
	informer_list_done(&l->pods);
	arena_free(l->arena);
}

static const struct meta_v1_object_meta *meta_of(const struct looked_at *l)
{
	return api_metadata(l->object);
}

static const char *annotation(const struct looked_at *l, const char *name)
{
	return api_map_get(&meta_of(l)->annotations, name);
}

static const struct revision *current_revision(const struct looked_at *l)
{
	return l->revisions.current < 0 ? NULL : &l->revisions.items[l->revisions.current];
}

static const struct revision *find_revision(const struct looked_at *l, const char *id)
{
	for (size_t i = 0; id && i < l->revisions.len; i++)
		if (str_equal(l->revisions.items[i].id, id))
			return &l->revisions.items[i];
	return NULL;
}

static bool is_of(const struct looked_at *l, const struct core_v1_pod *pod, const struct revision *revision)
{
	return str_equal(api_map_get(&pod->metadata.labels, l->kind->revision_label), revision->id);
}

static int32_t count_available(const struct looked_at *l, const struct revision *revision)
{
	int32_t count = 0;
	for (size_t i = 0; i < l->pods.len; i++)
		count += is_of(l, l->pods.items[i], revision) && pod_is_active(l->pods.items[i]) && pod_is_available(l->pods.items[i], l->goal.min_ready_seconds, clock_wall());
	return count;
}

/* ---- has it failed? ---- */

static int64_t restarts_allowed(const struct looked_at *l)
{
	int64_t count = DEFAULT_RESTARTS;
	str_to_int64(annotation(l, ANNOTATION_RESTARTS), 1, INT32_MAX, &count);
	return count;
}

static const struct core_v1_container_status *crashing(const struct core_v1_container_status_array *list, int64_t allowed)
{
	for (uint32_t i = 0; i < list->len; i++) {
		const struct core_v1_container_status *s = &list->items[i];
		if (s->restart_count >= allowed && !s->ready)
			return s;
	}
	return NULL;
}

/* Why it has failed, in the arena; NULL: it has not (yet). */
static const char *crash_reason(const struct looked_at *l, const struct revision *revision)
{
	int64_t allowed = restarts_allowed(l);
	for (size_t i = 0; i < l->pods.len; i++) {
		const struct core_v1_pod *pod = l->pods.items[i];
		if (!is_of(l, pod, revision) || !pod_is_active(pod) || pod_is_ready(pod))
			continue;
		const struct core_v1_container_status *s = crashing(&pod->status.container_statuses, allowed);
		if (!s)
			s = crashing(&pod->status.init_container_statuses, allowed);
		if (s)
			return arena_printf(l->arena, "container %s of new pod %s crashes: %d restarts", s->name, pod->metadata.name, s->restart_count);
	}
	return NULL;
}

/* *ret_wait_ms: until the deadline is worth a look. */
static const char *deadline_reason(const struct looked_at *l, const struct revision *revision, int *ret_wait_ms)
{
	struct state *state = l->r->state;
	/* The condition of a rollout that failed before stays until the next one makes progress. */
	if (l->goal.late && strstr(l->goal.late, arena_printf(l->arena, "\"%s\"", api_metadata(revision->holder)->name)))
		return "the rollout has passed its progress deadline";
	if (!l->goal.deadline_ns)
		return NULL;
	int32_t ready = count_available(l, revision);
	int64_t now = clock_monotonic_ns();
	autofree char *key = xprintf("%s/%s", l->ns, l->key);
	pthread_mutex_lock(&state->lock);
	struct progress *progress = map_get(&state->progress, key);
	if (!progress || !str_equal(progress->id, revision->id) || ready > progress->ready) {
		progress = xnew(struct progress);
		*progress = (struct progress){.id = xstrdup(revision->id), .ready = ready, .since = now};
		map_set(&state->progress, key, progress);
	}
	int64_t left = progress->since + l->goal.deadline_ns - now;
	pthread_mutex_unlock(&state->lock);
	if (left > 0) {
		*ret_wait_ms = (int)min_of(left / NSEC_PER_MSEC + 1, (int64_t)INT32_MAX);
		return NULL;
	}
	char text[40];
	duration_format(l->goal.deadline_ns, text);
	return arena_printf(l->arena, "the rollout has made no progress for %s", text);
}

static void forget(struct state *state, const char *ns, const char *key)
{
	autofree char *full = xprintf("%s/%s", ns, key);
	pthread_mutex_lock(&state->lock);
	map_remove(&state->progress, full);
	pthread_mutex_unlock(&state->lock);
}

/* ---- writing ---- */

static int set_condition(struct looked_at *l, const char *status, const char *reason, const char *message, struct error *err)
{
	autounref void *copy = api_copy(l->object);
	return l->kind->set_condition(copy, ROLLED_BACK, status, reason, message) ? world_update_status(l->r->world, l->kind->what, copy, NULL, err) : 0;
}

/* The last good one: as it was noted, else the newest other one that serves right now. */
static const struct revision *good_revision(const struct looked_at *l)
{
	const struct revision *current = current_revision(l), *noted = find_revision(l, annotation(l, ANNOTATION_GOOD)), *best = NULL;
	if (noted && noted != current)
		return noted;
	for (size_t i = 0; i < l->revisions.len; i++) {
		const struct revision *one = &l->revisions.items[i];
		if (one != current && (!best || one->number > best->number) && count_available(l, one) > 0)
			best = one;
	}
	return best;
}

/* A revision that was rolled out since it went back, be it the one that had failed: that is over and done with. */
static int note_good(struct looked_at *l, const struct revision *revision, struct error *err)
{
	if (str_equal(annotation(l, ANNOTATION_GOOD), revision->id))
		return 0;
	autofree char *patch = xprintf("{\"metadata\":{\"uid\":\"%s\",\"resourceVersion\":\"%s\",\"annotations\":{\"" ANNOTATION_GOOD "\":\"%s\",\"" ANNOTATION_BACK_FROM
				       "\":null,\"" ANNOTATION_BACK_REASON "\":null}}}",
		meta_of(l)->uid, meta_of(l)->resource_version, revision->id);
	return world_merge_patch(l->r->world, l->kind->what, l->ns, meta_of(l)->name, NULL, patch, err);
}

/* One write: the template of the good revision, and which one failed. */
static int go_back(struct looked_at *l, const struct revision *good, const char *why, struct error *err)
{
	const struct revision *bad = current_revision(l);
	autounref void *copy = api_copy(l->object);
	struct arena *arena = api_arena(copy);
	struct meta_v1_object_meta *meta = api_metadata(copy);
	struct core_v1_pod_template_spec *template = l->kind->template(copy);
	*template = (struct core_v1_pod_template_spec){0};
	api_copy_value(&core_v1_pod_template_spec_type, template, &good->template, arena);
	api_map_set(arena, &meta->annotations, ANNOTATION_BACK_FROM, bad->id);
	api_map_set(arena, &meta->annotations, ANNOTATION_BACK_REASON, why);
	api_map_set(arena, &meta->annotations, ANNOTATION_GOOD, good->id);
	int result = world_update(l->r->world, l->kind->what, copy, NULL, err);
	if (!result)
		reconciler_event(l->r, l->object, EVENT_WARNING, "RolledBack", "Revision %s has failed (%s): going back to revision %s", bad->id, why, good->id);
	return result;
}

/* ---- after it went back ---- */

/* Pods of the failed revision that are not ready, where their controller would wait for them for ever. */
static int remove_stuck(struct looked_at *l, const struct revision *bad, struct error *err)
{
	int result = 0;
	for (size_t i = 0; i < l->pods.len && !result && l->kind->stuck_pods_must_go; i++) {
		const struct core_v1_pod *pod = l->pods.items[i];
		if (is_of(l, pod, bad) && pod_is_active(pod) && !pod_is_ready(pod))
			result = world_delete(l->r->world, CACHED_PODS, pod, NULL, err);
	}
	return result;
}

/* The condition says which of the two it is: still where it went back to, or trying another. */
static int tell_of_past(struct looked_at *l, const struct revision *current, struct error *err)
{
	const char *from = annotation(l, ANNOTATION_BACK_FROM), *why = str_or(annotation(l, ANNOTATION_BACK_REASON), "");
	const struct revision *bad = find_revision(l, from);
	if (!from && !str_equal(l->kind->condition(l->object, ROLLED_BACK), "True"))
		return 0;
	if (!from)
		return set_condition(l, "False", "NewRollout", arena_printf(l->arena, "Revision %s has taken the place of the one that was gone back to.", current->id), err);
	if (bad == current || !str_equal(current->id, annotation(l, ANNOTATION_GOOD)))
		return set_condition(l, "False", "NewRollout", arena_printf(l->arena, "Revision %s is tried after %s had failed.", current->id, from), err);
	int result = bad ? remove_stuck(l, bad, err) : 0;
	if (result)
		return result;
	return set_condition(l, "True", "RolloutFailed", arena_printf(l->arena, "Went back from revision %s to %s: %s.", from, current->id, why), err);
}

static int judge(struct looked_at *l, int *ret_wait_ms, struct error *err)
{
	const struct revision *current = current_revision(l);
	int32_t available = count_available(l, current);
	if (!l->goal.pods)
		return 0; /* no pod runs: nothing is known of it */
	if (available >= l->goal.pods) {
		forget(l->r->state, l->ns, l->key);
		return note_good(l, current, err);
	}
	/* What was good once is not undone because its pods fail later. */
	if (str_equal(current->id, annotation(l, ANNOTATION_GOOD)))
		return 0;
	const char *why = crash_reason(l, current);
	if (!why)
		why = deadline_reason(l, current, ret_wait_ms);
	if (!why)
		return 0;
	const struct revision *good = good_revision(l);
	if (good)
		return go_back(l, good, why, err);
	autounref void *copy = api_copy(l->object);
	const char *message = arena_printf(l->arena, "Revision %s has failed (%s), and no revision was good before.", current->id, why);
	if (!l->kind->set_condition(copy, ROLLED_BACK, "False", "NothingToGoBackTo", message))
		return 0;
	reconciler_event(l->r, l->object, EVENT_WARNING, "NothingToGoBackTo", "%s", message);
	return world_update_status(l->r->world, l->kind->what, copy, NULL, err);
}

static int look(struct looked_at *l, int *ret_wait_ms, struct error *err)
{
	l->kind->goal(l->object, &l->goal);
	if (!l->goal.rolls || !l->goal.observed)
		return 0; /* its controller's next status wakes us */
	int result = l->kind->revisions(l->r->world, l->object, l->arena, &l->revisions, err);
	if (result || !current_revision(l))
		return result;
	workload_pods(l->r->world, l->kind, l->object, &l->revisions, &l->pods);
	result = tell_of_past(l, current_revision(l), err);
	return result ? result : judge(l, ret_wait_ms, err);
}

static int reconcile(struct reconciler *r, const char *ns, const char *key, struct error *err)
{
	const char *name;
	const struct workload_kind *kind = workload_of_key(key, &name);
	autounref void *object = kind ? world_find(r->world, kind->what, ns, name) : NULL;
	if (!object || api_metadata(object)->deletion_timestamp.set || !workload_asks(object, ANNOTATION_ROLL_BACK)) {
		forget(r->state, ns, key);
		return 0;
	}
	cleanup(looked_done) struct looked_at l = {.r = r, .kind = kind, .object = object, .ns = ns, .key = key, .arena = arena_new(), .revisions = {.current = -1}};
	int wait_ms = 0;
	int result = look(&l, &wait_ms, err);
	return result ? result : wait_ms;
}

/* ---- what wakes it ---- */

static void wake_by_workload(struct reconciler *r, const void *object)
{
	if (workload_asks(object, ANNOTATION_ROLL_BACK))
		workload_add(r, workload_kind_of(object), object, 0);
}

static void wake_owner(struct reconciler *r, const char *ns, const char *kind, const char *name)
{
	for (size_t i = 0; i < workload_kind_count; i++) {
		autounref void *object = str_equal(workload_kinds[i].kind, kind) ? world_find(r->world, workload_kinds[i].what, ns, name) : NULL;
		if (object)
			wake_by_workload(r, object);
	}
}

/* A pod belongs to a StatefulSet or DaemonSet, or to a Deployment by way of its ReplicaSet. */
static void wake_by_pod(struct reconciler *r, const void *object)
{
	const struct meta_v1_object_meta *meta = api_metadata(object);
	const struct meta_v1_owner_reference *owner = owner_controller(meta);
	if (!owner)
		return;
	if (!str_equal(owner->kind, "ReplicaSet")) {
		wake_owner(r, meta->namespace, owner->kind, owner->name);
		return;
	}
	autounref void *set = world_find(r->world, CACHED_REPLICA_SETS, meta->namespace, owner->name);
	owner = set ? owner_controller(api_metadata(set)) : NULL;
	if (owner)
		wake_owner(r, meta->namespace, owner->kind, owner->name);
}

const struct controller rollback_controller = {
	.name = "rollout-rollback-controller",
	.account = "rollout-rollback-controller",
	.workers = 2,
	.watches = (const struct controller_watch[]){{.what = CACHED_DEPLOYMENTS, .wake = wake_by_workload},
		{.what = CACHED_STATEFUL_SETS, .wake = wake_by_workload},
		{.what = CACHED_DAEMON_SETS, .wake = wake_by_workload},
		{.what = CACHED_PODS, .wake = wake_by_pod},
		{.what = CACHED_REPLICA_SETS, .read_only = true},
		{.what = CACHED_CONTROLLER_REVISIONS, .read_only = true},
		{.what = CACHED_NONE}},
	.reconcile = reconcile,
	.state_new = state_new,
	.state_free = state_free,
};
