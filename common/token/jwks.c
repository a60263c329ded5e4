/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of keys, as issuers of tokens publish them: JSON Web Key Sets (RFC 7517, 7518). */
#include "common/token/internal.h"

#include "common/base/random.h"

#include <errno.h>

#define MAX_SET ((size_t)1 << 20)
#define MAX_NUMBER 2048 /* bytes: RSA of 16,384 bits */
#define MIN_MODULUS 128

static bool number(const json_t *jwk, const char *name, gnutls_datum_t *ret) {
	const char *text = json_string_value(json_object_get(jwk, name));
	uint8_t *data;
	size_t len;
	if (str_empty(text) || base64_decode(text, strlen(text), MAX_NUMBER, &data, &len) < 0)
		return false;
	*ret = (gnutls_datum_t){.data = data, .size = (unsigned)len};
	return true;
}

static int import_rsa(struct jwt_key *key, const json_t *jwk) {
	gnutls_datum_t n = {0}, e = {0};
	int rc = -EINVAL;
	if (number(jwk, "n", &n) && number(jwk, "e", &e) && n.size >= MIN_MODULUS && e.size && e.size <= 8)
		rc = gnutls_pubkey_import_rsa_raw(key->public_key, &n, &e) < 0 ? -EINVAL : 0;
	free(n.data);
	free(e.data);
	return rc;
}

static int import_ec(struct jwt_key *key, const json_t *jwk) {
	static const struct {
		const char *name;
		gnutls_ecc_curve_t curve;
		unsigned size;
	} curves[] = {{"P-256", GNUTLS_ECC_CURVE_SECP256R1, 32}, {"P-384", GNUTLS_ECC_CURVE_SECP384R1, 48}, {"P-521", GNUTLS_ECC_CURVE_SECP521R1, 66}};
	gnutls_datum_t x = {0}, y = {0};
	int rc = -EINVAL;
	size_t i = 0;
	while (i < array_len(curves) && !str_equal(json_string_value(json_object_get(jwk, "crv")), curves[i].name))
		i++;
	if (i < array_len(curves) && number(jwk, "x", &x) && number(jwk, "y", &y) && x.size <= curves[i].size && y.size <= curves[i].size)
		rc = gnutls_pubkey_import_ecc_raw(key->public_key, curves[i].curve, &x, &y) < 0 ? -EINVAL : 0;
	free(x.data);
	free(y.data);
	return rc;
}

static struct jwt_key *import(const json_t *jwk) {
	const char *type = json_string_value(json_object_get(jwk, "kty")), *use = json_string_value(json_object_get(jwk, "use"));
	struct jwt_key *key = xnew(struct jwt_key);
	int rc = -EINVAL;
	gnutls_pubkey_init(&key->public_key);
	key->id = xstrdup(str_or(json_string_value(json_object_get(jwk, "kid")), ""));
	if (!str_empty(use) && strcmp(use, "sig") != 0)
		rc = -EINVAL;
	else if (str_equal(type, "RSA"))
		rc = import_rsa(key, jwk);
	else if (str_equal(type, "EC"))
		rc = import_ec(key, jwk);
	if (rc < 0 || jwt_key_settle(key) < 0) {
		jwt_key_free(key);
		return NULL;
	}
	return key;
}

int jwt_keys_parse_set(const char *json, size_t len, struct jwt_key ***keys, size_t *key_count, struct error *err) {
	json_error_t where;
	json_t *tree = len <= MAX_SET ? json_loadb(json, len, 0, &where) : NULL, *list = json_object_get(tree, "keys"), *jwk;
	size_t i;
	if (!json_is_array(list)) {
		json_decref(tree);
		return error_set(err, EINVAL, "it is no set of keys");
	}
	json_array_foreach(list, i, jwk) {
		struct jwt_key *key = i < JWT_MAX_KEYS ? import(jwk) : NULL;
		if (!key)
			continue;
		*keys = xreallocarray(*keys, *key_count + 1, sizeof(**keys));
		(*keys)[(*key_count)++] = key;
	}
	json_decref(tree);
	return 0;
}
