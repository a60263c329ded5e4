/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/file.h"
#include "common/base/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

static char dir[64];

static int set_up(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/coracle-walk-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
	return file_remove_all(dir, NULL);
}

static char *put(const char *path)
{
	char *full = path_join(dir, path, NULL);
	autofree char *folder = xstrdup(full);
	*strrchr(folder, '/') = 0;
	assert_int_equal(file_mkdir_all(folder, 0755, NULL), 0);
	assert_int_equal(file_write(AT_FDCWD, full, "x", 1, 0600, NULL), 0);
	return full;
}

struct seen {
	int entries, opened;
	ino_t last, fail_at;
};

static int see(int fd, const struct stat *st, void *arg, struct error *err)
{
	struct seen *seen = arg;
	struct stat again;
	seen->entries++;
	seen->opened += fd >= 0;
	seen->last = st->st_ino;
	if (fd >= 0) {
		assert_int_equal(fstat(fd, &again), 0);
		assert_true(again.st_ino == st->st_ino);
	}
	return st->st_ino == seen->fail_at ? error_set(err, EINTR, "stopped") : 0;
}

static void each_entry_is_seen_once(void **state)
{
	autofree char *file = put("a/b/file"), *other = put("a/other"), *link = path_join(dir, "a/b/link", NULL);
	autoerror struct error err = {0};
	struct stat top, st;
	struct seen all = {0}, files = {0}, one = {0}, stopped = {0};
	assert_int_equal(symlink("/", link), 0);
	assert_int_equal(walk_tree(dir, true, see, &all, &err), 0);
	assert_int_equal(all.entries, 6); /* the top, two folders, two files, a link */
	assert_int_equal(all.opened, 6);
	assert_int_equal(stat(dir, &top), 0);
	assert_true(all.last == top.st_ino);
	assert_int_equal(walk_tree(dir, false, see, &files, &err), 0);
	assert_int_equal(files.entries, 6);
	assert_int_equal(files.opened, 3);
	assert_int_equal(walk_tree(other, false, see, &one, &err), 0);
	assert_int_equal(one.entries, 1);
	assert_int_equal(stat(file, &st), 0);
	stopped.fail_at = st.st_ino;
	assert_int_equal(walk_tree(dir, false, see, &stopped, &err), -EINTR);
	autofree char *message = xprintf("%s: stopped", file);
	assert_string_equal(err.message, message);
	assert_int_equal(walk_tree("/nowhere/at/all", false, see, &one, &err), -ENOENT);
}

/* Deeper than what a process can hold open, with something beside each folder: all of it is seen, going down and coming back. */
static void depth_takes_no_descriptors(void **state)
{
	enum { LEVELS = 2000 };
	struct rlimit old, few = {150, 150};
	struct seen seen = {0};
	autoerror struct error err = {0};
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < LEVELS; i++) {
		static const char *const names[] = {"a", "m", "z"};
		for (size_t j = 0; j < array_len(names); j++)
			assert_int_equal(mkdirat(fd, names[j], 0700), 0);
		int next = openat(fd, "m", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		close(fd);
		fd = next;
	}
	close(fd);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	few.rlim_max = old.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	int r = walk_tree(dir, true, see, &seen, &err);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(r, 0);
	assert_int_equal(seen.entries, LEVELS * 3 + 1);
}

static int carry_off(int fd, const struct stat *st, void *arg, struct error *err)
{
	if (++*(int *)arg > 1)
		return 0;
	/* In the deepest folder: the one above it goes elsewhere. */
	autofree char *to = path_join(dir, "elsewhere", NULL);
	char link[40], from[4096];
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t len = readlink(link, from, sizeof(from) - 1);
	assert_true(len > 0);
	from[len] = 0;
	assert_int_equal(rename(from, to), 0);
	return 0;
}

static void folders_that_move_are_noticed(void **state)
{
	autobuf struct buf path = BUF_INIT(4096);
	autoerror struct error err = {0};
	int calls = 0;
	buf_append_str(&path, dir);
	for (int i = 0; i < 50; i++)
		buf_append_str(&path, "/d");
	assert_int_equal(file_mkdir_all(path.data, 0700, &err), 0);
	assert_int_equal(walk_tree(dir, false, carry_off, &calls, &err), -ESTALE);
}

static void mounts_are_left_out(void **state)
{
	autofree char *file = put("mnt/file"), *mnt = path_join(dir, "mnt", NULL), *inside = path_join(dir, "mnt/inside", NULL);
	autoerror struct error err = {0};
	struct seen seen = {0};
	assert_int_equal(unshare(CLONE_NEWNS), 0);
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	assert_int_equal(mount("none", mnt, "tmpfs", 0, NULL), 0);
	assert_int_equal(file_write(AT_FDCWD, inside, "x", 1, 0600, NULL), 0);
	for (int open_all = 0; open_all < 2; open_all++) {
		seen = (struct seen){0};
		assert_int_equal(walk_tree(dir, open_all, see, &seen, &err), 0);
		assert_int_equal(seen.entries, 1);
	}
	/* But for the top, which may be one. */
	seen = (struct seen){0};
	assert_int_equal(walk_tree(mnt, false, see, &seen, &err), 0);
	assert_int_equal(seen.entries, 2);
	assert_int_equal(umount2(mnt, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_entry_is_seen_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(depth_takes_no_descriptors, set_up, tear_down),
		cmocka_unit_test_setup_teardown(folders_that_move_are_noticed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(mounts_are_left_out, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
