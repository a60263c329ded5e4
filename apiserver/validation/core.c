/* SPDX-License-Identifier: Apache-2.0 */
/* The core group's kinds other than pods. */
#include "apiserver/validation/validation.h"
#include "api/core_v1.h"
#include "apiserver/resources.h"

#define MAX_SECRET_BYTES (1u << 20)
#define WHEN_IMMUTABLE "field is immutable when `immutable` is set"

static const struct path no_path = {.index = -1};

/* ---- ConfigMap and Secret ---- */

static void check_key(const char *key, const char *field, struct error *err) {
	const char *text = check_config_key(key);
	if (text)
		invalid(err, &PATH_KEY(NULL, field, key), key, "%s", text);
}

void validate_config_map(const void *object, const void *old, struct error *err) {
	const struct core_v1_config_map *map = object, *before = old;
	size_t total = 0;
	for (uint32_t i = 0; i < map->data.len; i++) {
		check_key(map->data.items[i].key, "data", err);
		for (uint32_t n = 0; n < map->binary_data.len; n++)
			if (strcmp(map->data.items[i].key, map->binary_data.items[n].key) == 0)
				invalid(err, &PATH_KEY(NULL, "data", map->data.items[i].key), map->data.items[i].key, "duplicate of key present in binaryData");
		total += strlen(map->data.items[i].value);
	}
	for (uint32_t i = 0; i < map->binary_data.len; i++) {
		check_key(map->binary_data.items[i].key, "binaryData", err);
		total += map->binary_data.items[i].value.len;
	}
	if (total > MAX_SECRET_BYTES)
		too_long(err, &no_path, MAX_SECRET_BYTES);
	if (!before || !before->immutable || !*before->immutable)
		return;
	if (!map->immutable || !*map->immutable)
		forbidden(err, &PATH(NULL, "immutable"), WHEN_IMMUTABLE);
	if (!api_field_equal(object, old, "data"))
		forbidden(err, &PATH(NULL, "data"), WHEN_IMMUTABLE);
	if (!api_field_equal(object, old, "binaryData"))
		forbidden(err, &PATH(NULL, "binaryData"), WHEN_IMMUTABLE);
}

static bool has_key(const struct core_v1_secret *secret, const char *key) {
	for (uint32_t i = 0; i < secret->data.len; i++)
		if (strcmp(secret->data.items[i].key, key) == 0)
			return true;
	return false;
}

static void check_type(const struct core_v1_secret *secret, struct error *err) {
	static const struct { const char *type, *keys[2]; } wanted[] = {
		{"kubernetes.io/dockerconfigjson", {".dockerconfigjson"}}, {"kubernetes.io/dockercfg", {".dockercfg"}},
		{"kubernetes.io/ssh-auth", {"ssh-privatekey"}}, {"kubernetes.io/tls", {"tls.crt", "tls.key"}},
	};
	for (size_t i = 0; i < array_len(wanted); i++)
		for (size_t k = 0; str_equal(secret->type, wanted[i].type) && k < 2 && wanted[i].keys[k]; k++)
			if (!has_key(secret, wanted[i].keys[k]))
				required(err, &PATH_KEY(NULL, "data", wanted[i].keys[k]), NULL);
	if (str_equal(secret->type, "kubernetes.io/service-account-token") && !api_map_get(&secret->metadata.annotations, "kubernetes.io/service-account.name")) {
		struct path metadata = PATH(NULL, "metadata");
		required(err, &PATH_KEY(&metadata, "annotations", "kubernetes.io/service-account.name"), NULL);
	}
	if (str_equal(secret->type, "kubernetes.io/basic-auth") && !has_key(secret, "username") && !has_key(secret, "password")) {
		required(err, &PATH_KEY(NULL, "data", "username"), NULL);
		required(err, &PATH_KEY(NULL, "data", "password"), NULL);
	}
}

void validate_secret(const void *object, const void *old, struct error *err) {
	const struct core_v1_secret *secret = object, *before = old;
	size_t total = 0;
	for (uint32_t i = 0; i < secret->data.len; i++) {
		check_key(secret->data.items[i].key, "data", err);
		total += secret->data.items[i].value.len;
	}
	if (total > MAX_SECRET_BYTES)
		too_long(err, &PATH(NULL, "data"), MAX_SECRET_BYTES);
	check_type(secret, err);
	if (!before)
		return;
	if (!str_equal(secret->type, before->type))
		invalid(err, &PATH(NULL, "type"), secret->type, IMMUTABLE_TEXT);
	if (!before->immutable || !*before->immutable)
		return;
	if (!secret->immutable || !*secret->immutable)
		forbidden(err, &PATH(NULL, "immutable"), WHEN_IMMUTABLE);
	if (!api_field_equal(object, old, "data"))
		forbidden(err, &PATH(NULL, "data"), WHEN_IMMUTABLE);
}

/* ---- Service ---- */

static void check_service_port(const struct core_v1_service_spec *spec, uint32_t i, const struct path *parent, struct error *err) {
	static const char *const protocols[] = {"SCTP", "TCP", "UDP", NULL};
	const struct core_v1_service_port *port = &spec->ports.items[i];
	struct path at = PATH_INDEX(parent, "ports", i);
	if (str_empty(port->name)) {
		if (spec->ports.len > 1)
			required(err, &PATH(&at, "name"), NULL);
	} else {
		const char *text = check_dns_label(port->name);
		if (text)
			invalid(err, &PATH(&at, "name"), port->name, "%s", text);
		for (uint32_t n = 0; n < i; n++)
			if (str_equal(spec->ports.items[n].name, port->name))
				duplicate(err, &PATH(&at, "name"), port->name);
	}
	if (port->port < 1 || port->port > 65535)
		invalid_int(err, &PATH(&at, "port"), port->port, "must be between 1 and 65535, inclusive");
	if (str_empty(port->protocol))
		required(err, &PATH(&at, "protocol"), NULL);
	else if (strcmp(port->protocol, "TCP") != 0 && strcmp(port->protocol, "UDP") != 0 && strcmp(port->protocol, "SCTP") != 0)
		not_supported(err, &PATH(&at, "protocol"), port->protocol, protocols);
	if (port->target_port.str) {
		const char *text = check_port_name(port->target_port.str);
		if (text)
			invalid(err, &PATH(&at, "targetPort"), port->target_port.str, "%s", text);
	} else if (port->target_port.num < 1 || port->target_port.num > 65535) {
		invalid_int(err, &PATH(&at, "targetPort"), port->target_port.num, "must be between 1 and 65535, inclusive");
	}
	if (port->node_port && str_equal(spec->type, "ClusterIP"))
		forbidden(err, &PATH(&at, "nodePort"), "may not be used when `type` is 'ClusterIP'");
	for (uint32_t n = 0; n < i; n++)
		if (spec->ports.items[n].port == port->port && str_equal(spec->ports.items[n].protocol, port->protocol)) {
			autofree char *value = xprintf("%s/%d", port->protocol, port->port);
			duplicate(err, &at, value);
		}
}

void validate_service(const void *object, const void *old, struct error *err) {
	static const char *const types[] = {"ClusterIP", "ExternalName", "LoadBalancer", "NodePort", NULL};
	static const char *const affinities[] = {"ClientIP", "None", NULL};
	const struct core_v1_service *service = object, *before = old;
	const struct core_v1_service_spec *spec = &service->spec;
	struct path at = PATH(NULL, "spec");
	bool headless = str_equal(spec->cluster_ip, "None");
	if (!spec->ports.len && !headless && !str_equal(spec->type, "ExternalName"))
		required(err, &PATH(&at, "ports"), NULL);
	for (uint32_t i = 0; i < spec->ports.len; i++)
		check_service_port(spec, i, &at, err);
	validate_labels(&spec->selector, &PATH(&at, "selector"), err);
	if (!str_equal(spec->session_affinity, "None") && !str_equal(spec->session_affinity, "ClientIP"))
		not_supported(err, &PATH(&at, "sessionAffinity"), spec->session_affinity, affinities);
	if (!str_equal(spec->type, "ClusterIP") && !str_equal(spec->type, "NodePort") && !str_equal(spec->type, "LoadBalancer") && !str_equal(spec->type, "ExternalName"))
		not_supported(err, &PATH(&at, "type"), spec->type, types);
	if (str_equal(spec->type, "ExternalName")) {
		if (!str_empty(spec->cluster_ip))
			forbidden(err, &PATH(&at, "clusterIPs"), "may not be set for ExternalName services");
		if (str_empty(spec->external_name))
			required(err, &PATH(&at, "externalName"), NULL);
		else if (check_dns_subdomain(spec->external_name))
			invalid(err, &PATH(&at, "externalName"), spec->external_name, "%s", check_dns_subdomain(spec->external_name));
	}
	if (headless && (str_equal(spec->type, "LoadBalancer") || str_equal(spec->type, "NodePort"))) {
		autofree char *text = xprintf("may not be set to 'None' for %s services", spec->type);
		invalid(err, &PATH_INDEX(&at, "clusterIPs", 0), "None", "%s", text);
	}
	for (uint32_t i = 0; i < spec->external_ips.len; i++)
		if (!is_ip_address(spec->external_ips.items[i]))
			invalid(err, &PATH_INDEX(&at, "externalIPs", i), spec->external_ips.items[i], "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
	if (before && !str_equal(before->spec.type, "ExternalName") && !str_equal(spec->type, "ExternalName") && !str_empty(before->spec.cluster_ip) && !str_equal(before->spec.cluster_ip, spec->cluster_ip)) {
		autofree char *value = xprintf("[\"%s\"]", str_or(spec->cluster_ip, ""));
		error_cause(err, "FieldValueInvalid", "spec.clusterIPs[0]", "Invalid value: %s: may not change once set", value);
	}
}

/* ---- claims ---- */

void validate_persistent_volume_claim(const void *object, const void *old, struct error *err) {
	const struct core_v1_persistent_volume_claim *claim = object;
	struct path at = PATH(NULL, "spec"), resources = PATH(&at, "resources");
	if (old)
		return;
	if (!claim->spec.access_modes.len)
		required(err, &PATH(&at, "accessModes"), "at least 1 access mode is required");
	const struct quantity *storage = api_quantity_get(&claim->spec.resources.requests, "storage");
	if (!storage) {
		required(err, &PATH_KEY(&resources, "requests", "storage"), NULL);
	} else if (storage->nano <= 0) {
		char text[64];
		quantity_format(storage, text);
		invalid(err, &PATH_KEY(&resources, "requests", "storage"), text, "must be greater than zero");
	}
}
