/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/describe/describe.h"
#include "cli/pods.h"

static const char *text_or_number(struct describe *d, json_t *value)
{
	return json_is_string(value) ? json_string_value(value) : arena_printf(d->cli->arena, "%lld", (long long)json_integer_value(value));
}

static bool owned_by(json_t *object, json_t *owner)
{
	size_t i;
	json_t *reference;
	json_array_foreach(cli_at(object, "metadata.ownerReferences"), i, reference)
		if (str_equal(cli_str(reference, "uid"), cli_str_at(owner, "metadata.uid")))
			return true;
	return false;
}

static const char *revision_of(json_t *object)
{
	return str_or(cli_str(cli_at(object, "metadata.annotations"), "deployment.kubernetes.io/revision"), "");
}

static void write_replica_sets(struct describe *d, json_t *deployment)
{
	const struct cli_resource *sets = NULL;
	json_t *list, *set;
	if (cli_resource_match(d->cli, "replicasets.apps", &sets, NULL))
		return;
	char *path = cli_path_query(d->cli, cli_path(d->cli, sets, cli_ns(deployment), NULL, NULL), "labelSelector", cli_selector_of(d->cli, deployment));
	if (cli_get_json(d->cli, path, &list, NULL))
		return;
	const char *newest = NULL;
	autobuf struct buf old = BUF_INIT(1 << 20);
	size_t i;
	json_array_foreach(json_object_get(list, "items"), i, set) {
		if (!owned_by(set, deployment))
			continue;
		const char *text = arena_printf(d->cli->arena, "%s (%lld/%lld replicas created)", cli_name(set), (long long)cli_int_at(set, "status.replicas"), (long long)cli_int_at(set, "spec.replicas"));
		if (str_equal(revision_of(set), revision_of(deployment)))
			newest = text;
		else
			buf_printf(&old, "%s%s", old.len ? ", " : "", text);
	}
	describe_text(d, 0, "OldReplicaSets", old.data);
	describe_text(d, 0, "NewReplicaSet", newest);
	json_decref(list);
}

static void write_deployment(struct describe *d, json_t *o)
{
	describe_text(d, 0, "Name", cli_name(o));
	describe_text(d, 0, "Namespace", cli_ns(o));
	describe_text(d, 0, "CreationTimestamp", cli_str_at(o, "metadata.creationTimestamp"));
	describe_map(d, 0, "Labels", cli_at(o, "metadata.labels"));
	describe_map(d, 0, "Annotations", cli_at(o, "metadata.annotations"));
	describe_text(d, 0, "Selector", cli_selector_of(d->cli, o));
	describe_printf(d, 0, "Replicas", "%lld desired | %lld updated | %lld total | %lld available | %lld unavailable", (long long)cli_int_at(o, "spec.replicas"), (long long)cli_int_at(o, "status.updatedReplicas"),
		(long long)cli_int_at(o, "status.replicas"), (long long)cli_int_at(o, "status.availableReplicas"), (long long)cli_int_at(o, "status.unavailableReplicas"));
	describe_text(d, 0, "StrategyType", cli_str_at(o, "spec.strategy.type"));
	describe_printf(d, 0, "MinReadySeconds", "%lld", (long long)cli_int_at(o, "spec.minReadySeconds"));
	json_t *rolling = cli_at(o, "spec.strategy.rollingUpdate");
	if (rolling)
		describe_printf(d, 0, "RollingUpdateStrategy", "%s max unavailable, %s max surge", text_or_number(d, json_object_get(rolling, "maxUnavailable")), text_or_number(d, json_object_get(rolling, "maxSurge")));
	describe_pod_template(d, cli_at(o, "spec.template"));
	describe_conditions(d, cli_at(o, "status.conditions"), false);
	write_replica_sets(d, o);
}

const struct describe_kind describe_deployment = {
	.group = "apps",
	.kind = "Deployment",
	.write = write_deployment,
};
