/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/buf.h"

#include <pthread.h>

static void overflow_sticks_and_appends_nothing(void **state)
{
	autobuf struct buf b = BUF_INIT(5);
	buf_append_str(&b, "abc");
	buf_append_str(&b, "def");
	assert_true(buf_failed(&b));
	buf_append_str(&b, "d");
	assert_string_equal(b.data, "abc");
	buf_reset(&b);
	buf_append_str(&b, "12345");
	assert_false(buf_failed(&b));
	assert_int_equal(b.len, 5);
}

static void numbers_and_formats(void **state)
{
	autobuf struct buf b = BUF_INIT(BUF_MAX_DEFAULT);
	buf_append_int(&b, INT64_MIN);
	buf_append_char(&b, ' ');
	buf_append_uint(&b, UINT64_MAX);
	buf_printf(&b, " %s %d", "x", 0);
	assert_string_equal(b.data, "-9223372036854775808 18446744073709551615 x 0");
	buf_consume(&b, 21);
	assert_string_equal(b.data, "18446744073709551615 x 0");
	buf_consume(&b, 1000);
	assert_string_equal(b.data, "");
	buf_append_str(&b, "y");
	autofree char *taken = buf_take(&b);
	assert_string_equal(taken, "y");
	assert_int_equal(b.len, 0);
}

static void json_strings_are_escaped_as_go_does(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{"", "\"\""},
		{"a\"b\\c", "\"a\\\"b\\\\c\""},
		{"\n\r\t\b\f\x01\x7f", "\"\\n\\r\\t\\b\\f\\u0001\x7f\""},
		{"<a&b>", "\"<a&b>\""},
		{"caf\xc3\xa9", "\"caf\xc3\xa9\""},
		{"\xe2\x80\xa8\xe2\x80\xa9", "\"\\u2028\\u2029\""},
		{"\xff" "a\xc3", "\"\\ufffda\\ufffd\""},
		{"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""},
		{"\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\""},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		autobuf struct buf b = BUF_INIT(BUF_MAX_DEFAULT);
		buf_append_json_string(&b, rows[i].in, strlen(rows[i].in));
		assert_string_equal(b.data, rows[i].out);
	}
}

static void base64_pads(void **state)
{
	static const char *const rows[] = {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
	for (size_t i = 0; i < array_len(rows); i++) {
		autobuf struct buf b = BUF_INIT(BUF_MAX_DEFAULT);
		buf_append_base64(&b, "foobar", i);
		assert_string_equal(b.data, rows[i]);
	}
}

static void *ref_and_unref(void *arg)
{
	for (int i = 0; i < 10000; i++)
		bytes_unref(bytes_ref(arg));
	return NULL;
}

static void bytes_are_counted_by_many_threads(void **state)
{
	autobuf struct buf b = BUF_INIT(100);
	buf_append_str(&b, "shared");
	autobytes struct bytes *bytes = buf_to_bytes(&b);
	pthread_t threads[4];
	for (size_t i = 0; i < array_len(threads); i++)
		pthread_create(&threads[i], NULL, ref_and_unref, bytes);
	for (size_t i = 0; i < array_len(threads); i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(bytes->refs, 1);
	assert_string_equal(bytes->data, "shared");
	assert_null(bytes_unref(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(overflow_sticks_and_appends_nothing),
		cmocka_unit_test(numbers_and_formats),
		cmocka_unit_test(json_strings_are_escaped_as_go_does),
		cmocka_unit_test(base64_pads),
		cmocka_unit_test(bytes_are_counted_by_many_threads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
