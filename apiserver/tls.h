/* SPDX-License-Identifier: Apache-2.0 */
/* The server's own certificate, where none is given; and addresses. */
#ifndef CORACLE_APISERVER_TLS_H
#define CORACLE_APISERVER_TLS_H

#include "apiserver/apiserver.h"

#include <gnutls/gnutls.h>

/* The files to serve with: those of the flags, or a self-signed pair in --cert-dir, made where it is not there. The caller frees. */
int tls_files(const struct apiserver_options *options, const char *address, char **ret_cert, char **ret_key, struct error *err);
/* --advertise-address, else the address of the interface that the default route leaves by, else the loopback. The caller frees. */
char *tls_advertise_address(const struct apiserver_options *options);
/* Why a handshake as a client failed, in the words that clients of ours know. */
const char *tls_trouble(gnutls_session_t session, int rc);

#endif
