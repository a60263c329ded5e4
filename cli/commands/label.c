/* SPDX-License-Identifier: Apache-2.0 */
/* label and annotate: the same edit of two maps. */
#include "cli/commands/commands.h"
#include "cli/output.h"
#include "cli/targets.h"

#include <errno.h>
#include <stdio.h>

struct options {
	struct cli_globals globals;
	char *output, *selector, *field_selector, *dry_run, *resource_version;
	struct flag_list files;
	bool overwrite, all, all_namespaces, list, recursive;
};
#define O(member) offsetof(struct options, member)

static const struct flag flags[] = {
	{"overwrite", 0, FLAG_BOOL, O(overwrite), NULL, "Allow to change what is there", 0, 0},
	{"all", 0, FLAG_BOOL, O(all), NULL, "All of the type in the namespace", 0, 0},
	{"all-namespaces", 'A', FLAG_BOOL, O(all_namespaces), NULL, "Across all namespaces", 0, 0},
	{"list", 0, FLAG_BOOL, O(list), NULL, "Show what is there", 0, 0},
	{"selector", 'l', FLAG_STRING, O(selector), NULL, "Label selector to filter on", 0, 0},
	{"field-selector", 0, FLAG_STRING, O(field_selector), NULL, "Field selector to filter on", 0, 0},
	{"filename", 'f', FLAG_STRING_LIST, O(files), NULL, "Files that name the objects", 0, 0},
	{"recursive", 'R', FLAG_BOOL, O(recursive), NULL, "Process the folder used in -f recursively", 0, 0},
	{"resource-version", 0, FLAG_STRING, O(resource_version), NULL, "Only where the object is of this version", 0, 0},
	{"output", 'o', FLAG_STRING, O(output), NULL, "Output format: json, yaml, name, ...", 0, 0},
	{"dry-run", 0, FLAG_STRING, O(dry_run), "none", "none, server or client", 0, 0},
};

struct context {
	const struct options *options;
	const char *map;  /* "labels" */
	const char *done; /* "labeled" */
	struct flag_list changes; /* borrowed: key=value, key- */
};

static bool is_removal(const char *text)
{
	size_t len = strlen(text);
	return len > 1 && text[len - 1] == '-' && !strchr(text, '=');
}

static bool is_change(const char *text)
{
	return strchr(text, '=') || is_removal(text);
}

static int make_patch(const struct context *context, json_t *object, json_t *changes, bool *ret_changed, struct error *err)
{
	json_t *map = json_object_get(json_object_get(object, "metadata"), context->map);
	for (size_t i = 0; i < context->changes.len; i++) {
		const char *text = context->changes.items[i], *equals = strchr(text, '=');
		autofree char *key = xstrndup(text, equals ? (size_t)(equals - text) : strlen(text) - 1);
		const char *before = cli_str(map, key);
		if (equals && before && !str_equal(before, equals + 1) && !context->options->overwrite)
			return error_set(err, EINVAL, "'%s' already has a value (%s), and --overwrite is false", key, before);
		*ret_changed |= equals ? !before || !str_equal(before, equals + 1) : before != NULL;
		json_object_set_new(changes, key, equals ? json_string(equals + 1) : json_null());
	}
	return 0;
}

static void print_map(struct cli *cli, const struct cli_target *target, json_t *map)
{
	const char *key;
	json_t *value;
	printf("Listing %s for %s:\n", "values", cli_target_display(cli, target));
	json_object_foreach(map, key, value)
		printf(" %s=%s\n", key, str_or(json_string_value(value), ""));
}

static int change_one(struct cli *cli, const struct cli_target *target, void *arg, struct error *err)
{
	struct context *context = arg;
	struct cli_output output = {0};
	json_t *object = NULL, *result = NULL;
	bool changed = false;
	int rc = cli_output_parse(cli, context->options->output, &output, err);
	if (!rc)
		rc = cli_target_get(cli, target, &object, err);
	if (rc)
		return rc;
	if (context->options->list) {
		print_map(cli, target, json_object_get(json_object_get(object, "metadata"), context->map));
		json_decref(object);
		return 0;
	}
	json_t *changes = json_object(), *patch = json_pack("{s:{s:O}}", "metadata", context->map, changes);
	if (!str_empty(context->options->resource_version))
		json_object_set_new(json_object_get(patch, "metadata"), "resourceVersion", json_string(context->options->resource_version));
	rc = make_patch(context, object, changes, &changed, err);
	if (!rc && changed && str_equal(context->options->dry_run, "none"))
		rc = cli_patch(cli, target, NULL, CLI_MERGE_PATCH, patch, &result, err);
	json_decref(changes);
	json_decref(patch);
	if (!rc) {
		bool only_removals = true;
		for (size_t i = 0; i < context->changes.len; i++)
			only_removals &= is_removal(context->changes.items[i]);
		const char *done = !changed ? arena_printf(cli->arena, "not %s", context->done) : (only_removals && str_equal(context->map, "labels") ? "unlabeled" : context->done);
		rc = cli_output_result(cli, &output, target->resource, result ? result : object, done, err);
	}
	json_decref(object);
	json_decref(result);
	return rc;
}

static int run(struct cli *cli, struct options *options, const struct flag_list *args, const char *map, const char *done, struct error *err)
{
	autotargets struct cli_targets targets = {0};
	size_t first = 0;
	while (first < args->len && !is_change(args->items[first]))
		first++;
	struct flag_list words = {.items = args->items, .len = first};
	struct context context = {.options = options, .map = map, .done = done, .changes = {.items = args->items + first, .len = args->len - first}};
	if (!context.changes.len && !options->list)
		return cli_usage_error(err, "at least one %s update is required", str_equal(map, "labels") ? "label" : "annotation");
	int rc = options->files.len ? cli_targets_from_files(cli, &options->files, options->recursive, &targets, err) : cli_targets_from_args(cli, &words, 0, options->all_namespaces, &targets, err);
	bool selects = options->all || !str_empty(options->selector) || !str_empty(options->field_selector);
	if (!rc && selects)
		rc = cli_targets_expand(cli, &targets, options->selector, options->field_selector, err);
	if (!rc && !selects && !targets.len)
		rc = cli_usage_error(err, "one or more resources must be specified as <resource> <name> or <resource>/<name>");
	for (size_t i = 0; !rc && i < targets.len; i++)
		if (!targets.items[i].name)
			rc = cli_usage_error(err, "resource(s) were provided, but no name was specified");
	return rc ? rc : cli_targets_each(cli, &targets, NULL, change_one, &context, err);
}

static int run_label(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	return run(cli, arg, args, "labels", "labeled", err);
}
static int run_annotate(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	return run(cli, arg, args, "annotations", "annotated", err);
}

const struct cli_command command_label = {
	.name = "label",
	.usage = "[--overwrite] (-f FILENAME | TYPE NAME) KEY_1=VAL_1 ... KEY_N-",
	.summary = "Update the labels on a resource",
	.flags = flags,
	.flag_count = array_len(flags),
	.options_size = sizeof(struct options),
	.run = run_label,
};
const struct cli_command command_annotate = {
	.name = "annotate",
	.usage = "[--overwrite] (-f FILENAME | TYPE NAME) KEY_1=VAL_1 ... KEY_N-",
	.summary = "Update the annotations on a resource",
	.flags = flags,
	.flag_count = array_len(flags),
	.options_size = sizeof(struct options),
	.run = run_annotate,
};
