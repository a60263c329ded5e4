/* SPDX-License-Identifier: Apache-2.0 */
/* Cron lines and time zones; pure. */
#ifndef CORACLE_CONTROLLER_MANAGER_CRON_H
#define CORACLE_CONTROLLER_MANAGER_CRON_H

#include "common/base/clock.h"
#include "common/base/error.h"

struct cron_schedule {
	uint64_t minute, hour, day, month, weekday; /* bits */
	bool any_day, any_weekday;                  /* written as * or ?: then the other one alone decides */
	int64_t every_ns;                           /* of "@every 5m"; 0: a line of fields */
};
/* "*\/5 * * * *", "@hourly", "@every 1h30m". Names of months and days in English. Returns 0 or -EINVAL saying what is wrong. */
int cron_parse(const char *text, struct cron_schedule *ret, struct error *err);

/* Offsets of one zone over time, from the system's zoneinfo. */
struct time_zone;
/* name NULL or "": UTC. -ENOENT where the system does not know it. */
int time_zone_load(const char *name, struct time_zone **ret, struct error *err);
void time_zone_free(struct time_zone *zone);
/* Seconds east of UTC at that moment. */
int32_t time_zone_offset(const struct time_zone *zone, int64_t utc);

/* The first time after `after` (seconds since 1970) that the schedule names; -1: none within five years. */
int64_t cron_next(const struct cron_schedule *schedule, const struct time_zone *zone, int64_t after);

#endif
