/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/container/sysctl.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

static void test_check(void **state) {
	static const struct {
		const char *name;
		bool host_network, host_ipc;
		const char *refusal;
	} rows[] = {
		{"kernel.shm_rmid_forced", false, false, NULL},
		{"kernel/shm_rmid_forced", false, false, NULL},
		{"net.ipv4.tcp_syncookies", false, true, NULL},
		{"net.ipv4.tcp_syncookies", true, false, "not allowed with host net enabled"},
		{"kernel.shm_rmid_forced", false, true, "not allowed with host ipc enabled"},
		{"kernel.msgmax", false, false, "\"kernel.msgmax\" not allowlisted"},
		{"net.core.somaxconn", false, false, NULL}, /* by the prefix */
		{"kernel.sem", false, false, NULL},
		{"kernel.semantic", false, false, "not allowlisted"},
		{"vm.swappiness", false, false, "the machine's own"}, /* allowed, yet not for a pod to have */
	};
	struct flag_list allowed = {0};
	flag_list_add(&allowed, "net.core.*");
	flag_list_add(&allowed, "kernel.sem");
	flag_list_add(&allowed, "vm.swappiness");
	for (size_t i = 0; i < array_len(rows); i++) {
		autounref struct core_v1_pod *pod = api_new_of(core_v1_pod);
		autoerror struct error err = {0};
		pod->spec.host_network = rows[i].host_network;
		pod->spec.host_ipc = rows[i].host_ipc;
		pod->spec.security_context = arena_new_type(api_arena(pod), struct core_v1_pod_security_context);
		struct core_v1_sysctl *sysctl = api_list_add(api_arena(pod), &pod->spec.security_context->sysctls);
		sysctl->name = rows[i].name;
		sysctl->value = "1";
		assert_int_equal(sysctl_check(pod, &allowed, &err), rows[i].refusal ? -EPERM : 0);
		if (rows[i].refusal && !strstr(error_message(&err), rows[i].refusal))
			fail_msg("%s: %s", rows[i].name, error_message(&err));
	}
	flag_list_done(&allowed);
}

static void test_normalize(void **state) {
	autoarena struct arena *arena = arena_new();
	assert_string_equal(sysctl_normalize(arena, "net.ipv4.conf.eth0/1.x"), "net.ipv4.conf.eth0/1.x");
	assert_string_equal(sysctl_normalize(arena, "net/ipv4/conf/eth0.1/x"), "net.ipv4.conf.eth0/1.x");
	assert_string_equal(sysctl_normalize(arena, "plain"), "plain");
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_check), cmocka_unit_test(test_normalize)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
