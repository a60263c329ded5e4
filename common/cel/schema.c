/* SPDX-License-Identifier: Apache-2.0 */
#include "common/cel/schema.h"
#include "common/cel/internal.h"

#include <ctype.h>

#define REFERENCE "#/components/schemas/"

/* What a document calls by name stands elsewhere in it. */
struct schema_source {
	struct arena *arena;
	json_t *definitions; /* NULL: no names */
	size_t left;         /* types that may still be made: names that stand for one another may add up to more than anybody can hold */
};
/* The names that are being looked into; one that comes again is a cycle. */
struct chain {
	const struct chain *up;
	const char *name;
};

static const char *text(json_t *object, const char *key) {
	const char *s = json_string_value(json_object_get(object, key));
	return s ? s : "";
}

static bool flag(json_t *object, const char *key) {
	return json_is_true(json_object_get(object, key));
}

/* The name of a property in an expression; NULL where it has none. */
static const char *escape(struct arena *arena, const char *name) {
	autobuf struct buf out = BUF_INIT(BUF_MAX_DEFAULT);
	if (!*name || isdigit((unsigned char)*name))
		return NULL;
	if (is_keyword(name))
		return arena_printf(arena, "__%s__", name);
	for (const char *p = name; *p; p++) {
		if (p[0] == '_' && p[1] == '_') {
			buf_append_str(&out, "__underscores__");
			p++;
		} else if (isalnum((unsigned char)*p) || *p == '_') {
			buf_append_char(&out, *p);
		} else if (*p == '.' || *p == '-' || *p == '/') {
			buf_printf(&out, "__%s__", *p == '.' ? "dot" : *p == '-' ? "dash" : "slash");
		} else {
			return NULL;
		}
	}
	return arena_strndup(arena, out.data, out.len);
}

/* How large values may be: no request is larger than this. Kubernetes' estimates of cost are made of it. */
#define REQUEST_SIZE (3u << 20)
#define TEXT_SIZE (REQUEST_SIZE - 2)

#define TYPES_MAX 200000u

static const struct cel_type *type_of(struct schema_source *from, const struct chain *chain, json_t *schema, const char *name, bool root);

/* What a schema refers to; NULL: nothing. A reference with a description of its own is wrapped in allOf. */
static const char *reference_of(const struct schema_source *from, json_t *schema) {
	if (!from->definitions)
		return NULL;
	const char *name = text(schema, "$ref");
	if (!*name)
		name = text(json_array_get(json_object_get(schema, "allOf"), 0), "$ref");
	return str_starts_with(name, REFERENCE) ? name + strlen(REFERENCE) : NULL;
}

static json_t *resolve(const struct schema_source *from, json_t *schema) {
	const char *name = reference_of(from, schema);
	return name ? json_object_get(from->definitions, name) : schema;
}

static const struct cel_type *sized(struct arena *arena, const struct cel_type *plain, uint64_t max_size, uint64_t min_json) {
	struct cel_type *type = arena_memdup(arena, plain, sizeof(*plain));
	type->max_size = max_size;
	type->min_json = min_json;
	return type;
}

/* What the schema says of the most; `otherwise` where it does not. */
static uint64_t limit(json_t *schema, const char *key, uint64_t otherwise) {
	json_t *value = json_object_get(schema, key);
	return json_is_number(value) ? (uint64_t)max_of(json_number_value(value), 0.0) : otherwise;
}

struct fields {
	struct cel_field *items;
	size_t len;
	uint64_t min_json;
};

static bool has_text(json_t *array, const char *wanted) {
	size_t i;
	json_t *item;
	json_array_foreach(array, i, item) {
		if (json_is_string(item) && strcmp(json_string_value(item), wanted) == 0)
			return true;
	}
	return false;
}

static void add_field(struct arena *arena, struct fields *fields, const char *key, const struct cel_type *type, bool needed) {
	const char *name = type ? escape(arena, key) : NULL;
	if (type && needed)
		fields->min_json += strlen(key) + type->min_json + 4;
	if (name)
		fields->items[fields->len++] = (struct cel_field){name, arena_strdup(arena, key), type};
}

static const struct cel_type *text_type(struct arena *arena) {
	return sized(arena, &cel_string, TEXT_SIZE, 2);
}

static bool is_of_type(const struct schema_source *from, json_t *properties, const char *key, const char *type) {
	return strcmp(text(resolve(from, json_object_get(properties, key)), "type"), type) == 0;
}

/* True where the schema tells all of an object's kind and names: then it says what their types are. */
static bool tells_names(const struct schema_source *from, json_t *properties) {
	json_t *names = json_object_get(resolve(from, json_object_get(properties, "metadata")), "properties");
	return is_of_type(from, properties, "kind", "string") && is_of_type(from, properties, "apiVersion", "string") && is_of_type(from, properties, "metadata", "object") &&
		is_of_type(from, names, "name", "string") && is_of_type(from, names, "generateName", "string");
}

static const struct cel_type *map_type(struct schema_source *from, const struct chain *chain, json_t *schema, json_t *values, const char *name) {
	autofree char *below = xprintf("%s.@elem", name);
	const struct cel_type *value = type_of(from, chain, values, below, flag(values, "x-kubernetes-embedded-resource"));
	return value ? sized(from->arena, cel_map_of(from->arena, &cel_string, value), limit(schema, "maxProperties", TEXT_SIZE / (value->min_json + 6)), 2) : NULL;
}

static const struct cel_type *object_type(struct schema_source *from, const struct chain *chain, json_t *schema, const char *name, bool root) {
	struct arena *arena = from->arena;
	json_t *properties = json_object_get(schema, "properties"), *more = json_object_get(schema, "additionalProperties"), *required = json_object_get(schema, "required"), *inner;
	const char *key;
	if (json_is_object(more))
		return map_type(from, chain, schema, more, name);
	autofree struct cel_field *items = xcalloc(json_object_size(properties) + 3, sizeof(*items));
	struct fields fields = {items, 0, 2};
	root = root && !tells_names(from, properties);
	json_object_foreach(properties, key, inner) {
		autofree char *below = xprintf("%s.%s", name, key);
		if (!root || (strcmp(key, "kind") != 0 && strcmp(key, "apiVersion") != 0 && strcmp(key, "metadata") != 0))
			add_field(arena, &fields, key, type_of(from, chain, inner, below, flag(inner, "x-kubernetes-embedded-resource")), has_text(required, key) && !json_object_get(inner, "default"));
	}
	if (root) {
		autofree char *below = xprintf("%s.metadata", name);
		const struct cel_field names[] = {{"name", "name", text_type(arena)}, {"generateName", "generateName", text_type(arena)}};
		add_field(arena, &fields, "kind", text_type(arena), has_text(required, "kind"));
		add_field(arena, &fields, "apiVersion", text_type(arena), has_text(required, "apiVersion"));
		add_field(arena, &fields, "metadata", sized(arena, cel_object_of(arena, below, names, array_len(names)), 0, 2), has_text(required, "metadata"));
	}
	return sized(arena, cel_object_of(arena, name, fields.items, fields.len), 0, fields.min_json);
}

static const struct cel_type *array_type(struct schema_source *from, const struct chain *chain, json_t *schema, const char *name) {
	struct arena *arena = from->arena;
	json_t *items = json_object_get(schema, "items"), *keys = json_object_get(schema, "x-kubernetes-list-map-keys");
	autofree char *below = xprintf("%s.@idx", name);
	const struct cel_type *item = json_is_object(items) ? type_of(from, chain, items, below, flag(items, "x-kubernetes-embedded-resource")) : NULL;
	if (!item)
		return NULL;
	struct cel_type *list = cel_list_of(arena, item);
	const char *type = text(schema, "x-kubernetes-list-type");
	list->list_type = strcmp(type, "set") == 0 ? CEL_LIST_SET : strcmp(type, "map") == 0 ? CEL_LIST_MAP : CEL_LIST_PLAIN;
	list->max_size = limit(schema, "maxItems", TEXT_SIZE / (item->min_json + 1));
	list->min_json = 2;
	const char **names = arena_calloc(arena, json_array_size(keys) + 1, sizeof(*names));
	for (size_t i = 0, n = 0; i < json_array_size(keys); i++)
		if (json_is_string(json_array_get(keys, i)))
			names[n++] = arena_strdup(arena, json_string_value(json_array_get(keys, i)));
	list->list_keys = names;
	return list;
}

/* In bytes, of which a character takes four at most. */
static uint64_t text_limit(json_t *schema) {
	json_t *values = json_object_get(schema, "enum"), *value;
	uint64_t longest = 0;
	size_t i;
	if (json_object_get(schema, "maxLength"))
		return limit(schema, "maxLength", 0) * 4;
	json_array_foreach(values, i, value)
		longest = max_of(longest, (uint64_t)json_string_length(value));
	return json_array_size(values) ? longest : TEXT_SIZE;
}

static const struct cel_type *string_type(struct arena *arena, json_t *schema) {
	static const struct cel_type date = {.kind = CEL_TIMESTAMP, .date_only = true};
	const char *format = text(schema, "format");
	if (strcmp(format, "byte") == 0)
		return sized(arena, &cel_bytes, limit(schema, "maxLength", TEXT_SIZE), 2);
	if (strcmp(format, "duration") == 0)
		return sized(arena, &cel_duration, 32, 3);
	if (strcmp(format, "date") == 0)
		return sized(arena, &date, 12, 12);
	if (strcmp(format, "date-time") == 0)
		return sized(arena, &cel_timestamp, 32, 21);
	return sized(arena, &cel_string, text_limit(schema), 2);
}

static const struct cel_type *plain_type(struct schema_source *from, const struct chain *chain, json_t *schema, const char *name, bool root) {
	struct arena *arena = from->arena;
	const char *type = text(schema, "type");
	if (flag(schema, "x-kubernetes-int-or-string") || (from->definitions && strcmp(text(schema, "format"), "int-or-string") == 0))
		return sized(arena, &cel_dyn, json_object_get(schema, "maxLength") ? limit(schema, "maxLength", 0) * 4 : TEXT_SIZE, 1);
	if (root || strcmp(type, "object") == 0)
		return object_type(from, chain, schema, name, root);
	if (strcmp(type, "array") == 0)
		return array_type(from, chain, schema, name);
	if (strcmp(type, "string") == 0)
		return string_type(arena, schema);
	const struct cel_type *plain = strcmp(type, "boolean") == 0 ? &cel_bool : strcmp(type, "number") == 0 ? &cel_double : strcmp(type, "integer") == 0 ? &cel_int : NULL;
	return plain ? sized(arena, plain, 0, plain == &cel_bool ? 4 : 1) : NULL;
}

/* NULL where the schema does not tell. What holds itself is an object of no fields where it comes again. */
static const struct cel_type *type_of(struct schema_source *from, const struct chain *chain, json_t *schema, const char *name, bool root) {
	const char *reference = reference_of(from, schema);
	if (!from->left)
		return NULL;
	from->left--;
	if (!reference)
		return plain_type(from, chain, schema, name, root);
	for (const struct chain *up = chain; up; up = up->up)
		if (strcmp(up->name, reference) == 0)
			return sized(from->arena, cel_object_of(from->arena, name, NULL, 0), 0, 2);
	json_t *found = json_object_get(from->definitions, reference);
	struct chain link = {chain, reference};
	return found ? plain_type(from, &link, found, name, root) : NULL;
}

const struct cel_type *cel_type_of_schema(struct arena *arena, json_t *schema, json_t *definitions, const char *name, bool root) {
	struct schema_source from = {arena, definitions, TYPES_MAX};
	return type_of(&from, NULL, schema, name, root);
}
