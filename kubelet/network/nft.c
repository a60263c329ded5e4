/* SPDX-License-Identifier: Apache-2.0 */
/* What this folder asks of nf_tables: whole tables as scripts of nft's, and whether they still stand. */
#include "kubelet/network/internal.h"

#include "common/base/process.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <libnftnl/table.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#define NFT_TIMEOUT_MS 10000

static int on_table(const struct nlmsghdr *header, void *arg)
{
	struct nftnl_table *table = nftnl_table_alloc();
	if (table && nftnl_table_nlmsg_parse(header, table) == 0)
		*(uint64_t *)arg = nftnl_table_get_u64(table, NFTNL_TABLE_HANDLE);
	nftnl_table_free(table);
	return MNL_CB_OK;
}

uint64_t nft_table_handle(const char *name)
{
	char block[4096] __attribute__((aligned(8)));
	uint64_t handle = 0;
	struct nlmsghdr *header = nftnl_nlmsg_build_hdr(block, NFT_MSG_GETTABLE, NFPROTO_INET, 0, 1);
	struct nftnl_table *table = nftnl_table_alloc();
	struct mnl_socket *socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	if (table && socket && mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) == 0) {
		nftnl_table_set_str(table, NFTNL_TABLE_NAME, name);
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

int nft_run(const struct buf *script, struct error *err)
{
	if (buf_failed(script))
		return error_set(err, E2BIG, "more rules than %zu bytes", script->max);
	const char *const argv[] = {"nft", "-f", "-", NULL};
	struct process_options options = PROCESS_OPTIONS_INIT;
	options.argv = argv;
	autobuf struct buf out = BUF_INIT(1 << 16), errout = BUF_INIT(1 << 16);
	return process_run(&options, script->data, script->len, &out, &errout, NFT_TIMEOUT_MS, NULL, err);
}

int nft_delete_table(const char *name, struct error *err)
{
	autobuf struct buf script = BUF_INIT(1 << 10);
	if (!nft_table_handle(name))
		return 0;
	buf_printf(&script, "add table inet %s\ndelete table inet %s\n", name, name);
	return nft_run(&script, err);
}
