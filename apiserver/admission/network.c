/* SPDX-License-Identifier: Apache-2.0 */
/* DefaultIngressClass and DenyServiceExternalIPs. */
#include "apiserver/admission/admission.h"
#include "api/core_v1.h"
#include "api/networking_v1.h"

static int admit_class(struct write *w, struct error *err) {
	if (!admission_is(w, "networking.k8s.io", "ingresses", NULL))
		return 0;
	struct networking_v1_ingress *ingress = w->object;
	if (!ingress->spec.ingress_class_name && !api_map_get(&ingress->metadata.annotations, "kubernetes.io/ingress.class"))
		ingress->spec.ingress_class_name = admission_default_class(w->r->server, "networking.k8s.io", "ingressclasses", "ingressclass.kubernetes.io/is-default-class", NULL, api_arena(ingress));
	return 0;
}

const struct admission_plugin admission_default_ingress_class = {
	.name = "DefaultIngressClass",
	.operations = WRITE_CREATE,
	.admit = admit_class,
};

/* Those a Service has already it may keep. */
static int validate_addresses(struct write *w, struct error *err) {
	if (!admission_is(w, "", "services", NULL))
		return 0;
	const struct core_v1_service *service = w->object, *old = w->old;
	for (uint32_t i = 0; i < service->spec.external_ips.len; i++)
		if (!old || !api_string_list_has(&old->spec.external_ips, service->spec.external_ips.items[i]))
			return error_forbidden(err, w->resource, admission_name(w), "Use of external IPs is denied by admission control");
	return 0;
}

const struct admission_plugin admission_deny_external_ips = {
	.name = "DenyServiceExternalIPs",
	.operations = WRITE_CREATE | WRITE_UPDATE,
	.off_by_default = true,
	.validate = validate_addresses,
};
