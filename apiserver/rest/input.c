/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/rest/input.h"
#include "apiserver/custom/custom.h"
#include "apiserver/request/render.h"
#include "api/policy_v1.h"
#include "common/api/codec.h"
#include "common/api/yaml.h"

#include <errno.h>

#define MAX_BODY_DEPTH 10000

/* Typed clients leave kind and apiVersion out; what is stored says them. */
static void input_set_kind(void *object, const char *api_version) {
	const struct api_type *type = api_type_of(object);
	struct { const char *kind, *api_version; } *head = object;
	if (!type->is_kind || !type->kind)
		return;
	head->kind = type->kind;
	if (str_empty(head->api_version))
		head->api_version = arena_strdup(api_arena(object), api_version);
}

static int decode_json(struct request *r, const struct api_type *type, const char *json, size_t len, void **ret, struct error *err) {
	struct api_decode_options options = {.validation = r->validation, .warnings = &r->warnings, .max_depth = MAX_BODY_DEPTH};
	/* The body's kind must be the endpoint's, where it names one. */
	char *kind = json_text_string(r->arena, json, len, "kind");
	char *version = json_text_string(r->arena, json, len, "apiVersion");
	/* Evictions of before are the same, and still taken. */
	if (type == &policy_v1_eviction_type && str_equal(version, "policy/v1beta1"))
		version = NULL;
	autofree char *want = str_empty(type->group) ? xstrdup(type->version ? type->version : "") : xprintf("%s/%s", type->group, type->version);
	if (custom_of_type(type)) {
		int wrong = custom_check_head(type, json, len, kind, version, json_text_string(r->arena, json, len, "metadata.name"), err);
		if (wrong < 0)
			return wrong;
	}
	if (type->kind && ((!str_empty(kind) && strcmp(kind, type->kind) != 0) || (!str_empty(version) && strcmp(version, want) != 0))) {
		const char *group, *named_version;
		api_split_group_version(r->arena, str_or(version, ""), &group, &named_version);
		const struct api_type *named = api_type_by_kind(group, str_empty(version) ? NULL : named_version, str_or(kind, type->kind));
		if (!named)
			return error_bad_request(err, "%s in version \"%s\" cannot be handled as a %s: no kind \"%s\" is registered for version \"%s\" in scheme \"k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30\"", str_or(kind, type->kind),
				str_empty(version) ? type->version : named_version, type->kind, str_or(kind, type->kind), str_or(version, want));
		/* Options are kinds of every group: a typed client names its own. */
		if (named != type && strcmp(str_or(version, want), want) != 0)
			return error_bad_request(err, "the API version in the data (%s) does not match the expected API version (%s)", str_or(version, want), want);
		if (named != type)
			return error_bad_request(err, "%s in version \"%s\" cannot be handled as a %s: converting (%s.%s) to (%.*s.%s): unknown conversion", kind, str_empty(version) ? type->version : named_version, type->kind,
				named->version, named->kind, str_empty(type->group) ? 4 : (int)strcspn(type->group, "."), str_empty(type->group) ? "core" : type->group, type->kind);
	}
	int rc = api_decode_json(type, json, len, &options, ret, err);
	if (rc < 0 && err && err->http_code == 0)
		error_bad_request(err, "%s", error_message(err));
	if (rc == 0)
		input_set_kind(*ret, want);
	return rc;
}

int request_read_yaml(struct request *r, const char *text, size_t len, struct buf *ret, struct error *err) {
	struct api_warning_list found = {0};
	int rc = yaml_to_json_one_found(text, len, ret, &found, err);
	if (rc < 0) {
		error_bad_request(err, "error decoding YAML: %s", error_message(err));
	} else if (found.len && r->validation == API_STRICT) {
		autobuf struct buf lines = BUF_INIT(64 << 10);
		for (size_t i = 0; i < found.len; i++)
			buf_printf(&lines, "\n  %s", found.items[i]);
		rc = error_bad_request(err, "error strict decoding YAML: yaml: unmarshal errors:%s", lines.data);
	}
	for (size_t i = 0; rc == 0 && i < found.len && r->validation == API_WARN; i++)
		request_warn(r, "%s", found.items[i]);
	api_warning_list_done(&found);
	return rc;
}

int request_decode_body(struct request *r, const struct api_type *type, void **ret, struct error *err) {
	size_t len;
	const char *body = http_body(r->http, &len);
	const char *content_type = http_header(r->http, "Content-Type");
	enum media_type media = media_type_of(content_type);
	if (!len && media == MEDIA_YAML)
		return decode_json(r, type, "{}", 2, ret, err); /* an empty document */
	if (!len && media == MEDIA_PROTOBUF)
		return error_bad_request(err, "the object provided is unrecognized (must be of type %s): empty data (<empty>)", type->kind);
	if (!len && media == MEDIA_JSON)
		return error_bad_request(err, "the object provided is unrecognized (must be of type %s): couldn't get version/kind; json parse error: unexpected end of JSON input (<empty>)", type->kind);
	switch (media) {
	case MEDIA_JSON:
		return decode_json(r, type, body, len, ret, err);
	case MEDIA_YAML: {
		autobuf struct buf json = BUF_INIT(16u << 20);
		int rc = request_read_yaml(r, body, len, &json, err);
		if (rc < 0)
			return rc;
		return decode_json(r, type, json.data, json.len, ret, err);
	}
	case MEDIA_PROTOBUF: {
		void *object;
		int rc = api_decode_protobuf(body, len, &object, err);
		if (rc < 0) {
			autobuf struct buf summary = BUF_INIT(4096);
			api_summarize(body, len, &summary);
			return error_bad_request(err, "the object provided is unrecognized (must be of type %s): %s (%.*s)", type->kind, error_message(err), (int)summary.len, (const char *)summary.data);
		}
		if (api_type_of(object) != type) {
			api_unref(object);
			return error_bad_request(err, "the kind in the data does not match the expected kind %s", type->kind);
		}
		*ret = object;
		autofree char *version = str_empty(type->group) ? xstrdup(type->version ? type->version : "") : xprintf("%s/%s", type->group, type->version);
		input_set_kind(object, version);
		return 0;
	}
	default:
		return error_status(err, 415, "UnsupportedMediaType", "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf");
	}
}

int request_decode_optional(struct request *r, const struct api_type *type, void **ret, struct error *err) {
	size_t len;
	http_body(r->http, &len);
	if (!len) {
		*ret = NULL;
		return 0;
	}
	return request_decode_body(r, type, ret, err);
}
