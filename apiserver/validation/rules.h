/* SPDX-License-Identifier: Apache-2.0 */
/* The rules in CEL (x-kubernetes-validations) in the schemas of custom resources, when they are written: what they say, and what they may cost. */
#ifndef CORACLE_APISERVER_VALIDATION_RULES_H
#define CORACLE_APISERVER_VALIDATION_RULES_H

#include "apiserver/validation/validation.h"
#include "api/apiextensions_v1.h"

/* How often what a schema is about may be there in one object. */
struct cardinality {
	bool bounded;
	uint64_t most;
};
struct cardinality cardinality_below(struct cardinality here, const struct apiextensions_v1_json_schema_props *schema);

/* The rules of all of a version's schema. */
struct rule_check {
	bool unchanged;      /* the schema is that of the stored object: no single rule is too dear */
	struct error err;
	uint64_t total;
	struct dear_rule {
		uint64_t cost;
		char *path;
	} dearest[4];
};
struct rule_place {
	struct cardinality cardinality;
	const struct path *uncorrelatable; /* the first above of whose parts nobody can tell which was which before; NULL: none */
	bool whole;                        /* a whole object, with its kind and name */
};
/* What shows without compiling. */
void check_rules(const struct apiextensions_v1_json_schema_props *schema, const struct path *at, struct error *err);
/* The rest; only of a schema that is good. */
void compile_rules(const struct apiextensions_v1_json_schema_props *schema, const struct rule_place *place, const struct path *at, struct rule_check *check);
/* Adds what was found; at: the whole schema. */
void rule_check_done(struct rule_check *check, const struct path *at, struct error *err);

#endif
