/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/ruleset.h"

#include <arpa/inet.h>
#include <stdio.h>

/* nft's own numbers of data types, so that `nft list table` prints the maps readably; a concatenation is six bits a part. */
enum { TYPE_IPV4 = 7, TYPE_IPV6 = 8, TYPE_PROTO = 12, TYPE_PORT = 13, TYPE_MARK = 19 };
#define CONCAT2(a, b) ((a) << 6 | (b))
#define CONCAT3(a, b, c) (CONCAT2(a, b) << 6 | (c))
#define CONCAT4(a, b, c, d) (CONCAT3(a, b, c) << 6 | (d))

#define AFFINITY_MAX_ENTRIES 65536
#define IPS_STATUS_DST_NAT (1u << 5) /* IPS_DST_NAT of the kernel's conntrack status */
#define CT_STATE_NEW (1u << 3)       /* nft's bit of ct state new */
#define DATA_REG 11                  /* endpoint's address and port, above the longest key of ten registers */

static const struct {
	const char *name4, *name6; /* the same name: one map for both */
} maps[MAP_COUNT] = {
	[MAP_SERVICES] = {"services4", "services6"},
	[MAP_NODEPORTS] = {"nodeports4", "nodeports6"},
	[MAP_ENDPOINTS] = {"endpoints4", "endpoints6"},
	[MAP_REFUSED] = {"refused4", "refused6"},
	[MAP_REFUSED_PORTS] = {"refusedports", "refusedports"},
	[MAP_CLUSTER_IPS] = {"clusterips4", "clusterips6"},
	[MAP_HAIRPIN] = {"hairpin4", "hairpin6"},
};

const char *ruleset_map_name(enum ruleset_map map, int family) {
	return family == NFPROTO_IPV6 ? maps[map].name6 : maps[map].name4;
}

static uint32_t address_bytes(int family) {
	return family == NFPROTO_IPV6 ? 16 : 4;
}

static unsigned address_regs(int family) {
	return address_bytes(family) / 4;
}

static const char *affinity_name(int family) {
	return family == NFPROTO_IPV6 ? "affinity6" : "affinity4";
}

void pick_name(const struct pick *pick, char out[PICK_NAME_MAX]) {
	static const char *const sources[] = {"cluster", "external", "nodeport"};
	int n = snprintf(out, PICK_NAME_MAX, "%s%d-%u", sources[pick->source], pick->family == NFPROTO_IPV6 ? 6 : 4, pick->endpoints);
	if (pick->local_policy)
		n += snprintf(out + n, PICK_NAME_MAX - (size_t)n, "-local-%u", pick->local);
	if (pick->affinity_seconds)
		snprintf(out + n, PICK_NAME_MAX - (size_t)n, "-affinity-%u", pick->affinity_seconds);
}

static void create_maps(struct nft_batch *batch, int family) {
	uint32_t address = family == NFPROTO_IPV6 ? TYPE_IPV6 : TYPE_IPV4, len = address_bytes(family);
	const struct nft_set_spec specs[] = {
		{ruleset_map_name(MAP_SERVICES, family), CONCAT3(address, TYPE_PROTO, TYPE_PORT), len + 8, NFT_VALUE_VERDICT, 0, 0, false, 0},
		{ruleset_map_name(MAP_NODEPORTS, family), CONCAT2(TYPE_PROTO, TYPE_PORT), 8, NFT_VALUE_VERDICT, 0, 0, false, 0},
		{ruleset_map_name(MAP_ENDPOINTS, family), CONCAT4(address, TYPE_PROTO, TYPE_PORT, TYPE_MARK), len + 12, NFT_VALUE_DATA,
			CONCAT2(address, TYPE_PORT), len + 4, false, 0},
		{ruleset_map_name(MAP_REFUSED, family), CONCAT3(address, TYPE_PROTO, TYPE_PORT), len + 8, NFT_VALUE_VERDICT, 0, 0, false, 0},
		{ruleset_map_name(MAP_CLUSTER_IPS, family), address, len, NFT_VALUE_NONE, 0, 0, false, 0},
		{ruleset_map_name(MAP_HAIRPIN, family), CONCAT2(address, address), len * 2, NFT_VALUE_NONE, 0, 0, false, 0},
		{affinity_name(family), CONCAT4(address, address, TYPE_PROTO, TYPE_PORT), len * 2 + 8, NFT_VALUE_DATA, CONCAT2(address, TYPE_PORT), len + 4,
			true, AFFINITY_MAX_ENTRIES},
	};
	for (size_t i = 0; i < array_len(specs); i++)
		nft_set_add(batch, &specs[i]);
}

/* daddr . proto . dport from register `reg` on; returns the first free register. */
static unsigned load_service_key(struct nft_rule *rule, int family, unsigned reg) {
	nft_rule_destination(rule, family, reg);
	reg += address_regs(family);
	nft_rule_l4proto(rule, reg);
	nft_rule_destination_port(rule, reg + 1);
	return reg + 2;
}

static void load_port_key(struct nft_rule *rule, unsigned reg) {
	nft_rule_l4proto(rule, reg);
	nft_rule_destination_port(rule, reg + 1);
}

static void jump(struct nft_batch *batch, const char *from, const char *to) {
	struct nft_rule *rule = nft_rule_new(batch, from);
	nft_rule_verdict(rule, NFT_JUMP, to);
	nft_rule_commit(rule);
}

/* Node ports answer on the host's own addresses, loopback excepted (what comes from 127.0.0.1 could not be routed to a pod). */
static void node_port_rule(struct nft_batch *batch, const char *chain, int family, const char *map) {
	struct nft_rule *rule = nft_rule_new(batch, chain);
	nft_rule_family(rule, family);
	nft_rule_local_destination(rule, 0);
	nft_rule_destination(rule, family, 0);
	if (family == NFPROTO_IPV4) {
		const uint8_t mask[4] = {0xff}, none[4] = {0}, loopback[4] = {127};
		nft_rule_bitwise(rule, 0, mask, none, 4);
		nft_rule_compare(rule, 0, NFT_CMP_NEQ, loopback, 4);
	} else {
		nft_rule_compare(rule, 0, NFT_CMP_NEQ, &in6addr_loopback, 16);
	}
	load_port_key(rule, 0);
	nft_rule_lookup_verdict(rule, map, 0);
	nft_rule_commit(rule);
}

static void service_rule(struct nft_batch *batch, const char *chain, int family, const char *map) {
	struct nft_rule *rule = nft_rule_new(batch, chain);
	nft_rule_family(rule, family);
	load_service_key(rule, family, 0);
	nft_rule_lookup_verdict(rule, map, 0);
	nft_rule_commit(rule);
}

static void only_new(struct nft_batch *batch, const char *chain) {
	const uint32_t bit = CT_STATE_NEW, none = 0;
	struct nft_rule *rule = nft_rule_new(batch, chain);
	nft_rule_ct_state(rule, 0);
	nft_rule_bitwise(rule, 0, &bit, &none, 4);
	nft_rule_compare(rule, 0, NFT_CMP_EQ, &none, 4);
	nft_rule_verdict(rule, NFT_RETURN, NULL);
	nft_rule_commit(rule);
}

static void unknown_port_rule(struct nft_batch *batch, const char *chain, int family) {
	struct nft_rule *rule = nft_rule_new(batch, chain);
	nft_rule_family(rule, family);
	nft_rule_destination(rule, family, 0);
	nft_rule_match_set(rule, ruleset_map_name(MAP_CLUSTER_IPS, family), 0);
	nft_rule_verdict(rule, NFT_GOTO, "reject");
	nft_rule_commit(rule);
}

static void postrouting_rules(struct nft_batch *batch, const struct ruleset_config *config) {
	const uint32_t none = 0, mark = config->mark, unmark = ~config->mark, dnat = IPS_STATUS_DST_NAT;
	struct nft_rule *rule = nft_rule_new(batch, "postrouting");
	nft_rule_mark_load(rule, 0);
	nft_rule_bitwise(rule, 0, &mark, &none, 4);
	nft_rule_compare(rule, 0, NFT_CMP_NEQ, &none, 4);
	nft_rule_mark_load(rule, 0); /* the mark has done its work: nothing behind us should see it */
	nft_rule_bitwise(rule, 0, &unmark, &none, 4);
	nft_rule_mark_store(rule, 0);
	nft_rule_masquerade(rule);
	nft_rule_commit(rule);
	const int families[] = {NFPROTO_IPV4, NFPROTO_IPV6};
	for (size_t i = 0; i < array_len(families); i++) {
		rule = nft_rule_new(batch, "postrouting");
		nft_rule_family(rule, families[i]);
		nft_rule_ct_status(rule, 0);
		nft_rule_bitwise(rule, 0, &dnat, &none, 4);
		nft_rule_compare(rule, 0, NFT_CMP_NEQ, &none, 4);
		nft_rule_source(rule, families[i], 0);
		nft_rule_destination(rule, families[i], address_regs(families[i]));
		nft_rule_match_set(rule, ruleset_map_name(MAP_HAIRPIN, families[i]), 0);
		nft_rule_masquerade(rule);
		nft_rule_commit(rule);
	}
}

void ruleset_create(struct nft_batch *batch, const struct ruleset_config *config) {
	/* Adding before deleting makes the deletion succeed whether or not the table was there. */
	nft_table_add(batch);
	nft_table_delete(batch);
	nft_table_add(batch);
	create_maps(batch, NFPROTO_IPV4);
	create_maps(batch, NFPROTO_IPV6);
	nft_set_add(batch, &(struct nft_set_spec){.name = "refusedports", .key_type = CONCAT2(TYPE_PROTO, TYPE_PORT), .key_len = 8, .value = NFT_VALUE_VERDICT});
	nft_chain_add(batch, "services", NULL, 0, 0);
	nft_chain_add(batch, "reject", NULL, 0, 0);
	nft_chain_add(batch, "refuse", NULL, 0, 0);
	/* Priorities: around dstnat (-100), so that refusals are seen before, and unknown ports after the destination was rewritten. */
	nft_chain_add(batch, "prerouting", "nat", NF_INET_PRE_ROUTING, -100);
	nft_chain_add(batch, "output", "nat", NF_INET_LOCAL_OUT, -100);
	nft_chain_add(batch, "postrouting", "nat", NF_INET_POST_ROUTING, 100);
	nft_chain_add(batch, "filter-input", "filter", NF_INET_LOCAL_IN, -110);
	nft_chain_add(batch, "filter-forward", "filter", NF_INET_FORWARD, -110);
	nft_chain_add(batch, "filter-output", "filter", NF_INET_LOCAL_OUT, -110);
	nft_chain_add(batch, "filter-output-rewritten", "filter", NF_INET_LOCAL_OUT, -90);

	struct nft_rule *rule = nft_rule_new(batch, "reject");
	nft_rule_reject(rule);
	nft_rule_commit(rule);
	const int families[] = {NFPROTO_IPV4, NFPROTO_IPV6};
	for (size_t i = 0; i < array_len(families); i++) {
		service_rule(batch, "services", families[i], ruleset_map_name(MAP_SERVICES, families[i]));
		node_port_rule(batch, "services", families[i], ruleset_map_name(MAP_NODEPORTS, families[i]));
		service_rule(batch, "refuse", families[i], ruleset_map_name(MAP_REFUSED, families[i]));
		node_port_rule(batch, "refuse", families[i], "refusedports");
	}
	jump(batch, "prerouting", "services");
	jump(batch, "output", "services");
	static const char *const refusing[] = {"filter-input", "filter-forward", "filter-output"};
	for (size_t i = 0; i < array_len(refusing); i++) {
		only_new(batch, refusing[i]);
		jump(batch, refusing[i], "refuse");
	}
	only_new(batch, "filter-output-rewritten");
	for (size_t i = 0; i < array_len(families); i++) {
		unknown_port_rule(batch, "filter-forward", families[i]);
		unknown_port_rule(batch, "filter-output-rewritten", families[i]);
	}
	postrouting_rules(batch, config);
}

static void set_mark(struct nft_rule *rule, const struct ruleset_config *config) {
	const uint32_t keep = ~config->mark, mark = config->mark;
	nft_rule_mark_load(rule, 0);
	nft_rule_bitwise(rule, 0, &keep, &mark, 4);
	nft_rule_mark_store(rule, 0);
}

static void prefix_mask(unsigned prefix, uint8_t mask[16]) {
	memset(mask, 0, 16);
	for (unsigned i = 0; i < prefix && i < 128; i++)
		mask[i / 8] |= (uint8_t)(0x80 >> (i % 8));
}

/* Goes on where the source is (op EQ) or is not (NEQ) a pod's. False, nothing added, where the pods' range is not known. */
static bool match_pods(struct nft_rule *rule, const struct ruleset_config *config, int family, uint32_t op) {
	const uint8_t zero[16] = {0};
	uint8_t mask[16];
	bool is6 = family == NFPROTO_IPV6;
	if (is6 ? !config->pods6.set : !config->pods4.set)
		return false;
	prefix_mask(is6 ? config->pods6.prefix : config->pods4.prefix, mask);
	nft_rule_source(rule, family, 0);
	nft_rule_bitwise(rule, 0, mask, zero, address_bytes(family));
	nft_rule_compare(rule, 0, op, is6 ? config->pods6.address : config->pods4.address, address_bytes(family));
	return true;
}

static void mark_rule(struct nft_batch *batch, const struct ruleset_config *config, const struct pick *pick, const char *chain) {
	struct nft_rule *rule = nft_rule_new(batch, chain);
	if (pick->source == PICK_CLUSTER_IP && !config->masquerade_all)
		match_pods(rule, config, pick->family, NFT_CMP_NEQ);
	set_mark(rule, config);
	nft_rule_commit(rule);
}

/* The address part of keys: the packet's destination, or 0 for node ports. */
static void load_key_address(struct nft_rule *rule, const struct pick *pick, unsigned reg) {
	static const uint8_t zero[16] = {0};
	if (pick->source != PICK_NODE_PORT)
		nft_rule_destination(rule, pick->family, reg);
	else /* an immediate fills 16 bytes at most */
		nft_rule_immediate(rule, reg, zero, address_bytes(pick->family));
}

static void load_affinity_key(struct nft_rule *rule, const struct pick *pick) {
	unsigned regs = address_regs(pick->family);
	nft_rule_source(rule, pick->family, 0);
	load_key_address(rule, pick, regs);
	load_port_key(rule, 2 * regs);
}

static void remember(struct nft_rule *rule, const struct pick *pick) {
	load_affinity_key(rule, pick);
	nft_rule_update(rule, affinity_name(pick->family), 0, DATA_REG, (uint64_t)pick->affinity_seconds * 1000);
}

static void choose_rules(struct nft_batch *batch, const struct pick *pick, const char *chain, uint32_t count, uint32_t first) {
	unsigned regs = address_regs(pick->family);
	struct nft_rule *rule;
	if (pick->affinity_seconds) {
		rule = nft_rule_new(batch, chain);
		load_affinity_key(rule, pick);
		nft_rule_lookup_data(rule, affinity_name(pick->family), 0, DATA_REG);
		remember(rule, pick);
		nft_rule_dnat(rule, pick->family, DATA_REG, DATA_REG + regs);
		nft_rule_commit(rule);
	}
	rule = nft_rule_new(batch, chain);
	load_key_address(rule, pick, 0);
	load_port_key(rule, regs);
	nft_rule_random(rule, regs + 2, count, first);
	nft_rule_lookup_data(rule, ruleset_map_name(MAP_ENDPOINTS, pick->family), 0, DATA_REG);
	if (pick->affinity_seconds)
		remember(rule, pick);
	nft_rule_dnat(rule, pick->family, DATA_REG, DATA_REG + regs);
	nft_rule_commit(rule);
}

/*
 * externalTrafficPolicy Local: what comes from this cluster (a pod, the node itself) may use every endpoint, what comes from outside only those of
 * this node, and keeps its source address.
 */
static void local_policy_rules(struct nft_batch *batch, const struct ruleset_config *config, const struct pick *pick, const char *chain) {
	char everywhere[PICK_NAME_MAX + 16];
	snprintf(everywhere, sizeof(everywhere), "%s-all", chain);
	nft_chain_add(batch, everywhere, NULL, 0, 0);
	if (pick->endpoints) {
		struct nft_rule *rule = nft_rule_new(batch, everywhere);
		nft_rule_local_source(rule, 0);
		set_mark(rule, config);
		nft_rule_commit(rule);
		choose_rules(batch, pick, everywhere, pick->endpoints, 0);
	}
	struct nft_rule *rule = nft_rule_new(batch, chain);
	if (match_pods(rule, config, pick->family, NFT_CMP_EQ))
		nft_rule_verdict(rule, NFT_GOTO, everywhere);
	nft_rule_commit(rule);
	rule = nft_rule_new(batch, chain);
	nft_rule_local_source(rule, 0);
	nft_rule_verdict(rule, NFT_GOTO, everywhere);
	nft_rule_commit(rule);
	if (pick->local) {
		choose_rules(batch, pick, chain, pick->local, RULESET_LOCAL_INDEX);
		return;
	}
	rule = nft_rule_new(batch, chain);
	nft_rule_verdict(rule, NF_DROP, NULL);
	nft_rule_commit(rule);
}

void ruleset_add_pick(struct nft_batch *batch, const struct ruleset_config *config, const struct pick *pick) {
	char name[PICK_NAME_MAX];
	pick_name(pick, name);
	nft_chain_add(batch, name, NULL, 0, 0);
	if (pick->local_policy) {
		local_policy_rules(batch, config, pick, name);
		return;
	}
	bool pods_known = pick->family == NFPROTO_IPV6 ? config->pods6.set : config->pods4.set;
	if (pick->source != PICK_CLUSTER_IP || config->masquerade_all || pods_known)
		mark_rule(batch, config, pick, name);
	choose_rules(batch, pick, name, pick->endpoints, 0);
}

void ruleset_delete_pick(struct nft_batch *batch, const struct pick *pick) {
	char name[PICK_NAME_MAX];
	pick_name(pick, name);
	nft_chain_delete(batch, name);
	if (pick->local_policy) {
		char everywhere[PICK_NAME_MAX + 16];
		snprintf(everywhere, sizeof(everywhere), "%s-all", name);
		nft_chain_delete(batch, everywhere);
	}
}

static void change_one_map(struct nft_batch *batch, bool add, enum ruleset_map map, int family, const struct element *const *elements, size_t count) {
	autofree struct nft_element *rows = xcalloc(count, sizeof(*rows));
	autofree char *names = xcalloc(count, PICK_NAME_MAX);
	size_t n = 0;
	for (size_t i = 0; i < count; i++) {
		const struct element *e = elements[i];
		if (e->map != map || e->family != family)
			continue;
		rows[n] = (struct nft_element){.key = e->key, .key_len = e->key_len};
		if (e->has_pick) {
			pick_name(&e->pick, names + n * PICK_NAME_MAX);
			rows[n].chain = names + n * PICK_NAME_MAX;
		} else if (map == MAP_REFUSED || map == MAP_REFUSED_PORTS) {
			rows[n].chain = "reject";
		} else if (e->data_len) {
			rows[n].data = e->data;
			rows[n].data_len = e->data_len;
		}
		n++;
	}
	if (!n)
		return;
	if (add)
		nft_elements_add(batch, ruleset_map_name(map, family), rows, n);
	else
		nft_elements_delete(batch, ruleset_map_name(map, family), rows, n);
}

void ruleset_change_elements(struct nft_batch *batch, bool add, const struct element *const *elements, size_t count) {
	if (!count)
		return;
	for (int map = 0; map < MAP_COUNT; map++) {
		change_one_map(batch, add, (enum ruleset_map)map, NFPROTO_IPV4, elements, count);
		change_one_map(batch, add, (enum ruleset_map)map, NFPROTO_IPV6, elements, count);
	}
}
