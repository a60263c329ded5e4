/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/pod/pod.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void test_a_burst_goes_and_the_rest_waits_in_a_row(void **state) {
	struct image_rate rate = {0};
	int64_t now = 1000 * NSEC_PER_SEC;
	for (int i = 0; i < 10; i++)
		assert_int_equal(image_rate_wait_ns(&rate, 5, 10, now), 0);
	for (int i = 1; i <= 4; i++)
		assert_in_range(image_rate_wait_ns(&rate, 5, 10, now), i * NSEC_PER_SEC / 5 - 1000, i * NSEC_PER_SEC / 5 + 1000);
	/* Their debt is paid with time, and more than a burst is never saved. */
	now += 60 * NSEC_PER_SEC;
	for (int i = 0; i < 10; i++)
		assert_int_equal(image_rate_wait_ns(&rate, 5, 10, now), 0);
	assert_true(image_rate_wait_ns(&rate, 5, 10, now) > 0);
}

static void test_no_limit_and_no_burst(void **state) {
	struct image_rate rate = {0};
	for (int i = 0; i < 1000; i++)
		assert_int_equal(image_rate_wait_ns(&rate, 0, 0, 5), 0);
	assert_int_equal(image_rate_wait_ns(&rate, 1, 0, 5), 0);
	assert_true(image_rate_wait_ns(&rate, 1, 0, 5) > 0);
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_burst_goes_and_the_rest_waits_in_a_row), cmocka_unit_test(test_no_limit_and_no_burst)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
