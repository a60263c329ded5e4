/* SPDX-License-Identifier: Apache-2.0 */
/* Label and field selectors: parsed once, matched often. */
#ifndef CORACLE_API_SELECTOR_H
#define CORACLE_API_SELECTOR_H

#include "common/api/api.h"

struct selector;
struct meta_v1_label_selector;

/* "a=b,c in (d,e),!f,g>3". An empty text selects everything. Errors as labels.Parse words them (400). */
int label_selector_parse(const char *text, struct selector **ret, struct error *err);
/* From a LabelSelector of an object. NULL selects nothing, an empty one everything. */
int label_selector_from(const struct meta_v1_label_selector *from, struct selector **ret, struct error *err);
/* "metadata.name=x,status.phase!=Running" */
int field_selector_parse(const char *text, struct selector **ret, struct error *err);
void selector_free(struct selector *selector);
bool selector_matches_labels(const struct selector *selector, const struct api_string_map *labels);
/* get(key, arg) gives the field's value; NULL counts as "". */
bool selector_matches(const struct selector *selector, const char *(*get)(const char *key, void *arg), void *arg);
bool selector_is_empty(const struct selector *selector);
/* Value that the selector demands for `key` by "=", or NULL: lets an index answer. */
const char *selector_exact(const struct selector *selector, const char *key);
/* Calls fn for each key that must be there, with its only value (NULL: more than one will do). What has not all of these does not match. */
void selector_each_demand(const struct selector *selector, void (*fn)(const char *key, const char *value, void *arg), void *arg);
/* Calls fn for each requirement that is one of In, NotIn, Exists, DoesNotExist; stops where it returns false. */
bool selector_each_requirement(const struct selector *selector, bool (*fn)(const char *key, const char *op, const char *const *values, size_t count, void *arg), void *arg);
/* Calls fn for each key used; stops where it returns false. */
bool selector_each_key(const struct selector *selector, bool (*fn)(const char *key, void *arg), void *arg);

#endif
