/* SPDX-License-Identifier: Apache-2.0 */
/* How long tasks waited for what was short (PSI): of the machine by /proc/pressure, of a group where version 2 counts it. */
#include "kubelet/cgroup/internal.h"

#include "common/base/file.h"

#include <fcntl.h>
#include <stdio.h>

static const char *const names[CGROUP_PRESSURES] = {
	[CGROUP_PRESSURE_CPU] = "cpu",
	[CGROUP_PRESSURE_MEMORY] = "memory",
	[CGROUP_PRESSURE_IO] = "io",
};

static bool read_line(const char *text, const char *start, struct cgroup_pressure_line *ret)
{
	unsigned long long total;
	const char *at = strstr(text, start);
	if (!at || sscanf(at + strlen(start), " avg10=%lf avg60=%lf avg300=%lf total=%llu", &ret->avg10, &ret->avg60, &ret->avg300, &total) != 4)
		return false;
	ret->total_us = total;
	return true;
}

bool cgroup_pressure_read(struct cgroup_tree *tree, const char *path, enum cgroup_pressure_kind kind, struct cgroup_pressure *ret)
{
	autofree char *text = NULL;
	size_t len;
	char file[32];
	snprintf(file, sizeof(file), strcmp(path, "/") == 0 ? "/proc/pressure/%s" : "%s.pressure", names[kind]);
	*ret = (struct cgroup_pressure){0};
	if (*file == '/')
		file_read(AT_FDCWD, file, 4096, &text, &len, NULL);
	else if (tree->version == 2)
		text = cgroup_read(&tree->hierarchies[0], path, file);
	/* Older kernels do not say when all wait for a processor. */
	if (!text || !read_line(text, "some", &ret->some))
		return false;
	read_line(text, "full", &ret->full);
	return true;
}
