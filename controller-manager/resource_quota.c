/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ResourceQuota: counts what a namespace uses, so that admission can refuse what would pass the limit.
 *
 * Admission charges a quota first and stores the object then, so what can be counted is behind what is charged: a bare count, written over a charge,
 * would let one more in than the quota allows. So the usage is raised to the count at once, lowered at once by what was seen to go, and set to the
 * count only when no charge can be under way: after nobody has changed the quota for as long as a request lives.
 */
#include "common/pod/quota.h"
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

/* Objects of which there is only the number to count; some have a short name of their own, besides "count/<resource>". */
static const struct countable {
	const char *name;  /* of the quota */
	const char *count; /* the long name */
	enum cached what;
} countables[] = {
	{"replicationcontrollers", "count/replicationcontrollers", CACHED_REPLICATION_CONTROLLERS},
	{"resourcequotas", "count/resourcequotas", CACHED_RESOURCE_QUOTAS},
	{"secrets", "count/secrets", CACHED_SECRETS},
	{"configmaps", "count/configmaps", CACHED_CONFIG_MAPS},
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

/* ---- sums ---- */

static bool is_limited(const struct usage *u, const char *name)
{
	return api_quantity_get(&u->quota->spec.hard, name) != NULL;
}

static void add(struct usage *u, const char *name, struct quantity amount)
{
	if (!is_limited(u, name))
		return;
	api_quantity_add(u->arena, &u->used, name, &amount);
	if (u->is_fresh)
		api_quantity_add(u->arena, &u->fresh, name, &amount);
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

static void add_usage(struct usage *u, const struct api_quantity_map *usage)
{
	for api_list_each (e, usage)
		add(u, e->key, e->value);
}

static void count_pods(struct usage *u)
{
	autolist struct informer_list pods = INFORMER_LIST_INIT;
	world_list_namespace(u->r->world, CACHED_PODS, u->quota->metadata.namespace, &pods);
	for (size_t i = 0; i < pods.len; i++) {
		const struct core_v1_pod *pod = pods.items[i];
		autoarena struct arena *arena = arena_new();
		struct api_quantity_map usage = {0};
		if (!quota_takes_pod(u->quota, pod))
			continue;
		turn_to(u, pod->metadata.uid);
		quota_add_count(arena, &usage, "count/pods", 1);
		if (!quota_pod_has_ended(pod))
			quota_pod_usage(arena, pod, &usage);
		add_usage(u, &usage);
	}
}

static void count_services(struct usage *u)
{
	autolist struct informer_list services = INFORMER_LIST_INIT;
	world_list_namespace(u->r->world, CACHED_SERVICES, u->quota->metadata.namespace, &services);
	for (size_t i = 0; i < services.len; i++) {
		const struct core_v1_service *service = services.items[i];
		autoarena struct arena *arena = arena_new();
		struct api_quantity_map usage = {0};
		turn_to(u, service->metadata.uid);
		quota_service_usage(arena, service, &usage);
		add_usage(u, &usage);
	}
}

static void count_claims(struct usage *u)
{
	autolist struct informer_list claims = INFORMER_LIST_INIT;
	world_list_namespace(u->r->world, CACHED_PERSISTENT_VOLUME_CLAIMS, u->quota->metadata.namespace, &claims);
	for (size_t i = 0; i < claims.len; i++) {
		const struct core_v1_persistent_volume_claim *claim = claims.items[i];
		autoarena struct arena *arena = arena_new();
		struct api_quantity_map usage = {0};
		if (!quota_takes_claim(u->quota, claim))
			continue;
		turn_to(u, claim->metadata.uid);
		quota_claim_usage(arena, claim, &usage);
		add_usage(u, &usage);
	}
}

static bool limits_resource_claims(const struct usage *u)
{
	for api_list_each (e, &u->quota->spec.hard)
		if (str_equal(e->key, QUOTA_RESOURCE_CLAIMS) || str_ends_with(e->key, QUOTA_DEVICES))
			return true;
	return false;
}

static void count_resource_claims(struct usage *u)
{
	autolist struct informer_list claims = INFORMER_LIST_INIT;
	if (!limits_resource_claims(u))
		return;
	world_list_namespace(u->r->world, CACHED_RESOURCE_CLAIMS, u->quota->metadata.namespace, &claims);
	for (size_t i = 0; i < claims.len; i++) {
		autoarena struct arena *arena = arena_new();
		struct api_quantity_map usage = {0};
		turn_to(u, api_metadata(claims.items[i])->uid);
		quota_resource_claim_usage(arena, claims.items[i], &usage);
		add_usage(u, &usage);
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

/* Counted by what the cache has. */
static bool is_cached(const char *name)
{
	if (str_equal(name, QUOTA_RESOURCE_CLAIMS) || str_equal(name, "count/pods") || str_equal(name, "count/services") || str_equal(name, "count/persistentvolumeclaims"))
		return true;
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
		if (!str_starts_with(name, COUNT_PREFIX) || is_cached(name))
			continue;
		int result = discovery.items ? 0 : discovery_load(u->r->world, &discovery, err);
		if (result)
			return result;
		bool found = false;
		for (size_t j = 0; j < discovery.len; j++) {
			const struct discovered *d = &discovery.items[j];
			struct metadata_list list = {0};
			autofree char *full = xprintf(COUNT_PREFIX "%s%s%s", d->plural, *d->group ? "." : "", d->group);
			if (!d->namespaced || !str_equal(full, name))
				continue;
			found = true;
			result = discovered_list(u->r->world, d, u->quota->metadata.namespace, &list, err);
			if (result)
				return result;
			for (size_t k = 0; k < list.len; k++) {
				turn_to(u, list.items[k].uid);
				add_count(u, name, 1);
			}
			metadata_list_done(&list);
		}
		/* What a server serves that does not answer now is still there. */
		const struct quantity *before = found || !discovery.failed_count ? NULL : api_quantity_get(&u->quota->status.used, name);
		u->is_fresh = false;
		if (before)
			add(u, name, *before);
	}
	return 0;
}

static int count_all(struct usage *u, struct error *err)
{
	for (uint32_t i = 0; i < u->quota->spec.hard.len; i++)
		add(u, u->quota->spec.hard.items[i].key, quantity_of(0, u->quota->spec.hard.items[i].value.format));
	count_pods(u);
	count_claims(u);
	if (quota_has_scopes(u->quota))
		return 0;
	count_services(u);
	count_resource_claims(u);
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
	if (!result && *ret_complete && limits_resource_claims(u))
		result = compare_cache(u, CACHED_RESOURCE_CLAIMS, ret_complete, err);
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

/*
 * Only what is wanted, and what admission has charged since, wakes us. What a client makes of the limits in the status, or whether it takes the usage away, stands until
 * the next look, as with Kubernetes.
 */
static bool quota_matters(const void *old_object, const void *object)
{
	const struct core_v1_resource_quota *old = old_object, *quota = object;
	if (!api_equal(&core_v1_resource_quota_spec_type, &old->spec, &quota->spec))
		return true;
	for (uint32_t i = 0; i < quota->status.used.len; i++) {
		const struct quantity *before = api_quantity_get(&old->status.used, quota->status.used.items[i].key);
		if (!before || quantity_compare(before, &quota->status.used.items[i].value) != 0)
			return true;
	}
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
	.queue = "resourcequota_primary",
	.account = "resourcequota-controller",
	.alias = "resourcequota",
	.concurrency_flag = "concurrent-resource-quota-syncs",
	.workers = 5,
	.watches = (const struct controller_watch[]){{.what = CACHED_RESOURCE_QUOTAS, .matters = quota_matters},
		{.what = CACHED_PODS, .wake = wake_quotas, .matters = pod_matters}, {.what = CACHED_SERVICES, .wake = wake_quotas, .matters = service_matters}, WAKES(CACHED_REPLICATION_CONTROLLERS),
		WAKES(CACHED_SECRETS), WAKES(CACHED_CONFIG_MAPS), {.what = CACHED_PERSISTENT_VOLUME_CLAIMS, .wake = wake_quotas, .matters = claim_matters}, WAKES(CACHED_DEPLOYMENTS),
		WAKES(CACHED_REPLICA_SETS), WAKES(CACHED_STATEFUL_SETS), WAKES(CACHED_JOBS), WAKES(CACHED_CRON_JOBS), WAKES(CACHED_RESOURCE_CLAIMS), {.what = CACHED_NONE}},
	.reconcile = reconcile,
	.state_new = state_new,
	.state_free = state_free,
};
