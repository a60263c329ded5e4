/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CustomResourceDefinition with the schemas in it, and APIService. A schema must be structural: types and fields are said once, outside of
 * allOf, anyOf, oneOf and not, which only narrow values.
 */
#include "apiserver/validation/validation.h"
#include "apiserver/validation/rules.h"
#include "apiserver/custom/custom.h"
#include "common/api/codec.h"
#include "common/base/regex.h"
#include "api/apiextensions_v1.h"
#include "api/apiregistration_v1.h"

#include <ctype.h>

typedef struct apiextensions_v1_json_schema_props schema_t;
typedef struct apiextensions_v1_json_schema_props_array schema_list_t;

/* Where a schema stands: what it says when its type is missing; NESTED below a combinator. */
enum level { ROOT, ITEM, FIELD, NESTED };

struct place {
	enum level level;
	bool in_metadata;
	const char *no_default; /* why none may be here */
	bool skip_any;          /* anyOf is that of int-or-string, whose types are let pass */
	const struct path *uncorrelatable; /* the first above of whose parts nobody can tell which was which before; NULL: none */
	struct cardinality cardinality;
	struct rule_check *rules; /* takes what is wrong with rules, which are looked at only where their schema is good */
};

static void check_schema(const schema_t *s, struct place place, const struct path *at, struct error *err);

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

static const schema_t *property(const schema_t *s, const char *name) {
	for (uint32_t i = 0; s && i < s->properties.len; i++)
		if (str_equal(s->properties.items[i].key, name))
			return &s->properties.items[i].value;
	return NULL;
}

static bool keeps_unknown(const schema_t *s) {
	return s->x_kubernetes_preserve_unknown_fields && *s->x_kubernetes_preserve_unknown_fields;
}

/* A default must be what its own schema allows. */
static void check_default(const schema_t *s, const struct path *at, struct error *err) {
	autobuf struct buf text = BUF_INIT(BUF_MAX_DEFAULT);
	api_encode_json(&apiextensions_v1_json_schema_props_type, s, &text);
	json_t *schema = json_loadb(text.data, text.len, 0, NULL);
	json_t *value = json_loadb(s->default_.json, s->default_.len, JSON_DECODE_ANY, NULL);
	autoerror struct error found = {0};
	if (schema && value)
		schema_validate(schema, value, "", &found);
	json_decref(schema);
	json_decref(value);
	autobuf struct buf place = BUF_INIT(64 << 10);
	path_write(at, &place);
	for (size_t i = 0; i < found.cause_count; i++) {
		const struct error_cause *cause = &found.causes[i];
		autofree char *field = xprintf("%s%s%s", place.len ? place.data : "", str_empty(cause->field) ? "" : ".", str_or(cause->field, ""));
		error_cause(err, cause->reason, field, "%s", cause->message);
	}
}

/* ---- what no schema may have ---- */

static void check_standard(const schema_t *s, struct place place, const struct path *at, struct error *err) {
	static const char *const types[] = {"array", "boolean", "integer", "number", "object", "string", NULL};
	if (!str_empty(s->type))
		check_enum(s->type, types, AT("type"), err);
	if (s->default_.len && place.no_default)
		forbidden(err, AT("default"), "must not be set %s", place.no_default);
	else if (s->default_.len && place.level != NESTED)
		check_default(s, AT("default"), err);
	const struct {
		bool set;
		const char *name;
	} unsupported[] = {
		{!str_empty(s->id), "id"}, {s->additional_items, "additionalItems"}, {s->pattern_properties.len, "patternProperties"}, {s->definitions.len, "definitions"},
		{s->dependencies.len, "dependencies"}, {s->ref, "$ref"},
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
	if (s->x_kubernetes_preserve_unknown_fields && !*s->x_kubernetes_preserve_unknown_fields)
		invalid_bool(err, AT("x-kubernetes-preserve-unknown-fields"), false, "must be true or undefined");
}

/* ---- lists and maps ---- */

/* The type that an extension asks for. */
static void check_type_for(const schema_t *s, const char *type, const char *extension, const struct path *at, struct error *err) {
	autofree char *text = xprintf("must be %s if %s", type, extension);
	if (str_empty(s->type))
		required(err, AT("type"), text);
	else if (!str_equal(s->type, type))
		invalid(err, AT("type"), s->type, "%s", text);
}

static void check_map_key(const schema_t *item, const char *key, const struct path *at, struct error *err) {
	const schema_t *s = property(item, key);
	const struct path *here = &PATH_KEY(AT("items"), "properties", key);
	if (!s)
		return;
	if (str_equal(item->type, "object") && (str_equal(s->type, "array") || str_equal(s->type, "object")))
		invalid(err, &PATH(here, "type"), item->type, "must be a scalar type if parent array's x-kubernetes-list-type is map");
	if (!api_string_list_has(&item->required, key) && !s->default_.len)
		required(err, &PATH(here, "default"), "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property");
	if (s->nullable)
		forbidden(err, &PATH(here, "nullable"), "this property is in x-kubernetes-list-map-keys, so it cannot be nullable");
}

static void check_list_map(const schema_t *s, const schema_t *item, const struct path *at, struct error *err) {
	const struct api_string_list *keys = &s->x_kubernetes_list_map_keys;
	if (!keys->len)
		required(err, AT("x-kubernetes-list-map-keys"), "must not be empty if x-kubernetes-list-type is map");
	if (!s->items)
		required(err, AT("items"), "must have a schema if x-kubernetes-list-type is map");
	if (item && !str_equal(item->type, "object"))
		invalid(err, &PATH(AT("items"), "type"), item->type, "must be object if parent array's x-kubernetes-list-type is map");
	automap struct map seen = MAP_INIT(NULL);
	for (uint32_t i = 0; item && i < keys->len; i++) {
		check_map_key(item, keys->items[i], at, err);
		if (!property(item, keys->items[i]) && str_equal(item->type, "object"))
			invalid_list(err, AT("x-kubernetes-list-map-keys"), keys, "entries must all be names of item properties");
		if (seen_before(&seen, keys->items[i]))
			invalid_list(err, AT("x-kubernetes-list-map-keys"), keys, "must not contain duplicate entries");
	}
}

static void check_extensions(const schema_t *s, const struct path *at, struct error *err) {
	static const char *const map_types[] = {"atomic", "granular", NULL}, *const list_types[] = {"atomic", "map", "set", NULL};
	const char *list = s->x_kubernetes_list_type;
	const schema_t *item = s->items ? s->items->schema : NULL;
	if (s->x_kubernetes_map_type) {
		check_type_for(s, "object", "x-kubernetes-map-type is specified", at, err);
		check_enum(s->x_kubernetes_map_type, map_types, AT("x-kubernetes-map-type"), err);
	}
	if (list) {
		check_type_for(s, "array", "x-kubernetes-list-type is specified", at, err);
		check_enum(list, list_types, AT("x-kubernetes-list-type"), err);
	}
	if (s->x_kubernetes_list_map_keys.len && !list)
		required(err, AT("x-kubernetes-list-type"), "must be map if x-kubernetes-list-map-keys is non-empty");
	else if (s->x_kubernetes_list_map_keys.len && !str_equal(list, "map"))
		invalid(err, AT("x-kubernetes-list-type"), list, "must be map if x-kubernetes-list-map-keys is non-empty");
	if (str_equal(list, "map"))
		check_list_map(s, item, at, err);
	if (item && item->nullable && (str_equal(list, "map") || str_equal(list, "set")))
		forbidden(err, &PATH(AT("items"), "nullable"), "cannot be nullable when x-kubernetes-list-type is %s", list);
	if (item && str_equal(list, "set") && str_equal(s->type, "array")) {
		const char *text = "must be atomic as item of a list with x-kubernetes-list-type=set";
		if (str_equal(item->type, "array") && item->x_kubernetes_list_type && !str_equal(item->x_kubernetes_list_type, "atomic"))
			invalid(err, &PATH(AT("items"), "x-kubernetes-list-type"), item->x_kubernetes_list_type, "%s", text);
		else if (str_equal(item->type, "object") && !str_equal(item->x_kubernetes_map_type, "atomic"))
			invalid(err, &PATH(AT("items"), "x-kubernetes-map-type"), item->x_kubernetes_map_type, "%s", text);
	}
}

/* ---- what makes it structural ---- */

static void check_nested(const schema_t *s, const struct path *at, struct error *err) {
	const struct {
		bool set;
		const char *name, *text;
	} rules[] = {
		{!str_empty(s->type), "type", "empty"}, {s->default_.len, "default", "undefined"}, {!str_empty(s->title), "title", "empty"}, {!str_empty(s->description), "description", "empty"},
		{s->nullable, "nullable", "false"}, {s->additional_properties, "additionalProperties", "undefined"}, {keeps_unknown(s), "x-kubernetes-preserve-unknown-fields", "false"},
		{s->x_kubernetes_embedded_resource, "x-kubernetes-embedded-resource", "false"}, {s->x_kubernetes_int_or_string, "x-kubernetes-int-or-string", "false"},
		{s->x_kubernetes_list_map_keys.len, "x-kubernetes-list-map-keys", "empty"}, {s->x_kubernetes_list_type, "x-kubernetes-list-type", "undefined"},
		{s->x_kubernetes_map_type, "x-kubernetes-map-type", "undefined"}, {s->x_kubernetes_validations.len, "x-kubernetes-validations", "empty"},
	};
	for (size_t i = 0; i < array_len(rules); i++)
		if (rules[i].set)
			forbidden(err, AT(rules[i].name), "must be %s to be structural", rules[i].text);
	if (property(s, "metadata"))
		forbidden(err, AT_KEY("properties", "metadata"), "must not be specified in a nested context");
}

/* metadata is known already; only its names may be narrowed. */
static void check_metadata_schema(const schema_t *s, const schema_t *metadata, bool root, const struct path *at, struct error *err) {
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
	(void)s;
}

static void check_structural(const schema_t *s, enum level level, const struct path *at, struct error *err) {
	static const char *const missing[] = {[ROOT] = "must not be empty at the root", [ITEM] = "must not be empty for specified array items", [FIELD] = "must not be empty for specified object fields"};
	static const char *const texts[] = {"kind", "apiVersion"};
	bool whole = level == ROOT || s->x_kubernetes_embedded_resource;
	if (str_equal(s->type, "array") && !s->items)
		required(err, AT("items"), "must be specified");
	if (level == ROOT && s->additional_properties)
		forbidden(err, AT("additionalProperties"), "must not be used at the root");
	if (s->x_kubernetes_int_or_string && keeps_unknown(s))
		invalid_bool(err, AT("x-kubernetes-preserve-unknown-fields"), true, "must be false if x-kubernetes-int-or-string is true");
	if (s->x_kubernetes_int_or_string && s->x_kubernetes_embedded_resource)
		invalid_bool(err, AT("x-kubernetes-embedded-resource"), true, "must be false if x-kubernetes-int-or-string is true");
	if (s->x_kubernetes_embedded_resource)
		check_type_for(s, "object", "x-kubernetes-embedded-resource is true", at, err);
	else if (str_empty(s->type) && !s->x_kubernetes_int_or_string && !keeps_unknown(s))
		required(err, AT("type"), missing[level]);
	if (s->x_kubernetes_embedded_resource && s->additional_properties)
		forbidden(err, AT("additionalProperties"), "must not be used if x-kubernetes-embedded-resource is set");
	if (s->x_kubernetes_embedded_resource && !keeps_unknown(s) && !s->properties.len)
		required(err, AT("properties"), "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields");
	if (level == ROOT && !str_empty(s->type) && !str_equal(s->type, "object"))
		invalid(err, AT("type"), s->type, "must be object at the root");
	for (size_t i = 0; whole && i < array_len(texts); i++) {
		const schema_t *text = property(s, texts[i]);
		if (text && !str_equal(text->type, "string"))
			invalid(err, &PATH(AT_KEY("properties", texts[i]), "type"), text->type, "must be string");
	}
	if (whole && property(s, "metadata"))
		check_metadata_schema(s, property(s, "metadata"), level == ROOT, AT_KEY("properties", "metadata"), err);
}

static void check_pattern(const char *pattern, const struct path *at, struct error *err) {
	autofree char *why = NULL;
	struct regex *regex = regex_new(pattern, &why);
	if (!regex)
		invalid(err, at, pattern, "must be a valid regular expression, but isn't: error parsing regexp: %s: `%s`", why, pattern);
	regex_free(regex);
}

static void check_schemas(const schema_list_t *list, const char *name, struct place place, const struct path *at, struct error *err) {
	for (uint32_t i = 0; i < list->len; i++)
		check_schema(&list->items[i], place, AT_INDEX(name, i), err);
}

static void check_schema(const schema_t *s, struct place place, const struct path *at, struct error *err) {
	bool nested = place.level == NESTED;
	size_t before = err->cause_count;
	const struct path *parts = place.uncorrelatable;
	check_standard(s, place, at, err);
	check_extensions(s, at, err);
	check_rules(s, at, err);
	if (!str_empty(s->pattern))
		check_pattern(s->pattern, AT("pattern"), err);
	if (nested && !place.skip_any)
		check_nested(s, at, err);
	else if (!nested)
		check_structural(s, place.level, at, err);
	struct place below = place, narrow = {.level = NESTED, .in_metadata = place.in_metadata, .no_default = place.no_default};
	below.skip_any = false;
	below.cardinality = cardinality_below(place.cardinality, s);
	if (!parts && str_equal(s->x_kubernetes_map_type, "atomic"))
		below.uncorrelatable = at;
	for (uint32_t i = 0; i < s->properties.len; i++) {
		const char *name = s->properties.items[i].key;
		struct place inner = below;
		inner.level = nested ? NESTED : FIELD;
		if ((place.level == ROOT || s->x_kubernetes_embedded_resource) && (str_equal(name, "metadata") || str_equal(name, "kind") || str_equal(name, "apiVersion"))) {
			inner.in_metadata = true;
			if (place.level == ROOT)
				inner.no_default = str_equal(name, "metadata") ? "in top-level metadata" : str_equal(name, "kind") ? "in top-level kind" : "in top-level apiVersion";
		}
		check_schema(&s->properties.items[i].value, inner, AT_KEY("properties", name), err);
	}
	if (s->additional_properties && s->additional_properties->schema) {
		struct place inner = below;
		inner.level = nested ? NESTED : FIELD;
		if (place.in_metadata)
			inner.no_default = "inside additionalProperties applying to object metadata";
		check_schema(s->additional_properties->schema, inner, AT("additionalProperties"), err);
	}
	if (s->items && s->items->schema) {
		struct place inner = below;
		inner.level = nested ? NESTED : ITEM;
		inner.uncorrelatable = parts ? parts : str_equal(s->x_kubernetes_list_type, "map") ? NULL : at;
		check_schema(s->items->schema, inner, AT("items"), err);
	}
	struct place any = narrow;
	any.skip_any = (place.skip_any || !nested) && is_int_or_string(&s->any_of);
	check_schemas(&s->any_of, "anyOf", any, at, err);
	check_schemas(&s->one_of, "oneOf", narrow, at, err);
	if (s->not)
		check_schema(s->not, narrow, AT("not"), err);
	for (uint32_t i = 0; i < s->all_of.len; i++) {
		struct place first = narrow;
		/* The first may hold the anyOf of int-or-string: then only that is let pass. */
		bool pattern = i == 0 && !nested && is_int_or_string(&s->all_of.items[i].any_of);
		first.skip_any = pattern;
		check_schema(&s->all_of.items[i], first, AT_INDEX("allOf", i), err);
		if (pattern)
			check_nested(&s->all_of.items[i], AT_INDEX("allOf", i), err);
	}
	if (!nested && err->cause_count == before)
		compile_rules(s, &(struct rule_place){place.cardinality, parts, place.level == ROOT || s->x_kubernetes_embedded_resource}, at, place.rules);
}

/* ---- the definition ---- */

static void check_joined(format_check *format, const char *text, const char *before, const struct path *at, struct error *err) {
	autofree char *lower = xstrdup(text);
	for (char *p = lower; *before && *p; p++)
		*p = (char)tolower((unsigned char)*p);
	if (format_error(format, lower))
		invalid(err, at, text, "%s%s", before, format_error(format, lower));
}

CHECK(apiextensions_v1_custom_resource_definition_names, names) {
	const char *mixed = "may have mixed case, but should otherwise match: ";
	if (!str_empty(names->plural))
		check_joined(format_dns_1035_label, names->plural, "", AT("plural"), err);
	if (!str_empty(names->singular))
		check_joined(format_dns_1035_label, names->singular, "", AT("singular"), err);
	if (!str_empty(names->kind))
		check_joined(format_dns_1035_label, names->kind, mixed, AT("kind"), err);
	if (!str_empty(names->list_kind))
		check_joined(format_dns_1035_label, names->list_kind, mixed, AT("listKind"), err);
	for (uint32_t i = 0; i < names->short_names.len; i++)
		check_joined(format_dns_1035_label, names->short_names.items[i], "", AT_INDEX("shortNames", i), err);
	for (uint32_t i = 0; i < names->categories.len; i++)
		check_joined(format_dns_1035_label, names->categories.items[i], "", AT_INDEX("categories", i), err);
	if (!str_empty(names->kind) && str_equal(names->kind, names->list_kind))
		invalid(err, AT("listKind"), names->list_kind, "kind and listKind may not be the same");
}

static void check_path(const char *text, const char *const *roots, const char *under, const struct path *at, struct error *err) {
	bool good = !roots;
	if (*text != '.') {
		invalid(err, at, text, "must be a simple json path starting with .");
		return;
	}
	for (size_t i = 0; roots && roots[i]; i++)
		good |= str_starts_with(text, roots[i]);
	if (!good)
		invalid(err, at, text, "should be a json path under %s", under);
}

static void check_column(const struct apiextensions_v1_custom_resource_column_definition *column, const struct path *at, struct error *err) {
	const char *text = "must be one of boolean,date,integer,number,string";
	static const char *const types[] = {"boolean", "date", "integer", "number", "string"}, *const formats[] = {"byte", "date", "date-time", "double", "float", "int32", "int64", "password"};
	bool type = false, format = str_empty(column->format);
	for (size_t i = 0; i < array_len(types); i++)
		type |= str_equal(column->type, types[i]);
	for (size_t i = 0; i < array_len(formats); i++)
		format |= str_equal(column->format, formats[i]);
	if (str_empty(column->name))
		required(err, AT("name"), NULL);
	if (str_empty(column->type))
		required(err, AT("type"), text);
	else if (!type)
		invalid(err, AT("type"), column->type, "%s", text);
	if (!format)
		invalid(err, AT("format"), column->format, "must be one of byte,date,date-time,double,float,int32,int64,password");
	if (str_empty(column->json_path))
		required(err, AT("JSONPath"), NULL);
	else
		check_path(column->json_path, NULL, NULL, AT("JSONPath"), err);
}

static void check_subresources(const struct apiextensions_v1_custom_resource_subresources *subs, const struct path *at, struct error *err) {
	static const char *const spec[] = {".spec.", NULL}, *const status[] = {".status.", NULL}, *const both[] = {".spec.", ".status.", NULL};
	const struct apiextensions_v1_custom_resource_subresource_scale *scale = subs ? subs->scale : NULL;
	if (!scale)
		return;
	if (str_empty(scale->spec_replicas_path))
		required(err, AT("scale.specReplicasPath"), NULL);
	else
		check_path(scale->spec_replicas_path, spec, ".spec", AT("scale.specReplicasPath"), err);
	if (str_empty(scale->status_replicas_path))
		required(err, AT("scale.statusReplicasPath"), NULL);
	else
		check_path(scale->status_replicas_path, status, ".status", AT("scale.statusReplicasPath"), err);
	if (!str_empty(scale->label_selector_path))
		check_path(scale->label_selector_path, both, "either .spec or .status", AT("scale.labelSelectorPath"), err);
}

static void check_selectable(const struct apiextensions_v1_custom_resource_definition_version *version, const schema_t *schema, const struct path *at, struct error *err) {
	automap struct map seen = MAP_INIT(NULL);
	for (uint32_t i = 0; i < version->selectable_fields.len; i++) {
		const char *text = str_or(version->selectable_fields.items[i].json_path, "");
		struct path row = {.parent = at, .index = (int)i}, here = PATH(&row, "jsonPath");
		const schema_t *found = schema;
		if (!*text) {
			required(err, &here, NULL);
			continue;
		}
		autofree char *copy = xstrdup(text);
		char *rest = copy + (*copy == '.');
		for (char *step; found && (step = strsep(&rest, "."));)
			found = property(found, step);
		if (!found || *text != '.')
			invalid(err, &here, text, "is an invalid path: does not refer to a valid field");
		else if (!str_equal(found->type, "string") && !str_equal(found->type, "boolean") && !str_equal(found->type, "integer"))
			invalid(err, &here, text, "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.");
		if (seen_before(&seen, text))
			duplicate(err, &here, text);
	}
	if (version->selectable_fields.len > 8)
		too_many(err, at, version->selectable_fields.len, 8);
}

static void check_version_schema(const struct apiextensions_v1_custom_resource_definition_version *version, bool unchanged, const struct path *at, struct error *err) {
	const schema_t *schema = version->schema->open_apiv3_schema;
	if (version->subresources && version->subresources->status && !str_equal(schema->type, "object"))
		invalid(err, AT("openAPIV3Schema.type"), schema->type, "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled");
	if (schema->nullable)
		forbidden(err, AT("openAPIV3Schema.nullable"), "nullable cannot be true at the root");
	struct rule_check rules = {.unchanged = unchanged};
	check_schema(schema, (struct place){.level = ROOT, .cardinality = {true, 1}, .rules = &rules}, AT("openAPIV3Schema"), err);
	rule_check_done(&rules, AT("openAPIV3Schema"), err);
}

static bool same_for_all(const struct apiextensions_v1_custom_resource_definition_spec *spec, const char *field) {
	const struct api_type *type = &apiextensions_v1_custom_resource_definition_version_type;
	size_t offset;
	const struct api_field *f = api_field_find(type, field, strlen(field), &offset);
	bool same = f && spec->versions.len;
	for (uint32_t i = 0; same && i < spec->versions.len; i++)
		same = api_field_is_set(f, &spec->versions.items[i]) && api_field_same(f, &spec->versions.items[i], &spec->versions.items[0]);
	return same;
}

static bool same_schema(const struct apiextensions_v1_custom_resource_definition_spec *old, const struct apiextensions_v1_custom_resource_definition_version *version) {
	for (uint32_t i = 0; old && i < old->versions.len; i++) {
		const struct apiextensions_v1_custom_resource_definition_version *before = &old->versions.items[i];
		if (str_equal(before->name, version->name))
			return before->schema && version->schema && api_equal(&apiextensions_v1_custom_resource_validation_type, before->schema, version->schema);
	}
	return false;
}

/* What all versions have alike is told once, at the place where it stood when there was but one. */
static void check_version(const struct apiextensions_v1_custom_resource_definition_spec *spec, const struct apiextensions_v1_custom_resource_definition_spec *old, uint32_t i, const struct path *at, struct error *err) {
	const struct apiextensions_v1_custom_resource_definition_version *version = &spec->versions.items[i];
	struct path here = PATH_INDEX(at, "versions", i);
	bool schemas = same_for_all(spec, "schema"), subs = same_for_all(spec, "subresources"), columns = same_for_all(spec, "additionalPrinterColumns"), fields = same_for_all(spec, "selectableFields");
	const schema_t *schema = version->schema ? version->schema->open_apiv3_schema : NULL;
	check_joined(format_dns_1035_label, str_or(version->name, ""), "", &PATH(&here, "name"), err);
	if (version->deprecation_warning) {
		const char *warning = version->deprecation_warning;
		const struct path *field = &PATH(&here, "deprecationWarning");
		if (!version->deprecated)
			invalid(err, field, warning, "can only be set for deprecated versions");
		if (strlen(warning) > 256)
			invalid(err, field, warning, "must be <= 256 characters long");
		if (!*warning)
			invalid(err, field, warning, "must not be an empty string");
		for (const char *p = warning; *p; p++)
			if (iscntrl((unsigned char)*p)) {
				invalid(err, field, warning, "must only contain printable UTF-8 characters; non-printable character found at index %d", (int)(p - warning));
				break;
			}
	}
	if (!schema)
		required(err, &PATH(&PATH(&here, "schema"), "openAPIV3Schema"), NULL);
	else if (!schemas || i == 0)
		check_version_schema(version, same_schema(old, version), schemas ? AT("validation") : &PATH(&here, "schema"), err);
	if (!subs || i == 0)
		check_subresources(version->subresources, &PATH(subs ? at : &here, "subresources"), err);
	for (uint32_t k = 0; (!columns || i == 0) && k < version->additional_printer_columns.len; k++)
		check_column(&version->additional_printer_columns.items[k], &PATH_INDEX(columns ? at : &here, "additionalPrinterColumns", k), err);
	if (version->selectable_fields.len && (!fields || i == 0))
		check_selectable(version, schema, &PATH(fields ? at : &here, "selectableFields"), err);
}

static void check_conversion(const struct apiextensions_v1_custom_resource_conversion *conversion, const struct path *at, struct error *err) {
	static const char *const strategies[] = {"None", "Webhook", NULL};
	if (!conversion)
		return;
	const struct apiextensions_v1_webhook_conversion *hook = conversion->webhook;
	const struct apiextensions_v1_webhook_client_config *config = hook ? hook->client_config : NULL;
	const struct path client = PATH(at, "webhookClientConfig"), reviews = PATH(at, "conversionReviewVersions");
	check_enum(conversion->strategy, strategies, AT("strategy"), err);
	if (!str_equal(conversion->strategy, "Webhook")) {
		if (config)
			forbidden(err, &client, "should not be set when strategy is not set to Webhook");
		if (hook && hook->conversion_review_versions.len)
			forbidden(err, &reviews, "should not be set when strategy is not set to Webhook");
		return;
	}
	if (!config)
		required(err, &client, "required when strategy is set to Webhook");
	else if (!config->url == !config->service)
		required(err, &client, "exactly one of url or service is required");
	else if (config->url)
		check_webhook_url(config->url, &PATH(&client, "url"), err);
	else
		check_webhook_service(config->service->name, config->service->namespace, config->service->path, config->service->port ? *config->service->port : 443, &PATH(&client, "service"), err);
	if (!hook || !hook->conversion_review_versions.len) {
		required(err, &reviews, NULL);
		return;
	}
	automap struct map seen = MAP_INIT(NULL);
	const struct api_string_list *versions = &hook->conversion_review_versions;
	for (uint32_t i = 0; i < versions->len; i++) {
		if (seen_before(&seen, versions->items[i]))
			invalid(err, AT_INDEX("conversionReviewVersions", i), versions->items[i], "duplicate version");
		else
			check_format(format_dns_1035_label, versions->items[i], AT_INDEX("conversionReviewVersions", i), err);
	}
	if (!api_string_list_has(versions, "v1") && !api_string_list_has(versions, "v1beta1"))
		invalid_list(err, &reviews, versions, "must include at least one of v1, v1beta1");
}

CHECK(apiextensions_v1_custom_resource_definition_spec, spec) {
	static const char *const scopes[] = {"Cluster", "Namespaced", NULL};
	const struct apiextensions_v1_custom_resource_definition *before = c->old;
	const struct path *names = AT("names");
	if (str_empty(spec->group))
		required(err, AT("group"), NULL);
	else if (format_error(format_dns_subdomain, spec->group))
		check_joined(format_dns_subdomain, spec->group, "", AT("group"), err);
	else if (!strchr(spec->group, '.'))
		invalid(err, AT("group"), spec->group, "should be a domain with at least one dot");
	check_enum(spec->scope, scopes, AT("scope"), err);
	if (str_empty(spec->names.plural))
		required(err, &PATH(names, "plural"), NULL);
	if (str_empty(spec->names.singular))
		required(err, &PATH(names, "singular"), NULL);
	if (str_empty(spec->names.kind))
		required(err, &PATH(names, "kind"), NULL);
	if (str_empty(spec->names.list_kind))
		required(err, &PATH(names, "listKind"), NULL);
	if (spec->preserve_unknown_fields && !(before && before->spec.preserve_unknown_fields))
		invalid_bool(err, AT("preserveUnknownFields"), true, "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead");
	unsigned storage = 0;
	automap struct map seen = MAP_INIT(NULL);
	bool unique = true;
	for (uint32_t i = 0; i < spec->versions.len; i++) {
		storage += spec->versions.items[i].storage;
		unique &= !seen_before(&seen, str_or(spec->versions.items[i].name, ""));
		check_version(spec, old, i, at, err);
	}
	if (!unique)
		invalid_member(err, at, &apiextensions_v1_custom_resource_definition_spec_type, spec, "versions", "must contain unique version names");
	if (storage != 1)
		invalid_member(err, at, &apiextensions_v1_custom_resource_definition_spec_type, spec, "versions", "must have exactly one version marked as storage version");
	check_conversion(spec->conversion, AT("conversion"), err);
	if (!old)
		return;
	bool established = false;
	for (uint32_t i = 0; before && i < before->status.conditions.len; i++)
		established |= str_equal(before->status.conditions.items[i].type, "Established") && str_equal(before->status.conditions.items[i].status, "True");
	if (established) {
		check_fixed(&apiextensions_v1_custom_resource_definition_spec_type, spec, old, "scope", at, err);
		check_fixed(&apiextensions_v1_custom_resource_definition_names_type, &spec->names, &old->names, "kind", names, err);
	}
	check_fixed(&apiextensions_v1_custom_resource_definition_spec_type, spec, old, "group", at, err);
	check_fixed(&apiextensions_v1_custom_resource_definition_names_type, &spec->names, &old->names, "plural", names, err);
}

#define APPROVED "api-approved.kubernetes.io"

/* Groups of Kubernetes itself want to know who agreed. */
static const char *approval(const struct apiextensions_v1_custom_resource_definition *crd) {
	const char *text = str_or(api_map_get(&crd->metadata.annotations, APPROVED), ""), *host = strstr(text, "://");
	return !*text ? "missing" : str_starts_with(text, "unapproved") ? "bypassed" : host && host > text && host[3] && host[3] != '/' ? "approved" : "invalid";
}

CHECK(apiextensions_v1_custom_resource_definition, crd) {
	if (check_is_status(c))
		return;
	const struct path metadata = PATH(at, "metadata");
	const struct api_string_list *stored = &crd->status.stored_versions;
	for (uint32_t i = 0; i < stored->len; i++) {
		const char *version = stored->items[i];
		bool found = false;
		for (uint32_t k = 0; k < crd->spec.versions.len; k++)
			found |= str_equal(crd->spec.versions.items[k].name, version);
		if (!found)
			invalid(err, &PATH_INDEX(AT("status"), "storedVersions", i), version, "missing from spec.versions; %s was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in %s and removes %s from status.storedVersions", version, version,
				version);
	}
	const char *group = str_or(crd->spec.group, "");
	if (!str_equal(group, "k8s.io") && !str_equal(group, "kubernetes.io") && !str_ends_with(group, ".k8s.io") && !str_ends_with(group, ".kubernetes.io"))
		return;
	const char *state = approval(crd);
	struct path here = PATH_KEY(&metadata, "annotations", APPROVED);
	if (old && str_equal(state, approval(old)))
		return;
	if (str_equal(state, "missing"))
		required(err, &here, "protected groups must have approval annotation \"" APPROVED "\", see https://github.com/kubernetes/enhancements/pull/1111");
	else if (str_equal(state, "invalid"))
		invalid(err, &here, api_map_get(&crd->metadata.annotations, APPROVED),
			"protected groups must have approval annotation \"" APPROVED "\" with either a URL or a reason starting with \"unapproved\", see https://github.com/kubernetes/enhancements/pull/1111");
}

/* ---- APIService ---- */

CHECK(apiregistration_v1_api_service_condition, condition) {
	static const char *const statuses[] = {"True", "False", "Unknown", NULL};
	const char *status = str_or(condition->status, "");
	if (strcmp(status, "True") != 0 && strcmp(status, "False") != 0 && strcmp(status, "Unknown") != 0)
		not_supported(err, AT("status"), status, statuses);
}

CHECK(apiregistration_v1_api_service_spec, spec) {
	const char *group = str_or(spec->group, ""), *version = str_or(spec->version, "");
	if (!*group && strcmp(version, "v1") != 0)
		required(err, AT("group"), "only v1 may have an empty group and it better be legacy kube");
	if (*group)
		check_format(format_dns_subdomain, group, AT("group"), err);
	check_format(format_dns_1035_label, version, AT("version"), err);
	if (spec->group_priority_minimum <= 0 || spec->group_priority_minimum > 20000)
		invalid_int(err, AT("groupPriorityMinimum"), spec->group_priority_minimum, "must be positive and less than 20000");
	if (spec->version_priority <= 0 || spec->version_priority > 1000)
		invalid_int(err, AT("versionPriority"), spec->version_priority, "must be positive and less than 1000");
	if (!spec->service) {
		autofree char *size = xprintf("%u bytes", (unsigned)spec->ca_bundle.len);
		if (spec->ca_bundle.len)
			invalid(err, AT("caBundle"), size, "local APIServices may not have a caBundle");
		if (spec->insecure_skip_tls_verify)
			invalid_bool(err, AT("insecureSkipTLSVerify"), true, "local APIServices may not have insecureSkipTLSVerify");
		return;
	}
	const struct path *service = AT("service");
	int64_t port = spec->service->port ? *spec->service->port : 443;
	if (str_empty(spec->service->namespace))
		required(err, &PATH(service, "namespace"), NULL);
	if (str_empty(spec->service->name))
		required(err, &PATH(service, "name"), NULL);
	if (port < 1 || port > 65535)
		invalid_int(err, &PATH(service, "port"), port, "port is not valid: must be between 1 and 65535, inclusive");
	if (spec->insecure_skip_tls_verify && spec->ca_bundle.len)
		invalid_bool(err, AT("insecureSkipTLSVerify"), true, "may not be true if caBundle is present");
}

const struct checker checkers_custom[] = {
	ROW(apiextensions_v1_custom_resource_definition),
	ROW(apiextensions_v1_custom_resource_definition_names),
	ROW(apiextensions_v1_custom_resource_definition_spec),
	ROW(apiregistration_v1_api_service_condition), ROW(apiregistration_v1_api_service_spec),
	{0},
};
