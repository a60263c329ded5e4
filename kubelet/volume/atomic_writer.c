/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/volume/atomic_writer.h"

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/map.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DATA_LINK "..data"
#define DATA_LINK_NEW "..data_tmp"

bool atomic_writer_path_ok(const char *path) {
	if (str_empty(path) || *path == '/' || strlen(path) > VOLUME_MAX_PATH || str_starts_with(path, ".."))
		return false;
	for (const char *p = path; p;) {
		size_t len = strcspn(p, "/");
		if (len > NAME_MAX || (len == 2 && memcmp(p, "..", 2) == 0))
			return false;
		p = p[len] ? p + len + 1 : NULL;
	}
	return true;
}

static char *first_element(const char *path) {
	return xstrndup(path, strcspn(path, "/"));
}

static bool file_is(int dirfd, const struct volume_file *file) {
	autofree char *data = NULL;
	size_t len;
	struct stat st;
	if (fstatat(dirfd, file->path, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) || (size_t)st.st_size != file->len)
		return false;
	if ((st.st_mode & 07777) != file->mode || (file->uid != (uid_t)-1 && st.st_uid != file->uid) || (file->gid != (gid_t)-1 && st.st_gid != file->gid))
		return false;
	return file_read(dirfd, file->path, file->len + 1, &data, &len, NULL) == 0 && len == file->len && memcmp(data, file->data, len) == 0;
}

/* Regular files in the tree below `dirfd`, which is not closed. */
static size_t count_files(int dirfd) {
	size_t n = 0;
	int copy = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	if (!dir) {
		cleanup_close(&copy);
		return 0;
	}
	for (struct dirent *e; (e = readdir(dir));) {
		if (str_equal(e->d_name, ".") || str_equal(e->d_name, ".."))
			continue;
		autoclose int sub = e->d_type == DT_DIR ? openat(dirfd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
		n += sub >= 0 ? count_files(sub) : 1;
	}
	closedir(dir);
	return n;
}

static bool is_current(int dirfd, const char *stamp, const struct volume_file *files, size_t count) {
	autoclose int data = openat(dirfd, stamp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (data < 0 || count_files(data) != count)
		return false;
	for (size_t i = 0; i < count; i++)
		if (!file_is(data, &files[i]))
			return false;
	return true;
}

/* A folder that belongs to a group is the group's to enter, and what is made in it belongs to the group, too. */
static int give_folder(int dirfd, const char *name, gid_t gid, struct error *err) {
	if (gid != (gid_t)-1 && (fchownat(dirfd, name, (uid_t)-1, gid, AT_SYMLINK_NOFOLLOW) < 0 || fchmodat(dirfd, name, 02755, 0) < 0))
		return error_set_errno(err, errno, "chown %s", name);
	return 0;
}

static int make_parents(int dirfd, const char *path, const struct volume_file *file, struct error *err) {
	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		autofree char *parent = xstrndup(path, (size_t)(slash - path));
		if (mkdirat(dirfd, parent, 0755) == 0) {
			int r = give_folder(dirfd, parent, file->gid, err);
			if (r < 0)
				return r;
		} else if (errno != EEXIST) {
			return error_set_errno(err, errno, "mkdir %s", parent);
		}
	}
	return 0;
}

static int write_one(int dirfd, const struct volume_file *file, struct error *err) {
	int r = make_parents(dirfd, file->path, file, err);
	if (r < 0)
		return r;
	autoclose int fd = openat(dirfd, file->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_set_errno(err, errno, "create %s", file->path);
	for (size_t done = 0; done < file->len;) {
		ssize_t n = write(fd, (const char *)file->data + done, file->len - done);
		if (n < 0 && errno != EINTR)
			return error_set_errno(err, errno, "write %s", file->path);
		done += n > 0 ? (size_t)n : 0;
	}
	if (fchown(fd, file->uid, file->gid) < 0 || fchmod(fd, file->mode) < 0)
		return error_set_errno(err, errno, "chmod %s", file->path);
	return 0;
}

static int write_stamp_dir(int dirfd, const char *stamp, const struct volume_file *files, size_t count, struct error *err) {
	if (mkdirat(dirfd, stamp, 0755) < 0)
		return error_set_errno(err, errno, "mkdir %s", stamp);
	autoclose int fd = openat(dirfd, stamp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return error_set_errno(err, errno, "open %s", stamp);
	if (fchmod(fd, 0755) < 0)
		return error_set_errno(err, errno, "chmod %s", stamp);
	int r = count ? give_folder(dirfd, stamp, files[0].gid, err) : 0;
	for (size_t i = 0; r == 0 && i < count; i++)
		r = write_one(fd, &files[i], err);
	return r;
}

static int link_names(int dirfd, const struct map *names, struct error *err) {
	struct map_entry *e;
	for (size_t i = 0; (e = map_next(names, &i));) {
		autofree char *target = xprintf(DATA_LINK "/%s", e->key);
		char have[PATH_MAX];
		ssize_t n = readlinkat(dirfd, e->key, have, sizeof(have));
		if (n == (ssize_t)strlen(target) && memcmp(have, target, (size_t)n) == 0)
			continue;
		if (n >= 0)
			unlinkat(dirfd, e->key, 0);
		if (symlinkat(target, dirfd, e->key) < 0)
			return error_set_errno(err, errno, "link %s", e->key);
	}
	return 0;
}

/* Drops links to names that are gone, and every older data folder. */
static void sweep(int dirfd, const char *path, const struct map *names, const char *stamp) {
	int copy = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	if (!dir) {
		cleanup_close(&copy);
		return;
	}
	for (struct dirent *e; (e = readdir(dir));) {
		const char *name = e->d_name;
		if (str_equal(name, ".") || str_equal(name, "..") || str_equal(name, DATA_LINK) || str_equal(name, stamp))
			continue;
		if (str_starts_with(name, "..")) {
			autofree char *old = path_join(path, name, NULL);
			file_remove_all(old, NULL);
		} else if (!map_has(names, name)) {
			unlinkat(dirfd, name, 0);
		}
	}
	closedir(dir);
}

static void stamp_name(char *out, size_t size) {
	struct wall_time now = clock_wall();
	time_t sec = (time_t)now.sec;
	struct tm tm;
	gmtime_r(&sec, &tm);
	size_t n = strftime(out, size, "..%Y_%m_%d_%H_%M_%S.", &tm);
	snprintf(out + n, size - n, "%09d", (int)now.nsec);
}

static int swap_data(int dirfd, const char *stamp, struct error *err) {
	unlinkat(dirfd, DATA_LINK_NEW, 0);
	if (symlinkat(stamp, dirfd, DATA_LINK_NEW) < 0)
		return error_set_errno(err, errno, "link %s", DATA_LINK_NEW);
	if (renameat(dirfd, DATA_LINK_NEW, dirfd, DATA_LINK) < 0)
		return error_set_errno(err, errno, "rename %s", DATA_LINK_NEW);
	return 0;
}

int atomic_writer_write(const char *path, const struct volume_file *files, size_t count, bool *ret_changed, struct error *err) {
	if (count > VOLUME_MAX_FILES)
		return error_set(err, E2BIG, "volume has more than %d files", VOLUME_MAX_FILES);
	automap struct map names = MAP_INIT(NULL);
	for (size_t i = 0; i < count; i++) {
		if (!atomic_writer_path_ok(files[i].path))
			return error_set(err, EINVAL, "invalid path: must not be absolute, contain or begin with '..': %s", files[i].path);
		autofree char *first = first_element(files[i].path);
		set_add(&names, first);
	}
	autoclose int dirfd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dirfd < 0)
		return error_set_errno(err, errno, "open %s", path);

	char old[NAME_MAX + 1] = "";
	ssize_t n = readlinkat(dirfd, DATA_LINK, old, NAME_MAX);
	old[n > 0 ? n : 0] = '\0';
	bool changed = !*old || strchr(old, '/') || !is_current(dirfd, old, files, count);
	char stamp[64];
	if (changed) {
		stamp_name(stamp, sizeof(stamp));
		int r = write_stamp_dir(dirfd, stamp, files, count, err);
		if (r == 0)
			r = swap_data(dirfd, stamp, err);
		if (r < 0) {
			autofree char *half = path_join(path, stamp, NULL);
			file_remove_all(half, NULL);
			return r;
		}
	}
	/* A crash may have come between the swap and the links: so they are looked at each time. */
	int r = link_names(dirfd, &names, err);
	if (r < 0)
		return r;
	sweep(dirfd, path, &names, changed ? stamp : old);
	if (ret_changed)
		*ret_changed = changed;
	return 0;
}
