/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An issuer of tokens elsewhere: its OpenID discovery document and its keys, fetched when the server starts, tried every ten seconds until they are there, and fetched again when a token is signed
 * by a key that is not among them.
 */
#ifndef CORACLE_APISERVER_AUTHN_ISSUER_H
#define CORACLE_APISERVER_AUTHN_ISSUER_H

#include "apiserver/apiserver.h"
#include "apiserver/webhook/ask.h"
#include "api/apiserver_v1.h"

struct issuer;
/* Copies what it needs of `spec`. Begins at once. */
struct issuer *issuer_start(struct apiserver *server, const struct apiserver_v1_issuer *spec);
/* Who waits is told; nothing is fetched any more. While the timers run. */
void issuer_stop(struct issuer *issuer);
struct issuer *issuer_ref(struct issuer *issuer);
void issuer_unref(struct issuer *issuer);
/*
 * The claims of a token that is signed by one of its keys. 1; 0: fresher keys are lacking in `asks`; negative: it is not. algorithms: those that are accepted, none: all. asks NULL: who asks
 * cannot wait.
 */
int issuer_verify(struct issuer *issuer, const char *token, const struct flag_list *algorithms, struct asks *asks, json_t **ret_claims, struct error *err);
/* 0 once the document was read. */
int issuer_healthy(struct issuer *issuer, struct error *err);
/* The URL of the keys, from a discovery document of `url`; the caller frees. */
int issuer_read_document(const char *url, const char *json, size_t len, char **ret_keys_url, struct error *err);

#endif
