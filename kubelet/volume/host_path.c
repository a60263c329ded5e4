/* SPDX-License-Identifier: Apache-2.0 */
/* hostPath: a path of the node, checked or made by its type. */
#include "common/base/file.h"
#include "kubelet/volume/plugins.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static bool handles(const struct core_v1_volume *volume) {
	return volume->host_path;
}

static int make_file(const char *path, struct error *err) {
	autoclose int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	return fd < 0 ? error_set_errno(err, errno, "create %s", path) : 0;
}

static const struct {
	const char *type;
	mode_t format;
	const char *complaint;
	bool create;
} types[] = {
	{CORE_V1_HOST_PATH_TYPE_DIRECTORY_OR_CREATE, S_IFDIR, "a directory", true},
	{CORE_V1_HOST_PATH_TYPE_DIRECTORY, S_IFDIR, "a directory", false},
	{CORE_V1_HOST_PATH_TYPE_FILE_OR_CREATE, S_IFREG, "a file", true},
	{CORE_V1_HOST_PATH_TYPE_FILE, S_IFREG, "a file", false},
	{CORE_V1_HOST_PATH_TYPE_SOCKET, S_IFSOCK, "a socket file", false},
	{CORE_V1_HOST_PATH_TYPE_CHAR_DEVICE, S_IFCHR, "a character device", false},
	{CORE_V1_HOST_PATH_TYPE_BLOCK_DEVICE, S_IFBLK, "a block device", false},
};

static int check(const struct core_v1_host_path_volume_source *source, struct error *err) {
	struct stat st;
	bool there = stat(source->path, &st) == 0;
	/* No type: no check; a folder is made where nothing is, as runtimes always have. */
	if (str_empty(source->type))
		return there ? 0 : file_mkdir_all(source->path, 0755, err);
	for (size_t i = 0; i < array_len(types); i++) {
		if (!str_equal(source->type, types[i].type))
			continue;
		if (!there && types[i].create)
			return types[i].format == S_IFDIR ? file_mkdir_all(source->path, 0755, err) : make_file(source->path, err);
		if (!there || (st.st_mode & S_IFMT) != types[i].format)
			return error_set(err, EINVAL, "hostPath type check failed: %s is not %s", source->path, types[i].complaint);
		return 0;
	}
	return error_set(err, EINVAL, "hostPath type check failed: %s is an invalid volume type", source->type);
}

static int setup(struct volume_pod *pod, const struct core_v1_volume *volume, const char *dir, char **ret_path, struct error *err) {
	int r = check(volume->host_path, err);
	if (r < 0)
		return r;
	*ret_path = xstrdup(volume->host_path->path);
	return 0;
}

const struct volume_plugin volume_host_path = {.name = "kubernetes.io/host-path", .handles = handles, .setup = setup, .without_dir = true};
