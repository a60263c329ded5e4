/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The world as a controller sees it: a cache to read and an API to write. Reconcilers take nothing else, so a test gives them
 * a world of its own (test/unit/controller-manager/fake_world.h) and looks at what they wrote.
 */
#ifndef CORACLE_CONTROLLER_MANAGER_WORLD_H
#define CORACLE_CONTROLLER_MANAGER_WORLD_H

#include "common/api/api.h"
#include "common/client/client.h"
#include "common/client/informer.h"

/* What the shared cache may hold. Informers run only for those that a running controller watches or reads (rows in world.c). */
enum cached {
	CACHED_NONE,
	CACHED_PODS,
	CACHED_NODES,
	CACHED_NAMESPACES,
	CACHED_SERVICES,
	CACHED_ENDPOINTS,
	CACHED_ENDPOINT_SLICES,
	CACHED_REPLICATION_CONTROLLERS,
	CACHED_SERVICE_ACCOUNTS,
	CACHED_SECRETS,
	CACHED_ROOT_CA_CONFIG_MAPS,
	CACHED_CONFIG_MAPS,
	CACHED_CLUSTER_INFO, /* ConfigMap kube-public/cluster-info */
	CACHED_RESOURCE_QUOTAS,
	CACHED_PERSISTENT_VOLUMES,
	CACHED_PERSISTENT_VOLUME_CLAIMS,
	CACHED_DEPLOYMENTS,
	CACHED_REPLICA_SETS,
	CACHED_STATEFUL_SETS,
	CACHED_DAEMON_SETS,
	CACHED_CONTROLLER_REVISIONS,
	CACHED_JOBS,
	CACHED_CRON_JOBS,
	CACHED_LEASES,
	CACHED_POD_DISRUPTION_BUDGETS,
	CACHED_HORIZONTAL_POD_AUTOSCALERS,
	CACHED_CERTIFICATE_SIGNING_REQUESTS,
	CACHED_CLUSTER_ROLES,
	CACHED_SERVICE_CIDRS,
	CACHED_IP_ADDRESSES,
	CACHED_STORAGE_CLASSES,
	CACHED_VOLUME_ATTACHMENTS,
	CACHED_VALIDATING_ADMISSION_POLICIES,
	CACHED_VOLUME_ATTRIBUTES_CLASSES,
	CACHED_RESOURCE_CLAIMS,
	CACHED_RESOURCE_CLAIM_TEMPLATES,
	CACHED_RESOURCE_SLICES,
	CACHED_COUNT,
};

enum write_verb { WRITE_CREATE, WRITE_UPDATE, WRITE_PATCH, WRITE_DELETE };

struct write {
	enum write_verb verb;
	const struct api_resource *resource;
	const char *ns, *name, *subresource;
	const void *object;                /* of create and update */
	const char *content_type, *patch;  /* of patch */
	const char *manager;               /* of a patch that is applied server-side; NULL for every other */
	struct client_delete_options delete_options;
};

struct world;
struct world_ops {
	/* References, as informers give them. index NULL: everything. */
	void *(*find)(struct world *world, enum cached what, const char *ns, const char *name);
	void (*list)(struct world *world, enum cached what, const char *index, const char *value, struct informer_list *ret);
	/* informer_last_beat. NULL: the cache shows every change. */
	bool (*last_beat)(struct world *world, enum cached what, const char *ns, const char *name, struct informer_beat *ret);
	/* The highest resourceVersion the cache of `what` has seen. */
	uint64_t (*version)(struct world *world, enum cached what);
	/* Past the cache, from the server. */
	int (*get)(struct world *world, const struct api_resource *resource, const char *ns, const char *name, void **ret, struct error *err);
	int (*write)(struct world *world, const struct write *write, void **ret, struct error *err);
	/* Any other request: discovery, resources without a type. */
	int (*request)(struct world *world, const struct client_request *request, struct buf *body, int *ret_status, struct error *err);
	void (*event)(struct world *world, const char *component, const void *object, const char *type, const char *reason, const char *message);
	/* Random characters for a generated name; NULL: random_name_suffix. */
	void (*name_suffix)(struct world *world, char *out, size_t len);
};

struct settings; /* settings.h */
struct world {
	const struct world_ops *ops;
	const struct settings *settings;
	unsigned batch_threads; /* at most so many threads make the writes of one batch (slow_start); 0 or 1: none of their own */
};

#define INDEX_OWNER "owner"   /* uid of the controlling owner, or "orphan/<namespace>" */
#define INDEX_NODE "node"     /* spec.nodeName of pods */
#define INDEX_CLAIM "claim"     /* "<namespace>/<name>" of each ResourceClaim a pod names, or that its status names; "template/<namespace>/<name>" of a template */
#define INDEX_POOL "pool"       /* "<driver>/<pool>" of a ResourceSlice, and of each device that a ResourceClaim holds */
#define INDEX_SERVICE "service" /* "<namespace>/<name>" of the service an EndpointSlice belongs to */

/* The resource behind a cache. Never NULL. */
const struct api_resource *cached_resource(enum cached what);
/* The informer's options for a cache; NULL: none. */
const struct informer_options *cached_options(enum cached what);
/* Adds this cache's indexes to its informer. */
void cached_add_indexes(enum cached what, struct informer *informer);
void index_claims(const void *object, void (*emit)(const char *value, void *emit_arg), void *emit_arg);
void index_pools(const void *object, void (*emit)(const char *value, void *emit_arg), void *emit_arg);
void index_owner(const void *object, void (*emit)(const char *value, void *emit_arg), void *emit_arg);
void index_service(const void *object, void (*emit)(const char *value, void *emit_arg), void *emit_arg);

/* ---- reading: results are references ---- */
void *world_find(struct world *world, enum cached what, const char *ns, const char *name);
void world_list_all(struct world *world, enum cached what, struct informer_list *ret);
void world_list_namespace(struct world *world, enum cached what, const char *ns, struct informer_list *ret);
void world_list_index(struct world *world, enum cached what, const char *index, const char *value, struct informer_list *ret);
bool world_last_beat(struct world *world, enum cached what, const char *ns, const char *name, struct informer_beat *ret);
uint64_t world_version(struct world *world, enum cached what);
int world_get(struct world *world, enum cached what, const char *ns, const char *name, void **ret, struct error *err);

/* ---- writing: ret may be NULL; namespace and name are the object's own ---- */
int world_create(struct world *world, enum cached what, const void *object, void **ret, struct error *err);
int world_update(struct world *world, enum cached what, const void *object, void **ret, struct error *err);
int world_update_status(struct world *world, enum cached what, const void *object, void **ret, struct error *err);
/* Writes the owner references and finalizers of a changed copy, and nothing else: the copy may hold only a part of the object. */
int world_update_metadata(struct world *world, enum cached what, const void *changed, void **ret, struct error *err);
int world_merge_patch(struct world *world, enum cached what, const char *ns, const char *name, const char *subresource, const char *patch, struct error *err);
/* Applies this status, of a cluster-wide object, server-side in the name of `manager`: of the fields that others hold it takes those that it names. */
int world_apply_status(struct world *world, enum cached what, const char *name, const char *manager, const struct api_type *type, const void *status, struct error *err);
/* With the uid as precondition; an object that is gone already is success. propagation and options may be NULL. */
int world_delete(struct world *world, enum cached what, const void *object, const char *propagation, struct error *err);
/* True where a failed write may have been done all the same: its answer was lost, or the server did not know itself. */
bool write_is_uncertain(const struct error *err);
int world_write(struct world *world, const struct write *write, void **ret, struct error *err);

void world_event(struct world *world, const char *component, const void *object, const char *type, const char *reason, const char *fmt, ...)
	printf_like(6, 7);
#define EVENT_NORMAL "Normal"
#define EVENT_WARNING "Warning"

/* The numeric resourceVersion of an object; 0 where it has none. */
uint64_t object_version(const void *object);

#endif
