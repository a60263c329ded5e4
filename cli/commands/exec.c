/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands/commands.h"
#include "cli/pods.h"
#include "cli/remote.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

struct options {
	struct cli_globals globals;
	char *container;
	struct flag_list files;
	bool use_stdin, tty, quiet;
};
#define O(member) offsetof(struct options, member)

static const struct flag flags[] = {
	{"container", 'c', FLAG_STRING, O(container), NULL, "Container name", 0, 0},
	{"stdin", 'i', FLAG_BOOL, O(use_stdin), NULL, "Pass stdin to the container", 0, 0},
	{"tty", 't', FLAG_BOOL, O(tty), NULL, "Stdin is a TTY", 0, 0},
	{"quiet", 'q', FLAG_BOOL, O(quiet), NULL, "Only print output from the remote session", 0, 0},
	{"pod-running-timeout", 0, FLAG_IGNORED, 0, NULL, NULL, 0, 0},
};

int remote_session(struct cli *cli, json_t *pod, const char *subresource, const char *container, const struct flag_list *command, bool use_stdin, bool tty, bool quiet, struct error *err)
{
	const struct cli_resource *resource = NULL;
	int rc = cli_resource_match(cli, "pods", &resource, err);
	if (rc)
		return rc;
	const char *phase = cli_str_at(pod, "status.phase");
	if (str_equal(phase, "Succeeded") || str_equal(phase, "Failed"))
		return error_set(err, EINVAL, "cannot %s a container in a completed pod; current phase is %s", subresource, phase);
	if (tty && use_stdin && !isatty(STDIN_FILENO)) {
		fprintf(stderr, "Unable to use a TTY - input is not a terminal or the right kind of file\n");
		tty = false;
	}
	char *path = cli_path(cli, resource, cli_ns(pod), cli_name(pod), subresource);
	path = cli_path_query(cli, path, "container", cli_pod_container(pod, container, !quiet));
	for (size_t i = 0; command && i < command->len; i++)
		path = cli_path_query(cli, path, "command", str_empty(command->items[i]) ? " " : command->items[i]);
	path = cli_path_query(cli, path, "stdin", use_stdin ? "true" : NULL);
	path = cli_path_query(cli, path, "stdout", "true");
	path = cli_path_query(cli, path, "stderr", tty ? NULL : "true");
	path = cli_path_query(cli, path, "tty", tty ? "true" : NULL);
	struct remote_options options = {.use_stdin = use_stdin, .tty = tty, .quiet = quiet, .in_fd = use_stdin || tty ? STDIN_FILENO : -1, .out_fd = STDOUT_FILENO, .err_fd = STDERR_FILENO};
	int code = 0;
	fflush(stdout);
	rc = remote_run(cli, path, &options, &code, err);
	if (!rc && code) {
		if (!quiet)
			fprintf(stderr, "command terminated with exit code %d\n", code);
		cli->exit_code = code;
	}
	return rc;
}

static int run_exec(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct options *options = arg;
	struct flag_list command = cli->dash_args;
	if (!args->len)
		return cli_usage_error(err, "pod, type/name or --filename must be specified");
	/* "exec POD CMD" without the dashes is what older scripts write. */
	if (!cli->has_dash && args->len > 1)
		command = (struct flag_list){.items = args->items + 1, .len = args->len - 1};
	if (!command.len)
		return cli_usage_error(err, "you must specify at least one command for the container");
	json_t *pod;
	int rc = cli_pod_find(cli, args->items[0], &pod, err);
	if (rc)
		return rc;
	rc = remote_session(cli, pod, "exec", options->container, &command, options->use_stdin, options->tty, options->quiet, err);
	json_decref(pod);
	return rc;
}

static int run_attach(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct options *options = arg;
	json_t *pod;
	if (args->len != 1)
		return cli_usage_error(err, "expected POD or TYPE/NAME, got %zu arguments", args->len);
	int rc = cli_pod_find(cli, args->items[0], &pod, err);
	if (rc)
		return rc;
	if (!options->quiet && options->use_stdin)
		fprintf(stderr, "If you don't see a command prompt, try pressing enter.\n");
	rc = remote_session(cli, pod, "attach", options->container, NULL, options->use_stdin, options->tty, options->quiet, err);
	json_decref(pod);
	return rc;
}

const struct cli_command command_exec = {
	.name = "exec",
	.usage = "(POD | TYPE/NAME) [-c CONTAINER] [flags] -- COMMAND [args...]",
	.summary = "Execute a command in a container",
	.flags = flags,
	.flag_count = array_len(flags),
	.options_size = sizeof(struct options),
	.run = run_exec,
};
const struct cli_command command_attach = {
	.name = "attach",
	.usage = "(POD | TYPE/NAME) [-c CONTAINER]",
	.summary = "Attach to a running container",
	.flags = flags,
	.flag_count = array_len(flags),
	.options_size = sizeof(struct options),
	.run = run_attach,
};
