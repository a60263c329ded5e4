/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/server/rates.h"

#include "common/base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#define S NSEC_PER_SEC

static void test_rates(void **state) {
	struct rates *rates = rates_new();
	assert_int_equal(rates_look(rates, "a", 1000, 10 * S, 100 * S), 100); /* since it began */
	assert_int_equal(rates_look(rates, "a", 5000, 11 * S, 101 * S), 100); /* too soon to tell */
	assert_int_equal(rates_look(rates, "a", 5000, 20 * S, 110 * S), 400);
	assert_int_equal(rates_look(rates, "a", 5000, 30 * S, 120 * S), 0);
	assert_int_equal(rates_look(rates, "a", 300, 3 * S, 130 * S), 100); /* it began anew */
	assert_int_equal(rates_look(rates, "b", 300, 0, 130 * S), 0);
	assert_int_equal(rates_look(rates, "c", UINT64_MAX / 2, S, 130 * S) > 0, 1);
	rates_free(rates);
	rates_free(NULL);
}

static void test_forgets(void **state) {
	struct rates *rates = rates_new();
	rates_look(rates, "old", 1000, S, 0);
	rates_look(rates, "kept", 1000, S, 0);
	rates_look(rates, "kept", 1000, S, RATES_FORGET_NS / 2);
	rates_sweep(rates, RATES_FORGET_NS);
	assert_int_equal(rates_look(rates, "kept", 1000, S, RATES_FORGET_NS + S), 0);
	assert_int_equal(rates_look(rates, "old", 1000, S, RATES_FORGET_NS + S), 1000);
	rates_free(rates);
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_rates), cmocka_unit_test(test_forgets)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
