/* SPDX-License-Identifier: Apache-2.0 */
/* Removes pods from nodes with NoExecute taints that they do not tolerate, or no longer: tolerationSeconds is counted from when the taint was added. */
#include "controller-manager/controller.h"
#include "controller-manager/shared/nodes.h"
#include "controller-manager/shared/pods.h"

#include "api/core_v1.h"

#include <errno.h>
#include <pthread.h>

static const double latency_buckets[] = {0.005, 0.025, 0.1, 0.5, 1, 2.5, 10, 30, 60, 120, 180, 240, 0};
static struct metric metrics[] = {
	{.name = "taint_eviction_controller_pod_deletions_total", .help = "Pods deleted for taints of their nodes.", .kind = METRIC_COUNTER},
	{.name = "taint_eviction_controller_pod_deletion_duration_seconds", .help = "From when a pod was due to be deleted for a taint until it was.", .kind = METRIC_HISTOGRAM, .buckets = latency_buckets},
};

struct state {
	pthread_mutex_t lock;
	struct map since; /* pod uid -> struct wall_time: when its eviction was first due to start */
};

static void *state_new(void)
{
	struct state *state = xnew(struct state);
	pthread_mutex_init(&state->lock, NULL);
	state->since = MAP_INIT(free);
	return state;
}

static void state_free(void *arg)
{
	struct state *state = arg;
	map_done(&state->since);
	pthread_mutex_destroy(&state->lock);
	free(state);
}

static bool is_no_execute(const struct core_v1_taint *taint)
{
	return str_equal(taint->effect, CORE_V1_TAINT_EFFECT_NO_EXECUTE);
}

#define FOR_EVER INT64_MAX

/* Seconds the pod may stay: 0 at once, FOR_EVER. Of several tolerations of one taint the first counts. */
static int64_t stay_seconds(const struct core_v1_pod *pod, const struct core_v1_node *node, bool *ret_tainted)
{
	int64_t shortest = FOR_EVER;
	*ret_tainted = false;
	for (uint32_t i = 0; i < node->spec.taints.len; i++) {
		const struct core_v1_taint *taint = &node->spec.taints.items[i];
		bool tolerated = false;
		if (!is_no_execute(taint))
			continue;
		*ret_tainted = true;
		for (uint32_t j = 0; j < pod->spec.tolerations.len && !tolerated; j++) {
			const struct core_v1_toleration *t = &pod->spec.tolerations.items[j];
			if (!toleration_tolerates(t, taint))
				continue;
			tolerated = true;
			if (t->toleration_seconds)
				shortest = min_of(shortest, max_of(*t->toleration_seconds, (int64_t)0));
		}
		if (!tolerated)
			return 0;
	}
	return shortest;
}

static struct wall_time first_seen(struct state *state, const struct core_v1_pod *pod)
{
	pthread_mutex_lock(&state->lock);
	struct wall_time *since = map_get(&state->since, pod->metadata.uid);
	if (!since) {
		since = xnew(struct wall_time);
		*since = clock_wall();
		map_set(&state->since, pod->metadata.uid, since);
	}
	struct wall_time result = *since;
	pthread_mutex_unlock(&state->lock);
	return result;
}

static bool forget(struct state *state, const char *uid)
{
	pthread_mutex_lock(&state->lock);
	bool known = map_remove(&state->since, uid);
	pthread_mutex_unlock(&state->lock);
	return known;
}

static int evict(struct reconciler *r, const struct core_v1_pod *pod, struct wall_time due, struct error *err)
{
	reconciler_event(r, pod, EVENT_NORMAL, "TaintManagerEviction", "Marking for deletion Pod %s/%s", pod->metadata.namespace, pod->metadata.name);
	int result = pod_disrupt(r, pod, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint", err);
	if (!result) {
		metric_add(metric_label(&metrics[0]), 1);
		metric_observe(metric_label(&metrics[1]), (double)time_diff_ns(clock_wall(), due) / NSEC_PER_SEC);
	}
	return result;
}

static int reconcile(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	autounref struct core_v1_pod *pod = world_find(r->world, CACHED_PODS, ns, name);
	if (!pod || str_empty(pod->spec.node_name) || pod->metadata.deletion_timestamp.set)
		return 0;
	autounref struct core_v1_node *node = world_find(r->world, CACHED_NODES, NULL, pod->spec.node_name);
	bool tainted = false;
	int64_t stay = node ? stay_seconds(pod, node, &tainted) : FOR_EVER;
	if (!tainted || stay == FOR_EVER) {
		if (forget(r->state, pod->metadata.uid))
			reconciler_event(r, pod, EVENT_NORMAL, "TaintManagerEviction", "Cancelling deletion of Pod %s/%s", ns, name);
		return 0;
	}
	struct wall_time due = stay > 0 ? time_after(first_seen(r->state, pod), stay) : clock_wall();
	if (time_diff_ns(due, clock_wall()) > 0)
		return milliseconds_until(due);
	return evict(r, pod, due, err);
}

static void wake_by_pod(struct reconciler *r, const void *object)
{
	const struct core_v1_pod *pod = object;
	if (!str_empty(pod->spec.node_name) && !pod->metadata.deletion_timestamp.set)
		reconciler_add(r, pod->metadata.namespace, pod->metadata.name);
}

static void on_gone_pod(struct reconciler *r, const void *object)
{
	forget(r->state, api_metadata(object)->uid);
}

/* Each NoExecute taint of the one stands on the other. */
static bool has_taints_of(const struct core_v1_node *node, const struct core_v1_node *other)
{
	for (uint32_t i = 0; i < other->spec.taints.len; i++) {
		const struct core_v1_taint *wanted = &other->spec.taints.items[i];
		bool found = !is_no_execute(wanted);
		for (uint32_t j = 0; j < node->spec.taints.len && !found; j++) {
			const struct core_v1_taint *taint = &node->spec.taints.items[j];
			found = is_no_execute(taint) && str_equal(taint->key, wanted->key) && str_equal(taint->value, wanted->value);
		}
		if (!found)
			return false;
	}
	return true;
}

/* Heartbeats change nodes often; only NoExecute taints concern pods. */
static bool matters(const void *old_object, const void *object)
{
	return !has_taints_of(old_object, object) || !has_taints_of(object, old_object);
}

/* A node without such taints wakes those that were waiting for their end. */
static void wake_by_node(struct reconciler *r, const void *object)
{
	const struct core_v1_node *node = object;
	struct state *state = r->state;
	bool tainted = false;
	for (uint32_t i = 0; i < node->spec.taints.len; i++)
		tainted |= is_no_execute(&node->spec.taints.items[i]);
	pthread_mutex_lock(&state->lock);
	bool waiting = state->since.len > 0;
	pthread_mutex_unlock(&state->lock);
	if (!tainted && !waiting)
		return;
	autolist struct informer_list pods = INFORMER_LIST_INIT;
	world_list_index(r->world, CACHED_PODS, INDEX_NODE, node->metadata.name, &pods);
	for (size_t i = 0; i < pods.len; i++)
		wake_by_pod(r, pods.items[i]);
}

const struct controller taint_eviction_controller = {
	.name = "taint-eviction-controller",
	.queue = "noexec_taint_pod",
	.account = "node-controller",
	.workers = 4,
	.metrics = metrics,
	.metric_count = array_len(metrics),
	.watches = (const struct controller_watch[]){{.what = CACHED_PODS, .wake = wake_by_pod, .gone = on_gone_pod},
		{.what = CACHED_NODES, .wake = wake_by_node, .matters = matters},
		{.what = CACHED_NONE}},
	.reconcile = reconcile,
	.state_new = state_new,
	.state_free = state_free,
};
