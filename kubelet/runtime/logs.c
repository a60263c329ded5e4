/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logs: conmon writes them in CRI's format; here they are rotated.
 *
 *	0.log                      being written
 *	0.log.20060102-150405      the one before, plain, as somebody may still read it
 *	0.log.20060102-150300.gz   older ones
 */
#include "kubelet/runtime/internal.h"

#include "common/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#define REOPEN "2 0 0\n" /* conmon's control message */

/* Rotated files of a log, oldest first (their names end in a time). The caller frees with image_strv_free. */
static char **rotated_files(const char *log, size_t *ret_count)
{
	autofree char *folder = xstrdup(log);
	char *slash = strrchr(folder, '/');
	*slash = 0;
	autofree char *prefix = xprintf("%s.", slash + 1);
	char **list = xcalloc(1, sizeof(char *));
	size_t count = 0;
	DIR *dir = opendir(*folder ? folder : "/");
	for (struct dirent *e; dir && (e = readdir(dir));) {
		if (!str_starts_with(e->d_name, prefix) || str_ends_with(e->d_name, ".tmp"))
			continue;
		list = xreallocarray(list, count + 2, sizeof(char *));
		list[count++] = path_join(folder, e->d_name, NULL);
		list[count] = NULL;
	}
	if (dir)
		closedir(dir);
	for (size_t i = 1; i < count; i++) /* few: insertion */
		for (size_t j = i; j > 0 && strcmp(list[j - 1], list[j]) > 0; j--) {
			char *swap = list[j];
			list[j] = list[j - 1];
			list[j - 1] = swap;
		}
	*ret_count = count;
	return list;
}

static int compress_file(const char *path, struct error *err)
{
	autofree char *temporary = xprintf("%s.gz.tmp", path), *final = xprintf("%s.gz", path);
	autoclose int in = open(path, O_RDONLY | O_CLOEXEC);
	int out = in < 0 ? -1 : open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	gzFile gz = out < 0 ? NULL : gzdopen(out, "wb6");
	if (!gz) {
		int saved = errno;
		if (out >= 0)
			close(out);
		return error_set_errno(err, saved, "compress %s", path);
	}
	char block[65536];
	ssize_t n;
	bool good = true;
	while (good && (n = read(in, block, sizeof(block))) > 0)
		good = gzwrite(gz, block, (unsigned)n) == (int)n;
	good = gzclose(gz) == Z_OK && good;
	if (!good || rename(temporary, final) < 0) {
		unlink(temporary);
		return error_set(err, EIO, "compress %s", path);
	}
	unlink(path);
	return 0;
}

/* Leaves room for the one that will be rotated now, and compresses what is plain. */
static int tidy(const char *log, int max_files, struct error *err)
{
	size_t count;
	char **files = rotated_files(log, &count);
	int r = 0;
	size_t allowed = (size_t)(max_files - 2); /* without the current one and the one to come */
	for (size_t i = 0; i < count; i++) {
		if (count - i > allowed)
			unlink(files[i]);
		else if (!str_ends_with(files[i], ".gz") && r == 0)
			r = compress_file(files[i], err);
	}
	image_strv_free(files);
	return r;
}

static int rotate(struct runtime *runtime, struct container *container, struct error *err)
{
	int r = tidy(container->log_path, runtime->log_max_files, err);
	if (r < 0)
		return r;
	struct wall_time now = clock_wall();
	time_t seconds = now.sec;
	struct tm parts;
	char stamp[32];
	gmtime_r(&seconds, &parts);
	strftime(stamp, sizeof(stamp), "%Y%m%d-%H%M%S", &parts);
	autofree char *target = xprintf("%s.%s", container->log_path, stamp);
	if (file_exists(target))
		return 0; /* twice within a second: the next time will do */
	if (rename(container->log_path, target) < 0)
		return error_set_errno(err, errno, "rotate %s", container->log_path);
	r = container_control(runtime, container->id, "ctl", REOPEN, err);
	/* Where conmon cannot be told it goes on writing to the old file: that must keep its name. */
	if (r < 0 && rename(target, container->log_path) < 0)
		return error_set_errno(err, errno, "undo the rotation of %s", container->log_path);
	return r;
}

int runtime_container_rotate_log(struct runtime *runtime, const char *id, bool force, struct error *err)
{
	struct container *container = container_find(runtime, id);
	if (!container)
		return container_missing(id, err);
	pthread_mutex_lock(&container->op);
	struct stat st;
	int r = 0;
	bool running = !container->removed && container->state == CONTAINER_RUNNING;
	if (running && stat(container->log_path, &st) == 0 && (force || st.st_size > runtime->log_max_bytes))
		r = rotate(runtime, container, err);
	pthread_mutex_unlock(&container->op);
	container_put(runtime, container);
	return r;
}
