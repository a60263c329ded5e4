/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/map.h"
#include "kubelet/source/source.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define SETTLE_MS 50 /* editors write in several steps */

struct source_file {
	struct kubelet *kubelet;
	const char *path;
	pthread_t thread;
	int stop_fd;
	struct map known;
};

static void unref(void *object) {
	api_unref(object);
}

/* A broken manifest keeps what it made before: it is an error in the making, not a wish to end the pod. */
static bool read_one(struct source_file *source, const char *path, struct map *pods) {
	autofree char *text = NULL;
	autoerror struct error err = {0};
	size_t len;
	int r = file_read(AT_FDCWD, path, SOURCE_MAX_MANIFEST, &text, &len, &err);
	if (r == 0)
		r = source_decode(source->kubelet, text, len, path, "file", pods, &err);
	if (r < 0)
		log_error("static pod manifest cannot be used", LOG_STR("path", path), LOG_ERR(&err));
	return r == 0;
}

static bool read_dir(struct source_file *source, struct map *pods) {
	DIR *dir = opendir(source->path);
	bool good = true;
	if (!dir)
		return errno == ENOENT;
	for (struct dirent *e; (e = readdir(dir));) {
		struct stat st;
		autofree char *path = path_join(source->path, e->d_name, NULL);
		if (*e->d_name != '.' && stat(path, &st) == 0 && S_ISREG(st.st_mode))
			good = read_one(source, path, pods) && good;
	}
	closedir(dir);
	return good;
}

static void keep_known(const struct map *known, struct map *pods) {
	struct map_entry *e;
	for (size_t i = 0; (e = map_next(known, &i));)
		if (!map_has(pods, e->key))
			map_set(pods, e->key, api_ref(e->value));
}

static void look(struct source_file *source) {
	struct stat st;
	struct map pods = MAP_INIT(unref);
	bool good = stat(source->path, &st) == 0 && S_ISREG(st.st_mode) ? read_one(source, source->path, &pods) : read_dir(source, &pods);
	if (!good)
		keep_known(&source->known, &pods);
	source_apply(source->kubelet, &source->known, &pods, "file");
	map_done(&pods);
}

static void *run(void *arg) {
	struct source_file *source = arg;
	char events[8192];
	autoclose int notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (inotify_add_watch(notify, source->path, IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE | IN_ATTRIB) < 0)
		log_error("static pod folder cannot be watched", LOG_STR("path", source->path), LOG_STR("err", strerror(errno)));
	look(source);
	for (;;) {
		struct pollfd fds[] = {{.fd = notify, .events = POLLIN}, {.fd = source->stop_fd, .events = POLLIN}};
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			break;
		if (fds[1].revents)
			break;
		while (fds[0].revents && (read(notify, events, sizeof(events)) > 0 || poll(&(struct pollfd){.fd = notify, .events = POLLIN}, 1, SETTLE_MS) > 0))
			;
		look(source);
	}
	return NULL;
}

struct source_file *source_file_start(struct kubelet *kubelet) {
	if (str_empty(kubelet->options.pod_manifest_path))
		return NULL;
	struct source_file *source = xnew(struct source_file);
	*source = (struct source_file){.kubelet = kubelet, .path = kubelet->options.pod_manifest_path, .stop_fd = eventfd(0, EFD_CLOEXEC), .known = MAP_INIT(unref)};
	if (!file_exists(source->path))
		file_mkdir_all(source->path, 0755, NULL);
	/* The first look is made here, so that orphans are known once this returns. */
	look(source);
	if (pthread_create(&source->thread, NULL, run, source) != 0)
		abort();
	return source;
}

void source_file_stop(struct source_file *source) {
	uint64_t one = 1;
	if (!source)
		return;
	if (write(source->stop_fd, &one, sizeof(one)) == sizeof(one))
		pthread_join(source->thread, NULL);
	cleanup_close(&source->stop_fd);
	map_done(&source->known);
	free(source);
}
