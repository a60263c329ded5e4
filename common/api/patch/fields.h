/* SPDX-License-Identifier: Apache-2.0 */
/* What patches ask of the descriptors: the field behind a JSON name, inlined structs looked through. For this folder. */
#ifndef CORACLE_API_PATCH_FIELDS_H
#define CORACLE_API_PATCH_FIELDS_H

#include "common/api/api.h"

/* NULL where the type (which may be NULL) has no such field. */
static inline const struct api_field *patch_field(const struct api_type *type, const char *name) {
	for (unsigned i = 0; type && i < type->field_count; i++) {
		const struct api_field *field = &type->fields[i];
		if (field->flags & API_FIELD_INLINE) {
			const struct api_field *inner = patch_field(field->type, name);
			if (inner)
				return inner;
		} else if (str_equal(field->name, name)) {
			return field;
		}
	}
	return NULL;
}

/* The type of an object under this field: of its elements where it is a list, of its values where it is a map of structs. */
static inline const struct api_type *patch_field_type(const struct api_field *field) {
	return field && field->kind == API_STRUCT ? field->type : NULL;
}

#endif
