/* SPDX-License-Identifier: Apache-2.0 */
/* A file of a time zone: whatever it holds, offsets stay within what the format allows, at any time. */
#include "common/base/time_zone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const int64_t times[] = {INT64_MIN, -5000000000, -1, 0, 1700000000, 4000000000, 4010000000, 4020000000, 99999999999, INT64_MAX};
	autozone struct time_zone *zone = time_zone_read(data, size);
	for (size_t i = 0; zone && i < array_len(times); i++) {
		int32_t offset = time_zone_offset(zone, times[i]);
		if (offset <= -26 * 3600 || offset >= 27 * 3600)
			abort();
	}
	return 0;
}
