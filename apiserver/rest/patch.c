/* SPDX-License-Identifier: Apache-2.0 */
/* PATCH: JSON patch, merge patch, strategic merge patch, each tried again where the object changed under it. */
#include "apiserver/rest/input.h"
#include "apiserver/rest/patch.h"
#include "apiserver/rest/write.h"
#include "api/meta_v1.h"
#include "common/api/codec.h"
#include "common/api/json_reader.h"
#include "common/api/patch/patch.h"
#include "common/api/yaml.h"

#include <errno.h>
#include <strings.h>

static const struct { const char *type; enum patch_kind kind; } patch_types[] = {
	{"application/json-patch+json", PATCH_JSON},
	{"application/merge-patch+json", PATCH_MERGE},
	{"application/strategic-merge-patch+json", PATCH_STRATEGIC},
	{"application/apply-patch+yaml", PATCH_APPLY},
};

static int patch_kind_of(const struct request *r, enum patch_kind *ret, struct error *err) {
	const char *content_type = str_or(http_header(r->http, "Content-Type"), "");
	size_t len = strcspn(content_type, "; ");
	for (size_t i = 0; i < array_len(patch_types); i++)
		if (strlen(patch_types[i].type) == len && strncasecmp(patch_types[i].type, content_type, len) == 0) {
			*ret = patch_types[i].kind;
			return 0;
		}
	return error_of_route(err, 415, "UnsupportedMediaType", "415: Unsupported Media Type");
}

/* What Go would say of the text, and where it is no object; NULL where all is well. */
static char *text_fault(const char *text, size_t len, bool object) {
	struct json_reader reader;
	char *fault = NULL;
	json_reader_init(&reader, text, len, NULL);
	int c = json_peek(&reader);
	if (json_skip(&reader) < 0 || (json_peek(&reader) >= 0 && json_fail_at(&reader, "after top-level value") < 0))
		fault = take_ptr(reader.message);
	else if (object && c != '{' && c != 'n')
		fault = xprintf("json: cannot unmarshal %s into Go value of type map[string]interface {}", c == '[' ? "array" : c == '"' ? "string" : c == 't' || c == 'f' ? "bool" : "number");
	json_reader_done(&reader);
	return fault;
}

int patch_check_type(const struct request *r, struct error *err) {
	enum patch_kind kind;
	int rc = patch_kind_of(r, &kind, err);
	if (rc < 0)
		return rc;
	if (r->resource->custom && kind == PATCH_STRATEGIC)
		return error_status(err, 415, "UnsupportedMediaType", "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml");
	return request_check_body(r, err);
}

static void drop_found(void *found) {
	api_warning_list_done(found);
}

/* Keys that stand twice are lost once the patch is a tree. */
static void find_duplicates(struct request *r, const char *body, size_t len, struct patch_input *input) {
	static const char *const members[] = {"op", "path", "from", "value", NULL};
	if (r->validation == API_IGNORE)
		return;
	json_find_duplicates(body, len, input->kind == PATCH_JSON ? members : NULL, &input->found);
	for (size_t i = 0; i < input->found.len && input->kind == PATCH_JSON; i++) {
		autofree char *bare = input->found.items[i];
		input->found.items[i] = xprintf("json patch %s", bare);
	}
	arena_defer(r->arena, drop_found, &input->found);
}

/* Text that is no UTF-8 is read as Go reads it. */
static json_t *load_tree(const char *body, size_t len, json_error_t *where) {
	json_t *tree = json_loadb(body, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, where);
	if (tree)
		return tree;
	autobuf struct buf text = BUF_INIT(BUF_MAX_DEFAULT);
	const unsigned char *p = (const unsigned char *)body, *end = p + len;
	while (p < end) {
		size_t n = *p < 0x80 ? 1 : api_utf8_length(p, (size_t)(end - p));
		if (n)
			buf_append(&text, p, n);
		else
			buf_append_str(&text, "\xef\xbf\xbd");
		p += n ? n : 1;
	}
	return json_loadb(text.data ? text.data : "", text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, where);
}

int patch_parse(struct request *r, struct patch_input *ret, struct error *err) {
	int rc = patch_kind_of(r, &ret->kind, err);
	if (rc < 0)
		return rc;
	size_t len;
	const char *body = http_body(r->http, &len);
	json_t *tree = NULL;
	if (ret->kind == PATCH_APPLY) {
		autobuf struct buf json = BUF_INIT(BUF_MAX_DEFAULT);
		json_error_t where;
		rc = request_read_yaml(r, body, len, &json, err);
		if (rc < 0)
			return rc;
		tree = json_loadb(json.data, json.len, JSON_DECODE_ANY, &where);
		if (!tree)
			return error_bad_request(err, "error decoding YAML: %s", where.text);
		if (!json_is_object(tree) && !json_is_null(tree)) {
			const char *made = json_is_array(tree) ? "array" : json_is_string(tree) ? "string" : json_is_boolean(tree) ? "bool" : "number";
			json_decref(tree);
			return error_bad_request(err, "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal %s into Go value of type map[string]interface {}", made);
		}
		ret->force = request_flag(r, "force");
	} else {
		json_error_t where;
		autofree char *fault = text_fault(body, len, ret->kind != PATCH_JSON);
		if (fault) {
			ret->fault = arena_printf(r->arena, "%s%s", ret->kind == PATCH_STRATEGIC ? "" : "error decoding patch: ", fault);
			return 0;
		}
		tree = load_tree(body, len, &where);
		if (!tree)
			return error_bad_request(err, "error decoding patch: %s", where.text);
		find_duplicates(r, body, len, ret);
	}
	ret->tree = tree;
	arena_defer(r->arena, (void (*)(void *))json_decref, tree);
	return 0;
}

/* It is said of the fields of a kind, which itself is no field: what it says of that is not heard. */
static int run_strategic(const struct patch_input *input, const struct api_type *type, json_t *target, json_t **ret, struct error *err) {
	static const char *const head[] = {"kind", "apiVersion"};
	if (json_is_null(input->tree)) {
		*ret = json_incref(target);
		return 0;
	}
	int rc = patch_strategic(type, target, input->tree, ret, err);
	for (size_t i = 0; rc == 0 && type->is_kind && i < array_len(head); i++) {
		json_t *given = json_object_get(input->tree, head[i]);
		if (given && (json_is_string(given) || json_is_null(given)))
			json_object_set(*ret, head[i], json_object_get(target, head[i]));
	}
	return rc;
}

/* A client is told no more than this where a well-formed patch does not apply. */
static int run_json(const struct patch_input *input, json_t *target, json_t **ret, struct error *err) {
	autoerror struct error why = {0};
	int rc = patch_json(target, input->tree, ret, &why);
	if (rc < 0 && why.http_code != 422)
		return error_move(err, &why);
	if (rc < 0) {
		error_status(err, 422, "Invalid", "the server rejected our request due to an error in our request");
		err->empty_details = true;
	}
	return rc;
}

int patch_run(const struct patch_input *input, const struct api_type *type, json_t *target, json_t **ret, struct error *err) {
	if (input->fault)
		return error_bad_request(err, "%s", input->fault);
	switch (input->kind) {
	case PATCH_JSON:
		return run_json(input, target, ret, err);
	case PATCH_STRATEGIC:
		return run_strategic(input, type, target, ret, err);
	default:
		return patch_merge(target, input->tree, ret, err);
	}
}

/* A patch is tried again where the object changed under it. */
static struct api_warning_list copy_found(const struct api_warning_list *found) {
	struct api_warning_list copy = {0};
	if (found->len)
		copy.items = xcalloc(found->len, sizeof(*copy.items));
	for (; copy.len < found->len; copy.len++)
		copy.items[copy.len] = xstrdup(found->items[copy.len]);
	return copy;
}

/* What a JSON patch touches, as the merge that would touch the same; new reference. */
static json_t *touched_by(json_t *operations) {
	static const char *const members[] = {"path", "from"};
	json_t *touched = json_object(), *operation;
	size_t i;
	json_array_foreach(operations, i, operation)
		for (size_t m = 0; m < array_len(members); m++) {
			json_t *at = touched;
			for (const char *p = json_string_value(json_object_get(operation, members[m])); p && *p == '/';) {
				size_t len = strcspn(++p, "/");
				autofree char *key = xstrndup(p, len);
				p += len;
				if (*p == '/' && !json_object_get(at, key))
					json_object_set_new(at, key, json_object());
				at = json_object_get(at, key);
			}
		}
	return touched;
}

static void append_json(struct buf *out, json_t *value) {
	autofree char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	buf_append_str(out, text ? text : "");
}

static int compare_names(const void *a, const void *b) {
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* As what patched it has it: objects that were touched in order of their keys, others as they were. */
static void append_patched(struct buf *out, json_t *value, json_t *touched) {
	const char *key;
	json_t *member;
	size_t i = 0;
	if (json_is_array(value) && json_object_size(touched)) {
		json_array_foreach(value, i, member) {
			autofree char *index = xprintf("%zu", i);
			buf_append_char(out, i ? ',' : '[');
			append_patched(out, member, json_object_get(touched, index));
		}
		buf_append_str(out, i ? "]" : "[]");
		return;
	}
	if (!json_is_object(value) || !json_is_object(touched)) {
		append_json(out, value);
		return;
	}
	autofree const char **keys = xcalloc(json_object_size(value) + 1, sizeof(*keys));
	json_object_foreach(value, key, member)
		keys[i++] = key;
	qsort(keys, i, sizeof(*keys), compare_names);
	buf_append_char(out, '{');
	for (size_t k = 0; k < i; k++) {
		if (k)
			buf_append_char(out, ',');
		buf_append_json_string(out, keys[k], strlen(keys[k]));
		buf_append_char(out, ':');
		append_patched(out, json_object_get(value, keys[k]), json_object_get(touched, keys[k]));
	}
	buf_append_char(out, '}');
}

/* Strategic merges become objects another way, which has words of its own for what does not fit. */
static char *words_of_converter(const char *text) {
	static const struct { const char *json, *go; } kinds[] = {{"number", "int64"}, {"string", "string"}, {"bool", "bool"}, {"array", "slice"}, {"object", "map"}};
	static const char *const scalars[] = {"string", "bool", "int32", "int64", "float64", "uint8"};
	static const char begin[] = "json: cannot unmarshal ";
	const char *to = strstr(text, " of type "), *from = NULL;
	if (str_starts_with(text, "illegal base64"))
		return xprintf("error decoding from json: %s", text);
	for (size_t i = 0; to && str_starts_with(text, begin) && i < array_len(kinds); i++)
		if (str_starts_with(text + strlen(begin), kinds[i].json))
			from = kinds[i].go;
	if (!from)
		return xstrdup(text);
	to += strlen(" of type ");
	if (str_equal(from, "int64") && str_equal(to, "string"))
		return xprintf("cannot convert int64 to string");
	for (size_t i = 0; i < array_len(scalars); i++)
		if (str_equal(to, scalars[i]))
			return xprintf("unrecognized type: %s", to);
	if (str_starts_with(to, "[]"))
		return xprintf("cannot restore slice from %s", from);
	return str_starts_with(to, "map[") ? xprintf("cannot restore map from %s", from) : xprintf("cannot restore struct from: %s", from);
}

int patch_decode(struct request *r, const struct patch_input *input, const struct api_type *type, json_t *tree, void **ret, struct error *err) {
	struct api_warning_list found = copy_found(&input->found);
	struct api_decode_options options = {.validation = r->validation, .warnings = &r->warnings, .bare = true, .found = &found};
	autoerror struct error why = {0};
	struct { const char *kind, *api_version; } *head;
	autofree char *version = str_empty(type->group) ? xstrdup(str_or(type->version, "")) : xprintf("%s/%s", type->group, type->version);
	if (type->is_kind && type->kind && json_is_object(tree)) {
		json_t *kind = json_object_get(tree, "kind"), *named = json_object_get(tree, "apiVersion");
		if (!named || json_is_null(named) || (json_is_string(named) && !*json_string_value(named))) {
			api_warning_list_done(&found);
			return error_bad_request(err, "the name of the object (%s based on URL) was undeterminable: name must be provided", str_or(r->name, ""));
		}
		if (!kind || json_is_null(kind) || (json_is_string(kind) && !*json_string_value(kind)))
			json_object_set_new(tree, "kind", json_string(type->kind));
	}
	int rc = api_from_json(type, tree, &options, ret, &why);
	api_warning_list_done(&found);
	if (rc == 0) {
		/* What an object is does not change. */
		head = *ret;
		if (!type->is_kind || !type->kind || (str_equal(head->kind, type->kind) && str_equal(head->api_version, version)))
			return 0;
		error_status(&why, 400, "BadRequest", "unable to decode %s, Kind=%s into %s, Kind=%s", str_or(head->api_version, ""), str_or(head->kind, ""), version, type->kind);
		api_unref(take_ptr(*ret));
	}
	autobuf struct buf quoted = BUF_INIT(BUF_MAX_DEFAULT), text = BUF_INIT(BUF_MAX_DEFAULT);
	autofree char *reason = input->kind == PATCH_STRATEGIC ? words_of_converter(error_message(&why)) : xstrdup(error_message(&why));
	if (input->kind == PATCH_STRATEGIC) {
		patch_append_go_value(&text, input->tree); /* the patch itself */
	} else {
		json_t *touched = input->kind == PATCH_JSON ? touched_by(input->tree) : json_incref(input->tree);
		append_patched(&text, tree, touched);
		json_decref(touched);
	}
	buf_append_json_string(&quoted, text.data ? text.data : "", text.len);
	error_cause(err, "FieldValueInvalid", "patch", "Invalid value: %s: %s", quoted.data, reason);
	return error_invalid(err, NULL, "", "");
}

static int check_identity(struct write *w, struct error *err) {
	struct meta_v1_object_meta *meta = api_metadata(w->object);
	const struct meta_v1_object_meta *old = w->old ? api_metadata(w->old) : NULL;
	int rc = input_check_identity(w, meta, api_arena(w->object), err);
	return rc < 0 || !old ? rc : input_check_version(w, meta->resource_version, old, err);
}

/*
 * What a merging patch does not name stays as it is: such members of the root need not become a tree and be decoded again. A status patch of a
 * pod leaves out its spec and its managedFields, most of the object.
 */
static bool names_members(const struct patch_input *input, const struct api_type *type) {
	const char *key;
	json_t *value;
	if ((input->kind != PATCH_MERGE && input->kind != PATCH_STRATEGIC) || !json_is_object(input->tree) || type->custom_json)
		return false;
	for (size_t i = 0; i < type->field_count; i++)
		if (type->fields[i].flags & API_FIELD_INLINE)
			return false;
	json_object_foreach(input->tree, key, value)
		if (*key == '$')
			return false;
	value = json_object_get(input->tree, "metadata");
	return !value || json_is_object(value);
}

static bool is_named(const struct patch_input *input, const struct api_field *f) {
	return !strcmp(f->name, "kind") || !strcmp(f->name, "apiVersion") || !strcmp(f->name, "metadata") || json_object_get(input->tree, f->name);
}

/* Copies the struct, without what it points at, leaving zero what is not of the part. */
static void *part_of(const struct patch_input *input, const struct api_type *type, const void *object, bool named) {
	char *part = xcalloc(1, type->size);
	for (size_t i = 0; i < type->field_count; i++)
		if (is_named(input, &type->fields[i]) == named)
			memcpy(part + type->fields[i].offset, (const char *)object + type->fields[i].offset, api_field_size(&type->fields[i]));
	return part;
}

static int patch_members(const struct write *w, const struct patch_input *input, void **ret, struct error *err) {
	const struct api_type *type = w->resource->type;
	const struct meta_v1_object_meta *old_meta = api_metadata(w->old);
	size_t meta_at = (size_t)((const char *)old_meta - (const char *)w->old);
	bool keep_managed = !json_object_get(json_object_get(input->tree, "metadata"), "managedFields");
	autofree char *named = part_of(input, type, w->old, true), *rest = part_of(input, type, w->old, false);
	struct meta_v1_object_meta *meta = (struct meta_v1_object_meta *)(named + meta_at), *rest_meta = (struct meta_v1_object_meta *)(rest + meta_at);
	if (keep_managed) {
		rest_meta->managed_fields = meta->managed_fields;
		memset(&meta->managed_fields, 0, sizeof(meta->managed_fields));
	}
	json_t *target = api_to_json(type, named), *patched = NULL;
	int rc = patch_run(input, type, target, &patched, err);
	json_decref(target);
	if (rc < 0)
		return rc;
	void *object;
	rc = patch_decode(w->r, input, type, patched, &object, err);
	json_decref(patched);
	if (rc < 0)
		return rc;
	autofree char *copy = xcalloc(1, type->size);
	api_copy_value(type, copy, rest, api_arena(object));
	for (size_t i = 0; i < type->field_count; i++)
		if (!is_named(input, &type->fields[i]))
			memcpy((char *)object + type->fields[i].offset, copy + type->fields[i].offset, api_field_size(&type->fields[i]));
	if (keep_managed)
		api_metadata(object)->managed_fields = ((struct meta_v1_object_meta *)(copy + meta_at))->managed_fields;
	*ret = object;
	return 0;
}

static int patch_whole(const struct write *w, const struct patch_input *input, void **ret, struct error *err) {
	const struct api_type *type = w->resource->type;
	json_t *target = api_to_json(type, w->old), *patched = NULL;
	int rc = patch_run(input, type, target, &patched, err);
	json_decref(target);
	if (rc < 0)
		return rc;
	rc = patch_decode(w->r, input, type, patched, ret, err);
	json_decref(patched);
	return rc;
}

static int make_patched(struct write *w, struct error *err) {
	const struct patch_input *input = w->arg;
	if (!w->old)
		return error_not_found(err, w->resource, w->name);
	bool members = !w->resource->custom && api_metadata(w->old) && names_members(input, w->resource->type);
	autoerror struct error of_part = {0};
	/* Where a part fails the whole is told, which the other way has. */
	int rc = members ? patch_members(w, input, &w->object, &of_part) : 0;
	if (!members || (rc < 0 && input->kind == PATCH_MERGE))
		rc = patch_whole(w, input, &w->object, err);
	else if (rc < 0)
		return error_move(err, &of_part);
	if (rc < 0)
		return rc;
	rc = check_identity(w, err);
	if (rc < 0)
		return rc;
	api_default(w->object);
	w->track_fields = true;
	return 0;
}

int rest_patch(struct request *r, struct error *err) {
	int rc = patch_check_type(r, err);
	if (rc == 0)
		rc = request_parse_write_options(r, err);
	if (rc < 0)
		return rc;
	struct patch_input *input = arena_new_type(r->arena, struct patch_input);
	rc = patch_parse(r, input, err);
	if (rc < 0)
		return rc;
	struct write *w = write_new(r, WRITE_UPDATE);
	w->make = input->kind == PATCH_APPLY ? make_applied : make_patched;
	w->arg = input;
	write_start(w);
	return REQUEST_TAKEN;
}
