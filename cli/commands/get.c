/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands/commands.h"
#include "cli/jsonpath.h"
#include "cli/output.h"
#include "cli/targets.h"

#include <errno.h>
#include <stdio.h>

#define MAX_TABLE ((size_t)1 << 31)

struct options {
	struct cli_globals globals;
	char *output, *selector, *field_selector, *raw, *sort_by, *subresource;
	struct flag_list files, label_columns;
	bool all_namespaces, watch, watch_only, no_headers, show_labels, show_kind, ignore_not_found, show_managed_fields, recursive, output_watch_events;
	int64_t chunk_size;
};
#define O(member) offsetof(struct options, member)

static const struct flag flags[] = {
	{"output", 'o', FLAG_STRING, O(output), NULL, "Output format: json, yaml, name, wide, jsonpath=..., custom-columns=...", 0, 0},
	{"selector", 'l', FLAG_STRING, O(selector), NULL, "Label selector to filter on", 0, 0},
	{"field-selector", 0, FLAG_STRING, O(field_selector), NULL, "Field selector to filter on", 0, 0},
	{"all-namespaces", 'A', FLAG_BOOL, O(all_namespaces), NULL, "List the requested objects across all namespaces", 0, 0},
	{"filename", 'f', FLAG_STRING_LIST, O(files), NULL, "Files that name the objects to get", 0, 0},
	{"recursive", 'R', FLAG_BOOL, O(recursive), NULL, "Process the folder used in -f recursively", 0, 0},
	{"watch", 'w', FLAG_BOOL, O(watch), NULL, "After listing, watch for changes", 0, 0},
	{"watch-only", 0, FLAG_BOOL, O(watch_only), NULL, "Watch for changes without listing first", 0, 0},
	{"output-watch-events", 0, FLAG_BOOL, O(output_watch_events), NULL, "Show the kind of each watched event", 0, 0},
	{"no-headers", 0, FLAG_BOOL, O(no_headers), NULL, "Do not print headers", 0, 0},
	{"show-labels", 0, FLAG_BOOL, O(show_labels), NULL, "Show all labels as the last column", 0, 0},
	{"show-kind", 0, FLAG_BOOL, O(show_kind), NULL, "List the kind in front of each name", 0, 0},
	{"show-managed-fields", 0, FLAG_BOOL, O(show_managed_fields), NULL, "Keep managedFields in JSON and YAML", 0, 0},
	{"label-columns", 'L', FLAG_STRING_LIST, O(label_columns), NULL, "Labels to show as columns", 0, 0},
	{"ignore-not-found", 0, FLAG_BOOL, O(ignore_not_found), NULL, "Exit with 0 where the object does not exist", 0, 0},
	{"sort-by", 0, FLAG_STRING, O(sort_by), NULL, "JSONPath of the field to sort by", 0, 0},
	{"subresource", 0, FLAG_STRING, O(subresource), NULL, "Get this subresource of the object", 0, 0},
	{"raw", 0, FLAG_STRING, O(raw), NULL, "Path to ask the server for, printed as it comes", 0, 0},
	{"chunk-size", 0, FLAG_INT, O(chunk_size), "500", "Ask for large lists in parts of this size; 0: whole", 0, 1000000},
	{"server-print", 0, FLAG_IGNORED, 0, NULL, NULL, 0, 0},
	{"allow-missing-template-keys", 0, FLAG_IGNORED, 0, NULL, NULL, 0, 0},
};

/* The path of a target's object or list, with the selectors. */
static char *path_of(struct cli *cli, const struct cli_target *target, const struct options *options)
{
	char *path = cli_path(cli, target->resource, target->ns, target->name, options->subresource);
	if (target->name)
		return path;
	path = cli_path_query(cli, path, "labelSelector", options->selector);
	return cli_path_query(cli, path, "fieldSelector", options->field_selector);
}

/* A list in parts is put together; tables and lists alike. */
static int fetch_parts(struct cli *cli, const char *path, int64_t chunk, const char *accept, json_t **ret, struct error *err)
{
	json_t *whole = NULL;
	const char *token = NULL;
	char limit[24];
	snprintf(limit, sizeof(limit), "%lld", (long long)chunk);
	int rc;
	do {
		json_t *part;
		char *part_path = arena_strdup(cli->arena, path);
		if (chunk > 0)
			part_path = cli_path_query(cli, part_path, "limit", limit);
		part_path = cli_path_query(cli, part_path, "continue", token);
		rc = cli_call(cli, &(struct cli_call){.method = "GET", .path = part_path, .accept = accept}, &part, err);
		if (rc)
			break;
		token = arena_strdup(cli->arena, cli_str_at(part, "metadata.continue"));
		if (!whole) {
			whole = part;
			continue;
		}
		json_array_extend(json_object_get(whole, "items"), json_object_get(part, "items"));
		json_array_extend(json_object_get(whole, "rows"), json_object_get(part, "rows"));
		json_decref(part);
	} while (!str_empty(token));
	if (rc) {
		json_decref(whole);
		return rc;
	}
	json_object_del(json_object_get(whole, "metadata"), "continue");
	json_object_del(json_object_get(whole, "metadata"), "remainingItemCount");
	*ret = whole;
	return 0;
}

static int fetch(struct cli *cli, const struct cli_target *target, const struct options *options, const char *accept, json_t **ret, struct error *err)
{
	char *path = path_of(cli, target, options);
	/* Rows carry their metadata always; the whole object only where something is sorted by it. */
	if (!str_empty(options->sort_by) && accept)
		path = cli_path_query(cli, path, "includeObject", "Object");
	int rc = fetch_parts(cli, path, target->name ? 0 : options->chunk_size, accept, ret, err);
	if (rc && options->ignore_not_found && err->http_code == 404 && target->name) {
		error_done(err);
		*err = (struct error){0};
		*ret = NULL;
		return 0;
	}
	return rc;
}

/* ---- sorting ---- */

struct sort_item {
	json_t *item, *key;
	size_t index;
};

static int sort_order(const void *a, const void *b)
{
	const struct sort_item *x = a, *y = b;
	int order = 0;
	if (json_is_number(x->key) && json_is_number(y->key)) {
		double p = json_number_value(x->key), q = json_number_value(y->key);
		order = (p > q) - (p < q);
	} else if (json_is_string(x->key) && json_is_string(y->key)) {
		order = strcmp(json_string_value(x->key), json_string_value(y->key));
	} else {
		order = (x->key != NULL) - (y->key != NULL);
	}
	return order ? order : (x->index > y->index) - (x->index < y->index);
}

/* inner: what of each item holds the object ("object" of a row), or NULL. */
static int sort_array(json_t *array, const char *inner, const char *sort_by, struct error *err)
{
	size_t len = json_array_size(array);
	autofree struct sort_item *items = xcalloc(len, sizeof(*items));
	int rc = 0;
	for (size_t i = 0; i < len && !rc; i++) {
		json_t *item = json_array_get(array, i);
		struct jsonpath_values values = {0};
		rc = jsonpath_find(sort_by, inner ? json_object_get(item, inner) : item, &values, err);
		items[i] = (struct sort_item){.item = item, .key = values.len ? values.items[0] : NULL, .index = i};
		free(values.items);
	}
	if (rc)
		return rc;
	qsort(items, len, sizeof(*items), sort_order);
	json_t *sorted = json_array();
	for (size_t i = 0; i < len; i++)
		json_array_append(sorted, items[i].item);
	json_array_clear(array);
	json_array_extend(array, sorted);
	json_decref(sorted);
	return 0;
}

/* ---- whole objects ---- */

static void set_head(struct cli *cli, json_t *object, const struct cli_resource *resource)
{
	if (!cli_str(object, "kind"))
		json_object_set_new(object, "kind", json_string(resource->kind));
	if (!cli_str(object, "apiVersion"))
		json_object_set_new(object, "apiVersion", json_string(cli_api_version(cli, resource)));
}

static void collect(struct cli *cli, json_t *answer, const struct cli_target *target, json_t *items)
{
	size_t i;
	json_t *list = json_object_get(answer, "items"), *item;
	if (target->name || !json_is_array(list)) {
		json_array_append(items, answer);
		return;
	}
	json_array_foreach(list, i, item) {
		set_head(cli, item, target->resource);
		json_array_append(items, item);
	}
}

static int print_objects(struct cli *cli, const struct cli_targets *targets, const struct options *options, struct cli_output *output, struct error *err)
{
	json_t *items = json_array();
	int rc = 0;
	for (size_t i = 0; !rc && i < targets->len; i++) {
		json_t *answer = NULL;
		rc = fetch(cli, &targets->items[i], options, NULL, &answer, err);
		if (!rc && answer)
			collect(cli, answer, &targets->items[i], items);
		json_decref(answer);
	}
	if (!rc && !str_empty(options->sort_by))
		rc = sort_array(items, NULL, options->sort_by, err);
	bool single = targets->len == 1 && targets->items[0].name;
	if (!rc && single && json_array_size(items) == 0) {
		json_decref(items);
		return 0;
	}
	if (!rc) {
		json_t *list = single ? json_incref(json_array_get(items, 0)) : json_pack("{s:s, s:O, s:s, s:{s:s}}", "apiVersion", "v1", "items", items, "kind", "List", "metadata", "resourceVersion", "");
		rc = cli_output_print(cli, output, list, err);
		json_decref(list);
	}
	json_decref(items);
	return rc;
}

/* ---- tables ---- */

static void table_options(struct cli *cli, const struct cli_target *target, const struct options *options, bool wide, bool with_kind, struct cli_table_options *ret)
{
	const char **labels = arena_calloc(cli->arena, options->label_columns.len + 1, sizeof(char *));
	for (size_t i = 0; i < options->label_columns.len; i++)
		labels[i] = options->label_columns.items[i];
	*ret = (struct cli_table_options){
		.wide = wide,
		.no_headers = options->no_headers,
		.with_namespace = options->all_namespaces && target->resource->namespaced,
		.with_kind = with_kind || options->show_kind,
		.kind = cli_display_name(cli, target->resource),
		.show_labels = options->show_labels,
		.label_columns = labels,
		.output_watch_events = options->output_watch_events,
		.watch_event = "ADDED",
	};
}

/* Objects asked for one by one of the same resource stand in one table. */
static int append_table(struct cli *cli, json_t **table, json_t *answer)
{
	if (!*table) {
		*table = json_incref(answer);
		return 0;
	}
	return json_array_extend(json_object_get(*table, "rows"), json_object_get(answer, "rows"));
}

static bool same_resource(const struct cli_resource *a, const struct cli_resource *b)
{
	return str_equal(a->plural, b->plural) && str_equal(a->group, b->group);
}

static int print_tables(struct cli *cli, const struct cli_targets *targets, const struct options *options, bool wide, size_t *ret_rows, char **ret_version, struct error *err)
{
	autobuf struct buf out = BUF_INIT(MAX_TABLE);
	bool several = false;
	int rc = 0;
	for (size_t i = 1; i < targets->len; i++)
		several |= !same_resource(targets->items[0].resource, targets->items[i].resource);
	for (size_t i = 0; i < targets->len && !rc;) {
		json_t *table = NULL;
		const struct cli_target *first = &targets->items[i];
		for (; i < targets->len && !rc && same_resource(first->resource, targets->items[i].resource); i++) {
			json_t *answer = NULL;
			autoerror struct error problem = {0};
			rc = fetch(cli, &targets->items[i], options, CLI_TABLE_ACCEPT, &answer, &problem);
			if (rc && targets->len > 1 && problem.http_code == 404) {
				/* The others are still wanted. */
				fprintf(stderr, "Error from server (%s): %s\n", problem.reason, error_message(&problem));
				cli->exit_code = 1;
				rc = 0;
			} else if (rc) {
				rc = error_move(err, &problem);
			}
			if (answer) {
				*ret_version = arena_strdup(cli->arena, str_or(cli_str_at(answer, "metadata.resourceVersion"), "0"));
				append_table(cli, &table, answer);
			}
			json_decref(answer);
		}
		json_t *rows = json_object_get(table, "rows");
		if (!rc && json_array_size(rows)) {
			struct cli_table_options how;
			table_options(cli, first, options, wide, several, &how);
			if (!str_empty(options->sort_by))
				rc = sort_array(rows, "object", options->sort_by, err);
			if (*ret_rows)
				buf_append_char(&out, '\n');
			*ret_rows += json_array_size(rows);
			cli_table_write(table, &how, &out);
		}
		json_decref(table);
	}
	cli_print(&out);
	return rc;
}

/* ---- watching ---- */

struct watch_state {
	struct cli *cli;
	const struct cli_output *output;
	struct cli_table_options how;
	json_t *head; /* the first table: it alone has the columns */
	struct error *err;
	int rc;
};

static bool on_event(const char *type, json_t *object, void *arg)
{
	struct watch_state *state = arg;
	if (state->output->format != CLI_TABLE && state->output->format != CLI_WIDE) {
		state->rc = cli_output_print(state->cli, state->output, object, state->err);
		fflush(stdout);
		return !state->rc;
	}
	if (!state->head)
		state->head = json_incref(object);
	cli_table_adopt_columns(object, state->head);
	autobuf struct buf out = BUF_INIT(MAX_TABLE);
	state->how.watch_event = type;
	cli_table_write(object, &state->how, &out);
	state->how.no_headers = true;
	cli_print(&out);
	return true;
}

static int watch(struct cli *cli, const struct cli_target *target, const struct options *options, const struct cli_output *output, const char *version, bool head_printed, struct error *err)
{
	struct watch_state state = {.cli = cli, .output = output, .err = err};
	bool table = output->format == CLI_TABLE || output->format == CLI_WIDE;
	table_options(cli, target, options, output->format == CLI_WIDE, false, &state.how);
	state.how.no_headers |= head_printed;
	char *path = cli_path(cli, target->resource, target->ns, NULL, NULL);
	const char *field = options->field_selector;
	if (target->name)
		field = arena_printf(cli->arena, "metadata.name=%s", target->name);
	path = cli_path_query(cli, path, "labelSelector", options->selector);
	path = cli_path_query(cli, path, "fieldSelector", field);
	path = cli_path_query(cli, path, "watch", "true");
	path = cli_path_query(cli, path, "resourceVersion", version);
	int rc = cli_watch(cli, path, table ? CLI_TABLE_ACCEPT : NULL, on_event, &state, 0, err);
	json_decref(state.head);
	return rc ? rc : state.rc;
}

/* For watching, the version that the list or object has reached. */
static int version_of(struct cli *cli, const struct cli_target *target, const struct options *options, const struct cli_output *output, bool print, char **ret, struct error *err)
{
	json_t *answer = NULL;
	int rc = fetch(cli, target, options, NULL, &answer, err);
	if (rc || !answer)
		return rc;
	*ret = arena_strdup(cli->arena, str_or(cli_str_at(answer, "metadata.resourceVersion"), "0"));
	if (print && !json_object_get(answer, "items")) {
		rc = cli_output_print(cli, output, answer, err);
	} else if (print) {
		size_t i;
		json_t *item;
		json_array_foreach(json_object_get(answer, "items"), i, item) {
			set_head(cli, item, target->resource);
			if (!rc)
				rc = cli_output_print(cli, output, item, err);
		}
	}
	fflush(stdout);
	json_decref(answer);
	return rc;
}

/* ---- the command ---- */

static int run_raw(struct cli *cli, const struct options *options, struct error *err)
{
	struct client *client;
	int rc = cli_client(cli, &client, err);
	if (rc)
		return rc;
	autobuf struct buf body = BUF_INIT(CLI_MAX_BODY);
	struct client_request request = {.method = "GET", .path = options->raw, .accept = "application/json, */*"};
	rc = client_do(client, &request, &body, NULL, err);
	if (!rc)
		cli_print(&body);
	return rc;
}

static void say_nothing_found(struct cli *cli, const struct cli_targets *targets, const struct options *options)
{
	const char *ns = NULL;
	for (size_t i = 0; i < targets->len; i++)
		if (targets->items[i].ns)
			ns = targets->items[i].ns;
	if (options->ignore_not_found)
		return;
	if (ns)
		fprintf(stderr, "No resources found in %s namespace.\n", ns);
	else
		fprintf(stderr, "No resources found\n");
}

static int run_targets(struct cli *cli, const struct cli_targets *targets, const struct options *options, struct cli_output *output, struct error *err)
{
	bool table = output->format == CLI_TABLE || output->format == CLI_WIDE;
	bool watches = options->watch || options->watch_only;
	char *version = NULL;
	size_t rows = 0;
	int rc = 0;
	if (watches && targets->len != 1)
		return cli_usage_error(err, "you may only specify a single resource type");
	if (!table && !watches)
		return print_objects(cli, targets, options, output, err);
	if (table && !options->watch_only) {
		rc = print_tables(cli, targets, options, output->format == CLI_WIDE, &rows, &version, err);
		bool named = false;
		for (size_t i = 0; i < targets->len; i++)
			named |= targets->items[i].name != NULL;
		if (!rc && !rows && !named && !watches)
			say_nothing_found(cli, targets, options);
	} else {
		rc = version_of(cli, &targets->items[0], options, output, !options->watch_only, &version, err);
	}
	if (rc || !watches)
		return rc;
	return watch(cli, &targets->items[0], options, output, version, rows > 0, err);
}

static int run(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct options *options = arg;
	autotargets struct cli_targets targets = {0};
	struct cli_output output = {.no_headers = options->no_headers, .show_managed_fields = options->show_managed_fields};
	if (!str_empty(options->raw))
		return run_raw(cli, options, err);
	int rc = cli_output_parse(cli, options->output, &output, err);
	if (rc)
		return rc;
	if (options->files.len)
		rc = cli_targets_from_files(cli, &options->files, options->recursive, &targets, err);
	else if (!args->len)
		return cli_usage_error(err, "You must specify the type of resource to get. Use \"coracle api-resources\" for a complete list of supported resources.\n\nerror: Required resource not specified.");
	else
		rc = cli_targets_from_args(cli, args, 0, options->all_namespaces, &targets, err);
	for (size_t i = 0; !rc && i < targets.len; i++)
		if (targets.items[i].name && !options->files.len && (!str_empty(options->selector) || options->all_namespaces))
			rc = cli_usage_error(err, options->all_namespaces ? "a resource cannot be retrieved by name across all namespaces" : "name cannot be provided when a selector is specified");
	return rc ? rc : run_targets(cli, &targets, options, &output, err);
}

const struct cli_command command_get = {
	.name = "get",
	.usage = "(TYPE[.VERSION][.GROUP] [NAME | -l label] | TYPE/NAME ...) [flags]",
	.summary = "Display one or many resources",
	.flags = flags,
	.flag_count = array_len(flags),
	.options_size = sizeof(struct options),
	.run = run,
};
