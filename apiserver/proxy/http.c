/* SPDX-License-Identifier: Apache-2.0 */
/* pods|services|nodes/x/proxy/...: the request goes on to a pod, one of a service's endpoints, or a kubelet. */
#include "apiserver/proxy/kubelet.h"
#include "apiserver/rest/body.h"
#include "apiserver/rest/subresource.h"
#include "apiserver/timers.h"
#include "api/core_v1.h"
#include "api/discovery_v1.h"
#include "common/base/random.h"

#include <arpa/inet.h>
#include <errno.h>

/* "scheme:name:port", scheme and port may be left out. */
struct destination {
	const char *scheme, *name, *port;
};

static bool split_name(struct arena *arena, const char *text, struct destination *ret) {
	*ret = (struct destination){.scheme = "", .name = text, .port = ""};
	const char *first = strchr(text, ':');
	if (!first)
		return *text;
	const char *second = strchr(first + 1, ':');
	if (second) {
		ret->scheme = arena_strndup(arena, text, (size_t)(first - text));
		ret->name = arena_strndup(arena, first + 1, (size_t)(second - first - 1));
		ret->port = second + 1;
	} else {
		ret->name = arena_strndup(arena, text, (size_t)(first - text));
		ret->port = first + 1;
	}
	return *ret->name && !strchr(ret->port, ':') && (!*ret->scheme || !strcmp(ret->scheme, "http") || !strcmp(ret->scheme, "https"));
}

static int set_port(const char *text, int64_t fallback, struct upstream_options *ret, struct error *err) {
	int64_t port = fallback;
	if (!str_empty(text) && !str_to_int64(text, 1, 65535, &port))
		return error_bad_request(err, "invalid port %s", text);
	ret->port = (uint16_t)port;
	return 0;
}

/* Not to this machine, nor to what only it can see: who names an address must not reach through the API server what he could not reach himself. */
static bool may_lead_to(const char *address) {
	struct in_addr v4;
	struct in6_addr v6;
	if (inet_pton(AF_INET, address, &v4) == 1) {
		uint32_t ip = ntohl(v4.s_addr);
		return ip != INADDR_ANY && ip != INADDR_BROADCAST && ip >> 24 != 127 && !IN_MULTICAST(ip) && ip >> 16 != 0xa9fe;
	}
	if (inet_pton(AF_INET6, address, &v6) != 1)
		return false;
	if (IN6_IS_ADDR_V4MAPPED(&v6)) {
		char text[INET_ADDRSTRLEN];
		return may_lead_to(inet_ntop(AF_INET, &v6.s6_addr[12], text, sizeof(text)));
	}
	return !IN6_IS_ADDR_UNSPECIFIED(&v6) && !IN6_IS_ADDR_LOOPBACK(&v6) && !IN6_IS_ADDR_MULTICAST(&v6) && !IN6_IS_ADDR_LINKLOCAL(&v6);
}

static int locate_pod(struct request *r, const struct destination *d, struct upstream_options *ret, struct error *err) {
	struct core_v1_pod *pod = resource_read(r->resource, r->ns, d->name);
	if (!pod)
		return error_not_found(err, r->resource, d->name);
	int64_t port = strcmp(d->scheme, "https") == 0 ? 443 : 80;
	for (uint32_t c = 0; c < pod->spec.containers.len; c++)
		if (pod->spec.containers.items[c].ports.len) {
			port = pod->spec.containers.items[c].ports.items[0].container_port;
			break;
		}
	ret->address = arena_strdup(r->arena, pod->status.pod_ip);
	api_unref(pod);
	if (!may_lead_to(ret->address))
		return error_bad_request(err, "address not allowed");
	return set_port(d->port, port, ret, err);
}

struct candidate {
	const char *address, *pod;
	uint16_t port;
};

/* Whether the pod of the namespace has that address: whoever may write slices is not to send the API server anywhere else. */
static bool is_of_pod(struct apiserver *server, const char *ns, const struct candidate *c) {
	struct core_v1_pod *pod = c->pod ? registry_read(server->registry, "", "pods", ns, c->pod) : NULL;
	bool found = false;
	for (uint32_t i = 0; pod && i < pod->status.pod_ips.len; i++)
		found |= str_equal(pod->status.pod_ips.items[i].ip, c->address);
	api_unref(pod);
	return found;
}

/* A ready endpoint of the service's port, from its slices; `pods`: only what is a pod of the namespace. */
static bool pick_endpoint(struct apiserver *server, struct arena *arena, const char *ns, const char *service, const char *port_name, bool pods, const char **ret_address, uint16_t *ret_port) {
	struct candidate *candidates = NULL;
	size_t count = 0, room = 0;
	const struct resource *slices = registry_find(server->registry, "discovery.k8s.io", "v1", "endpointslices");
	autosnapshot struct snapshot *snapshot = collection_snapshot(slices->collection);
	autofree char *prefix = xprintf("%s/", ns);
	size_t first, end;
	snapshot_range(snapshot, prefix, &first, &end);
	for (size_t i = first; i < end; i++) {
		struct entry *entry = snapshot_entry(snapshot, i);
		void *object;
		if (!str_equal(api_map_get(&entry->labels, "kubernetes.io/service-name"), service) || resource_decode(slices, entry, &object, NULL) < 0)
			continue;
		const struct discovery_v1_endpoint_slice *slice = object;
		for (uint32_t p = 0; p < slice->ports.len; p++) {
			if (!str_equal(str_or(slice->ports.items[p].name, ""), port_name) || !slice->ports.items[p].port)
				continue;
			for (uint32_t e = 0; e < slice->endpoints.len; e++) {
				const struct discovery_v1_endpoint *endpoint = &slice->endpoints.items[e];
				bool ready = !endpoint->conditions.ready || *endpoint->conditions.ready;
				if (!ready || !endpoint->addresses.len)
					continue;
				const struct core_v1_object_reference *target = endpoint->target_ref;
				if (count == room)
					candidates = xreallocarray(candidates, room = max_of(2 * room, (size_t)16), sizeof(*candidates));
				candidates[count++] = (struct candidate){
					.address = arena_strdup(arena, endpoint->addresses.items[0]),
					.pod = target && str_equal(target->namespace, ns) && !str_empty(target->name) ? arena_strdup(arena, target->name) : NULL,
					.port = (uint16_t)*slice->ports.items[p].port,
				};
			}
		}
		api_unref(object);
	}
	bool found = false;
	for (size_t i = 0, start = count ? random_below(count) : 0; i < count && !found; i++) {
		const struct candidate *c = &candidates[(start + i) % count];
		found = !pods || is_of_pod(server, ns, c);
		*ret_address = c->address;
		*ret_port = c->port;
	}
	free(candidates);
	return found;
}

int service_locate(struct apiserver *server, struct arena *arena, const char *ns, const char *name, int32_t port, const char **ret_address, uint16_t *ret_port, struct error *err) {
	struct core_v1_service *service = registry_read(server->registry, "", "services", ns, name);
	if (!service)
		return error_set(err, ENOENT, "service \"%s\" not found", name);
	if (str_equal(service->spec.type, "ExternalName")) {
		*ret_address = arena_strdup(arena, str_or(service->spec.external_name, ""));
		*ret_port = (uint16_t)port;
		api_unref(service);
		return 0;
	}
	const char *port_name = NULL;
	for (uint32_t i = 0; i < service->spec.ports.len && !port_name; i++)
		if (service->spec.ports.items[i].port == port)
			port_name = arena_strdup(arena, str_or(service->spec.ports.items[i].name, ""));
	api_unref(service);
	if (!port_name)
		return error_set(err, ENOENT, "no service port %d found for service \"%s\"", port, name);
	if (!pick_endpoint(server, arena, ns, name, port_name, false, ret_address, ret_port))
		return error_set(err, ENOENT, "no endpoints available for service \"%s\"", name);
	return 0;
}

static int locate_service(struct request *r, const struct destination *d, struct upstream_options *ret, struct error *err) {
	struct core_v1_service *service = resource_read(r->resource, r->ns, d->name);
	if (!service)
		return error_not_found(err, r->resource, d->name);
	const char *port_name = NULL;
	for (uint32_t i = 0; i < service->spec.ports.len && !port_name; i++) {
		const struct core_v1_service_port *port = &service->spec.ports.items[i];
		char number[16];
		snprintf(number, sizeof(number), "%d", port->port);
		if ((str_empty(d->port) && service->spec.ports.len == 1) || str_equal(port->name, d->port) || strcmp(number, d->port) == 0)
			port_name = arena_strdup(r->arena, str_or(port->name, ""));
	}
	api_unref(service);
	if (!port_name)
		return error_status(err, 503, "ServiceUnavailable", "no service port \"%s\" found for service \"%s\"", d->port, d->name);
	if (!pick_endpoint(r->server, r->arena, r->ns, d->name, port_name, true, &ret->address, &ret->port))
		return error_status(err, 503, "ServiceUnavailable", "no endpoints available for service \"%s\"", r->name);
	return 0;
}

static int pass_on(struct request *r, void *take_options, struct error *err) {
	struct destination d;
	api_unref(take_options);
	if (!split_name(r->arena, r->name, &d))
		return error_bad_request(err, "invalid %s request \"%s\"", r->resource->api->singular, r->name);
	struct upstream_options options = {.method = r->method, .reached = "error trying to reach service: ", .unreachable_code = 503};
	int rc;
	if (strcmp(r->plural, "nodes") == 0) {
		rc = kubelet_locate(r, d.name, &options, err);
		if (rc == 0 && !may_lead_to(options.address))
			rc = error_bad_request(err, "address not allowed");
		if (rc == 0 && !str_empty(d.port))
			rc = set_port(d.port, options.port, &options, err);
	} else {
		rc = strcmp(r->plural, "pods") == 0 ? locate_pod(r, &d, &options, err) : locate_service(r, &d, &options, err);
		if (strcmp(d.scheme, "https") == 0)
			options.credentials = kubelet_plain_credentials(r->server->kubelet);
	}
	if (rc < 0)
		return rc;
	const char *at = strstr(r->path, "/proxy");
	/* Without a slash after "proxy" relative links of the page would go wrong. */
	if (at && !at[6] && strcmp(r->method, "GET") == 0 && !http_header(r->http, "Upgrade")) {
		autofree char *location = xprintf("%s/", r->path);
		http_add_header(r->http, "Location", location);
		request_respond_text(r, 301, "");
		return REQUEST_TAKEN;
	}
	const char *query = http_query_string(r->http);
	options.target = arena_printf(r->arena, "/%s%s%s", r->rest, *query ? "?" : "", query);
	options.location_prefix = at ? arena_strndup(r->arena, r->path, (size_t)(at - r->path) + 6) : NULL;
	upstream_start(timers_loop(r->server->timers), r, &options);
	return REQUEST_TAKEN;
}

int subresource_proxy(struct request *r, struct error *err) {
	void *options;
	const char *path = str_empty(r->rest) ? NULL : r->rest;
	/* Three kinds that are made alike. */
	if (strcmp(r->plural, "pods") == 0) {
		options = api_new(&core_v1_pod_proxy_options_type);
		((struct core_v1_pod_proxy_options *)options)->path = arena_printf(api_arena(options), "/%s", str_or(path, ""));
	} else if (strcmp(r->plural, "nodes") == 0) {
		options = api_new(&core_v1_node_proxy_options_type);
		((struct core_v1_node_proxy_options *)options)->path = arena_printf(api_arena(options), "/%s", str_or(path, ""));
	} else {
		options = api_new(&core_v1_service_proxy_options_type);
		((struct core_v1_service_proxy_options *)options)->path = arena_printf(api_arena(options), "/%s", str_or(path, ""));
	}
	return body_admit(r, &(struct body_admission){r->resource, r->name, r->subresource, WRITE_CONNECT, pass_on}, options);
}
