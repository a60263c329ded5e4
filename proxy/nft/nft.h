/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transactions on one nf_tables table over netlink: messages are built with libnftnl, collected in a batch, and the kernel
 * takes all of a batch or nothing. One thread.
 */
#ifndef CORACLE_PROXY_NFT_H
#define CORACLE_PROXY_NFT_H

#include "common/base/buf.h"
#include "common/base/error.h"

#include <netinet/in.h>
#include <stdio.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

struct nft;
struct nft_batch;
struct nft_rule;

/* Opens a netlink socket in the caller's network namespace; all objects are in table `table` of family inet. */
int nft_open(const char *table, struct nft **ret, struct error *err);
void nft_close(struct nft *nft);

struct nft_batch *nft_batch_new(struct nft *nft);
void nft_batch_free(struct nft_batch *batch);
size_t nft_batch_messages(const struct nft_batch *batch);
/* Sends it and waits for the kernel's word. The batch is spent either way. */
int nft_commit(struct nft_batch *batch, struct error *err);

void nft_table_add(struct nft_batch *batch);
void nft_table_delete(struct nft_batch *batch); /* fails where there is none: add first */

/* A base chain (type "nat" or "filter") on a hook (NF_INET_*), or a plain one where type is NULL. */
void nft_chain_add(struct nft_batch *batch, const char *name, const char *type, int hook, int priority);
void nft_chain_delete(struct nft_batch *batch, const char *name);

enum nft_value { NFT_VALUE_NONE, NFT_VALUE_VERDICT, NFT_VALUE_DATA };
struct nft_set_spec {
	const char *name;
	uint32_t key_type, key_len;   /* nft's own type number, for listing; bytes, each part padded to 4 */
	enum nft_value value;
	uint32_t data_type, data_len; /* where value is NFT_VALUE_DATA */
	bool dynamic;                 /* filled by rules, entries time out */
	uint32_t size;                /* bound on a dynamic set; 0: none */
};
void nft_set_add(struct nft_batch *batch, const struct nft_set_spec *spec);
struct nft_element {
	const void *key;
	uint32_t key_len;
	const void *data; /* or NULL */
	uint32_t data_len;
	const char *chain; /* verdict goto this chain; or NULL */
};
void nft_elements_add(struct nft_batch *batch, const char *set, const struct nft_element *elements, size_t count);
void nft_elements_delete(struct nft_batch *batch, const char *set, const struct nft_element *elements, size_t count);

/* ---- rules: expressions in order, then nft_rule_commit. Registers are the 4-byte ones, 0..15. ---- */

struct nft_rule *nft_rule_new(struct nft_batch *batch, const char *chain);
void nft_rule_commit(struct nft_rule *rule);
void nft_rule_family(struct nft_rule *rule, int family); /* match NFPROTO_IPV4 or NFPROTO_IPV6 */
void nft_rule_source(struct nft_rule *rule, int family, unsigned reg);
void nft_rule_destination(struct nft_rule *rule, int family, unsigned reg);
void nft_rule_l4proto(struct nft_rule *rule, unsigned reg);
void nft_rule_destination_port(struct nft_rule *rule, unsigned reg);
void nft_rule_immediate(struct nft_rule *rule, unsigned reg, const void *data, uint32_t len);
void nft_rule_random(struct nft_rule *rule, unsigned reg, uint32_t modulus, uint32_t offset);
/* op: NFT_CMP_EQ, NFT_CMP_NEQ */
void nft_rule_compare(struct nft_rule *rule, unsigned reg, uint32_t op, const void *data, uint32_t len);
/* reg = reg & mask ^ xor */
void nft_rule_bitwise(struct nft_rule *rule, unsigned reg, const void *mask, const void *xor_with, uint32_t len);
void nft_rule_mark_load(struct nft_rule *rule, unsigned reg);
void nft_rule_mark_store(struct nft_rule *rule, unsigned reg);
void nft_rule_ct_status(struct nft_rule *rule, unsigned reg);
void nft_rule_ct_state(struct nft_rule *rule, unsigned reg);
/* Ends the rule unless the packet's destination (or source) is an address of this host. */
void nft_rule_local_destination(struct nft_rule *rule, unsigned reg);
void nft_rule_local_source(struct nft_rule *rule, unsigned reg);
void nft_rule_match_set(struct nft_rule *rule, const char *set, unsigned key_reg);
void nft_rule_lookup_verdict(struct nft_rule *rule, const char *map, unsigned key_reg);
void nft_rule_lookup_data(struct nft_rule *rule, const char *map, unsigned key_reg, unsigned data_reg);
/* Adds or refreshes key -> data in a dynamic map. */
void nft_rule_update(struct nft_rule *rule, const char *map, unsigned key_reg, unsigned data_reg, uint64_t timeout_ms);
void nft_rule_dnat(struct nft_rule *rule, int family, unsigned address_reg, unsigned port_reg);
void nft_rule_masquerade(struct nft_rule *rule);
void nft_rule_reject(struct nft_rule *rule);
/* verdict: NF_DROP, NF_ACCEPT, NFT_RETURN, NFT_GOTO or NFT_JUMP (with chain). */
void nft_rule_verdict(struct nft_rule *rule, int verdict, const char *chain);

#endif
