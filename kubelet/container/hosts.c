/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/container/hosts.h"

static void write_managed(struct buf *out, const char *const *ips, size_t ip_count, const char *hostname, const char *domain) {
	buf_append_str(out, "# Kubernetes-managed hosts file.\n"
			    "127.0.0.1\tlocalhost\n"
			    "::1\tlocalhost ip6-localhost ip6-loopback\n"
			    "fe00::0\tip6-localnet\n"
			    "fe00::0\tip6-mcastprefix\n"
			    "fe00::1\tip6-allnodes\n"
			    "fe00::2\tip6-allrouters\n");
	for (size_t i = 0; i < ip_count; i++) {
		if (str_empty(domain))
			buf_printf(out, "%s\t%s\n", ips[i], hostname);
		else
			buf_printf(out, "%s\t%s.%s\t%s\n", ips[i], hostname, domain, hostname);
	}
}

void hosts_write(struct buf *out, const char *host_file, const char *const *ips, size_t ip_count, const char *hostname, const char *domain, const struct hosts_alias *aliases, size_t alias_count) {
	if (host_file) {
		buf_append_str(out, "# Kubernetes-managed hosts file (host network).\n");
		buf_append_str(out, host_file);
	} else {
		write_managed(out, ips, ip_count, hostname, domain);
	}
	if (!alias_count)
		return;
	buf_append_str(out, "\n# Entries added by HostAliases.\n");
	for (size_t i = 0; i < alias_count; i++) {
		buf_append_str(out, aliases[i].ip);
		for (size_t j = 0; j < aliases[i].hostname_count; j++)
			buf_printf(out, "\t%s", aliases[i].hostnames[j]);
		buf_append_char(out, '\n');
	}
}
