/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/encryption/envelope.h"
#include "apiserver/encryption/cipher.h"
#include "common/base/random.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

enum { INFO = 32, DERIVED = 32 };

bool envelope_takes_key(enum kms_source type, size_t len) {
	return type == KMS_SOURCE_SEED ? len >= ENVELOPE_SEED && len <= ENVELOPE_MAX_KEY : cipher_find("aesgcm")->takes_key(len);
}

/* RFC 5869's second step; the seed is random already, so it has no first. */
static int derive(const uint8_t *seed, size_t len, const void *info, uint8_t out[static DERIVED]) {
	const gnutls_datum_t key = {.data = (unsigned char *)seed, .size = (unsigned)len}, about = {.data = (unsigned char *)info, .size = INFO};
	return gnutls_hkdf_expand(GNUTLS_MAC_SHA256, &key, &about, out, DERIVED) < 0 ? -EINVAL : 0;
}

int envelope_seal(const uint8_t seed[static ENVELOPE_SEED], const char *about, const void *data, size_t len, struct buf *out) {
	uint8_t info[INFO], key[DERIVED];
	random_bytes(info, sizeof(info));
	int rc = derive(seed, ENVELOPE_SEED, info, key);
	if (rc == 0) {
		buf_append(out, info, sizeof(info));
		rc = cipher_find("aesgcm")->seal(key, sizeof(key), about, data, len, out);
	}
	explicit_bzero(key, sizeof(key));
	return rc;
}

int envelope_open(enum kms_source type, const uint8_t *key, size_t key_len, const char *about, const void *data, size_t len, struct buf *out) {
	const struct cipher *gcm = cipher_find("aesgcm");
	uint8_t derived[DERIVED];
	if (type == KMS_SOURCE_KEY)
		return gcm->open(key, key_len, about, data, len, out);
	if (len < INFO || derive(key, key_len, data, derived) < 0)
		return -EBADMSG;
	int rc = gcm->open(derived, sizeof(derived), about, (const uint8_t *)data + INFO, len - INFO, out);
	explicit_bzero(derived, sizeof(derived));
	return rc;
}
