/* SPDX-License-Identifier: Apache-2.0 */
/* Time zones by name, out of the system's database (RFC 9636), without touching the process's own zone. */
#ifndef CORACLE_CEL_ZONE_H
#define CORACLE_CEL_ZONE_H

#include "common/base/base.h"

/* Seconds east of UTC at a time: "", "UTC", "Europe/Vienna", "+02:00", "-8:30". False where there is no such zone. Any thread. */
bool zone_offset(const char *name, int64_t at, int64_t *ret_offset);
/* The same out of a file's bytes. */
bool zone_offset_in(const void *data, size_t len, int64_t at, int64_t *ret_offset);

#endif
