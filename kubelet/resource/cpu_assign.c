/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/resource/cpu_assign.h"

#include <errno.h>
#include <math.h>

/* ---- what is free, and in which order it is taken ---- */

struct ids {
	int *items;
	size_t len;
};

static void ids_done(struct ids *ids) {
	free(ids->items);
}
#define autoids cleanup(ids_done)

static void ids_add(struct ids *ids, int id) {
	ids->items = xreallocarray(ids->items, ids->len + 1, sizeof(*ids->items));
	ids->items[ids->len++] = id;
}

struct taking {
	const struct machine *machine;
	const struct cpu_assign_options *options;
	struct cpuset free_cpus, taken;
	size_t needed;
	bool nodes_first; /* a NUMA node holds whole sockets, not the other way round */
};

static size_t count_free(const struct taking *t, enum machine_level level, int id) {
	size_t count = 0;
	for (size_t i = 0; i < t->machine->cpu_count; i++)
		count += t->machine->cpus[i].of[level] == id && cpuset_has(&t->free_cpus, t->machine->cpus[i].id);
	return count;
}

static bool is_listed(const struct ids *ids, size_t from, int id) {
	for (size_t i = from; i < ids->len; i++)
		if (ids->items[i] == id)
			return true;
	return false;
}

/* Adds those that have something free, within `id` of a larger level (MACHINE_LEVELS: anywhere), the emptiest first. */
static void add_sorted(const struct taking *t, enum machine_level level, enum machine_level within, int id, struct ids *out) {
	size_t from = out->len;
	for (size_t i = 0; i < t->machine->cpu_count; i++) {
		const struct machine_cpu *cpu = &t->machine->cpus[i];
		if (cpuset_has(&t->free_cpus, cpu->id) && (within == MACHINE_LEVELS || cpu->of[within] == id) && !is_listed(out, from, cpu->of[level]))
			ids_add(out, cpu->of[level]);
	}
	autofree size_t *counts = xcalloc(out->len - from + 1, sizeof(*counts));
	for (size_t i = from; i < out->len; i++)
		counts[i - from] = count_free(t, level, out->items[i]);
	for (size_t i = from + 1; i < out->len; i++)
		for (size_t k = i; k > from; k--) {
			size_t *a = &counts[k - 1 - from], *b = &counts[k - from];
			int *x = &out->items[k - 1], *y = &out->items[k];
			if (*a < *b || (*a == *b && *x < *y))
				break;
			size_t count = *a;
			int item = *x;
			*a = *b, *b = count;
			*x = *y, *y = item;
		}
}

/* Those of the smaller level one after the other, in the order of the larger ones that they are in. */
static struct ids sorted_within(const struct taking *t, enum machine_level level, enum machine_level within, const struct ids *larger) {
	struct ids out = {0};
	for (size_t i = 0; i < larger->len; i++)
		add_sorted(t, level, within, larger->items[i], &out);
	return out;
}

static struct ids sorted(const struct taking *t, enum machine_level level);

static struct ids sorted_below(const struct taking *t, enum machine_level level, enum machine_level within) {
	autoids struct ids larger = sorted(t, within);
	return sorted_within(t, level, within, &larger);
}

static struct ids sorted(const struct taking *t, enum machine_level level) {
	enum machine_level top = t->nodes_first ? MACHINE_NODE : MACHINE_SOCKET, second = t->nodes_first ? MACHINE_SOCKET : MACHINE_NODE;
	struct ids out = {0};
	if (level == top)
		add_sorted(t, top, MACHINE_LEVELS, 0, &out);
	else if (level == second)
		out = sorted_below(t, second, top);
	else
		out = sorted_below(t, level, level == MACHINE_CACHE ? MACHINE_NODE : second);
	return out;
}

/* ---- taking ---- */

static void take(struct taking *t, const struct cpuset *cpus) {
	t->taken = cpuset_or(&t->taken, cpus);
	t->free_cpus = cpuset_minus(&t->free_cpus, cpus);
	size_t count = cpuset_count(cpus);
	t->needed -= min_of(count, t->needed);
}

/* What "whole" means is the same for all cores and sockets, as most machines have it. */
static size_t whole_size(const struct taking *t, enum machine_level level, int id) {
	if (level == MACHINE_CORE || level == MACHINE_SOCKET)
		return machine_cpus_each(t->machine, level);
	struct cpuset all = machine_cpus(t->machine, level, id);
	return cpuset_count(&all);
}

/* Whole ones, as long as as much is needed. */
static void take_whole(struct taking *t, enum machine_level level) {
	autoids struct ids order = sorted(t, level);
	autofree bool *whole = xcalloc(order.len + 1, sizeof(*whole));
	for (size_t i = 0; i < order.len; i++)
		whole[i] = count_free(t, level, order.items[i]) == whole_size(t, level, order.items[i]);
	for (size_t i = 0; i < order.len && t->needed; i++) {
		struct cpuset cpus = machine_cpus(t->machine, level, order.items[i]);
		if (whole[i] && t->needed >= cpuset_count(&cpus))
			take(t, &cpus);
	}
}

/* What is still needed from one cache alone, its lowest cores first; nothing where it has not just as much. */
static void take_from_cache(struct taking *t, int cache) {
	size_t per_core = machine_cpus_each(t->machine, MACHINE_CORE), cores = (t->needed + per_core - 1) / per_core;
	struct cpuset chosen = {{0}}, ids = {{0}};
	for (size_t i = 0; i < t->machine->cpu_count; i++)
		if (t->machine->cpus[i].of[MACHINE_CACHE] == cache && cpuset_has(&t->free_cpus, t->machine->cpus[i].id))
			cpuset_add(&ids, t->machine->cpus[i].of[MACHINE_CORE]);
	for cpuset_each (core, &ids) {
		if (!cores--)
			break;
		struct cpuset of_core = machine_cpus(t->machine, MACHINE_CORE, core), usable = cpuset_and(&of_core, &t->free_cpus);
		chosen = cpuset_or(&chosen, &usable);
	}
	/* An odd number leaves one thread of the last core. */
	if (t->needed % 2 && per_core > 1 && cpuset_count(&chosen) > t->needed) {
		int last = -1;
		for cpuset_each (cpu, &chosen)
			last = cpu;
		chosen.words[last / 64] &= ~((uint64_t)1 << (last % 64));
	}
	if (cpuset_count(&chosen) == t->needed)
		take(t, &chosen);
}

static void take_caches(struct taking *t) {
	autoids struct ids order = sorted(t, MACHINE_CACHE);
	for (size_t i = 0; i < order.len && t->needed; i++) {
		if (t->needed >= machine_cpus_each(t->machine, MACHINE_CACHE))
			take_whole(t, MACHINE_CACHE);
		if (t->needed)
			take_from_cache(t, order.items[i]);
	}
}

static void take_rest(struct taking *t) {
	enum machine_level level = t->options->across_cores ? MACHINE_SOCKET : MACHINE_CORE;
	autoids struct ids order = sorted(t, level);
	for (size_t i = 0; i < order.len; i++) {
		struct cpuset of = machine_cpus(t->machine, level, order.items[i]), usable = cpuset_and(&of, &t->free_cpus);
		for cpuset_each (cpu, &usable) {
			struct cpuset one = {{0}};
			cpuset_add(&one, cpu);
			if (!t->needed)
				return;
			take(t, &one);
		}
	}
}

static int begin(const struct machine *machine, const struct cpuset *free_cpus, size_t count, const struct cpu_assign_options *options, struct taking *ret, struct error *err) {
	*ret = (struct taking){.machine = machine, .options = options, .free_cpus = cpuset_and(free_cpus, &machine->all), .needed = count, .nodes_first = machine->counts[MACHINE_SOCKET] >= machine->counts[MACHINE_NODE]};
	if (count > cpuset_count(&ret->free_cpus))
		return error_set(err, ENOSPC, "not enough cpus available to satisfy request: requested=%zu, available=%zu", count, cpuset_count(free_cpus));
	return 0;
}

/* The best fit: whole nodes and sockets, then caches where they count, then cores, then single threads. */
static int assign_packed(const struct machine *machine, const struct cpuset *free_cpus, size_t count, const struct cpu_assign_options *options, struct cpuset *ret, struct error *err) {
	struct taking t;
	int r = begin(machine, free_cpus, count, options, &t, err);
	if (r < 0)
		return r;
	take_whole(&t, t.nodes_first ? MACHINE_NODE : MACHINE_SOCKET);
	take_whole(&t, t.nodes_first ? MACHINE_SOCKET : MACHINE_NODE);
	if (options->by_cache)
		take_caches(&t);
	if (!options->across_cores)
		take_whole(&t, MACHINE_CORE);
	take_rest(&t);
	if (t.needed)
		return error_set(err, ENOSPC, "failed to allocate cpus");
	*ret = t.taken;
	return 0;
}

/* ---- evenly over several nodes ---- */

/* A way to spread: the nodes, those of them that give a group more, and how uneven it leaves all. */
struct spread {
	uint64_t chosen, more; /* by position in the order of nodes */
	double uneven;
};

struct spreading {
	struct taking *t;
	const struct ids *nodes;
	size_t *usable; /* by position */
	size_t count, group;
	struct spread best;
	bool found;
};

static double round_3(double x) {
	return round(x * 1000) / 1000;
}

static double deviation(const size_t *values, size_t count) {
	double sum = 0;
	for (size_t i = 0; i < count; i++)
		sum += (double)values[i];
	double mean = round_3(sum / (double)count);
	sum = 0;
	for (size_t i = 0; i < count; i++)
		sum += ((double)values[i] - mean) * ((double)values[i] - mean);
	return round_3(sqrt(sum / (double)count));
}

/* The first set of `size` of the members of `among`, then the next; false past the last. In the order of the positions. */
static bool first_subset(uint64_t among, size_t size, uint64_t *ret) {
	uint64_t out = 0;
	for (; size; size--) {
		if (!among)
			return false;
		out |= among & -among;
		among &= among - 1;
	}
	*ret = out;
	return true;
}

/* Moves the last member that can be moved on, and puts those behind it right after. */
static bool next_subset(uint64_t among, uint64_t *set) {
	uint64_t rest = *set, tail;
	for (size_t behind = 1; rest; behind++) {
		uint64_t last = (uint64_t)1 << (63 - __builtin_clzll(rest)), after = among & ~(last | (last - 1));
		rest &= ~last;
		if (first_subset(after, behind, &tail)) {
			*set = rest | tail;
			return true;
		}
	}
	return false;
}

/* The best of the ways to give what is left over, once all of `chosen` gave the same. */
static void choose_more(const struct spreading *s, const size_t *left, size_t remainder, struct spread *ret) {
	size_t count = s->nodes->len;
	uint64_t able = 0;
	for (size_t i = 0; i < count; i++)
		if (ret->chosen >> i & 1 && left[i] >= s->group)
			able |= (uint64_t)1 << i;
	autofree size_t *after = xcalloc(count + 1, sizeof(*after));
	for (size_t size = (size_t)__builtin_popcountll(able); size >= 1; size--) {
		uint64_t set;
		for (bool more = first_subset(able, size, &set); more; more = next_subset(able, &set)) {
			size_t rest = remainder, sum = 0;
			memcpy(after, left, count * sizeof(*after));
			for (size_t i = 0; i < count; i++)
				sum += set >> i & 1 ? left[i] : 0;
			bool moves = sum >= remainder;
			while (rest && moves) {
				moves = false;
				for (size_t i = 0; i < count && rest; i++) {
					if (!(set >> i & 1) || after[i] < s->group)
						continue;
					after[i] -= s->group;
					rest -= s->group;
					moves = true;
				}
			}
			if (rest)
				continue;
			double uneven = deviation(after, count);
			if (uneven < ret->uneven) {
				ret->uneven = uneven;
				ret->more = set;
			}
		}
	}
}

static void weigh(struct spreading *s, uint64_t chosen) {
	size_t members = (size_t)__builtin_popcountll(chosen), count = s->nodes->len, groups = 0, all = 0;
	size_t each = s->count / members / s->group * s->group;
	struct spread way = {.chosen = chosen, .uneven = INFINITY};
	autofree size_t *left = xcalloc(count + 1, sizeof(*left));
	for (size_t i = 0; i < count; i++) {
		left[i] = s->usable[i];
		if (!(chosen >> i & 1))
			continue;
		all += left[i];
		groups += left[i] / s->group;
		if (left[i] < each)
			return;
		left[i] -= each;
	}
	if (all < s->count || groups * s->group < s->count)
		return;
	if (each * members == s->count)
		way.uneven = deviation(left, count);
	else
		choose_more(s, left, s->count - each * members, &way);
	if (way.uneven < (s->found ? s->best.uneven : INFINITY)) {
		s->best = way;
		s->found = true;
	}
}

static void give(struct spreading *s, int node, size_t count) {
	struct cpuset of = machine_cpus(s->t->machine, MACHINE_NODE, node), usable = cpuset_and(&of, &s->t->free_cpus), got;
	struct cpu_assign_options plain = {.across_cores = s->t->options->across_cores};
	if (assign_packed(s->t->machine, &usable, count, &plain, &got, NULL) == 0)
		take(s->t, &got);
}

static void carry_out(struct spreading *s) {
	size_t members = (size_t)__builtin_popcountll(s->best.chosen), each = s->count / members / s->group * s->group;
	for (size_t i = 0; i < s->nodes->len; i++)
		if (s->best.chosen >> i & 1)
			give(s, s->nodes->items[i], each);
	for (bool moves = true; s->t->needed && moves;) {
		size_t before = s->t->needed;
		for (size_t i = 0; i < s->nodes->len && s->t->needed; i++)
			if (s->best.more >> i & 1 && count_free(s->t, MACHINE_NODE, s->nodes->items[i]) >= s->group)
				give(s, s->nodes->items[i], s->group);
		moves = s->t->needed < before;
	}
}

static size_t divide_up(size_t a, size_t b) {
	return b ? (a + b - 1) / b : 0;
}

static int assign_across(const struct machine *machine, const struct cpuset *free_cpus, size_t count, const struct cpu_assign_options *options, struct cpuset *ret, struct error *err) {
	struct cpu_assign_options packed = {.across_cores = options->across_cores};
	size_t group = max_of(options->group, (size_t)1);
	struct taking t;
	if (count % group || !count)
		return assign_packed(machine, free_cpus, count, &packed, ret, err);
	int r = begin(machine, free_cpus, count, options, &t, err);
	if (r < 0)
		return r;
	autoids struct ids nodes = sorted(&t, MACHINE_NODE);
	autofree size_t *usable = xcalloc(nodes.len + 1, sizeof(*usable));
	for (size_t i = 0; i < nodes.len; i++)
		usable[i] = count_free(&t, MACHINE_NODE, nodes.items[i]);
	/* No fewer nodes than it takes where they are empty, no more than there are groups to give. */
	size_t groups = count / group, groups_each = divide_up(divide_up(machine->cpu_count, group), machine->counts[MACHINE_NODE]);
	size_t least = divide_up(groups, groups_each), most = min_of(groups, nodes.len);
	uint64_t all = nodes.len >= 64 ? UINT64_MAX : ((uint64_t)1 << nodes.len) - 1, set;
	for (size_t size = least; size <= most; size++) {
		struct spreading s = {.t = &t, .nodes = &nodes, .usable = usable, .count = count, .group = group};
		for (bool more = first_subset(all, size, &set); more && !(s.found && s.best.uneven == 0); more = next_subset(all, &set))
			weigh(&s, set);
		if (!s.found)
			continue;
		carry_out(&s);
		if (t.needed)
			return error_set(err, EIO, "accounting error, not enough CPUs allocated, remaining: %zu", t.needed);
		*ret = t.taken;
		return 0;
	}
	return assign_packed(machine, free_cpus, count, &packed, ret, err);
}

int cpu_assign(const struct machine *machine, const struct cpuset *free_cpus, size_t count, const struct cpu_assign_options *options, struct cpuset *ret, struct error *err) {
	return (options->across_nodes ? assign_across : assign_packed)(machine, free_cpus, count, options, ret, err);
}
