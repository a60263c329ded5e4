/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of single objects. Lists and watches have their own ways (rest/list.c, rest/watch.c). */
#include "apiserver/audit/audit.h"
#include "apiserver/request/metrics.h"
#include "apiserver/request/request.h"
#include "apiserver/request/render.h"
#include "apiserver/request/steps.h"
#include "api/meta_v1.h"
#include "common/api/yaml.h"

void request_warn(struct request *r, const char *fmt, ...) {
	va_list args;
	va_start(args, fmt);
	struct buf text = BUF_INIT(4096);
	buf_vprintf(&text, fmt, args);
	va_end(args);
	r->warnings.items = xreallocarray(r->warnings.items, r->warnings.len + 1, sizeof(char *));
	r->warnings.items[r->warnings.len++] = buf_take(&text);
}

void request_add_warnings(struct request *r) {
	for (size_t i = 0; i < r->warnings.len && i < 64; i++) {
		size_t earlier = 0;
		while (strcmp(r->warnings.items[earlier], r->warnings.items[i]) != 0)
			earlier++;
		if (earlier < i)
			continue; /* each is said once */
		struct buf value = BUF_INIT(8192);
		buf_append_str(&value, "299 - \"");
		for (const char *p = r->warnings.items[i]; *p; p++) {
			if (*p == '"' || *p == '\\')
				buf_append_char(&value, '\\');
			buf_append_char(&value, (unsigned char)*p < 0x20 ? ' ' : *p);
		}
		buf_append_char(&value, '"');
		if (!buf_failed(&value))
			http_add_header(r->http, "Warning", value.data);
		buf_done(&value);
	}
}

static void respond_bytes(struct request *r, int code, const char *content_type, struct bytes *bytes) {
	request_add_warnings(r);
	request_metrics_size(r, bytes->len);
	request_finished(r, code);
	request_respond_large(r, code, content_type, bytes);
}

void request_respond_json(struct request *r, int code, const char *json, size_t len) {
	audit_response(r, json, len);
	if (r->accept.pretty && r->accept.media == MEDIA_JSON) {
		struct buf pretty = BUF_INIT(BUF_MAX_DEFAULT);
		json_text_pretty(json, len, &pretty);
		respond_bytes(r, code, "application/json", buf_to_bytes(&pretty));
		buf_done(&pretty);
		return;
	}
	struct bytes *bytes = bytes_alloc(len + 1);
	memcpy(bytes->data, json, len);
	bytes->data[len] = '\n';
	respond_bytes(r, code, "application/json", bytes);
}

void request_respond_encoded(struct request *r, int code, const struct api_type *type, const char *json, size_t len) {
	void *object;
	if (r->accept.media == MEDIA_YAML) {
		autobuf struct buf yaml = BUF_INIT(BUF_MAX_DEFAULT);
		yaml_from_json(json, len, &yaml, NULL);
		respond_bytes(r, code, "application/yaml", buf_to_bytes(&yaml));
		return;
	}
	if (!render_is_protobuf(&r->accept) || api_decode_json(type, json, len, NULL, &object, NULL) < 0) {
		request_respond_json(r, code, json, len);
		return;
	}
	autobuf struct buf out = BUF_INIT(1 << 20);
	api_encode_protobuf(type, object, &out);
	api_unref(object);
	respond_bytes(r, code, PROTOBUF_TYPE, buf_to_bytes(&out));
}

void request_respond_status(struct request *r, int code, const char *json, size_t len) {
	audit_status(r, code, json, len);
	request_respond_encoded(r, code, &meta_v1_status_type, json, len);
}

void request_respond_text(struct request *r, int code, const char *text) {
	request_metrics_size(r, strlen(text));
	request_finished(r, code);
	http_respond(r->http, code, "text/plain; charset=utf-8", text, strlen(text));
}

/* What a browser might take for markup. */
static void append_sanitized(struct buf *out, const char *text) {
	for (const char *p = text; *p; p++) {
		if (*p == '&')
			buf_append_str(out, "&amp;");
		else if (*p == '<')
			buf_append_str(out, "&lt;");
		else if (*p == '>')
			buf_append_str(out, "&gt;");
		else
			buf_append_char(out, *p);
	}
}

void request_respond_internal_text(struct request *r, const char *why) {
	const char *query = http_query_string(r->http);
	autobuf struct buf text = BUF_INIT(1 << 20), uri = BUF_INIT(1 << 20);
	buf_printf(&uri, "%s%s%s", r->path, *query ? "?" : "", query);
	buf_append_str(&text, "Internal Server Error: ");
	struct buf quoted = BUF_INIT(1 << 20);
	buf_append_json_string(&quoted, uri.data, uri.len);
	append_sanitized(&text, quoted.data);
	buf_done(&quoted);
	buf_append_str(&text, ": ");
	append_sanitized(&text, why);
	buf_append_char(&text, '\n');
	http_add_header(r->http, "X-Content-Type-Options", "nosniff");
	request_respond_text(r, 500, text.data);
}

void request_respond_success(struct request *r, const char *name, const char *uid) {
	struct buf out = BUF_INIT(64 << 10);
	buf_append_str(&out, "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Success\"");
	if (name) {
		buf_append_str(&out, ",\"details\":{\"name\":");
		buf_append_json_string(&out, name, strlen(name));
		if (r->resource && !str_empty(r->resource->api->group)) {
			buf_append_str(&out, ",\"group\":");
			buf_append_json_string(&out, r->resource->api->group, strlen(r->resource->api->group));
		}
		if (r->resource) {
			buf_append_str(&out, ",\"kind\":");
			buf_append_json_string(&out, r->resource->api->plural, strlen(r->resource->api->plural));
		}
		if (!str_empty(uid)) {
			buf_append_str(&out, ",\"uid\":");
			buf_append_json_string(&out, uid, strlen(uid));
		}
		buf_append_char(&out, '}');
	}
	buf_append_char(&out, '}');
	request_respond_status(r, 200, out.data, out.len);
	buf_done(&out);
}

/* The metadata of an object alone, as protobuf. */
static int respond_partial_protobuf(struct request *r, int code, const struct api_type *type, const void *object) {
	autobuf struct buf json = BUF_INIT(BUF_MAX_DEFAULT), out = BUF_INIT(BUF_MAX_DEFAULT);
	void *partial;
	api_encode_json(type, object, &json);
	int rc = partial_metadata_object(&r->accept, json.data, json.len, &partial);
	if (rc < 0)
		return rc;
	api_encode_protobuf(&meta_v1_partial_object_metadata_type, partial, &out);
	api_unref(partial);
	respond_bytes(r, code, PROTOBUF_TYPE, buf_to_bytes(&out));
	return 0;
}

void request_respond_object(struct request *r, int code, const struct api_type *type, const void *object) {
	if (audit_wants_response(r)) {
		autobuf struct buf json = BUF_INIT(BUF_MAX_DEFAULT);
		api_encode_json(type, object, &json);
		audit_response(r, json.data, json.len);
	}
	autoerror struct error misfit = {0};
	if (request_check_fit(r, &misfit) < 0) {
		request_fail(r, &misfit);
		return;
	}
	if (r->accept.media == MEDIA_PROTOBUF && r->accept.form == FORM_PARTIAL && r->resource && type == r->resource->type && respond_partial_protobuf(r, code, type, object) == 0)
		return;
	struct buf out = BUF_INIT(BUF_MAX_DEFAULT);
	switch (r->accept.form == FORM_OBJECT ? r->accept.media : MEDIA_JSON) {
	case MEDIA_PROTOBUF:
		if (type->proto) {
			api_encode_protobuf(type, object, &out);
			respond_bytes(r, code, PROTOBUF_TYPE, buf_to_bytes(&out));
			break;
		}
		/* fall through: kinds without a protobuf form answer in JSON */
		__attribute__((fallthrough));
	default:
		render_object(r->resource, &r->accept, type, object, r, &out);
		if (r->accept.media == MEDIA_YAML) {
			struct buf yaml = BUF_INIT(BUF_MAX_DEFAULT);
			yaml_from_json(out.data, out.len, &yaml, NULL);
			respond_bytes(r, code, "application/yaml", buf_to_bytes(&yaml));
			buf_done(&yaml);
		} else {
			request_respond_json(r, code, out.data, out.len);
		}
	}
	buf_done(&out);
}

bool request_takes_stored_bytes(const struct request *r) {
	return r->accept.form == FORM_OBJECT && r->accept.media == MEDIA_JSON && !r->accept.pretty && resource_is_identity(r->resource);
}

void request_respond_entry(struct request *r, int code, struct entry *entry) {
	if (request_takes_stored_bytes(r)) {
		audit_response(r, entry->json->data, entry->json->len);
		respond_bytes(r, code, "application/json", bytes_ref(entry->json));
		return;
	}
	void *object;
	autoerror struct error err = {0};
	if (resource_decode(r->resource, entry, &object, &err) < 0) {
		request_fail(r, &err);
		return;
	}
	request_respond_object(r, code, r->resource->type, object);
	api_unref(object);
}
