/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LIST: a view of the collection, handed to the socket object by object as it drains. Only the references of what was chosen are held, never
 * the body.
 */
#include "apiserver/audit/audit.h"
#include "apiserver/printers/printer.h"
#include "apiserver/rest/query.h"
#include "apiserver/rest/write.h"
#include "apiserver/custom/custom.h"
#include "apiserver/request/metrics.h"
#include "apiserver/request/steps.h"
#include "apiserver/webhook/convert.h"
#include "common/api/yaml.h"

#include <errno.h>

#define CHUNK_BYTES (64u << 10) /* small objects are joined up to this much */

struct list_stream {
	struct render render;
	struct snapshot *snapshot; /* where whole ranges are sent: those that `scan` walks over */
	struct snapshot_scan scan;
	struct entry **entries;    /* where some were chosen */
	size_t next, end;
	struct bytes *head;        /* sent first; NULL once sent */
	const char *tail;          /* NULL once sent */
	bool any;
	char *kind;                /* how an item's text begins; left out of typed lists; NULL: kept */
	size_t kind_len;
	struct bytes *large;       /* the object under way that is sent slice by slice: readers that do not read must not hold copies of it */
	size_t large_at;
};

/* The entry at s->next, which moves on. */
static struct entry *stream_entry(struct list_stream *s) {
	size_t i = s->next++;
	return s->entries ? s->entries[i] : snapshot_scan_next(&s->scan);
}

static void stream_free(void *arg) {
	struct list_stream *s = arg;
	for (size_t i = 0; s->entries && i < s->end; i++)
		entry_unref(s->entries[i]);
	free(s->entries);
	free(s->kind);
	snapshot_unref(s->snapshot);
	bytes_unref(s->head);
	bytes_unref(s->large);
	free(s);
}

/*
 * Items of a typed list do not say their kind: the list does. What stands before the rest of the item's text, brace included;
 * 0 where the item is sent as it is.
 */
static size_t kind_prefix(const struct list_stream *s, const struct bytes *item) {
	return s->kind && item->len > s->kind_len && memcmp(item->data, s->kind, s->kind_len) == 0 ? s->kind_len : 0;
}

/* As much of the large object as the chunk takes. */
static void append_slice(struct list_stream *s, struct buf *chunk) {
	size_t len = min_of(s->large->len - s->large_at, (size_t)CHUNK_BYTES - chunk->len);
	buf_append(chunk, s->large->data + s->large_at, len);
	s->large_at += len;
	if (s->large_at == s->large->len)
		s->large = bytes_unref(s->large);
}

/* The next piece: joined small objects, or a part of a large one; a large one by itself is sent as it is. */
static int stream_next(void *arg, struct bytes **ret) {
	struct list_stream *s = arg;
	if (s->large && !s->large_at) {
		*ret = take_ptr(s->large);
		return 1;
	}
	autobuf struct buf chunk = BUF_INIT(BUF_MAX_DEFAULT);
	if (s->head) {
		buf_append(&chunk, s->head->data, s->head->len);
		s->head = bytes_unref(s->head);
	}
	while (chunk.len < CHUNK_BYTES && (s->large || s->next < s->end)) {
		if (s->large) {
			append_slice(s, &chunk);
			continue;
		}
		autobytes struct bytes *item = render_item(&s->render, stream_entry(s));
		if (!item)
			continue;
		if (s->any)
			buf_append_char(&chunk, ',');
		s->any = true;
		size_t skip = kind_prefix(s, item);
		if (skip)
			buf_append_char(&chunk, '{');
		if (item->len < CHUNK_BYTES) {
			buf_append(&chunk, item->data + skip, item->len - skip);
			continue;
		}
		s->large = take_ptr(item);
		s->large_at = skip;
		if (!skip)
			break;
	}
	if (!s->large && s->next >= s->end && s->tail) {
		buf_append_str(&chunk, s->tail);
		s->tail = NULL;
	}
	if (!chunk.len)
		return 0;
	*ret = buf_to_bytes(&chunk);
	return 1;
}

static int64_t total_length(const struct list_stream *s) {
	if (!render_is_identity(&s->render))
		return -1;
	size_t count = s->end - s->next;
	int64_t total = (int64_t)s->head->len + (int64_t)strlen(s->tail) + (count ? (int64_t)count - 1 : 0);
	struct list_stream ahead = *s;
	while (ahead.next < ahead.end) {
		const struct bytes *json = stream_entry(&ahead)->json;
		size_t skip = kind_prefix(s, json);
		total += (int64_t)(json->len - skip + (skip ? 1 : 0));
	}
	return total;
}

struct list_meta {
	uint64_t revision;
	char *continue_token; /* NULL: none; owned by the caller */
	int64_t remaining;    /* -1: not said */
};

/* none: there is no item, where Go leaves some lists out: metadata alone, and rows that nobody has cells for. */
static struct bytes *list_head(struct request *r, const struct list_meta *meta, bool none) {
	autobuf struct buf out = BUF_INIT(1 << 20);
	const struct api_resource *api = r->resource->api;
	if (r->accept.form == FORM_TABLE)
		buf_printf(&out, "{\"kind\":\"Table\",\"apiVersion\":\"%s\",\"metadata\":{\"resourceVersion\":\"", render_meta_version(&r->accept));
	else if (r->accept.form == FORM_PARTIAL)
		buf_printf(&out, "{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"%s\",\"metadata\":{\"resourceVersion\":\"", render_meta_version(&r->accept));
	else
		buf_printf(&out, "{\"kind\":\"%s\",\"apiVersion\":\"%s%s%s\",\"metadata\":{\"resourceVersion\":\"", api->list_type ? api->list_type->kind : "List", resource_group(r->resource), *resource_group(r->resource) ? "/" : "", api->version);
	buf_append_uint(&out, meta->revision);
	buf_append_char(&out, '"');
	/* Lists of custom resources name it in any case. */
	if (meta->continue_token || (r->resource->custom && r->accept.form == FORM_OBJECT))
		buf_printf(&out, ",\"continue\":\"%s\"", str_or(meta->continue_token, ""));
	if (meta->remaining >= 0)
		buf_printf(&out, ",\"remainingItemCount\":%lld", (long long)meta->remaining);
	buf_append_str(&out, "},");
	if (r->accept.form == FORM_TABLE) {
		table_columns(r->resource, &out);
		buf_append_str(&out, none && !printer_is_known(r->resource) ? ",\"rows\":null" : ",\"rows\":[");
	} else {
		buf_append_str(&out, none && r->accept.form == FORM_PARTIAL ? "\"items\":null" : "\"items\":[");
	}
	return buf_to_bytes(&out);
}

static void append_varint(struct buf *out, uint64_t value) {
	for (; value >= 0x80; value >>= 7)
		buf_append_char(out, (char)(value | 0x80));
	buf_append_char(out, (char)value);
}

static void append_field(struct buf *out, unsigned number, const void *data, size_t len) {
	append_varint(out, number << 3 | 2);
	append_varint(out, len);
	buf_append(out, data, len);
}

/* A list in protobuf: runtime.Unknown around {ListMeta metadata = 1; repeated T items = 2}, as all list kinds are laid out. */
static void respond_protobuf(struct request *r, struct list_stream *s, const struct list_meta *meta) {
	autobuf struct buf list_meta = BUF_INIT(1 << 20), raw = BUF_INIT(BUF_MAX_DEFAULT), type_meta = BUF_INIT(4096), out = BUF_INIT(BUF_MAX_DEFAULT);
	autofree char *rv = xprintf("%llu", (unsigned long long)meta->revision);
	append_field(&list_meta, 1, "", 0);
	append_field(&list_meta, 2, rv, strlen(rv));
	append_field(&list_meta, 3, str_or(meta->continue_token, ""), strlen(str_or(meta->continue_token, "")));
	if (meta->remaining >= 0) {
		append_varint(&list_meta, 4 << 3);
		append_varint(&list_meta, (uint64_t)meta->remaining);
	}
	append_field(&raw, 1, list_meta.data, list_meta.len);
	while (s->next < s->end) {
		autobytes struct bytes *item = render_item(&s->render, stream_entry(s));
		if (item)
			append_field(&raw, 2, item->data, item->len);
	}
	const struct api_resource *api = r->resource->api;
	bool partial = r->accept.form == FORM_PARTIAL;
	autofree char *version = partial ? xstrdup(render_meta_version(&r->accept)) : *resource_group(r->resource) ? xprintf("%s/%s", api->group, api->version) : xstrdup(api->version);
	const char *kind = partial ? "PartialObjectMetadataList" : api->list_type ? api->list_type->kind : "List";
	append_field(&type_meta, 1, version, strlen(version));
	append_field(&type_meta, 2, kind, strlen(kind));
	buf_append(&out, "k8s\0", 4);
	append_field(&out, 1, type_meta.data, type_meta.len);
	append_field(&out, 2, raw.data, raw.len);
	append_field(&out, 3, "", 0);
	append_field(&out, 4, "", 0);
	stream_free(s);
	request_add_warnings(r);
	request_metrics_size(r, out.len);
	request_finished(r, 200);
	struct bytes *bytes = buf_to_bytes(&out);
	request_respond_large(r, 200, PROTOBUF_TYPE, bytes);
}

static void respond_stream(struct request *r, struct list_stream *s, const struct list_meta *meta) {
	s->render = (struct render){.resource = r->resource, .accept = r->accept, .include = request_include_object(r)};
	if (render_is_protobuf(&r->accept)) {
		respond_protobuf(r, s, meta);
		return;
	}
	bool none = s->next >= s->end, bare = none && (r->accept.form == FORM_PARTIAL || (r->accept.form == FORM_TABLE && !printer_is_known(r->resource)));
	s->head = list_head(r, meta, none);
	const struct api_type *type = r->resource->type;
	if (r->accept.form == FORM_OBJECT && !r->resource->custom) {
		s->kind = xprintf("{\"kind\":\"%s\",\"apiVersion\":\"%s%s%s\",", type->kind, str_or(type->group, ""), str_empty(type->group) ? "" : "/", type->version);
		s->kind_len = strlen(s->kind);
	}
	s->tail = bare ? "}\n" : "]}\n";
	if (r->accept.pretty || r->accept.media == MEDIA_YAML || audit_wants_response(r)) {
		autobuf struct buf body = BUF_INIT(BUF_MAX_DEFAULT);
		struct bytes *piece;
		while (stream_next(s, &piece)) {
			buf_append(&body, piece->data, piece->len);
			bytes_unref(piece);
		}
		stream_free(s);
		if (r->accept.media == MEDIA_JSON) {
			request_respond_json(r, 200, body.data, body.len);
			return;
		}
		audit_response(r, body.data, body.len);
		autobuf struct buf yaml = BUF_INIT(BUF_MAX_DEFAULT);
		yaml_from_json(body.data, body.len, &yaml, NULL);
		request_add_warnings(r);
		request_finished(r, 200);
		request_respond_large(r, 200, "application/yaml", buf_to_bytes(&yaml));
		return;
	}
	int64_t total = total_length(s);
	request_add_warnings(r);
	request_metrics_size(r, total > 0 ? (size_t)total : 0);
	request_finished(r, 200);
	request_respond_pull(r, 200, "application/json", total, stream_next, stream_free, s);
}

void list_respond_entries(struct request *r, struct entry **entries, size_t len, uint64_t revision, const char *continue_token, int64_t remaining) {
	struct list_stream *s = xnew(struct list_stream);
	s->entries = entries;
	s->end = len;
	respond_stream(r, s, &(struct list_meta){.revision = revision, .continue_token = (char *)continue_token, .remaining = remaining});
}

/* ---- choosing the view ---- */

static int expired(struct request *r, const struct list_query *query, const char *start, struct error *err) {
	/* The token in the answer lets a client go on, with a view of now. */
	autofree char *token = start ? continue_encode(-1, start, query->prefix) : NULL;
	if (!start)
		return error_status(err, 410, "Expired", "The resourceVersion for the provided list is too old.");
	autobuf struct buf out = BUF_INIT(64 << 10);
	buf_append_str(&out, "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{\"continue\":\"");
	buf_append_str(&out, token);
	buf_append_str(&out, "\"},\"status\":\"Failure\",\"message\":\"The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.\",\"reason\":\"Expired\",\"code\":410}");
	request_respond_json(r, 410, out.data, out.len);
	return REQUEST_TAKEN;
}

static int choose_view(struct request *r, struct list_query *query, uint64_t revision, bool exact, const char *start, struct snapshot **ret, struct error *err) {
	if (!exact) {
		*ret = collection_snapshot(r->resource->collection);
		return 0;
	}
	int rc = collection_snapshot_at(r->resource->collection, revision, ret);
	if (rc == -ESTALE)
		return expired(r, query, start, err);
	if (rc < 0) {
		rc = error_status(err, 504, "Timeout", "Timeout: Too large resource version: %llu, current: %llu", (unsigned long long)revision, (unsigned long long)store_revision(r->server->store));
		error_cause(err, "ResourceVersionTooLarge", NULL, "Too large resource version");
		/* Kubernetes waits for what a token of the future tells of, but among Events, which it does not keep at hand. */
		err->retry_after_seconds = start && strcmp(r->plural, "events") == 0 ? 0 : 1;
		return rc;
	}
	return 0;
}

/* One page: up to limit entries from `start`, with the token of what comes after. */
static void choose_page(struct list_query *query, struct list_stream *s, size_t first, size_t end, struct list_meta *meta) {
	const struct snapshot *snapshot = s->snapshot;
	bool all = list_query_selects_all(query);
	size_t limit = query->limit > 0 ? (size_t)query->limit : SIZE_MAX;
	if (all) {
		s->next = first;
		s->end = end - first > limit ? first + limit : end;
		s->scan = snapshot_scan_over(snapshot, first, s->end, 0);
		if (s->end < end) {
			meta->continue_token = continue_encode((int64_t)meta->revision, snapshot_entry(snapshot, s->end - 1)->key, query->prefix);
			meta->remaining = (int64_t)(end - s->end);
		}
		return;
	}
	size_t cap = 0, len = 0;
	struct snapshot_scan scan = snapshot_scan_over(snapshot, first, end, query->marks);
	for (struct entry *entry; (entry = snapshot_scan_next(&scan));) {
		if (!list_query_matches(query, entry))
			continue;
		if (len == limit) {
			meta->continue_token = continue_encode((int64_t)meta->revision, s->entries[len - 1]->key, query->prefix);
			break;
		}
		if (len == cap) {
			cap = cap ? cap * 2 : 64;
			s->entries = xreallocarray(s->entries, cap, sizeof(*s->entries));
		}
		s->entries[len++] = entry_ref(entry);
	}
	if (!s->entries)
		s->entries = xcalloc(1, sizeof(*s->entries));
	s->end = len;
}

/* Of a page that is not the last one. */
static const char *last_key(const struct list_stream *s) {
	return s->entries ? s->entries[s->end - 1]->key : snapshot_entry(s->snapshot, s->end - 1)->key;
}

int list_check_readable(const struct request *r, const struct list_query *query, const char *from, const char *last, struct error *err) {
	struct collection *collection = r->resource->collection;
	if (!collection_has_unreadable(collection))
		return 0;
	if (!query->only_name || (!query->prefix[0] && r->resource->api->namespaced))
		return collection_check_range(collection, query->prefix, from, last, err);
	autofree char *key = xconcat(query->prefix, query->only_name);
	return collection_check_range(collection, key, key, key, err);
}

/* ---- rows of a Table that have an order of their own ---- */

struct ranked {
	struct entry *entry;
	int64_t rank;
	size_t own;
};

static int order_ranked(const void *a, const void *b) {
	const struct ranked *x = a, *y = b;
	return x->rank != y->rank ? (x->rank < y->rank ? -1 : 1) : (x->own > y->own) - (x->own < y->own);
}

static void order_rows(const struct request *r, struct list_stream *s) {
	const char *path = r->accept.form == FORM_TABLE ? printer_order(r->resource) : NULL;
	if (!path || s->end <= s->next)
		return;
	size_t count = s->end - s->next;
	struct ranked *rows = xcalloc(count, sizeof(*rows));
	struct entry **entries = xcalloc(count, sizeof(*entries));
	bool owned = s->entries;
	for (size_t i = 0; i < count; i++) {
		struct entry *entry = stream_entry(s);
		size_t len;
		const char *value = json_text_find(entry->json->data, entry->json->len, path, &len);
		rows[i] = (struct ranked){owned ? entry : entry_ref(entry), value ? strtoll(value, NULL, 10) : 0, i};
	}
	qsort(rows, count, sizeof(*rows), order_ranked);
	for (size_t i = 0; i < count; i++)
		entries[i] = rows[i].entry;
	free(rows);
	free(s->entries);
	s->entries = entries;
	s->next = 0;
	s->end = count;
}

/* ---- versions that a webhook converts ---- */

struct converted_list {
	struct list_stream *stream; /* NULL: taken */
	struct list_meta meta;
};

static void free_converted_list(void *arg) {
	struct converted_list *list = arg;
	if (list->stream)
		stream_free(list->stream);
}

static int respond_converted(struct request *r, void *arg, struct error *err) {
	struct converted_list *list = arg;
	respond_stream(r, take_ptr(list->stream), &list->meta);
	return REQUEST_TAKEN;
}

/* True where the page has to be converted first: it is answered then. */
static bool respond_when_converted(struct request *r, struct list_stream *s, const struct list_meta *meta) {
	if (!r->resource->custom || !r->resource->custom->conversion)
		return false;
	struct converted_list *list = arena_new_type(r->arena, struct converted_list);
	*list = (struct converted_list){.meta = *meta};
	list->meta.continue_token = arena_strdup(r->arena, meta->continue_token);
	struct entry **entries = xcalloc(s->end - s->next + 1, sizeof(*entries));
	struct list_stream ahead = *s;
	size_t count = 0;
	while (ahead.next < ahead.end)
		entries[count++] = stream_entry(&ahead);
	bool taken;
	list->stream = s; /* before another thread goes on with it */
	arena_defer(r->arena, free_converted_list, list);
	conversion_for_request(r, entries, count, respond_converted, list, &taken);
	if (!taken)
		list->stream = NULL;
	free(entries);
	return taken;
}

static int answer(struct request *r, struct list_query *query, struct error *err) {
	uint64_t revision = query->rv;
	bool exact = list_query_is_exact(query);
	autofree char *start = NULL;
	if (query->continue_token) {
		bool any;
		int rc = continue_decode(query->continue_token, query->prefix, &revision, &any, &start, err);
		if (rc < 0)
			return rc;
		if (query->rv_given && query->rv)
			return error_bad_request(err, "specifying resource version is not allowed when using continue");
		exact = !any;
	}
	autosnapshot struct snapshot *snapshot = NULL;
	int rc = choose_view(r, query, revision, exact, start, &snapshot, err);
	if (rc)
		return rc;
	size_t first = 0, end = snapshot->len;
	if (query->prefix[0])
		snapshot_range(snapshot, query->prefix, &first, &end);
	if (start)
		first = min_of(end, max_of(first, snapshot_lower_bound(snapshot, start)));
	if (query->only_name && (query->prefix[0] || !r->resource->api->namespaced)) {
		autofree char *key = xprintf("%s%s", query->prefix, query->only_name);
		first = snapshot_lower_bound(snapshot, key);
		end = min_of(first + 1, snapshot->len);
	}
	struct list_meta meta = {.revision = exact ? revision : snapshot->revision, .remaining = -1};
	struct list_stream *s = xnew(struct list_stream);
	s->snapshot = take_ptr(snapshot);
	choose_page(query, s, first, end, &meta);
	rc = list_check_readable(r, query, start, meta.continue_token ? last_key(s) : NULL, err);
	if (rc < 0) {
		free(meta.continue_token);
		stream_free(s);
		return rc;
	}
	collection_count_list(r->resource->collection, s->entries ? end - first : s->end - s->next, s->end - s->next);
	order_rows(r, s);
	if (!respond_when_converted(r, s, &meta))
		respond_stream(r, s, &meta);
	free(meta.continue_token);
	return REQUEST_TAKEN;
}

int rest_list(struct request *r, struct error *err) {
	struct list_query *query;
	int rc = list_query_parse(r, &query, err);
	if (rc == 0 && (rc = request_check_fit(r, err)) < 0)
		list_query_free(query);
	if (rc < 0)
		return rc;
	return list_when_fresh(r, query, answer, err);
}
