/* SPDX-License-Identifier: Apache-2.0 */
/* The syntax of JSONPath templates, as kubectl reads them: text with {actions} in it. Only whether one can be read is told. */
#include "apiserver/validation/validation.h"

#include <ctype.h>

#define MAX_NESTING 32 /* of filters, unions and quoted keys in each other */

struct reader {
	const char *p, *end;
	const char *wrong; /* NULL: nothing yet */
	unsigned depth;
};

static void read_actions(const char *text, size_t len, const char *around, unsigned depth, const char **wrong);

static bool fails(struct reader *r, const char *wrong) {
	r->wrong = wrong;
	return false;
}

static bool ends_name(char c) {
	return !c || strchr(" \t\r\n.,[]$@{}", c);
}

static bool in_name(char c) {
	return c == '_' || isalnum((unsigned char)c) || (unsigned char)c >= 0x80;
}

static char peek(const struct reader *r) {
	return r->p < r->end ? *r->p : '\0';
}

static bool starts(const struct reader *r, const char *with) {
	size_t len = strlen(with);
	return (size_t)(r->end - r->p) >= len && memcmp(r->p, with, len) == 0;
}

/* A part of the text, read as an action of its own. */
static bool read_inner(struct reader *r, const char *text, size_t len, const char *around) {
	read_actions(text, len, around, r->depth + 1, &r->wrong);
	return !r->wrong;
}

/* -?[0-9]*, as an index; a sign alone is none. */
static bool skip_index(const char **p, const char *end) {
	const char *from = *p;
	if (*p < end && **p == '-')
		++*p;
	const char *digits = *p;
	while (*p < end && isdigit((unsigned char)**p))
		++*p;
	return (*p > digits && *p - digits < 19) || *p == from;
}

static bool read_index(struct reader *r, const char *text, size_t len) {
	const char *p = text, *end = text + len;
	if (!skip_index(&p, end))
		return fails(r, "an array index is not a number");
	for (unsigned i = 0; i < 2 && p < end && *p == ':'; i++) {
		p++;
		if (!skip_index(&p, end))
			return fails(r, "an array index is not a number");
	}
	return p == end || fails(r, "invalid array index");
}

/* What stands between [ and ]. */
static bool read_choice(struct reader *r, const char *text, size_t len) {
	if (memchr(text, ',', len)) {
		for (const char *p = text, *end = text + len, *next; p <= end; p = next + 1) {
			next = memchr(p, ',', (size_t)(end - p));
			next = next ? next : end;
			const char *from = p, *to = next;
			while (from < to && *from == ' ')
				from++;
			while (to > from && to[-1] == ' ')
				to--;
			if (!read_inner(r, from, (size_t)(to - from), "[]"))
				return false;
		}
		return true;
	}
	if (len == 1 && *text == '*')
		return true;
	if (len >= 2 && *text == '\'' && text[len - 1] == '\'' && !memchr(text + 1, '\'', len - 2))
		return read_inner(r, text + 1, len - 2, ".");
	return read_index(r, text, len);
}

static bool read_array(struct reader *r) {
	const char *from = ++r->p;
	while (peek(r) != ']') {
		if (r->p == r->end || *r->p == '\n')
			return fails(r, "unterminated array");
		r->p++;
	}
	return read_choice(r, from, (size_t)(r->p++ - from));
}

/* [?(left op right)] or [?(there)] */
static bool read_filter(struct reader *r) {
	const char *from = r->p += strlen("[?(");
	char pair = 0;
	bool closed = false;
	for (; peek(r) != ')' || (pair && !closed); r->p++) {
		char c = peek(r);
		if (r->p == r->end || c == '\n')
			return fails(r, "unterminated filter");
		if ((c == '"' || c == '\'') && !pair)
			pair = c;
		else if (c == pair && pair && r->p[-1] != '\\')
			closed = true;
	}
	size_t len = (size_t)(r->p++ - from);
	if (peek(r) != ']')
		return fails(r, "unclosed array expect ]");
	r->p++;
	static const char operators[] = "!<>=";
	size_t left = 0, op;
	while (left < len && !strchr(operators, from[left]))
		left++;
	for (op = left; op < len && strchr(operators, from[op]);)
		op++;
	if (!left || op == left || op == len)
		return read_inner(r, from, len, "");
	return read_inner(r, from, left, "") && read_inner(r, from + op, len - op, "");
}

static bool read_quote(struct reader *r) {
	char quote = *r->p++;
	for (; peek(r) != quote; r->p++) {
		if (r->p == r->end || *r->p == '\n')
			return fails(r, "unterminated quoted string");
		if (*r->p != '\\')
			continue;
		if (++r->p == r->end)
			return fails(r, "unterminated quoted string");
		if (*r->p != quote && !strchr("abfnrtv\\xuU01234567", *r->p))
			return fails(r, "a string cannot be unquoted");
	}
	r->p++;
	return true;
}

static bool read_number(struct reader *r) {
	unsigned dots = 0, digits = 0;
	if (*r->p == '+' || *r->p == '-')
		r->p++;
	for (; isdigit((unsigned char)peek(r)) || peek(r) == '.'; r->p++)
		*(*r->p == '.' ? &dots : &digits) += 1;
	return (digits && dots <= 1) || fails(r, "cannot parse number");
}

static void read_field(struct reader *r) {
	while (!ends_name(peek(r)))
		r->p += *r->p == '\\' && r->p + 1 < r->end ? 2 : 1;
}

/* From behind { to behind }. */
static bool read_action(struct reader *r) {
	bool deep = false; /* behind .. */
	while (peek(r) != '}') {
		char c = peek(r);
		bool again = deep;
		deep = false;
		if (starts(r, "[?(")) {
			if (!read_filter(r))
				return false;
		} else if (starts(r, "..")) {
			if (again)
				return fails(r, "invalid multiple recursive descent");
			r->p += 2;
			deep = true;
			if (in_name(peek(r))) {
				read_field(r);
				deep = false;
			}
		} else if (r->p == r->end || c == '\r' || c == '\n') {
			return fails(r, "unclosed action");
		} else if (c == ' ' || c == '@' || c == '$') {
			r->p++;
			deep = again;
		} else if (c == '[') {
			if (!read_array(r))
				return false;
		} else if (c == '"' || c == '\'') {
			if (!read_quote(r))
				return false;
		} else if (c == '.') {
			r->p++;
			read_field(r);
		} else if (c == '+' || c == '-' || isdigit((unsigned char)c)) {
			if (!read_number(r))
				return false;
		} else if (in_name(c)) {
			while (!ends_name(peek(r)))
				r->p++;
		} else {
			return fails(r, "unrecognized character in action");
		}
	}
	r->p++;
	return true;
}

/* Of `around` the first character goes before the text and the second behind it. */
static void read_actions(const char *text, size_t len, const char *around, unsigned depth, const char **wrong) {
	if (depth > MAX_NESTING) {
		*wrong = "nested too deeply";
		return;
	}
	autofree char *copy = xprintf("{%.1s%.*s%s}", around, (int)len, text, *around ? around + 1 : "");
	struct reader r = {.p = copy, .end = copy + strlen(copy), .depth = depth};
	while (r.p < r.end) {
		const char *open = memchr(r.p, '{', (size_t)(r.end - r.p));
		if (!open)
			break;
		r.p = open + 1;
		if (!read_action(&r))
			break;
	}
	*wrong = r.wrong;
}

const char *jsonpath_error(const char *text) {
	const char *wrong = NULL;
	size_t len = strlen(text);
	if (len > MAX_JSONPATH)
		return "too long";
	read_actions(text, len, "", 0, &wrong);
	return wrong;
}
