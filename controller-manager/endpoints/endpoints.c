/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoints of services with a selector: the older form of EndpointSlices, at most 1000 addresses, for clients that still read it. */
#include "controller-manager/endpoints/endpoints.h"
#include "controller-manager/shared/owners.h"
#include "controller-manager/shared/pods.h"

#define MANAGED_BY "endpoints.kubernetes.io/managed-by"
#define MANAGER "endpoint-controller"
#define LABEL_HEADLESS "service.kubernetes.io/headless"
#define ANNOTATION_OVER_CAPACITY "endpoints.kubernetes.io/over-capacity"
#define MAX_ADDRESSES 1000

static void resolve_ports(const struct core_v1_service *service, const struct core_v1_pod *pod, struct arena *arena,
	struct core_v1_endpoint_port_array *ret)
{
	for (uint32_t i = 0; i < service->spec.ports.len; i++) {
		const struct core_v1_service_port *port = &service->spec.ports.items[i];
		int32_t number = pod_port(pod, port);
		if (!number)
			continue;
		struct core_v1_endpoint_port *p = api_list_add(arena, ret);
		p->name = arena_strdup(arena, port->name);
		p->port = number;
		p->protocol = arena_strdup(arena, str_or(port->protocol, "TCP"));
		p->app_protocol = arena_strdup(arena, port->app_protocol);
	}
}

static bool same_ports(const struct core_v1_endpoint_port_array *a, const struct core_v1_endpoint_port_array *b)
{
	if (a->len != b->len)
		return false;
	for (uint32_t i = 0; i < a->len; i++)
		if (!api_equal(&core_v1_endpoint_port_type, &a->items[i], &b->items[i]))
			return false;
	return true;
}

static struct core_v1_endpoint_subset *subset_for(struct core_v1_endpoints *endpoints, const struct core_v1_endpoint_port_array *ports)
{
	for (uint32_t i = 0; i < endpoints->subsets.len; i++)
		if (same_ports(&endpoints->subsets.items[i].ports, ports))
			return &endpoints->subsets.items[i];
	struct core_v1_endpoint_subset *subset = api_list_add(api_arena(endpoints), &endpoints->subsets);
	subset->ports = *ports;
	return subset;
}

static void add_pod(struct core_v1_endpoints *endpoints, const struct core_v1_service *service, const struct core_v1_pod *pod, const char *address)
{
	struct arena *arena = api_arena(endpoints);
	struct core_v1_endpoint_port_array ports = {0};
	resolve_ports(service, pod, arena, &ports);
	if (service->spec.ports.len && !ports.len)
		return;
	struct core_v1_endpoint_subset *subset = subset_for(endpoints, &ports);
	bool ready = service->spec.publish_not_ready_addresses || pod_is_ready(pod);
	struct core_v1_endpoint_address *a = api_list_add(arena, ready ? &subset->addresses : &subset->not_ready_addresses);
	a->ip = arena_strdup(arena, address);
	a->hostname = arena_strdup(arena, pod_hostname(pod, service));
	a->node_name = str_empty(pod->spec.node_name) ? NULL : arena_strdup(arena, pod->spec.node_name);
	a->target_ref = arena_new_type(arena, struct core_v1_object_reference);
	a->target_ref->kind = "Pod";
	a->target_ref->namespace = arena_strdup(arena, pod->metadata.namespace);
	a->target_ref->name = arena_strdup(arena, pod->metadata.name);
	a->target_ref->uid = arena_strdup(arena, pod->metadata.uid);
}

static int compare_addresses(const void *a, const void *b)
{
	const struct core_v1_endpoint_address *x = a, *y = b;
	int order = strcmp(x->ip, y->ip);
	return order ? order : strcmp(x->target_ref->uid, y->target_ref->uid);
}

/* Ready ones are kept before others. Returns whether anything was cut off. */
static bool truncate(struct core_v1_endpoints *endpoints)
{
	uint32_t left = MAX_ADDRESSES;
	bool cut = false;
	for (int pass = 0; pass < 2; pass++) {
		for (uint32_t i = 0; i < endpoints->subsets.len; i++) {
			struct core_v1_endpoint_subset *subset = &endpoints->subsets.items[i];
			struct core_v1_endpoint_address_array *list = pass ? &subset->not_ready_addresses : &subset->addresses;
			cut |= list->len > left;
			list->len = min_of(list->len, left);
			left -= list->len;
		}
	}
	return cut;
}

static const char *family_of(const struct core_v1_service *service)
{
	if (service->spec.ip_families.len)
		return service->spec.ip_families.items[0];
	return !service_is_headless(service) && strchr(str_or(service->spec.cluster_ip, ""), ':') ? "IPv6" : "IPv4";
}

static void fill(struct core_v1_endpoints *endpoints, const struct core_v1_service *service, const struct informer_list *pods)
{
	struct arena *arena = api_arena(endpoints);
	endpoints->subsets = (struct core_v1_endpoint_subset_array){0};
	for (size_t i = 0; i < pods->len; i++) {
		const char *address = pod_address(pods->items[i], family_of(service));
		if (address && pod_serves(pods->items[i], service->spec.publish_not_ready_addresses))
			add_pod(endpoints, service, pods->items[i], address);
	}
	for (uint32_t i = 0; i < endpoints->subsets.len; i++) {
		struct core_v1_endpoint_subset *subset = &endpoints->subsets.items[i];
		if (subset->addresses.len)
			qsort(subset->addresses.items, subset->addresses.len, sizeof(*subset->addresses.items), compare_addresses);
		if (subset->not_ready_addresses.len)
			qsort(subset->not_ready_addresses.items, subset->not_ready_addresses.len, sizeof(*subset->addresses.items), compare_addresses);
	}
	if (truncate(endpoints))
		api_map_set(arena, &endpoints->metadata.annotations, ANNOTATION_OVER_CAPACITY, "truncated");
	else
		api_map_remove(&endpoints->metadata.annotations, ANNOTATION_OVER_CAPACITY);
	endpoints->metadata.labels = (struct api_string_map){0};
	for (uint32_t i = 0; i < service->metadata.labels.len; i++)
		if (!str_equal(service->metadata.labels.items[i].key, LABEL_HEADLESS))
			api_map_set(arena, &endpoints->metadata.labels, service->metadata.labels.items[i].key, service->metadata.labels.items[i].value);
	if (service_is_headless(service))
		api_map_set(arena, &endpoints->metadata.labels, LABEL_HEADLESS, "");
	api_map_set(arena, &endpoints->metadata.labels, MANAGED_BY, MANAGER);
}

static int reconcile(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	autounref struct core_v1_service *service = world_find(r->world, CACHED_SERVICES, ns, name);
	autounref struct core_v1_endpoints *cached = world_find(r->world, CACHED_ENDPOINTS, ns, name);
	if (!service) {
		autofree char *key = xprintf("%s/%s", ns, name);
		triggers_forget(r->state, key);
		/* Made for a service that is gone: it had no owner reference, so nobody else removes it. */
		bool ours = cached && str_equal(api_map_get(&cached->metadata.labels, MANAGED_BY), MANAGER);
		return ours ? world_delete(r->world, CACHED_ENDPOINTS, cached, NULL, err) : 0;
	}
	if (service->metadata.deletion_timestamp.set || !service->spec.selector.len || str_equal(service->spec.type, "ExternalName"))
		return 0;
	autounref struct core_v1_endpoints *wanted = cached ? api_copy(cached) : api_new_of(core_v1_endpoints);
	wanted->metadata.name = arena_strdup(api_arena(wanted), name);
	wanted->metadata.namespace = arena_strdup(api_arena(wanted), ns);
	autolist struct informer_list pods = INFORMER_LIST_INIT;
	char trigger[TRIGGER_TEXT];
	service_pods(r->world, service, &pods);
	bool triggered = triggers_look(r->state, api_key(service), service, &pods, trigger);
	fill(wanted, service, &pods);
	if (cached && api_equal(api_type_of(cached), cached, wanted))
		return 0;
	trigger_annotate(api_arena(wanted), &wanted->metadata, triggered ? trigger : NULL);
	autoerror struct error failed = {0};
	int result = cached ? world_update(r->world, CACHED_ENDPOINTS, wanted, NULL, &failed) : world_create(r->world, CACHED_ENDPOINTS, wanted, NULL, &failed);
	if (result && !error_is(&failed, "Conflict") && !error_is(&failed, "AlreadyExists") && !error_is(&failed, "Forbidden"))
		reconciler_event(r, service, EVENT_WARNING, cached ? "FailedToUpdateEndpoint" : "FailedToCreateEndpoint",
			"Failed to %s endpoint %s/%s: %s", cached ? "update" : "create", ns, name, error_message(&failed));
	return error_move(err, &failed);
}

static void *state_new(void)
{
	return triggers_new();
}

static void state_free(void *state)
{
	triggers_free(state);
}

const struct controller endpoints_controller = {
	.name = "endpoints-controller",
	.queue = "endpoint",
	.account = "endpoint-controller",
	.alias = "endpoint",
	.component = "endpoint-controller",
	.concurrency_flag = "concurrent-endpoint-syncs",
	.workers = 5,
	.watches = (const struct controller_watch[]){{.what = CACHED_SERVICES},
		{.what = CACHED_PODS, .wake = wake_services_of_pod},
		{.what = CACHED_ENDPOINTS},
		{.what = CACHED_NONE}},
	.reconcile = reconcile,
	.state_new = state_new,
	.state_free = state_free,
};
