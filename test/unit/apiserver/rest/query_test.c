/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/rest/query.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void continue_tokens_come_back(void **state) {
	autofree char *token = continue_encode(42, "ns/name", "ns/");
	uint64_t revision;
	bool any;
	autofree char *start = NULL;
	autoerror struct error err = {0};
	assert_int_equal(continue_decode(token, "ns/", &revision, &any, &start, &err), 0);
	assert_int_equal(revision, 42);
	assert_false(any);
	/* Right after what it names, before what could follow. */
	assert_true(strcmp(start, "ns/name") > 0 && strcmp(start, "ns/name-") < 0);
	autofree char *again = continue_encode(42, start, "ns/");
	assert_string_equal(again, token);
}

/* {"v":"meta.k8s.io/v1","rv":3123,"start":"template-0016\u0000"}, and the same with a slash before: both were given out by Kubernetes. */
static void tokens_of_others_are_read(void **state) {
	static const char *const tokens[] = {"eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MzEyMywic3RhcnQiOiJ0ZW1wbGF0ZS0wMDE2XHUwMDAwIn0", "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MzEyMywic3RhcnQiOiIvdGVtcGxhdGUtMDAxNlx1MDAwMCJ9"};
	for (size_t i = 0; i < array_len(tokens); i++) {
		uint64_t revision;
		bool any;
		autofree char *start = NULL;
		assert_int_equal(continue_decode(tokens[i], "ns/", &revision, &any, &start, NULL), 0);
		assert_int_equal(revision, 3123);
		assert_string_equal(start, "ns/template-0016\x01");
	}
}

static void a_token_of_no_revision_takes_any(void **state) {
	autofree char *token = continue_encode(-1, "a", "");
	uint64_t revision;
	bool any;
	autofree char *start = NULL;
	assert_int_equal(continue_decode(token, "", &revision, &any, &start, NULL), 0);
	assert_true(any);
}

static void foreign_tokens_are_refused(void **state) {
	static const char *const bad[] = {"", "!!", "e30", "eyJ2IjoieCJ9", "bm90IGpzb24"};
	for (size_t i = 0; i < array_len(bad); i++) {
		uint64_t revision;
		bool any;
		char *start = NULL;
		autoerror struct error err = {0};
		assert_true(continue_decode(bad[i], "", &revision, &any, &start, &err) < 0);
		assert_int_equal(err.http_code, 400);
		assert_null(start);
	}
}

static void queries_match_by_prefix_name_and_labels(void **state) {
	struct api_string_map_entry labels[] = {{"app", "x"}};
	struct entry entry = {.key = "ns/a", .ns = "ns", .name = "a", .labels = {.items = labels, .len = 1}};
	struct list_query query = {.prefix = (char *)"ns/"};
	assert_true(list_query_matches(&query, &entry));
	query.prefix = (char *)"n/";
	assert_false(list_query_matches(&query, &entry));
	query.prefix = (char *)"";
	query.only_name = (char *)"b";
	assert_false(list_query_matches(&query, &entry));
	query.only_name = NULL;
	assert_int_equal(label_selector_parse("app=y", &query.labels, NULL), 0);
	assert_false(list_query_matches(&query, &entry));
	selector_free(query.labels);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(continue_tokens_come_back), cmocka_unit_test(tokens_of_others_are_read), cmocka_unit_test(a_token_of_no_revision_takes_any),
		cmocka_unit_test(foreign_tokens_are_refused), cmocka_unit_test(queries_match_by_prefix_name_and_labels),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
