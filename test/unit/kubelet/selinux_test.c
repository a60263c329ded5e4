/* SPDX-License-Identifier: Apache-2.0 */
/* Labels of SELinux over a system root of the test's own: its "context" takes every label, or, where it leads to /dev/full, none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/file.h"
#include "kubelet/runtime/selinux.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

static char root[64];

static void put(const char *path, const char *text)
{
	autofree char *full = path_join(root, path, NULL), *folder = xstrdup(full);
	*strrchr(folder, '/') = 0;
	assert_int_equal(file_mkdir_all(folder, 0755, NULL), 0);
	unlink(full);
	assert_int_equal(file_write(AT_FDCWD, full, text, strlen(text), 0644, NULL), 0);
}

static int set_up(void **state)
{
	snprintf(root, sizeof(root), "/tmp/coracle-selinux-XXXXXX");
	assert_non_null(mkdtemp(root));
	put("sys/fs/selinux/context", "");
	put("sys/fs/selinux/mls", "1");
	put("proc/self/attr/current", "system_u:system_r:init_t:s0");
	put("etc/selinux/config", "# SELINUXTYPE=other\nSELINUX=enforcing\n SELINUXTYPE=mine\n");
	put("etc/selinux/mine/contexts/lxc_contexts",
		"process = \"system_u:system_r:box_t:s0\"\n; file = \"no\"\nfile = \"system_u:object_r:box_file_t:s0\"\nro_file = \"system_u:object_r:box_ro_t:s0\"\n");
	return 0;
}

static int tear_down(void **state)
{
	return file_remove_all(root, NULL);
}

static void refuse_all(void)
{
	autofree char *context = path_join(root, "sys/fs/selinux/context", NULL);
	unlink(context);
	assert_int_equal(symlink("/dev/full", context), 0);
}

static struct selinux *opened(void)
{
	struct selinux *selinux = selinux_open(root);
	assert_non_null(selinux);
	return selinux;
}

static void assert_labels(const struct selinux *selinux, const struct container_selinux *asked, const char *level, const char *process, const char *files)
{
	autofree char *p = NULL, *f = NULL;
	assert_int_equal(selinux_process_label(selinux, asked, level, &p, NULL), 0);
	assert_int_equal(selinux_file_label(selinux, asked, level, &f, NULL), 0);
	assert_string_equal(str_or(p, "none"), process);
	assert_string_equal(str_or(f, "none"), files);
}

static void there_is_none_without_a_policy(void **state)
{
	autofree char *context = path_join(root, "sys/fs/selinux/context", NULL);
	put("proc/self/attr/current", "kernel");
	assert_null(selinux_open(root));
	put("proc/self/attr/current", "init_t");
	assert_int_equal(unlink(context), 0);
	assert_null(selinux_open(root));
	assert_null(selinux_close(NULL));
}

static void what_is_not_asked_for_is_the_policys(void **state)
{
	struct selinux *selinux = opened();
	assert_labels(selinux, NULL, "s0:c1,c2", "system_u:system_r:box_t:s0:c1,c2", "system_u:object_r:box_file_t:s0:c1,c2");
	assert_labels(selinux, NULL, NULL, "system_u:system_r:box_t:s0", "system_u:object_r:box_file_t:s0");
	assert_labels(selinux, &(struct container_selinux){.type = "other_t", .role = ""}, "s0:c1,c2", "system_u:system_r:other_t:s0:c1,c2", "system_u:object_r:box_file_t:s0:c1,c2");
	assert_labels(selinux, &(struct container_selinux){"u", "r", "t", "s0-s1:c5.c7"}, "s0:c1,c2", "u:r:t:s0-s1:c5.c7", "u:object_r:box_file_t:s0-s1:c5.c7");
	autofree char *label = selinux_unconfined_label(selinux);
	assert_string_equal(label, "system_u:system_r:spc_t:s0");
	assert_string_equal(selinux_shared_label(selinux), "system_u:object_r:box_ro_t:s0");
	selinux_close(selinux);
}

static void the_file_of_container_tools_comes_first(void **state)
{
	put("usr/share/containers/selinux/contexts", "process=\"system_u:system_r:first_t:s0\"\nfile=\"system_u:object_r:first_file_t:s0\"\n");
	struct selinux *selinux = opened();
	assert_labels(selinux, NULL, NULL, "system_u:system_r:first_t:s0", "system_u:object_r:first_file_t:s0");
	assert_string_equal(selinux_shared_label(selinux), "system_u:object_r:first_file_t:s0");
	selinux_close(selinux);
}

static void policies_without_files_or_levels_do(void **state)
{
	put("etc/selinux/config", "SELINUXTYPE=../mine\n");
	struct selinux *selinux = opened();
	assert_labels(selinux, NULL, "s0:c3,c4", "system_u:system_r:container_t:s0:c3,c4", "system_u:object_r:container_file_t:s0:c3,c4");
	selinux_close(selinux);
	put("sys/fs/selinux/mls", "0");
	selinux = opened();
	assert_null(selinux_level(selinux, 7));
	assert_labels(selinux, &(struct container_selinux){.level = "s0:c9"}, NULL, "system_u:system_r:container_t", "system_u:object_r:container_file_t");
	selinux_close(selinux);
}

static void unknown_labels_are_refused_where_asked_for(void **state)
{
	refuse_all();
	struct selinux *selinux = opened();
	autoerror struct error err = {0};
	char *label = NULL;
	assert_labels(selinux, NULL, "s0:c1,c2", "none", "none");
	assert_null(selinux_unconfined_label(selinux));
	assert_int_equal(selinux_process_label(selinux, &(struct container_selinux){.type = "odd_t"}, NULL, &label, &err), -EINVAL);
	assert_string_equal(err.message, "invalid SELinux label \"system_u:system_r:odd_t:s0\"");
	assert_null(label);
	selinux_close(selinux);
}

/* It stands in the options of a mount. */
static void odd_characters_never_reach_the_kernel(void **state)
{
	static const char *const odd[] = {"x\",lowerdir=/", "a b", "a\nb", "a\\b"};
	struct selinux *selinux = opened();
	for (size_t i = 0; i < array_len(odd); i++) {
		char *label = NULL;
		assert_int_equal(selinux_file_label(selinux, &(struct container_selinux){.level = odd[i]}, NULL, &label, NULL), -EINVAL);
		assert_int_equal(selinux_process_label(selinux, &(struct container_selinux){.type = odd[i]}, NULL, &label, NULL), -EINVAL);
	}
	selinux_close(selinux);
}

static void levels_are_all_different_pairs(void **state)
{
	struct selinux *selinux = opened();
	unsigned first = 0, second = 0;
	for (uint32_t i = 0; i < SELINUX_LEVELS; i++) {
		unsigned a, b;
		autofree char *level = selinux_level(selinux, i);
		assert_int_equal(sscanf(level, "s0:c%u,c%u", &a, &b), 2);
		assert_true(i == 0 || a > first || (a == first && b > second));
		assert_true(a < b && b < 1022);
		first = a;
		second = b;
	}
	assert_int_equal(first, 1020);
	selinux_close(selinux);
}

static void trees_are_labelled_without_following_links(void **state)
{
	put("tree/sub/file", "x");
	put("outside", "x");
	autofree char *top = path_join(root, "tree", NULL), *file = path_join(root, "tree/sub/file", NULL), *outside = path_join(root, "outside", NULL), *link = path_join(root, "tree/link", NULL);
	autoerror struct error err = {0};
	char have[64];
	assert_int_equal(symlink(outside, link), 0);
	assert_int_equal(selinux_relabel(top, "u:r:one_t:s0", &err), 0);
	assert_int_equal(selinux_relabel(top, "u:r:two_t:s0", &err), 0);
	const char *const labelled[] = {top, file, link};
	for (size_t i = 0; i < array_len(labelled); i++) {
		assert_int_equal(lgetxattr(labelled[i], "security.selinux", have, sizeof(have)), strlen("u:r:two_t:s0") + 1);
		assert_string_equal(have, "u:r:two_t:s0");
	}
	assert_int_equal(lgetxattr(outside, "security.selinux", have, sizeof(have)), -1);
	assert_int_equal(errno, ENODATA);
	/* What never changes is not walked twice. */
	put("tree/sub/late", "x");
	autofree char *late = path_join(root, "tree/sub/late", NULL);
	assert_int_equal(selinux_relabel_once(top, "u:r:two_t:s0", &err), 0);
	assert_int_equal(lgetxattr(late, "security.selinux", have, sizeof(have)), -1);
	assert_int_equal(selinux_relabel_once(top, "u:r:three_t:s0", &err), 0);
	assert_int_equal(lgetxattr(late, "security.selinux", have, sizeof(have)), strlen("u:r:three_t:s0") + 1);
	assert_int_equal(selinux_relabel("/nowhere/at/all", "u:r:two_t:s0", &err), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(there_is_none_without_a_policy, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_not_asked_for_is_the_policys, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_file_of_container_tools_comes_first, set_up, tear_down),
		cmocka_unit_test_setup_teardown(policies_without_files_or_levels_do, set_up, tear_down),
		cmocka_unit_test_setup_teardown(unknown_labels_are_refused_where_asked_for, set_up, tear_down),
		cmocka_unit_test_setup_teardown(odd_characters_never_reach_the_kernel, set_up, tear_down),
		cmocka_unit_test_setup_teardown(levels_are_all_different_pairs, set_up, tear_down),
		cmocka_unit_test_setup_teardown(trees_are_labelled_without_following_links, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
