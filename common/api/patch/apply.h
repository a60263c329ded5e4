/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Field management: who set which field (metadata.managedFields), and server-side apply, which is merged by it.
 * All over jansson trees of the request's version. Trees given are borrowed; *ret is a new reference.
 */
#ifndef CORACLE_API_PATCH_APPLY_H
#define CORACLE_API_PATCH_APPLY_H

#include "common/api/api.h"

struct managed_options {
	const struct api_type *type; /* of a described kind; NULL: a custom resource */
	json_t *schema;              /* openAPIV3Schema of the custom resource's version; NULL: lists are atomic, maps granular */
	const char *api_version;     /* of the request, e.g. apps/v1 */
	const char *manager;         /* fieldManager, or what stands before the slash of the user agent */
	const char *subresource;     /* "" for the object itself */
	bool force;                  /* apply only: take what others own */
	/* Paths whose ownership is never recorded for this resource and version, as "f:status"; NULL terminated; may be NULL. */
	const char *const *reset_fields;
	const char *told_version;    /* the version that conflicts are told in; NULL: the owner's own */
};

/*
 * Server-side apply of `config` (apiVersion, kind and metadata.name in it) onto `live` (NULL: a new object). The result has
 * managedFields brought up to date. Where others own what config changes and force is not set: 409 Conflict with a cause
 * FieldManagerConflict for each field. metadata.managedFields in config must be empty (400). The manager "kubectl" may take what its client-side
 * apply (its annotation) left as it is now; the annotation then follows.
 */
int managed_apply(const struct managed_options *options, json_t *live, json_t *config, json_t **ret, struct error *err);
/*
 * `part` of an object over `live`, as an apply merges it, without a word of who owns what: how a policy changes objects. -EINVAL where part is not of the
 * type, or sets what can only be set as a whole (a list without keys, an atomic map), which would take away what it does not say.
 */
int managed_merge(const struct managed_options *options, json_t *live, json_t *part, json_t **ret, struct error *err);
/*
 * After a create (live NULL), update or other patch: *ret is `updated` with managedFields that give what changed against
 * `live` to the manager. managedFields that the client sent are respected (an empty list with one empty entry resets them).
 * Does nothing more than copy where nothing changed: a no-op must not move the resourceVersion. What lies below the metadata's
 * siblings is shared with `updated`: change neither in place while both are used.
 */
int managed_update(const struct managed_options *options, json_t *live, json_t *updated, json_t **ret, struct error *err);
/*
 * managed_update() of an object that is there already, over structs of a described type: brings object's managedFields up to date for what
 * differs from `live`. -ENOTSUP, with nothing changed, where only trees can say.
 */
int managed_update_object(const struct managed_options *options, const void *live, void *object);
/*
 * The fieldsV1 that managed_update() gives to the manager of a new object of a described type, written at once from the struct: what most
 * writes of a busy cluster need. Appends to out, "{}" where nothing is owned. -ENOTSUP where the type holds what only the general way can say.
 */
int managed_created_fields(const struct api_type *type, const void *object, const char *const *reset_fields, struct buf *out);

#endif
