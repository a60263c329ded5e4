/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gives Services of type LoadBalancer an address where there is no cloud that would: those of the nodes that are ready, which the service proxy answers on. Off unless asked for
 * by --controllers=*,service-lb-controller; a Service with a loadBalancerClass is another's. Where addresses come from something else (a cloud, BGP), that
 * something writes the same status: find_addresses() is all that differs.
 */
#include "controller-manager/controller.h"

#include "api/core_v1.h"

#define LABEL_EXCLUDE "node.kubernetes.io/exclude-from-external-load-balancers"
#define MAX_ADDRESSES 16

static bool is_ours(const struct core_v1_service *service)
{
	return str_equal(service->spec.type, "LoadBalancer") && !service->spec.load_balancer_class && !service->metadata.deletion_timestamp.set;
}

/* What the outside reaches the node by: its external address, else its internal one. NULL: it is not ready, or wants no such traffic. */
static const char *node_address(const struct core_v1_node *node, bool v6)
{
	const char *internal = NULL;
	bool ready = false;
	for (uint32_t i = 0; i < node->status.conditions.len; i++)
		ready |= str_equal(node->status.conditions.items[i].type, "Ready") && str_equal(node->status.conditions.items[i].status, "True");
	if (!ready || node->metadata.deletion_timestamp.set || api_map_get(&node->metadata.labels, LABEL_EXCLUDE))
		return NULL;
	for (uint32_t i = 0; i < node->status.addresses.len; i++) {
		const struct core_v1_node_address *a = &node->status.addresses.items[i];
		if ((strchr(str_or(a->address, ""), ':') != NULL) != v6)
			continue;
		if (str_equal(a->type, "ExternalIP"))
			return a->address;
		if (str_equal(a->type, "InternalIP") && !internal)
			internal = a->address;
	}
	return internal;
}

static int compare_texts(const void *left, const void *right)
{
	return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* Sorted, so that the status does not change with the order of the cache. Borrowed from the nodes. */
static size_t find_addresses(const struct core_v1_service *service, const struct informer_list *nodes, const char *out[MAX_ADDRESSES])
{
	size_t count = 0;
	for (uint32_t f = 0; f < max_of(service->spec.ip_families.len, 1u); f++) {
		bool v6 = service->spec.ip_families.len && str_equal(service->spec.ip_families.items[f], "IPv6");
		size_t first = count;
		for (size_t i = 0; i < nodes->len && count < MAX_ADDRESSES; i++) {
			const char *address = node_address(nodes->items[i], v6);
			if (address)
				out[count++] = address;
		}
		qsort(out + first, count - first, sizeof(*out), compare_texts);
	}
	return count;
}

static int reconcile(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	autounref struct core_v1_service *cached = world_find(r->world, CACHED_SERVICES, ns, name);
	autolist struct informer_list nodes = INFORMER_LIST_INIT;
	const char *addresses[MAX_ADDRESSES];
	/* What is no load balancer any more loses the addresses it had; another's class is left alone. */
	if (!cached || cached->metadata.deletion_timestamp.set || (!is_ours(cached) && (str_equal(cached->spec.type, "LoadBalancer") || !cached->status.load_balancer.ingress.len)))
		return 0;
	autounref struct core_v1_service *service = api_copy(cached);
	struct arena *arena = api_arena(service);
	service->status.load_balancer.ingress = (__typeof__(service->status.load_balancer.ingress)){0};
	if (is_ours(cached)) {
		world_list_all(r->world, CACHED_NODES, &nodes);
		size_t count = find_addresses(cached, &nodes, addresses);
		for (size_t i = 0; i < count; i++) {
			struct core_v1_load_balancer_ingress *ingress = api_list_add(arena, &service->status.load_balancer.ingress);
			ingress->ip = arena_strdup(arena, addresses[i]);
			ingress->ip_mode = "VIP";
		}
	}
	if (api_equal(&core_v1_load_balancer_status_type, &service->status.load_balancer, &cached->status.load_balancer))
		return 0;
	int result = world_update_status(r->world, CACHED_SERVICES, service, NULL, err);
	if (!result && service->status.load_balancer.ingress.len)
		reconciler_event(r, cached, EVENT_NORMAL, "EnsuredLoadBalancer", "Ensured load balancer");
	return result;
}

static void wake_all(struct reconciler *r, const void *object)
{
	autolist struct informer_list services = INFORMER_LIST_INIT;
	world_list_all(r->world, CACHED_SERVICES, &services);
	for (size_t i = 0; i < services.len; i++)
		if (is_ours(services.items[i]))
			reconciler_add(r, api_metadata(services.items[i])->namespace, api_metadata(services.items[i])->name);
}

static bool node_matters(const void *old_object, const void *object)
{
	return !str_equal(node_address(old_object, false), node_address(object, false)) || !str_equal(node_address(old_object, true), node_address(object, true));
}

const struct controller service_lb_controller = {
	.name = "service-lb-controller",
	.account = "service-controller",
	.alias = "service",
	.component = "service-controller",
	.concurrency_flag = "concurrent-service-syncs",
	.workers = 1,
	.off_by_default = true,
	.watches = (const struct controller_watch[]){{.what = CACHED_SERVICES}, {.what = CACHED_NODES, .wake = wake_all, .matters = node_matters}, {.what = CACHED_NONE}},
	.reconcile = reconcile,
};
