/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/file_watch.h"

#include "common/base/clock.h"

#include <libgen.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define SETTLE_NS (50 * NSEC_PER_MSEC) /* a certificate and its key are written one after the other */
#define LOOK_NS (60 * NSEC_PER_SEC)

struct look {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec changed; /* by the kernel's clock: nobody can set it back */
};
struct file_watch {
	struct loop *loop;
	char **paths;
	struct look *seen;
	size_t count;
	int fd;
	struct loop_fd *watch;
	struct loop_timer *settle, *look;
	void (*fn)(void *arg);
	void *arg;
};

static struct look look_at(const char *path) {
	struct stat st;
	if (stat(path, &st) < 0)
		return (struct look){0};
	return (struct look){st.st_dev, st.st_ino, st.st_size, st.st_ctim};
}

static bool same(const struct look *a, const struct look *b) {
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size && a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

static void look(struct file_watch *w) {
	bool changed = false;
	for (size_t i = 0; i < w->count; i++) {
		struct look now = look_at(w->paths[i]);
		changed |= !same(&now, &w->seen[i]);
		w->seen[i] = now;
	}
	if (changed)
		w->fn(w->arg);
}

static void on_settled(void *arg) {
	look(arg);
}

static void on_minute(void *arg) {
	struct file_watch *w = arg;
	loop_timer_arm(w->look, LOOK_NS);
	look(w);
}

static void on_event(uint32_t events, void *arg) {
	struct file_watch *w = arg;
	char drain[4096] __attribute__((aligned(8)));
	while (read(w->fd, drain, sizeof(drain)) > 0)
		;
	loop_timer_arm(w->settle, SETTLE_NS);
}

static void on_start(void *arg) {
	struct file_watch *w = arg;
	w->settle = loop_timer_new(w->loop, on_settled, w);
	w->look = loop_timer_new(w->loop, on_minute, w);
	loop_timer_arm(w->look, LOOK_NS);
	if (w->fd >= 0)
		w->watch = loop_add_fd(w->loop, w->fd, EPOLLIN, on_event, w);
}

struct file_watch *file_watch_start(struct loop *loop, const char *const *paths, size_t count, void (*fn)(void *arg), void *arg) {
	struct file_watch *w = xnew(struct file_watch);
	*w = (struct file_watch){.loop = loop, .fn = fn, .arg = arg, .fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC)};
	count = min_of(count, (size_t)FILE_WATCH_MAX);
	w->paths = xcalloc(count + 1, sizeof(*w->paths));
	w->seen = xcalloc(count + 1, sizeof(*w->seen));
	for (size_t i = 0; i < count; i++) {
		if (str_empty(paths[i]))
			continue;
		autofree char *copy = xstrdup(paths[i]);
		if (w->fd >= 0)
			inotify_add_watch(w->fd, dirname(copy), IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_ONLYDIR);
		w->seen[w->count] = look_at(paths[i]);
		w->paths[w->count++] = xstrdup(paths[i]);
	}
	loop_post(loop, on_start, w);
	return w;
}

static void on_stop(void *arg) {
	struct file_watch *w = arg;
	loop_fd_remove(w->watch);
	loop_timer_free(w->settle);
	loop_timer_free(w->look);
}

void file_watch_stop(struct file_watch *w) {
	if (!w)
		return;
	loop_call(w->loop, on_stop, w);
	if (w->fd >= 0)
		close(w->fd);
	for (size_t i = 0; i < w->count; i++)
		free(w->paths[i]);
	free(w->paths);
	free(w->seen);
	free(w);
}
