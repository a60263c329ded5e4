/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One look at a pod: compare what should be with what the runtime holds, do what brings them together, say what came of it. Blocks
 * while containers start and stop; is run again whenever something happens.
 */
#include "api/node_v1.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "kubelet/container/resources.h"
#include "kubelet/metrics.h"
#include "kubelet/resource/managers.h"
#include "kubelet/pod/pod.h"
#include "kubelet/pod/resize.h"
#include "kubelet/pod/status_manager.h"
#include "kubelet/probe/probe.h"
#include "kubelet/source/source.h"
#include "kubelet/volume/volume.h"

#include <errno.h>

#define RETRY_FIRST (500 * NSEC_PER_MSEC)
#define RETRY_MAX (60 * NSEC_PER_SEC)
#define PULL_LOOK NSEC_PER_SEC
#define START_RETRY (10 * NSEC_PER_SEC)
#define CRASH_FIRST (10 * NSEC_PER_SEC)
#define CRASH_RESET (600 * NSEC_PER_SEC)
#define DEADLINE_MESSAGE "Pod was active on the node longer than the specified deadline"

/* When to look again: the earliest of all wishes. */
struct agenda {
	int64_t at;
};
static void look_at(struct agenda *agenda, int64_t at) {
	if (!agenda->at || at < agenda->at)
		agenda->at = at;
}
static void look_after(struct agenda *agenda, int64_t ns) {
	look_at(agenda, clock_monotonic_ns() + ns);
}
static void look_backoff(struct pod *pod, struct agenda *agenda) {
	pod->retry_ns = pod->retry_ns ? min_of(pod->retry_ns * 2, RETRY_MAX) : RETRY_FIRST;
	look_after(agenda, pod->retry_ns);
}

static bool phase_is_over(const char *phase) {
	return str_equal(phase, CORE_V1_POD_PHASE_FAILED) || str_equal(phase, CORE_V1_POD_PHASE_SUCCEEDED);
}

bool pod_is_ending(struct pod *pod) {
	pthread_mutex_lock(&pod->lock);
	bool ending = pod->removed || pod->evict_reason || pod->end_phase || pod->object->metadata.deletion_timestamp.set || phase_is_over(pod->object->status.phase);
	pthread_mutex_unlock(&pod->lock);
	return ending;
}

static void note_ips(struct pod *pod, const struct core_v1_pod *object, const struct pod_view *view) {
	const struct sandbox_status *sandbox = view->sandbox;
	if (!sandbox)
		return;
	for (size_t i = 0; i < pod->ip_count; i++)
		free(pod->ips[i]);
	pod->ip_count = 0;
	if (object->spec.host_network)
		for (size_t i = 0; i < pod->kubelet->node_ip_count; i++)
			pod->ips[pod->ip_count++] = xstrdup(pod->kubelet->node_ips[i]);
	else
		for (size_t i = 0; i < sandbox->network.ip_count; i++)
			pod->ips[pod->ip_count++] = xstrdup(sandbox->network.ips[i]);
}

static int reload(struct pod *pod, const struct core_v1_pod *object, struct pod_view *view) {
	struct pod_view fresh;
	int r = pod_view_load(pod, &fresh, NULL);
	if (r < 0)
		return r;
	pod_view_done(view);
	*view = fresh;
	pod_slots_update(pod, object, view);
	note_ips(pod, object, view);
	return 0;
}

static void admit(struct pod *pod, const struct core_v1_pod *object, const struct pod_view *view) {
	autoerror struct error err = {0};
	pod->stage = POD_SYNCING;
	pod->adopted_by_restart = view->container_count || view->sandbox_count;
	if (pod->adopted_by_restart || pod_is_ending(pod) || pod_admit(pod, object, &err) == 0) {
		pod->admitted = true;
		if (pod->adopted_by_restart && !pod_is_ending(pod) && !phase_is_over(object->status.phase))
			resource_managers_adopt(pod->kubelet->managers, object);
		return;
	}
	log_warning("pod is rejected", LOG_STR("pod", pod->name), LOG_STR("namespace", pod->ns), LOG_STR("reason", err.reason), LOG_ERR(&err));
	kubelet_event(pod->kubelet, object, NULL, "Warning", err.reason, "%s", error_message(&err));
	autofree char *message = xprintf("Pod was rejected: %s", error_message(&err));
	pthread_mutex_lock(&pod->lock);
	pod->evict_message = take_ptr(message);
	pod->evict_reason = xstrdup(err.reason);
	pthread_mutex_unlock(&pod->lock);
}

/* ---- the ground of a pod: folders, cgroup, volumes, sandbox ---- */

static char *cgroup_of(struct pod *pod, const struct core_v1_pod *object) {
	return cgroup_pod_path(pod->kubelet->cgroups, resources_qos(object), pod->uid);
}

static int make_ground(struct pod *pod, const struct core_v1_pod *object, struct error *err) {
	autofree char *dir = build_pod_dir(pod->kubelet, pod->uid), *volumes = path_join(dir, "volumes", NULL), *containers = path_join(dir, "containers", NULL), *log_dir = build_log_dir(pod->kubelet, object), *cgroup = cgroup_of(pod, object);
	struct cgroup_resources resources;
	if (pod->dirs_made)
		return 0;
	/* One that ran before has what it had until it is told otherwise. */
	resources_pod_cgroup(pod->actual_of ? pod->actual_of : object, &resources);
	resource_managers_unlimit(pod->kubelet->managers, object, NULL, &resources);
	if (!cgroup_has_controller(pod->kubelet->cgroups, "hugetlb"))
		resources.hugepage_count = 0;
	resources.pids_limit = pod->kubelet->options.pod_max_pids > 0 ? pod->kubelet->options.pod_max_pids : 0;
	int r = file_mkdir_all(volumes, 0750, err);
	if (r == 0)
		r = file_mkdir_all(containers, 0750, err);
	if (r == 0)
		r = file_mkdir_all(log_dir, 0755, err);
	if (r < 0) {
		error_context(err, "error making pod data directories");
		kubelet_event(pod->kubelet, object, NULL, "Warning", "FailedToMakePodDataDirectories", "%s", error_message(err));
		return r;
	}
	r = cgroup_create(pod->kubelet->cgroups, cgroup, &resources, err);
	if (r < 0) {
		kubelet_event(pod->kubelet, object, NULL, "Warning", "FailedCreatePodContainer", "unable to ensure pod container exists: %s", error_message(err));
		return r;
	}
	pod->dirs_made = true;
	pod->cgroup_told = resources;
	return 0;
}

static int set_volumes(struct pod *pod, const struct core_v1_pod *object, struct agenda *agenda) {
	int64_t again = 0;
	int r = pod_set_volumes(pod, object, &again);
	if (again)
		look_after(agenda, again);
	if (r < 0)
		look_backoff(pod, agenda);
	return r;
}

/* The pod's RuntimeClass must name what runs containers here: there is one handler, by two names. */
static int check_runtime_class(struct pod *pod, const struct core_v1_pod *object, struct error *err) {
	autounref struct node_v1_runtime_class *found = NULL;
	const char *name = object->spec.runtime_class_name;
	if (str_empty(name))
		return 0;
	int r = pod->kubelet->client ? client_get(pod->kubelet->client, &api_runtimeclasses, NULL, name, (void **)&found, err) : error_set(err, ENOENT, "runtimeclass.node.k8s.io \"%s\" cannot be read without an API server", name);
	if (r < 0)
		return error_context(err, "failed to get sandbox runtime");
	if (str_empty(found->handler) || str_equal(found->handler, RUNTIME_HANDLER))
		return 0;
	return error_set(err, ENOENT, "failed to get sandbox runtime: no runtime for \"%s\" is configured", found->handler);
}

static int ensure_sandbox(struct pod *pod, struct core_v1_pod *object, struct pod_view *view, struct agenda *agenda) {
	autoarena struct arena *arena = arena_new();
	autoerror struct error err = {0};
	autofree char *cgroup = cgroup_of(pod, object), *id = NULL;
	struct sandbox_config config = {0};
	if (view->sandbox)
		return 0;
	if (view->sandbox_count)
		kubelet_event(pod->kubelet, object, NULL, "Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.");
	for (size_t i = 0; i < view->sandbox_count; i++) {
		runtime_sandbox_stop(pod->kubelet->runtime, view->sandboxes[i]->id, NULL);
		/* The newest keeps the logs and last states of its containers. */
		if (i > 0)
			runtime_sandbox_remove(pod->kubelet->runtime, view->sandboxes[i]->id, NULL);
	}
	int r = object->spec.host_network ? 0 : network_ready(pod->kubelet->network, &err);
	if (r < 0) {
		kubelet_event(pod->kubelet, object, NULL, "Warning", "NetworkNotReady", "network is not ready: %s", error_message(&err));
		look_backoff(pod, agenda);
		return r;
	}
	pod_manager_start_begin(pod->manager);
	int64_t began = clock_monotonic_ns();
	r = check_runtime_class(pod, object, &err);
	if (r == 0)
		r = build_sandbox(pod->kubelet, object, view->sandbox_count ? view->sandboxes[0]->attempt + 1 : 0, cgroup, arena, &config, &err);
	if (r == 0)
		r = runtime_sandbox_start(pod->kubelet->runtime, &config, &id, &err);
	kubelet_metrics_operation("run_podsandbox", clock_monotonic_ns() - began, r < 0);
	kubelet_metrics_sandbox(r < 0, config.user_namespace);
	pod_manager_start_end(pod->manager);
	if (r < 0) {
		log_warning("sandbox cannot start", LOG_STR("pod", pod->name), LOG_STR("namespace", pod->ns), LOG_ERR(&err));
		kubelet_event(pod->kubelet, object, NULL, "Warning", "FailedCreatePodSandBox", "Failed to create pod sandbox: %s", error_message(&err));
		look_backoff(pod, agenda);
		return r;
	}
	return reload(pod, object, view);
}

/* ---- containers ---- */

/*
 * When the newest instance ended, on the monotonic clock. The wall clock, by which the runtime told it, is looked at once: it may jump later,
 * and no jump may shorten or stretch the wait.
 */
static int64_t ended_at(struct slot *slot, const struct container_status *status, int64_t now) {
	if (!str_equal(slot->ended_for, status->id)) {
		free(slot->ended_for);
		slot->ended_for = xstrdup(status->id);
		int64_t ago = time_diff_ns(clock_wall(), status->finished);
		slot->ended_at = now - min_of(max_of(ago, (int64_t)0), CRASH_RESET);
	}
	return slot->ended_at;
}

/* True while a container that ended must wait before it starts again. */
static bool in_crash_backoff(struct pod *pod, struct core_v1_pod *object, struct slot *slot, struct agenda *agenda) {
	const struct container_status *status = slot->now ? slot->now : slot->last;
	int64_t now = clock_monotonic_ns(), ended = ended_at(slot, status, now), max = pod->kubelet->options.max_restart_period_ns;
	if (slot->backoff_ns && ended - slot->backoff_since > CRASH_RESET)
		slot->backoff_ns = 0;
	if (!slot->backoff_ns || now >= ended + slot->backoff_ns) {
		slot->backoff_ns = slot->backoff_ns ? min_of(slot->backoff_ns * 2, max) : min_of((int64_t)CRASH_FIRST, max);
		slot->backoff_since = now;
		return false;
	}
	char wait[40];
	duration_format(slot->backoff_ns, wait);
	autofree char *display = pod_display(pod), *message = xprintf("back-off %s restarting failed container=%s pod=%s", wait, slot->name, display), *field = slot_field_path(slot);
	slot_wait(slot, "CrashLoopBackOff", message);
	look_at(agenda, ended + slot->backoff_ns);
	if (!str_equal(slot->backoff_for, status->id)) {
		kubelet_event(pod->kubelet, object, field, "Warning", "BackOff", "Back-off restarting failed container %s in pod %s", slot->name, display);
		free(slot->backoff_for);
		slot->backoff_for = xstrdup(status->id);
	}
	return true;
}

static bool start(struct pod *pod, struct core_v1_pod *object, struct slot *slot, struct pod_view *view, struct agenda *agenda) {
	/* One that made all others restart ended before, in the run before this one. */
	bool ended = slot->now ? slot->now->state == CONTAINER_EXITED : slot->last && pod_restarts_all_after(slot, slot->last->exit_code);
	if (ended && !slot->restarts_now && in_crash_backoff(pod, object, slot, agenda))
		return false;
	int r = pod_start_container(pod, object, slot, view);
	/* A pull that failed turns into a back-off soon, which ends when the next pull is due. */
	int64_t next = slot_pull_next(slot);
	if (r < 0 && next)
		look_at(agenda, str_equal(slot->waiting_reason, "ImagePullBackOff") ? next : min_of(next, clock_monotonic_ns() + PULL_LOOK));
	else if (r < 0)
		look_after(agenda, min_of((int64_t)START_RETRY, pod->kubelet->options.max_restart_period_ns));
	reload(pod, object, view);
	return r == 0;
}

/* The probe that says a running container must be restarted, as it stands in the message; NULL: all is well. */
static const char *failed_probe(struct pod *pod, const struct slot *slot, const struct core_v1_probe **ret_spec) {
	struct probe_manager *probes = pod->kubelet->probes;
	if (probe_manager_result(probes, pod->uid, slot->name, slot->now->id, PROBE_STARTUP) == PROBE_FAILURE) {
		*ret_spec = slot->spec->startup_probe;
		return "startup";
	}
	if (probe_manager_result(probes, pod->uid, slot->name, slot->now->id, PROBE_LIVENESS) == PROBE_FAILURE) {
		*ret_spec = slot->spec->liveness_probe;
		return "liveness";
	}
	return NULL;
}

static void adopt_probes(struct pod *pod, struct core_v1_pod *object, const struct slot *slot) {
	bool ready = false, started = false;
	const struct core_v1_container_status_array *lists[] = {&object->status.container_statuses, &object->status.init_container_statuses};
	for (size_t i = 0; pod->adopted_by_restart && i < array_len(lists); i++) {
		for api_list_each (status, lists[i]) {
			if (str_equal(status->name, slot->name) && str_ends_with(status->container_id, slot->now->id)) {
				ready = status->ready;
				started = status->started && *status->started;
			}
		}
	}
	probe_manager_add(pod->kubelet->probes, object, slot->spec, slot->now->id, pod->ip_count ? pod->ips[0] : "", slot->now->started, ready, started);
}

/* Ends a running container that is unwell or outdated. True where it did. */
static bool end_unwell(struct pod *pod, struct core_v1_pod *object, struct slot *slot, struct pod_view *view) {
	const struct core_v1_probe *spec = NULL;
	autofree char *message = NULL;
	adopt_probes(pod, object, slot);
	const char *probe = failed_probe(pod, slot, &spec);
	bool restarts = pod_restarts_after(object, slot, 1);
	if (probe)
		message = xprintf("Container %s failed %s probe%s", slot->name, probe, restarts ? ", will be restarted" : "");
	else if (!str_equal(slot->now->image, slot->spec->image))
		message = xprintf("Container %s definition changed, will be restarted", slot->name);
	if (!message)
		return false;
	pod_kill_container(pod, object, slot->now, spec && spec->termination_grace_period_seconds ? *spec->termination_grace_period_seconds : -1, message);
	probe_manager_remove(pod->kubelet->probes, pod->uid, slot->name, false);
	reload(pod, object, view);
	return true;
}

static bool runs(const struct slot *slot) {
	return slot->now && slot->now->state == CONTAINER_RUNNING;
}

static bool is_initialized(const struct pod *pod, const struct pod_view *view) {
	for (size_t i = 0; i < pod->slot_count; i++)
		if (view->sandbox && pod->slots[i].kind == SLOT_MAIN && pod->slots[i].now)
			return true;
	return false;
}

static bool sidecar_started(struct pod *pod, const struct slot *slot) {
	enum probe_result result = runs(slot) ? probe_manager_result(pod->kubelet->probes, pod->uid, slot->name, slot->now->id, PROBE_STARTUP) : PROBE_UNKNOWN;
	return result == PROBE_NONE || result == PROBE_SUCCESS;
}

/* One init container or sidecar. True where those after it may go on. */
static bool sync_init(struct pod *pod, struct core_v1_pod *object, struct slot *slot, struct pod_view *view, bool initialized, struct agenda *agenda) {
	if (slot->kind == SLOT_SIDECAR) {
		bool up = runs(slot) && !end_unwell(pod, object, slot, view);
		if (!up && !start(pod, object, slot, view, agenda))
			return initialized;
		return initialized || sidecar_started(pod, slot);
	}
	if (initialized || (slot->now && slot->now->state == CONTAINER_EXITED && slot->now->exit_code == 0))
		return true;
	if (!slot->now || (slot->now->state == CONTAINER_EXITED && (slot->restarts_now || pod_restarts_after(object, slot, slot->now->exit_code))))
		start(pod, object, slot, view, agenda);
	return false;
}

static void sync_main(struct pod *pod, struct core_v1_pod *object, struct slot *slot, struct pod_view *view, struct agenda *agenda) {
	bool changed = false;
	if (runs(slot) && !(changed = end_unwell(pod, object, slot, view)))
		return;
	bool ended = slot->now && slot->now->state == CONTAINER_EXITED;
	changed = changed && !str_equal(slot->now ? slot->now->image : NULL, slot->spec->image);
	if (!ended || changed || slot->restarts_now || pod_restarts_after(object, slot, slot->now->exit_code))
		start(pod, object, slot, view, agenda);
}

/* What runs gets what the pod is given by now, before anything starts with it. */
static void resize(struct pod *pod, struct core_v1_pod *object, struct pod_view *view, struct agenda *agenda) {
	autofree char *cgroup = cgroup_of(pod, object);
	bool ended = false;
	if (pod_resize_do(pod, object, cgroup, &ended) < 0)
		look_backoff(pod, agenda);
	if (ended)
		reload(pod, object, view);
}

static void sync_containers(struct pod *pod, struct core_v1_pod *object, struct pod_view *view, struct agenda *agenda) {
	for (size_t i = 0; i < pod->slot_count && !pod_is_ending(pod); i++)
		if (pod->slots[i].kind == SLOT_EPHEMERAL && !pod->slots[i].now && !pod->slots[i].last)
			start(pod, object, &pod->slots[i], view, agenda);
	if (pod_restart_all(pod, object, view)) {
		reload(pod, object, view);
		pod->restarting_all = false;
	}
	bool initialized = is_initialized(pod, view);
	resize(pod, object, view, agenda);
	for api_list_each (c, &object->spec.init_containers)
		if (pod_is_ending(pod) || !sync_init(pod, object, pod_slot(pod, c->name), view, initialized, agenda))
			return;
	for api_list_each (c, &object->spec.containers) {
		if (pod_is_ending(pod))
			return;
		sync_main(pod, object, pod_slot(pod, c->name), view, agenda);
	}
	pod_resize_finish(pod, object);
}

/* True where no container will run any more, by the restart policy. */
static bool is_over(struct pod *pod, const struct core_v1_pod *object) {
	bool all_ended = true;
	for (size_t i = 0; i < pod->slot_count; i++) {
		const struct slot *slot = &pod->slots[i];
		bool ended = slot->now && slot->now->state == CONTAINER_EXITED && !slot->restarts_now && !pod_restarts_after(object, slot, slot->now->exit_code);
		if (slot->kind == SLOT_INIT && ended && slot->now->exit_code != 0)
			return true;
		if (slot->kind == SLOT_MAIN && !ended)
			all_ended = false;
	}
	return all_ended;
}

static bool past_deadline(struct pod *pod, const struct core_v1_pod *object, struct agenda *agenda) {
	if (!object->spec.active_deadline_seconds || !object->status.start_time.set)
		return false;
	int64_t left = *object->spec.active_deadline_seconds * NSEC_PER_SEC - time_diff_ns(clock_wall(), object->status.start_time.t);
	if (left > 0) {
		look_after(agenda, left);
		return false;
	}
	kubelet_event(pod->kubelet, object, NULL, "Normal", "DeadlineExceeded", DEADLINE_MESSAGE);
	pthread_mutex_lock(&pod->lock);
	pod->evict_message = xstrdup(DEADLINE_MESSAGE);
	pod->evict_reason = xstrdup("DeadlineExceeded");
	pod->evict_grace = -1;
	pthread_mutex_unlock(&pod->lock);
	return true;
}

static void mark_over(struct pod *pod, const struct core_v1_pod *object, const struct pod_view *view) {
	pod_status_update(pod, object, view);
	pthread_mutex_lock(&pod->lock);
	/* What was told to be over stays what it was, whatever its containers' exit codes say. */
	const char *phase = phase_is_over(object->status.phase) ? object->status.phase : pod_phase(object, pod->status, true);
	pod->end_phase = xstrdup(phase_is_over(phase) ? phase : CORE_V1_POD_PHASE_FAILED);
	pthread_mutex_unlock(&pod->lock);
}

static void sync_running(struct pod *pod, struct core_v1_pod *object, struct pod_view *view, struct agenda *agenda) {
	autoerror struct error err = {0};
	struct pod_facts facts;
	if (past_deadline(pod, object, agenda))
		return;
	if (is_over(pod, object)) {
		mark_over(pod, object, view);
		return;
	}
	if (make_ground(pod, object, &err) < 0) {
		log_error("pod has no ground to run on", LOG_STR("pod", pod->name), LOG_STR("namespace", pod->ns), LOG_ERR(&err));
		look_backoff(pod, agenda);
		return;
	}
	if (!view->container_count)
		pod_status_update(pod, object, view);
	if (set_volumes(pod, object, agenda) < 0 || ensure_sandbox(pod, object, view, agenda) < 0)
		return;
	pod_facts_get(pod, &facts);
	if (build_hosts_file(pod->kubelet, object, &facts, &err) < 0) {
		log_error("hosts file cannot be written", LOG_STR("pod", pod->name), LOG_ERR(&err));
		kubelet_event(pod->kubelet, object, NULL, "Warning", "Failed", "Error: hosts file: %s", error_message(&err));
		look_backoff(pod, agenda);
		return;
	}
	pod->retry_ns = 0;
	sync_containers(pod, object, view, agenda);
	if (is_over(pod, object))
		mark_over(pod, object, view);
}

/* ---- the end ---- */

static bool any_runs(const struct pod_view *view) {
	for (size_t i = 0; i < view->container_count; i++)
		if (view->containers[i]->state == CONTAINER_RUNNING)
			return true;
	return false;
}

static int clean(struct pod *pod, const struct core_v1_pod *object, const struct pod_view *view, struct error *err) {
	autofree char *dir = build_pod_dir(pod->kubelet, pod->uid), *cgroup = cgroup_of(pod, object);
	for (size_t i = 0; i < view->sandbox_count; i++) {
		int r = runtime_sandbox_stop(pod->kubelet->runtime, view->sandboxes[i]->id, err);
		if (r < 0 && r != -ENOENT)
			return r;
	}
	error_done(err);
	int r = volumes_teardown(dir, err);
	if (r == 0)
		r = cgroup_remove(pod->kubelet->cgroups, cgroup, err);
	if (r == 0)
		map_clear(&pod->volume_paths);
	return r;
}

static int forget(struct pod *pod, const struct core_v1_pod *object, const struct pod_view *view, struct error *err) {
	autofree char *dir = build_pod_dir(pod->kubelet, pod->uid), *log_dir = build_log_dir(pod->kubelet, object);
	for (size_t i = 0; i < view->sandbox_count; i++) {
		int r = runtime_sandbox_remove(pod->kubelet->runtime, view->sandboxes[i]->id, err);
		if (r < 0)
			return r;
	}
	int r = file_remove_all(dir, err);
	return r < 0 ? r : file_remove_all(log_dir, err);
}

static void sync_ending(struct pod *pod, struct core_v1_pod *object, struct pod_view *view, struct agenda *agenda) {
	autoerror struct error err = {0};
	if (pod->stage < POD_ENDING)
		pod->stage = POD_ENDING;
	probe_manager_remove(pod->kubelet->probes, pod->uid, NULL, true);
	if (any_runs(view)) {
		pod_status_update(pod, object, view);
		pod_kill_all(pod, object, view);
		reload(pod, object, view);
	}
	if (any_runs(view)) {
		look_backoff(pod, agenda);
		return;
	}
	probe_manager_remove(pod->kubelet->probes, pod->uid, NULL, false);
	if (!pod->cleaned) {
		if (clean(pod, object, view, &err) < 0) {
			log_error("pod cannot be cleaned up", LOG_STR("pod", pod->name), LOG_STR("namespace", pod->ns), LOG_ERR(&err));
			look_backoff(pod, agenda);
			return;
		}
		pod->cleaned = true;
		reload(pod, object, view);
	}
	if (!pod->end_phase && !pod->evict_reason)
		mark_over(pod, object, view);
	if (pod->stage < POD_ENDED) {
		pod->stage = POD_ENDED;
		/* What it had is free for others, and for those that wait for more. */
		resource_managers_release(pod->kubelet->managers, pod->uid);
		pod_resize_decide(pod->manager, pod->kubelet, pod);
	}
	pthread_mutex_lock(&pod->lock);
	bool removed = pod->removed;
	pthread_mutex_unlock(&pod->lock);
	if (!removed)
		return;
	if (forget(pod, object, view, &err) < 0) {
		log_error("pod's remains cannot be removed", LOG_STR("pod", pod->name), LOG_STR("namespace", pod->ns), LOG_ERR(&err));
		look_backoff(pod, agenda);
		return;
	}
	pod->stage = POD_FORGOTTEN;
}

/* Where the pod is given something else, all that follows goes by that. */
static void look_at_resize(struct pod *pod, struct core_v1_pod *desired, struct core_v1_pod **given, const struct pod_view *view, struct agenda *agenda) {
	int64_t retry_ns = 0;
	bool changed = pod_resize_look(pod, desired, &retry_ns);
	if (retry_ns)
		look_after(agenda, retry_ns);
	if (!changed)
		return;
	pthread_mutex_lock(&pod->lock);
	struct core_v1_pod *now = resize_with(desired, pod->allocated);
	pthread_mutex_unlock(&pod->lock);
	api_unref(*given);
	*given = now;
	pod_slots_update(pod, now, view);
	pod_status_update(pod, now, view);
}

int64_t pod_sync(struct pod *pod) {
	struct agenda agenda = {0};
	autoerror struct error err = {0};
	autoview struct pod_view view = {0};
	pthread_mutex_lock(&pod->lock);
	autounref struct core_v1_pod *desired = api_ref(pod->object), *given = resize_with(pod->object, pod->allocated);
	pthread_mutex_unlock(&pod->lock);
	if (pod_view_load(pod, &view, &err) < 0) {
		log_error("runtime does not tell of the pod", LOG_STR("pod", pod->name), LOG_ERR(&err));
		look_backoff(pod, &agenda);
		return agenda.at;
	}
	pod_slots_update(pod, given, &view);
	if (!pod_is_ending(pod))
		look_at_resize(pod, desired, &given, &view, &agenda);
	struct core_v1_pod *object = given;
	note_ips(pod, object, &view);
	if (!str_equal(pod->source, "api") && !pod_is_ending(pod))
		mirror_ensure(pod->kubelet, object);
	if (pod->stage == POD_NEW)
		admit(pod, object, &view);
	int64_t began = clock_monotonic_ns();
	bool was_ended = pod->stage >= POD_ENDED;
	if (!pod_is_ending(pod))
		sync_running(pod, object, &view, &agenda);
	if (pod_is_ending(pod))
		sync_ending(pod, object, &view, &agenda);
	kubelet_metrics_look(pod->stage < POD_ENDING ? "sync" : was_ended ? "terminated" : "terminating", clock_monotonic_ns() - began);
	if (pod->stage != POD_FORGOTTEN)
		pod_status_update(pod, object, &view);
	return agenda.at;
}
