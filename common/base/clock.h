/* SPDX-License-Identifier: Apache-2.0 */
/* Time. Intervals are measured on the monotonic clock, in nanoseconds; what users see is wall time in UTC. */
#ifndef CORACLE_BASE_CLOCK_H
#define CORACLE_BASE_CLOCK_H

#include "common/base/base.h"

#define NSEC_PER_SEC 1000000000LL
#define NSEC_PER_MSEC 1000000LL

struct wall_time {
	int64_t sec; /* since 1970 */
	int32_t nsec;
};

/*
 * The process's clocks. Tests replace both with clock_set_test(); then time moves only by clock_advance_test().
 */
int64_t clock_monotonic_ns(void);
/* The same, but it goes on while the machine sleeps: for what others may take for over meanwhile. */
int64_t clock_boottime_ns(void);
struct wall_time clock_wall(void);
void clock_set_test(struct wall_time now);
void clock_advance_test(int64_t ns);

/* 2006-01-02T15:04:05Z; `out` holds at least 32 bytes. */
void time_format_rfc3339(struct wall_time t, char *out);
/* 2006-01-02T15:04:05.000000Z, as MicroTime. */
void time_format_rfc3339_micro(struct wall_time t, char *out);
/* 2006-01-02T15:04:05.999999999Z with trailing zeros of the fraction dropped, as log lines of containers carry; out >= 40 bytes. */
void time_format_rfc3339_nano(struct wall_time t, char *out);
/* Any RFC 3339 time, with fraction and offset. Returns 0 or -EINVAL, *ret untouched. */
int time_parse_rfc3339(const char *s, size_t len, struct wall_time *ret);
/* a - b in nanoseconds, saturating. */
int64_t time_diff_ns(struct wall_time a, struct wall_time b);
/* Go's time.Duration text: "1h2m3.5s". Returns 0 or -EINVAL. */
int duration_parse(const char *s, size_t len, int64_t *ret_ns);
/* Formats as Go does: "1m30s", "0s", "1.5s", "100ms"; out >= 40 bytes. */
void duration_format(int64_t ns, char *out);
/* kubectl's ages: 5s, 3m20s, 12m, 5h3m, 2d, 1y30d; out >= 32 bytes. */
void duration_format_human(int64_t seconds, char *out);

#endif
