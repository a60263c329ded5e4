/* SPDX-License-Identifier: Apache-2.0 */
#include "common/api/json_reader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void check_found(const char *json, const char *const *known, const char *want) {
	struct api_warning_list found;
	autobuf struct buf text = BUF_INIT(1 << 20);
	json_find_duplicates(json, strlen(json), known, &found);
	for (size_t i = 0; i < found.len; i++)
		buf_printf(&text, "%s%s", i ? ", " : "", found.items[i]);
	if (strcmp(text.data ? text.data : "", want) != 0)
		fail_msg("%s: %s, not %s", json, text.data ? text.data : "", want);
	api_warning_list_done(&found);
}

static void test_duplicates(void **state) {
	check_found("{}", NULL, "");
	check_found("null", NULL, "");
	check_found("{\"a\":1,\"b\":{\"a\":1}}", NULL, "");
	check_found("{\"a\":1,\"a\":{\"b\":[],\"b\":2}}", NULL, "duplicate field \"a\", duplicate field \"a.b\"");
	check_found("{\"a\":[{\"b\":1},[{\"c\":1,\"\\u0063\":2}]]}", NULL, "duplicate field \"a[1][0].c\"");
	/* Nothing is said beyond a fault. */
	check_found("{\"a\":1,\"a\":2,\"b\":}", NULL, "duplicate field \"a\"");
	check_found("{\"a\":1,\"a\":2", NULL, "duplicate field \"a\"");
}

static void test_known(void **state) {
	static const char *const known[] = {"op", "value", NULL};
	check_found("[{\"op\":1,\"x\":1},{\"value\":{\"x\":1,\"x\":1},\"op\":1,\"op\":2}]", known, "unknown field \"[0].x\", duplicate field \"[1].value.x\", duplicate field \"[1].op\"");
	check_found("{\"x\":1}", known, "");
}

static void test_bounds(void **state) {
	autobuf struct buf deep = BUF_INIT(1 << 20);
	for (int i = 0; i < 20000; i++)
		buf_append_str(&deep, "{\"a\":");
	check_found(deep.data, NULL, "");
	autobuf struct buf many = BUF_INIT(1 << 20);
	buf_append_str(&many, "{\"a\":1");
	for (int i = 0; i < 1000; i++)
		buf_printf(&many, ",\"k%d\":1,\"k%d\":1", i, i);
	struct api_warning_list found;
	json_find_duplicates(many.data, many.len, NULL, &found);
	assert_int_equal(found.len, JSON_MAX_WARNINGS);
	api_warning_list_done(&found);
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_duplicates), cmocka_unit_test(test_known), cmocka_unit_test(test_bounds)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
