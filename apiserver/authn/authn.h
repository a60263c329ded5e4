/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Authentication: who asks. Client certificates, then bearer tokens (static file, service accounts, bootstrap tokens, other issuers' JSON Web Tokens, a webhook), then
 * the front proxy's headers, then anonymous. Everything is answered from memory; what others must be asked for is lacking first (webhook/ask.h).
 */
#ifndef CORACLE_APISERVER_AUTHN_H
#define CORACLE_APISERVER_AUTHN_H

#include "apiserver/request/request.h"
#include "common/token/jwt.h"

int authn_new(struct apiserver *server, struct authenticator **ret, struct error *err);
/* No file is looked at and nobody is asked any more. While the timers run, after the HTTP server has stopped. Takes NULL. */
void authn_stop(struct authenticator *authenticator);
void authn_free(struct authenticator *authenticator);

/*
 * Checks a bearer token for any of `audiences` (NULL or empty: the server's own). Returns 1 and the user in `arena` where it is good, 0 where
 * no authenticator knows it, or where something is lacking in `asks`; a negative errno where none takes it and one refuses it. *ret_audiences are those it is good for of the ones asked for.
 */
int authn_token(struct authenticator *authenticator, const char *token, const char *const *audiences, struct arena *arena, struct asks *asks, struct user **ret, const char *const **ret_audiences, struct error *err);

/* ---- service account tokens (authn/serviceaccount.c) ---- */

struct token_request {
	const char *ns, *name, *uid; /* of the service account */
	const char *const *audiences;
	int64_t seconds;
	int64_t warn_after;          /* 0: none; seconds after which clients should have renewed */
	const char *bound_kind, *bound_name, *bound_uid; /* Pod, Secret, Node; NULL: none */
	const char *node_name, *node_uid;                /* of the bound pod; NULL: none */
	char *ret_id;                                    /* gets the token's own identity: 37 bytes; NULL: nowhere */
};
struct signer;
int signer_new(struct apiserver *server, struct signer **ret, struct error *err);
void signer_free(struct signer *signer);
/* False where no signing key was given. */
bool signer_can_sign(const struct signer *signer);
/* The token; the caller frees. */
int signer_sign(struct signer *signer, const struct token_request *request, int64_t *ret_expires, char **ret, struct error *err);
int signer_verify(struct signer *signer, const char *token, const char *const *audiences, struct arena *arena, struct user **ret, const char *const **ret_audiences, struct error *err);
struct signer *authn_signer(struct authenticator *authenticator);
/* The key set and discovery document of OpenID. */
void signer_jwks(struct signer *signer, struct buf *out);
const char *signer_issuer(const struct signer *signer);
/* Default audiences of a token, NULL terminated. */
const char *const *signer_audiences(const struct signer *signer);

#endif
