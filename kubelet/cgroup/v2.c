/* SPDX-License-Identifier: Apache-2.0 */
/* Version 2: one tree; a group's controllers are what its parent enabled for its children. */
#include "kubelet/cgroup/internal.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

/* Without the required ones no pod can be held to its limits; the others are used where the kernel lets us. */
static const struct {
	const char *name;
	bool required;
} wanted[] = {{"cpu", true}, {"memory", true}, {"pids", true}, {"cpuset", false}, {"io", false}, {"hugetlb", false}};

/* A group with processes of its own may not enable controllers: they move to a leaf beside its children. */
static int empty_into_leaf(const struct cgroup_hierarchy *h, const char *path, struct error *err)
{
	autofree char *leaf = xprintf("%s/init", path);
	autofree char *dir = xprintf("%s%s", h->dir, leaf);
	if (mkdir(dir, 0755) < 0 && errno != EEXIST)
		return error_set_errno(err, errno, "make cgroup %s", dir);
	autofree char *procs = cgroup_read(h, path, "cgroup.procs");
	char *save = NULL;
	for (char *pid = procs ? strtok_r(procs, "\n", &save) : NULL; pid; pid = strtok_r(NULL, "\n", &save))
		cgroup_write(h, leaf, "cgroup.procs", pid, NULL); /* one that ended meanwhile is no loss */
	return 0;
}

/* "cpu" is not in "cpuset memory". */
static bool has_word(const char *list, const char *word)
{
	size_t len = strlen(word);
	for (const char *pos = list; pos && (pos = strstr(pos, word)); pos += len)
		if ((pos == list || pos[-1] == ' ') && (!pos[len] || pos[len] == ' ' || pos[len] == '\n'))
			return true;
	return false;
}

static int enable_for_children(const struct cgroup_hierarchy *h, const char *parent, struct error *err)
{
	autofree char *available = cgroup_read(h, parent, "cgroup.controllers");
	autofree char *enabled = cgroup_read(h, parent, "cgroup.subtree_control");
	for (size_t i = 0; i < array_len(wanted); i++) {
		if (!has_word(available, wanted[i].name) || has_word(enabled, wanted[i].name))
			continue;
		autofree char *text = xprintf("+%s", wanted[i].name);
		autoerror struct error local = {0};
		int r = cgroup_write(h, parent, "cgroup.subtree_control", text, &local);
		if (r == -EBUSY && empty_into_leaf(h, parent, &local) == 0)
			r = cgroup_write(h, parent, "cgroup.subtree_control", text, &local);
		if (r < 0 && wanted[i].required)
			return error_move(err, &local);
	}
	return 0;
}

static int v2_prepare(struct cgroup_tree *tree, const char *path, struct error *err)
{
	const char *slash = strrchr(path, '/');
	autofree char *parent = xstrndup(path, (size_t)(slash - path));
	return enable_for_children(&tree->hierarchies[0], parent, err);
}

static int write_limit(const struct cgroup_hierarchy *h, const char *path, const char *file, int64_t value, struct error *err)
{
	if (value == 0)
		return 0;
	return value < 0 ? cgroup_write(h, path, file, "max", err) : cgroup_write_int(h, path, file, value, err);
}

static int v2_apply_cpu(const struct cgroup_hierarchy *h, const char *path, const struct cgroup_resources *res, struct error *err)
{
	int r = 0;
	if (res->cpu_shares > 0)
		r = cgroup_write_int(h, path, "cpu.weight", cgroup_shares_to_weight(res->cpu_shares), err);
	if (r == 0 && res->cpu_quota_us) {
		char text[64];
		long long period = res->cpu_period_us > 0 ? res->cpu_period_us : 100000;
		if (res->cpu_quota_us < 0)
			snprintf(text, sizeof(text), "max %lld", period);
		else
			snprintf(text, sizeof(text), "%lld %lld", (long long)res->cpu_quota_us, period);
		r = cgroup_write(h, path, "cpu.max", text, err);
	}
	if (r == 0 && !str_empty(res->cpuset_cpus))
		r = cgroup_write(h, path, "cpuset.cpus", res->cpuset_cpus, err);
	if (r == 0 && !str_empty(res->cpuset_mems))
		r = cgroup_write(h, path, "cpuset.mems", res->cpuset_mems, err);
	return r;
}

static int v2_apply_memory(const struct cgroup_hierarchy *h, const char *path, const struct cgroup_resources *res, struct error *err)
{
	int r = write_limit(h, path, "memory.max", res->memory_limit, err);
	if (r == 0)
		r = write_limit(h, path, "memory.high", res->memory_high, err);
	if (r == 0)
		r = write_limit(h, path, "memory.min", res->memory_min, err);
	if (r == 0 && res->no_swap)
		cgroup_write(h, path, "memory.swap.max", "0", NULL); /* absent where the kernel counts no swap */
	else if (r == 0)
		r = write_limit(h, path, "memory.swap.max", res->swap_limit, err);
	return r;
}

static int v2_apply_hugepages(const struct cgroup_hierarchy *h, const char *path, const struct cgroup_resources *res, struct error *err)
{
	for (size_t i = 0; i < res->hugepage_count; i++) {
		char file[64];
		uint64_t size = res->hugepages[i].page_size;
		snprintf(file, sizeof(file), "hugetlb.%llu%s.max", (unsigned long long)(size >> (size >= 1 << 30 ? 30 : size >= 1 << 20 ? 20 : 10)),
			size >= 1 << 30 ? "GB" : size >= 1 << 20 ? "MB" : "KB");
		int r = cgroup_write_int(h, path, file, res->hugepages[i].limit, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int v2_apply(struct cgroup_tree *tree, const char *path, const struct cgroup_resources *res, struct error *err)
{
	const struct cgroup_hierarchy *h = &tree->hierarchies[0];
	int r = v2_apply_cpu(h, path, res, err);
	if (r == 0)
		r = v2_apply_memory(h, path, res, err);
	if (r == 0)
		r = write_limit(h, path, "pids.max", res->pids_limit, err);
	if (r == 0 && cgroup_find(tree, "hugetlb"))
		r = v2_apply_hugepages(h, path, res, err);
	return r;
}

/* What cpu.stat tells of more than the sum comes with it. */
static bool v2_read_usage(struct cgroup_tree *tree, const char *path, struct cgroup_stats *ret)
{
	const struct cgroup_hierarchy *h = &tree->hierarchies[0];
	autofree char *cpu = cgroup_read(h, path, "cpu.stat");
	ret->cpu_usage_ns = cgroup_stat_field(cpu, "usage_usec") * 1000;
	ret->cpu_user_ns = cgroup_stat_field(cpu, "user_usec") * 1000;
	ret->cpu_system_ns = cgroup_stat_field(cpu, "system_usec") * 1000;
	ret->cpu_periods = cgroup_stat_field(cpu, "nr_periods");
	ret->cpu_throttled_periods = cgroup_stat_field(cpu, "nr_throttled");
	ret->cpu_throttled_ns = cgroup_stat_field(cpu, "throttled_usec") * 1000;
	autofree char *stat = cgroup_read(h, path, "memory.stat");
	ret->memory_rss = cgroup_stat_field(stat, "anon");
	ret->memory_cache = cgroup_stat_field(stat, "file");
	ret->page_faults = cgroup_stat_field(stat, "pgfault");
	ret->major_page_faults = cgroup_stat_field(stat, "pgmajfault");
	/* The root has no memory.current: what its pages are is what it uses. */
	ret->memory_usage = cgroup_read_uint(h, path, "memory.current", ret->memory_rss + ret->memory_cache);
	uint64_t inactive = cgroup_stat_field(stat, "inactive_file");
	ret->memory_working_set = ret->memory_usage > inactive ? ret->memory_usage - inactive : 0;
	ret->memory_swap = cgroup_read_uint(h, path, "memory.swap.current", 0);
	return stat;
}

static void v2_read_stats(struct cgroup_tree *tree, const char *path, struct cgroup_stats *ret)
{
	const struct cgroup_hierarchy *h = &tree->hierarchies[0];
	v2_read_usage(tree, path, ret);
	ret->memory_limit = cgroup_read_uint(h, path, "memory.max", UINT64_MAX);
	ret->memory_peak = cgroup_read_uint(h, path, "memory.peak", 0);
	autofree char *events = cgroup_read(h, path, "memory.events");
	ret->memory_failures = cgroup_stat_field(events, "max");
	ret->oom_kills = cgroup_stat_field(events, "oom_kill");
	ret->pids = cgroup_read_uint(h, path, "pids.current", 0);
	ret->pids_limit = cgroup_read_uint(h, path, "pids.max", UINT64_MAX);
}

static int v2_kill(struct cgroup_tree *tree, const char *path)
{
	return cgroup_write(&tree->hierarchies[0], path, "cgroup.kill", "1", NULL) < 0 ? -EOPNOTSUPP : 0;
}

const struct cgroup_ops cgroup_v2_ops = {
	.prepare = v2_prepare,
	.apply = v2_apply,
	.read_usage = v2_read_usage,
	.read_stats = v2_read_stats,
	.kill = v2_kill,
};
