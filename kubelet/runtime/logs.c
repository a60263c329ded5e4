/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logs: conmon writes them in CRI's format; here they are rotated. A log that did not grow from one look to the next is not looked at again before the kernel
 * has told of a write, once: most containers of a node are silent, and each look at a file costs what it has to fetch from cold memory.
 */
#include "kubelet/runtime/internal.h"
#include "kubelet/runtime/log_files.h"

#include "common/base/file.h"
#include "common/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define REOPEN "2 0 0\n" /* conmon's control message */

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
	autologfiles struct log_files files;
	log_files_list(log, &files);
	int r = 0;
	size_t allowed = (size_t)(max_files - 2); /* without the current one and the one to come */
	for (size_t i = 0; i < files.len; i++) {
		if (files.len - i > allowed)
			unlink(files.items[i].path);
		else if (!files.items[i].compressed && r == 0)
			r = compress_file(files.items[i].path, err);
	}
	return r;
}

static int rotate(struct runtime *runtime, struct container *container, struct error *err)
{
	int r = tidy(container->log_path, runtime->log_max_files, err);
	if (r < 0)
		return r;
	autofree char *target = log_files_name(container->log_path);
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

static int rotate_one(struct runtime *runtime, struct container *container, bool force, struct error *err)
{
	pthread_mutex_lock(&container->op);
	struct stat st;
	int r = 0;
	bool running = !container->removed && container->state == CONTAINER_RUNNING;
	if (running && stat(container->log_path, &st) == 0 && (force || st.st_size > runtime->log_max_bytes)) {
		r = rotate(runtime, container, err);
		pthread_mutex_lock(&runtime->lock);
		container->log_watch = 0; /* that was the old file's */
		pthread_mutex_unlock(&runtime->lock);
	}
	pthread_mutex_unlock(&container->op);
	return r;
}

int runtime_container_rotate_log(struct runtime *runtime, const char *id, bool force, struct error *err)
{
	struct container *container = container_find(runtime, id);
	if (!container)
		return container_missing(id, err);
	int r = rotate_one(runtime, container, force, err);
	container_put(runtime, container);
	return r;
}

/* ---- which logs grow ---- */

static int compare_ints(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;
	return x < y ? -1 : x > y;
}

/* Watches that fired since logs were looked at last. */
struct fired {
	int *watches; /* sorted */
	size_t count;
	bool lost; /* too many to be told of */
};

static void take_fired(struct runtime *runtime, struct fired *ret)
{
	char events[4096] __attribute__((aligned(8)));
	ssize_t n;
	*ret = (struct fired){0};
	while (runtime->logs_fd >= 0 && (n = read(runtime->logs_fd, events, sizeof(events))) > 0) {
		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *event = (const struct inotify_event *)(events + at);
			at += (ssize_t)(sizeof(*event) + event->len);
			ret->lost = ret->lost || event->mask & IN_Q_OVERFLOW;
			ret->watches = xreallocarray(ret->watches, ret->count + 1, sizeof(*ret->watches));
			ret->watches[ret->count++] = event->wd;
		}
	}
	if (ret->count)
		qsort(ret->watches, ret->count, sizeof(*ret->watches), compare_ints);
}

/* Runtime locked. */
static bool may_have_grown(struct container *container, void *arg)
{
	const struct fired *fired = arg;
	if (fired->lost || (fired->count && bsearch(&container->log_watch, fired->watches, fired->count, sizeof(*fired->watches), compare_ints)))
		container->log_watch = 0;
	return container->log_watch == 0;
}

/* A log that is as large as the last time: the kernel is asked to tell of the next write. One that came before it was asked is seen by the second look. */
static void watch_log(struct runtime *runtime, struct container *container, int64_t size)
{
	struct stat st;
	if (runtime->logs_fd < 0 || size != container->log_bytes) {
		container->log_bytes = size;
		return;
	}
	int watch = inotify_add_watch(runtime->logs_fd, container->log_path, IN_MODIFY | IN_ONESHOT);
	if (watch < 0 || stat(container->log_path, &st) < 0 || st.st_size != size)
		return;
	pthread_mutex_lock(&runtime->lock);
	container->log_watch = watch;
	pthread_mutex_unlock(&runtime->lock);
}

static void look_at_log(struct runtime *runtime, struct container *container)
{
	autoerror struct error err = {0};
	struct stat st;
	/* Without the lock that a container is started and ended under. */
	if (stat(container->log_path, &st) < 0)
		return;
	if (st.st_size <= runtime->log_max_bytes)
		watch_log(runtime, container, st.st_size);
	else if (rotate_one(runtime, container, false, &err) < 0)
		log_warning("log cannot be rotated", LOG_STR("container", container->name), LOG_STR("id", container->id), LOG_ERR(&err));
}

void runtime_rotate_logs(struct runtime *runtime)
{
	struct fired fired;
	size_t count;
	take_fired(runtime, &fired);
	struct container **list = running_containers(runtime, may_have_grown, &fired, &count);
	for (size_t i = 0; i < count; i++) {
		look_at_log(runtime, list[i]);
		container_put(runtime, list[i]);
	}
	free(list);
	free(fired.watches);
}
