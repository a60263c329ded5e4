/* SPDX-License-Identifier: Apache-2.0 */
/* Documents are made when first asked for, and kept until what is served changes. */
#include "apiserver/openapi/paths.h"
#include "apiserver/discovery/discovery.h"
#include "apiserver/request/steps.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <pthread.h>
#include <time.h>

#define MAX_DOCUMENT (256u << 20)
#define V2_PROTOBUF "v2 protobuf" /* key */
/* The first names the version as media types may not, and is what clients ask for. */
#define PROTOBUF_V2_ASKED "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
#define PROTOBUF_V2_TYPE "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

/*
 * v3 has a document for each group and version (api/v1, apis/apps/v1), one for each group (apis/apps) and a few more. Its index tells
 * the hash of each, so all of them are made when it is first asked for; bytes are kept only of those that are asked for themselves.
 */
struct document {
	struct bytes *bytes; /* NULL: only its hash is known */
	char hash[129];
	time_t made;
	bool custom;         /* may change with custom resources */
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

/* ---- what there is ---- */

/* Of one kind: the documents of v3 by key, or the groups and versions. Keys are in order. */
struct catalogue {
	char **keys;
	size_t len, cap;
	struct map seen; /* key -> "" or "custom" */
};

static char of_custom[] = "custom", of_built_in[] = "";

static void catalogue_add(struct catalogue *c, const char *key, bool custom) {
	if (map_has(&c->seen, key))
		return;
	map_set(&c->seen, key, custom ? of_custom : of_built_in);
	if (c->len == c->cap) {
		c->cap = c->cap ? c->cap * 2 : 64;
		c->keys = xreallocarray(c->keys, c->cap, sizeof(*c->keys));
	}
	c->keys[c->len++] = xstrdup(key);
}

static void add_root(const char *key, void *arg) {
	catalogue_add(arg, key, false);
}

/* Groups of custom resources alone have no document of their own. */
static void add_resource(const struct resource *resource, void *arg) {
	const char *group = resource_group(resource);
	autofree char *of_group = xprintf("apis/%s", group);
	autofree char *key = *group ? xprintf("%s/%s", of_group, resource->api->version) : xprintf("api/%s", resource->api->version);
	if (*group && !resource->custom)
		catalogue_add(arg, of_group, false);
	catalogue_add(arg, key, resource->custom);
}

static int compare_keys(const void *a, const void *b) {
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void catalogue_fill(struct catalogue *c, struct apiserver *server) {
	*c = (struct catalogue){.seen = MAP_INIT(NULL)};
	roots_each(add_root, c);
	registry_each(server->registry, add_resource, c);
	qsort(c->keys, c->len, sizeof(*c->keys), compare_keys);
}

static void catalogue_done(struct catalogue *c) {
	for (size_t i = 0; i < c->len; i++)
		free(c->keys[i]);
	free(c->keys);
	map_done(&c->seen);
}

/* "api/v1", "apis/apps/v1", "apis/apps": false where it is none of them. The caller frees both; *ret_version may be NULL. */
static bool split_key(const char *key, char **ret_group, char **ret_version) {
	if (strncmp(key, "api/", 4) == 0) {
		*ret_group = xstrdup("");
		*ret_version = xstrdup(key + 4);
		return true;
	}
	if (strncmp(key, "apis/", 5) != 0)
		return false;
	const char *slash = strchr(key + 5, '/');
	*ret_group = slash ? xstrndup(key + 5, (size_t)(slash - key - 5)) : xstrdup(key + 5);
	*ret_version = slash ? xstrdup(slash + 1) : NULL;
	return true;
}

/* ---- making ---- */

struct making {
	struct writing w;
	const char *group, *version; /* NULL: all */
	bool first;
};

static void add_paths(const struct resource *resource, void *arg) {
	struct making *m = arg;
	if (!m->group || (strcmp(resource_group(resource), m->group) == 0 && strcmp(resource->api->version, m->version) == 0))
		paths_write(&m->w, resource, &m->first);
}

static void write_paths(struct apiserver *server, const struct catalogue *catalogue, const char *key, struct making *m) {
	for (size_t i = 0; i < catalogue->len; i++) {
		autofree char *group = NULL, *version = NULL;
		if ((key && strcmp(catalogue->keys[i], key) != 0) || !split_key(catalogue->keys[i], &group, &version))
			continue;
		if (!*(const char *)map_get((struct map *)&catalogue->seen, catalogue->keys[i]))
			roots_write_group(&m->w, group, version, &m->first);
		if (!version)
			continue;
		m->group = group;
		m->version = version;
		registry_each(server->registry, add_paths, m);
	}
	roots_write(&m->w, key, &m->first);
}

static void make_document(struct apiserver *server, const struct catalogue *catalogue, enum openapi_form form, const char *key, struct buf *out) {
	struct schema_set set = {.seen = MAP_INIT(NULL), .versions = xcalloc(catalogue->len, sizeof(*set.versions))};
	struct making m = {.w = {form, out, &set}, .first = true};
	bool custom = key && str_equal(map_get((struct map *)&catalogue->seen, key), "custom");
	for (size_t i = 0; i < catalogue->len; i++) {
		struct schema_version *v = &set.versions[set.version_count];
		bool in = custom ? !*(const char *)map_get((struct map *)&catalogue->seen, catalogue->keys[i]) : !key || strcmp(catalogue->keys[i], key) == 0;
		if (!in || !split_key(catalogue->keys[i], &v->group, &v->version))
			continue;
		if (v->version)
			set.version_count++;
		else
			free(v->group);
	}
	buf_append_str(out, form == OPENAPI_V2 ? "{\"swagger\":\"2.0\"" : "{\"openapi\":\"3.0.0\"");
	buf_append_str(out, custom ? ",\"info\":{\"title\":\"Kubernetes CRD Swagger\",\"version\":\"v0.1.0\"},\"paths\":{" : ",\"info\":{\"title\":\"Kubernetes\",\"version\":\"1.36\"},\"paths\":{");
	write_paths(server, catalogue, key, &m);
	buf_append_str(out, form == OPENAPI_V2 ? "},\"definitions\":{" : "},\"components\":{\"schemas\":{");
	schema_write_all(&set, form, out);
	if (form == OPENAPI_V2) {
		buf_append_str(out, "},\"parameters\":{");
		parameters_define(out);
		buf_append_str(out, "},\"securityDefinitions\":{\"BearerToken\":{\"description\":\"Bearer Token authentication\",\"type\":\"apiKey\",\"name\":\"authorization\",\"in\":\"header\"}},\"security\":[{\"BearerToken\":[]}]}");
	} else {
		buf_append_str(out, custom ? "}}}" : "},\"securitySchemes\":{\"BearerToken\":{\"type\":\"apiKey\",\"description\":\"Bearer Token authentication\",\"name\":\"authorization\",\"in\":\"header\"}}}}");
	}
	schema_set_done(&set);
}

/* Under the lock: forgets what may have changed. */
static void forget_old(struct apiserver *server) {
	uint64_t generation = registry_generation(server->registry);
	if (generation == documents_generation && documents.cap)
		return;
	struct map kept = MAP_INIT(document_free);
	struct map_entry *e;
	for (size_t i = 0; (e = map_next(&documents, &i));) {
		struct document *document = e->value;
		if (document->custom)
			document_free(document);
		else
			map_set(&kept, e->key, document);
	}
	documents.free_value = NULL;
	map_done(&documents);
	documents = kept;
	documents_generation = generation;
}

/* Under the lock: makes it where it is not there, its bytes where they are wanted. NULL: no such document. */
static struct document *find_document(struct apiserver *server, const struct catalogue *catalogue, const char *key, bool bytes) {
	struct document *document = map_get(&documents, key);
	bool v2 = strncmp(key, "v2", 2) == 0;
	const char *kind = v2 ? "custom" : map_get((struct map *)&catalogue->seen, key);
	if (!kind || (document && (document->bytes || !bytes)))
		return kind ? document : NULL;
	autobuf struct buf out = BUF_INIT(MAX_DOCUMENT);
	make_document(server, catalogue, v2 ? OPENAPI_V2 : OPENAPI_V3, v2 ? NULL : key, &out);
	if (strcmp(key, V2_PROTOBUF) == 0) {
		struct buf packed = BUF_INIT(MAX_DOCUMENT);
		openapi_v2_protobuf(out.data, out.len, &packed);
		buf_done(&out);
		out = packed;
	}
	if (!document) {
		document = xnew(struct document);
		*document = (struct document){.made = time(NULL), .custom = *kind};
		hash_text(out.data, out.len, document->hash);
		map_set(&documents, key, document);
	}
	if (bytes)
		document->bytes = buf_to_bytes(&out);
	return document;
}

/* ---- answering ---- */

static void add_time(struct request *r, const char *header, time_t at, const char *zone) {
	struct tm tm;
	char text[64];
	size_t len = strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S ", gmtime_r(&at, &tm));
	snprintf(text + len, sizeof(text) - len, "%s", zone);
	http_add_header(r->http, header, text);
}

/* `hash`: what the URL says the document is, NULL where it says nothing. */
static int respond(struct request *r, const char *key, const char *hash, const char *content_type) {
	struct catalogue catalogue;
	catalogue_fill(&catalogue, r->server);
	pthread_mutex_lock(&lock);
	forget_old(r->server);
	struct document *document = find_document(r->server, &catalogue, key, true);
	struct document copy = document ? *document : (struct document){0};
	bytes_ref(copy.bytes);
	pthread_mutex_unlock(&lock);
	catalogue_done(&catalogue);
	if (!document) {
		request_finished(r, 404);
		http_respond(r->http, 404, NULL, "", 0);
		return REQUEST_TAKEN;
	}
	autofree char *etag = xprintf("\"%s\"", copy.hash);
	http_add_header(r->http, "ETag", etag);
	http_add_header(r->http, "Vary", "Accept");
	int status = 200;
	if (!str_empty(hash) && strcmp(hash, copy.hash) != 0) {
		autofree char *location = xprintf("/openapi/v3/%s?hash=%s", key, copy.hash);
		http_add_header(r->http, "Location", location);
		status = 301;
	} else {
		/* Under this name there will never be another. */
		if (!str_empty(hash)) {
			http_set_header(r->http, "Cache-Control", "public, immutable");
			add_time(r, "Expires", time(NULL) + 365 * 24 * 3600, "UTC");
		}
		add_time(r, "Last-Modified", copy.made, "GMT");
		if (str_equal(http_header(r->http, "If-None-Match"), etag))
			status = 304;
	}
	request_finished(r, status);
	if (status == 200) {
		request_respond_large(r, 200, content_type, copy.bytes);
	} else {
		bytes_unref(copy.bytes);
		http_respond(r->http, status, content_type, "", 0);
	}
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
		return respond(r, V2_PROTOBUF, NULL, PROTOBUF_V2_TYPE);
	if (!accepts_json(r))
		return error_status(err, 406, "NotAcceptable", "only the following media types are accepted: application/json");
	return respond(r, "v2", NULL, "application/json");
}

static int respond_index(struct request *r) {
	struct catalogue catalogue;
	autobuf struct buf out = BUF_INIT(MAX_DOCUMENT);
	catalogue_fill(&catalogue, r->server);
	buf_append_str(&out, "{\"paths\":{");
	pthread_mutex_lock(&lock);
	forget_old(r->server);
	bool first = true;
	for (size_t i = 0; i < catalogue.len; i++) {
		const struct document *document = find_document(r->server, &catalogue, catalogue.keys[i], false);
		buf_printf(&out, "%s\"%s\":{\"serverRelativeURL\":\"/openapi/v3/%s?hash=%s\"}", first ? "" : ",", catalogue.keys[i], catalogue.keys[i], document->hash);
		first = false;
	}
	pthread_mutex_unlock(&lock);
	catalogue_done(&catalogue);
	buf_append_str(&out, "}}");
	add_time(r, "Last-Modified", time(NULL), "GMT");
	request_finished(r, 200);
	http_respond(r->http, 200, "text/plain; charset=utf-8", out.data, out.len);
	return REQUEST_TAKEN;
}

int openapi_v3(struct request *r, struct error *err) {
	if (str_equal(r->path, "/openapi/v3"))
		return respond_index(r);
	if (!accepts_json(r))
		return error_status(err, 406, "NotAcceptable", "only the following media types are accepted: application/json");
	const char *key = str_starts_with(r->path, "/openapi/v3/") ? r->path + strlen("/openapi/v3/") : "";
	return respond(r, str_starts_with(key, "v2") ? "" : key, http_query(r->http, "hash"), "application/json");
}
