/* SPDX-License-Identifier: Apache-2.0 */
/* The mode Webhook: a server that is asked by a SubjectAccessReview. */
#include "apiserver/authz/configuration.h"
#include "apiserver/authz/modes.h"
#include "apiserver/timers.h"
#include "api/authorization_v1.h"
#include "api/meta_v1.h"
#include "common/api/selector.h"
#include "common/base/clock.h"
#include "common/base/metrics.h"

#include <errno.h>

#define BACKOFF_NS (500 * NSEC_PER_MSEC)
#define TRIES 5
#define REMEMBERED 8192
#define MAX_CONTROLLED 10000 /* bytes of what the client chose in a question whose answer is kept */

struct hook {
	struct asked *asked;
	struct authz_conditions *conditions;
	char *name, *version;
	int64_t authorized_ns, unauthorized_ns; /* how long answers are kept */
	enum authz_decision on_error;
	struct arena *arena; /* of the conditions' texts */
};

static const double buckets[] = {0.005, 0.025, 0.1, 0.5, 1, 5, 10, 30, 0};
static struct metric metrics[] = {
	{.name = "apiserver_authorization_webhook_evaluations_total", .help = "Round-trips to authorization webhooks.", .kind = METRIC_COUNTER, .labels = (const char *const[]){"name", "result", NULL}},
	{.name = "apiserver_authorization_webhook_duration_seconds", .help = "Request latency in seconds.", .kind = METRIC_HISTOGRAM, .labels = (const char *const[]){"name", "result", NULL}, .buckets = buckets},
	{.name = "apiserver_authorization_webhook_evaluations_fail_open_total", .help = "NoOpinion results due to webhook timeout or error.", .kind = METRIC_COUNTER, .labels = (const char *const[]){"name", "result", NULL}},
	{.name = "apiserver_authorization_match_condition_evaluation_errors_total", .help = "Total number of errors when an authorization webhook encounters a match condition error.", .kind = METRIC_COUNTER, .labels = (const char *const[]){"name", "type", NULL}},
	{.name = "apiserver_authorization_match_condition_exclusions_total", .help = "Total number of exclusions when an authorization webhook is skipped because match conditions exclude it.", .kind = METRIC_COUNTER, .labels = (const char *const[]){"name", "type", NULL}},
};

__attribute__((constructor)) static void register_metrics(void) {
	metrics_register(metrics, array_len(metrics));
}

static void observe(void *arg, const char *result, int status, double seconds) {
	const struct hook *hook = arg;
	metric_add(metric_label(&metrics[0], hook->name, result), 1);
	metric_observe(metric_label(&metrics[1], hook->name, result), seconds);
}

/* ---- what is asked ---- */

static void set_text(json_t *object, const char *key, const char *text) {
	if (!str_empty(text))
		json_object_set_new(object, key, json_string(text));
}

static json_t *texts(const char *const *list) {
	json_t *array = json_array();
	for (; list && *list; list++)
		json_array_append_new(array, json_string(*list));
	return array;
}

static bool add_requirement(const char *key, const char *op, const char *const *values, size_t count, void *arg) {
	json_t *list = arg, *one = json_pack("{s:s, s:s}", "key", key, "operator", op), *array = count ? json_array() : NULL;
	for (size_t i = 0; i < count; i++)
		json_array_append_new(array, json_string(values[i]));
	if (array)
		json_object_set_new(one, "values", array);
	json_array_append_new(list, one);
	return true;
}

/* What a selector's text demands; none where it is none: a selector only narrows. */
static void add_selector(json_t *list, const char *text, bool fields) {
	struct selector *selector;
	if (str_empty(text) || (fields ? field_selector_parse(text, &selector, NULL) : label_selector_parse(text, &selector, NULL)) < 0)
		return;
	selector_each_requirement(selector, add_requirement, list);
	selector_free(selector);
}

static void add_fields(json_t *resource, const struct authorization_v1_field_selector_attributes *s, const char *text) {
	json_t *list = json_array();
	add_selector(list, s ? s->raw_selector : text, true);
	for (uint32_t i = 0; s && i < s->requirements.len; i++) {
		const struct meta_v1_field_selector_requirement *r = &s->requirements.items[i];
		if (r->values.len == 1 && (str_equal(r->operator, "In") || str_equal(r->operator, "NotIn")))
			add_requirement(str_or(r->key, ""), r->operator, (const char *const *)r->values.items, 1, list);
	}
	if (json_array_size(list))
		json_object_set_new(resource, "fieldSelector", json_pack("{s:O}", "requirements", list));
	json_decref(list);
}

static void add_labels(json_t *resource, const struct authorization_v1_label_selector_attributes *s, const char *text) {
	static const char *const known[] = {"In", "NotIn", "Exists", "DoesNotExist"};
	json_t *list = json_array();
	add_selector(list, s ? s->raw_selector : text, false);
	for (uint32_t i = 0; s && i < s->requirements.len; i++) {
		const struct meta_v1_label_selector_requirement *r = &s->requirements.items[i];
		for (size_t k = 0; k < array_len(known); k++)
			if (str_equal(r->operator, known[k]) && (r->values.len != 0) == (k < 2))
				add_requirement(str_or(r->key, ""), r->operator, (const char *const *)r->values.items, r->values.len, list);
	}
	if (json_array_size(list))
		json_object_set_new(resource, "labelSelector", json_pack("{s:O}", "requirements", list));
	json_decref(list);
}

/* The review's spec. */
static json_t *spec_of(const struct authz_attributes *a) {
	json_t *spec = json_object(), *what = json_object();
	if (a->is_resource) {
		set_text(what, "namespace", a->ns);
		set_text(what, "verb", a->verb);
		set_text(what, "group", a->group);
		set_text(what, "version", a->version);
		set_text(what, "resource", a->resource);
		set_text(what, "subresource", a->subresource);
		set_text(what, "name", a->name);
		add_fields(what, a->fields, a->field_selector);
		add_labels(what, a->labels, a->label_selector);
	} else {
		set_text(what, "path", a->path);
		set_text(what, "verb", a->verb);
	}
	json_object_set_new(spec, a->is_resource ? "resourceAttributes" : "nonResourceAttributes", what);
	set_text(spec, "user", a->user->name);
	if (a->user->groups && *a->user->groups)
		json_object_set_new(spec, "groups", texts(a->user->groups));
	json_t *extra = a->user->extra_count ? json_object() : NULL;
	for (size_t i = 0; i < a->user->extra_count; i++)
		json_object_set_new(extra, a->user->extra[i].key, texts(a->user->extra[i].values));
	if (extra)
		json_object_set_new(spec, "extra", extra);
	set_text(spec, "uid", a->user->uid);
	return spec;
}

/* To expressions all texts are there, empty ones too. */
static json_t *shown(json_t *spec) {
	static const char *const always[] = {"user", "uid"}, *const resource[] = {"namespace", "verb", "group", "version", "resource", "subresource", "name"}, *const path[] = {"path", "verb"};
	json_t *copy = json_deep_copy(spec), *r = json_object_get(copy, "resourceAttributes"), *n = json_object_get(copy, "nonResourceAttributes");
#define FILL(object_, names_) \
	for (size_t i = 0; (object_) && i < array_len(names_); i++) \
		if (!json_object_get((object_), (names_)[i])) \
			json_object_set_new((object_), (names_)[i], json_string(""))
	FILL(copy, always);
	FILL(r, resource);
	FILL(n, path);
#undef FILL
	if (!json_object_get(copy, "groups"))
		json_object_set_new(copy, "groups", json_array());
	if (!json_object_get(copy, "extra"))
		json_object_set_new(copy, "extra", json_object());
	return copy;
}

static bool is_short(const struct authz_attributes *a) {
	const char *const parts[] = {a->ns, a->verb, a->group, a->version, a->resource, a->subresource, a->name, a->path};
	size_t len = 0;
	for (size_t i = 0; i < array_len(parts); i++)
		len += strlen(str_or(parts[i], ""));
	return len < MAX_CONTROLLED;
}

/* ---- what is answered ---- */

/* Either version: their statuses are alike. */
static int read_review(const char *json, size_t len, struct authorization_v1_subject_access_review **ret, struct error *err) {
	json_t *tree = json_loadb(json, len, 0, NULL);
	const char *version = json_string_value(json_object_get(tree, "apiVersion")), *kind = json_string_value(json_object_get(tree, "kind"));
	void *object;
	int rc = 0;
	if (!json_is_object(tree) || (kind && strcmp(kind, "SubjectAccessReview") != 0) || (version && strcmp(version, "authorization.k8s.io/v1") != 0 && strcmp(version, "authorization.k8s.io/v1beta1") != 0))
		rc = error_set(err, EBADMSG, "the answer is no SubjectAccessReview");
	if (rc == 0) {
		json_object_del(tree, "apiVersion");
		json_object_del(tree, "spec"); /* in the form of its version; nobody reads it */
		rc = api_from_json(&authorization_v1_subject_access_review_type, tree, NULL, &object, err);
	}
	json_decref(tree);
	if (rc == 0)
		*ret = object;
	return rc;
}

static int64_t keep_ns(void *arg, const char *json, size_t len) {
	const struct hook *hook = arg;
	struct authorization_v1_subject_access_review *review;
	if (read_review(json, len, &review, NULL) < 0)
		return 0;
	bool allowed = review->status.allowed;
	api_unref(review);
	return allowed ? hook->authorized_ns : hook->unauthorized_ns;
}

static enum authz_decision judge(const struct authorization_v1_subject_access_review_status *status, struct arena *arena, const char **ret_reason) {
	*ret_reason = arena_strdup(arena, str_or(status->reason, ""));
	return status->denied ? AUTHZ_DENY : status->allowed ? AUTHZ_ALLOW : AUTHZ_NO_OPINION;
}

static enum authz_decision ask(struct hook *hook, json_t *spec, bool keep, struct asks *asks, struct arena *arena, const char **ret_reason) {
	autofree char *version = xprintf("authorization.k8s.io/%s", hook->version);
	autobytes struct bytes *answer = NULL;
	autoerror struct error err = {0};
	struct authorization_v1_subject_access_review *review = NULL;
	/* The older version says "group". */
	json_t *groups = strcmp(hook->version, "v1beta1") == 0 ? json_incref(json_object_get(spec, "groups")) : NULL, *sent = groups ? json_copy(spec) : json_incref(spec);
	if (groups) {
		json_object_del(sent, "groups");
		json_object_set_new(sent, "group", groups);
	}
	json_t *tree = json_pack("{s:s, s:s, s:{}, s:o, s:{s:b}}", "kind", "SubjectAccessReview", "apiVersion", version, "metadata", "spec", sent, "status", "allowed", 0);
	char *text = tree ? json_dumps(tree, JSON_COMPACT) : NULL;
	json_decref(tree);
	int rc = text ? asked_get(hook->asked, asks, text, strlen(text), keep, &answer, &err) : error_set(&err, EINVAL, "the question is no good text");
	free(text);
	if (rc == 0)
		return AUTHZ_NO_OPINION;
	if (rc == 1)
		rc = read_review(answer->data, answer->len, &review, &err);
	if (rc < 0) {
		if (hook->on_error == AUTHZ_NO_OPINION)
			metric_add(metric_label(&metrics[2], hook->name, err.errnum == ETIMEDOUT ? "timeout" : "error"), 1);
		return hook->on_error;
	}
	enum authz_decision decision = judge(&review->status, arena, ret_reason);
	api_unref(review);
	return decision;
}

static enum authz_decision hook_decide(void *state, const struct authz_attributes *a, struct asks *asks, struct arena *arena, const char **ret_reason) {
	struct hook *hook = state;
	autoerror struct error why = {0};
	json_t *spec = spec_of(a);
	int meets = 1;
	if (hook->conditions) {
		json_t *all = shown(spec);
		meets = authz_conditions_meet(hook->conditions, all, &why);
		json_decref(all);
	}
	enum authz_decision decision = AUTHZ_NO_OPINION;
	if (meets < 0) {
		metric_add(metric_label(&metrics[3], hook->name, "Webhook"), 1);
		decision = hook->on_error;
	} else if (meets == 0) {
		metric_add(metric_label(&metrics[4], hook->name, "Webhook"), 1);
	} else {
		decision = ask(hook, spec, is_short(a), asks, arena, ret_reason);
	}
	json_decref(spec);
	return decision;
}

static const char *hook_rules(void *state, const struct user *user, const char *ns, authz_rule_fn *fn, void *arg) {
	return "webhook authorizer does not support user rule resolution";
}

/* ---- start and end ---- */

static void hook_free(void *arg) {
	struct hook *hook = arg;
	authz_conditions_free(hook->conditions);
	arena_free(hook->arena);
	free(hook->name);
	free(hook->version);
	free(hook);
}

static int hook_open(struct apiserver *server, const struct apiserver_v1_authorizer_configuration *config, void **ret, struct error *err) {
	const struct apiserver_v1_webhook_configuration *w = config->webhook;
	struct hook *hook = xnew(struct hook);
	autoerror struct error found = {0};
	*hook = (struct hook){.name = xstrdup(config->name), .version = xstrdup(w->subject_access_review_version), .on_error = str_equal(w->failure_policy, "Deny") ? AUTHZ_DENY : AUTHZ_NO_OPINION};
	hook->authorized_ns = w->cache_authorized_requests && !*w->cache_authorized_requests ? 0 : w->authorized_ttl->ns;
	hook->unauthorized_ns = w->cache_unauthorized_requests && !*w->cache_unauthorized_requests ? 0 : w->unauthorized_ttl->ns;
	hook->arena = arena_new();
	struct apiserver_v1_webhook_match_condition_array own = {0};
	for (uint32_t i = 0; i < w->match_conditions.len; i++) {
		struct apiserver_v1_webhook_match_condition *condition = api_list_add(hook->arena, &own);
		condition->expression = arena_strdup(hook->arena, str_or(w->match_conditions.items[i].expression, ""));
	}
	authz_conditions_new(&own, NULL, &hook->conditions, &found);
	const struct asked_options options = {
		.caller = server->caller, .loop = timers_loop(server->timers), .what = "authorization webhook", .kubeconfig = w->connection_info.kube_config_file, .timeout_ns = w->timeout->ns, .backoff_ns = BACKOFF_NS, .tries = TRIES,
		.remembered = REMEMBERED, .keep_ns = keep_ns, .observe = observe, .arg = hook, .free_arg = hook_free,
	};
	int rc = asked_new(&options, &hook->asked, err);
	if (rc < 0) {
		hook_free(hook);
		return error_context(err, "authorization webhook %s", config->name);
	}
	*ret = hook;
	return 0;
}

static void hook_close(void *state) {
	struct hook *hook = state;
	asked_stop(hook->asked);
	asked_unref(hook->asked); /* frees it with the last question */
}

const struct authz_mode authz_mode_webhook = {.type = "Webhook", .open = hook_open, .close = hook_close, .decide = hook_decide, .rules = hook_rules};
