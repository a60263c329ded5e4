/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "common/base/map.h"
#include "kubelet/pod/manager.h"
#include "kubelet/probe/probe.h"

#include <pthread.h>
#include <time.h>

#define MAX_THREADS 32
#define IDLE_SECONDS 15
#define EVENT_OUTPUT 1024 /* bytes of a probe's output told in events */

static const char *const kind_names[PROBE_KINDS] = {"Startup", "Liveness", "Readiness"};

/* One probe of one instance of a container. All fields but `manager` and `kind` under the manager's lock. */
struct probe {
	struct list queue; /* in `due` while it waits for a thread */
	struct probe_manager *manager;
	enum probe_kind kind;
	char *key;          /* "uid/container/kind" */
	char *pod_uid;
	char *container_id;
	char *pod_ip;
	struct core_v1_pod *pod; /* reference: container and spec point into it */
	const struct core_v1_container *container;
	const struct core_v1_probe *spec;
	int64_t next; /* monotonic */
	enum probe_result result, last;
	int run_length;
	uint64_t runs[PROBE_FAILURE + 1]; /* by result */
	bool running, on_hold, removed;
};

struct probe_manager {
	struct kubelet *kubelet;
	pthread_mutex_t lock;
	pthread_cond_t timer_wake; /* something may be due sooner */
	pthread_cond_t work;       /* the queue has grown, or it ends */
	pthread_cond_t idle;       /* a thread has ended */
	struct map probes;         /* key -> struct probe */
	struct list due;
	unsigned threads, waiting;
	bool stopping;
	pthread_t timer;
};

uint16_t probe_port(const struct core_v1_container *container, const struct int_or_string *port) {
	int64_t number;
	if (!port->str)
		return port->num > 0 && port->num < 65536 ? (uint16_t)port->num : 0;
	for api_list_each (p, &container->ports)
		if (str_equal(p->name, port->str))
			return (uint16_t)p->container_port;
	return str_to_int64(port->str, 1, 65535, &number) ? (uint16_t)number : 0;
}

enum probe_result probe_run(const struct probe_target *target, struct buf *output) {
	for (size_t i = 0; i < probe_check_count; i++)
		if (probe_checks[i]->handles(target->handler))
			return probe_checks[i]->run(target, output);
	return PROBE_SUCCESS;
}

static void probe_free(struct probe *probe) {
	list_remove(&probe->queue);
	free(probe->key);
	free(probe->pod_uid);
	free(probe->container_id);
	free(probe->pod_ip);
	api_unref(probe->pod);
	free(probe);
}

/* One that runs is freed by the thread that runs it. */
static void probe_drop(void *ptr) {
	struct probe *probe = ptr;
	probe->removed = true;
	if (!probe->running)
		probe_free(probe);
}

static struct probe *find(struct probe_manager *manager, const char *uid, const char *container, enum probe_kind kind) {
	autofree char *key = xprintf("%s/%s/%d", uid, container, kind);
	return map_get(&manager->probes, key);
}

/* Whether the container counts as started: its startup probe, where it has one, succeeded. */
static bool is_started(struct probe_manager *manager, const struct probe *probe) {
	const struct probe *startup = find(manager, probe->pod_uid, probe->container->name, PROBE_STARTUP);
	return !startup || startup->result == PROBE_SUCCESS;
}

static void tell_failure(struct probe *probe, enum probe_result result, const char *output) {
	autofree char *field = NULL;
	bool init = false;
	for api_list_each (c, &probe->pod->spec.init_containers)
		init = init || c == probe->container;
	field = xprintf("spec.%s{%s}", init ? "initContainers" : "containers", probe->container->name);
	if (result == PROBE_UNKNOWN)
		kubelet_event(probe->manager->kubelet, probe->pod, field, "Warning", "Unhealthy", "%s probe errored and resulted in unknown state: %.*s", kind_names[probe->kind], EVENT_OUTPUT, output);
	else
		kubelet_event(probe->manager->kubelet, probe->pod, field, "Warning", "Unhealthy", "%s probe failed: %.*s", kind_names[probe->kind], EVENT_OUTPUT, output);
}

/* Counts the run; true where the probe's result has turned. */
static bool count_result(struct probe *probe, enum probe_result result) {
	int failures = max_of(probe->spec->failure_threshold, 1), successes = max_of(probe->spec->success_threshold, 1);
	probe->run_length = probe->last == result ? probe->run_length + 1 : 1;
	probe->last = result;
	if ((result == PROBE_FAILURE && probe->run_length < failures) || (result == PROBE_SUCCESS && probe->run_length < successes))
		return false;
	bool turned = probe->result != result;
	probe->result = result;
	/* What ends or has started needs no more probing until there is a new instance. */
	if ((probe->kind == PROBE_LIVENESS && result == PROBE_FAILURE) || probe->kind == PROBE_STARTUP)
		probe->on_hold = true;
	return turned;
}

static int64_t period_ns(const struct probe *probe) {
	return max_of(probe->spec->period_seconds, 1) * NSEC_PER_SEC;
}

/* Called and returns with the lock held; runs the check without it. */
static void run_probe(struct probe_manager *manager, struct probe *probe) {
	struct probe_target target = {
		.kubelet = manager->kubelet,
		.container = probe->container,
		.handler = &probe->spec->probe_handler,
		.container_id = probe->container_id,
		.pod_ip = probe->pod_ip,
		.timeout_ms = max_of(probe->spec->timeout_seconds, 1) * 1000,
	};
	autobuf struct buf output = BUF_INIT(PROBE_MAX_OUTPUT);
	probe->running = true;
	pthread_mutex_unlock(&manager->lock);
	enum probe_result result = probe_run(&target, &output);
	bool alive = pod_manager_container_running(manager->kubelet->pods, probe->pod_uid, probe->container_id);
	pthread_mutex_lock(&manager->lock);
	probe->running = false;
	probe->runs[result]++;
	if (probe->removed) {
		probe_free(probe);
		return;
	}
	if (result != PROBE_SUCCESS && alive)
		tell_failure(probe, result, output.data ? output.data : "");
	bool turned = result != PROBE_UNKNOWN && alive && count_result(probe, result);
	probe->next = clock_monotonic_ns() + period_ns(probe);
	pthread_cond_signal(&manager->timer_wake);
	if (turned) {
		/* The other probes begin at once when the container has started. */
		for (enum probe_kind kind = PROBE_LIVENESS; probe->kind == PROBE_STARTUP && kind < PROBE_KINDS; kind++) {
			struct probe *other = find(manager, probe->pod_uid, probe->container->name, kind);
			if (other)
				other->next = clock_monotonic_ns();
		}
		pod_manager_wake(manager->kubelet->pods, probe->pod_uid);
	}
}

static void *work(void *arg) {
	struct probe_manager *manager = arg;
	pthread_mutex_lock(&manager->lock);
	while (!manager->stopping) {
		struct probe *probe = list_first(&manager->due, struct probe, queue);
		if (probe) {
			list_remove(&probe->queue);
			run_probe(manager, probe);
			continue;
		}
		struct timespec until;
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += IDLE_SECONDS;
		manager->waiting++;
		int timed_out = pthread_cond_timedwait(&manager->work, &manager->lock, &until);
		manager->waiting--;
		if (timed_out && list_empty(&manager->due))
			break;
	}
	manager->threads--;
	pthread_cond_signal(&manager->idle);
	pthread_mutex_unlock(&manager->lock);
	return NULL;
}

static void add_thread(struct probe_manager *manager) {
	pthread_attr_t attr;
	pthread_t thread;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, KUBELET_THREAD_STACK);
	if (pthread_create(&thread, &attr, work, manager) == 0)
		manager->threads++;
	pthread_attr_destroy(&attr);
}

/* Puts what is due in the queue; gives when the next one is. */
static int64_t queue_due(struct probe_manager *manager) {
	int64_t now = clock_monotonic_ns(), next = now + 3600 * NSEC_PER_SEC;
	size_t queued = 0;
	struct map_entry *e;
	for (size_t i = 0; (e = map_next(&manager->probes, &i));) {
		struct probe *probe = e->value;
		if (probe->running || probe->on_hold || !list_empty(&probe->queue))
			continue;
		if (probe->kind != PROBE_STARTUP && !is_started(manager, probe))
			continue;
		if (probe->next <= now) {
			list_push_back(&manager->due, &probe->queue);
			queued++;
		} else {
			next = min_of(next, probe->next);
		}
	}
	for (size_t i = manager->waiting; i < queued && manager->threads < MAX_THREADS; i++)
		add_thread(manager);
	if (queued)
		pthread_cond_broadcast(&manager->work);
	return next;
}

static void *run_timer(void *arg) {
	struct probe_manager *manager = arg;
	pthread_mutex_lock(&manager->lock);
	while (!manager->stopping) {
		int64_t next = queue_due(manager);
		struct timespec until = {.tv_sec = next / NSEC_PER_SEC, .tv_nsec = next % NSEC_PER_SEC};
		pthread_cond_timedwait(&manager->timer_wake, &manager->lock, &until);
	}
	pthread_mutex_unlock(&manager->lock);
	return NULL;
}

struct probe_manager *probe_manager_new(struct kubelet *kubelet) {
	struct probe_manager *manager = xnew(struct probe_manager);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	manager->kubelet = kubelet;
	manager->probes = MAP_INIT(probe_drop);
	list_init(&manager->due);
	pthread_mutex_init(&manager->lock, NULL);
	pthread_cond_init(&manager->timer_wake, &attr);
	pthread_cond_init(&manager->work, &attr);
	pthread_cond_init(&manager->idle, &attr);
	pthread_condattr_destroy(&attr);
	if (pthread_create(&manager->timer, NULL, run_timer, manager) != 0)
		abort();
	return manager;
}

void probe_manager_stop(struct probe_manager *manager) {
	if (!manager || manager->stopping)
		return;
	pthread_mutex_lock(&manager->lock);
	manager->stopping = true;
	pthread_cond_broadcast(&manager->work);
	pthread_cond_broadcast(&manager->timer_wake);
	while (manager->threads)
		pthread_cond_wait(&manager->idle, &manager->lock);
	pthread_mutex_unlock(&manager->lock);
	pthread_join(manager->timer, NULL);
}

void probe_manager_free(struct probe_manager *manager) {
	if (!manager)
		return;
	probe_manager_stop(manager);
	map_done(&manager->probes);
	pthread_mutex_destroy(&manager->lock);
	pthread_cond_destroy(&manager->timer_wake);
	pthread_cond_destroy(&manager->work);
	pthread_cond_destroy(&manager->idle);
	free(manager);
}

static void add_one(struct probe_manager *manager, struct core_v1_pod *pod, const struct core_v1_container *container, const struct core_v1_probe *spec, enum probe_kind kind, const char *container_id, const char *pod_ip, struct wall_time started, enum probe_result initial) {
	struct probe *have = find(manager, pod->metadata.uid, container->name, kind);
	if (have && str_equal(have->container_id, container_id))
		return;
	struct probe *probe = xnew(struct probe);
	int64_t age = max_of(time_diff_ns(clock_wall(), started), (int64_t)0);
	list_init(&probe->queue);
	probe->manager = manager;
	probe->kind = kind;
	probe->key = xprintf("%s/%s/%d", pod->metadata.uid, container->name, kind);
	probe->pod_uid = xstrdup(pod->metadata.uid);
	probe->container_id = xstrdup(container_id);
	probe->pod_ip = xstrdup(pod_ip ? pod_ip : "");
	probe->pod = api_ref(pod);
	probe->container = container;
	probe->spec = spec;
	probe->result = initial;
	probe->on_hold = kind == PROBE_STARTUP && initial == PROBE_SUCCESS;
	probe->next = clock_monotonic_ns() + max_of(spec->initial_delay_seconds * NSEC_PER_SEC - age, (int64_t)0);
	map_set(&manager->probes, probe->key, probe);
}

void probe_manager_add(struct probe_manager *manager, struct core_v1_pod *pod, const struct core_v1_container *container, const char *container_id, const char *pod_ip, struct wall_time started, bool was_ready, bool was_started) {
	pthread_mutex_lock(&manager->lock);
	if (container->startup_probe)
		add_one(manager, pod, container, container->startup_probe, PROBE_STARTUP, container_id, pod_ip, started, was_started ? PROBE_SUCCESS : PROBE_UNKNOWN);
	if (container->liveness_probe)
		add_one(manager, pod, container, container->liveness_probe, PROBE_LIVENESS, container_id, pod_ip, started, PROBE_SUCCESS);
	if (container->readiness_probe)
		add_one(manager, pod, container, container->readiness_probe, PROBE_READINESS, container_id, pod_ip, started, was_ready ? PROBE_SUCCESS : PROBE_FAILURE);
	pthread_cond_signal(&manager->timer_wake);
	pthread_mutex_unlock(&manager->lock);
}

void probe_manager_remove(struct probe_manager *manager, const char *pod_uid, const char *container, bool only_health) {
	struct map_entry *e;
	pthread_mutex_lock(&manager->lock);
	for (size_t i = 0; (e = map_next(&manager->probes, &i));) {
		struct probe *probe = e->value;
		if (str_equal(probe->pod_uid, pod_uid) && (!container || str_equal(probe->container->name, container)) && !(only_health && probe->kind == PROBE_READINESS))
			map_remove(&manager->probes, e->key);
	}
	pthread_mutex_unlock(&manager->lock);
}

enum probe_result probe_manager_result(struct probe_manager *manager, const char *pod_uid, const char *container, const char *container_id, enum probe_kind kind) {
	pthread_mutex_lock(&manager->lock);
	const struct probe *probe = find(manager, pod_uid, container, kind);
	enum probe_result result = !probe ? PROBE_NONE : str_equal(probe->container_id, container_id) ? probe->result : PROBE_UNKNOWN;
	pthread_mutex_unlock(&manager->lock);
	return result;
}

void probe_manager_write_metrics(struct probe_manager *manager, struct buf *out) {
	static const char *const results[] = {[PROBE_SUCCESS] = "successful", [PROBE_FAILURE] = "failed", [PROBE_UNKNOWN] = "unknown"};
	struct map_entry *e;
	buf_append_str(out, "# HELP prober_probe_total [BETA] Cumulative number of a liveness, readiness or startup probe for a container by result.\n# TYPE prober_probe_total counter\n");
	pthread_mutex_lock(&manager->lock);
	for (size_t i = 0; (e = map_next(&manager->probes, &i));) {
		const struct probe *probe = e->value;
		for (size_t result = 0; result < array_len(results); result++)
			if (results[result] && probe->runs[result])
				buf_printf(out, "prober_probe_total{container=\"%s\",namespace=\"%s\",pod=\"%s\",pod_uid=\"%s\",probe_type=\"%s\",result=\"%s\"} %llu\n", probe->container->name, probe->pod->metadata.namespace, probe->pod->metadata.name, probe->pod_uid, kind_names[probe->kind],
					   results[result], (unsigned long long)probe->runs[result]);
	}
	pthread_mutex_unlock(&manager->lock);
}
