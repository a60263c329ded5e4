/* SPDX-License-Identifier: Apache-2.0 */
/* Tells each node how long it may keep Secrets and ConfigMaps without asking again: longer the more nodes ask. */
#include "controller-manager/controller.h"

#include "api/core_v1.h"

#define ANNOTATION "node.alpha.kubernetes.io/ttl"

/* A size between `least` and the row before's `most` keeps what it had: the rows overlap, so that a node more or less does not write to all. */
static const struct step {
	size_t least, most;
	const char *seconds;
} steps[] = {
	{0, 100, "0"},
	{90, 500, "15"},
	{450, 1000, "30"},
	{900, 2000, "60"},
	{1800, SIZE_MAX, "300"},
};

/* The row for this many nodes, nearest to the one that the node has. */
static const struct step *step_for(size_t count, const char *current)
{
	size_t at = 0;
	for (size_t i = 0; i < array_len(steps); i++)
		if (str_equal(steps[i].seconds, current))
			at = i;
	while (count > steps[at].most)
		at++;
	while (count < steps[at].least)
		at--;
	return &steps[at];
}

static int reconcile(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	autounref struct core_v1_node *node = world_find(r->world, CACHED_NODES, NULL, name);
	if (!node || node->metadata.deletion_timestamp.set)
		return 0;
	autolist struct informer_list nodes = INFORMER_LIST_INIT;
	world_list_all(r->world, CACHED_NODES, &nodes);
	const char *current = api_map_get(&node->metadata.annotations, ANNOTATION);
	const struct step *step = step_for(nodes.len, current);
	if (str_equal(step->seconds, current))
		return 0;
	autofree char *patch = xprintf("{\"metadata\":{\"annotations\":{\"" ANNOTATION "\":\"%s\"}}}", step->seconds);
	return world_merge_patch(r->world, CACHED_NODES, NULL, name, NULL, patch, err);
}

static bool matters(const void *old_object, const void *object)
{
	return !str_equal(api_map_get(&api_metadata(old_object)->annotations, ANNOTATION), api_map_get(&api_metadata(object)->annotations, ANNOTATION));
}

/* A node that comes or goes may move the number for all: they are looked at when the step changes. */
static void wake(struct reconciler *r, const void *object)
{
	autolist struct informer_list nodes = INFORMER_LIST_INIT;
	world_list_all(r->world, CACHED_NODES, &nodes);
	reconciler_add(r, NULL, api_metadata(object)->name);
	for (size_t i = 0; i < nodes.len; i++) {
		const struct meta_v1_object_meta *meta = api_metadata(nodes.items[i]);
		const char *current = api_map_get(&meta->annotations, ANNOTATION);
		if (current && !str_equal(step_for(nodes.len, current)->seconds, current))
			reconciler_add(r, NULL, meta->name);
	}
}

const struct controller ttl_controller = {
	.name = "ttl-controller",
	.queue = "ttlcontroller",
	.alias = "ttl",
	.account = "ttl-controller",
	.workers = 2,
	.watches = (const struct controller_watch[]){{.what = CACHED_NODES, .wake = wake, .matters = matters}, {.what = CACHED_NONE}},
	.reconcile = reconcile,
};
