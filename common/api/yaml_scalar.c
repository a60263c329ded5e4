/* SPDX-License-Identifier: Apache-2.0 */
#include "common/api/yaml_scalar.h"

#include "common/api/codec.h"

#include <ctype.h>
#include <errno.h>

static const struct {
	const char *text;
	enum yaml_meaning meaning;
} words[] = {
	{"", YAML_NULL}, {"~", YAML_NULL}, {"null", YAML_NULL}, {"Null", YAML_NULL}, {"NULL", YAML_NULL},
	{"y", YAML_TRUE}, {"Y", YAML_TRUE}, {"yes", YAML_TRUE}, {"Yes", YAML_TRUE}, {"YES", YAML_TRUE},
	{"true", YAML_TRUE}, {"True", YAML_TRUE}, {"TRUE", YAML_TRUE}, {"on", YAML_TRUE}, {"On", YAML_TRUE}, {"ON", YAML_TRUE},
	{"n", YAML_FALSE}, {"N", YAML_FALSE}, {"no", YAML_FALSE}, {"No", YAML_FALSE}, {"NO", YAML_FALSE},
	{"false", YAML_FALSE}, {"False", YAML_FALSE}, {"FALSE", YAML_FALSE}, {"off", YAML_FALSE}, {"Off", YAML_FALSE}, {"OFF", YAML_FALSE},
	{".nan", YAML_NO_NUMBER}, {".NaN", YAML_NO_NUMBER}, {".NAN", YAML_NO_NUMBER}, {".inf", YAML_NO_NUMBER}, {".Inf", YAML_NO_NUMBER},
	{".INF", YAML_NO_NUMBER}, {"+.inf", YAML_NO_NUMBER}, {"+.Inf", YAML_NO_NUMBER}, {"+.INF", YAML_NO_NUMBER}, {"-.inf", YAML_NO_NUMBER},
	{"-.Inf", YAML_NO_NUMBER}, {"-.INF", YAML_NO_NUMBER},
};

/* Digits of a base with its prefix: 0x1f, 0o17, 017, 0b11, 12. All of the text, no sign. */
static bool parse_digits(const char *s, uint64_t *ret) {
	unsigned base = 10;
	if (s[0] == '0' && s[1]) {
		char c = (char)tolower((unsigned char)s[1]);
		base = c == 'x' ? 16 : c == 'b' ? 2 : 8;
		s += c == 'x' || c == 'b' || c == 'o' ? 2 : 1;
	}
	uint64_t value = 0;
	if (!*s)
		return false;
	for (; *s; s++) {
		unsigned digit = isdigit((unsigned char)*s) ? (unsigned)(*s - '0') : isalpha((unsigned char)*s) ? (unsigned)(tolower((unsigned char)*s) - 'a' + 10) : 99;
		if (digit >= base || __builtin_mul_overflow(value, base, &value) || __builtin_add_overflow(value, digit, &value))
			return false;
	}
	*ret = value;
	return true;
}

/* [-+]?[0-9]*\.?[0-9]+([eE][-+][0-9]+)? */
static bool is_float(const char *s) {
	s += *s == '-' || *s == '+';
	size_t before = strspn(s, "0123456789"), after = 0;
	s += before;
	if (*s == '.') {
		s++;
		after = strspn(s, "0123456789");
		s += after;
		if (!after)
			return false;
	}
	if (!before && !after)
		return false;
	if (*s != 'e' && *s != 'E')
		return !*s;
	s++;
	if (*s != '-' && *s != '+')
		return false;
	s++;
	size_t exponent = strspn(s, "0123456789");
	return exponent && !s[exponent];
}

enum yaml_meaning yaml_scalar_meaning(const char *text, struct buf *json) {
	for (size_t i = 0; i < array_len(words); i++)
		if (!strcmp(words[i].text, text))
			return words[i].meaning;
	if (!isdigit((unsigned char)*text) && !strchr("+-.", *text))
		return YAML_TEXT;
	size_t len = strlen(text);
	if (len > 400)
		return YAML_TEXT;
	/* Underscores may group digits. */
	char plain[401];
	size_t n = 0;
	for (size_t i = 0; i < len; i++)
		if (text[i] != '_')
			plain[n++] = text[i];
	plain[n] = 0;
	bool negative = *plain == '-';
	uint64_t value;
	if (parse_digits(plain + (negative || *plain == '+'), &value) && (!negative || value <= (uint64_t)1 << 63)) {
		if (json) {
			if (negative && value)
				buf_append_char(json, '-');
			buf_append_uint(json, value);
		}
		return YAML_INTEGER;
	}
	if (!is_float(plain))
		return YAML_TEXT;
	if (json)
		api_append_double(json, strtod(plain, NULL));
	return YAML_FLOAT;
}
