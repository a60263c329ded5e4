/* SPDX-License-Identifier: Apache-2.0 */
/* Between paths.c and parameters.c: operations, and what they take. */
#ifndef CORACLE_APISERVER_OPENAPI_PATHS_H
#define CORACLE_APISERVER_OPENAPI_PATHS_H

#include "apiserver/openapi/openapi.h"

enum op_kind { OP_LIST, OP_CREATE, OP_DELETE_COLLECTION, OP_GET, OP_UPDATE, OP_DELETE, OP_PATCH, OP_WATCH_LIST, OP_WATCH, OP_CONNECT, OP_KINDS };
#define OPS(kind) (1u << (kind))
#define OPS_LIST OPS(OP_LIST)
#define OPS_CREATE OPS(OP_CREATE)
#define OPS_DELETE_COLLECTION OPS(OP_DELETE_COLLECTION)
#define OPS_UPDATE OPS(OP_UPDATE)
#define OPS_DELETE OPS(OP_DELETE)
#define OPS_PATCH OPS(OP_PATCH)
#define OPS_WATCHES (OPS(OP_WATCH_LIST) | OPS(OP_WATCH))
#define OPS_CONNECT OPS(OP_CONNECT)

/* Where documents are written to. */
struct writing {
	enum openapi_form form;
	struct buf *out;
	struct schema_set *set;
};
/* Appends `"key":["word",...],`. */
void openapi_words(const char *key, const char *const *words, struct buf *out);
/* Appends `"responses":{...}`: codes of success as in paths.c, the schema's name or NULL for a text, the content types. */
void openapi_responses(const struct writing *w, const char *codes, const char *name, const char *const *types);
/* A group's word in tags (rbacAuthorization) and in operation ids (RbacAuthorization); the caller frees both. */
void openapi_tag(const char *group, char **ret_tag, char **ret_id);
/* Appends the paths of a resource, each preceded by a comma unless *first. */
void paths_write(const struct writing *w, const struct resource *resource, bool *first);

/* roots.c: appends the paths of a document that belongs to no group (key NULL: of all of them); false where there is no such document. */
bool roots_write(const struct writing *w, const char *key, bool *first);
void roots_each(void (*fn)(const char *key, void *arg), void *arg);
/* The path of a group (version NULL) or of a version. */
void roots_write_group(const struct writing *w, const char *group, const char *version, bool *first);

#define MAX_PARAMETERS 32
struct parameter {
	const char *name, *type;
	uint32_t ops; /* OPS() of those that take it */
	const char *doc;
};

/* The rows an operation takes, as bits; Kubernetes tells a little else of custom resources. What all operations of a path take stands with the path. */
uint32_t parameters_of(enum op_kind kind, bool custom);
/* Appends `"parameters":[...],`, or nothing where there are none. body: a parameter ready made, or NULL. */
void parameters_write(uint32_t set, const char *body, enum openapi_form form, struct buf *out);
/* v2 says each row once, and refers to it. Appends `"name":{...}`, comma separated. */
void parameters_define(struct buf *out);

struct path_parameters {
	uint32_t common;
	const char *kind;               /* of what {name} names; NULL: the path has none */
	bool namespaced, rest;          /* {namespace}, {path} */
	const struct api_type *options; /* whose members are parameters; NULL: none */
};
/* The same for all that belongs to the path, by name. */
void parameters_of_path(const struct path_parameters *path, enum openapi_form form, struct buf *out);

#endif
