/* SPDX-License-Identifier: Apache-2.0 */
/* Child processes, by pidfd: no SIGCHLD handler, no race on a reused pid. */
#ifndef CORACLE_BASE_PROCESS_H
#define CORACLE_BASE_PROCESS_H

#include "common/base/buf.h"
#include "common/base/error.h"

#include <sys/types.h>

struct process_options {
	const char *const *argv; /* NULL terminated; argv[0] searched in PATH unless it has a slash */
	const char *const *envp; /* NULL: inherit */
	const char *cwd;         /* NULL: inherit */
	int stdin_fd;            /* -1: /dev/null */
	int stdout_fd;           /* -1: /dev/null */
	int stderr_fd;           /* -1: /dev/null */
	const int *keep_fds;     /* passed to the child as fds 3, 4, ... in this order */
	size_t keep_fd_count;
	bool new_session;        /* setsid */
	bool die_with_parent;    /* PR_SET_PDEATHSIG SIGKILL */
};
#define PROCESS_OPTIONS_INIT {.stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1}

struct process {
	pid_t pid;
	int pidfd; /* readable once it has exited */
};

/* Starts it (posix_spawn-like: exec failures are reported here). */
int process_start(const struct process_options *options, struct process *ret, struct error *err);
/* Waits at most timeout_ms (-1: for ever). Returns 0 and the wait status (as waitpid's), or -ETIMEDOUT. Closes pidfd on success. */
int process_wait(struct process *process, int timeout_ms, int *ret_status, struct error *err);
int process_signal(const struct process *process, int signal);
/*
 * Runs to its end, feeding `input` (may be NULL) and collecting stdout and stderr, each up to its buf's max.
 * Kills it and returns -ETIMEDOUT past timeout_ms. A non-zero exit is -EIO with the last of stderr in the message; *ret_exit (may be
 * NULL) gets the exit code.
 */
int process_run(const struct process_options *options, const char *input, size_t input_len, struct buf *out, struct buf *errout, int timeout_ms, int *ret_exit, struct error *err);

#endif
