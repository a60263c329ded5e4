/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Series are found by label values, which takes longer than counting does: each thread remembers those of the sorts of requests it has seen lately.
 */
#include "apiserver/request/metrics.h"
#include "apiserver/strategy/strategy.h"
#include "common/base/metrics.h"

#include <pthread.h>

#define COMPONENT "apiserver"
#define REMEMBERED 128 /* a power of two */

static const char *const total_labels[] = {"verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component", "code", NULL};
static const char *const duration_labels[] = {"verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component", NULL};
static const char *const plain_labels[] = {"verb", "group", "version", "resource", "subresource", "scope", "component", NULL};
static const char *const ended_labels[] = {"verb", "group", "version", "resource", "subresource", "scope", "component", "code", NULL};
static const char *const result_labels[] = {"result", NULL};
static const double duration_buckets[] = {0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60, 0};
static const double own_buckets[] = {0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60, 0};
static const double size_buckets[] = {1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 0};
static const double body_buckets[] = {5e4, 15e4, 25e4, 35e4, 45e4, 55e4, 65e4, 75e4, 85e4, 95e4, 105e4, 115e4, 125e4, 135e4, 145e4, 155e4, 165e4, 175e4, 185e4, 195e4, 205e4, 215e4, 225e4, 235e4, 245e4, 255e4, 265e4, 275e4, 285e4, 295e4, 305e4, 0};
static const double step_buckets[] = {0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384, 0};
static const double expiry_buckets[] = {0, 1800, 3600, 7200, 21600, 43200, 86400, 172800, 345600, 604800, 2592000, 7776000, 15552000, 31104000, 0};

enum { TOTAL, DURATION, OWN, SIZES, BODIES, FIELD_VALIDATION, TERMINATED, DEPRECATED, ATTEMPTS, USERS, AUTHENTICATING, EXPIRY, DECISIONS, AUTHORIZING };
static struct metric metrics[] = {
	[TOTAL] = {.name = "apiserver_request_total", .help = "Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, component and HTTP response code.", .kind = METRIC_COUNTER, .labels = total_labels},
	[DURATION] = {.name = "apiserver_request_duration_seconds", .help = "Response latency distribution in seconds.", .kind = METRIC_HISTOGRAM, .labels = duration_labels, .buckets = duration_buckets},
	[OWN] = {.name = "apiserver_request_sli_duration_seconds", .help = "Response latency distribution in seconds, not counting webhooks and queues of priority and fairness.", .kind = METRIC_HISTOGRAM, .labels = plain_labels, .buckets = own_buckets},
	[SIZES] = {.name = "apiserver_response_sizes", .help = "Response size distribution in bytes of reads.", .kind = METRIC_HISTOGRAM, .labels = plain_labels, .buckets = size_buckets},
	[BODIES] = {.name = "apiserver_request_body_size_bytes", .help = "Apiserver request body size in bytes broken out by resource and verb.", .kind = METRIC_HISTOGRAM, .labels = (const char *const[]){"group", "resource", "verb", NULL}, .buckets = body_buckets},
	[FIELD_VALIDATION] = {.name = "field_validation_request_duration_seconds", .help = "Response latency distribution in seconds for each field validation value.", .kind = METRIC_HISTOGRAM, .labels = (const char *const[]){"field_validation", NULL}, .buckets = own_buckets},
	[TERMINATED] = {.name = "apiserver_request_terminations_total", .help = "Number of requests which apiserver terminated in self-defense.", .kind = METRIC_COUNTER, .labels = ended_labels},
	[DEPRECATED] = {.name = "apiserver_requested_deprecated_apis", .help = "Deprecated APIs that have been requested.", .kind = METRIC_GAUGE, .labels = (const char *const[]){"group", "version", "resource", "subresource", "removed_release", NULL}},
	[ATTEMPTS] = {.name = "authentication_attempts", .help = "Counter of authenticated attempts.", .kind = METRIC_COUNTER, .labels = result_labels},
	[USERS] = {.name = "authenticated_user_requests", .help = "Counter of authenticated requests broken out by username.", .kind = METRIC_COUNTER, .labels = (const char *const[]){"username", NULL}},
	[AUTHENTICATING] = {.name = "authentication_duration_seconds", .help = "Authentication duration in seconds broken out by result.", .kind = METRIC_HISTOGRAM, .labels = result_labels, .buckets = step_buckets},
	[EXPIRY] = {.name = "apiserver_client_certificate_expiration_seconds", .help = "Distribution of the remaining lifetime on the certificate used to authenticate a request.", .kind = METRIC_HISTOGRAM, .buckets = expiry_buckets},
	[DECISIONS] = {.name = "authorization_attempts_total", .help = "Counter of authorization attempts broken down by result.", .kind = METRIC_COUNTER, .labels = result_labels},
	[AUTHORIZING] = {.name = "authorization_duration_seconds", .help = "Authorization duration in seconds broken out by result.", .kind = METRIC_HISTOGRAM, .labels = result_labels, .buckets = step_buckets},
};

__attribute__((constructor)) static void register_metrics(void) {
	metrics_register(metrics, array_len(metrics));
}

/* ---- labels ---- */

static bool is_connection(const struct request *r) {
	static const char *const names[] = {"log", "exec", "portforward", "attach", "proxy"};
	for (size_t i = 0; r->sub && i < array_len(names); i++)
		if (strcmp(r->sub->name, names[i]) == 0)
			return true;
	return false;
}

const char *request_metrics_scope(const struct request *r) {
	if (!r->is_resource)
		return "";
	if (r->name || strcmp(r->verb, "create") == 0)
		return "resource";
	return str_empty(r->ns) ? "cluster" : "namespace";
}

const char *request_metrics_verb(const struct request *r) {
	static const char *const methods[] = {"POST", "PUT", "DELETE", "OPTIONS", "TRACE"};
	if (is_connection(r))
		return "CONNECT";
	if (strcmp(str_or(r->verb, ""), "watch") == 0)
		return "WATCH";
	if (strcmp(r->method, "GET") == 0 || strcmp(r->method, "HEAD") == 0) {
		const char *scope = request_metrics_scope(r);
		return *scope && strcmp(scope, "resource") != 0 ? "LIST" : "GET";
	}
	if (strcmp(r->method, "PATCH") == 0) {
		const char *type = http_header(r->http, "Content-Type");
		return type && strcmp(type, "application/apply-patch+yaml") == 0 ? "APPLY" : "PATCH";
	}
	for (size_t i = 0; i < array_len(methods); i++)
		if (strcmp(r->method, methods[i]) == 0)
			return methods[i];
	return "other";
}

/* Of what is no resource only our own paths are told: a client's words would make series without end. */
static const char *path_label(const struct request *r) {
	static const char *const paths[] = {"/healthz", "/livez", "/readyz", "/metrics", "/metrics/slis"};
	for (size_t i = 0; !r->is_resource && i < array_len(paths); i++)
		if (strcmp(r->path, paths[i]) == 0)
			return paths[i];
	return "";
}

/* ---- requests ---- */

struct sort {
	const struct resource *resource;
	const char *verb, *scope, *subresource; /* static, or of the schema: compared by address */
	int code;
	bool dry_run;
};
struct remembered {
	struct sort sort;
	struct metric_series *total, *duration, *own, *sizes, *bodies;
};

static const struct remembered *find(const struct request *r, int code) {
	static _Thread_local struct remembered table[REMEMBERED];
	struct sort sort = {.resource = r->resource, .verb = request_metrics_verb(r), .scope = request_metrics_scope(r), .subresource = r->sub ? r->sub->name : path_label(r), .code = code, .dry_run = r->dry_run};
	uint64_t hash = ((uint64_t)(uintptr_t)sort.resource >> 4) * 0x9e3779b97f4a7c15ull ^ ((uint64_t)(uintptr_t)sort.verb * 31 + (uint64_t)(uintptr_t)sort.subresource * 17 + (uint64_t)(uintptr_t)sort.scope + (uint64_t)code);
	struct remembered *one = &table[(hash * 0x9e3779b97f4a7c15ull) >> 57];
	if (one->total && one->sort.resource == sort.resource && one->sort.verb == sort.verb && one->sort.scope == sort.scope && one->sort.subresource == sort.subresource && one->sort.code == code && one->sort.dry_run == sort.dry_run)
		return one;
	/* Names of resources that are not there are a client's own, too. */
	const char *group = sort.resource ? resource_group(sort.resource) : "", *version = sort.resource ? sort.resource->api->version : "", *resource = sort.resource ? sort.resource->api->plural : "";
	const char *dry = sort.dry_run ? "All" : "";
	char text[] = {(char)('0' + code / 100 % 10), (char)('0' + code / 10 % 10), (char)('0' + code % 10), '\0'};
	*one = (struct remembered){
		.sort = sort,
		.total = metric_label(&metrics[TOTAL], sort.verb, dry, group, version, resource, sort.subresource, sort.scope, COMPONENT, text),
		.duration = metric_label(&metrics[DURATION], sort.verb, dry, group, version, resource, sort.subresource, sort.scope, COMPONENT),
		.own = metric_label(&metrics[OWN], sort.verb, group, version, resource, sort.subresource, sort.scope, COMPONENT),
	};
	if (strcmp(sort.verb, "GET") == 0 || strcmp(sort.verb, "LIST") == 0)
		one->sizes = metric_label(&metrics[SIZES], sort.verb, group, version, resource, sort.subresource, sort.scope, COMPONENT);
	static const char *const bodied[] = {"create", "update", "patch"};
	for (size_t i = 0; sort.resource && i < array_len(bodied); i++)
		if (strcmp(str_or(r->verb, ""), bodied[i]) == 0)
			one->bodies = metric_label(&metrics[BODIES], group, resource, bodied[i]);
	if (sort.resource && sort.resource->strategy && sort.resource->strategy->deprecated)
		metric_set(metric_label(&metrics[DEPRECATED], group, version, resource, sort.subresource, ""), 1);
	return one;
}

/* What asks to be judged by its fields. */
static struct metric_series *validation_series(const struct request *r) {
	static const char *const values[] = {"Ignore", "Warn", "Strict"};
	const char *asked = http_query(r->http, "fieldValidation");
	for (size_t i = 0; asked && i < array_len(values); i++)
		if (strcmp(asked, values[i]) == 0)
			return metric_label(&metrics[FIELD_VALIDATION], values[i]);
	return metric_label(&metrics[FIELD_VALIDATION], "");
}

void request_metrics_count(struct request *r, int code, int64_t took_ns) {
	const struct remembered *one = find(r, code);
	metric_add(one->total, 1);
	if (strcmp(str_or(r->verb, ""), "watch") == 0)
		return; /* how long it will last is not known yet */
	metric_observe(one->duration, (double)took_ns / 1e9);
	if (!r->dry_run)
		metric_observe(one->own, (double)(took_ns - min_of(took_ns, __atomic_load_n(&r->foreign_ns, __ATOMIC_RELAXED) + __atomic_load_n(&r->judged_ns, __ATOMIC_RELAXED))) / 1e9);
	if (one->bodies) {
		size_t len;
		http_body(r->http, &len);
		metric_observe(one->bodies, (double)len);
		metric_observe(validation_series(r), (double)took_ns / 1e9);
	}
	if (one->sizes)
		metric_observe(one->sizes, (double)r->answer_bytes);
}

void request_metrics_size(struct request *r, size_t len) {
	r->answer_bytes = len;
}

void request_metrics_waited(struct request *r, int64_t ns) {
	__atomic_add_fetch(&r->foreign_ns, ns, __ATOMIC_RELAXED);
}

void request_metrics_asked(struct request *r, int64_t ns, bool one_by_one) {
	int64_t longest = __atomic_load_n(&r->judged_ns, __ATOMIC_RELAXED);
	if (one_by_one)
		request_metrics_waited(r, ns);
	else
		while (ns > longest && !__atomic_compare_exchange_n(&r->judged_ns, &longest, ns, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
			;
}

void request_metrics_terminated(const struct request *r, int code) {
	char text[8];
	snprintf(text, sizeof(text), "%d", code);
	const struct resource *resource = r->resource ? r->resource : r->is_resource ? registry_find(r->server->registry, r->group, r->version, r->plural) : NULL;
	metric_add(metric_label(&metrics[TERMINATED], request_metrics_verb(r), resource ? resource_group(resource) : "", resource ? resource->api->version : "", resource ? resource->api->plural : "",
			   r->sub ? r->sub->name : path_label(r), request_metrics_scope(r), COMPONENT, text),
		   1);
}

/* ---- who asks, and whether he may ---- */

static struct metric_series *attempts[3], *attempt_seconds[3], *decisions[3], *decision_seconds[3], *email_users, *other_users, *expiry;

static void make_series(void) {
	static const char *const results[] = {"success", "failure", "error"}, *const answers[] = {"allowed", "denied", "no-opinion"};
	for (size_t i = 0; i < array_len(results); i++) {
		attempts[i] = metric_label(&metrics[ATTEMPTS], results[i]);
		attempt_seconds[i] = metric_label(&metrics[AUTHENTICATING], results[i]);
		decisions[i] = metric_label(&metrics[DECISIONS], answers[i]);
		decision_seconds[i] = metric_label(&metrics[AUTHORIZING], answers[i]);
	}
	email_users = metric_label(&metrics[USERS], "email_id");
	other_users = metric_label(&metrics[USERS], "other");
	expiry = metric_label(&metrics[EXPIRY]);
}

static void need_series(void) {
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, make_series);
}

/* Few are told by name. */
static struct metric_series *series_of_user(const char *user) {
	static const char *const known[] = {"admin", "client", "kube_proxy", "kubelet", "system:serviceaccount:kube-system:default"};
	for (size_t i = 0; i < array_len(known); i++)
		if (strcmp(user, known[i]) == 0)
			return metric_label(&metrics[USERS], known[i]);
	return strchr(user, '@') ? email_users : other_users;
}

void request_metrics_authenticated(enum authentication_result result, const char *user, int64_t ns) {
	need_series();
	metric_add(attempts[result], 1);
	metric_observe(attempt_seconds[result], (double)ns / 1e9);
	if (result == AUTHENTICATION_SUCCESS)
		metric_add(series_of_user(user), 1);
}

void request_metrics_certificate(int64_t seconds) {
	need_series();
	metric_observe(expiry, (double)seconds);
}

void request_metrics_authorized(enum authorization_result result, int64_t ns) {
	need_series();
	metric_add(decisions[result], 1);
	metric_observe(decision_seconds[result], (double)ns / 1e9);
}
