/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/volume/subpath.h"

#include "common/base/file.h"
#include "kubelet/volume/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int open_beneath(int root, const char *path, uint64_t flags) {
	struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
	/* EAGAIN: something was renamed while the kernel walked. */
	for (int tries = 0; tries < 32; tries++) {
		int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
		if (fd >= 0 || errno != EAGAIN)
			return fd < 0 ? -errno : fd;
	}
	return -EAGAIN;
}

static bool subpath_ok(const char *path) {
	if (*path == '/')
		return false;
	for (const char *p = path; p;) {
		size_t len = strcspn(p, "/");
		if (len == 2 && memcmp(p, "..", 2) == 0)
			return false;
		p = p[len] ? p + len + 1 : NULL;
	}
	return true;
}

/* Makes what is missing, one element at a time, each through a handle of its parent. */
static int make_beneath(int root, const char *path, mode_t mode, struct error *err) {
	autofree char *copy = xstrdup(path);
	for (char *slash = copy; slash;) {
		slash = strchr(slash, '/');
		if (slash)
			*slash = '\0';
		char *last = strrchr(copy, '/');
		const char *name = last ? last + 1 : copy;
		if (*name && !str_equal(name, ".")) {
			autofree char *parent = last ? xstrndup(copy, (size_t)(last - copy)) : xstrdup(".");
			autoclose int fd = open_beneath(root, parent, O_PATH | O_DIRECTORY);
			if (fd < 0)
				return error_set_errno(err, fd, "open parent of subPath %s", path);
			/* The second call undoes our umask. */
			if (mkdirat(fd, name, mode) == 0 ? fchmodat(fd, name, mode, 0) < 0 : errno != EEXIST)
				return error_set_errno(err, errno, "mkdir subPath %s", path);
		}
		if (slash)
			*slash++ = '/';
	}
	return 0;
}

static int make_target(const char *target, bool folder, struct error *err) {
	autofree char *copy = xstrdup(target);
	*strrchr(copy, '/') = '\0';
	int r = file_mkdir_all(copy, 0750, err);
	if (r < 0)
		return r;
	if (folder)
		return file_mkdir_all(target, 0750, err);
	autoclose int fd = open(target, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
	return fd < 0 ? error_set_errno(err, errno, "create %s", target) : 0;
}

int subpath_bind(const char *volume, const char *subpath, const char *target, struct error *err) {
	if (!subpath_ok(subpath))
		return error_set(err, EINVAL, "subPath \"%s\" must be a relative path and must not contain '..'", subpath);
	if (mount_is_point(target))
		return 0;
	autoclose int root = open(volume, O_PATH | O_CLOEXEC);
	struct stat st;
	if (root < 0 || fstat(root, &st) < 0)
		return error_set_errno(err, errno, "open volume %s", volume);
	autoclose int fd = open_beneath(root, subpath, O_PATH);
	if (fd == -ENOENT) {
		int r = make_beneath(root, subpath, st.st_mode & 07777, err);
		if (r < 0)
			return r;
		fd = open_beneath(root, subpath, O_PATH);
	}
	if (fd < 0)
		return error_set_errno(err, fd, "subPath \"%s\" of volume", subpath);
	if (fstat(fd, &st) < 0)
		return error_set_errno(err, errno, "stat subPath %s", subpath);
	int r = make_target(target, S_ISDIR(st.st_mode), err);
	if (r < 0)
		return r;
	char source[64];
	snprintf(source, sizeof(source), "/proc/self/fd/%d", fd);
	if (mount(source, target, NULL, MS_BIND | MS_REC, NULL) < 0)
		return error_set_errno(err, errno, "bind mount subPath %s", subpath);
	return 0;
}

int subpath_clean(const char *dir, struct error *err) {
	int r = mount_unmount_below(dir, err);
	return r < 0 ? r : file_remove_all(dir, err);
}
