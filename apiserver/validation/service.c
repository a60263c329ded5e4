/* SPDX-License-Identifier: Apache-2.0 */
/* Services, their addresses over time, endpoints, and the status of load balancers. */
#include "apiserver/validation/validation.h"

#include <arpa/inet.h>

#define SOURCE_RANGES "service.beta.kubernetes.io/load-balancer-source-ranges"

typedef struct core_v1_service_spec spec_t;

static bool is_type(const spec_t *spec, const char *type) {
	return str_equal(spec->type, type);
}

static bool is_headless(const spec_t *spec) {
	return spec->cluster_ips.len == 1 && strcmp(spec->cluster_ips.items[0], "None") == 0;
}

static bool is_external(const spec_t *spec) {
	return is_type(spec, "LoadBalancer") || is_type(spec, "NodePort") || (is_type(spec, "ClusterIP") && spec->external_ips.len);
}

static bool needs_health_check(const spec_t *spec) {
	return is_type(spec, "LoadBalancer") && str_equal(spec->external_traffic_policy, "Local");
}

/* Zeros that lead the parts of an IPv4 address are told elsewhere. */
static void drop_zeros(const char *ip, char *out, size_t size) {
	size_t len = 0;
	for (const char *p = ip; *p && len + 1 < size; p++) {
		bool begins = p == ip || p[-1] == '.';
		while (begins && *p == '0' && p[1] >= '0' && p[1] <= '9')
			p++;
		out[len++] = *p;
	}
	out[len] = 0;
}

void check_endpoint_ip(const char *ip, const struct path *path, struct error *err) {
	struct in6_addr v6;
	struct in_addr v4;
	bool unspecified, loopback, link_local, multicast;
	char plain[64];
	drop_zeros(str_or(ip, ""), plain, sizeof(plain));
	if (inet_pton(AF_INET, plain, &v4) == 1) {
		uint32_t a = ntohl(v4.s_addr);
		unspecified = a == 0;
		loopback = a >> 24 == 127;
		link_local = a >> 16 == 0xa9fe;
		multicast = a >> 8 == 0xe00000;
	} else if (inet_pton(AF_INET6, str_or(ip, ""), &v6) == 1) {
		unspecified = IN6_IS_ADDR_UNSPECIFIED(&v6);
		loopback = IN6_IS_ADDR_LOOPBACK(&v6);
		link_local = IN6_IS_ADDR_LINKLOCAL(&v6);
		multicast = IN6_IS_ADDR_MC_LINKLOCAL(&v6);
	} else {
		invalid(err, path, ip, "must be a valid IP address");
		return;
	}
	if (unspecified)
		invalid(err, path, ip, "may not be unspecified (%s)", ip);
	if (loopback)
		invalid(err, path, ip, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
	if (link_local)
		invalid(err, path, ip, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
	if (multicast)
		invalid(err, path, ip, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
}

static void check_ports(const spec_t *spec, const struct path *at, struct error *err) {
	automap struct map names = MAP_INIT(NULL);
	for (uint32_t i = 0; i < spec->ports.len; i++) {
		const struct core_v1_service_port *port = &spec->ports.items[i];
		struct path here = PATH_INDEX(at, "ports", i);
		if (spec->ports.len > 1 && str_empty(port->name))
			required(err, &PATH(&here, "name"), NULL);
		else if (!str_empty(port->name) && seen_before(&names, port->name))
			duplicate(err, &PATH(&here, "name"), port->name);
		check_port_number(port->port, &PATH(&here, "port"), err);
		check_port(&port->target_port, &PATH(&here, "targetPort"), err);
	}
}

/* What is looked at once the type is known. */
static void check_ports_of_type(const spec_t *spec, const struct path *at, struct error *err) {
	automap struct map ports = MAP_INIT(NULL), node_ports = MAP_INIT(NULL);
	size_t from = err->cause_count;
	for (uint32_t i = 0; is_type(spec, "ClusterIP") && i < spec->ports.len; i++)
		if (spec->ports.items[i].node_port)
			forbidden(err, &PATH(AT_INDEX("ports", i), "nodePort"), "may not be used when `type` is 'ClusterIP'");
	for (uint32_t i = 0; i < spec->ports.len; i++) {
		const struct core_v1_service_port *port = &spec->ports.items[i];
		autofree char *node = xprintf("%s/%d", str_or(port->protocol, ""), port->node_port), *number = xprintf("%d", port->node_port);
		if (port->node_port && seen_before(&node_ports, node))
			duplicate_json(err, &PATH(AT_INDEX("ports", i), "nodePort"), number);
	}
	for (uint32_t i = 0; i < spec->ports.len; i++) {
		const struct core_v1_service_port *port = &spec->ports.items[i];
		autofree char *pair = xprintf("%s/%d", str_or(port->protocol, ""), port->port);
		const struct core_v1_service_port key = {.protocol = port->protocol, .port = port->port};
		if (seen_before(&ports, pair))
			duplicate_struct(err, AT_INDEX("ports", i), &core_v1_service_port_type, &key, NULL);
	}
	tell_at(AT("~ports"), from, err);
}

static void check_affinity(const spec_t *spec, const struct path *at, struct error *err) {
	struct path config = PATH(at, "sessionAffinityConfig"), client = PATH(&config, "clientIP"), timeout = PATH(&client, "timeoutSeconds");
	const struct core_v1_session_affinity_config *c = spec->session_affinity_config;
	const char *when = "when session affinity type is ClientIP";
	if (str_equal(spec->session_affinity, "None")) {
		if (c)
			forbidden(err, &config, "must not be set when session affinity is None");
	} else if (!str_equal(spec->session_affinity, "ClientIP")) {
		return;
	} else if (!c) {
		required(err, &config, when);
	} else if (!c->client_ip) {
		required(err, &client, when);
	} else if (!c->client_ip->timeout_seconds) {
		required(err, &timeout, when);
	} else if (*c->client_ip->timeout_seconds <= 0 || *c->client_ip->timeout_seconds > 86400) {
		invalid_int(err, &timeout, *c->client_ip->timeout_seconds, "must be greater than 0 and less than 86400");
	}
}

static void check_known(const char *value, const char *const *known, const struct path *at, struct error *err) {
	for (const char *const *k = known; *k; k++)
		if (strcmp(*k, value) == 0)
			return;
	not_supported(err, at, value, known);
}

void check_service_addresses(const spec_t *spec, const spec_t *old, struct error *err) {
	static const char *const known_families[] = {"IPv4", "IPv6", NULL}, *const policies[] = {"PreferDualStack", "RequireDualStack", "SingleStack", NULL};
	const struct api_string_list *ips = &spec->cluster_ips, *families = &spec->ip_families;
	struct path path = PATH(NULL, "spec"), *at = &path;
	if (is_type(spec, "ExternalName"))
		return;
	if (!str_empty(spec->cluster_ip) && !ips->len)
		required(err, AT("clusterIPs"), NULL);
	else if (!str_empty(spec->cluster_ip) && strcmp(ips->items[0], spec->cluster_ip) != 0)
		invalid_list(err, AT("clusterIPs"), ips, "first value must match `clusterIP`");
	else if (str_empty(spec->cluster_ip) && ips->len)
		invalid_list(err, AT("clusterIPs"), ips, "must be empty when `clusterIP` is not specified");
	automap struct map seen = MAP_INIT(NULL);
	for (uint32_t i = 0; i < families->len; i++) {
		check_known(families->items[i], known_families, AT_INDEX("ipFamilies", i), err);
		if (seen_before(&seen, families->items[i]))
			duplicate(err, AT_INDEX("ipFamilies", i), families->items[i]);
	}
	if (spec->ip_family_policy)
		check_known(spec->ip_family_policy, policies, AT("ipFamilyPolicy"), err);
	size_t before = err->cause_count;
	for (uint32_t i = 0; i < ips->len; i++) {
		if (i == 0 && strcmp(ips->items[i], "None") == 0) {
			if (ips->len > 1)
				invalid_list(err, AT("clusterIPs"), ips, "'None' must be the first and only value");
			continue;
		}
		/* What it had already stays good. */
		if (!old || !api_string_list_has(&old->cluster_ips, ips->items[i]))
			check_format(format_ip, ips->items[i], AT_INDEX("clusterIPs", i), err);
	}
	bool bad = err->cause_count > before;
	if (ips->len > 2)
		invalid_list(err, AT("clusterIPs"), ips, "may only hold up to 2 values");
	if (bad)
		return;
	if (ips->len > 1 && is_ipv6_address(ips->items[0]) == is_ipv6_address(ips->items[1]))
		invalid_list(err, AT("clusterIPs"), ips, "may specify no more than one IP for each IP family");
	for (uint32_t i = 0; !is_headless(spec) && i < ips->len && i < families->len; i++) {
		bool v6 = is_ipv6_address(ips->items[i]);
		if (strcmp(families->items[i], "IPv4") == 0 && v6)
			invalid(err, AT_INDEX("clusterIPs", i), ips->items[i], "expected an IPv4 value as indicated by `ipFamilies[%u]`", i);
		if (strcmp(families->items[i], "IPv6") == 0 && !v6)
			invalid(err, AT_INDEX("clusterIPs", i), ips->items[i], "expected an IPv6 value as indicated by `ipFamilies[%u]`", i);
	}
}

/* One of a service's two lists, which only grow or shrink at the end. */
static void check_list_update(const spec_t *spec, const struct api_string_list *now, const struct api_string_list *old, const char *name, const char *one, const struct path *at, struct error *err) {
	bool ips = strcmp(name, "clusterIPs") == 0;
	if (now->len == old->len) {
		for (uint32_t i = 0; i < old->len; i++)
			if (strcmp(old->items[i], now->items[i]) != 0)
				invalid_list(err, AT_INDEX(name, ips ? i : 0), now, "may not change once set");
		return;
	}
	if (now->len && old->len && strcmp(now->items[0], old->items[0]) != 0)
		invalid_list(err, AT_INDEX(name, 0), now, "may not change once set");
	if (now->len > old->len)
		return;
	if (!(ips ? now : &spec->cluster_ips)->len)
		invalid_list(err, AT_INDEX(name, 0), now, "primary %s can not be unset", one);
	if (now->len == 1 && !str_equal(spec->ip_family_policy, "SingleStack")) {
		autofree char *quoted = spec->ip_family_policy ? xprintf("\"%s\"", spec->ip_family_policy) : NULL;
		invalid_struct(err, AT("ipFamilyPolicy"), NULL, quoted, "must be set to 'SingleStack' when releasing the secondary %s", one);
	}
}

static void check_class(const spec_t *spec, const struct path *at, struct error *err) {
	if (spec->load_balancer_class && is_type(spec, "LoadBalancer"))
		check_format(format_qualified_name, spec->load_balancer_class, AT("loadBalancerClass"), err);
	else if (spec->load_balancer_class)
		forbidden(err, AT("loadBalancerClass"), "may only be used when `type` is 'LoadBalancer'");
}

static void check_update(const spec_t *spec, const spec_t *old, const struct path *at, struct error *err) {
	size_t from = err->cause_count;
	bool named = is_type(spec, "ExternalName") || is_type(old, "ExternalName");
	if (!named && !(is_headless(spec) && is_headless(old)))
		check_list_update(spec, &spec->cluster_ips, &old->cluster_ips, "clusterIPs", "clusterIP", at, err);
	if (!named && !is_headless(spec) && !is_headless(old))
		check_list_update(spec, &spec->ip_families, &old->ip_families, "ipFamilies", "ipFamily", at, err);
	if (is_type(spec, "LoadBalancer") && is_type(old, "LoadBalancer") && (!spec->load_balancer_class != !old->load_balancer_class || !str_equal(spec->load_balancer_class, old->load_balancer_class))) {
		autofree char *quoted = spec->load_balancer_class ? xprintf("\"%s\"", spec->load_balancer_class) : NULL;
		invalid_struct(err, AT("loadBalancerClass"), NULL, quoted, "may not change once set");
	}
	check_class(spec, at, err);
	if (needs_health_check(spec) && needs_health_check(old) && spec->health_check_node_port != old->health_check_node_port)
		forbidden(err, AT("healthCheckNodePort"), IMMUTABLE_TEXT);
	tell_at(AT("~before"), from, err);
}

static void check_trimmed_cidr(const char *text, size_t len, const struct path *path, struct error *err) {
	while (len && strchr(" \t\r\n", *text))
		text++, len--;
	while (len && strchr(" \t\r\n", text[len - 1]))
		len--;
	autofree char *cidr = xstrndup(text, len);
	check_format(format_cidr, cidr, path, err);
}

static void check_load_balancer(const struct core_v1_service *service, const struct path *at, struct error *err) {
	const spec_t *spec = &service->spec;
	size_t from = err->cause_count;
	bool is = is_type(spec, "LoadBalancer");
	const char *only = "may only be used when `type` is 'LoadBalancer'", *annotation = api_map_get(&service->metadata.annotations, SOURCE_RANGES);
	if (spec->load_balancer_source_ranges.len) {
		if (!is)
			forbidden(err, AT("LoadBalancerSourceRanges"), "%s", only);
		for (uint32_t i = 0; i < spec->load_balancer_source_ranges.len; i++)
			check_trimmed_cidr(spec->load_balancer_source_ranges.items[i], strlen(spec->load_balancer_source_ranges.items[i]), AT_INDEX("LoadBalancerSourceRanges", i), err);
	} else if (annotation) {
		struct path metadata = PATH(NULL, "metadata"), key = PATH_KEY(&metadata, "annotations", SOURCE_RANGES);
		if (!is)
			forbidden(err, &key, "%s", only);
		for (const char *p = strspn(annotation, " \t\n") == strlen(annotation) ? NULL : annotation; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL)
			check_trimmed_cidr(p, strcspn(p, ","), &key, err);
	}
	if (spec->allocate_load_balancer_node_ports && !is)
		forbidden(err, AT("allocateLoadBalancerNodePorts"), "%s", only);
	if (!spec->allocate_load_balancer_node_ports && is)
		required(err, &PATH(NULL, "allocateLoadBalancerNodePorts"), NULL);
	check_class(spec, at, err);
	tell_at(AT("~rest"), from, err);
}

static void check_traffic(const spec_t *spec, const struct path *at, struct error *err) {
	static const char *const traffic_policies[] = {"Cluster", "Local", NULL};
	if (!is_external(spec) && !str_empty(spec->external_traffic_policy))
		invalid(err, AT("externalTrafficPolicy"), spec->external_traffic_policy, "may only be set for externally-accessible services");
	else if (is_external(spec) && str_empty(spec->external_traffic_policy))
		required(err, AT("externalTrafficPolicy"), NULL);
	else if (is_external(spec))
		check_known(spec->external_traffic_policy, traffic_policies, AT("externalTrafficPolicy"), err);
	if (!needs_health_check(spec)) {
		if (spec->health_check_node_port)
			invalid_int(err, AT("healthCheckNodePort"), spec->health_check_node_port, "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'");
	} else if (!spec->health_check_node_port) {
		required(err, AT("healthCheckNodePort"), NULL);
	} else {
		check_port_number(spec->health_check_node_port, AT("healthCheckNodePort"), err);
	}
	if (!spec->internal_traffic_policy && (is_type(spec, "ClusterIP") || is_type(spec, "NodePort") || is_type(spec, "LoadBalancer")))
		required(err, AT("internalTrafficPolicy"), NULL);
}

static void check_by_type(const spec_t *spec, const struct path *at, struct error *err) {
	if ((is_type(spec, "LoadBalancer") || is_type(spec, "NodePort")) && is_headless(spec))
		invalid(err, AT_INDEX("clusterIPs", 0), "None", "may not be set to 'None' for %s services", spec->type);
	if (!is_type(spec, "ExternalName"))
		return;
	static const char *const unused_fields[] = {"clusterIPs", "ipFamilies", "ipFamilyPolicy", NULL};
	forbid_fields(&core_v1_service_spec_type, spec, unused_fields, false, "may not be set for ExternalName services", at, err);
	size_t len = strlen(str_or(spec->external_name, ""));
	autofree char *name = xstrndup(str_or(spec->external_name, ""), len && spec->external_name[len - 1] == '.' ? len - 1 : len);
	check_needed(format_dns_subdomain, name, AT("externalName"), err);
}

static void check_ingress(const struct core_v1_load_balancer_status *status, const spec_t *spec, const struct path *at, struct error *err) {
	static const char *const modes[] = {"Proxy", "VIP", NULL};
	if (!is_type(spec, "LoadBalancer") && status->ingress.len) {
		drop_beneath(AT("ingress"), err);
		forbidden(err, AT("ingress"), "may only be used when `spec.type` is 'LoadBalancer'");
		return;
	}
	for (uint32_t i = 0; i < status->ingress.len; i++) {
		const struct core_v1_load_balancer_ingress *ingress = &status->ingress.items[i];
		struct path here = PATH_INDEX(at, "ingress", i);
		if (!ingress->ip_mode && !str_empty(ingress->ip))
			required(err, &PATH(&here, "ipMode"), "must be specified when `ip` is set");
		else if (ingress->ip_mode && str_empty(ingress->ip))
			forbidden(err, &PATH(&here, "ipMode"), "may not be specified when `ip` is not set");
		else if (ingress->ip_mode)
			check_known(ingress->ip_mode, modes, &PATH(&here, "ipMode"), err);
		if (!str_empty(ingress->hostname) && is_ip_address(ingress->hostname))
			invalid(err, &PATH(&here, "hostname"), ingress->hostname, "must be a DNS name, not an IP address");
	}
}

CHECK(core_v1_service, service) {
	struct path spec_path = PATH(NULL, "spec"), status = PATH(NULL, "status"), metadata = PATH(NULL, "metadata");
	const spec_t *spec = &service->spec;
	if (check_is_status(c)) {
		check_ingress(&service->status.load_balancer, spec, &PATH(&status, "loadBalancer"), err);
		return;
	}
	const char *hints = api_map_get(&service->metadata.annotations, "service.kubernetes.io/topology-aware-hints"), *mode = api_map_get(&service->metadata.annotations, "service.kubernetes.io/topology-mode");
	if (hints && mode && strcmp(hints, mode) != 0)
		invalid(err, &PATH_KEY(&metadata, "annotations", "service.kubernetes.io/topology-mode"), mode, "must match annotations[service.kubernetes.io/topology-aware-hints] when both are specified");
	at = &spec_path;
	if (old)
		check_update(spec, &old->spec, at, err);
	size_t from = err->cause_count;
	if (!spec->ports.len && !is_headless(spec) && !is_type(spec, "ExternalName"))
		required(err, AT("ports"), NULL);
	check_by_type(spec, at, err);
	tell_at(AT("~type"), from, err);
	check_ports(spec, at, err);
	check_affinity(spec, at, err);
	from = err->cause_count;
	check_service_addresses(spec, old ? &old->spec : NULL, err);
	tell_at(AT("~addresses"), from, err);
	check_ports_of_type(spec, at, err);
	for (uint32_t i = 0; i < spec->external_ips.len; i++) {
		size_t before = err->cause_count;
		if (!old || !api_string_list_has(&old->spec.external_ips, spec->external_ips.items[i]))
			check_format(format_ip, spec->external_ips.items[i], AT_INDEX("externalIPs", i), err);
		if (err->cause_count == before)
			check_endpoint_ip(spec->external_ips.items[i], AT_INDEX("externalIPs", i), err);
	}
	check_load_balancer(service, at, err);
	check_traffic(spec, at, err);
}

/* ---- Endpoints ---- */

CHECK(core_v1_endpoint_address, address) {
	if (str_empty(address->ip))
		check_format(format_ip, "", AT("ip"), err);
	size_t from = err->cause_count;
	check_endpoint_ip(address->ip, AT("ip"), err);
	tell_at(AT("~ip"), from, err);
}

CHECK(core_v1_endpoint_port, port) {
	check_port_number(port->port, AT("port"), err);
}

CHECK(core_v1_endpoint_subset, subset) {
	if (!subset->addresses.len && !subset->not_ready_addresses.len)
		required(err, at, "must specify `addresses` or `notReadyAddresses`");
	for (uint32_t i = 0; subset->ports.len > 1 && i < subset->ports.len; i++)
		if (str_empty(subset->ports.items[i].name))
			required(err, &PATH(AT_INDEX("ports", i), "name"), NULL);
}

const struct checker checkers_service[] = {
	ROW(core_v1_service), ROW(core_v1_endpoint_address), ROW(core_v1_endpoint_port), ROW(core_v1_endpoint_subset), {0},
};
