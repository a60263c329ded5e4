/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/rest/subresource.h"

static const struct subresource_row rows[] = {
	{NULL, NULL, "status", false, subresource_object},
	{NULL, NULL, "scale", false, subresource_scale},
	{"", "pods", "binding", false, subresource_binding},
	{"", "pods", "eviction", false, subresource_eviction},
	{"", "pods", "ephemeralcontainers", false, subresource_object},
	{"", "pods", "resize", false, subresource_object},
	{"", "namespaces", "finalize", false, subresource_object},
	{"certificates.k8s.io", "certificatesigningrequests", "approval", false, subresource_object},
	{"", "serviceaccounts", "token", false, subresource_token},
	{"", "pods", "log", true, subresource_kubelet},
	{"", "pods", "exec", true, subresource_kubelet},
	{"", "pods", "attach", true, subresource_kubelet},
	{"", "pods", "portforward", true, subresource_kubelet},
	{"", NULL, "proxy", true, subresource_proxy},
};

static const struct subresource_row *find(const struct request *r) {
	for (size_t i = 0; i < array_len(rows); i++) {
		const struct subresource_row *row = &rows[i];
		if (strcmp(row->name, r->subresource) == 0 && (!row->plural || strcmp(row->plural, r->plural) == 0) && (!row->group || strcmp(row->group, r->group) == 0))
			return row;
	}
	return NULL;
}

bool subresource_is_stream(const struct request *r) {
	const struct subresource_row *row = find(r);
	return row && row->stream;
}

int subresource_handle(struct request *r, struct error *err) {
	const struct subresource_row *row = find(r);
	if (!row)
		return error_status(err, 404, "NotFound", "the server could not find the requested resource");
	return row->handle(r, err);
}

int subresource_object(struct request *r, struct error *err) {
	if (strcmp(r->verb, "get") == 0)
		return rest_get(r, err);
	if (strcmp(r->verb, "update") == 0)
		return rest_update(r, err);
	if (strcmp(r->verb, "patch") == 0)
		return rest_patch(r, err);
	return error_method_not_allowed(err);
}
