/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORACLE_CLIENT_YAML_TREE_H
#define CORACLE_CLIENT_YAML_TREE_H

#include "common/base/error.h"

#include <jansson.h>

/* Reads the first document of a configuration file. Scalars are texts, except true, false and null. ret is a new reference. */
int yaml_tree_parse(const char *text, size_t len, json_t **ret, struct error *err);

#endif
