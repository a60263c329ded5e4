/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Job: pods until enough have succeeded. A pod carries a finalizer until it has been counted, so that counts stay exact whatever dies when:
 * its uid is first written to status.uncountedTerminatedPods, then the finalizer is removed, and only when the cache shows that, the uid
 * becomes one more in the count.
 */
#include "controller-manager/job/job.h"

#include "controller-manager/shared/owners.h"
#include "controller-manager/shared/pods.h"

#include <errno.h>
#include <stdio.h>

#define BACKOFF_FIRST_S 10
#define BACKOFF_MOST_S 600
#define ORPHAN_KEY "pod:" /* no name of a Job begins so: the key of a pod that may have lost its Job */
#define MAX_UNCOUNTED 500
#define RESERVED_BY "kubernetes.io/job-controller"

struct state {
	struct expectations *pods;
	/*
	 * Our own writes of the Job. A pod that has lost its finalizer counts only by what the status says of it: with a status from before that, it
	 * would count for nothing, and another would be made in its place.
	 */
	struct expectations *jobs;
};

struct sync {
	struct reconciler *r;
	const char *key;
	const struct batch_v1_job *cached;
	struct batch_v1_job *job; /* private copy */
	struct informer_list pods;
	const struct core_v1_pod **active, **doomed, **finished; /* finished: finalizers to remove once the status is written */
	size_t active_count, doomed_count, finished_count;
	struct index_set succeeded, failed;  /* indexes */
	struct index_set busy;               /* indexes with an active pod; only with backoffLimitPerIndex */
	int32_t succeeded_count, failed_count; /* counted, uncounted and new */
	int32_t terminating, ready, restarts;
	int32_t created, deleted, deleted_ready; /* by this round, atomic: the status counts them, though the cache does not show them yet */
	struct wall_time last_failure, last_success;
	int32_t failures_in_row;             /* failed pods that ended after the last success */
	const struct core_v1_pod **last_failed; /* by index: the one that has failed most; NULL without backoffLimitPerIndex */
	size_t kept;                         /* failed pods that are kept, uncounted, until another takes their index up */
	int32_t kept_failures;
	char *fail_reason, *fail_message; /* the job is to fail */
	char *success_message;            /* the success policy holds */
	int after_ms;
	int32_t superfluous;              /* active pods that do not count for the job */
	bool over;                        /* what is deleted now still counts: the job has come to its end */
	const int32_t *create_indexes;    /* of the creation under way; NULL: not indexed */
};

static struct state *state_of(const struct sync *s)
{
	return s->r->state;
}

static bool has_finalizer(const struct core_v1_pod *pod)
{
	return api_string_list_has(&pod->metadata.finalizers, JOB_FINALIZER);
}

static bool replaces_only_failed(const struct batch_v1_job *job)
{
	return str_equal(job->spec.pod_replacement_policy, "Failed") || (str_empty(job->spec.pod_replacement_policy) && job->spec.pod_failure_policy);
}

static bool pod_failed(const struct batch_v1_job *job, const struct core_v1_pod *pod)
{
	if (str_equal(pod->status.phase, CORE_V1_POD_PHASE_FAILED))
		return true;
	return !replaces_only_failed(job) && pod->metadata.deletion_timestamp.set && !str_equal(pod->status.phase, CORE_V1_POD_PHASE_SUCCEEDED);
}

static void fail_job(struct sync *s, const char *reason, const char *message)
{
	if (s->fail_reason)
		return;
	s->fail_reason = xstrdup(reason);
	s->fail_message = xstrdup(message);
}

static const struct core_v1_pod *find_pod(const struct sync *s, const char *uid)
{
	for (size_t i = 0; i < s->pods.len; i++)
		if (str_equal(api_metadata(s->pods.items[i])->uid, uid))
			return s->pods.items[i];
	return NULL;
}

/* Uids whose finalizer is gone become counts. */
static void settle_uncounted(struct sync *s, struct api_string_list *list, int32_t *count)
{
	for (uint32_t i = 0; i < list->len;) {
		const struct core_v1_pod *pod = find_pod(s, list->items[i]);
		if (pod && has_finalizer(pod)) {
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

static int32_t number_of(const struct core_v1_pod *pod, const char *annotation)
{
	int64_t n = 0;
	str_to_int64(api_map_get(&pod->metadata.annotations, annotation), 0, INT32_MAX / 2, &n);
	return (int32_t)n;
}

static int32_t index_failures(const struct core_v1_pod *pod)
{
	return number_of(pod, JOB_INDEX_FAILURES);
}

/* Of the index up to this pod, those that its policy ignores too. */
static int32_t all_failures(const struct core_v1_pod *pod)
{
	return index_failures(pod) + number_of(pod, JOB_INDEX_IGNORED);
}

/* A failed pod that is seen for the first time. Returns false where it is not to be counted. */
static bool judge_failure(struct sync *s, const struct core_v1_pod *pod)
{
	autofree char *message = NULL;
	enum failure_action action = str_equal(pod->status.phase, CORE_V1_POD_PHASE_FAILED) ? job_failure_action(s->job, pod, &message) : FAILURE_COUNT;
	int32_t index = job_pod_index(pod);
	if (action == FAILURE_FAIL_JOB)
		fail_job(s, "PodFailurePolicy", message);
	if (s->job->spec.backoff_limit_per_index && action != FAILURE_IGNORE &&
		(action == FAILURE_FAIL_INDEX || index_failures(pod) >= *s->job->spec.backoff_limit_per_index))
		index_set_add(&s->failed, index);
	return action != FAILURE_IGNORE;
}

static struct wall_time end_of(const struct core_v1_pod *pod)
{
	struct wall_time when = pod->metadata.deletion_timestamp.set ? pod->metadata.deletion_timestamp.t : pod->metadata.creation_timestamp.t;
	for (uint32_t i = 0; i < pod->status.container_statuses.len; i++) {
		const struct core_v1_container_state_terminated *end = pod->status.container_statuses.items[i].state.terminated;
		if (end && end->finished_at.set && time_diff_ns(end->finished_at.t, when) > 0)
			when = end->finished_at.t;
	}
	return when;
}

static void note_end(struct sync *s, const struct core_v1_pod *pod, bool succeeded)
{
	struct wall_time *last = succeeded ? &s->last_success : &s->last_failure, when = end_of(pod);
	if (time_diff_ns(when, *last) > 0)
		*last = when;
	int32_t index = job_pod_index(pod);
	if (!succeeded && s->last_failed && index >= 0 && index < s->failed.size &&
		(!s->last_failed[index] || all_failures(pod) > all_failures(s->last_failed[index])))
		s->last_failed[index] = pod;
}

/* A success ends a row of failures: what comes after it starts with the shortest pause again. */
static void count_row(struct sync *s)
{
	for (size_t i = 0; i < s->pods.len; i++)
		if (pod_failed(s->job, s->pods.items[i]) && time_diff_ns(end_of(s->pods.items[i]), s->last_success) > 0)
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
static bool is_needed(const struct sync *s, const struct core_v1_pod *pod)
{
	int32_t index = job_pod_index(pod);
	bool ending = s->job->metadata.deletion_timestamp.set || is_met(s->job, "FailureTarget") || is_met(s->job, "SuccessCriteriaMet");
	return s->last_failed && !ending && index >= 0 && index < s->failed.size && s->last_failed[index] == pod && !index_set_has(&s->failed, index) &&
	       !index_set_has(&s->succeeded, index) && !index_set_has(&s->busy, index);
}

static void take_finished(struct sync *s, const struct core_v1_pod *pod, bool succeeded)
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

static void take_active(struct sync *s, const struct core_v1_pod *pod)
{
	s->active[s->active_count++] = pod;
	s->ready += pod_is_ready(pod);
	if (s->last_failed)
		index_set_add(&s->busy, job_pod_index(pod));
}

/* Of containers that are started anew in the same pod. */
static void count_restarts(struct sync *s, const struct core_v1_pod *pod)
{
	const struct core_v1_container_status_array *lists[] = {&pod->status.init_container_statuses, &pod->status.container_statuses};
	for (size_t i = 0; i < array_len(lists) && !pod_is_terminal(pod); i++)
		for (uint32_t j = 0; j < lists[i]->len; j++)
			s->restarts += lists[i]->items[j].restart_count;
}

static void look_at_pods(struct sync *s)
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
		bool succeeded = str_equal(pod->status.phase, CORE_V1_POD_PHASE_SUCCEEDED);
		s->terminating += pod_is_terminating(pod);
		count_restarts(s, pod);
		if (succeeded || pod_failed(s->job, pod))
			note_end(s, pod, succeeded);
		if (pod_is_active(pod))
			take_active(s, pod);
	}
	for (size_t i = 0; i < s->pods.len; i++) {
		const struct core_v1_pod *pod = s->pods.items[i];
		bool succeeded = str_equal(pod->status.phase, CORE_V1_POD_PHASE_SUCCEEDED);
		if ((succeeded || pod_failed(s->job, pod)) && has_finalizer(pod))
			take_finished(s, pod, succeeded);
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
static void check_failure(struct sync *s)
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

static bool is_complete(const struct sync *s)
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

/* ---- pods ---- */

static void add_index(struct core_v1_pod *pod, const struct sync *s, int32_t index)
{
	static const char env_name[] = "JOB_COMPLETION_INDEX";
	struct arena *arena = api_arena(pod);
	char text[16];
	snprintf(text, sizeof(text), "%d", index);
	api_map_set(arena, &pod->metadata.annotations, JOB_INDEX, text);
	api_map_set(arena, &pod->metadata.labels, JOB_INDEX, text);
	pod->metadata.generate_name = arena_printf(arena, "%s-%d-", s->job->metadata.name, index);
	pod->spec.hostname = arena_printf(arena, "%s-%d", s->job->metadata.name, index);
	for (uint32_t i = 0; i < pod->spec.containers.len + pod->spec.init_containers.len; i++) {
		struct core_v1_container *c = i < pod->spec.containers.len ? &pod->spec.containers.items[i] :
									    &pod->spec.init_containers.items[i - pod->spec.containers.len];
		bool there = false;
		for (uint32_t j = 0; j < c->env.len; j++)
			there |= str_equal(c->env.items[j].name, env_name);
		if (there)
			continue;
		struct core_v1_env_var *env = api_list_add(arena, &c->env);
		env->name = env_name;
		env->value_from = arena_new_type(arena, struct core_v1_env_var_source);
		env->value_from->field_ref = arena_new_type(arena, struct core_v1_object_field_selector);
		env->value_from->field_ref->field_path = "metadata.labels['" JOB_INDEX "']";
	}
	if (!s->job->spec.backoff_limit_per_index)
		return;
	/* How often this index has failed is handed on from pod to pod. */
	const struct core_v1_pod *last = s->last_failed[index];
	autofree char *message = NULL;
	bool ignored = last && job_failure_action(s->job, last, &message) == FAILURE_IGNORE;
	snprintf(text, sizeof(text), "%d", last ? index_failures(last) + !ignored : 0);
	api_map_set(arena, &pod->metadata.annotations, JOB_INDEX_FAILURES, text);
	int32_t past = last ? number_of(last, JOB_INDEX_IGNORED) + ignored : 0;
	snprintf(text, sizeof(text), "%d", past);
	if (past)
		api_map_set(arena, &pod->metadata.annotations, JOB_INDEX_IGNORED, text);
}

static int create_one(size_t i, void *arg, struct error *err)
{
	struct sync *s = arg;
	autounref struct core_v1_pod *pod = pod_from_template(&s->job->spec.template, s->job, s->job->metadata.name);
	if (s->create_indexes)
		add_index(pod, s, s->create_indexes[i]);
	api_string_list_add(api_arena(pod), &pod->metadata.finalizers, JOB_FINALIZER);
	int result = pod_create(s->r, s->job, pod, state_of(s)->pods, s->key, err);
	if (!result)
		__atomic_add_fetch(&s->created, 1, __ATOMIC_RELAXED);
	return result;
}

static int remove_finalizer(struct sync *s, const struct core_v1_pod *pod, struct error *err)
{
	autounref struct core_v1_pod *copy = api_copy(pod);
	autoerror struct error failed = {0};
	for (uint32_t j = 0; j < copy->metadata.finalizers.len;) {
		if (str_equal(copy->metadata.finalizers.items[j], JOB_FINALIZER))
			api_list_remove(&copy->metadata.finalizers, j);
		else
			j++;
	}
	int result = world_update_metadata(s->r->world, CACHED_PODS, copy, NULL, &failed);
	return result && !error_is(&failed, "NotFound") ? error_move(err, &failed) : 0;
}

static int delete_one(size_t i, void *arg, struct error *err)
{
	struct sync *s = arg;
	/* A pod that is one too many (suspended, less parallelism, the job has succeeded without it) has not failed: nobody is to count it. */
	int result = s->over && s->fail_reason ? 0 : remove_finalizer(s, s->doomed[i], err);
	result = result ? result : pod_delete(s->r, s->job, s->doomed[i], state_of(s)->pods, s->key, err);
	if (result)
		return result;
	__atomic_add_fetch(&s->deleted, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&s->deleted_ready, pod_is_ready(s->doomed[i]), __ATOMIC_RELAXED);
	return 0;
}

static int delete_active(struct sync *s, size_t count, struct error *err)
{
	autoerror struct error failed = {0};
	if (count < s->active_count)
		pods_rank_for_deletion(s->active, NULL, s->active_count, clock_wall());
	s->doomed = s->active;
	slow_start(s->r->world, min_of(count, (size_t)BURST_REPLICAS), delete_one, s, &failed);
	return error_move(err, &failed);
}

static void look_again(struct sync *s, int ms)
{
	s->after_ms = s->after_ms ? min_of(s->after_ms, ms) : ms;
}

/* Milliseconds that are left of the pause after so many failures, the last of them then; 0: none. */
static int pause_after(int32_t failures, struct wall_time last)
{
	int64_t seconds = BACKOFF_FIRST_S;
	if (!failures || !last.sec)
		return 0;
	for (int32_t i = 1; i < failures && seconds < BACKOFF_MOST_S; i++)
		seconds *= 2;
	struct wall_time due = time_after(last, min_of(seconds, (int64_t)BACKOFF_MOST_S));
	return time_diff_ns(due, clock_wall()) > 0 ? milliseconds_until(due) : 0;
}

/* Indexes without a pod, not yet done; at most `want`. */
static size_t pending_indexes(struct sync *s, size_t want, int32_t *ret)
{
	struct index_set busy;
	size_t count = 0;
	bool with_terminating = replaces_only_failed(s->job);
	index_set_init(&busy, s->succeeded.size);
	for (size_t i = 0; i < s->pods.len; i++)
		if (pod_is_active(s->pods.items[i]) || (with_terminating && pod_is_terminating(s->pods.items[i])))
			index_set_add(&busy, job_pod_index(s->pods.items[i]));
	for (int32_t i = 0; i < s->succeeded.size && count < want; i++) {
		if (index_set_has(&busy, i) || index_set_has(&s->succeeded, i) || index_set_has(&s->failed, i))
			continue;
		const struct core_v1_pod *last = s->last_failed ? s->last_failed[i] : NULL;
		int wait = last ? pause_after(all_failures(last) + 1, end_of(last)) : 0;
		if (wait)
			look_again(s, wait);
		else
			ret[count++] = i;
	}
	index_set_done(&busy);
	return count;
}

static int create_missing(struct sync *s, size_t missing, struct error *err)
{
	/* With a limit for each index, each index has its own pause. */
	int wait = s->last_failed ? 0 : pause_after(s->failures_in_row, s->last_failure);
	if (wait) {
		look_again(s, wait);
		return 0;
	}
	autofree int32_t *indexes = NULL;
	autoerror struct error failed = {0};
	missing = min_of(missing, (size_t)BURST_REPLICAS);
	if (job_is_indexed(s->job)) {
		indexes = xcalloc(missing, sizeof(int32_t));
		missing = pending_indexes(s, missing, indexes);
		s->create_indexes = indexes;
	}
	slow_start(s->r->world, missing, create_one, s, &failed);
	s->create_indexes = NULL;
	return error_move(err, &failed);
}

static int compare_by_index(const void *left, const void *right)
{
	const struct core_v1_pod *a = *(const struct core_v1_pod *const *)left, *b = *(const struct core_v1_pod *const *)right;
	int32_t x = job_pod_index(a), y = job_pod_index(b);
	if (x != y)
		return x < y ? -1 : 1;
	int64_t diff = time_diff_ns(a->metadata.creation_timestamp.t, b->metadata.creation_timestamp.t);
	return diff ? (diff < 0 ? -1 : 1) : strcmp(a->metadata.name, b->metadata.name);
}

/* Active pods that stand for no index, or for one that an older pod stands for: made twice by a stale cache, or left over by fewer completions. */
static int delete_superfluous(struct sync *s, struct error *err)
{
	autofree const struct core_v1_pod **kept = xcalloc(s->active_count, sizeof(*kept));
	autofree const struct core_v1_pod **doomed = xcalloc(s->active_count, sizeof(*doomed));
	size_t kept_count = 0, doomed_count = 0;
	if (s->active_count)
		qsort(s->active, s->active_count, sizeof(*s->active), compare_by_index);
	for (size_t i = 0; i < s->active_count; i++) {
		int32_t index = job_pod_index(s->active[i]);
		bool taken = kept_count && job_pod_index(kept[kept_count - 1]) == index;
		if (index < 0 || index >= s->succeeded.size || taken)
			doomed[doomed_count++] = s->active[i];
		else
			kept[kept_count++] = s->active[i];
	}
	if (!doomed_count)
		return 0;
	memcpy(s->active, kept, kept_count * sizeof(*kept));
	s->active_count = kept_count;
	s->superfluous = (int32_t)doomed_count;
	autoerror struct error failed = {0};
	s->doomed = doomed;
	slow_start(s->r->world, min_of(doomed_count, (size_t)BURST_REPLICAS), delete_one, s, &failed);
	return error_move(err, &failed);
}

static int manage(struct sync *s, struct error *err)
{
	const struct batch_v1_job *job = s->job;
	int result = job_is_indexed(job) ? delete_superfluous(s, err) : 0;
	if (result)
		return result;
	int32_t parallelism = job->spec.parallelism ? *job->spec.parallelism : 1;
	int32_t running = (int32_t)s->active_count, want = parallelism;
	if (replaces_only_failed(job))
		running += s->terminating;
	if (job->spec.completions)
		want = min_of(parallelism, max_of(*job->spec.completions - s->succeeded_count - s->failed.count, 0));
	else if (s->succeeded_count)
		want = min_of(running, parallelism); /* one has succeeded: no new ones */
	if ((int32_t)s->active_count > want)
		return delete_active(s, s->active_count - (size_t)want, err);
	return running < want ? create_missing(s, (size_t)(want - running), err) : 0;
}

static int release_one(size_t i, void *arg, struct error *err)
{
	struct sync *s = arg;
	return remove_finalizer(s, s->finished[i], err);
}

static int release_finished(struct sync *s, struct error *err)
{
	autoerror struct error failed = {0};
	slow_start(s->r->world, s->finished_count, release_one, s, &failed);
	return error_move(err, &failed);
}

/* ---- a round ---- */

static void note_suspension(struct sync *s)
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

static bool all_counted(const struct sync *s)
{
	const struct batch_v1_uncounted_terminated_pods *uncounted = s->job->status.uncounted_terminated_pods;
	for (size_t i = 0; i < s->pods.len; i++)
		if (has_finalizer(s->pods.items[i]) && !pod_is_terminal(s->pods.items[i]))
			return false;
	return !s->kept && (!uncounted || (!uncounted->succeeded.len && !uncounted->failed.len));
}

/* The end: conditions first say where it goes, and that it is there once every pod has been counted. */
static void conclude(struct sync *s)
{
	struct batch_v1_job *job = s->job;
	bool over = !s->active_count && !s->terminating && all_counted(s);
	if (s->fail_reason) {
		set_condition(job, "FailureTarget", "True", s->fail_reason, s->fail_message);
		if (over && set_condition(job, "Failed", "True", s->fail_reason, s->fail_message))
			reconciler_event(s->r, job, EVENT_WARNING, s->fail_reason, "%s", s->fail_message);
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
	if (set_condition(job, "Complete", "True", reason, message)) {
		job->status.completion_time = api_time_now();
		if (job->spec.completions && job->status.succeeded > *job->spec.completions)
			reconciler_event(s->r, job, EVENT_WARNING, "TooManySucceededPods", "Too many succeeded pods running after completion count reached");
		reconciler_event(s->r, job, EVENT_NORMAL, "Completed", "Job completed");
	}
}

static int act(struct sync *s, struct error *err)
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
		int result = s->active_count ? delete_active(s, s->active_count, err) : 0;
		conclude(s);
		return result;
	}
	note_suspension(s);
	if (is_suspended(job))
		return s->active_count ? delete_active(s, s->active_count, err) : 0;
	return job->metadata.deletion_timestamp.set ? 0 : manage(s, err);
}

static int write_status(struct sync *s, struct error *err)
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

static int sync_job(struct sync *s, struct error *err)
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
	}
	int result = release_finished(s, err);
	if (result)
		return result;
	return failed.errnum ? error_move(err, &failed) : s->after_ms;
}

/* Pods that nobody counts any more keep no finalizer of ours. */
static int release_all(struct sync *s, struct error *err)
{
	s->finished = xcalloc(s->pods.len, sizeof(*s->finished));
	for (size_t i = 0; i < s->pods.len; i++)
		if (has_finalizer(s->pods.items[i]))
			s->finished[s->finished_count++] = s->pods.items[i];
	return release_finished(s, err);
}

static void sync_done(struct sync *s)
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
	cleanup(sync_done) struct sync s = {.r = r};
	autolist struct informer_list all = INFORMER_LIST_INIT;
	world_list_namespace(r->world, CACHED_PODS, ns, &all);
	for (size_t i = 0; i < all.len; i++) {
		const struct core_v1_pod *pod = all.items[i];
		const struct meta_v1_owner_reference *owner = owner_controller(&pod->metadata);
		bool owned = owner && str_equal(owner->kind, "Job");
		bool of_job = str_equal(owned ? owner->name : api_map_get(&pod->metadata.labels, "batch.kubernetes.io/job-name"), name);
		if (of_job && has_finalizer(pod))
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
	if (!pod || !has_finalizer(pod))
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
	cleanup(sync_done) struct sync s = {.r = r};
	informer_list_add(&s.pods, take_ptr(pod));
	return release_all(&s, err);
}

static int reconcile(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	if (str_starts_with(name, ORPHAN_KEY))
		return release_orphan(r, ns, name + strlen(ORPHAN_KEY), err);
	autofree char *key = xprintf("%s/%s", ns, name);
	autounref struct batch_v1_job *cached = world_find(r->world, CACHED_JOBS, ns, name);
	if (!cached) {
		expectations_forget(((struct state *)r->state)->pods, key);
		expectations_forget(((struct state *)r->state)->jobs, key);
		return release_orphans(r, ns, name, err);
	}
	if (!str_empty(cached->spec.managed_by) && !str_equal(cached->spec.managed_by, RESERVED_BY))
		return 0;
	struct state *state = r->state;
	int is_current = expectations_check(state->jobs, r->world, CACHED_JOBS, key, err);
	if (is_current <= 0)
		return is_current;
	/* Asked before the pods are listed: what the cache learns in between is not in the list. What it does not show yet wakes us when it comes. */
	int may_manage = expectations_check(state->pods, r->world, CACHED_PODS, key, err);
	if (may_manage <= 0)
		return may_manage;
	struct selector *selector = NULL;
	int result = label_selector_from(cached->spec.selector, &selector, err);
	if (result)
		return result;
	cleanup(sync_done) struct sync s = {.r = r, .key = key, .cached = cached, .job = api_copy(cached)};
	if (!template_is_selected(selector, &cached->spec.template))
		fail_job(&s, REASON_SELECTOR_MISMATCH, MESSAGE_SELECTOR_MISMATCH);
	result = owner_claim(r->world, CACHED_JOBS, cached, CACHED_PODS, selector, NULL, NULL, &s.pods, err);
	selector_free(selector);
	if (result)
		return result;
	return job_is_finished(cached) ? release_all(&s, err) : sync_job(&s, err);
}

static void wake_by_pod(struct reconciler *r, const void *object)
{
	const struct core_v1_pod *pod = object;
	const struct meta_v1_owner_reference *owner = owner_controller(&pod->metadata);
	const char *job_name = owner ? owner->name : api_map_get(&pod->metadata.labels, "batch.kubernetes.io/job-name");
	if (owner)
		reconciler_add_owner(r, object, "Job");
	if (!has_finalizer(pod))
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
	struct state *state = xnew(struct state);
	state->pods = expectations_new();
	state->jobs = expectations_new();
	return state;
}

static void state_free(void *arg)
{
	struct state *state = arg;
	expectations_free(state->pods);
	expectations_free(state->jobs);
	free(state);
}

const struct controller job_controller = {
	.name = "job-controller",
	.account = "job-controller",
	.alias = "job",
	.concurrency_flag = "concurrent-job-syncs",
	.workers = 5,
	.watches = (const struct controller_watch[]){{.what = CACHED_JOBS, .wake = wake_by_job}, {.what = CACHED_PODS, .wake = wake_by_pod}, {.what = CACHED_NONE}},
	.reconcile = reconcile,
	.state_new = state_new,
	.state_free = state_free,
};
