/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pods' traffic that leaves the cluster takes the node's address. The bridge plugin would do it with a chain for each
 * pod, by some six runs of iptables each; one rule a family for the whole CIDR costs nothing when a pod starts.
 */
#include "kubelet/network/internal.h"

#include "common/base/process.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <libnftnl/table.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#define NAME "coracle-pods"
#define TABLE "inet " NAME

static int on_table(const struct nlmsghdr *header, void *arg)
{
	struct nftnl_table *table = nftnl_table_alloc();
	if (table && nftnl_table_nlmsg_parse(header, table) == 0)
		*(uint64_t *)arg = nftnl_table_get_u64(table, NFTNL_TABLE_HANDLE);
	nftnl_table_free(table);
	return MNL_CB_OK;
}

/* The kernel's number of our table, another one each time it is made; 0 where there is none. One question, so that it can be asked often. */
static uint64_t table_handle(void)
{
	char block[4096] __attribute__((aligned(8)));
	uint64_t handle = 0;
	struct nlmsghdr *header = nftnl_nlmsg_build_hdr(block, NFT_MSG_GETTABLE, NFPROTO_INET, 0, 1);
	struct nftnl_table *table = nftnl_table_alloc();
	struct mnl_socket *socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	if (table && socket && mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) == 0) {
		nftnl_table_set_str(table, NFTNL_TABLE_NAME, NAME);
		nftnl_table_nlmsg_build_payload(header, table);
		ssize_t n = mnl_socket_sendto(socket, header, header->nlmsg_len) < 0 ? -1 : mnl_socket_recvfrom(socket, block, sizeof(block));
		if (n > 0)
			mnl_cb_run(block, (size_t)n, 1, mnl_socket_get_portid(socket), on_table, &handle);
	}
	if (socket)
		mnl_socket_close(socket);
	if (table)
		nftnl_table_free(table);
	return handle;
}

int masquerade_set(struct network *network, const char *const *cidrs, size_t count, struct error *err)
{
	autobuf struct buf script = BUF_INIT(1 << 16);
	/* One transaction: nothing is seen half made. "add" first, so that "delete" always finds it. Overlapping
	 * intervals need auto-merge, which a named set has. */
	buf_append_str(&script, "add table " TABLE "\ndelete table " TABLE "\nadd table " TABLE "\n");
	buf_append_str(&script, "add chain " TABLE " postrouting { type nat hook postrouting priority 110; }\n");
	static const char *const families[] = {"ipv4_addr", "ipv6_addr"};
	for (int v6 = 0; v6 < 2; v6++) {
		buf_printf(&script, "add set " TABLE " direct%d { type %s; flags interval; auto-merge; elements = { %s", v6 ? 6 : 4, families[v6],
			v6 ? "ff00::/8, fe80::/10" : "224.0.0.0/4");
		for (size_t i = 0; i < count; i++)
			if ((strchr(cidrs[i], ':') != NULL) == v6)
				buf_printf(&script, ", %s", cidrs[i]);
		for (size_t i = 0; network->direct_cidrs[i]; i++)
			if ((strchr(network->direct_cidrs[i], ':') != NULL) == v6)
				buf_printf(&script, ", %s", network->direct_cidrs[i]);
		buf_append_str(&script, " }; }\n");
	}
	for (size_t i = 0; i < count; i++) {
		bool v6 = strchr(cidrs[i], ':') != NULL;
		const char *family = v6 ? "ip6" : "ip";
		buf_printf(&script, "add rule " TABLE " postrouting %s saddr %s %s daddr != @direct%d masquerade\n", family, cidrs[i], family,
			v6 ? 6 : 4);
	}
	if (network->masquerade_handle && str_equal(network->masquerade_script, script.data) && table_handle() == network->masquerade_handle)
		return 0;
	const char *const argv[] = {"nft", "-f", "-", NULL};
	struct process_options options = PROCESS_OPTIONS_INIT;
	options.argv = argv;
	autobuf struct buf out = BUF_INIT(1 << 16), errout = BUF_INIT(1 << 16);
	int r = process_run(&options, script.data, script.len, &out, &errout, 10000, NULL, err);
	if (r < 0)
		return error_context(err, "set up masquerading of pods");
	free(network->masquerade_script);
	network->masquerade_script = buf_take(&script);
	network->masquerade_handle = table_handle();
	return 1;
}
