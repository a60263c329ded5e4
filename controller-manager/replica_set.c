/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ReplicaSet and ReplicationController: as many pods as asked for, from one template. They differ only in their type, so both are seen
 * through struct replicated; its rows stand at the end.
 */
#include "controller-manager/controller.h"
#include "controller-manager/shared/owners.h"
#include "controller-manager/shared/pods.h"

#include "api/apps_v1.h"
#include "api/core_v1.h"

#include <errno.h>
#include <pthread.h>

#define CONDITION_REPLICA_FAILURE "ReplicaFailure"

/* The conditions of both kinds have one layout. */
_Static_assert(sizeof(struct apps_v1_replica_set_condition) == sizeof(struct core_v1_replication_controller_condition), "same layout");

struct replicated_kind {
	enum cached what;
	const char *kind;
};

/* One object of either kind: pointers into a private copy. */
struct replicated {
	const struct replicated_kind *kind;
	void *object; /* private copy, the status of which is changed */
	struct meta_v1_object_meta *meta;
	const struct core_v1_pod_template_spec *template;
	struct selector *selector;
	int32_t replicas, min_ready_seconds;
	int32_t *status_replicas, *fully_labeled, *ready, *available, **terminating;
	int64_t *observed_generation;
	struct apps_v1_replica_set_condition_array *conditions;
};

/* What one look at a set has done: the status counts it in, for the cache does not show it yet. */
struct done {
	size_t created; /* atomic */
	const struct core_v1_pod **pods; /* active; those to delete first once they are ranked */
	bool *deleted;                   /* of pods */
	size_t pod_count;
};

/*
 * While hundreds of pods of one set come or go, each would lead to a look at all of them, to other counts in the status, and to a write that wakes
 * others: such a set is looked at a few times a second, and the less often the longer a look takes. Only while there is nothing to be done but counting.
 */
#define PACED_FROM 64 /* pods */
#define PACE_NS (100 * NSEC_PER_MSEC)
#define PACE_SHARE 10 /* at most a tenth of the time is spent on looks at one set */

/* The last look at a set. */
struct look {
	int64_t ended_ns, took_ns;
	int64_t generation;
	bool counted; /* there was nothing to do but count many pods */
};

struct state {
	struct expectations *expectations;
	pthread_mutex_t lock;
	struct map looks; /* key -> struct look */
};

static void *state_new(void)
{
	struct state *state = xnew(struct state);
	state->expectations = expectations_new();
	state->looks = MAP_INIT(free);
	pthread_mutex_init(&state->lock, NULL);
	return state;
}

static void state_free(void *arg)
{
	struct state *state = arg;
	expectations_free(state->expectations);
	map_done(&state->looks);
	pthread_mutex_destroy(&state->lock);
	free(state);
}

static void replicated_done(struct replicated *set)
{
	selector_free(set->selector);
	api_unref(set->object);
}

static int view_replica_set(struct replicated *set, struct error *err)
{
	struct apps_v1_replica_set *rs = set->object;
	set->meta = &rs->metadata;
	set->template = &rs->spec.template;
	set->replicas = rs->spec.replicas ? *rs->spec.replicas : 1;
	set->min_ready_seconds = rs->spec.min_ready_seconds;
	set->status_replicas = &rs->status.replicas;
	set->fully_labeled = &rs->status.fully_labeled_replicas;
	set->ready = &rs->status.ready_replicas;
	set->available = &rs->status.available_replicas;
	set->terminating = &rs->status.terminating_replicas;
	set->observed_generation = &rs->status.observed_generation;
	set->conditions = &rs->status.conditions;
	return label_selector_from(rs->spec.selector, &set->selector, err);
}

static int view_replication_controller(struct replicated *set, struct error *err)
{
	struct core_v1_replication_controller *rc = set->object;
	struct meta_v1_label_selector selector = {.match_labels = rc->spec.selector};
	set->meta = &rc->metadata;
	set->template = rc->spec.template;
	set->replicas = rc->spec.replicas ? *rc->spec.replicas : 1;
	set->min_ready_seconds = rc->spec.min_ready_seconds;
	set->status_replicas = &rc->status.replicas;
	set->fully_labeled = &rc->status.fully_labeled_replicas;
	set->ready = &rc->status.ready_replicas;
	set->available = &rc->status.available_replicas;
	set->observed_generation = &rc->status.observed_generation;
	set->conditions = (struct apps_v1_replica_set_condition_array *)(void *)&rc->status.conditions;
	if (!set->template)
		return error_set(err, EINVAL, "replication controller has no template");
	return label_selector_from(&selector, &set->selector, err);
}

/* ---- making and removing pods ---- */

struct creation {
	struct reconciler *r;
	const struct replicated *set;
	const struct core_v1_pod *pod;
	const char *key;
	struct done *done;
};

static int create_one(size_t index, void *arg, struct error *err)
{
	struct creation *c = arg;
	int r = pod_create(c->r, c->set->object, c->pod, ((struct state *)c->r->state)->expectations, c->key, err);
	if (!r)
		__atomic_add_fetch(&c->done->created, 1, __ATOMIC_RELAXED);
	return r;
}

struct deletion {
	struct reconciler *r;
	const struct replicated *set;
	const char *key;
	struct done *done;
};

static int delete_one(size_t index, void *arg, struct error *err)
{
	struct deletion *d = arg;
	int r = pod_delete(d->r, d->set->object, d->done->pods[index], ((struct state *)d->r->state)->expectations, d->key, err);
	d->done->deleted[index] = !r;
	return r;
}

/* How many active pods of the same Deployment stand on the node of each of these: spread is kept by deleting where most stand. */
static void count_related(struct reconciler *r, const struct replicated *set, const struct core_v1_pod **pods, size_t count, int *ranks)
{
	automap struct map by_node = MAP_INIT(free);
	autolist struct informer_list siblings = INFORMER_LIST_INIT;
	const struct meta_v1_owner_reference *owner = owner_controller(set->meta);
	if (owner)
		world_list_index(r->world, set->kind->what, INDEX_OWNER, owner->uid, &siblings);
	else
		informer_list_add(&siblings, api_ref(set->object));
	for (size_t i = 0; i < siblings.len; i++) {
		autolist struct informer_list related = INFORMER_LIST_INIT;
		world_list_index(r->world, CACHED_PODS, INDEX_OWNER, api_metadata(siblings.items[i])->uid, &related);
		for (size_t j = 0; j < related.len; j++) {
			const struct core_v1_pod *pod = related.items[j];
			if (!pod_is_active(pod))
				continue;
			int *n = map_get(&by_node, str_or(pod->spec.node_name, ""));
			if (!n) {
				n = xnew(int);
				map_set(&by_node, str_or(pod->spec.node_name, ""), n);
			}
			++*n;
		}
	}
	for (size_t i = 0; i < count; i++) {
		int *n = map_get(&by_node, str_or(pods[i]->spec.node_name, ""));
		ranks[i] = n ? *n : 0;
	}
}

static void remove_surplus(struct reconciler *r, const struct replicated *set, const char *key, struct done *done, size_t surplus, struct error *err)
{
	autofree int *ranks = xcalloc(done->pod_count, sizeof(int));
	if (surplus < done->pod_count) {
		if (set->kind->what == CACHED_REPLICA_SETS)
			count_related(r, set, done->pods, done->pod_count, ranks);
		pods_rank_for_deletion(done->pods, ranks, done->pod_count, clock_wall());
	}
	struct deletion deletion = {.r = r, .set = set, .key = key, .done = done};
	slow_start(r->world, min_of(surplus, (size_t)BURST_REPLICAS), delete_one, &deletion, err);
}

static void manage(struct reconciler *r, const struct replicated *set, const char *key, struct done *done, struct error *err)
{
	if ((int64_t)done->pod_count > set->replicas)
		remove_surplus(r, set, key, done, done->pod_count - (size_t)max_of(set->replicas, 0), err);
	if ((int64_t)done->pod_count >= set->replicas)
		return;
	size_t missing = min_of((size_t)set->replicas - done->pod_count, (size_t)BURST_REPLICAS);
	autounref struct core_v1_pod *pod = pod_from_template(set->template, set->object, set->meta->name);
	struct creation creation = {.r = r, .set = set, .pod = pod, .key = key, .done = done};
	slow_start(r->world, missing, create_one, &creation, err);
}

/* ---- status ---- */

static struct apps_v1_replica_set_condition *find_condition(const struct replicated *set, const char *type)
{
	for (uint32_t i = 0; i < set->conditions->len; i++)
		if (str_equal(set->conditions->items[i].type, type))
			return &set->conditions->items[i];
	return NULL;
}

/* message NULL: there is no failure. */
static void set_failure(struct replicated *set, const char *reason, const char *message)
{
	struct apps_v1_replica_set_condition *condition = find_condition(set, CONDITION_REPLICA_FAILURE);
	struct arena *arena = api_arena(set->object);
	if (!message) {
		if (condition)
			api_list_remove(set->conditions, condition - set->conditions->items);
		return;
	}
	if (condition && str_equal(condition->status, "True") && str_equal(condition->reason, reason))
		return;
	if (!condition)
		condition = api_list_add(arena, set->conditions);
	condition->type = CONDITION_REPLICA_FAILURE;
	condition->status = "True";
	condition->reason = reason;
	condition->message = arena_strdup(arena, message);
	condition->last_transition_time = api_time_now();
}

static void set_mismatch(struct reconciler *r, struct replicated *set)
{
	if (!find_condition(set, CONDITION_REPLICA_FAILURE))
		reconciler_event(r, set->object, EVENT_WARNING, REASON_SELECTOR_MISMATCH, MESSAGE_SELECTOR_MISMATCH);
	set_failure(set, REASON_SELECTOR_MISMATCH, MESSAGE_SELECTOR_MISMATCH);
}

static bool labels_match_template(const struct core_v1_pod *pod, const struct replicated *set)
{
	return api_map_contains(&pod->metadata.labels, &set->template->metadata.labels);
}

/* Whether a deletion leaves nothing to wait for: no kubelet has to stop it first. */
static bool goes_at_once(const struct core_v1_pod *pod)
{
	const int64_t *grace = pod->spec.termination_grace_period_seconds;
	return !pod->metadata.finalizers.len && (str_empty(pod->spec.node_name) || (grace && !*grace));
}

/*
 * Counts what is there once this look's own writes are seen: a pod that it has just deleted would else still count as available, and a Deployment that
 * trusts the count would take another one. Returns milliseconds until the next pod becomes available, or 0.
 */
static int compute_status(struct replicated *set, const struct informer_list *pods, const struct done *done)
{
	struct wall_time now = clock_wall(), soonest = {.sec = INT64_MAX};
	int32_t terminating = 0, created = (int32_t)done->created;
	int32_t replicas = created, labeled = created, ready = 0, available = 0;
	for (size_t i = 0; i < pods->len; i++)
		terminating += pod_is_terminating(pods->items[i]);
	for (size_t i = 0; i < done->pod_count; i++) {
		const struct core_v1_pod *pod = done->pods[i];
		struct wall_time then;
		if (done->deleted[i]) {
			terminating += !goes_at_once(pod);
			continue;
		}
		replicas++;
		labeled += labels_match_template(pod, set);
		if (!pod_is_ready(pod))
			continue;
		ready++;
		if (pod_is_available(pod, set->min_ready_seconds, now))
			available++;
		else if (pod_available_at(pod, set->min_ready_seconds, &then) && time_diff_ns(then, soonest) < 0)
			soonest = then;
	}
	*set->status_replicas = replicas;
	*set->fully_labeled = labeled;
	*set->ready = ready;
	*set->available = available;
	if (set->terminating)
		*set->terminating = api_int32(api_arena(set->object), terminating);
	return ready > available && soonest.sec != INT64_MAX ? milliseconds_until(soonest) : 0;
}

/* Milliseconds until the set is worth another look; 0: now. */
static int pace(struct state *state, const char *key, int64_t generation)
{
	pthread_mutex_lock(&state->lock);
	const struct look *last = map_get(&state->looks, key);
	int64_t left = 0;
	if (last && last->counted && last->generation == generation)
		left = last->ended_ns + max_of(PACE_NS, last->took_ns * PACE_SHARE) - clock_monotonic_ns();
	pthread_mutex_unlock(&state->lock);
	return left > 0 ? (int)(left / NSEC_PER_MSEC + 1) : 0;
}

static void note_look(struct state *state, const char *key, const struct look *look)
{
	pthread_mutex_lock(&state->lock);
	map_set(&state->looks, key, xmemdup(look, sizeof(*look)));
	pthread_mutex_unlock(&state->lock);
}

static void forget(struct state *state, const char *key)
{
	expectations_forget(state->expectations, key);
	pthread_mutex_lock(&state->lock);
	map_remove(&state->looks, key);
	pthread_mutex_unlock(&state->lock);
}

static void done_free(struct done *done)
{
	free(done->pods);
	free(done->deleted);
}

static void collect_active(const struct informer_list *pods, struct done *done)
{
	done->pods = xcalloc(pods->len, sizeof(*done->pods));
	done->deleted = xcalloc(pods->len, sizeof(*done->deleted));
	for (size_t i = 0; i < pods->len; i++)
		if (pod_is_active(pods->items[i]))
			done->pods[done->pod_count++] = pods->items[i];
}

/* A finished pod is nobody's to adopt. */
static bool may_claim(const void *pod, void *arg)
{
	return true;
}

static int sync_set(struct reconciler *r, const struct replicated_kind *kind, int (*view)(struct replicated *, struct error *), const char *ns,
	const char *name, struct error *err)
{
	struct state *state = r->state;
	autofree char *key = xprintf("%s/%s", ns, name);
	autounref void *cached = world_find(r->world, kind->what, ns, name);
	if (!cached) {
		forget(state, key);
		return 0;
	}
	cleanup(replicated_done) struct replicated set = {.kind = kind, .object = api_copy(cached)};
	int result = view(&set, err);
	if (result)
		return result;
	int may_manage = expectations_check(state->expectations, r->world, CACHED_PODS, key, err);
	if (may_manage <= 0)
		return may_manage < 0 ? may_manage : EXPECTATIONS_LOOK_MS;
	int wait_ms = pace(state, key, set.meta->generation);
	if (wait_ms)
		return wait_ms;
	int64_t begun = clock_monotonic_ns();
	autolist struct informer_list pods = INFORMER_LIST_INIT;
	result = owner_claim(r->world, kind->what, cached, CACHED_PODS, set.selector, may_claim, NULL, &pods, err);
	if (result)
		return result;
	cleanup(done_free) struct done done = {0};
	collect_active(&pods, &done);
	autoerror struct error failed = {0};
	bool creating = (int64_t)done.pod_count < set.replicas;
	if (!template_is_selected(set.selector, set.template)) {
		set_mismatch(r, &set);
	} else if (!set.meta->deletion_timestamp.set) {
		manage(r, &set, key, &done, &failed);
		set_failure(&set, creating ? "FailedCreate" : "FailedDelete", failed.errnum ? error_message(&failed) : NULL);
	}
	int after_ms = compute_status(&set, &pods, &done);
	*set.observed_generation = set.meta->generation;
	int64_t now = clock_monotonic_ns();
	bool counted = pods.len >= PACED_FROM && !failed.errnum && (int64_t)done.pod_count == set.replicas;
	note_look(state, key, &(struct look){now, now - begun, set.meta->generation, counted});
	if (!api_equal(api_type_of(cached), cached, set.object)) {
		result = world_update_status(r->world, kind->what, set.object, NULL, err);
		if (result)
			return result;
	}
	return failed.errnum ? error_move(err, &failed) : after_ms;
}

/* ---- what wakes them ---- */

static void wake_by_pod(struct reconciler *r, const void *object, enum cached what, const char *kind)
{
	const struct core_v1_pod *pod = object;
	if (owner_controller(&pod->metadata)) {
		reconciler_add_owner(r, object, kind);
		return;
	}
	/* An orphan wakes every set of its namespace that might adopt it. */
	if (!pod->metadata.labels.len || pod->metadata.deletion_timestamp.set)
		return;
	autolist struct informer_list sets = INFORMER_LIST_INIT;
	world_list_namespace(r->world, what, pod->metadata.namespace, &sets);
	for (size_t i = 0; i < sets.len; i++) {
		struct replicated set = {.object = sets.items[i]};
		bool is_set = what == CACHED_REPLICA_SETS;
		int result = is_set ? view_replica_set(&set, NULL) : view_replication_controller(&set, NULL);
		if (result == 0 && !selector_is_empty(set.selector) && selector_matches_labels(set.selector, &pod->metadata.labels))
			reconciler_add(r, set.meta->namespace, set.meta->name);
		selector_free(set.selector);
	}
}

static void wake_replica_sets(struct reconciler *r, const void *object)
{
	wake_by_pod(r, object, CACHED_REPLICA_SETS, "ReplicaSet");
}

static void wake_replication_controllers(struct reconciler *r, const void *object)
{
	wake_by_pod(r, object, CACHED_REPLICATION_CONTROLLERS, "ReplicationController");
}

static const struct replicated_kind replica_set_kind = {CACHED_REPLICA_SETS, "ReplicaSet"};
static const struct replicated_kind replication_controller_kind = {CACHED_REPLICATION_CONTROLLERS, "ReplicationController"};

static int reconcile_replica_set(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	return sync_set(r, &replica_set_kind, view_replica_set, ns, name, err);
}

static int reconcile_replication_controller(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	return sync_set(r, &replication_controller_kind, view_replication_controller, ns, name, err);
}

const struct controller replica_set_controller = {
	.name = "replicaset-controller",
	.queue = "replicaset",
	.account = "replicaset-controller",
	.alias = "replicaset",
	.concurrency_flag = "concurrent-replicaset-syncs",
	.workers = 5,
	.watches = (const struct controller_watch[]){{.what = CACHED_REPLICA_SETS}, {.what = CACHED_PODS, .wake = wake_replica_sets}, {.what = CACHED_NONE}},
	.reconcile = reconcile_replica_set,
	.state_new = state_new,
	.state_free = state_free,
};

const struct controller replication_controller_controller = {
	.name = "replicationcontroller-controller",
	.queue = "replicationmanager",
	.account = "replication-controller",
	.alias = "replicationcontroller",
	.component = "replication-controller",
	.concurrency_flag = "concurrent-rc-syncs",
	.workers = 2,
	.watches = (const struct controller_watch[]){{.what = CACHED_REPLICATION_CONTROLLERS}, {.what = CACHED_PODS, .wake = wake_replication_controllers}, {.what = CACHED_NONE}},
	.reconcile = reconcile_replication_controller,
	.state_new = state_new,
	.state_free = state_free,
};
