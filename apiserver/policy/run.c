/* SPDX-License-Identifier: Apache-2.0 */
/* What the expressions of a policy see of a write, and what they come to. */
#include "apiserver/policy/policy.h"
#include "apiserver/admission/admission.h"
#include "apiserver/authz/authz.h"
#include "apiserver/custom/custom.h"
#include "api/meta_v1.h"
#include "common/api/convert.h"

#include <errno.h>

/* ---- the write ---- */

bool judged_init(struct judged *j, struct write *w) {
	static const struct {
		const char *group, *plural;
	} exempt[] = {
		{"admissionregistration.k8s.io", "validatingadmissionpolicies"}, {"admissionregistration.k8s.io", "validatingadmissionpolicybindings"}, {"admissionregistration.k8s.io", "mutatingadmissionpolicies"},
		{"admissionregistration.k8s.io", "mutatingadmissionpolicybindings"}, {"admissionregistration.k8s.io", "validatingwebhookconfigurations"}, {"admissionregistration.k8s.io", "mutatingwebhookconfigurations"},
		{"authentication.k8s.io", "selfsubjectreviews"}, {"authentication.k8s.io", "tokenreviews"}, {"authorization.k8s.io", "localsubjectaccessreviews"}, {"authorization.k8s.io", "selfsubjectaccessreviews"},
		{"authorization.k8s.io", "selfsubjectrulesreviews"}, {"authorization.k8s.io", "subjectaccessreviews"},
	};
	for (size_t i = 0; i < array_len(exempt); i++)
		if (strcmp(resource_group(w->resource), exempt[i].group) == 0 && strcmp(w->resource->api->plural, exempt[i].plural) == 0)
			return false;
	/* A subresource of a kind of its own is not what the write holds. */
	const struct api_subresource *sub = w->subresource ? api_resource_subresource(w->resource->api, w->subresource) : NULL;
	if (sub && sub->type != w->resource->type)
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

void judged_changed(struct judged *j) {
	forget(&j->object);
}

void judged_done(struct judged *j) {
	forget(&j->object);
	forget(&j->old);
	forget(&j->request);
	forget(&j->namespace);
}

/* An object in the version in which it was matched. */
static json_t *tree_of(const struct judged *j, const void *object) {
	if (!object)
		return json_null();
	const struct resource *as = j->matched;
	if (as == j->w->resource || as->custom) {
		json_t *tree = api_to_json(api_type_of(object), object);
		if (as != j->w->resource) {
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

static json_t *kind_of(const struct resource *resource) {
	return json_pack("{s:s, s:s, s:s}", "group", resource_group(resource), "version", resource->api->version, "kind", resource->api->kind);
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
	json_t *options = w->operation == WRITE_DELETE && w->delete_options_json ? json_loads(w->delete_options_json, 0, NULL) : NULL;
	if (!json_is_object(options)) {
		json_decref(options);
		options = json_object();
	}
	json_object_set_new(options, "kind", json_string(w->operation == WRITE_DELETE ? "DeleteOptions" : strcmp(j->operation, "CREATE") == 0 ? "CreateOptions" : "UpdateOptions"));
	json_object_set_new(options, "apiVersion", json_string("meta.k8s.io/v1"));
	if (w->dry_run)
		json_object_set_new(options, "dryRun", json_pack("[s]", "All"));
	set_text(options, "fieldManager", w->r->field_manager);
	return options;
}

static json_t *request_of(const struct judged *j) {
	const struct write *w = j->w;
	json_t *request = json_pack("{s:s, s:o, s:o, s:o, s:o, s:s, s:o, s:b, s:o}", "uid", "", "kind", kind_of(j->matched), "resource", name_of(j->matched), "requestKind", kind_of(w->resource), "requestResource", name_of(w->resource), "operation",
		j->operation, "userInfo", user_info(w->r->user), "dryRun", w->dry_run, "options", options_of(j));
	set_text(request, "subResource", w->subresource);
	set_text(request, "requestSubResource", w->subresource);
	set_text(request, "name", w->name ? w->name : w->object ? api_metadata(w->object)->name : NULL);
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

static int make_trees(struct judged *j, struct error *err) {
	if (j->made_for != j->matched) {
		forget(&j->object);
		forget(&j->old);
		forget(&j->request);
		j->made_for = j->matched;
	}
	if (!j->object)
		j->object = tree_of(j, j->w->operation == WRITE_DELETE ? NULL : j->w->object);
	if (!j->old)
		j->old = tree_of(j, j->w->created ? NULL : j->w->old);
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
		.subresource = access->subresource, .name = access->name, .path = access->path,
	};
	bool allowed = authz_decide(j->w->r->server->authz, &attributes, arena, &reason) == AUTHZ_ALLOW;
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
	int r = make_trees(j, err);
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
	int r = cel_evaluate(expression->program, pr->run, pr->bindings, pr->count, ret, &why);
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
