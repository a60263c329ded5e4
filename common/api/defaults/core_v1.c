/* SPDX-License-Identifier: Apache-2.0 */
/* Defaults of core/v1 that depend on other fields. */
#include "api/core_v1.h"

#include <ctype.h>

/* ---- images ---- */

/* True where the reference means the tag latest: it says so, or has neither tag nor digest. What is no reference does not. */
static bool image_is_latest(const char *image) {
	if (str_empty(image))
		return false;
	const char *digest = strchr(image, '@');
	size_t len = digest ? (size_t)(digest - image) : strlen(image);
	const char *name = memrchr(image, '/', len);
	name = name ? name + 1 : image;
	const char *tag = memchr(name, ':', len - (size_t)(name - image));
	for (const char *c = name; c < (tag ? tag : image + len); c++)
		if (!islower((unsigned char)*c) && !isdigit((unsigned char)*c) && !strchr("._-", *c))
			return false;
	if (name == (tag ? tag : image + len))
		return false;
	if (!tag)
		return !digest;
	return (size_t)(image + len - tag) == strlen(":latest") && !strncmp(tag, ":latest", strlen(":latest"));
}

static void default_pull_policy(const char **policy, const char *image) {
	if (str_empty(*policy))
		*policy = image_is_latest(image) ? CORE_V1_PULL_POLICY_ALWAYS : CORE_V1_PULL_POLICY_IF_NOT_PRESENT;
}

void core_v1_container_defaults(void *value, struct arena *arena, const void *root) {
	struct core_v1_container *c = value;
	default_pull_policy(&c->image_pull_policy, c->image);
}

void core_v1_ephemeral_container_defaults(void *value, struct arena *arena, const void *root) {
	struct core_v1_ephemeral_container *c = value;
	default_pull_policy(&c->image_pull_policy, c->image);
}

void core_v1_volume_defaults(void *value, struct arena *arena, const void *root) {
	struct core_v1_volume *v = value;
	bool any = false;
	for (size_t i = 0; i < core_v1_volume_source_type.field_count; i++) {
		const struct api_field *f = &core_v1_volume_source_type.fields[i];
		any |= *(void *const *)((char *)&v->volume_source + f->offset) != NULL;
	}
	if (!any)
		v->empty_dir = arena_new_type(arena, struct core_v1_empty_dir_volume_source);
	if (v->image)
		default_pull_policy(&v->image->pull_policy, v->image->reference);
}

/* ---- pods ---- */

static void requests_from_limits(struct arena *arena, struct core_v1_container_array *containers) {
	for api_list_each (c, containers)
		for api_list_each (limit, &c->resources.limits)
			if (!api_quantity_get(&c->resources.requests, limit->key))
				api_quantity_set(arena, &c->resources.requests, limit->key, limit->value);
}

static void host_ports(struct core_v1_container_array *containers) {
	for api_list_each (c, containers)
		for api_list_each (port, &c->ports)
			if (!port->host_port)
				port->host_port = port->container_port;
}

static void add_all(struct arena *arena, struct api_quantity_map *to, const struct api_quantity_map *from) {
	for api_list_each (entry, from) {
		struct quantity *have = api_quantity_get(to, entry->key);
		if (have)
			quantity_add(have, &entry->value);
		else
			api_quantity_set(arena, to, entry->key, entry->value);
	}
}

static void raise_all(struct arena *arena, struct api_quantity_map *to, const struct api_quantity_map *from) {
	for api_list_each (entry, from) {
		const struct quantity *have = api_quantity_get(to, entry->key);
		if (!have || quantity_compare(have, &entry->value) < 0)
			api_quantity_set(arena, to, entry->key, entry->value);
	}
}

static void copy_all(struct arena *arena, struct api_quantity_map *to, const struct api_quantity_map *from) {
	for api_list_each (entry, from)
		api_quantity_set(arena, to, entry->key, entry->value);
}

static bool is_sidecar(const struct core_v1_container *c) {
	return str_equal(c->restart_policy, CORE_V1_CONTAINER_RESTART_POLICY_ALWAYS);
}

/*
 * What the pod needs at its widest: the containers and sidecars together, or one init container beside the sidecars
 * started before it.
 */
static void aggregate(struct arena *arena, const struct core_v1_pod_spec *spec, bool limits, struct api_quantity_map *total) {
	struct api_quantity_map sidecars = {0}, widest = {0};
	for api_list_each (c, &spec->containers)
		add_all(arena, total, limits ? &c->resources.limits : &c->resources.requests);
	for api_list_each (c, &spec->init_containers) {
		const struct api_quantity_map *own = limits ? &c->resources.limits : &c->resources.requests;
		struct api_quantity_map here = {0};
		if (is_sidecar(c)) {
			add_all(arena, total, own);
			add_all(arena, &sidecars, own);
			copy_all(arena, &here, &sidecars);
		} else {
			copy_all(arena, &here, own);
			add_all(arena, &here, &sidecars);
		}
		raise_all(arena, &widest, &here);
	}
	raise_all(arena, total, &widest);
}

static bool is_pod_level(const char *name) {
	return !strcmp(name, "cpu") || !strcmp(name, "memory") || str_starts_with(name, "hugepages-");
}

static void default_pod_resources(struct arena *arena, struct core_v1_pod_spec *spec) {
	struct core_v1_resource_requirements *r = spec->resources;
	if (!r || (!r->limits.len && !r->requests.len))
		return;
	struct api_quantity_map limits = {0}, requests = {0};
	aggregate(arena, spec, true, &limits);
	for api_list_each (entry, &limits)
		if (str_starts_with(entry->key, "hugepages-") && !api_quantity_get(&r->limits, entry->key) && !api_quantity_get(&r->requests, entry->key))
			api_quantity_set(arena, &r->limits, entry->key, entry->value);
	if (r->limits.len) {
		aggregate(arena, spec, false, &requests);
		for api_list_each (entry, &requests)
			if (is_pod_level(entry->key) && !str_starts_with(entry->key, "hugepages-") && !api_quantity_get(&r->requests, entry->key))
				api_quantity_set(arena, &r->requests, entry->key, entry->value);
	}
	for api_list_each (entry, &r->limits)
		if (is_pod_level(entry->key) && !api_quantity_get(&r->requests, entry->key))
			api_quantity_set(arena, &r->requests, entry->key, entry->value);
}

/* The old name of serviceAccountName always says the same. */
void core_v1_pod_spec_defaults(void *value, struct arena *arena, const void *root) {
	struct core_v1_pod_spec *spec = value;
	if (str_empty(spec->service_account_name))
		spec->service_account_name = spec->service_account;
	spec->service_account = spec->service_account_name;
}

void core_v1_pod_defaults(void *value, struct arena *arena, const void *root) {
	struct core_v1_pod *pod = value;
	requests_from_limits(arena, &pod->spec.containers);
	requests_from_limits(arena, &pod->spec.init_containers);
	default_pod_resources(arena, &pod->spec);
	if (!pod->spec.enable_service_links)
		pod->spec.enable_service_links = api_bool(arena, true);
	if (pod->spec.host_network) {
		host_ports(&pod->spec.containers);
		host_ports(&pod->spec.init_containers);
	}
}

/* ---- the rest ---- */

void core_v1_replication_controller_defaults(void *value, struct arena *arena, const void *root) {
	struct core_v1_replication_controller *rc = value;
	if (!rc->spec.template)
		return;
	const struct api_string_map *labels = &rc->spec.template->metadata.labels;
	if (!rc->spec.selector.len)
		api_copy_string_map(arena, &rc->spec.selector, labels);
	if (!rc->metadata.labels.len)
		api_copy_string_map(arena, &rc->metadata.labels, labels);
}

static void default_session_affinity(struct arena *arena, struct core_v1_service_spec *spec) {
	if (str_empty(spec->session_affinity) || str_equal(spec->session_affinity, CORE_V1_SERVICE_AFFINITY_NONE))
		spec->session_affinity_config = NULL;
	if (!str_equal(spec->session_affinity, CORE_V1_SERVICE_AFFINITY_CLIENT_IP))
		return;
	struct core_v1_session_affinity_config *config = spec->session_affinity_config;
	if (!config)
		config = spec->session_affinity_config = arena_new_type(arena, struct core_v1_session_affinity_config);
	if (!config->client_ip)
		config->client_ip = arena_new_type(arena, struct core_v1_client_ip_config);
	if (!config->client_ip->timeout_seconds)
		config->client_ip->timeout_seconds = api_int32(arena, 10800);
}

void core_v1_service_defaults(void *value, struct arena *arena, const void *root) {
	struct core_v1_service *service = value;
	struct core_v1_service_spec *spec = &service->spec;
	default_session_affinity(arena, spec);
	if (str_empty(spec->type))
		spec->type = CORE_V1_SERVICE_TYPE_CLUSTER_IP;
	for api_list_each (port, &spec->ports)
		if (port->target_port.str ? !*port->target_port.str : !port->target_port.num)
			port->target_port = (struct int_or_string){.num = port->port};
	bool balanced = str_equal(spec->type, CORE_V1_SERVICE_TYPE_LOAD_BALANCER);
	bool node_port = str_equal(spec->type, CORE_V1_SERVICE_TYPE_NODE_PORT);
	bool cluster_ip = str_equal(spec->type, CORE_V1_SERVICE_TYPE_CLUSTER_IP);
	if (str_empty(spec->external_traffic_policy) && (balanced || node_port || (cluster_ip && spec->external_ips.len)))
		spec->external_traffic_policy = CORE_V1_SERVICE_EXTERNAL_TRAFFIC_POLICY_CLUSTER;
	if (!spec->internal_traffic_policy && (balanced || node_port || cluster_ip))
		spec->internal_traffic_policy = CORE_V1_SERVICE_INTERNAL_TRAFFIC_POLICY_CLUSTER;
	if (!balanced)
		return;
	if (!spec->allocate_load_balancer_node_ports)
		spec->allocate_load_balancer_node_ports = api_bool(arena, true);
	for api_list_each (ingress, &service->status.load_balancer.ingress)
		if (!str_empty(ingress->ip) && !ingress->ip_mode)
			ingress->ip_mode = CORE_V1_LOAD_BALANCER_IP_MODE_VIP;
}

void core_v1_persistent_volume_defaults(void *value, struct arena *arena, const void *root) {
	struct core_v1_persistent_volume *pv = value;
	if (str_empty(pv->spec.persistent_volume_reclaim_policy))
		pv->spec.persistent_volume_reclaim_policy = CORE_V1_PERSISTENT_VOLUME_RECLAIM_POLICY_RETAIN;
	if (!pv->spec.volume_mode)
		pv->spec.volume_mode = CORE_V1_PERSISTENT_VOLUME_MODE_FILESYSTEM;
}

void core_v1_namespace_defaults(void *value, struct arena *arena, const void *root) {
	struct core_v1_namespace *ns = value;
	if (!str_empty(ns->metadata.name))
		api_map_set(arena, &ns->metadata.labels, "kubernetes.io/metadata.name", ns->metadata.name);
}

void core_v1_node_status_defaults(void *value, struct arena *arena, const void *root) {
	struct core_v1_node_status *status = value;
	if (!status->allocatable.items && status->capacity.len)
		copy_all(arena, &status->allocatable, &status->capacity);
}

static void fill_missing(struct arena *arena, struct api_quantity_map *to, const struct api_quantity_map *from) {
	for api_list_each (entry, from)
		if (!api_quantity_get(to, entry->key))
			api_quantity_set(arena, to, entry->key, entry->value);
}

void core_v1_limit_range_item_defaults(void *value, struct arena *arena, const void *root) {
	struct core_v1_limit_range_item *item = value;
	if (!str_equal(item->type, CORE_V1_LIMIT_TYPE_CONTAINER))
		return;
	fill_missing(arena, &item->default_, &item->max);
	fill_missing(arena, &item->default_request, &item->default_);
	fill_missing(arena, &item->default_request, &item->min);
}
