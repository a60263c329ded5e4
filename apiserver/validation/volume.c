/* SPDX-License-Identifier: Apache-2.0 */
/* Volumes of pods, and the sources that volumes and persistent volumes share. */
#include "apiserver/validation/validation.h"

#include <ctype.h>
#include <strings.h>

/* In the order in which Kubernetes looks, and under the names that it tells. */
static const struct union_member sources[] = {
	{.field = "emptyDir"},
	{.field = "hostPath"}, {.field = "gitRepo"}, {.field = "gcePersistentDisk", .inside = "persistentDisk"}, {.field = "awsElasticBlockStore"},
	{.field = "secret"}, {.field = "nfs"}, {.field = "iscsi"}, {.field = "glusterfs"}, {.field = "flocker"}, {.field = "persistentVolumeClaim"},
	{.field = "rbd"}, {.field = "cinder"}, {.field = "cephfs", .surplus = "cephFS"}, {.field = "quobyte"},
	{.field = "downwardAPI", .surplus = "downwarAPI"}, {.field = "fc"}, {.field = "flexVolume"}, {.field = "configMap"}, {.field = "azureFile"},
	{.field = "vsphereVolume"}, {.field = "photonPersistentDisk"}, {.field = "portworxVolume"}, {.field = "azureDisk"}, {.field = "storageos"},
	{.field = "projected"}, {.field = "scaleIO"}, {.field = "csi"}, {.field = "ephemeral"}, {.field = "image"}, {0},
};

CHECK(core_v1_volume, volume) {
	check_union(&core_v1_volume_source_type, &volume->volume_source, sources, "volume type", at, err);
	const struct core_v1_iscsi_volume_source *iscsi = volume->iscsi;
	size_t from = err->cause_count;
	if (iscsi && iscsi->initiator_name && strlen(str_or(volume->name, "")) + strlen(str_or(iscsi->target_portal, "")) + 1 > 64)
		invalid(err, AT("name"), volume->name, "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.");
	tell_at(&PATH(AT("iscsi"), "~name"), from, err);
	const struct core_v1_pod *pod = c->object && api_type_of(c->object) == &core_v1_pod_type ? c->object : NULL;
	from = err->cause_count;
	if (volume->ephemeral && pod && !str_empty(pod->metadata.name) && !str_empty(volume->name)) {
		autofree char *claim = xprintf("%s-%s", pod->metadata.name, volume->name);
		const char *text = format_error(format_dns_subdomain, claim);
		if (text)
			invalid(err, AT("name"), volume->name, "PVC name \"%s\": %s", claim, text);
	}
	tell_at(&PATH(AT("ephemeral"), "~name"), from, err);
	if (volume->image && pod && str_empty(volume->image->reference))
		required(err, &PATH(AT("image"), "reference"), NULL);
}

CHECK(core_v1_empty_dir_volume_source, source) {
	if (source->size_limit.set && source->size_limit.nano < 0)
		forbidden(err, AT("sizeLimit"), "SizeLimit field must be a valid resource quantity");
}

CHECK(core_v1_config_map_volume_source, source) {
	check_needed(NULL, source->name, AT("name"), err);
}

CHECK(core_v1_ephemeral_volume_source, source) {
	if (!source->volume_claim_template)
		required(err, AT("volumeClaimTemplate"), NULL);
}

CHECK(core_v1_persistent_volume_claim_template, template) {
	check_template_meta(&template->metadata, AT("metadata"), err);
}

CHECK(core_v1_csi_volume_source, source) {
	const struct core_v1_local_object_reference *ref = source->node_publish_secret_ref;
	if (ref && str_empty(ref->name))
		required(err, &PATH(AT("nodePublishSecretRef"), "name"), NULL);
	else if (ref)
		check_format(format_dns_subdomain, ref->name, AT("name"), err);
}

CHECK(core_v1_fc_volume_source, fc) {
	if (!fc->target_wwns.len && !fc->wwids.len)
		required(err, AT("targetWWNs"), "must specify either targetWWNs or wwids, but not both");
	if (fc->target_wwns.len && fc->wwids.len)
		invalid_list(err, AT("targetWWNs"), &fc->target_wwns, "targetWWNs and wwids can not be specified simultaneously");
	if (fc->target_wwns.len && !fc->lun)
		required(err, AT("lun"), "lun is required if targetWWNs is specified");
	else if (fc->target_wwns.len)
		check_range(*fc->lun, 0, 255, AT("lun"), err);
}

CHECK(core_v1_flocker_volume_source, flocker) {
	if (str_empty(flocker->dataset_name) && str_empty(flocker->dataset_uuid))
		required(err, at, "one of datasetName and datasetUUID is required");
	if (!str_empty(flocker->dataset_name) && !str_empty(flocker->dataset_uuid))
		invalid(err, at, "resource", "datasetName and datasetUUID can not be specified simultaneously");
	if (strchr(str_or(flocker->dataset_name, ""), '/'))
		invalid(err, AT("datasetName"), flocker->dataset_name, "must not contain '/'");
}

static void check_flex_options(const struct api_string_map *options, const struct path *at, struct error *err) {
	for (uint32_t i = 0; i < options->len; i++) {
		const char *key = options->items[i].key;
		autofree char *space = xprintf(".%.*s", (int)min_of(strcspn(key, "/"), (size_t)1024), key);
		for (char *p = space; *p; p++)
			*p = (char)tolower((unsigned char)*p);
		if (str_ends_with(space, ".kubernetes.io") || str_ends_with(space, ".k8s.io"))
			invalid(err, AT_KEY("options", key), key, "kubernetes.io and k8s.io namespaces are reserved");
	}
}

CHECK(core_v1_flex_volume_source, source) {
	check_flex_options(&source->options, at, err);
}

CHECK(core_v1_flex_persistent_volume_source, source) {
	check_flex_options(&source->options, at, err);
}

/* iqn.2001-04.com.example:storage, eui.<16>, naa.<32> */
static bool is_initiator(const char *name) {
	size_t len = strlen(name), rest;
	if (str_starts_with(name, "eui") || str_starts_with(name, "naa")) {
		rest = *name == 'e' ? 16 : 32;
		bool good = len == 4 + rest;
		for (size_t i = 4; good && i < len; i++)
			good = isalnum((unsigned char)name[i]);
		return good;
	}
	const char *date = str_starts_with(name, "iqn.") ? name + 4 : "";
	for (size_t i = 0; i < 7; i++)
		if (!date[i] || (i == 4 ? date[i] != '-' : !isdigit((unsigned char)date[i])))
			return false;
	const char *authority = date[7] == '.' ? date + 8 : "", *colon = strchr(authority, ':');
	if (!colon || colon == authority || !colon[1])
		return false;
	for (const char *p = authority; p < colon; p++)
		if (!isalnum((unsigned char)*p) && *p != '-' && *p != '.')
			return false;
	return !strpbrk(colon + 1, ",;*&$| \t\r\n");
}

static void check_initiator(const char *name, const struct path *at, struct error *err) {
	if (!str_starts_with(name, "iqn") && !str_starts_with(name, "eui") && !str_starts_with(name, "naa"))
		invalid(err, at, name, "must be valid format");
	else if (!is_initiator(name))
		invalid(err, at, name, "must be valid format");
}

/* Both iSCSI sources, whose fields have the same names. */
#define CHECK_ISCSI(iscsi_) \
	do { \
		if (!str_empty((iscsi_)->iqn)) \
			check_initiator((iscsi_)->iqn, AT("iqn"), err); \
		if (((iscsi_)->chap_auth_discovery || (iscsi_)->chap_auth_session) && !(iscsi_)->secret_ref) \
			required(err, AT("secretRef"), NULL); \
		if ((iscsi_)->initiator_name) \
			check_initiator((iscsi_)->initiator_name, AT("initiatorname"), err); \
	} while (0)

CHECK(core_v1_iscsi_volume_source, iscsi) {
	CHECK_ISCSI(iscsi);
}

CHECK(core_v1_iscsi_persistent_volume_source, iscsi) {
	CHECK_ISCSI(iscsi);
	if (iscsi->secret_ref)
		check_needed(NULL, iscsi->secret_ref->name, &PATH(AT("secretRef"), "name"), err);
}

/* host:port, [host]:port: one colon outside brackets. */
static bool is_host_and_port(const char *text, size_t len) {
	const char *close = *text == '[' ? memchr(text, ']', len) : NULL, *rest = close ? close + 1 : text;
	const char *colon = memchr(rest, ':', len - (size_t)(rest - text));
	return colon && !(close && colon != rest) && !(*text == '[' && !close) && !memchr(colon + 1, ':', len - (size_t)(colon + 1 - text));
}

CHECK(core_v1_host_path_volume_source, source) {
	if (str_empty(source->path))
		drop_judgement(AT("type"), err);
}

CHECK(core_v1_quobyte_volume_source, quobyte) {
	const char *text = "must be a host:port pair or multiple pairs separated by commas";
	if (str_empty(quobyte->registry))
		required(err, AT("registry"), text);
	else if (strlen(str_or(quobyte->tenant, "")) >= 65)
		required(err, AT("tenant"), "must be a UUID and may not exceed a length of 64 characters");
	else
		for (const char *p = quobyte->registry; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL)
			if (!is_host_and_port(p, strcspn(p, ",")))
				invalid(err, AT("registry"), quobyte->registry, "%s", text);
}

CHECK(core_v1_azure_disk_volume_source, disk) {
	static const char *const managed[] = {"/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}", NULL};
	static const char *const blob[] = {"https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd", NULL};
	if (!disk->kind)
		return;
	size_t from = err->cause_count;
	bool is_managed = strcmp(disk->kind, "Managed") == 0;
	if (!str_starts_with(str_or(disk->disk_uri, ""), is_managed ? "/subscriptions/" : "https://"))
		not_supported(err, AT("diskURI"), disk->disk_uri, is_managed ? managed : blob);
	tell_at(AT("~format"), from, err);
}

CHECK(core_v1_azure_file_persistent_volume_source, file) {
	if (file->secret_namespace && !*file->secret_namespace)
		required(err, AT("secretNamespace"), NULL);
}

static void check_secret(bool there, const char *name, const struct path *at, struct error *err) {
	if (there && str_empty(name))
		required(err, &PATH(AT("secretRef"), "name"), NULL);
}

CHECK(core_v1_cinder_volume_source, source) {
	check_secret(source->secret_ref, source->secret_ref ? source->secret_ref->name : NULL, at, err);
}

CHECK(core_v1_storage_os_volume_source, source) {
	check_secret(source->secret_ref, source->secret_ref ? source->secret_ref->name : NULL, at, err);
}

CHECK(core_v1_cinder_persistent_volume_source, source) {
	check_secret(source->secret_ref, source->secret_ref ? source->secret_ref->name : NULL, at, err);
	if (source->secret_ref && str_empty(source->secret_ref->namespace))
		required(err, &PATH(AT("secretRef"), "namespace"), NULL);
}

CHECK(core_v1_storage_os_persistent_volume_source, source) {
	check_secret(source->secret_ref, source->secret_ref ? source->secret_ref->name : NULL, at, err);
	if (source->secret_ref && str_empty(source->secret_ref->namespace))
		required(err, &PATH(AT("secretRef"), "namespace"), NULL);
}

CHECK(core_v1_csi_persistent_volume_source, csi) {
	const struct { const struct core_v1_secret_reference *ref; const char *name; } refs[] = {
		{csi->controller_publish_secret_ref, "controllerPublishSecretRef"}, {csi->controller_expand_secret_ref, "controllerExpandSecretRef"},
		{csi->node_publish_secret_ref, "nodePublishSecretRef"}, {csi->node_expand_secret_ref, "nodeExpandSecretRef"},
	};
	for (size_t i = 0; i < array_len(refs); i++)
		if (refs[i].ref) {
			check_needed(format_dns_subdomain, refs[i].ref->name, &PATH(AT(refs[i].name), "name"), err);
			check_needed(format_dns_label, refs[i].ref->namespace, &PATH(AT(refs[i].name), "namespace"), err);
		}
}

/* ---- projected volumes ---- */

/* What is wrong with a file of the downward API is told of the volume. */
static void move_items(size_t count, const struct path *at, struct error *err) {
	tell_field_at(AT("items"), AT("items"), err);
	for (size_t i = 0; i < count; i++)
		move_causes(AT_INDEX("items", i), at, err);
}

CHECK(core_v1_downward_api_volume_source, source) {
	move_items(source->items.len, at, err);
}

CHECK(core_v1_downward_api_projection, source) {
	move_items(source->items.len, at, err);
}

/* Every file of a projected volume has a path of its own. */
static void take_path(struct map *seen, const char *file, const char *value, const struct path *place, const struct path *at, struct error *err) {
	size_t from = err->cause_count;
	if (!str_empty(file) && seen_before(seen, file))
		invalid(err, at, value, "conflicting duplicate paths");
	tell_at(&PATH(place, "~twice"), from, err);
}

static void take_items(struct map *seen, const struct core_v1_key_to_path_array *items, const char *value, const struct path *source, const struct path *at, struct error *err) {
	for (uint32_t i = 0; i < items->len; i++)
		take_path(seen, items->items[i].path, value, &PATH_INDEX(source, "items", i), at, err);
}

CHECK(core_v1_projected_volume_source, projected) {
	automap struct map seen = MAP_INIT(NULL);
	for (uint32_t i = 0; i < projected->sources.len; i++) {
		const struct core_v1_volume_projection *s = &projected->sources.items[i];
		struct path source = PATH_INDEX(at, "sources", i);
		int count = !!s->secret + !!s->config_map + !!s->downward_api + !!s->service_account_token + !!s->cluster_trust_bundle + !!s->pod_certificate;
		struct path secret = PATH(&source, "secret"), map = PATH(&source, "configMap"), downward = PATH(&source, "downwardAPI"), token = PATH(&source, "serviceAccountToken");
		struct path bundle = PATH(&source, "clusterTrustBundle"), own = PATH(&source, "podCertificate");
		if (s->secret) {
			check_needed(NULL, s->secret->name, &PATH(&secret, "name"), err);
			take_items(&seen, &s->secret->items, s->secret->name, &secret, at, err);
		}
		if (s->config_map) {
			check_needed(NULL, s->config_map->name, &PATH(&map, "name"), err);
			take_items(&seen, &s->config_map->items, s->config_map->name, &map, at, err);
		}
		for (uint32_t n = 0; s->downward_api && n < s->downward_api->items.len; n++)
			take_path(&seen, s->downward_api->items.items[n].path, s->downward_api->items.items[n].path, &PATH_INDEX(&downward, "items", n), at, err);
		if (s->service_account_token) {
			tell_field_at(&PATH(&token, "path"), &PATH(&token, "path"), err);
			move_causes(&PATH(&token, "path"), AT("path"), err);
		}
		if (s->cluster_trust_bundle)
			take_path(&seen, s->cluster_trust_bundle->path, s->cluster_trust_bundle->path, &bundle, at, err);
		const struct core_v1_pod_certificate_projection *certificate = s->pod_certificate;
		const char *paths[] = {certificate ? certificate->credential_bundle_path : NULL, certificate ? certificate->key_path : NULL, certificate ? certificate->certificate_chain_path : NULL};
		for (size_t n = 0; n < array_len(paths); n++)
			take_path(&seen, paths[n], paths[n], &own, at, err);
		size_t from = err->cause_count;
		if (count > 1)
			forbidden(err, &source, "may not specify more than 1 volume type per source");
		tell_at(&PATH(&source, "~many"), from, err);
	}
}

CHECK(core_v1_service_account_token_projection, token) {
	int64_t seconds = token->expiration_seconds ? *token->expiration_seconds : 3600;
	if (seconds < 600)
		invalid_int(err, AT("expirationSeconds"), seconds, "may not specify a duration less than 10 minutes");
	if (seconds > (int64_t)1 << 32)
		invalid_int(err, AT("expirationSeconds"), seconds, "may not specify a duration larger than 2^32 seconds");
}

CHECK(core_v1_cluster_trust_bundle_projection, bundle) {
	if (bundle->name && bundle->signer_name)
		invalid_struct(err, at, &core_v1_cluster_trust_bundle_projection_type, bundle, "only one of name and signerName may be used");
	else if (bundle->name) {
		if (!*bundle->name)
			required(err, AT("name"), "must be a valid object name");
		if (bundle->label_selector)
			invalid_struct(err, AT("labelSelector"), &meta_v1_label_selector_type, bundle->label_selector, "labelSelector must be unset if name is specified");
	} else if (bundle->signer_name) {
		if (!*bundle->signer_name)
			required(err, AT("signerName"), "must be a valid signer name");
		check_signer_name(bundle->signer_name, AT("signerName"), err);
	} else {
		required(err, at, "either name or signerName must be specified");
	}
}

CHECK(core_v1_pod_certificate_projection, p) {
	static const char *const keys[] = {"RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519", NULL};
	check_signer_name(p->signer_name, AT("signerName"), err);
	bool known = false;
	for (size_t i = 0; keys[i]; i++)
		known |= str_equal(p->key_type, keys[i]);
	if (!known)
		not_supported(err, AT("keyType"), p->key_type, keys);
	int64_t most = str_starts_with(str_or(p->signer_name, ""), "kubernetes.io/") ? 86400 : 7862400;
	if (p->max_expiration_seconds && *p->max_expiration_seconds < 3600)
		invalid_int(err, AT("maxExpirationSeconds"), *p->max_expiration_seconds, "if provided, maxExpirationSeconds must be >= 3600");
	if (p->max_expiration_seconds && *p->max_expiration_seconds > most)
		invalid_int(err, AT("maxExpirationSeconds"), *p->max_expiration_seconds, "if provided, maxExpirationSeconds must be <= %lld", (long long)most);
	const struct { const char *path, *name; } paths[] = {
		{p->credential_bundle_path, "credentialBundlePath"}, {p->key_path, "keyPath"}, {p->certificate_chain_path, "certificateChainPath"},
	};
	size_t count = 0;
	for (size_t i = 0; i < array_len(paths); i++)
		if (!str_empty(paths[i].path)) {
			count++;
			check_format(format_local_path, paths[i].path, AT(paths[i].name), err);
		}
	if (!count)
		required(err, at, "specify at least one of credentialBundlePath, keyPath, and certificateChainPath");
}

const struct checker checkers_volume[] = {
	ROW(core_v1_volume), ROW(core_v1_empty_dir_volume_source), ROW(core_v1_config_map_volume_source), ROW(core_v1_ephemeral_volume_source),
	ROW(core_v1_persistent_volume_claim_template), ROW(core_v1_csi_volume_source), ROW(core_v1_fc_volume_source), ROW(core_v1_flocker_volume_source), ROW(core_v1_flex_volume_source),
	ROW(core_v1_flex_persistent_volume_source), ROW(core_v1_iscsi_volume_source), ROW(core_v1_iscsi_persistent_volume_source), ROW(core_v1_host_path_volume_source), ROW(core_v1_quobyte_volume_source),
	ROW(core_v1_azure_disk_volume_source), ROW(core_v1_azure_file_persistent_volume_source), ROW(core_v1_cinder_volume_source), ROW(core_v1_storage_os_volume_source),
	ROW(core_v1_cinder_persistent_volume_source), ROW(core_v1_storage_os_persistent_volume_source), ROW(core_v1_csi_persistent_volume_source),
	ROW(core_v1_projected_volume_source), ROW(core_v1_downward_api_volume_source), ROW(core_v1_downward_api_projection), ROW(core_v1_service_account_token_projection), ROW(core_v1_cluster_trust_bundle_projection), ROW(core_v1_pod_certificate_projection), {0},
};
