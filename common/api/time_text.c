/* SPDX-License-Identifier: Apache-2.0 */
/* Why a text is no Time or MicroTime, told element by element of the layout, as Go's time package does. */
#include "common/api/json_reader.h"

static const struct element {
	const char *layout; /* digits as many as these, or these characters themselves */
	int min, max;       /* 0: any number */
	const char *what;
} elements[] = {
	{"2006", 0, 0, NULL}, {"-", 0, 0, NULL}, {"01", 1, 12, "month"}, {"-", 0, 0, NULL}, {"02", 0, 0, NULL}, {"T", 0, 0, NULL},
	{"15", 0, 23, "hour"}, {":", 0, 0, NULL}, {"04", 0, 59, "minute"}, {":", 0, 0, NULL}, {"05", 0, 59, "second"},
};

static bool is_digit(char c) {
	return c >= '0' && c <= '9';
}

static size_t digits_at(const char *p, const char *end) {
	size_t n = 0;
	while (p + n < end && is_digit(p[n]))
		n++;
	return n;
}

#define SHOWN(p, end) (int)min_of((size_t)((end) - (p)), (size_t)64), (p)

static void cannot(const char *text, const char *end, const char *layout, const char *at, const char *element, struct buf *out) {
	buf_printf(out, "parsing time \"%.*s\" as \"%s\": cannot parse \"%.*s\" as \"%s\"", SHOWN(text, end), layout, SHOWN(at, end), element);
}

/* Where the zone begins; NULL where something before it is wrong and told. */
static const char *explain_clock(const char *text, const char *end, const char *layout, struct buf *out) {
	const char *p = text;
	for (size_t i = 0; i < array_len(elements); i++) {
		const struct element *e = &elements[i];
		size_t len = strlen(e->layout);
		bool number = is_digit(e->layout[0]);
		if ((size_t)(end - p) < len || (number ? digits_at(p, p + len) < len : memcmp(p, e->layout, len) != 0)) {
			cannot(text, end, layout, p, e->layout, out);
			return NULL;
		}
		int value = number && len == 2 ? (p[0] - '0') * 10 + p[1] - '0' : 0;
		if (e->what && (value < e->min || value > e->max)) {
			buf_printf(out, "parsing time \"%.*s\": %s out of range", SHOWN(text, end), e->what);
			return NULL;
		}
		p += len;
	}
	return p;
}

bool time_text_is_micro(const char *text, size_t len) {
	return len > 26 && (text[19] == '.' || text[19] == ',') && digits_at(text + 20, text + len) == 6;
}

void time_text_explain(const char *text, size_t len, bool micro, struct buf *out) {
	const char *layout = micro ? "2006-01-02T15:04:05.000000Z07:00" : "2006-01-02T15:04:05Z07:00", *end = text + len;
	const char *p = explain_clock(text, end, layout, out);
	if (!p)
		return;
	bool fraction = p < end && (*p == '.' || *p == ',');
	size_t digits = fraction ? digits_at(p + 1, end) : 0;
	if (micro && digits < 6) {
		cannot(text, end, layout, p, ".000000", out);
		return;
	}
	p += micro ? 7 : digits ? digits + 1 : 0;
	size_t zone = p < end && *p == 'Z' ? 1 : end - p >= 6 && (*p == '+' || *p == '-') && digits_at(p + 1, end) == 2 && p[3] == ':' && digits_at(p + 4, p + 6) == 2 ? 6 : 0;
	if (!zone)
		cannot(text, end, layout, p, "Z07:00", out);
	else if (p + zone < end)
		buf_printf(out, "parsing time \"%.*s\": extra text: \"%.*s\"", SHOWN(text, end), SHOWN(p + zone, end));
	else
		buf_printf(out, "parsing time \"%.*s\": day out of range", SHOWN(text, end));
}
