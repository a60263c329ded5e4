/* SPDX-License-Identifier: Apache-2.0 */
/* JSON Web Tokens (RFC 7519), by GnuTLS. */
#include "common/token/internal.h"

#include "common/base/file.h"
#include "common/base/random.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <stdio.h>

#define MAX_TOKEN (64u << 10)
#define MAX_KEY_FILE (1u << 20)
#define ES256_HALF 32

void jwt_key_free(struct jwt_key *key) {
	if (!key)
		return;
	if (key->private_key)
		gnutls_privkey_deinit(key->private_key);
	if (key->public_key)
		gnutls_pubkey_deinit(key->public_key);
	free(key->id);
	free(key);
}

bool jwt_key_is_private(const struct jwt_key *key) {
	return key->private_key != NULL;
}

const char *jwt_key_id(const struct jwt_key *key) {
	return key->id;
}

int jwt_key_settle(struct jwt_key *key) {
	int type = gnutls_pubkey_get_pk_algorithm(key->public_key, NULL);
	key->ec = type == GNUTLS_PK_ECDSA;
	if (key->ec && gnutls_pubkey_export_ecc_raw2(key->public_key, &key->curve, NULL, NULL, 0) < 0)
		return -EINVAL;
	return key->ec || type == GNUTLS_PK_RSA ? 0 : -EINVAL;
}

/* As the Go server names keys: SHA-256 over the public key's DER, base64url. */
static int set_id(struct jwt_key *key) {
	gnutls_datum_t der;
	if (gnutls_pubkey_export2(key->public_key, GNUTLS_X509_FMT_DER, &der) < 0)
		return -EINVAL;
	uint8_t digest[32];
	gnutls_hash_fast(GNUTLS_DIG_SHA256, der.data, der.size, digest);
	gnutls_free(der.data);
	key->id = base64url_encode(digest, sizeof(digest));
	return jwt_key_settle(key);
}

static int load_block(const char *pem, size_t len, struct jwt_key **ret) {
	struct jwt_key *key = xnew(struct jwt_key);
	gnutls_datum_t data = {.data = (unsigned char *)pem, .size = (unsigned)len};
	gnutls_pubkey_init(&key->public_key);
	int rc;
	if (memmem(pem, len, "PRIVATE KEY", 11)) {
		gnutls_privkey_init(&key->private_key);
		rc = gnutls_privkey_import_x509_raw(key->private_key, &data, GNUTLS_X509_FMT_PEM, NULL, 0);
		if (rc >= 0)
			rc = gnutls_pubkey_import_privkey(key->public_key, key->private_key, 0, 0);
	} else if (memmem(pem, len, "CERTIFICATE", 11)) {
		gnutls_x509_crt_t cert;
		gnutls_x509_crt_init(&cert);
		rc = gnutls_x509_crt_import(cert, &data, GNUTLS_X509_FMT_PEM);
		if (rc >= 0)
			rc = gnutls_pubkey_import_x509(key->public_key, cert, 0);
		gnutls_x509_crt_deinit(cert);
	} else {
		rc = gnutls_pubkey_import(key->public_key, &data, GNUTLS_X509_FMT_PEM);
	}
	if (rc < 0 || set_id(key) < 0) {
		jwt_key_free(key);
		return -EINVAL;
	}
	*ret = key;
	return 0;
}

int jwt_keys_load(const char *path, struct jwt_key ***keys, size_t *len, struct error *err) {
	autofree char *text = NULL;
	size_t size;
	int rc = file_read(AT_FDCWD, path, MAX_KEY_FILE, &text, &size, err);
	if (rc < 0)
		return rc;
	size_t before = *len;
	for (const char *p = text; (p = strstr(p, "-----BEGIN "));) {
		const char *end = strstr(p, "-----END ");
		end = end ? strstr(end + 9, "-----") : NULL;
		if (!end)
			break;
		end += 5;
		struct jwt_key *key;
		autofree char *block = xprintf("%.*s\n", (int)(end - p), p);
		if (!strstr(block, "EC PARAMETERS") && load_block(block, strlen(block), &key) == 0) {
			*keys = xreallocarray(*keys, *len + 1, sizeof(**keys));
			(*keys)[(*len)++] = key;
		}
		p = end;
	}
	memset(text, 0, size);
	if (*len == before)
		return error_set(err, EINVAL, "%s: no usable RSA or ECDSA key", path);
	return 0;
}

void jwt_key_jwk(const struct jwt_key *key, struct buf *out) {
	if (key->ec) {
		gnutls_datum_t x, y;
		gnutls_ecc_curve_t curve;
		if (gnutls_pubkey_export_ecc_raw2(key->public_key, &curve, &x, &y, GNUTLS_EXPORT_FLAG_NO_LZ) < 0)
			return;
		uint8_t padded[2][ES256_HALF] = {{0}};
		if (x.size <= ES256_HALF && y.size <= ES256_HALF) {
			memcpy(padded[0] + ES256_HALF - x.size, x.data, x.size);
			memcpy(padded[1] + ES256_HALF - y.size, y.data, y.size);
			autofree char *xs = base64url_encode(padded[0], ES256_HALF), *ys = base64url_encode(padded[1], ES256_HALF);
			buf_printf(out, "{\"use\":\"sig\",\"kty\":\"EC\",\"kid\":\"%s\",\"crv\":\"P-256\",\"alg\":\"ES256\",\"x\":\"%s\",\"y\":\"%s\"}", key->id, xs, ys);
		}
		gnutls_free(x.data);
		gnutls_free(y.data);
		return;
	}
	gnutls_datum_t m, e;
	if (gnutls_pubkey_export_rsa_raw2(key->public_key, &m, &e, GNUTLS_EXPORT_FLAG_NO_LZ) < 0)
		return;
	autofree char *n64 = base64url_encode(m.data, m.size), *e64 = base64url_encode(e.data, e.size);
	buf_printf(out, "{\"use\":\"sig\",\"kty\":\"RSA\",\"kid\":\"%s\",\"alg\":\"RS256\",\"n\":\"%s\",\"e\":\"%s\"}", key->id, n64, e64);
	gnutls_free(m.data);
	gnutls_free(e.data);
}

/* ECDSA: tokens carry r and s side by side, GnuTLS speaks DER. */
static char *signature_text(const struct jwt_key *key, const gnutls_datum_t *signature) {
	if (!key->ec)
		return base64url_encode(signature->data, signature->size);
	gnutls_datum_t r, s;
	if (gnutls_decode_rs_value(signature, &r, &s) < 0)
		return NULL;
	uint8_t raw[2 * ES256_HALF] = {0};
	char *text = NULL;
	/* DER integers may have a leading zero. */
	const uint8_t *rd = r.data, *sd = s.data;
	unsigned rn = r.size, sn = s.size;
	while (rn > ES256_HALF && !*rd)
		rd++, rn--;
	while (sn > ES256_HALF && !*sd)
		sd++, sn--;
	if (rn <= ES256_HALF && sn <= ES256_HALF) {
		memcpy(raw + ES256_HALF - rn, rd, rn);
		memcpy(raw + 2 * ES256_HALF - sn, sd, sn);
		text = base64url_encode(raw, sizeof(raw));
	}
	gnutls_free(r.data);
	gnutls_free(s.data);
	return text;
}

int jwt_sign(const struct jwt_key *key, const char *claims, size_t len, char **ret, struct error *err) {
	autofree char *header = xprintf("{\"alg\":\"%s\",\"kid\":\"%s\"}", key->ec ? "ES256" : "RS256", key->id);
	autofree char *header64 = base64url_encode(header, strlen(header));
	autofree char *claims64 = base64url_encode(claims, len);
	autofree char *text = xprintf("%s.%s", header64, claims64);
	gnutls_datum_t data = {.data = (unsigned char *)text, .size = (unsigned)strlen(text)}, signature;
	int rc = gnutls_privkey_sign_data2(key->private_key, key->ec ? GNUTLS_SIGN_ECDSA_SHA256 : GNUTLS_SIGN_RSA_SHA256, 0, &data, &signature);
	if (rc < 0)
		return error_set(err, EIO, "sign token: %s", gnutls_strerror(rc));
	autofree char *signature64 = signature_text(key, &signature);
	gnutls_free(signature.data);
	if (!signature64)
		return error_set(err, EIO, "sign token: unexpected signature");
	*ret = xprintf("%s.%s", text, signature64);
	return 0;
}

static json_t *decode_part(const char *s, size_t len) {
	autofree uint8_t *data = NULL;
	size_t size;
	if (base64_decode(s, len, MAX_TOKEN, &data, &size) < 0)
		return NULL;
	return json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
}

/* The two dots of a compact token. */
static bool split(const char *token, const char **dot1, const char **dot2) {
	if (strlen(token) > MAX_TOKEN)
		return false;
	*dot1 = strchr(token, '.');
	*dot2 = *dot1 ? strchr(*dot1 + 1, '.') : NULL;
	return *dot2 && !strchr(*dot2 + 1, '.');
}

json_t *jwt_peek(const char *token) {
	const char *dot1, *dot2;
	return split(token, &dot1, &dot2) ? decode_part(dot1 + 1, (size_t)(dot2 - dot1 - 1)) : NULL;
}

/* RFC 7518, 3.1. */
static const struct algorithm {
	const char *name;
	gnutls_sign_algorithm_t sign;
	gnutls_ecc_curve_t curve; /* of ECDSA; else GNUTLS_ECC_CURVE_INVALID */
	size_t half;              /* bytes of each of r and s */
} algorithms[] = {
	{"RS256", GNUTLS_SIGN_RSA_SHA256, GNUTLS_ECC_CURVE_INVALID, 0}, {"RS384", GNUTLS_SIGN_RSA_SHA384, GNUTLS_ECC_CURVE_INVALID, 0}, {"RS512", GNUTLS_SIGN_RSA_SHA512, GNUTLS_ECC_CURVE_INVALID, 0},
	{"PS256", GNUTLS_SIGN_RSA_PSS_SHA256, GNUTLS_ECC_CURVE_INVALID, 0}, {"PS384", GNUTLS_SIGN_RSA_PSS_SHA384, GNUTLS_ECC_CURVE_INVALID, 0}, {"PS512", GNUTLS_SIGN_RSA_PSS_SHA512, GNUTLS_ECC_CURVE_INVALID, 0},
	{"ES256", GNUTLS_SIGN_ECDSA_SHA256, GNUTLS_ECC_CURVE_SECP256R1, 32}, {"ES384", GNUTLS_SIGN_ECDSA_SHA384, GNUTLS_ECC_CURVE_SECP384R1, 48}, {"ES512", GNUTLS_SIGN_ECDSA_SHA512, GNUTLS_ECC_CURVE_SECP521R1, 66},
};

static const struct algorithm *algorithm_find(const char *name) {
	for (size_t i = 0; name && i < array_len(algorithms); i++)
		if (strcmp(algorithms[i].name, name) == 0)
			return &algorithms[i];
	return NULL;
}

bool jwt_is_algorithm(const char *name) {
	return algorithm_find(name) != NULL;
}

static bool verify_with(const struct jwt_key *key, const struct algorithm *algorithm, const gnutls_datum_t *data, const uint8_t *raw, size_t raw_len) {
	if (key->ec != (algorithm->half != 0) || (key->ec && key->curve != algorithm->curve))
		return false;
	if (!key->ec) {
		gnutls_datum_t signature = {.data = (unsigned char *)raw, .size = (unsigned)raw_len};
		return gnutls_pubkey_verify_data2(key->public_key, algorithm->sign, 0, data, &signature) >= 0;
	}
	if (raw_len != 2 * algorithm->half)
		return false;
	gnutls_datum_t r = {.data = (unsigned char *)raw, .size = (unsigned)algorithm->half}, s = {.data = (unsigned char *)raw + algorithm->half, .size = (unsigned)algorithm->half}, signature;
	if (gnutls_encode_rs_value(&signature, &r, &s) < 0)
		return false;
	bool good = gnutls_pubkey_verify_data2(key->public_key, algorithm->sign, 0, data, &signature) >= 0;
	gnutls_free(signature.data);
	return good;
}

struct header {
	const struct algorithm *algorithm; /* NULL: none that is known */
	char *kid;                         /* NULL: none */
	char named[16];                    /* the algorithm's name, for messages */
};

static bool read_header(const char *token, size_t len, struct header *ret) {
	json_t *tree = decode_part(token, len);
	const char *named = json_string_value(json_object_get(tree, "alg")), *kid = json_string_value(json_object_get(tree, "kid"));
	bool good = json_is_object(tree) && named;
	/* What must be understood is not: RFC 7515, 4.1.11. */
	good = good && !json_object_get(tree, "crit");
	if (good) {
		*ret = (struct header){.algorithm = algorithm_find(named), .kid = str_empty(kid) ? NULL : xstrdup(kid)};
		snprintf(ret->named, sizeof(ret->named), "%s", named);
	}
	json_decref(tree);
	return good;
}

int jwt_verify_by(struct jwt_key *const *keys, size_t key_count, const char *const *allowed, size_t allowed_count, bool by_id, const char *token, json_t **ret_claims, struct error *err) {
	const char *dot1, *dot2;
	struct header header;
	if (!split(token, &dot1, &dot2) || !read_header(token, (size_t)(dot1 - token), &header))
		return error_set(err, EACCES, "malformed token");
	autofree char *kid = header.kid;
	bool may = header.algorithm && !allowed_count;
	for (size_t i = 0; header.algorithm && i < allowed_count; i++)
		may |= strcmp(allowed[i], header.algorithm->name) == 0;
	if (!may)
		return error_set(err, EACCES, "the token is signed by \"%s\", which is not accepted", header.named);
	autofree uint8_t *raw = NULL;
	size_t raw_len;
	if (base64_decode(dot2 + 1, strlen(dot2 + 1), MAX_TOKEN, &raw, &raw_len) < 0)
		return error_set(err, EACCES, "malformed token");
	gnutls_datum_t data = {.data = (unsigned char *)token, .size = (unsigned)(dot2 - token)};
	for (size_t i = 0; i < key_count; i++) {
		if ((by_id && kid && !str_equal(keys[i]->id, kid)) || !verify_with(keys[i], header.algorithm, &data, raw, raw_len))
			continue;
		json_t *claims = jwt_peek(token);
		if (!json_is_object(claims)) {
			json_decref(claims);
			return error_set(err, EACCES, "malformed claims");
		}
		*ret_claims = claims;
		return 0;
	}
	return error_set(err, ENOKEY, "signature is not by a known key");
}

int jwt_verify(struct jwt_key *const *keys, size_t key_count, const char *token, json_t **ret_claims, struct error *err) {
	static const char *const ours[] = {"RS256", "ES256", "ES384", "ES512"};
	int rc = jwt_verify_by(keys, key_count, ours, array_len(ours), false, token, ret_claims, err);
	return rc < 0 ? -EACCES : 0;
}

bool jwt_is_for(const json_t *claims, const char *audience) {
	const json_t *aud = json_object_get(claims, "aud");
	if (json_is_string(aud))
		return strcmp(json_string_value(aud), audience) == 0;
	for (size_t i = 0; i < json_array_size(aud); i++)
		if (str_equal(json_string_value(json_array_get(aud, i)), audience))
			return true;
	return false;
}
