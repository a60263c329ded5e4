/* SPDX-License-Identifier: Apache-2.0 */
/* Ends containers gracefully: preStop hook, stop signal, and SIGKILL when the time is over. */
#include "common/base/log.h"
#include "kubelet/pod/pod.h"

#include <errno.h>
#include <stdio.h>

#define DEFAULT_GRACE 30
#define MOST_GRACE INT32_MAX /* what is more is for ever as well */
#define LEAST_GRACE 2 /* seconds left to a container after its hook */

static int signal_number(const char *name) {
	int64_t number;
	if (str_empty(name))
		return SIGTERM;
	if (str_to_int64(name, 1, 64, &number))
		return (int)number;
	const char *plain = str_starts_with(name, "SIG") ? name + 3 : name;
	int offset = 0;
	if (str_starts_with(plain, "RTMIN"))
		return sscanf(plain + 5, "%d", &offset) == 1 ? SIGRTMIN + offset : SIGRTMIN;
	if (str_starts_with(plain, "RTMAX"))
		return sscanf(plain + 5, "%d", &offset) == 1 ? SIGRTMAX + offset : SIGRTMAX;
	for (int i = 1; i < 32; i++)
		if (str_equal(sigabbrev_np(i), plain))
			return i;
	return SIGTERM;
}

int64_t pod_grace_seconds(struct pod *pod) {
	pthread_mutex_lock(&pod->lock);
	const struct core_v1_pod *object = pod->object;
	int64_t grace = object->spec.termination_grace_period_seconds ? *object->spec.termination_grace_period_seconds : DEFAULT_GRACE;
	if (object->metadata.deletion_timestamp.set && object->metadata.deletion_grace_period_seconds)
		grace = *object->metadata.deletion_grace_period_seconds;
	if (pod->evict_reason && pod->evict_grace >= 0)
		grace = min_of(grace, pod->evict_grace);
	pthread_mutex_unlock(&pod->lock);
	return min_of(max_of(grace, (int64_t)1), (int64_t)MOST_GRACE);
}

/* Waits for the container's end. The pod's grace may shrink while it waits: the deadline is looked at anew each time something changes. */
static bool wait_exit(struct pod *pod, const char *id, int64_t started, int64_t fixed_grace, int64_t least_until) {
	for (;;) {
		uint64_t events = pod_events(pod);
		int64_t grace = fixed_grace >= 0 ? fixed_grace : pod_grace_seconds(pod);
		int64_t deadline = max_of(started + grace * NSEC_PER_SEC, least_until);
		if (!pod_manager_container_running(pod->manager, pod->uid, id))
			return true;
		if (clock_monotonic_ns() >= deadline)
			return false;
		pod_wait_event(pod, events, deadline);
	}
}

static void run_pre_stop(struct pod *pod, struct core_v1_pod *object, const struct slot *slot, const struct container_status *status, int64_t grace) {
	const struct core_v1_lifecycle *lifecycle = slot && slot->spec ? slot->spec->lifecycle : NULL;
	if (!lifecycle || !lifecycle->pre_stop || grace <= 0)
		return;
	autoerror struct error err = {0};
	autofree char *field = slot_field_path(slot);
	if (pod_run_hook(pod, slot->spec, lifecycle->pre_stop, status->id, grace * 1000, &err) < 0) {
		log_warning("preStop hook failed", LOG_STR("pod", pod->name), LOG_STR("container", slot->name), LOG_ERR(&err));
		kubelet_event(pod->kubelet, object, field, "Warning", "FailedPreStopHook", "PreStopHook failed");
	}
}

static void end_container(struct pod *pod, const struct container_status *status, int64_t started, int64_t grace) {
	autoerror struct error err = {0};
	int64_t now = clock_monotonic_ns();
	bool over = false;
	if (runtime_container_signal(pod->kubelet->runtime, status->id, signal_number(status->stop_signal), &err) == 0)
		over = wait_exit(pod, status->id, started, grace, grace == 0 ? now : now + LEAST_GRACE * NSEC_PER_SEC);
	error_done(&err);
	if (!over && runtime_container_stop(pod->kubelet->runtime, status->id, 0, &err) < 0)
		log_error("container does not end", LOG_STR("pod", pod->name), LOG_STR("container", status->name), LOG_ERR(&err));
}

static void tell_killing(struct pod *pod, struct core_v1_pod *object, const struct slot *slot, const struct container_status *status, const char *message) {
	autofree char *field = slot ? slot_field_path(slot) : NULL;
	if (message)
		kubelet_event(pod->kubelet, object, field, "Normal", "Killing", "%s", message);
	else
		kubelet_event(pod->kubelet, object, field, "Normal", "Killing", "Stopping container %s", status->name);
}

void pod_kill_container(struct pod *pod, struct core_v1_pod *object, const struct container_status *status, int64_t grace, const char *message) {
	struct slot *slot = pod_slot(pod, status->name);
	int64_t started = clock_monotonic_ns();
	if (status->state != CONTAINER_RUNNING)
		return;
	grace = min_of(grace, (int64_t)MOST_GRACE);
	tell_killing(pod, object, slot, status, message);
	run_pre_stop(pod, object, slot, status, grace >= 0 ? grace : pod_grace_seconds(pod));
	end_container(pod, status, started, grace);
}

/* One container that is ended beside the others. */
struct killer {
	struct pod *pod;
	struct core_v1_pod *object;
	const struct container_status *status;
	struct slot *slot;
	struct killer *all;
	size_t index, count;
	pthread_t thread;
	bool threaded;
};

/* Sidecars serve the others to the end: each waits for those that come before it in the order of ending. */
static void wait_turn(struct killer *k, int64_t started) {
	for (size_t i = 0; k->slot && k->slot->kind == SLOT_SIDECAR && i < k->index; i++) {
		const struct killer *before = &k->all[i];
		wait_exit(k->pod, before->status->id, started, -1, 0);
	}
}

static void *kill_one(void *arg) {
	struct killer *k = arg;
	int64_t started = clock_monotonic_ns();
	tell_killing(k->pod, k->object, k->slot, k->status, NULL);
	run_pre_stop(k->pod, k->object, k->slot, k->status, pod_grace_seconds(k->pod));
	wait_turn(k, started);
	end_container(k->pod, k->status, started, -1);
	return NULL;
}

/* Main and other containers first, then sidecars from the last to the first. */
static int by_end(const void *a, const void *b) {
	const struct killer *x = a, *y = b;
	bool side_x = x->slot && x->slot->kind == SLOT_SIDECAR, side_y = y->slot && y->slot->kind == SLOT_SIDECAR;
	if (side_x != side_y)
		return side_x ? 1 : -1;
	return x->slot && y->slot && side_x ? (x->slot < y->slot ? 1 : -1) : 0;
}

void pod_kill_all(struct pod *pod, struct core_v1_pod *object, const struct pod_view *view) {
	struct killer *killers = xcalloc(view->container_count + 1, sizeof(*killers));
	size_t count = 0;
	for (size_t i = 0; i < view->container_count; i++)
		if (view->containers[i]->state == CONTAINER_RUNNING)
			killers[count++] = (struct killer){.pod = pod, .object = object, .status = view->containers[i], .slot = pod_slot(pod, view->containers[i]->name)};
	qsort(killers, count, sizeof(*killers), by_end);
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, KUBELET_THREAD_STACK);
	for (size_t i = 0; i < count; i++) {
		killers[i].all = killers;
		killers[i].index = i;
		killers[i].count = count;
	}
	/* The last one is this thread's own. */
	for (size_t i = 0; i < count; i++) {
		killers[i].threaded = i + 1 < count && pthread_create(&killers[i].thread, &attr, kill_one, &killers[i]) == 0;
		if (!killers[i].threaded)
			kill_one(&killers[i]);
	}
	for (size_t i = 0; i < count; i++)
		if (killers[i].threaded)
			pthread_join(killers[i].thread, NULL);
	pthread_attr_destroy(&attr);
	free(killers);
}
