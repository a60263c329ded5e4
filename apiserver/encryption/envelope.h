/* SPDX-License-Identifier: Apache-2.0 */
/* How the key that a key service has opened makes of an object's bytes what is stored, and back: in the two forms of Kubernetes' KMS v2. `about` is the key in etcd. */
#ifndef CORACLE_APISERVER_ENCRYPTION_ENVELOPE_H
#define CORACLE_APISERVER_ENCRYPTION_ENVELOPE_H

#include "apiserver/encryption/kms_message.h"

#define ENVELOPE_SEED 32 /* bytes of a seed of ours, and the least of others' */
#define ENVELOPE_MAX_KEY 4096

/* Whether a key of that sort may be so long. */
bool envelope_takes_key(enum kms_source type, size_t len);
/* By a key derived from the seed for these bytes alone: 32 random bytes to derive it with, nonce, bytes, tag. Appends to out, or -EINVAL. */
int envelope_seal(const uint8_t seed[static ENVELOPE_SEED], const char *about, const void *data, size_t len, struct buf *out);
/* Appends to out, or -EBADMSG. */
int envelope_open(enum kms_source type, const uint8_t *key, size_t key_len, const char *about, const void *data, size_t len, struct buf *out);

#endif
