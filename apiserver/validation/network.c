/* SPDX-License-Identifier: Apache-2.0 */
/* NetworkPolicy, Ingress, IngressClass, ServiceCIDR, IPAddress, EndpointSlice. */
#include "apiserver/validation/validation.h"
#include "api/discovery_v1.h"
#include "api/networking_v1.h"

#include <arpa/inet.h>
#include <ctype.h>

/* ---- NetworkPolicy ---- */

CHECK(networking_v1_network_policy_port, port) {
	if (!port->port) {
		if (port->end_port)
			invalid_int(err, AT("endPort"), *port->end_port, "may not be specified when `port` is not specified");
		return;
	}
	check_port(port->port, AT("port"), err);
	if (port->end_port && port->port->str)
		invalid_int(err, AT("endPort"), *port->end_port, "may not be specified when `port` is non-numeric");
	else if (port->end_port) {
		if (*port->end_port < port->port->num)
			invalid_int(err, AT("endPort"), port->port->num, "must be greater than or equal to `port`");
		check_port_number(*port->end_port, AT("endPort"), err);
	}
}

CHECK(networking_v1_network_policy_peer, peer) {
	int count = !!peer->pod_selector + !!peer->namespace_selector + !!peer->ip_block;
	if (!count)
		required(err, at, "must specify a peer");
	else if (count > 1 && peer->ip_block)
		forbidden(err, at, "may not specify both ipBlock and another peer");
}

struct block {
	int family;
	uint8_t bytes[16];
	int64_t bits;
};

static bool parse_block(const char *text, struct block *ret) {
	*ret = (struct block){0};
	ret->family = parse_cidr_loosely(text, ret->bytes, &ret->bits);
	return ret->family;
}

static bool is_inside(const struct block *inner, const struct block *outer) {
	if (inner->family != outer->family || outer->bits >= inner->bits)
		return false;
	for (int64_t i = 0; i < outer->bits; i++)
		if ((inner->bytes[i / 8] ^ outer->bytes[i / 8]) & (0x80 >> (i % 8)))
			return false;
	return true;
}

CHECK(networking_v1_ip_block, block) {
	struct block outer, inner;
	if (str_empty(block->cidr) || !parse_block(block->cidr, &outer)) {
		/* There is nothing that could be excepted from. */
		drop_beneath(AT("except"), err);
		return;
	}
	for (uint32_t i = 0; i < block->except.len; i++)
		if (parse_block(block->except.items[i], &inner) && !is_inside(&inner, &outer))
			invalid(err, AT_INDEX("except", i), block->except.items[i], "must be a strict subset of `cidr`");
}

CHECK(networking_v1_network_policy_spec, spec) {
	static const char *const types[] = {"Ingress", "Egress", NULL};
	if (spec->policy_types.len > 2)
		invalid_list(err, AT("policyTypes"), &spec->policy_types, "may not specify more than two policyTypes");
	for (uint32_t i = 0; spec->policy_types.len <= 2 && i < spec->policy_types.len; i++)
		if (strcmp(spec->policy_types.items[i], "Ingress") != 0 && strcmp(spec->policy_types.items[i], "Egress") != 0)
			not_supported(err, AT_INDEX("policyTypes", i), spec->policy_types.items[i], types);
}

/* ---- Ingress ---- */

static void check_host(const char *host, const struct path *path, struct error *err) {
	check_format(strchr(host, '*') ? format_wildcard_subdomain : format_dns_subdomain, host, path, err);
}

CHECK(networking_v1_ingress_spec, spec) {
	if (!spec->rules.len && !spec->default_backend)
		invalid_struct(err, at, NULL, spec->rules.items ? "[]" : "null", "either `defaultBackend` or `rules` must be specified");
}

CHECK(networking_v1_ingress_rule, rule) {
	if (str_empty(rule->host))
		return;
	if (is_ip_address(rule->host))
		invalid(err, AT("host"), rule->host, "must be a DNS name, not an IP address");
	check_host(rule->host, AT("host"), err);
}

CHECK(networking_v1_ingress_tls, tls) {
	for (uint32_t i = 0; i < tls->hosts.len; i++)
		check_host(tls->hosts.items[i], AT_INDEX("hosts", i), err);
}

CHECK(networking_v1_http_ingress_path, path) {
	static const char *const sequences[] = {"//", "/./", "/../", "%2f", "%2F"}, *const ends[] = {"/..", "/."};
	const char *text = str_or(path->path, "");
	if (!path->path_type) {
		drop_judgement(AT("backend"), err);
		required(err, AT("pathType"), "pathType must be specified");
		return;
	}
	bool strict = strcmp(path->path_type, "Exact") == 0 || strcmp(path->path_type, "Prefix") == 0, known = strict || strcmp(path->path_type, "ImplementationSpecific") == 0;
	if (*text != '/' && (strict || (known && *text)))
		invalid(err, AT("path"), text, "must be an absolute path");
	for (size_t i = 0; strict && i < array_len(sequences); i++)
		if (strstr(text, sequences[i]))
			invalid(err, AT("path"), text, "must not contain '%s'", sequences[i]);
	for (size_t i = 0; strict && i < array_len(ends); i++)
		if (str_ends_with(text, ends[i]))
			invalid(err, AT("path"), text, "cannot end with '%s'", ends[i]);
}

static void check_reference(const char *group, const char *kind, const char *name, const struct path *at, struct error *err) {
	if (group)
		check_format(format_dns_subdomain, group, AT("apiGroup"), err);
	check_needed(format_path_segment, kind, AT("kind"), err);
	check_needed(format_path_segment, name, AT("name"), err);
}

CHECK(networking_v1_ingress_backend, backend) {
	if (backend->resource && backend->service) {
		drop_beneath(AT("resource"), err);
		invalid(err, at, "", "cannot set both resource and service backends");
	} else if (backend->resource) {
		if (backend->resource->api_group)
			check_format(format_dns_subdomain, backend->resource->api_group, &PATH(AT("resource"), "apiGroup"), err);
		check_format(format_path_segment, backend->resource->kind, &PATH(AT("resource"), "kind"), err);
		check_format(format_path_segment, backend->resource->name, &PATH(AT("resource"), "name"), err);
	} else if (backend->service) {
		struct path service = PATH(at, "service"), port = PATH(&service, "port");
		bool named = !str_empty(backend->service->port.name), numbered = backend->service->port.number != 0;
		check_needed(format_dns_label, backend->service->name, &PATH(&service, "name"), err);
		if (named && numbered)
			invalid(err, at, "", "cannot set both port name & port number");
		else if (named)
			check_format(format_port_name, backend->service->port.name, &PATH(&port, "name"), err);
		else if (numbered)
			check_port_number(backend->service->port.number, &PATH(&port, "number"), err);
		else
			required(err, at, "port name or number is required");
	} else {
		invalid(err, at, "", "resource or service backend is required");
	}
}

CHECK(networking_v1_ingress_load_balancer_ingress, ingress) {
	if (!str_empty(ingress->hostname) && is_ip_address(ingress->hostname))
		invalid(err, AT("hostname"), ingress->hostname, "must be a DNS name, not an IP address");
}

CHECK(networking_v1_ingress, ingress) {
	const char *class = api_map_get(&ingress->metadata.annotations, "kubernetes.io/ingress.class"), *name = ingress->spec.ingress_class_name;
	if (!old && !check_is_status(c) && class && name && strcmp(class, name) != 0)
		invalid(err, &PATH(AT("annotations"), "kubernetes.io/ingress.class"), class, "must match `ingressClassName` when both are specified");
}

/* ---- IngressClass ---- */

CHECK(networking_v1_ingress_class_spec, spec) {
	const char *text = str_or(spec->controller, ""), *slash = strchr(text, '/');
	if (!*text) {
		required(err, AT("controller"), NULL);
	} else if (!slash || slash == text || !slash[1]) {
		invalid(err, AT("controller"), text, "must be a domain-prefixed path (such as \"acme.io/foo\")");
	} else {
		autofree char *host = xstrndup(text, (size_t)(slash - text));
		check_format(format_dns_subdomain, host, AT("controller"), err);
		for (const char *p = slash + 1; *p; p++)
			if (!isalnum((unsigned char)*p) && !strchr("/-._~%!$&'()*+,;=:", *p)) {
				invalid(err, AT("controller"), slash + 1, "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%%!$&'()*+,;=:]+')");
				break;
			}
	}
}

CHECK(networking_v1_ingress_class_parameters_reference, ref) {
	static const char *const scopes[] = {"Cluster", "Namespace", NULL};
	check_reference(ref->api_group, ref->kind, ref->name, at, err);
	if (!str_equal(ref->scope, "Cluster") && !str_equal(ref->scope, "Namespace"))
		not_supported(err, AT("scope"), ref->scope, scopes);
	if (str_equal(ref->scope, "Namespace") && !ref->namespace)
		required(err, AT("namespace"), "`parameters.scope` is set to 'Namespace'");
	else if (str_equal(ref->scope, "Namespace"))
		check_format(format_dns_label, ref->namespace, AT("namespace"), err);
	else if (str_equal(ref->scope, "Cluster") && ref->namespace)
		forbidden(err, AT("namespace"), "`parameters.scope` is set to 'Cluster'");
}

/* ---- IPAddress and ServiceCIDR ---- */

CHECK(networking_v1_service_cidr_spec, spec) {
	const struct api_string_list *cidrs = &spec->cidrs, *was = old ? &old->cidrs : NULL;
	if (was && (was->len == cidrs->len || (was->len == 1 && cidrs->len == 2))) {
		for (uint32_t i = 0; i < was->len; i++)
			if (strcmp(was->items[i], cidrs->items[i]) != 0)
				invalid(err, AT_INDEX("cidrs", i), cidrs->items[i], IMMUTABLE_TEXT);
		if (was->len == cidrs->len)
			return;
	} else if (was) {
		invalid_list(err, AT("cidrs"), cidrs, IMMUTABLE_TEXT);
		return;
	}
	if (!cidrs->len)
		required(err, AT("cidrs"), "at least one CIDR required");
	else if (cidrs->len > 2)
		invalid_struct(err, AT("cidrs"), &networking_v1_service_cidr_spec_type, spec, "may only hold up to 2 values");
	for (uint32_t i = 0; cidrs->len <= 2 && i < cidrs->len; i++)
		check_format(format_cidr_canonical, cidrs->items[i], AT_INDEX("cidrs", i), err);
	struct block blocks[2];
	if (cidrs->len == 2 && parse_block(cidrs->items[0], &blocks[0]) && parse_block(cidrs->items[1], &blocks[1]) && blocks[0].family == blocks[1].family)
		invalid_list(err, AT("cidrs"), cidrs, "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64");
}

/* ---- EndpointSlice ---- */

static void check_fqdn(const char *name, const struct path *path, struct error *err) {
	size_t len = strlen(name);
	autofree char *text = xstrndup(name, len && name[len - 1] == '.' ? len - 1 : len);
	if (!*text)
		required(err, path, NULL);
	else if (format_error(format_dns_subdomain, text))
		invalid(err, path, text, "%s", format_error(format_dns_subdomain, text));
	else if (!strchr(text, '.'))
		invalid(err, path, text, "should be a domain with at least two segments separated by dots");
}

static void check_slice_address(const char *address, const char *type, const struct path *list, uint32_t i, struct error *err) {
	struct path path = PATH_INDEX(list, NULL, i);
	size_t before = err->cause_count;
	bool v4 = str_equal(type, "IPv4"), v6 = str_equal(type, "IPv6");
	if (str_equal(type, "FQDN"))
		check_fqdn(address, &path, err);
	if (!v4 && !v6)
		return;
	check_format(v4 ? format_ip : format_ip_canonical, address, &path, err);
	if (err->cause_count > before)
		return;
	if (v4 == (strchr(address, ':') != NULL))
		invalid(err, list, address, "must be an %s address", v4 ? "IPv4" : "IPv6");
	check_endpoint_ip(address, &path, err);
}

CHECK(discovery_v1_endpoint_hints, hints) {
	automap struct map zones = MAP_INIT(NULL), nodes = MAP_INIT(NULL);
	for (uint32_t i = 0; hints->for_zones.len <= 8 && i < hints->for_zones.len; i++) {
		if (seen_before(&zones, hints->for_zones.items[i].name))
			duplicate(err, &PATH(AT_INDEX("forZones", i), "name"), hints->for_zones.items[i].name);
		check_format(format_label_value, hints->for_zones.items[i].name, &PATH(AT_INDEX("forZones", i), "name"), err);
	}
	for (uint32_t i = 0; hints->for_nodes.len <= 8 && i < hints->for_nodes.len; i++) {
		if (seen_before(&nodes, hints->for_nodes.items[i].name))
			duplicate(err, &PATH(AT_INDEX("forNodes", i), "name"), hints->for_nodes.items[i].name);
		check_format(format_dns_subdomain, hints->for_nodes.items[i].name, &PATH(AT_INDEX("forNodes", i), "name"), err);
	}
}

CHECK(discovery_v1_endpoint_slice, slice) {
	automap struct map names = MAP_INIT(NULL);
	bool kept = old && api_field_equal(slice, old, "endpoints");
	for (uint32_t i = 0; slice->ports.len <= 20000 && i < slice->ports.len; i++)
		if (seen_before(&names, slice->ports.items[i].name))
			duplicate(err, &PATH(AT_INDEX("ports", i), "name"), slice->ports.items[i].name);
	for (uint32_t i = 0; slice->endpoints.len <= 1000 && i < slice->endpoints.len; i++) {
		const struct discovery_v1_endpoint *endpoint = &slice->endpoints.items[i];
		struct path here = PATH_INDEX(at, "endpoints", i), addresses = PATH(&here, "addresses");
		if (!endpoint->addresses.len)
			required(err, &addresses, "must contain at least 1 address");
		/* Addresses that stay as they are were good once. */
		for (uint32_t n = 0; !kept && endpoint->addresses.len <= 100 && n < endpoint->addresses.len; n++)
			check_slice_address(endpoint->addresses.items[n], slice->address_type, &addresses, n, err);
	}
}

const struct checker checkers_network[] = {
	ROW(networking_v1_network_policy_port), ROW(networking_v1_network_policy_peer), ROW(networking_v1_ip_block), ROW(networking_v1_network_policy_spec),
	ROW(networking_v1_ingress_spec), ROW(networking_v1_ingress_rule), ROW(networking_v1_ingress_tls), ROW(networking_v1_http_ingress_path),
	ROW(networking_v1_ingress_backend), ROW(networking_v1_ingress_load_balancer_ingress), ROW(networking_v1_ingress), ROW(networking_v1_ingress_class_spec),
	ROW(networking_v1_ingress_class_parameters_reference), ROW(networking_v1_service_cidr_spec), ROW(discovery_v1_endpoint_hints),
	ROW(discovery_v1_endpoint_slice), {0},
};
