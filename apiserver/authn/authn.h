/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Authentication: who asks. Client certificates, then bearer tokens (static file, service accounts, bootstrap tokens), then
 * the front proxy's headers, then anonymous. Everything is answered from memory.
 */
#ifndef CORACLE_APISERVER_AUTHN_H
#define CORACLE_APISERVER_AUTHN_H

#include "apiserver/request/request.h"

int authn_new(struct apiserver *server, struct authenticator **ret, struct error *err);
void authn_free(struct authenticator *authenticator);

/*
 * Checks a bearer token for any of `audiences` (NULL or empty: the server's own). Returns 1 and the user in `arena` where it is good, 0 where
 * no authenticator knows it, a negative errno where one refuses it.
 */
int authn_token(struct authenticator *authenticator, const char *token, const char *const *audiences, struct arena *arena, struct user **ret, const char *const **ret_audiences, struct error *err);

/* ---- service account tokens (authn/serviceaccount.c) ---- */

struct token_request {
	const char *ns, *name, *uid; /* of the service account */
	const char *const *audiences;
	int64_t seconds;
	int64_t warn_after;          /* 0: none; seconds after which clients should have renewed */
	const char *bound_kind, *bound_name, *bound_uid; /* Pod, Secret, Node; NULL: none */
	const char *node_name, *node_uid;                /* of the bound pod; NULL: none */
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

/* ---- keys and tokens (authn/jwt.c) ---- */

struct jwt_key;
/* Every key of a PEM file, public or private. Appends to a NULL terminated array. */
int jwt_keys_load(const char *path, struct jwt_key ***keys, size_t *len, struct error *err);
void jwt_key_free(struct jwt_key *key);
bool jwt_key_is_private(const struct jwt_key *key);
const char *jwt_key_id(const struct jwt_key *key);
void jwt_key_jwk(const struct jwt_key *key, struct buf *out);
/* The compact form of claims signed. */
int jwt_sign(const struct jwt_key *key, const char *claims, size_t len, char **ret, struct error *err);
/* Splits and verifies; *ret_claims is a new reference. -EACCES where no key fits. */
int jwt_verify(struct jwt_key *const *keys, size_t key_count, const char *token, json_t **ret_claims, struct error *err);
/* The claims, not verified: to tell whose token it is. NULL where it is not a token. */
json_t *jwt_peek(const char *token);

#endif
