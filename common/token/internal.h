/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORACLE_TOKEN_INTERNAL_H
#define CORACLE_TOKEN_INTERNAL_H

#include "common/token/jwt.h"

#include <gnutls/abstract.h>

struct jwt_key {
	gnutls_privkey_t private_key; /* NULL: public only */
	gnutls_pubkey_t public_key;
	bool ec;
	gnutls_ecc_curve_t curve;     /* where it is */
	char *id;                     /* "": none */
};
/* Fills what follows from the public key. -EINVAL: it is of no sort that signs tokens. */
int jwt_key_settle(struct jwt_key *key);

#endif
