/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Admission policies at work: which there are (set.c), which of them a write meets (match.c), and what their expressions come to (run.c).
 * The plugins that act on it are in apiserver/admission.
 */
#ifndef CORACLE_APISERVER_POLICY_POLICY_H
#define CORACLE_APISERVER_POLICY_POLICY_H

#include "common/cel/expression.h"
#include "apiserver/rest/write.h"
#include "api/admissionregistration_v1.h"
#include "common/api/selector.h"

/* ---- policies and bindings, compiled ---- */

struct expression {
	const char *text;
	struct cel_program *program; /* NULL: */
	char *error;                 /* why it could not be compiled */
};
struct expressions {
	struct expression *items;
	uint32_t count;
};
struct match_rule {
	const struct admissionregistration_v1_rule_with_operations *rule;
	const struct api_string_list *names; /* NULL: any */
};
struct match_rules {
	struct match_rule *items;
	uint32_t count;
};
/* Which requests: of a policy, a binding or a webhook. */
struct policy_match {
	bool any_resource; /* whatever the rules say */
	bool exact;        /* other versions of a resource do not count */
	struct match_rules rules, excluded;
	struct selector *namespaces, *objects; /* NULL: all */
};
void policy_match_done(struct policy_match *match);
struct policy {
	unsigned refs; /* atomic */
	const void *object;  /* ValidatingAdmissionPolicy or MutatingAdmissionPolicy */
	const char *name, *uid;
	uint64_t version;
	const struct admissionregistration_v1_param_kind *param_kind; /* NULL: none */
	struct policy_match match;
	bool ignores_failure;
	struct expression_scope *scope;
	const struct admissionregistration_v1_match_condition_array *condition_list;
	const struct admissionregistration_v1_variable_array *variable_list;
	struct expressions conditions, variables, checks, messages, audits, mutations; /* messages: one a check, text NULL where it has none */
};
struct policy_binding {
	const void *object;
	const char *name;
	const struct admissionregistration_v1_param_ref *param_ref; /* NULL: none */
	struct policy_match match;
};
/* A policy with the bindings that put it into effect. */
struct policy_hook {
	struct policy *policy;
	struct policy_binding *bindings;
	size_t count;
};
struct policy_set {
	unsigned refs; /* atomic */
	uint64_t signature;
	struct policy_hook *hooks;
	size_t count;
};
/* Match conditions alone, as a webhook has them; they live as long as `list`. */
struct policy *policy_of_conditions(const struct admissionregistration_v1_match_condition_array *list);
void policy_unref(struct policy *policy);
/* A number that changes with any object in the snapshot. */
uint64_t policy_signature(const struct snapshot *snapshot);
/* Those in effect now, NULL where there are none; a reference. Looks at the cache alone. */
struct policy_set *policy_set_get(struct apiserver *server, bool mutating);
void policy_set_unref(struct policy_set *set);
static inline void cleanup_policy_set(struct policy_set **set) {
	policy_set_unref(*set);
}
#define autopolicies cleanup(cleanup_policy_set)

/* ---- a write, as policies see it ---- */

/* Lives as long as the attempt of its write at most. */
struct judged {
	struct write *w;
	const char *operation;       /* CREATE, UPDATE, DELETE, CONNECT */
	const char *ns;              /* "": cluster scoped */
	const struct resource *matched; /* in whose version the policy at hand sees it */
	json_t *object, *old, *request, *namespace; /* made when first asked for, for `made_for` */
	const struct resource *made_for;
	void *body, *old_body;       /* what the write's body->show makes; made when first asked for */
};
/* False where nobody may judge it: policies and webhooks themselves; for policies, reviews that nobody stores. */
bool judged_init(struct judged *j, struct write *w, bool policies);
/* What is written and what it was, as it is seen: NULL where there is none. Borrowed. */
const void *judged_object(struct judged *j);
const void *judged_old(struct judged *j);
/* The same as trees in the version that was matched, null where there is none; and the request without them. Borrowed. */
int judged_trees(struct judged *j, struct error *err);
/* A tree, in the version that was matched, is what is written from now on. */
int judged_take(struct judged *j, json_t *tree, struct error *err);
void judged_done(struct judged *j);
#define autojudged cleanup(judged_done)

/* 1: it meets the write (j->matched is set where `policy`), 0: not, negative: that cannot be told. */
int policy_matches(struct judged *j, const struct policy_match *match, bool policy, struct error *err);
/* Parameters of a binding; *ret are new trees in an array (one null where there are to be none). -ENOENT and such: as the message says. */
int policy_params(struct judged *j, const struct policy *policy, const struct policy_binding *binding, json_t **ret, struct error *err);

/* ---- one after the other ---- */

struct policy_visitor {
	void *arg;
	/* A policy that the write meets, its conditions too: once for each binding and parameter. */
	void (*meet)(void *arg, const struct policy *policy, const struct policy_binding *binding, json_t *param);
	/* What went wrong before that, where the policy does not ignore it. binding NULL: with the policy itself. `configured`: it is in effect, a condition failed. */
	void (*fail)(void *arg, const struct policy *policy, const struct policy_binding *binding, bool configured, const char *message);
};
void policy_walk(struct judged *j, const struct policy_set *set, const struct policy_visitor *visitor);
/* Refuses the write: its message, one cause a message, and a code that fits the reason. Returns the error. */
int policy_refuse(struct error *err, const struct write *w, const char *reason, bool says_forbidden, char *const *messages, size_t count);

/* ---- evaluation ---- */

struct policy_run {
	struct judged *j;
	const struct policy *policy;
	json_t *params;
	struct cel_run *run;
	struct cel_binding bindings[8];
	size_t count;
	struct variable_state {
		bool known, under_way;
		struct cel_value value;
	} *variables;
};
/* params: borrowed, null where there are none. -EINVAL: what it needs is not there. */
int policy_run_start(struct policy_run *pr, struct judged *j, const struct policy *policy, json_t *params, uint64_t budget, struct error *err);
void policy_run_end(struct policy_run *pr);
#define autopolicyrun cleanup(policy_run_end)
/* -EINVAL: it came to an error, told as Kubernetes does; -EDQUOT: there is no budget left for any. */
int policy_evaluate(struct policy_run *pr, const struct expression *expression, struct cel_value *ret, struct error *err);
/* 1: all match conditions hold, 0: one does not, -EINVAL: the error of one. */
int policy_conditions(struct judged *j, const struct policy *policy, json_t *params, struct error *err);

/* ---- metrics ---- */

/* One judgement of a binding that has begun at `began_ns` and ends in an action ("deny", "audit", "warn", "allow"); `wrong` NULL: its rule was broken or it holds. */
void policy_measure(bool mutating, const struct policy *policy, const struct policy_binding *binding, const char *action, const struct error *wrong, int64_t began_ns);
/* An expression was compiled, or evaluated. */
void policy_measure_cel(bool compiled, int64_t began_ns);

#endif
