/* SPDX-License-Identifier: Apache-2.0 */
/* What merging and comparing by the descriptors share: where one stands in the schema, and lists keyed by a merge key. */
#ifndef CORACLE_API_PATCH_STRATEGIC_H
#define CORACLE_API_PATCH_STRATEGIC_H

#include "common/api/patch/patch.h"

#define DIRECTIVE "$patch"
#define RETAIN_KEYS "$retainKeys"
#define SET_ORDER_PREFIX "$setElementOrder/"
#define DELETE_PREFIX "$deleteFromPrimitiveList/"

/* The schema of a value: a struct's type, or nothing where the schema does not reach (maps of scalars, raw JSON, unknown fields). */
struct place {
	const struct api_type *type;
	bool map; /* the value is a map: its keys are no fields, each holds a `type` */
};
/* How a field is patched. */
struct strategy {
	struct place inner; /* of the value, or of a list's elements */
	bool merge, retain_keys, replace;
	const char *key;    /* merge key; NULL: a list of scalars */
};
struct strategy strategy_of(struct place place, const char *field);

/* The element of `list` with this value of the merge key; its index, or -1. */
int64_t keyed_index(json_t *list, const char *key, json_t *value);
/* The index of an equal scalar, or of the object with the same merge key where `key` is given; -1. */
int64_t element_index(json_t *list, const char *key, json_t *element);
/* New list: `items` in the order in which `order` has them. */
json_t *order_by(json_t *items, json_t *order, const char *key);

/* mergeMap over trees: changes `original` in place. `keep` leaves directives and nulls in what results: it is a patch itself. */
int strategic_merge_object(struct place place, json_t *original, json_t *patch, bool keep, struct error *err);

#endif
