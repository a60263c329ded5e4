/* SPDX-License-Identifier: Apache-2.0 */
/* What an authorization mode is: a const row, listed in authz.c. */
#ifndef CORACLE_APISERVER_AUTHZ_MODES_H
#define CORACLE_APISERVER_AUTHZ_MODES_H

#include "apiserver/authz/authz.h"
#include "api/apiserver_v1.h"
#include "api/rbac_v1.h"

typedef bool authz_rule_fn(const struct rbac_v1_policy_rule *rule, void *arg);

struct authz_mode {
	const char *type;
	bool lasts; /* made once, at the start: it must stay in the configuration as that changes */
	/* May be NULL, with state NULL. */
	int (*open)(struct apiserver *server, const struct apiserver_v1_authorizer_configuration *config, void **ret, struct error *err);
	void (*close)(void *state);
	/*
	 * Decides from what is known, any thread; where the answer of another is lacking, that is noted in `asks` (webhook/ask.h), and what it returns does not count. *ret_reason, where it is set,
	 * is a sentence that lives as long as the arena or the mode.
	 */
	enum authz_decision (*decide)(void *state, const struct authz_attributes *a, struct asks *asks, struct arena *arena, const char **ret_reason);
	/* Calls fn for the rules that the user has in a namespace. Returns why that is not all, or NULL. */
	const char *(*rules)(void *state, const struct user *user, const char *ns, authz_rule_fn *fn, void *arg);
};
#define AUTHZ_MODE(name) extern const struct authz_mode name
AUTHZ_MODE(authz_mode_abac);
AUTHZ_MODE(authz_mode_webhook);

/* abac.c: a policy file's text. */
struct abac;
int abac_parse(const char *text, size_t len, struct abac **ret, struct error *err);
void abac_free(struct abac *abac);

#endif
