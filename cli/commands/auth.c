/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/columns.h"
#include "cli/commands/commands.h"
#include "cli/output.h"

#include <errno.h>
#include <stdio.h>

struct options {
	struct cli_globals globals;
	char *subresource, *output;
	bool quiet, list, all_namespaces, no_headers;
};
#define O(member) offsetof(struct options, member)

static const struct flag flags[] = {
	{"subresource", 0, FLAG_STRING, O(subresource), NULL, "Subresource, such as log or scale", 0, 0},
	{"quiet", 'q', FLAG_BOOL, O(quiet), NULL, "Only answer by the exit code", 0, 0},
	{"list", 0, FLAG_BOOL, O(list), NULL, "All that is allowed in the namespace", 0, 0},
	{"all-namespaces", 'A', FLAG_BOOL, O(all_namespaces), NULL, "In all namespaces", 0, 0},
	{"no-headers", 0, FLAG_BOOL, O(no_headers), NULL, "Do not print headers", 0, 0},
	{"output", 'o', FLAG_STRING, O(output), NULL, "Output format: json, yaml", 0, 0},
};

static int review(struct cli *cli, const char *kind, const char *group, const char *plural, json_t *take_spec, json_t **ret, struct error *err)
{
	json_t *body = json_pack("{s:s+, s:s, s:o*}", "apiVersion", group, "/v1", "kind", kind, "spec", take_spec);
	int rc = cli_call(cli, &(struct cli_call){.method = "POST", .path = arena_printf(cli->arena, "/apis/%s/v1/%s", group, plural), .body = body}, ret, err);
	json_decref(body);
	return rc;
}

static const char *join(struct cli *cli, json_t *words)
{
	autobuf struct buf out = BUF_INIT(65536);
	size_t i;
	json_t *word;
	buf_append_char(&out, '[');
	json_array_foreach(words, i, word)
		buf_printf(&out, "%s%s", i ? " " : "", str_or(json_string_value(word), ""));
	buf_append_char(&out, ']');
	return arena_strdup(cli->arena, out.data);
}

/* "pods", "deployments.apps": one row for each resource of a rule. */
static void add_rule(struct cli *cli, struct columns *columns, json_t *rule)
{
	size_t i, j;
	json_t *group, *resource, *url;
	json_array_foreach(json_object_get(rule, "apiGroups"), i, group)
		json_array_foreach(json_object_get(rule, "resources"), j, resource) {
			const char *of = str_or(json_string_value(group), "");
			columns_printf(columns, "%s%s%s", str_or(json_string_value(resource), ""), *of ? "." : "", of);
			columns_add(columns, "[]");
			columns_add(columns, join(cli, json_object_get(rule, "resourceNames")));
			columns_add(columns, join(cli, json_object_get(rule, "verbs")));
			columns_end_row(columns);
		}
	json_array_foreach(json_object_get(rule, "nonResourceURLs"), i, url) {
		columns_add(columns, "");
		columns_printf(columns, "[%s]", str_or(json_string_value(url), ""));
		columns_add(columns, "[]");
		columns_add(columns, join(cli, json_object_get(rule, "verbs")));
		columns_end_row(columns);
	}
}

static int list_rules(struct cli *cli, const struct options *options, const char *ns, struct error *err)
{
	static const char *const heads[] = {"Resources", "Non-Resource URLs", "Resource Names", "Verbs"};
	static const char *const lists[] = {"status.resourceRules", "status.nonResourceRules"};
	autocolumns struct columns columns = {0};
	autobuf struct buf out = BUF_INIT(16 << 20);
	json_t *answer, *rule;
	int rc = review(cli, "SelfSubjectRulesReview", "authorization.k8s.io", "selfsubjectrulesreviews", json_pack("{s:s}", "namespace", ns), &answer, err);
	if (rc)
		return rc;
	for (size_t i = 0; !options->no_headers && i < array_len(heads); i++)
		columns_add(&columns, heads[i]);
	if (!options->no_headers)
		columns_end_row(&columns);
	for (size_t l = 0; l < array_len(lists); l++) {
		size_t i;
		json_array_foreach(cli_at(answer, lists[l]), i, rule)
			add_rule(cli, &columns, rule);
	}
	columns_write(&columns, "", 3, &out);
	cli_print(&out);
	json_decref(answer);
	return 0;
}

static int run_can_i(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct options *options = arg;
	const char *ns = NULL;
	json_t *spec, *answer;
	int rc = cli_namespace(cli, &ns, err);
	if (rc)
		return rc;
	if (options->list)
		return list_rules(cli, options, ns, err);
	if (args->len < 2)
		return cli_usage_error(err, "you must specify two arguments: verb resource or verb resource/resourceName");
	if (args->items[1][0] == '/') {
		spec = json_pack("{s:{s:s, s:s}}", "nonResourceAttributes", "verb", args->items[0], "path", args->items[1]);
	} else {
		const char *slash = strchr(args->items[1], '/'), *name = slash ? slash + 1 : (args->len > 2 ? args->items[2] : NULL);
		const char *word = slash ? arena_strndup(cli->arena, args->items[1], (size_t)(slash - args->items[1])) : args->items[1];
		const struct cli_resource *resource = NULL;
		if (!str_equal(word, "*") && cli_resource_match(cli, word, &resource, NULL))
			fprintf(stderr, "Warning: the server doesn't have a resource type '%s'\n\n", word);
		json_t *attributes = json_pack("{s:s, s:s, s:s}", "verb", args->items[0], "resource", resource ? resource->plural : word, "group", resource ? resource->group : "");
		if (!options->all_namespaces && (!resource || resource->namespaced))
			json_object_set_new(attributes, "namespace", json_string(ns));
		if (name)
			json_object_set_new(attributes, "name", json_string(name));
		if (!str_empty(options->subresource))
			json_object_set_new(attributes, "subresource", json_string(options->subresource));
		spec = json_pack("{s:o}", "resourceAttributes", attributes);
	}
	rc = review(cli, "SelfSubjectAccessReview", "authorization.k8s.io", "selfsubjectaccessreviews", spec, &answer, err);
	if (rc)
		return rc;
	bool allowed = json_is_true(cli_at(answer, "status.allowed"));
	if (!options->quiet)
		printf("%s\n", allowed ? "yes" : "no");
	cli->exit_code = !allowed;
	json_decref(answer);
	return 0;
}

static int run_whoami(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct options *options = arg;
	struct cli_output output = {0};
	json_t *answer;
	int rc = cli_output_parse(cli, options->output, &output, err);
	if (!rc)
		rc = review(cli, "SelfSubjectReview", "authentication.k8s.io", "selfsubjectreviews", NULL, &answer, err);
	if (rc)
		return rc;
	if (output.format != CLI_TABLE) {
		rc = cli_output_print(cli, &output, answer, err);
	} else {
		printf("%-12s%s\n%-12s%s\n%-12s%s\n", "ATTRIBUTE", "VALUE", "Username", str_or(cli_str_at(answer, "status.userInfo.username"), ""), "Groups", join(cli, cli_at(answer, "status.userInfo.groups")));
	}
	json_decref(answer);
	return rc;
}

static const struct cli_command auth_can_i = {.name = "can-i", .usage = "VERB [TYPE | TYPE/NAME | NONRESOURCEURL]", .summary = "Check whether an action is allowed", .flags = flags, .flag_count = array_len(flags), .options_size = sizeof(struct options), .run = run_can_i};
static const struct cli_command auth_whoami = {.name = "whoami", .usage = "", .summary = "Show who the server takes this client for", .flags = flags, .flag_count = array_len(flags), .options_size = sizeof(struct options), .run = run_whoami};

const struct cli_command command_auth = {
	.name = "auth",
	.summary = "Inspect authorization",
	.children = (const struct cli_command *const[]){&auth_can_i, &auth_whoami, NULL},
};
