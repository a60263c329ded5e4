/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/servicealloc.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "common/base/map.h"
#include "common/base/random.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <pthread.h>

#define MAX_RANGES 2
#define RANDOM_TRIES 32

struct ip_range {
	int family;         /* AF_INET, AF_INET6 */
	uint8_t base[16];
	uint64_t size;      /* addresses from base; capped at 2^16 for IPv6 */
};

struct allocator {
	pthread_mutex_t lock;
	struct map held; /* "10.0.0.1" or ":30001" -> owner's key (owned string) */
	struct ip_range ranges[MAX_RANGES];
	size_t range_count;
	int port_first, port_last;
	const struct resource *services;
	struct store_watch *watch;
};

/* ---- ranges ---- */

static int parse_range(const char *text, struct ip_range *ret, struct error *err) {
	const char *slash = strchr(text, '/');
	char address[64];
	int64_t bits;
	if (!slash || snprintf(address, sizeof(address), "%.*s", (int)(slash - text), text) >= (int)sizeof(address))
		return error_set(err, EINVAL, "--service-cluster-ip-range: %s is not a CIDR", text);
	struct ip_range range = {.family = strchr(address, ':') ? AF_INET6 : AF_INET};
	int width = range.family == AF_INET ? 32 : 128;
	if (inet_pton(range.family, address, range.base) != 1 || !str_to_int64(slash + 1, 8, width - 1, &bits))
		return error_set(err, EINVAL, "--service-cluster-ip-range: %s is not a CIDR", text);
	for (int64_t i = bits; i < width; i++)
		range.base[i / 8] &= (uint8_t)~(0x80 >> (i % 8));
	int64_t host_bits = width - bits;
	range.size = host_bits > 24 ? (uint64_t)1 << (range.family == AF_INET6 ? 16 : 24) : (uint64_t)1 << host_bits;
	*ret = range;
	return 0;
}

static void range_address(const struct ip_range *range, uint64_t offset, char *out) {
	uint8_t address[16];
	memcpy(address, range->base, sizeof(address));
	int last = range->family == AF_INET ? 3 : 15;
	for (uint64_t carry = offset; carry && last >= 0; last--) {
		carry += address[last];
		address[last] = (uint8_t)carry;
		carry >>= 8;
	}
	inet_ntop(range->family, address, out, INET6_ADDRSTRLEN);
}

static bool range_contains(const struct ip_range *range, const char *ip) {
	uint8_t address[16] = {0};
	if (inet_pton(range->family, ip, address) != 1)
		return false;
	int len = range->family == AF_INET ? 4 : 16;
	uint64_t difference = 0;
	bool above = memcmp(address, range->base, (size_t)len) > 0;
	for (int i = 0; i < len; i++) {
		difference = difference << 8 | address[i];
		difference -= range->base[i];
	}
	return above && difference > 0 && difference < range->size;
}

/* ---- what is held; the lock is taken by the callers ---- */

static bool held_by_other(struct allocator *a, const char *value, const char *owner) {
	const char *holder = map_get(&a->held, value);
	return holder && strcmp(holder, owner) != 0;
}

static void hold(struct allocator *a, const char *value, const char *owner) {
	map_set(&a->held, value, xstrdup(owner));
}

static void drop(struct allocator *a, const char *value, const char *owner) {
	if (!held_by_other(a, value, owner))
		map_remove(&a->held, value);
}

static void each_value(const struct core_v1_service *service, void (*fn)(struct allocator *, const char *, const char *), struct allocator *a, const char *owner) {
	if (!service)
		return;
	for (uint32_t i = 0; i < service->spec.cluster_ips.len; i++)
		if (strcmp(service->spec.cluster_ips.items[i], "None") != 0)
			fn(a, service->spec.cluster_ips.items[i], owner);
	char port[16];
	for (uint32_t i = 0; i < service->spec.ports.len; i++) {
		if (!service->spec.ports.items[i].node_port)
			continue;
		snprintf(port, sizeof(port), ":%d", service->spec.ports.items[i].node_port);
		fn(a, port, owner);
	}
	if (service->spec.health_check_node_port) {
		snprintf(port, sizeof(port), ":%d", service->spec.health_check_node_port);
		fn(a, port, owner);
	}
}

static void follow(struct allocator *a, struct entry *previous, struct entry *now) {
	void *before = NULL, *after = NULL;
	if (previous && resource_decode(a->services, previous, &before, NULL) < 0)
		before = NULL;
	if (now && resource_decode(a->services, now, &after, NULL) < 0)
		after = NULL;
	const char *owner = now ? now->key : previous->key;
	pthread_mutex_lock(&a->lock);
	each_value(before, drop, a, owner);
	each_value(after, hold, a, owner);
	pthread_mutex_unlock(&a->lock);
	api_unref(before);
	api_unref(after);
}

static void on_event(const struct store_event *event, void *arg) {
	if (event->type == STORE_DELETED)
		follow(arg, event->entry, NULL);
	else if (event->type != STORE_BOOKMARK)
		follow(arg, event->previous, event->entry);
}

int servicealloc_start(struct apiserver *server, struct error *err) {
	const struct apiserver_options *o = server->options;
	struct allocator *a = xnew(struct allocator);
	pthread_mutex_init(&a->lock, NULL);
	a->held = MAP_INIT(free);
	server->cluster_ips = a;
	for (size_t i = 0; i < o->service_cluster_ip_range.len && i < MAX_RANGES; i++) {
		int rc = parse_range(o->service_cluster_ip_range.items[i], &a->ranges[a->range_count++], err);
		if (rc < 0)
			return rc;
	}
	if (sscanf(o->service_node_port_range, "%d-%d", &a->port_first, &a->port_last) != 2 || a->port_first < 1 || a->port_last > 65535 || a->port_first > a->port_last)
		return error_set(err, EINVAL, "--service-node-port-range: %s is not a range of ports", o->service_node_port_range);
	a->services = registry_find(server->registry, "", "v1", "services");
	for (;;) {
		autosnapshot struct snapshot *snapshot = collection_snapshot(a->services->collection);
		for (size_t i = 0; i < snapshot->len; i++)
			follow(a, NULL, snapshot_entry(snapshot, i));
		if (collection_watch(a->services->collection, snapshot->revision, on_event, a, &a->watch) == 0)
			return 0;
	}
}

void servicealloc_stop(struct apiserver *server) {
	struct allocator *a = server->cluster_ips;
	if (!a)
		return;
	if (a->watch)
		store_watch_cancel(a->watch);
	map_done(&a->held);
	pthread_mutex_destroy(&a->lock);
	free(a);
	server->cluster_ips = NULL;
}

void servicealloc_first_ip(struct apiserver *server, char *out) {
	range_address(&server->cluster_ips->ranges[0], 1, out);
}

/* ---- choosing ---- */

/* As Kubernetes does: chosen ones come from the upper part, so that the lower stays for those asked for by hand. */
static bool choose_ip(struct allocator *a, const struct ip_range *range, const char *owner, char *out) {
	uint64_t last = range->size - 1 - (range->family == AF_INET ? 1 : 0); /* no broadcast */
	uint64_t reserved = min_of(max_of(range->size / 16, (uint64_t)16), (uint64_t)256);
	if (reserved >= last)
		reserved = 0;
	for (int i = 0; i < RANDOM_TRIES; i++) {
		range_address(range, reserved + 1 + random_below(last - reserved), out);
		if (!map_has(&a->held, out))
			return true;
	}
	for (uint64_t i = 0; i < last; i++) {
		range_address(range, 1 + (reserved + i) % last, out);
		if (!map_has(&a->held, out))
			return true;
	}
	return false;
}

static bool choose_port(struct allocator *a, int *ret) {
	int count = a->port_last - a->port_first + 1;
	int start = (int)random_below((uint64_t)count);
	for (int i = 0; i < count; i++) {
		int port = a->port_first + (start + i) % count;
		char text[16];
		snprintf(text, sizeof(text), ":%d", port);
		if (!map_has(&a->held, text)) {
			*ret = port;
			return true;
		}
	}
	return false;
}

static int refuse(struct error *err, const struct core_v1_service *service, const char *field, const char *value, const char *text) {
	error_cause(err, "FieldValueInvalid", field, "Invalid value: %s: %s", value, text);
	return error_invalid(err, NULL, "Service", service->metadata.name);
}

static bool wants_cluster_ip(const struct core_v1_service_spec *spec) {
	return !str_equal(spec->type, "ExternalName") && !str_equal(spec->cluster_ip, "None");
}

static int allocate_ips(struct allocator *a, struct core_v1_service *service, const char *owner, struct error *err) {
	struct core_v1_service_spec *spec = &service->spec;
	struct arena *arena = api_arena(service);
	char text[INET6_ADDRSTRLEN];
	for (uint32_t i = 0; i < spec->ip_families.len; i++) {
		int family = strcmp(spec->ip_families.items[i], "IPv6") == 0 ? AF_INET6 : AF_INET;
		const struct ip_range *range = NULL;
		for (size_t n = 0; n < a->range_count && !range; n++)
			if (a->ranges[n].family == family)
				range = &a->ranges[n];
		if (!range)
			return refuse(err, service, "spec.ipFamilies", "[]", "not configured on this cluster");
		if (i < spec->cluster_ips.len) {
			const char *ip = spec->cluster_ips.items[i];
			autofree char *quoted = xprintf("[\"%s\"]", ip);
			if (held_by_other(a, ip, owner))
				return refuse(err, service, "spec.clusterIPs", quoted, "failed to allocate IP: provided IP is already allocated");
			if (!range_contains(range, ip)) {
				autofree char *why = xprintf("failed to allocate IP %s: the provided network does not match the current range", ip);
				return refuse(err, service, "spec.clusterIPs", quoted, why);
			}
			hold(a, ip, owner);
			continue;
		}
		if (!choose_ip(a, range, owner, text))
			return error_internal(err, "failed to allocate a serviceIP: range is full");
		hold(a, text, owner);
		api_string_list_add(arena, &spec->cluster_ips, arena_strdup(arena, text));
	}
	spec->cluster_ip = spec->cluster_ips.len ? spec->cluster_ips.items[0] : "";
	return 0;
}

static int take_port(struct allocator *a, struct core_v1_service *service, const char *owner, int32_t *port, const char *field, struct error *err) {
	char text[16];
	if (!*port) {
		int chosen;
		if (!choose_port(a, &chosen))
			return error_internal(err, "failed to allocate a nodePort: range is full");
		*port = chosen;
	} else {
		snprintf(text, sizeof(text), "%d", *port);
		if (*port < a->port_first || *port > a->port_last) {
			autofree char *why = xprintf("provided port is not in the valid range. The range of valid ports is %d-%d", a->port_first, a->port_last);
			return refuse(err, service, field, text, why);
		}
	}
	snprintf(text, sizeof(text), ":%d", *port);
	if (held_by_other(a, text, owner))
		return refuse(err, service, field, text + 1, "provided port is already allocated");
	hold(a, text, owner);
	return 0;
}

static bool wants_node_ports(const struct core_v1_service_spec *spec) {
	if (str_equal(spec->type, "NodePort"))
		return true;
	return str_equal(spec->type, "LoadBalancer") && (!spec->allocate_load_balancer_node_ports || *spec->allocate_load_balancer_node_ports);
}

static int allocate_ports(struct allocator *a, struct core_v1_service *service, const char *owner, struct error *err) {
	struct core_v1_service_spec *spec = &service->spec;
	bool any = str_equal(spec->type, "NodePort") || str_equal(spec->type, "LoadBalancer");
	bool wanted = wants_node_ports(spec);
	for (uint32_t i = 0; i < spec->ports.len; i++) {
		struct core_v1_service_port *port = &spec->ports.items[i];
		if (!(wanted || (any && port->node_port)))
			continue;
		/* TCP and UDP of one number share a node port. */
		for (uint32_t n = 0; n < i && !port->node_port; n++)
			if (spec->ports.items[n].port == port->port && !str_equal(spec->ports.items[n].protocol, port->protocol))
				port->node_port = spec->ports.items[n].node_port;
		autofree char *field = xprintf("spec.ports[%u].nodePort", i);
		int rc = take_port(a, service, owner, &port->node_port, field, err);
		if (rc < 0)
			return rc;
	}
	if (str_equal(spec->type, "LoadBalancer") && str_equal(spec->external_traffic_policy, "Local"))
		return take_port(a, service, owner, &spec->health_check_node_port, "spec.healthCheckNodePort", err);
	return 0;
}

/* ---- IP families ---- */

static void default_families(struct allocator *a, struct core_v1_service *service) {
	struct core_v1_service_spec *spec = &service->spec;
	struct arena *arena = api_arena(service);
	if (str_equal(spec->type, "ExternalName")) {
		spec->ip_families.len = 0;
		spec->ip_family_policy = NULL;
		return;
	}
	if (!str_empty(spec->cluster_ip) && !spec->cluster_ips.len)
		api_string_list_add(arena, &spec->cluster_ips, spec->cluster_ip);
	if (spec->cluster_ips.len && str_empty(spec->cluster_ip))
		spec->cluster_ip = spec->cluster_ips.items[0];
	for (uint32_t i = spec->ip_families.len; i < spec->cluster_ips.len; i++)
		if (strcmp(spec->cluster_ips.items[i], "None") != 0)
			api_string_list_add(arena, &spec->ip_families, strchr(spec->cluster_ips.items[i], ':') ? "IPv6" : "IPv4");
	bool headless_any = str_equal(spec->cluster_ip, "None") && !spec->selector.len;
	if (str_empty(spec->ip_family_policy))
		spec->ip_family_policy = spec->ip_families.len > 1 || (headless_any && !spec->ip_families.len) ? "RequireDualStack" : "SingleStack";
	if (!spec->ip_families.len)
		api_string_list_add(arena, &spec->ip_families, a->ranges[0].family == AF_INET6 ? "IPv6" : "IPv4");
	bool dual = !str_equal(spec->ip_family_policy, "SingleStack");
	if (dual && spec->ip_families.len == 1 && (a->range_count > 1 || headless_any))
		api_string_list_add(arena, &spec->ip_families, strcmp(spec->ip_families.items[0], "IPv4") == 0 ? "IPv6" : "IPv4");
}

/* What the client left out and the type still calls for stays as it was. */
void service_prepare_update(struct request *r, void *object, const void *old_object) {
	struct core_v1_service *service = object;
	const struct core_v1_service *old = old_object;
	struct arena *arena = api_arena(object);
	if (str_equal(service->spec.type, "ExternalName")) {
		if (!str_equal(old->spec.type, "ExternalName") && str_equal(service->spec.cluster_ip, old->spec.cluster_ip)) {
			service->spec.cluster_ip = "";
			service->spec.cluster_ips.len = 0;
		}
	} else if (str_empty(service->spec.cluster_ip) && !service->spec.cluster_ips.len && !str_empty(old->spec.cluster_ip)) {
		service->spec.cluster_ip = arena_strdup(arena, old->spec.cluster_ip);
		for (uint32_t i = 0; i < old->spec.cluster_ips.len; i++)
			api_string_list_add(arena, &service->spec.cluster_ips, old->spec.cluster_ips.items[i]);
	}
	bool ports = str_equal(service->spec.type, "NodePort") || str_equal(service->spec.type, "LoadBalancer");
	for (uint32_t i = 0; i < service->spec.ports.len; i++) {
		struct core_v1_service_port *port = &service->spec.ports.items[i];
		for (uint32_t n = 0; n < old->spec.ports.len; n++) {
			const struct core_v1_service_port *was = &old->spec.ports.items[n];
			if (was->port != port->port || !str_equal(was->protocol, port->protocol))
				continue;
			if (ports && !port->node_port)
				port->node_port = was->node_port;
			else if (!ports && port->node_port == was->node_port)
				port->node_port = 0;
		}
	}
	bool health = str_equal(service->spec.type, "LoadBalancer") && str_equal(service->spec.external_traffic_policy, "Local");
	if (health && !service->spec.health_check_node_port)
		service->spec.health_check_node_port = old->spec.health_check_node_port;
	else if (!health)
		service->spec.health_check_node_port = 0;
	if (!ports && !service->spec.external_ips.len)
		service->spec.external_traffic_policy = NULL;
}

int service_allocate(struct request *r, void *object, const void *old, struct error *err) {
	struct allocator *a = r->server->cluster_ips;
	struct core_v1_service *service = object;
	if (!a->range_count)
		return error_internal(err, "no --service-cluster-ip-range is set");
	autofree char *owner = xprintf("%s/%s", service->metadata.namespace, str_or(service->metadata.name, ""));
	default_families(a, service);
	pthread_mutex_lock(&a->lock);
	int rc = 0;
	if (wants_cluster_ip(&service->spec))
		rc = allocate_ips(a, service, owner, err);
	if (rc == 0)
		rc = allocate_ports(a, service, owner, err);
	if (rc < 0) {
		each_value(service, drop, a, owner);
		each_value(old, hold, a, owner);
	}
	pthread_mutex_unlock(&a->lock);
	return rc;
}

void service_release(struct request *r, const void *object, const void *kept) {
	struct allocator *a = r->server->cluster_ips;
	const struct core_v1_service *service = object;
	autofree char *owner = xprintf("%s/%s", service->metadata.namespace, str_or(service->metadata.name, ""));
	pthread_mutex_lock(&a->lock);
	each_value(service, drop, a, owner);
	each_value(kept, hold, a, owner);
	pthread_mutex_unlock(&a->lock);
}
