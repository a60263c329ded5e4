/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/node/eviction.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/metrics.h"
#include "kubelet/container/resources.h"
#include "kubelet/node/node.h"
#include "kubelet/pod/manager.h"
#include "kubelet/pod/pulled.h"

#include <errno.h>
#include <pthread.h>

#define SYSTEM_CRITICAL_PRIORITY 2000000000
#define HARD_GRACE_SECONDS 1
#define CLEANUP_WAIT_NS (30 * NSEC_PER_SEC) /* for an evicted pod to be gone before the next one */

static const char *const pressure_conditions[PRESSURE_KINDS] = {[PRESSURE_MEMORY] = "MemoryPressure", [PRESSURE_DISK] = "DiskPressure", [PRESSURE_PIDS] = "PIDPressure"};

struct eviction {
	struct kubelet *kubelet;
	struct threshold thresholds[MAX_THRESHOLDS];
	int count;
	/* of each threshold, by the one thread that syncs */
	bool met[MAX_THRESHOLDS];          /* and its grace over: until the minimum is reclaimed */
	int64_t first_seen[MAX_THRESHOLDS]; /* monotonic; 0: not met */
	int64_t last_seen[PRESSURE_KINDS];
	char *ending; /* uid of the pod evicted last */
	int64_t ending_since;

	pthread_mutex_t lock;
	bool pressure[PRESSURE_KINDS];
};

int eviction_new(struct kubelet *kubelet, struct eviction **ret, struct error *err) {
	struct eviction *eviction = xnew(struct eviction);
	eviction->kubelet = kubelet;
	pthread_mutex_init(&eviction->lock, NULL);
	int count = thresholds_parse(&kubelet->options, eviction->thresholds, err);
	if (count < 0) {
		eviction_free(eviction);
		return count;
	}
	eviction->count = count;
	*ret = eviction;
	return 0;
}

void eviction_free(struct eviction *eviction) {
	if (!eviction)
		return;
	thresholds_done(eviction->thresholds, eviction->count);
	pthread_mutex_destroy(&eviction->lock);
	free(eviction->ending);
	free(eviction);
}

bool eviction_is_critical(const struct core_v1_pod *pod) {
	const char *source = api_map_get(&pod->metadata.annotations, "kubernetes.io/config.source");
	return (!str_empty(source) && !str_equal(source, "api")) || api_map_get(&pod->metadata.annotations, "kubernetes.io/config.mirror") || (pod->spec.priority && *pod->spec.priority >= SYSTEM_CRITICAL_PRIORITY);
}

/* ---- conditions ---- */

static bool is_met(const struct threshold *t, const struct observation *seen, bool with_reclaim) {
	return seen[t->signal].known && seen[t->signal].available < threshold_quantity(t, &seen[t->signal], with_reclaim);
}

/* Which thresholds drive eviction now: met, or not yet cleared by their minimum; and soft ones for long enough. */
static bool update(struct eviction *e, const struct observation *seen, int64_t now) {
	bool observed[PRESSURE_KINDS] = {0}, changed = false;
	for (int i = 0; i < e->count; i++) {
		const struct threshold *t = &e->thresholds[i];
		bool crossed = is_met(t, seen, false) || (e->met[i] && is_met(t, seen, true));
		e->first_seen[i] = !crossed ? 0 : e->first_seen[i] ? e->first_seen[i] : now;
		e->met[i] = crossed && (t->hard || now - e->first_seen[i] >= t->grace_ns);
		observed[signal_rows[t->signal].pressure] |= crossed;
	}
	pthread_mutex_lock(&e->lock);
	for (int kind = 0; kind < PRESSURE_KINDS; kind++) {
		if (observed[kind])
			e->last_seen[kind] = now;
		bool pressure = e->last_seen[kind] && now - e->last_seen[kind] < max_of(e->kubelet->options.eviction_transition_ns, (int64_t)1);
		changed |= pressure != e->pressure[kind];
		e->pressure[kind] = pressure;
	}
	pthread_mutex_unlock(&e->lock);
	return changed;
}

bool eviction_pressure(struct eviction *eviction, enum pressure_kind kind) {
	pthread_mutex_lock(&eviction->lock);
	bool pressure = eviction->pressure[kind];
	pthread_mutex_unlock(&eviction->lock);
	return pressure;
}

/* ---- admission ---- */

static bool tolerates_memory_pressure(const struct core_v1_pod *pod) {
	for api_list_each (t, &pod->spec.tolerations) {
		bool exists = str_equal(t->operator, CORE_V1_TOLERATION_OPERATOR_EXISTS);
		if (!str_empty(t->effect) && !str_equal(t->effect, CORE_V1_TAINT_EFFECT_NO_SCHEDULE))
			continue;
		if (str_empty(t->key) ? exists : str_equal(t->key, "node.kubernetes.io/memory-pressure") && (exists || str_empty(t->value)))
			return true;
	}
	return false;
}

int eviction_admit(struct eviction *eviction, const struct core_v1_pod *pod, struct error *err) {
	autobuf struct buf names = BUF_INIT(256);
	bool only_memory = true;
	for (int kind = 0; kind < PRESSURE_KINDS; kind++) {
		if (!eviction_pressure(eviction, (enum pressure_kind)kind))
			continue;
		buf_printf(&names, "%s%s", names.len ? " " : "", pressure_conditions[kind]);
		only_memory = only_memory && kind == PRESSURE_MEMORY;
	}
	if (!names.len || eviction_is_critical(pod))
		return 0;
	if (only_memory && (!str_equal(resources_qos_name(pod), CORE_V1_POD_QOS_CLASS_BEST_EFFORT) || tolerates_memory_pressure(pod)))
		return 0;
	error_set(err, EPERM, "The node had condition: [%s]. ", names.data);
	if (err) {
		free(err->reason);
		err->reason = xstrdup("Evicted");
	}
	return -EPERM;
}

/* ---- reclaiming ---- */

/* Disk that belongs to no running pod comes first. True where that was enough. */
static bool reclaim_disk(struct eviction *e, const struct threshold *t) {
	struct kubelet *kubelet = e->kubelet;
	autoerror struct error err = {0};
	struct observation seen[SIGNAL_KINDS];
	uint64_t freed = 0;
	runtime_reclaim(kubelet->runtime);
	signals_observe(kubelet, seen);
	if (!is_met(t, seen, true))
		return true;
	if (image_collect(kubelet->images, UINT64_MAX, kubelet->options.image_min_gc_age_ns, 0, &freed, &err) < 0)
		log_warning("images cannot be collected", LOG_ERR(&err));
	else if (freed)
		log_info("images were collected under disk pressure", LOG_INT("bytes", (int64_t)freed));
	if (freed)
		pulled_prune(kubelet);
	signals_observe(kubelet, seen);
	return !is_met(t, seen, true);
}

static bool is_active(const struct core_v1_pod *pod) {
	if (str_equal(pod->status.phase, CORE_V1_POD_PHASE_FAILED) || str_equal(pod->status.phase, CORE_V1_POD_PHASE_SUCCEEDED))
		return false;
	for api_list_each (status, &pod->status.container_statuses)
		if (status->state.running || status->state.terminated || status->last_state.terminated)
			return true;
	for api_list_each (status, &pod->status.init_container_statuses)
		if (status->state.running || status->state.terminated)
			return true;
	return false;
}

/* The pod evicted last is still on its way: its going may be enough. */
static bool still_ending(struct eviction *e, int64_t now) {
	if (!e->ending)
		return false;
	autounref struct core_v1_pod *pod = pod_manager_find_uid(e->kubelet->pods, e->ending);
	bool gone = !pod || str_equal(pod->status.phase, CORE_V1_POD_PHASE_FAILED) || str_equal(pod->status.phase, CORE_V1_POD_PHASE_SUCCEEDED);
	if (!gone && now - e->ending_since < CLEANUP_WAIT_NS)
		return true;
	free(take_ptr(e->ending));
	return false;
}

static char *eviction_message(struct eviction *e, const struct core_v1_pod *pod, const struct threshold *t, const struct observation *seen) {
	char threshold[64], available[64];
	const char *resource = signal_rows[t->signal].resource;
	bool bytes = !str_equal(resource, "inodes") && !str_equal(resource, "pids");
	struct quantity want = quantity_of(threshold_quantity(t, &seen[t->signal], false), bytes ? QUANTITY_BINARY_SI : QUANTITY_DECIMAL_SI), have = quantity_of(seen[t->signal].available, bytes ? QUANTITY_BINARY_SI : QUANTITY_DECIMAL_SI);
	autofree char *blame = rank_blame(e->kubelet, pod, resource);
	quantity_format(&want, threshold);
	quantity_format(&have, available);
	return xprintf("The node was low on resource: %s. Threshold quantity: %s, available: %s. %s", resource, threshold, available, blame);
}

static void evict(struct eviction *e, const struct core_v1_pod *pod, const struct threshold *t, const struct observation *seen) {
	struct kubelet *kubelet = e->kubelet;
	int64_t grace = HARD_GRACE_SECONDS;
	if (!t->hard) {
		grace = kubelet->options.eviction_max_pod_grace_period;
		if (pod->spec.termination_grace_period_seconds)
			grace = min_of(grace, *pod->spec.termination_grace_period_seconds);
	}
	autofree char *message = eviction_message(e, pod, t, seen);
	log_warning("evicts a pod", LOG_STR("pod", pod->metadata.name), LOG_STR("namespace", pod->metadata.namespace), LOG_STR("message", message));
	kubelet_event(kubelet, pod, NULL, "Warning", "Evicted", "%s", message);
	pod_manager_evict(kubelet->pods, pod->metadata.uid, "Evicted", message, grace, message);
	free(e->ending);
	e->ending = xstrdup(pod->metadata.uid);
	e->ending_since = clock_monotonic_ns();
}

static void evict_one(struct eviction *e, const struct threshold *t, const struct observation *seen) {
	struct kubelet *kubelet = e->kubelet;
	autolist struct informer_list list = INFORMER_LIST_INIT;
	pod_manager_list(kubelet->pods, &list);
	const struct core_v1_pod **pods = xcalloc(list.len + 1, sizeof(*pods));
	struct rank_usage *usage = xcalloc(list.len + 1, sizeof(*usage));
	size_t count = 0;
	for (size_t i = 0; i < list.len; i++) {
		/* What is going already frees what it has. */
		const struct core_v1_pod *pod = list.items[i];
		if (!is_active(pod) || eviction_is_critical(pod) || pod->metadata.deletion_timestamp.set)
			continue;
		rank_usage_of(kubelet, pod, t->signal, &usage[count]);
		pods[count++] = pod;
	}
	rank_pods(pods, usage, count, t->signal);
	if (count)
		evict(e, pods[0], t, seen);
	else
		log_warning("no pod can be evicted", LOG_STR("resource", signal_rows[t->signal].resource));
	free(pods);
	free(usage);
}

/* Memory before all else. */
static const struct threshold *worst(const struct eviction *e) {
	const struct threshold *found = NULL;
	for (int i = 0; i < e->count; i++)
		if (e->met[i] && (!found || (signal_rows[e->thresholds[i].signal].pressure == PRESSURE_MEMORY && signal_rows[found->signal].pressure != PRESSURE_MEMORY)))
			found = &e->thresholds[i];
	return found;
}

static void tell_node(struct eviction *e, const struct threshold *t) {
	struct kubelet *kubelet = e->kubelet;
	autounref struct core_v1_node *node = kubelet->node_informer ? informer_find(kubelet->node_informer, NULL, kubelet->node_name) : NULL;
	log_warning("eviction threshold is met", LOG_STR("resource", signal_rows[t->signal].resource));
	if (node)
		kubelet_event(kubelet, node, NULL, "Warning", "EvictionThresholdMet", "Attempting to reclaim %s", signal_rows[t->signal].resource);
}

bool eviction_sync(struct eviction *e) {
	struct observation seen[SIGNAL_KINDS];
	int64_t now = clock_monotonic_ns();
	signals_observe(e->kubelet, seen);
	bool changed = update(e, seen, now);
	const struct threshold *t = worst(e);
	if (!t || still_ending(e, now))
		return changed;
	tell_node(e, t);
	if (signal_rows[t->signal].pressure != PRESSURE_DISK || !reclaim_disk(e, t))
		evict_one(e, t, seen);
	return changed;
}
