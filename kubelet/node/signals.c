/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/node/signals.h"

#include "common/base/clock.h"
#include "common/base/file.h"
#include "kubelet/node/node.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>

#define DEFAULT_PID_MAX 32768

const struct signal_row signal_rows[SIGNAL_KINDS] = {
	[SIGNAL_MEMORY] = {"memory.available", "memory", PRESSURE_MEMORY},
	[SIGNAL_ALLOCATABLE_MEMORY] = {NULL, "memory", PRESSURE_MEMORY},
	[SIGNAL_NODEFS] = {"nodefs.available", "ephemeral-storage", PRESSURE_DISK},
	[SIGNAL_NODEFS_INODES] = {"nodefs.inodesFree", "inodes", PRESSURE_DISK},
	[SIGNAL_IMAGEFS] = {"imagefs.available", "ephemeral-storage", PRESSURE_DISK},
	[SIGNAL_IMAGEFS_INODES] = {"imagefs.inodesFree", "inodes", PRESSURE_DISK},
	[SIGNAL_PIDS] = {"pid.available", "pids", PRESSURE_PIDS},
};

/* ---- observing ---- */

static void observe_memory(struct kubelet *kubelet, struct observation *node, struct observation *pods) {
	struct cgroup_stats stats;
	if (cgroup_usage_read(kubelet->cgroups, "/", &stats, NULL) == 0 && kubelet->memory_capacity)
		*node = (struct observation){true, max_of(kubelet->memory_capacity - (int64_t)stats.memory_working_set, (int64_t)0), kubelet->memory_capacity};
	autofree char *path = cgroup_qos_path(kubelet->cgroups, CGROUP_GUARANTEED);
	/* Pods press on each other, too, where they share less than the machine has. */
	if (cgroup_stats_read(kubelet->cgroups, path, &stats, NULL) == 0 && stats.memory_limit < (uint64_t)kubelet->memory_capacity)
		*pods = (struct observation){true, max_of((int64_t)stats.memory_limit - (int64_t)stats.memory_working_set, (int64_t)0), (int64_t)stats.memory_limit};
}

static void observe_disk(const char *path, struct observation *bytes, struct observation *inodes) {
	struct statvfs fs;
	if (statvfs(path, &fs) < 0 || !fs.f_blocks)
		return;
	*bytes = (struct observation){true, (int64_t)(fs.f_bavail * fs.f_frsize), (int64_t)(fs.f_blocks * fs.f_frsize)};
	if (fs.f_files)
		*inodes = (struct observation){true, (int64_t)fs.f_favail, (int64_t)fs.f_files};
}

int64_t node_info_max_pids(void) {
	autofree char *text = NULL;
	size_t len;
	return file_read(AT_FDCWD, "/proc/sys/kernel/pid_max", 64, &text, &len, NULL) == 0 ? atoll(text) : DEFAULT_PID_MAX;
}

static void observe_pids(struct observation *pids) {
	struct sysinfo info;
	int64_t max = node_info_max_pids();
	if (sysinfo(&info) == 0)
		*pids = (struct observation){true, max_of(max - (int64_t)info.procs, (int64_t)0), max};
}

void signals_observe(struct kubelet *kubelet, struct observation ret[SIGNAL_KINDS]) {
	for (int i = 0; i < SIGNAL_KINDS; i++)
		ret[i] = (struct observation){0};
	observe_memory(kubelet, &ret[SIGNAL_MEMORY], &ret[SIGNAL_ALLOCATABLE_MEMORY]);
	observe_disk(kubelet->options.root_dir, &ret[SIGNAL_NODEFS], &ret[SIGNAL_NODEFS_INODES]);
	observe_disk(kubelet->options.image_root, &ret[SIGNAL_IMAGEFS], &ret[SIGNAL_IMAGEFS_INODES]);
	observe_pids(&ret[SIGNAL_PIDS]);
}

/* ---- thresholds ---- */

bool node_threshold_parse(const char *text, int64_t whole, int64_t *ret) {
	size_t len = strlen(text);
	struct quantity q;
	double percent;
	char sign;
	if (len && text[len - 1] == '%' && sscanf(text, "%lf%c", &percent, &sign) == 2 && percent >= 0 && percent <= 100) {
		*ret = (int64_t)((double)whole * percent / 100);
		return true;
	}
	if (quantity_parse(text, len, &q) < 0 || q.nano < 0)
		return false;
	*ret = quantity_value(&q);
	return true;
}

int64_t threshold_quantity(const struct threshold *threshold, const struct observation *seen, bool with_reclaim) {
	int64_t quantity = 0, more = 0;
	node_threshold_parse(threshold->text, seen->capacity, &quantity);
	if (with_reclaim && threshold->min_reclaim)
		node_threshold_parse(threshold->min_reclaim, seen->capacity, &more);
	return quantity + more;
}

/* The value of `name` in a list of name=value; NULL where it is not there. */
static const char *value_of(const struct flag_list *list, const char *name) {
	size_t len = strlen(name);
	for (size_t i = 0; i < list->len; i++)
		if (strncmp(list->items[i], name, len) == 0 && list->items[i][len] == '=')
			return list->items[i] + len + 1;
	return NULL;
}

static int kind_of(const char *rule, size_t len) {
	for (int i = 0; i < SIGNAL_KINDS; i++)
		if (signal_rows[i].name && strlen(signal_rows[i].name) == len && strncmp(rule, signal_rows[i].name, len) == 0)
			return i;
	return -1;
}

static int add(struct threshold *ret, int *count, const struct threshold *threshold, struct error *err) {
	if (*count == MAX_THRESHOLDS)
		return error_set(err, E2BIG, "more than %d eviction thresholds", MAX_THRESHOLDS);
	ret[*count] = *threshold;
	ret[*count].text = xstrdup(threshold->text);
	ret[*count].min_reclaim = threshold->min_reclaim ? xstrdup(threshold->min_reclaim) : NULL;
	(*count)++;
	return 0;
}

static int parse_rule(const struct kubelet_options *o, const char *rule, bool hard, struct threshold *ret, int *count, struct error *err) {
	const char *below = strchr(rule, '<'), *grace;
	int kind = below ? kind_of(rule, (size_t)(below - rule)) : -1;
	int64_t number;
	if (!below || !below[1])
		return error_set(err, EINVAL, "eviction threshold \"%s\": want signal<quantity", rule);
	if (kind < 0)
		return error_set(err, EINVAL, "eviction threshold \"%s\": unknown signal", rule);
	if (!node_threshold_parse(below + 1, 100, &number))
		return error_set(err, EINVAL, "eviction threshold \"%s\": \"%s\" is neither a quantity nor a percentage", rule, below + 1);
	if (str_equal(below + 1, "0%") || str_equal(below + 1, "100%"))
		return 0; /* off, as Kubernetes has it */
	struct threshold threshold = {.signal = (enum signal_kind)kind, .hard = hard, .text = (char *)below + 1, .min_reclaim = (char *)value_of(&o->eviction_minimum_reclaim, signal_rows[kind].name)};
	if (threshold.min_reclaim && !node_threshold_parse(threshold.min_reclaim, 100, &number))
		return error_set(err, EINVAL, "eviction-minimum-reclaim of %s: \"%s\" is neither a quantity nor a percentage", signal_rows[kind].name, threshold.min_reclaim);
	if (!hard) {
		grace = value_of(&o->eviction_soft_grace_period, signal_rows[kind].name);
		if (!grace)
			return error_set(err, EINVAL, "grace period must be specified for the soft eviction threshold %s", signal_rows[kind].name);
		if (duration_parse(grace, strlen(grace), &threshold.grace_ns) < 0 || threshold.grace_ns < 0)
			return error_set(err, EINVAL, "eviction-soft-grace-period of %s: \"%s\" is no duration", signal_rows[kind].name, grace);
	}
	int r = add(ret, count, &threshold, err);
	if (r == 0 && kind == SIGNAL_MEMORY && hard) {
		threshold.signal = SIGNAL_ALLOCATABLE_MEMORY;
		r = add(ret, count, &threshold, err);
	}
	return r;
}

int thresholds_parse(const struct kubelet_options *options, struct threshold ret[MAX_THRESHOLDS], struct error *err) {
	const struct {
		const struct flag_list *list;
		bool hard;
	} lists[] = {{&options->eviction_hard, true}, {&options->eviction_soft, false}};
	int count = 0, r = 0;
	for (size_t l = 0; l < array_len(lists); l++)
		for (size_t i = 0; r == 0 && i < lists[l].list->len; i++)
			r = parse_rule(options, lists[l].list->items[i], lists[l].hard, ret, &count, err);
	if (r == 0)
		return count;
	thresholds_done(ret, count);
	return r;
}

void thresholds_done(struct threshold *thresholds, int count) {
	for (int i = 0; i < count; i++) {
		free(thresholds[i].text);
		free(thresholds[i].min_reclaim);
	}
}
