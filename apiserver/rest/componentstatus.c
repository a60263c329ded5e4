/* SPDX-License-Identifier: Apache-2.0 */
/* Component statuses: etcd's health is what this server knows. */
#include "apiserver/request/render.h"
#include "apiserver/rest/review.h"
#include "api/core_v1.h"
#include "common/api/codec.h"

#include <errno.h>

static struct core_v1_component_status *make_status(struct request *r) {
	struct core_v1_component_status *status = api_new_of(core_v1_component_status);
	struct arena *arena = api_arena(status);
	autoerror struct error why = {0};
	bool healthy = store_healthy(r->server->store, &why);
	status->metadata.name = "etcd-0";
	struct core_v1_component_condition *condition = api_list_add(arena, &status->conditions);
	*condition = (struct core_v1_component_condition){.type = "Healthy", .status = healthy ? "True" : "False", .message = healthy ? "ok" : "etcd does not answer"};
	return status;
}

static int list(struct request *r, struct error *err) {
	if (r->accept.form == FORM_PARTIAL && request_check_fit(r, err) < 0)
		return -EINVAL;
	autounref struct core_v1_component_status *status = make_status(r);
	autobuf struct buf item = BUF_INIT(1u << 20), out = BUF_INIT(1u << 20);
	api_encode(status, &item);
	if (r->accept.form == FORM_TABLE) {
		buf_printf(&out, "{\"kind\":\"Table\",\"apiVersion\":\"%s\",\"metadata\":{},", render_meta_version(&r->accept));
		table_columns(r->resource, &out);
		buf_append_str(&out, ",\"rows\":[");
		table_row(r->resource, &r->accept, status, item.data, item.len, request_include_object(r), &out);
	} else if (r->accept.form == FORM_PARTIAL) {
		buf_printf(&out, "{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"%s\",\"metadata\":{},\"items\":[", render_meta_version(&r->accept));
		partial_metadata(&r->accept, item.data, item.len, &out);
	} else {
		struct core_v1_component_status_list *all = api_new_of(core_v1_component_status_list);
		struct core_v1_component_status *one = api_list_add(api_arena(all), &all->items);
		api_copy_value(&core_v1_component_status_type, one, status, api_arena(all));
		one->kind = one->api_version = NULL; /* the list says it */
		request_respond_object(r, 200, &core_v1_component_status_list_type, all);
		api_unref(all);
		return REQUEST_TAKEN;
	}
	buf_append_str(&out, "]}");
	request_respond_json(r, 200, out.data, out.len);
	return REQUEST_TAKEN;
}

int component_statuses_handle(struct request *r, struct error *err) {
	if (!r->name)
		return list(r, err);
	if (strcmp(r->name, "etcd-0") != 0) {
		error_status(err, 404, "NotFound", "componentstatus \"%s\" not found", r->name);
		error_details(err, NULL, "componentstatus", r->name);
		return -ENOENT;
	}
	autounref struct core_v1_component_status *status = make_status(r);
	request_respond_object(r, 200, &core_v1_component_status_type, status);
	return REQUEST_TAKEN;
}
