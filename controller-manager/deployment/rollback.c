/* SPDX-License-Identifier: Apache-2.0 */
/* Back to an earlier revision, as clients of old ask for it: by an annotation. */
#include "controller-manager/deployment/deployment.h"

#include <errno.h>

#define ROLLBACK_DONE "DeploymentRollback"
#define NOT_FOUND "DeploymentRollbackRevisionNotFound"
#define UNCHANGED "DeploymentRollbackTemplateUnchanged"

bool deployment_rollback_wanted(const struct apps_v1_deployment *d, int64_t *ret_revision)
{
	const char *text = api_map_get(&d->metadata.annotations, ANNOTATION_ROLLBACK_TO);
	return !str_empty(text) && str_to_int64(text, INT64_MIN, INT64_MAX, ret_revision);
}

/* The one before the newest; 0: there is none. */
static int64_t last_revision(const struct rollout *rollout)
{
	int64_t newest = 0, last = 0;
	for (size_t i = 0; i < rollout->count; i++) {
		int64_t revision = revision_of(&rollout->sets[i]->metadata);
		if (revision >= newest) {
			last = newest;
			newest = revision;
		} else if (revision > last) {
			last = revision;
		}
	}
	return last;
}

static const struct apps_v1_replica_set *set_of_revision(const struct rollout *rollout, int64_t revision)
{
	for (size_t i = 0; revision && i < rollout->count; i++)
		if (revision_of(&rollout->sets[i]->metadata) == revision)
			return rollout->sets[i];
	return NULL;
}

/* The template as it was, and what was noted at the deployment when it was: else the set would be given what is noted there now. */
static void go_back(struct apps_v1_deployment *d, const struct apps_v1_replica_set *rs)
{
	struct arena *arena = api_arena(d);
	struct api_string_map kept = {0};
	memset(&d->spec.template, 0, sizeof(d->spec.template));
	api_copy_value(&core_v1_pod_template_spec_type, &d->spec.template, &rs->spec.template, arena);
	api_map_remove(&d->spec.template.metadata.labels, LABEL_TEMPLATE_HASH);
	for (uint32_t i = 0; i < d->metadata.annotations.len; i++)
		if (deployment_owns_annotation(d->metadata.annotations.items[i].key))
			api_map_set(arena, &kept, d->metadata.annotations.items[i].key, d->metadata.annotations.items[i].value);
	for (uint32_t i = 0; i < rs->metadata.annotations.len; i++)
		if (!deployment_owns_annotation(rs->metadata.annotations.items[i].key))
			api_map_set(arena, &kept, rs->metadata.annotations.items[i].key, rs->metadata.annotations.items[i].value);
	d->metadata.annotations = kept;
}

int rollout_go_back(struct rollout *rollout, int64_t revision, struct error *err)
{
	struct apps_v1_deployment *d = rollout->d;
	bool last = revision == 0, changed = false;
	revision = last ? last_revision(rollout) : revision;
	const struct apps_v1_replica_set *rs = set_of_revision(rollout, revision);
	if (!rs)
		reconciler_event(rollout->r, d, EVENT_WARNING, NOT_FOUND, "%s", last ? "Unable to find last revision." : "Unable to find the revision to rollback to.");
	else if (templates_equal(&d->spec.template, &rs->spec.template))
		reconciler_event(rollout->r, d, EVENT_WARNING, UNCHANGED, "The rollback revision contains the same template as current deployment \"%s\"", d->metadata.name);
	else
		changed = true;
	if (changed)
		go_back(d, rs);
	/* The wish is fulfilled, or cannot be: either way it is not asked again. */
	api_map_remove(&d->metadata.annotations, ANNOTATION_ROLLBACK_TO);
	int result = world_update(rollout->r->world, CACHED_DEPLOYMENTS, d, NULL, err);
	if (!result && changed)
		reconciler_event(rollout->r, d, EVENT_NORMAL, ROLLBACK_DONE, "Rolled back deployment \"%s\" to revision %lld", d->metadata.name, (long long)revision);
	return result;
}
