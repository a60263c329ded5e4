/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running containers.
 *
 *	start:  conmon (forks away, own session) -> runc create -> tells the first process's pid by the sync pipe;
 *	        then we open runc's exec.fifo ourselves, which is all that "runc start" does: one process less for each start.
 *	end:    conmon writes the exit file; we delete runc's state and the cgroup ourselves: "runc delete" less.
 */
#include "kubelet/runtime/internal.h"

#include "common/base/file.h"
#include "common/base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <strings.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_TIMEOUT_MS 120000
#define RELEASE_AGAIN_MS 5000
#define HELD_LOOK_MS 200
#define MAX_SYNC (64 << 10)
#define START_FAILED_CODE 128

/* ---- signals ---- */

static const struct {
	const char *name;
	int number;
} signals[] = {
	{"SIGHUP", SIGHUP}, {"SIGINT", SIGINT}, {"SIGQUIT", SIGQUIT}, {"SIGILL", SIGILL}, {"SIGTRAP", SIGTRAP}, {"SIGABRT", SIGABRT},
	{"SIGBUS", SIGBUS}, {"SIGFPE", SIGFPE}, {"SIGKILL", SIGKILL}, {"SIGUSR1", SIGUSR1}, {"SIGSEGV", SIGSEGV}, {"SIGUSR2", SIGUSR2},
	{"SIGPIPE", SIGPIPE}, {"SIGALRM", SIGALRM}, {"SIGTERM", SIGTERM}, {"SIGSTKFLT", SIGSTKFLT}, {"SIGCHLD", SIGCHLD}, {"SIGCONT", SIGCONT},
	{"SIGSTOP", SIGSTOP}, {"SIGTSTP", SIGTSTP}, {"SIGTTIN", SIGTTIN}, {"SIGTTOU", SIGTTOU}, {"SIGURG", SIGURG}, {"SIGXCPU", SIGXCPU},
	{"SIGXFSZ", SIGXFSZ}, {"SIGVTALRM", SIGVTALRM}, {"SIGPROF", SIGPROF}, {"SIGWINCH", SIGWINCH}, {"SIGIO", SIGIO}, {"SIGPWR", SIGPWR},
	{"SIGSYS", SIGSYS},
};
static const char *const realtime_names[] = {"SIGRTMIN", "SIGRTMIN+1", "SIGRTMIN+2", "SIGRTMIN+3", "SIGRTMIN+4", "SIGRTMIN+5", "SIGRTMIN+6",
	"SIGRTMIN+7", "SIGRTMIN+8", "SIGRTMIN+9", "SIGRTMIN+10", "SIGRTMIN+11", "SIGRTMIN+12", "SIGRTMIN+13", "SIGRTMIN+14", "SIGRTMIN+15"};

int signal_number(const char *name, int fallback)
{
	int64_t number;
	if (str_empty(name))
		return fallback;
	if (str_to_int64(name, 1, 64, &number))
		return (int)number;
	bool prefixed = strncasecmp(name, "SIG", 3) == 0;
	for (size_t i = 0; i < array_len(signals); i++)
		if (strcasecmp(name, prefixed ? signals[i].name : signals[i].name + 3) == 0)
			return signals[i].number;
	for (size_t i = 0; i < array_len(realtime_names); i++)
		if (strcasecmp(name, prefixed ? realtime_names[i] : realtime_names[i] + 3) == 0)
			return SIGRTMIN + (int)i;
	return fallback;
}

const char *signal_name(int number)
{
	for (size_t i = 0; i < array_len(signals); i++)
		if (signals[i].number == number)
			return signals[i].name;
	int realtime = number - SIGRTMIN;
	return realtime >= 0 && realtime < (int)array_len(realtime_names) ? realtime_names[realtime] : "SIGTERM";
}

/* ---- starting ---- */

char *runc_message(const char *text)
{
	static const char key[] = " msg=\"";
	const char *found = NULL;
	autobuf struct buf out = BUF_INIT(MAX_SYNC);
	for (const char *p = str_starts_with(text, "time=\"") ? strstr(text, key) : NULL; p; p = strstr(found, key))
		found = p + strlen(key);
	if (!found)
		return xstrndup(text, strcspn(text, "\n") == strlen(text) ? strlen(text) : (size_t)(strrchr(text, '\n') - text));
	for (const char *p = found; *p && *p != '"'; p++) {
		bool escaped = *p == '\\' && p[1];
		p += escaped;
		buf_append(&out, escaped && *p == 'n' ? " " : p, 1);
	}
	return out.len ? buf_take(&out) : xstrdup("");
}

/* conmon's answer on the sync pipe: {"data": pid} or {"data": -1, "message": "..."}. */
static int read_sync(int fd, pid_t *ret_pid, struct error *err)
{
	autobuf struct buf text = BUF_INIT(MAX_SYNC);
	int64_t deadline = clock_monotonic_ns() + START_TIMEOUT_MS * NSEC_PER_MSEC;
	for (;;) {
		int64_t left = (deadline - clock_monotonic_ns()) / NSEC_PER_MSEC;
		struct pollfd p = {.fd = fd, .events = POLLIN};
		if (left <= 0 || poll(&p, 1, (int)left) == 0)
			return error_set(err, ETIMEDOUT, "the OCI runtime did not create the container within %d s", START_TIMEOUT_MS / 1000);
		char chunk[4096];
		ssize_t n = read(fd, chunk, sizeof(chunk));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		buf_append(&text, chunk, (size_t)n);
		if (memchr(chunk, '\n', (size_t)n))
			break;
	}
	autojson json_t *answer = text.len ? json_loadb(text.data, text.len, JSON_DISABLE_EOF_CHECK, NULL) : NULL;
	json_int_t pid = json_integer_value(json_object_get(answer, "data"));
	if (pid > 0) {
		*ret_pid = (pid_t)pid;
		return 0;
	}
	const char *message = json_string_value(json_object_get(answer, "message"));
	autofree char *plain = runc_message(str_or(message, "the container's monitor ended before the container was created"));
	return error_set(err, EIO, "%s", plain);
}

struct conmon_paths {
	char *bundle, *pid_file, *conmon_pid_file, *log, *exits, *root_arg;
};

static void conmon_paths_done(struct conmon_paths *paths)
{
	free(paths->bundle);
	free(paths->pid_file);
	free(paths->conmon_pid_file);
	free(paths->log);
	free(paths->exits);
	free(paths->root_arg);
}

static int spawn_conmon(struct runtime *runtime, const struct container *container, const struct conmon_paths *paths, int sync_fd, struct error *err)
{
	const char *argv[40];
	size_t n = 0;
	const char *const fixed[] = {runtime->conmon, "--api-version", "1", "-c", container->id, "-u", container->id, "-n", container->name, "-r",
		runtime->runc, "-b", paths->bundle, "-p", paths->pid_file, "-P", paths->conmon_pid_file, "-l", paths->log, "--exit-dir", paths->exits,
		"--full-attach", "--no-sync-log", "--persist-dir", paths->bundle, paths->root_arg};
	for (size_t i = 0; i < array_len(fixed); i++)
		argv[n++] = fixed[i];
	if (container->tty)
		argv[n++] = "-t";
	if (container->stdin_open)
		argv[n++] = "-i";
	if (container->stdin_open && !container->stdin_once)
		argv[n++] = "--leave-stdin-open";
	argv[n] = NULL;
	const char *path = getenv("PATH");
	autofree char *env_path = xprintf("PATH=%s", path ? path : "/usr/sbin:/usr/bin:/sbin:/bin");
	const char *const envp[] = {env_path, "_OCI_SYNCPIPE=3", NULL};
	struct process_options options = PROCESS_OPTIONS_INIT;
	options.argv = argv;
	options.envp = envp;
	options.cwd = paths->bundle;
	options.keep_fds = &sync_fd;
	options.keep_fd_count = 1;
	struct process process;
	int r = process_start(&options, &process, err);
	if (r < 0)
		return r;
	/* It forks and its first process ends at once. */
	int status;
	r = process_wait(&process, START_TIMEOUT_MS, &status, err);
	if (r == 0 && (!WIFEXITED(status) || WEXITSTATUS(status)))
		r = error_set(err, EIO, "the container's monitor %s could not start", runtime->conmon);
	return r;
}

static int64_t read_pid(const char *path)
{
	autofree char *text = NULL;
	size_t len;
	return file_read(AT_FDCWD, path, 32, &text, &len, NULL) == 0 ? strtoll(text, NULL, 10) : 0;
}

/* True while the container's first process is runc's own, which waits to be let go, or is on its way there. */
static bool is_held(const struct container *container)
{
	static const char name[] = "runc\0init";
	char path[40];
	autofree char *line = NULL;
	size_t len;
	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)container->pid);
	return file_read(AT_FDCWD, path, MAX_SYNC, &line, &len, NULL) == 0 && len >= sizeof(name) && memcmp(line, name, sizeof(name)) == 0;
}

static int release(struct runtime *runtime, const struct container *container, int64_t timeout_ms, struct error *err)
{
	autofree char *fifo = xprintf("%s/runc/%s/exec.fifo", runtime->run, container->id);
	/* The waiting side opens for writing: this returns when it does. Nonblocking, so that one that died holds up nobody. */
	autoclose int fd = open(fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return error_set_errno(err, errno, "start the container: open %s", fifo);
	autoclose int init = process_open(container->pid, container->pid_start);
	int64_t deadline = clock_monotonic_ns() + timeout_ms * NSEC_PER_MSEC;
	for (;;) {
		char byte;
		struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.fd = init, .events = POLLIN}};
		ssize_t n = read(fd, &byte, 1);
		if (n == 1)
			break;
		/* End of file only says that the writer has not come yet. */
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return error_set_errno(err, errno, "start the container");
		if (init < 0)
			break; /* it is gone already, as after a kill in the middle of its start: nobody will ever open the other side */
		int64_t left = (deadline - clock_monotonic_ns()) / NSEC_PER_MSEC;
		if (left <= 0)
			return error_set(err, ETIMEDOUT, "the container's first process did not start");
		int ready = poll(p, init >= 0 ? 2 : 1, (int)min_of(left, (int64_t)HELD_LOOK_MS));
		if (ready == 0 && !is_held(container))
			break; /* whoever let it go was killed before the fifo was removed */
		if (ready > 0 && p[1].revents && !(p[0].revents & POLLIN))
			break; /* it ended: its exit tells more */
	}
	unlink(fifo);
	return 0;
}

int container_release_again(struct runtime *runtime, const struct container *container)
{
	autofree char *fifo = xprintf("%s/runc/%s/exec.fifo", runtime->run, container->id);
	if (!is_held(container))
		return unlink(fifo) < 0 ? -errno : 0;
	return release(runtime, container, RELEASE_AGAIN_MS, NULL);
}

int container_release(struct runtime *runtime, const struct container *container, struct error *err)
{
	return release(runtime, container, START_TIMEOUT_MS, err);
}

static void record_failure(struct runtime *runtime, struct container *container, const char *message)
{
	pthread_mutex_lock(&runtime->lock);
	container->state = CONTAINER_EXITED;
	container->starting = false;
	container->exit_code = START_FAILED_CODE;
	container->finished_ns = wall_ns();
	if (!container->started_ns)
		container->started_ns = 0;
	container->pid = 0;
	free(container->reason);
	free(container->message);
	container->reason = xstrdup("StartError");
	container->message = xstrdup(message);
	container_save(runtime, container, false, NULL);
	pthread_cond_broadcast(&container->changed);
	pthread_mutex_unlock(&runtime->lock);
}

static int run_conmon(struct runtime *runtime, struct container *container, struct error *err)
{
	int sync[2];
	if (pipe2(sync, O_CLOEXEC) < 0)
		return error_set_errno(err, errno, "pipe");
	struct conmon_paths paths = {
		.bundle = bundle_path(runtime, container->id, NULL),
		.pid_file = bundle_path(runtime, container->id, "pid"),
		.conmon_pid_file = bundle_path(runtime, container->id, "conmon.pid"),
		.log = xprintf("k8s-file:%s", container->log_path),
		.exits = xprintf("%s/exits", runtime->run),
		.root_arg = xprintf("--runtime-arg=--root=%s/runc", runtime->run),
	};
	int r = spawn_conmon(runtime, container, &paths, sync[1], err);
	close(sync[1]);
	pid_t pid = 0;
	if (r == 0)
		r = read_sync(sync[0], &pid, err);
	close(sync[0]);
	if (r == 0) {
		pthread_mutex_lock(&runtime->lock);
		container->pid = pid;
		container->pid_start = process_start_ticks(pid);
		container->conmon_pid = read_pid(paths.conmon_pid_file);
		container->conmon_start = process_start_ticks((pid_t)container->conmon_pid);
		pthread_mutex_unlock(&runtime->lock);
	}
	conmon_paths_done(&paths);
	return r;
}

/* conmon outlives us: it must not be in our cgroup, or be counted there. In none of the pod's either, whose limits are the pod's own. */
void container_place_monitor(struct runtime *runtime, const struct container *container)
{
	autofree char *path = cgroup_monitors_path(runtime->cgroups);
	if (cgroup_exists(runtime->cgroups, path) || cgroup_create(runtime->cgroups, path, NULL, NULL) == 0)
		cgroup_attach(runtime->cgroups, path, (pid_t)container->conmon_pid, NULL);
}

static int start_locked(struct runtime *runtime, struct container *container, struct error *err)
{
	if (container->removed)
		return container_missing(container->id, err);
	if (container->state != CONTAINER_CREATED)
		return error_set(err, EINVAL, "container \"%s\" was started before", container->id);
	pthread_mutex_lock(&runtime->lock);
	container->starting = true;
	pthread_mutex_unlock(&runtime->lock);
	autoerror struct error local = {0};
	int r = run_conmon(runtime, container, &local);
	if (r == 0) {
		pthread_mutex_lock(&runtime->lock);
		container->state = CONTAINER_RUNNING;
		container->started_ns = wall_ns();
		r = container_save(runtime, container, false, &local);
		pthread_mutex_unlock(&runtime->lock);
	}
	if (r == 0)
		r = container_release(runtime, container, &local);
	if (r < 0) {
		cgroup_kill(runtime->cgroups, container->cgroup_path, NULL);
		record_failure(runtime, container, error_message(&local));
		container_reap(runtime, container);
		error_move(err, &local);
		error_reason(err, "RunContainerError");
		return r;
	}
	container_place_monitor(runtime, container);
	log_link_make(runtime, container);
	pthread_mutex_lock(&runtime->lock);
	container->starting = false;
	pthread_mutex_unlock(&runtime->lock);
	/* From here the event thread tells the end, one that is past already too. */
	events_watch(runtime, container);
	autofree char *exit = xprintf("%s/exits/%s", runtime->run, container->id);
	if (file_exists(exit)) {
		uint64_t look = 1;
		ssize_t n unused = write(runtime->stop_fd, &look, sizeof(look));
	}
	return 0;
}

int runtime_container_start(struct runtime *runtime, const char *id, struct error *err)
{
	struct container *container = container_find(runtime, id);
	if (!container)
		return container_missing(id, err);
	pthread_mutex_lock(&container->op);
	int r = start_locked(runtime, container, err);
	pthread_mutex_unlock(&container->op);
	container_put(runtime, container);
	return r;
}

/* ---- ending ---- */

void container_reap(struct runtime *runtime, struct container *container)
{
	autofree char *state = xprintf("%s/runc/%s", runtime->run, container->id);
	/* Where the PID namespace is shared or the host's, children of the first process may live on. */
	cgroup_kill(runtime->cgroups, container->cgroup_path, NULL);
	cgroup_remove(runtime->cgroups, container->cgroup_path, NULL);
	file_remove_all(state, NULL);
}

static int signal_container(struct runtime *runtime, const struct container *container, int signal, struct error *err)
{
	pthread_mutex_lock(&runtime->lock);
	int64_t pid = container->pid, started = container->pid_start;
	pthread_mutex_unlock(&runtime->lock);
	autoclose int fd = process_open(pid, started);
	if (fd < 0)
		return -ESRCH;
	if (syscall(SYS_pidfd_send_signal, fd, signal, NULL, 0) < 0 && errno != ESRCH)
		return error_set_errno(err, errno, "send %s to container \"%s\"", signal_name(signal), container->id);
	return 0;
}

int container_end(struct runtime *runtime, struct container *container, int64_t grace_ms, struct error *err)
{
	pthread_mutex_lock(&runtime->lock);
	bool running = container->state == CONTAINER_RUNNING;
	pthread_mutex_unlock(&runtime->lock);
	if (!running)
		return 0;
	if (grace_ms > 0) {
		signal_container(runtime, container, signal_number(container->stop_signal, SIGTERM), NULL);
		if (container_wait_exit(runtime, container, grace_ms))
			return 0;
	}
	signal_container(runtime, container, SIGKILL, NULL);
	cgroup_kill(runtime->cgroups, container->cgroup_path, NULL);
	if (container_wait_exit(runtime, container, EXIT_WAIT_MS))
		return 0;
	return error_set(err, ETIMEDOUT, "container \"%s\" does not end", container->id);
}

int runtime_container_stop(struct runtime *runtime, const char *id, int64_t grace_ms, struct error *err)
{
	struct container *container = container_find(runtime, id);
	if (!container)
		return container_missing(id, err);
	/* Not under `op`: a second stop with less patience must not wait for the first. A start under way is waited for. */
	pthread_mutex_lock(&runtime->lock);
	bool starting = container->starting;
	pthread_mutex_unlock(&runtime->lock);
	if (starting) {
		pthread_mutex_lock(&container->op);
		pthread_mutex_unlock(&container->op);
	}
	int r = container_end(runtime, container, grace_ms, err);
	container_put(runtime, container);
	return r;
}

int runtime_container_signal(struct runtime *runtime, const char *id, int signal, struct error *err)
{
	struct container *container = container_find(runtime, id);
	if (!container)
		return container_missing(id, err);
	int r = signal_container(runtime, container, signal, err);
	if (r == -ESRCH)
		r = error_set(err, ESRCH, "container \"%s\" is not running", id);
	container_put(runtime, container);
	return r;
}

/* One line to a control fifo of the container's monitor. */
int container_control(struct runtime *runtime, const char *id, const char *fifo, const char *message, struct error *err)
{
	autofree char *path = bundle_path(runtime, id, fifo);
	autoclose int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return error_set_errno(err, errno, "open %s", path);
	size_t len = strlen(message);
	return write(fd, message, len) == (ssize_t)len ? 0 : error_set_errno(err, errno, "write %s", path);
}
