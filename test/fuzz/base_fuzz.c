/* SPDX-License-Identifier: Apache-2.0 */
/* The parsers of common/base: times, durations, base64, varints, flags, JSON strings. What is accepted must survive a round trip. */
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/cursor.h"
#include "common/base/flags.h"
#include "common/base/random.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_ARGS 16

struct options {
	char *name;
	bool flag;
	int64_t count, wait;
	struct flag_list items, labels;
};
static const struct flag rows[] = {
	{.name = "name", .shorthand = 'n', .kind = FLAG_STRING, .offset = offsetof(struct options, name)},
	{.name = "flag", .shorthand = 'f', .kind = FLAG_BOOL, .offset = offsetof(struct options, flag)},
	{.name = "count", .shorthand = 'c', .kind = FLAG_INT, .offset = offsetof(struct options, count), .min = -5, .max = 100},
	{.name = "wait", .kind = FLAG_DURATION, .offset = offsetof(struct options, wait)},
	{.name = "items", .kind = FLAG_STRING_LIST, .offset = offsetof(struct options, items)},
	{.name = "labels", .kind = FLAG_STRING_MAP, .offset = offsetof(struct options, labels)},
};

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void try_time(const char *s, size_t len)
{
	struct wall_time t, again;
	char text[40];
	if (time_parse_rfc3339(s, len, &t) < 0)
		return;
	must(t.nsec >= 0 && t.nsec < NSEC_PER_SEC);
	time_format_rfc3339_nano(t, text);
	/* An offset may carry the time out of the years 0 to 9999, where formatting caps it. */
	if (time_parse_rfc3339(text, strlen(text), &again) == 0 && t.sec > -62167219200 && t.sec < 253402300799)
		must(again.sec == t.sec && again.nsec == t.nsec);
}

static void try_duration(const char *s, size_t len)
{
	int64_t ns, again;
	char text[40];
	if (duration_parse(s, len, &ns) < 0)
		return;
	duration_format(ns, text);
	must(duration_parse(text, strlen(text), &again) == 0 && again == ns);
	duration_format_human(ns / NSEC_PER_SEC, text);
}

static void try_base64(const char *s, size_t len)
{
	autofree uint8_t *bytes = NULL, *second = NULL;
	size_t n, m;
	if (base64_decode(s, len, 1 << 16, &bytes, &n) < 0)
		return;
	autofree char *url = base64url_encode(bytes, n);
	must(base64_decode(url, strlen(url), 1 << 16, &second, &m) == 0 && m == n && memcmp(bytes, second, n) == 0);
}

static void try_cursor(const uint8_t *data, size_t len)
{
	struct cursor c = cursor_of(data, len);
	while (!c.failed && cursor_left(&c)) {
		uint64_t n = cursor_varint(&c);
		if (n % 3 == 0)
			cursor_take(&c, n);
		else if (n % 3 == 1)
			cursor_le64(&c);
		else
			cursor_be16(&c);
	}
	must(c.pos <= c.end);
}

static void try_flags(const char *s, size_t len)
{
	autofree char *copy = xstrndup(s, len);
	char program[] = "p";
	char *argv[MAX_ARGS] = {program}, *save = NULL;
	int argc = 1;
	for (char *word = strtok_r(copy, " \n", &save); word && argc < MAX_ARGS; word = strtok_r(NULL, " \n", &save))
		argv[argc++] = word;
	struct options o = {0};
	struct flag_list args = {0};
	flags_parse(rows, array_len(rows), argc, argv, &o, &args, NULL);
	flags_given(rows, array_len(rows), argc, argv, "items");
	must(o.count >= -5 && o.count <= 100);
	flags_done(rows, array_len(rows), &o);
	flag_list_done(&args);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	try_time(text, size);
	try_duration(text, size);
	try_base64(text, size);
	try_cursor(data, size);
	try_flags(text, size);
	autobuf struct buf out = BUF_INIT(1 << 20);
	buf_append_json_string(&out, text, size);
	return 0;
}
