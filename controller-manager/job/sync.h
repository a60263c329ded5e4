/* SPDX-License-Identifier: Apache-2.0 */
/* One look at a Job: what job.c and pods.c share. */
#ifndef CORACLE_CONTROLLER_MANAGER_JOB_SYNC_H
#define CORACLE_CONTROLLER_MANAGER_JOB_SYNC_H

#include "controller-manager/job/job.h"
#include "controller-manager/shared/pods.h"

#include <pthread.h>

struct job_state {
	struct expectations *pods;
	/*
	 * Our own writes of the Job. A pod that has lost its finalizer counts only by what the status says of it: with a status from before that, it
	 * would count for nothing, and another would be made in its place.
	 */
	struct expectations *jobs;
	/* Failures of each Job since its last success, of pods that may be gone since: key -> struct job_row. In memory alone, as pauses are. */
	pthread_mutex_t lock;
	struct map rows;
};

struct job_row {
	int32_t failures;
	struct wall_time last_failure, last_success;
};

struct job_sync {
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

bool job_pod_has_finalizer(const struct core_v1_pod *pod);
/* Failed pods alone make room for others, not those that are still going. */
bool job_replaces_only_failed(const struct batch_v1_job *job);
/* How often the index of this pod had failed before it, and with the failures that its policy ignores. */
int32_t job_index_failures(const struct core_v1_pod *pod);
int32_t job_all_failures(const struct core_v1_pod *pod);
/* When the pod's last container ended; where that is not told, when it ceased to be ready, or was told to go. */
struct wall_time job_pod_end(const struct core_v1_pod *pod);

/* ---- pods.c ---- */
/* Brings the number of active pods to what it should be. */
int job_manage(struct job_sync *s, struct error *err);
int job_delete_active(struct job_sync *s, size_t count, struct error *err);
/* Takes the finalizers of s->finished. */
int job_release_finished(struct job_sync *s, struct error *err);

#endif
