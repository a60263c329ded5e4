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

/* One object, by what matters to ownership. */
struct gc_node {
	char *uid, *ns, *name;
	struct discovered *resource; /* shared, lives as long as the collector; NULL for a virtual node */
	struct owner_ref *owners;
	size_t owner_count;
	struct map dependents; /* uids */
	bool deleting, foreground, orphan;
	bool virtual_;         /* known only by references to it: ref says how it is called */
	struct owner_ref ref;
};

struct gc_graph {
	pthread_mutex_t lock;
	struct map nodes; /* struct gc_node by uid */
};

struct monitor;
struct gc {
	struct gc_graph graph;
	struct reconciler *r;
	pthread_mutex_t lock;      /* guards monitors and resources */
	struct monitor **monitors;
	size_t monitor_count;
	struct discovered **resources; /* every one ever seen, never freed before the end */
	size_t resource_count;
};

/* ---- graph.c: thread safe ---- */
void graph_init(struct gc_graph *graph);
void graph_done(struct gc_graph *graph);
/* Takes in what a watch says of one object. Queues what has to be looked at again. */
void graph_observe(struct gc *gc, struct discovered *resource, const json_t *metadata);
void graph_forget(struct gc *gc, const char *uid);
/* A private copy of a node, without its dependents; NULL: not known. */
struct gc_node *graph_copy(struct gc_graph *graph, const char *uid);
void gc_node_free(struct gc_node *node);
/* Uids of dependents; only those that block their owner's deletion, where asked. */
struct flag_list graph_dependents(struct gc_graph *graph, const char *uid, bool only_blocking);
/* Reads ownerReferences of an object's metadata. */
struct owner_ref *owners_from_json(const json_t *metadata, size_t *ret_count);
void owners_free(struct owner_ref *owners, size_t count);
bool json_has_finalizer(const json_t *metadata, const char *finalizer);

/* ---- monitor.c ---- */
/* Starts watching resources that are new, stops those that are gone. Without a client (r->client NULL) it only learns of them: who made the
 * reconciler feeds the graph. */
int monitors_refresh(struct gc *gc, struct error *err);
void monitors_stop(struct gc *gc);
bool monitors_synced(struct gc *gc);
/* The resource of a kind, or NULL. Lives as long as the collector. */
struct discovered *gc_resource_of_kind(struct gc *gc, const char *api_version, const char *kind);

#endif
