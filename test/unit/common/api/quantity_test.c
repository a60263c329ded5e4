/* SPDX-License-Identifier: Apache-2.0 */
#include "common/api/scalar.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void test_canonical(void **state) {
	static const struct {
		const char *text, *canonical;
		int64_t value, milli;
	} rows[] = {
		{"0", "0", 0, 0},
		{"1", "1", 1, 1000},
		{"1000m", "1", 1, 1000},
		{"1500m", "1500m", 2, 1500},
		{"0.5", "500m", 1, 500},
		{"100m", "100m", 1, 100},
		{"0.0001", "100u", 1, 1},
		{"1000", "1k", 1000, 1000000},
		{"1024", "1024", 1024, 1024000},
		{"1024Ki", "1Mi", 1048576, 1048576000},
		{"1.5Gi", "1536Mi", 1610612736, 1610612736000},
		{"0.5Gi", "512Mi", 536870912, 536870912000},
		{"1Ki", "1Ki", 1024, 1024000},
		{"0.5Ki", "512", 512, 512000},
		{"0.1Mi", "104857600m", 104858, 104857600},
		{"0Mi", "0", 0, 0},
		{"1e3", "1e3", 1000, 1000000},
		{"12e6", "12e6", 12000000, 12000000000},
		{"1E", "1E", 1000000000000000000, INT64_MAX},
		{"100E", "100E", INT64_MAX, INT64_MAX},
		{"-5", "-5", -5, -5000},
		{"-1500m", "-1500m", -2, -1500},
		{"0.0000000001", "1n", 1, 1},
		{"1.", "1", 1, 1000},
		{".5", "500m", 1, 500},
		{"010", "10", 10, 10000},
		{"9223372036854775807", "9223372036854775807", INT64_MAX, INT64_MAX},
		{"8Ei", "9223372036854775807", INT64_MAX, INT64_MAX},
		{"128974848", "128974848", 128974848, 128974848000},
		{"129e6", "129e6", 129000000, 129000000000},
		{"123Mi", "123Mi", 128974848, 128974848000},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		struct quantity q;
		char text[64];
		assert_int_equal(quantity_parse(rows[i].text, strlen(rows[i].text), &q), 0);
		quantity_format(&q, text);
		assert_string_equal(text, rows[i].canonical);
		assert_int_equal(quantity_value(&q), rows[i].value);
		assert_int_equal(quantity_milli_value(&q), rows[i].milli);
	}
}

static void test_refused(void **state) {
	static const char *const rows[] = {"", "abc", "1x", "1 Gi", "1.2.3", "--1", "1Kib", "1ee3", "1e", "1m5", "Gi1", "0x10", "1e99999999999"};
	for (size_t i = 0; i < array_len(rows); i++) {
		struct quantity q = {.nano = 7};
		if (quantity_parse(rows[i], strlen(rows[i]), &q) != -22)
			fail_msg("accepted: %s", rows[i]);
		assert_int_equal((int)q.nano, 7);
	}
}

static void test_arithmetic(void **state) {
	struct quantity sum = {0}, a, b;
	char text[64];
	quantity_parse("128Mi", 5, &a);
	quantity_parse("100M", 4, &b);
	quantity_add(&sum, &a);
	quantity_add(&sum, &a);
	quantity_format(&sum, text);
	assert_string_equal(text, "256Mi");
	quantity_sub(&sum, &b);
	quantity_format(&sum, text);
	assert_string_equal(text, "168435456");
	assert_true(quantity_compare(&a, &b) > 0);
	struct quantity milli = quantity_of_milli(250, QUANTITY_DECIMAL_SI);
	quantity_format(&milli, text);
	assert_string_equal(text, "250m");
}

static void test_int_or_string(void **state) {
	static const struct {
		struct int_or_string v;
		int total;
		bool up;
		int want; /* -1: refused */
	} rows[] = {
		{{.num = 3}, 10, true, 3}, {{.str = "25%"}, 10, true, 3}, {{.str = "25%"}, 10, false, 2}, {{.str = "100%"}, 7, false, 7},
		{{.str = "0%"}, 7, true, 0}, {{.str = "abc"}, 7, true, -1}, {{.str = "5"}, 7, true, -1}, {{.str = "%"}, 7, true, -1},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		int got = -1;
		int r = int_or_string_scaled(&rows[i].v, rows[i].total, rows[i].up, &got);
		assert_int_equal(r < 0 ? -1 : got, rows[i].want);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_canonical), cmocka_unit_test(test_refused), cmocka_unit_test(test_arithmetic), cmocka_unit_test(test_int_or_string),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
