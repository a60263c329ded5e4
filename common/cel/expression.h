/* SPDX-License-Identifier: Apache-2.0 */
/* Expressions of match conditions and admission policies: what they may speak of, and what they may come to. */
#ifndef CORACLE_CEL_EXPRESSION_H
#define CORACLE_CEL_EXPRESSION_H

#include "common/cel/cel.h"

enum expression_kind {
	EXPRESSION_CONDITION, /* bool */
	EXPRESSION_MESSAGE,   /* string */
	EXPRESSION_AUDIT,     /* string or null */
	EXPRESSION_VARIABLE,  /* anything */
	EXPRESSION_APPLY,     /* Object */
	EXPRESSION_JSON_PATCH, /* list(JSONPatch) */
};

/*
 * What the expressions of one policy or webhook share: object, oldObject, request, namespaceObject, authorizer, params where it has a kind of parameters, and
 * `variables` as they are added.
 */
struct expression_scope;
struct expression_scope *expression_scope_new(bool params, bool variables);
/*
 * The same for a look at types alone: object, oldObject and params are of these (borrowed; NULL: of any), and all sorts of expressions speak of the same, as
 * Kubernetes has it there: authorizer too, but for its requestResource.
 */
struct expression_scope *expression_scope_new_typed(bool params, const struct cel_type *object, const struct cel_type *params_type);
struct expression_scope *expression_scope_free(struct expression_scope *scope);
static inline void cleanup_expression_scope(struct expression_scope **scope) {
	*scope = expression_scope_free(*scope);
}
#define autoscope cleanup(cleanup_expression_scope)

/* -EINVAL in Kubernetes' words: "compilation failed: ...", "must evaluate to bool but got string". */
int expression_compile(struct expression_scope *scope, enum expression_kind kind, const char *text, struct cel_program **ret, struct error *err);
/* Of a typed scope: parses and checks only. *ret_type (may be NULL) is what a variable of it is of, for expression_scope_add(). */
int expression_check(struct expression_scope *scope, const char *text, const struct cel_type **ret_type, struct error *err);
/* Later expressions may say variables.<name>. type NULL: it could not be compiled, and is of any. */
void expression_scope_add(struct expression_scope *scope, const char *name, const struct cel_type *type);

#endif
