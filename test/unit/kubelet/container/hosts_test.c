/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/container/hosts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

static void test_managed(void **state) {
	autobuf struct buf out = BUF_INIT(4096);
	const char *ips[] = {"10.0.0.2", "fd00::2"};
	const char *names[] = {"foo", "bar"};
	struct hosts_alias alias = {.ip = "1.2.3.4", .hostnames = names, .hostname_count = 2};
	hosts_write(&out, NULL, ips, 2, "pod", "sub.ns.svc.cluster.local", &alias, 1);
	assert_string_equal(out.data, "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
				      "fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n"
				      "10.0.0.2\tpod.sub.ns.svc.cluster.local\tpod\nfd00::2\tpod.sub.ns.svc.cluster.local\tpod\n"
				      "\n# Entries added by HostAliases.\n1.2.3.4\tfoo\tbar\n");
}

static void test_host_network(void **state) {
	autobuf struct buf out = BUF_INIT(4096);
	hosts_write(&out, "127.0.0.1 localhost\n", NULL, 0, "node", NULL, NULL, 0);
	assert_string_equal(out.data, "# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n");
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_managed), cmocka_unit_test(test_host_network)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
