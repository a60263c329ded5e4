/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/flow/internal.h"
#include "apiserver/flow/match.h"
#include "apiserver/request/metrics.h"
#include "apiserver/request/steps.h"
#include "apiserver/timers.h"
#include "apiserver/worker.h"
#include "common/base/log.h"
#include "common/base/map.h"

#include <errno.h>

#define ADJUST_NS (10 * NSEC_PER_SEC)
#define TICK_NS (100 * NSEC_PER_MSEC)
#define BYTES_PER_SEAT 100000
#define MOST_BYTES_AT_ONCE 1000000 /* a LIST goes out in pieces */
#define MOST_LIST_SEATS 10

/* ---- classification ---- */

static const char *distinguish(const struct flow_schema *schema, const struct request *r) {
	return schema->by == FLOW_BY_USER ? r->user->name : schema->by == FLOW_BY_NAMESPACE ? str_or(r->ns, "") : "";
}

static struct flow_schema *classify(struct flow_config *config, const struct request *r) {
	for (size_t i = 0; i < config->schema_count; i++)
		if (flow_schema_matches(config->schemas[i].object, r))
			return &config->schemas[i];
	return &config->schemas[config->schema_count - 1]; /* catch-all; whatever it has been made of */
}

/* A list is as wide as what it reads: a seat for each 100 KB, within bounds. All else takes one. */
static unsigned estimate_seats(const struct request *r, unsigned most) {
	bool list = strcmp(r->verb, "list") == 0, watch = strcmp(r->verb, "watch") == 0;
	if ((!list && !watch) || most == 1 || r->selected_name)
		return 1;
	const char *revision = http_query(r->http, "resourceVersion");
	if (watch && !request_flag(r, "sendInitialEvents") && !str_empty(revision) && strcmp(revision, "0") != 0)
		return 1;
	const struct resource *resource = registry_find(r->server->registry, r->group, r->version, r->plural);
	if (!resource || !resource->collection)
		return 1;
	size_t count, bytes = collection_size(resource->collection, &count);
	int64_t limit;
	const char *asked = http_query(r->http, "limit");
	if (count && !str_empty(asked) && str_to_int64(asked, 1, INT64_MAX, &limit) && (uint64_t)limit < count)
		bytes = bytes / count * (size_t)limit;
	size_t at_once = min_of(bytes, (size_t)MOST_BYTES_AT_ONCE);
	unsigned seats = (unsigned)((at_once + BYTES_PER_SEAT - 1) / BYTES_PER_SEAT);
	most = min_of(most, (unsigned)MOST_LIST_SEATS);
	seats = min_of(seats, most);
	return max_of(seats, 1u);
}

/* ---- what is ready runs ---- */

static void note_demand(struct flow_level *level, int64_t now) {
	flow_metrics_lasted(level, now);
	demand_note(&level->demand, (double)level->set.seats_in_use + level->set.seats_waiting, now);
	level->stood.executing = level->set.executing;
	level->stood.waiting = level->set.waiting;
	level->stood.seats = level->set.seats_in_use;
}

/* The level's lock is held. */
static void count_running(struct flow_request *fr, int sign) {
	if (sign > 0)
		list_push_back(&fr->schema->level->running, &fr->running);
	else
		list_remove(&fr->running);
	metric_add(fr->schema->executing, sign);
	metric_add(fr->schema->executing_seats, sign * (double)fr->queued.seats);
	metric_add(fr->schema->in_use, sign * (double)fr->queued.seats);
}

static void count_waiting(struct flow_request *fr, int sign) {
	metric_add(fr->schema->waiting, sign);
	metric_add(fr->schema->waiting_seats, sign * (double)fr->queued.seats);
}

/* The level's lock is held. */
static void take_ready(struct flow_level *level, int64_t now, struct list *ready) {
	queueset_dispatch(&level->set, now, ready);
	note_demand(level, now);
	for (struct list *at = ready->next; at != ready; at = at->next) {
		struct flow_request *fr = (struct flow_request *)list_entry(at, struct queued, link);
		level->counts[FLOW_DISPATCHED]++;
		count_waiting(fr, -1);
		count_running(fr, 1);
	}
}

static void hand_over(struct flow *flow, struct list *ready) {
	if (list_empty(ready))
		return;
	pthread_mutex_lock(&flow->ready_lock);
	while (!list_empty(ready)) {
		struct list *link = ready->next;
		list_remove(link);
		list_push_back(&flow->ready, link);
	}
	pthread_cond_broadcast(&flow->ready_cond);
	pthread_mutex_unlock(&flow->ready_lock);
}

void flow_dispatch(struct flow *flow, struct flow_level *level) {
	struct list ready = LIST_INIT(ready);
	pthread_mutex_lock(&level->lock);
	if (level->set.waiting)
		take_ready(level, clock_monotonic_ns(), &ready);
	pthread_mutex_unlock(&level->lock);
	hand_over(flow, &ready);
}

static void *run_ready(void *arg) {
	struct flow *flow = arg;
	pthread_mutex_lock(&flow->ready_lock);
	for (;;) {
		struct queued *queued = list_first(&flow->ready, struct queued, link);
		if (!queued) {
			if (flow->stop)
				break;
			pthread_cond_wait(&flow->ready_cond, &flow->ready_lock);
			continue;
		}
		list_remove(&queued->link);
		pthread_mutex_unlock(&flow->ready_lock);
		struct flow_request *fr = (struct flow_request *)queued;
		metric_add(fr->schema->dispatched, 1);
		flow_metrics_waited(fr->schema, queued->started - queued->arrived, true);
		request_metrics_waited(fr->r, queued->started - queued->arrived);
		request_continue(fr->r);
		pthread_mutex_lock(&flow->ready_lock);
	}
	pthread_mutex_unlock(&flow->ready_lock);
	return NULL;
}

/* ---- admission ---- */

static int refuse(struct request *r, const char *reason) {
	struct flow_request *fr = r->flow;
	r->flow = NULL;
	flow_metrics_rejected(fr->schema, reason);
	flow_config_unref(fr->config);
	http_add_header(r->http, "Retry-After", "1");
	http_add_header(r->http, "X-Content-Type-Options", "nosniff");
	request_metrics_terminated(r, 429);
	request_respond_text(r, 429, "Too many requests, please try again later.\n");
	return REQUEST_TAKEN;
}

/* Where an answer goes out without a word to us, the seats go with the request's memory. */
static void release_late(void *arg) {
	struct request *r = arg;
	flow_release(r);
}

int flow_admit(struct request *r, struct error *err) {
	struct flow *flow = r->server->flow;
	struct flow_request *fr = arena_new_type(r->arena, struct flow_request);
	*fr = (struct flow_request){.r = r, .config = flow_config_get(flow)};
	fr->schema = classify(fr->config, r);
	const struct flow_schema *schema = fr->schema;
	struct flow_level *level = schema->level;
	const char *name = schema->object->metadata.name;
	fr->distinguisher = distinguish(fr->schema, r);
	fr->hash = hash_fnv64(name, strlen(name) + 1) * 31 ^ hash_fnv64(fr->distinguisher, strlen(fr->distinguisher));
	char uid[sizeof(level->uid)];
	pthread_mutex_lock(&level->lock);
	bool exempt = level->exempt;
	unsigned most = exempt ? 1 : level->max_seats, length = 0;
	memcpy(uid, level->uid, sizeof(uid));
	pthread_mutex_unlock(&level->lock);
	unsigned seats = estimate_seats(r, most);
	metric_observe(schema->estimated, seats);
	r->flow = fr;
	http_add_header(r->http, "X-Kubernetes-PF-FlowSchema-UID", str_or(fr->schema->object->metadata.uid, ""));
	http_add_header(r->http, "X-Kubernetes-PF-PriorityLevel-UID", uid);
	arena_defer(r->arena, release_late, r);
	struct list ready = LIST_INIT(ready);
	int64_t now = clock_monotonic_ns();
	bool runs = false;
	pthread_mutex_lock(&level->lock);
	enum queueset_verdict verdict = queueset_arrive(&level->set, &fr->queued, fr->hash, seats, now, &length);
	note_demand(level, now);
	switch (verdict) {
	case QUEUESET_RUN:
		level->counts[FLOW_DISPATCHED]++;
		fr->held = runs = true;
		count_running(fr, 1);
		break;
	case QUEUESET_WAIT:
		fr->held = true;
		count_waiting(fr, 1);
		flow_metrics_queued(fr->schema, length);
		take_ready(level, now, &ready);
		/* Perhaps itself: then it need not change threads. */
		runs = fr->queued.state == QUEUED_EXECUTING;
		if (runs)
			list_remove(&fr->queued.link);
		break;
	case QUEUESET_FULL:
	case QUEUESET_BUSY:
		level->counts[FLOW_REJECTED]++;
		break;
	}
	pthread_mutex_unlock(&level->lock);
	/* Where it waits, it may be gone from here on. */
	hand_over(flow, &ready);
	if (!exempt && (runs || verdict != QUEUESET_WAIT))
		flow_metrics_waited(schema, 0, runs);
	if (verdict == QUEUESET_FULL || verdict == QUEUESET_BUSY)
		return refuse(r, verdict == QUEUESET_FULL ? "queue-full" : "concurrency-limit");
	if (!runs)
		return REQUEST_TAKEN;
	metric_add(fr->schema->dispatched, 1);
	return 0;
}

void flow_release(struct request *r) {
	struct flow_request *fr = r->flow;
	if (!fr || !fr->held)
		return;
	struct flow *flow = r->server->flow;
	struct flow_level *level = fr->schema->level;
	struct list ready = LIST_INIT(ready);
	int64_t now = clock_monotonic_ns();
	r->flow = NULL;
	pthread_mutex_lock(&level->lock);
	queueset_finish(&level->set, &fr->queued, now);
	count_running(fr, -1);
	take_ready(level, now, &ready);
	pthread_mutex_unlock(&level->lock);
	flow_metrics_ended(fr->schema, now - fr->queued.started, strcmp(r->verb, "watch") == 0);
	hand_over(flow, &ready);
	flow_config_unref(fr->config);
}

/* ---- those who have waited too long ---- */

static void expire_level(struct flow *flow, struct flow_level *level, int64_t now) {
	int64_t limit = __atomic_load_n(&flow->wait_limit, __ATOMIC_RELAXED);
	struct list over = LIST_INIT(over), ready = LIST_INIT(ready);
	pthread_mutex_lock(&level->lock);
	for (size_t i = 0; level->set.waiting && i < level->set.queue_count; i++) {
		struct queue *queue = level->set.queues[i];
		struct queued *oldest;
		while ((oldest = list_first(&queue->waiting, struct queued, link)) && now - oldest->arrived > limit) {
			bool last = queue->length == 1;
			count_waiting((struct flow_request *)oldest, -1);
			queueset_withdraw(&level->set, oldest, now);
			list_push_back(&over, &oldest->link);
			level->counts[FLOW_TIMED_OUT]++;
			level->counts[FLOW_REJECTED]++;
			if (last)
				break; /* the queue itself may be gone */
		}
	}
	if (!list_empty(&over))
		take_ready(level, now, &ready);
	pthread_mutex_unlock(&level->lock);
	hand_over(flow, &ready);
	while (!list_empty(&over)) {
		struct flow_request *fr = (struct flow_request *)list_first(&over, struct queued, link);
		list_remove(&fr->queued.link);
		flow_metrics_waited(fr->schema, now - fr->queued.arrived, false);
		refuse(fr->r, "time-out");
	}
}

static void on_tick(void *arg) {
	struct flow *flow = arg;
	struct flow_config *config = flow_config_get(flow);
	int64_t now = clock_monotonic_ns();
	for (size_t i = 0; i < config->level_count; i++)
		expire_level(flow, config->levels[i], now);
	flow_config_unref(config);
}

/* ---- the keeper: reads what changed, divides seats, writes status ---- */

static void on_change(const struct store_event *event, void *arg) {
	struct flow *flow = arg;
	if (event->type != STORE_BOOKMARK)
		worker_wake(__atomic_load_n(&flow->keeper, __ATOMIC_ACQUIRE));
}

static void keep(struct worker *worker, void *arg) {
	struct flow *flow = arg;
	static const char *const plurals[] = {"prioritylevelconfigurations", "flowschemas"};
	__atomic_store_n(&flow->keeper, worker, __ATOMIC_RELEASE);
	for (size_t i = 0; i < array_len(plurals); i++) {
		const struct resource *resource = registry_find(flow->server->registry, "flowcontrol.apiserver.k8s.io", "v1", plurals[i]);
		if (!resource || collection_watch(resource->collection, 0, on_change, flow, &flow->watches[i]) < 0)
			flow->watches[i] = NULL;
	}
	int64_t adjusted = clock_monotonic_ns(), pause;
	do {
		flow_reload(flow);
		int rc = __atomic_load_n(&flow->keeps_status, __ATOMIC_ACQUIRE) ? flow_write_status(flow, worker) : 0;
		if (rc < 0 && rc != -ECANCELED)
			log_warning("cannot write the status of FlowSchemas", LOG_STR("error", strerror(-rc)));
		int64_t now = clock_monotonic_ns();
		if (now - adjusted >= ADJUST_NS) {
			flow_adjust(flow);
			adjusted = now;
		}
		pause = ADJUST_NS - (clock_monotonic_ns() - adjusted);
	} while (worker_sleep(worker, max_of(pause, (int64_t)1)));
	for (size_t i = 0; i < array_len(flow->watches); i++)
		if (flow->watches[i])
			store_watch_cancel(flow->watches[i]);
}

int flow_start(struct apiserver *server, struct error *err) {
	const struct apiserver_options *o = server->options;
	int64_t seats = o->max_requests_inflight + o->max_mutating_requests_inflight;
	if (!o->enable_priority_and_fairness || seats == 0)
		return 0;
	struct flow *flow = xnew(struct flow);
	*flow = (struct flow){.server = server, .seats = (unsigned)seats, .wait_limit = o->request_timeout / 4};
	pthread_mutex_init(&flow->lock, NULL);
	pthread_mutex_init(&flow->ready_lock, NULL);
	pthread_cond_init(&flow->ready_cond, NULL);
	list_init(&flow->ready);
	server->flow = flow;
	flow_reload(flow);
	for (size_t i = 0; i < array_len(flow->threads); i++) {
		int rc = pthread_create(&flow->threads[i], NULL, run_ready, flow);
		if (rc)
			return error_set_errno(err, rc, "start a thread for requests that wait");
		flow->thread_count++;
	}
	flow->clock = timer_start(server->timers, TICK_NS, true, on_tick, flow);
	flow->owner = worker_start(server, keep, flow);
	return 0;
}

void flow_ready(struct apiserver *server) {
	if (!server->flow)
		return;
	__atomic_store_n(&server->flow->keeps_status, true, __ATOMIC_RELEASE);
	struct worker *keeper = __atomic_load_n(&server->flow->keeper, __ATOMIC_ACQUIRE);
	if (keeper)
		worker_wake(keeper);
}

void flow_drain(struct apiserver *server) {
	if (server->flow)
		__atomic_store_n(&server->flow->wait_limit, 0, __ATOMIC_RELAXED);
}

static void flow_free(void *arg) {
	struct flow *flow = arg;
	flow_config_unref(flow->config);
	pthread_cond_destroy(&flow->ready_cond);
	pthread_mutex_destroy(&flow->ready_lock);
	pthread_mutex_destroy(&flow->lock);
	free(flow);
}

void flow_stop(struct apiserver *server) {
	struct flow *flow = server->flow;
	if (!flow)
		return;
	server->flow = NULL;
	worker_stop(flow->owner);
	pthread_mutex_lock(&flow->ready_lock);
	flow->stop = true;
	pthread_cond_broadcast(&flow->ready_cond);
	pthread_mutex_unlock(&flow->ready_lock);
	for (size_t i = 0; i < flow->thread_count; i++)
		pthread_join(flow->threads[i], NULL);
	if (flow->clock)
		timer_cancel(flow->clock, flow_free); /* once the clock's thread is done with it */
	else
		flow_free(flow);
}
