/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/flags.h"

#include "common/base/clock.h"

#include <errno.h>

#define MAX_LIST_ITEMS 10000

void flag_list_add(struct flag_list *list, const char *value)
{
	list->items = xreallocarray(list->items, list->len + 1, sizeof(char *));
	list->items[list->len++] = xstrdup(value);
}

void flag_list_done(struct flag_list *list)
{
	for (size_t i = 0; i < list->len; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct flag_list){0};
}

static const struct flag *find_flag(const struct flag *flags, size_t count, const char *name, size_t len)
{
	for (size_t i = 0; i < count; i++)
		if (strlen(flags[i].name) == len && memcmp(flags[i].name, name, len) == 0)
			return &flags[i];
	return NULL;
}

static const struct flag *find_shorthand(const struct flag *flags, size_t count, char c)
{
	for (size_t i = 0; i < count; i++)
		if (c && flags[i].shorthand == c)
			return &flags[i];
	return NULL;
}

static int bad_value(const struct flag *flag, const char *value, const char *why, struct error *err)
{
	return error_set(err, EINVAL, "invalid argument \"%s\" for \"--%s\" flag: %s", value, flag->name, why);
}

static int add_items(const struct flag *flag, struct flag_list *list, const char *value, struct error *err)
{
	for (const char *p = value; *p;) {
		size_t len = strcspn(p, ",");
		autofree char *item = xstrndup(p, len);
		if (flag->kind == FLAG_STRING_MAP && !strchr(item, '='))
			return bad_value(flag, value, "must be formatted as key=value", err);
		if (list->len >= MAX_LIST_ITEMS)
			return bad_value(flag, value, "too many items", err);
		flag_list_add(list, item);
		p += len + (p[len] == ',');
	}
	return 0;
}

static int parse_bool(const struct flag *flag, const char *value, bool *ret, struct error *err)
{
	static const char *const yes[] = {"1", "t", "T", "TRUE", "true", "True"};
	static const char *const no[] = {"0", "f", "F", "FALSE", "false", "False"};
	for (size_t i = 0; i < array_len(yes); i++) {
		if (str_equal(value, yes[i]) || str_equal(value, no[i])) {
			*ret = str_equal(value, yes[i]);
			return 0;
		}
	}
	return bad_value(flag, value, "must be true or false", err);
}

static int parse_int(const struct flag *flag, const char *value, int64_t *ret, struct error *err)
{
	bool bounded = flag->min || flag->max;
	int64_t number;
	if (!str_to_int64(value, INT64_MIN, INT64_MAX, &number))
		return bad_value(flag, value, "must be a whole number", err);
	if (bounded && (number < flag->min || number > flag->max))
		return error_set(err, EINVAL, "invalid argument \"%s\" for \"--%s\" flag: must be between %lld and %lld", value, flag->name,
			(long long)flag->min, (long long)flag->max);
	*ret = number;
	return 0;
}

static int parse_double(const struct flag *flag, const char *value, double *ret, struct error *err)
{
	char *end;
	double number = strtod(value, &end);
	if (!*value || *end)
		return bad_value(flag, value, "must be a number", err);
	*ret = number;
	return 0;
}

static int set_value(const struct flag *flag, void *options, const char *value, struct error *err)
{
	void *field = (char *)options + flag->offset;
	switch (flag->kind) {
	case FLAG_STRING: {
		char *copy = xstrdup(value);
		free(*(char **)field);
		*(char **)field = copy;
		return 0;
	}
	case FLAG_BOOL:
		return parse_bool(flag, value, field, err);
	case FLAG_INT:
		return parse_int(flag, value, field, err);
	case FLAG_DOUBLE:
		return parse_double(flag, value, field, err);
	case FLAG_DURATION:
		if (duration_parse(value, strlen(value), field) == 0)
			return 0;
		return bad_value(flag, value, "must be a duration such as 1m30s", err);
	case FLAG_STRING_LIST:
	case FLAG_STRING_MAP:
		return add_items(flag, field, value, err);
	case FLAG_STRING_ARRAY:
		if (((struct flag_list *)field)->len >= MAX_LIST_ITEMS)
			return bad_value(flag, value, "too many items", err);
		flag_list_add(field, value);
		return 0;
	case FLAG_REFUSED:
		/* What is asked for by default is no more than there is. */
		if (!*value || str_equal(value, flag->fallback) || str_equal(value, "[]"))
			return 0;
		return error_set(err, EINVAL, "flag --%s is not served by this program: %s", flag->name, str_or(flag->help, "nothing stands in for it"));
	case FLAG_IGNORED:
		break;
	}
	return 0;
}

static bool is_list(const struct flag *flag)
{
	return flag->kind == FLAG_STRING_LIST || flag->kind == FLAG_STRING_MAP || flag->kind == FLAG_STRING_ARRAY;
}

/* One argument taken apart: a flag with its value, or a positional one. */
struct token {
	const struct flag *flag; /* NULL: positional */
	const char *value;       /* of the flag, or the argument itself */
};

/* Walks argv. `in_cluster` points into a "-abc" that is not yet used up. */
struct walk {
	const struct flag *flags;
	size_t count;
	int argc, at;
	char *const *argv;
	const char *in_cluster;
	bool only_positional;
};

/* The value of a flag that came without "=": the next argument, unless the flag stands by itself. */
static int take_value(struct walk *walk, struct token *token, struct error *err)
{
	const char *next = walk->at < walk->argc ? walk->argv[walk->at] : NULL;
	if (token->flag->kind == FLAG_BOOL) {
		token->value = "true";
		return 0;
	}
	/* Whether an ignored flag is a bool is not known: what looks like another flag is not its value. A refused one is refused whatever its value. */
	bool unknown = token->flag->kind == FLAG_IGNORED || token->flag->kind == FLAG_REFUSED;
	if (unknown && (!next || next[0] == '-')) {
		token->value = token->flag->kind == FLAG_REFUSED ? "true" : "";
		return 0;
	}
	if (!next)
		return error_set(err, EINVAL, "flag needs an argument: --%s", token->flag->name);
	token->value = next;
	walk->at++;
	return 0;
}

static int take_long(struct walk *walk, const char *text, struct token *token, struct error *err)
{
	size_t len = strcspn(text, "=");
	token->flag = find_flag(walk->flags, walk->count, text, len);
	if (!token->flag)
		return error_set(err, EINVAL, "unknown flag: --%.*s", (int)len, text);
	if (!text[len])
		return take_value(walk, token, err);
	token->value = text + len + 1;
	return 0;
}

static int take_short(struct walk *walk, struct token *token, struct error *err)
{
	char letter = *walk->in_cluster++;
	token->flag = find_shorthand(walk->flags, walk->count, letter);
	if (!token->flag)
		return error_set(err, EINVAL, "unknown shorthand flag: '%c'", letter);
	const char *rest = walk->in_cluster;
	if (*rest != '=' && (token->flag->kind == FLAG_BOOL || !*rest)) {
		walk->in_cluster = *rest ? rest : NULL;
		return take_value(walk, token, err);
	}
	token->value = rest + (*rest == '=');
	walk->in_cluster = NULL;
	return 0;
}

/* Returns 1 with a token, 0 at the end, or -EINVAL. */
static int walk_next(struct walk *walk, struct token *token, struct error *err)
{
	int r;
	*token = (struct token){0};
	if (walk->in_cluster) {
		r = take_short(walk, token, err);
		return r ? r : 1;
	}
	if (walk->at >= walk->argc)
		return 0;
	const char *arg = walk->argv[walk->at++];
	if (!walk->only_positional && str_equal(arg, "--")) {
		walk->only_positional = true;
		return walk_next(walk, token, err);
	}
	if (walk->only_positional || arg[0] != '-' || !arg[1]) {
		token->value = arg;
		return 1;
	}
	if (arg[1] == '-') {
		r = take_long(walk, arg + 2, token, err);
		return r ? r : 1;
	}
	walk->in_cluster = arg + 1;
	r = take_short(walk, token, err);
	return r ? r : 1;
}

static int set_fallbacks(const struct flag *flags, size_t count, void *options, struct error *err)
{
	for (size_t i = 0; i < count; i++) {
		int r = flags[i].fallback ? set_value(&flags[i], options, flags[i].fallback, err) : 0;
		if (r)
			return r;
	}
	return 0;
}

/* A list given on the command line replaces its default; given again, it grows. */
static void clear_list_once(const struct flag *flag, void *options, bool *seen)
{
	if (!*seen && is_list(flag))
		flag_list_done((struct flag_list *)(void *)((char *)options + flag->offset));
	if (!*seen && flag->kind == FLAG_IGNORED)
		fprintf(stderr, "Flag --%s is accepted and has no effect\n", flag->name);
	*seen = true;
}

int flags_parse(const struct flag *flags, size_t count, int argc, char *const *argv, void *options, struct flag_list *ret_args,
	struct error *err)
{
	struct walk walk = {.flags = flags, .count = count, .argc = argc, .at = 1, .argv = argv};
	struct token token;
	autofree bool *seen = xcalloc(count, sizeof(bool));
	int r = set_fallbacks(flags, count, options, err);
	while (!r && (r = walk_next(&walk, &token, err)) == 1) {
		r = 0;
		if (token.flag) {
			clear_list_once(token.flag, options, &seen[token.flag - flags]);
			r = set_value(token.flag, options, token.value, err);
		} else if (ret_args) {
			flag_list_add(ret_args, token.value);
		} else {
			r = error_set(err, EINVAL, "unexpected argument: %s", token.value);
		}
	}
	return r;
}

bool flags_given(const struct flag *flags, size_t count, int argc, char *const *argv, const char *name)
{
	struct walk walk = {.flags = flags, .count = count, .argc = argc, .at = 1, .argv = argv};
	struct token token;
	while (walk_next(&walk, &token, NULL) == 1)
		if (token.flag && str_equal(token.flag->name, name))
			return true;
	return false;
}

int flags_set(const struct flag *flags, size_t count, void *options, const char *name, const char *value, struct error *err)
{
	const struct flag *flag = find_flag(flags, count, name, strlen(name));
	if (!flag)
		return error_set(err, EINVAL, "unknown flag: --%s", name);
	clear_list_once(flag, options, &(bool){false});
	return set_value(flag, options, value, err);
}

void flags_done(const struct flag *flags, size_t count, void *options)
{
	for (size_t i = 0; i < count; i++) {
		void *field = (char *)options + flags[i].offset;
		if (flags[i].kind == FLAG_STRING) {
			free(*(char **)field);
			*(char **)field = NULL;
		} else if (is_list(&flags[i])) {
			flag_list_done(field);
		}
	}
}

void flags_print_help(FILE *out, const char *program, const char *summary, const struct flag *flags, size_t count)
{
	static const char *const kinds[] = {
		[FLAG_STRING] = " string", [FLAG_INT] = " int", [FLAG_DOUBLE] = " float", [FLAG_DURATION] = " duration",
		[FLAG_STRING_LIST] = " strings", [FLAG_STRING_ARRAY] = " stringArray", [FLAG_STRING_MAP] = " mapStringString", [FLAG_BOOL] = "",
	};
	fprintf(out, "%s\n\nUsage:\n  %s [flags]\n\nFlags:\n", summary, program);
	for (size_t i = 0; i < count; i++) {
		const struct flag *flag = &flags[i];
		if (flag->kind == FLAG_IGNORED || flag->kind == FLAG_REFUSED)
			continue;
		char head[128];
		int n = flag->shorthand ? snprintf(head, sizeof(head), "  -%c, --%s%s", flag->shorthand, flag->name, kinds[flag->kind])
					: snprintf(head, sizeof(head), "      --%s%s", flag->name, kinds[flag->kind]);
		fprintf(out, n < 48 ? "%-48s %s" : "%s\n%49s%s", head, n < 48 ? str_or(flag->help, "") : "", n < 48 ? "" : str_or(flag->help, ""));
		if (!str_empty(flag->fallback))
			fprintf(out, " (default %s)", flag->fallback);
		fputc('\n', out);
	}
}

void flag_format(const struct flag *flag, const void *options, struct buf *out)
{
	const void *field = (const char *)options + flag->offset;
	const struct flag_list *list = field;
	char text[64];
	switch (flag->kind) {
	case FLAG_STRING:
		buf_append_str(out, str_or(*(char *const *)field, ""));
		return;
	case FLAG_BOOL:
		buf_append_str(out, *(const bool *)field ? "true" : "false");
		return;
	case FLAG_INT:
		buf_append_int(out, *(const int64_t *)field);
		return;
	case FLAG_DOUBLE:
		buf_printf(out, "%g", *(const double *)field);
		return;
	case FLAG_DURATION:
		duration_format(*(const int64_t *)field, text);
		buf_append_str(out, text);
		return;
	case FLAG_IGNORED:
	case FLAG_REFUSED:
		return;
	default:
		buf_append_char(out, '[');
		for (size_t i = 0; i < list->len; i++)
			buf_printf(out, "%s%s", i ? "," : "", list->items[i]);
		buf_append_char(out, ']');
	}
}
