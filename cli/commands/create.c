/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands/create.h"
#include "cli/commands/commands.h"
#include "cli/targets.h"

#include <errno.h>
#include <stdio.h>


struct options {
	struct create_options create;
	struct flag_list files;
	bool recursive;
	char *selector, *raw;
};
#define O(member) offsetof(struct options, member)

static const struct flag flags[] = {
	CREATE_FLAGS(struct options),
	{"filename", 'f', FLAG_STRING_LIST, O(files), NULL, "Files that hold what to create", 0, 0},
	{"recursive", 'R', FLAG_BOOL, O(recursive), NULL, "Process the folder used in -f recursively", 0, 0},
	{"selector", 'l', FLAG_STRING, O(selector), NULL, "Label selector to filter on", 0, 0},
	{"raw", 0, FLAG_STRING, O(raw), NULL, "Path to POST the file to", 0, 0},
};

int create_object(struct cli *cli, const struct create_options *options, const struct cli_resource *resource, const char *ns, json_t *object, struct error *err)
{
	struct cli_output output = {.show_managed_fields = options->show_managed_fields};
	int rc = cli_output_parse(cli, options->output, &output, err);
	if (rc)
		return rc;
	if (options->save_config) {
		json_t *annotations = cli_make_at(object, "metadata.annotations");
		json_object_del(annotations, "kubectl.kubernetes.io/last-applied-configuration");
		char *text = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);
		autofree char *line = xprintf("%s\n", text);
		json_object_set_new(annotations, "kubectl.kubernetes.io/last-applied-configuration", json_string(line));
		free(text);
	}
	if (str_equal(options->dry_run, "client"))
		return cli_output_result(cli, &output, resource, object, "created (dry run)", err);
	char *path = cli_path(cli, resource, ns, NULL, NULL);
	path = cli_path_query(cli, path, "fieldManager", options->field_manager);
	path = cli_path_query(cli, path, "fieldValidation", cli_field_validation(options->validate));
	path = cli_path_query(cli, path, "dryRun", str_equal(options->dry_run, "server") ? "All" : NULL);
	json_t *result;
	rc = cli_call(cli, &(struct cli_call){.method = "POST", .path = path, .body = object}, &result, err);
	if (rc)
		return rc;
	rc = cli_output_result(cli, &output, resource, result, str_equal(options->dry_run, "server") ? "created (server dry run)" : "created", err);
	json_decref(result);
	return rc;
}

int create_generated(struct cli *cli, const struct create_options *options, json_t *take_object, struct error *err)
{
	const struct cli_resource *resource = NULL;
	const char *ns = NULL;
	int rc = cli_resource_by_kind(cli, cli_str(take_object, "apiVersion"), cli_str(take_object, "kind"), &resource, err);
	if (!rc && resource->namespaced)
		rc = cli_namespace(cli, &ns, err);
	if (!rc && ns && (cli_flag_given(cli, "namespace") || !str_equal(options->dry_run, "client")))
		json_object_set_new(cli_make_at(take_object, "metadata"), "namespace", json_string(ns));
	if (!rc)
		rc = create_object(cli, options, resource, ns, take_object, err);
	json_decref(take_object);
	return rc;
}

static int create_one(struct cli *cli, const struct cli_target *target, void *arg, struct error *err)
{
	return create_object(cli, arg, target->resource, target->ns, target->object, err);
}

static int post_raw(json_t *object, const char *source, void *arg, struct error *err)
{
	struct cli *cli = ((void **)arg)[0];
	const char *path = ((void **)arg)[1];
	json_t *answer;
	int rc = cli_call(cli, &(struct cli_call){.method = "POST", .path = path, .body = object}, &answer, err);
	if (rc)
		return rc;
	json_dumpf(answer, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
	putchar('\n');
	json_decref(answer);
	return 0;
}

static int run(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct options *options = arg;
	if (args->len)
		return cli_usage_error(err, "unknown command \"%s\" for \"coracle create\"", args->items[0]);
	if (!options->files.len)
		return cli_usage_error(err, "must specify one of -f and -k");
	if (!str_empty(options->raw))
		return cli_read_files(cli, &options->files, false, post_raw, (void *[]){cli, options->raw}, err);
	autotargets struct cli_targets targets = {0};
	int rc = cli_targets_from_files(cli, &options->files, options->recursive, &targets, err);
	if (!rc && !targets.len)
		return cli_usage_error(err, "no objects passed to create");
	return rc ? rc : cli_targets_each(cli, &targets, options->selector, create_one, &options->create, err);
}

const struct cli_command command_create = {
	.name = "create",
	.usage = "-f FILENAME",
	.summary = "Create a resource from a file or from stdin, or one of the kinds below",
	.flags = flags,
	.flag_count = array_len(flags),
	.options_size = sizeof(struct options),
	.run = run,
	.children = create_generators,
};
