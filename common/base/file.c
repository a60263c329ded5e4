/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/file.h"

#include "common/base/random.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_DEPTH 256 /* of a tree whose files are emptied: each level holds two descriptors */
#define REMOVE_DEPTH 64 /* what lies deeper is brought up before it is removed */
#define READ_STEP ((size_t)16 * 1024)

int file_read(int dirfd, const char *path, size_t max, char **ret_data, size_t *ret_len, struct error *err)
{
	autoclose int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_set_errno(err, errno, "open %s", path);
	autobuf struct buf data = BUF_INIT(max < SIZE_MAX - 1 ? max + 1 : max);
	/* The size that stat gives is a hint only: files of /proc say 0. */
	struct stat st;
	size_t step = fstat(fd, &st) == 0 && st.st_size > 0 ? (size_t)st.st_size + 1 : READ_STEP;
	for (;;) {
		size_t room = min_of(step, data.max - data.len);
		if (!room || !buf_reserve(&data, room))
			return error_set_errno(err, EFBIG, "read %s", path);
		ssize_t n = read(fd, data.data + data.len, room);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set_errno(err, errno, "read %s", path);
		data.len += (size_t)n;
		data.data[data.len] = '\0';
		if (!n)
			break;
		step = READ_STEP;
	}
	if (data.len > max)
		return error_set_errno(err, EFBIG, "read %s", path);
	if (ret_len)
		*ret_len = data.len;
	*ret_data = buf_take(&data);
	return 0;
}

static int write_all(int fd, const void *data, size_t len)
{
	const char *p = data;
	while (len) {
		ssize_t n = write(fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int sync_parent(int dirfd, const char *path)
{
	autofree char *parent = xstrdup(path);
	char *slash = strrchr(parent, '/');
	if (slash)
		slash[slash == parent] = '\0';
	autoclose int fd = openat(dirfd, slash ? parent : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

int file_write_durable(int dirfd, const char *path, const void *data, size_t len, mode_t mode, struct error *err)
{
	char suffix[9];
	random_name_suffix(suffix, sizeof(suffix) - 1);
	autofree char *temp = xprintf("%s.tmp-%s", path, suffix);
	autoclose int fd = openat(dirfd, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_set_errno(err, errno, "create %s", temp);
	int r = write_all(fd, data, len);
	if (!r && (fchmod(fd, mode) < 0 || fsync(fd) < 0 || renameat(dirfd, temp, dirfd, path) < 0))
		r = -errno;
	if (r) {
		unlinkat(dirfd, temp, 0);
		return error_set_errno(err, r, "write %s", path);
	}
	r = sync_parent(dirfd, path);
	return r ? error_set_errno(err, r, "sync the folder of %s", path) : 0;
}

int file_write(int dirfd, const char *path, const void *data, size_t len, mode_t mode, struct error *err)
{
	autoclose int fd = openat(dirfd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	if (fd < 0)
		return error_set_errno(err, errno, "open %s", path);
	int r = write_all(fd, data, len);
	return r ? error_set_errno(err, r, "write %s", path) : 0;
}

int file_mkdir_all(const char *path, mode_t mode, struct error *err)
{
	struct stat st;
	autofree char *part = xstrdup(path);
	for (char *p = part + 1; *part; p++) {
		if (*p && *p != '/')
			continue;
		char kept = *p;
		*p = '\0';
		if (mkdir(part, mode) < 0 && errno != EEXIST && !(errno == EROFS && stat(part, &st) == 0))
			return error_set_errno(err, errno, "mkdir %s", part);
		*p = kept;
		if (!kept)
			break;
	}
	if (stat(path, &st) < 0)
		return error_set_errno(err, errno, "stat %s", path);
	return S_ISDIR(st.st_mode) ? 0 : error_set_errno(err, ENOTDIR, "mkdir %s", path);
}

/* Opens a folder by its name only: no link is followed, and a mount point gives EXDEV. */
static int open_child_dir(int dirfd, const char *name)
{
	struct open_how how = {
		.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
	};
	int fd = (int)syscall(SYS_openat2, dirfd, name, &how, sizeof(how));
	return fd < 0 ? -errno : fd;
}

/* A tree can be as deep as its maker likes, what we hold open cannot: what is too deep moves up to the tree's top, to be removed from there. */
struct removal {
	int top; /* -1: nothing is open yet */
	uint64_t moved;
};

static int remove_entry(struct removal *removal, int dirfd, const char *name, int depth);

static int remove_children(struct removal *removal, int fd, int depth)
{
	int r = 0;
	int again = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	DIR *dir = again < 0 ? NULL : fdopendir(again);
	if (!dir) {
		r = -errno;
		if (again >= 0)
			close(again);
		return r;
	}
	rewinddir(dir); /* its place is shared with who read it before */
	for (struct dirent *entry; (entry = readdir(dir));) {
		if (str_equal(entry->d_name, ".") || str_equal(entry->d_name, ".."))
			continue;
		int one = remove_entry(removal, fd, entry->d_name, depth + 1);
		r = r ? r : one; /* go on: remove what can be removed */
	}
	closedir(dir);
	return r;
}

static int bring_up(struct removal *removal, int dirfd, const char *name)
{
	char up[40];
	do
		snprintf(up, sizeof(up), ".removed-%llu", (unsigned long long)++removal->moved);
	while (syscall(SYS_renameat2, dirfd, name, removal->top, up, RENAME_NOREPLACE) < 0 && errno == EEXIST);
	return faccessat(removal->top, up, F_OK, AT_SYMLINK_NOFOLLOW) < 0 ? -ELOOP : 0;
}

static int remove_entry(struct removal *removal, int dirfd, const char *name, int depth)
{
	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	autoclose int fd = open_child_dir(dirfd, name);
	if (fd < 0) {
		int r = fd == -ENOENT ? 0 : fd == -ENOTDIR ? -EPERM : fd;
		return r;
	}
	if (unlinkat(dirfd, name, AT_REMOVEDIR) == 0)
		return 0;
	if (depth > REMOVE_DEPTH)
		return bring_up(removal, dirfd, name);
	if (depth == 0)
		removal->top = fd;
	int r;
	uint64_t moved;
	do {
		moved = removal->moved;
		r = remove_children(removal, fd, depth);
	} while (depth == 0 && r == 0 && removal->moved != moved);
	if (unlinkat(dirfd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	return r ? r : -errno;
}

int file_remove_all(const char *path, struct error *err)
{
	autofree char *copy = xstrdup(path);
	for (size_t len = strlen(copy); len > 1 && copy[len - 1] == '/';)
		copy[--len] = '\0';
	char *slash = strrchr(copy, '/');
	const char *name = slash ? slash + 1 : copy;
	if (!*name || str_equal(name, ".") || str_equal(name, ".."))
		return error_set(err, EINVAL, "remove %s: not a name", path);
	const char *parent = !slash ? "." : slash == copy ? "/" : copy;
	if (slash)
		*slash = '\0';
	autoclose int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : error_set_errno(err, errno, "open %s", parent);
	struct removal removal = {.top = -1};
	int r = remove_entry(&removal, fd, name, 0);
	return r ? error_set_errno(err, r, "remove %s", path) : 0;
}

static void empty_children(int fd, int depth)
{
	int again = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	DIR *dir = again < 0 ? NULL : fdopendir(again);
	if (!dir) {
		cleanup_close(&again);
		return;
	}
	for (struct dirent *entry; (entry = readdir(dir));) {
		struct stat st;
		if (str_equal(entry->d_name, ".") || str_equal(entry->d_name, "..") || fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (S_ISDIR(st.st_mode) && depth < MAX_DEPTH) {
			autoclose int child = open_child_dir(fd, entry->d_name);
			if (child >= 0)
				empty_children(child, depth + 1);
		} else if (S_ISREG(st.st_mode) && st.st_blocks) {
			struct open_how how = {.flags = O_WRONLY | O_TRUNC | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV};
			autoclose int file unused = (int)syscall(SYS_openat2, fd, entry->d_name, &how, sizeof(how));
		}
	}
	closedir(dir);
}

void file_empty_all(const char *path)
{
	autoclose int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0)
		empty_children(fd, 0);
}

bool file_exists(const char *path)
{
	return faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

char *path_join(const char *first, ...)
{
	struct buf out = BUF_INIT(BUF_MAX_DEFAULT);
	va_list args;
	va_start(args, first);
	for (const char *part = first; part; part = va_arg(args, const char *)) {
		if (!*part)
			continue;
		if (out.len) {
			while (out.len > 1 && out.data[out.len - 1] == '/')
				out.len--;
			part += strspn(part, "/");
			if (out.data[out.len - 1] != '/')
				buf_append_char(&out, '/');
		}
		buf_append_str(&out, part);
	}
	va_end(args);
	return buf_take(&out);
}
