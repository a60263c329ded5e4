/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/time_zone.h"

#include "common/base/cursor.h"
#include "common/base/file.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <time.h>

#define FOLDER "/usr/share/zoneinfo/"
#define MAX_FILE ((size_t)128 << 10)
#define MAX_NAME 100
#define MAX_TYPES 256
#define MAX_RULE 256
#define KEPT 16
#define DAY_S 86400
/* Offsets as the format allows them, from -25 to +26 hours. */
#define LEAST_OFFSET (-25 * 3600 + 1)
#define MOST_OFFSET (26 * 3600 - 1)

/* A day of each year and a time on it: Mm.w.d, Jn (the 29th of February is never counted) or n, with /time. */
struct edge {
	char form; /* 'M', 'J' or 'n' */
	int month, week, weekday, day;
	int64_t time; /* seconds from its midnight */
};

/* What holds behind the last change in the table, as POSIX's TZ has it: CET-1CEST,M3.5.0,M10.5.0/3 */
struct rule {
	bool is_set, has_summer;
	int64_t standard, summer;
	struct edge from, to; /* of summer */
};

struct time_zone {
	size_t refs;
	char *name;           /* of one that is kept */
	struct timespec when; /* its file was written */
	ino_t inode;
	struct rule rule;
	int32_t first; /* before times[0] */
	size_t count;
	int64_t *times; /* ascending */
	int32_t *offsets; /* from times[i] on */
};

/* ---- the rule ---- */

static const char *skip_name(const char *p)
{
	if (*p == '<') {
		const char *end = strchr(p, '>');
		return end ? end + 1 : NULL;
	}
	const char *start = p;
	while (isalpha((unsigned char)*p))
		p++;
	return p - start >= 3 ? p : NULL;
}

static const char *read_number(const char *p, int least, int most, int *ret)
{
	int value = 0;
	if (!isdigit((unsigned char)*p))
		return NULL;
	for (; isdigit((unsigned char)*p); p++)
		if ((value = value * 10 + (*p - '0')) > most)
			return NULL;
	*ret = value;
	return value < least ? NULL : p;
}

/* [+-]h[:mm[:ss]], up to a week of hours. */
static const char *read_time(const char *p, int64_t *ret)
{
	static const int most[] = {167, 59, 59};
	int sign = *p == '-' ? -1 : 1, units[3] = {0};
	p += *p == '-' || *p == '+';
	for (int i = 0; i < 3; i++) {
		if (!(p = read_number(p, 0, most[i], &units[i])))
			return NULL;
		if (*p != ':')
			break;
		p++;
	}
	*ret = sign * (units[0] * 3600 + units[1] * 60 + units[2]);
	return p;
}

static const char *read_edge(const char *p, struct edge *ret)
{
	*ret = (struct edge){.form = *p == 'M' || *p == 'J' ? *p : 'n', .time = 2 * 3600};
	if (ret->form == 'M') {
		p = read_number(p + 1, 1, 12, &ret->month);
		p = p && *p == '.' ? read_number(p + 1, 1, 5, &ret->week) : NULL;
		p = p && *p == '.' ? read_number(p + 1, 0, 6, &ret->weekday) : NULL;
	} else {
		bool julian = ret->form == 'J';
		p = read_number(p + julian, julian, 365, &ret->day);
	}
	return p && *p == '/' ? read_time(p + 1, &ret->time) : p;
}

static const char *read_offset(const char *p, int64_t *ret)
{
	if (!(p = read_time(p, ret)))
		return NULL;
	*ret = -*ret; /* POSIX counts to the west */
	return *ret >= LEAST_OFFSET && *ret <= MOST_OFFSET ? p : NULL;
}

static bool read_rule(const char *p, struct rule *ret)
{
	struct rule rule = {.is_set = true};
	if (!(p = skip_name(p)) || !(p = read_offset(p, &rule.standard)))
		return false;
	if (*p) {
		rule.has_summer = true;
		rule.summer = rule.standard + 3600;
		if (!(p = skip_name(p)) || (*p != ',' && !(p = read_offset(p, &rule.summer))))
			return false;
		if (*p != ',' || !(p = read_edge(p + 1, &rule.from)) || *p != ',' || !(p = read_edge(p + 1, &rule.to)) || *p)
			return false;
	}
	*ret = rule;
	return true;
}

static bool is_leap(int64_t year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* Days since 1970 of the first of January. */
static int64_t days_before(int64_t year)
{
	int64_t y = year - 1;
	return y * 365 + y / 4 - y / 100 + y / 400 - 719162;
}

/* Seconds from the year's start, in local time. */
static int64_t edge_in(const struct edge *edge, int64_t year)
{
	static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	if (edge->form != 'M')
		return (edge->form == 'J' ? edge->day - 1 + (is_leap(year) && edge->day >= 60) : edge->day) * (int64_t)DAY_S + edge->time;
	int64_t day = 0;
	for (int m = 1; m < edge->month; m++)
		day += lengths[m - 1] + (m == 2 && is_leap(year));
	int length = lengths[edge->month - 1] + (edge->month == 2 && is_leap(year));
	/* The first of January 1970 was a Thursday. */
	int64_t first = ((days_before(year) + day + 4) % 7 + 7) % 7;
	int64_t in_month = (edge->weekday - first + 7) % 7 + (edge->week - 1) * 7;
	while (in_month >= length)
		in_month -= 7;
	return (day + in_month) * DAY_S + edge->time;
}

static int64_t rule_offset(const struct rule *rule, int64_t utc)
{
	time_t local;
	struct tm tm;
	if (!rule->has_summer || __builtin_add_overflow(utc, rule->standard, &local) || !gmtime_r(&local, &tm))
		return rule->standard;
	int64_t year = tm.tm_year + 1900LL, start = days_before(year) * DAY_S;
	int64_t from = start + edge_in(&rule->from, year) - rule->standard, to = start + edge_in(&rule->to, year) - rule->summer;
	bool is_summer = from < to ? utc >= from && utc < to : utc >= from || utc < to;
	return is_summer ? rule->summer : rule->standard;
}

/* ---- the file ---- */

struct header {
	uint8_t version;
	uint32_t utc, standard, leaps, times, types, chars;
};

static bool read_header(struct cursor *c, struct header *h)
{
	const uint8_t *magic = cursor_take(c, 4);
	h->version = cursor_u8(c);
	cursor_take(c, 15);
	uint32_t *const all[] = {&h->utc, &h->standard, &h->leaps, &h->times, &h->types, &h->chars};
	for (size_t i = 0; i < array_len(all); i++)
		if ((*all[i] = cursor_be32(c)) >= MAX_FILE)
			return false;
	return !c->failed && memcmp(magic, "TZif", 4) == 0 && h->types && h->types <= MAX_TYPES;
}

static int64_t read_moment(struct cursor *c, bool wide)
{
	uint64_t high = wide ? (uint64_t)cursor_be32(c) << 32 : 0;
	uint32_t low = cursor_be32(c);
	return wide ? (int64_t)(high | low) : (int32_t)low;
}

static bool read_table(struct cursor *c, const struct header *h, bool wide, struct time_zone *zone)
{
	int32_t offsets[MAX_TYPES];
	if (cursor_left(c) < (size_t)h->times * (wide ? 9 : 5))
		return false;
	zone->count = h->times;
	zone->times = xcalloc(h->times, sizeof(*zone->times));
	zone->offsets = xcalloc(h->times, sizeof(*zone->offsets));
	for (uint32_t i = 0; i < h->times; i++)
		zone->times[i] = read_moment(c, wide);
	const uint8_t *types = cursor_take(c, h->times);
	for (uint32_t i = 0; i < h->types; i++) {
		offsets[i] = (int32_t)cursor_be32(c);
		cursor_take(c, 2);
		if (offsets[i] < LEAST_OFFSET || offsets[i] > MOST_OFFSET)
			return false;
	}
	cursor_take(c, (size_t)h->chars + (size_t)h->leaps * (wide ? 12 : 8) + h->standard + h->utc);
	if (c->failed)
		return false;
	zone->first = offsets[0];
	for (uint32_t i = 0; i < h->times; i++) {
		if (types[i] >= h->types || (i && zone->times[i] <= zone->times[i - 1]))
			return false;
		zone->offsets[i] = offsets[types[i]];
	}
	return true;
}

/* "\nRULE\n"; an empty one says nothing. */
static bool read_footer(struct cursor *c, struct time_zone *zone)
{
	size_t left = cursor_left(c);
	const char *footer = (const char *)cursor_take(c, left), *end = left > 1 ? memchr(footer + 1, '\n', left - 1) : NULL;
	if (!end || *footer != '\n' || end - footer > MAX_RULE || memchr(footer, '\0', (size_t)(end - footer)))
		return false;
	autofree char *rule = xstrndup(footer + 1, (size_t)(end - footer - 1));
	return !*rule || read_rule(rule, &zone->rule);
}

static bool read_file(const void *data, size_t len, struct time_zone *zone)
{
	struct cursor c = cursor_of(data, len);
	struct header h;
	if (!read_header(&c, &h))
		return false;
	if (h.version < '2')
		return read_table(&c, &h, false, zone);
	/* The block with times of 32 bits stands first, for old readers. */
	cursor_take(&c, (size_t)h.times * 5 + (size_t)h.types * 6 + h.chars + (size_t)h.leaps * 8 + h.standard + h.utc);
	return read_header(&c, &h) && read_table(&c, &h, true, zone) && read_footer(&c, zone);
}

static void zone_free(struct time_zone *zone)
{
	free(zone->name);
	free(zone->times);
	free(zone->offsets);
	free(zone);
}

static struct time_zone *zone_new(void)
{
	struct time_zone *zone = xnew(struct time_zone);
	zone->refs = 1;
	return zone;
}

struct time_zone *time_zone_read(const void *data, size_t len)
{
	struct time_zone *zone = zone_new();
	if (read_file(data, len, zone))
		return zone;
	zone_free(zone);
	return NULL;
}

static struct time_zone *zone_ref(struct time_zone *zone)
{
	__atomic_add_fetch(&zone->refs, 1, __ATOMIC_RELAXED);
	return zone;
}

void time_zone_unref(struct time_zone *zone)
{
	if (zone && __atomic_sub_fetch(&zone->refs, 1, __ATOMIC_ACQ_REL) == 0)
		zone_free(zone);
}

void cleanup_time_zone_unref(struct time_zone **zone)
{
	time_zone_unref(*zone);
}

int32_t time_zone_offset(const struct time_zone *zone, int64_t utc)
{
	size_t low = 0, high = zone->count;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (zone->times[mid] <= utc)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == zone->count && zone->rule.is_set)
		return (int32_t)rule_offset(&zone->rule, utc);
	return low ? zone->offsets[low - 1] : zone->first;
}

/* ---- by name ---- */

/* Those loaded last, the latest first. */
static struct {
	pthread_mutex_t lock;
	struct time_zone *zones[KEPT];
} kept = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void put_first(size_t i, struct time_zone *zone)
{
	memmove(kept.zones + 1, kept.zones, i * sizeof(*kept.zones));
	kept.zones[0] = zone;
}

static struct time_zone *find_kept(const char *name, const struct stat *file)
{
	struct time_zone *found = NULL;
	pthread_mutex_lock(&kept.lock);
	for (size_t i = 0; i < KEPT && !found; i++) {
		struct time_zone *zone = kept.zones[i];
		if (!zone || !str_equal(zone->name, name) || zone->inode != file->st_ino || zone->when.tv_sec != file->st_mtim.tv_sec || zone->when.tv_nsec != file->st_mtim.tv_nsec)
			continue;
		put_first(i, zone);
		found = zone_ref(zone);
	}
	pthread_mutex_unlock(&kept.lock);
	return found;
}

static void keep(struct time_zone *zone)
{
	pthread_mutex_lock(&kept.lock);
	size_t i = 0;
	while (i < KEPT - 1 && kept.zones[i] && !str_equal(kept.zones[i]->name, zone->name))
		i++;
	struct time_zone *old = kept.zones[i];
	put_first(i, zone_ref(zone));
	pthread_mutex_unlock(&kept.lock);
	time_zone_unref(old);
}

static bool is_zone_name(const char *name)
{
	if (!isalpha((unsigned char)*name) || strlen(name) > MAX_NAME || strstr(name, ".."))
		return false;
	for (const char *p = name; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("_+-/.", *p))
			return false;
	return true;
}

static struct time_zone *load(const char *name)
{
	struct stat file;
	autofree char *path = xprintf(FOLDER "%s", name), *data = NULL;
	size_t len;
	if (stat(path, &file) < 0 || !S_ISREG(file.st_mode))
		return NULL;
	struct time_zone *zone = find_kept(name, &file);
	if (zone || file_read(AT_FDCWD, path, MAX_FILE, &data, &len, NULL) < 0 || !(zone = time_zone_read(data, len)))
		return zone;
	zone->name = xstrdup(name);
	zone->inode = file.st_ino;
	zone->when = file.st_mtim;
	keep(zone);
	return zone;
}

int time_zone_load(const char *name, struct time_zone **ret_zone, struct error *err)
{
	bool is_utc = str_empty(name) || str_equal(name, "UTC") || str_equal(name, "Etc/UTC");
	struct time_zone *zone = is_utc ? zone_new() : is_zone_name(name) ? load(name) : NULL;
	if (!zone)
		return error_set(err, ENOENT, "unknown time zone %s", name);
	*ret_zone = zone;
	return 0;
}
