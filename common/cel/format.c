/* SPDX-License-Identifier: Apache-2.0 */
/* string.format(): clauses %s %d %f %e %b %x %X %o, as an American writes numbers. Checked when compiling, where the format and its list are written out. */
#include "common/cel/internal.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>

#define MAX_PRECISION 100

struct clause {
	char letter;
	int precision; /* -1: none given */
};

static const char *go_type(const struct cel_type *type) {
	switch (type->kind) {
	case CEL_NULL:
		return "null_type";
	case CEL_TIMESTAMP:
		return "google.protobuf.Timestamp";
	case CEL_DURATION:
		return "google.protobuf.Duration";
	case CEL_LIST:
		return "list";
	case CEL_MAP:
		return "map";
	case CEL_TYPE:
		return "type";
	case CEL_OPTIONAL:
		return "optional_type";
	default:
		break;
	}
	return type->name ? type->name : type->kind == CEL_BOOL ? "bool" : type->kind == CEL_INT ? "int" : type->kind == CEL_UINT ? "uint" : type->kind == CEL_DOUBLE ? "double" : type->kind == CEL_STRING ? "string" : type->kind == CEL_BYTES ? "bytes" : "dyn";
}

/* Reads the clause at s, behind its percent sign; bytes read, 0 with *why (malloc) where it is none. */
static size_t read_clause(const char *s, size_t left, struct clause *ret, char **why) {
	size_t i = 0;
	*ret = (struct clause){.precision = -1};
	if (left && *s == '.') {
		for (i = 1, ret->precision = 0; i < left && isdigit((unsigned char)s[i]); i++)
			ret->precision = min_of(ret->precision * 10 + (s[i] - '0'), MAX_PRECISION + 1);
		if (i == left)
			*why = xstrdup("could not parse formatting clause: error while parsing precision: could not find end of precision specifier");
		else if (i == 1)
			*why = xstrdup("could not parse formatting clause: error while parsing precision: error while converting precision to integer: strconv.Atoi: parsing \"\": invalid syntax");
		else if (ret->precision > MAX_PRECISION)
			*why = xprintf("could not parse formatting clause: precision is larger than %d", MAX_PRECISION);
		if (*why)
			return 0;
	}
	if (i == left || !strchr("sdfebxXo", s[i])) {
		*why = xprintf("could not parse formatting clause: unrecognized formatting clause \"%c\"", i == left ? ' ' : s[i]);
		return 0;
	}
	ret->letter = s[i];
	return i + 1;
}

static const char *complaint(char letter) {
	switch (letter) {
	case 's':
		return "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps";
	case 'd':
		return "decimal clause can only be used on integers";
	case 'f':
		return "fixed-point clause can only be used on doubles";
	case 'e':
		return "scientific clause can only be used on doubles";
	case 'b':
		return "only integers and bools can be formatted as binary";
	case 'o':
		return "octal clause can only be used on integers";
	default:
		return "only integers, byte buffers, and strings can be formatted as hex";
	}
}

static bool takes(char letter, enum cel_kind kind) {
	bool whole = kind == CEL_INT || kind == CEL_UINT, text = kind == CEL_STRING;
	switch (letter) {
	case 's':
		return whole || text || kind == CEL_DOUBLE || kind == CEL_BOOL || kind == CEL_BYTES || kind == CEL_LIST || kind == CEL_MAP || kind == CEL_TIMESTAMP || kind == CEL_DURATION || kind == CEL_TYPE || kind == CEL_NULL;
	case 'd':
	case 'o':
		return whole;
	case 'f':
	case 'e':
		return kind == CEL_DOUBLE || text;
	case 'b':
		return whole || kind == CEL_BOOL;
	default:
		return whole || text || kind == CEL_BYTES;
	}
}

/* ---- values ---- */

static bool append_plain(struct cel_run *run, const struct cel_value *v, struct buf *out, unsigned depth, struct cel_value *error);

static bool append_item(struct cel_run *run, const struct cel_value *v, struct buf *out, unsigned depth, struct cel_value *error) {
	char text[64];
	switch (v->kind) {
	case CEL_STRING:
		append_go_quoted(out, v->s, v->len);
		return true;
	case CEL_BYTES:
		buf_append_char(out, 'b');
		append_go_quoted(out, v->s, v->len);
		return true;
	case CEL_TIMESTAMP:
	case CEL_DURATION:
		buf_append_str(out, v->kind == CEL_TIMESTAMP ? "timestamp(\"" : "duration(\"");
		append_plain(run, v, out, depth, error);
		buf_append_str(out, "\")");
		return true;
	case CEL_DOUBLE:
		if (isnan(v->d) || isinf(v->d)) {
			buf_printf(out, "\"%s\"", isnan(v->d) ? "NaN" : v->d < 0 ? "-Inf" : "+Inf");
			return true;
		}
		snprintf(text, sizeof(text), "%.6f", v->d);
		buf_append_str(out, fabs(v->d) < 1e40 ? text : "");
		if (fabs(v->d) >= 1e40)
			append_go_double(out, v->d, true);
		return true;
	default:
		return append_plain(run, v, out, depth, error);
	}
}

static int compare_text(const void *a, const void *b) {
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Entries in the order of their text. */
static bool append_map(struct cel_run *run, const struct cel_value *v, struct buf *out, unsigned depth, struct cel_value *error) {
	struct cel_value keys = map_keys(run, v->map), value;
	size_t len = keys.list->len;
	char **entries = run_alloc(run, (len + 1) * sizeof(*entries));
	if (!entries) {
		*error = exceeded(run);
		return false;
	}
	for (size_t i = 0; i < len; i++) {
		autobuf struct buf text = BUF_INIT(MAX_STRING);
		struct cel_value key = list_get(run, keys.list, i);
		map_find(run, v->map, &key, &value);
		if (!append_item(run, &key, &text, depth + 1, error))
			return false;
		buf_append_char(&text, ':');
		if (!append_item(run, &value, &text, depth + 1, error))
			return false;
		entries[i] = run_alloc(run, text.len + 1);
		if (!entries[i]) {
			*error = exceeded(run);
			return false;
		}
		memcpy(entries[i], text.data, text.len);
	}
	qsort(entries, len, sizeof(*entries), compare_text);
	buf_append_char(out, '{');
	for (size_t i = 0; i < len; i++)
		buf_printf(out, "%s%s", i ? ", " : "", entries[i]);
	buf_append_char(out, '}');
	return true;
}

static bool append_plain(struct cel_run *run, const struct cel_value *v, struct buf *out, unsigned depth, struct cel_value *error) {
	if (depth > 100 || buf_failed(out) || !run_goes_on(run)) {
		*error = exceeded(run);
		return false;
	}
	if (v->kind == CEL_LIST) {
		buf_append_char(out, '[');
		for (size_t i = 0; i < v->list->len; i++) {
			struct cel_value item = list_get(run, v->list, i);
			buf_append_str(out, i ? ", " : "");
			if (!append_item(run, &item, out, depth + 1, error))
				return false;
		}
		buf_append_char(out, ']');
		return true;
	}
	if (v->kind == CEL_MAP)
		return append_map(run, v, out, depth, error);
	if (v->kind == CEL_NULL) {
		buf_append_str(out, "null");
		return true;
	}
	if (!takes('s', v->kind)) {
		*error = cel_fail(run, "error during formatting: %s, was given %s", complaint('s'), go_type(value_type(v)));
		return false;
	}
	struct cel_value text = value_to_string(run, v);
	if (text.kind != CEL_STRING) {
		*error = text;
		return false;
	}
	buf_append(out, text.s, text.len);
	return true;
}

/* "1,234.50" */
static void append_fixed(struct buf *out, double d, int precision) {
	char text[512];
	snprintf(text, sizeof(text), "%.*f", precision, d);
	const char *digits = text + (*text == '-'), *dot = strchr(digits, '.');
	size_t whole = dot ? (size_t)(dot - digits) : strlen(digits);
	if (*text == '-')
		buf_append_char(out, '-');
	for (size_t i = 0; i < whole; i++) {
		if (i && (whole - i) % 3 == 0)
			buf_append_char(out, ',');
		buf_append_char(out, digits[i]);
	}
	buf_append_str(out, digits + whole);
}

/* "1.052033×10⁰³". What is given as precision is taken for a width, as Kubernetes does. */
static void append_scientific(struct buf *out, double d, int width) {
	static const char *const raised[] = {"\u2070", "\u00b9", "\u00b2", "\u00b3", "\u2074", "\u2075", "\u2076", "\u2077", "\u2078", "\u2079"};
	char text[512];
	snprintf(text, sizeof(text), "%.6e", d);
	const char *e = strchr(text, 'e');
	for (int shown = (int)(e - text) + 3 + (int)strlen(e + 1) - (e[1] == '+'); shown < width; shown++)
		buf_append_char(out, ' ');
	buf_append(out, text, (size_t)(e - text));
	buf_append_str(out, "\u00d710");
	if (e[1] == '-')
		buf_append_str(out, "\u207b");
	for (const char *p = e + 2; *p; p++)
		buf_append_str(out, raised[*p - '0']);
}

static void append_double(struct buf *out, const struct cel_value *v, const struct clause *clause) {
	double d = v->d;
	int precision = clause->precision < 0 ? 6 : clause->precision;
	if (v->kind == CEL_STRING)
		parse_go_double(v->s, v->len, &d);
	if (isnan(d) || isinf(d))
		buf_append_str(out, isnan(d) ? "NaN" : d < 0 ? "-\u221e" : "\u221e");
	else if (clause->letter == 'f')
		append_fixed(out, d, precision);
	else
		append_scientific(out, d, precision);
}

/* Digits in base 2, 8 or 16. */
static void append_based(struct buf *out, const struct cel_value *v, unsigned shift, bool upper) {
	char text[72], *p = text + sizeof(text);
	bool negative = v->kind == CEL_INT && v->i < 0;
	uint64_t u = v->kind == CEL_BOOL ? v->b : negative ? -(uint64_t)v->i : v->u;
	*--p = '\0';
	do {
		*--p = (upper ? "0123456789ABCDEF" : "0123456789abcdef")[u & ((1u << shift) - 1)];
		u >>= shift;
	} while (u);
	if (negative)
		*--p = '-';
	buf_append_str(out, p);
}

static bool append_clause(struct cel_run *run, const struct clause *clause, const struct cel_value *v, struct buf *out, struct cel_value *error) {
	bool number_word = v->kind == CEL_STRING && ((v->len == 3 && memcmp(v->s, "NaN", 3) == 0) || (v->len == 8 && memcmp(v->s, "Infinity", 8) == 0) || (v->len == 9 && memcmp(v->s, "-Infinity", 9) == 0));
	bool wrong = !takes(clause->letter, v->kind) || (strchr("fe", clause->letter) && v->kind == CEL_STRING && !number_word);
	if (wrong) {
		*error = cel_fail(run, "error during formatting: %s, was given %s", complaint(clause->letter), go_type(value_type(v)));
		return false;
	}
	switch (clause->letter) {
	case 's':
		return append_plain(run, v, out, 0, error);
	case 'd':
		if (v->kind == CEL_INT)
			buf_append_int(out, v->i);
		else
			buf_append_uint(out, v->u);
		return true;
	case 'f':
	case 'e':
		append_double(out, v, clause);
		return true;
	case 'b':
		append_based(out, v, 1, false);
		return true;
	case 'o':
		append_based(out, v, 3, false);
		return true;
	default:
		if (v->kind == CEL_STRING || v->kind == CEL_BYTES)
			for (size_t i = 0; i < v->len; i++)
				buf_printf(out, clause->letter == 'x' ? "%02x" : "%02X", (unsigned char)v->s[i]);
		else
			append_based(out, v, 4, clause->letter == 'X');
		return true;
	}
}

struct cel_value format_string(struct cel_run *run, const struct cel_value *args, unsigned count) {
	const struct cel_value *format = &args[0];
	const struct cel_list *list = args[1].list;
	autobuf struct buf out = BUF_INIT(MAX_STRING);
	size_t used = 0;
	for (size_t i = 0; i < format->len;) {
		if (format->s[i] != '%') {
			buf_append_char(&out, format->s[i++]);
			continue;
		}
		if (++i == format->len)
			return cel_fail(run, "unexpected end of string");
		if (format->s[i] == '%') {
			buf_append_char(&out, '%');
			i++;
			continue;
		}
		autofree char *why = NULL;
		struct clause clause;
		struct cel_value error;
		if (used >= list->len)
			return cel_fail(run, "index %zu out of range", used);
		size_t n = read_clause(format->s + i, format->len - i, &clause, &why);
		if (!n)
			return cel_fail(run, "%s", why);
		struct cel_value arg = list_get(run, list, used++);
		if (!append_clause(run, &clause, &arg, &out, &error))
			return error;
		i += n;
	}
	return buf_failed(&out) ? exceeded(run) : cel_from_string(run, out.data ? out.data : "", out.len);
}

/* ---- when compiling ---- */

/* The first of what is in an argument that %s cannot show. */
static const struct node *not_shown(const struct node *node) {
	if (node->type->kind != CEL_DYN && !takes('s', node->type->kind))
		return node;
	const struct node *bad = NULL;
	for (uint32_t i = 0; node->kind == NODE_LIST && i < node->list.count && !bad; i++)
		bad = not_shown(node->list.items[i]);
	for (uint32_t i = 0; node->kind == NODE_MAP && i < node->map.count && !bad; i++) {
		bad = not_shown(node->map.items[i].key);
		if (!bad)
			bad = not_shown(node->map.items[i].value);
	}
	return bad;
}

void format_check_call(struct source *source, const struct node *call) {
	const struct cel_value *format = &call->call.args[0]->literal;
	const struct node *list = call->call.args[1];
	uint32_t used = 0;
	for (size_t i = 0; i < format->len;) {
		if (format->s[i++] != '%')
			continue;
		if (i == format->len) {
			issue_add(source, call->at, "unexpected end of string");
			return;
		}
		if (format->s[i] == '%') {
			i++;
			continue;
		}
		autofree char *why = NULL;
		struct clause clause;
		if (used >= list->list.count) {
			issue_add(source, call->at, "index %u out of range", used);
			return;
		}
		size_t n = read_clause(format->s + i, format->len - i, &clause, &why);
		if (!n) {
			issue_add(source, call->at, "%s", why);
			return;
		}
		const struct node *arg = list->list.items[used++];
		const struct node *bad = clause.letter == 's' ? not_shown(arg) : arg->type->kind != CEL_DYN && !takes(clause.letter, arg->type->kind) ? arg : NULL;
		if (bad) {
			issue_add(source, bad->at, "error during formatting: %s, was given %s", complaint(clause.letter), go_type(bad->type));
			return;
		}
		i += n;
	}
	if (list->list.count > used)
		issue_add(source, call->at, "too many arguments supplied to string.format (expected %u, got %u)", used, list->list.count);
}
