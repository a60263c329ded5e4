/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORACLE_APISERVER_PATCH_H
#define CORACLE_APISERVER_PATCH_H

#include "apiserver/rest/write.h"

enum patch_kind { PATCH_JSON, PATCH_MERGE, PATCH_STRATEGIC, PATCH_APPLY };
struct patch_input {
	enum patch_kind kind;
	json_t *tree; /* lives as long as the request */
	bool force;
	struct api_warning_list found; /* keys that stand twice in it; lives as long as the request */
	const char *fault; /* a body that is no patch: told once the object was found */
};
/* Whether a patch of this kind and size is taken at all: comes before all that the query says. */
int patch_check_type(const struct request *r, struct error *err);
/* The body by its Content-Type. */
int patch_parse(struct request *r, struct patch_input *ret, struct error *err);
/* Applies it to a tree of a type's JSON; not for PATCH_APPLY. */
int patch_run(const struct patch_input *input, const struct api_type *type, json_t *target, json_t **ret, struct error *err);
/* The result as an object, judged as fieldValidation asks. */
int patch_decode(struct request *r, const struct patch_input *input, const struct api_type *type, json_t *tree, void **ret, struct error *err);
/* The make hook of server-side apply (rest/apply.c). */
int make_applied(struct write *w, struct error *err);

/*
 * Merges a part of the object (in its own version, with its name), which a subresource says, as an apply does; conflicts are told in the version that the
 * client speaks.
 */
int make_applied_part(struct write *w, json_t *part, bool force, const char *told_version, struct error *err);

#endif
