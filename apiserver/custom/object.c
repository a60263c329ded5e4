/* SPDX-License-Identifier: Apache-2.0 */
/* Objects of custom resources on their way in and out. */
#include "apiserver/custom/custom.h"
#include "apiserver/custom/rules.h"
#include "apiserver/openapi/openapi.h"
#include "apiserver/printers/printer.h"
#include "common/api/codec.h"
#include "api/meta_v1.h"

#include <errno.h>

struct unknowns {
	char **paths;
	size_t len;
};

static void note_unknown(const char *path, void *arg) {
	struct unknowns *u = arg;
	u->paths = xreallocarray(u->paths, u->len + 1, sizeof(*u->paths));
	u->paths[u->len++] = xstrdup(path);
}

static int compare_paths(const void *a, const void *b) {
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* What a patch made of an object is the patch's fault. */
static bool is_patch(struct request *r) {
	const char *type = r && str_equal(r->verb, "patch") ? http_header(r->http, "Content-Type") : NULL;
	return type && !str_starts_with(type, "application/apply-patch");
}

/* What the schema does not know, in order: told as the client asked to be told. `patched`: what the unknown stood in, where a patch put it there; NULL: it did not. */
static int tell_unknowns(struct request *r, const struct resource *resource, struct unknowns *u, const char *patched, struct error *err) {
	autobuf struct buf list = BUF_INIT(BUF_MAX_DEFAULT);
	if (u->len)
		qsort(u->paths, u->len, sizeof(*u->paths), compare_paths);
	for (size_t i = 0; i < u->len; i++) {
		buf_printf(&list, "%sunknown field \"%s\"", list.len ? ", " : "", u->paths[i]);
		if (r && r->validation == API_WARN)
			request_warn(r, "unknown field \"%s\"", u->paths[i]);
		free(u->paths[i]);
	}
	free(u->paths);
	if (!list.len || !r || r->validation != API_STRICT)
		return 0;
	if (patched) {
		autobuf struct buf quoted = BUF_INIT(BUF_MAX_DEFAULT);
		buf_append_json_string(&quoted, patched, strlen(patched));
		error_cause(err, "FieldValueInvalid", "patch", "Invalid value: %s: strict decoding error: %s", quoted.data, list.data);
		return error_invalid(err, NULL, "", "");
	}
	return error_bad_request(err, "%s in version \"%s\" cannot be handled as a %s: strict decoding error: %s", resource->api->kind, resource->api->version, resource->api->kind, list.data);
}

/* Puts the members of the tree back into the object. */
static void take_back(void *object, json_t *tree) {
	struct custom_object *custom = object;
	struct arena *arena = api_arena(object);
	const char *key;
	json_t *member;
	memset(&custom->rest, 0, sizeof(custom->rest));
	json_object_foreach(tree, key, member) {
		if (strcmp(key, "kind") == 0 || strcmp(key, "apiVersion") == 0 || strcmp(key, "metadata") == 0)
			continue;
		char *json = json_dumps(member, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
		struct custom_entry *entry = api_map_insert(arena, &custom->rest, sizeof(*entry), key);
		entry->value.len = (uint32_t)strlen(json);
		entry->value.json = arena_strndup(arena, json, entry->value.len);
		free(json);
	}
}

void custom_member_copy(void *object, const void *from, const char *name) {
	struct custom_object *to = object;
	const struct custom_entry *theirs = from ? api_map_find(&((const struct custom_object *)from)->rest, sizeof(*theirs), name) : NULL;
	struct custom_entry *ours = api_map_find(&to->rest, sizeof(*ours), name);
	if (theirs) {
		ours = api_map_insert(api_arena(object), &to->rest, sizeof(*ours), name);
		ours->value.json = arena_strndup(api_arena(object), theirs->value.json, theirs->value.len);
		ours->value.len = theirs->value.len;
	} else if (ours) {
		api_list_remove(&to->rest, (size_t)(ours - to->rest.items));
	}
}

bool custom_generation_changed(const void *object, const void *old) {
	const struct custom_resource *custom = custom_of_type(api_type_of(object));
	bool status_apart = api_resource_subresource(&custom->api, "status") != NULL;
	const struct custom_object *sides[2] = {object, old};
	uint32_t i[2] = {0};
	for (;;) {
		const struct custom_entry *e[2];
		for (int s = 0; s < 2; s++) {
			if (status_apart && i[s] < sides[s]->rest.len && strcmp(sides[s]->rest.items[i[s]].key, "status") == 0)
				i[s]++;
			e[s] = i[s] < sides[s]->rest.len ? &sides[s]->rest.items[i[s]++] : NULL;
		}
		if (!e[0] || !e[1])
			return e[0] != e[1];
		if (strcmp(e[0]->key, e[1]->key) != 0 || e[0]->value.len != e[1]->value.len || memcmp(e[0]->value.json, e[1]->value.json, e[0]->value.len) != 0)
			return true;
	}
}

int custom_process(struct request *r, const struct resource *resource, void *object, struct error *err) {
	json_t *schema = resource->custom->schema;
	if (!schema)
		return 0;
	json_t *tree = api_to_json(api_type_of(object), object);
	struct unknowns unknowns = {0};
	autofree char *patched = is_patch(r) && r->validation == API_STRICT ? json_dumps(tree, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	schema_prune(schema, tree, true, note_unknown, &unknowns);
	schema_default(schema, tree);
	schema_drop_nulls(schema, tree);
	take_back(object, tree);
	json_decref(tree);
	return tell_unknowns(r, resource, &unknowns, patched, err);
}

int custom_check_head(const struct api_type *type, const char *json, size_t len, const char *kind, const char *version, const char *name, struct error *err) {
	autofree char *want = xprintf("%s/%s", type->group, type->version);
	if (str_empty(kind))
		return error_bad_request(err, "the object provided is unrecognized (must be of type %s): Object 'Kind' is missing in '%.*s' (%.*s%s)", type->kind, (int)min_of(len, (size_t)4096), json, (int)min_of(len, (size_t)30), json, len > 30 ? " ..." : "");
	if (!str_equal(version, want))
		return error_bad_request(err, "the API version in the data (%s) does not match the expected API version (%s)", str_or(version, ""), want);
	if (strcmp(kind, type->kind) == 0)
		return 0;
	error_cause(err, "FieldValueInvalid", "kind", "Invalid value: \"%s\": must be %s", kind, type->kind);
	return error_invalid(err, type->group, kind, str_or(name, ""));
}

/* Rules speak of values as the schema has them: what is not so is told alone. */
static bool is_blocking(const struct error *causes) {
	static const char *const reasons[] = {"FieldValueNotSupported", "FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid"};
	for (size_t i = 0; i < causes->cause_count; i++)
		for (size_t k = 0; k < array_len(reasons); k++)
			if (str_equal(causes->causes[i].reason, reasons[k]))
				return true;
	return false;
}

static void warn_of_rule(const char *text, void *arg) {
	request_warn(arg, "%s", text);
}

/* The number at a dotted path, for scale: no number but a whole one may stand there, nor anything but objects above it. */
static void check_scale_number(json_t *tree, const char *path, struct error *causes) {
	if (!path)
		return;
	autofree char *steps = xstrdup(path), *field = xprintf(".%s", path);
	char *rest = steps;
	json_t *value = tree;
	for (char *step; value && !json_is_null(value) && (step = strsep(&rest, "."));) {
		if (!json_is_object(value)) {
			error_cause(causes, "FieldValueInvalid", field, "Invalid value: 0: %s accessor error: what holds it is no object", field);
			return;
		}
		value = json_object_get(value, step);
	}
	if (!value)
		return;
	if (!json_is_integer(value))
		error_cause(causes, "FieldValueInvalid", field, "Invalid value: 0: %s accessor error: it is no whole number", field);
	else if (json_integer_value(value) < 0)
		error_cause(causes, "FieldValueInvalid", field, "Invalid value: %lld: should be a non-negative integer", (long long)json_integer_value(value));
	else if (json_integer_value(value) > INT32_MAX)
		error_cause(causes, "FieldValueInvalid", field, "Invalid value: %lld: should be less than or equal to %d", (long long)json_integer_value(value), INT32_MAX);
}

static void check_scale_selector(json_t *tree, const char *path, struct error *causes) {
	autofree char *field = path ? xprintf(".%s", path) : NULL;
	json_t *value = path ? json_path(tree, path) : NULL;
	if (value && !json_is_string(value))
		error_cause(causes, "FieldValueInvalid", field, "Invalid value: \"\": %s accessor error: it is no string", field);
}

static bool had_good_lists(json_t *schema, json_t *before) {
	autoerror struct error found = {0};
	if (before)
		schema_check_lists(schema, before, "", &found);
	return !error_has_causes(&found);
}

/* A status is judged alone, by its part of the schema. */
static void check_status_value(json_t *schema, json_t *tree, json_t *before, struct error *causes) {
	json_t *part = json_object_get(json_object_get(schema, "properties"), "status"), *status = json_object_get(tree, "status");
	autoerror struct error found = {0};
	if (part && status)
		schema_validate(part, status, json_object_get(before, "status"), "", &found);
	for (size_t i = 0; i < found.cause_count; i++) {
		const char *inner = str_equal(found.causes[i].field, "<nil>") ? "" : str_or(found.causes[i].field, "");
		autofree char *field = xprintf("status%s%s", !*inner || *inner == '[' ? "" : ".", inner);
		error_cause(causes, found.causes[i].reason, field, "%s", found.causes[i].message);
	}
}

void custom_validate(struct request *r, const struct resource *resource, const void *object, const void *old, bool status, struct error *causes) {
	const struct custom_resource *custom = resource->custom;
	if (!custom->schema)
		return;
	json_t *tree = api_to_json(api_type_of(object), object), *before = old ? api_to_json(api_type_of(old), old) : NULL;
	if (status)
		check_status_value(custom->schema, tree, before, causes);
	else
		schema_validate(custom->schema, tree, before, "", causes);
	if (!status)
		check_scale_number(tree, custom->scale_spec, causes);
	check_scale_number(tree, custom->scale_status, causes);
	check_scale_selector(tree, custom->scale_selector, causes);
	schema_check_embedded(custom->schema, tree, "", causes);
	if (had_good_lists(custom->schema, before))
		schema_check_lists(custom->schema, tree, "", causes);
	if (custom->rules && is_blocking(causes))
		error_cause(causes, "FieldValueInvalid", "<nil>", "Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation");
	else if (custom->rules)
		rules_check(custom->rules, tree, before, causes, warn_of_rule, r);
	json_decref(before);
	json_decref(tree);
}

void custom_cells(const struct resource *resource, const void *object, struct buf *out) {
	const struct custom_resource *custom = resource->custom;
	struct cells cells = {.out = out};
	json_t *tree = api_to_json(api_type_of(object), object);
	cell_string(&cells, api_metadata(object)->name);
	for (size_t i = 1; i < custom->api.column_count; i++) {
		json_t *value = json_path(tree, custom->column_paths[i]);
		const char *s = json_string_value(value);
		struct api_time time = {.set = true};
		if (str_equal(custom->api.columns[i].type, "date")) {
			time.set = s && time_parse_rfc3339(s, strlen(s), &time.t) == 0;
			cell_age(&cells, &time);
		} else if (s) {
			cell_string(&cells, s);
		} else if (json_is_integer(value)) {
			cell_int(&cells, json_integer_value(value));
		} else if (json_is_boolean(value)) {
			cell_bool(&cells, json_is_true(value));
		} else if (value && !json_is_null(value)) {
			char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
			cell_string(&cells, text);
			free(text);
		} else {
			buf_append_str(out, ",null");
		}
	}
	json_decref(tree);
}

/* ---- OpenAPI ---- */

/* v2 has no word for some of what a schema may say. */
static void strip_v2(json_t *schema) {
	static const char *const gone[] = {"nullable", "oneOf", "anyOf", "allOf", "not", "default"};
	if (json_is_array(schema)) {
		for (size_t i = 0; i < json_array_size(schema); i++)
			strip_v2(json_array_get(schema, i));
		return;
	}
	if (!json_is_object(schema))
		return;
	/* What may be null has no type there. */
	static const char *const typed[] = {"type", "items", "properties", "additionalProperties"};
	for (size_t i = 0; json_is_true(json_object_get(schema, "nullable")) && i < array_len(typed); i++)
		json_object_del(schema, typed[i]);
	for (size_t i = 0; i < array_len(gone); i++)
		json_object_del(schema, gone[i]);
	if (json_is_true(json_object_get(schema, "x-kubernetes-preserve-unknown-fields")) || json_is_true(json_object_get(schema, "x-kubernetes-int-or-string"))) {
		json_object_del(schema, "items");
		json_object_del(schema, "properties");
		if (json_is_true(json_object_get(schema, "x-kubernetes-int-or-string")))
			json_object_del(schema, "type");
	}
	const char *key;
	json_t *inner;
	json_object_foreach(json_object_get(schema, "properties"), key, inner)
		strip_v2(inner);
	strip_v2(json_object_get(schema, "items"));
	strip_v2(json_object_get(schema, "additionalProperties"));
}

/* What is a number or a string says so in words that other tools know, too. */
static void spell_out(json_t *schema) {
	static const char *const below[] = {"items", "additionalProperties"};
	if (!json_is_object(schema))
		return;
	if (json_is_true(json_object_get(schema, "x-kubernetes-int-or-string")) && !json_object_get(schema, "anyOf") && !json_object_get(schema, "allOf"))
		json_object_set_new(schema, "anyOf", json_pack("[{s:s}, {s:s}]", "type", "integer", "type", "string"));
	const char *key;
	json_t *inner;
	json_object_foreach(json_object_get(schema, "properties"), key, inner)
		spell_out(inner);
	for (size_t i = 0; i < array_len(below); i++)
		spell_out(json_object_get(schema, below[i]));
}

void custom_openapi(const struct custom_resource *custom, bool v2, struct buf *out) {
	bool open = !custom->schema || json_is_true(json_object_get(custom->schema, "x-kubernetes-preserve-unknown-fields"));
	/* v2 cannot say "these and any others": what is open says nothing. */
	json_t *schema = open && (v2 || !custom->schema) ? json_pack("{s:s}", "type", "object") : json_deep_copy(custom->schema);
	if (v2)
		strip_v2(schema);
	else
		spell_out(schema);
	if (!open || !v2) {
		json_t *properties = json_object_get(schema, "properties");
		if (!properties) {
			properties = json_object();
			json_object_set_new(schema, "properties", properties);
		}
		const char *ref = v2 ? "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta" : "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
		json_object_set_new(properties, "apiVersion", json_pack("{s:s, s:s}", "description", OPENAPI_API_VERSION_DOC, "type", "string"));
		json_object_set_new(properties, "kind", json_pack("{s:s, s:s}", "description", OPENAPI_KIND_DOC, "type", "string"));
		json_object_set_new(properties, "metadata", v2 ? json_pack("{s:s, s:s}", "description", OPENAPI_METADATA_DOC, "$ref", ref) : json_pack("{s:s, s:[{s:s}]}", "description", OPENAPI_METADATA_DOC, "allOf", "$ref", ref));
	}
	json_object_set_new(schema, "x-kubernetes-group-version-kind", json_pack("[{s:s, s:s, s:s}]", "group", custom->api.group, "kind", custom->api.kind, "version", custom->api.version));
	char *text = json_dumps(schema, JSON_COMPACT);
	buf_append(out, text + 1, strlen(text) - 2);
	free(text);
	json_decref(schema);
}

/* ---- scale ---- */

int64_t custom_number_at(const void *object, const char *path) {
	json_t *tree = api_to_json(api_type_of(object), object);
	int64_t value = path ? json_integer_value(json_path(tree, path)) : 0;
	json_decref(tree);
	return value;
}

char *custom_string_at(const void *object, const char *path, struct arena *arena) {
	json_t *tree = api_to_json(api_type_of(object), object);
	const char *s = path ? json_string_value(json_path(tree, path)) : NULL;
	char *copy = arena_strdup(arena, s ? s : "");
	json_decref(tree);
	return copy;
}

void custom_set_number_at(void *object, const char *path, int64_t value) {
	json_t *tree = api_to_json(api_type_of(object), object), *at = tree;
	while (strchr(path, '.')) {
		size_t len = strcspn(path, ".");
		autofree char *key = xstrndup(path, len);
		json_t *inner = json_object_get(at, key);
		if (!json_is_object(inner)) {
			inner = json_object();
			json_object_set_new(at, key, inner);
		}
		at = inner;
		path += len + 1;
	}
	json_object_set_new(at, path, json_integer(value));
	take_back(object, tree);
	json_decref(tree);
}
