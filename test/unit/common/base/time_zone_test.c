/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/time_zone.h"

#include "common/base/buf.h"
#include "common/base/clock.h"

#include <errno.h>

static int64_t at(const char *text)
{
	struct wall_time t;
	assert_int_equal(time_parse_rfc3339(text, strlen(text), &t), 0);
	return t.sec;
}

static void put_be(struct buf *b, uint64_t value, int bytes)
{
	while (bytes--)
		buf_append(b, &(char){(char)(value >> bytes * 8)}, 1);
}

static void put_header(struct buf *b, char version, uint32_t times, uint32_t types)
{
	buf_append(b, "TZif", 4);
	buf_append(b, &version, 1);
	for (int i = 0; i < 15; i++)
		put_be(b, 0, 1);
	const uint32_t counts[] = {0, 0, 0, times, types, 1};
	for (size_t i = 0; i < array_len(counts); i++)
		put_be(b, counts[i], 4);
}

/* One change, from the first offset to the second; then the rule. */
static struct time_zone *zone_of(int32_t first, int64_t change, int32_t second, const char *rule)
{
	autobuf struct buf b = BUF_INIT(4096);
	put_header(&b, '2', 0, 1);
	put_be(&b, 0, 6 + 1);
	put_header(&b, '2', 1, 2);
	put_be(&b, (uint64_t)change, 8);
	put_be(&b, 1, 1);
	put_be(&b, (uint32_t)first, 4);
	put_be(&b, 0, 2);
	put_be(&b, (uint32_t)second, 4);
	put_be(&b, 0, 2 + 1);
	buf_printf(&b, "\n%s\n", rule);
	return time_zone_read(b.data, b.len);
}

static void tables_and_rules_tell_offsets(void **state)
{
	static const struct {
		const char *rule, *when;
		int32_t want;
	} rows[] = {
		{"CET-1CEST,M3.5.0,M10.5.0/3", "1969-12-31T23:59:59Z", 600},
		{"CET-1CEST,M3.5.0,M10.5.0/3", "1970-01-01T00:00:00Z", 3600},
		{"CET-1CEST,M3.5.0,M10.5.0/3", "2026-03-29T00:59:59Z", 3600},
		{"CET-1CEST,M3.5.0,M10.5.0/3", "2026-03-29T01:00:00Z", 7200},
		{"CET-1CEST,M3.5.0,M10.5.0/3", "2026-10-25T00:59:59Z", 7200},
		{"CET-1CEST,M3.5.0,M10.5.0/3", "2126-10-27T01:00:00Z", 3600},
		{"AEST-10AEDT,M10.1.0,M4.1.0/3", "2050-01-01T00:00:00Z", 39600}, /* summer over the turn of the year */
		{"AEST-10AEDT,M10.1.0,M4.1.0/3", "2050-06-01T00:00:00Z", 36000},
		{"<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", "2050-01-01T00:00:00Z", 39600}, /* summer of half an hour */
		{"EST5EDT,J60,J300", "2028-03-01T06:59:59Z", -18000}, /* the 60th of a leap year without the 29th: the first of March */
		{"EST5EDT,J60,J300", "2028-03-01T07:00:00Z", -14400},
		{"EST5EDT,59,300", "2028-02-29T07:00:00Z", -14400},
		{"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "2026-03-29T00:59:59Z", -7200}, /* an hour before the day */
		{"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "2026-03-29T01:00:00Z", -3600},
		{"<-12>12", "2126-01-01T00:00:00Z", -43200},
		{"", "2126-01-01T00:00:00Z", 1200}, /* none: as the table ends */
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		autozone struct time_zone *zone = zone_of(600, 0, *rows[i].rule ? 3600 : 1200, rows[i].rule);
		assert_non_null(zone);
		assert_int_equal(time_zone_offset(zone, at(rows[i].when)), rows[i].want);
	}
}

static void files_that_lie_are_refused(void **state)
{
	static const char *const rules[] = {"C-1", "CET", "CET-27", "CET-1CEST", "CET-1CEST,M13.1.0,M10.5.0", "CET-1CEST,M3.6.0,M10.5.0", "CET-1CEST,M3.5.7,M10.5.0", "CET-1CEST,M3.5.0", "CET-1CEST,J0,J300",
		"CET-1CEST,M3.5.0,M10.5.0/3x", "CET-1CEST,366,5", "<CET-1", "CET-1:60"};
	for (size_t i = 0; i < array_len(rules); i++)
		assert_null(zone_of(0, 0, 0, rules[i]));
	assert_null(zone_of(27 * 3600, 0, 0, ""));
	assert_null(time_zone_read("TZif", 4));
	assert_null(time_zone_read("", 0));
}

static void zones_have_names(void **state)
{
	autozone struct time_zone *utc = NULL, *berlin = NULL, *again = NULL, *none = NULL;
	assert_int_equal(time_zone_load(NULL, &utc, NULL), 0);
	assert_int_equal(time_zone_offset(utc, at("2026-07-01T00:00:00Z")), 0);
	assert_int_equal(time_zone_load("Europe/Berlin", &berlin, NULL), 0);
	assert_int_equal(time_zone_offset(berlin, at("2026-07-01T00:00:00Z")), 7200);
	assert_int_equal(time_zone_offset(berlin, at("2126-07-01T00:00:00Z")), 7200);
	assert_int_equal(time_zone_load("Europe/Berlin", &again, NULL), 0);
	assert_ptr_equal(again, berlin); /* read once */
	static const char *const bad[] = {"Nowhere/Land", "../../../etc/passwd", "/etc/passwd", "Europe", "zone.tab", "Europe/Ber lin", "."};
	for (size_t i = 0; i < array_len(bad); i++)
		assert_int_equal(time_zone_load(bad[i], &none, NULL), -ENOENT);
	/* More than are kept. */
	for (int i = 0; i < 40; i++) {
		autofree char *name = xprintf("Etc/GMT%+d", i % 27 - 14);
		autozone struct time_zone *zone = NULL;
		assert_int_equal(time_zone_load(i % 27 == 14 ? "Etc/GMT" : name, &zone, NULL), 0);
		assert_int_equal(time_zone_offset(zone, 0), -(i % 27 - 14) * 3600);
	}
	assert_int_equal(time_zone_offset(berlin, at("2026-01-01T00:00:00Z")), 3600);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables_and_rules_tell_offsets),
		cmocka_unit_test(files_that_lie_are_refused),
		cmocka_unit_test(zones_have_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
