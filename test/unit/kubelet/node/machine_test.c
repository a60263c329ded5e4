/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/node/node.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#define HEAD "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"

static void test_swap_is_seen(void **state) {
	static const struct {
		const char *text;
		bool swaps;
	} rows[] = {
		{"", false},
		{HEAD, false},
		{HEAD "\n", false},
		{HEAD "/dev/vda2                               partition\t8388604\t\t0\t\t-2\n", true},
		{HEAD "/dev/zram0                              partition\t1048572\t\t0\t\t100\n", true}, /* memory that the kernel counts as swap */
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		char path[64];
		autoclose int fd = memfd_create("swaps", MFD_CLOEXEC);
		assert_int_equal(write(fd, rows[i].text, strlen(rows[i].text)), (ssize_t)strlen(rows[i].text));
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		assert_int_equal(node_machine_swaps(path), rows[i].swaps);
	}
	assert_false(node_machine_swaps("/nowhere/swaps"));
}

static void test_version_1_can_be_refused(void **state) {
	struct kubelet_options options = {.fail_cgroup_v1 = true};
	autoerror struct error err = {0};
	assert_int_equal(node_machine_prepare(&options, 1, &err), -EINVAL);
	assert_non_null(strstr(error_message(&err), "fail-cgroupv1"));
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_swap_is_seen), cmocka_unit_test(test_version_1_can_be_refused)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
