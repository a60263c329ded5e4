/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DaemonSet: one pod on every node that fits. Pods are pinned by node affinity and bound by the scheduler. Updates replace pods node by
 * node, within maxUnavailable, or before the old ones go, within maxSurge.
 */
#include "controller-manager/controller.h"
#include "controller-manager/shared/history.h"
#include "controller-manager/shared/nodes.h"
#include "controller-manager/shared/owners.h"
#include "controller-manager/shared/pods.h"

#include <errno.h>
#include <pthread.h>

#define BACKOFF_FIRST_NS NSEC_PER_SEC
#define BACKOFF_MOST_NS (15 * 60 * NSEC_PER_SEC)
#define ANNOTATION_TEMPLATE_GENERATION "deprecated.daemonset.template.generation"
#define LABEL_TEMPLATE_GENERATION "pod-template-generation"

/* Pods that fail over and over on one node are replaced ever later. */
struct backoff {
	int64_t delay_ns, since_ns;
};

struct state {
	struct expectations *expectations;
	pthread_mutex_t lock;
	struct map backoffs; /* uid/generation/node -> struct backoff */
};

/* A pod and the node it runs on, or is pinned to. */
struct placed {
	const char *node;
	const struct core_v1_pod *pod;
};

struct verdict {
	bool run, stay; /* is the set's pod to be started there; may one that is there stay? */
};

/* All of one reconcile. */
struct sync {
	struct reconciler *r;
	const char *key;
	const struct apps_v1_daemon_set *cached;
	struct apps_v1_daemon_set *ds; /* private copy */
	const char *hash;
	struct informer_list nodes, pods;
	struct placed *placed;    /* by node, the oldest first */
	struct verdict *verdicts; /* of each of the nodes */
	int after_ms;
	const char **create; /* node names */
	const struct core_v1_pod **delete;
	size_t create_count, delete_count;
};

static const char *const run_effects[] = {"NoSchedule", "NoExecute", NULL};
static const char *const stay_effects[] = {"NoExecute", NULL};

static const struct {
	const char *key, *effect;
	bool host_network_only;
} own_tolerations[] = {
	{"node.kubernetes.io/not-ready", "NoExecute", false},
	{"node.kubernetes.io/unreachable", "NoExecute", false},
	{"node.kubernetes.io/disk-pressure", "NoSchedule", false},
	{"node.kubernetes.io/memory-pressure", "NoSchedule", false},
	{"node.kubernetes.io/pid-pressure", "NoSchedule", false},
	{"node.kubernetes.io/unschedulable", "NoSchedule", false},
	{"node.kubernetes.io/network-unavailable", "NoSchedule", true},
};

static void add_tolerations(struct arena *arena, struct core_v1_pod_spec *spec)
{
	for (size_t i = 0; i < array_len(own_tolerations); i++) {
		if (own_tolerations[i].host_network_only && !spec->host_network)
			continue;
		struct core_v1_toleration *t = api_list_add(arena, &spec->tolerations);
		t->key = own_tolerations[i].key;
		t->effect = own_tolerations[i].effect;
		t->operator = "Exists";
	}
}

static struct verdict judge_node(const struct core_v1_pod_spec *spec, const struct core_v1_node *node)
{
	bool fits = (str_empty(spec->node_name) || str_equal(spec->node_name, node->metadata.name)) && pod_spec_fits_node(spec, node);
	return (struct verdict){.run = fits && tolerates_node(&spec->tolerations, node, run_effects), .stay = fits && tolerates_node(&spec->tolerations, node, stay_effects)};
}

static const char *pod_node(const struct core_v1_pod *pod)
{
	if (!str_empty(pod->spec.node_name))
		return pod->spec.node_name;
	const struct core_v1_node_affinity *affinity = pod->spec.affinity ? pod->spec.affinity->node_affinity : NULL;
	const struct core_v1_node_selector *required = affinity ? affinity->required_during_scheduling_ignored_during_execution : NULL;
	for (uint32_t i = 0; required && i < required->node_selector_terms.len; i++) {
		const struct core_v1_node_selector_term *term = &required->node_selector_terms.items[i];
		for (uint32_t j = 0; j < term->match_fields.len; j++)
			if (str_equal(term->match_fields.items[j].key, "metadata.name") && term->match_fields.items[j].values.len == 1)
				return term->match_fields.items[j].values.items[0];
	}
	return "";
}

/* The API server's count of templates, which pods have carried since before there were revisions. NULL: none that is a number. */
static const char *template_generation(const struct sync *s)
{
	const char *text = api_map_get(&s->ds->metadata.annotations, ANNOTATION_TEMPLATE_GENERATION);
	int64_t generation;
	return text && str_to_int64(text, INT64_MIN, INT64_MAX, &generation) ? text : NULL;
}

static bool is_updated(const struct sync *s, const struct core_v1_pod *pod)
{
	const char *generation = template_generation(s);
	return str_equal(api_map_get(&pod->metadata.labels, LABEL_REVISION_HASH), s->hash) ||
	       (generation && str_equal(api_map_get(&pod->metadata.labels, LABEL_TEMPLATE_GENERATION), generation));
}

static void want_delete(struct sync *s, const struct core_v1_pod *pod)
{
	for (size_t i = 0; i < s->delete_count; i++)
		if (s->delete[i] == pod)
			return;
	s->delete[s->delete_count++] = pod;
}

static bool is_available(const struct sync *s, const struct core_v1_pod *pod)
{
	return pod_is_available(pod, s->ds->spec.min_ready_seconds, clock_wall());
}

static int compare_placed(const void *a, const void *b)
{
	const struct placed *left = a, *right = b;
	const struct core_v1_pod *x = left->pod, *y = right->pod;
	int by_node = strcmp(left->node, right->node);
	if (by_node)
		return by_node;
	bool bound_x = !str_empty(x->spec.node_name), bound_y = !str_empty(y->spec.node_name);
	if (bound_x != bound_y)
		return bound_x ? -1 : 1;
	int64_t diff = time_diff_ns(x->metadata.creation_timestamp.t, y->metadata.creation_timestamp.t);
	return diff < 0 ? -1 : diff > 0 ? 1 : strcmp(x->metadata.name, y->metadata.name);
}

static void place_pods(struct sync *s)
{
	s->placed = xcalloc(s->pods.len, sizeof(*s->placed));
	for (size_t i = 0; i < s->pods.len; i++)
		s->placed[i] = (struct placed){pod_node(s->pods.items[i]), s->pods.items[i]};
	if (s->pods.len)
		qsort(s->placed, s->pods.len, sizeof(*s->placed), compare_placed);
}

/* The pods of one node, terminating and ended ones too, oldest first. */
static const struct placed *placed_on(const struct sync *s, const char *node, size_t *ret_count)
{
	size_t low = 0, high = s->pods.len;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (strcmp(s->placed[middle].node, node) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (high = low; high < s->pods.len && str_equal(s->placed[high].node, node);)
		high++;
	*ret_count = high - low;
	return s->placed + low;
}

/* Nanoseconds to wait before a failed pod of this node is replaced; 0: now, and the next wait will be twice as long. */
static int64_t back_off(struct sync *s, const char *node)
{
	struct state *state = s->r->state;
	autofree char *key = xprintf("%s/%lld/%s", s->ds->metadata.uid, (long long)s->ds->metadata.generation, node);
	int64_t now = clock_monotonic_ns(), left = 0;
	pthread_mutex_lock(&state->lock);
	struct backoff *backoff = map_get(&state->backoffs, key);
	if (backoff && now - backoff->since_ns < backoff->delay_ns) {
		left = backoff->since_ns + backoff->delay_ns - now;
	} else {
		struct backoff next = {.delay_ns = backoff ? min_of(backoff->delay_ns * 2, BACKOFF_MOST_NS) : BACKOFF_FIRST_NS, .since_ns = now};
		/* What has been quiet for long begins anew, and what nobody asks for any more goes. */
		if (backoff && now - backoff->since_ns > 2 * BACKOFF_MOST_NS)
			next.delay_ns = BACKOFF_FIRST_NS;
		size_t pos = 0;
		for (struct map_entry *e; !backoff && (e = map_next(&state->backoffs, &pos));)
			if (now - ((struct backoff *)e->value)->since_ns > 2 * BACKOFF_MOST_NS)
				map_remove(&state->backoffs, e->key);
		map_set(&state->backoffs, key, xmemdup(&next, sizeof(next)));
	}
	pthread_mutex_unlock(&state->lock);
	return left;
}

/* The oldest pod that is still on the node: one that has ended and is only held by a finalizer is not. */
static const struct core_v1_pod *oldest_present(const struct placed *placed, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!pod_is_terminal(placed[i].pod) || !placed[i].pod->metadata.deletion_timestamp.set)
			return placed[i].pod;
	return NULL;
}

static void look_again(struct sync *s, int ms)
{
	s->after_ms = s->after_ms ? min_of(s->after_ms, ms) : ms;
}

/* A pod that has ended is deleted, and another made once it is gone. */
static void replace_ended(struct sync *s, const struct core_v1_pod *pod, const char *node)
{
	bool failed = str_equal(pod->status.phase, CORE_V1_POD_PHASE_FAILED);
	int64_t wait = failed ? back_off(s, node) : 0;
	if (wait) {
		look_again(s, (int)(wait / NSEC_PER_MSEC + 1));
		return;
	}
	reconciler_event(s->r, s->ds, failed ? EVENT_WARNING : EVENT_NORMAL, failed ? "FailedDaemonPod" : "SucceededDaemonPod",
		"Found %s daemon pod %s/%s on node %s, will try to %s it", failed ? "failed" : "succeeded", pod->metadata.namespace, pod->metadata.name, node,
		failed ? "kill" : "delete");
	want_delete(s, pod);
}

/* The live pods of one node, oldest first; the caller frees. Those that have ended are told to go, where pods of the set may stay. */
static const struct core_v1_pod **pods_of_node(struct sync *s, const char *node, bool stay, size_t *ret_count)
{
	size_t all, count = 0;
	const struct placed *placed = placed_on(s, node, &all);
	const struct core_v1_pod **list = xcalloc(all, sizeof(*list));
	for (size_t i = 0; i < all; i++) {
		const struct core_v1_pod *pod = placed[i].pod;
		if (pod->metadata.deletion_timestamp.set)
			continue;
		if (pod_is_terminal(pod) && stay)
			replace_ended(s, pod, node);
		else
			list[count++] = pod;
	}
	*ret_count = count;
	return list;
}

static int32_t max_surge(const struct apps_v1_daemon_set *ds, int32_t desired)
{
	const struct apps_v1_rolling_update_daemon_set *rolling = ds->spec.update_strategy.rolling_update;
	int n = 0;
	if (!rolling || !rolling->max_surge || str_equal(ds->spec.update_strategy.type, "OnDelete"))
		return 0;
	return int_or_string_scaled(rolling->max_surge, desired, true, &n) < 0 ? 0 : n;
}

static int32_t max_unavailable(const struct apps_v1_daemon_set *ds, int32_t desired)
{
	const struct apps_v1_rolling_update_daemon_set *rolling = ds->spec.update_strategy.rolling_update;
	int n = 1;
	if (rolling && rolling->max_unavailable && int_or_string_scaled(rolling->max_unavailable, desired, true, &n) < 0)
		n = 1;
	return n || max_surge(ds, desired) ? n : 1;
}

/* One pod a node: makes what is missing, removes what is too many. */
static void plan_node(struct sync *s, size_t at, bool surging)
{
	const char *node = ((const struct core_v1_node *)s->nodes.items[at])->metadata.name;
	struct verdict verdict = s->verdicts[at];
	size_t count, all;
	autofree const struct core_v1_pod **pods = pods_of_node(s, node, verdict.stay, &count);
	/* Two at once are only for a surge: without it the next is made when the one before has left the node. */
	const struct placed *placed = placed_on(s, node, &all);
	if (verdict.run && (surging ? !count : !oldest_present(placed, all)))
		s->create[s->create_count++] = node;
	if (!verdict.stay) {
		for (size_t i = 0; i < count; i++)
			want_delete(s, pods[i]);
		return;
	}
	/* While a surge is under way an old and a new pod stand side by side; of each kind only the oldest is kept. */
	const struct core_v1_pod *old = NULL, *new = NULL;
	for (size_t i = 0; i < count; i++) {
		const struct core_v1_pod **slot = surging && is_updated(s, pods[i]) ? &new : &old;
		if (*slot)
			want_delete(s, pods[i]);
		else
			*slot = pods[i];
	}
	if (old && new && (!pod_is_ready(old) || is_available(s, new)))
		want_delete(s, old);
}

/* The live pods of a node: one of the new template and one of another, at most. */
static void pair_of(const struct sync *s, const char *node, const struct core_v1_pod **ret_old, const struct core_v1_pod **ret_new)
{
	size_t count;
	const struct placed *placed = placed_on(s, node, &count);
	*ret_old = *ret_new = NULL;
	for (size_t i = 0; i < count; i++) {
		const struct core_v1_pod *pod = placed[i].pod;
		if (!pod_is_terminal(pod) && !pod->metadata.deletion_timestamp.set)
			*(is_updated(s, pod) ? ret_new : ret_old) = pod;
	}
}

static void plan_update(struct sync *s, int32_t desired)
{
	int32_t surge = max_surge(s->ds, desired), unavailable = 0, surging = 0;
	int32_t limit = max_unavailable(s->ds, desired);
	autofree const struct core_v1_pod **candidates = xcalloc(s->nodes.len, sizeof(*candidates));
	size_t candidate_count = 0;
	for (size_t i = 0; i < s->nodes.len; i++) {
		const struct core_v1_node *node = s->nodes.items[i];
		const struct core_v1_pod *old, *new;
		if (!s->verdicts[i].run)
			continue;
		pair_of(s, node->metadata.name, &old, &new);
		if (new && old) {
			surging++;
		} else if (new || !old) {
			unavailable += !new || !is_available(s, new);
		} else if (!is_available(s, old)) {
			/* It serves nobody: replacing it costs nothing. */
			unavailable++;
			if (surge)
				s->create[s->create_count++] = node->metadata.name;
			else
				want_delete(s, old);
		} else {
			candidates[candidate_count++] = old;
		}
	}
	for (size_t i = 0; i < candidate_count; i++) {
		if (surge && surging < surge) {
			s->create[s->create_count++] = pod_node(candidates[i]);
			surging++;
		} else if (!surge && unavailable < limit) {
			want_delete(s, candidates[i]);
			unavailable++;
		}
	}
}

/* ---- carrying out ---- */

static void pin(struct core_v1_pod *pod, const char *node)
{
	struct arena *arena = api_arena(pod);
	if (!pod->spec.affinity)
		pod->spec.affinity = arena_new_type(arena, struct core_v1_affinity);
	if (!pod->spec.affinity->node_affinity)
		pod->spec.affinity->node_affinity = arena_new_type(arena, struct core_v1_node_affinity);
	struct core_v1_node_selector *required = arena_new_type(arena, struct core_v1_node_selector);
	struct core_v1_node_selector_term *term = api_list_add(arena, &required->node_selector_terms);
	struct core_v1_node_selector_requirement *field = api_list_add(arena, &term->match_fields);
	field->key = "metadata.name";
	field->operator = "In";
	api_string_list_add(arena, &field->values, node);
	/* The terms that were there chose the node; a pinned pod needs no other. */
	pod->spec.affinity->node_affinity->required_during_scheduling_ignored_during_execution = required;
}

static struct expectations *expectations_of(const struct sync *s)
{
	return ((struct state *)s->r->state)->expectations;
}

static int create_one(size_t index, void *arg, struct error *err)
{
	struct sync *s = arg;
	autounref struct core_v1_pod *pod = pod_from_template(&s->ds->spec.template, s->ds, s->ds->metadata.name);
	api_map_set(api_arena(pod), &pod->metadata.labels, LABEL_REVISION_HASH, s->hash);
	if (template_generation(s))
		api_map_set(api_arena(pod), &pod->metadata.labels, LABEL_TEMPLATE_GENERATION, template_generation(s));
	add_tolerations(api_arena(pod), &pod->spec);
	pin(pod, s->create[index]);
	return pod_create(s->r, s->ds, pod, expectations_of(s), s->key, err);
}

static int delete_one(size_t index, void *arg, struct error *err)
{
	struct sync *s = arg;
	return pod_delete(s->r, s->ds, s->delete[index], expectations_of(s), s->key, err);
}

static int carry_out(struct sync *s, struct error *err)
{
	autoerror struct error failed = {0};
	slow_start(s->r->world, min_of(s->create_count, (size_t)BURST_REPLICAS), create_one, s, &failed);
	if (!failed.errnum)
		slow_start(s->r->world, min_of(s->delete_count, (size_t)BURST_REPLICAS), delete_one, s, &failed);
	return error_move(err, &failed);
}

static int write_status(struct sync *s, struct error *err)
{
	if (api_equal(&apps_v1_daemon_set_status_type, &s->ds->status, &s->cached->status))
		return 0;
	return world_update_status(s->r->world, CACHED_DAEMON_SETS, s->ds, NULL, err);
}

static int update_status(struct sync *s, struct error *err)
{
	struct apps_v1_daemon_set_status *status = &s->ds->status;
	int32_t desired = 0, current = 0, mis = 0, ready = 0, available = 0, updated = 0;
	for (size_t i = 0; i < s->nodes.len; i++) {
		const struct core_v1_node *node = s->nodes.items[i];
		bool run = s->verdicts[i].run;
		size_t count;
		const struct placed *placed = placed_on(s, node->metadata.name, &count);
		desired += run;
		/* The oldest stands for its node, also while it goes: what is to replace it counts once it is alone. */
		const struct core_v1_pod *first = oldest_present(placed, count);
		if (!first)
			continue;
		mis += !run;
		if (!run)
			continue;
		struct wall_time then;
		current++;
		updated += is_updated(s, first);
		ready += pod_is_ready(first);
		available += is_available(s, first);
		if (!is_available(s, first) && pod_available_at(first, s->ds->spec.min_ready_seconds, &then))
			look_again(s, milliseconds_until(then));
	}
	status->desired_number_scheduled = desired;
	status->current_number_scheduled = current;
	status->number_misscheduled = mis;
	status->number_ready = ready;
	status->number_available = available;
	status->number_unavailable = desired - available;
	status->updated_number_scheduled = updated;
	status->observed_generation = s->ds->metadata.generation;
	return write_status(s, err);
}

static bool revision_is_live(const struct apps_v1_controller_revision *revision, void *arg)
{
	const struct sync *s = arg;
	for (size_t i = 0; i < s->pods.len; i++)
		if (str_equal(api_map_get(&((const struct core_v1_pod *)s->pods.items[i])->metadata.labels, LABEL_REVISION_HASH), revision_hash(revision)))
			return true;
	return false;
}

static int plan_and_act(struct sync *s, struct error *err)
{
	int32_t desired = 0;
	for (size_t i = 0; i < s->nodes.len; i++)
		desired += s->verdicts[i].run;
	s->create = xcalloc(s->nodes.len * 2, sizeof(*s->create));
	s->delete = xcalloc(s->pods.len, sizeof(*s->delete));
	for (size_t i = 0; i < s->nodes.len; i++)
		plan_node(s, i, max_surge(s->ds, desired) > 0);
	/* Pinned to a node that is gone: the scheduler will never bind it. */
	for (size_t i = 0; i < s->pods.len; i++) {
		const struct core_v1_pod *pod = s->pods.items[i];
		if (!str_empty(pod->spec.node_name) || pod->metadata.deletion_timestamp.set)
			continue;
		autounref void *node = world_find(s->r->world, CACHED_NODES, NULL, pod_node(pod));
		if (!node)
			want_delete(s, pod);
	}
	/* First each node has its pod, then they are replaced. */
	if (!s->create_count && !s->delete_count && !str_equal(s->ds->spec.update_strategy.type, "OnDelete"))
		plan_update(s, desired);
	return carry_out(s, err);
}

/* What the cache shows of the pods once they have been made and removed: the status counts them as they are then. */
static void look_at_pods_again(struct sync *s)
{
	informer_list_done(&s->pods);
	free(s->placed);
	s->pods = (struct informer_list)INFORMER_LIST_INIT;
	world_list_index(s->r->world, CACHED_PODS, INDEX_OWNER, s->ds->metadata.uid, &s->pods);
	place_pods(s);
}

static void sync_done(struct sync *s)
{
	informer_list_done(&s->nodes);
	informer_list_done(&s->pods);
	free(s->placed);
	free(s->verdicts);
	free(s->create);
	free(s->delete);
	api_unref(s->ds);
}

static int sync_set(struct sync *s, const struct selector *selector, struct error *err)
{
	struct apps_v1_daemon_set *ds = s->ds;
	if (selector_mismatches(s->r, ds, &ds->status.conditions, selector, &ds->spec.template)) {
		ds->status.observed_generation = ds->metadata.generation;
		return write_status(s, err);
	}
	cleanup(history_done) struct history history = {0};
	int32_t collisions = ds->status.collision_count ? *ds->status.collision_count : 0, before = collisions;
	int may_manage = expectations_check(expectations_of(s), s->r->world, CACHED_PODS, s->key, err);
	if (may_manage < 0)
		return may_manage;
	int result = history_load(s->r, CACHED_DAEMON_SETS, s->cached, selector, &ds->spec.template, &collisions, &history, err);
	if (collisions != before) {
		ds->status.collision_count = api_int32(api_arena(ds), collisions);
		world_update_status(s->r->world, CACHED_DAEMON_SETS, ds, NULL, NULL);
	}
	result = result ? result : owner_claim(s->r->world, CACHED_DAEMON_SETS, s->cached, CACHED_PODS, selector, NULL, NULL, &s->pods, err);
	if (result)
		return result;
	s->hash = revision_hash(history.current);
	world_list_all(s->r->world, CACHED_NODES, &s->nodes);
	/* What the pods will look like decides where they fit. */
	autoarena struct arena *arena = arena_new();
	struct core_v1_pod_spec spec = {0};
	api_copy_value(&core_v1_pod_spec_type, &spec, &ds->spec.template.spec, arena);
	add_tolerations(arena, &spec);
	s->verdicts = xcalloc(s->nodes.len, sizeof(*s->verdicts));
	for (size_t i = 0; i < s->nodes.len; i++)
		s->verdicts[i] = judge_node(&spec, s->nodes.items[i]);
	place_pods(s);
	autoerror struct error failed = {0};
	if (may_manage && !ds->metadata.deletion_timestamp.set)
		plan_and_act(s, &failed);
	if (s->create_count || s->delete_count)
		look_at_pods_again(s);
	result = update_status(s, err);
	if (!result && failed.errnum)
		result = error_move(err, &failed);
	if (!result && !ds->metadata.deletion_timestamp.set)
		result = history_truncate(s->r, &history, ds->spec.revision_history_limit ? *ds->spec.revision_history_limit : 10, revision_is_live, s, err);
	if (result)
		return result;
	return s->after_ms || may_manage ? s->after_ms : EXPECTATIONS_LOOK_MS;
}

static int reconcile(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	autofree char *key = xprintf("%s/%s", ns, name);
	autounref struct apps_v1_daemon_set *cached = world_find(r->world, CACHED_DAEMON_SETS, ns, name);
	if (!cached) {
		expectations_forget(((struct state *)r->state)->expectations, key);
		return 0;
	}
	struct selector *selector = NULL;
	int result = label_selector_from(cached->spec.selector, &selector, err);
	if (result)
		return result;
	if (selector_is_empty(selector)) {
		reconciler_event(r, cached, EVENT_WARNING, "SelectingAll", "This daemon set is selecting all pods. A non-empty selector is required.");
	} else {
		cleanup(sync_done) struct sync s = {.r = r, .key = key, .cached = cached, .ds = api_copy(cached)};
		result = sync_set(&s, selector, err);
	}
	selector_free(selector);
	return result;
}

static void wake_by_owned(struct reconciler *r, const void *object)
{
	const struct meta_v1_object_meta *meta = api_metadata(object);
	if (owner_controller(meta)) {
		reconciler_add_owner(r, object, "DaemonSet");
		return;
	}
	/* An orphan wakes every set that might take it in. */
	autolist struct informer_list sets = INFORMER_LIST_INIT;
	if (!meta->labels.len || meta->deletion_timestamp.set)
		return;
	world_list_namespace(r->world, CACHED_DAEMON_SETS, meta->namespace, &sets);
	for (size_t i = 0; i < sets.len; i++) {
		const struct apps_v1_daemon_set *ds = sets.items[i];
		struct selector *selector = NULL;
		if (label_selector_from(ds->spec.selector, &selector, NULL) == 0 && !selector_is_empty(selector) && selector_matches_labels(selector, &meta->labels))
			reconciler_add(r, ds->metadata.namespace, ds->metadata.name);
		selector_free(selector);
	}
}

static void wake_by_node(struct reconciler *r, const void *object)
{
	autolist struct informer_list sets = INFORMER_LIST_INIT;
	world_list_all(r->world, CACHED_DAEMON_SETS, &sets);
	for (size_t i = 0; i < sets.len; i++) {
		const struct meta_v1_object_meta *meta = api_metadata(sets.items[i]);
		reconciler_add(r, meta->namespace, meta->name);
	}
}

static void *state_new(void)
{
	struct state *state = xnew(struct state);
	state->expectations = expectations_new();
	state->backoffs = MAP_INIT(free);
	pthread_mutex_init(&state->lock, NULL);
	return state;
}

static void state_free(void *arg)
{
	struct state *state = arg;
	expectations_free(state->expectations);
	map_done(&state->backoffs);
	pthread_mutex_destroy(&state->lock);
	free(state);
}

const struct controller daemon_set_controller = {
	.name = "daemonset-controller",
	.queue = "daemonset",
	.account = "daemon-set-controller",
	.alias = "daemonset",
	.concurrency_flag = "concurrent-daemonset-syncs",
	.workers = 2,
	.watches = (const struct controller_watch[]){{.what = CACHED_DAEMON_SETS},
		{.what = CACHED_CONTROLLER_REVISIONS, .wake = wake_by_owned},
		{.what = CACHED_PODS, .wake = wake_by_owned},
		{.what = CACHED_NODES, .wake = wake_by_node, .matters = node_placement_changed},
		{.what = CACHED_NONE}},
	.reconcile = reconcile,
	.state_new = state_new,
	.state_free = state_free,
};
