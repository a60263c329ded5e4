/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/custom/custom.h"
#include "apiserver/discovery/discovery.h"
#include "api/apidiscovery_v2.h"
#include "api/meta_v1.h"
#include "common/api/codec.h"
#include "common/api/yaml.h"
#include "apiserver/aggregator/aggregator.h"
#include "apiserver/authn/authn.h"
#include "apiserver/request/render.h"
#include "apiserver/request/steps.h"

#include <errno.h>
#include <gnutls/crypto.h>

#define MAX_BODY (64u << 20)

struct discovery {
	struct apiserver *server;
};

struct discovery *discovery_new(struct apiserver *server) {
	struct discovery *discovery = xnew(struct discovery);
	discovery->server = server;
	return discovery;
}

void discovery_free(struct discovery *discovery) {
	free(discovery);
}

/* ---- what is served, in order ---- */

/* Texts of what another server serves are the catalogue's own: its description may be replaced at any time. */
struct group_version {
	const char *group, *version;
	int32_t group_priority, version_priority;
	bool served;           /* by this server */
	bool remote, current;
	const char *resources; /* of a remote one: as in aggregated discovery; NULL: not known */
};
struct group_versions {
	const char *group;
	const char *first;     /* name of the APIService that gives the group its place */
	int32_t priority;
	const struct group_version **versions; /* preferred first */
	size_t len;
};
struct catalogue {
	struct arena *arena;
	struct group_version *all;
	size_t count, cap;
	struct group_versions *groups; /* in order */
	size_t len;
	const struct resource **resources;
	size_t resource_count, resource_cap;
};

static struct group_version *find_version(struct catalogue *c, const char *group, const char *version) {
	for (size_t i = c->count; i-- > 0;)
		if (strcmp(c->all[i].version, version) == 0 && strcmp(c->all[i].group, group) == 0)
			return &c->all[i];
	return NULL;
}

static struct group_version *add_version(struct catalogue *c, const char *group, const char *version) {
	if (c->count == c->cap) {
		c->cap = c->cap ? c->cap * 2 : 64;
		c->all = xreallocarray(c->all, c->cap, sizeof(*c->all));
	}
	struct group_version *v = &c->all[c->count++];
	*v = (struct group_version){.group = group, .version = version};
	return v;
}

static void collect(const struct resource *resource, void *arg) {
	struct catalogue *c = arg;
	const char *group = resource_group(resource);
	if (c->resource_count == c->resource_cap) {
		c->resource_cap = c->resource_cap ? c->resource_cap * 2 : 256;
		c->resources = xreallocarray(c->resources, c->resource_cap, sizeof(*c->resources));
	}
	c->resources[c->resource_count++] = resource;
	if (find_version(c, group, resource->api->version))
		return;
	struct group_version *v = add_version(c, group, resource->api->version);
	v->served = true;
	aggregator_default_priorities(group, v->version, resource->custom != NULL, &v->group_priority, &v->version_priority);
}

static void collect_aggregated(const struct aggregated_version *given, void *arg) {
	struct catalogue *c = arg;
	struct group_version *v = find_version(c, given->group, given->version);
	if (!v)
		v = add_version(c, arena_strdup(c->arena, given->group), arena_strdup(c->arena, given->version));
	v->group_priority = given->group_priority;
	v->version_priority = given->version_priority;
	v->remote = given->remote;
	v->served &= !given->remote;
	v->current = given->current;
	v->resources = given->remote && given->resources ? arena_strdup(c->arena, given->resources) : NULL;
}

static int compare_versions(const void *a, const void *b) {
	const struct group_version *x = *(const struct group_version *const *)a, *y = *(const struct group_version *const *)b;
	if (x->version_priority != y->version_priority)
		return x->version_priority > y->version_priority ? -1 : 1;
	return api_version_compare(x->version, y->version);
}

static int compare_groups(const void *a, const void *b) {
	const struct group_versions *x = a, *y = b;
	if (x->priority != y->priority)
		return x->priority > y->priority ? -1 : 1;
	return strcmp(x->first, y->first);
}

/* A group stands where the first of its APIServices does, by priority and then by name. */
static void place_group(struct catalogue *c, const struct group_version *v, struct map *places) {
	struct group_versions *g = map_get(places, v->group);
	const char *name = arena_printf(c->arena, "%s.%s", v->version, v->group);
	if (!g) {
		g = &c->groups[c->len++];
		*g = (struct group_versions){.group = v->group, .first = name, .priority = v->group_priority};
		map_set(places, v->group, g);
	} else if (v->group_priority > g->priority || (v->group_priority == g->priority && strcmp(name, g->first) < 0)) {
		g->first = name;
		g->priority = v->group_priority;
	}
	g->len++;
}

static void arrange(struct catalogue *c) {
	struct map places = MAP_INIT(NULL);
	const struct group_version **versions = arena_calloc(c->arena, c->count + 1, sizeof(*versions));
	c->groups = xcalloc(c->count + 1, sizeof(*c->groups));
	for (size_t i = 0; i < c->count; i++)
		place_group(c, &c->all[i], &places);
	for (size_t i = 0; i < c->len; i++) {
		c->groups[i].versions = versions;
		versions += c->groups[i].len;
		c->groups[i].len = 0;
	}
	for (size_t i = 0; i < c->count; i++) {
		struct group_versions *g = map_get(&places, c->all[i].group);
		g->versions[g->len++] = &c->all[i];
	}
	map_done(&places);
	for (size_t i = 0; i < c->len; i++)
		qsort(c->groups[i].versions, c->groups[i].len, sizeof(*c->groups[i].versions), compare_versions);
	qsort(c->groups, c->len, sizeof(*c->groups), compare_groups);
}

static struct catalogue *catalogue_new(struct apiserver *server) {
	struct catalogue *c = xnew(struct catalogue);
	c->arena = arena_new();
	registry_each(server->registry, collect, c);
	aggregator_each(server->aggregator, collect_aggregated, c);
	arrange(c);
	return c;
}

static void catalogue_free(struct catalogue *c) {
	arena_free(c->arena);
	free(c->all);
	free(c->groups);
	free(c->resources);
	free(c);
}

static bool in_version(const struct resource *resource, const char *group, const char *version) {
	return strcmp(resource_group(resource), group) == 0 && strcmp(resource->api->version, version) == 0;
}

/* ---- pieces ---- */

static void string_member(struct buf *out, const char *name, const char *value) {
	buf_printf(out, "\"%s\":", name);
	buf_append_json_string(out, value ? value : "", value ? strlen(value) : 0);
}

static void string_array(struct buf *out, const char *name, const char *const *items) {
	if (!items || !*items)
		return;
	buf_printf(out, ",\"%s\":[", name);
	for (size_t i = 0; items[i]; i++) {
		if (i)
			buf_append_char(out, ',');
		buf_append_json_string(out, items[i], strlen(items[i]));
	}
	buf_append_char(out, ']');
}

/* Of custom resources Kubernetes names create behind patch. */
static void verbs_member(struct buf *out, uint32_t verbs, bool custom) {
	static const struct { uint32_t bit; const char *name; } names[] = {
		{API_VERB_CREATE, "create"}, {API_VERB_DELETE, "delete"}, {API_VERB_DELETECOLLECTION, "deletecollection"}, {API_VERB_GET, "get"},
		{API_VERB_LIST, "list"}, {API_VERB_PATCH, "patch"}, {API_VERB_UPDATE, "update"}, {API_VERB_WATCH, "watch"},
	};
	static const uint8_t order[] = {0, 1, 2, 3, 4, 5, 6, 7}, custom_order[] = {1, 2, 3, 4, 5, 0, 6, 7};
	bool first = true;
	buf_append_str(out, "\"verbs\":[");
	for (size_t i = 0; i < array_len(names); i++) {
		uint8_t at = custom ? custom_order[i] : order[i];
		if (!(verbs & names[at].bit))
			continue;
		buf_printf(out, "%s\"%s\"", first ? "" : ",", names[at].name);
		first = false;
	}
	buf_append_char(out, ']');
}

/* Where a definition is being deleted, its objects can only be looked at and deleted. */
static uint32_t verbs_of(const struct resource *resource) {
	uint32_t verbs = resource->api->verbs;
	if (resource->custom && resource->custom->terminating)
		verbs &= ~(uint32_t)(API_VERB_CREATE | API_VERB_PATCH | API_VERB_UPDATE);
	return verbs;
}

/* Clients compare it to notice that the stored version changed. */
static void storage_hash(struct buf *out, const struct resource *resource) {
	if (!resource->collection)
		return;
	const char *stored = str_or(resource->api->storage_version, resource->api->version);
	autofree char *text = xprintf("%s%s/%s", strchr(stored, '/') ? "" : "/", stored, resource->api->kind);
	uint8_t digest[32];
	gnutls_hash_fast(GNUTLS_DIG_SHA256, text, strlen(text), digest);
	buf_append_str(out, ",\"storageVersionHash\":\"");
	buf_append_base64(out, digest, 8);
	buf_append_char(out, '"');
}

/* ---- the old form ---- */

static void old_resource(struct buf *out, const struct resource *resource, bool *first) {
	const struct api_resource *api = resource->api;
	buf_append_str(out, *first ? "{" : ",{");
	*first = false;
	string_member(out, "name", api->plural);
	buf_append_char(out, ',');
	string_member(out, "singularName", api->singular);
	buf_printf(out, ",\"namespaced\":%s,", api->namespaced ? "true" : "false");
	string_member(out, "kind", api->kind);
	buf_append_char(out, ',');
	verbs_member(out, verbs_of(resource), resource->custom);
	string_array(out, "shortNames", api->short_names);
	string_array(out, "categories", api->categories);
	storage_hash(out, resource);
	buf_append_char(out, '}');
	for (size_t i = 0; i < api->subresource_count; i++) {
		const struct api_subresource *sub = &api->subresources[i];
		autofree char *name = xprintf("%s/%s", api->plural, sub->name);
		buf_append_str(out, ",{");
		string_member(out, "name", name);
		buf_printf(out, ",\"singularName\":\"\",\"namespaced\":%s", api->namespaced ? "true" : "false");
		if (!str_equal(sub->group, api->group) || !str_equal(sub->version, api->version)) {
			if (!str_empty(sub->group)) {
				buf_append_char(out, ',');
				string_member(out, "group", sub->group);
			}
			buf_append_char(out, ',');
			string_member(out, "version", sub->version);
		}
		buf_append_char(out, ',');
		string_member(out, "kind", sub->kind);
		buf_append_char(out, ',');
		verbs_member(out, sub->verbs, resource->custom);
		buf_append_char(out, '}');
	}
}

static void group_version_text(struct buf *out, const char *group, const char *version) {
	buf_printf(out, "%s%s%s", group, *group ? "/" : "", version);
}

static void old_group(struct buf *out, const struct group_versions *g) {
	string_member(out, "name", g->group);
	buf_append_str(out, ",\"versions\":[");
	for (size_t i = 0; i < g->len; i++) {
		buf_printf(out, "%s{\"groupVersion\":\"", i ? "," : "");
		group_version_text(out, g->group, g->versions[i]->version);
		buf_printf(out, "\",\"version\":\"%s\"}", g->versions[i]->version);
	}
	buf_append_str(out, "],\"preferredVersion\":{\"groupVersion\":\"");
	group_version_text(out, g->group, g->versions[0]->version);
	buf_printf(out, "\",\"version\":\"%s\"}", g->versions[0]->version);
}

/* ---- the aggregated form ---- */

static void kind_member(struct buf *out, const char *group, const char *version, const char *kind) {
	buf_append_str(out, "\"responseKind\":{");
	string_member(out, "group", group);
	buf_append_char(out, ',');
	string_member(out, "version", version);
	buf_append_char(out, ',');
	string_member(out, "kind", kind);
	buf_append_char(out, '}');
}

static void new_resource(struct buf *out, const struct resource *resource) {
	const struct api_resource *api = resource->api;
	buf_append_char(out, '{');
	string_member(out, "resource", api->plural);
	buf_append_char(out, ',');
	/* The Go server leaves group and version empty where they are the list's own; custom resources carry theirs. */
	kind_member(out, resource->custom ? api->group : "", resource->custom ? api->version : "", api->kind);
	buf_printf(out, ",\"scope\":\"%s\",", api->namespaced ? "Namespaced" : "Cluster");
	string_member(out, "singularResource", api->singular);
	buf_append_char(out, ',');
	verbs_member(out, verbs_of(resource), resource->custom);
	string_array(out, "shortNames", api->short_names);
	string_array(out, "categories", api->categories);
	if (api->subresource_count) {
		buf_append_str(out, ",\"subresources\":[");
		for (size_t i = 0; i < api->subresource_count; i++) {
			const struct api_subresource *sub = &api->subresources[i];
			bool own = str_equal(sub->group, api->group) && str_equal(sub->version, api->version) && !resource->custom;
			buf_append_str(out, i ? ",{" : "{");
			string_member(out, "subresource", sub->name);
			buf_append_char(out, ',');
			kind_member(out, own ? "" : sub->group, own ? "" : sub->version, sub->kind);
			buf_append_char(out, ',');
			verbs_member(out, sub->verbs, resource->custom);
			buf_append_char(out, '}');
		}
		buf_append_char(out, ']');
	}
	buf_append_char(out, '}');
}

/* A version of another server, in its own words; where it has not told them, or not lately, clients are to know. */
static void remote_version(struct buf *out, const struct group_version *v) {
	buf_printf(out, "{\"version\":\"%s\"", v->version);
	if (v->resources)
		buf_printf(out, ",\"resources\":%s", v->resources);
	buf_printf(out, ",\"freshness\":\"%s\"}", v->current ? "Current" : "Stale");
}

/* Appends nothing where there is nothing that is served. */
static void new_group(struct buf *out, const struct catalogue *c, const struct group_versions *g, bool *first_group) {
	bool any = false;
	for (size_t v = 0; v < g->len; v++) {
		const struct group_version *version = g->versions[v];
		if (!version->remote && !version->served)
			continue;
		if (!any) {
			buf_append_str(out, *first_group ? "{\"metadata\":{" : ",{\"metadata\":{");
			if (*g->group)
				string_member(out, "name", g->group);
			buf_append_str(out, "},\"versions\":[");
			*first_group = false;
		} else {
			buf_append_char(out, ',');
		}
		any = true;
		if (version->remote) {
			remote_version(out, version);
			continue;
		}
		buf_printf(out, "{\"version\":\"%s\",\"resources\":[", version->version);
		bool first = true;
		for (size_t i = 0; i < c->resource_count; i++) {
			if (!in_version(c->resources[i], g->group, version->version))
				continue;
			if (!first)
				buf_append_char(out, ',');
			first = false;
			new_resource(out, c->resources[i]);
		}
		buf_append_str(out, "],\"freshness\":\"Current\"}");
	}
	if (any)
		buf_append_str(out, "]}");
}

#define AGGREGATED ";g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

/* Whether the client prefers the aggregated form, of which v2 is served, and in which encoding. */
static bool wants_aggregated(const struct request *r, enum media_type *ret_media) {
	const char *accept = http_header(r->http, "Accept");
	for (const char *p = accept; p && *p;) {
		size_t len = strcspn(p, ",");
		autofree char *clause = xstrndup(p, len);
		bool any = strstr(clause, "*/*"), aggregated = strstr(clause, "g=apidiscovery.k8s.io") && strstr(clause, "as=APIGroupDiscoveryList");
		*ret_media = any ? MEDIA_JSON : media_type_of(clause + strspn(clause, " "));
		if (aggregated && *ret_media != MEDIA_OTHER && strstr(clause, "v=v2") && !strstr(clause, "v=v2beta1"))
			return true;
		if (!aggregated && *ret_media != MEDIA_OTHER)
			return false;
		p += len;
		if (*p)
			p++;
	}
	return false;
}

static struct bytes *encode_aggregated(const struct buf *json, enum media_type media, const char **ret_type) {
	autobuf struct buf out = BUF_INIT(MAX_BODY);
	void *list;
	if (media == MEDIA_PROTOBUF && api_decode_json(&apidiscovery_v2_api_group_discovery_list_type, json->data, json->len, NULL, &list, NULL) == 0) {
		api_encode_protobuf(&apidiscovery_v2_api_group_discovery_list_type, list, &out);
		api_unref(list);
		*ret_type = "application/vnd.kubernetes.protobuf" AGGREGATED;
	} else if (media == MEDIA_YAML && yaml_from_json(json->data, json->len, &out, NULL) == 0) {
		*ret_type = "application/yaml" AGGREGATED;
	} else {
		buf_reset(&out);
		buf_append(&out, json->data, json->len);
		*ret_type = "application/json" AGGREGATED;
	}
	return buf_to_bytes(&out);
}

static int respond_aggregated(struct request *r, enum media_type media, bool core) {
	struct catalogue *c = catalogue_new(r->server);
	autobuf struct buf out = BUF_INIT(MAX_BODY);
	buf_append_str(&out, "{\"kind\":\"APIGroupDiscoveryList\",\"apiVersion\":\"apidiscovery.k8s.io/v2\",\"metadata\":{},\"items\":[");
	bool first = true;
	for (size_t i = 0; i < c->len; i++) {
		if ((*c->groups[i].group == '\0') == core)
			new_group(&out, c, &c->groups[i], &first);
	}
	buf_append_str(&out, "]}\n");
	catalogue_free(c);
	uint8_t digest[64];
	gnutls_hash_fast(GNUTLS_DIG_SHA512, out.data, out.len, digest);
	autobuf struct buf etag = BUF_INIT(256);
	buf_append_char(&etag, '"');
	for (size_t i = 0; i < sizeof(digest); i++)
		buf_printf(&etag, "%02X", digest[i]);
	buf_append_char(&etag, '"');
	http_add_header(r->http, "ETag", etag.data);
	http_add_header(r->http, "Vary", "Accept");
	http_set_header(r->http, "Cache-Control", "public");
	if (str_equal(http_header(r->http, "If-None-Match"), etag.data)) {
		request_finished(r, 304);
		http_respond(r->http, 304, NULL, "", 0);
		return REQUEST_TAKEN;
	}
	const char *type;
	struct bytes *body = encode_aggregated(&out, media, &type);
	request_finished(r, 200);
	http_respond_bytes(r->http, 200, type, &body, 1);
	return REQUEST_TAKEN;
}

int discovery_api(struct request *r, struct error *err) {
	enum media_type media;
	if (wants_aggregated(r, &media))
		return respond_aggregated(r, media, true);
	int rc = request_check_document(r, err);
	if (rc == 0)
		rc = request_negotiate_unrouted(r, false, &r->accept, err);
	if (rc < 0)
		return rc;
	autofree char *body = xprintf("{\"kind\":\"APIVersions\",\"versions\":[\"v1\"],\"serverAddressByClientCIDRs\":[{\"clientCIDR\":\"0.0.0.0/0\",\"serverAddress\":\"%s:%u\"}]}", r->server->advertise_address, r->server->port);
	request_respond_encoded(r, 200, &meta_v1_api_versions_type, body, strlen(body));
	return REQUEST_TAKEN;
}

int discovery_apis(struct request *r, struct error *err) {
	enum media_type media;
	/* Below the path alone, not its twin with a slash. */
	if (strcmp(r->path, "/apis") == 0 && wants_aggregated(r, &media))
		return respond_aggregated(r, media, false);
	int rc = request_negotiate_unrouted(r, false, &r->accept, err);
	if (rc < 0)
		return rc;
	struct catalogue *c = catalogue_new(r->server);
	autobuf struct buf out = BUF_INIT(MAX_BODY);
	buf_append_str(&out, "{\"kind\":\"APIGroupList\",\"apiVersion\":\"v1\",\"groups\":[");
	bool first = true;
	for (size_t i = 0; i < c->len; i++) {
		if (!*c->groups[i].group)
			continue;
		buf_append_str(&out, first ? "{" : ",{");
		first = false;
		old_group(&out, &c->groups[i]);
		buf_append_char(&out, '}');
	}
	buf_append_str(&out, "]}");
	catalogue_free(c);
	request_respond_encoded(r, 200, &meta_v1_api_group_list_type, out.data, out.len);
	return REQUEST_TAKEN;
}

static bool write_group(const struct catalogue *c, const char *group, struct buf *out) {
	for (size_t i = 0; i < c->len; i++) {
		if (strcmp(c->groups[i].group, group) != 0)
			continue;
		buf_append_str(out, "{\"kind\":\"APIGroup\",\"apiVersion\":\"v1\",");
		old_group(out, &c->groups[i]);
		buf_append_char(out, '}');
		return true;
	}
	return false;
}

static bool write_version(const struct catalogue *c, const char *group, const char *version, struct buf *out) {
	bool first = true;
	buf_printf(out, "{\"kind\":\"APIResourceList\",%s\"groupVersion\":\"", *group ? "\"apiVersion\":\"v1\"," : "");
	group_version_text(out, group, version);
	buf_append_str(out, "\",\"resources\":[");
	for (size_t i = 0; i < c->resource_count; i++)
		if (in_version(c->resources[i], group, version))
			old_resource(out, c->resources[i], &first);
	buf_append_str(out, "]}");
	return !first;
}

static void respond_nowhere(struct request *r) {
	http_add_header(r->http, "X-Content-Type-Options", "nosniff");
	request_respond_text(r, 404, "404 page not found\n");
}

int discovery_version(struct request *r, struct error *err) {
	bool core = strcmp(r->parts[0], "api") == 0, version = r->part_count == (core ? 2 : 3);
	autobuf struct buf out = BUF_INIT(MAX_BODY);
	struct catalogue *c = catalogue_new(r->server);
	bool found = false;
	if (core && r->part_count == 2)
		found = write_version(c, "", r->parts[1], &out);
	else if (!core && r->part_count == 2)
		found = *r->parts[1] && write_group(c, r->parts[1], &out);
	else if (!core && r->part_count == 3)
		found = *r->parts[1] && write_version(c, r->parts[1], r->parts[2], &out);
	catalogue_free(c);
	const char *group = core ? "" : r->parts[1];
	/* A group is told whatever the method. */
	if (found && version && strcmp(r->method, "GET") != 0)
		return error_method_not_allowed(err);
	int rc = found && version ? request_check_document(r, err) : 0;
	if (rc == 0 && found)
		rc = request_negotiate_unrouted(r, false, &r->accept, err);
	if (rc < 0)
		return rc;
	if (found)
		request_respond_encoded(r, 200, !core && r->part_count == 2 ? &meta_v1_api_group_type : &meta_v1_api_resource_list_type, out.data, out.len);
	else if (version && registry_has_built_in_group(r->server->registry, group))
		return error_not_served(err);
	else
		respond_nowhere(r);
	return REQUEST_TAKEN;
}

static int compare_paths(const void *a, const void *b) {
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int discovery_root(struct request *r, struct error *err) {
	static const char *const own[] = {"/.well-known/openid-configuration", "/api", "/api/v1", "/apis", "/apis/", "/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/openid/v1/jwks", "/readyz", "/version"};
	struct catalogue *c = catalogue_new(r->server);
	autobuf struct buf out = BUF_INIT(MAX_BODY);
	size_t count = array_len(own), cap = count;
	for (size_t i = 0; i < c->len; i++)
		cap += 1 + c->groups[i].len;
	const char **paths = arena_calloc(r->arena, cap, sizeof(*paths));
	memcpy(paths, own, sizeof(own));
	for (size_t i = 0; i < c->len; i++) {
		if (!*c->groups[i].group)
			continue;
		paths[count++] = arena_printf(r->arena, "/apis/%s", c->groups[i].group);
		for (size_t v = 0; v < c->groups[i].len; v++)
			paths[count++] = arena_printf(r->arena, "/apis/%s/%s", c->groups[i].group, c->groups[i].versions[v]->version);
	}
	catalogue_free(c);
	qsort(paths, count, sizeof(*paths), compare_paths);
	buf_append_str(&out, "{\"paths\":[");
	for (size_t i = 0; i < count; i++) {
		buf_append_str(&out, i ? "," : "");
		buf_append_json_string(&out, paths[i], strlen(paths[i]));
	}
	buf_append_str(&out, "]}");
	r->accept.pretty = true;
	request_respond_json(r, 200, out.data, out.len);
	return REQUEST_TAKEN;
}

/* ---- OpenID ---- */

int openid_configuration(struct request *r, struct error *err) {
	static const char *const types[] = {"application/json", NULL};
	int rc = request_check_produced(r, types, err);
	if (rc < 0)
		return rc;
	struct signer *signer = authn_signer(r->server->authn);
	const char *issuer = signer_issuer(signer);
	const char *given = r->server->options->service_account_jwks_uri;
	autofree char *uri = str_empty(given) ? xprintf("https://%s:%u/openid/v1/jwks", r->server->advertise_address, r->server->port) : xstrdup(given);
	autobuf struct buf out = BUF_INIT(64 << 10);
	buf_append_char(&out, '{');
	string_member(&out, "issuer", issuer);
	buf_append_char(&out, ',');
	string_member(&out, "jwks_uri", uri);
	autobuf struct buf keys = BUF_INIT(1 << 20);
	signer_jwks(signer, &keys);
	bool curves = keys.data && strstr(keys.data, "\"ES256\""), primes = keys.data && strstr(keys.data, "\"RS256\"");
	buf_printf(&out, ",\"response_types_supported\":[\"id_token\"],\"subject_types_supported\":[\"public\"],\"id_token_signing_alg_values_supported\":[%s%s%s]}", curves ? "\"ES256\"" : "",
		   curves && primes ? "," : "", primes ? "\"RS256\"" : "");
	request_finished(r, 200);
	http_set_header(r->http, "Cache-Control", "public, max-age=3600");
	http_respond(r->http, 200, "application/json", out.data, out.len);
	return REQUEST_TAKEN;
}

int openid_jwks(struct request *r, struct error *err) {
	static const char *const types[] = {"application/jwk-set+json", NULL};
	int rc = request_check_produced(r, types, err);
	if (rc < 0)
		return rc;
	autobuf struct buf out = BUF_INIT(1 << 20);
	signer_jwks(authn_signer(r->server->authn), &out);
	request_finished(r, 200);
	http_set_header(r->http, "Cache-Control", "public, max-age=3600");
	http_respond(r->http, 200, "application/jwk-set+json", out.data, out.len);
	return REQUEST_TAKEN;
}
