/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/describe/describe.h"

#include "common/api/scalar.h"

static void write_taints(struct describe *d, json_t *taints)
{
	size_t i;
	json_t *taint;
	if (!json_array_size(taints))
		describe_text(d, 0, "Taints", NULL);
	json_array_foreach(taints, i, taint) {
		const char *value = cli_str(taint, "value");
		const char *text = arena_printf(d->cli->arena, "%s%s%s:%s", str_or(cli_str(taint, "key"), ""), value ? "=" : "", str_or(value, ""), str_or(cli_str(taint, "effect"), ""));
		if (i)
			describe_row(d, 0, "", text, NULL);
		else
			describe_text(d, 0, "Taints", text);
	}
}

static void sum(json_t *pod, const char *list, const char *resource, struct quantity *total)
{
	size_t i;
	json_t *c;
	json_array_foreach(cli_at(pod, "spec.containers"), i, c) {
		const char *text = cli_str(cli_at(json_object_get(c, "resources"), list), resource);
		struct quantity q;
		if (text && quantity_parse(text, strlen(text), &q) == 0)
			quantity_add(total, &q);
	}
}

/* "250m (12%)" */
static const char *share(struct describe *d, const struct quantity *q, json_t *node, const char *resource)
{
	char text[64];
	struct quantity all = {0};
	const char *capacity = cli_str(cli_at(node, "status.allocatable"), resource);
	quantity_format(q, text);
	if (capacity)
		quantity_parse(capacity, strlen(capacity), &all);
	int percent = all.nano > 0 ? (int)(q->nano * 100 / all.nano) : 0;
	return arena_printf(d->cli->arena, "%s (%d%%)", q->set || q->nano ? text : "0", percent);
}

static void write_pods(struct describe *d, json_t *node)
{
	static const char *const columns[][2] = {{"requests", "cpu"}, {"limits", "cpu"}, {"requests", "memory"}, {"limits", "memory"}};
	const struct cli_resource *pods = NULL;
	json_t *list, *pod;
	if (cli_resource_match(d->cli, "pods", &pods, NULL))
		return;
	const char *selector = arena_printf(d->cli->arena, "spec.nodeName=%s,status.phase!=Succeeded,status.phase!=Failed", cli_name(node));
	if (cli_get_json(d->cli, cli_path_query(d->cli, cli_path(d->cli, pods, NULL, NULL, NULL), "fieldSelector", selector), &list, NULL))
		return;
	struct quantity totals[4] = {0};
	size_t i;
	json_t *items = json_object_get(list, "items");
	describe_printf(d, 0, "Non-terminated Pods", "(%zu in total)", json_array_size(items));
	describe_row(d, 1, "Namespace", "Name", "CPU Requests", "CPU Limits", "Memory Requests", "Memory Limits", "Age", NULL);
	json_array_foreach(items, i, pod) {
		const char *cell[4];
		for (size_t j = 0; j < 4; j++) {
			struct quantity q = {0};
			sum(pod, columns[j][0], columns[j][1], &q);
			quantity_add(&totals[j], &q);
			cell[j] = share(d, &q, node, columns[j][1]);
		}
		describe_row(d, 1, cli_ns(pod), cli_name(pod), cell[0], cell[1], cell[2], cell[3], describe_age(d->cli, cli_str_at(pod, "metadata.creationTimestamp")), NULL);
	}
	describe_head(d, 0, "Allocated resources");
	describe_row(d, 1, "Resource", "Requests", "Limits", NULL);
	describe_row(d, 1, "cpu", share(d, &totals[0], node, "cpu"), share(d, &totals[1], node, "cpu"), NULL);
	describe_row(d, 1, "memory", share(d, &totals[2], node, "memory"), share(d, &totals[3], node, "memory"), NULL);
	json_decref(list);
}

static void write_roles(struct describe *d, json_t *node)
{
	static const char prefix[] = "node-role.kubernetes.io/";
	autobuf struct buf roles = BUF_INIT(4096);
	const char *key;
	json_t *value;
	json_object_foreach(cli_at(node, "metadata.labels"), key, value)
		if (str_starts_with(key, prefix))
			buf_printf(&roles, "%s%s", roles.len ? "," : "", key + sizeof(prefix) - 1);
	describe_text(d, 0, "Roles", roles.data);
}

static void write_node(struct describe *d, json_t *node)
{
	size_t i;
	json_t *address;
	describe_text(d, 0, "Name", cli_name(node));
	write_roles(d, node);
	describe_map(d, 0, "Labels", cli_at(node, "metadata.labels"));
	describe_map(d, 0, "Annotations", cli_at(node, "metadata.annotations"));
	describe_text(d, 0, "CreationTimestamp", cli_str_at(node, "metadata.creationTimestamp"));
	write_taints(d, cli_at(node, "spec.taints"));
	describe_text(d, 0, "Unschedulable", json_is_true(cli_at(node, "spec.unschedulable")) ? "true" : "false");
	describe_conditions(d, cli_at(node, "status.conditions"), true);
	describe_head(d, 0, "Addresses");
	json_array_foreach(cli_at(node, "status.addresses"), i, address)
		describe_text(d, 1, str_or(cli_str(address, "type"), ""), cli_str(address, "address"));
	describe_values(d, 0, "Capacity", cli_at(node, "status.capacity"));
	describe_values(d, 0, "Allocatable", cli_at(node, "status.allocatable"));
	describe_value(d, 0, "systemInfo", cli_at(node, "status.nodeInfo"));
	if (cli_str_at(node, "spec.podCIDR"))
		describe_text(d, 0, "PodCIDR", cli_str_at(node, "spec.podCIDR"));
	write_pods(d, node);
}

const struct describe_kind describe_node = {
	.group = "",
	.kind = "Node",
	.write = write_node,
};
