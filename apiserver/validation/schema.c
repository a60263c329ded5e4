/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three looks, as Kubernetes has them. The first asks whether a schema is structural: types and fields are said once, outside of allOf, anyOf, oneOf and not, which only
 * narrow values. Where it is, the second holds defaults against it. The third goes through what a schema may say at all, parents behind their children; where it finds
 * nothing in a part, the rules of that part are compiled.
 */
#include "apiserver/validation/schema.h"
#include "apiserver/custom/custom.h"
#include "apiserver/validation/rules.h"
#include "common/api/codec.h"
#include "common/base/regex.h"

typedef struct apiextensions_v1_json_schema_props schema_t;
typedef struct apiextensions_v1_json_schema_props_array schema_list_t;

const schema_t *schema_property(const schema_t *s, const char *name) {
	for (uint32_t i = 0; s && i < s->properties.len; i++)
		if (str_equal(s->properties.items[i].key, name))
			return &s->properties.items[i].value;
	return NULL;
}

static bool keeps_unknown(const schema_t *s) {
	return s->x_kubernetes_preserve_unknown_fields && *s->x_kubernetes_preserve_unknown_fields;
}

static const schema_t *item_of(const schema_t *s) {
	return s->items ? s->items->schema : NULL;
}

static const schema_t *rest_of(const schema_t *s) {
	return s->additional_properties ? s->additional_properties->schema : NULL;
}

/* ---- whether it can be looked at as a structural one ---- */

static const char *first_unstructural(const schema_list_t *list) {
	const char *why = NULL;
	for (uint32_t i = 0; !why && i < list->len; i++)
		why = schema_unstructural(&list->items[i]);
	return why;
}

const char *schema_unstructural(const schema_t *s) {
	const struct {
		bool set;
		const char *text;
	} unsupported[] = {
		{!str_empty(s->id), "OpenAPIV3Schema 'id' is not supported"},
		{!str_empty(s->schema), "OpenAPIV3Schema 'schema' is not supported"},
		{!str_empty(s->ref), "OpenAPIV3Schema '$ref' is not supported"},
		{s->pattern_properties.len, "OpenAPIV3Schema 'patternProperties' is not supported"},
		{s->dependencies.len, "OpenAPIV3Schema 'dependencies' is not supported"},
		{s->additional_items, "OpenAPIV3Schema 'additionalItems' is not supported"},
		{s->definitions.len, "OpenAPIV3Schema 'definitions' is not supported"},
		{s->x_kubernetes_preserve_unknown_fields && !keeps_unknown(s), "internal error: 'x-kubernetes-preserve-unknown-fields' must be true or undefined"},
		{s->items && s->items->json_schemas.len, "OpenAPIV3Schema 'items' must be a schema, but is an array"},
	};
	for (size_t i = 0; i < array_len(unsupported); i++)
		if (unsupported[i].set)
			return unsupported[i].text;
	const schema_t *const parts[] = {s->not, item_of(s), rest_of(s)};
	const schema_list_t *const lists[] = {&s->all_of, &s->any_of, &s->one_of};
	const char *why = NULL;
	for (size_t i = 0; !why && i < array_len(parts); i++)
		why = parts[i] ? schema_unstructural(parts[i]) : NULL;
	for (size_t i = 0; !why && i < array_len(lists); i++)
		why = first_unstructural(lists[i]);
	for (uint32_t i = 0; !why && i < s->properties.len; i++)
		why = schema_unstructural(&s->properties.items[i].value);
	return why;
}

/* ---- whether it is structural ---- */

/* What it says where its type is missing. */
enum level { ROOT, ITEM, FIELD };

/* The type that an extension asks for. */
static void check_type_for(const schema_t *s, const char *type, const char *extension, const struct path *at, struct error *err) {
	autofree char *text = xprintf("must be %s if %s", type, extension);
	if (str_empty(s->type))
		required(err, AT("type"), text);
	else if (!str_equal(s->type, type))
		invalid(err, AT("type"), s->type, "%s", text);
}

/* anyOf: [{type: integer}, {type: string}], as kubebuilder writes it. */
static bool is_int_or_string(const schema_list_t *any) {
	static const char *const types[] = {"integer", "string"};
	bool same = any->len == 2;
	for (uint32_t i = 0; same && i < 2; i++) {
		schema_t alone = {.type = any->items[i].type};
		same = str_equal(alone.type, types[i]) && api_equal(&apiextensions_v1_json_schema_props_type, &alone, &any->items[i]);
	}
	return same;
}

static void check_narrowing(const schema_t *s, bool skip_any, bool skip_first_any, const struct path *at, struct error *err);

/* Of a part that only narrows. */
static void check_nested(const schema_t *s, bool skip_any, const struct path *at, struct error *err) {
	const struct {
		bool set;
		const char *name, *text;
	} rules[] = {
		{!str_empty(s->type), "type", "empty"}, {s->default_.len, "default", "undefined"}, {!str_empty(s->title), "title", "empty"}, {!str_empty(s->description), "description", "empty"},
		{s->nullable, "nullable", "false"}, {s->additional_properties && (s->additional_properties->schema || s->additional_properties->allows), "additionalProperties", "undefined"},
		{keeps_unknown(s), "x-kubernetes-preserve-unknown-fields", "false"},
		{s->x_kubernetes_embedded_resource, "x-kubernetes-embedded-resource", "false"}, {s->x_kubernetes_int_or_string, "x-kubernetes-int-or-string", "false"},
		{s->x_kubernetes_list_map_keys.len, "x-kubernetes-list-map-keys", "empty"}, {s->x_kubernetes_list_type, "x-kubernetes-list-type", "undefined"},
		{s->x_kubernetes_map_type, "x-kubernetes-map-type", "undefined"}, {s->x_kubernetes_validations.len, "x-kubernetes-validations", "empty"},
	};
	check_narrowing(s, skip_any, false, at, err);
	if (item_of(s))
		check_nested(item_of(s), false, AT("items"), err);
	for (uint32_t i = 0; i < s->properties.len; i++)
		check_nested(&s->properties.items[i].value, false, AT_KEY("properties", s->properties.items[i].key), err);
	for (size_t i = 0; i < array_len(rules); i++)
		if (rules[i].set)
			forbidden(err, AT(rules[i].name), "must be %s to be structural", rules[i].text);
	if (schema_property(s, "metadata"))
		forbidden(err, AT_KEY("properties", "metadata"), "must not be specified in a nested context");
}

static void check_pattern(const char *pattern, const struct path *at, struct error *err) {
	autofree char *why = NULL;
	struct regex *regex = regex_new(pattern, &why);
	if (!regex)
		invalid(err, at, pattern, "must be a valid regular expression, but isn't: error parsing regexp: %s: `%s`", why, pattern);
	regex_free(regex);
}

static void check_narrowing(const schema_t *s, bool skip_any, bool skip_first_any, const struct path *at, struct error *err) {
	for (uint32_t i = 0; !skip_any && i < s->any_of.len; i++)
		check_nested(&s->any_of.items[i], false, AT_INDEX("anyOf", i), err);
	for (uint32_t i = 0; i < s->all_of.len; i++)
		check_nested(&s->all_of.items[i], skip_first_any && i == 0, AT_INDEX("allOf", i), err);
	for (uint32_t i = 0; i < s->one_of.len; i++)
		check_nested(&s->one_of.items[i], false, AT_INDEX("oneOf", i), err);
	if (s->not)
		check_nested(s->not, false, AT("not"), err);
	if (!str_empty(s->pattern))
		check_pattern(s->pattern, AT("pattern"), err);
}

/* metadata is known already; only its names may be narrowed. */
static void check_metadata_schema(const schema_t *metadata, bool root, const struct path *at, struct error *err) {
	if (!str_equal(metadata->type, "object"))
		invalid(err, AT("type"), metadata->type, "must be object");
	if (!root)
		return;
	schema_t rest = *metadata;
	bool names = rest.properties.len > 0;
	for (uint32_t i = 0; i < rest.properties.len; i++)
		names &= str_equal(rest.properties.items[i].key, "name") || str_equal(rest.properties.items[i].key, "generateName");
	rest.type = NULL;
	rest.default_ = (struct api_raw){0};
	rest.example = (struct api_raw){0};
	rest.external_docs = NULL;
	if (names)
		rest.properties.len = 0;
	schema_t none = {0};
	if (!api_equal(&apiextensions_v1_json_schema_props_type, &rest, &none))
		forbidden(err, at, "must not specify anything other than name and generateName, but metadata is implicitly specified");
}

static void check_structural(const schema_t *s, enum level level, const struct path *at, struct error *err) {
	static const char *const missing[] = {[ROOT] = "must not be empty at the root", [ITEM] = "must not be empty for specified array items", [FIELD] = "must not be empty for specified object fields"};
	static const char *const texts[] = {"kind", "apiVersion"};
	bool embedded = s->x_kubernetes_embedded_resource, whole = level == ROOT || embedded;
	if (str_equal(s->type, "array") && !item_of(s))
		required(err, AT("items"), "must be specified");
	if (item_of(s))
		check_structural(item_of(s), ITEM, AT("items"), err);
	for (uint32_t i = 0; i < s->properties.len; i++)
		check_structural(&s->properties.items[i].value, FIELD, AT_KEY("properties", s->properties.items[i].key), err);
	if (level == ROOT && s->additional_properties)
		forbidden(err, AT("additionalProperties"), "must not be used at the root");
	if (rest_of(s))
		check_structural(rest_of(s), FIELD, AT("additionalProperties"), err);
	if (s->x_kubernetes_int_or_string && keeps_unknown(s))
		invalid_bool(err, AT("x-kubernetes-preserve-unknown-fields"), true, "must be false if x-kubernetes-int-or-string is true");
	if (s->x_kubernetes_int_or_string && embedded)
		invalid_bool(err, AT("x-kubernetes-embedded-resource"), true, "must be false if x-kubernetes-int-or-string is true");
	/* The first of allOf may hold the anyOf of int-or-string. */
	check_narrowing(s, is_int_or_string(&s->any_of), s->all_of.len && is_int_or_string(&s->all_of.items[0].any_of), at, err);
	if (embedded)
		check_type_for(s, "object", "x-kubernetes-embedded-resource is true", at, err);
	else if (str_empty(s->type) && !s->x_kubernetes_int_or_string && !keeps_unknown(s))
		required(err, AT("type"), missing[level]);
	if (embedded && s->additional_properties)
		forbidden(err, AT("additionalProperties"), "must not be used if x-kubernetes-embedded-resource is set");
	if (embedded && !keeps_unknown(s) && !s->properties.len)
		required(err, AT("properties"), "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields");
	if (level == ROOT && !str_empty(s->type) && !str_equal(s->type, "object"))
		invalid(err, AT("type"), s->type, "must be object at the root");
	for (size_t i = 0; whole && i < array_len(texts); i++) {
		const schema_t *text = schema_property(s, texts[i]);
		if (text && !str_equal(text->type, "string"))
			invalid(err, &PATH(AT_KEY("properties", texts[i]), "type"), text->type, "must be string");
	}
	if (whole && schema_property(s, "metadata"))
		check_metadata_schema(schema_property(s, "metadata"), level == ROOT, AT_KEY("properties", "metadata"), err);
}

static void check_complete(const schema_t *narrow, const schema_t *s, const struct path *at, const struct path *from, struct error *err);

static void check_parts_complete(const schema_list_t *list, const char *name, const schema_t *s, const struct path *at, const struct path *from, struct error *err) {
	for (uint32_t i = 0; i < list->len; i++)
		check_complete(&list->items[i], s, at, &PATH_INDEX(from, name, i), err);
}

static void check_narrowing_complete(const schema_t *narrow, const schema_t *s, const struct path *at, const struct path *from, struct error *err) {
	if (narrow->not)
		check_complete(narrow->not, s, at, &PATH(from, "not"), err);
	check_parts_complete(&narrow->all_of, "allOf", s, at, from, err);
	check_parts_complete(&narrow->any_of, "anyOf", s, at, from, err);
	check_parts_complete(&narrow->one_of, "oneOf", s, at, from, err);
}

/* What is narrowed at `from` must be there in the structure, at `at`. */
static void check_complete(const schema_t *narrow, const schema_t *s, const struct path *at, const struct path *from, struct error *err) {
	if (!s) {
		autobuf struct buf where = BUF_INIT(64 << 10);
		path_write(from, &where);
		autofree char *text = xprintf("because it is defined in %s", str_or(where.data, ""));
		required(err, at, text);
		return;
	}
	check_narrowing_complete(narrow, s, at, from, err);
	if (item_of(narrow))
		check_complete(item_of(narrow), item_of(s), AT("items"), &PATH(from, "items"), err);
	for (uint32_t i = 0; i < narrow->properties.len; i++) {
		const char *name = narrow->properties.items[i].key;
		check_complete(&narrow->properties.items[i].value, schema_property(s, name), AT_KEY("properties", name), &PATH_KEY(from, "properties", name), err);
	}
}

static int order_causes_by_text(const void *a, const void *b) {
	const struct error_cause *x = a, *y = b;
	autofree char *first = xprintf("%s: %s", x->field, x->message), *second = xprintf("%s: %s", y->field, y->message);
	return strcmp(first, second);
}

static void append_causes(const struct error *found, struct error *err) {
	for (size_t i = 0; i < found->cause_count; i++)
		error_cause(err, found->causes[i].reason, found->causes[i].field, "%s", found->causes[i].message);
}

/* Returns whether it is. What is wrong is told in the order of its text. */
static bool is_structural(const schema_t *s, const struct path *at, struct error *err) {
	autoerror struct error found = {0};
	check_structural(s, ROOT, at, &found);
	check_narrowing_complete(s, s, at, at, &found);
	if (found.cause_count)
		qsort(found.causes, found.cause_count, sizeof(*found.causes), order_causes_by_text);
	append_causes(&found, err);
	return !found.cause_count;
}

/* ---- defaults: each must be what its own schema allows ---- */

/* A whole object says what it is. */
static bool says_its_kind(json_t *value, const struct path *at, struct error *err) {
	static const char *const names[] = {"apiVersion", "kind"};
	size_t before = err->cause_count;
	for (size_t i = 0; json_is_object(value) && i < array_len(names); i++)
		if (!json_object_get(value, names[i]))
			required(err, AT(names[i]), "must not be empty");
	return err->cause_count == before;
}

static void check_default(const schema_t *s, bool whole, const struct path *at, struct error *err) {
	autobuf struct buf text = BUF_INIT(BUF_MAX_DEFAULT), place = BUF_INIT(64 << 10);
	api_encode_json(&apiextensions_v1_json_schema_props_type, s, &text);
	json_t *schema = json_loadb(text.data, text.len, 0, NULL), *value = json_loadb(s->default_.json, s->default_.len, JSON_DECODE_ANY, NULL), *pruned = json_deep_copy(value);
	autoerror struct error found = {0};
	if (schema && value) {
		schema_prune(schema, pruned, whole, NULL, NULL);
		if (!json_equal(pruned, value)) {
			autofree char *json = xstrndup(s->default_.json, s->default_.len);
			invalid_struct(err, at, NULL, json, "must not have unknown fields");
		}
		if (!whole || says_its_kind(value, at, err))
			schema_validate(schema, value, NULL, "", &found);
	}
	json_decref(schema);
	json_decref(value);
	json_decref(pruned);
	path_write(at, &place);
	for (size_t i = 0; i < found.cause_count; i++) {
		const struct error_cause *cause = &found.causes[i];
		/* What is about the value itself has no path of its own. */
		const char *inner = str_equal(cause->field, "<nil>") ? "" : str_or(cause->field, "");
		autofree char *field = xprintf("%s%s%s", str_or(place.data, ""), !*inner || *inner == '[' ? "" : ".", inner);
		error_cause(err, cause->reason, field, "%s", cause->message);
	}
}

static void check_defaults(const schema_t *s, bool root, const struct path *at, struct error *err) {
	if (s->default_.len)
		check_default(s, root || s->x_kubernetes_embedded_resource, AT("default"), err);
	if (item_of(s))
		check_defaults(item_of(s), false, AT("items"), err);
	for (uint32_t i = 0; i < s->properties.len; i++)
		check_defaults(&s->properties.items[i].value, false, AT_KEY("properties", s->properties.items[i].key), err);
}

/* ---- what it may say ---- */

struct place {
	bool root, in_metadata;
	const char *no_default;            /* why none may be here */
	const struct path *uncorrelatable; /* the first above of whose parts nobody can tell which was which before; NULL: none */
	struct cardinality cardinality;
	struct rule_check *rules; /* takes what is wrong with rules; NULL: they are not looked at */
};

static void check_said(const schema_t *s, struct place place, const struct path *at, struct error *err);

/* What no schema may have. */
static void check_standard(const schema_t *s, struct place place, const struct path *at, struct error *err) {
	static const char *const types[] = {"array", "boolean", "integer", "number", "object", "string", NULL};
	if (!str_empty(s->type))
		check_enum(s->type, types, AT("type"), err);
	if (s->default_.len && place.no_default)
		forbidden(err, AT("default"), "must not be set %s", place.no_default);
	const struct {
		bool set;
		const char *name;
	} unsupported[] = {
		{!str_empty(s->id), "id"}, {s->additional_items, "additionalItems"}, {s->pattern_properties.len, "patternProperties"}, {s->definitions.len, "definitions"},
		{s->dependencies.items, "dependencies"}, {s->ref, "$ref"},
	};
	for (size_t i = 0; i < array_len(unsupported); i++)
		if (unsupported[i].set)
			forbidden(err, AT(unsupported[i].name), "%s is not supported", unsupported[i].name);
	if (str_equal(s->type, "null"))
		forbidden(err, AT("type"), "type cannot be set to null, use nullable as an alternative");
	if (s->items && s->items->json_schemas.len)
		forbidden(err, AT("items"), "items must be a schema object and not an array");
	if (place.in_metadata && s->x_kubernetes_embedded_resource)
		forbidden(err, AT("x-kubernetes-embedded-resource"), "must not be used inside of resource meta");
	if (s->unique_items)
		forbidden(err, AT("uniqueItems"), "uniqueItems cannot be set to true since the runtime complexity becomes quadratic");
	if (s->additional_properties && s->properties.len && (!s->additional_properties->allows || s->additional_properties->schema))
		forbidden(err, AT("additionalProperties"), "additionalProperties and properties are mutual exclusive");
}

/* Items of a set are told apart as wholes. */
static void check_set_item(const schema_t *item, const struct path *at, struct error *err) {
	const char *text = "must be atomic as item of a list with x-kubernetes-list-type=set";
	if (str_equal(item->type, "array") && item->x_kubernetes_list_type && !str_equal(item->x_kubernetes_list_type, "atomic"))
		invalid(err, &PATH(AT("items"), "x-kubernetes-list-type"), item->x_kubernetes_list_type, "%s", text);
	else if (str_equal(item->type, "object") && !str_equal(item->x_kubernetes_map_type, "atomic"))
		invalid(err, &PATH(AT("items"), "x-kubernetes-map-type"), item->x_kubernetes_map_type, "%s", text);
}

static void check_list_map(const schema_t *s, const schema_t *item, const struct path *at, struct error *err) {
	const struct api_string_list *keys = &s->x_kubernetes_list_map_keys;
	if (!keys->len)
		required(err, AT("x-kubernetes-list-map-keys"), "must not be empty if x-kubernetes-list-type is map");
	if (!s->items)
		required(err, AT("items"), "must have a schema if x-kubernetes-list-type is map");
	else if (!item)
		invalid_struct(err, AT("items"), &apiextensions_v1_json_schema_props_or_array_type, s->items, "must only have a single schema if x-kubernetes-list-type is map");
	if (item && !str_equal(item->type, "object"))
		invalid(err, &PATH(AT("items"), "type"), item->type, "must be object if parent array's x-kubernetes-list-type is map");
	automap struct map seen = MAP_INIT(NULL);
	for (uint32_t i = 0; item && str_equal(item->type, "object") && i < keys->len; i++) {
		const schema_t *key = schema_property(item, keys->items[i]);
		if (!key)
			invalid_list(err, AT("x-kubernetes-list-map-keys"), keys, "entries must all be names of item properties");
		else if (str_equal(key->type, "array") || str_equal(key->type, "object"))
			invalid(err, &PATH(&PATH_KEY(AT("items"), "properties", keys->items[i]), "type"), item->type, "must be a scalar type if parent array's x-kubernetes-list-type is map");
		if (seen_before(&seen, keys->items[i]))
			invalid_list(err, AT("x-kubernetes-list-map-keys"), keys, "must not contain duplicate entries");
	}
}

/* What items of maps and sets must have, so that they can be told apart. */
static void check_told_apart(const schema_t *s, const schema_t *item, const struct path *at, struct error *err) {
	const char *list = s->x_kubernetes_list_type;
	bool map = str_equal(list, "map");
	if (!item || (!map && !str_equal(list, "set")))
		return;
	if (item->nullable)
		forbidden(err, &PATH(AT("items"), "nullable"), "cannot be nullable when x-kubernetes-list-type is %s", list);
	for (uint32_t i = 0; map && i < s->x_kubernetes_list_map_keys.len; i++) {
		const char *name = s->x_kubernetes_list_map_keys.items[i];
		const schema_t *key = schema_property(item, name);
		const struct path here = PATH_KEY(AT("items"), "properties", name);
		if (key && !api_string_list_has(&item->required, name) && !key->default_.len)
			required(err, &PATH(&here, "default"), "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property");
		if (key && key->nullable)
			forbidden(err, &PATH(&here, "nullable"), "this property is in x-kubernetes-list-map-keys, so it cannot be nullable");
	}
}

static void check_extensions(const schema_t *s, const struct path *at, struct error *err) {
	static const char *const map_types[] = {"atomic", "granular", NULL}, *const list_types[] = {"atomic", "set", "map", NULL};
	const char *list = s->x_kubernetes_list_type;
	const schema_t *item = item_of(s);
	if (s->x_kubernetes_preserve_unknown_fields && !keeps_unknown(s))
		invalid_bool(err, AT("x-kubernetes-preserve-unknown-fields"), false, "must be true or undefined");
	if (s->x_kubernetes_map_type) {
		check_type_for(s, "object", "x-kubernetes-map-type is specified", at, err);
		if (!str_equal(s->x_kubernetes_map_type, map_types[0]) && !str_equal(s->x_kubernetes_map_type, map_types[1]))
			not_supported(err, AT("x-kubernetes-map-type"), s->x_kubernetes_map_type, map_types);
	}
	if (list) {
		check_type_for(s, "array", "x-kubernetes-list-type is specified", at, err);
		if (item && str_equal(list, "set") && str_equal(s->type, "array"))
			check_set_item(item, at, err);
		if (!str_equal(list, "atomic") && !str_equal(list, "set") && !str_equal(list, "map"))
			not_supported(err, AT("x-kubernetes-list-type"), list, list_types);
	}
	if (s->x_kubernetes_list_map_keys.len && !list)
		required(err, AT("x-kubernetes-list-type"), "must be map if x-kubernetes-list-map-keys is non-empty");
	else if (s->x_kubernetes_list_map_keys.len && !str_equal(list, "map"))
		invalid(err, AT("x-kubernetes-list-type"), list, "must be map if x-kubernetes-list-map-keys is non-empty");
	if (str_equal(list, "map"))
		check_list_map(s, item, at, err);
	check_told_apart(s, item, at, err);
}

static void check_all_said(const schema_list_t *list, const char *name, struct place place, const struct path *at, struct error *err) {
	for (uint32_t i = 0; i < list->len; i++)
		check_said(&list->items[i], place, AT_INDEX(name, i), err);
}

static void check_properties(const schema_t *s, struct place place, struct place inner, const struct path *at, struct error *err) {
	if (!inner.uncorrelatable && str_equal(s->x_kubernetes_map_type, "atomic"))
		inner.uncorrelatable = at;
	for (uint32_t i = 0; i < s->properties.len; i++) {
		const char *name = s->properties.items[i].key;
		struct place here = inner;
		if ((place.root || s->x_kubernetes_embedded_resource) && (str_equal(name, "metadata") || str_equal(name, "kind") || str_equal(name, "apiVersion"))) {
			here.in_metadata = true;
			if (place.root)
				here.no_default = str_equal(name, "metadata") ? "in top-level metadata" : str_equal(name, "kind") ? "in top-level kind" : "in top-level apiVersion";
		}
		check_said(&s->properties.items[i].value, here, AT_KEY("properties", name), err);
	}
}

static void check_said(const schema_t *s, struct place place, const struct path *at, struct error *err) {
	size_t before = err->cause_count;
	struct place inner = place, narrow = place, items = place;
	inner.root = narrow.root = items.root = false;
	inner.cardinality = items.cardinality = cardinality_below(place.cardinality, s);
	narrow.rules = NULL;
	check_standard(s, place, at, err);
	if (rest_of(s)) {
		struct place rest = inner;
		if (place.in_metadata)
			rest.no_default = "inside additionalProperties applying to object metadata";
		check_said(rest_of(s), rest, AT("additionalProperties"), err);
	}
	check_properties(s, place, inner, at, err);
	if (s->not)
		check_said(s->not, narrow, AT("not"), err);
	check_all_said(&s->all_of, "allOf", narrow, at, err);
	check_all_said(&s->one_of, "oneOf", narrow, at, err);
	check_all_said(&s->any_of, "anyOf", narrow, at, err);
	for (uint32_t i = 0; i < s->definitions.len; i++)
		check_said(&s->definitions.items[i].value, narrow, AT_KEY("definitions", s->definitions.items[i].key), err);
	if (!items.uncorrelatable && !str_equal(s->x_kubernetes_list_type, "map"))
		items.uncorrelatable = at;
	if (item_of(s))
		check_said(item_of(s), items, AT("items"), err);
	if (s->items)
		check_all_said(&s->items->json_schemas, "items", items, at, err);
	for (uint32_t i = 0; i < s->dependencies.len; i++)
		if (s->dependencies.items[i].value.schema)
			check_said(s->dependencies.items[i].value.schema, narrow, AT_KEY("dependencies", s->dependencies.items[i].key), err);
	check_extensions(s, at, err);
	check_rules(s, at, err);
	if (place.rules && err->cause_count == before)
		compile_rules(s, &(struct rule_place){place.cardinality, place.uncorrelatable, place.root || s->x_kubernetes_embedded_resource}, at, place.rules);
}

/* ---- all of it ---- */

/* A status is judged by its part of the schema alone: nothing may stand at the root that would be lost so. */
static void check_root(const schema_t *s, const struct path *at, struct error *err) {
	bool ahead = !str_empty(s->id) || !str_empty(s->schema) || s->ref;
	bool behind = s->nullable || s->default_.len || s->enum_.items || s->max_properties || s->min_properties || s->all_of.items || s->one_of.items || s->any_of.items || s->not || s->additional_properties ||
		      s->pattern_properties.items || s->dependencies.items || s->additional_items || s->definitions.items || s->x_kubernetes_embedded_resource || s->x_kubernetes_int_or_string ||
		      s->x_kubernetes_list_map_keys.items || s->x_kubernetes_list_type || s->x_kubernetes_map_type;
	if (!ahead && !str_empty(s->type) && !str_equal(s->type, "object"))
		invalid(err, AT("openAPIV3Schema.type"), s->type, "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled");
	else if (ahead || behind)
		invalid_struct(err, AT("openAPIV3Schema"), &apiextensions_v1_json_schema_props_type, s,
			       "only [Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required Items Properties ExternalDocs "
			       "Example XPreserveUnknownFields XValidations] fields are allowed at the root of the schema if the status subresource is enabled");
}

void check_definition_schema(const schema_t *s, bool status, bool unchanged, const struct path *at, struct error *err) {
	size_t before = err->cause_count;
	const struct path *root = AT("openAPIV3Schema");
	const char *unstructural = schema_unstructural(s);
	struct rule_check rules = {.unchanged = unchanged};
	bool good = false;
	if (status)
		check_root(s, at, err);
	if (s->nullable)
		forbidden(err, AT("openAPIV3Schema.nullable"), "nullable cannot be true at the root");
	if (!unstructural && is_structural(s, root, err)) {
		size_t here = err->cause_count;
		check_defaults(s, true, root, err);
		good = err->cause_count == here;
	}
	check_said(s, (struct place){.root = true, .cardinality = {true, 1}, .rules = good ? &rules : NULL}, root, err);
	if (unstructural && err->cause_count == before)
		invalid(err, root, "", "%s", unstructural);
	rule_check_done(&rules, root, err);
}
