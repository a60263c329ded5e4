/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/rest/body.h"

static void admitted(struct write *w) {
	struct request *r = w->r;
	const struct body_admission *admission = w->arg;
	void *body = api_ref(w->object);
	autoerror struct error err = {0};
	write_end(w);
	if (admission->go(r, body, &err) < 0)
		request_fail(r, &err);
}

int body_admit(struct request *r, const struct body_admission *admission, void *take_body) {
	struct write *w = write_new(r, admission->operation);
	struct write_body *body = arena_new_type(r->arena, struct write_body);
	struct body_admission *copy = arena_new_type(r->arena, struct body_admission);
	*body = (struct write_body){.type = api_type_of(take_body)};
	*copy = *admission;
	w->resource = admission->resource;
	w->strategy = w->resource->strategy;
	w->name = admission->name;
	w->subresource = admission->subresource;
	w->body = body;
	w->object = take_body;
	w->arg = copy;
	w->admitted = admitted;
	write_admit(w);
	return REQUEST_TAKEN;
}
