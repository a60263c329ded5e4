/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Container logs in CRI form: "<RFC 3339 nano> stdout|stderr F|P <text>", one line a record; P goes on in the next record of that
 * stream. Rotated files stand beside the newest as <path>.<time>[.gz]; who follows a log reads those, too, that came and went since.
 */
#ifndef CORACLE_KUBELET_LOG_READER_H
#define CORACLE_KUBELET_LOG_READER_H

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/error.h"

#define LOG_READER_MAX_LINE (256u << 10) /* bytes of a record that is read; the rest of a longer one is dropped */

struct log_record {
	struct wall_time time;
	const char *time_text; /* as it stands */
	size_t time_len;
	bool is_stderr;
	bool partial;
	const char *text; /* without the newline */
	size_t len;
};
/* One line without its newline. Returns 0 or -EINVAL. */
int log_record_parse(const char *line, size_t len, struct log_record *ret);

struct log_reader_options {
	int64_t tail_lines;  /* -1: all */
	int64_t limit_bytes; /* -1: no limit */
	bool has_since;
	struct wall_time since;
	bool timestamps;
	bool follow;
	bool want_stdout, want_stderr; /* neither: both */
};
#define LOG_READER_OPTIONS_INIT {.tail_lines = -1, .limit_bytes = -1}

/*
 * Reads the log to its end, and with `follow` on as it grows and is rotated, until ended(arg) says that no more will come (asked when all is
 * read), emit() refuses, or cancel_fd is readable. emit gets whole pieces in order and returns false to stop. Blocks.
 */
int log_reader_run(const char *path, const struct log_reader_options *options, bool (*emit)(const void *data, size_t len, void *arg), bool (*ended)(void *arg), void *arg, int cancel_fd, struct error *err);
/* The end of a log: at most so many lines and bytes of text. A log that is not there gives nothing. */
void log_reader_tail(const char *path, int64_t lines, size_t max_bytes, struct buf *out);

#endif
