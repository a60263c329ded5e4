/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/runtime/internal.h"

#include <errno.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const char table[] = "22 1 254:1 / / rw,relatime - ext4 /dev/vda rw\n"
			    "30 22 0:27 / /data rw shared:7 - tmpfs none rw\n"
			    "31 30 0:28 / /data/with\\040space rw master:3 propagate_from:2 - tmpfs none rw\n"
			    "32 22 0:29 / /over rw shared:9 - tmpfs none rw\n"
			    "33 32 0:30 / /over rw - tmpfs shared:1 rw\n"
			    "34 broken\n";

static void test_find(void **state)
{
	static const struct {
		const char *path, *mount;
		bool shared, slave;
	} rows[] = {
		{"/", "/", false, false},
		{"/etc/x", "/", false, false},
		{"/data", "/data", true, false},
		{"/data/sub", "/data", true, false},
		{"/database", "/", false, false},
		{"/data/with space/x", "/data/with space", false, true},
		{"/over/x", "/over", false, false}, /* the one on top; what stands behind the dash is no tag */
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		autofree char *copy = xstrdup(table);
		struct propagation found;
		assert_int_equal(propagation_find(copy, rows[i].path, &found), 0);
		assert_string_equal(found.mount, rows[i].mount);
		assert_int_equal(found.shared, rows[i].shared);
		assert_int_equal(found.slave, rows[i].slave);
	}
	char nothing[] = "garbage\n";
	struct propagation found;
	assert_int_equal(propagation_find(nothing, "/x", &found), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_find)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
