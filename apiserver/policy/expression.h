/* SPDX-License-Identifier: Apache-2.0 */
/* Expressions of match conditions and admission policies: what they may speak of, and what they may come to. */
#ifndef CORACLE_APISERVER_POLICY_EXPRESSION_H
#define CORACLE_APISERVER_POLICY_EXPRESSION_H

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
struct expression_scope *expression_scope_free(struct expression_scope *scope);
static inline void cleanup_expression_scope(struct expression_scope **scope) {
	*scope = expression_scope_free(*scope);
}
#define autoscope cleanup(cleanup_expression_scope)

/* -EINVAL in Kubernetes' words: "compilation failed: ...", "must evaluate to bool but got string". */
int expression_compile(struct expression_scope *scope, enum expression_kind kind, const char *text, struct cel_program **ret, struct error *err);
/* Later expressions may say variables.<name>. type NULL: it could not be compiled, and is of any. */
void expression_scope_add(struct expression_scope *scope, const char *name, const struct cel_type *type);

#endif
