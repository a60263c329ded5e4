/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/flags.h"

#include <errno.h>

struct options {
	char *name;
	bool all, quiet;
	int64_t count, wait;
	double qps;
	struct flag_list items, labels;
};
static const struct flag rows[] = {
	{.name = "name", .shorthand = 'n', .kind = FLAG_STRING, .offset = offsetof(struct options, name), .fallback = "x", .help = "Name."},
	{.name = "all", .shorthand = 'A', .kind = FLAG_BOOL, .offset = offsetof(struct options, all)},
	{.name = "quiet", .shorthand = 'q', .kind = FLAG_BOOL, .offset = offsetof(struct options, quiet)},
	{.name = "count", .kind = FLAG_INT, .offset = offsetof(struct options, count), .fallback = "5", .min = 1, .max = 10},
	{.name = "wait", .kind = FLAG_DURATION, .offset = offsetof(struct options, wait), .fallback = "1m"},
	{.name = "qps", .kind = FLAG_DOUBLE, .offset = offsetof(struct options, qps)},
	{.name = "items", .kind = FLAG_STRING_LIST, .offset = offsetof(struct options, items), .fallback = "default"},
	{.name = "labels", .kind = FLAG_STRING_MAP, .offset = offsetof(struct options, labels)},
	{.name = "profiling", .kind = FLAG_IGNORED},
	{.name = "guard", .kind = FLAG_REFUSED, .help = "see --name"},
};
#define ARGV(...) ((char *const *)(const char *const[]){"prog" __VA_OPT__(, ) __VA_ARGS__})
#define ARGC(...) ((int)(sizeof((const char *const[]){"prog" __VA_OPT__(, ) __VA_ARGS__}) / sizeof(char *)))
#define PARSE(o, args, err, ...) flags_parse(rows, array_len(rows), ARGC(__VA_ARGS__), ARGV(__VA_ARGS__), (o), (args), (err))

static void defaults_stand_until_replaced(void **state)
{
	struct options o = {0};
	assert_int_equal(PARSE(&o, NULL, NULL), 0);
	assert_string_equal(o.name, "x");
	assert_int_equal(o.count, 5);
	assert_true(o.wait == 60000000000LL);
	assert_int_equal(o.items.len, 1);
	flags_done(rows, array_len(rows), &o);
	assert_null(o.name);
}

static void every_form_is_read(void **state)
{
	struct options o = {0};
	struct flag_list args = {0};
	assert_int_equal(PARSE(&o, &args, NULL, "pos", "--name=a=b", "-Aq", "--count", "7", "--wait=1.5s", "--qps", "2.5", "--items=a,b", "--items",
		"c", "--labels=k=v,l=", "--profiling=false", "--", "--name"), 0);
	assert_string_equal(o.name, "a=b");
	assert_true(o.all && o.quiet);
	assert_int_equal(o.count, 7);
	assert_true(o.wait == 1500000000 && o.qps == 2.5);
	assert_int_equal(o.items.len, 3);
	assert_string_equal(o.items.items[2], "c");
	assert_int_equal(o.labels.len, 2);
	assert_int_equal(args.len, 2);
	assert_string_equal(args.items[1], "--name");
	flag_list_done(&args);
	assert_int_equal(PARSE(&o, &args, NULL, "-nfoo", "-A=false", "--profiling", "--quiet=0"), 0);
	assert_string_equal(o.name, "foo");
	assert_true(!o.all && !o.quiet);
	assert_int_equal(flags_set(rows, array_len(rows), &o, "items", "z", NULL), 0);
	assert_int_equal(o.items.len, 1);
	flags_done(rows, array_len(rows), &o);
	flag_list_done(&args);
	char *const *argv = ARGV("-A", "--name", "--all");
	assert_true(flags_given(rows, array_len(rows), 4, argv, "all"));
	assert_true(flags_given(rows, array_len(rows), 4, argv, "name"));
	assert_false(flags_given(rows, array_len(rows), 4, argv, "quiet"));
}

static void mistakes_name_the_flag(void **state)
{
	static const struct {
		const char *arg;
		const char *message;
	} bad[] = {
		{"--nope", "unknown flag: --nope"},
		{"-z", "unknown shorthand flag: 'z'"},
		{"--count=11", "invalid argument \"11\" for \"--count\" flag: must be between 1 and 10"},
		{"--count=x", "invalid argument \"x\" for \"--count\" flag: must be a whole number"},
		{"--name", "flag needs an argument: --name"},
		{"--all=maybe", "invalid argument \"maybe\" for \"--all\" flag: must be true or false"},
		{"--wait=5", "invalid argument \"5\" for \"--wait\" flag: must be a duration such as 1m30s"},
		{"--labels=a", "invalid argument \"a\" for \"--labels\" flag: must be formatted as key=value"},
		{"stray", "unexpected argument: stray"},
		{"--guard=strict", "flag --guard is not served by this program: see --name"},
		{"--guard", "flag --guard is not served by this program: see --name"},
	};
	for (size_t i = 0; i < array_len(bad); i++) {
		struct options o = {0};
		autoerror struct error err = {0};
		assert_int_equal(PARSE(&o, NULL, &err, bad[i].arg), -EINVAL);
		assert_string_equal(err.message, bad[i].message);
		flags_done(rows, array_len(rows), &o);
	}
}

static void help_lists_the_flags(void **state)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	flags_print_help(out, "prog", "Does things.", rows, array_len(rows));
	fclose(out);
	assert_non_null(strstr(text, "-n, --name string"));
	assert_non_null(strstr(text, "(default 1m)"));
	assert_null(strstr(text, "profiling"));
	assert_null(strstr(text, "guard"));
	free(text);
}

static void values_are_written_as_they_are_read(void **state)
{
	static const char *const want[] = {"a=b", "true", "false", "7", "1.5s", "2.5", "[default]", "[k=v,l=]", "", ""};
	struct options o = {0};
	assert_int_equal(PARSE(&o, NULL, NULL, "--name=a=b", "--all", "--count=7", "--wait=1.5s", "--qps=2.5", "--labels=k=v,l="), 0);
	for (size_t i = 0; i < array_len(rows); i++) {
		autobuf struct buf text = BUF_INIT(1 << 10);
		flag_format(&rows[i], &o, &text);
		assert_string_equal(str_or(text.data, ""), want[i]);
	}
	flags_done(rows, array_len(rows), &o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_stand_until_replaced),
		cmocka_unit_test(every_form_is_read),
		cmocka_unit_test(mistakes_name_the_flag),
		cmocka_unit_test(help_lists_the_flags),
		cmocka_unit_test(values_are_written_as_they_are_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
