/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The three patch formats, over jansson trees: whatever the object's type does not know survives a patch of it and is
 * judged when the result is decoded. Targets and patches are borrowed and never changed; *ret is a new reference.
 * Custom resources are trees too: strategic merge is for described types only.
 */
#ifndef CORACLE_API_PATCH_PATCH_H
#define CORACLE_API_PATCH_PATCH_H

#include "common/api/api.h"

#define PATCH_MAX_OPERATIONS 10000

/* RFC 6902. 400 BadRequest: the patch is malformed; 413: too many operations; 422 Invalid: it does not apply, and why (test failed, no such path). */
int patch_json(json_t *target, json_t *patch, json_t **ret, struct error *err);
/* RFC 7396. 400 BadRequest where the patch is no object. */
int patch_merge(json_t *target, json_t *patch, json_t **ret, struct error *err);
/* Kubernetes' strategic merge by the descriptors: $patch, $retainKeys, $setElementOrder/x, $deleteFromPrimitiveList/x, merge keys. 400 or 422. */
int patch_strategic(const struct api_type *type, json_t *target, json_t *patch, json_t **ret, struct error *err);
/* The strategic patch that turns `original` into `modified`: what a client sends. */
int patch_strategic_diff(const struct api_type *type, json_t *original, json_t *modified, json_t **ret, struct error *err);
/* kubectl apply: from the last applied configuration, the new one, and what is live. */
int patch_strategic_three_way(const struct api_type *type, json_t *original, json_t *modified, json_t *current, json_t **ret, struct error *err);
/* The same by RFC 7396, for kinds without descriptors. */
int patch_merge_diff(json_t *original, json_t *modified, json_t **ret, struct error *err);
int patch_merge_three_way(json_t *original, json_t *modified, json_t *current, json_t **ret, struct error *err);
/* Appends a value as Go's %v shows what was read of JSON: map[a:1 b:[x y]]. */
void patch_append_go_value(struct buf *out, json_t *value);
/* Equality of JSON values where 1 and 1.0 are the same number. */
bool patch_values_equal(json_t *a, json_t *b);

#endif
