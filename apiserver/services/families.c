/* SPDX-License-Identifier: Apache-2.0 */
/* What a Service says of addresses and ports, before any are chosen: families and policy, what an update keeps, what a change of type drops. */
#include "apiserver/services/internal.h"
#include "apiserver/validation/validation.h"

#include <arpa/inet.h>

static bool is_type(const struct core_v1_service_spec *spec, const char *type) {
	return str_equal(spec->type, type);
}

static bool wants_ports(const struct core_v1_service_spec *spec) {
	return is_type(spec, "NodePort") || is_type(spec, "LoadBalancer");
}

static bool is_headless(const struct core_v1_service_spec *spec) {
	return str_equal(spec->cluster_ip, "None") || (spec->cluster_ips.len && strcmp(spec->cluster_ips.items[0], "None") == 0);
}

bool service_wants_address(const struct core_v1_service_spec *spec) {
	return !is_type(spec, "ExternalName") && !is_headless(spec);
}

bool service_wants_health_port(const struct core_v1_service_spec *spec) {
	return is_type(spec, "LoadBalancer") && str_equal(spec->external_traffic_policy, "Local");
}

/* ---- what is held ---- */

void service_each_held(const struct core_v1_service *service, void (*fn)(enum claim_kind kind, const char *key, void *arg), void *arg) {
	if (!service)
		return;
	const struct core_v1_service_spec *spec = &service->spec;
	for (uint32_t i = 0; service_wants_address(spec) && i < spec->cluster_ips.len; i++)
		fn(CLAIM_ADDRESS, spec->cluster_ips.items[i], arg);
	char port[16];
	for (uint32_t i = 0; i < spec->ports.len; i++) {
		bool seen = false;
		for (uint32_t n = 0; n < i; n++)
			seen |= spec->ports.items[n].node_port == spec->ports.items[i].node_port;
		if (!spec->ports.items[i].node_port || seen)
			continue;
		snprintf(port, sizeof(port), "%d", spec->ports.items[i].node_port);
		fn(CLAIM_PORT, port, arg);
	}
	if (spec->health_check_node_port) {
		snprintf(port, sizeof(port), "%d", spec->health_check_node_port);
		fn(CLAIM_PORT, port, arg);
	}
}

struct search {
	enum claim_kind kind;
	const char *key;
	bool found;
};

static void compare_held(enum claim_kind kind, const char *key, void *arg) {
	struct search *search = arg;
	search->found |= kind == search->kind && strcmp(key, search->key) == 0;
}

bool service_holds(const struct core_v1_service *service, enum claim_kind kind, const char *key) {
	struct search search = {kind, key, false};
	service_each_held(service, compare_held, &search);
	return search.found;
}

/* ---- lists ---- */

static bool same_list(const struct api_string_list *a, const struct api_string_list *b) {
	if (a->len != b->len)
		return false;
	for (uint32_t i = 0; i < a->len; i++)
		if (strcmp(a->items[i], b->items[i]) != 0)
			return false;
	return true;
}

static void copy_list(struct arena *arena, struct api_string_list *to, const struct api_string_list *from) {
	*to = (struct api_string_list){0};
	for (uint32_t i = 0; i < from->len; i++)
		api_string_list_add(arena, to, arena_strdup(arena, from->items[i]));
}

/* Clients may speak of clusterIP or clusterIPs: the one they did not touch follows the other. */
static void normalize_addresses(struct arena *arena, struct core_v1_service_spec *spec, const struct core_v1_service_spec *old) {
	if (!old) {
		if (!str_empty(spec->cluster_ip) && !spec->cluster_ips.len)
			api_string_list_add(arena, &spec->cluster_ips, spec->cluster_ip);
		return;
	}
	bool same = str_equal(str_or(spec->cluster_ip, ""), str_or(old->cluster_ip, ""));
	if (old->cluster_ips.len && !spec->cluster_ips.len && same)
		copy_list(arena, &spec->cluster_ips, &old->cluster_ips);
	if (same || !same_list(&spec->cluster_ips, &old->cluster_ips))
		return;
	spec->cluster_ips = (struct api_string_list){0};
	if (!str_empty(spec->cluster_ip))
		api_string_list_add(arena, &spec->cluster_ips, spec->cluster_ip);
}

/* Nothing inside the cluster is balanced to an external name. */
static void drop_internal_policy(struct core_v1_service_spec *spec) {
	/* Another word is left for validation to refuse. */
	if (str_equal(spec->type, "ExternalName") && (str_equal(spec->internal_traffic_policy, "Cluster") || str_equal(spec->internal_traffic_policy, "Local")))
		spec->internal_traffic_policy = NULL;
}

void service_prepare_create(struct request *r, void *object) {
	struct core_v1_service *service = object;
	normalize_addresses(api_arena(object), &service->spec, NULL);
	drop_internal_policy(&service->spec);
}

/* ---- updates ---- */

static bool has_node_port(const struct core_v1_service_spec *spec, int32_t port) {
	for (uint32_t i = 0; i < spec->ports.len; i++)
		if (spec->ports.items[i].node_port == port)
			return true;
	return false;
}

/* Ports of the same name keep theirs where the client left them out, unless it gave the number to another. */
static void keep_node_ports(struct core_v1_service_spec *spec, const struct core_v1_service_spec *old) {
	for (uint32_t i = 0; i < spec->ports.len; i++) {
		struct core_v1_service_port *port = &spec->ports.items[i];
		for (uint32_t n = 0; n < old->ports.len && !port->node_port; n++) {
			const struct core_v1_service_port *was = &old->ports.items[n];
			if (was->node_port && str_equal(str_or(was->name, ""), str_or(port->name, "")) && !has_node_port(spec, was->node_port))
				port->node_port = was->node_port;
		}
	}
}

static void keep_values(struct arena *arena, struct core_v1_service_spec *spec, const struct core_v1_service_spec *old) {
	if (!is_type(old, "ExternalName") && !is_type(spec, "ExternalName")) {
		if (str_empty(spec->cluster_ip) && !str_empty(old->cluster_ip))
			spec->cluster_ip = arena_strdup(arena, old->cluster_ip);
		if (!spec->cluster_ips.len)
			copy_list(arena, &spec->cluster_ips, &old->cluster_ips);
	}
	if (wants_ports(old) && wants_ports(spec))
		keep_node_ports(spec, old);
	if (service_wants_health_port(old) && service_wants_health_port(spec) && !spec->health_check_node_port)
		spec->health_check_node_port = old->health_check_node_port;
}

static bool reachable_from_outside(const struct core_v1_service_spec *spec) {
	return wants_ports(spec) || (is_type(spec, "ClusterIP") && spec->external_ips.len);
}

/* What the new type has no use for goes, unless the client changed it too: then it is told. */
static void drop_values(struct core_v1_service *service, const struct core_v1_service *before) {
	struct core_v1_service_spec *spec = &service->spec;
	const struct core_v1_service_spec *old = &before->spec;
	if (!is_type(old, "ExternalName") && is_type(spec, "ExternalName")) {
		if (same_list(&spec->cluster_ips, &old->cluster_ips) && str_equal(str_or(spec->cluster_ip, ""), str_or(old->cluster_ip, ""))) {
			spec->cluster_ip = NULL;
			spec->cluster_ips = (struct api_string_list){0};
		}
		if (same_list(&spec->ip_families, &old->ip_families))
			spec->ip_families = (struct api_string_list){0};
		if (str_equal(spec->ip_family_policy, old->ip_family_policy))
			spec->ip_family_policy = NULL;
	}
	if (wants_ports(old) && !wants_ports(spec)) {
		bool new_ones = false;
		for (uint32_t i = 0; i < spec->ports.len; i++)
			new_ones |= spec->ports.items[i].node_port && !has_node_port(old, spec->ports.items[i].node_port);
		for (uint32_t i = 0; !new_ones && i < spec->ports.len; i++)
			spec->ports.items[i].node_port = 0;
	}
	if (service_wants_health_port(old) && !service_wants_health_port(spec) && spec->health_check_node_port == old->health_check_node_port)
		spec->health_check_node_port = 0;
	if (is_type(old, "LoadBalancer") && !is_type(spec, "LoadBalancer")) {
		if (spec->allocate_load_balancer_node_ports && old->allocate_load_balancer_node_ports && *spec->allocate_load_balancer_node_ports == *old->allocate_load_balancer_node_ports)
			spec->allocate_load_balancer_node_ports = NULL;
		if (str_equal(str_or(spec->load_balancer_class, ""), str_or(old->load_balancer_class, "")))
			spec->load_balancer_class = NULL;
	}
	if (reachable_from_outside(old) && !reachable_from_outside(spec) && str_equal(spec->external_traffic_policy, old->external_traffic_policy))
		spec->external_traffic_policy = NULL;
	if (!is_type(spec, "LoadBalancer"))
		memset(&service->status.load_balancer, 0, sizeof(service->status.load_balancer));
}

void service_prepare_update(struct request *r, void *object, const void *old_object) {
	struct core_v1_service *service = object;
	const struct core_v1_service *old = old_object;
	keep_values(api_arena(object), &service->spec, &old->spec);
	normalize_addresses(api_arena(object), &service->spec, &old->spec);
	drop_values(service, old);
	drop_internal_policy(&service->spec);
}

/* ---- families ---- */

char *service_addresses_text(const struct core_v1_service_spec *spec) {
	json_t *list = json_array();
	for (uint32_t i = 0; i < spec->cluster_ips.len; i++)
		json_array_append_new(list, json_string(spec->cluster_ips.items[i]));
	char *text = json_dumps(list, JSON_COMPACT);
	json_decref(list);
	return text;
}

static const char *family_of(const char *ip) {
	return strchr(ip, ':') ? "IPv6" : "IPv4";
}

static const char *other_family(const char *family) {
	return strcmp(family, "IPv4") == 0 ? "IPv6" : "IPv4";
}

static bool configured(const struct allocator *a, const char *family) {
	int wanted = strcmp(family, "IPv6") == 0 ? AF_INET6 : AF_INET;
	for (size_t i = 0; i < a->primary_count; i++)
		if (a->primary[i].family == wanted)
			return true;
	return false;
}

static void refuse_policy(struct error *err, const char *policy, const char *text) {
	error_cause(err, "FieldValueInvalid", "spec.ipFamilyPolicy", "Invalid value: \"%s\": %s", str_or(policy, ""), text);
}

/* A Service that prefers two stacks is neither raised nor lowered when the cluster changes: only when it is changed itself. */
static bool prefers_and_is_unchanged(const struct core_v1_service_spec *spec, const struct core_v1_service_spec *old) {
	return old && !is_type(spec, "ExternalName") && str_equal(spec->type, old->type) && str_equal(spec->ip_family_policy, "PreferDualStack") &&
	       (!old->ip_family_policy || str_equal(old->ip_family_policy, "PreferDualStack")) && same_list(&spec->cluster_ips, &old->cluster_ips) &&
	       same_list(&spec->ip_families, &old->ip_families);
}

static void reconcile_with_old(struct core_v1_service_spec *spec, const struct core_v1_service_spec *old, struct error *err) {
	if (str_equal(spec->ip_family_policy, "SingleStack")) {
		/* The first address never changes; the second goes where nobody insisted on it. */
		if (same_list(&spec->cluster_ips, &old->cluster_ips) && spec->cluster_ips.len > 1)
			spec->cluster_ips.len = 1;
		if (same_list(&spec->ip_families, &old->ip_families) && spec->ip_families.len > 1)
			spec->ip_families.len = 1;
		return;
	}
	if (spec->cluster_ips.len && spec->cluster_ips.len < old->cluster_ips.len)
		refuse_policy(err, spec->ip_family_policy, "must be 'SingleStack' to release the secondary cluster IP");
	if (spec->ip_families.len && spec->ip_families.len < old->ip_families.len)
		refuse_policy(err, spec->ip_family_policy, "must be 'SingleStack' to release the secondary IP family");
}

static void infer_families(struct allocator *a, struct core_v1_service_spec *spec, struct arena *arena, struct error *err) {
	for (uint32_t i = 0; i < spec->cluster_ips.len && strcmp(spec->cluster_ips.items[i], "None") != 0; i++) {
		const char *family = family_of(spec->cluster_ips.items[i]);
		if (i < spec->ip_families.len)
			continue;
		if (configured(a, family)) {
			api_string_list_add(arena, &spec->ip_families, family);
			continue;
		}
		autofree char *field = xprintf("spec.clusterIPs[%u]", i);
		autofree char *value = service_addresses_text(spec);
		error_cause(err, "FieldValueInvalid", field, "Invalid value: %s: %s is not configured on this cluster", value, family);
	}
}

static int invalid_service(struct error *err, const struct core_v1_service *service) {
	return error_has_causes(err) ? error_invalid(err, NULL, "Service", service->metadata.name) : 0;
}

int service_fill_families(struct allocator *a, struct core_v1_service *service, const struct core_v1_service *old, struct error *err) {
	struct core_v1_service_spec *spec = &service->spec;
	struct arena *arena = api_arena(service);
	if (is_type(spec, "ExternalName") || prefers_and_is_unchanged(spec, old ? &old->spec : NULL))
		return 0;
	bool free_headless = is_headless(spec) && !spec->selector.len;
	if (!spec->ip_family_policy)
		spec->ip_family_policy = old && old->spec.ip_family_policy ? arena_strdup(arena, old->spec.ip_family_policy) : free_headless ? "RequireDualStack" : "SingleStack";
	check_service_addresses(spec, old ? &old->spec : NULL, err);
	int rc = invalid_service(err, service);
	if (rc < 0)
		return rc;
	if (old)
		reconcile_with_old(spec, &old->spec, err);
	bool single = str_equal(spec->ip_family_policy, "SingleStack");
	if (single && spec->cluster_ips.len == 2)
		refuse_policy(err, spec->ip_family_policy, "must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are specified");
	if (single && spec->ip_families.len == 2)
		refuse_policy(err, spec->ip_family_policy, "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified");
	infer_families(a, spec, arena, err);
	rc = invalid_service(err, service);
	if (rc < 0)
		return rc;
	const char *first = a->primary[0].family == AF_INET6 ? "IPv6" : "IPv4";
	if (free_headless) {
		/* Nobody but its owner fills its endpoints: it may have families that the cluster does not. */
		if (!spec->ip_families.len)
			api_string_list_add(arena, &spec->ip_families, first);
		if (spec->ip_families.len < 2 && !single)
			api_string_list_add(arena, &spec->ip_families, other_family(spec->ip_families.items[0]));
		return 0;
	}
	if (str_equal(spec->ip_family_policy, "RequireDualStack") && a->primary_count < 2)
		refuse_policy(err, spec->ip_family_policy, "this cluster is not configured for dual-stack services");
	for (uint32_t i = 0; i < spec->ip_families.len; i++) {
		if (configured(a, spec->ip_families.items[i]))
			continue;
		autofree char *field = xprintf("spec.ipFamilies[%u]", i);
		error_cause(err, "FieldValueInvalid", field, "Invalid value: \"%s\": not configured on this cluster", spec->ip_families.items[i]);
	}
	rc = invalid_service(err, service);
	if (rc < 0)
		return rc;
	if (!spec->ip_families.len)
		api_string_list_add(arena, &spec->ip_families, first);
	if (!single && spec->ip_families.len == 1 && a->primary_count == 2)
		api_string_list_add(arena, &spec->ip_families, other_family(spec->ip_families.items[0]));
	return 0;
}
