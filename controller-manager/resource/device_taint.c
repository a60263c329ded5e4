/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removes pods whose claims hold a device with a NoExecute taint that the allocation does not tolerate, or no longer: tolerationSeconds is counted from
 * when the taint was added. Taints are those of ResourceSlices.
 */
#include "controller-manager/controller.h"
#include "controller-manager/shared/owners.h"
#include "controller-manager/shared/pods.h"

#include "api/resource_v1.h"

#include <errno.h>
#include <pthread.h>

static const double latency_buckets[] = {0.005, 0.025, 0.1, 0.5, 1, 2.5, 10, 30, 60, 120, 180, 240, 0};
static struct metric metrics[] = {
	{.name = "device_taint_eviction_controller_pod_deletions_total", .help = "Pods deleted for taints of their devices.", .kind = METRIC_COUNTER},
	{.name = "device_taint_eviction_controller_pod_deletion_duration_seconds", .help = "From when a pod was due to be deleted for a taint until it was.", .kind = METRIC_HISTOGRAM,
		.buckets = latency_buckets},
};

/* Pods that wait for their end, so that one which may stay after all is told. */
struct state {
	pthread_mutex_t lock;
	struct map waiting; /* by uid */
};

static void *state_new(void)
{
	struct state *state = xnew(struct state);
	pthread_mutex_init(&state->lock, NULL);
	state->waiting = MAP_INIT(NULL);
	return state;
}

static void state_free(void *arg)
{
	struct state *state = arg;
	map_done(&state->waiting);
	pthread_mutex_destroy(&state->lock);
	free(state);
}

/* Returns whether it was so before. */
static bool set_waiting(struct state *state, const char *uid, bool waiting)
{
	pthread_mutex_lock(&state->lock);
	bool before = map_get(&state->waiting, uid) != NULL;
	if (waiting && !before)
		map_set(&state->waiting, uid, state);
	else if (!waiting && before)
		map_remove(&state->waiting, uid);
	pthread_mutex_unlock(&state->lock);
	return before;
}

/* ---- when a pod has to go ---- */

struct due {
	bool set;
	struct wall_time when;
};

static void due_at(struct due *due, struct wall_time when)
{
	if (!due->set || time_diff_ns(when, due->when) < 0)
		*due = (struct due){true, when};
}

static bool is_no_execute(const struct resource_v1_device_taint *taint)
{
	return str_equal(taint->effect, "NoExecute");
}

static bool tolerates(const struct resource_v1_device_toleration *toleration, const struct resource_v1_device_taint *taint)
{
	if (!str_empty(toleration->effect) && !str_equal(toleration->effect, taint->effect))
		return false;
	if (!str_empty(toleration->key) && !str_equal(toleration->key, taint->key))
		return false;
	if (str_equal(toleration->operator, "Exists"))
		return true;
	return (str_empty(toleration->operator) || str_equal(toleration->operator, "Equal")) && str_equal(str_or(toleration->value, ""), str_or(taint->value, ""));
}

/* Of several tolerations with a time the shortest counts; one without a time is for ever. */
static void judge_taint(const struct resource_v1_device_request_allocation_result *held, const struct resource_v1_device_taint *taint, struct due *due)
{
	int64_t stay = -1;
	for api_list_each (toleration, &held->tolerations) {
		if (!tolerates(toleration, taint))
			continue;
		if (!toleration->toleration_seconds)
			return;
		int64_t seconds = max_of(*toleration->toleration_seconds, (int64_t)0);
		stay = stay < 0 ? seconds : min_of(stay, seconds);
	}
	struct wall_time added = taint->time_added.set ? taint->time_added.t : clock_wall();
	/* So long that no clock gets there. */
	if (stay > INT32_MAX)
		return;
	due_at(due, time_after(added, max_of(stay, (int64_t)0)));
}

static void judge_device(struct world *world, const struct resource_v1_device_request_allocation_result *held, struct due *due)
{
	autolist struct informer_list slices = INFORMER_LIST_INIT;
	autofree char *pool = xprintf("%s/%s", str_or(held->driver, ""), str_or(held->pool, ""));
	int64_t newest = INT64_MIN;
	world_list_index(world, CACHED_RESOURCE_SLICES, INDEX_POOL, pool, &slices);
	for (size_t i = 0; i < slices.len; i++)
		newest = max_of(newest, ((const struct resource_v1_resource_slice *)slices.items[i])->spec.pool.generation);
	for (size_t i = 0; i < slices.len; i++) {
		const struct resource_v1_resource_slice *slice = slices.items[i];
		if (slice->spec.pool.generation != newest)
			continue; /* of the past: its driver has not removed it yet */
		for api_list_each (device, &slice->spec.devices)
			for api_list_each (taint, &device->taints)
				if (str_equal(device->name, held->device) && is_no_execute(taint))
					judge_taint(held, taint, due);
	}
}

static bool is_reserved_for(const struct resource_v1_resource_claim *claim, const struct core_v1_pod *pod)
{
	for api_list_each (consumer, &claim->status.reserved_for)
		if (str_equal(consumer->uid, pod->metadata.uid))
			return true;
	return false;
}

static void judge_claim(struct world *world, const struct core_v1_pod *pod, const char *name, struct due *due)
{
	autounref struct resource_v1_resource_claim *claim = world_find(world, CACHED_RESOURCE_CLAIMS, pod->metadata.namespace, name);
	if (!claim || !claim->status.allocation || !is_reserved_for(claim, pod))
		return;
	for api_list_each (held, &claim->status.allocation->devices.results)
		judge_device(world, held, due);
}

struct judging {
	struct world *world;
	const struct core_v1_pod *pod;
	struct due due;
};

/* What the index says of the pod is "<namespace>/<claim>". */
static void emit_judge(const char *value, void *arg)
{
	struct judging *judging = arg;
	const char *slash = strchr(value, '/');
	if (slash && !str_starts_with(value, "template/"))
		judge_claim(judging->world, judging->pod, slash + 1, &judging->due);
}

/* ---- removing ---- */

static int evict(struct reconciler *r, const struct core_v1_pod *pod, struct wall_time due, struct error *err)
{
	reconciler_event(r, pod, EVENT_NORMAL, "DeviceTaintManagerEviction", "Marking for deletion");
	int result = pod_disrupt(r, pod, "DeletionByDeviceTaintManager", "Device Taint manager: deleting due to NoExecute taint", err);
	if (!result) {
		metric_add(metric_label(&metrics[0]), 1);
		metric_observe(metric_label(&metrics[1]), (double)time_diff_ns(clock_wall(), due) / NSEC_PER_SEC);
	}
	return result;
}

static int reconcile(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	autounref struct core_v1_pod *pod = world_find(r->world, CACHED_PODS, ns, name);
	if (!pod || str_empty(pod->spec.node_name) || pod->metadata.deletion_timestamp.set || pod_is_terminal(pod))
		return 0;
	struct judging judging = {.world = r->world, .pod = pod};
	index_claims(pod, emit_judge, &judging);
	bool waits = judging.due.set && time_diff_ns(judging.due.when, clock_wall()) > 0;
	bool waited = set_waiting(r->state, pod->metadata.uid, waits);
	if (waits)
		return milliseconds_until(judging.due.when);
	if (judging.due.set)
		return evict(r, pod, judging.due.when, err);
	if (waited)
		reconciler_event(r, pod, EVENT_NORMAL, "DeviceTaintManagerEviction", "Cancelling deletion");
	return 0;
}

/* ---- what wakes it ---- */

static void wake_by_pod(struct reconciler *r, const void *object)
{
	const struct core_v1_pod *pod = object;
	if (pod->spec.resource_claims.len || pod->status.extended_resource_claim_status)
		reconciler_add(r, pod->metadata.namespace, pod->metadata.name);
}

static void pod_gone(struct reconciler *r, const void *object)
{
	set_waiting(r->state, api_metadata(object)->uid, false);
}

static bool pod_matters(const void *old_object, const void *object)
{
	const struct core_v1_pod *old = old_object, *pod = object;
	if (!pod->spec.resource_claims.len && !pod->status.extended_resource_claim_status)
		return false;
	return !str_equal(old->metadata.uid, pod->metadata.uid) || !str_equal(old->spec.node_name, pod->spec.node_name) ||
	       old->status.resource_claim_statuses.len != pod->status.resource_claim_statuses.len ||
	       !old->status.extended_resource_claim_status != !pod->status.extended_resource_claim_status;
}

static void wake_by_claim(struct reconciler *r, const void *object)
{
	const struct resource_v1_resource_claim *claim = object;
	for api_list_each (consumer, &claim->status.reserved_for)
		if (str_empty(consumer->api_group) && str_equal(consumer->resource, "pods"))
			reconciler_add(r, claim->metadata.namespace, consumer->name);
}

static bool slice_evicts(const struct resource_v1_resource_slice *slice)
{
	for api_list_each (device, &slice->spec.devices)
		for api_list_each (taint, &device->taints)
			if (is_no_execute(taint))
				return true;
	return false;
}

/* Drivers write their slices often: only with such taints, before or after, are they of any concern. A pool that moves on forgets those of old slices. */
static bool slice_matters(const void *old_object, const void *object)
{
	const struct resource_v1_resource_slice *old = old_object, *slice = object;
	return slice_evicts(old) || slice_evicts(slice) || old->spec.pool.generation != slice->spec.pool.generation;
}

static void wake_by_slice(struct reconciler *r, const void *object)
{
	const struct resource_v1_resource_slice *slice = object;
	autolist struct informer_list claims = INFORMER_LIST_INIT;
	autofree char *pool = xprintf("%s/%s", str_or(slice->spec.driver, ""), str_or(slice->spec.pool.name, ""));
	world_list_index(r->world, CACHED_RESOURCE_CLAIMS, INDEX_POOL, pool, &claims);
	for (size_t i = 0; i < claims.len; i++)
		wake_by_claim(r, claims.items[i]);
}

const struct controller device_taint_eviction_controller = {
	.name = "device-taint-eviction-controller",
	.queue = "device_taint_eviction",
	.account = "device-taint-eviction-controller",
	.concurrency_flag = "concurrent-device-taint-eviction-syncs",
	.workers = 4,
	.gate = "DRADeviceTaints",
	.metrics = metrics,
	.metric_count = array_len(metrics),
	.watches = (const struct controller_watch[]){{.what = CACHED_PODS, .wake = wake_by_pod, .gone = pod_gone, .matters = pod_matters, .latest_only = true},
		{.what = CACHED_RESOURCE_CLAIMS, .wake = wake_by_claim},
		{.what = CACHED_RESOURCE_SLICES, .wake = wake_by_slice, .matters = slice_matters},
		{.what = CACHED_NONE}},
	.reconcile = reconcile,
	.state_new = state_new,
	.state_free = state_free,
};
