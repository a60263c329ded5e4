/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/services/internal.h"

#include <errno.h>

int services_start(struct apiserver *server, struct error *err) {
	const struct apiserver_options *o = server->options;
	struct allocator *a = xnew(struct allocator);
	pthread_mutex_init(&a->lock, NULL);
	a->planned = MAP_INIT(NULL);
	a->server = server;
	server->services = a;
	for (size_t i = 0; i < o->service_cluster_ip_range.len; i++) {
		const char *text = o->service_cluster_ip_range.items[i];
		struct ip_range *range = &a->primary[a->primary_count];
		if (a->primary_count == array_len(a->primary))
			return error_set(err, EINVAL, "--service-cluster-ip-range: at most two ranges");
		if (ip_range_parse(text, range) < 0 || range->hosts == 0 || (range->family == AF_INET6 && range->bits < 64))
			return error_set(err, EINVAL, "--service-cluster-ip-range: %s is no range that Services can get addresses from", text);
		if (a->primary_count == 1 && range->family == a->primary[0].family)
			return error_set(err, EINVAL, "--service-cluster-ip-range: two ranges must be of both families");
		a->primary_text[a->primary_count] = xmalloc(INET6_ADDRSTRLEN + 4);
		ip_range_text(range, a->primary_text[a->primary_count++]);
	}
	if (!a->primary_count)
		return error_set(err, EINVAL, "--service-cluster-ip-range must be given");
	if (sscanf(o->service_node_port_range, "%d-%d", &a->port_first, &a->port_last) != 2 || a->port_first < 1 || a->port_last > 65535 || a->port_first > a->port_last)
		return error_set(err, EINVAL, "--service-node-port-range: %s is not a range of ports", o->service_node_port_range);
	a->services = registry_find(server->registry, "", "v1", "services");
	a->addresses = registry_find(server->registry, "networking.k8s.io", "v1", "ipaddresses");
	a->cidrs = registry_find(server->registry, "networking.k8s.io", "v1", "servicecidrs");
	const struct resource *endpoints = registry_find(server->registry, "", "v1", "endpoints");
	if (!a->services || !a->addresses || !a->cidrs || !endpoints)
		return error_set(err, EINVAL, "--runtime-config: services, endpoints, ipaddresses and servicecidrs cannot be switched off");
	a->claims[CLAIM_ADDRESS] = a->addresses->collection;
	a->claims[CLAIM_PORT] = store_collection(server->store, "ranges/servicenodeports", false, NULL, NULL);
	a->endpoints = endpoints->collection;
	service_metrics_start(a);
	return 0;
}

void services_stop(struct apiserver *server) {
	struct allocator *a = server->services;
	if (!a)
		return;
	repair_stop(a->repair);
	service_metrics_stop(a);
	map_done(&a->planned);
	for (size_t i = 0; i < a->primary_count; i++)
		free(a->primary_text[i]);
	pthread_mutex_destroy(&a->lock);
	free(a);
	server->services = NULL;
}

void services_ready(struct apiserver *server) {
	if (!server->services->repair)
		server->services->repair = repair_start(server->services);
}

void services_first_ip(struct apiserver *server, char *out) {
	ip_range_address(&server->services->primary[0], 0, out);
}

void services_ranges_json(struct apiserver *server, struct buf *out) {
	const struct allocator *a = server->services;
	for (size_t i = 0; i < a->primary_count; i++)
		buf_printf(out, "%s\"%s\"", i ? "," : "", a->primary_text[i]);
}
