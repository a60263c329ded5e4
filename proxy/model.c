/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/model.h"

#include <arpa/inet.h>
#include <stdlib.h>

#define ENDPOINTS_PER_PORT_MAX 60000 /* below RULESET_LOCAL_INDEX */
#define DEFAULT_AFFINITY_SECONDS 10800

struct endpoint {
	uint8_t address[16];
	uint16_t port;
	bool ready, serving, terminating, local;
	bool hinted, for_node, for_zone; /* topology: has hints at all, and one for us */
};
struct endpoints {
	struct endpoint *items;
	size_t len, cap;
};

void model_rules_done(struct model_rules *rules) {
	free(rules->items);
	*rules = (struct model_rules){0};
}

static struct element *add_element(struct model_rules *rules, enum ruleset_map map, int family) {
	if (rules->len == rules->cap) {
		rules->cap = rules->cap ? rules->cap * 2 : 8;
		rules->items = xreallocarray(rules->items, rules->cap, sizeof(*rules->items));
	}
	struct element *e = &rules->items[rules->len++];
	*e = (struct element){.map = map, .family = family};
	return e;
}

static void key_append(struct element *e, const void *data, uint32_t len) {
	memcpy(e->key + e->key_len, data, len); /* the key is zeroed: what pads a part to 4 bytes is there already */
	e->key_len += (len + 3) & ~3u;
}

static uint32_t address_bytes(int family) {
	return family == NFPROTO_IPV6 ? 16 : 4;
}

static void key_append_port(struct element *e, uint8_t protocol, int32_t port) {
	uint16_t wire = htons((uint16_t)port);
	key_append(e, &protocol, 1);
	key_append(e, &wire, 2);
}

static bool protocol_number(const char *name, uint8_t *ret) {
	static const struct { const char *name; uint8_t number; } protocols[] = {{"TCP", IPPROTO_TCP}, {"UDP", IPPROTO_UDP}, {"SCTP", IPPROTO_SCTP}};
	for (size_t i = 0; i < array_len(protocols); i++) {
		if (str_equal(str_or(name, "TCP"), protocols[i].name)) {
			*ret = protocols[i].number;
			return true;
		}
	}
	return false;
}

static bool parse_address(const char *text, int family, uint8_t out[16]) {
	return text && inet_pton(family == NFPROTO_IPV6 ? AF_INET6 : AF_INET, text, out) == 1;
}

/* ---- endpoints of one port ---- */

static int compare_endpoints(const void *a, const void *b) {
	return memcmp(a, b, offsetof(struct endpoint, ready));
}

static bool for_this_zone(const struct model_config *config, const struct discovery_v1_endpoint *from) {
	if (!config->zone)
		return false;
	for api_list_each (zone, &from->hints->for_zones)
		if (str_equal(zone->name, config->zone))
			return true;
	return false;
}

static bool for_this_node(const struct model_config *config, const struct discovery_v1_endpoint *from) {
	for api_list_each (node, &from->hints->for_nodes)
		if (str_equal(node->name, config->node_name))
			return true;
	return false;
}

static void add_endpoint(const struct model_config *config, struct endpoints *list, const struct discovery_v1_endpoint *from, const char *address, int family, int32_t port) {
	struct endpoint e = {.port = htons((uint16_t)port)};
	if (port < 1 || port > 65535 || list->len == ENDPOINTS_PER_PORT_MAX || !parse_address(address, family, e.address))
		return;
	/* Unset conditions: ready counts as true, serving as ready, terminating as false (discovery/v1 EndpointConditions). */
	e.ready = !from->conditions.ready || *from->conditions.ready;
	e.serving = from->conditions.serving ? *from->conditions.serving : e.ready;
	e.terminating = from->conditions.terminating && *from->conditions.terminating;
	e.local = !str_empty(from->node_name) && str_equal(from->node_name, config->node_name);
	if (from->hints) {
		e.hinted = from->hints->for_zones.len || from->hints->for_nodes.len;
		e.for_zone = for_this_zone(config, from);
		e.for_node = for_this_node(config, from);
	}
	if (list->len == list->cap) {
		list->cap = list->cap ? list->cap * 2 : 16;
		list->items = xreallocarray(list->items, list->cap, sizeof(*list->items));
	}
	list->items[list->len++] = e;
}

/* All endpoints of a service port in one family, sorted and without doubles (an address may stand in two slices while it moves). */
static void collect(const struct model_config *config, const struct core_v1_service_port *port, int family,
	const struct discovery_v1_endpoint_slice *const *slices, size_t count, struct endpoints *ret) {
	const char *type = family == NFPROTO_IPV6 ? "IPv6" : "IPv4";
	for (size_t i = 0; i < count; i++) {
		if (!str_equal(slices[i]->address_type, type))
			continue;
		for api_list_each (slice_port, &slices[i]->ports) {
			if (!str_equal(slice_port->name, port->name) || !str_equal(str_or(slice_port->protocol, "TCP"), str_or(port->protocol, "TCP")) || !slice_port->port)
				continue;
			for api_list_each (endpoint, &slices[i]->endpoints)
				if (endpoint->addresses.len) /* only the first is used (discovery/v1) */
					add_endpoint(config, ret, endpoint, endpoint->addresses.items[0], family, *slice_port->port);
		}
	}
	if (ret->len < 2)
		return;
	qsort(ret->items, ret->len, sizeof(*ret->items), compare_endpoints);
	size_t kept = 1;
	for (size_t i = 1; i < ret->len; i++) {
		struct endpoint *last = &ret->items[kept - 1];
		if (compare_endpoints(last, &ret->items[i]) != 0)
			ret->items[kept++] = ret->items[i];
		else if (ret->items[i].ready && !last->ready)
			*last = ret->items[i];
	}
	ret->len = kept;
}

enum topology { TOPOLOGY_NONE, TOPOLOGY_NODE, TOPOLOGY_ZONE };

/*
 * Hints are followed only where every ready endpoint has them and at least one is for us; else traffic would pile up or go nowhere
 * (as the Kubernetes documentation of topology-aware routing says).
 */
static enum topology choose_topology(const struct endpoints *all) {
	bool node = false, zone = false;
	for (size_t i = 0; i < all->len; i++) {
		if (!all->items[i].ready)
			continue;
		if (!all->items[i].hinted)
			return TOPOLOGY_NONE;
		node |= all->items[i].for_node;
		zone |= all->items[i].for_zone;
	}
	return node ? TOPOLOGY_NODE : zone ? TOPOLOGY_ZONE : TOPOLOGY_NONE;
}

/* The endpoints to use: the ready ones, or where there is none those that still serve while they terminate. Returns their number, moved to the front of `out`. */
static size_t usable(const struct endpoints *all, bool local_only, bool hints, const struct endpoint **out) {
	enum topology topology = hints ? choose_topology(all) : TOPOLOGY_NONE;
	size_t n = 0;
	for (size_t i = 0; i < all->len; i++) {
		const struct endpoint *e = &all->items[i];
		if (e->ready && (!local_only || e->local) && (topology != TOPOLOGY_NODE || e->for_node) && (topology != TOPOLOGY_ZONE || e->for_zone))
			out[n++] = e;
	}
	if (n)
		return n;
	for (size_t i = 0; i < all->len; i++) {
		const struct endpoint *e = &all->items[i];
		if (e->serving && e->terminating && (!local_only || e->local))
			out[n++] = e;
	}
	return n;
}

/* ---- elements ---- */

struct target {
	const struct core_v1_service *service;
	int family;
	uint8_t protocol;
	int32_t port;
	const struct endpoint **cluster; /* by policy, for cluster IPs: may be the local ones */
	size_t cluster_count;
	const struct endpoint **all; /* for external traffic */
	size_t all_count;
	const struct endpoint **local;
	size_t local_count;
	bool local_policy;
	uint32_t affinity_seconds;
};

static void add_endpoint_elements(struct model_rules *rules, const struct target *t, const uint8_t address[16], int32_t port, const struct endpoint **endpoints, size_t count, uint32_t first) {
	for (size_t i = 0; i < count; i++) {
		struct element *e = add_element(rules, MAP_ENDPOINTS, t->family);
		uint32_t index = first + (uint32_t)i; /* host order: what numgen writes */
		key_append(e, address, address_bytes(t->family));
		key_append_port(e, t->protocol, port);
		key_append(e, &index, 4);
		memcpy(e->data, endpoints[i]->address, address_bytes(t->family));
		memcpy(e->data + address_bytes(t->family), &endpoints[i]->port, 2);
		e->data_len = address_bytes(t->family) + 4;
	}
}

static void add_refused(struct model_rules *rules, const struct target *t, const uint8_t address[16]) {
	struct element *e = add_element(rules, MAP_REFUSED, t->family);
	key_append(e, address, address_bytes(t->family));
	key_append_port(e, t->protocol, t->port);
}

static struct pick pick_of(const struct target *t, enum pick_source source) {
	bool local = source != PICK_CLUSTER_IP && t->local_policy;
	return (struct pick){
		.source = source,
		.family = t->family,
		.endpoints = (uint32_t)(source == PICK_CLUSTER_IP ? t->cluster_count : t->all_count),
		.local = local ? (uint32_t)t->local_count : 0,
		.local_policy = local,
		.affinity_seconds = t->affinity_seconds,
	};
}

static void add_cluster_ip(struct model_rules *rules, const struct target *t, const uint8_t address[16]) {
	struct element *e = add_element(rules, MAP_CLUSTER_IPS, t->family);
	key_append(e, address, address_bytes(t->family));
	if (!t->cluster_count) {
		add_refused(rules, t, address);
		return;
	}
	e = add_element(rules, MAP_SERVICES, t->family);
	key_append(e, address, address_bytes(t->family));
	key_append_port(e, t->protocol, t->port);
	e->has_pick = true;
	e->pick = pick_of(t, PICK_CLUSTER_IP);
	add_endpoint_elements(rules, t, address, t->port, t->cluster, t->cluster_count, 0);
}

static void add_external(struct model_rules *rules, const struct target *t, const uint8_t address[16]) {
	if (!t->all_count) {
		add_refused(rules, t, address);
		return;
	}
	struct element *e = add_element(rules, MAP_SERVICES, t->family);
	key_append(e, address, address_bytes(t->family));
	key_append_port(e, t->protocol, t->port);
	e->has_pick = true;
	e->pick = pick_of(t, PICK_EXTERNAL);
	add_endpoint_elements(rules, t, address, t->port, t->all, t->all_count, 0);
	if (t->local_policy)
		add_endpoint_elements(rules, t, address, t->port, t->local, t->local_count, RULESET_LOCAL_INDEX);
}

static void add_node_port(struct model_rules *rules, const struct target *t, int32_t node_port) {
	static const uint8_t any[16] = {0};
	struct element *e = add_element(rules, MAP_NODEPORTS, t->family);
	key_append_port(e, t->protocol, node_port);
	e->has_pick = true;
	e->pick = pick_of(t, PICK_NODE_PORT);
	add_endpoint_elements(rules, t, any, node_port, t->all, t->all_count, 0);
	if (t->local_policy)
		add_endpoint_elements(rules, t, any, node_port, t->local, t->local_count, RULESET_LOCAL_INDEX);
}

static void add_hairpins(struct model_rules *rules, const struct endpoints *all, int family) {
	for (size_t i = 0; i < all->len; i++) {
		struct element *e = add_element(rules, MAP_HAIRPIN, family);
		key_append(e, all->items[i].address, address_bytes(family));
		key_append(e, all->items[i].address, address_bytes(family));
	}
}

static void add_addresses(struct model_rules *rules, const struct target *t) {
	const struct core_v1_service_spec *spec = &t->service->spec;
	uint8_t address[16];
	bool done = false;
	for (uint32_t i = 0; i < spec->cluster_ips.len; i++) {
		if (parse_address(spec->cluster_ips.items[i], t->family, address)) {
			add_cluster_ip(rules, t, address);
			done = true;
		}
	}
	if (!done && !spec->cluster_ips.len && parse_address(spec->cluster_ip, t->family, address))
		add_cluster_ip(rules, t, address);
	for (uint32_t i = 0; i < spec->external_ips.len; i++)
		if (parse_address(spec->external_ips.items[i], t->family, address))
			add_external(rules, t, address);
	if (!str_equal(spec->type, "LoadBalancer"))
		return;
	for api_list_each (ingress, &t->service->status.load_balancer.ingress)
		if (!str_equal(ingress->ip_mode, "Proxy") && parse_address(ingress->ip, t->family, address))
			add_external(rules, t, address);
}

static uint32_t affinity_seconds(const struct core_v1_service_spec *spec) {
	if (!str_equal(spec->session_affinity, "ClientIP"))
		return 0;
	const struct core_v1_session_affinity_config *config = spec->session_affinity_config;
	if (config && config->client_ip && config->client_ip->timeout_seconds && *config->client_ip->timeout_seconds > 0)
		return (uint32_t)*config->client_ip->timeout_seconds;
	return DEFAULT_AFFINITY_SECONDS;
}

static bool family_in_use(const struct core_v1_service_spec *spec, int family) {
	const char *name = family == NFPROTO_IPV6 ? "IPv6" : "IPv4";
	if (spec->ip_families.len)
		return api_string_list_has(&spec->ip_families, name);
	return (strchr(str_or(spec->cluster_ip, ""), ':') != NULL) == (family == NFPROTO_IPV6);
}

/* Returns true where the node port has an endpoint in this family. */
static bool build_port(const struct model_config *config, const struct core_v1_service *service, const struct core_v1_service_port *port, int family,
	const struct discovery_v1_endpoint_slice *const *slices, size_t count, struct model_rules *ret) {
	struct target t = {.service = service, .family = family, .port = port->port, .affinity_seconds = affinity_seconds(&service->spec)};
	if (!protocol_number(port->protocol, &t.protocol))
		return false;
	struct endpoints all = {0};
	collect(config, port, family, slices, count, &all);
	autofree const struct endpoint **everywhere = xcalloc(all.len + 1, sizeof(*everywhere));
	autofree const struct endpoint **local = xcalloc(all.len + 1, sizeof(*local));
	t.all = everywhere;
	t.all_count = usable(&all, false, true, everywhere);
	t.local = local;
	t.local_count = usable(&all, true, false, local);
	t.local_policy = str_equal(service->spec.external_traffic_policy, "Local");
	bool internal_local = str_equal(service->spec.internal_traffic_policy, "Local");
	t.cluster = internal_local ? t.local : t.all;
	t.cluster_count = internal_local ? t.local_count : t.all_count;
	ret->local_endpoints = max_of(ret->local_endpoints, (unsigned)t.local_count);
	add_addresses(ret, &t);
	bool has_node_port = port->node_port && !str_equal(service->spec.type, "ClusterIP");
	if (has_node_port && t.all_count)
		add_node_port(ret, &t, port->node_port);
	add_hairpins(ret, &all, family);
	bool served = t.all_count > 0;
	free(all.items);
	return served;
}

void model_build(const struct model_config *config, const struct core_v1_service *service, const struct discovery_v1_endpoint_slice *const *slices, size_t slice_count,
	struct model_rules *ret) {
	const struct core_v1_service_spec *spec = &service->spec;
	if (str_empty(spec->cluster_ip) || str_equal(spec->cluster_ip, "None") || str_equal(spec->type, "ExternalName") ||
		api_map_get(&service->metadata.labels, "service.kubernetes.io/service-proxy-name"))
		return;
	for api_list_each (port, &spec->ports) {
		bool served = false;
		if (family_in_use(spec, NFPROTO_IPV4))
			served |= build_port(config, service, port, NFPROTO_IPV4, slices, slice_count, ret);
		if (family_in_use(spec, NFPROTO_IPV6))
			served |= build_port(config, service, port, NFPROTO_IPV6, slices, slice_count, ret);
		uint8_t protocol;
		if (!served && port->node_port && protocol_number(port->protocol, &protocol)) {
			/* One map for both families: refused only where neither has an endpoint. */
			struct element *e = add_element(ret, MAP_REFUSED_PORTS, NFPROTO_IPV4);
			key_append_port(e, protocol, port->node_port);
		}
	}
}
