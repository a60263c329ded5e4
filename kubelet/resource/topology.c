/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/resource/topology.h"

#include <errno.h>

#define DEFAULT_MAX_NODES 8

static const struct topology_policy policies[] = {
	{.name = "none"},
	{.name = "best-effort", .looks = true},
	{.name = "restricted", .looks = true, .strict = true},
	{.name = "single-numa-node", .looks = true, .strict = true, .single = true},
};

/* ---- lists of hints ---- */

struct hint_list *hint_set_add(struct hint_set *set, struct arena *arena) {
	struct hint_list *grown = arena_calloc(arena, set->len + 1, sizeof(*grown));
	if (set->len)
		memcpy(grown, set->items, set->len * sizeof(*grown));
	set->items = grown;
	return &set->items[set->len++];
}

void hint_list_add(struct hint_list *list, struct arena *arena, uint64_t nodes, bool preferred) {
	/* Room doubles. */
	if (!(list->len & (list->len - 1))) {
		struct hint *grown = arena_calloc(arena, list->len ? list->len * 2 : 1, sizeof(*grown));
		if (list->len)
			memcpy(grown, list->items, list->len * sizeof(*grown));
		list->items = grown;
	}
	list->items[list->len++] = (struct hint){.nodes = nodes, .preferred = preferred};
}

void hint_list_prefer(struct hint_list *list, size_t nodes) {
	for (size_t i = 0; i < list->len; i++)
		list->items[i].preferred = hint_count(list->items[i].nodes) == nodes;
}

bool hint_is_narrower(uint64_t a, uint64_t b) {
	return hint_count(a) != hint_count(b) ? hint_count(a) < hint_count(b) : a < b;
}

/* ---- options ---- */

bool option_bool(const char *text, bool *ret) {
	static const char *const words[2][6] = {{"0", "f", "F", "false", "FALSE", "False"}, {"1", "t", "T", "true", "TRUE", "True"}};
	for (int value = 0; value < 2; value++)
		for (size_t i = 0; i < array_len(words[value]); i++)
			if (str_equal(text, words[value][i])) {
				*ret = value;
				return true;
			}
	return false;
}

static int read_option(const char *option, struct topology *t, int64_t *max_nodes, struct error *err) {
	size_t len = strcspn(option, "=");
	const char *value = option[len] ? option + len + 1 : "";
	autofree char *name = xstrndup(option, len);
	if (str_equal(name, "prefer-closest-numa-nodes"))
		return option_bool(value, &t->closest) ? 0 : error_set(err, EINVAL, "bad value for option \"%s\": \"%s\"", name, value);
	if (!str_equal(name, "max-allowable-numa-nodes"))
		return error_set(err, EINVAL, "unknown Topology Manager Policy option: \"%s\"", name);
	if (!str_to_int64(value, INT32_MIN, INT32_MAX, max_nodes))
		return error_set(err, EINVAL, "unable to convert policy option to integer \"%s\": \"%s\"", name, value);
	return *max_nodes < DEFAULT_MAX_NODES ? error_set(err, EINVAL, "the minimum value of \"%s\" should not be less than %d", name, DEFAULT_MAX_NODES) : 0;
}

int topology_init(const struct machine *machine, const char *policy, const char *scope, const struct flag_list *options, struct topology *ret, struct error *err) {
	struct topology t = {.machine = machine, .of_pod = str_equal(scope, "pod")};
	int64_t max_nodes = DEFAULT_MAX_NODES;
	for (size_t i = 0; i < array_len(policies); i++)
		if (str_equal(policies[i].name, policy))
			t.policy = &policies[i];
	if (!t.policy)
		return error_set(err, EINVAL, "topology-manager-policy: there is no \"%s\"", policy);
	if (!t.of_pod && !str_equal(scope, "container"))
		return error_set(err, EINVAL, "topology-manager-scope: there is no \"%s\"", scope);
	for (size_t i = 0; t.policy->looks && i < options->len; i++) {
		int r = read_option(options->items[i], &t, &max_nodes, err);
		if (r < 0)
			return r;
	}
	max_nodes = min_of(max_nodes, (int64_t)TOPOLOGY_MAX_NODES);
	if (t.policy->looks && machine->node_count > (size_t)max_nodes)
		return error_set(err, EINVAL, "topology-manager-policy: unsupported on machines with more than %lld NUMA Nodes", (long long)max_nodes);
	for (size_t i = 0; t.policy->looks && t.closest && i < machine->node_count; i++)
		if (!machine->nodes[i].distance_count)
			return error_set(err, EINVAL, "prefer-closest-numa-nodes: the machine does not tell how far its NUMA nodes are from each other");
	*ret = t;
	return 0;
}

/* ---- judging ---- */

static double mean_distance(const struct machine *machine, uint64_t nodes) {
	double sum = 0, count = 0;
	for (size_t i = 0; i < machine->node_count; i++)
		for (size_t k = 0; nodes >> machine->nodes[i].id & 1 && k < machine->node_count; k++)
			if (nodes >> machine->nodes[k].id & 1) {
				sum += k < machine->nodes[i].distance_count ? (double)machine->nodes[i].distances[k] : 0;
				count++;
			}
	return count > 0 ? sum / count : 0;
}

/* Whether b is the better place of two that are as good otherwise. */
static bool is_better_place(const struct topology *t, uint64_t a, uint64_t b) {
	if (t->closest && !t->policy->single && hint_count(a) == hint_count(b)) {
		double of_a = mean_distance(t->machine, a), of_b = mean_distance(t->machine, b);
		if (of_a < of_b || of_a > of_b)
			return of_b < of_a;
	}
	return hint_is_narrower(b, a);
}

/* How far from what the most demanding resource needs at least: as many nodes, then fewer (the more the better), then more. */
static int distance_class(size_t nodes, size_t needed) {
	return nodes == needed ? 0 : nodes < needed ? 1 : 2;
}

static bool is_better(const struct topology *t, size_t needed, const struct hint *best, const struct hint *other) {
	if (best->preferred != other->preferred)
		return other->preferred;
	if (best->preferred)
		return is_better_place(t, best->nodes, other->nodes);
	size_t a = hint_count(best->nodes), b = hint_count(other->nodes);
	int class_a = distance_class(a, needed), class_b = distance_class(b, needed);
	if (class_a != class_b)
		return class_b < class_a;
	if (class_a == 1 && a != b)
		return b > a;
	return is_better_place(t, best->nodes, other->nodes);
}

/* What can come of one hint of each list. While all is preferred and equal, `nodes` is what all say, or 0 where none has said anything. */
struct merged {
	uint64_t nodes; /* what is common to all */
	bool preferred, wished;
};

struct merging {
	struct merged *items;
	size_t len, cap;
	uint8_t *seen; /* by the nodes' positions and both flags */
	uint64_t all;
};

/* The set as a number below 2^(number of nodes). */
static size_t squeeze(uint64_t all, uint64_t nodes) {
	size_t out = 0, bit = 0;
	for (uint64_t rest = all; rest; rest &= rest - 1, bit++)
		if (nodes & rest & -rest)
			out |= (size_t)1 << bit;
	return out;
}

static void merging_add(struct merging *m, struct merged one) {
	size_t at = squeeze(m->all, one.nodes) << 2 | (size_t)one.preferred << 1 | one.wished;
	if (m->seen[at])
		return;
	m->seen[at] = 1;
	if (m->len == m->cap) {
		m->cap = m->cap ? m->cap * 2 : 64;
		m->items = xreallocarray(m->items, m->cap, sizeof(*m->items));
	}
	m->items[m->len++] = one;
}

static bool counts(const struct topology *t, const struct hint *hint) {
	return !t->policy->single || (hint->preferred && (!hint->nodes || hint_count(hint->nodes) == 1));
}

static void merge_list(const struct topology *t, const struct hint_list *list, struct merging *m) {
	static const struct hint nowhere = {.nodes = 0, .preferred = false};
	size_t hints = list->len ? list->len : 1, before = m->len;
	struct merged *items = take_ptr(m->items);
	m->len = m->cap = 0;
	memset(m->seen, 0, (size_t)4 << hint_count(m->all));
	for (size_t i = 0; i < before; i++)
		for (size_t k = 0; k < hints; k++) {
			const struct hint *hint = list->len ? &list->items[k] : &nowhere;
			struct merged one = items[i];
			if (!counts(t, hint))
				continue;
			one.preferred = one.preferred && hint->preferred && (!hint->nodes || !one.wished || hint->nodes == one.nodes);
			one.wished = one.wished || hint->nodes;
			one.nodes &= hint->nodes ? hint->nodes : m->all;
			merging_add(m, one);
		}
	free(items);
}

/* The most of what each resource needs at least. */
static size_t nodes_needed(const struct topology *t, const struct hint_set *hints) {
	size_t most = 0;
	for (size_t i = 0; i < hints->len; i++) {
		size_t least = 0;
		for (size_t k = 0; k < hints->items[i].len; k++) {
			const struct hint *hint = &hints->items[i].items[k];
			if (hint->nodes && counts(t, hint))
				least = least ? min_of(least, hint_count(hint->nodes)) : hint_count(hint->nodes);
		}
		most = max_of(most, least);
	}
	return most;
}

bool topology_merge(const struct topology *t, const struct hint_set *hints, struct hint *ret) {
	uint64_t all = machine_all_nodes(t->machine);
	struct hint best = {0};
	if (t->policy->looks) {
		struct merging m = {.all = all, .seen = xcalloc((size_t)4 << hint_count(all), 1)};
		size_t needed = nodes_needed(t, hints);
		merging_add(&m, (struct merged){.nodes = all, .preferred = true});
		for (size_t i = 0; i < hints->len; i++)
			merge_list(t, &hints->items[i], &m);
		for (size_t i = 0; i < m.len; i++) {
			const struct hint one = {.nodes = m.items[i].nodes, .preferred = m.items[i].preferred};
			if (one.nodes && (!best.nodes || is_better(t, needed, &best, &one)))
				best = one;
		}
		if (!best.nodes)
			best = (struct hint){.nodes = all, .preferred = false};
		/* Anywhere is no single node. */
		if (t->policy->single && best.nodes == all)
			best.nodes = 0;
		free(m.items);
		free(m.seen);
	}
	*ret = best;
	return !t->policy->strict || best.preferred;
}
