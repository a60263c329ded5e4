/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/log.h"

#include "common/base/buf.h"
#include "common/base/clock.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define MAX_LINE ((size_t)64 * 1024)

static int log_fd = STDERR_FILENO;
static enum log_format log_form = LOG_FORMAT_TEXT;
static int log_verbosity;
static pid_t log_pid;

void log_set_verbosity(int verbosity)
{
	__atomic_store_n(&log_verbosity, verbosity, __ATOMIC_RELAXED);
}

void log_init(int fd, enum log_format format, int verbosity)
{
	log_fd = fd;
	log_form = format;
	log_set_verbosity(verbosity);
	log_pid = getpid();
}

bool log_v(int verbosity)
{
	return __atomic_load_n(&log_verbosity, __ATOMIC_RELAXED) >= verbosity;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

static void write_text(struct buf *out, enum log_level level, const char *file, int line, const char *message,
	const struct log_field *fields, size_t count)
{
	static const char letters[] = {[LOG_LEVEL_ERROR] = 'E', [LOG_LEVEL_WARNING] = 'W', [LOG_LEVEL_INFO] = 'I'};
	struct wall_time now = clock_wall();
	time_t sec = now.sec;
	struct tm tm;
	gmtime_r(&sec, &tm);
	buf_printf(out, "%c%02d%02d %02d:%02d:%02d.%06d %7d %s:%d] ", letters[level], tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
		tm.tm_sec, (int)(now.nsec / 1000), (int)(log_pid ? log_pid : getpid()), base_name(file), line);
	buf_append_json_string(out, message, strlen(message));
	for (size_t i = 0; i < count; i++) {
		const char *value = str_or(fields[i].str, "");
		buf_printf(out, " %s=", fields[i].key);
		if (fields[i].is_int)
			buf_append_int(out, fields[i].num);
		else
			buf_append_json_string(out, value, strlen(value));
	}
}

static void write_json(struct buf *out, enum log_level level, const char *file, int line, const char *message,
	const struct log_field *fields, size_t count)
{
	static const char *const names[] = {[LOG_LEVEL_ERROR] = "error", [LOG_LEVEL_WARNING] = "warning", [LOG_LEVEL_INFO] = "info"};
	struct wall_time now = clock_wall();
	buf_printf(out, "{\"ts\":%lld.%06d,\"level\":\"%s\",\"caller\":\"%s:%d\",\"msg\":", (long long)now.sec * 1000 + now.nsec / 1000000,
		(int)(now.nsec % 1000000), names[level], base_name(file), line);
	buf_append_json_string(out, message, strlen(message));
	for (size_t i = 0; i < count; i++) {
		const char *value = str_or(fields[i].str, "");
		buf_append_char(out, ',');
		buf_append_json_string(out, fields[i].key, strlen(fields[i].key));
		buf_append_char(out, ':');
		if (fields[i].is_int)
			buf_append_int(out, fields[i].num);
		else
			buf_append_json_string(out, value, strlen(value));
	}
	buf_append_char(out, '}');
}

void log_write(enum log_level level, const char *file, int line, const char *message, const struct log_field *fields, size_t count)
{
	autobuf struct buf out = BUF_INIT(MAX_LINE);
	(log_form == LOG_FORMAT_JSON ? write_json : write_text)(&out, level, file, line, message, fields, count);
	if (buf_failed(&out)) {
		/* A value too long for a line: the event itself is still worth its line. */
		buf_reset(&out);
		(log_form == LOG_FORMAT_JSON ? write_json : write_text)(&out, level, file, line, message, NULL, 0);
	}
	buf_append_char(&out, '\n');
	ssize_t ignored = write(log_fd, out.data, out.len); /* there is nobody left to tell */
	(void)ignored;
}
