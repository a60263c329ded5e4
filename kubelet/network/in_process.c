/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node's own network: what the plugins bridge, host-local and portmap do by our own configuration, without a process for each. Only that
 * configuration is served this way; results are those that the plugins give, so limits of bandwidth are still set by theirs.
 */
#include "kubelet/network/internal.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>

/* The subnets of our own configuration. */
static int read_ranges(json_t *conf, struct pod_address *out, size_t *ret_count, struct error *err)
{
	json_t *ranges = json_object_get(json_object_get(json_array_get(json_object_get(conf, "plugins"), 0), "ipam"), "ranges"), *set;
	size_t i, count = 0;
	json_array_foreach(ranges, i, set)
	{
		const char *subnet = json_string_value(json_object_get(json_array_get(set, 0), "subnet"));
		if (count == MAX_POD_ADDRESSES || !subnet || ip_range_parse(subnet, &out[count].range) < 0 || out[count].range.hosts < 2)
			return error_set(err, EINVAL, "pods cannot get their addresses from \"%s\"", str_or(subnet, ""));
		ip_range_address(&out[count].range, 0, out[count].gateway);
		count++;
	}
	if (count == 0)
		return error_set(err, EINVAL, OWN_CONFLIST " has no subnet");
	*ret_count = count;
	return 0;
}

static json_t *make_result(const struct network *network, const char *id, const char *netns, const struct pod_address *addresses, size_t count)
{
	json_t *ips = json_array(), *routes = json_array();
	char host[IF_NAMESIZE];
	links_host_name(id, host);
	for (size_t i = 0; i < count; i++) {
		char text[INET6_ADDRSTRLEN + 4];
		snprintf(text, sizeof(text), "%s/%u", addresses[i].ip, addresses[i].range.bits);
		json_array_append_new(ips, json_pack("{s:s,s:s,s:i}", "address", text, "gateway", addresses[i].gateway, "interface", 2));
		json_array_append_new(routes, json_pack("{s:s,s:s}", "dst", addresses[i].range.family == AF_INET6 ? "::/0" : "0.0.0.0/0", "gw", addresses[i].gateway));
	}
	return json_pack("{s:s,s:[{s:s},{s:s},{s:s,s:s}],s:o,s:o,s:{}}", "cniVersion", "1.0.0", "interfaces", "name", network->bridge, "name", host, "name",
		POD_INTERFACE, "sandbox", netns, "ips", ips, "routes", routes, "dns");
}

int in_process_add(struct network *network, json_t *conf, const char *id, const char *netns, json_t **ret_result, struct error *err)
{
	struct pod_address addresses[MAX_POD_ADDRESSES];
	size_t count = 0;
	int r = read_ranges(conf, addresses, &count, err);
	for (size_t i = 0; r == 0 && i < count; i++)
		r = addresses_give(network, &addresses[i].range, i, id, addresses[i].ip, err);
	if (r == 0)
		r = links_add(network, id, netns, addresses, count, err);
	if (r == 0)
		*ret_result = make_result(network, id, netns, addresses, count);
	return r; /* what failed halfway, the caller takes down */
}

static bool is_owner(const char *owner, void *arg)
{
	return strcmp(owner, arg) == 0;
}

int in_process_del(struct network *network, const char *id, struct error *err)
{
	int r = host_ports_remove(network, id, err);
	/* The link goes before its addresses are free for another. */
	if (r == 0)
		r = links_remove(id, err);
	if (r == 0)
		r = addresses_take(network, is_owner, (void *)(uintptr_t)id, err);
	return min_of(r, 0);
}

int in_process_check(struct network *network, json_t *result, const char *id, const char *netns, struct error *err)
{
	json_t *row;
	size_t i;
	json_array_foreach(json_object_get(result, "ips"), i, row)
	{
		char ip[INET6_ADDRSTRLEN];
		const char *address = str_or(json_string_value(json_object_get(row, "address")), "");
		snprintf(ip, sizeof(ip), "%.*s", (int)min_of(strcspn(address, "/"), sizeof(ip) - 1), address);
		if (!addresses_has(network, ip, id))
			return error_set(err, ENOENT, "address %s is not kept for sandbox %s", ip, id);
	}
	return links_check(id, netns, err);
}
