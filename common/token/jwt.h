/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of service accounts, and JSON Web Tokens (RFC 7519) signed with them: RS256 or ES256. */
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
/* Splits and verifies; *ret_claims is a new reference. -EACCES where no key fits. */
int jwt_verify(struct jwt_key *const *keys, size_t key_count, const char *token, json_t **ret_claims, struct error *err);
/* The claims, not verified: to tell whose token it is. NULL where it is not a token. */
json_t *jwt_peek(const char *token);

#endif
