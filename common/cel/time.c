/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of timestamps and durations. */
#include "common/cel/internal.h"
#include "common/base/clock.h"
#include "common/base/time_zone.h"

#include <time.h>

/* Seconds east of UTC at a time: "", "UTC", "Europe/Vienna", "+02:00", "-8:30". */
static bool zone_offset(const char *name, int64_t at, int64_t *ret_offset) {
	const char *colon = strchr(name, ':');
	int64_t hours, minutes;
	autozone struct time_zone *zone = NULL;
	if (!colon) {
		if (time_zone_load(strcmp(name, "Local") == 0 ? "UTC" : name, &zone, NULL) < 0)
			return false;
		*ret_offset = time_zone_offset(zone, at);
		return true;
	}
	autofree char *first = xstrndup(name, (size_t)(colon - name));
	if (!str_to_int64(*first == '+' ? first + 1 : first, -1000, 1000, &hours) || !str_to_int64(colon + 1, 0, 1000, &minutes))
		return false;
	*ret_offset = (hours * 60 + (*name == '-' ? -minutes : minutes)) * 60;
	return true;
}

/* The broken-down time in UTC or the zone that is asked for. */
static bool break_down(struct cel_run *run, const struct cel_value *args, unsigned count, struct tm *ret, struct cel_value *error) {
	int64_t offset = 0;
	if (count > 1) {
		const char *zone = value_cstr(run, &args[1]);
		if (strlen(zone) != args[1].len || !zone_offset(zone, args[0].sec, &offset)) {
			*error = cel_fail(run, strchr(zone, ':') ? "invalid time zone offset %s" : "unknown time zone %s", zone);
			return false;
		}
	}
	time_t t = args[0].sec + offset;
	gmtime_r(&t, ret);
	return true;
}

#define PART(name_, value_) \
	static struct cel_value name_(struct cel_run *run, const struct cel_value *args, unsigned count) { \
		struct tm tm; \
		struct cel_value error; \
		return break_down(run, args, count, &tm, &error) ? VALUE_INT(value_) : error; \
	}
PART(fn_year, tm.tm_year + 1900)
PART(fn_month, tm.tm_mon)
PART(fn_day_of_year, tm.tm_yday)
PART(fn_day_of_month, tm.tm_mday - 1)
PART(fn_date, tm.tm_mday)
PART(fn_day_of_week, tm.tm_wday)

#define PART_OR_WHOLE(name_, value_, unit_) \
	static struct cel_value name_(struct cel_run *run, const struct cel_value *args, unsigned count) { \
		struct tm tm; \
		struct cel_value error; \
		if (args[0].kind == CEL_DURATION) \
			return VALUE_INT(args[0].i / (unit_)); \
		return break_down(run, args, count, &tm, &error) ? VALUE_INT(value_) : error; \
	}
PART_OR_WHOLE(fn_hours, tm.tm_hour, 3600 * NSEC_PER_SEC)
PART_OR_WHOLE(fn_minutes, tm.tm_min, 60 * NSEC_PER_SEC)
PART_OR_WHOLE(fn_seconds, tm.tm_sec, NSEC_PER_SEC)
PART_OR_WHOLE(fn_milliseconds, args[0].nsec / 1000000, NSEC_PER_MSEC)

#define OF_TIME(id_) "timestamp_to_" id_ "=.(timestamp):int timestamp_to_" id_ "_with_tz=.(timestamp,string):int"

const struct function_row functions_time[] = {
	{"getFullYear", fn_year, COST_ONE, OF_TIME("year")},
	{"getMonth", fn_month, COST_ONE, OF_TIME("month")},
	{"getDayOfYear", fn_day_of_year, COST_ONE, OF_TIME("day_of_year")},
	{"getDayOfMonth", fn_day_of_month, COST_ONE, OF_TIME("day_of_month")},
	{"getDate", fn_date, COST_ONE, OF_TIME("day_of_month_1_based")},
	{"getDayOfWeek", fn_day_of_week, COST_ONE, OF_TIME("day_of_week")},
	{"getHours", fn_hours, COST_ONE, OF_TIME("hours") " duration_to_hours=.(duration):int"},
	{"getMinutes", fn_minutes, COST_ONE, OF_TIME("minutes") " duration_to_minutes=.(duration):int"},
	{"getSeconds", fn_seconds, COST_ONE, OF_TIME("seconds") " duration_to_seconds=.(duration):int"},
	{"getMilliseconds", fn_milliseconds, COST_ONE, OF_TIME("milliseconds") " duration_to_milliseconds=.(duration):int"},
	{0},
};
