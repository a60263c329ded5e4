/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/clock.h"

#include <errno.h>

static void times_round_trip(void **state)
{
	static const struct {
		const char *text, *canonical;
		int64_t sec;
		int32_t nsec;
	} rows[] = {
		{"1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z", 0, 0},
		{"2026-11-24T03:00:00+01:00", "2026-11-24T02:00:00Z", 1795485600, 0},
		{"2000-02-29T23:59:59.123456789Z", "2000-02-29T23:59:59.123456789Z", 951868799, 123456789},
		{"1969-12-31T23:59:59.5-00:30", "1970-01-01T00:29:59.5Z", 1799, 500000000},
		{"2006-01-02t15:04:05.000000z", "2006-01-02T15:04:05Z", 1136214245, 0},
	};
	char out[40];
	for (size_t i = 0; i < array_len(rows); i++) {
		struct wall_time t;
		assert_int_equal(time_parse_rfc3339(rows[i].text, strlen(rows[i].text), &t), 0);
		assert_int_equal(t.sec, rows[i].sec);
		assert_int_equal(t.nsec, rows[i].nsec);
		time_format_rfc3339_nano(t, out);
		assert_string_equal(out, rows[i].canonical);
	}
	time_format_rfc3339_micro((struct wall_time){0, 1500}, out);
	assert_string_equal(out, "1970-01-01T00:00:00.000001Z");
	time_format_rfc3339((struct wall_time){-1, 0}, out);
	assert_string_equal(out, "1969-12-31T23:59:59Z");
}

static void bad_times_are_refused(void **state)
{
	static const char *const rows[] = {"", "2006-01-02", "2006-13-02T15:04:05Z", "2006-02-30T15:04:05Z", "2006-01-02T24:04:05Z",
		"2006-01-02T15:04:05", "2006-01-02T15:04:05.Z", "2006-01-02T15:04:05Zx", "2006-01-02 15:04:05Z", "2006-01-02T15:04:60Z",
		"2006-01-02T15:04:05+25:00", "1900-02-29T00:00:00Z"};
	for (size_t i = 0; i < array_len(rows); i++) {
		struct wall_time t = {.sec = 77};
		assert_int_equal(time_parse_rfc3339(rows[i], strlen(rows[i]), &t), -EINVAL);
		assert_int_equal(t.sec, 77);
	}
}

static void durations_round_trip(void **state)
{
	static const struct {
		const char *text, *canonical;
		int64_t ns;
	} rows[] = {
		{"0", "0s", 0}, {"1h2m3.5s", "1h2m3.5s", 3723500000000}, {"90s", "1m30s", 90000000000}, {"100ms", "100ms", 100000000},
		{"1.5us", "1.5\xc2\xb5s", 1500}, {"-1.5h", "-1h30m0s", -5400000000000}, {"+5m", "5m0s", 300000000000}, {"1ns", "1ns", 1},
		{"1\xce\xbcs", "1\xc2\xb5s", 1000}, {".5s", "500ms", 500000000}, {"2562047h47m16.854775807s", "2562047h47m16.854775807s", INT64_MAX},
		{"-2562047h47m16.854775808s", "-2562047h47m16.854775808s", INT64_MIN},
	};
	char out[40];
	for (size_t i = 0; i < array_len(rows); i++) {
		int64_t ns = 0;
		assert_int_equal(duration_parse(rows[i].text, strlen(rows[i].text), &ns), 0);
		assert_true(ns == rows[i].ns);
		duration_format(ns, out);
		assert_string_equal(out, rows[i].canonical);
	}
	static const char *const bad[] = {"", "-", "1", "s", ".s", "1x", "1h2", "1 s", "2562047h47m16.854775808s", "99999999999999999999h", "--1s"};
	for (size_t i = 0; i < array_len(bad); i++)
		assert_int_equal(duration_parse(bad[i], strlen(bad[i]), &(int64_t){0}), -EINVAL);
}

static void ages_read_as_kubectl_writes_them(void **state)
{
	static const struct {
		int64_t seconds;
		const char *text;
	} rows[] = {
		{-2, "<invalid>"}, {-1, "0s"}, {0, "0s"}, {119, "119s"}, {120, "2m"}, {200, "3m20s"}, {720, "12m"}, {3 * 3600 - 1, "179m"},
		{3 * 3600, "3h"}, {5 * 3600 + 180, "5h3m"}, {8 * 3600, "8h"}, {47 * 3600, "47h"}, {48 * 3600, "2d"}, {50 * 3600, "2d2h"},
		{8 * 86400, "8d"}, {729LL * 86400, "729d"}, {730LL * 86400, "2y"}, {760LL * 86400, "2y30d"}, {3000LL * 86400, "8y"},
	};
	char out[32];
	for (size_t i = 0; i < array_len(rows); i++) {
		duration_format_human(rows[i].seconds, out);
		assert_string_equal(out, rows[i].text);
	}
}

static void the_test_clock_moves_by_hand(void **state)
{
	clock_set_test((struct wall_time){1000, 999999999});
	int64_t before = clock_monotonic_ns();
	clock_advance_test(1);
	assert_int_equal(clock_monotonic_ns() - before, 1);
	assert_int_equal(clock_wall().sec, 1001);
	assert_int_equal(clock_wall().nsec, 0);
	assert_true(time_diff_ns((struct wall_time){INT64_MAX, 0}, (struct wall_time){-5, 0}) == INT64_MAX);
	assert_int_equal(time_diff_ns((struct wall_time){2, 0}, (struct wall_time){1, 999999999}), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times_round_trip),
		cmocka_unit_test(bad_times_are_refused),
		cmocka_unit_test(durations_round_trip),
		cmocka_unit_test(ages_read_as_kubectl_writes_them),
		cmocka_unit_test(the_test_clock_moves_by_hand),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
