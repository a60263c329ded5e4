/* SPDX-License-Identifier: Apache-2.0 */
/* What is taken but odd: old fields, labels and annotations, and what will not do what it seems to say. */
#include "apiserver/validation/validation.h"
#include "api/apiextensions_v1.h"
#include "api/apps_v1.h"
#include "api/batch_v1.h"
#include "api/discovery_v1.h"
#include "api/networking_v1.h"
#include "api/resource_v1.h"
#include "api/storage_v1.h"

#include <ctype.h>

struct old_name {
	const char *name, *text;
};

static const struct old_name old_node_labels[] = {
	{"beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"},
	{"beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"},
	{"failure-domain.beta.kubernetes.io/region", "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead"},
	{"failure-domain.beta.kubernetes.io/zone", "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"},
	{"beta.kubernetes.io/instance-type", "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"},
	{"app.kubernetes.io/created-by", "deprecated since v1.9"},
	{"scheduler.alpha.kubernetes.io/preferAvoidPods", "deprecated since v1.22; use Taints and Tolerations instead"},
	{"node-role.kubernetes.io/master", "use \"node-role.kubernetes.io/control-plane\" instead"},
};

static const char *old_node_label(const char *name) {
	for (size_t i = 0; i < array_len(old_node_labels); i++)
		if (str_equal(name, old_node_labels[i].name))
			return old_node_labels[i].text;
	return NULL;
}

static void warn_of_ip(const char *ip, const struct path *at, struct error *err) {
	const char *text = str_empty(ip) || !is_ip_address(ip) ? NULL : format_error(format_ip_canonical, ip);
	if (text && strchr(ip, ':'))
		warn(err, at, "IPv6 address \"%s\" should be in RFC 5952 canonical format", ip);
}

/* ---- pods and templates ---- */

#define NAME_TEXT "which can result in surprising behavior; a DNS label is recommended: [%s]"

static void warn_of_name(const struct meta_v1_object_meta *meta, const char *use, struct error *err) {
	const char *text = str_empty(meta->name) ? NULL : strchr(meta->name, '.') ? "must not contain dots" : format_error(format_dns_label, meta->name);
	if (text)
		warn(err, &PATH(&PATH(NULL, "metadata"), "name"), "this is used in %s, " NAME_TEXT, use, text);
}

static void warn_of_annotations(const struct meta_v1_object_meta *meta, const struct path *at, struct error *err) {
	static const struct old_name old_ones[] = {
		{"scheduler.alpha.kubernetes.io/critical-pod", "non-functional in v1.16+; use the \"priorityClassName\" field instead"},
		{"security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"},
		{"security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"},
		{"seccomp.security.alpha.kubernetes.io/pod", "non-functional in v1.27+; use the \"seccompProfile\" field instead"},
	};
	for (size_t i = 0; i < array_len(old_ones); i++)
		if (api_map_get(&meta->annotations, old_ones[i].name))
			warn(err, &PATH_KEY(AT("metadata"), "annotations", old_ones[i].name), "%s", old_ones[i].text);
	for (uint32_t i = 0; i < meta->annotations.len; i++) {
		const char *key = meta->annotations.items[i].key;
		if (str_starts_with(key, "container.seccomp.security.alpha.kubernetes.io/"))
			warn(err, &PATH_KEY(AT("metadata"), "annotations", key), "non-functional in v1.27+; use the \"seccompProfile\" field instead");
		else if (str_starts_with(key, "container.apparmor.security.beta.kubernetes.io/"))
			warn(err, &PATH_KEY(AT("metadata"), "annotations", key), "deprecated since v1.30; use the \"appArmorProfile\" field instead");
	}
}

CHECK(core_v1_pod, pod) {
	warn_of_name(&pod->metadata, "the Pod's hostname", err);
	warn_of_annotations(&pod->metadata, at, err);
}

CHECK(core_v1_pod_template_spec, template) {
	warn_of_annotations(&template->metadata, at, err);
}

static void warn_of_fractions(const struct api_quantity_map *map, const struct path *at, struct error *err) {
	static const char *const names[] = {"memory", "ephemeral-storage"};
	for (size_t i = 0; i < array_len(names); i++) {
		const struct quantity *q = api_quantity_get(map, names[i]);
		char text[64];
		if (!q || q->nano % NSEC_PER_SEC == 0)
			continue;
		quantity_format(q, text);
		warn(err, &PATH_KEY(at, NULL, names[i]), "fractional byte value \"%s\" is invalid, must be an integer", text);
	}
}

CHECK(core_v1_container, container) {
	const struct path *resources = AT("resources");
	automap struct map seen = MAP_INIT(NULL);
	for (uint32_t i = 0; i < container->env.len; i++)
		if (seen_before(&seen, str_or(container->env.items[i].name, "")))
			warn(err, AT_INDEX("env", i), "hides previous definition of \"%s\", which may be dropped when using apply", container->env.items[i].name);
	warn_of_fractions(&container->resources.limits, &PATH(resources, "limits"), err);
	warn_of_fractions(&container->resources.requests, &PATH(resources, "requests"), err);
}

struct port_seen {
	const struct core_v1_container_port *port;
	const char *list;
	uint32_t container, index;
};

static const char *overlap(const struct core_v1_container_port *a, const struct core_v1_container_port *b) {
	bool same_ip = str_equal(str_or(a->host_ip, ""), str_or(b->host_ip, ""));
	if (same_ip && a->host_port == b->host_port)
		return "duplicate port definition";
	if (!a->host_port || !b->host_port)
		return "overlapping port definition";
	return a->host_port == b->host_port && str_empty(a->host_ip) != str_empty(b->host_ip) ? "dangerously ambiguous port definition" : NULL;
}

static char *port_place(const struct port_seen *seen, const struct path *at) {
	struct buf text = BUF_INIT(64 << 10);
	const struct path container = PATH_INDEX(at, seen->list, seen->container), here = PATH_INDEX(&container, "ports", seen->index);
	path_write(&here, &text);
	return text.data;
}

/* A name stands for the first port that has it. */
static void warn_of_port_names(const struct port_seen *seen, size_t count, const struct path *at, struct error *err) {
	for (size_t i = 0; i < count; i++) {
		size_t first = 0;
		while (!str_equal(seen[first].port->name, seen[i].port->name))
			first++;
		if (first == i || str_empty(seen[i].port->name))
			continue;
		const struct path container = PATH_INDEX(at, seen[i].list, seen[i].container), here = PATH_INDEX(&container, "ports", seen[i].index);
		autofree char *other = port_place(&seen[first], at);
		warn(err, &here, "duplicate port name \"%s\" with %s, services and probes that select ports by name will use %s", seen[i].port->name, other, other);
	}
}

static void warn_of_ports(const struct core_v1_pod_spec *spec, const struct path *at, struct error *err) {
	enum { MAX_PORTS = 256 };
	struct port_seen seen[MAX_PORTS];
	size_t count = 0;
	const struct {
		const struct core_v1_container_array *list;
		const char *name;
	} lists[] = {{&spec->init_containers, "initContainers"}, {&spec->containers, "containers"}};
	for (size_t l = 0; l < array_len(lists); l++)
		for (uint32_t i = 0; i < lists[l].list->len; i++)
			for (uint32_t k = 0; k < lists[l].list->items[i].ports.len && count < MAX_PORTS; k++) {
				const struct core_v1_container_port *port = &lists[l].list->items[i].ports.items[k];
				const struct path container = PATH_INDEX(at, lists[l].name, i), here = PATH_INDEX(&container, "ports", k);
				for (size_t n = 0; n < count; n++) {
					const struct port_seen *other = &seen[n];
					if (other->port->container_port != port->container_port || !str_equal(other->port->protocol, port->protocol))
						continue;
					const char *what = overlap(port, other->port);
					autofree char *place = what ? port_place(other, at) : NULL;
					if (what)
						warn(err, &here, "%s with %s", what, place);
				}
				seen[count++] = (struct port_seen){port, lists[l].name, i, k};
			}
	warn_of_port_names(seen, count, at, err);
}

CHECK(core_v1_pod_spec, spec) {
	for (uint32_t i = 0; i < spec->node_selector.len; i++) {
		const char *text = old_node_label(spec->node_selector.items[i].key);
		if (text)
			warn(err, AT_KEY("nodeSelector", spec->node_selector.items[i].key), "%s", text);
	}
	automap struct map addresses = MAP_INIT(NULL), secrets = MAP_INIT(NULL);
	for (uint32_t i = 0; i < spec->host_aliases.len; i++) {
		const char *ip = spec->host_aliases.items[i].ip;
		if (seen_before(&addresses, str_or(ip, "")))
			warn(err, &PATH(AT_INDEX("hostAliases", i), "ip"), "duplicate ip \"%s\"", ip);
		warn_of_ip(ip, &PATH(AT_INDEX("hostAliases", i), "ip"), err);
	}
	for (uint32_t i = 0; i < spec->image_pull_secrets.len; i++) {
		const char *name = str_or(spec->image_pull_secrets.items[i].name, "");
		if (!*name)
			warn(err, &PATH(AT_INDEX("imagePullSecrets", i), "name"), "invalid empty name \"\"");
		else if (seen_before(&secrets, name))
			warn(err, &PATH(AT_INDEX("imagePullSecrets", i), "name"), "duplicate name \"%s\"", name);
	}
	warn_of_fractions(&spec->overhead, AT("overhead"), err);
	if (spec->termination_grace_period_seconds && *spec->termination_grace_period_seconds < 0)
		warn(err, AT("terminationGracePeriodSeconds"), "must be >= 0; negative values are invalid and will be treated as 1");
	for (uint32_t i = 0; spec->dns_config && i < spec->dns_config->nameservers.len; i++)
		warn_of_ip(spec->dns_config->nameservers.items[i], &PATH_INDEX(AT("dnsConfig"), "nameservers", i), err);
	warn_of_ports(spec, at, err);
}

CHECK(core_v1_topology_spread_constraint, constraint) {
	const char *text = old_node_label(constraint->topology_key);
	if (text)
		warn(err, AT("topologyKey"), "%s is %s", constraint->topology_key, text);
	if (!constraint->label_selector)
		warn(err, AT("labelSelector"), "a null labelSelector results in matching no pod");
}

CHECK(core_v1_pod_affinity_term, term) {
	if (!term->label_selector)
		warn(err, AT("labelSelector"), "a null labelSelector results in matching no pod");
}

CHECK(core_v1_node_selector_requirement, requirement) {
	const char *text = old_node_label(requirement->key);
	if (text)
		warn(err, AT("key"), "%s is %s", requirement->key, text);
}

static void warn_of_sources(const struct api_type *type, const void *value, const struct path *at, struct error *err) {
	static const struct old_name old_ones[] = {
		{"photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"}, {"gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"}, {"scaleIO", "deprecated in v1.16, non-functional in v1.22+"},
		{"flocker", "deprecated in v1.22, non-functional in v1.25+"}, {"storageos", "deprecated in v1.22, non-functional in v1.25+"}, {"quobyte", "deprecated in v1.22, non-functional in v1.25+"},
		{"glusterfs", "deprecated in v1.25, non-functional in v1.26+"}, {"cephfs", "deprecated in v1.28, non-functional in v1.31+"}, {"rbd", "deprecated in v1.28, non-functional in v1.31+"},
	};
	for (size_t i = 0; i < array_len(old_ones); i++) {
		size_t offset;
		const struct api_field *f = api_field_find(type, old_ones[i].name, strlen(old_ones[i].name), &offset);
		if (f && api_field_is_set(f, (const char *)value + offset))
			warn(err, AT(str_equal(old_ones[i].name, "storageos") ? "storageOS" : old_ones[i].name), "%s", old_ones[i].text);
	}
}

CHECK(core_v1_volume, volume) {
	static const struct path nowhere = {.index = -1};
	static const struct core_v1_volume_projection none;
	for (uint32_t i = 0; volume->projected && i < volume->projected->sources.len; i++)
		if (api_equal(&core_v1_volume_projection_type, &volume->projected->sources.items[i], &none))
			warn(err, &nowhere, "volume \"%s\" (Projected) has no sources provided", str_or(volume->name, ""));
	warn_of_sources(&core_v1_volume_type, volume, at, err);
}

CHECK(core_v1_persistent_volume_spec, spec) {
	warn_of_sources(&core_v1_persistent_volume_spec_type, spec, at, err);
	if (str_equal(spec->persistent_volume_reclaim_policy, "Recycle"))
		warn(err, AT("persistentVolumeReclaimPolicy"), "The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.");
}

const struct checker warnings_pod[] = {
	ROW(core_v1_pod), ROW(core_v1_pod_template_spec), ROW(core_v1_pod_spec), ROW(core_v1_container), ROW(core_v1_topology_spread_constraint), ROW(core_v1_pod_affinity_term), ROW(core_v1_node_selector_requirement),
	ROW(core_v1_volume), ROW(core_v1_persistent_volume_spec), {0},
};

/* ---- other kinds ---- */

#define POD_NAMES "Pod names and hostnames"

CHECK(apps_v1_deployment, deployment) {
	warn_of_name(&deployment->metadata, POD_NAMES, err);
}

CHECK(apps_v1_replica_set, set) {
	warn_of_name(&set->metadata, POD_NAMES, err);
}

CHECK(core_v1_replication_controller, rc) {
	warn_of_name(&rc->metadata, POD_NAMES, err);
}

CHECK(batch_v1_cron_job, job) {
	warn_of_name(&job->metadata, POD_NAMES, err);
}

CHECK(apps_v1_stateful_set_spec, spec) {
	if (spec->revision_history_limit && *spec->revision_history_limit < 0)
		warn(err, AT("revisionHistoryLimit"), "a negative value retains all historical revisions; a value >= 0 is recommended");
}

CHECK(batch_v1_job, job) {
	const struct batch_v1_job_spec *spec = &job->spec;
	warn_of_name(&job->metadata, POD_NAMES, err);
	if (str_equal(spec->completion_mode, "Indexed") && spec->completions && spec->parallelism && *spec->completions > 100000 && *spec->parallelism > 10000)
		warn(err, AT("spec"), "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail");
}

CHECK(core_v1_service, service) {
	const struct core_v1_service_spec *spec = &service->spec;
	const char *hints = "service.kubernetes.io/topology-aware-hints";
	bool external = str_equal(spec->type, "ExternalName");
	if (api_map_get(&service->metadata.annotations, hints))
		warn(err, NULL, "annotation %s is deprecated, please use service.kubernetes.io/topology-mode instead", hints);
	bool headless = spec->cluster_ips.len == 1 && str_equal(spec->cluster_ips.items[0], "None");
	if (headless && !str_empty(spec->load_balancer_ip))
		warn(err, NULL, "spec.loadBalancerIP is ignored for headless services");
	if (headless && spec->external_ips.len)
		warn(err, NULL, "spec.externalIPs is ignored for headless services");
	if (headless && !str_equal(spec->session_affinity, "None"))
		warn(err, NULL, "spec.SessionAffinity is ignored for headless services");
	if (spec->external_ips.len && external)
		warn(err, NULL, "spec.externalIPs is ignored when spec.type is \"ExternalName\"");
	else if (spec->external_ips.len && !headless)
		warn(err, NULL, "spec.externalIPs is deprecated and may no longer be implemented in some clusters");
	if (!str_empty(spec->external_name) && !external)
		warn(err, NULL, "spec.externalName is ignored when spec.type is not \"ExternalName\"");
	if (str_equal(spec->traffic_distribution, "PreferClose"))
		warn(err, &PATH(AT("spec"), "trafficDistribution"), "\"PreferClose\" is deprecated; use \"PreferSameZone\"");
}

CHECK(discovery_v1_endpoint_slice, slice) {
	if (str_equal(slice->address_type, "FQDN"))
		warn(err, &PATH(AT("spec"), "addressType"), "FQDN endpoints are deprecated");
}

CHECK(networking_v1_ingress, ingress) {
	if (api_map_get(&ingress->metadata.annotations, "kubernetes.io/ingress.class") && str_empty(ingress->spec.ingress_class_name))
		warn(err, NULL, "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead");
}

/* ---- formats of custom resources that no server looks at ---- */

static bool format_is_known(const char *type, const char *format) {
	static const char *const numbers[][3] = {{"integer", "int32", "int64"}, {"number", "float", "double"}};
	static const char *const texts[] = {
		"bsonobjectid", "uri", "email", "hostname", "ipv4", "ipv6", "cidr", "mac", "uuid", "uuid3", "uuid4", "uuid5", "isbn", "isbn10", "isbn13", "creditcard", "ssn", "hexcolor",
		"rgbcolor", "byte", "password", "date", "duration", "datetime", "k8sshortname", "k8slongname",
	};
	for (size_t i = 0; i < array_len(numbers); i++)
		if (str_equal(type, numbers[i][0]))
			return strcmp(format, numbers[i][1]) == 0 || strcmp(format, numbers[i][2]) == 0;
	if (!str_empty(type) && strcmp(type, "string") != 0)
		return false;
	autofree char *plain = xstrdup(format);
	char *end = plain;
	for (const char *p = format; *p; p++)
		if (*p != '-')
			*end++ = *p;
	*end = 0;
	for (size_t i = 0; i < array_len(texts); i++)
		if (strcmp(texts[i], plain) == 0)
			return true;
	return false;
}

CHECK(apiextensions_v1_json_schema_props, schema) {
	static const struct path nowhere = {.index = -1};
	if (!str_empty(schema->format) && !format_is_known(schema->type, schema->format))
		warn(err, &nowhere, "unrecognized format \"%s\"", schema->format);
}

CHECK(core_v1_node_spec, spec) {
	if (!str_empty(spec->external_id))
		warn(err, AT("externalID"), "this field is deprecated, and is unused by Kubernetes");
}

CHECK(resource_v1_resource_slice_spec, spec) {
	for (const char *p = str_or(spec->driver, ""); *p; p++)
		if (isupper((unsigned char)*p)) {
			warn(err, AT("driver"), "driver names should be lowercase; \"%s\" contains uppercase characters", spec->driver);
			return;
		}
}

CHECK(storage_v1_csi_driver_spec, spec) {
	static const struct path nowhere = {.index = -1};
	if (spec->token_requests.len && !spec->service_account_token_in_secrets)
		warn(err, &nowhere, "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible logging of tokens in volume attributes");
}

const struct checker warnings_other[] = {
	ROW(apps_v1_deployment), ROW(apps_v1_replica_set), ROW(core_v1_replication_controller), ROW(batch_v1_cron_job), ROW(apps_v1_stateful_set_spec), ROW(batch_v1_job), ROW(core_v1_service), ROW(discovery_v1_endpoint_slice),
	ROW(networking_v1_ingress), ROW(apiextensions_v1_json_schema_props), ROW(core_v1_node_spec), ROW(storage_v1_csi_driver_spec),
	ROW(resource_v1_resource_slice_spec), {0},
};
