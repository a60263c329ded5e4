/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of the Job controller. */
#ifndef CORACLE_CONTROLLER_MANAGER_JOB_H
#define CORACLE_CONTROLLER_MANAGER_JOB_H

#include "controller-manager/controller.h"

#include "api/batch_v1.h"
#include "api/core_v1.h"

#define JOB_FINALIZER "batch.kubernetes.io/job-tracking"
#define JOB_INDEX "batch.kubernetes.io/job-completion-index"
#define JOB_INDEX_FAILURES "batch.kubernetes.io/job-index-failure-count"
#define JOB_INDEX_IGNORED "batch.kubernetes.io/job-index-ignored-failure-count"
#define MAX_INDEXES 1000000

/* ---- indexes.c: sets of completion indexes, written "1,3-5,7"; pure ---- */
struct index_set {
	uint8_t *bits;
	int32_t size, count;
};
void index_set_init(struct index_set *set, int32_t size);
void index_set_done(struct index_set *set);
bool index_set_has(const struct index_set *set, int32_t index);
void index_set_add(struct index_set *set, int32_t index);
/* Adds what the text names; what lies past the size is left out. */
void index_set_parse(struct index_set *set, const char *text);
const char *index_set_format(const struct index_set *set, struct arena *arena);
/* The index of a pod, or -1. */
int32_t job_pod_index(const struct core_v1_pod *pod);

/* ---- policy.c ---- */
enum failure_action { FAILURE_COUNT, FAILURE_IGNORE, FAILURE_FAIL_JOB, FAILURE_FAIL_INDEX };
/* What the job's podFailurePolicy says of a failed pod; *ret_message (the caller frees) is set for FAIL_JOB. */
enum failure_action job_failure_action(const struct batch_v1_job *job, const struct core_v1_pod *pod, char **ret_message);
/* The first rule of the successPolicy that holds, as a message the caller frees, or NULL. */
char *job_success_policy(const struct batch_v1_job *job, const struct index_set *succeeded);

bool job_is_indexed(const struct batch_v1_job *job);
bool job_is_finished(const struct batch_v1_job *job);
struct batch_v1_job_condition *job_condition(const struct batch_v1_job *job, const char *type);

#endif
