/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "controller-manager/cronjob/cron.h"

#include <errno.h>

static int64_t at(const char *text)
{
	struct wall_time t;
	assert_int_equal(time_parse_rfc3339(text, strlen(text), &t), 0);
	return t.sec;
}

static void check(const char *line, const char *zone_name, const char *after, const char *want)
{
	struct cron_schedule schedule;
	autozone struct time_zone *zone = NULL;
	char got[32];
	assert_int_equal(cron_parse(line, &schedule, NULL), 0);
	assert_int_equal(time_zone_load(zone_name, &zone, NULL), 0);
	int64_t next = cron_next(&schedule, zone, at(after));
	if (!want) {
		assert_int_equal(next, -1);
		return;
	}
	time_format_rfc3339((struct wall_time){.sec = next}, got);
	assert_string_equal(got, want);
}

static void schedules_name_their_next_time(void **state)
{
	static const char *const rows[][4] = {
		{"* * * * *", NULL, "2026-11-24T03:00:00Z", "2026-11-24T03:01:00Z"},
		{"*/15 * * * *", NULL, "2026-11-24T03:00:01Z", "2026-11-24T03:15:00Z"},
		{"5/20 3 * * *", NULL, "2026-11-24T03:06:00Z", "2026-11-24T03:25:00Z"},
		{"0 0 1 1 *", NULL, "2026-11-24T03:00:00Z", "2027-01-01T00:00:00Z"},
		{"@hourly", NULL, "2026-11-24T03:59:59Z", "2026-11-24T04:00:00Z"},
		{"0 12 * * mon-fri", NULL, "2026-11-27T12:00:00Z", "2026-11-30T12:00:00Z"},
		{"0 0 13 * fri", NULL, "2026-11-24T00:00:00Z", "2026-11-27T00:00:00Z"}, /* either day */
		{"0 0 29 2 *", NULL, "2026-11-24T00:00:00Z", "2028-02-29T00:00:00Z"},
		{"0 0 31 2 *", NULL, "2026-11-24T00:00:00Z", NULL},
		{"@every 1h30m", NULL, "2026-11-24T00:00:00Z", "2026-11-24T01:30:00Z"},
		{"0 9 * jan,JUL *", NULL, "2026-11-24T00:00:00Z", "2027-01-01T09:00:00Z"},
	};
	for (size_t i = 0; i < array_len(rows); i++)
		check(rows[i][0], rows[i][1], rows[i][2], rows[i][3]);
}

static void zones_and_their_changes_are_kept(void **state)
{
	check("0 9 * * *", "Europe/Berlin", "2026-01-15T00:00:00Z", "2026-01-15T08:00:00Z");
	check("0 9 * * *", "Europe/Berlin", "2026-07-15T00:00:00Z", "2026-07-15T07:00:00Z");
	/* 2026-03-29: 02:00 to 03:00 is skipped. */
	check("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-30T00:30:00Z");
	/* 2026-10-25: 02:30 comes twice, 00:30Z and 01:30Z. */
	check("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z");
	check("0 0 * * *", "Asia/Kolkata", "2026-11-24T00:00:00Z", "2026-11-24T18:30:00Z");
	/* The one that comes twice is waited for twice, and minutes go on in the order in which they come. */
	check("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z");
	check("* * * * *", "Europe/Berlin", "2026-10-25T00:10:00Z", "2026-10-25T00:11:00Z");
	check("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z");
	check("0 0 * * *", "America/Havana", "2026-11-01T03:00:00Z", "2026-11-01T04:00:00Z"); /* midnight comes twice */
	check("30 0 * * *", "America/Havana", "2026-03-08T00:00:00Z", "2026-03-09T04:30:00Z"); /* and is skipped */
	check("0 2 * * *", "Australia/Lord_Howe", "2026-04-04T12:00:00Z", "2026-04-04T15:30:00Z");
	/* Behind all that the zone's file lists. */
	check("0 9 * * *", "Europe/Berlin", "2046-07-15T00:00:00Z", "2046-07-15T07:00:00Z");
	check("0 9 * * *", "America/New_York", "2046-01-15T00:00:00Z", "2046-01-15T14:00:00Z");
}

static void bad_lines_are_refused(void **state)
{
	static const char *const rows[] = {"", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 7", "*/0 * * * *",
		"5-1 * * * *", "a * * * *", "@sometimes", "@every x", "1,,2 * * * *", "*x * * * *"};
	for (size_t i = 0; i < array_len(rows); i++) {
		struct cron_schedule schedule;
		assert_int_equal(cron_parse(rows[i], &schedule, NULL), -EINVAL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(schedules_name_their_next_time),
		cmocka_unit_test(zones_and_their_changes_are_kept),
		cmocka_unit_test(bad_lines_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
