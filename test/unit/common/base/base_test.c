/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/base.h"

static void strings_compare(void **state)
{
	assert_true(str_empty(NULL) && str_empty("") && !str_empty("a"));
	assert_true(str_equal(NULL, "") && str_equal("a", "a") && !str_equal("a", NULL));
	assert_string_equal(str_or(NULL, "x"), "x");
	assert_true(str_starts_with("kube-system", "kube-") && !str_starts_with("kube", "kube-") && !str_starts_with(NULL, "a"));
	assert_true(str_ends_with("a.conf", ".conf") && !str_ends_with("conf", ".conf") && str_ends_with("x", ""));
	assert_int_equal(max_of(min_of(3, 5), 2), 3);
}

static void numbers_are_whole_and_bounded(void **state)
{
	int64_t v = 7;
	assert_true(str_to_int64("-12", -100, 100, &v));
	assert_int_equal(v, -12);
	assert_true(str_to_int64("9223372036854775807", INT64_MIN, INT64_MAX, &v) && v == INT64_MAX);
	v = 7;
	const char *bad[] = {"", "-", "1a", " 1", "0x10", "101", "9223372036854775808", "1.0", NULL};
	for (size_t i = 0; i < array_len(bad); i++)
		assert_false(str_to_int64(bad[i], -100, 100, &v));
	assert_int_equal(v, 7);
}

static void take_leaves_nothing_behind(void **state)
{
	autofree char *s = xstrdup("abc");
	autofree char *t = take_ptr(s);
	assert_null(s);
	assert_string_equal(t, "abc");
	autofree char *u = xstrndup("abcdef", 3);
	assert_string_equal(u, "abc");
	autofree char *p = xprintf("%s-%d", t, 4);
	assert_string_equal(p, "abc-4");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strings_compare),
		cmocka_unit_test(numbers_are_whole_and_bounded),
		cmocka_unit_test(take_leaves_nothing_behind),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
