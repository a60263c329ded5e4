/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control groups, version 1 (a folder for each controller) and 2 (one tree), behind one set of calls. Paths are those
 * of the cgroup file system, from its root: "/kubepods/burstable/pod<uid>". Thread safe; calls write small files.
 */
#ifndef CORACLE_KUBELET_CGROUP_H
#define CORACLE_KUBELET_CGROUP_H

#include "common/base/clock.h"
#include "common/base/error.h"

#include <sys/types.h>

struct cgroup_tree;

struct cgroup_options {
	const char *mount; /* NULL: /sys/fs/cgroup */
	const char *root;  /* --cgroup-root; NULL or "/": the top, or our own cgroup where the top is not ours to write */
};
int cgroup_open(const struct cgroup_options *options, struct cgroup_tree **ret, struct error *err);
/* Takes NULL. Returns NULL. */
struct cgroup_tree *cgroup_close(struct cgroup_tree *tree);
int cgroup_version(const struct cgroup_tree *tree); /* 1 or 2 */
/* True where "cpu", "memory", "pids", "cpuset", "hugetlb", ... is there to use. */
bool cgroup_has_controller(const struct cgroup_tree *tree, const char *controller);
/* Version 2 with accounting of swap, so that a group can be kept from it. */
bool cgroup_limits_swap(const struct cgroup_tree *tree);

enum cgroup_qos { CGROUP_GUARANTEED, CGROUP_BURSTABLE, CGROUP_BESTEFFORT };
/* "<root>/kubepods", "<root>/kubepods/burstable", ...; guaranteed is kubepods itself. The caller frees. */
char *cgroup_qos_path(const struct cgroup_tree *tree, enum cgroup_qos qos);
/* "<root>/coracle-monitors": what watches over containers, and counts for none of them. The caller frees. */
char *cgroup_monitors_path(const struct cgroup_tree *tree);
/* "<qos path>/pod<uid>"; the caller frees. */
char *cgroup_pod_path(const struct cgroup_tree *tree, enum cgroup_qos qos, const char *uid);

struct cgroup_hugepage_limit {
	uint64_t page_size; /* bytes: 2 << 20 */
	int64_t limit;      /* bytes */
};
#define CGROUP_MAX_HUGEPAGE_SIZES 8

/* What to set; a field left 0 (or NULL) is not touched. */
struct cgroup_resources {
	int64_t cpu_shares;    /* v1 units, 2..262144; cpu.weight on v2 by Kubernetes' formula */
	int64_t cpu_quota_us;  /* -1: no limit */
	int64_t cpu_period_us; /* 0 with a quota: 100000 */
	int64_t memory_limit;  /* bytes; -1: no limit */
	int64_t memory_min;    /* v2 only */
	int64_t memory_high;   /* v2 only */
	int64_t swap_limit;    /* bytes of swap beyond memory; -1: no limit. 0 leaves it */
	bool no_swap;          /* swap limit zero */
	bool oom_group;        /* v2 only: one killed for want of memory, all are; of a container at its start */
	int64_t pids_limit;    /* -1: no limit */
	const char *cpuset_cpus;
	const char *cpuset_mems;
	struct cgroup_hugepage_limit hugepages[CGROUP_MAX_HUGEPAGE_SIZES];
	size_t hugepage_count;
};
/* Kubernetes' conversions. */
int64_t cgroup_milli_cpu_to_shares(int64_t milli_cpu);
int64_t cgroup_milli_cpu_to_quota_us(int64_t milli_cpu, int64_t period_us);
int64_t cgroup_shares_to_weight(int64_t shares);

/* Makes it and its parents (and enables controllers for it), then sets `resources` (may be NULL). Exists already is success. */
int cgroup_create(struct cgroup_tree *tree, const char *path, const struct cgroup_resources *resources, struct error *err);
int cgroup_update(struct cgroup_tree *tree, const char *path, const struct cgroup_resources *resources, struct error *err);
bool cgroup_exists(struct cgroup_tree *tree, const char *path);
/* Names of its children in any hierarchy, sorted; NULL terminated; free each and the list. Absent: an empty list. */
int cgroup_children(struct cgroup_tree *tree, const char *path, char ***ret, struct error *err);
/* A number that is another after children came or went, but for as many of both; it costs far less than their names. */
uint64_t cgroup_child_count(struct cgroup_tree *tree, const char *path);
/* Moves a process in. */
int cgroup_attach(struct cgroup_tree *tree, const char *path, pid_t pid, struct error *err);
/* All processes in it and below. The caller frees *ret_pids. */
int cgroup_pids(struct cgroup_tree *tree, const char *path, pid_t **ret_pids, size_t *ret_count, struct error *err);
/* Kills all in it and below. Does not wait. Absent is success. */
int cgroup_kill(struct cgroup_tree *tree, const char *path, struct error *err);
/* Kills what is left, waits at most two seconds for the end, removes it and all below. Absent is success. */
int cgroup_remove(struct cgroup_tree *tree, const char *path, struct error *err);

/*
 * The end of the tree: removes the groups of pods and of monitors, and the root itself where it was given a name and nothing else stands in it.
 * Kills nothing; waits at most two seconds for the end of what is on its way out.
 */
int cgroup_leave(struct cgroup_tree *tree, struct error *err);

struct cgroup_stats {
	struct wall_time time;
	uint64_t cpu_usage_ns;       /* since it was made */
	uint64_t cpu_user_ns;
	uint64_t cpu_system_ns;
	uint64_t cpu_periods;
	uint64_t cpu_throttled_periods;
	uint64_t cpu_throttled_ns;
	uint64_t memory_usage;       /* bytes */
	uint64_t memory_working_set; /* usage less inactive file pages */
	uint64_t memory_rss;
	uint64_t memory_cache;
	uint64_t memory_limit;       /* UINT64_MAX: none */
	uint64_t memory_swap;
	uint64_t memory_peak;        /* 0 where unknown */
	uint64_t memory_failures;    /* times the limit was hit */
	uint64_t page_faults;
	uint64_t major_page_faults;
	uint64_t oom_kills;          /* processes killed for memory, in it and below */
	uint64_t pids;
	uint64_t pids_limit;         /* UINT64_MAX: none */
};
/* -ENOENT where it is gone. What a kernel does not tell stays 0. "/" gives the whole machine where the controllers count there, else what /proc says. */
int cgroup_stats_read(struct cgroup_tree *tree, const char *path, struct cgroup_stats *ret, struct error *err);
/* What is asked for often and of all groups, from a third of the files: cpu_usage_ns, and of memory the usage, the working set, rss, cache, swap and page faults. */
int cgroup_usage_read(struct cgroup_tree *tree, const char *path, struct cgroup_stats *ret, struct error *err);

enum cgroup_pressure_kind { CGROUP_PRESSURE_CPU, CGROUP_PRESSURE_MEMORY, CGROUP_PRESSURE_IO, CGROUP_PRESSURES };
struct cgroup_pressure_line {
	double avg10, avg60, avg300; /* per cent of the last so many seconds */
	uint64_t total_us;
};
struct cgroup_pressure {
	struct cgroup_pressure_line some, full; /* when some task waited; when all did */
};
/* False where the kernel does not count it: of a group, always so in version 1. "/": the whole machine. */
bool cgroup_pressure_read(struct cgroup_tree *tree, const char *path, enum cgroup_pressure_kind kind, struct cgroup_pressure *ret);

/* Hugepage sizes of this machine in bytes, ascending; returns how many (at most max). */
size_t cgroup_hugepage_sizes(uint64_t *out, size_t max);

#endif
