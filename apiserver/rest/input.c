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

#define MAX_BODY (3 << 20) /* as the server was told */
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

/* ---- a body of another kind than the endpoint's ---- */

struct named_kind {
	const char *kind, *api_version; /* as sent; where one is missing, the endpoint's */
	const char *group, *version;
};

/* Kubernetes keeps the kinds of its own three servers apart, and names where it looked. */
static const char *scheme_of(const char *group) {
	if (str_equal(group, "apiextensions.k8s.io"))
		return "k8s.io/apiextensions-apiserver/pkg/apiserver/apiserver.go:55";
	if (str_equal(group, "apiregistration.k8s.io"))
		return "k8s.io/kube-aggregator/pkg/apiserver/scheme/scheme.go:28";
	return "pkg/api/legacyscheme/scheme.go:30";
}

/* What is common to all groups (statuses, options) stands in the core group; tables and bare metadata are nobody's to send. */
static bool knows_kind(const struct api_type *endpoint, const struct api_type *named) {
	if (str_starts_with(named->id, "meta/v1.") && str_empty(named->group))
		return true;
	return strcmp(str_or(named->group, ""), "meta.k8s.io") != 0 && strcmp(scheme_of(named->group), scheme_of(endpoint->group)) == 0;
}

/* The group of the kind that all versions are turned to. */
static const char *internal_group(struct request *r, const struct api_type *type) {
	if (str_empty(type->group) || (str_equal(type->group, "events.k8s.io") && str_equal(type->kind, "Event")))
		return "core";
	return arena_strndup(r->arena, type->group, strcspn(type->group, "."));
}

static int cannot_be(const struct api_type *type, const struct named_kind *n, struct error *err, const char *fmt, ...) printf_like(4, 5);
static int cannot_be(const struct api_type *type, const struct named_kind *n, struct error *err, const char *fmt, ...) {
	autobuf struct buf why = BUF_INIT(1 << 20);
	va_list args;
	va_start(args, fmt);
	buf_vprintf(&why, fmt, args);
	va_end(args);
	return error_bad_request(err, "%s in version \"%s\" cannot be handled as a %s: %s", n->kind, n->version, type->kind, why.data);
}

static int not_registered(const struct api_type *type, const struct named_kind *n, struct error *err) {
	return cannot_be(type, n, err, "no kind \"%s\" is registered for version \"%s\" in scheme \"%s\"", n->kind, n->api_version, scheme_of(type->group));
}

static struct named_kind kind_named(struct request *r, const struct api_type *type, const char *want, const char *kind, const char *version) {
	struct named_kind n = {.kind = str_empty(kind) ? type->kind : kind, .api_version = str_empty(version) ? want : version};
	api_split_group_version(r->arena, n.api_version, &n.group, &n.version);
	return n;
}

/* What is read as the kind it says does not become the endpoint's. */
static int refuse_kind(struct request *r, const struct api_type *type, const struct api_type *named, const struct named_kind *n, const char *want, struct error *err) {
	bool same = str_equal(named->kind, type->kind) && str_equal(internal_group(r, named), internal_group(r, type));
	if (same)
		return error_bad_request(err, "the API version in the data (%s) does not match the expected API version (%s)", n->api_version, want);
	return cannot_be(type, n, err, "converting (%s.%s) to (%s.%s): unknown conversion", n->version, n->kind, internal_group(r, type), type->kind);
}

/* Refuses a body whose kind is another, first for what is wrong with it as that; 0: it is the endpoint's own, or says nothing. */
static int check_kind(struct request *r, const struct api_type *type, const char *want, const char *json, size_t len, const char *body, size_t body_len, struct error *err) {
	autofree char *why = NULL, *peeked_version = NULL, *peeked_kind = NULL, *message = NULL;
	const char *kind = json_text_string(r->arena, json, len, "kind"), *version = json_text_string(r->arena, json, len, "apiVersion");
	if ((str_empty(kind) || str_empty(version)) && json_peek_kind(json, len, &peeked_version, &peeked_kind, &message) == 0) {
		kind = arena_strdup(r->arena, peeked_kind);
		version = arena_strdup(r->arena, peeked_version);
	}
	if (custom_of_type(type)) {
		int wrong = custom_check_head(type, body, body_len, kind, version, json_text_string(r->arena, json, len, "metadata.name"), err);
		if (wrong < 0)
			return wrong;
	}
	/* Evictions of before are the same, and still taken. */
	if (type == &policy_v1_eviction_type && str_equal(version, "policy/v1beta1"))
		version = NULL;
	if (!type->kind || ((str_empty(kind) || strcmp(kind, type->kind) == 0) && (str_empty(version) || strcmp(version, want) == 0)))
		return 0;
	if (check_head(json, len, &why) < 0)
		return unrecognized(type, body, body_len, why, err);
	struct named_kind n = kind_named(r, type, want, kind, version);
	const struct api_type *named = api_type_by_kind(n.group, n.version, n.kind);
	if (!named || !knows_kind(type, named))
		return not_registered(type, &n, err);
	if (named == type)
		return 0; /* options are kinds of every group: a typed client names its own */
	struct api_decode_options options = {.validation = API_IGNORE, .max_depth = MAX_BODY_DEPTH, .bare = true};
	autoerror struct error wrong = {0};
	void *object;
	if (api_decode_json(named, json, len, &options, &object, &wrong) < 0)
		return cannot_be(type, &n, err, "%s", error_message(&wrong));
	api_unref(object);
	return refuse_kind(r, type, named, &n, want, err);
}

/* body: what was sent, of which json was made. */
static int decode_json(struct request *r, const struct api_type *type, const char *json, size_t len, const char *body, size_t body_len, struct api_warning_list *found, void **ret, struct error *err) {
	struct api_decode_options options = {.validation = r->validation, .warnings = &r->warnings, .max_depth = MAX_BODY_DEPTH, .found = found, .source = body, .source_len = body_len};
	autofree char *want = str_empty(type->group) ? xstrdup(type->version ? type->version : "") : xprintf("%s/%s", type->group, type->version);
	/* The body's kind must be the endpoint's, where it names one. */
	if (check_kind(r, type, want, json, len, body, body_len, err) < 0)
		return -EINVAL;
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

int request_check_body(const struct request *r, struct error *err) {
	return http_body_too_large(r->http) ? error_status(err, 413, "RequestEntityTooLarge", "Request entity too large: limit is %d", MAX_BODY) : 0;
}

static int error_unknown_media(struct error *err) {
	return error_status(err, 415, "UnsupportedMediaType", "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf");
}

static int decode_protobuf(struct request *r, const struct api_type *type, const char *body, size_t len, void **ret, struct error *err) {
	autofree char *want = str_empty(type->group) ? xstrdup(type->version ? type->version : "") : xprintf("%s/%s", type->group, type->version);
	autoerror struct error wrong = {0};
	void *object;
	if (len == 4 && memcmp(body, "k8s", 4) == 0)
		return unrecognized(type, body, len, "empty body", err);
	if (api_decode_protobuf(body, len, &object, &wrong) < 0)
		return unrecognized(type, body, len, error_message(&wrong), err);
	const struct api_type *named = api_type_of(object);
	const struct { const char *kind, *api_version; } *head = object;
	struct named_kind n = kind_named(r, type, want, arena_strdup(r->arena, head->kind), arena_strdup(r->arena, head->api_version));
	if (named != type) {
		api_unref(object);
		return knows_kind(type, named) ? refuse_kind(r, type, named, &n, want, err) : not_registered(type, &n, err);
	}
	*ret = object;
	input_set_kind(object, want);
	return 0;
}

static int decode_body(struct request *r, const struct api_type *type, void **ret, struct error *err) {
	size_t len;
	const char *body = http_body(r->http, &len);
	const char *content_type = http_header(r->http, "Content-Type");
	enum media_type media = media_type_of(content_type);
	if (media != MEDIA_OTHER && request_check_body(r, err) < 0)
		return -EMSGSIZE;
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
	case MEDIA_PROTOBUF:
		return decode_protobuf(r, type, body, len, ret, err);
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
	if (request_check_body(r, err) < 0)
		return -EMSGSIZE;
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
