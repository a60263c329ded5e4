/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/nft/internal.h"

#include <errno.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <linux/netfilter/nfnetlink.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH_MAX_BYTES ((size_t)256 << 20)
#define ELEMENTS_PER_MESSAGE 400 /* a nested attribute holds 64 KiB at most; an element takes under 120 bytes */
#define SOCKET_BUFFER_BYTES (4 << 20)
#define ANSWER_TIMEOUT_MS 30000

struct nft {
	struct nl_sock *socket;
	char *table;
	uint32_t sequence;
};

int nft_open(const char *table, struct nft **ret, struct error *err) {
	struct nl_sock *socket = nl_socket_alloc();
	if (!socket)
		return error_set(err, ENOMEM, "no netlink socket");
	int r = nl_connect(socket, NETLINK_NETFILTER);
	if (r < 0) {
		nl_socket_free(socket);
		return error_set(err, EIO, "connect to nf_tables by netlink: %s", nl_geterror(r));
	}
	nl_socket_set_buffer_size(socket, SOCKET_BUFFER_BYTES, SOCKET_BUFFER_BYTES);
	struct nft *nft = xnew(struct nft);
	*nft = (struct nft){.socket = socket, .table = xstrdup(table), .sequence = 1};
	*ret = nft;
	return 0;
}

void nft_close(struct nft *nft) {
	if (!nft)
		return;
	nl_socket_free(nft->socket);
	free(nft->table);
	free(nft);
}

struct nlmsghdr *nft_message(struct nft_batch *batch, uint16_t type, uint16_t flags) {
	batch->count++;
	return nftnl_nlmsg_build_hdr(batch->scratch, type, NFPROTO_INET, flags, batch->nft->sequence++);
}

void nft_message_done(struct nft_batch *batch, struct nlmsghdr *message) {
	batch->last_offset = batch->bytes.len;
	buf_append(&batch->bytes, message, NLMSG_ALIGN(message->nlmsg_len));
}

static void append_marker(struct nft_batch *batch, uint16_t type) {
	struct {
		struct nlmsghdr header;
		struct nfgenmsg body;
	} message = {
		.header = {.nlmsg_len = sizeof(message), .nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST, .nlmsg_seq = batch->nft->sequence++},
		.body = {.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0, .res_id = htobe16(NFNL_SUBSYS_NFTABLES)},
	};
	buf_append(&batch->bytes, &message, sizeof(message));
}

struct nft_batch *nft_batch_new(struct nft *nft) {
	struct nft_batch *batch = xnew(struct nft_batch);
	batch->nft = nft;
	batch->bytes = BUF_INIT(BATCH_MAX_BYTES);
	batch->scratch = xmalloc(NFT_MESSAGE_MAX);
	append_marker(batch, NFNL_MSG_BATCH_BEGIN);
	return batch;
}

void nft_batch_free(struct nft_batch *batch) {
	if (!batch)
		return;
	buf_done(&batch->bytes);
	free(batch->scratch);
	free(batch);
}

size_t nft_batch_messages(const struct nft_batch *batch) {
	return batch->count;
}

/*
 * Only the last message asks for an answer; the kernel also answers for each that failed. So the answer to the last ends
 * the reading, and any error before it is the transaction's.
 */
static int read_answers(struct nft *nft, uint32_t last_sequence, struct error *err) {
	int fd = nl_socket_get_fd(nft->socket);
	autofree char *buffer = xmalloc(NFT_MESSAGE_MAX);
	int failure = 0;
	for (;;) {
		struct pollfd ready = {.fd = fd, .events = POLLIN};
		int n = poll(&ready, 1, ANSWER_TIMEOUT_MS);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return error_set(err, ETIMEDOUT, "nf_tables did not answer");
		ssize_t len = recv(fd, buffer, NFT_MESSAGE_MAX, MSG_DONTWAIT);
		if (len < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (len < 0)
			return error_set_errno(err, errno, "read nf_tables' answer");
		int left = (int)len;
		for (struct nlmsghdr *m = (struct nlmsghdr *)(void *)buffer; NLMSG_OK(m, (unsigned)left); m = NLMSG_NEXT(m, left)) {
			if (m->nlmsg_type != NLMSG_ERROR || m->nlmsg_len < NLMSG_LENGTH(sizeof(struct nlmsgerr)))
				continue;
			const struct nlmsgerr *answer = NLMSG_DATA(m);
			if (answer->error && !failure)
				failure = error_set_errno(err, -answer->error, "nf_tables refused message %u (type %u)", m->nlmsg_seq, answer->msg.nlmsg_type & 0xff);
			if (m->nlmsg_seq == last_sequence)
				return failure;
		}
	}
}

int nft_commit(struct nft_batch *batch, struct error *err) {
	if (!batch->count)
		return 0;
	struct nlmsghdr *last = (struct nlmsghdr *)(void *)(batch->bytes.data + batch->last_offset);
	last->nlmsg_flags |= NLM_F_ACK;
	uint32_t last_sequence = last->nlmsg_seq;
	append_marker(batch, NFNL_MSG_BATCH_END);
	if (buf_failed(&batch->bytes))
		return error_set(err, EFBIG, "a transaction of more than %zu bytes", batch->bytes.max);
	/* One datagram is one transaction, so the socket must be able to take it whole. */
	int size = (int)min_of(batch->bytes.len * 2 + 65536, (size_t)INT32_MAX);
	int fd = nl_socket_get_fd(batch->nft->socket);
	if (size > SOCKET_BUFFER_BYTES && setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	int r = nl_sendto(batch->nft->socket, batch->bytes.data, batch->bytes.len);
	if (r < 0)
		return error_set(err, EIO, "send %zu bytes to nf_tables: %s", batch->bytes.len, nl_geterror(r));
	return read_answers(batch->nft, last_sequence, err);
}

static void table_message(struct nft_batch *batch, uint16_t type, uint16_t flags) {
	struct nftnl_table *table = nftnl_table_alloc();
	nftnl_table_set_str(table, NFTNL_TABLE_NAME, batch->nft->table);
	struct nlmsghdr *m = nft_message(batch, type, flags);
	nftnl_table_nlmsg_build_payload(m, table);
	nft_message_done(batch, m);
	nftnl_table_free(table);
}

void nft_table_add(struct nft_batch *batch) {
	table_message(batch, NFT_MSG_NEWTABLE, NLM_F_CREATE);
}

void nft_table_delete(struct nft_batch *batch) {
	table_message(batch, NFT_MSG_DELTABLE, 0);
}

const char *nft_table_name(const struct nft_batch *batch) {
	return batch->nft->table;
}

void nft_chain_add(struct nft_batch *batch, const char *name, const char *type, int hook, int priority) {
	struct nftnl_chain *chain = nftnl_chain_alloc();
	nftnl_chain_set_str(chain, NFTNL_CHAIN_TABLE, batch->nft->table);
	nftnl_chain_set_str(chain, NFTNL_CHAIN_NAME, name);
	if (type) {
		nftnl_chain_set_str(chain, NFTNL_CHAIN_TYPE, type);
		nftnl_chain_set_u32(chain, NFTNL_CHAIN_HOOKNUM, (uint32_t)hook);
		nftnl_chain_set_s32(chain, NFTNL_CHAIN_PRIO, priority);
		nftnl_chain_set_u32(chain, NFTNL_CHAIN_POLICY, NF_ACCEPT);
	}
	struct nlmsghdr *m = nft_message(batch, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
	nftnl_chain_nlmsg_build_payload(m, chain);
	nft_message_done(batch, m);
	nftnl_chain_free(chain);
}

void nft_chain_delete(struct nft_batch *batch, const char *name) {
	struct nftnl_chain *chain = nftnl_chain_alloc();
	nftnl_chain_set_str(chain, NFTNL_CHAIN_TABLE, batch->nft->table);
	nftnl_chain_set_str(chain, NFTNL_CHAIN_NAME, name);
	struct nlmsghdr *m = nft_message(batch, NFT_MSG_DELCHAIN, 0);
	nftnl_chain_nlmsg_build_payload(m, chain);
	nft_message_done(batch, m);
	nftnl_chain_free(chain);
}

void nft_set_add(struct nft_batch *batch, const struct nft_set_spec *spec) {
	struct nftnl_set *set = nftnl_set_alloc();
	uint32_t flags = (spec->value == NFT_VALUE_NONE ? 0 : NFT_SET_MAP) | (spec->dynamic ? NFT_SET_TIMEOUT | NFT_SET_EVAL : 0);
	nftnl_set_set_str(set, NFTNL_SET_TABLE, batch->nft->table);
	nftnl_set_set_str(set, NFTNL_SET_NAME, spec->name);
	nftnl_set_set_u32(set, NFTNL_SET_FAMILY, NFPROTO_INET);
	nftnl_set_set_u32(set, NFTNL_SET_ID, ++batch->set_id);
	nftnl_set_set_u32(set, NFTNL_SET_FLAGS, flags);
	nftnl_set_set_u32(set, NFTNL_SET_KEY_TYPE, spec->key_type);
	nftnl_set_set_u32(set, NFTNL_SET_KEY_LEN, spec->key_len);
	if (spec->value == NFT_VALUE_VERDICT)
		nftnl_set_set_u32(set, NFTNL_SET_DATA_TYPE, NFT_DATA_VERDICT);
	if (spec->value == NFT_VALUE_DATA) {
		nftnl_set_set_u32(set, NFTNL_SET_DATA_TYPE, spec->data_type);
		nftnl_set_set_u32(set, NFTNL_SET_DATA_LEN, spec->data_len);
	}
	if (spec->size)
		nftnl_set_set_u32(set, NFTNL_SET_DESC_SIZE, spec->size);
	struct nlmsghdr *m = nft_message(batch, NFT_MSG_NEWSET, NLM_F_CREATE);
	nftnl_set_nlmsg_build_payload(m, set);
	nft_message_done(batch, m);
	nftnl_set_free(set);
}

static void elements_message(struct nft_batch *batch, uint16_t type, uint16_t flags, const char *name, const struct nft_element *elements, size_t count) {
	struct nftnl_set *set = nftnl_set_alloc();
	nftnl_set_set_str(set, NFTNL_SET_TABLE, batch->nft->table);
	nftnl_set_set_str(set, NFTNL_SET_NAME, name);
	for (size_t i = 0; i < count; i++) {
		struct nftnl_set_elem *elem = nftnl_set_elem_alloc();
		nftnl_set_elem_set(elem, NFTNL_SET_ELEM_KEY, elements[i].key, elements[i].key_len);
		if (elements[i].chain) {
			nftnl_set_elem_set_u32(elem, NFTNL_SET_ELEM_VERDICT, (uint32_t)NFT_GOTO);
			nftnl_set_elem_set_str(elem, NFTNL_SET_ELEM_CHAIN, elements[i].chain);
		} else if (elements[i].data) {
			nftnl_set_elem_set(elem, NFTNL_SET_ELEM_DATA, elements[i].data, elements[i].data_len);
		}
		nftnl_set_elem_add(set, elem);
	}
	struct nlmsghdr *m = nft_message(batch, type, flags);
	nftnl_set_elems_nlmsg_build_payload(m, set);
	nft_message_done(batch, m);
	nftnl_set_free(set);
}

static void elements_in_parts(struct nft_batch *batch, uint16_t type, uint16_t flags, const char *name, const struct nft_element *elements, size_t count) {
	for (size_t done = 0; done < count; done += ELEMENTS_PER_MESSAGE)
		elements_message(batch, type, flags, name, elements + done, min_of(count - done, (size_t)ELEMENTS_PER_MESSAGE));
}

void nft_elements_add(struct nft_batch *batch, const char *set, const struct nft_element *elements, size_t count) {
	elements_in_parts(batch, NFT_MSG_NEWSETELEM, NLM_F_CREATE, set, elements, count);
}

void nft_elements_delete(struct nft_batch *batch, const char *set, const struct nft_element *elements, size_t count) {
	elements_in_parts(batch, NFT_MSG_DELSETELEM, 0, set, elements, count);
}
