/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/certificate/pair.h"

#include "common/base/random.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#define USER_PREFIX "system:node:"
#define GROUP "system:nodes"
#define MAX_CHAIN 16

static int tls_error(struct error *err, int code, const char *what) {
	return error_set(err, EINVAL, "%s: %s", what, gnutls_strerror(code));
}

static void wipe(char *text) {
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}

void pair_done(struct pair *pair) {
	free(pair->cert);
	wipe(pair->key);
	*pair = (struct pair){0};
}

static char *take_text(gnutls_datum_t *data) {
	char *text = xstrndup((char *)data->data, data->size);
	explicit_bzero(data->data, data->size);
	gnutls_free(data->data);
	return text;
}

int pair_make_key(char **ret_key, struct error *err) {
	gnutls_x509_privkey_t key;
	gnutls_datum_t pem = {0};
	int code = gnutls_x509_privkey_init(&key);
	if (code < 0)
		return tls_error(err, code, "make a key");
	code = gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
	if (code >= 0)
		code = gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &pem);
	gnutls_x509_privkey_deinit(key);
	if (code < 0)
		return tls_error(err, code, "make a key");
	*ret_key = take_text(&pem);
	return 0;
}

/* The bytes of a textual address; 0: it is none. */
static unsigned address_bytes(const char *text, unsigned char raw[16]) {
	return inet_pton(AF_INET, text, raw) == 1 ? 4 : inet_pton(AF_INET6, text, raw) == 1 ? 16 : 0;
}

static int fill_request(gnutls_x509_crq_t crq, gnutls_x509_privkey_t key, const char *user, const char *const *names) {
	int code = gnutls_x509_crq_set_version(crq, 1);
	if (code >= 0)
		code = gnutls_x509_crq_set_key(crq, key);
	if (code >= 0)
		code = gnutls_x509_crq_set_dn_by_oid(crq, GNUTLS_OID_X520_ORGANIZATION_NAME, 0, GROUP, strlen(GROUP));
	if (code >= 0)
		code = gnutls_x509_crq_set_dn_by_oid(crq, GNUTLS_OID_X520_COMMON_NAME, 0, user, (unsigned)strlen(user));
	for (size_t i = 0; code >= 0 && names && names[i]; i++) {
		unsigned char raw[16];
		unsigned len = address_bytes(names[i], raw);
		code = gnutls_x509_crq_set_subject_alt_name(crq, len ? GNUTLS_SAN_IPADDRESS : GNUTLS_SAN_DNSNAME, len ? (const void *)raw : names[i], len ? len : (unsigned)strlen(names[i]), GNUTLS_FSAN_APPEND);
	}
	return code < 0 ? code : gnutls_x509_crq_sign2(crq, key, GNUTLS_DIG_SHA256, 0);
}

int pair_make_request(const char *key_pem, const char *node, const char *const *names, char **ret_request, struct error *err) {
	gnutls_x509_crq_t crq = NULL;
	gnutls_x509_privkey_t key = NULL;
	gnutls_datum_t in = {(unsigned char *)key_pem, (unsigned)strlen(key_pem)}, der = {0}, out = {0};
	autofree char *user = xprintf(USER_PREFIX "%s", node);
	int code = gnutls_x509_privkey_init(&key);
	if (code >= 0)
		code = gnutls_x509_privkey_import2(key, &in, GNUTLS_X509_FMT_PEM, NULL, 0);
	if (code >= 0)
		code = gnutls_x509_crq_init(&crq);
	if (code >= 0)
		code = fill_request(crq, key, user, names);
	if (code >= 0)
		code = gnutls_x509_crq_export2(crq, GNUTLS_X509_FMT_DER, &der);
	if (code >= 0) /* the library's own form has an older name, which the API does not take */
		code = gnutls_pem_base64_encode2("CERTIFICATE REQUEST", &der, &out);
	gnutls_free(der.data);
	if (crq)
		gnutls_x509_crq_deinit(crq);
	if (key)
		gnutls_x509_privkey_deinit(key);
	if (code < 0)
		return tls_error(err, code, "make a certificate request");
	*ret_request = take_text(&out);
	return 0;
}

/* The certificates of a PEM text, whose first is the node's. On success the caller frees each and the list. */
static int read_chain(const char *pem, gnutls_x509_crt_t **ret, unsigned *ret_count) {
	gnutls_datum_t in = {(unsigned char *)pem, (unsigned)strlen(pem)};
	int code = gnutls_x509_crt_list_import2(ret, ret_count, &in, GNUTLS_X509_FMT_PEM, 0);
	return code;
}

static void free_chain(gnutls_x509_crt_t *chain, unsigned count) {
	for (unsigned i = 0; i < count; i++)
		gnutls_x509_crt_deinit(chain[i]);
	gnutls_free(chain);
}

/* The library refuses a key that is not the certificate's. */
static int check_together(const char *cert, const char *key) {
	gnutls_certificate_credentials_t credentials;
	gnutls_datum_t cert_pem = {(unsigned char *)cert, (unsigned)strlen(cert)}, key_pem = {(unsigned char *)key, (unsigned)strlen(key)};
	int code = gnutls_certificate_allocate_credentials(&credentials);
	if (code < 0)
		return code;
	code = gnutls_certificate_set_x509_key_mem2(credentials, &cert_pem, &key_pem, GNUTLS_X509_FMT_PEM, NULL, 0);
	gnutls_certificate_free_credentials(credentials);
	return code;
}

int pair_make(const char *cert, const char *key, struct pair *ret, struct error *err) {
	gnutls_x509_crt_t *chain;
	unsigned count;
	int code = read_chain(cert, &chain, &count);
	if (code < 0)
		return tls_error(err, code, "read a certificate");
	struct pair pair = {.not_before = gnutls_x509_crt_get_activation_time(chain[0]), .not_after = gnutls_x509_crt_get_expiration_time(chain[0])};
	for (unsigned i = 1; i < count; i++)
		pair.not_after = min_of(pair.not_after, (int64_t)gnutls_x509_crt_get_expiration_time(chain[i]));
	free_chain(chain, count);
	if (count > MAX_CHAIN)
		return error_set(err, E2BIG, "read a certificate: more than %d in one file", MAX_CHAIN);
	if ((code = check_together(cert, key)) < 0)
		return tls_error(err, code, "take a certificate with its key");
	pair.cert = xstrdup(cert);
	pair.key = xstrdup(key);
	*ret = pair;
	return 0;
}

static bool subject_has(gnutls_x509_crt_t crt, const char *oid, const char *wanted) {
	for (unsigned i = 0;; i++) {
		char text[512];
		size_t size = sizeof(text);
		int code = gnutls_x509_crt_get_dn_by_oid(crt, oid, i, 0, text, &size);
		if (code == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
			return false;
		if (code >= 0 && str_equal(text, wanted))
			return true;
	}
}

static bool serves_as(gnutls_x509_crt_t crt, const char *name) {
	unsigned char raw[16];
	unsigned len = address_bytes(name, raw);
	for (unsigned i = 0;; i++) {
		char text[512];
		size_t size = sizeof(text);
		int type = gnutls_x509_crt_get_subject_alt_name(crt, i, text, &size, NULL);
		if (type == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
			return false;
		if (len ? type == GNUTLS_SAN_IPADDRESS && size == len && memcmp(text, raw, len) == 0 : type == GNUTLS_SAN_DNSNAME && size == strlen(name) && memcmp(text, name, size) == 0)
			return true;
	}
}

bool pair_is_for(const struct pair *pair, const char *node, const char *const *names) {
	gnutls_x509_crt_t *chain;
	unsigned count;
	autofree char *user = xprintf(USER_PREFIX "%s", node);
	if (!pair->cert || read_chain(pair->cert, &chain, &count) < 0)
		return false;
	bool is = subject_has(chain[0], GNUTLS_OID_X520_COMMON_NAME, user) && subject_has(chain[0], GNUTLS_OID_X520_ORGANIZATION_NAME, GROUP);
	for (size_t i = 0; is && names && names[i]; i++)
		is = serves_as(chain[0], names[i]);
	free_chain(chain, count);
	return is;
}

bool pair_is_valid(const struct pair *pair, int64_t now) {
	return pair->cert && now <= pair->not_after;
}

int64_t pair_renew_at(const struct pair *pair) {
	int64_t life = max_of(pair->not_after - pair->not_before, (int64_t)0);
	return pair->not_before + life / 10 * 7 + (int64_t)random_below((uint64_t)(life / 5) + 1);
}
