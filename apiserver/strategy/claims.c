/* SPDX-License-Identifier: Apache-2.0 */
/* ResourceClaim and its template: who may have devices that others use, and who may say what was allocated to a claim and how its devices fare. */
#include "apiserver/authn/authn.h"
#include "apiserver/authz/authz.h"
#include "apiserver/strategy/table.h"
#include "apiserver/validation/validation.h"
#include "api/resource_v1.h"

#define ADMIN_LABEL "resource.kubernetes.io/admin-access"
#define NODE_NAME_KEY "authentication.kubernetes.io/node-name"

/* ---- access beside the devices' users ---- */

static void check_admin_label(struct write *w, const struct path *at, struct error *causes) {
	const struct resource *namespaces = registry_find(w->r->server->registry, "", "v1", "namespaces");
	autoentry struct entry *entry = collection_get(namespaces->collection, w->ns);
	autounref void *object = NULL;
	if (!entry || resource_decode(namespaces, entry, &object, NULL) < 0)
		cause_internal(causes, at, "could not retrieve namespace to verify admin access: namespaces \"%s\" not found", w->ns);
	else if (!str_equal(api_map_get(&api_metadata(object)->labels, ADMIN_LABEL), "true"))
		forbidden(causes, at, "admin access to devices requires the `" ADMIN_LABEL ": true` label on the containing namespace");
}

/* The first request counts. It is named as that of a claim, also where it stands in a template. */
static void check_admin_requests(struct write *w, const struct resource_v1_device_claim *claim, struct error *causes) {
	struct path spec = PATH(NULL, "spec"), devices = PATH(&spec, "devices");
	for (uint32_t i = 0; i < claim->requests.len; i++) {
		const struct resource_v1_exact_device_request *exactly = claim->requests.items[i].exactly;
		if (!exactly || !exactly->admin_access || !*exactly->admin_access)
			continue;
		struct path request = PATH_INDEX(&devices, "requests", i);
		check_admin_label(w, &PATH(&request, "adminAccess"), causes);
		return;
	}
}

/* -1: none of what was allocated has it. */
static int64_t first_admin_result(const struct resource_v1_allocation_result *allocation) {
	for (uint32_t i = 0; allocation && i < allocation->devices.results.len; i++)
		if (allocation->devices.results.items[i].admin_access && *allocation->devices.results.items[i].admin_access)
			return i;
	return -1;
}

static void check_admin_results(struct write *w, const struct resource_v1_resource_claim_status *status, const struct resource_v1_resource_claim_status *old, struct error *causes) {
	struct path path = PATH(NULL, "status"), allocation = PATH(&path, "allocation"), devices = PATH(&allocation, "devices");
	int64_t which = first_admin_result(status->allocation);
	if (which < 0 || first_admin_result(old->allocation) >= 0)
		return;
	struct path result = PATH_INDEX(&devices, "results", which);
	check_admin_label(w, &PATH(&result, "adminAccess"), causes);
}

/* ---- who may write a status: by subresources that nothing but authorization knows ---- */

/* NULL where the user may; else why not, in w's arena. */
static const char *refusal(struct write *w, const char *verb, const char *subresource, const char *ns, const char *name) {
	const struct authz_attributes a = {
		.user = w->r->user, .verb = verb, .is_resource = true, .group = "resource.k8s.io", .version = w->resource->api->version, .resource = "resourceclaims", .subresource = subresource, .ns = ns, .name = name,
	};
	const char *reason = NULL;
	if (authz_decide(w->r->server->authz, &a, &w->asks, w->arena, &reason) == AUTHZ_ALLOW)
		return NULL;
	autoerror struct error why = {0};
	authz_forbidden(w->r, &a, reason, &why);
	return arena_strdup(w->arena, error_message(&why));
}

static bool same_items(const struct resource_v1_resource_claim_consumer_reference_array *a, const struct resource_v1_resource_claim_consumer_reference_array *b) {
	bool same = a->len == b->len;
	for (uint32_t i = 0; same && i < a->len; i++)
		same = api_equal(&resource_v1_resource_claim_consumer_reference_type, &a->items[i], &b->items[i]);
	return same;
}

static void check_binding(struct write *w, const struct resource_v1_resource_claim_status *status, const struct resource_v1_resource_claim_status *old, struct error *causes) {
	struct path path = PATH(NULL, "status");
	bool same = status->allocation && old->allocation ? api_equal(&resource_v1_allocation_result_type, status->allocation, old->allocation) : status->allocation == old->allocation;
	if (same && same_items(&status->reserved_for, &old->reserved_for))
		return;
	const char *why = refusal(w, w->r->verb, "binding", NULL, NULL);
	if (why)
		forbidden(causes, &PATH(&path, "allocation"), "changing status.allocation or status.reservedFor requires resource=\"resourceclaims/binding\", verb=\"%s\" permission: %s", w->r->verb, why);
}

static bool same_device(const struct resource_v1_allocated_device_status *a, const struct resource_v1_allocated_device_status *b) {
	return str_equal(a->driver, b->driver) && str_equal(a->pool, b->pool) && str_equal(a->device, b->device) && str_equal(str_or(a->share_id, ""), str_or(b->share_id, ""));
}

/* Adds the drivers of devices that `a` has and `b` has not, or otherwise. */
static void add_drivers(const struct resource_v1_resource_claim_status *a, const struct resource_v1_resource_claim_status *b, struct arena *arena, struct api_string_list *drivers) {
	for (uint32_t i = 0; i < a->devices.len; i++) {
		const struct resource_v1_allocated_device_status *device = &a->devices.items[i];
		bool same = false;
		for (uint32_t n = 0; n < b->devices.len && !same; n++)
			same = same_device(device, &b->devices.items[n]) && api_equal(&resource_v1_allocated_device_status_type, device, &b->devices.items[n]);
		if (!same && !api_string_list_has(drivers, str_or(device->driver, "")))
			api_string_list_add(arena, drivers, str_or(device->driver, ""));
	}
}

/* The only node where what was allocated can be used; NULL: there are others. */
static const char *node_of(const struct resource_v1_allocation_result *allocation) {
	const struct core_v1_node_selector *selector = allocation ? allocation->node_selector : NULL;
	if (!selector || selector->node_selector_terms.len != 1)
		return NULL;
	const struct core_v1_node_selector_term *term = selector->node_selector_terms.items;
	if (term->match_expressions.len || term->match_fields.len != 1)
		return NULL;
	const struct core_v1_node_selector_requirement *field = term->match_fields.items;
	return str_equal(field->key, "metadata.name") && str_equal(field->operator, "In") && field->values.len == 1 ? field->values.items[0] : NULL;
}

/* A driver's service account whose token is bound to a pod of that node. */
static bool is_on_node(const struct user *user, const char *node) {
	if (str_empty(node) || !str_starts_with(user->name, "system:serviceaccount:"))
		return false;
	for (size_t i = 0; i < user->extra_count; i++)
		if (str_equal(user->extra[i].key, NODE_NAME_KEY))
			return user->extra[i].values && user->extra[i].values[0] && !user->extra[i].values[1] && strcmp(user->extra[i].values[0], node) == 0;
	return false;
}

static int order_names(const void *a, const void *b) {
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void check_drivers(struct write *w, const struct resource_v1_resource_claim_status *status, const struct resource_v1_resource_claim_status *old, struct error *causes) {
	struct path path = PATH(NULL, "status");
	struct api_string_list drivers = {0};
	add_drivers(status, old, w->arena, &drivers);
	add_drivers(old, status, w->arena, &drivers);
	if (!drivers.len)
		return;
	qsort(drivers.items, drivers.len, sizeof(*drivers.items), order_names);
	const char *anywhere = arena_printf(w->arena, "arbitrary-node:%s", w->r->verb), *here = arena_printf(w->arena, "associated-node:%s", w->r->verb);
	bool beside = is_on_node(w->r->user, node_of(status->allocation));
	for (uint32_t i = 0; i < drivers.len; i++) {
		const char *why = refusal(w, beside ? here : anywhere, "driver", w->ns, drivers.items[i]);
		if (why && !(beside && !refusal(w, anywhere, "driver", w->ns, drivers.items[i])))
			forbidden(causes, &PATH(&path, "devices"), "changing status.devices requires resource=\"resourceclaims/driver\", verb=\"[%s%s%s]\" permission: %s", beside ? here : "", beside ? " " : "", anywhere, why);
	}
}

/* ---- rows ---- */

static void claim_authorize(struct write *w, struct error *causes) {
	const struct resource_v1_resource_claim *claim = w->object, *old = w->created ? NULL : w->old;
	if (!old)
		check_admin_requests(w, &claim->spec.devices, causes);
	if (!old || !str_equal(w->subresource, "status"))
		return;
	check_admin_results(w, &claim->status, &old->status, causes);
	check_binding(w, &claim->status, &old->status, causes);
	if (claim->status.allocation)
		check_drivers(w, &claim->status, &old->status, causes);
}

static void template_authorize(struct write *w, struct error *causes) {
	const struct resource_v1_resource_claim_template *template = w->object;
	if (w->created)
		check_admin_requests(w, &template->spec.spec.devices, causes);
}

static const struct strategy claims = {.group = "resource.k8s.io", .plural = "resourceclaims", .status_keeps = STATUS_KEEPS_METADATA, .authorize = claim_authorize};
static const struct strategy templates = {.group = "resource.k8s.io", .plural = "resourceclaimtemplates", .authorize = template_authorize};

const struct strategy *const strategies_claims[] = {&claims, &templates, NULL};
