/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/rest/input.h"
#include "apiserver/audit/audit.h"
#include "apiserver/custom/custom.h"
#include "apiserver/request/render.h"
#include "api/policy_v1.h"
#include "common/api/codec.h"
#include "common/api/json_reader.h"
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

static int unrecognized(const struct api_type *type, const char *body, size_t len, const char *why, struct error *err) {
	autobuf struct buf summary = BUF_INIT(4096);
	api_summarize(body, len, &summary);
	return error_bad_request(err, "the object provided is unrecognized (must be of type %s): %s (%.*s)", type->kind, why, (int)summary.len, (const char *)summary.data);
}

/* A head that cannot be read at all is told before one that does not fit. */
static int check_head(const char *json, size_t len, char **ret_why) {
	autofree char *version = NULL, *kind = NULL, *message = NULL;
	if (json_peek_kind(json, len, &version, &kind, &message) < 0)
		*ret_why = xprintf("couldn't get version/kind; json parse error: %s", message);
	else if (version && strchr(version, '/') != strrchr(version, '/'))
		*ret_why = xprintf("unexpected GroupVersion string: %s", version);
	return *ret_why ? -EINVAL : 0;
}

/* body: what was sent, of which json was made. */
static int decode_json(struct request *r, const struct api_type *type, const char *json, size_t len, const char *body, size_t body_len, struct api_warning_list *found, void **ret, struct error *err) {
	struct api_decode_options options = {.validation = r->validation, .warnings = &r->warnings, .max_depth = MAX_BODY_DEPTH, .found = found, .source = body, .source_len = body_len};
	autofree char *why = NULL;
	/* The body's kind must be the endpoint's, where it names one. */
	char *kind = json_text_string(r->arena, json, len, "kind");
	char *version = json_text_string(r->arena, json, len, "apiVersion");
	/* Evictions of before are the same, and still taken. */
	if (type == &policy_v1_eviction_type && str_equal(version, "policy/v1beta1"))
		version = NULL;
	autofree char *want = str_empty(type->group) ? xstrdup(type->version ? type->version : "") : xprintf("%s/%s", type->group, type->version);
	if (custom_of_type(type)) {
		int wrong = custom_check_head(type, body, body_len, kind, version, json_text_string(r->arena, json, len, "metadata.name"), err);
		if (wrong < 0)
			return wrong;
	}
	if (type->kind && ((!str_empty(kind) && strcmp(kind, type->kind) != 0) || (!str_empty(version) && strcmp(version, want) != 0))) {
		const char *group, *named_version;
		if (check_head(json, len, &why) < 0)
			return unrecognized(type, body, body_len, why, err);
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

/* The keys that stand twice as the one finding that Kubernetes makes of them. */
static void fold_found(struct api_warning_list *found) {
	autobuf struct buf lines = BUF_INIT(64 << 10);
	if (!found->len)
		return;
	buf_append_str(&lines, "yaml: unmarshal errors:");
	for (size_t i = 0; i < found->len; i++)
		buf_printf(&lines, "\n  %s", found->items[i]);
	api_warning_list_done(found);
	found->items = xmalloc(sizeof(*found->items));
	found->items[found->len++] = buf_take(&lines);
}

int request_read_yaml(struct request *r, const char *text, size_t len, struct buf *ret, struct error *err) {
	struct api_warning_list found = {0};
	int rc = yaml_to_json_one_found(text, len, ret, &found, err);
	if (rc < 0) {
		error_bad_request(err, "error decoding YAML: error converting YAML to JSON: %s", error_message(err));
	} else if (found.len && r->validation == API_STRICT) {
		fold_found(&found);
		rc = error_bad_request(err, "error strict decoding YAML: error converting YAML to JSON: %s", found.items[0]);
	}
	for (size_t i = 0; rc == 0 && i < found.len && r->validation == API_WARN; i++)
		request_warn(r, "%s", found.items[i]);
	api_warning_list_done(&found);
	return rc;
}

static int error_unknown_media(struct error *err) {
	return error_status(err, 415, "UnsupportedMediaType", "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf");
}

static int decode_body(struct request *r, const struct api_type *type, void **ret, struct error *err) {
	size_t len;
	const char *body = http_body(r->http, &len);
	const char *content_type = http_header(r->http, "Content-Type");
	enum media_type media = media_type_of(content_type);
	if (!len && media == MEDIA_YAML)
		return decode_json(r, type, "{}", 2, "", 0, NULL, ret, err); /* an empty document */
	if (!len && media == MEDIA_PROTOBUF)
		return unrecognized(type, body, len, "empty data", err);
	if (!len && media == MEDIA_JSON)
		return unrecognized(type, body, len, "couldn't get version/kind; json parse error: unexpected end of JSON input", err);
	switch (media) {
	case MEDIA_JSON:
		return decode_json(r, type, body, len, body, len, NULL, ret, err);
	case MEDIA_YAML: {
		autobuf struct buf json = BUF_INIT(16u << 20);
		autoerror struct error why = {0};
		struct api_warning_list found = {0};
		int rc = yaml_to_json_one_found(body, len, &json, &found, &why);
		if (rc < 0) {
			unrecognized(type, body, len, error_message(&why), err);
		} else {
			if (r->validation == API_STRICT)
				fold_found(&found);
			rc = decode_json(r, type, json.data, json.len, body, len, &found, ret, err);
		}
		api_warning_list_done(&found);
		return rc;
	}
	case MEDIA_PROTOBUF: {
		void *object;
		int rc = api_decode_protobuf(body, len, &object, err);
		if (rc < 0) {
			autofree char *why = xstrdup(error_message(err));
			return unrecognized(type, body, len, why, err);
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
		return error_unknown_media(err);
	}
}

int request_decode_body(struct request *r, const struct api_type *type, void **ret, struct error *err) {
	int rc = decode_body(r, type, ret, err);
	if (rc == 0)
		audit_object(r, *ret);
	return rc;
}

int request_decode_body_again(struct request *r, const struct api_type *type, void **ret, struct error *err) {
	enum api_validation asked = r->validation;
	r->validation = API_IGNORE;
	int rc = decode_body(r, type, ret, err);
	r->validation = asked;
	return rc;
}

int request_decode_delete_options(struct request *r, struct meta_v1_delete_options **ret, struct error *err) {
	static const struct api_type *const type = &meta_v1_delete_options_type;
	static const char scheme[] = "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27";
	struct api_decode_options options = {.validation = API_IGNORE, .max_depth = MAX_BODY_DEPTH, .bare = true};
	autobuf struct buf converted = BUF_INIT(16u << 20);
	struct api_warning_list found = {0};
	autofree char *why = NULL;
	struct json_reader reader;
	void *object;
	size_t len;
	const char *body = http_body(r->http, &len);
	enum media_type media = media_type_of(http_header(r->http, "Content-Type"));
	*ret = NULL;
	if (!len)
		return 0;
	if (media == MEDIA_OTHER || media == MEDIA_PROTOBUF) {
		int rc = media == MEDIA_OTHER ? error_unknown_media(err) : api_decode_protobuf(body, len, &object, err);
		if (rc < 0)
			return media == MEDIA_OTHER ? rc : error_bad_request(err, "%s", error_message(err));
		if (api_type_of(object) != type) {
			api_unref(object);
			return error_bad_request(err, "the kind in the data does not match the expected kind %s", type->kind);
		}
		*ret = object;
		return 0;
	}
	if (media == MEDIA_YAML) {
		int rc = yaml_to_json_one_found(body, len, &converted, &found, err);
		api_warning_list_done(&found);
		if (rc < 0)
			return error_bad_request(err, "%s", error_message(err));
		body = converted.data;
		len = converted.len;
	}
	char *kind = json_text_string(r->arena, body, len, "kind"), *version = json_text_string(r->arena, body, len, "apiVersion");
	json_reader_init(&reader, body, len, NULL);
	int first = json_peek(&reader);
	json_reader_done(&reader);
	if ((!str_empty(kind) || !str_empty(version) || (first != '{' && first != 'n')) && check_head(body, len, &why) < 0)
		return error_bad_request(err, "%s", why);
	/* Options are kinds of every group. */
	if (!str_empty(kind) && strcmp(kind, type->kind) != 0)
		return error_bad_request(err, "no kind \"%s\" is registered for version \"%s\" in scheme \"%s\"", kind, str_or(version, "meta.k8s.io/v1"), scheme);
	int rc = api_decode_json(type, body, len, &options, &object, err);
	if (rc == 0)
		*ret = object;
	return rc;
}
