/* SPDX-License-Identifier: Apache-2.0 */
/* Start and stop, and what the rest of the server is told. */
#include "apiserver/aggregator/internal.h"

#include <errno.h>

struct aggregator *aggregator_new(struct apiserver *server) {
	struct aggregator *a = xnew(struct aggregator);
	*a = (struct aggregator){.server = server, .dirty = MAP_INIT(NULL), .cares = MAP_INIT(NULL)};
	pthread_rwlock_init(&a->lock, NULL);
	pthread_mutex_init(&a->work, NULL);
	list_init(&a->answers);
	list_init(&a->asked);
	return a;
}

int aggregator_start(struct aggregator *a, struct error *err) {
	a->apiservices = registry_find(a->server->registry, APISERVICES_GROUP, "v1", "apiservices");
	if (!a->apiservices)
		return 0; /* switched off */
	set_follow(a);
	pthread_mutex_lock(&a->work);
	a->definitions = true;
	a->wake = worker_start(a->server, care_run, a);
	bool started = a->wake != NULL;
	pthread_mutex_unlock(&a->work);
	return started ? 0 : error_set(err, EAGAIN, "start the aggregator's thread");
}

void aggregator_stop(struct aggregator *a) {
	if (!a)
		return;
	for (size_t i = 0; i < array_len(a->watches); i++)
		if (a->watches[i])
			store_watch_cancel(take_ptr(a->watches[i]));
	pthread_mutex_lock(&a->work);
	struct worker *worker = take_ptr(a->wake);
	pthread_mutex_unlock(&a->work);
	worker_stop(worker);
	if (worker)
		ask_drain(a);
}

void aggregator_free(struct aggregator *a) {
	if (!a)
		return;
	struct question *q;
	list_for_each (q, &a->answers, link) {
		list_remove(&q->link);
		question_free(q);
	}
	for (size_t i = 0; i < a->len; i++) {
		aggregated_unref(a->members[i]->info);
		told_unref(a->members[i]->told);
		free(a->members[i]);
	}
	free(a->members);
	care_done(a);
	map_done(&a->dirty);
	pthread_mutex_destroy(&a->work);
	pthread_rwlock_destroy(&a->lock);
	free(a);
}

void aggregator_note_definitions(struct aggregator *a) {
	pthread_mutex_lock(&a->work);
	a->definitions = true;
	if (a->wake)
		worker_wake(a->wake);
	pthread_mutex_unlock(&a->work);
}

/* ---- what is told ---- */

void aggregator_each(struct aggregator *a, void (*fn)(const struct aggregated_version *version, void *arg), void *arg) {
	pthread_rwlock_rdlock(&a->lock);
	for (size_t i = 0; i < a->len; i++) {
		const struct aggregated *info = a->members[i]->info;
		const struct told *told = a->members[i]->told;
		struct aggregated_version version = {
			.group = info->group,
			.version = info->version,
			.group_priority = info->group_priority,
			.version_priority = info->version_priority,
			.remote = info->service != NULL,
			.current = told && told->current,
			.resources = told ? told->resources : NULL,
		};
		fn(&version, arg);
	}
	pthread_rwlock_unlock(&a->lock);
}

void aggregator_each_document(struct aggregator *a, void (*fn)(const char *key, const char *url, void *arg), void *arg) {
	pthread_rwlock_rdlock(&a->lock);
	for (size_t i = 0; i < a->len; i++) {
		const struct told *told = a->members[i]->told;
		struct map_entry *e;
		for (size_t n = 0; told && a->members[i]->info->service && (e = map_next(&told->documents, &n));)
			fn(e->key, e->value, arg);
	}
	pthread_rwlock_unlock(&a->lock);
}

void aggregator_each_swagger(struct aggregator *a, void (*fn)(const char *group, const char *version, const char *json, size_t len, void *arg), void *arg) {
	pthread_rwlock_rdlock(&a->lock);
	for (size_t i = 0; i < a->len; i++) {
		const struct aggregated *info = a->members[i]->info;
		const struct told *told = a->members[i]->told;
		if (info->service && told && told->swagger)
			fn(info->group, info->version, told->swagger, told->swagger_len, arg);
	}
	pthread_rwlock_unlock(&a->lock);
}
