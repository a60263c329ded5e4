/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spreads like pods over domains (nodes, zones): by the pod's own constraints, and where it has none by points for domains with fewer pods
 * of the same controller (Kubernetes' default constraints: hostname and zone, ScheduleAnyway).
 */
#include "scheduler/plugins/plugins.h"

#include "common/api/selector.h"

typedef bool (*counts_fn)(const struct pod_info *pod, void *arg);

struct spread {
	const char *key;
	struct map domains; /* value of the label -> struct domain */
};
struct domain {
	int64_t pods;
};

static const char *domain_name(const struct attempt *attempt, uint32_t row, const char *key) {
	return api_map_get(&attempt->cluster->rows[row].node->metadata.labels, key);
}

/* Counts the pods of each domain over the nodes for which `eligible` says so (NULL: all that have the label). */
static void count_domains(const struct attempt *attempt, struct spread *spread, const bool *eligible, counts_fn counts, void *arg) {
	spread->domains = MAP_INIT(free);
	cluster_each_row (row, attempt->cluster) {
		const char *name = domain_name(attempt, row, spread->key);
		if (!name || (eligible && !eligible[row]))
			continue;
		struct domain *domain = map_get(&spread->domains, name);
		if (!domain) {
			domain = xnew(struct domain);
			map_set(&spread->domains, name, domain);
		}
		struct pod_info *pod;
		list_for_each (pod, &attempt->cluster->rows[row].pods, on_node)
			domain->pods += counts(pod, arg);
	}
}

/* ---- the pod's own constraints ---- */

struct like {
	const struct pod_facts *self;
	struct selector *selector;
	const struct core_v1_topology_spread_constraint *constraint;
};

static bool is_like(const struct pod_info *other, void *arg) {
	const struct like *like = arg;
	const struct core_v1_pod *pod = other->facts->pod, *self = like->self->pod;
	if (other->going || !str_equal(pod->metadata.namespace, self->metadata.namespace) ||
		!selector_matches_labels(like->selector, &pod->metadata.labels))
		return false;
	for (uint32_t i = 0; i < like->constraint->match_label_keys.len; i++) {
		const char *key = like->constraint->match_label_keys.items[i], *value = api_map_get(&self->metadata.labels, key);
		if (value && !str_equal(value, api_map_get(&pod->metadata.labels, key)))
			return false;
	}
	return true;
}

static bool keeps_out(const char *effect) {
	return str_equal(effect, "NoSchedule") || str_equal(effect, "NoExecute");
}

/* Which nodes' pods are counted at all (nodeAffinityPolicy, nodeTaintsPolicy). */
static bool *eligible_rows(struct attempt *attempt, const struct core_v1_topology_spread_constraint *constraint) {
	bool *out = arena_calloc(attempt->arena, attempt->cluster->row_count + 1, sizeof(*out));
	cluster_each_row (row, attempt->cluster) {
		const struct core_v1_node *node = attempt->cluster->rows[row].node;
		out[row] = (str_equal(constraint->node_affinity_policy, "Ignore") || pod_wants_node(attempt->pod->pod, node)) &&
			(!str_equal(constraint->node_taints_policy, "Honor") || !untolerated_taint(attempt->pod->pod, node, keeps_out));
	}
	return out;
}

static int64_t fewest(const struct spread *spread, const struct core_v1_topology_spread_constraint *constraint) {
	int64_t least = INT64_MAX;
	struct map_entry *e;
	if (constraint->min_domains && spread->domains.len < (size_t)*constraint->min_domains)
		return 0;
	for (size_t i = 0; (e = map_next(&spread->domains, &i));)
		least = min_of(least, ((struct domain *)e->value)->pods);
	return least == INT64_MAX ? 0 : least;
}

static void filter_constraint(struct attempt *attempt, const struct core_v1_topology_spread_constraint *constraint) {
	struct like like = {.self = attempt->pod, .constraint = constraint};
	struct spread spread = {.key = constraint->topology_key};
	if (label_selector_from(constraint->label_selector, &like.selector, NULL) < 0)
		return;
	count_domains(attempt, &spread, eligible_rows(attempt, constraint), is_like, &like);
	int64_t least = fewest(&spread, constraint), itself = selector_matches_labels(like.selector, &attempt->pod->pod->metadata.labels);
	attempt_each_row (row, attempt) {
		const char *name = domain_name(attempt, row, constraint->topology_key);
		const struct domain *domain = name ? map_get(&spread.domains, name) : NULL;
		if (!name)
			attempt_reject(attempt, row, "node(s) didn't match pod topology spread constraints (missing required label)");
		else if ((domain ? domain->pods : 0) + itself - least > constraint->max_skew)
			attempt_reject(attempt, row, "node(s) didn't match pod topology spread constraints");
	}
	map_done(&spread.domains);
	selector_free(like.selector);
}

static void filter(struct attempt *attempt) {
	for api_list_each (constraint, &attempt->pod->pod->spec.topology_spread_constraints)
		if (str_equal(constraint->when_unsatisfiable, "DoNotSchedule"))
			filter_constraint(attempt, constraint);
}

/* ---- points ---- */

static void add_points(struct attempt *attempt, const struct spread *spread, int64_t weight, int64_t *points) {
	attempt_each_row (row, attempt) {
		const char *name = domain_name(attempt, row, spread->key);
		const struct domain *domain = name ? map_get(&spread->domains, name) : NULL;
		points[row] += domain ? domain->pods * weight : 0;
	}
}

/* Pods of the same controller: a node that has one is worth 10 less for each, a zone 6. */
static void add_owner_points(struct attempt *attempt, const struct owner_pods *owner, int64_t *points) {
	const struct cluster *cluster = attempt->cluster;
	int64_t *in_zone = arena_calloc(attempt->arena, cluster->zone_numbers.len + 1, sizeof(*in_zone));
	uint32_t *counts = owner->by_row;
	if (!counts) {
		struct pod_info *other;
		counts = arena_calloc(attempt->arena, cluster->row_count + 1, sizeof(*counts));
		list_for_each (other, &owner->pods, of_owner)
			if (other->node != NO_NODE)
				counts[other->node]++;
	}
	uint32_t known = owner->by_row ? min_of(owner->row_cap, cluster->row_count) : cluster->row_count;
	for (uint32_t row = 0; row < known; row++)
		if (counts[row] && cluster->rows[row].node)
			in_zone[cluster->zones[row]] += counts[row];
	in_zone[0] = 0;
	attempt_each_row (row, attempt)
		points[row] += 10 * (row < known ? counts[row] : 0) + 6 * in_zone[cluster->zones[row]];
}

static bool score(struct attempt *attempt, int64_t *points) {
	const struct core_v1_pod *pod = attempt->pod->pod;
	bool any = false;
	for api_list_each (constraint, &pod->spec.topology_spread_constraints) {
		struct like like = {.self = attempt->pod, .constraint = constraint};
		struct spread spread = {.key = constraint->topology_key};
		if (!str_equal(constraint->when_unsatisfiable, "ScheduleAnyway") || label_selector_from(constraint->label_selector, &like.selector, NULL) < 0)
			continue;
		count_domains(attempt, &spread, eligible_rows(attempt, constraint), is_like, &like);
		add_points(attempt, &spread, 10, points);
		map_done(&spread.domains);
		selector_free(like.selector);
		any = true;
	}
	if (pod->spec.topology_spread_constraints.len || !attempt->pod->owner_uid)
		return any;
	const struct owner_pods *owner = map_get(&attempt->cluster->owners, attempt->pod->owner_uid);
	if (!owner)
		return false;
	add_owner_points(attempt, owner, points);
	return true;
}

const struct plugin pod_topology_spread_plugin = {
	.name = "PodTopologySpread",
	.events = EVENT_POD_ADD | EVENT_POD_DELETE | EVENT_POD_LABEL | EVENT_NODE_LABEL | EVENT_NODE_TAINT,
	.filter = filter,
	.score = score,
	.normalize = NORMALIZE_REVERSE,
	.weight = 2,
};
