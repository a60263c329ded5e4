/* SPDX-License-Identifier: Apache-2.0 */
/* Server-side apply, and the bookkeeping of managedFields for other writes. */
#include "apiserver/custom/custom.h"
#include "apiserver/rest/input.h"
#include "apiserver/rest/patch.h"
#include "apiserver/strategy/strategy.h"
#include "common/api/patch/apply.h"

#include <errno.h>

/* Nobody comes to own status by writing the object, nor the rest by writing status. */
static const char *const *reset_fields(const struct write *w) {
	static const char *const status[] = {"f:status", NULL}, *const others[] = {"f:spec", NULL};
	static const char *const labels[] = {"f:spec", "f:metadata/f:labels", NULL}, *const owners[] = {"f:spec", "f:metadata/f:ownerReferences", NULL}, *const metadata[] = {"f:spec", "f:metadata", NULL};
	for (const struct reset_fields *own = w->strategy->reset_fields; own && own->subresource; own++)
		if (str_equal(own->subresource, str_or(w->subresource, "")))
			return own->paths;
	if (!api_resource_subresource(w->resource->api, "status"))
		return NULL;
	if (!w->subresource)
		return status;
	if (strcmp(w->subresource, "finalize") == 0)
		return status;
	if (strcmp(w->subresource, "status") != 0)
		return NULL;
	unsigned keeps = w->strategy->status_keeps;
	return keeps & STATUS_KEEPS_METADATA ? metadata : keeps & STATUS_KEEPS_LABELS ? labels : keeps & STATUS_KEEPS_OWNERS ? owners : others;
}

static struct managed_options options_of(const struct write *w, const char *api_version, bool force) {
	return (struct managed_options){
		.type = w->resource->custom ? NULL : w->resource->type,
		.schema = w->resource->custom ? w->resource->custom->schema : NULL,
		.api_version = api_version,
		.manager = w->manager ? w->manager : str_or(w->r->field_manager, "unknown"),
		.subresource = str_or(w->subresource, ""),
		.force = force,
		.reset_fields = reset_fields(w),
	};
}

static char *api_version_of(const struct resource *resource) {
	return *resource_group(resource) ? xprintf("%s/%s", resource->api->group, resource->api->version) : xstrdup(resource->api->version);
}

#define UNTYPED "failed to create typed patch object"

/* Where an apply does not succeed: whether what was sent has values of the wrong type, which is told before all else. */
static int check_configuration(const struct write *w, json_t *sent, struct error *err) {
	struct api_decode_options options = {.validation = API_IGNORE};
	autoerror struct error why = {0};
	void *object;
	if (api_from_json(w->resource->type, sent, &options, &object, &why) == 0) {
		api_unref(object);
		return 0;
	}
	json_t *metadata = json_object_get(sent, "metadata");
	const char *version = json_string_value(json_object_get(sent, "apiVersion"));
	return error_status(err, 500, "", UNTYPED " (%s/%s; %s%s, Kind=%s): %s", str_or(json_string_value(json_object_get(metadata, "namespace")), ""), str_or(json_string_value(json_object_get(metadata, "name")), ""),
			    strchr(str_or(version, ""), '/') ? "" : "/", str_or(version, ""), json_string_value(json_object_get(sent, "kind")), error_message(&why));
}

int make_applied(struct write *w, struct error *err) {
	const struct patch_input *input = w->arg;
	const struct api_type *type = w->resource->type;
	autofree char *api_version = api_version_of(w->resource);
	json_t *metadata = json_object_get(input->tree, "metadata");
	const char *given = str_or(json_string_value(json_object_get(input->tree, "apiVersion")), ""), *kind = str_or(json_string_value(json_object_get(input->tree, "kind")), "");
	if (strcmp(given, api_version) != 0 || !str_equal(kind, w->resource->api->kind))
		return error_bad_request(err, "invalid object type: %s%s, Kind=%s", strchr(given, '/') ? "" : "/", given, kind);
	if (!w->old && w->subresource)
		return error_not_found(err, w->resource, w->name);
	struct managed_options options = options_of(w, api_version, input->force);
	autoerror struct error why = {0};
	json_t *live = w->old ? api_to_json(type, w->old) : NULL, *result = NULL;
	int rc = managed_apply(&options, live, input->tree, &result, &why);
	json_decref(live);
	if (rc == 0) {
		rc = patch_decode(w->r, input, type, result, &w->object, &why);
		json_decref(result);
	}
	if (rc < 0)
		return !str_starts_with(error_message(&why), UNTYPED) && check_configuration(w, input->tree, err) < 0 ? -EINVAL : error_move(err, &why);
	struct meta_v1_object_meta *meta = api_metadata(w->object);
	w->created = !w->old;
	if (!w->old && !str_empty(meta->uid)) {
		autofree char *text = xprintf("uid mismatch: the provided object specified uid %s, and no existing object was found", meta->uid);
		return error_conflict(err, w->resource, w->name, text);
	}
	rc = input_check_identity(w, meta, api_arena(w->object), err);
	if (rc == 0 && w->old)
		rc = input_check_version(w, json_string_value(json_object_get(metadata, "resourceVersion")), api_metadata(w->old), err);
	if (rc < 0)
		return rc;
	api_default(w->object);
	return 0;
}

int make_applied_part(struct write *w, json_t *part, bool force, const char *told_version, struct error *err) {
	const struct api_type *type = w->resource->type;
	autofree char *api_version = api_version_of(w->resource);
	struct managed_options options = options_of(w, api_version, force);
	options.told_version = told_version;
	json_object_set_new(part, "apiVersion", json_string(api_version));
	json_object_set_new(part, "kind", json_string(w->resource->api->kind));
	json_object_set_new(part, "metadata", json_pack("{s:s}", "name", w->name));
	json_t *live = api_to_json(type, w->old), *result = NULL;
	int rc = managed_apply(&options, live, part, &result, err);
	json_decref(live);
	if (rc < 0)
		return rc;
	rc = api_from_json(type, result, NULL, &w->object, err);
	json_decref(result);
	return rc;
}

static void add_manager(void *object, const struct managed_options *options, const struct buf *fields) {
	struct meta_v1_object_meta *meta = api_metadata(object);
	struct arena *arena = api_arena(object);
	memset(&meta->managed_fields, 0, sizeof(meta->managed_fields));
	if (str_equal(fields->data, "{}"))
		return;
	struct meta_v1_managed_fields_entry *entry = api_list_add(arena, &meta->managed_fields);
	*entry = (struct meta_v1_managed_fields_entry){
		.manager = arena_strdup(arena, options->manager), .operation = "Update", .api_version = arena_strdup(arena, options->api_version),
		.time = api_time_now(), .fields_type = "FieldsV1", .fields_v1 = {.json = arena_strndup(arena, fields->data, fields->len), .len = fields->len},
		.subresource = arena_strdup(arena, options->subresource),
	};
}

/* A new object that says nothing of managers belongs to whoever sent it. False where the general way is needed. */
static bool track_created(const struct write *w, const struct managed_options *options) {
	struct meta_v1_object_meta *meta = api_metadata(w->object);
	autobuf struct buf fields = BUF_INIT(BUF_MAX_DEFAULT);
	if (!w->created || !options->type || meta->managed_fields.len || managed_created_fields(options->type, w->object, options->reset_fields, &fields) < 0)
		return false;
	add_manager(w->object, options, &fields);
	return true;
}

void write_own_fields(const struct resource *resource, void *object, const char *manager) {
	autofree char *api_version = api_version_of(resource);
	struct managed_options options = {.type = resource->type, .api_version = api_version, .manager = manager};
	static const char *const status[] = {"f:status", NULL};
	autobuf struct buf fields = BUF_INIT(BUF_MAX_DEFAULT);
	if (!resource->custom && managed_created_fields(resource->type, object, api_resource_subresource(resource->api, "status") ? status : NULL, &fields) == 0)
		add_manager(object, &options, &fields);
}

void write_sent_fields(const struct request *r, const char *api_version, const char *subresource, void *object) {
	struct managed_options options = {.type = api_type_of(object), .api_version = api_version, .manager = str_or(r->field_manager, "unknown"), .subresource = subresource};
	autobuf struct buf fields = BUF_INIT(BUF_MAX_DEFAULT);
	if (managed_created_fields(options.type, object, NULL, &fields) == 0)
		add_manager(object, &options, &fields);
}

int write_track_fields(struct write *w, struct error *err) {
	const struct api_type *type = w->resource->type;
	autofree char *api_version = api_version_of(w->resource);
	struct managed_options options = options_of(w, api_version, false);
	if (track_created(w, &options) || (w->old && !w->created && options.type && managed_update_object(&options, w->old, w->object) == 0))
		return 0;
	json_t *live = w->old && !w->created ? api_to_json(type, w->old) : NULL, *updated = api_to_json(type, w->object), *result = NULL;
	int rc = managed_update(&options, live, updated, &result, err);
	json_decref(live);
	json_decref(updated);
	if (rc < 0)
		return rc;
	/* Only the bookkeeping is taken over: the object itself stays as it was prepared. */
	json_t *fields = json_object_get(json_object_get(result, "metadata"), "managedFields");
	struct meta_v1_object_meta *meta = api_metadata(w->object);
	memset(&meta->managed_fields, 0, sizeof(meta->managed_fields));
	if (json_array_size(fields)) {
		json_t *wrapped = json_pack("{s:O}", "managedFields", fields);
		char *text = json_dumps(wrapped, JSON_COMPACT);
		struct meta_v1_object_meta decoded = {0};
		rc = api_decode_json_value(&meta_v1_object_meta_type, text, strlen(text), &decoded, api_arena(w->object), err);
		meta->managed_fields = decoded.managed_fields;
		free(text);
		json_decref(wrapped);
	}
	json_decref(result);
	return rc;
}
