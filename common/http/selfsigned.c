/* SPDX-License-Identifier: Apache-2.0 */
#include "common/http/selfsigned.h"

#include "common/base/random.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { SERIAL_LEN = 16, LIFETIME_SECONDS = 365 * 24 * 3600, CLOCK_SKEW_SECONDS = 3600 };

static int add_address(gnutls_x509_crt_t crt, const char *text)
{
	unsigned char raw[16];
	if (inet_pton(AF_INET, text, raw) == 1)
		return gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, raw, 4, GNUTLS_FSAN_APPEND);
	if (inet_pton(AF_INET6, text, raw) == 1)
		return gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, raw, 16, GNUTLS_FSAN_APPEND);
	return GNUTLS_E_INVALID_REQUEST;
}

static int fill(gnutls_x509_crt_t crt, gnutls_x509_privkey_t key, const char *common_name, const char *const *addresses)
{
	unsigned char serial[SERIAL_LEN];
	random_bytes(serial, sizeof(serial));
	serial[0] &= 0x7f;
	time_t now = time(NULL);
	int rc = gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
	if (rc >= 0)
		rc = gnutls_x509_crt_set_version(crt, 3);
	if (rc >= 0)
		rc = gnutls_x509_crt_set_key(crt, key);
	if (rc >= 0)
		rc = gnutls_x509_crt_set_serial(crt, serial, sizeof(serial));
	if (rc >= 0)
		rc = gnutls_x509_crt_set_activation_time(crt, now - CLOCK_SKEW_SECONDS);
	if (rc >= 0)
		rc = gnutls_x509_crt_set_expiration_time(crt, now + LIFETIME_SECONDS);
	if (rc >= 0)
		rc = gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, common_name, (unsigned)strlen(common_name));
	if (rc >= 0)
		rc = gnutls_x509_crt_set_basic_constraints(crt, 0, -1);
	if (rc >= 0)
		rc = gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_DIGITAL_SIGNATURE);
	if (rc >= 0)
		rc = gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_SERVER, 0);
	if (rc >= 0)
		rc = gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, common_name, (unsigned)strlen(common_name), GNUTLS_FSAN_SET);
	for (; rc >= 0 && addresses && *addresses; addresses++)
		rc = add_address(crt, *addresses);
	return rc < 0 ? rc : gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0);
}

int selfsigned_pem(const char *common_name, const char *const *addresses, char **ret_cert, char **ret_key, struct error *err)
{
	gnutls_x509_crt_t crt = NULL;
	gnutls_x509_privkey_t key = NULL;
	gnutls_datum_t crt_pem = {0}, key_pem = {0};
	int rc = gnutls_x509_crt_init(&crt);
	if (rc >= 0)
		rc = gnutls_x509_privkey_init(&key);
	if (rc >= 0)
		rc = fill(crt, key, common_name, addresses);
	if (rc >= 0)
		rc = gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &crt_pem);
	if (rc >= 0)
		rc = gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &key_pem);
	if (rc >= 0) {
		*ret_cert = xstrndup((char *)crt_pem.data, crt_pem.size);
		*ret_key = xstrndup((char *)key_pem.data, key_pem.size);
	}
	if (key_pem.data)
		explicit_bzero(key_pem.data, key_pem.size);
	gnutls_free(crt_pem.data);
	gnutls_free(key_pem.data);
	gnutls_x509_privkey_deinit(key);
	gnutls_x509_crt_deinit(crt);
	return rc < 0 ? error_set(err, EIO, "make a certificate: %s", gnutls_strerror(rc)) : 0;
}

static int keep(const char *name, const char *text, int *ret_fd, char *path, size_t path_len)
{
	autoclose int fd = memfd_create(name, MFD_CLOEXEC);
	size_t len = strlen(text);
	if (fd < 0 || write(fd, text, len) != (ssize_t)len)
		return -errno;
	snprintf(path, path_len, "/proc/self/fd/%d", fd);
	*ret_fd = take_fd(fd);
	return 0;
}

int selfsigned_make(struct selfsigned *ret, struct error *err)
{
	char host[256] = "localhost";
	gethostname(host, sizeof(host) - 1);
	static const char *const loopback[] = {"127.0.0.1", "::1", NULL};
	autofree char *cert = NULL, *key = NULL;
	int rc = selfsigned_pem(host, loopback, &cert, &key, err);
	if (rc < 0)
		return rc;
	struct selfsigned own = SELFSIGNED_INIT;
	rc = keep("tls-cert", cert, &own.cert_fd, own.cert_path, sizeof(own.cert_path));
	if (!rc)
		rc = keep("tls-key", key, &own.key_fd, own.key_path, sizeof(own.key_path));
	explicit_bzero(key, strlen(key));
	if (rc < 0) {
		selfsigned_done(&own);
		return error_set_errno(err, rc, "keep a certificate in memory");
	}
	*ret = own;
	return 0;
}

void selfsigned_done(struct selfsigned *own)
{
	if (own->cert_fd >= 0)
		close(own->cert_fd);
	if (own->key_fd >= 0)
		close(own->key_fd);
	*own = (struct selfsigned)SELFSIGNED_INIT;
}
