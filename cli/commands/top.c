/* SPDX-License-Identifier: Apache-2.0 */
/* top: what nodes and pods use, from the metrics API. */
#include "cli/columns.h"
#include "cli/commands/commands.h"
#include "cli/output.h"

#include "common/api/scalar.h"

#include <errno.h>
#include <stdio.h>

struct options {
	struct cli_globals globals;
	char *selector, *field_selector;
	bool no_headers, all_namespaces, containers;
};
#define O(member) offsetof(struct options, member)

static const struct flag flags[] = {
	{"selector", 'l', FLAG_STRING, O(selector), NULL, "Label selector to filter on", 0, 0},
	{"field-selector", 0, FLAG_STRING, O(field_selector), NULL, "Field selector to filter on", 0, 0},
	{"no-headers", 0, FLAG_BOOL, O(no_headers), NULL, "Do not print headers", 0, 0},
	{"all-namespaces", 'A', FLAG_BOOL, O(all_namespaces), NULL, "Across all namespaces", 0, 0},
	{"containers", 0, FLAG_BOOL, O(containers), NULL, "Of each container", 0, 0},
	{"sort-by", 0, FLAG_IGNORED, 0, NULL, NULL, 0, 0},
	{"sum", 0, FLAG_IGNORED, 0, NULL, NULL, 0, 0},
};

static struct quantity quantity_at(json_t *object, const char *key)
{
	struct quantity q = {0};
	const char *text = cli_str(object, key);
	if (text)
		quantity_parse(text, strlen(text), &q);
	return q;
}

static void add_usage(struct columns *columns, const struct quantity *cpu, const struct quantity *memory, json_t *allocatable)
{
	struct quantity all_cpu = quantity_at(allocatable, "cpu"), all_memory = quantity_at(allocatable, "memory");
	columns_printf(columns, "%lldm", (long long)quantity_milli_value(cpu));
	if (allocatable)
		columns_printf(columns, "%d%%", all_cpu.nano ? (int)(cpu->nano * 100 / all_cpu.nano) : 0);
	columns_printf(columns, "%lldMi", (long long)(quantity_value(memory) >> 20));
	if (allocatable)
		columns_printf(columns, "%d%%", all_memory.nano ? (int)(memory->nano * 100 / all_memory.nano) : 0);
	columns_end_row(columns);
}

static void add_head(struct columns *columns, const struct options *options, const char *const *heads)
{
	if (options->no_headers)
		return;
	for (; *heads; heads++)
		columns_add(columns, *heads);
	columns_end_row(columns);
}

/* The items of a list, or the one object that is named, as an array. */
static int fetch(struct cli *cli, const struct options *options, const char *path, const char *name, json_t **ret, struct error *err)
{
	char *full = arena_printf(cli->arena, "%s%s%s", path, name ? "/" : "", str_or(name, ""));
	json_t *answer;
	if (!name) {
		full = cli_path_query(cli, full, "labelSelector", options->selector);
		full = cli_path_query(cli, full, "fieldSelector", options->field_selector);
	}
	int rc = cli_get_json(cli, full, &answer, err);
	if (rc && err->http_code == 404 && !name)
		return error_set(err, ENOTSUP, "Metrics API not available");
	if (rc)
		return rc;
	json_t *items = json_object_get(answer, "items");
	*ret = items ? json_incref(items) : json_pack("[O]", answer);
	json_decref(answer);
	return 0;
}

static int print(struct columns *columns, json_t *items)
{
	autobuf struct buf out = BUF_INIT(64 << 20);
	columns_write(columns, "", 3, &out);
	cli_print(&out);
	json_decref(items);
	return 0;
}

static int run_nodes(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	static const char *const heads[] = {"NAME", "CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)", NULL};
	struct options *options = arg;
	autocolumns struct columns columns = {0};
	json_t *items, *item;
	size_t i;
	int rc = fetch(cli, options, "/apis/metrics.k8s.io/v1beta1/nodes", args->len ? args->items[0] : NULL, &items, err);
	if (rc)
		return rc;
	add_head(&columns, options, heads);
	json_array_foreach(items, i, item) {
		json_t *node = NULL;
		cli_get_json(cli, arena_printf(cli->arena, "/api/v1/nodes/%s", cli_name(item)), &node, NULL);
		struct quantity cpu = quantity_at(json_object_get(item, "usage"), "cpu"), memory = quantity_at(json_object_get(item, "usage"), "memory");
		json_t *allocatable = cli_at(node, "status.allocatable"), *nothing = json_object();
		columns_add(&columns, cli_name(item));
		add_usage(&columns, &cpu, &memory, allocatable ? allocatable : nothing);
		json_decref(nothing);
		json_decref(node);
	}
	return print(&columns, items);
}

static int run_pods(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct options *options = arg;
	autocolumns struct columns columns = {0};
	const char *ns = NULL, *heads[6] = {0};
	json_t *items, *item, *container;
	size_t i, j, n = 0;
	int rc = cli_namespace(cli, &ns, err);
	if (rc)
		return rc;
	const char *path = options->all_namespaces ? "/apis/metrics.k8s.io/v1beta1/pods" : arena_printf(cli->arena, "/apis/metrics.k8s.io/v1beta1/namespaces/%s/pods", ns);
	rc = fetch(cli, options, path, args->len ? args->items[0] : NULL, &items, err);
	if (rc)
		return rc;
	if (options->all_namespaces)
		heads[n++] = "NAMESPACE";
	heads[n++] = options->containers ? "POD" : "NAME";
	if (options->containers)
		heads[n++] = "NAME";
	heads[n++] = "CPU(cores)";
	heads[n++] = "MEMORY(bytes)";
	add_head(&columns, options, heads);
	json_array_foreach(items, i, item) {
		struct quantity cpu = {0}, memory = {0};
		json_array_foreach(json_object_get(item, "containers"), j, container) {
			struct quantity one_cpu = quantity_at(json_object_get(container, "usage"), "cpu"), one_memory = quantity_at(json_object_get(container, "usage"), "memory");
			quantity_add(&cpu, &one_cpu);
			quantity_add(&memory, &one_memory);
			if (!options->containers)
				continue;
			if (options->all_namespaces)
				columns_add(&columns, cli_ns(item));
			columns_add(&columns, cli_name(item));
			columns_add(&columns, cli_str(container, "name"));
			add_usage(&columns, &one_cpu, &one_memory, NULL);
		}
		if (options->containers)
			continue;
		if (options->all_namespaces)
			columns_add(&columns, cli_ns(item));
		columns_add(&columns, cli_name(item));
		add_usage(&columns, &cpu, &memory, NULL);
	}
	return print(&columns, items);
}

static const struct cli_command top_node = {.name = "node", .alias = "nodes", .usage = "[NAME | -l label]", .summary = "Display what nodes use", .flags = flags, .flag_count = array_len(flags), .options_size = sizeof(struct options), .run = run_nodes};
static const struct cli_command top_pod = {.name = "pod", .alias = "pods", .usage = "[NAME | -l label]", .summary = "Display what pods use", .flags = flags, .flag_count = array_len(flags), .options_size = sizeof(struct options), .run = run_pods};

const struct cli_command command_top = {
	.name = "top",
	.summary = "Display what nodes and pods use",
	.children = (const struct cli_command *const[]){&top_node, &top_pod, NULL},
};
