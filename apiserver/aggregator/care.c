/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker: keeps the condition Available of each APIService true to life, and learns what remote servers serve. One is looked at when it, its
 * Service or what serves that changes, and again after a while; a server that fails is asked less and less often, though at least twice a minute.
 */
#include "apiserver/aggregator/internal.h"
#include "api/apiregistration_v1.h"
#include "api/core_v1.h"
#include "api/discovery_v1.h"
#include "common/api/patch/apply.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/metrics.h"

#include <errno.h>

#define CHECK_NS (30 * NSEC_PER_SEC)
#define LEARN_NS (60 * NSEC_PER_SEC)   /* what is served, again */
#define RETRY_NS (50 * NSEC_PER_MSEC)  /* after the first failure, and doubled with each */
#define ATTEMPTS 3                     /* at one check: another endpoint may do */
#define NEVER_NS INT64_MAX

typedef struct apiregistration_v1_api_service apiservice_t;
typedef struct apiregistration_v1_api_service_condition condition_t;

struct care {
	char *name;
	bool asking;
	bool again;           /* it was changed meanwhile */
	int64_t due;          /* monotonic */
	int64_t learned;      /* monotonic; 0: not yet */
	unsigned failures, attempts;
	struct told *telling; /* what is known of the answers so far; NULL: none */
};

static struct metric metrics[] = {
	{.name = "aggregator_unavailable_apiservice", .help = "Gauge of APIServices which are marked as unavailable broken down by APIService name.", .kind = METRIC_GAUGE, .labels = (const char *const[]){"name", NULL}},
	{.name = "aggregator_unavailable_apiservice_total", .help = "Counter of APIServices which are marked as unavailable broken down by APIService name and reason.", .kind = METRIC_COUNTER, .labels = (const char *const[]){"name", "reason", NULL}},
};

__attribute__((constructor)) static void register_metrics(void) {
	metrics_register(metrics, array_len(metrics));
}

static void care_free(void *arg) {
	struct care *care = arg;
	told_unref(care->telling);
	free(care->name);
	free(care);
}

void care_done(struct aggregator *a) {
	a->cares.free_value = care_free;
	map_done(&a->cares);
}

/* ---- the condition ---- */

static condition_t *find_condition(apiservice_t *object) {
	for (uint32_t i = 0; i < object->status.conditions.len; i++)
		if (str_equal(object->status.conditions.items[i].type, "Available"))
			return &object->status.conditions.items[i];
	return NULL;
}

static int store(struct aggregator *a, const apiservice_t *old, apiservice_t *object) {
	struct managed_options options = {.type = a->apiservices->type, .api_version = "apiregistration.k8s.io/v1", .manager = "kube-apiserver", .subresource = "status"};
	managed_update_object(&options, old, object);
	return worker_put_object(a->worker, a->apiservices, object, worker_revision(old));
}

/* -EAGAIN: it was changed meanwhile, and comes by again. */
static int tell(struct aggregator *a, const char *name, bool good, const char *reason, const char *message) {
	autounref apiservice_t *old = resource_read(a->apiservices, NULL, name);
	if (!old)
		return 0;
	autounref apiservice_t *object = api_copy(old);
	condition_t *condition = find_condition(object);
	const char *status = good ? "True" : "False";
	bool was_good = condition && str_equal(condition->status, "True");
	metric_set(metric_label(&metrics[0], name), !good);
	if (condition && str_equal(condition->status, status) && str_equal(condition->reason, reason) && str_equal(condition->message, message))
		return 0;
	if (!condition) {
		condition = api_list_add(api_arena(object), &object->status.conditions);
		*condition = (condition_t){.type = "Available"};
	}
	if (!str_equal(condition->status, status))
		condition->last_transition_time = api_time_now();
	condition->status = status;
	condition->reason = reason;
	condition->message = message;
	int rc = store(a, old, object);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	if (was_good && !good) {
		metric_add(metric_label(&metrics[1], name, reason), 1);
		log_warning("an APIService is not available", LOG_STR("name", name), LOG_STR("reason", reason), LOG_STR("message", message));
	}
	return 0;
}

static void wait_for(struct care *care, int64_t ns) {
	care->due = ns == NEVER_NS ? NEVER_NS : clock_monotonic_ns() + ns;
}

/* What came of a look that asked nobody: what would change it comes as an event. */
static void conclude(struct aggregator *a, struct care *care, bool good, const char *reason, const char *message) {
	int rc = tell(a, care->name, good, reason, message);
	wait_for(care, rc < 0 ? NSEC_PER_SEC / 10 : CHECK_NS);
}

/* ---- what can be seen without asking ---- */

static bool has_port(const struct discovery_v1_endpoint_slice *slice, const char *port_name) {
	for (uint32_t i = 0; i < slice->ports.len; i++)
		if (str_equal(str_or(slice->ports.items[i].name, ""), port_name) && slice->ports.items[i].port)
			return true;
	return false;
}

static bool has_ready(const struct discovery_v1_endpoint_slice *slice) {
	for (uint32_t i = 0; i < slice->endpoints.len; i++)
		if (!slice->endpoints.items[i].conditions.ready || *slice->endpoints.items[i].conditions.ready)
			return true;
	return false;
}

static void look_at_slices(struct aggregator *a, const struct aggregated *info, const char *port_name, bool *ret_any, bool *ret_ready) {
	const struct resource *slices = registry_find(a->server->registry, "discovery.k8s.io", "v1", "endpointslices");
	autosnapshot struct snapshot *snapshot = collection_snapshot(slices->collection);
	size_t first, end;
	*ret_any = *ret_ready = false;
	snapshot_namespace(snapshot, info->ns, &first, &end);
	for (size_t i = first; i < end && !*ret_ready; i++) {
		struct entry *entry = snapshot_entry(snapshot, i);
		void *slice = NULL;
		if (!str_equal(api_map_get(&entry->labels, "kubernetes.io/service-name"), info->service) || resource_decode(slices, entry, &slice, NULL) < 0)
			continue;
		*ret_any = true;
		*ret_ready = has_ready(slice) && has_port(slice, port_name);
		api_unref(slice);
	}
}

/* NULL: nothing stands in the way. The reason; *ret_message is the caller's. */
static const char *obstacle(struct aggregator *a, const struct aggregated *info, char **ret_message) {
	autounref struct core_v1_service *service = registry_read(a->server->registry, "", "services", info->ns, info->service);
	if (!service) {
		*ret_message = xprintf("service/%s in \"%s\" is not present", info->service, info->ns);
		return "ServiceNotFound";
	}
	if (!str_equal(service->spec.type, "ClusterIP"))
		return NULL;
	const char *port_name = NULL;
	for (uint32_t i = 0; i < service->spec.ports.len && !port_name; i++)
		if (service->spec.ports.items[i].port == info->port)
			port_name = str_or(service->spec.ports.items[i].name, "");
	if (!port_name) {
		*ret_message = xprintf("service/%s in \"%s\" is not listening on port %d", info->service, info->ns, info->port);
		return "ServicePortError";
	}
	bool any, ready;
	look_at_slices(a, info, port_name, &any, &ready);
	if (ready)
		return NULL;
	*ret_message = any ? xprintf("endpointslices for service/%s in \"%s\" have no addresses with port name \"%s\"", info->service, info->ns, port_name) : xprintf("cannot find endpointslices for service/%s in \"%s\"", info->service, info->ns);
	return any ? "MissingEndpoints" : "EndpointsNotFound";
}

/* ---- asking ---- */

static bool same_told(const struct told *x, const struct told *y) {
	if (!x || !y || x->current != y->current || !str_equal(x->resources, y->resources) || x->swagger_len != y->swagger_len || x->documents.len != y->documents.len)
		return false;
	if (x->swagger_len && memcmp(x->swagger, y->swagger, x->swagger_len) != 0)
		return false;
	struct map_entry *e;
	for (size_t i = 0; (e = map_next(&x->documents, &i));)
		if (!str_equal(e->value, map_get(&y->documents, e->key)))
			return false;
	return true;
}

static struct told *told_new(bool current) {
	struct told *told = xnew(struct told);
	*told = (struct told){.refs = 1, .current = current, .documents = MAP_INIT(free)};
	return told;
}

/* Gives what was learned to the set, where it is not what was known. */
static void publish(struct aggregator *a, struct care *care, struct told *take_told) {
	pthread_rwlock_rdlock(&a->lock);
	bool same = false;
	for (size_t i = 0; i < a->len; i++)
		if (strcmp(a->members[i]->info->name, care->name) == 0)
			same = same_told(a->members[i]->told, take_told);
	pthread_rwlock_unlock(&a->lock);
	if (same)
		told_unref(take_told);
	else
		set_told(a, care->name, take_told);
}

static void fail(struct aggregator *a, struct care *care, const char *message) {
	told_unref(take_ptr(care->telling));
	/* Before this server has been ready, much fails that will not later. */
	if (!__atomic_load_n(&a->server->ready, __ATOMIC_ACQUIRE)) {
		wait_for(care, NSEC_PER_SEC / 10);
		return;
	}
	publish(a, care, told_new(false));
	int rc = tell(a, care->name, false, "FailedDiscoveryCheck", message);
	int64_t pause = care->failures < 10 ? RETRY_NS << care->failures : CHECK_NS;
	care->failures++;
	care->learned = 0;
	wait_for(care, rc == -EAGAIN ? RETRY_NS : min_of(pause, (int64_t)CHECK_NS));
}

/* Finds where its server is, a name's address included. */
static int locate(struct aggregator *a, const struct aggregated *info, struct arena *arena, const char **ret_address, uint16_t *ret_port, struct error *err) {
	autounref struct core_v1_service *service = registry_read(a->server->registry, "", "services", info->ns, info->service);
	char address[MAX_ADDRESS];
	if (service && str_equal(service->spec.type, "ExternalName") && !str_empty(service->spec.external_name)) {
		int rc = resolve_name(a->worker, service->spec.external_name, address, err);
		if (rc < 0)
			return rc;
		set_address(a, info->name, address);
	}
	return set_locate(a, info, arena, ret_address, ret_port, err);
}

static void ask(struct aggregator *a, struct care *care, struct aggregated *info, enum step step) {
	autoarena struct arena *arena = arena_new();
	autoerror struct error err = {0};
	const char *address;
	uint16_t port;
	if (info->trust->trouble) {
		fail(a, care, info->trust->trouble);
		return;
	}
	if (locate(a, info, arena, &address, &port, &err) < 0) {
		if (err.errnum != ECANCELED)
			fail(a, care, error_message(&err));
		return;
	}
	care->asking = true;
	ask_start(a, info, step, address, port);
}

static void check(struct aggregator *a, struct care *care) {
	autoaggregated struct aggregated *info = set_find(a, care->name);
	autofree char *message = NULL;
	care->attempts = 0;
	if (!info) {
		metric_set(metric_label(&metrics[0], care->name), 0);
		wait_for(care, NEVER_NS);
		return;
	}
	if (!info->service) {
		int rc = tell(a, care->name, true, "Local", "Local APIServices are always available");
		wait_for(care, rc < 0 ? NSEC_PER_SEC / 10 : NEVER_NS);
		return;
	}
	const char *reason = obstacle(a, info, &message);
	if (!reason) {
		ask(a, care, info, STEP_CHECK);
		return;
	}
	care->failures = 0;
	care->learned = 0;
	publish(a, care, told_new(false));
	conclude(a, care, false, reason, message);
}

/* ---- answers ---- */

static void checked(struct aggregator *a, struct care *care, const struct question *q) {
	if (q->status < 200 || q->status >= 300) {
		bool six = strchr(q->address, ':') != NULL;
		if (++care->attempts < ATTEMPTS) {
			ask(a, care, q->info, STEP_CHECK);
			return;
		}
		autofree char *url = xprintf("https://%s%s%s:%u%s", six ? "[" : "", q->address, six ? "]" : "", q->port, q->path);
		autofree char *why = q->status ? xprintf("bad status from %s: %d", url, q->status) : xprintf("Get \"%s\": %s", url, q->trouble);
		autofree char *message = xprintf("failing or missing response from %s: %s", url, why);
		fail(a, care, message);
		return;
	}
	care->failures = 0;
	conclude(a, care, true, "Passed", "all checks passed");
	if (!care->learned || !set_is_told(a, care->name) || clock_monotonic_ns() - care->learned >= LEARN_NS)
		ask(a, care, q->info, STEP_GROUPS);
}

static bool is_discovery(const struct question *q) {
	return q->status == 200 && strstr(q->type, "g=apidiscovery.k8s.io") && strstr(q->type, "as=APIGroupDiscoveryList");
}

static void no_discovery(struct aggregator *a, struct care *care) {
	told_unref(take_ptr(care->telling));
	publish(a, care, told_new(false));
	care->learned = 0;
	wait_for(care, CHECK_NS / 3);
}

static void learned(struct aggregator *a, struct care *care, const struct question *q) {
	const char *body = str_or(q->body, "");
	enum step next = STEP_COUNT;
	if (!care->telling)
		care->telling = told_new(true);
	struct told *told = care->telling;
	switch (q->step) {
	case STEP_GROUPS:
		if (q->status == 0 || q->status == 503) {
			no_discovery(a, care);
			return;
		}
		if (is_discovery(q))
			told->resources = told_resources_of_groups(body, q->body_len, q->info->group, q->info->version);
		next = is_discovery(q) ? STEP_DOCUMENTS : STEP_VERSION;
		break;
	case STEP_VERSION:
		told->resources = told_resources_of_version(body, q->body_len);
		if (!told->resources) {
			no_discovery(a, care);
			return;
		}
		next = STEP_DOCUMENTS;
		break;
	case STEP_DOCUMENTS:
		told_documents(body, q->body_len, q->info->group, q->info->version, &told->documents);
		next = STEP_SWAGGER;
		break;
	case STEP_SWAGGER:
		told->swagger = told_swagger(body, q->body_len, q->info->group, q->info->version);
		told->swagger_len = told->swagger ? strlen(told->swagger) : 0;
		break;
	default:
		break;
	}
	if (next != STEP_COUNT) {
		ask(a, care, q->info, next);
		return;
	}
	care->learned = clock_monotonic_ns();
	publish(a, care, take_ptr(care->telling));
}

static struct care *care_of(struct aggregator *a, const char *name) {
	struct care *care = map_get(&a->cares, name);
	if (!care) {
		care = xnew(struct care);
		*care = (struct care){.name = xstrdup(name), .due = NEVER_NS};
		map_set(&a->cares, name, care);
	}
	return care;
}

static void answered(struct aggregator *a, struct question *q) {
	struct care *care = care_of(a, q->info->name);
	care->asking = false;
	autoaggregated struct aggregated *now = set_find(a, care->name);
	/* Another server may be meant by now. */
	if (!now || !now->service || now->trust != q->info->trust || strcmp(now->server_name, q->info->server_name) != 0 || now->port != q->info->port) {
		told_unref(take_ptr(care->telling));
		care->learned = 0;
		wait_for(care, 0);
	} else if (q->step == STEP_CHECK) {
		checked(a, care, q);
	} else {
		learned(a, care, q);
	}
	if (care->again && !care->asking) {
		care->again = false;
		wait_for(care, 0);
	}
}

/* ---- the loop ---- */

/* What others have left to do. Returns true where definitions are to be looked at. */
static bool take_work(struct aggregator *a) {
	struct list answers = LIST_INIT(answers);
	struct map dirty = MAP_INIT(NULL);
	struct map_entry *e;
	struct question *q;
	pthread_mutex_lock(&a->work);
	list_splice_back(&answers, &a->answers);
	for (size_t i = 0; (e = map_next(&a->dirty, &i));)
		set_add(&dirty, e->key);
	map_clear(&a->dirty);
	bool definitions = a->definitions;
	a->definitions = false;
	pthread_mutex_unlock(&a->work);
	list_for_each (q, &answers, link) {
		list_remove(&q->link);
		answered(a, q);
		question_free(q);
	}
	for (size_t i = 0; (e = map_next(&dirty, &i));) {
		struct care *care = care_of(a, e->key);
		if (care->asking)
			care->again = true;
		else
			wait_for(care, 0);
	}
	map_done(&dirty);
	return definitions;
}

/* Those that are due; returns when the next will be. */
static int64_t look_around(struct aggregator *a) {
	int64_t next = NEVER_NS, now = clock_monotonic_ns();
	struct map_entry *e;
	for (size_t i = 0; (e = map_next(&a->cares, &i)) && !worker_stopping(a->worker);) {
		struct care *care = e->value;
		if (!care->asking && care->due <= now)
			check(a, care);
		autoaggregated struct aggregated *info = set_find(a, care->name);
		if (!info && !care->asking && care->due == NEVER_NS) {
			map_remove(&a->cares, e->key);
			care_free(care);
		} else if (!care->asking) {
			next = min_of(next, care->due);
		}
	}
	return next;
}

void care_run(struct worker *worker, void *arg) {
	struct aggregator *a = arg;
	a->worker = worker;
	int64_t certificate = clock_monotonic_ns();
	for (bool go_on = true; go_on;) {
		if (take_work(a) && register_definitions(worker) < 0) {
			aggregator_note_definitions(a);
			go_on = worker_sleep(worker, NSEC_PER_SEC);
		}
		int64_t next = look_around(a), now = clock_monotonic_ns();
		if (now - certificate >= LEARN_NS) {
			set_refresh_certificate(a);
			certificate = now;
		}
		if (go_on && next > now)
			go_on = worker_sleep(worker, min_of(next - now, (int64_t)LEARN_NS));
		go_on = go_on && !worker_stopping(worker);
	}
}
