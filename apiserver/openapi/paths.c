/* SPDX-License-Identifier: Apache-2.0 */
/* Paths and operations of a resource: what clients look up to learn verbs, kinds and query parameters. */
#include "apiserver/openapi/openapi.h"

#include <ctype.h>

static const struct operation {
	uint32_t verb;
	bool named;
	const char *method, *action, *id; /* id: first word of operationId */
	bool body, writes;
} operations[] = {
	{API_VERB_LIST, false, "get", "list", "list", false, false},
	{API_VERB_CREATE, false, "post", "post", "create", true, true},
	{API_VERB_DELETECOLLECTION, false, "delete", "deletecollection", "deleteCollection", false, false},
	{API_VERB_GET, true, "get", "get", "read", false, false},
	{API_VERB_UPDATE, true, "put", "put", "replace", true, true},
	{API_VERB_PATCH, true, "patch", "patch", "patch", true, true},
	{API_VERB_DELETE, true, "delete", "delete", "delete", false, false},
};

static const struct parameter {
	const char *name, *type;
	bool list, write, get;
} parameters[] = {
	{"allowWatchBookmarks", "boolean", true, false, false}, {"continue", "string", true, false, false},
	{"fieldSelector", "string", true, false, false}, {"labelSelector", "string", true, false, false},
	{"limit", "integer", true, false, false}, {"resourceVersion", "string", true, false, true},
	{"resourceVersionMatch", "string", true, false, false}, {"sendInitialEvents", "boolean", true, false, false},
	{"timeoutSeconds", "integer", true, false, false}, {"watch", "boolean", true, false, false},
	{"dryRun", "string", false, true, false}, {"fieldManager", "string", false, true, false},
	{"fieldValidation", "string", false, true, false}, {"pretty", "string", true, true, true},
};

static void write_parameters(const struct operation *op, enum openapi_form form, struct buf *out) {
	bool list = op->verb == API_VERB_LIST || op->verb == API_VERB_DELETECOLLECTION, first = true;
	buf_append_str(out, "\"parameters\":[");
	for (size_t i = 0; i < array_len(parameters); i++) {
		const struct parameter *p = &parameters[i];
		if (!(list ? p->list : op->writes ? p->write : op->verb == API_VERB_GET ? p->get : p->write))
			continue;
		buf_printf(out, "%s{\"name\":\"%s\",\"in\":\"query\",", first ? "" : ",", p->name);
		first = false;
		if (form == OPENAPI_V2)
			buf_printf(out, "\"type\":\"%s\",\"uniqueItems\":true}", p->type);
		else
			buf_printf(out, "\"schema\":{\"type\":\"%s\",\"uniqueItems\":true}}", p->type);
	}
	if (op->verb == API_VERB_PATCH)
		buf_printf(out, form == OPENAPI_V2 ? ",{\"name\":\"force\",\"in\":\"query\",\"type\":\"boolean\",\"uniqueItems\":true}" : ",{\"name\":\"force\",\"in\":\"query\",\"schema\":{\"type\":\"boolean\",\"uniqueItems\":true}}");
	if (form == OPENAPI_V2 && op->body)
		buf_append_str(out, ",{\"name\":\"body\",\"in\":\"body\",\"required\":true,\"schema\":{\"type\":\"object\"}}");
	buf_append_char(out, ']');
}

static void write_response(const struct api_type *type, enum openapi_form form, struct buf *out) {
	const char *name = type && type->openapi ? type->openapi : "io.k8s.apimachinery.pkg.runtime.RawExtension";
	if (form == OPENAPI_V2)
		buf_printf(out, "\"responses\":{\"200\":{\"description\":\"OK\",\"schema\":{\"$ref\":\"#/definitions/%s\"}},\"401\":{\"description\":\"Unauthorized\"}}", name);
	else
		buf_printf(out, "\"responses\":{\"200\":{\"description\":\"OK\",\"content\":{\"application/json\":{\"schema\":{\"$ref\":\"#/components/schemas/%s\"}}}},\"401\":{\"description\":\"Unauthorized\"}}", name);
}

static void write_body(const struct operation *op, const struct api_type *type, struct buf *out) {
	const char *name = type && type->openapi ? type->openapi : "io.k8s.apimachinery.pkg.runtime.RawExtension";
	static const char *const patches[] = {"application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json"};
	buf_append_str(out, ",\"requestBody\":{\"required\":true,\"content\":{");
	if (op->verb == API_VERB_PATCH)
		for (size_t i = 0; i < array_len(patches); i++)
			buf_printf(out, "%s\"%s\":{\"schema\":{\"type\":\"object\"}}", i ? "," : "", patches[i]);
	else
		buf_printf(out, "\"*/*\":{\"schema\":{\"$ref\":\"#/components/schemas/%s\"}}", name);
	buf_append_str(out, "}}");
}

struct place {
	const struct resource *resource;
	const char *path;
	const char *suffix;   /* of operation ids: Status, ForAllNamespaces, ... */
	bool named, namespaced;
	uint32_t verbs;
	const struct api_type *type, *list_type;
	const char *group, *version, *kind;
};

static void write_place(const struct place *place, enum openapi_form form, bool *first, struct buf *out) {
	const struct api_resource *api = place->resource->api;
	const char *group = resource_group(place->resource);
	buf_printf(out, "%s\"%s\":{", *first ? "" : ",", place->path);
	*first = false;
	bool any = false;
	for (size_t i = 0; i < array_len(operations); i++) {
		const struct operation *op = &operations[i];
		if (op->named != place->named || !(place->verbs & op->verb))
			continue;
		autofree char *title = xstrdup(api->version);
		title[0] = (char)toupper((unsigned char)title[0]);
		autofree char *first_group = *group ? xstrndup(group, strcspn(group, ".")) : xstrdup("core");
		buf_printf(out, "%s\"%s\":{\"tags\":[\"%s_%s\"],\"operationId\":\"%s%c%s%s%s%s%s\",", any ? "," : "", op->method, first_group, api->version, op->id, toupper((unsigned char)first_group[0]), first_group + 1, title, place->namespaced ? "Namespaced" : "", api->kind, place->suffix);
		any = true;
		if (form == OPENAPI_V2)
			buf_append_str(out, "\"consumes\":[\"*/*\"],\"produces\":[\"application/json\",\"application/yaml\",\"application/vnd.kubernetes.protobuf\"],\"schemes\":[\"https\"],");
		write_parameters(op, form, out);
		buf_append_char(out, ',');
		write_response(op->verb == API_VERB_LIST ? place->list_type : place->type, form, out);
		if (form == OPENAPI_V3 && op->body)
			write_body(op, place->type, out);
		buf_printf(out, ",\"x-kubernetes-action\":\"%s\",\"x-kubernetes-group-version-kind\":{\"group\":\"%s\",\"kind\":\"%s\",\"version\":\"%s\"}}", op->action, place->group, place->kind, place->version);
	}
	buf_append_str(out, any ? ",\"parameters\":[" : "\"parameters\":[");
	const char *names[2] = {place->named ? "name" : NULL, place->namespaced ? "namespace" : NULL};
	bool first_parameter = true;
	for (size_t i = 0; i < 2; i++) {
		if (!names[i])
			continue;
		buf_printf(out, "%s{\"name\":\"%s\",\"in\":\"path\",\"required\":true,%s}", first_parameter ? "" : ",", names[i], form == OPENAPI_V2 ? "\"type\":\"string\",\"uniqueItems\":true" : "\"schema\":{\"type\":\"string\",\"uniqueItems\":true}");
		first_parameter = false;
	}
	buf_append_str(out, "]}");
}

void paths_write(const struct resource *resource, enum openapi_form form, bool *first, struct schema_set *set, struct buf *out) {
	const struct api_resource *api = resource->api;
	const char *group = resource_group(resource);
	autofree char *root = *group ? xprintf("/apis/%s/%s", group, api->version) : xprintf("/api/%s", api->version);
	const char *scope = api->namespaced ? "/namespaces/{namespace}" : "";
	schema_set_add(set, resource->type);
	schema_set_add(set, api->list_type);
	struct place place = {.resource = resource, .suffix = "", .type = resource->type, .list_type = api->list_type, .group = group, .version = api->version, .kind = api->kind};
	if (api->namespaced && (api->verbs & API_VERB_LIST)) {
		autofree char *all = xprintf("%s/%s", root, api->plural);
		place.path = all;
		place.verbs = API_VERB_LIST;
		place.suffix = "ForAllNamespaces";
		write_place(&place, form, first, out);
	}
	autofree char *collection = xprintf("%s%s/%s", root, scope, api->plural);
	place.path = collection;
	place.verbs = api->verbs;
	place.suffix = "";
	place.namespaced = api->namespaced;
	write_place(&place, form, first, out);
	place.named = true;
	if (api->verbs & (API_VERB_GET | API_VERB_UPDATE | API_VERB_PATCH | API_VERB_DELETE)) {
		autofree char *one = xprintf("%s/{name}", collection);
		place.path = one;
		write_place(&place, form, first, out);
	}
	for (size_t i = 0; i < api->subresource_count; i++) {
		const struct api_subresource *sub = &api->subresources[i];
		autofree char *path = xprintf("%s/{name}/%s", collection, sub->name);
		autofree char *suffix = xprintf("%c%s", toupper((unsigned char)sub->name[0]), sub->name + 1);
		if (sub->verbs & API_VERB_CREATE && !(sub->verbs & (API_VERB_UPDATE | API_VERB_PATCH)))
			schema_set_add(set, sub->type);
		place.path = path;
		place.suffix = suffix;
		place.verbs = sub->verbs;
		place.type = sub->type;
		place.group = sub->group ? sub->group : "";
		place.version = sub->version;
		place.kind = sub->kind;
		schema_set_add(set, sub->type);
		write_place(&place, form, first, out);
	}
}
