/* SPDX-License-Identifier: Apache-2.0 */
/* --authentication-token-webhook-config-file: a server that is asked by a TokenReview whose a token is. */
#ifndef CORACLE_APISERVER_AUTHN_TOKENWEBHOOK_H
#define CORACLE_APISERVER_AUTHN_TOKENWEBHOOK_H

#include "apiserver/authn/authn.h"

struct token_webhook;
/* *ret NULL where there is none. */
int token_webhook_new(struct apiserver *server, struct token_webhook **ret, struct error *err);
/* While the timers run. Takes NULL. */
void token_webhook_free(struct token_webhook *hook);
/*
 * 1 and the user (without system:authenticated), and in *ret_audiences for which of `audiences` the token is (NULL where none were asked for); 0: it is nobody's, or the answer is lacking in
 * `asks`; negative: it is refused, or the server cannot be asked. implicit: whom tokens are for of which the server does not say it.
 */
int token_webhook_check(struct token_webhook *hook, const char *token, const char *const *audiences, const char *const *implicit, struct arena *arena, struct asks *asks, struct user **ret, const char *const **ret_audiences, struct error *err);

#endif
