/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/pod/status_manager.h"

#include "common/base/log.h"
#include "common/base/map.h"
#include "common/image/json.h"
#include "common/client/workqueue.h"

#include <errno.h>
#include <pthread.h>

#define SENDERS 4
#define MIRROR_ANNOTATION "kubernetes.io/config.mirror"

struct entry {
	struct core_v1_pod *object; /* immutable once here */
	bool finished;
};

struct status_manager {
	struct kubelet *kubelet;
	pthread_mutex_t lock;
	struct map entries; /* uid -> struct entry */
	struct workqueue *queue;
	struct workers *workers;
};

static void entry_free(void *ptr) {
	struct entry *entry = ptr;
	api_unref(entry->object);
	free(entry);
}

/* ---- the patch ---- */

static json_t *condition_of(json_t *list, json_t *type) {
	size_t i;
	json_t *item;
	json_array_foreach(list, i, item)
		if (json_equal(json_object_get(item, "type"), type))
			return item;
	return NULL;
}

/* Types of conditions that the kubelet alone writes. */
bool status_owns_condition(const char *type) {
	static const char *const types[] = {
		CORE_V1_POD_CONDITION_TYPE_POD_READY_TO_START_CONTAINERS, CORE_V1_POD_CONDITION_TYPE_INITIALIZED, CORE_V1_POD_CONDITION_TYPE_READY,
		CORE_V1_POD_CONDITION_TYPE_CONTAINERS_READY, CORE_V1_POD_CONDITION_TYPE_POD_SCHEDULED, CORE_V1_POD_CONDITION_TYPE_POD_RESIZE_PENDING,
		CORE_V1_POD_CONDITION_TYPE_POD_RESIZE_IN_PROGRESS, CORE_V1_POD_CONDITION_TYPE_ALL_CONTAINERS_RESTARTING,
	};
	for (size_t i = 0; i < array_len(types); i++)
		if (str_equal(type, types[i]))
			return true;
	return false;
}

/* Others' (readiness gates, a disruption that the scheduler announced) are not ours to write, least of all as we saw them a moment ago. */
static bool is_own_condition(json_t *condition) {
	const char *type = json_string_value(json_object_get(condition, "type")), *reason = json_string_value(json_object_get(condition, "reason"));
	return status_owns_condition(type) || (str_equal(type, CORE_V1_POD_CONDITION_TYPE_DISRUPTION_TARGET) && str_equal(reason, "TerminationByKubelet"));
}

/* Only the conditions that changed: the merge by type leaves all others as they are. What one no longer says must be taken away by name. */
static json_t *condition_patch(json_t *have_list, json_t *want_list) {
	/* These say by being there; all others stay once they are said. */
	static const char *const passing[] = {CORE_V1_POD_CONDITION_TYPE_POD_RESIZE_PENDING, CORE_V1_POD_CONDITION_TYPE_POD_RESIZE_IN_PROGRESS};
	json_t *out = json_array(), *want, *value;
	size_t i;
	const char *key;
	json_array_foreach(want_list, i, want) {
		json_t *have = condition_of(have_list, json_object_get(want, "type"));
		if (!is_own_condition(want) || (have && json_equal(have, want)))
			continue;
		json_t *copy = json_copy(want);
		json_object_foreach(have, key, value)
			if (!json_object_get(want, key))
				json_object_set_new(copy, key, json_null());
		json_array_append_new(out, copy);
	}
	for (i = 0; i < array_len(passing); i++) {
		autojson json_t *type = json_string(passing[i]);
		if (condition_of(have_list, type) && !condition_of(want_list, type))
			json_array_append_new(out, json_pack("{s:s,s:s}", "$patch", "delete", "type", passing[i]));
	}
	if (json_array_size(out))
		return out;
	json_decref(out);
	return NULL;
}

/* Lists that merge by a key take a marker to be replaced as a whole. */
static json_t *replace_list(json_t *want) {
	json_t *copy = json_copy(want), *marker = json_pack("{s:s}", "$patch", "replace");
	json_array_insert_new(copy, 0, marker);
	return copy;
}

static json_t *field_patch(const char *name, json_t *have, json_t *want) {
	if (str_equal(name, "conditions"))
		return condition_patch(have, want);
	if (have && json_equal(have, want))
		return NULL;
	if (json_is_array(want) && (str_equal(name, "podIPs") || str_equal(name, "hostIPs")))
		return have ? replace_list(want) : json_incref(want);
	return json_incref(want);
}

/* What the kubelet owns: any of these that we no longer have is taken away. */
static bool is_owned(const char *name) {
	static const char *const names[] = {"message", "reason", "podIP", "podIPs", "containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"};
	for (size_t i = 0; i < array_len(names); i++)
		if (str_equal(name, names[i]))
			return true;
	return false;
}

char *status_patch(const struct core_v1_pod *have_pod, const struct core_v1_pod *want_pod) {
	json_t *have = api_to_json(&core_v1_pod_status_type, &have_pod->status), *want = api_to_json(&core_v1_pod_status_type, &want_pod->status);
	json_t *patch = json_object(), *value, *field;
	const char *name;
	char *text = NULL;
	json_object_foreach(want, name, value)
		if ((field = field_patch(name, json_object_get(have, name), value)))
			json_object_set_new(patch, name, field);
	json_object_foreach(have, name, value)
		if (is_owned(name) && !json_object_get(want, name))
			json_object_set_new(patch, name, json_null());
	if (json_object_size(patch)) {
		json_t *whole = json_pack("{s:{s:s},s:O}", "metadata", "uid", have_pod->metadata.uid, "status", patch);
		text = json_dumps(whole, JSON_COMPACT);
		json_decref(whole);
	}
	json_decref(patch);
	json_decref(have);
	json_decref(want);
	return text;
}

/* ---- sending ---- */

static bool is_mirrored(const struct core_v1_pod *object) {
	return !str_empty(api_map_get(&object->metadata.annotations, "kubernetes.io/config.source")) && !str_equal(api_map_get(&object->metadata.annotations, "kubernetes.io/config.source"), "api");
}

/* The API's copy: of a static pod it is the mirror. NULL where there is none, or another pod of that name. */
static struct core_v1_pod *find_remote(struct status_manager *manager, const struct core_v1_pod *object) {
	struct core_v1_pod *remote = informer_find(manager->kubelet->pod_informer, object->metadata.namespace, object->metadata.name);
	bool same = remote && (str_equal(remote->metadata.uid, object->metadata.uid) || (is_mirrored(object) && api_map_get(&remote->metadata.annotations, MIRROR_ANNOTATION)));
	if (remote && !same) {
		api_unref(remote);
		return NULL;
	}
	return remote;
}

static int send_status(struct status_manager *manager, struct core_v1_pod *remote, const struct core_v1_pod *object, struct error *err) {
	autofree char *patch = status_patch(remote, object);
	if (!patch)
		return 0;
	int r = client_patch(manager->kubelet->client, &api_pods, remote->metadata.namespace, remote->metadata.name, "status", "application/strategic-merge-patch+json", patch, NULL, err);
	/* Gone, or another pod by now: the informer will say so. */
	if (r < 0 && (err->http_code == 404 || err->http_code == 409 || err->http_code == 422)) {
		log_debug(2, "status is not taken", LOG_STR("pod", remote->metadata.name), LOG_ERR(err));
		bool gone = err->http_code != 422;
		if (gone)
			error_done(err);
		return gone ? 0 : r;
	}
	return r;
}

static int delete_remote(struct status_manager *manager, const struct core_v1_pod *remote, struct error *err) {
	const struct client_delete_options options = {.grace_period_seconds = 0, .uid = remote->metadata.uid};
	int r = client_delete(manager->kubelet->client, &api_pods, remote->metadata.namespace, remote->metadata.name, &options, err);
	if (r < 0 && (err->http_code == 404 || err->http_code == 409)) {
		error_done(err);
		return 0;
	}
	return r;
}

static int sync_status(const char *uid, void *arg, struct error *err) {
	struct status_manager *manager = arg;
	pthread_mutex_lock(&manager->lock);
	const struct entry *entry = map_get(&manager->entries, uid);
	autounref struct core_v1_pod *object = entry ? api_ref(entry->object) : NULL;
	bool finished = entry && entry->finished;
	pthread_mutex_unlock(&manager->lock);
	autounref struct core_v1_pod *remote = object ? find_remote(manager, object) : NULL;
	if (!remote)
		return 0;
	int r = send_status(manager, remote, object, err);
	if (r == 0 && finished && remote->metadata.deletion_timestamp.set && !is_mirrored(object))
		r = delete_remote(manager, remote, err);
	return r;
}

struct status_manager *status_manager_new(struct kubelet *kubelet) {
	struct status_manager *manager = xnew(struct status_manager);
	const struct workqueue_options options = {.name = "status", .max_delay_ns = 10 * NSEC_PER_SEC};
	manager->kubelet = kubelet;
	manager->entries = MAP_INIT(entry_free);
	pthread_mutex_init(&manager->lock, NULL);
	if (kubelet->client) {
		manager->queue = workqueue_new(&options);
		manager->workers = workers_start(manager->queue, SENDERS, sync_status, manager);
	}
	return manager;
}

void status_manager_free(struct status_manager *manager) {
	if (!manager)
		return;
	if (manager->workers)
		workers_stop(manager->workers);
	if (manager->queue)
		workqueue_free(manager->queue);
	pthread_mutex_lock(&manager->lock);
	map_done(&manager->entries);
	pthread_mutex_unlock(&manager->lock);
	pthread_mutex_destroy(&manager->lock);
	free(manager);
}

void status_manager_set(struct status_manager *manager, struct core_v1_pod *take_object, bool finished) {
	struct entry *entry = xnew(struct entry);
	autofree char *uid = xstrdup(take_object->metadata.uid);
	*entry = (struct entry){.object = take_object, .finished = finished};
	pthread_mutex_lock(&manager->lock);
	map_set(&manager->entries, uid, entry);
	pthread_mutex_unlock(&manager->lock);
	if (manager->queue)
		workqueue_add(manager->queue, uid);
}

void status_manager_wake(struct status_manager *manager, const char *uid) {
	if (manager->queue)
		workqueue_add(manager->queue, uid);
}

void status_manager_forget(struct status_manager *manager, const char *uid) {
	pthread_mutex_lock(&manager->lock);
	map_remove(&manager->entries, uid);
	pthread_mutex_unlock(&manager->lock);
}

void status_manager_flush(struct status_manager *manager) {
	struct map_entry *e;
	if (!manager->queue)
		return;
	pthread_mutex_lock(&manager->lock);
	char **uids = xcalloc(manager->entries.len + 1, sizeof(*uids));
	size_t count = 0;
	for (size_t i = 0; (e = map_next(&manager->entries, &i));)
		uids[count++] = xstrdup(e->key);
	pthread_mutex_unlock(&manager->lock);
	for (size_t i = 0; i < count; i++) {
		autoerror struct error err = {0};
		if (sync_status(uids[i], manager, &err) < 0)
			log_warning("status cannot be told before the end", LOG_STR("uid", uids[i]), LOG_ERR(&err));
		free(uids[i]);
	}
	free(uids);
}
