/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plays the whole controller manager through faults, from several seeds: test/sim/README.md. SEED= and STEPS= play one seed, RUNS= so many from it on.
 * With none of them: 100,000 steps in all.
 */
#include "test/sim/sim.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>

#define CI_RUNS 10
#define CI_STEPS 10000

static int64_t number_from(const char *name, int64_t fallback)
{
	int64_t n = fallback;
	str_to_int64(getenv(name), 0, INT64_MAX, &n);
	return n;
}

static void test_invariants_hold_whatever_fails(void **state)
{
	bool one = getenv("SEED") != NULL;
	int64_t first = number_from("SEED", 1), runs = number_from("RUNS", one ? 1 : CI_RUNS), steps = number_from("STEPS", CI_STEPS);
	for (int64_t i = 0; i < runs; i++) {
		simulate((uint64_t)(first + i), (size_t)steps);
		printf("seed %lld: %zu steps, %zu writes, %zu crashes\n", (long long)(first + i), sim.step, sim.writes, sim.crashes);
		fflush(stdout);
	}
}

int main(void)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	log_init(null, LOG_FORMAT_TEXT, 0);
	hash_set_test_seed(1, 2);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_invariants_hold_whatever_fails),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
