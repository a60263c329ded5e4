/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/jsonpath.h"

#include <ctype.h>
#include <errno.h>

/* Reads text that ends at `end`; nothing is read behind. */
struct reader {
	const char *pos, *end;
	json_t *root, *current;
	unsigned depth;
	struct error *err;
};

static void add_value(struct jsonpath_values *values, json_t *value)
{
	if (!value || values->len >= JSONPATH_MAX_VALUES)
		return;
	if (!(values->len & (values->len - 1)))
		values->items = xreallocarray(values->items, values->len ? values->len * 2 : 1, sizeof(json_t *));
	values->items[values->len++] = value;
}

static int syntax_error(struct reader *r, const char *what)
{
	return error_set(r->err, EINVAL, "error parsing jsonpath: %s near \"%.*s\"", what, (int)min_of((size_t)(r->end - r->pos), (size_t)40), r->pos);
}

static void skip_space(struct reader *r)
{
	while (r->pos < r->end && isspace((unsigned char)*r->pos))
		r->pos++;
}

/* A quoted text with Go's escapes; the caller frees. NULL where it does not end. */
static char *read_quoted(struct reader *r)
{
	char quote = *r->pos++;
	autobuf struct buf out = BUF_INIT(1 << 20);
	buf_append_str(&out, "");
	for (; r->pos < r->end && *r->pos != quote; r->pos++) {
		if (*r->pos != '\\' || r->pos + 1 >= r->end) {
			buf_append_char(&out, *r->pos);
			continue;
		}
		r->pos++;
		static const char from[] = "nrt", to[] = "\n\r\t";
		const char *at = strchr(from, *r->pos);
		buf_append_char(&out, at && *at ? to[at - from] : *r->pos);
	}
	if (r->pos >= r->end)
		return NULL;
	r->pos++;
	buf_reserve(&out, 1);
	return out.len ? buf_take(&out) : xstrdup("");
}

/* ---- steps; each maps the values so far to new ones ---- */

static void step_field(const struct jsonpath_values *in, const char *name, size_t len, struct jsonpath_values *out)
{
	for (size_t i = 0; i < in->len; i++)
		add_value(out, json_object_getn(in->items[i], name, len));
}

static void add_children(json_t *value, struct jsonpath_values *out)
{
	size_t i;
	const char *key;
	json_t *child;
	json_array_foreach(value, i, child)
		add_value(out, child);
	json_object_foreach(value, key, child)
		add_value(out, child);
}

static void add_descendants(json_t *value, unsigned depth, struct jsonpath_values *out)
{
	size_t i;
	const char *key;
	json_t *child;
	if (depth > JSONPATH_MAX_DEPTH)
		return;
	add_value(out, value);
	json_array_foreach(value, i, child)
		add_descendants(child, depth + 1, out);
	json_object_foreach(value, key, child)
		add_descendants(child, depth + 1, out);
}

static bool read_int(struct reader *r, int64_t *ret)
{
	const char *start = r->pos;
	if (r->pos < r->end && (*r->pos == '-' || *r->pos == '+'))
		r->pos++;
	while (r->pos < r->end && isdigit((unsigned char)*r->pos))
		r->pos++;
	autofree char *text = xstrndup(start, (size_t)(r->pos - start));
	return str_to_int64(text, INT32_MIN, INT32_MAX, ret);
}

/* [2], [-1], [1:3], [:2], [0:6:2] */
static int step_index(struct reader *r, const struct jsonpath_values *in, struct jsonpath_values *out)
{
	int64_t part[3] = {0, INT32_MAX, 1};
	bool given[3] = {false};
	int parts = 0;
	for (; parts < 3; parts++) {
		skip_space(r);
		given[parts] = read_int(r, &part[parts]);
		skip_space(r);
		if (r->pos >= r->end || *r->pos != ':')
			break;
		r->pos++;
	}
	if (parts == 3 || (parts == 0 && !given[0]) || part[2] < 1)
		return syntax_error(r, "invalid array index");
	for (size_t i = 0; i < in->len; i++) {
		int64_t len = (int64_t)json_array_size(in->items[i]);
		int64_t from = given[0] ? part[0] : 0, to = parts == 0 ? from + 1 : (given[1] ? part[1] : len);
		if (from < 0) {
			from += len;
			if (parts == 0)
				to = from + 1;
		}
		if (to < 0)
			to += len;
		for (int64_t at = from; at >= 0 && at < to && at < len; at += part[2])
			add_value(out, json_array_get(in->items[i], (size_t)at));
	}
	return 0;
}

/* ['a.b'] or ['a','b'] */
static int step_names(struct reader *r, const struct jsonpath_values *in, struct jsonpath_values *out)
{
	for (;;) {
		skip_space(r);
		if (r->pos >= r->end || (*r->pos != '\'' && *r->pos != '"'))
			return syntax_error(r, "a name was expected");
		autofree char *name = read_quoted(r);
		if (!name)
			return syntax_error(r, "unterminated quoted string");
		step_field(in, name, strlen(name), out);
		skip_space(r);
		if (r->pos >= r->end || *r->pos != ',')
			return 0;
		r->pos++;
	}
}

static int read_path(struct reader *r, struct jsonpath_values *ret);

/* One side of a comparison: the values of a path, or a literal (held by *ret_owned). */
static int read_operand(struct reader *r, json_t *current, struct jsonpath_values *ret, json_t **ret_owned)
{
	skip_space(r);
	if (r->pos >= r->end)
		return syntax_error(r, "unterminated filter");
	char c = *r->pos;
	if (c == '\'' || c == '"') {
		autofree char *text = read_quoted(r);
		if (!text)
			return syntax_error(r, "unterminated quoted string");
		*ret_owned = json_string_nocheck(text);
	} else if (c == '@' || c == '$' || c == '.') {
		json_t *before = r->current;
		r->current = current;
		int rc = read_path(r, ret);
		r->current = before;
		return rc;
	} else {
		const char *start = r->pos;
		while (r->pos < r->end && (isalnum((unsigned char)*r->pos) || strchr("+-.", *r->pos)))
			r->pos++;
		if (r->pos == start)
			return syntax_error(r, "invalid filter");
		*ret_owned = json_loadb(start, (size_t)(r->pos - start), JSON_DECODE_ANY, NULL);
		if (!*ret_owned)
			*ret_owned = json_stringn(start, (size_t)(r->pos - start));
	}
	add_value(ret, *ret_owned);
	return 0;
}

enum op { OP_NONE, OP_EQ, OP_NE, OP_LE, OP_GE, OP_LT, OP_GT };

static enum op read_op(struct reader *r)
{
	static const struct {
		const char *text;
		enum op op;
	} ops[] = {{"==", OP_EQ}, {"!=", OP_NE}, {"<=", OP_LE}, {">=", OP_GE}, {"<", OP_LT}, {">", OP_GT}};
	skip_space(r);
	for (size_t i = 0; i < array_len(ops); i++) {
		size_t len = strlen(ops[i].text);
		if ((size_t)(r->end - r->pos) >= len && memcmp(r->pos, ops[i].text, len) == 0) {
			r->pos += len;
			return ops[i].op;
		}
	}
	return OP_NONE;
}

static bool compare(json_t *a, enum op op, json_t *b)
{
	bool numbers = json_is_number(a) && json_is_number(b), strings = json_is_string(a) && json_is_string(b);
	if (!numbers && !strings) {
		bool equal = json_equal(a, b);
		return op == OP_EQ ? equal : (op == OP_NE && !equal);
	}
	double x = json_number_value(a), y = json_number_value(b);
	int order = strings ? strcmp(json_string_value(a), json_string_value(b)) : (x > y) - (x < y);
	switch (op) {
	case OP_EQ: return order == 0;
	case OP_NE: return order != 0;
	case OP_LE: return order <= 0;
	case OP_GE: return order >= 0;
	case OP_LT: return order < 0;
	case OP_GT: return order > 0;
	case OP_NONE: break;
	}
	return false;
}

/* Evaluates the text of one filter for one element. Returns 1 where it holds, 0, or a negative errno. */
static int filter_holds(struct reader *r, json_t *element)
{
	struct jsonpath_values left = {0}, right = {0};
	json_t *left_owned = NULL, *right_owned = NULL;
	enum op op = OP_NONE;
	int rc = read_operand(r, element, &left, &left_owned);
	if (!rc)
		op = read_op(r);
	if (!rc && op)
		rc = read_operand(r, element, &right, &right_owned);
	skip_space(r);
	if (!rc && (r->pos >= r->end || *r->pos != ')'))
		rc = syntax_error(r, "unterminated filter");
	if (!rc)
		rc = op ? left.len && right.len && compare(left.items[0], op, right.items[0]) : left.len > 0;
	json_decref(left_owned);
	json_decref(right_owned);
	free(left.items);
	free(right.items);
	return rc;
}

/* [?(@.type=="Ready")]; the reader stands behind "?(" */
static int step_filter(struct reader *r, const struct jsonpath_values *in, struct jsonpath_values *out)
{
	const char *start = r->pos;
	struct jsonpath_values elements = {0};
	for (size_t i = 0; i < in->len; i++)
		add_children(in->items[i], &elements);
	int rc = 0;
	for (size_t i = 0; rc >= 0 && i < elements.len; i++) {
		r->pos = start;
		rc = filter_holds(r, elements.items[i]);
		if (rc == 1)
			add_value(out, elements.items[i]);
	}
	if (!elements.len) {
		/* Read for its syntax, and to know where it ends. */
		json_t *nothing = json_null();
		rc = filter_holds(r, nothing);
	}
	free(elements.items);
	if (rc < 0)
		return rc;
	r->pos++; /* ')' */
	return 0;
}

static int read_bracket(struct reader *r, const struct jsonpath_values *in, struct jsonpath_values *out)
{
	int rc = 0;
	r->pos++;
	skip_space(r);
	if (r->pos >= r->end)
		return syntax_error(r, "unterminated array");
	if (*r->pos == '*') {
		r->pos++;
		for (size_t i = 0; i < in->len; i++)
			add_children(in->items[i], out);
	} else if (*r->pos == '?' && r->pos + 1 < r->end && r->pos[1] == '(') {
		r->pos += 2;
		rc = step_filter(r, in, out);
	} else if (*r->pos == '\'' || *r->pos == '"') {
		rc = step_names(r, in, out);
	} else {
		rc = step_index(r, in, out);
	}
	skip_space(r);
	if (!rc && (r->pos >= r->end || *r->pos != ']'))
		rc = syntax_error(r, "unterminated array");
	if (!rc)
		r->pos++;
	return rc;
}

static bool ends_name(char c)
{
	return isspace((unsigned char)c) || strchr(".[]{}()=!<>,'\"", c);
}

/* A name, where a backslash takes the next character as it is: metadata.annotations.a\.b */
static int read_name(struct reader *r, const struct jsonpath_values *in, struct jsonpath_values *out)
{
	autobuf struct buf name = BUF_INIT(4096);
	while (r->pos < r->end && !ends_name(*r->pos)) {
		if (*r->pos == '\\' && r->pos + 1 < r->end)
			r->pos++;
		buf_append_char(&name, *r->pos++);
	}
	if (buf_failed(&name))
		return syntax_error(r, "a name is too long");
	if (name.len == 1 && name.data[0] == '*') {
		for (size_t i = 0; i < in->len; i++)
			add_children(in->items[i], out);
	} else if (name.len) {
		step_field(in, name.data, name.len, out);
	} else {
		for (size_t i = 0; i < in->len; i++)
			add_value(out, in->items[i]);
	}
	return 0;
}

static int read_step(struct reader *r, const struct jsonpath_values *in, struct jsonpath_values *out)
{
	if (*r->pos == '[')
		return read_bracket(r, in, out);
	if (*r->pos != '.')
		return read_name(r, in, out);
	r->pos++;
	if (r->pos < r->end && *r->pos == '.') {
		r->pos++;
		struct jsonpath_values all = {0};
		for (size_t i = 0; i < in->len; i++)
			add_descendants(in->items[i], 0, &all);
		int rc = r->pos < r->end && *r->pos == '[' ? read_bracket(r, &all, out) : read_name(r, &all, out);
		free(all.items);
		return rc;
	}
	return r->pos < r->end && *r->pos == '[' ? read_bracket(r, in, out) : read_name(r, in, out);
}

/* Reads one path up to what cannot belong to it. */
static int read_path(struct reader *r, struct jsonpath_values *ret)
{
	struct jsonpath_values values = {0};
	int rc = 0;
	if (++r->depth > JSONPATH_MAX_DEPTH)
		return syntax_error(r, "nested too deeply");
	if (r->pos < r->end && (*r->pos == '$' || *r->pos == '@'))
		add_value(&values, *r->pos++ == '$' ? r->root : r->current);
	else
		add_value(&values, r->current);
	bool first = true;
	while (!rc && r->pos < r->end && (*r->pos == '.' || *r->pos == '[' || (first && !ends_name(*r->pos)))) {
		struct jsonpath_values next = {0};
		rc = read_step(r, &values, &next);
		free(values.items);
		values = next;
		first = false;
	}
	r->depth--;
	if (rc) {
		free(values.items);
		return rc;
	}
	*ret = values;
	return 0;
}

/* ---- templates ---- */

void jsonpath_append_value(json_t *value, struct buf *out)
{
	if (json_is_string(value)) {
		buf_append(out, json_string_value(value), json_string_length(value));
	} else if (json_is_real(value)) {
		buf_printf(out, "%.17g", json_real_value(value));
	} else if (value) {
		char *text = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
		buf_append_str(out, text ? text : "");
		free(text);
	}
}

/* The '}' that closes the '{' at pos, or NULL. */
static const char *closing_brace(const char *pos, const char *end)
{
	char quote = 0;
	for (pos++; pos < end; pos++) {
		if (*pos == '\\')
			pos++;
		else if (quote)
			quote = *pos == quote ? 0 : quote;
		else if (*pos == '"' || *pos == '\'')
			quote = *pos;
		else if (*pos == '}')
			return pos;
	}
	return NULL;
}

static bool word_is(const char *start, const char *end, const char *word)
{
	while (start < end && isspace((unsigned char)*start))
		start++;
	size_t len = strlen(word);
	return (size_t)(end - start) >= len && memcmp(start, word, len) == 0 && (start + len == end || isspace((unsigned char)start[len]));
}

/* The '{' of the {end} that belongs to a range whose body starts at pos, or NULL. */
static const char *matching_end(const char *pos, const char *end)
{
	unsigned depth = 0;
	for (; pos < end; pos++) {
		if (*pos != '{')
			continue;
		const char *close = closing_brace(pos, end);
		if (!close)
			return NULL;
		if (word_is(pos + 1, close, "range"))
			depth++;
		else if (word_is(pos + 1, close, "end") && depth-- == 0)
			return pos;
		pos = close;
	}
	return NULL;
}

static int render(struct reader *r, struct buf *out);

static int render_range(struct reader *r, const char *close, const char **ret_behind, struct buf *out)
{
	struct reader list = *r;
	list.pos = strstr(r->pos, "range") + 5;
	list.end = close;
	skip_space(&list);
	struct jsonpath_values values = {0};
	int rc = read_path(&list, &values);
	const char *body_end = matching_end(close + 1, r->end);
	if (!rc && !body_end)
		rc = syntax_error(r, "unterminated range, expected {end}");
	for (size_t i = 0; !rc && i < values.len; i++) {
		struct reader body = *r;
		body.pos = close + 1;
		body.end = body_end;
		body.current = values.items[i];
		if (++body.depth > JSONPATH_MAX_DEPTH)
			rc = syntax_error(r, "nested too deeply");
		else
			rc = render(&body, out);
	}
	free(values.items);
	if (!rc)
		*ret_behind = closing_brace(body_end, r->end) + 1;
	return rc;
}

/* What stands between braces, up to `end`: literals and paths. */
static int render_action(struct reader *r, struct buf *out)
{
	for (skip_space(r); r->pos < r->end; skip_space(r)) {
		if (*r->pos == '"' || *r->pos == '\'') {
			autofree char *text = read_quoted(r);
			if (!text)
				return syntax_error(r, "unterminated quoted string");
			buf_append_str(out, text);
			continue;
		}
		struct jsonpath_values values = {0};
		const char *before = r->pos;
		int rc = read_path(r, &values);
		for (size_t i = 0; !rc && i < values.len; i++) {
			if (i)
				buf_append_char(out, ' ');
			jsonpath_append_value(values.items[i], out);
		}
		free(values.items);
		if (rc)
			return rc;
		if (r->pos == before)
			return syntax_error(r, "unrecognized character");
	}
	return 0;
}

static int render(struct reader *r, struct buf *out)
{
	while (r->pos < r->end) {
		const char *open = memchr(r->pos, '{', (size_t)(r->end - r->pos));
		if (!open) {
			buf_append(out, r->pos, (size_t)(r->end - r->pos));
			return 0;
		}
		buf_append(out, r->pos, (size_t)(open - r->pos));
		const char *close = closing_brace(open, r->end), *behind = close ? close + 1 : NULL;
		r->pos = open + 1;
		if (!close)
			return syntax_error(r, "unclosed action");
		int rc;
		if (word_is(open + 1, close, "range")) {
			rc = render_range(r, close, &behind, out);
		} else if (word_is(open + 1, close, "end")) {
			rc = syntax_error(r, "not in range, nothing to end");
		} else {
			struct reader action = *r;
			action.end = close;
			rc = render_action(&action, out);
		}
		if (rc)
			return rc;
		r->pos = behind;
	}
	return 0;
}

int jsonpath_render(const char *template, json_t *root, struct buf *out, struct error *err)
{
	struct reader r = {.pos = template, .end = template + strlen(template), .root = root, .current = root, .err = err};
	/* "-o jsonpath=.metadata.name" without braces means the expression. */
	if (!strchr(template, '{') && (template[0] == '.' || template[0] == '$' || template[0] == '@' || template[0] == '['))
		return render_action(&r, out);
	return render(&r, out);
}

int jsonpath_find(const char *expression, json_t *root, struct jsonpath_values *ret, struct error *err)
{
	size_t len = strlen(expression);
	if (len >= 2 && expression[0] == '{' && expression[len - 1] == '}') {
		expression++;
		len -= 2;
	}
	struct reader r = {.pos = expression, .end = expression + len, .root = root, .current = root, .err = err};
	struct jsonpath_values values = {0};
	int rc = read_path(&r, &values);
	skip_space(&r);
	if (!rc && r.pos < r.end)
		rc = syntax_error(&r, "unexpected text");
	if (rc) {
		free(values.items);
		return rc;
	}
	*ret = values;
	return 0;
}
