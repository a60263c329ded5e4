/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include "common/base/log.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define G(member) offsetof(struct cli_globals, member)
static const struct flag global_flags[] = {
	{"kubeconfig", 0, FLAG_STRING, G(kubeconfig), NULL, "Path to the kubeconfig file to use", 0, 0},
	{"context", 0, FLAG_STRING, G(context), NULL, "The name of the kubeconfig context to use", 0, 0},
	{"cluster", 0, FLAG_STRING, G(cluster), NULL, "The name of the kubeconfig cluster to use", 0, 0},
	{"user", 0, FLAG_STRING, G(user), NULL, "The name of the kubeconfig user to use", 0, 0},
	{"namespace", 'n', FLAG_STRING, G(ns), NULL, "The namespace of this request", 0, 0},
	{"server", 's', FLAG_STRING, G(server), NULL, "The address and port of the Kubernetes API server", 0, 0},
	{"token", 0, FLAG_STRING, G(token), NULL, "Bearer token for authentication to the API server", 0, 0},
	{"certificate-authority", 0, FLAG_STRING, G(certificate_authority), NULL, "Path to a cert file for the certificate authority", 0, 0},
	{"client-certificate", 0, FLAG_STRING, G(client_certificate), NULL, "Path to a client certificate file for TLS", 0, 0},
	{"client-key", 0, FLAG_STRING, G(client_key), NULL, "Path to a client key file for TLS", 0, 0},
	{"tls-server-name", 0, FLAG_STRING, G(tls_server_name), NULL, "Server name to use for server certificate validation", 0, 0},
	{"insecure-skip-tls-verify", 0, FLAG_BOOL, G(insecure), NULL, "Do not check the server's certificate", 0, 0},
	{"as", 0, FLAG_STRING, G(as), NULL, "Username to impersonate for the operation", 0, 0},
	{"as-uid", 0, FLAG_STRING, G(as_uid), NULL, "UID to impersonate for the operation", 0, 0},
	{"as-group", 0, FLAG_STRING_ARRAY, G(as_group), NULL, "Group to impersonate for the operation; once for each group", 0, 0},
	{"as-user-extra", 0, FLAG_STRING_ARRAY, G(as_user_extra), NULL, "Extra to impersonate for the operation, as key=value; once for each", 0, 0},
	{"request-timeout", 0, FLAG_STRING, G(request_timeout), NULL, "How long to wait before giving up on a single request: 1s, 2m, 3h; 0: no limit", 0, 0},
	{"v", 'v', FLAG_INT, G(verbosity), NULL, "Number for the log level verbosity", 0, 100},
	{"cache-dir", 0, FLAG_IGNORED, 0, NULL, NULL, 0, 0},
	{"disable-compression", 0, FLAG_IGNORED, 0, NULL, NULL, 0, 0},
	{"match-server-version", 0, FLAG_IGNORED, 0, NULL, NULL, 0, 0},
	{"warnings-as-errors", 0, FLAG_IGNORED, 0, NULL, NULL, 0, 0},
	{"kuberc", 0, FLAG_IGNORED, 0, NULL, NULL, 0, 0},
	{"profile", 0, FLAG_IGNORED, 0, NULL, NULL, 0, 0},
	{"profile-output", 0, FLAG_IGNORED, 0, NULL, NULL, 0, 0},
};

/* Flags that kubectl lets stand without a value, and the value they then mean. */
static const struct {
	const char *name, *value;
} bare_values[] = {
	{"--dry-run", "--dry-run=unchanged"},
	{"--cascade", "--cascade=background"},
	{"--validate", "--validate=strict"},
};

bool cli_flag_given(const struct cli *cli, const char *name)
{
	for (size_t i = 0; i < cli->given.len; i++)
		if (str_equal(cli->given.items[i], name))
			return true;
	return false;
}

int cli_usage_error(struct error *err, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	autobuf struct buf text = BUF_INIT(64 * 1024);
	buf_vprintf(&text, fmt, args);
	va_end(args);
	return error_set(err, EINVAL, "%s", text.data);
}

/* ---- finding the command ---- */

static bool takes_value(const char *arg)
{
	for (size_t i = 0; i < array_len(global_flags); i++) {
		const struct flag *flag = &global_flags[i];
		bool same = (arg[1] == '-' && str_equal(arg + 2, flag->name)) || (arg[1] == flag->shorthand && arg[1] && !arg[2]);
		if (same)
			return flag->kind != FLAG_BOOL;
	}
	return false;
}

/* The index of the next argument that is neither a flag nor a global flag's value; argc where there is none. */
static int next_positional(int argc, char **argv, int from)
{
	for (int i = from; i < argc; i++) {
		if (str_equal(argv[i], "--"))
			return argc;
		if (argv[i][0] != '-')
			return i;
		if (takes_value(argv[i]))
			i++;
	}
	return argc;
}

static const struct cli_command *find_in(const struct cli_command *const *table, const char *name)
{
	for (; table && *table; table++)
		if (str_equal((*table)->name, name) || (!str_empty((*table)->alias) && str_equal((*table)->alias, name)))
			return *table;
	return NULL;
}

/* Takes the words of the command out of argv and returns it. */
static const struct cli_command *take_command(int *argc, char **argv, struct error *err)
{
	const struct cli_command *command = NULL;
	const struct cli_command *const *table = cli_commands;
	int from = 1;
	while (table) {
		int at = next_positional(*argc, argv, from);
		const struct cli_command *found = at < *argc ? find_in(table, argv[at]) : NULL;
		if (!found) {
			if (!command && at < *argc)
				cli_usage_error(err, "unknown command \"%s\" for \"coracle\"", argv[at]);
			break;
		}
		memmove(&argv[at], &argv[at + 1], (size_t)(*argc - at) * sizeof(*argv));
		(*argc)--;
		from = at;
		command = found;
		table = found->children;
	}
	return command;
}

/* ---- help ---- */

static void print_commands(FILE *out, const struct cli_command *const *table)
{
	for (; *table; table++)
		fprintf(out, "  %-18s%s\n", (*table)->name, (*table)->summary);
}

static void print_help(FILE *out, const struct cli_command *command)
{
	if (!command) {
		fprintf(out, "coracle controls a Kubernetes cluster, and makes what one needs.\n\nCommands:\n");
		print_commands(out, cli_commands);
		fprintf(out, "\nUse \"coracle <command> --help\" for more information about a given command.\n");
		return;
	}
	if (command->children) {
		fprintf(out, "%s\n\nAvailable Commands:\n", command->summary);
		print_commands(out, command->children);
		fputc('\n', out);
	}
	autofree char *title = xprintf("coracle %s %s", command->name, str_or(command->usage, ""));
	if (command->run)
		flags_print_help(out, title, command->summary, command->flags, command->flag_count);
	fprintf(out, "\nGlobal flags:\n");
	for (size_t i = 0; i < array_len(global_flags); i++)
		if (global_flags[i].kind != FLAG_IGNORED)
			fprintf(out, "      --%-30s %s\n", global_flags[i].name, global_flags[i].help);
}

static bool wants_help(int argc, char **argv)
{
	for (int i = 1; i < argc && !str_equal(argv[i], "--"); i++)
		if (str_equal(argv[i], "--help") || (str_equal(argv[i], "-h")))
			return true;
	return false;
}

/* ---- running ---- */

/* Everything from "--" on is not ours to parse. */
static void split_dash(struct cli *cli, int *argc, char **argv)
{
	for (int i = 1; i < *argc; i++) {
		if (!str_equal(argv[i], "--"))
			continue;
		cli->has_dash = true;
		for (int j = i + 1; j < *argc; j++)
			flag_list_add(&cli->dash_args, argv[j]);
		*argc = i;
	}
}

/* In usage errors of flags the name is known only by asking each. */
static void note_given(struct cli *cli, const struct flag *flags, size_t count, int argc, char **argv)
{
	for (size_t i = 0; i < count; i++)
		if (flags_given(flags, count, argc, argv, flags[i].name))
			flag_list_add(&cli->given, flags[i].name);
}

static int run_command(struct cli *cli, int argc, char **argv, struct error *err)
{
	const struct cli_command *command = cli->command;
	size_t count = array_len(global_flags) + command->flag_count;
	autofree struct flag *flags = xcalloc(count, sizeof(*flags));
	/* The command's own come first: where it gives a shorthand another meaning (logs -f, -p), that one counts. */
	if (command->flag_count)
		memcpy(flags, command->flags, command->flag_count * sizeof(*flags));
	memcpy(flags + command->flag_count, global_flags, sizeof(global_flags));
	autofree void *options = xcalloc(1, max_of(command->options_size, sizeof(struct cli_globals)));
	struct flag_list args = {0};
	int rc = flags_parse(flags, count, argc, argv, options, &args, err);
	if (!rc) {
		note_given(cli, flags, count, argc, argv);
		cli->globals = options;
		log_init(STDERR_FILENO, LOG_FORMAT_TEXT, (int)cli->globals->verbosity);
		rc = command->run(cli, options, &args, err);
	}
	flag_list_done(&args);
	flags_done(flags, count, options);
	cli->globals = NULL;
	return rc;
}

/* As kubectl words what went wrong. */
static void print_error(const struct error *err)
{
	if (err->http_code && !str_empty(err->reason))
		fprintf(stderr, "Error from server (%s): %s\n", err->reason, error_message(err));
	else if (err->http_code)
		fprintf(stderr, "Error from server: %s\n", error_message(err));
	else if (err->errnum == ECONNREFUSED)
		fprintf(stderr, "The connection to the server was refused - did you specify the right host or port?\n%s\n", error_message(err));
	else
		fprintf(stderr, "error: %s\n", error_message(err));
}

static void cli_done(struct cli *cli)
{
	client_free(cli->client);
	json_decref(cli->discovery);
	arena_free(cli->arena);
	if (cli->config_loaded)
		client_config_done(&cli->config);
	flag_list_done(&cli->dash_args);
	flag_list_done(&cli->given);
}

int cli_main(int argc, char **argv)
{
	struct cli cli = {.arena = arena_new()};
	autoerror struct error err = {0};
	sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
	for (int i = 1; i < argc && !str_equal(argv[i], "--"); i++)
		for (size_t j = 0; j < array_len(bare_values); j++)
			if (str_equal(argv[i], bare_values[j].name))
				argv[i] = (char *)bare_values[j].value;
	/* argv is edited in a copy: the process's own keeps its look in ps. */
	autofree char **words = xmemdup(argv, ((size_t)argc + 1) * sizeof(*argv));
	bool help = wants_help(argc, words);
	split_dash(&cli, &argc, words);
	cli.command = take_command(&argc, words, &err);
	int rc = 0;
	if (err.errnum)
		rc = -err.errnum;
	else if (argc > 1 && !cli.command && str_equal(words[1], "--version"))
		printf("coracle %s\n", CORACLE_VERSION);
	else if (help || !cli.command || !cli.command->run)
		print_help(help || cli.command ? stdout : stderr, cli.command), rc = 0;
	else
		rc = run_command(&cli, argc, words, &err);
	fflush(stdout);
	if (rc)
		print_error(&err);
	int code = rc ? (cli.exit_code ? cli.exit_code : 1) : cli.exit_code;
	cli_done(&cli);
	return code;
}
