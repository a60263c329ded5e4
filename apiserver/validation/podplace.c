/* SPDX-License-Identifier: Apache-2.0 */
/* Where pods may run, and beside which others: spread, affinity, tolerations. */
#include "apiserver/validation/validation.h"

/* ---- spread ---- */

static void check_label_keys(const struct api_string_list *keys, const char *name, const struct meta_v1_label_selector *selector, const struct path *at, struct error *err) {
	if (keys->len && !selector)
		forbidden(err, AT(name), "must not be specified when labelSelector is not set");
	for (uint32_t i = 0; selector && i < keys->len; i++)
		check_format(format_qualified_name, keys->items[i], AT_INDEX(name, i), err);
}

/* The server itself adds the keys' values to the selector's expressions, once: whatever has the key before was there already. */
static bool selects_before(const struct meta_v1_label_selector *selector, uint32_t expression) {
	const char *key = selector->match_expressions.items[expression].key;
	bool found = api_map_get(&selector->match_labels, str_or(key, ""));
	for (uint32_t i = 0; i < expression; i++)
		found |= str_equal(selector->match_expressions.items[i].key, key);
	return found;
}

/* Keys of labels whose values a selector takes over from the pod; `mismatch`: those it must differ in, NULL where there are none. */
static void check_match_keys(const struct api_string_list *match, const struct api_string_list *mismatch, const struct meta_v1_label_selector *selector, const struct path *at, struct error *err) {
	check_label_keys(match, "matchLabelKeys", selector, at, err);
	if (mismatch)
		check_label_keys(mismatch, "mismatchLabelKeys", selector, at, err);
	size_t from = err->cause_count;
	for (uint32_t n = 0; selector && n < selector->match_expressions.len; n++)
		for (uint32_t i = match->len; i-- > 0;)
			if (str_equal(match->items[i], selector->match_expressions.items[n].key)) {
				if (selects_before(selector, n))
					invalid(err, &PATH_INDEX(at, NULL, i), match->items[i], "exists in both matchLabelKeys and labelSelector");
				break;
			}
	for (uint32_t i = 0; mismatch && i < match->len; i++)
		if (api_string_list_has(mismatch, match->items[i]))
			invalid(err, AT_INDEX("matchLabelKeys", i), match->items[i], "exists in both matchLabelKeys and mismatchLabelKeys");
	tell_at(AT("~keys"), from, err);
}

CHECK(core_v1_topology_spread_constraint, spread) {
	if (!spread->max_skew)
		invalid_int(err, AT("maxSkew"), 0, "must be greater than zero");
	if (str_empty(spread->topology_key))
		required(err, AT("topologyKey"), "can not be empty");
	if (spread->min_domains && !str_equal(spread->when_unsatisfiable, "DoNotSchedule"))
		invalid_int(err, AT("minDomains"), *spread->min_domains, "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not %s", str_or(spread->when_unsatisfiable, ""));
	check_match_keys(&spread->match_label_keys, NULL, spread->label_selector, at, err);
}

/* ---- affinity ---- */

CHECK(core_v1_pod_affinity_term, term) {
	if (str_empty(term->topology_key))
		check_format(format_qualified_name, "", AT("topologyKey"), err);
	for (uint32_t i = 0; i < term->namespaces.len; i++)
		check_format(format_dns_label, term->namespaces.items[i], AT("namespace"), err);
	check_match_keys(&term->match_label_keys, &term->mismatch_label_keys, term->label_selector, at, err);
}

CHECK(core_v1_weighted_pod_affinity_term, term) {
	if (term->weight <= 0 || term->weight > 100)
		invalid_int(err, AT("weight"), term->weight, "must be in the range 1-100");
}

CHECK(core_v1_preferred_scheduling_term, term) {
	if (term->weight <= 0 || term->weight > 100)
		invalid_int(err, AT("weight"), term->weight, "must be in the range 1-100");
}

void check_node_selector_requirement(const struct core_v1_node_selector_requirement *r, bool any_value, const struct path *at, struct error *err) {
	const char *op = str_or(r->operator, "");
	bool in = strcmp(op, "In") == 0 || strcmp(op, "NotIn") == 0, exists = strcmp(op, "Exists") == 0 || strcmp(op, "DoesNotExist") == 0;
	bool compares = strcmp(op, "Gt") == 0 || strcmp(op, "Lt") == 0;
	size_t from = err->cause_count;
	if (in && !r->values.len)
		required(err, AT("values"), "must be specified when `operator` is 'In' or 'NotIn'");
	else if (exists && r->values.len)
		forbidden(err, AT("values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
	else if (compares && r->values.len != 1)
		required(err, AT("values"), "must be specified single value when `operator` is 'Lt' or 'Gt'");
	else if (!in && !exists && !compares)
		invalid(err, AT("operator"), op, "not a valid selector operator");
	tell_at(AT("~operator"), from, err);
	check_format(format_qualified_name, r->key, AT("key"), err);
	for (uint32_t i = 0; !any_value && i < r->values.len; i++)
		check_format(format_label_value, r->values.items[i], AT_INDEX("values", i), err);
}

static void check_node_field(const struct core_v1_node_selector_requirement *r, const struct path *at, struct error *err) {
	bool in = str_equal(r->operator, "In") || str_equal(r->operator, "NotIn");
	size_t from = err->cause_count;
	if (!in)
		invalid(err, AT("operator"), r->operator, "not a valid selector operator");
	else if (r->values.len != 1)
		required(err, AT("values"), "must be only one value when `operator` is 'In' or 'NotIn' for node field selector");
	tell_at(AT("~operator"), from, err);
	if (!str_equal(r->key, "metadata.name"))
		invalid(err, AT("key"), r->key, "not a valid field selector key");
	for (uint32_t i = 0; str_equal(r->key, "metadata.name") && i < r->values.len; i++)
		check_format(format_dns_subdomain, r->values.items[i], AT_INDEX("values", i), err);
}

CHECK(core_v1_node_selector_term, term) {
	for (uint32_t i = 0; i < term->match_expressions.len; i++)
		check_node_selector_requirement(&term->match_expressions.items[i], strcmp(str_or(at->name, ""), "preference") == 0, AT_INDEX("matchExpressions", i), err);
	for (uint32_t i = 0; i < term->match_fields.len; i++)
		check_node_field(&term->match_fields.items[i], AT_INDEX("matchFields", i), err);
}

CHECK(core_v1_node_selector, selector) {
	if (!selector->node_selector_terms.len)
		required(err, AT("nodeSelectorTerms"), "must have at least one node selector term");
}

CHECK(core_v1_toleration, t) {
	static const char *const operators[] = {"Equal", "Exists", NULL}, *const compared[] = {"Equal", "Exists", "Lt", "Gt", NULL};
	const char *op = str_or(t->operator, "");
	bool exists = strcmp(op, "Exists") == 0;
	size_t from = err->cause_count;
	if (str_empty(t->key) && !exists)
		invalid(err, AT("operator"), op, "operator must be Exists when `key` is empty, which means \"match all values and all keys\"");
	if (t->toleration_seconds && !str_equal(t->effect, "NoExecute"))
		invalid(err, AT("effect"), t->effect, "effect must be 'NoExecute' when `tolerationSeconds` is set");
	if (!*op || strcmp(op, "Equal") == 0) {
		const char *text = format_error(format_label_value, str_or(t->value, ""));
		if (text)
			invalid(err, AT("operator"), t->value, "%s", text);
	} else if (exists) {
		if (!str_empty(t->value))
			invalid(err, AT("operator"), t->value, "value must be empty when `operator` is 'Exists'");
	} else {
		bool compares = strcmp(op, "Lt") == 0 || strcmp(op, "Gt") == 0; /* known, but behind a gate that is off */
		not_supported(err, AT("operator"), op, compares ? compared : operators);
	}
	tell_at(AT("~checks"), from, err);
}

const struct checker checkers_podplace[] = {
	ROW(core_v1_topology_spread_constraint), ROW(core_v1_pod_affinity_term), ROW(core_v1_weighted_pod_affinity_term), ROW(core_v1_preferred_scheduling_term),
	ROW(core_v1_node_selector_term), ROW(core_v1_node_selector), ROW(core_v1_toleration), {0},
};
