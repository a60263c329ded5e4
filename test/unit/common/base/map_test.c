/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/map.h"

#include <stdio.h>

static void holds_what_was_set_through_churn(void **state)
{
	automap struct map map = MAP_INIT(free);
	char key[32];
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 5000; i++) {
			snprintf(key, sizeof(key), "key-%d", i);
			map_set(&map, key, xprintf("%d", i + round));
		}
		for (int i = 0; i < 5000; i += 2) {
			snprintf(key, sizeof(key), "key-%d", i);
			assert_true(map_remove(&map, key));
			assert_false(map_remove(&map, key));
		}
		assert_int_equal(map.len, 2500);
		for (int i = 1; i < 5000; i += 2) {
			snprintf(key, sizeof(key), "key-%d", i);
			char want[16];
			snprintf(want, sizeof(want), "%d", i + round);
			assert_string_equal(map_get(&map, key), want);
		}
	}
	assert_true(map.cap <= 16384);
}

static void iteration_sees_each_once_and_may_remove(void **state)
{
	automap struct map map = MAP_INIT(NULL);
	int seen[100] = {0};
	char key[32];
	for (int i = 0; i < 100; i++) {
		snprintf(key, sizeof(key), "%d", i);
		map_set(&map, key, &seen[i]);
	}
	size_t pos = 0;
	for (struct map_entry *e; (e = map_next(&map, &pos));) {
		++*(int *)e->value;
		autofree char *copy = xstrdup(e->key);
		map_remove(&map, copy);
	}
	for (int i = 0; i < 100; i++)
		assert_int_equal(seen[i], 1);
	assert_int_equal(map.len, 0);
}

static void parts_of_keys_are_found(void **state)
{
	automap struct map set = MAP_INIT(NULL);
	assert_null(map_get(&set, "a"));
	set_add(&set, "name");
	assert_true(map_has(&set, "name"));
	assert_non_null(map_get_len(&set, "namespace", 4));
	assert_null(map_get_len(&set, "namespace", 5));
	assert_non_null(map_take(&set, "name"));
	assert_null(map_take(&set, "name"));
	map_clear(&set);
	set_add(&set, "");
	assert_true(map_has(&set, ""));
}

static void stable_hashes_are_stable(void **state)
{
	assert_int_equal(hash_fnv32("", 0), 0x811c9dc5u);
	assert_int_equal(hash_fnv32("foobar", 6), 0xbf9cf968u);
	assert_true(hash_fnv64("foobar", 6) == 0x85944171f73967e8ULL);
	assert_true(hash_bytes("abcdefghi", 9) == hash_bytes("abcdefghi", 9));
	assert_true(hash_bytes("abcdefghi", 9) != hash_bytes("abcdefghj", 9));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(holds_what_was_set_through_churn),
		cmocka_unit_test(iteration_sees_each_once_and_may_remove),
		cmocka_unit_test(parts_of_keys_are_found),
		cmocka_unit_test(stable_hashes_are_stable),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
