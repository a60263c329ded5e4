/* SPDX-License-Identifier: Apache-2.0 */
/* --authentication-config, or what the flags --oidc-* say in its place: whose tokens are believed, and what their claims mean; made ready. */
#ifndef CORACLE_APISERVER_AUTHN_CONFIGURATION_H
#define CORACLE_APISERVER_AUTHN_CONFIGURATION_H

#include "apiserver/apiserver.h"
#include "api/apiserver_v1.h"
#include "common/cel/cel.h"

struct authn_rule {
	const char *text, *message;
	struct cel_program *program;
};
struct authn_rules {
	struct authn_rule *items;
	size_t count;
};
/* One authenticator of the configuration. Its texts are the configuration's. */
struct authn_issuer {
	const struct apiserver_v1_jwt_authenticator *spec;
	struct cel_program *username, *groups, *uid; /* NULL: by a claim, or not at all */
	struct authn_rules extra;                    /* message: the key */
	struct authn_rules claims, users;            /* validation */
};
/* Immutable, counted. */
struct authn_config {
	unsigned refs; /* atomic */
	struct apiserver_v1_authentication_configuration *object;
	struct cel_env *env_claims, *env_user;
	const struct cel_type *user_type;
	struct authn_issuer *issuers;
	size_t count;
};
/* Reads and checks. `own`: issuers of service accounts, which nobody else may be. */
int authn_config_parse(const char *text, size_t len, const struct flag_list *own, struct authn_config **ret, struct error *err);
int authn_config_read(const char *path, const struct flag_list *own, struct authn_config **ret, struct error *err);
/* What --oidc-* say; *ret NULL where none is given. */
int authn_config_of_flags(const struct apiserver_options *options, struct authn_config **ret, struct error *err);
struct authn_config *authn_config_ref(struct authn_config *config);
void authn_config_unref(struct authn_config *config);

#endif
