/* SPDX-License-Identifier: Apache-2.0 */
/* NamespaceAutoProvision makes the namespace that something is made in; NamespaceExists refuses what is in none. */
#include "apiserver/admission/admission.h"
#include "apiserver/strategy/strategy.h"
#include "api/core_v1.h"

static bool is_missing(struct write *w) {
	if (!w->resource->api->namespaced || str_empty(w->ns))
		return false;
	autoentry struct entry *entry = collection_get(registry_find(w->r->server->registry, "", "v1", "namespaces")->collection, w->ns);
	return !entry;
}

static int make_namespace(struct write *q, struct error *err) {
	if (q->old) {
		q->action = WRITE_SAME; /* another was quicker */
		return 0;
	}
	struct core_v1_namespace *ns = q->object = api_new_of(core_v1_namespace);
	ns->metadata.name = arena_strdup(api_arena(ns), q->name);
	api_default(ns);
	q->created = true;
	q->track_fields = true;
	return 0;
}

static void on_made(struct write *q, struct entry *entry) {
	struct write *w = q->owner;
	write_end(q);
	write_resume(w, NULL);
}

static void on_failed(struct write *q, const struct error *err) {
	struct write *w = q->owner;
	autoerror struct error refused = {0};
	bool there = str_equal(err->reason, "AlreadyExists");
	if (!there)
		error_forbidden(&refused, w->resource, admission_name(w), "%s", error_message(err));
	write_end(q);
	write_resume(w, there ? NULL : &refused);
}

static int admit_namespace(struct write *w, struct error *err) {
	if (w->dry_run || !is_missing(w))
		return 0;
	struct write *q = write_new(w->r, WRITE_CREATE);
	q->resource = registry_find(w->r->server->registry, "", "v1", "namespaces");
	q->strategy = q->resource->strategy;
	q->subresource = NULL;
	q->ns = "";
	q->name = w->ns;
	q->skip_admission = true;
	q->manager = "kube-apiserver";
	q->owner = w;
	q->make = make_namespace;
	q->done = on_made;
	q->failed = on_failed;
	write_start(q);
	return REQUEST_TAKEN;
}

const struct admission_plugin admission_namespace_provision = {
	.name = "NamespaceAutoProvision",
	.operations = WRITE_CREATE,
	.off_by_default = true,
	.admit = admit_namespace,
};

static int validate_namespace(struct write *w, struct error *err) {
	return is_missing(w) ? error_not_found(err, registry_find(w->r->server->registry, "", "v1", "namespaces"), w->ns) : 0;
}

const struct admission_plugin admission_namespace_exists = {
	.name = "NamespaceExists",
	.operations = WRITE_CREATE | WRITE_UPDATE | WRITE_DELETE,
	.off_by_default = true,
	.validate = validate_namespace,
};
