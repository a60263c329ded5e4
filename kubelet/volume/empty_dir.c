/* SPDX-License-Identifier: Apache-2.0 */
/* emptyDir: a folder, or memory by tmpfs, or huge pages. */
#include "common/base/file.h"
#include "kubelet/volume/mount.h"
#include "kubelet/volume/plugins.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define HUGEPAGES "HugePages"

static bool handles(const struct core_v1_volume *volume) {
	return volume->empty_dir;
}

static int mount_memory(const struct volume_pod *pod, const struct core_v1_empty_dir_volume_source *source, const char *dir, struct error *err) {
	int64_t size = pod->memory_limit, limit = source->size_limit.set ? quantity_value(&source->size_limit) : 0;
	if (limit > 0 && (size == 0 || limit < size))
		size = limit;
	char options[64] = "";
	if (size > 0)
		snprintf(options, sizeof(options), "size=%lld", (long long)size);
	return mount("tmpfs", dir, "tmpfs", 0, options) < 0 ? error_set_errno(err, errno, "mount tmpfs") : 0;
}

/* The page size stands in the medium ("HugePages-2Mi"); plain "HugePages" takes the machine's own. */
static int mount_hugepages(const struct core_v1_empty_dir_volume_source *source, const char *dir, struct error *err) {
	char options[64] = "";
	if (source->medium[strlen(HUGEPAGES)] == '-') {
		struct quantity size;
		const char *text = source->medium + strlen(HUGEPAGES) + 1;
		if (quantity_parse(text, strlen(text), &size) < 0)
			return error_set(err, EINVAL, "unknown storage medium \"%s\"", source->medium);
		snprintf(options, sizeof(options), "pagesize=%lld", (long long)quantity_value(&size));
	}
	return mount("nodev", dir, "hugetlbfs", 0, options) < 0 ? error_set_errno(err, errno, "mount hugetlbfs") : 0;
}

static int setup(struct volume_pod *pod, const struct core_v1_volume *volume, const char *dir, char **ret_path, struct error *err) {
	const char *medium = volume->empty_dir->medium;
	int r = 0;
	if (!str_empty(medium) && !mount_is_point(dir)) {
		if (str_equal(medium, CORE_V1_STORAGE_MEDIUM_MEMORY))
			r = mount_memory(pod, volume->empty_dir, dir, err);
		else if (str_starts_with(medium, HUGEPAGES))
			r = mount_hugepages(volume->empty_dir, dir, err);
		else
			r = error_set(err, EINVAL, "unknown storage medium \"%s\"", medium);
	}
	if (r < 0)
		return r;
	struct stat st;
	/* All may write; the sticky bit of a fresh tmpfs stays, as does the set-group-id of fsGroup. */
	if (stat(dir, &st) < 0 || ((st.st_mode & 0777) != 0777 && chmod(dir, (st.st_mode & (S_ISGID | S_ISVTX)) | 0777) < 0))
		return error_set_errno(err, errno, "chmod %s", dir);
	r = volume_set_ownership(pod->pod, dir, err);
	if (r < 0)
		return r;
	*ret_path = xstrdup(dir);
	return 0;
}

const struct volume_plugin volume_empty_dir = {.name = "kubernetes.io/empty-dir", .handles = handles, .setup = setup, .relabel = true};
