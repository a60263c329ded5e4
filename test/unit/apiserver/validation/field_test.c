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
	static const struct strategy strategy = {0};
	validate_object_meta_update(&now, &old, &strategy, "metadata", &err);
	assert_int_equal(err.cause_count, 1);
	assert_string_equal(err.causes[0].field, "metadata.finalizers");
}

static void metadata_is_judged_by_strategy(void **state) {
	autoarena struct arena *arena = arena_new();
	static const struct strategy strict = {0}, any = {.any_finalizer = true, .free_prefix = true}, unchecked = {.prefix_unchecked = true};
	struct meta_v1_object_meta old = {.name = "a", .uid = "u"}, now = old;
	now.generate_name = "A_b";
	api_string_list_add(arena, &now.finalizers, "plain");
	api_string_list_add(arena, &now.finalizers, "not good");
	const struct { const struct strategy *strategy; bool create; const char *fields[4]; } rows[] = {
		{&strict, false, {"metadata.generateName", "metadata.finalizers[0]", "metadata.finalizers", "metadata.finalizers[1]"}},
		{&any, false, {"metadata.finalizers"}},
		{&any, true, {"metadata.generateName", "metadata.finalizers"}},
		{&unchecked, true, {"metadata.finalizers[0]", "metadata.finalizers", "metadata.finalizers[1]"}},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		autoerror struct error err = {0};
		if (rows[i].create)
			validate_object_meta(&now, NULL, rows[i].strategy, false, "metadata", &err);
		else
			validate_object_meta_update(&now, &old, rows[i].strategy, "metadata", &err);
		for (size_t n = 0; n < array_len(rows[i].fields); n++) {
			assert_int_equal(n < err.cause_count, rows[i].fields[n] != NULL);
			if (rows[i].fields[n])
				assert_string_equal(err.causes[n].field, rows[i].fields[n]);
		}
	}
}

static void one_controller(void **state) {
	autoarena struct arena *arena = arena_new();
	struct meta_v1_object_meta meta = {.name = "a", .uid = "u"};
	for (unsigned i = 0; i < 2; i++) {
		struct meta_v1_owner_reference *ref = api_list_add(arena, &meta.owner_references);
		*ref = (struct meta_v1_owner_reference){.api_version = "v1", .kind = "Pod", .name = i ? "q" : "p", .uid = "u", .controller = api_bool(arena, true)};
	}
	static const struct strategy strategy = {0};
	autoerror struct error err = {0};
	validate_object_meta(&meta, NULL, &strategy, false, "metadata", &err);
	assert_int_equal(err.cause_count, 1);
	assert_string_equal(err.causes[0].message, "Invalid value: [{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":\"p\",\"uid\":\"u\",\"controller\":true},{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":\"q\",\"uid\":\"u\",\"controller\":true}]: Only one reference can have Controller set to true. Found \"true\" in references for Pod/p and Pod/q");
}

static void causes_are_dropped_and_moved(void **state) {
	autoerror struct error err = {0};
	const char *const fields[] = {"spec", "spec.a", "spec.a.b", "spec.ab", "spec.a[0]"};
	for (size_t i = 0; i < array_len(fields); i++)
		error_cause(&err, "FieldValueInvalid", fields[i], "bad");
	error_move_causes(&err, "spec.a", "spec.c");
	assert_string_equal(err.causes[1].field, "spec.c");
	assert_string_equal(err.causes[2].field, "spec.c.b");
	assert_string_equal(err.causes[4].field, "spec.c[0]");
	struct path spec = PATH(NULL, "spec");
	drop_beneath(&PATH(&spec, "c"), &err);
	assert_int_equal(err.cause_count, 3);
	drop_judgement(&PATH(&spec, "c"), &err);
	assert_int_equal(err.cause_count, 2);
	assert_string_equal(err.causes[1].field, "spec.ab");
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names), cmocka_unit_test(addresses), cmocka_unit_test(schedules), cmocka_unit_test(paths_are_kubernetes), cmocka_unit_test(finalizers_cannot_be_added_late),
		cmocka_unit_test(metadata_is_judged_by_strategy), cmocka_unit_test(causes_are_dropped_and_moved), cmocka_unit_test(one_controller),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
