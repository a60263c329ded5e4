/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/clock.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <time.h>

#define TEST_MONOTONIC_START (1000 * NSEC_PER_SEC)

/* Days from 1970-01-01 of a date of the proleptic Gregorian calendar, and back (eras of 400 years begin on March 1). */
static int64_t days_from_civil(int64_t year, int month, int day)
{
	year -= month <= 2;
	int64_t era = (year >= 0 ? year : year - 399) / 400;
	int64_t year_of_era = year - era * 400;
	int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

static void civil_from_days(int64_t days, int64_t *year, int *month, int *day)
{
	days += 719468;
	int64_t era = (days >= 0 ? days : days - 146096) / 146097;
	int64_t day_of_era = days - era * 146097;
	int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	int64_t shifted = (5 * day_of_year + 2) / 153;
	*day = (int)(day_of_year - (153 * shifted + 2) / 5 + 1);
	*month = (int)(shifted < 10 ? shifted + 3 : shifted - 9);
	*year = year_of_era + era * 400 + (*month <= 2);
}

static bool test_clock;
static int64_t test_monotonic;
static struct wall_time test_wall;

static int64_t read_ns(clockid_t id)
{
	struct timespec ts;
	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

int64_t clock_monotonic_ns(void)
{
	if (__atomic_load_n(&test_clock, __ATOMIC_ACQUIRE))
		return __atomic_load_n(&test_monotonic, __ATOMIC_ACQUIRE);
	return read_ns(CLOCK_MONOTONIC);
}

int64_t clock_boottime_ns(void)
{
	if (__atomic_load_n(&test_clock, __ATOMIC_ACQUIRE))
		return __atomic_load_n(&test_monotonic, __ATOMIC_ACQUIRE);
	return read_ns(CLOCK_BOOTTIME);
}

struct wall_time clock_wall(void)
{
	if (__atomic_load_n(&test_clock, __ATOMIC_ACQUIRE)) {
		int64_t passed = __atomic_load_n(&test_monotonic, __ATOMIC_ACQUIRE) - TEST_MONOTONIC_START + test_wall.nsec;
		return (struct wall_time){.sec = test_wall.sec + passed / NSEC_PER_SEC, .nsec = (int32_t)(passed % NSEC_PER_SEC)};
	}
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	return (struct wall_time){.sec = ts.tv_sec, .nsec = (int32_t)ts.tv_nsec};
}

void clock_set_test(struct wall_time now)
{
	test_wall = now;
	__atomic_store_n(&test_monotonic, TEST_MONOTONIC_START, __ATOMIC_RELEASE);
	__atomic_store_n(&test_clock, true, __ATOMIC_RELEASE);
}

void clock_advance_test(int64_t ns)
{
	__atomic_add_fetch(&test_monotonic, ns, __ATOMIC_ACQ_REL);
}

/* Writes "2006-01-02T15:04:05"; years beyond four digits are capped so that the buffers of callers hold. */
static void put_digits(char *out, unsigned value, int count, char behind)
{
	out[count] = behind;
	while (count) {
		out[--count] = (char)('0' + value % 10);
		value /= 10;
	}
}

#define FORMATTED_SECONDS 19 /* "2006-01-02T15:04:05" */

static int format_seconds(int64_t sec, char *out)
{
	static const int64_t max_sec = 253402300799; /* 9999-12-31T23:59:59Z */
	static const int64_t min_sec = -62167219200; /* 0000-01-01T00:00:00Z */
	sec = sec > max_sec ? max_sec : sec < min_sec ? min_sec : sec;
	int64_t days = sec / 86400, rest = sec % 86400, year;
	int month, day;
	if (rest < 0) {
		rest += 86400;
		days--;
	}
	civil_from_days(days, &year, &month, &day);
	put_digits(out, (unsigned)year, 4, '-');
	put_digits(out + 5, (unsigned)month, 2, '-');
	put_digits(out + 8, (unsigned)day, 2, 'T');
	put_digits(out + 11, (unsigned)(rest / 3600), 2, ':');
	put_digits(out + 14, (unsigned)(rest / 60 % 60), 2, ':');
	put_digits(out + 17, (unsigned)(rest % 60), 2, '\0');
	return FORMATTED_SECONDS;
}

void time_format_rfc3339(struct wall_time t, char *out)
{
	memcpy(out + format_seconds(t.sec, out), "Z", 2);
}

void time_format_rfc3339_micro(struct wall_time t, char *out)
{
	int n = format_seconds(t.sec, out);
	snprintf(out + n, 32 - (size_t)n, ".%06dZ", (int)(t.nsec / 1000 % 1000000));
}

void time_format_rfc3339_nano(struct wall_time t, char *out)
{
	int n = format_seconds(t.sec, out);
	if (t.nsec) {
		n += snprintf(out + n, 40 - (size_t)n, ".%09d", (int)t.nsec);
		while (out[n - 1] == '0')
			n--;
	}
	snprintf(out + n, 40 - (size_t)n, "Z");
}

/* `count` digits at *p, moving it on; -1 where they are not there. */
static int take_digits(const char **p, const char *end, int count)
{
	int value = 0;
	if (end - *p < count)
		return -1;
	for (int i = 0; i < count; i++, (*p)++) {
		if (!isdigit((unsigned char)**p))
			return -1;
		value = value * 10 + (**p - '0');
	}
	return value;
}

static bool take_char(const char **p, const char *end, const char *any_of)
{
	if (*p >= end || !strchr(any_of, **p) || !**p)
		return false;
	(*p)++;
	return true;
}

static bool parse_offset(const char **p, const char *end, int *ret_seconds)
{
	if (take_char(p, end, "Zz")) {
		*ret_seconds = 0;
		return true;
	}
	bool negative = *p < end && **p == '-';
	if (!take_char(p, end, "+-"))
		return false;
	int hours = take_digits(p, end, 2);
	if (hours < 0 || hours > 24 || !take_char(p, end, ":"))
		return false;
	int minutes = take_digits(p, end, 2);
	if (minutes < 0 || minutes > 59)
		return false;
	*ret_seconds = (negative ? -1 : 1) * (hours * 3600 + minutes * 60);
	return true;
}

static int32_t parse_fraction(const char **p, const char *end)
{
	int32_t nsec = 0;
	int digits = 0;
	for (; *p < end && isdigit((unsigned char)**p); (*p)++)
		if (digits < 9) {
			nsec = nsec * 10 + (**p - '0');
			digits++;
		}
	if (!digits)
		return -1;
	for (; digits < 9; digits++)
		nsec *= 10;
	return nsec;
}

int time_parse_rfc3339(const char *s, size_t len, struct wall_time *ret)
{
	static const int month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	const char *p = s, *end = s + len;
	int32_t nsec = 0;
	int offset;
	int year = take_digits(&p, end, 4);
	if (year < 0 || !take_char(&p, end, "-"))
		return -EINVAL;
	int month = take_digits(&p, end, 2);
	if (month < 1 || month > 12 || !take_char(&p, end, "-"))
		return -EINVAL;
	int day = take_digits(&p, end, 2);
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	if (day < 1 || day > month_days[month - 1] + (month == 2 && leap) || !take_char(&p, end, "Tt"))
		return -EINVAL;
	int hour = take_digits(&p, end, 2);
	if (hour < 0 || hour > 23 || !take_char(&p, end, ":"))
		return -EINVAL;
	int minute = take_digits(&p, end, 2);
	if (minute < 0 || minute > 59 || !take_char(&p, end, ":"))
		return -EINVAL;
	int second = take_digits(&p, end, 2);
	if (second < 0 || second > 59)
		return -EINVAL;
	if (take_char(&p, end, ".,") && (nsec = parse_fraction(&p, end)) < 0)
		return -EINVAL;
	if (!parse_offset(&p, end, &offset) || p != end)
		return -EINVAL;
	ret->sec = days_from_civil(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset;
	ret->nsec = nsec;
	return 0;
}

int64_t time_diff_ns(struct wall_time a, struct wall_time b)
{
	__int128 diff = ((__int128)a.sec - b.sec) * NSEC_PER_SEC + (a.nsec - b.nsec);
	return diff > INT64_MAX ? INT64_MAX : diff < INT64_MIN ? INT64_MIN : (int64_t)diff;
}

static const struct duration_unit {
	const char *name;
	int64_t ns;
} duration_units[] = {
	{"ns", 1},
	{"us", 1000},
	{"\xc2\xb5s", 1000}, /* U+00B5 micro sign */
	{"\xce\xbcs", 1000}, /* U+03BC Greek mu */
	{"ms", NSEC_PER_MSEC},
	{"s", NSEC_PER_SEC},
	{"m", 60 * NSEC_PER_SEC},
	{"h", 3600 * NSEC_PER_SEC},
};

static int64_t take_unit(const char **p, const char *end)
{
	size_t len = 0;
	while (*p + len < end && (*p)[len] != '.' && !isdigit((unsigned char)(*p)[len]))
		len++;
	for (size_t i = 0; i < array_len(duration_units); i++)
		if (strlen(duration_units[i].name) == len && memcmp(duration_units[i].name, *p, len) == 0) {
			*p += len;
			return duration_units[i].ns;
		}
	return 0;
}

/* One "12.5ms" of a duration, added to *total. */
static bool take_duration_part(const char **p, const char *end, __int128 *total)
{
	__int128 whole = 0, fraction = 0, scale = 1;
	const char *start = *p;
	for (; *p < end && isdigit((unsigned char)**p); (*p)++) {
		whole = whole * 10 + (**p - '0');
		if (whole > (__int128)INT64_MAX + 1)
			return false;
	}
	bool digits = *p > start;
	if (*p < end && **p == '.') {
		(*p)++;
		for (; *p < end && isdigit((unsigned char)**p); (*p)++) {
			digits = true;
			if (scale < 1000000000000000LL) {
				fraction = fraction * 10 + (**p - '0');
				scale *= 10;
			}
		}
	}
	int64_t unit = digits ? take_unit(p, end) : 0;
	if (!unit)
		return false;
	*total += whole * unit + fraction * unit / scale;
	return *total <= (__int128)INT64_MAX + 1;
}

int duration_parse(const char *s, size_t len, int64_t *ret_ns)
{
	const char *p = s, *end = s + len;
	__int128 total = 0;
	bool negative = len && *p == '-';
	if (len && (*p == '-' || *p == '+'))
		p++;
	if (p == end)
		return -EINVAL;
	if (end - p == 1 && *p == '0') {
		*ret_ns = 0;
		return 0;
	}
	while (p < end)
		if (!take_duration_part(&p, end, &total))
			return -EINVAL;
	if (negative)
		total = -total;
	if (total > INT64_MAX)
		return -EINVAL;
	*ret_ns = (int64_t)total;
	return 0;
}

/* "1.5" from 1500 / 1000: the fraction without trailing zeros. */
static int format_fraction(uint64_t value, uint64_t unit, char *out, size_t size)
{
	int n = snprintf(out, size, "%llu", (unsigned long long)(value / unit));
	uint64_t rest = value % unit;
	if (!rest)
		return n;
	out[n++] = '.';
	for (unit /= 10; rest; unit /= 10) {
		out[n++] = (char)('0' + rest / unit);
		rest %= unit;
	}
	out[n] = '\0';
	return n;
}

void duration_format(int64_t ns, char *out)
{
	const size_t size = 40;
	size_t n = 0;
	uint64_t left = (uint64_t)ns;
	if (!ns) {
		snprintf(out, size, "0s");
		return;
	}
	if (ns < 0) {
		out[n++] = '-';
		left = 0 - left;
	}
	if (left < (uint64_t)NSEC_PER_SEC) {
		bool nano = left < 1000, micro = left < 1000000;
		n += (size_t)format_fraction(left, nano ? 1 : micro ? 1000 : 1000000, out + n, size - n);
		snprintf(out + n, size - n, "%s", nano ? "ns" : micro ? "\xc2\xb5s" : "ms");
		return;
	}
	uint64_t minutes = left / (60 * (uint64_t)NSEC_PER_SEC);
	if (minutes >= 60)
		n += (size_t)snprintf(out + n, size - n, "%lluh", (unsigned long long)(minutes / 60));
	if (minutes)
		n += (size_t)snprintf(out + n, size - n, "%llum", (unsigned long long)(minutes % 60));
	n += (size_t)format_fraction(left % (60 * (uint64_t)NSEC_PER_SEC), NSEC_PER_SEC, out + n, size - n);
	snprintf(out + n, size - n, "s");
}

/* "5h3m", or "5h" where the small part is 0. */
static void format_two(int64_t large, char large_unit, int64_t small, char small_unit, char *out)
{
	int n = snprintf(out, 32, "%lld%c", (long long)large, large_unit);
	if (small)
		snprintf(out + n, 32 - (size_t)n, "%lld%c", (long long)small, small_unit);
}

void duration_format_human(int64_t seconds, char *out)
{
	int64_t minutes = seconds / 60, hours = seconds / 3600, days = hours / 24;
	if (seconds < -1)
		snprintf(out, 32, "<invalid>");
	else if (seconds < 0)
		snprintf(out, 32, "0s");
	else if (seconds < 120)
		format_two(seconds, 's', 0, 0, out);
	else if (minutes < 10)
		format_two(minutes, 'm', seconds % 60, 's', out);
	else if (minutes < 180)
		format_two(minutes, 'm', 0, 0, out);
	else if (hours < 8)
		format_two(hours, 'h', minutes % 60, 'm', out);
	else if (hours < 48)
		format_two(hours, 'h', 0, 0, out);
	else if (hours < 192)
		format_two(days, 'd', hours % 24, 'h', out);
	else if (days < 730)
		format_two(days, 'd', 0, 0, out);
	else if (days < 2920)
		format_two(days / 365, 'y', days % 365, 'd', out);
	else
		format_two(days / 365, 'y', 0, 0, out);
}
