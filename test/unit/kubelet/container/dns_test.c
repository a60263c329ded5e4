/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/container/dns.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

static void test_parse(void **state) {
	autoarena struct arena *arena = arena_new();
	struct dns_config c;
	dns_parse_resolv_conf("# c\nnameserver 1.1.1.1\n\nsearch a b\nsearch c d .\noptions ndots:2 rotate\nnameserver 2.2.2.2\nnameserver 3.3.3.3\nnameserver 4.4.4.4\n", arena, &c);
	assert_int_equal(c.server_count, 3);
	assert_string_equal(c.servers[0], "1.1.1.1");
	assert_int_equal(c.search_count, 2);
	assert_string_equal(c.searches[0], "c");
	assert_null(c.searches[2]);
	assert_int_equal(c.option_count, 2);
}

static void test_cluster_first(void **state) {
	autoarena struct arena *arena = arena_new();
	struct dns_config host, c;
	dns_parse_resolv_conf("nameserver 1.1.1.1\nsearch corp\n", arena, &host);
	const char *servers[] = {"10.96.0.10"};
	dns_cluster_first(servers, 1, "ns", "cluster.local", &host, arena, &c);
	assert_int_equal(c.server_count, 1);
	assert_string_equal(c.searches[0], "ns.svc.cluster.local");
	assert_string_equal(c.searches[3], "corp");
	assert_string_equal(c.options[0], "ndots:5");
	assert_true(dns_set_option(&c, arena, "ndots", "2"));
	assert_true(dns_set_option(&c, arena, "edns0", NULL));
	assert_int_equal(c.option_count, 2);
	assert_string_equal(c.options[0], "ndots:2");
	assert_string_equal(c.options[1], "edns0");
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_parse), cmocka_unit_test(test_cluster_first)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
