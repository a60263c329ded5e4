/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Authorization: modes in order, the first that allows or denies decides; what none has an opinion on is refused.
 */
#ifndef CORACLE_APISERVER_AUTHZ_H
#define CORACLE_APISERVER_AUTHZ_H

#include "apiserver/request/request.h"

struct rbac_v1_policy_rule;
struct authorization_v1_field_selector_attributes;
struct authorization_v1_label_selector_attributes;
struct authz_attributes {
	const struct user *user;
	const char *verb;
	bool is_resource;
	const char *group, *version, *ns, *resource, *subresource, *name; /* NULL or "": not given */
	const char *path; /* where is_resource is false */
	/* What is selected, for modes that care: as texts, or as a review has it; NULL: everything. */
	const char *field_selector, *label_selector;
	const struct authorization_v1_field_selector_attributes *fields;
	const struct authorization_v1_label_selector_attributes *labels;
};
enum authz_decision { AUTHZ_NO_OPINION, AUTHZ_ALLOW, AUTHZ_DENY };

int authz_new(struct apiserver *server, struct authorizer **ret, struct error *err);
void authz_free(struct authorizer *authorizer);
/*
 * `reason` gets a sentence (may be empty) in `arena`. Answers from memory, never blocks; where the answer of another is lacking, that is noted in `asks` (webhook/ask.h), and what it returns does
 * not count. asks NULL: who asks cannot wait. Thread safe.
 */
enum authz_decision authz_decide(struct authorizer *authorizer, const struct authz_attributes *attributes, struct asks *asks, struct arena *arena, const char **ret_reason);
/* What a request asks for, by the user it comes from. */
struct authz_attributes authz_attributes_of(struct request *r);
/* The error for a client who may not; the reason may be empty. */
int authz_forbidden(struct request *r, const struct authz_attributes *a, const char *reason, struct error *err);
/* Whether others may be asked. */
bool authz_asks(struct authorizer *authorizer);
/* Calls fn for all rules that the user has in a namespace, as far as the modes can tell. Returns why that is not all, in the arena, or NULL. */
const char *authz_rules(struct authorizer *authorizer, const struct user *user, const char *ns, struct arena *arena, bool (*fn)(const struct rbac_v1_policy_rule *rule, void *arg), void *arg);

/* ---- modes ---- */
struct rbac;
struct rbac *rbac_new(struct apiserver *server);
void rbac_free(struct rbac *rbac);
enum authz_decision rbac_decide(struct rbac *rbac, const struct authz_attributes *a, struct arena *arena, const char **ret_reason);
/* Calls fn(rule, arg) for every rule that applies to the user in the namespace ("" for cluster-wide ones alone). fn returns false to stop. The rule is valid within the call. */
void rbac_each_rule(struct rbac *rbac, const struct user *user, const char *ns, bool (*fn)(const struct rbac_v1_policy_rule *rule, void *arg), void *arg);
/* True where the rule covers the attributes. */
bool rbac_rule_allows(const struct rbac_v1_policy_rule *rule, const struct authz_attributes *a);
struct rbac *authz_rbac(struct authorizer *authorizer); /* NULL where the mode is off */

bool node_is_user(const struct user *user); /* a node, by its name and group */
enum authz_decision node_decide(struct apiserver *server, const struct authz_attributes *a, struct arena *arena, const char **ret_reason);

#endif
