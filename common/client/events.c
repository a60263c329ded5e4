/* SPDX-License-Identifier: Apache-2.0 */
#include "common/client/events.h"

#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "common/client/event_correlator.h"
#include "common/client/internal.h"

#include "api/core_v1.h"
#include "api/events_v1.h"
#include "api/meta_v1.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#define MAX_QUEUED 1000      /* further events are dropped: they must not pile up behind a server that is gone */
#define MAX_MESSAGE 1024     /* bytes, as the API allows */
#define MAX_TRIES 12
#define RETRY_NS (5 * NSEC_PER_SEC)
#define CLOSING_NS NSEC_PER_SEC

struct pending {
	struct list queued;
	char *kind, *api_version, *ns, *name, *uid, *resource_version, *field_path;
	char *type, *reason, *message, *action; /* action: of the newer form only */
	struct wall_time at;
};

struct event_recorder {
	struct client *client;
	char *component, *host, *instance;
	const struct api_resource *resource, *newer;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct list queue;
	size_t queue_len;
	bool closing;
	int64_t closing_until;
	pthread_t thread;
	struct event_correlator *correlator; /* of the thread */
};

static void pending_free(struct pending *p)
{
	free(p->kind);
	free(p->api_version);
	free(p->ns);
	free(p->name);
	free(p->uid);
	free(p->resource_version);
	free(p->field_path);
	free(p->type);
	free(p->reason);
	free(p->message);
	free(p->action);
	free(p);
}

static char *event_name(const char *object, uint64_t made)
{
	return xprintf("%s.%llx", object, (unsigned long long)made);
}

static void name_event(const struct pending *p, struct arena *arena, struct meta_v1_object_meta *meta)
{
	autofree char *name = event_name(p->name, (uint64_t)(p->at.sec * NSEC_PER_SEC + p->at.nsec));
	meta->name = arena_strdup(arena, name);
	meta->namespace = arena_strdup(arena, str_or(p->ns, "default"));
}

static struct core_v1_object_reference about(const struct pending *p, struct arena *arena)
{
	return (struct core_v1_object_reference){
		.kind = arena_strdup(arena, p->kind),
		.namespace = arena_strdup(arena, p->ns),
		.name = arena_strdup(arena, p->name),
		.uid = arena_strdup(arena, p->uid),
		.api_version = arena_strdup(arena, p->api_version),
		.resource_version = arena_strdup(arena, p->resource_version),
		.field_path = arena_strdup(arena, p->field_path),
	};
}

static char *words(const struct pending *p, const struct event_seen *seen, struct arena *arena)
{
	return arena_printf(arena, "%s%s", seen->aggregated ? "(combined from similar events): " : "", p->message);
}

static struct core_v1_event *build_event(const struct event_recorder *recorder, const struct pending *p, const struct event_seen *seen)
{
	struct core_v1_event *event = api_new_of(core_v1_event);
	struct arena *arena = api_arena(event);
	name_event(p, arena, &event->metadata);
	event->involved_object = about(p, arena);
	event->reason = arena_strdup(arena, p->reason);
	event->message = words(p, seen, arena);
	event->source.component = event->reporting_component = arena_strdup(arena, recorder->component);
	event->source.host = event->reporting_instance = arena_strdup(arena, recorder->host);
	event->first_timestamp = (struct api_time){.t = {.sec = seen->first}, .set = true};
	event->last_timestamp = (struct api_time){.t = {.sec = p->at.sec}, .set = true};
	event->count = (int32_t)min_of(seen->count, (int64_t)INT32_MAX);
	event->type = arena_strdup(arena, p->type);
	return event;
}

static struct events_v1_event *build_newer(const struct event_recorder *recorder, const struct pending *p, const struct event_seen *seen)
{
	struct events_v1_event *event = api_new_of(events_v1_event);
	struct arena *arena = api_arena(event);
	name_event(p, arena, &event->metadata);
	event->event_time = (struct api_time){.t = {.sec = p->at.sec, .nsec = p->at.nsec / 1000 * 1000}, .set = true};
	event->reporting_controller = arena_strdup(arena, recorder->component);
	event->reporting_instance = arena_strdup(arena, recorder->instance);
	event->action = arena_strdup(arena, p->action);
	event->reason = arena_strdup(arena, p->reason);
	event->regarding = about(p, arena);
	event->note = words(p, seen, arena);
	event->type = arena_strdup(arena, p->type);
	return event;
}

static int send_series(const struct event_recorder *recorder, const struct pending *p, const struct event_seen *seen, struct error *err)
{
	char when[64], patch[128];
	time_format_rfc3339_micro(p->at, when);
	snprintf(patch, sizeof(patch), "{\"series\":{\"count\":%lld,\"lastObservedTime\":\"%s\"}}", (long long)min_of(seen->count, (int64_t)INT32_MAX), when);
	autofree char *name = event_name(p->name, seen->made);
	return client_patch(recorder->client, recorder->newer, str_or(p->ns, "default"), name, NULL, "application/strategic-merge-patch+json", patch, NULL, err);
}

/* The same again: only the count and the time move. */
static int send_count(const struct event_recorder *recorder, const struct pending *p, const struct event_seen *seen, struct error *err)
{
	if (p->action)
		return send_series(recorder, p, seen, err);
	autounref struct core_v1_event *event = build_event(recorder, p, seen);
	autobuf struct buf patch = BUF_INIT(64 * 1024);
	char when[32];
	time_format_rfc3339(event->last_timestamp.t, when);
	buf_printf(&patch, "{\"count\":%d,\"lastTimestamp\":\"%s\",\"message\":", event->count, when);
	buf_append_json_string(&patch, event->message, strlen(event->message));
	buf_append_char(&patch, '}');
	autofree char *name = event_name(event->involved_object.name, seen->made);
	return client_patch(recorder->client, recorder->resource, event->metadata.namespace, name, NULL, "application/strategic-merge-patch+json", patch.data, NULL, err);
}

static int send_event(const struct event_recorder *recorder, const struct pending *p, struct event_seen *seen, struct error *err)
{
	if (seen->made) {
		int rc = send_count(recorder, p, seen, err);
		if (!rc || err->http_code != 404)
			return rc;
		/* Events expire: it is told anew. */
		error_done(err);
		*err = (struct error){0};
	}
	autounref void *event = p->action ? (void *)build_newer(recorder, p, seen) : build_event(recorder, p, seen);
	const struct meta_v1_object_meta *meta = api_metadata(event);
	int rc = client_create(recorder->client, p->action ? recorder->newer : recorder->resource, meta->namespace, event, NULL, err);
	if (!rc)
		seen->made = strtoull(strrchr(meta->name, '.') + 1, NULL, 16);
	return rc;
}

/* Nobody can mend what the server refuses; what did not reach it may be tried again. */
static bool worth_a_retry(const struct error *err)
{
	return !err->http_code || err->http_code == 429 || err->http_code >= 500;
}

/* Returns false where there is no time left. */
static bool wait_to_retry(struct event_recorder *recorder)
{
	pthread_mutex_lock(&recorder->lock);
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += RETRY_NS / NSEC_PER_SEC;
	int rc = 0;
	while (!recorder->closing && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&recorder->wake, &recorder->lock, &until);
	bool go_on = !recorder->closing;
	pthread_mutex_unlock(&recorder->lock);
	return go_on;
}

static char *join_facts(const struct pending *p)
{
	return xprintf("%s\x1f%s\x1f%s\x1f%s\x1f%s", str_or(p->kind, ""), str_or(p->ns, ""), str_or(p->name, ""), str_or(p->uid, ""), str_or(p->api_version, ""));
}

static void process(struct event_recorder *recorder, const struct pending *p)
{
	autofree char *object = join_facts(p);
	autofree char *source = xprintf("%s\x1f%s", recorder->component, str_or(recorder->host, ""));
	struct event_facts facts = {.source = source, .object = object, .field_path = p->field_path, .type = p->type, .reason = p->reason, .message = p->message};
	struct event_seen *seen;
	if (!event_correlate(recorder->correlator, &facts, p->at.sec, &seen))
		return;
	for (int tries = 1;; tries++) {
		autoerror struct error err = {0};
		if (send_event(recorder, p, seen, &err) == 0)
			return;
		if (!worth_a_retry(&err) || tries == MAX_TRIES || !wait_to_retry(recorder)) {
			log_debug(1, "Dropped an event", LOG_STR("object", p->name), LOG_STR("reason", p->reason), LOG_ERR(&err));
			return;
		}
	}
}

/* The next one, or NULL where it is over. */
static struct pending *next_pending(struct event_recorder *recorder)
{
	pthread_mutex_lock(&recorder->lock);
	while (list_empty(&recorder->queue) && !recorder->closing)
		pthread_cond_wait(&recorder->wake, &recorder->lock);
	struct pending *p = list_first(&recorder->queue, struct pending, queued);
	if (p && recorder->closing && clock_monotonic_ns() > recorder->closing_until)
		p = NULL;
	if (p) {
		list_remove(&p->queued);
		recorder->queue_len--;
	}
	pthread_mutex_unlock(&recorder->lock);
	return p;
}

static void *recorder_run(void *arg)
{
	struct event_recorder *recorder = arg;
	for (struct pending *p; (p = next_pending(recorder));) {
		process(recorder, p);
		pending_free(p);
	}
	return NULL;
}

struct event_recorder *event_recorder_new(struct client *client, const char *component, const char *host)
{
	struct event_recorder *recorder = xnew(struct event_recorder);
	recorder->client = client;
	recorder->component = xstrdup(component);
	recorder->host = str_empty(host) ? NULL : xstrdup(host);
	char name[HOST_NAME_MAX + 1] = "localhost";
	gethostname(name, sizeof(name) - 1);
	recorder->instance = xprintf("%s-%s", component, recorder->host ? recorder->host : name);
	recorder->resource = api_resource_find("", "v1", "events");
	recorder->newer = api_resource_find("events.k8s.io", "v1", "events");
	recorder->correlator = event_correlator_new();
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&recorder->wake, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&recorder->lock, NULL);
	list_init(&recorder->queue);
	if (pthread_create(&recorder->thread, NULL, recorder_run, recorder))
		abort();
	return recorder;
}

void event_recorder_free(struct event_recorder *recorder)
{
	if (!recorder)
		return;
	pthread_mutex_lock(&recorder->lock);
	recorder->closing = true;
	recorder->closing_until = clock_monotonic_ns() + CLOSING_NS;
	pthread_cond_broadcast(&recorder->wake);
	pthread_mutex_unlock(&recorder->lock);
	pthread_join(recorder->thread, NULL);
	struct pending *p;
	list_for_each (p, &recorder->queue, queued)
		pending_free(p);
	event_correlator_free(recorder->correlator);
	pthread_cond_destroy(&recorder->wake);
	pthread_mutex_destroy(&recorder->lock);
	free(recorder->component);
	free(recorder->host);
	free(recorder->instance);
	free(recorder);
}

static char *copy(const char *s)
{
	return str_empty(s) ? NULL : xstrdup(s);
}

/* At most MAX_MESSAGE bytes, not ending inside a character. */
static char *format_message(const char *fmt, va_list args)
{
	autobuf struct buf text = BUF_INIT(64 * 1024);
	buf_vprintf(&text, fmt, args);
	if (text.len > MAX_MESSAGE) {
		size_t len = MAX_MESSAGE;
		while (len && ((unsigned char)text.data[len] & 0xc0) == 0x80)
			len--;
		text.data[len] = 0;
	}
	return xstrdup(text.data ? text.data : "");
}

static void queue_event(struct event_recorder *recorder, const void *object, const char *field_path, const char *type, const char *reason, const char *action,
	const char *fmt, va_list args)
{
	const struct meta_v1_object_meta *meta = api_metadata(object);
	const struct {
		const char *kind, *api_version;
	} *head = object;
	if (!recorder || !meta)
		return;
	struct pending *p = xnew(struct pending);
	*p = (struct pending){
		.kind = copy(head->kind), .api_version = copy(head->api_version), .ns = copy(meta->namespace), .name = xstrdup(str_or(meta->name, "")),
		.uid = copy(meta->uid), .resource_version = copy(meta->resource_version), .field_path = copy(field_path),
		.type = xstrdup(type), .reason = xstrdup(reason), .action = copy(action), .at = clock_wall(),
	};
	/* A node's events are found by its name. */
	if (!p->uid && str_equal(p->kind, "Node"))
		p->uid = xstrdup(p->name);
	p->message = format_message(fmt, args);
	pthread_mutex_lock(&recorder->lock);
	bool taken = recorder->queue_len < MAX_QUEUED && !recorder->closing;
	if (taken) {
		list_push_back(&recorder->queue, &p->queued);
		recorder->queue_len++;
		pthread_cond_signal(&recorder->wake);
	}
	pthread_mutex_unlock(&recorder->lock);
	if (!taken)
		pending_free(p);
}

void event_record(struct event_recorder *recorder, const void *object, const char *field_path, const char *type, const char *reason, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	queue_event(recorder, object, field_path, type, reason, NULL, fmt, args);
	va_end(args);
}

void event_report(struct event_recorder *recorder, const void *object, const char *type, const char *reason, const char *action, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	queue_event(recorder, object, NULL, type, reason, action, fmt, args);
	va_end(args);
}
