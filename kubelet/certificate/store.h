/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a kubelet keeps its certificates, as Kubernetes does: <dir>/<prefix>-current.pem is a link to the newest of <prefix>-<time>.pem, each a certificate and its
 * key in one file. The link is swapped, so whoever opens it finds a whole pair.
 */
#ifndef CORACLE_KUBELET_CERTIFICATE_STORE_H
#define CORACLE_KUBELET_CERTIFICATE_STORE_H

#include "kubelet/certificate/pair.h"

/* The caller frees. */
char *pair_store_path(const char *dir, const char *prefix);
/* -ENOENT where there is none. */
int pair_store_read(const char *dir, const char *prefix, struct pair *ret, struct error *err);
int pair_store_write(const char *dir, const char *prefix, const struct pair *pair, struct error *err);
/* Of two files; the same one twice is fine. */
int pair_read_files(const char *cert_file, const char *key_file, struct pair *ret, struct error *err);

#endif
