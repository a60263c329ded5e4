/* SPDX-License-Identifier: Apache-2.0 */
/* The types of what OpenAPI schemas describe. */
#ifndef CORACLE_CEL_SCHEMA_H
#define CORACLE_CEL_SCHEMA_H

#include "common/cel/cel.h"

/*
 * The type of what a schema describes, in the arena; NULL where the schema does not tell. The types of what it holds are named beneath `name`. definitions: the
 * object of "components/schemas" of the document in which it stands, to look up what it refers to, with built-in kinds' own ways to say things; NULL: it is a
 * structural schema and refers to nothing. root: an object of the API, which has a kind and a name whatever the schema says.
 */
const struct cel_type *cel_type_of_schema(struct arena *arena, json_t *schema, json_t *definitions, const char *name, bool root);

#endif
