/* SPDX-License-Identifier: Apache-2.0 */
#include "common/cel/zone.h"
#include "common/base/cursor.h"
#include "common/base/file.h"

#include <ctype.h>
#include <fcntl.h>
#include <time.h>

#define MAX_ZONE_FILE ((size_t)128 << 10)
#define FOLDER "/usr/share/zoneinfo/"

/* ---- the rule that holds behind the last transition, as POSIX's TZ has it: CET-1CEST,M3.5.0,M10.5.0/3 ---- */

static const char *skip_name(const char *p) {
	if (*p == '<') {
		const char *end = strchr(p, '>');
		return end ? end + 1 : NULL;
	}
	const char *start = p;
	while (isalpha((unsigned char)*p))
		p++;
	return p - start >= 3 ? p : NULL;
}

/* [+-]h[h][:mm[:ss]] */
static const char *read_time(const char *p, int64_t *ret) {
	int sign = *p == '-' ? -1 : 1;
	int64_t units[3] = {0};
	p += *p == '-' || *p == '+';
	for (int i = 0; i < 3; i++) {
		if (!isdigit((unsigned char)*p))
			return NULL;
		while (isdigit((unsigned char)*p) && units[i] < 1000)
			units[i] = units[i] * 10 + (*p++ - '0');
		if (*p != ':')
			break;
		p++;
	}
	*ret = sign * (units[0] * 3600 + units[1] * 60 + units[2]);
	return p;
}

static bool is_leap(int64_t year) {
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* Days since 1970 of the first of January. */
static int64_t days_before(int64_t year) {
	int64_t y = year - 1;
	return y * 365 + y / 4 - y / 100 + y / 400 - 719162;
}

/* Seconds from the year's start, in local time, at which a rule changes the clock: Mm.w.d, Jn or n, with /time. */
static const char *read_rule(const char *p, int64_t year, int64_t *ret) {
	static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int64_t day = 0, time = 2 * 3600;
	char *end;
	if (*p == 'M') {
		long month = strtol(p + 1, &end, 10);
		long week = *end == '.' ? strtol(end + 1, &end, 10) : 0;
		long weekday = *end == '.' ? strtol(end + 1, &end, 10) : -1;
		if (month < 1 || month > 12 || week < 1 || week > 5 || weekday < 0 || weekday > 6)
			return NULL;
		for (long m = 1; m < month; m++)
			day += lengths[m - 1] + (m == 2 && is_leap(year));
		int length = lengths[month - 1] + (month == 2 && is_leap(year));
		/* The first of January 1970 was a Thursday. */
		int64_t first = ((days_before(year) + day + 4) % 7 + 7) % 7;
		int64_t in_month = (weekday - first + 7) % 7 + (week - 1) * 7;
		while (in_month >= length)
			in_month -= 7;
		day += in_month;
	} else {
		bool julian = *p == 'J';
		long n = strtol(p + julian, &end, 10);
		if (end == p + julian || n < 0 || n > 366)
			return NULL;
		day = julian ? n - 1 + (is_leap(year) && n >= 60) : n;
	}
	p = end;
	if (*p == '/' && !(p = read_time(p + 1, &time)))
		return NULL;
	*ret = day * 86400 + time;
	return p;
}

static bool rule_offset(const char *p, int64_t at, int64_t *ret) {
	int64_t standard, summer, from, to;
	if (!(p = skip_name(p)) || !(p = read_time(p, &standard)))
		return false;
	standard = -standard;
	*ret = standard;
	if (!*p)
		return true;
	summer = standard + 3600;
	if (!(p = skip_name(p)))
		return false;
	if (*p != ',') {
		if (!(p = read_time(p, &summer)))
			return false;
		summer = -summer;
	}
	time_t local = at + standard;
	struct tm tm;
	if (*p != ',' || !gmtime_r(&local, &tm))
		return false;
	int64_t year = tm.tm_year + 1900, start = days_before(year) * 86400;
	if (!(p = read_rule(p + 1, year, &from)) || *p != ',' || !(p = read_rule(p + 1, year, &to)))
		return false;
	from += start - standard;
	to += start - summer;
	bool is_summer = from < to ? at >= from && at < to : at >= from || at < to;
	*ret = is_summer ? summer : standard;
	return true;
}

/* ---- the file ---- */

struct counts {
	uint32_t utc, standard, leaps, times, types, chars;
};

static bool read_header(struct cursor *c, uint8_t *ret_version, struct counts *ret) {
	const uint8_t *magic = cursor_take(c, 4);
	*ret_version = cursor_u8(c);
	cursor_take(c, 15);
	*ret = (struct counts){0};
	ret->utc = cursor_be32(c);
	ret->standard = cursor_be32(c);
	ret->leaps = cursor_be32(c);
	ret->times = cursor_be32(c);
	ret->types = cursor_be32(c);
	ret->chars = cursor_be32(c);
	const uint32_t all[] = {ret->utc, ret->standard, ret->leaps, ret->times, ret->types, ret->chars};
	for (size_t i = 0; i < array_len(all); i++)
		if (all[i] >= MAX_ZONE_FILE)
			return false;
	return !c->failed && memcmp(magic, "TZif", 4) == 0 && ret->types;
}

static uint64_t be(const uint8_t *p, unsigned size) {
	uint64_t value = 0;
	for (unsigned i = 0; i < size; i++)
		value = value << 8 | p[i];
	return value;
}

bool zone_offset_in(const void *data, size_t len, int64_t at, int64_t *ret_offset) {
	struct cursor c = cursor_of(data, len);
	struct counts n;
	uint8_t version;
	if (!read_header(&c, &version, &n) || version < '2')
		return false;
	/* The first block has 32-bit times: the second tells all. */
	cursor_take(&c, n.times * 4u + n.times + n.types * 6u + n.chars + n.leaps * 8u + n.standard + n.utc);
	if (!read_header(&c, &version, &n))
		return false;
	const uint8_t *times = cursor_take(&c, n.times * 8u), *indexes = cursor_take(&c, n.times), *types = cursor_take(&c, n.types * 6u);
	cursor_take(&c, n.chars + n.leaps * 12u + n.standard + n.utc);
	size_t left = cursor_left(&c);
	const uint8_t *footer = cursor_take(&c, left);
	if (c.failed)
		return false;
	uint32_t before = 0;
	for (uint32_t high = n.times; before < high;) {
		uint32_t middle = before + (high - before) / 2;
		if ((int64_t)be(times + 8 * (size_t)middle, 8) <= at)
			before = middle + 1;
		else
			high = middle;
	}
	if (before == n.times && left > 2 && footer[0] == '\n' && footer[left - 1] == '\n') {
		autofree char *rule = xstrndup((const char *)footer + 1, left - 2);
		if (*rule && rule_offset(rule, at, ret_offset))
			return true;
	}
	uint32_t type = before ? indexes[before - 1] : 0;
	if (type >= n.types)
		return false;
	*ret_offset = (int32_t)be(types + 6 * (size_t)type, 4);
	return true;
}

static bool is_zone_name(const char *name) {
	if (!isalpha((unsigned char)*name) || strlen(name) > 100 || strstr(name, ".."))
		return false;
	for (const char *p = name; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("_+-/.", *p))
			return false;
	return true;
}

bool zone_offset(const char *name, int64_t at, int64_t *ret_offset) {
	const char *colon = strchr(name, ':');
	*ret_offset = 0;
	if (!*name || strcmp(name, "UTC") == 0 || strcmp(name, "Local") == 0)
		return true;
	if (colon) {
		int64_t hours, minutes;
		autofree char *first = xstrndup(name, (size_t)(colon - name));
		if (!str_to_int64(*first == '+' ? first + 1 : first, -1000, 1000, &hours) || !str_to_int64(colon + 1, 0, 1000, &minutes))
			return false;
		*ret_offset = (hours * 60 + (*name == '-' ? -minutes : minutes)) * 60;
		return true;
	}
	if (!is_zone_name(name))
		return false;
	autofree char *path = xprintf(FOLDER "%s", name), *data = NULL;
	size_t len;
	return file_read(AT_FDCWD, path, MAX_ZONE_FILE, &data, &len, NULL) == 0 && zone_offset_in(data, len, at, ret_offset);
}
