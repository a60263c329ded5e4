/* SPDX-License-Identifier: Apache-2.0 */
/* What an unquoted YAML word means, by the rules of YAML 1.1 that Kubernetes' reader follows. */
#ifndef CORACLE_API_YAML_SCALAR_H
#define CORACLE_API_YAML_SCALAR_H

#include "common/base/buf.h"

enum yaml_meaning { YAML_TEXT, YAML_NULL, YAML_TRUE, YAML_FALSE, YAML_INTEGER, YAML_FLOAT, YAML_NO_NUMBER /* .nan, .inf */ };

/* *ret_json: for numbers, the JSON text is appended there (may be NULL). */
enum yaml_meaning yaml_scalar_meaning(const char *text, struct buf *json);

#endif
