/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands in containers ("runc exec") and attachments to their first process (conmon's socket).
 *
 * A session's fds are pipes or a pseudo terminal that runc holds the other end of; for an attachment, socket pairs that a thread of its own
 * joins to conmon's packets: one byte that tells the stream, then the data.
 */
#include "kubelet/runtime/internal.h"

#include "common/base/file.h"
#include "common/base/process.h"
#include "common/base/random.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_SPEC (4 << 20)
#define MAX_RUNC_LOG (64 << 10)
#define PACKET_SIZE (64 << 10)
#define END_WAIT_MS 5000

enum { PACKET_STDOUT = 2, PACKET_STDERR = 3 }; /* conmon's */

struct session {
	struct stream_session public;
	struct runtime *runtime;
	struct container *container;
	bool attached;
	bool ended;
	int exit_code;
	/* exec */
	struct process process;
	int terminal_fd; /* our side of the pseudo terminal; -1 without */
	int log_fd;      /* runc's log */
	char *pid_file;
	char *failure;   /* why the command could not start */
	/* attach */
	pthread_t pump;
	int socket, pump_stdin, pump_stdout, pump_stderr, cancel_fd;
};

static struct session *session_new(struct runtime *runtime, struct container *take_container)
{
	struct session *session = xnew(struct session);
	session->public = (struct stream_session){-1, -1, -1, -1};
	session->runtime = runtime;
	session->container = take_container;
	session->process.pidfd = session->terminal_fd = session->log_fd = -1;
	session->socket = session->pump_stdin = session->pump_stdout = session->pump_stderr = session->cancel_fd = -1;
	return session;
}

static void close_now(int *fd)
{
	cleanup_close(fd);
	*fd = -1;
}

/* ---- exec ---- */

/* The container's own process of its bundle, with the command in it. A memory file: nothing to clean up. */
static int make_process_file(struct runtime *runtime, const char *id, const struct stream_options *options, struct error *err)
{
	autofree char *path = bundle_path(runtime, id, "config.json"), *text = NULL;
	size_t len;
	int r = file_read(AT_FDCWD, path, MAX_SPEC, &text, &len, err);
	if (r < 0)
		return r;
	autojson json_t *spec = json_loadb(text, len, 0, NULL);
	json_t *process = json_object_get(spec, "process"), *args = json_array();
	for (size_t i = 0; options->argv && options->argv[i]; i++)
		json_array_append_new(args, json_string(options->argv[i]));
	size_t count = json_array_size(args);
	json_object_set_new(process, "args", args);
	json_object_set_new(process, "terminal", json_boolean(options->tty));
	if (count == 0 || !process)
		return error_set(err, EINVAL, count ? "bundle is damaged" : "no command to execute, or one that is not UTF-8");
	if (options->tty) {
		json_t *env = json_object_get(process, "env"), *row;
		size_t i;
		bool has = false;
		json_array_foreach(env, i, row) has = has || str_starts_with(json_string_value(row), "TERM=");
		if (!has)
			json_array_append_new(env, json_string("TERM=xterm"));
	}
	autofree char *out = json_dumps(process, JSON_COMPACT);
	autoclose int fd = memfd_create("process", MFD_CLOEXEC);
	if (fd < 0 || write(fd, out, strlen(out)) != (ssize_t)strlen(out))
		return error_set_errno(err, errno, "write the command");
	return take_fd(fd);
}

/* The pair of ends of one stream: ours and the child's. */
struct ends {
	int ours, theirs;
};

static int make_pipe(struct ends *ret, bool we_write, struct error *err)
{
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) < 0)
		return error_set_errno(err, errno, "pipe");
	*ret = (struct ends){fds[we_write ? 1 : 0], fds[we_write ? 0 : 1]};
	return 0;
}

static int make_terminal(struct ends *ret, struct error *err)
{
	autoclose int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	char name[64];
	if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0 || ptsname_r(master, name, sizeof(name)) != 0)
		return error_set_errno(err, errno, "make a terminal");
	autoclose int slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return error_set_errno(err, errno, "open %s", name);
	*ret = (struct ends){take_fd(master), take_fd(slave)};
	return 0;
}

struct exec_fds {
	struct ends in, out, err, terminal;
};
#define EXEC_FDS_INIT {{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}}

static void close_theirs(struct exec_fds *fds)
{
	close_now(&fds->in.theirs);
	close_now(&fds->out.theirs);
	close_now(&fds->err.theirs);
	close_now(&fds->terminal.theirs);
}

static void close_ours(struct exec_fds *fds)
{
	close_now(&fds->in.ours);
	close_now(&fds->out.ours);
	close_now(&fds->err.ours);
	close_now(&fds->terminal.ours);
}

static int make_streams(const struct stream_options *options, struct exec_fds *fds, struct error *err)
{
	if (options->tty)
		return make_terminal(&fds->terminal, err);
	int r = options->want_stdin ? make_pipe(&fds->in, true, err) : 0;
	if (r == 0 && options->want_stdout)
		r = make_pipe(&fds->out, false, err);
	if (r == 0 && options->want_stderr)
		r = make_pipe(&fds->err, false, err);
	return r;
}

static int spawn_exec(struct session *session, const struct stream_options *options, int process_fd, struct exec_fds *fds, struct error *err)
{
	struct runtime *runtime = session->runtime;
	autofree char *root = xprintf("--root=%s/runc", runtime->run);
	const char *argv[16];
	size_t n = 0;
	const char *const fixed[] = {runtime->runc, root, "--log", "/proc/self/fd/4", "--log-format", "json", "exec", "--process", "/proc/self/fd/3",
		"--pid-file", session->pid_file};
	for (size_t i = 0; i < array_len(fixed); i++)
		argv[n++] = fixed[i];
	if (options->tty)
		argv[n++] = "--tty";
	argv[n++] = session->container->id;
	argv[n] = NULL;
	const int keep[] = {process_fd, session->log_fd};
	struct process_options process = PROCESS_OPTIONS_INIT;
	process.argv = argv;
	process.keep_fds = keep;
	process.keep_fd_count = array_len(keep);
	process.new_session = true;
	process.stdin_fd = options->tty ? fds->terminal.theirs : fds->in.theirs;
	process.stdout_fd = options->tty ? fds->terminal.theirs : fds->out.theirs;
	process.stderr_fd = options->tty ? fds->terminal.theirs : fds->err.theirs;
	return process_start(&process, &session->process, err);
}

static void give_streams(struct session *session, const struct stream_options *options, struct exec_fds *fds)
{
	struct stream_session *public = &session->public;
	if (!options->tty) {
		public->stdin_fd = fds->in.ours;
		public->stdout_fd = fds->out.ours;
		public->stderr_fd = fds->err.ours;
		return;
	}
	session->terminal_fd = fds->terminal.ours;
	if (options->want_stdin)
		public->stdin_fd = fcntl(session->terminal_fd, F_DUPFD_CLOEXEC, 0);
	if (options->want_stdout)
		public->stdout_fd = fcntl(session->terminal_fd, F_DUPFD_CLOEXEC, 0);
}

static int begin_exec(struct session *session, const struct stream_options *options, struct error *err)
{
	char suffix[11], name[32];
	autoclose int process_fd = make_process_file(session->runtime, session->container->id, options, err);
	if (process_fd < 0)
		return process_fd;
	session->log_fd = memfd_create("runc-log", MFD_CLOEXEC);
	if (session->log_fd < 0)
		return error_set_errno(err, errno, "make a log for runc");
	random_name_suffix(suffix, sizeof(suffix) - 1);
	snprintf(name, sizeof(name), "exec-%s", suffix);
	session->pid_file = bundle_path(session->runtime, session->container->id, name);
	struct exec_fds fds = EXEC_FDS_INIT;
	int r = make_streams(options, &fds, err);
	if (r == 0)
		r = spawn_exec(session, options, process_fd, &fds, err);
	close_theirs(&fds);
	if (r < 0) {
		close_ours(&fds);
		return r;
	}
	give_streams(session, options, &fds);
	session->public.done_fd = fcntl(session->process.pidfd, F_DUPFD_CLOEXEC, 0);
	return 0;
}

static int find_running(struct runtime *runtime, const char *id, struct container **ret, struct error *err)
{
	struct container *container = container_find(runtime, id);
	if (!container)
		return container_missing(id, err);
	pthread_mutex_lock(&runtime->lock);
	bool running = container->state == CONTAINER_RUNNING;
	pthread_mutex_unlock(&runtime->lock);
	if (!running) {
		container_put(runtime, container);
		return error_set(err, ESRCH, "container \"%s\" is not running", id);
	}
	*ret = container;
	return 0;
}

int runtime_exec(struct runtime *runtime, const char *id, const struct stream_options *options, struct stream_session **ret, struct error *err)
{
	struct container *container;
	int r = find_running(runtime, id, &container, err);
	if (r < 0)
		return r;
	struct session *session = session_new(runtime, container);
	r = begin_exec(session, options, err);
	if (r < 0)
		stream_session_free(&session->public);
	else
		*ret = &session->public;
	return r;
}

/* The last error in runc's log; NULL where it wrote none: then the exit code is the command's own. The caller frees. */
static char *runc_failure(int log_fd)
{
	off_t size = lseek(log_fd, 0, SEEK_END);
	if (size <= 0 || size > MAX_RUNC_LOG)
		return NULL;
	autofree char *text = xcalloc(1, (size_t)size + 1);
	if (pread(log_fd, text, (size_t)size, 0) != size)
		return NULL;
	char *found = NULL, *save = NULL;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		autojson json_t *row = json_loads(line, 0, NULL);
		const char *level = json_string_value(json_object_get(row, "level")), *message = json_string_value(json_object_get(row, "msg"));
		if (!message || (!str_equal(level, "error") && !str_equal(level, "fatal")))
			continue;
		free(found);
		found = xstrdup(message);
	}
	return found;
}

static void note_exec_end(struct session *session, int status)
{
	session->ended = true;
	session->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	if (session->exit_code != 255 && session->exit_code != 1)
		return;
	session->failure = runc_failure(session->log_fd);
	if (!session->failure)
		return;
	bool absent = strstr(session->failure, "executable file not found") || strstr(session->failure, "no such file or directory");
	session->exit_code = absent ? 127 : 126;
}

/* The command itself: killing runc alone would leave it running. */
static void kill_command(struct session *session)
{
	autofree char *text = NULL;
	size_t len;
	if (session->ended || session->process.pid <= 0)
		return;
	if (file_read(AT_FDCWD, session->pid_file, 32, &text, &len, NULL) == 0) {
		pid_t pid = (pid_t)strtol(text, NULL, 10);
		char path[40];
		autofree char *groups = NULL;
		snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
		/* Still that container's, and not a reused number. */
		if (pid > 1 && file_read(AT_FDCWD, path, 65536, &groups, &len, NULL) == 0 && strstr(groups, session->container->id)) {
			if (getpgid(pid) == pid)
				kill(-pid, SIGKILL);
			kill(pid, SIGKILL);
		}
	} else {
		process_signal(&session->process, SIGKILL);
	}
	int status;
	if (process_wait(&session->process, END_WAIT_MS, &status, NULL) == -ETIMEDOUT) {
		process_signal(&session->process, SIGKILL);
		process_wait(&session->process, -1, &status, NULL);
	}
	session->ended = true;
	session->exit_code = 137;
}

/* ---- attach ---- */

static int connect_monitor(struct runtime *runtime, const char *id, struct error *err)
{
	autofree char *bundle = bundle_path(runtime, id, NULL);
	autoclose int dir = open(bundle, O_PATH | O_DIRECTORY | O_CLOEXEC);
	autoclose int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (dir < 0 || fd < 0)
		return error_set_errno(err, errno, "attach to container \"%s\"", id);
	/* By descriptor: the whole path may be longer than a socket's name can be. */
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/attach", dir);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return error_set_errno(err, errno, "attach to container \"%s\"", id);
	return take_fd(fd);
}

static bool send_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		data += n;
		len -= (size_t)n;
	}
	return true;
}

/* One packet from the container to the session; false at the end. */
static bool pump_out(struct session *session, char *block)
{
	ssize_t n = recv(session->socket, block, PACKET_SIZE, 0);
	if (n < 0 && errno == EINTR)
		return true;
	if (n <= 0)
		return false;
	int *to = block[0] == PACKET_STDERR ? &session->pump_stderr : &session->pump_stdout;
	if (*to >= 0 && !send_all(*to, block + 1, (size_t)n - 1))
		close_now(to); /* nobody reads that stream any more; the others go on */
	return true;
}

static void pump_in(struct session *session, char *block)
{
	ssize_t n = recv(session->pump_stdin, block, 8192, 0);
	if (n < 0 && errno == EINTR)
		return;
	if (n > 0 && send_all(session->socket, block, (size_t)n))
		return;
	shutdown(session->socket, SHUT_WR); /* conmon closes the container's input, unless it is to stay open */
	close_now(&session->pump_stdin);
}

static void *pump_main(void *arg)
{
	struct session *session = arg;
	char *block = xmalloc(PACKET_SIZE);
	for (;;) {
		struct pollfd p[3] = {{.fd = session->socket, .events = POLLIN}, {.fd = session->pump_stdin, .events = POLLIN},
			{.fd = session->cancel_fd, .events = POLLIN}};
		if (poll(p, 3, -1) < 0 && errno != EINTR)
			break;
		if (p[2].revents)
			break;
		if (p[1].revents)
			pump_in(session, block);
		if (p[0].revents && !pump_out(session, block))
			break;
	}
	free(block);
	close_now(&session->pump_stdin);
	close_now(&session->pump_stdout);
	close_now(&session->pump_stderr);
	uint64_t one = 1;
	ssize_t n unused = write(session->public.done_fd, &one, sizeof(one));
	return NULL;
}

static int make_pair(int *ret_ours, int *ret_pump, struct error *err)
{
	int fds[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return error_set_errno(err, errno, "socketpair");
	*ret_ours = fds[0];
	*ret_pump = fds[1];
	return 0;
}

static int begin_attach(struct session *session, const struct stream_options *options, struct error *err)
{
	session->socket = connect_monitor(session->runtime, session->container->id, err);
	if (session->socket < 0)
		return session->socket;
	int r = 0;
	if (options->want_stdin && session->container->stdin_open)
		r = make_pair(&session->public.stdin_fd, &session->pump_stdin, err);
	if (r == 0 && options->want_stdout)
		r = make_pair(&session->public.stdout_fd, &session->pump_stdout, err);
	if (r == 0 && options->want_stderr && !session->container->tty)
		r = make_pair(&session->public.stderr_fd, &session->pump_stderr, err);
	if (r < 0)
		return r;
	session->cancel_fd = eventfd(0, EFD_CLOEXEC);
	session->public.done_fd = eventfd(0, EFD_CLOEXEC);
	if (session->cancel_fd < 0 || session->public.done_fd < 0)
		return error_set_errno(err, errno, "eventfd");
	r = pthread_create(&session->pump, NULL, pump_main, session);
	if (r)
		return error_set_errno(err, r, "start a thread");
	session->attached = true;
	return 0;
}

int runtime_attach(struct runtime *runtime, const char *id, const struct stream_options *options, struct stream_session **ret, struct error *err)
{
	struct container *container;
	int r = find_running(runtime, id, &container, err);
	if (r < 0)
		return r;
	struct session *session = session_new(runtime, container);
	r = begin_attach(session, options, err);
	if (r < 0)
		stream_session_free(&session->public);
	else
		*ret = &session->public;
	return r;
}

/* ---- both ---- */

void stream_session_close_stdin(struct stream_session *public)
{
	close_now(&public->stdin_fd);
}

int stream_session_resize(struct stream_session *public, uint16_t columns, uint16_t rows, struct error *err)
{
	struct session *session = container_of(public, struct session, public);
	if (session->attached) {
		char text[32];
		snprintf(text, sizeof(text), "%u %u\n", rows, columns);
		return session->container->tty ? container_control(session->runtime, session->container->id, "winsz", text, err) : 0;
	}
	struct winsize size = {.ws_row = rows, .ws_col = columns};
	if (session->terminal_fd < 0)
		return 0;
	if (ioctl(session->terminal_fd, TIOCSWINSZ, &size) < 0)
		return error_set_errno(err, errno, "resize the terminal");
	/* runc is not in the terminal's session: it is told. */
	if (!session->ended)
		process_signal(&session->process, SIGWINCH);
	return 0;
}

static int wait_attachment(struct session *session, int timeout_ms, struct error *err)
{
	struct pollfd p = {.fd = session->public.done_fd, .events = POLLIN};
	if (poll(&p, 1, timeout_ms) == 0)
		return error_set(err, ETIMEDOUT, "still attached");
	/* The stream ends just before the exit is known. */
	struct container *container = session->container;
	container_wait_exit(session->runtime, container, 1000);
	pthread_mutex_lock(&session->runtime->lock);
	session->exit_code = container->state == CONTAINER_EXITED ? (int)container->exit_code : 0;
	pthread_mutex_unlock(&session->runtime->lock);
	session->ended = true;
	return 0;
}

int stream_session_wait(struct stream_session *public, int timeout_ms, int *ret_exit_code, struct error *err)
{
	struct session *session = container_of(public, struct session, public);
	int r = 0, status;
	if (!session->ended && session->attached)
		r = wait_attachment(session, timeout_ms, err);
	else if (!session->ended) {
		r = process_wait(&session->process, timeout_ms, &status, err);
		if (r == 0)
			note_exec_end(session, status);
	}
	if (r < 0)
		return r;
	if (session->failure && err)
		error_set(err, ENOEXEC, "%s", session->failure);
	*ret_exit_code = session->exit_code;
	return 0;
}

void stream_session_free(struct stream_session *public)
{
	if (!public)
		return;
	struct session *session = container_of(public, struct session, public);
	if (session->attached) {
		uint64_t one = 1;
		/* A pump that waits for a reader who is gone is freed by closing its streams. */
		close_now(&public->stdin_fd);
		close_now(&public->stdout_fd);
		close_now(&public->stderr_fd);
		shutdown(session->socket, SHUT_RDWR); /* and one that waits for a container that does not read */
		if (write(session->cancel_fd, &one, sizeof(one)) == sizeof(one))
			pthread_join(session->pump, NULL);
	} else if (session->process.pidfd >= 0) {
		kill_command(session);
	}
	int *const fds[] = {&public->stdin_fd, &public->stdout_fd, &public->stderr_fd, &public->done_fd, &session->terminal_fd, &session->log_fd,
		&session->socket, &session->pump_stdin, &session->pump_stdout, &session->pump_stderr, &session->cancel_fd};
	for (size_t i = 0; i < array_len(fds); i++)
		close_now(fds[i]);
	if (session->pid_file)
		unlink(session->pid_file);
	container_put(session->runtime, session->container);
	free(session->pid_file);
	free(session->failure);
	free(session);
}

/* ---- exec_sync ---- */

/* Reads what is there; false at the end of that stream. What does not fit is read and dropped, so that the command can go on. */
static bool collect(int *fd, struct buf *out)
{
	char block[16384];
	ssize_t n = read(*fd, block, sizeof(block));
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	if (n <= 0) {
		close_now(fd);
		return false;
	}
	size_t room = out->max - min_of(out->len, out->max);
	buf_append(out, block, min_of((size_t)n, room));
	return true;
}

static int collect_until_end(struct stream_session *session, int timeout_ms, struct buf *out, struct error *err)
{
	int64_t deadline = timeout_ms > 0 ? clock_monotonic_ns() + timeout_ms * NSEC_PER_MSEC : 0;
	for (;;) {
		struct pollfd p[3] = {{.fd = session->stdout_fd, .events = POLLIN}, {.fd = session->stderr_fd, .events = POLLIN},
			{.fd = session->done_fd, .events = POLLIN}};
		int64_t left = deadline ? (deadline - clock_monotonic_ns()) / NSEC_PER_MSEC : -1;
		if (deadline && left <= 0)
			return error_set(err, ETIMEDOUT, "command timed out after %d ms", timeout_ms);
		if (poll(p, 3, (int)left) < 0 && errno != EINTR)
			return error_set_errno(err, errno, "poll");
		if (p[0].revents)
			collect(&session->stdout_fd, out);
		if (p[1].revents)
			collect(&session->stderr_fd, out);
		/* Over when the command is, though a child of it may hold the streams; what was written before is still there. */
		if (p[2].revents && !(p[0].revents & POLLIN) && !(p[1].revents & POLLIN))
			return 0;
	}
}

int runtime_exec_sync(struct runtime *runtime, const char *id, const char *const *argv, int timeout_ms, struct buf *out, int *ret_exit_code,
	struct error *err)
{
	struct stream_options options = {.argv = argv, .want_stdout = true, .want_stderr = true};
	struct stream_session *session;
	int r = runtime_exec(runtime, id, &options, &session, err);
	if (r < 0)
		return r;
	r = collect_until_end(session, timeout_ms, out, err);
	if (r == 0)
		r = stream_session_wait(session, END_WAIT_MS, ret_exit_code, err);
	stream_session_free(session);
	return r;
}
