/* SPDX-License-Identifier: Apache-2.0 */
/* config: look into and change the kubeconfig file. */
#include "cli/columns.h"
#include "cli/commands/commands.h"
#include "cli/output.h"

#include "common/api/yaml.h"
#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#define MAX_KUBECONFIG (1u << 20)

struct options {
	struct cli_globals globals;
	char *output, *cluster, *user;
	bool raw, minify, flatten, current, no_headers;
};
#define O(member) offsetof(struct options, member)

static const struct flag flags[] = {
	{"output", 'o', FLAG_STRING, O(output), NULL, "Output format: yaml, json, jsonpath=...", 0, 0},
	{"raw", 0, FLAG_BOOL, O(raw), NULL, "Show keys and certificates too", 0, 0},
	{"minify", 0, FLAG_BOOL, O(minify), NULL, "Only what the current context uses", 0, 0},
	{"flatten", 0, FLAG_BOOL, O(flatten), NULL, "Put the content of files in their place", 0, 0},
	{"no-headers", 0, FLAG_BOOL, O(no_headers), NULL, "Do not print headers", 0, 0},
	{"merge", 0, FLAG_IGNORED, 0, NULL, NULL, 0, 0},
};
static const struct flag context_flags[] = {
	{"current", 0, FLAG_BOOL, O(current), NULL, "Change the current context", 0, 0},
	{"cluster", 0, FLAG_STRING, O(cluster), NULL, "Cluster of the context", 0, 0},
	{"user", 0, FLAG_STRING, O(user), NULL, "User of the context", 0, 0},
};

/* The one file that is changed: --kubeconfig, the first of $KUBECONFIG, ~/.kube/config. In the arena. */
static const char *file_of(struct cli *cli)
{
	const char *list = getenv("KUBECONFIG");
	if (!str_empty(cli->globals->kubeconfig))
		return cli->globals->kubeconfig;
	if (!str_empty(list))
		return arena_strndup(cli->arena, list, strcspn(list, ":"));
	return arena_printf(cli->arena, "%s/.kube/config", str_or(getenv("HOME"), "/root"));
}

static int load(struct cli *cli, json_t **ret, struct error *err)
{
	autofree char *text = NULL;
	size_t len;
	int rc = file_read(AT_FDCWD, file_of(cli), MAX_KUBECONFIG, &text, &len, err);
	if (!rc)
		rc = yaml_load(text, len, ret, err);
	if (!rc && !json_is_object(*ret)) {
		json_decref(*ret);
		rc = error_set(err, EINVAL, "%s is no kubeconfig", file_of(cli));
	}
	return rc;
}

static int save(struct cli *cli, json_t *config, struct error *err)
{
	autobuf struct buf out = BUF_INIT(4 * MAX_KUBECONFIG);
	yaml_dump(config, &out);
	return file_write_durable(AT_FDCWD, file_of(cli), out.data, out.len, 0600, err);
}

static json_t *entry_of(json_t *config, const char *list, const char *name)
{
	size_t i;
	json_t *entry;
	json_array_foreach(json_object_get(config, list), i, entry)
		if (str_equal(cli_str(entry, "name"), name))
			return entry;
	return NULL;
}

static void keep_only(json_t *config, const char *list, const char *name)
{
	json_t *entry = entry_of(config, list, name);
	json_object_set_new(config, list, entry ? json_pack("[O]", entry) : json_array());
}

static void hide_secrets(json_t *config)
{
	static const char *const secret[][2] = {{"certificate-authority-data", "DATA+OMITTED"}, {"client-certificate-data", "DATA+OMITTED"}, {"client-key-data", "DATA+OMITTED"}, {"token", "REDACTED"}, {"password", "REDACTED"}};
	static const char *const lists[][2] = {{"clusters", "cluster"}, {"users", "user"}};
	for (size_t l = 0; l < array_len(lists); l++) {
		size_t i;
		json_t *entry;
		json_array_foreach(json_object_get(config, lists[l][0]), i, entry) {
			json_t *inner = json_object_get(entry, lists[l][1]);
			for (size_t s = 0; s < array_len(secret); s++)
				if (json_object_get(inner, secret[s][0]))
					json_object_set_new(inner, secret[s][0], json_string(secret[s][1]));
		}
	}
}

static int run_view(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct options *options = arg;
	struct cli_output output = {.format = CLI_YAML};
	json_t *config;
	int rc = cli_output_parse(cli, options->output, &output, err);
	if (!rc)
		rc = load(cli, &config, err);
	if (rc)
		return rc;
	if (options->minify) {
		const char *name = str_or(cli->globals->context, cli_str(config, "current-context"));
		json_t *context = json_object_get(entry_of(config, "contexts", name), "context");
		keep_only(config, "clusters", cli_str(context, "cluster"));
		keep_only(config, "users", cli_str(context, "user"));
		keep_only(config, "contexts", name);
	}
	if (!options->raw)
		hide_secrets(config);
	rc = cli_output_print(cli, &output, config, err);
	json_decref(config);
	return rc;
}

static int run_current(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	json_t *config;
	int rc = load(cli, &config, err);
	if (rc)
		return rc;
	if (str_empty(cli_str(config, "current-context")))
		rc = error_set(err, ENOENT, "current-context is not set");
	else
		printf("%s\n", cli_str(config, "current-context"));
	json_decref(config);
	return rc;
}

static int run_use(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	json_t *config;
	if (args->len != 1)
		return cli_usage_error(err, "unexpected args: exactly one context is required");
	int rc = load(cli, &config, err);
	if (rc)
		return rc;
	if (!entry_of(config, "contexts", args->items[0])) {
		rc = error_set(err, ENOENT, "no context exists with the name: \"%s\"", args->items[0]);
	} else {
		json_object_set_new(config, "current-context", json_string(args->items[0]));
		rc = save(cli, config, err);
	}
	if (!rc)
		printf("Switched to context \"%s\".\n", args->items[0]);
	json_decref(config);
	return rc;
}

static int run_set_context(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct options *options = arg;
	json_t *config;
	if (args->len + options->current != 1)
		return cli_usage_error(err, "you must specify a non-empty context name or --current");
	int rc = load(cli, &config, err);
	if (rc)
		return rc;
	const char *name = options->current ? str_or(cli_str(config, "current-context"), "") : args->items[0];
	json_t *entry = entry_of(config, "contexts", name);
	bool is_new = !entry;
	if (is_new) {
		entry = json_pack("{s:s, s:{}}", "name", name, "context");
		if (!json_is_array(json_object_get(config, "contexts")))
			json_object_set_new(config, "contexts", json_array());
		json_array_append_new(json_object_get(config, "contexts"), entry);
	}
	const struct {
		const char *key, *value;
	} parts[] = {{"cluster", options->cluster}, {"user", options->user}, {"namespace", options->globals.ns}};
	for (size_t i = 0; i < array_len(parts); i++)
		if (!str_empty(parts[i].value))
			json_object_set_new(cli_make_at(entry, "context"), parts[i].key, json_string(parts[i].value));
	rc = save(cli, config, err);
	if (!rc)
		printf("Context \"%s\" %s.\n", name, is_new ? "created" : "modified");
	json_decref(config);
	return rc;
}

static int run_get_contexts(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct options *options = arg;
	static const char *const heads[] = {"CURRENT", "NAME", "CLUSTER", "AUTHINFO", "NAMESPACE"};
	autocolumns struct columns columns = {0};
	autobuf struct buf out = BUF_INIT(MAX_KUBECONFIG * 4);
	json_t *config, *entry;
	size_t i;
	int rc = load(cli, &config, err);
	if (rc)
		return rc;
	bool names = str_equal(options->output, "name");
	for (i = 0; !names && !options->no_headers && i < array_len(heads); i++)
		columns_add(&columns, heads[i]);
	if (!names && !options->no_headers)
		columns_end_row(&columns);
	json_array_foreach(json_object_get(config, "contexts"), i, entry) {
		const char *name = str_or(cli_str(entry, "name"), "");
		if (args->len && !str_equal(args->items[0], name))
			continue;
		if (names) {
			printf("%s\n", name);
			continue;
		}
		columns_add(&columns, str_equal(name, cli_str(config, "current-context")) ? "*" : "");
		columns_add(&columns, name);
		columns_add(&columns, str_or(cli_str_at(entry, "context.cluster"), ""));
		columns_add(&columns, str_or(cli_str_at(entry, "context.user"), ""));
		columns_add(&columns, str_or(cli_str_at(entry, "context.namespace"), ""));
		columns_end_row(&columns);
	}
	columns_write(&columns, "", 3, &out);
	if (!names)
		cli_print(&out);
	json_decref(config);
	return 0;
}

/* get-clusters, get-users: the names of one list under a head. */
static int print_names(struct cli *cli, const char *list, struct error *err)
{
	json_t *config, *entry;
	size_t i;
	int rc = load(cli, &config, err);
	if (rc)
		return rc;
	printf("NAME\n");
	json_array_foreach(json_object_get(config, list), i, entry)
		printf("%s\n", str_or(cli_str(entry, "name"), ""));
	json_decref(config);
	return 0;
}
static int run_get_clusters(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	return print_names(cli, "clusters", err);
}
static int run_get_users(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	return print_names(cli, "users", err);
}

static int run_delete_context(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	json_t *config;
	if (args->len != 1)
		return cli_usage_error(err, "exactly one context is required");
	int rc = load(cli, &config, err);
	if (rc)
		return rc;
	json_t *list = json_object_get(config, "contexts");
	rc = error_set(NULL, ENOENT, "absent");
	for (size_t i = json_array_size(list); i-- > 0;) {
		if (!str_equal(cli_str(json_array_get(list, i), "name"), args->items[0]))
			continue;
		json_array_remove(list, i);
		rc = 0;
	}
	rc = rc ? error_set(err, ENOENT, "cannot delete context %s, not in %s", args->items[0], file_of(cli)) : save(cli, config, err);
	if (!rc)
		printf("deleted context %s from %s\n", args->items[0], file_of(cli));
	json_decref(config);
	return rc;
}

#define CONFIG(var, word, use, help, rows, fn) \
	static const struct cli_command var = {.name = word, .usage = use, .summary = help, .flags = rows, .flag_count = array_len(rows), .options_size = sizeof(struct options), .run = fn}
CONFIG(config_view, "view", "[flags]", "Display the kubeconfig", flags, run_view);
CONFIG(config_current, "current-context", "", "Display the current context", flags, run_current);
CONFIG(config_use, "use-context", "NAME", "Set the current context", flags, run_use);
CONFIG(config_set_context, "set-context", "[NAME | --current] [--cluster=] [--user=] [--namespace=]", "Set a context's entries", context_flags, run_set_context);
CONFIG(config_get_contexts, "get-contexts", "[NAME]", "Describe one or many contexts", flags, run_get_contexts);
CONFIG(config_get_clusters, "get-clusters", "", "Display the clusters", flags, run_get_clusters);
CONFIG(config_get_users, "get-users", "", "Display the users", flags, run_get_users);
CONFIG(config_delete_context, "delete-context", "NAME", "Delete a context", flags, run_delete_context);

const struct cli_command command_config = {
	.name = "config",
	.summary = "Look into and change the kubeconfig file",
	.children = (const struct cli_command *const[]){&config_view, &config_current, &config_use, &config_set_context, &config_get_contexts, &config_get_clusters, &config_get_users, &config_delete_context, NULL},
};
