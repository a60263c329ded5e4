/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ends of containers. conmon writes <run>/exits/<id> and renames it into place: inotify tells. Should conmon itself be killed, its pidfd
 * tells. One thread waits for both; nothing is polled.
 */
#include "kubelet/runtime/internal.h"

#include "common/base/file.h"
#include "common/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

static char *exit_path(const struct runtime *runtime, const char *id)
{
	return xprintf("%s/exits/%s", runtime->run, id);
}

/* True where conmon has told the end; with the code and the time. */
static bool read_exit(const struct runtime *runtime, const char *id, int64_t *ret_code, int64_t *ret_ns)
{
	autofree char *path = exit_path(runtime, id), *text = NULL;
	size_t len;
	struct stat st;
	if (file_read(AT_FDCWD, path, 64, &text, &len, NULL) < 0 || len == 0)
		return false;
	*ret_code = strtoll(text, NULL, 10);
	*ret_ns = stat(path, &st) == 0 ? st.st_mtim.tv_sec * NSEC_PER_SEC + st.st_mtim.tv_nsec : wall_ns();
	return true;
}

static bool was_oom_killed(struct runtime *runtime, const struct container *container)
{
	autofree char *mark = bundle_path(runtime, container->id, "oom");
	struct cgroup_stats stats;
	if (file_exists(mark))
		return true;
	return cgroup_stats_read(runtime->cgroups, container->cgroup_path, &stats, NULL) == 0 && stats.oom_kills > 0;
}

bool container_note_exit(struct runtime *runtime, struct container *container, bool monitor_gone)
{
	int64_t code = 137, ended = wall_ns();
	bool told = read_exit(runtime, container->id, &code, &ended);
	if (!told && !monitor_gone)
		return false;
	bool oom = was_oom_killed(runtime, container);
	pthread_mutex_lock(&runtime->lock);
	bool first = container->state == CONTAINER_RUNNING;
	if (first) {
		container->state = CONTAINER_EXITED;
		container->exit_code = code;
		container->finished_ns = max_of(ended, container->started_ns);
		container->pid = 0;
		free(container->reason);
		container->reason = xstrdup(oom && code != 0 ? "OOMKilled" : code == 0 ? "Completed" : "Error");
		if (!told) {
			free(container->message);
			container->message = xstrdup("the container's monitor was killed");
		}
		container_save(runtime, container, false, NULL);
		pthread_cond_broadcast(&container->changed);
	}
	pthread_mutex_unlock(&runtime->lock);
	return true;
}

static void tell(struct runtime *runtime, struct container *container, enum runtime_event_kind kind)
{
	struct runtime_event event = {.kind = kind, .container_id = container->id, .sandbox_id = container->sandbox_id, .pod_uid = container->pod_uid,
		.exit_code = (int)container->exit_code};
	if (runtime->on_event)
		runtime->on_event(&event, runtime->on_event_arg);
}

static void handle(struct runtime *runtime, const char *id, bool monitor_gone)
{
	struct container *container = container_find(runtime, id);
	if (!container)
		return;
	pthread_mutex_lock(&runtime->lock);
	bool running = container->state == CONTAINER_RUNNING && !container->starting;
	pthread_mutex_unlock(&runtime->lock);
	if (running && container_note_exit(runtime, container, monitor_gone)) {
		tell(runtime, container, RUNTIME_CONTAINER_EXITED);
		container_reap(runtime, container);
	}
	container_put(runtime, container);
}

/* ---- watching ---- */

void events_watch(struct runtime *runtime, struct container *container)
{
	int fd = process_open(container->conmon_pid, container->conmon_start);
	if (fd < 0) {
		/* Gone already: its exit file, if it wrote one, tells; the event thread looks when it is woken. */
		uint64_t one = 1;
		ssize_t n unused = write(runtime->stop_fd, &one, sizeof(one));
		return;
	}
	pthread_mutex_lock(&runtime->lock);
	cleanup_close(&container->conmon_pidfd);
	container->conmon_pidfd = fd;
	pthread_mutex_unlock(&runtime->lock);
	struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.fd = fd};
	epoll_ctl(runtime->epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

/* The container whose monitor that is; the caller frees. */
static char *id_of_monitor(struct runtime *runtime, int fd)
{
	char *id = NULL;
	pthread_mutex_lock(&runtime->lock);
	/* The number may be another container's by now: what is told must still be true. */
	struct pollfd still = {.fd = fd, .events = POLLIN};
	size_t pos = 0;
	for (struct map_entry *e; poll(&still, 1, 0) == 1 && !id && (e = map_next(&runtime->containers, &pos));)
		if (((struct container *)e->value)->conmon_pidfd == fd)
			id = xstrdup(e->key);
	pthread_mutex_unlock(&runtime->lock);
	return id;
}

static void monitor_ended(struct runtime *runtime, int fd)
{
	autofree char *id = id_of_monitor(runtime, fd);
	if (!id)
		return;
	handle(runtime, id, true);
	struct container *container = container_find(runtime, id);
	if (!container)
		return;
	pthread_mutex_lock(&runtime->lock);
	if (container->conmon_pidfd == fd)
		cleanup_close(&container->conmon_pidfd);
	container->conmon_pidfd = -1;
	pthread_mutex_unlock(&runtime->lock);
	container_put(runtime, container);
}

/* Looks at every running container: at the start, and where one's monitor was gone before it could be watched. */
static void look_at_all(struct runtime *runtime)
{
	char **ids = container_ids(runtime, NULL);
	for (size_t i = 0; ids[i]; i++) {
		struct container *container = container_find(runtime, ids[i]);
		if (!container)
			continue;
		autoclose int fd = process_open(container->conmon_pid, container->conmon_start);
		handle(runtime, ids[i], fd < 0);
		container_put(runtime, container);
	}
	image_strv_free(ids);
}

static void read_inotify(struct runtime *runtime)
{
	char block[4096] __attribute__((aligned(8)));
	ssize_t n = read(runtime->inotify_fd, block, sizeof(block));
	for (char *pos = block; n > 0 && pos < block + n;) {
		struct inotify_event *event = (struct inotify_event *)(void *)pos;
		if (event->mask & IN_Q_OVERFLOW)
			look_at_all(runtime);
		else if (event->len && id_valid(event->name))
			handle(runtime, event->name, false);
		pos += sizeof(*event) + event->len;
	}
}

static void *event_main(void *arg)
{
	struct runtime *runtime = arg;
	look_at_all(runtime);
	for (;;) {
		struct epoll_event events[32];
		int n = epoll_wait(runtime->epoll_fd, events, array_len(events), -1);
		if (n < 0 && errno != EINTR)
			return NULL;
		for (int i = 0; i < n; i++) {
			uint64_t what = 0;
			if (events[i].data.fd == runtime->inotify_fd) {
				read_inotify(runtime);
			} else if (events[i].data.fd == runtime->stop_fd) {
				if (read(runtime->stop_fd, &what, sizeof(what)) == sizeof(what) && what >= UINT32_MAX)
					return NULL;
				look_at_all(runtime);
			} else {
				monitor_ended(runtime, events[i].data.fd);
			}
		}
	}
}

int events_start(struct runtime *runtime, struct error *err)
{
	autofree char *exits = path_join(runtime->run, "exits", NULL);
	runtime->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	runtime->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	runtime->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (runtime->epoll_fd < 0 || runtime->inotify_fd < 0 || runtime->stop_fd < 0)
		return error_set_errno(err, errno, "make the event queue");
	if (inotify_add_watch(runtime->inotify_fd, exits, IN_MOVED_TO | IN_CLOSE_WRITE) < 0)
		return error_set_errno(err, errno, "watch %s", exits);
	int fds[] = {runtime->inotify_fd, runtime->stop_fd};
	for (size_t i = 0; i < array_len(fds); i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.fd = fds[i]};
		if (epoll_ctl(runtime->epoll_fd, EPOLL_CTL_ADD, fds[i], &event) < 0)
			return error_set_errno(err, errno, "watch events");
	}
	runtime_recover(runtime);
	int r = pthread_create(&runtime->event_thread, NULL, event_main, runtime);
	if (r)
		return error_set_errno(err, r, "start the event thread");
	runtime->event_thread_runs = true;
	return 0;
}

void events_stop(struct runtime *runtime)
{
	uint64_t stop = UINT32_MAX;
	if (runtime->event_thread_runs && write(runtime->stop_fd, &stop, sizeof(stop)) == sizeof(stop))
		pthread_join(runtime->event_thread, NULL);
	runtime->event_thread_runs = false;
	cleanup_close(&runtime->epoll_fd);
	cleanup_close(&runtime->inotify_fd);
	cleanup_close(&runtime->stop_fd);
}

bool container_wait_exit(struct runtime *runtime, struct container *container, int64_t timeout_ms)
{
	int64_t deadline = clock_monotonic_ns() + timeout_ms * NSEC_PER_MSEC;
	struct timespec until = {.tv_sec = deadline / NSEC_PER_SEC, .tv_nsec = deadline % NSEC_PER_SEC};
	int r = 0;
	pthread_mutex_lock(&runtime->lock);
	while (container->state == CONTAINER_RUNNING && r == 0)
		r = pthread_cond_timedwait(&container->changed, &runtime->lock, &until);
	bool over = container->state != CONTAINER_RUNNING;
	pthread_mutex_unlock(&runtime->lock);
	return over;
}
