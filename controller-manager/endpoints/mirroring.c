/* SPDX-License-Identifier: Apache-2.0 */
/* EndpointSlices for Endpoints that somebody wrote by hand, so that readers of slices see them too. */
#include "controller-manager/endpoints/endpoints.h"
#include "controller-manager/shared/owners.h"
#include "controller-manager/shared/pods.h"

#include "api/discovery_v1.h"

#define MANAGED_BY "endpointslice.kubernetes.io/managed-by"
#define MANAGER "endpointslicemirroring-controller.k8s.io"
#define LABEL_SKIP_MIRROR "endpointslice.kubernetes.io/skip-mirror"
#define ANNOTATION_LEADER "control-plane.alpha.kubernetes.io/leader"
#define OWN_ENDPOINTS "endpoints.kubernetes.io/managed-by"

/* Annotations that say something of the Endpoints object itself. */
static const char *const own_annotations[] = {"kubectl.kubernetes.io/last-applied-configuration", "endpoints.kubernetes.io/last-change-trigger-time", "endpoints.kubernetes.io/over-capacity"};

struct mirror {
	struct reconciler *r;
	const struct core_v1_endpoints *endpoints;
	struct informer_list slices;
	bool *kept;
};

static void mirror_done(struct mirror *m)
{
	informer_list_done(&m->slices);
	free(m->kept);
}

static void add_addresses(struct discovery_v1_endpoint_slice *slice, const struct core_v1_endpoint_address_array *list, bool ready, bool v6, uint32_t *left)
{
	struct arena *arena = api_arena(slice);
	for (uint32_t i = 0; i < list->len && *left; i++) {
		const struct core_v1_endpoint_address *from = &list->items[i];
		if ((strchr(str_or(from->ip, ""), ':') != NULL) != v6)
			continue;
		struct discovery_v1_endpoint *endpoint = api_list_add(arena, &slice->endpoints);
		api_string_list_add(arena, &endpoint->addresses, arena_strdup(arena, from->ip));
		endpoint->conditions.ready = api_bool(arena, ready);
		endpoint->hostname = str_empty(from->hostname) ? NULL : arena_strdup(arena, from->hostname);
		endpoint->node_name = arena_strdup(arena, from->node_name);
		if (from->target_ref) {
			endpoint->target_ref = arena_new_type(arena, struct core_v1_object_reference);
			api_copy_value(&core_v1_object_reference_type, endpoint->target_ref, from->target_ref, arena);
		}
		--*left;
	}
}

/* What passes the limit is left out, and its owner told. */
static void tell_of_limit(struct mirror *m, const struct core_v1_endpoint_subset *subset)
{
	uint32_t count = subset->addresses.len + subset->not_ready_addresses.len, max = (uint32_t)m->r->world->settings->mirroring_max_endpoints_per_subset;
	if (count > max)
		reconciler_event(m->r, m->endpoints, EVENT_WARNING, "TooManyAddressesToMirror", "A max of %u addresses can be mirrored to EndpointSlices per Endpoints subset. %u addresses were skipped", max,
			count - max);
}

static struct discovery_v1_endpoint_slice *slice_of(struct mirror *m, const struct core_v1_endpoint_subset *subset, bool v6)
{
	const struct core_v1_endpoints *endpoints = m->endpoints;
	struct discovery_v1_endpoint_slice *slice = api_new_of(discovery_v1_endpoint_slice);
	struct arena *arena = api_arena(slice);
	uint32_t left = (uint32_t)m->r->world->settings->mirroring_max_endpoints_per_subset;
	slice->metadata.generate_name = arena_printf(arena, "%s-", endpoints->metadata.name);
	slice->metadata.namespace = arena_strdup(arena, endpoints->metadata.namespace);
	for (uint32_t i = 0; i < endpoints->metadata.labels.len; i++)
		api_map_set(arena, &slice->metadata.labels, endpoints->metadata.labels.items[i].key, endpoints->metadata.labels.items[i].value);
	for (uint32_t i = 0; i < endpoints->metadata.annotations.len; i++) {
		const struct api_string_map_entry *a = &endpoints->metadata.annotations.items[i];
		bool own = false;
		for (size_t n = 0; n < array_len(own_annotations); n++)
			own |= str_equal(own_annotations[n], a->key);
		if (!own)
			api_map_set(arena, &slice->metadata.annotations, a->key, a->value);
	}
	api_map_set(arena, &slice->metadata.labels, DISCOVERY_LABEL_SERVICE_NAME, endpoints->metadata.name);
	api_map_set(arena, &slice->metadata.labels, MANAGED_BY, MANAGER);
	owner_set_controller(arena, &slice->metadata, endpoints);
	slice->address_type = v6 ? "IPv6" : "IPv4";
	for (uint32_t i = 0; i < subset->ports.len; i++) {
		struct discovery_v1_endpoint_port *port = api_list_add(arena, &slice->ports);
		port->name = arena_strdup(arena, str_or(subset->ports.items[i].name, ""));
		port->port = api_int32(arena, subset->ports.items[i].port);
		port->protocol = arena_strdup(arena, str_or(subset->ports.items[i].protocol, "TCP"));
		port->app_protocol = arena_strdup(arena, subset->ports.items[i].app_protocol);
	}
	add_addresses(slice, &subset->addresses, true, v6, &left);
	add_addresses(slice, &subset->not_ready_addresses, false, v6, &left);
	return slice;
}

static bool same_slice(const struct discovery_v1_endpoint_slice *a, const struct discovery_v1_endpoint_slice *b)
{
	if (!str_equal(a->address_type, b->address_type) || a->ports.len != b->ports.len || a->endpoints.len != b->endpoints.len ||
		!api_map_equal(&a->metadata.labels, &b->metadata.labels) || !api_map_equal(&a->metadata.annotations, &b->metadata.annotations))
		return false;
	for (uint32_t i = 0; i < a->ports.len; i++)
		if (!api_equal(&discovery_v1_endpoint_port_type, &a->ports.items[i], &b->ports.items[i]))
			return false;
	for (uint32_t i = 0; i < a->endpoints.len; i++)
		if (!api_equal(&discovery_v1_endpoint_type, &a->endpoints.items[i], &b->endpoints.items[i]))
			return false;
	return true;
}

/* Keeps a slice that is right already, changes one that is not yet kept, or makes one. */
static int want_slice(struct mirror *m, const struct discovery_v1_endpoint_slice *wanted, struct error *err)
{
	for (size_t i = 0; i < m->slices.len; i++) {
		if (!m->kept[i] && same_slice(m->slices.items[i], wanted)) {
			m->kept[i] = true;
			return 0;
		}
	}
	for (size_t i = 0; i < m->slices.len; i++) {
		const struct discovery_v1_endpoint_slice *slice = m->slices.items[i];
		if (m->kept[i] || !str_equal(slice->address_type, wanted->address_type))
			continue;
		autounref struct discovery_v1_endpoint_slice *copy = api_copy(slice);
		m->kept[i] = true;
		copy->endpoints = wanted->endpoints;
		copy->ports = wanted->ports;
		copy->metadata.labels = wanted->metadata.labels;
		copy->metadata.annotations = wanted->metadata.annotations;
		copy->metadata.generate_name = NULL; /* as Kubernetes' leaves it: what it writes again is named outright */
		return world_update(m->r->world, CACHED_ENDPOINT_SLICES, copy, NULL, err);
	}
	autounref struct discovery_v1_endpoint_slice *created = NULL;
	int r = world_create(m->r->world, CACHED_ENDPOINT_SLICES, wanted, (void **)&created, err);
	if (!r && created)
		expectations_created(m->r->state, api_key(m->endpoints), created);
	return r;
}

static bool is_mirrored(const struct core_v1_endpoints *endpoints, const struct core_v1_service *service)
{
	return endpoints && service && !service->spec.selector.len && !str_equal(service->spec.type, "ExternalName") &&
	       !endpoints->metadata.deletion_timestamp.set && !str_equal(api_map_get(&endpoints->metadata.labels, LABEL_SKIP_MIRROR), "true") &&
	       !api_map_get(&endpoints->metadata.labels, OWN_ENDPOINTS) && !api_map_get(&endpoints->metadata.annotations, ANNOTATION_LEADER);
}

static int reconcile(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	autofree char *key = xprintf("%s/%s", ns, name);
	int may_write = expectations_check(r->state, r->world, CACHED_ENDPOINT_SLICES, key, err);
	if (may_write <= 0)
		return may_write < 0 ? may_write : EXPECTATIONS_LOOK_MS;
	autounref struct core_v1_endpoints *endpoints = world_find(r->world, CACHED_ENDPOINTS, ns, name);
	autounref struct core_v1_service *service = world_find(r->world, CACHED_SERVICES, ns, name);
	cleanup(mirror_done) struct mirror m = {.r = r, .endpoints = endpoints};
	autolist struct informer_list all = INFORMER_LIST_INIT;
	world_list_index(r->world, CACHED_ENDPOINT_SLICES, INDEX_SERVICE, key, &all);
	for (size_t i = 0; i < all.len; i++)
		if (str_equal(api_map_get(&api_metadata(all.items[i])->labels, MANAGED_BY), MANAGER))
			informer_list_add(&m.slices, api_ref(all.items[i]));
	m.kept = xcalloc(m.slices.len, sizeof(bool));
	int result = 0;
	for (uint32_t i = 0; is_mirrored(endpoints, service) && i < endpoints->subsets.len; i++) {
		tell_of_limit(&m, &endpoints->subsets.items[i]);
		for (int v6 = 0; v6 < 2 && !result; v6++) {
			autounref struct discovery_v1_endpoint_slice *wanted = slice_of(&m, &endpoints->subsets.items[i], v6);
			if (wanted->endpoints.len)
				result = want_slice(&m, wanted, err);
		}
	}
	for (size_t i = 0; i < m.slices.len && !result; i++)
		if (!m.kept[i])
			result = world_delete(r->world, CACHED_ENDPOINT_SLICES, m.slices.items[i], NULL, err);
	return result;
}

static void wake_by_slice(struct reconciler *r, const void *object)
{
	const struct meta_v1_object_meta *meta = api_metadata(object);
	const char *service = api_map_get(&meta->labels, DISCOVERY_LABEL_SERVICE_NAME);
	if (service && str_equal(api_map_get(&meta->labels, MANAGED_BY), MANAGER))
		reconciler_add(r, meta->namespace, service);
}

static void *state_new(void)
{
	return expectations_new();
}

static void state_free(void *state)
{
	expectations_free(state);
}

const struct controller endpoint_slice_mirroring_controller = {
	.name = "endpointslice-mirroring-controller",
	.queue = "endpoint_slice_mirroring",
	.account = "endpointslicemirroring-controller",
	.alias = "endpointslicemirroring",
	.component = "endpoint-slice-mirroring-controller",
	.concurrency_flag = "mirroring-concurrent-service-endpoint-syncs",
	.workers = 5,
	.watches = (const struct controller_watch[]){{.what = CACHED_ENDPOINTS},
		{.what = CACHED_SERVICES},
		{.what = CACHED_ENDPOINT_SLICES, .wake = wake_by_slice},
		{.what = CACHED_NONE}},
	.reconcile = reconcile,
	.state_new = state_new,
	.state_free = state_free,
};
