/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/ip_range.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

static struct ip_range parse(const char *text) {
	struct ip_range range;
	assert_int_equal(ip_range_parse(text, &range), 0);
	return range;
}

static const char *nth(const struct ip_range *range, uint64_t n) {
	static char text[INET6_ADDRSTRLEN];
	ip_range_address(range, n, text);
	return text;
}

static void test_parse(void **state) {
	static const char *const bad[] = {"", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0/8", "fd00::/129", "x/8", "10.0.0.0/8x", "/8"};
	struct ip_range range;
	for (size_t i = 0; i < array_len(bad); i++)
		assert_int_equal(ip_range_parse(bad[i], &range), -EINVAL);
	range = parse("10.0.0.77/24");
	assert_int_equal(range.hosts, 254);
	assert_int_equal(range.reserved, 16);
	assert_string_equal(nth(&range, 0), "10.0.0.1");
	assert_string_equal(nth(&range, 253), "10.0.0.254");
	range = parse("10.96.0.0/12");
	assert_int_equal(range.reserved, 256);
	assert_string_equal(nth(&range, 255), "10.96.1.0");
	assert_int_equal(parse("10.0.0.0/28").reserved, 0);
	assert_int_equal(parse("10.0.0.0/27").reserved, 16);
	assert_int_equal(parse("10.0.0.0/31").hosts, 0);
	assert_int_equal(parse("10.0.0.0/32").hosts, 0);
	assert_int_equal(parse("0.0.0.0/0").hosts, ((uint64_t)1 << 32) - 2);
}

static void test_wide(void **state) {
	struct ip_range range = parse("fd00:1::/64");
	assert_true(range.hosts == UINT64_MAX);
	assert_string_equal(nth(&range, 0), "fd00:1::1");
	assert_string_equal(nth(&range, 0xffff), "fd00:1::1:0");
	assert_string_equal(nth(&range, UINT64_MAX - 1), "fd00:1::ffff:ffff:ffff:ffff");
	uint64_t n;
	assert_true(ip_range_index(&range, "fd00:1::ffff:ffff:ffff:ffff", &n) && n == UINT64_MAX - 1);
	assert_false(ip_range_index(&range, "fd00:1::", &n) || ip_range_index(&range, "fd00:2::1", &n) || ip_range_index(&range, "10.0.0.1", &n));
	range = parse("fd00::/48");
	assert_true(ip_range_index(&range, "fd00::1:0:0:0", &n) && n == ((uint64_t)1 << 48) - 1);
	assert_false(ip_range_index(&range, "fd00:0:0:1::", &n));
	range = parse("fd00::/120");
	assert_int_equal(range.hosts, 255);
	assert_string_equal(nth(&range, 254), "fd00::ff");
}

static void test_membership(void **state) {
	struct ip_range four = parse("10.0.0.0/24"), odd = parse("10.0.0.16/29"), six = parse("fd00::/120");
	assert_true(ip_range_contains(&four, "10.0.0.0") && ip_range_contains(&four, "10.0.0.255"));
	assert_false(ip_range_contains(&four, "10.0.1.0") || ip_range_contains(&four, "::ffff:10.0.0.1") || ip_range_contains(&four, "None"));
	assert_true(ip_range_may_give(&four, "10.0.0.1") && ip_range_may_give(&four, "10.0.0.254"));
	assert_false(ip_range_may_give(&four, "10.0.0.0") || ip_range_may_give(&four, "10.0.0.255"));
	assert_true(ip_range_may_give(&odd, "10.0.0.17") && !ip_range_may_give(&odd, "10.0.0.24") && !ip_range_may_give(&odd, "10.0.0.23"));
	assert_true(ip_range_may_give(&six, "fd00::ff") && !ip_range_may_give(&six, "fd00::"));
	assert_true(ip_range_covers(&four, &odd) && !ip_range_covers(&odd, &four) && !ip_range_covers(&four, &six));
}

/* Every address once, in a range that is no power of anything simple for the arithmetic: the carry goes through bytes. */
static void test_order(void **state) {
	struct ip_range range = parse("10.0.254.0/22");
	uint32_t last = 0;
	for (uint64_t n = 0; n < range.hosts; n++) {
		unsigned a, b, c, d;
		assert_int_equal(sscanf(nth(&range, n), "%u.%u.%u.%u", &a, &b, &c, &d), 4);
		uint32_t now = a << 24 | b << 16 | c << 8 | d;
		assert_true(now > last);
		assert_true(ip_range_may_give(&range, nth(&range, n)));
		uint64_t index;
		assert_true(ip_range_index(&range, nth(&range, n), &index) && index == n);
		last = now;
	}
	assert_int_equal(band_reserved(2768, 16, 128, 32), 86);
	assert_int_equal(band_reserved(16, 16, 128, 32), 0);
	assert_int_equal(band_reserved(1 << 20, 16, 128, 32), 128);
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_parse), cmocka_unit_test(test_wide), cmocka_unit_test(test_membership), cmocka_unit_test(test_order)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
