/* SPDX-License-Identifier: Apache-2.0 */
/* PATCH: JSON patch, merge patch, strategic merge patch, each tried again where the object changed under it. */
#include "apiserver/rest/input.h"
#include "apiserver/rest/patch.h"
#include "apiserver/rest/write.h"
#include "api/meta_v1.h"
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

static int patch_kind_of(struct request *r, enum patch_kind *ret, struct error *err) {
	const char *content_type = str_or(http_header(r->http, "Content-Type"), "");
	size_t len = strcspn(content_type, "; ");
	for (size_t i = 0; i < array_len(patch_types); i++)
		if (strlen(patch_types[i].type) == len && strncasecmp(patch_types[i].type, content_type, len) == 0) {
			*ret = patch_types[i].kind;
			return 0;
		}
	return error_status(err, 415, "UnsupportedMediaType", "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml, application/apply-patch+cbor");
}

int patch_parse(struct request *r, struct patch_input *ret, struct error *err) {
	int rc = patch_kind_of(r, &ret->kind, err);
	if (rc < 0)
		return rc;
	if (r->resource->custom && ret->kind == PATCH_STRATEGIC)
		return error_status(err, 415, "UnsupportedMediaType", "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml, application/apply-patch+cbor");
	size_t len;
	const char *body = http_body(r->http, &len);
	json_t *tree = NULL;
	if (ret->kind == PATCH_APPLY) {
		rc = yaml_load(body, len, &tree, err);
		if (rc < 0)
			return error_bad_request(err, "error decoding YAML: %s", error_message(err));
		if (!http_query(r->http, "fieldManager")) {
			json_decref(tree);
			error_cause(err, "FieldValueRequired", "fieldManager", "Required value: is required for apply patch");
			return error_invalid(err, "meta.k8s.io", "PatchOptions", "");
		}
		ret->force = request_flag(r, "force");
	} else {
		json_error_t where;
		tree = json_loadb(body, len, JSON_DECODE_ANY, &where);
		if (!tree)
			return error_bad_request(err, "error decoding patch: %s", where.text);
	}
	ret->tree = tree;
	arena_defer(r->arena, (void (*)(void *))json_decref, tree);
	return 0;
}

int patch_run(const struct patch_input *input, const struct api_type *type, json_t *target, json_t **ret, struct error *err) {
	switch (input->kind) {
	case PATCH_JSON:
		return patch_json(target, input->tree, ret, err);
	case PATCH_STRATEGIC:
		return patch_strategic(type, target, input->tree, ret, err);
	default:
		return patch_merge(target, input->tree, ret, err);
	}
}

int patch_decode(struct request *r, const struct api_type *type, json_t *tree, void **ret, struct error *err) {
	struct api_decode_options options = {.validation = r->validation, .warnings = &r->warnings};
	autoerror struct error why = {0};
	struct { const char *kind, *api_version; } *head;
	autofree char *version = str_empty(type->group) ? xstrdup(str_or(type->version, "")) : xprintf("%s/%s", type->group, type->version);
	int rc = api_from_json(type, tree, &options, ret, &why);
	if (rc == 0) {
		/* What an object is does not change. */
		head = *ret;
		if (!type->is_kind || !type->kind || (str_equal(head->kind, type->kind) && str_equal(head->api_version, version)))
			return 0;
		error_status(&why, 400, "BadRequest", "unable to decode %s, Kind=%s into %s, Kind=%s", str_or(head->api_version, ""), str_or(head->kind, ""), version, type->kind);
		api_unref(take_ptr(*ret));
	}
	char *text = json_dumps(tree, JSON_COMPACT | JSON_SORT_KEYS);
	autobuf struct buf quoted = BUF_INIT(BUF_MAX_DEFAULT);
	buf_append_json_string(&quoted, text ? text : "", text ? strlen(text) : 0);
	free(text);
	error_cause(err, "FieldValueInvalid", "patch", "Invalid value: %s: %s", quoted.data, error_message(&why));
	return error_invalid(err, NULL, "", "");
}

static int check_identity(struct write *w, struct error *err) {
	struct meta_v1_object_meta *meta = api_metadata(w->object);
	const struct meta_v1_object_meta *old = w->old ? api_metadata(w->old) : NULL;
	if (!str_equal(meta->name, w->name))
		return error_bad_request(err, "the name of the object (%s) does not match the name on the URL (%s)", str_or(meta->name, ""), w->name);
	int rc = input_check_namespace(w, meta, err);
	if (rc < 0)
		return rc;
	meta->namespace = w->resource->api->namespaced ? arena_strdup(api_arena(w->object), w->ns) : NULL;
	if (old && !str_empty(meta->resource_version) && !str_equal(meta->resource_version, old->resource_version))
		return error_conflict(err, w->resource, w->name, CONFLICT_MODIFIED);
	if (old && !str_empty(meta->uid) && !str_equal(meta->uid, old->uid)) {
		autofree char *text = xprintf("Precondition failed: UID in precondition: %s, UID in object meta: %s", meta->uid, str_or(old->uid, ""));
		return error_conflict(err, w->resource, w->name, text);
	}
	return 0;
}

static int make_patched(struct write *w, struct error *err) {
	const struct patch_input *input = w->arg;
	const struct api_type *type = w->resource->type;
	if (!w->old)
		return error_not_found(err, w->resource, w->name);
	json_t *target = api_to_json(type, w->old), *patched = NULL;
	int rc = patch_run(input, type, target, &patched, err);
	json_decref(target);
	if (rc < 0)
		return rc;
	rc = patch_decode(w->r, type, patched, &w->object, err);
	json_decref(patched);
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
	int rc = request_parse_write_options(r, err);
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
