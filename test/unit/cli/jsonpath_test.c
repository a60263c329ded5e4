/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/jsonpath.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <errno.h>

static const char pods[] = "{\"kind\":\"List\",\"items\":["
	"{\"metadata\":{\"name\":\"a\",\"annotations\":{\"x.y/z\":\"ann\"}},\"status\":{\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"},{\"type\":\"Other\",\"status\":\"False\"}],\"n\":3}},"
	"{\"metadata\":{\"name\":\"b\"},\"status\":{\"phase\":\"Pending\",\"n\":1,\"list\":[1,2,3,4]}}]}";

static const struct {
	const char *template, *want;
} rows[] = {
	{"{.kind}", "List"},
	{"{.items[0].metadata.name}", "a"},
	{"{.items[*].metadata.name}", "a b"},
	{"{.items[-1].metadata.name}", "b"},
	{"{range .items[*]}{.metadata.name}{\"\\t\"}{.status.phase}{\"\\n\"}{end}", "a\tRunning\nb\tPending\n"},
	{"{.items[?(@.status.phase==\"Pending\")].metadata.name}", "b"},
	{"{.items[?(@.status.n>2)].metadata.name}", "a"},
	{"{.items[?(@.status.list)].metadata.name}", "b"},
	{"{.items[0].status.conditions[?(@.type==\"Ready\")].status}", "True"},
	{"{.items[1].status.list[1:3]}", "2 3"},
	{"{.items[1].status.list[:2]}", "1 2"},
	{"{.items[1].status.list[-2:]}", "3 4"},
	{"{.items[1].status.list[0:4:2]}", "1 3"},
	{"{.items[0].metadata.annotations.x\\.y/z}", "ann"},
	{"{.items[0].metadata.annotations['x.y/z']}", "ann"},
	{"{.items[0]['metadata','status'].name}", "a"},
	{"{..name}", "a b"},
	{"{.nothing.here}", ""},
	{"{.items[7].metadata}", ""},
	{"name: {.items[0].metadata.name}!", "name: a!"},
	{"{.items[1].metadata}", "{\"name\":\"b\"}"},
	{"{@.kind}/{$.kind}", "List/List"},
	{".kind", "List"},
};

static void test_templates(void **state)
{
	json_t *root = json_loads(pods, 0, NULL);
	for (size_t i = 0; i < array_len(rows); i++) {
		autobuf struct buf out = BUF_INIT(65536);
		autoerror struct error err = {0};
		if (jsonpath_render(rows[i].template, root, &out, &err))
			fail_msg("%s: %s", rows[i].template, err.message);
		assert_string_equal(out.data ? out.data : "", rows[i].want);
	}
	json_decref(root);
}

static void test_mistakes_are_told(void **state)
{
	static const char *const bad[] = {"{.a", "{range .items[*]}", "{end}", "{.a[}", "{.a[?(@.b==]}", "{.items[?(@.a==\"x)]}", "{.a['b}", "{.a[1:2:0]}"};
	json_t *root = json_loads(pods, 0, NULL);
	for (size_t i = 0; i < array_len(bad); i++) {
		autobuf struct buf out = BUF_INIT(65536);
		autoerror struct error err = {0};
		if (jsonpath_render(bad[i], root, &out, &err) != -EINVAL)
			fail_msg("%s was taken", bad[i]);
	}
	json_decref(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_templates),
		cmocka_unit_test(test_mistakes_are_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
