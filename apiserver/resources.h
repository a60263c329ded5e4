/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The resources that are served: the rows of common/api joined with their strategy and their collection in the store.
 * A resource once registered is never freed, so a pointer to one stays good; a custom resource that goes away is marked.
 */
#ifndef CORACLE_APISERVER_RESOURCES_H
#define CORACLE_APISERVER_RESOURCES_H

#include "apiserver/storage/store.h"
#include "common/api/api.h"
#include "common/base/map.h"

struct strategy;
struct apiserver;

struct resource {
	const struct api_resource *api;
	const struct api_type *type;         /* of the served version */
	const struct api_type *storage_type; /* what the store's JSON holds */
	const struct strategy *strategy;
	struct collection *collection;       /* NULL: nothing is stored (reviews) */
	const char *group_resource;          /* "deployments.apps", "pods": as messages say it */
	const char *etcd_prefix;
	struct custom_resource *custom;      /* NULL for built-in kinds */
	bool removed;                        /* atomic */
};

struct registry;
/* Registers every enabled built-in resource and opens its collection. */
struct registry *registry_new(struct apiserver *server);
void registry_free(struct registry *registry);
/* NULL where not served. Thread safe. */
const struct resource *registry_find(struct registry *registry, const char *group, const char *version, const char *plural);
/* The preferred version's. */
const struct resource *registry_find_any(struct registry *registry, const char *group, const char *plural);
const struct resource *registry_by_kind(struct registry *registry, const char *group, const char *version, const char *kind);
/* True where some resource of this group and version (NULL: any) is served. */
bool registry_has_group(struct registry *registry, const char *group, const char *version);
/* True where some resource of this group is of the tables, in whatever version. */
bool registry_has_built_in_group(struct registry *registry, const char *group);
/* Grows with every change of what is served. */
uint64_t registry_generation(struct registry *registry);
/* Calls fn for every resource served, in the order of the tables. */
void registry_each(struct registry *registry, void (*fn)(const struct resource *resource, void *arg), void *arg);
/* Adds one; it replaces an earlier one of the same group, version and plural. Takes ownership. */
void registry_add(struct registry *registry, struct resource *resource);
void registry_remove(struct registry *registry, const char *group, const char *version, const char *plural);

/* "pods", "deployments.apps" */
static inline const char *resource_group(const struct resource *resource) {
	return resource->api->group ? resource->api->group : "";
}

/* ---- objects of a resource ---- */

/* What an entry holds, in the resource's own version; the caller unrefs. */
int resource_decode(const struct resource *resource, const struct entry *entry, void **ret_object, struct error *err);
/* The stored form, without resourceVersion. The object is as before afterwards. */
int resource_encode_stored(const struct resource *resource, void *object, struct buf *out, struct error *err);
/* What etcd holds of a resource of the tables. */
const struct api_type *resource_storage_type(const struct api_resource *api);
/* An object of its storage type; with the resourceVersion that it has. */
void resource_encode_as_stored(const char *group, bool custom, const void *object, struct buf *out);
/* What another API server has stored, as it is stored here (translate.c): 1 where ret holds it, 0 where the value is in that form already. */
int resource_translate(const void *value, size_t len, struct buf *ret, struct error *err);
/* True where the stored JSON is what clients of this version get. */
bool resource_is_identity(const struct resource *resource);
/* The key in its collection; in `arena`. */
char *resource_key(struct arena *arena, const struct resource *resource, const char *ns, const char *name);
/* Decodes the entry at a key for the server's own use; NULL where it is not there. The caller unrefs. */
void *resource_read(const struct resource *resource, const char *ns, const char *name);
/* The same by plural of core ("" group) or another group; NULL where there is none. */
void *registry_read(struct registry *registry, const char *group, const char *plural, const char *ns, const char *name);

/* The address of a field of a described value, by JSON name; NULL where the type has none. */
void *api_field_address(const struct api_type *type, const void *value, const char *name, const struct api_field **ret_field);
/* Copies (shallowly; both live in or outlive dst's arena) or clears one field. */
void api_field_clear(void *object, const char *name);
/* Deep copies field `name` of src into dst, a root object of the same type. */
void api_field_copy(void *dst, const void *src, const char *name);
bool api_field_equal(const void *a, const void *b, const char *name);

#endif
