/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold at every step, judged by the server's own state. A controller may act on an older specification than the newest as long as its cache shows
 * that one, or it began to work while it did: so limits that users set are remembered as windows, and an act must be within one of those still open.
 */
#include "test/sim/sim.h"

#include "controller-manager/job/job.h"

#include <stdio.h>

/* A change, and since when the manager's cache shows it. */
struct sight {
	uint64_t version;
	size_t seen_at; /* step; SIZE_MAX: not yet */
};

static struct sight sight_of(uint64_t version)
{
	return (struct sight){version, SIZE_MAX};
}

static void look(struct sight *sight, enum cached what)
{
	if (sight->seen_at == SIZE_MAX && manager_sim_cache_version(what) >= sight->version)
		sight->seen_at = sim.step;
}

/* Whether whoever works for this controller now may have begun when its cache did not show the change. */
static bool may_be_unseen(const struct sight *sight, const char *controller)
{
	return sight->seen_at == SIZE_MAX || sight->seen_at >= manager_sim_oldest_work(controller);
}

/* One version of an object's specification, by the numbers that limit what may be done for it. */
struct limits {
	struct sight sight;
	int32_t most, least, slack; /* of a kind's own meaning */
};

/* All that is remembered of one object, by uid. */
struct memory {
	struct limits *windows;
	size_t count;
	uint64_t created, owned_since, deleted; /* versions */
	bool adopted;          /* a pod that was an orphan */
	/* of a Job */
	struct map succeeded, failed; /* uids of pods that were ever written to uncountedTerminatedPods */
	int32_t late; /* pods that succeeded after they were told to go: another may have been made in their place by then */
	int64_t quota_pods, quota_jobs; /* of a quota: the most that was ever allowed; -1: not limited */
};

static struct map memories;  /* by uid */
static struct map turns;     /* "ns/name" -> struct turn of the pod of that name */
static struct map processes; /* "ns/name" -> uid of the pod of that name that runs */

static void memory_free(void *value)
{
	struct memory *m = value;
	map_done(&m->succeeded);
	map_done(&m->failed);
	free(m->windows);
	free(m);
}

void checks_start(void)
{
	memories = MAP_INIT(memory_free);
	turns = MAP_INIT(free);
	processes = MAP_INIT(free);
}

void checks_done(void)
{
	map_done(&memories);
	map_done(&turns);
	map_done(&processes);
}

static struct memory *memory_of(const char *uid)
{
	struct memory *m = map_get(&memories, uid);
	if (!m) {
		m = xnew(struct memory);
		m->succeeded = m->failed = MAP_INIT(NULL);
		m->quota_pods = m->quota_jobs = -1;
		map_set(&memories, uid, m);
	}
	return m;
}

static const struct meta_v1_object_meta *meta_of(const void *object)
{
	return api_metadata(object);
}

static bool by_controller(const char *name)
{
	return server.actor == ACTOR_MANAGER && str_equal(server.controller, name);
}

/* ---- windows ---- */

static void open_window(const void *object, int32_t most, int32_t least, int32_t slack)
{
	struct memory *m = memory_of(meta_of(object)->uid);
	const struct limits *last = m->count ? &m->windows[m->count - 1] : NULL;
	if (last && last->most == most && last->least == least && last->slack == slack)
		return;
	m->windows = xreallocarray(m->windows, m->count + 1, sizeof(m->windows[0]));
	m->windows[m->count++] = (struct limits){sight_of(object_version(object)), most, least, slack};
}

/* Closes those that no worker can be looking through any more; what is left, as the widest of all. */
static struct limits widest(const char *uid, enum cached what, const char *controller)
{
	struct memory *m = map_get(&memories, uid);
	struct limits all = {.most = INT32_MAX, .slack = INT32_MAX};
	if (!m || !m->count)
		return all; /* it is gone, and its controller does not know yet */
	size_t keep = 0;
	for (size_t i = 0; i < m->count; i++) {
		look(&m->windows[i].sight, what);
		if (!may_be_unseen(&m->windows[i].sight, controller))
			keep = i;
	}
	memmove(m->windows, m->windows + keep, (m->count - keep) * sizeof(m->windows[0]));
	m->count -= keep;
	for (size_t i = 0; i < m->count; i++) {
		all.most = i ? max_of(all.most, m->windows[i].most) : m->windows[i].most;
		all.least = i ? min_of(all.least, m->windows[i].least) : m->windows[i].least;
		all.slack = i ? max_of(all.slack, m->windows[i].slack) : m->windows[i].slack;
	}
	return all;
}

/* ---- counting in the truth ---- */

struct tally {
	int32_t active, available, users, going;
};

static struct tally tally_of(const char *uid, int32_t min_ready_seconds)
{
	struct tally t = {0};
	const struct table *pods = &collection_for(CACHED_PODS)->objects;
	for (size_t i = 0; i < pods->len; i++) {
		const struct core_v1_pod *pod = pods->items[i].object;
		if (!owner_is_controller(&pod->metadata, uid))
			continue;
		t.active += pod_is_active(pod);
		t.going += pod_is_terminating(pod);
		t.available += pod_is_active(pod) && pod_is_available(pod, min_ready_seconds, clock_wall());
		t.users += api_map_get(&pod->metadata.labels, "by") != NULL || memory_of(pod->metadata.uid)->adopted;
	}
	return t;
}

static int32_t replicas_of(const int32_t *replicas)
{
	return replicas ? *replicas : 1;
}

/* ---- Deployments ---- */

static int32_t scaled(const struct int_or_string *value, int32_t of, bool up)
{
	int n = 0;
	return value && int_or_string_scaled(value, of, up, &n) == 0 ? n : 0;
}

static void on_deployment(const struct apps_v1_deployment *d)
{
	const struct apps_v1_rolling_update_deployment *rolling = d->spec.strategy.rolling_update;
	int32_t replicas = replicas_of(d->spec.replicas), surge = 0, unavailable = replicas;
	if (rolling && str_equal(d->spec.strategy.type, "RollingUpdate")) {
		surge = scaled(rolling->max_surge, replicas, true);
		unavailable = scaled(rolling->max_unavailable, replicas, false);
		unavailable = !surge && !unavailable ? 1 : unavailable;
	}
	open_window(d, replicas + surge, max_of(replicas - unavailable, 0), 0);
}

static int32_t size_of_sets(const char *uid)
{
	int32_t sum = 0;
	const struct table *sets = &collection_for(CACHED_REPLICA_SETS)->objects;
	for (size_t i = 0; i < sets->len; i++) {
		const struct apps_v1_replica_set *rs = sets->items[i].object;
		if (owner_is_controller(&rs->metadata, uid))
			sum += replicas_of(rs->spec.replicas);
	}
	return sum;
}

/*
 * In a world where pods do not fail, only the manager makes fewer of them available. A set that is made smaller keeps its available pods as long as
 * it can, so each decision shows what will be left once all of them are carried out.
 */
static int32_t lasting_pods(const char *uid, int32_t min_ready_seconds, const struct apps_v1_replica_set *other_size, int32_t size)
{
	const struct table *sets = &collection_for(CACHED_REPLICA_SETS)->objects;
	int32_t sum = 0;
	for (size_t i = 0; i < sets->len; i++) {
		const struct apps_v1_replica_set *rs = sets->items[i].object;
		if (!owner_is_controller(&rs->metadata, uid))
			continue;
		/* A pod whose readiness no status tells yet may be taken for one that will never be ready. */
		int32_t available = min_of(tally_of(rs->metadata.uid, min_ready_seconds).available, rs->status.available_replicas);
		sum += min_of(str_equal(rs->metadata.uid, other_size->metadata.uid) ? size : replicas_of(rs->spec.replicas), available);
	}
	return sum;
}

static void on_smaller_set(const struct apps_v1_replica_set *rs, int32_t before, const char *owner_uid)
{
	const struct table *deployments = &collection_for(CACHED_DEPLOYMENTS)->objects;
	const struct apps_v1_deployment *d = NULL;
	for (size_t i = 0; i < deployments->len && !d; i++)
		if (str_equal(meta_of(deployments->items[i].object)->uid, owner_uid))
			d = deployments->items[i].object;
	if (!d || !sim.steady)
		return;
	int32_t least = widest(owner_uid, CACHED_DEPLOYMENTS, server.controller).least;
	int32_t left = lasting_pods(owner_uid, d->spec.min_ready_seconds, rs, replicas_of(rs->spec.replicas));
	int32_t had = lasting_pods(owner_uid, d->spec.min_ready_seconds, rs, before);
	if (left < min_of(least, had))
		sim_fail("Deployment %s/%s: %d pods will be left available (of %d), at least %d with its maxUnavailable", d->metadata.namespace, d->metadata.name, left, had, least);
}

static void on_replica_set(const struct apps_v1_replica_set *old, const struct apps_v1_replica_set *rs)
{
	const struct meta_v1_owner_reference *owner = owner_controller(&rs->metadata);
	int32_t before = old ? replicas_of(old->spec.replicas) : 0, now = replicas_of(rs->spec.replicas);
	open_window(rs, now, now, 0);
	if (now != before)
		sim_log("  set %s/%s is to have %d, had %d (available by its status: %d)", rs->metadata.namespace, rs->metadata.name, now, before,
			rs->status.available_replicas);
	if (!owner || now == before || !by_controller("deployment-controller"))
		return;
	if (now < before) {
		on_smaller_set(rs, before, owner->uid);
		return;
	}
	struct limits limits = widest(owner->uid, CACHED_DEPLOYMENTS, server.controller);
	int32_t sum = size_of_sets(owner->uid);
	if (sum > limits.most)
		sim_fail("Deployment %s/%s: %d replicas in its sets, at most %d with its surge", rs->metadata.namespace, owner->name, sum, limits.most);
}

/* ---- pods ---- */

static bool is_ready_member(const char *ns, const char *set, int32_t ordinal)
{
	char name[300];
	snprintf(name, sizeof(name), "%s-%d", set, ordinal);
	const struct core_v1_pod *pod = server_find(CACHED_PODS, ns, name);
	return pod && pod_is_active(pod) && pod_is_ready(pod);
}

/* ---- what a controller may not know yet ---- */

/* The last time that a pod came to serve, or ceased to: it became ready, or was evicted, say. */
struct turn {
	char owner[64], by[64]; /* by: the controller that took it down; "": somebody else */
	bool serves;
	struct sight sight;
};

static bool serves(const struct core_v1_pod *pod)
{
	return pod && pod_is_active(pod) && !pod->metadata.deletion_timestamp.set && pod_is_ready(pod);
}

static void note_turn(const struct core_v1_pod *old, const struct core_v1_pod *pod)
{
	const struct meta_v1_owner_reference *owner = owner_controller(&old->metadata);
	if (!owner || serves(pod) == serves(old))
		return;
	autofree char *key = xprintf("%s/%s", old->metadata.namespace, old->metadata.name);
	struct turn *turn = xnew(struct turn);
	*turn = (struct turn){.serves = serves(pod), .sight = sight_of(server.version)};
	snprintf(turn->owner, sizeof(turn->owner), "%s", owner->uid);
	snprintf(turn->by, sizeof(turn->by), "%s", server.actor == ACTOR_MANAGER ? server.controller : "");
	map_set(&turns, key, turn);
}

void checks_on_step(void)
{
	struct map_entry *e;
	for (size_t i = 0; (e = map_next(&turns, &i));)
		look(&((struct turn *)e->value)->sight, CACHED_PODS);
}

/* Whether this controller may not know of the turn yet. Who took the pod down itself knows. */
static bool turn_may_be_unseen(const struct turn *turn, const char *controller)
{
	return turn && strcmp(turn->by, controller) != 0 && may_be_unseen(&turn->sight, controller);
}

/* Whether the pod of this name, which serves or does not, may seem to do the contrary. */
static bool may_seem_otherwise(const char *ns, const char *name, bool served, const char *controller)
{
	autofree char *key = xprintf("%s/%s", ns, name);
	const struct turn *turn = map_get(&turns, key);
	return turn && turn->serves == served && turn_may_be_unseen(turn, controller);
}

static bool may_seem_ready(const char *ns, const char *set, int32_t ordinal, const char *controller)
{
	autofree char *name = xprintf("%s-%d", set, ordinal);
	return may_seem_otherwise(ns, name, false, controller);
}

static int32_t unknown_losses(const char *owner, const char *controller)
{
	int32_t count = 0;
	struct map_entry *e;
	for (size_t i = 0; (e = map_next(&turns, &i));) {
		const struct turn *turn = e->value;
		count += !turn->serves && str_equal(turn->owner, owner) && turn_may_be_unseen(turn, controller);
	}
	return count;
}

static int32_t ordinal_of(const struct core_v1_pod *pod)
{
	const char *dash = strrchr(pod->metadata.name, '-');
	return dash ? atoi(dash + 1) : -1;
}

static void on_new_member(const struct core_v1_pod *pod, const struct meta_v1_owner_reference *owner)
{
	const struct apps_v1_stateful_set *set = server_find(CACHED_STATEFUL_SETS, pod->metadata.namespace, owner->name);
	if (!set || !str_equal(set->metadata.uid, owner->uid) || str_equal(set->spec.pod_management_policy, "Parallel") || !sim.steady)
		return;
	if (set->metadata.deletion_timestamp.set)
		return; /* who deletes it takes its pods in any order, while a cache may not show that yet */
	for (int32_t i = set->spec.ordinals ? set->spec.ordinals->start : 0; i < ordinal_of(pod); i++)
		if (!is_ready_member(pod->metadata.namespace, set->metadata.name, i) && !may_seem_ready(pod->metadata.namespace, set->metadata.name, i, server.controller))
			sim_fail("StatefulSet %s/%s: pod %s is made before %d is ready", pod->metadata.namespace, set->metadata.name, pod->metadata.name, i);
}

static const char *pinned_node(const struct core_v1_pod *pod)
{
	if (!str_empty(pod->spec.node_name))
		return pod->spec.node_name;
	const struct core_v1_node_affinity *affinity = pod->spec.affinity ? pod->spec.affinity->node_affinity : NULL;
	const struct core_v1_node_selector *required = affinity ? affinity->required_during_scheduling_ignored_during_execution : NULL;
	if (!required || !required->node_selector_terms.len || !required->node_selector_terms.items[0].match_fields.len)
		return "";
	return required->node_selector_terms.items[0].match_fields.items[0].values.items[0];
}

static int32_t daemons_on(const char *uid, const char *node, bool available)
{
	int32_t count = 0;
	const struct table *pods = &collection_for(CACHED_PODS)->objects;
	for (size_t i = 0; i < pods->len; i++) {
		const struct core_v1_pod *pod = pods->items[i].object;
		count += owner_is_controller(&pod->metadata, uid) && pod_is_active(pod) && str_equal(pinned_node(pod), node) && (!available || pod_is_ready(pod));
	}
	return count;
}

/* Told when a pod or a Job has come: a quota may be below what is there already, but nothing more comes then. */
static void check_quotas(const char *ns, enum cached what)
{
	const struct table *quotas = &collection_for(CACHED_RESOURCE_QUOTAS)->objects, *pods = &collection_for(CACHED_PODS)->objects,
			   *jobs = &collection_for(CACHED_JOBS)->objects;
	for (size_t i = 0; i < quotas->len; i++) {
		const struct core_v1_resource_quota *quota = quotas->items[i].object;
		struct memory *m = memory_of(quota->metadata.uid);
		int64_t running = 0, job_count = 0;
		if (!str_equal(quota->metadata.namespace, ns))
			continue;
		for (size_t j = 0; j < pods->len; j++)
			running += str_equal(meta_of(pods->items[j].object)->namespace, ns) && !pod_is_terminal(pods->items[j].object);
		for (size_t j = 0; j < jobs->len; j++)
			job_count += str_equal(meta_of(jobs->items[j].object)->namespace, ns);
		if (what == CACHED_PODS && m->quota_pods >= 0 && running > m->quota_pods)
			sim_fail("quota of namespace %s passed: %d pods, at most %d", ns, (int)running, (int)m->quota_pods);
		if (what == CACHED_JOBS && m->quota_jobs >= 0 && job_count > m->quota_jobs)
			sim_fail("quota of namespace %s passed: %d jobs, at most %d", ns, (int)job_count, (int)m->quota_jobs);
	}
}

static void on_quota(const struct core_v1_resource_quota *quota)
{
	struct memory *m = memory_of(quota->metadata.uid);
	const struct quantity *pods = api_quantity_get(&quota->spec.hard, "pods"), *jobs = api_quantity_get(&quota->spec.hard, "count/jobs.batch");
	m->quota_pods = max_of(m->quota_pods, pods ? (int64_t)(pods->nano / 1000000000) : -1);
	m->quota_jobs = max_of(m->quota_jobs, jobs ? (int64_t)(jobs->nano / 1000000000) : -1);
}

static const struct {
	const char *controller, *kind;
	enum cached what;
} counting[] = {
	{"replicaset-controller", "ReplicaSet", CACHED_REPLICA_SETS},
	{"replicationcontroller-controller", "ReplicationController", CACHED_REPLICATION_CONTROLLERS},
	{"job-controller", "Job", CACHED_JOBS},
};

static void on_new_pod(const struct core_v1_pod *pod)
{
	const struct meta_v1_owner_reference *owner = owner_controller(&pod->metadata);
	check_quotas(pod->metadata.namespace, CACHED_PODS);
	if (!owner || server.actor != ACTOR_MANAGER)
		return;
	for (size_t i = 0; i < array_len(counting); i++) {
		if (!by_controller(counting[i].controller))
			continue;
		struct limits limits = widest(owner->uid, counting[i].what, server.controller);
		struct tally t = tally_of(owner->uid, 0);
		if (t.active > limits.most && !t.users)
			sim_fail("%s %s/%s: %d pods, at most %d", counting[i].kind, pod->metadata.namespace, owner->name, t.active, limits.most);
	}
	if (by_controller("statefulset-controller"))
		on_new_member(pod, owner);
	if (by_controller("daemonset-controller")) {
		struct limits limits = widest(owner->uid, CACHED_DAEMON_SETS, server.controller);
		int32_t count = daemons_on(owner->uid, pinned_node(pod), false);
		if (count > limits.most)
			sim_fail("DaemonSet %s/%s: %d pods on node %s, at most %d", pod->metadata.namespace, owner->name, count, pinned_node(pod), limits.most);
	}
}

static bool is_counted(const struct batch_v1_job *job, const struct core_v1_pod *pod)
{
	struct memory *m = memory_of(job->metadata.uid);
	if (map_has(&m->succeeded, pod->metadata.uid) || map_has(&m->failed, pod->metadata.uid))
		return true;
	if (!job_is_indexed(job) || !str_equal(pod->status.phase, CORE_V1_POD_PHASE_SUCCEEDED))
		return false;
	struct index_set done;
	index_set_init(&done, replicas_of(job->spec.completions));
	index_set_parse(&done, job->status.completed_indexes);
	/* An index that a smaller number of completions has left behind is nobody's. */
	bool has = index_set_has(&done, job_pod_index(pod)) || job_pod_index(pod) >= done.size;
	index_set_done(&done);
	return has;
}

/* A pod that has ended loses its finalizer only once it is counted: else no count could be exact. */
static void on_released_pod(const struct core_v1_pod *old, const struct core_v1_pod *pod)
{
	const struct meta_v1_owner_reference *owner = owner_controller(&old->metadata);
	const struct batch_v1_job *job = owner ? server_find(CACHED_JOBS, old->metadata.namespace, owner->name) : NULL;
	if (!job || !str_equal(job->metadata.uid, owner->uid) || job_is_finished(job) || job->metadata.deletion_timestamp.set || !pod_is_terminal(old))
		return;
	if (!is_counted(job, old))
		sim_fail("Job %s/%s: pod %s (%s) loses its finalizer and is not counted", old->metadata.namespace, job->metadata.name, old->metadata.name,
			old->status.phase);
}

static void on_pod(const struct core_v1_pod *old, const struct core_v1_pod *pod)
{
	if (!old) {
		on_new_pod(pod);
		return;
	}
	const struct meta_v1_owner_reference *owner = owner_controller(&pod->metadata);
	if (!owner_controller(&old->metadata) && owner)
		memory_of(pod->metadata.uid)->adopted = true;
	if (owner && pod->metadata.deletion_timestamp.set && str_equal(pod->status.phase, CORE_V1_POD_PHASE_SUCCEEDED) && !str_equal(old->status.phase, CORE_V1_POD_PHASE_SUCCEEDED))
		memory_of(owner->uid)->late++;
	if (api_string_list_has(&old->metadata.finalizers, JOB_FINALIZER) && !api_string_list_has(&pod->metadata.finalizers, JOB_FINALIZER) &&
		by_controller("job-controller"))
		on_released_pod(old, pod);
}

void checks_on_process(const struct core_v1_pod *pod, bool runs)
{
	char key[KEY_SIZE];
	key_of(pod->metadata.namespace, pod->metadata.name, key);
	const char *other = map_get(&processes, key);
	if (runs && other && !str_equal(other, pod->metadata.uid))
		sim_fail("pod %s starts while another of its name still runs", key);
	if (runs)
		map_set(&processes, key, xstrdup(pod->metadata.uid));
	else if (other && str_equal(other, pod->metadata.uid))
		map_remove(&processes, key);
}

/* ---- Jobs ---- */

/* A pod ends once: it is in one of the two lists, and ever only in that one. */
static void note_uncounted(struct map *ever, const struct map *others, const struct api_string_list *list)
{
	for (uint32_t i = 0; i < list->len; i++) {
		if (map_has(others, list->items[i]))
			sim_fail("pod %s was counted as failed and as succeeded", list->items[i]);
		set_add(ever, list->items[i]);
	}
}

static void on_job(const struct batch_v1_job *old, const struct batch_v1_job *job)
{
	struct memory *m = memory_of(job->metadata.uid);
	const struct batch_v1_uncounted_terminated_pods *uncounted = job->status.uncounted_terminated_pods;
	int32_t parallelism = replicas_of(job->spec.parallelism);
	if (job->spec.suspend && *job->spec.suspend)
		parallelism = 0;
	open_window(job, parallelism, parallelism, 0);
	if (uncounted) {
		note_uncounted(&m->succeeded, &m->failed, &uncounted->succeeded);
		note_uncounted(&m->failed, &m->succeeded, &uncounted->failed);
	}
	size_t waiting_good = uncounted ? uncounted->succeeded.len : 0, waiting_bad = uncounted ? uncounted->failed.len : 0;
	if (!job_is_indexed(job) && job->status.succeeded + waiting_good != m->succeeded.len)
		sim_fail("Job %s/%s: %d succeeded and %zu to be counted, but %zu pods were ever listed", job->metadata.namespace, job->metadata.name,
			job->status.succeeded, waiting_good, m->succeeded.len);
	if (job->status.failed + waiting_bad != m->failed.len)
		sim_fail("Job %s/%s: %d failed and %zu to be counted, but %zu pods were ever listed", job->metadata.namespace, job->metadata.name,
			job->status.failed, waiting_bad, m->failed.len);
	if (old && job->status.succeeded < old->status.succeeded && !job_is_indexed(job))
		sim_fail("Job %s/%s: fewer have succeeded than before", job->metadata.namespace, job->metadata.name);
	if (!job_is_indexed(job) && job->spec.completions && job->status.succeeded > *job->spec.completions + m->late)
		sim_fail("Job %s/%s: %d of %d completions", job->metadata.namespace, job->metadata.name, job->status.succeeded, *job->spec.completions);
}

/* ---- ownership ---- */

static void *owner_object(const struct meta_v1_owner_reference *ref, const char *ns)
{
	autoarena struct arena *arena = arena_new();
	const char *group, *version;
	api_split_group_version(arena, ref->api_version, &group, &version);
	const struct api_resource *resource = api_resource_by_kind(group, NULL, ref->kind);
	struct collection *c = resource ? collection_of(resource) : NULL;
	char key[KEY_SIZE];
	void *found = c ? table_get(&c->objects, key_of(resource->namespaced ? ns : NULL, ref->name, key)) : NULL;
	return found && str_equal(meta_of(found)->uid, ref->uid) ? found : NULL;
}

/* An owner that holds on to what it owns: it is there, and not waiting for its dependents to go. */
static bool holds(const struct meta_v1_owner_reference *ref, const char *ns)
{
	const void *owner = owner_object(ref, ns);
	return owner && !(meta_of(owner)->deletion_timestamp.set && api_string_list_has(&meta_of(owner)->finalizers, "foregroundDeletion"));
}

static void check_healthy_member_goes(const struct core_v1_pod *pod, const struct meta_v1_owner_reference *owner)
{
	const struct apps_v1_stateful_set *set = server_find(CACHED_STATEFUL_SETS, pod->metadata.namespace, owner->name);
	int32_t missing = 0;
	if (!set || !str_equal(set->metadata.uid, owner->uid) || set->metadata.deletion_timestamp.set || !pod_is_active(pod) || !pod_is_ready(pod))
		return;
	struct limits limits = widest(owner->uid, CACHED_STATEFUL_SETS, server.controller);
	int32_t start = set->spec.ordinals ? set->spec.ordinals->start : 0, ordinal = ordinal_of(pod);
	if (ordinal < start || ordinal >= start + limits.least)
		return; /* one too many: it goes whatever the others do */
	/* One that serves nobody goes whatever the others do, and a cache may not show that it does by now. */
	if (may_seem_otherwise(pod->metadata.namespace, pod->metadata.name, true, server.controller))
		return;
	for (int32_t i = start; i < start + limits.least; i++)
		missing += i != ordinal && !is_ready_member(pod->metadata.namespace, set->metadata.name, i) &&
			   !may_seem_ready(pod->metadata.namespace, set->metadata.name, i, server.controller);
	if (missing + 1 > limits.slack)
		sim_fail("StatefulSet %s/%s: %s is taken down while %d others are", pod->metadata.namespace, set->metadata.name, pod->metadata.name, missing);
}

static void check_set_keeps_enough(const struct core_v1_pod *pod, const struct meta_v1_owner_reference *owner)
{
	if (!holds(owner, pod->metadata.namespace))
		return; /* its other pods go by the collector, which no cache of the set's controller may show yet */
	for (size_t i = 0; i < array_len(counting); i++) {
		if (!by_controller(counting[i].controller) || counting[i].what == CACHED_JOBS || !pod_is_active(pod))
			continue;
		struct limits limits = widest(owner->uid, counting[i].what, server.controller);
		int32_t left = tally_of(owner->uid, 0).active - 1 + unknown_losses(owner->uid, server.controller);
		if (left < limits.least)
			sim_fail("%s %s/%s: %d pods are left, at least %d are wanted", counting[i].kind, pod->metadata.namespace, owner->name, left, limits.least);
	}
}

static const struct {
	const char *controller, *kind;
} own_kinds[] = {
	{"replicaset-controller", "ReplicaSet"}, {"replicationcontroller-controller", "ReplicationController"}, {"statefulset-controller", "StatefulSet"},
	{"daemonset-controller", "DaemonSet"}, {"job-controller", "Job"}, {"deployment-controller", "Deployment"}, {"cronjob-controller", "CronJob"},
};

void checks_on_delete_request(enum cached what, const void *object, const struct client_delete_options *options)
{
	const struct meta_v1_object_meta *meta = meta_of(object);
	const struct meta_v1_owner_reference *owner = owner_controller(meta);
	if (server.actor != ACTOR_MANAGER)
		return;
	if (by_controller("garbage-collector-controller"))
		for (uint32_t i = 0; i < meta->owner_references.len; i++)
			if (holds(&meta->owner_references.items[i], meta->namespace))
				sim_fail("%s %s/%s is collected, but its owner %s %s is there", cached_resource(what)->plural, str_or(meta->namespace, ""), meta->name,
					meta->owner_references.items[i].kind, meta->owner_references.items[i].name);
	for (size_t i = 0; i < array_len(own_kinds); i++)
		if (by_controller(own_kinds[i].controller) && owner && !str_equal(owner->kind, own_kinds[i].kind))
			sim_fail("%s deletes %s %s/%s, which a %s owns", server.controller, cached_resource(what)->plural, str_or(meta->namespace, ""), meta->name, owner->kind);
	if (what == CACHED_PODS && owner && sim.steady)
		check_set_keeps_enough(object, owner);
	if (what == CACHED_PODS && owner && by_controller("statefulset-controller") && sim.steady)
		check_healthy_member_goes(object, owner);
}

/* The orphan finalizer goes when nobody who was owned at the time of the deletion still is. */
static void on_orphaned(const void *old, const void *object)
{
	const struct meta_v1_object_meta *meta = meta_of(old);
	struct memory *m = memory_of(meta->uid);
	if (!by_controller("garbage-collector-controller") || !api_string_list_has(&meta->finalizers, "orphan") ||
		(object && api_string_list_has(&meta_of(object)->finalizers, "orphan")))
		return;
	for (size_t i = 0; i < server.count; i++) {
		const struct table *objects = &server.collections[i].objects;
		for (size_t j = 0; j < objects->len; j++) {
			const struct meta_v1_object_meta *other = meta_of(objects->items[j].object);
			for (uint32_t k = 0; k < other->owner_references.len; k++)
				if (str_equal(other->owner_references.items[k].uid, meta->uid) && memory_of(other->uid)->owned_since < m->deleted)
					sim_fail("%s was to be orphaned, and %s %s/%s still has it as its owner", meta->name, server.collections[i].resource->plural,
						str_or(other->namespace, ""), other->name);
		}
	}
}

static bool same_owners(const struct meta_v1_object_meta *a, const struct meta_v1_object_meta *b)
{
	if (a->owner_references.len != b->owner_references.len)
		return false;
	for (uint32_t i = 0; i < a->owner_references.len; i++)
		if (!str_equal(a->owner_references.items[i].uid, b->owner_references.items[i].uid))
			return false;
	return true;
}

static void note_ownership(const void *old, const void *object)
{
	const struct meta_v1_object_meta *meta = meta_of(object), *before = old ? meta_of(old) : NULL;
	struct memory *m = memory_of(meta->uid);
	if (!old)
		m->created = object_version(object);
	if (!old || !same_owners(meta, before))
		m->owned_since = object_version(object);
	if (meta->deletion_timestamp.set && !m->deleted)
		m->deleted = object_version(object);
}

/* ---- the rest ---- */

static void on_namespace_gone(const char *name)
{
	for (size_t i = 0; i < server.count; i++)
		for (size_t j = 0; j < server.collections[i].objects.len; j++)
			if (str_equal(meta_of(server.collections[i].objects.items[j].object)->namespace, name))
				sim_fail("namespace %s is gone, and %s %s is still in it", name, server.collections[i].resource->plural, server.collections[i].objects.items[j].key);
}

static void on_stateful_set(const struct apps_v1_stateful_set *set)
{
	const struct apps_v1_rolling_update_stateful_set_strategy *rolling = set->spec.update_strategy.rolling_update;
	int32_t replicas = replicas_of(set->spec.replicas), unavailable = rolling && rolling->max_unavailable ? scaled(rolling->max_unavailable, replicas, true) : 1;
	open_window(set, replicas, replicas, max_of(unavailable, 1));
}

static void on_daemon_set(const struct apps_v1_daemon_set *ds)
{
	const struct apps_v1_rolling_update_daemon_set *rolling = ds->spec.update_strategy.rolling_update;
	int32_t surge = rolling ? scaled(rolling->max_surge, 100, true) : 0;
	open_window(ds, surge ? 2 : 1, 0, 0);
}

static void on_node(const struct core_v1_node *node)
{
	const struct table *nodes = &collection_for(CACHED_NODES)->objects;
	for (size_t i = 0; i < nodes->len; i++) {
		const struct core_v1_node *other = nodes->items[i].object;
		if (!str_empty(node->spec.pod_cidr) && !str_equal(other->metadata.name, node->metadata.name) && str_equal(other->spec.pod_cidr, node->spec.pod_cidr))
			sim_fail("nodes %s and %s both have the range %s", node->metadata.name, other->metadata.name, node->spec.pod_cidr);
	}
}

static void tell_pod(const struct core_v1_pod *old, const struct core_v1_pod *pod)
{
	static const char *const actors[] = {"user", "scheduler", "kubelet", "manager"};
	const struct core_v1_pod *any = pod ? pod : old;
	bool going = pod && pod->metadata.deletion_timestamp.set && !old->metadata.deletion_timestamp.set;
	if (pod && !going && str_equal(old->status.phase, pod->status.phase) && pod_is_ready(old) == pod_is_ready(pod))
		return;
	sim_log("  pod %s/%s is %s%s%s (%s)", any->metadata.namespace, any->metadata.name, pod ? pod->status.phase : "gone", pod && pod_is_ready(pod) ? ", ready" : "",
		pod && pod->metadata.deletion_timestamp.set ? ", going" : "", actors[server.actor]);
}

void checks_on_change(enum cached what, const void *old, const void *object)
{
	if (what == CACHED_PODS && old) {
		tell_pod(old, object);
		note_turn(old, object);
	}
	if (object)
		note_ownership(old, object);
	if (old)
		on_orphaned(old, object);
	if (!object) {
		if (what == CACHED_NAMESPACES)
			on_namespace_gone(meta_of(old)->name);
		/* The finalizer may go together with the pod. */
		map_remove(&memories, meta_of(old)->uid);
		return;
	}
	if (!old && meta_of(object)->namespace && !server_find(CACHED_NAMESPACES, NULL, meta_of(object)->namespace))
		sim_fail("%s %s is made in namespace %s, which is not there", cached_resource(what)->plural, meta_of(object)->name, meta_of(object)->namespace);
	switch ((int)what) {
	case CACHED_DEPLOYMENTS:
		on_deployment(object);
		break;
	case CACHED_REPLICA_SETS:
		on_replica_set(old, object);
		break;
	case CACHED_REPLICATION_CONTROLLERS:
		open_window(object, replicas_of(((const struct core_v1_replication_controller *)object)->spec.replicas),
			replicas_of(((const struct core_v1_replication_controller *)object)->spec.replicas), 0);
		break;
	case CACHED_STATEFUL_SETS:
		on_stateful_set(object);
		break;
	case CACHED_DAEMON_SETS:
		on_daemon_set(object);
		break;
	case CACHED_JOBS:
		on_job(old, object);
		if (!old)
			check_quotas(meta_of(object)->namespace, CACHED_JOBS);
		break;
	case CACHED_PODS:
		on_pod(old, object);
		break;
	case CACHED_RESOURCE_QUOTAS:
		on_quota(object);
		break;
	case CACHED_NODES:
		on_node(object);
		break;
	}
}
