/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands/commands.h"
#include "cli/output.h"
#include "cli/targets.h"

#include "common/api/patch/patch.h"

#include <errno.h>
#include <stdio.h>

#define LAST_APPLIED "kubectl.kubernetes.io/last-applied-configuration"
#define MAX_CONFLICT_RETRIES 5

struct options {
	struct cli_globals globals;
	char *output, *dry_run, *field_manager, *validate, *selector;
	struct flag_list files;
	bool server_side, force_conflicts, force, recursive, overwrite, show_managed_fields, all;
};
#define O(member) offsetof(struct options, member)

static const struct flag flags[] = {
	{"filename", 'f', FLAG_STRING_LIST, O(files), NULL, "Files that hold the configuration to apply", 0, 0},
	{"recursive", 'R', FLAG_BOOL, O(recursive), NULL, "Process the folder used in -f recursively", 0, 0},
	{"server-side", 0, FLAG_BOOL, O(server_side), NULL, "Let the server merge, by field ownership", 0, 0},
	{"force-conflicts", 0, FLAG_BOOL, O(force_conflicts), NULL, "With --server-side: take fields that others own", 0, 0},
	{"force", 0, FLAG_BOOL, O(force), NULL, "Delete and create anew where a change is not allowed", 0, 0},
	{"field-manager", 0, FLAG_STRING, O(field_manager), "kubectl-client-side-apply", "Name of the manager of the fields", 0, 0},
	{"overwrite", 0, FLAG_BOOL, O(overwrite), "true", "Take the values of the configuration where they differ", 0, 0},
	{"output", 'o', FLAG_STRING, O(output), NULL, "Output format: json, yaml, name, ...", 0, 0},
	{"dry-run", 0, FLAG_STRING, O(dry_run), "none", "none, server or client", 0, 0},
	{"validate", 0, FLAG_STRING, O(validate), "strict", "strict, warn or ignore unknown fields", 0, 0},
	{"selector", 'l', FLAG_STRING, O(selector), NULL, "Label selector to filter on", 0, 0},
	{"show-managed-fields", 0, FLAG_BOOL, O(show_managed_fields), NULL, "Keep managedFields in JSON and YAML", 0, 0},
	{"all", 0, FLAG_BOOL, O(all), NULL, "Every resource of the files", 0, 0},
	{"wait", 0, FLAG_IGNORED, 0, NULL, NULL, 0, 0},
	{"timeout", 0, FLAG_IGNORED, 0, NULL, NULL, 0, 0},
	{"prune", 0, FLAG_IGNORED, 0, NULL, NULL, 0, 0},
	{"openapi-patch", 0, FLAG_IGNORED, 0, NULL, NULL, 0, 0},
};

static char *with_parameters(struct cli *cli, char *path, const struct options *options)
{
	bool managed_by_default = options->server_side && !cli_flag_given(cli, "field-manager");
	path = cli_path_query(cli, path, "fieldManager", managed_by_default ? "kubectl" : options->field_manager);
	path = cli_path_query(cli, path, "fieldValidation", cli_field_validation(options->validate));
	return cli_path_query(cli, path, "dryRun", str_equal(options->dry_run, "server") ? "All" : NULL);
}

/* The object with itself in its annotation: what the next apply compares with. */
static json_t *with_last_applied(json_t *object)
{
	json_t *copy = json_deep_copy(object);
	json_t *annotations = cli_make_at(copy, "metadata.annotations");
	json_object_del(annotations, LAST_APPLIED);
	char *text = json_dumps(copy, JSON_COMPACT | JSON_SORT_KEYS);
	autobuf struct buf line = BUF_INIT(64 << 20);
	buf_printf(&line, "%s\n", text);
	json_object_set_new(annotations, LAST_APPLIED, json_string(line.data));
	free(text);
	return copy;
}

static int create(struct cli *cli, const struct options *options, const struct cli_target *target, json_t *object, json_t **ret, struct error *err)
{
	if (str_equal(options->dry_run, "client")) {
		*ret = json_incref(object);
		return 0;
	}
	char *path = with_parameters(cli, cli_path(cli, target->resource, target->ns, NULL, NULL), options);
	return cli_call(cli, &(struct cli_call){.method = "POST", .path = path, .body = object}, ret, err);
}

/* The patch from what was applied last, what is to be, and what is there; *ret_type its content type. */
static int make_patch(const struct cli_target *target, json_t *live, json_t *wanted, json_t **ret, const char **ret_type, struct error *err)
{
	json_t *annotation = json_object_get(cli_at(live, "metadata.annotations"), LAST_APPLIED);
	json_t *original = json_is_string(annotation) ? json_loads(json_string_value(annotation), 0, NULL) : NULL;
	if (!original)
		original = json_object();
	int rc;
	if (target->resource->known) {
		*ret_type = "application/strategic-merge-patch+json";
		rc = patch_strategic_three_way(target->resource->known->type, original, wanted, live, ret, err);
	} else {
		*ret_type = "application/merge-patch+json";
		rc = patch_merge_three_way(original, wanted, live, ret, err);
	}
	json_decref(original);
	return rc;
}

static int replace_by_force(struct cli *cli, const struct options *options, const struct cli_target *target, json_t *wanted, json_t **ret, struct error *err)
{
	char *path = cli_path(cli, target->resource, target->ns, target->name, NULL);
	int rc = cli_call(cli, &(struct cli_call){.method = "DELETE", .path = path, .body_text = "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\",\"gracePeriodSeconds\":0}"}, NULL, err);
	if (!rc)
		rc = cli_wait_absent(cli, target, NULL, 60000, err);
	return rc ? rc : create(cli, options, target, wanted, ret, err);
}

/* Returns 1 where something changed, 0 where nothing had to, or a negative errno. */
static int patch_once(struct cli *cli, const struct options *options, const struct cli_target *target, json_t *live, json_t *wanted, json_t **ret, struct error *err)
{
	json_t *patch = NULL;
	const char *type;
	int rc = make_patch(target, live, wanted, &patch, &type, err);
	if (rc)
		return rc;
	if (json_object_size(patch) == 0 || str_equal(options->dry_run, "client")) {
		rc = json_object_size(patch) != 0;
		*ret = json_incref(live);
		json_decref(patch);
		return rc;
	}
	char *path = with_parameters(cli, cli_path(cli, target->resource, target->ns, target->name, NULL), options);
	rc = cli_call(cli, &(struct cli_call){.method = "PATCH", .path = path, .content_type = type, .body = patch}, ret, err);
	json_decref(patch);
	if (rc && options->force && (err->http_code == 422 || err->http_code == 409)) {
		error_done(err);
		*err = (struct error){0};
		rc = replace_by_force(cli, options, target, wanted, ret, err);
	}
	if (rc)
		return rc;
	return !str_equal(cli_str_at(live, "metadata.resourceVersion"), cli_str_at(*ret, "metadata.resourceVersion"));
}

static void warn_unmanaged(struct cli *cli, const struct cli_target *target, json_t *live)
{
	if (!json_object_get(cli_at(live, "metadata.annotations"), LAST_APPLIED))
		fprintf(stderr, "Warning: resource %s is missing the %s annotation which is required by coracle apply. coracle apply should only be used on resources created declaratively by either coracle create --save-config or coracle apply. The missing annotation will be patched automatically.\n", cli_target_display(cli, target), LAST_APPLIED);
}

static int apply_by_client(struct cli *cli, const struct options *options, const struct cli_target *target, json_t **ret, const char **ret_what, struct error *err)
{
	json_t *wanted = with_last_applied(target->object), *live = NULL;
	int rc = 0;
	for (int tries = 0;; tries++) {
		rc = cli_target_get(cli, target, &live, err);
		if (rc && err->http_code == 404) {
			error_done(err);
			*err = (struct error){0};
			rc = create(cli, options, target, wanted, ret, err);
			*ret_what = "created";
			break;
		}
		if (rc)
			break;
		if (!tries)
			warn_unmanaged(cli, target, live);
		rc = patch_once(cli, options, target, live, wanted, ret, err);
		*ret_what = rc ? "configured" : "unchanged";
		json_decref(live);
		live = NULL;
		if (rc >= 0 || err->http_code != 409 || tries == MAX_CONFLICT_RETRIES)
			break;
		error_done(err);
		*err = (struct error){0};
	}
	json_decref(wanted);
	return min_of(rc, 0);
}

static int apply_by_server(struct cli *cli, const struct options *options, const struct cli_target *target, json_t **ret, const char **ret_what, struct error *err)
{
	char *path = with_parameters(cli, cli_path(cli, target->resource, target->ns, target->name, NULL), options);
	path = cli_path_query(cli, path, "force", options->force_conflicts ? "true" : "false");
	*ret_what = "serverside-applied";
	int rc = cli_call(cli, &(struct cli_call){.method = "PATCH", .path = path, .content_type = "application/apply-patch+yaml", .body = target->object}, ret, err);
	if (rc && err->http_code == 409)
		error_context(err, "Apply failed with conflicts (use --force-conflicts to take the fields)");
	return rc;
}

struct context {
	const struct options *options;
	const struct cli_output *output;
};

static int apply_one(struct cli *cli, const struct cli_target *target, void *arg, struct error *err)
{
	const struct options *options = ((struct context *)arg)->options;
	const struct cli_output *output = ((struct context *)arg)->output;
	json_t *result = NULL;
	const char *what = "";
	if (str_empty(target->name))
		return error_set(err, EINVAL, "error when applying \"%s\": resource name may not be empty", target->source);
	int rc = options->server_side ? apply_by_server(cli, options, target, &result, &what, err) : apply_by_client(cli, options, target, &result, &what, err);
	if (!rc) {
		const char *suffix = str_equal(options->dry_run, "client") ? " (dry run)" : (str_equal(options->dry_run, "server") ? " (server dry run)" : "");
		rc = cli_output_result(cli, output, target->resource, result, arena_printf(cli->arena, "%s%s", what, suffix), err);
	}
	json_decref(result);
	return rc;
}

static int run(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct options *options = arg;
	autotargets struct cli_targets targets = {0};
	struct cli_output output = {.show_managed_fields = options->show_managed_fields};
	if (!options->files.len)
		return cli_usage_error(err, "must specify one of -f and -k");
	if (args->len)
		return cli_usage_error(err, "Unexpected args: %s", args->items[0]);
	int rc = cli_output_parse(cli, options->output, &output, err);
	if (!rc)
		rc = cli_targets_from_files(cli, &options->files, options->recursive, &targets, err);
	if (!rc && !targets.len)
		return cli_usage_error(err, "no objects passed to apply");
	if (rc)
		return rc;
	struct context context = {.options = options, .output = &output};
	return cli_targets_each(cli, &targets, options->selector, apply_one, &context, err);
}

const struct cli_command command_apply = {
	.name = "apply",
	.usage = "-f FILENAME",
	.summary = "Apply a configuration to a resource by file name or stdin",
	.flags = flags,
	.flag_count = array_len(flags),
	.options_size = sizeof(struct options),
	.run = run,
};
