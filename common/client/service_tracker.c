/* SPDX-License-Identifier: Apache-2.0 */
#include "common/client/service_tracker.h"

#include "api/core_v1.h"
#include "api/discovery_v1.h"
#include "common/base/map.h"

#include <pthread.h>
#include <stdio.h>

#define SERVICE_LABEL "kubernetes.io/service-name"
#define INDEX_SERVICE "service"

struct service_tracker {
	struct service_tracker_handler handler;
	struct informer *services, *slices;
	pthread_mutex_t lock; /* what follows */
	pthread_cond_t wake;
	struct map dirty; /* a set of keys */
	bool stopping, resync, first_done;
	pthread_t thread;
	bool started;
};

/* "ns/name" of the Service a slice belongs to; false for a slice of none. */
static bool slice_service_key(const void *object, char *out, size_t size) {
	const struct discovery_v1_endpoint_slice *slice = object;
	const char *name = api_map_get(&slice->metadata.labels, SERVICE_LABEL);
	return !str_empty(name) && (size_t)snprintf(out, size, "%s/%s", slice->metadata.namespace, name) < size;
}

static void index_by_service(const void *object, void (*emit)(const char *value, void *emit_arg), void *emit_arg) {
	char key[512];
	if (slice_service_key(object, key, sizeof(key)))
		emit(key, emit_arg);
}

static void mark(struct service_tracker *tracker, const char *key) {
	pthread_mutex_lock(&tracker->lock);
	set_add(&tracker->dirty, key);
	pthread_cond_signal(&tracker->wake);
	pthread_mutex_unlock(&tracker->lock);
}

static void service_changed(void *object, void *arg) {
	mark(arg, api_key(object));
}
static void service_added(void *object, bool is_initial, void *arg) {
	service_changed(object, arg);
}
static void service_updated(void *old_object, void *object, void *arg) {
	service_changed(object, arg);
}

static void slice_changed(void *object, void *arg) {
	char key[512];
	if (slice_service_key(object, key, sizeof(key)))
		mark(arg, key);
}
static void slice_added(void *object, bool is_initial, void *arg) {
	slice_changed(object, arg);
}
static void slice_updated(void *old_object, void *object, void *arg) {
	slice_changed(old_object, arg); /* the label may have moved it to another Service */
	slice_changed(object, arg);
}

struct service_tracker *service_tracker_new(struct informer_set *set, const struct service_tracker_handler *handler) {
	struct service_tracker *tracker = xnew(struct service_tracker);
	tracker->handler = *handler;
	tracker->dirty = MAP_INIT(NULL);
	pthread_mutex_init(&tracker->lock, NULL);
	pthread_cond_init(&tracker->wake, NULL);
	tracker->services = informer_get(set, &api_services, NULL);
	tracker->slices = informer_get(set, &api_endpointslices, NULL);
	informer_add_index(tracker->slices, INDEX_SERVICE, index_by_service);
	informer_add_handler(tracker->services, &(struct informer_handler){.on_add = service_added, .on_update = service_updated, .on_delete = service_changed, .arg = tracker});
	informer_add_handler(tracker->slices, &(struct informer_handler){.on_add = slice_added, .on_update = slice_updated, .on_delete = slice_changed, .arg = tracker});
	return tracker;
}

static void tell(struct service_tracker *tracker, const char *key) {
	autounref struct core_v1_service *service = informer_find_key(tracker->services, key);
	autolist struct informer_list slices = INFORMER_LIST_INIT;
	if (service)
		informer_list_index(tracker->slices, INDEX_SERVICE, key, &slices);
	tracker->handler.on_service(key, service, (const struct discovery_v1_endpoint_slice *const *)slices.items, slices.len, tracker->handler.arg);
}

static void mark_all(struct service_tracker *tracker) {
	autolist struct informer_list all = INFORMER_LIST_INIT;
	informer_list_all(tracker->services, &all);
	for (size_t i = 0; i < all.len; i++)
		mark(tracker, api_key(all.items[i]));
}

/* Takes the set of dirty keys, waiting for one. Returns false when it is time to stop. */
static bool take_batch(struct service_tracker *tracker, struct map *ret_keys, bool *ret_resync) {
	pthread_mutex_lock(&tracker->lock);
	while (!tracker->stopping && !tracker->resync && !tracker->dirty.len && tracker->first_done)
		pthread_cond_wait(&tracker->wake, &tracker->lock);
	bool go = !tracker->stopping;
	*ret_keys = tracker->dirty;
	*ret_resync = tracker->resync;
	tracker->resync = false;
	tracker->first_done = true;
	tracker->dirty = MAP_INIT(NULL);
	pthread_mutex_unlock(&tracker->lock);
	return go;
}

static void *run(void *arg) {
	struct service_tracker *tracker = arg;
	for (;;) {
		automap struct map keys = MAP_INIT(NULL);
		bool resync;
		if (!take_batch(tracker, &keys, &resync))
			return NULL;
		if (resync) {
			mark_all(tracker);
			struct map_entry *e;
			for (size_t i = 0; (e = map_next(&keys, &i));)
				mark(tracker, e->key);
			continue;
		}
		struct map_entry *e;
		for (size_t i = 0; (e = map_next(&keys, &i));)
			tell(tracker, e->key);
		tracker->handler.on_batch(tracker->handler.arg);
	}
}

void service_tracker_start(struct service_tracker *tracker) {
	if (pthread_create(&tracker->thread, NULL, run, tracker) != 0)
		abort();
	tracker->started = true;
}

void service_tracker_resync(struct service_tracker *tracker) {
	pthread_mutex_lock(&tracker->lock);
	tracker->resync = true;
	pthread_cond_signal(&tracker->wake);
	pthread_mutex_unlock(&tracker->lock);
}

void service_tracker_stop(struct service_tracker *tracker) {
	if (!tracker || !tracker->started)
		return;
	pthread_mutex_lock(&tracker->lock);
	tracker->stopping = true;
	pthread_cond_signal(&tracker->wake);
	pthread_mutex_unlock(&tracker->lock);
	pthread_join(tracker->thread, NULL);
	tracker->started = false;
}

void service_tracker_free(struct service_tracker *tracker) {
	if (!tracker)
		return;
	map_done(&tracker->dirty);
	pthread_mutex_destroy(&tracker->lock);
	pthread_cond_destroy(&tracker->wake);
	free(tracker);
}
