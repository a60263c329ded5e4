/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands/commands.h"
#include "cli/jsonpath.h"
#include "cli/targets.h"

#include "common/base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <strings.h>

struct options {
	struct cli_globals globals;
	char *condition, *selector, *field_selector;
	struct flag_list files;
	bool all, all_namespaces, recursive;
	int64_t timeout;
};
#define O(member) offsetof(struct options, member)

static const struct flag flags[] = {
	{"for", 0, FLAG_STRING, O(condition), NULL, "delete, create, condition=NAME[=VALUE] or jsonpath='{...}'=VALUE", 0, 0},
	{"timeout", 0, FLAG_DURATION, O(timeout), "30s", "How long to wait; 0: look once; negative: a week", 0, 0},
	{"selector", 'l', FLAG_STRING, O(selector), NULL, "Label selector to filter on", 0, 0},
	{"field-selector", 0, FLAG_STRING, O(field_selector), NULL, "Field selector to filter on", 0, 0},
	{"all", 0, FLAG_BOOL, O(all), NULL, "All of the type in the namespace", 0, 0},
	{"all-namespaces", 'A', FLAG_BOOL, O(all_namespaces), NULL, "Across all namespaces", 0, 0},
	{"filename", 'f', FLAG_STRING_LIST, O(files), NULL, "Files that name the objects", 0, 0},
	{"recursive", 'R', FLAG_BOOL, O(recursive), NULL, "Process the folder used in -f recursively", 0, 0},
};

enum what { WAIT_DELETE, WAIT_CREATE, WAIT_CONDITION, WAIT_JSONPATH };
struct wish {
	enum what what;
	const char *name;  /* of the condition; or the expression */
	const char *value; /* NULL: anything */
};

static int parse_wish(struct cli *cli, const char *text, struct wish *ret, struct error *err)
{
	if (str_equal(text, "delete") || str_equal(text, "create")) {
		ret->what = str_equal(text, "delete") ? WAIT_DELETE : WAIT_CREATE;
	} else if (str_starts_with(text, "condition=")) {
		const char *name = text + 10, *equals = strchr(name, '=');
		*ret = (struct wish){.what = WAIT_CONDITION, .name = arena_strndup(cli->arena, name, strcspn(name, "=")), .value = equals ? equals + 1 : "true"};
	} else if (str_starts_with(text, "jsonpath=")) {
		/* The value follows the closing brace: the expression may hold "=" itself. */
		const char *expression = text + 9, *close = strrchr(expression, '}');
		const char *equals = strchr(close ? close : expression, '=');
		*ret = (struct wish){.what = WAIT_JSONPATH, .name = arena_strndup(cli->arena, expression, equals ? (size_t)(equals - expression) : strlen(expression)), .value = equals ? equals + 1 : NULL};
	} else {
		return cli_usage_error(err, "unrecognized condition: \"%s\"", str_or(text, ""));
	}
	return 0;
}

static bool condition_holds(const struct wish *wish, json_t *object)
{
	size_t i;
	json_t *condition;
	json_array_foreach(cli_at(object, "status.conditions"), i, condition) {
		if (strcasecmp(str_or(cli_str(condition, "type"), ""), wish->name) != 0)
			continue;
		/* A condition about an older generation says nothing yet. */
		int64_t about = cli_int_at(condition, "observedGeneration"), now = cli_int_at(object, "metadata.generation");
		return (!about || about >= now) && strcasecmp(str_or(cli_str(condition, "status"), ""), wish->value) == 0;
	}
	return false;
}

static bool holds(const struct wish *wish, json_t *object)
{
	if (wish->what == WAIT_CONDITION)
		return condition_holds(wish, object);
	if (wish->what != WAIT_JSONPATH)
		return wish->what == WAIT_CREATE;
	struct jsonpath_values values = {0};
	if (jsonpath_find(wish->name, object, &values, NULL))
		return false;
	autobuf struct buf text = BUF_INIT(1 << 20);
	if (values.len)
		jsonpath_append_value(values.items[0], &text);
	bool met = values.len && (!wish->value || str_equal(text.data, wish->value));
	free(values.items);
	return met;
}

struct waiting {
	const struct wish *wish;
	bool met, deleted;
};

static bool on_event(const char *type, json_t *object, void *arg)
{
	struct waiting *waiting = arg;
	waiting->deleted = str_equal(type, "DELETED");
	waiting->met = !waiting->deleted && holds(waiting->wish, object);
	return !waiting->met;
}

static int wait_holds(struct cli *cli, const struct cli_target *target, const struct wish *wish, int64_t deadline, struct error *err)
{
	for (;;) {
		json_t *list;
		const char *field = arena_printf(cli->arena, "metadata.name=%s", target->name);
		char *path = cli_path_query(cli, cli_path(cli, target->resource, target->ns, NULL, NULL), "fieldSelector", field);
		int rc = cli_get_json(cli, path, &list, err);
		if (rc)
			return rc;
		json_t *object = json_array_get(json_object_get(list, "items"), 0);
		bool met = object && holds(wish, object);
		bool there = object != NULL;
		const char *version = arena_strdup(cli->arena, cli_str_at(list, "metadata.resourceVersion"));
		json_decref(list);
		if (met)
			return 0;
		if (!there && wish->what != WAIT_CREATE)
			return error_status(err, 404, "NotFound", "%s \"%s\" not found", target->resource->plural, target->name);
		int64_t left = (deadline - clock_monotonic_ns()) / NSEC_PER_MSEC;
		struct waiting waiting = {.wish = wish};
		if (left > 0) {
			path = cli_path_query(cli, cli_path_query(cli, path, "watch", "true"), "resourceVersion", version);
			rc = cli_watch(cli, path, NULL, on_event, &waiting, left, NULL);
			if (waiting.met)
				return 0;
		}
		if (left <= 0 || rc == -ETIMEDOUT)
			return error_set(err, ETIMEDOUT, "timed out waiting for the condition on %s/%s", target->resource->plural, target->name);
	}
}

struct context {
	const struct wish *wish;
	int64_t timeout, deadline;
};

static int wait_one(struct cli *cli, const struct cli_target *target, void *arg, struct error *err)
{
	struct context *context = arg;
	int rc;
	if (context->wish->what == WAIT_DELETE)
		rc = cli_wait_absent(cli, target, NULL, max_of((context->deadline - clock_monotonic_ns()) / NSEC_PER_MSEC, (int64_t)1), err);
	else
		rc = wait_holds(cli, target, context->wish, context->deadline, err);
	if (!rc)
		printf("%s condition met\n", cli_target_display(cli, target));
	fflush(stdout);
	return rc;
}

static int run(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct options *options = arg;
	struct wish wish = {0};
	autotargets struct cli_targets targets = {0};
	int rc = parse_wish(cli, options->condition, &wish, err);
	if (!rc)
		rc = options->files.len ? cli_targets_from_files(cli, &options->files, options->recursive, &targets, err) : cli_targets_from_args(cli, args, 0, options->all_namespaces, &targets, err);
	if (!rc && (options->all || !str_empty(options->selector) || !str_empty(options->field_selector)))
		rc = cli_targets_expand(cli, &targets, options->selector, options->field_selector, err);
	if (!rc && !targets.len && wish.what != WAIT_DELETE)
		rc = error_set(err, ENOENT, "no matching resources found");
	for (size_t i = 0; !rc && i < targets.len; i++)
		if (!targets.items[i].name)
			rc = cli_usage_error(err, "resource(s) were provided, but no name was specified");
	int64_t timeout = options->timeout < 0 ? 7 * 24 * 3600 * NSEC_PER_SEC : options->timeout;
	struct context context = {.wish = &wish, .timeout = timeout, .deadline = clock_monotonic_ns() + timeout};
	return rc ? rc : cli_targets_each(cli, &targets, NULL, wait_one, &context, err);
}

const struct cli_command command_wait = {
	.name = "wait",
	.usage = "(-f FILENAME | TYPE NAME) --for=delete|create|condition=...|jsonpath=...",
	.summary = "Wait for a condition on one or many resources",
	.flags = flags,
	.flag_count = array_len(flags),
	.options_size = sizeof(struct options),
	.run = run,
};
