/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pods' traffic that leaves the cluster takes the node's address. The bridge plugin would do it with a chain for each
 * pod, by some six runs of iptables each; one rule a family for the whole CIDR costs nothing when a pod starts.
 */
#include "kubelet/network/internal.h"

int masquerade_set(struct network *network, const char *const *cidrs, size_t count, struct error *err)
{
	autobuf struct buf script = BUF_INIT(1 << 16);
	/* One transaction: nothing is seen half made. "add" first, so that "delete" always finds it. Overlapping
	 * intervals need auto-merge, which a named set has. */
	const char *name = network->pods_table;
	buf_printf(&script, "add table inet %s\ndelete table inet %s\ntable inet %s {\n", name, name, name);
	static const char *const families[] = {"ipv4_addr", "ipv6_addr"};
	for (int v6 = 0; v6 < 2; v6++) {
		buf_printf(&script, "set direct%d { type %s; flags interval; auto-merge; elements = { %s", v6 ? 6 : 4, families[v6],
			v6 ? "ff00::/8, fe80::/10" : "224.0.0.0/4");
		for (size_t i = 0; i < count; i++)
			if ((strchr(cidrs[i], ':') != NULL) == v6)
				buf_printf(&script, ", %s", cidrs[i]);
		for (size_t i = 0; network->direct_cidrs[i]; i++)
			if ((strchr(network->direct_cidrs[i], ':') != NULL) == v6)
				buf_printf(&script, ", %s", network->direct_cidrs[i]);
		buf_append_str(&script, " }; }\n");
	}
	buf_append_str(&script, "chain postrouting {\ntype nat hook postrouting priority 110;\n");
	for (size_t i = 0; i < count; i++) {
		bool v6 = strchr(cidrs[i], ':') != NULL;
		const char *family = v6 ? "ip6" : "ip";
		buf_printf(&script, "%s saddr %s %s daddr != @direct%d masquerade\n", family, cidrs[i], family,
			v6 ? 6 : 4);
	}
	buf_append_str(&script, "}\n}\n");
	if (network->masquerade_handle && str_equal(network->masquerade_script, script.data) && nft_table_handle(name) == network->masquerade_handle)
		return 0;
	int r = nft_run(&script, err);
	if (r < 0)
		return error_context(err, "set up masquerading of pods");
	free(network->masquerade_script);
	network->masquerade_script = buf_take(&script);
	network->masquerade_handle = nft_table_handle(name);
	return 1;
}
