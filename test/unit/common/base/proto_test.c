/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/proto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

static void test_there_and_back(void **state) {
	autobuf struct buf out = BUF_INIT(1024);
	struct proto_field f;
	proto_put_number(&out, 1, 0); /* left out */
	proto_put_number(&out, 1, UINT64_MAX);
	proto_put_number(&out, 536870911, 300);
	proto_put_text(&out, 2, "");
	proto_put_text(&out, 2, "text");
	proto_put_bytes(&out, 3, NULL, 0);
	proto_put_bytes(&out, 3, "a\0b", 3);
	struct cursor c = cursor_of(out.data, out.len);
	assert_true(proto_next(&c, &f) && f.number == 1 && f.wire == PROTO_VARINT && f.value == UINT64_MAX);
	assert_true(proto_next(&c, &f) && f.number == 536870911 && f.value == 300);
	assert_true(proto_next(&c, &f) && f.number == 2 && f.wire == PROTO_BYTES);
	autofree char *text = proto_text(&f);
	assert_string_equal(text, "text");
	assert_true(proto_next(&c, &f) && f.number == 3 && cursor_left(&f.bytes) == 0);
	autofree char *empty = proto_text(&f);
	assert_string_equal(empty, "");
	assert_true(proto_next(&c, &f) && cursor_left(&f.bytes) == 3);
	assert_null(proto_text(&f)); /* no text */
	assert_false(proto_next(&c, &f));
	assert_false(c.failed);
}

static void test_fixed(void **state) {
	static const uint8_t bytes[] = {0x09, 1, 2, 3, 4, 5, 6, 7, 8, 0x15, 1, 0, 0, 0};
	struct cursor c = cursor_of(bytes, sizeof(bytes));
	struct proto_field f;
	assert_true(proto_next(&c, &f) && f.number == 1 && f.wire == PROTO_FIXED64 && f.value == 0x0807060504030201);
	assert_true(proto_next(&c, &f) && f.number == 2 && f.wire == PROTO_FIXED32 && f.value == 1);
	assert_false(proto_next(&c, &f) || c.failed);
}

static void test_damage(void **state) {
	static const struct { const char *bytes; size_t len; } rows[] = {
		{"\x0a\x05" "abc", 5},  /* longer than what is there */
		{"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11},
		{"\x08", 1},            /* no value */
		{"\x08\x80", 2},
		{"\x00\x01", 2},        /* field 0 */
		{"\x0b", 1},            /* a group */
		{"\x09\x01\x02", 3},
		{"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		struct cursor c = cursor_of(rows[i].bytes, rows[i].len);
		struct proto_field f;
		assert_false(proto_next(&c, &f));
		assert_true(c.failed);
		assert_false(proto_next(&c, &f));
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_there_and_back), cmocka_unit_test(test_fixed), cmocka_unit_test(test_damage)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
