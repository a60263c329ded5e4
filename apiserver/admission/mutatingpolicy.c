/* SPDX-License-Identifier: Apache-2.0 */
/* MutatingAdmissionPolicy: changes objects by what the expressions of a policy come to, an apply or a JSON patch. */
#include "apiserver/admission/admission.h"
#include "apiserver/custom/custom.h"
#include "apiserver/policy/policy.h"
#include "api/meta_v1.h"
#include "common/api/patch/apply.h"
#include "common/api/patch/patch.h"

#include <errno.h>

struct refusals {
	char **messages;
	size_t count;
};

static void refuse(struct refusals *all, const struct policy *policy, const struct policy_binding *binding, const char *message) {
	if (policy->ignores_failure)
		return;
	all->messages = xreallocarray(all->messages, all->count + 1, sizeof(*all->messages));
	all->messages[all->count++] = binding ? xprintf("policy '%s' with binding '%s' denied request: %s", policy->name, binding->name, message) : xprintf("policy \"%s\" denied request: %s", policy->name, message);
}

/* ---- one mutation ---- */

static int apply_json_patch(const struct cel_value *value, json_t *target, json_t **ret, struct error *err) {
	json_t *patch = cel_to_json(value);
	if (!patch)
		return error_set(err, EINVAL, "JSONPatch: a value cannot be told in JSON");
	int r = patch_json(target, patch, ret, err);
	json_decref(patch);
	return r;
}

static int apply_configuration(const struct write *w, const struct cel_value *value, json_t *target, json_t **ret, struct error *err) {
	json_t *part = cel_to_json(value);
	if (!json_is_object(part)) {
		json_decref(part);
		return error_set(err, EINVAL, "invalid ApplyConfiguration: a value cannot be told in JSON");
	}
	const struct managed_options options = {.type = w->resource->custom ? NULL : w->resource->type, .schema = w->resource->custom ? w->resource->custom->schema : NULL};
	int r = managed_merge(&options, target, part, ret, err);
	json_decref(part);
	return r;
}

/* The tree as the object that is written from now on. */
static int take(struct write *w, json_t *tree, struct error *err) {
	void *object;
	int r = api_from_json(w->resource->type, tree, NULL, &object, err);
	if (r < 0)
		return r;
	api_unref(w->object);
	w->object = object;
	if (w->resource->custom)
		return custom_process(NULL, w->resource, object, err);
	api_default(object);
	return 0;
}

static int mutate_once(struct judged *j, const struct policy *policy, json_t *params, uint32_t i, struct error *err) {
	const struct admissionregistration_v1_mutating_admission_policy *object = policy->object;
	struct write *w = j->w;
	autopolicyrun struct policy_run pr = {0};
	struct cel_value value;
	int r = policy_run_start(&pr, j, policy, params, CEL_REQUEST_BUDGET, err);
	if (r == 0)
		r = policy_evaluate(&pr, &policy->mutations.items[i], &value, err);
	if (r < 0)
		return r;
	json_t *target = api_to_json(api_type_of(w->object), w->object), *result = NULL;
	bool json = str_equal(object->spec.mutations.items[i].patch_type, "JSONPatch");
	r = json ? apply_json_patch(&value, target, &result, err) : apply_configuration(w, &value, target, &result, err);
	json_decref(target);
	if (r < 0)
		return json ? r : error_context(err, "error applying patch");
	r = take(w, result, err);
	json_decref(result);
	judged_changed(j);
	return r;
}

/* ---- policies ---- */

static void run_binding(struct judged *j, struct refusals *all, const struct policy *policy, const struct policy_binding *binding, bool *ret_ran) {
	autoerror struct error err = {0};
	json_t *params = NULL;
	int r = policy_matches(j, &binding->match, false, &err);
	if (r == 0)
		return;
	if (r > 0)
		r = policy_params(j, policy, binding, &params, &err);
	if (r < 0) {
		autofree char *text = xprintf("failed to configure binding: %s", error_message(&err));
		refuse(all, policy, binding, text);
		return;
	}
	for (size_t p = 0; p < json_array_size(params); p++) {
		json_t *param = json_array_get(params, p);
		autoerror struct error why = {0};
		r = policy_conditions(j, policy, param, &why);
		if (r < 0)
			refuse(all, policy, binding, error_message(&why));
		for (uint32_t i = 0; r > 0 && i < policy->mutations.count; i++) {
			autoerror struct error wrong = {0};
			*ret_ran = true;
			if (mutate_once(j, policy, param, i, &wrong) < 0)
				refuse(all, policy, binding, error_message(&wrong));
		}
	}
	json_decref(params);
}

/* One pass over all policies, or, the second time, over those that want to be asked again. */
static void run_all(struct judged *j, const struct policy_set *set, bool again, struct refusals *all, bool *ret_reinvoke) {
	for (size_t i = 0; i < set->count; i++) {
		const struct policy_hook *hook = &set->hooks[i];
		const struct admissionregistration_v1_mutating_admission_policy *object = hook->policy->object;
		bool if_needed = str_equal(object->spec.reinvocation_policy, "IfNeeded"), ran = false;
		if (again && !if_needed)
			continue;
		autoerror struct error why = {0};
		int r = policy_matches(j, &hook->policy->match, true, &why);
		if (r < 0) {
			autofree char *text = xprintf("failed to configure policy: %s", error_message(&why));
			refuse(all, hook->policy, NULL, text);
		}
		for (size_t k = 0; r > 0 && k < hook->count; k++)
			run_binding(j, all, hook->policy, &hook->bindings[k], &ran);
		*ret_reinvoke |= if_needed && ran;
	}
}

static int admit(struct write *w, struct error *err) {
	autopolicies struct policy_set *set = w->object && w->operation != WRITE_DELETE ? policy_set_get(w->r->server, true) : NULL;
	autojudged struct judged j = {0};
	if (!set || !judged_init(&j, w))
		return 0;
	struct refusals all = {0};
	bool reinvoke = false, ignored = false;
	void *before = api_ref(w->object);
	run_all(&j, set, false, &all, &reinvoke);
	/* Where something changed, those that want to know are asked once more. */
	if (!all.count && reinvoke && w->object != before)
		run_all(&j, set, true, &all, &ignored);
	api_unref(before);
	if (!all.count)
		return 0;
	error_forbidden(err, w->resource, admission_name(w), "%s", all.messages[0]);
	free(err->message);
	err->message = xstrdup(all.messages[0]);
	free(err->reason);
	err->reason = xstrdup("Invalid");
	for (size_t i = 0; i < all.count; i++) {
		error_cause(err, "", "", "%s", all.messages[i]);
		free(all.messages[i]);
	}
	free(all.messages);
	return -EACCES;
}

const struct admission_plugin admission_mutating_policy = {
	.name = "MutatingAdmissionPolicy",
	.operations = WRITE_CREATE | WRITE_UPDATE,
	.admit = admit,
};
