/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/container/expand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

static const char *lookup(const char *name, void *arg) {
	if (str_equal(name, "A"))
		return "alpha";
	if (str_equal(name, "EMPTY"))
		return "";
	if (str_equal(name, "NESTED"))
		return "$(A)";
	return NULL;
}

static void test_expand(void **state) {
	static const struct {
		const char *in, *out;
		size_t unknown;
	} rows[] = {
		{"$(A)", "alpha", 0},
		{"x$(A)y$(A)z", "xalphayalphaz", 0},
		{"$$(A)", "$(A)", 0},
		{"$$$(A)", "$alpha", 0},
		{"$(NONE)/$(A)", "$(NONE)/alpha", 1},
		{"$(EMPTY)", "", 0},
		{"$(NESTED)", "$(A)", 0},
		{"$A ${A} $", "$A ${A} $", 0},
		{"$(A", "$(A", 0},
		{"$()", "$()", 1},
		{"", "", 0},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		autobuf struct buf out = BUF_INIT(1024);
		assert_int_equal(expand_variables(&out, rows[i].in, lookup, NULL), rows[i].unknown);
		assert_string_equal(out.data ? out.data : "", rows[i].out);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_expand)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
