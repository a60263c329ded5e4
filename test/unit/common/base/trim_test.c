/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/trim.h"

#include "common/base/base.h"
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

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_trim)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
