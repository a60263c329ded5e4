/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sets of field paths, as trees of JSON objects: keys are path elements (f:name, k:{...}, v:value, i:index); an element that is
 * itself in the set has a member ".". On the outside (fieldsV1) an element without children is written {} instead.
 */
#ifndef CORACLE_API_PATCH_FIELD_SET_H
#define CORACLE_API_PATCH_FIELD_SET_H

#include "common/base/base.h"
#include "common/base/buf.h"

#include <jansson.h>

/*
 * New references; parents that would be empty are left out. Bounded in depth by what jansson reads. What the result has whole from one side it shares
 * with it: a set may be changed in place only where those that it came from are not used any more.
 */
json_t *field_set_union(json_t *a, json_t *b);
json_t *field_set_difference(json_t *a, json_t *b);
json_t *field_set_intersection(json_t *a, json_t *b);
static inline bool field_set_empty(json_t *set) {
	return !json_object_size(set);
}
static inline bool field_set_has_self(json_t *set) {
	return json_object_get(set, ".");
}
static inline void field_set_add_self(json_t *set) {
	json_object_set_new(set, ".", json_object());
}
/* Hangs `child` under `element` where it holds anything. Takes `child`. */
void field_set_attach(json_t *set, const char *element, json_t *child);
/* Removes a path of field names with everything under it. */
void field_set_remove_tree(json_t *set, const char *const *names, size_t count);
/* The order of two elements of the same set, as Kubernetes writes them: texts by their bytes, numbers among keys and values by what they count. */
int field_set_order(const char *a, const char *b);
/* Between the two forms; new references. */
json_t *field_set_read(json_t *fields_v1);
json_t *field_set_write(json_t *set);
/* The same as text. */
void field_set_append(json_t *set, struct buf *out);
/* True where all of `part` is in the set. */
bool field_set_covers(json_t *set, json_t *part);
/* Appends one element of a path as it is spelled: .spec, [name="a"], [="v"]. */
void field_set_append_element(struct buf *path, const char *element);
/* Calls fn with each path in the set, spelled .spec.containers[name="a"].image. */
void field_set_each(json_t *set, void (*fn)(const char *path, void *arg), void *arg);

#endif
