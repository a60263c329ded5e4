/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OwnerReferencesPermissionEnforcement: who names other owners of an object could delete it; who says that an owner is to wait for the object's end could change that
 * owner's finalizers.
 */
#include "apiserver/admission/admission.h"
#include "apiserver/authz/authz.h"
#include "api/meta_v1.h"

static bool changed(const struct meta_v1_object_meta *now, const struct meta_v1_object_meta *old) {
	if (!old || now->owner_references.len != old->owner_references.len)
		return now->owner_references.len || old;
	for (uint32_t i = 0; i < now->owner_references.len; i++)
		if (!api_equal(&meta_v1_owner_reference_type, &now->owner_references.items[i], &old->owner_references.items[i]))
			return true;
	return false;
}

static bool is_blocking(const struct meta_v1_owner_reference *ref) {
	return ref->block_owner_deletion && *ref->block_owner_deletion;
}

static bool begins_to_block(const struct meta_v1_owner_reference *ref, const struct meta_v1_object_meta *old) {
	if (!is_blocking(ref))
		return false;
	for (uint32_t i = 0; old && i < old->owner_references.len; i++)
		if (str_equal(old->owner_references.items[i].uid, ref->uid))
			return !is_blocking(&old->owner_references.items[i]);
	return true;
}

static bool may(struct write *w, struct authz_attributes a, const char **ret_reason) {
	a.user = w->r->user;
	a.is_resource = true;
	return authz_decide(w->r->server->authz, &a, &w->asks, w->arena, ret_reason) == AUTHZ_ALLOW;
}

static int check_blocking(struct write *w, const struct meta_v1_owner_reference *ref, struct error *err) {
	const char *group, *version, *reason = "";
	api_split_group_version(w->arena, str_or(ref->api_version, ""), &group, &version);
	const struct resource *owner = registry_by_kind(w->r->server->registry, group, version, str_or(ref->kind, ""));
	if (!owner)
		return error_forbidden(err, w->resource, admission_name(w), "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion %s Kind %s: no matches for kind \"%s\" in version \"%s\"", str_or(ref->api_version, ""),
			str_or(ref->kind, ""), str_or(ref->kind, ""), str_or(ref->api_version, ""));
	const struct authz_attributes a = {.verb = "update", .group = group, .version = version, .ns = owner->api->namespaced ? w->ns : NULL, .resource = owner->api->plural, .subresource = "finalizers", .name = ref->name};
	if (may(w, a, &reason))
		return 0;
	return error_forbidden(err, w->resource, admission_name(w), "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: %s, <nil>", str_or(reason, ""));
}

static int validate(struct write *w, struct error *err) {
	/* A pod's status changes nothing of this, whatever kubelets send. */
	const struct meta_v1_object_meta *now = w->object && !w->body ? api_metadata(w->object) : NULL, *old = w->old && !w->created ? api_metadata(w->old) : NULL;
	if (!now || admission_is(w, "", "pods", "status") || !changed(now, old))
		return 0;
	const char *reason = "";
	if (old) {
		const struct authz_attributes a = {.verb = "delete", .group = resource_group(w->resource), .version = w->resource->api->version, .ns = w->ns, .resource = w->resource->api->plural, .subresource = w->subresource, .name = w->name};
		if (!may(w, a, &reason))
			return error_forbidden(err, w->resource, admission_name(w), "cannot set an ownerRef on a resource you can't delete: %s, <nil>", str_or(reason, ""));
	}
	bool any = false, asked = false;
	for (uint32_t i = 0; i < now->owner_references.len; i++) {
		const struct meta_v1_owner_reference *ref = &now->owner_references.items[i];
		if (!begins_to_block(ref, old))
			continue;
		if (!asked)
			any = may(w, (struct authz_attributes){.verb = "update", .group = "*", .version = "*", .resource = "*", .subresource = "finalizers", .name = "*"}, &reason);
		asked = true;
		int rc = any ? 0 : check_blocking(w, ref, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

const struct admission_plugin admission_owner_references = {
	.name = "OwnerReferencesPermissionEnforcement",
	.operations = WRITE_CREATE | WRITE_UPDATE,
	.off_by_default = true,
	.validate = validate,
};
