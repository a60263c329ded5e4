/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/log.h"
#include "kubelet/metrics.h"
#include "kubelet/objects/cache.h"
#include "kubelet/pod/pod.h"
#include "kubelet/pod/resize.h"
#include "kubelet/pod/status_manager.h"
#include "kubelet/probe/probe.h"
#include "kubelet/volume/token.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define STOP_SECONDS 5
#define STARTS_AT_ONCE 8

struct pod_manager {
	struct kubelet *kubelet;
	pthread_mutex_t lock;
	pthread_cond_t timer_wake, worker_ended, start_free;
	struct map pods; /* uid -> struct pod */
	pthread_mutex_t admission;
	size_t workers, starting;
	uint64_t started; /* workers, ever */
	bool stopping;
	bool ready; /* all sources have spoken, and what they do not know has been ended */
	pthread_t timer;
};

pthread_mutex_t *pod_manager_admission_lock(struct pod_manager *manager) {
	return &manager->admission;
}

static struct pod *pod_new(struct pod_manager *manager, struct core_v1_pod *object, const char *source) {
	struct pod *pod = xnew(struct pod);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&pod->lock, NULL);
	pthread_cond_init(&pod->changed, &attr);
	pthread_condattr_destroy(&attr);
	pod->manager = manager;
	pod->kubelet = manager->kubelet;
	pod->uid = xstrdup(object->metadata.uid);
	pod->ns = xstrdup(object->metadata.namespace);
	pod->name = xstrdup(object->metadata.name);
	pod->source = xstrdup(source);
	pod->object = api_ref(object);
	if (object->status.container_statuses.len || object->status.init_container_statuses.len)
		pod->allocated = resize_from_status(object);
	pod->seen_at = str_empty(object->status.phase) || str_equal(object->status.phase, CORE_V1_POD_PHASE_PENDING) ? clock_monotonic_ns() : 0;
	pod->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pod->evict_grace = -1;
	pod->volume_paths = MAP_INIT(free);
	return pod;
}

static void pull_wait_done(struct pull_wait *wait) {
	free(wait->image);
	free(wait->error);
}

static void slot_done(struct slot *slot) {
	free(slot->name);
	free(slot->ended_for);
	free(slot->backoff_for);
	pull_wait_done(&slot->pull);
	pull_wait_done(&slot->volume_pull);
	free(slot->waiting_reason);
	free(slot->waiting_message);
	free(slot->image_id);
	free(slot->resized_for);
	slot_resize_done(slot);
}

void pod_free(struct pod *pod) {
	for (size_t i = 0; i < pod->slot_count; i++)
		slot_done(&pod->slots[i]);
	for (size_t i = 0; i < pod->ip_count; i++)
		free(pod->ips[i]);
	free(pod->slots);
	map_done(&pod->volume_paths);
	api_unref(pod->told);
	api_unref(pod->successor);
	api_unref(pod->object);
	cleanup_close(&pod->cancel_fd);
	free(pod->uid);
	free(pod->ns);
	free(pod->name);
	free(pod->source);
	free(pod->evict_reason);
	free(pod->evict_message);
	free(pod->evict_disruption);
	free(pod->mounts.told);
	free(pod->end_phase);
	pod_resize_free(pod);
	pthread_mutex_destroy(&pod->lock);
	pthread_cond_destroy(&pod->changed);
	free(pod);
}

uint64_t pod_events(struct pod *pod) {
	pthread_mutex_lock(&pod->lock);
	uint64_t events = pod->events;
	pthread_mutex_unlock(&pod->lock);
	return events;
}

bool pod_wait_event(struct pod *pod, uint64_t events, int64_t deadline) {
	struct timespec until = {.tv_sec = deadline / NSEC_PER_SEC, .tv_nsec = deadline % NSEC_PER_SEC};
	int r = 0;
	pthread_mutex_lock(&pod->lock);
	while (pod->events == events && r != ETIMEDOUT)
		r = pthread_cond_timedwait(&pod->changed, &pod->lock, &until);
	pthread_mutex_unlock(&pod->lock);
	return r != ETIMEDOUT;
}

static void *work(void *arg) {
	struct pod *pod = arg;
	struct pod_manager *manager = pod->manager;
	for (;;) {
		pthread_mutex_lock(&pod->lock);
		pod->pending = false;
		pthread_mutex_unlock(&pod->lock);
		int64_t next = pod_sync(pod);
		/* Manager before pod: nobody else can find it while we decide to end. */
		pthread_mutex_lock(&manager->lock);
		pthread_mutex_lock(&pod->lock);
		bool forgotten = pod->stage == POD_FORGOTTEN;
		pod->wake_at = next;
		if (!forgotten && pod->pending && !manager->stopping) {
			pthread_mutex_unlock(&pod->lock);
			pthread_mutex_unlock(&manager->lock);
			continue;
		}
		pod->working = false;
		if (forgotten)
			map_take(&manager->pods, pod->uid);
		pthread_mutex_unlock(&pod->lock);
		pthread_mutex_unlock(&manager->lock);
		if (forgotten) {
			autounref struct core_v1_pod *successor = take_ptr(pod->successor);
			autofree char *source = xstrdup(pod->source);
			object_cache_sweep(manager->kubelet->objects);
			status_manager_forget(manager->kubelet->status, pod->uid);
			if (manager->kubelet->tokens)
				token_cache_drop(manager->kubelet->tokens, pod->uid);
			pod_free(pod);
			if (successor)
				pod_manager_set(manager, successor, source);
		}
		/* Counted to the very last, so that nobody frees what is used above. */
		pthread_mutex_lock(&manager->lock);
		manager->workers--;
		pthread_cond_signal(&manager->timer_wake);
		pthread_cond_broadcast(&manager->worker_ended);
		pthread_mutex_unlock(&manager->lock);
		return NULL;
	}
}

/* Both locks held. */
static void wake_locked(struct pod_manager *manager, struct pod *pod) {
	pod->events++;
	pod->pending = true;
	pod->wake_at = 0;
	pthread_cond_broadcast(&pod->changed);
	if (pod->working || manager->stopping)
		return;
	pthread_attr_t attr;
	pthread_t thread;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, KUBELET_THREAD_STACK);
	if (pthread_create(&thread, &attr, work, pod) == 0) {
		pod->working = true;
		manager->workers++;
		manager->started++;
	} else {
		pod->wake_at = clock_monotonic_ns() + NSEC_PER_SEC;
	}
	pthread_attr_destroy(&attr);
}

static void cancel_pull(struct pod *pod) {
	uint64_t one = 1;
	if (write(pod->cancel_fd, &one, sizeof(one)) < 0)
		return; /* full: it is readable already */
}

static void *run_timer(void *arg) {
	struct pod_manager *manager = arg;
	pthread_mutex_lock(&manager->lock);
	while (!manager->stopping) {
		int64_t now = clock_monotonic_ns(), next = now + 3600 * NSEC_PER_SEC;
		struct map_entry *e;
		for (size_t i = 0; (e = map_next(&manager->pods, &i));) {
			struct pod *pod = e->value;
			pthread_mutex_lock(&pod->lock);
			if (pod->wake_at && pod->wake_at <= now)
				wake_locked(manager, pod);
			if (pod->wake_at)
				next = min_of(next, pod->wake_at);
			pthread_mutex_unlock(&pod->lock);
		}
		struct timespec until = {.tv_sec = next / NSEC_PER_SEC, .tv_nsec = next % NSEC_PER_SEC};
		pthread_cond_timedwait(&manager->timer_wake, &manager->lock, &until);
	}
	pthread_mutex_unlock(&manager->lock);
	return NULL;
}

struct pod_manager *pod_manager_new(struct kubelet *kubelet) {
	struct pod_manager *manager = xnew(struct pod_manager);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	manager->kubelet = kubelet;
	manager->pods = MAP_INIT(NULL);
	pthread_mutex_init(&manager->lock, NULL);
	pthread_mutex_init(&manager->admission, NULL);
	pthread_cond_init(&manager->timer_wake, &attr);
	pthread_cond_init(&manager->worker_ended, &attr);
	pthread_cond_init(&manager->start_free, &attr);
	pthread_condattr_destroy(&attr);
	if (pthread_create(&manager->timer, NULL, run_timer, manager) != 0)
		abort();
	return manager;
}

void pod_manager_free(struct pod_manager *manager) {
	if (!manager)
		return;
	struct timespec until;
	struct map_entry *e;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += STOP_SECONDS;
	pthread_mutex_lock(&manager->lock);
	manager->stopping = true;
	pthread_cond_broadcast(&manager->timer_wake);
	for (size_t i = 0; (e = map_next(&manager->pods, &i));)
		cancel_pull(e->value);
	while (manager->workers && pthread_cond_timedwait(&manager->worker_ended, &manager->lock, &until) == 0)
		;
	size_t left = manager->workers;
	pthread_mutex_unlock(&manager->lock);
	pthread_join(manager->timer, NULL);
	if (left)
		_exit(0); /* a container is being ended: the process goes, its memory with it; the next kubelet goes on */
	for (size_t i = 0; (e = map_next(&manager->pods, &i));)
		pod_free(e->value);
	map_done(&manager->pods);
	free(manager);
}

void pod_manager_set(struct pod_manager *manager, struct core_v1_pod *object, const char *source) {
	pthread_mutex_lock(&manager->lock);
	struct pod *pod = map_get(&manager->pods, object->metadata.uid);
	if (!pod) {
		pod = pod_new(manager, object, source);
		map_set(&manager->pods, pod->uid, pod);
	}
	pthread_mutex_lock(&pod->lock);
	if (pod->removed) {
		api_ref(object);
		api_unref(pod->successor);
		pod->successor = object;
		pthread_mutex_unlock(&pod->lock);
		pthread_mutex_unlock(&manager->lock);
		return;
	}
	pod_resize_note(pod, object);
	api_ref(object);
	api_unref(pod->object);
	pod->object = object;
	if (object->metadata.deletion_timestamp.set)
		cancel_pull(pod);
	wake_locked(manager, pod);
	pthread_mutex_unlock(&pod->lock);
	pthread_mutex_unlock(&manager->lock);
}

void pod_manager_refresh(struct pod_manager *manager, struct core_v1_pod *object) {
	pthread_mutex_lock(&manager->lock);
	struct pod *pod = map_get(&manager->pods, object->metadata.uid);
	if (pod) {
		pthread_mutex_lock(&pod->lock);
		pod_resize_note(pod, object);
		api_ref(object);
		api_unref(pod->object);
		pod->object = object;
		pthread_mutex_unlock(&pod->lock);
	}
	pthread_mutex_unlock(&manager->lock);
}

void pod_manager_remove(struct pod_manager *manager, const char *uid) {
	pthread_mutex_lock(&manager->lock);
	struct pod *pod = map_get(&manager->pods, uid);
	if (pod) {
		pthread_mutex_lock(&pod->lock);
		pod->removed = true;
		api_unref(pod->successor);
		pod->successor = NULL;
		cancel_pull(pod);
		wake_locked(manager, pod);
		pthread_mutex_unlock(&pod->lock);
	}
	pthread_mutex_unlock(&manager->lock);
}

void pod_manager_wake(struct pod_manager *manager, const char *uid) {
	pthread_mutex_lock(&manager->lock);
	struct pod *pod = map_get(&manager->pods, uid);
	if (pod) {
		pthread_mutex_lock(&pod->lock);
		wake_locked(manager, pod);
		pthread_mutex_unlock(&pod->lock);
	}
	pthread_mutex_unlock(&manager->lock);
}

void pod_manager_wake_static(struct pod_manager *manager, const char *ns, const char *name) {
	struct map_entry *e;
	pthread_mutex_lock(&manager->lock);
	for (size_t i = 0; (e = map_next(&manager->pods, &i));) {
		struct pod *pod = e->value;
		pthread_mutex_lock(&pod->lock);
		if (!str_equal(pod->source, "api") && str_equal(pod->ns, ns) && str_equal(pod->name, name))
			wake_locked(manager, pod);
		pthread_mutex_unlock(&pod->lock);
	}
	pthread_mutex_unlock(&manager->lock);
}

void pod_manager_evict(struct pod_manager *manager, const char *uid, const char *reason, const char *message, int64_t grace_seconds, const char *disruption) {
	pthread_mutex_lock(&manager->lock);
	struct pod *pod = map_get(&manager->pods, uid);
	if (pod) {
		pthread_mutex_lock(&pod->lock);
		if (!pod->evict_reason) {
			pod->evict_message = xstrdup(message);
			pod->evict_grace = grace_seconds;
			pod->evict_disruption = disruption ? xstrdup(disruption) : NULL;
			pod->evict_reason = xstrdup(reason);
		}
		cancel_pull(pod);
		wake_locked(manager, pod);
		pthread_mutex_unlock(&pod->lock);
	}
	pthread_mutex_unlock(&manager->lock);
}

static bool volume_refers(const struct core_v1_volume *volume, bool secret, const char *name) {
	if (secret ? volume->secret && str_equal(volume->secret->secret_name, name) : volume->config_map && str_equal(volume->config_map->name, name))
		return true;
	if (!volume->projected)
		return false;
	for api_list_each (source, &volume->projected->sources)
		if (secret ? source->secret && str_equal(source->secret->name, name) : source->config_map && str_equal(source->config_map->name, name))
			return true;
	return false;
}

/* A pod that waits for an object waits with an error; so every pod of the namespace that is not up yet looks again, too. */
static bool concerns(const struct pod *pod, bool secret, const char *name) {
	for api_list_each (volume, &pod->object->spec.volumes)
		if (volume_refers(volume, secret, name))
			return true;
	return !pod->status || !str_equal(pod->status->phase, CORE_V1_POD_PHASE_RUNNING);
}

void pod_manager_object_changed(struct pod_manager *manager, const struct api_resource *resource, const char *ns, const char *name) {
	struct map_entry *e;
	pthread_mutex_lock(&manager->lock);
	for (size_t i = 0; (e = map_next(&manager->pods, &i));) {
		struct pod *pod = e->value;
		pthread_mutex_lock(&pod->lock);
		if (str_equal(pod->ns, ns) && concerns(pod, resource == &api_secrets, name))
			wake_locked(manager, pod);
		pthread_mutex_unlock(&pod->lock);
	}
	pthread_mutex_unlock(&manager->lock);
}

static bool container_refers(const struct core_v1_container *c, bool secret, const char *name) {
	for api_list_each (from, &c->env_from)
		if (secret ? from->secret_ref && str_equal(from->secret_ref->name, name) : from->config_map_ref && str_equal(from->config_map_ref->name, name))
			return true;
	for api_list_each (var, &c->env) {
		const struct core_v1_env_var_source *from = var->value_from;
		if (from && (secret ? from->secret_key_ref && str_equal(from->secret_key_ref->name, name) : from->config_map_key_ref && str_equal(from->config_map_key_ref->name, name)))
			return true;
	}
	return false;
}

static bool spec_refers(const struct core_v1_pod_spec *spec, bool secret, const char *name) {
	for api_list_each (volume, &spec->volumes)
		if (volume_refers(volume, secret, name))
			return true;
	for api_list_each (c, &spec->init_containers)
		if (container_refers(c, secret, name))
			return true;
	for api_list_each (c, &spec->containers)
		if (container_refers(c, secret, name))
			return true;
	for api_list_each (reference, &spec->image_pull_secrets)
		if (secret && str_equal(reference->name, name))
			return true;
	return false;
}

bool pod_manager_refers(struct pod_manager *manager, const struct api_resource *resource, const char *ns, const char *name) {
	struct map_entry *e;
	bool refers = false;
	pthread_mutex_lock(&manager->lock);
	for (size_t i = 0; !refers && (e = map_next(&manager->pods, &i));) {
		struct pod *pod = e->value;
		pthread_mutex_lock(&pod->lock);
		refers = str_equal(pod->ns, ns) && spec_refers(&pod->object->spec, resource == &api_secrets, name);
		pthread_mutex_unlock(&pod->lock);
	}
	pthread_mutex_unlock(&manager->lock);
	return refers;
}

void pod_manager_wake_all(struct pod_manager *manager) {
	struct map_entry *e;
	pthread_mutex_lock(&manager->lock);
	for (size_t i = 0; (e = map_next(&manager->pods, &i));) {
		struct pod *pod = e->value;
		pthread_mutex_lock(&pod->lock);
		wake_locked(manager, pod);
		pthread_mutex_unlock(&pod->lock);
	}
	pthread_mutex_unlock(&manager->lock);
}

void pod_manager_on_runtime_event(const struct runtime_event *event, void *arg) {
	struct pod_manager *manager = arg;
	struct container_status *status = NULL;
	if (event->kind == RUNTIME_CONTAINER_EXITED && runtime_container_status(manager->kubelet->runtime, event->container_id, &status, NULL) == 0)
		kubelet_metrics_ended(status);
	container_status_free(status);
	pod_manager_wake(manager, event->pod_uid);
}

bool pod_manager_container_running(struct pod_manager *manager, const char *uid, const char *container_id) {
	struct container_status *status = NULL;
	bool running = runtime_container_status(manager->kubelet->runtime, container_id, &status, NULL) == 0 && status->state == CONTAINER_RUNNING;
	container_status_free(status);
	return running;
}

void pod_manager_each_active(struct pod_manager *manager, void (*fn)(struct pod *pod, const struct core_v1_pod *given, void *arg), void *arg) {
	struct map_entry *e;
	pthread_mutex_lock(&manager->lock);
	for (size_t i = 0; (e = map_next(&manager->pods, &i));) {
		struct pod *pod = e->value;
		pthread_mutex_lock(&pod->lock);
		if (pod->admitted && pod->stage < POD_ENDED && !pod->evict_reason)
			fn(pod, pod->allocated ? pod->allocated : pod->object, arg);
		pthread_mutex_unlock(&pod->lock);
	}
	pthread_mutex_unlock(&manager->lock);
}

/* The object with our newest status. Pod locked. */
static struct core_v1_pod *with_status(struct pod *pod) {
	if (!pod->status)
		return api_ref(pod->object);
	struct core_v1_pod *copy = api_copy(pod->object);
	api_copy_value(&core_v1_pod_status_type, &copy->status, pod->status, api_arena(copy));
	return copy;
}

static void list_pods(struct pod_manager *manager, bool status, struct informer_list *ret) {
	struct map_entry *e;
	pthread_mutex_lock(&manager->lock);
	ret->items = xcalloc(manager->pods.len + 1, sizeof(void *));
	ret->len = 0;
	for (size_t i = 0; (e = map_next(&manager->pods, &i));) {
		struct pod *pod = e->value;
		pthread_mutex_lock(&pod->lock);
		ret->items[ret->len++] = status ? with_status(pod) : api_ref(pod->object);
		pthread_mutex_unlock(&pod->lock);
	}
	pthread_mutex_unlock(&manager->lock);
}

void pod_manager_list(struct pod_manager *manager, struct informer_list *ret) {
	list_pods(manager, true, ret);
}

void pod_manager_objects(struct pod_manager *manager, struct informer_list *ret) {
	list_pods(manager, false, ret);
}

struct core_v1_pod *pod_manager_find_uid(struct pod_manager *manager, const char *uid) {
	struct core_v1_pod *found = NULL;
	pthread_mutex_lock(&manager->lock);
	struct pod *pod = map_get(&manager->pods, uid);
	if (pod) {
		pthread_mutex_lock(&pod->lock);
		found = with_status(pod);
		pthread_mutex_unlock(&pod->lock);
	}
	pthread_mutex_unlock(&manager->lock);
	return found;
}

struct core_v1_pod *pod_manager_find(struct pod_manager *manager, const char *ns, const char *name) {
	struct core_v1_pod *found = NULL;
	struct map_entry *e;
	pthread_mutex_lock(&manager->lock);
	for (size_t i = 0; !found && (e = map_next(&manager->pods, &i));) {
		struct pod *pod = e->value;
		pthread_mutex_lock(&pod->lock);
		/* One that was deleted and made again counts once its old self is removed. */
		if (str_equal(pod->ns, ns) && str_equal(pod->name, name) && !pod->removed)
			found = with_status(pod);
		pthread_mutex_unlock(&pod->lock);
	}
	pthread_mutex_unlock(&manager->lock);
	return found;
}

/* Manager locked. */
static bool has_ended(struct pod_manager *manager, const char *uid) {
	struct pod *pod = map_get(&manager->pods, uid);
	if (!pod)
		return true;
	pthread_mutex_lock(&pod->lock);
	bool ended = pod->stage >= POD_ENDED && !pod->working;
	pthread_mutex_unlock(&pod->lock);
	return ended;
}

bool pod_manager_wait_ended(struct pod_manager *manager, const char *const *uids, size_t count, int64_t deadline) {
	struct timespec until = {.tv_sec = deadline / NSEC_PER_SEC, .tv_nsec = deadline % NSEC_PER_SEC};
	size_t ended = 0;
	int r = 0;
	pthread_mutex_lock(&manager->lock);
	while (r != ETIMEDOUT) {
		while (ended < count && has_ended(manager, uids[ended]))
			ended++;
		if (ended == count)
			break;
		r = pthread_cond_timedwait(&manager->worker_ended, &manager->lock, &until);
	}
	pthread_mutex_unlock(&manager->lock);
	return ended == count;
}

bool pod_manager_idle(struct pod_manager *manager, uint64_t *ret_events) {
	pthread_mutex_lock(&manager->lock);
	bool idle = manager->workers == 0;
	if (ret_events)
		*ret_events = manager->started;
	pthread_mutex_unlock(&manager->lock);
	return idle;
}

size_t pod_manager_count(struct pod_manager *manager) {
	pthread_mutex_lock(&manager->lock);
	size_t count = manager->pods.len;
	pthread_mutex_unlock(&manager->lock);
	return count;
}

void pod_manager_start_begin(struct pod_manager *manager) {
	pthread_mutex_lock(&manager->lock);
	while (manager->starting >= STARTS_AT_ONCE)
		pthread_cond_wait(&manager->start_free, &manager->lock);
	manager->starting++;
	pthread_mutex_unlock(&manager->lock);
}

void pod_manager_start_end(struct pod_manager *manager) {
	pthread_mutex_lock(&manager->lock);
	manager->starting--;
	pthread_cond_signal(&manager->start_free);
	pthread_mutex_unlock(&manager->lock);
}

bool pod_manager_knows(struct pod_manager *manager, const char *uid) {
	pthread_mutex_lock(&manager->lock);
	bool known = map_has(&manager->pods, uid);
	pthread_mutex_unlock(&manager->lock);
	return known;
}

void pod_manager_set_ready(struct pod_manager *manager) {
	pthread_mutex_lock(&manager->lock);
	manager->ready = true;
	pthread_mutex_unlock(&manager->lock);
}

bool pod_manager_is_ready(struct pod_manager *manager) {
	pthread_mutex_lock(&manager->lock);
	bool ready = manager->ready;
	pthread_mutex_unlock(&manager->lock);
	return ready;
}

struct kubelet *pod_manager_kubelet(struct pod_manager *manager) {
	return manager->kubelet;
}

void pod_manager_work_begin(struct pod_manager *manager) {
	pthread_mutex_lock(&manager->lock);
	manager->workers++;
	pthread_mutex_unlock(&manager->lock);
}

void pod_manager_work_end(struct pod_manager *manager) {
	pthread_mutex_lock(&manager->lock);
	manager->workers--;
	pthread_cond_broadcast(&manager->worker_ended);
	pthread_mutex_unlock(&manager->lock);
}
