/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens of an expression, and what the escapes in its strings stand for. */
#include "common/cel/internal.h"

#include <ctype.h>

static bool is_letter(char c) {
	return isalpha((unsigned char)c) || c == '_';
}

static bool is_digit(char c) {
	return c >= '0' && c <= '9';
}

static char at(const struct lexer *l, size_t i) {
	return (size_t)(l->end - l->p) > i ? l->p[i] : '\0';
}

static void advance(struct lexer *l, size_t len) {
	l->at += (uint32_t)utf8_count(l->p, len);
	l->p += len;
}

static void skip_space(struct lexer *l) {
	for (;;) {
		size_t len = 0;
		while (at(l, len) && strchr(" \t\r\n\f", at(l, len)))
			len++;
		if (!len && at(l, 0) == '/' && at(l, 1) == '/') {
			const char *end = memchr(l->p, '\n', (size_t)(l->end - l->p));
			len = (size_t)((end ? end : l->end) - l->p);
		}
		if (!len)
			return;
		advance(l, len);
	}
}

/* Length of the number at p, and of what sort it is. */
static size_t number(const struct lexer *l, enum token_kind *ret) {
	size_t len = 0;
	*ret = TOKEN_INT;
	if (at(l, 0) == '0' && at(l, 1) == 'x' && isxdigit((unsigned char)at(l, 2))) {
		for (len = 2; isxdigit((unsigned char)at(l, len));)
			len++;
	} else {
		while (is_digit(at(l, len)))
			len++;
		if (at(l, len) == '.' && is_digit(at(l, len + 1))) {
			*ret = TOKEN_DOUBLE;
			for (len++; is_digit(at(l, len));)
				len++;
		}
		if (at(l, len) == 'e' || at(l, len) == 'E') {
			size_t exponent = len + 1 + (at(l, len + 1) == '+' || at(l, len + 1) == '-');
			if (is_digit(at(l, exponent))) {
				*ret = TOKEN_DOUBLE;
				for (len = exponent; is_digit(at(l, len));)
					len++;
			}
		}
	}
	if (*ret == TOKEN_INT && (at(l, len) == 'u' || at(l, len) == 'U')) {
		*ret = TOKEN_UINT;
		len++;
	}
	return len;
}

/* Bytes of the escape at `i` behind a backslash; 0 where it is none. */
static size_t escape(const struct lexer *l, size_t i) {
	char c = at(l, i);
	unsigned digits = c == 'x' || c == 'X' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
	if (c && strchr("abfnrtv\"'\\?`", c))
		return 1;
	if (c >= '0' && c <= '3' && at(l, i + 1) >= '0' && at(l, i + 1) <= '7' && at(l, i + 2) >= '0' && at(l, i + 2) <= '7')
		return 3;
	for (unsigned k = 1; k <= digits; k++)
		if (!isxdigit((unsigned char)at(l, i + k)))
			return 0;
	return digits ? digits + 1 : 0;
}

/* Length of the string whose quote stands at `start`; 0 with *ret_bad, where it cannot go on, where it does not end. */
static size_t string(const struct lexer *l, size_t start, bool raw, size_t *ret_bad) {
	char quote = at(l, start);
	bool triple = at(l, start + 1) == quote && at(l, start + 2) == quote;
	size_t i = start + (triple ? 3 : 1), left = (size_t)(l->end - l->p);
	while (i < left) {
		char c = l->p[i];
		if (c == quote && (!triple || (at(l, i + 1) == quote && at(l, i + 2) == quote)))
			return i + (triple ? 3 : 1);
		if (!triple && (c == '\n' || c == '\r'))
			break;
		if (c == '\\' && !raw) {
			size_t len = escape(l, i + 1);
			if (!len) {
				i = min_of(i + 2, left);
				break;
			}
			i += len;
		}
		i++;
	}
	*ret_bad = i;
	return 0;
}

static size_t quoted_ident(const struct lexer *l) {
	size_t len = 1;
	while (isalnum((unsigned char)at(l, len)) || (at(l, len) && strchr("_.-/ ", at(l, len))))
		len++;
	return len > 1 && at(l, len) == '`' ? len + 1 : 0;
}

static size_t symbol(const struct lexer *l) {
	char c = at(l, 0), next = at(l, 1);
	if ((c == '=' && next == '=') || (c == '!' && next == '=') || (c == '<' && next == '=') || (c == '>' && next == '=') || (c == '&' && next == '&') ||
	    (c == '|' && next == '|'))
		return 2;
	return c && strchr("<>[]{}().,-!?:+*/%", c) ? 1 : 0;
}

static enum token_kind word(const char *text, size_t len) {
	static const struct {
		const char *text;
		enum token_kind kind;
	} words[] = {{"true", TOKEN_TRUE}, {"false", TOKEN_FALSE}, {"null", TOKEN_NULL}, {"in", TOKEN_IN}};
	for (size_t i = 0; i < array_len(words); i++)
		if (strlen(words[i].text) == len && memcmp(words[i].text, text, len) == 0)
			return words[i].kind;
	return TOKEN_IDENT;
}

struct token lex_next(struct lexer *l) {
	for (;;) {
		skip_space(l);
		struct token t = {.text = l->p, .at = l->at};
		size_t bad = 0, prefix = 0;
		if (l->p == l->end)
			return t;
		/* r"", b"" and br"" */
		if (strchr("bB", at(l, 0)))
			prefix++;
		bool bytes = prefix, raw = at(l, prefix) && strchr("rR", at(l, prefix));
		prefix += raw;
		if (at(l, prefix) == '"' || at(l, prefix) == '\'') {
			t.kind = bytes ? TOKEN_BYTES : TOKEN_STRING;
			t.len = string(l, prefix, raw, &bad);
		} else if (is_letter(at(l, 0))) {
			while (is_letter(at(l, t.len)) || is_digit(at(l, t.len)))
				t.len++;
			t.kind = word(l->p, t.len);
		} else if (is_digit(at(l, 0)) || (at(l, 0) == '.' && is_digit(at(l, 1)))) {
			t.len = number(l, &t.kind);
		} else if (at(l, 0) == '`') {
			t.kind = TOKEN_QUOTED_IDENT;
			t.len = quoted_ident(l);
		} else if ((t.len = symbol(l))) {
			t.kind = TOKEN_SYMBOL;
			memcpy(t.symbol, l->p, t.len);
		}
		if (t.len) {
			advance(l, t.len);
			return t;
		}
		if (!bad)
			bad = utf8_offset(l->p, (size_t)(l->end - l->p), 1);
		issue_add(l->source, l->at, "Syntax error: token recognition error at: '%.*s'", (int)min_of(bad, (size_t)200), l->p);
		advance(l, bad);
	}
}

/* ---- escapes ---- */

static unsigned hex(char c) {
	return (unsigned)(is_digit(c) ? c - '0' : (c | 32) - 'a' + 10);
}

static void append_rune(struct buf *out, uint32_t c) {
	char text[4];
	size_t len;
	if (c < 0x80) {
		text[0] = (char)c;
		len = 1;
	} else if (c < 0x800) {
		text[0] = (char)(0xc0 | c >> 6);
		text[1] = (char)(0x80 | (c & 63));
		len = 2;
	} else if (c < 0x10000) {
		text[0] = (char)(0xe0 | c >> 12);
		text[1] = (char)(0x80 | (c >> 6 & 63));
		text[2] = (char)(0x80 | (c & 63));
		len = 3;
	} else {
		text[0] = (char)(0xf0 | c >> 18);
		text[1] = (char)(0x80 | (c >> 12 & 63));
		text[2] = (char)(0x80 | (c >> 6 & 63));
		text[3] = (char)(0x80 | (c & 63));
		len = 4;
	}
	buf_append(out, text, len);
}

/* One escape, p behind its backslash; the lexer has seen that it is well formed. NULL: no such character. */
static const char *unescape(const char *p, bool bytes, struct buf *out) {
	static const char letters[] = "abfnrtv", values[] = "\a\b\f\n\r\t\v";
	const char *letter = strchr(letters, *p);
	unsigned digits = *p == 'x' || *p == 'X' ? 2 : *p == 'u' ? 4 : *p == 'U' ? 8 : 0;
	uint32_t c = 0;
	if (letter) {
		buf_append_char(out, values[letter - letters]);
		return p + 1;
	}
	if (digits) {
		for (unsigned i = 1; i <= digits; i++)
			c = c << 4 | hex(p[i]);
		p += 1 + digits;
	} else if (is_digit(*p)) {
		c = (uint32_t)((p[0] - '0') << 6 | (p[1] - '0') << 3 | (p[2] - '0'));
		p += 3;
	} else {
		buf_append_char(out, *p);
		return p + 1;
	}
	if (bytes) {
		if (digits > 2)
			return NULL;
		buf_append_char(out, (char)c);
		return p;
	}
	if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return NULL;
	append_rune(out, c);
	return p;
}

bool lex_unescape(struct source *source, const struct token *token, struct cel_value *ret) {
	bool bytes = token->kind == TOKEN_BYTES;
	const char *p = token->text + bytes, *end = token->text + token->len;
	bool raw = *p == 'r' || *p == 'R';
	p += raw;
	unsigned quotes = end - p >= 6 && p[1] == p[0] && p[2] == p[0] ? 3 : 1;
	p += quotes;
	end -= quotes;
	autobuf struct buf out = BUF_INIT(BUF_MAX_DEFAULT);
	while (p < end) {
		if (*p == '\\' && !raw) {
			bool wide = p[1] == 'u' || p[1] == 'U';
			p = unescape(p + 1, bytes, &out);
			if (!p) {
				issue_add(source, token->at, bytes && wide ? "unable to unescape string" : "invalid unicode code point");
				return false;
			}
		} else if (*p == '\r') {
			buf_append_char(&out, '\n');
			p += p + 1 < end && p[1] == '\n' ? 2 : 1;
		} else {
			buf_append_char(&out, *p++);
		}
	}
	*ret = VALUE_STRING(arena_strndup(source->arena, out.data ? out.data : "", out.len), out.len);
	ret->kind = bytes ? CEL_BYTES : CEL_STRING;
	return true;
}
