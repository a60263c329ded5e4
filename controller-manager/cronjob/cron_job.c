/* SPDX-License-Identifier: Apache-2.0 */
/* CronJob: makes a Job each time its schedule says, minds those that still run, and keeps a short history. */
#include "controller-manager/controller.h"
#include "controller-manager/cronjob/cron.h"
#include "controller-manager/job/job.h"
#include "controller-manager/shared/owners.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#define MAX_MISSED 100
#define SECONDS_NEAR 86400
#define ANNOTATION_SCHEDULED "batch.kubernetes.io/cronjob-scheduled-timestamp"

static const double skew_buckets[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 0};
static struct metric metrics[] = {
	{.name = "cronjob_controller_job_creation_skew_duration_seconds", .help = "From when a job was due until it was made.", .kind = METRIC_HISTOGRAM, .buckets = skew_buckets},
};

struct sync {
	struct reconciler *r;
	const struct batch_v1_cron_job *cached;
	struct batch_v1_cron_job *cron; /* private copy */
	struct batch_v1_cron_job *live; /* as the server has it; NULL: not asked for yet */
	struct informer_list jobs;
	struct cron_schedule schedule;
	struct time_zone *zone;
};

static void sync_done(struct sync *s)
{
	informer_list_done(&s->jobs);
	time_zone_unref(s->zone);
	api_unref(s->cron);
	api_unref(s->live);
}

static struct batch_v1_job *job_by_uid(const struct sync *s, const char *uid)
{
	for (size_t i = 0; i < s->jobs.len; i++)
		if (str_equal(api_metadata(s->jobs.items[i])->uid, uid))
			return s->jobs.items[i];
	return NULL;
}

static bool succeeded(const struct batch_v1_job *job)
{
	const struct batch_v1_job_condition *complete = job_condition(job, "Complete");
	return complete && str_equal(complete->status, "True");
}

static bool is_active(const struct batch_v1_cron_job *cron, const char *uid)
{
	for (uint32_t i = 0; i < cron->status.active.len; i++)
		if (str_equal(cron->status.active.items[i].uid, uid))
			return true;
	return false;
}

/* The job of this name as the server has it, a reference; NULL: there is none. */
static int live_job(const struct sync *s, const char *name, struct batch_v1_job **ret, struct error *err)
{
	autoerror struct error failed = {0};
	*ret = NULL;
	int r = world_get(s->r->world, CACHED_JOBS, s->cron->metadata.namespace, name, (void **)ret, &failed);
	return r && !error_is(&failed, "NotFound") ? error_move(err, &failed) : 0;
}

/* The cache of CronJobs may be the one that is behind: what the server's status says of its active jobs. Once a sync; *ret NULL: the CronJob is gone. */
static int live_cron(struct sync *s, const struct batch_v1_cron_job **ret, struct error *err)
{
	autoerror struct error failed = {0};
	if (!s->live && world_get(s->r->world, CACHED_CRON_JOBS, s->cron->metadata.namespace, s->cron->metadata.name, (void **)&s->live, &failed) && !error_is(&failed, "NotFound"))
		return error_move(err, &failed);
	*ret = s->live;
	return 0;
}

/* Jobs of ours that the status knows nothing of. */
static int find_forgotten(struct sync *s, struct error *err)
{
	for (size_t i = 0; i < s->jobs.len; i++) {
		const struct batch_v1_job *job = s->jobs.items[i];
		if (job_is_finished(job) || is_active(s->cron, job->metadata.uid))
			continue;
		const struct batch_v1_cron_job *live;
		int r = live_cron(s, &live, err);
		if (r || !live)
			return r;
		if (!is_active(live, job->metadata.uid))
			reconciler_event(s->r, s->cron, EVENT_WARNING, "UnexpectedJob", "Saw a job that the controller did not create or forgot: %s", job->metadata.name);
	}
	return 0;
}

/* Brings the list of active jobs up to date. */
static int mind_active(struct sync *s, struct error *err)
{
	struct batch_v1_cron_job *cron = s->cron;
	for (uint32_t i = 0; i < cron->status.active.len;) {
		const struct core_v1_object_reference *ref = &cron->status.active.items[i];
		const struct batch_v1_job *job = job_by_uid(s, ref->uid);
		autounref struct batch_v1_job *live = NULL;
		/* One that was just made may be news to the cache. */
		int r = job ? 0 : live_job(s, ref->name, &live, err);
		if (r)
			return r;
		if (job ? !job_is_finished(job) : live && str_equal(live->metadata.uid, ref->uid)) {
			i++;
			continue;
		}
		const struct batch_v1_cron_job *known = NULL;
		if (job)
			reconciler_event(s->r, cron, EVENT_NORMAL, "SawCompletedJob", "Saw completed job: %s, condition: %s", ref->name,
				succeeded(job) ? "Complete" : "Failed");
		else if ((r = live_cron(s, &known, err)))
			return r;
		else if (known && is_active(known, ref->uid)) /* else it was let go here, which the cache has not seen */
			reconciler_event(s->r, cron, EVENT_NORMAL, "MissingJob", "Active job went missing: %s", ref->name);
		api_list_remove(&cron->status.active, i);
	}
	for (size_t i = 0; i < s->jobs.len; i++) {
		const struct batch_v1_job *job = s->jobs.items[i];
		if (succeeded(job) && job->status.completion_time.set &&
			(!cron->status.last_successful_time.set ||
				time_diff_ns(job->status.completion_time.t, cron->status.last_successful_time.t) > 0))
			cron->status.last_successful_time = job->status.completion_time;
	}
	return find_forgotten(s, err);
}

static int compare_started(const void *a, const void *b)
{
	const struct batch_v1_job *x = *(const struct batch_v1_job *const *)a, *y = *(const struct batch_v1_job *const *)b;
	int64_t diff = time_diff_ns(x->metadata.creation_timestamp.t, y->metadata.creation_timestamp.t);
	return diff < 0 ? -1 : diff > 0 ? 1 : strcmp(x->metadata.name, y->metadata.name);
}

static void drop_active(struct batch_v1_cron_job *cron, const char *uid)
{
	for (uint32_t i = 0; i < cron->status.active.len;) {
		if (str_equal(cron->status.active.items[i].uid, uid))
			api_list_remove(&cron->status.active, i);
		else
			i++;
	}
}

static int trim_history(struct sync *s, bool good, const int32_t *limit, struct error *err)
{
	autofree const struct batch_v1_job **list = xcalloc(s->jobs.len, sizeof(*list));
	size_t count = 0;
	if (!limit)
		return 0;
	for (size_t i = 0; i < s->jobs.len; i++)
		if (job_is_finished(s->jobs.items[i]) && succeeded(s->jobs.items[i]) == good && !api_metadata(s->jobs.items[i])->deletion_timestamp.set)
			list[count++] = s->jobs.items[i];
	qsort(list, count, sizeof(*list), compare_started);
	for (size_t i = 0; i + (size_t)max_of(*limit, 0) < count; i++) {
		int r = world_delete(s->r->world, CACHED_JOBS, list[i], "Background", err);
		if (r)
			return r;
		reconciler_event(s->r, s->cron, EVENT_NORMAL, "SuccessfulDelete", "Deleted job %s", list[i]->metadata.name);
		drop_active(s->cron, list[i]->metadata.uid);
	}
	return 0;
}

/* The last time that is due and has not been started; 0: none. *ret_missed counts those in between. */
static int64_t last_due(const struct sync *s, int64_t now, int *ret_missed)
{
	const struct batch_v1_cron_job *cron = s->cron;
	int64_t from = cron->status.last_schedule_time.set ? cron->status.last_schedule_time.t.sec : cron->metadata.creation_timestamp.t.sec, due = 0;
	if (cron->spec.starting_deadline_seconds)
		from = max_of(from, now - *cron->spec.starting_deadline_seconds);
	*ret_missed = 0;
	if (s->schedule.every_ns && now > from) {
		int64_t step = s->schedule.every_ns / NSEC_PER_SEC, n = (now - from) / step;
		*ret_missed = (int)min_of(n, (int64_t)MAX_MISSED + 1);
		return n ? from + n * step : 0;
	}
	for (int64_t next = from; (next = cron_next(&s->schedule, s->zone, next)) >= 0 && next <= now;) {
		due = next;
		if (++*ret_missed > MAX_MISSED) {
			/* Far behind: take up from shortly before now. */
			int64_t near = cron_next(&s->schedule, s->zone, max_of(due, now - SECONDS_NEAR));
			if (near > due && near <= now)
				next = near - 1;
		}
	}
	return due;
}

static struct batch_v1_job *make_job(const struct sync *s, int64_t when)
{
	const struct batch_v1_cron_job *cron = s->cron;
	struct batch_v1_job *job = api_new_of(batch_v1_job);
	struct arena *arena = api_arena(job);
	struct batch_v1_job_template_spec template = {0};
	char stamp[32];
	api_copy_value(&batch_v1_job_template_spec_type, &template, &cron->spec.job_template, arena);
	job->spec = template.spec;
	job->metadata.labels = template.metadata.labels;
	job->metadata.annotations = template.metadata.annotations;
	job->metadata.name = arena_printf(arena, "%s-%lld", cron->metadata.name, (long long)(when / 60));
	job->metadata.namespace = arena_strdup(arena, cron->metadata.namespace);
	time_format_rfc3339((struct wall_time){.sec = when + time_zone_offset(s->zone, when)}, stamp);
	if (!str_empty(cron->spec.time_zone) && time_zone_offset(s->zone, when)) {
		int32_t offset = time_zone_offset(s->zone, when), size = abs(offset);
		snprintf(stamp + strlen(stamp) - 1, 8, "%c%02d:%02d", offset < 0 ? '-' : '+', size / 3600 % 100, size / 60 % 60);
	}
	api_map_set(arena, &job->metadata.annotations, ANNOTATION_SCHEDULED, stamp);
	owner_set_controller(arena, &job->metadata, cron);
	return job;
}

/* Deletes what still runs, for concurrencyPolicy Replace. */
static int replace_active(struct sync *s, struct error *err)
{
	struct core_v1_object_reference_array *active = &s->cron->status.active;
	while (active->len) {
		autounref struct batch_v1_job *job = NULL;
		autoerror struct error failed = {0};
		int r = live_job(s, active->items[0].name, &job, &failed);
		if (r) {
			reconciler_event(s->r, s->cron, EVENT_WARNING, "FailedGet", "Get job: %s", error_message(&failed));
			return error_move(err, &failed);
		}
		if (job && str_equal(job->metadata.uid, active->items[0].uid)) {
			r = world_delete(s->r->world, CACHED_JOBS, job, "Background", &failed);
			if (r) {
				reconciler_event(s->r, s->cron, EVENT_WARNING, "FailedDelete", "Deleted job: %s", error_message(&failed));
				return error_move(err, &failed);
			}
			reconciler_event(s->r, s->cron, EVENT_NORMAL, "SuccessfulDelete", "Deleted job %s", job->metadata.name);
		}
		api_list_remove(active, 0);
	}
	return 0;
}

static int start_job(struct sync *s, int64_t when, struct error *err)
{
	struct batch_v1_cron_job *cron = s->cron;
	autounref struct batch_v1_job *job = make_job(s, when), *created = NULL;
	autoerror struct error failed = {0};
	int r = world_create(s->r->world, CACHED_JOBS, job, (void **)&created, &failed);
	if (r && error_is(&failed, "AlreadyExists")) {
		/* Made before, by a process that ended before it wrote the status. */
		r = world_get(s->r->world, CACHED_JOBS, job->metadata.namespace, job->metadata.name, (void **)&created, err);
		if (r)
			return r;
		/* Whoever made it minds it. */
		if (!owner_is_controller(&created->metadata, cron->metadata.uid))
			return 0;
	} else if (r) {
		reconciler_event(s->r, cron, EVENT_WARNING, "FailedCreate", "Error creating job: %s", error_message(&failed));
		return error_move(err, &failed);
	} else {
		metric_observe(metric_label(&metrics[0]), (double)time_diff_ns(clock_wall(), (struct wall_time){.sec = when}) / NSEC_PER_SEC);
		reconciler_event(s->r, cron, EVENT_NORMAL, "SuccessfulCreate", "Created job %s", job->metadata.name);
	}
	struct arena *arena = api_arena(cron);
	cron->status.last_schedule_time = (struct api_time){.t = {.sec = when}, .set = true};
	if (created && !job_is_finished(created) && !is_active(cron, created->metadata.uid)) {
		struct core_v1_object_reference *ref = api_list_add(arena, &cron->status.active);
		ref->kind = "Job";
		ref->api_version = "batch/v1";
		ref->name = arena_strdup(arena, created->metadata.name);
		ref->namespace = arena_strdup(arena, created->metadata.namespace);
		ref->uid = arena_strdup(arena, created->metadata.uid);
		ref->resource_version = arena_strdup(arena, created->metadata.resource_version);
	}
	return 0;
}

static int run_schedule(struct sync *s, struct error *err)
{
	const struct batch_v1_cron_job *cron = s->cron;
	int64_t now = clock_wall().sec;
	int missed;
	int64_t due = last_due(s, now, &missed);
	if (missed > MAX_MISSED)
		reconciler_event(s->r, cron, EVENT_WARNING, "TooManyMissedTimes",
			"too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew");
	if (!due)
		return 0;
	if (cron->spec.starting_deadline_seconds && now - due > *cron->spec.starting_deadline_seconds) {
		char when[48];
		struct tm tm;
		strftime(when, sizeof(when), "%a, %d %b %Y %H:%M:%S +0000", gmtime_r(&(time_t){due}, &tm));
		reconciler_event(s->r, cron, EVENT_WARNING, "MissSchedule", "Missed scheduled time to start a job: %s", when);
		return 0;
	}
	if (s->cron->status.active.len && str_equal(cron->spec.concurrency_policy, "Forbid")) {
		reconciler_event(s->r, cron, EVENT_NORMAL, "JobAlreadyActive", "Not starting job because prior execution is running and concurrency policy is Forbid");
		return 0;
	}
	int r = str_equal(cron->spec.concurrency_policy, "Replace") ? replace_active(s, err) : 0;
	return r ? r : start_job(s, due, err);
}

/* Milliseconds until the schedule names the next time. */
static int until_next(const struct sync *s)
{
	int64_t now = clock_wall().sec, next = cron_next(&s->schedule, s->zone, now);
	if (s->schedule.every_ns) {
		const struct batch_v1_cron_job *cron = s->cron;
		int64_t from = cron->status.last_schedule_time.set ? cron->status.last_schedule_time.t.sec : cron->metadata.creation_timestamp.t.sec;
		int64_t step = s->schedule.every_ns / NSEC_PER_SEC, past = now >= from ? (now - from) / step : 0;
		/* Times that went by unused, one job being active still, do not come again. */
		next = from + (past + 1) * step;
	}
	return next < 0 ? 0 : milliseconds_until((struct wall_time){.sec = next, .nsec = 100 * (int32_t)NSEC_PER_MSEC});
}

static int sync_cron(struct sync *s, struct error *err)
{
	struct batch_v1_cron_job *cron = s->cron;
	autoerror struct error bad = {0}, failed = {0};
	/* History first: of a job that is not kept at all no more is said than that. */
	int r = trim_history(s, true, cron->spec.successful_jobs_history_limit, err);
	r = r ? r : trim_history(s, false, cron->spec.failed_jobs_history_limit, err);
	r = r ? r : mind_active(s, err);
	if (r)
		return r;
	bool runs = !cron->metadata.deletion_timestamp.set;
	if (runs && time_zone_load(cron->spec.time_zone, &s->zone, &bad) < 0) {
		reconciler_event(s->r, cron, EVENT_WARNING, "UnknownTimeZone", "invalid timeZone: \"%s\": %s", cron->spec.time_zone, error_message(&bad));
		runs = false;
	}
	runs &= !(cron->spec.suspend && *cron->spec.suspend);
	if (runs && cron_parse(cron->spec.schedule, &s->schedule, &bad) < 0) {
		reconciler_event(s->r, cron, EVENT_WARNING, "UnparseableSchedule", "unparseable schedule: \"%s\" : %s", cron->spec.schedule, error_message(&bad));
		runs = false;
	}
	if (runs && cron_next(&s->schedule, s->zone, clock_wall().sec) < 0) {
		/* "0 0 30 2 *" is well formed, and in vain. */
		reconciler_event(s->r, cron, EVENT_WARNING, "InvalidSchedule", "invalid schedule: %s : it names no time that ever comes", cron->spec.schedule);
		runs = false;
	}
	if (runs)
		run_schedule(s, &failed);
	if (!api_equal(&batch_v1_cron_job_status_type, &cron->status, &s->cached->status)) {
		r = world_update_status(s->r->world, CACHED_CRON_JOBS, cron, NULL, err);
		if (r)
			return r;
	}
	if (failed.errnum)
		return error_move(err, &failed);
	return runs ? until_next(s) : 0;
}

static int reconcile(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	autounref struct batch_v1_cron_job *cached = world_find(r->world, CACHED_CRON_JOBS, ns, name);
	if (!cached)
		return 0;
	cleanup(sync_done) struct sync s = {.r = r, .cached = cached, .cron = api_copy(cached)};
	world_list_index(r->world, CACHED_JOBS, INDEX_OWNER, cached->metadata.uid, &s.jobs);
	return sync_cron(&s, err);
}

static void wake_by_job(struct reconciler *r, const void *object)
{
	reconciler_add_owner(r, object, "CronJob");
}

const struct controller cron_job_controller = {
	.name = "cronjob-controller",
	.queue = "cronjob",
	.account = "cronjob-controller",
	.alias = "cronjob",
	.concurrency_flag = "concurrent-cron-job-syncs",
	.workers = 5,
	.metrics = metrics,
	.metric_count = array_len(metrics),
	.watches = (const struct controller_watch[]){{.what = CACHED_CRON_JOBS}, {.what = CACHED_JOBS, .wake = wake_by_job}, {.what = CACHED_NONE}},
	.reconcile = reconcile,
};
