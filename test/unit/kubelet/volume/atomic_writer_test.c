/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/volume/atomic_writer.h"

#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];

static int make_dir(void **state) {
	snprintf(dir, sizeof(dir), "/tmp/atomic-writer-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state) {
	return file_remove_all(dir, NULL);
}

static struct volume_file row(const char *path, const char *text, mode_t mode) {
	return (struct volume_file){.path = path, .data = text, .len = strlen(text), .mode = mode, .uid = (uid_t)-1, .gid = (gid_t)-1};
}

static void expect(const char *name, const char *text) {
	autofree char *path = path_join(dir, name, NULL), *data = NULL;
	size_t len;
	assert_int_equal(file_read(AT_FDCWD, path, 1024, &data, &len, NULL), 0);
	assert_string_equal(data, text);
}

static void expect_owner(const char *name, mode_t mode, gid_t gid) {
	autofree char *path = path_join(dir, name, NULL);
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, mode);
	assert_int_equal(st.st_gid, gid);
}

/* A group that owns the volume can enter its folders, and what is made there is the group's. */
static void test_group(void **state) {
	struct volume_file file = row("sub/dir/b", "2", 0440);
	file.gid = 3000;
	assert_int_equal(atomic_writer_write(dir, &file, 1, NULL, NULL), 0);
	expect_owner("..data", 02755, 3000);
	expect_owner("sub/dir", 02755, 3000);
	expect_owner("sub/dir/b", 0440, 3000);
}

static void test_write_change_remove(void **state) {
	struct volume_file files[] = {row("a", "1", 0644), row("sub/dir/b", "2", 0400)};
	bool changed = false;
	assert_int_equal(atomic_writer_write(dir, files, 2, &changed, NULL), 0);
	assert_true(changed);
	expect("a", "1");
	expect("sub/dir/b", "2");
	autofree char *b = path_join(dir, "sub/dir/b", NULL);
	struct stat st;
	assert_int_equal(stat(b, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0400);

	assert_int_equal(atomic_writer_write(dir, files, 2, &changed, NULL), 0);
	assert_false(changed);

	files[0] = row("a", "new", 0644);
	assert_int_equal(atomic_writer_write(dir, files, 1, &changed, NULL), 0);
	assert_true(changed);
	expect("a", "new");
	assert_int_not_equal(stat(b, &st), 0);
	autofree char *sub = path_join(dir, "sub", NULL);
	assert_int_not_equal(lstat(sub, &st), 0);

	assert_int_equal(atomic_writer_write(dir, NULL, 0, &changed, NULL), 0);
	assert_true(changed);
}

static void test_bad_paths(void **state) {
	static const char *const bad[] = {"", "/etc/passwd", "..", "../x", "a/../b", "..data", "a/..", "..x"};
	for (size_t i = 0; i < array_len(bad); i++) {
		struct volume_file file = row(bad[i], "x", 0644);
		assert_int_equal(atomic_writer_write(dir, &file, 1, NULL, NULL), -EINVAL);
	}
	assert_true(atomic_writer_path_ok("a/..b"));
}


int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_write_change_remove, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_bad_paths, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_group, make_dir, remove_dir),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
