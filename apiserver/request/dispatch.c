/* SPDX-License-Identifier: Apache-2.0 */
/* From the parsed request to its handler: rows for paths that are not resources, verbs and subresources for those that are. */
#include "apiserver/aggregator/aggregator.h"
#include "apiserver/debug.h"
#include "apiserver/discovery/discovery.h"
#include "apiserver/flow/flow.h"
#include "apiserver/health.h"
#include "apiserver/request/steps.h"
#include "apiserver/resourcemetrics/resourcemetrics.h"
#include "apiserver/rest/subresource.h"
#include "apiserver/rest/review.h"
#include "apiserver/rest/write.h"
#include "apiserver/strategy/strategy.h"
#include "apiserver/zpages.h"
#include "common/api/format.h"
#include "common/base/metrics.h"

#include <errno.h>

/* ---- paths that are not resources ---- */

static int page_not_found(struct request *r, struct error *err) {
	http_add_header(r->http, "X-Content-Type-Options", "nosniff");
	request_respond_text(r, 404, "404 page not found\n");
	return REQUEST_TAKEN;
}

static int not_served_here(struct request *r, struct error *err) {
	return error_not_served(err);
}

static const struct path_row {
	const char *path; /* a trailing * matches what follows */
	int (*handle)(struct request *r, struct error *err);
	enum { READ_ONLY, GET_ONLY, ANY_METHOD } methods; /* GET and HEAD; GET; whatever it is, the answer is the same */
} paths[] = {
	{"/healthz", health_handle, ANY_METHOD}, {"/healthz/*", health_handle, ANY_METHOD},
	{"/livez", health_handle, ANY_METHOD}, {"/livez/*", health_handle, ANY_METHOD},
	{"/readyz", health_handle, ANY_METHOD}, {"/readyz/*", health_handle, ANY_METHOD},
	{"/metrics", metrics_handle, ANY_METHOD}, {"/metrics/slis", slis_handle, ANY_METHOD},
	{"/statusz", statusz_handle, ANY_METHOD}, {"/flagz", flagz_handle, ANY_METHOD},
	{"/debug/api_priority_and_fairness/*", flow_debug, READ_ONLY},
	{"/debug/pprof", debug_profiles, ANY_METHOD}, {"/debug/pprof/*", debug_profiles, ANY_METHOD},
	{"/debug/flags", debug_flags, ANY_METHOD}, {"/debug/flags/v", debug_verbosity, ANY_METHOD}, {"/debug/flags/*", debug_flags, ANY_METHOD},
	{"/version", version_handle, GET_ONLY}, {"/version/", version_handle, GET_ONLY}, {"/version/*", not_served_here, ANY_METHOD},
	{"/api", discovery_api, GET_ONLY}, {"/api/", discovery_api, GET_ONLY}, {"/api//", discovery_api, GET_ONLY},
	{"/apis", discovery_apis, ANY_METHOD}, {"/apis/", discovery_apis, ANY_METHOD},
	{"/apis//*", page_not_found, ANY_METHOD},
	{"/api/*", discovery_version, ANY_METHOD},
	{"/apis/*", discovery_version, ANY_METHOD},
	{"/openapi/v2", openapi_v2, ANY_METHOD}, {"/openapi/v3", openapi_v3, ANY_METHOD}, {"/openapi/v3/*", openapi_v3, ANY_METHOD},
	{"/.well-known/openid-configuration", openid_configuration, GET_ONLY},
	{"/openid/v1/jwks", openid_jwks, GET_ONLY}, {"/openid/v1/jwks/", openid_jwks, GET_ONLY},
	{"/", discovery_root, ANY_METHOD}, {"/index.html", discovery_root, ANY_METHOD},
};

static int dispatch_path(struct request *r, struct error *err) {
	for (size_t i = 0; i < array_len(paths); i++) {
		size_t len = strlen(paths[i].path);
		bool match = paths[i].path[len - 1] == '*' ? strncmp(r->path, paths[i].path, len - 1) == 0 : strcmp(r->path, paths[i].path) == 0;
		if (!match)
			continue;
		bool get = strcmp(r->method, "GET") == 0, head = strcmp(r->method, "HEAD") == 0;
		if (paths[i].methods != ANY_METHOD && !get && !(head && paths[i].methods == READ_ONLY))
			return error_method_not_allowed(err);
		return paths[i].handle(r, err);
	}
	return page_not_found(r, err);
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
	return page_not_found(r, err);
}

static int check_name(const struct request *r, struct error *err) {
	struct format_messages unfit = {0};
	if (r->name)
		format_path_segment(r->name, &unfit);
	return unfit.len ? error_bad_request(err, "Name parameter invalid: \"%s\": %s", r->name, unfit.items[0]) : 0;
}

static int dispatch_resource(struct request *r, struct error *err) {
	if (r->old_proxy)
		return not_served(r, err);
	r->resource = registry_find(r->server->registry, r->group, r->version, r->plural);
	if (!r->resource || __atomic_load_n(&r->resource->removed, __ATOMIC_ACQUIRE))
		return not_served(r, err);
	const struct api_resource *api = r->resource->api;
	/* A collection over all namespaces is read only; an object of a namespaced kind needs its namespace. */
	if (api->namespaced && str_empty(r->ns) && (r->name || !(api->verbs & API_VERB_LIST)))
		return not_served(r, err);
	if (!api->namespaced && !str_empty(r->ns) && strcmp(r->plural, "namespaces") != 0)
		return not_served(r, err);
	if (r->too_deep || (r->watch_path && r->subresource && !r->resource->custom))
		return not_served(r, err);
	/* What is only created has no objects below. */
	if (r->name && !r->subresource && !(api->verbs & (API_VERB_GET | API_VERB_UPDATE | API_VERB_PATCH | API_VERB_DELETE)))
		return not_served(r, err);
	if (r->watch_path && strcmp(r->method, "GET") != 0)
		return error_method_not_allowed(err);
	bool head = strcmp(r->method, "HEAD") == 0;
	if (r->subresource) {
		r->sub = api_resource_subresource(api, r->subresource);
		if (!r->sub)
			return not_served(r, err);
		/* OPTIONS may be passed on as well. */
		const struct verb_row *verb = find_verb(strcmp(r->subresource, "proxy") == 0 && strcmp(r->method, "OPTIONS") == 0 ? "get" : r->verb);
		if (!verb || !(r->sub->verbs & verb->bit) || (head && strcmp(r->subresource, "proxy") != 0))
			return error_method_not_allowed(err);
		if (r->nameless)
			return error_bad_request(err, "name must be provided");
		if (check_name(r, err) < 0)
			return -EINVAL;
		/* Logs are streams, and yet an object's form is settled first. */
		bool stream = subresource_is_stream(r) && strcmp(r->subresource, "log") != 0;
		int rc = stream ? 0 : request_negotiate(r, true, &r->accept, err);
		return rc < 0 ? rc : subresource_handle(r, err);
	}
	if (strcmp(r->verb, "watch") == 0 && !r->watch_path && !(api->verbs & API_VERB_WATCH) && (api->verbs & API_VERB_LIST)) {
		if (r->resource->strategy->deprecated)
			request_warn(r, "%s", r->resource->strategy->deprecated);
		error_status(err, 405, "MethodNotAllowed", "watch is not supported on resources of kind \"%s\"", r->plural);
		error_details(err, NULL, r->plural, NULL);
		return -EPERM;
	}
	const struct verb_row *verb = find_verb(r->verb);
	if (!verb || !(api->verbs & verb->bit) || verb->named != (r->name != NULL) || head)
		return error_method_not_allowed(err);
	bool can_transform = r->resource->collection != NULL || (api->verbs & API_VERB_LIST);
	int rc = request_check_route(r, err);
	if (rc == 0 && r->resource->strategy && r->resource->strategy->deprecated)
		request_warn(r, "%s", r->resource->strategy->deprecated);
	if (rc == 0)
		rc = request_negotiate_unrouted(r, can_transform, &r->accept, err);
	if (rc == 0 && strcmp(r->verb, "update") != 0) /* which has the name of its body looked at first */
		rc = check_name(r, err);
	if (rc < 0)
		return rc;
	if (!r->resource->collection)
		return dispatch_unstored(r, err);
	if (api->namespaced && str_empty(r->ns) && strcmp(r->verb, "create") == 0)
		return error_method_not_allowed(err);
	return verb->handle(r, err);
}

int step_dispatch(struct request *r, struct error *err) {
	if (r->nowhere)
		return page_not_found(r, err);
	int rc = aggregator_handle(r, err);
	if (rc != 0)
		return rc;
	return r->is_resource ? dispatch_resource(r, err) : dispatch_path(r, err);
}
