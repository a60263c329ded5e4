/* SPDX-License-Identifier: Apache-2.0 */
/* ValidatingAdmissionPolicy: refuses, or warns of, what the expressions of a policy do not hold for. What only the audit log is to be told goes there. */
#include "apiserver/admission/admission.h"
#include "apiserver/audit/audit.h"
#include "apiserver/policy/policy.h"
#include "common/base/clock.h"

#include <errno.h>

/* The first refusal is told; Deny of any binding makes one. */
struct verdict {
	struct judged *j;
	json_t *failures; /* for the audit log; NULL: none */
	bool denied;
	int64_t began_ns; /* of the judgement at hand */
	char *message;
	const char *reason;
};

static void deny(struct verdict *v, const struct policy *policy, const struct policy_binding *binding, const char *reason, const char *message) {
	if (v->denied)
		return;
	v->denied = true;
	v->reason = reason ? reason : "Invalid";
	v->message = binding ? xprintf("ValidatingAdmissionPolicy '%s' with binding '%s' denied request: %s", policy->name, binding->name, message)
			     : xprintf("ValidatingAdmissionPolicy '%s' denied request: %s", policy->name, message);
}

/* What does not hold, by the binding's actions. */
static void act(struct write *w, struct verdict *v, const struct policy *policy, const struct policy_binding *binding, uint32_t index, const char *reason, const char *message, const struct error *wrong) {
	const struct admissionregistration_v1_validating_admission_policy_binding *b = binding->object;
	static const char *const told[][2] = {{"Deny", "deny"}, {"Warn", "warn"}, {"Audit", "audit"}};
	for (size_t i = 0; i < array_len(told); i++)
		if (api_string_list_has(&b->spec.validation_actions, told[i][0]))
			policy_measure(false, policy, binding, told[i][1], wrong, v->began_ns);
	if (api_string_list_has(&b->spec.validation_actions, "Deny"))
		deny(v, policy, binding, reason, message);
	if (api_string_list_has(&b->spec.validation_actions, "Warn"))
		request_warn(w->r, "Validation failed for ValidatingAdmissionPolicy '%s' with binding '%s': %s", policy->name, binding->name, message);
	if (api_string_list_has(&b->spec.validation_actions, "Audit") && w->r->audit) {
		json_t *actions = json_array();
		for (uint32_t i = 0; i < b->spec.validation_actions.len; i++)
			json_array_append_new(actions, json_string(b->spec.validation_actions.items[i]));
		if (!v->failures)
			v->failures = json_array();
		json_array_append_new(v->failures, json_pack("{s:s, s:s, s:s, s:i, s:o}", "message", message, "policy", policy->name, "binding", binding->name, "expressionIndex", (int)index, "validationActions", actions));
	}
}

static char *trimmed(const char *text, size_t len) {
	while (len && strchr(" \t\r\n\v\f", *text)) {
		text++;
		len--;
	}
	while (len && strchr(" \t\r\n\v\f", text[len - 1]))
		len--;
	return xstrndup(text, len);
}

/* By messageExpression, else message, else the expression itself; malloc. */
static char *message_of(struct policy_run *pr, uint32_t i, const struct admissionregistration_v1_validation *validation) {
	struct cel_value value;
	if (pr->policy->messages.items[i].text && policy_evaluate(pr, &pr->policy->messages.items[i], &value, NULL) == 0 && value.kind == CEL_STRING) {
		char *text = trimmed(value.s, value.len);
		if (*text && strlen(text) <= CEL_MAX_MESSAGE && !strchr(text, '\n'))
			return text;
		free(text);
	}
	char *text = trimmed(str_or(validation->message, ""), strlen(str_or(validation->message, "")));
	if (*text)
		return text;
	free(text);
	autofree char *expression = trimmed(validation->expression, strlen(validation->expression));
	return xprintf("failed expression: %s", expression);
}

static void failed(struct write *w, struct verdict *v, const struct policy *policy, const struct policy_binding *binding, uint32_t index, const struct error *err) {
	if (policy->ignores_failure)
		policy_measure(false, policy, binding, "allow", err, v->began_ns);
	else
		act(w, v, policy, binding, index, NULL, error_message(err), err);
}

/* Their values go to the audit log; one that fails refuses all the same. */
static void run_audits(struct policy_run *pr, struct verdict *v, const struct policy_binding *binding) {
	const struct policy *policy = pr->policy;
	const struct admissionregistration_v1_validating_admission_policy *object = policy->object;
	for (uint32_t i = 0; i < policy->audits.count; i++) {
		autoerror struct error why = {0};
		struct cel_value value;
		int r = policy_evaluate(pr, &policy->audits.items[i], &value, &why);
		if (r < 0 && !policy->ignores_failure)
			deny(v, policy, binding, NULL, error_message(&why));
		if (r < 0 || value.kind != CEL_STRING)
			continue;
		autofree char *key = xprintf("%s/%s", policy->name, object->spec.audit_annotations.items[i].key), *text = trimmed(value.s, value.len);
		if (*text)
			audit_annotate(v->j->w->r, AUDIT_METADATA, key, text);
	}
}

static void meet(void *arg, const struct policy *policy, const struct policy_binding *binding, json_t *param) {
	struct verdict *v = arg;
	struct write *w = v->j->w;
	const struct admissionregistration_v1_validating_admission_policy *object = policy->object;
	autoerror struct error err = {0};
	autopolicyrun struct policy_run pr = {0};
	v->began_ns = clock_monotonic_ns();
	if (policy_run_start(&pr, v->j, policy, param, CEL_REQUEST_BUDGET, &err) < 0) {
		failed(w, v, policy, binding, 0, &err);
		return;
	}
	for (uint32_t i = 0; i < policy->checks.count; i++) {
		const struct admissionregistration_v1_validation *validation = &object->spec.validations.items[i];
		autoerror struct error why = {0};
		struct cel_value value;
		v->began_ns = clock_monotonic_ns();
		int r = policy_evaluate(&pr, &policy->checks.items[i], &value, &why);
		if (r < 0) {
			failed(w, v, policy, binding, i, &why);
			if (r == -EDQUOT)
				break;
		} else if (value.kind != CEL_BOOL || !value.b) {
			autofree char *message = message_of(&pr, i, validation);
			act(w, v, policy, binding, i, validation->reason, message, NULL);
		}
	}
	run_audits(&pr, v, binding);
}

static void fail(void *arg, const struct policy *policy, const struct policy_binding *binding, bool configured, const char *message) {
	struct verdict *v = arg;
	if (configured)
		act(v->j->w, v, policy, binding, 0, NULL, message, NULL);
	else
		deny(v, policy, binding, NULL, message);
}

static int validate(struct write *w, struct error *err) {
	autopolicies struct policy_set *set = policy_set_get(w->r->server, false);
	autojudged struct judged j = {0};
	if (!set || !judged_init(&j, w, true))
		return 0;
	struct verdict v = {.j = &j, .began_ns = clock_monotonic_ns()};
	policy_walk(&j, set, &(struct policy_visitor){&v, meet, fail});
	if (asks_lacking(&w->asks)) {
		json_decref(v.failures);
		free(v.message);
		return 0;
	}
	if (v.failures) {
		autofree char *text = json_dumps(v.failures, JSON_COMPACT);
		audit_annotate(w->r, AUDIT_METADATA, "validation.policy.admission.k8s.io/validation_failure", text);
		json_decref(v.failures);
	}
	if (!v.denied)
		return 0;
	int r = policy_refuse(err, w, v.reason, true, &v.message, 1);
	free(v.message);
	return r;
}

const struct admission_plugin admission_validating_policy = {
	.name = "ValidatingAdmissionPolicy",
	.operations = WRITE_CREATE | WRITE_UPDATE | WRITE_DELETE | WRITE_CONNECT,
	.bodies = true,
	.hook = true,
	.validate = validate,
};
