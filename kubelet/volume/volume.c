/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/volume/volume.h"

#include "common/base/file.h"
#include "common/base/walk.h"
#include "kubelet/volume/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

void volume_refresh_after(struct volume_pod *pod, int64_t ns) {
	if (!pod->refresh_after_ns || ns < pod->refresh_after_ns)
		pod->refresh_after_ns = ns;
}

const struct volume_plugin *volume_plugin_find(const struct core_v1_volume *volume) {
	for (size_t i = 0; i < volume_plugin_count; i++)
		if (volume_plugins[i]->handles(volume))
			return volume_plugins[i];
	return NULL;
}

static char *volume_dir(const char *pod_dir, const struct volume_plugin *plugin, const char *name) {
	autofree char *folder = xstrdup(plugin->name);
	char *slash = strchr(folder, '/');
	*slash = '~';
	return path_join(pod_dir, "volumes", folder, name, NULL);
}

static int setup_one(struct volume_pod *pod, const struct core_v1_volume *volume, struct map *paths, struct error *err) {
	const struct volume_plugin *plugin = volume_plugin_find(volume);
	if (!plugin)
		return error_set(err, ENOTSUP, "no volume plugin matched name: %s", volume->name);
	if (map_has(paths, volume->name) && !plugin->live)
		return 0;
	autofree char *dir = volume_dir(pod->pod_dir, plugin, volume->name), *path = NULL;
	int r = 0;
	if (!plugin->without_dir)
		r = file_mkdir_all(dir, 0750, err);
	if (r == 0)
		r = plugin->setup(pod, volume, dir, &path, err);
	if (r < 0)
		return r;
	map_set(paths, volume->name, path ? take_ptr(path) : xstrdup(""));
	return 0;
}

int volumes_setup(struct volume_pod *pod, struct map *paths, struct error *err) {
	int first = 0;
	for api_list_each (volume, &pod->pod->spec.volumes) {
		autoerror struct error one = {0};
		int r = setup_one(pod, volume, paths, &one);
		if (r == 0)
			continue;
		error_context(&one, "MountVolume.SetUp failed for volume \"%s\" ", volume->name);
		if (pod->failed)
			pod->failed(volume, &one, pod->failed_arg);
		if (first == 0 && !map_has(paths, volume->name))
			first = error_set(err, r, "%s", error_message(&one));
	}
	return first;
}

int volumes_teardown(const char *pod_dir, struct error *err) {
	autofree char *subpaths = path_join(pod_dir, "volume-subpaths", NULL), *volumes = path_join(pod_dir, "volumes", NULL);
	int r = mount_unmount_below(subpaths, err);
	if (r == 0)
		r = file_remove_all(subpaths, err);
	if (r == 0)
		r = mount_unmount_below(volumes, err);
	return r < 0 ? r : file_remove_all(volumes, err);
}

gid_t volume_fs_group(const struct core_v1_pod *pod) {
	const struct core_v1_pod_security_context *security = pod->spec.security_context;
	return security && security->fs_group ? (gid_t)*security->fs_group : (gid_t)-1;
}

/* By the descriptor of what was looked at: a container may put a link to a file of the host in its place. */
static int own_one(int fd, const struct stat *st, void *arg, struct error *err) {
	gid_t gid = *(const gid_t *)arg;
	mode_t mode = (st->st_mode & 07777) | 0660;
	char path[40];
	if (S_ISDIR(st->st_mode))
		mode |= S_ISGID | 0110;
	if (st->st_gid != gid && fchownat(fd, "", (uid_t)-1, gid, AT_EMPTY_PATH) < 0)
		return error_set_errno(err, errno, "chown");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (!S_ISLNK(st->st_mode) && (st->st_mode & 07777) != mode && chmod(path, mode) < 0)
		return error_set_errno(err, errno, "chmod");
	return 0;
}

int volume_set_ownership(const struct core_v1_pod *pod, const char *path, struct error *err) {
	gid_t gid = volume_fs_group(pod);
	struct stat st;
	if (gid == (gid_t)-1)
		return 0;
	if (str_equal(pod->spec.security_context->fs_group_change_policy, CORE_V1_POD_FS_GROUP_CHANGE_POLICY_ON_ROOT_MISMATCH) && stat(path, &st) == 0 && st.st_gid == gid &&
	    (st.st_mode & (S_ISGID | 0770)) == (S_ISGID | 0770))
		return 0;
	/* The folder itself comes last, so that "on root mismatch" sees a walk that did not end. */
	return walk_tree(path, true, own_one, &gid, err);
}
