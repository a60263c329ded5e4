/* SPDX-License-Identifier: Apache-2.0 */
/* What kubectl get shows of the core group. */
#include "apiserver/printers/common.h"
#include "apiserver/printers/table.h"
#include "api/core_v1.h"
#include "api/events_v1.h"
#include "common/api/convert.h"

/* ---- Pod ---- */

static const char *condition_status(const struct core_v1_pod *pod, const char *type) {
	for (uint32_t i = 0; i < pod->status.conditions.len; i++)
		if (str_equal(pod->status.conditions.items[i].type, type))
			return pod->status.conditions.items[i].status;
	return NULL;
}

static bool is_sidecar(const struct core_v1_pod *pod, const char *name) {
	for (uint32_t i = 0; i < pod->spec.init_containers.len; i++)
		if (str_equal(pod->spec.init_containers.items[i].name, name))
			return str_equal(pod->spec.init_containers.items[i].restart_policy, "Always");
	return false;
}

struct pod_summary {
	struct buf reason;
	int restarts, ready, total;
	struct api_time last_restart;
};

static void note_restart(struct pod_summary *s, const struct core_v1_container_status *c) {
	const struct core_v1_container_state_terminated *last = c->last_state.terminated;
	if (last && last->finished_at.set && (!s->last_restart.set || last->finished_at.t.sec > s->last_restart.t.sec))
		s->last_restart = last->finished_at;
}

static void set_reason(struct pod_summary *s, const char *text) {
	buf_reset(&s->reason);
	buf_append_str(&s->reason, str_or(text, ""));
}

/* Returns true where an init container holds the pod up: then it is the pod's status. */
static bool summarize_init(const struct core_v1_pod *pod, struct pod_summary *s) {
	for (uint32_t i = 0; i < pod->status.init_container_statuses.len; i++) {
		const struct core_v1_container_status *c = &pod->status.init_container_statuses.items[i];
		s->restarts += c->restart_count;
		note_restart(s, c);
		bool sidecar = is_sidecar(pod, c->name);
		if (c->state.terminated && c->state.terminated->exit_code == 0)
			continue;
		if (sidecar && c->started && *c->started) {
			if (c->ready)
				s->ready++;
			continue;
		}
		if (c->state.terminated) {
			buf_reset(&s->reason);
			if (!str_empty(c->state.terminated->reason))
				buf_printf(&s->reason, "Init:%s", c->state.terminated->reason);
			else if (c->state.terminated->signal)
				buf_printf(&s->reason, "Init:Signal:%d", c->state.terminated->signal);
			else
				buf_printf(&s->reason, "Init:ExitCode:%d", c->state.terminated->exit_code);
		} else if (c->state.waiting && !str_empty(c->state.waiting->reason) && strcmp(c->state.waiting->reason, "PodInitializing") != 0) {
			buf_reset(&s->reason);
			buf_printf(&s->reason, "Init:%s", c->state.waiting->reason);
		} else {
			buf_reset(&s->reason);
			buf_printf(&s->reason, "Init:%u/%u", i, pod->spec.init_containers.len);
		}
		return true;
	}
	return false;
}

static void summarize_containers(const struct core_v1_pod *pod, struct pod_summary *s) {
	bool running = false;
	for (uint32_t i = pod->status.container_statuses.len; i-- > 0;) {
		const struct core_v1_container_status *c = &pod->status.container_statuses.items[i];
		s->restarts += c->restart_count;
		note_restart(s, c);
		const struct core_v1_container_state_terminated *ended = c->state.terminated;
		if (c->state.waiting && !str_empty(c->state.waiting->reason)) {
			set_reason(s, c->state.waiting->reason);
		} else if (ended && !str_empty(ended->reason)) {
			set_reason(s, ended->reason);
		} else if (ended) {
			buf_reset(&s->reason);
			if (ended->signal)
				buf_printf(&s->reason, "Signal:%d", ended->signal);
			else
				buf_printf(&s->reason, "ExitCode:%d", ended->exit_code);
		} else if (c->ready && c->state.running) {
			running = true;
			s->ready++;
		}
	}
	if (str_equal(s->reason.data, "Completed") && running)
		set_reason(s, str_equal(condition_status(pod, "Ready"), "True") ? "Running" : "NotReady");
}

static void summarize(const struct core_v1_pod *pod, struct pod_summary *s) {
	*s = (struct pod_summary){.reason = BUF_INIT(4096), .total = (int)pod->spec.containers.len};
	for (uint32_t i = 0; i < pod->spec.init_containers.len; i++)
		if (str_equal(pod->spec.init_containers.items[i].restart_policy, "Always"))
			s->total++;
	set_reason(s, str_empty(pod->status.reason) ? pod->status.phase : pod->status.reason);
	for (uint32_t i = 0; i < pod->status.conditions.len; i++)
		if (str_equal(pod->status.conditions.items[i].type, "PodScheduled") && str_equal(pod->status.conditions.items[i].reason, "SchedulingGated"))
			set_reason(s, "SchedulingGated");
	bool initializing = summarize_init(pod, s);
	if (!initializing || str_equal(condition_status(pod, "Initialized"), "True")) {
		if (!initializing || pod->status.container_statuses.len)
			summarize_containers(pod, s);
	}
	if (pod->metadata.deletion_timestamp.set)
		set_reason(s, str_equal(pod->status.reason, "NodeLost") ? "Unknown" : str_equal(pod->status.phase, "Succeeded") || str_equal(pod->status.phase, "Failed") ? s->reason.data : "Terminating");
}

static void pod_cells(const void *object, struct cells *cells) {
	const struct core_v1_pod *pod = object;
	struct pod_summary s;
	summarize(pod, &s);
	cell_string(cells, pod->metadata.name);
	cell_printf(cells, "%d/%d", s.ready, s.total);
	cell_string(cells, s.reason.data);
	if (s.restarts && s.last_restart.set) {
		char ago[32];
		duration_format_human(clock_wall().sec - s.last_restart.t.sec, ago);
		cell_printf(cells, "%d (%s ago)", s.restarts, ago);
	} else {
		cell_printf(cells, "%d", s.restarts);
	}
	cell_age_of(cells, pod);
	cell_string(cells, str_or(pod->status.pod_ips.len ? pod->status.pod_ips.items[0].ip : pod->status.pod_ip, "<none>"));
	cell_string(cells, str_or(pod->spec.node_name, "<none>"));
	cell_string(cells, str_or(pod->status.nominated_node_name, "<none>"));
	if (pod->spec.readiness_gates.len) {
		int good = 0;
		for (uint32_t i = 0; i < pod->spec.readiness_gates.len; i++)
			good += str_equal(condition_status(pod, pod->spec.readiness_gates.items[i].condition_type), "True");
		cell_printf(cells, "%d/%u", good, pod->spec.readiness_gates.len);
	} else {
		cell_string(cells, "<none>");
	}
	buf_done(&s.reason);
}

/* ---- Service ---- */

static void external_ip(const struct core_v1_service *service, struct cells *cells) {
	autobuf struct buf out = BUF_INIT(64 << 10);
	const struct core_v1_service_spec *spec = &service->spec;
	bool balancer = str_equal(spec->type, "LoadBalancer");
	if (str_equal(spec->type, "ExternalName")) {
		cell_string(cells, spec->external_name);
		return;
	}
	for (uint32_t i = 0; balancer && i < service->status.load_balancer.ingress.len; i++) {
		const struct core_v1_load_balancer_ingress *in = &service->status.load_balancer.ingress.items[i];
		buf_printf(&out, "%s%s", out.len ? "," : "", str_empty(in->ip) ? str_or(in->hostname, "") : in->ip);
	}
	for (uint32_t i = 0; i < spec->external_ips.len; i++)
		buf_printf(&out, "%s%s", out.len ? "," : "", spec->external_ips.items[i]);
	cell_string(cells, out.len ? out.data : balancer ? "<pending>" : "<none>");
}

static void service_cells(const void *object, struct cells *cells) {
	const struct core_v1_service *service = object;
	autobuf struct buf ports = BUF_INIT(64 << 10);
	cell_string(cells, service->metadata.name);
	cell_string(cells, service->spec.type);
	cell_string(cells, str_or(service->spec.cluster_ips.len ? service->spec.cluster_ips.items[0] : service->spec.cluster_ip, "<none>"));
	external_ip(service, cells);
	for (uint32_t i = 0; i < service->spec.ports.len; i++) {
		const struct core_v1_service_port *port = &service->spec.ports.items[i];
		buf_printf(&ports, "%s%d", i ? "," : "", port->port);
		if (port->node_port)
			buf_printf(&ports, ":%d", port->node_port);
		buf_printf(&ports, "/%s", str_or(port->protocol, "TCP"));
	}
	cell_string(cells, ports.len ? ports.data : "<none>");
	cell_age_of(cells, service);
	cell_labels(cells, &service->spec.selector);
}

/* ---- Node ---- */

static const char *node_address(const struct core_v1_node *node, const char *type) {
	for (uint32_t i = 0; i < node->status.addresses.len; i++)
		if (str_equal(node->status.addresses.items[i].type, type))
			return node->status.addresses.items[i].address;
	return "<none>";
}

static void node_roles(const struct core_v1_node *node, struct cells *cells) {
	static const char prefix[] = "node-role.kubernetes.io/";
	autobuf struct buf roles = BUF_INIT(64 << 10);
	for (uint32_t i = 0; i < node->metadata.labels.len; i++) {
		const struct api_string_map_entry *label = &node->metadata.labels.items[i];
		const char *role = str_starts_with(label->key, prefix) ? label->key + sizeof(prefix) - 1 : strcmp(label->key, "kubernetes.io/role") == 0 ? label->value : NULL;
		if (!str_empty(role))
			buf_printf(&roles, "%s%s", roles.len ? "," : "", role);
	}
	cell_string(cells, roles.len ? roles.data : "<none>");
}

static void node_cells(const void *object, struct cells *cells) {
	const struct core_v1_node *node = object;
	const char *status = "Unknown";
	for (uint32_t i = 0; i < node->status.conditions.len; i++)
		if (str_equal(node->status.conditions.items[i].type, "Ready"))
			status = str_equal(node->status.conditions.items[i].status, "True") ? "Ready" : "NotReady";
	cell_string(cells, node->metadata.name);
	cell_printf(cells, "%s%s", status, node->spec.unschedulable ? ",SchedulingDisabled" : "");
	node_roles(node, cells);
	cell_age_of(cells, node);
	const struct core_v1_node_system_info *info = &node->status.node_info;
	cell_string(cells, info->kubelet_version);
	cell_string(cells, node_address(node, "InternalIP"));
	cell_string(cells, node_address(node, "ExternalIP"));
	cell_string(cells, str_or(info->os_image, "<unknown>"));
	const char *kernel = str_or(info->kernel_version, "<unknown>");
	if (str_empty(info->architecture))
		cell_string(cells, kernel);
	else
		cell_printf(cells, "%s (%s)", kernel, info->architecture);
	cell_string(cells, str_or(info->container_runtime_version, "<unknown>"));
}

/* ---- small kinds ---- */

static void namespace_cells(const void *object, struct cells *cells) {
	const struct core_v1_namespace *ns = object;
	cell_string(cells, ns->metadata.name);
	cell_string(cells, ns->status.phase);
	cell_age_of(cells, ns);
}

static void config_map_cells(const void *object, struct cells *cells) {
	const struct core_v1_config_map *map = object;
	cell_string(cells, map->metadata.name);
	cell_int(cells, map->data.len + map->binary_data.len);
	cell_age_of(cells, map);
}

static void secret_cells(const void *object, struct cells *cells) {
	const struct core_v1_secret *secret = object;
	cell_string(cells, secret->metadata.name);
	cell_string(cells, secret->type);
	cell_int(cells, secret->data.len);
	cell_age_of(cells, secret);
}

static void service_account_cells(const void *object, struct cells *cells) {
	const struct core_v1_service_account *account = object;
	cell_string(cells, account->metadata.name);
	cell_age_of(cells, account);
}

static void endpoints_cells(const void *object, struct cells *cells) {
	const struct core_v1_endpoints *endpoints = object;
	autobuf struct buf out = BUF_INIT(64 << 10);
	int count = 0;
	bool more = false;
	for (uint32_t s = 0; s < endpoints->subsets.len; s++) {
		const struct core_v1_endpoint_subset *subset = &endpoints->subsets.items[s];
		if (!subset->ports.len)
			for (uint32_t a = 0; a < subset->addresses.len; a++, count++) {
				if (count < 3)
					buf_printf(&out, "%s%s", count ? "," : "", subset->addresses.items[a].ip);
				else
					more = true;
			}
		for (uint32_t p = 0; p < subset->ports.len; p++)
			for (uint32_t a = 0; a < subset->addresses.len; a++, count++) {
				const char *ip = subset->addresses.items[a].ip;
				if (count < 3)
					buf_printf(&out, strchr(ip, ':') ? "%s[%s]:%d" : "%s%s:%d", count ? "," : "", ip, subset->ports.items[p].port);
				else
					more = true;
			}
	}
	if (more)
		buf_printf(&out, " + %d more...", count - 3);
	cell_string(cells, endpoints->metadata.name);
	cell_string(cells, out.len ? out.data : "<none>");
	cell_age_of(cells, endpoints);
}

static void event_cells(const void *object, struct cells *cells) {
	const struct core_v1_event *event = object;
	struct api_time first = event->first_timestamp.set ? event->first_timestamp : event->event_time;
	struct api_time last = event->series ? event->series->last_observed_time : event->last_timestamp.set ? event->last_timestamp : first;
	const char *component = str_or(event->source.component, str_or(event->reporting_component, ""));
	cell_age(cells, &last);
	cell_string(cells, event->type);
	cell_string(cells, event->reason);
	autofree char *kind = xstrdup(str_or(event->involved_object.kind, ""));
	for (char *p = kind; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
	cell_printf(cells, "%s%s%s", kind, str_empty(event->involved_object.name) ? "" : "/", str_or(event->involved_object.name, ""));
	cell_string(cells, event->involved_object.field_path);
	cell_printf(cells, "%s%s%s", component, str_empty(event->source.host) ? "" : ", ", str_or(event->source.host, ""));
	size_t len = strlen(str_or(event->message, ""));
	while (len && (event->message[len - 1] == '\n' || event->message[len - 1] == ' '))
		len--;
	cell_printf(cells, "%.*s", (int)len, str_or(event->message, ""));
	cell_age(cells, &first);
	int32_t count = event->series ? event->series->count : event->count ? event->count : 1;
	cell_int(cells, count);
	cell_string(cells, event->metadata.name);
}

static void events_v1_cells(const void *object, struct cells *cells) {
	void *converted;
	if (api_convert(object, &core_v1_event_type, &converted, NULL) < 0)
		return;
	event_cells(converted, cells);
	api_unref(converted);
}

static void access_modes(const struct api_string_list *modes, struct cells *cells) {
	static const struct { const char *mode, *text; } names[] = {
		{"ReadWriteOnce", "RWO"}, {"ReadOnlyMany", "ROX"}, {"ReadWriteMany", "RWX"}, {"ReadWriteOncePod", "RWOP"},
	};
	autobuf struct buf out = BUF_INIT(4096);
	for (size_t n = 0; n < array_len(names); n++)
		if (api_string_list_has(modes, names[n].mode))
			buf_printf(&out, "%s%s", out.len ? "," : "", names[n].text);
	cell_string(cells, out.data);
}

static void capacity(const struct api_quantity_map *map, struct cells *cells) {
	char text[64] = "";
	const struct quantity *storage = api_quantity_get(map, "storage");
	if (storage)
		quantity_format(storage, text);
	cell_string(cells, text);
}

static void claim_cells(const void *object, struct cells *cells) {
	const struct core_v1_persistent_volume_claim *claim = object;
	bool bound = !str_empty(claim->spec.volume_name);
	cell_string(cells, claim->metadata.name);
	cell_string(cells, claim->metadata.deletion_timestamp.set ? "Terminating" : claim->status.phase);
	cell_string(cells, claim->spec.volume_name);
	if (bound) {
		capacity(&claim->status.capacity, cells);
		access_modes(&claim->status.access_modes, cells);
	} else {
		cell_string(cells, "");
		cell_string(cells, "");
	}
	cell_string(cells, claim->spec.storage_class_name);
	cell_string(cells, str_or(claim->status.current_volume_attributes_class_name, str_or(claim->spec.volume_attributes_class_name, "<unset>")));
	cell_age_of(cells, claim);
	cell_string(cells, str_or(claim->spec.volume_mode, "<unset>"));
}

static void volume_cells(const void *object, struct cells *cells) {
	const struct core_v1_persistent_volume *volume = object;
	const struct core_v1_object_reference *claim = volume->spec.claim_ref;
	cell_string(cells, volume->metadata.name);
	capacity(&volume->spec.capacity, cells);
	access_modes(&volume->spec.access_modes, cells);
	cell_string(cells, volume->spec.persistent_volume_reclaim_policy);
	cell_string(cells, volume->metadata.deletion_timestamp.set ? "Terminating" : volume->status.phase);
	if (claim)
		cell_printf(cells, "%s/%s", str_or(claim->namespace, ""), str_or(claim->name, ""));
	else
		cell_string(cells, "");
	cell_string(cells, volume->spec.storage_class_name);
	cell_string(cells, str_or(volume->spec.volume_attributes_class_name, "<unset>"));
	cell_string(cells, volume->status.reason);
	cell_age_of(cells, volume);
	cell_string(cells, str_or(volume->spec.volume_mode, "<unset>"));
}

static void controller_cells(const void *object, struct cells *cells) {
	const struct core_v1_replication_controller *rc = object;
	cell_string(cells, rc->metadata.name);
	cell_int(cells, rc->spec.replicas ? *rc->spec.replicas : 0);
	cell_int(cells, rc->status.replicas);
	cell_int(cells, rc->status.ready_replicas);
	cell_age_of(cells, rc);
	cell_containers(cells, rc->spec.template ? &rc->spec.template->spec : NULL);
	cell_labels(cells, &rc->spec.selector);
}

static void template_cells(const void *object, struct cells *cells) {
	const struct core_v1_pod_template *template = object;
	cell_string(cells, template->metadata.name);
	cell_containers(cells, &template->template.spec);
	cell_labels(cells, &template->template.metadata.labels);
}

static void quota_cells(const void *object, struct cells *cells) {
	const struct core_v1_resource_quota *quota = object;
	autobuf struct buf requests = BUF_INIT(64 << 10), limits = BUF_INIT(64 << 10);
	for (uint32_t i = 0; i < quota->status.hard.len; i++) {
		const char *name = quota->status.hard.items[i].key;
		struct buf *out = str_starts_with(name, "limits.") ? &limits : &requests;
		char hard[64], used[64] = "0";
		quantity_format(&quota->status.hard.items[i].value, hard);
		const struct quantity *q = api_quantity_get(&quota->status.used, name);
		if (q)
			quantity_format(q, used);
		buf_printf(out, "%s%s: %s/%s", out->len ? ", " : "", name, used, hard);
	}
	cell_string(cells, quota->metadata.name);
	cell_string(cells, requests.data);
	cell_string(cells, limits.data);
	cell_age_of(cells, quota);
}

static void component_cells(const void *object, struct cells *cells) {
	const struct core_v1_component_status *component = object;
	const struct core_v1_component_condition *healthy = NULL;
	for (uint32_t i = 0; i < component->conditions.len && !healthy; i++)
		if (str_equal(component->conditions.items[i].type, "Healthy"))
			healthy = &component->conditions.items[i];
	cell_string(cells, component->metadata.name);
	cell_string(cells, !healthy ? "Unknown" : str_equal(healthy->status, "True") ? "Healthy" : "Unhealthy");
	cell_string(cells, healthy ? healthy->message : "");
	cell_string(cells, healthy ? healthy->error : "");
}

const struct printer printers_core[] = {
	{"", "pods", pod_cells},
	{"", "services", service_cells},
	{"", "nodes", node_cells},
	{"", "namespaces", namespace_cells},
	{"", "configmaps", config_map_cells},
	{"", "secrets", secret_cells},
	{"", "serviceaccounts", service_account_cells},
	{"", "endpoints", endpoints_cells},
	{"", "events", event_cells},
	{"events.k8s.io", "events", events_v1_cells},
	{"", "persistentvolumeclaims", claim_cells},
	{"", "persistentvolumes", volume_cells},
	{"", "replicationcontrollers", controller_cells},
	{"", "podtemplates", template_cells},
	{"", "resourcequotas", quota_cells},
	{"", "componentstatuses", component_cells},
	{0},
};
