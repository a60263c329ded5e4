/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time zones by name, out of the system's database (TZif, RFC 9636), without touching the process's own zone. A zone is immutable and counted; those in use
 * lately are kept, and read anew where their file has changed. All functions are thread safe.
 */
#ifndef CORACLE_BASE_TIME_ZONE_H
#define CORACLE_BASE_TIME_ZONE_H

#include "common/base/base.h"
#include "common/base/error.h"

struct time_zone;

/* NULL, "" or "UTC": UTC, which needs no database. -ENOENT where the system does not know the name. *ret_zone is the caller's, to unref. */
int time_zone_load(const char *name, struct time_zone **ret_zone, struct error *err);
/* The same out of a file's bytes; NULL where they are none. */
struct time_zone *time_zone_read(const void *data, size_t len);
void time_zone_unref(struct time_zone *zone);
void cleanup_time_zone_unref(struct time_zone **zone);
#define autozone cleanup(cleanup_time_zone_unref)

/* Seconds east of UTC at that moment, which may lie before or behind all that the file lists: then its rule holds for ever. */
int32_t time_zone_offset(const struct time_zone *zone, int64_t utc);

#endif
