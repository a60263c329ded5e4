/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of commands: over JSON trees, so that custom resources go the same way as what the schema knows. Trees returned are new
 * references.
 */
#ifndef CORACLE_CLI_REQUEST_H
#define CORACLE_CLI_REQUEST_H

#include "cli/cli.h"

#include "common/base/buf.h"

#define CLI_MAX_BODY ((size_t)1 << 30)
#define CLI_TABLE_ACCEPT "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"

/* A resource of the server: from the schema, or from discovery. */
struct cli_resource {
	const char *group, *version, *plural, *singular, *kind;
	bool namespaced;
	const struct api_resource *known; /* NULL: not of the schema */
};
/* What users type: "po", "deployments.apps", "Pod". */
int cli_resource_match(struct cli *cli, const char *text, const struct cli_resource **ret, struct error *err);
int cli_resource_by_kind(struct cli *cli, const char *api_version, const char *kind, const struct cli_resource **ret, struct error *err);
/* "v1", "apps/v1"; in the arena. */
const char *cli_api_version(struct cli *cli, const struct cli_resource *resource);
/* "deployment.apps" or "pod": how kubectl names what it did something to. */
const char *cli_display_name(struct cli *cli, const struct cli_resource *resource);
/* Every resource the server has: calls fn for each; stops where it returns false. */
int cli_resources_each(struct cli *cli, bool (*fn)(const struct cli_resource *resource, json_t *verbs, json_t *short_names, json_t *categories, void *arg), void *arg, struct error *err);

/* Path of a collection or object, in the arena. ns NULL: all namespaces; name, subresource NULL: none. */
char *cli_path(struct cli *cli, const struct cli_resource *resource, const char *ns, const char *name, const char *subresource);
/* "?a=b" or "&a=b" appended where value is not empty; in the arena. */
char *cli_path_query(struct cli *cli, char *path, const char *name, const char *value);

struct cli_call {
	const char *method, *path;
	json_t *body;             /* NULL: none, or body_text */
	const char *body_text;
	const char *content_type; /* NULL: application/json */
	const char *accept;       /* NULL: application/json */
};
/* ret may be NULL. */
int cli_call(struct cli *cli, const struct cli_call *call, json_t **ret, struct error *err);
int cli_get_json(struct cli *cli, const char *path, json_t **ret, struct error *err);
/* Watches: fn gets each event's type and object (borrowed); returns false to stop. Ends with the stream, or after timeout_ms (0: never) with -ETIMEDOUT. */
int cli_watch(struct cli *cli, const char *path, const char *accept, bool (*fn)(const char *type, json_t *object, void *arg), void *arg, int64_t timeout_ms, struct error *err);

/* ---- looking into objects; NULL, "" or 0 where it is not there ---- */
const char *cli_str(json_t *object, const char *key);
json_t *cli_at(json_t *object, const char *path); /* "spec.template.metadata" */
const char *cli_str_at(json_t *object, const char *path);
int64_t cli_int_at(json_t *object, const char *path);
const char *cli_name(json_t *object);
const char *cli_ns(json_t *object);
/* Makes what is missing on the way; returns the object at `path` (borrowed). */
json_t *cli_make_at(json_t *object, const char *path);

#endif
