/* SPDX-License-Identifier: Apache-2.0 */
/* Logs: conmon writes them in CRI's format; here they are rotated. */
#include "kubelet/runtime/internal.h"
#include "kubelet/runtime/log_files.h"

#include "common/base/file.h"
#include "common/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
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
	if (running && stat(container->log_path, &st) == 0 && (force || st.st_size > runtime->log_max_bytes))
		r = rotate(runtime, container, err);
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

void runtime_rotate_logs(struct runtime *runtime)
{
	struct stat st;
	pthread_mutex_lock(&runtime->lock);
	struct container **list = xcalloc(runtime->containers.len + 1, sizeof(*list));
	size_t count = 0, pos = 0;
	for (struct map_entry *e; (e = map_next(&runtime->containers, &pos));) {
		list[count] = e->value;
		if (list[count]->state == CONTAINER_RUNNING)
			list[count++]->refs++;
	}
	pthread_mutex_unlock(&runtime->lock);
	for (size_t i = 0; i < count; i++) {
		autoerror struct error err = {0};
		/* Looked at without the lock that a container is started and ended under. */
		if (stat(list[i]->log_path, &st) == 0 && st.st_size > runtime->log_max_bytes && rotate_one(runtime, list[i], false, &err) < 0)
			log_warning("log cannot be rotated", LOG_STR("container", list[i]->name), LOG_STR("id", list[i]->id), LOG_ERR(&err));
		container_put(runtime, list[i]);
	}
	free(list);
}
