/* SPDX-License-Identifier: Apache-2.0 */
/*
 * By sd-bus, which is on every machine that has a logind. It is loaded at run time: a node without systemd, or without a grace period,
 * pays neither for it nor for the libraries that it brings.
 */
#include "kubelet/node/logind.h"

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#define LIBRARY "libsystemd.so.0"
#define SERVICE "org.freedesktop.login1"
#define OBJECT "/org/freedesktop/login1"
#define MANAGER "org.freedesktop.login1.Manager"
#define CONF_NAME "99-kubelet.conf"
#define RELOAD_MS 5000 /* logind is given to read its configuration */
#define RELOAD_LOOK_MS 50

#define CALLS(X) \
	X(open_system) X(flush_close_unref) X(get_property_trivial) X(call_method) X(message_read) X(message_unref) X(match_signal) X(process) X(get_fd) X(get_events) X(get_timeout)

static struct {
#define FIELD(name) __typeof__(sd_bus_##name) *name;
	CALLS(FIELD)
} bus;

struct logind {
	struct logind_options options;
	char *conf_dir;
	pthread_t thread;
	int stop_fd, lock_fd;
	bool told, shuts_down; /* what the last signal said, not yet acted upon */
};

static int load(struct error *err) {
	void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	if (!library)
		return error_set(err, ENOSYS, "%s", dlerror());
#define LOOK_UP(name) \
	if (!(*(void **)&bus.name = dlsym(library, "sd_bus_" #name))) \
		return error_set(err, ENOSYS, LIBRARY " has no sd_bus_" #name);
	CALLS(LOOK_UP)
	return 0;
}

/* False where it is to end. */
static bool pause_for(struct logind *logind, int ms) {
	struct pollfd stop = {.fd = logind->stop_fd, .events = POLLIN};
	return poll(&stop, 1, ms) == 0;
}

static int delay_limit(sd_bus *b, uint64_t *ret_usec, struct error *err) {
	int r = bus.get_property_trivial(b, SERVICE, OBJECT, MANAGER, "InhibitDelayMaxUSec", NULL, 't', ret_usec);
	return r < 0 ? error_set_errno(err, -r, "ask logind how long it waits") : 0;
}

/* logind waits five seconds unless its configuration says more. */
static int raise_limit(struct logind *logind, sd_bus *b, struct error *err) {
	uint64_t have = 0, want = (uint64_t)(logind->options.delay_ns / 1000);
	int r = delay_limit(b, &have, err);
	if (r < 0 || have >= want)
		return r;
	autofree char *path = path_join(logind->conf_dir, CONF_NAME, NULL);
	autofree char *text = xprintf("# Written by coracle-kubelet, for its --shutdown-grace-period.\n[Login]\nInhibitDelayMaxSec=%lld\n", (long long)((want + 999999) / 1000000));
	r = file_mkdir_all(logind->conf_dir, 0755, err);
	if (r == 0)
		r = file_write_durable(AT_FDCWD, path, text, strlen(text), 0644, err);
	if (r < 0)
		return r;
	r = bus.call_method(b, "org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager", "KillUnit", NULL, NULL, "ssi", "systemd-logind.service", "main", SIGHUP);
	if (r < 0)
		return error_set_errno(err, -r, "have logind read its configuration");
	/* It has no event for that. */
	for (int64_t end = clock_monotonic_ns() + RELOAD_MS * NSEC_PER_MSEC; have < want && clock_monotonic_ns() < end && pause_for(logind, RELOAD_LOOK_MS);)
		if ((r = delay_limit(b, &have, err)) < 0)
			return r;
	return have >= want ? 0 : error_set(err, ETIMEDOUT, "logind still waits %llu us at most, not %llu", (unsigned long long)have, (unsigned long long)want);
}

static int take_lock(struct logind *logind, sd_bus *b, struct error *err) {
	sd_bus_message *answer = NULL;
	int fd = -1;
	int r = bus.call_method(b, SERVICE, OBJECT, MANAGER, "Inhibit", NULL, &answer, "ssss", "shutdown", "kubelet", "Pods are ended before the machine is", "delay");
	if (r >= 0)
		r = bus.message_read(answer, "h", &fd);
	if (r >= 0)
		r = logind->lock_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3); /* the message's own goes with it */
	if (r < 0 && fd >= 0)
		r = -errno;
	bus.message_unref(answer);
	return r < 0 ? error_set_errno(err, -r, "take logind's delay lock") : 0;
}

static int on_signal(sd_bus_message *message, void *arg, sd_bus_error *problem) {
	struct logind *logind = arg;
	int shuts_down = 0;
	if (bus.message_read(message, "b", &shuts_down) >= 0) {
		logind->told = true;
		logind->shuts_down = shuts_down;
	}
	return 0;
}

static int act(struct logind *logind, sd_bus *b, struct error *err) {
	logind->told = false;
	logind->options.on_prepare(logind->shuts_down, logind->options.arg);
	cleanup_close(&logind->lock_fd);
	logind->lock_fd = -1;
	return logind->shuts_down ? 0 : take_lock(logind, b, err);
}

static int wait_for_more(struct logind *logind, sd_bus *b, struct error *err) {
	uint64_t until = UINT64_MAX;
	int events = bus.get_events(b), timeout = -1;
	if (events < 0 || bus.get_timeout(b, &until) < 0)
		return error_set(err, EIO, "the system bus is gone");
	if (until != UINT64_MAX) /* on the monotonic clock */
		timeout = (int)max_of((int64_t)(until / 1000) - clock_monotonic_ns() / NSEC_PER_MSEC + 1, (int64_t)0);
	struct pollfd fds[] = {{.fd = logind->stop_fd, .events = POLLIN}, {.fd = bus.get_fd(b), .events = (short)events}};
	poll(fds, array_len(fds), timeout);
	return fds[0].revents ? 1 : 0;
}

/* Returns 0 where it is to end. */
static int attend(struct logind *logind, sd_bus *b, struct error *err) {
	int r = raise_limit(logind, b, err);
	if (r < 0) {
		/* Some time is better than none. */
		log_warning("logind will not wait as long as pods are given", LOG_ERR(err));
		error_done(err);
	}
	r = bus.match_signal(b, NULL, SERVICE, OBJECT, MANAGER, "PrepareForShutdown", on_signal, logind);
	if (r < 0)
		return error_set_errno(err, -r, "listen to logind");
	r = take_lock(logind, b, err);
	while (r == 0) {
		r = bus.process(b, NULL);
		if (r < 0)
			return error_set_errno(err, -r, "listen to the system bus");
		if (logind->told)
			r = act(logind, b, err);
		else if (r == 0)
			r = wait_for_more(logind, b, err);
		else
			r = 0;
		if (r > 0)
			return 0;
	}
	return r;
}

static void *run(void *arg) {
	struct logind *logind = arg;
	for (;;) {
		autoerror struct error err = {0};
		sd_bus *b = NULL;
		int r = bus.open_system(&b);
		r = r < 0 ? error_set_errno(&err, -r, "open the system bus") : attend(logind, b, &err);
		if (b)
			bus.flush_close_unref(b);
		cleanup_close(&logind->lock_fd);
		logind->lock_fd = -1;
		if (r == 0)
			return NULL;
		log_warning("the machine's shutdown cannot be delayed", LOG_ERR(&err));
		if (!pause_for(logind, logind->options.retry_ms))
			return NULL;
	}
}

int logind_start(const struct logind_options *options, struct logind **ret, struct error *err) {
	int r = load(err);
	if (r < 0)
		return r;
	struct logind *logind = xnew(struct logind);
	*logind = (struct logind){.options = *options, .conf_dir = xstrdup(options->conf_dir), .stop_fd = eventfd(0, EFD_CLOEXEC), .lock_fd = -1};
	r = logind->stop_fd < 0 ? errno : pthread_create(&logind->thread, NULL, run, logind);
	if (r) {
		cleanup_close(&logind->stop_fd);
		free(logind->conf_dir);
		free(logind);
		return error_set_errno(err, r, "start the thread that listens to logind");
	}
	*ret = logind;
	return 0;
}

void logind_stop(struct logind *logind) {
	uint64_t one = 1;
	if (!logind)
		return;
	if (write(logind->stop_fd, &one, sizeof(one)) == sizeof(one))
		pthread_join(logind->thread, NULL);
	cleanup_close(&logind->stop_fd);
	free(logind->conf_dir);
	free(logind);
}
