/* SPDX-License-Identifier: Apache-2.0 */
/* LimitRange and ResourceQuota. */
#include "apiserver/validation/validation.h"

/* ---- LimitRange ---- */

static void check_limit_names(const char *type, const struct api_quantity_map *map, const char *field, const struct path *at, struct error *err) {
	bool container = str_equal(type, "Pod") || str_equal(type, "Container");
	for (uint32_t i = 0; i < map->len; i++)
		(container ? check_container_resource_name : check_resource_name)(map->items[i].key, AT_KEY(field, map->items[i].key), err);
}

/* "<left> value 1 is greater than <right> value 2" where left > right; the value shown is that of `shown`. */
static void check_order(const struct quantity *left, const char *left_name, const struct quantity *right, const char *right_name, const struct quantity *shown, const struct path *at, struct error *err) {
	char a[64], b[64];
	if (!left || !right || quantity_compare(left, right) <= 0)
		return;
	quantity_format(left, a);
	quantity_format(right, b);
	invalid_quantity(err, at, shown, "%s value %s is greater than %s value %s", left_name, a, right_name, b);
}

static void check_limit(const struct core_v1_limit_range_item *item, const char *name, const struct path *at, struct error *err) {
	const struct quantity *min = api_quantity_get(&item->min, name), *max = api_quantity_get(&item->max, name), *ratio = api_quantity_get(&item->max_limit_request_ratio, name);
	bool pod = str_equal(item->type, "Pod");
	const struct quantity *def = pod ? NULL : api_quantity_get(&item->default_, name), *request = pod ? NULL : api_quantity_get(&item->default_request, name);
	struct path default_path = PATH_KEY(at, "default", name), request_path = PATH_KEY(at, "defaultRequest", name), ratio_path = PATH_KEY(at, "maxLimitRequestRatio", name);
	check_order(min, "min", max, "max", min, AT_KEY("min", name), err);
	check_order(min, "min", request, "default request", request, &request_path, err);
	check_order(request, "default request", max, "max", request, &request_path, err);
	check_order(request, "default request", def, "default limit", request, &request_path, err);
	check_order(min, "min", def, "default", min, &default_path, err);
	check_order(def, "default", max, "max", max, &default_path, err);
	char a[64], b[64];
	if (ratio) {
		quantity_format(ratio, a);
		if (ratio->nano < NSEC_PER_SEC)
			invalid_quantity(err, &ratio_path, ratio, "ratio %s is less than 1", a);
		double most = min && max && min->nano ? (double)max->nano / (double)min->nano : 0;
		if (min && max && min->nano && (double)ratio->nano / NSEC_PER_SEC > most)
			invalid_quantity(err, &ratio_path, ratio, "ratio %s is greater than max/min = %f", a, most);
	}
	if (!resource_may_overcommit(name) && def && request && quantity_compare(def, request) != 0) {
		quantity_format(def, a);
		quantity_format(request, b);
		invalid_quantity(err, &request_path, request, "default value %s must equal to defaultRequest value %s in %s", a, b, name);
	}
}

CHECK(core_v1_limit_range_item, item) {
	static const char *const standard[] = {"Pod", "Container", "PersistentVolumeClaim"};
	static const char *const pod_fields[] = {"default", "defaultRequest", NULL};
	const char *type = str_or(item->type, "");
	bool pod = strcmp(type, "Pod") == 0, known = strchr(type, '/') != NULL;
	for (size_t i = 0; i < array_len(standard); i++)
		known |= strcmp(type, standard[i]) == 0;
	if (format_error(format_qualified_name, type))
		check_format(format_qualified_name, type, AT("type"), err);
	else if (!known)
		invalid(err, AT("type"), type, "must be a standard limit type or fully qualified");
	if (pod)
		forbid_fields(&core_v1_limit_range_item_type, item, pod_fields, false, "may not be specified when `type` is 'Pod'", at, err);
	const struct { const struct api_quantity_map *map; const char *name; } maps[] = {
		{&item->max, "max"}, {&item->min, "min"}, {pod ? NULL : &item->default_, "default"}, {pod ? NULL : &item->default_request, "defaultRequest"},
		{&item->max_limit_request_ratio, "maxLimitRequestRatio"},
	};
	automap struct map seen = MAP_INIT(NULL);
	for (size_t m = 0; m < array_len(maps); m++)
		if (maps[m].map)
			check_limit_names(type, maps[m].map, maps[m].name, at, err);
	size_t from = err->cause_count;
	for (size_t m = 0; m < array_len(maps); m++)
		for (uint32_t i = 0; maps[m].map && i < maps[m].map->len; i++)
			if (!seen_before(&seen, maps[m].map->items[i].key))
				check_limit(item, maps[m].map->items[i].key, at, err);
	tell_at(AT("~check"), from, err);
	if (strcmp(type, "PersistentVolumeClaim") == 0 && !api_quantity_get(&item->min, "storage") && !api_quantity_get(&item->max, "storage"))
		required(err, AT("limits"), "either minimum or maximum storage value is required, but neither was provided");
}

CHECK(core_v1_limit_range_spec, spec) {
	automap struct map seen = MAP_INIT(NULL);
	for (uint32_t i = 0; i < spec->limits.len; i++)
		if (seen_before(&seen, spec->limits.items[i].type))
			duplicate(err, &PATH(AT_INDEX("limits", i), "type"), spec->limits.items[i].type);
}

/* ---- ResourceQuota ---- */

static void check_quota_list(const struct api_quantity_map *list, const char *field, const struct path *at, struct error *err) {
	for (uint32_t i = 0; i < list->len; i++) {
		const char *name = list->items[i].key;
		struct path here = PATH_KEY(at, field, name);
		check_resource_name(name, &here, err);
		if (!strchr(name, '/') && !resource_is_standard(name, true))
			invalid(err, &here, name, "must be a standard resource for quota");
		check_resource_value(name, &list->items[i].value, &here, err);
	}
}

/* Which standard resources a scope can be about. */
static bool scope_fits(const char *scope, const char *resource) {
	static const char *const compute[] = {"cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"};
	bool pods = strcmp(resource, "pods") == 0, uses_compute = false;
	for (size_t i = 0; i < array_len(compute); i++)
		uses_compute |= strcmp(resource, compute[i]) == 0;
	if (strcmp(scope, "BestEffort") == 0)
		return pods;
	if (strcmp(scope, "VolumeAttributesClass") == 0)
		return strcmp(resource, "persistentvolumeclaims") == 0 || strcmp(resource, "requests.storage") == 0;
	return pods || uses_compute;
}

static bool is_scope(const char *scope) {
	static const char *const scopes[] = {"Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass", "CrossNamespacePodAffinity", "VolumeAttributesClass"};
	for (size_t i = 0; i < array_len(scopes); i++)
		if (str_equal(scope, scopes[i]))
			return true;
	return false;
}

/* How many of the resources it cannot be about: each is told. */
static unsigned scope_misfits(const struct core_v1_resource_quota_spec *spec, const char *scope) {
	unsigned count = 0;
	for (uint32_t i = 0; is_scope(scope) && i < spec->hard.len; i++)
		count += resource_is_standard(spec->hard.items[i].key, true) && !scope_fits(scope, spec->hard.items[i].key);
	return count;
}

static void check_scopes(const struct core_v1_resource_quota_spec *spec, const struct path *at, struct error *err) {
	const struct api_string_list *scopes = &spec->scopes;
	for (uint32_t i = 0; i < scopes->len; i++) {
		if (!is_scope(scopes->items[i]))
			invalid_list(err, AT("scopes"), scopes, "unsupported scope");
		for (unsigned n = scope_misfits(spec, scopes->items[i]); n > 0; n--)
			invalid_list(err, AT("scopes"), scopes, "unsupported scope applied to resource");
	}
	if (api_string_list_has(scopes, "BestEffort") && api_string_list_has(scopes, "NotBestEffort"))
		invalid_list(err, AT("scopes"), scopes, "conflicting scopes");
	if (api_string_list_has(scopes, "Terminating") && api_string_list_has(scopes, "NotTerminating"))
		invalid_list(err, AT("scopes"), scopes, "conflicting scopes");
}

static void check_scope_selector(const struct core_v1_resource_quota_spec *spec, const struct path *parent, struct error *err) {
	const struct core_v1_scope_selector *selector = spec->scope_selector;
	struct path path = PATH(parent, "scopeSelector"), expressions = PATH(&path, "matchExpressions"), *at = &expressions;
	automap struct map seen = MAP_INIT(NULL);
	size_t from = err->cause_count;
	for (uint32_t i = 0; selector && i < selector->match_expressions.len; i++) {
		const struct core_v1_scoped_resource_selector_requirement *r = &selector->match_expressions.items[i];
		const char *op = str_or(r->operator, ""), *scope = str_or(r->scope_name, "");
		if (!is_scope(scope))
			invalid(err, AT("scopeName"), scope, "unsupported scope");
		for (unsigned n = scope_misfits(spec, scope); n > 0; n--)
			invalid_struct(err, at, &core_v1_scope_selector_type, selector, "unsupported scope applied to resource");
		bool valued = strcmp(scope, "PriorityClass") == 0 || strcmp(scope, "VolumeAttributesClass") == 0;
		if (is_scope(scope) && !valued && strcmp(op, "Exists") != 0)
			invalid(err, AT("operator"), op, "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity");
		bool in = strcmp(op, "In") == 0 || strcmp(op, "NotIn") == 0, exists = strcmp(op, "Exists") == 0 || strcmp(op, "DoesNotExist") == 0;
		if (in && !r->values.len)
			required(err, AT("values"), "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector");
		else if (exists && r->values.len)
			invalid_list(err, AT("values"), &r->values, "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector");
		else if (!in && !exists)
			invalid(err, AT("operator"), op, "not a valid selector operator");
		set_add(&seen, scope);
	}
	if (map_has(&seen, "BestEffort") && map_has(&seen, "NotBestEffort"))
		invalid_list(err, at, &spec->scopes, "conflicting scopes");
	if (map_has(&seen, "Terminating") && map_has(&seen, "NotTerminating"))
		invalid_list(err, at, &spec->scopes, "conflicting scopes");
	tell_at(&PATH(&path, "~all"), from, err);
}

static bool same_set(const struct api_string_list *a, const struct api_string_list *b) {
	for (uint32_t i = 0; i < a->len; i++)
		if (!api_string_list_has(b, a->items[i]))
			return false;
	for (uint32_t i = 0; i < b->len; i++)
		if (!api_string_list_has(a, b->items[i]))
			return false;
	return true;
}

CHECK(core_v1_resource_quota_spec, spec) {
	check_quota_list(&spec->hard, "hard", at, err);
	check_scopes(spec, at, err);
	check_scope_selector(spec, at, err);
	if (old && !same_set(&spec->scopes, &old->scopes))
		invalid_list(err, AT("scopes"), &spec->scopes, IMMUTABLE_TEXT);
}

CHECK(core_v1_resource_quota_status, status) {
	check_quota_list(&status->hard, "hard", at, err);
	check_quota_list(&status->used, "used", at, err);
}

const struct checker checkers_quota[] = {
	ROW(core_v1_limit_range_item), ROW(core_v1_limit_range_spec), ROW(core_v1_resource_quota_spec), ROW(core_v1_resource_quota_status), {0},
};
