/* SPDX-License-Identifier: Apache-2.0 */
/* Kinds that own pods. */
#include "apiserver/rest/write.h"
#include "apiserver/strategy/table.h"
#include "apiserver/validation/validation.h"
#include "api/apps_v1.h"
#include "api/batch_v1.h"
#include "api/core_v1.h"

static const struct strategy replication_controllers = {.group = "", .plural = "replicationcontrollers", .default_propagation = "Orphan", .free_prefix = true, .prefix_unchecked = true, .generation = true};
/* The controller carries a Deployment's annotations on to its ReplicaSets: a change of them is work for it. */
static bool deployment_changed(const void *object, const void *old) {
	return !api_field_equal(object, old, "spec") || !api_map_equal(&api_metadata(object)->annotations, &api_metadata(old)->annotations);
}
static const struct strategy deployments = {.group = "apps", .plural = "deployments", .free_prefix = true, .generation = true, .generation_changed = deployment_changed, .status_keeps = STATUS_KEEPS_LABELS};
static const struct strategy replica_sets = {.group = "apps", .plural = "replicasets", .free_prefix = true, .generation = true};
static const struct strategy stateful_sets = {.group = "apps", .plural = "statefulsets", .free_prefix = true, .name = NAME_DNS_LABEL, .generation = true};
/* Counts changes of the template, as clients of old expect it. */
#define TEMPLATE_GENERATION "deprecated.daemonset.template.generation"

/* Without a count of its own an object says none yet, and whoever sent it says so. */
static void daemon_set_normalize(void *object) {
	struct meta_v1_object_meta *meta = api_metadata(object);
	if (!api_map_get(&meta->annotations, TEMPLATE_GENERATION))
		api_map_set(api_arena(object), &meta->annotations, TEMPLATE_GENERATION, "0");
}

static void daemon_set_prepare_create(struct request *r, void *object) {
	api_map_set(api_arena(object), &api_metadata(object)->annotations, TEMPLATE_GENERATION, "1");
}

static void daemon_set_prepare_update(struct request *r, void *object, const void *old) {
	const struct apps_v1_daemon_set *now = object, *before = old;
	struct arena *arena = api_arena(object);
	const char *text = api_map_get(&before->metadata.annotations, TEMPLATE_GENERATION);
	int64_t count = 1;
	if (text)
		str_to_int64(text, 0, INT64_MAX - 1, &count);
	if (!api_equal(&core_v1_pod_template_spec_type, &now->spec.template, &before->spec.template))
		count++;
	api_map_set(arena, &api_metadata(object)->annotations, TEMPLATE_GENERATION, arena_printf(arena, "%lld", (long long)count));
}

static const struct strategy daemon_sets = {.group = "apps", .plural = "daemonsets", .free_prefix = true, .generation = true, .normalize = daemon_set_normalize, .prepare_create = daemon_set_prepare_create, .prepare_update = daemon_set_prepare_update};

/* A job without a selector of its own gets one by its uid, and its pods the labels for it. */
static void job_prepare_create(struct request *r, void *object) {
	struct batch_v1_job *job = object;
	struct arena *arena = api_arena(object);
	struct meta_v1_object_meta *template = &job->spec.template.metadata;
	if (job->spec.manual_selector && *job->spec.manual_selector)
		return;
	/* Labels that defaulting took over from the template follow it here too. */
	bool shared = api_map_equal(&template->labels, &job->metadata.labels);
	struct api_string_map *maps[] = {&template->labels, shared ? &job->metadata.labels : NULL};
	for (size_t i = 0; i < array_len(maps) && maps[i]; i++) {
		api_map_set(arena, maps[i], "controller-uid", job->metadata.uid);
		api_map_set(arena, maps[i], "job-name", str_or(job->metadata.name, ""));
		api_map_set(arena, maps[i], "batch.kubernetes.io/controller-uid", job->metadata.uid);
		api_map_set(arena, maps[i], "batch.kubernetes.io/job-name", str_or(job->metadata.name, ""));
	}
	if (!job->spec.selector)
		job->spec.selector = arena_new_type(arena, struct meta_v1_label_selector);
	if (!api_map_get(&job->spec.selector->match_labels, "batch.kubernetes.io/controller-uid"))
		api_map_set(arena, &job->spec.selector->match_labels, "batch.kubernetes.io/controller-uid", job->metadata.uid);
}

static const struct strategy jobs = {
	.group = "batch", .plural = "jobs", .generation = true, .prepare_create = job_prepare_create, .default_propagation = "Orphan",
	.delete_warning = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning",
};
static const struct strategy cron_jobs = {.group = "batch", .plural = "cronjobs", .free_prefix = true, .generation = true};

const struct strategy *const strategies_workloads[] = {
	&replication_controllers, &deployments, &replica_sets, &stateful_sets, &daemon_sets, &jobs, &cron_jobs, NULL,
};
