/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/tls.h"
#include "common/base/file.h"
#include "common/base/random.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/x509.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define VALID_SECONDS (365LL * 24 * 3600)

char *tls_advertise_address(const struct apiserver_options *options) {
	if (!str_empty(options->advertise_address))
		return xstrdup(options->advertise_address);
	if (!str_empty(options->bind_address) && strcmp(options->bind_address, "0.0.0.0") != 0 && strcmp(options->bind_address, "::") != 0)
		return xstrdup(options->bind_address);
	/* Connecting a datagram socket asks the routing table and sends nothing. */
	autoclose int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(0xc6336401)}; /* 198.51.100.1, for documentation */
	socklen_t len = sizeof(address);
	char text[INET_ADDRSTRLEN] = "127.0.0.1";
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, len) == 0 && getsockname(fd, (struct sockaddr *)&address, &len) == 0)
		inet_ntop(AF_INET, &address.sin_addr, text, sizeof(text));
	return xstrdup(text);
}

static void add_ip(gnutls_x509_crt_t cert, const char *text) {
	uint8_t address[16];
	if (inet_pton(AF_INET, text, address) == 1)
		gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_IPADDRESS, address, 4, GNUTLS_FSAN_APPEND);
	else if (inet_pton(AF_INET6, text, address) == 1)
		gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_IPADDRESS, address, 16, GNUTLS_FSAN_APPEND);
}

static int fill_certificate(gnutls_x509_crt_t cert, gnutls_x509_privkey_t key, const char *address) {
	static const char *const names[] = {"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"};
	uint8_t serial[16];
	random_bytes(serial, sizeof(serial));
	serial[0] &= 0x7f;
	time_t now = (time_t)clock_wall().sec;
	gnutls_x509_crt_set_version(cert, 3);
	gnutls_x509_crt_set_serial(cert, serial, sizeof(serial));
	gnutls_x509_crt_set_activation_time(cert, now - 3600);
	gnutls_x509_crt_set_expiration_time(cert, now + (time_t)VALID_SECONDS);
	gnutls_x509_crt_set_dn_by_oid(cert, GNUTLS_OID_X520_COMMON_NAME, 0, "coracle-apiserver", strlen("coracle-apiserver"));
	for (size_t i = 0; i < array_len(names); i++)
		gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_DNSNAME, names[i], (unsigned)strlen(names[i]), GNUTLS_FSAN_APPEND);
	add_ip(cert, address);
	add_ip(cert, "127.0.0.1");
	gnutls_x509_crt_set_key_usage(cert, GNUTLS_KEY_DIGITAL_SIGNATURE | GNUTLS_KEY_KEY_CERT_SIGN);
	gnutls_x509_crt_set_key_purpose_oid(cert, GNUTLS_KP_TLS_WWW_SERVER, 0);
	gnutls_x509_crt_set_basic_constraints(cert, 1, -1);
	gnutls_x509_crt_set_key(cert, key);
	return gnutls_x509_crt_sign2(cert, cert, key, GNUTLS_DIG_SHA256, 0);
}

static int make_pair(const char *address, const char *cert_path, const char *key_path, struct error *err) {
	gnutls_x509_privkey_t key;
	gnutls_x509_crt_t cert;
	gnutls_x509_privkey_init(&key);
	gnutls_x509_crt_init(&cert);
	gnutls_datum_t cert_pem = {0}, key_pem = {0};
	int rc = gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
	if (rc >= 0)
		rc = fill_certificate(cert, key, address);
	if (rc >= 0)
		rc = gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_PEM, &cert_pem);
	if (rc >= 0)
		rc = gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN, &key_pem);
	int ret;
	if (rc < 0) {
		ret = error_set(err, EIO, "make a self-signed certificate: %s", gnutls_strerror(rc));
	} else {
		ret = file_write_durable(AT_FDCWD, key_path, key_pem.data, key_pem.size, 0600, err);
		if (ret == 0)
			ret = file_write_durable(AT_FDCWD, cert_path, cert_pem.data, cert_pem.size, 0644, err);
	}
	gnutls_free(cert_pem.data);
	gnutls_free(key_pem.data);
	gnutls_x509_crt_deinit(cert);
	gnutls_x509_privkey_deinit(key);
	return ret;
}

int tls_files(const struct apiserver_options *options, const char *address, char **ret_cert, char **ret_key, struct error *err) {
	if (!str_empty(options->tls_cert_file)) {
		*ret_cert = xstrdup(options->tls_cert_file);
		*ret_key = xstrdup(str_or(options->tls_private_key_file, options->tls_cert_file));
		return 0;
	}
	if (mkdir(options->cert_dir, 0755) < 0 && errno != EEXIST)
		return error_set_errno(err, errno, "make --cert-dir %s", options->cert_dir);
	autofree char *cert = xprintf("%s/apiserver.crt", options->cert_dir), *key = xprintf("%s/apiserver.key", options->cert_dir);
	/* Two servers may share the folder and start at once: certificate and key must come from one of them. */
	autofree char *lock = xprintf("%s/.apiserver.lock", options->cert_dir);
	autoclose int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || flock(fd, LOCK_EX) < 0)
		return error_set_errno(err, errno, "lock --cert-dir %s", options->cert_dir);
	if (access(cert, R_OK) < 0 || access(key, R_OK) < 0) {
		int rc = make_pair(address, cert, key, err);
		if (rc < 0)
			return rc;
	}
	*ret_cert = take_ptr(cert);
	*ret_key = take_ptr(key);
	return 0;
}


const char *tls_trouble(gnutls_session_t session, int rc) {
	static const struct {
		unsigned status;
		const char *text;
	} rows[] = {
		{GNUTLS_CERT_UNEXPECTED_OWNER, "tls: failed to verify certificate: x509: certificate is not valid for the name it was asked for"},
		{GNUTLS_CERT_EXPIRED | GNUTLS_CERT_NOT_ACTIVATED, "tls: failed to verify certificate: x509: certificate has expired or is not yet valid"},
		{GNUTLS_CERT_INVALID, "tls: failed to verify certificate: x509: certificate signed by unknown authority"},
	};
	if (rc != GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR)
		return gnutls_strerror(rc);
	unsigned status = gnutls_session_get_verify_cert_status(session);
	for (size_t i = 0; i < array_len(rows); i++)
		if (status & rows[i].status)
			return rows[i].text;
	return gnutls_strerror(rc);
}
