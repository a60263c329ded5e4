/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KEPT 32 /* levels from the top that stay open; of those below them only the last one is, and others are found again by ".." */

struct level {
	DIR *dir; /* NULL: closed for now */
	dev_t dev;
	ino_t ino;
	long pos; /* where to go on once it is open again */
};

struct walk {
	bool open_all;
	walk_visit *visit;
	void *arg;
	struct level *levels;
	size_t depth, cap;
};

/* By its name only: no link is followed, and a mount point gives EXDEV. */
static int open_beneath(int dirfd, const char *name, int flags)
{
	struct open_how how = {.flags = (uint64_t)(flags | O_NOFOLLOW | O_CLOEXEC), .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV};
	return (int)syscall(SYS_openat2, dirfd, name, &how, sizeof(how));
}

static int call_visit(struct walk *w, int fd, int parent, const char *name, const struct stat *st, struct error *err)
{
	int r = w->visit(fd, st, w->arg, err);
	if (r < 0) {
		char link[40], path[PATH_MAX] = "";
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd >= 0 ? fd : parent);
		ssize_t len = readlink(link, path, sizeof(path) - 1);
		path[len > 0 ? len : 0] = 0;
		error_context(err, "%s%s%s", path, fd >= 0 ? "" : "/", fd >= 0 ? "" : name);
	}
	return r;
}

static int enter(struct walk *w, int fd, struct error *err)
{
	struct stat st;
	DIR *dir = fstat(fd, &st) == 0 ? fdopendir(fd) : NULL;
	if (!dir) {
		int r = error_set_errno(err, errno, "read a folder");
		close(fd);
		return r;
	}
	if (w->depth == WALK_MAX_DEPTH) {
		closedir(dir);
		return error_set(err, ELOOP, "folders are more than %u levels deep", WALK_MAX_DEPTH);
	}
	if (w->depth == w->cap) {
		w->cap = w->cap ? w->cap * 2 : KEPT;
		w->levels = xreallocarray(w->levels, w->cap, sizeof(*w->levels));
	}
	struct level *above = w->depth > KEPT ? &w->levels[w->depth - 1] : NULL;
	if (above) {
		above->pos = telldir(above->dir);
		closedir(above->dir);
		above->dir = NULL;
	}
	w->levels[w->depth++] = (struct level){.dir = dir, .dev = st.st_dev, .ino = st.st_ino};
	return 0;
}

/* Opens the level above the last one again, by the way back. */
static int reopen(struct level *above, int fd, struct error *err)
{
	struct stat st;
	autoclose int up = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (up < 0 || fstat(up, &st) < 0)
		return error_set_errno(err, errno, "go back up");
	if (st.st_dev != above->dev || st.st_ino != above->ino)
		return error_set(err, ESTALE, "folders are moved about while they are read");
	above->dir = fdopendir(up);
	if (!above->dir)
		return error_set_errno(err, errno, "read a folder");
	take_fd(up);
	seekdir(above->dir, above->pos);
	return 0;
}

static int leave(struct walk *w, struct error *err)
{
	struct level *last = &w->levels[w->depth - 1], *above = w->depth > 1 ? last - 1 : NULL;
	struct stat st;
	int fd = dirfd(last->dir);
	int r = fstat(fd, &st) < 0 ? error_set_errno(err, errno, "stat") : call_visit(w, fd, fd, "", &st, err);
	if (r == 0 && above && !above->dir)
		r = reopen(above, fd, err);
	closedir(last->dir);
	w->depth--;
	return r;
}

/* Gone meanwhile, or another file system's. */
static bool is_passed_over(int errnum)
{
	return errnum == ENOENT || errnum == EXDEV;
}

static int take_entry(struct walk *w, int parent, const char *name, struct error *err)
{
	struct stat st;
	autoclose int fd = w->open_all ? open_beneath(parent, name, O_PATH) : -1;
	if (w->open_all ? fd < 0 || fstat(fd, &st) < 0 : fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return is_passed_over(errno) ? 0 : error_set_errno(err, errno, "open %s", name);
	if (!S_ISDIR(st.st_mode))
		return call_visit(w, fd, parent, name, &st, err);
	int folder = w->open_all ? openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : open_beneath(parent, name, O_RDONLY | O_DIRECTORY);
	if (folder < 0)
		return is_passed_over(errno) || errno == ENOTDIR ? 0 : error_set_errno(err, errno, "open %s", name);
	return enter(w, folder, err);
}

static int walk_levels(struct walk *w, struct error *err)
{
	int r = 0;
	while (r == 0 && w->depth) {
		DIR *dir = w->levels[w->depth - 1].dir;
		struct dirent *entry = readdir(dir);
		if (!entry)
			r = leave(w, err);
		else if (!str_equal(entry->d_name, ".") && !str_equal(entry->d_name, ".."))
			r = take_entry(w, dirfd(dir), entry->d_name, err);
	}
	return r;
}

int walk_tree(const char *path, bool open_all, walk_visit *visit, void *arg, struct error *err)
{
	struct walk w = {.open_all = open_all, .visit = visit, .arg = arg};
	struct stat st;
	autoclose int top = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (top < 0 || fstat(top, &st) < 0)
		return error_set_errno(err, errno, "open %s", path);
	if (!S_ISDIR(st.st_mode))
		return call_visit(&w, top, top, "", &st, err);
	int folder = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = folder < 0 ? error_set_errno(err, errno, "open %s", path) : enter(&w, folder, err);
	if (r == 0)
		r = walk_levels(&w, err);
	while (w.depth)
		if (w.levels[--w.depth].dir)
			closedir(w.levels[w.depth].dir);
	free(w.levels);
	return r;
}
