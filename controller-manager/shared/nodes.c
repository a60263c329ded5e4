/* SPDX-License-Identifier: Apache-2.0 */
#include "controller-manager/shared/nodes.h"

bool toleration_tolerates(const struct core_v1_toleration *t, const struct core_v1_taint *taint)
{
	if (!str_empty(t->effect) && !str_equal(t->effect, taint->effect))
		return false;
	if (!str_empty(t->key) && !str_equal(t->key, taint->key))
		return false;
	if (str_equal(t->operator, "Exists"))
		return true;
	int64_t a, b;
	if ((str_equal(t->operator, "Lt") || str_equal(t->operator, "Gt")) && str_to_int64(taint->value, INT64_MIN, INT64_MAX, &a) &&
		str_to_int64(t->value, INT64_MIN, INT64_MAX, &b))
		return str_equal(t->operator, "Lt") ? a < b : a > b;
	return (str_empty(t->operator) || str_equal(t->operator, "Equal")) && !str_empty(t->key) && str_equal(t->value, taint->value);
}

bool tolerates_node(const struct core_v1_toleration_array *tolerations, const struct core_v1_node *node, const char *const *effects)
{
	for (uint32_t i = 0; i < node->spec.taints.len; i++) {
		const struct core_v1_taint *taint = &node->spec.taints.items[i];
		bool counts = false, tolerated = false;
		for (size_t e = 0; effects[e]; e++)
			counts |= str_equal(taint->effect, effects[e]);
		for (uint32_t j = 0; j < tolerations->len && !tolerated; j++)
			tolerated = toleration_tolerates(&tolerations->items[j], taint);
		if (counts && !tolerated)
			return false;
	}
	return true;
}

static bool requirement_holds(const struct core_v1_node_selector_requirement *r, const char *value)
{
	bool in = value && api_string_list_has(&r->values, value);
	int64_t have, want;
	if (str_equal(r->operator, "In"))
		return in;
	if (str_equal(r->operator, "NotIn"))
		return !in;
	if (str_equal(r->operator, "Exists"))
		return value != NULL;
	if (str_equal(r->operator, "DoesNotExist"))
		return value == NULL;
	if (r->values.len != 1 || !str_to_int64(value, INT64_MIN, INT64_MAX, &have) || !str_to_int64(r->values.items[0], INT64_MIN, INT64_MAX, &want))
		return false;
	return str_equal(r->operator, "Gt") ? have > want : str_equal(r->operator, "Lt") && have < want;
}

static bool term_holds(const struct core_v1_node_selector_term *term, const struct core_v1_node *node)
{
	if (!term->match_expressions.len && !term->match_fields.len)
		return false; /* an empty term selects nothing */
	for (uint32_t i = 0; i < term->match_expressions.len; i++)
		if (!requirement_holds(&term->match_expressions.items[i], api_map_get(&node->metadata.labels, term->match_expressions.items[i].key)))
			return false;
	for (uint32_t i = 0; i < term->match_fields.len; i++)
		if (!str_equal(term->match_fields.items[i].key, "metadata.name") ||
			!requirement_holds(&term->match_fields.items[i], node->metadata.name))
			return false;
	return true;
}

bool pod_spec_fits_node(const struct core_v1_pod_spec *spec, const struct core_v1_node *node)
{
	if (!api_map_contains(&node->metadata.labels, &spec->node_selector))
		return false;
	const struct core_v1_node_affinity *affinity = spec->affinity ? spec->affinity->node_affinity : NULL;
	const struct core_v1_node_selector *required = affinity ? affinity->required_during_scheduling_ignored_during_execution : NULL;
	if (!required)
		return true;
	for (uint32_t i = 0; i < required->node_selector_terms.len; i++)
		if (term_holds(&required->node_selector_terms.items[i], node))
			return true;
	return false;
}

bool node_placement_changed(const void *old_node, const void *node)
{
	const struct core_v1_node *a = old_node, *b = node;
	return !api_map_equal(&a->metadata.labels, &b->metadata.labels) || a->spec.unschedulable != b->spec.unschedulable ||
	       !api_equal(&core_v1_node_spec_type, &(struct core_v1_node_spec){.taints = a->spec.taints}, &(struct core_v1_node_spec){.taints = b->spec.taints});
}
