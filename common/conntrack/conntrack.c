/* SPDX-License-Identifier: Apache-2.0 */
#include "common/conntrack/conntrack.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#include <libnetfilter_conntrack/libnetfilter_conntrack.h>

struct criterion {
	int family;
	uint8_t address[16];
	bool any_address;
	uint16_t port;
	bool redirected;
	uint8_t endpoint[16];
};

struct conntrack {
	struct criterion *items;
	size_t len, cap;
};

/* A flood of changes removes at most this many kinds of flow in one pass; the rest ends by its own time-out. */
#define CRITERIA_MAX 4096

struct conntrack *conntrack_new(void) {
	return xnew(struct conntrack);
}

void conntrack_free(struct conntrack *conntrack) {
	if (!conntrack)
		return;
	free(conntrack->items);
	free(conntrack);
}

static size_t address_len(int family) {
	return family == AF_INET6 ? 16 : 4;
}

void conntrack_add(struct conntrack *conntrack, int family, const uint8_t address[16], uint16_t port, const uint8_t *endpoint) {
	static const uint8_t zero[16] = {0};
	if (conntrack->len == CRITERIA_MAX)
		return;
	if (conntrack->len == conntrack->cap) {
		conntrack->cap = conntrack->cap ? conntrack->cap * 2 : 16;
		conntrack->items = xreallocarray(conntrack->items, conntrack->cap, sizeof(*conntrack->items));
	}
	struct criterion *c = &conntrack->items[conntrack->len++];
	*c = (struct criterion){.family = family, .port = port, .redirected = endpoint != NULL};
	memcpy(c->address, address, address_len(family));
	c->any_address = memcmp(address, zero, address_len(family)) == 0;
	if (endpoint)
		memcpy(c->endpoint, endpoint, address_len(family));
}

struct pass {
	struct conntrack *conntrack;
	struct nfct_handle *deleter; /* the dumping handle is busy */
	int family;
	size_t removed;
};

static const void *flow_address(struct nf_conntrack *flow, int family, bool reply) {
	if (family == AF_INET)
		return nfct_get_attr(flow, reply ? ATTR_REPL_IPV4_SRC : ATTR_ORIG_IPV4_DST);
	return nfct_get_attr(flow, reply ? ATTR_REPL_IPV6_SRC : ATTR_ORIG_IPV6_DST);
}

static bool matches(const struct criterion *c, struct nf_conntrack *flow, int family) {
	size_t len = address_len(family);
	const void *destination = flow_address(flow, family, false), *answerer = flow_address(flow, family, true);
	if (c->family != family || !destination || !answerer || nfct_get_attr_u16(flow, ATTR_ORIG_PORT_DST) != c->port)
		return false;
	if (!c->any_address && memcmp(destination, c->address, len) != 0)
		return false;
	return memcmp(answerer, c->redirected ? c->endpoint : destination, len) == 0;
}

static int on_flow(enum nf_conntrack_msg_type type, struct nf_conntrack *flow, void *arg) {
	struct pass *pass = arg;
	if (nfct_get_attr_u8(flow, ATTR_ORIG_L4PROTO) != IPPROTO_UDP)
		return NFCT_CB_CONTINUE;
	for (size_t i = 0; i < pass->conntrack->len; i++) {
		if (!matches(&pass->conntrack->items[i], flow, pass->family))
			continue;
		if (nfct_query(pass->deleter, NFCT_Q_DESTROY, flow) == 0)
			pass->removed++;
		break;
	}
	return NFCT_CB_CONTINUE;
}

static int run_family(struct conntrack *conntrack, int family, size_t *removed, struct error *err) {
	bool any = false;
	for (size_t i = 0; i < conntrack->len; i++)
		any |= conntrack->items[i].family == family;
	if (!any)
		return 0;
	struct nfct_handle *dumper = nfct_open(CONNTRACK, 0), *deleter = nfct_open(CONNTRACK, 0);
	struct pass pass = {.conntrack = conntrack, .deleter = deleter, .family = family};
	uint32_t wire_family = (uint32_t)family;
	int r = 0;
	if (!dumper || !deleter) {
		r = error_set_errno(err, errno, "open conntrack's netlink socket");
	} else {
		nfct_callback_register(dumper, NFCT_T_ALL, on_flow, &pass);
		if (nfct_query(dumper, NFCT_Q_DUMP, &wire_family) < 0)
			r = error_set_errno(err, errno, "read conntrack's table");
	}
	*removed += pass.removed;
	if (dumper)
		nfct_close(dumper);
	if (deleter)
		nfct_close(deleter);
	return r;
}

int conntrack_run(struct conntrack *conntrack, size_t *ret_removed, struct error *err) {
	size_t removed = 0;
	int r = run_family(conntrack, AF_INET, &removed, err);
	if (r == 0)
		r = run_family(conntrack, AF_INET6, &removed, err);
	conntrack->len = 0;
	if (r == 0 && ret_removed)
		*ret_removed = removed;
	return r;
}
