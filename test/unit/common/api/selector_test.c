/* SPDX-License-Identifier: Apache-2.0 */
#include "api/meta_v1.h"
#include "common/api/selector.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct api_string_map_entry entries[] = {{"app", "web"}, {"n", "5"}, {"tier", ""}};
static const struct api_string_map labels = {entries, array_len(entries), array_len(entries)};

static void test_labels(void **state) {
	static const struct {
		const char *text;
		bool matches;
	} rows[] = {
		{"", true}, {"app=web", true}, {"app==web", true}, {"app = web , n", true}, {"app!=web", false}, {"other!=web", true},
		{"app in (web, db)", true}, {"app notin (web,db)", false}, {"other notin (a)", true}, {"app", true}, {"!app", false},
		{"!other", true}, {"n>4", true}, {"n<5", false}, {"app>1", false}, {"tier=", true}, {"tier in ()", true}, {"tier in (,x)", true},
		{"in in (in)", false},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		autoerror struct error err = {0};
		struct selector *s;
		if (label_selector_parse(rows[i].text, &s, &err) < 0)
			fail_msg("%s: %s", rows[i].text, error_message(&err));
		if (selector_matches_labels(s, &labels) != rows[i].matches)
			fail_msg("%s", rows[i].text);
		selector_free(s);
	}
}

static void test_refused(void **state) {
	static const struct {
		const char *text, *message; /* message: how it begins */
	} rows[] = {
		{"a=b,", "found '', expected: identifier after ','"},
		{"=b", "found '=', expected: !, identifier, or 'end of string'"},
		{"a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"},
		{"a in b", "unable to parse requirement: found 'b' expected: '('"},
		{"a in (b", "unable to parse requirement: found '', expected: ',' or ')'"},
		{"a>x", "unable to parse requirement: values[0]: Invalid value: \"x\""},
		{"-a=b", "unable to parse requirement: <nil>: Invalid value: \"-a\""},
		{"a=-b", "unable to parse requirement: values[0][a]: Invalid value: \"-b\""},
		{"X!/a=b", "unable to parse requirement"},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		autoerror struct error err = {0};
		struct selector *s = NULL;
		if (label_selector_parse(rows[i].text, &s, &err) >= 0)
			fail_msg("accepted: %s", rows[i].text);
		if (!str_starts_with(err.message, rows[i].message))
			fail_msg("%s: %s", rows[i].text, err.message);
		assert_int_equal(err.http_code, 400);
	}
}

static const char *get_field(const char *key, void *arg) {
	return !strcmp(key, "status.phase") ? "Running" : !strcmp(key, "x") ? "a,b" : NULL;
}

static void test_fields(void **state) {
	static const struct {
		const char *text;
		bool matches;
	} rows[] = {
		{"", true}, {"status.phase=Running", true}, {"status.phase!=Running", false}, {"status.phase==Running,spec.nodeName=", true},
		{"spec.nodeName!=", false}, {"x=a\\,b", true},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		struct selector *s;
		assert_int_equal(field_selector_parse(rows[i].text, &s, NULL), 0);
		if (selector_matches(s, get_field, NULL) != rows[i].matches)
			fail_msg("%s", rows[i].text);
		selector_free(s);
	}
	autoerror struct error err = {0};
	struct selector *s;
	assert_true(field_selector_parse("nothing", &s, &err) < 0);
	assert_string_equal(err.message, "invalid selector: 'nothing'; can't understand 'nothing'");
	assert_int_equal(field_selector_parse("metadata.name=a,b!=c", &s, NULL), 0);
	assert_string_equal(selector_exact(s, "metadata.name"), "a");
	assert_null(selector_exact(s, "b"));
	selector_free(s);
}

static void note_demand(const char *key, const char *value, void *arg) {
	buf_printf(arg, "%s=%s;", key, value ? value : "?");
}

/* What an index may ask for: nothing that an object which matches could be without. */
static void test_demands(void **state) {
	autobuf struct buf seen = BUF_INIT(4096);
	struct selector *s;
	assert_int_equal(label_selector_parse("a=b,c in (d,e),f,!g,h!=i,j notin (k),l>3", &s, NULL), 0);
	selector_each_demand(s, note_demand, &seen);
	assert_string_equal(seen.data, "a=b;c=?;f=?;l=?;");
	selector_free(s);
	buf_reset(&seen);
	assert_int_equal(field_selector_parse("a=b,c!=d,e=", &s, NULL), 0);
	selector_each_demand(s, note_demand, &seen);
	assert_string_equal(seen.data, "a=b;e=;");
	selector_free(s);
	selector_each_demand(NULL, note_demand, &seen);
}

static void test_from_object(void **state) {
	static const char json[] = "{\"matchLabels\":{\"app\":\"web\"},\"matchExpressions\":[{\"key\":\"n\",\"operator\":\"In\",\"values\":[\"5\"]},{\"key\":\"z\",\"operator\":\"DoesNotExist\"}]}";
	autoarena struct arena *arena = arena_new();
	struct meta_v1_label_selector from = {0};
	struct selector *s;
	assert_int_equal(api_decode_json_value(&meta_v1_label_selector_type, json, strlen(json), &from, arena, NULL), 0);
	assert_int_equal(label_selector_from(&from, &s, NULL), 0);
	assert_true(selector_matches_labels(s, &labels));
	assert_false(selector_is_empty(s));
	selector_free(s);
	assert_int_equal(label_selector_from(NULL, &s, NULL), 0);
	assert_false(selector_matches_labels(s, &labels));
	assert_false(selector_is_empty(s));
	selector_free(s);
	assert_int_equal(label_selector_from(&(struct meta_v1_label_selector){0}, &s, NULL), 0);
	assert_true(selector_matches_labels(s, &labels) && selector_is_empty(s));
	selector_free(s);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_labels), cmocka_unit_test(test_refused), cmocka_unit_test(test_fields), cmocka_unit_test(test_demands), cmocka_unit_test(test_from_object),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
