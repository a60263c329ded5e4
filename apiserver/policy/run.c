/* SPDX-License-Identifier: Apache-2.0 */
/* What the expressions of a policy see of a write, and what they come to. */
#include "apiserver/policy/policy.h"
#include "apiserver/admission/admission.h"
#include "apiserver/authz/authz.h"
#include "apiserver/custom/custom.h"
#include "apiserver/strategy/strategy.h"
#include "api/meta_v1.h"
#include "common/api/convert.h"

#include <errno.h>

#define WEBHOOKS_TOO 6 /* of those that are exempt */

/* ---- the write ---- */

bool judged_init(struct judged *j, struct write *w, bool policies) {
	static const struct {
		const char *group, *plural;
	} exempt[] = { /* the first of them from webhooks too */
		{"admissionregistration.k8s.io", "validatingadmissionpolicies"}, {"admissionregistration.k8s.io", "validatingadmissionpolicybindings"}, {"admissionregistration.k8s.io", "mutatingadmissionpolicies"},
		{"admissionregistration.k8s.io", "mutatingadmissionpolicybindings"}, {"admissionregistration.k8s.io", "validatingwebhookconfigurations"}, {"admissionregistration.k8s.io", "mutatingwebhookconfigurations"},
		{"authentication.k8s.io", "selfsubjectreviews"}, {"authentication.k8s.io", "tokenreviews"}, {"authorization.k8s.io", "localsubjectaccessreviews"}, {"authorization.k8s.io", "selfsubjectaccessreviews"},
		{"authorization.k8s.io", "selfsubjectrulesreviews"}, {"authorization.k8s.io", "subjectaccessreviews"},
	};
	for (size_t i = 0; i < array_len(exempt); i++)
		if ((policies || i < WEBHOOKS_TOO) && strcmp(resource_group(w->resource), exempt[i].group) == 0 && strcmp(w->resource->api->plural, exempt[i].plural) == 0)
			return false;
	bool create = w->operation == WRITE_CREATE || (w->operation == WRITE_UPDATE && w->created);
	*j = (struct judged){.w = w, .matched = w->resource, .operation = create ? "CREATE" : w->operation == WRITE_UPDATE ? "UPDATE" : w->operation == WRITE_DELETE ? "DELETE" : "CONNECT"};
	j->ns = w->resource->api->namespaced ? str_or(w->ns, "") : "";
	return true;
}

static void forget(json_t **tree) {
	json_decref(*tree);
	*tree = NULL;
}

static void changed(struct judged *j) {
	forget(&j->object);
	api_unref(j->body);
	j->body = NULL;
}

void judged_done(struct judged *j) {
	changed(j);
	api_unref(j->old_body);
	j->old_body = NULL;
	forget(&j->old);
	forget(&j->request);
	forget(&j->namespace);
}

const void *judged_object(struct judged *j) {
	struct write *w = j->w;
	/* What a deletion marks is the server's own doing. */
	if (!w->object || w->operation == WRITE_DELETE)
		return NULL;
	if (!w->body || !w->body->show)
		return w->object;
	return j->body ? j->body : (j->body = w->body->show(w->object));
}

const void *judged_old(struct judged *j) {
	struct write *w = j->w;
	if (!w->old || w->created)
		return NULL;
	if (!w->body || !w->body->show)
		return w->old;
	return j->old_body ? j->old_body : (j->old_body = w->body->show(w->old));
}

/* The object's type in the version in which it was matched. */
static const struct api_type *matched_type(const struct judged *j) {
	return j->w->body ? j->w->body->type : j->matched->type;
}

/* An object in the version in which it was matched. */
static json_t *tree_of(const struct judged *j, const void *object) {
	if (!object)
		return json_null();
	const struct resource *as = j->matched;
	if (as == j->w->resource || as->custom || j->w->body) {
		json_t *tree = api_to_json(api_type_of(object), object);
		if (as != j->w->resource && !j->w->body) {
			autofree char *version = xprintf("%s/%s", as->api->group, as->api->version);
			json_object_set_new(tree, "apiVersion", json_string(version));
		}
		return tree;
	}
	void *converted;
	if (api_convert(object, as->type, &converted, NULL) < 0)
		return api_to_json(api_type_of(object), object);
	json_t *tree = api_to_json(as->type, converted);
	api_unref(converted);
	return tree;
}

/* Takes the object, of the matched type. */
static int take_object(struct judged *j, void *object, struct error *err) {
	struct write *w = j->w;
	void *own = object;
	if (w->body && w->body->take) {
		int r = w->body->take(w, object, err);
		api_unref(object);
		changed(j);
		return r;
	}
	if (!w->body && w->resource->custom) {
		((struct custom_object *)object)->api_version = arena_printf(api_arena(object), "%s/%s", w->resource->api->group, w->resource->api->version);
	} else if (!w->body && j->matched != w->resource) {
		int r = api_convert(object, w->resource->type, &own, err);
		api_unref(object);
		if (r < 0)
			return r;
	}
	api_unref(w->object);
	w->object = own;
	changed(j);
	if (!w->body && w->resource->custom)
		return custom_process(NULL, w->resource, own, err);
	api_default(own);
	if (!w->body && w->strategy->normalize)
		w->strategy->normalize(own);
	return 0;
}

int judged_take(struct judged *j, json_t *tree, struct error *err) {
	const struct api_type *type = j->w->resource->custom && !j->w->body ? j->w->resource->type : matched_type(j);
	void *object;
	int r = api_from_json(type, tree, NULL, &object, err);
	return r < 0 ? r : take_object(j, object, err);
}

static json_t *kind_of(const struct judged *j, const struct resource *resource) {
	const struct api_type *body = j->w->body ? j->w->body->type : NULL;
	return json_pack("{s:s, s:s, s:s}", "group", body ? str_or(body->group, "") : resource_group(resource), "version", body ? body->version : resource->api->version, "kind", body ? body->kind : resource->api->kind);
}

static json_t *name_of(const struct resource *resource) {
	return json_pack("{s:s, s:s, s:s}", "group", resource_group(resource), "version", resource->api->version, "resource", resource->api->plural);
}

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

static json_t *user_info(const struct user *user) {
	json_t *info = json_object();
	if (!user)
		return info;
	set_text(info, "username", user->name);
	set_text(info, "uid", user->uid);
	if (user->groups && *user->groups)
		json_object_set_new(info, "groups", texts(user->groups));
	json_t *extra = user->extra_count ? json_object() : NULL;
	for (size_t i = 0; i < user->extra_count; i++)
		json_object_set_new(extra, user->extra[i].key, texts(user->extra[i].values));
	if (extra)
		json_object_set_new(info, "extra", extra);
	return info;
}

static json_t *options_of(const struct judged *j) {
	const struct write *w = j->w;
	if (w->operation == WRITE_CONNECT)
		return json_null();
	bool delete = w->operation == WRITE_DELETE;
	json_t *options = delete && w->options ? api_to_json(api_type_of(w->options), w->options) : json_object();
	json_object_set_new(options, "kind", json_string(delete ? "DeleteOptions" : strcmp(j->operation, "CREATE") == 0 ? "CreateOptions" : "UpdateOptions"));
	json_object_set_new(options, "apiVersion", json_string("meta.k8s.io/v1"));
	if (w->dry_run)
		json_object_set_new(options, "dryRun", json_pack("[s]", "All"));
	if (!delete) {
		set_text(options, "fieldManager", http_query(w->r->http, "fieldManager"));
		set_text(options, "fieldValidation", http_query(w->r->http, "fieldValidation"));
	}
	return options;
}

static json_t *request_of(const struct judged *j) {
	const struct write *w = j->w;
	json_t *request = json_pack("{s:s, s:o, s:o, s:o, s:o, s:s, s:o, s:b, s:o}", "uid", "", "kind", kind_of(j, j->matched), "resource", name_of(j->matched), "requestKind", kind_of(j, w->resource), "requestResource", name_of(w->resource), "operation",
		j->operation, "userInfo", user_info(w->r->user), "dryRun", w->dry_run, "options", options_of(j));
	set_text(request, "subResource", w->subresource);
	set_text(request, "requestSubResource", w->subresource);
	const struct meta_v1_object_meta *meta = w->object ? api_metadata(w->object) : NULL;
	/* Who deletes a collection names nobody. */
	if (strcmp(w->r->verb, "deletecollection") != 0)
		set_text(request, "name", w->name ? w->name : meta ? meta->name : NULL);
	set_text(request, "namespace", j->ns);
	return request;
}

/* The namespace, with what of its metadata policies may see. */
static int namespace_of(const struct judged *j, json_t **ret, struct error *err) {
	static const char *const hidden[] = {"managedFields", "ownerReferences", "selfLink"};
	if (!*j->ns) {
		*ret = json_null();
		return 0;
	}
	void *ns = registry_read(j->w->r->server->registry, "", "namespaces", "", j->ns);
	if (!ns)
		return error_not_found(err, registry_find(j->w->r->server->registry, "", "v1", "namespaces"), j->ns);
	json_t *tree = api_to_json(api_type_of(ns), ns);
	api_unref(ns);
	for (size_t i = 0; i < array_len(hidden); i++)
		json_object_del(json_object_get(tree, "metadata"), hidden[i]);
	json_object_del(tree, "kind");
	json_object_del(tree, "apiVersion");
	*ret = tree;
	return 0;
}

int judged_trees(struct judged *j, struct error *err) {
	if (j->made_for != j->matched) {
		forget(&j->object);
		forget(&j->old);
		forget(&j->request);
		j->made_for = j->matched;
	}
	if (!j->object)
		j->object = tree_of(j, judged_object(j));
	if (!j->old)
		j->old = tree_of(j, judged_old(j));
	if (!j->request)
		j->request = request_of(j);
	return j->namespace ? 0 : namespace_of(j, &j->namespace, err);
}

/* ---- the authorizer ---- */

static bool authorize(void *arg, const struct cel_access *access, char **ret_reason, char **ret_error) {
	const struct judged *j = arg;
	struct arena *arena = j->w->arena;
	const char *groups[] = {"system:serviceaccounts", NULL, "system:authenticated", NULL};
	struct user account = {.groups = groups};
	const char *reason = NULL;
	if (access->user_name) {
		account.name = arena_printf(arena, "system:serviceaccount:%s:%s", access->user_namespace, access->user_name);
		groups[1] = arena_printf(arena, "system:serviceaccounts:%s", access->user_namespace);
	}
	const struct authz_attributes attributes = {
		.user = access->user_name ? &account : j->w->r->user, .verb = access->verb, .is_resource = !access->path, .group = access->group, .version = "*", .ns = access->namespace, .resource = access->resource,
		.subresource = access->subresource, .name = access->name, .path = access->path, .field_selector = access->field_selector, .label_selector = access->label_selector,
	};
	bool allowed = !asks_lacking(&j->w->asks) && authz_decide(j->w->r->server->authz, &attributes, &j->w->asks, arena, &reason) == AUTHZ_ALLOW;
	*ret_reason = xstrdup(reason ? reason : "");
	return allowed;
}

/* ---- variables ---- */

static bool get_variable(struct cel_run *run, void *arg, const char *field, struct cel_value *ret) {
	struct policy_run *pr = arg;
	const struct policy *p = pr->policy;
	/* The last of a name holds. */
	for (uint32_t i = p->variable_list->len; i--;) {
		struct variable_state *state = &pr->variables[i];
		if (!str_equal(p->variable_list->items[i].name, field))
			continue;
		if (!state->known && !state->under_way) {
			autoerror struct error err = {0};
			state->under_way = true;
			int r = p->variables.items[i].program ? cel_evaluate(p->variables.items[i].program, run, pr->bindings, pr->count, &state->value, &err) : error_set(&err, EINVAL, "%s", p->variables.items[i].error);
			if (r < 0)
				state->value = (struct cel_value){.kind = CEL_ERROR, .message = arena_printf(pr->j->w->arena, "composited variable \"%s\" fails to %s: %s", field, p->variables.items[i].program ? "evaluate" : "compile", error_message(&err))};
			state->known = true;
		}
		if (!state->known)
			return false;
		*ret = state->value;
		return true;
	}
	return false;
}

/* ---- evaluation ---- */

static void bind_value(struct policy_run *pr, const char *name, struct cel_value value) {
	pr->bindings[pr->count++] = (struct cel_binding){name, value};
}

int policy_run_start(struct policy_run *pr, struct judged *j, const struct policy *policy, json_t *params, uint64_t budget, struct error *err) {
	*pr = (struct policy_run){0};
	int r = judged_trees(j, err);
	if (r < 0)
		return r;
	*pr = (struct policy_run){.j = j, .policy = policy, .params = params, .run = cel_run_new(budget)};
	struct write *w = j->w;
	const struct cel_access access = {.group = resource_group(w->resource), .resource = w->resource->api->plural, .subresource = w->subresource, .namespace = j->ns, .name = w->name};
	pr->variables = policy->variable_list->len ? xcalloc(policy->variable_list->len, sizeof(*pr->variables)) : NULL;
	bind_value(pr, "object", cel_from_json(pr->run, j->object, NULL));
	bind_value(pr, "oldObject", cel_from_json(pr->run, j->old, NULL));
	bind_value(pr, "request", cel_from_json(pr->run, j->request, NULL));
	bind_value(pr, "namespaceObject", cel_from_json(pr->run, j->namespace, NULL));
	bind_value(pr, "params", cel_from_json(pr->run, params, NULL));
	bind_value(pr, "authorizer", cel_authorizer(pr->run, authorize, j));
	bind_value(pr, "authorizer.requestResource", cel_resource_check(pr->run, authorize, j, &access));
	bind_value(pr, "variables", cel_lazy(pr->run, get_variable, pr));
	return 0;
}

void policy_run_end(struct policy_run *pr) {
	cel_run_free(pr->run);
	free(pr->variables);
	*pr = (struct policy_run){0};
}

int policy_evaluate(struct policy_run *pr, const struct expression *expression, struct cel_value *ret, struct error *err) {
	if (!expression->program)
		return error_set(err, EINVAL, "compilation error: %s", str_or(expression->error, ""));
	autoerror struct error why = {0};
	int64_t began = clock_monotonic_ns();
	int r = cel_evaluate(expression->program, pr->run, pr->bindings, pr->count, ret, &why);
	policy_measure_cel(false, began);
	if (r == -EDQUOT && !cel_run_left(pr->run))
		return error_set(err, EDQUOT, "validation failed due to running out of cost budget, no further validation rules will be run");
	if (r < 0)
		return error_set(err, EINVAL, "expression '%s' resulted in error: %s", expression->text, error_message(&why));
	return 0;
}

int policy_conditions(struct judged *j, const struct policy *policy, json_t *params, struct error *err) {
	autoerror struct error first = {0};
	if (!policy->conditions.count)
		return 1;
	autopolicyrun struct policy_run pr = {0};
	int r = policy_run_start(&pr, j, policy, params, CEL_MATCH_CONDITIONS_BUDGET, err);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < policy->conditions.count; i++) {
		struct cel_value value;
		autoerror struct error why = {0};
		r = policy_evaluate(&pr, &policy->conditions.items[i], &value, &why);
		if (r == 0 && value.kind == CEL_BOOL && !value.b)
			return 0;
		if (r < 0 && !first.errnum)
			error_move(&first, &why);
		if (r == -EDQUOT)
			break;
	}
	return first.errnum ? error_move(err, &first) : 1;
}
