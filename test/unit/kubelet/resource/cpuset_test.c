/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kubelet/resource/cpuset.h"

#include <errno.h>

static void test_text(void **state) {
	static const struct { const char *in, *out; } rows[] = {{"", ""}, {" \n", ""}, {"0", "0"}, {"3,1,2", "1-3"}, {"0-3,5,7-8\n", "0-3,5,7-8"}, {"63-64", "63-64"}, {"1-1", "1"}, {"4095", "4095"}, {"0-4095", "0-4095"}};
	for (size_t i = 0; i < array_len(rows); i++) {
		struct cpuset set;
		assert_int_equal(cpuset_parse(rows[i].in, &set, NULL), 0);
		autofree char *text = cpuset_format(&set);
		assert_string_equal(text, rows[i].out);
	}
	static const char *const bad[] = {"a", "1-", "-1", "1,", ",1", "3-1", "1 2", "1,,2", "0x1", "1-2-3"};
	struct cpuset kept = {{7}};
	for (size_t i = 0; i < array_len(bad); i++)
		assert_int_equal(cpuset_parse(bad[i], &kept, NULL), -EINVAL);
	assert_int_equal(cpuset_parse("4096", &kept, NULL), -ERANGE);
	assert_int_equal(cpuset_parse("0-99999999999999999999", &kept, NULL), -ERANGE);
	assert_int_equal(kept.words[0], 7);
}

static void test_sets(void **state) {
	struct cpuset a, b, empty = {{0}};
	assert_int_equal(cpuset_parse("0-3,100", &a, NULL), 0);
	assert_int_equal(cpuset_parse("2-5,4000", &b, NULL), 0);
	struct cpuset both = cpuset_and(&a, &b), any = cpuset_or(&a, &b), rest = cpuset_minus(&a, &b);
	autofree char *both_text = cpuset_format(&both), *any_text = cpuset_format(&any), *rest_text = cpuset_format(&rest);
	assert_string_equal(both_text, "2-3");
	assert_string_equal(any_text, "0-5,100,4000");
	assert_string_equal(rest_text, "0-1,100");
	assert_int_equal(cpuset_count(&any), 8);
	assert_true(cpuset_meet(&a, &b));
	assert_false(cpuset_meet(&rest, &b));
	assert_true(cpuset_is_empty(&empty));
	assert_true(cpuset_equal(&both, &both));
	assert_false(cpuset_has(&a, -1) || cpuset_has(&a, CPUSET_MAX));
	int last = -1, count = 0;
	for cpuset_each (cpu, &any) {
		assert_true(cpu > last);
		last = cpu;
		count++;
	}
	assert_int_equal(count, 8);
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_text), cmocka_unit_test(test_sets)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
