/* SPDX-License-Identifier: Apache-2.0 */
/* What the expressions of webhooks and admission policies must be: each is compiled in the scope it will run in. */
#include "apiserver/validation/validation.h"
#include "common/cel/expression.h"
#include "api/admissionregistration_v1.h"

/* Text without the white space around it; malloc. */
static char *trimmed(const char *text) {
	static const char space[] = " \t\r\n\v\f";
	text += strspn(text, space);
	size_t len = strlen(text);
	while (len && strchr(space, text[len - 1]))
		len--;
	return xstrndup(text, len);
}

/* The type it has, where it is good and asked for, lives as long as *ret_program. */
static void check_expression(struct expression_scope *scope, enum expression_kind kind, const char *text, const char *shown, const struct path *at, struct cel_program **ret_program, struct error *err) {
	autocel struct cel_program *program = NULL;
	autoerror struct error why = {0};
	if (expression_compile(scope, kind, text, &program, &why) < 0)
		invalid(err, at, shown, "%s", error_message(&why));
	else if (ret_program)
		*ret_program = take_ptr(program);
}

void check_match_expressions(const struct admissionregistration_v1_match_condition_array *conditions, bool params, const struct path *at, struct error *err) {
	if (!conditions->len)
		return;
	autoscope struct expression_scope *scope = expression_scope_new(params, false);
	for (uint32_t i = 0; i < conditions->len; i++) {
		autofree char *text = trimmed(str_or(conditions->items[i].expression, ""));
		if (*text)
			check_expression(scope, EXPRESSION_CONDITION, text, text, &PATH(AT_INDEX("matchConditions", i), "expression"), NULL, err);
	}
}

static void check_variables(struct expression_scope *scope, const struct admissionregistration_v1_variable_array *variables, const struct path *at, struct error *err) {
	for (uint32_t i = 0; i < variables->len; i++) {
		const struct admissionregistration_v1_variable *variable = &variables->items[i];
		autocel struct cel_program *program = NULL;
		autofree char *text = trimmed(str_or(variable->expression, ""));
		if (!*text)
			continue;
		check_expression(scope, EXPRESSION_VARIABLE, variable->expression, variable->expression, &PATH(AT_INDEX("variables", i), "expression"), &program, err);
		expression_scope_add(scope, str_or(variable->name, ""), program ? cel_program_type(program) : NULL);
	}
}

void check_validating_expressions(const struct admissionregistration_v1_validating_admission_policy_spec *spec, const struct path *at, struct error *err) {
	autoscope struct expression_scope *scope = expression_scope_new(spec->param_kind != NULL, spec->variables.len > 0);
	check_match_expressions(&spec->match_conditions, spec->param_kind != NULL, at, err);
	check_variables(scope, &spec->variables, at, err);
	for (uint32_t i = 0; i < spec->validations.len; i++) {
		const struct admissionregistration_v1_validation *v = &spec->validations.items[i];
		struct path here = PATH_INDEX(at, "validations", i);
		autofree char *text = trimmed(str_or(v->expression, "")), *message = trimmed(str_or(v->message_expression, ""));
		if (*text)
			check_expression(scope, EXPRESSION_CONDITION, v->expression, v->expression, &PATH(&here, "expression"), NULL, err);
		if (*message)
			check_expression(scope, EXPRESSION_MESSAGE, v->message_expression, v->message_expression, &PATH(&here, "messageExpression"), NULL, err);
	}
	for (uint32_t i = 0; i < spec->audit_annotations.len; i++) {
		const char *expression = str_or(spec->audit_annotations.items[i].value_expression, "");
		autofree char *text = trimmed(expression);
		if (*text && strlen(text) <= MAX_AUDIT_EXPRESSION)
			check_expression(scope, EXPRESSION_AUDIT, text, expression, &PATH(AT_INDEX("auditAnnotations", i), "valueExpression"), NULL, err);
	}
}

void check_mutating_expressions(const struct admissionregistration_v1_mutating_admission_policy_spec *spec, const struct path *at, struct error *err) {
	autoscope struct expression_scope *scope = expression_scope_new(spec->param_kind != NULL, true);
	check_match_expressions(&spec->match_conditions, spec->param_kind != NULL, at, err);
	check_variables(scope, &spec->variables, at, err);
	for (uint32_t i = 0; i < spec->mutations.len; i++) {
		const struct admissionregistration_v1_mutation *m = &spec->mutations.items[i];
		bool json = str_equal(m->patch_type, "JSONPatch"), apply = str_equal(m->patch_type, "ApplyConfiguration");
		const char *expression = json && m->json_patch ? m->json_patch->expression : apply && m->apply_configuration ? m->apply_configuration->expression : NULL;
		autofree char *text = trimmed(str_or(expression, ""));
		if (*text)
			check_expression(scope, json ? EXPRESSION_JSON_PATCH : EXPRESSION_APPLY, text, text, &PATH(&PATH(AT_INDEX("mutations", i), json ? "jsonPatch" : "applyConfiguration"), "expression"), NULL, err);
	}
}
