/* SPDX-License-Identifier: Apache-2.0 */
/* The status of a pod as Kubernetes defines it: containers' states, phase, conditions, addresses. */
#include "common/base/file.h"
#include "common/base/log.h"
#include "kubelet/container/resources.h"
#include "kubelet/device/device.h"
#include "kubelet/metrics.h"
#include "kubelet/pod/pod.h"
#include "kubelet/pod/resize.h"
#include "kubelet/pod/status_manager.h"
#include "kubelet/probe/probe.h"
#include "kubelet/server/log_reader.h"

#include <fcntl.h>
#include <unistd.h>

#define MESSAGE_MAX 4096       /* bytes of a termination message */
#define MESSAGE_LOG_MAX 2048   /* bytes of it where it comes from the log */
#define MESSAGE_LOG_LINES 80

/* ---- one container ---- */

static struct api_time api_time_of(struct wall_time t) {
	return (struct api_time){.t = {.sec = t.sec}, .set = t.sec != 0};
}

static const char *container_uri(struct arena *a, const char *id) {
	return arena_printf(a, RUNTIME_NAME "://%s", id);
}

static const char *termination_message(struct arena *a, const struct container_status *status) {
	const char *path = runtime_label_get(&status->labels, LABEL_TERMINATION_FILE), *policy = runtime_label_get(&status->labels, LABEL_TERMINATION_POLICY);
	autoclose int fd = str_empty(path) ? -1 : open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0) {
		char text[MESSAGE_MAX];
		ssize_t n = read(fd, text, sizeof(text));
		if (n > 0)
			return arena_strndup(a, text, strnlen(text, (size_t)n));
	}
	if (!str_equal(policy, CORE_V1_TERMINATION_MESSAGE_POLICY_FALLBACK_TO_LOGS_ON_ERROR) || status->exit_code == 0 || str_empty(status->log_path))
		return status->message ? arena_strdup(a, status->message) : NULL;
	autobuf struct buf tail = BUF_INIT(MESSAGE_LOG_MAX);
	log_reader_tail(status->log_path, MESSAGE_LOG_LINES, MESSAGE_LOG_MAX, &tail);
	return tail.len ? arena_strndup(a, tail.data, tail.len) : NULL;
}

static struct core_v1_container_state_terminated *terminated(struct arena *a, const struct container_status *status) {
	struct core_v1_container_state_terminated *t = arena_new_type(a, struct core_v1_container_state_terminated);
	t->exit_code = status->exit_code;
	t->reason = arena_strdup(a, status->reason ? status->reason : status->exit_code ? "Error" : "Completed");
	t->message = termination_message(a, status);
	t->started_at = api_time_of(status->started);
	t->started_at.set = true; /* one that could not start shows the beginning of time, as with other runtimes */
	t->finished_at = api_time_of(status->finished);
	t->container_id = container_uri(a, status->id);
	return t;
}

static void set_mounts(struct arena *a, const struct slot *slot, struct core_v1_container_status *out) {
	for api_list_each (mount, &slot->spec->volume_mounts) {
		struct core_v1_volume_mount_status *status = api_list_add(a, &out->volume_mounts);
		status->name = arena_strdup(a, mount->name);
		status->mount_path = arena_strdup(a, mount->mount_path);
		status->read_only = mount->read_only;
		if (mount->read_only)
			status->recursive_read_only = str_empty(mount->recursive_read_only) || str_equal(mount->recursive_read_only, CORE_V1_RECURSIVE_READ_ONLY_MODE_DISABLED) ? CORE_V1_RECURSIVE_READ_ONLY_MODE_DISABLED : CORE_V1_RECURSIVE_READ_ONLY_MODE_ENABLED;
	}
}

static void set_instance(struct arena *a, const struct slot *slot, const struct container_status *now, struct core_v1_container_status *out) {
	out->container_id = container_uri(a, now->id);
	out->image = arena_strdup(a, now->image);
	out->image_id = arena_strdup(a, now->image_id);
	out->restart_count = (int32_t)now->attempt;
	if (slot->kind != SLOT_EPHEMERAL) {
		api_copy_value(&core_v1_resource_requirements_type, out->resources = arena_new_type(a, struct core_v1_resource_requirements), slot_actual(slot), a);
		for api_list_each (e, &slot->spec->resources.requests)
			api_quantity_set(a, &out->allocated_resources, e->key, e->value);
	}
	if (now->state != CONTAINER_RUNNING)
		return;
	out->user = arena_new_type(a, struct core_v1_container_user);
	out->user->linux_ = arena_new_type(a, struct core_v1_linux_container_user);
	out->user->linux_->uid = now->uid;
	out->user->linux_->gid = now->gid;
	for (size_t i = 0; i < now->group_count; i++)
		*api_list_add(a, &out->user->linux_->supplemental_groups) = now->groups[i];
}

/* Started and ready, from probes. */
static void set_readiness(struct pod *pod, struct arena *a, const struct slot *slot, struct core_v1_container_status *out) {
	struct probe_manager *probes = pod->kubelet->probes;
	const struct container_status *now = slot->now;
	bool running = now && now->state == CONTAINER_RUNNING && out->state.running;
	bool started = false;
	if (slot->kind == SLOT_EPHEMERAL)
		return;
	if (running) {
		enum probe_result result = slot->kind == SLOT_INIT || !slot->spec->startup_probe ? PROBE_NONE : probe_manager_result(probes, pod->uid, slot->name, now->id, PROBE_STARTUP);
		started = !slot->spec->startup_probe || result == PROBE_SUCCESS;
	}
	out->started = api_bool(a, started);
	if (slot->kind == SLOT_INIT) {
		out->ready = out->state.terminated && out->state.terminated->exit_code == 0;
	} else if (started) {
		enum probe_result result = slot->spec->readiness_probe ? probe_manager_result(probes, pod->uid, slot->name, now->id, PROBE_READINESS) : PROBE_NONE;
		out->ready = slot->spec->readiness_probe ? result == PROBE_SUCCESS : true;
	}
}

/* What the API knew of a container that the runtime has no trace of. */
static const struct core_v1_container_status *known_status(const struct core_v1_pod *object, const char *name) {
	const struct core_v1_container_status_array *lists[] = {&object->status.container_statuses, &object->status.init_container_statuses, &object->status.ephemeral_container_statuses};
	for (size_t i = 0; i < array_len(lists); i++)
		for api_list_each (status, lists[i])
			if (str_equal(status->name, name))
				return status;
	return NULL;
}

static void set_lost(struct arena *a, const struct core_v1_container_status *known, bool is_ended, struct core_v1_container_status *out) {
	api_copy_value(&core_v1_container_status_type, out, known, a);
	out->ready = false;
	if (!out->state.running)
		return;
	struct core_v1_container_state_terminated *t = arena_new_type(a, struct core_v1_container_state_terminated);
	t->exit_code = 137;
	t->reason = "ContainerStatusUnknown";
	t->message = "The container could not be located when the pod was terminated";
	t->container_id = out->container_id;
	out->state = (struct core_v1_container_state){.terminated = t};
	out->started = api_bool(a, false);
}

static void make_container(struct pod *pod, const struct core_v1_pod *object, struct arena *a, const struct slot *slot, bool initialized, struct core_v1_container_status *out) {
	const struct container_status *now = slot->now, *last = slot->last;
	const struct core_v1_container_status *known = known_status(object, slot->name);
	if (!now && !last && pod->stage >= POD_ENDED && known) {
		set_lost(a, known, true, out);
		return;
	}
	out->name = arena_strdup(a, slot->name);
	out->image = arena_strdup(a, slot->spec->image ? slot->spec->image : "");
	out->image_id = "";
	if (now)
		set_instance(a, slot, now, out);
	else if (last)
		out->restart_count = (int32_t)last->attempt;
	set_mounts(a, slot, out);
	bool waits = slot->waiting_reason && pod->stage < POD_ENDED && !(now && now->state == CONTAINER_RUNNING);
	if (now && now->state == CONTAINER_RUNNING) {
		out->state.running = arena_new_type(a, struct core_v1_container_state_running);
		out->state.running->started_at = api_time_of(now->started);
	} else if (now && now->state == CONTAINER_EXITED && !waits) {
		out->state.terminated = terminated(a, now);
	} else {
		out->state.waiting = arena_new_type(a, struct core_v1_container_state_waiting);
		out->state.waiting->reason = arena_strdup(a, slot->waiting_reason ? slot->waiting_reason : initialized || slot->kind == SLOT_EPHEMERAL ? "ContainerCreating" : "PodInitializing");
		out->state.waiting->message = arena_strdup(a, slot->waiting_message);
		if (now)
			last = now;
	}
	if (last && last->state == CONTAINER_EXITED)
		out->last_state.terminated = terminated(a, last);
	set_readiness(pod, a, slot, out);
}

/* ---- phase ---- */

struct tally {
	int waiting, running, stopped, succeeded, init_pending, init_failed;
	bool started;
};

static void tally_init(const struct core_v1_container *spec, const struct core_v1_container_status *status, struct tally *t) {
	const struct core_v1_container_state *state = &status->state;
	if (pod_is_sidecar(spec)) {
		if (!(status->started && *status->started))
			t->init_pending++;
		return;
	}
	if (state->terminated && state->terminated->exit_code == 0)
		return;
	if (state->terminated || (state->waiting && status->last_state.terminated && status->last_state.terminated->exit_code != 0))
		t->init_failed++;
	else
		t->init_pending++;
}

static void tally_main(const struct core_v1_container_status *status, struct tally *t) {
	const struct core_v1_container_state *state = &status->state;
	t->started = t->started || state->running || state->terminated || status->last_state.terminated;
	if (state->running) {
		t->running++;
	} else if (state->terminated) {
		t->stopped++;
		t->succeeded += state->terminated->exit_code == 0;
	} else if (status->last_state.terminated) {
		t->stopped++;
	} else {
		t->waiting++;
	}
}

const char *pod_phase(const struct core_v1_pod *object, const struct core_v1_pod_status *status, bool is_over) {
	struct tally t = {0};
	for (uint32_t i = 0; i < object->spec.init_containers.len && i < status->init_container_statuses.len; i++)
		tally_init(&object->spec.init_containers.items[i], &status->init_container_statuses.items[i], &t);
	for api_list_each (c, &status->container_statuses)
		tally_main(c, &t);
	bool never = str_equal(object->spec.restart_policy, CORE_V1_RESTART_POLICY_NEVER);
	if (t.init_failed && never)
		return CORE_V1_POD_PHASE_FAILED;
	if (is_over && t.running == 0)
		return t.stopped && t.stopped == t.succeeded && !t.waiting && !t.init_failed ? CORE_V1_POD_PHASE_SUCCEEDED : CORE_V1_POD_PHASE_FAILED;
	if ((t.init_pending && !t.started) || t.init_failed || t.waiting)
		return CORE_V1_POD_PHASE_PENDING;
	if (t.running || !t.stopped)
		return t.running ? CORE_V1_POD_PHASE_RUNNING : CORE_V1_POD_PHASE_PENDING;
	if (!never && !str_equal(object->spec.restart_policy, CORE_V1_RESTART_POLICY_ON_FAILURE))
		return CORE_V1_POD_PHASE_RUNNING;
	if (t.stopped == t.succeeded)
		return CORE_V1_POD_PHASE_SUCCEEDED;
	return never ? CORE_V1_POD_PHASE_FAILED : CORE_V1_POD_PHASE_RUNNING;
}

/* ---- conditions ---- */

struct conditions {
	struct arena *arena;
	const struct core_v1_pod *object;
	const struct core_v1_pod_status *old;
	struct core_v1_pod_status *status;
};

static const struct core_v1_pod_condition *find_condition(const struct core_v1_pod_status *status, const char *type) {
	for api_list_each (c, &status->conditions)
		if (str_equal(c->type, type))
			return c;
	return NULL;
}

static void set_condition(struct conditions *s, const char *type, bool value, const char *reason, const char *message) {
	const struct core_v1_pod_condition *old = find_condition(s->old, type);
	const char *text = value ? CORE_V1_CONDITION_STATUS_TRUE : CORE_V1_CONDITION_STATUS_FALSE;
	struct core_v1_pod_condition *c = api_list_add(s->arena, &s->status->conditions);
	c->type = type;
	c->status = text;
	c->reason = arena_strdup(s->arena, reason);
	c->message = arena_strdup(s->arena, message);
	c->observed_generation = s->object->metadata.generation;
	c->last_transition_time = old && str_equal(old->status, text) && old->last_transition_time.set ? old->last_transition_time : api_time_now();
}

static void list_name(struct buf *out, const char *name) {
	if (out->len)
		buf_append_char(out, ' ');
	buf_append_str(out, name);
}

static const char *incomplete(struct arena *a, const struct buf *unknown, const struct buf *other, const char *what) {
	if (unknown->len && other->len)
		return arena_printf(a, "containers with unknown status: [%s], containers with %s status: [%s]", unknown->data, what, other->data);
	if (unknown->len)
		return arena_printf(a, "containers with unknown status: [%s]", unknown->data);
	return other->len ? arena_printf(a, "containers with %s status: [%s]", what, other->data) : NULL;
}

static const struct core_v1_container_status *find_status(const struct core_v1_container_status_array *list, const char *name) {
	for api_list_each (status, list)
		if (str_equal(status->name, name))
			return status;
	return NULL;
}

static void condition_initialized(struct conditions *s, const char *phase) {
	autobuf struct buf unknown = BUF_INIT(65536), rest = BUF_INIT(65536);
	bool started = false;
	for api_list_each (c, &s->object->spec.init_containers) {
		const struct core_v1_container_status *status = find_status(&s->status->init_container_statuses, c->name);
		if (!status)
			list_name(&unknown, c->name);
		else if (pod_is_sidecar(c) ? !(status->started && *status->started) : !status->ready)
			list_name(&rest, c->name);
	}
	for api_list_each (status, &s->status->container_statuses)
		started = started || (status->started && *status->started) || status->state.running || status->state.terminated || status->last_state.terminated;
	const char *message = incomplete(s->arena, &unknown, &rest, "incomplete");
	if (str_equal(phase, CORE_V1_POD_PHASE_SUCCEEDED) && !unknown.len)
		set_condition(s, CORE_V1_POD_CONDITION_TYPE_INITIALIZED, true, "PodCompleted", NULL);
	else if (started || !message)
		set_condition(s, CORE_V1_POD_CONDITION_TYPE_INITIALIZED, true, NULL, NULL);
	else
		set_condition(s, CORE_V1_POD_CONDITION_TYPE_INITIALIZED, false, "ContainersNotInitialized", message);
}

/* Whether all containers are ready; reason and message of both conditions where not. */
static bool containers_ready(struct conditions *s, const char *phase, const char **ret_reason, const char **ret_message) {
	autobuf struct buf unknown = BUF_INIT(65536), rest = BUF_INIT(65536);
	*ret_message = NULL;
	for api_list_each (c, &s->object->spec.init_containers) {
		const struct core_v1_container_status *status = find_status(&s->status->init_container_statuses, c->name);
		if (pod_is_sidecar(c) && !(status && status->ready))
			list_name(status ? &rest : &unknown, c->name);
	}
	for api_list_each (c, &s->object->spec.containers) {
		const struct core_v1_container_status *status = find_status(&s->status->container_statuses, c->name);
		if (!(status && status->ready))
			list_name(status ? &rest : &unknown, c->name);
	}
	*ret_reason = "PodCompleted";
	if (str_equal(phase, CORE_V1_POD_PHASE_SUCCEEDED) && !unknown.len)
		return false;
	*ret_reason = "PodFailed";
	if (str_equal(phase, CORE_V1_POD_PHASE_FAILED))
		return false;
	*ret_message = incomplete(s->arena, &unknown, &rest, "unready");
	*ret_reason = *ret_message ? "ContainersNotReady" : NULL;
	return !*ret_message;
}

static const char *gates_missing(struct conditions *s) {
	autobuf struct buf out = BUF_INIT(65536);
	for api_list_each (gate, &s->object->spec.readiness_gates) {
		const struct core_v1_pod_condition *c = find_condition(&s->object->status, gate->condition_type);
		if (c && str_equal(c->status, CORE_V1_CONDITION_STATUS_TRUE))
			continue;
		if (out.len)
			buf_append_str(&out, ", ");
		if (c)
			buf_printf(&out, "the status of pod readiness gate \"%s\" is not \"True\", but %s", gate->condition_type, c->status);
		else
			buf_printf(&out, "corresponding condition of pod readiness gate \"%s\" does not exist.", gate->condition_type);
	}
	return out.len ? arena_strndup(s->arena, out.data, out.len) : NULL;
}

static void condition_ready(struct conditions *s, const char *phase) {
	const char *reason, *message, *gates;
	bool ready = containers_ready(s, phase, &reason, &message);
	if (ready && (gates = gates_missing(s)))
		set_condition(s, CORE_V1_POD_CONDITION_TYPE_READY, false, "ReadinessGatesNotReady", gates);
	else
		set_condition(s, CORE_V1_POD_CONDITION_TYPE_READY, ready, reason, message);
	set_condition(s, CORE_V1_POD_CONDITION_TYPE_CONTAINERS_READY, ready, reason, message);
}

static void condition_resize(struct pod *pod, struct conditions *s) {
	pthread_mutex_lock(&pod->lock);
	const char *reason = arena_strdup(s->arena, pod->resize_reason), *message = arena_strdup(s->arena, pod->resize_message);
	bool resizing = pod->resizing;
	pthread_mutex_unlock(&pod->lock);
	if (reason)
		set_condition(s, CORE_V1_POD_CONDITION_TYPE_POD_RESIZE_PENDING, true, reason, message);
	if (resizing)
		set_condition(s, CORE_V1_POD_CONDITION_TYPE_POD_RESIZE_IN_PROGRESS, true, pod->resize_error ? "Error" : NULL, pod->resize_error);
}

static void make_conditions(struct pod *pod, struct conditions *s, const struct pod_view *view) {
	const char *phase = s->status->phase;
	set_condition(s, CORE_V1_POD_CONDITION_TYPE_POD_READY_TO_START_CONTAINERS, view->sandbox, NULL, NULL);
	condition_initialized(s, phase);
	condition_ready(s, phase);
	set_condition(s, CORE_V1_POD_CONDITION_TYPE_POD_SCHEDULED, true, NULL, NULL);
	condition_resize(pod, s);
	if (pod_may_restart_all(s->object))
		set_condition(s, CORE_V1_POD_CONDITION_TYPE_ALL_CONTAINERS_RESTARTING, pod->restarting_all, pod->restarting_all ? "RestartAllContainersStarted" : NULL, pod->restarting_all ? "container exited with restart policy rule" : NULL);
	if (pod->evict_disruption)
		set_condition(s, CORE_V1_POD_CONDITION_TYPE_DISRUPTION_TARGET, true, "TerminationByKubelet", pod->evict_disruption);
	/* Others' conditions are shown as they stand; the patch leaves them alone. */
	for api_list_each (c, &s->object->status.conditions)
		if (!status_owns_condition(c->type) && !(pod->evict_disruption && str_equal(c->type, CORE_V1_POD_CONDITION_TYPE_DISRUPTION_TARGET)))
			api_copy_value(&core_v1_pod_condition_type, api_list_add(s->arena, &s->status->conditions), c, s->arena);
}

/* ---- the whole ---- */

static void set_addresses(struct pod *pod, struct arena *a, struct core_v1_pod_status *status) {
	struct kubelet *kubelet = pod->kubelet;
	for (size_t i = 0; i < kubelet->node_ip_count; i++)
		api_list_add(a, &status->host_ips)->ip = kubelet->node_ips[i];
	status->host_ip = kubelet->node_ip_count ? kubelet->node_ips[0] : NULL;
	for (size_t i = 0; i < pod->ip_count; i++)
		api_list_add(a, &status->pod_ips)->ip = arena_strdup(a, pod->ips[i]);
	status->pod_ip = status->pod_ips.len ? status->pod_ips.items[0].ip : NULL;
}

static void set_pod_resources(struct pod *pod, const struct core_v1_pod *object, struct arena *a, struct core_v1_pod_status *status) {
	const struct core_v1_resource_requirements *actual = pod->actual_of && pod->actual_of->spec.resources ? pod->actual_of->spec.resources : object->spec.resources;
	for api_list_each (e, &object->spec.resources->requests)
		api_quantity_set(a, &status->allocated_resources, e->key, e->value);
	api_copy_value(&core_v1_resource_requirements_type, status->resources = arena_new_type(a, struct core_v1_resource_requirements), actual, a);
}

struct health {
	struct arena *arena;
	struct core_v1_container_status *status;
};

static void add_health(const struct device_seen *seen, void *arg) {
	struct health *h = arg;
	struct core_v1_resource_status *of = NULL;
	for api_list_each (r, &h->status->allocated_resources_status)
		if (str_equal(r->name, seen->resource))
			of = r;
	if (!of) {
		of = api_list_add(h->arena, &h->status->allocated_resources_status);
		of->name = arena_strdup(h->arena, seen->resource);
	}
	struct core_v1_resource_health *health = api_list_add(h->arena, &of->resources);
	health->resource_id = arena_strdup(h->arena, seen->id);
	health->health = seen->unhealthy ? "Unhealthy" : "Healthy";
}

static void set_containers(struct pod *pod, const struct core_v1_pod *object, struct arena *a, struct core_v1_pod_status *status) {
	bool initialized = true;
	/* A pod that was turned away has no containers to tell of. */
	if (pod->evict_reason && !pod->admitted)
		return;
	for (size_t i = 0; i < pod->slot_count; i++) {
		const struct slot *slot = &pod->slots[i];
		if (slot->kind == SLOT_INIT)
			initialized = initialized && slot->now && slot->now->state == CONTAINER_EXITED && slot->now->exit_code == 0;
		if (slot->kind == SLOT_SIDECAR)
			initialized = initialized && slot->now;
	}
	for api_list_each (c, &object->spec.init_containers)
		make_container(pod, object, a, pod_slot(pod, c->name), false, api_list_add(a, &status->init_container_statuses));
	for api_list_each (c, &object->spec.containers) {
		struct core_v1_container_status *out = api_list_add(a, &status->container_statuses);
		make_container(pod, object, a, pod_slot(pod, c->name), initialized, out);
		device_manager_each(pod->kubelet->devices, pod->uid, c->name, add_health, &(struct health){a, out});
	}
	for api_list_each (c, &object->spec.ephemeral_containers)
		make_container(pod, object, a, pod_slot(pod, c->name), true, api_list_add(a, &status->ephemeral_container_statuses));
}

static const char *final_phase(struct pod *pod, const struct core_v1_pod *object, struct core_v1_pod_status *status) {
	bool running = false;
	for api_list_each (c, &status->container_statuses)
		running = running || c->state.running;
	if (pod->end_phase && !running)
		return pod->end_phase;
	if (pod->evict_reason && !running && pod->stage >= POD_ENDED)
		return CORE_V1_POD_PHASE_FAILED;
	const char *was = object->status.phase;
	if (str_equal(was, CORE_V1_POD_PHASE_FAILED) || str_equal(was, CORE_V1_POD_PHASE_SUCCEEDED))
		return was;
	const char *phase = pod_phase(object, status, pod->stage >= POD_ENDED);
	/* "Over" is said only when nothing of the pod runs or is mounted any more. */
	bool over = str_equal(phase, CORE_V1_POD_PHASE_FAILED) || str_equal(phase, CORE_V1_POD_PHASE_SUCCEEDED);
	return over && pod->stage < POD_ENDED ? str_or(was, CORE_V1_POD_PHASE_PENDING) : phase;
}

/* What the API is told, and by what it is found: the spec is not copied. */
static struct core_v1_pod *told_pod(const struct core_v1_pod *object) {
	struct core_v1_pod *told = api_new_of(core_v1_pod);
	struct arena *arena = api_arena(told);
	const char *source = api_map_get(&object->metadata.annotations, "kubernetes.io/config.source");
	told->metadata.namespace = arena_strdup(arena, object->metadata.namespace);
	told->metadata.name = arena_strdup(arena, object->metadata.name);
	told->metadata.uid = arena_strdup(arena, object->metadata.uid);
	if (source)
		api_map_set(arena, &told->metadata.annotations, "kubernetes.io/config.source", source);
	return told;
}

void pod_status_update(struct pod *pod, const struct core_v1_pod *object, const struct pod_view *view) {
	/* A draft: it borrows what it likes from the pod's object and from what was told before, which do not live as long as what is told now. */
	autounref struct core_v1_pod *draft = api_new_of(core_v1_pod);
	struct arena *a = api_arena(draft);
	struct core_v1_pod_status *status = &draft->status;
	const struct core_v1_pod_status *old = pod->status ? pod->status : &object->status;
	status->observed_generation = object->metadata.generation;
	status->start_time = object->status.start_time.set ? object->status.start_time : old->start_time.set ? old->start_time : api_time_now();
	status->qos_class = arena_strdup(a, resources_qos_name(object)); /* may be the object's own text, which goes with it */
	if (object->spec.resources)
		set_pod_resources(pod, object, a, status);
	set_addresses(pod, a, status);
	set_containers(pod, object, a, status);
	status->phase = arena_strdup(a, final_phase(pod, object, status));
	if (pod->seen_at && str_equal(status->phase, CORE_V1_POD_PHASE_RUNNING)) {
		kubelet_metrics_pod_started(clock_monotonic_ns() - pod->seen_at);
		pod->seen_at = 0;
	}
	if (pod->evict_reason) {
		status->reason = arena_strdup(a, pod->evict_reason);
		status->message = arena_strdup(a, pod->evict_message);
	} else {
		status->reason = arena_strdup(a, object->status.reason);
		status->message = arena_strdup(a, object->status.message);
	}
	struct conditions conditions = {.arena = a, .object = object, .old = old, .status = status};
	make_conditions(pod, &conditions, view);
	autounref struct core_v1_pod *loose = told_pod(object);
	api_copy_value(&core_v1_pod_status_type, &loose->status, status, api_arena(loose));
	struct core_v1_pod *told = api_copy_compact(loose);
	status_manager_set(pod->kubelet->status, api_ref(told), pod->stage >= POD_ENDED);
	pthread_mutex_lock(&pod->lock);
	struct core_v1_pod *before = pod->told;
	pod->status = &told->status;
	pod->told = told;
	pthread_mutex_unlock(&pod->lock);
	api_unref(before);
}
