/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks the expressions of each ValidatingAdmissionPolicy against the types of what it matches, and says in its status what does not fit: where an expression
 * stands, and in which kinds which mistakes. A policy works as it did, whatever is found: to it objects are of any type.
 */
#include "controller-manager/controller.h"
#include "controller-manager/policy/kinds.h"

#include "common/cel/expression.h"

#define MAX_WARNING ((size_t)256 << 10)

/* Kubernetes' words of a kind. */
static void add_mistake(struct buf *out, const struct policy_kind *kind, const char *mistake)
{
	buf_printf(out, "%s%s/%s, Kind=%s: %s\n", out->len ? "\n" : "", kind->group, kind->version, kind->kind, mistake);
}

/* Each kind has a scope of its own: the types of variables follow from what the object is. */
static struct expression_scope *scope_of(const struct policy_kind *kind, const struct policy_kinds *kinds, const struct admissionregistration_v1_validating_admission_policy *policy)
{
	struct expression_scope *scope = expression_scope_new_typed(policy->spec.param_kind, kind->type, kinds->params);
	for (uint32_t i = 0; i < policy->spec.variables.len; i++) {
		const struct admissionregistration_v1_variable *variable = &policy->spec.variables.items[i];
		const struct cel_type *type = NULL;
		expression_check(scope, str_or(variable->expression, ""), &type, NULL);
		expression_scope_add(scope, variable->name, type);
	}
	return scope;
}

struct check {
	const struct policy_kinds *kinds;
	struct expression_scope **scopes; /* one for each kind */
	struct arena *arena;              /* of the policy that is written */
	struct admissionregistration_v1_type_checking *found;
};

static void check_expression(struct check *check, const char *text, uint32_t index, const char *field)
{
	autobuf struct buf warning = BUF_INIT(MAX_WARNING);
	for (size_t i = 0; i < check->kinds->len; i++) {
		autoerror struct error err = {0};
		if (expression_check(check->scopes[i], text, NULL, &err) < 0)
			add_mistake(&warning, &check->kinds->items[i], error_message(&err));
	}
	if (!warning.len)
		return;
	struct admissionregistration_v1_expression_warning *row = api_list_add(check->arena, &check->found->expression_warnings);
	row->field_ref = arena_printf(check->arena, "spec.validations[%u].%s", index, field);
	row->warning = arena_strndup(check->arena, warning.data, warning.len);
}

static void check_policy(struct admissionregistration_v1_validating_admission_policy *policy, const struct policy_kinds *kinds)
{
	autofree struct expression_scope **scopes = xcalloc(kinds->len + 1, sizeof(*scopes));
	struct check check = {kinds, scopes, api_arena(policy), policy->status.type_checking};
	for (size_t i = 0; i < kinds->len; i++)
		scopes[i] = scope_of(&kinds->items[i], kinds, policy);
	for (uint32_t i = 0; i < policy->spec.validations.len; i++) {
		const struct admissionregistration_v1_validation *validation = &policy->spec.validations.items[i];
		check_expression(&check, str_or(validation->expression, ""), i, "expression");
		if (!str_empty(validation->message_expression))
			check_expression(&check, validation->message_expression, i, "messageExpression");
	}
	for (size_t i = 0; i < kinds->len; i++)
		expression_scope_free(scopes[i]);
}

static int reconcile(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	autounref struct admissionregistration_v1_validating_admission_policy *cached = world_find(r->world, CACHED_VALIDATING_ADMISSION_POLICIES, NULL, name);
	if (!cached || cached->metadata.deletion_timestamp.set || cached->status.observed_generation >= cached->metadata.generation)
		return 0;
	autokinds struct policy_kinds kinds = {0};
	int result = policy_kinds_load(r->world, cached, &kinds, err);
	if (result)
		return result;
	autounref struct admissionregistration_v1_validating_admission_policy *policy = api_copy(cached);
	policy->status.observed_generation = policy->metadata.generation;
	policy->status.type_checking = arena_new_type(api_arena(policy), struct admissionregistration_v1_type_checking);
	check_policy(policy, &kinds);
	/* What others have written of the status is theirs. */
	struct admissionregistration_v1_validating_admission_policy_status found = {.observed_generation = policy->status.observed_generation, .type_checking = policy->status.type_checking};
	autoerror struct error failed = {0};
	result = world_apply_status(r->world, CACHED_VALIDATING_ADMISSION_POLICIES, name, "validatingadmissionpolicy-status", &admissionregistration_v1_validating_admission_policy_status_type, &found, &failed);
	return result && error_is(&failed, "NotFound") ? 0 : error_move(err, &failed);
}

const struct controller policy_status_controller = {
	.name = "validatingadmissionpolicy-status-controller",
	.queue = "validatingadmissionpolicy-status",
	.account = "validatingadmissionpolicy-status-controller",
	.concurrency_flag = "concurrent-validating-admission-policy-status-syncs",
	.workers = 1,
	.watches = (const struct controller_watch[]){{.what = CACHED_VALIDATING_ADMISSION_POLICIES}, {.what = CACHED_NONE}},
	.reconcile = reconcile,
};
