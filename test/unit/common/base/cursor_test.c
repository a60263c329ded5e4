/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/cursor.h"

static void reads_in_order(void **state)
{
	static const uint8_t data[] = {1, 2, 3, 4, 5, 6, 7, 1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0x80, 0xac, 0x02, 'x', 'y'};
	struct cursor c = cursor_of(data, sizeof(data));
	assert_int_equal(cursor_u8(&c), 1);
	assert_int_equal(cursor_be16(&c), 0x0203);
	assert_int_equal(cursor_be32(&c), 0x04050607);
	assert_int_equal(cursor_le32(&c), 1);
	assert_true(cursor_le64(&c) == 0x8000000000000009ULL);
	assert_int_equal(cursor_varint(&c), 300);
	assert_memory_equal(cursor_take(&c, 2), "xy", 2);
	assert_int_equal(cursor_left(&c), 0);
	assert_false(c.failed);
	assert_int_equal(cursor_u8(&c), 0);
	assert_true(c.failed);
}

static void failure_sticks(void **state)
{
	struct cursor c = cursor_of("abc", 3);
	assert_int_equal(cursor_be32(&c), 0);
	assert_true(c.failed);
	assert_int_equal(cursor_u8(&c), 0);
	assert_null(cursor_take(&c, 0));
}

static void varints_have_an_end(void **state)
{
	static const uint8_t max[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01};
	static const uint8_t over[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
	static const uint8_t endless[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00};
	struct cursor c = cursor_of(max, sizeof(max));
	assert_true(cursor_varint(&c) == UINT64_MAX && !c.failed);
	c = cursor_of(over, sizeof(over));
	assert_true(cursor_varint(&c) == 0 && c.failed);
	c = cursor_of(endless, sizeof(endless));
	assert_true(cursor_varint(&c) == 0 && c.failed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_in_order),
		cmocka_unit_test(failure_sticks),
		cmocka_unit_test(varints_have_an_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
