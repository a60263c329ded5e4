/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EndpointSlices of services with a selector. Endpoints are grouped by address family and by their resolved ports; each group fills slices of at
 * most --max-endpoints-per-slice. What is in a slice already stays there, so that a change of one pod writes one slice.
 */
#include "controller-manager/endpoints/endpoints.h"
#include "controller-manager/shared/owners.h"
#include "controller-manager/shared/pods.h"

#include "api/discovery_v1.h"

#define MANAGED_BY "endpointslice.kubernetes.io/managed-by"
#define MANAGER "endpointslice-controller.k8s.io"
#define LABEL_HEADLESS "service.kubernetes.io/headless"
#define LABEL_ZONE "topology.kubernetes.io/zone"

struct state {
	struct expectations *expectations;
	struct triggers *triggers;
};

/* One set of endpoints with the same family and ports. All memory from the plan's arena. */
struct group {
	const char *family;
	struct discovery_v1_endpoint_port_array ports;
	struct discovery_v1_endpoint *endpoints;
	bool *placed;
	size_t len, cap;
	size_t slices; /* that it has */
};

struct plan {
	struct reconciler *r;
	const struct core_v1_service *service;
	struct arena *arena;
	struct group *groups;
	size_t group_count;
	struct informer_list slices; /* ours, of the service */
	const char *trigger;         /* when what set this off happened; NULL: unknown */
	char trigger_text[TRIGGER_TEXT];
	bool *kept;                  /* by index of slices: belongs to a group */
};

static struct state *state_of(const struct reconciler *r)
{
	return r->state;
}

static void resolve_ports(struct plan *plan, const struct core_v1_pod *pod, struct discovery_v1_endpoint_port_array *ret)
{
	*ret = (struct discovery_v1_endpoint_port_array){0};
	for (uint32_t i = 0; i < plan->service->spec.ports.len; i++) {
		const struct core_v1_service_port *port = &plan->service->spec.ports.items[i];
		int32_t number = pod_port(pod, port);
		if (!number)
			continue;
		struct discovery_v1_endpoint_port *p = api_list_add(plan->arena, ret);
		p->name = arena_strdup(plan->arena, str_or(port->name, ""));
		p->protocol = arena_strdup(plan->arena, str_or(port->protocol, "TCP"));
		p->port = api_int32(plan->arena, number);
		p->app_protocol = arena_strdup(plan->arena, port->app_protocol);
	}
}

static bool ports_equal(const struct discovery_v1_endpoint_port_array *a, const struct discovery_v1_endpoint_port_array *b)
{
	if (a->len != b->len)
		return false;
	for (uint32_t i = 0; i < a->len; i++) {
		bool found = false;
		for (uint32_t j = 0; j < b->len && !found; j++)
			found = api_equal(&discovery_v1_endpoint_port_type, &a->items[i], &b->items[j]);
		if (!found)
			return false;
	}
	return true;
}

static struct group *group_for(struct plan *plan, const char *family, const struct discovery_v1_endpoint_port_array *ports)
{
	for (size_t i = 0; i < plan->group_count; i++)
		if (str_equal(plan->groups[i].family, family) && ports_equal(&plan->groups[i].ports, ports))
			return &plan->groups[i];
	plan->groups = xreallocarray(plan->groups, plan->group_count + 1, sizeof(struct group));
	struct group *group = &plan->groups[plan->group_count++];
	*group = (struct group){.family = family, .ports = *ports};
	return group;
}

static void set_hints(struct plan *plan, struct discovery_v1_endpoint *endpoint)
{
	const char *wish = str_or(plan->service->spec.traffic_distribution, "");
	bool same_zone = str_equal(wish, "PreferClose") || str_equal(wish, "PreferSameZone"), same_node = str_equal(wish, "PreferSameNode");
	if ((!same_zone && !same_node) || !endpoint->conditions.ready || !*endpoint->conditions.ready)
		return;
	if (str_empty(endpoint->zone) && !(same_node && endpoint->node_name))
		return;
	endpoint->hints = arena_new_type(plan->arena, struct discovery_v1_endpoint_hints);
	if (!str_empty(endpoint->zone)) {
		struct discovery_v1_for_zone *zone = api_list_add(plan->arena, &endpoint->hints->for_zones);
		zone->name = endpoint->zone;
	}
	if (same_node && endpoint->node_name) {
		struct discovery_v1_for_node *node = api_list_add(plan->arena, &endpoint->hints->for_nodes);
		node->name = endpoint->node_name;
	}
}

static void fill_endpoint(struct plan *plan, const struct core_v1_pod *pod, const char *address, struct discovery_v1_endpoint *endpoint)
{
	struct arena *arena = plan->arena;
	bool ready = pod_is_ready(pod), going = pod->metadata.deletion_timestamp.set;
	api_string_list_add(arena, &endpoint->addresses, address);
	endpoint->conditions.ready = api_bool(arena, plan->service->spec.publish_not_ready_addresses || (ready && !going));
	endpoint->conditions.serving = api_bool(arena, ready);
	endpoint->conditions.terminating = api_bool(arena, going);
	endpoint->hostname = arena_strdup(arena, pod_hostname(pod, plan->service));
	endpoint->target_ref = arena_new_type(arena, struct core_v1_object_reference);
	endpoint->target_ref->kind = "Pod";
	endpoint->target_ref->namespace = arena_strdup(arena, pod->metadata.namespace);
	endpoint->target_ref->name = arena_strdup(arena, pod->metadata.name);
	endpoint->target_ref->uid = arena_strdup(arena, pod->metadata.uid);
	if (!str_empty(pod->spec.node_name)) {
		endpoint->node_name = arena_strdup(arena, pod->spec.node_name);
		autounref struct core_v1_node *node = world_find(plan->r->world, CACHED_NODES, NULL, pod->spec.node_name);
		endpoint->zone = node ? arena_strdup(arena, api_map_get(&node->metadata.labels, LABEL_ZONE)) : NULL;
	}
	set_hints(plan, endpoint);
}

static void group_add(struct group *group, const struct discovery_v1_endpoint *endpoint)
{
	if (group->len == group->cap) {
		group->cap = max_of(group->cap * 2, (size_t)16);
		group->endpoints = xreallocarray(group->endpoints, group->cap, sizeof(*endpoint));
	}
	group->endpoints[group->len++] = *endpoint;
}

static void families_of(const struct core_v1_service *service, const char *families[2], size_t *count)
{
	*count = 0;
	for (uint32_t i = 0; i < service->spec.ip_families.len && *count < 2; i++)
		families[(*count)++] = service->spec.ip_families.items[i];
	if (!*count)
		families[(*count)++] = !service_is_headless(service) && strchr(str_or(service->spec.cluster_ip, ""), ':') ? "IPv6" : "IPv4";
}

/* Whether clients of this family are told zones already. */
static bool hints_are_told(const struct plan *plan, const char *family)
{
	for (size_t i = 0; i < plan->slices.len; i++) {
		const struct discovery_v1_endpoint_slice *slice = plan->slices.items[i];
		for (uint32_t j = 0; j < slice->endpoints.len && str_equal(slice->address_type, family); j++)
			if (slice->endpoints.items[j].hints && slice->endpoints.items[j].hints->for_zones.len)
				return true;
	}
	return false;
}

static void hint_zones(struct plan *plan)
{
	autolist struct informer_list nodes = INFORMER_LIST_INIT;
	world_list_all(plan->r->world, CACHED_NODES, &nodes);
	for (size_t i = 0; i < plan->group_count; i++) {
		struct group *group = &plan->groups[i];
		const char *why_not = topology_assign(group->endpoints, group->len, &nodes, plan->arena);
		if (why_not)
			reconciler_event(plan->r, plan->service, EVENT_WARNING, "TopologyAwareHintsDisabled", "%s, addressType: %s", why_not, group->family);
		else if (!hints_are_told(plan, group->family))
			reconciler_event(plan->r, plan->service, EVENT_NORMAL, "TopologyAwareHintsEnabled", "Topology Aware Hints has been enabled, addressType: %s", group->family);
	}
}

static void plan_groups(struct plan *plan)
{
	const char *families[2];
	size_t family_count;
	autolist struct informer_list pods = INFORMER_LIST_INIT;
	families_of(plan->service, families, &family_count);
	service_pods(plan->r->world, plan->service, &pods);
	if (triggers_look(state_of(plan->r)->triggers, api_key(plan->service), plan->service, &pods, plan->trigger_text))
		plan->trigger = plan->trigger_text;
	for (size_t i = 0; i < pods.len; i++) {
		const struct core_v1_pod *pod = pods.items[i];
		if (!pod_serves(pod, true))
			continue;
		struct discovery_v1_endpoint_port_array ports;
		resolve_ports(plan, pod, &ports);
		for (size_t f = 0; f < family_count; f++) {
			const char *address = pod_address(pod, families[f]);
			struct discovery_v1_endpoint endpoint = {0};
			if (!address)
				continue;
			fill_endpoint(plan, pod, address, &endpoint);
			group_add(group_for(plan, families[f], &ports), &endpoint);
		}
	}
	/* A service without endpoints has one empty slice, so that clients see that it is known. */
	for (size_t f = 0; f < family_count; f++) {
		bool found = false;
		for (size_t i = 0; i < plan->group_count; i++)
			found |= str_equal(plan->groups[i].family, families[f]);
		if (!found)
			group_for(plan, families[f], &(struct discovery_v1_endpoint_port_array){0});
	}
	for (size_t i = 0; i < plan->group_count; i++)
		plan->groups[i].placed = xcalloc(plan->groups[i].len, sizeof(bool));
	if (topology_is_wanted(plan->service))
		hint_zones(plan);
}

/* ---- slices ---- */

static bool is_reserved(const char *key)
{
	return str_equal(key, DISCOVERY_LABEL_SERVICE_NAME) || str_equal(key, MANAGED_BY) || str_equal(key, LABEL_HEADLESS);
}

static void wanted_labels(const struct core_v1_service *service, struct arena *arena, struct api_string_map *ret)
{
	for (uint32_t i = 0; i < service->metadata.labels.len; i++)
		if (!is_reserved(service->metadata.labels.items[i].key))
			api_map_set(arena, ret, service->metadata.labels.items[i].key, service->metadata.labels.items[i].value);
	if (service_is_headless(service))
		api_map_set(arena, ret, LABEL_HEADLESS, "");
	api_map_set(arena, ret, DISCOVERY_LABEL_SERVICE_NAME, service->metadata.name);
	api_map_set(arena, ret, MANAGED_BY, MANAGER);
}

static ptrdiff_t find_wanted(const struct group *group, const struct discovery_v1_endpoint *endpoint)
{
	for (size_t i = 0; i < group->len; i++)
		if (!group->placed[i] && endpoint->addresses.len && str_equal(group->endpoints[i].addresses.items[0], endpoint->addresses.items[0]) &&
			endpoint->target_ref && str_equal(group->endpoints[i].target_ref->uid, endpoint->target_ref->uid))
			return (ptrdiff_t)i;
	return -1;
}

/* Takes over what is still wanted of a slice's endpoints. Returns whether the copy differs from the slice. */
static bool keep_endpoints(struct group *group, struct discovery_v1_endpoint_slice *copy)
{
	bool changed = false;
	for (uint32_t i = 0; i < copy->endpoints.len;) {
		ptrdiff_t at = find_wanted(group, &copy->endpoints.items[i]);
		if (at < 0) {
			api_list_remove(&copy->endpoints, i);
			changed = true;
			continue;
		}
		group->placed[at] = true;
		if (!api_equal(&discovery_v1_endpoint_type, &copy->endpoints.items[i], &group->endpoints[at])) {
			api_copy_value(&discovery_v1_endpoint_type, &copy->endpoints.items[i], &group->endpoints[at], api_arena(copy));
			changed = true;
		}
		i++;
	}
	return changed;
}

static bool fill_up(struct group *group, struct discovery_v1_endpoint_slice *slice, size_t max)
{
	bool changed = false;
	for (size_t i = 0; i < group->len && slice->endpoints.len < max; i++) {
		if (group->placed[i])
			continue;
		struct discovery_v1_endpoint *endpoint = api_list_add(api_arena(slice), &slice->endpoints);
		api_copy_value(&discovery_v1_endpoint_type, endpoint, &group->endpoints[i], api_arena(slice));
		group->placed[i] = changed = true;
	}
	return changed;
}

static size_t count_unplaced(const struct group *group)
{
	size_t count = 0;
	for (size_t i = 0; i < group->len; i++)
		count += !group->placed[i];
	return count;
}

static struct discovery_v1_endpoint_slice *new_slice(struct plan *plan, const struct group *group)
{
	struct discovery_v1_endpoint_slice *slice = api_new_of(discovery_v1_endpoint_slice);
	struct arena *arena = api_arena(slice);
	slice->metadata.generate_name = arena_printf(arena, "%s-", plan->service->metadata.name);
	slice->metadata.namespace = arena_strdup(arena, plan->service->metadata.namespace);
	owner_set_controller(arena, &slice->metadata, plan->service);
	wanted_labels(plan->service, arena, &slice->metadata.labels);
	trigger_annotate(arena, &slice->metadata, plan->trigger);
	slice->address_type = arena_strdup(arena, group->family);
	for (uint32_t i = 0; i < group->ports.len; i++)
		api_copy_value(&discovery_v1_endpoint_port_type, api_list_add(arena, &slice->ports), &group->ports.items[i], arena);
	return slice;
}

/* What was written is to be seen before this service is looked at again: else the next change would be told to an old slice, and refused. */
static int write_slice(struct plan *plan, struct discovery_v1_endpoint_slice *slice, struct error *err)
{
	autounref struct discovery_v1_endpoint_slice *written = NULL;
	trigger_annotate(api_arena(slice), &slice->metadata, plan->trigger);
	int r = world_update(plan->r->world, CACHED_ENDPOINT_SLICES, slice, (void **)&written, err);
	if (!r && written)
		expectations_created(state_of(plan->r)->expectations, api_key(plan->service), written);
	return r;
}

static int update_slices(struct plan *plan, struct group *group, size_t max, struct error *err)
{
	autofree struct discovery_v1_endpoint_slice **copies = xcalloc(plan->slices.len, sizeof(*copies));
	autofree bool *changed = xcalloc(plan->slices.len, sizeof(bool));
	int r = 0;
	for (size_t i = 0; i < plan->slices.len; i++) {
		const struct discovery_v1_endpoint_slice *slice = plan->slices.items[i];
		if (plan->kept[i] || !str_equal(slice->address_type, group->family) || !ports_equal(&slice->ports, &group->ports))
			continue;
		copies[i] = api_copy(slice);
		changed[i] = keep_endpoints(group, copies[i]);
		struct api_string_map labels = {0};
		wanted_labels(plan->service, api_arena(copies[i]), &labels);
		if (!api_map_equal(&labels, &copies[i]->metadata.labels)) {
			copies[i]->metadata.labels = labels;
			changed[i] = true;
		}
	}
	/* Slices that are written anyway are filled first, then others with room. */
	for (int pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < plan->slices.len; i++)
			if (copies[i] && (changed[i] || pass))
				changed[i] |= fill_up(group, copies[i], max);
	for (size_t i = 0; i < plan->slices.len; i++) {
		if (!copies[i])
			continue;
		/* One slice is kept even when empty, where the group is. */
		plan->kept[i] = copies[i]->endpoints.len || (!group->len && !group->slices);
		group->slices += plan->kept[i];
		if (!r && plan->kept[i] && changed[i])
			r = write_slice(plan, copies[i], err);
		api_unref(copies[i]);
	}
	return r;
}

/* A slice that would be deleted, made what is wanted instead: who watches sees one change for two. NULL: there is none. */
static struct discovery_v1_endpoint_slice *recycled_slice(struct plan *plan, const struct discovery_v1_endpoint_slice *wanted)
{
	for (size_t i = 0; i < plan->slices.len; i++) {
		const struct discovery_v1_endpoint_slice *slice = plan->slices.items[i];
		if (plan->kept[i] || !str_equal(slice->address_type, wanted->address_type))
			continue;
		plan->kept[i] = true;
		struct discovery_v1_endpoint_slice *copy = api_copy(slice);
		struct arena *arena = api_arena(copy);
		copy->ports = (struct discovery_v1_endpoint_port_array){0};
		copy->endpoints = (struct discovery_v1_endpoint_array){0};
		copy->metadata.labels = (struct api_string_map){0};
		wanted_labels(plan->service, arena, &copy->metadata.labels);
		for api_list_each (port, &wanted->ports)
			api_copy_value(&discovery_v1_endpoint_port_type, api_list_add(arena, &copy->ports), port, arena);
		return copy;
	}
	return NULL;
}

static int add_slices(struct plan *plan, struct group *group, size_t max, struct error *err)
{
	int r = 0;
	while (!r && (count_unplaced(group) || !group->slices)) {
		autounref struct discovery_v1_endpoint_slice *slice = new_slice(plan, group), *created = NULL, *old = recycled_slice(plan, slice);
		group->slices++;
		fill_up(group, old ? old : slice, max);
		r = old ? write_slice(plan, old, err) : world_create(plan->r->world, CACHED_ENDPOINT_SLICES, slice, (void **)&created, err);
		if (!r && created)
			expectations_created(state_of(plan->r)->expectations, api_key(plan->service), created);
	}
	return r;
}

static int carry_out(struct plan *plan, struct error *err)
{
	int r = 0;
	size_t max = (size_t)plan->r->world->settings->max_endpoints_per_slice;
	plan->kept = xcalloc(plan->slices.len, sizeof(bool));
	for (size_t i = 0; i < plan->group_count && !r; i++)
		r = update_slices(plan, &plan->groups[i], max, err);
	for (size_t i = 0; i < plan->group_count && !r; i++)
		r = add_slices(plan, &plan->groups[i], max, err);
	for (size_t i = 0; i < plan->slices.len && !r; i++)
		if (!plan->kept[i])
			r = world_delete(plan->r->world, CACHED_ENDPOINT_SLICES, plan->slices.items[i], NULL, err);
	return r;
}

static void plan_done(struct plan *plan)
{
	for (size_t i = 0; i < plan->group_count; i++) {
		free(plan->groups[i].endpoints);
		free(plan->groups[i].placed);
	}
	free(plan->groups);
	free(plan->kept);
	informer_list_done(&plan->slices);
	arena_free(plan->arena);
}

/* Slices of this service that are ours: others' (mirrored, hand made) are left alone. */
static void find_slices(struct plan *plan, const char *key)
{
	autolist struct informer_list all = INFORMER_LIST_INIT;
	world_list_index(plan->r->world, CACHED_ENDPOINT_SLICES, INDEX_SERVICE, key, &all);
	for (size_t i = 0; i < all.len; i++) {
		const struct discovery_v1_endpoint_slice *slice = all.items[i];
		if (str_equal(api_map_get(&slice->metadata.labels, MANAGED_BY), MANAGER) && !slice->metadata.deletion_timestamp.set)
			informer_list_add(&plan->slices, api_ref(slice));
	}
}

static int reconcile(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	autofree char *key = xprintf("%s/%s", ns, name);
	autounref struct core_v1_service *service = world_find(r->world, CACHED_SERVICES, ns, name);
	if (!service || service->metadata.deletion_timestamp.set) {
		expectations_forget(state_of(r)->expectations, key);
		triggers_forget(state_of(r)->triggers, key);
		return 0;
	}
	if (!service->spec.selector.len || str_equal(service->spec.type, "ExternalName"))
		return 0;
	/* Slices have generated names: one made twice would stay. The cache will show ours and wake us. */
	int may_write = expectations_check(state_of(r)->expectations, r->world, CACHED_ENDPOINT_SLICES, key, err);
	if (may_write <= 0)
		return may_write < 0 ? may_write : EXPECTATIONS_LOOK_MS;
	cleanup(plan_done) struct plan plan = {.r = r, .service = service, .arena = arena_new()};
	find_slices(&plan, key);
	plan_groups(&plan);
	int result = carry_out(&plan, err);
	/* Somebody else's change came first: that is looked at next. */
	if (result && err && !error_is(err, "Conflict"))
		reconciler_event(r, service, EVENT_WARNING, "FailedToUpdateEndpointSlices", "Error updating Endpoint Slices for Service %s/%s: %s", ns,
			name, error_message(err));
	return result;
}

static void wake_by_slice(struct reconciler *r, const void *object)
{
	const struct discovery_v1_endpoint_slice *slice = object;
	const char *service = api_map_get(&slice->metadata.labels, DISCOVERY_LABEL_SERVICE_NAME);
	if (service && str_equal(api_map_get(&slice->metadata.labels, MANAGED_BY), MANAGER))
		reconciler_add(r, slice->metadata.namespace, service);
}

/* Shares of zones move: services that go by them are looked at again. */
static void wake_by_node(struct reconciler *r, const void *object)
{
	autolist struct informer_list services = INFORMER_LIST_INIT;
	world_list_all(r->world, CACHED_SERVICES, &services);
	for (size_t i = 0; i < services.len; i++)
		if (topology_is_wanted(services.items[i]))
			reconciler_add(r, api_metadata(services.items[i])->namespace, api_metadata(services.items[i])->name);
}

static void *state_new(void)
{
	struct state *state = xnew(struct state);
	*state = (struct state){expectations_new(), triggers_new()};
	return state;
}

static void state_free(void *arg)
{
	struct state *state = arg;
	expectations_free(state->expectations);
	triggers_free(state->triggers);
	free(state);
}

const struct controller endpoint_slice_controller = {
	.name = "endpointslice-controller",
	.queue = "endpoint_slice",
	.account = "endpointslice-controller",
	.alias = "endpointslice",
	.component = "endpoint-slice-controller",
	.concurrency_flag = "concurrent-service-endpoint-syncs",
	.workers = 5,
	.watches = (const struct controller_watch[]){{.what = CACHED_SERVICES},
		{.what = CACHED_PODS, .wake = wake_services_of_pod},
		{.what = CACHED_ENDPOINT_SLICES, .wake = wake_by_slice},
		{.what = CACHED_NODES, .wake = wake_by_node, .matters = topology_node_matters},
		{.what = CACHED_NONE}},
	.reconcile = reconcile,
	.state_new = state_new,
	.state_free = state_free,
};
