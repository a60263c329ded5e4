/* SPDX-License-Identifier: Apache-2.0 */
/* The scale subresource of whatever has spec.replicas, status.replicas and a selector. */
#include "apiserver/custom/custom.h"
#include "apiserver/printers/printer.h"
#include "apiserver/request/render.h"
#include "apiserver/rest/input.h"
#include "apiserver/rest/patch.h"
#include "apiserver/rest/subresource.h"
#include "api/autoscaling_v1.h"
#include "api/meta_v1.h"
#include "common/api/codec.h"

#include <errno.h>

/* The field `inner` of the struct field `outer` of an object; NULL where there is none. */
static void *nested(const void *object, const char *outer, const char *inner, const struct api_field **ret_field) {
	const struct api_field *field;
	void *at = api_field_address(api_type_of(object), object, outer, &field);
	if (!at || field->kind != API_STRUCT)
		return NULL;
	return api_field_address(field->type, at, inner, ret_field);
}

static int32_t get_replicas(const void *object, const char *outer) {
	const struct custom_resource *custom = custom_of_type(api_type_of(object));
	if (custom)
		return (int32_t)custom_number_at(object, strcmp(outer, "spec") == 0 ? custom->scale_spec : custom->scale_status);
	const struct api_field *field;
	void *at = nested(object, outer, "replicas", &field);
	if (!at)
		return 0;
	if (!api_field_indirect(field))
		return *(int32_t *)at;
	return *(int32_t **)at ? **(int32_t **)at : 1;
}

static void set_replicas(void *object, int32_t value) {
	const struct custom_resource *custom = custom_of_type(api_type_of(object));
	if (custom && custom->scale_spec) {
		custom_set_number_at(object, custom->scale_spec, value);
		return;
	}
	const struct api_field *field;
	void *at = nested(object, "spec", "replicas", &field);
	if (!at)
		return;
	if (api_field_indirect(field))
		*(int32_t **)at = api_int32(api_arena(object), value);
	else
		*(int32_t *)at = value;
}

static void map_text(const struct api_string_map *map, struct buf *out) {
	for (uint32_t i = 0; i < map->len; i++)
		buf_printf(out, "%s%s=%s", out->len ? "," : "", map->items[i].key, map->items[i].value);
}

static void requirement_text(const struct meta_v1_label_selector_requirement *r, struct buf *out) {
	const char *op = r->operator;
	buf_append_str(out, out->len ? "," : "");
	if (strcmp(op, "Exists") == 0 || strcmp(op, "DoesNotExist") == 0) {
		buf_printf(out, "%s%s", strcmp(op, "Exists") == 0 ? "" : "!", r->key);
		return;
	}
	buf_printf(out, "%s %s (", r->key, strcmp(op, "In") == 0 ? "in" : "notin");
	for (uint32_t i = 0; i < r->values.len; i++)
		buf_printf(out, "%s%s", i ? "," : "", r->values.items[i]);
	buf_append_char(out, ')');
}

static char *selector_text(const void *object, struct arena *arena) {
	const struct custom_resource *custom = custom_of_type(api_type_of(object));
	if (custom)
		return custom_string_at(object, custom->scale_selector, arena);
	const struct api_field *field;
	void *at = nested(object, "spec", "selector", &field);
	struct buf out = BUF_INIT(64 << 10);
	if (at && field->shape == API_MAP) {
		map_text(at, &out);
	} else if (at && field->type == &meta_v1_label_selector_type) {
		const struct meta_v1_label_selector *selector = api_field_indirect(field) ? *(struct meta_v1_label_selector **)at : at;
		if (selector) {
			map_text(&selector->match_labels, &out);
			for (uint32_t i = 0; i < selector->match_expressions.len; i++)
				requirement_text(&selector->match_expressions.items[i], &out);
		}
	}
	char *text = arena_strndup(arena, out.data ? out.data : "", out.len);
	buf_done(&out);
	return text;
}

static struct autoscaling_v1_scale *scale_of(const void *object) {
	struct autoscaling_v1_scale *scale = api_new_of(autoscaling_v1_scale);
	struct arena *arena = api_arena(scale);
	const struct meta_v1_object_meta *meta = api_metadata(object);
	scale->metadata.name = arena_strdup(arena, meta->name);
	scale->metadata.namespace = arena_strdup(arena, meta->namespace);
	scale->metadata.uid = arena_strdup(arena, meta->uid);
	scale->metadata.resource_version = arena_strdup(arena, meta->resource_version);
	scale->metadata.creation_timestamp = meta->creation_timestamp;
	scale->spec.replicas = get_replicas(object, "spec");
	scale->status.replicas = get_replicas(object, "status");
	scale->status.selector = selector_text(object, arena);
	return scale;
}

/* The columns of a Scale, which no resource has. */
#define COLUMN(name, type, doc) "{\"name\":\"" name "\",\"type\":\"" type "\",\"format\":\"\",\"description\":\"" doc "\",\"priority\":0}"
#define COLUMNS "\"columnDefinitions\":[" COLUMN("Name", "string", "Name of the scaled object.") "," COLUMN("Desired", "integer", "Instances wanted.") "," COLUMN("Available", "integer", "Instances seen.") "," \
	COLUMN("Age", "string", "Time since the object was made.") "]"

static void respond_as(struct request *r, const struct autoscaling_v1_scale *scale) {
	autobuf struct buf json = BUF_INIT(BUF_MAX_DEFAULT), out = BUF_INIT(BUF_MAX_DEFAULT);
	api_encode(scale, &json);
	if (r->accept.form == FORM_PARTIAL) {
		partial_metadata(&r->accept, json.data, json.len, &out);
	} else {
		enum include_object include = request_include_object(r);
		struct cells cells = {.out = &out};
		buf_printf(&out, "{\"kind\":\"Table\",\"apiVersion\":\"%s\",\"metadata\":{\"resourceVersion\":\"%s\"}," COLUMNS ",\"rows\":[{\"cells\":[", render_meta_version(&r->accept), str_or(scale->metadata.resource_version, ""));
		cell_string(&cells, scale->metadata.name);
		cell_int(&cells, scale->spec.replicas);
		cell_int(&cells, scale->status.replicas);
		cell_age(&cells, &scale->metadata.creation_timestamp);
		buf_append_str(&out, include == INCLUDE_NONE ? "],\"object\":null" : "],\"object\":");
		if (include == INCLUDE_METADATA)
			partial_metadata(&r->accept, json.data, json.len, &out);
		else if (include == INCLUDE_OBJECT)
			buf_append(&out, json.data, json.len);
		buf_append_str(&out, "}]}");
	}
	request_respond_json(r, 200, out.data, out.len);
}

static void respond_scale(struct request *r, const void *object) {
	struct autoscaling_v1_scale *scale = scale_of(object);
	if (r->accept.form == FORM_OBJECT || r->accept.media != MEDIA_JSON)
		request_respond_object(r, 200, &autoscaling_v1_scale_type, scale);
	else
		respond_as(r, scale);
	api_unref(scale);
}

static void answer_scale(struct write *w, struct entry *entry) {
	struct request *r = w->r;
	void *object = NULL;
	autoerror struct error err = {0};
	if (!entry)
		object = api_ref(w->object);
	else if (resource_decode(w->resource, entry, &object, &err) < 0)
		object = NULL;
	write_end(w);
	if (!object) {
		request_fail(r, &err);
		return;
	}
	respond_scale(r, object);
	api_unref(object);
}

static int check_scale(const struct write *w, const struct autoscaling_v1_scale *scale, struct error *err) {
	const struct meta_v1_object_meta *old = api_metadata(w->old);
	if (!str_empty(scale->metadata.resource_version) && !str_equal(scale->metadata.resource_version, old->resource_version))
		return error_conflict(err, w->resource, w->name, CONFLICT_MODIFIED);
	if (!str_empty(scale->metadata.uid) && !str_equal(scale->metadata.uid, old->uid)) {
		autofree char *text = xprintf("Precondition failed: UID in precondition: %s, UID in object meta: %s", scale->metadata.uid, old->uid);
		return error_conflict(err, w->resource, w->name, text);
	}
	if (scale->spec.replicas < 0) {
		error_cause(err, "FieldValueInvalid", "spec.replicas", "Invalid value: %d: must be greater than or equal to 0", scale->spec.replicas);
		return error_invalid(err, "autoscaling", "Scale", w->name);
	}
	return 0;
}

static int apply_scale(struct write *w, const struct autoscaling_v1_scale *scale, struct error *err) {
	int rc = check_scale(w, scale, err);
	if (rc < 0)
		return rc;
	w->object = api_copy(w->old);
	set_replicas(w->object, scale->spec.replicas);
	w->track_fields = true;
	return 0;
}

/* {"spec":{"replicas":n}}, wherever the kind has it. */
static json_t *part_of_scale(const struct write *w, json_t *replicas) {
	const struct custom_resource *custom = w->resource->custom;
	const char *path = custom && custom->scale_spec ? custom->scale_spec : "spec.replicas";
	json_t *part = json_object(), *at = part;
	for (; strchr(path, '.'); path += strcspn(path, ".") + 1) {
		autofree char *key = xstrndup(path, strcspn(path, "."));
		json_object_set_new(at, key, json_object());
		at = json_object_get(at, key);
	}
	if (replicas)
		json_object_set(at, path, replicas);
	return part;
}

/* Whoever applies a Scale owns the replicas of what is scaled, and is told who else does. */
static int make_scale_applied(struct write *w, struct error *err) {
	const struct patch_input *input = w->arg;
	if (!w->old)
		return error_not_found(err, w->resource, w->name);
	void *decoded;
	int rc = patch_decode(w->r, input, &autoscaling_v1_scale_type, input->tree, &decoded, err);
	if (rc < 0)
		return rc;
	const struct autoscaling_v1_scale *scale = decoded;
	if (!str_equal(scale->metadata.name, w->name))
		rc = error_bad_request(err, "the name of the object (%s) does not match the name on the URL (%s)", str_or(scale->metadata.name, ""), w->name);
	else
		rc = check_scale(w, scale, err);
	api_unref(decoded);
	if (rc < 0)
		return rc;
	json_t *part = part_of_scale(w, json_object_get(json_object_get(input->tree, "spec"), "replicas"));
	rc = make_applied_part(w, part, input->force, "autoscaling/v1", err);
	json_decref(part);
	return rc;
}

static int make_scaled(struct write *w, struct error *err) {
	if (!w->old)
		return error_not_found(err, w->resource, w->name);
	return apply_scale(w, w->input, err);
}

static int make_scale_patched(struct write *w, struct error *err) {
	if (!w->old)
		return error_not_found(err, w->resource, w->name);
	const struct patch_input *input = w->arg;
	struct autoscaling_v1_scale *scale = scale_of(w->old);
	json_t *target = api_to_json(&autoscaling_v1_scale_type, scale), *patched = NULL;
	api_unref(scale);
	int rc = patch_run(input, &autoscaling_v1_scale_type, target, &patched, err);
	json_decref(target);
	if (rc < 0)
		return rc;
	void *decoded;
	rc = patch_decode(w->r, input, &autoscaling_v1_scale_type, patched, &decoded, err);
	json_decref(patched);
	if (rc < 0)
		return rc;
	rc = apply_scale(w, decoded, err);
	api_unref(decoded);
	return rc;
}

static int read_scale(struct request *r, struct error *err) {
	void *object = resource_read(r->resource, r->ns, r->name);
	if (!object)
		return error_not_found(err, r->resource, r->name);
	respond_scale(r, object);
	api_unref(object);
	return REQUEST_TAKEN;
}

static int check_name(struct write *w, struct error *err) {
	int rc = input_check_identity(w, &((struct autoscaling_v1_scale *)w->input)->metadata, api_arena(w->input), err);
	if (rc < 0)
		api_unref(take_ptr(w->input));
	return rc;
}

static void *show_scale(const void *object) {
	return scale_of(object);
}

static int take_scale(struct write *w, const void *body, struct error *err) {
	const struct autoscaling_v1_scale *scale = body;
	int rc = check_scale(w, scale, err);
	if (rc == 0)
		set_replicas(w->object, scale->spec.replicas);
	return rc;
}

static const struct write_body scale_body = {&autoscaling_v1_scale_type, show_scale, take_scale};

int subresource_scale(struct request *r, struct error *err) {
	if (strcmp(r->verb, "get") == 0)
		return read_scale(r, err);
	int rc = strcmp(r->verb, "patch") == 0 ? patch_check_type(r, err) : 0;
	if (rc == 0)
		rc = request_parse_write_options(r, err);
	if (rc < 0)
		return rc;
	struct write *w = write_new(r, WRITE_UPDATE);
	w->done = answer_scale;
	w->body = &scale_body;
	if (strcmp(r->verb, "update") == 0) {
		rc = request_decode_body(r, &autoscaling_v1_scale_type, &w->input, err);
		w->make = make_scaled;
		if (rc == 0)
			rc = check_name(w, err);
	} else {
		struct patch_input *input = arena_new_type(r->arena, struct patch_input);
		rc = patch_parse(r, input, err);
		w->arg = input;
		w->make = input->kind == PATCH_APPLY ? make_scale_applied : make_scale_patched;
	}
	if (rc < 0)
		return rc;
	write_start(w);
	return REQUEST_TAKEN;
}
