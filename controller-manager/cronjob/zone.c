/* SPDX-License-Identifier: Apache-2.0 */
/* Reads TZif (RFC 8536): a zone's offsets over time, as the table of its file gives them (to 2037 in files that list their changes). */
#include "common/base/cursor.h"
#include "common/base/file.h"
#include "controller-manager/cronjob/cron.h"

#include <errno.h>
#include <fcntl.h>

#define ZONE_FOLDER "/usr/share/zoneinfo/"
#define MAX_ZONE_BYTES ((size_t)256 * 1024)

struct time_zone {
	size_t count;
	int64_t *times;   /* ascending */
	int32_t *offsets; /* from times[i] on */
	int32_t first;    /* before times[0] */
};

void time_zone_free(struct time_zone *zone)
{
	if (!zone)
		return;
	free(zone->times);
	free(zone->offsets);
	free(zone);
}

int32_t time_zone_offset(const struct time_zone *zone, int64_t utc)
{
	size_t low = 0, high = zone->count;
	while (low < high) {
		size_t mid = (low + high) / 2;
		if (zone->times[mid] <= utc)
			low = mid + 1;
		else
			high = mid;
	}
	return low ? zone->offsets[low - 1] : zone->first;
}

struct header {
	uint8_t version;
	uint32_t isut, isstd, leap, time, type, chars;
};

static bool read_header(struct cursor *c, struct header *h)
{
	const uint8_t *magic = cursor_take(c, 4);
	if (!magic || memcmp(magic, "TZif", 4) != 0)
		return false;
	h->version = cursor_u8(c);
	cursor_take(c, 15);
	h->isut = cursor_be32(c);
	h->isstd = cursor_be32(c);
	h->leap = cursor_be32(c);
	h->time = cursor_be32(c);
	h->type = cursor_be32(c);
	h->chars = cursor_be32(c);
	return !c->failed && h->time < 100000 && h->type <= 256 && h->chars < 10000 && h->leap < 10000;
}

static int64_t read_time(struct cursor *c, bool wide)
{
	int64_t high = wide ? (int64_t)(int32_t)cursor_be32(c) : 0;
	uint32_t low = cursor_be32(c);
	return wide ? (int64_t)((uint64_t)high << 32 | low) : (int32_t)low;
}

static bool read_body(struct cursor *c, const struct header *h, bool wide, struct time_zone *zone)
{
	uint8_t *types = xcalloc(h->time, 1);
	int32_t *offsets = xcalloc(h->type, sizeof(int32_t));
	zone->count = h->time;
	zone->times = xcalloc(h->time, sizeof(int64_t));
	zone->offsets = xcalloc(h->time, sizeof(int32_t));
	for (uint32_t i = 0; i < h->time; i++)
		zone->times[i] = read_time(c, wide);
	for (uint32_t i = 0; i < h->time; i++)
		types[i] = cursor_u8(c);
	for (uint32_t i = 0; i < h->type; i++) {
		offsets[i] = (int32_t)cursor_be32(c);
		cursor_take(c, 2);
	}
	zone->first = h->type ? offsets[0] : 0;
	bool ok = !c->failed && h->type;
	for (uint32_t i = 0; i < h->time && ok; i++) {
		ok = types[i] < h->type && (i == 0 || zone->times[i] > zone->times[i - 1]);
		zone->offsets[i] = ok ? offsets[types[i]] : 0;
	}
	free(types);
	free(offsets);
	return ok;
}

static bool parse_zone(const void *data, size_t len, struct time_zone *zone)
{
	struct cursor c = cursor_of(data, len);
	struct header h;
	if (!read_header(&c, &h))
		return false;
	bool wide = h.version >= '2';
	if (wide) {
		/* The 32-bit block stands first, for old readers. */
		cursor_take(&c, (size_t)h.time * 5 + (size_t)h.type * 6 + h.chars + (size_t)h.leap * 8 + h.isstd + h.isut);
		if (!read_header(&c, &h))
			return false;
	}
	return read_body(&c, &h, wide, zone);
}

static bool is_plain_name(const char *name)
{
	return name[0] != '/' && !strstr(name, "..") && strlen(name) < 256;
}

int time_zone_load(const char *name, struct time_zone **ret, struct error *err)
{
	struct time_zone *zone = xnew(struct time_zone);
	if (str_empty(name) || str_equal(name, "UTC") || str_equal(name, "Etc/UTC")) {
		*ret = zone;
		return 0;
	}
	autofree char *path = xprintf(ZONE_FOLDER "%s", name), *data = NULL;
	size_t len = 0;
	if (!is_plain_name(name) || file_read(AT_FDCWD, path, MAX_ZONE_BYTES, &data, &len, NULL) < 0 || !parse_zone(data, len, zone)) {
		time_zone_free(zone);
		return error_set(err, ENOENT, "unknown time zone %s", name);
	}
	*ret = zone;
	return 0;
}
