/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/resourcemetrics/exposition.h"

#include <ctype.h>
#include <errno.h>

/* One line, copied so that words can be ended in place. */
struct reader {
	char *pos;
};

static void skip_blanks(struct reader *r) {
	while (*r->pos == ' ' || *r->pos == '\t')
		r->pos++;
}

static bool is_name_char(char c, bool first) {
	return isalpha((unsigned char)c) || c == '_' || c == ':' || (!first && isdigit((unsigned char)c));
}

/* A name, and the character that ended it (which a NUL replaces). */
static bool take_name(struct reader *r, const char **ret, char *ret_end) {
	char *start = r->pos;
	while (is_name_char(*r->pos, r->pos == start))
		r->pos++;
	if (r->pos == start)
		return false;
	*ret = start;
	*ret_end = *r->pos;
	if (*r->pos)
		*r->pos++ = '\0';
	return true;
}

/* A quoted value; its escapes are undone in place. */
static bool take_quoted(struct reader *r, const char **ret) {
	if (*r->pos != '"')
		return false;
	char *to = ++r->pos;
	*ret = to;
	for (; *r->pos && *r->pos != '"'; r->pos++) {
		if (*r->pos == '\\') {
			r->pos++;
			if (!*r->pos)
				return false;
			*to++ = *r->pos == 'n' ? '\n' : *r->pos;
		} else {
			*to++ = *r->pos;
		}
	}
	if (*r->pos != '"')
		return false;
	r->pos++;
	*to = '\0';
	return true;
}

static bool take_labels(struct reader *r, struct exposition_sample *sample) {
	for (;;) {
		char end;
		skip_blanks(r);
		if (*r->pos == '}') {
			r->pos++;
			return true;
		}
		if (sample->label_count == EXPOSITION_MAX_LABELS)
			return false;
		struct exposition_label *label = &sample->labels[sample->label_count++];
		if (!take_name(r, &label->name, &end))
			return false;
		if (end == ' ' || end == '\t') {
			skip_blanks(r);
			end = *r->pos;
			if (end)
				r->pos++;
		}
		if (end != '=')
			return false;
		skip_blanks(r);
		if (!take_quoted(r, &label->value))
			return false;
		skip_blanks(r);
		if (*r->pos == ',')
			r->pos++;
		else if (*r->pos != '}')
			return false;
	}
}

static char *take_word(struct reader *r) {
	skip_blanks(r);
	char *start = r->pos;
	while (*r->pos && *r->pos != ' ' && *r->pos != '\t')
		r->pos++;
	if (*r->pos)
		*r->pos++ = '\0';
	return start;
}

static bool read_sample(struct reader *r, struct exposition_sample *sample) {
	char end, *rest;
	if (!take_name(r, &sample->name, &end))
		return false;
	if (end == ' ' || end == '\t') {
		skip_blanks(r);
		if (*r->pos == '{') {
			end = '{';
			r->pos++;
		}
	}
	if (end == '{') {
		if (!take_labels(r, sample))
			return false;
	} else if (end != ' ' && end != '\t') {
		return false;
	}
	const char *value = take_word(r), *time = take_word(r);
	if (!*value || *take_word(r))
		return false;
	sample->value = strtod(value, &rest);
	if (*rest)
		return false;
	sample->has_time = *time != '\0';
	return !sample->has_time || str_to_int64(time, INT64_MIN, INT64_MAX, &sample->time_ms);
}

const char *exposition_label(const struct exposition_sample *sample, const char *name) {
	for (size_t i = 0; i < sample->label_count; i++)
		if (strcmp(sample->labels[i].name, name) == 0)
			return sample->labels[i].value;
	return NULL;
}

size_t exposition_read(const char *text, size_t len, void (*fn)(const struct exposition_sample *sample, void *arg), void *arg) {
	size_t bad = 0;
	autofree char *line = xmalloc(EXPOSITION_MAX_LINE + 1);
	for (const char *p = text, *end = text + len; p < end;) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));
		size_t n = newline ? (size_t)(newline - p) : (size_t)(end - p);
		const char *start = p;
		p += n + (newline != NULL);
		if (n && start[n - 1] == '\r')
			n--;
		if (n > EXPOSITION_MAX_LINE || memchr(start, '\0', n)) {
			bad++;
			continue;
		}
		memcpy(line, start, n);
		line[n] = '\0';
		struct reader reader = {line};
		struct exposition_sample sample = {0};
		skip_blanks(&reader);
		if (!*reader.pos || *reader.pos == '#')
			continue;
		if (read_sample(&reader, &sample))
			fn(&sample, arg);
		else
			bad++;
	}
	return bad;
}
