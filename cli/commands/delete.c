/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands/commands.h"
#include "cli/output.h"
#include "cli/targets.h"

#include "common/base/clock.h"

#include <errno.h>
#include <stdio.h>

struct options {
	struct cli_globals globals;
	char *output, *selector, *field_selector, *cascade, *dry_run, *raw;
	struct flag_list files;
	bool all, all_namespaces, wait, force, now, ignore_not_found, recursive;
	int64_t grace_period, timeout;
};
#define O(member) offsetof(struct options, member)

static const struct flag flags[] = {
	{"filename", 'f', FLAG_STRING_LIST, O(files), NULL, "Files that name what to delete", 0, 0},
	{"recursive", 'R', FLAG_BOOL, O(recursive), NULL, "Process the folder used in -f recursively", 0, 0},
	{"selector", 'l', FLAG_STRING, O(selector), NULL, "Label selector to filter on", 0, 0},
	{"field-selector", 0, FLAG_STRING, O(field_selector), NULL, "Field selector to filter on", 0, 0},
	{"all", 0, FLAG_BOOL, O(all), NULL, "Delete all of the type in the namespace", 0, 0},
	{"all-namespaces", 'A', FLAG_BOOL, O(all_namespaces), NULL, "Across all namespaces", 0, 0},
	{"wait", 0, FLAG_BOOL, O(wait), "true", "Wait until they are gone", 0, 0},
	{"timeout", 0, FLAG_DURATION, O(timeout), "0s", "How long to wait; 0: as long as it takes", 0, 0},
	{"force", 0, FLAG_BOOL, O(force), NULL, "Delete at once, without waiting for a graceful end", 0, 0},
	{"now", 0, FLAG_BOOL, O(now), NULL, "The same as --grace-period=1", 0, 0},
	{"grace-period", 0, FLAG_INT, O(grace_period), "-1", "Seconds given to end gracefully; negative: the object's own", -1, INT32_MAX},
	{"cascade", 0, FLAG_STRING, O(cascade), "background", "What becomes of dependents: background, orphan, foreground", 0, 0},
	{"ignore-not-found", 0, FLAG_BOOL, O(ignore_not_found), NULL, "Treat \"not found\" as a success", 0, 0},
	{"output", 'o', FLAG_STRING, O(output), NULL, "\"name\" for short output", 0, 0},
	{"dry-run", 0, FLAG_STRING, O(dry_run), "none", "none, server or client", 0, 0},
};

static const char *propagation(const char *cascade, struct error *err)
{
	static const char *const known[][2] = {{"background", "Background"}, {"orphan", "Orphan"}, {"foreground", "Foreground"}, {"true", "Background"}, {"false", "Orphan"}};
	for (size_t i = 0; i < array_len(known); i++)
		if (str_equal(cascade, known[i][0]))
			return known[i][1];
	cli_usage_error(err, "invalid cascade value (%s). Must be \"background\", \"foreground\", or \"orphan\"", cascade);
	return NULL;
}

struct deletion {
	struct cli_target *target;
	char *uid; /* of what was deleted; NULL: nothing to wait for */
};

static int delete_one(struct cli *cli, const struct options *options, struct deletion *deletion, struct error *err)
{
	struct cli_target *target = deletion->target;
	const char *policy = propagation(options->cascade, err);
	if (!policy)
		return -EINVAL;
	int64_t grace = options->now ? 1 : (options->force && options->grace_period < 0 ? 0 : options->grace_period);
	json_t *body = json_pack("{s:s, s:s, s:s}", "kind", "DeleteOptions", "apiVersion", "v1", "propagationPolicy", policy);
	if (grace >= 0)
		json_object_set_new(body, "gracePeriodSeconds", json_integer(grace));
	if (str_equal(options->dry_run, "server"))
		json_object_set_new(body, "dryRun", json_pack("[s]", "All"));
	json_t *answer = NULL;
	int rc = 0;
	if (!str_equal(options->dry_run, "client"))
		rc = cli_call(cli, &(struct cli_call){.method = "DELETE", .path = cli_path(cli, target->resource, target->ns, target->name, NULL), .body = body}, &answer, err);
	json_decref(body);
	if (rc && err->http_code == 404 && options->ignore_not_found) {
		error_done(err);
		*err = (struct error){0};
		return 0;
	}
	if (rc)
		return rc;
	/* The answer is the object while it lingers, a Status with its uid once it is gone. */
	const char *uid = str_or(cli_str_at(answer, "metadata.uid"), cli_str_at(answer, "details.uid"));
	deletion->uid = arena_strdup(cli->arena, uid);
	if (str_equal(options->output, "name"))
		printf("%s\n", cli_target_display(cli, target));
	else
		printf("%s \"%s\" %sdeleted%s%s%s\n", cli_display_name(cli, target->resource), target->name, options->force && grace == 0 ? "force " : "",
			target->ns ? " from " : "", target->ns ? target->ns : "", target->ns ? " namespace" : "");
	fflush(stdout);
	json_decref(answer);
	return 0;
}

static int wait_gone(struct cli *cli, const struct deletion *deletion, int64_t deadline, struct error *err)
{
	int64_t left = deadline ? max_of((deadline - clock_monotonic_ns()) / NSEC_PER_MSEC, (int64_t)1) : 0;
	return cli_wait_absent(cli, deletion->target, deletion->uid, left, err);
}

static int delete_all(struct cli *cli, const struct options *options, struct cli_targets *targets, struct error *err)
{
	autofree struct deletion *deletions = xcalloc(targets->len, sizeof(*deletions));
	size_t failed = 0;
	for (size_t i = 0; i < targets->len; i++) {
		deletions[i].target = &targets->items[i];
		autoerror struct error problem = {0};
		if (delete_one(cli, options, &deletions[i], &problem) == 0)
			continue;
		deletions[i].target = NULL;
		if (targets->len == 1 || !problem.http_code)
			return error_move(err, &problem);
		fprintf(stderr, "Error from server (%s): %s\n", str_or(problem.reason, ""), error_message(&problem));
		failed++;
	}
	cli->exit_code = failed > 0;
	if (!options->wait || !str_equal(options->dry_run, "none"))
		return 0;
	int64_t deadline = options->timeout ? clock_monotonic_ns() + options->timeout : 0;
	int rc = 0;
	for (size_t i = 0; !rc && i < targets->len; i++)
		if (deletions[i].target)
			rc = wait_gone(cli, &deletions[i], deadline, err);
	return rc;
}

static int run(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct options *options = arg;
	autotargets struct cli_targets targets = {0};
	bool selects = options->all || !str_empty(options->selector) || !str_empty(options->field_selector);
	int rc = options->files.len ? cli_targets_from_files(cli, &options->files, options->recursive, &targets, err) : cli_targets_from_args(cli, args, 0, options->all_namespaces, &targets, err);
	if (!rc && !options->files.len && !args->len)
		rc = cli_usage_error(err, "You must provide one or more resources by argument or filename.");
	for (size_t i = 0; !rc && i < targets.len; i++)
		if (!targets.items[i].name && !selects)
			rc = cli_usage_error(err, "resource(s) were provided, but no name was specified");
	if (!rc && options->force)
		fprintf(stderr, "Warning: Immediate deletion does not wait for confirmation that the running resource has been terminated. The resource may continue to run on the cluster indefinitely.\n");
	if (!rc && selects)
		rc = cli_targets_expand(cli, &targets, options->selector, options->field_selector, err);
	if (!rc && selects && !targets.len)
		printf("No resources found\n");
	return rc ? rc : delete_all(cli, options, &targets, err);
}

const struct cli_command command_delete = {
	.name = "delete",
	.usage = "([-f FILENAME] | TYPE [(NAME | -l label | --all)])",
	.summary = "Delete resources by files, names, or selectors",
	.flags = flags,
	.flag_count = array_len(flags),
	.options_size = sizeof(struct options),
	.run = run,
};
