/* SPDX-License-Identifier: Apache-2.0 */
/* Defaults of the smaller groups that depend on other fields. */
#include "api/apiextensions_v1.h"
#include "api/networking_v1.h"
#include "api/rbac_v1.h"
#include "api/resource_v1.h"

#include <ctype.h>

void apiextensions_v1_custom_resource_definition_defaults(void *value, struct arena *arena, const void *root) {
	struct apiextensions_v1_custom_resource_definition *crd = value;
	struct apiextensions_v1_custom_resource_definition_names *names = &crd->spec.names;
	if (!crd->status.stored_versions.len)
		for api_list_each (version, &crd->spec.versions)
			if (version->storage) {
				api_string_list_add(arena, &crd->status.stored_versions, version->name);
				break;
			}
	if (str_empty(names->singular)) {
		char *singular = arena_strdup(arena, str_or(names->kind, ""));
		for (char *c = singular; *c; c++)
			*c = (char)tolower((unsigned char)*c);
		names->singular = singular;
	}
	if (str_empty(names->list_kind) && !str_empty(names->kind))
		names->list_kind = arena_printf(arena, "%sList", names->kind);
}

void networking_v1_network_policy_spec_defaults(void *value, struct arena *arena, const void *root) {
	struct networking_v1_network_policy_spec *spec = value;
	if (spec->policy_types.len)
		return;
	api_string_list_add(arena, &spec->policy_types, NETWORKING_V1_POLICY_TYPE_INGRESS);
	if (spec->egress.len)
		api_string_list_add(arena, &spec->policy_types, NETWORKING_V1_POLICY_TYPE_EGRESS);
}

void rbac_v1_subject_defaults(void *value, struct arena *arena, const void *root) {
	struct rbac_v1_subject *subject = value;
	if (str_empty(subject->api_group) && (str_equal(subject->kind, "User") || str_equal(subject->kind, "Group")))
		subject->api_group = "rbac.authorization.k8s.io";
}

static void default_allocation(const char **mode, int64_t *count) {
	if (str_empty(*mode))
		*mode = RESOURCE_V1_DEVICE_ALLOCATION_MODE_EXACT_COUNT;
	if (!*count && str_equal(*mode, RESOURCE_V1_DEVICE_ALLOCATION_MODE_EXACT_COUNT))
		*count = 1;
}

void resource_v1_exact_device_request_defaults(void *value, struct arena *arena, const void *root) {
	struct resource_v1_exact_device_request *request = value;
	default_allocation(&request->allocation_mode, &request->count);
}

void resource_v1_device_sub_request_defaults(void *value, struct arena *arena, const void *root) {
	struct resource_v1_device_sub_request *request = value;
	default_allocation(&request->allocation_mode, &request->count);
}

void resource_v1_device_taint_defaults(void *value, struct arena *arena, const void *root) {
	struct resource_v1_device_taint *taint = value;
	if (!taint->time_added.set)
		taint->time_added = api_time_now();
}
