/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PodDisruptionBudgets: how many of the selected pods are healthy, how many have to be, and so how many may be evicted. The expected number
 * comes from the scale of the pods' controllers where the budget is a percentage or counts what may be missing.
 */
#include "common/api/selector.h"
#include "controller-manager/controller.h"
#include "controller-manager/shared/discovery.h"
#include "controller-manager/shared/owners.h"
#include "controller-manager/shared/pods.h"

#include "api/apps_v1.h"
#include "api/policy_v1.h"

#include <errno.h>

#define DISRUPTION_TIMEOUT_S 120 /* a pod whose eviction was granted is gone by then, or stays */
#define CONDITION_ALLOWED "DisruptionAllowed"
#define POD_KEY "pod:" /* before the name of a pod: no budget's name has a colon */
#define SCALE_MAX_BYTES ((size_t)1 << 20)

/* Owners whose scale is known from the caches. */
static const struct scaled {
	const char *group, *kind;
	enum cached what;
} scaled_kinds[] = {
	{"apps", "Deployment", CACHED_DEPLOYMENTS},
	{"apps", "ReplicaSet", CACHED_REPLICA_SETS},
	{"apps", "StatefulSet", CACHED_STATEFUL_SETS},
	{"", "ReplicationController", CACHED_REPLICATION_CONTROLLERS},
};

static int32_t or_one(const int32_t *replicas)
{
	return replicas ? *replicas : 1;
}

static int32_t replicas_of(enum cached what, const void *object)
{
	switch (what) {
	case CACHED_DEPLOYMENTS:
		return or_one(((const struct apps_v1_deployment *)object)->spec.replicas);
	case CACHED_REPLICA_SETS:
		return or_one(((const struct apps_v1_replica_set *)object)->spec.replicas);
	case CACHED_STATEFUL_SETS:
		return or_one(((const struct apps_v1_stateful_set *)object)->spec.replicas);
	default:
		return or_one(((const struct core_v1_replication_controller *)object)->spec.replicas);
	}
}

static bool is_of_group(const struct meta_v1_owner_reference *owner, const char *group)
{
	const char *slash = strchr(str_or(owner->api_version, ""), '/');
	size_t len = slash ? (size_t)(slash - owner->api_version) : 0;
	return strlen(group) == len && strncmp(str_or(owner->api_version, ""), group, len) == 0;
}

/* There is no scale: because the owner is not there, which is no error here, or because its kind has none. */
static int refuse_unscaled(struct reconciler *r, const struct discovered *d, const char *path, struct error *err)
{
	autobuf struct buf body = BUF_INIT(SCALE_MAX_BYTES);
	struct client_request request = {.method = "GET", .path = path};
	if (r->world->ops->request(r->world, &request, &body, NULL, NULL))
		return 0;
	return error_set(err, EINVAL, "%s%s%s does not implement the scale subresource", d->plural, *d->group ? "." : "", d->group);
}

/* The scale of a kind that only the server knows: its subresource tells. *ret_found false: the owner is gone. */
static int ask_scale(struct reconciler *r, const char *ns, const struct meta_v1_owner_reference *owner, bool *ret_found, int32_t *ret, struct error *err)
{
	cleanup(discovery_done) struct discovery discovery = {0};
	int result = discovery_load(r->world, &discovery, err);
	for (size_t i = 0; i < discovery.len && !result; i++) {
		const struct discovered *d = &discovery.items[i];
		if (!str_equal(d->kind, owner->kind) || !is_of_group(owner, d->group) || !d->namespaced)
			continue;
		autofree char *base = discovered_path(d, ns, owner->name), *path = xprintf("%s/scale", base);
		autobuf struct buf body = BUF_INIT(SCALE_MAX_BYTES);
		autoerror struct error failed = {0};
		struct client_request request = {.method = "GET", .path = path};
		result = r->world->ops->request(r->world, &request, &body, NULL, &failed);
		if (result && failed.http_code == 404)
			return refuse_unscaled(r, d, base, err);
		if (result)
			return error_move(err, &failed);
		json_t *scale = json_loadb(body.data, body.len, 0, NULL);
		*ret = (int32_t)json_integer_value(json_object_get(json_object_get(scale, "spec"), "replicas"));
		*ret_found = scale != NULL;
		json_decref(scale);
		return 0;
	}
	return result;
}

/* The replicas that the controller of a pod wants, once for each controller. *ret_found: the controller is there, and has a scale. */
static int expected_of(struct reconciler *r, const char *ns, const struct meta_v1_owner_reference *owner, struct map *seen, bool *ret_found, int32_t *ret_more, struct error *err)
{
	*ret_found = map_has(seen, owner->uid);
	*ret_more = 0;
	if (*ret_found)
		return 0;
	for (size_t i = 0; i < array_len(scaled_kinds); i++) {
		if (!str_equal(scaled_kinds[i].kind, owner->kind) || !is_of_group(owner, scaled_kinds[i].group))
			continue;
		autounref void *object = world_find(r->world, scaled_kinds[i].what, ns, owner->name);
		if (!object || !str_equal(api_metadata(object)->uid, owner->uid))
			return 0;
		const struct meta_v1_owner_reference *top = owner_controller(api_metadata(object));
		if (top && scaled_kinds[i].what == CACHED_REPLICA_SETS && str_equal(top->kind, "Deployment"))
			return expected_of(r, ns, top, seen, ret_found, ret_more, err);
		*ret_found = true;
		*ret_more = replicas_of(scaled_kinds[i].what, object);
		set_add(seen, owner->uid);
		return 0;
	}
	int result = ask_scale(r, ns, owner, ret_found, ret_more, err);
	if (!result && *ret_found)
		set_add(seen, owner->uid);
	return result;
}

/* Pods that nobody controls count for nothing; *ret_unmanaged says how many there are. */
static int expected_by_scale(struct reconciler *r, const struct informer_list *pods, int32_t *ret, size_t *ret_unmanaged, struct error *err)
{
	automap struct map seen = MAP_INIT(NULL);
	int32_t total = 0;
	*ret_unmanaged = 0;
	for (size_t i = 0; i < pods->len; i++) {
		const struct meta_v1_object_meta *meta = api_metadata(pods->items[i]);
		const struct meta_v1_owner_reference *owner = owner_controller(meta);
		bool found;
		int32_t more;
		if (!owner) {
			++*ret_unmanaged;
			continue;
		}
		int result = expected_of(r, meta->namespace, owner, &seen, &found, &more, err);
		if (result)
			return result;
		if (!found)
			return error_set(err, EINVAL, "found no controllers for pod \"%s\"", meta->name);
		total += more;
	}
	*ret = total;
	return 0;
}

/* Expected pods, and how many of them have to be healthy. */
static int count_needed(struct reconciler *r, const struct policy_v1_pod_disruption_budget *pdb, const struct informer_list *pods, int32_t *ret_expected,
	int32_t *ret_needed, size_t *ret_unmanaged, struct error *err)
{
	int n = 0, result;
	if (pdb->spec.max_unavailable) {
		result = expected_by_scale(r, pods, ret_expected, ret_unmanaged, err);
		if (result || int_or_string_scaled(pdb->spec.max_unavailable, *ret_expected, true, &n) < 0)
			return result ? result : error_set(err, EINVAL, "maxUnavailable is neither a number nor a percentage");
		*ret_needed = max_of(*ret_expected - n, 0);
		return 0;
	}
	*ret_expected = (int32_t)pods->len;
	*ret_needed = 0;
	if (!pdb->spec.min_available)
		return 0;
	if (pdb->spec.min_available->str) {
		result = expected_by_scale(r, pods, ret_expected, ret_unmanaged, err);
		if (result)
			return result;
	}
	if (int_or_string_scaled(pdb->spec.min_available, *ret_expected, true, &n) < 0)
		return error_set(err, EINVAL, "minAvailable is neither a number nor a percentage");
	*ret_needed = n;
	return 0;
}

static const struct core_v1_pod *pod_named(const struct informer_list *pods, const char *name)
{
	for (size_t i = 0; i < pods->len; i++)
		if (str_equal(api_metadata(pods->items[i])->name, name))
			return pods->items[i];
	return NULL;
}

/* Forgets evictions that have come true or did not within the time. Returns milliseconds until the next is forgotten. */
static int clean_disrupted(struct reconciler *r, struct policy_v1_pod_disruption_budget *pdb, const struct informer_list *pods)
{
	int soonest = 0;
	for (uint32_t i = 0; i < pdb->status.disrupted_pods.len;) {
		const struct core_v1_pod *pod = pod_named(pods, pdb->status.disrupted_pods.items[i].key);
		struct wall_time due = time_after(pdb->status.disrupted_pods.items[i].value.t, DISRUPTION_TIMEOUT_S);
		bool over = time_diff_ns(due, clock_wall()) <= 0;
		if (pod && !pod->metadata.deletion_timestamp.set && over)
			reconciler_event(r, pod, EVENT_WARNING, "NotDeleted", "Pod was expected by PDB %s/%s to be deleted but it wasn't", pdb->metadata.namespace, pdb->metadata.name);
		if (!pod || pod->metadata.deletion_timestamp.set || over) {
			api_list_remove(&pdb->status.disrupted_pods, i);
			continue;
		}
		int wait = milliseconds_until(due);
		soonest = soonest ? min_of(soonest, wait) : wait;
		i++;
	}
	return soonest;
}

static bool is_disrupted(const struct policy_v1_pod_disruption_budget *pdb, const struct core_v1_pod *pod)
{
	for (uint32_t i = 0; i < pdb->status.disrupted_pods.len; i++)
		if (str_equal(pdb->status.disrupted_pods.items[i].key, pod->metadata.name))
			return true;
	return false;
}

static void set_condition(struct policy_v1_pod_disruption_budget *pdb, const char *status, const char *reason, const char *message)
{
	struct arena *arena = api_arena(pdb);
	struct meta_v1_condition *condition = NULL;
	for (uint32_t i = 0; i < pdb->status.conditions.len && !condition; i++)
		if (str_equal(pdb->status.conditions.items[i].type, CONDITION_ALLOWED))
			condition = &pdb->status.conditions.items[i];
	if (!condition)
		condition = api_list_add(arena, &pdb->status.conditions);
	if (!str_equal(condition->status, status))
		condition->last_transition_time = api_time_now();
	condition->type = CONDITION_ALLOWED;
	condition->status = status;
	condition->reason = reason;
	condition->message = arena_strdup(arena, message);
	condition->observed_generation = pdb->status.observed_generation;
}

static int list_pods(struct reconciler *r, const struct policy_v1_pod_disruption_budget *pdb, struct informer_list *ret, struct error *err)
{
	struct selector *selector = NULL;
	autolist struct informer_list all = INFORMER_LIST_INIT;
	int result = label_selector_from(pdb->spec.selector, &selector, err);
	if (!result) {
		world_list_namespace(r->world, CACHED_PODS, pdb->metadata.namespace, &all);
		for (size_t i = 0; i < all.len; i++)
			if (selector_matches_labels(selector, &api_metadata(all.items[i])->labels))
				informer_list_add(ret, api_ref(all.items[i]));
	}
	selector_free(selector);
	return result;
}

/* ---- pods that were to go, and stayed ---- */

/*
 * A pod says it is about to be disrupted before it is deleted. Where the deletion does not follow, whoever meant to do it has given up: the
 * condition is taken back.
 */
static int settle_pod(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	autounref struct core_v1_pod *pod = world_find(r->world, CACHED_PODS, ns, name);
	const struct core_v1_pod_condition *target = pod ? pod_condition(pod, CORE_V1_POD_CONDITION_TYPE_DISRUPTION_TARGET) : NULL;
	if (!target || !str_equal(target->status, "True") || pod->metadata.deletion_timestamp.set || pod_is_terminal(pod))
		return 0;
	struct wall_time due = time_after(target->last_transition_time.t, DISRUPTION_TIMEOUT_S);
	if (time_diff_ns(due, clock_wall()) > 0)
		return milliseconds_until(due);
	autounref struct core_v1_pod *copy = api_copy(pod);
	pod_set_condition(api_arena(copy), copy, CORE_V1_POD_CONDITION_TYPE_DISRUPTION_TARGET, "False", NULL, NULL);
	return pod_write_conditions(r, copy, err);
}

static int reconcile(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	if (str_starts_with(name, POD_KEY))
		return settle_pod(r, ns, name + strlen(POD_KEY), err);
	autounref struct policy_v1_pod_disruption_budget *cached = world_find(r->world, CACHED_POD_DISRUPTION_BUDGETS, ns, name);
	if (!cached)
		return 0;
	autounref struct policy_v1_pod_disruption_budget *pdb = api_copy(cached);
	autolist struct informer_list pods = INFORMER_LIST_INIT;
	autoerror struct error failed = {0};
	int result = list_pods(r, cached, &pods, err);
	if (result)
		return result;
	int32_t expected = 0, needed = 0, healthy = 0;
	size_t unmanaged = 0;
	if (!pods.len)
		reconciler_event(r, cached, EVENT_NORMAL, "NoPods", "No matching pods found");
	int wait = clean_disrupted(r, pdb, &pods);
	result = count_needed(r, cached, &pods, &expected, &needed, &unmanaged, &failed);
	if (result) {
		reconciler_event(r, cached, EVENT_WARNING, "CalculateExpectedPodCountFailed", "Failed to calculate the number of expected pods: %s",
			error_message(&failed));
		pdb->status.disruptions_allowed = 0;
		set_condition(pdb, "False", "SyncFailed", error_message(&failed));
	} else {
		pdb->status.observed_generation = pdb->metadata.generation;
		if (unmanaged)
			reconciler_event(r, cached, EVENT_WARNING, "UnmanagedPods",
				"%zu of the selected pods have no controller: they count neither for a percentage nor for maxUnavailable", unmanaged);
		for (size_t i = 0; i < pods.len; i++)
			healthy += !api_metadata(pods.items[i])->deletion_timestamp.set && !is_disrupted(pdb, pods.items[i]) && pod_is_ready(pods.items[i]);
		pdb->status.disruptions_allowed = expected > 0 ? max_of(healthy - needed, 0) : 0;
		pdb->status.current_healthy = healthy;
		pdb->status.desired_healthy = needed;
		pdb->status.expected_pods = expected;
		set_condition(pdb, pdb->status.disruptions_allowed ? "True" : "False", pdb->status.disruptions_allowed ? "SufficientPods" : "InsufficientPods", "");
	}
	if (!api_equal(&policy_v1_pod_disruption_budget_status_type, &pdb->status, &cached->status)) {
		result = world_update_status(r->world, CACHED_POD_DISRUPTION_BUDGETS, pdb, NULL, err);
		if (result)
			return result;
	}
	return wait;
}

static void wake_by_pod(struct reconciler *r, const void *object)
{
	const struct core_v1_pod *pod = object;
	const struct core_v1_pod_condition *target = pod_condition(pod, CORE_V1_POD_CONDITION_TYPE_DISRUPTION_TARGET);
	if (target && str_equal(target->status, "True")) {
		autofree char *key = xprintf(POD_KEY "%s", pod->metadata.name);
		reconciler_add(r, pod->metadata.namespace, key);
	}
	autolist struct informer_list all = INFORMER_LIST_INIT;
	world_list_namespace(r->world, CACHED_POD_DISRUPTION_BUDGETS, pod->metadata.namespace, &all);
	const char *first = NULL;
	for (size_t i = 0; i < all.len; i++) {
		const struct policy_v1_pod_disruption_budget *pdb = all.items[i];
		struct selector *selector = NULL;
		if (label_selector_from(pdb->spec.selector, &selector, NULL) == 0 && selector_matches_labels(selector, &pod->metadata.labels)) {
			reconciler_add(r, pdb->metadata.namespace, pdb->metadata.name);
			/* Each of them counts it, but an eviction is refused as long as there are several. */
			if (first)
				reconciler_event(r, pod, EVENT_WARNING, "MultiplePodDisruptionBudgets", "Pod \"%s\"/\"%s\" matches multiple PodDisruptionBudgets, \"%s\" and \"%s\" among them",
					pod->metadata.namespace, pod->metadata.name, first, pdb->metadata.name);
			first = first ? first : pdb->metadata.name;
		}
		selector_free(selector);
	}
}

const struct controller disruption_controller = {
	.name = "disruption-controller",
	.queue = "disruption",
	.account = "disruption-controller",
	.alias = "disruption",
	.component = "controllermanager",
	.workers = 1,
	.watches = (const struct controller_watch[]){{.what = CACHED_POD_DISRUPTION_BUDGETS},
		{.what = CACHED_PODS, .wake = wake_by_pod},
		{.what = CACHED_REPLICA_SETS, .read_only = true},
		{.what = CACHED_DEPLOYMENTS, .read_only = true},
		{.what = CACHED_STATEFUL_SETS, .read_only = true},
		{.what = CACHED_REPLICATION_CONTROLLERS, .read_only = true},
		{.what = CACHED_NONE}},
	.reconcile = reconcile,
};
