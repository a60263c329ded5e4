/* SPDX-License-Identifier: Apache-2.0 */
/* The parameters of operations: a row for each that requests of the API take, and those that the options of a connection name. */
#include "apiserver/openapi/paths.h"

#include "common/api/codec.h"

#define LISTS (OPS_LIST | OPS_DELETE_COLLECTION | OPS_WATCHES)
#define WRITES (OPS_CREATE | OPS_UPDATE | OPS_PATCH)
#define DELETES (OPS_DELETE | OPS_DELETE_COLLECTION)

/* By name, as they are written. */
static const struct parameter rows[] = {
	{"allowWatchBookmarks", "boolean", OPS_LIST | OPS_WATCHES, "Asks for events of type BOOKMARK, which tell how far the watch has come."},
	{"continue", "string", LISTS, "Where the next part of a list begins: the token that the part before came with."},
	{"dryRun", "string", WRITES | DELETES, "With All, everything is done but nothing is stored."},
	{"fieldManager", "string", WRITES, "The name under which the fields that this request writes are kept."},
	{"fieldSelector", "string", LISTS, "Restricts the objects by their fields."},
	{"fieldValidation", "string", WRITES, "What unknown fields and fields that stand twice lead to: Ignore, Warn or Strict."},
	{"force", "boolean", OPS_PATCH, "Takes fields that others own, where an apply conflicts. Only for apply."},
	{"gracePeriodSeconds", "integer", DELETES, "Seconds until the object is gone; 0 is at once."},
	{"ignoreStoreReadErrorWithClusterBreakingPotential", "boolean", DELETES, "Deletes an object that can no longer be read from the store, past all that would happen else."},
	{"labelSelector", "string", LISTS, "Restricts the objects by their labels."},
	{"limit", "integer", LISTS, "How many objects one part of a list may hold."},
	{"orphanDependents", "boolean", DELETES, "Old form of propagationPolicy: true is Orphan."},
	{"pretty", "string", ~OPS_CONNECT, "With true, the answer is indented."},
	{"propagationPolicy", "string", DELETES, "What becomes of the objects that this one owns: Orphan, Background or Foreground."},
	{"resourceVersion", "string", LISTS, "How new the answer has to be, or from where a watch begins."},
	{"resourceVersionMatch", "string", LISTS, "How resourceVersion counts: NotOlderThan or Exact."},
	{"sendInitialEvents", "boolean", LISTS, "Lets a watch begin with what there is."},
	{"shardSelector", "string", LISTS, "Restricts the objects to a share of them."},
	{"timeoutSeconds", "integer", LISTS, "Seconds after which the request ends, whatever happens."},
	{"watch", "boolean", OPS_LIST | OPS_WATCHES, "Answers with the changes to come, as a stream of events."},
};
_Static_assert(array_len(rows) <= MAX_PARAMETERS, "operations hold them as bits");

static void write_value(const char *type, enum openapi_form form, struct buf *out) {
	buf_printf(out, form == OPENAPI_V2 ? "\"type\":\"%s\",\"uniqueItems\":true" : "\"schema\":{\"type\":\"%s\",\"uniqueItems\":true}", type);
}

static void write_parameter(const char *name, const char *type, const char *in, const char *doc, enum openapi_form form, struct buf *out) {
	buf_append_str(out, "{\"name\":");
	buf_append_json_string(out, name, strlen(name));
	buf_printf(out, ",\"in\":\"%s\",", in);
	if (doc) {
		buf_append_str(out, "\"description\":");
		buf_append_json_string(out, doc, strlen(doc));
		buf_append_char(out, ',');
	}
	if (strcmp(in, "path") == 0)
		buf_append_str(out, "\"required\":true,");
	write_value(type, form, out);
	buf_append_char(out, '}');
}

uint32_t parameters_of(enum op_kind kind, bool custom) {
	uint32_t set = 0, ops = OPS(custom && kind == OP_DELETE_COLLECTION ? OP_LIST : kind);
	for (size_t i = 0; i < array_len(rows); i++)
		if (rows[i].ops & ops || (custom && kind == OP_GET && strcmp(rows[i].name, "resourceVersion") == 0))
			set |= 1u << i;
	return set;
}

void parameters_define(struct buf *out) {
	for (size_t i = 0; i < array_len(rows); i++) {
		buf_printf(out, "%s\"%s\":", i ? "," : "", rows[i].name);
		write_parameter(rows[i].name, rows[i].type, "query", rows[i].doc, OPENAPI_V2, out);
	}
}

static void separate(bool *any, struct buf *out) {
	buf_append_str(out, *any ? "," : "\"parameters\":[");
	*any = true;
}

static void write_row(const struct parameter *row, enum openapi_form form, struct buf *out) {
	if (form == OPENAPI_V2)
		buf_printf(out, "{\"$ref\":\"#/parameters/%s\"}", row->name);
	else
		write_parameter(row->name, row->type, "query", row->doc, form, out);
}

void parameters_write(uint32_t set, const char *body, enum openapi_form form, struct buf *out) {
	bool any = false;
	if (body) {
		separate(&any, out);
		buf_append_str(out, body);
	}
	for (size_t i = 0; i < array_len(rows); i++)
		if (set & 1u << i) {
			separate(&any, out);
			write_row(&rows[i], form, out);
		}
	if (any)
		buf_append_str(out, "],");
}

/* One of a path: a row, a part of the path, or a member of the options. */
struct of_path {
	const char *name, *in;
	const struct parameter *row;
	const struct api_field *field;
};

static int by_name(const void *a, const void *b) {
	const struct of_path *x = a, *y = b;
	int r = strcmp(x->name, y->name);
	return r ? r : strcmp(x->in, y->in);
}

static const char *type_of_field(const struct api_field *field) {
	return field->kind == API_BOOL ? "boolean" : field->kind == API_INT32 || field->kind == API_INT64 ? "integer" : "string";
}

static bool is_option(const struct api_field *field) {
	return !(field->flags & (API_FIELD_WIRE_ONLY | API_FIELD_NO_JSON | API_FIELD_INLINE)) && field->kind != API_STRUCT && strcmp(field->name, "kind") != 0 && strcmp(field->name, "apiVersion") != 0 &&
	       field->kind != API_TIME;
}

void parameters_of_path(const struct path_parameters *path, enum openapi_form form, struct buf *out) {
	struct of_path list[MAX_PARAMETERS * 2];
	size_t count = 0;
	for (size_t i = 0; i < array_len(rows); i++)
		if (path->common & 1u << i)
			list[count++] = (struct of_path){rows[i].name, "query", &rows[i], NULL};
	for (size_t i = 0; path->options && i < path->options->field_count && count < MAX_PARAMETERS * 2 - 3; i++)
		if (is_option(&path->options->fields[i]))
			list[count++] = (struct of_path){path->options->fields[i].name, "query", NULL, &path->options->fields[i]};
	const char *const names[] = {path->kind ? "name" : NULL, path->namespaced ? "namespace" : NULL, path->rest ? "path" : NULL};
	for (size_t i = 0; i < array_len(names); i++)
		if (names[i])
			list[count++] = (struct of_path){names[i], "path", NULL, NULL};
	qsort(list, count, sizeof(*list), by_name);
	bool any = false;
	for (size_t i = 0; i < count; i++) {
		separate(&any, out);
		autofree char *doc = strcmp(list[i].name, "name") == 0 ? xprintf("The name of the %s.", path->kind) : NULL;
		if (list[i].row)
			write_row(list[i].row, form, out);
		else if (list[i].field)
			write_parameter(list[i].name, type_of_field(list[i].field), "query", list[i].field->doc, form, out);
		else
			write_parameter(list[i].name, "string", "path", doc ? doc : strcmp(list[i].name, "namespace") == 0 ? "The namespace." : "The path that is asked for there.", form, out);
	}
	if (any)
		buf_append_str(out, "],");
}
