/* SPDX-License-Identifier: Apache-2.0 */
/* The errors of the API in Kubernetes' words, and their Status. */
#include "apiserver/audit/audit.h"
#include "apiserver/request/metrics.h"
#include "apiserver/request/request.h"
#include "common/api/codec.h"

#include <errno.h>

static int with_details(struct error *err, const struct resource *resource, const char *name, int rc) {
	error_details(err, str_empty(resource->api->group) ? NULL : resource->api->group, resource->api->plural, name);
	return rc;
}

/* What stands between the quotes where Go quotes a text that came from outside. A NUL is seen to once the whole is encoded. */
static char *escape(const char *text) {
	static const char plain[] = "\a\b\f\n\r\t\v\"\\", named[] = "abfnrtv\"\\";
	struct buf out = BUF_INIT(64 << 10);
	for (const unsigned char *p = (const unsigned char *)text; *p;) {
		bool nul = p[0] == 0xc0 && p[1] == 0x80;
		size_t n = *p < 0x80 ? 1 : nul ? 2 : api_utf8_length(p, strlen((const char *)p));
		const char *found = strchr(plain, *p);
		if (found)
			buf_printf(&out, "\\%c", named[found - plain]);
		else if (!n || *p < 0x20 || *p == 0x7f)
			buf_printf(&out, "\\x%02x", *p);
		else
			buf_append(&out, p, n);
		p += n ? n : 1;
	}
	return out.len ? buf_take(&out) : xstrdup("");
}

int error_not_found(struct error *err, const struct resource *resource, const char *name) {
	autofree char *shown = escape(name);
	return with_details(err, resource, name, error_status(err, 404, "NotFound", "%s \"%s\" not found", resource->group_resource, shown));
}

int error_already_exists(struct error *err, const struct resource *resource, const char *name) {
	return with_details(err, resource, name, error_status(err, 409, "AlreadyExists", "%s \"%s\" already exists", resource->group_resource, name));
}

int error_conflict(struct error *err, const struct resource *resource, const char *name, const char *message) {
	return with_details(err, resource, name, error_status(err, 409, "Conflict", "Operation cannot be fulfilled on %s \"%s\": %s", resource->group_resource, name, message));
}

int error_forbidden(struct error *err, const struct resource *resource, const char *name, const char *fmt, ...) {
	va_list args;
	va_start(args, fmt);
	struct buf why = BUF_INIT(64 << 10);
	buf_vprintf(&why, fmt, args);
	va_end(args);
	int rc;
	if (str_empty(name))
		rc = error_status(err, 403, "Forbidden", "%s is forbidden: %s", resource->group_resource, why.data);
	else
		rc = error_status(err, 403, "Forbidden", "%s \"%s\" is forbidden: %s", resource->group_resource, name, why.data);
	buf_done(&why);
	return with_details(err, resource, name, rc);
}

int error_bad_request(struct error *err, const char *fmt, ...) {
	va_list args;
	va_start(args, fmt);
	struct buf text = BUF_INIT(64 << 10);
	buf_vprintf(&text, fmt, args);
	va_end(args);
	int rc = error_status(err, 400, "BadRequest", "%s", text.data);
	buf_done(&text);
	return rc;
}

int error_internal(struct error *err, const char *fmt, ...) {
	va_list args;
	va_start(args, fmt);
	struct buf text = BUF_INIT(64 << 10);
	buf_vprintf(&text, fmt, args);
	va_end(args);
	int rc = error_status(err, 500, "InternalError", "Internal error occurred: %s", text.data);
	error_cause(err, NULL, NULL, "%s", text.data);
	buf_done(&text);
	return rc;
}

/* What is refused before any resource is looked at carries details that say nothing. */
int error_of_route(struct error *err, int code, const char *reason, const char *message) {
	int rc = error_status(err, code, reason, "%s", message);
	if (err)
		err->empty_details = true;
	return rc;
}

int error_method_not_allowed(struct error *err) {
	return error_of_route(err, 405, "MethodNotAllowed", "the server does not allow this method on the requested resource");
}

int error_not_served(struct error *err) {
	return error_of_route(err, 404, "NotFound", "the server could not find the requested resource");
}

/* A NUL, which stands as C0 80 in what was decoded of a URL: as Go quotes it, or as JSON has it. */
#define NUL "\xc0\x80"

static void append_text(struct buf *out, const char *text, const char *nul) {
	autobuf struct buf piece = BUF_INIT(BUF_MAX_DEFAULT);
	buf_append_char(out, '"');
	for (;;) {
		const char *at = strstr(text, NUL);
		buf_reset(&piece);
		api_append_json_string(&piece, text, at ? (size_t)(at - text) : strlen(text));
		buf_append(out, piece.data + 1, piece.len - 2);
		if (!at)
			break;
		buf_append_str(out, nul);
		text = at + strlen(NUL);
	}
	buf_append_char(out, '"');
}

static void member(struct buf *out, const char *name, const char *value, bool *first) {
	if (str_empty(value))
		return;
	if (!*first)
		buf_append_char(out, ',');
	*first = false;
	buf_append_json_string(out, name, strlen(name));
	buf_append_char(out, ':');
	append_text(out, value, "\\u0000");
}

static void details_encode(const struct error *err, struct buf *out) {
	bool first = true;
	buf_append_str(out, ",\"details\":{");
	member(out, "name", err->details_name, &first);
	member(out, "group", err->details_group, &first);
	member(out, "kind", err->details_kind, &first);
	member(out, "uid", err->details_uid, &first);
	if (err->cause_count) {
		buf_append_str(out, first ? "\"causes\":[" : ",\"causes\":[");
		first = false;
		for (size_t i = 0; i < err->cause_count; i++) {
			bool first_member = true;
			buf_append_str(out, i ? ",{" : "{");
			member(out, "reason", err->causes[i].reason, &first_member);
			buf_append_str(out, first_member ? "\"message\":" : ",\"message\":");
			append_text(out, str_or(err->causes[i].message, ""), "\\\\x00");
			first_member = false;
			member(out, "field", err->causes[i].field, &first_member);
			buf_append_char(out, '}');
		}
		buf_append_char(out, ']');
	}
	if (err->retry_after_seconds)
		buf_printf(out, "%s\"retryAfterSeconds\":%d", first ? "" : ",", err->retry_after_seconds);
	buf_append_char(out, '}');
}

void status_encode(const struct error *err, struct buf *out) {
	int code = err->http_code ? err->http_code : 500;
	buf_append_str(out, "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":");
	append_text(out, error_message(err), "\\\\x00");
	const char *reason = err->reason ? err->reason : code == 500 ? "InternalError" : NULL;
	if (!str_empty(reason)) {
		buf_append_str(out, ",\"reason\":");
		buf_append_json_string(out, reason, strlen(reason));
	}
	bool plain = !err->details_name && !err->details_group && !err->details_kind && !err->details_uid && !err->cause_count && !err->retry_after_seconds && !err->empty_details;
	if (!plain)
		details_encode(err, out);
	buf_printf(out, ",\"code\":%d}", code);
}

/* What ends a request for its time is no part of the API: it answers for it, in plain text, with a Status that does not say what it is. */
static bool is_out_of_time(const struct error *err) {
	return err->http_code == 504 && error_is(err, "Timeout") && !err->cause_count && !err->retry_after_seconds && !err->details_kind;
}

static void respond_out_of_time(struct request *r, const struct error *err) {
	autobuf struct buf out = BUF_INIT(64 << 10);
	buf_append_str(&out, "{\"metadata\":{},\"status\":\"Failure\",\"message\":");
	api_append_json_string(&out, error_message(err), strlen(error_message(err)));
	buf_append_str(&out, ",\"reason\":\"Timeout\",\"details\":{},\"code\":504}");
	request_metrics_terminated(r, 504);
	request_respond_text(r, 504, out.data);
}

void request_fail(struct request *r, const struct error *err) {
	audit_error(r, err);
	if (is_out_of_time(err)) {
		respond_out_of_time(r, err);
		return;
	}
	struct buf out = BUF_INIT(1 << 20);
	status_encode(err, &out);
	int code = err->http_code ? err->http_code : 500;
	/* Nothing makes a Table of a Status: it takes the form of what else the client accepts, or of plain JSON. So does what fails before that was settled. */
	if ((!r->accept.settled || r->accept.form != FORM_OBJECT || code == 406) && request_negotiate_plain(r, &r->accept) < 0)
		r->accept = (struct negotiated){.media = MEDIA_JSON, .settled = true, .pretty = true};
	if (err->retry_after_seconds) {
		char seconds[16];
		snprintf(seconds, sizeof(seconds), "%d", err->retry_after_seconds);
		http_add_header(r->http, "Retry-After", seconds);
	}
	request_respond_status(r, code, out.data, out.len);
	buf_done(&out);
}
