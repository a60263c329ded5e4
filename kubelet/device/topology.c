/* SPDX-License-Identifier: Apache-2.0 */
/* Where devices are on the machine, as their plugins say. */
#include "common/pod/resources.h"
#include "kubelet/device/internal.h"

static uint64_t places(const struct device *device, uint64_t known) {
	uint64_t nodes = 0;
	for (size_t i = 0; i < device->node_count; i++)
		if (device->nodes[i] >= 0 && device->nodes[i] < MACHINE_MAX_NODES)
			nodes |= (uint64_t)1 << device->nodes[i];
	return nodes & known;
}

bool device_has_place(const struct resource *resource) {
	for (size_t i = 0; i < resource->devices.len; i++)
		if (resource->devices.items[i].node_count)
			return true;
	return false;
}

int device_distance(const struct device *device, uint64_t nodes) {
	return !device->node_count ? 2 : places(device, nodes) ? 0 : 1;
}

/* A container's, or with NULL the whole pod's: is this one of what it has of the resource? */
static bool has(const struct device_manager *m, const char *pod, const char *container, const char *resource, const char *id, bool lent) {
	for (size_t i = 0; i < m->holding_count; i++) {
		const struct holding *h = m->holdings[i];
		if (str_equal(h->pod_uid, pod) && str_equal(h->resource, resource) && (!container || str_equal(h->container, container)) && (!lent || h->lent) && device_is_among(h->ids, id))
			return true;
	}
	return false;
}

/* What a set of nodes is asked for. */
enum use { NOT_USABLE, FREE, LENT };

static void add_hints(const struct resource *resource, const enum use *uses, size_t count, uint64_t known, struct arena *arena, struct hint_list *list) {
	uint64_t all = 0;
	for (size_t i = 0; i < resource->devices.len; i++)
		all |= places(&resource->devices.items[i], known);
	all = all ? all : known;
	size_t least = hint_count(all);
	for (uint64_t nodes = hint_next(all, 0); nodes; nodes = hint_next(all, nodes)) {
		size_t there = 0, usable = 0;
		bool fits = true;
		for (size_t i = 0; i < resource->devices.len; i++) {
			const struct device *device = &resource->devices.items[i];
			bool in = places(device, nodes);
			there += in;
			usable += in && uses[i] != NOT_USABLE;
			/* What its init containers lend is to be taken. */
			fits = fits && (uses[i] != LENT || in || !device->node_count);
		}
		if (there >= count)
			least = min_of(least, hint_count(nodes));
		if (fits && usable >= count)
			hint_list_add(list, arena, nodes, false);
	}
	hint_list_prefer(list, least);
}

static void hint_resource(const struct device_manager *m, const struct resource *resource, const char *pod, const char *container, int64_t count, uint64_t known, struct arena *arena, struct hint_set *set) {
	size_t devices = resource->devices.len, held = 0, usable = 0;
	autofree enum use *uses = xcalloc(devices + 1, sizeof(*uses));
	if (!device_has_place(resource))
		return;
	struct hint_list *list = hint_set_add(set, arena);
	for (size_t i = 0; i < devices; i++) {
		uses[i] = has(m, pod, container, resource->name, resource->devices.items[i].id, false) ? FREE : NOT_USABLE;
		held += uses[i] == FREE;
	}
	if (held && (int64_t)held != count)
		return;
	for (size_t i = 0; !held && i < devices; i++) {
		const struct device *device = &resource->devices.items[i];
		bool lent = container && has(m, pod, NULL, resource->name, device->id, true) && !device_is_taken(m, resource->name, device->id, pod);
		uses[i] = lent ? LENT : device->healthy && !device_is_taken(m, resource->name, device->id, NULL) ? FREE : NOT_USABLE;
		usable += uses[i] != NOT_USABLE;
	}
	if (held || (int64_t)usable >= count)
		add_hints(resource, uses, (size_t)count, known, arena, list);
}

void device_manager_hints(struct device_manager *m, const struct core_v1_pod *pod, const struct core_v1_container *container, uint64_t known, struct arena *arena, struct hint_set *set) {
	struct api_quantity_map limits;
	if (!m)
		return;
	if (container)
		limits = container->resources.limits;
	else
		pod_limits(pod, arena, &limits);
	pthread_mutex_lock(&m->lock);
	for api_list_each (e, &limits) {
		const struct resource *resource = map_get(&m->resources, e->key);
		int64_t count = quantity_value(&e->value);
		if (resource && count > 0 && count <= DEVICE_MAX_DEVICES)
			hint_resource(m, resource, pod->metadata.uid, container ? container->name : NULL, count, known, arena, set);
	}
	pthread_mutex_unlock(&m->lock);
}
