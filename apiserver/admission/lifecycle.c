/* SPDX-License-Identifier: Apache-2.0 */
/* NamespaceLifecycle: nothing is made in a namespace that is not there or goes away, nor of a kind that does; the system's namespaces stay. */
#include "apiserver/admission/admission.h"
#include "apiserver/custom/custom.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"

#include <errno.h>

static const char *const immortal[] = {"default", "kube-system", "kube-public"};

/* Every creation comes by here, and hardly any namespace goes away: only one that may is decoded. */
static bool is_going(const struct resource *namespaces, struct entry *entry) {
	static const char mark[] = "\"deletionTimestamp\"";
	void *object;
	if (!str_equal(api_map_get(&entry->fields, "status.phase"), "Terminating") && !memmem(entry->json->data, entry->json->len, mark, sizeof(mark) - 1))
		return false;
	if (resource_decode(namespaces, entry, &object, NULL) < 0)
		return true;
	const struct core_v1_namespace *ns = object;
	bool going = str_equal(ns->status.phase, "Terminating") || ns->metadata.deletion_timestamp.set;
	api_unref(object);
	return going;
}

static int check_namespace(struct write *w, struct error *err) {
	bool makes = w->operation == WRITE_CREATE || w->created;
	if (makes && w->resource->custom && w->resource->custom->terminating)
		return error_forbidden(err, w->resource, admission_name(w), "create not allowed while custom resource definition is terminating");
	const struct resource *namespaces = registry_find(w->r->server->registry, "", "v1", "namespaces");
	if (!w->resource->api->namespaced) {
		bool own = strcmp(w->resource->api->plural, "namespaces") == 0 && str_empty(w->resource->api->group);
		if (own && w->operation == WRITE_DELETE)
			for (size_t i = 0; i < array_len(immortal); i++)
				if (str_equal(w->name, immortal[i]))
					return error_forbidden(err, w->resource, w->name, "this namespace may not be deleted");
		return 0;
	}
	if (!makes)
		return 0;
	/* Access reviews are about a namespace, not in it. */
	if (strcmp(w->resource->api->plural, "localsubjectaccessreviews") == 0)
		return 0;
	autoentry struct entry *entry = collection_get(namespaces->collection, w->ns);
	if (!entry)
		return error_not_found(err, namespaces, w->ns);
	if (!is_going(namespaces, entry))
		return 0;
	int rc = error_forbidden(err, w->resource, admission_name(w), "unable to create new content in namespace %s because it is being terminated", w->ns);
	error_cause(err, "NamespaceTerminating", "metadata.namespace", "namespace %s is being terminated", w->ns);
	return rc;
}

const struct admission_plugin admission_namespace_lifecycle = {
	.name = "NamespaceLifecycle",
	.operations = WRITE_CREATE | WRITE_UPDATE | WRITE_DELETE,
	.bodies = true,
	.admit = check_namespace,
};
