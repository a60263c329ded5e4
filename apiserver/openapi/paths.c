/* SPDX-License-Identifier: Apache-2.0 */
/* Paths and operations of a resource: what clients look up to learn verbs, kinds and query parameters. */
#include "apiserver/openapi/paths.h"

#include "api/core_v1.h"
#include "apiserver/rest/write.h"

#include <ctype.h>

/* ---- what an operation is ---- */

enum where { COLLECTION = 1, NAMED = 2, WATCHED = 4 };
static const struct operation {
	enum op_kind kind;
	uint32_t verb;
	unsigned where;
	const char *method, *action, *id; /* id: first word of operationId */
	const char *codes;                /* of success: 1 for 200 OK, 2 for 201 Created, 3 for 202 Accepted */
	const char *doc;                  /* %s: what it is done to */
} operations[] = {
	{OP_LIST, API_VERB_LIST, COLLECTION, "get", "list", "list", "1", "lists or watches objects of kind %s"},
	{OP_GET, API_VERB_GET, NAMED, "get", "get", "read", "1", "reads one %s"},
	{OP_WATCH_LIST, API_VERB_WATCH, COLLECTION | WATCHED, "get", "watchlist", "watch", "1", "watches objects of kind %s; deprecated: list with the parameter watch"},
	{OP_WATCH, API_VERB_WATCH, NAMED | WATCHED, "get", "watch", "watch", "1", "watches one %s; deprecated: list with the parameters watch and fieldSelector"},
	{OP_UPDATE, API_VERB_UPDATE, NAMED, "put", "put", "replace", "12", "replaces one %s"},
	{OP_CREATE, API_VERB_CREATE, COLLECTION, "post", "post", "create", "123", "creates a %s"},
	{OP_DELETE_COLLECTION, API_VERB_DELETECOLLECTION, COLLECTION, "delete", "deletecollection", "delete", "1", "deletes all chosen objects of kind %s"},
	{OP_DELETE, API_VERB_DELETE, NAMED, "delete", "delete", "delete", "13", "deletes one %s"},
	{OP_PATCH, API_VERB_PATCH, NAMED, "patch", "patch", "patch", "12", "changes a part of one %s"},
};

static const struct connect_row {
	const char *method, *word;
	bool always; /* a proxy alone takes the others */
} connects[] = {
	{"get", "Get", true}, {"put", "Put", false}, {"post", "Post", true}, {"delete", "Delete", false}, {"options", "Options", false}, {"head", "Head", false}, {"patch", "Patch", false},
};

/* Of requests and answers. The second list is v2's order. */
#define JSON_TYPE "application/json"
#define YAML_TYPE "application/yaml"
#define PROTOBUF_TYPE "application/vnd.kubernetes.protobuf"
static const char *const usual_types[] = {JSON_TYPE, YAML_TYPE, PROTOBUF_TYPE, NULL};
static const char *const list_types[] = {JSON_TYPE, YAML_TYPE, PROTOBUF_TYPE, JSON_TYPE ";stream=watch", PROTOBUF_TYPE ";stream=watch", NULL};
static const char *const custom_types[] = {JSON_TYPE, YAML_TYPE, NULL};
static const char *const log_types[] = {"text/plain", JSON_TYPE, YAML_TYPE, PROTOBUF_TYPE, NULL};
static const char *const any_types[] = {"*/*", NULL};
static const char *const patch_types[] = {"application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml", NULL};
static const char *const custom_patch_types[] = {"application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml", NULL};

/* ---- a path ---- */

struct place {
	const struct resource *resource;
	const char *path;
	const char *suffix;     /* of operation ids: Status, ForAllNamespaces, ... */
	unsigned where;         /* whose operations it has */
	bool named, namespaced; /* its path has {name}, {namespace} */
	const char *subresource;
	uint32_t verbs;
	const struct api_type *type;
	const struct api_type *options; /* of a connection */
	const char *group, *version, *kind;
	char *tag, *id_group;   /* rbacAuthorization, RbacAuthorizationV1 */
};

/* The schema of a value: NULL is a text. */
static char *schema_of(const struct writing *w, const char *name) {
	return name ? xprintf("{\"$ref\":\"%s%s\"}", schema_ref_prefix(w->form), name) : xstrdup("{\"type\":\"string\"}");
}

static const char *name_of(const struct writing *w, const struct api_type *type) {
	schema_set_add(w->set, type);
	return type && type->openapi ? type->openapi : "io.k8s.apimachinery.pkg.runtime.RawExtension";
}

static const char *meta_name(const struct writing *w, const char *kind) {
	autofree char *id = xprintf("meta/v1.%s", kind);
	return name_of(w, api_type_by_id(id));
}

void openapi_words(const char *key, const char *const *words, struct buf *out) {
	buf_printf(out, "\"%s\":[", key);
	for (size_t i = 0; words[i]; i++)
		buf_printf(out, "%s\"%s\"", i ? "," : "", words[i]);
	buf_append_str(out, "],");
}

static void write_content(const char *const *types, const char *schema, struct buf *out) {
	buf_append_str(out, "\"content\":{");
	for (size_t i = 0; types[i]; i++)
		buf_printf(out, "%s\"%s\":{\"schema\":%s}", i ? "," : "", types[i], schema);
	buf_append_char(out, '}');
}

void openapi_responses(const struct writing *w, const char *codes, const char *name, const char *const *types) {
	static const char *const words[] = {"OK", "Created", "Accepted"};
	autofree char *schema = schema_of(w, name);
	buf_append_str(w->out, "\"responses\":{");
	for (; *codes; codes++) {
		int which = *codes - '1';
		buf_printf(w->out, "\"%d\":{\"description\":\"%s\",", 200 + which, words[which]);
		if (w->form == OPENAPI_V2)
			buf_printf(w->out, "\"schema\":%s", schema);
		else
			write_content(types, schema, w->out);
		buf_append_str(w->out, "},");
	}
	buf_append_str(w->out, "\"401\":{\"description\":\"Unauthorized\"}}");
}

static void write_body(const struct writing *w, const char *const *types, const char *name, bool required) {
	autofree char *schema = schema_of(w, name);
	buf_append_str(w->out, "\"requestBody\":{");
	write_content(types, schema, w->out);
	buf_append_str(w->out, required ? ",\"required\":true}," : "},");
}

static void open_operation(const struct writing *w, const struct place *place, const char *method, bool *any, const char *doc, const char *what, const char *const *consumes, const char *const *produces) {
	buf_printf(w->out, "%s\"%s\":{\"tags\":[\"%s_%s\"],\"description\":\"", *any ? "," : "", method, place->tag, place->resource->api->version);
	*any = true;
	buf_printf(w->out, doc, what);
	buf_append_str(w->out, "\",");
	if (w->form == OPENAPI_V2) {
		openapi_words("consumes", consumes, w->out);
		openapi_words("produces", produces, w->out);
		buf_append_str(w->out, "\"schemes\":[\"https\"],");
	}
}

static void close_operation(const struct writing *w, const struct place *place, const char *action) {
	buf_printf(w->out, ",\"x-kubernetes-action\":\"%s\",\"x-kubernetes-group-version-kind\":{\"group\":\"%s\",\"kind\":\"%s\",\"version\":\"%s\"}}", action, place->group, place->kind, place->version);
}

/* ---- operations ---- */

static bool is_in(const struct operation *op, const struct place *place) {
	return op->where == place->where && (place->verbs & op->verb);
}

static const char *body_of(const struct writing *w, const struct operation *op, const struct place *place) {
	if (op->kind == OP_DELETE || (op->kind == OP_DELETE_COLLECTION && !place->resource->custom))
		return meta_name(w, "DeleteOptions");
	if (op->kind == OP_PATCH)
		return meta_name(w, "Patch");
	return op->kind == OP_CREATE || op->kind == OP_UPDATE ? name_of(w, place->type) : NULL;
}

static const char *answer_of(const struct writing *w, const struct operation *op, const struct place *place) {
	if (op->kind == OP_WATCH || op->kind == OP_WATCH_LIST)
		return meta_name(w, "WatchEvent");
	if (op->kind == OP_DELETE_COLLECTION || (op->kind == OP_DELETE && !rest_delete_answers_object(place->resource)))
		return meta_name(w, "Status");
	return place->subresource && strcmp(place->subresource, "log") == 0 ? NULL : name_of(w, op->kind == OP_LIST ? place->resource->api->list_type : place->type);
}

static const char *const *answer_types(const struct operation *op, const struct place *place) {
	if (place->resource->custom)
		return custom_types;
	if (place->subresource && strcmp(place->subresource, "log") == 0)
		return log_types;
	return op->kind == OP_LIST || op->kind == OP_WATCH || op->kind == OP_WATCH_LIST ? list_types : usual_types;
}

/* What may not stand in an identifier goes, and the letter after it is upper case; so is the first one where `capital`. */
static void make_word(char *text, bool capital) {
	char *to = text;
	for (const char *from = text; *from; from++) {
		bool digit = *from >= '0' && *from <= '9', letter = isalpha((unsigned char)*from) || *from == '_';
		if (!letter && !(digit && from != text)) {
			capital = true;
			continue;
		}
		*to++ = capital ? (char)toupper((unsigned char)*from) : *from;
		capital = false;
	}
	*to = 0;
}

static void write_operation(const struct writing *w, const struct place *place, const struct operation *op, uint32_t common, bool *any) {
	bool custom = place->resource->custom, many = op->kind == OP_WATCH_LIST, body_needed = op->kind != OP_DELETE && op->kind != OP_DELETE_COLLECTION;
	const char *const *produces = answer_types(op, place);
	const char *const *consumes = op->kind == OP_PATCH ? (custom ? custom_patch_types : patch_types) : custom ? custom_types : any_types;
	const char *body = body_of(w, op, place);
	autofree char *what = place->subresource ? xprintf("%s's %s", place->resource->api->kind, place->subresource) : xstrdup(place->kind);
	open_operation(w, place, op->method, any, op->doc, what, consumes, produces);
	autofree char *id = xprintf("%s%s%s%s%s", op->kind == OP_DELETE_COLLECTION ? "Collection" : "", place->namespaced ? "Namespaced" : "", place->resource->api->kind, many ? "List" : "", place->suffix);
	make_word(id, true);
	buf_printf(w->out, "\"operationId\":\"%s%s%s\",", op->id, place->id_group, id);
	autofree char *schema = body ? schema_of(w, body) : NULL;
	autofree char *in_body = schema && w->form == OPENAPI_V2 ? xprintf("{\"name\":\"body\",\"in\":\"body\",%s\"schema\":%s}", body_needed ? "\"required\":true," : "", schema) : NULL;
	parameters_write(parameters_of(op->kind, custom) & ~common, in_body, w->form, w->out);
	if (body && w->form == OPENAPI_V3)
		write_body(w, consumes, body, body_needed);
	openapi_responses(w, custom && op->kind == OP_PATCH ? "1" : op->codes, answer_of(w, op, place), produces);
	close_operation(w, place, op->action);
}

static void write_connect(const struct writing *w, const struct place *place, const struct connect_row *row, bool *any) {
	open_operation(w, place, row->method, any, "connects to %s", place->subresource, any_types, any_types);
	buf_printf(w->out, "\"operationId\":\"connect%s%s%s%s%s\",", place->id_group, row->word, place->namespaced ? "Namespaced" : "", place->resource->api->kind, place->suffix);
	openapi_responses(w, "1", NULL, any_types);
	close_operation(w, place, "connect");
}

static void write_place(const struct writing *w, const struct place *place, bool *first) {
	bool any = false, connect = place->options && !place->type;
	struct path_parameters parameters = {.common = connect ? 0 : UINT32_MAX, .kind = place->named ? place->kind : NULL, .namespaced = place->namespaced, .rest = strstr(place->path, "{path}"), .options = place->options};
	buf_printf(w->out, "%s\"%s\":{", *first ? "" : ",", place->path);
	*first = false;
	for (size_t i = 0; i < array_len(operations); i++)
		if (is_in(&operations[i], place))
			parameters.common &= parameters_of(operations[i].kind, place->resource->custom);
	parameters_of_path(&parameters, w->form, w->out);
	for (size_t i = 0; !connect && i < array_len(operations); i++)
		if (is_in(&operations[i], place))
			write_operation(w, place, &operations[i], parameters.common, &any);
	for (size_t i = 0; connect && i < array_len(connects); i++)
		if (connects[i].always || (place->verbs & API_VERB_UPDATE))
			write_connect(w, place, &connects[i], &any);
	if (w->out->data[w->out->len - 1] == ',')
		w->out->len--;
	buf_append_char(w->out, '}');
}

/* ---- the paths of a resource ---- */

void openapi_tag(const char *group, char **ret_tag, char **ret_id) {
	size_t len = strlen(group), suffix = strlen(".k8s.io");
	autofree char *words = *group ? xstrdup(group) : xstrdup("core");
	if (len > suffix && strcmp(group + len - suffix, ".k8s.io") == 0)
		words[len - suffix] = 0;
	make_word(words, false);
	*ret_tag = xstrdup(words);
	words[0] = (char)toupper((unsigned char)words[0]);
	*ret_id = xstrdup(words);
}

static void write_subresource(const struct writing *w, struct place place, const struct api_subresource *sub, const char *one, bool *first) {
	autofree char *path = xprintf("%s/%s", one, sub->name), *rest = xprintf("%s/{path}", path);
	autofree char *suffix = xprintf("%c%s", toupper((unsigned char)sub->name[0]), sub->name + 1), *with_path = xprintf("%sWithPath", suffix);
	place.path = path;
	place.suffix = suffix;
	place.subresource = sub->name;
	place.verbs = sub->verbs;
	place.type = sub->type;
	if (!place.resource->custom) {
		place.group = sub->group ? sub->group : "";
		place.version = sub->version;
		place.kind = sub->kind;
	}
	if ((sub->verbs & (API_VERB_CREATE | API_VERB_GET)) == (API_VERB_CREATE | API_VERB_GET)) {
		place.options = sub->type;
		place.type = NULL;
	} else if (strcmp(sub->name, "log") == 0) {
		place.options = &core_v1_pod_log_options_type;
	}
	place.where = sub->verbs == API_VERB_CREATE ? COLLECTION : NAMED;
	write_place(w, &place, first);
	if (place.options && !place.type && strcmp(sub->name, "proxy") == 0) {
		place.path = rest;
		place.suffix = with_path;
		write_place(w, &place, first);
	}
}

static void write_at(const struct writing *w, struct place place, const char *path, unsigned where, bool *first) {
	bool any = false;
	place.path = path;
	place.where = where;
	place.named = where & NAMED;
	for (size_t i = 0; i < array_len(operations); i++)
		any |= is_in(&operations[i], &place);
	if (any)
		write_place(w, &place, first);
}

void paths_write(const struct writing *w, const struct resource *resource, bool *first) {
	const struct api_resource *api = resource->api;
	const char *group = resource_group(resource);
	autofree char *tag = NULL, *words = NULL;
	openapi_tag(group, &tag, &words);
	autofree char *root = *group ? xprintf("/apis/%s/%s", group, api->version) : xprintf("/api/%s", api->version);
	autofree char *id_group = xprintf("%s%c%s", words, toupper((unsigned char)api->version[0]), api->version + 1);
	struct place place = {.resource = resource, .suffix = "", .verbs = api->verbs, .type = resource->type, .group = group, .version = api->version, .kind = api->kind, .tag = tag, .id_group = id_group};
	/* What is watched at a path of its own, as custom resources never were, comes last. */
	for (unsigned watched = 0; watched <= (resource->custom ? 0 : WATCHED); watched += WATCHED) {
		const char *prefix = watched ? "/watch" : "";
		autofree char *all = xprintf("%s%s/%s", root, prefix, api->plural), *collection = xprintf("%s%s%s/%s", root, prefix, api->namespaced ? "/namespaces/{namespace}" : "", api->plural);
		autofree char *one = xprintf("%s/{name}", collection);
		place.namespaced = false;
		if (api->namespaced && (api->verbs & API_VERB_LIST)) {
			struct place over_all = place;
			over_all.suffix = "ForAllNamespaces";
			over_all.verbs = API_VERB_LIST | API_VERB_WATCH;
			write_at(w, over_all, all, COLLECTION | watched, first);
		}
		place.namespaced = api->namespaced;
		write_at(w, place, collection, COLLECTION | watched, first);
		write_at(w, place, one, NAMED | watched, first);
		place.named = true;
		for (size_t i = 0; !watched && i < api->subresource_count; i++)
			write_subresource(w, place, &api->subresources[i], one, first);
		place.named = false;
	}
}
