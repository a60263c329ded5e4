/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CustomResourceDefinition itself: what a write of one does at once, and what follows: a worker accepts its names, or says who has them already,
 * establishes it, and where it is deleted takes away its objects first. What the status says is what custom.c goes by.
 */
#include "apiserver/custom/custom.h"
#include "apiserver/worker.h"
#include "api/apiextensions_v1.h"
#include "common/api/patch/apply.h"
#include "common/base/clock.h"
#include "common/base/log.h"

#include <ctype.h>
#include <errno.h>
#include <pthread.h>

#define CLEANUP_FINALIZER "customresourcecleanup.apiextensions.k8s.io"
#define RETRY_NS NSEC_PER_SEC

typedef struct apiextensions_v1_custom_resource_definition crd_t;
typedef struct apiextensions_v1_custom_resource_definition_names names_t;
typedef struct apiextensions_v1_custom_resource_definition_condition condition_t;

/* ---- what a write does ---- */

static void default_names(names_t *names, struct arena *arena) {
	if (str_empty(names->singular) && !str_empty(names->kind)) {
		char *lower = arena_strdup(arena, names->kind);
		for (char *p = lower; *p; p++)
			*p = (char)tolower((unsigned char)*p);
		names->singular = lower;
	}
	if (str_empty(names->list_kind) && !str_empty(names->kind))
		names->list_kind = arena_printf(arena, "%sList", names->kind);
}

/* The first that is said to be stored; that it is the only one, validation tells. */
static void note_stored_version(crd_t *crd) {
	for (uint32_t i = 0; i < crd->spec.versions.len; i++) {
		const char *name = str_or(crd->spec.versions.items[i].name, "");
		if (!crd->spec.versions.items[i].storage)
			continue;
		if (!api_string_list_has(&crd->status.stored_versions, name))
			api_string_list_add(api_arena(crd), &crd->status.stored_versions, name);
		return;
	}
}

void crd_prepare_create(struct request *r, void *object) {
	crd_t *crd = object;
	default_names(&crd->spec.names, api_arena(object));
	memset(&crd->status, 0, sizeof(crd->status));
	note_stored_version(crd);
}

void crd_prepare_update(struct request *r, void *object, const void *old) {
	crd_t *crd = object;
	default_names(&crd->spec.names, api_arena(object));
	note_stored_version(crd);
}

/* ---- conditions ---- */

static const condition_t *find_condition(const crd_t *crd, const char *type) {
	for (uint32_t i = 0; i < crd->status.conditions.len; i++)
		if (str_equal(crd->status.conditions.items[i].type, type))
			return &crd->status.conditions.items[i];
	return NULL;
}

static bool is_true(const crd_t *crd, const char *type) {
	const condition_t *condition = find_condition(crd, type);
	return condition && str_equal(condition->status, "True");
}

static void set_condition(crd_t *crd, const char *type, bool good, const char *reason, const char *message) {
	condition_t *condition = (condition_t *)find_condition(crd, type);
	const char *status = good ? "True" : "False";
	if (!condition) {
		condition = api_list_add(api_arena(crd), &crd->status.conditions);
		*condition = (condition_t){.type = type};
	}
	if (!str_equal(condition->status, status) || !condition->last_transition_time.set)
		condition->last_transition_time = api_time_now();
	condition->status = status;
	condition->reason = reason;
	condition->message = message;
}

void crd_mark_deleted(void *object) {
	crd_t *crd = object;
	crd->metadata.deletion_timestamp = api_time_now();
	if (!api_string_list_has(&crd->metadata.finalizers, CLEANUP_FINALIZER))
		api_string_list_add(api_arena(crd), &crd->metadata.finalizers, CLEANUP_FINALIZER);
	set_condition(crd, "Terminating", true, "InstanceDeletionPending", "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon");
}

/* ---- the worker ---- */

/* A definition whose objects have yet to go: whenever one does it is looked at again. */
struct waiting {
	struct definitions *definitions;
	char *key;
	struct store_watch *watch;
};

struct definitions {
	struct worker *worker; /* the worker's own */
	const struct resource *resource;
	pthread_mutex_t lock;
	struct worker *wake; /* under lock; NULL: it has been told to end */
	struct map pending;  /* keys, under lock */
	struct map waiting; /* key -> struct waiting *; the worker's own */
};

void definitions_note(struct definitions *d, const char *key) {
	pthread_mutex_lock(&d->lock);
	set_add(&d->pending, key);
	if (d->wake)
		worker_wake(d->wake);
	pthread_mutex_unlock(&d->lock);
}

static void free_waiting(void *arg) {
	struct waiting *w = arg;
	if (w->watch)
		store_watch_cancel(w->watch);
	free(w->key);
	free(w);
}

/* Stores what became of the definition, which is the server's own; what was changed meanwhile comes by once more. */
static int store_status(struct definitions *d, const crd_t *old, crd_t *crd) {
	struct managed_options options = {.type = d->resource->type, .api_version = "apiextensions.k8s.io/v1", .manager = "kube-apiserver", .subresource = "status"};
	managed_update_object(&options, old, crd);
	int rc = worker_put_object(d->worker, d->resource, crd, worker_revision(old));
	return rc == -EAGAIN || rc == -ENOENT ? 0 : rc;
}

/* ---- names ---- */

static bool uses_resource(const names_t *names, const char *name) {
	return str_equal(names->plural, name) || str_equal(names->singular, name) || api_string_list_has(&names->short_names, name);
}

static bool uses_kind(const names_t *names, const char *kind) {
	return str_equal(names->kind, kind) || str_equal(names->list_kind, kind);
}

/* Whether a definition of the group has the name already, by what was accepted. */
static bool is_used(struct definitions *d, const char *group, const char *name, bool (*uses)(const names_t *names, const char *name)) {
	autosnapshot struct snapshot *snapshot = collection_snapshot(d->resource->collection);
	for (size_t i = 0; i < snapshot->len; i++) {
		struct entry *entry = snapshot_entry(snapshot, i);
		/* Few are of the group, and their names end in it. */
		autofree char *suffix = xprintf(".%s", group);
		autounref crd_t *other = NULL;
		void *decoded = NULL;
		if (!str_ends_with(entry->key, suffix) || resource_decode(d->resource, entry, &decoded, NULL) < 0)
			continue;
		other = decoded;
		if (str_equal(other->spec.group, group) && uses(&other->status.accepted_names, name))
			return true;
	}
	return false;
}

struct naming {
	struct definitions *definitions;
	crd_t *crd;
	const char *reason, *message; /* of the last conflict; NULL: none */
};

static bool may_have(struct naming *n, const char *asked, const char *accepted, bool (*uses)(const names_t *names, const char *name), const char *reason) {
	if (str_equal(str_or(asked, ""), str_or(accepted, "")) || !is_used(n->definitions, n->crd->spec.group, asked, uses))
		return true;
	if (reason) {
		n->reason = reason;
		n->message = arena_printf(api_arena(n->crd), "\"%s\" is already in use", asked);
	}
	return false;
}

static void accept_short_names(struct naming *n, const names_t *asked, names_t *accepted) {
	autobuf struct buf used = BUF_INIT(64 << 10);
	unsigned count = 0;
	for (uint32_t i = 0; i < asked->short_names.len; i++) {
		const char *name = asked->short_names.items[i];
		if (api_string_list_has(&accepted->short_names, name) || may_have(n, name, "", uses_resource, NULL))
			continue;
		buf_printf(&used, "%s\"%s\" is already in use", count++ ? ", " : "", name);
	}
	if (count) {
		n->reason = "ShortNamesConflict";
		n->message = arena_printf(api_arena(n->crd), count > 1 ? "[%s]" : "%s", used.data);
	} else {
		accepted->short_names = asked->short_names;
	}
}

/* Takes the names that nobody of the group has. */
static void accept_names(struct definitions *d, crd_t *crd) {
	const names_t *asked = &crd->spec.names;
	names_t *accepted = &crd->status.accepted_names;
	struct naming n = {.definitions = d, .crd = crd};
	if (may_have(&n, asked->plural, accepted->plural, uses_resource, "PluralConflict"))
		accepted->plural = asked->plural;
	if (may_have(&n, asked->singular, accepted->singular, uses_resource, "SingularConflict"))
		accepted->singular = asked->singular;
	accept_short_names(&n, asked, accepted);
	if (may_have(&n, asked->kind, accepted->kind, uses_kind, "KindConflict"))
		accepted->kind = asked->kind;
	if (may_have(&n, asked->list_kind, accepted->list_kind, uses_kind, "ListKindConflict"))
		accepted->list_kind = asked->list_kind;
	accepted->categories = asked->categories;
	set_condition(crd, "NamesAccepted", !n.reason, str_or(n.reason, "NoConflicts"), str_or(n.message, "no conflicts found"));
	if (is_true(crd, "Established"))
		return;
	if (!n.reason)
		set_condition(crd, "Established", false, "Installing", "the initial names have been accepted");
	else if (!find_condition(crd, "Established"))
		set_condition(crd, "Established", false, "NotAccepted", "not all names are accepted");
}

/* Those of the group that wait for a name may have it now. */
static void note_group(struct definitions *d, const char *group) {
	autosnapshot struct snapshot *snapshot = collection_snapshot(d->resource->collection);
	autofree char *suffix = xprintf(".%s", group);
	for (size_t i = 0; i < snapshot->len; i++)
		if (str_ends_with(snapshot_entry(snapshot, i)->key, suffix))
			definitions_note(d, snapshot_entry(snapshot, i)->key);
}

static int name(struct definitions *d, const crd_t *old) {
	autounref crd_t *crd = api_copy(old);
	if (!api_equal(&apiextensions_v1_custom_resource_definition_names_type, &old->spec.names, &old->status.accepted_names)) {
		accept_names(d, crd);
		if (!api_equal(&apiextensions_v1_custom_resource_definition_status_type, &old->status, &crd->status)) {
			int rc = store_status(d, old, crd);
			if (rc == 0)
				note_group(d, crd->spec.group); /* a name may have become free */
			return rc;
		}
	}
	if (!is_true(crd, "NamesAccepted") || is_true(crd, "Established"))
		return 0;
	set_condition(crd, "Established", true, "InitialNamesAccepted", "the initial names have been accepted");
	return store_status(d, old, crd);
}

/* ---- the end ---- */

static const struct resource *served(struct definitions *d, const crd_t *crd) {
	for (uint32_t i = 0; i < crd->spec.versions.len; i++) {
		const struct resource *resource = registry_find(worker_server(d->worker)->registry, crd->spec.group, crd->spec.versions.items[i].name, crd->spec.names.plural);
		if (resource && resource->custom)
			return resource;
	}
	return NULL;
}

/* Asks an object whose finalizers hold it to go. */
static int mark_instance(struct definitions *d, struct collection *collection, struct entry *entry, json_t *object) {
	json_t *metadata = json_object_get(object, "metadata");
	if (json_object_get(metadata, "deletionTimestamp"))
		return 0;
	char now[40];
	time_format_rfc3339(api_time_now().t, now);
	json_object_del(metadata, "resourceVersion");
	json_object_set_new(metadata, "deletionGracePeriodSeconds", json_integer(0));
	json_object_set_new(metadata, "deletionTimestamp", json_string(now));
	if (json_integer_value(json_object_get(metadata, "generation")) > 0)
		json_object_set_new(metadata, "generation", json_integer(json_integer_value(json_object_get(metadata, "generation")) + 1));
	autofree char *text = json_dumps(object, JSON_COMPACT);
	return text ? worker_put(d->worker, collection, entry->key, text, strlen(text), entry->resource_version, 0) : -ENOMEM;
}

/* Takes away what can go. Negative where that fails, else how many are left. */
static int64_t delete_instances(struct definitions *d, struct collection *collection) {
	autosnapshot struct snapshot *snapshot = collection_snapshot(collection);
	int64_t left = 0;
	for (size_t i = 0; i < snapshot->len; i++) {
		struct entry *entry = snapshot_entry(snapshot, i);
		json_t *object = json_loadb(entry->json->data, entry->json->len, 0, NULL);
		bool held = json_array_size(json_object_get(json_object_get(object, "metadata"), "finalizers"));
		int rc = held ? mark_instance(d, collection, entry, object) : worker_delete(d->worker, collection, entry->key, entry->resource_version);
		json_decref(object);
		if (rc < 0 && rc != -EAGAIN && rc != -ENOENT)
			return rc;
		left += held || rc == -EAGAIN;
	}
	return left;
}

static void on_instance(const struct store_event *event, void *arg) {
	struct waiting *w = arg;
	if (event->type != STORE_BOOKMARK)
		definitions_note(w->definitions, w->key);
}

static void wait_for_instances(struct definitions *d, const char *key, struct collection *collection) {
	if (map_has(&d->waiting, key))
		return;
	struct waiting *w = xnew(struct waiting);
	*w = (struct waiting){.definitions = d, .key = xstrdup(key)};
	if (collection_watch(collection, 0, on_instance, w, &w->watch) < 0)
		w->watch = NULL;
	map_set(&d->waiting, key, w);
	definitions_note(d, key); /* what went before the watch began */
}

static int end(struct definitions *d, const char *key, const crd_t *old) {
	autounref crd_t *crd = api_copy(old);
	const condition_t *terminating = find_condition(old, "Terminating");
	if (!api_string_list_has(&old->metadata.finalizers, CLEANUP_FINALIZER))
		return 0;
	if (!terminating || str_equal(terminating->reason, "InstanceDeletionPending")) {
		set_condition(crd, "Terminating", true, "InstanceDeletionInProgress", "CustomResource deletion is in progress");
		return store_status(d, old, crd);
	}
	/* Where names clash, what is served is another's. */
	const struct resource *resource = is_true(crd, "Established") ? served(d, crd) : NULL;
	int64_t left = resource ? delete_instances(d, resource->collection) : 0;
	if (left < 0)
		return (int)left;
	if (left > 0) {
		wait_for_instances(d, key, resource->collection);
		return 0;
	}
	bool established = is_true(crd, "Established");
	set_condition(crd, "Terminating", false, established ? "InstanceDeletionCompleted" : "NeverEstablished", established ? "removed all instances" : "resource was never established");
	struct api_string_list *finalizers = &crd->metadata.finalizers;
	uint32_t kept = 0;
	for (uint32_t i = 0; i < finalizers->len; i++)
		if (strcmp(finalizers->items[i], CLEANUP_FINALIZER) != 0)
			finalizers->items[kept++] = finalizers->items[i];
	finalizers->len = kept;
	if (kept)
		return store_status(d, old, crd);
	int rc = worker_delete(d->worker, d->resource->collection, key, worker_revision(old));
	return rc == -EAGAIN || rc == -ENOENT ? 0 : rc;
}

/* ---- the loop ---- */

static int look_at(struct definitions *d, const char *key) {
	autoentry struct entry *entry = collection_get(d->resource->collection, key);
	void *decoded = NULL;
	if (!entry) {
		const char *dot = strchr(key, '.');
		map_remove(&d->waiting, key);
		if (dot)
			note_group(d, dot + 1);
		return 0;
	}
	if (resource_decode(d->resource, entry, &decoded, NULL) < 0)
		return 0;
	autounref crd_t *crd = decoded;
	return crd->metadata.deletion_timestamp.set ? end(d, key, crd) : name(d, crd);
}

static char *take_pending(struct definitions *d) {
	pthread_mutex_lock(&d->lock);
	size_t at = 0;
	struct map_entry *entry = map_next(&d->pending, &at);
	char *key = entry ? xstrdup(entry->key) : NULL;
	if (key)
		map_remove(&d->pending, key);
	pthread_mutex_unlock(&d->lock);
	return key;
}

static void run(struct worker *worker, void *arg) {
	struct definitions *d = arg;
	d->worker = worker;
	for (bool go_on = true; go_on;) {
		autofree char *key = take_pending(d);
		if (!key) {
			go_on = worker_sleep(worker, INT64_MAX / 4);
			continue;
		}
		int rc = look_at(d, key);
		if (rc == -ECANCELED)
			return;
		if (rc < 0) {
			log_warning("cannot bring a custom resource definition up to date", LOG_STR("name", key), LOG_STR("error", strerror(-rc)));
			definitions_note(d, key);
			go_on = worker_sleep(worker, RETRY_NS);
		}
	}
}

struct definitions *definitions_start(struct apiserver *server) {
	struct definitions *d = xnew(struct definitions);
	*d = (struct definitions){
		.resource = registry_find(server->registry, "apiextensions.k8s.io", "v1", "customresourcedefinitions"),
		.pending = MAP_INIT(NULL), .waiting = MAP_INIT(free_waiting), .lock = PTHREAD_MUTEX_INITIALIZER,
	};
	pthread_mutex_lock(&d->lock);
	d->wake = worker_start(server, run, d);
	pthread_mutex_unlock(&d->lock);
	return d;
}

void definitions_stop(struct definitions *d) {
	if (!d)
		return;
	pthread_mutex_lock(&d->lock);
	struct worker *worker = take_ptr(d->wake);
	pthread_mutex_unlock(&d->lock);
	worker_stop(worker);
	map_done(&d->waiting);
	map_done(&d->pending);
	pthread_mutex_destroy(&d->lock);
	free(d);
}
