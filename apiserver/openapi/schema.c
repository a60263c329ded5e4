/* SPDX-License-Identifier: Apache-2.0 */
/* Schemas from type descriptors. */
#include "apiserver/openapi/openapi.h"
#include "apiserver/custom/custom.h"
#include "api/meta_v1.h"
#include "common/api/codec.h"

#include <ctype.h>

const char *schema_ref_prefix(enum openapi_form form) {
	return form == OPENAPI_V2 ? "#/definitions/" : "#/components/schemas/";
}

/* Scalars that have a schema with a name. */
static const struct scalar_schema {
	enum api_kind kind;
	const char *name, *v2, *v3, *doc;
} scalars[] = {
	{API_QUANTITY, "io.k8s.apimachinery.pkg.api.resource.Quantity", "\"type\":\"string\"", "\"oneOf\":[{\"type\":\"string\"},{\"type\":\"number\"}]", "A fixed-point number, such as 100m, 1.5 or 2Gi."},
	{API_INT_OR_STRING, "io.k8s.apimachinery.pkg.util.intstr.IntOrString", "\"type\":\"string\",\"format\":\"int-or-string\"", "\"format\":\"int-or-string\",\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"string\"}]", "A number or a string."},
	{API_TIME, "io.k8s.apimachinery.pkg.apis.meta.v1.Time", "\"type\":\"string\",\"format\":\"date-time\"", "\"type\":\"string\",\"format\":\"date-time\"", "A time in RFC 3339 form."},
	{API_MICRO_TIME, "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime", "\"type\":\"string\",\"format\":\"date-time\"", "\"type\":\"string\",\"format\":\"date-time\"", "A time with microseconds, in RFC 3339 form."},
	{API_DURATION, "io.k8s.apimachinery.pkg.apis.meta.v1.Duration", "\"type\":\"string\"", "\"type\":\"string\"", "A duration such as 1h30m."},
	{API_RAW_EXTENSION, "io.k8s.apimachinery.pkg.runtime.RawExtension", "\"type\":\"object\"", "\"type\":\"object\"", "Any object."},
	{API_FIELDS_V1, "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1", "\"type\":\"object\"", "\"type\":\"object\"", "A set of fields as a trie in JSON."},
	{API_JSON, "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON", NULL, NULL, "Any JSON value."},
};

static const struct scalar_schema *find_scalar(uint8_t kind) {
	for (size_t i = 0; i < array_len(scalars); i++)
		if (scalars[i].kind == kind)
			return &scalars[i];
	return NULL;
}

void schema_set_add(struct schema_set *set, const struct api_type *type) {
	if (!type || !type->openapi || map_has(&set->seen, type->openapi))
		return;
	set_add(&set->seen, type->openapi);
	if (set->len == set->cap) {
		set->cap = set->cap ? set->cap * 2 : 256;
		set->types = xreallocarray(set->types, set->cap, sizeof(*set->types));
	}
	set->types[set->len++] = type;
}

bool schema_set_has(const struct schema_set *set, const char *name) {
	if (map_has(&set->seen, name))
		return true;
	for (size_t i = 0; i < array_len(scalars); i++)
		if (strcmp(scalars[i].name, name) == 0)
			return true;
	return false;
}

void schema_set_done(struct schema_set *set) {
	map_done(&set->seen);
	free(set->types);
	for (size_t i = 0; i < set->version_count; i++) {
		free(set->versions[i].group);
		free(set->versions[i].version);
	}
	free(set->versions);
}

static void doc_member(const char *doc, struct buf *out) {
	if (!doc)
		return;
	buf_append_str(out, "\"description\":");
	buf_append_json_string(out, doc, strlen(doc));
	buf_append_char(out, ',');
}

static void strings(const char *const *items, struct buf *out) {
	buf_append_char(out, '[');
	for (size_t i = 0; items[i]; i++) {
		if (i)
			buf_append_char(out, ',');
		buf_append_json_string(out, items[i], strlen(items[i]));
	}
	buf_append_char(out, ']');
}

#define MAX_ENUM 128

static int compare_texts(const void *a, const void *b) {
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The values of an enum, in order. */
static void enum_values(const char *const *values, struct buf *out) {
	const char *sorted[MAX_ENUM + 1] = {NULL};
	size_t count = 0;
	while (values[count] && count < MAX_ENUM) {
		sorted[count] = values[count];
		count++;
	}
	qsort(sorted, count, sizeof(*sorted), compare_texts);
	strings(sorted, out);
}

static const char *plain_type(uint8_t kind) {
	switch ((enum api_kind)kind) {
	case API_BOOL:
		return "\"type\":\"boolean\"";
	case API_INT32:
		return "\"type\":\"integer\",\"format\":\"int32\"";
	case API_INT64:
		return "\"type\":\"integer\",\"format\":\"int64\"";
	case API_DOUBLE:
		return "\"type\":\"number\",\"format\":\"double\"";
	case API_BYTES:
		return "\"type\":\"string\",\"format\":\"byte\"";
	default:
		return "\"type\":\"string\"";
	}
}

/* A type that is a bare list or map in JSON. */
static const struct api_field *self_field(const struct api_type *type) {
	for (uint16_t i = 0; i < type->field_count; i++)
		if (type->fields[i].flags & API_FIELD_SELF)
			return &type->fields[i];
	return NULL;
}

/* The members of one value's schema, without braces. `alone`: nothing stands beside a reference. */
static void value_members(const struct api_field *field, enum openapi_form form, const char *default_json, bool alone, struct schema_set *set, struct buf *out) {
	const struct scalar_schema *scalar = find_scalar(field->kind);
	const struct api_field *self = field->kind == API_STRUCT && field->type->custom_json == API_CUSTOM_SELF ? self_field(field->type) : NULL;
	if (self) {
		buf_append_str(out, self->shape == API_MAP ? "\"type\":\"object\",\"additionalProperties\":{" : "\"type\":\"array\",\"items\":{");
		value_members(self, form, NULL, true, set, out);
		buf_append_char(out, '}');
		return;
	}
	if (scalar)
		set->scalars |= 1u << (scalar - scalars);
	const char *name = field->kind == API_STRUCT ? field->type->openapi : scalar ? scalar->name : NULL;
	if (field->kind == API_STRUCT) {
		schema_set_add(set, field->type);
		if (!name)
			name = "io.k8s.apimachinery.pkg.runtime.RawExtension";
	}
	if (name) {
		/* In v3 a reference that may have neighbours is wrapped in allOf. */
		if (form == OPENAPI_V3 && !alone)
			buf_printf(out, "\"allOf\":[{\"$ref\":\"%s%s\"}]", schema_ref_prefix(form), name);
		else
			buf_printf(out, "\"$ref\":\"%s%s\"", schema_ref_prefix(form), name);
	} else {
		buf_append_str(out, plain_type(field->kind));
		if (field->enum_values) {
			buf_append_str(out, ",\"enum\":");
			enum_values(field->enum_values, out);
		}
	}
	if (form == OPENAPI_V3 && default_json)
		buf_printf(out, ",\"default\":%s", default_json);
}

static const char *list_type_text(const struct api_field *field) {
	static const char *const names[] = {[API_LIST_ATOMIC] = "atomic", [API_LIST_SET] = "set", [API_LIST_MAP] = "map"};
	return field->list_type < array_len(names) ? names[field->list_type] : NULL;
}

static void extensions(const struct api_field *field, struct buf *out) {
	if ((field->shape == API_LIST || field->kind == API_BYTES) && list_type_text(field)) {
		if (field->list_keys) {
			buf_append_str(out, ",\"x-kubernetes-list-map-keys\":");
			strings(field->list_keys, out);
		}
		buf_printf(out, ",\"x-kubernetes-list-type\":\"%s\"", list_type_text(field));
	}
	if (field->flags & (API_FIELD_MAP_ATOMIC | API_FIELD_MAP_GRANULAR))
		buf_printf(out, ",\"x-kubernetes-map-type\":\"%s\"", field->flags & API_FIELD_MAP_ATOMIC ? "atomic" : "granular");
	if (field->merge_key)
		buf_printf(out, ",\"x-kubernetes-patch-merge-key\":\"%s\"", field->merge_key);
	bool merge = field->flags & API_FIELD_MERGE, retain = field->flags & API_FIELD_RETAIN_KEYS, replace = field->flags & API_FIELD_REPLACE;
	if (merge || retain || replace)
		buf_printf(out, ",\"x-kubernetes-patch-strategy\":\"%s%s%s\"", merge ? "merge" : replace ? "replace" : "", merge && retain ? "," : "", retain ? "retainKeys" : "");
}

static void property(const struct api_field *field, enum openapi_form form, struct schema_set *set, struct buf *out) {
	buf_append_json_string(out, field->name, strlen(field->name));
	buf_append_str(out, ":{");
	doc_member(field->doc, out);
	if (field->shape == API_SINGLE) {
		value_members(field, form, field->default_json, false, set, out);
	} else {
		bool list = field->shape == API_LIST;
		buf_append_str(out, list ? "\"type\":\"array\",\"items\":{" : "\"type\":\"object\",\"additionalProperties\":{");
		value_members(field, form, NULL, true, set, out);
		buf_append_char(out, '}');
	}
	extensions(field, out);
	buf_append_char(out, '}');
}

/* Fields of a type with those of embedded types in their place. */
static void properties(const struct api_type *type, enum openapi_form form, bool *first, struct schema_set *set, struct buf *out) {
	for (uint16_t i = 0; i < type->field_count; i++) {
		const struct api_field *field = &type->fields[i];
		if (field->flags & (API_FIELD_WIRE_ONLY | API_FIELD_NO_JSON | API_FIELD_SELF))
			continue;
		if (field->flags & API_FIELD_INLINE) {
			properties(field->type, form, first, set, out);
			continue;
		}
		if (!*first)
			buf_append_char(out, ',');
		*first = false;
		property(field, form, set, out);
	}
}

static void required_names(const struct api_type *type, bool *first, struct buf *out) {
	for (uint16_t i = 0; i < type->field_count; i++) {
		const struct api_field *field = &type->fields[i];
		if (field->flags & API_FIELD_INLINE) {
			required_names(field->type, first, out);
			continue;
		}
		if (!(field->flags & API_FIELD_REQUIRED))
			continue;
		buf_append_str(out, *first ? "\"required\":[" : ",");
		*first = false;
		buf_append_json_string(out, field->name, strlen(field->name));
	}
}

/* Types of which one member of several is to be given, told by a discriminator where there is one. */
static const struct union_row {
	const char *type, *discriminator;
	const char *members[4]; /* the fields, by name; NULL terminated */
} union_rows[] = {
	{"io.k8s.api.core.v1.AppArmorProfile", "type", {"localhostProfile"}},
	{"io.k8s.api.core.v1.PodSchedulingGroup", NULL, {"podGroupName"}},
	{"io.k8s.api.core.v1.SeccompProfile", "type", {"localhostProfile"}},
	{"io.k8s.api.flowcontrol.v1.LimitResponse", "type", {"queuing"}},
	{"io.k8s.api.flowcontrol.v1.PriorityLevelConfigurationSpec", "type", {"exempt", "limited"}},
	{"io.k8s.api.flowcontrol.v1.Subject", "kind", {"group", "serviceAccount", "user"}},
};

static void unions(const struct api_type *type, struct buf *out) {
	for (size_t i = 0; i < array_len(union_rows); i++) {
		const struct union_row *row = &union_rows[i];
		if (!str_equal(row->type, type->openapi))
			continue;
		buf_append_str(out, ",\"x-kubernetes-unions\":[{");
		if (row->discriminator)
			buf_printf(out, "\"discriminator\":\"%s\",", row->discriminator);
		buf_append_str(out, "\"fields-to-discriminateBy\":{");
		/* A value is the field's name in the case of Go. */
		for (size_t m = 0; row->members[m]; m++)
			buf_printf(out, "%s\"%s\":\"%c%s\"", m ? "," : "", row->members[m], toupper((unsigned char)row->members[m][0]), row->members[m] + 1);
		buf_append_str(out, "}}]");
	}
}

/* Kinds that requests of every group and version may carry. */
static bool is_everywhere(const struct api_type *type) {
	return type == &meta_v1_delete_options_type || type == &meta_v1_watch_event_type;
}

static void everywhere(const struct api_type *type, const struct schema_set *set, struct buf *out) {
	const char *kind = strrchr(type->openapi, '.') + 1;
	buf_printf(out, ",\"x-kubernetes-group-version-kind\":[{\"group\":\"\",\"kind\":\"%s\",\"version\":\"v1\"}", kind);
	for (size_t i = 0; i < set->version_count; i++)
		if (*set->versions[i].group)
			buf_printf(out, ",{\"group\":\"%s\",\"kind\":\"%s\",\"version\":\"%s\"}", set->versions[i].group, kind, set->versions[i].version);
	buf_append_char(out, ']');
}

static void object_schema(const struct api_type *type, enum openapi_form form, struct schema_set *set, struct buf *out) {
	bool first = true;
	buf_append_str(out, "\"type\":\"object\"");
	autobuf struct buf names = BUF_INIT(1 << 20);
	required_names(type, &first, &names);
	if (names.len) {
		buf_append_char(out, ',');
		buf_append(out, names.data, names.len);
		buf_append_char(out, ']');
	}
	size_t before = out->len;
	buf_append_str(out, ",\"properties\":{");
	first = true;
	bool stated = false;
	for (uint16_t i = 0; i < type->field_count; i++)
		stated |= str_equal(type->fields[i].name, "kind");
	if (type->is_kind && !stated) {
		buf_append_str(out, "\"apiVersion\":{\"description\":\"" OPENAPI_API_VERSION_DOC "\",\"type\":\"string\"},\"kind\":{\"description\":\"" OPENAPI_KIND_DOC "\",\"type\":\"string\"}");
		first = false;
	}
	properties(type, form, &first, set, out);
	buf_append_char(out, '}');
	if (first)
		out->len = before;
	unions(type, out);
	if (is_everywhere(type))
		everywhere(type, set, out);
	else if (type->kind)
		buf_printf(out, ",\"x-kubernetes-group-version-kind\":[{\"group\":\"%s\",\"kind\":\"%s\",\"version\":\"%s\"}]", type->group ? type->group : "", type->kind, type->version ? type->version : "");
	if (type->map_atomic)
		buf_append_str(out, ",\"x-kubernetes-map-type\":\"atomic\"");
}

/* The list of a custom resource: its type's kind is the items'. */
static void custom_list_schema(const struct api_type *type, enum openapi_form form, struct schema_set *set, struct buf *out) {
	schema_set_add(set, &meta_v1_list_meta_type);
	const char *prefix = schema_ref_prefix(form), *meta = meta_v1_list_meta_type.openapi;
	const char *name = strrchr(type->openapi, '.') + 1;
	buf_printf(out, "\"description\":\"A list of %.*s objects.\",\"type\":\"object\",\"required\":[\"items\"],\"properties\":{", (int)(strlen(name) - strlen("List")), name);
	buf_append_str(out, "\"apiVersion\":{\"description\":\"" OPENAPI_API_VERSION_DOC "\",\"type\":\"string\"},\"kind\":{\"description\":\"" OPENAPI_KIND_DOC "\",\"type\":\"string\"},");
	buf_printf(out, form == OPENAPI_V2 ? "\"metadata\":{\"description\":\"Standard list metadata.\",\"$ref\":\"%s%s\"}," : "\"metadata\":{\"description\":\"Standard list metadata.\",\"allOf\":[{\"$ref\":\"%s%s\"}]},", prefix, meta);
	buf_printf(out, "\"items\":{\"description\":\"The objects.\",\"type\":\"array\",\"items\":{\"$ref\":\"%s%.*s\"}}}", prefix, (int)(strlen(type->openapi) - strlen("List")), type->openapi);
	buf_printf(out, ",\"x-kubernetes-group-version-kind\":[{\"group\":\"%s\",\"kind\":\"%s\",\"version\":\"%s\"}]}", type->group, type->kind, type->version);
}

static void type_schema(const struct api_type *type, enum openapi_form form, struct schema_set *set, struct buf *out) {
	buf_append_json_string(out, type->openapi, strlen(type->openapi));
	buf_append_str(out, ":{");
	const struct custom_resource *custom = custom_of_type(type);
	if (custom) {
		schema_set_add(set, &meta_v1_object_meta_type);
		custom_openapi(custom, form == OPENAPI_V2, out);
		buf_append_char(out, '}');
		return;
	}
	if (strcmp(type->id, "customlist") == 0) {
		custom_list_schema(type, form, set, out);
		return;
	}
	doc_member(type->doc, out);
	const struct api_field *self = self_field(type);
	if (type->custom_json > API_CUSTOM_SELF) {
		/* A schema, or a boolean, or a list: anything goes. */
		if (out->data[out->len - 1] == ',')
			out->len--;
	} else if (self) {
		buf_append_str(out, self->shape == API_MAP ? "\"type\":\"object\",\"additionalProperties\":{" : "\"type\":\"array\",\"items\":{");
		value_members(self, form, NULL, true, set, out);
		buf_append_char(out, '}');
	} else {
		object_schema(type, form, set, out);
	}
	buf_append_char(out, '}');
}

void schema_write_all(struct schema_set *set, enum openapi_form form, struct buf *out) {
	/* The set grows while it is walked. */
	for (size_t i = 0; i < set->len; i++) {
		if (i)
			buf_append_char(out, ',');
		type_schema(set->types[i], form, set, out);
	}
	for (size_t i = 0; i < array_len(scalars); i++) {
		const char *members = form == OPENAPI_V2 ? scalars[i].v2 : scalars[i].v3;
		if (set->scalars & 1u << i)
			buf_printf(out, "%s\"%s\":{\"description\":\"%s\"%s%s}", out->data[out->len - 1] == '{' ? "" : ",", scalars[i].name, scalars[i].doc, members ? "," : "", members ? members : "");
	}
}
