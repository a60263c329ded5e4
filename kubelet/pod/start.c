/* SPDX-License-Identifier: Apache-2.0 */
/* Starts one container: image, configuration, bundle, process, postStart hook, probes. */
#include "common/base/log.h"
#include "kubelet/metrics.h"
#include "kubelet/pod/pod.h"
#include "kubelet/pod/resize.h"
#include "kubelet/probe/probe.h"
#include "kubelet/resource/managers.h"

#include <errno.h>

#define HOOK_DEADLINE_MS (24 * 3600 * 1000LL)

static const char *const kind_labels[] = {[SLOT_INIT] = "init", [SLOT_SIDECAR] = "sidecar", [SLOT_MAIN] = "main", [SLOT_EPHEMERAL] = "ephemeral"};

static const char *const metric_kinds[] = {[SLOT_INIT] = "init_container", [SLOT_SIDECAR] = "init_container", [SLOT_MAIN] = "container", [SLOT_EPHEMERAL] = "ephemeral_container"};

static int fail(struct pod *pod, struct core_v1_pod *object, struct slot *slot, const char *reason, const struct error *err) {
	autofree char *field = slot_field_path(slot);
	kubelet_event(pod->kubelet, object, field, "Warning", "Failed", "Error: %s", error_message(err));
	log_warning("container cannot start", LOG_STR("pod", pod->name), LOG_STR("container", slot->name), LOG_STR("reason", reason), LOG_ERR(err));
	slot_wait(slot, reason, error_message(err));
	kubelet_metrics_container(metric_kinds[slot->kind], reason);
	if (object->spec.host_users && !*object->spec.host_users)
		kubelet_metrics_user_namespace_failed();
	return -EAGAIN;
}

static uint32_t next_attempt(const struct core_v1_pod *object, const struct slot *slot, const struct pod_view *view) {
	uint32_t attempt = 0;
	bool any = false;
	for (size_t i = 0; i < view->container_count; i++) {
		if (str_equal(view->containers[i]->name, slot->name)) {
			any = true;
			attempt = max_of(attempt, view->containers[i]->attempt + 1);
		}
	}
	if (any)
		return attempt;
	/* The runtime forgot (a reboot); the API has not. */
	const struct core_v1_container_status_array *lists[] = {&object->status.container_statuses, &object->status.init_container_statuses};
	for (size_t i = 0; i < array_len(lists); i++)
		for api_list_each (status, lists[i])
			if (str_equal(status->name, slot->name) && !str_empty(status->container_id))
				return (uint32_t)status->restart_count + 1;
	return 0;
}

/* Keeps the newest instance that ended, for its log and lastState; drops those before. */
static void drop_older(struct pod *pod, const struct slot *slot, const struct pod_view *view) {
	bool kept = false;
	for (size_t i = 0; i < view->container_count; i++) {
		const struct container_status *status = view->containers[i];
		if (!str_equal(status->name, slot->name) || status->state == CONTAINER_RUNNING)
			continue;
		if (!kept && status->state == CONTAINER_EXITED)
			kept = true;
		else
			runtime_container_remove(pod->kubelet->runtime, status->id, NULL);
	}
}

/* The container whose processes an ephemeral one is to see; NULL: none. -ENOENT where it does not run. */
static int find_target(struct pod *pod, const struct core_v1_pod *object, const struct slot *slot, const char **ret_id, struct error *err) {
	*ret_id = NULL;
	for api_list_each (c, &object->spec.ephemeral_containers) {
		if (slot->kind != SLOT_EPHEMERAL || !str_equal(c->ephemeral_container_common.name, slot->name) || str_empty(c->target_container_name))
			continue;
		const struct slot *target = pod_slot(pod, c->target_container_name);
		if (!target || !target->now)
			return error_set(err, ENOENT, "unable to find target container %s", c->target_container_name);
		*ret_id = target->now->id;
	}
	return 0;
}

/* *ret_cpus: those it is made with; empty: any. The caller frees both. */
static int create(struct pod *pod, struct core_v1_pod *object, struct slot *slot, const struct pod_view *view, char **ret_id, char **ret_cpus) {
	autoarena struct arena *arena = arena_new();
	autoerror struct error err = {0};
	struct pod_facts facts;
	struct container_config config;
	const char *target_id;
	if (find_target(pod, object, slot, &target_id, &err) < 0)
		return fail(pod, object, slot, "CreateContainerConfigError", &err);
	pod_facts_get(pod, &facts);
	autounref struct core_v1_node *node = pod->kubelet->node_informer ? informer_find(pod->kubelet->node_informer, NULL, pod->kubelet->node_name) : NULL;
	facts.allocatable = node ? &node->status.allocatable : NULL;
	const struct build_container_input input = {
		.kubelet = pod->kubelet,
		.pod = object,
		.container = slot->spec,
		.kind = kind_labels[slot->kind],
		.attempt = next_attempt(object, slot, view),
		.facts = &facts,
		.volume_paths = &pod->volume_paths,
		.target_id = target_id,
		.image_id = slot->spec->image,
	};
	if (build_container(&input, arena, &config, &err) < 0)
		return fail(pod, object, slot, "CreateContainerConfigError", &err);
	if (runtime_container_create(pod->kubelet->runtime, view->sandbox->id, &config, ret_id, &err) < 0)
		return fail(pod, object, slot, str_or(err.reason, "CreateContainerError"), &err);
	*ret_cpus = xstrdup(str_or(config.resources.cpuset_cpus, ""));
	return 0;
}

static int run_post_start(struct pod *pod, struct core_v1_pod *object, struct slot *slot, const char *id) {
	autoerror struct error err = {0};
	autofree char *field = slot_field_path(slot);
	if (!slot->spec->lifecycle || !slot->spec->lifecycle->post_start)
		return 0;
	if (pod_run_hook(pod, slot->spec, slot->spec->lifecycle->post_start, id, HOOK_DEADLINE_MS, &err) == 0)
		return 0;
	log_warning("postStart hook failed", LOG_STR("pod", pod->name), LOG_STR("container", slot->name), LOG_ERR(&err));
	kubelet_event(pod->kubelet, object, field, "Warning", "FailedPostStartHook", "PostStartHook failed");
	struct container_status *status = NULL;
	if (runtime_container_status(pod->kubelet->runtime, id, &status, NULL) == 0)
		pod_kill_container(pod, object, status, -1, "FailedPostStartHook");
	container_status_free(status);
	slot_wait(slot, "PostStartHookError", error_message(&err));
	return -EAGAIN;
}

int pod_start_container(struct pod *pod, struct core_v1_pod *object, struct slot *slot, const struct pod_view *view) {
	autofree char *field = slot_field_path(slot), *id = NULL, *cpus = NULL;
	autoerror struct error err = {0};
	int r = pod_ensure_images(pod, object, slot);
	if (r < 0 || pod_is_ending(pod))
		return r < 0 ? r : -EAGAIN;
	pod_manager_start_begin(pod->manager);
	int64_t began = clock_monotonic_ns();
	r = create(pod, object, slot, view, &id, &cpus);
	kubelet_metrics_operation("create_container", clock_monotonic_ns() - began, r < 0);
	if (r == 0) {
		drop_older(pod, slot, view);
		kubelet_event(pod->kubelet, object, field, "Normal", "Created", "Container created");
		began = clock_monotonic_ns();
		r = runtime_container_start(pod->kubelet->runtime, id, &err);
		kubelet_metrics_operation("start_container", clock_monotonic_ns() - began, r < 0);
	}
	pod_manager_start_end(pod->manager);
	if (r < 0)
		return err.message ? fail(pod, object, slot, "RunContainerError", &err) : r;
	kubelet_metrics_container(metric_kinds[slot->kind], NULL);
	slot->restarts_now = false;
	resource_managers_started(pod->kubelet->managers, object, slot->spec, cpus);
	pod_resize_started(pod, object, slot, id);
	kubelet_event(pod->kubelet, object, field, "Normal", "Started", "Container started");
	slot_wait(slot, NULL, NULL);
	r = run_post_start(pod, object, slot, id);
	if (r == 0 && slot->kind != SLOT_INIT && slot->kind != SLOT_EPHEMERAL)
		probe_manager_add(pod->kubelet->probes, object, slot->spec, id, pod->ip_count ? pod->ips[0] : "", clock_wall(), false, false);
	return r;
}
