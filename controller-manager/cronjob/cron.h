/* SPDX-License-Identifier: Apache-2.0 */
/* Cron lines; pure. */
#ifndef CORACLE_CONTROLLER_MANAGER_CRON_H
#define CORACLE_CONTROLLER_MANAGER_CRON_H

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/time_zone.h"

struct cron_schedule {
	uint64_t minute, hour, day, month, weekday; /* bits */
	bool any_day, any_weekday;                  /* written as * or ?: then the other one alone decides */
	int64_t every_ns;                           /* of "@every 5m"; 0: a line of fields */
};
/* "*\/5 * * * *", "@hourly", "@every 1h30m". Names of months and days in English. Returns 0 or -EINVAL saying what is wrong. */
int cron_parse(const char *text, struct cron_schedule *ret, struct error *err);

/*
 * The first time after `after` (seconds since 1970) at which the zone's clocks show what the schedule names; -1: none within five years. What they skip in spring
 * does not come, what they show twice in autumn comes twice.
 */
int64_t cron_next(const struct cron_schedule *schedule, const struct time_zone *zone, int64_t after);

#endif
