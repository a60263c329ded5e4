/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands/commands.h"
#include "cli/describe/describe.h"
#include "cli/output.h"
#include "cli/targets.h"

#include <errno.h>
#include <stdio.h>

struct options {
	struct cli_globals globals;
	char *selector;
	struct flag_list files;
	bool all_namespaces, recursive, show_events;
};
#define O(member) offsetof(struct options, member)

static const struct flag flags[] = {
	{"selector", 'l', FLAG_STRING, O(selector), NULL, "Label selector to filter on", 0, 0},
	{"filename", 'f', FLAG_STRING_LIST, O(files), NULL, "Files that name what to describe", 0, 0},
	{"recursive", 'R', FLAG_BOOL, O(recursive), NULL, "Process the folder used in -f recursively", 0, 0},
	{"all-namespaces", 'A', FLAG_BOOL, O(all_namespaces), NULL, "Across all namespaces", 0, 0},
	{"show-events", 0, FLAG_BOOL, O(show_events), "true", "Show the events about the object", 0, 0},
	{"chunk-size", 0, FLAG_IGNORED, 0, NULL, NULL, 0, 0},
};

struct context {
	const struct options *options;
	bool printed;
};

static int describe_one(struct cli *cli, const struct cli_target *target, void *arg, struct error *err)
{
	struct context *context = arg;
	json_t *object;
	int rc = cli_target_get(cli, target, &object, err);
	if (rc)
		return rc;
	autobuf struct buf out = BUF_INIT(256 << 20);
	if (context->printed)
		buf_append_str(&out, "\n\n");
	context->printed = true;
	describe_object(cli, target->resource, object, context->options->show_events, &out);
	cli_print(&out);
	json_decref(object);
	return 0;
}

static int run(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct options *options = arg;
	autotargets struct cli_targets targets = {0};
	if (!options->files.len && !args->len)
		return cli_usage_error(err, "You must specify the type of resource to describe. Use \"coracle api-resources\" for a complete list of supported resources.");
	int rc = options->files.len ? cli_targets_from_files(cli, &options->files, options->recursive, &targets, err) : cli_targets_from_args(cli, args, 0, options->all_namespaces, &targets, err);
	if (!rc)
		rc = cli_targets_expand(cli, &targets, options->selector, NULL, err);
	if (!rc && !targets.len)
		fprintf(stderr, "No resources found\n");
	struct context context = {.options = options};
	return rc ? rc : cli_targets_each(cli, &targets, NULL, describe_one, &context, err);
}

const struct cli_command command_describe = {
	.name = "describe",
	.usage = "(-f FILENAME | TYPE [NAME | -l label] | TYPE/NAME)",
	.summary = "Show details of a specific resource or group of resources",
	.flags = flags,
	.flag_count = array_len(flags),
	.options_size = sizeof(struct options),
	.run = run,
};
