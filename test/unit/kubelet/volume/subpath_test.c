/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/volume/subpath.h"

#include "common/base/file.h"
#include "kubelet/volume/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdint.h>
#include <cmocka.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];

static char *below(const char *name) {
	return path_join(dir, name, NULL);
}

static int make_dir(void **state) {
	snprintf(dir, sizeof(dir), "/tmp/subpath-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	autofree char *volume = below("volume"), *link = below("volume/evil"), *inner = below("volume/inner");
	return mkdir(volume, 0755) || symlink("/etc", link) || symlink("real", inner);
}

static int remove_dir(void **state) {
	mount_unmount_below(dir, NULL);
	return file_remove_all(dir, NULL);
}

static void test_bind(void **state) {
	autofree char *volume = below("volume"), *target = below("target"), *file = below("volume/a/b/f"), *seen = below("target/f"), *data = NULL;
	size_t len;
	autoerror struct error err = {0};
	if (subpath_bind(volume, "a/b", target, &err) < 0)
		fail_msg("%s", error_message(&err));
	assert_true(mount_is_point(target));
	assert_int_equal(file_write(AT_FDCWD, file, "x", 1, 0644, NULL), 0);
	assert_int_equal(file_read(AT_FDCWD, seen, 10, &data, &len, NULL), 0);
	assert_int_equal(subpath_bind(volume, "a/b", target, NULL), 0);
	assert_int_equal(subpath_clean(target, NULL), 0);
	assert_true(file_exists(file));
}

static void test_escapes_refused(void **state) {
	autofree char *volume = below("volume"), *target = below("target");
	static const char *const bad[] = {"..", "a/../..", "/etc", "evil", "evil/ssl"};
	for (size_t i = 0; i < array_len(bad); i++)
		assert_true(subpath_bind(volume, bad[i], target, NULL) < 0);
	assert_false(mount_is_point(target));
}

int main(void) {
	/* Its mounts are its own. */
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return 0;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_bind, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_escapes_refused, make_dir, remove_dir),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
