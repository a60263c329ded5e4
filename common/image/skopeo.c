/* SPDX-License-Identifier: Apache-2.0 */
/* Running skopeo, and reading from its words what went wrong. */
#include "common/image/internal.h"

#include "common/base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_ERROR_OUTPUT (64 << 10)

static const struct classification {
	const char *text; /* in what skopeo writes, any case */
	int errnum;
	const char *reason;
} classifications[] = {
	{"no space left on device", ENOSPC, "ErrImagePull"},
	{"Source image rejected", EPERM, "SignatureValidationFailed"},
	{"signature", EPERM, "SignatureValidationFailed"},
	{"unauthorized", EACCES, "ErrImagePull"},
	{"authentication required", EACCES, "ErrImagePull"},
	{"access to the resource is denied", EACCES, "ErrImagePull"},
	{"denied", EACCES, "ErrImagePull"},
	{"manifest unknown", ENOENT, "ErrImagePull"},
	{"name unknown", ENOENT, "ErrImagePull"},
	{"repository name not known", ENOENT, "ErrImagePull"},
	{"not found", ENOENT, "ErrImagePull"},
	{"StatusCode: 404", ENOENT, "ErrImagePull"},
	{"connection refused", EHOSTUNREACH, "RegistryUnavailable"},
	{"no such host", EHOSTUNREACH, "RegistryUnavailable"},
	{"server misbehaving", EHOSTUNREACH, "RegistryUnavailable"},
	{"i/o timeout", EHOSTUNREACH, "RegistryUnavailable"},
	{"no route to host", EHOSTUNREACH, "RegistryUnavailable"},
	{"network is unreachable", EHOSTUNREACH, "RegistryUnavailable"},
	{"server gave HTTP response to HTTPS client", EHOSTUNREACH, "RegistryUnavailable"},
	{"x509:", EHOSTUNREACH, "RegistryUnavailable"},
	{"503", EHOSTUNREACH, "RegistryUnavailable"},
};

/* The text of the last `msg="..."` of its log, else the last line. The caller frees. */
static char *last_message(char *output)
{
	size_t len = strlen(output);
	while (len && (output[len - 1] == '\n' || output[len - 1] == ' '))
		output[--len] = 0;
	char *line = strrchr(output, '\n');
	line = line ? line + 1 : output;
	char *message = strstr(line, "msg=\"");
	if (!message)
		return xstrdup(*line ? line : "skopeo failed");
	message += 5;
	char *clean = xmalloc(strlen(message) + 1), *end = clean;
	for (; *message && *message != '"'; message++) {
		if (*message == '\\' && message[1])
			message++;
		*end++ = *message;
	}
	*end = 0;
	return clean;
}

static int classify(struct buf *output, struct error *err)
{
	buf_append_char(output, '\n');
	autofree char *message = last_message(output->data ? output->data : (char[]){""});
	const struct classification *found = NULL;
	for (size_t i = 0; !found && i < array_len(classifications); i++)
		if (strcasestr(message, classifications[i].text))
			found = &classifications[i];
	int r = error_set(err, found ? found->errnum : EIO, "%s", message);
	if (err) {
		free(err->reason);
		err->reason = xstrdup(found ? found->reason : "ErrImagePull");
	}
	return r;
}

/* ---- the run ---- */

struct run {
	struct process process;
	int out, errout;
	struct buf *out_buf, errors, line;
	void (*on_line)(const char *line, void *arg);
	void *arg;
};

static void split_lines(struct run *run, const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (data[i] != '\n') {
			buf_append_char(&run->line, data[i]);
			continue;
		}
		if (run->line.data && run->on_line)
			run->on_line(run->line.data, run->arg);
		buf_reset(&run->line);
	}
	if (buf_failed(&run->line)) { /* no sensible line is this long */
		buf_done(&run->line);
		run->line = BUF_INIT(MAX_ERROR_OUTPUT);
	}
}

/* Returns false once that stream has ended. */
static bool drain(int *fd, struct run *run, bool is_error)
{
	char chunk[16384];
	ssize_t n = read(*fd, chunk, sizeof(chunk));
	if (n <= 0) {
		if (n < 0 && errno == EINTR)
			return true;
		close(take_fd(*fd));
		return false;
	}
	if (is_error) {
		if (run->errors.len + (size_t)n > MAX_ERROR_OUTPUT - 2)
			buf_consume(&run->errors, run->errors.len / 2);
		buf_append(&run->errors, chunk, (size_t)n);
	} else {
		if (run->out_buf)
			buf_append(run->out_buf, chunk, (size_t)n);
		split_lines(run, chunk, (size_t)n);
	}
	return true;
}

static int abandon(struct run *run, int errnum, const char *why, struct error *err)
{
	int status;
	process_signal(&run->process, SIGKILL);
	process_wait(&run->process, -1, &status, NULL);
	int r = error_set(err, errnum, "%s", why);
	if (err) {
		free(err->reason);
		err->reason = xstrdup("ErrImagePull");
	}
	return r;
}

static int watch(struct run *run, const struct image_pull_options *options, struct error *err)
{
	int64_t deadline = options && options->timeout_ms > 0 ? clock_monotonic_ns() + options->timeout_ms * NSEC_PER_MSEC : 0;
	while (run->out >= 0 || run->errout >= 0) {
		struct pollfd fds[3] = {{.fd = run->out, .events = POLLIN}, {.fd = run->errout, .events = POLLIN}, {.fd = -1, .events = POLLIN}};
		if (options && options->cancel_fd)
			fds[2].fd = *options->cancel_fd;
		int64_t left = deadline ? (deadline - clock_monotonic_ns()) / NSEC_PER_MSEC : -1;
		if (deadline && left <= 0)
			return abandon(run, ETIMEDOUT, "timed out", err);
		if (poll(fds, array_len(fds), (int)left) < 0 && errno != EINTR)
			return abandon(run, errno, "poll failed", err);
		if (fds[2].revents)
			return abandon(run, ECANCELED, "context canceled", err);
		if (fds[0].revents)
			drain(&run->out, run, false);
		if (fds[1].revents)
			drain(&run->errout, run, true);
	}
	int status;
	int r = process_wait(&run->process, -1, &status, err);
	if (r < 0)
		return r;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : classify(&run->errors, err);
}

int skopeo_run(const char *const *argv, const struct image_pull_options *options, struct buf *out, void (*on_line)(const char *line, void *arg),
	void *arg, struct error *err)
{
	int out_pipe[2], error_pipe[2];
	if (pipe2(out_pipe, O_CLOEXEC) < 0)
		return error_set_errno(err, errno, "pipe");
	if (pipe2(error_pipe, O_CLOEXEC) < 0) {
		int saved = errno;
		close(out_pipe[0]);
		close(out_pipe[1]);
		return error_set_errno(err, saved, "pipe");
	}
	struct run run = {.out = out_pipe[0], .errout = error_pipe[0], .out_buf = out, .errors = BUF_INIT(MAX_ERROR_OUTPUT),
		.line = BUF_INIT(MAX_ERROR_OUTPUT), .on_line = on_line, .arg = arg};
	struct process_options process = PROCESS_OPTIONS_INIT;
	process.argv = argv;
	process.stdout_fd = out_pipe[1];
	process.stderr_fd = error_pipe[1];
	process.die_with_parent = true; /* this thread stays until it has ended; what was half copied is nobody's once we are gone */
	int r = process_start(&process, &run.process, err);
	close(out_pipe[1]);
	close(error_pipe[1]);
	if (r == 0)
		r = watch(&run, options, err);
	if (run.out >= 0)
		close(run.out);
	if (run.errout >= 0)
		close(run.errout);
	buf_done(&run.errors);
	buf_done(&run.line);
	return r;
}
