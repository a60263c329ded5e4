/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The garbage collector: a graph of who owns whom, fed by one metadata watch for each resource that discovery names (monitor.c), kept in
 * memory (graph.c), and the collector that asks the server before it deletes (collector.c).
 */
#ifndef CORACLE_CONTROLLER_MANAGER_GC_H
#define CORACLE_CONTROLLER_MANAGER_GC_H

#include "controller-manager/controller.h"
#include "controller-manager/shared/discovery.h"

#include <jansson.h>
#include <pthread.h>

#define FINALIZER_FOREGROUND "foregroundDeletion"
#define FINALIZER_ORPHAN "orphan"
#define DISCOVERY_KEY "discovery" /* not a uid: look for new resources */

struct owner_ref {
	char *api_version, *kind, *name, *uid;
	bool block;
};

/* One object, by what matters to ownership, as readers of the graph get it. */
struct gc_node {
	char *uid, *ns, *name;
	struct discovered *resource; /* shared, lives as long as the collector; NULL for a virtual node */
	size_t owner_count;
	bool deleting, foreground, orphan;
	bool virtual_;         /* known only by references to it: ref says how it is called */
	bool absent;           /* virtual, and known to be gone for good: uids do not come again */
	struct owner_ref ref;
};

struct gc_vertex;
struct gc_graph {
	pthread_mutex_t lock;
	struct gc_vertex **slots; /* by uid */
	size_t count, cap;        /* cap is a power of two */
	struct map namespaces;    /* name -> count of vertices */
};

struct monitor;
struct gc {
	struct gc_graph graph;
	struct reconciler *_Atomic r;
	pthread_mutex_t lock;      /* guards monitors and resources */
	struct monitor **monitors;
	size_t monitor_count;
	bool refreshed;            /* discovery has been read once */
	struct discovered **resources; /* every one ever seen, never freed before the end */
	size_t resource_count;
	/* Those that shared caches tell of (sources.c), so that no watch of their own is needed: of one namespace, or of all (NULL). */
	struct fed {
		struct discovered *resource;
		const struct api_type *type;
		const char *ns;
		enum cached what;
	} fed[CACHED_COUNT];
	size_t fed_count;
};

/* ---- graph.c: thread safe ---- */
void graph_init(struct gc_graph *graph);
void graph_done(struct gc_graph *graph);
/* Takes in what a watch says of one object. Queues what has to be looked at again. */
void graph_observe(struct gc *gc, struct discovered *resource, const json_t *metadata);
/* The object is gone. */
void graph_forget(struct gc *gc, const char *uid);
/* The same from an object of an informer. */
void graph_observe_object(struct gc *gc, struct discovered *resource, const void *object);
/* Marks an object as listed in this round, and forgets those of the resource that were not. A resource's rounds count up from 1. */
void graph_mark(struct gc *gc, const char *uid, uint32_t round);
/* but_ns: a namespace that is left out; NULL: none. absent: they are gone; else nobody can tell. */
void graph_forget_unlisted(struct gc *gc, const struct discovered *resource, const char *but_ns, uint32_t round, bool absent);
/* The server has no object of this uid. */
void graph_mark_absent(struct gc *gc, const char *uid);
/* A private copy of a node, without its dependents; NULL: not known. */
struct gc_node *graph_copy(struct gc_graph *graph, const char *uid);
void gc_node_free(struct gc_node *node);
/* Uids of dependents; only those that block their owner's deletion, where asked. */
struct flag_list graph_dependents(struct gc_graph *graph, const char *uid, bool only_blocking);
/* Reads ownerReferences of an object's metadata. */
struct owner_ref *owners_from_json(const json_t *metadata, size_t *ret_count);
void owners_free(struct owner_ref *owners, size_t count);
bool json_has_finalizer(const json_t *metadata, const char *finalizer);

/* ---- sources.c ---- */
/* The controller's watches of shared caches. */
extern const struct controller_watch gc_watches[];
/* Notes what they tell of. Before the first of them does. */
void sources_init(struct gc *gc);
/* What of this resource a monitor need not watch: *ret_ns NULL: all. False: it is told of by nobody. */
bool sources_feed(const struct gc *gc, const struct discovered *resource, const char **ret_ns);
/* What a shared cache has of a node, a reference; NULL: nothing, or no cache holds its resource. */
void *sources_find(struct gc *gc, const struct gc_node *node);
/* The resource as the collector knows it; adds it where it is new. The lock is held, or nobody else is there yet. */
struct discovered *gc_keep_resource(struct gc *gc, const struct discovered *resource);

/* ---- monitor.c ---- */
/* Starts watching resources that are new, stops those that are gone. Without a client (r->client NULL) it only learns of them: who made the
 * reconciler feeds the graph. */
int monitors_refresh(struct gc *gc, struct error *err);
void monitors_stop(struct gc *gc);
bool monitors_synced(struct gc *gc);
/* The resource of a kind, or NULL. Lives as long as the collector. */
struct discovered *gc_resource_of_kind(struct gc *gc, const char *api_version, const char *kind);

#endif
