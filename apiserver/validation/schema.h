/* SPDX-License-Identifier: Apache-2.0 */
/* The schema of a custom resource when its definition is written: whether it is structural, its defaults, what it may say, and its rules. */
#ifndef CORACLE_APISERVER_VALIDATION_SCHEMA_H
#define CORACLE_APISERVER_VALIDATION_SCHEMA_H

#include "apiserver/validation/validation.h"
#include "api/apiextensions_v1.h"

/* `at` is what holds openAPIV3Schema. `status`: the version has that subresource; `unchanged`: the stored definition has the same schema. */
void check_definition_schema(const struct apiextensions_v1_json_schema_props *schema, bool status, bool unchanged, const struct path *at, struct error *err);
/* Why nothing structural can be made of it, in static memory; NULL: it can be. */
const char *schema_unstructural(const struct apiextensions_v1_json_schema_props *schema);
const struct apiextensions_v1_json_schema_props *schema_property(const struct apiextensions_v1_json_schema_props *schema, const char *name);

#endif
