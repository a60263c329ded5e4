/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/container/resources.h"
#include "kubelet/pod/pod.h"

int pod_view_load(struct pod *pod, struct pod_view *ret, struct error *err) {
	struct pod_view view = {0};
	int r = runtime_sandbox_list(pod->kubelet->runtime, pod->uid, &view.sandboxes, &view.sandbox_count, err);
	if (r == 0)
		r = runtime_container_list(pod->kubelet->runtime, NULL, pod->uid, &view.containers, &view.container_count, err);
	if (r < 0) {
		pod_view_done(&view);
		return r;
	}
	if (view.sandbox_count && view.sandboxes[0]->state == SANDBOX_READY)
		view.sandbox = view.sandboxes[0];
	*ret = view;
	return 0;
}

void pod_view_done(struct pod_view *view) {
	for (size_t i = 0; i < view->sandbox_count; i++)
		sandbox_status_free(view->sandboxes[i]);
	for (size_t i = 0; i < view->container_count; i++)
		container_status_free(view->containers[i]);
	free(view->sandboxes);
	free(view->containers);
	*view = (struct pod_view){0};
}

void slot_wait(struct slot *slot, const char *reason, const char *message) {
	char *new_reason = reason ? xstrdup(reason) : NULL, *new_message = message ? xstrdup(message) : NULL;
	free(slot->waiting_reason);
	free(slot->waiting_message);
	slot->waiting_reason = new_reason;
	slot->waiting_message = new_message;
}

struct slot *pod_slot(struct pod *pod, const char *name) {
	for (size_t i = 0; i < pod->slot_count; i++)
		if (str_equal(pod->slots[i].name, name))
			return &pod->slots[i];
	return NULL;
}

static bool is_of_this_run(const struct container_status *status, const struct pod_view *view) {
	return status->state != CONTAINER_CREATED && !runtime_label_get(&status->labels, LABEL_RESTARTED) && (!view->sandbox || str_equal(status->sandbox_id, view->sandbox->id));
}

static void set_slot(struct pod *pod, const struct core_v1_container *spec, enum slot_kind kind, const struct pod_view *view) {
	struct slot *slot = pod_slot(pod, spec->name);
	if (!slot) {
		pod->slots = xreallocarray(pod->slots, pod->slot_count + 1, sizeof(*pod->slots));
		slot = &pod->slots[pod->slot_count++];
		*slot = (struct slot){.name = xstrdup(spec->name)};
	}
	slot->kind = kind;
	slot->spec = spec;
	slot->now = slot->last = NULL;
	for (size_t i = 0; i < view->container_count; i++) {
		const struct container_status *status = view->containers[i];
		if (!str_equal(status->name, spec->name))
			continue;
		/* An instance that was laid out but never ran, by a kubelet that died, is no instance. */
		if (!slot->now && !slot->last && is_of_this_run(status, view))
			slot->now = status;
		else if (!slot->last && status->state == CONTAINER_EXITED)
			slot->last = status;
	}
}

void pod_slots_update(struct pod *pod, const struct core_v1_pod *object, const struct pod_view *view) {
	for api_list_each (c, &object->spec.init_containers)
		set_slot(pod, c, pod_is_sidecar(c) ? SLOT_SIDECAR : SLOT_INIT, view);
	for api_list_each (c, &object->spec.containers)
		set_slot(pod, c, SLOT_MAIN, view);
	/* The same fields in the same order; only the type's name differs. */
	_Static_assert(sizeof(struct core_v1_container) == sizeof(struct core_v1_ephemeral_container_common), "an ephemeral container is laid out as a container");
	for api_list_each (c, &object->spec.ephemeral_containers)
		set_slot(pod, (const struct core_v1_container *)(const void *)&c->ephemeral_container_common, SLOT_EPHEMERAL, view);
}

char *pod_display(const struct pod *pod) {
	return xprintf("%s_%s(%s)", pod->name, pod->ns, pod->uid);
}

char *slot_field_path(const struct slot *slot) {
	static const char *const lists[] = {[SLOT_INIT] = "initContainers", [SLOT_SIDECAR] = "initContainers", [SLOT_MAIN] = "containers", [SLOT_EPHEMERAL] = "ephemeralContainers"};
	return xprintf("spec.%s{%s}", lists[slot->kind], slot->name);
}

static bool exit_code_in(const struct core_v1_container_restart_rule *rule, int code) {
	bool in = false;
	if (!rule->exit_codes)
		return false;
	for api_list_each (value, &rule->exit_codes->values)
		in = in || *value == code;
	return str_equal(rule->exit_codes->operator, CORE_V1_CONTAINER_RESTART_RULE_ON_EXIT_CODES_OPERATOR_NOT_IN) ? !in : in;
}

/* The action of the first rule that an exit code falls under; NULL: none. */
static const char *rule_action(const struct slot *slot, int exit_code) {
	for api_list_each (rule, &slot->spec->restart_policy_rules)
		if (exit_code_in(rule, exit_code))
			return rule->action;
	return NULL;
}

bool pod_restarts_all_after(const struct slot *slot, int exit_code) {
	return slot->kind != SLOT_EPHEMERAL && str_equal(rule_action(slot, exit_code), CORE_V1_CONTAINER_RESTART_RULE_ACTION_RESTART_ALL_CONTAINERS);
}

bool pod_restarts_after(const struct core_v1_pod *object, const struct slot *slot, int exit_code) {
	if (slot->kind == SLOT_EPHEMERAL)
		return false;
	if (slot->kind == SLOT_SIDECAR || rule_action(slot, exit_code))
		return true;
	const char *policy = str_or(slot->spec->restart_policy, str_or(object->spec.restart_policy, CORE_V1_RESTART_POLICY_ALWAYS));
	if (str_equal(policy, CORE_V1_RESTART_POLICY_NEVER))
		return false;
	/* An init container that succeeded is done, whatever the policy. */
	if (slot->kind == SLOT_INIT || str_equal(policy, CORE_V1_RESTART_POLICY_ON_FAILURE))
		return exit_code != 0;
	return true;
}

void pod_facts_get(struct pod *pod, struct pod_facts *ret) {
	*ret = (struct pod_facts){
		.host_ips = (const char *const *)pod->kubelet->node_ips,
		.host_ip_count = pod->kubelet->node_ip_count,
		.pod_ips = (const char *const *)pod->ips,
		.pod_ip_count = pod->ip_count,
		.node_name = pod->kubelet->node_name,
		.volume_paths = &pod->volume_paths,
	};
}
