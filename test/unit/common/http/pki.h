/* SPDX-License-Identifier: Apache-2.0 */
/* Throw-away certificates for the tests of this folder, made in memory by GnuTLS. */
#ifndef TEST_HTTP_PKI_H
#define TEST_HTTP_PKI_H

#include <assert.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct pki {
	char dir[64];
	char ca[96], cert[96], key[96], client_cert[96], client_key[96], stranger_cert[96], stranger_key[96];
	gnutls_x509_crt_t ca_crt;
	gnutls_x509_privkey_t ca_key;
};

static inline void pki_write(const char *path, const gnutls_datum_t *pem)
{
	char temp[128];
	snprintf(temp, sizeof(temp), "%s.new", path);
	FILE *f = fopen(temp, "w");
	assert(f);
	fwrite(pem->data, 1, pem->size, f);
	fclose(f);
	assert(rename(temp, path) == 0);
}

static inline gnutls_x509_privkey_t pki_key(const char *path)
{
	gnutls_x509_privkey_t key;
	gnutls_datum_t pem;
	gnutls_x509_privkey_init(&key);
	gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
	gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &pem);
	if (path)
		pki_write(path, &pem);
	gnutls_free(pem.data);
	return key;
}

/* ca NULL: signed by itself. */
static inline gnutls_x509_crt_t pki_cert(const char *path, gnutls_x509_privkey_t key, const char *cn, const char *const *orgs, int is_ca, const char *purpose,
	gnutls_x509_crt_t ca, gnutls_x509_privkey_t ca_key, unsigned char serial)
{
	gnutls_x509_crt_t crt;
	gnutls_datum_t pem;
	gnutls_x509_crt_init(&crt);
	gnutls_x509_crt_set_version(crt, 3);
	gnutls_x509_crt_set_key(crt, key);
	gnutls_x509_crt_set_serial(crt, &serial, 1);
	gnutls_x509_crt_set_activation_time(crt, time(NULL) - 60);
	gnutls_x509_crt_set_expiration_time(crt, time(NULL) + 3600);
	gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, cn, (unsigned)strlen(cn));
	for (; orgs && *orgs; orgs++)
		gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_ORGANIZATION_NAME, 0, *orgs, (unsigned)strlen(*orgs));
	gnutls_x509_crt_set_basic_constraints(crt, (unsigned)is_ca, -1);
	gnutls_x509_crt_set_key_usage(crt, is_ca ? GNUTLS_KEY_KEY_CERT_SIGN : GNUTLS_KEY_DIGITAL_SIGNATURE);
	if (purpose)
		gnutls_x509_crt_set_key_purpose_oid(crt, purpose, 0);
	unsigned char loopback[4] = {127, 0, 0, 1};
	gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, loopback, 4, GNUTLS_FSAN_SET);
	assert(gnutls_x509_crt_sign2(crt, ca ? ca : crt, ca ? ca_key : key, GNUTLS_DIG_SHA256, 0) == 0);
	gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &pem);
	pki_write(path, &pem);
	gnutls_free(pem.data);
	return crt;
}

/* A new server certificate of the same CA, moved into place. */
static inline void pki_renew(struct pki *pki, const char *cn, unsigned char serial)
{
	gnutls_x509_privkey_t key = pki_key(pki->key);
	gnutls_x509_crt_deinit(pki_cert(pki->cert, key, cn, NULL, 0, GNUTLS_KP_TLS_WWW_SERVER, pki->ca_crt, pki->ca_key, serial));
	gnutls_x509_privkey_deinit(key);
}

/* A CA, a server certificate for 127.0.0.1, a client (CN=jane, O=dev and ops) and a client nobody signed for. */
static inline void pki_make(struct pki *pki)
{
	static const char *const orgs[] = {"dev", "ops", NULL};
	snprintf(pki->dir, sizeof(pki->dir), "/tmp/http_test_XXXXXX");
	assert(mkdtemp(pki->dir));
	snprintf(pki->ca, sizeof(pki->ca), "%s/ca.crt", pki->dir);
	snprintf(pki->cert, sizeof(pki->cert), "%s/server.crt", pki->dir);
	snprintf(pki->key, sizeof(pki->key), "%s/server.key", pki->dir);
	snprintf(pki->client_cert, sizeof(pki->client_cert), "%s/client.crt", pki->dir);
	snprintf(pki->client_key, sizeof(pki->client_key), "%s/client.key", pki->dir);
	snprintf(pki->stranger_cert, sizeof(pki->stranger_cert), "%s/stranger.crt", pki->dir);
	snprintf(pki->stranger_key, sizeof(pki->stranger_key), "%s/stranger.key", pki->dir);
	pki->ca_key = pki_key(NULL);
	pki->ca_crt = pki_cert(pki->ca, pki->ca_key, "test-ca", NULL, 1, NULL, NULL, NULL, 1);
	pki_renew(pki, "server", 2);
	gnutls_x509_privkey_t key = pki_key(pki->client_key);
	gnutls_x509_crt_deinit(pki_cert(pki->client_cert, key, "jane", orgs, 0, GNUTLS_KP_TLS_WWW_CLIENT, pki->ca_crt, pki->ca_key, 3));
	gnutls_x509_privkey_deinit(key);
	key = pki_key(pki->stranger_key);
	gnutls_x509_crt_deinit(pki_cert(pki->stranger_cert, key, "jane", orgs, 0, GNUTLS_KP_TLS_WWW_CLIENT, NULL, NULL, 4));
	gnutls_x509_privkey_deinit(key);
}

static inline void pki_remove(struct pki *pki)
{
	const char *files[] = {pki->ca, pki->cert, pki->key, pki->client_cert, pki->client_key, pki->stranger_cert, pki->stranger_key};
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		unlink(files[i]);
	rmdir(pki->dir);
	gnutls_x509_crt_deinit(pki->ca_crt);
	gnutls_x509_privkey_deinit(pki->ca_key);
}

#endif
