/* SPDX-License-Identifier: Apache-2.0 */
/* Kinds that extend or steer the server itself, and those of storage and devices. */
#include "apiserver/printers/common.h"
#include "apiserver/printers/table.h"
#include "api/admissionregistration_v1.h"
#include "api/apiregistration_v1.h"
#include "api/autoscaling_v1.h"
#include "api/autoscaling_v2.h"
#include "api/certificates_v1.h"
#include "common/api/convert.h"
#include "api/flowcontrol_v1.h"
#include "api/networking_v1.h"
#include "api/resource_v1.h"
#include "api/storage_v1.h"

/* ---- autoscaling ---- */

/* `utilization`: of a resource, whose target may be none. */
static void target_text(const struct autoscaling_v2_metric_target *wanted, const struct autoscaling_v2_metric_value_status *current, bool utilization, struct buf *out) {
	char now[64] = "<unknown>", target[64] = "<auto>";
	bool average = wanted->average_value.set;
	const struct quantity *want = average ? &wanted->average_value : &wanted->value, *is = !current ? NULL : average ? &current->average_value : &current->value;
	if (average || !utilization) {
		quantity_format(want, target);
		if (is && is->set)
			quantity_format(is, now);
	} else {
		if (wanted->average_utilization)
			snprintf(target, sizeof(target), "%d%%", *wanted->average_utilization);
		if (current && current->average_utilization)
			snprintf(now, sizeof(now), "%d%%", *current->average_utilization);
	}
	buf_printf(out, "%s/%s", now, target);
}

static void metric_text(const struct autoscaling_v2_horizontal_pod_autoscaler *h, uint32_t i, struct buf *out) {
	const struct autoscaling_v2_metric_spec *spec = &h->spec.metrics.items[i];
	const struct autoscaling_v2_metric_status none = {0}, *status = i < h->status.current_metrics.len ? &h->status.current_metrics.items[i] : &none;
	if (spec->resource) {
		buf_printf(out, "%s: ", spec->resource->name);
		target_text(&spec->resource->target, status->resource ? &status->resource->current : NULL, true, out);
	} else if (spec->container_resource) {
		buf_printf(out, "%s: ", spec->container_resource->name);
		target_text(&spec->container_resource->target, status->container_resource ? &status->container_resource->current : NULL, true, out);
	} else if (spec->pods) {
		target_text(&spec->pods->target, status->pods ? &status->pods->current : NULL, false, out);
	} else if (spec->object) {
		target_text(&spec->object->target, status->object ? &status->object->current : NULL, false, out);
		buf_append_str(out, spec->object->target.average_value.set ? " (avg)" : "");
	} else if (spec->external) {
		target_text(&spec->external->target, status->external ? &status->external->current : NULL, false, out);
		buf_append_str(out, spec->external->target.average_value.set ? " (avg)" : "");
	} else {
		buf_append_str(out, "<unknown type>");
	}
}

static void autoscaler_cells(const void *object, struct cells *cells) {
	void *converted;
	if (api_convert(object, &autoscaling_v2_horizontal_pod_autoscaler_type, &converted, NULL) < 0)
		return;
	const struct autoscaling_v2_horizontal_pod_autoscaler *h = converted;
	autobuf struct buf targets = BUF_INIT(64 << 10);
	for (uint32_t i = 0; i < h->spec.metrics.len && i < 2; i++) {
		buf_append_str(&targets, i ? ", " : "");
		metric_text(h, i, &targets);
	}
	if (h->spec.metrics.len > 2)
		buf_printf(&targets, " + %u more...", h->spec.metrics.len - 2);
	cell_string(cells, h->metadata.name);
	cell_printf(cells, "%s/%s", str_or(h->spec.scale_target_ref.kind, ""), str_or(h->spec.scale_target_ref.name, ""));
	cell_string(cells, targets.len ? targets.data : "<none>");
	if (h->spec.min_replicas)
		cell_printf(cells, "%d", *h->spec.min_replicas);
	else
		cell_string(cells, "<unset>");
	cell_int(cells, h->spec.max_replicas);
	cell_int(cells, h->status.current_replicas);
	cell_age_of(cells, h);
	api_unref(converted);
}

/* ---- certificates ---- */

static void csr_cells(const void *object, struct cells *cells) {
	const struct certificates_v1_certificate_signing_request *csr = object;
	bool approved = false, denied = false, failed = false;
	for (uint32_t i = 0; i < csr->status.conditions.len; i++) {
		approved |= str_equal(csr->status.conditions.items[i].type, "Approved");
		denied |= str_equal(csr->status.conditions.items[i].type, "Denied");
		failed |= str_equal(csr->status.conditions.items[i].type, "Failed");
	}
	char duration[32] = "<none>";
	if (csr->spec.expiration_seconds)
		duration_format_human(*csr->spec.expiration_seconds, duration);
	cell_string(cells, csr->metadata.name);
	cell_age_of(cells, csr);
	cell_string(cells, str_or(csr->spec.signer_name, "<none>"));
	cell_string(cells, csr->spec.username);
	cell_string(cells, duration);
	cell_printf(cells, "%s%s%s", denied ? "Denied" : approved ? "Approved" : "Pending", failed ? ",Failed" : "", csr->status.certificate.len ? ",Issued" : "");
}

/* ---- admission ---- */

static void mutating_webhooks_cells(const void *object, struct cells *cells) {
	const struct admissionregistration_v1_mutating_webhook_configuration *c = object;
	cell_string(cells, c->metadata.name);
	cell_int(cells, c->webhooks.len);
	cell_age_of(cells, c);
}

static void validating_webhooks_cells(const void *object, struct cells *cells) {
	const struct admissionregistration_v1_validating_webhook_configuration *c = object;
	cell_string(cells, c->metadata.name);
	cell_int(cells, c->webhooks.len);
	cell_age_of(cells, c);
}

static void param_kind_cell(const struct admissionregistration_v1_param_kind *kind, struct cells *cells) {
	if (kind)
		cell_printf(cells, "%s/%s", str_or(kind->api_version, ""), str_or(kind->kind, ""));
	else
		cell_string(cells, "<unset>");
}

static void validating_policy_cells(const void *object, struct cells *cells) {
	const struct admissionregistration_v1_validating_admission_policy *p = object;
	cell_string(cells, p->metadata.name);
	cell_int(cells, p->spec.validations.len);
	param_kind_cell(p->spec.param_kind, cells);
	cell_age_of(cells, p);
}

static void mutating_policy_cells(const void *object, struct cells *cells) {
	const struct admissionregistration_v1_mutating_admission_policy *p = object;
	cell_string(cells, p->metadata.name);
	cell_int(cells, p->spec.mutations.len);
	param_kind_cell(p->spec.param_kind, cells);
	cell_age_of(cells, p);
}

static void param_ref_cell(const struct admissionregistration_v1_param_ref *ref, struct cells *cells) {
	if (!ref)
		cell_string(cells, "<unset>");
	else if (str_empty(ref->name))
		cell_printf(cells, "%s/*", str_or(ref->namespace, "*"));
	else
		cell_printf(cells, "%s/%s", str_or(ref->namespace, "*"), ref->name);
}

static void validating_binding_cells(const void *object, struct cells *cells) {
	const struct admissionregistration_v1_validating_admission_policy_binding *b = object;
	cell_string(cells, b->metadata.name);
	cell_string(cells, b->spec.policy_name);
	param_ref_cell(b->spec.param_ref, cells);
	cell_age_of(cells, b);
}

static void mutating_binding_cells(const void *object, struct cells *cells) {
	const struct admissionregistration_v1_mutating_admission_policy_binding *b = object;
	cell_string(cells, b->metadata.name);
	cell_string(cells, b->spec.policy_name);
	param_ref_cell(b->spec.param_ref, cells);
	cell_age_of(cells, b);
}

static void api_service_cells(const void *object, struct cells *cells) {
	const struct apiregistration_v1_api_service *s = object;
	cell_string(cells, s->metadata.name);
	if (s->spec.service)
		cell_printf(cells, "%s/%s", str_or(s->spec.service->namespace, ""), str_or(s->spec.service->name, ""));
	else
		cell_string(cells, "Local");
	const char *available = "Unknown";
	for (uint32_t i = 0; i < s->status.conditions.len; i++)
		if (str_equal(s->status.conditions.items[i].type, "Available"))
			available = s->status.conditions.items[i].status;
	cell_string(cells, available);
	cell_age_of(cells, s);
}

/* ---- flow control ---- */

static void flow_schema_cells(const void *object, struct cells *cells) {
	const struct flowcontrol_v1_flow_schema *f = object;
	const char *missing = "?";
	for (uint32_t i = 0; i < f->status.conditions.len; i++)
		if (str_equal(f->status.conditions.items[i].type, "Dangling"))
			missing = f->status.conditions.items[i].status;
	cell_string(cells, f->metadata.name);
	cell_string(cells, f->spec.priority_level_configuration.name);
	cell_int(cells, f->spec.matching_precedence);
	cell_string(cells, f->spec.distinguisher_method ? f->spec.distinguisher_method->type : "<none>");
	cell_age_of(cells, f);
	cell_string(cells, missing);
}

static void optional_number(struct cells *cells, const int32_t *value) {
	if (value)
		cell_int(cells, *value);
	else
		cell_string(cells, "<none>");
}

static void priority_level_cells(const void *object, struct cells *cells) {
	const struct flowcontrol_v1_priority_level_configuration *p = object;
	const struct flowcontrol_v1_queuing_configuration *q = p->spec.limited ? p->spec.limited->limit_response.queuing : NULL;
	cell_string(cells, p->metadata.name);
	cell_string(cells, p->spec.type);
	optional_number(cells, p->spec.limited ? p->spec.limited->nominal_concurrency_shares : NULL);
	optional_number(cells, q ? &q->queues : NULL);
	optional_number(cells, q ? &q->hand_size : NULL);
	optional_number(cells, q ? &q->queue_length_limit : NULL);
	cell_age_of(cells, p);
}

/* ---- networking ---- */

static void ip_address_cells(const void *object, struct cells *cells) {
	const struct networking_v1_ip_address *ip = object;
	const struct networking_v1_parent_reference *ref = ip->spec.parent_ref;
	cell_string(cells, ip->metadata.name);
	if (!ref)
		cell_string(cells, "");
	else
		cell_printf(cells, "%s%s%s/%s%s%s", str_or(ref->resource, ""), str_empty(ref->group) ? "" : ".", str_or(ref->group, ""), str_or(ref->namespace, ""), str_empty(ref->namespace) ? "" : "/", str_or(ref->name, ""));
	cell_age_of(cells, ip); /* which no column names */
}

static void service_cidr_cells(const void *object, struct cells *cells) {
	const struct networking_v1_service_cidr *cidr = object;
	autobuf struct buf out = BUF_INIT(4096);
	for (uint32_t i = 0; i < cidr->spec.cidrs.len; i++)
		buf_printf(&out, "%s%s", i ? "," : "", cidr->spec.cidrs.items[i]);
	cell_string(cells, cidr->metadata.name);
	cell_string(cells, out.data);
	cell_age_of(cells, cidr);
}

/* ---- storage ---- */

static void csi_driver_cells(const void *object, struct cells *cells) {
	const struct storage_v1_csi_driver *d = object;
	autobuf struct buf modes = BUF_INIT(4096), audiences = BUF_INIT(64 << 10);
	for (uint32_t i = 0; i < d->spec.volume_lifecycle_modes.len; i++)
		buf_printf(&modes, "%s%s", i ? "," : "", d->spec.volume_lifecycle_modes.items[i]);
	for (uint32_t i = 0; i < d->spec.token_requests.len; i++)
		buf_printf(&audiences, "%s%s", i ? "," : "", str_or(d->spec.token_requests.items[i].audience, ""));
	cell_string(cells, d->metadata.name);
	cell_bool(cells, !d->spec.attach_required || *d->spec.attach_required);
	cell_bool(cells, d->spec.pod_info_on_mount && *d->spec.pod_info_on_mount);
	cell_bool(cells, d->spec.storage_capacity && *d->spec.storage_capacity);
	cell_string(cells, audiences.len ? audiences.data : "<unset>");
	cell_bool(cells, d->spec.requires_republish && *d->spec.requires_republish);
	cell_string(cells, modes.len ? modes.data : "<none>");
	cell_age_of(cells, d);
}

static void csi_node_cells(const void *object, struct cells *cells) {
	const struct storage_v1_csi_node *n = object;
	cell_string(cells, n->metadata.name);
	cell_int(cells, n->spec.drivers.len);
	cell_age_of(cells, n);
}

static void attachment_cells(const void *object, struct cells *cells) {
	const struct storage_v1_volume_attachment *a = object;
	cell_string(cells, a->metadata.name);
	cell_string(cells, a->spec.attacher);
	cell_string(cells, a->spec.source.persistent_volume_name);
	cell_string(cells, a->spec.node_name);
	cell_bool(cells, a->status.attached);
	cell_age_of(cells, a);
}

static void attributes_class_cells(const void *object, struct cells *cells) {
	const struct storage_v1_volume_attributes_class *c = object;
	cell_string(cells, c->metadata.name);
	cell_string(cells, c->driver_name);
	cell_age_of(cells, c);
}

/* ---- devices ---- */

static void name_and_age(const void *object, struct cells *cells) {
	cell_string(cells, api_metadata(object)->name);
	cell_age_of(cells, object);
}

static void resource_claim_cells(const void *object, struct cells *cells) {
	const struct resource_v1_resource_claim *claim = object;
	autobuf struct buf state = BUF_INIT(4096);
	if (claim->metadata.deletion_timestamp.set)
		buf_append_str(&state, "deleted");
	if (!claim->status.allocation && !state.len)
		buf_append_str(&state, "pending");
	if (claim->status.allocation)
		buf_printf(&state, "%sallocated", state.len ? "," : "");
	if (claim->status.reserved_for.len)
		buf_printf(&state, "%sreserved", state.len ? "," : "");
	cell_string(cells, claim->metadata.name);
	cell_string(cells, state.data);
	cell_age_of(cells, claim);
}

static void resource_slice_cells(const void *object, struct cells *cells) {
	const struct resource_v1_resource_slice *slice = object;
	cell_string(cells, slice->metadata.name);
	cell_string(cells, str_or(slice->spec.node_name, "<unset>"));
	cell_string(cells, slice->spec.driver);
	cell_string(cells, slice->spec.pool.name);
	cell_age_of(cells, slice);
}

#define ADMISSION "admissionregistration.k8s.io"
#define FLOW "flowcontrol.apiserver.k8s.io"
const struct printer printers_extensions[] = {
	{"autoscaling", "horizontalpodautoscalers", autoscaler_cells},
	{"certificates.k8s.io", "certificatesigningrequests", csr_cells},
	{ADMISSION, "mutatingwebhookconfigurations", mutating_webhooks_cells},
	{ADMISSION, "validatingwebhookconfigurations", validating_webhooks_cells},
	{ADMISSION, "mutatingadmissionpolicies", mutating_policy_cells},
	{ADMISSION, "mutatingadmissionpolicybindings", mutating_binding_cells},
	{ADMISSION, "validatingadmissionpolicies", validating_policy_cells},
	{ADMISSION, "validatingadmissionpolicybindings", validating_binding_cells},
	{"apiregistration.k8s.io", "apiservices", api_service_cells},
	{FLOW, "flowschemas", flow_schema_cells},
	{FLOW, "prioritylevelconfigurations", priority_level_cells},
	{"networking.k8s.io", "ipaddresses", ip_address_cells},
	{"networking.k8s.io", "servicecidrs", service_cidr_cells},
	{"storage.k8s.io", "csidrivers", csi_driver_cells},
	{"storage.k8s.io", "csinodes", csi_node_cells},
	{"storage.k8s.io", "volumeattachments", attachment_cells},
	{"storage.k8s.io", "volumeattributesclasses", attributes_class_cells},
	{"resource.k8s.io", "deviceclasses", name_and_age},
	{"resource.k8s.io", "resourceclaimtemplates", name_and_age},
	{"resource.k8s.io", "resourceclaims", resource_claim_cells},
	{"resource.k8s.io", "resourceslices", resource_slice_cells},
	{0},
};
