/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials of TLS for a remote server: its authorities and our certificate, loaded once for as long as both stay. */
#include "apiserver/aggregator/internal.h"

#include <sys/stat.h>

static int64_t changed_at(const char *path) {
	struct stat st;
	if (str_empty(path) || stat(path, &st) < 0)
		return 0;
	return st.st_mtim.tv_sec * NSEC_PER_SEC + st.st_mtim.tv_nsec;
}

struct trust *trust_ref(struct trust *trust) {
	__atomic_add_fetch(&trust->refs, 1, __ATOMIC_RELAXED);
	return trust;
}

void trust_unref(struct trust *trust) {
	if (!trust || __atomic_sub_fetch(&trust->refs, 1, __ATOMIC_ACQ_REL))
		return;
	if (trust->credentials)
		gnutls_certificate_free_credentials(trust->credentials);
	free(trust->trouble);
	free(trust->ca);
	free(trust);
}

/* The caller frees what it says; NULL: all went well. */
static char *load(struct trust *trust, const struct apiserver_options *options) {
	int rc = gnutls_certificate_allocate_credentials(&trust->credentials);
	if (rc >= 0 && trust->verify) {
		gnutls_datum_t pem = {.data = trust->ca, .size = (unsigned)trust->ca_len};
		rc = trust->ca_len ? gnutls_certificate_set_x509_trust_mem(trust->credentials, &pem, GNUTLS_X509_FMT_PEM) : gnutls_certificate_set_x509_system_trust(trust->credentials);
		if (trust->ca_len && rc <= 0)
			return xstrdup("unable to load root certificates: unable to parse bytes as PEM block");
	}
	if (rc >= 0 && !str_empty(options->proxy_client_cert_file))
		rc = gnutls_certificate_set_x509_key_file(trust->credentials, options->proxy_client_cert_file, str_or(options->proxy_client_key_file, options->proxy_client_cert_file), GNUTLS_X509_FMT_PEM);
	return rc < 0 ? xprintf("tls: %s", gnutls_strerror(rc)) : NULL;
}

struct trust *trust_get(const struct apiserver_options *options, const void *ca, size_t ca_len, bool insecure, struct trust *old) {
	int64_t certificate_at = changed_at(options->proxy_client_cert_file);
	if (old && old->verify == !insecure && old->ca_len == ca_len && (!ca_len || memcmp(old->ca, ca, ca_len) == 0) && old->certificate_at == certificate_at)
		return trust_ref(old);
	struct trust *trust = xnew(struct trust);
	*trust = (struct trust){.refs = 1, .verify = !insecure, .ca = ca_len ? xmemdup(ca, ca_len) : NULL, .ca_len = ca_len, .certificate_at = certificate_at};
	trust->trouble = load(trust, options);
	return trust;
}
