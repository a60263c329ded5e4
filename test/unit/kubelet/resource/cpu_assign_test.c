/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kubelet/resource/cpu_assign.h"

#include <errno.h>

/* A regular machine; its threads are numbered as most are: first one of each core, then the others. */
struct plan {
	int sockets, nodes, caches, cores, threads; /* of each of what stands before */
};

static void build(const struct plan *p, struct machine *m) {
	int cores = p->sockets * p->nodes * p->caches * p->cores;
	*m = (struct machine){0};
	m->cpus = xcalloc((size_t)(cores * p->threads), sizeof(*m->cpus));
	for (int core = 0; core < cores; core++)
		for (int thread = 0; thread < p->threads; thread++) {
			struct machine_cpu *cpu = &m->cpus[m->cpu_count++];
			*cpu = (struct machine_cpu){.id = core + thread * cores};
			cpu->of[MACHINE_CORE] = core;
			cpu->of[MACHINE_CACHE] = core / p->cores;
			cpu->of[MACHINE_NODE] = core / (p->cores * p->caches);
			cpu->of[MACHINE_SOCKET] = core / (p->cores * p->caches * p->nodes);
		}
	machine_settle(m);
}

static const struct plan one_socket = {1, 1, 1, 4, 2}, two_sockets = {2, 1, 1, 3, 2}, four_nodes = {2, 2, 1, 4, 2}, split_cache = {1, 1, 4, 4, 2}, eight_nodes = {2, 4, 1, 4, 1};

static void test_choices(void **state) {
	static const struct {
		const struct plan *plan;
		const char *free_cpus;
		size_t count;
		struct cpu_assign_options options;
		const char *chosen; /* NULL: there are too few */
	} rows[] = {
		/* Whole cores, then the rest of one that is broken already. */
		{&one_socket, "0-7", 2, {0}, "0,4"},
		{&one_socket, "0-7", 3, {0}, "0-1,4"},
		{&one_socket, "1-7", 1, {0}, "4"},
		{&one_socket, "1-7", 2, {0}, "1,5"},
		{&one_socket, "1-7", 3, {0}, "1,4-5"},
		{&one_socket, "0-7", 8, {0}, "0-7"},
		{&one_socket, "0-6", 8, {0}, NULL},
		{&one_socket, "0-7", 0, {0}, ""},
		/* The fuller socket first, so that the other stays whole. */
		{&two_sockets, "0-11", 6, {0}, "0-2,6-8"},
		{&two_sockets, "1-11", 2, {0}, "1,7"},
		{&two_sockets, "1-11", 6, {0}, "3-5,9-11"},
		{&two_sockets, "0-11", 8, {0}, "0-3,6-9"},
		/* One thread a core. */
		{&one_socket, "0-7", 3, {.across_cores = true}, "0-2"},
		{&one_socket, "0-7", 5, {.across_cores = true}, "0-4"},
		/* Evenly over as few nodes as can be. */
		{&four_nodes, "0-31", 4, {.across_nodes = true, .group = 1}, "0-1,16-17"},
		{&four_nodes, "0-31", 12, {.across_nodes = true, .group = 1}, "0-2,4-6,16-18,20-22"},
		{&four_nodes, "0-31", 12, {.across_nodes = true, .group = 2}, "0-2,4-6,16-18,20-22"},
		{&four_nodes, "0-31", 18, {.across_nodes = true, .group = 1}, "0-2,4-6,8-10,16-18,20-22,24-26"},
		{&four_nodes, "4-31", 14, {.across_nodes = true, .group = 2}, "4-10,20-26"},
		{&eight_nodes, "0-31", 20, {.across_nodes = true, .group = 1}, "0-19"},
		/* In one cache where it has as much, else in as few as can be. */
		{&split_cache, "0-31", 8, {.by_cache = true}, "0-3,16-19"},
		{&split_cache, "1-31", 8, {.by_cache = true}, "4-7,20-23"},
		{&split_cache, "1-31", 4, {.by_cache = true}, "4-5,20-21"},
		{&split_cache, "1-31", 3, {.by_cache = true}, "1,16-17"},
		{&split_cache, "0-31", 12, {.by_cache = true}, "0-5,16-21"},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		struct machine m;
		struct cpuset free_cpus, got, want;
		build(rows[i].plan, &m);
		assert_int_equal(cpuset_parse(rows[i].free_cpus, &free_cpus, NULL), 0);
		int r = cpu_assign(&m, &free_cpus, rows[i].count, &rows[i].options, &got, NULL);
		if (!rows[i].chosen) {
			assert_int_equal(r, -ENOSPC);
		} else {
			assert_int_equal(r, 0);
			assert_int_equal(cpuset_parse(rows[i].chosen, &want, NULL), 0);
			autofree char *text = cpuset_format(&got);
			if (!cpuset_equal(&got, &want))
				fail_msg("row %zu: %s, not %s", i, text, rows[i].chosen);
		}
		machine_done(&m);
	}
}

/* Whatever is free: just as many as asked for, of what is free. */
static void test_all_counts(void **state) {
	static const struct plan *const plans[] = {&one_socket, &two_sockets, &four_nodes, &split_cache, &eight_nodes};
	static const struct cpu_assign_options options[] = {{0}, {.across_cores = true}, {.by_cache = true}, {.across_nodes = true, .group = 1}, {.across_nodes = true, .group = 2}};
	uint32_t seed = 1;
	for (size_t p = 0; p < array_len(plans); p++) {
		struct machine m;
		build(plans[p], &m);
		for (size_t o = 0; o < array_len(options); o++)
			for (size_t count = 0; count <= m.cpu_count; count++) {
				struct cpuset free_cpus = {{0}}, got;
				for (size_t i = 0; i < m.cpu_count; i++)
					if ((seed = seed * 1664525 + 1013904223) >> 30)
						cpuset_add(&free_cpus, m.cpus[i].id);
				int r = cpu_assign(&m, &free_cpus, count, &options[o], &got, NULL);
				assert_int_equal(r, count <= cpuset_count(&free_cpus) ? 0 : -ENOSPC);
				struct cpuset beyond = r == 0 ? cpuset_minus(&got, &free_cpus) : (struct cpuset){{0}};
				assert_true(cpuset_is_empty(&beyond));
				assert_true(r < 0 || cpuset_count(&got) == count);
			}
		machine_done(&m);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_choices), cmocka_unit_test(test_all_counts)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
