/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands/commands.h"
#include "cli/supervise/supervise.h"

struct options {
	struct cli_globals globals;
	char *config, *log_dir, *pid_file;
};
#define O(member) offsetof(struct options, member)

static const struct flag flags[] = {
	{"config", 0, FLAG_STRING, O(config), "/etc/coracle/daemons.conf", "File with one \"name: command\" a line", 0, 0},
	{"log-dir", 0, FLAG_STRING, O(log_dir), "/var/log/coracle", "Folder of the daemons' logs", 0, 0},
	{"pid-file", 0, FLAG_STRING, O(pid_file), NULL, "File to write the supervisor's process ID to", 0, 0},
};

static int run(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct options *options = arg;
	if (args->len)
		return cli_usage_error(err, "supervise takes no arguments");
	struct supervise_options supervise = {.config_file = options->config, .log_dir = options->log_dir, .pid_file = options->pid_file};
	return supervise_run(&supervise, err);
}

const struct cli_command command_supervise = {
	.name = "supervise",
	.usage = "--config FILE --log-dir DIR",
	.summary = "Run the daemons of a node where there is no systemd",
	.flags = flags,
	.flag_count = array_len(flags),
	.options_size = sizeof(struct options),
	.run = run,
};
