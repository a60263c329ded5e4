/* SPDX-License-Identifier: Apache-2.0 */
/* Deletes Jobs ttlSecondsAfterFinished after their end. */
#include "controller-manager/job/job.h"

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
	return world_delete(r->world, CACHED_JOBS, job, "Foreground", err);
}

const struct controller ttl_after_finished_controller = {
	.name = "ttl-after-finished-controller",
	.queue = "ttl_jobs_to_delete",
	.account = "ttl-after-finished-controller",
	.alias = "ttl-after-finished",
	.concurrency_flag = "concurrent-ttl-after-finished-syncs",
	.workers = 5,
	.watches = (const struct controller_watch[]){{.what = CACHED_JOBS}, {.what = CACHED_NONE}},
	.reconcile = reconcile,
};
