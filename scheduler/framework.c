/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/framework.h"

#include "common/base/buf.h"
#include "common/base/random.h"

#include <stdlib.h>

static void normalize(struct attempt *attempt, enum normalize how, int64_t *points) {
	int64_t most = 0;
	if (how == NORMALIZE_NONE)
		return;
	attempt_each_row (row, attempt)
		most = max_of(most, points[row]);
	attempt_each_row (row, attempt) {
		if (most == 0)
			points[row] = how == NORMALIZE_REVERSE ? SCORE_MAX : 0;
		else
			points[row] = how == NORMALIZE_REVERSE ? SCORE_MAX - points[row] * SCORE_MAX / most : points[row] * SCORE_MAX / most;
	}
}

static bool any_left(const struct attempt *attempt) {
	attempt_each_row (row, attempt)
		return true;
	return false;
}

/* Ties are many, and need not be secret: one question to the kernel for each attempt, not for each tie. */
static uint64_t next_random(uint64_t *state) {
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

uint32_t attempt_run(struct attempt *attempt) {
	uint32_t rows = attempt->cluster->row_count;
	attempt->reasons = arena_calloc(attempt->arena, rows + 1, sizeof(*attempt->reasons));
	attempt->scores = arena_calloc(attempt->arena, rows + 1, sizeof(*attempt->scores));
	for (attempt->current = 0; attempt->current < plugin_count; attempt->current++)
		if (plugins[attempt->current]->filter)
			plugins[attempt->current]->filter(attempt);
	if (!any_left(attempt))
		return NO_NODE;
	int64_t *points = arena_calloc(attempt->arena, rows + 1, sizeof(*points));
	for (attempt->current = 0; attempt->current < plugin_count; attempt->current++) {
		const struct plugin *plugin = plugins[attempt->current];
		memset(points, 0, rows * sizeof(*points));
		if (!plugin->score || !plugin->score(attempt, points))
			continue;
		normalize(attempt, plugin->normalize, points);
		attempt_each_row (row, attempt)
			attempt->scores[row] += points[row] * plugin->weight;
	}
	uint32_t best = NO_NODE;
	uint64_t ties = 0, random = random_u64() | 1;
	attempt_each_row (row, attempt) {
		if (best == NO_NODE || attempt->scores[row] > attempt->scores[best]) {
			best = row;
			ties = 1;
		} else if (attempt->scores[row] == attempt->scores[best] && next_random(&random) % ++ties == 0) {
			best = row;
		}
	}
	return best;
}

static int compare_strings(const void *a, const void *b) {
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

const char *attempt_explain(const struct attempt *attempt) {
	const struct cluster *cluster = attempt->cluster;
	if (!cluster->node_count)
		return "no nodes available to schedule pods";
	const char **reasons = arena_calloc(attempt->arena, cluster->node_count + 1, sizeof(*reasons));
	char **lines = arena_calloc(attempt->arena, cluster->node_count + 1, sizeof(*lines));
	size_t n = 0, line_count = 0;
	cluster_each_row (row, cluster)
		if (attempt->reasons[row])
			reasons[n++] = attempt->reasons[row];
	qsort(reasons, n, sizeof(*reasons), compare_strings);
	for (size_t i = 0; i < n;) {
		size_t same = i;
		while (same < n && strcmp(reasons[same], reasons[i]) == 0)
			same++;
		lines[line_count++] = arena_printf(attempt->arena, "%zu %s", same - i, reasons[i]);
		i = same;
	}
	qsort(lines, line_count, sizeof(*lines), compare_strings);
	autobuf struct buf text = BUF_INIT(1 << 20);
	buf_printf(&text, "0/%u nodes are available: ", cluster->node_count);
	for (size_t i = 0; i < line_count; i++)
		buf_printf(&text, "%s%s", i ? ", " : "", lines[i]);
	buf_append_str(&text, ".");
	return arena_strndup(attempt->arena, text.data, text.len);
}

uint32_t attempt_helping_events(const struct attempt *attempt) {
	uint32_t events = EVENT_NODE_ADD;
	for (unsigned i = 0; i < plugin_count; i++)
		if (attempt->rejected_by & 1u << i)
			events |= plugins[i]->events;
	return events;
}

/* ---- shared judgements ---- */

static const char *label_of(const struct core_v1_node *node, const char *key) {
	return api_map_get(&node->metadata.labels, key);
}

static bool compare_numbers(const char *value, const char *than, bool greater) {
	int64_t a, b;
	if (!value || !str_to_int64(value, INT64_MIN, INT64_MAX, &a) || !str_to_int64(than, INT64_MIN, INT64_MAX, &b))
		return false;
	return greater ? a > b : a < b;
}

static bool requirement_matches(const struct core_v1_node_selector_requirement *requirement, const char *value) {
	const char *operator = str_or(requirement->operator, "");
	bool in = value && api_string_list_has(&requirement->values, value);
	if (str_equal(operator, "In"))
		return in;
	if (str_equal(operator, "NotIn"))
		return !in;
	if (str_equal(operator, "Exists"))
		return value != NULL;
	if (str_equal(operator, "DoesNotExist"))
		return value == NULL;
	if (requirement->values.len != 1)
		return false;
	if (str_equal(operator, "Gt"))
		return compare_numbers(value, requirement->values.items[0], true);
	return str_equal(operator, "Lt") && compare_numbers(value, requirement->values.items[0], false);
}

bool node_selector_term_matches(const struct core_v1_node_selector_term *term, const struct core_v1_node *node) {
	if (!term->match_expressions.len && !term->match_fields.len)
		return false; /* a term that says nothing selects nothing */
	for api_list_each (requirement, &term->match_expressions)
		if (!requirement_matches(requirement, label_of(node, requirement->key)))
			return false;
	for api_list_each (requirement, &term->match_fields)
		if (!str_equal(requirement->key, "metadata.name") || !requirement_matches(requirement, node->metadata.name))
			return false;
	return true;
}

bool node_selector_matches(const struct core_v1_node_selector *selector, const struct core_v1_node *node) {
	for api_list_each (term, &selector->node_selector_terms)
		if (node_selector_term_matches(term, node))
			return true;
	return false;
}

bool pod_wants_node(const struct core_v1_pod *pod, const struct core_v1_node *node) {
	if (!api_map_contains(&node->metadata.labels, &pod->spec.node_selector))
		return false;
	const struct core_v1_affinity *affinity = pod->spec.affinity;
	const struct core_v1_node_selector *required =
		affinity && affinity->node_affinity ? affinity->node_affinity->required_during_scheduling_ignored_during_execution : NULL;
	return !required || node_selector_matches(required, node);
}

bool toleration_tolerates(const struct core_v1_toleration *toleration, const struct core_v1_taint *taint) {
	if (!str_empty(toleration->effect) && !str_equal(toleration->effect, taint->effect))
		return false;
	if (!str_empty(toleration->key) && !str_equal(toleration->key, taint->key))
		return false;
	const char *operator = str_or(toleration->operator, "Equal");
	if (str_equal(operator, "Exists"))
		return true;
	return str_equal(operator, "Equal") && !str_empty(toleration->key) && str_equal(toleration->value, taint->value);
}

const struct core_v1_taint *untolerated_taint(const struct core_v1_pod *pod, const struct core_v1_node *node, bool (*effect)(const char *effect)) {
	for api_list_each (taint, &node->spec.taints) {
		bool tolerated = !effect(taint->effect);
		for api_list_each (toleration, &pod->spec.tolerations)
			tolerated = tolerated || toleration_tolerates(toleration, taint);
		if (!tolerated)
			return taint;
	}
	return NULL;
}
