/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/trim.h"

#include "common/base/base.h"
#include "common/base/blocks.h"
#include "common/base/file.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#define SIZE (64 * 4096)
#define BURST (4u << 20)

static char *map_file(const char *path, int protection) {
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *at = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	assert_true(at != MAP_FAILED);
	if (protection == PROT_READ)
		assert_int_equal(mprotect(at, SIZE, PROT_READ), 0);
	return at;
}

static size_t resident(char *at) {
	autofree char *text = NULL;
	size_t len;
	assert_int_equal(file_read(AT_FDCWD, "/proc/self/smaps", 16 << 20, &text, &len, NULL), 0);
	char key[32];
	snprintf(key, sizeof(key), "%lx-", (unsigned long)at);
	const char *rss = strstr(strstr(text, key), "Rss:");
	unsigned long kib;
	assert_int_equal(sscanf(rss, "Rss: %lu kB", &kib), 1);
	return kib;
}

/* Clean pages of a file go and come back the same; a copy that was written to, and was made read only since, stays. */
static void test_trim(void **state) {
	char path[] = "/tmp/trim-test-XXXXXX";
	int fd = mkstemp(path);
	for (int i = 0; i < SIZE / 4; i++)
		assert_int_equal(write(fd, &i, 4), 4);
	close(fd);
	char *clean = map_file(path, PROT_READ), *copied = map_file(path, PROT_READ | PROT_WRITE);
	memcpy(copied + 4096, "written", 8);
	assert_int_equal(mprotect(copied, SIZE, PROT_READ), 0);
	volatile unsigned sum = 0;
	for (int i = 0; i < SIZE; i += 4096)
		sum += (unsigned char)clean[i] + (unsigned char)copied[i];
	(void)sum;
	assert_true(resident(clean) > 0);
	memory_trim();
	assert_int_equal(resident(clean), 0);
	assert_string_equal(copied + 4096, "written");
	for (int i = 0; i < SIZE / 4; i += 999) {
		int value;
		memcpy(&value, clean + i * 4, 4);
		assert_int_equal(value, i);
	}
	munmap(clean, SIZE);
	munmap(copied, SIZE);
	unlink(path);
}

/* Nothing at once, when a daemon has its hands full; what the start took later; then seldom. */
static void test_look(void **state) {
	char path[] = "/tmp/trim-test-XXXXXX";
	int fd = mkstemp(path);
	assert_int_equal(ftruncate(fd, SIZE), 0);
	close(fd);
	volatile char *clean = map_file(path, PROT_READ);
	unlink(path);
	(void)clean[0];
	unsigned step = 0;
	int first = memory_look(&step);
	assert_true(first > 0);
	assert_true(resident((char *)clean) > 0);
	int then = memory_look(&step);
	assert_true(then >= first);
	assert_int_equal(resident((char *)clean), 0);
	(void)clean[0];
	assert_int_equal(memory_look(&step), then);
	assert_true(resident((char *)clean) > 0); /* pages in use are not taken away again and again */
	volatile char *burst = mmap(NULL, BURST, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset((char *)burst, 1, BURST);
	assert_int_equal(memory_look(&step), then);
	assert_true(resident((char *)clean) > 0); /* it may go on */
	assert_int_equal(memory_look(&step), then);
	assert_int_equal(resident((char *)clean), 0); /* it is over */
	(void)clean[0];
	memory_look(&step);
	assert_true(resident((char *)clean) > 0);
	for (unsigned looks = 0; resident((char *)clean) > 0; looks++) {
		assert_true(looks < 4); /* as it is still so much later */
		memory_look(&step);
	}
	munmap((char *)burst, BURST);
	munmap((char *)clean, SIZE);
}

/* Of blocks taken one in eight stays, so that their chunks do. */
static size_t leave_free(unsigned classes, size_t bytes_of_each) {
	static void *blocks[2048];
	for (unsigned class = 0; class < classes; class++) {
		size_t count = bytes_of_each / BLOCKS_SIZE(class);
		assert_true(count <= array_len(blocks));
		for (size_t i = 0; i < count; i++)
			memset(blocks[i] = blocks_take(class), 1, BLOCKS_SIZE(class));
		for (size_t i = 0; i < count; i++)
			if (i % 8)
				blocks_put(blocks[i], BLOCKS_SIZE(class));
	}
	return blocks_count().dirty;
}

/* What is left free goes at the next look where it is much; where it is little, once the process has worked for so long that the look costs little beside it. */
static void test_look_after_bursts(void **state) {
	const size_t part = (size_t)900 << 10;
	unsigned step = 0;
	memory_look(&step);
	memory_look(&step);
	size_t much = leave_free(BLOCKS_CLASSES, part);
	assert_true(much > (size_t)2 << 20);
	memory_look(&step);
	assert_true(blocks_count().dirty < much / 2);
	memory_look(&step); /* its size is as it was after that */
	size_t little = leave_free(2, part);
	assert_true(little > (size_t)640 << 10);
	volatile unsigned work = 0;
	for (unsigned turns = 0; blocks_count().dirty == little; turns++) {
		assert_true(turns < 100000);
		for (unsigned i = 0; i < 100000; i++)
			work += i;
		memory_look(&step);
	}
	(void)work;
}

/* What was written to counts as anonymous, what a file holds does not. */
static void test_use(void **state) {
	const size_t size = 32u << 20;
	struct memory_use before = memory_use();
	assert_true(before.anonymous > 0 && before.anonymous <= before.resident);
	char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(at != MAP_FAILED);
	memset(at, 1, size);
	struct memory_use after = memory_use();
	assert_true(after.anonymous > before.anonymous + size / 2);
	assert_true(after.resident > before.resident + size / 2);
	munmap(at, size);
	assert_true(memory_use().anonymous < before.anonymous + size / 2);
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_trim), cmocka_unit_test(test_look), cmocka_unit_test(test_look_after_bursts), cmocka_unit_test(test_use)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
