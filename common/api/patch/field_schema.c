/* SPDX-License-Identifier: Apache-2.0 */
#include "common/api/patch/field_schema.h"

#include "api/meta_v1.h"
#include "common/api/codec.h"

/* An object of which nothing is said takes any member; an embedded one is an object that has apiVersion, kind and metadata. */
static bool is_bare(json_t *json) {
	return !json_object_size(json_object_get(json, "properties")) && !json_object_get(json, "additionalProperties") && !json_is_true(json_object_get(json, "x-kubernetes-embedded-resource"));
}

static struct field_schema of_json(json_t *json, bool open) {
	struct field_schema s = {.json = json};
	const char *type = json_string_value(json_object_get(json, "type"));
	const char *list = json_string_value(json_object_get(json, "x-kubernetes-list-type"));
	const char *map = json_string_value(json_object_get(json, "x-kubernetes-map-type"));
	s.open = open || json_is_true(json_object_get(json, "x-kubernetes-preserve-unknown-fields"));
	if (str_equal(type, "array")) {
		s.form = str_equal(list, "set") ? FORM_SET : str_equal(list, "map") ? FORM_KEYED : FORM_LEAF;
	} else if (str_equal(map, "atomic")) {
		s.form = FORM_LEAF;
	} else if (json_object_get(json, "properties")) {
		s.form = FORM_STRUCT;
	} else if (json_is_object(json_object_get(json, "additionalProperties"))) {
		s.form = FORM_MAP;
	} else if (str_equal(type, "object")) {
		s.form = s.open || is_bare(json) || json_is_true(json_object_get(json, "additionalProperties")) ? FORM_ANY : FORM_STRUCT;
	} else {
		s.form = type || json_is_true(json_object_get(json, "x-kubernetes-int-or-string")) ? FORM_LEAF : FORM_ANY;
	}
	s.root = json_is_true(json_object_get(json, "x-kubernetes-embedded-resource"));
	return s;
}

enum field_form field_form_of(const struct api_field *f) {
	if (f->shape == API_MAP)
		return f->flags & API_FIELD_MAP_ATOMIC ? FORM_LEAF : FORM_MAP;
	if (f->shape == API_LIST)
		return f->list_type == API_LIST_SET ? FORM_SET : f->list_type == API_LIST_MAP ? FORM_KEYED : FORM_LEAF;
	if (f->kind != API_STRUCT)
		return FORM_LEAF;
	if (f->type->custom_json)
		return f->type->custom_json == API_CUSTOM_SELF ? FORM_LEAF : FORM_ANY;
	if (f->flags & API_FIELD_MAP_GRANULAR)
		return FORM_STRUCT;
	return f->type->map_atomic || f->flags & API_FIELD_MAP_ATOMIC ? FORM_LEAF : FORM_STRUCT;
}

bool field_element_is_granular(const struct api_field *f) {
	return f->kind == API_STRUCT && !f->type->custom_json && !f->type->map_atomic;
}

bool field_needs_tree(const struct api_field *f) {
	return f->kind == API_STRUCT && f->type->custom_json && f->type->custom_json != API_CUSTOM_SELF;
}

static struct field_schema of_field(const struct api_field *f) {
	struct field_schema s = {.form = field_form_of(f)};
	if (s.form == FORM_LEAF || s.form == FORM_ANY)
		return s;
	s.type = f->kind == API_STRUCT ? f->type : NULL;
	s.keys = s.form == FORM_KEYED ? f->list_keys : NULL;
	return s;
}

struct field_schema field_schema_root(const struct api_type *type, json_t *json) {
	if (type)
		return (struct field_schema){.form = FORM_STRUCT, .type = type};
	struct field_schema s = json ? of_json(json, false) : (struct field_schema){.form = FORM_ANY};
	s.root = true;
	if (json && s.form == FORM_ANY && !s.open && !json_is_true(json_object_get(json, "additionalProperties")))
		s.form = FORM_STRUCT; /* what any object has is said of it */
	return s;
}

static bool root_member(const char *name, struct field_schema *ret) {
	if (!strcmp(name, "metadata")) {
		*ret = (struct field_schema){.form = FORM_STRUCT, .type = &meta_v1_object_meta_type};
		return true;
	}
	*ret = (struct field_schema){.form = FORM_LEAF};
	return !strcmp(name, "apiVersion") || !strcmp(name, "kind");
}

static bool json_member(struct field_schema s, const char *name, struct field_schema *ret, bool *ret_named) {
	json_t *property = json_object_get(json_object_get(s.json, "properties"), name);
	json_t *additional = json_object_get(s.json, "additionalProperties");
	*ret_named = property != NULL;
	if (property || json_is_object(additional)) {
		*ret = of_json(property ? property : additional, s.open);
		return true;
	}
	*ret = (struct field_schema){.form = FORM_ANY};
	return json_is_true(additional) || s.open || (!s.root && is_bare(s.json));
}

bool field_schema_member(struct field_schema s, const char *name, struct field_schema *ret, bool *ret_named) {
	size_t offset;
	*ret_named = false;
	if (s.root && root_member(name, ret)) {
		*ret_named = true;
		return true;
	}
	if (s.form == FORM_ANY && !s.json) {
		*ret = (struct field_schema){.form = FORM_ANY};
		return true;
	}
	if (s.json)
		return json_member(s, name, ret, ret_named);
	if (s.form == FORM_MAP) {
		*ret = s.type ? (struct field_schema){.form = s.type->custom_json ? (s.type->custom_json == API_CUSTOM_SELF ? FORM_LEAF : FORM_ANY) : FORM_STRUCT, .type = s.type}
			      : (struct field_schema){.form = FORM_LEAF};
		return true;
	}
	const struct api_field *f = s.type ? api_field_find(s.type, name, strlen(name), &offset) : NULL;
	if (!f)
		return false;
	*ret = of_field(f);
	*ret_named = true;
	return true;
}

struct field_schema field_schema_item(struct field_schema s) {
	if (s.json) {
		json_t *items = json_object_get(s.json, "items");
		return items ? of_json(items, s.open) : (struct field_schema){.form = FORM_ANY};
	}
	if (s.form == FORM_KEYED && s.type)
		return (struct field_schema){.form = s.type->map_atomic ? FORM_LEAF : FORM_STRUCT, .type = s.type};
	return (struct field_schema){.form = FORM_LEAF};
}

enum field_form field_schema_form(struct field_schema s, json_t *value) {
	switch (s.form) {
	case FORM_STRUCT:
	case FORM_MAP:
		return json_is_object(value) ? s.form : FORM_LEAF;
	case FORM_SET:
	case FORM_KEYED:
		return json_is_array(value) ? s.form : FORM_LEAF;
	case FORM_ANY:
		return json_is_object(value) ? FORM_MAP : FORM_LEAF;
	default:
		return FORM_LEAF;
	}
}

/* What an absent key stands for; new reference or NULL. */
static json_t *key_default(struct field_schema s, const char *key) {
	size_t offset;
	if (s.json) {
		json_t *property = json_object_get(json_object_get(json_object_get(s.json, "items"), "properties"), key);
		return json_incref(json_object_get(property, "default"));
	}
	const struct api_field *f = s.type ? api_field_find(s.type, key, strlen(key), &offset) : NULL;
	if (!f)
		return NULL;
	/* Where OpenAPI gives the zero value as default, or the key may be left out, the list is keyed by that. */
	return f->default_json ? json_loads(f->default_json, JSON_DECODE_ANY, NULL) : NULL;
}

static bool add_key(struct field_schema s, json_t *object, json_t *item, const char *key) {
	json_t *value = json_incref(json_object_get(item, key));
	if (!value)
		value = key_default(s, key);
	if (!value)
		return false;
	json_object_set_new(object, key, value);
	return true;
}

char *field_schema_element(struct field_schema s, json_t *item) {
	autobuf struct buf out = BUF_INIT((size_t)1 << 20);
	if (s.form == FORM_SET) {
		buf_append_str(&out, "v:");
		api_append_json_tree(&out, item, 0);
		return buf_take(&out);
	}
	json_t *object = json_object();
	bool whole = json_is_object(item), any = false;
	if (s.json) {
		size_t i;
		json_t *key;
		json_array_foreach(json_object_get(s.json, "x-kubernetes-list-map-keys"), i, key) {
			const char *name = json_string_value(key);
			any |= whole && name && add_key(s, object, item, name);
		}
	} else {
		for (const char *const *key = s.keys; whole && key && *key; key++)
			any |= add_key(s, object, item, *key);
	}
	if (any) {
		buf_append_str(&out, "k:");
		api_append_json_tree(&out, object, 0);
	}
	json_decref(object);
	return any ? buf_take(&out) : NULL;
}

void field_schema_key_names(struct field_schema s, struct buf *out) {
	size_t i;
	json_t *key;
	json_array_foreach(json_object_get(s.json, "x-kubernetes-list-map-keys"), i, key)
		buf_printf(out, "%s\"%s\"", out->len ? " " : "", json_string_value(key) ? json_string_value(key) : "");
	for (const char *const *name = s.json ? NULL : s.keys; name && *name; name++)
		buf_printf(out, "%s\"%s\"", out->len ? " " : "", *name);
}
