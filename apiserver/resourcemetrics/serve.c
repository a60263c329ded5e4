/* SPDX-License-Identifier: Apache-2.0 */
/* get and list of nodes and pods in metrics.k8s.io. The objects are made for the answer: nothing of them is stored, so they cannot be watched. */
#include "apiserver/printers/table.h"
#include "apiserver/request/steps.h"
#include "apiserver/resourcemetrics/resourcemetrics.h"
#include "apiserver/resourcemetrics/scraper.h"
#include "apiserver/rest/query.h"
#include "common/api/yaml.h"

#include "api/meta_v1.h"
#include "api/metrics_v1beta1.h"

#include <errno.h>

#define MAX_BODY ((size_t)256 << 20)

/* v1 has the same types as v1beta1 under its own name: objects are built as v1beta1 and take the version that was asked for. */
typedef struct metrics_v1beta1_node_metrics node_metrics;
typedef struct metrics_v1beta1_pod_metrics pod_metrics;

static void fill_usage(struct arena *arena, struct api_quantity_map *map, const struct usage *usage) {
	struct quantity cpu = {.nano = usage->cpu_nano, .format = QUANTITY_DECIMAL_SI, .set = true};
	api_quantity_set(arena, map, "cpu", cpu);
	/* Whole Ki, as metrics-server rounds: bytes would be noise. */
	api_quantity_set(arena, map, "memory", quantity_of((int64_t)(usage->memory & ~(uint64_t)1023), QUANTITY_BINARY_SI));
}

static void fill_metadata(void *object, const struct entry *of) {
	struct meta_v1_object_meta *meta = api_metadata(object);
	struct arena *arena = api_arena(object);
	meta->name = arena_strdup(arena, of->name);
	meta->namespace = *of->ns ? arena_strdup(arena, of->ns) : NULL;
	meta->creation_timestamp = api_time_now();
	api_copy_string_map(arena, &meta->labels, &of->labels);
}

static void *make_node(struct request *r, const struct entry *entry) {
	autousage struct node_usage *usage = scraper_usage(r->server->scraper, entry->name);
	const struct usage *node = usage ? node_usage_node(usage) : NULL;
	if (!node)
		return NULL;
	node_metrics *object = api_new(r->resource->type);
	fill_metadata(object, entry);
	object->timestamp = (struct api_time){.t = {node->at.sec, 0}, .set = true};
	object->window.ns = node->window_ns / NSEC_PER_MSEC * NSEC_PER_MSEC;
	fill_usage(api_arena(object), &object->usage, node);
	return object;
}

static void *make_pod(struct request *r, const struct entry *entry) {
	const char *node = api_map_get(&entry->fields, "spec.nodeName");
	if (str_empty(node) || !str_equal(api_map_get(&entry->fields, "status.phase"), "Running"))
		return NULL;
	autousage struct node_usage *usage = scraper_usage(r->server->scraper, node);
	const struct pod_usage *pod = usage ? node_usage_pod(usage, entry->ns, entry->name) : NULL;
	if (!pod || !pod->count)
		return NULL;
	pod_metrics *object = api_new(r->resource->type);
	struct arena *arena = api_arena(object);
	fill_metadata(object, entry);
	/* The pod is as old as the oldest of its containers' numbers. */
	const struct usage *oldest = &pod->containers[0].usage;
	for (size_t i = 0; i < pod->count; i++) {
		struct metrics_v1beta1_container_metrics *container = api_list_add(arena, &object->containers);
		container->name = arena_strdup(arena, pod->containers[i].name);
		fill_usage(arena, &container->usage, &pod->containers[i].usage);
		if (time_diff_ns(pod->containers[i].usage.at, oldest->at) < 0)
			oldest = &pod->containers[i].usage;
	}
	object->timestamp = (struct api_time){.t = {oldest->at.sec, 0}, .set = true};
	object->window.ns = oldest->window_ns / NSEC_PER_MSEC * NSEC_PER_MSEC;
	return object;
}

/* ---- Tables ---- */

static void cell_quantity(struct cells *cells, const struct quantity *q) {
	char text[64] = "";
	if (q)
		quantity_format(q, text);
	cell_string(cells, text);
}

static void cell_window(struct cells *cells, int64_t ns) {
	char text[40];
	duration_format(ns, text);
	cell_string(cells, text);
}

static void node_cells(const void *object, struct cells *cells) {
	const node_metrics *m = object;
	cell_string(cells, m->metadata.name);
	cell_quantity(cells, api_quantity_get(&m->usage, "cpu"));
	cell_quantity(cells, api_quantity_get(&m->usage, "memory"));
	cell_window(cells, m->window.ns);
}

static void pod_cells(const void *object, struct cells *cells) {
	const pod_metrics *m = object;
	struct quantity cpu = {0}, memory = {0};
	for (uint32_t i = 0; i < m->containers.len; i++) {
		quantity_add(&cpu, api_quantity_get(&m->containers.items[i].usage, "cpu"));
		quantity_add(&memory, api_quantity_get(&m->containers.items[i].usage, "memory"));
	}
	cell_string(cells, m->metadata.name);
	cell_quantity(cells, &cpu);
	cell_quantity(cells, &memory);
	cell_window(cells, m->window.ns);
}

const struct printer printers_metrics[] = {
	{"metrics.k8s.io", "nodes", node_cells},
	{"metrics.k8s.io", "pods", pod_cells},
	{0},
};

/* ---- requests ---- */

static void *make(struct request *r, const struct entry *entry) {
	return r->resource->api->namespaced ? make_pod(r, entry) : make_node(r, entry);
}

static const struct resource *source_of(struct request *r) {
	return registry_find(r->server->registry, "", "v1", r->resource->api->plural);
}

static int get(struct request *r, struct error *err) {
	autoentry struct entry *entry = collection_get(source_of(r)->collection, resource_key(r->arena, r->resource, r->ns, r->name));
	autounref void *object = entry ? make(r, entry) : NULL;
	if (!object)
		return error_not_found(err, r->resource, r->name);
	request_respond_object(r, 200, r->resource->type, object);
	return REQUEST_TAKEN;
}

static void list_json(struct request *r, const struct list_query *query, const struct snapshot *snapshot, struct buf *out) {
	size_t first = 0, end = snapshot->len;
	bool any = false, table = r->accept.form == FORM_TABLE;
	const struct api_resource *api = r->resource->api;
	if (query->prefix[0])
		snapshot_range(snapshot, query->prefix, &first, &end);
	if (table)
		buf_printf(out, "{\"kind\":\"Table\",\"apiVersion\":\"%s\",\"metadata\":{},", render_meta_version(&r->accept));
	else if (r->accept.form == FORM_PARTIAL)
		buf_printf(out, "{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"%s\",\"metadata\":{},\"items\":[", render_meta_version(&r->accept));
	else
		buf_printf(out, "{\"kind\":\"%s\",\"apiVersion\":\"metrics.k8s.io/%s\",\"metadata\":{},\"items\":[", api->list_type->kind, api->version);
	if (table) {
		table_columns(r->resource, out);
		buf_append_str(out, ",\"rows\":[");
	}
	for (size_t i = first; i < end; i++) {
		struct entry *entry = snapshot_entry(snapshot, i);
		autounref void *object = list_query_matches(query, entry) ? make(r, entry) : NULL;
		autobuf struct buf json = BUF_INIT(1 << 20);
		if (!object)
			continue;
		if (any)
			buf_append_char(out, ',');
		any = true;
		api_encode(object, &json);
		if (table)
			table_row(r->resource, &r->accept, object, json.data, json.len, request_include_object(r), out);
		else if (r->accept.form == FORM_PARTIAL)
			partial_metadata(&r->accept, json.data, json.len, out);
		else
			buf_append(out, json.data, json.len);
	}
	buf_append_str(out, "]}");
}

static int respond_list(struct request *r, const struct buf *json, struct error *err) {
	if (r->accept.form == FORM_OBJECT && r->accept.media == MEDIA_PROTOBUF) {
		autounref void *list = NULL;
		struct api_decode_options options = {.validation = API_IGNORE};
		int rc = api_decode_json(r->resource->api->list_type, json->data, json->len, &options, &list, err);
		if (rc < 0)
			return rc;
		request_respond_object(r, 200, r->resource->api->list_type, list);
		return REQUEST_TAKEN;
	}
	if (r->accept.media == MEDIA_YAML) {
		autobuf struct buf yaml = BUF_INIT(MAX_BODY);
		yaml_from_json(json->data, json->len, &yaml, NULL);
		request_finished(r, 200);
		http_respond(r->http, 200, "application/yaml", yaml.data, yaml.len);
		return REQUEST_TAKEN;
	}
	request_respond_json(r, 200, json->data, json->len);
	return REQUEST_TAKEN;
}

static int list(struct request *r, struct error *err) {
	struct list_query *query;
	int rc = list_query_parse(r, &query, err);
	if (rc < 0)
		return rc;
	autosnapshot struct snapshot *snapshot = collection_snapshot(source_of(r)->collection);
	autobuf struct buf json = BUF_INIT(MAX_BODY);
	list_json(r, query, snapshot, &json);
	list_query_free(query);
	if (buf_failed(&json))
		return error_internal(err, "the list is too large");
	return respond_list(r, &json, err);
}

int resource_metrics_handle(struct request *r, struct error *err) {
	return r->name ? get(r, err) : list(r, err);
}
