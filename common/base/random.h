/* SPDX-License-Identifier: Apache-2.0 */
/* Randomness from the kernel, and the encodings that go with identifiers. */
#ifndef CORACLE_BASE_RANDOM_H
#define CORACLE_BASE_RANDOM_H

#include "common/base/base.h"

void random_bytes(void *out, size_t len);
uint64_t random_u64(void);
/* Evenly in [0, bound); bound > 0. */
uint64_t random_below(uint64_t bound);
/* RFC 4122 version 4; out >= 37 bytes. */
void random_uuid(char *out);
/* `len` characters of Kubernetes' name alphabet "bcdfghjklmnpqrstvwxz2456789", NUL terminated; out >= len + 1. */
void random_name_suffix(char *out, size_t len);
/* Decimal text of a 32-bit hash in the same alphabet, as pod-template-hash does; out >= 16 bytes. */
void name_safe_hash(uint32_t hash, char *out);

void sha256(const void *data, size_t len, uint8_t out[32]);
void sha256_hex(const void *data, size_t len, char out[65]);
/* RFC 4648's alphabet in lower case, without padding, NUL terminated; out >= len * 8 / 5 + 2. */
void base32_encode(const uint8_t *data, size_t len, char *out);
/* Standard or URL alphabet, padding optional. Returns 0 or -EINVAL; the caller frees. At most `max` bytes out. */
int base64_decode(const char *s, size_t len, size_t max, uint8_t **ret, size_t *ret_len);
/* URL alphabet without padding; the caller frees. */
char *base64url_encode(const void *data, size_t len);

#endif
