/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/nft/internal.h"

#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <linux/netfilter/nf_nat.h>

struct nft_rule {
	struct nft_batch *batch;
	struct nftnl_rule *rule;
};

static uint32_t reg32(unsigned reg) {
	return NFT_REG32_00 + reg;
}

static struct nftnl_expr *expression(struct nft_rule *rule, const char *name) {
	struct nftnl_expr *expr = nftnl_expr_alloc(name);
	if (!expr)
		abort(); /* out of memory, or a name libnftnl does not know: both are ours to notice in the first test */
	nftnl_rule_add_expr(rule->rule, expr);
	return expr;
}

struct nft_rule *nft_rule_new(struct nft_batch *batch, const char *chain) {
	struct nft_rule *rule = xnew(struct nft_rule);
	rule->batch = batch;
	rule->rule = nftnl_rule_alloc();
	nftnl_rule_set_str(rule->rule, NFTNL_RULE_TABLE, nft_table_name(batch));
	nftnl_rule_set_str(rule->rule, NFTNL_RULE_CHAIN, chain);
	nftnl_rule_set_u32(rule->rule, NFTNL_RULE_FAMILY, NFPROTO_INET);
	return rule;
}

void nft_rule_commit(struct nft_rule *rule) {
	struct nlmsghdr *m = nft_message(rule->batch, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
	nftnl_rule_nlmsg_build_payload(m, rule->rule);
	nft_message_done(rule->batch, m);
	nftnl_rule_free(rule->rule);
	free(rule);
}

static void load_meta(struct nft_rule *rule, uint32_t key, unsigned reg) {
	struct nftnl_expr *e = expression(rule, "meta");
	nftnl_expr_set_u32(e, NFTNL_EXPR_META_KEY, key);
	nftnl_expr_set_u32(e, NFTNL_EXPR_META_DREG, reg32(reg));
}

static void load_payload(struct nft_rule *rule, uint32_t base, uint32_t offset, uint32_t len, unsigned reg) {
	struct nftnl_expr *e = expression(rule, "payload");
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_BASE, base);
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_LEN, len);
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_DREG, reg32(reg));
}

void nft_rule_compare(struct nft_rule *rule, unsigned reg, uint32_t op, const void *data, uint32_t len) {
	struct nftnl_expr *e = expression(rule, "cmp");
	nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_SREG, reg32(reg));
	nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_OP, op);
	nftnl_expr_set(e, NFTNL_EXPR_CMP_DATA, data, len);
}

void nft_rule_family(struct nft_rule *rule, int family) {
	uint8_t value = (uint8_t)family;
	load_meta(rule, NFT_META_NFPROTO, 0);
	nft_rule_compare(rule, 0, NFT_CMP_EQ, &value, sizeof(value));
}

/* Offsets of the addresses: RFC 791 section 3.1, RFC 8200 section 3. */
void nft_rule_source(struct nft_rule *rule, int family, unsigned reg) {
	if (family == NFPROTO_IPV4)
		load_payload(rule, NFT_PAYLOAD_NETWORK_HEADER, 12, 4, reg);
	else
		load_payload(rule, NFT_PAYLOAD_NETWORK_HEADER, 8, 16, reg);
}

void nft_rule_destination(struct nft_rule *rule, int family, unsigned reg) {
	if (family == NFPROTO_IPV4)
		load_payload(rule, NFT_PAYLOAD_NETWORK_HEADER, 16, 4, reg);
	else
		load_payload(rule, NFT_PAYLOAD_NETWORK_HEADER, 24, 16, reg);
}

void nft_rule_l4proto(struct nft_rule *rule, unsigned reg) {
	load_meta(rule, NFT_META_L4PROTO, reg);
}

void nft_rule_destination_port(struct nft_rule *rule, unsigned reg) {
	load_payload(rule, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, reg);
}

void nft_rule_immediate(struct nft_rule *rule, unsigned reg, const void *data, uint32_t len) {
	struct nftnl_expr *e = expression(rule, "immediate");
	nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, reg32(reg));
	nftnl_expr_set(e, NFTNL_EXPR_IMM_DATA, data, len);
}

void nft_rule_random(struct nft_rule *rule, unsigned reg, uint32_t modulus, uint32_t offset) {
	struct nftnl_expr *e = expression(rule, "numgen");
	nftnl_expr_set_u32(e, NFTNL_EXPR_NG_DREG, reg32(reg));
	nftnl_expr_set_u32(e, NFTNL_EXPR_NG_TYPE, NFT_NG_RANDOM);
	nftnl_expr_set_u32(e, NFTNL_EXPR_NG_MODULUS, modulus);
	nftnl_expr_set_u32(e, NFTNL_EXPR_NG_OFFSET, offset);
}

void nft_rule_bitwise(struct nft_rule *rule, unsigned reg, const void *mask, const void *xor_with, uint32_t len) {
	struct nftnl_expr *e = expression(rule, "bitwise");
	nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_SREG, reg32(reg));
	nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_DREG, reg32(reg));
	nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_LEN, len);
	nftnl_expr_set(e, NFTNL_EXPR_BITWISE_MASK, mask, len);
	nftnl_expr_set(e, NFTNL_EXPR_BITWISE_XOR, xor_with, len);
}

void nft_rule_mark_load(struct nft_rule *rule, unsigned reg) {
	load_meta(rule, NFT_META_MARK, reg);
}

void nft_rule_mark_store(struct nft_rule *rule, unsigned reg) {
	struct nftnl_expr *e = expression(rule, "meta");
	nftnl_expr_set_u32(e, NFTNL_EXPR_META_KEY, NFT_META_MARK);
	nftnl_expr_set_u32(e, NFTNL_EXPR_META_SREG, reg32(reg));
}

static void load_ct(struct nft_rule *rule, uint32_t key, unsigned reg) {
	struct nftnl_expr *e = expression(rule, "ct");
	nftnl_expr_set_u32(e, NFTNL_EXPR_CT_KEY, key);
	nftnl_expr_set_u32(e, NFTNL_EXPR_CT_DREG, reg32(reg));
}

void nft_rule_ct_status(struct nft_rule *rule, unsigned reg) {
	load_ct(rule, NFT_CT_STATUS, reg);
}

void nft_rule_ct_state(struct nft_rule *rule, unsigned reg) {
	load_ct(rule, NFT_CT_STATE, reg);
}

static void match_local(struct nft_rule *rule, uint32_t which, unsigned reg) {
	uint32_t local = 2; /* RTN_LOCAL */
	struct nftnl_expr *e = expression(rule, "fib");
	nftnl_expr_set_u32(e, NFTNL_EXPR_FIB_DREG, reg32(reg));
	nftnl_expr_set_u32(e, NFTNL_EXPR_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
	nftnl_expr_set_u32(e, NFTNL_EXPR_FIB_FLAGS, which);
	nft_rule_compare(rule, reg, NFT_CMP_EQ, &local, sizeof(local));
}

void nft_rule_local_destination(struct nft_rule *rule, unsigned reg) {
	match_local(rule, NFTA_FIB_F_DADDR, reg);
}

void nft_rule_local_source(struct nft_rule *rule, unsigned reg) {
	match_local(rule, NFTA_FIB_F_SADDR, reg);
}

static struct nftnl_expr *lookup(struct nft_rule *rule, const char *set, unsigned key_reg) {
	struct nftnl_expr *e = expression(rule, "lookup");
	nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_SREG, reg32(key_reg));
	nftnl_expr_set_str(e, NFTNL_EXPR_LOOKUP_SET, set);
	return e;
}

void nft_rule_match_set(struct nft_rule *rule, const char *set, unsigned key_reg) {
	lookup(rule, set, key_reg);
}

void nft_rule_lookup_verdict(struct nft_rule *rule, const char *map, unsigned key_reg) {
	nftnl_expr_set_u32(lookup(rule, map, key_reg), NFTNL_EXPR_LOOKUP_DREG, NFT_REG_VERDICT);
}

void nft_rule_lookup_data(struct nft_rule *rule, const char *map, unsigned key_reg, unsigned data_reg) {
	nftnl_expr_set_u32(lookup(rule, map, key_reg), NFTNL_EXPR_LOOKUP_DREG, reg32(data_reg));
}

void nft_rule_update(struct nft_rule *rule, const char *map, unsigned key_reg, unsigned data_reg, uint64_t timeout_ms) {
	struct nftnl_expr *e = expression(rule, "dynset");
	nftnl_expr_set_str(e, NFTNL_EXPR_DYNSET_SET_NAME, map);
	nftnl_expr_set_u32(e, NFTNL_EXPR_DYNSET_OP, NFT_DYNSET_OP_UPDATE);
	nftnl_expr_set_u32(e, NFTNL_EXPR_DYNSET_SREG_KEY, reg32(key_reg));
	nftnl_expr_set_u32(e, NFTNL_EXPR_DYNSET_SREG_DATA, reg32(data_reg));
	nftnl_expr_set_u64(e, NFTNL_EXPR_DYNSET_TIMEOUT, timeout_ms);
}

void nft_rule_dnat(struct nft_rule *rule, int family, unsigned address_reg, unsigned port_reg) {
	struct nftnl_expr *e = expression(rule, "nat");
	nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_TYPE, NFT_NAT_DNAT);
	nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_FAMILY, (uint32_t)family);
	nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_REG_ADDR_MIN, reg32(address_reg));
	nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_REG_PROTO_MIN, reg32(port_reg));
}

void nft_rule_masquerade(struct nft_rule *rule) {
	struct nftnl_expr *e = expression(rule, "masq");
	nftnl_expr_set_u32(e, NFTNL_EXPR_MASQ_FLAGS, NF_NAT_RANGE_PROTO_RANDOM_FULLY);
}

void nft_rule_reject(struct nft_rule *rule) {
	struct nftnl_expr *e = expression(rule, "reject");
	nftnl_expr_set_u32(e, NFTNL_EXPR_REJECT_TYPE, NFT_REJECT_ICMPX_UNREACH);
	nftnl_expr_set_u8(e, NFTNL_EXPR_REJECT_CODE, NFT_REJECT_ICMPX_PORT_UNREACH);
}

void nft_rule_verdict(struct nft_rule *rule, int verdict, const char *chain) {
	struct nftnl_expr *e = expression(rule, "immediate");
	nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
	nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_VERDICT, (uint32_t)verdict);
	if (chain)
		nftnl_expr_set_str(e, NFTNL_EXPR_IMM_CHAIN, chain);
}
