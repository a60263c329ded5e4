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
		.manager = str_or(w->r->field_manager, "unknown"),
		.subresource = str_or(w->subresource, ""),
		.force = force,
		.reset_fields = reset_fields(w),
	};
}

static char *api_version_of(const struct resource *resource) {
	return *resource_group(resource) ? xprintf("%s/%s", resource->api->group, resource->api->version) : xstrdup(resource->api->version);
}

int make_applied(struct write *w, struct error *err) {
	const struct patch_input *input = w->arg;
	const struct api_type *type = w->resource->type;
	autofree char *api_version = api_version_of(w->resource);
	const char *given = json_string_value(json_object_get(input->tree, "apiVersion"));
	if (!str_equal(given, api_version))
		return error_bad_request(err, "the API version in the data (%s) does not match the expected API version (%s)", str_or(given, ""), api_version);
	if (!w->old && w->subresource)
		return error_not_found(err, w->resource, w->name);
	struct managed_options options = options_of(w, api_version, input->force);
	json_t *live = w->old ? api_to_json(type, w->old) : NULL, *result = NULL;
	int rc = managed_apply(&options, live, input->tree, &result, err);
	json_decref(live);
	if (rc < 0)
		return rc;
	rc = patch_decode(w->r, type, result, &w->object, err);
	json_decref(result);
	if (rc < 0)
		return rc;
	struct meta_v1_object_meta *meta = api_metadata(w->object);
	if (!str_equal(meta->name, w->name))
		return error_bad_request(err, "the name of the object (%s) does not match the name on the URL (%s)", str_or(meta->name, ""), w->name);
	rc = input_check_namespace(w, meta, err);
	if (rc < 0)
		return rc;
	meta->namespace = w->resource->api->namespaced ? arena_strdup(api_arena(w->object), w->ns) : NULL;
	if (!w->old) {
		w->created = true;
		if (!str_empty(meta->uid))
			return error_conflict(err, w->resource, w->name, "uid mismatch: the provided object specified uid, and no existing object was found");
	}
	api_default(w->object);
	return 0;
}

/* A new object that says nothing of managers belongs to whoever sent it. False where the general way is needed. */
static bool track_created(const struct write *w, const struct managed_options *options) {
	struct meta_v1_object_meta *meta = api_metadata(w->object);
	autobuf struct buf fields = BUF_INIT(BUF_MAX_DEFAULT);
	if (!w->created || !options->type || meta->managed_fields.len || managed_created_fields(options->type, w->object, options->reset_fields, &fields) < 0)
		return false;
	memset(&meta->managed_fields, 0, sizeof(meta->managed_fields));
	if (str_equal(fields.data, "{}"))
		return true;
	struct arena *arena = api_arena(w->object);
	struct meta_v1_managed_fields_entry *entry = api_list_add(arena, &meta->managed_fields);
	*entry = (struct meta_v1_managed_fields_entry){
		.manager = arena_strdup(arena, options->manager), .operation = "Update", .api_version = arena_strdup(arena, options->api_version),
		.time = api_time_now(), .fields_type = "FieldsV1", .fields_v1 = {.json = arena_strndup(arena, fields.data, fields.len), .len = fields.len},
		.subresource = arena_strdup(arena, options->subresource),
	};
	return true;
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
