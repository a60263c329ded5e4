/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/validation/validation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void names(void **state) {
	assert_null(check_dns_label("a-1"));
	assert_non_null(check_dns_label("-a"));
	assert_non_null(check_dns_label("a.b"));
	assert_non_null(check_dns_label("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
	assert_null(check_dns_subdomain("a.b-c.d"));
	assert_non_null(check_dns_subdomain("a..b"));
	assert_non_null(check_dns_subdomain("A"));
	assert_non_null(check_dns_1035_label("1a"));
	assert_null(check_qualified_name("example.com/Name_1"));
	assert_non_null(check_qualified_name("example.com/"));
	assert_non_null(check_qualified_name("a/b/c"));
	assert_null(check_label_value(""));
	assert_non_null(check_label_value("a b"));
	assert_null(check_config_key("a.B_c-1"));
	assert_non_null(check_config_key(""));
	assert_non_null(check_config_key("../x"));
	assert_null(check_port_name("http-1"));
	assert_non_null(check_port_name("123"));
	assert_true(is_ip_address("::1"));
	assert_true(is_cidr("10.0.0.0/8"));
	assert_false(is_cidr("10.0.0.0/33"));
}

static void paths_are_kubernetes(void **state) {
	autoerror struct error err = {0};
	struct path spec = PATH(NULL, "spec"), container = PATH_INDEX(&spec, "containers", 2);
	required(&err, &PATH(&container, "name"), NULL);
	duplicate(&err, &PATH_KEY(&spec, "map", "k"), "v");
	assert_string_equal(err.causes[0].field, "spec.containers[2].name");
	assert_string_equal(err.causes[0].message, "Required value");
	assert_string_equal(err.causes[1].field, "spec.map[k]");
	assert_string_equal(err.causes[1].message, "Duplicate value: \"v\"");
}

static void finalizers_cannot_be_added_late(void **state) {
	autoarena struct arena *arena = arena_new();
	struct meta_v1_object_meta old = {.name = "a", .uid = "u", .deletion_timestamp = api_time_now()}, now = old;
	api_string_list_add(arena, &now.finalizers, "example.com/x");
	autoerror struct error err = {0};
	validate_object_meta_update(&now, &old, NAME_DNS_SUBDOMAIN, false, "metadata", &err);
	assert_int_equal(err.cause_count, 1);
	assert_string_equal(err.causes[0].field, "metadata.finalizers");
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names), cmocka_unit_test(paths_are_kubernetes), cmocka_unit_test(finalizers_cannot_be_added_late),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
