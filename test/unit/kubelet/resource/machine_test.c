/* SPDX-License-Identifier: Apache-2.0 */
/* Machines, played by folders that look like their sysfs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kubelet/resource/machine.h"

#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static char root[64];

static void put(const char *text, const char *fmt, ...) printf_like(2, 3);
static void put(const char *text, const char *fmt, ...) {
	char name[256];
	va_list args;
	va_start(args, fmt);
	vsnprintf(name, sizeof(name), fmt, args);
	va_end(args);
	autofree char *path = path_join(root, name, NULL), *dir = xstrdup(path);
	*strrchr(dir, '/') = '\0';
	assert_int_equal(file_mkdir_all(dir, 0755, NULL), 0);
	assert_int_equal(file_write(AT_FDCWD, path, text, strlen(text), 0644, NULL), 0);
}

static int begin(void **state) {
	snprintf(root, sizeof(root), "/tmp/coracle-machine-XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int end(void **state) {
	return file_remove_all(root, NULL);
}

#define CPU "devices/system/cpu/cpu%d/"
#define NODE "devices/system/node/node%d/"

/* node < 0: a kernel without NUMA. */
static void put_cpu(int id, int core, int socket, int node, int cache, const char *shared_with) {
	autofree char *core_text = xprintf("%d\n", core), *socket_text = xprintf("%d\n", socket), *cache_text = xprintf("%d\n", cache);
	put(core_text, CPU "topology/core_id", id);
	put(socket_text, CPU "topology/physical_package_id", id);
	put("1\n", CPU "cache/index0/level", id);
	put("3\n", CPU "cache/index1/level", id);
	put(cache_text, CPU "cache/index1/id", id);
	put(shared_with, CPU "cache/index1/shared_cpu_list", id);
	if (node >= 0)
		put("", NODE "cpu%d/x", node, id);
}

/* Two sockets of one NUMA node each, two cores with two threads; a third node has memory alone. One thread is offline. */
static void test_two_sockets(void **state) {
	struct machine m;
	for (int i = 0; i < 8; i++)
		put_cpu(i, i % 4 / 2, i % 4 % 2, i % 4 % 2, i % 4, i % 2 ? "1,3,5,7" : "0,2,4,6");
	put("0\n", CPU "online", 6);
	put("1\n", CPU "online", 2);
	put("Node 0 MemTotal:       1024 kB\nNode 0 MemFree: 1 kB\n", NODE "meminfo", 0);
	put("10 21 30\n", NODE "distance", 0);
	put("16\n", NODE "hugepages/hugepages-2048kB/nr_hugepages", 0);
	put("1\n", NODE "hugepages/hugepages-1048576kB/nr_hugepages", 0);
	put("Node 2 MemTotal: 4096 kB\n", NODE "meminfo", 2);
	put("", "devices/system/node/has_cpu");
	assert_int_equal(machine_read(root, &m, NULL), 0);
	assert_int_equal(m.cpu_count, 7);
	assert_int_equal(m.node_count, 3);
	assert_int_equal(m.counts[MACHINE_NODE], 2);
	assert_int_equal(m.counts[MACHINE_SOCKET], 2);
	assert_int_equal(m.counts[MACHINE_CORE], 4);
	struct cpuset node = machine_cpus(&m, MACHINE_NODE, 1), core = machine_cpus(&m, MACHINE_CORE, 0), both = machine_cpus_of_nodes(&m, 3);
	autofree char *node_text = cpuset_format(&node), *core_text = cpuset_format(&core), *both_text = cpuset_format(&both);
	assert_string_equal(node_text, "1,3,5,7");
	assert_string_equal(core_text, "0,4");
	assert_string_equal(both_text, "0-5,7");
	assert_int_equal(machine_cpu(&m, 7)->of[MACHINE_CORE], 3);
	assert_null(machine_cpu(&m, 6));
	/* Its cache is all of node 1's: the socket's then; node 0 has lost a cpu, so its cache is one of several. */
	assert_int_equal(machine_cpu(&m, 5)->of[MACHINE_CACHE], 1);
	assert_int_equal(machine_cpu_nodes(&m), 3);
	assert_int_equal(machine_all_nodes(&m), 7);
	assert_int_equal(m.nodes[0].memory, 1024 * 1024);
	assert_int_equal(m.nodes[2].memory, 4096 * 1024);
	assert_int_equal(m.nodes[0].distance_count, 3);
	assert_int_equal(m.nodes[0].distances[1], 21);
	assert_int_equal(m.nodes[0].page_sizes, 2);
	assert_int_equal(m.nodes[0].pages[0].size, 2 << 20);
	assert_int_equal(m.nodes[0].pages[0].count, 16);
	assert_int_equal(m.nodes[0].pages[1].size, 1 << 30);
	machine_done(&m);
}

static void test_split_cache(void **state) {
	struct machine m;
	for (int i = 0; i < 4; i++)
		put_cpu(i, i, 0, 0, i / 2, i / 2 ? "2-3" : "0-1");
	assert_int_equal(machine_read(root, &m, NULL), 0);
	assert_int_equal(m.counts[MACHINE_CACHE], 2);
	assert_int_equal(machine_cpu(&m, 3)->of[MACHINE_CACHE], 1);
	assert_int_equal(machine_cpus_each(&m, MACHINE_CACHE), 2);
	machine_done(&m);
}

static void test_without_numa(void **state) {
	struct machine m;
	for (int i = 0; i < 4; i++)
		put_cpu(i, 0, i / 2, -1, 0, "0-3");
	put("", "devices/system/cpu/cpufreq/x");
	assert_int_equal(machine_read(root, &m, NULL), 0);
	assert_int_equal(m.node_count, 2);
	assert_int_equal(m.nodes[1].id, 1);
	assert_int_equal(machine_cpu(&m, 2)->of[MACHINE_NODE], 1);
	/* Cores of the same number in two sockets are two. */
	assert_int_equal(m.counts[MACHINE_CORE], 2);
	machine_done(&m);
}

static void test_nothing_there(void **state) {
	struct machine m;
	autoerror struct error err = {0};
	assert_int_equal(machine_read(root, &m, &err), -ENODEV);
	/* And this one, whatever it is. */
	assert_int_equal(machine_read("/sys", &m, &err), 0);
	assert_true(m.cpu_count > 0 && m.node_count > 0);
	machine_done(&m);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_two_sockets, begin, end),
		cmocka_unit_test_setup_teardown(test_split_cache, begin, end),
		cmocka_unit_test_setup_teardown(test_without_numa, begin, end),
		cmocka_unit_test_setup_teardown(test_nothing_there, begin, end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
