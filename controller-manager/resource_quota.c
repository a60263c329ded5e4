/* SPDX-License-Identifier: Apache-2.0 */
/* ResourceQuota: counts what a namespace uses, so that admission can refuse what would pass the limit. */
#include "controller-manager/controller.h"
#include "controller-manager/shared/discovery.h"
#include "controller-manager/shared/pods.h"

#include <errno.h>
#include <pthread.h>

#define COUNT_PREFIX "count/"
#define SETTLE_NS NSEC_PER_SEC

/* Objects counted under a short name of their own, besides "count/<resource>". */
static const struct countable {
	const char *name;  /* of the quota */
	const char *count; /* the long name */
	enum cached what;
} countables[] = {
	{"services", "count/services", CACHED_SERVICES},
	{"replicationcontrollers", "count/replicationcontrollers", CACHED_REPLICATION_CONTROLLERS},
	{"resourcequotas", "count/resourcequotas", CACHED_RESOURCE_QUOTAS},
	{"secrets", "count/secrets", CACHED_SECRETS},
	{"configmaps", "count/configmaps", CACHED_CONFIG_MAPS},
	{"persistentvolumeclaims", "count/persistentvolumeclaims", CACHED_PERSISTENT_VOLUME_CLAIMS},
	{NULL, "count/pods", CACHED_PODS},
	{NULL, "count/deployments.apps", CACHED_DEPLOYMENTS},
	{NULL, "count/replicasets.apps", CACHED_REPLICA_SETS},
	{NULL, "count/statefulsets.apps", CACHED_STATEFUL_SETS},
	{NULL, "count/jobs.batch", CACHED_JOBS},
	{NULL, "count/cronjobs.batch", CACHED_CRON_JOBS},
};

struct usage {
	struct reconciler *r;
	const struct core_v1_resource_quota *quota;
	struct arena *arena;
	struct api_quantity_map used;
};

/* ---- which pods a quota with scopes counts ---- */

static bool is_best_effort(const struct core_v1_pod *pod)
{
	if (!str_empty(pod->status.qos_class))
		return str_equal(pod->status.qos_class, CORE_V1_POD_QOS_CLASS_BEST_EFFORT);
	for (uint32_t i = 0; i < pod->spec.containers.len; i++)
		if (pod->spec.containers.items[i].resources.requests.len || pod->spec.containers.items[i].resources.limits.len)
			return false;
	return true;
}

static bool term_crosses(const struct core_v1_pod_affinity_term *term)
{
	return term->namespaces.len || term->namespace_selector;
}

static bool terms_cross(const struct core_v1_pod_affinity_term_array *required, const struct core_v1_weighted_pod_affinity_term_array *preferred)
{
	for (uint32_t i = 0; i < required->len; i++)
		if (term_crosses(&required->items[i]))
			return true;
	for (uint32_t i = 0; i < preferred->len; i++)
		if (term_crosses(&preferred->items[i].pod_affinity_term))
			return true;
	return false;
}

/* Whether it asks about pods of other namespaces. */
static bool has_cross_affinity(const struct core_v1_pod *pod)
{
	const struct core_v1_pod_affinity *with = pod->spec.affinity ? pod->spec.affinity->pod_affinity : NULL;
	const struct core_v1_pod_anti_affinity *without = pod->spec.affinity ? pod->spec.affinity->pod_anti_affinity : NULL;
	return (with && terms_cross(&with->required_during_scheduling_ignored_during_execution, &with->preferred_during_scheduling_ignored_during_execution)) ||
	       (without && terms_cross(&without->required_during_scheduling_ignored_during_execution, &without->preferred_during_scheduling_ignored_during_execution));
}

static bool scope_holds(const struct core_v1_pod *pod, const char *scope, const char *operator, const struct api_string_list *values)
{
	bool terminating = pod->spec.active_deadline_seconds != NULL;
	if (str_equal(scope, "Terminating"))
		return terminating;
	if (str_equal(scope, "NotTerminating"))
		return !terminating;
	if (str_equal(scope, "BestEffort"))
		return is_best_effort(pod);
	if (str_equal(scope, "NotBestEffort"))
		return !is_best_effort(pod);
	if (str_equal(scope, "CrossNamespacePodAffinity"))
		return has_cross_affinity(pod);
	if (!str_equal(scope, "PriorityClass"))
		return false; /* a scope of claims */
	const char *class = pod->spec.priority_class_name;
	bool in = values && !str_empty(class) && api_string_list_has(values, class);
	if (str_equal(operator, "In"))
		return in;
	if (str_equal(operator, "NotIn"))
		return !in;
	return str_equal(operator, "DoesNotExist") ? str_empty(class) : !str_empty(class);
}

static bool is_counted(const struct core_v1_resource_quota *quota, const struct core_v1_pod *pod)
{
	for (uint32_t i = 0; i < quota->spec.scopes.len; i++)
		if (!scope_holds(pod, quota->spec.scopes.items[i], "Exists", NULL))
			return false;
	const struct core_v1_scope_selector *selector = quota->spec.scope_selector;
	for (uint32_t i = 0; selector && i < selector->match_expressions.len; i++) {
		const struct core_v1_scoped_resource_selector_requirement *e = &selector->match_expressions.items[i];
		if (!scope_holds(pod, e->scope_name, e->operator, &e->values))
			return false;
	}
	return true;
}

/* The one scope of claims: the attributes that they ask for, have, or are about to have. */
static bool claim_is_counted(const struct core_v1_resource_quota *quota, const struct core_v1_persistent_volume_claim *claim)
{
	const char *classes[] = {claim->spec.volume_attributes_class_name, claim->status.current_volume_attributes_class_name,
		claim->status.modify_volume_status ? claim->status.modify_volume_status->target_volume_attributes_class_name : NULL};
	const struct core_v1_scope_selector *selector = quota->spec.scope_selector;
	bool any = false;
	for (size_t i = 0; i < array_len(classes); i++)
		any |= !str_empty(classes[i]);
	for (uint32_t i = 0; i < quota->spec.scopes.len; i++)
		if (!str_equal(quota->spec.scopes.items[i], "VolumeAttributesClass") || !any)
			return false;
	for (uint32_t i = 0; selector && i < selector->match_expressions.len; i++) {
		const struct core_v1_scoped_resource_selector_requirement *e = &selector->match_expressions.items[i];
		bool in = false;
		for (size_t c = 0; c < array_len(classes); c++)
			in |= !str_empty(classes[c]) && api_string_list_has(&e->values, classes[c]);
		bool holds = str_equal(e->operator, "In") ? in : str_equal(e->operator, "NotIn") ? !in : str_equal(e->operator, "DoesNotExist") ? !any : any;
		if (!str_equal(e->scope_name, "VolumeAttributesClass") || !holds)
			return false;
	}
	return true;
}

static bool has_scopes(const struct core_v1_resource_quota *quota)
{
	return quota->spec.scopes.len || (quota->spec.scope_selector && quota->spec.scope_selector->match_expressions.len);
}

/* ---- sums ---- */

static bool is_limited(const struct usage *u, const char *name)
{
	return api_quantity_get(&u->quota->spec.hard, name) != NULL;
}

static void add(struct usage *u, const char *name, struct quantity amount)
{
	if (!is_limited(u, name))
		return;
	struct quantity *sum = api_quantity_get(&u->used, name);
	if (sum) {
		quantity_add(sum, &amount);
		return;
	}
	api_quantity_set(u->arena, &u->used, name, amount);
}

static void add_count(struct usage *u, const char *name, int64_t count)
{
	add(u, name, quantity_of(count, QUANTITY_DECIMAL_SI));
}

static struct quantity amount_of(const struct core_v1_resource_requirements *resources, const char *name, bool limits)
{
	const struct quantity *q = api_quantity_get(limits ? &resources->limits : &resources->requests, name);
	return q ? *q : (struct quantity){0};
}

static void raise_to(struct quantity *most, struct quantity other)
{
	if (quantity_compare(most, &other) < 0)
		*most = other;
}

/* What a pod holds of one resource: the containers together, or the largest init container, sidecars counted along, plus overhead. */
static struct quantity pod_amount(const struct core_v1_pod *pod, const char *name, bool limits)
{
	struct quantity sum = {0}, sidecars = {0}, most = {0};
	for (uint32_t i = 0; i < pod->spec.containers.len; i++) {
		struct quantity q = amount_of(&pod->spec.containers.items[i].resources, name, limits);
		quantity_add(&sum, &q);
	}
	for (uint32_t i = 0; i < pod->spec.init_containers.len; i++) {
		struct quantity q = amount_of(&pod->spec.init_containers.items[i].resources, name, limits);
		quantity_add(&q, &sidecars);
		if (str_equal(pod->spec.init_containers.items[i].restart_policy, "Always"))
			sidecars = q;
		raise_to(&most, q);
	}
	quantity_add(&sum, &sidecars);
	raise_to(&sum, most);
	if (pod->spec.resources) {
		struct quantity whole = amount_of(pod->spec.resources, name, limits);
		if (!quantity_is_zero(&whole))
			sum = whole;
	}
	const struct quantity *overhead = api_quantity_get(&pod->spec.overhead, name);
	if (overhead && !(limits && quantity_is_zero(&sum)))
		quantity_add(&sum, overhead);
	return sum;
}

static void add_pod(struct usage *u, const struct core_v1_pod *pod)
{
	add_count(u, "pods", 1);
	for (uint32_t i = 0; i < u->quota->spec.hard.len; i++) {
		const char *name = u->quota->spec.hard.items[i].key;
		if (str_starts_with(name, "requests.") && !str_equal(name, "requests.storage"))
			add(u, name, pod_amount(pod, name + strlen("requests."), false));
		else if (str_starts_with(name, "limits."))
			add(u, name, pod_amount(pod, name + strlen("limits."), true));
		else if (str_equal(name, "cpu") || str_equal(name, "memory") || str_equal(name, "ephemeral-storage") || str_starts_with(name, "hugepages-"))
			add(u, name, pod_amount(pod, name, false));
	}
}

static void count_pods(struct usage *u)
{
	autolist struct informer_list pods = INFORMER_LIST_INIT;
	world_list_namespace(u->r->world, CACHED_PODS, u->quota->metadata.namespace, &pods);
	for (size_t i = 0; i < pods.len; i++)
		if (!pod_is_terminal(pods.items[i]) && is_counted(u->quota, pods.items[i]))
			add_pod(u, pods.items[i]);
}

static void count_services(struct usage *u)
{
	autolist struct informer_list services = INFORMER_LIST_INIT;
	world_list_namespace(u->r->world, CACHED_SERVICES, u->quota->metadata.namespace, &services);
	for (size_t i = 0; i < services.len; i++) {
		const struct core_v1_service *service = services.items[i];
		bool balancer = str_equal(service->spec.type, "LoadBalancer");
		bool ports = str_equal(service->spec.type, "NodePort") ||
			     (balancer && (!service->spec.allocate_load_balancer_node_ports || *service->spec.allocate_load_balancer_node_ports));
		add_count(u, "services.loadbalancers", balancer);
		add_count(u, "services.nodeports", ports ? service->spec.ports.len : 0);
	}
}

static void count_claims(struct usage *u)
{
	autolist struct informer_list claims = INFORMER_LIST_INIT;
	world_list_namespace(u->r->world, CACHED_PERSISTENT_VOLUME_CLAIMS, u->quota->metadata.namespace, &claims);
	for (size_t i = 0; i < claims.len; i++) {
		const struct core_v1_persistent_volume_claim *claim = claims.items[i];
		const struct quantity *storage = api_quantity_get(&claim->spec.resources.requests, "storage");
		if (!claim_is_counted(u->quota, claim))
			continue;
		if (has_scopes(u->quota)) {
			add_count(u, "persistentvolumeclaims", 1);
			add_count(u, "count/persistentvolumeclaims", 1);
		}
		autofree char *class_count = xprintf("%s.storageclass.storage.k8s.io/persistentvolumeclaims", str_or(claim->spec.storage_class_name, ""));
		autofree char *class_size = xprintf("%s.storageclass.storage.k8s.io/requests.storage", str_or(claim->spec.storage_class_name, ""));
		add_count(u, class_count, 1);
		if (storage) {
			add(u, "requests.storage", *storage);
			add(u, class_size, *storage);
		}
	}
}

static void count_objects(struct usage *u)
{
	for (size_t i = 0; i < array_len(countables); i++) {
		const struct countable *row = &countables[i];
		autolist struct informer_list list = INFORMER_LIST_INIT;
		if (!is_limited(u, row->count) && !(row->name && is_limited(u, row->name)))
			continue;
		world_list_namespace(u->r->world, row->what, u->quota->metadata.namespace, &list);
		add_count(u, row->count, (int64_t)list.len);
		if (row->name)
			add_count(u, row->name, (int64_t)list.len);
	}
}

static bool has_row(const char *name)
{
	for (size_t i = 0; i < array_len(countables); i++)
		if (str_equal(countables[i].count, name))
			return true;
	return false;
}

/* "count/<resource>.<group>" of anything else, custom resources too: asked from the server. */
static int count_others(struct usage *u, struct error *err)
{
	cleanup(discovery_done) struct discovery discovery = {0};
	for (uint32_t i = 0; i < u->quota->spec.hard.len; i++) {
		const char *name = u->quota->spec.hard.items[i].key;
		if (!str_starts_with(name, COUNT_PREFIX) || has_row(name))
			continue;
		int result = discovery.items ? 0 : discovery_load(u->r->world, &discovery, err);
		if (result)
			return result;
		for (size_t j = 0; j < discovery.len; j++) {
			const struct discovered *d = &discovery.items[j];
			struct metadata_list list = {0};
			autofree char *full = xprintf(COUNT_PREFIX "%s%s%s", d->plural, *d->group ? "." : "", d->group);
			if (!d->namespaced || !str_equal(full, name))
				continue;
			result = discovered_list(u->r->world, d, u->quota->metadata.namespace, &list, err);
			if (result)
				return result;
			add_count(u, name, (int64_t)list.len);
			metadata_list_done(&list);
		}
	}
	return 0;
}

/* ---- when to count ---- */

/* The last charge of each quota that was seen. */
struct state {
	pthread_mutex_t lock;
	struct map charges; /* namespace/name -> struct charge */
};
struct charge {
	char *version; /* of the quota */
	int64_t seen_ns;
};

static void charge_free(void *value)
{
	struct charge *charge = value;
	free(charge->version);
	free(charge);
}

static void *state_new(void)
{
	struct state *state = xnew(struct state);
	pthread_mutex_init(&state->lock, NULL);
	state->charges = MAP_INIT(charge_free);
	return state;
}

static void state_free(void *arg)
{
	struct state *state = arg;
	map_done(&state->charges);
	pthread_mutex_destroy(&state->lock);
	free(state);
}

/*
 * Admission charges a quota before the object it lets in is written, and longer before the object shows in the cache. Whoever counts in between
 * would give back what is about to be used. So nothing is counted until a quota has been left alone for a while. Nanoseconds to wait, or 0.
 */
static int64_t until_settled(struct state *state, const char *key, const struct core_v1_resource_quota *quota)
{
	int64_t now = clock_monotonic_ns();
	pthread_mutex_lock(&state->lock);
	struct charge *charge = map_get(&state->charges, key);
	if (!charge || !str_equal(charge->version, quota->metadata.resource_version)) {
		charge = xnew(struct charge);
		charge->version = xstrdup(str_or(quota->metadata.resource_version, ""));
		charge->seen_ns = now;
		map_set(&state->charges, key, charge);
	}
	int64_t left = charge->seen_ns + SETTLE_NS - now;
	pthread_mutex_unlock(&state->lock);
	return max_of(left, (int64_t)0);
}

static void forget(struct state *state, const char *key)
{
	pthread_mutex_lock(&state->lock);
	map_remove(&state->charges, key);
	pthread_mutex_unlock(&state->lock);
}

/* Until the limits stand in the status admission refuses everything: nothing can have been charged. */
static bool is_in_force(const struct core_v1_resource_quota *quota)
{
	for (uint32_t i = 0; i < quota->spec.hard.len; i++) {
		const struct quantity *hard = api_quantity_get(&quota->status.hard, quota->spec.hard.items[i].key);
		if (!hard || !api_quantity_get(&quota->status.used, quota->spec.hard.items[i].key))
			return false;
	}
	return true;
}

static int reconcile(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	autofree char *key = xprintf("%s/%s", ns, name);
	autounref struct core_v1_resource_quota *cached = world_find(r->world, CACHED_RESOURCE_QUOTAS, ns, name);
	if (!cached) {
		forget(r->state, key);
		return 0;
	}
	int64_t wait = until_settled(r->state, key, cached);
	if (wait && is_in_force(cached))
		return (int)(wait / NSEC_PER_MSEC + 1);
	autounref struct core_v1_resource_quota *quota = api_copy(cached);
	struct usage u = {.r = r, .quota = cached, .arena = api_arena(quota)};
	for (uint32_t i = 0; i < cached->spec.hard.len; i++)
		add(&u, cached->spec.hard.items[i].key, quantity_of(0, cached->spec.hard.items[i].value.format));
	count_pods(&u);
	count_claims(&u);
	if (!has_scopes(cached)) {
		count_services(&u);
		count_objects(&u);
		int result = count_others(&u, err);
		if (result)
			return result;
	}
	quota->status.used = u.used;
	quota->status.hard = (struct api_quantity_map){0};
	for (uint32_t i = 0; i < cached->spec.hard.len; i++)
		api_quantity_set(u.arena, &quota->status.hard, cached->spec.hard.items[i].key, cached->spec.hard.items[i].value);
	if (!api_equal(&core_v1_resource_quota_status_type, &quota->status, &cached->status)) {
		int result = world_update_status(r->world, CACHED_RESOURCE_QUOTAS, quota, NULL, err);
		if (result)
			return result;
	}
	return (int)min_of(r->world->settings->resource_quota_sync_period / NSEC_PER_MSEC, (int64_t)INT32_MAX);
}

static void wake_quotas(struct reconciler *r, const void *object)
{
	const struct meta_v1_object_meta *meta = api_metadata(object);
	autolist struct informer_list quotas = INFORMER_LIST_INIT;
	world_list_namespace(r->world, CACHED_RESOURCE_QUOTAS, meta->namespace, &quotas);
	for (size_t i = 0; i < quotas.len; i++)
		reconciler_add(r, meta->namespace, api_metadata(quotas.items[i])->name);
}

/* What is made has been charged by admission; only what goes, or uses less, is to be counted anew. */
static bool never(const void *old_object, const void *object)
{
	return false;
}

static bool pod_matters(const void *old_object, const void *object)
{
	return pod_is_terminal(old_object) != pod_is_terminal(object);
}

static bool service_matters(const void *old_object, const void *object)
{
	return !str_equal(((const struct core_v1_service *)old_object)->spec.type, ((const struct core_v1_service *)object)->spec.type);
}

static bool claim_matters(const void *old_object, const void *object)
{
	const struct core_v1_persistent_volume_claim *old = old_object, *claim = object;
	return !api_equal(&core_v1_persistent_volume_claim_spec_type, &old->spec, &claim->spec) ||
	       !str_equal(old->status.current_volume_attributes_class_name, claim->status.current_volume_attributes_class_name);
}

#define WAKES(cache) {.what = (cache), .wake = wake_quotas, .matters = never}
const struct controller resource_quota_controller = {
	.name = "resourcequota-controller",
	.account = "resourcequota-controller",
	.alias = "resourcequota",
	.concurrency_flag = "concurrent-resource-quota-syncs",
	.workers = 5,
	.watches = (const struct controller_watch[]){{.what = CACHED_RESOURCE_QUOTAS},
		{.what = CACHED_PODS, .wake = wake_quotas, .matters = pod_matters}, {.what = CACHED_SERVICES, .wake = wake_quotas, .matters = service_matters}, WAKES(CACHED_REPLICATION_CONTROLLERS),
		WAKES(CACHED_SECRETS), WAKES(CACHED_CONFIG_MAPS), {.what = CACHED_PERSISTENT_VOLUME_CLAIMS, .wake = wake_quotas, .matters = claim_matters}, WAKES(CACHED_DEPLOYMENTS),
		WAKES(CACHED_REPLICA_SETS), WAKES(CACHED_STATEFUL_SETS), WAKES(CACHED_JOBS), WAKES(CACHED_CRON_JOBS), {.what = CACHED_NONE}},
	.reconcile = reconcile,
	.state_new = state_new,
	.state_free = state_free,
};
