/* SPDX-License-Identifier: Apache-2.0 */
#include "common/api/yaml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void test_read(void **state) {
	static const struct {
		const char *yaml, *json; /* json NULL: refused */
	} rows[] = {
		{"a: 1\nb: [x, 'y', \"z\"]\n", "{\"a\":1,\"b\":[\"x\",\"y\",\"z\"]}"},
		{"a: yes\nb: off\nc: ~\nd: 'yes'\ne:\n", "{\"a\":true,\"b\":false,\"c\":null,\"d\":\"yes\",\"e\":null}"},
		{"a: 010\nb: 0x1f\nc: 1_000\nd: 1.50\ne: 1e3\nf: 1e+3\ng: -5", "{\"a\":8,\"b\":31,\"c\":1000,\"d\":1.5,\"e\":\"1e3\",\"f\":1000,\"g\":-5}"},
		{"1: a\ntrue: b\n", "{\"1\":\"a\",\"true\":\"b\"}"},
		{"a: 2001-01-01\nb: 10.0.0.1\nc: 1:30\n", "{\"a\":\"2001-01-01\",\"b\":\"10.0.0.1\",\"c\":\"1:30\"}"},
		{"a: &x {b: 1}\nc: *x\nd:\n  <<: *x\n  b: 2\n  e: 3\n", "{\"a\":{\"b\":1},\"c\":{\"b\":1},\"d\":{\"b\":2,\"e\":3}}"},
		{"a: |\n  l1\n  l2\nb: >\n  f1\n  f2\n", "{\"a\":\"l1\\nl2\\n\",\"b\":\"f1 f2\\n\"}"},
		{"{\"a\":\"\\ud83d\\ude00\",\"b\":[1, 2]}", "{\"a\":\"\xf0\x9f\x98\x80\",\"b\":[1,2]}"},
		{"a: !!str 5\nb: !!binary aGk=\n", "{\"a\":\"5\",\"b\":\"hi\"}"},
		{"", "null"},
		{"a: 1\na: 2\n", NULL},
		{"a: b: c\n", NULL},
		{"a: *x\n", NULL},
		{"a: .inf\n", NULL},
		{"a: 1\n---\nb: 1\n", NULL},
		{"a: &a [x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n"
		 "f: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f,*f]\n",
		 NULL},
		{"a: &a [*a]\n", NULL},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		autoerror struct error err = {0};
		autobuf struct buf out = BUF_INIT((size_t)1 << 30);
		int r = yaml_to_json_one(rows[i].yaml, strlen(rows[i].yaml), &out, &err);
		if (rows[i].json) {
			if (r < 0)
				fail_msg("%s: %s", rows[i].yaml, error_message(&err));
			assert_string_equal(out.data, rows[i].json);
		} else if (r >= 0) {
			fail_msg("accepted: %s", rows[i].yaml);
		}
	}
}

static int count_document(const char *json, size_t len, void *arg) {
	++*(int *)arg;
	return 0;
}

static void test_documents(void **state) {
	static const char text[] = "---\na: 1\n---\n# nothing\n---\nb: 2\n...\n";
	int count = 0;
	assert_int_equal(yaml_to_json(text, strlen(text), count_document, &count, NULL), 0);
	assert_int_equal(count, 2);
	static const char json[] = "{\"a\":1}\n{\"b\":2} {\"c\":3}";
	count = 0;
	assert_int_equal(yaml_to_json(json, strlen(json), count_document, &count, NULL), 0);
	assert_int_equal(count, 3);
	autoerror struct error err = {0};
	static const char twice[] = "a: 1\nb:\n  c: 1\n  c: 2\n";
	assert_true(yaml_to_json(twice, strlen(twice), count_document, &count, &err) < 0);
	assert_string_equal(err.message, "yaml: line 4: key \"c\" already set in map");
}

static void test_write(void **state) {
	static const struct {
		const char *json, *yaml;
	} rows[] = {
		{"{\"b\":1,\"a\":{\"d\":[],\"c\":{}},\"e\":[{\"x\":1,\"y\":\"2\"},[\"z\"]]}", "a:\n  c: {}\n  d: []\nb: 1\ne:\n- x: 1\n  \"y\": \"2\"\n- - z\n"},
		{"{\"a\":\"yes\",\"b\":\"\",\"c\":null,\"d\":true,\"e\":\"10\",\"f\":\"a: b\",\"g\":\"l1\\nl2\\n\",\"h\":\"*x\",\"i\":\"é\",\"j\":1.5}",
		 "a: \"yes\"\nb: \"\"\nc: null\nd: true\ne: \"10\"\nf: 'a: b'\ng: |\n  l1\n  l2\nh: '*x'\ni: é\nj: 1.5\n"},
		{"{\"a10\":1,\"a2\":2,\"k8s.io/x\":\"2026-01-02T03:04:05Z\",\"t\":\"1:30\"}", "a2: 2\na10: 1\nk8s.io/x: \"2026-01-02T03:04:05Z\"\nt: \"1:30\"\n"},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		autobuf struct buf out = BUF_INIT(1 << 20);
		assert_int_equal(yaml_from_json(rows[i].json, strlen(rows[i].json), &out, NULL), 0);
		assert_string_equal(out.data, rows[i].yaml);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_read), cmocka_unit_test(test_documents), cmocka_unit_test(test_write)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
