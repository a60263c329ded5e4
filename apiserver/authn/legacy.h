/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens of service accounts as Secrets hold them: without end and audience, good while Secret and account are there. */
#ifndef CORACLE_APISERVER_LEGACY_H
#define CORACLE_APISERVER_LEGACY_H

#include "apiserver/authn/authn.h"

#define LEGACY_ISSUER "kubernetes/serviceaccount"
#define LEGACY_LAST_USED "kubernetes.io/legacy-token-last-used"
#define LEGACY_INVALID_SINCE "kubernetes.io/legacy-token-invalid-since"

/* The claims of a token whose signature is good. Returns 1 and the user, or an error. Notes the day of use on the Secret. */
int legacy_check(struct apiserver *server, const json_t *claims, const char *token, struct arena *arena, struct user **ret, struct error *err);
/* Today, UTC, as the labels say it; out >= 16 bytes. */
void legacy_today(char *out);

#endif
