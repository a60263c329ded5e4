/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/container/env_file.h"

#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static void test_find(void **state) {
	static const struct { const char *text, *value; } good[] = {
		{"K='v'", "v"},
		{"# K='no'\n\n  \t\n  K='a b'\t# why\nK='second'\n", "a b"},
		{"A='1'\r\nK='two\r\nlines'\r\n", "two\nlines"},
		{"K='\\n$x\"'\n", "\\n$x\""},
		{"K= 'v'\n", NULL},
		{"K=''", NULL},
		{"OTHER='v'\n", NULL},
		{"", NULL},
		{"K='v'\nnonsense\n", "v"}, /* what follows is not looked at */
	};
	static const struct { const char *text, *why; } bad[] = {
		{"A='1'\nK", "line 2: missing '='"}, {"='v'", "line 1: empty variable name"}, {"K ='v'", "whitespace before '='"}, {"K=v", "single quotes"}, {"K=", "single quotes"},
		{"K='v' x", "after closing quote"}, {"\nK='v\nw\n", "starting at line 2: unclosed"},
	};
	autoarena struct arena *arena = arena_new();
	for (size_t i = 0; i < array_len(good); i++) {
		const char *value = "untouched";
		assert_int_equal(env_file_find(good[i].text, strlen(good[i].text), "K", arena, &value, NULL), 0);
		if (!str_equal(value, good[i].value))
			fail_msg("%s: %s", good[i].text, value);
	}
	for (size_t i = 0; i < array_len(bad); i++) {
		autoerror struct error err = {0};
		const char *value;
		assert_int_equal(env_file_find(bad[i].text, strlen(bad[i].text), "K", arena, &value, &err), -EINVAL);
		if (!strstr(error_message(&err), bad[i].why))
			fail_msg("%s: %s", bad[i].text, error_message(&err));
	}
}

static void test_stays_in_the_volume(void **state) {
	char dir[] = "/tmp/coracle-env-file-XXXXXX";
	assert_non_null(mkdtemp(dir));
	autofree char *volume = xprintf("%s/volume", dir), *inside = xprintf("%s/file", volume), *outside = xprintf("%s/secret", dir), *link = xprintf("%s/link", volume), *fifo = xprintf("%s/fifo", volume);
	assert_int_equal(mkdir(volume, 0755), 0);
	assert_int_equal(file_write(AT_FDCWD, inside, "K='in'", 6, 0600, NULL), 0);
	assert_int_equal(file_write(AT_FDCWD, outside, "K='out'", 7, 0600, NULL), 0);
	assert_int_equal(symlink("../secret", link), 0);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	autoarena struct arena *arena = arena_new();
	const char *value = NULL;
	assert_int_equal(env_file_read(volume, "file", "K", arena, &value, NULL), 0);
	assert_string_equal(value, "in");
	assert_int_equal(env_file_read(volume, "../secret", "K", arena, &value, NULL), -ENOENT);
	assert_int_equal(env_file_read(volume, "link", "K", arena, &value, NULL), -ENOENT);
	assert_int_equal(env_file_read(volume, "absent", "K", arena, &value, NULL), -ENOENT);
	assert_int_equal(env_file_read(volume, "fifo", "K", arena, &value, NULL), -EINVAL);
	assert_int_equal(file_remove_all(dir, NULL), 0);
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_find), cmocka_unit_test(test_stays_in_the_volume)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
