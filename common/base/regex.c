/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define MAX_PATTERN ((size_t)64 << 10)
#define MATCH_LIMIT 1000000u
#define HEAP_LIMIT_KIB 16384u

struct regex {
	pcre2_code *code;
	pcre2_match_context *context;
};

/*
 * What PCRE2 has beyond Go: after "(?" one of = ! < (unless a name follows) > | & R + - digits C; \\1 to \\9 and letters that Go gives no meaning; a repetition of a
 * repetition, which takes and gives nothing back.
 */
static const char *beyond_go(const char *p) {
	bool set = false, repeated = false;
	for (; *p; p++) {
		bool was = repeated;
		repeated = !set && strchr("*+?", *p);
		if (was && *p == '?')
			repeated = true;
		else if (was && repeated)
			return "invalid nested repetition operator";
		if (*p == '\\' && p[1]) {
			p++;
			if (!set && *p >= '1' && *p <= '9')
				return "invalid escape sequence";
			if (((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z')) && !strchr("aftnrvxAbBzdDsSwWpPQE", *p))
				return "invalid escape sequence";
		} else if (set && p[0] == '[' && p[1] == ':' && strstr(p, ":]")) {
			p = strstr(p, ":]") + 1;
		} else if (set) {
			set = *p != ']';
		} else if (*p == '[') {
			set = true;
			/* A bracket that comes first stands for itself. */
			p += p[1] == '^';
			p += p[1] == ']';
		} else if (p[0] == '(' && p[1] == '?') {
			bool name = p[2] == '<' && p[3] != '=' && p[3] != '!';
			if (p[2] && strchr("=!>|&R+#(C0123456789", p[2]))
				return "invalid or unsupported Perl syntax";
			if (p[2] == '<' && !name)
				return "invalid or unsupported Perl syntax";
			if (p[2] == 'P' && p[3] != '<')
				return "invalid or unsupported Perl syntax";
		} else if (p[0] == '(' && p[1] == '*') {
			return "missing argument to repetition operator";
		}
	}
	return NULL;
}

/* In Go's words where it has its own. */
static void explain(int number, PCRE2_UCHAR *text, size_t size) {
	static const struct {
		int number;
		const char *text;
	} rows[] = {
		{PCRE2_ERROR_MISSING_CLOSING_PARENTHESIS, "missing closing )"},
		{PCRE2_ERROR_MISSING_SQUARE_BRACKET, "missing closing ]"},
		{PCRE2_ERROR_UNMATCHED_CLOSING_PARENTHESIS, "unexpected )"},
		{PCRE2_ERROR_QUANTIFIER_INVALID, "missing argument to repetition operator"},
	};
	for (size_t i = 0; i < array_len(rows); i++)
		if (rows[i].number == number) {
			memcpy(text, rows[i].text, min_of(strlen(rows[i].text) + 1, size));
			return;
		}
	pcre2_get_error_message(number, text, size);
}

struct regex *regex_new(const char *pattern, char **ret_why) {
	size_t len = strlen(pattern);
	const char *why = len > MAX_PATTERN ? "expression is too large" : beyond_go(pattern);
	int number = 0;
	PCRE2_SIZE at = 0;
	pcre2_code *code = why ? NULL : pcre2_compile((PCRE2_SPTR)pattern, len, PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C, &number, &at, NULL);
	if (!code) {
		PCRE2_UCHAR text[256] = "";
		if (!why)
			explain(number, text, sizeof(text));
		if (ret_why)
			*ret_why = xstrdup(why ? why : (const char *)text);
		return NULL;
	}
	struct regex *regex = xnew(struct regex);
	regex->code = code;
	regex->context = pcre2_match_context_create(NULL);
	if (!regex->context)
		abort();
	pcre2_set_match_limit(regex->context, MATCH_LIMIT);
	pcre2_set_heap_limit(regex->context, HEAP_LIMIT_KIB);
	return regex;
}

void regex_free(struct regex *regex) {
	if (!regex)
		return;
	pcre2_code_free(regex->code);
	pcre2_match_context_free(regex->context);
	free(regex);
}

bool regex_search(const struct regex *regex, const char *s, size_t len) {
	size_t start, end;
	return regex_find(regex, s, len, 0, &start, &end);
}

bool regex_find(const struct regex *regex, const char *s, size_t len, size_t from, size_t *ret_start, size_t *ret_end) {
	pcre2_match_data *data = pcre2_match_data_create(1, NULL);
	if (!data)
		abort();
	int found = pcre2_match(regex->code, (PCRE2_SPTR)s, len, from, 0, data, regex->context);
	if (found >= 0) {
		const PCRE2_SIZE *span = pcre2_get_ovector_pointer(data);
		*ret_start = span[0];
		*ret_end = span[1];
	}
	pcre2_match_data_free(data);
	return found >= 0;
}
