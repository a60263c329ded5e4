/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/custom/custom.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static json_t *load(const char *text) {
	json_t *tree = json_loads(text, JSON_DECODE_ANY, NULL);
	assert_non_null(tree);
	return tree;
}

static void expect(const char *schema_text, const char *value_text, const char *after) {
	json_t *schema = load(schema_text), *value = load(value_text), *wanted = load(after);
	schema_prune(schema, value, false, NULL, NULL);
	schema_default(schema, value);
	assert_true(json_equal(value, wanted));
	json_decref(schema);
	json_decref(value);
	json_decref(wanted);
}

static void prunes_what_is_not_known(void **state) {
	expect("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}}}", "{\"a\":1,\"b\":2}", "{\"a\":1}");
	expect("{\"type\":\"object\",\"x-kubernetes-preserve-unknown-fields\":true}", "{\"b\":{\"c\":2}}", "{\"b\":{\"c\":2}}");
	expect("{\"properties\":{\"l\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"x\":{}}}}}}", "{\"l\":[{\"x\":1,\"y\":2}]}", "{\"l\":[{\"x\":1}]}");
	expect("{\"additionalProperties\":{\"type\":\"object\",\"properties\":{\"x\":{}}}}", "{\"k\":{\"x\":1,\"y\":2}}", "{\"k\":{\"x\":1}}");
}

static void fills_defaults(void **state) {
	expect("{\"properties\":{\"a\":{\"default\":{}, \"properties\":{\"b\":{\"default\":5}}}}}", "{}", "{\"a\":{\"b\":5}}");
	expect("{\"properties\":{\"a\":{\"default\":1}}}", "{\"a\":2}", "{\"a\":2}");
	expect("{\"properties\":{\"a\":{\"default\":1}}}", "{\"a\":null}", "{\"a\":1}");
	expect("{\"properties\":{\"a\":{\"default\":1,\"nullable\":true}}}", "{\"a\":null}", "{\"a\":null}");
}

static size_t mistakes(const char *schema_text, const char *value_text, const char *first) {
	json_t *schema = load(schema_text), *value = load(value_text);
	autoerror struct error causes = {0};
	schema_validate(schema, value, "spec", &causes);
	if (first)
		assert_string_equal(causes.causes[0].message, first);
	json_decref(schema);
	json_decref(value);
	return causes.cause_count;
}

static void validates(void **state) {
	assert_int_equal(mistakes("{\"type\":\"integer\",\"minimum\":1}", "1", NULL), 0);
	assert_int_equal(mistakes("{\"type\":\"integer\",\"minimum\":1}", "0", "Invalid value: 0: spec in body should be greater than or equal to 1"), 1);
	assert_int_equal(mistakes("{\"type\":\"string\"}", "5", "Invalid value: \"integer\": spec in body must be of type string: \"integer\""), 1);
	assert_int_equal(mistakes("{\"type\":\"object\",\"required\":[\"a\",\"b\"]}", "{\"a\":1}", "Required value"), 1);
	assert_int_equal(mistakes("{\"enum\":[\"a\",\"b\"]}", "\"c\"", "Unsupported value: \"c\": supported values: \"a\", \"b\""), 1);
	assert_int_equal(mistakes("{\"x-kubernetes-int-or-string\":true}", "\"5%\"", NULL), 0);
	assert_int_equal(mistakes("{\"x-kubernetes-int-or-string\":true}", "[]", NULL), 1);
	assert_int_equal(mistakes("{\"type\":\"array\",\"x-kubernetes-list-type\":\"set\"}", "[1,2,1]", NULL), 1);
	assert_int_equal(mistakes("{\"oneOf\":[{\"required\":[\"a\"]},{\"required\":[\"b\"]}]}", "{\"a\":1,\"b\":2}", NULL), 1);
	assert_int_equal(mistakes("{\"type\":\"string\",\"pattern\":\"^a+$\"}", "\"aaa\"", NULL), 0);
	assert_int_equal(mistakes("{\"type\":\"string\",\"pattern\":\"^a+$\"}", "\"b\"", NULL), 1);
}

static void paths_lead_to_values(void **state) {
	json_t *value = load("{\"a\":{\"b\":[{\"c\":7}],\"d.e\":8}}");
	assert_int_equal(json_integer_value(json_path(value, ".a.b[0].c")), 7);
	assert_int_equal(json_integer_value(json_path(value, ".a['d.e']")), 8);
	assert_int_equal(json_integer_value(json_path(value, ".a.d\\.e")), 8);
	assert_null(json_path(value, ".a.x.y"));
	json_decref(value);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prunes_what_is_not_known), cmocka_unit_test(fills_defaults), cmocka_unit_test(validates), cmocka_unit_test(paths_lead_to_values),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
