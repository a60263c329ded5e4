/* SPDX-License-Identifier: Apache-2.0 */
/* What is told of a request. */
#include "apiserver/audit/audit.h"
#include "apiserver/audit/backend.h"
#include "apiserver/request/render.h"
#include "apiserver/request/steps.h"
#include "api/meta_v1.h"
#include "common/api/yaml.h"
#include "common/base/clock.h"
#include "common/base/metrics.h"

#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>

#define MAX_ADDRESSES 64
#define MAX_ANNOTATIONS 256

struct audit {
	struct audit_policy *policy;
	struct audit_log *log;         /* NULL: none */
	struct audit_webhook *webhook; /* NULL: none */
	struct audit_backend *backends[2];
	size_t backend_count;
};

static struct metric metrics[] = {
	{.name = "apiserver_audit_event_total", .help = "Counter of audit events generated and sent to the audit backend.", .kind = METRIC_COUNTER},
	{.name = "apiserver_audit_level_total", .help = "Counter of policy levels for audit events (1 per request).", .kind = METRIC_COUNTER, .labels = (const char *const[]){"level", NULL}},
	{.name = "apiserver_audit_requests_rejected_total", .help = "Counter of requests rejected since their event could not be given to the audit backend.", .kind = METRIC_COUNTER},
};

__attribute__((constructor)) static void register_metrics(void) {
	metrics_register(metrics, array_len(metrics));
}

/* Lives in the request's arena; its trees until that ends. */
struct audit_event {
	struct audit *audit;
	struct request *r;
	enum audit_level level;
	unsigned omit;
	bool omit_managed, is_long, complete;
	bool stranger;       /* it stopped at authentication */
	bool understood;     /* its body was */
	json_t *head;        /* members up to objectRef, but for level and stage */
	json_t *reference;   /* objectRef; NULL: none */
	json_t *request, *response, *status, *annotations; /* NULL: none */
	struct wall_time received;
};

static int read_mode(const char *flag, const char *mode, struct audit_backend_options *ret, struct error *err) {
	ret->batch = str_equal(mode, "batch");
	ret->strict = str_equal(mode, "blocking-strict");
	if (ret->batch || ret->strict || str_equal(mode, "blocking"))
		return 0;
	return error_set(err, EINVAL, "%s: invalid audit mode %s, allowed modes are \"batch,blocking,blocking-strict\"", flag, str_or(mode, ""));
}

static int start_log(struct audit *audit, const struct apiserver_options *o, struct error *err) {
	struct audit_backend_options options = {.name = "log", .buffer_size = (size_t)o->audit_log_batch_buffer_size, .batch_size = (size_t)o->audit_log_batch_max_size, .batch_wait_ns = o->audit_log_batch_max_wait,
		.process = audit_log_write};
	if (o->audit_log_truncate_enabled) {
		options.max_event = (size_t)o->audit_log_truncate_max_event_size;
		options.max_bytes = (size_t)o->audit_log_truncate_max_batch_size;
	}
	int rc = read_mode("--audit-log-mode", o->audit_log_mode, &options, err);
	if (rc == 0)
		rc = audit_log_open(o, &audit->log, err);
	options.arg = audit->log;
	return rc < 0 ? rc : audit_backend_start(&options, &audit->backends[audit->backend_count++], err);
}

static int start_webhook(struct audit *audit, const struct apiserver_options *o, struct error *err) {
	struct audit_backend_options options = {.name = "webhook", .buffer_size = (size_t)o->audit_webhook_batch_buffer_size, .batch_size = (size_t)o->audit_webhook_batch_max_size, .batch_wait_ns = o->audit_webhook_batch_max_wait,
		.qps = o->audit_webhook_batch_throttle_enable ? o->audit_webhook_batch_throttle_qps : 0, .burst = o->audit_webhook_batch_throttle_burst, .process = audit_webhook_post};
	if (o->audit_webhook_truncate_enabled) {
		options.max_event = (size_t)o->audit_webhook_truncate_max_event_size;
		options.max_bytes = (size_t)o->audit_webhook_truncate_max_batch_size;
	}
	int rc = read_mode("--audit-webhook-mode", o->audit_webhook_mode, &options, err);
	if (rc == 0)
		rc = audit_webhook_open(o, &audit->webhook, err);
	options.arg = audit->webhook;
	return rc < 0 ? rc : audit_backend_start(&options, &audit->backends[audit->backend_count++], err);
}

int audit_start(const struct apiserver_options *options, struct audit **ret, struct error *err) {
	*ret = NULL;
	bool log = !str_empty(options->audit_log_path), webhook = !str_empty(options->audit_webhook_config_file);
	if ((!log && !webhook) || str_empty(options->audit_policy_file))
		return 0;
	struct audit *audit = xnew(struct audit);
	int r = audit_policy_read(options->audit_policy_file, &audit->policy, err);
	if (r == 0 && log)
		r = start_log(audit, options, err);
	if (r == 0 && webhook)
		r = start_webhook(audit, options, err);
	if (r < 0) {
		audit_stop(audit);
		return r;
	}
	*ret = audit;
	return 0;
}

void audit_stop(struct audit *audit) {
	if (!audit)
		return;
	audit_webhook_stop(audit->webhook);
	for (size_t i = 0; i < audit->backend_count; i++)
		audit_backend_stop(audit->backends[i]);
	audit_webhook_close(audit->webhook);
	audit_policy_free(audit->policy);
	audit_log_close(audit->log);
	free(audit);
}

/* ---- parts of an event ---- */

/* What is no UTF-8 cannot be told. */
static json_t *text_tree(const char *text) {
	json_t *tree = json_string(text);
	return tree ? tree : json_string("");
}

static void set_text(json_t *object, const char *key, const char *text) {
	if (!str_empty(text))
		json_object_set_new(object, key, text_tree(text));
}

static json_t *user_tree(const struct user *user) {
	json_t *tree = json_object();
	if (!user)
		return tree;
	set_text(tree, "username", user->name);
	set_text(tree, "uid", user->uid);
	json_t *groups = user->groups && *user->groups ? json_array() : NULL;
	for (const char *const *g = user->groups; groups && *g; g++)
		json_array_append_new(groups, json_string(*g));
	if (groups)
		json_object_set_new(tree, "groups", groups);
	json_t *extra = user->extra_count ? json_object() : NULL;
	for (size_t i = 0; i < user->extra_count; i++) {
		json_t *values = json_array();
		for (const char *const *v = user->extra[i].values; v && *v; v++)
			json_array_append_new(values, json_string(*v));
		json_object_set_new(extra, user->extra[i].key, values);
	}
	if (extra)
		json_object_set_new(tree, "extra", extra);
	return tree;
}

static bool add_address(json_t *list, const char *text, bool anywhere) {
	struct in6_addr any;
	size_t i = anywhere ? 0 : json_array_size(list) ? json_array_size(list) - 1 : 0;
	for (; i < json_array_size(list); i++)
		if (strcmp(json_string_value(json_array_get(list, i)), text) == 0)
			return false;
	return (inet_pton(AF_INET, text, &any) == 1 || inet_pton(AF_INET6, text, &any) == 1) && json_array_append_new(list, json_string(text)) == 0;
}

/* Those that proxies name, and who speaks to us. */
static json_t *addresses_of(struct request *r) {
	json_t *list = json_array();
	const char *forwarded = http_header(r->http, "X-Forwarded-For");
	for (const char *p = forwarded; p && *p && json_array_size(list) < MAX_ADDRESSES;) {
		size_t len = strcspn(p, ",");
		const char *start = p + strspn(p, " ");
		autofree char *one = xstrndup(start, start < p + len ? strcspn(start, " ,") : 0);
		struct in6_addr any;
		if (inet_pton(AF_INET, one, &any) == 1 || inet_pton(AF_INET6, one, &any) == 1)
			json_array_append_new(list, json_string(one));
		p += len + (p[len] == ',');
	}
	const char *real = http_header(r->http, "X-Real-Ip");
	if (!str_empty(real))
		add_address(list, real, true);
	const struct sockaddr *peer = http_peer_address(r->http);
	char text[INET6_ADDRSTRLEN] = "";
	if (peer && peer->sa_family == AF_INET)
		inet_ntop(AF_INET, &((const struct sockaddr_in *)peer)->sin_addr, text, sizeof(text));
	else if (peer && peer->sa_family == AF_INET6)
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)peer)->sin6_addr, text, sizeof(text));
	const char *plain = str_starts_with(text, "::ffff:") ? text + 7 : text;
	add_address(list, plain, false);
	return list;
}

static json_t *reference_of(const struct request *r) {
	if (!r->is_resource)
		return NULL;
	json_t *tree = json_object();
	set_text(tree, "resource", r->plural);
	set_text(tree, "namespace", r->ns);
	set_text(tree, "name", r->name ? r->name : r->selected_name);
	set_text(tree, "apiGroup", r->group);
	set_text(tree, "apiVersion", r->version);
	set_text(tree, "subresource", r->subresource);
	return tree;
}

static char *time_text(struct wall_time t, char *out) {
	time_format_rfc3339_micro(t, out);
	return out;
}

static void without_managed_fields(json_t *tree) {
	size_t i;
	json_t *item;
	json_object_del(json_object_get(tree, "metadata"), "managedFields");
	json_array_foreach(json_object_get(tree, "items"), i, item)
		json_object_del(json_object_get(item, "metadata"), "managedFields");
}

static json_t *read_tree(const struct audit_event *e, const char *json, size_t len) {
	json_t *tree = json_loadb(json, len, JSON_DECODE_ANY, NULL);
	if (tree && e->omit_managed)
		without_managed_fields(tree);
	return tree;
}

/* The body as JSON, whatever it came as. */
static json_t *body_tree(struct request *r, const struct audit_event *e) {
	size_t len;
	const char *body = http_body(r->http, &len), *type = http_header(r->http, "Content-Type");
	if (!len || !body)
		return NULL;
	if (len > 4 && memcmp(body, "k8s", 4) == 0) {
		void *object;
		autobuf struct buf json = BUF_INIT(BUF_MAX_DEFAULT);
		if (api_decode_protobuf(body, len, &object, NULL) < 0)
			return NULL;
		api_encode(object, &json);
		api_unref(object);
		return read_tree(e, json.data, json.len);
	}
	if (type && strstr(type, "yaml")) {
		autobuf struct buf json = BUF_INIT(BUF_MAX_DEFAULT);
		return yaml_to_json_one(body, len, &json, NULL) < 0 ? NULL : read_tree(e, json.data, json.len);
	}
	return read_tree(e, body, len);
}

void audit_object(struct request *r, const void *object) {
	struct audit_event *e = r->audit;
	const struct meta_v1_object_meta *m = e ? api_metadata((void *)object) : NULL;
	if (!e)
		return;
	e->understood = true;
	const struct { const char *key, *text; } parts[] = {{"namespace", m ? m->namespace : NULL}, {"name", m ? m->name : NULL}, {"uid", m ? m->uid : NULL}, {"resourceVersion", m ? m->resource_version : NULL}};
	for (size_t i = 0; e->reference && i < array_len(parts); i++)
		if (!json_object_get(e->reference, parts[i].key))
			set_text(e->reference, parts[i].key, parts[i].text);
}

/* ---- events ---- */

/* False where it is lost, and must not be. */
static bool tell(struct audit_event *e, enum audit_stage stage, const char *name, bool answered) {
	char text[40];
	bool told = true;
	if (e->omit & stage)
		return true;
	json_t *event = json_pack("{s:s, s:s, s:s}", "kind", "Event", "apiVersion", "audit.k8s.io/v1", "level", audit_level_name(e->level));
	json_object_set(event, "auditID", json_object_get(e->head, "auditID"));
	json_object_set_new(event, "stage", json_string(name));
	json_object_update_missing(event, e->head);
	if (e->reference)
		json_object_set(event, "objectRef", e->reference);
	if (answered) {
		if (e->status)
			json_object_set(event, "responseStatus", e->status);
		if (e->request)
			json_object_set(event, "requestObject", e->request);
		if (e->response)
			json_object_set(event, "responseObject", e->response);
	}
	json_object_set_new(event, "requestReceivedTimestamp", json_string(time_text(e->received, text)));
	json_object_set_new(event, "stageTimestamp", json_string(time_text(stage == AUDIT_RECEIVED ? e->received : clock_wall(), text)));
	if (answered && e->annotations)
		json_object_set(event, "annotations", e->annotations);
	char *line = json_dumps(event, JSON_COMPACT);
	json_decref(event);
	if (!line)
		return true;
	autobytes struct bytes *bytes = bytes_new(line, strlen(line));
	free(line);
	metric_add(metric_label(&metrics[0]), 1);
	for (size_t i = 0; i < e->audit->backend_count; i++)
		told = audit_backend_tell(e->audit->backends[i], bytes) && told;
	return told;
}

static void end(void *arg) {
	struct audit_event *e = arg;
	if (!e->complete)
		tell(e, AUDIT_COMPLETE, "ResponseComplete", true);
	json_decref(e->head);
	json_decref(e->reference);
	json_decref(e->request);
	json_decref(e->response);
	json_decref(e->status);
	json_decref(e->annotations);
}

static json_t *head_of(struct request *r) {
	const char *query = http_query_string(r->http), *agent = http_header(r->http, "User-Agent");
	autofree char *uri = xprintf("%s%s%s", r->path, *query ? "?" : "", query);
	json_t *head = json_object();
	json_object_set_new(head, "auditID", json_string(r->audit_id));
	json_object_set_new(head, "requestURI", text_tree(uri));
	json_object_set_new(head, "verb", json_string(r->verb));
	json_object_set_new(head, "user", user_tree(r->user));
	json_object_set_new(head, "sourceIPs", addresses_of(r));
	set_text(head, "userAgent", agent);
	return head;
}

/* NULL: it is not to be told of. */
static struct audit_event *event_of(struct request *r) {
	struct audit *audit = r->server->audit;
	unsigned omit;
	bool managed;
	if (!audit)
		return NULL;
	enum audit_level level = audit_policy_judge(audit->policy, r, &omit, &managed);
	metric_add(metric_label(&metrics[1], audit_level_name(level)), 1);
	if (level == AUDIT_NONE)
		return NULL;
	struct audit_event *e = arena_new_type(r->arena, struct audit_event);
	*e = (struct audit_event){.audit = audit, .r = r, .level = level, .omit = omit, .omit_managed = managed, .is_long = request_is_long(r), .received = clock_wall()};
	e->head = head_of(r);
	e->reference = reference_of(r);
	r->audit = e;
	arena_defer(r->arena, end, e);
	return e;
}

int step_audit(struct request *r, struct error *err) {
	struct audit_event *e = event_of(r);
	if (!e || tell(e, AUDIT_RECEIVED, "RequestReceived", false))
		return 0;
	e->complete = true;
	r->audit = NULL;
	metric_add(metric_label(&metrics[2]), 1);
	request_respond_internal_text(r, "failed to store audit event");
	return REQUEST_TAKEN;
}

void audit_unauthenticated(struct request *r) {
	struct audit_event *e = event_of(r);
	if (e)
		e->stranger = e->complete = true;
}

void audit_decision(struct request *r, bool allowed, const char *reason) {
	audit_annotate(r, AUDIT_METADATA, "authorization.k8s.io/decision", allowed ? "allow" : "forbid");
	audit_annotate(r, AUDIT_METADATA, "authorization.k8s.io/reason", str_or(reason, ""));
}

void audit_annotate(struct request *r, enum audit_level level, const char *key, const char *value) {
	struct audit_event *e = r->audit;
	if (!e || level > e->level)
		return;
	if (!e->annotations)
		e->annotations = json_object();
	if (!json_object_get(e->annotations, key) && json_object_size(e->annotations) < MAX_ANNOTATIONS)
		json_object_set_new(e->annotations, key, text_tree(value));
}

bool audit_wants_response(const struct request *r) {
	return r->audit && r->audit->level == AUDIT_REQUEST_RESPONSE && r->is_resource;
}

void audit_response(struct request *r, const char *json, size_t len) {
	struct audit_event *e = r->audit;
	if (audit_wants_response(r) && !e->response)
		e->response = read_tree(e, json, len);
}

void audit_error(struct request *r, const struct error *err) {
	struct audit_event *e = r->audit;
	if (!e || e->status)
		return;
	autobuf struct buf json = BUF_INIT(1 << 20);
	status_encode(err, &json);
	e->status = json_loadb(json.data, json.len, 0, NULL);
	json_object_del(e->status, "kind");
	json_object_del(e->status, "apiVersion");
}

void audit_status(struct request *r, int code, const char *json, size_t len) {
	struct audit_event *e = r->audit;
	if (!e || e->status)
		return;
	e->status = json_loadb(json, len, 0, NULL);
	json_object_del(e->status, "kind");
	json_object_del(e->status, "apiVersion");
	if (e->status)
		json_object_set_new(e->status, "code", json_integer(code));
}

/* What was sent as an object, with its defaults; a patch as it is. */
static json_t *as_understood(const struct request *r, json_t *body, bool whole) {
	const struct api_type *type = !r->resource ? NULL : r->sub ? r->sub->type : r->resource->type;
	void *object;
	if (!whole || !type || r->resource->custom || api_from_json(type, body, NULL, &object, NULL) < 0)
		return json_incref(body);
	api_default(object);
	json_t *tree = api_to_json(type, object);
	api_unref(object);
	autofree char *version = str_empty(type->group) ? xstrdup(type->version) : xprintf("%s/%s", type->group, type->version);
	set_text(tree, "kind", type->kind);
	set_text(tree, "apiVersion", version);
	return tree;
}

void audit_finished(struct request *r, int code) {
	struct audit_event *e = r->audit;
	if (!e)
		return;
	if (!e->status)
		e->status = json_pack("{s:{}, s:i}", "metadata", "code", code);
	if (r->impersonator)
		json_object_set_new(e->head, "impersonatedUser", user_tree(r->user));
	if (r->impersonation)
		json_object_set_new(e->head, "authenticationMetadata", json_pack("{s:s}", "impersonationConstraint", r->impersonation));
	bool whole = strcmp(r->method, "POST") == 0 || strcmp(r->method, "PUT") == 0, part = strcmp(r->method, "PATCH") == 0 || strcmp(r->method, "DELETE") == 0;
	bool taken = whole ? e->understood : part && code != 403 && code != 415;
	/* Read once more, by who wants to see it: what was decoded has gone its way. */
	json_t *body = r->is_resource && taken && !e->stranger && e->level >= AUDIT_REQUEST ? body_tree(r, e) : NULL;
	if (body)
		e->request = as_understood(r, body, whole);
	json_decref(body);
	if (e->is_long || e->stranger) {
		tell(e, AUDIT_STARTED, "ResponseStarted", true);
		return;
	}
	e->complete = true;
	tell(e, AUDIT_COMPLETE, "ResponseComplete", true);
}
