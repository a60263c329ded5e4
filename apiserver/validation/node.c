/* SPDX-License-Identifier: Apache-2.0 */
/* Node, RuntimeClass. */
#include "apiserver/validation/validation.h"
#include "api/node_v1.h"

#include <ctype.h>

static void check_capacity(const struct api_quantity_map *list, const char *field, const struct path *at, struct error *err) {
	for (uint32_t i = 0; i < list->len; i++)
		check_resource_value(list->items[i].key, &list->items[i].value, &PATH(AT(field), list->items[i].key), err);
}

/* MyFeature, MyFeature/mySubFeature */
static bool is_feature(const char *name) {
	if (!isupper((unsigned char)*name))
		return false;
	for (const char *p = name; *p; p++)
		if (*p == '/' ? !isalpha((unsigned char)p[1]) : !isalnum((unsigned char)*p))
			return false;
	return true;
}

static void check_features(const struct api_string_list *features, const struct path *at, struct error *err) {
	for (uint32_t i = 0; i < features->len; i++) {
		const char *name = features->items[i], *last = i ? features->items[i - 1] : NULL;
		if (strlen(name) > 253)
			invalid(err, AT_INDEX("declaredFeatures", i), name, "invalid feature name \"%s\": must be no more than 253 characters", name);
		else if (!is_feature(name))
			invalid(err, AT_INDEX("declaredFeatures", i), name, "invalid feature name \"%s\": must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes", name);
		if (last && strcmp(last, name) == 0)
			duplicate(err, AT_INDEX("declaredFeatures", i), name);
		else if (last && strcmp(last, name) > 0)
			invalid(err, AT_INDEX("declaredFeatures", i), name, "list must be sorted alphabetically");
	}
}

static void check_taints(const struct core_v1_node_spec *spec, const struct path *at, struct error *err) {
	static const char *const effects[] = {"NoSchedule", "PreferNoSchedule", "NoExecute", NULL};
	automap struct map seen = MAP_INIT(NULL);
	for (uint32_t i = 0; i < spec->taints.len; i++) {
		const struct core_v1_taint *taint = &spec->taints.items[i];
		autofree char *key = xprintf("%s:%s", str_or(taint->key, ""), str_or(taint->effect, ""));
		const char *text = format_error(format_label_value, str_or(taint->value, ""));
		check_format(format_qualified_name, str_or(taint->key, ""), &PATH(AT_INDEX("taints", i), "key"), err);
		check_enum(taint->effect, effects, &PATH(AT_INDEX("taints", i), "effect"), err);
		if (text)
			invalid(err, &PATH(AT_INDEX("taints", i), "value"), taint->value, "%s", text);
		if (seen_before(&seen, key))
			duplicate_struct(err, AT_INDEX("taints", i), &core_v1_taint_type, taint, "taints must be unique by key and effect pair");
	}
}

#define CIDR_MAY_CHANGE "node updates may not change podCIDR except from \"\" to valid"

CHECK(core_v1_node_spec, spec) {
	const char *bad = NULL;
	for (uint32_t i = 0; i < spec->pod_cidrs.len; i++) {
		check_format(format_cidr, spec->pod_cidrs.items[i], AT_INDEX("podCIDRs", i), err);
		if (!bad && format_error(format_cidr, spec->pod_cidrs.items[i]))
			bad = spec->pod_cidrs.items[i];
	}
	if (spec->pod_cidrs.len > 1 && bad) {
		cause_internal(err, AT("podCIDRs"), "invalid PodCIDRs. failed to check with dual stack with error:invalid CIDR address: %s", bad);
		invalid_list(err, AT("podCIDRs"), &spec->pod_cidrs, "may specify no more than one CIDR for each IP family");
	} else if (spec->pod_cidrs.len > 2 || (spec->pod_cidrs.len == 2 && !strchr(spec->pod_cidrs.items[0], ':') == !strchr(spec->pod_cidrs.items[1], ':'))) {
		invalid_list(err, AT("podCIDRs"), &spec->pod_cidrs, "may specify no more than one CIDR for each IP family");
	}
	check_taints(spec, &PATH(NULL, "metadata"), err);
	if (!old)
		return;
	size_t from = err->cause_count;
	bool same = spec->pod_cidrs.len == old->pod_cidrs.len;
	if (old->pod_cidrs.len && !same)
		forbidden(err, AT("podCIDRs"), CIDR_MAY_CHANGE);
	for (uint32_t i = 0; same && i < spec->pod_cidrs.len; i++)
		if (strcmp(spec->pod_cidrs.items[i], old->pod_cidrs.items[i]) != 0)
			forbidden(err, AT("podCIDRs"), CIDR_MAY_CHANGE);
	if (!str_empty(old->provider_id) && !str_equal(old->provider_id, spec->provider_id))
		forbidden(err, AT("providerID"), "node updates may not change providerID except from \"\" to valid");
	tell_field_at(AT("configSource"), &PATH(NULL, "~update"), err);
	check_taints(spec, &PATH(NULL, "metadata"), err);
	if (!str_equal(str_or(spec->external_id, ""), str_or(old->external_id, "")))
		forbidden(err, AT("externalID"), "may not be updated");
	tell_at(&PATH(NULL, "~update"), from, err);
}

CHECK(core_v1_node, node) {
	struct path status = PATH(NULL, "status");
	at = &status;
	check_capacity(&node->status.capacity, "capacity", at, err);
	check_capacity(&node->status.allocatable, "allocatable", at, err);
	check_features(&node->status.declared_features, at, err);
	automap struct map seen = MAP_INIT(NULL);
	for (uint32_t i = 0; old && i < node->status.addresses.len; i++) {
		const struct core_v1_node_address *address = &node->status.addresses.items[i];
		autofree char *key = xprintf("%s/%s", str_or(address->type, ""), str_or(address->address, ""));
		if (seen_before(&seen, key))
			duplicate_struct(err, AT_INDEX("addresses", i), &core_v1_node_address_type, address, NULL);
	}
}

/* ---- RuntimeClass ---- */

CHECK(node_v1_overhead, overhead) {
	struct core_v1_resource_requirements fixed = {.limits = overhead->pod_fixed};
	check_resources(&fixed, NULL, false, at, err);
}

CHECK(node_v1_scheduling, scheduling) {
	automap struct map seen = MAP_INIT(NULL);
	for (uint32_t i = 0; i < scheduling->tolerations.len; i++) {
		const struct core_v1_toleration *t = &scheduling->tolerations.items[i];
		autofree char *key = xprintf("%s|%s|%s|%s", str_or(t->key, ""), str_or(t->operator, ""), str_or(t->value, ""), str_or(t->effect, ""));
		if (seen_before(&seen, key))
			duplicate_struct(err, AT_INDEX("tolerations", i), &core_v1_toleration_type, t, NULL);
	}
}

const struct checker checkers_node[] = {ROW(core_v1_node_spec), ROW(core_v1_node), ROW(node_v1_overhead), ROW(node_v1_scheduling), {0}};
