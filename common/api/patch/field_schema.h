/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a value merges under server-side apply: one view over descriptors and over a custom resource's schema. Small values,
 * passed by copy; what they point at outlives the request.
 */
#ifndef CORACLE_API_PATCH_FIELD_SCHEMA_H
#define CORACLE_API_PATCH_FIELD_SCHEMA_H

#include "common/api/api.h"

enum field_form {
	FORM_LEAF,   /* scalar, atomic list, atomic map: owned as a whole */
	FORM_STRUCT, /* named fields */
	FORM_MAP,    /* granular map: any key */
	FORM_SET,    /* list of distinct scalars */
	FORM_KEYED,  /* list of objects told apart by keys */
	FORM_ANY,    /* no schema: objects are granular, the rest are leaves */
};

struct field_schema {
	enum field_form form;
	const struct api_type *type;     /* FORM_STRUCT by descriptor; element of FORM_MAP and FORM_KEYED by descriptor */
	json_t *json;                    /* JSON schema of a custom resource; NULL: by descriptor */
	const char *const *keys;         /* FORM_KEYED by descriptor */
	bool root;                       /* apiVersion, kind and metadata are those of any object */
	bool open;                       /* it or one around it preserves unknown members, which those within then do as well */
};

/* Of a described field, as a whole list or map where it is one. FORM_ANY: a type with a JSON form of its own. */
enum field_form field_form_of(const struct api_field *f);
/* Whether an element of the field (of its list or map) is told apart in members of its own; else it is owned as a whole. */
bool field_element_is_granular(const struct api_field *f);
/* Whether the field's elements have a JSON form of their own, whose members only a tree can tell. */
bool field_needs_tree(const struct api_field *f);
/* Of a whole object. */
struct field_schema field_schema_root(const struct api_type *type, json_t *json);
/* Of the member `name` of a struct, map or any. Returns false where the schema knows none. *ret_named: it is a declared field. */
bool field_schema_member(struct field_schema s, const char *name, struct field_schema *ret, bool *ret_named);
/* Of a list's elements. */
struct field_schema field_schema_item(struct field_schema s);
/* What the schema makes of this very value: FORM_ANY becomes FORM_MAP or FORM_LEAF, null and mismatches become leaves. */
enum field_form field_schema_form(struct field_schema s, json_t *value);
/* The path element of an item: k:{"name":"a"} or v:"x"; malloc. NULL where a key is missing. */
char *field_schema_element(struct field_schema s, json_t *item);
/* The keys of a keyed list, as Go shows texts in a list. */
void field_schema_key_names(struct field_schema s, struct buf *out);

#endif
