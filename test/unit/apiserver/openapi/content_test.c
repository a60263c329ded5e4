/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/openapi/content.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void check_range(const char *range, size_t size, int want, size_t want_start, size_t want_len) {
	size_t start = 0, len = 0;
	int rc = content_range(range, size, &start, &len);
	if (rc != want || (rc == 1 && (start != want_start || len != want_len)))
		fail_msg("%s of %zu: %d, %zu bytes at %zu", range ? range : "none", size, rc, len, start);
}

static void test_ranges(void **state) {
	check_range(NULL, 10, 0, 0, 0);
	check_range("", 10, 0, 0, 0);
	check_range("bytes=0-0", 10, 1, 0, 1);
	check_range("bytes=2-", 10, 1, 2, 8);
	check_range("bytes=2-100", 10, 1, 2, 8);
	check_range("bytes=-3", 10, 1, 7, 3);
	check_range("bytes=-30", 10, 1, 0, 10);
	check_range("bytes=-0", 10, -ERANGE, 0, 0);
	check_range("bytes=10-", 10, -ERANGE, 0, 0);
	check_range("bytes=0-", 0, -ERANGE, 0, 0);
	check_range("bytes=0-1,3-4", 10, 0, 0, 0);
	check_range("bytes=3-2", 10, -EINVAL, 0, 0);
	check_range("bytes=", 10, -EINVAL, 0, 0);
	check_range("bytes=-", 10, -EINVAL, 0, 0);
	check_range("bytes=x-1", 10, -EINVAL, 0, 0);
	check_range("bytes=99999999999999999999999-", 10, -EINVAL, 0, 0);
	check_range("lines=0-1", 10, -EINVAL, 0, 0);
}

static void test_tags(void **state) {
	assert_true(content_tag_listed("*", NULL));
	assert_true(content_tag_listed("\"a\"", "\"a\""));
	assert_true(content_tag_listed("\"b\" , W/\"a\"", "\"a\""));
	assert_false(content_tag_listed("\"ab\"", "\"a\""));
	assert_false(content_tag_listed("\"a", "\"a\""));
	assert_false(content_tag_listed("a", "\"a\""));
	assert_false(content_tag_listed("", "\"a\""));
	assert_false(content_tag_listed("\"a\"", NULL));
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_ranges), cmocka_unit_test(test_tags)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
