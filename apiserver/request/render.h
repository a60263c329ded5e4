/* SPDX-License-Identifier: Apache-2.0 */
/* The forms in which a stored object goes out: as it is, in another version or encoding, as a Table row, as metadata alone. */
#ifndef CORACLE_APISERVER_RENDER_H
#define CORACLE_APISERVER_RENDER_H

#include "apiserver/request/request.h"

enum include_object { INCLUDE_METADATA, INCLUDE_NONE, INCLUDE_OBJECT };
enum include_object request_include_object(const struct request *r);

/* Everything that decides how an entry is rendered; plain values, may be copied and kept. */
struct render {
	const struct resource *resource;
	struct negotiated accept;
	enum include_object include;
};
/* The group and version of Tables and bare metadata, as asked for. */
const char *render_meta_version(const struct negotiated *accept);
bool render_is_identity(const struct render *render);
/* Objects and bare metadata go out as protobuf where that was settled; Tables never do. */
bool render_is_protobuf(const struct negotiated *accept);
/* An element of a list's items or a Table's rows, or an object of a watch event. A new reference; NULL where the entry cannot be read. */
struct bytes *render_item(const struct render *render, struct entry *entry);
/* The object of a watch event: a Table carries its columns only in the first. */
struct bytes *render_event_object(const struct render *render, struct entry *entry, bool with_columns);

/* Appends a Table whose one row is the object, `json` its text. */
void render_table_of_one(const struct render *render, const void *object, const struct buf *json, uint64_t revision, bool with_columns, struct buf *out);

/* A whole object, JSON: itself, a Table of one row, or PartialObjectMetadata. r may be NULL. */
void render_object(const struct resource *resource, const struct negotiated *accept, const struct api_type *type, const void *object, struct request *r, struct buf *out);
/* Appends "columnDefinitions":[...]. */
void table_columns(const struct resource *resource, struct buf *out);
/* Appends one row object. `json` is the object's own text. */
void table_row(const struct resource *resource, const struct negotiated *accept, const void *object, const char *json, size_t len, enum include_object include, struct buf *out);
/* The PartialObjectMetadata of an object's text, decoded; the caller unrefs. */
int partial_metadata_object(const struct negotiated *accept, const char *json, size_t len, void **ret_object);
/* Appends {"kind":"PartialObjectMetadata",...} from an object's text. */
void partial_metadata(const struct negotiated *accept, const char *json, size_t len, struct buf *out);

/* ---- text tools ---- */
void json_text_pretty(const char *json, size_t len, struct buf *out);
/*
 * The text of the value at a dotted path ("status.phase") of JSON, quotes included; NULL where absent. Nothing is decoded: for our own encodings and
 * simple values. What is malformed does no harm, and gives anything within it.
 */
const char *json_text_find(const char *json, size_t len, const char *path, size_t *ret_len);
/* The same with a string's quotes and escapes taken away; NULL where absent, null or without an end. */
char *json_text_string(struct arena *arena, const char *json, size_t len, const char *path);
/* Of a value's text, as json_text_string() gives it; NULL in, NULL out. */
char *json_text_value(struct arena *arena, const char *value, size_t value_len);
/* Many paths in one pass; data NULL where absent. At most JSON_TEXT_MAX_PATHS, and no path may be the beginning of another. */
#define JSON_TEXT_MAX_PATHS 32
struct json_text {
	const char *data;
	size_t len;
};
void json_text_find_all(const char *json, size_t len, const char *const *paths, size_t count, struct json_text *ret);
/* Position just past the value at p. */
const char *json_text_skip(const char *p, const char *end);

#endif
