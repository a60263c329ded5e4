/* SPDX-License-Identifier: Apache-2.0 */
/* OpenAPI documents written from the descriptors: v2 as one document, v3 as one for each group and version. */
#ifndef CORACLE_APISERVER_OPENAPI_H
#define CORACLE_APISERVER_OPENAPI_H

#include "apiserver/request/request.h"

/* What every kind begins with. Clients look for the first words. */
#define OPENAPI_API_VERSION_DOC "APIVersion defines the group and version of this representation, such as apps/v1."
#define OPENAPI_KIND_DOC "Kind is the sort of object this is."
#define OPENAPI_METADATA_DOC "Standard object's metadata."

enum openapi_form { OPENAPI_V2, OPENAPI_V3 };

/* Types reached so far, in order of discovery. */
struct schema_set {
	struct map seen;
	unsigned scalars; /* those of schema.c that were referred to, as bits */
	/* Of what the document tells of: kinds that belong to every group and version name them. */
	struct schema_version {
		char *group, *version; /* owned */
	} *versions;
	size_t version_count;
	const struct api_type **types;
	size_t len, cap;
};
void schema_set_add(struct schema_set *set, const struct api_type *type);
void schema_set_done(struct schema_set *set);

/* What stands before a schema's name in a reference to it. */
const char *schema_ref_prefix(enum openapi_form form);
/* Appends `"name":{schema}` for every type of the set and what they refer to, comma separated, and the schemas of scalars. */
void schema_write_all(struct schema_set *set, enum openapi_form form, struct buf *out);
/* Whether a schema of that name is among those. */
bool schema_set_has(const struct schema_set *set, const char *name);

/* ---- remote.c: what aggregated servers say of themselves, as parts of the document of v2 ---- */
struct aggregator;
struct remote_parts;
struct remote_parts *remote_parts_new(struct aggregator *aggregator);
/* Both take NULL. Appends their paths, each preceded by a comma unless *first. Names that are in the set already are changed. */
void remote_paths_write(struct remote_parts *parts, const struct schema_set *set, bool *first, struct buf *out);
/* Appends their definitions, each preceded by a comma. */
void remote_definitions_write(struct remote_parts *parts, struct buf *out);
void remote_parts_free(struct remote_parts *parts);

/* A document as protobuf, from its JSON (proto_v2.c, proto_v3.c). */
void openapi_v2_protobuf(const char *json, size_t len, struct buf *out);
void openapi_v3_protobuf(const char *json, size_t len, struct buf *out);

#endif
