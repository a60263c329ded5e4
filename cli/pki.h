/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The certificates of a cluster: what `coracle certs` makes and checks. ECDSA P-256, authorities for ten years, leaves for
 * one. Making is idempotent: what is there is kept as long as it is signed by its authority, names whom it should, and has
 * more than thirty days to run.
 */
#ifndef CORACLE_CLI_PKI_H
#define CORACLE_CLI_PKI_H

#include "common/base/error.h"
#include "common/base/flags.h"

#define PKI_CA_DAYS 3650
#define PKI_LEAF_DAYS 365
#define PKI_RENEW_DAYS 30

struct pki_options {
	const char *dir;            /* of keys and certificates */
	const char *kubeconfig_dir; /* NULL: no kubeconfigs */
	const char *server;         /* https://host:port, as it stands in the kubeconfigs */
	const char *cluster_domain;
	struct flag_list nodes;     /* borrowed, as are the lists below */
	struct flag_list node_ips;
	struct flag_list service_ips; /* of Service default/kubernetes */
	struct flag_list sans;      /* further names and addresses of the API server */
};

/* What became of one file. */
enum pki_state { PKI_KEPT, PKI_CREATED, PKI_RENEWED };
/* report (may be NULL) is called for each certificate and kubeconfig. */
int pki_init(const struct pki_options *options, void (*report)(const char *path, enum pki_state state, void *arg), void *arg, struct error *err);

struct pki_status {
	const char *path;
	const char *subject;   /* common name */
	const char *authority; /* common name of the issuer */
	int64_t not_after;     /* seconds since 1970 */
	const char *problem;   /* NULL: none; expired, ... */
};
/* Reads every certificate of the folder (*.crt, and those inside *.kubeconfig of kubeconfig_dir). Returns 0, or -EINVAL where one has a problem. */
int pki_check(const char *dir, const char *kubeconfig_dir, void (*report)(const struct pki_status *status, void *arg), void *arg, struct error *err);

#endif
