/* SPDX-License-Identifier: Apache-2.0 */
/* What is served above the resources: versions, groups, the lists of resources, keys. Each is a document of v3, or a part of a version's. */
#include "apiserver/openapi/paths.h"

#define META "meta/v1."

static const char *const json_only[] = {"application/json", NULL};
static const char *const jwks_only[] = {"application/jwk-set+json", NULL};
static const char *const usual[] = {"application/json", "application/yaml", "application/vnd.kubernetes.protobuf", NULL};

struct root {
	const char *key; /* of its document */
	const char *path, *tag, *id, *doc;
	const char *type; /* NULL: a text */
	const char *const *types;
};
static const struct root roots[] = {
	{".well-known/openid-configuration", "/.well-known/openid-configuration/", "WellKnown", "getServiceAccountIssuerOpenIDConfiguration", "tells who issues the tokens of service accounts, in the form of OpenID", NULL, json_only},
	{"api", "/api/", "core", "getCoreAPIVersions", "tells the versions of the core API", META "APIVersions", usual},
	{"apis", "/apis/", "apis", "getAPIVersions", "tells the groups that are served", META "APIGroupList", usual},
	{"openid/v1/jwks", "/openid/v1/jwks/", "openid", "getServiceAccountIssuerOpenIDKeyset", "tells the keys that tokens of service accounts are verified by", NULL, jwks_only},
	{"version", "/version/", "version", "getCodeVersion", "tells the version of the server", "version.Info", json_only},
};

static void write_root(const struct writing *w, const struct root *root, bool *first) {
	const struct api_type *type = root->type ? api_type_by_id(root->type) : NULL;
	schema_set_add(w->set, type);
	buf_printf(w->out, "%s\"%s\":{\"get\":{\"tags\":[\"%s\"],\"description\":\"%s\",\"operationId\":\"%s\",", *first ? "" : ",", root->path, root->tag, root->doc, root->id);
	*first = false;
	if (w->form == OPENAPI_V2) {
		if (root->types == usual || root->type)
			openapi_words("consumes", root->types, w->out);
		openapi_words("produces", root->types, w->out);
		buf_append_str(w->out, "\"schemes\":[\"https\"],");
	}
	openapi_responses(w, "1", type ? type->openapi : NULL, root->types);
	buf_append_str(w->out, "}}");
}

bool roots_write(const struct writing *w, const char *key, bool *first) {
	bool any = false;
	for (size_t i = 0; i < array_len(roots); i++)
		if (!key || strcmp(roots[i].key, key) == 0) {
			write_root(w, &roots[i], first);
			any = true;
		}
	return any;
}

void roots_each(void (*fn)(const char *key, void *arg), void *arg) {
	for (size_t i = 0; i < array_len(roots); i++)
		fn(roots[i].key, arg);
}

void roots_write_group(const struct writing *w, const char *group, const char *version, bool *first) {
	autofree char *tag = NULL, *id = NULL;
	openapi_tag(group, &tag, &id);
	autofree char *path = version ? xprintf(*group ? "/apis/%s/%s/" : "/api/%s%s/", group, version) : xprintf("/apis/%s/", group);
	autofree char *full_tag = version ? xprintf("%s_%s", tag, version) : xstrdup(tag);
	autofree char *full_id = version ? xprintf("get%s%c%sAPIResources", id, version[0] - 'a' + 'A', version + 1) : xprintf("get%sAPIGroup", id);
	struct root root = {.path = path, .tag = full_tag, .id = full_id, .doc = version ? "tells the resources that are served" : "tells of the group and its versions", .type = version ? META "APIResourceList" : META "APIGroup", .types = usual};
	write_root(w, &root, first);
}
