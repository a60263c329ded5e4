/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every command of `coracle` is made of. A command is one file in cli/commands/ that ends in one const
 * `struct cli_command`, listed in cli/commands/table.c. Its flags are rows; they land in an options struct of the command
 * that begins with `struct cli_globals`.
 */
#ifndef CORACLE_CLI_CLI_H
#define CORACLE_CLI_CLI_H

#include "common/base/flags.h"
#include "common/base/arena.h"
#include "common/client/client.h"

#include <jansson.h>

/* Flags that every command takes. */
struct cli_globals {
	char *kubeconfig, *context, *cluster, *user;
	char *ns;
	char *server, *token, *certificate_authority, *client_certificate, *client_key, *tls_server_name;
	char *as, *as_uid;
	struct flag_list as_group, as_user_extra;
	char *request_timeout;
	bool insecure;
	int64_t verbosity;
};

struct cli;

struct cli_command {
	const char *name;
	const char *alias;   /* NULL: none */
	const char *usage;   /* what follows the name: "(POD | TYPE/NAME) [flags]" */
	const char *summary; /* one line */
	const struct flag *flags;
	size_t flag_count;
	size_t options_size; /* 0: globals only */
	/* `options` is the command's struct. Returns 0 or a negative errno with err set. */
	int (*run)(struct cli *cli, void *options, const struct flag_list *args, struct error *err);
	const struct cli_command *const *children; /* NULL terminated; NULL: none */
};
extern const struct cli_command *const cli_commands[]; /* NULL terminated */

struct cli {
	const struct cli_command *command;
	const struct cli_globals *globals;
	struct flag_list dash_args; /* what stood behind "--" */
	bool has_dash;
	int exit_code;              /* of the program where run() succeeds */
	struct flag_list given;     /* names of the flags on the command line */
	struct client *client;      /* made on first use; see cli_client */
	struct client_config config;
	bool config_loaded;
	struct arena *arena;        /* lives as long as the command runs */
	json_t *discovery;          /* of the server's groups, once asked for; see resource.c */
};

/* The client for the flags and kubeconfig given. Borrowed. */
int cli_client(struct cli *cli, struct client **ret, struct error *err);
/* The namespace to work in: --namespace, the context's, "default". Borrowed. */
int cli_namespace(struct cli *cli, const char **ret, struct error *err);
/* True where the flag stood on the command line. */
bool cli_flag_given(const struct cli *cli, const char *name);
/* The wrong use of a command: "error: ..." with a hint at --help. Returns -EINVAL. */
int cli_usage_error(struct error *err, const char *fmt, ...) printf_like(2, 3);
/* Runs the program; returns its exit code. */
int cli_main(int argc, char **argv);

#endif
