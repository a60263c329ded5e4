/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/request/render.h"
#include "apiserver/printers/printer.h"
#include "api/meta_v1.h"

enum include_object request_include_object(const struct request *r) {
	const char *value = http_query(r->http, "includeObject");
	if (str_equal(value, "None"))
		return INCLUDE_NONE;
	return str_equal(value, "Object") ? INCLUDE_OBJECT : INCLUDE_METADATA;
}

bool render_is_identity(const struct render *render) {
	return render->accept.form == FORM_OBJECT && render->accept.media != MEDIA_PROTOBUF && resource_is_identity(render->resource);
}

const char *render_meta_version(const struct negotiated *accept) {
	return accept->beta ? "meta.k8s.io/v1beta1" : "meta.k8s.io/v1";
}

void partial_metadata(const struct negotiated *accept, const char *json, size_t len, struct buf *out) {
	size_t meta_len;
	const char *meta = json_text_find(json, len, "metadata", &meta_len);
	buf_printf(out, "{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"%s\",\"metadata\":", render_meta_version(accept));
	if (meta)
		buf_append(out, meta, meta_len);
	else
		buf_append_str(out, "{}");
	buf_append_char(out, '}');
}

int partial_metadata_object(const struct negotiated *accept, const char *json, size_t len, void **ret_object) {
	autobuf struct buf text = BUF_INIT(BUF_MAX_DEFAULT);
	partial_metadata(accept, json, len, &text);
	return api_decode_json(&meta_v1_partial_object_metadata_type, text.data, text.len, NULL, ret_object, NULL);
}

bool render_is_protobuf(const struct negotiated *accept) {
	return accept->media == MEDIA_PROTOBUF && accept->form != FORM_TABLE;
}

static void json_member(struct buf *out, const char *name, const char *value) {
	buf_append_json_string(out, name, strlen(name));
	buf_append_char(out, ':');
	buf_append_json_string(out, value ? value : "", value ? strlen(value) : 0);
}

void table_columns(const struct resource *resource, struct buf *out) {
	size_t count;
	const struct api_column *columns = printer_columns(resource, &count);
	buf_append_str(out, "\"columnDefinitions\":[");
	for (size_t i = 0; i < count; i++) {
		buf_append_str(out, i ? ",{" : "{");
		json_member(out, "name", columns[i].name);
		buf_append_char(out, ',');
		json_member(out, "type", columns[i].type);
		buf_append_char(out, ',');
		json_member(out, "format", columns[i].format);
		buf_append_char(out, ',');
		json_member(out, "description", columns[i].doc);
		buf_printf(out, ",\"priority\":%d}", columns[i].priority);
	}
	buf_append_char(out, ']');
}

void table_row(const struct resource *resource, const struct negotiated *accept, const void *object, const char *json, size_t len, enum include_object include, struct buf *out) {
	buf_append_str(out, "{\"cells\":[");
	printer_cells(resource, object, out);
	buf_append_char(out, ']');
	if (include == INCLUDE_METADATA) {
		buf_append_str(out, ",\"object\":");
		partial_metadata(accept, json, len, out);
	} else if (include == INCLUDE_OBJECT) {
		buf_append_str(out, ",\"object\":");
		buf_append(out, json, len);
	} else {
		buf_append_str(out, ",\"object\":null");
	}
	buf_append_char(out, '}');
}

/* Puts the metadata alone in the place of what was decoded, for protobuf. */
static int to_partial(const struct negotiated *accept, const struct buf *json, void **object) {
	void *partial;
	int rc = partial_metadata_object(accept, json->data, json->len, &partial);
	if (rc < 0)
		return rc;
	api_unref(*object);
	*object = partial;
	return 0;
}

/* Puts the entry into `out` in the resource's version as JSON; *ret_object gets the decoded form where it was needed, or NULL. */
static int entry_json(const struct render *render, struct entry *entry, bool need_object, struct buf *out, void **ret_object) {
	*ret_object = NULL;
	bool identity = resource_is_identity(render->resource);
	if (identity)
		buf_append(out, entry->json->data, entry->json->len);
	if (identity && !need_object)
		return 0;
	void *object;
	int rc = resource_decode(render->resource, entry, &object, NULL);
	if (rc < 0)
		return rc;
	if (!identity)
		api_encode_json(render->resource->type, object, out);
	*ret_object = object;
	return 0;
}

void render_table_of_one(const struct render *render, const void *object, const struct buf *json, uint64_t revision, bool with_columns, struct buf *out) {
	buf_printf(out, "{\"kind\":\"Table\",\"apiVersion\":\"%s\",\"metadata\":{\"resourceVersion\":\"", render_meta_version(&render->accept));
	buf_append_uint(out, revision);
	buf_append_str(out, "\"},");
	if (with_columns)
		table_columns(render->resource, out);
	else
		buf_append_str(out, "\"columnDefinitions\":null");
	buf_append_str(out, ",\"rows\":[");
	table_row(render->resource, &render->accept, object, json->data, json->len, render->include, out);
	buf_append_str(out, "]}");
}

struct bytes *render_event_object(const struct render *render, struct entry *entry, bool with_columns) {
	if (render_is_identity(render))
		return bytes_ref(entry->json);
	autobuf struct buf json = BUF_INIT(BUF_MAX_DEFAULT);
	void *object;
	bool protobuf = render_is_protobuf(&render->accept);
	if (entry_json(render, entry, render->accept.form == FORM_TABLE || (protobuf && render->accept.form == FORM_OBJECT), &json, &object) < 0)
		return NULL;
	if (protobuf && render->accept.form == FORM_PARTIAL && to_partial(&render->accept, &json, &object) < 0) {
		api_unref(object);
		return NULL;
	}
	autobuf struct buf out = BUF_INIT(BUF_MAX_DEFAULT);
	if (render->accept.form == FORM_TABLE) {
		render_table_of_one(render, object, &json, entry->resource_version, with_columns, &out);
	} else if (protobuf) {
		api_encode_protobuf(api_type_of(object), object, &out);
	} else if (render->accept.form == FORM_PARTIAL) {
		partial_metadata(&render->accept, json.data, json.len, &out);
	} else {
		buf_append(&out, json.data, json.len);
	}
	api_unref(object);
	return buf_to_bytes(&out);
}

struct bytes *render_item(const struct render *render, struct entry *entry) {
	if (render->accept.form != FORM_TABLE && !render_is_protobuf(&render->accept))
		return render_event_object(render, entry, false);
	autobuf struct buf json = BUF_INIT(BUF_MAX_DEFAULT);
	void *object;
	if (entry_json(render, entry, render->accept.form != FORM_PARTIAL, &json, &object) < 0)
		return NULL;
	if (render->accept.form == FORM_PARTIAL && to_partial(&render->accept, &json, &object) < 0) {
		api_unref(object);
		return NULL;
	}
	autobuf struct buf out = BUF_INIT(BUF_MAX_DEFAULT);
	if (render->accept.form == FORM_TABLE)
		table_row(render->resource, &render->accept, object, json.data, json.len, render->include, &out);
	else
		api_encode_protobuf_message(api_type_of(object), object, &out);
	api_unref(object);
	return buf_to_bytes(&out);
}

void render_object(const struct resource *resource, const struct negotiated *accept, const struct api_type *type, const void *object, struct request *r, struct buf *out) {
	if (accept->form == FORM_OBJECT || !resource || type != resource->type) {
		api_encode_json(type, object, out);
		return;
	}
	autobuf struct buf json = BUF_INIT(BUF_MAX_DEFAULT);
	api_encode_json(type, object, &json);
	if (accept->form == FORM_PARTIAL) {
		partial_metadata(accept, json.data, json.len, out);
		return;
	}
	size_t rv_len = 0;
	const char *rv = json_text_find(json.data, json.len, "metadata.resourceVersion", &rv_len);
	buf_printf(out, "{\"kind\":\"Table\",\"apiVersion\":\"%s\",\"metadata\":{", render_meta_version(accept));
	if (rv) {
		buf_append_str(out, "\"resourceVersion\":");
		buf_append(out, rv, rv_len);
	}
	buf_append_str(out, "},");
	table_columns(resource, out);
	buf_append_str(out, ",\"rows\":[");
	table_row(resource, accept, object, json.data, json.len, r ? request_include_object(r) : INCLUDE_METADATA, out);
	buf_append_str(out, "]}");
}
