/* SPDX-License-Identifier: Apache-2.0 */
/* What of other kinds than pods is taken but odd: old fields, labels and annotations, and what will not do what it seems to say. */
#include "apiserver/validation/validation.h"
#include "api/apiextensions_v1.h"
#include "api/apps_v1.h"
#include "api/batch_v1.h"
#include "api/discovery_v1.h"
#include "api/networking_v1.h"
#include "api/resource_v1.h"
#include "api/storage_v1.h"

#include <ctype.h>

/* ---- other kinds ---- */

#define POD_NAMES "Pod names and hostnames"

CHECK(apps_v1_deployment, deployment) {
	if (!old)
		warn_of_name(&deployment->metadata, POD_NAMES, err);
}

CHECK(apps_v1_replica_set, set) {
	if (!old)
		warn_of_name(&set->metadata, POD_NAMES, err);
}

CHECK(core_v1_replication_controller, rc) {
	if (!old)
		warn_of_name(&rc->metadata, POD_NAMES, err);
}

CHECK(batch_v1_cron_job, job) {
	if (!old)
		warn_of_name(&job->metadata, POD_NAMES, err);
}

CHECK(apps_v1_stateful_set_spec, spec) {
	if (spec->revision_history_limit && *spec->revision_history_limit < 0)
		warn(err, AT("revisionHistoryLimit"), "a negative value retains all historical revisions; a value >= 0 is recommended");
}

CHECK(batch_v1_job, job) {
	const struct batch_v1_job_spec *spec = &job->spec;
	if (!old)
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

CHECK(core_v1_persistent_volume, volume) {
	const struct core_v1_persistent_volume_spec *spec = &volume->spec;
	const struct { const void *source; const char *name, *text; } old_ones[] = {
		{spec->cephfs, "cephfs", "deprecated in v1.28, non-functional in v1.31+"}, {spec->photon_persistent_disk, "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"},
		{spec->scale_io, "scaleIO", "deprecated in v1.16, non-functional in v1.22+"}, {spec->storageos, "storageOS", "deprecated in v1.22, non-functional in v1.25+"},
		{spec->glusterfs, "glusterfs", "deprecated in v1.25, non-functional in v1.26+"}, {spec->rbd, "rbd", "deprecated in v1.28, non-functional in v1.31+"},
	};
	static const struct { const char *key, *text; } annotations[] = {
		{"volume.beta.kubernetes.io/storage-class", "deprecated since v1.8; use \"storageClassName\" attribute instead"}, {"volume.beta.kubernetes.io/mount-options", "deprecated since v1.31; use \"mountOptions\" attribute instead"},
	};
	for (size_t i = 0; i < array_len(annotations); i++)
		if (api_map_get(&volume->metadata.annotations, annotations[i].key))
			warn(err, &PATH_KEY(AT("metadata"), "annotations", annotations[i].key), "%s", annotations[i].text);
	at = AT("spec");
	if (str_equal(spec->persistent_volume_reclaim_policy, "Recycle"))
		warn(err, AT("persistentVolumeReclaimPolicy"), "The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.");
	const struct core_v1_node_selector *needed = spec->node_affinity ? spec->node_affinity->required : NULL;
	for (uint32_t i = 0; needed && i < needed->node_selector_terms.len; i++)
		warn_of_node_term(&needed->node_selector_terms.items[i], false, &PATH_INDEX(&PATH(AT("nodeAffinity"), "required"), "nodeSelectorTerms", i), err);
	for (size_t i = 0; i < array_len(old_ones); i++)
		if (old_ones[i].source)
			warn(err, AT(old_ones[i].name), "%s", old_ones[i].text);
}

CHECK(core_v1_persistent_volume_claim, claim) {
	if (claim != c->object)
		return; /* a template */
	if (api_map_get(&claim->metadata.annotations, "volume.beta.kubernetes.io/storage-class"))
		warn(err, &PATH_KEY(AT("metadata"), "annotations", "volume.beta.kubernetes.io/storage-class"), "deprecated since v1.8; use \"storageClassName\" attribute instead");
	warn_of_claim(&claim->spec, AT("spec"), err);
}

const struct checker warnings_other[] = {
	ROW(core_v1_persistent_volume), ROW(core_v1_persistent_volume_claim),
	ROW(apps_v1_deployment), ROW(apps_v1_replica_set), ROW(core_v1_replication_controller), ROW(batch_v1_cron_job), ROW(apps_v1_stateful_set_spec), ROW(batch_v1_job), ROW(core_v1_service), ROW(discovery_v1_endpoint_slice),
	ROW(networking_v1_ingress), ROW(apiextensions_v1_json_schema_props), ROW(core_v1_node_spec), ROW(storage_v1_csi_driver_spec),
	ROW(resource_v1_resource_slice_spec), {0},
};
