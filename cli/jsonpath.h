/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSONPath templates as kubectl's -o jsonpath takes them: text, {.a.b[0]}, {range .items[*]}...{end}, {"\n"}, ['a.b'], [0:2], [-1],
 * [*], ..name, [?(@.x=="y")], ['a','b']. What is not there is nothing.
 */
#ifndef CORACLE_CLI_JSONPATH_H
#define CORACLE_CLI_JSONPATH_H

#include "common/base/buf.h"
#include "common/base/error.h"

#include <jansson.h>

#define JSONPATH_MAX_VALUES 1000000
#define JSONPATH_MAX_DEPTH 64

/* Appends the rendered template. */
int jsonpath_render(const char *template, json_t *root, struct buf *out, struct error *err);
/* The values that one expression chooses, borrowed from root. Accepts "{.a}", ".a" and "a". The caller frees ret->items. */
struct jsonpath_values {
	json_t **items;
	size_t len;
};
int jsonpath_find(const char *expression, json_t *root, struct jsonpath_values *ret, struct error *err);
/* A value as kubectl prints it: strings bare, the rest as JSON. */
void jsonpath_append_value(json_t *value, struct buf *out);

#endif
