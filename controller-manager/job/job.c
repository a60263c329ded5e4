/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Job: pods until enough have succeeded. A pod carries a finalizer until it has been counted, so that counts stay exact whatever dies when:
 * its uid is first written to status.uncountedTerminatedPods, then the finalizer is removed, and only when the cache shows that, the uid
 * becomes one more in the count.
 */
#include "controller-manager/job/sync.h"

#include "controller-manager/shared/owners.h"

#include <errno.h>
#include <stdio.h>

#define ORPHAN_KEY "pod:" /* no name of a Job begins so: the key of a pod that may have lost its Job */
#define MAX_UNCOUNTED 500
#define RESERVED_BY "kubernetes.io/job-controller"

static const char *const round_labels[] = {"completion_mode", "result", "action", NULL}, *const finished_labels[] = {"completion_mode", "result", "reason", NULL},
			 *const pods_labels[] = {"completion_mode", "result", NULL};
static const double round_buckets[] = {0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384, 32.768, 65.536, 0};
enum { SYNCS, SYNC_SECONDS, JOBS_FINISHED, PODS_FINISHED };
static struct metric job_metrics[] = {
	[SYNCS] = {.name = "job_controller_job_syncs_total", .help = "Looks at Jobs.", .kind = METRIC_COUNTER, .labels = round_labels},
	[SYNC_SECONDS] = {.name = "job_controller_job_sync_duration_seconds", .help = "How long a look at a Job took.", .kind = METRIC_HISTOGRAM, .labels = round_labels, .buckets = round_buckets},
	[JOBS_FINISHED] = {.name = "job_controller_jobs_finished_total", .help = "Jobs that came to their end.", .kind = METRIC_COUNTER, .labels = finished_labels},
	[PODS_FINISHED] = {.name = "job_controller_job_pods_finished_total", .help = "Ended pods that were counted.", .kind = METRIC_COUNTER, .labels = pods_labels},
};

static bool pod_failed(const struct batch_v1_job *job, const struct core_v1_pod *pod)
{
	if (str_equal(pod->status.phase, CORE_V1_POD_PHASE_FAILED))
		return true;
	return !job_replaces_only_failed(job) && pod->metadata.deletion_timestamp.set && !str_equal(pod->status.phase, CORE_V1_POD_PHASE_SUCCEEDED);
}

static struct job_state *state_of(const struct job_sync *s)
{
	return s->r->state;
}

static void fail_job(struct job_sync *s, const char *reason, const char *message)
{
	if (s->fail_reason)
		return;
	s->fail_reason = xstrdup(reason);
	s->fail_message = xstrdup(message);
}

static const struct core_v1_pod *find_pod(const struct job_sync *s, const char *uid)
{
	for (size_t i = 0; i < s->pods.len; i++)
		if (str_equal(api_metadata(s->pods.items[i])->uid, uid))
			return s->pods.items[i];
	return NULL;
}

/* Uids whose finalizer is gone become counts. */
static void settle_uncounted(struct job_sync *s, struct api_string_list *list, int32_t *count)
{
	for (uint32_t i = 0; i < list->len;) {
		const struct core_v1_pod *pod = find_pod(s, list->items[i]);
		if (pod && job_pod_has_finalizer(pod)) {
			i++;
			continue;
		}
		++*count;
		api_list_remove(list, i);
	}
}

static struct batch_v1_uncounted_terminated_pods *uncounted_of(struct batch_v1_job *job)
{
	if (!job->status.uncounted_terminated_pods)
		job->status.uncounted_terminated_pods = arena_new_type(api_arena(job), struct batch_v1_uncounted_terminated_pods);
	return job->status.uncounted_terminated_pods;
}

/* A failed pod that is seen for the first time. Returns false where it is not to be counted. */
static bool judge_failure(struct job_sync *s, const struct core_v1_pod *pod)
{
	autofree char *message = NULL;
	enum failure_action action = str_equal(pod->status.phase, CORE_V1_POD_PHASE_FAILED) ? job_failure_action(s->job, pod, &message) : FAILURE_COUNT;
	int32_t index = job_pod_index(pod);
	if (action == FAILURE_FAIL_JOB)
		fail_job(s, "PodFailurePolicy", message);
	if (s->job->spec.backoff_limit_per_index && action != FAILURE_IGNORE &&
		(action == FAILURE_FAIL_INDEX || job_index_failures(pod) >= *s->job->spec.backoff_limit_per_index))
		index_set_add(&s->failed, index);
	return action != FAILURE_IGNORE;
}

static void note_end(struct job_sync *s, const struct core_v1_pod *pod, bool succeeded)
{
	struct wall_time *last = succeeded ? &s->last_success : &s->last_failure, when = job_pod_end(pod);
	if (time_diff_ns(when, *last) > 0)
		*last = when;
	int32_t index = job_pod_index(pod);
	if (!succeeded && s->last_failed && index >= 0 && index < s->failed.size &&
		(!s->last_failed[index] || job_all_failures(pod) > job_all_failures(s->last_failed[index])))
		s->last_failed[index] = pod;
}

/* A success ends a row of failures: what comes after it starts with the shortest pause again. */
static void count_row(struct job_sync *s)
{
	for (size_t i = 0; i < s->pods.len; i++)
		if (pod_failed(s->job, s->pods.items[i]) && time_diff_ns(job_pod_end(s->pods.items[i]), s->last_success) > 0)
			s->failures_in_row++;
}

static bool is_met(const struct batch_v1_job *job, const char *type)
{
	const struct batch_v1_job_condition *condition = job_condition(job, type);
	return condition && str_equal(condition->status, "True");
}

/*
 * How often an index has failed is told by its last failed pod alone, until the next pod of the index has it from there: that long the pod must not go, whoever
 * deletes it.
 */
static bool is_needed(const struct job_sync *s, const struct core_v1_pod *pod)
{
	int32_t index = job_pod_index(pod);
	bool ending = s->job->metadata.deletion_timestamp.set || is_met(s->job, "FailureTarget") || is_met(s->job, "SuccessCriteriaMet");
	return s->last_failed && !ending && index >= 0 && index < s->failed.size && s->last_failed[index] == pod && !index_set_has(&s->failed, index) &&
	       !index_set_has(&s->succeeded, index) && !index_set_has(&s->busy, index);
}

static void take_finished(struct job_sync *s, const struct core_v1_pod *pod, bool succeeded)
{
	struct arena *arena = api_arena(s->job);
	struct batch_v1_uncounted_terminated_pods *uncounted = uncounted_of(s->job);
	struct api_string_list *list = succeeded ? &uncounted->succeeded : &uncounted->failed;
	bool indexed = job_is_indexed(s->job), known = api_string_list_has(list, pod->metadata.uid);
	if (!known && uncounted->succeeded.len + uncounted->failed.len >= MAX_UNCOUNTED) {
		s->after_ms = 1; /* the next round counts them */
		return;
	}
	bool counts = succeeded || known || judge_failure(s, pod);
	if (!succeeded && !known && is_needed(s, pod)) {
		s->kept++;
		s->kept_failures += counts;
		return;
	}
	s->finished[s->finished_count++] = pod;
	/* A set counts an index once however often it is added: it needs no list of uids. */
	if (indexed && succeeded)
		index_set_add(&s->succeeded, job_pod_index(pod));
	else if (!known && counts)
		api_string_list_add(arena, list, arena_strdup(arena, pod->metadata.uid));
}

static void take_active(struct job_sync *s, const struct core_v1_pod *pod)
{
	s->active[s->active_count++] = pod;
	s->ready += pod_is_ready(pod);
	if (s->last_failed)
		index_set_add(&s->busy, job_pod_index(pod));
}

/* Of containers that are started anew in the same pod. */
static void count_restarts(struct job_sync *s, const struct core_v1_pod *pod)
{
	const struct core_v1_container_status_array *lists[] = {&pod->status.init_container_statuses, &pod->status.container_statuses};
	for (size_t i = 0; i < array_len(lists) && !pod_is_terminal(pod); i++)
		for (uint32_t j = 0; j < lists[i]->len; j++)
			s->restarts += lists[i]->items[j].restart_count;
}

/*
 * One that was told to go counts as failed at once. Once that is written it stays so, even if the pod comes to a good end after all; and what a job that has failed
 * takes away has failed with it. But what is written as succeeded stays that, whoever takes it away afterwards.
 */
static bool has_succeeded(struct job_sync *s, const struct core_v1_pod *pod)
{
	if (!str_equal(pod->status.phase, CORE_V1_POD_PHASE_SUCCEEDED) || api_string_list_has(&uncounted_of(s->job)->failed, pod->metadata.uid))
		return false;
	if (api_string_list_has(&uncounted_of(s->job)->succeeded, pod->metadata.uid) || (job_is_indexed(s->job) && index_set_has(&s->succeeded, job_pod_index(pod))))
		return true;
	const struct batch_v1_job_condition *target = is_met(s->job, "FailureTarget") ? job_condition(s->job, "FailureTarget") : NULL;
	return !target || !pod->metadata.deletion_timestamp.set || time_diff_ns(job_pod_end(pod), target->last_transition_time.t) < 0;
}

static void look_at_pods(struct job_sync *s)
{
	struct batch_v1_uncounted_terminated_pods *uncounted = uncounted_of(s->job);
	int32_t size = s->job->spec.completions ? *s->job->spec.completions : 0;
	index_set_init(&s->succeeded, size);
	index_set_init(&s->failed, size);
	index_set_parse(&s->succeeded, s->job->status.completed_indexes);
	index_set_parse(&s->failed, s->job->status.failed_indexes);
	if (s->job->spec.backoff_limit_per_index)
		s->last_failed = xcalloc((size_t)s->failed.size, sizeof(*s->last_failed));
	index_set_init(&s->busy, s->last_failed ? size : 0);
	settle_uncounted(s, &uncounted->succeeded, &s->job->status.succeeded);
	settle_uncounted(s, &uncounted->failed, &s->job->status.failed);
	for (size_t i = 0; i < s->pods.len; i++) {
		const struct core_v1_pod *pod = s->pods.items[i];
		bool succeeded = has_succeeded(s, pod);
		s->terminating += pod_is_terminating(pod);
		count_restarts(s, pod);
		if (pod_is_terminal(pod) || pod_failed(s->job, pod))
			note_end(s, pod, succeeded);
		if (pod_is_active(pod))
			take_active(s, pod);
	}
	for (size_t i = 0; i < s->pods.len; i++) {
		const struct core_v1_pod *pod = s->pods.items[i];
		if ((pod_is_terminal(pod) || pod_failed(s->job, pod)) && job_pod_has_finalizer(pod))
			take_finished(s, pod, has_succeeded(s, pod));
	}
	count_row(s);
	s->failed_count = s->job->status.failed + (int32_t)uncounted->failed.len + s->kept_failures;
	if (job_is_indexed(s->job)) {
		s->job->status.succeeded = s->succeeded.count;
		s->job->status.completed_indexes = index_set_format(&s->succeeded, api_arena(s->job));
		if (s->job->spec.backoff_limit_per_index)
			s->job->status.failed_indexes = str_or(index_set_format(&s->failed, api_arena(s->job)), "");
		s->succeeded_count = s->succeeded.count;
	} else {
		s->succeeded_count = s->job->status.succeeded + (int32_t)uncounted->succeeded.len;
	}
}

/* ---- is it over? ---- */

static bool is_suspended(const struct batch_v1_job *job)
{
	return job->spec.suspend && *job->spec.suspend;
}

/* Why the job is to fail, by the first of the reasons that hold. */
static void check_failure(struct job_sync *s)
{
	const struct batch_v1_job *job = s->job;
	int32_t limit = job->spec.backoff_limit ? *job->spec.backoff_limit : 6;
	const struct batch_v1_job_condition *target = is_met(job, "FailureTarget") ? job_condition(job, "FailureTarget") : NULL;
	if (target) {
		/* Said already: it stays with that. */
		free(take_ptr(s->fail_reason));
		free(take_ptr(s->fail_message));
		fail_job(s, target->reason, target->message);
	}
	bool on_failure = str_equal(job->spec.template.spec.restart_policy, "OnFailure");
	if (s->failed_count > limit || (on_failure && s->restarts > 0 && s->restarts >= limit))
		fail_job(s, "BackoffLimitExceeded", "Job has reached the specified backoff limit");
	if (job->spec.active_deadline_seconds && job->status.start_time.set && !is_suspended(job)) {
		struct wall_time deadline = time_after(job->status.start_time.t, *job->spec.active_deadline_seconds);
		if (time_diff_ns(clock_wall(), deadline) >= 0)
			fail_job(s, "DeadlineExceeded", "Job was active longer than specified deadline");
		else
			s->after_ms = milliseconds_until(deadline);
	}
	if (!job->spec.backoff_limit_per_index)
		return;
	if (job->spec.max_failed_indexes && s->failed.count > *job->spec.max_failed_indexes)
		fail_job(s, "MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes");
	if (s->failed.count && s->failed.count + s->succeeded.count >= s->succeeded.size)
		fail_job(s, "FailedIndexes", "Job has failed indexes");
}

static bool is_complete(const struct job_sync *s)
{
	if (!s->job->spec.completions)
		return s->succeeded_count > 0 && !s->active_count;
	return s->succeeded_count >= *s->job->spec.completions;
}

static bool set_condition(struct batch_v1_job *job, const char *type, const char *status, const char *reason, const char *message)
{
	struct batch_v1_job_condition *condition = job_condition(job, type);
	struct arena *arena = api_arena(job);
	if (condition && str_equal(condition->status, status) && str_equal(condition->reason, reason))
		return false;
	if (!condition)
		condition = api_list_add(arena, &job->status.conditions);
	condition->type = arena_strdup(arena, type);
	condition->status = arena_strdup(arena, status);
	condition->reason = arena_strdup(arena, reason);
	condition->message = arena_strdup(arena, message);
	condition->last_probe_time = condition->last_transition_time = api_time_now();
	return true;
}

/* ---- a round ---- */

static void note_suspension(struct job_sync *s)
{
	struct batch_v1_job *job = s->job;
	const struct batch_v1_job_condition *suspended = job_condition(job, "Suspended");
	bool was = suspended && str_equal(suspended->status, "True");
	if (is_suspended(job)) {
		if (set_condition(job, "Suspended", "True", "JobSuspended", "Job suspended"))
			reconciler_event(s->r, job, EVENT_NORMAL, "Suspended", "Job suspended");
		job->status.start_time.set = false;
		job->status.start_time.t = (struct wall_time){0};
	} else if (was) {
		if (set_condition(job, "Suspended", "False", "JobResumed", "Job resumed"))
			reconciler_event(s->r, job, EVENT_NORMAL, "Resumed", "Job resumed");
		job->status.start_time = api_time_now();
	}
}

static bool all_counted(const struct job_sync *s)
{
	const struct batch_v1_uncounted_terminated_pods *uncounted = s->job->status.uncounted_terminated_pods;
	for (size_t i = 0; i < s->pods.len; i++)
		if (job_pod_has_finalizer(s->pods.items[i]) && !pod_is_terminal(s->pods.items[i]))
			return false;
	return !s->kept && (!uncounted || (!uncounted->succeeded.len && !uncounted->failed.len));
}

/* The end: conditions first say where it goes, and that it is there once every pod has been counted. */
static void conclude(struct job_sync *s)
{
	struct batch_v1_job *job = s->job;
	bool over = !s->active_count && !s->terminating && all_counted(s);
	if (s->fail_reason) {
		set_condition(job, "FailureTarget", "True", s->fail_reason, s->fail_message);
		if (over)
			set_condition(job, "Failed", "True", s->fail_reason, s->fail_message);
		return;
	}
	const struct batch_v1_job_condition *met = job_condition(job, "SuccessCriteriaMet");
	if (s->success_message)
		set_condition(job, "SuccessCriteriaMet", "True", "SuccessPolicy", s->success_message);
	else if (!met)
		set_condition(job, "SuccessCriteriaMet", "True", "CompletionsReached", "Reached expected number of succeeded pods");
	met = job_condition(job, "SuccessCriteriaMet");
	if (!over)
		return;
	autofree char *reason = xstrdup(met->reason), *message = xstrdup(met->message);
	if (set_condition(job, "Complete", "True", reason, message))
		job->status.completion_time = api_time_now();
}

static const char *mode_label(const struct batch_v1_job *job)
{
	return job_is_indexed(job) ? "Indexed" : "NonIndexed";
}

/* Once the status is written, and only then: a write that another's crossed is made again, and would be told twice. */
static void tell_of_end(const struct job_sync *s)
{
	const struct batch_v1_job *job = s->job;
	const struct batch_v1_job_condition *failed = is_met(job, "Failed") ? job_condition(job, "Failed") : NULL;
	if (!job_is_finished(job) || job_is_finished(s->cached))
		return;
	const char *reason = failed ? failed->reason : job_condition(job, "Complete")->reason;
	metric_add(metric_label(&job_metrics[JOBS_FINISHED], mode_label(job), failed ? "failed" : "succeeded", str_or(reason, "")), 1);
	if (failed) {
		reconciler_event(s->r, job, EVENT_WARNING, failed->reason, "%s", failed->message);
		return;
	}
	if (job->spec.completions && job->status.succeeded > *job->spec.completions)
		reconciler_event(s->r, job, EVENT_WARNING, "TooManySucceededPods", "Too many succeeded pods running after completion count reached");
	reconciler_event(s->r, job, EVENT_NORMAL, "Completed", "Job completed");
}

static void count_pods(const struct job_sync *s)
{
	int32_t succeeded = s->job->status.succeeded - s->cached->status.succeeded, failed = s->job->status.failed - s->cached->status.failed;
	if (succeeded > 0)
		metric_add(metric_label(&job_metrics[PODS_FINISHED], mode_label(s->job), "succeeded"), succeeded);
	if (failed > 0)
		metric_add(metric_label(&job_metrics[PODS_FINISHED], mode_label(s->job), "failed"), failed);
}

static void count_round(const struct job_sync *s, int64_t start, int result)
{
	const char *action = s->created ? "pods_created" : s->deleted ? "pods_deleted" : s->finished_count ? "tracking" : "reconciling";
	const char *const labels[] = {mode_label(s->job), result < 0 ? "error" : "success", action, NULL};
	metric_add(metric_with(&job_metrics[SYNCS], labels), 1);
	metric_observe(metric_with(&job_metrics[SYNC_SECONDS], labels), (double)(clock_monotonic_ns() - start) / NSEC_PER_SEC);
}

static int act(struct job_sync *s, struct error *err)
{
	struct batch_v1_job *job = s->job;
	bool met = is_met(job, "SuccessCriteriaMet");
	if (!job->status.start_time.set && !is_suspended(job))
		job->status.start_time = api_time_now();
	if (met) {
		/* What fails after the success does not undo it. */
		free(take_ptr(s->fail_reason));
		free(take_ptr(s->fail_message));
	} else {
		check_failure(s);
	}
	if (!met && !s->fail_reason && job_is_indexed(job))
		s->success_message = job_success_policy(job, &s->succeeded);
	if (s->fail_reason || s->success_message || met || is_complete(s)) {
		s->over = true;
		int result = s->active_count ? job_delete_active(s, s->active_count, err) : 0;
		conclude(s);
		return result;
	}
	note_suspension(s);
	if (is_suspended(job))
		return s->active_count ? job_delete_active(s, s->active_count, err) : 0;
	return job->metadata.deletion_timestamp.set ? 0 : job_manage(s, err);
}

static int write_status(struct job_sync *s, struct error *err)
{
	autounref struct batch_v1_job *written = NULL;
	autoerror struct error written_not = {0};
	int result = world_update_status(s->r->world, CACHED_JOBS, s->job, (void **)&written, &written_not);
	if (result)
		expectations_failed(state_of(s)->jobs, s->key, s->job, &written_not);
	else if (written)
		expectations_created(state_of(s)->jobs, s->key, written);
	return error_move(err, &written_not);
}

static int sync_job(struct job_sync *s, struct error *err)
{
	struct batch_v1_job *job = s->job;
	autoerror struct error failed = {0};
	s->active = xcalloc(s->pods.len, sizeof(*s->active));
	s->finished = xcalloc(s->pods.len, sizeof(*s->finished));
	look_at_pods(s);
	act(s, &failed);
	job->status.active = (int32_t)s->active_count + s->superfluous + s->created - s->deleted;
	job->status.ready = api_int32(api_arena(job), s->ready - s->deleted_ready);
	job->status.terminating = api_int32(api_arena(job), s->terminating + s->deleted);
	if (job_is_finished(job)) {
		job->status.active = 0;
		job->status.ready = api_int32(api_arena(job), 0);
	}
	if (!api_equal(&batch_v1_job_status_type, &job->status, &s->cached->status)) {
		int result = write_status(s, err);
		if (result)
			return result;
		tell_of_end(s);
		count_pods(s);
	}
	int result = job_release_finished(s, err);
	if (result)
		return result;
	return failed.errnum ? error_move(err, &failed) : s->after_ms;
}

/* Pods that nobody counts any more keep no finalizer of ours. */
static int release_all(struct job_sync *s, struct error *err)
{
	s->finished = xcalloc(s->pods.len, sizeof(*s->finished));
	for (size_t i = 0; i < s->pods.len; i++)
		if (job_pod_has_finalizer(s->pods.items[i]))
			s->finished[s->finished_count++] = s->pods.items[i];
	return job_release_finished(s, err);
}

static void sync_done(struct job_sync *s)
{
	informer_list_done(&s->pods);
	free(s->active);
	free(s->finished);
	free(s->last_failed);
	index_set_done(&s->succeeded);
	index_set_done(&s->failed);
	index_set_done(&s->busy);
	free(s->fail_reason);
	free(s->fail_message);
	free(s->success_message);
	api_unref(s->job);
}

/* The job is gone: what it left behind is let go of, also where another controller has taken it in meanwhile. */
static int release_orphans(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	cleanup(sync_done) struct job_sync s = {.r = r};
	autolist struct informer_list all = INFORMER_LIST_INIT;
	world_list_namespace(r->world, CACHED_PODS, ns, &all);
	for (size_t i = 0; i < all.len; i++) {
		const struct core_v1_pod *pod = all.items[i];
		const struct meta_v1_owner_reference *owner = owner_controller(&pod->metadata);
		bool owned = owner && str_equal(owner->kind, "Job");
		bool of_job = str_equal(owned ? owner->name : api_map_get(&pod->metadata.labels, "batch.kubernetes.io/job-name"), name);
		if (of_job && job_pod_has_finalizer(pod))
			informer_list_add(&s.pods, api_ref(pod));
	}
	return s.pods.len ? release_all(&s, err) : 0;
}

/*
 * A pod whose job is gone while another of its name is there: nobody counts it, and nobody else will let go of it. Asked of the server, because a
 * job that the cache does not show yet is no reason to stop counting.
 */
static int release_orphan(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	autounref struct core_v1_pod *pod = world_find(r->world, CACHED_PODS, ns, name);
	if (!pod || !job_pod_has_finalizer(pod))
		return 0;
	const struct meta_v1_owner_reference *owner = owner_controller(&pod->metadata);
	bool of_job = owner && str_equal(owner->kind, "Job");
	const char *job_name = of_job ? owner->name : api_map_get(&pod->metadata.labels, "batch.kubernetes.io/job-name");
	const char *job_uid = of_job ? owner->uid : api_map_get(&pod->metadata.labels, "batch.kubernetes.io/controller-uid");
	autounref struct batch_v1_job *live = NULL;
	autoerror struct error failed = {0};
	int result = str_empty(job_name) ? 0 : world_get(r->world, CACHED_JOBS, ns, job_name, (void **)&live, &failed);
	if (result && !error_is(&failed, "NotFound"))
		return error_move(err, &failed);
	if (live && str_equal(live->metadata.uid, job_uid))
		return 0;
	cleanup(sync_done) struct job_sync s = {.r = r};
	informer_list_add(&s.pods, take_ptr(pod));
	return release_all(&s, err);
}

static void forget_row(struct job_state *state, const char *key)
{
	pthread_mutex_lock(&state->lock);
	map_remove(&state->rows, key);
	pthread_mutex_unlock(&state->lock);
}

static int reconcile(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	if (str_starts_with(name, ORPHAN_KEY))
		return release_orphan(r, ns, name + strlen(ORPHAN_KEY), err);
	autofree char *key = xprintf("%s/%s", ns, name);
	autounref struct batch_v1_job *cached = world_find(r->world, CACHED_JOBS, ns, name);
	if (!cached) {
		expectations_forget(((struct job_state *)r->state)->pods, key);
		expectations_forget(((struct job_state *)r->state)->jobs, key);
		forget_row(r->state, key);
		return release_orphans(r, ns, name, err);
	}
	if (!str_empty(cached->spec.managed_by) && !str_equal(cached->spec.managed_by, RESERVED_BY))
		return 0;
	struct job_state *state = r->state;
	int is_current = expectations_check(state->jobs, r->world, CACHED_JOBS, key, err);
	if (is_current <= 0)
		return is_current < 0 ? is_current : EXPECTATIONS_LOOK_MS;
	/* Asked before the pods are listed: what the cache learns in between is not in the list. */
	int may_manage = expectations_check(state->pods, r->world, CACHED_PODS, key, err);
	if (may_manage <= 0)
		return may_manage < 0 ? may_manage : EXPECTATIONS_LOOK_MS;
	struct selector *selector = NULL;
	int result = label_selector_from(cached->spec.selector, &selector, err);
	if (result)
		return result;
	cleanup(sync_done) struct job_sync s = {.r = r, .key = key, .cached = cached, .job = api_copy(cached)};
	if (!template_is_selected(selector, &cached->spec.template))
		fail_job(&s, REASON_SELECTOR_MISMATCH, MESSAGE_SELECTOR_MISMATCH);
	result = owner_claim(r->world, CACHED_JOBS, cached, CACHED_PODS, selector, NULL, NULL, &s.pods, err);
	selector_free(selector);
	if (result)
		return result;
	if (job_is_finished(cached))
		return release_all(&s, err);
	int64_t start = clock_monotonic_ns();
	result = sync_job(&s, err);
	count_round(&s, start, result);
	return result;
}

static void wake_by_pod(struct reconciler *r, const void *object)
{
	const struct core_v1_pod *pod = object;
	const struct meta_v1_owner_reference *owner = owner_controller(&pod->metadata);
	const char *job_name = owner ? owner->name : api_map_get(&pod->metadata.labels, "batch.kubernetes.io/job-name");
	if (owner)
		reconciler_add_owner(r, object, "Job");
	if (!job_pod_has_finalizer(pod))
		return;
	autounref struct batch_v1_job *job = str_empty(job_name) ? NULL : world_find(r->world, CACHED_JOBS, pod->metadata.namespace, job_name);
	if (!owner && job)
		reconciler_add(r, pod->metadata.namespace, job_name); /* it may take the pod in */
	if (job && owner && str_equal(job->metadata.uid, owner->uid))
		return;
	autofree char *key = xprintf(ORPHAN_KEY "%s", pod->metadata.name);
	reconciler_add(r, pod->metadata.namespace, key);
}

/* A Job that is gone, also where another of its name is there already: its pods may have nothing more to tell, so they are looked at now. */
static void wake_by_job(struct reconciler *r, const void *object)
{
	const struct meta_v1_object_meta *meta = api_metadata(object);
	reconciler_add(r, meta->namespace, meta->name);
	autounref struct batch_v1_job *job = world_find(r->world, CACHED_JOBS, meta->namespace, meta->name);
	if (job && str_equal(job->metadata.uid, meta->uid))
		return;
	autolist struct informer_list pods = INFORMER_LIST_INIT;
	world_list_index(r->world, CACHED_PODS, INDEX_OWNER, meta->uid, &pods);
	for (size_t i = 0; i < pods.len; i++)
		wake_by_pod(r, pods.items[i]);
	/* Those it left behind: while it was there they might have been taken in again. */
	autolist struct informer_list orphans = INFORMER_LIST_INIT;
	autofree char *nobody = xprintf("orphan/%s", str_or(meta->namespace, ""));
	world_list_index(r->world, CACHED_PODS, INDEX_OWNER, nobody, &orphans);
	for (size_t i = 0; i < orphans.len; i++) {
		const struct core_v1_pod *pod = orphans.items[i];
		if (str_equal(api_map_get(&pod->metadata.labels, "batch.kubernetes.io/controller-uid"), meta->uid))
			wake_by_pod(r, pod);
	}
}

static void *state_new(void)
{
	struct job_state *state = xnew(struct job_state);
	state->pods = expectations_new();
	state->jobs = expectations_new();
	state->rows = (struct map)MAP_INIT(free);
	pthread_mutex_init(&state->lock, NULL);
	return state;
}

static void state_free(void *arg)
{
	struct job_state *state = arg;
	expectations_free(state->pods);
	expectations_free(state->jobs);
	map_done(&state->rows);
	pthread_mutex_destroy(&state->lock);
	free(state);
}

const struct controller job_controller = {
	.name = "job-controller",
	.queue = "job",
	.account = "job-controller",
	.alias = "job",
	.concurrency_flag = "concurrent-job-syncs",
	.workers = 16, /* a job of one pod is five writes, and each of them waits for etcd */
	.retry_first_ms = 1000, /* a quota that is used up is told of as often as Kubernetes tells it */
	.retry_most_ms = 60000,
	.metrics = job_metrics,
	.metric_count = array_len(job_metrics),
	.watches = (const struct controller_watch[]){{.what = CACHED_JOBS, .wake = wake_by_job}, {.what = CACHED_PODS, .wake = wake_by_pod}, {.what = CACHED_NONE}},
	.reconcile = reconcile,
	.state_new = state_new,
	.state_free = state_free,
};
