/* SPDX-License-Identifier: Apache-2.0 */
/* The pods of a Job: made, deleted, let go of. */
#include "controller-manager/job/sync.h"

#include <stdio.h>

#define BACKOFF_FIRST_S 10
#define BACKOFF_MOST_S 600

static struct job_state *state_of(const struct job_sync *s)
{
	return s->r->state;
}

bool job_pod_has_finalizer(const struct core_v1_pod *pod)
{
	return api_string_list_has(&pod->metadata.finalizers, JOB_FINALIZER);
}

bool job_replaces_only_failed(const struct batch_v1_job *job)
{
	return str_equal(job->spec.pod_replacement_policy, "Failed") || (str_empty(job->spec.pod_replacement_policy) && job->spec.pod_failure_policy);
}

static int32_t number_of(const struct core_v1_pod *pod, const char *annotation)
{
	int64_t n = 0;
	str_to_int64(api_map_get(&pod->metadata.annotations, annotation), 0, INT32_MAX / 2, &n);
	return (int32_t)n;
}

int32_t job_index_failures(const struct core_v1_pod *pod)
{
	return number_of(pod, JOB_INDEX_FAILURES);
}

/* Of the index up to this pod, those that its policy ignores too. */
int32_t job_all_failures(const struct core_v1_pod *pod)
{
	return job_index_failures(pod) + number_of(pod, JOB_INDEX_IGNORED);
}

/* False where a container runs still, or says nothing of its end. */
static bool containers_end(const struct core_v1_pod *pod, struct wall_time *ret)
{
	struct wall_time when = {0};
	for (uint32_t i = 0; i < pod->status.container_statuses.len; i++) {
		const struct core_v1_container_state_terminated *end = pod->status.container_statuses.items[i].state.terminated;
		if (!end || !end->finished_at.set)
			return false;
		if (time_diff_ns(end->finished_at.t, when) > 0)
			when = end->finished_at.t;
	}
	*ret = when;
	return pod->status.container_statuses.len;
}

struct wall_time job_pod_end(const struct core_v1_pod *pod)
{
	const struct meta_v1_object_meta *meta = &pod->metadata;
	const struct core_v1_pod_condition *ready = pod_condition(pod, "Ready");
	struct wall_time when;
	if (containers_end(pod, &when))
		return when;
	if (ready && str_equal(ready->status, "False") && ready->last_transition_time.set)
		return ready->last_transition_time.t;
	if (meta->deletion_timestamp.set)
		return time_after(meta->deletion_timestamp.t, meta->deletion_grace_period_seconds ? -*meta->deletion_grace_period_seconds : 0);
	return meta->creation_timestamp.t;
}

static void add_index(struct core_v1_pod *pod, const struct job_sync *s, int32_t index)
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
	snprintf(text, sizeof(text), "%d", last ? job_index_failures(last) + !ignored : 0);
	api_map_set(arena, &pod->metadata.annotations, JOB_INDEX_FAILURES, text);
	int32_t past = last ? number_of(last, JOB_INDEX_IGNORED) + ignored : 0;
	snprintf(text, sizeof(text), "%d", past);
	if (past)
		api_map_set(arena, &pod->metadata.annotations, JOB_INDEX_IGNORED, text);
}

static int create_one(size_t i, void *arg, struct error *err)
{
	struct job_sync *s = arg;
	autounref struct core_v1_pod *pod = pod_from_template(&s->job->spec.template, s->job, s->job->metadata.name);
	if (s->create_indexes)
		add_index(pod, s, s->create_indexes[i]);
	api_string_list_add(api_arena(pod), &pod->metadata.finalizers, JOB_FINALIZER);
	int result = pod_create(s->r, s->job, pod, state_of(s)->pods, s->key, err);
	if (!result)
		__atomic_add_fetch(&s->created, 1, __ATOMIC_RELAXED);
	return result;
}

static int remove_finalizer(struct job_sync *s, const struct core_v1_pod *pod, struct error *err)
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
	struct job_sync *s = arg;
	/* A pod that is one too many (suspended, less parallelism, the job has succeeded without it) has not failed: nobody is to count it. */
	int result = s->over && s->fail_reason ? 0 : remove_finalizer(s, s->doomed[i], err);
	result = result ? result : pod_delete(s->r, s->job, s->doomed[i], state_of(s)->pods, s->key, err);
	if (result)
		return result;
	__atomic_add_fetch(&s->deleted, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&s->deleted_ready, pod_is_ready(s->doomed[i]), __ATOMIC_RELAXED);
	return 0;
}

int job_delete_active(struct job_sync *s, size_t count, struct error *err)
{
	autoerror struct error failed = {0};
	if (count < s->active_count)
		pods_rank_for_deletion(s->active, NULL, s->active_count, clock_wall());
	s->doomed = s->active;
	slow_start(s->r->world, min_of(count, (size_t)BURST_REPLICAS), delete_one, s, &failed);
	return error_move(err, &failed);
}

static void look_again(struct job_sync *s, int ms)
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
static size_t pending_indexes(struct job_sync *s, size_t want, int32_t *ret)
{
	struct index_set busy;
	size_t count = 0;
	bool with_terminating = job_replaces_only_failed(s->job);
	index_set_init(&busy, s->succeeded.size);
	for (size_t i = 0; i < s->pods.len; i++)
		if (pod_is_active(s->pods.items[i]) || (with_terminating && pod_is_terminating(s->pods.items[i])))
			index_set_add(&busy, job_pod_index(s->pods.items[i]));
	for (int32_t i = 0; i < s->succeeded.size && count < want; i++) {
		if (index_set_has(&busy, i) || index_set_has(&s->succeeded, i) || index_set_has(&s->failed, i))
			continue;
		const struct core_v1_pod *last = s->last_failed ? s->last_failed[i] : NULL;
		int wait = last ? pause_after(job_all_failures(last) + 1, job_pod_end(last)) : 0;
		if (wait)
			look_again(s, wait);
		else
			ret[count++] = i;
	}
	index_set_done(&busy);
	return count;
}

/* By the pods that are there, and by those that were. */
static int pause_of_job(struct job_sync *s)
{
	struct job_state *state = state_of(s);
	pthread_mutex_lock(&state->lock);
	const struct job_row *found = map_get(&state->rows, s->key);
	const struct job_row row = found ? *found : (struct job_row){0};
	pthread_mutex_unlock(&state->lock);
	struct wall_time last = time_diff_ns(row.last_failure, s->last_failure) > 0 ? row.last_failure : s->last_failure;
	return pause_after(max_of(s->failures_in_row, row.failures), last);
}

static int create_missing(struct job_sync *s, size_t missing, struct error *err)
{
	/* With a limit for each index, each index has its own pause. */
	int wait = s->last_failed ? 0 : pause_of_job(s);
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
static int delete_superfluous(struct job_sync *s, struct error *err)
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

int job_manage(struct job_sync *s, struct error *err)
{
	const struct batch_v1_job *job = s->job;
	int result = job_is_indexed(job) ? delete_superfluous(s, err) : 0;
	if (result)
		return result;
	int32_t parallelism = job->spec.parallelism ? *job->spec.parallelism : 1;
	int32_t running = (int32_t)s->active_count, want = parallelism;
	if (job_replaces_only_failed(job))
		running += s->terminating;
	if (job->spec.completions)
		want = min_of(parallelism, max_of(*job->spec.completions - s->succeeded_count - s->failed.count, 0));
	else if (s->succeeded_count)
		want = min_of(running, parallelism); /* one has succeeded: no new ones */
	if ((int32_t)s->active_count > want)
		return job_delete_active(s, s->active_count - (size_t)want, err);
	return running < want ? create_missing(s, (size_t)(want - running), err) : 0;
}

/* A pod that was counted may be gone by the next look; the pause that follows its failure goes by what is noted here. */
static void note_in_row(struct job_sync *s, const struct core_v1_pod *pod)
{
	struct job_state *state = state_of(s);
	struct wall_time end = job_pod_end(pod);
	pthread_mutex_lock(&state->lock);
	struct job_row *row = map_get(&state->rows, s->key);
	bool succeeded = str_equal(pod->status.phase, CORE_V1_POD_PHASE_SUCCEEDED);
	if (!row && !succeeded)
		map_set(&state->rows, s->key, row = xnew(struct job_row));
	if (succeeded) {
		if (row)
			*row = (struct job_row){.last_success = end};
	} else if (time_diff_ns(end, row->last_success) > 0) {
		row->failures++;
		if (time_diff_ns(end, row->last_failure) > 0)
			row->last_failure = end;
	}
	pthread_mutex_unlock(&state->lock);
}

static int release_one(size_t i, void *arg, struct error *err)
{
	struct job_sync *s = arg;
	int result = remove_finalizer(s, s->finished[i], err);
	if (!result && s->key)
		note_in_row(s, s->finished[i]);
	return result;
}

int job_release_finished(struct job_sync *s, struct error *err)
{
	autoerror struct error failed = {0};
	slow_start(s->r->world, s->finished_count, release_one, s, &failed);
	return error_move(err, &failed);
}
