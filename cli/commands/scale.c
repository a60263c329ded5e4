/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands/commands.h"
#include "cli/output.h"
#include "cli/targets.h"

#include <errno.h>
#include <stdio.h>

struct options {
	struct cli_globals globals;
	char *output, *selector, *resource_version, *dry_run;
	struct flag_list files;
	bool all, recursive;
	int64_t replicas, current_replicas;
};
#define O(member) offsetof(struct options, member)

static const struct flag flags[] = {
	{"replicas", 0, FLAG_INT, O(replicas), "-1", "The new number of replicas", -1, INT32_MAX},
	{"current-replicas", 0, FLAG_INT, O(current_replicas), "-1", "Only where there are so many now; -1: always", -1, INT32_MAX},
	{"resource-version", 0, FLAG_STRING, O(resource_version), NULL, "Only where the object is of this version", 0, 0},
	{"filename", 'f', FLAG_STRING_LIST, O(files), NULL, "Files that name what to scale", 0, 0},
	{"recursive", 'R', FLAG_BOOL, O(recursive), NULL, "Process the folder used in -f recursively", 0, 0},
	{"selector", 'l', FLAG_STRING, O(selector), NULL, "Label selector to filter on", 0, 0},
	{"all", 0, FLAG_BOOL, O(all), NULL, "All of the type in the namespace", 0, 0},
	{"output", 'o', FLAG_STRING, O(output), NULL, "Output format: json, yaml, name, ...", 0, 0},
	{"dry-run", 0, FLAG_STRING, O(dry_run), "none", "none, server or client", 0, 0},
	{"timeout", 0, FLAG_IGNORED, 0, NULL, NULL, 0, 0},
};

static int set_replicas(json_t *scale, void *arg, struct error *err)
{
	const struct options *options = arg;
	if (options->current_replicas >= 0 && cli_int_at(scale, "spec.replicas") != options->current_replicas)
		return error_set(err, EINVAL, "Expected replicas to be %lld, was %lld", (long long)options->current_replicas, (long long)cli_int_at(scale, "spec.replicas"));
	if (!str_empty(options->resource_version) && !str_equal(cli_str_at(scale, "metadata.resourceVersion"), options->resource_version))
		return error_set(err, EINVAL, "Expected resource version to be %s, was %s", options->resource_version, str_or(cli_str_at(scale, "metadata.resourceVersion"), ""));
	json_object_set_new(cli_make_at(scale, "spec"), "replicas", json_integer(options->replicas));
	return 0;
}

static int scale_one(struct cli *cli, const struct cli_target *target, void *arg, struct error *err)
{
	struct options *options = arg;
	struct cli_output output = {0};
	json_t *result;
	int rc = cli_output_parse(cli, options->output, &output, err);
	if (!rc)
		rc = cli_edit(cli, target, "scale", set_replicas, options, &result, err);
	if (rc)
		return rc;
	if (output.format == CLI_NAME)
		printf("%s\n", cli_target_display(cli, target));
	else
		rc = cli_output_result(cli, &output, target->resource, result, "scaled", err);
	json_decref(result);
	return rc;
}

static int run(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct options *options = arg;
	autotargets struct cli_targets targets = {0};
	if (!cli_flag_given(cli, "replicas") || options->replicas < 0)
		return cli_usage_error(err, "The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0");
	int rc = options->files.len ? cli_targets_from_files(cli, &options->files, options->recursive, &targets, err) : cli_targets_from_args(cli, args, 0, false, &targets, err);
	if (!rc && (options->all || !str_empty(options->selector)))
		rc = cli_targets_expand(cli, &targets, options->selector, NULL, err);
	for (size_t i = 0; !rc && i < targets.len; i++)
		if (!targets.items[i].name)
			rc = cli_usage_error(err, "resource(s) were provided, but no name was specified");
	if (!rc && !targets.len)
		rc = cli_usage_error(err, "no objects passed to scale");
	return rc ? rc : cli_targets_each(cli, &targets, NULL, scale_one, options, err);
}

const struct cli_command command_scale = {
	.name = "scale",
	.usage = "--replicas=COUNT (-f FILENAME | TYPE NAME)",
	.summary = "Set a new size for a deployment, replica set, or stateful set",
	.flags = flags,
	.flag_count = array_len(flags),
	.options_size = sizeof(struct options),
	.run = run,
};
