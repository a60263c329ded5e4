/* SPDX-License-Identifier: Apache-2.0 */
/* MutatingAdmissionPolicy: changes objects by what the expressions of a policy come to, an apply or a JSON patch. */
#include "apiserver/admission/admission.h"
#include "apiserver/custom/custom.h"
#include "apiserver/policy/policy.h"
#include "api/meta_v1.h"
#include "common/base/clock.h"
#include "common/api/patch/apply.h"
#include "common/api/patch/patch.h"

#include <errno.h>

/* A write on its way past the policies. */
struct passage {
	struct judged *j;
	struct reinvocation *asked;
	char **messages;
	size_t count;
};

static void refuse(struct passage *p, const struct policy *policy, const struct policy_binding *binding, const char *message) {
	p->messages = xreallocarray(p->messages, p->count + 1, sizeof(*p->messages));
	p->messages[p->count++] = binding ? xprintf("policy '%s' with binding '%s' denied request: %s", policy->name, binding->name, message) : xprintf("policy \"%s\" denied request: %s", policy->name, message);
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

static int apply_configuration(const struct judged *j, const struct cel_value *value, json_t *target, json_t **ret, struct error *err) {
	json_t *part = cel_to_json(value);
	if (!json_is_object(part)) {
		json_decref(part);
		return error_set(err, EINVAL, "invalid ApplyConfiguration: a value cannot be told in JSON");
	}
	const struct write *w = j->w;
	bool custom = w->resource->custom && !w->body;
	const struct managed_options options = {.type = w->body ? w->body->type : custom ? NULL : j->matched->type, .schema = custom ? w->resource->custom->schema : NULL};
	int r = managed_merge(&options, target, part, ret, err);
	json_decref(part);
	return r;
}

static int mutate_once(struct judged *j, const struct policy *policy, json_t *params, uint32_t i, struct error *err) {
	const struct admissionregistration_v1_mutating_admission_policy *object = policy->object;
	autopolicyrun struct policy_run pr = {0};
	struct cel_value value;
	int r = policy_run_start(&pr, j, policy, params, CEL_REQUEST_BUDGET, err);
	if (r == 0)
		r = policy_evaluate(&pr, &policy->mutations.items[i], &value, err);
	if (r < 0)
		return r;
	json_t *result = NULL;
	bool json = str_equal(object->spec.mutations.items[i].patch_type, "JSONPatch");
	r = json ? apply_json_patch(&value, j->object, &result, err) : apply_configuration(j, &value, j->object, &result, err);
	if (r < 0)
		return json ? r : error_context(err, "error applying patch");
	r = judged_take(j, result, err);
	json_decref(result);
	return r;
}

/* ---- policies ---- */

static void meet(void *arg, const struct policy *policy, const struct policy_binding *binding, json_t *param) {
	struct passage *p = arg;
	struct write *w = p->j->w;
	const struct admissionregistration_v1_mutating_admission_policy *object = policy->object;
	const char *param_name = json_string_value(json_object_get(json_object_get(param, "metadata"), "name")), *param_ns = json_string_value(json_object_get(json_object_get(param, "metadata"), "namespace"));
	autofree char *key = xprintf("%s %s %s/%s", policy->name, binding->name, str_or(param_ns, ""), str_or(param_name, ""));
	if (!reinvocation_asks(w, p->asked, key))
		return;
	if (judged_trees(p->j, NULL) < 0 && !p->j->object)
		return;
	json_t *before = json_incref(p->j->object);
	for (uint32_t i = 0; !json_is_null(before) && i < policy->mutations.count; i++) {
		autoerror struct error wrong = {0};
		int64_t began = clock_monotonic_ns();
		int r = mutate_once(p->j, policy, param, i, &wrong);
		policy_measure(true, policy, binding, r < 0 ? "deny" : "allow", r < 0 ? &wrong : NULL, began);
		if (r < 0 && !policy->ignores_failure)
			refuse(p, policy, binding, error_message(&wrong));
	}
	bool same = judged_trees(p->j, NULL) < 0 || json_equal(before, p->j->object);
	json_decref(before);
	if (!same)
		reinvocation_changed(w, p->asked);
	if (str_equal(object->spec.reinvocation_policy, "IfNeeded"))
		reinvocation_add(w, p->asked, key);
}

static void fail(void *arg, const struct policy *policy, const struct policy_binding *binding, bool configured, const char *message) {
	refuse(arg, policy, binding, message);
}

static int admit(struct write *w, struct error *err) {
	autopolicies struct policy_set *set = w->object && w->operation != WRITE_DELETE ? policy_set_get(w->r->server, true) : NULL;
	autojudged struct judged j = {0};
	if (!set || !judged_init(&j, w, true))
		return 0;
	struct passage p = {.j = &j, .asked = &admission_state(w)->policies};
	reinvocation_begin(w, p.asked);
	policy_walk(&j, set, &(struct policy_visitor){&p, meet, fail});
	reinvocation_end(w, p.asked);
	if (!p.count)
		return 0;
	int r = policy_refuse(err, w, "Invalid", false, p.messages, p.count);
	for (size_t i = 0; i < p.count; i++)
		free(p.messages[i]);
	free(p.messages);
	return r;
}

const struct admission_plugin admission_mutating_policy = {
	.name = "MutatingAdmissionPolicy",
	.operations = WRITE_CREATE | WRITE_UPDATE | WRITE_CONNECT,
	.bodies = true,
	.hook = true,
	.admit = admit,
};
