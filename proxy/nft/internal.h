/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the sources of this folder only. */
#ifndef CORACLE_PROXY_NFT_INTERNAL_H
#define CORACLE_PROXY_NFT_INTERNAL_H

#include "proxy/nft/nft.h"

#include <linux/netlink.h>

#define NFT_MESSAGE_MAX (128u << 10)

struct nft_batch {
	struct nft *nft;
	struct buf bytes;
	char *scratch; /* NFT_MESSAGE_MAX: where the next message is built */
	size_t last_offset;
	size_t count;
	uint32_t set_id;
};

struct nlmsghdr *nft_message(struct nft_batch *batch, uint16_t type, uint16_t flags);
void nft_message_done(struct nft_batch *batch, struct nlmsghdr *message);
const char *nft_table_name(const struct nft_batch *batch);

#endif
