/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/server/log_reader.h"

#include "kubelet/runtime/log_files.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define CHUNK 65536
#define RECHECK_MS 1000 /* a rotation or an end that inotify does not show */

int log_record_parse(const char *line, size_t len, struct log_record *ret) {
	const char *end = line + len, *space = memchr(line, ' ', len);
	struct log_record record = {.time_text = line};
	if (!space)
		return -EINVAL;
	record.time_len = (size_t)(space - line);
	if (time_parse_rfc3339(line, record.time_len, &record.time) < 0)
		return -EINVAL;
	const char *stream = space + 1;
	if (end - stream < 9 || (memcmp(stream, "stdout ", 7) != 0 && memcmp(stream, "stderr ", 7) != 0))
		return -EINVAL;
	record.is_stderr = stream[3] == 'e';
	const char *tag = stream + 7, *after = memchr(tag, ' ', (size_t)(end - tag));
	if (!after)
		return -EINVAL;
	record.partial = *tag == 'P';
	record.text = after + 1;
	record.len = (size_t)(end - record.text);
	*ret = record;
	return 0;
}

/* Where the last `lines` whole lines of text begin. Partial records count as one line with what follows them. */
static off_t tail_offset(int fd, off_t size, int64_t lines) {
	char chunk[CHUNK];
	off_t pos = size;
	int64_t found = -1; /* the newline at the very end closes the last line */
	if (lines == 0)
		return size;
	while (pos > 0) {
		size_t want = (size_t)min_of(pos, (off_t)CHUNK);
		ssize_t n = pread(fd, chunk, want, pos - (off_t)want);
		if (n <= 0)
			return 0;
		for (ssize_t i = n; i-- > 0;)
			if (chunk[i] == '\n' && ++found == lines)
				return pos - (off_t)want + i + 1;
		pos -= (off_t)want;
	}
	return 0;
}

struct state {
	const struct log_reader_options *options;
	bool (*emit)(const void *data, size_t len, void *arg);
	void *arg;
	int64_t left; /* bytes that may still be given; -1: no limit */
	bool mid_line; /* the last record was partial: no new time stamp */
	bool over;
	struct buf line; /* a line that is not whole yet */
	struct buf out;
};

static bool before(struct wall_time a, struct wall_time b) {
	return a.sec < b.sec || (a.sec == b.sec && a.nsec < b.nsec);
}

static void take_line(struct state *s, const char *line, size_t len) {
	const struct log_reader_options *o = s->options;
	struct log_record record;
	if (s->over || log_record_parse(line, len, &record) < 0)
		return;
	if (o->has_since && before(record.time, o->since))
		return;
	if ((o->want_stdout || o->want_stderr) && !(record.is_stderr ? o->want_stderr : o->want_stdout))
		return;
	if (o->timestamps && !s->mid_line) {
		buf_append(&s->out, record.time_text, record.time_len);
		buf_append_char(&s->out, ' ');
	}
	buf_append(&s->out, record.text, record.len);
	if (!record.partial)
		buf_append_char(&s->out, '\n');
	s->mid_line = record.partial;
}

static void flush_out(struct state *s) {
	size_t len = s->out.len;
	if (s->left >= 0 && (int64_t)len >= s->left) {
		len = (size_t)s->left;
		s->over = true;
	}
	if (len && !s->emit(s->out.data, len, s->arg))
		s->over = true;
	if (s->left >= 0)
		s->left -= (int64_t)len;
	buf_reset(&s->out);
}

static void take_bytes(struct state *s, const char *data, size_t len) {
	while (len && !s->over) {
		const char *newline = memchr(data, '\n', len);
		size_t part = newline ? (size_t)(newline - data) : len;
		buf_append(&s->line, data, min_of(part, LOG_READER_MAX_LINE - s->line.len));
		if (newline) {
			take_line(s, s->line.data ? s->line.data : "", s->line.len);
			buf_reset(&s->line);
			part++;
		}
		data += part;
		len -= part;
		if (s->out.len >= CHUNK)
			flush_out(s);
	}
	flush_out(s);
}

static int read_rest(int fd, struct state *s, struct error *err) {
	char chunk[CHUNK];
	ssize_t n = 0;
	while (!s->over && (n = read(fd, chunk, sizeof(chunk))) > 0)
		take_bytes(s, chunk, (size_t)n);
	return n < 0 ? error_set_errno(err, errno, "read log") : 0;
}

/* True where another file stands at the path by now. */
static bool is_rotated(const char *path, int fd) {
	struct stat mine, now;
	return fstat(fd, &mine) == 0 && stat(path, &now) == 0 && (mine.st_ino != now.st_ino || mine.st_dev != now.st_dev);
}

static int wait_growth(int notify, int cancel_fd) {
	char events[4096];
	struct pollfd fds[] = {{.fd = notify, .events = POLLIN}, {.fd = cancel_fd, .events = POLLIN}};
	int r = poll(fds, 2, RECHECK_MS);
	if (fds[0].revents && read(notify, events, sizeof(events)) < 0 && errno != EAGAIN)
		return -errno;
	return r > 0 && fds[1].revents ? -ECANCELED : 0;
}

/* ---- what was rotated away between two looks ---- */

/* The first that was rotated after that time and is not the file `skip`; NULL where there is none. ret_st: what it is. */
static const struct log_file *rotated_after(const struct log_files *files, const char *after, const struct stat *skip, struct stat *ret_st) {
	for (size_t i = 0; i < files->len; i++)
		if (strcmp(files->items[i].stamp, after) > 0 && stat(files->items[i].path, ret_st) == 0 && !(skip && skip->st_ino == ret_st->st_ino && skip->st_dev == ret_st->st_dev))
			return &files->items[i];
	return NULL;
}

static void read_rotated(const char *path, struct state *s) {
	gzFile gz = gzopen(path, "rbe"); /* reads what is not compressed, too */
	char chunk[CHUNK];
	int n;
	while (gz && !s->over && (n = gzread(gz, chunk, sizeof(chunk))) > 0)
		take_bytes(s, chunk, (size_t)n);
	if (gz)
		gzclose(gz);
}

/* Our own is the first since; compressed it is another file, and removed it is not there. */
static void pass_own(const char *path, const struct stat *mine, char after[LOG_STAMP_LEN]) {
	autologfiles struct log_files files;
	struct stat st;
	log_files_list(path, &files);
	const struct log_file *found = rotated_after(&files, after, NULL, &st);
	if (found && (found->compressed || (st.st_ino == mine->st_ino && st.st_dev == mine->st_dev)))
		memcpy(after, found->stamp, LOG_STAMP_LEN);
}

/* The file that was read to its end has been rotated: opens the one that stands in its place, after what came and went between. */
static int open_next(const char *path, int *fd, struct state *s, char after[LOG_STAMP_LEN], struct error *err) {
	struct stat mine, now, st;
	if (fstat(*fd, &mine) < 0)
		return error_set_errno(err, errno, "stat log");
	pass_own(path, &mine, after);
	for (;;) {
		cleanup_close(fd);
		*fd = open(path, O_RDONLY | O_CLOEXEC);
		if (*fd < 0 || fstat(*fd, &now) < 0)
			return error_set_errno(err, errno, "open log");
		/* Asked when the new one is open: rotated from here on, it is known by what it is. */
		autologfiles struct log_files files;
		log_files_list(path, &files);
		const struct log_file *found = rotated_after(&files, after, &now, &st);
		if (!found || s->over)
			return 0;
		read_rotated(found->path, s);
		memcpy(after, found->stamp, LOG_STAMP_LEN);
	}
}

static int follow(const char *path, int *fd, struct state *s, bool (*ended)(void *), void *arg, int cancel_fd, struct error *err) {
	autoclose int notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	int watch = notify < 0 ? -1 : inotify_add_watch(notify, path, IN_MODIFY | IN_MOVE_SELF | IN_DELETE_SELF);
	if (watch < 0)
		return error_set_errno(err, errno, "watch log");
	char after[LOG_STAMP_LEN] = "";
	autologfiles struct log_files files;
	log_files_list(path, &files);
	if (files.len)
		memcpy(after, files.items[files.len - 1].stamp, sizeof(after));
	log_files_done(&files);
	while (!s->over) {
		/* Asked before the read: what was written before the end is then surely read. */
		bool last = ended && ended(arg);
		int r = read_rest(*fd, s, err);
		if (r < 0)
			return r;
		if (is_rotated(path, *fd)) {
			/* What was written between that read and the rotation. */
			r = read_rest(*fd, s, err);
			r = r < 0 ? r : open_next(path, fd, s, after, err);
			if (r < 0)
				return r;
			inotify_rm_watch(notify, watch);
			watch = inotify_add_watch(notify, path, IN_MODIFY | IN_MOVE_SELF | IN_DELETE_SELF);
			continue;
		}
		if (last || s->over || wait_growth(notify, cancel_fd) < 0)
			break;
	}
	return 0;
}

int log_reader_run(const char *path, const struct log_reader_options *options, bool (*emit)(const void *data, size_t len, void *arg), bool (*ended)(void *arg), void *arg, int cancel_fd, struct error *err) {
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_set_errno(err, errno, "failed to try resolving symlinks in path \"%s\"", path);
	struct state s = {.options = options, .emit = emit, .arg = arg, .left = options->limit_bytes, .line = BUF_INIT(LOG_READER_MAX_LINE), .out = BUF_INIT(LOG_READER_MAX_LINE * 2 + CHUNK)};
	if (options->tail_lines >= 0)
		lseek(fd, tail_offset(fd, st.st_size, options->tail_lines), SEEK_SET);
	s.over = options->limit_bytes == 0;
	int r = options->follow ? follow(path, &fd, &s, ended, arg, cancel_fd, err) : read_rest(fd, &s, err);
	buf_done(&s.line);
	buf_done(&s.out);
	return r;
}

static bool keep_tail(const void *data, size_t len, void *arg) {
	struct buf *out = arg;
	if (len > out->max) {
		data = (const char *)data + (len - out->max);
		len = out->max;
	}
	if (out->len + len > out->max)
		buf_consume(out, out->len + len - out->max);
	buf_append(out, data, len);
	return true;
}

void log_reader_tail(const char *path, int64_t lines, size_t max_bytes, struct buf *out) {
	const struct log_reader_options options = {.tail_lines = lines, .limit_bytes = -1};
	autobuf struct buf tail = BUF_INIT(max_bytes);
	if (log_reader_run(path, &options, keep_tail, NULL, &tail, -1, NULL) == 0)
		buf_append(out, tail.data, tail.len);
}
