/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/scheduler.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/metrics.h"
#include "common/client/events.h"
#include "common/client/informer.h"
#include "scheduler/framework.h"
#include "scheduler/queue.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#define BINDINGS_MAX 4096 /* decided and not yet written: beyond it no more is decided */

enum work_kind { WORK_BIND, WORK_FAIL, WORK_GATED };
struct work {
	struct work *next;
	enum work_kind kind;
	struct core_v1_pod *pod; /* a reference */
	char *node, *message;
	int64_t since_ns;
};

struct scheduler {
	struct client *client;
	struct scheduler_options options;
	struct informer_set *informers;
	struct event_recorder *events;
	pthread_mutex_t lock; /* all below */
	pthread_cond_t wake, work_wake, work_room;
	struct cluster cluster;
	struct queue queue;
	struct work *work_first, **work_last;
	size_t work_count;
	bool stopping;
	pthread_t decider, *binders;
	bool running;
};

static const char *const attempt_labels[] = {"result", "profile", NULL};
static const char *const queue_labels[] = {"queue", NULL};
static struct metric scheduler_metrics[] = {
	{.name = "scheduler_schedule_attempts_total", .help = "Attempts to place a pod, by result.", .kind = METRIC_COUNTER, .labels = attempt_labels},
	{.name = "scheduler_scheduling_attempt_duration_seconds", .help = "How long an attempt took.", .kind = METRIC_HISTOGRAM, .labels = attempt_labels},
	{.name = "scheduler_pending_pods", .help = "Pods that wait, by queue.", .kind = METRIC_GAUGE, .labels = queue_labels},
	{.name = "scheduler_pod_scheduling_sli_duration_seconds", .help = "From first queued to bound.", .kind = METRIC_HISTOGRAM},
};

/* ---- what the informers tell; the lock is held in each ---- */

static bool finished(const struct core_v1_pod *pod) {
	return str_equal(pod->status.phase, "Succeeded") || str_equal(pod->status.phase, "Failed");
}

static bool ours(const struct scheduler *s, const struct core_v1_pod *pod) {
	return str_equal(str_or(pod->spec.scheduler_name, "default-scheduler"), s->options.name);
}

static void enqueue_event(struct scheduler *s, uint32_t events) {
	queue_event(&s->queue, events);
	pthread_cond_signal(&s->wake);
}

static void push_work(struct scheduler *s, enum work_kind kind, struct core_v1_pod *pod, const char *node, const char *message, int64_t since_ns) {
	struct work *work = xnew(struct work);
	*work = (struct work){.kind = kind, .pod = api_ref(pod), .node = node ? xstrdup(node) : NULL, .message = message ? xstrdup(message) : NULL, .since_ns = since_ns};
	*s->work_last = work;
	s->work_last = &work->next;
	s->work_count++;
	pthread_cond_signal(&s->work_wake);
}

static const struct core_v1_pod_condition *scheduled_condition(const struct core_v1_pod *pod) {
	for api_list_each (condition, &pod->status.conditions)
		if (str_equal(condition->type, "PodScheduled"))
			return condition;
	return NULL;
}

static void forget_waiting(struct scheduler *s, const char *key) {
	queue_remove(&s->queue, key);
}

static void take_pod(struct scheduler *s, struct core_v1_pod *old, struct core_v1_pod *pod) {
	const char *key = api_key(pod);
	struct pod_info *counted = cluster_find_pod(&s->cluster, key);
	if (finished(pod)) {
		forget_waiting(s, key);
		if (counted) {
			cluster_remove_pod(&s->cluster, key);
			enqueue_event(s, EVENT_POD_DELETE);
		}
		return;
	}
	if (!str_empty(pod->spec.node_name)) {
		forget_waiting(s, key);
		bool new = !counted || counted->assumed;
		bool labels = counted && !api_map_equal(&counted->facts->pod->metadata.labels, &pod->metadata.labels);
		bool changed = cluster_add_pod(&s->cluster, pod, pod->spec.node_name, false);
		/* A resize may free room. Most of what is told of a pod on a node is its status: of no concern to those that wait. */
		uint32_t events = (new ? EVENT_POD_ADD : 0) | (labels ? EVENT_POD_LABEL : 0) | (!new && changed ? EVENT_POD_DELETE : 0);
		if (events)
			enqueue_event(s, events);
		return;
	}
	if (!ours(s, pod) || pod->metadata.deletion_timestamp.set) {
		forget_waiting(s, key);
		return;
	}
	if (pod->spec.scheduling_gates.len) {
		const struct core_v1_pod_condition *condition = scheduled_condition(pod);
		if (!condition || !str_equal(condition->reason, "SchedulingGated"))
			push_work(s, WORK_GATED, pod, NULL, "Scheduling is blocked due to non-empty scheduling gates", 0);
		forget_waiting(s, key);
		return;
	}
	if (counted && counted->assumed)
		return; /* an update that left the API server before our binding reached it */
	bool changed = !old || !api_equal(&core_v1_pod_spec_type, &old->spec, &pod->spec) || !api_map_equal(&old->metadata.labels, &pod->metadata.labels);
	queue_set(&s->queue, pod, changed);
	pthread_cond_signal(&s->wake);
}

static void pod_added(void *object, bool is_initial, void *arg) {
	struct scheduler *s = arg;
	pthread_mutex_lock(&s->lock);
	take_pod(s, NULL, object);
	pthread_mutex_unlock(&s->lock);
}

static void pod_updated(void *old_object, void *object, void *arg) {
	struct scheduler *s = arg;
	pthread_mutex_lock(&s->lock);
	take_pod(s, old_object, object);
	pthread_mutex_unlock(&s->lock);
}

static void pod_deleted(void *object, void *arg) {
	struct scheduler *s = arg;
	const char *key = api_key(object);
	pthread_mutex_lock(&s->lock);
	queue_remove(&s->queue, key);
	if (cluster_find_pod(&s->cluster, key)) {
		cluster_remove_pod(&s->cluster, key);
		enqueue_event(s, EVENT_POD_DELETE);
	}
	pthread_mutex_unlock(&s->lock);
}

static uint32_t node_events(const struct core_v1_node *old, const struct core_v1_node *node) {
	uint32_t events = 0;
	if (!api_equal(&core_v1_node_spec_type, &old->spec, &node->spec))
		events |= EVENT_NODE_TAINT;
	if (!api_map_equal(&old->metadata.labels, &node->metadata.labels))
		events |= EVENT_NODE_LABEL;
	for (uint32_t i = 0; i < node->status.allocatable.len; i++) {
		const struct quantity *before = api_quantity_get(&old->status.allocatable, node->status.allocatable.items[i].key);
		if (!before || quantity_compare(before, &node->status.allocatable.items[i].value) != 0)
			events |= EVENT_NODE_ALLOCATABLE;
	}
	return events;
}

static void node_added(void *object, bool is_initial, void *arg) {
	struct scheduler *s = arg;
	pthread_mutex_lock(&s->lock);
	cluster_set_node(&s->cluster, object);
	enqueue_event(s, EVENT_NODE_ADD);
	pthread_mutex_unlock(&s->lock);
}

static void node_updated(void *old_object, void *object, void *arg) {
	struct scheduler *s = arg;
	pthread_mutex_lock(&s->lock);
	cluster_set_node(&s->cluster, object);
	uint32_t events = node_events(old_object, object);
	if (events)
		enqueue_event(s, events);
	pthread_mutex_unlock(&s->lock);
}

static void node_deleted(void *object, void *arg) {
	struct scheduler *s = arg;
	pthread_mutex_lock(&s->lock);
	cluster_remove_node(&s->cluster, ((struct core_v1_node *)object)->metadata.name);
	pthread_mutex_unlock(&s->lock);
}

static void namespace_set(void *object, struct scheduler *s, bool gone) {
	const char *name = ((struct core_v1_namespace *)object)->metadata.name;
	pthread_mutex_lock(&s->lock);
	cluster_set_namespace(&s->cluster, name, gone ? NULL : object);
	enqueue_event(s, EVENT_NAMESPACE);
	pthread_mutex_unlock(&s->lock);
}
static void namespace_added(void *object, bool is_initial, void *arg) {
	namespace_set(object, arg, false);
}
static void namespace_updated(void *old_object, void *object, void *arg) {
	namespace_set(object, arg, false);
}
static void namespace_deleted(void *object, void *arg) {
	namespace_set(object, arg, true);
}

/* ---- deciding ---- */

/* One attempt; the lock is held. What it decides is written by a binder. */
static void decide(struct scheduler *s, struct queued_pod *queued) {
	int64_t began = clock_monotonic_ns();
	struct pod_facts *facts = pod_facts_new(&s->cluster, queued->pod);
	struct attempt attempt = {.cluster = &s->cluster, .pod = facts, .arena = arena_new()};
	uint32_t row = attempt_run(&attempt);
	const char *result = row == NO_NODE ? "unschedulable" : "scheduled";
	if (row != NO_NODE) {
		const char *node = s->cluster.rows[row].node->metadata.name;
		push_work(s, WORK_BIND, queued->pod, node, NULL, queued->since_ns);
		cluster_add_pod(&s->cluster, facts->pod, node, true);
		queue_remove(&s->queue, api_key(facts->pod));
		queue_event(&s->queue, EVENT_POD_ADD);
	} else {
		const char *message = attempt_explain(&attempt);
		if (!str_equal(message, queued->last_message)) {
			free(queued->last_message);
			queued->last_message = xstrdup(message);
		}
		push_work(s, WORK_FAIL, queued->pod, NULL, message, 0);
		queue_park(&s->queue, queued, attempt_helping_events(&attempt));
	}
	pod_facts_free(facts);
	arena_free(attempt.arena);
	metric_add(metric_label(&scheduler_metrics[0], result, s->options.name), 1);
	metric_observe(metric_label(&scheduler_metrics[1], result, s->options.name), (double)(clock_monotonic_ns() - began) / 1e9);
}

static void wait_for(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t ns) {
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ns / NSEC_PER_SEC;
	until.tv_nsec += ns % NSEC_PER_SEC;
	if (until.tv_nsec >= NSEC_PER_SEC) {
		until.tv_sec++;
		until.tv_nsec -= NSEC_PER_SEC;
	}
	pthread_cond_timedwait(cond, lock, &until);
}

static void *decide_all(void *arg) {
	struct scheduler *s = arg;
	pthread_mutex_lock(&s->lock);
	while (!s->stopping) {
		if (s->work_count >= BINDINGS_MAX) {
			pthread_cond_wait(&s->work_room, &s->lock);
			continue;
		}
		int64_t next = s->queue.active_len ? 0 : queue_tick(&s->queue);
		struct queued_pod *queued = queue_pop(&s->queue);
		if (queued) {
			decide(s, queued);
			/* Let informers and binders in between two attempts: the lock is not fair. */
			pthread_mutex_unlock(&s->lock);
			pthread_mutex_lock(&s->lock);
		} else if (next < 0) {
			pthread_cond_wait(&s->wake, &s->lock);
		} else {
			wait_for(&s->wake, &s->lock, max_of(next, (int64_t)NSEC_PER_MSEC));
		}
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* ---- writing ---- */

static int post_binding(struct scheduler *s, const struct work *work, struct error *err) {
	const struct meta_v1_object_meta *meta = &work->pod->metadata;
	autounref struct core_v1_binding *binding = api_new_of(core_v1_binding);
	binding->metadata.name = meta->name;
	binding->metadata.namespace = meta->namespace;
	binding->metadata.uid = meta->uid;
	binding->target.kind = "Node";
	binding->target.name = work->node;
	return client_post_subresource(s->client, &api_pods, meta->namespace, meta->name, "binding", binding, &meta_v1_status_type, NULL, err);
}

/* A binding that failed: the pod counts no more where it was assumed, and waits again. */
static void undo_assumption(struct scheduler *s, const struct work *work) {
	const char *key = api_key(work->pod);
	pthread_mutex_lock(&s->lock);
	struct pod_info *info = cluster_find_pod(&s->cluster, key);
	if (info && info->assumed) {
		cluster_remove_pod(&s->cluster, key);
		queue_add_backing_off(&s->queue, work->pod);
		enqueue_event(s, EVENT_POD_DELETE);
	}
	pthread_mutex_unlock(&s->lock);
}

static void bind(struct scheduler *s, const struct work *work) {
	autoerror struct error err = {0};
	const struct meta_v1_object_meta *meta = &work->pod->metadata;
	if (post_binding(s, work, &err) < 0) {
		if (!error_is(&err, "NotFound"))
			log_warning("pod not bound", LOG_STR("pod", api_key(work->pod)), LOG_STR("node", work->node), LOG_ERR(&err));
		undo_assumption(s, work);
		return;
	}
	metric_observe(metric_label(&scheduler_metrics[3]), (double)(clock_monotonic_ns() - work->since_ns) / 1e9);
	event_report(s->events, work->pod, "Normal", "Scheduled", "Binding", "Successfully assigned %s/%s to %s", meta->namespace, meta->name, work->node);
}

static void write_condition(struct scheduler *s, const struct work *work, const char *reason) {
	const struct core_v1_pod_condition *have = scheduled_condition(work->pod);
	if (have && str_equal(have->status, "False") && str_equal(have->reason, reason) && str_equal(have->message, work->message))
		return;
	/* Where the status stays False, so does the time since when. */
	bool was_false = have && str_equal(have->status, "False") && have->last_transition_time.set;
	char since[64];
	time_format_rfc3339(was_false ? have->last_transition_time.t : clock_wall(), since);
	autobuf struct buf patch = BUF_INIT(1 << 16);
	buf_append_str(&patch, "{\"status\":{\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"False\",\"reason\":");
	buf_append_json_string(&patch, reason, strlen(reason));
	buf_append_str(&patch, ",\"message\":");
	buf_append_json_string(&patch, work->message, strlen(work->message));
	const struct meta_v1_object_meta *meta = &work->pod->metadata;
	buf_printf(&patch, ",\"observedGeneration\":%lld,\"lastProbeTime\":null,\"lastTransitionTime\":\"%s\"}]}}", (long long)meta->generation, since);
	autoerror struct error err = {0};
	if (client_patch(s->client, &api_pods, meta->namespace, meta->name, "status", "application/strategic-merge-patch+json", patch.data, NULL, &err) < 0 &&
		!error_is(&err, "NotFound"))
		log_warning("condition not written", LOG_STR("pod", api_key(work->pod)), LOG_ERR(&err));
}

static void carry_out(struct scheduler *s, const struct work *work) {
	switch (work->kind) {
	case WORK_BIND:
		bind(s, work);
		return;
	case WORK_FAIL:
		event_report(s->events, work->pod, "Warning", "FailedScheduling", "Scheduling", "%s", work->message);
		write_condition(s, work, "Unschedulable");
		return;
	case WORK_GATED:
		write_condition(s, work, "SchedulingGated");
	}
}

static void free_work(struct work *work) {
	api_unref(work->pod);
	free(work->node);
	free(work->message);
	free(work);
}

static void *carry_out_all(void *arg) {
	struct scheduler *s = arg;
	pthread_mutex_lock(&s->lock);
	for (;;) {
		while (!s->work_first && !s->stopping)
			pthread_cond_wait(&s->work_wake, &s->lock);
		struct work *work = s->work_first;
		if (!work)
			break; /* stopping, and all that was decided is written */
		s->work_first = work->next;
		if (!s->work_first)
			s->work_last = &s->work_first;
		s->work_count--;
		pthread_cond_signal(&s->work_room);
		pthread_mutex_unlock(&s->lock);
		carry_out(s, work);
		free_work(work);
		pthread_mutex_lock(&s->lock);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* ---- life ---- */

static void collect_metrics(void *arg) {
	struct scheduler *s = arg;
	static const struct { const char *name; int state; } queues[] = {{"active", POD_ACTIVE}, {"backoff", POD_BACKING_OFF}, {"unschedulable", POD_UNSCHEDULABLE}};
	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < array_len(queues); i++)
		metric_set(metric_label(&scheduler_metrics[2], queues[i].name), (double)queue_count(&s->queue, queues[i].state));
	pthread_mutex_unlock(&s->lock);
}

struct scheduler *scheduler_new(struct client *client, const struct scheduler_options *options) {
	struct scheduler *s = xnew(struct scheduler);
	s->client = client;
	s->options = *options;
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_t monotonic;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&s->wake, &monotonic);
	pthread_cond_init(&s->work_wake, NULL);
	pthread_cond_init(&s->work_room, NULL);
	pthread_condattr_destroy(&monotonic);
	cluster_init(&s->cluster);
	queue_init(&s->queue);
	s->work_last = &s->work_first;
	s->informers = informer_set_new(client);
	s->events = event_recorder_new(client, options->name, NULL);
	metrics_register(scheduler_metrics, array_len(scheduler_metrics));
	metrics_on_collect(collect_metrics, s);
	return s;
}

/* What no plugin reads of a pod. Pods are many: they are kept packed, and written by patches and bindings alone. */
static const char *const unread_of_pods[] = {"core/v1.PodSpec.volumes", "core/v1.PodSpec.securityContext", "core/v1.PodSpec.imagePullSecrets",
	"core/v1.PodSpec.dnsConfig", "core/v1.PodSpec.dnsPolicy", "core/v1.PodSpec.hostAliases", "core/v1.PodSpec.enableServiceLinks", "core/v1.PodSpec.serviceAccountName",
	"core/v1.PodSpec.serviceAccount", "core/v1.PodSpec.hostname", "core/v1.PodSpec.subdomain", "core/v1.PodSpec.ephemeralContainers", "core/v1.Container.command",
	"core/v1.Container.args", "core/v1.Container.workingDir", "core/v1.Container.env", "core/v1.Container.envFrom", "core/v1.Container.volumeMounts",
	"core/v1.Container.volumeDevices", "core/v1.Container.livenessProbe", "core/v1.Container.readinessProbe", "core/v1.Container.startupProbe", "core/v1.Container.lifecycle",
	"core/v1.Container.securityContext", "core/v1.Container.terminationMessagePath", "core/v1.Container.terminationMessagePolicy", "core/v1.Container.imagePullPolicy",
	"core/v1.PodStatus.containerStatuses", "core/v1.PodStatus.initContainerStatuses", "core/v1.PodStatus.ephemeralContainerStatuses", "core/v1.PodStatus.podIPs",
	"core/v1.PodStatus.hostIPs", NULL};
static const struct informer_options packed_pods = {.skip = unread_of_pods, .packed = true};

bool scheduler_start(struct scheduler *s, int cancel_fd) {
	informer_add_handler(informer_get(s->informers, &api_nodes, NULL), &(struct informer_handler){.on_add = node_added, .on_update = node_updated, .on_delete = node_deleted, .arg = s});
	informer_add_handler(informer_get(s->informers, &api_namespaces, NULL), &(struct informer_handler){.on_add = namespace_added, .on_update = namespace_updated, .on_delete = namespace_deleted, .arg = s});
	informer_add_handler(informer_get(s->informers, &api_pods, &packed_pods), &(struct informer_handler){.on_add = pod_added, .on_update = pod_updated, .on_delete = pod_deleted, .arg = s});
	informer_set_start(s->informers);
	/* Deciding on half a picture would put pods where there is no room. */
	if (!informer_set_wait_synced(s->informers, cancel_fd))
		return false;
	s->running = true;
	s->binders = xcalloc(s->options.binders, sizeof(*s->binders));
	for (unsigned i = 0; i < s->options.binders; i++)
		if (pthread_create(&s->binders[i], NULL, carry_out_all, s) != 0)
			abort();
	if (pthread_create(&s->decider, NULL, decide_all, s) != 0)
		abort();
	return true;
}

void scheduler_stop(struct scheduler *s) {
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	pthread_cond_broadcast(&s->wake);
	pthread_cond_broadcast(&s->work_wake);
	pthread_cond_broadcast(&s->work_room);
	pthread_mutex_unlock(&s->lock);
	if (s->running) {
		pthread_join(s->decider, NULL);
		for (unsigned i = 0; i < s->options.binders; i++)
			pthread_join(s->binders[i], NULL);
		s->running = false;
	}
	if (s->informers)
		informer_set_free(s->informers);
	s->informers = NULL;
}

void scheduler_free(struct scheduler *s) {
	if (!s)
		return;
	scheduler_stop(s);
	event_recorder_free(s->events);
	while (s->work_first) {
		struct work *work = s->work_first;
		s->work_first = work->next;
		free_work(work);
	}
	queue_done(&s->queue);
	cluster_done(&s->cluster);
	pthread_mutex_destroy(&s->lock);
	free(s->binders);
	free(s);
}
