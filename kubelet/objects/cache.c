/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/objects/cache.h"

#include "common/base/log.h"
#include "common/base/map.h"
#include "kubelet/pod/manager.h"

#include <errno.h>
#include <pthread.h>
#include <sys/timerfd.h>

#define SYNC_SECONDS 10

struct watched {
	struct object_cache *cache;
	const struct api_resource *resource;
	char *ns, *name;
	struct informer_set *set;
	struct informer *informer;
	unsigned users; /* threads inside get() */
};

struct object_cache {
	struct object_source source;
	struct kubelet *kubelet;
	pthread_mutex_t lock;
	struct map watched; /* "resource/ns/name" -> struct watched */
};

static void watched_free(void *ptr) {
	struct watched *w = ptr;
	informer_set_free(w->set);
	free(w->ns);
	free(w->name);
	free(w);
}

static void changed(struct watched *w) {
	pod_manager_object_changed(w->cache->kubelet->pods, w->resource, w->ns, w->name);
}
static void on_add(void *object, bool is_initial, void *arg) {
	changed(arg);
}
static void on_update(void *old_object, void *object, void *arg) {
	changed(arg);
}
static void on_delete(void *object, void *arg) {
	changed(arg);
}

static struct watched *watch(struct object_cache *cache, const struct api_resource *resource, const char *ns, const char *name) {
	struct watched *w = xnew(struct watched);
	autofree char *field = xprintf("metadata.name=%s", name);
	*w = (struct watched){.cache = cache, .resource = resource, .ns = xstrdup(ns), .name = xstrdup(name), .set = informer_set_new(cache->kubelet->client)};
	const struct informer_options options = {.ns = ns, .field_selector = field};
	const struct informer_handler handler = {.on_add = on_add, .on_update = on_update, .on_delete = on_delete, .arg = w};
	w->informer = informer_get(w->set, resource, &options);
	informer_add_handler(w->informer, &handler);
	informer_set_start(w->set);
	return w;
}

static bool wait_synced(struct watched *w) {
	if (informer_synced(w->informer))
		return true;
	autoclose int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	const struct itimerspec when = {.it_value.tv_sec = SYNC_SECONDS};
	timerfd_settime(timer, 0, &when, NULL);
	return informer_set_wait_synced(w->set, timer);
}

static int get(struct object_source *source, const struct api_resource *resource, const char *ns, const char *name, void **ret, struct error *err) {
	struct object_cache *cache = container_of(source, struct object_cache, source);
	autofree char *key = xprintf("%s/%s/%s", resource->plural, ns, name);
	pthread_mutex_lock(&cache->lock);
	struct watched *w = map_get(&cache->watched, key);
	if (!w) {
		w = watch(cache, resource, ns, name);
		map_set(&cache->watched, key, w);
	}
	w->users++;
	pthread_mutex_unlock(&cache->lock);
	bool synced = wait_synced(w);
	void *object = synced ? informer_find(w->informer, ns, name) : NULL;
	pthread_mutex_lock(&cache->lock);
	w->users--;
	pthread_mutex_unlock(&cache->lock);
	if (!synced)
		return error_set(err, ETIMEDOUT, "failed to sync %s cache: timed out waiting for the condition", resource->singular);
	if (!object)
		return error_set(err, ENOENT, "%s \"%s\" not found", resource->singular, name);
	*ret = object;
	return 0;
}

static void services(struct object_source *source, const char *ns, struct informer_list *ret) {
	struct object_cache *cache = container_of(source, struct object_cache, source);
	informer_list_namespace(cache->kubelet->service_informer, ns, ret);
}

struct object_source *object_cache_new(struct kubelet *kubelet) {
	struct object_cache *cache = xnew(struct object_cache);
	cache->source = (struct object_source){.get = get, .services = services};
	cache->kubelet = kubelet;
	cache->watched = MAP_INIT(watched_free);
	pthread_mutex_init(&cache->lock, NULL);
	return &cache->source;
}

void object_cache_free(struct object_source *source) {
	if (!source || source->get != get)
		return;
	struct object_cache *cache = container_of(source, struct object_cache, source);
	map_done(&cache->watched);
	pthread_mutex_destroy(&cache->lock);
	free(cache);
}

void object_cache_sweep(struct object_source *source) {
	if (source->get != get)
		return;
	struct object_cache *cache = container_of(source, struct object_cache, source);
	struct map dropped = MAP_INIT(watched_free);
	struct map_entry *e;
	pthread_mutex_lock(&cache->lock);
	for (size_t i = 0; (e = map_next(&cache->watched, &i));) {
		struct watched *w = e->value;
		if (!w->users && !pod_manager_refers(cache->kubelet->pods, w->resource, w->ns, w->name)) {
			map_set(&dropped, e->key, w);
			autofree char *key = xstrdup(e->key);
			map_take(&cache->watched, key);
		}
	}
	pthread_mutex_unlock(&cache->lock);
	/* Outside the lock: it waits for the informers' threads, whose handlers may wait for pods. */
	map_done(&dropped);
}

/* ---- none ---- */

static int get_none(struct object_source *source, const struct api_resource *resource, const char *ns, const char *name, void **ret, struct error *err) {
	return error_set(err, ENOENT, "%s \"%s\" not found", resource->singular, name);
}
static void services_none(struct object_source *source, const char *ns, struct informer_list *ret) {
	*ret = (struct informer_list)INFORMER_LIST_INIT;
}

struct object_source *object_source_none(void) {
	static struct object_source none = {.get = get_none, .services = services_none};
	return &none;
}
