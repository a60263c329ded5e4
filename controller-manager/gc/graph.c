/* SPDX-License-Identifier: Apache-2.0 */
#include "controller-manager/gc/gc.h"

void graph_init(struct gc_graph *graph)
{
	pthread_mutex_init(&graph->lock, NULL);
	graph->nodes = MAP_INIT(NULL);
}

void owners_free(struct owner_ref *owners, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(owners[i].api_version);
		free(owners[i].kind);
		free(owners[i].name);
		free(owners[i].uid);
	}
	free(owners);
}

void gc_node_free(struct gc_node *node)
{
	if (!node)
		return;
	free(node->uid);
	free(node->ns);
	free(node->name);
	owners_free(node->owners, node->owner_count);
	map_done(&node->dependents);
	free(node->ref.api_version);
	free(node->ref.kind);
	free(node->ref.name);
	free(node->ref.uid);
	free(node);
}

void graph_done(struct gc_graph *graph)
{
	size_t pos = 0;
	for (struct map_entry *e; (e = map_next(&graph->nodes, &pos));)
		gc_node_free(e->value);
	map_done(&graph->nodes);
	pthread_mutex_destroy(&graph->lock);
}

static char *text_of(const json_t *object, const char *key)
{
	return xstrdup(str_or(json_string_value(json_object_get(object, key)), ""));
}

struct owner_ref *owners_from_json(const json_t *metadata, size_t *ret_count)
{
	const json_t *refs = json_object_get(metadata, "ownerReferences");
	size_t count = json_array_size(refs);
	struct owner_ref *owners = count ? xcalloc(count, sizeof(*owners)) : NULL;
	for (size_t i = 0; i < count; i++) {
		const json_t *ref = json_array_get(refs, i);
		owners[i] = (struct owner_ref){
			.api_version = text_of(ref, "apiVersion"),
			.kind = text_of(ref, "kind"),
			.name = text_of(ref, "name"),
			.uid = text_of(ref, "uid"),
			.block = json_is_true(json_object_get(ref, "blockOwnerDeletion")),
		};
	}
	*ret_count = count;
	return owners;
}

bool json_has_finalizer(const json_t *metadata, const char *finalizer)
{
	const json_t *list = json_object_get(metadata, "finalizers");
	for (size_t i = 0; i < json_array_size(list); i++)
		if (str_equal(json_string_value(json_array_get(list, i)), finalizer))
			return true;
	return false;
}

static void queue(struct gc *gc, const char *uid)
{
	reconciler_add(gc->r, NULL, uid);
}

static void queue_dependents(struct gc *gc, const struct gc_node *node)
{
	size_t pos = 0;
	for (struct map_entry *e; (e = map_next(&node->dependents, &pos));)
		queue(gc, e->key);
}

static bool refers_to(const struct owner_ref *owners, size_t count, const char *uid)
{
	for (size_t i = 0; i < count; i++)
		if (str_equal(owners[i].uid, uid))
			return true;
	return false;
}

/* An owner nobody has told us of yet: it may be on its way, or gone. The collector asks. */
static struct gc_node *add_virtual(struct gc *gc, const struct owner_ref *ref, const char *ns)
{
	struct gc_node *node = xnew(struct gc_node);
	node->uid = xstrdup(ref->uid);
	node->ns = xstrdup(str_or(ns, ""));
	node->name = xstrdup(ref->name);
	node->virtual_ = true;
	node->dependents = MAP_INIT(NULL);
	node->ref = (struct owner_ref){xstrdup(ref->api_version), xstrdup(ref->kind), xstrdup(ref->name), xstrdup(ref->uid), false};
	map_set(&gc->graph.nodes, node->uid, node);
	queue(gc, node->uid);
	return node;
}

/* Tells the owners, old and new, of their dependent. */
static void relink(struct gc *gc, struct gc_node *node, struct owner_ref *take_owners, size_t count)
{
	for (size_t i = 0; i < node->owner_count; i++) {
		if (refers_to(take_owners, count, node->owners[i].uid))
			continue;
		struct gc_node *owner = map_get(&gc->graph.nodes, node->owners[i].uid);
		if (!owner)
			continue;
		map_remove(&owner->dependents, node->uid);
		queue(gc, owner->uid); /* it may have waited for this one */
	}
	for (size_t i = 0; i < count; i++) {
		struct gc_node *owner = map_get(&gc->graph.nodes, take_owners[i].uid);
		if (!owner)
			owner = add_virtual(gc, &take_owners[i], node->ns);
		set_add(&owner->dependents, node->uid);
		if (owner->deleting)
			queue(gc, owner->foreground ? node->uid : owner->uid);
		/* An owner that no longer is blocked by this one wants to know. */
		if (owner->foreground && !take_owners[i].block)
			queue(gc, owner->uid);
	}
	owners_free(node->owners, node->owner_count);
	node->owners = take_owners;
	node->owner_count = count;
}

void graph_observe(struct gc *gc, struct discovered *resource, const json_t *metadata)
{
	const char *uid = json_string_value(json_object_get(metadata, "uid"));
	if (str_empty(uid))
		return;
	size_t owner_count;
	struct owner_ref *owners = owners_from_json(metadata, &owner_count);
	bool deleting = json_string_value(json_object_get(metadata, "deletionTimestamp")) != NULL;
	pthread_mutex_lock(&gc->graph.lock);
	struct gc_node *node = map_get(&gc->graph.nodes, uid);
	if (!node) {
		node = xnew(struct gc_node);
		node->uid = xstrdup(uid);
		node->dependents = MAP_INIT(NULL);
		map_set(&gc->graph.nodes, uid, node);
	}
	if (node->virtual_ || !node->name) {
		free(node->ns);
		free(node->name);
		node->ns = text_of(metadata, "namespace");
		node->name = text_of(metadata, "name");
		node->virtual_ = false;
		node->resource = resource;
		/* What referred to it by a wrong name or kind is judged anew. */
		queue_dependents(gc, node);
	}
	node->deleting = deleting;
	node->foreground = deleting && json_has_finalizer(metadata, FINALIZER_FOREGROUND);
	node->orphan = deleting && json_has_finalizer(metadata, FINALIZER_ORPHAN);
	relink(gc, node, owners, owner_count);
	if (node->foreground || node->orphan)
		queue(gc, uid);
	pthread_mutex_unlock(&gc->graph.lock);
}

void graph_forget(struct gc *gc, const char *uid)
{
	pthread_mutex_lock(&gc->graph.lock);
	struct gc_node *node = map_take(&gc->graph.nodes, uid);
	if (node) {
		queue_dependents(gc, node);
		relink(gc, node, NULL, 0);
		gc_node_free(node);
	}
	pthread_mutex_unlock(&gc->graph.lock);
}

struct gc_node *graph_copy(struct gc_graph *graph, const char *uid)
{
	struct gc_node *copy = NULL;
	pthread_mutex_lock(&graph->lock);
	const struct gc_node *node = map_get(&graph->nodes, uid);
	if (node) {
		copy = xnew(struct gc_node);
		*copy = (struct gc_node){
			.uid = xstrdup(node->uid),
			.ns = xstrdup(node->ns),
			.name = xstrdup(node->name),
			.resource = node->resource,
			.owner_count = node->owner_count,
			.deleting = node->deleting,
			.foreground = node->foreground,
			.orphan = node->orphan,
			.virtual_ = node->virtual_,
		};
		if (node->virtual_)
			copy->ref = (struct owner_ref){xstrdup(node->ref.api_version), xstrdup(node->ref.kind), xstrdup(node->ref.name),
				xstrdup(node->ref.uid), false};
		/* Only the number of owners matters to readers; the server is asked for the rest. */
		copy->owners = node->owner_count ? xcalloc(node->owner_count, sizeof(*copy->owners)) : NULL;
	}
	pthread_mutex_unlock(&graph->lock);
	return copy;
}

struct flag_list graph_dependents(struct gc_graph *graph, const char *uid, bool only_blocking)
{
	struct flag_list list = {0};
	size_t pos = 0;
	pthread_mutex_lock(&graph->lock);
	const struct gc_node *node = map_get(&graph->nodes, uid);
	for (struct map_entry *e; node && (e = map_next(&node->dependents, &pos));) {
		const struct gc_node *dependent = map_get(&graph->nodes, e->key);
		bool blocks = false;
		for (size_t i = 0; dependent && i < dependent->owner_count; i++)
			blocks |= dependent->owners[i].block && str_equal(dependent->owners[i].uid, uid);
		if (dependent && (blocks || !only_blocking))
			flag_list_add(&list, e->key);
	}
	pthread_mutex_unlock(&graph->lock);
	return list;
}
