/* SPDX-License-Identifier: Apache-2.0 */
/* Keys, and JSON Web Tokens (RFC 7519) signed with them: RS, PS and ES with 256, 384 and 512. Ours are signed RS256 or ES256. */
#ifndef CORACLE_TOKEN_JWT_H
#define CORACLE_TOKEN_JWT_H

#include "common/base/buf.h"
#include "common/base/error.h"

#include <jansson.h>

struct jwt_key;
/* Every key of a PEM file, public or private. Appends to a NULL terminated array. */
int jwt_keys_load(const char *path, struct jwt_key ***keys, size_t *len, struct error *err);
void jwt_key_free(struct jwt_key *key);
bool jwt_key_is_private(const struct jwt_key *key);
const char *jwt_key_id(const struct jwt_key *key);
void jwt_key_jwk(const struct jwt_key *key, struct buf *out);
/* The compact form of claims signed. */
int jwt_sign(const struct jwt_key *key, const char *claims, size_t len, char **ret, struct error *err);
/* Whether "RS256" and so on is one of these. */
bool jwt_is_algorithm(const char *name);
#define JWT_MAX_KEYS 256
/* The keys of a JSON Web Key Set (RFC 7517) that may sign tokens; those of other sorts, and beyond JWT_MAX_KEYS, are left out. Appends. -EINVAL where it is no set. */
int jwt_keys_parse_set(const char *json, size_t len, struct jwt_key ***keys, size_t *key_count, struct error *err);
/*
 * Splits and verifies; *ret_claims is a new reference. allowed: algorithms, none: all. by_id: a token that names its key must be signed by that. -ENOKEY where no key fits, -EACCES
 * where none could.
 */
int jwt_verify_by(struct jwt_key *const *keys, size_t key_count, const char *const *allowed, size_t allowed_count, bool by_id, const char *token, json_t **ret_claims, struct error *err);
/* The same by keys of service accounts. -EACCES where no key fits. */
int jwt_verify(struct jwt_key *const *keys, size_t key_count, const char *token, json_t **ret_claims, struct error *err);
/* The claims, not verified: to tell whose token it is. NULL where it is not a token. */
json_t *jwt_peek(const char *token);
/* Whether the claim "aud", one text or a list, names the audience. */
bool jwt_is_for(const json_t *claims, const char *audience);

#endif
