/* SPDX-License-Identifier: Apache-2.0 */
/* Types: those that are always there, making others, their names. */
#include "common/cel/internal.h"

const struct cel_type cel_dyn = {.kind = CEL_DYN}, cel_null = {.kind = CEL_NULL}, cel_bool = {.kind = CEL_BOOL}, cel_int = {.kind = CEL_INT}, cel_uint = {.kind = CEL_UINT},
		      cel_double = {.kind = CEL_DOUBLE}, cel_string = {.kind = CEL_STRING}, cel_bytes = {.kind = CEL_BYTES}, cel_timestamp = {.kind = CEL_TIMESTAMP},
		      cel_duration = {.kind = CEL_DURATION}, type_error = {.kind = CEL_ERROR}, type_type = {.kind = CEL_TYPE};
/* What Go's CEL counts among structs, though it has no fields. */
#define OPAQUE(name_) {.kind = CEL_OBJECT, .name = (name_)}
const struct cel_type cel_authorizer_type = OPAQUE("kubernetes.authorization.Authorizer"), cel_resource_check_type = OPAQUE("kubernetes.authorization.ResourceCheck"),
		      type_path_check = OPAQUE("kubernetes.authorization.PathCheck"), type_group_check = OPAQUE("kubernetes.authorization.GroupCheck"),
		      type_decision = OPAQUE("kubernetes.authorization.Decision"), type_quantity = OPAQUE("kubernetes.Quantity"), type_semver = OPAQUE("kubernetes.Semver"),
		      type_url = OPAQUE("kubernetes.URL"), type_ip = {.kind = CEL_OPAQUE, .name = "net.IP"}, type_cidr = {.kind = CEL_OPAQUE, .name = "net.CIDR"}, type_format = OPAQUE("kubernetes.NamedFormat");
const struct cel_type type_list_dyn = {.kind = CEL_LIST, .params = {&cel_dyn}, .param_count = 1}, type_map_dyn = {.kind = CEL_MAP, .params = {&cel_dyn, &cel_dyn}, .param_count = 2};

static struct cel_field patch_fields[] = {{"from", "from", &cel_string}, {"op", "op", &cel_string}, {"path", "path", &cel_string}, {"value", "value", &cel_dyn}};
const struct cel_type type_json_patch = {.kind = CEL_OBJECT, .name = "JSONPatch", .fields = patch_fields, .field_count = array_len(patch_fields)};

static struct cel_type *compose(struct arena *arena, enum cel_kind kind, const struct cel_type *a, const struct cel_type *b) {
	struct cel_type *type = arena_new_type(arena, struct cel_type);
	type->kind = kind;
	type->params[0] = a;
	type->params[1] = b;
	type->param_count = b ? 2 : 1;
	type->weight = 1 + max_of(a->weight, 1u) + (b ? max_of(b->weight, 1u) : 0);
	return type;
}

struct cel_type *cel_list_of(struct arena *arena, const struct cel_type *element) {
	return compose(arena, CEL_LIST, element, NULL);
}

struct cel_type *cel_map_of(struct arena *arena, const struct cel_type *key, const struct cel_type *value) {
	return compose(arena, CEL_MAP, key, value);
}

struct cel_type *cel_optional_of(struct arena *arena, const struct cel_type *inner) {
	return compose(arena, CEL_OPTIONAL, inner, NULL);
}

struct cel_type *type_of_type(struct arena *arena, const struct cel_type *inner) {
	return compose(arena, CEL_TYPE, inner, NULL);
}

static int compare_fields(const void *a, const void *b) {
	return strcmp(((const struct cel_field *)a)->name, ((const struct cel_field *)b)->name);
}

struct cel_type *cel_object_of(struct arena *arena, const char *name, const struct cel_field *fields, size_t count) {
	struct cel_type *type = arena_new_type(arena, struct cel_type);
	type->kind = CEL_OBJECT;
	type->name = arena_strdup(arena, name);
	type->fields = count ? arena_memdup(arena, fields, count * sizeof(*fields)) : NULL;
	type->field_count = (unsigned)count;
	if (count)
		qsort(type->fields, count, sizeof(*fields), compare_fields);
	return type;
}

bool is_keyword(const char *word) {
	static const char *const words[] = {"true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package", "namespace", "return", "var", "void", "while"};
	for (size_t i = 0; i < array_len(words); i++)
		if (strcmp(words[i], word) == 0)
			return true;
	return false;
}

static const struct cel_field *find_field(const struct cel_type *object, const char *name) {
	struct cel_field key = {.name = name};
	return object->field_count ? bsearch(&key, object->fields, object->field_count, sizeof(key), compare_fields) : NULL;
}

const struct cel_type *field_of(const struct cel_type *object, const char *name, const struct cel_field **ret_field) {
	const struct cel_field *found = find_field(object, name);
	/* A reserved word stands for a field as it is, too: object.metadata.namespace. */
	if (!found && is_keyword(name)) {
		autofree char *escaped = xprintf("__%s__", name);
		found = find_field(object, escaped);
	}
	if (ret_field)
		*ret_field = found;
	return found ? found->type : object->any_field ? &cel_dyn : NULL;
}

bool cel_type_same(const struct cel_type *a, const struct cel_type *b) {
	if (a == b)
		return true;
	if (a->kind != b->kind || a->param_count != b->param_count || !str_equal(a->name, b->name) || a->var != b->var)
		return false;
	for (unsigned i = 0; i < a->param_count; i++)
		if (!cel_type_same(a->params[i], b->params[i]))
			return false;
	return true;
}

static const char *kind_name(const struct cel_type *type) {
	static const char *const names[] = {
		[CEL_ERROR] = "!error!", [CEL_DYN] = "dyn", [CEL_NULL] = "null", [CEL_BOOL] = "bool", [CEL_INT] = "int", [CEL_UINT] = "uint", [CEL_DOUBLE] = "double", [CEL_STRING] = "string", [CEL_BYTES] = "bytes", [CEL_LIST] = "list", [CEL_MAP] = "map",
		[CEL_TIMESTAMP] = "timestamp", [CEL_DURATION] = "duration", [CEL_TYPE] = "type", [CEL_OPTIONAL] = "optional_type",
	};
	return type->kind < array_len(names) && names[type->kind] && !(type->kind == CEL_DYN && type->name) ? names[type->kind] : str_or(type->name, "");
}

static void append(const struct cel_type *type, bool full, struct buf *out) {
	if (type->kind == CEL_PARAM && !type->name)
		buf_printf(out, "_var%u", type->var);
	else if (full && (type->kind == CEL_TIMESTAMP || type->kind == CEL_DURATION))
		buf_append_str(out, type->kind == CEL_TIMESTAMP ? "google.protobuf.Timestamp" : "google.protobuf.Duration");
	else
		buf_append_str(out, full && type->kind == CEL_NULL ? "null_type" : kind_name(type));
	for (unsigned i = 0; i < type->param_count; i++) {
		buf_append_str(out, i ? ", " : "(");
		append(type->params[i], full, out);
	}
	if (type->param_count)
		buf_append_char(out, ')');
}

void cel_type_append(const struct cel_type *type, struct buf *out) {
	append(type, false, out);
}

void cel_type_append_full(const struct cel_type *type, struct buf *out) {
	append(type, true, out);
}

const struct cel_type *type_named(const char *name) {
	static const struct cel_type optional = {.kind = CEL_OPTIONAL, .params = {&cel_dyn}, .param_count = 1};
	static const struct {
		const char *name;
		const struct cel_type *type;
	} rows[] = {
		{"bool", &cel_bool}, {"bytes", &cel_bytes}, {"double", &cel_double}, {"google.protobuf.Duration", &cel_duration}, {"int", &cel_int}, {"list", &type_list_dyn}, {"map", &type_map_dyn}, {"null_type", &cel_null}, {"string", &cel_string},
		{"google.protobuf.Timestamp", &cel_timestamp}, {"type", &type_type}, {"uint", &cel_uint}, {"optional_type", &optional}, {"net.IP", &type_ip}, {"net.CIDR", &type_cidr},
	};
	for (size_t i = 0; i < array_len(rows); i++)
		if (strcmp(rows[i].name, name) == 0)
			return rows[i].type;
	return NULL;
}
