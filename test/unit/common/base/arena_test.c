/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/arena.h"

static int freed[3], freed_len;

static void note_free(void *p)
{
	freed[freed_len++] = *(int *)p;
}

static void memory_is_zeroed_aligned_and_apart(void **state)
{
	autoarena struct arena *arena = arena_new();
	unsigned char *last = NULL;
	for (size_t i = 0; i < 2000; i++) {
		size_t size = i * 7 % 3000;
		unsigned char *p = arena_alloc(arena, size);
		assert_int_equal((uintptr_t)p % 16, 0);
		assert_ptr_not_equal(p, last);
		for (size_t j = 0; j < size; j++)
			assert_int_equal(p[j], 0);
		memset(p, 0xaa, size);
		last = p;
	}
	assert_true(arena_size(arena) > 2000 * 1000);
}

static void strings_are_copied(void **state)
{
	autoarena struct arena *arena = arena_new();
	assert_null(arena_strdup(arena, NULL));
	assert_string_equal(arena_strdup(arena, "x"), "x");
	assert_string_equal(arena_strndup(arena, "abcdef", 2), "ab");
	assert_string_equal(arena_printf(arena, "%s/%d", "a", 5), "a/5");
	assert_memory_equal(arena_memdup(arena, "\0\1", 2), "\0\1", 2);
}

static void deferred_run_last_first(void **state)
{
	static int one = 1, two = 2, three = 3;
	struct arena *arena = arena_new();
	freed_len = 0;
	arena_defer(arena, note_free, &one);
	arena_defer(arena, note_free, &two);
	arena_defer(arena, note_free, &three);
	assert_null(arena_free(arena));
	assert_int_equal(freed_len, 3);
	assert_int_equal(freed[0], 3);
	assert_int_equal(freed[2], 1);
	assert_null(arena_free(NULL));
}

static void memory_used_again_is_zero_again(void **state)
{
	for (int round = 0; round < 20; round++) {
		struct arena *arenas[4];
		for (size_t i = 0; i < array_len(arenas); i++) {
			arenas[i] = arena_new();
			for (size_t size = 1; size < 9000; size = size * 2 + 3) {
				unsigned char *p = arena_alloc(arenas[i], size);
				for (size_t n = 0; n < size; n++)
					assert_int_equal(p[n], 0);
				memset(p, 0xff, size);
			}
		}
		for (size_t i = 0; i < array_len(arenas); i++)
			arena_free(arenas[i]);
	}
}

static void a_first_block_may_be_sized(void **state)
{
	autoarena struct arena *arena = arena_new_sized(3000);
	size_t empty = arena_size(arena);
	char *text = arena_strndup(arena, "abc", 3);
	arena_alloc(arena, 2900);
	assert_string_equal(text, "abc");
	assert_int_equal(arena_size(arena), empty);
	assert_in_range(arena_used(arena), 2904, 2904 + 16);
	arena_alloc(arena, 2000);
	assert_true(arena_size(arena) > empty);
	assert_in_range(arena_used(arena), 4904, 4904 + 32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_is_zeroed_aligned_and_apart),
		cmocka_unit_test(strings_are_copied),
		cmocka_unit_test(deferred_run_last_first),
		cmocka_unit_test(memory_used_again_is_zero_again),
		cmocka_unit_test(a_first_block_may_be_sized),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
