/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/routes.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <netlink/netlink.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <netlink/socket.h>

static void cleanup_nl_addr(struct nl_addr **addr) {
	if (*addr)
		nl_addr_put(*addr);
}

/* The link on which the kernel has `gateway` directly, or 0. */
static int on_link_index(struct nl_cache *routes, struct nl_addr *gateway) {
	int best = 0;
	unsigned best_prefix = 0;
	for (struct nl_object *o = nl_cache_get_first(routes); o; o = nl_cache_get_next(o)) {
		struct rtnl_route *route = (struct rtnl_route *)o;
		struct nl_addr *destination = rtnl_route_get_dst(route);
		struct rtnl_nexthop *hop = rtnl_route_get_nnexthops(route) == 1 ? rtnl_route_nexthop_n(route, 0) : NULL;
		if (!hop || rtnl_route_nh_get_gateway(hop) || rtnl_route_get_table(route) != RT_TABLE_MAIN || !destination ||
			nl_addr_get_family(destination) != nl_addr_get_family(gateway) || rtnl_route_get_type(route) != RTN_UNICAST)
			continue;
		unsigned prefix = nl_addr_get_prefixlen(destination);
		if (prefix >= best_prefix && nl_addr_cmp_prefix(destination, gateway) == 0) {
			best = rtnl_route_nh_get_ifindex(hop);
			best_prefix = prefix;
		}
	}
	return best;
}

static struct rtnl_route *make_route(struct nl_addr *destination, struct nl_addr *gateway, int link) {
	struct rtnl_route *route = rtnl_route_alloc();
	struct rtnl_nexthop *hop = rtnl_route_nh_alloc();
	rtnl_route_set_family(route, (uint8_t)nl_addr_get_family(destination));
	rtnl_route_set_table(route, RT_TABLE_MAIN);
	rtnl_route_set_protocol(route, ROUTES_PROTOCOL);
	rtnl_route_set_dst(route, destination);
	rtnl_route_nh_set_gateway(hop, gateway);
	rtnl_route_nh_set_ifindex(hop, link);
	rtnl_route_add_nexthop(route, hop);
	return route;
}

static bool same_route(struct rtnl_route *have, struct nl_addr *destination, struct nl_addr *gateway) {
	struct rtnl_nexthop *hop = rtnl_route_get_nnexthops(have) == 1 ? rtnl_route_nexthop_n(have, 0) : NULL;
	struct nl_addr *via = hop ? rtnl_route_nh_get_gateway(hop) : NULL;
	return via && rtnl_route_get_dst(have) && nl_addr_cmp(rtnl_route_get_dst(have), destination) == 0 && nl_addr_cmp(via, gateway) == 0;
}

static bool ours(struct rtnl_route *route) {
	return rtnl_route_get_protocol(route) == ROUTES_PROTOCOL && rtnl_route_get_table(route) == RT_TABLE_MAIN;
}

static int add_wish(struct nl_sock *socket, struct nl_cache *routes, const struct route_wish *wish, size_t *unreachable, struct error *err) {
	struct nl_addr *destination cleanup(cleanup_nl_addr) = NULL;
	struct nl_addr *gateway cleanup(cleanup_nl_addr) = NULL;
	if (nl_addr_parse(wish->destination, AF_UNSPEC, &destination) < 0 || nl_addr_parse(wish->gateway, AF_UNSPEC, &gateway) < 0 ||
		nl_addr_get_family(destination) != nl_addr_get_family(gateway))
		return error_set(err, EINVAL, "route to %s by %s does not parse", wish->destination, wish->gateway);
	for (struct nl_object *o = nl_cache_get_first(routes); o; o = nl_cache_get_next(o))
		if (ours((struct rtnl_route *)o) && same_route((struct rtnl_route *)o, destination, gateway))
			return 0;
	int link = on_link_index(routes, gateway);
	if (!link) {
		(*unreachable)++;
		return 0;
	}
	struct rtnl_route *route = make_route(destination, gateway, link);
	int r = rtnl_route_add(socket, route, NLM_F_CREATE | NLM_F_REPLACE);
	rtnl_route_put(route);
	return r < 0 ? error_set(err, EIO, "add the route to %s by %s: %s", wish->destination, wish->gateway, nl_geterror(r)) : 0;
}

static bool wished(struct rtnl_route *route, const struct route_wish *wishes, size_t count) {
	for (size_t i = 0; i < count; i++) {
		struct nl_addr *destination cleanup(cleanup_nl_addr) = NULL;
		if (nl_addr_parse(wishes[i].destination, AF_UNSPEC, &destination) == 0 && rtnl_route_get_dst(route) &&
			nl_addr_cmp(rtnl_route_get_dst(route), destination) == 0)
			return true;
	}
	return false;
}

int routes_apply(const struct route_wish *wishes, size_t count, size_t *ret_unreachable, struct error *err) {
	struct nl_sock *socket = nl_socket_alloc();
	struct nl_cache *routes = NULL;
	size_t unreachable = 0;
	int r = socket ? nl_connect(socket, NETLINK_ROUTE) : -NLE_NOMEM;
	if (r == 0)
		r = rtnl_route_alloc_cache(socket, AF_UNSPEC, 0, &routes);
	if (r < 0) {
		r = error_set(err, EIO, "read the routes by netlink: %s", nl_geterror(r));
		goto out;
	}
	/* One that cannot be added must not keep the others from being added: the first error is told at the end. */
	for (size_t i = 0; i < count; i++) {
		autoerror struct error one = {0};
		if (add_wish(socket, routes, &wishes[i], &unreachable, &one) < 0 && r == 0)
			r = error_move(err, &one);
	}
	for (struct nl_object *o = nl_cache_get_first(routes); o; o = nl_cache_get_next(o))
		if (ours((struct rtnl_route *)o) && !wished((struct rtnl_route *)o, wishes, count))
			rtnl_route_delete(socket, (struct rtnl_route *)o, 0);
	if (r == 0 && ret_unreachable)
		*ret_unreachable = unreachable;
out:
	if (routes)
		nl_cache_free(routes);
	nl_socket_free(socket);
	return r;
}
