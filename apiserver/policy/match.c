/* SPDX-License-Identifier: Apache-2.0 */
/* Which writes a policy or binding is about, and where its parameters are. */
#include "apiserver/policy/policy.h"
#include "apiserver/admission/admission.h"
#include "api/meta_v1.h"

#include <errno.h>

/* ---- rules ---- */

static bool has(const struct api_string_list *list, const char *text) {
	return api_string_list_has(list, "*") || api_string_list_has(list, text);
}

static bool has_resource(const struct api_string_list *list, const char *plural, const char *subresource) {
	for (uint32_t i = 0; i < list->len; i++) {
		const char *text = list->items[i], *slash = strchr(text, '/');
		size_t len = slash ? (size_t)(slash - text) : strlen(text);
		bool resource = (len == 1 && *text == '*') || (strlen(plural) == len && strncmp(text, plural, len) == 0);
		if (resource && (slash ? strcmp(slash + 1, "*") == 0 || strcmp(slash + 1, subresource) == 0 : !*subresource))
			return true;
	}
	return false;
}

static bool in_scope(const struct judged *j, const char *scope) {
	bool is_namespace = strcmp(j->w->resource->api->plural, "namespaces") == 0 && !*resource_group(j->w->resource), namespaced = *j->ns && !is_namespace;
	return !scope || strcmp(scope, "*") == 0 || namespaced == (strcmp(scope, "Namespaced") == 0);
}

static bool rule_matches(const struct judged *j, const struct match_rule *m, const struct resource *resource) {
	const struct admissionregistration_v1_rule_with_operations *rule = m->rule;
	if (m->names && !api_string_list_has(m->names, str_or(admission_name(j->w), "")))
		return false;
	return in_scope(j, rule->rule.scope) && has(&rule->operations, j->operation) && has(&rule->rule.api_groups, resource_group(resource)) && has(&rule->rule.api_versions, resource->api->version) &&
	       has_resource(&rule->rule.resources, resource->api->plural, str_or(j->w->subresource, ""));
}

struct other {
	const struct judged *j;
	const struct match_rule *rule;
	const struct resource *found;
};

/* Another version of the same objects, which a rule speaks of. */
static void try_other(const struct resource *resource, void *arg) {
	struct other *o = arg;
	if (!o->found && resource->collection && resource->collection == o->j->w->resource->collection && rule_matches(o->j, o->rule, resource))
		o->found = resource;
}

/* In whose version a rule matches; NULL: none does. */
static const struct resource *match_rules(const struct judged *j, const struct match_rules *rules, bool exact) {
	for (uint32_t i = 0; i < rules->count; i++)
		if (rule_matches(j, &rules->items[i], j->w->resource))
			return j->w->resource;
	for (uint32_t i = 0; !exact && i < rules->count; i++) {
		struct other o = {j, &rules->items[i], NULL};
		registry_each(j->w->r->server->registry, try_other, &o);
		if (o.found)
			return o.found;
	}
	return NULL;
}

/* ---- selectors ---- */

static bool is_namespace(const struct judged *j) {
	return strcmp(j->w->resource->api->plural, "namespaces") == 0 && !*resource_group(j->w->resource);
}

static int match_namespace(const struct judged *j, const struct selector *selector, struct error *err) {
	if (!selector || selector_is_empty(selector) || (!*j->ns && !is_namespace(j)))
		return 1;
	bool itself = is_namespace(j) && !j->w->body;
	const void *own = itself && j->w->object ? j->w->object : itself ? j->w->old : NULL;
	if (own)
		return selector_matches_labels(selector, &api_metadata(own)->labels);
	const struct resource *namespaces = registry_find(j->w->r->server->registry, "", "v1", "namespaces");
	autoentry struct entry *entry = collection_get(namespaces->collection, j->ns);
	return entry ? selector_matches_labels(selector, &entry->labels) : error_not_found(err, namespaces, j->ns);
}

static bool match_object(struct judged *j, const struct selector *selector) {
	if (!selector || selector_is_empty(selector))
		return true;
	const void *sides[] = {judged_object(j), judged_old(j)};
	for (size_t i = 0; i < array_len(sides); i++)
		if (sides[i] && api_metadata(sides[i]) && selector_matches_labels(selector, &api_metadata(sides[i])->labels))
			return true;
	return false;
}

int policy_matches(struct judged *j, const struct policy_match *match, bool policy, struct error *err) {
	autoerror struct error why = {0};
	int in_namespace = match_namespace(j, match->namespaces, &why);
	if (in_namespace == 0 || !match_object(j, match->objects))
		return 0;
	if (match_rules(j, &match->excluded, match->exact))
		return 0;
	const struct resource *matched = match->any_resource ? j->w->resource : match_rules(j, &match->rules, match->exact);
	if (!matched)
		return 0;
	if (in_namespace < 0)
		return error_move(err, &why);
	if (policy)
		j->matched = matched;
	return 1;
}

/* ---- parameters ---- */

static void add_param(const struct resource *resource, const struct entry *entry, json_t *params) {
	void *object;
	if (resource_decode(resource, entry, &object, NULL) < 0)
		return;
	json_array_append_new(params, api_to_json(api_type_of(object), object));
	api_unref(object);
}

static int find_params(struct judged *j, const struct resource *resource, const struct admissionregistration_v1_param_ref *ref, json_t *params, struct error *err) {
	const char *ns = "";
	if (resource->api->namespaced) {
		ns = str_or(ref->namespace, j->ns);
		if (!*ns)
			return error_set(err, EINVAL, "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources");
	} else if (!str_empty(ref->namespace)) {
		return error_set(err, EINVAL, "paramRef.namespace must not be provided for a cluster-scoped `paramKind`");
	}
	if (!str_empty(ref->name)) {
		autoentry struct entry *entry = collection_get(resource->collection, resource_key(j->w->arena, resource, ns, ref->name));
		if (entry)
			add_param(resource, entry, params);
		return 0;
	}
	struct selector *selector = NULL;
	if (!ref->selector || label_selector_from(ref->selector, &selector, err) < 0)
		return error_set(err, EINVAL, "one of name or selector must be provided");
	autosnapshot struct snapshot *snapshot = collection_snapshot(resource->collection);
	size_t first = 0, end = snapshot->len;
	if (*ns)
		snapshot_namespace(snapshot, ns, &first, &end);
	for (size_t i = first; i < end; i++)
		if (selector_matches_labels(selector, &snapshot_entry(snapshot, i)->labels))
			add_param(resource, snapshot_entry(snapshot, i), params);
	selector_free(selector);
	return 0;
}

int policy_params(struct judged *j, const struct policy *policy, const struct policy_binding *binding, json_t **ret, struct error *err) {
	json_t *params = json_array();
	const struct admissionregistration_v1_param_kind *kind = policy->param_kind;
	if (!kind || !binding->param_ref) {
		json_array_append_new(params, json_null());
		*ret = params;
		return 0;
	}
	const char *group, *version;
	api_split_group_version(j->w->arena, str_or(kind->api_version, ""), &group, &version);
	const struct resource *resource = registry_by_kind(j->w->r->server->registry, group, version, str_or(kind->kind, ""));
	int r = resource && resource->collection ? find_params(j, resource, binding->param_ref, params, err)
						 : error_set(err, EINVAL, "paramKind kind `%s, Kind=%s` not known", str_or(kind->api_version, ""), str_or(kind->kind, ""));
	if (r == 0 && !json_array_size(params) && str_equal(binding->param_ref->parameter_not_found_action, "Deny"))
		r = error_set(err, EINVAL, "no params found for policy binding with `Deny` parameterNotFoundAction");
	if (r < 0) {
		json_decref(params);
		return r;
	}
	*ret = params;
	return 0;
}
