/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/zpages.h"
#include "apiserver/request/steps.h"
#include "common/base/clock.h"
#include "common/base/flags.h"

#include <errno.h>
#include <time.h>

enum zpage_form { ZPAGE_TEXT, ZPAGE_ALPHA, ZPAGE_BETA };

static const char *const paths[] = {"/flagz", "/healthz", "/livez", "/metrics", "/readyz", "/statusz", "/version"};

/* Text to people, and to those who name it a structured form under its kind, of config.k8s.io/v1alpha1 or v1beta1. */
static int negotiate(struct request *r, const char *kind, enum zpage_form *ret, struct error *err) {
	const char *accept = str_or(http_header(r->http, "Accept"), "");
	autofree char *as = xprintf("as=%s", kind);
	if (strstr(accept, as) && strstr(accept, "g=config.k8s.io") && strstr(accept, "application/json")) {
		bool beta = strstr(accept, "v=v1beta1");
		if (beta || strstr(accept, "v=v1alpha1")) {
			*ret = beta ? ZPAGE_BETA : ZPAGE_ALPHA;
			return 0;
		}
	}
	if (!*accept || strstr(accept, "*/*") || strstr(accept, "text/plain") || strstr(accept, "text/*")) {
		*ret = ZPAGE_TEXT;
		return 0;
	}
	return error_status(err, 406, "NotAcceptable", "only the following media types are accepted: application/json, application/yaml, text/plain");
}

static void begin_text(struct buf *out, const char *name) {
	buf_printf(out, "\napiserver %s\nWarning: This endpoint is for people who look for faults: its form may change at any time, no program should read it.\n", name);
}

static void begin_json(struct buf *out, const char *kind, enum zpage_form form) {
	buf_printf(out, "{\n  \"kind\": \"%s\",\n  \"apiVersion\": \"config.k8s.io/%s\",\n  \"metadata\": {\n    \"name\": \"apiserver\"\n  },\n", kind, form == ZPAGE_BETA ? "v1beta1" : "v1alpha1");
}

static int answer(struct request *r, const char *kind, enum zpage_form form, const struct buf *out) {
	if (form == ZPAGE_TEXT) {
		request_respond_text(r, 200, out->data);
		return REQUEST_TAKEN;
	}
	autofree char *type = xprintf("application/json;g=config.k8s.io;v=%s;as=%s", form == ZPAGE_BETA ? "v1beta1" : "v1alpha1", kind);
	if (form == ZPAGE_ALPHA)
		request_warn(r, "This version of the endpoint is deprecated. Please use a newer version.");
	request_add_warnings(r);
	request_finished(r, 200);
	http_respond(r->http, 200, type, out->data, out->len);
	return REQUEST_TAKEN;
}

int statusz_handle(struct request *r, struct error *err) {
	enum zpage_form form;
	int rc = negotiate(r, "Statusz", &form, err);
	if (rc < 0)
		return rc;
	const time_t started = r->server->started.sec;
	int64_t up = clock_wall().sec - started;
	char text[64];
	struct tm tm;
	autobuf struct buf out = BUF_INIT(64 << 10);
	if (form == ZPAGE_TEXT) {
		begin_text(&out, "statusz");
		gmtime_r(&started, &tm);
		strftime(text, sizeof(text), "%a %b %e %H:%M:%S UTC %Y", &tm);
		buf_printf(&out, "\nStarted  %s\nUp  %lld hr %02lld min %02lld sec\nBinary version  1.36\nEmulation version  1.36\nPaths ", text, (long long)up / 3600, (long long)up / 60 % 60, (long long)up % 60);
		for (size_t i = 0; i < array_len(paths); i++)
			buf_printf(&out, " %s", paths[i]);
		buf_append_char(&out, '\n');
		return answer(r, "Statusz", form, &out);
	}
	begin_json(&out, "Statusz", form);
	time_format_rfc3339(r->server->started, text);
	buf_printf(&out, "  \"startTime\": \"%s\",\n  \"uptimeSeconds\": %lld,\n  \"goVersion\": \"\",\n  \"binaryVersion\": \"1.36\",\n  \"emulationVersion\": \"1.36\",\n  \"paths\": [", text, (long long)up);
	for (size_t i = 0; i < array_len(paths); i++)
		buf_printf(&out, "%s\n    \"%s\"", i ? "," : "", paths[i]);
	buf_append_str(&out, "\n  ]\n}");
	return answer(r, "Statusz", form, &out);
}

static int by_name(const void *a, const void *b) {
	return strcmp((*(const struct flag *const *)a)->name, (*(const struct flag *const *)b)->name);
}

int flagz_handle(struct request *r, struct error *err) {
	enum zpage_form form;
	int rc = negotiate(r, "Flagz", &form, err);
	if (rc < 0)
		return rc;
	const struct flag **sorted = arena_calloc(r->arena, apiserver_flag_count, sizeof(*sorted));
	for (size_t i = 0; i < apiserver_flag_count; i++)
		sorted[i] = &apiserver_flags[i];
	qsort(sorted, apiserver_flag_count, sizeof(*sorted), by_name);
	autobuf struct buf out = BUF_INIT(1 << 20);
	if (form == ZPAGE_TEXT)
		begin_text(&out, "flagz");
	else
		begin_json(&out, "Flagz", form);
	if (form != ZPAGE_TEXT)
		buf_append_str(&out, "  \"flags\": {");
	for (size_t i = 0; i < apiserver_flag_count; i++) {
		autobuf struct buf value = BUF_INIT(256 << 10);
		flag_format(sorted[i], r->server->options, &value);
		if (form == ZPAGE_TEXT) {
			buf_printf(&out, "%s=%s\n", sorted[i]->name, str_or(value.data, ""));
			continue;
		}
		buf_printf(&out, "%s\n    \"%s\": ", i ? "," : "", sorted[i]->name);
		buf_append_json_string(&out, str_or(value.data, ""), value.len);
	}
	if (form != ZPAGE_TEXT)
		buf_append_str(&out, "\n  }\n}");
	return answer(r, "Flagz", form, &out);
}
