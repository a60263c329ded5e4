/* SPDX-License-Identifier: Apache-2.0 */
/* Requests about objects of known types. */
#include "common/client/internal.h"

#include "api/meta_v1.h"

#include <errno.h>

#define MAX_REQUEST (64u << 20)

void client_path(struct buf *out, const struct api_resource *resource, const char *ns, const char *name, const char *subresource)
{
	if (str_empty(resource->group))
		buf_printf(out, "/api/%s", resource->version);
	else
		buf_printf(out, "/apis/%s/%s", resource->group, resource->version);
	if (resource->namespaced && !str_empty(ns)) {
		buf_append_str(out, "/namespaces/");
		client_escape(out, ns);
	}
	buf_append_char(out, '/');
	buf_append_str(out, resource->plural);
	if (!str_empty(name)) {
		buf_append_char(out, '/');
		client_escape(out, name);
	}
	if (!str_empty(subresource)) {
		buf_append_char(out, '/');
		buf_append_str(out, subresource);
	}
}

/* The type that the subresource speaks. */
static const struct api_type *answer_type(const struct api_resource *resource, const char *subresource)
{
	const struct api_subresource *sub = str_empty(subresource) ? NULL : api_resource_subresource(resource, subresource);
	const struct api_type *type = sub && !str_empty(sub->kind) ? api_type_by_kind(sub->group, sub->version, sub->kind) : NULL;
	return type ? type : resource->type;
}

int client_exchange(struct client *client, const struct client_request *request, const struct api_type *type, void **ret, struct error *err)
{
	autobuf struct buf body = BUF_INIT(CLIENT_MAX_BODY);
	int rc = client_do(client, request, ret ? &body : NULL, NULL, err);
	if (rc || !ret || !type)
		return rc;
	rc = api_decode_json(type, body.data ? body.data : "", body.len, NULL, ret, err);
	if (rc)
		error_context(err, "decode the answer to %s %s", request->method, request->path);
	return rc;
}

static int send_object(struct client *client, const char *method, const char *path, const void *object, const struct api_type *type, void **ret, struct error *err)
{
	autobuf struct buf body = BUF_INIT(MAX_REQUEST);
	api_encode(object, &body);
	if (buf_failed(&body))
		return error_set(err, EFBIG, "%s %s: the object is too large", method, path);
	struct client_request request = {.method = method, .path = path, .body = body.data, .body_len = body.len};
	return client_exchange(client, &request, type, ret, err);
}

int client_get(struct client *client, const struct api_resource *resource, const char *ns, const char *name, void **ret, struct error *err)
{
	autobuf struct buf path = BUF_INIT(8192);
	client_path(&path, resource, ns, name, NULL);
	return client_exchange(client, &(struct client_request){.method = "GET", .path = path.data}, resource->type, ret, err);
}

int client_create(struct client *client, const struct api_resource *resource, const char *ns, const void *object, void **ret, struct error *err)
{
	autobuf struct buf path = BUF_INIT(8192);
	client_path(&path, resource, ns, NULL, NULL);
	return send_object(client, "POST", path.data, object, resource->type, ret, err);
}

int client_update(struct client *client, const struct api_resource *resource, const char *ns, const void *object, const char *subresource, void **ret, struct error *err)
{
	const struct meta_v1_object_meta *meta = api_metadata(object);
	if (!meta || str_empty(meta->name))
		return error_set(err, EINVAL, "an object without a name cannot be updated");
	autobuf struct buf path = BUF_INIT(8192);
	client_path(&path, resource, ns, meta->name, subresource);
	return send_object(client, "PUT", path.data, object, answer_type(resource, subresource), ret, err);
}

int client_patch(struct client *client, const struct api_resource *resource, const char *ns, const char *name, const char *subresource, const char *content_type, const char *patch, void **ret, struct error *err)
{
	autobuf struct buf path = BUF_INIT(8192);
	client_path(&path, resource, ns, name, subresource);
	struct client_request request = {.method = "PATCH", .path = path.data, .content_type = content_type, .body = patch, .body_len = strlen(patch)};
	return client_exchange(client, &request, answer_type(resource, subresource), ret, err);
}

int client_apply(struct client *client, const struct api_resource *resource, const char *ns, const char *name, const char *subresource, const char *manager, const char *patch, void **ret, struct error *err)
{
	autobuf struct buf path = BUF_INIT(8192);
	client_path(&path, resource, ns, name, subresource);
	client_query(&path, "fieldManager", manager);
	client_query(&path, "force", "true");
	struct client_request request = {.method = "PATCH", .path = path.data, .content_type = "application/apply-patch+yaml", .body = patch, .body_len = strlen(patch)};
	return client_exchange(client, &request, answer_type(resource, subresource), ret, err);
}

static void append_string_member(struct buf *out, const char *name, const char *value)
{
	if (str_empty(value))
		return;
	if (out->data[out->len - 1] != '{')
		buf_append_char(out, ',');
	buf_printf(out, "\"%s\":", name);
	buf_append_json_string(out, value, strlen(value));
}

int client_delete(struct client *client, const struct api_resource *resource, const char *ns, const char *name, const struct client_delete_options *options, struct error *err)
{
	autobuf struct buf path = BUF_INIT(8192);
	autobuf struct buf body = BUF_INIT(8192);
	client_path(&path, resource, ns, name, NULL);
	buf_append_str(&body, "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\"");
	if (options && options->grace_period_seconds >= 0)
		buf_printf(&body, ",\"gracePeriodSeconds\":%lld", (long long)options->grace_period_seconds);
	if (options && (!str_empty(options->uid) || !str_empty(options->resource_version))) {
		buf_append_str(&body, ",\"preconditions\":{");
		append_string_member(&body, "uid", options->uid);
		append_string_member(&body, "resourceVersion", options->resource_version);
		buf_append_char(&body, '}');
	}
	if (options)
		append_string_member(&body, "propagationPolicy", options->propagation);
	buf_append_char(&body, '}');
	return client_do(client, &(struct client_request){.method = "DELETE", .path = path.data, .body = body.data, .body_len = body.len}, NULL, NULL, err);
}

static void list_query(struct buf *path, const struct client_list_options *options)
{
	if (!options)
		return;
	client_query(path, "labelSelector", options->label_selector);
	client_query(path, "fieldSelector", options->field_selector);
	client_query(path, "resourceVersion", options->resource_version);
	client_query(path, "continue", options->continue_token);
	if (options->limit > 0) {
		char limit[24];
		snprintf(limit, sizeof(limit), "%lld", (long long)options->limit);
		client_query(path, "limit", limit);
	}
}

int client_list(struct client *client, const struct api_resource *resource, const char *ns, const struct client_list_options *options, void **ret, struct error *err)
{
	autobuf struct buf path = BUF_INIT(64 * 1024);
	client_path(&path, resource, ns, NULL, NULL);
	list_query(&path, options);
	return client_exchange(client, &(struct client_request){.method = "GET", .path = path.data}, resource->list_type, ret, err);
}

int client_post_subresource(struct client *client, const struct api_resource *resource, const char *ns, const char *name, const char *subresource, const void *object, const struct api_type *ret_type, void **ret, struct error *err)
{
	autobuf struct buf path = BUF_INIT(8192);
	client_path(&path, resource, ns, name, subresource);
	return send_object(client, "POST", path.data, object, ret_type, ret, err);
}

/* ---- watches of typed objects ---- */

struct typed_watch {
	const struct api_type *type;
	bool (*on_event)(const char *type, void *object, void *arg);
	void *arg;
};

static bool on_typed_event(const char *type, const char *json, size_t len, void *arg, struct error *err)
{
	struct typed_watch *watch = arg;
	void *object;
	if (api_decode_json(watch->type, json, len, NULL, &object, err))
		return error_context(err, "decode a watch event"), false;
	bool more = watch->on_event(type, object, watch->arg);
	api_unref(object);
	return more;
}

int client_watch(struct client *client, const struct api_resource *resource, const char *ns, const struct client_list_options *options, bool (*on_event)(const char *type, void *object, void *arg), void *arg, int cancel_fd, struct error *err)
{
	autobuf struct buf path = BUF_INIT(64 * 1024);
	client_path(&path, resource, ns, NULL, NULL);
	client_query(&path, "watch", "true");
	client_query(&path, "allowWatchBookmarks", "true");
	list_query(&path, options);
	struct typed_watch watch = {.type = resource->type, .on_event = on_event, .arg = arg};
	const struct client_request request = {.method = "GET", .path = path.data};
	return client_watch_raw(client, &request, on_typed_event, &watch, cancel_fd, err);
}
