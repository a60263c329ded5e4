/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands in the table. Services are elements of maps; a lookup costs the same for ten or thirty thousand of them.
 *
 *	services4/6   daddr . proto . dport          -> goto a picking chain      cluster IPs, external IPs, load balancers
 *	nodeports4/6  proto . dport                  -> goto a picking chain      on the host's own addresses
 *	endpoints4/6  daddr . proto . dport . index  -> address . port            daddr is 0 for node ports
 *	refused4/6    daddr . proto . dport          -> goto reject               services without endpoints
 *	refusedports  proto . dport                  -> goto reject
 *	clusterips4/6 daddr                                                       to reject ports that no service has
 *	hairpin4/6    saddr . daddr                                               endpoints that reach themselves: masqueraded
 *	affinity4/6   saddr . daddr . proto . dport  -> address . port            filled by the picking chains, times out
 *
 * A picking chain is shared by all services with the same number of endpoints and the same policies: it draws an index below that number, looks the
 * endpoint up under (daddr, proto, dport, index) and rewrites the destination. Chains come and go with the numbers in use.
 */
#ifndef CORACLE_PROXY_RULESET_H
#define CORACLE_PROXY_RULESET_H

#include "proxy/nft/nft.h"

#define RULESET_TABLE "coracle-proxy"
#define RULESET_LOCAL_INDEX 65536u /* node-local endpoints of externalTrafficPolicy Local stand from this index on */
#define RULESET_KEY_MAX 48

enum ruleset_map {
	MAP_SERVICES, MAP_NODEPORTS, MAP_ENDPOINTS, MAP_REFUSED, MAP_REFUSED_PORTS, MAP_CLUSTER_IPS, MAP_HAIRPIN,
	MAP_COUNT,
};

enum pick_source {
	PICK_CLUSTER_IP, /* masquerades what comes from outside the pods' ranges */
	PICK_EXTERNAL,   /* external and load-balancer addresses: masquerades all */
	PICK_NODE_PORT,  /* the same for node ports: endpoints are keyed by address 0 */
};
/* What a picking chain depends on. `endpoints` 0 with `local_policy`: only node-local ones count. */
struct pick {
	enum pick_source source;
	int family;             /* NFPROTO_IPV4, NFPROTO_IPV6 */
	uint32_t endpoints;     /* cluster-wide */
	uint32_t local;         /* on this node; used where local_policy */
	uint32_t affinity_seconds; /* 0: none */
	bool local_policy;      /* externalTrafficPolicy: Local */
};
#define PICK_NAME_MAX 64
/* "cluster4-3", "external4-5-local-1-affinity-10800": also the chain's name. */
void pick_name(const struct pick *pick, char out[PICK_NAME_MAX]);

/* One element of a map, by value. `pick.family` and `map` say which map it is in. */
struct element {
	enum ruleset_map map;
	int family;
	uint8_t key[RULESET_KEY_MAX];
	uint32_t key_len;
	uint8_t data[20]; /* MAP_ENDPOINTS: address, port padded to 4 */
	uint32_t data_len;
	bool has_pick; /* MAP_SERVICES, MAP_NODEPORTS */
	struct pick pick;
};

struct ruleset_config {
	/* Ranges of pods, to tell what comes from outside: address and prefix length; len 0: unknown, nothing is masqueraded to cluster IPs. */
	struct { uint8_t address[16]; unsigned prefix; bool set; } pods4, pods6;
	bool masquerade_all;
	uint32_t mark; /* bit set on what is to be masqueraded; Kubernetes' own is 0x4000 */
};

/* The name of the kernel's map that holds such elements. */
const char *ruleset_map_name(enum ruleset_map map, int family);
/* Replaces the whole table, within the batch, by an empty one: maps, base chains and fixed rules. */
void ruleset_create(struct nft_batch *batch, const struct ruleset_config *config);
/* Adds a picking chain. */
void ruleset_add_pick(struct nft_batch *batch, const struct ruleset_config *config, const struct pick *pick);
void ruleset_delete_pick(struct nft_batch *batch, const struct pick *pick);
/* Adds or deletes elements, grouped by map. */
void ruleset_change_elements(struct nft_batch *batch, bool add, const struct element *const *elements, size_t count);

#endif
