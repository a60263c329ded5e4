/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ResourceQuota: counts what a namespace uses, so that admission can refuse what would pass the limit.
 *
 * Admission charges a quota first and stores the object then, so what can be counted is behind what is charged: a bare count, written over a charge,
 * would let one more in than the quota allows. So the usage is raised to the count at once, lowered at once by what was seen to go, and set to the
 * count only when no charge can be under way: after nobody has changed the quota for as long as a request lives.
 */
#include "controller-manager/controller.h"
#include "controller-manager/shared/discovery.h"
#include "controller-manager/shared/pods.h"

#include <errno.h>
#include <pthread.h>

#define REQUEST_LIFE_NS (60 * NSEC_PER_SEC) /* a request that has charged the quota is over by then */
#define SHORT_QUIET_NS (2 * NSEC_PER_SEC)   /* enough where the longer one has not come for RECOUNT_NS */
#define RECOUNT_NS (300 * NSEC_PER_SEC)
#define CATCH_UP_MS 50
#define COUNT_PREFIX "count/"

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

/* What was seen of one quota when it was last brought up to date. */
struct ledger {
	struct arena *arena;
	struct api_quantity_map used; /* the count of that time, in the arena */
	struct map seen;              /* uids that it counted */
	char *uid;
	char *version;                /* of the quota, as the cache showed it last */
	int64_t since_ns, exact_ns;   /* monotonic: since when it has that version; when usage was last known to be exact */
	bool counted;
};

struct state {
	pthread_mutex_t lock;
	struct map ledgers; /* by key; each is used by the one worker of its key */
};

struct usage {
	struct reconciler *r;
	const struct core_v1_resource_quota *quota;
	struct arena *arena;
	const struct ledger *ledger;
	struct api_quantity_map used, fresh; /* of all, and of those that the ledger has not seen */
	struct map seen;
	bool is_fresh; /* the object being counted */
};

static void ledger_free(void *value)
{
	struct ledger *ledger = value;
	arena_free(ledger->arena);
	map_done(&ledger->seen);
	free(ledger->uid);
	free(ledger->version);
	free(ledger);
}

static void *state_new(void)
{
	struct state *state = xnew(struct state);
	pthread_mutex_init(&state->lock, NULL);
	state->ledgers = MAP_INIT(ledger_free);
	return state;
}

static void state_free(void *arg)
{
	struct state *state = arg;
	map_done(&state->ledgers);
	pthread_mutex_destroy(&state->lock);
	free(state);
}

static struct ledger *ledger_of(struct state *state, const char *key, const char *uid)
{
	pthread_mutex_lock(&state->lock);
	struct ledger *ledger = map_get(&state->ledgers, key);
	if (!ledger || !str_equal(ledger->uid, uid)) {
		ledger = xnew(struct ledger);
		ledger->uid = xstrdup(uid);
		ledger->seen = MAP_INIT(NULL);
		ledger->exact_ns = clock_monotonic_ns();
		map_set(&state->ledgers, key, ledger);
	}
	pthread_mutex_unlock(&state->lock);
	return ledger;
}

static void forget(struct state *state, const char *key)
{
	pthread_mutex_lock(&state->lock);
	map_remove(&state->ledgers, key);
	pthread_mutex_unlock(&state->lock);
}

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

static void add_to(struct arena *arena, struct api_quantity_map *map, const char *name, struct quantity amount)
{
	struct quantity *sum = api_quantity_get(map, name);
	if (sum)
		quantity_add(sum, &amount);
	else
		api_quantity_set(arena, map, name, amount);
}

static void add(struct usage *u, const char *name, struct quantity amount)
{
	if (!is_limited(u, name))
		return;
	add_to(u->arena, &u->used, name, amount);
	if (u->is_fresh)
		add_to(u->arena, &u->fresh, name, amount);
}

/* The object that is counted next. */
static void turn_to(struct usage *u, const char *uid)
{
	u->is_fresh = !map_has(&u->ledger->seen, uid);
	set_add(&u->seen, uid);
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
	for (size_t i = 0; i < pods.len; i++) {
		if (pod_is_terminal(pods.items[i]) || !is_counted(u->quota, pods.items[i]))
			continue;
		turn_to(u, api_metadata(pods.items[i])->uid);
		add_pod(u, pods.items[i]);
	}
}

static void count_services(struct usage *u)
{
	autolist struct informer_list services = INFORMER_LIST_INIT;
	world_list_namespace(u->r->world, CACHED_SERVICES, u->quota->metadata.namespace, &services);
	for (size_t i = 0; i < services.len; i++) {
		const struct core_v1_service *service = services.items[i];
		turn_to(u, service->metadata.uid);
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
		turn_to(u, claim->metadata.uid);
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
		for (size_t j = 0; j < list.len; j++) {
			turn_to(u, api_metadata(list.items[j])->uid);
			add_count(u, row->count, 1);
			if (row->name)
				add_count(u, row->name, 1);
		}
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
			for (size_t k = 0; k < list.len; k++) {
				turn_to(u, list.items[k].uid);
				add_count(u, name, 1);
			}
			metadata_list_done(&list);
		}
	}
	return 0;
}

static int count_all(struct usage *u, struct error *err)
{
	for (uint32_t i = 0; i < u->quota->spec.hard.len; i++)
		add(u, u->quota->spec.hard.items[i].key, quantity_of(0, u->quota->spec.hard.items[i].value.format));
	count_pods(u);
	count_claims(u);
	if (has_scopes(u->quota))
		return 0;
	count_services(u);
	count_objects(u);
	return count_others(u, err);
}

/* Until the limits stand in the status admission refuses everything, and nothing is charged. */
static bool is_in_force(const struct core_v1_resource_quota *quota)
{
	for (uint32_t i = 0; i < quota->spec.hard.len; i++) {
		const char *name = quota->spec.hard.items[i].key;
		if (!api_quantity_get(&quota->status.hard, name) || !api_quantity_get(&quota->status.used, name))
			return false;
	}
	return true;
}

/* Whether the cache has everything that the server has of this resource in the namespace. */
static int compare_cache(struct usage *u, enum cached what, bool *ret_same, struct error *err)
{
	const struct api_resource *resource = cached_resource(what);
	const struct discovered discovered = {.group = (char *)(uintptr_t)resource->group, .version = (char *)(uintptr_t)resource->version,
		.plural = (char *)(uintptr_t)resource->plural, .kind = (char *)(uintptr_t)resource->kind, .namespaced = true};
	struct metadata_list list = {0};
	int result = discovered_list(u->r->world, &discovered, u->quota->metadata.namespace, &list, err);
	*ret_same = true;
	for (size_t i = 0; i < list.len && *ret_same; i++) {
		autounref void *cached = world_find(u->r->world, what, u->quota->metadata.namespace, list.items[i].name);
		*ret_same = cached && str_equal(api_metadata(cached)->uid, list.items[i].uid);
	}
	metadata_list_done(&list);
	return result;
}

/* A limit comes into force, and a charge is forgotten, only by a count that nothing is missing from. */
static int check_count(struct usage *u, bool *ret_complete, struct error *err)
{
	static const enum cached counted[] = {CACHED_PODS, CACHED_PERSISTENT_VOLUME_CLAIMS, CACHED_SERVICES};
	int result = 0;
	*ret_complete = true;
	for (size_t i = 0; i < array_len(counted) && !result && *ret_complete; i++)
		result = compare_cache(u, counted[i], ret_complete, err);
	for (size_t i = 0; i < array_len(countables) && !result && *ret_complete; i++)
		if (is_limited(u, countables[i].count) || (countables[i].name && is_limited(u, countables[i].name)))
			result = compare_cache(u, countables[i].what, ret_complete, err);
	return result;
}

/* Of this resource, what was there when the ledger was written and is no longer. */
static struct quantity gone_since(const struct usage *u, const char *name)
{
	static const struct quantity none = {0};
	const struct quantity *then = u->ledger->counted ? api_quantity_get(&u->ledger->used, name) : NULL;
	const struct quantity *now = api_quantity_get(&u->used, name), *fresh = api_quantity_get(&u->fresh, name);
	struct quantity gone = then ? *then : none;
	if (!then)
		return none;
	if (fresh)
		quantity_add(&gone, fresh);
	if (now)
		quantity_sub(&gone, now);
	return quantity_compare(&gone, &none) > 0 ? gone : none;
}

/* No charge is under way: what is counted is all there is. */
static bool is_quiet(struct ledger *ledger, const char *version)
{
	int64_t now = clock_monotonic_ns();
	if (!ledger->version || !str_equal(ledger->version, version)) {
		free(ledger->version);
		ledger->version = xstrdup(version);
		ledger->since_ns = now;
	}
	return now - ledger->since_ns >= (now - ledger->exact_ns >= RECOUNT_NS ? SHORT_QUIET_NS : REQUEST_LIFE_NS);
}

/* Whether anything is charged that was not counted. */
static bool is_charged_more(const struct usage *u)
{
	for (uint32_t i = 0; i < u->used.len; i++) {
		const struct quantity *charged = api_quantity_get(&u->quota->status.used, u->used.items[i].key);
		if (charged && quantity_compare(charged, &u->used.items[i].value) > 0)
			return true;
	}
	return false;
}

/* Sets the usage in `status`; returns whether it is what was counted. quiet: it may be lowered to that. */
static bool set_used(const struct usage *u, struct ledger *ledger, bool quiet, struct core_v1_resource_quota_status *status)
{
	bool exact = true;
	struct api_quantity_map used = {0};
	for (uint32_t i = 0; i < u->used.len; i++) {
		const char *name = u->used.items[i].key;
		const struct quantity *charged = api_quantity_get(&u->quota->status.used, name);
		bool known = charged && api_quantity_get(&u->quota->status.hard, name);
		struct quantity value = u->used.items[i].value;
		if (known && !quiet) {
			struct quantity left = *charged, gone = gone_since(u, name);
			quantity_sub(&left, &gone);
			if (quantity_compare(&left, &value) > 0) {
				left.format = value.format;
				value = left;
				exact = false;
			}
		}
		api_quantity_set(u->arena, &used, name, value);
	}
	status->used = used;
	if (exact)
		ledger->exact_ns = clock_monotonic_ns();
	return exact;
}

static void write_ledger(struct ledger *ledger, struct usage *u)
{
	arena_free(ledger->arena);
	ledger->arena = arena_new();
	ledger->used = (struct api_quantity_map){0};
	for (uint32_t i = 0; i < u->used.len; i++)
		api_quantity_set(ledger->arena, &ledger->used, u->used.items[i].key, u->used.items[i].value);
	map_done(&ledger->seen);
	ledger->seen = u->seen;
	u->seen = MAP_INIT(NULL);
	ledger->counted = true;
}

static void usage_reset(struct usage *u)
{
	map_clear(&u->seen);
	u->used = u->fresh = (struct api_quantity_map){0};
}

static void usage_done(struct usage *u)
{
	map_done(&u->seen);
}

static int reconcile(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	autofree char *key = xprintf("%s/%s", ns, name);
	autounref struct core_v1_resource_quota *cached = world_find(r->world, CACHED_RESOURCE_QUOTAS, ns, name);
	if (!cached) {
		forget(r->state, key);
		return 0;
	}
	autounref struct core_v1_resource_quota *quota = api_copy(cached);
	struct ledger *ledger = ledger_of(r->state, key, cached->metadata.uid);
	cleanup(usage_done) struct usage u = {.r = r, .quota = cached, .arena = api_arena(quota), .ledger = ledger, .seen = MAP_INIT(NULL)};
	int result = count_all(&u, err);
	if (result)
		return result;
	bool first = !is_in_force(cached), quiet = is_quiet(ledger, cached->metadata.resource_version), complete = true;
	if (first || (quiet && is_charged_more(&u))) {
		result = check_count(&u, &complete, err);
		/* What the cache has learnt meanwhile is not in the first count. */
		usage_reset(&u);
		result = result ? result : count_all(&u, err);
	}
	if (result || (first && !complete))
		return result ? result : CATCH_UP_MS;
	bool exact = set_used(&u, ledger, quiet && complete, &quota->status);
	quota->status.hard = (struct api_quantity_map){0};
	for (uint32_t i = 0; i < cached->spec.hard.len; i++)
		api_quantity_set(u.arena, &quota->status.hard, cached->spec.hard.items[i].key, cached->spec.hard.items[i].value);
	autoerror struct error failed = {0};
	if (!api_equal(&core_v1_resource_quota_status_type, &quota->status, &cached->status))
		result = world_update_status(r->world, CACHED_RESOURCE_QUOTAS, quota, NULL, &failed);
	/* A write that may have been done is held to have been: to lower the usage twice would be worse than not at all. */
	if (!result || write_is_uncertain(&failed))
		write_ledger(ledger, &u);
	if (result)
		return error_move(err, &failed);
	int64_t again = exact ? r->world->settings->resource_quota_sync_period : min_of(r->world->settings->resource_quota_sync_period, REQUEST_LIFE_NS + NSEC_PER_SEC);
	return (int)min_of(again / NSEC_PER_MSEC, (int64_t)INT32_MAX);
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
