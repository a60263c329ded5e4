/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/server/log_reader.h"

#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdint.h>
#include <cmocka.h>
#include <unistd.h>
#include <zlib.h>

static char path[64];

static const char text[] = "2026-01-02T15:04:05.000000001Z stdout F one\n"
			   "2026-01-02T15:04:06.5+00:00 stderr F two\n"
			   "broken line\n"
			   "2026-01-02T15:04:07Z stdout P thr\n"
			   "2026-01-02T15:04:07Z stdout F ee\n"
			   "2026-01-02T15:04:08Z stdout F four\n";

static int make(void **state) {
	snprintf(path, sizeof(path), "/tmp/log-reader-XXXXXX");
	autoclose int fd = mkstemp(path);
	return fd < 0 || write(fd, text, strlen(text)) < 0;
}

static int drop(void **state) {
	return unlink(path);
}

static bool keep(const void *data, size_t len, void *arg) {
	buf_append(arg, data, len);
	return true;
}

static void expect(const struct log_reader_options *options, const char *want) {
	autobuf struct buf out = BUF_INIT(65536);
	assert_int_equal(log_reader_run(path, options, keep, NULL, &out, -1, NULL), 0);
	assert_string_equal(out.data ? out.data : "", want);
}

static void test_options(void **state) {
	struct log_reader_options o = LOG_READER_OPTIONS_INIT;
	expect(&o, "one\ntwo\nthree\nfour\n");
	o.tail_lines = 1;
	expect(&o, "four\n");
	o.tail_lines = 0;
	expect(&o, "");
	o.tail_lines = 100;
	o.limit_bytes = 5;
	expect(&o, "one\nt");
	o = (struct log_reader_options)LOG_READER_OPTIONS_INIT;
	o.want_stderr = true;
	o.timestamps = true;
	expect(&o, "2026-01-02T15:04:06.5+00:00 two\n");
	o = (struct log_reader_options)LOG_READER_OPTIONS_INIT;
	o.has_since = true;
	assert_int_equal(time_parse_rfc3339("2026-01-02T15:04:07Z", 20, &o.since), 0);
	expect(&o, "three\nfour\n");
}

static int looks;
/* Once all is read more is written, then it is over. */
static bool ended(void *arg) {
	if (++looks == 2) {
		autoclose int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
		static const char more[] = "2026-01-02T15:04:09Z stdout F five\n";
		assert_int_equal(write(fd, more, strlen(more)), strlen(more));
	}
	return looks >= 3;
}

static void test_follow(void **state) {
	struct log_reader_options o = LOG_READER_OPTIONS_INIT;
	autobuf struct buf out = BUF_INIT(65536);
	o.follow = true;
	o.tail_lines = 1;
	looks = 0;
	assert_int_equal(log_reader_run(path, &o, keep, ended, &out, -1, NULL), 0);
	assert_string_equal(out.data, "four\nfive\n");
}

static void append(const char *suffix, const char *words) {
	autofree char *file = xprintf("%s%s", path, suffix), *line = xprintf("2026-01-02T15:04:09Z stdout F %s\n", words);
	autoclose int fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, line, strlen(line)), strlen(line));
}

static void rotate(const char *stamp) {
	autofree char *file = xprintf("%s.%s", path, stamp);
	assert_int_equal(rename(path, file), 0);
}

static void pack(const char *stamp) {
	autofree char *file = xprintf("%s.%s", path, stamp), *compressed = xprintf("%s.gz", file), *data = NULL;
	size_t len;
	assert_int_equal(file_read(AT_FDCWD, file, 65536, &data, &len, NULL), 0);
	gzFile gz = gzopen(compressed, "wb");
	assert_int_equal(gzwrite(gz, data, (unsigned)len), (int)len);
	assert_int_equal(gzclose(gz), Z_OK);
	unlink(file);
}

static bool compressed;
/* Between two looks of the reader its file goes, with words that came last, and another comes and goes. */
static bool rotates_twice(void *arg) {
	if (++looks == 2) {
		rotate("20260102-150410");
		append(".20260102-150410", "late");
		append("", "missed");
		rotate("20260102-150411");
		if (compressed) {
			pack("20260102-150410");
			pack("20260102-150411");
		}
		append("", "new");
	}
	return looks >= 4;
}

static void test_rotations_between_two_looks(void **state) {
	static const char *const left[] = {".20260102-150409", ".20260102-150410", ".20260102-150411", ".20260102-150410.gz", ".20260102-150411.gz"};
	struct log_reader_options o = LOG_READER_OPTIONS_INIT;
	o.follow = true;
	o.tail_lines = 1;
	for (int i = 0; i < 2; i++) {
		autobuf struct buf out = BUF_INIT(65536);
		compressed = i;
		looks = 0;
		append(".20260102-150409", "long gone");
		append("", "first");
		assert_int_equal(log_reader_run(path, &o, keep, rotates_twice, &out, -1, NULL), 0);
		assert_string_equal(out.data, "first\nlate\nmissed\nnew\n");
		for (size_t n = 0; n < array_len(left); n++) {
			autofree char *file = xprintf("%s%s", path, left[n]);
			unlink(file);
		}
	}
}

static void test_bad_records(void **state) {
	static const char *const bad[] = {"", "x", "2026-01-02T15:04:05Z", "2026-01-02T15:04:05Z stdin F x", "2026-01-02T15:04:05Z stdout", "yesterday stdout F x"};
	struct log_record record;
	for (size_t i = 0; i < array_len(bad); i++)
		assert_int_equal(log_record_parse(bad[i], strlen(bad[i]), &record), -EINVAL);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_options, make, drop),
		cmocka_unit_test_setup_teardown(test_follow, make, drop),
		cmocka_unit_test_setup_teardown(test_rotations_between_two_looks, make, drop),
		cmocka_unit_test(test_bad_records),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
