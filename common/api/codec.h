/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of common/api share over the descriptors; of use to whoever walks them (patches, OpenAPI, explain). */
#ifndef CORACLE_API_CODEC_H
#define CORACLE_API_CODEC_H

#include "common/api/api.h"

/* api_type.custom_json: a JSON form of its own. */
enum api_custom {
	API_CUSTOM_NONE,
	API_CUSTOM_SELF,              /* wrapper: the bare list of its one field */
	API_CUSTOM_SCHEMA_OR_BOOL,    /* false, true or a schema */
	API_CUSTOM_SCHEMA_OR_ARRAY,   /* a schema or a list of schemas */
	API_CUSTOM_SCHEMA_OR_STRINGS, /* a schema or a list of strings */
};

/* Deepest nesting of any described value that a codec follows; JSON text may nest deeper inside raw values. */
#define API_MAX_DEPTH 256

/* All lists and maps of generated structs have this form. */
struct api_any_list {
	char *items;
	uint32_t len, cap;
};

/* All types sorted by id; all kinds sorted by kind, group, version. */
extern const struct api_type *const api_types[];
extern const size_t api_types_count;
extern const struct api_type *const api_kinds[];
extern const size_t api_kinds_count;

/* True where the C field is a pointer to the value. */
static inline bool api_field_indirect(const struct api_field *f) {
	return (f->flags & API_FIELD_POINTER) && f->shape == API_SINGLE &&
	       (f->kind == API_BOOL || f->kind == API_INT32 || f->kind == API_INT64 || f->kind == API_DOUBLE ||
		f->kind == API_INT_OR_STRING || f->kind == API_DURATION || f->kind == API_STRUCT);
}
static inline void *api_field_at(const struct api_field *f, void *value) {
	return (char *)value + f->offset;
}
static inline const void *api_field_at_const(const struct api_field *f, const void *value) {
	return (const char *)value + f->offset;
}
/* Bytes that the field takes in its holder. */
static inline size_t api_field_size(const struct api_field *f) {
	return f->shape != API_SINGLE ? sizeof(struct api_any_list) : api_field_indirect(f) ? sizeof(void *) : f->element_size;
}
/* The field's value where it is single: through the pointer where there is one; NULL where that is NULL. */
static inline const void *api_field_value(const struct api_field *f, const void *value) {
	const void *at = api_field_at_const(f, value);
	return api_field_indirect(f) ? *(const void *const *)at : at;
}
/* Looks through embedded types too. NULL where there is none; *ret_offset is where the holder of the field lies in a value of `type`. */
const struct api_field *api_field_find(const struct api_type *type, const char *name, size_t len, size_t *ret_offset);
/* True where a single value (not through a pointer) is Go's zero value or empty. */
bool api_value_is_zero(const struct api_field *f, const void *at);
/* True where Go's pointer would be nil, though there is none in C: the value itself tells. */
bool api_value_is_absent(const struct api_field *f, const void *at);
/* api_equal of one value, and of a list or map (struct api_any_list). */
bool api_element_equal(const struct api_field *f, const void *a, const void *b);
bool api_items_equal(const struct api_field *f, const void *a, const void *b);
/* quantity_parse that tells a wrong form (-EINVAL) from an unknown suffix (-ENOTSUP). */
int api_quantity_parse(const char *s, size_t len, struct quantity *ret);
/* True where one field is semantically equal in two values of its struct; false where either lacks what the other has. */
bool api_field_same(const struct api_field *f, const void *a, const void *b);
/* True where the field of a struct is there: not nil where Go has a pointer, not empty or zero elsewhere. */
bool api_field_is_set(const struct api_field *f, const void *value);
/* The entry of a sorted map of any generated type, NULL where absent; insert finds or makes it (key copied). */
void *api_map_find(const void *map, size_t entry_size, const char *key);
void *api_map_insert(struct arena *arena, void *map, size_t entry_size, const char *key);
/* As api_new, but kind and apiVersion stay empty. */
void *api_new_bare(const struct api_type *type);
/* The same in one block of memory, where all it points at takes about `content` bytes. */
void *api_new_bare_sized(const struct api_type *type, size_t content);
/* Length of the valid UTF-8 sequence at p, of `left` bytes; 0 where there is none. */
size_t api_utf8_length(const unsigned char *p, size_t left);
/* Appends `s` as a JSON string with quotes, as the Kubernetes serializer does: <, > and & are escaped, bad UTF-8 becomes U+FFFD. */
void api_append_json_string(struct buf *out, const char *s, size_t len);
/* Appends a tree as Go writes an unstructured object: keys sorted, no white space. depth is 0 at the root. */
void api_append_json_tree(struct buf *out, json_t *value, unsigned depth);
/* Appends a double as encoding/json does. */
void api_append_double(struct buf *out, double value);
/* Reads JSON text into one field of *value; what it needs comes from the arena. */
int api_decode_json_field(const struct api_field *f, const char *json, void *value, struct arena *arena);
/* Whether JSON shows the field that lies at `at`; embedded types are not asked for, their fields are. */
enum api_presence { API_LEFT_OUT, API_NULL, API_WRITTEN };
enum api_presence api_field_presence(const struct api_field *f, const void *at);
/* Scalars as encoding/json writes them, through a field's element. */
void api_encode_json_element(const struct api_field *f, const void *at, struct buf *out);

/* Appends how a body that says nothing begins, as errors tell it: JSON as it is, else in hexadecimal digits. */
void api_summarize(const char *data, size_t len, struct buf *out);

#endif
