/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hints of services that ask for them (service.kubernetes.io/topology-mode: Auto): each zone gets a share of the endpoints by its share of the cluster's cpu,
 * its own endpoints first. A zone may carry a fifth more than its share; where there are too few endpoints for that, or a node or endpoint without a zone, there are no
 * hints at all: half of them would leave zones without any.
 */
#include "controller-manager/endpoints/endpoints.h"

#include "api/discovery_v1.h"

#include <math.h>

#define LABEL_ZONE "topology.kubernetes.io/zone"
#define MODE_ANNOTATION "service.kubernetes.io/topology-mode"
#define OLD_ANNOTATION "service.kubernetes.io/topology-aware-hints"
#define OVERLOAD 0.2

struct zone {
	const char *name; /* borrowed from a node */
	double cpu;
	int64_t least;    /* endpoints it must have */
	int64_t has;
};
struct zones {
	struct zone *items;
	size_t len;
	double cpu;
};

bool topology_is_wanted(const struct core_v1_service *service)
{
	const char *mode = api_map_get(&service->metadata.annotations, MODE_ANNOTATION);
	if (!mode)
		mode = api_map_get(&service->metadata.annotations, OLD_ANNOTATION);
	return (str_equal(mode, "Auto") || str_equal(mode, "auto")) && str_empty(service->spec.traffic_distribution);
}

static struct zone *find_zone(const struct zones *zones, const char *name)
{
	for (size_t i = 0; i < zones->len; i++)
		if (str_equal(zones->items[i].name, name))
			return &zones->items[i];
	return NULL;
}

static bool is_worker(const struct core_v1_node *node)
{
	bool ready = false;
	for (uint32_t i = 0; i < node->status.conditions.len; i++)
		ready |= str_equal(node->status.conditions.items[i].type, "Ready") && str_equal(node->status.conditions.items[i].status, "True");
	return ready && !api_map_get(&node->metadata.labels, "node-role.kubernetes.io/control-plane") && !api_map_get(&node->metadata.labels, "node-role.kubernetes.io/master");
}

/* False where some node does not tell its zone or cpu. */
static bool add_nodes(struct zones *zones, const struct informer_list *nodes)
{
	for (size_t i = 0; i < nodes->len; i++) {
		const struct core_v1_node *node = nodes->items[i];
		const char *name = api_map_get(&node->metadata.labels, LABEL_ZONE);
		const struct quantity *cpu = api_quantity_get(&node->status.allocatable, "cpu");
		if (!is_worker(node))
			continue;
		if (str_empty(name) || !cpu || quantity_is_zero(cpu))
			return false;
		struct zone *zone = find_zone(zones, name);
		if (!zone) {
			zones->items = xreallocarray(zones->items, zones->len + 1, sizeof(*zones->items));
			zone = &zones->items[zones->len++];
			*zone = (struct zone){.name = name};
		}
		zone->cpu += (double)quantity_milli_value(cpu);
		zones->cpu += (double)quantity_milli_value(cpu);
	}
	return true;
}

static bool is_ready(const struct discovery_v1_endpoint *endpoint)
{
	return endpoint->conditions.ready && *endpoint->conditions.ready;
}

static const char *order_key(const struct discovery_v1_endpoint *endpoint)
{
	return endpoint->target_ref ? str_or(endpoint->target_ref->uid, "") : "";
}

/* The same endpoints always move: by uid, not by the order of the cache. */
static int compare_endpoints(const void *left, const void *right)
{
	return strcmp(order_key(*(struct discovery_v1_endpoint *const *)left), order_key(*(struct discovery_v1_endpoint *const *)right));
}

static void hint(struct arena *arena, struct discovery_v1_endpoint *endpoint, const char *zone)
{
	endpoint->hints = arena_new_type(arena, struct discovery_v1_endpoint_hints);
	struct discovery_v1_for_zone *for_zone = api_list_add(arena, &endpoint->hints->for_zones);
	for_zone->name = arena_strdup(arena, zone);
}

/* The zone that can spare most. */
static struct zone *richest(const struct zones *zones)
{
	struct zone *best = NULL;
	for (size_t i = 0; i < zones->len; i++) {
		struct zone *z = &zones->items[i];
		if (z->has > z->least && (!best || z->has - z->least > best->has - best->least))
			best = z;
	}
	return best;
}

static void move_one(struct arena *arena, struct discovery_v1_endpoint **ready, size_t count, struct zone *from, struct zone *to)
{
	for (size_t i = 0; i < count; i++) {
		if (!str_equal(ready[i]->hints->for_zones.items[0].name, from->name))
			continue;
		hint(arena, ready[i], to->name);
		from->has--;
		to->has++;
		return;
	}
}

static const char *assign(struct zones *zones, const struct informer_list *nodes, struct discovery_v1_endpoint **ready, size_t count, struct arena *arena)
{
	int64_t least = 0;
	if (!add_nodes(zones, nodes))
		return "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes";
	if (zones->len < 2)
		return "Nodes only ready in one zone";
	if (zones->len > count)
		return arena_printf(arena, "Insufficient number of endpoints (%zu endpoints, %zu zones)", count, zones->len);
	for (size_t i = 0; i < zones->len; i++) {
		zones->items[i].least = (int64_t)ceil((double)count * zones->items[i].cpu / zones->cpu / (1 + OVERLOAD));
		least += zones->items[i].least;
	}
	if (least > (int64_t)count)
		return arena_printf(arena, "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold (%zu endpoints, %zu zones)", count, zones->len);
	for (size_t i = 0; i < count; i++) {
		struct zone *zone = str_empty(ready[i]->zone) ? NULL : find_zone(zones, ready[i]->zone);
		if (!zone)
			return "One or more endpoints do not have a zone specified";
		zone->has++;
	}
	for (size_t i = 0; i < count; i++)
		hint(arena, ready[i], ready[i]->zone);
	for (size_t i = 0; i < zones->len; i++)
		for (struct zone *from; zones->items[i].has < zones->items[i].least && (from = richest(zones));)
			move_one(arena, ready, count, from, &zones->items[i]);
	return NULL;
}

const char *topology_assign(struct discovery_v1_endpoint *endpoints, size_t len, const struct informer_list *nodes, struct arena *arena)
{
	autofree struct discovery_v1_endpoint **ready = xcalloc(len, sizeof(*ready));
	struct zones zones = {0};
	size_t count = 0;
	for (size_t i = 0; i < len; i++) {
		endpoints[i].hints = NULL;
		if (is_ready(&endpoints[i]))
			ready[count++] = &endpoints[i];
	}
	qsort(ready, count, sizeof(*ready), compare_endpoints);
	const char *why_not = assign(&zones, nodes, ready, count, arena);
	free(zones.items);
	return why_not;
}

bool topology_node_matters(const void *old_object, const void *object)
{
	const struct core_v1_node *old = old_object, *node = object;
	const struct quantity *a = api_quantity_get(&old->status.allocatable, "cpu"), *b = api_quantity_get(&node->status.allocatable, "cpu");
	return is_worker(old) != is_worker(node) || !str_equal(api_map_get(&old->metadata.labels, LABEL_ZONE), api_map_get(&node->metadata.labels, LABEL_ZONE)) ||
	       (a ? quantity_milli_value(a) : 0) != (b ? quantity_milli_value(b) : 0);
}
