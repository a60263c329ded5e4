/* SPDX-License-Identifier: Apache-2.0 */
/* Custom resources: see README.md. */
#ifndef CORACLE_APISERVER_CUSTOM_H
#define CORACLE_APISERVER_CUSTOM_H

#include "apiserver/rest/write.h"
#include "api/meta_v1.h"

/* An object: what all kinds have, and the members that its schema speaks of, as JSON text, sorted by name. */
struct custom_entry {
	const char *key;
	struct api_raw value;
};
struct custom_object {
	const char *kind, *api_version;
	struct meta_v1_object_meta metadata;
	struct {
		struct custom_entry *items;
		uint32_t len, cap;
	} rest;
};

struct custom_resource {
	struct resource resource;
	struct custom_resource *older; /* all ever made */
	struct api_resource api;
	struct api_type type, list_type;
	json_t *schema;          /* openAPIV3Schema of the version; NULL: none */
	struct rules *rules;     /* x-kubernetes-validations of it; NULL: none */
	bool has_defaults;
	char **column_paths;     /* of api.columns; the first (Name) and a last default Age are ours: NULL */
	struct conversion *conversion; /* by a webhook; NULL: none */
	bool terminating;        /* its definition is being deleted: nothing new is made */
	bool mixed;              /* some objects are stored in a version that was another's to be stored in */
	char *scale_spec, *scale_status, *scale_selector; /* JSON paths without the leading dot; NULL: no scale */
};

/* Registers what is defined, then follows the definitions. */
void custom_start(struct apiserver *server);
void custom_stop(struct apiserver *server);

/* The custom resource whose descriptor this is; NULL for built-in types. */
const struct custom_resource *custom_of_type(const struct api_type *type);

/* Prunes and defaults an object by its schema. Unknown fields become warnings or, where asked for, an error. */
int custom_process(struct request *r, const struct resource *resource, void *object, struct error *err);
/* The kind and version that a body of a custom resource says, which it must. NULL: it does not. */
int custom_check_head(const struct api_type *type, const char *json, size_t len, const char *kind, const char *version, const char *name, struct error *err);
/* By the schema and, where that has no complaint that stands in their way, by its rules. old NULL on create; `status`: written through that. */
void custom_validate(struct request *r, const struct resource *resource, const void *object, const void *old, bool status, struct error *causes);
/* Appends the cells of a Table row. */
void custom_cells(const struct resource *resource, const void *object, struct buf *out);
/* Appends the members of the kind's OpenAPI schema, without braces. */
void custom_openapi(const struct custom_resource *custom, bool v2, struct buf *out);

/* True where an update changes more than metadata and, where that is a subresource, status. */
bool custom_generation_changed(const void *object, const void *old);
/* Puts `from`'s member in the place of `object`'s; neither has to have it. */
void custom_member_copy(void *object, const void *from, const char *name);

/* Values at a dotted path of an object, for scale. */
int64_t custom_number_at(const void *object, const char *path);
char *custom_string_at(const void *object, const char *path, struct arena *arena);
void custom_set_number_at(void *object, const char *path, int64_t value);

/* ---- schema.c: over jansson trees ---- */
/* Removes what the schema does not know; names it ("spec.x") by unknown() where given. `root`: apiVersion, kind and metadata are known. */
void schema_prune(json_t *schema, json_t *value, bool root, void (*unknown)(const char *path, void *arg), void *arg);
void schema_default(json_t *schema, json_t *value);
/* Takes away members that are null and may not be. */
void schema_drop_nulls(json_t *schema, json_t *value);
bool schema_has_defaults(json_t *schema);
/* Whether a text is of the format that a schema names; of one that nobody knows anything is (formats.c). */
bool schema_format_fits(const char *name, const char *text, size_t len);
/* The schema of a member: its own, or that of all others; NULL: there is none. */
json_t *schema_member(json_t *schema, const char *key);
bool schema_flag(json_t *schema, const char *name);
/* The first value at a path such as ".spec.items[0].name" or "spec['a.b']"; borrowed; NULL where there is none. */
json_t *json_path(json_t *value, const char *path);

/* ---- validate.c ---- */
/* A value by its schema. `old`: what stood there before, NULL: nothing did; what has not changed is not judged again. */
void schema_validate(json_t *schema, json_t *value, json_t *old, const char *path, struct error *causes);
/* Resources embedded in it must say what they are. */
void schema_check_embedded(json_t *schema, json_t *value, const char *path, struct error *causes);
/* Items of lists that are sets or maps must be told apart. */
void schema_check_lists(json_t *schema, json_t *value, const char *path, struct error *causes);

/* ---- the definitions themselves: hooks of their strategy ---- */
void crd_prepare_create(struct request *r, void *object);
void crd_prepare_update(struct request *r, void *object, const void *old);
void crd_mark_deleted(void *object);

/* ---- and who brings their status up to date ---- */
struct definitions;
struct definitions *definitions_start(struct apiserver *server);
void definitions_stop(struct definitions *definitions);
/* To be looked at, by the definition's name: it is new, has changed or is gone. Any thread. */
void definitions_note(struct definitions *definitions, const char *key);

#endif
