/* SPDX-License-Identifier: Apache-2.0 */
/* The other groups. */
#include "apiserver/printers/common.h"
#include "apiserver/printers/table.h"
#include "api/coordination_v1.h"
#include "api/discovery_v1.h"
#include "api/networking_v1.h"
#include "api/node_v1.h"
#include "api/policy_v1.h"
#include "api/rbac_v1.h"
#include "api/scheduling_v1.h"
#include "api/storage_v1.h"

static void lease_cells(const void *object, struct cells *cells) {
	const struct coordination_v1_lease *lease = object;
	cell_string(cells, lease->metadata.name);
	cell_string(cells, lease->spec.holder_identity);
	cell_age_of(cells, lease);
}

static void slice_cells(const void *object, struct cells *cells) {
	const struct discovery_v1_endpoint_slice *slice = object;
	autobuf struct buf ports = BUF_INIT(64 << 10), endpoints = BUF_INIT(64 << 10);
	for (uint32_t i = 0; i < slice->ports.len && i < 3; i++) {
		const struct discovery_v1_endpoint_port *port = &slice->ports.items[i];
		if (port->port)
			buf_printf(&ports, "%s%d", i ? "," : "", *port->port);
		else
			buf_printf(&ports, "%s*", i ? "," : "");
	}
	if (slice->ports.len > 3)
		buf_printf(&ports, " + %u more...", slice->ports.len - 3);
	int count = 0;
	for (uint32_t i = 0; i < slice->endpoints.len; i++)
		for (uint32_t n = 0; n < slice->endpoints.items[i].addresses.len; n++, count++)
			if (count < 3)
				buf_printf(&endpoints, "%s%s", count ? "," : "", slice->endpoints.items[i].addresses.items[n]);
	if (count > 3)
		buf_printf(&endpoints, " + %d more...", count - 3);
	cell_string(cells, slice->metadata.name);
	cell_string(cells, slice->address_type);
	cell_string(cells, ports.len ? ports.data : "<unset>");
	cell_string(cells, endpoints.len ? endpoints.data : "<unset>");
	cell_age_of(cells, slice);
}

/* ---- networking ---- */

static void ingress_cells(const void *object, struct cells *cells) {
	const struct networking_v1_ingress *ingress = object;
	autobuf struct buf hosts = BUF_INIT(64 << 10), addresses = BUF_INIT(64 << 10);
	for (uint32_t i = 0; i < ingress->spec.rules.len; i++)
		if (!str_empty(ingress->spec.rules.items[i].host))
			buf_printf(&hosts, "%s%s", hosts.len ? "," : "", ingress->spec.rules.items[i].host);
	for (uint32_t i = 0; i < ingress->status.load_balancer.ingress.len; i++) {
		const struct networking_v1_ingress_load_balancer_ingress *in = &ingress->status.load_balancer.ingress.items[i];
		buf_printf(&addresses, "%s%s", i ? "," : "", str_empty(in->ip) ? str_or(in->hostname, "") : in->ip);
	}
	cell_string(cells, ingress->metadata.name);
	cell_string(cells, str_or(ingress->spec.ingress_class_name, "<none>"));
	cell_string(cells, hosts.len ? hosts.data : "*");
	cell_string(cells, addresses.data);
	cell_string(cells, ingress->spec.tls.len ? "80, 443" : "80");
	cell_age_of(cells, ingress);
}

static void ingress_class_cells(const void *object, struct cells *cells) {
	const struct networking_v1_ingress_class *class = object;
	cell_string(cells, class->metadata.name);
	cell_string(cells, class->spec.controller);
	if (class->spec.parameters)
		cell_printf(cells, "%s%s%s/%s", class->spec.parameters->kind, str_empty(class->spec.parameters->api_group) ? "" : ".", str_or(class->spec.parameters->api_group, ""), class->spec.parameters->name);
	else
		cell_string(cells, "<none>");
	cell_age_of(cells, class);
}

static void network_policy_cells(const void *object, struct cells *cells) {
	const struct networking_v1_network_policy *policy = object;
	cell_string(cells, policy->metadata.name);
	cell_selector(cells, &policy->spec.pod_selector);
	cell_age_of(cells, policy);
}

/* ---- policy, scheduling, node ---- */

static void int_or_string(struct cells *cells, const struct int_or_string *value) {
	if (!value)
		cell_string(cells, "N/A");
	else if (value->str)
		cell_string(cells, value->str);
	else
		cell_printf(cells, "%d", value->num);
}

static void budget_cells(const void *object, struct cells *cells) {
	const struct policy_v1_pod_disruption_budget *budget = object;
	cell_string(cells, budget->metadata.name);
	int_or_string(cells, budget->spec.min_available);
	int_or_string(cells, budget->spec.max_unavailable);
	cell_int(cells, budget->status.disruptions_allowed);
	cell_age_of(cells, budget);
}

static void priority_class_cells(const void *object, struct cells *cells) {
	const struct scheduling_v1_priority_class *class = object;
	cell_string(cells, class->metadata.name);
	cell_int(cells, class->value);
	cell_bool(cells, class->global_default);
	cell_age_of(cells, class);
	cell_string(cells, str_or(class->preemption_policy, "PreemptLowerPriority"));
}

static void runtime_class_cells(const void *object, struct cells *cells) {
	const struct node_v1_runtime_class *class = object;
	cell_string(cells, class->metadata.name);
	cell_string(cells, class->handler);
	cell_age_of(cells, class);
}

/* ---- rbac ---- */

static void binding_cells(const void *object, struct cells *cells) {
	/* RoleBinding and ClusterRoleBinding are laid out alike. */
	const struct rbac_v1_role_binding *binding = object;
	static const char *const kinds[] = {"User", "Group", "ServiceAccount"};
	cell_string(cells, binding->metadata.name);
	cell_printf(cells, "%s/%s", binding->role_ref.kind, binding->role_ref.name);
	cell_age_of(cells, binding);
	for (size_t k = 0; k < array_len(kinds); k++) {
		autobuf struct buf out = BUF_INIT(64 << 10);
		for (uint32_t i = 0; i < binding->subjects.len; i++) {
			const struct rbac_v1_subject *s = &binding->subjects.items[i];
			if (!str_equal(s->kind, kinds[k]))
				continue;
			buf_append_str(&out, out.len ? ", " : "");
			if (k == 2)
				buf_printf(&out, "%s/", str_or(s->namespace, ""));
			buf_append_str(&out, s->name);
		}
		cell_string(cells, out.data);
	}
}

/* ---- storage ---- */

static void storage_class_cells(const void *object, struct cells *cells) {
	const struct storage_v1_storage_class *class = object;
	bool is_default = str_equal(api_map_get(&class->metadata.annotations, "storageclass.kubernetes.io/is-default-class"), "true");
	cell_printf(cells, "%s%s", class->metadata.name, is_default ? " (default)" : "");
	cell_string(cells, class->provisioner);
	cell_string(cells, str_or(class->reclaim_policy, "Delete"));
	cell_string(cells, str_or(class->volume_binding_mode, "Immediate"));
	cell_bool(cells, class->allow_volume_expansion && *class->allow_volume_expansion);
	cell_age_of(cells, class);
}

const struct printer printers_other[] = {
	{"coordination.k8s.io", "leases", lease_cells},
	{"discovery.k8s.io", "endpointslices", slice_cells},
	{"networking.k8s.io", "ingresses", ingress_cells},
	{"networking.k8s.io", "ingressclasses", ingress_class_cells},
	{"networking.k8s.io", "networkpolicies", network_policy_cells},
	{"policy", "poddisruptionbudgets", budget_cells},
	{"scheduling.k8s.io", "priorityclasses", priority_class_cells},
	{"node.k8s.io", "runtimeclasses", runtime_class_cells},
	{"rbac.authorization.k8s.io", "rolebindings", binding_cells},
	{"rbac.authorization.k8s.io", "clusterrolebindings", binding_cells},
	{"storage.k8s.io", "storageclasses", storage_class_cells},
	{0},
};
