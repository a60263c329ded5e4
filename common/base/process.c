/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/process.h"

#include "common/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define FIRST_KEPT_FD 3
#define STDERR_TAIL 1024 /* of a failed program, quoted in its error */

static noreturn void child_fail(int report_fd)
{
	int errnum = errno;
	ssize_t ignored = write(report_fd, &errnum, sizeof(errnum));
	(void)ignored;
	_exit(127);
}

/*
 * Between vfork and exec, on the stack and in the memory of a thread that waits meanwhile: async-signal-safe calls only, and nothing that the
 * parent reads afterwards is written but errno.
 *
 * Descriptors the child is to have are first moved above all targets, so that no target overwrites a source.
 */
static noreturn void child_exec(const struct process_options *o, int *moved, int report_fd, pid_t parent)
{
	int targets = FIRST_KEPT_FD + (int)o->keep_fd_count;
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	const int standard[] = {o->stdin_fd, o->stdout_fd, o->stderr_fd};
	report_fd = fcntl(report_fd, F_DUPFD_CLOEXEC, targets);
	for (int i = 0; i < targets; i++) {
		int source = i >= FIRST_KEPT_FD ? o->keep_fds[i - FIRST_KEPT_FD] : standard[i] >= 0 ? standard[i] : null_fd;
		moved[i] = fcntl(source, F_DUPFD_CLOEXEC, targets);
		if (moved[i] < 0)
			child_fail(report_fd);
	}
	for (int i = 0; i < targets; i++)
		if (dup2(moved[i], i) < 0)
			child_fail(report_fd);
	/* Whatever a library opened without O_CLOEXEC must not leak into the child. */
	syscall(SYS_close_range, (unsigned)targets, ~0U, CLOSE_RANGE_CLOEXEC);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
	if (o->new_session && setsid() < 0)
		child_fail(report_fd);
	if (o->die_with_parent && (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)) {
		if (getppid() != parent)
			errno = ESRCH;
		child_fail(report_fd);
	}
	if (o->cwd && chdir(o->cwd) < 0)
		child_fail(report_fd);
	if (o->envp)
		execvpe(o->argv[0], (char *const *)o->argv, (char *const *)o->envp);
	else
		execvp(o->argv[0], (char *const *)o->argv);
	child_fail(report_fd);
}

int process_start(const struct process_options *options, struct process *ret, struct error *err)
{
	int report[2];
	pid_t parent = getpid();
	autofree int *moved = xcalloc(FIRST_KEPT_FD + options->keep_fd_count, sizeof(int));
	if (pipe2(report, O_CLOEXEC) < 0)
		return error_set_errno(err, errno, "pipe");
	/* Not fork(): to copy the tables of a large process takes longer than all that follows. */
	pid_t pid = vfork();
	if (pid == 0)
		child_exec(options, moved, report[1], parent);
	int fork_errno = errno;
	close(report[1]);
	autoclose int report_fd = report[0];
	if (pid < 0)
		return error_set_errno(err, fork_errno, "fork");
	int errnum = 0;
	ssize_t n;
	while ((n = read(report_fd, &errnum, sizeof(errnum))) < 0 && errno == EINTR)
		;
	if (n == sizeof(errnum)) {
		waitpid(pid, NULL, 0);
		return error_set_errno(err, errnum, "start %s", options->argv[0]);
	}
	/* No race on a reused pid: it is our child, and nobody but us waits for it. */
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0) {
		errnum = errno;
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return error_set_errno(err, errnum, "pidfd_open %s", options->argv[0]);
	}
	*ret = (struct process){.pid = pid, .pidfd = pidfd};
	return 0;
}

/* Milliseconds left until `deadline` (monotonic ns; -1: never), rounded up, for poll. */
static int ms_left(int64_t deadline)
{
	if (deadline < 0)
		return -1;
	int64_t left = deadline - clock_monotonic_ns();
	return left <= 0 ? 0 : (int)min_of((left + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC, (int64_t)INT32_MAX);
}

int process_wait(struct process *process, int timeout_ms, int *ret_status, struct error *err)
{
	int64_t deadline = timeout_ms < 0 ? -1 : clock_monotonic_ns() + timeout_ms * NSEC_PER_MSEC;
	struct pollfd poll_fd = {.fd = process->pidfd, .events = POLLIN};
	int n;
	while ((n = poll(&poll_fd, 1, ms_left(deadline))) < 0 && errno == EINTR)
		;
	if (n < 0)
		return error_set_errno(err, errno, "poll");
	if (n == 0)
		return error_set(err, ETIMEDOUT, "process %d has not exited after %d ms", (int)process->pid, timeout_ms);
	int status = 0;
	pid_t pid;
	while ((pid = waitpid(process->pid, &status, 0)) < 0 && errno == EINTR)
		;
	if (pid < 0)
		return error_set_errno(err, errno, "wait for process %d", (int)process->pid);
	close(process->pidfd);
	process->pidfd = -1;
	if (ret_status)
		*ret_status = status;
	return 0;
}

int process_signal(const struct process *process, int signo)
{
	return syscall(SYS_pidfd_send_signal, process->pidfd, signo, NULL, 0) < 0 ? -errno : 0;
}

/* One run: pipes of ours (the parent's ends), and what is yet to be fed. */
struct run {
	struct process process;
	int stdin_fd, stdout_fd, stderr_fd;
	const char *input;
	size_t input_left;
	struct buf *out, *errout;
	char tail[STDERR_TAIL + 1];
	size_t tail_len;
};

static void run_close(int *fd)
{
	cleanup_close(fd);
	*fd = -1;
}

static void run_done(struct run *run)
{
	run_close(&run->stdin_fd);
	run_close(&run->stdout_fd);
	run_close(&run->stderr_fd);
}

static void keep_tail(struct run *run, const char *data, size_t len)
{
	if (len > STDERR_TAIL) {
		data += len - STDERR_TAIL;
		len = STDERR_TAIL;
	}
	size_t drop = run->tail_len + len > STDERR_TAIL ? run->tail_len + len - STDERR_TAIL : 0;
	memmove(run->tail, run->tail + drop, run->tail_len - drop);
	run->tail_len -= drop;
	memcpy(run->tail + run->tail_len, data, len);
	run->tail_len += len;
	run->tail[run->tail_len] = '\0';
}

/* Reads what is there; closes at the end of file. What passes a buffer's maximum is read and dropped, so that the child never blocks on it. */
static void run_read(struct run *run, int *fd, struct buf *into, bool is_stderr)
{
	char data[16384];
	for (;;) {
		ssize_t n = read(*fd, data, sizeof(data));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			run_close(fd);
			return;
		}
		if (is_stderr)
			keep_tail(run, data, (size_t)n);
		if (into)
			buf_append(into, data, (size_t)n);
	}
}

static void run_feed(struct run *run)
{
	while (run->input_left) {
		ssize_t n = write(run->stdin_fd, run->input, run->input_left);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0)
			break; /* the child does not want it */
		run->input += n;
		run->input_left -= (size_t)n;
	}
	run_close(&run->stdin_fd);
}

static int nonblocking_pipe(int fds[2], int ours)
{
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	fcntl(fds[ours], F_SETFL, O_NONBLOCK);
	return 0;
}

static int run_start(struct run *run, const struct process_options *options, bool has_input, struct error *err)
{
	int in[2] = {-1, -1}, out[2] = {-1, -1}, errfds[2] = {-1, -1};
	int r = has_input ? nonblocking_pipe(in, 1) : 0;
	r = r ? r : nonblocking_pipe(out, 0);
	r = r ? r : nonblocking_pipe(errfds, 0);
	if (r) {
		error_set_errno(err, r, "pipe");
	} else {
		struct process_options child = *options;
		child.stdin_fd = has_input ? in[0] : options->stdin_fd;
		child.stdout_fd = out[1];
		child.stderr_fd = errfds[1];
		r = process_start(&child, &run->process, err);
	}
	run_close(&in[0]);
	run_close(&out[1]);
	run_close(&errfds[1]);
	run->stdin_fd = in[1];
	run->stdout_fd = out[0];
	run->stderr_fd = errfds[0];
	return r;
}

/* Pumps until the child has exited, or the deadline has passed (then false). */
static bool run_pump(struct run *run, int64_t deadline)
{
	for (;;) {
		struct pollfd fds[] = {
			{.fd = run->process.pidfd, .events = POLLIN},
			{.fd = run->stdin_fd, .events = POLLOUT},
			{.fd = run->stdout_fd, .events = POLLIN},
			{.fd = run->stderr_fd, .events = POLLIN},
		};
		int n = poll(fds, array_len(fds), ms_left(deadline));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		if (fds[1].revents)
			run_feed(run);
		if (fds[2].revents)
			run_read(run, &run->stdout_fd, run->out, false);
		if (fds[3].revents)
			run_read(run, &run->stderr_fd, run->errout, true);
		if (fds[0].revents)
			break;
	}
	/* It is gone: take what is left in the pipes. A grandchild may hold them open, so do not wait for their end. */
	if (run->stdout_fd >= 0)
		run_read(run, &run->stdout_fd, run->out, false);
	if (run->stderr_fd >= 0)
		run_read(run, &run->stderr_fd, run->errout, true);
	return true;
}

static int run_failed(struct run *run, const char *program, int status, struct error *err)
{
	while (run->tail_len && strchr("\n\r\t ", run->tail[run->tail_len - 1]))
		run->tail[--run->tail_len] = '\0';
	const char *colon = run->tail_len ? ": " : "";
	if (WIFSIGNALED(status))
		return error_set(err, EIO, "%s was killed by signal %d%s%s", program, WTERMSIG(status), colon, run->tail);
	return error_set(err, EIO, "%s exited with code %d%s%s", program, WEXITSTATUS(status), colon, run->tail);
}

int process_run(const struct process_options *options, const char *input, size_t input_len, struct buf *out, struct buf *errout,
	int timeout_ms, int *ret_exit, struct error *err)
{
	/* Feeding a child that has gone must be an error of write(), not the end of this process. */
	sigset_t pipe_set, old_set;
	sigemptyset(&pipe_set);
	sigaddset(&pipe_set, SIGPIPE);
	struct run run = {.stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .input = input, .input_left = input ? input_len : 0, .out = out, .errout = errout};
	int64_t deadline = timeout_ms < 0 ? -1 : clock_monotonic_ns() + timeout_ms * NSEC_PER_MSEC;
	int r = run_start(&run, options, input != NULL, err);
	if (r) {
		run_done(&run);
		return r;
	}
	pthread_sigmask(SIG_BLOCK, &pipe_set, &old_set);
	bool ended = run_pump(&run, deadline);
	if (!sigismember(&old_set, SIGPIPE)) {
		sigtimedwait(&pipe_set, NULL, &(struct timespec){0});
		pthread_sigmask(SIG_SETMASK, &old_set, NULL);
	}
	if (!ended)
		process_signal(&run.process, SIGKILL);
	int status = 0;
	r = process_wait(&run.process, -1, &status, err);
	run_done(&run);
	if (r)
		return r;
	if (!ended)
		return error_set(err, ETIMEDOUT, "%s did not finish within %d ms", options->argv[0], timeout_ms);
	if (ret_exit)
		*ret_exit = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return run_failed(&run, options->argv[0], status, err);
}
