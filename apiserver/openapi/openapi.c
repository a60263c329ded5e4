/* SPDX-License-Identifier: Apache-2.0 */
/* Documents are made when first asked for and kept until what is served changes. */
#include "apiserver/openapi/openapi.h"
#include "apiserver/discovery/discovery.h"
#include "apiserver/request/steps.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <pthread.h>

#define MAX_DOCUMENT (256u << 20)
#define V2_PROTOBUF "v2 protobuf" /* key */
/* The first names the version as media types may not, and is what clients ask for. */
#define PROTOBUF_V2_ASKED "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
#define PROTOBUF_V2_TYPE "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

struct document {
	struct bytes *bytes;
	char etag[131]; /* with quotes */
};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct map documents; /* "v2" or "api/v1", "apis/apps/v1" -> struct document * */
static uint64_t documents_generation;

static void document_free(void *arg) {
	struct document *document = arg;
	bytes_unref(document->bytes);
	free(document);
}

static void hash_text(const void *data, size_t len, char *out) {
	uint8_t digest[64];
	gnutls_hash_fast(GNUTLS_DIG_SHA512, data, len, digest);
	for (size_t i = 0; i < sizeof(digest); i++)
		snprintf(out + 2 * i, 3, "%02X", digest[i]);
}

/* ---- making ---- */

struct making {
	enum openapi_form form;
	const char *group, *version; /* NULL: all */
	struct schema_set set;
	struct buf *out;
	bool first;
};

static void add_paths(const struct resource *resource, void *arg) {
	struct making *m = arg;
	if (m->group && (strcmp(resource_group(resource), m->group) != 0 || strcmp(resource->api->version, m->version) != 0))
		return;
	paths_write(resource, m->form, &m->first, &m->set, m->out);
}

static void make_document(struct apiserver *server, enum openapi_form form, const char *group, const char *version, struct buf *out) {
	struct making m = {.form = form, .group = group, .version = version, .out = out, .first = true};
	m.set.seen = MAP_INIT(NULL);
	buf_append_str(out, form == OPENAPI_V2 ? "{\"swagger\":\"2.0\"" : "{\"openapi\":\"3.0.0\"");
	buf_append_str(out, ",\"info\":{\"title\":\"Kubernetes\",\"version\":\"v1.36.2\"},\"paths\":{");
	registry_each(server->registry, add_paths, &m);
	buf_append_str(out, form == OPENAPI_V2 ? "},\"definitions\":{" : "},\"components\":{\"schemas\":{");
	schema_write_all(&m.set, form, out);
	if (form == OPENAPI_V2)
		buf_append_str(out, "},\"securityDefinitions\":{\"BearerToken\":{\"description\":\"Bearer Token authentication\",\"type\":\"apiKey\",\"name\":\"authorization\",\"in\":\"header\"}},\"security\":[{\"BearerToken\":[]}]}");
	else
		buf_append_str(out, "},\"securitySchemes\":{\"BearerToken\":{\"type\":\"apiKey\",\"description\":\"Bearer Token authentication\",\"name\":\"authorization\",\"in\":\"header\"}}}}");
	schema_set_done(&m.set);
}

/* A reference and the tag; made where it is not there. */
static struct bytes *get_document(struct apiserver *server, const char *key, enum openapi_form form, const char *group, const char *version, char *etag) {
	pthread_mutex_lock(&lock);
	uint64_t generation = registry_generation(server->registry);
	if (generation != documents_generation || !documents.cap) {
		map_done(&documents);
		documents = MAP_INIT(document_free);
		documents_generation = generation;
	}
	struct document *document = map_get(&documents, key);
	if (!document) {
		autobuf struct buf out = BUF_INIT(MAX_DOCUMENT);
		make_document(server, form, group, version, &out);
		if (strcmp(key, V2_PROTOBUF) == 0) {
			struct buf packed = BUF_INIT(MAX_DOCUMENT);
			openapi_v2_protobuf(out.data, out.len, &packed);
			buf_done(&out);
			out = packed;
		}
		document = xnew(struct document);
		document->bytes = buf_to_bytes(&out);
		char hash[129];
		hash_text(out.data, out.len, hash);
		snprintf(document->etag, sizeof(document->etag), "\"%s\"", hash);
		map_set(&documents, key, document);
	}
	memcpy(etag, document->etag, sizeof(document->etag));
	struct bytes *bytes = bytes_ref(document->bytes);
	pthread_mutex_unlock(&lock);
	return bytes;
}

static int respond(struct request *r, const char *key, enum openapi_form form, const char *group, const char *version, const char *content_type) {
	char etag[131];
	struct bytes *bytes = get_document(r->server, key, form, group, version, etag);
	http_add_header(r->http, "ETag", etag);
	http_add_header(r->http, "Vary", "Accept");
	if (str_equal(http_header(r->http, "If-None-Match"), etag)) {
		bytes_unref(bytes);
		request_finished(r, 304);
		http_respond(r->http, 304, content_type, "", 0);
		return REQUEST_TAKEN;
	}
	request_finished(r, 200);
	request_respond_large(r, 200, content_type, bytes);
	return REQUEST_TAKEN;
}

static bool accepts_json(const struct request *r) {
	const char *accept = http_header(r->http, "Accept");
	return str_empty(accept) || strstr(accept, "json") || strstr(accept, "*/*") || strstr(accept, "application/*");
}

/* True where protobuf stands before anything that JSON would do for. */
static bool prefers_protobuf(const struct request *r) {
	const char *p = str_or(http_header(r->http, "Accept"), "");
	while (*p) {
		p += strspn(p, " \t,");
		size_t len = strcspn(p, ";, \t");
		if ((len == strlen(PROTOBUF_V2_ASKED) && strncmp(p, PROTOBUF_V2_ASKED, len) == 0) || (len == strlen(PROTOBUF_V2_TYPE) && strncmp(p, PROTOBUF_V2_TYPE, len) == 0))
			return true;
		if (memmem(p, len, "json", 4) || memmem(p, len, "*", 1))
			return false;
		p += strcspn(p, ",");
	}
	return false;
}

int openapi_v2(struct request *r, struct error *err) {
	if (prefers_protobuf(r))
		return respond(r, V2_PROTOBUF, OPENAPI_V2, NULL, NULL, PROTOBUF_V2_TYPE);
	if (!accepts_json(r))
		return error_status(err, 406, "NotAcceptable", "only the following media types are accepted: application/json");
	return respond(r, "v2", OPENAPI_V2, NULL, NULL, "application/json");
}

struct index {
	struct buf *out;
	struct map seen;
	uint64_t generation;
	bool first;
};

/* The hash in the URL changes whenever the document may have: with this program and with what is served. */
static void add_index(const struct resource *resource, void *arg) {
	struct index *index = arg;
	const char *group = resource_group(resource);
	autofree char *key = *group ? xprintf("apis/%s/%s", group, resource->api->version) : xprintf("api/%s", resource->api->version);
	if (map_has(&index->seen, key))
		return;
	set_add(&index->seen, key);
	autofree char *text = xprintf("%s %s %llu", CORACLE_VERSION, key, resource->custom ? (unsigned long long)index->generation : 0ull);
	char hash[129];
	hash_text(text, strlen(text), hash);
	buf_printf(index->out, "%s\"%s\":{\"serverRelativeURL\":\"/openapi/v3/%s?hash=%s\"}", index->first ? "" : ",", key, key, hash);
	index->first = false;
}

int openapi_v3(struct request *r, struct error *err) {
	if (!accepts_json(r))
		return error_status(err, 406, "NotAcceptable", "only the following media types are accepted: application/json");
	if (r->part_count == 2) {
		autobuf struct buf out = BUF_INIT(MAX_DOCUMENT);
		struct index index = {.out = &out, .seen = MAP_INIT(NULL), .generation = registry_generation(r->server->registry), .first = true};
		buf_append_str(&out, "{\"paths\":{");
		registry_each(r->server->registry, add_index, &index);
		map_done(&index.seen);
		buf_append_str(&out, "}}");
		request_finished(r, 200);
		http_respond(r->http, 200, "application/json", out.data, out.len);
		return REQUEST_TAKEN;
	}
	const char *group = NULL, *version = NULL;
	if (r->part_count == 4 && strcmp(r->parts[2], "api") == 0) {
		group = "";
		version = r->parts[3];
	} else if (r->part_count == 5 && strcmp(r->parts[2], "apis") == 0) {
		group = r->parts[3];
		version = r->parts[4];
	}
	if (!group || !registry_has_group(r->server->registry, group, version)) {
		request_respond_text(r, 404, "404 page not found\n");
		return REQUEST_TAKEN;
	}
	autofree char *key = xprintf("%s/%s", group, version);
	return respond(r, key, OPENAPI_V3, group, version, "application/json");
}
