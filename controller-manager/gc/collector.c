/* SPDX-License-Identifier: Apache-2.0 */
/* Looks at one object: are its owners there? Nothing is deleted on the word of the graph alone; the server is asked first. */
#include "controller-manager/gc/gc.h"

#include "api/meta_v1.h"

#include <errno.h>

#define MAX_OBJECT ((size_t)16 << 20)
#define DISCOVERY_MS 30000
#define NOT_SYNCED_MS 100
#define MAX_CIRCLE 1000
#define UNKNOWN_OWNER_MS 30000 /* kinds are looked up no more often */
#define ACCEPT_ONE "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"

static struct gc *gc_of(struct reconciler *r)
{
	return r->state;
}

/* The live metadata, a new reference, or NULL with *ret_gone where the server has no such object. */
static int get_live(struct reconciler *r, const struct discovered *resource, const char *ns, const char *name, json_t **ret, bool *ret_gone,
	struct error *err)
{
	autofree char *path = discovered_path(resource, resource->namespaced ? ns : NULL, name);
	autobuf struct buf body = BUF_INIT(MAX_OBJECT);
	autoerror struct error failed = {0};
	struct client_request request = {.method = "GET", .path = path, .accept = ACCEPT_ONE};
	*ret_gone = false;
	int result = r->world->ops->request(r->world, &request, &body, NULL, &failed);
	if (result && error_is(&failed, "NotFound")) {
		*ret_gone = true;
		return 0;
	}
	if (result)
		return error_move(err, &failed);
	json_t *tree = json_loadb(body.data, body.len, 0, NULL);
	json_t *metadata = json_incref(json_object_get(tree, "metadata"));
	json_decref(tree);
	if (!metadata)
		return error_set(err, EPROTO, "GET %s: no metadata", path);
	*ret = metadata;
	return 0;
}

static const char *text_of(const json_t *metadata, const char *key)
{
	return str_or(json_string_value(json_object_get(metadata, key)), "");
}

static int patch(struct reconciler *r, const struct gc_node *node, const json_t *body, struct error *err)
{
	autofree char *path = discovered_path(node->resource, node->resource->namespaced ? node->ns : NULL, node->name);
	autofree char *text = json_dumps(body, JSON_COMPACT);
	autobuf struct buf answer = BUF_INIT(MAX_OBJECT);
	autoerror struct error failed = {0};
	struct client_request request = {.method = "PATCH",
		.path = path,
		.content_type = "application/merge-patch+json",
		.accept = ACCEPT_ONE,
		.body = text,
		.body_len = strlen(text)};
	int result = r->world->ops->request(r->world, &request, &answer, NULL, &failed);
	return result && error_is(&failed, "NotFound") ? 0 : error_move(err, &failed);
}

/* A patch of `metadata` that holds only for the object just read. */
static json_t *metadata_patch(const json_t *live, const char *key, json_t *take_value)
{
	json_t *body = json_object(), *metadata = json_object();
	json_object_set_new(metadata, "uid", json_string(text_of(live, "uid")));
	json_object_set_new(metadata, "resourceVersion", json_string(text_of(live, "resourceVersion")));
	json_object_set_new(metadata, key, take_value);
	json_object_set_new(body, "metadata", metadata);
	return body;
}

static int remove_finalizer(struct reconciler *r, const struct gc_node *node, const char *finalizer, struct error *err)
{
	json_t *live = NULL;
	bool gone;
	int result = get_live(r, node->resource, node->ns, node->name, &live, &gone, err);
	if (result || gone)
		return result;
	if (str_equal(text_of(live, "uid"), node->uid) && json_has_finalizer(live, finalizer)) {
		const json_t *list = json_object_get(live, "finalizers");
		json_t *kept = json_array();
		for (size_t i = 0; i < json_array_size(list); i++)
			if (!str_equal(json_string_value(json_array_get(list, i)), finalizer))
				json_array_append(kept, json_array_get(list, i));
		json_t *body = metadata_patch(live, "finalizers", kept);
		result = patch(r, node, body, err);
		json_decref(body);
	}
	json_decref(live);
	return result;
}

/* Writes the references for which keep() holds; unblock: none of them blocks any more. */
static int rewrite_owners(struct reconciler *r, const struct gc_node *node, const json_t *live, const bool *keep, bool unblock, struct error *err)
{
	const json_t *refs = json_object_get(live, "ownerReferences");
	json_t *kept = json_array();
	for (size_t i = 0; i < json_array_size(refs); i++) {
		if (!keep[i])
			continue;
		json_t *ref = json_copy(json_array_get(refs, i));
		if (unblock)
			json_object_set_new(ref, "blockOwnerDeletion", json_false());
		json_array_append_new(kept, ref);
	}
	json_t *body = metadata_patch(live, "ownerReferences", json_array_size(kept) ? kept : json_null());
	if (!json_array_size(kept))
		json_decref(kept);
	int result = patch(r, node, body, err);
	json_decref(body);
	return result;
}

/* ---- an owner that goes ---- */

/* Goes itself, and waits for its own dependents. */
static bool is_foreground(struct gc *gc, const char *uid)
{
	struct gc_node *node = graph_copy(&gc->graph, uid);
	bool foreground = node && node->foreground;
	gc_node_free(node);
	return foreground;
}

/*
 * Whether this dependent goes too and waits, by those below it, for the owner: then neither may wait for the other. A graph of more than MAX_CIRCLE such
 * objects is held to be none.
 */
static bool waits_for(struct gc *gc, const char *dependent, const char *owner)
{
	struct map seen = MAP_INIT(NULL);
	struct flag_list todo = {0};
	bool found = false;
	flag_list_add(&todo, dependent);
	set_add(&seen, dependent);
	for (size_t at = 0; at < todo.len && todo.len <= MAX_CIRCLE && !found; at++) {
		if (!is_foreground(gc, todo.items[at]))
			continue;
		struct flag_list below = graph_dependents(&gc->graph, todo.items[at], true);
		for (size_t i = 0; i < below.len && !found; i++) {
			found = str_equal(below.items[i], owner);
			if (!map_has(&seen, below.items[i])) {
				set_add(&seen, below.items[i]);
				flag_list_add(&todo, below.items[i]);
			}
		}
		flag_list_done(&below);
	}
	flag_list_done(&todo);
	map_done(&seen);
	return found;
}

static int work_foreground(struct reconciler *r, const struct gc_node *node, struct error *err)
{
	struct gc *gc = gc_of(r);
	struct flag_list blocking = graph_dependents(&gc->graph, node->uid, true);
	struct flag_list all = graph_dependents(&gc->graph, node->uid, false);
	bool blocked = false;
	for (size_t i = 0; i < blocking.len && !blocked; i++)
		blocked = !waits_for(gc, blocking.items[i], node->uid);
	int result = blocked ? 0 : remove_finalizer(r, node, FINALIZER_FOREGROUND, err);
	/* Those that go in their turn have been told: two that tell each other would never come to an end. */
	for (size_t i = 0; i < all.len; i++)
		if (!is_foreground(gc, all.items[i]))
			reconciler_add(r, NULL, all.items[i]);
	flag_list_done(&blocking);
	flag_list_done(&all);
	return result;
}

static int orphan_one(struct reconciler *r, const char *uid, const char *owner_uid, struct error *err)
{
	struct gc_node *dependent = graph_copy(&gc_of(r)->graph, uid);
	if (!dependent || dependent->virtual_) {
		gc_node_free(dependent);
		return 0;
	}
	json_t *live = NULL;
	bool gone;
	int result = get_live(r, dependent->resource, dependent->ns, dependent->name, &live, &gone, err);
	if (!result && !gone && str_equal(text_of(live, "uid"), uid)) {
		const json_t *refs = json_object_get(live, "ownerReferences");
		size_t count = json_array_size(refs);
		autofree bool *keep = xcalloc(count, sizeof(bool));
		bool found = false;
		for (size_t i = 0; i < count; i++) {
			keep[i] = !str_equal(text_of(json_array_get(refs, i), "uid"), owner_uid);
			found |= !keep[i];
		}
		if (found)
			result = rewrite_owners(r, dependent, live, keep, false, err);
	}
	json_decref(live);
	gc_node_free(dependent);
	return result;
}

static int work_orphan(struct reconciler *r, const struct gc_node *node, struct error *err)
{
	struct flag_list dependents = graph_dependents(&gc_of(r)->graph, node->uid, false);
	int result = 0;
	for (size_t i = 0; i < dependents.len && !result; i++)
		result = orphan_one(r, dependents.items[i], node->uid, err);
	flag_list_done(&dependents);
	return result ? result : remove_finalizer(r, node, FINALIZER_ORPHAN, err);
}

/* ---- an object with owners ---- */

enum owner_state { OWNER_SOLID, OWNER_WAITING, OWNER_GONE, OWNER_UNKNOWN };

/* An owner outside the dependent's namespace is none: the dependent says so, for it will be collected, or stay for ever. */
static void tell_wrong_namespace(struct reconciler *r, const struct gc_node *node, const struct owner_ref *ref)
{
	autounref struct meta_v1_partial_object_metadata *object = api_new_of(meta_v1_partial_object_metadata);
	struct arena *arena = api_arena(object);
	const struct discovered *d = node->resource;
	object->kind = d->kind;
	object->api_version = str_empty(d->group) ? d->version : arena_printf(arena, "%s/%s", d->group, d->version);
	object->metadata = (struct meta_v1_object_meta){.name = node->name, .namespace = str_empty(node->ns) ? NULL : node->ns, .uid = node->uid};
	reconciler_event(r, object, EVENT_WARNING, "OwnerRefInvalidNamespace", "ownerRef [%s/%s, namespace: %s, name: %s, uid: %s] does not exist in namespace \"%s\"", ref->api_version, ref->kind,
		node->ns, ref->name, ref->uid, node->ns);
}

static int judge_owner(struct reconciler *r, const struct gc_node *node, const struct owner_ref *ref, enum owner_state *ret, struct error *err)
{
	struct gc *gc = gc_of(r);
	struct discovered *resource = gc_resource_of_kind(gc, ref->api_version, ref->kind);
	if (!resource) {
		*ret = OWNER_UNKNOWN;
		return 0;
	}
	/* An object outside namespaces cannot be owned by one inside: which namespace would that be? */
	if (resource->namespaced && !node->resource->namespaced) {
		tell_wrong_namespace(r, node, ref);
		*ret = OWNER_UNKNOWN;
		return 0;
	}
	struct gc_node *owner = graph_copy(&gc->graph, ref->uid);
	bool known = owner && !owner->virtual_ && owner->resource == resource && str_equal(owner->name, ref->name) &&
		     (!resource->namespaced || str_equal(owner->ns, node->ns));
	bool waiting = known && owner->foreground;
	if (owner && !owner->virtual_ && resource->namespaced && !str_equal(owner->ns, node->ns))
		tell_wrong_namespace(r, node, ref);
	/* Asked before, under the same name: one answer does for all its dependents. */
	bool absent = owner && owner->absent && str_equal(owner->ref.name, ref->name) && str_equal(owner->ref.kind, ref->kind) && str_equal(owner->ref.api_version, ref->api_version) &&
		      (!resource->namespaced || str_equal(owner->ns, node->ns));
	gc_node_free(owner);
	if (absent) {
		*ret = OWNER_GONE;
		return 0;
	}
	if (known) {
		*ret = waiting ? OWNER_WAITING : OWNER_SOLID;
		return 0;
	}
	json_t *live = NULL;
	bool gone;
	int result = get_live(r, resource, node->ns, ref->name, &live, &gone, err);
	if (result)
		return result;
	if (gone || !str_equal(text_of(live, "uid"), ref->uid))
		*ret = OWNER_GONE;
	else
		*ret = *text_of(live, "deletionTimestamp") && json_has_finalizer(live, FINALIZER_FOREGROUND) ? OWNER_WAITING : OWNER_SOLID;
	json_decref(live);
	return 0;
}

static int delete_node(struct reconciler *r, const struct gc_node *node, const json_t *live, const char *propagation, struct error *err)
{
	autofree char *path = discovered_path(node->resource, node->resource->namespaced ? node->ns : NULL, node->name);
	json_t *options = json_pack("{s:s,s:s,s:s,s:{s:s,s:s}}", "kind", "DeleteOptions", "apiVersion", "v1", "propagationPolicy", propagation,
		"preconditions", "uid", text_of(live, "uid"), "resourceVersion", text_of(live, "resourceVersion"));
	autofree char *text = json_dumps(options, JSON_COMPACT);
	json_decref(options);
	autobuf struct buf answer = BUF_INIT(MAX_OBJECT);
	autoerror struct error failed = {0};
	struct client_request request = {.method = "DELETE",
		.path = path,
		.content_type = "application/json",
		.accept = ACCEPT_ONE,
		.body = text,
		.body_len = strlen(text)};
	int result = r->world->ops->request(r->world, &request, &answer, NULL, &failed);
	if (!result)
		log_debug(2, "collected", LOG_STR("resource", node->resource->plural), LOG_STR("namespace", node->ns), LOG_STR("name", node->name));
	return result && error_is(&failed, "NotFound") ? 0 : error_move(err, &failed);
}

/* Owners wait for this one, and something below it waits in turn: to not wait in a circle, nobody is blocked by it. */
static bool circle_below(struct reconciler *r, const struct gc_node *node)
{
	struct gc *gc = gc_of(r);
	struct flag_list dependents = graph_dependents(&gc->graph, node->uid, false);
	bool found = false;
	for (size_t i = 0; i < dependents.len && !found; i++) {
		struct gc_node *dependent = graph_copy(&gc->graph, dependents.items[i]);
		found = dependent && dependent->foreground;
		gc_node_free(dependent);
	}
	flag_list_done(&dependents);
	return found;
}

static int collect(struct reconciler *r, const struct gc_node *node, const json_t *live, struct error *err)
{
	size_t count, solid = 0, waiting = 0, unknown = 0;
	struct owner_ref *owners = owners_from_json(live, &count);
	autofree bool *keep = xcalloc(count, sizeof(bool));
	int result = 0;
	for (size_t i = 0; i < count && !result; i++) {
		enum owner_state state = OWNER_UNKNOWN;
		result = judge_owner(r, node, &owners[i], &state, err);
		keep[i] = state == OWNER_SOLID || state == OWNER_UNKNOWN;
		solid += state == OWNER_SOLID;
		waiting += state == OWNER_WAITING;
		unknown += state == OWNER_UNKNOWN;
	}
	owners_free(owners, count);
	if (result || !count)
		return result;
	if (solid || unknown) {
		if (solid && solid + unknown < count)
			result = rewrite_owners(r, node, live, keep, false, err);
		return result ? result : unknown && !solid ? UNKNOWN_OWNER_MS : 0;
	}
	struct flag_list dependents = graph_dependents(&gc_of(r)->graph, node->uid, false);
	bool has_dependents = dependents.len > 0;
	flag_list_done(&dependents);
	if (waiting && has_dependents) {
		if (circle_below(r, node)) {
			for (size_t i = 0; i < count; i++)
				keep[i] = true;
			result = rewrite_owners(r, node, live, keep, true, err);
			/* The version has moved: come again with the new one. */
			return result ? result : 1;
		}
		return delete_node(r, node, live, "Foreground", err);
	}
	const char *policy = json_has_finalizer(live, FINALIZER_ORPHAN)       ? "Orphan"
			     : json_has_finalizer(live, FINALIZER_FOREGROUND) ? "Foreground"
									      : "Background";
	return delete_node(r, node, live, policy, err);
}

/*
 * Judges by what a shared cache has: what is written then names the version it was judged by, so a cache that is behind costs a refusal and no object.
 * *ret_done false: the server has to be asked.
 */
static int work_cached(struct reconciler *r, const struct gc_node *node, bool *ret_done, struct error *err)
{
	autounref void *object = sources_find(gc_of(r), node);
	*ret_done = false;
	if (!object || api_metadata(object)->deletion_timestamp.set || !api_metadata(object)->owner_references.len)
		return 0;
	autoerror struct error failed = {0};
	json_t *metadata = api_to_json(&meta_v1_object_meta_type, api_metadata(object));
	int result = collect(r, node, metadata, &failed);
	json_decref(metadata);
	*ret_done = result >= 0 || !error_is(&failed, "Conflict");
	if (!*ret_done)
		return 0;
	return result < 0 ? error_move(err, &failed) : result;
}

static int work_object(struct reconciler *r, const struct gc_node *node, struct error *err)
{
	bool done;
	int cached = work_cached(r, node, &done, err);
	if (done)
		return cached;
	json_t *live = NULL;
	bool gone;
	int result = get_live(r, node->resource, node->ns, node->name, &live, &gone, err);
	if (result)
		return result;
	if (gone || !str_equal(text_of(live, "uid"), node->uid)) {
		graph_forget(gc_of(r), node->uid);
		json_decref(live);
		return 0;
	}
	result = *text_of(live, "deletionTimestamp") ? 0 : collect(r, node, live, err);
	json_decref(live);
	return result;
}

/* Known by references only: is it there? */
static int work_virtual(struct reconciler *r, const struct gc_node *node, struct error *err)
{
	struct discovered *resource = gc_resource_of_kind(gc_of(r), node->ref.api_version, node->ref.kind);
	if (!resource)
		return UNKNOWN_OWNER_MS; /* its kind may come with a CRD */
	json_t *live = NULL;
	bool gone;
	int result = get_live(r, resource, node->ns, node->name, &live, &gone, err);
	if (result)
		return result;
	bool absent = gone || !str_equal(text_of(live, "uid"), node->uid);
	json_decref(live);
	/*
	 * One that is there is left to its watch to make known: it may have gone while the answer was on its way, and what the watch has said of that
	 * already it will not say again.
	 */
	if (!absent)
		return DISCOVERY_MS;
	graph_mark_absent(gc_of(r), node->uid);
	graph_forget(gc_of(r), node->uid);
	return 0;
}

static int reconcile(struct reconciler *r, const char *ns, const char *uid, struct error *err)
{
	struct gc *gc = gc_of(r);
	if (str_equal(uid, DISCOVERY_KEY)) {
		int result = monitors_refresh(gc, err);
		return result ? result : DISCOVERY_MS;
	}
	/* An owner that was not listed yet looks as if it were gone. */
	if (r->client && !monitors_synced(gc))
		return NOT_SYNCED_MS;
	struct gc_node *node = graph_copy(&gc->graph, uid);
	int result = 0;
	if (!node)
		return 0;
	if (node->virtual_)
		result = work_virtual(r, node, err);
	else if (node->foreground)
		result = work_foreground(r, node, err);
	else if (node->orphan)
		result = work_orphan(r, node, err);
	else if (!node->deleting && node->owner_count)
		result = work_object(r, node, err);
	gc_node_free(node);
	return result;
}

static void *state_new(void)
{
	struct gc *gc = xnew(struct gc);
	graph_init(&gc->graph);
	pthread_mutex_init(&gc->lock, NULL);
	sources_init(gc);
	return gc;
}

static void state_free(void *arg)
{
	struct gc *gc = arg;
	graph_done(&gc->graph);
	for (size_t i = 0; i < gc->resource_count; i++) {
		struct discovered *d = gc->resources[i];
		free(d->group);
		free(d->version);
		free(d->plural);
		free(d->kind);
		free(d);
	}
	free(gc->resources);
	pthread_mutex_destroy(&gc->lock);
	free(gc);
}

static void started(struct reconciler *r)
{
	gc_of(r)->r = r;
	reconciler_add(r, NULL, DISCOVERY_KEY);
}

static void stopping(struct reconciler *r)
{
	monitors_stop(gc_of(r));
}

static bool enabled(const struct settings *settings)
{
	return settings->enable_garbage_collector;
}

const struct controller garbage_collector_controller = {
	.name = "garbage-collector-controller",
	.queue = "garbage_collector_attempt_to_delete",
	.account = "generic-garbage-collector",
	.alias = "garbagecollector",
	.concurrency_flag = "concurrent-gc-syncs",
	.workers = 20,
	.enabled = enabled,
	.watches = gc_watches,
	.reconcile = reconcile,
	.state_new = state_new,
	.state_free = state_free,
	.started = started,
	.stopping = stopping,
};
