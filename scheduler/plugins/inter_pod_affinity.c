/* SPDX-License-Identifier: Apache-2.0 */
/* Pods that want to be with, or away from, other pods. */
#include "scheduler/plugins/plugins.h"

#include "common/api/selector.h"

/* A term made ready: which pods it speaks of. */
struct term {
	const struct core_v1_pod_affinity_term *from;
	struct selector *selector, *namespace_selector;
	const char *own_namespace;
	const struct core_v1_pod *holder; /* whose term it is: for matchLabelKeys */
};

static bool term_init(struct term *term, const struct core_v1_pod_affinity_term *from, const struct core_v1_pod *holder) {
	*term = (struct term){.from = from, .own_namespace = holder->metadata.namespace, .holder = holder};
	if (label_selector_from(from->label_selector, &term->selector, NULL) < 0)
		return false;
	if (from->namespace_selector && label_selector_from(from->namespace_selector, &term->namespace_selector, NULL) < 0) {
		selector_free(term->selector);
		return false;
	}
	return true;
}

static void term_done(struct term *term) {
	selector_free(term->selector);
	selector_free(term->namespace_selector);
}

static bool namespace_matches(const struct cluster *cluster, const struct term *term, const char *ns) {
	if (!term->namespace_selector && !term->from->namespaces.len)
		return str_equal(ns, term->own_namespace);
	if (api_string_list_has(&term->from->namespaces, ns))
		return true;
	const struct core_v1_namespace *object = term->namespace_selector ? cluster_namespace(cluster, ns) : NULL;
	return object && selector_matches_labels(term->namespace_selector, &object->metadata.labels);
}

static bool term_matches(const struct cluster *cluster, const struct term *term, const struct core_v1_pod *pod) {
	if (!namespace_matches(cluster, term, pod->metadata.namespace) || !selector_matches_labels(term->selector, &pod->metadata.labels))
		return false;
	for (uint32_t i = 0; i < term->from->match_label_keys.len; i++) {
		const char *value = api_map_get(&term->holder->metadata.labels, term->from->match_label_keys.items[i]);
		if (value && !str_equal(value, api_map_get(&pod->metadata.labels, term->from->match_label_keys.items[i])))
			return false;
	}
	for (uint32_t i = 0; i < term->from->mismatch_label_keys.len; i++) {
		const char *value = api_map_get(&term->holder->metadata.labels, term->from->mismatch_label_keys.items[i]);
		if (value && str_equal(value, api_map_get(&pod->metadata.labels, term->from->mismatch_label_keys.items[i])))
			return false;
	}
	return true;
}

static const char *domain_of(const struct cluster *cluster, uint32_t row, const char *key) {
	return api_map_get(&cluster->rows[row].node->metadata.labels, key);
}

/* The domains in which a pod matches the term, as a set. */
static struct map domains_with(const struct cluster *cluster, const struct term *term) {
	struct map domains = MAP_INIT(NULL);
	cluster_each_row (row, cluster) {
		const char *domain = domain_of(cluster, row, term->from->topology_key);
		if (!domain || map_has(&domains, domain))
			continue;
		struct pod_info *pod;
		list_for_each (pod, &cluster->rows[row].pods, on_node) {
			if (term_matches(cluster, term, pod->facts->pod)) {
				set_add(&domains, domain);
				break;
			}
		}
	}
	return domains;
}

static void filter_affinity(struct attempt *attempt, const struct core_v1_pod_affinity_term *from) {
	struct term term;
	if (!term_init(&term, from, attempt->pod->pod))
		return;
	struct map domains = domains_with(attempt->cluster, &term);
	/* The first of a group that wants to be together has nobody to join: it may go anywhere. */
	bool first = !domains.len && term_matches(attempt->cluster, &term, attempt->pod->pod);
	attempt_each_row (row, attempt) {
		const char *domain = domain_of(attempt->cluster, row, from->topology_key);
		if (!domain || (!first && !map_has(&domains, domain)))
			attempt_reject(attempt, row, "node(s) didn't match pod affinity rules");
	}
	map_done(&domains);
	term_done(&term);
}

static void filter_anti_affinity(struct attempt *attempt, const struct core_v1_pod_affinity_term *from) {
	struct term term;
	if (!term_init(&term, from, attempt->pod->pod))
		return;
	struct map domains = domains_with(attempt->cluster, &term);
	attempt_each_row (row, attempt) {
		const char *domain = domain_of(attempt->cluster, row, from->topology_key);
		if (domain && map_has(&domains, domain))
			attempt_reject(attempt, row, "node(s) didn't match pod anti-affinity rules");
	}
	map_done(&domains);
	term_done(&term);
}

/* Pods that are there already may not want this one beside them. */
static void filter_existing(struct attempt *attempt) {
	struct pod_info *other;
	list_for_each (other, &attempt->cluster->anti_affine, anti) {
		if (other->node == NO_NODE)
			continue;
		for api_list_each (from, &other->facts->pod->spec.affinity->pod_anti_affinity->required_during_scheduling_ignored_during_execution) {
			struct term term;
			const char *theirs = domain_of(attempt->cluster, other->node, from->topology_key);
			if (!theirs || !term_init(&term, from, other->facts->pod))
				continue;
			if (term_matches(attempt->cluster, &term, attempt->pod->pod)) {
				attempt_each_row (row, attempt)
					if (str_equal(domain_of(attempt->cluster, row, from->topology_key), theirs))
						attempt_reject(attempt, row, "node(s) didn't satisfy existing pods anti-affinity rules");
			}
			term_done(&term);
		}
	}
}

static void filter(struct attempt *attempt) {
	const struct core_v1_affinity *affinity = attempt->pod->pod->spec.affinity;
	filter_existing(attempt);
	if (attempt->pod->has_anti_affinity)
		for api_list_each (term, &affinity->pod_anti_affinity->required_during_scheduling_ignored_during_execution)
			filter_anti_affinity(attempt, term);
	if (attempt->pod->has_affinity)
		for api_list_each (term, &affinity->pod_affinity->required_during_scheduling_ignored_during_execution)
			filter_affinity(attempt, term);
}

static void score_term(struct attempt *attempt, const struct core_v1_weighted_pod_affinity_term *weighted, int sign, int64_t *points) {
	struct term term;
	if (!term_init(&term, &weighted->pod_affinity_term, attempt->pod->pod))
		return;
	struct map domains = domains_with(attempt->cluster, &term);
	attempt_each_row (row, attempt) {
		const char *domain = domain_of(attempt->cluster, row, weighted->pod_affinity_term.topology_key);
		if (domain && map_has(&domains, domain))
			points[row] += sign * weighted->weight;
	}
	map_done(&domains);
	term_done(&term);
}

static bool score(struct attempt *attempt, int64_t *points) {
	const struct core_v1_affinity *affinity = attempt->pod->pod->spec.affinity;
	bool any = false;
	if (affinity && affinity->pod_affinity)
		for api_list_each (term, &affinity->pod_affinity->preferred_during_scheduling_ignored_during_execution) {
			score_term(attempt, term, 1, points);
			any = true;
		}
	if (affinity && affinity->pod_anti_affinity)
		for api_list_each (term, &affinity->pod_anti_affinity->preferred_during_scheduling_ignored_during_execution) {
			score_term(attempt, term, -1, points);
			any = true;
		}
	int64_t least = 0;
	attempt_each_row (row, attempt)
		least = min_of(least, points[row]);
	attempt_each_row (row, attempt)
		points[row] -= least;
	return any;
}

const struct plugin inter_pod_affinity_plugin = {
	.name = "InterPodAffinity",
	.events = EVENT_POD_ADD | EVENT_POD_DELETE | EVENT_POD_LABEL | EVENT_NODE_LABEL | EVENT_NAMESPACE,
	.filter = filter,
	.score = score,
	.normalize = NORMALIZE_MAX,
	.weight = 2,
};
