/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removes pods that nobody else will: on nodes that are gone, being deleted without ever having had a node, on nodes out of service, and the oldest finished
 * ones past --terminated-pod-gc-threshold.
 */
#include "controller-manager/controller.h"
#include "controller-manager/shared/owners.h"
#include "controller-manager/shared/pods.h"

#include "api/core_v1.h"

#include <errno.h>
#include <pthread.h>

#define KEY "all"
#define SETTLE_NS NSEC_PER_SEC          /* several changes, one look */
#define QUARANTINE_NS (40 * NSEC_PER_SEC) /* a node may be registered anew meanwhile */
#define TAINT_OUT_OF_SERVICE "node.kubernetes.io/out-of-service"

struct state {
	struct map missing; /* node name -> struct missing *; the one worker's */
	pthread_mutex_t lock;
	struct map watched; /* namespace/name of pods that end, have ended or have no node; under the lock */
};

/* A node that pods name and that is not there. */
struct missing {
	int64_t since; /* monotonic */
	bool waits;    /* a pod of this look waits for the end of its quarantine */
};

static void *state_new(void)
{
	struct state *state = xnew(struct state);
	state->missing = MAP_INIT(free);
	state->watched = MAP_INIT(NULL);
	pthread_mutex_init(&state->lock, NULL);
	return state;
}

static void state_free(void *arg)
{
	struct state *state = arg;
	map_done(&state->missing);
	map_done(&state->watched);
	pthread_mutex_destroy(&state->lock);
	free(state);
}

/*
 * Marks the pod Failed, with the reason of its end where there is one, then removes it at once. No kubelet will do so any more, and who counts ended
 * pods (a Job) waits for it.
 */
static int remove_pod(struct reconciler *r, const struct core_v1_pod *pod, const char *message, struct error *err)
{
	if (!pod_is_terminal(pod)) {
		autounref struct core_v1_pod *copy = api_copy(pod);
		copy->status.phase = CORE_V1_POD_PHASE_FAILED;
		if (message)
			pod_set_condition(api_arena(copy), copy, CORE_V1_POD_CONDITION_TYPE_DISRUPTION_TARGET, "True", "DeletionByPodGC", message);
		int result = pod_write_conditions(r, copy, err);
		if (result)
			return result;
	}
	struct write write = {.verb = WRITE_DELETE,
		.resource = cached_resource(CACHED_PODS),
		.ns = pod->metadata.namespace,
		.name = pod->metadata.name,
		.delete_options = {.grace_period_seconds = 0, .uid = pod->metadata.uid}};
	autoerror struct error failed = {0};
	int result = world_write(r->world, &write, NULL, &failed);
	return result && (error_is(&failed, "NotFound") || error_is(&failed, "Conflict")) ? 0 : error_move(err, &failed);
}

/* True once the node has been missing long enough, and the server too says that it is. */
static bool node_is_gone(struct reconciler *r, const char *name)
{
	struct state *state = r->state;
	autounref struct core_v1_node *node = world_find(r->world, CACHED_NODES, NULL, name);
	int64_t now = clock_monotonic_ns();
	struct missing *missing = map_get(&state->missing, name);
	if (node) {
		map_remove(&state->missing, name);
		return false;
	}
	if (!missing) {
		missing = xnew(struct missing);
		missing->since = now;
		map_set(&state->missing, name, missing);
		reconciler_add_after(r, NULL, KEY, QUARANTINE_NS);
	}
	missing->waits |= now - missing->since < QUARANTINE_NS;
	if (missing->waits)
		return false;
	autounref void *live = NULL;
	autoerror struct error err = {0};
	return world_get(r->world, CACHED_NODES, NULL, name, &live, &err) < 0 && error_is(&err, "NotFound");
}

/* A quarantine ends with the look that finds it over, and with the last pod: those that come to the node later have one of their own. */
static void forget_missing(struct state *state)
{
	size_t pos = 0;
	for (struct map_entry *e; (e = map_next(&state->missing, &pos));) {
		struct missing *missing = e->value;
		if (missing->waits)
			missing->waits = false;
		else
			map_remove(&state->missing, e->key);
	}
}

static bool node_is_out_of_service(struct reconciler *r, const char *name)
{
	autounref struct core_v1_node *node = world_find(r->world, CACHED_NODES, NULL, name);
	bool tainted = false, ready = false;
	for (uint32_t i = 0; node && i < node->spec.taints.len; i++)
		tainted |= str_equal(node->spec.taints.items[i].key, TAINT_OUT_OF_SERVICE);
	for (uint32_t i = 0; node && i < node->status.conditions.len; i++)
		ready |= str_equal(node->status.conditions.items[i].type, "Ready") && str_equal(node->status.conditions.items[i].status, "True");
	return tainted && !ready;
}

static int look_at(struct reconciler *r, const struct core_v1_pod *pod, struct error *err)
{
	bool going = pod->metadata.deletion_timestamp.set;
	if (str_empty(pod->spec.node_name))
		return going ? remove_pod(r, pod, NULL, err) : 0;
	if (node_is_gone(r, pod->spec.node_name))
		return remove_pod(r, pod, "PodGC: node no longer exists", err);
	if (going && node_is_out_of_service(r, pod->spec.node_name))
		return remove_pod(r, pod, "PodGC: node is out of service", err);
	return 0;
}

static bool was_evicted(const struct core_v1_pod *pod)
{
	return str_equal(pod->status.phase, CORE_V1_POD_PHASE_FAILED) && str_equal(pod->status.reason, "Evicted");
}

/* Those that a node evicted first, of which there may be many; then by age. */
static int compare_worth(const void *a, const void *b)
{
	const struct core_v1_pod *x = *(const struct core_v1_pod *const *)a, *y = *(const struct core_v1_pod *const *)b;
	if (was_evicted(x) != was_evicted(y))
		return was_evicted(x) ? -1 : 1;
	int64_t diff = time_diff_ns(x->metadata.creation_timestamp.t, y->metadata.creation_timestamp.t);
	return diff < 0 ? -1 : diff > 0 ? 1 : strcmp(x->metadata.name, y->metadata.name);
}

static int remove_oldest(struct reconciler *r, const struct core_v1_pod **finished, size_t count, struct error *err)
{
	int64_t keep = r->world->settings->terminated_pod_gc_threshold;
	if (keep <= 0 || count <= (size_t)keep)
		return 0;
	qsort(finished, count, sizeof(*finished), compare_worth);
	for (size_t i = 0; i < count - (size_t)keep; i++) {
		int result = remove_pod(r, finished[i], NULL, err);
		if (result)
			return result;
	}
	return 0;
}

/* Pods that are to be looked at, of all that were told of. A pod that needs nothing is never touched again. */
static struct flag_list take_watched(struct state *state)
{
	struct flag_list keys = {0};
	size_t pos = 0;
	pthread_mutex_lock(&state->lock);
	for (struct map_entry *e; (e = map_next(&state->watched, &pos));)
		flag_list_add(&keys, e->key);
	pthread_mutex_unlock(&state->lock);
	return keys;
}

static void watch_pod(struct state *state, const struct core_v1_pod *pod, bool on)
{
	autofree char *key = xprintf("%s/%s", pod->metadata.namespace, pod->metadata.name);
	pthread_mutex_lock(&state->lock);
	if (on)
		set_add(&state->watched, key);
	else
		map_remove(&state->watched, key);
	pthread_mutex_unlock(&state->lock);
}

static struct core_v1_pod *find_watched(struct reconciler *r, const char *key)
{
	const char *slash = strchr(key, '/');
	autofree char *ns = xstrndup(key, (size_t)(slash - key));
	return world_find(r->world, CACHED_PODS, ns, slash + 1);
}

static bool is_concerned(struct reconciler *r, const struct core_v1_pod *pod)
{
	if (pod->metadata.deletion_timestamp.set || pod_is_terminal(pod))
		return true;
	if (str_empty(pod->spec.node_name))
		return false;
	autounref void *node = world_find(r->world, CACHED_NODES, NULL, pod->spec.node_name);
	return !node;
}

static int reconcile(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	struct flag_list keys = take_watched(r->state);
	autolist struct informer_list pods = INFORMER_LIST_INIT;
	for (size_t i = 0; i < keys.len; i++) {
		struct core_v1_pod *pod = find_watched(r, keys.items[i]);
		if (pod)
			informer_list_add(&pods, pod);
		if (pod && !is_concerned(r, pod))
			watch_pod(r->state, pod, false);
	}
	flag_list_done(&keys);
	autofree const struct core_v1_pod **finished = xcalloc(pods.len, sizeof(*finished));
	size_t count = 0;
	int result = 0;
	for (size_t i = 0; i < pods.len; i++) {
		const struct core_v1_pod *pod = pods.items[i];
		int one = look_at(r, pod, result ? NULL : err);
		result = result ? result : one;
		if (pod_is_terminal(pod) && !pod->metadata.deletion_timestamp.set)
			finished[count++] = pod;
	}
	forget_missing(r->state);
	return result ? result : remove_oldest(r, finished, count, err);
}

static void wake_by_pod(struct reconciler *r, const void *object)
{
	const struct core_v1_pod *pod = object;
	if (!is_concerned(r, pod))
		return;
	watch_pod(r->state, pod, true);
	reconciler_add_after(r, NULL, KEY, SETTLE_NS);
}

static void on_gone_pod(struct reconciler *r, const void *object)
{
	watch_pod(r->state, object, false);
}

static void wake_by_node(struct reconciler *r, const void *object)
{
	const struct core_v1_node *node = object;
	if (node->spec.taints.len)
		reconciler_add_after(r, NULL, KEY, SETTLE_NS);
}

static void on_gone_node(struct reconciler *r, const void *object)
{
	autolist struct informer_list pods = INFORMER_LIST_INIT;
	world_list_index(r->world, CACHED_PODS, INDEX_NODE, api_metadata(object)->name, &pods);
	for (size_t i = 0; i < pods.len; i++)
		watch_pod(r->state, pods.items[i], true);
	reconciler_add_after(r, NULL, KEY, SETTLE_NS);
}

static void started(struct reconciler *r)
{
	reconciler_add(r, NULL, KEY);
}

const struct controller pod_gc_controller = {
	.name = "pod-garbage-collector-controller",
	.queue = "orphaned_pods_nodes",
	.account = "pod-garbage-collector",
	.alias = "podgc",
	.workers = 1,
	.watches = (const struct controller_watch[]){{.what = CACHED_PODS, .wake = wake_by_pod, .gone = on_gone_pod, .latest_only = true},
		{.what = CACHED_NODES, .wake = wake_by_node, .gone = on_gone_node},
		{.what = CACHED_NONE}},
	.reconcile = reconcile,
	.state_new = state_new,
	.state_free = state_free,
	.started = started,
};
