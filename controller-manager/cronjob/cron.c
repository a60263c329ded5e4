/* SPDX-License-Identifier: Apache-2.0 */
#include "controller-manager/cronjob/cron.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <strings.h>

#define SECONDS_A_DAY 86400
#define SEARCH_DAYS (5 * 366)

struct field {
	const char *name;
	int min, max;
	const char *const *names; /* of min, min + 1, ...; NULL: numbers only */
};

static const char *const month_names[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const day_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};
static const struct field fields[] = {
	{"minute", 0, 59, NULL}, {"hour", 0, 23, NULL}, {"day of month", 1, 31, NULL}, {"month", 1, 12, month_names}, {"day of week", 0, 6, day_names}};

static bool parse_value(const struct field *field, const char **p, int *ret)
{
	size_t len = 0;
	while (isalnum((unsigned char)(*p)[len]))
		len++;
	autofree char *word = xstrndup(*p, len);
	int64_t number;
	*p += len;
	for (int i = 0; field->names && field->names[i]; i++) {
		if (strcasecmp(field->names[i], word) == 0) {
			*ret = field->min + i;
			return true;
		}
	}
	if (!str_to_int64(word, 0, 99, &number))
		return false;
	*ret = (int)number;
	return true;
}

/* One "a-b/n" of a field. */
static bool parse_range(const struct field *field, const char **p, uint64_t *bits, bool *any)
{
	int first = field->min, last = field->max, step = 1;
	bool star = **p == '*' || **p == '?', single = false;
	if (star) {
		(*p)++;
	} else {
		if (!parse_value(field, p, &first))
			return false;
		last = first;
		single = true;
		if (**p == '-') {
			(*p)++;
			single = false;
			if (!parse_value(field, p, &last))
				return false;
		}
	}
	if (**p == '/') {
		(*p)++;
		if (!isdigit((unsigned char)**p) || !parse_value(&(struct field){.max = 99}, p, &step) || step < 1)
			return false;
		if (single)
			last = field->max; /* "3/5": from 3 on */
		star = star && step == 1;
	}
	/* Sunday may be 7 only where a cron allows it; Kubernetes' does not. */
	if (first < field->min || last > field->max || first > last)
		return false;
	for (int i = first; i <= last; i += step)
		*bits |= (uint64_t)1 << i;
	*any |= star;
	return true;
}

static int parse_field(const struct field *field, const char **p, uint64_t *bits, bool *any, struct error *err)
{
	const char *start = *p;
	*bits = 0;
	*any = false;
	do {
		if (**p == ',')
			(*p)++;
		if (!parse_range(field, p, bits, any))
			return error_set(err, EINVAL, "failed to parse %s from \"%s\"", field->name, start);
	} while (**p == ',');
	if (**p && **p != ' ' && **p != '\t')
		return error_set(err, EINVAL, "failed to parse %s from \"%s\"", field->name, start);
	*p += strspn(*p, " \t");
	return 0;
}

static const struct {
	const char *name, *line;
} descriptors[] = {{"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"}, {"@weekly", "0 0 * * 0"}, {"@daily", "0 0 * * *"},
	{"@midnight", "0 0 * * *"}, {"@hourly", "0 * * * *"}};

int cron_parse(const char *text, struct cron_schedule *ret, struct error *err)
{
	struct cron_schedule schedule = {0};
	const char *p = text + strspn(text, " \t");
	if (str_starts_with(p, "@every ")) {
		p += strlen("@every ");
		if (duration_parse(p, strlen(p), &schedule.every_ns) < 0 || schedule.every_ns < 0)
			return error_set(err, EINVAL, "failed to parse duration %s", text);
		schedule.every_ns = max_of(schedule.every_ns / NSEC_PER_SEC, (int64_t)1) * NSEC_PER_SEC;
		*ret = schedule;
		return 0;
	}
	for (size_t i = 0; i < array_len(descriptors); i++)
		if (str_equal(p, descriptors[i].name))
			p = descriptors[i].line;
	bool ignored;
	uint64_t *const bits[] = {&schedule.minute, &schedule.hour, &schedule.day, &schedule.month, &schedule.weekday};
	bool *const any[] = {&ignored, &ignored, &schedule.any_day, &ignored, &schedule.any_weekday};
	for (size_t i = 0; i < array_len(fields); i++) {
		if (!*p)
			return error_set(err, EINVAL, "expected exactly 5 fields, found %zu: [%s]", i, text);
		int r = parse_field(&fields[i], &p, bits[i], any[i], err);
		if (r)
			return r;
	}
	if (*p)
		return error_set(err, EINVAL, "expected exactly 5 fields, found more: [%s]", text);
	*ret = schedule;
	return 0;
}

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

static void civil_of(int64_t days, int *month, int *day)
{
	days += 719468;
	int64_t era = (days >= 0 ? days : days - 146096) / 146097, doe = days - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365, doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
	*day = (int)(doy - (153 * mp + 2) / 5 + 1);
	*month = (int)(mp < 10 ? mp + 3 : mp - 9);
}

static bool day_matches(const struct cron_schedule *s, int64_t days)
{
	int month, day, weekday = (int)(((days + 4) % 7 + 7) % 7);
	civil_of(days, &month, &day);
	if (!(s->month >> month & 1))
		return false;
	bool by_day = s->day >> day & 1, by_weekday = s->weekday >> weekday & 1;
	return s->any_day || s->any_weekday ? by_day && by_weekday : by_day || by_weekday;
}

static bool matches(const struct cron_schedule *s, int64_t local)
{
	int64_t day = floor_div(local, SECONDS_A_DAY), second = local - day * SECONDS_A_DAY;
	return s->hour >> second / 3600 & 1 && s->minute >> second % 3600 / 60 & 1 && day_matches(s, day);
}

/* The first local minute that matches, of those in [from, to), which lie within one day; -1: none. */
static int64_t first_match(const struct cron_schedule *s, int64_t from, int64_t to)
{
	int64_t day = floor_div(from, SECONDS_A_DAY), start = day * SECONDS_A_DAY;
	if (from >= to || !day_matches(s, day))
		return -1;
	for (int64_t hour = (from - start) / 3600; hour < 24; hour++) {
		if (!(s->hour >> hour & 1))
			continue;
		for (int64_t minute = 0; minute < 60; minute++) {
			int64_t local = start + hour * 3600 + minute * 60;
			if (s->minute >> minute & 1 && local >= from && local < to)
				return local;
		}
	}
	return -1;
}

/* Of the moments in [from, to), which lie within one day of UTC. */
static int64_t first_moment(const struct cron_schedule *s, const struct time_zone *zone, int64_t from, int64_t to)
{
	int32_t offset = time_zone_offset(zone, from);
	if (time_zone_offset(zone, to) == offset) {
		int64_t midnight = (floor_div(from + offset, SECONDS_A_DAY) + 1) * SECONDS_A_DAY, end = to + offset;
		int64_t local = first_match(s, from + offset, min_of(midnight, end));
		if (local < 0)
			local = first_match(s, midnight, end);
		return local < 0 ? -1 : local - offset;
	}
	/* The clocks are changed: local times come out of order here, so each minute is looked at as it comes. */
	for (int64_t moment = from + (60 - from % 60) % 60; moment < to; moment += 60)
		if (matches(s, moment + time_zone_offset(zone, moment)))
			return moment;
	return -1;
}

int64_t cron_next(const struct cron_schedule *s, const struct time_zone *zone, int64_t after)
{
	if (s->every_ns)
		return after + s->every_ns / NSEC_PER_SEC;
	int64_t from = max_of(after + 1, (int64_t)0);
	for (int i = 0; i < SEARCH_DAYS; i++) {
		int64_t to = (from / SECONDS_A_DAY + 1) * SECONDS_A_DAY, moment = first_moment(s, zone, from, to);
		if (moment >= 0)
			return moment;
		from = to;
	}
	return -1;
}
