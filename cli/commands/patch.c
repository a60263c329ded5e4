/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands/commands.h"
#include "cli/output.h"
#include "cli/targets.h"

#include "common/api/yaml.h"
#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>

#define MAX_PATCH (16u << 20)

struct options {
	struct cli_globals globals;
	char *output, *patch, *patch_file, *type, *subresource, *dry_run;
	struct flag_list files;
	bool recursive;
};
#define O(member) offsetof(struct options, member)

static const struct flag flags[] = {
	{"patch", 'p', FLAG_STRING, O(patch), NULL, "The patch, as JSON or YAML", 0, 0},
	{"patch-file", 0, FLAG_STRING, O(patch_file), NULL, "File that holds the patch", 0, 0},
	{"type", 0, FLAG_STRING, O(type), "strategic", "json, merge or strategic", 0, 0},
	{"subresource", 0, FLAG_STRING, O(subresource), NULL, "Patch this subresource", 0, 0},
	{"filename", 'f', FLAG_STRING_LIST, O(files), NULL, "Files that name the objects", 0, 0},
	{"recursive", 'R', FLAG_BOOL, O(recursive), NULL, "Process the folder used in -f recursively", 0, 0},
	{"output", 'o', FLAG_STRING, O(output), NULL, "Output format: json, yaml, name, ...", 0, 0},
	{"dry-run", 0, FLAG_STRING, O(dry_run), "none", "none, server or client", 0, 0},
	{"field-manager", 0, FLAG_IGNORED, 0, NULL, NULL, 0, 0},
};

static const struct {
	const char *name, *content_type;
} types[] = {{"json", "application/json-patch+json"}, {"merge", CLI_MERGE_PATCH}, {"strategic", CLI_STRATEGIC_PATCH}};

struct context {
	const struct options *options;
	const char *content_type;
	json_t *patch;
};

static int patch_one(struct cli *cli, const struct cli_target *target, void *arg, struct error *err)
{
	struct context *context = arg;
	struct cli_output output = {0};
	json_t *before = NULL, *result = NULL;
	int rc = cli_output_parse(cli, context->options->output, &output, err);
	if (!rc)
		rc = cli_target_get(cli, target, &before, err);
	if (!rc)
		rc = cli_patch(cli, target, context->options->subresource, context->content_type, context->patch, &result, err);
	if (!rc) {
		bool same = str_equal(cli_str_at(before, "metadata.resourceVersion"), cli_str_at(result, "metadata.resourceVersion"));
		rc = cli_output_result(cli, &output, target->resource, result, same ? "patched (no change)" : "patched", err);
	}
	json_decref(before);
	json_decref(result);
	return rc;
}

static int load_patch(const struct options *options, json_t **ret, struct error *err)
{
	autofree char *text = NULL;
	size_t len;
	if (str_empty(options->patch) == str_empty(options->patch_file))
		return cli_usage_error(err, "must specify --patch or --patch-file containing the contents of the patch");
	if (str_empty(options->patch))  {
		int rc = file_read(AT_FDCWD, options->patch_file, MAX_PATCH, &text, &len, err);
		if (rc)
			return rc;
	} else {
		text = xstrdup(options->patch);
		len = strlen(text);
	}
	int rc = yaml_load(text, len, ret, err);
	if (rc)
		error_context(err, "unable to parse \"%.200s\"", text);
	return rc;
}

static int run(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct options *options = arg;
	struct context context = {.options = options};
	autotargets struct cli_targets targets = {0};
	for (size_t i = 0; i < array_len(types); i++)
		if (str_equal(options->type, types[i].name))
			context.content_type = types[i].content_type;
	if (!context.content_type)
		return cli_usage_error(err, "--type must be one of [json merge strategic], not \"%s\"", options->type);
	int rc = load_patch(options, &context.patch, err);
	if (rc)
		return rc;
	rc = options->files.len ? cli_targets_from_files(cli, &options->files, options->recursive, &targets, err) : cli_targets_from_args(cli, args, 0, false, &targets, err);
	for (size_t i = 0; !rc && i < targets.len; i++)
		if (!targets.items[i].name)
			rc = cli_usage_error(err, "resource(s) were provided, but no name was specified");
	if (!rc && !targets.len)
		rc = cli_usage_error(err, "one or more resources must be specified as <resource> <name> or <resource>/<name>");
	if (!rc)
		rc = cli_targets_each(cli, &targets, NULL, patch_one, &context, err);
	json_decref(context.patch);
	return rc;
}

const struct cli_command command_patch = {
	.name = "patch",
	.usage = "(-f FILENAME | TYPE NAME) [-p PATCH|--patch-file FILE]",
	.summary = "Update fields of a resource",
	.flags = flags,
	.flag_count = array_len(flags),
	.options_size = sizeof(struct options),
	.run = run,
};
