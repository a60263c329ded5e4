/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches over nodes by their leases: one that falls silent becomes Unknown, its pods not ready; conditions become taints, NoSchedule at once,
 * NoExecute at the pace its zone allows (the taint-eviction controller then removes the pods).
 */
#include "controller-manager/controller.h"
#include "controller-manager/shared/pods.h"

#include "api/coordination_v1.h"
#include "api/core_v1.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#define LEASE_NAMESPACE "kube-node-lease"
#define TAINT_NOT_READY "node.kubernetes.io/not-ready"
#define TAINT_UNREACHABLE "node.kubernetes.io/unreachable"
#define NO_SCHEDULE CORE_V1_TAINT_EFFECT_NO_SCHEDULE
#define NO_EXECUTE CORE_V1_TAINT_EFFECT_NO_EXECUTE
#define LABEL_ZONE "topology.kubernetes.io/zone"
#define LABEL_REGION "topology.kubernetes.io/region"
#define RETRY_MS 1000
#define SILENCES "silences" /* the namespace of a key that stands for no node, but for the silence of all that are well */

/* What is known of one node since this process leads. */
struct health {
	struct wall_time renewed, heartbeat;
	int64_t seen_ns; /* monotonic: when either of them last changed */
	bool was_ready;
	bool pods_due; /* it is silent, and its pods may still be shown as ready */
};

struct zone_count {
	size_t ready, not_ready;
};

struct zone {
	int64_t next_ns; /* no further node of it is tainted NoExecute before */
	struct zone_count count;
};

struct state {
	pthread_mutex_t lock;
	struct map nodes, zones;
	uint64_t counted_version; /* of the cache of nodes, when those of each zone were counted last; 0: never */
	bool any_ready;
};

static void *state_new(void)
{
	struct state *state = xnew(struct state);
	pthread_mutex_init(&state->lock, NULL);
	state->nodes = MAP_INIT(free);
	state->zones = MAP_INIT(free);
	return state;
}

static void state_free(void *arg)
{
	struct state *state = arg;
	map_done(&state->nodes);
	map_done(&state->zones);
	pthread_mutex_destroy(&state->lock);
	free(state);
}

static struct core_v1_node_condition *find_condition(const struct core_v1_node *node, const char *type)
{
	for (uint32_t i = 0; i < node->status.conditions.len; i++)
		if (str_equal(node->status.conditions.items[i].type, type))
			return &node->status.conditions.items[i];
	return NULL;
}

static const char *condition_status(const struct core_v1_node *node, const char *type)
{
	const struct core_v1_node_condition *condition = find_condition(node, type);
	return condition ? str_or(condition->status, "Unknown") : "Unknown";
}

static bool same_time(struct wall_time a, struct wall_time b)
{
	return a.sec == b.sec && a.nsec == b.nsec;
}

/* When a node's lease was renewed last, and when that was seen (0: now, by what the cache shows). False: it has none. */
static bool last_renewal(struct reconciler *r, const char *name, struct informer_beat *ret)
{
	if (world_last_beat(r->world, CACHED_LEASES, LEASE_NAMESPACE, name, ret))
		return true;
	autounref struct coordination_v1_lease *lease = world_find(r->world, CACHED_LEASES, LEASE_NAMESPACE, name);
	*ret = (struct informer_beat){.time = lease ? lease->spec.renew_time.t : (struct wall_time){0}};
	return lease != NULL;
}

/* The lock is held. Returns whether it is another one than before. */
static bool note_renewal(struct health *health, const struct informer_beat *renewal)
{
	if (same_time(health->renewed, renewal->time))
		return false;
	health->renewed = renewal->time;
	health->seen_ns = max_of(health->seen_ns, renewal->seen_ns ? renewal->seen_ns : clock_monotonic_ns());
	return true;
}

/* Nanoseconds of silence left before the node is Unknown; 0 or less: it is. */
static int64_t patience_left(struct reconciler *r, const struct core_v1_node *node)
{
	struct state *state = r->state;
	struct informer_beat renewal;
	bool leased = last_renewal(r, node->metadata.name, &renewal);
	const struct core_v1_node_condition *ready = find_condition(node, "Ready");
	struct wall_time heartbeat = ready ? ready->last_heartbeat_time.t : (struct wall_time){0};
	int64_t now = clock_monotonic_ns();
	pthread_mutex_lock(&state->lock);
	struct health *health = map_get(&state->nodes, node->metadata.name);
	bool is_new = !health;
	if (is_new) {
		health = xnew(struct health);
		*health = (struct health){.renewed = renewal.time, .heartbeat = heartbeat, .seen_ns = now, .was_ready = str_equal(condition_status(node, "Ready"), "True"), .pods_due = true};
		map_set(&state->nodes, node->metadata.name, health);
	}
	/* A heartbeat that we wrote ourselves with Unknown is no sign of life. */
	bool alive = ready && !str_equal(ready->status, "Unknown") && !same_time(health->heartbeat, heartbeat);
	if ((leased && note_renewal(health, &renewal)) || alive)
		health->heartbeat = heartbeat;
	if (alive)
		health->seen_ns = now;
	int64_t grace = ready ? r->world->settings->node_monitor_grace_period : r->world->settings->node_startup_grace_period;
	int64_t left = health->seen_ns + grace - now;
	pthread_mutex_unlock(&state->lock);
	if (is_new)
		reconciler_event(r, node, EVENT_NORMAL, "RegisteredNode", "Node %s event: Registered Node %s in Controller", node->metadata.name, node->metadata.name);
	return left;
}

static bool make_unknown(struct core_v1_node *node)
{
	static const char *const types[] = {"Ready", "MemoryPressure", "DiskPressure", "PIDPressure"};
	struct arena *arena = api_arena(node);
	bool changed = false;
	for (size_t i = 0; i < array_len(types); i++) {
		struct core_v1_node_condition *condition = find_condition(node, types[i]);
		bool never = !condition;
		if (condition && str_equal(condition->status, "Unknown"))
			continue;
		if (!condition)
			condition = api_list_add(arena, &node->status.conditions);
		condition->type = types[i];
		condition->status = "Unknown";
		condition->reason = never ? "NodeStatusNeverUpdated" : "NodeStatusUnknown";
		condition->message = never ? "Kubelet never posted node status." : "Kubelet stopped posting node status.";
		if (never)
			condition->last_heartbeat_time = node->metadata.creation_timestamp;
		condition->last_transition_time = api_time_now();
		changed = true;
	}
	return changed;
}

/* ---- taints ---- */

static const struct condition_taint {
	const char *type, *status, *key;
} condition_taints[] = {
	{"Ready", "False", TAINT_NOT_READY},
	{"Ready", "Unknown", TAINT_UNREACHABLE},
	{"MemoryPressure", "True", "node.kubernetes.io/memory-pressure"},
	{"DiskPressure", "True", "node.kubernetes.io/disk-pressure"},
	{"PIDPressure", "True", "node.kubernetes.io/pid-pressure"},
	{"NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"},
};
#define LABEL_EXCLUDED "node.kubernetes.io/exclude-disruption"
#define TAINT_UNSCHEDULABLE "node.kubernetes.io/unschedulable"

/* Adds or removes one taint; returns whether that changed anything. */
static bool want_taint(struct core_v1_node *node, const char *key, const char *effect, bool wanted)
{
	struct arena *arena = api_arena(node);
	for (uint32_t i = 0; i < node->spec.taints.len; i++) {
		const struct core_v1_taint *taint = &node->spec.taints.items[i];
		if (!str_equal(taint->key, key) || !str_equal(taint->effect, effect))
			continue;
		if (!wanted)
			api_list_remove(&node->spec.taints, i);
		return !wanted;
	}
	if (!wanted)
		return false;
	struct core_v1_taint *taint = api_list_add(arena, &node->spec.taints);
	taint->key = key;
	taint->effect = effect;
	taint->time_added = api_time_now();
	return true;
}

static const char *zone_of(const struct core_v1_node *node, char *out, size_t size)
{
	snprintf(out, size, "%s:%s", str_or(api_map_get(&node->metadata.labels, LABEL_REGION), ""), str_or(api_map_get(&node->metadata.labels, LABEL_ZONE), ""));
	return out;
}

static bool has_taint(const struct core_v1_node *node, const char *key, const char *effect)
{
	for (uint32_t i = 0; i < node->spec.taints.len; i++)
		if (str_equal(node->spec.taints.items[i].key, key) && str_equal(node->spec.taints.items[i].effect, effect))
			return true;
	return false;
}

static bool has_no_execute(const struct core_v1_node *node)
{
	return has_taint(node, TAINT_NOT_READY, NO_EXECUTE) || has_taint(node, TAINT_UNREACHABLE, NO_EXECUTE);
}

/* The lock is held. */
static struct zone *zone_named(struct state *state, const char *name)
{
	struct zone *zone = map_get(&state->zones, name);
	if (!zone) {
		zone = xnew(struct zone);
		map_set(&state->zones, name, zone);
	}
	return zone;
}

/*
 * Counts the nodes of all zones, unless none has changed since they were counted: many may ask, again and again, while a whole zone is silent. The lock is held;
 * the cache's is not taken under it.
 */
static void count_zones(struct state *state, uint64_t version, const struct informer_list *nodes)
{
	char name[600];
	size_t pos = 0;
	for (struct map_entry *e; (e = map_next(&state->zones, &pos));)
		((struct zone *)e->value)->count = (struct zone_count){0};
	state->any_ready = false;
	for (size_t i = 0; i < nodes->len; i++) {
		bool ready = str_equal(condition_status(nodes->items[i], "Ready"), "True");
		if (api_map_get(&api_metadata(nodes->items[i])->labels, LABEL_EXCLUDED))
			continue;
		struct zone *zone = zone_named(state, zone_of(nodes->items[i], name, sizeof(name)));
		state->any_ready |= ready;
		zone->count.ready += ready;
		zone->count.not_ready += !ready;
	}
	state->counted_version = version;
}

static void keep_count(struct reconciler *r)
{
	struct state *state = r->state;
	uint64_t version = world_version(r->world, CACHED_NODES);
	pthread_mutex_lock(&state->lock);
	bool known = version && version == state->counted_version;
	pthread_mutex_unlock(&state->lock);
	if (known)
		return;
	autolist struct informer_list nodes = INFORMER_LIST_INIT;
	world_list_all(r->world, CACHED_NODES, &nodes);
	pthread_mutex_lock(&state->lock);
	bool some_were_ready = state->any_ready;
	count_zones(state, version, &nodes);
	bool all_fell_silent = some_were_ready && !state->any_ready;
	pthread_mutex_unlock(&state->lock);
	/* The last of them: evictions of the others are called off, which nothing else would have look again. */
	for (size_t i = 0; i < nodes.len && all_fell_silent; i++)
		if (has_no_execute(nodes.items[i]))
			reconciler_add(r, NULL, api_metadata(nodes.items[i])->name);
}

/* Nodes a second that may be tainted NoExecute in this zone; 0: none. */
static double eviction_rate(const struct settings *s, const struct zone_count *count)
{
	size_t all = count->ready + count->not_ready;
	bool unhealthy = count->ready && count->not_ready > 2 && (double)count->not_ready >= s->unhealthy_zone_threshold * (double)all;
	if (!unhealthy)
		return s->node_eviction_rate;
	return all > (size_t)s->large_cluster_size_threshold ? s->secondary_node_eviction_rate : 0;
}

/* Whether this node may be tainted NoExecute now, or stay so; else *ret_wait_ms says when to ask again. */
static bool may_evict(struct reconciler *r, const struct core_v1_node *node, bool tainted, int *ret_wait_ms)
{
	struct state *state = r->state;
	char name[600];
	keep_count(r);
	pthread_mutex_lock(&state->lock);
	struct zone *zone = zone_named(state, zone_of(node, name, sizeof(name)));
	struct zone_count count = zone->count;
	bool all_down = !state->any_ready;
	pthread_mutex_unlock(&state->lock);
	double rate = eviction_rate(r->world->settings, &count);
	*ret_wait_ms = RETRY_MS;
	if (all_down)
		return false; /* when everything is silent, it is more likely us who cannot hear: evictions under way are called off */
	if (tainted)
		return true; /* changing from one taint to the other is not a new eviction */
	if (rate <= 0)
		return false;
	int64_t now = clock_monotonic_ns();
	pthread_mutex_lock(&state->lock);
	bool may = now >= zone->next_ns;
	if (may)
		zone->next_ns = now + (int64_t)((double)NSEC_PER_SEC / rate);
	else
		*ret_wait_ms = (int)((zone->next_ns - now) / NSEC_PER_MSEC) + 1;
	pthread_mutex_unlock(&state->lock);
	return may;
}

/* Labels that are known by an older name too. */
static const struct {
	const char *name, *old_name;
} twin_labels[] = {{"kubernetes.io/os", "beta.kubernetes.io/os"}, {"kubernetes.io/arch", "beta.kubernetes.io/arch"}};

static bool has_twins(const struct core_v1_node *node)
{
	for (size_t i = 0; i < array_len(twin_labels); i++) {
		const char *value = api_map_get(&node->metadata.labels, twin_labels[i].name);
		if (value && !str_equal(api_map_get(&node->metadata.labels, twin_labels[i].old_name), value))
			return false;
	}
	return true;
}

static bool update_labels(struct core_v1_node *node)
{
	bool changed = !has_twins(node);
	for (size_t i = 0; i < array_len(twin_labels); i++) {
		const char *value = api_map_get(&node->metadata.labels, twin_labels[i].name);
		if (value)
			api_map_set(api_arena(node), &node->metadata.labels, twin_labels[i].old_name, value);
	}
	return changed;
}

static bool update_taints(struct reconciler *r, struct core_v1_node *node, int *ret_wait_ms)
{
	bool changed = false;
	for (size_t i = 0; i < array_len(condition_taints); i++) {
		const struct condition_taint *row = &condition_taints[i];
		const struct core_v1_node_condition *condition = find_condition(node, row->type);
		changed |= want_taint(node, row->key, NO_SCHEDULE, condition && str_equal(condition->status, row->status));
	}
	changed |= want_taint(node, TAINT_UNSCHEDULABLE, NO_SCHEDULE, node->spec.unschedulable);
	const struct core_v1_node_condition *ready = find_condition(node, "Ready");
	bool not_ready = ready && str_equal(ready->status, "False"), unknown = ready && str_equal(ready->status, "Unknown");
	bool tainted = has_no_execute(node);
	bool evict = (not_ready || unknown) && may_evict(r, node, tainted, ret_wait_ms);
	changed |= want_taint(node, TAINT_NOT_READY, NO_EXECUTE, evict && not_ready);
	changed |= want_taint(node, TAINT_UNREACHABLE, NO_EXECUTE, evict && unknown);
	if (evict || (!not_ready && !unknown))
		*ret_wait_ms = 0;
	return changed;
}

/* ---- what there is, for whoever reads the metrics ---- */

static const char *const zone_label[] = {"zone", NULL};
enum { EVICTIONS, ZONE_HEALTH, ZONE_SIZE, ZONE_UNHEALTHY };
static struct metric metrics[] = {
	[EVICTIONS] = {.name = "node_collector_evictions_total", .help = "Nodes that were tainted NoExecute because they were not ready.", .kind = METRIC_COUNTER, .labels = zone_label},
	[ZONE_HEALTH] = {.name = "node_collector_zone_health", .help = "Percentage of ready nodes of each zone.", .kind = METRIC_GAUGE, .labels = zone_label},
	[ZONE_SIZE] = {.name = "node_collector_zone_size", .help = "Nodes of each zone.", .kind = METRIC_GAUGE, .labels = zone_label},
	[ZONE_UNHEALTHY] = {.name = "node_collector_unhealthy_nodes_in_zone", .help = "Nodes of each zone that are not ready.", .kind = METRIC_GAUGE, .labels = zone_label},
};

static void collect(void *arg)
{
	struct reconciler *r = arg;
	struct state *state = r->state;
	size_t pos = 0;
	keep_count(r);
	pthread_mutex_lock(&state->lock);
	for (struct map_entry *e; (e = map_next(&state->zones, &pos));) {
		const struct zone_count *count = &((struct zone *)e->value)->count;
		size_t all = count->ready + count->not_ready;
		metric_label(&metrics[EVICTIONS], e->key);
		metric_set(metric_label(&metrics[ZONE_HEALTH], e->key), all ? 100.0 * (double)count->ready / (double)all : 100);
		metric_set(metric_label(&metrics[ZONE_SIZE], e->key), (double)all);
		metric_set(metric_label(&metrics[ZONE_UNHEALTHY], e->key), (double)count->not_ready);
	}
	pthread_mutex_unlock(&state->lock);
}

static void count_eviction(const struct core_v1_node *node)
{
	char name[600];
	metric_add(metric_label(&metrics[EVICTIONS], zone_of(node, name, sizeof(name))), 1);
}

/* ---- pods ---- */

static int mark_pods_not_ready(struct reconciler *r, const struct core_v1_node *node, struct error *err)
{
	autolist struct informer_list pods = INFORMER_LIST_INIT;
	world_list_index(r->world, CACHED_PODS, INDEX_NODE, node->metadata.name, &pods);
	int result = 0;
	for (size_t i = 0; i < pods.len; i++) {
		const struct core_v1_pod *pod = pods.items[i];
		if (!pod_is_ready(pod) || pod_is_terminal(pod))
			continue;
		autounref struct core_v1_pod *copy = api_copy(pod);
		autoerror struct error failed = {0};
		struct core_v1_pod_condition *ready = pod_condition(copy, CORE_V1_POD_CONDITION_TYPE_READY);
		ready->status = "False";
		ready->last_transition_time = api_time_now();
		int one = pod_write_conditions(r, copy, &failed);
		if (one)
			result = error_move(err, &failed);
		else if (!one)
			reconciler_event(r, pod, EVENT_WARNING, "NodeNotReady", "Node is not ready");
	}
	return result;
}

/* Of a node that is well: it has no timer of its own. */
static bool is_known_ready(struct reconciler *r, const struct core_v1_node *node)
{
	struct state *state = r->state;
	pthread_mutex_lock(&state->lock);
	const struct health *health = map_get(&state->nodes, node->metadata.name);
	bool known = health && health->was_ready;
	pthread_mutex_unlock(&state->lock);
	return known;
}

/*
 * Once for each time the node falls silent. What its kubelet says itself is none of ours: that shows its pods as they are. One that was silent already when this
 * process began to lead may have pods that the leader before did not come to.
 */
static int note_readiness(struct reconciler *r, const struct core_v1_node *node, struct error *err)
{
	struct state *state = r->state;
	const char *ready = condition_status(node, "Ready");
	bool silent = find_condition(node, "Ready") && str_equal(ready, "Unknown"), lost = false, pods_due = false;
	pthread_mutex_lock(&state->lock);
	struct health *health = map_get(&state->nodes, node->metadata.name);
	if (health) {
		lost = silent && health->was_ready;
		health->was_ready = str_equal(ready, "True");
		health->pods_due = silent && (lost || health->pods_due);
		pods_due = health->pods_due;
	}
	pthread_mutex_unlock(&state->lock);
	if (lost)
		reconciler_event(r, node, EVENT_NORMAL, "NodeNotReady", "Node %s status is now: NodeNotReady", node->metadata.name);
	int result = pods_due ? mark_pods_not_ready(r, node, err) : 0;
	if (result || !pods_due)
		return result;
	pthread_mutex_lock(&state->lock);
	if ((health = map_get(&state->nodes, node->metadata.name)))
		health->pods_due = false;
	pthread_mutex_unlock(&state->lock);
	return 0;
}

static int to_ms(int64_t ns)
{
	return ns <= 0 ? 1 : (int)min_of(ns / NSEC_PER_MSEC + 1, (int64_t)INT32_MAX);
}

/* Nearly always: ready, known to be, and with no taint to add or remove. */
static bool is_settled(struct reconciler *r, const struct core_v1_node *node)
{
	if (!str_equal(condition_status(node, "Ready"), "True") || has_no_execute(node))
		return false;
	for (size_t i = 0; i < array_len(condition_taints); i++) {
		const struct condition_taint *row = &condition_taints[i];
		const struct core_v1_node_condition *condition = find_condition(node, row->type);
		if (has_taint(node, row->key, NO_SCHEDULE) != (condition && str_equal(condition->status, row->status)))
			return false;
	}
	return has_taint(node, TAINT_UNSCHEDULABLE, NO_SCHEDULE) == node->spec.unschedulable && has_twins(node) && is_known_ready(r, node);
}

/*
 * Nodes that are well share one timer, which ends where the first of them would be silent for too long: with one each, a thousand nodes would wake the manager
 * all day long to find that nothing has happened.
 */
static void await_silence(struct reconciler *r, int64_t left_ns)
{
	reconciler_add_after(r, SILENCES, SILENCES, left_ns);
}

static int look_for_silence(struct reconciler *r)
{
	struct state *state = r->state;
	int64_t grace = r->world->settings->node_monitor_grace_period, now = clock_monotonic_ns(), next_ns = INT64_MAX;
	size_t pos = 0;
	pthread_mutex_lock(&state->lock);
	for (struct map_entry *e; (e = map_next(&state->nodes, &pos));) {
		struct health *health = e->value;
		struct informer_beat beat;
		if (!health->was_ready)
			continue; /* has its own timer, or none to wait for */
		if (world_last_beat(r->world, CACHED_LEASES, LEASE_NAMESPACE, e->key, &beat))
			note_renewal(health, &beat);
		int64_t left = health->seen_ns + grace - now;
		if (left > 0)
			next_ns = min_of(next_ns, left);
		else
			reconciler_add(r, NULL, e->key);
	}
	pthread_mutex_unlock(&state->lock);
	return next_ns == INT64_MAX ? 0 : to_ms(next_ns);
}

static int reconcile(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	if (str_equal(ns, SILENCES))
		return look_for_silence(r);
	autounref struct core_v1_node *cached = world_find(r->world, CACHED_NODES, NULL, name);
	if (!cached)
		return 0;
	int64_t left = patience_left(r, cached);
	int wait_ms = 0, result = 0;
	if (left > 0 && is_settled(r, cached)) {
		await_silence(r, left);
		return 0;
	}
	autounref struct core_v1_node *node = api_copy(cached), *written = NULL;
	if (left <= 0 && make_unknown(node)) {
		result = world_update_status(r->world, CACHED_NODES, node, (void **)&written, err);
		if (result)
			return result;
	}
	if (written) {
		api_unref(node);
		node = take_ptr(written);
	}
	bool changed = update_labels(node);
	bool evicted = has_no_execute(node);
	if (update_taints(r, node, &wait_ms) || changed) {
		result = world_update(r->world, CACHED_NODES, node, NULL, err);
		if (result)
			return result;
		if (!evicted && has_no_execute(node))
			count_eviction(node);
	}
	result = note_readiness(r, node, err);
	if (result)
		return result;
	int silence_ms = left > 0 ? to_ms(left) : 0;
	if (silence_ms && is_known_ready(r, node)) {
		await_silence(r, left);
		return wait_ms;
	}
	return wait_ms && (!silence_ms || wait_ms < silence_ms) ? wait_ms : silence_ms;
}

/*
 * Leases are renewed all the time, a hundred a second where there are a thousand nodes. Most of that nobody is told of (beats: the timer asks for them); what
 * there is more is noted here of a node that is well, and the timer finds it so. Anything else is looked at.
 */
static void wake_by_lease(struct reconciler *r, const void *object)
{
	const struct coordination_v1_lease *lease = object;
	struct state *state = r->state;
	pthread_mutex_lock(&state->lock);
	struct health *health = map_get(&state->nodes, lease->metadata.name);
	bool well = health && health->was_ready;
	if (well)
		note_renewal(health, &(struct informer_beat){.time = lease->spec.renew_time.t});
	pthread_mutex_unlock(&state->lock);
	if (!well)
		reconciler_add(r, NULL, lease->metadata.name);
}

static void on_gone_lease(struct reconciler *r, const void *object)
{
	reconciler_add(r, NULL, api_metadata(object)->name);
}

static void on_gone(struct reconciler *r, const void *object)
{
	struct state *state = r->state;
	const struct core_v1_node *node = object;
	reconciler_event(r, node, EVENT_NORMAL, "RemovingNode", "Node %s event: Removing Node %s from Controller", node->metadata.name, node->metadata.name);
	pthread_mutex_lock(&state->lock);
	map_remove(&state->nodes, node->metadata.name);
	pthread_mutex_unlock(&state->lock);
}

const struct controller node_lifecycle_controller = {
	.name = "node-lifecycle-controller",
	.queue = "node_lifecycle_controller",
	.account = "node-controller",
	.alias = "nodelifecycle",
	.component = "node-controller",
	.workers = 4,
	.metrics = metrics,
	.metric_count = array_len(metrics),
	.collect = collect,
	.watches = (const struct controller_watch[]){{.what = CACHED_NODES, .gone = on_gone},
		{.what = CACHED_LEASES, .wake = wake_by_lease, .gone = on_gone_lease, .latest_only = true},
		{.what = CACHED_PODS, .read_only = true},
		{.what = CACHED_NONE}},
	.reconcile = reconcile,
	.state_new = state_new,
	.state_free = state_free,
};
