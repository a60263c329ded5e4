/* SPDX-License-Identifier: Apache-2.0 */
/* What a container uses: its cgroup, its writable folder, its logs. */
#include "kubelet/runtime/internal.h"

#include "common/base/walk.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define SIZE_MAX_AGE_NS (10 * NSEC_PER_SEC)

struct measured {
	uint64_t bytes, inodes;
};

static int measure(int fd, const struct stat *st, void *arg, struct error *err)
{
	struct measured *m = arg;
	m->bytes += (uint64_t)st->st_blocks * 512;
	m->inodes++;
	return 0;
}

static void measure_rootfs(struct runtime *runtime, struct container *container)
{
	int64_t now = clock_monotonic_ns();
	if (container->size_measured_ns && now - container->size_measured_ns < SIZE_MAX_AGE_NS)
		return;
	autofree char *upper = container_root(runtime, container->id, "upper");
	struct measured m = {0};
	walk_tree(upper, false, measure, &m, NULL);
	container->rootfs_bytes = m.bytes;
	container->rootfs_inodes = m.inodes;
	container->size_measured_ns = now;
}

/* The log and its rotated predecessors. */
static void measure_logs(const char *log, uint64_t *ret_bytes, uint64_t *ret_inodes)
{
	autofree char *folder = xstrdup(log);
	char *slash = strrchr(folder, '/');
	*slash = 0;
	uint64_t bytes = 0, inodes = 0;
	DIR *dir = opendir(*folder ? folder : "/");
	for (struct dirent *e; dir && (e = readdir(dir));) {
		struct stat st;
		if (!str_starts_with(e->d_name, slash + 1) || fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		bytes += (uint64_t)st.st_blocks * 512;
		inodes++;
	}
	if (dir)
		closedir(dir);
	*ret_bytes = bytes;
	*ret_inodes = inodes;
}

int runtime_container_usage(struct runtime *runtime, const char *id, unsigned parts, struct container_usage *ret, struct error *err)
{
	struct container *container = container_find(runtime, id);
	if (!container)
		return container_missing(id, err);
	struct container_usage usage = {.cgroup = {.time = clock_wall(), .memory_limit = UINT64_MAX, .pids_limit = UINT64_MAX}};
	if (parts & CONTAINER_USAGE_CGROUP)
		cgroup_stats_read(runtime->cgroups, container->cgroup_path, &usage.cgroup, NULL); /* gone once it ended: zeros */
	if (parts & CONTAINER_USAGE_DISK) {
		pthread_mutex_lock(&container->size_lock);
		measure_rootfs(runtime, container);
		usage.rootfs_bytes = container->rootfs_bytes;
		usage.rootfs_inodes = container->rootfs_inodes;
		pthread_mutex_unlock(&container->size_lock);
		measure_logs(container->log_path, &usage.log_bytes, &usage.log_inodes);
	}
	container_put(runtime, container);
	*ret = usage;
	return 0;
}

void runtime_each_load(struct runtime *runtime, void (*fn)(const struct container_load *load, void *arg), void *arg)
{
	size_t count;
	struct container **list = running_containers(runtime, NULL, NULL, &count);
	for (size_t i = 0; i < count; i++) {
		struct container *container = list[i];
		struct cgroup_stats stats;
		if (cgroup_usage_read(runtime->cgroups, container->cgroup_path, &stats, NULL) == 0)
			fn(&(struct container_load){container->pod_uid, container->name, wall_from_ns(container->started_ns), &stats}, arg);
		container_put(runtime, container);
	}
	free(list);
}
