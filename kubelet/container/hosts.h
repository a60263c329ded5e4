/* SPDX-License-Identifier: Apache-2.0 */
/* The /etc/hosts that all containers of a pod share. */
#ifndef CORACLE_KUBELET_HOSTS_H
#define CORACLE_KUBELET_HOSTS_H

#include "common/base/buf.h"

struct hosts_alias {
	const char *ip;
	const char *const *hostnames;
	size_t hostname_count;
};

/*
 * Appends the file's text. host_file: the node's own file for pods on the host's network, else NULL; ips: the pod's addresses, not used
 * with host_file; domain: "<subdomain>.<namespace>.svc.<cluster domain>" or NULL.
 */
void hosts_write(struct buf *out, const char *host_file, const char *const *ips, size_t ip_count, const char *hostname, const char *domain, const struct hosts_alias *aliases, size_t alias_count);

#endif
