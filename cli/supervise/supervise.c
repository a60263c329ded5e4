/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/supervise/supervise.h"

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/loop.h"
#include "common/base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONFIG_MAX_BYTES (1u << 20)
#define DAEMONS_MAX 64
#define ARGS_MAX 256
#define LOG_MAX_BYTES (64ll << 20)
#define RESTART_DELAY_MIN_NS (100 * NSEC_PER_MSEC)
#define RESTART_DELAY_MAX_NS (5 * NSEC_PER_SEC)
#define HEALTHY_AFTER_NS (10 * NSEC_PER_SEC) /* a daemon that lived this long starts over with the shortest delay */
#define STOP_GRACE_NS (10 * NSEC_PER_SEC)
#define LOG_CHECK_NS (60 * NSEC_PER_SEC)

struct supervisor;

struct supervised {
	struct supervisor *owner;
	char *name;
	char *command;           /* the line's text, to see a change */
	struct process process;  /* pid 0: not running */
	struct loop_fd *exit_watch;
	struct loop_timer *timer; /* restart delay while down; kill deadline while stopping */
	int64_t started_ns;
	int64_t delay_ns;
	bool wanted;
	bool stopping;
};

struct supervisor {
	const struct supervise_options *options;
	struct loop *loop;
	struct loop_timer *log_timer;
	struct supervised *daemons[DAEMONS_MAX];
	size_t count;
	bool shutting_down;
};

static void start(struct supervised *d);
static void stop_next(struct supervisor *s);

/* "name pid" of each daemon that runs, beside the pid file: for scripts, who cannot tell a daemon from a child of it that came to us. */
static void publish(struct supervisor *s, bool over) {
	if (!s->options->pid_file)
		return;
	autofree char *path = xprintf("%s.daemons", s->options->pid_file);
	autobuf struct buf text = BUF_INIT(64 << 10);
	autoerror struct error err = {0};
	for (size_t i = 0; i < s->count; i++)
		if (s->daemons[i]->process.pid)
			buf_printf(&text, "%s %d\n", s->daemons[i]->name, (int)s->daemons[i]->process.pid);
	if (over)
		unlink(path);
	else if (file_write(AT_FDCWD, path, text.data ? text.data : "", text.len, 0644, &err) < 0)
		log_warning("list of daemons not written", LOG_ERR(&err));
}

static int open_log(const struct supervised *d) {
	autofree char *path = xprintf("%s/%s.log", d->owner->options->log_dir, d->name);
	return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
}

static void free_daemon(struct supervised *d) {
	loop_fd_remove(d->exit_watch);
	loop_timer_free(d->timer);
	if (d->process.pid)
		close(d->process.pidfd);
	free(d->name);
	free(d->command);
	free(d);
}

static void forget(struct supervised *d) {
	struct supervisor *s = d->owner;
	for (size_t i = 0; i < s->count; i++) {
		if (s->daemons[i] != d)
			continue;
		memmove(&s->daemons[i], &s->daemons[i + 1], (s->count - i - 1) * sizeof(s->daemons[0]));
		s->count--;
		break;
	}
	free_daemon(d);
}

static void on_exit_ready(uint32_t events, void *arg) {
	struct supervised *d = arg;
	struct supervisor *s = d->owner;
	int status = 0;
	if (process_wait(&d->process, 0, &status, NULL) < 0)
		return;
	loop_fd_remove(take_ptr(d->exit_watch));
	d->process.pid = 0;
	publish(s, false);
	loop_timer_disarm(d->timer);
	bool asked = d->stopping;
	d->stopping = false;
	if (!asked)
		log_warning("daemon exited", LOG_STR("name", d->name), LOG_INT("exitCode", WIFEXITED(status) ? WEXITSTATUS(status) : -1),
			LOG_INT("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0));
	if (s->shutting_down) {
		stop_next(s);
		return;
	}
	if (!d->wanted) {
		forget(d);
		return;
	}
	if (asked) {
		start(d);
		return;
	}
	if (clock_monotonic_ns() - d->started_ns > HEALTHY_AFTER_NS)
		d->delay_ns = 0;
	d->delay_ns = d->delay_ns ? min_of(d->delay_ns * 2, RESTART_DELAY_MAX_NS) : RESTART_DELAY_MIN_NS;
	loop_timer_arm(d->timer, d->delay_ns);
}

static void start(struct supervised *d) {
	autofree char *words = xstrdup(d->command);
	const char *argv[ARGS_MAX + 1];
	size_t argc = 0;
	char *save = NULL;
	for (char *word = strtok_r(words, " \t", &save); word && argc < ARGS_MAX; word = strtok_r(NULL, " \t", &save))
		argv[argc++] = word;
	argv[argc] = NULL;
	autoclose int log = open_log(d);
	struct process_options options = PROCESS_OPTIONS_INIT;
	options.argv = argv;
	options.stdout_fd = options.stderr_fd = log;
	options.new_session = true;
	options.die_with_parent = true;
	autoerror struct error err = {0};
	d->started_ns = clock_monotonic_ns();
	if (process_start(&options, &d->process, &err) < 0) {
		log_error("daemon does not start", LOG_STR("name", d->name), LOG_ERR(&err));
		d->process.pid = 0;
		d->delay_ns = d->delay_ns ? min_of(d->delay_ns * 2, RESTART_DELAY_MAX_NS) : RESTART_DELAY_MIN_NS;
		loop_timer_arm(d->timer, d->delay_ns);
		return;
	}
	log_info("daemon started", LOG_STR("name", d->name), LOG_INT("pid", d->process.pid));
	d->exit_watch = loop_add_fd(d->owner->loop, d->process.pidfd, EPOLLIN, on_exit_ready, d);
	publish(d->owner, false);
}

static void on_timer(void *arg) {
	struct supervised *d = arg;
	if (d->process.pid)
		process_signal(&d->process, SIGKILL); /* the grace of a stop is over */
	else if (!d->owner->shutting_down)
		start(d);
}

static void stop(struct supervised *d) {
	d->stopping = true;
	process_signal(&d->process, SIGTERM);
	loop_timer_arm(d->timer, STOP_GRACE_NS);
}

/* Stops from the last to the first, one after the other: the API server outlives its clients, etcd outlives the API server. */
static void stop_next(struct supervisor *s) {
	while (s->count) {
		struct supervised *d = s->daemons[s->count - 1];
		if (d->process.pid) {
			if (!d->stopping)
				stop(d);
			return;
		}
		forget(d);
	}
	loop_stop(s->loop);
}

static struct supervised *find(struct supervisor *s, const char *name) {
	for (size_t i = 0; i < s->count; i++)
		if (str_equal(s->daemons[i]->name, name))
			return s->daemons[i];
	return NULL;
}

static void apply_line(struct supervisor *s, const char *name, const char *command) {
	struct supervised *d = find(s, name);
	if (d) {
		d->wanted = true;
		if (str_equal(d->command, command))
			return;
		free(d->command);
		d->command = xstrdup(command);
		if (d->process.pid)
			stop(d);
		return;
	}
	if (s->count == DAEMONS_MAX) {
		log_error("too many daemons", LOG_STR("name", name));
		return;
	}
	d = xnew(struct supervised);
	*d = (struct supervised){.owner = s, .name = xstrdup(name), .command = xstrdup(command), .wanted = true};
	d->timer = loop_timer_new(s->loop, on_timer, d);
	s->daemons[s->count++] = d;
	start(d);
}

static int apply_config(struct supervisor *s, struct error *err) {
	autofree char *text = NULL;
	size_t len;
	int r = file_read(AT_FDCWD, s->options->config_file, CONFIG_MAX_BYTES, &text, &len, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < s->count; i++)
		s->daemons[i]->wanted = false;
	char *save = NULL;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		line += strspn(line, " \t");
		char *colon = strstr(line, ": ");
		if (*line == '#' || !colon)
			continue;
		*colon = '\0';
		apply_line(s, line, colon + 2 + strspn(colon + 2, " \t"));
	}
	for (size_t i = s->count; i-- > 0;) {
		struct supervised *d = s->daemons[i];
		if (d->wanted)
			continue;
		if (d->process.pid)
			stop(d);
		else
			forget(d);
	}
	return 0;
}

static void on_signal(int signo, void *arg) {
	struct supervisor *s = arg;
	if (signo != SIGHUP) {
		if (!s->shutting_down) {
			s->shutting_down = true;
			stop_next(s);
		}
		return;
	}
	autoerror struct error err = {0};
	if (!s->shutting_down && apply_config(s, &err) < 0)
		log_error("configuration not read; going on with the old one", LOG_ERR(&err));
}

/*
 * Containers' monitors outlive the kubelet that started them and come to us when it has gone its way. Where process 1 reaps nobody (in many a
 * container) each would stay a zombie for good.
 */
static void on_child(int signo, void *arg) {
	struct supervisor *s = arg;
	siginfo_t info;
	for (;;) {
		info.si_pid = 0;
		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0)
			return;
		struct supervised *ours = NULL;
		for (size_t i = 0; i < s->count && !ours; i++)
			if (s->daemons[i]->process.pid == info.si_pid)
				ours = s->daemons[i];
		if (ours)
			on_exit_ready(EPOLLIN, ours);
		else
			waitpid(info.si_pid, NULL, WNOHANG);
	}
}

/* Daemons append to their logs by O_APPEND, so copying aside and cutting to nothing loses only what is written in between. */
static void cut_log(struct supervised *d) {
	autofree char *path = xprintf("%s/%s.log", d->owner->options->log_dir, d->name);
	autofree char *old = xprintf("%s.1", path);
	struct stat st;
	if (stat(path, &st) < 0 || st.st_size < LOG_MAX_BYTES)
		return;
	autoclose int in = open(path, O_RDWR | O_CLOEXEC);
	autoclose int out = open(old, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	if (in < 0 || out < 0)
		return;
	while (copy_file_range(in, NULL, out, NULL, 1 << 20, 0) > 0)
		;
	if (ftruncate(in, 0) < 0)
		log_warning("log not cut", LOG_STR("file", path));
}

static void on_log_timer(void *arg) {
	struct supervisor *s = arg;
	for (size_t i = 0; i < s->count; i++)
		cut_log(s->daemons[i]);
	loop_timer_arm(s->log_timer, LOG_CHECK_NS);
}

int supervise_run(const struct supervise_options *options, struct error *err) {
	struct supervisor s = {.options = options, .loop = loop_new()};
	loop_add_signal(s.loop, SIGTERM, on_signal, &s);
	loop_add_signal(s.loop, SIGINT, on_signal, &s);
	loop_add_signal(s.loop, SIGHUP, on_signal, &s);
	loop_add_signal(s.loop, SIGCHLD, on_child, &s);
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	s.log_timer = loop_timer_new(s.loop, on_log_timer, &s);
	int r = file_mkdir_all(options->log_dir, 0755, err);
	if (r == 0 && options->pid_file) {
		char pid[32];
		int n = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
		r = file_write(AT_FDCWD, options->pid_file, pid, (size_t)n, 0644, err);
	}
	if (r == 0)
		r = apply_config(&s, err);
	if (r == 0) {
		loop_timer_arm(s.log_timer, LOG_CHECK_NS);
		loop_run(s.loop);
		publish(&s, true);
		if (options->pid_file)
			unlink(options->pid_file);
	}
	while (s.count)
		forget(s.daemons[s.count - 1]);
	loop_timer_free(s.log_timer);
	loop_free(s.loop);
	return r;
}
