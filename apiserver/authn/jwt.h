/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens of issuers elsewhere (OpenID Connect): --authentication-config or --oidc-*. The file is read again as it changes; what it says holds once its issuers are known. */
#ifndef CORACLE_APISERVER_AUTHN_JWT_H
#define CORACLE_APISERVER_AUTHN_JWT_H

#include "apiserver/authn/authn.h"
#include "apiserver/authn/configuration.h"

struct jwt_authn;
int jwt_authn_new(struct apiserver *server, struct jwt_authn **ret, struct error *err);
/* While the timers run. Takes NULL. */
void jwt_authn_free(struct jwt_authn *jwt);
/* 1 and the user (without system:authenticated); 0: it is of no issuer that is known, or something is lacking in `asks`; negative: it is refused. */
int jwt_authn_check(struct jwt_authn *jwt, const char *token, struct arena *arena, struct asks *asks, struct user **ret, struct error *err);
/* Who may come without credentials, as the file says; NULL: it does not. */
const struct apiserver_v1_anonymous_auth_config *jwt_authn_anonymous(const struct jwt_authn *jwt);

/* ---- claims.c ---- */

/* What verified claims come to. 1 and the user, or negative: they are refused. `now` in seconds since 1970. */
int claims_user(const struct authn_config *config, const struct authn_issuer *issuer, json_t *claims, int64_t now, struct arena *arena, struct user **ret, struct error *err);

#endif
