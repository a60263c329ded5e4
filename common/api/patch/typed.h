/* SPDX-License-Identifier: Apache-2.0 */
/* Values under a schema, as server-side apply sees them: their field sets, differences, merge and pruning. */
#ifndef CORACLE_API_PATCH_TYPED_H
#define CORACLE_API_PATCH_TYPED_H

#include "common/api/patch/field_schema.h"
#include "common/api/patch/field_set.h"

struct typed_difference {
	json_t *added, *modified, *removed; /* field sets, owned */
};
void typed_difference_done(struct typed_difference *d);

/* -EINVAL with the message ".spec.x: field not declared in schema", or of a list item without its keys or given twice; of several mistakes with "errors:" and a line each. */
int typed_check(struct field_schema s, json_t *value, struct error *err);
/* What applying this value claims. New reference. */
json_t *typed_field_set(struct field_schema s, json_t *value);
void typed_compare(struct field_schema s, json_t *old, json_t *new, struct typed_difference *ret);
/* The same from two structs. -ENOTSUP where the type holds what only trees can say; *ret is untouched then. */
int typed_compare_structs(const struct api_type *type, const void *old, const void *new, struct typed_difference *ret);
/* The path element of an item of a set or keyed list: v:"x", k:{"a":1,"b":"x"} with the keys in order. Nothing where it has no key. */
void typed_append_element(const struct api_field *f, const void *item, struct buf *out);
/* `config` over `live`; new reference. */
json_t *typed_merge(struct field_schema s, json_t *live, json_t *config);
/* Takes out of `value`, in place, what was in `last` and nobody owns now. */
void typed_prune(struct field_schema s, json_t *value, json_t *last, json_t *managed);

/* The items of a list by their path element: an object from element to index. Items without keys are left out. New reference. */
json_t *typed_index(struct field_schema s, json_t *list);

#endif
