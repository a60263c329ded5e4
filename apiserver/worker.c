/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/worker.h"
#include "apiserver/rest/write.h"
#include "apiserver/strategy/strategy.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/random.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>

#define FRESH_TIMEOUT_MS 10000

struct worker {
	struct apiserver *server;
	pthread_t thread;
	void (*run)(struct worker *worker, void *arg);
	void *arg;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool stop, woken, ended;
	unsigned refs; /* under lock: the owner's, and one for each call whose answer has not come */
	uint64_t call; /* the one that is waited for; an answer to an earlier one is of no interest */
	bool answered;
	int errnum;
};

/* What a call's callback holds. */
struct ticket {
	struct worker *worker;
	uint64_t call;
};

static void worker_unref(struct worker *worker) {
	pthread_mutex_lock(&worker->lock);
	bool last = --worker->refs == 0;
	pthread_mutex_unlock(&worker->lock);
	if (!last)
		return;
	pthread_cond_destroy(&worker->changed);
	pthread_mutex_destroy(&worker->lock);
	free(worker);
}

static void *thread(void *arg) {
	struct worker *worker = arg;
	worker->run(worker, worker->arg);
	pthread_mutex_lock(&worker->lock);
	worker->ended = true;
	pthread_cond_broadcast(&worker->changed);
	pthread_mutex_unlock(&worker->lock);
	return NULL;
}

struct worker *worker_start(struct apiserver *server, void (*run)(struct worker *worker, void *arg), void *arg) {
	struct worker *worker = xnew(struct worker);
	*worker = (struct worker){.server = server, .run = run, .arg = arg, .refs = 1};
	pthread_condattr_t attributes;
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_mutex_init(&worker->lock, NULL);
	pthread_cond_init(&worker->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	int rc = pthread_create(&worker->thread, NULL, thread, worker);
	if (rc == 0)
		return worker;
	log_error("cannot start a thread", LOG_STR("error", strerror(rc)));
	worker_unref(worker);
	return NULL;
}

void worker_stop(struct worker *worker) {
	if (!worker)
		return;
	pthread_mutex_lock(&worker->lock);
	worker->stop = true;
	pthread_cond_broadcast(&worker->changed);
	pthread_mutex_unlock(&worker->lock);
	pthread_join(worker->thread, NULL);
	worker_unref(worker);
}

struct apiserver *worker_server(const struct worker *worker) {
	return worker->server;
}

bool worker_stopping(struct worker *worker) {
	pthread_mutex_lock(&worker->lock);
	bool stop = worker->stop;
	pthread_mutex_unlock(&worker->lock);
	return stop;
}

static struct timespec after(int64_t ns) {
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	int64_t end = now.tv_sec * NSEC_PER_SEC + now.tv_nsec + ns;
	return (struct timespec){end / NSEC_PER_SEC, end % NSEC_PER_SEC};
}

bool worker_join(struct worker *worker, int64_t timeout_ns) {
	struct timespec until = after(timeout_ns);
	pthread_mutex_lock(&worker->lock);
	while (!worker->ended && pthread_cond_timedwait(&worker->changed, &worker->lock, &until) != ETIMEDOUT)
		;
	bool ended = worker->ended;
	pthread_mutex_unlock(&worker->lock);
	return ended;
}

bool worker_sleep(struct worker *worker, int64_t ns) {
	struct timespec until = after(ns);
	pthread_mutex_lock(&worker->lock);
	while (!worker->stop && !worker->woken && pthread_cond_timedwait(&worker->changed, &worker->lock, &until) != ETIMEDOUT)
		;
	worker->woken = false;
	bool go_on = !worker->stop;
	pthread_mutex_unlock(&worker->lock);
	return go_on;
}

void worker_wake(struct worker *worker) {
	pthread_mutex_lock(&worker->lock);
	worker->woken = true;
	pthread_cond_broadcast(&worker->changed);
	pthread_mutex_unlock(&worker->lock);
}

/* ---- calls ---- */

static struct ticket *begin(struct worker *worker) {
	struct ticket *ticket = xnew(struct ticket);
	pthread_mutex_lock(&worker->lock);
	worker->refs++;
	worker->answered = false;
	*ticket = (struct ticket){worker, ++worker->call};
	pthread_mutex_unlock(&worker->lock);
	return ticket;
}

static void answer(int errnum, void *arg) {
	struct ticket *ticket = arg;
	struct worker *worker = ticket->worker;
	pthread_mutex_lock(&worker->lock);
	if (worker->call == ticket->call) {
		worker->answered = true;
		worker->errnum = errnum;
		pthread_cond_broadcast(&worker->changed);
	}
	pthread_mutex_unlock(&worker->lock);
	worker_unref(worker);
	free(ticket);
}

static int wait_answer(struct worker *worker) {
	pthread_mutex_lock(&worker->lock);
	while (!worker->answered && !worker->stop)
		pthread_cond_wait(&worker->changed, &worker->lock);
	int rc = worker->answered ? worker->errnum : -ECANCELED;
	worker->call++;
	pthread_mutex_unlock(&worker->lock);
	return rc;
}

static void on_written(int errnum, struct entry *current, void *arg) {
	answer(errnum, arg);
}

int worker_fresh(struct worker *worker) {
	store_wait(worker->server->store, 0, FRESH_TIMEOUT_MS, answer, begin(worker));
	return wait_answer(worker);
}

int worker_put(struct worker *worker, struct collection *collection, const char *key, const char *value, size_t len, uint64_t expected, int64_t lease_seconds) {
	collection_put(collection, key, value, len, expected, lease_seconds, on_written, begin(worker));
	return wait_answer(worker);
}

int worker_delete(struct worker *worker, struct collection *collection, const char *key, uint64_t expected) {
	collection_delete(collection, key, expected, on_written, begin(worker));
	return wait_answer(worker);
}

/* ---- whole objects ---- */

static int put_object(struct worker *worker, const struct resource *resource, void *object, uint64_t expected, int64_t lease_seconds) {
	const struct meta_v1_object_meta *meta = api_metadata(object);
	autobuf struct buf value = BUF_INIT(BUF_MAX_DEFAULT);
	int rc = resource_encode_stored(resource, object, &value, NULL);
	if (rc < 0)
		return rc;
	autofree char *key = resource->api->namespaced ? xprintf("%s/%s", meta->namespace, meta->name) : xstrdup(meta->name);
	return worker_put(worker, resource->collection, key, value.data, value.len, expected, lease_seconds);
}

int worker_put_object(struct worker *worker, const struct resource *resource, void *object, uint64_t expected) {
	return put_object(worker, resource, object, expected, 0);
}

void worker_own_status(void *object, const char *manager, const char *operation, const char *api_version, const char *fields) {
	struct meta_v1_object_meta *meta = api_metadata(object);
	for (uint32_t i = 0; i < meta->managed_fields.len; i++)
		if (str_equal(meta->managed_fields.items[i].manager, manager))
			return;
	/* Applies come before updates, and the oldest of those first. */
	api_list_add(api_arena(object), &meta->managed_fields);
	memmove(meta->managed_fields.items + 1, meta->managed_fields.items, (meta->managed_fields.len - 1) * sizeof(*meta->managed_fields.items));
	meta->managed_fields.items[0] = (struct meta_v1_managed_fields_entry){
		.manager = manager, .operation = operation, .api_version = api_version, .time = api_time_now(), .fields_type = "FieldsV1", .fields_v1 = {.json = fields, .len = strlen(fields)}, .subresource = "status",
	};
}

void worker_fill(const struct resource *resource, void *object) {
	struct meta_v1_object_meta *meta = api_metadata(object);
	char uid[37];
	bool flow = str_equal(resource->api->group, "flowcontrol.apiserver.k8s.io");
	write_own_fields(resource, object, flow ? "api-priority-and-fairness-config-producer-v1" : "kube-apiserver");
	random_uuid(uid);
	meta->uid = arena_strdup(api_arena(object), uid);
	meta->creation_timestamp = api_time_now();
	if (resource->strategy->generation)
		meta->generation = 1;
	if (resource->strategy->prepare_create)
		resource->strategy->prepare_create(NULL, object);
}

uint64_t worker_revision(const void *object) {
	return strtoull(str_or(api_metadata(object)->resource_version, "0"), NULL, 10);
}

void worker_event(struct worker *worker, const void *object, const char *component, const char *type, const char *reason, const char *action, const char *fmt, ...) {
	const struct resource *events = registry_find(worker->server->registry, "", "v1", "events");
	const struct meta_v1_object_meta *about = api_metadata(object);
	const struct { const char *kind, *api_version; } *head = object;
	if (!events)
		return;
	struct core_v1_event *event = api_new_of(core_v1_event);
	struct arena *arena = api_arena(event);
	struct wall_time now = clock_wall();
	event->metadata.namespace = arena_strdup(arena, str_or(about->namespace, "default"));
	event->metadata.name = arena_printf(arena, "%s.%llx", about->name, (unsigned long long)(now.sec * NSEC_PER_SEC + now.nsec));
	event->involved_object = (struct core_v1_object_reference){
		.kind = head->kind,
		.api_version = head->api_version,
		.namespace = about->namespace,
		.name = about->name,
		.uid = about->uid,
		.resource_version = about->resource_version,
	};
	event->type = type;
	event->reason = reason;
	event->action = action;
	event->reporting_component = component;
	event->reporting_instance = arena_printf(arena, "%s-%s", component, worker->server->identity);
	event->event_time.set = true;
	event->event_time.t = now;
	va_list args;
	va_start(args, fmt);
	event->message = arena_vprintf(arena, fmt, args);
	va_end(args);
	worker_fill(events, event);
	int rc = put_object(worker, events, event, 0, max_of(worker->server->options->event_ttl / NSEC_PER_SEC, (int64_t)1));
	if (rc < 0 && rc != -ECANCELED)
		log_warning("event was not recorded", LOG_STR("reason", reason), LOG_STR("error", strerror(-rc)));
	api_unref(event);
}
