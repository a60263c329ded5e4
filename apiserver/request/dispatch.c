/* SPDX-License-Identifier: Apache-2.0 */
/* From the parsed request to its handler: rows for paths that are not resources, verbs and subresources for those that are. */
#include "apiserver/discovery/discovery.h"
#include "apiserver/flow/flow.h"
#include "apiserver/health.h"
#include "apiserver/request/steps.h"
#include "apiserver/resourcemetrics/resourcemetrics.h"
#include "apiserver/rest/subresource.h"
#include "apiserver/rest/review.h"
#include "apiserver/rest/write.h"
#include "apiserver/strategy/strategy.h"
#include "common/base/metrics.h"

#include <errno.h>

/* ---- paths that are not resources ---- */

static const struct path_row {
	const char *path; /* a trailing * matches what follows */
	int (*handle)(struct request *r, struct error *err);
} paths[] = {
	{"/healthz", health_handle}, {"/healthz/*", health_handle},
	{"/livez", health_handle}, {"/livez/*", health_handle},
	{"/readyz", health_handle}, {"/readyz/*", health_handle},
	{"/metrics", metrics_handle},
	{"/debug/api_priority_and_fairness/*", flow_debug},
	{"/version", version_handle}, {"/version/", version_handle},
	{"/api", discovery_api}, {"/api/", discovery_api},
	{"/apis", discovery_apis}, {"/apis/", discovery_apis},
	{"/api/*", discovery_version},
	{"/apis/*", discovery_version},
	{"/openapi/v2", openapi_v2}, {"/openapi/v3", openapi_v3}, {"/openapi/v3/*", openapi_v3},
	{"/.well-known/openid-configuration", openid_configuration},
	{"/openid/v1/jwks", openid_jwks}, {"/openid/v1/jwks/", openid_jwks},
	{"/", discovery_root},
};

static int dispatch_path(struct request *r, struct error *err) {
	for (size_t i = 0; i < array_len(paths); i++) {
		size_t len = strlen(paths[i].path);
		bool match = paths[i].path[len - 1] == '*' ? strncmp(r->path, paths[i].path, len - 1) == 0 : strcmp(r->path, paths[i].path) == 0;
		if (!match)
			continue;
		if (strcmp(r->method, "GET") != 0 && strcmp(r->method, "HEAD") != 0)
			return error_method_not_allowed(err);
		return paths[i].handle(r, err);
	}
	request_respond_text(r, 404, "404 page not found\n");
	return REQUEST_TAKEN;
}

/* ---- resources ---- */

static const struct verb_row {
	const char *verb;
	uint32_t bit;
	bool named; /* needs a name in the path */
	int (*handle)(struct request *r, struct error *err);
} verbs[] = {
	{"get", API_VERB_GET, true, rest_get},
	{"list", API_VERB_LIST, false, rest_list},
	{"watch", API_VERB_WATCH, false, rest_watch},
	{"create", API_VERB_CREATE, false, rest_create},
	{"update", API_VERB_UPDATE, true, rest_update},
	{"patch", API_VERB_PATCH, true, rest_patch},
	{"delete", API_VERB_DELETE, true, rest_delete},
	{"deletecollection", API_VERB_DELETECOLLECTION, false, rest_delete_collection},
};

static const struct verb_row *find_verb(const char *verb) {
	for (size_t i = 0; i < array_len(verbs); i++)
		if (strcmp(verbs[i].verb, verb) == 0)
			return &verbs[i];
	return NULL;
}

/* Groups whose objects are made for each answer. */
static const struct made_row {
	const char *group;
	int (*handle)(struct request *r, struct error *err);
} made[] = {
	{"metrics.k8s.io", resource_metrics_handle},
};

static int dispatch_unstored(struct request *r, struct error *err) {
	for (size_t i = 0; i < array_len(made); i++)
		if (strcmp(made[i].group, r->group) == 0)
			return made[i].handle(r, err);
	return review_handle(r, err);
}

static int not_served(struct request *r, struct error *err) {
	if (registry_has_built_in_group(r->server->registry, r->group))
		return error_not_served(err);
	request_respond_text(r, 404, "404 page not found\n");
	return REQUEST_TAKEN;
}

static int dispatch_resource(struct request *r, struct error *err) {
	r->resource = registry_find(r->server->registry, r->group, r->version, r->plural);
	if (!r->resource || __atomic_load_n(&r->resource->removed, __ATOMIC_ACQUIRE))
		return not_served(r, err);
	const struct api_resource *api = r->resource->api;
	if (r->resource->strategy && r->resource->strategy->deprecated)
		request_warn(r, "%s", r->resource->strategy->deprecated);
	/* A collection over all namespaces is read only; an object of a namespaced kind needs its namespace. */
	if (api->namespaced && str_empty(r->ns) && r->name)
		return not_served(r, err);
	if (!api->namespaced && !str_empty(r->ns) && strcmp(r->plural, "namespaces") != 0)
		return not_served(r, err);
	bool head = strcmp(r->method, "HEAD") == 0;
	if (r->subresource) {
		r->sub = api_resource_subresource(api, r->subresource);
		if (!r->sub)
			return not_served(r, err);
		const struct verb_row *verb = find_verb(r->verb);
		if (!verb || !(r->sub->verbs & verb->bit) || (head && strcmp(r->subresource, "proxy") != 0))
			return error_method_not_allowed(err);
		bool stream = subresource_is_stream(r);
		int rc = stream ? 0 : request_negotiate(r, true, &r->accept, err);
		return rc < 0 ? rc : subresource_handle(r, err);
	}
	const struct verb_row *verb = find_verb(r->verb);
	if (!verb || !(api->verbs & verb->bit) || verb->named != (r->name != NULL) || head)
		return error_method_not_allowed(err);
	bool can_transform = r->resource->collection != NULL || (api->verbs & API_VERB_LIST);
	int rc = request_negotiate(r, can_transform, &r->accept, err);
	if (rc < 0)
		return rc;
	if (!r->resource->collection)
		return dispatch_unstored(r, err);
	if (api->namespaced && str_empty(r->ns) && strcmp(r->verb, "create") == 0)
		return error_method_not_allowed(err);
	return verb->handle(r, err);
}

int step_dispatch(struct request *r, struct error *err) {
	return r->is_resource ? dispatch_resource(r, err) : dispatch_path(r, err);
}
