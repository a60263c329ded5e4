/* SPDX-License-Identifier: Apache-2.0 */
/* Kinds of the other groups that need a little more than the general rules. */
#include "apiserver/authn/authn.h"
#include "apiserver/custom/custom.h"
#include "apiserver/rest/partial.h"
#include "apiserver/rest/write.h"
#include "apiserver/services/services.h"
#include "apiserver/strategy/table.h"
#include "apiserver/validation/validation.h"
#include "api/apiextensions_v1.h"
#include "api/apiregistration_v1.h"
#include "api/autoscaling_v1.h"
#include "api/discovery_v1.h"
#include "api/certificates_v1.h"
#include "api/core_v1.h"
#include "api/policy_v1.h"
#include "common/api/convert_autoscaling.h"

/* ---- Service ---- */

static const struct strategy services = {
	.group = "", .plural = "services", .free_prefix = true,
	.name = NAME_DNS_LABEL,
	.allow_create_on_update = true,
	.prepare_create = service_prepare_create,
	.prepare_update = service_prepare_update,
	.plan = service_plan,
	.claim = service_claim,
	.settle = service_settle,
};

/* ---- CertificateSigningRequest: who asks is the server's to say ---- */

static void csr_prepare_create(struct request *r, void *object) {
	struct certificates_v1_certificate_signing_request *csr = object;
	struct arena *arena = api_arena(object);
	csr->spec.username = arena_strdup(arena, r->user->name);
	csr->spec.uid = arena_strdup(arena, r->user->uid);
	csr->spec.groups = (struct api_string_list){0};
	for (const char *const *g = r->user->groups; g && *g; g++)
		api_string_list_add(arena, &csr->spec.groups, *g);
	memset(&csr->spec.extra, 0, sizeof(csr->spec.extra));
	for (size_t i = 0; i < r->user->extra_count; i++) {
		__typeof__(csr->spec.extra.items) entry = api_list_add(arena, &csr->spec.extra);
		entry->key = arena_strdup(arena, r->user->extra[i].key);
		for (const char *const *v = r->user->extra[i].values; v && *v; v++)
			api_string_list_add(arena, &entry->value.list, *v);
	}
	csr->status = (struct certificates_v1_certificate_signing_request_status){0};
}

static void csr_prepare_update(struct request *r, void *object, const void *old) {
	api_field_copy(object, old, "spec");
	api_field_copy(object, old, "status");
}

/* Approved and Denied are /approval's: where /status gives as many of them as there are they stay as they were, and where it does not validation says so. */
static void keep_decisions(struct certificates_v1_certificate_signing_request *csr, const struct certificates_v1_certificate_signing_request *was, const char *type) {
	uint32_t given = 0, kept = 0;
	for (uint32_t i = 0; i < csr->status.conditions.len; i++)
		given += str_equal(csr->status.conditions.items[i].type, type);
	for (uint32_t i = 0; i < was->status.conditions.len; i++)
		kept += str_equal(was->status.conditions.items[i].type, type);
	for (uint32_t i = 0, n = 0; given == kept && i < csr->status.conditions.len; i++) {
		if (!str_equal(csr->status.conditions.items[i].type, type))
			continue;
		while (!str_equal(was->status.conditions.items[n].type, type))
			n++;
		csr->status.conditions.items[i] = was->status.conditions.items[n++];
	}
}

static void csr_prepare_status(struct request *r, void *object, const void *old) {
	struct certificates_v1_certificate_signing_request *csr = object;
	api_field_copy(object, old, "spec");
	void *before = api_copy(old);
	arena_defer(api_arena(object), (void (*)(void *))api_unref, before);
	keep_decisions(csr, before, "Approved");
	keep_decisions(csr, before, "Denied");
	csr_stamp_conditions(csr, before);
}

static const struct reset_fields csr_reset_fields[] = {
	{"", (const char *const[]){"f:spec", "f:status", NULL}},
	{"status", (const char *const[]){"f:spec", "f:status/f:conditions", NULL}},
	{"approval", (const char *const[]){"f:spec", "f:status/f:certificate", NULL}},
	{NULL, NULL},
};
static const struct strategy csrs = {
	.group = "certificates.k8s.io", .plural = "certificatesigningrequests",
	.name = NAME_ANY,
	.prepare_create = csr_prepare_create,
	.prepare_update = csr_prepare_update,
	.prepare_status = csr_prepare_status,
	.reset_fields = csr_reset_fields,
};

/* ---- rows without hooks ---- */

#define RBAC "rbac.authorization.k8s.io"
static const struct strategy roles = {.group = RBAC, .plural = "roles", .free_prefix = true, .name = NAME_PATH_SEGMENT, .allow_create_on_update = true};
static const struct strategy cluster_roles = {.group = RBAC, .plural = "clusterroles", .free_prefix = true, .name = NAME_PATH_SEGMENT, .allow_create_on_update = true};
static const struct strategy role_bindings = {.group = RBAC, .plural = "rolebindings", .free_prefix = true, .name = NAME_PATH_SEGMENT, .allow_create_on_update = true};
static const struct strategy cluster_role_bindings = {.group = RBAC, .plural = "clusterrolebindings", .free_prefix = true, .name = NAME_PATH_SEGMENT, .allow_create_on_update = true};
static const struct strategy leases = {.group = "coordination.k8s.io", .plural = "leases", .free_prefix = true, .any_finalizer = true, .allow_create_on_update = true, .no_unconditional_update = true};
static const struct strategy runtime_classes = {.group = "node.k8s.io", .plural = "runtimeclasses", .any_finalizer = true, .allow_create_on_update = true, .no_unconditional_update = true};
static const struct strategy priority_classes = {.group = "scheduling.k8s.io", .plural = "priorityclasses", .free_prefix = true, .generation = true};
static const struct strategy ingresses = {.group = "networking.k8s.io", .plural = "ingresses", .generation = true};
static const struct strategy ingress_classes = {.group = "networking.k8s.io", .plural = "ingressclasses", .generation = true};
static bool has_empty(const struct api_field *f, const void *value);

static bool any_has_empty(const struct api_type *type, const void *value) {
	for (size_t i = 0; i < type->field_count; i++)
		if (has_empty(&type->fields[i], value))
			return true;
	return false;
}

/* Whether a list or map of the field that was sent is empty, at any depth. What is stored never has such. */
static bool has_empty(const struct api_field *f, const void *value) {
	if (f->shape == API_SINGLE) {
		const void *inner = f->kind == API_STRUCT ? api_field_value(f, value) : NULL;
		return inner && any_has_empty(f->type, inner);
	}
	const struct api_any_list *list = api_field_at_const(f, value);
	size_t stride = f->shape == API_MAP ? f->entry_size : f->element_size;
	if (list->items && !list->len)
		return true;
	for (uint32_t i = 0; f->kind == API_STRUCT && i < list->len; i++)
		if (any_has_empty(f->type, list->items + i * stride + f->value_offset))
			return true;
	return false;
}

/* Of these kinds Kubernetes tells an empty list from none, and so takes one that was sent for a change. */
static bool changed_strictly(const void *object, const void *old, const char *field) {
	const struct api_type *type = api_type_of(object);
	for (size_t i = 0; i < type->field_count; i++)
		if (strcmp(type->fields[i].name, field) == 0 && has_empty(&type->fields[i], object))
			return true;
	return !api_field_equal(object, old, field);
}

static bool webhooks_changed(const void *object, const void *old) {
	return changed_strictly(object, old, "webhooks");
}

static bool network_policy_changed(const void *object, const void *old) {
	return changed_strictly(object, old, "spec");
}

static const struct strategy network_policies = {.group = "networking.k8s.io", .plural = "networkpolicies", .free_prefix = true, .generation = true, .generation_changed = network_policy_changed};
static const struct strategy ip_addresses = {.group = "networking.k8s.io", .plural = "ipaddresses", .name = NAME_IP_ADDRESS};
/* Topology stood here in an older version. */
static void slice_prepare_create(struct request *r, void *object) {
	struct discovery_v1_endpoint_slice *slice = object;
	for (uint32_t i = 0; i < slice->endpoints.len; i++)
		slice->endpoints.items[i].deprecated_topology = (struct api_string_map){0};
}

/* An older version's clients had it there; what they wrote stays as long as the endpoints do. */
static void slice_prepare_update(struct request *r, void *object, const void *old) {
	if (!api_field_equal(object, old, "endpoints"))
		slice_prepare_create(r, object);
}

static bool slice_changed(const void *object, const void *old) {
	return !api_field_equal(object, old, "endpoints") || !api_field_equal(object, old, "ports") || !api_map_equal(&api_metadata(object)->labels, &api_metadata(old)->labels);
}
static const struct strategy endpoint_slices = {.group = "discovery.k8s.io", .plural = "endpointslices", .generation = true, .generation_changed = slice_changed, .prepare_create = slice_prepare_create, .prepare_update = slice_prepare_update};
static const struct strategy flow_schemas = {.group = "flowcontrol.apiserver.k8s.io", .plural = "flowschemas", .generation = true, .status_keeps = STATUS_KEEPS_METADATA};
static const struct strategy priority_levels = {.group = "flowcontrol.apiserver.k8s.io", .plural = "prioritylevelconfigurations", .generation = true, .status_keeps = STATUS_KEEPS_METADATA};
static const struct strategy device_classes = {.group = "resource.k8s.io", .plural = "deviceclasses", .free_prefix = true, .prefix_unchecked = true, .generation = true};
static const struct strategy resource_slices = {.group = "resource.k8s.io", .plural = "resourceslices", .free_prefix = true, .generation = true};
static const struct strategy service_cidrs = {.group = "networking.k8s.io", .plural = "servicecidrs", .free_prefix = true, .status_keeps = STATUS_KEEPS_METADATA};
static const struct strategy csi_drivers = {.group = "storage.k8s.io", .plural = "csidrivers", .free_prefix = true, .generation = true, .generation_from_zero = true, .no_unconditional_update = true};
/* autoscaling/v1 says in annotations what v2 has fields for: they come from `old` (NULL: from nowhere) as the fields do that they stand for. */
static void keep_autoscaler_annotations(void *object, const void *old, bool of_status) {
	static const char *const names[][2] = {{AUTOSCALER_METRICS, AUTOSCALER_BEHAVIOR}, {AUTOSCALER_CURRENT, AUTOSCALER_CONDITIONS}};
	struct meta_v1_object_meta *meta = api_metadata(object);
	for (size_t i = 0; api_type_of(object) == &autoscaling_v1_horizontal_pod_autoscaler_type && i < array_len(names[0]); i++) {
		const char *kept = old ? api_map_get(&api_metadata(old)->annotations, names[of_status][i]) : NULL;
		if (kept)
			api_map_set(api_arena(object), &meta->annotations, names[of_status][i], kept);
		else
			api_map_remove(&meta->annotations, names[of_status][i]);
	}
}

static void autoscaler_prepare_create(struct request *r, void *object) {
	keep_autoscaler_annotations(object, NULL, true);
}

static void autoscaler_prepare_update(struct request *r, void *object, const void *old) {
	keep_autoscaler_annotations(object, old, true);
}

static void autoscaler_after_status(struct request *r, void *object, const void *old) {
	keep_autoscaler_annotations(object, old, false);
}

static const struct strategy autoscalers = {
	.group = "autoscaling", .plural = "horizontalpodautoscalers", .free_prefix = true,
	.prepare_create = autoscaler_prepare_create, .prepare_update = autoscaler_prepare_update, .after_status = autoscaler_after_status,
};
static const struct strategy csi_nodes = {.group = "storage.k8s.io", .plural = "csinodes", .no_unconditional_update = true};
static const struct strategy csi_capacities = {.group = "storage.k8s.io", .plural = "csistoragecapacities", .no_unconditional_update = true};
static const struct strategy volume_attachments = {.group = "storage.k8s.io", .plural = "volumeattachments", .no_unconditional_update = true, .status_keeps = STATUS_KEEPS_METADATA};
/* What is served here is there as soon as it is said to be. */
static void apiservice_prepare_create(struct request *r, void *object) {
	struct apiregistration_v1_api_service *service = object;
	memset(&service->status, 0, sizeof(service->status));
	if (!service->spec.service)
		*api_list_add(api_arena(object), &service->status.conditions) = (struct apiregistration_v1_api_service_condition){
			.type = "Available", .status = "True", .last_transition_time = api_time_now(), .reason = "Local", .message = "Local APIServices are always available",
		};
}

static void apiservice_check_name(const void *object, const char *name, const struct path *at, struct error *err) {
	const struct apiregistration_v1_api_service *service = object;
	autofree char *wanted = xprintf("%s.%s", str_or(service->spec.version, ""), str_or(service->spec.group, ""));
	if (format_error(format_path_segment, name))
		check_format(format_path_segment, name, at, err);
	else if (strcmp(name, wanted) != 0)
		invalid(err, at, name, "must be `spec.version+\".\"+spec.group`: \"%s\"", wanted);
}

static const struct strategy aggregated = {.name = NAME_ANY, .check_name = apiservice_check_name, .checks_name_again = true, .group = "apiregistration.k8s.io", .plural = "apiservices", .any_finalizer = true, .no_unconditional_update = true, .status_keeps = STATUS_KEEPS_METADATA, .prepare_create = apiservice_prepare_create};
#define ADMISSION "admissionregistration.k8s.io"
static const struct strategy validating_webhooks = {.group = ADMISSION, .plural = "validatingwebhookconfigurations", .any_finalizer = true, .generation = true, .no_unconditional_update = true, .generation_changed = webhooks_changed};
static const struct strategy mutating_webhooks = {.group = ADMISSION, .plural = "mutatingwebhookconfigurations", .any_finalizer = true, .generation = true, .no_unconditional_update = true, .generation_changed = webhooks_changed};
static const struct strategy validating_policies = {.group = ADMISSION, .plural = "validatingadmissionpolicies", .any_finalizer = true, .generation = true, .no_unconditional_update = true, .status_keeps = STATUS_KEEPS_METADATA};
static const struct strategy validating_bindings = {.group = ADMISSION, .plural = "validatingadmissionpolicybindings", .any_finalizer = true, .generation = true, .no_unconditional_update = true};
static const struct strategy mutating_policies = {.group = ADMISSION, .plural = "mutatingadmissionpolicies", .any_finalizer = true, .generation = true, .no_unconditional_update = true};
static const struct strategy mutating_bindings = {.group = ADMISSION, .plural = "mutatingadmissionpolicybindings", .any_finalizer = true, .generation = true, .no_unconditional_update = true};
static void crd_check_name(const void *object, const char *name, const struct path *at, struct error *err) {
	const struct apiextensions_v1_custom_resource_definition *crd = object;
	autofree char *wanted = xprintf("%s.%s", str_or(crd->spec.names.plural, ""), str_or(crd->spec.group, ""));
	if (strcmp(name, wanted) != 0)
		invalid(err, at, name, "must be spec.names.plural+\".\"+spec.group");
}

static const struct strategy crds = {.check_name = crd_check_name, .group = "apiextensions.k8s.io", .plural = "customresourcedefinitions", .any_finalizer = true, .generation = true, .no_unconditional_update = true, .status_keeps = STATUS_KEEPS_METADATA, .prepare_create = crd_prepare_create, .prepare_update = crd_prepare_update, .mark_deleted = crd_mark_deleted};

const struct strategy *const strategies_other[] = {
	&services, &csrs, &ip_addresses, &roles, &cluster_roles, &role_bindings, &cluster_role_bindings, &leases, &runtime_classes, &priority_classes, &ingresses,
	&ingress_classes, &network_policies, &endpoint_slices, &flow_schemas, &priority_levels, &device_classes, &resource_slices,
	&validating_webhooks, &mutating_webhooks, &validating_policies, &validating_bindings, &mutating_policies, &mutating_bindings, &crds,
	&service_cidrs, &csi_drivers, &autoscalers, &csi_nodes, &csi_capacities, &volume_attachments, &aggregated, NULL,
};

/* ---- policy ---- */

static const struct strategy disruption_budgets = {.group = "policy", .plural = "poddisruptionbudgets", .metadata_last = true, .free_prefix = true, .name = NAME_PATH_SEGMENT, .any_finalizer = true, .generation = true, .no_unconditional_update = true};
const struct strategy *const strategies_policy[] = {&disruption_budgets, NULL};
