/* SPDX-License-Identifier: Apache-2.0 */
/* What the server is and has: version, cluster-info, api-resources, api-versions. */
#include "cli/columns.h"
#include "cli/commands/commands.h"
#include "cli/output.h"

#include "common/api/yaml.h"
#include "common/base/map.h"

#include <stdio.h>

struct options {
	struct cli_globals globals;
	char *output, *api_group, *namespaced, *sort_by;
	struct flag_list verbs, categories;
	bool client_only, no_headers;
};
#define O(member) offsetof(struct options, member)

static const struct flag version_flags[] = {
	{"client", 0, FLAG_BOOL, O(client_only), NULL, "The client's version only", 0, 0},
	{"output", 'o', FLAG_STRING, O(output), NULL, "json or yaml", 0, 0},
};
static const struct flag resource_flags[] = {
	{"output", 'o', FLAG_STRING, O(output), NULL, "wide or name", 0, 0},
	{"api-group", 0, FLAG_STRING, O(api_group), NULL, "Of this group", 0, 0},
	{"namespaced", 0, FLAG_STRING, O(namespaced), NULL, "true: namespaced ones, false: others", 0, 0},
	{"verbs", 0, FLAG_STRING_LIST, O(verbs), NULL, "Those that have all of these verbs", 0, 0},
	{"categories", 0, FLAG_STRING_LIST, O(categories), NULL, "Those of all of these categories", 0, 0},
	{"no-headers", 0, FLAG_BOOL, O(no_headers), NULL, "Do not print headers", 0, 0},
	{"sort-by", 0, FLAG_STRING, O(sort_by), NULL, "name or kind", 0, 0},
	{"cached", 0, FLAG_IGNORED, 0, NULL, NULL, 0, 0},
};

static int run_version(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct options *options = arg;
	json_t *all = json_pack("{s:{s:s, s:s, s:s}}", "clientVersion", "gitVersion", "v" CORACLE_VERSION, "major", "1", "minor", "36"), *server = NULL;
	int rc = options->client_only ? 0 : cli_get_json(cli, "/version", &server, err);
	if (server)
		json_object_set(all, "serverVersion", server);
	if (str_equal(options->output, "json")) {
		json_dumpf(all, stdout, JSON_INDENT(2));
		putchar('\n');
	} else if (str_equal(options->output, "yaml")) {
		autobuf struct buf out = BUF_INIT(1 << 20);
		yaml_dump(all, &out);
		cli_print(&out);
	} else {
		printf("Client Version: v%s\n", CORACLE_VERSION);
		if (server)
			printf("Server Version: %s\n", str_or(cli_str(server, "gitVersion"), ""));
	}
	json_decref(server);
	json_decref(all);
	return rc;
}

static int run_cluster_info(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct client *client;
	json_t *list, *service;
	size_t i;
	int rc = cli_client(cli, &client, err);
	if (!rc)
		rc = cli_get_json(cli, "/api/v1/namespaces/kube-system/services?labelSelector=kubernetes.io%2Fcluster-service%3Dtrue", &list, err);
	if (rc)
		return rc;
	printf("Kubernetes control plane is running at %s\n", cli->config.servers.items[0]);
	json_array_foreach(json_object_get(list, "items"), i, service)
		printf("%s is running at %s/api/v1/namespaces/kube-system/services/%s/proxy\n", str_or(cli_str(cli_at(service, "metadata.labels"), "kubernetes.io/name"), cli_name(service)), cli->config.servers.items[0], cli_name(service));

	json_decref(list);
	return 0;
}

struct listing {
	struct cli *cli;
	const struct options *options;
	struct columns columns;
	struct map seen; /* group/resource: the preferred version comes first */
};

static const char *join(struct cli *cli, json_t *words)
{
	autobuf struct buf out = BUF_INIT(4096);
	size_t i;
	json_t *word;
	json_array_foreach(words, i, word)
		buf_printf(&out, "%s%s", i ? "," : "", str_or(json_string_value(word), ""));
	return arena_strdup(cli->arena, out.data ? out.data : "");
}

static bool has_all(json_t *words, const struct flag_list *wanted)
{
	for (size_t i = 0; i < wanted->len; i++) {
		bool found = false;
		size_t j;
		json_t *word;
		json_array_foreach(words, j, word)
			found |= str_equal(json_string_value(word), wanted->items[i]);
		if (!found)
			return false;
	}
	return true;
}

static bool add_resource(const struct cli_resource *resource, json_t *verbs, json_t *short_names, json_t *categories, void *arg)
{
	struct listing *l = arg;
	const struct options *o = l->options;
	bool skip = cli_flag_given(l->cli, "api-group") && !str_equal(o->api_group, resource->group);
	skip |= !str_empty(o->namespaced) && str_equal(o->namespaced, "true") != resource->namespaced;
	skip |= !has_all(verbs, &o->verbs) || !has_all(categories, &o->categories);
	const char *key = arena_printf(l->cli->arena, "%s.%s", resource->plural, resource->group);
	if (skip || map_has(&l->seen, key))
		return true;
	set_add(&l->seen, key);
	if (str_equal(o->output, "name")) {
		printf("%s%s%s\n", resource->plural, str_empty(resource->group) ? "" : ".", resource->group);
		return true;
	}
	columns_add(&l->columns, resource->plural);
	columns_add(&l->columns, join(l->cli, short_names));
	columns_add(&l->columns, cli_api_version(l->cli, resource));
	columns_add(&l->columns, resource->namespaced ? "true" : "false");
	columns_add(&l->columns, resource->kind);
	if (str_equal(o->output, "wide")) {
		columns_add(&l->columns, join(l->cli, verbs));
		columns_add(&l->columns, join(l->cli, categories));
	}
	columns_end_row(&l->columns);
	return true;
}

static int run_api_resources(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	static const char *const heads[] = {"NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND", "VERBS", "CATEGORIES"};
	struct options *options = arg;
	struct listing listing = {.cli = cli, .options = options, .seen = MAP_INIT(NULL)};
	bool names = str_equal(options->output, "name");
	for (size_t i = 0; !names && !options->no_headers && i < (str_equal(options->output, "wide") ? 7 : 5); i++)
		columns_add(&listing.columns, heads[i]);
	if (!names && !options->no_headers)
		columns_end_row(&listing.columns);
	int rc = cli_resources_each(cli, add_resource, &listing, err);
	autobuf struct buf out = BUF_INIT(16 << 20);
	columns_write(&listing.columns, "", 3, &out);
	if (!rc && !names)
		cli_print(&out);
	map_done(&listing.seen);
	return rc;
}

static int compare_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool add_version(const struct cli_resource *resource, json_t *verbs, json_t *short_names, json_t *categories, void *arg)
{
	struct listing *l = arg;
	set_add(&l->seen, cli_api_version(l->cli, resource));
	return true;
}

static int run_api_versions(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct listing listing = {.cli = cli, .options = arg, .seen = MAP_INIT(NULL)};
	int rc = cli_resources_each(cli, add_version, &listing, err);
	autofree const char **names = xcalloc(listing.seen.len, sizeof(char *));
	size_t pos = 0, len = 0;
	for (struct map_entry *e; (e = map_next(&listing.seen, &pos));)
		names[len++] = e->key;
	qsort(names, len, sizeof(*names), compare_text);
	for (size_t i = 0; !rc && i < len; i++)
		printf("%s\n", names[i]);
	map_done(&listing.seen);
	return rc;
}

const struct cli_command command_version = {.name = "version", .usage = "[--client]", .summary = "Print the client and server version information", .flags = version_flags, .flag_count = array_len(version_flags), .options_size = sizeof(struct options), .run = run_version};
const struct cli_command command_cluster_info = {.name = "cluster-info", .usage = "", .summary = "Display where the control plane and its services are", .options_size = sizeof(struct options), .run = run_cluster_info};
const struct cli_command command_api_resources = {.name = "api-resources", .usage = "[flags]", .summary = "Print the API resources of the server", .flags = resource_flags, .flag_count = array_len(resource_flags), .options_size = sizeof(struct options), .run = run_api_resources};
const struct cli_command command_api_versions = {.name = "api-versions", .usage = "", .summary = "Print the API versions of the server, as \"group/version\"", .options_size = sizeof(struct options), .run = run_api_versions};
