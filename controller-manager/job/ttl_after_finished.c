/* SPDX-License-Identifier: Apache-2.0 */
/* Deletes Jobs ttlSecondsAfterFinished after their end. */
#include "controller-manager/job/job.h"

static const double latency_buckets[] = {0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 102.4, 204.8, 409.6, 819.2, 0};
static struct metric metrics[] = {
	{.name = "ttl_after_finished_controller_job_deletion_duration_seconds", .help = "From when a job was due to be deleted until it was.", .kind = METRIC_HISTOGRAM, .buckets = latency_buckets},
};

static int reconcile(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	autounref struct batch_v1_job *job = world_find(r->world, CACHED_JOBS, ns, name);
	if (!job || !job->spec.ttl_seconds_after_finished || job->metadata.deletion_timestamp.set || !job_is_finished(job))
		return 0;
	struct api_time end = {0};
	for (uint32_t i = 0; i < job->status.conditions.len; i++) {
		const struct batch_v1_job_condition *condition = &job->status.conditions.items[i];
		if ((str_equal(condition->type, "Complete") || str_equal(condition->type, "Failed")) && str_equal(condition->status, "True"))
			end = condition->last_transition_time;
	}
	struct wall_time due = time_after(end.t, *job->spec.ttl_seconds_after_finished);
	if (time_diff_ns(due, clock_wall()) > 0)
		return milliseconds_until(due);
	/* The cache may be behind, and deleting cannot be taken back. */
	autounref struct batch_v1_job *live = NULL;
	autoerror struct error failed = {0};
	int result = world_get(r->world, CACHED_JOBS, ns, name, (void **)&live, &failed);
	if (result)
		return error_is(&failed, "NotFound") ? 0 : error_move(err, &failed);
	if (!str_equal(live->metadata.uid, job->metadata.uid) || !job_is_finished(live) || !live->spec.ttl_seconds_after_finished ||
		*live->spec.ttl_seconds_after_finished != *job->spec.ttl_seconds_after_finished)
		return 1000;
	result = world_delete(r->world, CACHED_JOBS, job, "Foreground", err);
	if (!result)
		metric_observe(metric_label(&metrics[0]), (double)time_diff_ns(clock_wall(), due) / NSEC_PER_SEC);
	return result;
}

const struct controller ttl_after_finished_controller = {
	.name = "ttl-after-finished-controller",
	.queue = "ttl_jobs_to_delete",
	.account = "ttl-after-finished-controller",
	.alias = "ttl-after-finished",
	.concurrency_flag = "concurrent-ttl-after-finished-syncs",
	.workers = 5,
	.metrics = metrics,
	.metric_count = array_len(metrics),
	.watches = (const struct controller_watch[]){{.what = CACHED_JOBS}, {.what = CACHED_NONE}},
	.reconcile = reconcile,
};
