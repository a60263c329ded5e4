/* SPDX-License-Identifier: Apache-2.0 */
/* cgroups: version 2 on a folder that looks like one, whatever this machine has for real, with processes. */
#include "kubelet/cgroup/cgroup.h"

#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define assert_ok(call, err)                                           \
	do {                                                           \
		int ok_ = (call);                                      \
		if (ok_ < 0)                                           \
			fail_msg("%s: %s", #call, error_message(err)); \
	} while (0)

static void test_conversions(void **state)
{
	static const struct {
		int64_t milli, shares, quota;
	} rows[] = {{0, 2, 0}, {1, 2, 1000}, {2, 2, 1000}, {10, 10, 1000}, {100, 102, 10000}, {1000, 1024, 100000}, {256000, 262144, 25600000}, {1000000, 262144, 100000000}};
	for (size_t i = 0; i < array_len(rows); i++) {
		assert_int_equal(cgroup_milli_cpu_to_shares(rows[i].milli), rows[i].shares);
		assert_int_equal(cgroup_milli_cpu_to_quota_us(rows[i].milli, 100000), rows[i].quota);
	}
	assert_int_equal(cgroup_shares_to_weight(2), 1);
	assert_int_equal(cgroup_shares_to_weight(1024), 39);
	assert_int_equal(cgroup_shares_to_weight(262144), 10000);
	assert_int_equal(cgroup_shares_to_weight(1 << 30), 10000);
}

/* ---- version 2, on plain files ---- */

static void put(const char *folder, const char *file, const char *text)
{
	autofree char *path = path_join(folder, file, NULL);
	assert_int_equal(file_mkdir_all(folder, 0755, NULL), 0);
	assert_int_equal(file_write(AT_FDCWD, path, text, strlen(text), 0644, NULL), 0);
}

static void assert_file(const char *folder, const char *file, const char *wanted)
{
	autofree char *path = path_join(folder, file, NULL), *text = NULL;
	size_t len;
	assert_int_equal(file_read(AT_FDCWD, path, 4096, &text, &len, NULL), 0);
	text[strlen(wanted)] = 0; /* a plain file keeps what a longer write left */
	assert_string_equal(text, wanted);
}

static void test_version_2(void **state)
{
	autoerror struct error err = {0};
	char dir[] = "/tmp/coracle-cgroup-XXXXXX";
	assert_non_null(mkdtemp(dir));
	autofree char *pods = path_join(dir, "kubepods", NULL), *pod = path_join(dir, "kubepods/pod1", NULL);
	static const char *const files[] = {"cpu.weight", "cpu.max", "memory.max", "memory.high", "memory.swap.max", "pids.max", "cgroup.kill",
		"cgroup.procs", "cgroup.subtree_control", "hugetlb.2MB.max"};
	put(dir, "cgroup.controllers", "cpuset memory pids cpu hugetlb\n");
	put(dir, "cgroup.subtree_control", "");
	put(pods, "cgroup.controllers", "cpuset memory pids cpu hugetlb\n");
	put(pods, "cgroup.subtree_control", "cpu memory\n");
	for (size_t i = 0; i < array_len(files); i++)
		put(pod, files[i], "");
	struct cgroup_tree *tree;
	assert_ok(cgroup_open(&(struct cgroup_options){.mount = dir}, &tree, &err), &err);
	assert_int_equal(cgroup_version(tree), 2);
	assert_true(cgroup_has_controller(tree, "cpu"));
	assert_true(cgroup_has_controller(tree, "memory"));
	assert_false(cgroup_has_controller(tree, "io"));
	autofree char *path = cgroup_pod_path(tree, CGROUP_GUARANTEED, "1"), *burst = cgroup_pod_path(tree, CGROUP_BURSTABLE, "2");
	assert_string_equal(path, "/kubepods/pod1");
	assert_string_equal(burst, "/kubepods/burstable/pod2");
	struct cgroup_resources resources = {.cpu_shares = 1024, .cpu_quota_us = 50000, .memory_limit = 1 << 20, .memory_high = -1, .no_swap = true,
		.pids_limit = -1, .hugepages = {{2 << 20, 4 << 20}}, .hugepage_count = 1};
	assert_ok(cgroup_create(tree, path, &resources, &err), &err);
	assert_file(pod, "cpu.weight", "39");
	assert_file(pod, "cpu.max", "50000 100000");
	assert_file(pod, "memory.max", "1048576");
	assert_file(pod, "memory.high", "max");
	assert_file(pod, "memory.swap.max", "0");
	assert_file(pod, "pids.max", "max");
	assert_file(pod, "hugetlb.2MB.max", "4194304");
	assert_file(dir, "cgroup.subtree_control", "+hugetlb"); /* the last of those enabled */

	put(pod, "cpu.stat", "usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\nnr_periods 10\nnr_throttled 4\nthrottled_usec 7\n");
	put(pod, "memory.current", "8192\n");
	put(pod, "memory.max", "max\n");
	put(pod, "memory.stat", "anon 4096\nfile 2048\ninactive_file 1024\npgfault 5\npgmajfault 1\n");
	put(pod, "memory.events", "low 0\nmax 3\noom 2\noom_kill 1\n");
	put(pod, "pids.current", "6\n");
	struct cgroup_stats stats;
	assert_ok(cgroup_stats_read(tree, path, &stats, &err), &err);
	assert_int_equal(stats.cpu_usage_ns, 2500000000);
	assert_int_equal(stats.cpu_throttled_periods, 4);
	assert_int_equal(stats.memory_usage, 8192);
	assert_int_equal(stats.memory_working_set, 7168);
	assert_int_equal(stats.memory_rss, 4096);
	assert_true(stats.memory_limit == UINT64_MAX);
	assert_int_equal(stats.oom_kills, 1);
	assert_int_equal(stats.pids, 6);
	assert_ok(cgroup_usage_read(tree, path, &stats, &err), &err);
	assert_int_equal(stats.cpu_usage_ns, 2500000000);
	assert_int_equal(stats.memory_working_set, 7168);
	assert_int_equal(stats.pids, 0); /* not asked for */
	assert_int_equal(cgroup_usage_read(tree, "/kubepods/none", &stats, NULL), -ENOENT);
	assert_int_equal(cgroup_stats_read(tree, "/kubepods/none", &stats, &err), -ENOENT);
	put(pod, "cpu.pressure", "some avg10=1.50 avg60=2.25 avg300=0.00 total=123456\nfull avg10=0.50 avg60=0.00 avg300=3.00 total=7\n");
	put(pod, "io.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=99\n");
	put(pod, "memory.pressure", "odd\n");
	struct cgroup_pressure pressure;
	assert_true(cgroup_pressure_read(tree, path, CGROUP_PRESSURE_CPU, &pressure));
	assert_true(pressure.some.avg10 == 1.5 && pressure.some.avg60 == 2.25 && pressure.some.total_us == 123456 && pressure.full.avg300 == 3 && pressure.full.total_us == 7);
	assert_true(cgroup_pressure_read(tree, path, CGROUP_PRESSURE_IO, &pressure));
	assert_true(pressure.some.total_us == 99 && pressure.full.total_us == 0);
	assert_false(cgroup_pressure_read(tree, path, CGROUP_PRESSURE_MEMORY, &pressure));
	assert_false(cgroup_pressure_read(tree, "/kubepods/none", CGROUP_PRESSURE_CPU, &pressure));
	assert_ok(cgroup_kill(tree, path, &err), &err);
	assert_file(pod, "cgroup.kill", "1");
	cgroup_close(tree);
	assert_int_equal(file_remove_all(dir, NULL), 0);
}

/* ---- this machine's ---- */

static void test_real_groups(void **state)
{
	autoerror struct error err = {0};
	autofree char *root = xprintf("/coracle-cgroup-test-%d", (int)getpid());
	struct cgroup_tree *tree;
	assert_ok(cgroup_open(&(struct cgroup_options){.root = root}, &tree, &err), &err);
	autofree char *pod = cgroup_pod_path(tree, CGROUP_BURSTABLE, "uid-1"), *child = xprintf("%s/container", pod), *qos = cgroup_qos_path(tree, CGROUP_BURSTABLE);
	struct cgroup_resources limits = {.cpu_shares = 200, .cpu_quota_us = 20000, .memory_limit = 64 << 20, .pids_limit = 20};
	assert_ok(cgroup_create(tree, pod, &limits, &err), &err);
	assert_ok(cgroup_create(tree, pod, &limits, &err), &err);
	assert_ok(cgroup_create(tree, child, NULL, &err), &err);
	assert_true(cgroup_exists(tree, child));
	char **children;
	assert_ok(cgroup_children(tree, qos, &children, &err), &err);
	assert_string_equal(children[0], "poduid-1");
	assert_null(children[1]);
	free(children[0]);
	free(children);
	if (cgroup_version(tree) == 1) {
		/* One that was removed in part is found, and goes. */
		autofree char *part = cgroup_pod_path(tree, CGROUP_BURSTABLE, "uid-2"), *folder = xprintf("/sys/fs/cgroup/memory%s", part);
		uint64_t before = cgroup_child_count(tree, qos);
		assert_ok(cgroup_create(tree, part, NULL, &err), &err);
		uint64_t with = cgroup_child_count(tree, qos);
		assert_true(with > before);
		assert_int_equal(rmdir(folder), 0);
		assert_true(cgroup_child_count(tree, qos) < with);
		assert_ok(cgroup_children(tree, qos, &children, &err), &err);
		assert_string_equal(children[1], "poduid-2");
		free(children[0]);
		free(children[1]);
		free(children);
		assert_ok(cgroup_remove(tree, part, &err), &err);
	}
	pid_t pid = fork();
	if (pid == 0) {
		pause();
		_exit(0);
	}
	assert_ok(cgroup_attach(tree, child, pid, &err), &err);
	pid_t *pids;
	size_t count;
	assert_ok(cgroup_pids(tree, pod, &pids, &count, &err), &err);
	assert_int_equal(count, 1);
	assert_int_equal(pids[0], pid);
	free(pids);
	struct cgroup_stats stats;
	assert_ok(cgroup_stats_read(tree, pod, &stats, &err), &err);
	assert_int_equal(stats.memory_limit, 64 << 20);
	assert_int_equal(stats.pids, 1);
	assert_int_equal(stats.pids_limit, 20);
	/* Down and up again, past what the sum with swap was. */
	struct cgroup_resources less = {.memory_limit = 32 << 20, .no_swap = true}, more = {.memory_limit = 128 << 20, .no_swap = true}, none = {.memory_limit = -1};
	assert_ok(cgroup_update(tree, pod, &less, &err), &err);
	assert_ok(cgroup_update(tree, pod, &more, &err), &err);
	assert_ok(cgroup_update(tree, pod, &none, &err), &err);
	assert_ok(cgroup_stats_read(tree, pod, &stats, &err), &err);
	assert_true(stats.memory_limit == UINT64_MAX);
	/* Leaving kills nothing, removal kills what is left. */
	assert_int_equal(cgroup_leave(tree, &err), -EBUSY);
	error_done(&err);
	assert_int_equal(kill(pid, 0), 0);
	assert_ok(cgroup_remove(tree, pod, &err), &err);
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_false(cgroup_exists(tree, pod));
	assert_ok(cgroup_remove(tree, pod, &err), &err);
	autofree char *monitors = cgroup_monitors_path(tree), *other = xprintf("%s/other", root);
	assert_ok(cgroup_create(tree, monitors, NULL, &err), &err);
	assert_ok(cgroup_create(tree, other, NULL, &err), &err);
	assert_ok(cgroup_leave(tree, &err), &err);
	assert_false(cgroup_exists(tree, monitors));
	assert_true(cgroup_exists(tree, other)); /* not ours */
	assert_ok(cgroup_remove(tree, other, &err), &err);
	assert_ok(cgroup_leave(tree, &err), &err);
	assert_false(cgroup_exists(tree, root));
	assert_int_equal(cgroup_remove(tree, "/", &err), -EINVAL);
	cgroup_close(tree);
}

/* Who was killed while it made or removed a group leaves it in some hierarchies: it is seen, and removed, all the same. */
static void test_half_removed(void **state)
{
	autoerror struct error err = {0};
	autofree char *root = xprintf("/coracle-cgroup-half-%d", (int)getpid());
	struct cgroup_tree *tree;
	assert_ok(cgroup_open(&(struct cgroup_options){.root = root}, &tree, &err), &err);
	if (cgroup_version(tree) == 1) {
		autofree char *pod = cgroup_pod_path(tree, CGROUP_BESTEFFORT, "uid-2"), *qos = cgroup_qos_path(tree, CGROUP_BESTEFFORT);
		autofree char *in_memory = xprintf("/sys/fs/cgroup/memory%s", pod), *in_cpu = xprintf("/sys/fs/cgroup/cpu%s", pod);
		autofree char *procs = xprintf("%s/cgroup.procs", in_cpu);
		assert_ok(cgroup_create(tree, pod, NULL, &err), &err);
		pid_t pid = fork();
		if (pid == 0) {
			pause();
			_exit(0);
		}
		autofree char *text = xprintf("%d", (int)pid);
		assert_int_equal(rmdir(in_memory), 0);
		FILE *f = fopen(procs, "w");
		assert_non_null(f);
		assert_true(fputs(text, f) >= 0);
		assert_int_equal(fclose(f), 0);
		char **children;
		assert_ok(cgroup_children(tree, qos, &children, &err), &err);
		assert_string_equal(children[0], "poduid-2");
		assert_null(children[1]);
		free(children[0]);
		free(children);
		assert_ok(cgroup_remove(tree, pod, &err), &err);
		int status;
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		assert_int_not_equal(access(in_cpu, F_OK), 0);
		assert_ok(cgroup_children(tree, qos, &children, &err), &err);
		assert_null(children[0]);
		free(children);
	}
	assert_ok(cgroup_remove(tree, root, &err), &err);
	cgroup_close(tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_conversions),
		cmocka_unit_test(test_version_2),
		cmocka_unit_test(test_real_groups),
		cmocka_unit_test(test_half_removed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
