/* SPDX-License-Identifier: Apache-2.0 */
/* YAML for people, JSON for the rest: as sigs.k8s.io/yaml converts, YAML 1.1 scalars included. */
#ifndef CORACLE_API_YAML_H
#define CORACLE_API_YAML_H

#include "common/api/api.h"

#define YAML_MAX_DEPTH 100
#define YAML_MAX_NODES 1000000 /* after aliases are expanded */

/*
 * Converts a stream of documents. fn is called with the JSON text of each that is not empty; a non-zero answer stops and is
 * returned. JSON is YAML. Errors: -EINVAL "yaml: line 3: ..."; a key that stands twice is one.
 */
int yaml_to_json(const char *text, size_t len, int (*fn)(const char *json, size_t len, void *arg), void *arg, struct error *err);
/* The one document of a text, as JSON text; "null" where it is empty. Several documents are an error. */
int yaml_to_json_one(const char *text, size_t len, struct buf *ret, struct error *err);
/* The first of a text's documents. A key may stand twice, the later one counting: each is told in `found` ("line 3: key \"a\" already set in map"), up to a bound. */
int yaml_to_json_one_found(const char *text, size_t len, struct buf *ret, struct api_warning_list *found, struct error *err);
/* The same as a tree (new reference). */
int yaml_load(const char *text, size_t len, json_t **ret, struct error *err);
/* Appends a tree in block style, keys sorted, as kubectl -o yaml prints it; ends with a line feed. */
void yaml_dump(json_t *value, struct buf *out);
/* The same from JSON text; integers keep their digits. */
int yaml_from_json(const char *json, size_t len, struct buf *out, struct error *err);

#endif
