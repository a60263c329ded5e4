/* SPDX-License-Identifier: Apache-2.0 */
/* Label and field selectors. Both become a list of requirements that must all hold. */
#include "common/api/selector.h"

#include "api/meta_v1.h"

#include <ctype.h>
#include <errno.h>

enum operator { OP_IN, OP_NOT_IN, OP_EXISTS, OP_ABSENT, OP_GREATER, OP_LESS };

struct requirement {
	char *key;
	enum operator op;
	char **values;
	size_t value_count;
	int64_t bound; /* of OP_GREATER and OP_LESS */
};
struct selector {
	struct requirement *items;
	size_t len;
	bool nothing;
	bool fields; /* an absent value is "" */
};

#define MAX_REQUIREMENTS 4096
#define MAX_TEXT (1u << 20)

static struct requirement *add_requirement(struct selector *s, const char *key, enum operator op) {
	s->items = xreallocarray(s->items, s->len + 1, sizeof(*s->items));
	s->items[s->len] = (struct requirement){.key = xstrdup(key), .op = op};
	return &s->items[s->len++];
}

static void add_value(struct requirement *r, const char *value, size_t len) {
	r->values = xreallocarray(r->values, r->value_count + 1, sizeof(*r->values));
	r->values[r->value_count++] = xstrndup(value, len);
}

void selector_free(struct selector *s) {
	if (!s)
		return;
	for (size_t i = 0; i < s->len; i++) {
		for (size_t v = 0; v < s->items[i].value_count; v++)
			free(s->items[i].values[v]);
		free(s->items[i].values);
		free(s->items[i].key);
	}
	free(s->items);
	free(s);
}

static void cleanup_selector(struct selector **s) {
	selector_free(*s);
}

/* ---- form of keys and values ---- */

static bool is_qualified(const char *s, size_t len, size_t max) {
	if (!len || len > max || !isalnum((unsigned char)s[0]) || !isalnum((unsigned char)s[len - 1]))
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)s[i]) && s[i] != '-' && s[i] != '_' && s[i] != '.')
			return false;
	return true;
}

static bool is_subdomain(const char *s, size_t len) {
	if (!len || len > 253)
		return false;
	for (size_t i = 0; i < len; i++) {
		bool edge = !i || i + 1 == len || s[i - 1] == '.' || s[i + 1] == '.';
		if (!islower((unsigned char)s[i]) && !isdigit((unsigned char)s[i]) && (edge || (s[i] != '-' && s[i] != '.')))
			return false;
	}
	return true;
}

static int check_key(const char *key, struct error *err) {
	const char *slash = strchr(key, '/');
	const char *name = slash ? slash + 1 : key;
	if (slash && !is_subdomain(key, (size_t)(slash - key)))
		return error_status(err, 400, "BadRequest",
				    "unable to parse requirement: <nil>: Invalid value: \"%s\": prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric "
				    "characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
				    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
				    key);
	if (!is_qualified(name, strlen(name), 63))
		return error_status(err, 400, "BadRequest",
				    "unable to parse requirement: <nil>: Invalid value: \"%s\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and "
				    "end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
				    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
				    key);
	return 0;
}

static int check_value(const struct requirement *r, size_t index, struct error *err) {
	const char *value = r->values[index];
	if (!*value || is_qualified(value, strlen(value), 63))
		return 0;
	if (strlen(value) > 63)
		return error_status(err, 400, "BadRequest", "unable to parse requirement: values[%zu][%s]: Invalid value: \"%s\": must be no more than 63 bytes", index, r->key, value);
	return error_status(err, 400, "BadRequest",
			    "unable to parse requirement: values[%zu][%s]: Invalid value: \"%s\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
			    "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
			    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
			    index, r->key, value);
}

/* ---- label selectors as text ---- */

enum token { T_END, T_OPEN, T_CLOSE, T_COMMA, T_NOT, T_EQUALS, T_DOUBLE_EQUALS, T_NOT_EQUALS, T_GREATER, T_LESS, T_WORD, T_IN, T_NOT_IN, T_BAD };

struct lexer {
	const char *p;
	char *text; /* of the last token */
};

static bool is_special(char c) {
	return c && strchr("=!(),><", c);
}

/* `words`: in and notin are operators, not values. */
static enum token next_token(struct lexer *l, bool words) {
	static const struct {
		const char *text;
		enum token token;
	} rows[] = {
		{"==", T_DOUBLE_EQUALS}, {"!=", T_NOT_EQUALS}, {"=", T_EQUALS}, {"!", T_NOT}, {"(", T_OPEN},
		{")", T_CLOSE}, {",", T_COMMA}, {">", T_GREATER}, {"<", T_LESS},
	};
	free(l->text);
	l->text = NULL;
	while (*l->p == ' ' || *l->p == '\t' || *l->p == '\r' || *l->p == '\n')
		l->p++;
	for (size_t i = 0; i < array_len(rows); i++)
		if (str_starts_with(l->p, rows[i].text)) {
			l->text = xstrdup(rows[i].text);
			l->p += strlen(rows[i].text);
			return rows[i].token;
		}
	const char *start = l->p;
	while (*l->p && !is_special(*l->p) && !isspace((unsigned char)*l->p))
		l->p++;
	l->text = xstrndup(start, (size_t)(l->p - start));
	if (l->p == start)
		return T_END;
	if (words && !strcmp(l->text, "in"))
		return T_IN;
	if (words && !strcmp(l->text, "notin"))
		return T_NOT_IN;
	return T_WORD;
}

static enum token peek_token(struct lexer *l, bool words) {
	const char *p = l->p;
	enum token token = next_token(l, words);
	l->p = p;
	return token;
}

static int parse_bound(struct requirement *r, struct error *err) {
	if (str_to_int64(r->values[0], INT64_MIN, INT64_MAX, &r->bound))
		return 0;
	return error_status(err, 400, "BadRequest", "unable to parse requirement: values[0]: Invalid value: \"%s\": for 'Gt', 'Lt' operators, the value must be an integer", r->values[0]);
}

/* "(a,b)": an empty place is the empty value. */
static int parse_value_list(struct lexer *l, struct requirement *r, struct error *err) {
	if (next_token(l, false) != T_OPEN)
		return error_status(err, 400, "BadRequest", "unable to parse requirement: found '%s' expected: '('", l->text);
	if (peek_token(l, false) == T_CLOSE) {
		next_token(l, false);
		add_value(r, "", 0);
		return 0;
	}
	bool value_due = true;
	for (;;) {
		enum token token = next_token(l, false);
		if (token == T_WORD) {
			add_value(r, l->text, strlen(l->text));
			value_due = false;
			token = next_token(l, false);
			if (token != T_COMMA && token != T_CLOSE)
				return error_status(err, 400, "BadRequest", "unable to parse requirement: found '%s', expected: ',' or ')'", l->text);
		} else if (token == T_COMMA || token == T_CLOSE) {
			if (value_due)
				add_value(r, "", 0);
		} else {
			return error_status(err, 400, "BadRequest", "unable to parse requirement: found '%s', expected: ',', ')' or identifier", l->text);
		}
		if (token == T_CLOSE)
			return 0;
		value_due = true;
	}
}

static int parse_exact_value(struct lexer *l, struct requirement *r, struct error *err) {
	enum token token = peek_token(l, false);
	if (token == T_END || token == T_COMMA) {
		add_value(r, "", 0);
		return 0;
	}
	if (next_token(l, false) != T_WORD)
		return error_status(err, 400, "BadRequest", "unable to parse requirement: found '%s', expected: identifier", l->text);
	add_value(r, l->text, strlen(l->text));
	return 0;
}

static int parse_values(struct lexer *l, struct requirement *r, struct error *err) {
	enum token token = next_token(l, true);
	int ret;
	switch (token) {
	case T_IN:
	case T_NOT_IN:
		r->op = token == T_IN ? OP_IN : OP_NOT_IN;
		ret = parse_value_list(l, r, err);
		break;
	case T_EQUALS:
	case T_DOUBLE_EQUALS:
	case T_NOT_EQUALS:
		r->op = token == T_NOT_EQUALS ? OP_NOT_IN : OP_IN;
		ret = parse_exact_value(l, r, err);
		break;
	case T_GREATER:
	case T_LESS:
		r->op = token == T_GREATER ? OP_GREATER : OP_LESS;
		ret = parse_exact_value(l, r, err);
		if (!ret)
			ret = parse_bound(r, err);
		break;
	default:
		return error_status(err, 400, "BadRequest", "unable to parse requirement: found '%s', expected: in, notin, =, ==, !=, gt, lt", l->text);
	}
	for (size_t i = 0; i < r->value_count && !ret; i++)
		ret = check_value(r, i, err);
	return ret;
}

static int parse_requirement(struct lexer *l, struct selector *s, struct error *err) {
	bool absent = false;
	enum token token = next_token(l, false);
	if (token == T_NOT) {
		absent = true;
		token = next_token(l, false);
	}
	if (token != T_WORD)
		return error_status(err, 400, "BadRequest", "unable to parse requirement: found '%s', expected: identifier", l->text);
	if (check_key(l->text, err) < 0)
		return -EINVAL;
	if (s->len >= MAX_REQUIREMENTS)
		return error_status(err, 400, "BadRequest", "selector has too many requirements");
	struct requirement *r = add_requirement(s, l->text, absent ? OP_ABSENT : OP_EXISTS);
	token = peek_token(l, true);
	if (absent || token == T_END || token == T_COMMA)
		return 0;
	return parse_values(l, r, err);
}

static int parse_labels(struct lexer *l, struct selector *s, struct error *err) {
	for (;;) {
		enum token token = peek_token(l, false);
		if (token == T_END && !s->len)
			return 0;
		if (token != T_WORD && token != T_NOT)
			return s->len ? error_status(err, 400, "BadRequest", "found '%s', expected: identifier after ','", l->text)
				      : error_status(err, 400, "BadRequest", "found '%s', expected: !, identifier, or 'end of string'", l->text);
		if (parse_requirement(l, s, err) < 0)
			return -EINVAL;
		token = next_token(l, false);
		if (token == T_END)
			return 0;
		if (token != T_COMMA)
			return error_status(err, 400, "BadRequest", "found '%s', expected: ',' or 'end of string'", l->text);
	}
}

int label_selector_parse(const char *text, struct selector **ret, struct error *err) {
	cleanup(cleanup_selector) struct selector *s = xnew(struct selector);
	struct lexer l = {.p = text ? text : ""};
	if (strlen(l.p) > MAX_TEXT)
		return error_status(err, 400, "BadRequest", "selector is too long");
	int r = parse_labels(&l, s, err);
	free(l.text);
	if (r < 0)
		return r;
	*ret = take_ptr(s);
	return 0;
}

/* ---- label selectors of objects ---- */

int label_selector_from(const struct meta_v1_label_selector *from, struct selector **ret, struct error *err) {
	static const struct {
		const char *name;
		enum operator op;
	} operators[] = {{"In", OP_IN}, {"NotIn", OP_NOT_IN}, {"Exists", OP_EXISTS}, {"DoesNotExist", OP_ABSENT}};
	cleanup(cleanup_selector) struct selector *s = xnew(struct selector);
	s->nothing = !from;
	for (uint32_t i = 0; from && i < from->match_labels.len; i++) {
		const char *value = str_or(from->match_labels.items[i].value, "");
		add_value(add_requirement(s, from->match_labels.items[i].key, OP_IN), value, strlen(value));
	}
	for (uint32_t i = 0; from && i < from->match_expressions.len; i++) {
		const struct meta_v1_label_selector_requirement *e = &from->match_expressions.items[i];
		size_t op = 0;
		while (op < array_len(operators) && !str_equal(operators[op].name, e->operator))
			op++;
		if (op == array_len(operators))
			return error_status(err, 400, "BadRequest", "\"%s\" is not a valid label selector operator", str_or(e->operator, ""));
		if ((operators[op].op == OP_IN || operators[op].op == OP_NOT_IN) && !e->values.len)
			return error_status(err, 400, "BadRequest", "values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty");
		struct requirement *r = add_requirement(s, str_or(e->key, ""), operators[op].op);
		for (uint32_t v = 0; v < e->values.len; v++) {
			const char *value = str_or(e->values.items[v], "");
			add_value(r, value, strlen(value));
		}
	}
	*ret = take_ptr(s);
	return 0;
}

/* ---- field selectors ---- */

/* The end of a term: a comma that no backslash hides. */
static const char *term_end(const char *s) {
	while (*s && *s != ',')
		s += *s == '\\' && s[1] ? 2 : 1;
	return s;
}

static int unescape(const char *s, size_t len, struct requirement *r, struct error *err) {
	autofree char *out = xmalloc(len + 1);
	size_t n = 0;
	for (size_t i = 0; i < len; i++) {
		if (s[i] == '\\') {
			if (i + 1 >= len || !strchr("\\,=", s[i + 1]))
				return error_status(err, 400, "BadRequest", "invalid field selector: invalid escape sequence in value: %.*s", (int)min_of(len, (size_t)256), s);
			i++;
		} else if (s[i] == ',' || s[i] == '=') {
			return error_status(err, 400, "BadRequest", "invalid field selector: unescaped character in value: %.*s", (int)min_of(len, (size_t)256), s);
		}
		out[n++] = s[i];
	}
	add_value(r, out, n);
	return 0;
}

static int parse_term(struct selector *s, const char *term, size_t len, const char *text, struct error *err) {
	static const struct {
		const char *text;
		enum operator op;
	} operators[] = {{"!=", OP_NOT_IN}, {"==", OP_IN}, {"=", OP_IN}};
	for (size_t i = 0; i < len; i++)
		for (size_t k = 0; k < array_len(operators); k++) {
			size_t op_len = strlen(operators[k].text);
			if (len - i < op_len || memcmp(term + i, operators[k].text, op_len))
				continue;
			autofree char *key = xstrndup(term, i);
			struct requirement *r = add_requirement(s, key, operators[k].op);
			return unescape(term + i + op_len, len - i - op_len, r, err);
		}
	return error_status(err, 400, "BadRequest", "invalid selector: '%s'; can't understand '%.*s'", text, (int)len, term);
}

int field_selector_parse(const char *text, struct selector **ret, struct error *err) {
	cleanup(cleanup_selector) struct selector *s = xnew(struct selector);
	s->fields = true;
	const char *p = text ? text : "";
	if (strlen(p) > MAX_TEXT)
		return error_status(err, 400, "BadRequest", "selector is too long");
	while (*p) {
		const char *end = term_end(p);
		if (s->len >= MAX_REQUIREMENTS)
			return error_status(err, 400, "BadRequest", "selector has too many requirements");
		if (end > p && parse_term(s, p, (size_t)(end - p), text, err) < 0)
			return -EINVAL;
		p = *end ? end + 1 : end;
	}
	*ret = take_ptr(s);
	return 0;
}

/* ---- matching ---- */

static bool has_value(const struct requirement *r, const char *value) {
	for (size_t i = 0; i < r->value_count; i++)
		if (!strcmp(r->values[i], value))
			return true;
	return false;
}

static bool requirement_holds(const struct requirement *r, const char *value) {
	int64_t number;
	switch (r->op) {
	case OP_IN:
		return value && has_value(r, value);
	case OP_NOT_IN:
		return !value || !has_value(r, value);
	case OP_EXISTS:
		return value;
	case OP_ABSENT:
		return !value;
	case OP_GREATER:
		return value && str_to_int64(value, INT64_MIN, INT64_MAX, &number) && number > r->bound;
	case OP_LESS:
		return value && str_to_int64(value, INT64_MIN, INT64_MAX, &number) && number < r->bound;
	}
	return false;
}

bool selector_matches(const struct selector *s, const char *(*get)(const char *key, void *arg), void *arg) {
	if (!s)
		return true;
	if (s->nothing)
		return false;
	for (size_t i = 0; i < s->len; i++) {
		const char *value = get(s->items[i].key, arg);
		if (!requirement_holds(&s->items[i], value ? value : s->fields ? "" : NULL))
			return false;
	}
	return true;
}

static const char *get_label(const char *key, void *arg) {
	return api_map_get(arg, key);
}

bool selector_matches_labels(const struct selector *s, const struct api_string_map *labels) {
	return selector_matches(s, get_label, (void *)(uintptr_t)labels);
}

bool selector_is_empty(const struct selector *s) {
	return !s || (!s->len && !s->nothing);
}

const char *selector_exact(const struct selector *s, const char *key) {
	for (size_t i = 0; s && i < s->len; i++)
		if (s->items[i].op == OP_IN && s->items[i].value_count == 1 && !strcmp(s->items[i].key, key))
			return s->items[i].values[0];
	return NULL;
}

void selector_each_demand(const struct selector *s, void (*fn)(const char *key, const char *value, void *arg), void *arg) {
	for (size_t i = 0; s && i < s->len; i++) {
		const struct requirement *r = &s->items[i];
		if (r->op != OP_NOT_IN && r->op != OP_ABSENT)
			fn(r->key, r->op == OP_IN && r->value_count == 1 ? r->values[0] : NULL, arg);
	}
}

bool selector_each_requirement(const struct selector *s, bool (*fn)(const char *key, const char *op, const char *const *values, size_t count, void *arg), void *arg) {
	static const char *const names[] = {[OP_IN] = "In", [OP_NOT_IN] = "NotIn", [OP_EXISTS] = "Exists", [OP_ABSENT] = "DoesNotExist"};
	for (size_t i = 0; s && i < s->len; i++) {
		const struct requirement *r = &s->items[i];
		if (r->op < array_len(names) && !fn(r->key, names[r->op], (const char *const *)r->values, r->value_count, arg))
			return false;
	}
	return true;
}

bool selector_each_key(const struct selector *s, bool (*fn)(const char *key, void *arg), void *arg) {
	for (size_t i = 0; s && i < s->len; i++)
		if (!fn(s->items[i].key, arg))
			return false;
	return true;
}
