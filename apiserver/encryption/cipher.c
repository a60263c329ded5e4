/* SPDX-License-Identifier: Apache-2.0 */
#include <sodium.h> /* first: it writes noreturn out, which base.h makes a word of its own */

#include "apiserver/encryption/cipher.h"
#include "common/base/random.h"

#include <errno.h>
#include <gnutls/crypto.h>

enum { BLOCK = 16, GCM_NONCE = 12, GCM_TAG = 16 };

static bool is_aes_key(size_t len) {
	return len == 16 || len == 24 || len == 32;
}

static bool is_secretbox_key(size_t len) {
	return len == crypto_secretbox_KEYBYTES;
}

/* ---- AES-CBC with the padding of PKCS #7: nonce (the first vector), blocks ---- */

static int cbc(bool seal, const uint8_t *key, size_t key_len, uint8_t *vector, void *data, size_t len) {
	gnutls_cipher_hd_t handle;
	gnutls_datum_t k = {.data = (unsigned char *)key, .size = (unsigned)key_len}, iv = {.data = vector, .size = BLOCK};
	gnutls_cipher_algorithm_t algorithm = key_len == 16 ? GNUTLS_CIPHER_AES_128_CBC : key_len == 24 ? GNUTLS_CIPHER_AES_192_CBC : GNUTLS_CIPHER_AES_256_CBC;
	if (gnutls_cipher_init(&handle, algorithm, &k, &iv) < 0)
		return -EINVAL;
	int rc = seal ? gnutls_cipher_encrypt(handle, data, len) : gnutls_cipher_decrypt(handle, data, len);
	gnutls_cipher_deinit(handle);
	return rc < 0 ? -EINVAL : 0;
}

static int cbc_seal(const uint8_t *key, size_t key_len, const char *about, const void *data, size_t len, struct buf *out) {
	uint8_t vector[BLOCK], pad = (uint8_t)(BLOCK - len % BLOCK);
	autofree uint8_t *blocks = xmalloc(len + pad);
	random_bytes(vector, sizeof(vector));
	memcpy(blocks, data, len);
	memset(blocks + len, pad, pad);
	buf_append(out, vector, sizeof(vector)); /* before it is used up */
	int rc = cbc(true, key, key_len, vector, blocks, len + pad);
	if (rc == 0)
		buf_append(out, blocks, len + pad);
	return rc;
}

static int cbc_open(const uint8_t *key, size_t key_len, const char *about, const void *data, size_t len, struct buf *out) {
	uint8_t vector[BLOCK];
	if (len < 2 * BLOCK || len % BLOCK)
		return -EBADMSG;
	memcpy(vector, data, BLOCK);
	len -= BLOCK;
	autofree uint8_t *blocks = xmalloc(len);
	memcpy(blocks, (const uint8_t *)data + BLOCK, len);
	if (cbc(false, key, key_len, vector, blocks, len) < 0)
		return -EBADMSG;
	uint8_t pad = blocks[len - 1], wrong = pad == 0 || pad > BLOCK;
	for (size_t i = 0; !wrong && i < pad; i++)
		wrong |= blocks[len - 1 - i] ^ pad;
	if (wrong)
		return -EBADMSG;
	buf_append(out, blocks, len - pad);
	return 0;
}

/* ---- AES-GCM: nonce, bytes, tag; bound to the key in etcd ---- */

static int gcm_start(const uint8_t *key, size_t key_len, gnutls_aead_cipher_hd_t *ret) {
	gnutls_datum_t k = {.data = (unsigned char *)key, .size = (unsigned)key_len};
	gnutls_cipher_algorithm_t algorithm = key_len == 16 ? GNUTLS_CIPHER_AES_128_GCM : key_len == 24 ? GNUTLS_CIPHER_AES_192_GCM : GNUTLS_CIPHER_AES_256_GCM;
	return gnutls_aead_cipher_init(ret, algorithm, &k) < 0 ? -EINVAL : 0;
}

static int gcm_seal(const uint8_t *key, size_t key_len, const char *about, const void *data, size_t len, struct buf *out) {
	gnutls_aead_cipher_hd_t handle;
	uint8_t nonce[GCM_NONCE];
	size_t sealed = len + GCM_TAG;
	if (gcm_start(key, key_len, &handle) < 0)
		return -EINVAL;
	autofree uint8_t *bytes = xmalloc(sealed);
	random_bytes(nonce, sizeof(nonce));
	int rc = gnutls_aead_cipher_encrypt(handle, nonce, sizeof(nonce), about, strlen(about), GCM_TAG, data, len, bytes, &sealed);
	gnutls_aead_cipher_deinit(handle);
	if (rc < 0)
		return -EINVAL;
	buf_append(out, nonce, sizeof(nonce));
	buf_append(out, bytes, sealed);
	return 0;
}

static int gcm_open(const uint8_t *key, size_t key_len, const char *about, const void *data, size_t len, struct buf *out) {
	gnutls_aead_cipher_hd_t handle;
	const uint8_t *bytes = data;
	if (len < GCM_NONCE + GCM_TAG)
		return -EBADMSG;
	if (gcm_start(key, key_len, &handle) < 0)
		return -EINVAL;
	size_t opened = len - GCM_NONCE - GCM_TAG;
	autofree uint8_t *plain = xmalloc(opened + 1);
	int rc = gnutls_aead_cipher_decrypt(handle, bytes, GCM_NONCE, about, strlen(about), GCM_TAG, bytes + GCM_NONCE, len - GCM_NONCE, plain, &opened);
	gnutls_aead_cipher_deinit(handle);
	if (rc < 0)
		return -EBADMSG;
	buf_append(out, plain, opened);
	return 0;
}

/* ---- NaCl's secretbox (XSalsa20, Poly1305), which GnuTLS does not have: nonce, tag, bytes ---- */

static int box_seal(const uint8_t *key, size_t key_len, const char *about, const void *data, size_t len, struct buf *out) {
	uint8_t nonce[crypto_secretbox_NONCEBYTES];
	autofree uint8_t *bytes = xmalloc(len + crypto_secretbox_MACBYTES);
	random_bytes(nonce, sizeof(nonce));
	if (crypto_secretbox_easy(bytes, data, len, nonce, key) != 0)
		return -EINVAL;
	buf_append(out, nonce, sizeof(nonce));
	buf_append(out, bytes, len + crypto_secretbox_MACBYTES);
	return 0;
}

static int box_open(const uint8_t *key, size_t key_len, const char *about, const void *data, size_t len, struct buf *out) {
	const uint8_t *nonce = data;
	if (len < crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES)
		return -EBADMSG;
	len -= crypto_secretbox_NONCEBYTES;
	autofree uint8_t *plain = xmalloc(len);
	if (crypto_secretbox_open_easy(plain, nonce + crypto_secretbox_NONCEBYTES, len, nonce, key) != 0)
		return -EBADMSG;
	buf_append(out, plain, len - crypto_secretbox_MACBYTES);
	return 0;
}

static const struct cipher ciphers[] = {
	{"aescbc", is_aes_key, cbc_seal, cbc_open},
	{"aesgcm", is_aes_key, gcm_seal, gcm_open},
	{"secretbox", is_secretbox_key, box_seal, box_open},
};

const struct cipher *cipher_find(const char *name) {
	for (size_t i = 0; i < array_len(ciphers); i++)
		if (strcmp(ciphers[i].name, name) == 0)
			return &ciphers[i];
	return NULL;
}
