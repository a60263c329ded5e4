/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/file.h"
#include "kubelet/node/node.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>

#define MAX_MEMINFO (1u << 20)

bool node_threshold_parse(const char *text, int64_t whole, int64_t *ret) {
	size_t len = strlen(text);
	struct quantity q;
	double percent;
	char sign;
	if (len && text[len - 1] == '%' && sscanf(text, "%lf%c", &percent, &sign) == 2 && percent >= 0 && percent <= 100) {
		*ret = (int64_t)((double)whole * percent / 100);
		return true;
	}
	if (quantity_parse(text, len, &q) < 0)
		return false;
	*ret = quantity_value(&q);
	return true;
}

static int64_t memory_available(void) {
	autofree char *text = NULL;
	size_t len;
	long long kib;
	if (file_read(AT_FDCWD, "/proc/meminfo", MAX_MEMINFO, &text, &len, NULL) < 0)
		return INT64_MAX;
	const char *line = strstr(text, "MemAvailable:");
	return line && sscanf(line, "MemAvailable: %lld", &kib) == 1 ? kib * 1024 : INT64_MAX;
}

/* Signal of a threshold: what there is of it and how much the whole is. False for a signal this node does not watch. */
static bool read_signal(struct kubelet *kubelet, const char *signal, size_t len, int64_t *available, int64_t *whole) {
	struct statvfs fs;
	bool image = len > 8 && strncmp(signal, "imagefs.", 8) == 0, node = len > 7 && strncmp(signal, "nodefs.", 7) == 0;
	if (len == 16 && strncmp(signal, "memory.available", len) == 0) {
		*available = memory_available();
		*whole = kubelet->memory_capacity;
		return true;
	}
	if (len == 13 && strncmp(signal, "pid.available", len) == 0) {
		struct sysinfo info;
		long long max = 32768;
		autofree char *text = NULL;
		size_t text_len;
		if (file_read(AT_FDCWD, "/proc/sys/kernel/pid_max", 64, &text, &text_len, NULL) == 0)
			max = atoll(text);
		sysinfo(&info);
		*available = max - info.procs;
		*whole = max;
		return true;
	}
	if ((!image && !node) || statvfs(image ? kubelet->options.image_root : kubelet->options.root_dir, &fs) < 0)
		return false;
	bool inodes = len > 10 && strncmp(signal + len - 10, "inodesFree", 10) == 0;
	if (inodes && !fs.f_files)
		return false;
	*available = inodes ? (int64_t)fs.f_favail : (int64_t)(fs.f_bavail * fs.f_frsize);
	*whole = inodes ? (int64_t)fs.f_files : (int64_t)(fs.f_blocks * fs.f_frsize);
	return true;
}

void node_pressure_look(struct kubelet *kubelet, struct node_pressure *ret) {
	*ret = (struct node_pressure){0};
	for (size_t i = 0; i < kubelet->options.eviction_hard.len; i++) {
		const char *rule = kubelet->options.eviction_hard.items[i], *below = strchr(rule, '<');
		int64_t available, whole, threshold;
		if (!below || !read_signal(kubelet, rule, (size_t)(below - rule), &available, &whole) || !node_threshold_parse(below + 1, whole, &threshold) || available >= threshold)
			continue;
		if (str_starts_with(rule, "memory"))
			ret->memory = true;
		else if (str_starts_with(rule, "pid"))
			ret->pid = true;
		else
			ret->disk = true;
	}
}
