/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/rest/review.h"
#include "apiserver/authn/authn.h"
#include "apiserver/authz/authz.h"
#include "apiserver/rest/body.h"
#include "apiserver/rest/input.h"
#include "apiserver/rest/subresource.h"
#include "api/authentication_v1.h"
#include "api/authorization_v1.h"
#include "api/core_v1.h"
#include "api/rbac_v1.h"

#include <errno.h>

/* ---- access reviews ---- */

static void fill_resource(struct authz_attributes *a, const struct authorization_v1_resource_attributes *attributes) {
	a->is_resource = true;
	a->verb = str_or(attributes->verb, "");
	a->group = str_or(attributes->group, "");
	a->version = str_or(attributes->version, "");
	a->ns = attributes->namespace;
	a->resource = str_or(attributes->resource, "");
	a->subresource = attributes->subresource;
	a->name = attributes->name;
	a->fields = attributes->field_selector;
	a->labels = attributes->label_selector;
}

static void fill_path(struct authz_attributes *a, const struct authorization_v1_non_resource_attributes *attributes) {
	a->is_resource = false;
	a->verb = str_or(attributes->verb, "");
	a->path = str_or(attributes->path, "");
}

static void decide(struct request *r, const struct authz_attributes *a, struct authorization_v1_subject_access_review_status *status, struct arena *arena) {
	const char *reason = "";
	enum authz_decision decision = authz_decide(r->server->authz, a, &r->asks, arena, &reason);
	status->allowed = decision == AUTHZ_ALLOW;
	status->denied = decision == AUTHZ_DENY;
	status->reason = reason;
}

/* ---- what is asked must be clear ---- */

static void refuse_path(const struct authorization_v1_non_resource_attributes *path, const char *why, struct error *err) {
	autobuf struct buf value = BUF_INIT(64 << 10);
	buf_append_str(&value, "{\"Path\":");
	buf_append_json_string(&value, str_or(path->path, ""), strlen(str_or(path->path, "")));
	buf_append_str(&value, ",\"Verb\":");
	buf_append_json_string(&value, str_or(path->verb, ""), strlen(str_or(path->verb, "")));
	buf_append_char(&value, '}');
	error_cause(err, "FieldValueInvalid", "spec.nonResourceAttributes", "Invalid value: %s: %s", value.len ? value.data : "{}", why);
}

static void check_attributes(const struct authorization_v1_resource_attributes *resource, const struct authorization_v1_non_resource_attributes *path, struct error *err) {
	if (resource && path)
		refuse_path(path, "cannot be specified in combination with resourceAttributes", err);
	else if (!resource && !path)
		error_cause(err, "FieldValueInvalid", "spec.resourceAttributes", "Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified");
}

/* `but_namespace`: which a local review has. */
static void check_metadata(const struct meta_v1_object_meta *meta, bool but_namespace, struct error *err) {
	autobuf struct buf rest = BUF_INIT(BUF_MAX_DEFAULT), whole = BUF_INIT(BUF_MAX_DEFAULT);
	struct meta_v1_object_meta copy = *meta;
	memset(&copy.managed_fields, 0, sizeof(copy.managed_fields));
	if (but_namespace)
		copy.namespace = NULL;
	api_encode_json(&meta_v1_object_meta_type, &copy, &rest);
	if (rest.len == 2)
		return;
	api_encode_json(&meta_v1_object_meta_type, meta, &whole);
	error_cause(err, "FieldValueInvalid", "metadata", "Invalid value: %.*s: must be empty%s", (int)whole.len, (const char *)whole.data, but_namespace ? " except for namespace" : "");
}

/* Reviews are refused without their kind. */
static int review_invalid(struct error *err) {
	return error_has_causes(err) ? error_invalid(err, "authorization.k8s.io", "", "") : 0;
}

static int self_access(struct request *r, void *object, struct error *err) {
	struct authorization_v1_self_subject_access_review *review = object;
	struct authz_attributes a = {.user = r->user};
	check_attributes(review->spec.resource_attributes, review->spec.non_resource_attributes, err);
	review_check_selectors(review->spec.resource_attributes, err);
	check_metadata(&review->metadata, false, err);
	int rc = review_invalid(err);
	if (rc < 0)
		return rc;
	if (review->spec.resource_attributes)
		fill_resource(&a, review->spec.resource_attributes);
	else if (review->spec.non_resource_attributes)
		fill_path(&a, review->spec.non_resource_attributes);
	review->status = (struct authorization_v1_subject_access_review_status){0};
	decide(r, &a, &review->status, api_arena(object));
	if (review->spec.resource_attributes)
		review->status.evaluation_error = review_ignored_selectors(review->spec.resource_attributes, api_arena(object));
	return 0;
}

static void check_access(const struct authorization_v1_subject_access_review_spec *spec, struct error *err) {
	check_attributes(spec->resource_attributes, spec->non_resource_attributes, err);
	if (str_empty(spec->user) && !spec->groups.len)
		error_cause(err, "FieldValueInvalid", "spec.user", "Invalid value: \"\": at least one of user or group must be specified");
	review_check_selectors(spec->resource_attributes, err);
}

static int access_of(struct request *r, struct authorization_v1_subject_access_review_spec *spec, struct authorization_v1_subject_access_review_status *status, struct arena *arena) {
	struct user *user = arena_new_type(arena, struct user);
	const char **groups = arena_calloc(arena, spec->groups.len + 1, sizeof(*groups));
	for (uint32_t i = 0; i < spec->groups.len; i++)
		groups[i] = spec->groups.items[i];
	user->name = str_or(spec->user, "");
	user->uid = spec->uid;
	user->groups = groups;
	user->extra = arena_calloc(arena, spec->extra.len + 1, sizeof(*user->extra));
	for (uint32_t i = 0; i < spec->extra.len; i++) {
		const struct api_string_list *list = &spec->extra.items[i].value.list;
		const char **values = arena_calloc(arena, list->len + 1, sizeof(*values));
		memcpy(values, list->items, list->len * sizeof(*values));
		user->extra[user->extra_count++] = (struct user_extra){.key = spec->extra.items[i].key, .values = values};
	}
	struct authz_attributes a = {.user = user};
	if (spec->resource_attributes)
		fill_resource(&a, spec->resource_attributes);
	else if (spec->non_resource_attributes)
		fill_path(&a, spec->non_resource_attributes);
	*status = (struct authorization_v1_subject_access_review_status){0};
	decide(r, &a, status, arena);
	if (spec->resource_attributes)
		status->evaluation_error = review_ignored_selectors(spec->resource_attributes, arena);
	return 0;
}

static int subject_access(struct request *r, void *object, struct error *err) {
	struct authorization_v1_subject_access_review *review = object;
	check_access(&review->spec, err);
	check_metadata(&review->metadata, false, err);
	int rc = review_invalid(err);
	return rc < 0 ? rc : access_of(r, &review->spec, &review->status, api_arena(object));
}

static int local_access(struct request *r, void *object, struct error *err) {
	struct authorization_v1_local_subject_access_review *review = object;
	struct authorization_v1_resource_attributes *attributes = review->spec.resource_attributes;
	check_access(&review->spec, err);
	check_metadata(&review->metadata, true, err);
	if (attributes && !str_equal(str_or(attributes->namespace, ""), r->ns))
		error_cause(err, "FieldValueInvalid", "spec.resourceAttributes.namespace", "Invalid value: \"%s\": must match metadata.namespace", str_or(attributes->namespace, ""));
	if (review->spec.non_resource_attributes)
		refuse_path(review->spec.non_resource_attributes, "disallowed on this kind of request", err);
	int rc = review_invalid(err);
	return rc < 0 ? rc : access_of(r, &review->spec, &review->status, api_arena(object));
}

struct rules {
	struct authorization_v1_subject_rules_review_status *status;
	struct arena *arena;
};

static void copy_list(struct arena *arena, struct api_string_list *to, const struct api_string_list *from) {
	for (uint32_t i = 0; i < from->len; i++)
		api_string_list_add(arena, to, from->items[i]);
}

static bool add_rule(const struct rbac_v1_policy_rule *rule, void *arg) {
	struct rules *rules = arg;
	if (rule->resources.len) {
		struct authorization_v1_resource_rule *to = api_list_add(rules->arena, &rules->status->resource_rules);
		copy_list(rules->arena, &to->verbs, &rule->verbs);
		copy_list(rules->arena, &to->api_groups, &rule->api_groups);
		copy_list(rules->arena, &to->resources, &rule->resources);
		copy_list(rules->arena, &to->resource_names, &rule->resource_names);
	}
	if (rule->non_resource_urls.len) {
		struct authorization_v1_non_resource_rule *to = api_list_add(rules->arena, &rules->status->non_resource_rules);
		copy_list(rules->arena, &to->verbs, &rule->verbs);
		copy_list(rules->arena, &to->non_resource_urls, &rule->non_resource_urls);
	}
	return true;
}

static int self_rules(struct request *r, void *object, struct error *err) {
	struct authorization_v1_self_subject_rules_review *review = object;
	struct arena *arena = api_arena(object);
	if (str_empty(review->spec.namespace))
		return error_bad_request(err, "no namespace on request");
	const char *ns = review->spec.namespace;
	/* The answer is an object of its own. */
	review->metadata = (struct meta_v1_object_meta){0};
	review->spec.namespace = NULL;
	review->status = (struct authorization_v1_subject_rules_review_status){0};
	struct rules rules = {&review->status, arena};
	const char *missing = authz_rules(r->server->authz, r->user, ns, arena, add_rule, &rules);
	review->status.incomplete = missing;
	review->status.evaluation_error = missing;
	return 0;
}

/* ---- who am I, and whose token is this ---- */

static void fill_user(struct authentication_v1_user_info *info, const struct user *user, struct arena *arena) {
	*info = (struct authentication_v1_user_info){.username = arena_strdup(arena, user->name), .uid = arena_strdup(arena, user->uid)};
	for (const char *const *g = user->groups; g && *g; g++)
		api_string_list_add(arena, &info->groups, *g);
	for (size_t i = 0; i < user->extra_count; i++) {
		__typeof__(info->extra.items) entry = api_list_add(arena, &info->extra);
		entry->key = arena_strdup(arena, user->extra[i].key);
		struct api_string_list values = {0};
		for (const char *const *v = user->extra[i].values; v && *v; v++)
			api_string_list_add(arena, &values, *v);
		entry->value.list = values;
	}
}

static int self_review(struct request *r, void *object, struct error *err) {
	struct authentication_v1_self_subject_review *review = object;
	fill_user(&review->status.user_info, r->user, api_arena(object));
	review->metadata = (struct meta_v1_object_meta){.creation_timestamp = api_time_now()};
	return 0;
}

static int token_review(struct request *r, void *object, struct error *err) {
	struct authentication_v1_token_review *review = object;
	struct arena *arena = api_arena(object);
	if (str_empty(review->spec.token))
		return error_bad_request(err, "token is required for TokenReview in authentication");
	const char **audiences = arena_calloc(arena, review->spec.audiences.len + 1, sizeof(*audiences));
	for (uint32_t i = 0; i < review->spec.audiences.len; i++)
		audiences[i] = review->spec.audiences.items[i];
	review->status = (struct authentication_v1_token_review_status){0};
	struct user *user = NULL;
	const char *const *good = NULL;
	autoerror struct error why = {0};
	int rc = authn_token(r->server->authn, review->spec.token, audiences, arena, &r->asks, &user, &good, &why);
	if (rc == 1) {
		review->status.authenticated = true;
		fill_user(&review->status.user, user, arena);
		for (; review->spec.audiences.len && good && *good; good++)
			api_string_list_add(arena, &review->status.audiences, *good);
		/* Who does not say for which audience asks for this server's. */
		const struct apiserver_options *o = r->server->options;
		const struct flag_list *own = o->api_audiences.len ? &o->api_audiences : &o->service_account_issuer;
		size_t own_count = o->api_audiences.len ? own->len : min_of(own->len, (size_t)1);
		for (size_t i = 0; !review->spec.audiences.len && i < own_count; i++)
			api_string_list_add(arena, &review->status.audiences, own->items[i]);
	} else if (rc == 0) {
		review->status.error = "invalid bearer token";
	} else {
		review->status.error = arena_printf(arena, "[invalid bearer token, %s]", error_message(&why));
	}
	return 0;
}

static const struct review_row {
	const char *plural;
	int (*review)(struct request *r, void *object, struct error *err);
} reviews[] = {
	{"selfsubjectaccessreviews", self_access},
	{"subjectaccessreviews", subject_access},
	{"localsubjectaccessreviews", local_access},
	{"selfsubjectrulesreviews", self_rules},
	{"selfsubjectreviews", self_review},
	{"tokenreviews", token_review},
};

/* A review whose answer others must be asked for. */
struct waiting {
	struct request *r;
	void *object;
};

static int answer_review(struct request *r, void *take_object, struct error *err);

static void run_again(void *arg) {
	struct waiting *waiting = arg;
	autoerror struct error err = {0};
	if (answer_review(waiting->r, waiting->object, &err) < 0)
		request_fail(waiting->r, &err);
}

static void on_answered(void *arg) {
	struct waiting *waiting = arg;
	http_continue(waiting->r->http, run_again, waiting);
}

static int answer_review(struct request *r, void *take_object, struct error *err) {
	int rc = -ENOENT;
	for (size_t i = 0; i < array_len(reviews); i++)
		if (strcmp(reviews[i].plural, r->plural) == 0)
			rc = reviews[i].review(r, take_object, err);
	if (asks_lacking(&r->asks)) {
		struct waiting *waiting = arena_new_type(r->arena, struct waiting);
		*waiting = (struct waiting){r, take_object};
		asks_start(&r->asks, on_answered, waiting);
		return REQUEST_TAKEN;
	}
	if (rc == 0)
		request_respond_object(r, 201, r->resource->type, take_object);
	api_unref(take_object);
	return rc < 0 ? rc : REQUEST_TAKEN;
}

int review_handle(struct request *r, struct error *err) {
	if (strcmp(r->plural, "componentstatuses") == 0)
		return component_statuses_handle(r, err);
	if (strcmp(r->verb, "create") != 0)
		return error_method_not_allowed(err);
	if (strcmp(r->plural, "bindings") == 0)
		return rest_create_binding(r, err);
	for (size_t i = 0; i < array_len(reviews); i++) {
		if (strcmp(reviews[i].plural, r->plural) != 0)
			continue;
		int rc = request_parse_write_options(r, err);
		void *object;
		if (rc == 0)
			rc = request_decode_body(r, r->resource->type, &object, err);
		if (rc < 0)
			return rc;
		rc = input_check_namespace(r->resource, r->ns, api_metadata(object), err);
		if (rc < 0) {
			api_unref(object);
			return rc;
		}
		autofree char *api_version = xprintf("%s/%s", r->resource->api->group, r->resource->api->version);
		write_sent_fields(r, api_version, "", object);
		return body_admit(r, &(struct body_admission){r->resource, NULL, NULL, WRITE_CREATE, answer_review}, object);
	}
	return error_method_not_allowed(err);
}
