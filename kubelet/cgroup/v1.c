/* SPDX-License-Identifier: Apache-2.0 */
/* Version 1: a tree for each set of controllers. */
#include "kubelet/cgroup/internal.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define UNLIMITED_FROM ((uint64_t)1 << 62) /* the kernel says "none" as the largest multiple of a page */

/* A new cpuset group is empty, and nothing may enter it until it has what its parent has. */
static int fill_cpuset(const struct cgroup_hierarchy *h, const char *path, const char *file, struct error *err)
{
	autofree char *own = cgroup_read(h, path, file);
	if (own && *own && *own != '\n')
		return 0;
	const char *slash = strrchr(path, '/');
	autofree char *parent = xstrndup(path, (size_t)(slash - path));
	autofree char *value = cgroup_read(h, parent, file);
	return value && *value && *value != '\n' ? cgroup_write(h, path, file, value, err) : 0;
}

static int v1_prepare(struct cgroup_tree *tree, const char *path, struct error *err)
{
	const struct cgroup_hierarchy *cpuset = cgroup_find(tree, "cpuset");
	if (!cpuset)
		return 0;
	int r = fill_cpuset(cpuset, path, "cpuset.cpus", err);
	return r < 0 ? r : fill_cpuset(cpuset, path, "cpuset.mems", err);
}

/* Memory and memory+swap: the kernel wants the sum never below the part, so growing sets the sum first. */
static int apply_memory(const struct cgroup_hierarchy *h, const char *path, const struct cgroup_resources *res, struct error *err)
{
	int64_t limit = res->memory_limit;
	uint64_t sum_now = cgroup_read_uint(h, path, "memory.memsw.limit_in_bytes", 0);
	int64_t sum = -1;
	if (limit > 0 && (res->no_swap || res->swap_limit > 0))
		sum = limit + (res->no_swap ? 0 : res->swap_limit);
	bool has_sum = sum_now != 0;
	bool growing = limit < 0 || (uint64_t)limit > sum_now;
	int r = 0;
	if (has_sum && growing)
		r = cgroup_write_int(h, path, "memory.memsw.limit_in_bytes", sum, err);
	if (r == 0)
		r = cgroup_write_int(h, path, "memory.limit_in_bytes", limit, err);
	if (r == 0 && has_sum && !growing && sum > 0)
		r = cgroup_write_int(h, path, "memory.memsw.limit_in_bytes", sum, err);
	return r;
}

static int v1_apply_cpu(const struct cgroup_hierarchy *cpu, const char *path, const struct cgroup_resources *res, struct error *err)
{
	int r = 0;
	if (res->cpu_shares > 0)
		r = cgroup_write_int(cpu, path, "cpu.shares", res->cpu_shares, err);
	if (r == 0 && res->cpu_quota_us) {
		r = cgroup_write_int(cpu, path, "cpu.cfs_period_us", res->cpu_period_us > 0 ? res->cpu_period_us : 100000, err);
		if (r == 0)
			r = cgroup_write_int(cpu, path, "cpu.cfs_quota_us", res->cpu_quota_us, err);
	}
	return r;
}

static int v1_apply_cpuset(const struct cgroup_hierarchy *h, const char *path, const struct cgroup_resources *res, struct error *err)
{
	int r = 0;
	if (!str_empty(res->cpuset_cpus))
		r = cgroup_write(h, path, "cpuset.cpus", res->cpuset_cpus, err);
	if (r == 0 && !str_empty(res->cpuset_mems))
		r = cgroup_write(h, path, "cpuset.mems", res->cpuset_mems, err);
	return r;
}

/* "2MB", "1GB", "64KB", as the names of the hugetlb files say it. */
static void page_size_name(uint64_t size, char *out, size_t len)
{
	static const char *const units[] = {"KB", "MB", "GB"};
	uint64_t n = size >> 10;
	size_t unit = 0;
	while (n >= 1024 && n % 1024 == 0 && unit + 1 < array_len(units)) {
		n /= 1024;
		unit++;
	}
	snprintf(out, len, "%llu%s", (unsigned long long)n, units[unit]);
}

static int v1_apply_hugepages(const struct cgroup_hierarchy *h, const char *path, const struct cgroup_resources *res, struct error *err)
{
	for (size_t i = 0; i < res->hugepage_count; i++) {
		char size[24], file[64];
		page_size_name(res->hugepages[i].page_size, size, sizeof(size));
		snprintf(file, sizeof(file), "hugetlb.%s.limit_in_bytes", size);
		int r = cgroup_write_int(h, path, file, res->hugepages[i].limit, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int v1_apply(struct cgroup_tree *tree, const char *path, const struct cgroup_resources *res, struct error *err)
{
	const struct cgroup_hierarchy *cpu = cgroup_find(tree, "cpu"), *memory = cgroup_find(tree, "memory");
	const struct cgroup_hierarchy *pids = cgroup_find(tree, "pids"), *cpuset = cgroup_find(tree, "cpuset");
	const struct cgroup_hierarchy *hugetlb = cgroup_find(tree, "hugetlb");
	int r = 0;
	if (cpu)
		r = v1_apply_cpu(cpu, path, res, err);
	if (r == 0 && memory && res->memory_limit)
		r = apply_memory(memory, path, res, err);
	if (r == 0 && pids && res->pids_limit)
		r = res->pids_limit < 0 ? cgroup_write(pids, path, "pids.max", "max", err)
					: cgroup_write_int(pids, path, "pids.max", res->pids_limit, err);
	if (r == 0 && cpuset)
		r = v1_apply_cpuset(cpuset, path, res, err);
	if (r == 0 && hugetlb)
		r = v1_apply_hugepages(hugetlb, path, res, err);
	return r;
}

static uint64_t ticks_to_ns(uint64_t ticks)
{
	long hz = sysconf(_SC_CLK_TCK);
	return ticks * (uint64_t)(NSEC_PER_SEC / (hz > 0 ? hz : 100));
}

static void v1_read_cpu(struct cgroup_tree *tree, const char *path, struct cgroup_stats *ret)
{
	const struct cgroup_hierarchy *acct = cgroup_find(tree, "cpuacct");
	autofree char *split = cgroup_read(acct, path, "cpuacct.stat");
	ret->cpu_user_ns = ticks_to_ns(cgroup_stat_field(split, "user"));
	ret->cpu_system_ns = ticks_to_ns(cgroup_stat_field(split, "system"));
	autofree char *throttle = cgroup_read(cgroup_find(tree, "cpu"), path, "cpu.stat");
	ret->cpu_periods = cgroup_stat_field(throttle, "nr_periods");
	ret->cpu_throttled_periods = cgroup_stat_field(throttle, "nr_throttled");
	ret->cpu_throttled_ns = cgroup_stat_field(throttle, "throttled_time");
}

static bool v1_read_usage(struct cgroup_tree *tree, const char *path, struct cgroup_stats *ret)
{
	ret->cpu_usage_ns = cgroup_read_uint(cgroup_find(tree, "cpuacct"), path, "cpuacct.usage", 0);
	const struct cgroup_hierarchy *memory = cgroup_find(tree, "memory");
	autofree char *stat = cgroup_read(memory, path, "memory.stat");
	ret->memory_usage = cgroup_read_uint(memory, path, "memory.usage_in_bytes", 0);
	uint64_t inactive = cgroup_stat_field(stat, "total_inactive_file");
	ret->memory_working_set = ret->memory_usage > inactive ? ret->memory_usage - inactive : 0;
	ret->memory_rss = cgroup_stat_field(stat, "total_rss");
	ret->memory_cache = cgroup_stat_field(stat, "total_cache");
	ret->memory_swap = cgroup_stat_field(stat, "total_swap");
	ret->page_faults = cgroup_stat_field(stat, "total_pgfault");
	ret->major_page_faults = cgroup_stat_field(stat, "total_pgmajfault");
	return stat;
}

static void v1_read_memory(struct cgroup_tree *tree, const char *path, struct cgroup_stats *ret)
{
	const struct cgroup_hierarchy *memory = cgroup_find(tree, "memory");
	ret->memory_peak = cgroup_read_uint(memory, path, "memory.max_usage_in_bytes", 0);
	ret->memory_failures = cgroup_read_uint(memory, path, "memory.failcnt", 0);
	uint64_t limit = cgroup_read_uint(memory, path, "memory.limit_in_bytes", UINT64_MAX);
	ret->memory_limit = limit >= UNLIMITED_FROM ? UINT64_MAX : limit;
	autofree char *oom = cgroup_read(memory, path, "memory.oom_control");
	ret->oom_kills = cgroup_stat_field(oom, "oom_kill");
}

static void v1_read_stats(struct cgroup_tree *tree, const char *path, struct cgroup_stats *ret)
{
	v1_read_usage(tree, path, ret);
	v1_read_cpu(tree, path, ret);
	v1_read_memory(tree, path, ret);
	const struct cgroup_hierarchy *pids = cgroup_find(tree, "pids");
	ret->pids = cgroup_read_uint(pids, path, "pids.current", 0);
	ret->pids_limit = cgroup_read_uint(pids, path, "pids.max", UINT64_MAX);
}

static int v1_kill(struct cgroup_tree *tree, const char *path)
{
	return -EOPNOTSUPP;
}

const struct cgroup_ops cgroup_v1_ops = {
	.prepare = v1_prepare,
	.apply = v1_apply,
	.read_usage = v1_read_usage,
	.read_stats = v1_read_stats,
	.kill = v1_kill,
};
