/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Empties namespaces that are being deleted: pods first and until they are gone, then everything else that discovery knows of. When nothing is
 * left, the "kubernetes" finalizer is given up. Conditions say what is in the way.
 */
#include "controller-manager/controller.h"
#include "controller-manager/shared/discovery.h"
#include "controller-manager/shared/pods.h"

#include "api/core_v1.h"

#include <errno.h>

#define FINALIZER "kubernetes"
#define LOOK_AGAIN_MS 1000 /* where something that wakes nobody (a finalizer's owner) is waited for */
#define MAX_ERROR_TEXT 4096
#define CROWD 100 /* objects of one resource that are deleted one by one, several at once */
#define BACKGROUND "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\",\"propagationPolicy\":\"Background\"}"

/* What one round found. */
struct sweep {
	struct world *world;
	const char *ns;
	struct map remaining;  /* "pods." -> size_t */
	struct map finalizers; /* finalizer -> size_t */
	struct buf errors;
	size_t error_count;
};

static void count_one(struct map *map, const char *key, size_t more)
{
	size_t *n = map_get(map, key);
	if (!n) {
		n = xnew(size_t);
		map_set(map, key, n);
	}
	*n += more;
}

static void note_error(struct sweep *sweep, const struct error *err)
{
	buf_printf(&sweep->errors, "%s%s", sweep->error_count++ ? ", " : "", error_message(err));
}

static int delete_collection(struct sweep *sweep, const struct discovered *resource, struct error *err)
{
	autofree char *path = discovered_path(resource, sweep->ns, NULL);
	autobuf struct buf body = BUF_INIT(BUF_MAX_DEFAULT);
	struct client_request request = {.method = "DELETE", .path = path, .content_type = "application/json", .body = BACKGROUND, .body_len = sizeof(BACKGROUND) - 1};
	return sweep->world->ops->request(sweep->world, &request, &body, NULL, err);
}

struct crowd {
	struct sweep *sweep;
	const struct discovered *resource;
	const struct metadata_list *list;
};

static int delete_one(size_t index, void *arg, struct error *err)
{
	const struct crowd *crowd = arg;
	struct world *world = crowd->sweep->world;
	autofree char *path = discovered_path(crowd->resource, crowd->sweep->ns, crowd->list->items[index].name);
	autobuf struct buf body = BUF_INIT(BUF_MAX_DEFAULT);
	autoerror struct error failed = {0};
	struct client_request request = {.method = "DELETE",
		.path = path,
		.content_type = "application/json",
		.body = BACKGROUND,
		.body_len = sizeof(BACKGROUND) - 1};
	int r = world->ops->request(world, &request, &body, NULL, &failed);
	return r < 0 && !error_is(&failed, "NotFound") ? error_move(err, &failed) : 0;
}

/* The server deletes a collection one object after the other; many are gone sooner where several are asked for at once. */
static int delete_all(struct sweep *sweep, const struct discovered *resource, const struct metadata_list *list, struct error *err)
{
	if ((resource->verbs & API_VERB_DELETECOLLECTION) && list->len < CROWD)
		return delete_collection(sweep, resource, err);
	autoerror struct error failed = {0};
	slow_start(sweep->world, list->len, delete_one, &(struct crowd){sweep, resource, list}, &failed);
	return error_move(err, &failed);
}

static void count_left(struct sweep *sweep, const struct discovered *resource, const struct metadata_list *list)
{
	if (!list->len)
		return;
	autofree char *key = xprintf("%s.%s", resource->plural, resource->group);
	count_one(&sweep->remaining, key, list->len);
	for (size_t i = 0; i < list->len; i++)
		for (size_t j = 0; j < list->items[i].finalizer_count; j++)
			count_one(&sweep->finalizers, list->items[i].finalizers[j], 1);
}

/* Deletes all of one resource, then looks what is left. */
static void sweep_resource(struct sweep *sweep, const struct discovered *resource)
{
	struct metadata_list list = {0};
	autoerror struct error err = {0};
	int r = discovered_list(sweep->world, resource, sweep->ns, &list, &err);
	if (!r && list.len) {
		r = delete_all(sweep, resource, &list, &err);
		metadata_list_done(&list);
		if (!r)
			r = discovered_list(sweep->world, resource, sweep->ns, &list, &err);
	}
	/* A resource that has gone meanwhile (a deleted CRD) has nothing left. */
	if (r && !error_is(&err, "NotFound") && !error_is(&err, "MethodNotAllowed"))
		note_error(sweep, &err);
	count_left(sweep, resource, &list);
	metadata_list_done(&list);
}

static bool is_swept(const struct discovered *resource)
{
	return resource->namespaced && (resource->verbs & API_VERB_DELETE) && (resource->verbs & API_VERB_LIST);
}

static void sweep_namespace(struct sweep *sweep, const struct discovery *discovery)
{
	/* Pods first, and alone: what they use (secrets, policies, accounts) is to outlive them. */
	for (size_t i = 0; i < discovery->len; i++)
		if (str_equal(discovery->items[i].plural, "pods") && !*discovery->items[i].group)
			sweep_resource(sweep, &discovery->items[i]);
	if (sweep->remaining.len || sweep->error_count)
		return;
	for (size_t i = 0; i < discovery->len; i++)
		if (is_swept(&discovery->items[i]) && (*discovery->items[i].group || !str_equal(discovery->items[i].plural, "pods")))
			sweep_resource(sweep, &discovery->items[i]);
}

/* ---- conditions ---- */

static bool set_condition(struct core_v1_namespace *namespace, const char *type, bool bad, const char *reason, const char *message)
{
	struct arena *arena = api_arena(namespace);
	struct core_v1_namespace_condition *condition = NULL;
	for (uint32_t i = 0; i < namespace->status.conditions.len && !condition; i++)
		if (str_equal(namespace->status.conditions.items[i].type, type))
			condition = &namespace->status.conditions.items[i];
	const char *status = bad ? "True" : "False";
	if (condition && str_equal(condition->status, status) && str_equal(condition->reason, reason) && str_equal(condition->message, message))
		return false;
	if (!condition)
		condition = api_list_add(arena, &namespace->status.conditions);
	condition->type = arena_strdup(arena, type);
	condition->status = status;
	condition->reason = arena_strdup(arena, reason);
	condition->message = arena_strdup(arena, message);
	condition->last_transition_time = api_time_now();
	return true;
}

static int compare_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "pods. has 2 resource instances, ..." in the order of names. */
static char *tell_counts(const struct map *counts, const char *prefix, const char *between, const char *after)
{
	struct buf out = BUF_INIT(MAX_ERROR_TEXT);
	autofree char **names = xcalloc(counts->len, sizeof(char *));
	size_t pos = 0, len = 0;
	for (struct map_entry *e; (e = map_next(counts, &pos));)
		names[len++] = e->key;
	qsort(names, len, sizeof(char *), compare_text);
	buf_append_str(&out, prefix);
	for (size_t i = 0; i < len; i++)
		buf_printf(&out, "%s%s%s%zu%s", i ? ", " : "", names[i], between, *(size_t *)map_get(counts, names[i]), after);
	return buf_take(&out);
}

static bool tell_sweep(struct core_v1_namespace *namespace, const struct sweep *sweep, const struct discovery *discovery)
{
	bool changed = false;
	if (discovery->failed_count) {
		autofree char *text = xprintf("Discovery failed for some groups, %zu failing: unable to retrieve the complete list of server APIs: %s",
			discovery->failed_count, discovery->failed_groups);
		changed |= set_condition(namespace, "NamespaceDeletionDiscoveryFailure", true, "DiscoveryFailed", text);
	} else {
		changed |= set_condition(namespace, "NamespaceDeletionDiscoveryFailure", false, "ResourcesDiscovered", "All resources successfully discovered");
	}
	changed |= set_condition(namespace, "NamespaceDeletionGroupVersionParsingFailure", false, "ParsedGroupVersions",
		"All legacy kube types successfully parsed");
	if (sweep->error_count) {
		autofree char *text = xprintf("Failed to delete all resource types, %zu remaining: %s", sweep->error_count, sweep->errors.data);
		changed |= set_condition(namespace, "NamespaceDeletionContentFailure", true, "ContentDeletionFailed", text);
	} else {
		changed |= set_condition(namespace, "NamespaceDeletionContentFailure", false, "ContentDeleted",
			"All content successfully deleted, may be waiting on finalization");
	}
	if (sweep->remaining.len) {
		autofree char *text = tell_counts(&sweep->remaining, "Some resources are remaining: ", " has ", " resource instances");
		changed |= set_condition(namespace, "NamespaceContentRemaining", true, "SomeResourcesRemain", text);
	} else {
		changed |= set_condition(namespace, "NamespaceContentRemaining", false, "ContentRemoved", "All content successfully removed");
	}
	if (sweep->finalizers.len) {
		autofree char *text = tell_counts(&sweep->finalizers, "Some content in the namespace has finalizers remaining: ", " in ",
			" resource instances");
		changed |= set_condition(namespace, "NamespaceFinalizersRemaining", true, "SomeFinalizersRemain", text);
	} else {
		changed |= set_condition(namespace, "NamespaceFinalizersRemaining", false, "ContentHasNoFinalizers",
			"All content-preserving finalizers finished");
	}
	return changed;
}

static int finalize(struct reconciler *r, const struct core_v1_namespace *namespace, struct error *err)
{
	autounref struct core_v1_namespace *copy = api_copy(namespace);
	for (uint32_t i = 0; i < copy->spec.finalizers.len;) {
		if (str_equal(copy->spec.finalizers.items[i], FINALIZER))
			api_list_remove(&copy->spec.finalizers, i);
		else
			i++;
	}
	struct write write = {.verb = WRITE_UPDATE,
		.resource = cached_resource(CACHED_NAMESPACES),
		.name = copy->metadata.name,
		.subresource = "finalize",
		.object = copy};
	autoerror struct error failed = {0};
	int result = world_write(r->world, &write, NULL, &failed);
	return result && error_is(&failed, "NotFound") ? 0 : error_move(err, &failed);
}

static void sweep_done(struct sweep *sweep)
{
	map_done(&sweep->remaining);
	map_done(&sweep->finalizers);
	buf_done(&sweep->errors);
}

static int empty_namespace(struct reconciler *r, struct core_v1_namespace *cached, struct error *err)
{
	cleanup(discovery_done) struct discovery discovery = {0};
	int result = discovery_load(r->world, &discovery, err);
	if (result)
		return result;
	cleanup(sweep_done) struct sweep sweep = {.world = r->world,
		.ns = cached->metadata.name,
		.remaining = MAP_INIT(free),
		.finalizers = MAP_INIT(free),
		.errors = BUF_INIT(MAX_ERROR_TEXT)};
	sweep_namespace(&sweep, &discovery);
	autounref struct core_v1_namespace *namespace = api_copy(cached), *written = NULL;
	namespace->status.phase = CORE_V1_NAMESPACE_PHASE_TERMINATING;
	bool changed = tell_sweep(namespace, &sweep, &discovery) || !str_equal(cached->status.phase, CORE_V1_NAMESPACE_PHASE_TERMINATING);
	bool empty = !sweep.remaining.len && !sweep.error_count && !discovery.failed_count;
	/* Of one that goes with the next write too: who follows it is told. */
	if (changed) {
		result = world_update_status(r->world, CACHED_NAMESPACES, namespace, (void **)&written, err);
		if (result)
			return result;
	}
	if (!empty)
		return LOOK_AGAIN_MS;
	return finalize(r, written ? written : cached, err);
}

static int reconcile(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	autounref struct core_v1_namespace *namespace = world_find(r->world, CACHED_NAMESPACES, NULL, name);
	if (!namespace || !namespace->metadata.deletion_timestamp.set || !api_string_list_has(&namespace->spec.finalizers, FINALIZER))
		return 0;
	return empty_namespace(r, namespace, err);
}

static void wake_by_nothing(struct reconciler *r, const void *object)
{
}

/* The last pod of a namespace that goes: the rest can follow at once. */
static void wake_by_gone_pod(struct reconciler *r, const void *object)
{
	const struct core_v1_pod *pod = object;
	autounref struct core_v1_namespace *namespace = world_find(r->world, CACHED_NAMESPACES, NULL, pod->metadata.namespace);
	if (namespace && namespace->metadata.deletion_timestamp.set)
		reconciler_add(r, NULL, namespace->metadata.name);
}

const struct controller namespace_controller = {
	.name = "namespace-controller",
	.queue = "namespace",
	.account = "namespace-controller",
	.alias = "namespace",
	.concurrency_flag = "concurrent-namespace-syncs",
	.workers = 10,
	.watches = (const struct controller_watch[]){{.what = CACHED_NAMESPACES},
		{.what = CACHED_PODS, .wake = wake_by_nothing, .gone = wake_by_gone_pod},
		{.what = CACHED_NONE}},
	.reconcile = reconcile,
};
