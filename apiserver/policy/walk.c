/* SPDX-License-Identifier: Apache-2.0 */
/* A write past the policies in effect, and its refusal. */
#include "apiserver/policy/policy.h"
#include "apiserver/admission/admission.h"

#include <errno.h>

static void failed(const struct policy_visitor *v, const struct policy *policy, const struct policy_binding *binding, bool configured, const struct error *err) {
	if (policy->ignores_failure)
		return;
	autofree char *text = configured ? xstrdup(error_message(err)) : xprintf("failed to configure %s: %s", binding ? "binding" : "policy", error_message(err));
	v->fail(v->arg, policy, binding, configured, text);
}

static void walk_binding(struct judged *j, const struct policy *policy, const struct policy_binding *binding, const struct policy_visitor *v) {
	autoerror struct error err = {0};
	json_t *params = NULL;
	int r = policy_matches(j, &binding->match, false, &err);
	if (r == 0)
		return;
	if (r > 0)
		r = policy_params(j, policy, binding, &params, &err);
	if (r < 0) {
		failed(v, policy, binding, false, &err);
		return;
	}
	for (size_t i = 0; i < json_array_size(params); i++) {
		json_t *param = json_array_get(params, i);
		autoerror struct error why = {0};
		r = policy_conditions(j, policy, param, &why);
		if (r < 0)
			failed(v, policy, binding, true, &why);
		else if (r > 0)
			v->meet(v->arg, policy, binding, param);
	}
	json_decref(params);
}

void policy_walk(struct judged *j, const struct policy_set *set, const struct policy_visitor *v) {
	for (size_t i = 0; i < set->count; i++) {
		const struct policy_hook *hook = &set->hooks[i];
		autoerror struct error why = {0};
		int r = policy_matches(j, &hook->policy->match, true, &why);
		if (r < 0)
			failed(v, hook->policy, NULL, false, &why);
		for (size_t k = 0; r > 0 && k < hook->count; k++)
			walk_binding(j, hook->policy, &hook->bindings[k], v);
	}
}

static int code_of(const char *reason) {
	return strcmp(reason, "Forbidden") == 0 ? 403 : strcmp(reason, "Unauthorized") == 0 ? 401 : strcmp(reason, "RequestEntityTooLarge") == 0 ? 413 : 422;
}

int policy_refuse(struct error *err, const struct write *w, const char *reason, bool says_forbidden, char *const *messages, size_t count) {
	const struct resource *resource = w->resource;
	const char *name = admission_name(w);
	autofree char *named = str_empty(name) ? xprintf("%s is forbidden: ", resource->group_resource) : xprintf("%s \"%s\" is forbidden: ", resource->group_resource, name);
	int r = error_status(err, says_forbidden ? code_of(reason) : 403, reason, "%s%s", says_forbidden ? named : "", messages[0]);
	error_details(err, str_empty(resource->api->group) ? NULL : resource->api->group, resource->api->plural, name);
	for (size_t i = 0; i < count; i++)
		error_cause(err, "", "", "%s", messages[i]);
	return r;
}
