/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Admission policies at work: which there are (set.c), which of them a write meets (match.c), and what their expressions come to (run.c).
 * The plugins that act on it are in apiserver/admission.
 */
#ifndef CORACLE_APISERVER_POLICY_POLICY_H
#define CORACLE_APISERVER_POLICY_POLICY_H

#include "apiserver/policy/expression.h"
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
/* Which requests: of a policy or a binding. */
struct policy_match {
	const struct admissionregistration_v1_match_resources *resources; /* NULL: all */
	struct selector *namespaces, *objects;
};
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
/* Those in effect now, NULL where there are none; a reference. Looks at the cache alone. */
struct policy_set *policy_set_get(struct apiserver *server, bool mutating);
void policy_set_unref(struct policy_set *set);
static inline void cleanup_policy_set(struct policy_set **set) {
	policy_set_unref(*set);
}
#define autopolicies cleanup(cleanup_policy_set)

/* ---- a write, as policies see it ---- */

struct judged {
	struct write *w;
	const char *operation;       /* CREATE, UPDATE, DELETE, CONNECT */
	const char *ns;              /* "": cluster scoped */
	const struct resource *matched; /* in whose version the policy at hand sees it */
	json_t *object, *old, *request, *namespace; /* made when first asked for, for `made_for` */
	const struct resource *made_for;
};
/* False where no policy may judge it: policies themselves, and reviews that nobody stores. */
bool judged_init(struct judged *j, struct write *w);
/* The object has changed: what was made of it is forgotten. */
void judged_changed(struct judged *j);
void judged_done(struct judged *j);
#define autojudged cleanup(judged_done)

/* 1: it meets the write (j->matched is set where `policy`), 0: not, negative: that cannot be told. */
int policy_matches(struct judged *j, const struct policy_match *match, bool policy, struct error *err);
/* Parameters of a binding; *ret are new trees in an array (one null where there are to be none). -ENOENT and such: as the message says. */
int policy_params(struct judged *j, const struct policy *policy, const struct policy_binding *binding, json_t **ret, struct error *err);

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

#endif
