/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x-kubernetes-validations: the rules in CEL that stand in a schema beside what they are about. self is the value there, oldSelf what stood in its place
 * before, where that can be told.
 */
#ifndef CORACLE_APISERVER_CUSTOM_RULES_H
#define CORACLE_APISERVER_CUSTOM_RULES_H

#include "common/cel/cel.h"

/* ---- one rule ---- */

/* What rules beside a schema may speak of. NULL where the schema says nothing of the type. `root`: of a whole object, with its kind and name. */
struct rule_scope;
struct rule_scope *rule_scope_new(json_t *schema, bool root);
struct rule_scope *rule_scope_free(struct rule_scope *scope);
const struct cel_type *rule_scope_type(const struct rule_scope *scope);
enum rule_part { RULE_ITSELF, RULE_MESSAGE };
/* -EINVAL in Kubernetes' words. */
int rule_compile(const struct rule_scope *scope, enum rule_part part, bool optional_old_self, const char *text, struct cel_program **ret, struct error *err);
bool rule_uses_old(const struct cel_program *program);
/* ".a['b']" as a path from the schema on: "a.b"; malloc. NULL where there is no such field. */
char *rule_field_path(json_t *schema, const char *path);

/* ---- all rules of a schema ---- */

struct rules;
/* Borrows the schema. NULL where it has none. */
struct rules *rules_new(json_t *schema);
void rules_free(struct rules *rules);
/*
 * Adds what does not hold. old: the tree before, NULL: there is none. What did not hold before either, of a value that is the same, becomes a warning. Any thread.
 */
void rules_check(const struct rules *rules, json_t *object, json_t *old, struct error *causes, void (*warn)(const char *text, void *arg), void *arg);

#endif
