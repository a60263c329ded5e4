// lib: kubelet
/* SPDX-License-Identifier: Apache-2.0 */
/* Container logs in CRI form. The first byte chooses the options, the second how many lines of the tail; the rest is the file. */
#include "kubelet/server/log_reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LIMIT 64

struct sink {
	size_t bytes;
	int64_t limit;
};

static bool emit(const void *data, size_t len, void *arg) {
	struct sink *sink = arg;
	sink->bytes += len;
	if (sink->limit >= 0 && sink->bytes > (size_t)sink->limit)
		abort();
	return true;
}

static bool ended(void *arg) {
	return true;
}

static void must_lie_within(const struct log_record *record, const char *line, size_t len) {
	if (record->text < line || record->text + record->len > line + len || record->time_text < line || record->time_text + record->time_len > line + len)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct log_record record;
	char path[40];
	if (size < 2)
		return 0;
	const char *text = (const char *)data + 2;
	size -= 2;
	if (log_record_parse(text, size, &record) == 0)
		must_lie_within(&record, text, size);
	int fd = memfd_create("log", MFD_CLOEXEC);
	if (fd < 0 || write(fd, text, size) != (ssize_t)size)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	struct log_reader_options options = LOG_READER_OPTIONS_INIT;
	options.timestamps = data[0] & 1;
	options.want_stdout = data[0] & 2;
	options.want_stderr = data[0] & 4;
	options.has_since = data[0] & 8;
	options.since = (struct wall_time){.sec = 1700000000};
	options.follow = data[0] & 16;
	options.limit_bytes = data[0] & 32 ? LIMIT : -1;
	options.tail_lines = data[0] & 64 ? data[1] : -1;
	struct sink sink = {.limit = options.limit_bytes};
	log_reader_run(path, &options, emit, ended, &sink, -1, NULL);
	struct buf tail = BUF_INIT(4096);
	log_reader_tail(path, data[1], 2048, &tail);
	if (tail.len > 2048)
		abort();
	buf_done(&tail);
	close(fd);
	return 0;
}
