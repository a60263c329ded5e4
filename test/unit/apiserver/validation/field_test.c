/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/validation/validation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define GOOD(format, text) assert_null(format_error(format, text))
#define BAD(format, text) assert_non_null(format_error(format, text))

static void names(void **state) {
	GOOD(format_dns_label, "a-1");
	BAD(format_dns_label, "-a");
	assert_string_equal(format_error(format_dns_label, "a.b"), "must not contain dots");
	BAD(format_dns_label, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
	GOOD(format_dns_subdomain, "a.b-c.d");
	BAD(format_dns_subdomain, "a..b");
	BAD(format_dns_subdomain, "A");
	BAD(format_dns_1035_label, "1a");
	GOOD(format_qualified_name, "example.com/Name_1");
	BAD(format_qualified_name, "example.com/");
	BAD(format_qualified_name, "a/b/c");
	GOOD(format_annotation_key, "Example.com/Name_1");
	GOOD(format_label_value, "");
	BAD(format_label_value, "a b");
	GOOD(format_config_key, "a.B_c-1");
	BAD(format_config_key, "");
	BAD(format_config_key, "../x");
	GOOD(format_port_name, "http-1");
	BAD(format_port_name, "123");
	GOOD(format_wildcard_subdomain, "*.a.b");
	BAD(format_wildcard_subdomain, "*");
	GOOD(format_search_domain, "_a.b.");
	GOOD(format_search_domain, ".");
	GOOD(format_percent, "50%");
	BAD(format_percent, "%");
	GOOD(format_local_path, "a/..b");
	BAD(format_local_path, "..b");
	BAD(format_local_path, "a/../b");
	BAD(format_local_path, "/a");
	GOOD(format_condition_reason, "A,B:C_");
	BAD(format_condition_reason, "A:");
	GOOD(format_uuid, "01234567-89ab-cdef-0123-456789abcdef");
}

static void addresses(void **state) {
	assert_true(is_ip_address("::1"));
	GOOD(format_ip, "10.0.0.1");
	GOOD(format_ip, "2001:DB8::0");
	assert_string_equal(format_error(format_ip, "010.0.0.1"), "must not have leading 0s");
	assert_string_equal(format_error(format_ip, "::ffff:1.2.3.4"), "must not be an IPv4-mapped IPv6 address");
	BAD(format_ip, "1.2.3");
	BAD(format_ip_canonical, "2001:DB8::0");
	GOOD(format_ip_canonical, "2001:db8::");
	GOOD(format_cidr, "10.0.0.0/8");
	BAD(format_cidr, "10.0.0.0/33");
	BAD(format_cidr, "10.0.0.0/");
	BAD(format_cidr, "10.0.0.0/+8");
	assert_string_equal(format_error(format_cidr, "10.0.0.1/8"), "must not have bits set beyond the prefix length");
	assert_string_equal(format_error(format_cidr, "10.0.0.0/08"), "must not have leading 0s in IP or prefix length");
	GOOD(format_cidr_canonical, "fd00::/8");
	BAD(format_cidr_canonical, "FD00::/8");
}

static void schedules(void **state) {
	static const char *const good[] = {"* * * * *", "*/5 0-12/3 1,15 jan-MAR ?", "@hourly", "@every 1h30m", "59 23 31 12 6", "0 0 * * sun,tue-thu"};
	static const char *const bad[] = {"", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 7", "*/0 * * * *", "5-1 * * * *", "1, * * * *", "@never", "@every", "a * * * *",
					"@every 1x", "99999999999999999999 * * * *"};
	for (size_t i = 0; i < array_len(good); i++)
		GOOD(format_cron, good[i]);
	for (size_t i = 0; i < array_len(bad); i++)
		BAD(format_cron, bad[i]);
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
		cmocka_unit_test(names), cmocka_unit_test(addresses), cmocka_unit_test(schedules), cmocka_unit_test(paths_are_kubernetes), cmocka_unit_test(finalizers_cannot_be_added_late),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
