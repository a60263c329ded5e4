/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A certificate signed by itself, for servers that were given none, as the Kubernetes daemons do: it names this host and
 * loopback, is good for a year and lives in memory only.
 */
#ifndef CORACLE_HTTP_SELFSIGNED_H
#define CORACLE_HTTP_SELFSIGNED_H

#include "common/base/error.h"

struct selfsigned {
	int cert_fd, key_fd;
	char cert_path[32], key_path[32]; /* readable by this process while the fds are open */
};
#define SELFSIGNED_INIT {.cert_fd = -1, .key_fd = -1}

int selfsigned_make(struct selfsigned *ret, struct error *err);
void selfsigned_done(struct selfsigned *own);
/* The same into PEM text, for those who keep it in files. The caller frees both. `addresses` (textual IPs, NULL terminated) may be NULL. */
int selfsigned_pem(const char *common_name, const char *const *addresses, char **ret_cert, char **ret_key, struct error *err);

#endif
