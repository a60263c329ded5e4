/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ports of the node that lead to pods, as elements of maps in one nf_tables table. The table is written whole in one transaction whenever
 * a port comes or goes, which is seldom: so it holds what the kept results say, whatever became of it.
 */
#include "kubelet/network/internal.h"

#include "common/conntrack/conntrack.h"

#include <arpa/inet.h>
#include <errno.h>

#define MAX_SCRIPT (4 << 20)

/* What holds for any address of the node, and for one alone; a pod that calls its own port must see the node as the caller. */
struct elements {
	struct buf any[2], one[2], own[2];
	struct map seen; /* a key given twice would spoil the transaction: the first stays */
};

static void elements_done(struct elements *elements)
{
	for (int v6 = 0; v6 < 2; v6++) {
		buf_done(&elements->any[v6]);
		buf_done(&elements->one[v6]);
		buf_done(&elements->own[v6]);
	}
	map_done(&elements->seen);
}

static bool is_v6(const char *ip)
{
	return strchr(ip, ':') != NULL;
}

/* "" and the zero address of a family: any address of the node; "" speaks for both families. */
static bool is_any(const char *host_ip)
{
	return str_empty(host_ip) || strcmp(host_ip, "0.0.0.0") == 0 || strcmp(host_ip, "::") == 0;
}

static void add_once(struct elements *elements, struct buf *out, const char *key, const char *value)
{
	autofree char *seen = xprintf("%p %s", (void *)out, key);
	if (map_has(&elements->seen, seen))
		return;
	set_add(&elements->seen, seen);
	buf_printf(out, "%s%s%s%s", out->len ? ", " : "", key, value ? " : " : "", str_or(value, ""));
}

/* Each port that an entry of the cache maps, with each address of its pod. */
static void each_mapping(json_t *entry, void (*fn)(json_t *mapping, const char *ip, void *arg), void *arg)
{
	struct network_result result = {0};
	autofree char *text = json_dumps(json_object_get(entry, "result"), JSON_COMPACT | JSON_ENCODE_ANY);
	json_t *mapping;
	size_t i;
	if (!text || network_result_parse(text, strlen(text), &result, NULL) < 0)
		return;
	json_array_foreach(json_object_get(json_object_get(entry, "arguments"), "portMappings"), i, mapping)
		for (size_t n = 0; n < result.ip_count; n++)
			fn(mapping, result.ips[n], arg);
	network_result_done(&result);
}

static void add_mapping(json_t *mapping, const char *ip, void *arg)
{
	struct elements *elements = arg;
	const char *host_ip = json_string_value(json_object_get(mapping, "hostIP")), *protocol = json_string_value(json_object_get(mapping, "protocol"));
	int port = (int)json_integer_value(json_object_get(mapping, "hostPort")), inner = (int)json_integer_value(json_object_get(mapping, "containerPort"));
	bool v6 = is_v6(ip);
	uint8_t raw[16];
	if (!str_empty(host_ip) && (is_v6(host_ip) != v6 || inet_pton(v6 ? AF_INET6 : AF_INET, host_ip, raw) != 1))
		return;
	if (!str_equal(protocol, "tcp") && !str_equal(protocol, "udp") && !str_equal(protocol, "sctp"))
		return;
	autofree char *port_key = xprintf("%s . %d", protocol, port), *value = xprintf("%s . %d", ip, inner), *key = xprintf("%s . %s", host_ip, port_key),
		      *own = xprintf("%s . %s", ip, ip);
	add_once(elements, is_any(host_ip) ? &elements->any[v6] : &elements->one[v6], is_any(host_ip) ? port_key : key, value);
	add_once(elements, &elements->own[v6], own, NULL);
}

static void print_set(struct buf *script, const char *head, const struct buf *elements)
{
	buf_printf(script, "%s; ", head);
	if (elements->len)
		buf_printf(script, "elements = { %s }; ", elements->data);
	buf_append_str(script, "}\n");
}

static void print_sets(struct buf *script, const struct elements *elements, bool v6)
{
	const char *type = v6 ? "ipv6_addr" : "ipv4_addr";
	int n = v6 ? 6 : 4;
	autofree char *any = xprintf("map any%d { type inet_proto . inet_service : %s . inet_service", n, type);
	autofree char *one = xprintf("map one%d { type %s . inet_proto . inet_service : %s . inet_service", n, type, type);
	autofree char *own = xprintf("set own%d { type %s . %s", n, type, type);
	print_set(script, any, &elements->any[v6]);
	print_set(script, one, &elements->one[v6]);
	print_set(script, own, &elements->own[v6]);
}

static void print_ways_in(struct buf *script, const char *chain)
{
	buf_printf(script, "chain %s {\ntype nat hook %s priority -100;\n", chain, chain);
	for (int v6 = 0; v6 < 2; v6++) {
		const char *ip = v6 ? "ip6" : "ip";
		int n = v6 ? 6 : 4;
		buf_printf(script, "dnat %s to %s daddr . meta l4proto . th dport map @one%d\n", ip, ip, n);
		buf_printf(script, "meta nfproto ipv%d fib daddr type local dnat %s to meta l4proto . th dport map @any%d\n", n, ip, n);
	}
	buf_append_str(script, "}\n");
}

static void print_table(struct buf *script, const char *name, const struct elements *elements)
{
	buf_printf(script, "add table inet %s\ndelete table inet %s\ntable inet %s {\n", name, name, name);
	print_sets(script, elements, false);
	print_sets(script, elements, true);
	print_ways_in(script, "prerouting");
	print_ways_in(script, "output");
	/* From the node itself by 127.0.0.1: the pod must be able to answer. What lets that through must let nobody else in. */
	buf_append_str(script, "chain postrouting {\ntype nat hook postrouting priority 100;\n"
			       "ct status dnat ip saddr . ip daddr @own4 masquerade\n"
			       "ct status dnat ip6 saddr . ip6 daddr @own6 masquerade\n"
			       "ct status dnat ip saddr 127.0.0.0/8 ip daddr != 127.0.0.0/8 masquerade\n}\n"
			       "chain input {\ntype filter hook input priority 0;\n"
			       "ip daddr 127.0.0.0/8 ip saddr != 127.0.0.0/8 ct state != { established, related } ct status & dnat == 0 drop\n}\n}\n");
}

struct flows {
	struct conntrack *stale; /* NULL: none */
	bool added;
};

static void add_flow(json_t *mapping, const char *address, void *arg)
{
	struct flows *flows = arg;
	static const uint8_t any[16];
	uint8_t ip[16] = {0};
	if (!str_equal(json_string_value(json_object_get(mapping, "protocol")), "udp"))
		return;
	int family = is_v6(address) ? AF_INET6 : AF_INET;
	inet_pton(family, address, ip);
	if (!flows->stale)
		flows->stale = conntrack_new();
	conntrack_add(flows->stale, family, any, htons((uint16_t)json_integer_value(json_object_get(mapping, "hostPort"))), flows->added ? NULL : ip);
}

/* UDP flows that began before the port led here, or that led to who is gone: they would go on as they did. */
static void forget_flows(json_t *entry, bool added)
{
	struct flows flows = {.added = added};
	each_mapping(entry, add_flow, &flows);
	if (flows.stale)
		conntrack_run(flows.stale, NULL, NULL);
	conntrack_free(flows.stale);
}

/* With ports_lock held. */
static int write_table(struct network *network, struct error *err)
{
	struct elements elements cleanup(elements_done) = {.seen = MAP_INIT(NULL)};
	size_t pos = 0;
	for (int v6 = 0; v6 < 2; v6++)
		elements.any[v6] = elements.one[v6] = elements.own[v6] = BUF_INIT(MAX_SCRIPT / 8);
	for (struct map_entry *e; (e = map_next(&network->ports, &pos));)
		each_mapping(e->value, add_mapping, &elements);
	autobuf struct buf script = BUF_INIT(MAX_SCRIPT);
	if (network->ports.len)
		print_table(&script, network->ports_table, &elements);
	else
		buf_printf(&script, "add table inet %s\ndelete table inet %s\n", network->ports_table, network->ports_table);
	int r = nft_run(&script, err);
	if (r < 0)
		return error_context(err, "set up the node's ports of pods");
	network->ports_handle = network->ports.len ? nft_table_handle(network->ports_table) : 0;
	return 0;
}

static bool has_ports(json_t *entry)
{
	return json_array_size(json_object_get(json_object_get(entry, "arguments"), "portMappings")) > 0;
}

void host_ports_note(struct network *network, const char *id, json_t *entry)
{
	if (!has_ports(entry))
		return;
	pthread_mutex_lock(&network->ports_lock);
	map_set(&network->ports, id, json_incref(entry));
	pthread_mutex_unlock(&network->ports_lock);
}

int host_ports_add(struct network *network, const char *id, json_t *entry, struct error *err)
{
	if (!has_ports(entry))
		return 0;
	links_let_localhost(network);
	pthread_mutex_lock(&network->ports_lock);
	map_set(&network->ports, id, json_incref(entry));
	int r = write_table(network, err);
	pthread_mutex_unlock(&network->ports_lock);
	if (r == 0)
		forget_flows(entry, true);
	return r;
}

int host_ports_remove(struct network *network, const char *id, struct error *err)
{
	pthread_mutex_lock(&network->ports_lock);
	json_t *entry = map_take(&network->ports, id);
	int r = entry ? write_table(network, err) : 0;
	if (r < 0)
		map_set(&network->ports, id, json_incref(entry)); /* asked again, it is tried again */
	pthread_mutex_unlock(&network->ports_lock);
	if (entry && r == 0)
		forget_flows(entry, false);
	json_decref(entry);
	return r;
}

int host_ports_keep(struct network *network, struct error *err)
{
	pthread_mutex_lock(&network->ports_lock);
	bool stands = network->ports.len == 0 || (network->ports_handle && nft_table_handle(network->ports_table) == network->ports_handle);
	int r = stands ? 0 : write_table(network, err);
	pthread_mutex_unlock(&network->ports_lock);
	return r;
}
