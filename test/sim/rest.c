/* SPDX-License-Identifier: Apache-2.0 */
/* The server's other face: requests by path, answered with metadata in JSON, as the collector and the namespace controller ask. */
#include "test/sim/sim.h"

#include <errno.h>
#include <stdio.h>

struct target {
	struct collection *collection;
	char *ns, *name, *subresource; /* NULL: not named */
};

static void target_done(struct target *t)
{
	free(t->ns);
	free(t->name);
	free(t->subresource);
}

/* The next segment of a path, a copy; NULL at its end. */
static char *segment(const char **path)
{
	while (**path == '/')
		++*path;
	size_t len = strcspn(*path, "/?");
	char *text = len ? xstrndup(*path, len) : NULL;
	*path += len;
	return text;
}

static bool parse_path(const char *path, struct target *ret)
{
	const char *p = path;
	autofree char *root = segment(&p);
	autofree char *group = str_equal(root, "apis") ? segment(&p) : xstrdup("");
	autofree char *version = segment(&p);
	autofree char *plural = segment(&p);
	struct target t = {.name = segment(&p)};
	t.subresource = segment(&p);
	/* ".../namespaces/x/pods/y": what looked like a name and a subresource are a namespace and a resource. */
	if (str_equal(plural, "namespaces") && t.subresource && !str_equal(t.subresource, "status") && !str_equal(t.subresource, "finalize")) {
		t.ns = take_ptr(t.name);
		free(plural);
		plural = take_ptr(t.subresource);
		t.name = segment(&p);
		t.subresource = segment(&p);
	}
	const struct api_resource *resource = version && plural ? api_resource_find(group, version, plural) : NULL;
	t.collection = resource ? collection_of(resource) : NULL;
	if (!t.collection) {
		target_done(&t);
		return false;
	}
	*ret = t;
	return true;
}

/* ---- discovery ---- */

static void tell_group(const char *group, struct buf *body)
{
	static const char verbs[] = "\"create\",\"delete\",\"deletecollection\",\"get\",\"list\",\"patch\",\"update\",\"watch\"";
	buf_printf(body, "{\"metadata\":{\"name\":\"%s\"},\"versions\":[", group);
	const char *version = NULL;
	for (size_t i = 0; i < server.count; i++)
		if (str_equal(server.collections[i].resource->group, group))
			version = server.collections[i].resource->version;
	buf_printf(body, "{\"version\":\"%s\",\"freshness\":\"Current\",\"resources\":[", version);
	bool first = true;
	for (size_t i = 0; i < server.count; i++) {
		const struct api_resource *r = server.collections[i].resource;
		if (!str_equal(r->group, group))
			continue;
		buf_printf(body, "%s{\"resource\":\"%s\",\"responseKind\":{\"kind\":\"%s\"},\"scope\":\"%s\",\"verbs\":[%s]}", first ? "" : ",", r->plural, r->kind,
			r->namespaced ? "Namespaced" : "Cluster", verbs);
		first = false;
	}
	buf_append_str(body, "]}]}");
}

static int discover(bool core, struct buf *body)
{
	bool first = true;
	buf_append_str(body, "{\"kind\":\"APIGroupDiscoveryList\",\"items\":[");
	for (size_t i = 0; i < server.count; i++) {
		const char *group = server.collections[i].resource->group;
		bool seen = (*group == '\0') != core;
		for (size_t j = 0; j < i; j++)
			seen |= str_equal(server.collections[j].resource->group, group);
		if (seen)
			continue;
		if (!first)
			buf_append_str(body, ",");
		first = false;
		tell_group(group, body);
	}
	buf_append_str(body, "]}");
	return 0;
}

/* ---- objects ---- */

static void tell_metadata(const void *object, struct buf *body)
{
	buf_append_str(body, "{\"metadata\":");
	api_encode_json(&meta_v1_object_meta_type, api_metadata(object), body);
	buf_append_str(body, "}");
}

static int list(const struct target *t, struct buf *body)
{
	bool first = true;
	buf_printf(body, "{\"metadata\":{\"resourceVersion\":\"%llu\"},\"items\":[", (unsigned long long)server.version);
	for (size_t i = 0; i < t->collection->objects.len; i++) {
		const void *object = t->collection->objects.items[i].object;
		if (t->ns && !str_equal(t->ns, api_metadata(object)->namespace))
			continue;
		if (!first)
			buf_append_str(body, ",");
		first = false;
		tell_metadata(object, body);
	}
	buf_append_str(body, "]}");
	return 0;
}

static void options_from(const struct client_request *request, json_t **ret_tree, struct client_delete_options *ret)
{
	json_t *tree = request->body_len ? json_loadb(request->body, request->body_len, 0, NULL) : NULL;
	json_t *preconditions = json_object_get(tree, "preconditions"), *grace = json_object_get(tree, "gracePeriodSeconds");
	*ret = (struct client_delete_options){
		.grace_period_seconds = grace ? json_integer_value(grace) : -1,
		.uid = json_string_value(json_object_get(preconditions, "uid")),
		.resource_version = json_string_value(json_object_get(preconditions, "resourceVersion")),
		.propagation = json_string_value(json_object_get(tree, "propagationPolicy")),
	};
	*ret_tree = tree;
}

static int delete_all(const struct target *t, const struct client_delete_options *options, struct error *err)
{
	struct flag_list names = {0};
	for (size_t i = 0; i < t->collection->objects.len; i++) {
		const struct meta_v1_object_meta *meta = api_metadata(t->collection->objects.items[i].object);
		if (!t->ns || str_equal(t->ns, meta->namespace))
			flag_list_add(&names, meta->name);
	}
	int r = 0;
	for (size_t i = 0; i < names.len && !r; i++)
		r = server_delete(t->collection, t->ns, names.items[i], options, err);
	flag_list_done(&names);
	return r;
}

static int delete(const struct target *t, const struct client_request *request, struct buf *body, struct error *err)
{
	json_t *tree;
	struct client_delete_options options;
	options_from(request, &tree, &options);
	int r = t->name ? server_delete(t->collection, t->ns, t->name, &options, err) : delete_all(t, &options, err);
	json_decref(tree);
	buf_append_str(body, "{}");
	return r;
}

static int patch(const struct target *t, const struct client_request *request, struct buf *body, struct error *err)
{
	json_t *tree = json_loadb(request->body, request->body_len, 0, NULL);
	autounref void *patched = NULL;
	if (!tree || !t->name || !str_equal(request->content_type, "application/merge-patch+json")) {
		json_decref(tree);
		return error_status(err, 400, "BadRequest", "no such patch here");
	}
	int r = server_patch(t->collection, t->ns, t->name, t->subresource, tree, &patched, err);
	json_decref(tree);
	if (!r)
		tell_metadata(patched, body);
	return r;
}

int server_request(const struct client_request *request, struct buf *body, struct error *err)
{
	cleanup(target_done) struct target t = {0};
	bool reads = str_equal(request->method, "GET");
	if (reads && str_equal(request->path, "/api"))
		return discover(true, body);
	if (reads && str_equal(request->path, "/apis"))
		return discover(false, body);
	if (!parse_path(request->path, &t))
		return error_status(err, 404, "NotFound", "the server could not find the requested resource");
	if (str_equal(request->method, "DELETE"))
		return delete(&t, request, body, err);
	if (str_equal(request->method, "PATCH"))
		return patch(&t, request, body, err);
	if (!reads)
		return error_status(err, 405, "MethodNotAllowed", "no %s here", request->method);
	if (!t.name)
		return list(&t, body);
	autounref void *object = NULL;
	int r = server_get(t.collection, t.ns, t.name, &object, err);
	if (!r)
		tell_metadata(object, body);
	return r;
}
