/* SPDX-License-Identifier: Apache-2.0 */
#include "controller-manager/endpoints/endpoints.h"

#include "controller-manager/shared/owners.h"
#include "controller-manager/shared/pods.h"

void service_pods(struct world *world, const struct core_v1_service *service, struct informer_list *ret)
{
	struct informer_list all = INFORMER_LIST_INIT, found = INFORMER_LIST_INIT;
	world_list_namespace(world, CACHED_PODS, service->metadata.namespace, &all);
	for (size_t i = 0; i < all.len; i++) {
		const struct core_v1_pod *pod = all.items[i];
		if (api_map_contains(&pod->metadata.labels, &service->spec.selector))
			informer_list_add(&found, api_ref(pod));
	}
	informer_list_done(&all);
	*ret = found;
}

bool pod_serves(const struct core_v1_pod *pod, bool with_terminating)
{
	if (pod_is_terminal(pod) || (str_empty(pod->status.pod_ip) && !pod->status.pod_ips.len))
		return false;
	return with_terminating || !pod->metadata.deletion_timestamp.set;
}

static bool is_family(const char *ip, const char *family)
{
	return !str_empty(ip) && (strchr(ip, ':') != NULL) == str_equal(family, "IPv6");
}

const char *pod_address(const struct core_v1_pod *pod, const char *family)
{
	for (uint32_t i = 0; i < pod->status.pod_ips.len; i++)
		if (is_family(pod->status.pod_ips.items[i].ip, family))
			return pod->status.pod_ips.items[i].ip;
	return is_family(pod->status.pod_ip, family) ? pod->status.pod_ip : NULL;
}

static int32_t named_port(const struct core_v1_container_array *containers, bool only_sidecars, const char *name, const char *protocol)
{
	for (uint32_t i = 0; i < containers->len; i++) {
		const struct core_v1_container *c = &containers->items[i];
		if (only_sidecars && !str_equal(c->restart_policy, "Always"))
			continue;
		for (uint32_t j = 0; j < c->ports.len; j++)
			if (str_equal(c->ports.items[j].name, name) && str_equal(str_or(c->ports.items[j].protocol, "TCP"), protocol))
				return c->ports.items[j].container_port;
	}
	return 0;
}

int32_t pod_port(const struct core_v1_pod *pod, const struct core_v1_service_port *port)
{
	if (!port->target_port.str)
		return port->target_port.num ? port->target_port.num : port->port;
	const char *protocol = str_or(port->protocol, "TCP");
	int32_t number = named_port(&pod->spec.containers, false, port->target_port.str, protocol);
	return number ? number : named_port(&pod->spec.init_containers, true, port->target_port.str, protocol);
}

const char *pod_hostname(const struct core_v1_pod *pod, const struct core_v1_service *service)
{
	if (str_empty(pod->spec.hostname) || !str_equal(pod->spec.subdomain, service->metadata.name))
		return NULL;
	return pod->spec.hostname;
}

bool service_is_headless(const struct core_v1_service *service)
{
	return str_equal(service->spec.cluster_ip, "None");
}

void wake_services_of_pod(struct reconciler *r, const void *object)
{
	const struct core_v1_pod *pod = object;
	autolist struct informer_list services = INFORMER_LIST_INIT;
	world_list_namespace(r->world, CACHED_SERVICES, pod->metadata.namespace, &services);
	for (size_t i = 0; i < services.len; i++) {
		const struct core_v1_service *service = services.items[i];
		if (service->spec.selector.len && api_map_contains(&pod->metadata.labels, &service->spec.selector))
			reconciler_add(r, service->metadata.namespace, service->metadata.name);
	}
}
