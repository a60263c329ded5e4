/* SPDX-License-Identifier: Apache-2.0 */
/* PersistentVolume, PersistentVolumeClaim and the storage group. */
#include "apiserver/validation/validation.h"
#include "api/storage_v1.h"

#include <ctype.h>

#define CLASS_ANNOTATION "volume.beta.kubernetes.io/storage-class"

static void check_access_modes(const struct api_string_list *modes, const struct path *at, struct error *err) {
	static const char *const known[] = {"ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod", NULL};
	bool once_pod = false, other = false;
	for (uint32_t i = 0; i < modes->len; i++) {
		size_t n = 0;
		while (known[n] && strcmp(known[n], modes->items[i]) != 0)
			n++;
		if (!known[n])
			not_supported(err, AT("accessModes"), modes->items[i], known);
		else
			*(n == 3 ? &once_pod : &other) = true;
	}
	if (once_pod && other)
		forbidden(err, AT("accessModes"), "may not use ReadWriteOncePod with other access modes");
}

/* ---- PersistentVolume ---- */

/* In the order in which Kubernetes looks, and under the names that it tells. */
static const struct union_member sources[] = {
	{.field = "hostPath"}, {.field = "gcePersistentDisk", .inside = "persistentDisk"}, {.field = "awsElasticBlockStore"}, {.field = "glusterfs"},
	{.field = "flocker"}, {.field = "nfs"}, {.field = "rbd"}, {.field = "quobyte"}, {.field = "cephfs", .surplus = "cephFS"}, {.field = "iscsi"},
	{.field = "cinder"}, {.field = "fc"}, {.field = "flexVolume", .beside = true}, {.field = "azureFile"}, {.field = "vsphereVolume"},
	{.field = "photonPersistentDisk"}, {.field = "portworxVolume"}, {.field = "azureDisk"}, {.field = "scaleIO"}, {.field = "local"},
	{.field = "storageos"}, {.field = "csi"}, {0},
};

/* What a volume written into a VolumeAttachment may not say. */
static void check_inline(const struct core_v1_persistent_volume_spec *spec, const struct path *at, struct error *err) {
	static const char *const fields[] = {"claimRef", "capacity", "nodeAffinity", "storageClassName", NULL};
	for (const char *const *f = fields; *f; f++)
		drop_judgement(AT(*f), err);
	drop_judgement(AT("persistentVolumeReclaimPolicy"), err);
	drop_judgement(AT("volumeMode"), err);
	drop_judgement(AT("volumeAttributesClassName"), err);
	forbid_fields(&core_v1_persistent_volume_spec_type, spec, fields, false, "may not be specified in the context of inline volumes", at, err);
	if (!spec->csi)
		required(err, AT("csi"), "has to be specified in the context of inline volumes");
	if (!str_empty(spec->persistent_volume_reclaim_policy) && strcmp(spec->persistent_volume_reclaim_policy, "Retain") != 0)
		forbidden(err, AT("persistentVolumeReclaimPolicy"), "may only be Retain in the context of inline volumes");
	if (spec->volume_mode && strcmp(spec->volume_mode, "Filesystem") != 0)
		forbidden(err, AT("volumeMode"), "may not specify volumeMode other than Filesystem in the context of inline volumes");
}

/* Where only what comes before it is absent, `local` is the source. */
static bool is_first_source(const struct core_v1_persistent_volume_source *source) {
	for (const struct union_member *m = sources; strcmp(m->field, "local") != 0; m++) {
		size_t offset;
		if (api_field_is_set(api_field_find(&core_v1_persistent_volume_source_type, m->field, strlen(m->field), &offset), source))
			return false;
	}
	return true;
}

CHECK(core_v1_persistent_volume_spec, spec) {
	static const char *const storage[] = {"storage", NULL};
	bool in_attachment = strcmp(str_or(at->name, ""), "inlineVolumeSpec") == 0;
	check_access_modes(&spec->access_modes, at, err);
	if (in_attachment) {
		check_inline(spec, at, err);
	} else {
		if (!spec->capacity.len)
			required(err, AT("capacity"), NULL);
		if (spec->capacity.len != 1 || !api_quantity_get(&spec->capacity, "storage")) {
			autobuf struct buf text = BUF_INIT(64u << 10);
			buf_append_str(&text, spec->capacity.items ? "{" : "null");
			for (uint32_t i = 0; i < spec->capacity.len; i++) {
				char value[64];
				quantity_format(&spec->capacity.items[i].value, value);
				buf_printf(&text, "%s\"%s\":\"%s\"", i ? "," : "", spec->capacity.items[i].key, value);
			}
			buf_append_str(&text, spec->capacity.items ? "}" : "");
			not_supported_json(err, AT("capacity"), text.data, storage);
		}
		for (uint32_t i = 0; i < spec->capacity.len; i++) {
			const struct quantity *value = &spec->capacity.items[i].value;
			if (value->nano < 0)
				invalid_int(err, AT_KEY("capacity", spec->capacity.items[i].key), quantity_value(value), "must be a valid resource quantity");
			if (value->nano <= 0)
				invalid_quantity(err, AT_KEY("capacity", spec->capacity.items[i].key), value, "must be greater than zero");
		}
	}
	check_union(&core_v1_persistent_volume_source_type, &spec->persistent_volume_source, sources, "volume type", at, err);
	size_t local = err->cause_count;
	if (spec->local && !spec->node_affinity && is_first_source(&spec->persistent_volume_source))
		required(err, AT("nodeAffinity"), "Local volume requires node affinity");
	tell_at(&PATH(AT("local"), "~affinity"), local, err);
	size_t from = err->cause_count;
	if (spec->host_path && str_equal(spec->persistent_volume_reclaim_policy, "Recycle") && strspn(str_or(spec->host_path->path, ""), "/.") == strlen(str_or(spec->host_path->path, "")))
		forbidden(err, AT("persistentVolumeReclaimPolicy"), "may not be 'recycle' for a hostPath mount of '/'");
	tell_at(AT("~recycle"), from, err);
	if (in_attachment)
		return; /* whose class of attributes nobody looks at */
	if (spec->volume_attributes_class_name && !*spec->volume_attributes_class_name)
		required(err, AT("volumeAttributesClassName"), "an empty string is disallowed");
	from = err->cause_count;
	if (spec->volume_attributes_class_name && !spec->csi)
		required(err, AT("csi"), "has to be specified when using volumeAttributesClassName");
	tell_at(AT("~csi"), from, err);
}

static const struct core_v1_csi_persistent_volume_source *without_expand(const struct core_v1_persistent_volume_source *source, struct core_v1_csi_persistent_volume_source *room) {
	if (!source->csi)
		return NULL;
	*room = *source->csi;
	room->controller_expand_secret_ref = NULL;
	return room;
}

/* True where they are one but for keys of expressions: the labels of nodes that were renamed. What a label was renamed to that never was is nothing, to Kubernetes too. */
static bool same_affinity(const struct core_v1_volume_node_affinity *now, const struct core_v1_volume_node_affinity *old) {
	static const char *const renamed[][2] = {
		{"failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"}, {"failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"},
		{"beta.kubernetes.io/os", "kubernetes.io/os"}, {"beta.kubernetes.io/arch", "kubernetes.io/arch"}, {"beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type"},
	};
	autoarena struct arena *arena = arena_new();
	struct core_v1_volume_node_affinity copy = *old;
	if (!now->required || !old->required || now->required->node_selector_terms.len != old->required->node_selector_terms.len)
		return api_equal(&core_v1_volume_node_affinity_type, now, old);
	copy.required = arena_memdup(arena, old->required, sizeof(*old->required));
	struct core_v1_node_selector_term *terms = arena_memdup(arena, old->required->node_selector_terms.items, copy.required->node_selector_terms.len * sizeof(*terms));
	copy.required->node_selector_terms.items = terms;
	for (uint32_t t = 0; t < copy.required->node_selector_terms.len; t++) {
		const struct core_v1_node_selector_term *mine = &now->required->node_selector_terms.items[t];
		struct { __typeof__(terms[t].match_expressions) *was; const __typeof__(terms[t].match_expressions) *is; } lists[] = {{&terms[t].match_expressions, &mine->match_expressions}, {&terms[t].match_fields, &mine->match_fields}};
		for (size_t l = 0; l < array_len(lists); l++) {
			lists[l].was->items = arena_memdup(arena, lists[l].was->items, lists[l].was->len * sizeof(*lists[l].was->items));
			for (uint32_t i = 0; i < lists[l].was->len && i < lists[l].is->len; i++) {
				const char *key = str_or(lists[l].is->items[i].key, ""), *became = "";
				for (size_t n = 0; n < array_len(renamed); n++)
					if (str_equal(lists[l].was->items[i].key, renamed[n][0]))
						became = renamed[n][1];
				if (strcmp(key, became) == 0)
					lists[l].was->items[i].key = lists[l].is->items[i].key;
			}
		}
	}
	return api_equal(&core_v1_volume_node_affinity_type, now, &copy);
}

CHECK(core_v1_persistent_volume, volume) {
	if (!old || check_is_status(c))
		return;
	struct path spec = PATH(NULL, "spec");
	size_t from = err->cause_count;
	struct core_v1_persistent_volume_source now = volume->spec.persistent_volume_source, was = old->spec.persistent_volume_source;
	struct core_v1_csi_persistent_volume_source room;
	/* The secret for expansion may be added later. */
	if (was.csi && !was.csi->controller_expand_secret_ref && now.csi)
		now.csi = (struct core_v1_csi_persistent_volume_source *)without_expand(&now, &room);
	if (!api_equal(&core_v1_persistent_volume_source_type, &now, &was))
		forbidden(err, &PATH(&spec, "persistentvolumesource"), "spec.persistentvolumesource is immutable after creation\n");
	check_fixed(&core_v1_persistent_volume_spec_type, &volume->spec, &old->spec, "volumeMode", at, err);
	if (old->spec.node_affinity && volume->spec.node_affinity) {
		if (!same_affinity(volume->spec.node_affinity, old->spec.node_affinity))
			invalid_struct(err, AT("nodeAffinity"), &core_v1_volume_node_affinity_type, volume->spec.node_affinity, IMMUTABLE_TEXT ", except for updating from beta label to GA");
	} else if (old->spec.node_affinity) {
		invalid_struct(err, AT("nodeAffinity"), NULL, "null", IMMUTABLE_TEXT ", except for updating from beta label to GA");
	}
	if (old->spec.volume_attributes_class_name && !volume->spec.volume_attributes_class_name)
		forbidden(err, &PATH(&spec, "volumeAttributesClassName"), "update from non-nil value to nil is forbidden");
	tell_at(&PATH(NULL, "~update"), from, err);
}

/* ---- PersistentVolumeClaim ---- */

static void check_data_source(const char *group, const char *kind, bool any_group, const struct path *at, struct error *err) {
	if (str_empty(group) && !str_equal(kind, "PersistentVolumeClaim"))
		invalid(err, at, kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup");
	if (!str_empty(group) && !any_group)
		check_format(format_dns_subdomain, group, AT("apiGroup"), err);
}

CHECK(core_v1_persistent_volume_claim_spec, spec) {
	const struct core_v1_typed_local_object_reference *source = spec->data_source;
	const struct core_v1_typed_object_reference *ref = spec->data_source_ref;
	/* Where one had a group before, no group is judged. */
	bool any_group = old && ((old->data_source && old->data_source->api_group) || (old->data_source_ref && old->data_source_ref->api_group));
	if (!spec->access_modes.len)
		required(err, AT("accessModes"), "at least 1 access mode is required");
	check_access_modes(&spec->access_modes, at, err);
	const struct quantity *size = api_quantity_get(&spec->resources.requests, "storage");
	if (!size)
		required(err, AT_KEY("resources", "storage"), NULL);
	else if (size->nano <= 0)
		invalid_quantity(err, AT_KEY("resources", "storage"), size, "must be greater than zero");
	if (source)
		check_data_source(source->api_group, source->kind, any_group, AT("dataSource"), err);
	if (ref) {
		check_data_source(ref->api_group, ref->kind, any_group, AT("dataSourceRef"), err);
		if (!str_empty(ref->namespace))
			check_format(format_dns_label, ref->namespace, &PATH(AT("dataSourceRef"), "namespace"), err);
	}
	if (source && ref && !str_empty(ref->namespace))
		invalid_struct(err, at, NULL, "{}", "may not be specified when dataSourceRef.namespace is specified");
	else if (source && ref && !(!source->api_group == !ref->api_group && str_equal(source->api_group, ref->api_group) && str_equal(source->kind, ref->kind) && str_equal(source->name, ref->name)))
		invalid_struct(err, at, NULL, "{}", "must match dataSourceRef");
}

#define CLAIM_MAY_CHANGE "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n"

static void check_claim_update(const struct core_v1_persistent_volume_claim *claim, const struct core_v1_persistent_volume_claim *old, struct error *err) {
	struct path spec = PATH(NULL, "spec"), *at = &spec, resources = PATH(at, "resources"), requests = PATH(&resources, "requests"), metadata = PATH(NULL, "metadata");
	autounref struct core_v1_persistent_volume_claim *copy = api_copy(claim), *before = api_copy(old);
	const char *had = api_map_get(&old->metadata.annotations, CLASS_ANNOTATION), *has = api_map_get(&claim->metadata.annotations, CLASS_ANNOTATION);
	const char *old_class = old->spec.storage_class_name, *class = claim->spec.storage_class_name;
	bool bound = str_equal(claim->status.phase, "Bound");
	if (str_empty(old->spec.volume_name))
		before->spec.volume_name = copy->spec.volume_name;
	/* The class may move from the annotation to the field, or be set where there was none. */
	if (had && !old_class && class && strcmp(class, had) == 0 && (!has || strcmp(has, had) == 0)) {
		copy->spec.storage_class_name = NULL;
	} else {
		if (!str_equal(had, has))
			invalid(err, &PATH(&PATH(&metadata, "annotations"), CLASS_ANNOTATION), has, IMMUTABLE_TEXT);
		if (class && !old_class && (!had || strcmp(class, had) == 0))
			copy->spec.storage_class_name = NULL;
	}
	const struct quantity *old_size = api_quantity_get(&old->spec.resources.requests, "storage"), *size = api_quantity_get(&claim->spec.resources.requests, "storage");
	if (bound && old_size && size)
		api_quantity_set(api_arena(copy), &copy->spec.resources.requests, "storage", *old_size);
	if (bound)
		copy->spec.volume_attributes_class_name = before->spec.volume_attributes_class_name;
	if (!api_equal(&core_v1_persistent_volume_claim_spec_type, &copy->spec, &before->spec))
		forbidden(err, at, CLAIM_MAY_CHANGE);
	const struct quantity *capacity = api_quantity_get(&old->status.capacity, "storage"), zero = {0};
	if (!size)
		size = &zero;
	if (old_size && quantity_compare(size, old_size) < 0 && quantity_compare(size, capacity ? capacity : &zero) <= 0)
		forbidden(err, &PATH(&requests, "storage"), "field can not be less than status.capacity");
	check_fixed(&core_v1_persistent_volume_claim_spec_type, &claim->spec, &old->spec, "volumeMode", &(struct path){.index = -1}, err);
	const char *attributes = claim->spec.volume_attributes_class_name;
	if (!str_equal(attributes, old->spec.volume_attributes_class_name) && old->status.current_volume_attributes_class_name && str_empty(attributes))
		forbidden(err, AT("volumeAttributesClassName"), "update to %s is forbidden when status.currentVolumeAttributesClassName is not nil", attributes ? "empty string" : "nil");
}

static void check_claim_key(const char *key, const struct path *path, struct error *err) {
	static const char *const storage[] = {"storage", NULL};
	if (format_error(format_qualified_name, key))
		check_format(format_qualified_name, key, path, err);
	else if (resource_is_native(key) && strcmp(key, "storage") != 0)
		not_supported(err, path, key, storage);
}

static void check_claim_status(const struct core_v1_persistent_volume_claim *claim, struct error *err) {
	static const char *const states[] = {"ControllerResizeInProgress", "ControllerResizeInfeasible", "NodeResizePending", "NodeResizeInProgress", "NodeResizeInfeasible"};
	static const char *const sorted[] = {"ControllerResizeInProgress", "ControllerResizeInfeasible", "NodeResizeInProgress", "NodeResizeInfeasible", "NodeResizePending", NULL};
	const struct core_v1_persistent_volume_claim_status *status = &claim->status;
	struct path path = PATH(NULL, "status"), *at = &path;
	const struct { const struct api_quantity_map *map; const char *name; } sizes[] = {{&status->capacity, "capacity"}, {&status->allocated_resources, "allocatedResources"}};
	for (size_t m = 0; m < array_len(sizes); m++)
		for (uint32_t i = 0; i < sizes[m].map->len; i++) {
			size_t before = err->cause_count;
			if (m)
				check_claim_key(sizes[m].map->items[i].key, AT(sizes[m].name), err);
			if (err->cause_count > before)
				continue;
			if (sizes[m].map->items[i].value.nano < 0)
				invalid_int(err, AT_KEY(sizes[m].name, sizes[m].map->items[i].key), quantity_value(&sizes[m].map->items[i].value), "must be a valid resource quantity");
		}
	for (uint32_t i = 0; i < status->allocated_resource_statuses.len; i++) {
		const char *value = status->allocated_resource_statuses.items[i].value;
		bool known = false;
		check_claim_key(status->allocated_resource_statuses.items[i].key, AT("allocatedResourceStatuses"), err);
		for (size_t n = 0; n < array_len(states); n++)
			known |= strcmp(states[n], value) == 0;
		if (!known)
			not_supported(err, AT("allocatedResourceStatuses"), status->allocated_resource_statuses.items[i].key, sorted);
	}
}

CHECK(core_v1_persistent_volume_claim, claim) {
	if (claim != c->object)
		return; /* a template */
	if (check_is_status(c))
		check_claim_status(claim, err);
	else if (old)
		check_claim_update(claim, old, err);
}

/* ---- the storage group ---- */

static void check_provisioner(const char *name, const struct path *path, struct error *err) {
	autofree char *lower = xstrdup(str_or(name, ""));
	for (char *p = lower; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	if (*lower)
		check_format(format_qualified_name, lower, path, err);
}

static void check_parameters(const struct api_string_map *parameters, const struct path *path, struct error *err) {
	size_t total = 0;
	if (parameters->len > 512) {
		too_long(err, path, 512);
		return;
	}
	for (uint32_t i = 0; i < parameters->len; i++) {
		if (!*parameters->items[i].key)
			invalid(err, path, "", "field can not be empty.");
		total += strlen(parameters->items[i].key) + strlen(parameters->items[i].value);
	}
	if (total > (256u << 10))
		too_long(err, path, 256u << 10);
}

/* What the last of those with the key says; NULL: there is none. */
static const struct api_string_list *values_of(const struct core_v1_topology_selector_term *term, const char *key) {
	const struct api_string_list *values = NULL;
	for (uint32_t i = 0; i < term->match_label_expressions.len; i++)
		if (str_equal(term->match_label_expressions.items[i].key, key))
			values = &term->match_label_expressions.items[i].values;
	return values;
}

static bool holds_all(const struct api_string_list *of, const struct api_string_list *values) {
	for (uint32_t i = 0; i < of->len; i++)
		if (!api_string_list_has(values, of->items[i]))
			return false;
	return true;
}

static bool is_covered(const struct core_v1_topology_selector_term *a, const struct core_v1_topology_selector_term *b) {
	for (uint32_t i = 0; i < a->match_label_expressions.len; i++) {
		const char *key = a->match_label_expressions.items[i].key;
		const struct api_string_list *mine = values_of(a, key), *other = values_of(b, key);
		if (!other || !holds_all(mine, other) || !holds_all(other, mine))
			return false;
	}
	return true;
}

/* Terms must differ. One without expressions is like none at all, and none is what Kubernetes holds it against as often as there are terms. */
static void check_topologies(const struct core_v1_topology_selector_term_array *terms, const struct path *at, struct error *err) {
	for (uint32_t i = 0; i < terms->len; i++) {
		uint32_t same = terms->items[i].match_label_expressions.len ? 0 : terms->len;
		for (uint32_t n = 0; n < i; n++)
			same += is_covered(&terms->items[n], &terms->items[i]) && is_covered(&terms->items[i], &terms->items[n]);
		for (; same; same--)
			duplicate(err, &PATH(AT_INDEX("allowedTopologies", i), "matchLabelExpressions"), "");
	}
}

CHECK(storage_v1_storage_class, class) {
	check_topologies(&class->allowed_topologies, at, err);
	check_provisioner(class->provisioner, AT("provisioner"), err);
	check_parameters(&class->parameters, AT("parameters"), err);
}

CHECK(core_v1_topology_selector_term, term) {
	automap struct map seen = MAP_INIT(NULL);
	for (uint32_t i = 0; i < term->match_label_expressions.len; i++) {
		const struct core_v1_topology_selector_label_requirement *r = &term->match_label_expressions.items[i];
		if (str_empty(r->key))
			check_format(format_qualified_name, "", &PATH(AT_INDEX("matchLabelExpressions", i), "key"), err);
		if (seen_before(&seen, r->key))
			duplicate(err, &PATH(AT_INDEX("matchLabelExpressions", i), "key"), r->key);
		check_distinct(&r->values, "values", AT_INDEX("matchLabelExpressions", i), err);
	}
}

CHECK(storage_v1_volume_attachment_source, source) {
	if (!source->inline_volume_spec && !source->persistent_volume_name) {
		required(err, at, "must specify exactly one of inlineVolumeSpec and persistentVolumeName");
	} else if (source->inline_volume_spec && source->persistent_volume_name) {
		drop_judgement(AT("inlineVolumeSpec"), err);
		forbidden(err, at, "must specify exactly one of inlineVolumeSpec and persistentVolumeName");
	} else if (source->persistent_volume_name && !*source->persistent_volume_name) {
		required(err, AT("persistentVolumeName"), "must specify non empty persistentVolumeName");
	}
}

CHECK(storage_v1_volume_attachment_spec, spec) {
	if (str_empty(spec->node_name))
		check_format(format_dns_subdomain, "", AT("nodeName"), err);
}

CHECK(storage_v1_volume_attachment_status, status) {
	size_t total = 0;
	for (uint32_t i = 0; i < status->attachment_metadata.len; i++)
		total += strlen(status->attachment_metadata.items[i].key) + strlen(status->attachment_metadata.items[i].value);
	if (total > (256u << 10))
		too_long(err, AT("attachmentMetadata"), 256u << 10);
}

CHECK(storage_v1_csi_node_driver, driver) {
	if (strlen(str_or(driver->node_id, "")) > 256)
		invalid(err, AT("nodeID"), driver->node_id, "must be 256 characters or less");
	automap struct map seen = MAP_INIT(NULL);
	for (uint32_t i = 0; i < driver->topology_keys.len; i++) {
		if (!*driver->topology_keys.items[i])
			required(err, at, "");
		if (seen_before(&seen, driver->topology_keys.items[i]))
			duplicate(err, at, driver->topology_keys.items[i]);
		check_format(format_qualified_name, driver->topology_keys.items[i], at, err);
	}
}

CHECK(storage_v1_csi_node_spec, spec) {
	automap struct map seen = MAP_INIT(NULL);
	for (uint32_t i = 0; i < spec->drivers.len; i++)
		if (seen_before(&seen, spec->drivers.items[i].name))
			duplicate(err, &PATH(AT_INDEX("drivers", i), "name"), spec->drivers.items[i].name);
	for (uint32_t i = 0; old && i < spec->drivers.len; i++)
		for (uint32_t n = 0; n < old->drivers.len; n++) {
			struct storage_v1_csi_node_driver now = spec->drivers.items[i], was = old->drivers.items[n];
			now.allocatable = was.allocatable = NULL;
			if (str_equal(now.name, was.name) && !api_equal(&storage_v1_csi_node_driver_type, &now, &was))
				invalid_struct(err, AT("drivers"), &storage_v1_csi_node_driver_type, &now, IMMUTABLE_TEXT);
		}
}

CHECK(storage_v1_csi_driver_spec, spec) {
	static const char *const modes[] = {"Persistent", "Ephemeral", NULL};
	automap struct map seen = MAP_INIT(NULL);
	for (uint32_t i = 0; i < spec->volume_lifecycle_modes.len; i++) {
		const char *mode = spec->volume_lifecycle_modes.items[i];
		if (strcmp(mode, modes[0]) != 0 && strcmp(mode, modes[1]) != 0)
			not_supported(err, AT("volumeLifecycleModes"), mode, modes);
	}
	if (!spec->attach_required)
		required(err, AT("attachedRequired"), NULL);
	if (old && spec->attach_required && old->attach_required && *spec->attach_required != *old->attach_required)
		invalid_bool(err, AT("attachedRequired"), *spec->attach_required, IMMUTABLE_TEXT);
	for (uint32_t i = 0; i < spec->token_requests.len; i++) {
		const struct storage_v1_token_request *request = &spec->token_requests.items[i];
		struct path seconds = PATH(AT_INDEX("tokenRequests", i), "expirationSeconds");
		if (seen_before(&seen, request->audience)) {
			duplicate(err, &PATH(AT_INDEX("tokenRequests", i), "audience"), request->audience);
			continue;
		}
		if (request->expiration_seconds && *request->expiration_seconds < 600)
			invalid_int(err, &seconds, *request->expiration_seconds, "may not specify a duration less than 10 minutes");
		if (request->expiration_seconds && *request->expiration_seconds > (int64_t)1 << 32)
			invalid_int(err, &seconds, *request->expiration_seconds, "may not specify a duration larger than 2^32 seconds");
	}
	if (spec->node_allocatable_update_period_seconds && *spec->node_allocatable_update_period_seconds < 10)
		invalid_int(err, AT("nodeAllocatableUpdatePeriodSeconds"), *spec->node_allocatable_update_period_seconds, "must be greater than or equal to 10 seconds");
	if (spec->service_account_token_in_secrets && !spec->token_requests.len)
		invalid_bool(err, AT("serviceAccountTokenInSecrets"), *spec->service_account_token_in_secrets, "serviceAccountTokenInSecrets is set but no tokenRequests are specified");
}

CHECK(storage_v1_csi_storage_capacity, capacity) {
	if (str_empty(capacity->storage_class_name))
		check_format(format_dns_subdomain, "", AT("storageClassName"), err);
}

CHECK(storage_v1_volume_attributes_class, class) {
	check_provisioner(class->driver_name, AT("driverName"), err);
	check_parameters(&class->parameters, AT("parameters"), err);
	if (!class->parameters.len)
		required(err, AT("parameters"), "must contain at least one key/value pair");
	if (old && !str_equal(class->driver_name, old->driver_name))
		forbidden(err, AT("driverName"), "updates to driverName are forbidden.");
	if (old && !api_map_equal(&class->parameters, &old->parameters))
		forbidden(err, AT("parameters"), "updates to parameters are forbidden.");
}

const struct checker checkers_storage[] = {
	ROW(core_v1_persistent_volume_spec), ROW(core_v1_persistent_volume), ROW(core_v1_persistent_volume_claim_spec), ROW(core_v1_persistent_volume_claim),
	ROW(storage_v1_storage_class), ROW(core_v1_topology_selector_term), ROW(storage_v1_volume_attachment_source), ROW(storage_v1_volume_attachment_spec),
	ROW(storage_v1_volume_attachment_status), ROW(storage_v1_csi_node_driver), ROW(storage_v1_csi_node_spec), ROW(storage_v1_csi_driver_spec),
	ROW(storage_v1_csi_storage_capacity), ROW(storage_v1_volume_attributes_class), {0},
};
