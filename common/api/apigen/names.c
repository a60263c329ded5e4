/* SPDX-License-Identifier: Apache-2.0 */
/* Names: from the API's spelling to C's. The rules stand in common/api/README.md. */
#include "common/api/apigen/schema.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

char *format(const char *fmt, ...) {
	va_list args;
	char *s = NULL;
	va_start(args, fmt);
	if (vasprintf(&s, fmt, args) < 0)
		abort();
	va_end(args);
	return s;
}

void *grow(void *items, size_t count, size_t size) {
	/* Doubles at powers of two. */
	if (count & (count - 1))
		return items;
	items = realloc(items, (count ? count * 2 : 1) * size);
	if (!items)
		abort();
	return items;
}

void words_add(struct words *words, const char *word) {
	words->items = grow(words->items, words->len, sizeof(*words->items));
	words->items[words->len++] = format("%s", word);
}

bool words_has(const struct words *words, const char *word) {
	for (size_t i = 0; i < words->len; i++)
		if (!strcmp(words->items[i], word))
			return true;
	return false;
}

/* True where a new word begins at s[i]: podIPs -> pod_ips, HTTPGet -> http_get, CSINode -> csi_node. */
static bool begins_word(const char *s, size_t i) {
	if (!i || !isupper((unsigned char)s[i]))
		return false;
	if (!isupper((unsigned char)s[i - 1]))
		return isalnum((unsigned char)s[i - 1]);
	if (!islower((unsigned char)s[i + 1]))
		return false;
	/* The plural of an acronym is no new word. */
	bool plural = s[i + 1] == 's' && (!s[i + 2] || isupper((unsigned char)s[i + 2]));
	return !plural;
}

char *name_snake(const char *name) {
	char *out = malloc(strlen(name) * 2 + 1);
	size_t len = 0;
	if (!out)
		abort();
	for (size_t i = 0; name[i]; i++) {
		char c = name[i];
		if (!isalnum((unsigned char)c)) {
			if (len && out[len - 1] != '_')
				out[len++] = '_';
			continue;
		}
		if (begins_word(name, i) && len && out[len - 1] != '_')
			out[len++] = '_';
		out[len++] = (char)tolower((unsigned char)c);
	}
	while (len && out[len - 1] == '_')
		len--;
	out[len] = 0;
	return out;
}

char *name_macro(const char *name) {
	if (!*name)
		return format("EMPTY");
	if (!strcmp(name, "*"))
		return format("ALL");
	/* "HugePages-" is what other names begin with. */
	bool prefix = name[strlen(name) - 1] == '-';
	char *s = format("%s%s", name_snake(name), prefix ? "_prefix" : "");
	for (char *c = s; *c; c++)
		*c = (char)toupper((unsigned char)*c);
	return s;
}

char *name_field(const char *json_name) {
	/* Keywords, and words that the compiler or base.h define. */
	static const char *const reserved[] = {
		"auto", "bool", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum",
		"extern", "false", "float", "for", "goto", "if", "inline", "int", "linux", "long", "noreturn", "register",
		"restrict", "return", "short", "signed", "sizeof", "static", "struct", "switch", "true", "typedef", "union",
		"unix", "unsigned", "unused", "void", "volatile", "while",
	};
	char *name = name_snake(json_name);
	for (size_t i = 0; i < lengthof(reserved); i++)
		if (!strcmp(name, reserved[i]))
			return format("%s_", name);
	return name;
}

void emit_string(FILE *out, const char *s) {
	if (!s) {
		fputs("NULL", out);
		return;
	}
	fputc('"', out);
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			fputc('\\', out);
		fputc(*s, out);
	}
	fputc('"', out);
}
