/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parser: precedence climbing over the tokens, one function a level of the grammar (https://github.com/google/cel-spec, doc/langdef.md).
 * It gives up at the first mistake. Nesting is bounded by MAX_NESTING, chains such as a.b.c or 1+1+1 too, as in cel-go.
 */
#include "common/cel/internal.h"

#include <errno.h>
#include <inttypes.h>

struct parser {
	struct source *source;
	struct lexer lexer;
	struct token token; /* not yet taken */
	unsigned nesting;
	bool failed;
};

#define OPERAND "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}"

static void next(struct parser *p) {
	p->token = lex_next(&p->lexer);
}

static bool is(const struct parser *p, const char *symbol) {
	return p->token.kind == TOKEN_SYMBOL && strcmp(p->token.symbol, symbol) == 0;
}

static bool take(struct parser *p, const char *symbol) {
	if (!is(p, symbol))
		return false;
	next(p);
	return true;
}

static struct node *fail(struct parser *p, const char *what, const char *expecting) {
	if (!p->failed)
		issue_add(p->source, p->token.at, "Syntax error: %s '%.*s' expecting %s", what, p->token.kind == TOKEN_END ? 5 : (int)min_of(p->token.len, (size_t)200),
			  p->token.kind == TOKEN_END ? "<EOF>" : p->token.text, expecting);
	p->failed = true;
	return NULL;
}

/* Might an expression begin with the token? */
static bool is_operand(const struct parser *p) {
	if (p->token.kind == TOKEN_SYMBOL)
		return strchr("[{(.-!", *p->token.symbol) && !p->token.symbol[1];
	return p->token.kind != TOKEN_END && p->token.kind != TOKEN_IN && p->token.kind != TOKEN_QUOTED_IDENT;
}

/* What stands behind the token that is not wanted: without it the text might go on. */
static struct parser without(const struct parser *p) {
	struct parser ahead = *p;
	unsigned issues = p->source->count;
	next(&ahead);
	p->source->count = issues;
	return ahead;
}

static struct node *fail_operand(struct parser *p) {
	struct parser ahead = without(p);
	return fail(p, is_operand(&ahead) && p->token.kind != TOKEN_END ? "extraneous input" : "mismatched input", OPERAND);
}

static bool expect(struct parser *p, const char *symbol, const char *expecting) {
	if (take(p, symbol))
		return true;
	struct parser ahead = without(p);
	bool one = *expecting == '\'';
	if (one && (p->token.kind == TOKEN_END || (p->token.kind == TOKEN_SYMBOL && !strchr("(", *p->token.symbol)) || p->token.kind == TOKEN_IN) && strcmp(symbol, ":") != 0) {
		if (!p->failed)
			issue_add(p->source, p->token.at, "Syntax error: missing %s at '%.*s'", expecting, p->token.kind == TOKEN_END ? 5 : (int)p->token.len, p->token.kind == TOKEN_END ? "<EOF>" : p->token.text);
		p->failed = true;
		return false;
	}
	fail(p, is(&ahead, symbol) && p->token.kind != TOKEN_END ? "extraneous input" : "mismatched input", expecting);
	return false;
}

static bool enter(struct parser *p) {
	if (++p->nesting <= MAX_NESTING)
		return true;
	if (!p->failed)
		issue_add(p->source, NOWHERE, "expression recursion limit exceeded: %u", MAX_NESTING);
	p->failed = true;
	return false;
}

static struct node *parse_expr(struct parser *p);

/* ---- literals ---- */

static const char *text_of(struct parser *p, const struct token *t, bool negative) {
	return arena_printf(p->source->arena, "%s%.*s", negative ? "-" : "", (int)t->len, t->text);
}

static struct node *bad_literal(struct parser *p, uint32_t at, const char *what) {
	issue_add(p->source, at, "invalid %s literal", what);
	p->failed = true;
	return NULL;
}

static struct node *parse_int(struct parser *p, const struct token *t, bool negative, uint32_t at) {
	bool hex = t->len > 2 && t->text[1] == 'x';
	char *end;
	errno = 0;
	struct token digits = *t;
	digits.text += hex ? 2 : 0;
	digits.len -= hex ? 2 : 0;
	int64_t i = strtoll(text_of(p, &digits, negative), &end, hex ? 16 : 10);
	return errno || *end ? bad_literal(p, at, "int") : node_literal(p->source, at, VALUE_INT(i));
}

static struct node *parse_uint(struct parser *p, const struct token *t, uint32_t at) {
	struct token digits = *t;
	digits.len--;
	char *end;
	errno = 0;
	uint64_t u = strtoull(text_of(p, &digits, false), &end, t->len > 2 && t->text[1] == 'x' ? 16 : 10);
	return errno || *end ? bad_literal(p, at, "uint") : node_literal(p->source, at, VALUE_UINT(u));
}

static struct node *parse_number(struct parser *p, bool negative, uint32_t at) {
	struct token t = p->token;
	next(p);
	if (t.kind == TOKEN_INT)
		return parse_int(p, &t, negative, at);
	const char *text = text_of(p, &t, negative);
	double d;
	return parse_go_double(text, strlen(text), &d) ? node_literal(p->source, at, VALUE_DOUBLE(d)) : bad_literal(p, at, "double");
}

/* ---- lists, maps, structs, calls ---- */

struct nodes {
	struct node **items;
	uint32_t count, cap;
};

static void nodes_add(struct parser *p, struct nodes *list, struct node *node) {
	if (list->count == list->cap) {
		uint32_t cap = list->cap ? list->cap * 2 : 4;
		struct node **items = arena_calloc(p->source->arena, cap, sizeof(*items));
		if (list->count)
			memcpy(items, list->items, list->count * sizeof(*items));
		list->items = items;
		list->cap = cap;
	}
	list->items[list->count++] = node;
}

/* Arguments up to the closing bracket, which is taken. */
static bool parse_arguments(struct parser *p, struct nodes *ret) {
	if (take(p, ")"))
		return true;
	do {
		struct node *arg = parse_expr(p);
		if (!arg)
			return false;
		nodes_add(p, ret, arg);
	} while (take(p, ","));
	return expect(p, ")", "{')', ','}");
}

static struct node *parse_list(struct parser *p) {
	uint32_t at = p->token.at;
	struct nodes items = {0};
	struct nodes marks = {0}; /* the items that are optional stand here too */
	next(p);
	while (!is(p, "]")) {
		bool optional = take(p, "?");
		struct node *item = parse_expr(p);
		if (!item)
			return NULL;
		nodes_add(p, &items, item);
		if (optional)
			nodes_add(p, &marks, item);
		if (!take(p, ","))
			break;
	}
	if (!expect(p, "]", "{']', ','}"))
		return NULL;
	struct node *node = node_list(p->source, at, items.count, items.items);
	if (marks.count)
		node->list.optional = arena_calloc(p->source->arena, items.count, sizeof(bool));
	for (uint32_t i = 0, k = 0; i < items.count && k < marks.count; i++)
		if (items.items[i] == marks.items[k]) {
			node->list.optional[i] = true;
			k++;
		}
	return node;
}

struct entries {
	struct entry *items;
	uint32_t count, cap;
};

static void entries_add(struct parser *p, struct entries *list, struct entry entry) {
	if (list->count == list->cap) {
		uint32_t cap = list->cap ? list->cap * 2 : 4;
		struct entry *items = arena_calloc(p->source->arena, cap, sizeof(*items));
		if (list->count)
			memcpy(items, list->items, list->count * sizeof(*items));
		list->items = items;
		list->cap = cap;
	}
	list->items[list->count++] = entry;
}

static const char *ident_text(struct parser *p, const struct token *t) {
	unsigned quote = t->kind == TOKEN_QUOTED_IDENT;
	return arena_strndup(p->source->arena, t->text + quote, t->len - 2 * quote);
}

/* Kubernetes leaves names in back quotes out of the language. */
static bool no_quotes(struct parser *p, const struct token *name) {
	if (name->kind != TOKEN_QUOTED_IDENT)
		return true;
	issue_add(p->source, name->at, "unsupported syntax: '`'");
	p->failed = true;
	return false;
}

/* Entries of a map or, where it has a name, fields of a struct. */
static struct node *parse_entries(struct parser *p, const char *name) {
	uint32_t at = p->token.at;
	struct entries entries = {0};
	next(p);
	while (!is(p, "}")) {
		struct entry entry = {.optional = take(p, "?")};
		if (name) {
			if (p->token.kind != TOKEN_IDENT && p->token.kind != TOKEN_QUOTED_IDENT)
				return fail(p, "mismatched input", "{'}', ',', '\?', IDENTIFIER, ESC_IDENTIFIER}");
			if (!no_quotes(p, &p->token))
				return NULL;
			entry.field = ident_text(p, &p->token);
			next(p);
		} else if (!(entry.key = parse_expr(p))) {
			return NULL;
		}
		entry.at = p->token.at;
		if (!expect(p, ":", "':'") || !(entry.value = parse_expr(p)))
			return NULL;
		entries_add(p, &entries, entry);
		if (!take(p, ","))
			break;
	}
	if (!expect(p, "}", "{'}', ','}"))
		return NULL;
	struct node *node = node_new(p->source, name ? NODE_STRUCT : NODE_MAP, at);
	node->map.name = name;
	node->map.items = entries.items;
	node->map.count = entries.count;
	for (uint32_t i = 0; i < entries.count; i++) {
		if (entries.items[i].key)
			node_deepen(p->source, node, entries.items[i].key);
		node_deepen(p->source, node, entries.items[i].value);
	}
	return node;
}

static struct node *call_or_macro(struct parser *p, uint32_t at, const char *name, bool member, unsigned count, struct node **args) {
	struct node *expanded = NULL;
	if (macro_expand(p->source, at, name, member, count, args, &expanded)) {
		p->failed |= !expanded;
		return expanded;
	}
	return node_call(p->source, at, name, member, count, args);
}

static bool is_reserved(const char *name) {
	static const char *const words[] = {"as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop", "package", "namespace", "null", "return", "true", "var", "void", "while"};
	for (size_t i = 0; i < array_len(words); i++)
		if (strcmp(words[i], name) == 0)
			return true;
	return false;
}

/* A name, dotted perhaps, before a brace is that of a struct, and is taken; else NULL. */
static const char *struct_name(struct parser *p, bool dot, const char *first) {
	struct parser ahead = *p;
	unsigned issues = p->source->count, parts = 0;
	while (parts++ < MAX_NESTING && take(&ahead, ".") && ahead.token.kind == TOKEN_IDENT)
		next(&ahead);
	p->source->count = issues;
	if (!is(&ahead, "{"))
		return NULL;
	autobuf struct buf name = BUF_INIT(BUF_MAX_DEFAULT);
	buf_printf(&name, "%s%s", dot ? "." : "", first);
	while (take(p, ".")) {
		buf_printf(&name, ".%.*s", (int)p->token.len, p->token.text);
		next(p);
	}
	return arena_strndup(p->source->arena, name.data, name.len);
}

static struct node *parse_ident(struct parser *p) {
	struct token first = p->token;
	bool dot = take(p, ".");
	if (p->token.kind != TOKEN_IDENT)
		return fail(p, "mismatched input", "IDENTIFIER");
	struct token ident = p->token;
	const char *name = ident_text(p, &ident);
	next(p);
	const char *whole = struct_name(p, dot, name);
	if (whole)
		return parse_entries(p, whole);
	if (is_reserved(name)) {
		issue_add(p->source, first.at, "reserved identifier: %s", name);
		p->failed = true;
		return NULL;
	}
	if (!is(p, "("))
		return node_ident(p->source, ident.at, dot ? arena_printf(p->source->arena, ".%s", name) : name);
	uint32_t at = p->token.at;
	struct nodes args = {0};
	next(p);
	if (!parse_arguments(p, &args))
		return NULL;
	return call_or_macro(p, at, dot ? arena_printf(p->source->arena, ".%s", name) : name, false, args.count, args.items);
}

static struct node *parse_nested(struct parser *p) {
	next(p);
	struct node *inner = parse_expr(p);
	return inner && expect(p, ")", "')'") ? inner : NULL;
}

static struct node *parse_primary(struct parser *p) {
	uint32_t at = p->token.at;
	struct token t = p->token;
	struct cel_value value;
	switch (t.kind) {
	case TOKEN_INT:
	case TOKEN_DOUBLE:
		return parse_number(p, false, at);
	case TOKEN_UINT:
		next(p);
		return parse_uint(p, &t, at);
	case TOKEN_STRING:
	case TOKEN_BYTES:
		next(p);
		if (!lex_unescape(p->source, &t, &value)) {
			p->failed = true;
			return NULL;
		}
		return node_literal(p->source, at, value);
	case TOKEN_TRUE:
	case TOKEN_FALSE:
		next(p);
		return node_literal(p->source, at, VALUE_BOOL(t.kind == TOKEN_TRUE));
	case TOKEN_NULL:
		next(p);
		return node_literal(p->source, at, VALUE_NULL);
	case TOKEN_IDENT:
		return parse_ident(p);
	case TOKEN_SYMBOL:
		if (is(p, "("))
			return parse_nested(p);
		if (is(p, "["))
			return parse_list(p);
		if (is(p, "{"))
			return parse_entries(p, NULL);
		if (is(p, "."))
			return parse_ident(p);
		break;
	default:
		break;
	}
	return fail_operand(p);
}

/* ---- levels of the grammar ---- */

static struct node *parse_select(struct parser *p, struct node *operand) {
	uint32_t dot = p->token.at;
	next(p);
	bool optional = take(p, "?");
	struct token name = p->token;
	if (name.kind != TOKEN_IDENT && (name.kind != TOKEN_QUOTED_IDENT)) {
		if (name.kind == TOKEN_TRUE || name.kind == TOKEN_FALSE || name.kind == TOKEN_NULL)
			return fail(p, "mismatched input", "IDENTIFIER");
		if (!p->failed)
			issue_add(p->source, name.at, "Syntax error: no viable alternative at input '.%.*s'", (int)min_of(name.len, (size_t)200), name.text);
		p->failed = true;
		return NULL;
	}
	if (!no_quotes(p, &name))
		return NULL;
	next(p);
	const char *text = ident_text(p, &name);
	if (optional) {
		struct node *args[] = {operand, node_literal(p->source, name.at, VALUE_STRING(text, strlen(text)))};
		return node_call(p->source, dot, "_?._", false, 2, args);
	}
	if (is(p, "(") && name.kind == TOKEN_IDENT) {
		uint32_t at = p->token.at;
		struct nodes args = {0};
		nodes_add(p, &args, operand);
		next(p);
		if (!parse_arguments(p, &args))
			return NULL;
		return call_or_macro(p, at, text, true, args.count, args.items);
	}
	struct node *node = node_new(p->source, NODE_SELECT, dot);
	node->select.operand = operand;
	node->select.field = text;
	node_deepen(p->source, node, operand);
	return node;
}

static struct node *parse_member(struct parser *p, struct node *operand) {
	unsigned chain = 0;
	while (operand && (is(p, ".") || is(p, "["))) {
		if (++chain > MAX_NESTING) {
			issue_add(p->source, NOWHERE, "max recursion depth exceeded");
			p->failed = true;
			return NULL;
		}
		if (is(p, ".")) {
			operand = parse_select(p, operand);
			continue;
		}
		uint32_t at = p->token.at;
		next(p);
		bool optional = take(p, "?");
		struct node *index = parse_expr(p);
		if (!index || !expect(p, "]", "']'"))
			return NULL;
		struct node *args[] = {operand, index};
		operand = node_call(p->source, at, optional ? "_[?_]" : "_[_]", false, 2, args);
	}
	return operand;
}

static struct node *parse_unary(struct parser *p) {
	uint32_t at = p->token.at;
	bool not = is(p, "!");
	if (!not && !is(p, "-"))
		return parse_member(p, parse_primary(p));
	unsigned count = 0;
	struct token last = p->token;
	while (is(p, not ? "!" : "-")) {
		last = p->token;
		count++;
		next(p);
	}
	/* The sign before a number belongs to it. */
	if (!not && (p->token.kind == TOKEN_INT || p->token.kind == TOKEN_DOUBLE)) {
		bool lone = count == 1;
		struct node *number = parse_member(p, parse_number(p, lone, lone ? last.at : p->token.at));
		if (!number || lone || count % 2 == 0)
			return number;
		return node_call(p->source, at, "-_", false, 1, &number);
	}
	struct parser ahead = without(p);
	bool negative = not && is(p, "-") && (ahead.token.kind == TOKEN_INT || ahead.token.kind == TOKEN_DOUBLE);
	uint32_t sign = p->token.at;
	if (negative)
		next(p);
	struct node *operand = parse_member(p, negative ? parse_number(p, true, sign) : parse_primary(p));
	if (!operand || count % 2 == 0)
		return operand;
	return node_call(p->source, at, not ? "!_" : "-_", false, 1, &operand);
}

static unsigned precedence(const struct parser *p, const char **ret_name) {
	static const struct {
		const char *symbol, *name;
		unsigned precedence;
	} rows[] = {
		{"==", "_==_", 1}, {"!=", "_!=_", 1}, {"<", "_<_", 1}, {"<=", "_<=_", 1}, {">", "_>_", 1}, {">=", "_>=_", 1}, {"+", "_+_", 2}, {"-", "_-_", 2}, {"*", "_*_", 3}, {"/", "_/_", 3}, {"%", "_%_", 3},
	};
	*ret_name = "@in";
	if (p->token.kind == TOKEN_IN)
		return 1;
	for (size_t i = 0; i < array_len(rows); i++)
		if (is(p, rows[i].symbol)) {
			*ret_name = rows[i].name;
			return rows[i].precedence;
		}
	return 0;
}

static struct node *parse_binary(struct parser *p, unsigned lowest) {
	struct node *left = parse_unary(p);
	const char *name;
	unsigned chain = 0;
	for (unsigned level; left && (level = precedence(p, &name)) >= lowest && level;) {
		uint32_t at = p->token.at;
		if (++chain > MAX_NESTING) {
			issue_add(p->source, NOWHERE, "max recursion depth exceeded");
			p->failed = true;
			return NULL;
		}
		next(p);
		struct node *right = parse_binary(p, level + 1);
		if (!right)
			return NULL;
		struct node *args[] = {left, right};
		left = node_call(p->source, at, name, false, 2, args);
	}
	return left;
}

/* Any number of terms joined by one operator are one call. */
static struct node *parse_logic(struct parser *p, const char *symbol, const char *name, struct node *(*term)(struct parser *)) {
	struct node *first = term(p);
	if (!first || !is(p, symbol))
		return first;
	uint32_t at = p->token.at;
	struct nodes terms = {0};
	nodes_add(p, &terms, first);
	while (take(p, symbol)) {
		struct node *node = term(p);
		if (!node)
			return NULL;
		nodes_add(p, &terms, node);
	}
	return node_call(p->source, at, name, false, terms.count, terms.items);
}

static struct node *parse_relation(struct parser *p) {
	return parse_binary(p, 1);
}

static struct node *parse_and(struct parser *p) {
	return parse_logic(p, "&&", "_&&_", parse_relation);
}

static struct node *parse_or(struct parser *p) {
	return parse_logic(p, "||", "_||_", parse_and);
}

static struct node *parse_expr(struct parser *p) {
	struct node *node = enter(p) ? parse_or(p) : NULL;
	if (node && is(p, "?")) {
		uint32_t at = p->token.at;
		next(p);
		struct node *yes = parse_or(p), *no = yes && expect(p, ":", "':'") ? parse_expr(p) : NULL;
		struct node *args[] = {node, yes, no};
		node = no ? node_call(p->source, at, "_?_:_", false, 3, args) : NULL;
	}
	p->nesting--;
	return node;
}

struct node *cel_parse(struct source *source) {
	if (source->length > CEL_MAX_EXPRESSION) {
		issue_add(source, NOWHERE, "expression code point size exceeds limit: size: %" PRIu32 ", limit %u", source->length, CEL_MAX_EXPRESSION);
		return NULL;
	}
	struct parser p = {.source = source, .lexer = {.source = source, .p = source->text, .end = source->text + source->len}};
	next(&p);
	struct node *root = parse_expr(&p);
	if (root && p.token.kind != TOKEN_END && !p.failed) {
		struct parser ahead = without(&p);
		fail(&p, ahead.token.kind == TOKEN_END ? "extraneous input" : "mismatched input", "<EOF>");
	}
	return source->count ? NULL : root;
}
