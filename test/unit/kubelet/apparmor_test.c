/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/file.h"
#include "kubelet/runtime/apparmor.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static void profiles_are_found_by_their_whole_name(void **state)
{
	static const char text[] = "first (enforce)\nwith blank (complain)\nodd (name) (enforce)\nlast (kill)";
	static const struct {
		const char *name;
		bool there;
	} rows[] = {{"first", true}, {"last", true}, {"with blank", true}, {"odd (name)", true}, {"odd", false}, {"with", false}, {"fir", false}, {"", false}, {"first (enforce)", false}};
	char path[] = "/tmp/coracle-apparmor-XXXXXX";
	autoclose int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(file_write(AT_FDCWD, path, text, strlen(text), 0600, NULL), 0);
	for (size_t i = 0; i < array_len(rows); i++)
		assert_int_equal(apparmor_is_loaded(path, rows[i].name), rows[i].there);
	unlink(path);
	assert_false(apparmor_is_loaded(path, "first"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(profiles_are_found_by_their_whole_name)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
