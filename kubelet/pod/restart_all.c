/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RestartAllContainers. Containers of the run that ends are labelled, the one that asked for it last: a kubelet that dies meanwhile finds it
 * unlabelled and begins again.
 */
#include "common/base/log.h"
#include "kubelet/pod/pod.h"
#include "kubelet/probe/probe.h"

static bool asks(const struct slot *slot) {
	return slot->now && slot->now->state == CONTAINER_EXITED && pod_restarts_all_after(slot, slot->now->exit_code);
}

static bool list_may(const struct core_v1_container_array *containers) {
	for api_list_each (c, containers)
		for api_list_each (rule, &c->restart_policy_rules)
			if (str_equal(rule->action, CORE_V1_CONTAINER_RESTART_RULE_ACTION_RESTART_ALL_CONTAINERS))
				return true;
	return false;
}

bool pod_may_restart_all(const struct core_v1_pod *object) {
	return list_may(&object->spec.containers) || list_may(&object->spec.init_containers);
}

static int label(struct pod *pod, const struct slot *slot) {
	autoerror struct error err = {0};
	int r = runtime_container_set_label(pod->kubelet->runtime, slot->now->id, LABEL_RESTARTED, "1", &err);
	if (r < 0)
		log_error("container cannot be marked as restarted", LOG_STR("pod", pod->name), LOG_STR("container", slot->name), LOG_ERR(&err));
	return r;
}

bool pod_restart_all(struct pod *pod, struct core_v1_pod *object, const struct pod_view *view) {
	bool asked = false, done = true;
	for (size_t i = 0; i < pod->slot_count; i++)
		asked = asked || asks(&pod->slots[i]);
	if (!asked)
		return false;
	log_info("all containers of the pod restart", LOG_STR("pod", pod->name), LOG_STR("namespace", pod->ns));
	pod->restarting_all = true;
	pod_status_update(pod, object, view);
	for (size_t i = pod->slot_count; i-- > 0;) {
		struct slot *slot = &pod->slots[i];
		if (!slot->now || slot->kind == SLOT_EPHEMERAL || asks(slot))
			continue;
		pod_kill_container(pod, object, slot->now, 0, NULL);
		done = label(pod, slot) == 0 && done;
	}
	for (size_t i = 0; done && i < pod->slot_count; i++)
		if (asks(&pod->slots[i]))
			done = label(pod, &pod->slots[i]) == 0;
	probe_manager_remove(pod->kubelet->probes, pod->uid, NULL, false);
	return true;
}
