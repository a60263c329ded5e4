/* SPDX-License-Identifier: Apache-2.0 */
/* A running program on the other side of a WebSocket: exec and attach. */
#ifndef CORACLE_CLI_REMOTE_H
#define CORACLE_CLI_REMOTE_H

#include "cli/request.h"

struct remote_options {
	bool use_stdin, tty, quiet;
	int in_fd, out_fd, err_fd; /* -1: dropped, or nothing to send */
};
#define REMOTE_OPTIONS_INIT {.in_fd = -1, .out_fd = -1, .err_fd = -1}
/*
 * Opens `path` (with its query) and carries stdin, stdout and stderr until the program ends. With a tty the local terminal is raw
 * meanwhile, and follows its size. *ret_exit is the program's exit code.
 */
int remote_run(struct cli *cli, const char *path, const struct remote_options *options, int *ret_exit, struct error *err);

#endif
