/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gives every node its part of the cluster's pod addresses (one of each family in --cluster-cidr). What is taken is read from the nodes
 * themselves, plus what was given a moment ago and the cache does not show yet.
 */
#include "controller-manager/controller.h"

#include "api/core_v1.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#define MAX_RANGES 2
#define MAX_PARTS ((uint64_t)1 << 20) /* of one range */
#define DEFAULT_MASK_IPV4 24
#define DEFAULT_MASK_IPV6 64

/* One range, cut into parts of equal size. */
struct range {
	int family;
	uint8_t base[16];
	int prefix, part_prefix;
	uint64_t parts, next;
	uint64_t *taken; /* bits */
};

struct state {
	pthread_mutex_t lock;
	bool ready;
	struct range ranges[MAX_RANGES];
	size_t count;
	struct map given; /* node uid -> struct gift, while the cache does not show its parts */
	struct map starving; /* names of nodes for which nothing was left */
};

/* Parts that a node was given. They stay its own while nobody knows whether the server has heard of it: a second try says the same. */
struct gift {
	char parts[MAX_RANGES][64];
	bool written;
};

static void *state_new(void)
{
	struct state *state = xnew(struct state);
	pthread_mutex_init(&state->lock, NULL);
	state->given = MAP_INIT(free);
	state->starving = MAP_INIT(NULL);
	return state;
}

static void state_free(void *arg)
{
	struct state *state = arg;
	for (size_t i = 0; i < state->count; i++)
		free(state->ranges[i].taken);
	map_done(&state->given);
	map_done(&state->starving);
	pthread_mutex_destroy(&state->lock);
	free(state);
}

static bool enabled(const struct settings *settings)
{
	return settings->allocate_node_cidrs;
}

static bool parse_cidr(const char *text, int *family, uint8_t base[16], int *prefix)
{
	const char *slash = strchr(text, '/');
	int64_t bits;
	if (!slash)
		return false;
	autofree char *address = xstrndup(text, (size_t)(slash - text));
	*family = strchr(address, ':') ? AF_INET6 : AF_INET;
	int width = *family == AF_INET6 ? 128 : 32;
	memset(base, 0, 16);
	if (inet_pton(*family, address, base) != 1 || !str_to_int64(slash + 1, 0, width, &bits))
		return false;
	*prefix = (int)bits;
	for (int bit = *prefix; bit < width; bit++)
		base[bit / 8] &= (uint8_t)~(0x80 >> bit % 8);
	return true;
}

static int open_range(struct range *range, const char *text, const struct settings *s, struct error *err)
{
	if (!parse_cidr(text, &range->family, range->base, &range->prefix))
		return error_set(err, EINVAL, "--cluster-cidr: \"%s\" is no CIDR", text);
	bool v6 = range->family == AF_INET6;
	int64_t mask = v6 ? s->node_cidr_mask_size_ipv6 : s->node_cidr_mask_size_ipv4;
	if (!mask)
		mask = s->node_cidr_mask_size;
	if (!mask)
		mask = v6 ? DEFAULT_MASK_IPV6 : DEFAULT_MASK_IPV4;
	if (mask < range->prefix || mask > (v6 ? 128 : 32))
		return error_set(err, EINVAL, "node CIDR mask /%lld does not fit into %s", (long long)mask, text);
	range->part_prefix = (int)mask;
	range->parts = mask - range->prefix >= 20 ? MAX_PARTS : (uint64_t)1 << (mask - range->prefix);
	range->taken = xcalloc((range->parts + 63) / 64, sizeof(uint64_t));
	return 0;
}

/* Two ranges are one of each family. */
static int check_ranges(const char *flag, const struct flag_list *ranges, struct error *err)
{
	int families[MAX_RANGES] = {0}, prefix;
	uint8_t base[16];
	if (ranges->len > MAX_RANGES)
		return error_set(err, EINVAL, "--%s: %zu ranges, at most one of each address family", flag, ranges->len);
	for (size_t i = 0; i < ranges->len; i++)
		if (!parse_cidr(ranges->items[i], &families[i], base, &prefix))
			return error_set(err, EINVAL, "--%s: \"%s\" is no CIDR", flag, ranges->items[i]);
	if (ranges->len == MAX_RANGES && families[0] == families[1])
		return error_set(err, EINVAL, "--%s: both ranges are of one address family", flag);
	return 0;
}

/* One size for all is for one range alone; a size for a family that the cluster has not is a mistake. */
static int check_mask_sizes(const struct settings *s, struct error *err)
{
	bool dual = s->cluster_cidr.len > 1, v6 = strchr(s->cluster_cidr.items[0], ':');
	if (s->node_cidr_mask_size && dual)
		return error_set(err, EINVAL, "usage of --node-cidr-mask-size is not allowed with dual-stack clusters");
	if (s->node_cidr_mask_size && (s->node_cidr_mask_size_ipv4 || s->node_cidr_mask_size_ipv6))
		return error_set(err, EINVAL, "--node-cidr-mask-size cannot stand beside --node-cidr-mask-size-ipv4 or --node-cidr-mask-size-ipv6");
	if (!dual && v6 && s->node_cidr_mask_size_ipv4)
		return error_set(err, EINVAL, "usage of --node-cidr-mask-size-ipv4 is not allowed for a single-stack IPv6 cluster");
	if (!dual && !v6 && s->node_cidr_mask_size_ipv6)
		return error_set(err, EINVAL, "usage of --node-cidr-mask-size-ipv6 is not allowed for a single-stack IPv4 cluster");
	return 0;
}

static int check(const struct settings *s, struct error *err)
{
	if (!s->cluster_cidr.len)
		return error_set(err, EINVAL, "--allocate-node-cidrs: must specify --cluster-cidr as well");
	if (!str_equal(s->cidr_allocator_type, "RangeAllocator"))
		return error_set(err, EINVAL, "--cidr-allocator-type: \"%s\" needs a cloud provider, RangeAllocator is the only one", s->cidr_allocator_type);
	int r = check_ranges("cluster-cidr", &s->cluster_cidr, err);
	r = r ? r : check_ranges("service-cluster-ip-range", &s->service_cluster_ip_range, err);
	r = r ? r : check_mask_sizes(s, err);
	for (size_t i = 0; i < s->cluster_cidr.len && !r; i++) {
		struct range range = {0};
		r = open_range(&range, s->cluster_cidr.items[i], s, err);
		free(range.taken);
	}
	return r;
}

static void part_text(const struct range *range, uint64_t index, char *out, size_t size)
{
	uint8_t address[16];
	char text[INET6_ADDRSTRLEN];
	memcpy(address, range->base, sizeof(address));
	for (int bit = range->part_prefix - 1; index && bit >= range->prefix; bit--, index >>= 1)
		if (index & 1)
			address[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
	inet_ntop(range->family, address, text, sizeof(text));
	snprintf(out, size, "%s/%d", text, range->part_prefix);
}

/* The first and last part that `text` touches; false where it lies outside. */
static bool part_span(const struct range *range, const char *text, uint64_t *first, uint64_t *last)
{
	int family, prefix;
	uint8_t base[16];
	if (!parse_cidr(text, &family, base, &prefix) || family != range->family)
		return false;
	for (int bit = 0; bit < min_of(range->prefix, prefix); bit++)
		if ((base[bit / 8] ^ range->base[bit / 8]) & (0x80 >> bit % 8))
			return false;
	*first = 0;
	for (int bit = range->prefix; bit < range->part_prefix; bit++)
		*first = *first << 1 | ((base[bit / 8] >> (7 - bit % 8)) & 1);
	if (prefix <= range->prefix) {
		*first = 0;
		*last = range->parts - 1;
		return true;
	}
	*last = prefix >= range->part_prefix ? *first : *first + ((uint64_t)1 << (range->part_prefix - prefix)) - 1;
	return *first < range->parts;
}

static void mark(struct state *state, const char *cidr, bool taken)
{
	uint64_t first, last;
	for (size_t i = 0; i < state->count; i++) {
		struct range *range = &state->ranges[i];
		if (!part_span(range, cidr, &first, &last))
			continue;
		for (uint64_t at = first; at <= min_of(last, range->parts - 1); at++) {
			if (taken)
				range->taken[at / 64] |= (uint64_t)1 << at % 64;
			else
				range->taken[at / 64] &= ~((uint64_t)1 << at % 64);
		}
	}
}

static void mark_node(struct state *state, const struct core_v1_node *node, bool taken)
{
	for (uint32_t i = 0; i < node->spec.pod_cidrs.len; i++)
		mark(state, node->spec.pod_cidrs.items[i], taken);
	if (!node->spec.pod_cidrs.len && !str_empty(node->spec.pod_cidr))
		mark(state, node->spec.pod_cidr, taken);
}

static int open_state(struct reconciler *r, struct error *err)
{
	struct state *state = r->state;
	const struct settings *s = r->world->settings;
	if (state->ready)
		return 0;
	for (size_t i = 0; i < s->cluster_cidr.len && state->count < MAX_RANGES; i++) {
		int result = open_range(&state->ranges[state->count], s->cluster_cidr.items[i], s, err);
		if (result)
			return result;
		state->count++;
	}
	/* Services' addresses may lie inside: no node gets those. */
	for (size_t i = 0; i < s->service_cluster_ip_range.len; i++)
		mark(state, s->service_cluster_ip_range.items[i], true);
	autolist struct informer_list nodes = INFORMER_LIST_INIT;
	world_list_all(r->world, CACHED_NODES, &nodes);
	for (size_t i = 0; i < nodes.len; i++)
		mark_node(state, nodes.items[i], true);
	state->ready = true;
	return 0;
}

static bool take_part(struct range *range, char *out, size_t size)
{
	for (uint64_t i = 0; i < range->parts; i++) {
		uint64_t at = (range->next + i) % range->parts;
		if (range->taken[at / 64] >> at % 64 & 1)
			continue;
		range->taken[at / 64] |= (uint64_t)1 << at % 64;
		range->next = at + 1;
		part_text(range, at, out, size);
		return true;
	}
	return false;
}

/* The parts of a node, taken now or by an earlier try; NULL: there are none left. */
static const struct gift *gift_for(struct state *state, const struct core_v1_node *node)
{
	struct gift *gift = map_get(&state->given, node->metadata.uid);
	if (gift)
		return gift;
	gift = xnew(struct gift);
	for (size_t i = 0; i < state->count; i++) {
		if (take_part(&state->ranges[i], gift->parts[i], sizeof(gift->parts[i])))
			continue;
		while (i--)
			mark(state, gift->parts[i], false);
		free(gift);
		return NULL;
	}
	map_set(&state->given, node->metadata.uid, gift);
	return gift;
}

static void take_back(struct state *state, const char *uid)
{
	const struct gift *gift = map_get(&state->given, uid);
	for (size_t i = 0; gift && i < state->count; i++)
		mark(state, gift->parts[i], false);
	map_remove(&state->given, uid);
}

static int write_gift(struct reconciler *r, const struct core_v1_node *node, const struct gift *gift, size_t count, struct error *err)
{
	struct state *state = r->state;
	autobuf struct buf patch = BUF_INIT(1024);
	autoerror struct error failed = {0};
	buf_printf(&patch, "{\"metadata\":{\"uid\":\"%s\"},\"spec\":{\"podCIDR\":\"%s\",\"podCIDRs\":[", node->metadata.uid, gift->parts[0]);
	for (size_t i = 0; i < count; i++)
		buf_printf(&patch, "%s\"%s\"", i ? "," : "", gift->parts[i]);
	buf_append_str(&patch, "]}}");
	int result = world_merge_patch(r->world, CACHED_NODES, NULL, node->metadata.name, NULL, patch.data, &failed);
	pthread_mutex_lock(&state->lock);
	struct gift *kept = map_get(&state->given, node->metadata.uid);
	if (result && !write_is_uncertain(&failed))
		take_back(state, node->metadata.uid);
	else if (!result && kept)
		kept->written = true;
	pthread_mutex_unlock(&state->lock);
	if (result && !error_is(&failed, "NotFound"))
		reconciler_event(r, node, EVENT_NORMAL, "CIDRAssignmentFailed", "Node %s status is now: CIDRAssignmentFailed", node->metadata.name);
	return error_move(err, &failed);
}

static int reconcile(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	struct state *state = r->state;
	autounref struct core_v1_node *node = world_find(r->world, CACHED_NODES, NULL, name);
	struct gift copy = {0};
	bool give = false, none = false;
	if (!node)
		return 0;
	pthread_mutex_lock(&state->lock);
	int result = open_state(r, err);
	size_t count = state->count;
	if (!result && !str_empty(node->spec.pod_cidr)) {
		take_back(state, node->metadata.uid);
		mark_node(state, node, true);
	} else if (!result && !node->metadata.deletion_timestamp.set) {
		const struct gift *gift = gift_for(state, node);
		none = !gift;
		if (none)
			set_add(&state->starving, name);
		give = gift && !gift->written;
		copy = gift ? *gift : copy;
	}
	pthread_mutex_unlock(&state->lock);
	if (none) {
		reconciler_event(r, node, EVENT_NORMAL, "CIDRNotAvailable", "Node %s status is now: CIDRNotAvailable", node->metadata.name);
		return error_set(err, ENOSPC, "no part of the cluster's CIDRs is left for the node");
	}
	/* Not under the lock: the informer wants it to tell of nodes that go. */
	return give ? write_gift(r, node, &copy, count, err) : result;
}

static void on_gone(struct reconciler *r, const void *object)
{
	struct state *state = r->state;
	const struct core_v1_node *node = object;
	pthread_mutex_lock(&state->lock);
	if (state->ready) {
		take_back(state, node->metadata.uid);
		mark_node(state, node, false);
		/* What is free again is for those who wait, before their back-off is over. */
		size_t pos = 0;
		for (struct map_entry *e; (e = map_next(&state->starving, &pos));)
			reconciler_add(r, NULL, e->key);
		map_clear(&state->starving);
	}
	pthread_mutex_unlock(&state->lock);
}

const struct controller node_ipam_controller = {
	.name = "node-ipam-controller",
	.queue = "cidrallocator_node",
	.account = "node-controller",
	.alias = "nodeipam",
	.component = "cidrAllocator",
	.workers = 1,
	.enabled = enabled,
	.check = check,
	.watches = (const struct controller_watch[]){{.what = CACHED_NODES, .gone = on_gone}, {.what = CACHED_NONE}},
	.reconcile = reconcile,
	.state_new = state_new,
	.state_free = state_free,
};
