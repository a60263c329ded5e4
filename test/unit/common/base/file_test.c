/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];

static int make_dir(void **state)
{
	strcpy(dir, "/tmp/file_test.XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	return file_remove_all(dir, NULL);
}

static void writes_are_whole(void **state)
{
	autofree char *path = path_join(dir, "a/b", "c.txt", NULL);
	autofree char *parent = path_join(dir, "a/b", NULL);
	autoerror struct error err = {0};
	assert_int_equal(file_write_durable(AT_FDCWD, path, "x", 1, 0600, &err), -ENOENT);
	assert_int_equal(file_mkdir_all(parent, 0755, &err), 0);
	assert_int_equal(file_mkdir_all(parent, 0755, &err), 0);
	assert_int_equal(file_write_durable(AT_FDCWD, path, "hello", 5, 0640, &err), 0);
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	autofree char *data = NULL;
	size_t len = 0;
	assert_int_equal(file_read(AT_FDCWD, path, 5, &data, &len, &err), 0);
	assert_int_equal(len, 5);
	assert_string_equal(data, "hello");
	char *untouched = NULL;
	assert_int_equal(file_read(AT_FDCWD, path, 4, &untouched, NULL, &err), -EFBIG);
	assert_null(untouched);
	assert_int_equal(file_mkdir_all(path, 0755, &err), -ENOTDIR);
}

static void proc_files_are_read(void **state)
{
	autofree char *data = NULL;
	size_t len = 0;
	assert_int_equal(file_read(AT_FDCWD, "/proc/self/status", 100000, &data, &len, NULL), 0);
	assert_true(len > 100 && strlen(data) == len);
}

static void removal_spares_what_links_point_at(void **state)
{
	autofree char *keep = path_join(dir, "keep", NULL), *kept = path_join(keep, "file", NULL);
	autofree char *tree = path_join(dir, "tree/deep/er", NULL), *link_path = path_join(tree, "link", NULL), *top = path_join(dir, "tree", NULL);
	assert_int_equal(file_mkdir_all(keep, 0755, NULL), 0);
	assert_int_equal(file_mkdir_all(tree, 0755, NULL), 0);
	assert_int_equal(file_write(AT_FDCWD, kept, "x", 1, 0644, NULL), 0);
	assert_int_equal(symlink(keep, link_path), 0);
	autoerror struct error err = {0};
	assert_int_equal(file_remove_all(top, &err), 0);
	assert_false(file_exists(top));
	assert_true(file_exists(kept));
	assert_int_equal(file_remove_all(top, &err), 0);
	assert_int_equal(file_remove_all("/", &err), -EINVAL);
	assert_int_equal(file_remove_all("..", &err), -EINVAL);
}

static void paths_join_with_one_slash(void **state)
{
	static const struct {
		const char *a, *b, *out;
	} rows[] = {{"a", "b", "a/b"}, {"/", "b", "/b"}, {"a/", "/b", "a/b"}, {"", "b", "b"}, {"a", "", "a"}};
	for (size_t i = 0; i < array_len(rows); i++) {
		autofree char *path = path_join(rows[i].a, rows[i].b, NULL);
		assert_string_equal(path, rows[i].out);
	}
}

static void emptied_files_hold_nothing(void **state)
{
	autofree char *sub = path_join(dir, "empty/sub", NULL), *inside = path_join(dir, "empty/sub/file", NULL), *top = path_join(dir, "empty", NULL), *outside = path_join(dir, "outside", NULL);
	autofree char *link = path_join(dir, "empty/link", NULL), *folder_link = path_join(dir, "empty/folder", NULL);
	autoerror struct error err = {0};
	assert_int_equal(file_mkdir_all(sub, 0755, &err), 0);
	assert_int_equal(file_write(AT_FDCWD, inside, "hello", 5, 0400, &err), 0);
	assert_int_equal(file_write(AT_FDCWD, outside, "stays", 5, 0600, &err), 0);
	assert_int_equal(symlink(outside, link), 0);
	assert_int_equal(symlink(dir, folder_link), 0);
	autoclose int held = open(inside, O_RDONLY | O_CLOEXEC);
	file_empty_all(top);
	struct stat st;
	assert_int_equal(fstat(held, &st), 0);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(stat(outside, &st), 0);
	assert_int_equal(st.st_size, 5);
	file_empty_all("/nowhere/at/all");
}

/* Deeper than what a process can hold open: made level by level, as a container would. */
static void make_deep(const char *top, int levels)
{
	assert_int_equal(mkdir(top, 0700), 0);
	int fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < levels; i++) {
		assert_int_equal(mkdirat(fd, "d", 0700), 0);
		int next = openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		close(fd);
		fd = next;
	}
	autoclose int file = openat(fd, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(file >= 0);
	close(fd);
}

static void deep_trees_are_removed(void **state)
{
	autofree char *top = path_join(dir, "deep", NULL), *name = path_join(top, ".removed-1", NULL);
	autoerror struct error err = {0};
	struct rlimit old, few = {200, 200};
	make_deep(top, 3000);
	assert_int_equal(mkdir(name, 0700), 0); /* a name that removal would like to use */
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	few.rlim_max = old.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	assert_int_equal(file_remove_all(top, &err), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_false(file_exists(top));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_are_whole),
		cmocka_unit_test(proc_files_are_read),
		cmocka_unit_test(removal_spares_what_links_point_at),
		cmocka_unit_test(paths_join_with_one_slash),
		cmocka_unit_test(emptied_files_hold_nothing),
		cmocka_unit_test(deep_trees_are_removed),
	};
	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
