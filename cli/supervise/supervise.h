/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A supervisor for machines without systemd: starts the daemons that a file names, restarts one that dies, stops all on SIGTERM.
 *
 * The file has one daemon a line, "name: program arg arg ...", '#' for comments; words are split at spaces. On SIGHUP it is read
 * again: new lines are started, changed ones restarted, missing ones stopped.
 */
#ifndef CORACLE_CLI_SUPERVISE_H
#define CORACLE_CLI_SUPERVISE_H

#include "common/base/error.h"

struct supervise_options {
	const char *config_file;
	const char *log_dir;  /* <name>.log of each daemon; cut to <name>.log.1 past 64 MiB */
	const char *pid_file; /* NULL: none; beside it stands <pid_file>.daemons, "name pid" of each daemon that runs */
};
/* Runs until SIGTERM or SIGINT; then stops all daemons, the last first. Returns 0, or a negative errno where it could not start. */
int supervise_run(const struct supervise_options *options, struct error *err);

#endif
