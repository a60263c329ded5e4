/* SPDX-License-Identifier: Apache-2.0 */
/* What a webhook is asked (AdmissionReview), and what its answer means. */
#include "apiserver/admission/settings.h"
#include "apiserver/webhook/webhook.h"
#include "apiserver/admission/admission.h"
#include "apiserver/audit/audit.h"
#include "apiserver/request/metrics.h"
#include "api/admission_v1.h"
#include "apiserver/webhook/credentials.h"
#include "common/base/metrics.h"
#include "common/base/random.h"

#include <errno.h>
#include <pthread.h>

#define MAX_TIMEOUT_MS 30000
#define HOP_TIMEOUT_MS 10000
#define MAX_SHOWN 1024 /* of an answer that is none, in a message */

/* ---- metrics ---- */

static const double seconds[] = {0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10, 25, 0};
static struct metric metrics[] = {
	{"apiserver_admission_webhook_admission_duration_seconds", "Time that a webhook took to answer.", METRIC_HISTOGRAM, (const char *const[]){"name", "operation", "rejected", "type", NULL}, seconds, NULL},
	{"apiserver_admission_webhook_rejection_count", "Requests that a webhook refused, or that failed by it.", METRIC_COUNTER, (const char *const[]){"error_type", "name", "operation", "rejection_code", "type", NULL}, NULL, NULL},
	{"apiserver_admission_webhook_request_total", "Requests to a webhook.", METRIC_COUNTER, (const char *const[]){"code", "name", "operation", "rejected", "type", NULL}, NULL, NULL},
	{"apiserver_admission_webhook_fail_open_count", "Failures of a webhook that were ignored.", METRIC_COUNTER, (const char *const[]){"name", "type", NULL}, NULL, NULL},
};

static void register_metrics(void) {
	metrics_register(metrics, array_len(metrics));
}

void webhook_observe(const struct webhook_call *call, const char *operation, enum webhook_end end, const struct error *err) {
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, register_metrics);
	const char *type = call->mutating ? "admit" : "validating", *name = call->hook->name;
	int code = end == WEBHOOK_ALLOWED ? 200 : end == WEBHOOK_FAILED ? (call->status >= 400 ? call->status : 503) : end == WEBHOOK_INTERNAL ? 0 : err->http_code;
	bool rejected = end == WEBHOOK_FAILED ? !call->hook->ignores_failure : end != WEBHOOK_ALLOWED;
	/* As Kubernetes has it: all codes past 600 are one. */
	char text[16];
	snprintf(text, sizeof(text), "%d", code > 600 ? 600 : code);
	int64_t took = clock_monotonic_ns() - call->started_ns;
	metric_observe(metric_label(&metrics[0], name, operation, rejected ? "true" : "false", type), (double)took / (double)NSEC_PER_SEC);
	request_metrics_asked(call->w->r, took, call->mutating);
	if (rejected)
		metric_add(metric_label(&metrics[1], end == WEBHOOK_REJECTED ? "no_error" : end == WEBHOOK_FAILED ? "calling_webhook_error" : "apiserver_internal_error", name, operation, text, type), 1);
	metric_add(metric_label(&metrics[2], text, name, operation, rejected ? "true" : "false", type), 1);
	if (end == WEBHOOK_FAILED && !rejected)
		metric_add(metric_label(&metrics[3], name, type), 1);
}

/* ---- asking ---- */

struct webhook_call *webhook_call_new(struct judged *j, const struct webhook *hook, bool mutating, void (*done)(void *arg), void *arg) {
	struct webhook_call *call = arena_new_type(j->w->arena, struct webhook_call);
	*call = (struct webhook_call){.w = j->w, .hook = hook, .mutating = mutating, .done = done, .arg = arg, .body = BUF_INIT(CALL_MAX_ANSWER)};
	call->started_ns = clock_monotonic_ns();
	return call;
}

void webhook_call_done(struct webhook_call *call) {
	buf_done(&call->body);
	error_done(&call->error);
	json_decref(call->patch);
	call->patch = NULL;
}

static void on_answer(const struct call_answer *answer, const struct error *err, void *arg) {
	struct webhook_call *call = arg;
	call->status = answer->status;
	call->text = answer->text;
	if (err)
		error_set(&call->error, err->errnum, "Post \"%s\": %s", call->url, error_message(err));
	else
		buf_append(&call->body, answer->body.data, answer->body.len);
	call->done(call->arg);
}

/* The first of the versions it knows that we know. */
static bool choose_version(struct webhook_call *call) {
	for (uint32_t i = 0; i < call->hook->review_versions->len; i++) {
		const char *version = call->hook->review_versions->items[i];
		call->v1 = strcmp(version, "v1") == 0;
		if (call->v1 || strcmp(version, "v1beta1") == 0)
			return true;
	}
	return false;
}

static char *review_text(struct webhook_call *call, struct judged *j, struct error *err) {
	if (judged_trees(j, err) < 0)
		return NULL;
	char *uid = arena_alloc(call->w->arena, 37);
	random_uuid(uid);
	call->uid = uid;
	json_t *request = json_copy(j->request);
	json_object_set_new(request, "uid", json_string(uid));
	json_object_set(request, "object", j->object);
	json_object_set(request, "oldObject", j->old);
	json_t *review = json_pack("{s:s, s:s, s:o}", "kind", "AdmissionReview", "apiVersion", call->v1 ? "admission.k8s.io/v1" : "admission.k8s.io/v1beta1", "request", request);
	char *text = json_dumps(review, JSON_COMPACT);
	json_decref(review);
	if (!text)
		error_set(err, EINVAL, "could not create admission objects");
	return text;
}

int webhook_call_start(struct webhook_call *call, struct judged *j, enum webhook_end *ret_end, struct error *err) {
	const struct webhook *hook = call->hook;
	struct write *w = call->w;
	const struct admissionregistration_v1_service_reference *s = hook->client->service;
	struct webhook_service service = {0};
	struct webhook_target target = {.ca = hook->client->ca_bundle.data, .ca_len = hook->client->ca_bundle.len};
	if (w->dry_run && !hook->dry_run) {
		*ret_end = WEBHOOK_INTERNAL;
		return error_bad_request(err, "admission webhook \"%s\" does not support dry run", hook->name);
	}
	*ret_end = WEBHOOK_FAILED;
	if (!choose_version(call))
		return error_set(err, EINVAL, "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)");
	autofree char *text = review_text(call, j, err);
	if (!text)
		return -EINVAL;
	if (s)
		service = (struct webhook_service){s->namespace, s->name, s->path, s->port ? *s->port : 443};
	int timeout = min_of(hook->timeout_seconds * 1000, request_time_left_ms(w->r, MAX_TIMEOUT_MS));
	int r = webhook_reach(w->r->server, w->arena, hook->client->url, &service, &target, err);
	const char *query = arena_printf(w->arena, "?timeout=%ds", (timeout + 999) / 1000);
	call->url = arena_printf(w->arena, "%s%s", str_or(target.url, str_or(hook->client->url, "")), query);
	if (r < 0) {
		autofree char *context = xprintf("failed to call webhook: Post \"%s\"", call->url);
		return error_context(err, "%s", context);
	}
	const struct admission_settings *settings = w->r->server->admission;
	const struct webhook_credential *credential = webhook_credentials_find(call->mutating ? settings->mutating : settings->validating, target.host, target.port);
	autofree char *authorization = NULL;
	r = webhook_credential_authorization(credential, &authorization, err);
	if (r < 0)
		return r;
	call_start(w->r->server->caller, &(struct call_options){
		.host = target.host, .port = target.port, .address = target.address, .address_port = target.address_port, .target = arena_printf(w->arena, "%s%s", target.path, query), .body = text, .body_len = strlen(text),
		.ca = target.ca, .ca_len = target.ca_len, .timeout_ns = timeout * NSEC_PER_MSEC,
		.authorization = authorization, .own = credential ? credential->own : NULL, .own_len = credential ? credential->own_len : 0, .done = on_answer, .arg = call,
	});
	return 0;
}

/* ---- its answer ---- */

static const struct {
	int code;
	const char *text;
} refusals[] = {
	{400, "the server rejected our request for an unknown reason"}, {401, "the server has asked for the client to provide credentials"}, {403, "unknown"}, {404, "the server could not find the requested resource"},
	{405, "the server does not allow this method on the requested resource"}, {406, "the server was unable to respond with a content type that the client supports"},
	{409, "the server reported a conflict"}, {410, "the server indicates that the requested resource is no longer available"}, {413, "the server responded with the status code 413 but did not return more information"},
	{415, "the server was unable to understand the content type of the request"}, {422, "the server rejected our request due to an error in our request"},
	{429, "the server has received too many requests and has asked us to try again later"}, {500, "an error on the server"}, {503, "the server is currently unable to handle the request"}, {504, "the server was unable to return a response in the time allotted, but may still be processing the request"},
};

/* What a client makes of an answer that is no success. */
static int refused_by_server(const struct webhook_call *call, struct error *err) {
	json_t *tree = json_loadb(call->body.data ? call->body.data : "", call->body.len, 0, NULL);
	const char *message = str_equal(json_string_value(json_object_get(tree, "kind")), "Status") ? json_string_value(json_object_get(tree, "message")) : NULL;
	if (!str_empty(message)) {
		error_set(err, EIO, "failed to call webhook: %s", message);
		json_decref(tree);
		return -EIO;
	}
	json_decref(tree);
	if (call->status == 500) {
		autofree char *text = xstrndup(call->text && call->body.data ? call->body.data : "", call->text ? min_of(call->body.len, (size_t)MAX_SHOWN) : 0);
		for (size_t n = strlen(text); n && strchr(" \t\r\n", text[n - 1]); n--)
			text[n - 1] = '\0';
		autobuf struct buf quoted = BUF_INIT(MAX_SHOWN * 8);
		buf_append_json_string(&quoted, *text ? text : "unknown", strlen(*text ? text : "unknown"));
		return error_set(err, EIO, "failed to call webhook: an error on the server (%s) has prevented the request from succeeding", quoted.data);
	}
	for (size_t i = 0; i < array_len(refusals); i++)
		if (refusals[i].code == call->status)
			return error_set(err, EIO, "failed to call webhook: %s", refusals[i].text);
	return error_set(err, EIO, "failed to call webhook: the server responded with the status code %d but did not return more information", call->status);
}

static int amiss(struct error *err, const char *fmt, ...) printf_like(2, 3);
static int amiss(struct error *err, const char *fmt, ...) {
	va_list args;
	va_start(args, fmt);
	autobuf struct buf text = BUF_INIT(64 << 10);
	buf_vprintf(&text, fmt, args);
	va_end(args);
	return error_set(err, EBADMSG, "received invalid webhook response: %s", text.data);
}

static int check_patch(const struct webhook_call *call, const struct admission_v1_admission_response *response, struct error *err) {
	bool patch = response->patch.len > 0, type = response->patch_type != NULL;
	if (call->mutating) {
		if (patch && !type)
			return amiss(err, "webhook returned response.patch but not response.patchType");
		if (!patch && type)
			return amiss(err, "webhook returned response.patchType but not response.patch");
		if (type && !*response->patch_type)
			return amiss(err, "webhook returned invalid response.patchType of \"\"");
		return 0;
	}
	if (patch)
		return amiss(err, "validating webhook may not return response.patch");
	return type ? amiss(err, "validating webhook may not return response.patchType") : 0;
}

static int verify(const struct webhook_call *call, const struct admission_v1_admission_review *review, const char *version, struct error *err) {
	const struct admission_v1_admission_response *response = review->response;
	if (!response)
		return amiss(err, "webhook response was absent");
	if (!call->v1)
		return 0; /* was never checked */
	if (!str_equal(response->uid, call->uid))
		return amiss(err, "expected response.uid=\"%s\", got \"%s\"", call->uid, str_or(response->uid, ""));
	if (!str_equal(version, "admission.k8s.io/v1") || !str_equal(review->kind, "AdmissionReview")) {
		autofree char *got = str_empty(version) && str_empty(review->kind) ? xstrdup("/, Kind=") : xprintf("%s, Kind=%s", str_or(version, ""), str_or(review->kind, ""));
		return amiss(err, "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got %s", got);
	}
	return check_patch(call, response, err);
}

/* A webhook's own Status, as the client is told it. */
static int rejected(const struct webhook_call *call, const struct meta_v1_status *status, struct error *err) {
	static const struct meta_v1_status none;
	const struct meta_v1_status *s = status ? status : &none;
	const char *why = !str_empty(s->message) ? s->message : s->reason;
	int code = s->code < 400 || s->code > 999 ? 400 : s->code;
	int r = error_status(err, code, str_or(s->reason, ""), "admission webhook \"%s\" denied the request%s%s", call->hook->name, str_empty(why) ? " " : ": ", str_empty(why) ? "without explanation" : why);
	const struct meta_v1_status_details *d = s->details;
	if (!d)
		return r;
	error_details(err, d->group, d->kind, d->name);
	if (!str_empty(d->uid))
		err->details_uid = xstrdup(d->uid);
	err->retry_after_seconds = d->retry_after_seconds;
	err->empty_details = true;
	for (uint32_t i = 0; i < d->causes.len; i++)
		error_cause(err, str_or(d->causes.items[i].reason, ""), str_or(d->causes.items[i].field, ""), "%s", str_or(d->causes.items[i].message, ""));
	return r;
}

static enum webhook_end take_patch(struct webhook_call *call, const struct admission_v1_admission_response *response, struct error *err) {
	if (!call->mutating || !response->patch.len)
		return WEBHOOK_ALLOWED;
	json_t *patch = json_loadb((const char *)response->patch.data, response->patch.len, 0, NULL);
	if (!json_is_array(patch)) {
		json_decref(patch);
		error_set(err, EBADMSG, "received undecodable patch in webhook response: it is no JSON patch");
		return WEBHOOK_FAILED;
	}
	if (call->v1 && !str_equal(*response->patch_type ? response->patch_type : "", "JSONPatch")) {
		json_decref(patch);
		error_set(err, EBADMSG, "unsupported patch type \"%s\"", response->patch_type);
		return WEBHOOK_FAILED;
	}
	if (json_array_size(patch))
		call->patch = patch;
	else
		json_decref(patch);
	return WEBHOOK_ALLOWED;
}

static enum webhook_end judge(struct webhook_call *call, const struct admission_v1_admission_review *review, struct error *err) {
	const struct admission_v1_admission_response *response = review->response;
	for (uint32_t i = 0; i < response->warnings.len; i++)
		request_warn(call->w->r, "%s", response->warnings.items[i]);
	for (uint32_t i = 0; i < response->audit_annotations.len; i++) {
		autofree char *key = xprintf("%s/%s", call->hook->name, response->audit_annotations.items[i].key);
		audit_annotate(call->w->r, AUDIT_METADATA, key, response->audit_annotations.items[i].value);
	}
	if (!response->allowed) {
		rejected(call, response->status, err);
		return WEBHOOK_REJECTED;
	}
	return take_patch(call, response, err);
}

enum webhook_end webhook_call_end(struct webhook_call *call, struct error *err) {
	if (call->error.errnum) {
		error_move(err, &call->error);
		error_context(err, "failed to call webhook");
		return WEBHOOK_FAILED;
	}
	if (call->status < 200 || call->status > 206) {
		refused_by_server(call, err);
		return WEBHOOK_FAILED;
	}
	json_error_t where;
	json_t *tree = json_loadb(call->body.data ? call->body.data : "", call->body.len, 0, &where);
	if (!tree) {
		error_set(err, EBADMSG, "failed to call webhook: couldn't get version/kind; json parse error: %s", where.text);
		return WEBHOOK_FAILED;
	}
	autofree char *version = xstrdup(str_or(json_string_value(json_object_get(tree, "apiVersion")), ""));
	const char *kind = json_string_value(json_object_get(tree, "kind"));
	if (*version && !str_empty(kind) && (strcmp(kind, "AdmissionReview") != 0 || (strcmp(version, "admission.k8s.io/v1") != 0 && strcmp(version, "admission.k8s.io/v1beta1") != 0))) {
		error_set(err, EBADMSG, "failed to call webhook: no kind \"%s\" is registered for version \"%s\" in scheme \"k8s.io/apiserver/pkg/util/webhook/client.go:71\"", kind, version);
		json_decref(tree);
		return WEBHOOK_FAILED;
	}
	json_object_set_new(tree, "apiVersion", json_string("admission.k8s.io/v1"));
	json_object_del(tree, "request"); /* some send it back; nobody reads it */
	void *object = NULL;
	int r = json_is_object(tree) ? api_from_json(&admission_v1_admission_review_type, tree, NULL, &object, err) : error_set(err, EBADMSG, "it is no object");
	json_decref(tree);
	if (r < 0) {
		error_context(err, "failed to call webhook");
		return WEBHOOK_FAILED;
	}
	enum webhook_end end = verify(call, object, version, err) < 0 ? WEBHOOK_FAILED : judge(call, object, err);
	api_unref(object);
	return end;
}

int webhook_call_error(const struct webhook_call *call, enum webhook_end end, const struct error *why, struct error *err) {
	if (end != WEBHOOK_FAILED)
		return 0;
	error_internal(err, "failed calling webhook \"%s\": %s", call->hook->name, error_message(why));
	return -EIO;
}

/* ---- threads ---- */

struct hop {
	void (*fn)(void *arg);
	void *arg;
};

static void on_hop(int errnum, void *arg) {
	struct hop *hop = arg;
	hop->fn(hop->arg);
}

void webhook_hop(struct write *w, void (*fn)(void *arg), void *arg) {
	struct hop *hop = arena_new_type(w->arena, struct hop);
	*hop = (struct hop){fn, arg};
	/* A revision that is there already. */
	if (w->quick)
		store_wait_quick(w->r->server->store, 1, HOP_TIMEOUT_MS, on_hop, hop);
	else
		store_wait(w->r->server->store, 1, HOP_TIMEOUT_MS, on_hop, hop);
}
