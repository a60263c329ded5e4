/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/regex.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static bool finds(const char *pattern, const char *s) {
	struct regex *regex = regex_new(pattern, NULL);
	assert_non_null(regex);
	bool found = regex_search(regex, s, strlen(s));
	regex_free(regex);
	return found;
}

static void test_search(void **state) {
	const char *cron = "^(\\d+|\\*)(/\\d+)?(\\s+(\\d+|\\*)(/\\d+)?){4}$";
	assert_true(finds(cron, "* * * * */5"));
	assert_false(finds(cron, "* * * *"));
	assert_true(finds("b", "abc"));
	assert_false(finds("^b$", "abc"));
	assert_false(finds("^abc$", "abc\n"));
	assert_true(finds("^[[:alpha:]][\\w.-]*$", "a_b.c-1"));
	assert_true(finds("(?i)^ABC", "abcd"));
	assert_true(finds("(?P<year>[0-9]{4})", "in 1999"));
	assert_true(finds("^.{3}$", "äöü"));
	assert_true(finds("^a[]b]+$", "a]b"));
	assert_false(finds("\\d", "٣")); /* digits are ASCII */
}

static void test_refused(void **state) {
	static const char *const bad[] = {"(", "a{2,1}", "[z-a]", "(?=a)", "(?!a)", "(?<=a)", "(?<!a)", "(?>a)", "(a)\\1", "(?P=a)", "*a", "(?R)", "(*ACCEPT)", "\\k<a>"};
	for (size_t i = 0; i < array_len(bad); i++) {
		char *why = NULL;
		assert_null(regex_new(bad[i], &why));
		assert_non_null(why);
		free(why);
	}
}

static void test_bounded(void **state) {
	char subject[4096];
	memset(subject, 'a', sizeof(subject) - 1);
	subject[sizeof(subject) - 1] = '\0';
	assert_false(finds("^(a|a?)+$b", subject)); /* ends */
	regex_free(NULL);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_search),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
