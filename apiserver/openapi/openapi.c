/* SPDX-License-Identifier: Apache-2.0 */
/* Documents are made when first asked for, and kept until what is served changes. */
#include "apiserver/openapi/content.h"
#include "apiserver/openapi/paths.h"
#include "apiserver/aggregator/aggregator.h"
#include "apiserver/discovery/discovery.h"
#include "apiserver/request/steps.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <pthread.h>
#include <time.h>

#define MAX_DOCUMENT (256u << 20)
/* What there is of each form, in order of liking. Names with an @ are what older clients ask for; media types may not contain one. */
static const struct offer {
	const char *asked, *answered;
	bool protobuf;
} offers[][3] = {
	[OPENAPI_V2] = {
		{"application/json", "application/json", false},
		{"application/com.github.proto-openapi.spec.v2@v1.0+protobuf", "application/com.github.proto-openapi.spec.v2.v1.0+protobuf", true},
		{"application/com.github.proto-openapi.spec.v2.v1.0+protobuf", "application/com.github.proto-openapi.spec.v2.v1.0+protobuf", true},
	},
	[OPENAPI_V3] = {
		{"application/json", "application/json", false},
		{"application/com.github.proto-openapi.spec.v3.v1.0+protobuf", "application/com.github.proto-openapi.spec.v3.v1.0+protobuf", true},
		{"application/com.github.proto-openapi.spec.v3@v1.0+protobuf", "application/com.github.proto-openapi.spec.v3.v1.0+protobuf", true},
	},
};

/*
 * v3 has a document for each group and version (api/v1, apis/apps/v1), one for each group (apis/apps) and a few more. Its index tells
 * the hash of each, so all of them are made when it is first asked for; bytes are kept only of those that are asked for themselves.
 */
struct document {
	struct bytes *json, *protobuf; /* NULL: not asked for yet */
	char hash[129];                /* of the JSON; which of them a client has, it knows by Vary */
	time_t made;
	bool custom;         /* may change with custom resources */
};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct map documents; /* "v2" or "api/v1", "apis/apps/v1" -> struct document * */
static uint64_t documents_generation;

static void document_free(void *arg) {
	struct document *document = arg;
	bytes_unref(document->json);
	bytes_unref(document->protobuf);
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
	/* What is referred to is known only when all schemas are written. */
	autobuf struct buf schemas = BUF_INIT(MAX_DOCUMENT);
	schema_write_all(&set, form, &schemas);
	struct remote_parts *parts = form == OPENAPI_V2 ? remote_parts_new(server->aggregator) : NULL;
	remote_paths_write(parts, &set, &m.first, out);
	bool bare = form == OPENAPI_V3 && !custom && !schemas.len;
	buf_append_str(out, form == OPENAPI_V2 ? "},\"definitions\":{" : bare ? "},\"components\":{" : "},\"components\":{\"schemas\":{");
	buf_append(out, str_or(schemas.data, ""), schemas.len);
	remote_definitions_write(parts, out);
	remote_parts_free(parts);
	if (form == OPENAPI_V2) {
		buf_append_str(out, "},\"parameters\":{");
		parameters_define(out);
		buf_append_str(out, "},\"securityDefinitions\":{\"BearerToken\":{\"description\":\"Bearer Token authentication\",\"type\":\"apiKey\",\"name\":\"authorization\",\"in\":\"header\"}},\"security\":[{\"BearerToken\":[]}]}");
	} else {
		buf_append_str(out, custom ? "}}}" : bare ? "" : "},");
		if (!custom)
			buf_append_str(out, "\"securitySchemes\":{\"BearerToken\":{\"type\":\"apiKey\",\"description\":\"Bearer Token authentication\",\"name\":\"authorization\",\"in\":\"header\"}}}}");
	}
	schema_set_done(&set);
}

/* Under the lock: forgets what may have changed. */
static void forget_old(struct apiserver *server) {
	uint64_t generation = registry_generation(server->registry) + aggregator_generation(server->aggregator);
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

enum wanted { WANTED_HASH, WANTED_JSON, WANTED_PROTOBUF };

static bool document_has(const struct document *document, enum wanted wanted) {
	return wanted == WANTED_HASH || (wanted == WANTED_JSON ? document->json : document->protobuf);
}

/* Under the lock: makes it where it is not there, its bytes where they are wanted. NULL: no such document. */
static struct document *find_document(struct apiserver *server, const struct catalogue *catalogue, const char *key, enum wanted wanted) {
	struct document *document = map_get(&documents, key);
	bool v2 = strcmp(key, "v2") == 0;
	const char *kind = v2 ? "custom" : map_get((struct map *)&catalogue->seen, key);
	if (!kind || (document && document_has(document, wanted)))
		return kind ? document : NULL;
	autobuf struct buf made = BUF_INIT(MAX_DOCUMENT), packed = BUF_INIT(MAX_DOCUMENT);
	if (!document || !document->json)
		make_document(server, catalogue, v2 ? OPENAPI_V2 : OPENAPI_V3, v2 ? NULL : key, &made);
	else
		buf_append(&made, document->json->data, document->json->len);
	if (!document) {
		document = xnew(struct document);
		*document = (struct document){.made = time(NULL), .custom = *kind};
		hash_text(made.data, made.len, document->hash);
		map_set(&documents, key, document);
	}
	if (wanted == WANTED_JSON) {
		document->json = buf_to_bytes(&made);
	} else if (wanted == WANTED_PROTOBUF) {
		(v2 ? openapi_v2_protobuf : openapi_v3_protobuf)(made.data, made.len, &packed);
		document->protobuf = buf_to_bytes(&packed);
	}
	return document;
}

/* ---- answering ---- */

/* True where the clause of Accept, `len` bytes at p, takes the media type. */
static bool clause_takes(const char *p, size_t len, const char *type) {
	size_t group = strcspn(type, "/") + 1;
	if (len == 3 && strncmp(p, "*/*", len) == 0)
		return true;
	if (len == group + 1 && p[group] == '*')
		return strncmp(p, type, group) == 0;
	return len == strlen(type) && strncmp(p, type, len) == 0;
}

/* The clause with the highest q that takes something, the first of equals. NULL: none does. */
static const struct offer *negotiate(const struct request *r, enum openapi_form form) {
	const struct offer *best = NULL;
	double best_q = -1;
	const char *accept = http_header(r->http, "Accept");
	for (const char *p = str_empty(accept) ? "*/*" : accept; *p; p += strcspn(p, ",")) {
		p += strspn(p, " \t,");
		size_t len = strcspn(p, ";, \t"), whole = strcspn(p, ",");
		const char *q = memmem(p, whole, "q=", 2);
		double weight = q ? strtod(q + 2, NULL) : 1;
		for (size_t i = 0; weight > best_q && i < array_len(offers[form]); i++)
			if (clause_takes(p, len, offers[form][i].asked)) {
				best = &offers[form][i];
				best_q = weight;
			}
	}
	return best;
}

static int respond_bare(struct request *r, int status, const char *content_type) {
	request_finished(r, status);
	http_respond(r->http, status, content_type, "", 0);
	return REQUEST_TAKEN;
}

/* `hash`: what the URL says the document is, NULL where it says nothing. */
static int respond(struct request *r, enum openapi_form form, const char *key, const char *hash) {
	struct catalogue catalogue;
	const struct offer *offer = negotiate(r, form);
	catalogue_fill(&catalogue, r->server);
	pthread_mutex_lock(&lock);
	forget_old(r->server);
	struct document *document = find_document(r->server, &catalogue, key, !offer ? WANTED_HASH : offer->protobuf ? WANTED_PROTOBUF : WANTED_JSON);
	struct document copy = document ? *document : (struct document){0};
	struct bytes *body = offer && offer->protobuf ? copy.protobuf : copy.json;
	bytes_ref(body);
	pthread_mutex_unlock(&lock);
	catalogue_done(&catalogue);
	if (!document)
		return respond_bare(r, 404, NULL);
	if (form == OPENAPI_V2)
		http_add_header(r->http, "Vary", "Accept-Encoding");
	http_add_header(r->http, "Vary", "Accept");
	if (!offer) {
		bytes_unref(body);
		return respond_bare(r, 406, NULL);
	}
	autofree char *etag = xprintf("\"%s\"", copy.hash);
	if (!str_empty(hash) && strcmp(hash, copy.hash) != 0) {
		autofree char *location = xprintf("/openapi/v3/%s?hash=%s", key, copy.hash);
		http_add_header(r->http, "ETag", etag);
		http_add_header(r->http, "Location", location);
		bytes_unref(body);
		return respond_bare(r, 301, offer->answered);
	}
	/* Under this name there will never be another. */
	if (!str_empty(hash)) {
		http_set_header(r->http, "Cache-Control", "public, immutable");
		content_add_time(r, "Expires", time(NULL) + 365 * 24 * 3600, "UTC");
	}
	content_respond(r, &(struct content){.type = offer->answered, .etag = etag, .modified = copy.made, .packs = form == OPENAPI_V2, .undated = true}, body);
	return REQUEST_TAKEN;
}

int openapi_v2(struct request *r, struct error *err) {
	(void)err;
	return respond(r, OPENAPI_V2, "v2", NULL);
}

struct index {
	struct buf *out;
	const struct catalogue *catalogue;
	struct map told; /* keys of others: a group's is told with each of its versions */
};

/* What another server has is found there, under the hash that it says. */
static void add_document(const char *key, const char *url, void *arg) {
	struct index *index = arg;
	if (map_has(&index->catalogue->seen, key) || map_has(&index->told, key))
		return;
	set_add(&index->told, key);
	buf_append_str(index->out, str_ends_with(index->out->data, "{") ? "" : ",");
	buf_append_json_string(index->out, key, strlen(key));
	buf_append_str(index->out, ":{\"serverRelativeURL\":");
	buf_append_json_string(index->out, url, strlen(url));
	buf_append_char(index->out, '}');
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
		const struct document *document = find_document(r->server, &catalogue, catalogue.keys[i], WANTED_HASH);
		buf_printf(&out, "%s\"%s\":{\"serverRelativeURL\":\"/openapi/v3/%s?hash=%s\"}", first ? "" : ",", catalogue.keys[i], catalogue.keys[i], document->hash);
		first = false;
	}
	pthread_mutex_unlock(&lock);
	struct index index = {&out, &catalogue, MAP_INIT(NULL)};
	aggregator_each_document(r->server->aggregator, add_document, &index);
	map_done(&index.told);
	catalogue_done(&catalogue);
	buf_append_str(&out, "}}");
	content_respond(r, &(struct content){.type = "text/plain; charset=utf-8", .modified = time(NULL)}, buf_to_bytes(&out));
	return REQUEST_TAKEN;
}

int openapi_v3(struct request *r, struct error *err) {
	if (str_equal(r->path, "/openapi/v3"))
		return respond_index(r);
	const char *key = str_starts_with(r->path, "/openapi/v3/") ? r->path + strlen("/openapi/v3/") : "";
	int rc = aggregator_handle_document(r, key, err);
	if (rc != 0)
		return rc;
	return respond(r, OPENAPI_V3, str_starts_with(key, "v2") ? "" : key, http_query(r->http, "hash"));
}
