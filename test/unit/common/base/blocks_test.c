/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/base.h"
#include "common/base/blocks.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

static size_t mapped(void)
{
	return blocks_count().mapped;
}

static size_t used(void)
{
	return blocks_count().used;
}

static size_t size_of(unsigned class)
{
	return BLOCKS_SIZE(class);
}

/* Pages in memory, of those the block begins in and fills. */
static size_t resident(void *block, size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), count = 0;
	unsigned char there[64];
	char *from = (char *)((uintptr_t)block & ~(page - 1));
	size_t pages = ((size_t)((char *)block - from) + size + page - 1) / page;
	assert_true(pages <= sizeof(there));
	assert_int_equal(mincore(from, pages * page, there), 0);
	for (size_t i = 0; i < pages; i++)
		count += there[i] & 1;
	return count;
}

static void all_sizes_come_apart_and_zero(void **state)
{
	enum { COUNT = 400 };
	for (unsigned class = 0; class < BLOCKS_CLASSES; class++) {
		unsigned char *blocks[COUNT];
		size_t before = used();
		for (size_t i = 0; i < COUNT; i++) {
			blocks[i] = blocks_take(class);
			assert_int_equal((uintptr_t)blocks[i] % 16, 0);
			for (size_t n = 0; n < size_of(class); n++)
				assert_int_equal(blocks[i][n], 0);
			memset(blocks[i], (int)(i % 251 + 1), size_of(class));
		}
		assert_int_equal(used() - before, COUNT * size_of(class));
		for (size_t i = 0; i < COUNT; i++) {
			assert_int_equal(blocks[i][0], i % 251 + 1);
			assert_int_equal(blocks[i][size_of(class) - 1], i % 251 + 1);
		}
		for (size_t i = 0; i < COUNT; i++)
			blocks_put(blocks[i], size_of(class));
		assert_int_equal(used(), before);
	}
	blocks_trim();
	assert_int_equal(mapped(), 0);
}

static void only_what_is_said_to_be_dirty_is_zeroed(void **state)
{
	char *other = blocks_take(1), *block = blocks_take(1);
	memset(block, 1, 100);
	blocks_put(block, 60); /* a lie, to see it */
	assert_ptr_equal(blocks_take(1), block);
	for (size_t i = 0; i < size_of(1); i++)
		assert_int_equal(block[i], i >= 60 && i < 100);
	blocks_put(block, 100);
	blocks_put(other, 0);
	blocks_trim();
	assert_int_equal(mapped(), 0);
}

static void free_pages_go_back_though_their_chunk_stays(void **state)
{
	enum { COUNT = 50 };
	for (unsigned class = 0; class < BLOCKS_CLASSES; class++) {
		char *blocks[COUNT];
		for (size_t i = 0; i < COUNT; i++) {
			blocks[i] = blocks_take(class);
			memset(blocks[i], 1, size_of(class));
		}
		size_t chunks = mapped();
		/* One in ten stays, so that each chunk does, more or less. */
		for (size_t i = 0; i < COUNT; i++)
			if (i % 10)
				blocks_put(blocks[i], size_of(class));
		assert_true(resident(blocks[5], size_of(class)) > 0);
		for (int again = 0; again < 2; again++)
			blocks_trim();
		assert_true(mapped() > 0 && mapped() <= chunks);
		for (size_t i = 0; i < COUNT; i += 10) {
			for (size_t n = 0; n < size_of(class); n++)
				assert_int_equal(blocks[i][n], 1);
		}
		/* In the middle of nine free blocks, eight kilobytes or more, there is a page that nobody else has. */
		assert_int_equal(resident(blocks[5] - size_of(class) / 2, size_of(class)) <= 2, true);
		assert_int_equal(resident(blocks[5], 1), 0);
		for (size_t i = 0; i < COUNT; i++) {
			if (i % 10 == 0)
				continue;
			blocks[i] = blocks_take(class);
			for (size_t n = 0; n < size_of(class); n++)
				assert_int_equal(blocks[i][n], 0);
		}
		for (size_t i = 0; i < COUNT; i++)
			blocks_put(blocks[i], size_of(class));
		blocks_trim();
		assert_int_equal(mapped(), 0);
	}
}

static void a_hoard_is_given_back_by_itself(void **state)
{
	enum { COUNT = 3000 };
	char **blocks = xcalloc(COUNT, sizeof(*blocks));
	for (size_t i = 0; i < COUNT; i++)
		blocks[i] = blocks_take(0);
	size_t most = 0;
	/* One in a hundred stays, and with it each chunk. */
	for (size_t i = 0; i < COUNT; i++) {
		if (i % 100)
			blocks_put(blocks[i], size_of(0));
		most = max_of(most, blocks_count().dirty);
	}
	assert_true(most > 1 << 20);
	assert_true(blocks_count().dirty <= 1 << 20);
	assert_true(mapped() > COUNT * size_of(0) * 9 / 10);
	for (size_t i = 0; i < COUNT; i += 100)
		blocks_put(blocks[i], size_of(0));
	blocks_trim();
	assert_int_equal(mapped(), 0);
	assert_int_equal(blocks_count().dirty, 0);
	free(blocks);
}

static void an_empty_chunk_is_kept_but_no_second(void **state)
{
	enum { COUNT = 40 };
	void *blocks[COUNT];
	for (size_t i = 0; i < COUNT; i++)
		blocks[i] = blocks_take(4);
	size_t many = mapped();
	for (size_t i = 0; i < COUNT; i++)
		blocks_put(blocks[i], 0);
	size_t one = mapped();
	assert_true(one > 0 && one * 4 < many);
	void *again = blocks_take(4);
	assert_int_equal(mapped(), one);
	blocks_put(again, 0);
	assert_int_equal(mapped(), one);
	blocks_trim();
	assert_int_equal(mapped(), 0);
}

static void *churn(void *arg)
{
	enum { HELD = 64 };
	uint32_t state = (uint32_t)(uintptr_t)arg;
	uint32_t *held[HELD] = {0};
	for (size_t i = 0; i < 20000; i++) {
		state = state * 1664525 + 1013904223;
		size_t at = state >> 8 & (HELD - 1);
		if (held[at]) {
			assert_int_equal(*held[at], (uintptr_t)arg);
			blocks_put(held[at], sizeof(*held[at]));
			held[at] = NULL;
		} else {
			held[at] = blocks_take((state >> 16) % BLOCKS_CLASSES);
			assert_int_equal(*held[at], 0);
			*held[at] = (uint32_t)(uintptr_t)arg;
		}
		if (i % 1000 == 0)
			blocks_trim();
	}
	for (size_t i = 0; i < HELD; i++)
		if (held[i])
			blocks_put(held[i], sizeof(*held[i]));
	return NULL;
}

static void threads_share_them(void **state)
{
	pthread_t threads[4];
	for (uintptr_t i = 0; i < array_len(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, churn, (void *)(i + 1)), 0);
	for (size_t i = 0; i < array_len(threads); i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(used(), 0);
	blocks_trim();
	assert_int_equal(mapped(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_sizes_come_apart_and_zero),
		cmocka_unit_test(only_what_is_said_to_be_dirty_is_zeroed),
		cmocka_unit_test(free_pages_go_back_though_their_chunk_stays),
		cmocka_unit_test(a_hoard_is_given_back_by_itself),
		cmocka_unit_test(an_empty_chunk_is_kept_but_no_second),
		cmocka_unit_test(threads_share_them),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
