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
	expect("{\"properties\":{\"l\":{\"type\":\"array\"}}}", "{\"l\":[{\"x\":1},2]}", "{\"l\":[{},2]}");
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
	schema_validate(schema, value, NULL, "spec", &causes);
	schema_check_embedded(schema, value, "spec", &causes);
	schema_check_lists(schema, value, "spec", &causes);
	if (first)
		assert_string_equal(causes.causes[0].message, first);
	json_decref(schema);
	json_decref(value);
	return causes.cause_count;
}

static void judges_formats(void **state) {
	static const struct { const char *name, *good[6], *bad[7]; } rows[] = {
		{"hostname", {"a.bc", "A.COM", "ab.cd.ef", "x"}, {"a.b", "-a", "a_b.com", "a..bc", "my-host"}},
		{"ipv4", {"1.2.3.4", "01.2.3.4"}, {"1.2.3", "::1", "1.2.3.256", "1.2.3.4.5"}},
		{"ipv6", {"::1", "::ffff:1.2.3.4"}, {"1.2.3.4", "x"}},
		{"cidr", {"10.0.0.0/8", "::/0"}, {"10.0.0.1/33", "10/8", "10.0.0.0", "::/129"}},
		{"mac", {"aa:bb:cc:dd:ee:ff", "aabb.ccdd.eeff"}, {"aa:bb", "aa:bb:cc:dd:ee:gg"}},
		{"uuid", {"583e1710-ee04-4a73-9627-3170ee6595f1", "583E1710EE044A7396273170EE6595F1"}, {"x"}},
		{"uuid4", {"583e1710-ee04-4a73-9627-3170ee6595f1"}, {"583e1710-ee04-3a73-9627-3170ee6595f1", "583e1710-ee04-4a73-0627-3170ee6595f1"}},
		{"date", {"2024-02-29"}, {"2023-02-29", "2024-1-1", "20240101", ""}},
		{"date-time", {"2024-01-01T00:00:00.123+01:00"}, {"2024-01-01"}},
		{"duration", {"1h", "1 day", "-1.5h3m"}, {"x", "5"}},
		{"byte", {"aGk=", "YWJj"}, {"aGk", "", "YW Jj"}},
		{"email", {"a@b", "A <a@b.c>"}, {"a", "a b@c", "@b", "a@", "a@@b"}},
		{"uri", {"http://a.b", "/x", "mailto:a@b"}, {"x", "", "http://a b"}},
		{"creditcard", {"4111 1111 1111 1111"}, {"4111111111111112", "1234"}},
		{"isbn", {"0306406152", "9780306406157"}, {"0306406153", "x"}},
		{"isbn10", {"0306406152", "080442957X"}, {"0306406153"}},
		{"isbn13", {"9780306406157"}, {"9780306406158", "0306406152"}},
		{"hexcolor", {"#fff", "#ABCDEF"}, {"#ffff"}},
		{"rgbcolor", {"rgb(1, 2,3)"}, {"rgb(256,1,1)", "x"}},
		{"ssn", {"111-22-3333"}, {"111223333"}},
		{"bsonobjectid", {"507f1f77bcf86cd799439011"}, {"507f1f77"}},
		{"k8s-short-name", {"a-b"}, {"A", "a.b"}},
		{"k8s-long-name", {"a.b"}, {"A"}},
		{"password", {"x"}, {NULL}},
		{"unknown", {"x"}, {NULL}},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		for (const char *const *good = rows[i].good; *good; good++)
			if (!schema_format_fits(rows[i].name, *good, strlen(*good)))
				fail_msg("\"%s\" is no %s", *good, rows[i].name);
		for (const char *const *bad = rows[i].bad; *bad; bad++)
			if (schema_format_fits(rows[i].name, *bad, strlen(*bad)))
				fail_msg("\"%s\" is a %s", *bad, rows[i].name);
	}
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

/* Every cause, "field reason" each, parted by "; ". */
static void expect_causes(const char *schema_text, const char *value_text, const char *old_text, const char *wanted) {
	json_t *schema = load(schema_text), *value = load(value_text), *old = old_text ? load(old_text) : NULL;
	autoerror struct error causes = {0};
	autobuf struct buf list = BUF_INIT(64 << 10);
	schema_validate(schema, value, old, "s", &causes);
	schema_check_embedded(schema, value, "s", &causes);
	schema_check_lists(schema, value, "s", &causes);
	for (size_t i = 0; i < causes.cause_count; i++)
		buf_printf(&list, "%s%s %s", i ? "; " : "", causes.causes[i].field, causes.causes[i].reason + strlen("FieldValue"));
	assert_string_equal(str_or(list.data, ""), wanted);
	json_decref(schema);
	json_decref(value);
	json_decref(old);
}

static void tells_all_in_order(void **state) {
	static const struct { const char *schema, *value, *old, *wanted; } rows[] = {
		{"{'type':'string','enum':['a']}", "5", NULL, "s TypeInvalid; s NotSupported"},
		{"{'type':'string','nullable':true,'enum':['a']}", "null", NULL, "s NotSupported"},
		{"{'type':'string','maxLength':1,'pattern':'^a$'}", "'bb'", NULL, "s TooLong"},
		{"{'type':'string','format':'ipv4'}", "'x'", NULL, "s TypeInvalid"},
		{"{'type':'string','format':'ipv4'}", "true", NULL, "s TypeInvalid"},
		{"{'type':'integer','format':'int32'}", "3000000000", NULL, "<nil> Invalid"},
		{"{'type':'integer'}", "2.0", NULL, ""},
		{"{'type':'integer'}", "2.5", NULL, "s TypeInvalid; <nil> Invalid"},
		{"{'type':'integer','minimum':1,'multipleOf':2}", "-1", NULL, "s Invalid; s Invalid"},
		/* The schema that comes closest tells what it misses. */
		{"{'anyOf':[{'properties':{'a':{'minimum':5}}},{'required':['z']}]}", "{'a':1}", NULL, "<nil> Invalid; s.a Invalid"},
		{"{'oneOf':[{'required':['a']},{'required':['b']}]}", "{}", NULL, "<nil> Invalid; s.a Required"},
		{"{'oneOf':[{'required':['a']},{'required':['b']}]}", "{'a':1,'b':1}", NULL, "<nil> Invalid"},
		{"{'allOf':[{'required':['a']},{'required':['b']}]}", "{'a':1}", NULL, "s.b Required; <nil> Invalid"},
		{"{'not':{'required':['a']}}", "{'a':1}", NULL, "<nil> Invalid"},
		{"{'minProperties':2,'properties':{'a':{'type':'string'}},'required':['b']}", "{'a':1}", NULL, "s Invalid; s.a TypeInvalid; s.b Required"},
		/* What stood there before may stay. */
		{"{'properties':{'a':{'maximum':1},'b':{'maximum':1}}}", "{'a':5,'b':5}", "{'a':5,'b':4}", "s.b Invalid"},
		{"{'type':'array','x-kubernetes-list-type':'map','x-kubernetes-list-map-keys':['k'],'items':{'properties':{'v':{'maximum':1}}}}", "[{'k':1,'v':6},{'k':2,'v':5}]", "[{'k':2,'v':5}]", "s[0].v Invalid"},
		{"{'type':'array','items':{'maximum':1}}", "[5,6]", "[5]", "s[0] Invalid; s[1] Invalid"},
		/* Lists: what is there three times is told once. */
		{"{'type':'array','x-kubernetes-list-type':'set'}", "[1,1,1,2,2]", NULL, "s[1] Duplicate; s[4] Duplicate"},
		{"{'type':'array','x-kubernetes-list-type':'map','x-kubernetes-list-map-keys':['k']}", "[{'k':1},{'k':1},3]", NULL, "s[2] Invalid"},
		{"{'type':'object','x-kubernetes-embedded-resource':true}", "{}", NULL, "s.apiVersion Required; s.kind Required"},
		{"{'type':'object','x-kubernetes-embedded-resource':true}", "{'apiVersion':'a/b/c','kind':'_'}", NULL, "s.apiVersion Invalid; s.kind Invalid"},
		{"{'type':'object','x-kubernetes-embedded-resource':true}", "{'apiVersion':'v1','kind':'Pod','metadata':{'labels':{'-':'x'}}}", NULL, "s.metadata.labels Invalid"},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		autofree char *schema = xstrdup(rows[i].schema), *value = xstrdup(rows[i].value), *old = rows[i].old ? xstrdup(rows[i].old) : NULL;
		char *texts[] = {schema, value, old};
		for (size_t t = 0; t < array_len(texts); t++)
			for (char *p = texts[t]; p && (p = strchr(p, '\''));)
				*p = '"';
		expect_causes(schema, value, old, rows[i].wanted);
	}
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
		cmocka_unit_test(prunes_what_is_not_known), cmocka_unit_test(fills_defaults), cmocka_unit_test(judges_formats), cmocka_unit_test(validates), cmocka_unit_test(tells_all_in_order), cmocka_unit_test(paths_lead_to_values),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
