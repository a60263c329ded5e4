/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every object of the cluster is a vertex here, so a vertex is small: one block that holds its uid and name, pointers to owners and dependents, and a
 * namespace that it shares with the others of it. An edge is a link at the dependent and a dependent at the owner, which know each other's place:
 *
 *	dependent->links[i] = {owner, j}        owner->dependents[j] = {dependent, i}
 */
#include "controller-manager/gc/gc.h"

#include "api/meta_v1.h"

#define FIRST_SLOTS 256

struct link {
	struct gc_vertex *owner;
	uint32_t at; /* in the owner's dependents */
	bool block;
};

struct dependent {
	struct gc_vertex *vertex;
	uint32_t link; /* in its links */
};

struct gc_vertex {
	struct discovered *resource;
	const char *ns;         /* key of graph->namespaces; NULL: cluster-scoped */
	const char *name;       /* in text */
	struct owner_ref *ref;  /* of a virtual one: how it was called */
	struct link *links;
	struct dependent *dependents;
	uint32_t link_count, dependent_count, dependent_cap;
	uint32_t hash, round;
	bool deleting, foreground, orphan, virtual_, absent;
	char text[];            /* uid, NUL, name, NUL */
};

/* ---- the table of vertices; the lock is held ---- */

static uint32_t hash_of(const char *uid)
{
	return (uint32_t)hash_bytes(uid, strlen(uid));
}

static size_t slot_of(const struct gc_graph *graph, const char *uid, uint32_t hash)
{
	size_t at = hash & (graph->cap - 1);
	while (graph->slots[at] && (graph->slots[at]->hash != hash || strcmp(graph->slots[at]->text, uid) != 0))
		at = (at + 1) & (graph->cap - 1);
	return at;
}

static struct gc_vertex *find(const struct gc_graph *graph, const char *uid)
{
	return graph->slots[slot_of(graph, uid, hash_of(uid))];
}

static void grow(struct gc_graph *graph)
{
	struct gc_vertex **old = graph->slots;
	size_t old_cap = graph->cap;
	graph->cap *= 2;
	graph->slots = xcalloc(graph->cap, sizeof(*graph->slots));
	for (size_t i = 0; i < old_cap; i++)
		if (old[i])
			graph->slots[slot_of(graph, old[i]->text, old[i]->hash)] = old[i];
	free(old);
}

static void put(struct gc_graph *graph, struct gc_vertex *vertex)
{
	if ((graph->count + 1) * 4 > graph->cap * 3)
		grow(graph);
	graph->slots[slot_of(graph, vertex->text, vertex->hash)] = vertex;
	graph->count++;
}

/* What stood behind it moves up, so that no search ends too early. */
static void take_out(struct gc_graph *graph, const struct gc_vertex *vertex)
{
	size_t mask = graph->cap - 1, hole = slot_of(graph, vertex->text, vertex->hash);
	graph->slots[hole] = NULL;
	graph->count--;
	for (size_t at = (hole + 1) & mask; graph->slots[at]; at = (at + 1) & mask) {
		size_t home = graph->slots[at]->hash & mask;
		if (((at - home) & mask) < ((at - hole) & mask))
			continue;
		graph->slots[hole] = graph->slots[at];
		graph->slots[at] = NULL;
		hole = at;
	}
}

/* ---- vertices ---- */

struct namespace {
	size_t users;
	char name[];
};

static const char *share_namespace(struct gc_graph *graph, const char *name)
{
	if (str_empty(name))
		return NULL;
	struct namespace *ns = map_get(&graph->namespaces, name);
	if (!ns) {
		size_t len = strlen(name) + 1;
		ns = xcalloc(1, sizeof(*ns) + len);
		memcpy(ns->name, name, len);
		map_set(&graph->namespaces, name, ns);
	}
	ns->users++;
	return ns->name;
}

static void leave_namespace(struct gc_graph *graph, const char *name)
{
	struct namespace *ns = name ? map_get(&graph->namespaces, name) : NULL;
	if (ns && --ns->users == 0) {
		map_take(&graph->namespaces, name);
		free(ns);
	}
}

static struct gc_vertex *vertex_new(struct gc_graph *graph, const char *uid, const char *ns, const char *name)
{
	size_t uid_size = strlen(uid) + 1, name_size = strlen(name) + 1;
	struct gc_vertex *vertex = xcalloc(1, sizeof(*vertex) + uid_size + name_size);
	memcpy(vertex->text, uid, uid_size);
	memcpy(vertex->text + uid_size, name, name_size);
	vertex->name = vertex->text + uid_size;
	vertex->hash = hash_of(uid);
	vertex->ns = share_namespace(graph, ns);
	put(graph, vertex);
	return vertex;
}

static void ref_done(struct owner_ref *ref)
{
	free(ref->api_version);
	free(ref->kind);
	free(ref->name);
	free(ref->uid);
}

static void ref_free(struct owner_ref *ref)
{
	if (ref)
		ref_done(ref);
	free(ref);
}

/* Frees only what is its own; it is in no edge and not in the table any more. */
static void vertex_free(struct gc_graph *graph, struct gc_vertex *vertex)
{
	leave_namespace(graph, vertex->ns);
	ref_free(vertex->ref);
	free(vertex->links);
	free(vertex->dependents);
	free(vertex);
}

void graph_init(struct gc_graph *graph)
{
	*graph = (struct gc_graph){.cap = FIRST_SLOTS, .namespaces = MAP_INIT(free)};
	graph->slots = xcalloc(graph->cap, sizeof(*graph->slots));
	pthread_mutex_init(&graph->lock, NULL);
}

void graph_done(struct gc_graph *graph)
{
	for (size_t i = 0; i < graph->cap; i++)
		if (graph->slots[i])
			vertex_free(graph, graph->slots[i]);
	free(graph->slots);
	map_done(&graph->namespaces);
	pthread_mutex_destroy(&graph->lock);
}

/* ---- edges ---- */

static void queue(struct gc *gc, const char *uid)
{
	reconciler_add(gc->r, NULL, uid);
}

static void queue_dependents(struct gc *gc, const struct gc_vertex *vertex)
{
	for (uint32_t i = 0; i < vertex->dependent_count; i++)
		queue(gc, vertex->dependents[i].vertex->text);
}

static void link_up(struct gc_vertex *vertex, uint32_t link, struct gc_vertex *owner, bool block)
{
	if (owner->dependent_count == owner->dependent_cap) {
		owner->dependent_cap = owner->dependent_cap ? owner->dependent_cap * 2 : 1;
		owner->dependents = xreallocarray(owner->dependents, owner->dependent_cap, sizeof(*owner->dependents));
	}
	vertex->links[link] = (struct link){.owner = owner, .at = owner->dependent_count, .block = block};
	owner->dependents[owner->dependent_count++] = (struct dependent){.vertex = vertex, .link = link};
}

/* The owner's last dependent takes the place that becomes free. */
static void link_down(struct gc_vertex *vertex, uint32_t link)
{
	struct gc_vertex *owner = vertex->links[link].owner;
	uint32_t at = vertex->links[link].at, last = --owner->dependent_count;
	owner->dependents[at] = owner->dependents[last];
	owner->dependents[at].vertex->links[owner->dependents[at].link].at = at;
	if (owner->dependent_count * 4 < owner->dependent_cap) {
		owner->dependent_cap /= 2;
		owner->dependents = xreallocarray(owner->dependents, max_of(owner->dependent_cap, 1u), sizeof(*owner->dependents));
		owner->dependent_cap = max_of(owner->dependent_cap, 1u);
	}
}

static void remove_vertex(struct gc_graph *graph, struct gc_vertex *vertex)
{
	take_out(graph, vertex);
	vertex_free(graph, vertex);
}

/* An owner nobody has told us of yet: it may be on its way, or gone. The collector asks. */
static struct gc_vertex *add_virtual(struct gc *gc, const struct owner_ref *ref, const char *ns)
{
	struct gc_vertex *vertex = vertex_new(&gc->graph, ref->uid, ns, ref->name);
	vertex->virtual_ = true;
	vertex->ref = xnew(struct owner_ref);
	*vertex->ref = (struct owner_ref){xstrdup(ref->api_version), xstrdup(ref->kind), xstrdup(ref->name), xstrdup(ref->uid), false};
	queue(gc, vertex->text);
	return vertex;
}

static bool refers_to(const struct owner_ref *owners, size_t count, const char *uid)
{
	for (size_t i = 0; i < count; i++)
		if (str_equal(owners[i].uid, uid))
			return true;
	return false;
}

static bool links_are(const struct gc_vertex *vertex, const struct owner_ref *owners, size_t count)
{
	if (vertex->link_count != count)
		return false;
	for (size_t i = 0; i < count; i++)
		if (!str_equal(vertex->links[i].owner->text, owners[i].uid) || vertex->links[i].block != owners[i].block)
			return false;
	return true;
}

/* Whether the owner is what the reference calls it: of that kind and name, and in the namespace of its dependent or in none. */
static bool answers_to(const struct gc_vertex *owner, const struct owner_ref *ref, const struct gc_vertex *dependent)
{
	const struct discovered *d = owner->resource;
	size_t group_len = strlen(d->group);
	bool group = group_len ? strncmp(ref->api_version, d->group, group_len) == 0 && ref->api_version[group_len] == '/' : !strchr(ref->api_version, '/');
	return group && str_equal(d->kind, ref->kind) && str_equal(owner->name, ref->name) && (!owner->ns || str_equal(owner->ns, dependent->ns));
}

/* Tells the owners, old and new, of their dependent. */
static void relink(struct gc *gc, struct gc_vertex *vertex, const struct owner_ref *owners, size_t count)
{
	if (!links_are(vertex, owners, count)) {
		struct link *old = vertex->links;
		uint32_t old_count = vertex->link_count;
		for (uint32_t i = 0; i < old_count; i++)
			link_down(vertex, i);
		vertex->links = count ? xcalloc(count, sizeof(*vertex->links)) : NULL;
		vertex->link_count = 0;
		for (size_t i = 0; i < count; i++) {
			struct gc_vertex *owner = find(&gc->graph, owners[i].uid);
			if (owner && owner->virtual_)
				queue(gc, owner->text);
			else if (owner && !answers_to(owner, &owners[i], vertex))
				queue(gc, vertex->text); /* what it refers to is not there, though the uid is */
			link_up(vertex, vertex->link_count++, owner ? owner : add_virtual(gc, &owners[i], vertex->ns), owners[i].block);
		}
		for (uint32_t i = 0; i < old_count; i++) {
			struct gc_vertex *owner = old[i].owner;
			if (refers_to(owners, count, owner->text))
				continue;
			queue(gc, owner->text); /* it may have waited for this one */
			if (owner->virtual_ && !owner->dependent_count)
				remove_vertex(&gc->graph, owner);
		}
		free(old);
	}
	for (uint32_t i = 0; i < vertex->link_count; i++) {
		const struct gc_vertex *owner = vertex->links[i].owner;
		if (owner->deleting)
			queue(gc, owner->foreground ? vertex->text : owner->text);
		/* An owner that no longer is blocked by this one wants to know. */
		if (owner->foreground && !vertex->links[i].block)
			queue(gc, owner->text);
	}
}

/* The same uid under the name the server gives it; its dependents are told. */
static struct gc_vertex *make_real(struct gc *gc, struct gc_vertex *old, const char *ns, const char *name, struct discovered *resource)
{
	struct gc_graph *graph = &gc->graph;
	autofree char *uid = xstrdup(old->text);
	take_out(graph, old);
	struct gc_vertex *vertex = vertex_new(graph, uid, ns, name);
	vertex->resource = resource;
	vertex->dependents = take_ptr(old->dependents);
	vertex->dependent_count = old->dependent_count;
	vertex->dependent_cap = old->dependent_cap;
	for (uint32_t i = 0; i < vertex->dependent_count; i++)
		vertex->dependents[i].vertex->links[vertex->dependents[i].link].owner = vertex;
	vertex_free(graph, old);
	/* What referred to it by a wrong name or kind is judged anew. */
	queue_dependents(gc, vertex);
	return vertex;
}

/* ---- what is told of objects ---- */

struct observed {
	const char *uid, *ns, *name;
	const struct owner_ref *owners;
	size_t owner_count;
	bool deleting, foreground, orphan;
};

static void take_in(struct gc *gc, struct discovered *resource, const struct observed *o)
{
	pthread_mutex_lock(&gc->graph.lock);
	struct gc_vertex *vertex = find(&gc->graph, o->uid);
	if (!vertex) {
		vertex = vertex_new(&gc->graph, o->uid, o->ns, o->name);
		vertex->resource = resource;
	} else if (vertex->virtual_) {
		vertex = make_real(gc, vertex, o->ns, o->name, resource);
	}
	vertex->deleting = o->deleting;
	vertex->foreground = o->deleting && o->foreground;
	vertex->orphan = o->deleting && o->orphan;
	relink(gc, vertex, o->owners, o->owner_count);
	if (vertex->foreground || vertex->orphan)
		queue(gc, vertex->text);
	pthread_mutex_unlock(&gc->graph.lock);
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

void owners_free(struct owner_ref *owners, size_t count)
{
	for (size_t i = 0; i < count; i++)
		ref_done(&owners[i]);
	free(owners);
}

bool json_has_finalizer(const json_t *metadata, const char *finalizer)
{
	const json_t *list = json_object_get(metadata, "finalizers");
	for (size_t i = 0; i < json_array_size(list); i++)
		if (str_equal(json_string_value(json_array_get(list, i)), finalizer))
			return true;
	return false;
}

void graph_observe(struct gc *gc, struct discovered *resource, const json_t *metadata)
{
	struct observed o = {
		.uid = json_string_value(json_object_get(metadata, "uid")),
		.ns = json_string_value(json_object_get(metadata, "namespace")),
		.name = str_or(json_string_value(json_object_get(metadata, "name")), ""),
		.deleting = json_string_value(json_object_get(metadata, "deletionTimestamp")) != NULL,
		.foreground = json_has_finalizer(metadata, FINALIZER_FOREGROUND),
		.orphan = json_has_finalizer(metadata, FINALIZER_ORPHAN),
	};
	if (str_empty(o.uid))
		return;
	struct owner_ref *owners = owners_from_json(metadata, &o.owner_count);
	o.owners = owners;
	take_in(gc, resource, &o);
	owners_free(owners, o.owner_count);
}

void graph_observe_object(struct gc *gc, struct discovered *resource, const void *object)
{
	const struct meta_v1_object_meta *meta = api_metadata(object);
	autofree struct owner_ref *owners = xcalloc(meta->owner_references.len, sizeof(*owners));
	struct observed o = {
		.uid = meta->uid,
		.ns = meta->namespace,
		.name = str_or(meta->name, ""),
		.owners = owners,
		.owner_count = meta->owner_references.len,
		.deleting = meta->deletion_timestamp.set,
		.foreground = api_string_list_has(&meta->finalizers, FINALIZER_FOREGROUND),
		.orphan = api_string_list_has(&meta->finalizers, FINALIZER_ORPHAN),
	};
	if (str_empty(o.uid))
		return;
	for (size_t i = 0; i < o.owner_count; i++) {
		const struct meta_v1_owner_reference *ref = &meta->owner_references.items[i];
		/* Borrowed: take_in copies what it keeps. */
		owners[i] = (struct owner_ref){(char *)str_or(ref->api_version, ""), (char *)str_or(ref->kind, ""), (char *)str_or(ref->name, ""), (char *)str_or(ref->uid, ""),
			ref->block_owner_deletion && *ref->block_owner_deletion};
	}
	take_in(gc, resource, &o);
}

/*
 * The lock is held. One that still has dependents lives on as a virtual one: they go on referring to it. Absent: it is known to be gone for good, or else
 * the server will be asked.
 */
static void drop(struct gc *gc, struct gc_vertex *vertex, bool absent)
{
	queue_dependents(gc, vertex);
	relink(gc, vertex, NULL, 0);
	if (!vertex->dependent_count) {
		remove_vertex(&gc->graph, vertex);
		return;
	}
	if (!vertex->ref) {
		const struct discovered *d = vertex->resource;
		vertex->ref = xnew(struct owner_ref);
		*vertex->ref = (struct owner_ref){.api_version = *d->group ? xprintf("%s/%s", d->group, d->version) : xstrdup(d->version), .kind = xstrdup(d->kind),
			.name = xstrdup(vertex->name), .uid = xstrdup(vertex->text)};
	}
	vertex->resource = NULL;
	vertex->virtual_ = true;
	vertex->absent |= absent;
	vertex->deleting = vertex->foreground = vertex->orphan = false;
}

static void forget(struct gc *gc, const char *uid, bool absent)
{
	pthread_mutex_lock(&gc->graph.lock);
	struct gc_vertex *vertex = find(&gc->graph, uid);
	if (vertex)
		drop(gc, vertex, absent);
	pthread_mutex_unlock(&gc->graph.lock);
}

void graph_forget(struct gc *gc, const char *uid)
{
	forget(gc, uid, true);
}

void graph_mark_absent(struct gc *gc, const char *uid)
{
	pthread_mutex_lock(&gc->graph.lock);
	struct gc_vertex *vertex = find(&gc->graph, uid);
	if (vertex && vertex->virtual_)
		vertex->absent = true;
	pthread_mutex_unlock(&gc->graph.lock);
}

void graph_mark(struct gc *gc, const char *uid, uint32_t round)
{
	pthread_mutex_lock(&gc->graph.lock);
	struct gc_vertex *vertex = find(&gc->graph, uid);
	if (vertex)
		vertex->round = round;
	pthread_mutex_unlock(&gc->graph.lock);
}

void graph_forget_unlisted(struct gc *gc, const struct discovered *resource, const char *but_ns, uint32_t round, bool absent)
{
	struct flag_list gone = {0};
	pthread_mutex_lock(&gc->graph.lock);
	for (size_t i = 0; i < gc->graph.cap; i++) {
		const struct gc_vertex *vertex = gc->graph.slots[i];
		if (vertex && vertex->resource == resource && vertex->round != round && !(but_ns && str_equal(vertex->ns, but_ns)))
			flag_list_add(&gone, vertex->text);
	}
	pthread_mutex_unlock(&gc->graph.lock);
	for (size_t i = 0; i < gone.len; i++)
		forget(gc, gone.items[i], absent);
	flag_list_done(&gone);
}

/* ---- for readers ---- */

struct gc_node *graph_copy(struct gc_graph *graph, const char *uid)
{
	struct gc_node *copy = NULL;
	pthread_mutex_lock(&graph->lock);
	const struct gc_vertex *vertex = find(graph, uid);
	if (vertex) {
		copy = xnew(struct gc_node);
		*copy = (struct gc_node){
			.uid = xstrdup(vertex->text),
			.ns = xstrdup(str_or(vertex->ns, "")),
			.name = xstrdup(vertex->name),
			.resource = vertex->resource,
			.owner_count = vertex->link_count,
			.deleting = vertex->deleting,
			.foreground = vertex->foreground,
			.orphan = vertex->orphan,
			.virtual_ = vertex->virtual_,
			.absent = vertex->virtual_ && vertex->absent,
		};
		if (vertex->virtual_)
			copy->ref = (struct owner_ref){xstrdup(vertex->ref->api_version), xstrdup(vertex->ref->kind), xstrdup(vertex->ref->name), xstrdup(vertex->ref->uid), false};
	}
	pthread_mutex_unlock(&graph->lock);
	return copy;
}

void gc_node_free(struct gc_node *node)
{
	if (!node)
		return;
	free(node->uid);
	free(node->ns);
	free(node->name);
	ref_done(&node->ref);
	free(node);
}

struct flag_list graph_dependents(struct gc_graph *graph, const char *uid, bool only_blocking)
{
	struct flag_list list = {0};
	pthread_mutex_lock(&graph->lock);
	const struct gc_vertex *vertex = find(graph, uid);
	for (uint32_t i = 0; vertex && i < vertex->dependent_count; i++) {
		const struct dependent *d = &vertex->dependents[i];
		if (!only_blocking || d->vertex->links[d->link].block)
			flag_list_add(&list, d->vertex->text);
	}
	pthread_mutex_unlock(&graph->lock);
	return list;
}
