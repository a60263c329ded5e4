/* SPDX-License-Identifier: Apache-2.0 */
/* The file of --audit-log-path: appended to line by line, turned over by size, its forerunners dropped by age and number. */
#include "apiserver/audit/audit.h"
#include "common/base/clock.h"
#include "common/base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_MAX_BYTES (100LL << 20) /* as Kubernetes' without --audit-log-maxsize */
#define SECONDS_A_DAY 86400

struct audit_log {
	pthread_mutex_t lock;
	char *path, *folder, *base, *extension; /* base: of the name, without the extension */
	int fd;
	bool standard;     /* output: never turned over */
	int64_t size, max_bytes, max_age, max_backups;
	bool broken;       /* told once */
};

static int open_file(struct audit_log *log, struct error *err) {
	struct stat st;
	log->fd = open(log->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (log->fd < 0 || fstat(log->fd, &st) < 0)
		return error_set_errno(err, errno, "audit log %s", log->path);
	log->size = st.st_size;
	return 0;
}

void audit_log_close(struct audit_log *log) {
	if (!log)
		return;
	if (log->fd >= 0 && !log->standard)
		close(log->fd);
	pthread_mutex_destroy(&log->lock);
	free(log->path);
	free(log->folder);
	free(log->base);
	free(log->extension);
	free(log);
}

int audit_log_open(const struct apiserver_options *options, struct audit_log **ret, struct error *err) {
	struct audit_log *log = xnew(struct audit_log);
	pthread_mutex_init(&log->lock, NULL);
	log->path = xstrdup(options->audit_log_path);
	log->standard = strcmp(log->path, "-") == 0;
	log->max_bytes = options->audit_log_maxsize ? options->audit_log_maxsize << 20 : DEFAULT_MAX_BYTES;
	log->max_age = options->audit_log_maxage;
	log->max_backups = options->audit_log_maxbackup;
	const char *slash = strrchr(log->path, '/'), *name = slash ? slash + 1 : log->path, *dot = strrchr(name, '.');
	log->folder = slash ? xstrndup(log->path, (size_t)max_of(slash - log->path, (ptrdiff_t)1)) : xstrdup(".");
	log->base = dot ? xstrndup(name, (size_t)(dot - name)) : xstrdup(name);
	log->extension = xstrdup(dot ? dot : "");
	log->fd = STDOUT_FILENO;
	int r = log->standard ? 0 : open_file(log, err);
	if (r < 0) {
		audit_log_close(log);
		return r;
	}
	*ret = log;
	return 0;
}

/* ---- turning over ---- */

static bool is_backup(const struct audit_log *log, const char *name) {
	size_t base = strlen(log->base), extension = strlen(log->extension), len = strlen(name);
	return len > base + 1 + extension && strncmp(name, log->base, base) == 0 && name[base] == '-' && name[base + 1] >= '0' && name[base + 1] <= '9' && strcmp(name + len - extension, log->extension) == 0;
}

static int compare_names(const void *a, const void *b) {
	return strcmp(*(const char *const *)b, *(const char *const *)a);
}

/* Those that are too many, the oldest first to go, and too old. Their names sort by time. */
static void drop_backups(const struct audit_log *log) {
	DIR *dir = opendir(log->folder);
	char **names = NULL;
	size_t count = 0;
	for (struct dirent *d; dir && (d = readdir(dir));) {
		if (!is_backup(log, d->d_name))
			continue;
		names = xreallocarray(names, count + 1, sizeof(*names));
		names[count++] = xstrdup(d->d_name);
	}
	if (count)
		qsort(names, count, sizeof(*names), compare_names);
	for (size_t i = 0; i < count; i++) {
		struct stat st;
		bool old = log->max_age && fstatat(dirfd(dir), names[i], &st, 0) == 0 && clock_wall().sec - st.st_mtime > log->max_age * SECONDS_A_DAY;
		if (old || (log->max_backups && i >= (size_t)log->max_backups))
			unlinkat(dirfd(dir), names[i], 0);
		free(names[i]);
	}
	free(names);
	if (dir)
		closedir(dir);
}

static void turn_over(struct audit_log *log) {
	struct wall_time now = clock_wall();
	time_t seconds = (time_t)now.sec;
	struct tm tm;
	char stamp[32];
	gmtime_r(&seconds, &tm);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H-%M-%S", &tm);
	autofree char *backup = xprintf("%s/%s-%s.%03d%s", log->folder, log->base, stamp, (int)(now.nsec / NSEC_PER_MSEC), log->extension);
	autoerror struct error err = {0};
	int old = log->fd;
	if (rename(log->path, backup) < 0 || open_file(log, &err) < 0) {
		log->fd = old;
		log->size = 0; /* tried again when as much more was written */
		log_error("the audit log cannot be turned over", LOG_STR("path", log->path));
		return;
	}
	close(old);
	drop_backups(log);
}

static bool write_line(struct audit_log *log, struct buf *line) {
	int64_t len = (int64_t)line->len;
	pthread_mutex_lock(&log->lock);
	if (!log->standard && log->size && log->size + len > log->max_bytes)
		turn_over(log);
	ssize_t n = write(log->fd, line->data, line->len);
	log->size += n > 0 ? n : 0;
	bool broken = n != len;
	if (broken && !log->broken)
		log_error("the audit log cannot be written", LOG_STR("path", log->path), LOG_STR("err", n < 0 ? strerror(errno) : "short write"));
	log->broken = broken;
	pthread_mutex_unlock(&log->lock);
	return !broken;
}

int audit_log_write(void *arg, struct bytes *const *events, size_t count) {
	struct audit_log *log = arg;
	autobuf struct buf line = BUF_INIT(BUF_MAX_DEFAULT);
	int rc = 0;
	for (size_t i = 0; i < count; i++) {
		buf_reset(&line);
		buf_append(&line, events[i]->data, events[i]->len);
		buf_append_char(&line, '\n');
		if (!write_line(log, &line))
			rc = -EIO;
	}
	return rc;
}
