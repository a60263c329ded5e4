/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates by the name that a client asks for (RFC 6066): what --tls-sni-cert-key says, and which of them a name is served with. */
#ifndef CORACLE_HTTP_SNI_H
#define CORACLE_HTTP_SNI_H

#include "common/base/error.h"

#include <gnutls/x509.h>

#define SNI_MAX_PAIRS 64
#define SNI_MAX_NAMES 256 /* of one certificate */

/* "cert.pem,key.pem" or "cert.pem,key.pem:name,*.name": without names, those that the certificate is for. */
struct sni_pair {
	char *cert_file, *key_file;
	char **names; /* lower case; NULL terminated */
};
int sni_parse(const char *text, struct sni_pair *ret, struct error *err);
void sni_pair_done(struct sni_pair *pair);
/* The names that a certificate (PEM, the first one) is for: its common name, where it can be one of a host, and its DNS names. NULL terminated; the caller frees all. */
char **sni_names_of(const gnutls_datum_t *pem);
void sni_names_free(char **names);
/* Whether one of the names is `host` itself, or (`wild`) stands for it by "*." in the place of its first label. */
bool sni_matches(char *const *names, const char *host, bool wild);

#endif
