/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/zpages.h"
#include "apiserver/request/steps.h"
#include "common/daemon/zpages.h"

#include <errno.h>

#define NAME "apiserver"
#define PAGE_MAX ((size_t)1 << 20)

static const char *const paths[] = {"/flagz", "/healthz", "/livez", "/metrics", "/readyz", "/statusz", "/version"};

static int negotiate(struct request *r, const char *kind, enum zpage_form *ret, struct error *err) {
	return zpage_negotiate(http_header(r->http, "Accept"), kind, ret) ? 0 : error_status(err, 406, "NotAcceptable", ZPAGE_NOT_ACCEPTABLE);
}

static int answer(struct request *r, const char *kind, enum zpage_form form, const struct buf *out) {
	if (form == ZPAGE_TEXT) {
		request_respond_text(r, 200, out->data);
		return REQUEST_TAKEN;
	}
	autofree char *type = zpage_content_type(kind, form);
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
	autobuf struct buf out = BUF_INIT(PAGE_MAX);
	zpage_statusz(&out, form, NAME, r->server->started, paths, array_len(paths));
	return answer(r, "Statusz", form, &out);
}

int flagz_handle(struct request *r, struct error *err) {
	enum zpage_form form;
	int rc = negotiate(r, "Flagz", &form, err);
	if (rc < 0)
		return rc;
	autobuf struct buf out = BUF_INIT(PAGE_MAX);
	zpage_flagz(&out, form, NAME, apiserver_flags, apiserver_flag_count, r->server->options);
	return answer(r, "Flagz", form, &out);
}
